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

/// What can become of bytes on their way out of a server that has a fault.
#[derive(Debug, Clone)]
enum Damage {
    Flip(u8),
    Remove(usize),
    Insert(Vec<u8>),
    Repeat(usize),
    /// Everything after is lost.
    Cut,
}

fn damage() -> impl Strategy<Value = Damage> {
    let telling: Vec<&'static [u8]> =
        vec![b"\r", b"\n", b"\r\n", b" ", b":", b",", b";", b"0", b"f", b"-", b"\t", b"\x00", b"\x80"];
    prop_oneof![
        any::<u8>().prop_map(Damage::Flip),
        (1usize..6).prop_map(Damage::Remove),
        prop::sample::select(telling).prop_map(|bytes| Damage::Insert(bytes.to_vec())),
        prop::collection::vec(any::<u8>(), 1..4).prop_map(Damage::Insert),
        (1usize..30).prop_map(Damage::Repeat),
        Just(Damage::Cut),
    ]
}

/// A response of the corpus with some faults in it.
fn faulty() -> impl Strategy<Value = (Method, Vec<u8>)> {
    let faults = prop::collection::vec((any::<prop::sample::Index>(), damage()), 1..4);
    (0..CASES.len(), faults).prop_map(|(case, faults)| {
        let mut bytes = CASES[case].bytes();
        for (at, damage) in faults {
            // Near the front, where it matters.
            let at = at.index(bytes.len().min(300) + 1).min(bytes.len());
            match damage {
                Damage::Flip(mask) if at < bytes.len() => bytes[at] ^= mask,
                Damage::Flip(_) => {}
                Damage::Remove(length) => drop(bytes.drain(at..(at + length).min(bytes.len()))),
                Damage::Insert(what) => drop(bytes.splice(at..at, what)),
                Damage::Repeat(length) => {
                    let part = bytes[at..(at + length).min(bytes.len())].to_vec();
                    bytes.splice(at..at, part);
                }
                Damage::Cut => bytes.truncate(at),
            }
        }
        (CASES[case].method(), bytes)
    })
}

proptest! {
    // Bounded, so that it is a part of every run of the tests; more cases by PROPTEST_CASES.
    #![proptest_config(ProptestConfig::with_cases(std::env::var("PROPTEST_CASES").ok().and_then(|n| n.parse().ok()).unwrap_or(400)))]

    #[test]
    fn both_engines_agree_on_faulty_responses((method, bytes) in faulty(), lengths in prop::collection::vec(1usize..60, 0..4), close in any::<bool>()) {
        let after = if close { After::Close } else { After::Open };
        let hyper = see_pieces(Hyper, method.clone(), cut(&bytes, &lengths), after);
        let own = see_pieces(Own, method, cut(&bytes, &lengths), after);
        if !super::noticed_early(&hyper, &own) {
            prop_assert_eq!(hyper, own, "{}", String::from_utf8_lossy(&bytes[..bytes.len().min(600)]));
        }
    }

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
