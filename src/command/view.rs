//! What is seen while a run lasts: a line that is rewritten on a terminal, a line every few seconds elsewhere, nothing
//! with `--quiet`. All of it on stderr.

#![expect(clippy::print_stderr, reason = "this is where progress is written")]

use std::collections::VecDeque;
use std::io::IsTerminal as _;
use std::time::Duration;

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

use crate::capacity::search::{Phase, Progress};
use crate::histogram::Latency;
use crate::plan::{Executor, Plan};
use crate::report::number::{MISSING, count, duration, maybe, percent, significant};
use crate::window::{Part, Second};

/// Seconds between two lines where there is no terminal.
const LINE_EVERY: u64 = 10;
/// Seconds that the shown figures are taken over.
const SHOWN_SECONDS: usize = 5;

/// What is shown of a second: the fetches. A whole one would be most of a small run's memory.
#[derive(Default)]
struct Fetched {
    seconds: f64,
    completed: u64,
    latency: Latency,
}

impl Fetched {
    fn of(second: &Second, plan: &Plan) -> Fetched {
        let mut fetched = Fetched { seconds: second.window.seconds(), ..Fetched::default() };
        for (at, (series, measured)) in plan.series().iter().zip(&second.window.series).enumerate() {
            if plan.fetches_in(at, series) {
                fetched.latency.merge(&measured.duration);
                fetched.completed += measured.requests.completed;
            }
        }
        fetched
    }
}

/// Shows a run while it lasts.
pub(super) struct View {
    bar: Option<ProgressBar>,
    quiet: bool,
    recent: VecDeque<Fetched>,
    last_publish: Option<String>,
    failed: u64,
    /// VUs that are asked for by scenario, once somebody has changed them.
    asked: Option<Vec<u32>>,
}

impl View {
    pub(super) fn new(quiet: bool) -> View {
        let bar = (!quiet && std::io::stderr().is_terminal()).then(|| {
            let bar = ProgressBar::with_draw_target(None, ProgressDrawTarget::stderr_with_hz(4));
            // The template is a constant; were it wrong, the plain message would be shown.
            if let Ok(style) = ProgressStyle::with_template("{spinner} {wide_msg}") {
                bar.set_style(style);
            }
            bar.enable_steady_tick(Duration::from_millis(250));
            bar
        });
        View { bar, quiet, recent: VecDeque::new(), last_publish: None, failed: 0, asked: None }
    }

    /// Says something once.
    pub(super) fn say(&self, message: &str) {
        match &self.bar {
            Some(bar) => bar.suspend(|| eprintln!("{message}")),
            None if !self.quiet => eprintln!("{message}"),
            None => {}
        }
    }

    /// Says what must be known even with `--quiet`.
    pub(super) fn warn(&self, message: &str) {
        match &self.bar {
            Some(bar) => bar.suspend(|| eprintln!("warning: {message}")),
            None => eprintln!("warning: {message}"),
        }
    }

    /// Says what somebody has to know to go on, even with `--quiet`.
    pub(super) fn announce(&self, message: &str) {
        match &self.bar {
            Some(bar) => bar.suspend(|| eprintln!("{message}")),
            None => eprintln!("{message}"),
        }
    }

    /// So many VUs are asked for from now on, by scenario.
    pub(super) fn set_asked(&mut self, vus: Vec<u32>) {
        self.asked = Some(vus);
    }

    /// What is being done before and after a run.
    pub(super) fn doing(&self, what: &str) {
        match &self.bar {
            Some(bar) => bar.set_message(what.to_owned()),
            None if !self.quiet && !what.is_empty() => eprintln!("{what}"),
            None => {}
        }
    }

    pub(super) fn event(&mut self, event: &serde_json::Value) {
        if event["event"] == "publish" {
            let seconds = event["phases_ms"]["publish_total"].as_f64().or(event["phases_ms"]["total"].as_f64());
            let seconds = seconds.map_or_else(String::new, |ms| format!(" {} s", significant(ms / 1000.0)));
            let outcome = if event["ok"] == true { "ok" } else { "FAILED" };
            self.last_publish = Some(format!("publish {} {outcome}{seconds}", event["n"]));
        }
    }

    pub(super) fn second(&mut self, second: &Second, plan: &Plan, search: Option<&Progress>) {
        self.failed += second.window.series.iter().map(|s| s.requests.failed).sum::<u64>();
        if self.quiet {
            return;
        }
        self.recent.push_back(Fetched::of(second, plan));
        if self.recent.len() > SHOWN_SECONDS {
            self.recent.pop_front();
        }
        let line = self.line(second, plan, search);
        match &self.bar {
            Some(bar) => bar.set_message(line),
            None if second.second % LINE_EVERY == LINE_EVERY - 1 => eprintln!("{line}"),
            None => {}
        }
    }

    fn line(&self, second: &Second, plan: &Plan, search: Option<&Progress>) -> String {
        let elapsed = (second.second + 1) as f64;
        let mut latency = Latency::default();
        let (mut completed, mut seconds) = (0, 0.0);
        for one in &self.recent {
            seconds += one.seconds;
            latency.merge(&one.latency);
            completed += one.completed;
        }
        let vus: u64 = plan.fetch_scenarios().map(|scenario| second.window.scenarios[scenario].vus).sum();
        let rate = if seconds > 0.0 { significant(completed as f64 / seconds) } else { MISSING.to_owned() };
        let quantile = |q| maybe(latency.quantile_ms(q));
        let figures = format!("{rate} rps  p50 {} p95 {} p99 {} ms", quantile(0.5), quantile(0.95), quantile(0.99));
        let publish = self.last_publish.as_deref().map_or_else(String::new, |publish| format!("  {publish}"));
        let errors = format!("{} errors", count(self.failed));
        match search {
            Some(progress) => {
                let phase = phase(progress.phase);
                let left = duration(progress.remaining_s);
                format!(
                    "{} {phase}  VUs {vus}/{}  {figures}  {errors}{publish}  {}; about {left} left",
                    duration(elapsed),
                    progress.vus,
                    progress.next
                )
            }
            None => {
                let total = plan.duration.as_secs_f64();
                let part = match second.part {
                    Part::WarmUp => "warm-up",
                    Part::Steady => "steady",
                    Part::Paused => "paused",
                    Part::Stopping => "stopping",
                };
                let asked = |at: usize| {
                    let executor = &plan.scenarios[at].executor;
                    let changed = self.asked.as_ref().filter(|_| matches!(executor, Executor::ConstantVus { .. }));
                    let planned = executor.vus_at(second.second);
                    if planned == 0 { 0 } else { changed.map_or(planned, |vus| vus[at]) }
                };
                let asked: u32 = plan.fetch_scenarios().map(asked).sum();
                let done = percent((elapsed / total).min(1.0));
                let (elapsed, total) = (duration(elapsed), duration(total));
                format!("{elapsed} of {total} ({done}) {part}  VUs {vus}/{asked}  {figures}  {errors}{publish}")
            }
        }
    }

    /// Takes the line away.
    pub(super) fn finish(&mut self) {
        if let Some(bar) = self.bar.take() {
            bar.finish_and_clear();
        }
    }
}

fn phase(phase: Phase) -> &'static str {
    match phase {
        Phase::WarmUp => "warm-up",
        Phase::Sweep => "sweep",
        Phase::Probe => "probe",
        Phase::Finished => "done",
    }
}
