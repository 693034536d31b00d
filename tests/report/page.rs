//! The page: of finished and of killed runs, within its bounds, and read again.

use std::path::Path;

use connect_bench::report::archive::Archive;
use connect_bench::report::text;
use serde_json::Value;

use crate::runs::{Shape, write};
use crate::{bench, printed};

/// Most bytes of a page of half an hour.
const MOST_BYTES: usize = 1_500_000;

fn page(place: &Path, run: &Path) -> String {
    printed(place, &["report", run.to_str().unwrap(), "--html", "page.html", "--quiet"]);
    std::fs::read_to_string(place.join("page.html")).unwrap()
}

#[test]
fn a_page_of_a_thousand_million_requests_in_half_an_hour_is_small() {
    let place = tempfile::tempdir().unwrap();
    let shape = Shape { warm_up: 120, per_second: 520_834, ..Shape::load(1800) };
    let (run, summary) = write(place.path(), &shape);
    assert!(summary.whole.series[0].requests.completed > 1_000_000_000);
    let page = page(place.path(), &run);
    assert!(page.len() < MOST_BYTES, "{} bytes", page.len());
    let archive = Archive::from_page(page.as_bytes()).unwrap();
    let course = &archive.runs[0].course;
    assert_eq!(course.slots.iter().map(|slot| slot.completed).sum::<u64>(), 1920 * shape.per_second);
    assert_eq!(course.slots.iter().flat_map(|slot| &slot.heat).map(|(_, n)| n).sum::<u64>(), 1920 * shape.per_second);
}

#[test]
fn what_a_page_has_in_it_is_what_the_run_had() {
    let place = tempfile::tempdir().unwrap();
    for shape in [Shape { servers: true, ..Shape::load(30) }, Shape { command: "ramp", ..Shape::load(31) }] {
        let (run, summary) = write(place.path(), &shape);
        let page = page(place.path(), &run);
        let archive = Archive::from_page(page.as_bytes()).unwrap();
        assert_eq!(archive.runs[0].summary, summary);
        let of = |arguments: &[&str]| {
            let mut json: Value = serde_json::from_str(&printed(place.path(), arguments)).unwrap();
            json["run_dir"] = Value::Null;
            json
        };
        let direct = of(&["report", run.to_str().unwrap(), "--json"]);
        assert_eq!(of(&["report", "--from", "page.html", "--json"]), direct);
        // And a page of a page is the page.
        printed(place.path(), &["report", "--from", "page.html", "--html", "again.html", "--quiet"]);
        assert!(std::fs::read_to_string(place.path().join("again.html")).unwrap() == page);
    }
}

#[test]
fn a_killed_run_has_a_page_that_says_so() {
    let place = tempfile::tempdir().unwrap();
    let (run, _) = write(place.path(), &Shape { finished: false, ..Shape::load(40) });
    // As a kill leaves it: the last line is torn.
    let windows = std::fs::read(run.join("windows.ndjson")).unwrap();
    std::fs::write(run.join("windows.ndjson"), &windows[..windows.len() - 2000]).unwrap();
    let page = page(place.path(), &run);
    assert!(page.contains("PARTIAL, 39 s of 40 s: ") && page.contains("</span>partial</span>"));
    assert_eq!(Archive::from_page(page.as_bytes()).unwrap().runs[0].course.end_s(), 44);
}

#[test]
fn without_a_file_the_page_is_in_the_run_directory_and_a_directory_is_no_file() {
    let place = tempfile::tempdir().unwrap();
    let (run, _) = write(place.path(), &Shape::load(20));
    let run = run.to_str().unwrap();
    printed(place.path(), &["report", run, "--quiet", "--html"]);
    assert!(std::fs::read_to_string(format!("{run}/report.html")).unwrap().starts_with("<!DOCTYPE html>"));
    let refused = bench(place.path(), &["report", "--html", run]);
    assert_eq!(refused.status.code(), Some(2));
    assert!(String::from_utf8_lossy(&refused.stderr).contains("that is a directory"));
}

#[test]
fn the_policy_of_a_page_allows_what_it_consists_of_and_nothing_else() {
    let place = tempfile::tempdir().unwrap();
    let (run, _) = write(place.path(), &Shape::load(20));
    let page = page(place.path(), &run);
    let policy = page.split("Content-Security-Policy\" content=\"").nth(1).unwrap().split('"').next().unwrap();
    assert!(policy.starts_with("default-src 'none'; style-src 'sha256-"), "{policy}");
    assert!(!policy.contains("unsafe") && !policy.contains('*') && !policy.contains("http"), "{policy}");
    for outside in ["src=", "href=", "url(", "@import", " style=", " onclick", "http://www", "fetch(", "import("] {
        let of_ours = page.split("connect-bench-data").next().unwrap();
        assert!(!of_ours.contains(outside), "{outside}");
    }
}

#[test]
fn a_search_that_broke_nothing_says_whether_the_limit_or_the_time_ended_it() {
    let place = tempfile::tempdir().unwrap();
    // Never more than 2000 per second.
    let (run, summary) = write(place.path(), &Shape { command: "ramp", rates: true, ..Shape::load(30) });
    for (rate, says) in [(1100, "none was broken in the time there was"), (2000, "none was broken; raise --max-rate")] {
        let mut search = summary.search.clone().unwrap();
        let kept = search.result.kept.as_mut().unwrap();
        (kept.rate, kept.broken_at_rate, kept.broken) = (Some(rate), None, None);
        let told = text::ramp(&summary, &search, &run);
        assert!(told.split_whitespace().collect::<Vec<_>>().join(" ").contains(says), "{told}");
    }
}
