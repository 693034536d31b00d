//! Process settings of the content item that is fetched, for the time of the run. Names are those of Connect's settings.

use std::time::Duration;

use clap::Args;

use crate::units::duration;

/// How the server runs the content item.
#[derive(Debug, Clone, Default, Args)]
#[command(next_help_heading = "Processes of the content, during the run")]
pub struct RuntimeArgs {
    /// Processes of the fetched content item that are kept warm. Of an item that is yours, this and what follows are put
    /// back after the run.
    #[arg(long, value_name = "N")]
    pub min_processes: Option<u32>,
    /// Most processes of it.
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    pub max_processes: Option<u32>,
    /// Most connections of one of its processes.
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    pub max_conns_per_process: Option<u32>,
    /// How eagerly processes are started, 0 to 1.
    #[arg(long, value_name = "SHARE")]
    pub load_factor: Option<f64>,
    /// How long a process may take to start.
    #[arg(long, value_name = "TIME", value_parser = duration)]
    pub init_timeout: Option<Duration>,
    /// How long a process stays without connections.
    #[arg(long, value_name = "TIME", value_parser = duration)]
    pub idle_timeout: Option<Duration>,
    /// How long a connection to it may go without traffic; 0s: as long as it likes.
    #[arg(long, value_name = "TIME", value_parser = duration)]
    pub connection_timeout: Option<Duration>,
    /// How long a connection to it may go without data from the client; 0s: as long as it likes.
    #[arg(long, value_name = "TIME", value_parser = duration)]
    pub read_timeout: Option<Duration>,
}
