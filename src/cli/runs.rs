//! Arguments of `connect-bench runs`, `completions` and `man`.

use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, Subcommand};

use crate::units::duration;

/// Arguments of `connect-bench runs`.
#[derive(Debug, Args)]
#[command(
    after_help = "Examples:\n  connect-bench runs list\n  connect-bench runs show 1a2b3c4d\n  connect-bench runs prune --keep 20 \
                        --dry-run"
)]
pub struct RunsArgs {
    /// Where run directories are.
    #[arg(long, value_name = "DIR", default_value = "runs", env = "CONNECT_BENCH_RUNS", global = true)]
    pub runs_dir: PathBuf,
    /// What to do.
    #[command(subcommand)]
    pub action: RunsAction,
}

/// What can be done with runs.
#[derive(Debug, Subcommand)]
pub enum RunsAction {
    /// The runs, newest first.
    List {
        /// All of them, not only the newest twenty.
        #[arg(long)]
        all: bool,
        /// Print them as one JSON document on stdout.
        #[arg(long)]
        json: bool,
    },
    /// The result of one run: its directory, or a part of its name that no other run has.
    Show {
        /// Which.
        run: String,
    },
    /// Remove runs: those beyond the newest, those that are old, or those that are both.
    Prune {
        /// Keep the newest N whatever their age.
        #[arg(long, value_name = "N", required_unless_present = "older_than")]
        keep: Option<usize>,
        /// Only what was begun longer ago than this.
        #[arg(long, value_name = "TIME", value_parser = duration)]
        older_than: Option<Duration>,
        /// Only say what would be removed.
        #[arg(long)]
        dry_run: bool,
    },
}

/// Arguments of `connect-bench completions`.
#[derive(Debug, Args)]
#[command(
    after_help = "The script asks the program itself: servers saved by rsconnect, runs and baselines are completed, too.\n\nExamples:\n  connect-bench completions bash > /etc/bash_completion.d/connect-bench\n  connect-bench completions zsh > ~/.zfunc/_connect-bench"
)]
pub struct CompletionsArgs {
    /// For which shell.
    #[arg(value_enum)]
    pub shell: clap_complete::Shell,
}

/// Arguments of `connect-bench man`.
#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  connect-bench man /usr/local/share/man/man1")]
pub struct ManArgs {
    /// The directory that the pages are written to; it must exist.
    pub dir: PathBuf,
}

/// The man pages: the name of each file, and its text.
///
/// # Errors
/// Where a page has no form, which ours have.
pub fn pages() -> std::io::Result<Vec<(String, Vec<u8>)>> {
    let mut command = <super::Cli as clap::CommandFactory>::command();
    command.build();
    let mut pages = Vec::new();
    let mut left = vec![command];
    while let Some(command) = left.pop() {
        left.extend(command.get_subcommands().filter(|sub| sub.get_name() != "help" && !sub.is_hide_set()).cloned());
        let page = clap_mangen::Man::new(command);
        let mut text = Vec::new();
        page.render(&mut text)?;
        pages.push((page.get_filename(), text));
    }
    pages.sort();
    Ok(pages)
}
