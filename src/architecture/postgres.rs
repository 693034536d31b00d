//! PostgreSQL as Debian has it, with a data directory of its own, on a private port, as an unprivileged user.

use std::path::{Path, PathBuf};
use std::time::Duration;

use rustix::process::Signal;
use tokio::net::{TcpListener, TcpStream};
use tokio::process::Command;

use super::process::{Launch, Part, find, is_root};
use super::{Fault, io};

/// Who it runs as when we are root, which it refuses to be.
const USER: &str = "postgres";
/// The role and the database.
const ROLE: &str = "connect";
const PACKAGE: &str = "postgresql";
const READY_WITHIN: Duration = Duration::from_secs(30);
const STOP_WITHIN: Duration = Duration::from_secs(10);

/// How PostgreSQL is brought to an end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum End {
    /// It closes what is open first (`fast`).
    Fast,
    /// It drops everything and recovers at the next start (`immediate`), as in a failover.
    Immediate,
}

/// A PostgreSQL server.
#[derive(Debug)]
pub struct Postgres {
    bin: PathBuf,
    root: PathBuf,
    port: u16,
    part: Option<Part>,
}

/// Where the newest installed PostgreSQL has its programs.
///
/// # Errors
/// Where there is none.
pub fn programs() -> Result<PathBuf, Fault> {
    let mut versions: Vec<(u32, PathBuf)> = std::fs::read_dir("/usr/lib/postgresql")
        .into_iter()
        .flatten()
        .flatten()
        .filter_map(|entry| Some((entry.file_name().to_str()?.parse().ok()?, entry.path().join("bin"))))
        .filter(|(_, bin)| bin.join("postgres").is_file() && bin.join("initdb").is_file())
        .collect();
    versions.sort();
    let debian = versions.pop().map(|(_, bin)| bin);
    let elsewhere = || {
        let bin = find("initdb")?.parent()?.to_owned();
        bin.join("postgres").is_file().then_some(bin)
    };
    debian.or_else(elsewhere).ok_or_else(|| Fault::Missing { program: "PostgreSQL".to_owned(), package: PACKAGE })
}

/// Below what systems give to outgoing connections: a port that the system chose could be given to one of these before
/// the part that is meant to listen there does.
const PORTS: std::ops::Range<u16> = 15_000..32_000;
const TRIES: u32 = 100;

/// A port of loopback that was free a moment ago.
///
/// # Errors
/// Where there is none.
pub async fn free_port() -> Result<u16, Fault> {
    use rand::RngExt as _;
    let mut last = None;
    for _ in 0..TRIES {
        let port = rand::rng().random_range(PORTS);
        match TcpListener::bind(("127.0.0.1", port)).await {
            Ok(_) => return Ok(port),
            Err(error) => last = Some(error),
        }
    }
    Err(io("find a free port")(last.unwrap_or_else(|| std::io::ErrorKind::AddrInUse.into())))
}

impl Postgres {
    /// Makes a database under `root`, which has to be a directory that everyone may look into, and starts its server.
    /// With `durable` it waits for the disk as it would in production.
    ///
    /// # Errors
    /// Where it is not installed or does not start.
    pub async fn start(root: &Path, durable: bool) -> Result<Postgres, Fault> {
        let bin = programs()?;
        let place = root.join("postgres");
        std::fs::create_dir_all(&place).map_err(io(format!("make {}", place.display())))?;
        if is_root() {
            own(&place).await?;
        }
        let mut server = Postgres { bin, root: place, port: free_port().await?, part: None };
        server.make(durable).await?;
        server.run().await?;
        Ok(server)
    }

    /// Where clients find it.
    #[must_use]
    pub fn port(&self) -> u16 {
        self.port
    }

    /// The database's address, through another port where something is in between.
    #[must_use]
    pub fn url(&self, port: u16) -> String {
        format!("postgres://{ROLE}@127.0.0.1:{port}/{ROLE}")
    }

    /// Its process, while it runs.
    pub fn part(&mut self) -> Option<&mut Part> {
        self.part.as_mut()
    }

    /// It ended by itself.
    pub fn forget(&mut self) {
        self.part = None;
    }

    /// Ends it. What was committed stays.
    pub async fn stop(&mut self, end: End) {
        if let Some(mut part) = self.part.take() {
            let signal = if end == End::Fast { Signal::INT } else { Signal::QUIT };
            part.stop(signal, STOP_WITHIN).await;
        }
    }

    /// Starts it again, on the same port with the same data.
    ///
    /// # Errors
    /// Where it runs already or does not start.
    pub async fn run(&mut self) -> Result<(), Fault> {
        if self.part.as_mut().is_some_and(|part| part.ended().is_none()) {
            return Err(Fault::Asked("the database runs already".to_owned()));
        }
        let args = ["-D", "data", "-p", &self.port.to_string(), "-c", "listen_addresses=127.0.0.1"].map(str::to_owned);
        let launch = Launch {
            name: "PostgreSQL".to_owned(),
            program: self.bin.join("postgres"),
            args: args.into_iter().map(|arg| if arg == "data" { self.data() } else { arg }).collect(),
            env: Vec::new(),
            user: Some(USER),
            orphaned: "INT",
            log: self.root.join("log"),
        };
        let mut part = Part::start(launch)?;
        let (bin, port) = (self.bin.clone(), self.port);
        part.until(READY_WITHIN, || is_ready(bin.clone(), port)).await?;
        self.part = Some(part);
        Ok(())
    }

    fn data(&self) -> String {
        self.root.join("data").display().to_string()
    }

    async fn make(&self, durable: bool) -> Result<(), Fault> {
        let args = ["-D", &self.data(), "-U", ROLE, "--auth=trust", "--no-sync", "-E", "UTF8", "--locale=C.UTF-8"];
        let made = self.tool("initdb", &args).output().await.map_err(io("run initdb"))?;
        if !made.status.success() {
            let log = String::from_utf8_lossy(&made.stderr).into_owned();
            return Err(Fault::Part { part: "initdb".to_owned(), what: "made no database".to_owned(), log });
        }
        // Commits are written before they are confirmed in any case: what was confirmed survives a kill of the server.
        let sync = if durable { "on" } else { "off" };
        let settings = format!(
            "\nfsync = {sync}\nfull_page_writes = {sync}\nunix_socket_directories = '{}'\nmax_connections = 100\nshared_buffers = 64MB\n",
            self.root.display()
        );
        let file = Path::new(&self.data()).join("postgresql.auto.conf");
        std::fs::write(&file, settings).map_err(io(format!("write {}", file.display())))?;
        // It has a database `postgres`; ours is made in single-user mode, before anybody listens.
        let mut single = self.tool("postgres", &["--single", "-D", &self.data(), "postgres"]);
        single.stdin(std::process::Stdio::piped()).stdout(std::process::Stdio::null());
        single.stderr(std::process::Stdio::null());
        let mut child = single.spawn().map_err(io("run postgres --single"))?;
        if let Some(mut stdin) = child.stdin.take() {
            use tokio::io::AsyncWriteExt as _;
            let line = format!("CREATE DATABASE {ROLE}\n");
            stdin.write_all(line.as_bytes()).await.map_err(io("speak to postgres --single"))?;
        }
        child.wait().await.map_err(io("run postgres --single"))?;
        Ok(())
    }

    /// A tool of PostgreSQL's, as the user that owns the data.
    fn tool(&self, name: &str, args: &[&str]) -> Command {
        let mut command = if is_root() {
            let mut command = Command::new(find("setpriv").unwrap_or_else(|| "setpriv".into()));
            command.args([&format!("--reuid={USER}"), &format!("--regid={USER}"), "--clear-groups", "--"]);
            command.arg(self.bin.join(name));
            command
        } else {
            Command::new(self.bin.join(name))
        };
        // Its own directory: ours may be one that the user may not look into.
        command.args(args).current_dir(&self.root).stdin(std::process::Stdio::null()).kill_on_drop(true);
        command
    }
}

/// Gives the directory to the user that PostgreSQL runs as.
async fn own(place: &Path) -> Result<(), Fault> {
    let chown = Command::new("chown").arg(format!("{USER}:{USER}")).arg(place).output().await;
    let chown = chown.map_err(io("run chown"))?;
    if chown.status.success() {
        return Ok(());
    }
    // The user comes with the package.
    Err(Fault::Missing { program: format!("the user `{USER}`"), package: PACKAGE })
}

async fn is_ready(bin: PathBuf, port: u16) -> bool {
    if TcpStream::connect(("127.0.0.1", port)).await.is_err() {
        return false;
    }
    let mut ready = Command::new(bin.join("pg_isready"));
    ready.args(["-q", "-h", "127.0.0.1", "-p", &port.to_string()]);
    ready.status().await.is_ok_and(|status| status.success())
}
