//! The cookie jar of one VU, and which node an affinity cookie names.

use cookie_store::CookieStore;
use http::header::SET_COOKIE;
use http::{HeaderMap, HeaderValue};
use url::Url;

/// Cookies that a load balancer sets to keep a client on one node, and whose value stays the same for a node.
///
/// `ApplicationGatewayAffinity`: Azure Application Gateway. `posit-connect`: the name in Posit's Helm examples for an
/// nginx ingress. AWS's `AWSALB` is missing on purpose: its value changes with every response and names no node.
pub const AFFINITY_COOKIES: [&str; 2] = ["ApplicationGatewayAffinity", "posit-connect"];

/// A cookie jar that costs nothing until the first cookie and keeps the header it last built.
#[derive(Debug, Default)]
pub struct Jar {
    store: Option<Box<CookieStore>>,
    /// The header for `built_for`, until a response changes the jar.
    header: Option<HeaderValue>,
    built_for: String,
    affinity: Option<String>,
}

impl Jar {
    /// The `Cookie` header for a request, if any cookie applies. `target` is the request's path and query.
    pub fn header(&mut self, origin: &Url, target: &str) -> Option<HeaderValue> {
        let store = self.store.as_deref()?;
        if self.built_for != target {
            target.clone_into(&mut self.built_for);
            let url = origin.join(target).ok()?;
            let pairs: Vec<String> = store.get_request_values(&url).map(|(n, v)| format!("{n}={v}")).collect();
            self.header = (!pairs.is_empty()).then(|| HeaderValue::from_str(&pairs.join("; ")).ok()).flatten();
        }
        self.header.clone()
    }

    /// Takes the cookies that a response set. Returns whether there were any.
    pub fn store(&mut self, origin: &Url, target: &str, headers: &HeaderMap) -> bool {
        if !headers.contains_key(SET_COOKIE) {
            return false;
        }
        let Ok(url) = origin.join(target) else { return false };
        let store = self.store.get_or_insert_with(Box::default);
        for value in headers.get_all(SET_COOKIE) {
            if let Ok(text) = value.to_str() {
                // A cookie that does not parse, or that this origin may not set, is ignored as a browser does.
                let _ = store.parse(text, &url);
            }
        }
        let named = |cookie: &&cookie_store::Cookie<'static>| AFFINITY_COOKIES.contains(&cookie.name());
        self.affinity = store.iter_unexpired().find(named).map(|cookie| cookie.value().to_owned());
        self.built_for.clear();
        true
    }

    /// The value of the affinity cookie, where there is one that names a node.
    #[must_use]
    pub fn affinity(&self) -> Option<&str> {
        self.affinity.as_deref()
    }

    /// Empties the jar, as k6 does before each iteration.
    pub fn clear(&mut self) {
        *self = Jar::default();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn origin() -> Url {
        Url::parse("http://127.0.0.1:3939/").unwrap()
    }

    fn response(cookies: &[&str]) -> HeaderMap {
        let mut headers = HeaderMap::new();
        for cookie in cookies {
            headers.append(SET_COOKIE, HeaderValue::from_str(cookie).unwrap());
        }
        headers
    }

    #[test]
    fn over_plain_http_a_secure_cookie_stays_at_home() {
        let origin = Url::parse("http://connect.example:3939/").unwrap();
        let mut jar = Jar::default();
        let cookies = [
            "ApplicationGatewayAffinity=abc; Path=/",
            "ApplicationGatewayAffinityCORS=abc; Path=/; SameSite=None; Secure",
        ];
        assert!(jar.store(&origin, "/content/1/", &response(&cookies)));
        assert_eq!(jar.header(&origin, "/content/1/").unwrap(), "ApplicationGatewayAffinity=abc");
        assert_eq!(jar.affinity(), Some("abc"));
    }

    #[test]
    fn a_cookie_goes_only_to_its_path() {
        let mut jar = Jar::default();
        jar.store(&origin(), "/a/", &response(&["x=1; Path=/a"]));
        assert!(jar.header(&origin(), "/a/b").is_some());
        assert!(jar.header(&origin(), "/c").is_none());
        assert!(jar.header(&origin(), "/a/b").is_some());
    }

    #[test]
    fn a_new_value_replaces_the_old_and_moves_the_node() {
        let mut jar = Jar::default();
        jar.store(&origin(), "/", &response(&["ApplicationGatewayAffinity=n1; Path=/"]));
        assert_eq!(jar.header(&origin(), "/").unwrap(), "ApplicationGatewayAffinity=n1");
        jar.store(&origin(), "/", &response(&["ApplicationGatewayAffinity=n2; Path=/"]));
        assert_eq!(jar.header(&origin(), "/").unwrap(), "ApplicationGatewayAffinity=n2");
        assert_eq!(jar.affinity(), Some("n2"));
        jar.clear();
        assert!(jar.header(&origin(), "/").is_none());
        assert!(!jar.store(&origin(), "/", &response(&[])));
    }
}
