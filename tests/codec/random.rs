//! Random cuts of correct responses, and random bytes.

use connect_bench::http::codec::{Fault, Head, MAX_HEAD, Parser, Sink};
use connect_bench::plan::Http1Engine::{Hyper, Own};
use http::Method;
use proptest::prelude::*;

use super::cases::{After, CASES};
use super::hostile;
use super::pipe::see_pieces;

/// Cuts bytes into pieces of the given lengths, the last one being what is left.
fn cut(bytes: &[u8], lengths: &[usize]) -> Vec<Vec<u8>> {
    let mut pieces = Vec::new();
    let mut rest = bytes;
    for &length in lengths {
        if length >= rest.len() {
            break;
        }
        let (piece, left) = rest.split_at(length.max(1));
        pieces.push(piece.to_vec());
        rest = left;
    }
    pieces.push(rest.to_vec());
    pieces
}

/// Counts what comes out, and keeps nothing.
#[derive(Default)]
struct Count {
    heads: usize,
    data: usize,
}

impl Sink for Count {
    fn head(&mut self, _head: &Head<'_>) -> Result<(), Fault> {
        self.heads += 1;
        Ok(())
    }

    fn data(&mut self, data: &[u8]) {
        self.data += data.len();
    }
}

/// Something like a response: pieces that mean something, in any order, with noise.
fn like_http() -> impl Strategy<Value = Vec<u8>> {
    let tokens: Vec<&'static [u8]> = vec![
        b"HTTP/1.1 200 OK\r\n",
        b"HTTP/1.0 200 OK\r\n",
        b"HTTP/1.1 100 Continue\r\n",
        b"HTTP/1.1 204 x\r\n",
        b"\r\n",
        b"\r\n\r\n",
        b"content-length: 3\r\n",
        b"content-length: 0\r\n",
        b"Content-Length: 12\r\n",
        b"\n",
        b"\r",
        b"transfer-encoding: chunked\r\n",
        b"transfer-encoding: gzip\r\n",
        b"connection: close\r\n",
        b"connection: keep-alive\r\n",
        b"x: y\r\n",
        b"3\r\nabc\r\n",
        b"0\r\n\r\n",
        b"0\r\n",
        b"a;b\r\n0123456789\r\n",
        b"abc",
        b"set-cookie: a=b\r\n",
        b"\x00",
        b"\xff",
        b": ",
        b"ffffffffffffffff\r\n",
    ];
    let start =
        prop::sample::select(vec![&b"HTTP/1.1 200 OK\r\n"[..], b"HTTP/1.0 200 OK\r\n", b"HTTP/1.1 404 x\r\n", b""]);
    (start, prop::collection::vec(prop::sample::select(tokens), 0..14)).prop_map(|(start, parts)| {
        let mut bytes = start.to_vec();
        parts.iter().for_each(|part| bytes.extend_from_slice(part));
        bytes
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]

    #[test]
    fn cuts_do_not_matter(case in 0..CASES.len() + hostile::CASES.len(), lengths in prop::collection::vec(1usize..60, 0..12)) {
        let case = CASES.iter().chain(hostile::CASES).nth(case).unwrap();
        let whole = see_pieces(Own, case.method(), vec![case.bytes()], case.after);
        let pieces = see_pieces(Own, case.method(), cut(&case.bytes(), &lengths), case.after);
        prop_assert_eq!(whole, pieces, "{}", case.name);
    }

    #[test]
    fn both_engines_agree_on_what_looks_like_http(bytes in like_http(), lengths in prop::collection::vec(1usize..40, 0..6), close in any::<bool>()) {
        let after = if close { After::Close } else { After::Open };
        let hyper = see_pieces(Hyper, Method::GET, cut(&bytes, &lengths), after);
        let own = see_pieces(Own, Method::GET, cut(&bytes, &lengths), after);
        if !super::noticed_early(&hyper, &own) {
            prop_assert_eq!(hyper, own, "{}", String::from_utf8_lossy(&bytes));
        }
    }

    #[test]
    fn no_bytes_are_a_panic(bytes in prop::collection::vec(any::<u8>(), 0..600), lengths in prop::collection::vec(1usize..40, 0..20), head in any::<bool>()) {
        let mut parser = Parser::default();
        parser.start(head);
        let mut count = Count::default();
        for piece in cut(&bytes, &lengths) {
            match parser.feed(&piece, &mut count) {
                Ok(used) => prop_assert!(used <= piece.len() && (used == piece.len() || parser.is_done())),
                Err(_) => return Ok(()),
            }
        }
        let _ = parser.end();
        prop_assert!(count.heads <= 1 && count.data <= bytes.len());
    }

    #[test]
    fn whatever_comes_after_a_good_head_is_bounded(mut bytes in like_http(), noise in prop::collection::vec(any::<u8>(), 1..50)) {
        bytes.extend(noise.iter().copied().cycle().take(300_000));
        let mut parser = Parser::default();
        parser.start(false);
        for piece in bytes.chunks(1000) {
            if parser.feed(piece, &mut Count::default()).is_err() || parser.is_done() {
                break;
            }
            prop_assert!(parser.buffered() <= MAX_HEAD + 1000);
        }
    }
}
