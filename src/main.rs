//! The binary: parse, dispatch, exit code.

use std::process::{ExitCode, Termination as _};

use connect_bench::cli::{answer, parse};
use connect_bench::command;

fn main() -> ExitCode {
    if let Some(code) = command::guard() {
        return code;
    }
    command::tell_panics();
    command::hide_key();
    // A shell asks what can be typed: nothing else is done then.
    answer();
    let exit = match parse() {
        Ok(cli) => command::dispatch(cli),
        Err(fault) => command::refuse(&fault),
    };
    exit.report()
}
