//! A server for the tests of this module: it answers as it is told and keeps what it was asked. Not the sandbox.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use axum::body::{Body, to_bytes};
use axum::extract::{Request, State};
use axum::response::Response;
use bytes::Bytes;
use serde_json::{Value, json};

use super::address::ServerAddress;
use super::api::Client;
use super::transport::ClientConfig;
use crate::secret::ApiKey;

pub(super) const KEY: &str = "stubkey4711";

/// A request as the server got it.
#[derive(Debug, Clone)]
pub(super) struct Seen {
    pub(super) method: String,
    pub(super) path: String,
    pub(super) key: Option<String>,
    pub(super) cookie: Option<String>,
    pub(super) content_type: Option<String>,
    pub(super) body: Bytes,
}

pub(super) type Answers = dyn Fn(&Seen) -> Response<Body> + Send + Sync;

#[derive(Clone)]
pub(super) struct Stub {
    pub(super) url: String,
    seen: Arc<Mutex<Vec<Seen>>>,
    answers: Arc<Answers>,
    delay: Duration,
}

impl Stub {
    pub(super) async fn start(answers: impl Fn(&Seen) -> Response<Body> + Send + Sync + 'static) -> Stub {
        Stub::slow(Duration::ZERO, answers).await
    }

    pub(super) async fn slow(
        delay: Duration,
        answers: impl Fn(&Seen) -> Response<Body> + Send + Sync + 'static,
    ) -> Stub {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}/", listener.local_addr().unwrap());
        let stub = Stub { url, seen: Arc::default(), answers: Arc::new(answers), delay };
        let app = axum::Router::new().fallback(handle).with_state(stub.clone());
        tokio::spawn(async move { axum::serve(listener, app).await });
        stub
    }

    pub(super) fn client(&self) -> Client {
        Client::new(self.config()).unwrap()
    }

    pub(super) fn config(&self) -> ClientConfig {
        let mut config = ClientConfig::new(ServerAddress::parse(&self.url).unwrap(), ApiKey::new(KEY));
        config.timeout = Duration::from_secs(5);
        config
    }

    pub(super) fn seen(&self) -> Vec<Seen> {
        self.seen.lock().unwrap().clone()
    }

    /// `GET /path` of every request.
    pub(super) fn calls(&self) -> Vec<String> {
        self.seen().iter().map(|seen| format!("{} {}", seen.method, seen.path)).collect()
    }
}

async fn handle(State(stub): State<Stub>, request: Request) -> Response<Body> {
    let (head, body) = request.into_parts();
    let header = |name: &str| head.headers.get(name).map(|value| value.to_str().unwrap().to_owned());
    let seen = Seen {
        method: head.method.to_string(),
        path: head.uri.path_and_query().unwrap().to_string(),
        key: header("authorization"),
        cookie: header("cookie"),
        content_type: header("content-type"),
        body: to_bytes(body, 1 << 24).await.unwrap(),
    };
    stub.seen.lock().unwrap().push(seen.clone());
    tokio::time::sleep(stub.delay).await;
    (stub.answers)(&seen)
}

pub(super) fn reply(status: u16, media_type: &str, body: impl Into<Body>) -> Response<Body> {
    Response::builder().status(status).header("content-type", media_type).body(body.into()).unwrap()
}

pub(super) fn json_reply(status: u16, body: &Value) -> Response<Body> {
    reply(status, "application/json; charset=utf-8", body.to_string())
}

pub(super) fn error_reply(status: u16, code: i64, text: &str) -> Response<Body> {
    json_reply(status, &json!({"code": code, "error": text, "payload": null}))
}

/// Content items in memory, enough of them to publish to and to delete.
#[derive(Default)]
pub(super) struct Store {
    pub(super) items: BTreeMap<String, Value>,
    /// Statuses to answer deletions with before they work.
    pub(super) refuse_deletions: usize,
    /// What the application answers; status 0 is the Flask application's own answer.
    pub(super) application: (u16, String),
}

pub(super) type Shared = Arc<Mutex<Store>>;

pub(super) const ME: &str = "user-1";

/// A server over a store.
pub(super) async fn over(store: Shared) -> Stub {
    Stub::start(move |seen| store.lock().unwrap().answer(seen)).await
}

impl Store {
    pub(super) fn add(&mut self, guid: &str, name: &str, description: &str, owner: &str) {
        let item = json!({
            "guid": guid, "name": name, "description": description, "owner_guid": owner, "access_type": "acl",
            "created_time": "2025-06-01T00:00:00Z", "bundle_id": null, "app_mode": "unknown",
        });
        self.items.insert(guid.to_owned(), item);
    }

    fn answer(&mut self, seen: &Seen) -> Response<Body> {
        let (path, query) = seen.path.split_once('?').unwrap_or((&seen.path, ""));
        let segments: Vec<&str> = path.split('/').skip(1).collect();
        let body: Value = serde_json::from_slice(&seen.body).unwrap_or_default();
        match (seen.method.as_str(), &segments[..]) {
            ("GET", ["__api__", "v1", "user"]) => json_reply(200, &json!({"guid": ME, "username": "u"})),
            ("GET", ["__api__", "v1", "content"]) => self.list(query),
            ("POST", ["__api__", "v1", "content"]) => {
                let guid = format!("guid-{}", self.items.len());
                let text = |field: &str| body[field].as_str().unwrap().to_owned();
                self.add(&guid, &text("name"), &text("description"), ME);
                json_reply(200, &self.items[&guid])
            }
            ("POST", ["__api__", "v1", "content", _, "bundles"]) => json_reply(200, &json!({"id": "5"})),
            ("POST", ["__api__", "v1", "content", _, "deploy"]) => json_reply(202, &json!({"task_id": "T1"})),
            ("GET", ["__api__", "v1", "tasks", _]) => json_reply(200, &json!({"finished": true, "last": 0})),
            (method, ["__api__", "v1", "content", guid]) => self.item(method, guid, &body),
            ("GET", ["content", guid, ..]) if self.items.contains_key(*guid) => self.application(seen, guid),
            _ => error_reply(404, 4, "not found"),
        }
    }

    fn list(&self, query: &str) -> Response<Body> {
        let (field, value) = query.split_once('=').unwrap_or(("", ""));
        let found: Vec<&Value> = self.items.values().filter(|item| field.is_empty() || item[field] == value).collect();
        json_reply(200, &json!(found))
    }

    fn item(&mut self, method: &str, guid: &str, body: &Value) -> Response<Body> {
        let Some(item) = self.items.get_mut(guid) else { return error_reply(404, 4, "not found") };
        match method {
            "PATCH" => {
                for (field, value) in body.as_object().unwrap() {
                    item[field] = value.clone();
                }
                json_reply(200, item)
            }
            "DELETE" if self.refuse_deletions > 0 => {
                self.refuse_deletions -= 1;
                error_reply(500, 1, "database is locked")
            }
            "DELETE" => {
                self.items.remove(guid);
                reply(204, "text/plain", "")
            }
            _ => json_reply(200, item),
        }
    }

    fn application(&self, seen: &Seen, guid: &str) -> Response<Body> {
        if self.items[guid]["access_type"] != "all" && seen.key.is_none() {
            return reply(401, "text/plain", "log in");
        }
        match &self.application {
            (0, _) => json_reply(200, &json!({"ticker": "AAPL", "price": 1.5, "volatility": 2.5})),
            (status, body) => reply(*status, "text/html", body.clone()),
        }
    }
}
