//! A receiver of metrics: told once a second by a task of its own, again after a pause where it does not answer.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use anyhow::anyhow;
use reqwest::StatusCode;
use reqwest::redirect::Policy;
use serde_json::json;
use tokio::sync::mpsc::{Receiver as Inbox, Sender, channel};
use tokio::time::{Instant, sleep};
use url::Url;

use super::super::failure::Failure;
use crate::report::live::{Snapshot, otlp, prometheus};

/// Seconds that wait to be told: two minutes in which a receiver may be restarted.
const WAITING: usize = 120;
/// Most seconds in one request.
const MOST_AT_ONCE: usize = 30;
/// How long a request may take.
const WITHIN: Duration = Duration::from_secs(5);
/// Pause after a first request without an answer; doubled after each further one.
const FIRST_PAUSE: Duration = Duration::from_millis(500);
const LONGEST_PAUSE: Duration = Duration::from_secs(8);

/// How a receiver is told.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Protocol {
    /// Prometheus' remote write 1.0.
    Prometheus,
    /// OTLP metrics over HTTP, protobuf.
    Otlp,
}

impl Protocol {
    fn name(self) -> &'static str {
        match self {
            Protocol::Prometheus => "prometheus",
            Protocol::Otlp => "otlp",
        }
    }

    /// Where it is where nobody says: k6's and the collector's own default.
    pub(super) fn default_url(self) -> &'static str {
        match self {
            Protocol::Prometheus => "http://localhost:9090",
            Protocol::Otlp => "http://localhost:4318",
        }
    }

    /// The whole address; an address without a path gets the usual one.
    pub(super) fn url(self, text: &str) -> Result<Url, String> {
        let wrong = || format!("write an address: {}=http://HOST:PORT", self.name());
        let mut url: Url = text.parse().map_err(|_e| wrong())?;
        if !["http", "https"].contains(&url.scheme()) || url.host().is_none() {
            return Err(wrong());
        }
        if url.path() == "/" {
            url.set_path(match self {
                Protocol::Prometheus => "/api/v1/write",
                Protocol::Otlp => "/v1/metrics",
            });
        }
        Ok(url)
    }

    fn body(self, snapshots: &[Snapshot]) -> Result<Vec<u8>, String> {
        match self {
            Protocol::Prometheus => prometheus::encode(snapshots).map_err(|e| e.to_string()),
            Protocol::Otlp => Ok(otlp::encode(snapshots)),
        }
    }

    fn headers(self) -> &'static [(&'static str, &'static str)] {
        match self {
            Protocol::Prometheus => &prometheus::HEADERS,
            Protocol::Otlp => &otlp::HEADERS,
        }
    }
}

/// What became of the seconds.
#[derive(Debug, Clone, Default)]
struct Told {
    accepted: u64,
    refused: u64,
    retries: u64,
    problem: Option<String>,
}

/// A receiver.
pub(super) struct Receiver {
    name: String,
    protocol: Protocol,
    inbox: Sender<Snapshot>,
    told: Arc<Mutex<Told>>,
    /// Seconds that were handed over.
    given: u64,
    /// Seconds for which there was no room.
    dropped: u64,
    task: tokio::task::JoinHandle<()>,
}

impl Receiver {
    /// Gets ready; nothing is sent before a run is on.
    pub(super) fn start(protocol: Protocol, url: Url) -> Result<Receiver, Failure> {
        let mut shown = url.clone();
        // What cannot have a user has none.
        let _ = shown.set_username("").and_then(|()| shown.set_password(None));
        let name = format!("{}={shown}", protocol.name());
        // A client of its own: no key, no cookie of the run is in it.
        let client = reqwest::Client::builder().timeout(WITHIN).redirect(Policy::none()).build();
        let client = client.map_err(|e| Failure::invalid(anyhow!("--out {name}: {e}")))?;
        let told: Arc<Mutex<Told>> = Arc::default();
        let (inbox, received) = channel(WAITING);
        let task = tokio::spawn(tell((protocol, client, url), received, told.clone()));
        Ok(Receiver { name, protocol, inbox, told, given: 0, dropped: 0, task })
    }

    /// Never waits: where two minutes wait already, this second is dropped.
    pub(super) fn send(&mut self, snapshot: &Snapshot) {
        match self.inbox.try_send(snapshot.clone()) {
            Ok(()) => self.given += 1,
            Err(_full) => self.dropped += 1,
        }
    }

    /// Waits for what was handed over, and says what became of it.
    pub(super) async fn flush(&mut self, until: Instant) -> super::Told {
        let read = || self.told.lock().unwrap_or_else(PoisonError::into_inner).clone();
        while read().accepted + read().refused < self.given && Instant::now() < until {
            sleep(Duration::from_millis(20)).await;
        }
        let told = read();
        let late = self.given.saturating_sub(told.accepted + told.refused);
        let lost = late + told.refused + self.dropped;
        let name = &self.name;
        let event = json!({"event": "out", "out": name, "protocol": self.protocol.name(), "seconds": told.accepted,
            "lost": lost, "retries": told.retries, "fault": told.problem});
        let warning = (lost > 0).then(|| {
            let of = self.given + self.dropped;
            let why = told.problem.map_or_else(String::new, |why| format!(": {why}"));
            format!("--out {name}: {lost} of {of} seconds did not get there{why}; the run's own result has them all")
        });
        (event, warning)
    }
}

impl Drop for Receiver {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// What came back.
enum Answer {
    Taken,
    /// It will say the same again.
    Refused(String),
    /// It may take it later.
    Later(String),
}

async fn tell(
    (protocol, client, url): (Protocol, reqwest::Client, Url),
    mut inbox: Inbox<Snapshot>,
    told: Arc<Mutex<Told>>,
) {
    let note = |change: &dyn Fn(&mut Told)| change(&mut told.lock().unwrap_or_else(PoisonError::into_inner));
    while let Some(first) = inbox.recv().await {
        let mut batch = vec![first];
        while batch.len() < MOST_AT_ONCE
            && let Ok(next) = inbox.try_recv()
        {
            batch.push(next);
        }
        let seconds = batch.len() as u64;
        let mut pause = FIRST_PAUSE;
        loop {
            let answer = match protocol.body(&batch) {
                Ok(body) => post(&client, &url, protocol, body).await,
                Err(why) => Answer::Refused(why),
            };
            match answer {
                Answer::Taken => {
                    note(&|told| told.accepted += seconds);
                    break;
                }
                Answer::Refused(why) => {
                    note(&|told| {
                        told.refused += seconds;
                        told.problem = Some(why.clone());
                    });
                    break;
                }
                Answer::Later(why) => {
                    note(&|told| {
                        told.retries += 1;
                        told.problem = Some(why.clone());
                    });
                    sleep(pause).await;
                    pause = (pause * 2).min(LONGEST_PAUSE);
                }
            }
        }
    }
}

async fn post(client: &reqwest::Client, url: &Url, protocol: Protocol, body: Vec<u8>) -> Answer {
    let mut request = client.post(url.clone()).body(body);
    for (name, value) in protocol.headers() {
        request = request.header(*name, *value);
    }
    let status = match request.send().await {
        Ok(response) => response.status(),
        // Without its address, which may have a password in it.
        Err(e) => return Answer::Later(reason(e.without_url())),
    };
    match status {
        status if status.is_success() => Answer::Taken,
        StatusCode::TOO_MANY_REQUESTS | StatusCode::REQUEST_TIMEOUT => Answer::Later(format!("it answered {status}")),
        status if status.is_server_error() => Answer::Later(format!("it answered {status}")),
        status => Answer::Refused(format!("it answered {status}")),
    }
}

/// The error with what is behind it.
fn reason(e: reqwest::Error) -> String {
    format!("{:#}", anyhow::Error::from(e))
}
