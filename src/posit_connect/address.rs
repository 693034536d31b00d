//! The address of a server, from the forms in which people have it at hand, and the addresses below it.

use url::{Host, Url};

/// Why a text is not the address of a server.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum AddressError {
    /// Not a URL.
    #[error("{text:?} is not a server address ({detail}): give it as https://connect.example.com/")]
    NotUrl {
        /// What was given.
        text: String,
        /// What the parser says.
        detail: String,
    },
    /// Neither http nor https.
    #[error("the server address has the scheme {0:?}: only http and https are possible")]
    Scheme(String),
    /// A URL with a user name or a password in it.
    #[error("the server address holds a user name or a password: leave it out, and give the API key with --api-key")]
    UserInfo,
    /// The URL of a content item.
    #[error(
        "this is the address of a content item, not of a server: the server is {server}, the item --content {item}"
    )]
    Content {
        /// The server it is on.
        server: String,
        /// Its GUID or name, as it stands in the URL.
        item: String,
    },
}

/// The address of a Connect server: http or https, with its sub-path if it has one, ending in a slash.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ServerAddress {
    base: Url,
}

impl ServerAddress {
    /// Reads the address as people give it: with or without the slash at the end, or the dashboard's address.
    ///
    /// # Errors
    /// Where it is no http(s) URL, holds credentials, or is the address of a content item.
    pub fn parse(text: &str) -> Result<ServerAddress, AddressError> {
        let text = text.trim();
        let not_url = |detail: String| AddressError::NotUrl { text: text.to_owned(), detail };
        if !text.contains("://") {
            return Err(not_url("it has no scheme".to_owned()));
        }
        let url = Url::parse(text).map_err(|error| not_url(error.to_string()))?;
        ServerAddress::from_url(&url)
    }

    /// The same from a parsed URL.
    ///
    /// # Errors
    /// As [`ServerAddress::parse`].
    pub fn from_url(url: &Url) -> Result<ServerAddress, AddressError> {
        if !matches!(url.scheme(), "http" | "https") {
            return Err(AddressError::Scheme(url.scheme().to_owned()));
        }
        if !url.username().is_empty() || url.password().is_some() {
            return Err(AddressError::UserInfo);
        }
        let (base, item) = split(url);
        match item {
            Some(item) => Err(AddressError::Content { server: base.to_string(), item }),
            None => Ok(ServerAddress { base }),
        }
    }

    /// The address itself, ending in a slash.
    #[must_use]
    pub fn url(&self) -> &Url {
        &self.base
    }

    /// The path that every request to this server begins with: `/`, or `/sub/path/`.
    #[must_use]
    pub fn path(&self) -> &str {
        self.base.path()
    }

    /// An address below the server, by segments; each is escaped where it has to be.
    #[must_use]
    pub fn join(&self, segments: &[&str]) -> Url {
        let mut url = self.base.clone();
        // A http(s) URL always has segments.
        if let Ok(mut path) = url.path_segments_mut() {
            path.pop_if_empty().extend(segments);
        }
        url
    }

    /// The address of a content item, ending in a slash.
    #[must_use]
    pub fn content(&self, guid: &str) -> Url {
        self.join(&["content", guid, ""])
    }

    /// Whether the server is this machine.
    #[must_use]
    pub fn is_loopback(&self) -> bool {
        match self.base.host() {
            Some(Host::Domain(name)) => name == "localhost" || name.ends_with(".localhost"),
            Some(Host::Ipv4(address)) => address.is_loopback(),
            Some(Host::Ipv6(address)) => address.is_loopback(),
            None => false,
        }
    }

    /// Whether what is sent there can be read on the way.
    #[must_use]
    pub fn is_plain(&self) -> bool {
        self.base.scheme() == "http"
    }

    /// Whether an address has this server's origin: scheme, host and port.
    #[must_use]
    pub fn same_origin(&self, other: &Url) -> bool {
        self.base.origin() == other.origin()
    }
}

impl std::fmt::Display for ServerAddress {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.base.as_str())
    }
}

/// The content item that a URL names, if any: of the form `…/content/<item>/…` or of the dashboard, `…/#/apps/<item>`.
#[must_use]
pub fn content_in(url: &Url) -> Option<String> {
    split(url).1
}

/// The server's part of a URL, and the content item that the rest names.
fn split(url: &Url) -> (Url, Option<String>) {
    let mut base = url.clone();
    base.set_query(None);
    base.set_fragment(None);
    let mut segments: Vec<&str> = url.path().split('/').filter(|segment| !segment.is_empty()).collect();
    let mut item = None;
    if let Some(at) = segments.iter().position(|segment| *segment == "content") {
        item = segments.get(at + 1).map(|&segment| segment.to_owned());
        if item.is_some() {
            segments.truncate(at);
        }
    }
    if let Some(at) = segments.iter().position(|segment| *segment == "__api__") {
        segments.truncate(at);
    } else if segments.last() == Some(&"connect") {
        segments.pop();
    }
    let path = segments.iter().fold(String::from("/"), |path, segment| path + segment + "/");
    base.set_path(&path);
    (base, item.or_else(|| dashboard_item(url.fragment()?)))
}

fn dashboard_item(fragment: &str) -> Option<String> {
    let rest = fragment.strip_prefix("/apps/")?;
    let item = rest.split('/').next().unwrap_or(rest);
    (!item.is_empty()).then(|| item.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_forms_people_have_are_one_address() {
        for text in [
            "https://c.example/sub",
            "https://c.example/sub/",
            " https://c.example/sub/connect/ ",
            "https://c.example/sub/connect/#/content",
            "https://c.example/sub/__api__/v1/user?x=1",
        ] {
            assert_eq!(ServerAddress::parse(text).unwrap().to_string(), "https://c.example/sub/", "{text}");
        }
        let server = ServerAddress::parse("http://localhost:3939").unwrap();
        assert_eq!(server.join(&["__api__", "v1", "user"]).as_str(), "http://localhost:3939/__api__/v1/user");
        assert_eq!(server.content("ab").as_str(), "http://localhost:3939/content/ab/");
        assert!(server.is_loopback() && server.is_plain());
    }

    #[test]
    fn a_content_item_is_no_server_and_the_hint_names_both() {
        for text in ["https://c.example/s/content/7c1e-2/x", "https://c.example/s/connect/#/apps/7c1e-2/access"] {
            let error = ServerAddress::parse(text).unwrap_err();
            let expected =
                AddressError::Content { server: "https://c.example/s/".to_owned(), item: "7c1e-2".to_owned() };
            assert_eq!(error, expected);
        }
    }

    #[test]
    fn what_cannot_be_a_server_is_refused() {
        assert!(matches!(ServerAddress::parse("connect.example.com"), Err(AddressError::NotUrl { .. })));
        assert!(matches!(ServerAddress::parse("localhost:3939"), Err(AddressError::NotUrl { .. })));
        assert!(matches!(ServerAddress::parse("https://"), Err(AddressError::NotUrl { .. })));
        assert_eq!(ServerAddress::parse("ftp://c.example"), Err(AddressError::Scheme("ftp".to_owned())));
        assert_eq!(ServerAddress::parse("https://me:secret@c.example"), Err(AddressError::UserInfo));
    }

    #[test]
    fn loopback_is_told_from_what_only_looks_like_it() {
        for (text, loopback) in [
            ("http://127.0.0.1:1/", true),
            ("http://[::1]:1/", true),
            ("http://localhost.example.com/", false),
            ("http://127.0.0.1.example.com/", false),
            ("http://10.0.0.1/", false),
        ] {
            assert_eq!(ServerAddress::parse(text).unwrap().is_loopback(), loopback, "{text}");
        }
    }
}
