//! Second by second: does the run go on, hold back, or stop?

use std::time::Duration;

use super::Caps;
use crate::outcome::{Blame, ErrorKind};
use crate::window::{Part, Second};

/// Seconds in a row in which the server refuses us, before the run stops.
const REFUSED_S: u32 = 3;
/// Seconds in a row in which most answers are errors, before the run stops.
const STORM_S: u32 = 15;
/// Fewer failures in a second are no storm.
const STORM_LEAST: u64 = 10;
/// Seconds in a row above the cap of the rate; one alone may be a burst after a stall.
const FAST_S: u32 = 3;
/// The first back-off; each that follows in a row is twice as long.
const FIRST_BACK_OFF: Duration = Duration::from_secs(2);
/// Back-offs in a row; then the server has said it often enough.
const BACK_OFFS: u32 = 5;

/// What has to be done.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Action {
    /// No further iterations for so long: the server said that it is too much (429).
    BackOff(Duration),
    /// The end of the run, and why.
    Stop(String),
    /// The same, because it has done as much as it may.
    Capped(String),
}

/// Looks at a run while it lasts.
#[derive(Debug, Clone)]
pub struct Watch {
    caps: Caps,
    /// Whether only the caps hold: somebody wants to see the server fail.
    keep_going: bool,
    refused: u32,
    storm: u32,
    fast: u32,
    back_offs: u32,
    bytes: u64,
    items: u64,
}

/// What a second's answers were.
#[derive(Default)]
struct Answers {
    all: u64,
    unauthorised: u64,
    throttled: u64,
    /// Failures that the server made.
    failed: u64,
    ended: u64,
}

impl Watch {
    /// Over a run that begins. With `keep_going` errors do not stop it; caps do.
    #[must_use]
    pub fn new(caps: Caps, keep_going: bool) -> Watch {
        Watch { caps, keep_going, refused: 0, storm: 0, fast: 0, back_offs: 0, bytes: 0, items: 0 }
    }

    /// A publish is over, well or not.
    pub fn published(&mut self) -> Option<Action> {
        self.items += 1;
        let most = self.caps.items;
        (self.items >= most).then(|| Action::Capped(format!("the cap of {most} publishes is reached (--cap items=N)")))
    }

    /// Takes a second.
    pub fn second(&mut self, second: &Second) -> Option<Action> {
        let answers = Answers::of(second);
        self.capped(second, &answers).or_else(|| if self.keep_going { None } else { self.judged(second, &answers) })
    }

    fn capped(&mut self, second: &Second, answers: &Answers) -> Option<Action> {
        let series = &second.window.series;
        self.bytes = series.iter().fold(self.bytes, |sum, s| sum.saturating_add(s.bytes_sent + s.bytes_received));
        if self.bytes >= self.caps.bytes {
            let most = self.caps.bytes;
            return Some(Action::Capped(format!("the cap of {most} bytes is reached (--cap bytes=N)")));
        }
        let is_fast = answers.ended > self.caps.rate;
        self.fast = if is_fast { self.fast + 1 } else { 0 };
        let why = || format!("more than the cap of {} requests per second (--cap rate=N)", self.caps.rate);
        (self.fast >= FAST_S).then(|| Action::Capped(why()))
    }

    fn judged(&mut self, second: &Second, answers: &Answers) -> Option<Action> {
        if matches!(second.part, Part::Paused | Part::Stopping) {
            return None;
        }
        let most = |part: u64, least: u64| part >= least && part * 2 >= answers.all;
        self.refused = if most(answers.unauthorised, 1) { self.refused + 1 } else { 0 };
        if self.refused >= REFUSED_S {
            let why = "the server answers 401 or 403: the key was revoked, or the content item is not open any more";
            return Some(Action::Stop(why.to_owned()));
        }
        if answers.throttled * 10 >= answers.all && answers.throttled > 0 {
            self.back_offs += 1;
            if self.back_offs > BACK_OFFS {
                let why = format!("the server answers 429 (too many requests) after {BACK_OFFS} back-offs, too");
                return Some(Action::Stop(why));
            }
            return Some(Action::BackOff(FIRST_BACK_OFF * (1 << (self.back_offs - 1))));
        }
        if answers.all > 0 {
            self.back_offs = 0;
        }
        let stormy = answers.failed >= STORM_LEAST && answers.failed * 2 >= answers.ended;
        self.storm = if stormy { self.storm + 1 } else { 0 };
        let why = || format!("more than half of the answers were errors for {STORM_S} s (--keep-going goes on)");
        (self.storm >= STORM_S).then(|| Action::Stop(why()))
    }
}

impl Answers {
    fn of(second: &Second) -> Answers {
        let mut answers = Answers::default();
        for series in &second.window.series {
            let status = |status: u16| series.statuses.get(&status).copied().unwrap_or(0);
            answers.all += series.statuses.values().sum::<u64>();
            answers.unauthorised += status(401) + status(403);
            answers.throttled += status(429);
            answers.ended += series.requests.completed + series.requests.failed;
            let ours = |kind: &ErrorKind| kind.blame() == Blame::Server;
            answers.failed += series.errors.iter().filter(|(kind, _)| ours(kind)).map(|(_, n)| n).sum::<u64>();
        }
        answers
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::window::{Counts, HostSample, Window};

    /// A second of so many good answers, and so many of another status.
    fn second(good: u64, other: (u16, u64)) -> Second {
        let mut window = Window::new(1, 1);
        let series = &mut window.series[0];
        let counts = Counts { scheduled: good + other.1, completed: good, failed: other.1, ..Counts::default() };
        series.requests = counts;
        series.statuses = [(200, good), other].into_iter().filter(|(_, n)| *n > 0).collect();
        if other.1 > 0 {
            series.errors.insert(ErrorKind::Status(other.0), other.1);
        }
        series.bytes_received = 100 * (good + other.1);
        Second { second: 0, part: Part::Steady, window, host: HostSample::default() }
    }

    fn actions(watch: &mut Watch, seconds: &[Second]) -> Vec<Option<Action>> {
        seconds.iter().map(|second| watch.second(second)).collect()
    }

    fn why(action: Option<&Action>) -> &str {
        match action {
            Some(Action::Stop(why) | Action::Capped(why)) => why,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn a_storm_of_errors_stops_the_run_and_a_gust_does_not() {
        let (bad, good) = (second(50, (500, 50)), second(51, (500, 49)));
        let mut watch = Watch::new(Caps::NONE, false);
        assert!(actions(&mut watch, &vec![bad.clone(); 14]).iter().all(Option::is_none));
        assert_eq!(watch.second(&good), None, "it begins anew");
        let all = actions(&mut watch, &vec![bad.clone(); 15]);
        assert!(all[..14].iter().all(Option::is_none));
        assert!(why(all[14].as_ref()).contains("more than half"));
        let mut going = Watch::new(Caps::NONE, true);
        assert!(actions(&mut going, &vec![bad; 100]).iter().all(Option::is_none));
        let mut few = Watch::new(Caps::NONE, false);
        assert!(actions(&mut few, &vec![second(0, (500, 9)); 100]).iter().all(Option::is_none));
    }

    #[test]
    fn a_server_that_does_not_let_us_in_is_left_alone_soon() {
        for status in [401, 403] {
            let all = actions(&mut Watch::new(Caps::NONE, false), &vec![second(1, (status, 1)); 3]);
            assert!(all[..2].iter().all(Option::is_none) && why(all[2].as_ref()).contains("401 or 403"));
        }
        let mut some = Watch::new(Caps::NONE, false);
        assert!(actions(&mut some, &vec![second(9, (403, 1)); 50]).iter().all(Option::is_none));
    }

    #[test]
    fn too_many_requests_hold_the_run_back_longer_each_time_and_stop_it_in_the_end() {
        let (throttled, good) = (second(9, (429, 1)), second(10, (429, 0)));
        let mut watch = Watch::new(Caps::NONE, false);
        let waits = |n| Some(Action::BackOff(Duration::from_secs(n)));
        assert_eq!(actions(&mut watch, &vec![throttled.clone(); 2]), [waits(2), waits(4)]);
        assert_eq!(watch.second(&good), None);
        let all = actions(&mut watch, &vec![throttled; 6]);
        assert_eq!(all[..5], [2, 4, 8, 16, 32].map(waits));
        assert!(why(all[5].as_ref()).contains("429"));
        assert_eq!(Watch::new(Caps::NONE, false).second(&second(99, (429, 1))), None, "one in a hundred is chance");
    }

    #[test]
    fn a_pause_and_the_end_are_not_judged() {
        let mut bad = second(0, (401, 100));
        for part in [Part::Paused, Part::Stopping] {
            bad.part = part;
            assert!(actions(&mut Watch::new(Caps::NONE, false), &vec![bad.clone(); 20]).iter().all(Option::is_none));
        }
    }

    #[test]
    fn caps_hold_also_where_errors_do_not_matter() {
        let caps = Caps { bytes: 5000, items: 2, rate: 20, ..Caps::NONE };
        let mut watch = Watch::new(caps, true);
        let all = actions(&mut watch, &vec![second(10, (500, 10)); 3]);
        assert!(all[..2].iter().all(Option::is_none) && why(all[2].as_ref()).contains("5000 bytes"));
        let mut watch = Watch::new(Caps { bytes: u64::MAX, ..caps }, true);
        let all = actions(&mut watch, &vec![second(21, (0, 0)); 3]);
        assert!(all[..2].iter().all(Option::is_none) && why(all[2].as_ref()).contains("20 requests per second"));
        assert_eq!(watch.published(), None);
        let last = watch.published();
        assert!(matches!(last, Some(Action::Capped(_))) && why(last.as_ref()).contains("2 publishes"));
    }
}
