//! HTTP/1.1 as bytes, without a socket: a response parsed as it comes in, however it is cut into pieces.
//!
//! Knows no runtime and no clock. What it accepts is what hyper accepts, so that the two engines can be held against
//! each other; where it differs, it is stricter, and `tests/codec` names the difference:
//! a head may have [`MAX_HEAD`] bytes (hyper: 408 KiB), and [`MAX_INTERIM`] interim responses may come first
//! (hyper: any number).

mod chunked;
mod fields;
mod memo;

use std::mem::MaybeUninit;
use std::ops::Range;

use httparse::{Header, ParserConfig, Response, Status};

use chunked::Chunked;
use fields::Fields;
pub use memo::Memo;

/// Most bytes of a response's head.
pub const MAX_HEAD: usize = 64 * 1024;
/// Most header fields of a response, and most of its trailer fields. hyper's number.
pub const MAX_HEADERS: usize = 100;
/// Most interim (1xx) responses before the final one.
pub const MAX_INTERIM: u32 = 32;
/// What is kept of a buffer for the next response; more than that is given back.
const KEPT_CAPACITY: usize = 4096;

/// Why a response cannot be read on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Fault {
    /// It is not HTTP/1, or beyond a limit.
    #[error("{0}")]
    Malformed(&'static str),
    /// The connection was closed in the middle of it.
    #[error("the response is not complete")]
    Incomplete,
}

/// A response's head as it lies in the buffer.
#[derive(Debug)]
pub struct Head<'h> {
    /// The status.
    pub status: u16,
    /// Value of the first `Content-Type`; empty without one.
    pub content_type: &'h [u8],
    /// Value of the first `Content-Encoding`; empty without one.
    pub content_encoding: &'h [u8],
    /// Whether there is a `Set-Cookie`.
    pub sets_cookies: bool,
    /// The header fields in their order; names in the case in which they came. Empty where a [`Memo`] was given.
    pub headers: &'h [Header<'h>],
}

/// Takes what a [`Parser`] finds.
pub trait Sink {
    /// The final response's head.
    ///
    /// # Errors
    /// Where it cannot be used.
    fn head(&mut self, head: &Head<'_>) -> Result<(), Fault>;

    /// The next bytes of the body, without its coding.
    fn data(&mut self, data: &[u8]);

    /// What is known of an earlier head, where the header fields themselves are not wanted.
    fn memo(&mut self) -> Option<&mut Memo> {
        None
    }
}

/// Where a response stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Phase {
    Head,
    /// So many bytes of the body are still to come.
    Length(u64),
    Chunked(Chunked),
    UntilClose,
    Done,
}

/// Reads one response after the other.
#[derive(Debug)]
pub struct Parser {
    phase: Phase,
    /// Whether the request was a HEAD, whose response has no body whatever its header says.
    to_head: bool,
    keep_alive: bool,
    interim: u32,
    /// What came of a head, or of trailers, that is not complete yet. Empty when a response comes in one piece.
    carry: Vec<u8>,
    /// Length of `carry` when it was last looked at.
    looked_at: usize,
}

impl Default for Parser {
    fn default() -> Parser {
        Parser { phase: Phase::Done, to_head: false, keep_alive: false, interim: 0, carry: Vec::new(), looked_at: 0 }
    }
}

impl Parser {
    /// Forgets the last response, before the next one.
    pub fn start(&mut self, to_head: bool) {
        self.phase = Phase::Head;
        self.to_head = to_head;
        self.keep_alive = false;
        self.interim = 0;
        self.looked_at = 0;
        self.clear();
    }

    /// Whether the response is complete.
    #[must_use]
    pub fn is_done(&self) -> bool {
        self.phase == Phase::Done
    }

    /// Whether another response can follow on the connection.
    #[must_use]
    pub fn keeps_alive(&self) -> bool {
        self.keep_alive && self.is_done()
    }

    /// Bytes that are kept because what they belong to is not complete: never more than a head may have and one input.
    #[must_use]
    pub fn buffered(&self) -> usize {
        self.carry.len()
    }

    /// Takes the next bytes. Returns how many belong to this response: fewer than all only when it is complete.
    ///
    /// # Errors
    /// What is wrong with them; nothing after them can be understood.
    pub fn feed<S: Sink>(&mut self, input: &[u8], sink: &mut S) -> Result<usize, Fault> {
        let mut at = 0;
        while at < input.len() && self.phase != Phase::Done {
            at += self.step(&input[at..], sink)?;
        }
        if self.phase == Phase::Done {
            self.clear();
        }
        Ok(at)
    }

    /// The peer sends nothing more.
    ///
    /// # Errors
    /// Where the response is not complete without it.
    pub fn end(&mut self) -> Result<(), Fault> {
        match self.phase {
            Phase::UntilClose | Phase::Done => {
                self.phase = Phase::Done;
                Ok(())
            }
            // What was not looked at again while it came in may be no head at all.
            Phase::Head if !self.carry.is_empty() => {
                parse_head(&self.carry, self.to_head, &mut Nothing)?;
                Err(Fault::Incomplete)
            }
            _ => Err(Fault::Incomplete),
        }
    }

    /// One step on non-empty input; returns how much of it was used, at least one byte.
    fn step<S: Sink>(&mut self, input: &[u8], sink: &mut S) -> Result<usize, Fault> {
        match &mut self.phase {
            Phase::Head => self.head(input, sink),
            Phase::Length(left) => {
                let taken = usize::try_from(*left).unwrap_or(usize::MAX).min(input.len());
                sink.data(&input[..taken]);
                *left -= taken as u64;
                if *left == 0 {
                    self.phase = Phase::Done;
                }
                Ok(taken)
            }
            Phase::Chunked(chunked) => {
                let taken = chunked.feed(input, &mut self.carry, sink)?;
                if chunked.is_done() {
                    self.phase = Phase::Done;
                }
                Ok(taken)
            }
            Phase::UntilClose => {
                sink.data(input);
                Ok(input.len())
            }
            Phase::Done => Ok(input.len()),
        }
    }

    fn head<S: Sink>(&mut self, input: &[u8], sink: &mut S) -> Result<usize, Fault> {
        if self.carry.is_empty() {
            return self.head_at_once(input, sink);
        }
        let before = self.carry.len();
        self.carry.extend_from_slice(input);
        // A head cannot end without a line's end; looking again at every byte would take quadratic time.
        if !input.contains(&b'\n') && self.carry.len() < (2 * self.looked_at).min(MAX_HEAD) {
            return Ok(input.len());
        }
        self.looked_at = self.carry.len();
        let Some(parsed) = parse_head(&self.carry, self.to_head, sink)? else { return Ok(input.len()) };
        self.carry.clear();
        self.after_head(&parsed)?;
        Ok(parsed.length.saturating_sub(before).max(1))
    }

    /// A head that begins with this input, and mostly ends with it.
    fn head_at_once<S: Sink>(&mut self, input: &[u8], sink: &mut S) -> Result<usize, Fault> {
        let known = sink.memo().and_then(|memo| memo.recall(input, self.to_head));
        if let Some(parsed) = known {
            sink.head(&Head {
                status: parsed.status,
                content_type: &input[parsed.content_type.clone()],
                content_encoding: &input[parsed.content_encoding.clone()],
                sets_cookies: parsed.sets_cookies,
                headers: &[],
            })?;
            self.after_head(&parsed)?;
            return Ok(parsed.length);
        }
        let Some(parsed) = parse_head(input, self.to_head, sink)? else {
            self.carry.extend_from_slice(input);
            self.looked_at = input.len();
            return Ok(input.len());
        };
        self.after_head(&parsed)?;
        if parsed.framing != Framing::Interim
            && let Some(memo) = sink.memo()
        {
            memo.keep(&input[..parsed.length], self.to_head, &parsed);
        }
        Ok(parsed.length)
    }

    fn after_head(&mut self, parsed: &Parsed) -> Result<(), Fault> {
        self.keep_alive = parsed.keep_alive;
        self.phase = match parsed.framing {
            Framing::Interim => {
                self.interim += 1;
                if self.interim > MAX_INTERIM {
                    return Err(Fault::Malformed("too many interim responses"));
                }
                Phase::Head
            }
            Framing::None | Framing::Length(0) => Phase::Done,
            Framing::Length(length) => Phase::Length(length),
            Framing::Chunked => Phase::Chunked(Chunked::default()),
            Framing::UntilClose => {
                self.keep_alive = false;
                Phase::UntilClose
            }
        };
        Ok(())
    }

    fn clear(&mut self) {
        self.carry.clear();
        if self.carry.capacity() > KEPT_CAPACITY {
            self.carry = Vec::new();
        }
    }
}

/// How the end of a body is told.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Framing {
    /// Not a final response.
    Interim,
    /// There is no body.
    None,
    Length(u64),
    Chunked,
    UntilClose,
}

/// What is known of a head.
#[derive(Debug, Clone)]
struct Parsed {
    /// Bytes of the head.
    length: usize,
    status: u16,
    framing: Framing,
    keep_alive: bool,
    /// Where the value of the first `Content-Type` lies in it.
    content_type: Range<usize>,
    /// The same of the first `Content-Encoding`.
    content_encoding: Range<usize>,
    sets_cookies: bool,
}

struct Nothing;

impl Sink for Nothing {
    fn head(&mut self, _head: &Head<'_>) -> Result<(), Fault> {
        Ok(())
    }

    fn data(&mut self, _data: &[u8]) {}
}

/// The head at the start of `bytes`, or `None` where it is not complete.
fn parse_head<S: Sink>(bytes: &[u8], to_head: bool, sink: &mut S) -> Result<Option<Parsed>, Fault> {
    let mut fields = [const { MaybeUninit::uninit() }; MAX_HEADERS];
    let mut response = Response::new(&mut []);
    let status = ParserConfig::default().parse_response_with_uninit_headers(&mut response, bytes, &mut fields);
    let length = match status {
        Ok(Status::Complete(length)) if length <= MAX_HEAD => length,
        Ok(Status::Partial) if bytes.len() < MAX_HEAD => return Ok(None),
        Ok(_) => return Err(Fault::Malformed("the head is too long")),
        Err(httparse::Error::TooManyHeaders) => return Err(Fault::Malformed("too many header fields")),
        Err(_) => return Err(Fault::Malformed("the head is not HTTP/1")),
    };
    let code = response.code.unwrap_or(0);
    if code < 100 {
        return Err(Fault::Malformed("no such status"));
    }
    let fields = Fields::of(response.headers, response.version == Some(1));
    let framing = framing(code, to_head, &fields)?;
    let Fields { content_type, content_encoding, sets_cookies, .. } = fields;
    if framing != Framing::Interim {
        sink.head(&Head { status: code, content_type, content_encoding, sets_cookies, headers: response.headers })?;
    }
    // After 101 the connection speaks another protocol.
    let keep_alive = fields.keep_alive && code != 101;
    let (content_type, content_encoding) = (place(content_type, bytes), place(content_encoding, bytes));
    Ok(Some(Parsed { length, status: code, framing, keep_alive, content_type, content_encoding, sets_cookies }))
}

/// Where a part lies in the whole; nowhere, if it is no part.
fn place(part: &[u8], whole: &[u8]) -> Range<usize> {
    match part.as_ptr().addr().checked_sub(whole.as_ptr().addr()) {
        Some(from) if !part.is_empty() && from + part.len() <= whole.len() => from..from + part.len(),
        _ => 0..0,
    }
}

/// RFC 9112 §6.3, as hyper reads it.
fn framing(status: u16, to_head: bool, fields: &Fields<'_>) -> Result<Framing, Fault> {
    match (status, fields.transfer_coding, fields.content_length) {
        (101 | 204 | 304, ..) => Ok(Framing::None),
        (100..=199, ..) => Ok(Framing::Interim),
        _ if to_head => Ok(Framing::None),
        (_, Some(_), _) if !fields.http11 => Err(Fault::Malformed("HTTP/1.0 has no transfer codings")),
        // It overrules a content length.
        (_, Some(true), _) => Ok(Framing::Chunked),
        (_, Some(false), _) => Ok(Framing::UntilClose),
        // hyper's greatest length.
        (_, None, Some(Some(length))) if length <= u64::MAX - 2 => Ok(Framing::Length(length)),
        (_, None, Some(_)) => Err(Fault::Malformed("the content length is none")),
        (_, None, None) => Ok(Framing::UntilClose),
    }
}

#[cfg(test)]
mod tests;
