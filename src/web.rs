//! The live page: a run in a browser while it is on. Read-only, on a thread of its own, with the figures and plots of the
//! report made by the same code.
//!
//! Nobody sees it who was not told the address: its path is a random token. A page of another origin, or one that was
//! talked into a name of this machine (DNS rebinding), gets nothing; the page's own policy lets it load nothing but
//! itself and ask nobody but us. Who comes late sees the run from its beginning.

mod page;
mod run;

use std::convert::Infallible;
use std::io;
use std::net::{IpAddr, SocketAddr, TcpListener};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

use axum::Router;
use axum::extract::{Path, Request, State};
use axum::http::header::{
    CACHE_CONTROL, CONTENT_SECURITY_POLICY, CONTENT_TYPE, HOST, ORIGIN, REFERRER_POLICY, X_CONTENT_TYPE_OPTIONS,
};
use axum::http::{HeaderMap, Method, StatusCode};
use axum::middleware::{Next, from_fn};
use axum::response::sse::{Event, Sse};
use axum::response::{IntoResponse as _, Response};
use axum::routing::get;
use futures_util::stream::{Stream, unfold};
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};
use tokio::sync::oneshot;

use crate::door;

pub use run::News;
use run::Watched;

/// How often the sentence is sent.
const TICK: Duration = Duration::from_secs(1);
/// Every so many ticks the figures and plots are made again, if somebody looks.
const REDRAW: u64 = 2;
/// Pages that are open at once.
const MOST_READERS: usize = 16;
/// How long the end of the process waits for the last state to be sent.
const FAREWELL: Duration = Duration::from_secs(3);

/// A running page; it ends with this value.
#[derive(Debug)]
pub struct Web {
    address: String,
    news: UnboundedSender<News>,
    stop: Option<oneshot::Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl Web {
    /// Listens from now on. Port 0 is any that is free.
    ///
    /// # Errors
    /// Where the address cannot be had.
    pub fn start(address: SocketAddr) -> io::Result<Web> {
        let listener = TcpListener::bind(address)?;
        listener.set_nonblocking(true)?;
        let address = listener.local_addr()?;
        let token = uuid::Uuid::new_v4().simple().to_string();
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let (stop, stopped) = oneshot::channel();
        let (news, told) = unbounded_channel();
        let readers = Arc::new(AtomicUsize::new(0));
        let desk = Arc::new(Desk { token: token.clone(), watched: Mutex::default(), readers: readers.clone() });
        let farewell = async move {
            // Either way the run is over.
            let _ = stopped.await;
            // Those who look see the last state; nobody waits where nobody looks.
            let looking = async {
                while readers.load(Ordering::SeqCst) > 0 {
                    tokio::time::sleep(Duration::from_millis(20)).await;
                }
            };
            // After that they look at a page that is gone.
            let _ = tokio::time::timeout(FAREWELL, looking).await;
        };
        let serve = async move {
            let listener = match tokio::net::TcpListener::from_std(listener) {
                Ok(listener) => listener,
                Err(e) => return tracing::error!("web: {e}"),
            };
            let follow = follow(desk.clone(), told);
            tokio::select! {
                // Both end only with this thread.
                () = door::serve(listener, router(desk)) => {}
                () = follow => {}
                () = farewell => {}
            }
        };
        let thread = std::thread::Builder::new().name("web".to_owned()).spawn(move || runtime.block_on(serve))?;
        let address = format!("http://{address}/{token}/");
        Ok(Web { address, news, stop: Some(stop), thread: Some(thread) })
    }

    /// Where the page is, token included.
    #[must_use]
    pub fn address(&self) -> &str {
        &self.address
    }

    /// Something happened.
    pub fn tell(&self, news: News) {
        // A page that broke costs the run nothing.
        let _ = self.news.send(news);
    }
}

impl Drop for Web {
    fn drop(&mut self) {
        self.tell(News::Over);
        drop(self.stop.take());
        if let Some(thread) = self.thread.take() {
            // It has nothing that could be lost.
            let _ = thread.join();
        }
    }
}

/// What the handlers know.
struct Desk {
    token: String,
    watched: Mutex<Watched>,
    readers: Arc<AtomicUsize>,
}

impl Desk {
    fn watched(&self) -> MutexGuard<'_, Watched> {
        self.watched.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

async fn follow(desk: Arc<Desk>, mut told: UnboundedReceiver<News>) {
    while let Some(news) = told.recv().await {
        desk.watched().take(news);
    }
    std::future::pending::<()>().await;
}

fn router(desk: Arc<Desk>) -> Router {
    Router::new()
        .route("/{token}/", get(show))
        .route("/{token}/events", get(events))
        .fallback(async || refused(StatusCode::NOT_FOUND, "there is nothing here"))
        .method_not_allowed_fallback(async || refused(StatusCode::METHOD_NOT_ALLOWED, "this page can only be read"))
        .with_state(desk)
        .layer(from_fn(guard))
}

/// Refuses what another page may have caused, and seals what is answered.
async fn guard(request: Request, next: Next) -> Response {
    let mut response = match refuse(request.method(), request.headers()) {
        Some(why) => refused(StatusCode::FORBIDDEN, why),
        None => next.run(request).await,
    };
    let seal = [
        (CONTENT_SECURITY_POLICY, page::policy()),
        (X_CONTENT_TYPE_OPTIONS, "nosniff".to_owned()),
        (REFERRER_POLICY, "no-referrer".to_owned()),
        (CACHE_CONTROL, "no-store".to_owned()),
    ];
    for (name, value) in seal {
        if let Ok(value) = value.parse() {
            response.headers_mut().insert(name, value);
        }
    }
    response
}

fn refuse(method: &Method, headers: &HeaderMap) -> Option<&'static str> {
    if !matches!(*method, Method::GET | Method::HEAD) {
        return Some("this page can only be read");
    }
    let mut hosts = headers.get_all(HOST).iter();
    let host = hosts.next().and_then(|host| host.to_str().ok()).unwrap_or_default();
    if hosts.next().is_some() || !is_address(host) {
        return Some("ask by the address that was printed: localhost, or the number of an address");
    }
    match headers.get(ORIGIN) {
        // A browser says where a request of a page comes from; ours come from here.
        Some(origin) if origin.to_str().ok() != Some(&format!("http://{host}")) => Some("pages of others are refused"),
        _ => None,
    }
}

/// Whether a `Host` is an address by its number, or `localhost`: no other name leads here rightly.
fn is_address(host: &str) -> bool {
    host.parse::<SocketAddr>().is_ok()
        || host.parse::<IpAddr>().is_ok_and(|ip| ip.is_ipv4())
        || host.strip_prefix("localhost").is_some_and(|port| {
            port.is_empty() || port.strip_prefix(':').is_some_and(|port| port.parse::<u16>().is_ok())
        })
}

fn refused(status: StatusCode, why: &'static str) -> Response {
    (status, [(CONTENT_TYPE, "text/plain; charset=utf-8")], format!("{why}\n")).into_response()
}

async fn show(State(desk): State<Arc<Desk>>, Path(token): Path<String>) -> Response {
    if token != desk.token {
        return refused(StatusCode::NOT_FOUND, "there is nothing here");
    }
    (StatusCode::OK, [(CONTENT_TYPE, "text/html; charset=utf-8")], page::page(&desk.watched().body())).into_response()
}

/// One who looks.
struct Reader {
    desk: Arc<Desk>,
    ticks: u64,
    /// Whether the last state was sent.
    is_over: bool,
    /// Events that are to be sent next.
    waiting: Vec<Event>,
}

impl Drop for Reader {
    fn drop(&mut self) {
        self.desk.readers.fetch_sub(1, Ordering::SeqCst);
    }
}

async fn events(State(desk): State<Arc<Desk>>, Path(token): Path<String>) -> Response {
    if token != desk.token {
        return refused(StatusCode::NOT_FOUND, "there is nothing here");
    }
    if desk.readers.fetch_add(1, Ordering::SeqCst) >= MOST_READERS {
        desk.readers.fetch_sub(1, Ordering::SeqCst);
        return refused(StatusCode::SERVICE_UNAVAILABLE, "too many pages are open");
    }
    Sse::new(stream(Reader { desk, ticks: 0, is_over: false, waiting: Vec::new() })).into_response()
}

/// `now` each second: a sentence, as JSON; `body` every other: figures and plots, as HTML; `over` at the end.
fn stream(reader: Reader) -> impl Stream<Item = Result<Event, Infallible>> {
    unfold(reader, async |mut reader| {
        if let Some(event) = reader.waiting.pop() {
            return Some((Ok(event), reader));
        }
        if reader.is_over {
            return None;
        }
        if reader.ticks > 0 {
            tokio::select! {
                () = tokio::time::sleep(TICK) => {}
                () = over(&reader.desk) => {}
            }
        }
        reader.ticks += 1;
        let mut watched = reader.desk.watched();
        reader.is_over = watched.is_over();
        let redraws = reader.is_over || reader.ticks % REDRAW == 1;
        let mut waiting = vec![Event::default().event("now").data(watched.now().to_string())];
        if redraws {
            waiting.push(Event::default().event("body").data(watched.body()));
        }
        if reader.is_over {
            waiting.push(Event::default().event("over").data("over"));
        }
        drop(watched);
        waiting.reverse();
        reader.waiting = waiting;
        reader.waiting.pop().map(|event| (Ok(event), reader))
    })
}

/// Waits until there will be no more.
async fn over(desk: &Desk) {
    while !desk.watched().is_over() {
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_asks_by_a_name_or_from_another_page_is_refused() {
        for host in ["127.0.0.1:8080", "127.0.0.1", "localhost", "localhost:1", "[::1]:8080", "10.0.0.7:80"] {
            assert!(is_address(host), "{host}");
        }
        for host in ["", "example.com", "localhost.example.com", "127.0.0.1.example.com:80", "localhost:x", "a:1"] {
            assert!(!is_address(host), "{host}");
        }
        let asked = |origin: Option<&str>| {
            let mut headers = HeaderMap::new();
            headers.insert(HOST, "127.0.0.1:8080".parse().unwrap());
            origin.map(|origin| headers.insert(ORIGIN, origin.parse().unwrap()));
            refuse(&Method::GET, &headers)
        };
        assert_eq!((asked(None), asked(Some("http://127.0.0.1:8080"))), (None, None));
        assert!(asked(Some("http://example.com")).is_some() && asked(Some("null")).is_some());
        assert!(refuse(&Method::POST, &HeaderMap::new()).is_some());
    }
}
