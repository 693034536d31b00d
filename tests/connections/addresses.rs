//! Where connections go to and where they come from.

use std::rc::Rc;

use connect_bench::connection_options::ConnectionOptions;
use connect_bench::http::dial::NetDial;
use connect_bench::http::{Client, ClientConfig};
use connect_bench::outcome::{Ended, ErrorKind};
use connect_bench::plan::Http1Engine;

use crate::support::{Server, Speaks, get, make};

#[tokio::test]
async fn a_name_of_hosts_leads_to_its_address_and_stays_in_the_request() {
    let server = Server::plain(Speaks::Http1).await;
    let hosts = format!("*.connect.test=127.0.0.1:{}", server.address.port()).parse().unwrap();
    let options = ConnectionOptions { hosts, ..ConnectionOptions::default() };
    let dial = NetDial::with_options(("node1.connect.test", 80), None, &options, None, 0).unwrap();
    let config = ClientConfig::new("http://node1.connect.test/".parse().unwrap(), Http1Engine::Own).unwrap();
    let mut client = Client::new(Rc::new(dial), Rc::new(config));
    assert_eq!(make(&mut client, &Rc::new(get("/"))).await.ended, Ended::Completed);
    assert_eq!(server.requests()[0].header("host"), "node1.connect.test");
}

#[tokio::test]
async fn vus_come_from_their_own_addresses() {
    let server = Server::plain(Speaks::Http1).await;
    let local_ips = "127.0.0.5,127.0.0.8/30".parse().unwrap();
    let options = ConnectionOptions { local_ips, ..ConnectionOptions::default() };
    let (dial, config) = (server.dial(&options, None), server.config(&options, Http1Engine::Own, None));
    for vu in 0..5 {
        let mut client = Client::new(dial.clone(), config.clone()).for_vu(vu);
        for _ in 0..2 {
            assert_eq!(make(&mut client, &Rc::new(get("/"))).await.ended, Ended::Completed);
        }
    }
    let from: Vec<String> = server.requests().iter().map(|seen| seen.peer.ip().to_string()).collect();
    let (a, b, c) = ("127.0.0.5", "127.0.0.9", "127.0.0.10");
    assert_eq!(from, [a, a, b, b, c, c, a, a, b, b]);
}

#[tokio::test]
async fn an_address_that_is_not_ours_or_of_the_other_family_is_an_error() {
    let server = Server::plain(Speaks::Http1).await;
    for (local, kind) in [("192.0.2.77", ErrorKind::Ports), ("::1", ErrorKind::Connect)] {
        let hosts = "localhost=127.0.0.1".parse().unwrap();
        let options = ConnectionOptions { local_ips: local.parse().unwrap(), hosts, ..ConnectionOptions::default() };
        let done = make(&mut server.client(&options, Http1Engine::Own), &Rc::new(get("/"))).await;
        assert_eq!((done.ended, done.sent), (Ended::Failed(kind), false));
    }
    assert_eq!(server.connections(), 0);
}

#[tokio::test]
async fn a_preferred_family_without_a_server_falls_back_to_the_other() {
    // `localhost` has both families on some machines and one on others; the server has one.
    let server = Server::plain(Speaks::Http1).await;
    for policy in ["preferIPv6", "preferIPv4", "onlyIPv4"] {
        let dns = format!("policy={policy}").parse().unwrap();
        let options = ConnectionOptions { dns, ..ConnectionOptions::default() };
        let done = make(&mut server.client(&options, Http1Engine::Own), &Rc::new(get("/"))).await;
        assert_eq!(done.ended, Ended::Completed, "{policy}");
    }
}
