//! The binary: parse, dispatch, exit code.

use connect_bench::cli::parse;
use connect_bench::command;
use connect_bench::exit::Exit;

fn main() -> Exit {
    command::hide_key();
    command::dispatch(parse())
}
