//! The world misbehaves in the middle of a run: the run goes on, says from when to when and whose fault it was, recovers,
//! and its memory does not grow.

use std::sync::Arc;
use std::time::{Duration, Instant};

use rcgen::{CertificateParams, KeyPair, date_time_ymd};
use rustix::process::{Resource, Rlimit, Signal, prlimit};
use rustls_pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer};
use serde_json::Value;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpListener;
use tokio_rustls::TlsAcceptor;

use crate::moody::{Mood, Moody};
use crate::servers::{Answer, Server};
use crate::support::{Bench, Ended, Sandbox, number};

/// More than this program needs for anything here.
const MEMORY: f64 = 150e6;

/// The incident of this trouble.
#[track_caller]
pub(crate) fn incident<'d>(document: &'d Value, trouble: &str) -> &'d Value {
    let all = document["incidents"].as_array().unwrap();
    all.iter().find(|incident| incident["trouble"] == trouble).unwrap_or_else(|| panic!("no {trouble}: {all:#?}"))
}

/// It ended by itself at its planned end, and its counts add up.
#[track_caller]
pub(crate) fn ran_to_its_end(ended: &Ended) -> Value {
    assert!(matches!(ended.code, Some(0 | 121)), "{ended:#?}");
    let document = ended.json();
    assert_eq!(document["state"], "finished", "{document:#}");
    let counts = &document["requests"];
    let sum: f64 =
        ["completed", "failed", "dropped", "interrupted"].map(|name| counts[name].as_f64().unwrap()).iter().sum();
    assert_eq!(counts["scheduled"].as_f64().unwrap(), sum, "{document:#}");
    assert!(number(&document, "/generator/peak_memory_bytes") < MEMORY, "{document:#}");
    document
}

/// Nine seconds with a server that is bad from the third to the fifth.
async fn through(mood: Mood, (trouble, blame): (&str, &str)) {
    let server = Moody::start(mood, Duration::from_secs(4)).await;
    let mut line =
        vec!["load", "-u", "4", "-d", "9s", "--warmup", "0s", "--workers", "1", "--json", "--url", &server.url];
    line.extend(["--timeout", "600ms", "--expect-body", "hello good", "--accept-encoding", "gzip"]);
    let ended = Bench::new().run(&line).await;
    let document = ran_to_its_end(&ended);
    assert!(
        server.bad.load(std::sync::atomic::Ordering::Relaxed) > 0 || mood == Mood::Gone,
        "{mood:?} was not provoked"
    );
    let seen = incident(&document, trouble);
    assert_eq!(seen["blame"], blame, "{mood:?}: {document:#}");
    let (from, to) = (number(seen, "/from_s"), number(seen, "/to_s"));
    assert!(from >= 1.0 && to <= 7.0 && from <= to, "{mood:?}: {seen:#}");
    assert!(number(seen, "/recovered_s") > to, "{mood:?}: {seen:#}");
    assert!(number(&document, "/requests/completed") > 100.0, "{mood:?}: {document:#}");
}

macro_rules! through {
    ($($name:ident: $mood:ident, $trouble:literal, $blame:literal;)+) => {$(
        #[tokio::test]
        async fn $name() {
            through(Mood::$mood, ($trouble, $blame)).await;
        }
    )+};
}

through! {
    resets_are_the_networks_and_pass: Reset, "reset", "network";
    bodies_that_are_cut_off_pass: Cut, "closed", "network";
    half_open_connections_time_out_and_pass: HalfOpen, "timeout", "network";
    heads_that_come_byte_by_byte_time_out: SlowHead, "timeout", "network";
    bodies_that_come_byte_by_byte_time_out: SlowBody, "timeout", "network";
    bodies_without_end_time_out_in_bounded_memory: Endless, "timeout", "network";
    bytes_that_were_promised_and_never_come_time_out: Promise, "timeout", "network";
    lengths_that_differ_are_the_servers: TwoLengths, "protocol", "server";
    chunks_that_are_none_are_the_servers: Chunks, "protocol", "server";
    interim_responses_without_end_are_cut_off: Interim, "protocol", "server";
    a_head_without_end_is_cut_off: GiantHead, "protocol", "server";
    header_fields_without_end_are_cut_off: Fields, "protocol", "server";
    another_protocol_is_the_servers: Garbage, "protocol", "server";
    bytes_that_are_no_text_are_an_unexpected_body: NotText, "body", "server";
    a_bomb_is_an_unexpected_body_in_bounded_memory: Bomb, "body", "server";
    a_redirect_to_itself_is_not_followed: Circle, "body", "server";
    errors_of_the_server_pass: Broken, "status_503", "server";
    another_application_in_its_place_is_noticed: Replaced, "body", "server";
    a_server_that_goes_and_comes_back_is_met_again: Gone, "refused", "network";
}

#[tokio::test]
async fn a_sandbox_that_is_killed_and_started_again_is_loaded_on() {
    let data = tempfile::tempdir().unwrap();
    let data = data.path().display().to_string();
    let mut first = Sandbox::quick(&["--data-dir", &data]).await;
    let listen = first.url.trim_start_matches("http://").to_owned();
    let bench = Bench::on(&first);
    let mut running = bench.start(&["load", "-u", "4", "-d", "12s", "--warmup", "0s", "--no-publish", "--json"]);
    running.seconds(3).await;
    first.kill().await;
    tokio::time::sleep(Duration::from_millis(1500)).await;
    let second = Sandbox::quick(&["--data-dir", &data, "--listen", &listen]).await;
    let document = ran_to_its_end(&running.end().await);
    assert!(number(incident(&document, "refused"), "/recovered_s") > 3.0, "{document:#}");
    assert!(second.items().await.is_empty() && document["left_behind"] == serde_json::json!([]));
}

#[cfg(target_os = "linux")]
#[tokio::test]
async fn files_that_are_used_up_are_our_own_and_void_the_verdict() {
    // Each request needs a connection of its own.
    let server = Server::start(Answer::Closing("hello")).await;
    let bench = Bench::new();
    let mut running = bench.start(&[
        "load",
        "-u",
        "8",
        "-d",
        "9s",
        "--warmup",
        "0s",
        "--workers",
        "1",
        "--json",
        "--url",
        &server.url,
    ]);
    running.seconds(2).await;
    let before =
        prlimit(Some(running.id()), Resource::Nofile, Rlimit { current: Some(12), maximum: Some(4096) }).unwrap();
    tokio::time::sleep(Duration::from_millis(2000)).await;
    prlimit(Some(running.id()), Resource::Nofile, Rlimit { current: Some(4096), maximum: Some(4096) }).unwrap();
    assert!(before.current.is_none_or(|files| files > 12));
    let ended = running.end().await;
    let document = ran_to_its_end(&ended);
    let seen = incident(&document, "descriptors");
    assert_eq!(seen["blame"], "generator", "{document:#}");
    assert!(
        !seen["recovered_s"].is_null() && document["generator"]["valid"] == false && ended.code == Some(121),
        "{document:#}"
    );
}

#[tokio::test]
async fn a_process_that_was_stopped_for_a_while_says_so() {
    // Slow enough that nothing else but the stop is the generator's fault.
    let server = Server::start(Answer::Unhurried("hello")).await;
    let bench = Bench::new();
    let mut line = vec!["load", "-u", "2", "-d", "12s", "--warmup", "0s", "--json", "--url", &server.url];
    // Shorter than it is stopped: what was under way then was answered in time.
    line.extend(["--timeout", "3s"]);
    let mut running = bench.start(&line);
    running.seconds(2).await;
    running.signal(Signal::STOP);
    tokio::time::sleep(Duration::from_secs(5)).await;
    running.signal(Signal::CONT);
    let ended = running.end().await;
    let document = ran_to_its_end(&ended);
    assert!(document["generator"]["valid"] == false && ended.code == Some(121), "{document:#}");
    let seen = incident(&document, "stopped");
    assert!(number(seen, "/recovered_s") > number(seen, "/to_s"), "{document:#}");
    // Nobody else is blamed for those seconds. (At other times this machine may be too busy for the server, too.)
    let (from_s, to_s) = (number(seen, "/from_s"), number(seen, "/to_s"));
    let mut others = document["incidents"].as_array().unwrap().iter().filter(|one| one["blame"] != "generator");
    let overlaps = |one: &Value| number(one, "/from_s") <= to_s && number(one, "/to_s") >= from_s;
    assert!(!others.any(overlaps), "{document:#}");
    assert_eq!(number(&document, "/requests/failed"), 0.0, "{document:#}");
    let spoilt = document["insights"].as_array().unwrap().iter().find(|one| one["id"] == "generator-bound").unwrap();
    assert!(spoilt["finding"].as_str().unwrap().contains("stood still"), "{document:#}");
}

/// TLS for `localhost` by a certificate that holds until that year.
fn until_year(year: i32) -> (TlsAcceptor, String) {
    let mut params = CertificateParams::new(vec!["localhost".to_owned()]).unwrap();
    params.not_before = date_time_ymd(2019, 1, 1);
    params.not_after = date_time_ymd(year, 1, 1);
    let key = KeyPair::generate().unwrap();
    let certificate = params.self_signed(&key).unwrap();
    let private = PrivateKeyDer::from(PrivatePkcs8KeyDer::from(key.serialize_der()));
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let config = rustls::ServerConfig::builder_with_provider(provider).with_safe_default_protocol_versions().unwrap();
    let config = config.with_no_client_auth().with_single_cert(vec![certificate.der().clone()], private).unwrap();
    (TlsAcceptor::from(Arc::new(config)), certificate.pem())
}

#[tokio::test]
async fn a_certificate_that_expires_is_an_event_and_not_the_end() {
    let ((good, pem), (expired, expired_pem)) = (until_year(2400), until_year(2020));
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("https://localhost:{}/", listener.local_addr().unwrap().port());
    tokio::spawn(async move {
        let began = Instant::now();
        while let Ok((stream, _)) = listener.accept().await {
            let is_bad = (Duration::from_secs(3)..Duration::from_secs(5)).contains(&began.elapsed());
            let acceptor = if is_bad { expired.clone() } else { good.clone() };
            tokio::spawn(async move {
                let Ok(mut stream) = acceptor.accept(stream).await else { return };
                let mut request = [0; 4096];
                let _ = stream.read(&mut request).await;
                tokio::time::sleep(Duration::from_millis(20)).await;
                // A connection for each request: every one has a handshake.
                let head = "HTTP/1.1 200 OK\r\ncontent-length: 2\r\nconnection: close\r\n\r\nok";
                let _ = stream.write_all(head.as_bytes()).await;
                let _ = stream.shutdown().await;
            });
        }
    });
    let bench = Bench::new();
    let authorities = bench.file("ca.pem", &(pem + &expired_pem)).display().to_string();
    let line = ["load", "-u", "2", "-d", "9s", "--warmup", "0s", "--json", "--cacert", &authorities, "--url", &url];
    let document = ran_to_its_end(&bench.run(&line).await);
    let seen = incident(&document, "tls");
    assert!(seen["blame"] == "network" && number(seen, "/recovered_s") > number(seen, "/to_s"), "{document:#}");
}
