//! How long a connection is kept.

use std::rc::Rc;

use connect_bench::connection_options::{ConnectionOptions, Reuse};
use connect_bench::outcome::Ended;

use crate::support::{ENGINES, Server, Speaks, get, make};

#[tokio::test]
async fn a_request_has_a_connection_of_its_own_where_that_is_wanted() {
    for engine in ENGINES {
        for (reuse, connections, header) in [(Reuse::Always, 1, ""), (Reuse::Never, 4, "close")] {
            let server = Server::plain(Speaks::Http1).await;
            let options = ConnectionOptions { reuse, ..ConnectionOptions::default() };
            let mut client = server.client(&options, engine);
            let exchange = Rc::new(get("/"));
            let mut opened = 0;
            for _ in 0..4 {
                let done = make(&mut client, &exchange).await;
                assert_eq!(done.ended, Ended::Completed);
                opened += done.connections as usize;
            }
            assert_eq!((opened, server.connections()), (connections, connections));
            assert!(server.requests().iter().all(|seen| seen.header("connection") == header), "{engine:?}");
        }
    }
}

#[tokio::test]
async fn what_the_request_says_of_its_connection_is_not_said_twice() {
    for engine in ENGINES {
        let server = Server::plain(Speaks::Http1).await;
        let options = ConnectionOptions { reuse: Reuse::Never, ..ConnectionOptions::default() };
        let mut client = server.client(&options, engine);
        let mut exchange = get("/");
        exchange.request.headers.insert("connection", "keep-alive".parse().unwrap());
        make(&mut client, &Rc::new(exchange)).await;
        let seen = &server.requests()[0];
        assert_eq!(seen.headers.get_all("connection").iter().collect::<Vec<_>>(), ["close"]);
    }
}
