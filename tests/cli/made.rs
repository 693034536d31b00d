//! Run directories with figures that are known, made through the library and not by a load test: what a gate says of
//! them depends on no machine.

use std::path::{Path, PathBuf};
use std::time::Duration;

use connect_bench::host::Environment;
use connect_bench::plan::{Executor, FetchPlan, HttpPlan, Plan, ProgramPlan, ScenarioPlan, Target};
use connect_bench::rundir::{PlanFile, RunDir};
use connect_bench::summary::{Builder, RunState};
use connect_bench::window::{GeneratorWindow, HostSample, Part, ScenarioWindow, Second, Window};

/// What a made run is like.
#[derive(Clone)]
pub(crate) struct Made {
    /// Hour of its day: runs are told apart and put into order by it.
    pub(crate) hour: i64,
    pub(crate) vus: u32,
    pub(crate) per_s: u64,
    /// Of the requests of each second.
    pub(crate) failed: u64,
    pub(crate) seconds: u64,
    /// Whether the generator was the limit.
    pub(crate) limited: bool,
    pub(crate) invocation: Vec<String>,
}

impl Made {
    pub(crate) fn at(hour: i64, per_s: u64) -> Made {
        Made { hour, vus: 20, per_s, failed: 0, seconds: 30, limited: false, invocation: Vec::new() }
    }

    fn plan(&self) -> Plan {
        let duration = Duration::from_secs(self.seconds);
        let executor = Executor::constant_vus(self.vus, duration);
        let scenario = ScenarioPlan {
            graceful_stop: Duration::ZERO,
            ..ScenarioPlan::of("fetch", executor, ProgramPlan::Fetch(FetchPlan::of("/")))
        };
        let target = Target::at("http://127.0.0.1:8080/".parse().unwrap());
        Plan {
            version: "0.1.0".to_owned(),
            run_id: format!("made{:04}", self.hour),
            http: HttpPlan { user_agent: "connect-bench".to_owned(), ..HttpPlan::default() },
            ..Plan::of(target, vec![scenario])
        }
    }

    fn second(&self, second: u64) -> Second {
        let mut window = Window::new(1, 1);
        window.span_ns = Some((second * 1_000_000_000, (second + 1) * 1_000_000_000));
        let fetches = &mut window.series[0];
        // N = X·R closes.
        let took = Duration::from_secs_f64(f64::from(self.vus) / (self.per_s + self.failed) as f64);
        fetches.requests.scheduled = self.per_s + self.failed;
        fetches.requests.completed = self.per_s;
        fetches.requests.failed = self.failed;
        fetches.sent = self.per_s + self.failed;
        fetches.duration.record_n(took, self.per_s);
        fetches.waiting.record_n(took, self.per_s);
        fetches.failed_duration.record_n(took, self.failed);
        let vu_time_ns = u128::from(self.vus) * 1_000_000_000;
        window.scenarios[0] = ScenarioWindow { vus: self.vus.into(), vu_time_ns, ..ScenarioWindow::default() };
        let busiest_permille = if self.limited { 990 } else { 50 };
        window.generator = GeneratorWindow {
            cpu_ns: 50_000_000,
            wall_ns: 1_000_000_000,
            busiest_permille,
            ..GeneratorWindow::default()
        };
        Second { second, part: Part::Steady, window, host: HostSample::default() }
    }

    /// Writes it below `runs`, and returns its directory.
    pub(crate) fn write(&self, runs: &Path) -> PathBuf {
        let started = jiff::Timestamp::from_second(1_767_225_600 + 3600 * self.hour).unwrap();
        let environment = Environment {
            started,
            host: "generator".to_owned(),
            kernel: "6".to_owned(),
            cores: 2,
            memory_bytes: None,
            open_files_limit: None,
        };
        let path = runs.join(connect_bench::rundir::name(&environment, "load", &format!("made{:04}", self.hour)));
        let mut directory = RunDir::create(&path).unwrap();
        let file =
            PlanFile { plan: self.plan(), environment: environment.clone(), invocation: self.invocation.clone() };
        directory.write_plan(&file).unwrap();
        let mut builder = Builder::new(file.plan, environment);
        for second in 0..self.seconds {
            let second = self.second(second);
            directory.append(&second).unwrap();
            builder.add(&second);
        }
        directory.write_summary(&builder.finish(RunState::Finished)).unwrap();
        path
    }
}
