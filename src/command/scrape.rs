//! `--server-metrics`: asks servers how they are while a run is on. Tasks of their own ask, within a time and a length, and
//! none of it can end a run: a server that does not answer is an event with a reason.

use std::time::Duration;

use anyhow::{Context as _, anyhow};
use http::header::ACCEPT;
use reqwest::redirect::Policy;
use tokio::sync::mpsc::{Receiver, Sender, channel};
use tokio::task::JoinHandle;
use tokio::time::{Instant, MissedTickBehavior};
use url::Url;

use super::connection::Connections;
use super::failure::Failure;
use super::target::Aim;
use crate::cli::ScrapeArgs;
use crate::http::tls::ExtraRoots;
use crate::posit_connect::{CaCert, ServerAddress};
use crate::server_metrics::{Scrape, read};

/// How long a server may take to answer.
const WITHIN: Duration = Duration::from_secs(3);
/// The longest answer that is read: a large server's is a tenth of it.
const LONGEST: usize = 4 << 20;
/// Most servers that are asked.
const MOST: usize = 32;
/// How often they may be asked.
const EVERY: [Duration; 2] = [Duration::from_secs(1), Duration::from_secs(60)];
/// Answers that may wait for the run to take them.
const WAITING: usize = 64;

/// Who is to be asked, and how often.
#[derive(Debug, Clone, Default)]
pub(super) struct Scrapes {
    places: Vec<Endpoint>,
    every: Duration,
}

/// A server's page of metrics. Its client has no key: nobody but Connect gets that, and not for this.
#[derive(Debug, Clone)]
struct Endpoint {
    url: Url,
    /// Without a user's name and password.
    shown: String,
    client: reqwest::Client,
}

impl Scrapes {
    /// As the command line has it, of a run that is aimed there.
    pub(super) fn of(args: &ScrapeArgs, aim: &Aim, connections: &Connections) -> Result<Scrapes, Failure> {
        let every = args.server_metrics_every;
        if !(EVERY[0]..=EVERY[1]).contains(&every) {
            return Err(Failure::usage("--server-metrics-every: from 1s to 1m"));
        }
        if args.server_metrics.len() > MOST {
            return Err(Failure::usage(format!("--server-metrics: at most {MOST} servers")));
        }
        let mut places: Vec<Endpoint> = Vec::new();
        for text in &args.server_metrics {
            let endpoint = Endpoint::of(text, aim, connections)?;
            if places.iter().any(|place| place.shown == endpoint.shown) {
                return Err(Failure::usage(format!("--server-metrics {}: given twice", endpoint.shown)));
            }
            places.push(endpoint);
        }
        Ok(Scrapes { places, every })
    }

    /// Asks from now on.
    pub(super) fn start(self, started: Instant) -> Scraper {
        let (tell, told) = channel(WAITING);
        let ask = |place: &Endpoint| tokio::spawn(place.clone().ask_on(self.every, started, tell.clone()));
        let tasks = self.places.iter().map(ask).collect();
        Scraper { scrapes: self, told, tasks }
    }
}

impl Endpoint {
    fn of(text: &str, aim: &Aim, connections: &Connections) -> Result<Endpoint, Failure> {
        let (target, _) = aim.place();
        // The text may have a password in it.
        let wrong = |why: &str| {
            Failure::usage(format!(
                "--server-metrics: {why}; write http://HOST:PORT/metrics, or /PATH of the server itself"
            ))
        };
        let url = if text.starts_with('/') && !text.starts_with("//") { target.join(text) } else { Url::parse(text) };
        let url = url.map_err(|e| wrong(&format!("no address ({e})")))?;
        if !matches!(url.scheme(), "http" | "https") || url.host_str().is_none() {
            return Err(wrong("only http and https are asked"));
        }
        let mut shown = url.clone();
        // What cannot have a user has none.
        let _ = shown.set_username("").and_then(|()| shown.set_password(None));
        shown.set_query(None);
        shown.set_fragment(None);
        let shown = shown.to_string();
        let client = client(&url, aim, connections)
            .map_err(|e| Failure::invalid(e.context(format!("--server-metrics {shown}"))))?;
        Ok(Endpoint { url, shown, client })
    }

    async fn ask_on(self, every: Duration, started: Instant, tell: Sender<(Scrape, Option<String>)>) {
        let mut ticks = tokio::time::interval_at(started.max(Instant::now()), every);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Skip);
        let mut silent = false;
        loop {
            ticks.tick().await;
            let at_s = started.elapsed().as_secs_f64();
            let asked = tokio::time::timeout(WITHIN, self.ask()).await;
            let asked = asked.unwrap_or_else(|_| Err(format!("no answer within {} s", WITHIN.as_secs())));
            let (values, error) = match asked.map(|text| read(&text)) {
                Ok(values) if values.is_empty() => {
                    (values, Some("it has none of the metrics that are followed".to_owned()))
                }
                Ok(values) => (values, None),
                Err(why) => (Default::default(), Some(why)),
            };
            // Said once, until it has answered again.
            let warning = error.as_ref().filter(|_| !silent).map(|why| {
                format!("--server-metrics {}: {why}; it is asked again every {} s", self.shown, every.as_secs_f64())
            });
            silent = error.is_some();
            let scrape = Scrape { at_s, url: self.shown.clone(), values, error };
            if tell.send((scrape, warning)).await.is_err() {
                return;
            }
        }
    }

    /// What it answers, or why that is nothing.
    async fn ask(&self) -> Result<String, String> {
        let request = self.client.get(self.url.clone()).header(ACCEPT, "text/plain;version=0.0.4");
        let mut response = request.send().await.map_err(why)?;
        if !response.status().is_success() {
            return Err(format!("it answered {}", response.status()));
        }
        let mut body = Vec::new();
        while let Some(part) = response.chunk().await.map_err(why)? {
            if body.len() + part.len() > LONGEST {
                return Err(format!("its answer is longer than {} MiB", LONGEST >> 20));
            }
            body.extend_from_slice(&part);
        }
        Ok(String::from_utf8_lossy(&body).into_owned())
    }
}

/// What is behind an error: its own text has the address in it, with a password perhaps, and says nothing besides.
fn why(error: reqwest::Error) -> String {
    anyhow!(error.without_url()).root_cause().to_string()
}

/// A client for one place. What was said of the server's certificate holds for the server alone, and not for others.
fn client(url: &Url, aim: &Aim, connections: &Connections) -> anyhow::Result<reqwest::Client> {
    let mut builder = reqwest::Client::builder()
        .user_agent(concat!("connect-bench/", env!("CARGO_PKG_VERSION")))
        .redirect(Policy::none())
        .retry(reqwest::retry::never());
    if ServerAddress::from_url(url).is_ok_and(|address| address.is_loopback()) {
        builder = builder.no_proxy();
    }
    if let (Some(host), Some(port)) = (url.host_str(), url.port_or_known_default())
        && let Some(address) = connections.options.hosts.get(host, port)
    {
        builder = builder.resolve(host, address);
    }
    if url.scheme() == "https" {
        let native = rustls_native_certs::load_native_certs();
        let mut trusted: Vec<_> =
            native.certs.iter().filter_map(|der| reqwest::Certificate::from_der(der).ok()).collect();
        let (target, _) = aim.place();
        if url.origin() == target.origin() {
            let (insecure, pem) = believed(aim)?;
            trusted.extend(reqwest::Certificate::from_pem_bundle(&pem).context("--cacert")?);
            builder = builder.tls_danger_accept_invalid_certs(insecure);
        }
        builder = builder.tls_certs_only(trusted);
    }
    Ok(builder.build()?)
}

/// Whether any certificate of the server is believed, and the authorities that were named for it.
fn believed(aim: &Aim) -> anyhow::Result<(bool, Vec<u8>)> {
    let (insecure, file, pem) = match aim {
        Aim::Connect(aim) => match &aim.config.cacert {
            Some(CaCert::File(path)) => (aim.config.insecure, Some(path), None),
            Some(CaCert::Pem(pem)) => (aim.config.insecure, None, Some(pem)),
            None => (aim.config.insecure, None, None),
        },
        Aim::Url { insecure, extra, .. } => match extra {
            Some(ExtraRoots::File(path)) => (*insecure, Some(path), None),
            Some(ExtraRoots::Pem(pem)) => (*insecure, None, Some(pem)),
            None => (*insecure, None, None),
        },
    };
    let read = file.map(|path| std::fs::read(path).with_context(|| path.display().to_string())).transpose()?;
    Ok((insecure, read.or_else(|| pem.map(|pem| pem.clone().into_bytes())).unwrap_or_default()))
}

/// Asks until it is ended or dropped.
#[derive(Debug)]
pub(super) struct Scraper {
    scrapes: Scrapes,
    told: Receiver<(Scrape, Option<String>)>,
    tasks: Vec<JoinHandle<()>>,
}

impl Scraper {
    /// The next answer, and the warning that is due with it. Can be dropped and called again; waits for ever where nobody
    /// is asked.
    pub(super) async fn next(&mut self) -> (Scrape, Option<String>) {
        match self.told.recv().await {
            Some(told) => told,
            None => std::future::pending().await,
        }
    }

    /// Asks no more; who was asked may be asked again in another run.
    pub(super) fn end(mut self) -> Scrapes {
        std::mem::take(&mut self.scrapes)
    }
}

impl Drop for Scraper {
    fn drop(&mut self) {
        self.tasks.iter().for_each(JoinHandle::abort);
    }
}
