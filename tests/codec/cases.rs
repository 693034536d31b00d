//! Responses that are correct, and some that are odd.

use http::Method;

/// What the server does when it has said its piece.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum After {
    /// Nothing: the connection stays open, and further requests are answered.
    Open,
    /// It closes the connection.
    Close,
}

/// A response and what becomes of it.
pub(crate) struct Case {
    pub(crate) name: &'static str,
    /// Parts of the response; each may stand for many of the same.
    pub(crate) parts: &'static [(&'static [u8], usize)],
    pub(crate) after: After,
    pub(crate) head: bool,
    /// What must come out of both engines, where it is worth saying.
    pub(crate) ends: Option<&'static str>,
    pub(crate) body: Option<&'static [u8]>,
    pub(crate) kept: Option<bool>,
    /// How it ends with our codec, where hyper sees it differently, and why.
    pub(crate) differs: Option<(&'static str, &'static str)>,
}

impl Case {
    pub(crate) const fn new(name: &'static str, parts: &'static [(&'static [u8], usize)], after: After) -> Case {
        Case { name, parts, after, head: false, ends: None, body: None, kept: None, differs: None }
    }

    pub(crate) const fn ok(self, body: &'static [u8], kept: bool) -> Case {
        Case { ends: Some("Completed"), body: Some(body), kept: Some(kept), ..self }
    }

    pub(crate) const fn fails(self, ends: &'static str) -> Case {
        Case { ends: Some(ends), kept: Some(false), ..self }
    }

    /// A failure after which the connection is as good as before.
    pub(crate) const fn fails_kept(self, ends: &'static str) -> Case {
        Case { ends: Some(ends), kept: Some(true), ..self }
    }

    pub(crate) const fn by_head(self) -> Case {
        Case { head: true, ..self }
    }

    pub(crate) const fn differs(self, own: &'static str, why: &'static str) -> Case {
        Case { differs: Some((own, why)), ..self }
    }

    pub(crate) fn method(&self) -> Method {
        if self.head { Method::HEAD } else { Method::GET }
    }

    pub(crate) fn bytes(&self) -> Vec<u8> {
        self.parts.iter().flat_map(|(part, times)| part.repeat(*times)).collect()
    }
}

macro_rules! case {
    ($name:literal, $bytes:literal, $after:ident) => {
        $crate::cases::Case::new($name, &[($bytes, 1)], $crate::cases::After::$after)
    };
}
pub(crate) use case;

pub(crate) const CASES: &[Case] = &[
    case!("length", b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello", Open).ok(b"hello", true),
    case!("length zero", b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n", Open).ok(b"", true),
    case!("length with zeros in front", b"HTTP/1.1 200 OK\r\ncontent-length: 0005\r\n\r\nhello", Open).ok(b"hello", true),
    case!("length twice the same", b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\nContent-Length: 2\r\n\r\nab", Open)
        .ok(b"ab", true),
    case!("length as a list of the same", b"HTTP/1.1 200 OK\r\ncontent-length: 2, 2\r\n\r\nab", Open).ok(b"ab", true),
    case!("chunked", b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n", Open)
        .ok(b"hello", true),
    case!("several chunks", b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n1\r\na\r\n2\r\nbc\r\nA\r\n0123456789\r\n0\r\n\r\n", Open)
        .ok(b"abc0123456789", true),
    case!("chunk sizes in both cases", b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\na\r\n0123456789\r\n0B\r\n0123456789a\r\n0\r\n\r\n", Open)
        .ok(b"01234567890123456789a", true),
    case!("a chunk size with zeros in front", b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n0000000003\r\nabc\r\n000\r\n\r\n", Open)
        .ok(b"abc", true),
    case!("chunk extensions", b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n3;a=b;c=\"d\"\r\nabc\r\n0;last\r\n\r\n", Open)
        .ok(b"abc", true),
    case!("white space after a chunk size", b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n3  \t\r\nabc\r\n0\r\n\r\n", Open)
        .ok(b"abc", true),
    case!("trailers", b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\ntrailer: x\r\n\r\n3\r\nabc\r\n0\r\nx: 1\r\ny: 2\r\n\r\n", Open)
        .ok(b"abc", true),
    case!("an empty chunked body", b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n", Open).ok(b"", true),
    case!("Chunked in another case", b"HTTP/1.1 200 OK\r\nTRANSFER-ENCODING: ChunKed\r\n\r\n1\r\na\r\n0\r\n\r\n", Open)
        .ok(b"a", true),
    case!("gzip, chunked", b"HTTP/1.1 200 OK\r\ntransfer-encoding: gzip, chunked\r\n\r\n1\r\na\r\n0\r\n\r\n", Open).ok(b"a", true),
    case!("gzip and chunked in two fields", b"HTTP/1.1 200 OK\r\ntransfer-encoding: gzip\r\ntransfer-encoding: chunked\r\n\r\n1\r\na\r\n0\r\n\r\n", Open)
        .ok(b"a", true),
    case!("chunked and a length", b"HTTP/1.1 200 OK\r\ncontent-length: 99\r\ntransfer-encoding: chunked\r\n\r\n1\r\na\r\n0\r\n\r\n", Open)
        .ok(b"a", true),
    case!("until close", b"HTTP/1.1 200 OK\r\ncontent-type: text/plain\r\n\r\nall of it", Close).ok(b"all of it", false),
    case!("until close, nothing", b"HTTP/1.1 200 OK\r\n\r\n", Close).ok(b"", false),
    case!("gzip as the last coding: until close", b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked, gzip\r\n\r\nxyz", Close).ok(b"xyz", false),
    case!("identity as a coding: until close", b"HTTP/1.1 200 OK\r\ntransfer-encoding: identity\r\ncontent-length: 1\r\n\r\nxyz", Close).ok(b"xyz", false),
    case!("1.0 until close", b"HTTP/1.0 200 OK\r\n\r\nold", Close).ok(b"old", false),
    case!("1.0 with a length", b"HTTP/1.0 200 OK\r\ncontent-length: 3\r\n\r\nold", Open).ok(b"old", false),
    case!("1.0 kept alive", b"HTTP/1.0 200 OK\r\ncontent-length: 3\r\nConnection: Keep-Alive\r\n\r\nold", Open).ok(b"old", true),
    case!("1.0 kept alive and closed", b"HTTP/1.0 200 OK\r\ncontent-length: 3\r\nConnection: close\r\nConnection: keep-alive\r\n\r\nold", Open)
        .ok(b"old", false),
    case!("connection close", b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\nConnection: close\r\n\r\nab", Close).ok(b"ab", false),
    case!("connection close that stays open", b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\nConnection: CLOSE\r\n\r\nab", Open).ok(b"ab", false),
    case!("connection close in a list", b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\nConnection: foo, close\r\n\r\nab", Open).ok(b"ab", false),
    case!("connection close, then keep-alive", b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\nConnection: close, keep-alive\r\n\r\nab", Open)
        .ok(b"ab", false),
    case!("connection keep-alive", b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\nConnection: keep-alive\r\nKeep-Alive: timeout=5\r\n\r\nab", Open)
        .ok(b"ab", true),
    case!("closed without a word", b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nab", Close).ok(b"ab", false),
    case!("no content", b"HTTP/1.1 204 No Content\r\n\r\n", Open).ok(b"", true),
    case!("no content with a length", b"HTTP/1.1 204 No Content\r\ncontent-length: 7\r\n\r\n", Open).ok(b"", true),
    case!("not modified with a length", b"HTTP/1.1 304 Not Modified\r\ncontent-length: 7\r\netag: \"x\"\r\n\r\n", Open).ok(b"", true),
    case!("not modified and chunked", b"HTTP/1.1 304 Not Modified\r\ntransfer-encoding: chunked\r\n\r\n", Open).ok(b"", true),
    case!("to HEAD, with a length", b"HTTP/1.1 200 OK\r\ncontent-length: 100\r\n\r\n", Open).by_head().ok(b"", true),
    case!("to HEAD, chunked", b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n", Open).by_head().ok(b"", true),
    case!("to HEAD, neither", b"HTTP/1.1 200 OK\r\n\r\n", Open).by_head().ok(b"", true),
    case!("to HEAD, 404", b"HTTP/1.1 404 Not Found\r\ncontent-length: 9\r\n\r\n", Open).by_head(),
    case!("continue first", b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nab", Open).ok(b"ab", true),
    case!("early hints, several", b"HTTP/1.1 103 Early Hints\r\nlink: </a>\r\n\r\nHTTP/1.1 102 Processing\r\n\r\nHTTP/1.1 103 Early Hints\r\n\r\nHTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nab", Open)
        .ok(b"ab", true),
    case!("continue with connection close", b"HTTP/1.1 100 Continue\r\nconnection: close\r\n\r\nHTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nab", Open),
    case!("no reason", b"HTTP/1.1 200\r\ncontent-length: 2\r\n\r\nab", Open).ok(b"ab", true),
    case!("an empty reason", b"HTTP/1.1 200 \r\ncontent-length: 2\r\n\r\nab", Open).ok(b"ab", true),
    case!("a reason beyond ASCII", b"HTTP/1.1 200 \xc3\xa0 la carte\r\ncontent-length: 2\r\n\r\nab", Open),
    case!("line feeds alone", b"HTTP/1.1 200 OK\ncontent-length: 2\n\nab", Open).ok(b"ab", true),
    case!("empty lines in front", b"\r\n\r\nHTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nab", Open).ok(b"ab", true),
    case!("header values of all kinds", b"HTTP/1.1 200 OK\r\nx-empty:\r\nx-space:   a b  \t\r\nx-latin: \xe9\xff\r\nX-Twice: 1\r\nx-twice: 2\r\ncontent-length: 2\r\n\r\nab", Open)
        .ok(b"ab", true),
    case!("cookies", b"HTTP/1.1 200 OK\r\nset-cookie: a=1; Path=/\r\nSet-Cookie: b=2\r\ncontent-length: 2\r\n\r\nab", Open).ok(b"ab", true),
    case!("a redirect", b"HTTP/1.1 302 Found\r\nlocation: /elsewhere\r\ncontent-length: 0\r\n\r\n", Open).ok(b"", true),
    case!("a status of 599", b"HTTP/1.1 599 Odd\r\ncontent-length: 2\r\n\r\nab", Open).fails_kept("Failed(Status(599))"),
    case!("a status of 999", b"HTTP/1.1 999 Odd\r\ncontent-length: 2\r\n\r\nab", Open).fails_kept("Failed(Status(999))"),
    case!("an error with a body", b"HTTP/1.1 503 Service Unavailable\r\ncontent-length: 4\r\n\r\nbusy", Open)
        .fails_kept("Failed(Status(503))"),
    case!("a body that looks like a head", b"HTTP/1.1 200 OK\r\ncontent-length: 38\r\n\r\nHTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n", Open)
        .ok(b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n", true),
    case!("binary body", b"HTTP/1.1 200 OK\r\ncontent-length: 6\r\n\r\n\x00\r\n\xff\r\n", Open).ok(b"\x00\r\n\xff\r\n", true),
    Case::new("a long body", &[(b"HTTP/1.1 200 OK\r\ncontent-length: 200000\r\n\r\n", 1), (b"0123456789", 20_000)], After::Open),
    Case::new("a long chunked body", &[(b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n", 1), (b"a\r\n0123456789\r\n", 9_000), (b"0\r\n\r\n", 1)], After::Open),
    Case::new("a long body until close", &[(b"HTTP/1.1 200 OK\r\n\r\n", 1), (b"0123456789", 20_000)], After::Close),
    Case::new("a hundred header fields", &[(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n", 1), (b"x: y\r\n", 99), (b"\r\nab", 1)], After::Open).ok(b"ab", true),
    Case::new("a head of 40 KiB", &[(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\nx: ", 1), (b"0123456789", 4_000), (b"\r\n\r\nab", 1)], After::Open).ok(b"ab", true),
    Case::new("thirty interim responses", &[(b"HTTP/1.1 102 Processing\r\n\r\n", 30), (b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nab", 1)], After::Open).ok(b"ab", true),
];
