//! TLS: what is resumed, by whom, and which versions are spoken.

use std::rc::Rc;

use connect_bench::connection_options::{ConnectionOptions, Reuse, TlsVersion};
use connect_bench::http::Client;
use connect_bench::outcome::{Ended, ErrorKind};
use connect_bench::plan::Http1Engine;
use rustls::version::{TLS12, TLS13};

use crate::support::{Server, get, make};

/// Which of four handshakes of each of two VUs were resumed.
async fn resumed(server: &Server, options: &ConnectionOptions) -> [Vec<u64>; 2] {
    let (dial, config) = (server.dial(options, None), server.config(options, Http1Engine::Own, None));
    let mut all = [Vec::new(), Vec::new()];
    let mut clients: Vec<_> = (0..2).map(|vu| Client::new(dial.clone(), config.clone()).for_vu(vu)).collect();
    for _ in 0..4 {
        for (client, resumed) in clients.iter_mut().zip(&mut all) {
            let done = make(client, &Rc::new(get("/"))).await;
            assert_eq!((done.ended, done.connections), (Ended::Completed, 1));
            assert!(!done.phases.tls_handshaking.is_zero());
            resumed.push(done.resumed);
        }
    }
    all
}

#[tokio::test]
async fn every_handshake_is_full_unless_resumption_is_asked_for() {
    for versions in [&[&TLS13][..], &[&TLS12]] {
        let server = Server::tls(&["http/1.1"], versions).await;
        let off = ConnectionOptions { reuse: Reuse::Never, ..ConnectionOptions::default() };
        assert_eq!(resumed(&server, &off).await, [[0, 0, 0, 0]; 2]);
        // Each VU is a client of its own: its first handshake is full, whatever another VU did before.
        let on = ConnectionOptions { tls_resumption: true, ..off };
        assert_eq!(resumed(&server, &on).await, [[0, 1, 1, 1]; 2]);
    }
}

#[tokio::test]
async fn only_the_versions_that_were_asked_for_are_spoken() {
    for (wanted, spoken, ended) in [
        (TlsVersion::Tls12, &TLS12, Ended::Completed),
        (TlsVersion::Tls13, &TLS13, Ended::Completed),
        (TlsVersion::Any, &TLS12, Ended::Completed),
        (TlsVersion::Tls12, &TLS13, Ended::Failed(ErrorKind::Tls)),
        (TlsVersion::Tls13, &TLS12, Ended::Failed(ErrorKind::Tls)),
    ] {
        let server = Server::tls(&["http/1.1"], &[spoken]).await;
        let options = ConnectionOptions { tls_version: wanted, ..ConnectionOptions::default() };
        let mut client = server.client(&options, Http1Engine::Own);
        assert_eq!(make(&mut client, &Rc::new(get("/"))).await.ended, ended);
    }
}
