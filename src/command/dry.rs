//! `--dry-run`: what a run would do, from what is known without a single request.

use std::fmt::Write as _;

use anyhow::Context as _;
use serde::Serialize;

use super::failure::Failure;
use super::rails::Rails;
use super::run::{Shape, Work};
use super::runtime;
use super::target::{self, Aim};
use super::{hosts, output};
use crate::cli::RunArgs;
use crate::exit::Exit;
use crate::posit_connect::settings::values;
use crate::report::number::{count, duration};
use crate::schedule::Executor;

/// The plan as far as it is known.
#[derive(Serialize)]
struct DryRun {
    kind: &'static str,
    command: &'static str,
    target: String,
    /// Why it would be refused; `null` where it would not.
    refused: Option<String>,
    creates: Vec<String>,
    /// Process settings of the content that are set.
    sets: Vec<String>,
    duration_s: f64,
    warm_up_s: f64,
    most_vus: u64,
    caps: Vec<String>,
    scenarios: Vec<Row>,
    /// `null` where a closed model makes as many as the server lets it.
    expected_iterations: Option<u64>,
    /// Requests that this sent.
    sent: u64,
}

#[derive(Serialize)]
struct Row {
    name: String,
    executor: &'static str,
    most_vus: u32,
    from_s: f64,
    to_s: f64,
    /// `null` where it is as many as the server lets it.
    iterations: Option<u64>,
    /// The most iterations that begin per second, of the open model; `null` where the server sets the pace.
    max_rate: Option<u64>,
}

/// Says what a run of this shape would do, and sends nothing.
pub(super) fn run(args: &RunArgs, shape: &Shape) -> Result<Exit, Failure> {
    let (target, refused, caps) = aim(args, shape)?;
    let publishes = args.target.url.is_none();
    let (mut creates, content) = (Vec::new(), &args.content);
    if publishes && content.content.is_none() {
        creates.push("one content item that is fetched, with one bundle".to_owned());
    }
    if publishes && !content.no_publish && shape.slots.iter().any(|slot| matches!(slot.work, Work::Publish)) {
        let items = if content.publish_new_content { "a content item for each publish" } else { "one content item" };
        creates.push(format!("{items} of the publish loop, with a bundle for each publish"));
    }
    let settings = set(args)?;
    let skipped = |work: &Work| matches!(work, Work::Publish) && (content.no_publish || !publishes);
    let scenarios: Vec<Row> =
        shape.slots.iter().filter(|slot| !skipped(&slot.work)).map(|slot| row(&slot.name, &slot.executor)).collect();
    let expected_iterations =
        scenarios.iter().map(|row| row.iterations).try_fold(0, |sum: u64, n| Some(sum.saturating_add(n?)));
    let dry = DryRun {
        kind: "dry_run",
        command: shape.command,
        target,
        refused,
        creates,
        sets: settings,
        duration_s: shape.duration.as_secs_f64(),
        warm_up_s: shape.warm_up.as_secs_f64(),
        most_vus: scenarios.iter().map(|row| u64::from(row.most_vus)).sum(),
        caps,
        scenarios,
        expected_iterations,
        sent: 0,
    };
    let exit = if dry.refused.is_some() { Exit::Refused } else { Exit::Pass };
    let text = if args.output.json {
        serde_json::to_string_pretty(&dry).context("the plan has no JSON form")? + "\n"
    } else {
        dry.text()
    };
    output::print(&text)?;
    Ok(exit)
}

/// The process settings, and whether they are put back.
fn set(args: &RunArgs) -> Result<Vec<String>, Failure> {
    let back = if args.content.content.is_some() { " (put back at the end)" } else { "" };
    let all = values(&runtime::wanted(&args.content.runtime)?);
    Ok(all.into_iter().map(|(name, value)| format!("{name} {value}{back}")).collect())
}

fn row(name: &str, executor: &Executor) -> Row {
    let begins = executor.start_time();
    Row {
        name: name.to_owned(),
        executor: executor.name(),
        most_vus: executor.max_vus(),
        from_s: begins.as_secs_f64(),
        to_s: (begins + executor.duration().unwrap_or_default()).as_secs_f64(),
        iterations: executor.iterations(),
        max_rate: executor.max_rate(),
    }
}

/// What would be loaded, why it would be refused, and the caps.
fn aim(args: &RunArgs, shape: &Shape) -> Result<(String, Option<String>, Vec<String>), Failure> {
    let place = &args.target;
    if place.sandbox.is_some() || place.sandbox_curve.is_some() {
        let profile = place.sandbox.clone().or_else(|| place.sandbox_curve.clone()).unwrap_or_default();
        return Ok((format!("a sandbox of its own ({profile})"), None, Vec::new()));
    }
    let aim = target::aim(&args.server, place)?;
    let (url, loopback) = aim.place();
    let host = url.host_str().unwrap_or_default();
    let allowed = loopback || args.server.allows(host) || hosts::Hosts::read()?.get(host).is_some();
    let unnamed = format!("{host} is not this machine, and not allowed yet: type its name when asked, or --allow-host");
    let checked = Rails::of(&aim, &args.rails).and_then(|rails| {
        rails.check(shape.executors(args), shape.duration)?;
        Ok(rails)
    });
    let mut shown = url.clone();
    shown.set_query(None);
    let plain_key = matches!(&aim, Aim::Connect(aim) if aim.config.server.is_plain() && !aim.config.allow_http);
    let in_clear = (plain_key && !loopback).then(|| "the key would go over plain http: --allow-http".to_owned());
    let (refused, caps) = match checked {
        Err(failure) if failure.exit == Exit::Refused => (Some(format!("{:#}", failure.error)), Vec::new()),
        Err(failure) => return Err(failure),
        Ok(rails) => ((!allowed).then_some(unnamed).or(in_clear), rails.caps().list()),
    };
    Ok((shown.to_string(), refused, caps))
}

impl DryRun {
    fn text(&self) -> String {
        let mut out = String::new();
        // Writing to a String cannot fail.
        let _ = writeln!(out, "DRY RUN of {}: nothing was sent to {}", self.command, self.target);
        if let Some(why) = &self.refused {
            let _ = writeln!(out, "It would be refused: {why}");
        }
        for what in &self.creates {
            let _ = writeln!(out, "makes, and deletes at its end: {what}");
        }
        if !self.sets.is_empty() {
            let _ = writeln!(out, "sets on the content that is fetched: {}", self.sets.join(", "));
        }
        let (length, warm_up) = (duration(self.duration_s), duration(self.warm_up_s));
        let _ = writeln!(out, "lasts {length}, {warm_up} of it warm-up; at most {} VUs", count(self.most_vus));
        for row in &self.scenarios {
            let Row { name, executor, most_vus, from_s, to_s, iterations, max_rate } = row;
            let times = format!("{} to {}", duration(*from_s), duration(*to_s));
            let iterations = match (iterations, max_rate) {
                (Some(n), _) => format!("{} iterations", count(*n)),
                (None, Some(most)) => format!("raised up to {} iterations per second", count(*most)),
                (None, None) => "as many iterations as the server lets it".to_owned(),
            };
            let _ = writeln!(out, "  {name}: {executor}, {times}, up to {most_vus} VUs, {iterations}");
        }
        let highest = self.scenarios.iter().filter(|row| row.iterations.is_none()).find_map(|row| row.max_rate);
        let expected = match (self.expected_iterations, highest) {
            (Some(n), _) => format!("{} iterations, each with a request or more", count(n)),
            (None, Some(most)) => {
                format!("what keeps the objectives, at most {} per second whatever the server answers", count(most))
            }
            (None, None) => "as many as the server answers: VUs / latency per second".to_owned(),
        };
        let _ = writeln!(out, "expected: {expected}");
        if !self.caps.is_empty() {
            let _ = writeln!(out, "caps: {}", self.caps.join(", "));
        }
        out
    }
}
