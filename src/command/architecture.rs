//! `connect-bench sandbox up`, `tell` and `proxy`.

use std::io::{self, Write as _};
use std::time::Duration;

use anyhow::{Context as _, anyhow};
use tokio::net::UnixListener;

use super::failure::Failure;
use super::sandbox::until_told;
use crate::architecture::action::Action;
use crate::architecture::cluster::{Cluster, Options};
use crate::architecture::control::{self, Answer, Asked};
use crate::architecture::place::{self, Taken};
use crate::architecture::spec::Architecture;
use crate::architecture::{Fault, cluster};
use crate::cli::{ContentKind, ProxyArgs, TellArgs, UpArgs};
use crate::exit::Exit;
use crate::fault_proxy::{Faults, Proxy};

/// How often parts are looked at, for those that ended by themselves.
const LOOK: Duration = Duration::from_millis(250);

impl From<Fault> for Failure {
    fn from(fault: Fault) -> Failure {
        match fault {
            Fault::Missing { .. } | Fault::Part { .. } => Failure::new(Exit::Unreachable, fault),
            Fault::File { .. } => Failure::invalid(fault),
            Fault::Asked(_) => Failure::new(Exit::Usage, fault),
            Fault::Io { .. } => Failure::new(Exit::Fault, fault),
        }
    }
}

/// Brings an architecture up, does what it is told, and takes it down at the end.
pub(super) async fn up(args: &UpArgs) -> Result<Exit, Failure> {
    // The handlers are in place before there is anything to take down.
    let ended = until_told(args.exit_with_parent).context("no signals").map_err(Failure::from)?;
    let mut architecture = Architecture::find(&args.architecture)?;
    architecture.links.extend(args.links.iter().copied());
    if let Some(content) = args.content {
        architecture.nodes.set("--content", if content == ContentKind::Processes { "processes" } else { "simulated" });
    }
    if let Some(folder) = &args.environments {
        let folder = std::path::absolute(folder).context("where the environments are").map_err(Failure::from)?;
        architecture.nodes.set("--environments", &folder.display().to_string());
    }
    cluster::check_parts()?;
    let root = args.state.clone().unwrap_or_else(|| place::usual(&architecture.name));
    let place = match place::take(&root).await? {
        Taken::No(place) => place,
        Taken::Up(environment) => {
            say(&format!("{} is up already, in {}", architecture.name, root.display()));
            print(&environment)?;
            return Ok(Exit::Pass);
        }
    };
    let listener = UnixListener::bind(place::socket(place.root())).context("cannot make the control socket");
    let listener = listener.map_err(Failure::from)?;
    let key = args.api_key.clone().unwrap_or_else(|| uuid::Uuid::new_v4().simple().to_string());
    let program = std::env::current_exe().context("where this program is").map_err(Failure::from)?;
    let options = Options { program, listen: args.listen, key };
    say(&format!("{}: {} (a stand-in, this is not Posit Connect)", architecture.name, architecture.about));
    if architecture.nodes.real_content() {
        say(
            "content: real processes on each node, with the limits of docs/real-content.md; deploy only what you trust",
        );
        cluster::check_runtimes().iter().for_each(|missing| say(&missing.to_string()));
    }
    let mut ended = std::pin::pin!(ended);
    let started = Cluster::start(architecture, place, options, |part| say(&format!("starting {part}")));
    let mut cluster = tokio::select! {
        started = started => started?,
        () = &mut ended => return Ok(Exit::Interrupted),
    };
    let environment = cluster.environment();
    cluster.place().remember(&environment)?;
    print(&environment)?;
    say(&how_to_use(&mut cluster).await);
    let kept = tokio::select! {
        kept = serve(&mut cluster, &listener) => kept,
        () = &mut ended => Ok(()),
    };
    say("taking everything down");
    cluster.down().await;
    kept?;
    Ok(Exit::Pass)
}

async fn how_to_use(cluster: &mut Cluster) -> String {
    let root = cluster.place().root().display().to_string();
    let environment = format!("{root}/cluster.env");
    let authority = match cluster.authority() {
        Some(file) => format!(
            "trusted with {} (rsconnect-python: the same variable; requests: REQUESTS_CA_BUNDLE)\n",
            file.display()
        ),
        None => String::new(),
    };
    format!(
        "\n{}\nlogs and data in {root}\n{authority}In another terminal:\n  set -a; . {environment}; set +a\n  \
         connect-bench load -u 8 -d 1m --at 20s 'node kill 1' --at 40s 'node start 1'\n  \
         connect-bench sandbox tell status\nCtrl-C takes everything down.",
        cluster.status().await
    )
}

/// Does what it is told, until it is told to end, or the balancer does by itself.
async fn serve(cluster: &mut Cluster, listener: &UnixListener) -> Result<(), Failure> {
    // Kept over a look: who has connected and not said everything yet must not be hung up on.
    let mut next = Box::pin(Asked::next(listener));
    loop {
        let asked = tokio::select! {
            asked = &mut next => asked,
            () = tokio::time::sleep(LOOK) => {
                cluster.losses().iter().for_each(|loss| say(&loss.to_string()));
                cluster.balances()?;
                continue;
            }
        };
        next = Box::pin(Asked::next(listener));
        let action: Action = match asked.line.parse() {
            Ok(action) => action,
            Err(why) => {
                asked.answer(&Answer::Failed(why)).await;
                continue;
            }
        };
        if action != Action::Status {
            say(&action.to_string());
        }
        match cluster.act(&action).await {
            Ok(said) => asked.answer(&Answer::Done(said)).await,
            Err(fault) => {
                say(&format!("{action}: {fault}"));
                asked.answer(&Answer::Failed(fault.to_string())).await;
            }
        }
        if action == Action::Down {
            return Ok(());
        }
    }
}

/// Tells an architecture to do something.
pub(super) async fn tell(args: &TellArgs) -> Result<Exit, Failure> {
    let line = args.action.join(" ");
    let action: Action = line.parse().map_err(Failure::usage)?;
    match control::ask(&args.cluster, &action.to_string()).await {
        Ok(said) => {
            print(&said)?;
            Ok(Exit::Pass)
        }
        Err(fault @ Fault::Io { .. }) => Err(Failure::unreachable(fault)),
        Err(fault) => Err(fault.into()),
    }
}

/// A link by itself.
pub(super) async fn proxy(args: &ProxyArgs) -> Result<Exit, Failure> {
    let ended = until_told(false).context("no signals").map_err(Failure::from)?;
    let proxy = Proxy::start(args.listen, args.to, args.faults).await;
    let proxy = proxy.with_context(|| format!("cannot listen on {}", args.listen)).map_err(Failure::from)?;
    print(&format!("{}\n", proxy.address()))?;
    say(&format!("{} to {}: {}", proxy.address(), args.to, proxy.faults()));
    let (send, mut lines) = tokio::sync::mpsc::unbounded_channel();
    // A thread of its own: the runtime's would keep the process until there is one more line.
    let reads = move || io::stdin().lines().map_while(Result::ok).all(|line: String| send.send(line).is_ok());
    std::thread::Builder::new().name("stdin".to_owned()).spawn(reads).context("no thread").map_err(Failure::from)?;
    let told = async {
        while let Some(line) = lines.recv().await {
            match line.parse::<Faults>() {
                Ok(faults) => {
                    proxy.set(faults);
                    say(&faults.to_string());
                }
                Err(why) => say(&why),
            }
        }
        // Without anybody to tell it anything it stays as it is.
        std::future::pending::<()>().await;
    };
    tokio::select! {
        () = told => {}
        () = ended => {}
    }
    Ok(Exit::Pass)
}

fn say(text: &str) {
    let _ = writeln!(io::stderr(), "{text}");
}

/// For scripts; flushed, for whoever reads it waits for it.
fn print(text: &str) -> Result<(), Failure> {
    let mut out = io::stdout().lock();
    let written = out.write_all(text.as_bytes()).and_then(|()| out.flush());
    written.map_err(|error| Failure::from(anyhow!("cannot write to stdout: {error}")))
}
