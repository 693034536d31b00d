//! Before the first run: `init`, the configuration file, `doctor`, and what a shell completes.

use std::process::{Command, Stdio};

use serde_json::Value;

use crate::support::{Bench, Ended, Sandbox};

/// The checks of a `doctor --json`, as (name, status).
fn checks(ended: &Ended) -> Vec<(String, String)> {
    let document: Value = serde_json::from_str(&ended.stdout).unwrap();
    assert_eq!(document["schema"], 1);
    let text = |value: &Value| value.as_str().unwrap().to_owned();
    document["checks"].as_array().unwrap().iter().map(|check| (text(&check["name"]), text(&check["status"]))).collect()
}

fn seen(ended: &Ended, name: &str) -> String {
    let document: Value = serde_json::from_str(&ended.stdout).unwrap();
    let all = document["checks"].as_array().unwrap();
    all.iter().find(|check| check["name"] == name).unwrap()["seen"].as_str().unwrap().to_owned()
}

fn status<'c>(checks: &'c [(String, String)], name: &str) -> &'c str {
    &checks.iter().find(|(known, _)| known == name).unwrap_or_else(|| panic!("{name} of {checks:?}")).1
}

#[tokio::test]
async fn init_writes_files_that_work_and_overwrites_nothing() {
    let bench = Bench::new();
    let ended = bench.run(&["init", "-s", "http://127.0.0.1:3939"]).await;
    ended.passes();
    assert!(ended.stdout.contains("connect-bench doctor"), "{}", ended.stdout);
    bench.run(&["check", "scenario.toml"]).await.passes();
    // The file is read: it names the server.
    let doctor = bench.run(&["doctor", "--no-measure", "--json"]).await;
    assert!(seen(&doctor, "configuration").contains("--server=http://127.0.0.1:3939"), "{}", doctor.stdout);
    let scenario = bench.path().join("scenario.toml");
    std::fs::write(&scenario, "mine").unwrap();
    bench.run(&["init"]).await.fails(104, &["scenario.toml", "--force", "nothing was written"]);
    assert_eq!(std::fs::read_to_string(&scenario).unwrap(), "mine");
    std::fs::remove_file(bench.path().join("connect-bench.toml")).unwrap();
    bench.run(&["init"]).await.fails(104, &["scenario.toml"]);
    assert!(!bench.path().join("connect-bench.toml").exists(), "all or nothing");
    bench.run(&["init", "--force"]).await.passes();
    assert!(std::fs::read_to_string(&scenario).unwrap().contains("[scenarios.browse]"));
    bench.run(&["init", "further/down", "-n", "production"]).await.passes();
    let text = std::fs::read_to_string(bench.path().join("further/down/connect-bench.toml")).unwrap();
    assert!(text.contains("\nname = \"production\"\n"), "{text}");
}

#[tokio::test]
async fn a_flag_comes_before_the_environment_before_the_file_before_the_default() {
    let bench = Bench::new();
    let doctor = ["doctor", "--no-measure", "--json"];
    let runs = async |bench: &Bench, flags: &[&str]| seen(&bench.run(&[&doctor, flags].concat()).await, "runs");
    assert!(runs(&bench, &[]).await.starts_with("0 in runs,"));
    bench.file("connect-bench.toml", "runs-dir = \"of-the-file\"\n[doctor]\nvus = 3\n");
    assert!(runs(&bench, &[]).await.starts_with("0 in of-the-file,"));
    let files = seen(&bench.run(&doctor).await, "open files");
    assert!(files.ends_with("enough for 3 VUs"), "{files}");
    let files = seen(&bench.run(&[&doctor[..], &["-u", "4"]].concat()).await, "open files");
    assert!(files.ends_with("enough for 4 VUs"), "{files}");
    let bench = bench.with("CONNECT_BENCH_RUNS", "of-the-environment");
    assert!(runs(&bench, &[]).await.starts_with("0 in of-the-environment,"));
    assert!(runs(&bench, &["--runs-dir", "of-the-flag"]).await.starts_with("0 in of-the-flag,"));
    bench.file("other.toml", "[doctor]\nvus = 5\n");
    let files = seen(&bench.run(&[&doctor[..], &["--config", "other.toml"]].concat()).await, "open files");
    assert!(files.ends_with("enough for 5 VUs"), "{files}");
    bench.file("connect-bench.toml", "\n[load]\nvuss = 3\n");
    bench.run(&["runs", "list"]).await.fails(104, &["connect-bench.toml, line 3", "did you mean vus?"]);
    bench.run(&["runs", "list", "--config", "nowhere.toml"]).await.fails(104, &["nowhere.toml"]);
    bench.run(&["runs", "list", "--config", "/dev/null"]).await.passes();
    // Whoever repairs it can have a new one.
    bench.run(&["init", "--force"]).await.passes();
}

#[tokio::test]
async fn a_load_test_takes_what_was_not_typed_from_the_file_and_its_report_says_so() {
    let sandbox = Sandbox::quick(&[]).await;
    let bench = Bench::on(&sandbox);
    bench.file(
        "connect-bench.toml",
        "[load]\nvus = 3\nduration = \"2s\"\nwarmup = \"0s\"\nno-publish = true\nthreshold = [\"http_reqs: count>0\"]\n",
    );
    let ended = bench.run(&["load", "--json", "-u", "2"]).await;
    let document: Value = serde_json::from_str(&ended.stdout).unwrap();
    assert_eq!(document["thresholds"][0]["passed"], true, "{}", ended.shown);
    assert!(ended.stderr.contains("connect-bench.toml adds") && !ended.stderr.contains("--vus=3"), "{}", ended.stderr);
    let run = bench.runs().remove(0);
    let plan: Value = serde_json::from_slice(&std::fs::read(run.join("plan.json")).unwrap()).unwrap();
    let invocation = plan["invocation"].to_string();
    assert!(invocation.contains("--vus=2") && invocation.contains("--duration=2s"), "{invocation}");
}

#[tokio::test]
async fn doctor_says_what_is_well_what_is_not_and_what_to_do() {
    let key = "vvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvv";
    let viewer = format!("vera:viewer:{key}");
    let sandbox = Sandbox::quick(&["--extra-user", &viewer]).await;
    let bench = Bench::on(&sandbox).secret(key);
    let ended = bench.run(&["doctor", "--json", "--vus", "8"]).await;
    assert_eq!(ended.code, Some(0), "{}", ended.shown);
    let all = checks(&ended);
    for name in ["open files", "ports", "runs", "reached", "licence", "clock", "key", "python", "r", "limits"] {
        assert_eq!(status(&all, name), "ok", "{name}: {}", ended.stdout);
    }
    assert!(["ok", "warn"].contains(&status(&all, "capacity")), "{}", ended.stdout);
    assert!(seen(&ended, "capacity").contains("requests per second"), "{}", ended.stdout);
    assert_eq!(status(&all, "connection"), "warn", "it is this machine");
    assert!(seen(&ended, "reached").contains("sandbox, not Posit Connect"));
    // Nothing was made, and no load was put on it.
    assert!(sandbox.items().await.is_empty() && bench.runs().is_empty());
    assert!(sandbox.requests().await < 60, "{}", sandbox.requests().await);

    let text = bench.run(&["doctor", "--no-measure"]).await;
    assert!(text.stdout.contains("  ok    key") && text.stdout.contains("  –     capacity"), "{}", text.stdout);
    let weak = bench.run(&["doctor", "--no-measure", "--json", "-k", key]).await;
    assert_eq!((weak.code, status(&checks(&weak), "key")), (Some(122), "fail"));
    let wrong = bench.run(&["doctor", "--no-measure", "--json", "-k", "wrongwrongwrongwrongwrongwrongwr"]).await;
    assert_eq!((wrong.code, status(&checks(&wrong), "key")), (Some(122), "fail"));
}

#[tokio::test]
async fn doctor_without_a_server_looks_at_this_machine_and_a_dead_one_is_said() {
    let bench = Bench::new();
    let alone = bench.run(&["doctor", "--no-measure", "--json"]).await;
    assert_eq!((alone.code, status(&checks(&alone), "server")), (Some(0), "skipped"));
    let dead = bench.run(&["doctor", "--no-measure", "--json", "-s", "http://127.0.0.1:1", "-k", "abcdef"]).await;
    assert_eq!((dead.code, status(&checks(&dead), "reached")), (Some(122), "fail"));
    let many = bench.run(&["doctor", "--no-measure", "--json", "--vus", "100000"]).await;
    let ports = status(&checks(&many), "ports").to_owned();
    assert!(["fail", "skipped"].contains(&ports.as_str()), "{}", many.stdout);
    assert_eq!(many.code, Some(if ports == "fail" { 121 } else { 0 }));
}

/// What bash would offer for these words, the last of which is being typed.
fn offered(bench: &Bench, words: &[&str]) -> Option<Vec<String>> {
    let program = env!("CARGO_BIN_EXE_connect-bench");
    let folder = std::path::Path::new(program).parent().unwrap().display();
    let list = words.iter().map(|word| format!("'{word}'")).collect::<Vec<_>>().join(" ");
    let script = format!(
        "PATH={folder}:$PATH; source <(connect-bench completions bash) || exit 1\n\
         COMP_WORDS=({list}); COMP_CWORD={at}; COMP_LINE=\"${{COMP_WORDS[*]}}\"; COMP_POINT=${{#COMP_LINE}}\n\
         compopt() {{ :; }}\n\
         function=$(complete -p connect-bench | sed 's/.*-F \\([^ ]*\\).*/\\1/'); $function connect-bench '{last}' '{before}'\n\
         printf '%s\\n' \"${{COMPREPLY[@]}}\"",
        at = words.len() - 1,
        last = words[words.len() - 1],
        before = words[words.len() - 2],
    );
    let mut bash = Command::new("bash");
    bash.args(["--norc", "-c", &script]).current_dir(bench.path()).env("HOME", bench.path());
    bash.env("XDG_CONFIG_HOME", bench.path().join("config")).env_remove("CONNECT_BENCH_RUNS");
    let Ok(output) = bash.stdin(Stdio::null()).output() else {
        assert!(std::env::var_os("CI").is_none(), "bash is missing");
        #[expect(clippy::print_stderr, reason = "the only way to say that a test was left out")]
        {
            eprintln!("left out: there is no bash");
        }
        return None;
    };
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let out = String::from_utf8(output.stdout).unwrap();
    Some(out.lines().map(|line| line.trim().to_owned()).filter(|line| !line.is_empty()).collect())
}

#[test]
fn bash_completes_commands_flags_servers_runs_and_baselines() {
    let bench = Bench::new();
    let store = bench.path().join("config/rsconnect-python");
    std::fs::create_dir_all(&store).unwrap();
    let servers = r#"{"production": {"name": "production", "url": "https://a.example", "api_key": "sssecret"},
        "preview": {"name": "preview", "url": "https://b.example", "api_key": "sssecret"}}"#;
    std::fs::write(store.join("servers.json"), servers).unwrap();
    let run = bench.path().join("runs/20260101T000000Z-load-0f1e2d3c");
    std::fs::create_dir_all(&run).unwrap();
    std::fs::write(run.join("plan.json"), "{}").unwrap();
    let Some(commands) = offered(&bench, &["connect-bench", "doc"]) else { return };
    assert_eq!(commands, ["doctor"]);
    let of = |words: &[&str]| offered(&bench, words).unwrap();
    assert_eq!(of(&["connect-bench", "load", "--no-tu"]), ["--no-tui"]);
    assert_eq!(of(&["connect-bench", "load", "-n", "p"]), ["preview", "production"]);
    assert_eq!(of(&["connect-bench", "doctor", "--name", "prod"]), ["production"]);
    assert_eq!(of(&["connect-bench", "report", "runs/2026"]), ["runs/20260101T000000Z-load-0f1e2d3c"]);
    assert_eq!(of(&["connect-bench", "load", "--from", "runs/2026"]), ["runs/20260101T000000Z-load-0f1e2d3c"]);
    assert_eq!(of(&["connect-bench", "load", "--baseline", "azure"]), ["azure-load-balanced"]);
    assert!(!of(&["connect-bench", "load", "-"]).iter().any(|word| word.contains("sssecret")));
}
