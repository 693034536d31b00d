//! WebSocket sessions, as they are recorded.

use std::time::Duration;

use super::Recorder;
use crate::outcome::Ended;
use crate::window::SocketWindow;

impl Recorder {
    /// A VU turns to a session.
    pub fn session_started(&mut self, now: Duration, scenario: usize, series: usize) {
        self.roll(now);
        self.integrate(now);
        self.in_session[scenario] += 1;
        self.sessions[series] += 1;
        self.sockets(series).sessions.scheduled += 1;
    }

    /// Its opening is over, and `opened` is how long that took where it succeeded. What it took is no figure of requests.
    pub fn session_connected(&mut self, now: Duration, series: usize, opened: Option<Duration>, connections: u64) {
        self.roll(now);
        if let Some(opened) = opened {
            self.sockets(series).connecting.record(opened);
        }
        self.window.series[series].connections += connections;
    }

    /// So many messages and bytes went out and came in.
    pub fn session_traffic(&mut self, now: Duration, series: usize, messages: (u64, u64), bytes: (u64, u64)) {
        self.roll(now);
        let sockets = self.sockets(series);
        sockets.sent += messages.0;
        sockets.received += messages.1;
        let series = &mut self.window.series[series];
        series.bytes_sent += bytes.0;
        series.bytes_received += bytes.1;
    }

    /// An expected message came so long after what was sent before it.
    pub fn session_expected(&mut self, now: Duration, series: usize, after: Duration) {
        self.roll(now);
        self.sockets(series).expected.record(after);
    }

    /// A session is over, this old.
    pub fn session_ended(&mut self, now: Duration, (scenario, series): (usize, usize), ended: Ended, age: Duration) {
        self.roll(now);
        self.integrate(now);
        self.in_session[scenario] -= 1;
        self.sessions[series] -= 1;
        let sockets = self.sockets(series);
        sockets.sessions.end(ended);
        match ended {
            Ended::Completed => sockets.duration.record(age),
            Ended::Failed(kind) => {
                *sockets.errors.entry(kind).or_default() += 1;
                sockets.failed_duration.record(age);
            }
            Ended::Interrupted => sockets.interrupted_age.record(age),
        }
    }

    fn sockets(&mut self, series: usize) -> &mut SocketWindow {
        self.window.series[series].sockets.get_or_insert_default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::outcome::ErrorKind;

    fn ms(ms: u64) -> Duration {
        Duration::from_millis(ms)
    }

    #[test]
    fn a_session_over_boundaries_is_carried_and_its_time_is_integrated() {
        let mut recorder = Recorder::new(2, 1);
        recorder.vu_started(ms(0), 0);
        recorder.session_started(ms(900), 0, 1);
        recorder.session_connected(ms(950), 1, Some(ms(50)), 1);
        recorder.session_traffic(ms(1200), 1, (1, 2), (10, 20));
        recorder.session_expected(ms(1200), 1, ms(250));
        recorder.session_ended(ms(2100), (0, 1), Ended::Completed, ms(1200));
        recorder.session_started(ms(2200), 0, 1);
        recorder.session_ended(ms(2300), (0, 1), Ended::Failed(ErrorKind::SocketExpect), ms(100));
        let windows: Vec<_> = recorder.finish(ms(2500)).into_iter().map(|(_, window)| window).collect();
        let sockets: Vec<&SocketWindow> = windows.iter().map(|w| w.series[1].sockets.as_deref().unwrap()).collect();
        let carries: Vec<(u64, u64)> =
            sockets.iter().map(|s| (s.sessions.carried_in, s.sessions.carried_out)).collect();
        assert_eq!(carries, [(0, 1), (1, 1), (1, 0)]);
        assert!(windows.iter().all(|w| w.balanced() && w.series[0].sockets.is_none()));
        let in_session: Vec<u128> = windows.iter().map(|w| w.scenarios[0].session_ns / 1_000_000).collect();
        assert_eq!(in_session, [100, 1000, 200]);
        assert_eq!((sockets[1].sent, sockets[1].received, sockets[1].expected.count()), (1, 2, 1));
        assert_eq!((windows[1].series[1].bytes_sent, windows[0].series[1].connections), (10, 1));
        assert_eq!(sockets[2].errors.get(&ErrorKind::SocketExpect), Some(&1));
        assert_eq!((sockets[2].duration.count(), sockets[2].failed_duration.count()), (1, 1));
    }
}
