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

#[cfg(test)]
mod tests {
    use super::*;

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
