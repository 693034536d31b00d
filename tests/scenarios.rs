//! The scenario files that we ship, each run for a few seconds by the binary against the sandbox, with its counts.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails")]

use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::Value;

#[path = "shared/watched.rs"]
mod watched;

/// Runs a shipped file, shortened, and returns its document and the number of failed iterations that were told.
fn run(name: &str, further: &[&str]) -> (Value, usize) {
    let shipped = Path::new(env!("CARGO_MANIFEST_DIR")).join("scenarios");
    let place = tempfile::tempdir().unwrap();
    for entry in std::fs::read_dir(&shipped).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            continue;
        }
        let text = std::fs::read_to_string(&path).unwrap().replace("duration = \"20s\"", "duration = \"4s\"");
        std::fs::write(place.path().join(path.file_name().unwrap()), text).unwrap();
    }
    let mut command = Command::new(env!("CARGO_BIN_EXE_connect-bench"));
    let output = watched::with_key(&mut command)
        .args(["run", "--sandbox=small", "--quiet", "--json", "--runs-dir"])
        .arg(place.path().join("runs"))
        .arg(place.path().join(name))
        .args(further)
        .env_remove("CONNECT_SERVER")
        .output()
        .unwrap();
    watched::has_no_key(&[&output.stdout, &output.stderr], place.path());
    let errors = String::from_utf8_lossy(&output.stderr).into_owned();
    // On a machine that is busy with other things the generator is late, and says so.
    assert!(matches!(output.status.code(), Some(0 | 121)), "{name}: {:?} {errors}", output.status);
    let run: PathBuf = std::fs::read_dir(place.path().join("runs")).unwrap().next().unwrap().unwrap().path();
    let events = std::fs::read_to_string(run.join("events.ndjson")).unwrap_or_default();
    let plan = std::fs::read_to_string(run.join("plan.json")).unwrap();
    assert!(!plan.contains("Key "), "{plan}");
    (serde_json::from_slice(&output.stdout).unwrap(), events.matches("iteration_failed").count())
}

fn step<'a>(document: &'a Value, name: &str) -> &'a Value {
    document["steps"].as_array().unwrap().iter().find(|step| step["step"] == name).unwrap()
}

fn completed(document: &Value, name: &str) -> u64 {
    step(document, name)["completed"].as_u64().unwrap()
}

fn check(document: &Value, name: &str) -> (u64, u64) {
    let check = document["checks"].as_array().unwrap().iter().find(|check| check["check"] == name).unwrap();
    (check["passes"].as_u64().unwrap(), check["fails"].as_u64().unwrap())
}

/// Two steps of an iteration are completed equally often, but for the iterations that are under way at the edges.
fn equally(a: u64, b: u64, vus: u64) {
    assert!(a.abs_diff(b) <= vus, "{a} and {b}");
}

#[test]
fn browse_walks_through_api_and_content() {
    let (document, told) = run("browse.toml", &["--no-publish"]);
    let requests = &document["requests"];
    assert_eq!((requests["failed"].as_u64(), requests["interrupted"].as_u64(), told), (Some(0), Some(0), 0));
    assert_eq!(requests["scheduled"], requests["completed"]);
    let of = ["list", "item", "fetch", "stock"].map(|name| completed(&document, name));
    assert!(of[0] >= 10, "{of:?}");
    of.iter().for_each(|count| equally(*count, of[0], 5));
    // Every response was checked once, and all were as they should be.
    assert_eq!(check(&document, "the list has items"), (of[0], 0));
    assert_eq!(check(&document, "the item is the one that was asked for"), (of[1], 0));
    assert_eq!(check(&document, "the price is a price"), (of[3], 0));
    assert_eq!(document["baselines"].as_array().unwrap().len(), 0);
}

#[test]
fn own_content_is_a_page_and_a_pause() {
    let (document, told) = run("own-content.toml", &["--no-publish"]);
    let pages = completed(&document, "page");
    assert!(pages >= 10 && told == 0, "{pages}");
    assert_eq!(check(&document, "status 200"), (pages, 0));
    assert_eq!(check(&document, "less than 5 MB"), (pages, 0));
    assert_eq!(document["requests"]["failed"], 0);
}

#[test]
fn mixed_weighs_its_lists_and_publishes_beside_them() {
    let (document, told) = run("mixed.toml", &[]);
    assert_eq!((document["requests"]["failed"].as_u64(), told), (Some(0), 0));
    let stock = completed(&document, "stock/stock");
    let missing = completed(&document, "missing/not there");
    let history = completed(&document, "history/history");
    assert!(stock > history && history > 0 && missing > 0, "{stock} {history} {missing}");
    // A redirect and its destination are two requests of one step.
    equally(completed(&document, "history/list"), 2 * history, 16);
    assert_eq!(check(&document, "the stock is the one that was asked for"), (stock, 0));
    assert_eq!(check(&document, "the answer says what is missing"), (missing, 0));
    let list = step(&document, "history/list");
    assert_eq!((list["group"].as_str(), list["tags"]["kind"].as_str()), (Some("history"), Some("read")));
    assert!(document["publish"]["completed"].as_u64().is_some());
}

#[test]
fn websocket_talks_as_a_dashboard_does() {
    let (document, told) = run("websocket.toml", &["--no-publish"]);
    let sessions = &document["websocket"];
    let count = |name: &str| sessions[name].as_u64().unwrap();
    assert!(count("completed") >= 10 && told == 0, "{sessions}");
    assert_eq!((count("failed"), count("interrupted")), (0, 0));
    equally(completed(&document, "page"), count("completed"), 10);
    // Two messages go out in a session; the server says who it is, and of each message that it is busy, what the values
    // are, and that it is idle. Those of the first are passed over.
    equally(count("messages_sent"), 2 * count("completed"), 20);
    equally(count("messages_received"), 7 * count("completed"), 70);
    assert_eq!(step(&document, "session")["websocket"]["completed"], sessions["completed"]);
    assert_eq!(
        (step(&document, "session")["completed"].as_u64(), &document["errors"]),
        (Some(0), &serde_json::json!([]))
    );
    let verdict = &document["thresholds"][0];
    assert_eq!((verdict["metric"].as_str(), verdict["passed"].as_bool()), (Some("ws_session_failed"), Some(true)));
}

#[test]
fn publishing_makes_applications_uses_them_and_leaves_none() {
    let (document, told) = run("publishing.toml", &[]);
    assert_eq!((document["requests"]["failed"].as_u64(), told), (Some(0), 0));
    let publish = &document["publish"];
    let (published, used) = (publish["completed"].as_u64().unwrap(), completed(&document, "use"));
    // Three of them in each iteration, and at most two iterations under way at the edges.
    assert!(used >= 2 && publish["failed"] == 0, "{publish}");
    equally(published, 3 * used, 6);
    equally(publish["phases_ms"]["total"]["n"].as_u64().unwrap(), published, 0);
    assert_eq!(check(&document, "the environment is set"), (completed(&document, "settings"), 0));
    // Requests of a publish have their series, and are no fetches.
    for part in ["app/create", "app/upload", "app/deploy", "update/upload", "try/delete"] {
        assert!(completed(&document, part) > 0, "{part}");
    }
    assert_eq!((completed(&document, "update/delete"), completed(&document, "app/prune")), (0, 0));
    assert_eq!(document["left_behind"], serde_json::json!([]));
}

#[test]
fn the_shapes_of_load_send_what_their_files_say() {
    let names = ["iterations.toml", "open-model.toml", "ramping.toml", "soak.toml", "spike.toml"];
    let runs = names.map(|name| std::thread::spawn(move || run(name, &[]).0));
    let [iterations, open, ramping, soak, spike] = runs.map(|run| run.join().unwrap());
    for document in [&iterations, &open, &ramping, &soak, &spike] {
        let requests = &document["requests"];
        assert_eq!((&requests["failed"], &requests["dropped"]), (&0.into(), &0.into()), "{requests}");
        let verdicts = document["thresholds"].as_array().unwrap();
        assert!(!verdicts.is_empty() && verdicts.iter().all(|verdict| verdict["passed"] == true), "{verdicts:?}");
    }
    let scheduled = |document: &Value| document["requests"]["scheduled"].as_u64().unwrap();
    // 400 shared ones, and 20 of each of five VUs.
    assert_eq!(scheduled(&iterations), 500);
    // 4 s at 15, a second from 15 to 150, 3 s at 150, 7 s at 15: 697.5.
    assert_eq!(scheduled(&spike), 697);
    // Poisson arrivals, 1,200 on average: five standard deviations.
    assert!((1_030..=1_370).contains(&scheduled(&open)), "{}", scheduled(&open));
    // Five VUs at ten per second at most, the first of each at once.
    assert!((100..=5 * 151).contains(&completed(&soak, "fetch")), "{}", completed(&soak, "fetch"));
    assert!(soak["publish"]["completed"].as_u64().unwrap() > 0, "{}", soak["publish"]);
    assert!(scheduled(&ramping) > 100, "{}", scheduled(&ramping));
}
