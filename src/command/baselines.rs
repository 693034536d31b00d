//! `connect-bench baselines`: Posit's documented load-test results, and the way to accept one's own.

use anyhow::Context as _;

use super::failure::Failure;
use super::{accept, output};
use crate::baseline::{self, Baseline};
use crate::cli::{BaselinesArgs, BaselinesCommand};
use crate::exit::Exit;
use crate::report::number::{percent, significant};
use crate::report::text::wrap;

pub(super) fn run(args: &BaselinesArgs) -> Result<Exit, Failure> {
    if let Some(BaselinesCommand::Accept(args)) = &args.command {
        return accept::run(args);
    }
    let known = baseline::documented().context("the built-in baselines")?;
    let text = if args.json {
        serde_json::to_string_pretty(&known.baselines).context("the baselines have no JSON form")? + "\n"
    } else {
        let mut out: String = known.baselines.iter().map(describe).collect();
        out.push_str(&wrap(baseline::NOTE, "", 0));
        out
    };
    output::print(&text)?;
    Ok(Exit::Pass)
}

fn describe(b: &Baseline) -> String {
    let nodes = &b.nodes;
    let mut figures = vec![format!("{} requests per second", significant(b.requests_per_second))];
    figures.extend(b.vus.map(|vus| format!("{vus} VUs")));
    figures.extend(b.fetch_latency_mean_ms.map(|ms| format!("mean latency {} ms", significant(ms))));
    figures.extend(b.cycle_ms().map(|ms| format!("cycle time N/X {} ms", significant(ms))));
    figures.extend(b.error_rate.map(|rate| format!("{} errors", percent(rate))));
    let caution = b.caution.as_ref().map_or_else(String::new, |caution| wrap(caution, "  mind: ", 4));
    format!(
        "{}\n  {}\n  {} × {} ({} vCPU, {} GiB)\n{}{caution}\n",
        b.id,
        b.title,
        nodes.count,
        nodes.instance,
        nodes.vcpus,
        nodes.memory_gib,
        wrap(&figures.join(", "), "  ", 2),
    )
}
