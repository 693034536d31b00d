//! `runs`, `completions` and `man`.

use crate::runs::{Shape, write};
use crate::{bench, printed};

#[test]
fn runs_are_listed_shown_and_pruned() {
    let place = tempfile::tempdir().unwrap();
    let root = place.path().join("runs");
    for shape in [Shape::load(10), Shape::load(11), Shape { command: "ramp", ..Shape::load(12) }] {
        write(&root, &shape);
    }
    let table = printed(place.path(), &["runs", "list"]);
    assert_eq!(table.lines().count(), 4, "{table}");
    assert!(table.lines().nth(1).unwrap().starts_with("20260101T000000Z-ramp-12  finished"), "{table}");
    let list: serde_json::Value = serde_json::from_str(&printed(place.path(), &["runs", "list", "--json"])).unwrap();
    assert_eq!((&list[0]["vus"], &list[2]["requests_per_second"]), (&205.0.into(), &240.0.into()));
    assert!(printed(place.path(), &["runs", "show", "load-11"]).contains("240 requests per second"));
    let twice = bench(place.path(), &["runs", "show", "load"]);
    assert_eq!(twice.status.code(), Some(104));
    assert!(String::from_utf8_lossy(&twice.stderr).contains("more than one run"));
    // What may still be on a server is kept, whatever is asked for.
    let intent = "{\"record\":\"intent\",\"kind\":\"content\",\"name\":\"a\",\"run_id\":\"r\",\"server\":\"https://a.example/\"}\n";
    std::fs::write(root.join("20260101T000000Z-load-10/journal.ndjson"), intent).unwrap();
    // Every command says that something may still be there.
    let warned = |line: &[&str]| {
        let output = bench(place.path(), line);
        assert!(output.status.success() && String::from_utf8_lossy(&output.stderr).contains("connect-bench cleanup"));
        String::from_utf8(output.stdout).unwrap()
    };
    let dry = warned(&["runs", "prune", "--keep", "1", "--dry-run"]);
    assert!(dry.contains("would remove 20260101T000000Z-load-11"), "{dry}");
    assert_eq!(std::fs::read_dir(&root).unwrap().count(), 3);
    let said = warned(&["runs", "prune", "--keep", "1"]);
    assert!(said.contains("removed 20260101T000000Z-load-11"), "{said}");
    assert!(said.contains("kept 20260101T000000Z-load-10: something of it may still be on a server"), "{said}");
    assert_eq!(std::fs::read_dir(&root).unwrap().count(), 2);
    assert_eq!(bench(place.path(), &["runs", "prune"]).status.code(), Some(2), "nothing is removed unasked");
}

#[test]
fn completions_and_man_pages_name_every_command() {
    let place = tempfile::tempdir().unwrap();
    for shell in ["bash", "zsh", "fish", "powershell"] {
        let script = printed(place.path(), &["completions", shell]);
        assert!(script.contains("connect-bench") && script.contains("COMPLETE"), "{shell}");
    }
    std::fs::create_dir(place.path().join("man")).unwrap();
    printed(place.path(), &["man", "man"]);
    let page = |name: &str| std::fs::read_to_string(place.path().join("man").join(name)).unwrap();
    assert!(page("connect-bench.1").contains("connect\\-bench"));
    assert!(page("connect-bench-ramp.1").contains("then\\-load"));
    assert!(page("connect-bench-runs-prune.1").contains("older\\-than"));
    assert_eq!(bench(place.path(), &["man", "nowhere"]).status.code(), Some(2));
}
