//! Processes: the program in a directory of its own, and sandboxes to aim it at.

use std::cell::RefCell;
use std::ffi::OsStr;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};
use serde_json::{Value, json};
use tokio::io::{AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::process::{Child, Command};

#[path = "../shared/canary.rs"]
pub(crate) mod canary;

const PROGRAM: &str = env!("CARGO_BIN_EXE_connect-bench");
/// Nothing here takes as long, however busy the machine.
const PATIENCE: Duration = Duration::from_secs(150);
/// What the environment may have that would change what the program does.
const VARIABLES: [&str; 15] = [
    "HTTP_PROXY",
    "HTTPS_PROXY",
    "NO_PROXY",
    "http_proxy",
    "https_proxy",
    "no_proxy",
    "CONNECT_SERVER",
    "CONNECT_API_KEY",
    "CONNECT_INSECURE",
    "CONNECT_CA_CERTIFICATE",
    "CONNECT_BENCH_RUNS",
    "CONNECT_BENCH_LOG",
    "CONNECT_BENCH_SANDBOX_API_KEY",
    "XDG_CONFIG_HOME",
    "CI",
];

fn program() -> Command {
    bare(Command::new(PROGRAM))
}

fn bare(mut command: Command) -> Command {
    for name in VARIABLES {
        command.env_remove(name);
    }
    command.kill_on_drop(true).stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    command
}

/// The program, started in its place by another one: `unshare …`, which goes on as what its last arguments say.
fn program_by(starter: &[String]) -> Command {
    let (first, others) = starter.split_first().unwrap();
    let mut command = Command::new(first);
    command.args(others).arg(PROGRAM);
    bare(command)
}

/// Of a sandbox that publishes quickly.
const QUICK: [&str; 4] = ["--spawn-delay", "10ms", "--deploy-time", "100ms"];

/// A sandbox as a process of its own.
pub(crate) struct Sandbox {
    child: Child,
    pub(crate) url: String,
    pub(crate) key: String,
}

impl Sandbox {
    /// One that publishes quickly; later flags override.
    pub(crate) async fn quick(flags: &[&str]) -> Sandbox {
        Sandbox::start(&[&QUICK[..], flags].concat()).await
    }

    pub(crate) async fn start(flags: &[&str]) -> Sandbox {
        Sandbox::start_as(program(), flags).await
    }

    /// One that publishes quickly, started by another program.
    pub(crate) async fn quick_by(starter: &[String], flags: &[&str]) -> Sandbox {
        Sandbox::start_as(program_by(starter), &[&QUICK[..], flags].concat()).await
    }

    async fn start_as(mut command: Command, flags: &[&str]) -> Sandbox {
        // The environment, lest the key be in the arguments of a process; a key that every form of writing changes.
        command.env("CONNECT_BENCH_SANDBOX_API_KEY", canary::KEY);
        command.arg("sandbox").arg("--exit-with-parent").args(flags).stdin(Stdio::piped()).stderr(Stdio::null());
        let mut child = command.spawn().unwrap();
        let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
        let mut values = Vec::new();
        for name in ["CONNECT_SERVER=", "CONNECT_API_KEY="] {
            let line = lines.next_line().await.unwrap().unwrap();
            values.push(line.strip_prefix(name).unwrap().to_owned());
        }
        let key = values.pop().unwrap();
        Sandbox { child, url: values.pop().unwrap(), key }
    }

    pub(crate) async fn api(&self, method: &str, path: &str, body: &Value) -> Value {
        let url = format!("{}{path}", self.url);
        let request = reqwest::Client::new().request(method.parse().unwrap(), url);
        let request = request.header("Authorization", format!("Key {}", self.key));
        let request = if body.is_null() { request } else { request.body(body.to_string()) };
        request.send().await.unwrap().json().await.unwrap_or_default()
    }

    /// The names of all content items on it, sorted.
    pub(crate) async fn items(&self) -> Vec<String> {
        let all = self.api("GET", "/__api__/v1/content", &Value::Null).await;
        let mut names: Vec<String> =
            all.as_array().unwrap().iter().map(|item| item["name"].as_str().unwrap().to_owned()).collect();
        names.sort();
        names
    }

    /// Makes an item with a description of somebody's own; returns its GUID.
    pub(crate) async fn create(&self, name: &str) -> String {
        let body = json!({"name": name, "description": "somebody's own"});
        self.api("POST", "/__api__/v1/content", &body).await["guid"].as_str().unwrap().to_owned()
    }

    /// Requests that it has read; asking is not counted.
    pub(crate) async fn requests(&self) -> u64 {
        self.api("GET", "/__sandbox__/stats", &Value::Null).await["requests"]["total"].as_u64().unwrap()
    }

    pub(crate) async fn kill(&mut self) {
        self.child.kill().await.unwrap();
    }
}

/// A place to run the program in: its own working directory, home and runs.
pub(crate) struct Bench {
    folder: tempfile::TempDir,
    /// What must appear nowhere.
    secrets: Vec<String>,
    variables: Vec<(&'static str, String)>,
    /// Files that a test wrote: what is in them is meant to be.
    written: RefCell<Vec<PathBuf>>,
    /// Words that no output may have.
    never: Vec<&'static str>,
}

/// A user whom nobody else is.
fn somebody() -> u32 {
    61_000 + std::process::id() % 4_000
}

fn by_somebody(program: &Path) -> Command {
    let (id, mut command) = (somebody().to_string(), Command::new("setpriv"));
    command.args(["--reuid", &id, "--regid", &id, "--clear-groups"]).arg(program);
    command
}

/// What is said of a panic, by us and by whoever is in our way.
const OF_A_PANIC: [&str; 3] = ["panicked", "RUST_BACKTRACE", "this is a bug in connect-bench"];

impl Bench {
    pub(crate) fn new() -> Bench {
        let (folder, secrets) = (tempfile::tempdir().unwrap(), vec![canary::KEY.to_owned()]);
        let (variables, written, never) = (Vec::new(), RefCell::default(), OF_A_PANIC.to_vec());
        let bench = Bench { folder, secrets, variables, written, never };
        // A sandbox that the program starts has this key, too.
        bench.with("CONNECT_BENCH_SANDBOX_API_KEY", canary::KEY)
    }

    /// Aimed at a sandbox by the environment, as at any server.
    pub(crate) fn on(sandbox: &Sandbox) -> Bench {
        Bench::new().with("CONNECT_SERVER", &sandbox.url).with("CONNECT_API_KEY", &sandbox.key)
    }

    pub(crate) fn with(mut self, name: &'static str, value: &str) -> Bench {
        if name == "CONNECT_API_KEY" {
            self.secrets.push(value.to_owned());
        }
        self.variables.push((name, value.to_owned()));
        self
    }

    /// A secret that the program comes to know in another way than by the environment.
    pub(crate) fn secret(mut self, value: &str) -> Bench {
        self.secrets.push(value.to_owned());
        self
    }

    /// It is meant to panic, and to say so in its own words.
    pub(crate) fn panics(mut self) -> Bench {
        self.never.pop();
        self
    }

    pub(crate) fn path(&self) -> &Path {
        self.folder.path()
    }

    pub(crate) fn file(&self, name: &str, text: &str) -> PathBuf {
        let path = self.path().join(name);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(&path, text).unwrap();
        self.written.borrow_mut().push(path.clone());
        path
    }

    pub(crate) fn runs(&self) -> Vec<PathBuf> {
        let entries = std::fs::read_dir(self.path().join("runs")).into_iter().flatten();
        entries.map(|entry| entry.unwrap().path()).filter(|path| path.is_dir()).collect()
    }

    pub(crate) fn start<S: AsRef<OsStr>>(&self, arguments: &[S]) -> Running<'_> {
        self.start_as(program(), arguments)
    }

    /// The program, started in its place by another one.
    pub(crate) fn start_by<S: AsRef<OsStr>>(&self, starter: &[String], arguments: &[S]) -> Running<'_> {
        self.start_as(program_by(starter), arguments)
    }

    /// The program, where no file may become longer than so many bytes.
    pub(crate) fn limited<S: AsRef<OsStr>>(&self, bytes: usize, arguments: &[S]) -> Running<'_> {
        let mut shell = Command::new("sh");
        // Without the trap the first write beyond the limit would be the end of the process.
        shell.args(["-c", "trap '' XFSZ && exec prlimit \"$@\"", "sh", &format!("--fsize={bytes}"), PROGRAM]);
        self.start_as(bare(shell), arguments)
    }

    /// The program, as a user to whom limits apply: to root most do not.
    pub(crate) fn as_somebody<S: AsRef<OsStr>>(&self, arguments: &[S]) -> Running<'_> {
        if !rustix::process::getuid().is_root() {
            return self.start(arguments);
        }
        // What root has built lies where others may not look.
        let (program, id) = (self.path().join("program"), somebody());
        std::fs::hard_link(PROGRAM, &program).or_else(|_| std::fs::copy(PROGRAM, &program).map(|_| ())).unwrap();
        self.written.borrow_mut().push(program.clone());
        std::os::unix::fs::chown(self.path(), Some(id), Some(id)).unwrap();
        self.start_as(bare(by_somebody(&program)), arguments)
    }

    /// The program in a pseudo-terminal, with a script in Python that plays a scene there.
    pub(crate) async fn play(&self, script: &str, scene: &str, arguments: &[&str]) -> Ended {
        let mut python = bare(Command::new("python3"));
        python.args(["-c", script, scene, PROGRAM]);
        self.start_as(python, arguments).end().await
    }

    fn start_as<S: AsRef<OsStr>>(&self, mut command: Command, arguments: &[S]) -> Running<'_> {
        command.args(arguments).current_dir(self.path()).env("HOME", self.path());
        command.envs(self.variables.iter().map(|(name, value)| (name, value)));
        command.stdin(Stdio::piped());
        let shown = arguments.iter().map(|a| a.as_ref().to_string_lossy().into_owned()).collect::<Vec<_>>().join(" ");
        Running { child: command.spawn().unwrap(), bench: self, began: Instant::now(), shown }
    }

    /// The program with another stderr than what is read here.
    pub(crate) fn start_saying_to<S: AsRef<OsStr>>(&self, stderr: Stdio, arguments: &[S]) -> Running<'_> {
        let mut command = program();
        command.stderr(stderr);
        self.start_as(command, arguments)
    }

    pub(crate) async fn run<S: AsRef<OsStr>>(&self, arguments: &[S]) -> Ended {
        self.start(arguments).end().await
    }

    /// A load test of four VUs over two seconds without a warm-up, with further flags.
    pub(crate) async fn load(&self, flags: &[&str]) -> Ended {
        self.run(&[&SHORT[..], flags].concat()).await
    }
}

/// A short load test.
pub(crate) const SHORT: [&str; 7] = ["load", "-u", "4", "-d", "2s", "--warmup", "0s"];

/// The program while it runs.
pub(crate) struct Running<'a> {
    child: Child,
    bench: &'a Bench,
    began: Instant,
    shown: String,
}

impl Running<'_> {
    pub(crate) fn signal(&self, signal: Signal) {
        kill_process(self.id(), signal).unwrap();
    }

    /// Seconds that the run has written so far.
    pub(crate) fn written(&self) -> usize {
        let lines = |run: &PathBuf| {
            let text = std::fs::read(run.join("windows.ndjson")).unwrap_or_default();
            text.iter().filter(|&&byte| byte == b'\n').count()
        };
        self.bench.runs().iter().map(lines).max().unwrap_or(0)
    }

    /// Waits until the run has written this many seconds.
    pub(crate) async fn seconds(&mut self, seconds: usize) {
        if !self.seconds_or_end(seconds).await {
            let mut said = String::new();
            self.child.stderr.take().unwrap().read_to_string(&mut said).await.unwrap();
            panic!("{}: ended before {seconds} s: {said}", self.shown);
        }
    }

    /// Waits until the run has written this many seconds, or has ended before: then `false`.
    pub(crate) async fn seconds_or_end(&mut self, seconds: usize) -> bool {
        while self.written() < seconds {
            assert!(self.began.elapsed() < PATIENCE, "{}: no seconds were written", self.shown);
            if self.child.try_wait().unwrap().is_some() {
                return false;
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        true
    }

    pub(crate) fn id(&self) -> Pid {
        Pid::from_raw(i32::try_from(self.child.id().unwrap()).unwrap()).unwrap()
    }

    /// From now on the system gives it no further thread, if it was started as somebody.
    pub(crate) async fn no_more_threads(&self) {
        let prlimit = Path::new("/usr/bin/prlimit");
        let is_root = rustix::process::getuid().is_root();
        let mut command = if is_root { by_somebody(prlimit) } else { Command::new(prlimit) };
        command.args(["--nproc=1:", "--pid", &self.id().as_raw_nonzero().to_string()]);
        assert!(command.status().await.unwrap().success());
    }

    /// The address of its endpoint for live control, which it says on stderr.
    pub(crate) async fn address(&mut self) -> String {
        let url = self.hears("live control: http://").await;
        url.strip_suffix("/v1/status").unwrap().to_owned()
    }

    /// Waits for a line on stderr that begins so, and returns the rest of it.
    pub(crate) async fn hears(&mut self, beginning: &str) -> String {
        let stderr = self.child.stderr.as_mut().unwrap();
        let mut line = Vec::new();
        loop {
            // Byte by byte: what follows is read by others.
            let byte = tokio::time::timeout(PATIENCE, stderr.read_u8()).await.unwrap();
            let byte = byte.unwrap_or_else(|_| panic!("{}: {}", self.shown, String::from_utf8_lossy(&line)));
            if byte != b'\n' {
                line.push(byte);
                continue;
            }
            let text = String::from_utf8(std::mem::take(&mut line)).unwrap();
            if let Some(rest) = text.strip_prefix(beginning) {
                return rest.to_owned();
            }
        }
    }

    pub(crate) async fn say(&mut self, text: &str) {
        self.child.stdin.as_mut().unwrap().write_all(text.as_bytes()).await.unwrap();
    }

    /// Closes the end of its stdout, as `head` does.
    pub(crate) fn deafen(&mut self) {
        drop(self.child.stdout.take());
    }

    /// Closes the end of its stderr.
    pub(crate) fn muffle(&mut self) {
        drop(self.child.stderr.take());
    }

    /// Waits for the end, and checks what holds of every end: no panic, no key in any output or file.
    pub(crate) async fn end(self) -> Ended {
        let Running { mut child, bench, began, shown } = self;
        drop(child.stdin.take());
        let output = tokio::time::timeout(PATIENCE, child.wait_with_output()).await;
        let output = output.unwrap_or_else(|_| panic!("{shown}: did not end")).unwrap();
        let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).unwrap();
        let (stdout, stderr) = (text(&output.stdout), text(&output.stderr));
        let ended = Ended { code: output.status.code(), stdout, stderr, took: began.elapsed(), shown };
        ended.check(bench);
        ended
    }
}

/// How it went.
#[derive(Debug)]
pub(crate) struct Ended {
    pub(crate) code: Option<i32>,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
    pub(crate) took: Duration,
    /// The command line, for the message of an assertion.
    pub(crate) shown: String,
}

impl Ended {
    /// In every output and every file: no panic, and no key in any form.
    fn check(&self, bench: &Bench) {
        for (name, text) in [("stdout", &self.stdout), ("stderr", &self.stderr)] {
            for word in &bench.never {
                assert!(!text.contains(word), "{word} in {name}: {self:#?}");
            }
            for secret in &bench.secrets {
                assert_eq!(canary::found(text.as_bytes(), secret), None, "the key is in {name}: {self:#?}");
            }
        }
        canary::search(bench.path(), &bench.secrets, &bench.written.borrow());
    }

    /// It ended with this code, and said all of this on stderr.
    #[track_caller]
    pub(crate) fn fails(&self, code: i32, words: &[&str]) {
        assert_eq!(self.code, Some(code), "{self:#?}");
        for word in words {
            assert!(self.stderr.contains(word), "no {word:?} in the message: {self:#?}");
        }
    }

    /// It passed, or the only objection is that this machine was too busy to measure on.
    #[track_caller]
    pub(crate) fn passes(&self) {
        let busy =
            self.code == Some(121) && ["NOT VALID", "\"valid\": false"].iter().any(|word| self.stdout.contains(word));
        assert!(busy || self.code == Some(0), "{self:#?}");
    }

    /// The one document on stdout.
    #[track_caller]
    pub(crate) fn json(&self) -> Value {
        serde_json::from_str(&self.stdout)
            .unwrap_or_else(|e| panic!("{}: stdout is not one document: {e}: {self:#?}", self.shown))
    }
}

/// A number of a document.
#[track_caller]
pub(crate) fn number(document: &Value, pointer: &str) -> f64 {
    document.pointer(pointer).and_then(Value::as_f64).unwrap_or_else(|| panic!("no number {pointer} in {document:#}"))
}
