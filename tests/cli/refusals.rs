//! What cannot work ends at once, with a message that says what to do, and leaves no trace.

use crate::servers::{Answer, Server};
use crate::support::{Bench, Sandbox};

#[tokio::test]
async fn a_wrong_key_and_a_viewers_key_are_refused_before_anything_is_made() {
    let sandbox = Sandbox::quick(&["--extra-user", "vera:viewer:veraskey0000000000000000000000"]).await;
    for (key, words) in [
        ("wrongkey1234567890", ["does not accept the API key", "API Keys"]),
        ("veraskey0000000000000000000000", ["vera", "publisher"]),
    ] {
        let bench = Bench::new().with("CONNECT_SERVER", &sandbox.url).with("CONNECT_API_KEY", key);
        bench.load(&[]).await.fails(122, &words);
        assert!(bench.runs().is_empty(), "a run that never began leaves no directory");
        bench.run(&["cleanup"]).await.passes_or_is_refused(key);
    }
    assert!(sandbox.items().await.is_empty());
}

impl crate::support::Ended {
    /// A clean-up needs only a key that the server knows.
    fn passes_or_is_refused(&self, key: &str) {
        let code = if key.starts_with("wrong") { 122 } else { 0 };
        assert_eq!(self.code, Some(code), "{self:#?}");
    }
}

#[tokio::test]
async fn servers_that_are_not_connect_or_not_licensed_are_told_apart() {
    let sandbox = Sandbox::quick(&["--fault-license"]).await;
    Bench::on(&sandbox).load(&[]).await.fails(122, &["licence", "expired"]);
    let sandbox = Sandbox::quick(&["--fault-html"]).await;
    Bench::on(&sandbox).load(&[]).await.fails(122, &["not a Connect server", "HTML"]);
    for (answer, words) in [
        (Answer::Html, "not a Connect server"),
        (Answer::Text(200, "{}"), "does not understand"),
        (Answer::Text(503, "busy"), "status 503"),
        (Answer::Garbage, "failed"),
        (Answer::Redirect("http://127.0.0.2:9/"), "another server"),
    ] {
        let server = Server::start(answer).await;
        let bench = Bench::new().with("CONNECT_SERVER", &server.url).with("CONNECT_API_KEY", "thekeyofthetest");
        bench.load(&[]).await.fails(122, &[words]);
        let told = server.heard().contains("thekeyofthetest");
        assert!(!told || matches!(answer, Answer::Text(200, _)), "the key went to something that is not Connect");
        assert!(bench.runs().is_empty());
    }
}

#[tokio::test]
async fn unreachable_servers_are_said_to_be() {
    let bench = Bench::new().with("CONNECT_API_KEY", "thekeyofthetest");
    let unknown = ["-s", "https://connect.invalid/", "--allow-host", "connect.invalid"];
    bench.load(&unknown).await.fails(122, &["connect.invalid", "not known"]);
    let closed = Server::closed().await;
    bench.load(&["-s", &closed]).await.fails(122, &["refused the connection"]);
    bench.run(&["ramp", "-s", &closed]).await.fails(122, &["refused the connection"]);
    bench.run(&["cleanup", "-s", &closed]).await.fails(122, &["refused the connection"]);
    // Plain http where TLS is asked for.
    let plain = Server::start(Answer::Html).await;
    bench.load(&["-s", &plain.url.replace("http:", "https:")]).await.fails(122, &["TLS"]);
    assert!(bench.runs().is_empty());
}

#[tokio::test]
async fn another_machine_is_loaded_only_where_that_is_allowed() {
    let bench = Bench::new().with("CONNECT_API_KEY", "thekeyofthetest");
    // Addresses for documentation: nobody answers, so an answer within moments means that nobody was asked.
    for server in ["http://192.0.2.1/", "https://192.0.2.1:3939/connect/", "https://[2001:db8::1]/"] {
        for ended in [
            bench.load(&["-s", server]).await,
            bench.run(&["ramp", "-s", server]).await,
            bench.load(&["--url", server]).await,
            bench.load(&["-s", server, "--allow-host", "192.0.2.2"]).await,
        ] {
            ended.fails(123, &["not this machine", "--allow-host"]);
            assert!(ended.took.as_secs() < 5, "{ended:#?}");
        }
    }
    let plain = ["-s", "http://192.0.2.1/", "--allow-host", "192.0.2.1"];
    let ended = bench.load(&plain).await;
    ended.fails(123, &["plain http", "--allow-http"]);
    assert!(ended.took.as_secs() < 5, "{ended:#?}");
    assert!(bench.runs().is_empty());
}

#[tokio::test]
async fn a_command_line_that_makes_no_sense_is_said_so() {
    let sandbox = Sandbox::quick(&[]).await;
    let bench = Bench::on(&sandbox);
    for (flags, words) in [
        (&["load", "--vus", "0"][..], &["0"][..]),
        (&["load", "-u", "4", "--baseline", "nope"], &["nope", "aws-single-server-robust"]),
        (&["load", "-u", "4", "-d", "30"], &["which unit", "30m"]),
        (&["load", "-u", "4", "-d", "soon"], &["no duration"]),
        (&["load", "-u", "4", "-d", "100ms"], &["--duration", "1s"]),
        (&["load", "-u", "4", "--timeout", "0s"], &["--timeout"]),
        (&["load", "-u", "4", "-o", "x.foo"], &["x.foo", ".json"]),
        (&["load", "-u", "4", "-o", "nowhere/x.json"], &["nowhere"]),
        (&["load"], &["how many VUs", "--vus", "ramp"]),
        (&["load", "-u", "4", "--url", "ftp://127.0.0.1/"], &["http"]),
        (&["load", "-u", "4", "--url", "http://a:b@127.0.0.1/"], &["password"]),
        (&["load", "-u", "4", "--sandbox=huge"], &["huge", "small"]),
        (&["load", "-u", "4", "--sandbox-curve", "1,2"], &["--sandbox-curve"]),
        (&["load", "-u", "4", "-s", "connect.example.com"], &["https://"]),
        (&["load", "-u", "4", "--api-key", "a\u{e9}"], &["API key"]),
        (&["ramp", "--max-vus", "0"], &["0"]),
        (&["ramp", "--open"], &["--slo"]),
        (&["ramp", "--slo", "p(95)<500", "--max-rate", "9"], &["--open"]),
        (&["run", "any.toml", "--timeout", "0s"], &["--timeout"]),
        (&["report"], &["no run is there"]),
    ] {
        bench.run(flags).await.fails(2, words);
    }
    let nobody = Bench::new();
    nobody.load(&[]).await.fails(2, &["which server", "--sandbox"]);
    nobody.load(&["-n", "1000"]).await.fails(2, &["--vus"]);
    nobody.load(&["-s", &sandbox.url]).await.fails(2, &["no API key", "CONNECT_API_KEY"]);
    assert!(bench.runs().is_empty() && nobody.runs().is_empty());
    assert_eq!(sandbox.requests().await, 0, "all of this is found out before the first request");
}

#[tokio::test]
async fn configurations_and_bundles_that_cannot_be_used_are_invalid() {
    let sandbox = Sandbox::quick(&[]).await;
    let bench = Bench::on(&sandbox);
    bench.file("empty/readme.txt", "nothing to run");
    bench.file("broken/manifest.json", "{\"version\": 1,");
    for flags in [
        &["--fetch-bundle", "empty"][..],
        &["--publish-bundle", "empty"],
        &["--fetch-bundle", "nowhere"],
        &["--fetch-bundle", "broken"],
        &["--content", "https://connect.example.com/content/x/"],
        &["--path", "/../../__api__/v1/user"],
        &["--api-key-file", "nowhere"],
        &["-s", "https://localhost:1/", "--cacert", "empty/readme.txt"],
        &["-s", "https://localhost:1/", "--cacert", "nowhere"],
        &["--from", "empty"],
    ] {
        let vus = if flags[0] == "--from" { &["load"][..] } else { &["load", "-u", "4"] };
        bench.run(&[vus, flags].concat()).await.fails(104, &["error: "]);
    }
    bench.run(&["report", "empty"]).await.fails(104, &["not a run directory"]);
    assert!(sandbox.items().await.is_empty(), "what was made is removed");
    assert!(bench.runs().is_empty());
}

#[tokio::test]
async fn objectives_and_staircases_that_make_no_sense_are_refused() {
    let bench = Bench::new();
    let ramp = |extra: &[&'static str]| [&["ramp", "--sandbox=small"], extra].concat();
    bench.run(&ramp(&["--slo", "p(95)>500"])).await.fails(2, &["--slo", "error_rate<0.1%"]);
    bench.run(&ramp(&["--slo", "p(95)<500", "--slo", "rps<5"])).await.fails(2, &["rps<5", "no figure"]);
    bench.run(&ramp(&["--method", "staircase", "--stage", "12s"])).await.fails(2, &["--stage", "5s"]);
    bench.run(&ramp(&["--method", "staircase", "--slo", "p(95)<500"])).await.fails(2, &["--slo", "--method"]);
    assert!(bench.runs().is_empty());
}
