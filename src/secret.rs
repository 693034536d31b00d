//! The API key: a type that cannot be printed or serialised.

use std::sync::{Mutex, PoisonError};

use base64::Engine as _;
use http::HeaderValue;

/// Keys that this process knows, so that a message which nobody foresaw can be searched for them.
static KNOWN: Mutex<Vec<String>> = Mutex::new(Vec::new());
/// A command has one or two; beyond so many the oldest is forgotten.
const MOST_KNOWN: usize = 64;

/// An API key of Posit Connect. Has no `Debug`, `Display` or `Serialize`; it leaves only as a request header.
#[derive(Clone, PartialEq, Eq)]
pub struct ApiKey(String);

impl ApiKey {
    /// A key, trimmed of surrounding white space; `None` where nothing is left or it cannot be sent in a header.
    #[must_use]
    pub fn new(text: &str) -> Option<ApiKey> {
        let key = text.trim();
        let sendable = !key.is_empty() && key.bytes().all(|b| b.is_ascii_graphic());
        sendable.then(|| {
            let mut known = KNOWN.lock().unwrap_or_else(PoisonError::into_inner);
            if !known.iter().any(|other| other == key) {
                known.push(key.to_owned());
                let most = known.len().saturating_sub(MOST_KNOWN);
                known.drain(..most);
            }
            ApiKey(key.to_owned())
        })
    }

    /// The value of the `Authorization` header, `Key …`, marked as sensitive so that no log prints it.
    #[must_use]
    pub fn authorization(&self) -> HeaderValue {
        // Cannot fail: a key is visible ASCII.
        let mut value = HeaderValue::from_str(&format!("Key {}", self.0)).unwrap_or(HeaderValue::from_static(""));
        value.set_sensitive(true);
        value
    }

    /// Replaces the key wherever it stands in a text, so that what a server echoes back cannot leak it.
    #[must_use]
    pub fn redact(&self, text: &str) -> String {
        text.replace(&self.0, "[key]")
    }
}

/// Replaces every key that this process knows, also as it stands in a URL or in a quoted text, and coded in base64.
#[must_use]
pub fn redact(text: &str) -> String {
    let known = KNOWN.lock().unwrap_or_else(PoisonError::into_inner);
    known.iter().flat_map(|key| forms(key)).fold(text.to_owned(), |text, form| text.replace(&form, "[key]"))
}

fn forms(key: &str) -> impl Iterator<Item = String> {
    let in_url: String = url::form_urlencoded::byte_serialize(key.as_bytes()).collect();
    let quoted = format!("{key:?}").trim_matches('"').to_owned();
    let coded = base64::engine::general_purpose::STANDARD_NO_PAD.encode(key);
    [key.to_owned(), in_url, quoted, coded].into_iter()
}

/// What somebody gave as a key, or as the place where it is to be read; not looked at yet. Neither `Debug` nor `Display`.
#[derive(Clone)]
pub struct KeyText(String);

/// Where a key is to be found.
pub enum KeySource<'t> {
    /// It was given itself.
    Given(&'t str),
    /// The first line of stdin.
    Stdin,
    /// An open file of this process, by its number.
    Descriptor(u32),
}

impl From<String> for KeyText {
    fn from(text: String) -> KeyText {
        KeyText(text)
    }
}

impl KeyText {
    /// Where the key is: `-` is stdin, `fd:N` an open file, all else the key itself.
    #[must_use]
    pub fn source(&self) -> KeySource<'_> {
        match self.0.strip_prefix("fd:").and_then(|number| number.parse().ok()) {
            Some(number) => KeySource::Descriptor(number),
            None if self.0 == "-" => KeySource::Stdin,
            None => KeySource::Given(&self.0),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Does not compile where one of these types has the trait: the call would have two meanings.
    macro_rules! has_not {
        ($kind:ty: $($name:path),+) => {$({
            trait Meaning<A> {
                fn only() {}
            }
            impl<T: ?Sized> Meaning<()> for T {}
            struct Other;
            impl<T: ?Sized + $name> Meaning<Other> for T {}
            <$kind as Meaning<_>>::only();
        })+};
    }

    #[test]
    fn nothing_that_holds_a_key_can_be_printed_or_serialised() {
        has_not!(ApiKey: std::fmt::Debug, std::fmt::Display, serde::Serialize);
        has_not!(KeyText: std::fmt::Debug, std::fmt::Display, serde::Serialize);
        has_not!(crate::posit_connect::ClientConfig: std::fmt::Debug, std::fmt::Display, serde::Serialize);
        has_not!(crate::cli::ServerArgs: std::fmt::Debug, std::fmt::Display, serde::Serialize);
        has_not!(crate::cli::Cli: std::fmt::Debug, std::fmt::Display, serde::Serialize);
    }

    #[test]
    fn a_key_is_given_or_read_from_somewhere() {
        let source = |text: &str| match KeyText::from(text.to_owned()).source() {
            KeySource::Given(key) => format!("given {key}"),
            KeySource::Stdin => "stdin".to_owned(),
            KeySource::Descriptor(number) => format!("file {number}"),
        };
        assert_eq!(["abc", "-", "fd:7", "fd:x"].map(source), ["given abc", "stdin", "file 7", "given fd:x"]);
    }

    #[test]
    fn a_key_leaves_only_as_a_sensitive_header() {
        let key = ApiKey::new(" abc123\n").unwrap();
        assert!(key.authorization().is_sensitive());
        assert_eq!(key.authorization().to_str().unwrap(), "Key abc123");
        assert_eq!(format!("{:?}", key.authorization()), "Sensitive");
        assert_eq!(key.redact("bad key abc123!"), "bad key [key]!");
    }

    #[test]
    fn a_message_that_nobody_foresaw_has_no_key() {
        let key = "a\"b+c/d&e'f";
        assert!(ApiKey::new(key).is_some());
        let header = format!("{:?}", format!("Authorization: Key {key}"));
        let url: String = url::form_urlencoded::byte_serialize(key.as_bytes()).collect();
        let coded = base64::engine::general_purpose::STANDARD.encode(key);
        for text in [key, &header, &format!("http://x/?key={url}"), &format!("Basic {coded}")] {
            let redacted = redact(text);
            assert!(
                redacted.contains("[key]") && !redacted.contains("b+c") && !redacted.contains("b%2B"),
                "{redacted}"
            );
            assert!(!redacted.contains(&coded[..8]), "{redacted}");
        }
        assert_eq!(redact("nothing"), "nothing");
    }

    #[test]
    fn what_cannot_be_a_header_is_no_key() {
        assert!(ApiKey::new("  ").is_none());
        assert!(ApiKey::new("a\nb").is_none());
        assert!(ApiKey::new("schlüssel").is_none());
    }
}
