//! An architecture that is up, as people start it: what it is told, what becomes of its parts, what it leaves.

use std::io::{BufRead as _, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};

use connect_bench::architecture::cluster;

use crate::canary;
use crate::parts::{or_skip, runtimes};
use crate::support::Api;

/// Two quick nodes; everything is logged.
pub(crate) const QUICK: &str = r#"
name = "quick"
about = "two nodes behind an Application Gateway"
links = ["balancer-node", "node-database"]
balancer = { kind = "appgw", health_interval = "200ms", healthy = 1, unhealthy = 2, log_all = true }
nodes = { count = 2, args = ["--deploy-time", "300ms", "--spawn-delay", "10ms"] }
"#;

/// `connect-bench sandbox up`, ended with this.
pub(crate) struct Rehearsal {
    child: Child,
    pub(crate) home: tempfile::TempDir,
    pub(crate) environment: Vec<(String, String)>,
}

impl Rehearsal {
    /// Up and healthy; or nothing, where the parts are not installed.
    pub(crate) fn up(text: &str) -> Option<Rehearsal> {
        Rehearsal::with(text, &[])
    }

    /// The same, whose nodes really start what is deployed; or nothing, where Python or R is not installed either.
    pub(crate) fn real(text: &str, links: &[&str]) -> Option<Rehearsal> {
        runtimes().then_some(())?;
        let environments = Path::new(env!("CARGO_TARGET_TMPDIR")).join("environments");
        let flags = ["--content", "processes", "--environments", environments.to_str().unwrap()];
        Rehearsal::with(text, &[&flags, links].concat())
    }

    fn with(text: &str, flags: &[&str]) -> Option<Rehearsal> {
        or_skip(cluster::check_parts())?;
        let home = tempfile::tempdir().unwrap();
        let file = home.path().join("architecture.toml");
        std::fs::write(&file, text).unwrap();
        let mut child = start(home.path(), flags);
        let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
        let environment: Vec<(String, String)> = lines
            .by_ref()
            .take(4)
            .map(|line| line.unwrap().split_once('=').map(|(a, b)| (a.to_owned(), b.to_owned())).unwrap())
            .collect();
        let log = std::fs::read_to_string(home.path().join("said")).unwrap();
        assert_eq!(environment.len(), 4, "{log}");
        Some(Rehearsal { child, home, environment })
    }

    /// A client that comes through the balancer, and keeps the cookies that it is given.
    pub(crate) fn client(&self) -> Api {
        let authority = std::fs::read(self.value("CONNECT_CA_CERTIFICATE")).unwrap();
        let authority = reqwest::Certificate::from_pem(&authority).unwrap();
        let http = reqwest::Client::builder().add_root_certificate(authority).cookie_store(true).build().unwrap();
        Api { http, url: self.value("CONNECT_SERVER").to_owned(), key: self.value("CONNECT_API_KEY").to_owned() }
    }

    /// A client that comes to a node by itself. They count from 1.
    pub(crate) fn node(&self, number: usize) -> Api {
        let url = format!("http://{}", self.addresses()[number - 1]);
        Api { http: reqwest::Client::new(), url, key: self.value("CONNECT_API_KEY").to_owned() }
    }

    /// Where the nodes are to the balancer.
    pub(crate) fn addresses(&self) -> Vec<String> {
        let config = std::fs::read_to_string(self.root().join("haproxy.cfg")).unwrap();
        let servers = config.lines().filter_map(|line| line.trim().strip_prefix("server n"));
        servers.filter(|line| line.contains(" check ")).map(|line| line.split(' ').nth(1).unwrap().to_owned()).collect()
    }

    pub(crate) fn value(&self, name: &str) -> &str {
        &self.environment.iter().find(|(known, _)| known == name).unwrap().1
    }

    /// Where its parts are.
    pub(crate) fn root(&self) -> PathBuf {
        self.home.path().join("cluster")
    }

    /// Runs our program with its environment.
    pub(crate) fn run(&self, args: &[&str]) -> Output {
        let output = Command::new(env!("CARGO_BIN_EXE_connect-bench"))
            .args(args)
            .current_dir(self.home.path())
            .envs(self.environment.iter().map(|(name, value)| (name, value)))
            .output()
            .unwrap();
        // The parts have the key, the runs must not.
        let key = self.value("CONNECT_API_KEY");
        // `up` prints it, for those who are to use it.
        for printed in [&output.stdout, &output.stderr].into_iter().filter(|_| !args.starts_with(&["sandbox", "up"])) {
            assert_eq!(canary::found(printed, key), None, "{args:?}");
        }
        canary::search(&self.home.path().join("runs"), &[key.to_owned()], &[]);
        output
    }

    /// Tells it something that it does.
    pub(crate) fn tell(&self, action: &str) -> String {
        let output = self.run(&["sandbox", "tell", action]);
        assert!(output.status.success(), "{action}: {}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).unwrap()
    }

    /// The process ids in its table, by part.
    pub(crate) fn pids(&self) -> Vec<(String, Option<u32>)> {
        let table = self.tell("status");
        let row = |line: &str| {
            let mut words = line.split_whitespace();
            (words.next().unwrap().to_owned(), words.next().unwrap().parse().ok())
        };
        table.lines().skip(1).map(row).collect()
    }

    /// Tells it to end, and waits for it.
    pub(crate) fn down(mut self) -> PathBuf {
        self.tell("down");
        assert!(self.child.wait().unwrap().success());
        self.root()
    }
}

impl Drop for Rehearsal {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn start(home: &Path, flags: &[&str]) -> Child {
    Command::new(env!("CARGO_BIN_EXE_connect-bench"))
        .args(["sandbox", "up", "--exit-with-parent", "--state"])
        .args([home.join("cluster"), home.join("architecture.toml")])
        .args(flags)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(std::fs::File::create(home.join("said")).unwrap())
        .spawn()
        .unwrap()
}

/// Whether a process is there and is no zombie, which waits for a parent that is not ours.
pub(crate) fn lives(pid: u32) -> bool {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    stat.rsplit_once(')').is_some_and(|(_, rest)| !rest.trim_start().starts_with(['Z', 'X']))
}

pub(crate) fn gone(pids: &[(String, Option<u32>)]) {
    for _ in 0..500 {
        if !pids.iter().any(|(_, pid)| pid.is_some_and(lives)) {
            return;
        }
        std::thread::park_timeout(std::time::Duration::from_millis(20));
    }
    let left: Vec<_> = pids.iter().filter(|(_, pid)| pid.is_some_and(lives)).collect();
    panic!("left: {left:?}");
}

#[test]
fn it_does_what_it_is_told_and_leaves_nothing() {
    let Some(rehearsal) = Rehearsal::up(QUICK) else { return };
    let before = rehearsal.pids();
    let names: Vec<&str> = before.iter().map(|(name, _)| name.as_str()).collect();
    assert_eq!(names, ["balancer", "node-1", "node-2", "database"]);
    rehearsal.tell("node kill 2");
    assert_eq!(rehearsal.pids()[2].1, None);
    let refused = rehearsal.run(&["sandbox", "tell", "node", "kill", "2"]);
    assert_eq!(refused.status.code(), Some(2));
    assert!(String::from_utf8_lossy(&refused.stderr).contains("node-2 does not run"));
    let bare = rehearsal.run(&["sandbox", "tell", "link generator-balancer delay 5ms"]);
    assert!(String::from_utf8_lossy(&bare.stderr).contains("--links generator-balancer"));
    rehearsal.tell("node start 2");
    rehearsal.tell("node freeze 1");
    assert!(rehearsal.tell("status").contains("frozen"));
    rehearsal.tell("node thaw 1");
    rehearsal.tell("node drain 1");
    rehearsal.tell("database restart");
    rehearsal.tell("link node-database 1 delay 1ms");
    let status = rehearsal.tell("status");
    assert!(status.contains("DRAIN") && status.contains("delay 1ms"), "{status}");
    // A second one of the same name says how to use the first.
    let again = rehearsal.run(&["sandbox", "up", "--state", "cluster", "architecture.toml"]);
    assert!(again.status.success());
    assert!(String::from_utf8_lossy(&again.stdout).contains(rehearsal.value("CONNECT_SERVER")));
    let after = rehearsal.pids();
    assert_ne!(before[2], after[2], "node 2 is another process");
    let root = rehearsal.down();
    gone(&after);
    assert!(!root.exists(), "{}", root.display());
}

#[test]
fn its_parts_die_with_it_even_when_it_is_killed() {
    let Some(mut rehearsal) = Rehearsal::up(QUICK) else { return };
    rehearsal.tell("node freeze 2");
    let pids = rehearsal.pids();
    rehearsal.child.kill().unwrap();
    rehearsal.child.wait().unwrap();
    gone(&pids);
    // What it could not remove does not keep the next one from starting.
    let root = rehearsal.root();
    assert!(root.join("connect-bench.pid").exists());
    let mut next = start(rehearsal.home.path(), &[]);
    let mut line = String::new();
    BufReader::new(next.stdout.take().unwrap()).read_line(&mut line).unwrap();
    assert!(line.starts_with("CONNECT_SERVER=https://localhost:"), "{line}");
    drop(next.stdin.take());
    assert!(next.wait().unwrap().success());
    assert!(!root.exists());
}
