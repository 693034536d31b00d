//! The binary: parse, dispatch, exit code.

use connect_bench::cli::{answer, parse};
use connect_bench::command;
use connect_bench::exit::Exit;

fn main() -> Exit {
    command::hide_key();
    // A shell asks what can be typed: nothing else is done then.
    answer();
    match parse() {
        Ok(cli) => command::dispatch(cli),
        Err(fault) => command::refuse(&fault),
    }
}
