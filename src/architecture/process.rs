//! One part of an architecture: a process in a group of its own, with a log, that dies when we do.

use std::io::{Read as _, Seek as _};
use std::path::{Path, PathBuf};
use std::process::{ExitStatus, Stdio};
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process, kill_process_group};
use tokio::process::{Child, Command};
use tokio::time::Instant;

use super::{Fault, io};

/// Bytes of a log that are shown when a part fails.
const LAST_WORDS: u16 = 1500;
/// How often a part is looked at that is waited for.
const LOOK: Duration = Duration::from_millis(20);

/// How a part is started.
#[derive(Debug, Clone)]
pub struct Launch {
    /// What people call it.
    pub name: String,
    /// Its program.
    pub program: PathBuf,
    /// Its arguments.
    pub args: Vec<String>,
    /// Environment variables besides ours.
    pub env: Vec<(String, String)>,
    /// The user that it runs as, when we are root.
    pub user: Option<&'static str>,
    /// What the kernel sends it when we are gone: `KILL`, `INT`, …
    pub orphaned: &'static str,
    /// Where its output goes: appended.
    pub log: PathBuf,
}

/// A part that was started. Killed with its children when it is dropped.
#[derive(Debug)]
pub struct Part {
    launch: Launch,
    child: Child,
    pid: Pid,
}

/// Whether we may do everything.
#[must_use]
pub fn is_root() -> bool {
    rustix::process::geteuid().is_root()
}

/// Where a program is: on the PATH, or where Debian keeps what only root is meant to call.
#[must_use]
pub fn find(program: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let further = ["/usr/sbin", "/sbin", "/usr/local/sbin"].map(PathBuf::from);
    std::env::split_paths(&path).chain(further).map(|place| place.join(program)).find(|file| file.is_file())
}

impl Launch {
    /// The command, through setpriv: it changes the user without a shell, keeps the pid, and has the kernel tell the
    /// part when we die, even of SIGKILL and even when the part is frozen.
    fn command(&self) -> Command {
        let Some(setpriv) = find("setpriv") else {
            let mut command = Command::new(&self.program);
            command.args(&self.args);
            return command;
        };
        let mut command = Command::new(setpriv);
        command.arg(format!("--pdeathsig={}", self.orphaned));
        if let Some(user) = self.user.filter(|_| is_root()) {
            command.arg(format!("--reuid={user}")).arg(format!("--regid={user}")).arg("--clear-groups");
        }
        command.arg("--").arg(&self.program).args(&self.args);
        command
    }
}

impl Part {
    /// Starts it. Must be called on a thread that lives as long as the part is to live: the kernel takes the end of
    /// that thread for our end.
    ///
    /// # Errors
    /// Where the program or its log cannot be had.
    pub fn start(launch: Launch) -> Result<Part, Fault> {
        let open = || std::fs::OpenOptions::new().create(true).append(true).open(&launch.log);
        let log = || open().map_err(io(format!("write {}", launch.log.display())));
        let mut command = launch.command();
        command.stdin(Stdio::null()).stdout(log()?).stderr(log()?).process_group(0).kill_on_drop(true);
        command.envs(launch.env.iter().map(|(name, value)| (name, value)));
        let child = command.spawn().map_err(io(format!("start {}", launch.program.display())))?;
        let pid = child.id().and_then(|pid| Pid::from_raw(pid.cast_signed()));
        let pid = pid.ok_or_else(|| Fault::Asked(format!("{} ended at once", launch.name)))?;
        Ok(Part { launch, child, pid })
    }

    /// What people call it.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.launch.name
    }

    /// Its process id.
    #[must_use]
    pub fn pid(&self) -> i32 {
        self.pid.as_raw_nonzero().get()
    }

    /// How it ended, if it has.
    pub fn ended(&mut self) -> Option<ExitStatus> {
        self.child.try_wait().ok().flatten()
    }

    /// Sends it a signal; its children get none.
    pub fn signal(&self, signal: Signal) {
        // It fails for one that has ended, which is no news.
        let _ = kill_process(self.pid, signal);
    }

    /// Stops it: gently, and after the grace with its children for certain.
    pub async fn stop(&mut self, gently: Signal, grace: Duration) {
        if self.ended().is_none() {
            self.signal(gently);
            // One that is frozen hears nothing until it goes on.
            self.signal(Signal::CONT);
            let _ = tokio::time::timeout(grace, self.child.wait()).await;
        }
        self.kill().await;
    }

    /// Kills it and its children, and waits for it.
    pub async fn kill(&mut self) {
        let _ = kill_process_group(self.pid, Signal::KILL);
        let _ = self.child.wait().await;
    }

    /// Waits until `ready` says so.
    ///
    /// # Errors
    /// When it ends before, or the time does; with its last words.
    pub async fn until<F: Future<Output = bool>>(
        &mut self,
        within: Duration,
        mut ready: impl FnMut() -> F,
    ) -> Result<(), Fault> {
        let deadline = Instant::now() + within;
        loop {
            if ready().await {
                return Ok(());
            }
            if let Some(status) = self.ended() {
                return Err(self.fault(format!("ended while it was waited for ({status})")));
            }
            if Instant::now() >= deadline {
                return Err(self.fault(format!("not ready within {} s", within.as_secs())));
            }
            tokio::time::sleep(LOOK).await;
        }
    }

    /// A fault of this part, with its last words.
    #[must_use]
    pub fn fault(&self, what: impl Into<String>) -> Fault {
        Fault::Part { part: self.launch.name.clone(), what: what.into(), log: last_words(&self.launch.log) }
    }
}

impl Drop for Part {
    fn drop(&mut self) {
        if self.ended().is_none() {
            let _ = kill_process_group(self.pid, Signal::KILL);
        }
    }
}

/// The end of a log, in whole lines.
fn last_words(log: &Path) -> String {
    let mut bytes = Vec::new();
    if let Ok(mut file) = std::fs::File::open(log) {
        if file.seek(std::io::SeekFrom::End(-i64::from(LAST_WORDS))).is_err() {
            let _ = file.rewind();
        }
        let _ = file.read_to_end(&mut bytes);
    }
    let text = String::from_utf8_lossy(&bytes).into_owned();
    match text.split_once('\n') {
        Some((_, rest)) if bytes.len() >= usize::from(LAST_WORDS) => rest.to_owned(),
        _ => text,
    }
}
