//! The binary: parse, dispatch, exit code.

use std::process::{ExitCode, Termination as _};

use connect_bench::cli::parse;
use connect_bench::command;

fn main() -> ExitCode {
    command::guard().unwrap_or_else(|| command::dispatch(parse()).report())
}
