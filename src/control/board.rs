//! What is shown of a run while it is on: one place that the control loop writes to once a second, and that is read from
//! another thread. No worker touches it.
//!
//! Documents have k6's shapes (k6 v1 `api/v1`: JSON:API), with `scenarios` beside k6's attributes.

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use serde_json::{Value, json};

use super::{Controls, Refusal};
use crate::metric::{Kind, METRICS, Metric, Narrow, Reading};
use crate::units::nearest;
use crate::window::Second;

/// Where the program is; the numbers are k6's (`lib.ExecutionStatus`).
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Phase {
    /// 0: nothing has happened.
    #[default]
    Created,
    /// 5: content is being made on the server.
    Setup,
    /// 6: the load is on.
    Running,
    /// 7: the load is over, content is being removed.
    Teardown,
    /// 8: over, as planned.
    Ended,
    /// 9: over, before it was planned.
    Interrupted,
}

impl Phase {
    /// k6's number.
    #[must_use]
    pub fn number(self) -> u8 {
        match self {
            Phase::Created => 0,
            Phase::Setup => 5,
            Phase::Running => 6,
            Phase::Teardown => 7,
            Phase::Ended => 8,
            Phase::Interrupted => 9,
        }
    }
}

/// What is shown.
#[derive(Debug, Default)]
pub struct Board(Mutex<State>);

#[derive(Debug, Default)]
struct State {
    phase: Phase,
    controls: Option<Controls>,
    /// Active VUs at the end of the last second, by scenario.
    vus: Vec<u64>,
    /// Everything since the start of the run, in the order of [`METRICS`].
    readings: Vec<Reading>,
    /// Time that the readings cover, seconds.
    seconds: f64,
    /// Metrics with thresholds, and whether one of them fails.
    tainted: BTreeMap<String, bool>,
}

impl Board {
    fn state(&self) -> MutexGuard<'_, State> {
        // What is shown is a copy: it is whole even if somebody panicked while he looked at it.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Where the program is.
    #[must_use]
    pub fn phase(&self) -> Phase {
        self.state().phase
    }

    /// The program is somewhere else now.
    pub fn set_phase(&self, phase: Phase) {
        self.state().phase = phase;
    }

    /// A run begins.
    pub fn begin(&self, controls: &Controls) {
        let vus = vec![0; controls.plan().scenarios.len()];
        let readings = METRICS.iter().map(|_| Reading::default()).collect();
        let controls = Some(controls.clone());
        *self.state() = State { phase: Phase::Running, controls, vus, readings, ..State::default() };
    }

    /// Something was done to the run.
    pub fn control(&self, controls: &Controls) {
        self.state().controls = Some(controls.clone());
    }

    /// A second is over. `tainted`: metrics with thresholds, and whether these would fail now.
    pub fn second<'a>(&self, second: &Second, tainted: impl Iterator<Item = (&'a str, bool)>) {
        let window = &second.window;
        let series: Vec<usize> = (0..window.series.len()).collect();
        let scenarios: Vec<usize> = (0..window.scenarios.len()).collect();
        let mut state = self.state();
        for (metric, reading) in METRICS.iter().zip(&mut state.readings) {
            reading.merge(&metric.read(window, &series, &scenarios, &Narrow::All));
        }
        state.vus = window.scenarios.iter().map(|scenario| scenario.vus).collect();
        state.seconds = window.span_ns.map_or(state.seconds, |(_, to)| to as f64 / 1e9);
        state.tainted.clear();
        for (metric, fails) in tainted {
            *state.tainted.entry(metric.to_owned()).or_default() |= fails;
        }
    }

    /// Why nothing can be asked of a run now, if nothing can.
    ///
    /// # Errors
    /// Where none is on.
    pub fn is_open(&self) -> Result<(), Refusal> {
        match self.phase() {
            Phase::Created | Phase::Setup => Err(Refusal::NotBegun),
            Phase::Running => Ok(()),
            Phase::Teardown | Phase::Ended | Phase::Interrupted => Err(Refusal::Over),
        }
    }

    /// The most VUs that can be asked for.
    #[must_use]
    pub fn most_vus(&self) -> u64 {
        self.state().most_vus()
    }

    /// `GET /v1/status`.
    #[must_use]
    pub fn status(&self) -> Value {
        let state = self.state();
        let controls = state.controls.as_ref();
        let vus = match controls.and_then(Controls::sole) {
            // What PATCH sets is what GET says.
            Some(scenario) => state.vus[scenario],
            None => state.vus.iter().sum(),
        };
        let scenarios = controls.map_or_else(Vec::new, |controls| {
            let scenario = |(at, plan): (usize, &crate::plan::ScenarioPlan)| {
                let (executor, vus) = (plan.executor.name(), state.vus[at]);
                json!({"name": plan.name, "executor": executor, "vus": vus, "vus-asked": controls.vus(at)})
            };
            controls.plan().scenarios.iter().enumerate().map(scenario).collect()
        });
        json!({"data": {"type": "status", "id": "default", "attributes": {
            "status": state.phase.number(),
            "paused": controls.is_some_and(Controls::is_paused),
            "vus": vus,
            "vus-max": state.most_vus(),
            "stopped": controls.is_some_and(Controls::is_stopping),
            "running": state.phase == Phase::Running,
            "tainted": state.tainted.values().any(|fails| *fails),
            "scenarios": scenarios,
        }}})
    }

    /// `GET /v1/metrics`: those that have data.
    #[must_use]
    pub fn metrics(&self) -> Value {
        let state = self.state();
        let all: Vec<Value> = METRICS.iter().enumerate().filter_map(|(at, metric)| state.metric(at, metric)).collect();
        json!({"data": all})
    }

    /// `GET /v1/metrics/ID`.
    ///
    /// # Errors
    /// For people, where there is no such metric or no data for it.
    pub fn metric(&self, id: &str) -> Result<Value, String> {
        let Some(at) = METRICS.iter().position(|metric| metric.name == id) else {
            let near = nearest(id, METRICS.iter().map(|metric| metric.name));
            let near = near.map_or_else(String::new, |near| format!("; did you mean {near}?"));
            return Err(format!("there is no metric {id:?}{near}"));
        };
        let found = self.state().metric(at, &METRICS[at]);
        found.map(|metric| json!({"data": metric})).ok_or_else(|| format!("there is no data for {id} yet"))
    }
}

impl State {
    fn most_vus(&self) -> u64 {
        let Some(controls) = &self.controls else { return 0 };
        match controls.sole() {
            Some(scenario) => controls.most(scenario).into(),
            None => controls.plan().max_vus().into(),
        }
    }

    /// The document of one metric; `None` without data.
    fn metric(&self, at: usize, metric: &Metric) -> Option<Value> {
        let reading = self.readings.get(at).filter(|reading| reading.windows > 0)?;
        let (kind, sample) = sample(metric.kind, reading, self.seconds)?;
        let contains = match metric.unit {
            "ms" => "time",
            "bytes" => "data",
            _ => "default",
        };
        let tainted = self.tainted.get(metric.name);
        let attributes = json!({"type": kind, "contains": contains, "tainted": tainted, "sample": sample});
        Some(json!({"type": "metrics", "id": metric.name, "attributes": attributes}))
    }
}

/// k6's sample of a metric: times in ms, rates of counters per second.
fn sample(kind: Kind, reading: &Reading, seconds: f64) -> Option<(&'static str, Value)> {
    let latency = &reading.latency;
    match kind {
        Kind::Counter => {
            let rate = if seconds > 0.0 { reading.count as f64 / seconds } else { 0.0 };
            Some(("counter", json!({"count": reading.count, "rate": rate})))
        }
        Kind::Gauge => Some(("gauge", json!({"value": reading.value}))),
        Kind::Rate => {
            (reading.total > 0).then(|| ("rate", json!({"rate": reading.count as f64 / reading.total as f64})))
        }
        Kind::Trend => (!latency.is_empty()).then(|| {
            let quantile = |q| latency.quantile_ms(q);
            (
                "trend",
                json!({
                    "avg": latency.mean_ms(), "min": latency.min_ms(), "med": quantile(0.5), "max": latency.max_ms(),
                    "p(90)": quantile(0.9), "p(95)": quantile(0.95), "p(99)": quantile(0.99),
                }),
            )
        }),
    }
}
