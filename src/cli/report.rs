//! Arguments of `report`.

use std::path::PathBuf;

use clap::{Args, ValueEnum};

use super::OutputArgs;

/// How a result is printed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum SummaryStyle {
    /// Verdict first, one screen.
    Own,
    /// As k6 does at the end of a test.
    K6,
}

/// Arguments of `connect-bench report`.
#[derive(Debug, Args)]
#[command(
    after_help = "Examples:\n  connect-bench report                              # the newest run again, as text\n  \
                        connect-bench report runs/20260101T000000Z-load-1a2b3c4d --html report.html\n  \
                        connect-bench report --from report.html --json    # what a page has in it\n  \
                        connect-bench report --export junit --export k6=summary.json --summary k6"
)]
pub struct ReportArgs {
    /// Directory of a run [default: the newest].
    pub run: Option<PathBuf>,
    /// Write the run in a form of other programs, to FILE or into its directory (`-`: stdout): `k6` (what handleSummary
    /// gets), `k6-summary-export`, `markdown`, `junit`, `openmetrics`, `hgrm`, `hlog`, `csv`, `influx`. May be repeated.
    #[arg(long, value_name = "KIND[=FILE]")]
    pub export: Vec<String>,
    /// Print the result as k6 prints its own at the end of a test.
    #[arg(long, value_name = "STYLE", value_enum, default_value_t = SummaryStyle::Own)]
    pub summary: SummaryStyle,
    /// Take the run from a page that was written with `--html`.
    #[arg(long, value_name = "PAGE", conflicts_with = "run")]
    pub from: Option<PathBuf>,
    /// Compare with this documented baseline only. May be repeated.
    #[arg(long, value_name = "ID")]
    pub baseline: Vec<String>,
    /// Where results go.
    #[command(flatten)]
    pub output: OutputArgs,
}
