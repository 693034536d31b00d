//! The binary: parse, dispatch, exit code.

use clap::Parser as _;
use connect_bench::cli::Cli;
use connect_bench::command;
use connect_bench::exit::Exit;

fn main() -> Exit {
    command::dispatch(Cli::parse())
}
