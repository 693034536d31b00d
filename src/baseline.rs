//! The documented figures: load tests that Posit publishes with its reference architectures, and a comparison with them.
//!
//! A documented point has no variance and no environment of ours; it is shown beside a result, and judged only by
//! requests per second and errors (see [`NOTE`]).

use serde::{Deserialize, Serialize};

/// Why latency is shown and not judged.
pub const NOTE: &str = "Posit's rows do not close under Little's law: 250 VUs / 1270 per second is a cycle time of \
                        197 ms, documented latency 175 ms (400 / 2716: 147 ms, 134 ms). A generator without overhead \
                        cannot match rps and latency at once, so rps and errors are judged; cycle time N/X is the \
                        figure to hold against latency.";

/// The same in a line.
pub const NOTE_IN_SHORT: &str =
    "shown, not judged: Posit's own rows do not close (250 VUs / 1270 per second is 197 ms, not 175)";

/// Change in requests per second that is called a difference: another cloud, version and generator.
const MIN_EFFECT: f64 = 0.10;
/// A documented error rate of 0 % is met by at most this.
const ERROR_TOLERANCE: f64 = 0.000_1;
/// Posit's rule: users that a throughput serves.
const USERS_PER_RPS: f64 = 10.0;

/// All documented baselines.
#[derive(Debug, Clone, PartialEq, Deserialize)]
pub struct Baselines {
    /// What the file is.
    pub about: String,
    /// How Posit measured.
    pub method: serde_json::Value,
    /// One per documented architecture.
    pub baselines: Vec<Baseline>,
}

/// One documented load test.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Baseline {
    /// Its id on the command line.
    pub id: String,
    /// What it is.
    pub title: String,
    /// `true` where the whole row was read in Posit's page, `"partial"` where only the fields given were.
    pub verified: serde_json::Value,
    /// The nodes.
    pub nodes: Nodes,
    /// The database.
    pub database: Option<serde_json::Value>,
    /// The storage.
    pub storage: Option<serde_json::Value>,
    /// The load balancer.
    pub load_balancer: Option<serde_json::Value>,
    /// VUs, where documented.
    pub vus: Option<u32>,
    /// Length of the load test, seconds.
    pub duration_s: Option<u64>,
    /// Requests per second.
    pub requests_per_second: f64,
    /// Mean latency of a fetch, ms, where documented.
    pub fetch_latency_mean_ms: Option<f64>,
    /// Share of failed requests, where documented.
    pub error_rate: Option<f64>,
    /// What to mind.
    pub caution: Option<String>,
}

/// The nodes of a documented architecture.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Nodes {
    /// How many.
    pub count: u32,
    /// Instance type.
    pub instance: String,
    /// Virtual CPUs of one.
    pub vcpus: u32,
    /// Memory of one, GiB.
    pub memory_gib: u32,
    /// Operating system.
    pub os: Option<String>,
}

impl Baseline {
    /// Time per iteration N/X in ms, where the VUs are documented.
    #[must_use]
    pub fn cycle_ms(&self) -> Option<f64> {
        self.vus.map(|vus| f64::from(vus) / self.requests_per_second * 1000.0)
    }

    /// Users that the documented throughput serves by Posit's rule, rps × 10.
    #[must_use]
    pub fn users(&self) -> f64 {
        self.requests_per_second * USERS_PER_RPS
    }
}

/// The documented baselines that are built in.
///
/// # Errors
/// Never with the file that is built in; a test reads it.
pub fn documented() -> Result<Baselines, serde_json::Error> {
    serde_json::from_str(include_str!("baselines.json"))
}

/// What a run is compared by.
#[derive(Debug, Clone, PartialEq)]
pub struct Measured {
    /// Fetching VUs, mean over the measured time.
    pub vus: f64,
    /// All requests per second.
    pub requests_per_second: f64,
    /// Time per iteration of the fetching VUs, N/X, ms.
    pub cycle_ms: Option<f64>,
    /// Mean latency of fetches, ms.
    pub latency_mean_ms: Option<f64>,
    /// Share of failed requests.
    pub error_rate: Option<f64>,
    /// Measured time, seconds.
    pub duration_s: f64,
    /// Nodes that were told apart, where they were.
    pub nodes: Option<u32>,
    /// Whether it was the sandbox.
    pub sandbox: bool,
}

/// How a run does against one documented baseline.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Standing {
    /// More than 10 % above.
    Above,
    /// Within 10 %.
    Meets,
    /// 10 % to 30 % below.
    Below,
    /// More than 30 % below.
    FarBelow,
    /// As many requests, but with errors that the documented run did not have.
    Errors,
}

impl Standing {
    /// The words for people.
    #[must_use]
    pub fn words(self) -> &'static str {
        match self {
            Standing::Above => "above",
            Standing::Meets => "meets",
            Standing::Below => "below",
            Standing::FarBelow => "far below",
            Standing::Errors => "errors",
        }
    }
}

/// One figure, as documented and as measured. What one of them lacks is `None`.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Figure {
    /// As documented.
    pub documented: Option<f64>,
    /// As measured.
    pub measured: Option<f64>,
    /// Measured / documented; `None` where the documented one is zero.
    pub ratio: Option<f64>,
    /// Measured − documented.
    pub difference: Option<f64>,
}

impl Figure {
    fn of(measured: Option<f64>, documented: Option<f64>) -> Figure {
        let both = measured.zip(documented);
        Figure {
            documented,
            measured,
            ratio: both.filter(|(_, theirs)| *theirs != 0.0).map(|(ours, theirs)| ours / theirs),
            difference: both.map(|(ours, theirs)| ours - theirs),
        }
    }
}

/// A run beside one documented baseline.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Comparison {
    /// The baseline's id.
    pub id: String,
    /// The baseline's title.
    pub title: String,
    /// How the run does, by requests per second and errors.
    pub standing: Standing,
    /// Measured / documented requests per second.
    pub requests_per_second_ratio: f64,
    /// Measured / documented mean latency. Not judged: see the note.
    pub latency_ratio: Option<f64>,
    /// Requests per second.
    pub requests_per_second: Figure,
    /// Time per iteration N/X, ms.
    pub cycle_ms: Figure,
    /// Mean latency of a fetch, ms. Not judged: see the note.
    pub latency_ms: Figure,
    /// VUs.
    pub vus: Figure,
    /// Share of failed requests.
    pub error_rate: Figure,
    /// Users by Posit's rule, rps × 10.
    pub users: Figure,
    /// What differs, so that a reader does not mistake the comparison for a like-for-like one.
    pub differs: Vec<String>,
}

/// Holds a run against a documented baseline.
#[must_use]
pub fn compare(run: &Measured, baseline: &Baseline) -> Comparison {
    let ratio = run.requests_per_second / baseline.requests_per_second;
    let allowed_errors = baseline.error_rate.unwrap_or(0.0) + ERROR_TOLERANCE;
    let standing = match ratio {
        r if r < 0.7 => Standing::FarBelow,
        r if r < 1.0 - MIN_EFFECT => Standing::Below,
        _ if run.error_rate.is_some_and(|rate| rate > allowed_errors) => Standing::Errors,
        r if r <= 1.0 + MIN_EFFECT => Standing::Meets,
        _ => Standing::Above,
    };
    let latency_ms = Figure::of(run.latency_mean_ms, baseline.fetch_latency_mean_ms);
    Comparison {
        id: baseline.id.clone(),
        title: baseline.title.clone(),
        standing,
        requests_per_second_ratio: ratio,
        latency_ratio: latency_ms.ratio,
        requests_per_second: Figure::of(Some(run.requests_per_second), Some(baseline.requests_per_second)),
        cycle_ms: Figure::of(run.cycle_ms, baseline.cycle_ms()),
        latency_ms,
        vus: Figure::of(Some(run.vus), baseline.vus.map(f64::from)),
        error_rate: Figure::of(run.error_rate, baseline.error_rate),
        users: Figure::of(Some(run.requests_per_second * USERS_PER_RPS), Some(baseline.users())),
        differs: differences(run, baseline),
    }
}

fn differences(run: &Measured, baseline: &Baseline) -> Vec<String> {
    let mut differs = Vec::new();
    if run.sandbox {
        differs.push("this run was made against the sandbox, which is not Posit Connect".to_owned());
    }
    let nodes = &baseline.nodes;
    let theirs = format!("{} × {} ({} vCPU, {} GiB)", nodes.count, nodes.instance, nodes.vcpus, nodes.memory_gib);
    match run.nodes {
        Some(ours) if ours != nodes.count => differs.push(format!("documented on {theirs}; {ours} node(s) seen here")),
        _ if !run.sandbox => differs.push(format!("documented on {theirs}; compare with your own")),
        _ => {}
    }
    if let Some(vus) = baseline.vus
        && (run.vus / f64::from(vus) - 1.0).abs() > 0.05
    {
        differs.push(format!("documented at {vus} VUs; {:.0} here, and latency follows the VUs", run.vus));
    }
    if let Some(seconds) = baseline.duration_s
        && (run.duration_s / seconds as f64) < 0.9
    {
        differs.push(format!("documented over {} min; {} here", seconds / 60, minutes(run.duration_s)));
    }
    differs.extend(baseline.caution.clone());
    differs
}

fn minutes(seconds: f64) -> String {
    if seconds < 120.0 { format!("{seconds:.0} s") } else { format!("{:.0} min", seconds / 60.0) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn run(rps: f64, errors: f64) -> Measured {
        Measured {
            vus: 250.0,
            requests_per_second: rps,
            cycle_ms: Some(250.0 / rps * 1000.0),
            latency_mean_ms: Some(190.0),
            error_rate: Some(errors),
            duration_s: 1800.0,
            nodes: Some(1),
            sandbox: false,
        }
    }

    fn robust() -> Baseline {
        documented().unwrap().baselines.into_iter().find(|b| b.id == "aws-single-server-robust").unwrap()
    }

    #[test]
    fn the_documented_rows_are_read_and_do_not_close() {
        let known = documented().unwrap();
        let ids: Vec<&str> = known.baselines.iter().map(|b| b.id.as_str()).collect();
        assert_eq!(ids, ["aws-single-server-robust", "azure-load-balanced", "aws-single-server"]);
        assert!((robust().cycle_ms().unwrap() - 196.85).abs() < 0.01);
        assert_eq!(known.baselines[2].fetch_latency_mean_ms, None);
    }

    #[test]
    fn requests_and_errors_are_judged_and_latency_is_not() {
        let standing = |rps, errors| compare(&run(rps, errors), &robust()).standing;
        assert_eq!(standing(1270.0, 0.0), Standing::Meets);
        assert_eq!(standing(1145.0, 0.0), Standing::Meets);
        assert_eq!(standing(1140.0, 0.0), Standing::Below);
        assert_eq!(standing(800.0, 0.0), Standing::FarBelow);
        assert_eq!(standing(1500.0, 0.0), Standing::Above);
        assert_eq!(standing(1270.0, 0.001), Standing::Errors);
    }

    #[test]
    fn what_is_not_documented_is_not_compared() {
        let partial = documented().unwrap().baselines.remove(2);
        let comparison = compare(&run(939.0, 0.0), &partial);
        assert_eq!((comparison.latency_ratio, comparison.cycle_ms.ratio), (None, None));
        assert_eq!(comparison.error_rate.difference, None);
        assert_eq!(comparison.users.difference, Some(0.0));
        assert!(comparison.differs.iter().any(|d| d.contains("burstable")));
    }
}
