//! `load --resume RUN`: goes on with a load test that was broken off, as if the time in between had been a pause.

use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::anyhow;
use jiff::Timestamp;

use super::failure::Failure;
use crate::cli::{self, Command, LoadArgs};
use crate::plan::{Executor, Plan};
use crate::rundir::{self, PlanFile};
use crate::server_metrics::Scrape;
use crate::summary::RunState;
use crate::window::{Counts, HostSample, Part, Second, Window};

/// What was measured before a run was broken off.
pub(super) struct Before {
    directory: PathBuf,
    file: PlanFile,
    /// Whole seconds that it has.
    seconds: u64,
    /// The time of them that counts.
    measured: Duration,
    /// Requests and iterations that were under way at its end: nobody knows what became of them.
    last: Option<Window>,
}

impl Before {
    /// Reads a run that was broken off.
    pub(super) fn read(directory: &Path) -> Result<Before, Failure> {
        let invalid = |why: &str| Failure::invalid(anyhow!("{}: {why}", directory.display()));
        let file = rundir::read_plan(directory).map_err(Failure::invalid)?;
        if file.plan.command != "load" || file.invocation.first().is_none_or(|command| command != "load") {
            return Err(invalid("only a run of `load` can be gone on with"));
        }
        if directory.join("summary.json").exists() {
            let summary = rundir::read(directory).map_err(Failure::invalid)?;
            if summary.state == RunState::Finished {
                return Err(invalid("it has finished; there is nothing to go on with"));
            }
        }
        let (mut seconds, mut measured, mut whole) = (0, Duration::ZERO, Window::default());
        for second in rundir::seconds(directory).map_err(Failure::invalid)? {
            let second = second.map_err(Failure::invalid)?;
            // What was being stopped is no part of it: the rest is measured anew.
            if second.part != Part::Stopping {
                seconds = second.second + 1;
                whole.merge(&second.window);
                measured += if second.part == Part::Steady { Duration::from_secs(1) } else { Duration::ZERO };
            }
        }
        let before = Before { directory: directory.to_owned(), file, seconds, measured, last: Some(whole) };
        if before.remaining() < Duration::from_secs(1) {
            return Err(invalid("all of its time was measured; there is nothing to go on with"));
        }
        Ok(before)
    }

    /// Time that is still to be measured.
    pub(super) fn remaining(&self) -> Duration {
        let planned = self.file.plan.duration.saturating_sub(self.file.plan.warm_up);
        planned.saturating_sub(self.measured)
    }

    /// The command line that it was made with, but with this one's output, key and control; its VUs and its warm-up.
    pub(super) fn arguments(&self, now: &LoadArgs) -> Result<LoadArgs, Failure> {
        let line = std::iter::once("connect-bench".to_owned()).chain(self.file.invocation.iter().cloned());
        let parsed = cli::reparse(line).map_err(|e| Failure::invalid(anyhow!("its command line: {e}")))?;
        let Command::Load(mut args) = parsed.command else {
            return Err(Failure::invalid(anyhow!("its command line is none of `load`")));
        };
        let plan = &self.file.plan;
        args.vus = plan.fetch_scenario().and_then(|at| match plan.scenarios[at].executor {
            Executor::ConstantVus { vus, .. } => Some(vus),
            _ => None,
        });
        args.duration = self.remaining();
        args.warmup = Some(plan.warm_up);
        args.from = None;
        let (recorded, typed) = (args.run.server.clone(), now.run.server.clone());
        args.run.server = typed;
        args.run.server.server = args.run.server.server.or(recorded.server);
        args.run.server.name = args.run.server.name.or(recorded.name);
        args.run.server.allow_host.extend(recorded.allow_host);
        args.run.server.allow_http |= recorded.allow_http;
        args.run.server.insecure |= recorded.insecure;
        args.run.server.cacert = args.run.server.cacert.or(recorded.cacert);
        args.run.output = now.run.output.clone();
        args.run.output.invocation.clone_from(&self.file.invocation);
        args.run.live = now.run.live.clone();
        args.run.rails = now.run.rails.clone();
        args.resume = None;
        Ok(args)
    }

    /// Refuses a plan that measures something else.
    pub(super) fn check(&self, plan: &Plan) -> Result<(), Failure> {
        let before = &self.file.plan;
        let other = |what: &str| Failure::invalid(anyhow!("{}: it was of another {what}", self.directory.display()));
        let (a, b) = (&before.target, &plan.target);
        let same_place = if a.sandbox && b.sandbox && a.sandbox_profile.is_some() {
            a.sandbox_profile == b.sandbox_profile
        } else {
            a.url == b.url
        };
        if !same_place {
            return Err(other("server"));
        }
        if before.series().len() != plan.series().len() || before.scenarios.len() != plan.scenarios.len() {
            return Err(other("workload"));
        }
        if before.http != plan.http || before.seed != plan.seed {
            return Err(other("way of connecting, or seed"));
        }
        Ok(())
    }

    /// The plan of both parts together.
    pub(super) fn whole(&self, plan: &Plan) -> Plan {
        Plan { duration: self.file.plan.duration, warm_up: self.file.plan.warm_up, ..plan.clone() }
    }

    /// When the first part began.
    pub(super) fn started(&self) -> Timestamp {
        self.file.environment.started
    }

    /// What it measured, second by second.
    pub(super) fn seconds(&self) -> Result<impl Iterator<Item = Second> + use<'_>, Failure> {
        let all = rundir::seconds(&self.directory).map_err(Failure::invalid)?;
        Ok(all.filter_map(Result::ok).filter(|second| second.part != Part::Stopping))
    }

    /// What servers told of themselves in it.
    pub(super) fn scrapes(&self) -> Vec<Scrape> {
        rundir::scrapes(&self.directory)
    }

    /// The gap up to the second part, which begins at this time: a pause in which what was under way was cut off.
    pub(super) fn gap(&mut self, now: Timestamp) -> Second {
        let since = now.duration_since(self.started()).as_secs_f64().ceil().max(0.0) as u64;
        let until = since.max(self.seconds + 1);
        let whole = self.last.take().unwrap_or_default();
        let mut window = Window::new(whole.series.len(), whole.scenarios.len());
        window.span_ns = Some((self.seconds * 1_000_000_000, until * 1_000_000_000));
        let cut = |counts: &Counts| {
            let lost = counts.carried_out.saturating_sub(counts.carried_in);
            Counts { carried_in: lost, interrupted: lost, ..Counts::default() }
        };
        for (now, before) in window.series.iter_mut().zip(&whole.series) {
            now.requests = cut(&before.requests);
        }
        for (now, before) in window.scenarios.iter_mut().zip(&whole.scenarios) {
            now.iterations = cut(&before.iterations);
        }
        Second { second: self.seconds, part: Part::Paused, window, host: HostSample::default() }
    }
}

/// By how much the seconds of the second part come later than that part's clock says.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Shift(u64);

impl Shift {
    /// Behind a gap.
    pub(super) fn after(gap: &Second) -> Shift {
        Shift(gap.window.span_ns.map_or(0, |(_, until)| until / 1_000_000_000))
    }

    /// So many seconds later.
    pub(super) fn seconds(self) -> f64 {
        self.0 as f64
    }

    /// Puts a second where it belongs. A second warm-up is a part of the gap: caches were cold, and nothing of it counts.
    pub(super) fn apply(self, second: &mut Second) {
        if self.0 == 0 {
            return;
        }
        if second.part == Part::WarmUp {
            second.part = Part::Paused;
        }
        second.second += self.0;
        if let Some((from, to)) = &mut second.window.span_ns {
            *from += self.0 * 1_000_000_000;
            *to += self.0 * 1_000_000_000;
        }
    }
}
