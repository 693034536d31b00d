//! The pages in a real browser: silent, alone, operable, accessible, printable, and with the right figures.

use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::Value;

use crate::other_pages::{compared, developed, gated, ramps_compared, sized};
use crate::runs::{Shape, write};
use crate::{printed, tools};

/// Most sheets that a run is printed on.
const MOST_SHEETS: u64 = 3;

/// What became of each page; nothing where there is no browser.
fn look(pages: &[&Path]) -> Option<Vec<Value>> {
    let (chromium, axe, python) = (tools::chromium()?, tools::axe()?, tools::interpreter()?);
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/report/browser.py");
    let output = Command::new(python).arg(script).arg(chromium).arg(axe).args(pages).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let told: Value = serde_json::from_slice(&output.stdout).unwrap();
    Some(pages.iter().map(|page| told[page.to_string_lossy().as_ref()].clone()).collect())
}

/// A page of the run, and the run's JSON document.
fn page(place: &Path, shape: &Shape, name: &str) -> (PathBuf, Value) {
    let (run, _) = write(place, shape);
    let file = place.join(name);
    let json = printed(place, &["report", run.to_str().unwrap(), "--html", name, "--json", "--quiet"]);
    (file, serde_json::from_str(&json).unwrap())
}

/// What every page has to be, whatever it shows.
fn expect_well_behaved(told: &Value) {
    assert_eq!(told["console"], serde_json::json!([]));
    assert_eq!(told["requests"], serde_json::json!([]));
    assert_eq!(told["outside"], serde_json::json!([]));
    assert_eq!(told["violations"], serde_json::json!([]));
    assert_eq!(told["wider_than_a_phone"], false);
    // The policy lets its own style and script through, and there are only the script and the data.
    assert_eq!((told["styled"].as_str(), told["scripts"].as_u64()), (Some("grid"), Some(2)));
}

fn expect_keyboard(told: &Value, first: &str) {
    let keyboard = &told["keyboard"];
    assert!(keyboard["focused"] == true && keyboard["shown"] == true && keyboard["hidden"] == true, "{keyboard}");
    assert!(keyboard["said"].as_str().unwrap().starts_with(first), "{keyboard}");
    let zoom = &told["zoom"];
    let share = |name: &str| zoom[name].as_f64().unwrap() / zoom["whole"].as_f64().unwrap();
    let close = |name: &str, expected: f64| assert!((share(name) - expected).abs() < 0.01, "{name}: {zoom}");
    close("once", 0.5);
    close("twice", 0.25);
    close("dragged", 0.25);
    assert_eq!(zoom["back"], true, "{zoom}");
}

/// Every figure that the page says is in the document, is there; and so many at least the page says.
fn expect_figures(told: &Value, document: &Value, least: usize) {
    let figures = told["figures"].as_object().unwrap();
    assert!(figures.len() >= least, "{figures:?}");
    for (path, shown) in figures {
        let exact = path.split('.').fold(document, |value, key| match key.parse::<usize>() {
            Ok(at) => &value[at],
            Err(_) => &value[key],
        });
        let (shown, exact) = (shown.as_f64(), exact.as_f64());
        assert_eq!(shown, exact, "{path}");
        assert!(shown.is_some(), "{path} is nothing");
    }
}

/// What the rules saw is on the page, each with its advice.
fn expect_insights(told: &Value, document: &Value) {
    let text = told["text"].as_str().unwrap();
    let insights = document["insights"].as_array().unwrap();
    for insight in insights {
        for part in ["id", "finding", "advice"] {
            let said = insight[part].as_str().unwrap();
            assert!(text.contains(said), "{said:?} is not in\n{text}");
        }
    }
}

#[test]
fn pages_of_a_load_test_and_of_ramps_of_both_models_in_a_browser() {
    let place = tempfile::tempdir().unwrap();
    let (load, load_json) = page(place.path(), &Shape::load(120), "load.html");
    let ramp = Shape { command: "ramp", servers: true, ..Shape::load(100) };
    let rates = Shape { rates: true, steady: 110, ..ramp.clone() };
    let (ramp, ramp_json) = page(place.path(), &ramp, "ramp.html");
    let (rates, rates_json) = page(place.path(), &rates, "rates.html");
    let Some(told) = look(&[&load, &ramp, &rates]) else { return };
    // A search for a rate has no interval and no number of VUs.
    for (told, (json, figures)) in told.iter().zip([(&load_json, 4), (&ramp_json, 4), (&rates_json, 3)]) {
        expect_well_behaved(told);
        expect_figures(told, json, figures);
        let sheets = told["sheets"].as_u64().unwrap();
        assert!((1..=MOST_SHEETS).contains(&sheets), "{sheets} sheets");
        expect_insights(told, json);
    }
    expect_keyboard(&told[0], "from, min:s: 0:01, ");
    expect_keyboard(&told[1], "VUs: 2, ");
    expect_keyboard(&told[2], "due per s: 20, ");
    assert_eq!(told[2]["figures"]["saturation.rate"], 1100);
    let text = told[2]["text"].as_str().unwrap();
    for says in ["Throughput against the rate that was due", "p(95)<200", "per second are too many"] {
        assert!(text.contains(says), "{says:?} is not in\n{text}");
    }
}

#[test]
fn a_page_with_hostile_text_in_a_browser_shows_it_and_does_nothing() {
    let place = tempfile::tempdir().unwrap();
    let foreign = "</script></style>\"'><img src=x onerror=alert(1)><script>alert(2)</script>".to_owned();
    let (page, _) = page(place.path(), &Shape { foreign, servers: true, ..Shape::load(40) }, "hostile.html");
    let Some(told) = look(&[&page]) else { return };
    expect_well_behaved(&told[0]);
    assert!(told[0]["text"].as_str().unwrap().contains("<img src=x onerror=alert(1)>"), "{}", told[0]["text"]);
}

#[test]
fn pages_of_a_comparison_a_gate_a_history_and_a_plan_in_a_browser() {
    let place = tempfile::tempdir().unwrap();
    let made = ["compare", "ramps", "gate", "history", "capacity"].map(|name| {
        let place = place.path().join(name);
        std::fs::create_dir(&place).unwrap();
        match name {
            "compare" => compared(&place),
            "ramps" => ramps_compared(&place),
            "gate" => gated(&place),
            "history" => developed(&place),
            _ => sized(&place),
        }
    });
    let pages: Vec<&Path> = made.iter().map(|made| made.page.as_path()).collect();
    let Some(told) = look(&pages) else { return };
    let begins = ["percentile: 50 %, ", "VUs: 1, ", "percentile: 50 %, ", "run: 20260102", "in months: 3, "];
    let says = ["B is worse than A: ", "B carries less than A: ", "REGRESSED: ", "The level changed ", "plan for "];
    for (((told, made), begin), says) in told.iter().zip(&made).zip(begins).zip(says) {
        expect_well_behaved(told);
        expect_figures(told, &made.document, 4);
        expect_keyboard(told, begin);
        assert!(told["text"].as_str().unwrap().contains(says), "{}", told["text"]);
        let sheets = told["sheets"].as_u64().unwrap();
        assert!((1..=MOST_SHEETS).contains(&sheets), "{begin} {sheets} sheets");
    }
}
