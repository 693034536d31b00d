//! The world around a whole run changes: ports are used up, a name leads elsewhere or nowhere, the clock is set. Provoked
//! for real, in namespaces of a test's own or by a library between the program and its clock: nothing else on this machine
//! notices.

use std::net::SocketAddr;
use std::os::unix::fs::FileExt as _;
use std::path::PathBuf;
use std::process::{Output, Stdio};

use serde_json::json;
use tokio::io::AsyncReadExt as _;
use tokio::process::{Child, Command};

use crate::faults::{incident, ran_to_its_end};
use crate::servers::{Answer, Server};
use crate::support::{Bench, Sandbox, number};

/// What is said where the system forbids namespaces, or to do in one what a test needs.
const FORBIDDEN: [&str; 5] = [
    "Operation not permitted",
    "Permission denied",
    "Read-only file system",
    "No space left on device",
    "Invalid argument",
];

/// A test cannot be made here, and says why. With `CI` in the environment that is a failure, unless the system forbids it: for
/// what is missing can be installed, and what a container forbids cannot.
#[expect(clippy::print_stderr, reason = "a test that skips says why")]
fn skip(what: &str, why: &str) {
    let forbidden = FORBIDDEN.iter().any(|said| why.contains(said));
    assert!(forbidden || std::env::var_os("CI").is_none(), "{what}: {why}");
    eprintln!("skipped, {what}: {why}");
}

/// A network of its own: a loopback, and ports that nobody else uses. Gone with the process that holds it.
struct Network {
    _holder: Child,
    /// What starts a program in it.
    inside: Vec<String>,
}

impl Network {
    async fn start() -> Option<Network> {
        // Without reuse a port is taken for a minute after its connection, as it is between machines.
        let script = "ip link set lo up && echo 0 >/proc/sys/net/ipv4/tcp_tw_reuse && echo ready && exec cat";
        let mut holder = Command::new("unshare");
        holder.args(["-rn", "sh", "-c", script]).kill_on_drop(true);
        holder.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let refused = match holder.spawn() {
            Ok(mut child) => {
                let mut ready = [0; 6];
                if child.stdout.as_mut().unwrap().read_exact(&mut ready).await.is_ok() {
                    let pid = child.id().unwrap().to_string();
                    let inside = ["nsenter", "-t", &pid, "-U", "-n", "--preserve-credentials"].map(str::to_owned);
                    return Some(Network { _holder: child, inside: inside.to_vec() });
                }
                let mut said = String::new();
                child.stderr.take().unwrap().read_to_string(&mut said).await.unwrap();
                said
            }
            Err(error) => error.to_string(),
        };
        skip("no network of its own can be made", &refused);
        None
    }

    /// The ports that connections may have from now on.
    async fn ports(&self, range: &str) {
        let mut command = Command::new(&self.inside[0]);
        command.args(&self.inside[1..]).args(["sh", "-c", "echo \"$1\" >/proc/sys/net/ipv4/ip_local_port_range"]);
        let done = command.args(["sh", range]).status().await.unwrap();
        assert!(done.success(), "{range}");
    }
}

#[tokio::test]
async fn ports_that_are_used_up_are_our_own_and_void_the_verdict() {
    let Some(network) = Network::start().await else { return };
    let sandbox = Sandbox::quick_by(&network.inside, &["--listen", "127.0.0.1:3939"]).await;
    let bench = Bench::on(&sandbox);
    let mut line = vec!["load", "-u", "24", "-d", "9s", "--warmup", "0s", "--workers", "1", "--json"];
    line.push("--no-connection-reuse");
    let mut running = bench.start_by(&network.inside, &line);
    running.seconds(2).await;
    // Fewer than there are VUs.
    network.ports("40000 40007").await;
    running.seconds(running.written() + 2).await;
    network.ports("32768 60999").await;
    let ended = running.end().await;
    let document = ran_to_its_end(&ended);
    let seen = incident(&document, "ports");
    assert_eq!(seen["blame"], "generator", "{document:#}");
    let (from, to) = (number(seen, "/from_s"), number(seen, "/to_s"));
    assert!(from >= 1.0 && from <= to && number(seen, "/recovered_s") > to, "{document:#}");
    assert!(document["generator"]["valid"] == false && ended.code == Some(121), "{document:#}");
    assert_eq!(document["left_behind"], json!([]));
    let report = bench.run(&["report"]).await;
    for said in ["no ephemeral port left", "our own; recovered at", "NOT VALID", "net.ipv4.ip_local_port_range"] {
        assert!(report.stdout.contains(said), "no {said:?}: {report:#?}");
    }
    let remains = bench.start_by(&network.inside, &["cleanup", "--dry-run"]).end().await;
    assert!(remains.code == Some(0) && !remains.stdout.contains("would delete"), "{remains:#?}");
}

/// What `connect.test` leads to for a program that is started by it; nobody else is asked for names.
struct Names {
    hosts: PathBuf,
    /// What starts a program with these names.
    starter: Vec<String>,
}

impl Names {
    async fn of(bench: &Bench) -> Option<Names> {
        let hosts = bench.file("names/hosts", &Names::line("#"));
        bench.file("names/nsswitch.conf", "hosts: files\n");
        bench.file("names/resolv.conf", "nameserver 127.0.0.1\n");
        // Those that this system does not have it does not read.
        let script = "cd \"$1\" && shift && for name in *; do \
            [ ! -e \"/etc/$name\" ] || mount --bind \"$name\" \"/etc/$name\" || exit 1; done; cd .. && exec \"$@\"";
        let folder = hosts.parent().unwrap().display().to_string();
        let starter: Vec<String> =
            ["unshare", "-rm", "sh", "-c", script, "sh", &folder].into_iter().map(str::to_owned).collect();
        let tried = Command::new(&starter[0]).args(&starter[1..]).args(["cat", "/etc/hosts"]).output().await;
        let refused = match tried {
            Ok(Output { status, stdout, .. }) if status.success() && stdout == Names::line("#").as_bytes() => {
                return Some(Names { hosts, starter });
            }
            Ok(output) => String::from_utf8_lossy(&output.stderr).into_owned(),
            Err(error) => error.to_string(),
        };
        skip("no names of its own can be had", &refused);
        None
    }

    fn line(address: &str) -> String {
        format!("{address:<15} connect.test\n")
    }

    /// From now on it leads there. Of the same length each time, and written at once: no reader sees half of it.
    fn lead_to(&self, address: &str) {
        let file = std::fs::File::options().write(true).open(&self.hosts).unwrap();
        file.write_all_at(Names::line(address).as_bytes(), 0).unwrap();
    }

    fn lead_nowhere(&self) {
        self.lead_to("#");
    }
}

/// Flags of a run against `connect.test`, which is allowed.
const THERE: [&str; 9] = ["load", "-u", "4", "-d", "9s", "--warmup", "0s", "--allow-host", "connect.test"];

#[tokio::test]
async fn a_name_that_leads_elsewhere_is_followed_when_its_server_is_gone() {
    let data = tempfile::tempdir().unwrap();
    let data = data.path().display().to_string();
    let mut first = Sandbox::quick(&["--data-dir", &data, "--listen", "127.0.0.2:0"]).await;
    let port = first.url.rsplit(':').next().unwrap().to_owned();
    let server = format!("http://connect.test:{port}");
    let bench = Bench::new().with("CONNECT_API_KEY", &first.key).with("CONNECT_SERVER", &server);
    let Some(names) = Names::of(&bench).await else { return };
    names.lead_to("127.0.0.2");
    // The addresses are good for five minutes, if somebody answers there.
    let flags = ["--allow-http", "--no-publish", "--dns", "ttl=5m", "--json"];
    let mut running = bench.start_by(&names.starter, &[&THERE[..], &flags].concat());
    running.seconds(2).await;
    first.kill().await;
    let second = Sandbox::quick(&["--data-dir", &data, "--listen", &format!("127.0.0.3:{port}")]).await;
    names.lead_to("127.0.0.3");
    let document = ran_to_its_end(&running.end().await);
    let seen = incident(&document, "refused");
    assert_eq!(seen["blame"], "network", "{document:#}");
    let (from, to) = (number(seen, "/from_s"), number(seen, "/to_s"));
    assert!(from >= 1.0 && from <= to && number(seen, "/recovered_s") > to, "{document:#}");
    assert!(second.requests().await > 50, "{document:#}");
    assert_eq!(document["left_behind"], json!([]));
    assert!(second.items().await.is_empty(), "what was made on the one is removed on the other");
}

/// Two servers on one port of two addresses.
async fn two_servers() -> (Server, Server, u16) {
    loop {
        let answer = Answer::Unhurried("hello");
        let first = Server::start_at("127.0.0.2:0".parse().unwrap(), answer).await.unwrap();
        let port: u16 = first.url.trim_end_matches('/').rsplit(':').next().unwrap().parse().unwrap();
        // Somebody may have that one already.
        if let Ok(second) = Server::start_at(SocketAddr::new("127.0.0.3".parse().unwrap(), port), answer).await {
            return (first, second, port);
        }
    }
}

#[tokio::test]
async fn a_name_that_leads_nowhere_for_a_while_is_the_networks_and_its_next_address_is_met() {
    let (first, second, port) = two_servers().await;
    let bench = Bench::new();
    let Some(names) = Names::of(&bench).await else { return };
    names.lead_to("127.0.0.2");
    let url = format!("http://connect.test:{port}/");
    let flags = ["--url", &url, "--no-connection-reuse", "--dns", "ttl=500ms", "--json"];
    let mut running = bench.start_by(&names.starter, &[&THERE[..], &flags].concat());
    running.seconds(2).await;
    names.lead_nowhere();
    running.seconds(running.written() + 2).await;
    let before = first.requests();
    names.lead_to("127.0.0.3");
    let document = ran_to_its_end(&running.end().await);
    let seen = incident(&document, "dns");
    assert_eq!(seen["blame"], "network", "{document:#}");
    let (from, to) = (number(seen, "/from_s"), number(seen, "/to_s"));
    assert!(from >= 1.0 && from <= to && number(seen, "/recovered_s") > to, "{document:#}");
    // The first one answers as ever, and nobody comes any more.
    assert!(first.requests() == before && before > 50 && second.requests() > 50, "{document:#}");
    let sent = number(&document, "/requests/sent") + number(&document, "/requests/api_sent");
    assert_eq!((first.requests() + second.requests()) as f64, sent, "{document:#}");
}

/// Debian's libfaketime, between a program and its clocks.
fn faketime() -> Option<PathBuf> {
    let places = std::fs::read_dir("/usr/lib").into_iter().flatten();
    let libraries = places.flatten().map(|place| place.path().join("faketime/libfaketimeMT.so.1"));
    let found = libraries.into_iter().find(|path| path.exists());
    if found.is_none() {
        skip("the clock cannot be set", "libfaketime is not installed (Debian: faketime)");
    }
    found
}

/// The wall clock is an hour ahead for two seconds; the monotonic one is left alone, as it is when somebody sets the clock.
#[tokio::test]
async fn a_clock_that_is_set_twice_in_a_run_changes_no_duration_and_is_said() {
    let Some(library) = faketime() else { return };
    let sandbox = Sandbox::quick(&[]).await;
    let bench = Bench::on(&sandbox);
    let clock = bench.path().join("clock");
    let bench = bench
        .with("LD_PRELOAD", &library.display().to_string())
        .with("FAKETIME_TIMESTAMP_FILE", &clock.display().to_string())
        .with("FAKETIME_NO_CACHE", "1")
        .with("FAKETIME_DONT_FAKE_MONOTONIC", "1");
    // As a whole, for it is read at any time.
    let set = |ahead: &str| std::fs::rename(bench.file("clock.new", ahead), &clock).unwrap();
    set("+0");
    let mut running = bench.start(&["load", "-u", "4", "-d", "8s", "--warmup", "0s", "--json"]);
    running.seconds(2).await;
    set("+3600");
    running.seconds(running.written() + 2).await;
    set("+0");
    let ended = running.end().await;
    ended.passes();
    let document = ran_to_its_end(&ended);
    assert_eq!(number(&document, "/duration_s").round(), 8.0, "{document:#}");
    let (all, fetch) = (number(&document, "/requests/completed"), number(&document, "/requests_per_second/all"));
    assert!((all / 8.0 - fetch).abs() < 0.05 * fetch, "{document:#}");
    assert!(number(&document, "/fetch_latency_ms/max") < 60_000.0, "{document:#}");
    let mut insights = document["insights"].as_array().unwrap().iter();
    let seen = insights.find(|one| one["id"] == "clock-jump").unwrap_or_else(|| panic!("{document:#}"));
    assert_eq!(number(seen, "/evidence/jumps"), 2.0, "{seen:#}");
    assert!((number(seen, "/evidence/greatest_ms") - 3.6e6).abs() < 10_000.0, "{seen:#}");
    let seen = incident(&document, "clock");
    assert!(seen["blame"] == "generator" && number(seen, "/recovered_s") > number(seen, "/to_s"), "{document:#}");
    assert_eq!(document["left_behind"], json!([]));
    // What is on disk is as whole as if nothing had been.
    let again = bench.run(&["report", "--json"]).await.json();
    for part in ["state", "requests", "duration_s", "incidents", "insights"] {
        assert_eq!(again[part], document[part], "{part}");
    }
}
