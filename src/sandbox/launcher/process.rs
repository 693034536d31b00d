//! Programs of content: started under a guard, with an environment that has nothing of ours, and ended with it.

use std::ffi::OsString;
use std::io;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use rustix::process::{Pid, Signal};
use tokio::process::{Child, ChildStdin, Command};
use tokio::sync::watch;

use super::guard::Limits;
use super::log::{JobLog, follow};

/// Variables of ours that a program may see.
const INHERITED: [&str; 9] =
    ["PATH", "LANG", "LC_ALL", "LC_CTYPE", "TZ", "LD_LIBRARY_PATH", "R_LIBS", "R_LIBS_SITE", "R_LIBS_USER"];
/// Those that installers of packages need as well: how to reach an index, and where they keep what they fetched.
const INSTALLERS: [&str; 14] = [
    "HOME",
    "XDG_CACHE_HOME",
    "TMPDIR",
    "SSL_CERT_FILE",
    "SSL_CERT_DIR",
    "REQUESTS_CA_BUNDLE",
    "CURL_CA_BUNDLE",
    "HTTP_PROXY",
    "HTTPS_PROXY",
    "NO_PROXY",
    "http_proxy",
    "https_proxy",
    "no_proxy",
    "ALL_PROXY",
];
const INSTALLER_PREFIXES: [&str; 2] = ["PIP_", "UV_"];
/// How long output is waited for once a program has ended.
const LAST_WORDS: Duration = Duration::from_secs(2);

/// A program to start.
#[derive(Debug, Clone)]
pub(super) struct Launch {
    pub(super) program: PathBuf,
    pub(super) arguments: Vec<OsString>,
    /// Besides what it inherits.
    pub(super) environment: Vec<(String, OsString)>,
    pub(super) directory: PathBuf,
    pub(super) limits: Limits,
    /// Whether it installs packages, and sees how that is done here.
    pub(super) installs: bool,
}

/// A program that runs. Dropped, it and all that it started is ended.
#[derive(Debug)]
pub(super) struct Program {
    /// Process id of its guard, which is the id of their group.
    pub(super) pid: u32,
    lifeline: Mutex<Option<ChildStdin>>,
    exited: watch::Receiver<Option<i32>>,
}

impl Program {
    /// Starts it under a guard; what it says goes to the log. Needs a running event loop.
    pub(super) fn start(guard: &Path, launch: &Launch, log: &Arc<JobLog>) -> io::Result<Self> {
        let inherited = std::env::vars_os().filter(|(name, _)| {
            let name = name.to_str().unwrap_or_default();
            INHERITED.contains(&name)
                || launch.installs
                    && (INSTALLERS.contains(&name) || INSTALLER_PREFIXES.iter().any(|prefix| name.starts_with(prefix)))
        });
        let mut child = Command::new(guard)
            .args(launch.limits.arguments())
            .arg(&launch.program)
            .args(&launch.arguments)
            .env_clear()
            .envs(inherited)
            .envs(launch.environment.iter().map(|(name, value)| (name, value)))
            .current_dir(&launch.directory)
            .process_group(0)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()?;
        let pid = child.id().unwrap_or_default();
        let lifeline = Mutex::new(child.stdin.take());
        let (ended, exited) = watch::channel(None);
        let log = Arc::clone(log);
        tokio::spawn(async move {
            let code = attend(child, pid, &log).await;
            ended.send_replace(Some(code));
        });
        Ok(Self { pid, lifeline, exited })
    }

    /// Asks it to end; after a short while it is killed.
    pub(super) fn stop(&self) {
        self.lifeline.lock().unwrap_or_else(PoisonError::into_inner).take();
    }

    /// Waits for its end: the exit code.
    pub(super) async fn ended(&self) -> i32 {
        let mut exited = self.exited.clone();
        // The sender is gone only with the event loop.
        exited.wait_for(Option::is_some).await.ok().and_then(|code| *code).unwrap_or_default()
    }

    /// Whether it has ended.
    pub(super) fn has_ended(&self) -> bool {
        self.exited.borrow().is_some()
    }
}

/// Copies what it says, waits for its end, and sees to it that nothing is left of its group.
async fn attend(mut child: Child, pid: u32, log: &JobLog) -> i32 {
    let (stdout, stderr) = (child.stdout.take(), child.stderr.take());
    let add = |source: &'static str, line: String| log.add(source, line);
    let output = async {
        tokio::join!(
            async {
                if let Some(stdout) = stdout {
                    follow("stdout", stdout, add).await;
                }
            },
            async {
                if let Some(stderr) = stderr {
                    follow("stderr", stderr, add).await;
                }
            }
        );
    };
    let mut output = std::pin::pin!(output);
    let mut said = false;
    let status = tokio::select! {
        status = child.wait() => status,
        () = &mut output => {
            said = true;
            child.wait().await
        }
    };
    if let Some(group) = i32::try_from(pid).ok().and_then(Pid::from_raw) {
        // There is nobody in it any more, unless the guard itself was killed.
        let _ = rustix::process::kill_process_group(group, Signal::KILL);
    }
    if !said {
        let _ = tokio::time::timeout(LAST_WORDS, output).await.is_ok();
    }
    use std::os::unix::process::ExitStatusExt as _;
    status.map_or(-1, |status| status.code().unwrap_or_else(|| 128 + status.signal().unwrap_or_default()))
}
