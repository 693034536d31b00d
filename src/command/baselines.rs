//! `connect-bench baselines`: Posit's documented load-test results.

use std::fmt::Write as _;

use anyhow::Context as _;

use super::failure::Failure;
use super::output;
use crate::baseline::{self, Baseline};
use crate::cli::BaselinesArgs;
use crate::exit::Exit;
use crate::report::number::{MISSING, maybe, percent, significant};

pub(super) fn run(args: &BaselinesArgs) -> Result<Exit, Failure> {
    let known = baseline::documented().context("the built-in baselines")?;
    let text = if args.json {
        serde_json::to_string_pretty(&known.baselines).context("the baselines have no JSON form")? + "\n"
    } else {
        let mut out: String = known.baselines.iter().map(describe).collect();
        // Writing to a String cannot fail.
        let _ = writeln!(out, "{}", baseline::NOTE);
        out
    };
    output::print(&text)?;
    Ok(Exit::Pass)
}

fn describe(b: &Baseline) -> String {
    let nodes = &b.nodes;
    let vus = b.vus.map_or_else(|| MISSING.to_owned(), |vus| vus.to_string());
    let errors = b.error_rate.map_or_else(|| MISSING.to_owned(), percent);
    let caution = b.caution.as_ref().map_or_else(String::new, |caution| format!("  mind: {caution}\n"));
    format!(
        "{}\n  {}\n  {} × {} ({} vCPU, {} GiB)\n  {} requests per second at {vus} VUs, mean latency {} ms, cycle N/X {} ms, \
         {errors} errors\n{caution}\n",
        b.id,
        b.title,
        nodes.count,
        nodes.instance,
        nodes.vcpus,
        nodes.memory_gib,
        significant(b.requests_per_second),
        maybe(b.fetch_latency_mean_ms),
        maybe(b.cycle_ms()),
    )
}
