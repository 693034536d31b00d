//! What the header fields of a response say about it.

use httparse::Header;

/// So many digits cannot overflow.
const SAFE_DIGITS: usize = 19;

/// Of one head.
pub(super) struct Fields<'h> {
    pub(super) http11: bool,
    pub(super) keep_alive: bool,
    /// `None`: no such field; `Some(None)`: it cannot be understood.
    pub(super) content_length: Option<Option<u64>>,
    /// Whether there is a transfer coding, and whether the last one is `chunked`.
    pub(super) transfer_coding: Option<bool>,
    /// The first one; empty without any.
    pub(super) content_type: &'h [u8],
    /// The first one; empty without any.
    pub(super) content_encoding: &'h [u8],
    pub(super) sets_cookies: bool,
}

impl<'h> Fields<'h> {
    pub(super) fn of(headers: &[Header<'h>], http11: bool) -> Fields<'h> {
        let mut fields = Fields {
            http11,
            keep_alive: http11,
            content_length: None,
            transfer_coding: None,
            content_type: &[],
            content_encoding: &[],
            sets_cookies: false,
        };
        let (mut close, mut typed, mut coded) = (false, false, false);
        for Header { name, value } in headers {
            let name = name.as_bytes();
            // The length tells most names apart.
            match name.len() {
                10 if is(name, b"connection") => {
                    // Mostly it is this alone.
                    let keep_alive = is(value, b"keep-alive");
                    close |= !keep_alive && has_token(value, b"close");
                    let keep_alive = keep_alive || fields.keep_alive || has_token(value, b"keep-alive");
                    fields.keep_alive = !close && keep_alive;
                }
                10 => fields.sets_cookies |= is(name, b"set-cookie"),
                12 if !typed && is(name, b"content-type") => {
                    typed = true;
                    fields.content_type = value;
                }
                14 if is(name, b"content-length") => {
                    let length = content_length(value);
                    fields.content_length = Some(match fields.content_length {
                        None => length,
                        Some(before) if before == length => length,
                        Some(_) => None,
                    });
                }
                16 if !coded && is(name, b"content-encoding") => {
                    coded = true;
                    fields.content_encoding = value;
                }
                17 if is(name, b"transfer-encoding") => {
                    let last = value.rsplit(|&b| b == b',').next().unwrap_or_default();
                    let chunked = is_text(value) && last.trim_ascii().eq_ignore_ascii_case(b"chunked");
                    fields.transfer_coding = Some(chunked);
                }
                _ => {}
            }
        }
        fields
    }
}

/// Whether a text is this one of lower-case letters and hyphens, in whatever case. All at once: no byte that is allowed
/// in a name or stands in a token becomes one of those by the bit that tells the cases apart, but a letter.
fn is<const N: usize>(text: &[u8], expected: &[u8; N]) -> bool {
    <&[u8; N]>::try_from(text).is_ok_and(|text| text.map(|b| b | 0x20) == *expected)
}

/// Whether a field's value is text, as `HeaderValue::to_str` sees it.
fn is_text(value: &[u8]) -> bool {
    value.iter().all(|&b| (32..127).contains(&b) || b == b'\t')
}

fn has_token(value: &[u8], token: &[u8]) -> bool {
    is_text(value) && value.split(|&b| b == b',').any(|item| item.trim_ascii().eq_ignore_ascii_case(token))
}

/// A length, or several that are the same; `None` where it is anything else.
pub(super) fn content_length(value: &[u8]) -> Option<u64> {
    if value.len() <= SAFE_DIGITS && !value.is_empty() && value.iter().all(u8::is_ascii_digit) {
        return Some(value.iter().fold(0, |number, &b| number * 10 + u64::from(b - b'0')));
    }
    let mut length = None;
    for item in value.split(|&b| b == b',') {
        let item = digits(item.trim_ascii())?;
        if length.is_some_and(|before| before != item) {
            return None;
        }
        length = Some(item);
    }
    length
}

fn digits(text: &[u8]) -> Option<u64> {
    let mut number = 0_u64;
    for &b in text {
        let digit = b.is_ascii_digit().then(|| u64::from(b - b'0'))?;
        number = number.checked_mul(10)?.checked_add(digit)?;
    }
    (!text.is_empty()).then_some(number)
}
