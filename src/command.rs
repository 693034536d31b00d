//! One file per subcommand. The only place, with `report` and `main`, that writes to stdout and stderr.

use std::future::Future;
use std::io::Write as _;

use anyhow::Context as _;

use crate::cli::{Cli, Command, ConfigFault};
use crate::exit::Exit;

mod accept;
mod architecture;
mod baselines;
mod canvas;
mod capacity;
mod check;
mod child;
mod cleanup;
mod compare;
mod connection;
mod control;
mod doctor;
mod drive;
mod dry;
mod evidence;
mod export;
mod failure;
mod gate;
mod guard;
mod hide;
mod history;
mod hosts;
mod init;
mod keys;
mod leftovers;
mod live;
mod load;
mod output;
mod outs;
mod pages;
mod panics;
mod parts;
mod plain;
mod programs;
mod rails;
mod ramp;
mod references;
mod rehearsal;
mod relative;
mod report;
mod resume;
mod retry;
mod run;
mod run_file;
mod runs;
mod sandbox;
mod scrape;
mod selftest;
mod session;
mod signals;
mod silence;
mod target;
mod usage;
mod validate;
mod view;

pub use guard::guard;
pub use panics::tell_panics;

use failure::Failure;
pub use hide::hide_key;

/// Runs the subcommand that was typed.
#[must_use]
pub fn dispatch(cli: Cli) -> Exit {
    // A server logs by itself, where it is asked to.
    if !matches!(&cli.command, Command::Sandbox(args) if sandbox::serves(args)) {
        log_to_stderr(cli.verbose);
    }
    leftovers::tell(&cli.command);
    panics::stopped(|| obey(cli.command)).unwrap_or_else(|failure| {
        say(&format!("error: {:#}", failure.error));
        failure.exit
    })
}

fn obey(command: Command) -> Result<Exit, Failure> {
    match command {
        Command::Init(args) => init::run(&args),
        Command::Doctor(args) => in_runtime(doctor::run(&args)),
        Command::Ramp(args) => in_runtime(ramp::run(&args)),
        Command::Load(args) => in_runtime(load::run(&args)),
        Command::Run(args) => in_runtime(run_file::run(&args)),
        Command::Check(args) => check::run(&args),
        Command::Report(args) => report::run(&args),
        Command::Control(args) => in_runtime(control::run(&args)),
        Command::Cleanup(args) => in_runtime(cleanup::run(&args)),
        Command::Gate(args) => in_runtime(gate::run(&args)),
        Command::Compare(args) => compare::run(&args),
        Command::History(args) => history::run(&args),
        Command::Capacity(args) => in_runtime(capacity::run(&args)),
        Command::Runs(args) => runs::run(&args),
        Command::Completions(args) => runs::complete(&args),
        Command::Man(args) => runs::man(&args),
        Command::Baselines(args) => baselines::run(&args),
        Command::Sandbox(args) => sandbox::run(&args),
        Command::Selftest(args) => selftest::run(&args),
    }
}

/// Says why nothing is done: the configuration file makes no sense.
#[must_use]
pub fn refuse(fault: &ConfigFault) -> Exit {
    say(&format!("error: {fault}"));
    Exit::Invalid
}

/// Writes a line to stderr. One that is full, closed or gone with its terminal is no reason to stop.
fn say(message: &str) {
    let _ = writeln!(std::io::stderr(), "{message}");
}

/// The control runtime: one thread, which is none of the workers.
fn in_runtime(command: impl Future<Output = Result<Exit, Failure>>) -> Result<Exit, Failure> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let runtime = runtime.context("the system gives no event loop").map_err(Failure::from)?;
    runtime.block_on(Box::pin(command))
}

fn log_to_stderr(verbose: u8) {
    let level = match verbose {
        0 => "warn",
        1 => "connect_bench=info,warn",
        _ => "connect_bench=debug,info",
    };
    let filter = tracing_subscriber::EnvFilter::try_from_env("CONNECT_BENCH_LOG");
    let filter = filter.unwrap_or_else(|_unset| tracing_subscriber::EnvFilter::new(level));
    let log = tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr).with_target(false);
    // Said on the stderr that cannot be written to, that would be a panic.
    log.log_internal_errors(false).init();
}
