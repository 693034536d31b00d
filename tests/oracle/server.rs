//! A server that writes down each request: who sent it, when it came, and whether it could be answered.
//!
//! `/?ms=20&status=200&vu=1&iter=0` is answered after 20 ms with that status. Requests without `vu` are not written
//! down: they are those that a tool sends before its run.

use std::convert::Infallible;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use http::header::LOCATION;
use http::{Request, Response};
use http_body_util::Full;
use hyper::body::{Bytes, Incoming};
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use tokio::sync::oneshot;

/// A request.
#[derive(Debug, Clone)]
pub(crate) struct Seen {
    /// The scenario that says it sent it.
    pub(crate) scenario: String,
    /// The VU's number, as the tool has it.
    pub(crate) vu: u32,
    /// The VU's iteration.
    pub(crate) iteration: u32,
    /// When its head was read, since the server began.
    pub(crate) came: Duration,
    /// When it was answered; `None` where the client went away first.
    pub(crate) answered: Option<Duration>,
}

type Log = Arc<Mutex<Vec<Seen>>>;

/// The server, on a thread of its own: what the test does meanwhile does not delay it.
pub(crate) struct Server {
    pub(crate) url: String,
    log: Log,
    /// Dropped, it ends the server.
    _stop: oneshot::Sender<()>,
}

impl Server {
    pub(crate) fn start() -> Server {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        listener.set_nonblocking(true).unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let (stop, stopped) = oneshot::channel();
        let log = Log::default();
        let (kept, began) = (log.clone(), Instant::now());
        std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
            runtime.block_on(async move {
                let listener = tokio::net::TcpListener::from_std(listener).unwrap();
                tokio::select! {
                    () = serve(listener, kept, began) => {}
                    _ = stopped => {}
                }
            });
        });
        Server { url, log, _stop: stop }
    }

    /// What came, in the order in which it came.
    pub(crate) fn seen(&self) -> Vec<Seen> {
        self.log.lock().unwrap().clone()
    }
}

async fn serve(listener: tokio::net::TcpListener, log: Log, began: Instant) {
    while let Ok((stream, _)) = listener.accept().await {
        let log = log.clone();
        let service = service_fn(move |request| answer(request, log.clone(), began));
        tokio::spawn(async move {
            let connection = hyper::server::conn::http1::Builder::new();
            // A client that goes away is no fault here: what it left unanswered is in the log.
            let _ = connection.serve_connection(TokioIo::new(stream), service).await;
        });
    }
}

async fn answer(request: Request<Incoming>, log: Log, began: Instant) -> Result<Response<Full<Bytes>>, Infallible> {
    let came = began.elapsed();
    let query = request.uri().query().unwrap_or_default();
    let fields: Vec<(&str, &str)> = query.split('&').filter_map(|field| field.split_once('=')).collect();
    let text = |name: &str| fields.iter().find(|(key, _)| *key == name).map(|(_, value)| *value);
    let number = |name: &str| text(name).and_then(|value| value.parse::<u32>().ok());
    let at = number("vu").map(|vu| {
        let (scenario, iteration) = (text("scenario").unwrap_or_default().to_owned(), number("iter").unwrap_or(0));
        let mut log = log.lock().unwrap();
        log.push(Seen { scenario, vu, iteration, came, answered: None });
        log.len() - 1
    });
    tokio::time::sleep(Duration::from_millis(number("ms").unwrap_or(0).into())).await;
    let status = u16::try_from(number("status").unwrap_or(200)).unwrap();
    let mut response = Response::builder().status(status);
    if status == 302 {
        // The target says who asked, too: each hop is a request.
        response = response.header(LOCATION, format!("/?{}", query.replace("status=302", "status=200")));
    }
    if let Some(at) = at {
        log.lock().unwrap()[at].answered = Some(began.elapsed());
    }
    Ok(response.body(Full::new(Bytes::from_static(b"{\"ok\":true}"))).unwrap())
}
