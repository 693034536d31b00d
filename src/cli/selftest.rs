//! `connect-bench selftest`.

use clap::Args;

/// Arguments of `connect-bench selftest`.
#[derive(Debug, Args)]
#[command(
    after_help = "Exit code 0: every figure is in its range; 1: one is not, and this build's verdicts are not to be \
                        trusted.\nNo server is touched; it takes some seconds.\n\nExamples:\n  connect-bench selftest\n  \
                        connect-bench selftest --systems 40 --seed 7"
)]
pub struct SelftestArgs {
    /// Searches on curves, and as many on networks of queues; the other checks grow with it.
    #[arg(long, value_name = "N", default_value_t = 10, value_parser = clap::value_parser!(u32).range(2..=1000))]
    pub systems: u32,
    /// Other systems.
    #[arg(long, value_name = "N", default_value_t = 1)]
    pub seed: u64,
    /// Print the result as one JSON document on stdout.
    #[arg(long)]
    pub json: bool,
}
