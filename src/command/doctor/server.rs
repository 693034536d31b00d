//! The server: whether it is reached, licensed, whose key it is, what runs on it, and whose clock is right.

use std::time::Duration;

use super::super::failure::Failure;
use super::super::target;
use super::{Check, Of, Status};
use crate::cli::DoctorArgs;
use crate::exit::Exit;
use crate::host::Environment;
use crate::posit_connect::{ApiError, Client, Installations};
use crate::report::number::significant;

/// A server does not take longer to say who it is.
const WITHIN: Duration = Duration::from_secs(20);
/// Round trips that are measured.
const TRIPS: usize = 7;
/// Farther away than this, VUs wait for the network more than for the server, ms.
const FAR_MS: f64 = 20.0;
/// The `Date` of an answer is to the second; clocks that differ by more are not synchronised, seconds.
const APART_S: f64 = 2.0;

fn check(name: &'static str, status: Status, seen: impl Into<String>) -> Check {
    Check::new(Of::Server, name, status, seen)
}

pub(super) async fn look(args: &DoctorArgs) -> Vec<Check> {
    let config = match target::connect(&args.server) {
        Ok(config) => config,
        Err(Failure { exit: Exit::Usage, error }) if args.server.name.is_none() && args.server.server.is_none() => {
            return vec![check("server", Status::Skipped, format!("{error:#}"))];
        }
        Err(failure) => return vec![check("server", Status::Fail, format!("{:#}", failure.error))],
    };
    let mut config = config;
    config.timeout = WITHIN;
    let mut out = vec![transport(&config)];
    let has_key = config.key.is_some();
    let client = match Client::new(config) {
        Ok(client) => client,
        Err(error) => {
            out.push(check("reached", Status::Fail, error.to_string()));
            return out;
        }
    };
    match client.server_settings().await {
        Err(error) => {
            let advice = "is the address right, is the server up, does a proxy or firewall lie between? See -v";
            out.push(check("reached", Status::Fail, error.to_string()).advise(advice));
            return out;
        }
        Ok(settings) => {
            let what = if settings.sandbox { "our sandbox, not Posit Connect" } else { "Posit Connect" };
            let version = if settings.version.is_empty() { "(version hidden)" } else { &settings.version };
            let node = settings.hostname.map_or_else(String::new, |node| format!(", node {node}"));
            out.push(check("reached", Status::Ok, format!("{what} {version}{node}")));
        }
    }
    out.push(match client.ping().await {
        Ok(()) => check("licence", Status::Ok, "the server answers pings: it is licensed"),
        Err(error) => check("licence", Status::Fail, error.to_string()),
    });
    out.push(distance(&client).await);
    out.push(clock(&client).await);
    if has_key {
        out.extend(rights(&client).await);
    } else {
        let advice = "give CONNECT_API_KEY, --api-key-file FILE, or a saved server with --name";
        out.push(check("key", Status::Fail, "none is given").advise(advice));
    }
    out
}

/// How it is reached, and whether a load test would go ahead.
fn transport(config: &crate::posit_connect::ClientConfig) -> Check {
    let server = &config.server;
    let host = server.url().host_str().unwrap_or_default();
    if config.insecure {
        return check("connection", Status::Warn, format!("{server}: the certificate is not verified"))
            .advise("trust its authority with --cacert FILE instead of --insecure");
    }
    if server.is_plain() && !server.is_loopback() {
        return check("connection", Status::Warn, format!("{server}: plain http; the key can be read on the way"))
            .advise("use https where the server has it; --allow-http sends the key nevertheless");
    }
    if !server.is_loopback() {
        let seen = format!("{server}: another machine, as it should be");
        return check("connection", Status::Ok, seen)
            .advise(format!("runs ask before they load it, or are told by --allow-host {host}"));
    }
    check("connection", Status::Warn, format!("{server}: this machine"))
        .advise("server and generator take CPU from each other; for figures that count, run connect-bench elsewhere")
}

/// The median round trip of a small request on a kept connection.
async fn distance(client: &Client) -> Check {
    let mut trips = Vec::new();
    for _ in 0..TRIPS {
        let began = std::time::Instant::now();
        if client.ping().await.is_err() {
            return check("distance", Status::Skipped, "pings are not answered");
        }
        trips.push(began.elapsed().as_secs_f64() * 1e3);
    }
    trips.sort_by(f64::total_cmp);
    let median = trips[TRIPS / 2];
    let seen = format!("{} ms for a ping, median of {TRIPS}", significant(median));
    if median > FAR_MS {
        return check("distance", Status::Warn, seen).advise(
            "run connect-bench nearer to the server: latencies contain this, and more VUs are needed to saturate",
        );
    }
    check("distance", Status::Ok, seen)
}

/// Clocks are compared only here; no figure of a run depends on the server's.
async fn clock(client: &Client) -> Check {
    let before = Environment::now().started;
    let date = client.date().await;
    let after = Environment::now().started;
    let date = match date {
        Ok(Some(date)) => date,
        Ok(None) => return check("clock", Status::Skipped, "the server's answers have no date"),
        Err(error) => return check("clock", Status::Skipped, error.to_string()),
    };
    // It is cut to the second, and was taken between the two.
    let middle = 0.5 * (before.as_millisecond() + after.as_millisecond()) as f64;
    let ahead_s = (date.as_millisecond() as f64 + 500.0 - middle) / 1e3;
    let slack_s = APART_S + (after.as_millisecond() - before.as_millisecond()) as f64 / 2e3;
    if ahead_s.abs() > slack_s {
        let which = if ahead_s > 0.0 { "ahead of" } else { "behind" };
        let seen = format!("the server's is {} s {which} this machine's", significant(ahead_s.abs()));
        return check("clock", Status::Warn, seen).advise(
            "synchronise both (NTP): TLS, tokens and the nodes of a cluster need it, and logs cannot be matched",
        );
    }
    check("clock", Status::Ok, format!("the same as the server's, within {APART_S:.0} s"))
}

/// Whose key it is, and what can be published with it.
async fn rights(client: &Client) -> Vec<Check> {
    let user = match client.me().await {
        Ok(user) => user,
        Err(error) => {
            let advice = "make a new key in Connect (your name, API Keys)";
            return vec![check("key", Status::Fail, error.to_string()).advise(advice)];
        }
    };
    let seen = format!("{}, {}", user.username, user.user_role);
    let key = if user.can_publish() {
        check("key", Status::Ok, seen)
    } else {
        check("key", Status::Fail, seen)
            .advise("publishing needs the role publisher or administrator; without: --content GUID --no-publish")
    };
    let python = language("python", client.python_installations().await, "the Flask application that is fetched");
    let r = language("r", client.r_installations().await, "the Plumber API that is published");
    let mut out = vec![key, python, r];
    for (mode, what) in [("python-api", "Python APIs"), ("api", "Plumber APIs")] {
        out.push(limits(client, mode, what).await);
    }
    out
}

fn language(name: &'static str, found: Result<Installations, ApiError>, what: &str) -> Check {
    let instead =
        if name == "python" { "--fetch-bundle DIR or --content GUID" } else { "--publish-bundle DIR or --no-publish" };
    match found.map(|found| found.versions()) {
        Ok(versions) if versions.is_empty() => {
            check(name, Status::Warn, "not on the server").advise(format!("{what} needs it; without: {instead}"))
        }
        Ok(versions) => check(name, Status::Ok, versions.join(", ")),
        Err(error) => check(name, Status::Skipped, format!("the server does not say: {error}")),
    }
}

/// How many requests the server works on at once, per content item.
async fn limits(client: &Client, mode: &str, what: &str) -> Check {
    let name = "limits";
    let settings = match client.scheduler_settings(mode).await {
        Ok(Some(settings)) => settings,
        Ok(None) => return check(name, Status::Skipped, format!("{what}: not told to this key")),
        Err(error) => return check(name, Status::Skipped, format!("{what}: {error}")),
    };
    let of = |name: &str| settings.get(name).and_then(serde_json::Value::as_u64);
    let (Some(processes), Some(connections)) = (of("max_processes"), of("max_conns_per_process")) else {
        return check(name, Status::Skipped, format!("{what}: not told"));
    };
    let least = of("min_processes").unwrap_or(0);
    let seen = format!(
        "{what}: {least} to {processes} processes of {connections} connections: {} at once",
        processes.saturating_mul(connections)
    );
    if processes < 2 {
        return check(name, Status::Warn, seen).advise(
            "one process is what is measured then; raise Max processes of the content item, or the server's default",
        );
    }
    check(name, Status::Ok, seen)
}
