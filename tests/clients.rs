//! The real Connect clients against the sandbox: rsconnect-python and posit-sdk, as people run them.
//!
//! They are installed into a virtual environment under `target/tmp`, once. Where Python or the packages cannot be had
//! the test says so and passes; with `CI` set in the environment it fails instead.

#![expect(clippy::unwrap_used, reason = "a test's helpers fail where the test does")]
#![expect(clippy::print_stderr, reason = "a test that skips says why")]

use std::io::{BufRead as _, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::LazyLock;

const RSCONNECT: &str = "rsconnect-python==1.32.0";
const SDK: &str = "posit-sdk==0.17.0";
const MANIFEST: &str = r#"{"version":1,"locale":"en_US.UTF-8","metadata":{"appmode":"python-api","entrypoint":"app"},
    "python":{"version":"3.11.7","package_manager":{"name":"pip","version":"24","package_file":"requirements.txt"}},
    "files":{"requirements.txt":{"checksum":""},"app.py":{"checksum":""}}}"#;
/// What a person would write with posit-sdk. Prints one word per step that went as it should.
const SDK_SCRIPT: &str = r#"
import io, sys, tarfile
from posit import connect
from posit.connect.errors import ClientError

url, key, folder = sys.argv[1:]
client = connect.Client(url, key)
assert client.version == "2025.09.0", client.version
assert client.me["user_role"] == "administrator"
print("me")
content = client.content.create(name="sdk-app", title="SDK app", access_type="all", max_processes=4)
archive = io.BytesIO()
with tarfile.open(fileobj=archive, mode="w:gz") as tar:
    for name in ("manifest.json", "app.py", "requirements.txt"):
        tar.add(f"{folder}/{name}", arcname=name)
bundle = content.bundles.create(archive.getvalue())
print("bundle")
task = bundle.deploy()
task.wait_for()
assert task.is_finished and task.error_code == 0, dict(task)
print("deployed")
assert [item["guid"] for item in client.content.find(name="sdk-app")] == [content["guid"]]
content = client.content.get(content["guid"])
assert content["app_mode"] == "python-api" and content.owner["username"] == "admin"
content.update(min_processes=1)
assert content["min_processes"] == 1
print("updated")
content.environment_variables.create("A", "1")
assert content.environment_variables.find() == ["A"]
content.restart()
print("restarted")
try:
    content.update(min_processes=9)
except ClientError as error:
    assert (error.http_status, error.error_code) == (400, 114), error
    print("refused")
content.delete()
try:
    client.content.get(content["guid"])
except ClientError as error:
    assert (error.http_status, error.error_code) == (404, 4), error
    print("gone")
"#;

/// The sandbox as a process. Ended with it, whatever happens in between.
struct Server {
    child: Child,
    url: String,
    key: String,
    /// Whom to trust, where it speaks TLS.
    authority: Option<String>,
}

/// Two nodes on one PostgreSQL behind HAProxy.
const CLUSTER: &str = r#"
name = "clients"
about = "two nodes behind an Application Gateway"
balancer = { kind = "appgw", health_interval = "200ms", healthy = 1, unhealthy = 2 }
nodes = { count = 2 }
"#;

/// What has content really started, and its environments kept; where, comes after it.
const REAL: [&str; 3] = ["--content", "processes", "--environments"];

fn environments() -> PathBuf {
    Path::new(env!("CARGO_TARGET_TMPDIR")).join("environments")
}

fn fixtures() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures")
}

/// Whether R can serve Plumber applications here; says why not.
fn plumber() -> bool {
    let r = Command::new("Rscript").args(["-e", "library(plumber)"]).output();
    let there = r.is_ok_and(|output| output.status.success());
    assert!(there || std::env::var_os("CI").is_none(), "R with plumber is not installed");
    if !there {
        eprintln!("skipped: R with plumber is not installed");
    }
    there
}

impl Server {
    fn start(version: &str) -> Self {
        Self::with(version, &[])
    }

    fn with(version: &str, flags: &[&str]) -> Self {
        let mut child = Command::new(env!("CARGO_BIN_EXE_connect-bench"))
            .args(["sandbox", "--exit-with-parent", "--deploy-time", "200ms", "--spawn-delay", "10ms"])
            .args(["--connect-version", version])
            .args(flags)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
        let mut value = |name: &str| {
            let line = lines.next().unwrap().unwrap();
            line.strip_prefix(name).and_then(|rest| rest.strip_prefix('=')).unwrap().to_owned()
        };
        let (url, key) = (value("CONNECT_SERVER"), value("CONNECT_API_KEY"));
        Self { child, url, key, authority: None }
    }

    /// A cluster with real processes; or nothing and the reason, where its parts are not installed.
    fn cluster(home: &Path) -> Option<Self> {
        let file = home.join("clients.toml");
        std::fs::write(&file, CLUSTER).unwrap();
        let mut child = Command::new(env!("CARGO_BIN_EXE_connect-bench"))
            .args(["sandbox", "up", "--exit-with-parent", "--state"])
            .args([&home.join("cluster"), &file])
            .args(REAL)
            .arg(environments())
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
        let mut value = |name: &str| Some(lines.next()?.unwrap().strip_prefix(name)?.strip_prefix('=')?.to_owned());
        let told = (value("CONNECT_SERVER"), value("CONNECT_API_KEY"), value("CONNECT_CA_CERTIFICATE"));
        if let (Some(url), Some(key), authority @ Some(_)) = told {
            // Whatever else it says must not fill the pipe.
            let said = child.stderr.take().unwrap();
            std::thread::spawn(move || BufReader::new(said).lines().map_while(Result::ok).for_each(drop));
            return Some(Self { child, url, key, authority });
        }
        let mut why = String::new();
        std::io::Read::read_to_string(&mut child.stderr.take().unwrap(), &mut why).unwrap();
        assert!(child.wait().unwrap().code() == Some(122) && why.contains("apt-get install"), "{why}");
        assert!(std::env::var_os("CI").is_none(), "no cluster: {why}");
        eprintln!("skipped, the parts of a cluster cannot be had: {why}");
        None
    }

    /// Ends it as a parent that dies would: by closing its stdin.
    fn stop(mut self) {
        drop(self.child.stdin.take());
        assert!(self.child.wait().unwrap().success());
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// The virtual environment's `bin`, with both clients in it; or why there is none. Made by whichever test is first.
static CLIENTS: LazyLock<Result<PathBuf, String>> = LazyLock::new(clients);

fn clients() -> Result<PathBuf, String> {
    let place = Path::new(env!("CARGO_TARGET_TMPDIR")).join("venv-clients");
    let (bin, done) = (place.join("bin"), place.join("installed"));
    let wanted = format!("{RSCONNECT} {SDK}");
    if std::fs::read_to_string(&done).is_ok_and(|have| have == wanted) {
        return Ok(bin);
    }
    let run = |program: &Path, args: &[&str]| {
        let output =
            Command::new(program).args(args).output().map_err(|error| format!("{}: {error}", program.display()))?;
        if output.status.success() { Ok(()) } else { Err(String::from_utf8_lossy(&output.stderr).into_owned()) }
    };
    run(Path::new("python3"), &["-m", "venv", &place.to_string_lossy()])?;
    run(&bin.join("python"), &["-m", "pip", "install", "--quiet", "--disable-pip-version-check", RSCONNECT, SDK])?;
    std::fs::write(&done, wanted).map_err(|error| error.to_string())?;
    Ok(bin)
}

/// Both clients in an empty home.
struct Bench {
    bin: PathBuf,
    home: tempfile::TempDir,
    authority: Option<String>,
}

impl Bench {
    fn new() -> Option<Self> {
        match CLIENTS.clone() {
            Ok(bin) => {
                let home = tempfile::tempdir().unwrap();
                std::fs::create_dir(home.path().join("app")).unwrap();
                for (name, text) in
                    [("manifest.json", MANIFEST), ("app.py", "app = None\n"), ("requirements.txt", "flask\n")]
                {
                    std::fs::write(home.path().join("app").join(name), text).unwrap();
                }
                Some(Self { bin, home, authority: None })
            }
            Err(reason) => {
                assert!(std::env::var_os("CI").is_none(), "no clients: {reason}");
                eprintln!("skipped, the clients cannot be had: {reason}");
                None
            }
        }
    }

    /// From now on its application is one that starts.
    fn really(&self) {
        std::fs::copy(fixtures().join("flask-stocks/app.py"), self.home.path().join("app/app.py")).unwrap();
    }

    /// Runs a client: its exit code and everything that it printed.
    fn run(&self, program: &str, args: &[&str]) -> (i32, String) {
        let output = Command::new(self.bin.join(program))
            .args(args)
            .current_dir(self.home.path().join("app"))
            .env("HOME", self.home.path())
            .env("XDG_CONFIG_HOME", self.home.path())
            .env("RSCONNECT_DISABLE_VERSION_CHECK", "1")
            .env("NO_COLOR", "1")
            .env_remove("CONNECT_SERVER")
            .env_remove("CONNECT_API_KEY")
            .envs(self.authority.iter().map(|file| ("CONNECT_CA_CERTIFICATE", file)))
            .envs(self.authority.iter().map(|file| ("REQUESTS_CA_BUNDLE", file)))
            .output()
            .unwrap();
        let text = [output.stdout, output.stderr].map(|bytes| String::from_utf8_lossy(&bytes).into_owned()).concat();
        (output.status.code().unwrap_or(-1), text)
    }

    /// Runs rsconnect and expects it to go well and to say these things.
    fn rsconnect(&self, args: &[&str], says: &[&str]) -> String {
        let (code, text) = self.run("rsconnect", args);
        assert_eq!(code, 0, "rsconnect {args:?}: {text}");
        for words in says {
            assert!(text.contains(words), "rsconnect {args:?} does not say `{words}`: {text}");
        }
        text
    }
}

#[test]
fn rsconnect_python_publishes_and_looks() {
    let Some(bench) = Bench::new() else { return };
    let server = Server::start("2025.09.0");
    publishes_and_looks(&bench, &server);
    server.stop();
}

fn publishes_and_looks(bench: &Bench, server: &Server) {
    bench.rsconnect(&["add", "-s", &server.url, "-k", &server.key, "-n", "sandbox"], &["Added Connect server"]);
    let (code, text) = bench.run("rsconnect", &["add", "-s", &server.url, "-k", "wrong", "-n", "other"]);
    assert!(code == 1 && text.contains("The specified API key is not valid"), "{code} {text}");
    bench.rsconnect(&["details", "-n", "sandbox"], &["2025.09.0", "3.11.9", "APIs: allowed"]);

    let done = "Deployment completed successfully.";
    let deploy = ["deploy", "api", ".", "-n", "sandbox", "--title", "Stocks"];
    let first = bench.rsconnect(&deploy, &["Restoring packages", "Verifying deployed content", "Activating", done]);
    assert_eq!(first.matches(done).count(), 2, "a draft, then the activation: {first}");
    bench.rsconnect(&deploy, &["from bundle 2", "from the cache", done]);
    bench.rsconnect(
        &["deploy", "manifest", "manifest.json", "-s", &server.url, "-k", &server.key, "--new", "--no-verify"],
        &["Deployment complete.", done],
    );
    let list = bench.rsconnect(&["content", "search", "-n", "sandbox"], &["\"title\": \"Stocks\""]);
    let list: serde_json::Value = serde_json::from_str(&list[list.find('[').unwrap()..]).unwrap();
    assert_eq!(list.as_array().unwrap().len(), 2);
    let stocks = list.as_array().unwrap().iter().find(|item| item["title"] == "Stocks").unwrap();
    let guid = stocks["guid"].as_str().unwrap();
    bench.rsconnect(
        &["content", "describe", "-n", "sandbox", "-g", guid],
        &["\"app_mode\": \"python-api\"", "\"bundle_id\": \"2\""],
    );

    let broken = MANIFEST.replace("\"entrypoint\":\"app\"", "\"x\":1");
    std::fs::write(bench.home.path().join("app").join("manifest.json"), broken).unwrap();
    let (code, text) = bench.run("rsconnect", &["deploy", "manifest", "manifest.json", "-n", "sandbox", "--new"]);
    assert!(code == 1 && text.contains("entrypoint") && text.contains("Task exited with status 1."), "{code} {text}");
    std::fs::write(bench.home.path().join("app").join("manifest.json"), MANIFEST).unwrap();
}

#[test]
fn rsconnect_python_deploys_once_to_an_older_server() {
    let Some(bench) = Bench::new() else { return };
    let server = Server::start("2024.09.0");
    let done = "Deployment completed successfully.";
    let args = ["deploy", "manifest", "manifest.json", "-s", &server.url, "-k", &server.key, "--new"];
    let text = bench.rsconnect(&args, &["Verifying deployed content", done]);
    assert_eq!(text.matches(done).count(), 1, "{text}");
    server.stop();
}

#[test]
fn both_publish_to_real_processes() {
    let Some(bench) = Bench::new().filter(|_| plumber()) else { return };
    bench.really();
    let server = Server::with("2025.09.0", &[&REAL[..], &[environments().to_str().unwrap()]].concat());
    publishes_both_fixtures(&bench, &server);
    publishes_changes_and_deletes(&bench, &server);
    server.stop();
}

fn publishes_both_fixtures(bench: &Bench, server: &Server) {
    let said = [("flask-stocks", "using Python"), ("plumber-stocks", "using R")];
    for (fixture, says) in said {
        let manifest = fixtures().join(fixture).join("manifest.json");
        let args = ["deploy", "manifest", manifest.to_str().unwrap(), "-s", &server.url, "-k", &server.key, "--new"];
        let done = "Deployment completed successfully.";
        bench.rsconnect(&args, &[says, "The application accepts connections", "Verifying deployed content", done]);
    }
}

#[test]
fn posit_sdk_publishes_changes_and_deletes() {
    let Some(bench) = Bench::new() else { return };
    let server = Server::start("2025.09.0");
    publishes_changes_and_deletes(&bench, &server);
    server.stop();
}

#[test]
fn both_do_the_same_on_two_nodes_behind_a_gateway_with_real_processes() {
    let Some(mut bench) = Bench::new().filter(|_| plumber()) else { return };
    bench.really();
    let Some(server) = Server::cluster(bench.home.path()) else { return };
    bench.authority = server.authority.clone();
    publishes_and_looks(&bench, &server);
    publishes_both_fixtures(&bench, &server);
    publishes_changes_and_deletes(&bench, &server);
    server.stop();
}

fn publishes_changes_and_deletes(bench: &Bench, server: &Server) {
    let app = bench.home.path().join("app");
    let (code, text) = bench.run("python", &["-c", SDK_SCRIPT, &server.url, &server.key, &app.to_string_lossy()]);
    assert_eq!(code, 0, "{text}");
    for step in ["me", "bundle", "deployed", "updated", "restarted", "refused", "gone"] {
        assert!(text.lines().any(|line| line == step), "`{step}` is missing: {text}");
    }
}
