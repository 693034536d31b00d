//! Process settings for the time of a run: set, shown, and put back, whatever happens.

use rustix::process::Signal;
use serde_json::{Value, json};

use crate::support::{Bench, Sandbox};

const FLAGS: [&str; 6] = [
    "--max-processes=7",
    "--min-processes=1",
    "--load-factor=0.25",
    "--idle-timeout=90s",
    "--read-timeout=0s",
    "--no-publish",
];
const NAMES: [&str; 5] = ["max_processes", "min_processes", "load_factor", "idle_timeout", "read_timeout"];

/// An item of somebody's own with a deployed application: one that a run left there. What it was set to.
async fn own_item(sandbox: &Sandbox) -> (String, Value) {
    let bench = Bench::on(sandbox);
    let mut running = bench.start(&["load", "-u", "1", "-d", "60s", "--warmup", "0s", "--no-publish"]);
    running.seconds(1).await;
    running.signal(Signal::KILL);
    running.end().await;
    let items = sandbox.api("GET", "/__api__/v1/content", &Value::Null).await;
    let guid = items[0]["guid"].as_str().unwrap().to_owned();
    let own = json!({"name": "prices", "description": "somebody's own", "max_processes": 2, "load_factor": 0.5});
    sandbox.api("PATCH", &format!("/__api__/v1/content/{guid}"), &own).await;
    (guid.clone(), settings(sandbox, &guid).await)
}

async fn settings(sandbox: &Sandbox, guid: &str) -> Value {
    let item = sandbox.api("GET", &format!("/__api__/v1/content/{guid}"), &Value::Null).await;
    NAMES.iter().map(|name| ((*name).to_owned(), item[*name].clone())).collect::<serde_json::Map<_, _>>().into()
}

fn during() -> Value {
    json!({"max_processes": 7, "min_processes": 1, "load_factor": 0.25, "idle_timeout": 90, "read_timeout": 0})
}

#[tokio::test]
async fn an_item_of_ones_own_has_its_settings_back_after_every_end() {
    let sandbox = Sandbox::quick(&[]).await;
    let (guid, before) = own_item(&sandbox).await;
    assert_eq!(before["max_processes"], 2);
    assert_eq!(before["idle_timeout"], Value::Null);
    let bench = Bench::on(&sandbox);
    let line = [&["load", "--content", &guid, "-u", "2", "--warmup", "0s"][..], &FLAGS].concat();

    let done = bench.run(&[&line[..], &["-d", "2s"]].concat()).await;
    done.passes();
    assert!(
        done.stdout.contains("Content runs with ") && done.stdout.contains("max_processes 7 (set for this"),
        "{done:#?}"
    );
    assert_eq!(settings(&sandbox, &guid).await, before, "after success");

    for signal in [Signal::INT, Signal::TERM, Signal::HUP] {
        let bench = Bench::on(&sandbox);
        let mut running = bench.start(&[&line[..], &["-d", "60s"]].concat());
        running.seconds(1).await;
        assert_eq!(settings(&sandbox, &guid).await, during(), "while it runs");
        running.signal(signal);
        running.end().await.fails(105, &[]);
        assert_eq!(settings(&sandbox, &guid).await, before, "after {signal:?}");
    }
    // It never begins: the path is not there.
    bench.run(&[&line[..], &["-d", "2s", "--path", "/nowhere"]].concat()).await.fails(122, &[]);
    assert_eq!(settings(&sandbox, &guid).await, before, "after a failure");
    assert_eq!(sandbox.items().await, ["prices"]);
}

#[tokio::test]
async fn after_a_kill_the_clean_up_puts_settings_back_and_deletes_nothing_that_is_not_ours() {
    let sandbox = Sandbox::quick(&[]).await;
    let (guid, before) = own_item(&sandbox).await;
    let bench = Bench::on(&sandbox);
    let line = [&["load", "--content", &guid, "-u", "2", "-d", "60s", "--warmup", "0s"][..], &FLAGS].concat();
    let mut running = bench.start(&line);
    running.seconds(1).await;
    let meanwhile = bench.run(&["cleanup"]).await;
    assert_eq!(meanwhile.code, Some(0), "{meanwhile:#?}");
    assert_eq!(settings(&sandbox, &guid).await, during(), "its run is still going");
    running.signal(Signal::KILL);
    running.end().await;
    assert_eq!(settings(&sandbox, &guid).await, during(), "nobody has put them back");
    let warned = bench.run(&["baselines"]).await;
    assert!(warned.stderr.contains(&format!("process settings of {guid}")), "{warned:#?}");

    let dry = bench.run(&["cleanup", "--dry-run"]).await;
    assert!(dry.stdout.contains(&format!("would restore process settings of {guid}")), "{dry:#?}");
    assert_eq!(settings(&sandbox, &guid).await, during());
    // What somebody has changed in the meantime is somebody's decision.
    sandbox.api("PATCH", &format!("/__api__/v1/content/{guid}"), &json!({"idle_timeout": 33})).await;
    let done = bench.run(&["cleanup"]).await;
    assert!(done.code == Some(0) && done.stdout.contains("restored process settings of"), "{done:#?}");
    assert!(done.stdout.contains("idle_timeout changed by somebody since"), "{done:#?}");
    let mut expected = before;
    expected["idle_timeout"] = json!(33);
    assert_eq!(settings(&sandbox, &guid).await, expected);
    assert_eq!(sandbox.items().await, ["prices"], "the item itself is not ours");
    let again = bench.run(&["cleanup"]).await;
    assert!(again.stdout.contains("nothing of ours is there"), "{again:#?}");
}

#[tokio::test]
async fn what_the_run_itself_publishes_is_simply_set_and_the_result_has_what_holds() {
    let bench = Bench::new();
    let ended = bench.load(&[&["--sandbox", "--json"][..], &FLAGS].concat()).await;
    ended.passes();
    let document = ended.json();
    let all = document["target"]["settings"].as_array().unwrap();
    let found = |name: &str| all.iter().find(|setting| setting["name"] == name).unwrap_or_else(|| panic!("{all:#?}"));
    assert_eq!((&found("max_processes")["value"], &found("max_processes")["from"]), (&json!(7), &json!("run")));
    assert_eq!(found("load_factor")["value"], 0.25);
    assert_eq!(found("max_conns_per_process")["from"], "server");
    let plan = std::fs::read_to_string(bench.runs()[0].join("plan.json")).unwrap();
    assert_eq!(
        serde_json::from_str::<Value>(&plan).unwrap()["plan"]["target"]["settings"],
        document["target"]["settings"]
    );
    let journal = std::fs::read_to_string(bench.runs()[0].join("journal.ndjson")).unwrap();
    assert!(!journal.contains("changing"), "what goes at the end needs no restoring: {journal}");
    let dry = bench.load(&["--sandbox", "--dry-run", "--max-processes=4"]).await;
    assert!(dry.stdout.contains("sets on the content that is fetched: max_processes 4\n"), "{dry:#?}");
}

#[tokio::test]
async fn what_no_server_takes_is_a_wrong_command_line() {
    let bench = Bench::new();
    for (flag, word) in [
        ("--load-factor=1.5", "from 0 to 1"),
        ("--load-factor=nan", "from 0 to 1"),
        ("--idle-timeout=1500ms", "whole seconds"),
        ("--init-timeout=31d", "at most 30d"),
        ("--max-processes=0", "--max-processes"),
        ("--max-processes=many", "--max-processes"),
    ] {
        bench.load(&["--sandbox", flag]).await.fails(2, &[word]);
    }
    bench
        .load(&["--sandbox", "--min-processes=5", "--max-processes=4"])
        .await
        .fails(2, &["more than --max-processes 4"]);
    bench.load(&["--url=http://127.0.0.1:1/", "--max-processes=4"]).await.fails(2, &["--url knows no Connect"]);
    // The server's own limits are the server's to say.
    bench.load(&["--sandbox", "--max-processes=5000"]).await.fails(122, &["process settings", "greater than"]);
}
