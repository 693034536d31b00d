//! Requests of steps: compiled before the run, completed with the values of an iteration.

use bytes::Bytes;
use http::header::{ACCEPT, AUTHORIZATION, CONTENT_LENGTH, CONTENT_TYPE, LOCATION};
use http::{HeaderMap, HeaderName, HeaderValue, Method, Uri};
use url::Url;

use super::body::{Payload, payload};
use super::text::{Escape, Names, Text, Values, url_text};
use super::{CompileFault, Given};
use crate::engine::program::{Request, is_redirect};
use crate::plan::StepsPlan;
use crate::scenario::steps::Step;
use crate::scenario::template::{Part, Template};

/// Where a request goes.
#[derive(Debug)]
enum Target {
    /// Path and query, complete but for its values.
    Path(Text),
    /// A link, as a response had it: a URL of the same origin, or a path from the root of the server.
    Link(Text),
}

/// A request, complete but for its values.
#[derive(Debug)]
pub(super) struct Draft {
    method: Method,
    target: Target,
    query: Text,
    headers: HeaderMap,
    /// Those with variables.
    further: Vec<(HeaderName, Text)>,
    payload: Payload,
    origin: Url,
}

impl Draft {
    pub(super) fn compile(step: &Step, plan: &StepsPlan, names: &Names, given: &Given) -> Result<Draft, CompileFault> {
        let unknown = |name: String| CompileFault::new(&step.name, format!("`${{{name}}}` is unknown"));
        let method = Method::from_bytes(step.method.as_bytes())
            .map_err(|e| CompileFault::new(&step.name, format!("{:?}: {e}", step.method)))?;
        let (target, content) = target(step, plan, names, given)?;
        let mut query = Text::default();
        for (at, (name, value)) in step.query.iter().enumerate() {
            let name: String = url::form_urlencoded::byte_serialize(name.as_bytes()).collect();
            query.push(&format!("{}{name}=", if at == 0 { "" } else { "&" }));
            query.push_template(value, names, Escape::Form, form).map_err(unknown)?;
        }
        let mut headers = given.headers.clone();
        let (payload, media) = payload(step, names, given)?;
        if let Some(media) = media {
            headers.insert(CONTENT_TYPE, media);
        }
        if step.auth.unwrap_or(content && plan.with_key) {
            let key = given.key.clone();
            headers.insert(AUTHORIZATION, key.ok_or_else(|| CompileFault::new(&step.name, "there is no key to send"))?);
        }
        let mut further = Vec::new();
        for (name, value) in &step.headers {
            let cannot = |_| CompileFault::new(&step.name, format!("the header {name} cannot be sent"));
            let header = HeaderName::from_bytes(name.as_bytes()).map_err(|_e| cannot(()))?;
            let value = Text::plain(value, names).map_err(unknown)?;
            match value.fixed() {
                Some(fixed) => {
                    headers.insert(header, HeaderValue::from_str(fixed).map_err(|_e| cannot(()))?);
                }
                None => further.push((header, value)),
            }
        }
        headers.entry(ACCEPT).or_insert(HeaderValue::from_static("*/*"));
        Ok(Draft { method, target, query, headers, further, payload, origin: given.origin.clone() })
    }

    /// That of a step that makes none itself.
    pub(super) fn none(origin: &Url) -> Draft {
        let (headers, further, payload) = (HeaderMap::new(), Vec::new(), Payload::default());
        let target = Target::Path(Text::default());
        Draft { method: Method::GET, target, query: Text::default(), headers, further, payload, origin: origin.clone() }
    }

    /// Whether it is the same in every iteration.
    pub(super) fn is_fixed(&self) -> bool {
        let target = matches!(&self.target, Target::Path(path) if path.fixed().is_some());
        target && self.query.fixed().is_some() && self.further.is_empty() && self.payload.is_fixed()
    }

    /// The request of an iteration.
    ///
    /// # Errors
    /// Why values cannot stand in it.
    pub(super) fn request(&self, values: &Values) -> Result<Request, String> {
        let mut target = match &self.target {
            Target::Path(path) => path.render(values),
            Target::Link(link) => {
                let link = link.render(values);
                within(&self.origin, &self.origin, &link)?
            }
        };
        let query = self.query.render(values);
        if !query.is_empty() {
            target.push(if target.contains('?') { '&' } else { '?' });
            target.push_str(&query);
        }
        let mut headers = self.headers.clone();
        for (name, value) in &self.further {
            let value = HeaderValue::from_str(&value.render(values));
            headers.insert(name.clone(), value.map_err(|_e| format!("the header {name} cannot be sent"))?);
        }
        let target = uri(&target)?;
        Ok(Request { method: self.method.clone(), target, headers, body: self.payload.bytes(values) })
    }
}

fn form(text: &str) -> String {
    url::form_urlencoded::byte_serialize(text.as_bytes()).collect()
}

fn uri(target: &str) -> Result<Uri, String> {
    target.parse().map_err(|e: http::uri::InvalidUri| format!("no request can go to {}: {e}", shown(target)))
}

/// As much of a text as an event should have.
fn shown(text: &str) -> String {
    format!("{:?}", text.chars().take(120).collect::<String>())
}

/// Path and query of a link, seen from a page, if it stays at the origin.
fn within(origin: &Url, page: &Url, link: &str) -> Result<String, String> {
    let url = page.join(link).map_err(|e| format!("{} is no URL: {e}", shown(link)))?;
    if url.origin() != origin.origin() {
        let there = url.origin().ascii_serialization();
        return Err(format!("{there} is another origin than {}", origin.origin().ascii_serialization()));
    }
    Ok(match url.query() {
        Some(query) => format!("{}?{query}", url.path()),
        None => url.path().to_owned(),
    })
}

/// Where a step's request goes, and whether that is the content item.
fn target(step: &Step, plan: &StepsPlan, names: &Names, given: &Given) -> Result<(Target, bool), CompileFault> {
    let fault = |what: String| CompileFault::new(&step.name, what);
    let unknown = |name: String| fault(format!("`${{{name}}}` is unknown"));
    let mut parts = step.url.parts().to_vec();
    let first = match parts.first_mut() {
        Some(Part::Text(first)) => first,
        _ => {
            let link = Text::plain(&step.url, names).map_err(unknown)?;
            return Ok((Target::Link(link), false));
        }
    };
    let mut path = Text::default();
    let mut content = false;
    if let Some(rest) = first.strip_prefix("server:") {
        path.push(plan.server_root.trim_end_matches('/'));
        *first = rest.to_owned();
    } else if first.starts_with('/') {
        path.push(plan.content_root.trim_end_matches('/'));
        content = true;
    } else {
        let url = Url::parse(first).map_err(|e| fault(format!("{}: {e}", shown(first))))?;
        if url.origin() != given.origin.origin() {
            let (there, here) = (url.origin().ascii_serialization(), given.origin.origin().ascii_serialization());
            return Err(fault(format!("{there} is not the server that is tested ({here}): a run has one origin")));
        }
        let after = first.find("//").map_or(0, |at| at + 2);
        let rest = first[after..].find('/').map_or("/", |at| &first[after + at..]);
        *first = rest.to_owned();
        content = first.starts_with(&plan.content_root) && plan.content_root != "/";
    }
    let mut rest = Template::default();
    rest.extend(parts);
    path.push_template(&rest, names, Escape::Path, url_text).map_err(unknown)?;
    Ok((Target::Path(path), content))
}

/// The request that follows a redirect; `None` where the response is none, or names no place.
///
/// # Errors
/// Why it is not followed.
pub(super) fn redirected(
    request: &Request,
    status: u16,
    headers: &HeaderMap,
    origin: &Url,
) -> Result<Option<Request>, String> {
    let Some(location) = headers.get(LOCATION).filter(|_| is_redirect(status)) else { return Ok(None) };
    let link = String::from_utf8_lossy(location.as_bytes());
    let page = origin.join(&request.target.to_string()).map_err(|e| e.to_string())?;
    let target = uri(&within(origin, &page, &link).map_err(|what| format!("redirected, but {what}"))?)?;
    let mut next = Request { target, ..request.clone() };
    let repeated = matches!(status, 307 | 308) || matches!(request.method, Method::GET | Method::HEAD);
    if !repeated {
        // As browsers and k6 do: what answers a post with another place is asked for that place.
        next.method = Method::GET;
        next.body = Bytes::new();
        next.headers.remove(CONTENT_TYPE);
        next.headers.remove(CONTENT_LENGTH);
    }
    Ok(Some(next))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn follow(method: Method, status: u16, location: &str) -> Result<Option<Request>, String> {
        let request =
            Request { method, target: "/a/b?x=1".parse().unwrap(), headers: HeaderMap::new(), body: "body".into() };
        let mut headers = HeaderMap::new();
        headers.insert(LOCATION, HeaderValue::from_bytes(location.as_bytes()).unwrap());
        redirected(&request, status, &headers, &Url::parse("http://h:1/").unwrap())
    }

    #[test]
    fn a_redirect_is_followed_from_where_it_came() {
        let target = |location| follow(Method::GET, 302, location).unwrap().unwrap().target.to_string();
        assert_eq!(target("c?y=2"), "/a/c?y=2");
        assert_eq!(target("/c#part"), "/c");
        assert_eq!(target("http://h:1/d"), "/d");
        assert_eq!(target("ü/ b"), "/a/%C3%BC/%20b");
    }

    #[test]
    fn a_post_becomes_a_get_where_browsers_do_so() {
        for status in [301, 302, 303] {
            let next = follow(Method::POST, status, "/c").unwrap().unwrap();
            assert_eq!((next.method, next.body.len()), (Method::GET, 0));
        }
        for status in [307, 308] {
            let next = follow(Method::POST, status, "/c").unwrap().unwrap();
            assert_eq!((next.method, next.body.len()), (Method::POST, 4));
        }
        assert!(follow(Method::GET, 304, "/c").unwrap().is_none());
    }

    #[test]
    fn no_redirect_leaves_the_origin() {
        for location in ["https://h:1/", "http://other/", "//other:1/x", "http://h:2/", "javascript:alert(1)"] {
            assert!(follow(Method::GET, 302, location).unwrap_err().contains("another origin"), "{location}");
        }
        assert!(follow(Method::GET, 302, "http://[").is_err());
    }
}
