//! The chunked transfer coding, byte by byte, with hyper's limits.

use httparse::{EMPTY_HEADER, Status};

use super::{Fault, MAX_HEADERS, Sink};

/// Most bytes of chunk extensions in one body.
const MAX_EXTENSIONS: u32 = 16 * 1024;
/// Most bytes of trailers.
const MAX_TRAILERS: usize = 16 * 1024;

/// Where a chunked body stands.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Chunked {
    state: State,
    /// The size that is being read, then what is left of the chunk.
    size: u64,
    /// Bytes of extensions so far: they could go on for ever.
    extensions: u32,
    trailers: u32,
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
enum State {
    #[default]
    Start,
    Size,
    /// White space after the size.
    Space,
    Extension,
    SizeLf,
    Data,
    DataCr,
    DataLf,
    Trailer,
    TrailerLf,
    /// At the start of a line after the last chunk.
    EndCr,
    EndLf,
    Done,
}

impl Chunked {
    pub(super) fn is_done(&self) -> bool {
        self.state == State::Done
    }

    /// Takes bytes up to the end of the body; returns how many. `trailers` keeps those that are not complete.
    pub(super) fn feed<S: Sink>(&mut self, input: &[u8], trailers: &mut Vec<u8>, sink: &mut S) -> Result<usize, Fault> {
        let mut at = 0;
        while at < input.len() && self.state != State::Done {
            if self.state == State::Data {
                let taken = usize::try_from(self.size).unwrap_or(usize::MAX).min(input.len() - at);
                sink.data(&input[at..at + taken]);
                self.size -= taken as u64;
                at += taken;
                if self.size == 0 {
                    self.state = State::DataCr;
                }
                continue;
            }
            self.state = self.byte(input[at], trailers)?;
            at += 1;
        }
        if self.state == State::Done {
            self.check_trailers(trailers)?;
        }
        Ok(at)
    }

    /// The state after a byte that is not data.
    fn byte(&mut self, byte: u8, trailers: &mut Vec<u8>) -> Result<State, Fault> {
        match (self.state, byte) {
            (State::Start | State::Size, b'0'..=b'9' | b'a'..=b'f' | b'A'..=b'F') => self.digit(byte),
            (State::Size | State::Space, b'\t' | b' ') => Ok(State::Space),
            (State::Size | State::Space, b';') => Ok(State::Extension),
            (State::Size | State::Space | State::Extension, b'\r') => Ok(State::SizeLf),
            // Some do not look for the CR; a line that they would see and we do not must not hide in an extension.
            (State::Extension, b'\n') => Err(Fault::Malformed("a line feed in a chunk extension")),
            (State::Extension, _) => {
                self.extensions += 1;
                if self.extensions >= MAX_EXTENSIONS {
                    return Err(Fault::Malformed("too many chunk extensions"));
                }
                Ok(State::Extension)
            }
            (State::SizeLf, b'\n') if self.size == 0 => Ok(State::EndCr),
            (State::SizeLf, b'\n') => Ok(State::Data),
            (State::DataCr, b'\r') => Ok(State::DataLf),
            (State::DataLf, b'\n') => Ok(State::Start),
            (State::EndCr, b'\r') if trailers.is_empty() => Ok(State::EndLf),
            (State::EndLf, b'\n') if trailers.is_empty() => Ok(State::Done),
            (State::Trailer | State::TrailerLf | State::EndCr | State::EndLf, _) => self.trailer(byte, trailers),
            _ => Err(Fault::Malformed("a chunk is malformed")),
        }
    }

    fn digit(&mut self, byte: u8) -> Result<State, Fault> {
        let digit = match byte {
            b'0'..=b'9' => byte - b'0',
            _ => (byte | 0x20) - b'a' + 10,
        };
        let size = self.size.checked_mul(16).and_then(|size| size.checked_add(u64::from(digit)));
        self.size = size.ok_or(Fault::Malformed("a chunk's size is too large"))?;
        Ok(State::Size)
    }

    /// A byte of the trailers or of the empty line after them.
    fn trailer(&mut self, byte: u8, trailers: &mut Vec<u8>) -> Result<State, Fault> {
        let next = match (self.state, byte) {
            (State::Trailer, b'\r') => State::TrailerLf,
            (State::Trailer, _) => State::Trailer,
            (State::TrailerLf, b'\n') => {
                self.trailers += 1;
                State::EndCr
            }
            (State::EndCr, b'\r') => State::EndLf,
            (State::EndCr, _) => State::Trailer,
            (State::EndLf, b'\n') => State::Done,
            _ => return Err(Fault::Malformed("a trailer is malformed")),
        };
        trailers.push(byte);
        if trailers.len() >= MAX_TRAILERS || self.trailers as usize > MAX_HEADERS {
            return Err(Fault::Malformed("too many trailers"));
        }
        Ok(next)
    }

    /// Nobody asks for trailers; but what is none is no HTTP.
    fn check_trailers(&self, trailers: &[u8]) -> Result<(), Fault> {
        if trailers.is_empty() {
            return Ok(());
        }
        let mut fields = [EMPTY_HEADER; MAX_HEADERS];
        match httparse::parse_headers(trailers, &mut fields[..self.trailers as usize]) {
            Ok(Status::Complete(_)) => Ok(()),
            _ => Err(Fault::Malformed("a trailer is malformed")),
        }
    }
}
