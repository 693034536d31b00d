//! The ways to say which server, and as whom.

use serde_json::json;

use crate::support::{Bench, SHORT, Sandbox, canary};

#[tokio::test]
async fn the_environment_aims_a_run_as_at_a_real_server() {
    let sandbox = Sandbox::quick(&[]).await;
    let bench = Bench::on(&sandbox);
    let ended = bench.load(&["--json"]).await;
    ended.passes();
    let document = ended.json();
    assert_eq!(document["target"]["sandbox"], true, "it says so itself");
    assert_eq!(document["target"]["url"].as_str().unwrap(), format!("{}/", sandbox.url));
    assert!(sandbox.items().await.is_empty());
    // And the same run is shown again by `report`.
    let report = bench.run(&["report", "--json"]).await;
    assert_eq!(report.code, Some(0), "{report:#?}");
    assert_eq!(report.json()["requests"], document["requests"]);
    let text = bench.run(&["report"]).await;
    assert!(text.stdout.starts_with("SANDBOX"), "{text:#?}");
}

#[tokio::test]
async fn the_key_comes_by_flag_file_or_stdin_and_the_address_in_many_forms() {
    let sandbox = Sandbox::quick(&[]).await;
    let bench = Bench::new().secret(&sandbox.key);
    bench.file("key.txt", &format!("{}\n", sandbox.key));
    for address in ["", "/", "/connect", "/connect/#/content/listing", "/__api__/"] {
        let server = format!("{}{address}", sandbox.url);
        bench.run(&["cleanup", "-s", &server, "--api-key-file", "key.txt"]).await.passes();
    }
    bench.load(&["-s", &sandbox.url, "--api-key-file", "key.txt", "--no-publish"]).await.passes();
    let mut running = bench.start(&[&SHORT[..], &["-s", &sandbox.url, "--api-key", "-", "--no-publish"]].concat());
    running.say(&format!("{}\n", sandbox.key)).await;
    running.end().await.passes();
    bench.load(&["-s", &sandbox.url, "--api-key", "-"]).await.fails(2, &["API key"]);
    assert!(sandbox.items().await.is_empty());
}

#[tokio::test]
async fn a_server_that_rsconnect_saved_is_found_by_its_name() {
    let sandbox = Sandbox::quick(&[]).await;
    let bench = Bench::new().secret(&sandbox.key);
    let entry = json!({"name": "lab", "url": sandbox.url, "api_key": sandbox.key, "insecure": false, "ca_cert": null});
    let saved = json!({"lab": entry, "bare": {"name": "bare", "url": sandbox.url}});
    let path = bench.file(".rsconnect-python/servers.json", &saved.to_string());
    let before = std::fs::read(&path).unwrap();
    bench.load(&["-n", "lab", "--no-publish"]).await.passes();
    bench.load(&["-n", "bare"]).await.fails(2, &["bare", "without an API key"]);
    bench.load(&["-n", "1000"]).await.fails(2, &["1000", "lab", "--vus"]);
    bench.load(&["-n", "lab", "-s", &sandbox.url]).await.fails(2, &["two servers"]);
    assert_eq!(std::fs::read(&path).unwrap(), before, "it is only read");
}

/// What everybody on this machine may read of a process.
fn arguments(running: &crate::support::Running<'_>) -> Vec<u8> {
    std::fs::read(format!("/proc/{}/cmdline", running.id().as_raw_nonzero())).unwrap()
}

#[cfg(target_os = "linux")]
#[tokio::test]
async fn a_typed_key_is_in_no_argument_of_a_process_for_longer_than_its_start() {
    let sandbox = Sandbox::quick(&[]).await;
    for key in [&["-k"][..], &["--api-key"], &[]] {
        let bench = Bench::new().secret(&sandbox.key);
        let joined = format!("--api-key={}", sandbox.key);
        let typed: Vec<&str> = if key.is_empty() { vec![&joined] } else { vec![key[0], &sandbox.key] };
        let mut running =
            bench.start(&[&SHORT[..], &["-s", &sandbox.url, "--no-publish", "--json"], typed.as_slice()].concat());
        running.seconds(1).await;
        let seen = arguments(&running);
        assert!(canary::found(&seen, &sandbox.key).is_none(), "{}", String::from_utf8_lossy(&seen));
        assert!(String::from_utf8_lossy(&seen).contains("fd:"), "it is the same command line otherwise");
        running.end().await.passes();
    }
}

#[tokio::test]
async fn a_key_by_file_goes_before_that_of_the_environment() {
    let sandbox = Sandbox::quick(&[]).await;
    let bench = Bench::new().with("CONNECT_SERVER", &sandbox.url).with("CONNECT_API_KEY", "thewrongkey0000000");
    let file = bench.file("key.txt", &sandbox.key).display().to_string();
    bench.run(&["cleanup", "--api-key-file", &file]).await.passes();
    bench.run(&["cleanup"]).await.fails(122, &["does not accept the API key"]);
    bench.run(&["cleanup", "-k", "one", "--api-key-file", &file]).await.fails(2, &["--api-key", "--api-key-file"]);
}
