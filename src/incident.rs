//! What went wrong during a run, as events with a beginning, an end and a recovery: whose fault it was, how much of it
//! there was. Pure: seconds in, incidents out. Bounded: one open incident for each kind, and so many kept.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::outcome::{Blame, ErrorKind, UnknownErrorKind};
use crate::window::{Part, Second};

/// Seconds without a failure of the kind after which it is over.
const QUIET_S: u64 = 3;
/// Incidents that are kept; more are counted.
const MOST: usize = 200;
/// A jump of the wall clock against the monotonic one that is an incident, ms.
const CLOCK_MS: f64 = 1_000.0;
/// An event loop that comes so late did not run in between, ms.
const STOPPED_MS: f64 = 1_000.0;

/// What an incident is made of.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(into = "String", try_from = "String")]
pub enum Trouble {
    /// Requests failed in this way.
    Error(ErrorKind),
    /// Nothing was completed although VUs were at it.
    Outage,
    /// The wall clock was set, or this machine slept.
    Clock,
    /// The event loop stood still: this process did not run.
    Stopped,
}

const WORDS: [(Trouble, &str); 3] =
    [(Trouble::Outage, "outage"), (Trouble::Clock, "clock"), (Trouble::Stopped, "stopped")];

impl From<Trouble> for String {
    fn from(trouble: Trouble) -> String {
        match trouble {
            Trouble::Error(kind) => kind.to_string(),
            other => WORDS.iter().find(|(known, _)| *known == other).map_or("", |(_, word)| word).to_owned(),
        }
    }
}

impl TryFrom<String> for Trouble {
    type Error = UnknownErrorKind;

    fn try_from(text: String) -> Result<Trouble, UnknownErrorKind> {
        match WORDS.iter().find(|(_, word)| *word == text) {
            Some((trouble, _)) => Ok(*trouble),
            None => text.parse().map(Trouble::Error),
        }
    }
}

/// Something that went wrong for a while.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Incident {
    /// What.
    pub trouble: Trouble,
    /// Whose fault, as far as it can be told from here.
    pub blame: Blame,
    /// The second in which it began.
    pub from_s: u64,
    /// The last second of it.
    pub to_s: u64,
    /// Requests that failed by it; for a clock the jump, for a stop its length, in ms.
    pub count: u64,
    /// The first second after it in which requests were completed; `None` where that never was.
    pub recovered_s: Option<u64>,
}

/// Finds incidents while a run lasts.
#[derive(Debug, Clone, Default)]
pub struct Incidents {
    open: BTreeMap<Trouble, Incident>,
    /// How far the wall clock was ahead at the end of the last second, ms.
    ahead_ms: Option<f64>,
    /// Incidents that are over so far, for the bound.
    told: usize,
}

impl Incidents {
    /// Takes a second; returns the incidents that are over by it.
    pub fn second(&mut self, second: &Second) -> Vec<Incident> {
        let at = second.second;
        for (trouble, blame, count) in self.seen(second) {
            // Of the seconds in which it stood still a worker tells when it goes on.
            let before = if trouble == Trouble::Stopped { count / 1_000 } else { 0 };
            let from_s = at.saturating_sub(before);
            let fresh = Incident { trouble, blame, from_s, to_s: at, count: 0, recovered_s: None };
            let incident = self.open.entry(trouble).or_insert(fresh);
            incident.to_s = at;
            incident.count += count;
            incident.recovered_s = None;
        }
        let works = second.window.series.iter().any(|s| s.requests.completed > 0);
        for incident in self.open.values_mut().filter(|incident| works && incident.to_s < at) {
            incident.recovered_s.get_or_insert(at);
        }
        let over: Vec<Trouble> = self
            .open
            .values()
            .filter(|i| at >= i.to_s + QUIET_S && i.recovered_s.is_some())
            .map(|i| i.trouble)
            .collect();
        self.close(&over)
    }

    /// The run is over: what is still open has not recovered, or only just.
    pub fn finish(&mut self) -> Vec<Incident> {
        let all: Vec<Trouble> = self.open.keys().copied().collect();
        self.close(&all)
    }

    fn close(&mut self, over: &[Trouble]) -> Vec<Incident> {
        let room = MOST.saturating_sub(self.told);
        let closed: Vec<Incident> = over.iter().filter_map(|trouble| self.open.remove(trouble)).take(room).collect();
        self.told += closed.len();
        closed
    }

    fn seen(&mut self, second: &Second) -> Vec<(Trouble, Blame, u64)> {
        let mut errors: BTreeMap<ErrorKind, u64> = BTreeMap::new();
        let (mut completed, mut failed, mut vus) = (0, 0, 0);
        for series in &second.window.series {
            completed += series.requests.completed;
            failed += series.requests.failed;
            let sockets = series.sockets.iter().flat_map(|sockets| &sockets.errors);
            for (kind, n) in series.errors.iter().chain(sockets) {
                *errors.entry(*kind).or_default() += n;
            }
        }
        for scenario in &second.window.scenarios {
            vus += scenario.vus;
        }
        let error = |(kind, n): (&ErrorKind, &u64)| (Trouble::Error(*kind), kind.blame(), *n);
        let mut seen: Vec<_> = errors.iter().map(error).collect();
        let at_work = matches!(second.part, Part::WarmUp | Part::Steady) && vus > 0;
        if at_work && completed == 0 && failed > 0 {
            // The failures say whose fault: the last of the blames is the generator's, which excuses the others.
            let blame = errors.keys().map(|kind| kind.blame()).max().unwrap_or(Blame::Network);
            seen.push((Trouble::Outage, blame, failed));
        }
        let ahead = second.host.wall_ahead_ms;
        if let (Some(before), Some(now)) = (self.ahead_ms, ahead)
            && (now - before).abs() >= CLOCK_MS
        {
            seen.push((Trouble::Clock, Blame::Generator, (now - before).abs() as u64));
        }
        self.ahead_ms = ahead.or(self.ahead_ms);
        let still_ms = second.window.generator.lag.max_ms().unwrap_or(0.0);
        if still_ms >= STOPPED_MS {
            seen.push((Trouble::Stopped, Blame::Generator, still_ms as u64));
        }
        seen
    }
}

impl Incident {
    /// What happened, for people.
    #[must_use]
    pub fn describe(&self) -> String {
        let what = match self.trouble {
            Trouble::Error(kind) => format!("{} ({} requests)", kind.describe(), self.count),
            Trouble::Outage => "no request was completed".to_owned(),
            Trouble::Clock => format!("the wall clock jumped by {} ms, or this machine slept", self.count),
            Trouble::Stopped => {
                format!("this process was stopped or starved for {:.1} s", self.count as f64 / 1e3)
            }
        };
        let whose = match self.blame {
            Blame::Server => "the server's",
            Blame::Network => "the network's",
            Blame::Generator => "our own",
        };
        let after = match self.recovered_s {
            Some(second) => format!("recovered at {second} s"),
            None => "not recovered".to_owned(),
        };
        format!("{} to {} s: {what}; {whose}; {after}", self.from_s, self.to_s + 1)
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::window::{Counts, HostSample, Window};

    fn second(at: u64, completed: u64, error: Option<(ErrorKind, u64)>) -> Second {
        let mut window = Window::new(1, 1);
        let failed = error.map_or(0, |(_, n)| n);
        window.span_ns = Some((at * 1_000_000_000, (at + 1) * 1_000_000_000));
        window.scenarios[0].vus = 4;
        window.series[0].requests = Counts { scheduled: completed + failed, completed, failed, ..Counts::default() };
        window.series[0].errors = error.into_iter().collect();
        Second { second: at, part: Part::Steady, window, host: HostSample::default() }
    }

    fn run(seconds: impl IntoIterator<Item = Second>) -> Vec<Incident> {
        let mut incidents = Incidents::default();
        let mut all: Vec<Incident> = seconds.into_iter().flat_map(|s| incidents.second(&s)).collect();
        all.extend(incidents.finish());
        all
    }

    #[test]
    fn a_restart_is_one_incident_with_its_end_and_its_recovery() {
        let refused = Some((ErrorKind::Refused, 40));
        let seconds = (0..20)
            .map(|at| second(at, if (5..9).contains(&at) { 0 } else { 100 }, refused.filter(|_| (5..9).contains(&at))));
        let all = run(seconds);
        assert_eq!(all.len(), 2, "{all:?}");
        let error = all.iter().find(|i| i.trouble == Trouble::Error(ErrorKind::Refused)).unwrap();
        assert_eq!((error.from_s, error.to_s, error.count, error.recovered_s), (5, 8, 160, Some(9)));
        assert_eq!(error.blame, Blame::Network);
        let outage = all.iter().find(|i| i.trouble == Trouble::Outage).unwrap();
        assert_eq!((outage.from_s, outage.to_s, outage.recovered_s), (5, 8, Some(9)));
        assert!(outage.describe().contains("5 to 9 s: no request was completed; the network's; recovered at 9 s"));
    }

    #[test]
    fn what_comes_again_soon_is_the_same_and_what_comes_late_is_another() {
        let at_times = |times: &[u64]| {
            let seconds = (0..30).map(|at| second(at, 10, times.contains(&at).then_some((ErrorKind::Status(503), 1))));
            run(seconds).iter().map(|i| (i.from_s, i.to_s, i.count)).collect::<Vec<_>>()
        };
        assert_eq!(at_times(&[3, 5, 7]), [(3, 7, 3)]);
        assert_eq!(at_times(&[3, 7]), [(3, 3, 1), (7, 7, 1)]);
    }

    #[test]
    fn what_never_recovers_says_so() {
        let all = run((0..5).map(|at| second(at, 0, Some((ErrorKind::Timeout, 4)))));
        assert!(all.iter().all(|i| i.recovered_s.is_none() && i.to_s == 4), "{all:?}");
        assert!(all[0].describe().ends_with("not recovered"));
    }

    #[test]
    fn a_jump_of_the_clock_and_a_sleep_are_our_own() {
        let with = |at: u64, ahead: f64| {
            let mut second = second(at, 10, None);
            second.host.wall_ahead_ms = Some(ahead);
            second
        };
        let all = run([0.0, 0.4, 3600.0 * 1e3, 3600.0 * 1e3, 3600.0 * 1e3 + 2.0, 3600.0 * 1e3 + 2.0, 3.6e6, 3.6e6]
            .into_iter()
            .enumerate()
            .map(|(at, ahead)| with(at as u64, ahead)));
        assert_eq!(all.len(), 1, "{all:?}");
        assert_eq!((all[0].trouble, all[0].blame, all[0].from_s), (Trouble::Clock, Blame::Generator, 2));
    }

    #[test]
    fn a_process_that_stood_still_tells_when_it_goes_on() {
        let seconds = (0..10).map(|at| {
            let mut second = second(at, if (3..6).contains(&at) { 0 } else { 10 }, None);
            second.window.generator.lag.record(Duration::from_millis(if at == 6 { 3_800 } else { 900 }));
            second
        });
        let all = run(seconds);
        assert_eq!(all.len(), 1, "{all:?}");
        let seen = (all[0].trouble, all[0].blame, all[0].from_s, all[0].to_s, all[0].recovered_s);
        assert_eq!(seen, (Trouble::Stopped, Blame::Generator, 3, 6, Some(7)));
        assert!(all[0].describe().contains("stopped or starved for 3.8 s; our own"), "{}", all[0].describe());
    }

    #[test]
    fn a_hundred_thousand_incidents_do_not_fill_the_memory() {
        let kind = |at: u64| ErrorKind::Status(500 + (at % 90) as u16);
        let seconds = (0..100_000).map(|at| second(at, 10, Some((kind(at / 5), 1))));
        assert_eq!(run(seconds).len(), MOST);
    }

    #[test]
    fn an_incident_is_read_back() {
        for trouble in [Trouble::Error(ErrorKind::Status(503)), Trouble::Error(ErrorKind::Dns), Trouble::Clock] {
            let incident =
                Incident { trouble, blame: Blame::Server, from_s: 1, to_s: 2, count: 3, recovered_s: Some(4) };
            let text = serde_json::to_string(&incident).unwrap();
            assert_eq!(serde_json::from_str::<Incident>(&text).unwrap(), incident, "{text}");
        }
    }

    #[test]
    fn files_and_ports_that_are_used_up_are_our_own() {
        for kind in [ErrorKind::Descriptors, ErrorKind::Ports] {
            assert_eq!(run([second(0, 0, Some((kind, 4)))]).iter().map(|i| i.blame).max(), Some(Blame::Generator));
        }
    }
}
