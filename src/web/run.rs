//! What the live page knows of a run: the same that its report will know, so far.

use std::sync::Arc;

use serde_json::{Value, json};

use crate::capacity::search::{Outcome, Progress, SearchResult, Step};
use crate::host::Environment;
use crate::plan::Plan;
use crate::report::archive::Recorded;
use crate::report::course::{self, Event, Publishes};
use crate::report::html;
use crate::report::number::{duration, maybe, plus_minus};
use crate::report::watch::{Searching, Watch};
use crate::summary::{self, Builder, RunState, Summary};
use crate::threshold::Verdict;
use crate::window::{Part, Second};

/// What is told to the page.
#[derive(Debug)]
pub enum News {
    /// A run begins, in a run directory of this name.
    Begin(Arc<Plan>, Box<Environment>, String),
    /// A second is over; of a saturation search with where it stands.
    Second(Box<Second>, Option<Box<(Progress, Vec<Step>)>>, Vec<Verdict>),
    /// An event of the run.
    Event(Value),
    /// The run is over; its summary, after the clean-up.
    Summary(Box<Summary>),
    /// Everything is.
    Over,
}

/// A run so far.
struct Run {
    watch: Watch,
    name: String,
    builder: Builder,
    /// Made again from the seconds: publishes are known only when they are over.
    course: course::Builder,
    publishes: Publishes,
    summary: Option<Box<Summary>>,
}

/// What is shown.
#[derive(Default)]
pub(super) struct Watched {
    run: Option<Box<Run>>,
    is_over: bool,
    /// The seconds that the last body was made of, and it.
    drawn: Option<(u64, String)>,
}

impl Watched {
    pub(super) fn take(&mut self, news: News) {
        match (news, &mut self.run) {
            (News::Begin(plan, environment, name), run) => {
                let publishes = Publishes::default();
                *run = Some(Box::new(Run {
                    builder: Builder::new((*plan).clone(), *environment),
                    course: course::Builder::new(&plan, &publishes),
                    watch: Watch::new(plan),
                    name,
                    publishes,
                    summary: None,
                }));
                self.drawn = None;
            }
            (News::Second(second, searched, verdicts), Some(run)) => {
                let search = searched.as_ref().map(|search| (search.0.clone(), search.1.as_slice()));
                run.watch.second(&second, search, &verdicts);
                run.builder.add(&second);
                run.course.add(&second);
            }
            (News::Event(event), Some(run)) => {
                run.watch.event(&event);
                if let Ok(event) = <Event as serde::Deserialize>::deserialize(&event) {
                    run.publishes.add(event);
                }
            }
            (News::Summary(summary), Some(run)) => {
                run.summary = Some(summary);
                self.drawn = None;
            }
            (News::Over, _) => self.is_over = true,
            (_, None) => {}
        }
    }

    pub(super) fn is_over(&self) -> bool {
        self.is_over
    }

    /// What it is doing now, in a sentence, and how far it is.
    pub(super) fn now(&self) -> Value {
        let Some(run) = &self.run else {
            return json!({"second": null, "text": "The run is being prepared."});
        };
        json!({"second": run.watch.elapsed_s(), "text": sentence(run)})
    }

    /// Figures and plots, as in the report. Made once for all who look.
    pub(super) fn body(&mut self) -> String {
        let Some(run) = &self.run else { return String::new() };
        let second = run.watch.elapsed_s();
        if let Some((of, body)) = &self.drawn
            && *of == second
        {
            return body.clone();
        }
        let recorded = Recorded {
            name: run.name.clone(),
            summary: run.summary.as_deref().cloned().unwrap_or_else(|| so_far(run)),
            course: run.course.clone().finish(),
            publishes: run.publishes.clone(),
        };
        let body = html::fragment(&recorded);
        self.drawn = Some((second, body.clone()));
        body
    }
}

/// As a report would show it if it ended now.
fn so_far(run: &Run) -> Summary {
    let mut summary = run.builder.clone().finish(RunState::Partial);
    summary.search = run.watch.search.as_ref().map(|search| summary::Search {
        result: unfinished(search, run.watch.elapsed_s() as f64),
        steps: search.steps.clone(),
    });
    summary
}

/// What a search has come to that is not over: no answer, but the curve so far. Intervals are made only at its end: they
/// take long.
fn unfinished(search: &Searching, elapsed_s: f64) -> SearchResult {
    let vus = search.steps.iter().filter(|step| step.rate.is_none()).map(|step| step.vus);
    SearchResult {
        outcome: Outcome::Aborted { reason: "the search is still going on".to_owned() },
        vus: None,
        rate: None,
        saturation_vus: None,
        vus_ci: None,
        knee_vus: None,
        requests_per_second: None,
        requests_per_second_ci: None,
        at_vus: None,
        knee: search.estimate.as_ref().and_then(|estimate| estimate.knee),
        misfit: search.estimate.as_ref().is_some_and(|estimate| estimate.misfit),
        kept: None,
        tested_vus: vus.clone().min().zip(vus.max()),
        warm_up_s: 0.0,
        elapsed_s,
        notes: Vec::new(),
    }
}

fn sentence(run: &Run) -> String {
    let watch = &run.watch;
    let elapsed = duration(watch.elapsed_s() as f64);
    if let Some(summary) = &run.summary {
        let how = match summary.state {
            RunState::Finished => "is over",
            RunState::Interrupted => "was interrupted",
            RunState::Stopped => "was stopped",
            RunState::Aborted { .. } => "was aborted",
            RunState::Partial => "is over, in part",
        };
        return format!("The run {how}, after {elapsed}.");
    }
    if let Some(search) = &watch.search {
        let progress = &search.progress;
        let rate = match (progress.requests_per_second, progress.plus_minus) {
            (Some(rate), Some(half)) => plus_minus(rate, half),
            (rate, _) => maybe(rate),
        };
        return format!(
            "Stage {}: {} for {:.0} s, {rate} requests per second; {}. {elapsed} so far, about {} left.",
            search.steps.len() + 1,
            progress.load(),
            progress.stage_s,
            progress.next,
            duration(progress.remaining_s)
        );
    }
    let part = match watch.part() {
        None => "The load begins",
        Some(Part::WarmUp) => "Warming up",
        Some(Part::Steady) => "Holding the load",
        Some(Part::Paused) => "Paused",
        Some(Part::Stopping) => "Stopping: what was begun is finished",
    };
    let vus: u64 = watch.plan().fetch_scenarios().map(|at| watch.lines[at].vus).sum();
    let rate = maybe(watch.fetches_per_s());
    let total = duration(watch.plan().duration.as_secs_f64());
    format!("{part}: {vus} VUs, {rate} fetches per second over the last 5 s; {elapsed} of {total}.")
}
