//! Coded bodies: asked for, and undone where somebody looks at them.

use std::io::Write as _;
use std::rc::Rc;
use std::sync::Arc;

use connect_bench::connection_options::{ConnectionOptions, Http2};
use connect_bench::outcome::{Ended, ErrorKind};
use connect_bench::plan::Http1Engine;

use crate::support::{ENGINES, Handler, Server, Speaks, answer, get, make, options};

const PLAIN: &[u8] = b"{\"price\": 187.5}";
/// The same, by the reference encoder of Brotli.
const BROTLI: [u8; 20] = [
    0x8b, 0x07, 0x80, 0x7b, 0x22, 0x70, 0x72, 0x69, 0x63, 0x65, 0x22, 0x3a, 0x20, 0x31, 0x38, 0x37, 0x2e, 0x35, 0x7d,
    0x03,
];

/// Codes its answer as `/CODING` says, whatever is asked for.
fn coded() -> Handler {
    Arc::new(|seen| {
        let coding = seen.target.rsplit('/').next().unwrap().to_owned();
        let body = match coding.as_str() {
            "gzip" => {
                let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
                encoder.write_all(PLAIN).unwrap();
                encoder.finish().unwrap()
            }
            "deflate" => {
                let mut encoder = flate2::write::ZlibEncoder::new(Vec::new(), flate2::Compression::fast());
                encoder.write_all(PLAIN).unwrap();
                encoder.finish().unwrap()
            }
            "br" => BROTLI.to_vec(),
            "zstd" => ruzstd::encoding::compress_to_vec(PLAIN, ruzstd::encoding::CompressionLevel::Fastest),
            _ => PLAIN.to_vec(),
        };
        let mut answer = answer(body);
        answer.headers_mut().insert("content-encoding", coding.parse().unwrap());
        answer
    })
}

#[tokio::test]
async fn checks_see_bodies_decoded() {
    let all: [(Speaks, ConnectionOptions, Http1Engine); 3] = [
        (Speaks::Http1, ConnectionOptions::default(), ENGINES[0]),
        (Speaks::Http1, ConnectionOptions::default(), ENGINES[1]),
        (Speaks::Http2, options(Http2::PriorKnowledge), ENGINES[0]),
    ];
    for (speaks, options, engine) in all {
        let server = Server::start(speaks, None, coded()).await;
        let mut client = server.client(&options, engine);
        for coding in ["gzip", "deflate", "br", "zstd", "identity"] {
            // Again and again, as what is remembered of a head must not forget the coding.
            for keep_body in [0, 0, 0, 1000, 5] {
                let mut exchange = get(&format!("/{coding}"));
                exchange.request.headers.insert("accept-encoding", coding.parse().unwrap());
                exchange.expect.body_contains = Some("187.5".into());
                exchange.keep_body = keep_body;
                let done = make(&mut client, &Rc::new(exchange)).await;
                assert_eq!(done.ended, Ended::Completed, "{coding} {engine:?}");
                assert_eq!(client.body(), PLAIN);
                // What went over the wire is counted as it went.
                assert!(done.bytes.1 > 0);
            }
        }
        assert_eq!(server.requests()[0].header("accept-encoding"), "gzip");
        assert_eq!(server.connections(), 1);
    }
}

#[tokio::test]
async fn what_nobody_asked_for_or_looks_at_stays_coded() {
    for engine in ENGINES {
        let server = Server::start(Speaks::Http1, None, coded()).await;
        let mut client = server.client(&ConnectionOptions::default(), engine);
        let mut exchange = get("/gzip");
        exchange.expect.body_contains = Some("187.5".into());
        assert_eq!(make(&mut client, &Rc::new(exchange)).await.ended, Ended::Failed(ErrorKind::Body));
        let mut exchange = get("/gzip");
        exchange.request.headers.insert("accept-encoding", "gzip".parse().unwrap());
        exchange.keep_body = 0;
        assert_eq!(make(&mut client, &Rc::new(exchange)).await.ended, Ended::Completed);
        assert!(client.body().is_empty());
    }
}
