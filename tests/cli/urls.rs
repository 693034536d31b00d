//! Any URL without a Connect API, over http and https.

use std::time::Duration;

use crate::servers::{Answer, Server, listens};
use crate::support::{Bench, SHORT, number};

#[tokio::test]
async fn a_url_is_loaded_without_a_key_and_counted_exactly() {
    let server = Server::start(Answer::Text(200, "hello there")).await;
    // A key that lies about is not sent.
    let bench = Bench::new().with("CONNECT_API_KEY", "keythatliesabout");
    let url = format!("{}a/b?token=sesame&x=1", server.url);
    let ended = bench.load(&["--url", &url, "--json", "--workers", "1"]).await;
    ended.passes();
    let document = ended.json();
    assert!(server.heard().starts_with("GET /a/b?token=sesame&x=1 HTTP/1.1"), "{}", server.heard());
    assert!(!server.heard().to_lowercase().contains("authorization"));
    assert!(!ended.stdout.contains("sesame"), "a query may hold a secret");
    assert!(document["publish"].is_null() && document["target"]["sandbox"] == false);
    tokio::time::sleep(Duration::from_millis(200)).await;
    let counted = number(&document, "/requests/sent") + number(&document, "/requests/api_sent");
    assert_eq!(server.requests() as f64, counted);
}

#[tokio::test]
async fn answers_that_are_errors_are_counted_by_their_kind() {
    for (answer, flags, kind) in [
        (Answer::Text(404, "no"), &[][..], "status_404"),
        (Answer::Text(200, "hello"), &["--expect-body", "other"], "body"),
    ] {
        let server = Server::start(answer).await;
        let bench = Bench::new();
        let ended = bench.run(&[&SHORT[..], &["--url", &server.url, "--json"], flags].concat()).await;
        // Nothing was completed: that is no pass, and no fault of the server's being away.
        ended.fails(121, &["does not answer as expected"]);
        let document = ended.json();
        assert_eq!(document["errors"][0]["kind"], kind, "{document:#}");
        assert_eq!(document["error_rate"], 1.0);
        assert_eq!(number(&document, "/requests/completed"), 0.0);
        assert!(document["fetch_latency_ms"]["mean"].is_null(), "no latency of failures: {document:#}");
    }
    let server = Server::start(Answer::Text(200, "hello there")).await;
    Bench::new().load(&["--url", &server.url, "--expect-body", "there"]).await.passes();
}

#[tokio::test]
async fn connections_that_are_closed_each_time_are_opened_again() {
    let server = Server::start(Answer::Closing("hello")).await;
    let ended = Bench::new().load(&["--url", &server.url, "--json"]).await;
    ended.passes();
    let document = ended.json();
    assert_eq!(number(&document, "/requests/failed"), 0.0, "{document:#}");
    assert!(number(&document, "/requests/completed") > 20.0, "{document:#}");
}

#[tokio::test]
async fn servers_without_an_answer_are_found_out_before_the_run() {
    for (answer, words) in [
        (Answer::Trickle, "no complete response in time"),
        (Answer::Silence, "no complete response in time"),
        (Answer::Half, "connection closed"),
        (Answer::Garbage, "not a valid HTTP response"),
    ] {
        let server = Server::start(answer).await;
        assert!(listens(&server.url).await);
        let bench = Bench::new();
        let ended = bench.load(&["--url", &server.url, "--timeout", "1s"]).await;
        ended.fails(122, &[words]);
        assert!(ended.took < Duration::from_secs(10) && bench.runs().is_empty(), "{ended:#?}");
    }
    let bench = Bench::new();
    bench.load(&["--url", &Server::closed().await]).await.fails(122, &["connection refused"]);
    let unknown = ["--url", "http://nobody.invalid/", "--allow-host", "nobody.invalid"];
    bench.load(&unknown).await.fails(122, &["name not resolved"]);
}

#[tokio::test]
async fn certificates_are_verified_unless_told_otherwise() {
    let server = Server::with_tls(Answer::Text(200, "hello")).await;
    let bench = Bench::new();
    let authority = bench.file("ca.pem", &server.certificate).display().to_string();
    let ended = bench.load(&["--url", &server.url]).await;
    ended.fails(122, &["certificate not trusted", "--cacert"]);
    assert!(ended.took < Duration::from_secs(10) && bench.runs().is_empty(), "{ended:#?}");
    let other = server.url.replace("localhost", "127.0.0.1");
    bench.load(&["--url", &other, "--cacert", &authority]).await.fails(122, &["certificate for another host"]);
    for flags in [&["--cacert", &authority][..], &["--insecure"]] {
        let ended = bench.load(&[&["--url", &server.url, "--json"], flags].concat()).await;
        ended.passes();
        let document = ended.json();
        assert_eq!(number(&document, "/requests/failed"), 0.0, "{document:#}");
        assert!(number(&document, "/requests/completed") > 20.0, "{document:#}");
    }
    // The Connect client says the same in its own words.
    let bench = Bench::new().with("CONNECT_API_KEY", "thekeyofthetest");
    bench.load(&["-s", &server.url]).await.fails(122, &["--cacert"]);
    bench.load(&["-s", &server.url, "--insecure"]).await.fails(122, &["does not understand"]);
}
