//! Arguments of `control`.

use std::net::SocketAddr;

use clap::{Args, Subcommand};

use crate::units::loopback;

/// Arguments of `connect-bench control`.
#[derive(Debug, Args)]
#[command(
    after_help = "Examples:\n  connect-bench load -u 50 -d 30m --address 127.0.0.1:6565\n\n  and in another terminal:\n  \
                        connect-bench control pause\n  connect-bench control resume\n  connect-bench control vus 80\n  \
                        connect-bench control metrics http_req_duration\n\nIn the run's own terminal: p pauses and \
                        resumes, + and - change the VUs by a tenth, q stops.\nExit codes: 0 done, 2 the run refuses it, \
                        122 no run answers."
)]
pub struct ControlArgs {
    /// What to ask [default: status].
    #[command(subcommand)]
    pub action: Option<ControlAction>,
    /// Where the run listens: its own --address.
    #[arg(long, value_name = "IP:PORT", value_parser = loopback, default_value = "127.0.0.1:6565", global = true)]
    pub address: SocketAddr,
    /// Print the answer as one JSON document on stdout.
    #[arg(long, global = true)]
    pub json: bool,
}

/// What a run that is on can be asked.
#[derive(Debug, Subcommand)]
pub enum ControlAction {
    /// How it goes.
    Status,
    /// No further iterations until it is resumed; what was begun is finished. The clock goes on.
    Pause,
    /// The end of a pause.
    Resume,
    /// Another number of VUs, of a scenario of the executor constant-vus.
    Vus {
        /// How many.
        vus: u32,
        /// Of this scenario [default: the one that fetches].
        #[arg(long, value_name = "NAME")]
        scenario: Option<String>,
    },
    /// End it: what was begun is finished, the result is printed, what was made is removed.
    Stop,
    /// Its metrics so far.
    Metrics {
        /// This one alone.
        metric: Option<String>,
    },
}
