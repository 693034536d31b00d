//! One call of the API and everything about it that is the same for all: the key, redirects, retries, counts, and what
//! its failure is called.

use std::net::IpAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use http::header::{AUTHORIZATION, CONTENT_TYPE, COOKIE, LOCATION};
use http::{HeaderMap, HeaderValue, Method};
use rand::RngExt;
use serde::{Deserialize, Serialize};
use url::Url;

use super::address::ServerAddress;
use super::error::{ApiError, presentable};
use super::types::ErrorBody;
use crate::connection_options::{Hosts, Proxy};
use crate::secret::ApiKey;

/// How often a call that is safe to repeat is sent at most.
const ATTEMPTS: u32 = 4;
/// The first pause before a repetition; it doubles, and is jittered down to its half.
const FIRST_PAUSE: Duration = Duration::from_millis(250);
/// How many redirects are followed.
const REDIRECTS: u32 = 5;
/// The longest answer that is read.
const MAX_BODY: usize = 64 << 20;

/// Whose signature a server's certificate may have besides those that this machine trusts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum CaCert {
    /// A PEM file.
    File(PathBuf),
    /// PEM text.
    Pem(String),
}

/// How to reach a server. Has no `Debug`: it holds the key.
#[derive(Clone)]
pub struct ClientConfig {
    /// The server.
    pub server: ServerAddress,
    /// The key; `None` reaches only what is public.
    pub key: Option<ApiKey>,
    /// A further certificate authority.
    pub cacert: Option<CaCert>,
    /// Accept any certificate.
    pub insecure: bool,
    /// Time-out of one exchange, connecting included.
    pub timeout: Duration,
    /// Send the key over plain http to another machine.
    pub allow_http: bool,
    /// How the server is reached.
    pub route: Route,
}

/// How the server is reached, where it is not simply by its name: the same as on the load path.
#[derive(Debug, Clone, Default)]
pub struct Route {
    /// Names whose addresses are given.
    pub hosts: Hosts,
    /// The proxy to go through. What the environment says of one is not looked at here.
    pub proxy: Option<Proxy>,
    /// The address of this machine that connections come from.
    pub local: Option<IpAddr>,
}

impl Route {
    fn apply(&self, server: &Url, builder: reqwest::ClientBuilder) -> Result<reqwest::ClientBuilder, reqwest::Error> {
        let mut builder = builder.no_proxy().local_address(self.local);
        let to = self.proxy.as_ref().map(|proxy| (proxy.address.host.as_str(), proxy.address.port));
        let to = to.or(server.host_str().zip(server.port_or_known_default()));
        if let Some((host, port)) = to
            && let Some(address) = self.hosts.get(host, port)
        {
            builder = builder.resolve(host, address);
        }
        if let Some(proxy) = &self.proxy {
            let mut through = reqwest::Proxy::all(proxy.address.to_string())?;
            if let Some(credentials) = &proxy.credentials
                && let Ok(mut header) = HeaderValue::from_str(credentials.header())
            {
                header.set_sensitive(true);
                through = through.custom_http_auth(header);
            }
            builder = builder.proxy(through);
        }
        Ok(builder)
    }
}

impl ClientConfig {
    /// The usual configuration: certificates verified, 60 s, no key over plain http.
    #[must_use]
    pub fn new(server: ServerAddress, key: Option<ApiKey>) -> ClientConfig {
        ClientConfig {
            server,
            key,
            cacert: None,
            insecure: false,
            timeout: Duration::from_secs(60),
            allow_http: false,
            route: Route::default(),
        }
    }
}

/// How many requests a client sent; a repetition and a followed redirect are requests of their own.
#[derive(Debug, Default)]
pub struct ApiCounts {
    sent: AtomicU64,
    completed: AtomicU64,
    failed: AtomicU64,
    unconnected: AtomicU64,
}

/// A reading of [`ApiCounts`].
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ApiCount {
    /// Requests begun; the sum of the other three when none is under way.
    pub sent: u64,
    /// Answered with a status below 400.
    pub completed: u64,
    /// Answered with an error, or not (completely) answered.
    pub failed: u64,
    /// Never left this machine, because there was no connection: a server cannot have counted these.
    pub unconnected: u64,
}

impl ApiCount {
    /// How many requests the server may have seen, which is what it should have counted.
    #[must_use]
    pub fn reached(&self) -> u64 {
        self.sent - self.unconnected
    }
}

impl ApiCounts {
    /// The counts so far.
    #[must_use]
    pub fn read(&self) -> ApiCount {
        ApiCount {
            sent: self.sent.load(Ordering::Relaxed),
            completed: self.completed.load(Ordering::Relaxed),
            failed: self.failed.load(Ordering::Relaxed),
            unconnected: self.unconnected.load(Ordering::Relaxed),
        }
    }

    fn begin(&self) -> Begun<'_> {
        self.sent.fetch_add(1, Ordering::Relaxed);
        Begun { counts: self, end: &self.failed }
    }
}

/// A request under way. One that is dropped, because its future was, counts as failed.
struct Begun<'a> {
    counts: &'a ApiCounts,
    end: &'a AtomicU64,
}

impl Begun<'_> {
    fn completed(mut self) {
        self.end = &self.counts.completed;
    }

    fn unconnected(mut self) {
        self.end = &self.counts.unconnected;
    }
}

impl Drop for Begun<'_> {
    fn drop(&mut self) {
        self.end.fetch_add(1, Ordering::Relaxed);
    }
}

/// A call to make.
pub(crate) struct Call {
    pub(crate) method: Method,
    pub(crate) url: Url,
    /// Media type and bytes.
    pub(crate) body: Option<(&'static str, Bytes)>,
    /// Time that the server may take on purpose (`wait`), on top of the time-out.
    pub(crate) patience: Duration,
    /// Whether the key goes with it.
    pub(crate) with_key: bool,
    /// Whether a redirect within the server is followed.
    pub(crate) follow: bool,
    /// Cookies that go with it instead of those of the jar.
    pub(crate) cookies: Option<String>,
}

impl Call {
    pub(crate) fn new(method: Method, url: Url) -> Call {
        Call { method, url, body: None, patience: Duration::ZERO, with_key: true, follow: true, cookies: None }
    }

    pub(crate) fn name(&self) -> String {
        format!("{} {}", self.method, self.url.path())
    }

    fn repeatable(&self) -> bool {
        matches!(self.method, Method::GET | Method::DELETE)
    }
}

/// A complete answer.
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Bytes,
}

impl Answer {
    /// The media type without parameters, in lower case; empty where there is none.
    pub(crate) fn media_type(&self) -> String {
        let value = self.headers.get(CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or("");
        value.split(';').next().unwrap_or("").trim().to_ascii_lowercase()
    }

    pub(crate) fn is_html(&self) -> bool {
        self.media_type() == "text/html" || self.body.trim_ascii_start().starts_with(b"<")
    }
}

/// Sends calls: one cookie jar, one pool of connections.
pub(crate) struct Transport {
    config: ClientConfig,
    http: reqwest::Client,
    counts: Arc<ApiCounts>,
}

impl Transport {
    pub(crate) fn new(config: ClientConfig) -> Result<Transport, ApiError> {
        let plain_key = config.key.is_some() && config.server.is_plain() && !config.server.is_loopback();
        if plain_key && !config.allow_http {
            return Err(ApiError::PlainHttp { server: config.server.to_string() });
        }
        let mut builder = reqwest::Client::builder()
            .user_agent(concat!("connect-bench/", env!("CARGO_PKG_VERSION")))
            .cookie_store(true)
            .connect_timeout(config.timeout)
            // Both would send requests that nobody counts.
            .redirect(reqwest::redirect::Policy::none())
            .retry(reqwest::retry::never());
        let unusable =
            |error: &reqwest::Error| ApiError::Tls { server: config.server.to_string(), detail: causes(error) };
        builder = config.route.apply(config.server.url(), builder).map_err(|error| unusable(&error))?;
        if !config.server.is_plain() {
            builder = builder.tls_certs_only(authorities(config.cacert.as_ref())?);
            builder = builder.tls_danger_accept_invalid_certs(config.insecure);
        }
        let http = builder.build().map_err(|error| unusable(&error))?;
        Ok(Transport { config, http, counts: Arc::default() })
    }

    pub(crate) fn config(&self) -> &ClientConfig {
        &self.config
    }

    pub(crate) fn counts(&self) -> &Arc<ApiCounts> {
        &self.counts
    }

    /// A text of the server as it may be shown.
    pub(crate) fn shown(&self, text: &str) -> String {
        match &self.config.key {
            Some(key) => presentable(&key.redact(text)),
            None => presentable(text),
        }
    }

    /// Makes a call; repeats it where that is safe. An error status is an answer here.
    pub(crate) async fn send(&self, call: &Call) -> Result<Answer, ApiError> {
        let mut pause = FIRST_PAUSE;
        for attempt in 1.. {
            let result = self.follow(call).await;
            let temporary = match &result {
                Ok(answer) => matches!(answer.status, 502..=504),
                Err(error) => matches!(error, ApiError::Refused { .. } | ApiError::Network { .. }),
            };
            if !temporary || !call.repeatable() || attempt >= ATTEMPTS {
                return result;
            }
            let jitter = rand::rng().random_range(0.5..=1.0);
            tokio::time::sleep(pause.mul_f64(jitter)).await;
            pause *= 2;
        }
        Err(ApiError::Network { call: call.name(), detail: "gave up".to_owned() })
    }

    /// Makes a call and follows redirects within the server.
    async fn follow(&self, call: &Call) -> Result<Answer, ApiError> {
        let mut url = call.url.clone();
        for _ in 0..=REDIRECTS {
            let answer = self.once(call, &url).await?;
            let target = answer.headers.get(LOCATION).and_then(|value| value.to_str().ok());
            let (301..=303 | 307 | 308, Some(target)) = (answer.status, target) else { return Ok(answer) };
            let Ok(next) = url.join(target) else { return Ok(answer) };
            if !self.config.server.same_origin(&next) {
                let to = self.shown(&next.origin().ascii_serialization());
                return Err(ApiError::Redirect { call: call.name(), to });
            }
            // What a repeated POST or DELETE would do there is not ours to guess.
            if call.method != Method::GET || !call.follow {
                return Ok(answer);
            }
            url = next;
        }
        Err(ApiError::Network { call: call.name(), detail: format!("more than {REDIRECTS} redirects") })
    }

    async fn once(&self, call: &Call, url: &Url) -> Result<Answer, ApiError> {
        let timeout = self.config.timeout + call.patience;
        let mut request = self.http.request(call.method.clone(), url.clone()).timeout(timeout);
        if let (Some(key), true) = (&self.config.key, call.with_key) {
            request = request.header(AUTHORIZATION, key.authorization());
        }
        if let Some(cookies) = &call.cookies {
            request = request.header(COOKIE, cookies);
        }
        if let Some((media_type, body)) = &call.body {
            request = request.header(CONTENT_TYPE, *media_type).body(body.clone());
        }
        let begun = self.counts.begin();
        match receive(request).await {
            Ok(answer) => {
                if answer.status < 400 {
                    begun.completed();
                }
                Ok(answer)
            }
            Err(error) => {
                if error.is_connect() {
                    begun.unconnected();
                }
                Err(self.network_error(call, &error))
            }
        }
    }

    fn network_error(&self, call: &Call, error: &reqwest::Error) -> ApiError {
        let server = self.config.server.to_string();
        let detail = self.shown(&causes(error));
        let lower = detail.to_ascii_lowercase();
        let has = |texts: &[&str]| texts.iter().any(|text| lower.contains(text));
        if error.is_connect() && has(&["dns error", "failed to lookup"]) {
            let host = self.config.server.url().host_str().unwrap_or_default().to_owned();
            ApiError::UnknownHost { host }
        } else if has(&["unknownissuer", "unknown issuer", "selfsigned", "caused as end entity"]) {
            ApiError::TlsUnknownAuthority { server }
        } else if has(&["certificate", "handshake", "invalid peer", "corrupt message", "tls"]) {
            ApiError::Tls { server, detail }
        } else if has(&["connection refused"]) {
            ApiError::Refused { server }
        } else if error.is_timeout() {
            ApiError::Timeout { call: call.name(), after: self.config.timeout + call.patience }
        } else {
            ApiError::Network { call: call.name(), detail }
        }
    }

    /// The error that an answer with an error status stands for.
    pub(crate) fn status_error(&self, call: &Call, answer: &Answer) -> ApiError {
        let server = self.config.server.to_string();
        let parsed: Option<ErrorBody> = serde_json::from_slice(&answer.body).ok();
        let code = parsed.as_ref().and_then(|body| body.code);
        let text = match parsed {
            Some(body) if !body.error.is_empty() => self.shown(&body.error),
            _ if answer.is_html() => "an HTML page instead of Connect's JSON".to_owned(),
            _ if answer.body.is_empty() => "an empty answer".to_owned(),
            _ => self.shown(&String::from_utf8_lossy(&answer.body)),
        };
        match answer.status {
            401 => ApiError::Unauthorised { server, code, text },
            403 => ApiError::Forbidden { call: call.name(), code, text },
            status => ApiError::Status { call: call.name(), status, code, text },
        }
    }
}

async fn receive(request: reqwest::RequestBuilder) -> Result<Answer, reqwest::Error> {
    let mut response = request.send().await?;
    let (status, headers) = (response.status().as_u16(), response.headers().clone());
    let mut body = BytesMut::new();
    while let Some(chunk) = response.chunk().await? {
        // Beyond the limit it is cut; what it is read as then fails to parse.
        let room = MAX_BODY - body.len();
        body.extend_from_slice(chunk.get(..room).unwrap_or(&chunk));
        if body.len() >= MAX_BODY {
            break;
        }
    }
    Ok(Answer { status, headers, body: body.freeze() })
}

/// The certificate authorities that are trusted: this machine's, and one given. The same as on the load path.
fn authorities(extra: Option<&CaCert>) -> Result<Vec<reqwest::Certificate>, ApiError> {
    let native = rustls_native_certs::load_native_certs();
    let mut all: Vec<_> = native.certs.iter().filter_map(|der| reqwest::Certificate::from_der(der).ok()).collect();
    let (path, pem) = match extra {
        None => return Ok(all),
        Some(CaCert::Pem(pem)) => ("of the saved server".to_owned(), pem.clone().into_bytes()),
        Some(CaCert::File(path)) => {
            let name = path.display().to_string();
            let pem = std::fs::read(path)
                .map_err(|error| ApiError::CaCert { path: name.clone(), detail: error.to_string() })?;
            (name, pem)
        }
    };
    let bundle = reqwest::Certificate::from_pem_bundle(&pem)
        .map_err(|error| ApiError::CaCert { path: path.clone(), detail: causes(&error) })?;
    if bundle.is_empty() {
        return Err(ApiError::CaCert { path, detail: "it holds no certificate in PEM form".to_owned() });
    }
    all.extend(bundle);
    Ok(all)
}

/// An error and its causes in one line; without the URL, which the caller names.
fn causes(error: &reqwest::Error) -> String {
    let mut text = String::new();
    let mut next: Option<&dyn std::error::Error> = std::error::Error::source(error);
    while let Some(cause) = next {
        if !text.is_empty() {
            text.push_str(": ");
        }
        text.push_str(&cause.to_string());
        next = cause.source();
    }
    if text.is_empty() { error.to_string() } else { text }
}
