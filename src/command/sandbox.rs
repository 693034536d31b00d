//! `connect-bench sandbox`.

use std::io::{self, Read as _, Write as _};

use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::oneshot;

use super::failure::Failure;
use super::{architecture, in_runtime};
use crate::cli::{ContentKind, SandboxArgs, SandboxCommand, SandboxCommands, SandboxLog};
use crate::exit::Exit;
use crate::sandbox::{BalancerKind, Config, CurveError, Faults, Limits, ProcessOptions, Sandbox, StartError};

/// Whether it is one server, which has a log of its own.
pub(super) fn serves(args: &SandboxCommands) -> bool {
    matches!(args.command, None | Some(SandboxCommand::Node(_)))
}

/// Starts what was asked for.
pub(super) fn run(args: &SandboxCommands) -> Result<Exit, Failure> {
    match &args.command {
        None => Ok(one(&args.serve, None)),
        Some(SandboxCommand::Node(node)) => Ok(one(&node.serve, Some(&node.name))),
        Some(SandboxCommand::Up(up)) => in_runtime(architecture::up(up)),
        Some(SandboxCommand::Tell(tell)) => in_runtime(architecture::tell(tell)),
        Some(SandboxCommand::Proxy(proxy)) => in_runtime(architecture::proxy(proxy)),
    }
}

/// Serves the stand-in until it is told to stop; as a node of that name, with nothing in front of it, or as all of it.
fn one(args: &SandboxArgs, name: Option<&str>) -> Exit {
    let mut log = io::stderr();
    let version = env!("CARGO_PKG_VERSION");
    let _ = writeln!(log, "connect-bench {version} sandbox: a stand-in, this is not Posit Connect");
    if args.log.is_some() {
        tracing_subscriber::fmt().with_writer(io::stderr).with_ansi(false).init();
    }
    match serve(args, name) {
        Ok(()) => Exit::Pass,
        Err(fault) => {
            let _ = writeln!(log, "error: {fault}");
            match fault {
                Fault::Config(_) | Fault::Node(..) => Exit::Usage,
                Fault::Start(_) | Fault::System(_) => Exit::Fault,
            }
        }
    }
}

/// Why there is no sandbox.
#[derive(Debug, thiserror::Error)]
enum Fault {
    #[error(transparent)]
    Config(#[from] CurveError),
    #[error("--fault-restart names node {0}, and there are {1}")]
    Node(usize, usize),
    #[error(transparent)]
    Start(#[from] StartError),
    #[error(transparent)]
    System(#[from] io::Error),
}

fn serve(args: &SandboxArgs, name: Option<&str>) -> Result<(), Fault> {
    let mut config = config(args)?;
    if let Some(name) = name {
        config = Config { nodes: 1, balancer: BalancerKind::None, hostname: Some(name.to_owned()), ..config };
    }
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    // A thread of its own, for a start can wait long for its database.
    let started = runtime.block_on(async {
        // The handlers are in place before anybody can know that the sandbox is there.
        let mut ended = Box::pin(until_told(args.exit_with_parent)?);
        let (tell, told) = oneshot::channel();
        let mut starting = tokio::task::spawn_blocking(move || Sandbox::start_unless(config, told));
        let sandbox = tokio::select! {
            started = &mut starting => started.map_err(io::Error::other)??,
            () = &mut ended => {
                // It removes what it has made so far.
                let _ = tell.send(());
                let _ = starting.await;
                return Ok(None);
            }
        };
        announce(&sandbox)?;
        ended.await;
        Ok::<_, Fault>(Some(sandbox))
    });
    if let Some(sandbox) = started? {
        let counts = sandbox.stop();
        let _ = writeln!(io::stderr(), "{counts}");
    }
    Ok(())
}

/// Two lines that a shell can export. Flushed, for whoever reads them waits for them.
fn announce(sandbox: &Sandbox) -> io::Result<()> {
    let mut out = io::stdout().lock();
    writeln!(out, "CONNECT_SERVER={}", sandbox.url())?;
    writeln!(out, "CONNECT_API_KEY={}", sandbox.api_key())?;
    out.flush()
}

/// Ends at SIGINT, at SIGTERM, or when stdin is closed if that is asked for.
pub(super) fn until_told(exit_with_parent: bool) -> io::Result<impl Future<Output = ()>> {
    let (mut interrupt, mut terminate) = (signal(SignalKind::interrupt())?, signal(SignalKind::terminate())?);
    // Without a thread that watches stdin the sender stays with us, and never tells anything.
    let (closed, stdin_closed) = oneshot::channel::<()>();
    let mut kept = Some(closed);
    if exit_with_parent {
        let closed = kept.take();
        std::thread::Builder::new().name("stdin".to_owned()).spawn(move || {
            let mut bytes = [0u8; 256];
            while io::stdin().read(&mut bytes).is_ok_and(|n| n > 0) {}
            drop(closed);
        })?;
    }
    Ok(async move {
        tokio::select! {
            _ = interrupt.recv() => {}
            _ = terminate.recv() => {}
            _ = stdin_closed => {}
        }
        drop(kept);
    })
}

fn processes(args: &SandboxArgs) -> Result<Option<ProcessOptions>, Fault> {
    if args.content == ContentKind::Simulated {
        return Ok(None);
    }
    let limits = Limits { memory: args.process_memory << 20, ..Limits::default() };
    // We are the guard of each process, too.
    Ok(Some(ProcessOptions { guard: std::env::current_exe()?, limits, environments: args.environments.clone() }))
}

fn config(args: &SandboxArgs) -> Result<Config, Fault> {
    let mut shape = args.profile.shape()?;
    if let Some(spec) = args.curve {
        shape.curve = spec.curve;
        shape.nodes = spec.nodes.unwrap_or(shape.nodes);
    }
    shape.nodes = args.nodes.map_or(shape.nodes, usize::from);
    // Connect's nodes need a balancer that keeps a client on one of them.
    let usual =
        if shape.nodes > 1 && shape.balancer == BalancerKind::None { BalancerKind::AppGw } else { shape.balancer };
    shape.balancer = args.balancer.unwrap_or(usual);
    if let Some(restart) = args.fault_restart.iter().find(|restart| restart.node >= shape.nodes) {
        return Err(Fault::Node(restart.node + 1, shape.nodes));
    }
    let faults = Faults {
        error_rate: args.fault_error_rate,
        stall: args.fault_stall,
        restarts: args.fault_restart.clone(),
        license_expired: args.fault_license,
        html: args.fault_html,
    };
    Ok(Config {
        listen: args.listen,
        data_dir: args.data_dir.clone(),
        database: args.database.clone(),
        api_key: args.api_key.clone(),
        extra_users: args.extra_users.clone(),
        version: args.connect_version.clone(),
        demand_cv: args.demand_cv,
        seed: args.seed,
        spawn_delay: args.spawn_delay,
        deploy_time: args.deploy_time,
        deploy_slots: usize::from(args.deploy_slots),
        publish_share: args.publish_share,
        strict_bundles: args.strict_bundles,
        faults,
        log_requests: args.log == Some(SandboxLog::Requests),
        processes: processes(args)?,
        ..Config::new(shape)
    })
}
