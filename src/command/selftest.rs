//! `connect-bench selftest`: the statistics on systems whose truth is known.

use anyhow::Context as _;
use serde_json::json;

use super::failure::Failure;
use super::output;
use crate::cli::SelftestArgs;
use crate::exit::Exit;
use crate::selftest::{self, Check, Size};

/// Builds for the gate and runs for intervals, for each system of the search.
const BUILDS: u32 = 50;
const RUNS: u32 = 6;

pub(super) fn run(args: &SelftestArgs) -> Result<Exit, Failure> {
    let systems = args.systems;
    let size = Size { systems, builds: BUILDS * systems, runs: RUNS * systems, seed: args.seed };
    let checks = selftest::run(size);
    let passed = checks.iter().all(Check::passed);
    let text = if args.json {
        let rows: Vec<_> = checks
            .iter()
            .map(|check| {
                let row = serde_json::to_value(check).context("a check has no JSON form")?;
                Ok(json!({ "passed": check.passed(), "check": row }))
            })
            .collect::<Result<_, anyhow::Error>>()?;
        let document = json!({ "kind": "selftest", "schema": 1, "seed": args.seed, "passed": passed, "checks": rows });
        serde_json::to_string_pretty(&document).context("the selftest has no JSON form")? + "\n"
    } else {
        let mut text = "Simulated systems whose truth is known; none of this is Posit Connect.\n\n".to_owned();
        checks.iter().for_each(|check| text.push_str(&row(check)));
        text.push_str(if passed {
            "\npassed\n"
        } else {
            "\nFAILED: do not trust this build's verdicts; please report it\n"
        });
        text
    };
    output::print(&text)?;
    Ok(if passed { Exit::Pass } else { Exit::Fault })
}

fn row(check: &Check) -> String {
    let limit = match (check.at_least, check.at_most) {
        (Some(least), _) => format!("at least {least:.1}"),
        (_, Some(most)) => format!("at most {most}"),
        _ => String::new(),
    };
    let verdict = if check.passed() { "pass" } else { "FAIL" };
    let figure = format!("{:.2} {}", check.value, check.unit);
    format!("{verdict}  {:<18} {figure:>10}  ({limit} {})  {}\n", check.id, check.unit, check.what)
}
