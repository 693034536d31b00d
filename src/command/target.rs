//! Which server, and as whom: flags, environment, saved servers, a sandbox of our own, or a plain URL.

use std::io::{BufRead as _, IsTerminal as _, Write as _};
use std::path::{Path, PathBuf};

use anyhow::{Context as _, anyhow};
use url::Url;

use super::child::SandboxChild;
use super::failure::Failure;
use super::hosts::Hosts;
use super::signals::Signals;
use super::view::View;
use crate::cli::{ContentKind, RunArgs, ServerArgs, TargetArgs};
use crate::exit::Exit;
use crate::http::tls::ExtraRoots;
use crate::plan::REAL_PROCESSES;
use crate::posit_connect::servers::{self, SavedServer, SavedServers, ServersError};
use crate::posit_connect::{CaCert, ClientConfig, ServerAddress};
use crate::secret::{ApiKey, KeySource, KeyText};

/// What a run is aimed at.
pub(super) enum Aim {
    /// Any URL, without a Connect API.
    Url { url: Url, insecure: bool, extra: Option<ExtraRoots> },
    /// A Connect server.
    Connect(Box<ConnectAim>),
}

/// A Connect server and how to reach it.
pub(super) struct ConnectAim {
    pub(super) config: ClientConfig,
    pub(super) key: ApiKey,
    /// Our own stand-in, where that is the server.
    pub(super) sandbox: Option<SandboxChild>,
    /// Its profile or curve.
    pub(super) profile: Option<String>,
}

/// Finds out what to aim at; starts a sandbox where one was asked for.
///
/// From then on signals are ours. Not before: a Ctrl-C at the question for the key or the host ends the process.
pub(super) async fn resolve(
    server: &ServerArgs,
    target: &TargetArgs,
    seed: u64,
    view: &View,
) -> Result<(Aim, Signals), Failure> {
    let listen = || Signals::listen().context("signals cannot be received");
    if target.sandbox.is_some() || target.sandbox_curve.is_some() {
        let signals = listen()?;
        return Ok((Aim::Connect(Box::new(sandbox(target, seed, view).await?)), signals));
    }
    if target.sandbox_content == ContentKind::Processes {
        return Err(Failure::usage("--sandbox-content says what a sandbox answers with: add --sandbox"));
    }
    let aim = aim(server, target)?;
    let (url, loopback) = aim.place();
    if !loopback {
        allowed(url, server)?;
    }
    Ok((aim, listen()?))
}

/// What a run is aimed at that has no sandbox of its own.
pub(super) fn aim(server: &ServerArgs, target: &TargetArgs) -> Result<Aim, Failure> {
    match &target.url {
        Some(text) => plain(text, server),
        None => own(server),
    }
}

/// What a dry run is aimed at; `None` where that would be a sandbox, which it does not start.
pub(super) fn aim_of_dry_run(args: &RunArgs) -> Result<Option<Aim>, Failure> {
    let place = &args.target;
    if place.sandbox.is_some() || place.sandbox_curve.is_some() {
        return Ok(None);
    }
    aim(&args.server, place).map(Some)
}

impl Aim {
    /// Where it is, and whether that is this machine.
    pub(super) fn place(&self) -> (&Url, bool) {
        match self {
            Aim::Url { url, .. } => {
                let loopback = ServerAddress::from_url(url).is_ok_and(|address| address.is_loopback());
                (url, loopback)
            }
            Aim::Connect(aim) => (aim.config.server.url(), aim.config.server.is_loopback()),
        }
    }
}

fn own(server: &ServerArgs) -> Result<Aim, Failure> {
    let config = connect(server)?;
    let key = config.key.clone().ok_or_else(no_key)?;
    Ok(Aim::Connect(Box::new(ConnectAim { config, key, sandbox: None, profile: None })))
}

fn plain(text: &str, server: &ServerArgs) -> Result<Aim, Failure> {
    let url = Url::parse(text).map_err(|e| Failure::usage(format!("--url {text}: {e}")))?;
    if !matches!(url.scheme(), "http" | "https") || url.host_str().is_none() {
        return Err(Failure::usage(format!("--url {text}: only http and https are fetched")));
    }
    if !url.username().is_empty() || url.password().is_some() {
        return Err(Failure::usage(
            "--url: a user name or password in the URL would show in every output; leave it out",
        ));
    }
    let extra = server.cacert.clone().map(ExtraRoots::File);
    Ok(Aim::Url { url, insecure: server.insecure, extra })
}

async fn sandbox(target: &TargetArgs, seed: u64, view: &View) -> Result<ConnectAim, Failure> {
    let mut arguments = vec!["--seed".to_owned(), seed.to_string()];
    let profile = match (&target.sandbox_curve, &target.sandbox) {
        (Some(curve), _) => {
            curve.parse::<crate::sandbox::CurveSpec>().map_err(|e| Failure::usage(format!("--sandbox-curve: {e}")))?;
            arguments.extend(["--curve".to_owned(), curve.clone()]);
            format!("curve {curve}")
        }
        (None, profile) => {
            let profile = profile.clone().unwrap_or_default();
            profile.parse::<crate::sandbox::Profile>().map_err(|e| Failure::usage(format!("--sandbox: {e}")))?;
            arguments.extend(["--profile".to_owned(), profile.clone()]);
            profile
        }
    };
    let profile = match target.sandbox_content {
        ContentKind::Simulated => profile,
        ContentKind::Processes => {
            arguments.extend(["--content".to_owned(), "processes".to_owned()]);
            format!("{profile}{REAL_PROCESSES}")
        }
    };
    view.doing(&format!("starting the sandbox ({profile})"));
    let child = SandboxChild::start(&arguments).await.map_err(Failure::from)?;
    let address = ServerAddress::parse(&child.server).context("the sandbox's address")?;
    let key = ApiKey::new(&child.api_key).ok_or_else(|| anyhow!("the sandbox gave no key"))?;
    let config = ClientConfig::new(address, Some(key.clone()));
    Ok(ConnectAim { config, key, sandbox: Some(child), profile: Some(profile) })
}

/// How to reach the Connect server that was named.
pub(super) fn connect(args: &ServerArgs) -> Result<ClientConfig, Failure> {
    let saved = saved(args)?;
    let given = match (&args.server, &saved) {
        (Some(_), Some(_)) if args.name.is_some() => {
            return Err(Failure::usage("--name and --server (CONNECT_SERVER) name two servers; leave one out"));
        }
        (Some(server), _) => server.clone(),
        (None, Some((saved, _))) => saved.url.clone(),
        (None, None) => return Err(no_server()),
    };
    let address = ServerAddress::parse(&given).map_err(|e| Failure::new(Exit::Usage, e))?;
    let key = match (key(args)?, &saved) {
        (Some(key), _) => Some(key),
        (None, Some((server, store))) => Some(server.key(store).map_err(|e| Failure::new(Exit::Usage, e))?),
        (None, None) => None,
    };
    let mut config = ClientConfig::new(address, key);
    config.insecure = args.insecure || saved.as_ref().is_some_and(|(server, _)| server.insecure);
    let own = args.cacert.clone().map(CaCert::File);
    config.cacert = own.or_else(|| saved.as_ref().and_then(|(server, _)| server.cacert.clone()));
    config.allow_http = args.allow_http;
    Ok(config)
}

/// The saved server: the one that was named, or the default where nothing was.
fn saved(args: &ServerArgs) -> Result<Option<(SavedServer, SavedServers)>, Failure> {
    let paths = servers::paths(|name| std::env::var_os(name));
    if let Some(name) = &args.name {
        let numeric = name.bytes().all(|b| b.is_ascii_digit());
        let hint = if numeric { "; -n names a saved server, did you mean --vus?" } else { "" };
        let unknown = |e: ServersError| Failure::usage(format!("{e}{hint}"));
        let store = SavedServers::read(&paths).map_err(unknown)?;
        let found = store.get(name).map_err(unknown)?.clone();
        return Ok(Some((found, store)));
    }
    if args.server.is_some() {
        return Ok(None);
    }
    let Ok(store) = SavedServers::read(&paths) else { return Ok(None) };
    let default = store.default_server().cloned();
    Ok(default.map(|server| (server, store)))
}

fn key(args: &ServerArgs) -> Result<Option<ApiKey>, Failure> {
    let read = |path: &Path| {
        let read = std::fs::read_to_string(path);
        read.with_context(|| format!("{}: cannot read the key", path.display())).map_err(Failure::invalid)
    };
    let text = match (&args.api_key_file, args.api_key.as_ref().map(KeyText::source)) {
        (Some(path), _) => read(path)?,
        (None, None) => return Ok(None),
        (None, Some(KeySource::Given(text))) => text.to_owned(),
        (None, Some(KeySource::Descriptor(number))) => read(&PathBuf::from(format!("/dev/fd/{number}")))?,
        (None, Some(KeySource::Stdin)) => {
            let mut line = String::new();
            std::io::stdin().lock().read_line(&mut line).context("cannot read the key from stdin")?;
            line
        }
    };
    ApiKey::new(&text).map(Some).ok_or_else(|| Failure::usage("the API key is empty or has characters that no key has"))
}

fn no_server() -> Failure {
    Failure::usage(
        "which server? Give --server URL (or CONNECT_SERVER), --name of one saved by `rsconnect add`, or --sandbox to try \
         it on our stand-in",
    )
}

fn no_key() -> Failure {
    Failure::usage("no API key: give CONNECT_API_KEY, --api-key-file FILE, --api-key -, or a saved server with --name")
}

/// A server that is not this machine must be named a second time: by a person, once; by a flag; by a file.
fn allowed(url: &Url, server: &ServerArgs) -> Result<(), Failure> {
    let host = url.host_str().unwrap_or_default();
    if server.allows(host) {
        return Ok(());
    }
    let mut hosts = Hosts::read()?;
    if hosts.get(host).is_some() {
        return Ok(());
    }
    let refused = || {
        let error = anyhow!(
            "{host} is not this machine: a load test can take a server down. To go ahead, add --allow-host {host}"
        );
        Failure::new(Exit::Refused, error)
    };
    if !std::io::stdin().is_terminal() || !std::io::stderr().is_terminal() || std::env::var_os("CI").is_some() {
        return Err(refused());
    }
    let mut out = std::io::stderr();
    // A terminal that is gone cannot answer either.
    let _ = write!(out, "This puts as much load on {host} as it can take. Type its name to go ahead: ");
    let _ = out.flush();
    let mut line = Vec::new();
    std::io::stdin().lock().read_until(b'\n', &mut line).context("cannot read the answer")?;
    let line = String::from_utf8_lossy(&line);
    if !line.trim().eq_ignore_ascii_case(host) {
        return Err(refused());
    }
    if let Err(error) = hosts.remember(host) {
        // Then it is asked again the next time.
        let _ = writeln!(out, "warning: the answer cannot be remembered: {error:#}");
    }
    Ok(())
}

/// The same certificate authorities for the load path as for the API.
pub(super) fn extra_roots(config: &ClientConfig) -> Option<ExtraRoots> {
    config.cacert.as_ref().map(|cacert| match cacert {
        CaCert::File(path) => ExtraRoots::File(path.clone()),
        CaCert::Pem(text) => ExtraRoots::Pem(text.clone()),
    })
}
