//! The API key: a type that cannot be printed or serialised.

use http::HeaderValue;

/// An API key of Posit Connect. Has no `Debug`, `Display` or `Serialize`; it leaves only as a request header.
#[derive(Clone, PartialEq, Eq)]
pub struct ApiKey(String);

impl ApiKey {
    /// A key, trimmed of surrounding white space; `None` where nothing is left or it cannot be sent in a header.
    #[must_use]
    pub fn new(text: &str) -> Option<ApiKey> {
        let key = text.trim();
        let sendable = !key.is_empty() && key.bytes().all(|b| b.is_ascii_graphic());
        sendable.then(|| ApiKey(key.to_owned()))
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
    fn what_cannot_be_a_header_is_no_key() {
        assert!(ApiKey::new("  ").is_none());
        assert!(ApiKey::new("a\nb").is_none());
        assert!(ApiKey::new("schlüssel").is_none());
    }
}
