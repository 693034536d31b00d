//! `--out`: who is told of a run while it is on. Files are written by a thread of their own, receivers by a task of their
//! own; both are handed what there is and never waited for: what they cannot take is dropped, counted and said.

mod file;
mod receiver;

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use serde_json::{Value, json};
use tokio::time::Instant;
use url::Url;

use super::failure::Failure;
use crate::cli::OutArgs;
use crate::plan::Plan;
use crate::recorder::{Points, Sampling};
use crate::report::live::Tally;
use crate::report::points::Form;
use crate::window::Second;
use file::FileOut;
use receiver::{Protocol, Receiver};

/// Most single requests that a worker keeps until it hands them over, about once a second.
const MOST_POINTS: usize = 1 << 16;
/// How long the end of a run waits for what receivers have not got yet.
const FLUSH_WITHIN: Duration = Duration::from_secs(5);

/// Who is told.
pub(super) struct Outs {
    every: u32,
    files: Vec<FileOut>,
    receivers: Vec<Receiver>,
    /// Of the run that is on.
    tally: Option<Tally>,
    /// Points that workers had no room for.
    dropped: u64,
}

/// What `--out` names.
enum Out {
    File(Form, PathBuf),
    Receiver(Protocol, Url),
}

/// What is told as an event, and the warning where something went wrong.
type Told = (Value, Option<String>);

impl Outs {
    /// Nobody is told.
    pub(super) fn none() -> Outs {
        Outs { every: 1, files: Vec::new(), receivers: Vec::new(), tally: None, dropped: 0 }
    }

    /// Opens the files, and gets ready for the receivers, before anything is made on a server.
    pub(super) fn open(args: &OutArgs) -> Result<Outs, Failure> {
        let mut outs = Outs { every: args.out_sample, ..Outs::none() };
        for text in &args.out {
            match parse(text).map_err(|why| Failure::usage(format!("--out {}: {why}", shown(text))))? {
                Out::File(form, path) => outs.files.push(FileOut::create(form, &path)?),
                Out::Receiver(protocol, url) => outs.receivers.push(Receiver::start(protocol, url)?),
            }
        }
        if args.out_sample > 1 && outs.files.is_empty() {
            return Err(Failure::usage("--out-sample is of single requests: give --out json=FILE or csv=FILE as well"));
        }
        Ok(outs)
    }

    /// What the workers are to keep.
    pub(super) fn sampling(&self) -> Option<Sampling> {
        (!self.files.is_empty()).then_some(Sampling { every: self.every, most: MOST_POINTS })
    }

    /// A run begins.
    pub(super) fn begin(&mut self, plan: &Arc<Plan>, started: Instant) {
        let ahead = started.saturating_duration_since(Instant::now());
        let behind = started.elapsed();
        let by = |time: Duration| SignedDuration::try_from(time).unwrap_or(SignedDuration::ZERO);
        let start = Timestamp::now() + by(ahead) - by(behind);
        self.dropped = 0;
        self.tally = Some(Tally::new(plan, start));
        self.files.iter_mut().for_each(|file| file.begin(plan.clone(), start));
    }

    /// A second is over.
    pub(super) fn second(&mut self, plan: &Plan, second: &Second) {
        let vus = second.window.scenarios.iter().map(|scenario| scenario.vus).sum();
        self.files.iter_mut().for_each(|file| file.second(second.second, vus));
        if self.receivers.is_empty() {
            return;
        }
        if let Some(tally) = &mut self.tally {
            let snapshot = tally.add(plan, second);
            self.receivers.iter_mut().for_each(|receiver| receiver.send(&snapshot));
        }
    }

    /// Single requests of a worker.
    pub(super) fn points(&mut self, points: Points) {
        self.dropped += points.dropped;
        let points = Arc::new(points);
        self.files.iter_mut().for_each(|file| file.points(points.clone()));
    }

    /// The run is over: waits a little for what is not written yet, and says what became of it.
    pub(super) async fn flush(&mut self) -> Vec<Told> {
        let until = Instant::now() + FLUSH_WITHIN;
        let mut told = Vec::new();
        for file in &mut self.files {
            let (points, dropped, fault) = file.flush(until).await;
            let dropped = dropped + self.dropped;
            let name = file.name();
            let event = json!({"event": "out", "out": name, "points": points, "dropped": dropped, "fault": fault});
            let mut wrong = Vec::new();
            if dropped > 0 {
                wrong.push(format!("{dropped} points are not in it, for they came faster than they were written (--out-sample writes fewer)"));
            }
            wrong.extend(fault);
            told.push((event, (!wrong.is_empty()).then(|| format!("--out {name}: {}", wrong.join("; ")))));
        }
        for receiver in &mut self.receivers {
            told.push(receiver.flush(until).await);
        }
        told
    }
}

/// Without a user's name and password, for messages.
fn shown(text: &str) -> String {
    match (text.find("://"), text.rfind('@')) {
        (Some(scheme), Some(at)) if at > scheme => format!("{}{}", &text[..scheme + 3], &text[at + 1..]),
        _ => text.to_owned(),
    }
}

fn parse(text: &str) -> Result<Out, String> {
    let (kind, place) = text.split_once('=').map_or((text, None), |(kind, place)| (kind, Some(place)));
    let file = |form| match place {
        Some(place) if !place.is_empty() => Ok(Out::File(form, PathBuf::from(place))),
        _ => Err(format!("name a file: {kind}=FILE")),
    };
    let receiver = |protocol: Protocol| {
        let url = place.unwrap_or(protocol.default_url());
        protocol.url(url).map(|url| Out::Receiver(protocol, url))
    };
    match kind {
        "json" => file(Form::Json),
        "csv" => file(Form::Csv),
        "prometheus" | "experimental-prometheus-rw" => receiver(Protocol::Prometheus),
        "otlp" | "opentelemetry" | "experimental-opentelemetry" => receiver(Protocol::Otlp),
        _ => Err("there is no such output; there are json=FILE, csv=FILE, prometheus=URL, otlp=URL".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn url(text: &str) -> String {
        match parse(text) {
            Ok(Out::Receiver(_, url)) => url.to_string(),
            Ok(Out::File(..)) => "a file".to_owned(),
            Err(why) => why,
        }
    }

    #[test]
    fn names_of_k6_are_known_and_paths_are_added_where_there_are_none() {
        assert_eq!(url("experimental-prometheus-rw"), "http://localhost:9090/api/v1/write");
        assert_eq!(url("prometheus=http://127.0.0.1:9090"), "http://127.0.0.1:9090/api/v1/write");
        assert_eq!(url("prometheus=https://mimir.example/api/v1/push"), "https://mimir.example/api/v1/push");
        assert_eq!(url("opentelemetry"), "http://localhost:4318/v1/metrics");
        assert_eq!(url("otlp=http://[::1]:4318/"), "http://[::1]:4318/v1/metrics");
        assert_eq!(url("json=a.json"), "a file");
        assert!(url("otlp=collector:4317").contains("http"));
        assert!(url("json=").contains("name a file") && url("statsd=x").contains("no such output"));
    }

    #[test]
    fn a_password_is_in_no_message() {
        assert_eq!(shown("otlp=http://me:s3cret@a.example/x"), "otlp=http://a.example/x");
        assert_eq!(shown("json=a@b.json"), "json=a@b.json");
    }
}
