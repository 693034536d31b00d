//! Content items that last longer than the publish that made them.

use http::Method;
use serde_json::json;

use super::super::Lasts;
use super::{Driver, GUID, KEY, failing, happy, lasting, status};

#[test]
fn an_item_that_lasts_is_deleted_when_that_is_asked_for() {
    let mut driver = Driver::new(lasting(Lasts::UntilRemoved, &[("MODE", "a \"b\"")]));
    assert!(!driver.program.remove(), "there is nothing yet");
    assert!(driver.iteration(happy));
    assert_eq!(driver.program.item(), Some(GUID));
    let patches: Vec<&String> = driver.seen.iter().filter(|seen| seen.contains("PATCH")).collect();
    assert_eq!(
        patches,
        ["0 PATCH /sub/__api__/v1/content/aaaa-1", "0 PATCH /sub/__api__/v1/content/aaaa-1/environment"]
    );
    assert!(!driver.seen.iter().any(|seen| seen.contains("DELETE")));
    assert!(driver.program.remove());
    driver.seen.clear();
    assert!(driver.iteration(happy));
    assert_eq!(driver.seen, ["6 DELETE /sub/__api__/v1/content/aaaa-1"]);
    assert_eq!((driver.program.item(), driver.notes.events.len()), (None, 1));
    // The next one is a new one.
    assert!(driver.iteration(happy));
    assert_eq!(driver.seen[1], "0 POST /sub/__api__/v1/content");
}

#[test]
fn an_item_that_cannot_be_deleted_is_told_and_left_for_the_clean_up() {
    let mut driver = Driver::new(lasting(Lasts::UntilRemoved, &[]));
    assert!(driver.iteration(happy) && driver.program.remove());
    let refused = |_: &Method, _: &str| status(403, &json!({"error": format!("not with {KEY}"), "code": 22}));
    assert!(!driver.iteration(refused));
    assert_eq!((driver.event()["event"].as_str(), driver.event()["guid"].as_str()), (Some("left_behind"), Some(GUID)));
    assert!(!driver.event().to_string().contains(KEY), "{}", driver.event());
    assert_eq!(driver.program.item(), None);
}

#[test]
fn an_item_of_the_whole_run_is_made_once_and_its_old_bundles_go() {
    let mut driver = Driver::new(lasting(Lasts::Run, &[]));
    assert!(driver.iteration(happy) && driver.iteration(happy));
    let made = driver.seen.iter().filter(|seen| seen.ends_with("POST /sub/__api__/v1/content")).count();
    let uploads =
        driver.seen.iter().filter(|seen| seen.ends_with("POST /sub/__api__/v1/content/aaaa-1/bundles")).count();
    assert_eq!((made, uploads, driver.program.item()), (1, 2, Some(GUID)));
    assert_eq!(driver.seen.last().unwrap(), "5 DELETE /sub/__api__/v1/content/aaaa-1/bundles/11");
}

#[test]
fn what_fails_before_it_can_be_used_is_deleted_whatever_it_was_for() {
    for lasts in [Lasts::UntilRemoved, Lasts::Run] {
        let into = lasting(lasts, &[("A", "b")]);
        let (driver, done) = failing(into, "PATCH", "/environment", || status(400, &json!({"error": "no"})));
        assert!(!done && driver.program.item().is_none());
        assert_eq!(driver.seen.last().unwrap(), "6 DELETE /sub/__api__/v1/content/aaaa-1");
        assert_eq!(driver.event()["error"]["step"], "create");
    }
    // One that is there stays for the next publish.
    let (driver, done) = failing(lasting(Lasts::Run, &[]), "POST", "/deploy", || status(500, &json!({"error": "no"})));
    assert!(!done && driver.program.item() == Some(GUID));
    assert!(!driver.seen.iter().any(|seen| seen.contains("DELETE")));
}
