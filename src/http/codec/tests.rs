//! The parser alone; `tests/codec` holds it against hyper.

use super::*;

#[derive(Debug, Default, PartialEq, Eq)]
struct Got {
    status: u16,
    headers: Vec<(String, Vec<u8>)>,
    body: Vec<u8>,
}

impl Sink for Got {
    fn head(&mut self, head: &Head<'_>) -> Result<(), Fault> {
        assert_eq!(self.status, 0, "one head per response");
        self.status = head.status;
        self.headers = head.headers.iter().map(|h| (h.name.to_owned(), h.value.to_vec())).collect();
        Ok(())
    }

    fn data(&mut self, data: &[u8]) {
        self.body.extend_from_slice(data);
    }
}

fn parse(pieces: &[&[u8]]) -> Result<(Got, Parser, usize), Fault> {
    let (mut parser, mut got, mut used) = (Parser::default(), Got::default(), 0);
    parser.start(false);
    for piece in pieces {
        used += parser.feed(piece, &mut got)?;
    }
    Ok((got, parser, used))
}

#[test]
fn a_response_in_one_piece_is_not_copied() {
    let (got, parser, used) = parse(&[b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nab"]).unwrap();
    assert_eq!((got.status, got.body.as_slice(), used), (200, &b"ab"[..], 40));
    assert_eq!(got.headers, [("Content-Length".to_owned(), b"2".to_vec())]);
    assert!(parser.is_done() && parser.keeps_alive());
    assert_eq!(parser.carry.capacity(), 0);
}

#[test]
fn what_comes_after_the_response_is_left() {
    let (got, parser, used) = parse(&[b"HTTP/1.1 204 No Content\r\n\r\nHTTP"]).unwrap();
    assert_eq!((got.status, used), (204, 27));
    assert!(parser.is_done());
}

#[test]
fn a_head_in_pieces_gives_its_memory_back_when_it_was_long() {
    let long = [b'x'; 8000];
    let pieces: [&[u8]; 3] = [b"HTTP/1.1 200 OK\r\na: ", &long, b"\r\ncontent-length: 1\r\n\r\nz"];
    let (got, mut parser, _) = parse(&pieces).unwrap();
    assert_eq!(got.body, b"z");
    parser.start(false);
    assert!(parser.carry.capacity() <= KEPT_CAPACITY);
}

#[test]
fn the_end_of_the_connection_ends_only_what_has_no_other_end() {
    let end = |bytes: &[u8]| parse(&[bytes]).and_then(|(_, mut parser, _)| parser.end());
    assert_eq!(end(b"HTTP/1.1 200 OK\r\n\r\nabc"), Ok(()));
    assert_eq!(end(b"HTTP/1.1 200 OK\r\ncontent-length: 4\r\n\r\nabc"), Err(Fault::Incomplete));
    assert_eq!(end(b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n0\r\n"), Err(Fault::Incomplete));
    assert_eq!(end(b"HTTP/1.1 200 OK\r\n"), Err(Fault::Incomplete));
    assert_eq!(end(b""), Err(Fault::Incomplete));
}

#[test]
fn heads_are_limited_however_they_are_cut() {
    let head = |length: usize| {
        let mut head = b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\nx: ".to_vec();
        head.resize(length - 4, b'y');
        head.extend_from_slice(b"\r\n\r\n");
        head
    };
    for step in [MAX_HEAD * 2, 1000, 17] {
        let fits = head(MAX_HEAD);
        assert!(parse(&fits.chunks(step).collect::<Vec<_>>()).is_ok_and(|(_, parser, _)| parser.is_done()), "{step}");
        let over = head(MAX_HEAD + 1);
        assert!(parse(&over.chunks(step).collect::<Vec<_>>()).is_err(), "{step}");
    }
}

#[test]
fn lengths_are_digits_and_nothing_else() {
    for (value, length) in
        [("0", Some(0)), ("12", Some(12)), ("3, 3", Some(3)), ("18446744073709551615", Some(u64::MAX))]
    {
        assert_eq!(fields::content_length(value.as_bytes()), length, "{value}");
    }
    for value in ["", " ", "-1", "+1", "1.0", "0x1", "1 2", "3,4", "3,", "18446744073709551616"] {
        assert_eq!(fields::content_length(value.as_bytes()), None, "{value}");
    }
}
