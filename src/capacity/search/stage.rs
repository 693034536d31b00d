//! One stage: a number of VUs, or a rate, held until its throughput is known well enough, or is of no use.

use super::{Bin, GeneratorState, OpenBin, Raised, SearchConfig, Step, StepKind};
use crate::histogram::Latency;
use crate::stats::batches::{batch_means, is_rising, mser_cut};

/// Why a stage is run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Purpose {
    /// The first of the sweep: only its order of magnitude matters.
    First,
    Sweep,
    /// At the estimate: never cut short.
    Probe,
}

/// Throughput with its standard error, requests per second.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Rate {
    pub(super) per_s: f64,
    pub(super) se: f64,
}

impl Rate {
    /// Gain over `best` and its standard error, both as shares.
    pub(super) fn gain_over(self, best: Rate) -> (f64, f64) {
        if best.per_s <= 0.0 {
            return (if self.per_s > 0.0 { f64::INFINITY } else { 0.0 }, 0.0);
        }
        let ratio = self.per_s / best.per_s;
        let own = if self.per_s > 0.0 { self.se / self.per_s } else { 0.0 };
        (ratio - 1.0, ratio * own.hypot(best.se / best.per_s))
    }
}

/// How a stage ended.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Ending {
    Measured(StepKind),
    Errors(Storm),
    Generator(String),
    Silent(usize),
}

/// Many failures within a few seconds.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Storm {
    share: f64,
    /// Most of them were never sent: of the open model.
    no_free_vu: bool,
}

/// Requests that the open model may be short of at the end of a stage: so large a share of those that were due, and so many
/// standard deviations of a Poisson process. What is under way in a queue that is stable does not grow for long.
const BEHIND: (f64, f64) = (0.03, 2.0);

impl Storm {
    /// Fewer failures than this are an accident, however small the number of requests.
    const FEWEST: f64 = 3.0;

    pub(super) fn seen(completed: &[f64], failed: &[f64], seconds: usize, most: f64) -> Option<Self> {
        let last = |v: &[f64]| v.iter().rev().take(seconds).sum::<f64>();
        let (ok, bad) = (last(completed), last(failed));
        (bad >= Self::FEWEST && bad > most * (ok + bad)).then(|| Self { share: bad / (ok + bad), no_free_vu: false })
    }

    pub(super) fn text(self) -> String {
        let share = super::text::percent(self.share);
        match self.no_free_vu {
            true => format!("{share} of requests found no free VU or failed"),
            false => format!("{share} of requests failed"),
        }
    }
}

/// A server that answers nothing for so long is taken for dead: 10 s, or five of its mean latencies.
pub(super) fn silence_s(mean_latency_s: Option<f64>) -> usize {
    mean_latency_s.map_or(10, |r| (5.0 * r).ceil().clamp(10.0, 300.0) as usize)
}

/// A stage that runs.
#[derive(Debug, Clone)]
pub(super) struct Stage {
    /// What is held: VUs, or of the open model requests per second.
    pub(super) vus: u32,
    pub(super) purpose: Purpose,
    /// After more VUs than now: what is left of them is still being answered.
    is_step_down: bool,
    /// Mean latency before anything completes here.
    expected_latency_s: Option<f64>,
    per_s: Vec<f64>,
    completed: Vec<f64>,
    failed: Vec<f64>,
    latencies: Vec<Latency>,
    /// Seconds in which the generator was the limit, with the last reason.
    limited: (usize, String),
    /// Seconds with too few active VUs, with the last number.
    short_of_vus: (usize, u32),
    /// Of the open model.
    open: Vec<OpenBin>,
    /// The most VUs that were busy.
    most_vus: u32,
}

impl Stage {
    pub(super) fn new(vus: u32, purpose: Purpose, before: (u32, Option<f64>)) -> Self {
        Self {
            vus,
            purpose,
            is_step_down: vus < before.0,
            expected_latency_s: before.1,
            per_s: Vec::new(),
            completed: Vec::new(),
            failed: Vec::new(),
            latencies: Vec::new(),
            limited: (0, String::new()),
            short_of_vus: (0, 0),
            open: Vec::new(),
            most_vus: 0,
        }
    }

    /// Takes one bin that lasted `seconds`; says when the stage is over. `best` is the best stage so far.
    pub(super) fn observe(
        &mut self,
        bin: &Bin,
        seconds: f64,
        best: Option<Rate>,
        config: &SearchConfig,
    ) -> Option<Ending> {
        self.per_s.push(bin.completed as f64 / seconds);
        self.completed.push(bin.completed as f64);
        let open = bin.open.unwrap_or_default();
        self.failed.push((bin.failed + open.dropped) as f64);
        self.open.push(open);
        self.most_vus = self.most_vus.max(bin.vus);
        self.latencies.push(bin.latency.clone());
        if self.seconds() > config.settle_s as usize {
            self.note_generator(bin, config);
        }
        self.trouble(config).or_else(|| self.seconds().is_multiple_of(5).then(|| self.look(best, config)).flatten())
    }

    fn note_generator(&mut self, bin: &Bin, config: &SearchConfig) {
        if let GeneratorState::Limited { reason } = &bin.generator {
            self.limited = (self.limited.0 + 1, reason.clone());
        }
        if config.raised == Raised::Vus && f64::from(bin.vus) < 0.95 * f64::from(self.vus) {
            self.short_of_vus = (self.short_of_vus.0 + 1, bin.vus);
        }
    }

    pub(super) fn seconds(&self) -> usize {
        self.per_s.len()
    }

    /// What ends a stage at any time.
    fn trouble(&self, config: &SearchConfig) -> Option<Ending> {
        // What a step down inherits from more VUs is not its own.
        let from = if self.is_step_down { self.settle_s(config).min(self.seconds()) } else { 0 };
        let storm = Storm::seen(&self.completed[from..], &self.failed[from..], 5, config.max_error_share);
        if let Some(storm) = storm {
            let dropped: u64 = self.open.iter().rev().take(5).map(|open| open.dropped).sum();
            return Some(Ending::Errors(Storm { no_free_vu: dropped > 0, ..storm }));
        }
        let silent = self.completed.iter().rev().take_while(|c| **c == 0.0).count();
        if silent >= silence_s(self.mean_latency_s()) {
            return Some(Ending::Silent(silent));
        }
        let watched = self.seconds().saturating_sub(config.settle_s as usize);
        if self.limited.0 >= 2 && 5 * self.limited.0 >= watched && watched >= 5 {
            return Some(Ending::Generator(self.limited.1.clone()));
        }
        if watched >= 7 && 2 * self.short_of_vus.0 > watched {
            return Some(Ending::Generator(format!("only {} of {} VUs were active", self.short_of_vus.1, self.vus)));
        }
        None
    }

    /// Every 5 s: is it known well enough?
    fn look(&self, best: Option<Rate>, config: &SearchConfig) -> Option<Ending> {
        let (rate, cut) = self.rate(config)?;
        let values = &self.per_s[cut..];
        let [short, normal, long] = self.lengths(config);
        let seconds = self.seconds();
        if seconds < short {
            return None;
        }
        match (self.purpose, best) {
            (Purpose::First, _) => return Some(Ending::Measured(StepKind::First)),
            (Purpose::Sweep, Some(best)) if seconds < normal => {
                let (gain, se) = rate.gain_over(best);
                if gain - 2.0 * se > 0.5 && !is_rising(values, 1.03) {
                    return Some(Ending::Measured(StepKind::Grow));
                }
            }
            _ => {}
        }
        let is_sure = 2.2 * rate.se <= 0.01 * rate.per_s && !is_rising(values, 1.02);
        (seconds >= normal && (is_sure || seconds >= long)).then_some(Ending::Measured(StepKind::Full))
    }

    /// T1, T2, T3 of this stage: longer by what settling takes longer, and long enough to see a few answers.
    fn lengths(&self, config: &SearchConfig) -> [usize; 3] {
        let settle = self.settle_s(config);
        let extra = settle - config.settle_s as usize;
        let two_latencies = self.mean_latency_s().map_or(0, |r| (2.0 * r).ceil().min(60.0) as usize);
        [config.short_s, config.normal_s, config.long_s].map(|t| (t as usize + extra).max(settle + two_latencies))
    }

    /// Seconds to leave out at least: three mean latencies, at most a minute.
    fn settle_s(&self, config: &SearchConfig) -> usize {
        let least = config.settle_s as usize;
        self.mean_latency_s().map_or(least, |r| ((3.0 * r).ceil().min(60.0) as usize).max(least))
    }

    /// Mean latency so far, or of the stage before.
    pub(super) fn mean_latency_s(&self) -> Option<f64> {
        let (sum, n) =
            self.latencies.iter().fold((0.0, 0.0), |(s, n), l| (s + l.sum_ns() as f64, n + l.count() as f64));
        if n > 0.0 { Some(sum / n / 1e9) } else { self.expected_latency_s }
    }

    /// Throughput after the cut, and the cut in seconds.
    pub(super) fn rate(&self, config: &SearchConfig) -> Option<(Rate, usize)> {
        let cut = mser_cut(&self.per_s, self.settle_s(config));
        let values = &self.per_s[cut..];
        let means = batch_means(values)?;
        // A count over t seconds is uncertain by one request at its ends, which matters where there are few.
        let count = 0.41 / values.len() as f64;
        let se = if means.se.is_finite() { means.se.hypot(count) } else { means.mean.max(count) };
        Some((Rate { per_s: means.mean, se }, cut))
    }

    /// Latency of what completed after the cut.
    pub(super) fn latency(&self, config: &SearchConfig) -> Latency {
        let cut = self.rate(config).map_or(0, |(_, cut)| cut);
        let mut latency = Latency::default();
        self.latencies.iter().skip(cut).for_each(|l| latency.merge(l));
        latency
    }

    /// Of the open model: requests that were due and are not answered, where they are too many for chance. The latency of those
    /// that are answered is too small then.
    pub(super) fn left_behind(&self, config: &SearchConfig) -> Option<String> {
        let (_, cut) = self.rate(config)?;
        let due = self.open[cut..].iter().map(|open| open.due as f64).sum::<f64>();
        let ended = self.completed[cut..].iter().chain(&self.failed[cut..]).sum::<f64>();
        let seconds = (self.seconds() - cut) as f64;
        let (share, deviations) = BEHIND;
        (due - ended > (share * due).max(deviations * due.sqrt())).then(|| {
            let [due, ended] = [due, ended].map(|n| (n / seconds).round());
            format!("of {due} requests per second {ended} were answered; the others wait")
        })
    }

    /// What is reported of the stage.
    pub(super) fn step(&self, kind: StepKind, change: Option<f64>, decision: String, config: &SearchConfig) -> Step {
        let (rate, cut) = self.rate(config).unwrap_or((Rate { per_s: 0.0, se: 0.0 }, 0));
        let latency = self.latency(config);
        let sum = |v: &[f64]| v.iter().skip(cut).sum::<f64>();
        let (ok, bad) = (sum(&self.completed), sum(&self.failed));
        let is_open = config.raised == Raised::Rate;
        Step {
            vus: if is_open { self.most_vus } else { self.vus },
            rate: is_open.then_some(self.vus),
            requests_per_second: rate.per_s,
            standard_error: rate.se,
            change_vs_best: change,
            mean_ms: latency.mean_ms(),
            p50_ms: latency.quantile_ms(0.50),
            p95_ms: latency.quantile_ms(0.95),
            p99_ms: latency.quantile_ms(0.99),
            error_rate: if ok + bad > 0.0 { bad / (ok + bad) } else { 0.0 },
            seconds: self.seconds() as f64,
            cut_s: cut as f64,
            kind,
            decision,
        }
    }
}
