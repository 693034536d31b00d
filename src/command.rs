//! One file per subcommand. The only place, with `report` and `main`, that writes to stdout and stderr.

use crate::cli::{Cli, Command};
use crate::exit::Exit;

mod sandbox;

/// Runs the subcommand that was typed.
#[must_use]
pub fn dispatch(cli: Cli) -> Exit {
    match cli.command {
        Command::Sandbox(args) => sandbox::run(&args),
        _ => Exit::Fault,
    }
}
