//! What a page carries with it: the runs that it shows, so that it can be read again and compared.
//!
//! In the page it is a data block, JSON, deflated, in base64. A page that is read may come from anyone: what is read is
//! bounded, and what no run can have measured is refused.

use std::io::{Read as _, Write as _};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use flate2::Compression;
use flate2::read::GzDecoder;
use flate2::write::GzEncoder;
use serde::{Deserialize, Serialize};

use super::course::{Course, MOST_SLOTS, Publishes};
use crate::server_metrics;
use crate::summary::{self, Summary};
use crate::window::{Counts, Window};

/// Version of this form; a reader refuses a newer one.
pub const SCHEMA: u32 = 1;
/// Most bytes of a page that is read.
pub const MOST_BYTES: usize = 16 << 20;
/// Most bytes that its data may be.
const MOST_INFLATED: u64 = 64 << 20;
/// Most runs in a page.
pub const MOST_RUNS: usize = 16;
/// Most bytes of what a command printed.
const MOST_TEXT: usize = 1 << 20;
/// More than any run has: 10¹⁵ requests are a million a second for thirty years.
const MOST_COUNT: u64 = 1_000_000_000_000_000;

/// What begins and ends the data in a page.
const BEGIN: &str = "<script type=\"application/json\" id=\"connect-bench-data\">\"";
const END: &str = "\"</script>";

/// A run with its course.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Recorded {
    /// Name of its run directory.
    pub name: String,
    /// What it measured.
    pub summary: Summary,
    /// What it was like over time.
    pub course: Course,
    /// Its publishes and failures.
    pub publishes: Publishes,
}

/// What a page says of its runs that is not computed from one of them again: a comparison, a capacity plan, the verdict
/// of a gate, a history.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Told {
    /// The command that said it.
    pub command: String,
    /// Its JSON document.
    pub document: serde_json::Value,
    /// What it printed.
    pub text: String,
}

/// The runs of a page: one, or a ramp and the load test that followed it; those of a comparison, or none of a history.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Archive {
    /// [`SCHEMA`].
    pub schema: u32,
    /// At least one, but for a page that says something else.
    pub runs: Vec<Recorded>,
    /// What else the page says; `None` on that of a run.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub told: Option<Told>,
}

/// A page without data that can be used.
#[derive(Debug, thiserror::Error)]
pub enum ArchiveFault {
    /// It is not one of ours.
    #[error("this is no report of connect-bench: it has no data in it")]
    None,
    /// It is larger than any report.
    #[error("larger than any report of connect-bench ({0} MiB at most)")]
    Large(u64),
    /// The data is damaged.
    #[error("the data in it cannot be read: {0}")]
    Damaged(String),
    /// Written by a newer version.
    #[error("written by a newer connect-bench (form {0}, this one reads up to {SCHEMA})")]
    Newer(u32),
    /// No run measures that.
    #[error("the data in it is not that of a run: {0}")]
    Implausible(&'static str),
}

impl Archive {
    /// Of these runs.
    #[must_use]
    pub fn of(runs: Vec<Recorded>) -> Archive {
        Archive { schema: SCHEMA, runs, told: None }
    }

    /// Of what a command said, and the runs that it said it of.
    #[must_use]
    pub fn telling(runs: Vec<Recorded>, told: Told) -> Archive {
        Archive { told: Some(told), ..Archive::of(runs) }
    }

    /// The data block for a page.
    ///
    /// # Errors
    /// Where it has no JSON form, which a run has.
    pub fn data_block(&self) -> std::io::Result<String> {
        let mut gzip = GzEncoder::new(Vec::new(), Compression::new(6));
        serde_json::to_writer(&mut gzip, self)?;
        gzip.flush()?;
        Ok(format!("{BEGIN}{}{END}", STANDARD.encode(gzip.finish()?)))
    }

    /// Reads the data block of a page.
    ///
    /// # Errors
    /// Where it is no report, is damaged, too large, or not that of a run.
    pub fn from_page(page: &[u8]) -> Result<Archive, ArchiveFault> {
        if page.len() > MOST_BYTES {
            return Err(ArchiveFault::Large(MOST_BYTES as u64 >> 20));
        }
        let text = String::from_utf8_lossy(page);
        let (_, after) = text.split_once(BEGIN).ok_or(ArchiveFault::None)?;
        let (data, _) = after.split_once(END).ok_or(ArchiveFault::None)?;
        let damaged = |e: &dyn std::fmt::Display| ArchiveFault::Damaged(e.to_string());
        let packed = STANDARD.decode(data).map_err(|e| damaged(&e))?;
        let mut json = Vec::new();
        let read = GzDecoder::new(packed.as_slice()).take(MOST_INFLATED + 1).read_to_end(&mut json);
        read.map_err(|e| damaged(&e))?;
        if json.len() as u64 > MOST_INFLATED {
            return Err(ArchiveFault::Large(MOST_INFLATED >> 20));
        }
        let archive: Archive = serde_json::from_slice(&json).map_err(|e| damaged(&e))?;
        archive.check()?;
        Ok(archive)
    }

    /// That nothing in it breaks what computes with it.
    fn check(&self) -> Result<(), ArchiveFault> {
        let newest = self.runs.iter().map(|run| run.summary.schema).max().unwrap_or(0);
        if self.schema > SCHEMA || newest > summary::SCHEMA {
            return Err(ArchiveFault::Newer(self.schema.max(newest)));
        }
        if self.told.as_ref().is_some_and(|told| told.text.len() > MOST_TEXT || told.command.len() > 20) {
            return Err(ArchiveFault::Implausible("longer than what a command prints"));
        }
        if (self.runs.is_empty() && self.told.is_none()) || self.runs.len() > MOST_RUNS {
            return Err(ArchiveFault::Implausible("the number of runs"));
        }
        self.runs.iter().try_for_each(plausible)
    }
}

fn plausible(run: &Recorded) -> Result<(), ArchiveFault> {
    let plan = &run.summary.plan;
    if run.course.slots.len() > 2 * MOST_SLOTS || run.summary.batches.len() > 100 {
        return Err(ArchiveFault::Implausible("more parts than a report has"));
    }
    if plan.scenarios.len() > 1000 || plan.workers > 100_000 {
        return Err(ArchiveFault::Implausible("more scenarios or workers than a plan has"));
    }
    if !run.summary.server_metrics.iter().all(told) || run.summary.server_metrics.len() > 100 {
        return Err(ArchiveFault::Implausible("more than servers are asked for"));
    }
    let ends = run.course.slots.iter().map(|slot| slot.from_s.max(slot.seconds)).max().unwrap_or(0);
    let publishes_fit =
        run.publishes.publishes.iter().all(|p| p.phases.iter().all(|(at, took)| *at < 6 && *took < 1e13));
    let counts_fit = [&run.summary.steady, &run.summary.whole].into_iter().all(fits)
        && run.summary.batches.iter().all(|b| b.completed.max(b.failed).max(b.fetched) < MOST_COUNT)
        && run.course.slots.iter().all(slot_fits)
        && run.course.errors.values().all(|seen| seen.count < MOST_COUNT);
    match counts_fit && publishes_fit && ends < MOST_COUNT {
        true => Ok(()),
        false => Err(ArchiveFault::Implausible("greater figures than a run has")),
    }
}

/// That what a server told can be drawn.
fn told(place: &server_metrics::Place) -> bool {
    let times = place.outages.iter().flat_map(|outage| [outage.from_s, outage.to_s.unwrap_or(0.0)]);
    let times = times.chain(place.restarts_s.iter().copied());
    let few = place.outages.len().max(place.restarts_s.len()) <= server_metrics::MOST_EVENTS;
    let points = place.figures.iter().flat_map(|figure| &figure.points);
    few && place.figures.len() <= server_metrics::Metric::ALL.len()
        && place.figures.iter().all(|figure| figure.points.len() <= server_metrics::MOST_POINTS)
        && times.chain(points.map(|(at, _)| *at)).all(|at| (0.0..1e12).contains(&at))
}

fn slot_fits(slot: &super::course::Slot) -> bool {
    let counts = [slot.completed, slot.failed, slot.dropped, slot.fetched];
    let others = slot.heat.iter().map(|(_, n)| *n).chain(slot.errors.values().copied());
    let nodes = slot.nodes.values().map(|node| node.completed);
    counts.into_iter().chain(others).chain(nodes).all(|n| n < MOST_COUNT) && slot.heat.len() < 200
}

/// That its counts can be added and subtracted.
fn fits(window: &Window) -> bool {
    let small = |n: u64| n < MOST_COUNT;
    let counts = |c: &Counts| {
        [c.scheduled, c.completed, c.failed, c.dropped, c.interrupted, c.carried_in, c.carried_out]
            .into_iter()
            .all(small)
            && c.carried_in <= c.carried_out.max(c.carried_in)
    };
    let series = window.series.iter().all(|s| {
        let more =
            [s.sent, s.retried, s.connections, s.bytes_sent / 1_000_000, s.bytes_received / 1_000_000, s.unstamped];
        let maps = s.statuses.values().chain(s.errors.values()).copied();
        let nodes = s.nodes.values().flat_map(|node| [node.completed, node.failed]);
        counts(&s.requests) && more.into_iter().chain(maps).chain(nodes).all(small)
    });
    let scenarios = window.scenarios.iter().all(|s| {
        counts(&s.iterations)
            && small(s.vus)
            && small(s.dropped_late)
            && s.vu_time_ns < 1 << 100
            && s.pause_ns < 1 << 100
    });
    let checks = window.checks.values().all(|check| small(check.passes) && small(check.fails));
    let forwards = window.span_ns.is_none_or(|(from, to)| from <= to && to < u64::MAX / 4);
    series && scenarios && checks && forwards && window.series.len() < 100_000
}
