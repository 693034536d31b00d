//! Content: from a request's path to the simulated application's answer, in the time that the node's capacity gives.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use axum::body::Bytes;
use axum::http::request::Parts;
use axum::http::{HeaderValue, Request, StatusCode};
use axum::response::{IntoResponse as _, Response};
use hyper::body::Incoming;

use super::api;
use super::apps;
use super::bundles;
use super::capacity::NodeGone;
use super::catalog::{Door, Item};
use super::error::{ApiError, BAD_CREDENTIALS, NO_CREDENTIALS};
use super::launcher::settings::Runtime;
use super::launcher::{self, Asked, Wanted};
use super::manifest::App;
use super::node::{Node, Shared};
use super::processes::Need;
use super::reply;
use super::sockets;

/// Where content is.
pub(super) const PREFIX: &str = "/content/";
/// A view on content that nobody may see.
const NO_VIEW: ApiError = ApiError::fixed(StatusCode::FORBIDDEN, 19, "You don't have permission to view this content.");

/// Answers a request for content that arrived at `arrived_s` on the node's clock.
///
/// # Errors
/// When the node goes away meanwhile.
pub(super) async fn serve(node: &Arc<Node>, request: Request<Incoming>, arrived_s: f64) -> Result<Response, NodeGone> {
    let (head, body) = request.into_parts();
    let path = head.uri.path();
    let vanity;
    let (guid, rest) = match by_guid(path) {
        Some(found) => found,
        None => match node.shared.catalog.vanity(path) {
            Some((guid, rest)) => {
                vanity = guid;
                (vanity.as_str(), rest)
            }
            None => return Ok(reply::page(StatusCode::NOT_FOUND, "Not Found")),
        },
    };
    let item = match node.shared.catalog.item(&node.shared.store, guid).await {
        Ok(Some(item)) => item,
        Ok(None) => return Ok(reply::page(StatusCode::NOT_FOUND, "Not Found")),
        Err(error) => return Ok(ApiError::from(error).into_response()),
    };
    if let Some(refusal) = refuse(&item, &node.shared, &head) {
        return Ok(refusal.into_response());
    }
    if rest.is_empty() {
        let query = head.uri.query().map(|query| format!("?{query}")).unwrap_or_default();
        return Ok(reply::redirect(StatusCode::FOUND, &format!("{path}/{query}")));
    }
    let (bundle, rest) = match by_bundle(rest) {
        Some((bundle, rest)) => (Some(bundle), rest),
        None => (item.active, rest),
    };
    let release = bundle.and_then(|bundle| item.releases.get(&bundle).map(|app| (bundle, *app)));
    let Some((bundle, app)) = release else {
        return Ok(reply::page(StatusCode::NOT_FOUND, "Nothing has been deployed here"));
    };
    let user = api::key_of(&head.headers).and_then(|key| node.shared.user_of_key(key));
    node.shared.usage.hit(jiff::Timestamp::now(), &item.guid, user.map(|user| user.guid.as_str()));
    if let Some(launcher) = &node.shared.launcher {
        if let Some(response) = fault(node) {
            return Ok(response);
        }
        if app == App::Files {
            node.awake().await;
            return Ok(file(&node.shared.bundles.app(&item.guid, bundle), rest).await);
        }
        let asked = Asked { rest: rest.to_owned(), head, body, bundle };
        return launcher::serve(launcher, node, &item, asked).await;
    }
    let arrived_s = process(node, &item, bundle, arrived_s).await?;
    if let Some(response) = fault(node) {
        return Ok(response);
    }
    node.capacity.serve(arrived_s).await?;
    if app == App::Python
        && let Some(response) = sockets::answer(node, &head, rest)
    {
        return Ok(response);
    }
    Ok(match app {
        App::Files => file(&node.shared.bundles.app(&item.guid, bundle), rest).await,
        _ => apps::answer(app, &head.method, rest, head.uri.query().unwrap_or_default()),
    })
}

/// What the configured faults answer instead, if they do this time.
fn fault(node: &Node) -> Option<Response> {
    let which = node.capacity.chance(node.shared.config.faults.error_rate)?;
    let (status, title) = if which < 0.5 {
        (StatusCode::INTERNAL_SERVER_ERROR, "Internal Server Error")
    } else {
        (StatusCode::SERVICE_UNAVAILABLE, "Service Unavailable")
    };
    Some(reply::page(status, title))
}

/// The settings of a content item may have changed: real processes are kept as they say from now on.
pub(super) async fn warm(node: &Node, guid: &str) {
    let Some(launcher) = &node.shared.launcher else { return };
    let item = node.shared.catalog.item(&node.shared.store, guid).await.ok().flatten();
    let active = item.and_then(|item| item.active.map(|bundle| (item, bundle)));
    let Some((item, bundle)) = active else { return };
    if item.releases.get(&bundle).is_none_or(|app| *app == App::Files) {
        return;
    }
    let directory = node.shared.bundles.app(guid, bundle);
    let wanted =
        Wanted { node: node.index, hostname: &node.hostname, guid, bundle, active: true, directory: &directory };
    launcher.warm(wanted, &node.shared.store, &item).await;
}

/// Another node changed something of a content item: its processes on this node are as if that had been done here.
pub(super) async fn changed(node: &Node, guid: &str) {
    let (shared, Some(launcher)) = (&node.shared, &node.shared.launcher) else { return };
    // Not by way of what is kept in memory: what nobody asked for yet is not to be there, as it was a moment ago.
    match shared.store.content(guid).await {
        Ok(None) => launcher.replace(guid, None),
        Ok(Some(row)) if launcher.has(guid) || (row.bundle_id.is_some() && Runtime::of(&row.settings).min > 0) => {
            if let Ok(revision) = shared.store.environment_revision(guid).await {
                launcher.renew(guid, revision);
            }
            warm(node, guid).await;
        }
        Ok(Some(_)) => {}
        // What is there is served meanwhile; once the database is back all of it is looked at.
        Err(_) => {}
    }
}

/// Starts what is to be kept without requests, as a server that starts does.
pub(super) async fn warm_all(node: &Node) {
    if node.shared.launcher.is_none() {
        return;
    }
    let rows = node.shared.store.all_content().await.unwrap_or_default();
    for row in rows.iter().filter(|row| Runtime::of(&row.settings).min > 0) {
        warm(node, &row.guid).await;
    }
}

/// `/content/{guid}` and what follows.
fn by_guid(path: &str) -> Option<(&str, &str)> {
    let path = path.strip_prefix(PREFIX)?;
    Some(path.split_at(path.find('/').unwrap_or(path.len())))
}

/// `/_bundle{id}` and what follows.
fn by_bundle(rest: &str) -> Option<(i64, &str)> {
    let rest = rest.strip_prefix("/_bundle")?;
    let (id, rest) = rest.split_at(rest.find('/').unwrap_or(rest.len()));
    Some((id.parse().ok()?, if rest.is_empty() { "/" } else { rest }))
}

fn refuse(item: &Item, shared: &Shared, head: &Parts) -> Option<ApiError> {
    if item.door(None) == Door::Open {
        return None;
    }
    let key = api::key_of(&head.headers);
    let user = key.and_then(|key| shared.user_of_key(key));
    match item.door(user) {
        Door::Open => None,
        Door::Closed => Some(NO_VIEW),
        Door::Unknown if key.is_some() => Some(BAD_CREDENTIALS),
        Door::Unknown => Some(NO_CREDENTIALS),
    }
}

/// Has a process for the request, and gives the instant from which it is served.
async fn process(node: &Node, item: &Item, bundle: i64, arrived_s: f64) -> Result<f64, NodeGone> {
    let need = Need {
        node: node.index,
        hostname: &node.hostname,
        content_guid: &item.guid,
        bundle_id: bundle,
        idle: item.idle,
        spawn: node.shared.config.spawn_delay,
    };
    let wait = node.shared.processes.need(need);
    if wait == Duration::ZERO {
        return Ok(arrived_s);
    }
    let mut losses = node.losses();
    tokio::select! {
        () = tokio::time::sleep(wait) => Ok(node.capacity.now_s()),
        _ = losses.changed() => Err(NodeGone),
    }
}

/// A file of the bundle.
async fn file(root: &Path, path: &str) -> Response {
    let gone = || reply::page(StatusCode::NOT_FOUND, "Not Found");
    let Some(mut place) = percent_decoded(path).and_then(|path| bundles::inside(root, &path)) else { return gone() };
    if path.ends_with('/') {
        place.push("index.html");
    }
    let Ok(bytes) = tokio::fs::read(&place).await else { return gone() };
    let kind = match place.extension().and_then(|extension| extension.to_str()) {
        Some("html" | "htm") => "text/html; charset=utf-8",
        Some("json") => "application/json",
        Some("js") => "text/javascript; charset=utf-8",
        Some("css") => "text/css; charset=utf-8",
        Some("csv") => "text/csv; charset=utf-8",
        Some("svg") => "image/svg+xml",
        Some("png") => "image/png",
        Some("txt" | "md" | "py" | "R") => "text/plain; charset=utf-8",
        _ => "application/octet-stream",
    };
    reply::body(StatusCode::OK, HeaderValue::from_static(kind), Bytes::from(bytes))
}

fn percent_decoded(text: &str) -> Option<String> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((&first, tail)) = rest.split_first() {
        rest = tail;
        if first == b'%' {
            let digits = std::str::from_utf8(tail.get(..2)?).ok()?;
            bytes.push(u8::from_str_radix(digits, 16).ok()?);
            rest = tail.get(2..)?;
        } else {
            bytes.push(first);
        }
    }
    String::from_utf8(bytes).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_fall_into_their_parts() {
        assert_eq!(by_guid("/content/abc/stocks/"), Some(("abc", "/stocks/")));
        assert_eq!(by_guid("/content/abc"), Some(("abc", "")));
        assert_eq!(by_guid("/connect/"), None);
        assert_eq!(by_bundle("/_bundle12/stocks/"), Some((12, "/stocks/")));
        assert_eq!(by_bundle("/_bundle12"), Some((12, "/")));
        assert_eq!(by_bundle("/_bundlex/"), None);
        assert_eq!(by_bundle("/stocks/"), None);
    }

    #[test]
    fn percent_signs_are_decoded_or_refused() {
        assert_eq!(percent_decoded("/a%20b"), Some("/a b".to_owned()));
        assert_eq!(percent_decoded("/%2e%2e/x"), Some("/../x".to_owned()));
        for bad in ["/%", "/%2", "/%zz", "/%ff"] {
            assert_eq!(percent_decoded(bad), None, "{bad}");
        }
    }

    #[tokio::test]
    async fn files_are_served_from_the_bundle_and_from_nowhere_else() {
        let dir = tempfile::tempdir().unwrap();
        let root = dir.path().join("app");
        std::fs::create_dir(&root).unwrap();
        std::fs::write(root.join("index.html"), "hello").unwrap();
        std::fs::write(dir.path().join("secret"), "no").unwrap();
        assert_eq!(file(&root, "/").await.status(), 200);
        assert_eq!(file(&root, "/index.html").await.status(), 200);
        for outside in ["/../secret", "/%2e%2e/secret", "/..%2fsecret", "/nothing"] {
            assert_eq!(file(&root, outside).await.status(), 404, "{outside}");
        }
    }
}
