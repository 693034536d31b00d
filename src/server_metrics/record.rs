//! Answers become figures, in bounded memory however long the run is.

use std::collections::BTreeMap;

use super::{Figure, MOST_EVENTS, MOST_POINTS, Metric, Outage, Place, STARTED, Scrape};

/// A rate over a longer time says nothing of its end: a server that was away, a run that was broken off.
const LONGEST_S: f64 = 180.0;
/// Clocks of two answers may differ so much about when a process began.
const SAME_START_S: f64 = 1.0;

/// Makes [`Place`]s from scrapes, in order.
#[derive(Debug, Clone)]
pub struct Recording {
    /// When the measured part begins and ends, seconds since the start of the run.
    measured_s: (f64, f64),
    /// In the order in which they were first heard of.
    places: Vec<Course>,
}

#[derive(Debug, Clone, Default)]
struct Course {
    place: Place,
    last: Option<Scrape>,
    open: bool,
    figures: BTreeMap<Metric, Sums>,
}

#[derive(Debug, Clone, Default)]
struct Sums {
    sum: f64,
    least: f64,
    most: f64,
    count: u64,
    points: Vec<(f64, f64)>,
    /// Samples in a point, less one, and in the last one.
    more: u32,
    open: u32,
}

impl Recording {
    /// Nothing yet.
    #[must_use]
    pub fn new(measured_s: (f64, f64)) -> Recording {
        Recording { measured_s, places: Vec::new() }
    }

    /// Takes one answer, or that there was none.
    pub fn add(&mut self, scrape: Scrape) {
        let at = self.places.iter().position(|course| course.place.url == scrape.url).unwrap_or_else(|| {
            let place = Place { url: scrape.url.clone(), ..Place::default() };
            self.places.push(Course { place, ..Course::default() });
            self.places.len() - 1
        });
        self.places[at].add(scrape, self.measured_s);
    }

    /// What each server told, by address: which of them answers first is chance.
    #[must_use]
    pub fn finish(mut self) -> Vec<Place> {
        self.places.sort_by(|a, b| a.place.url.cmp(&b.place.url));
        self.places.into_iter().map(Course::finish).collect()
    }
}

impl Course {
    fn add(&mut self, scrape: Scrape, (from_s, to_s): (f64, f64)) {
        let place = &mut self.place;
        if let Some(reason) = scrape.error {
            place.failures += 1;
            if !self.open && place.outages.len() < MOST_EVENTS {
                place.outages.push(Outage { from_s: scrape.at_s, to_s: None, reason });
            }
            self.open = true;
            return;
        }
        place.answers += 1;
        if std::mem::take(&mut self.open)
            && let Some(outage) = place.outages.last_mut().filter(|outage| outage.to_s.is_none())
        {
            outage.to_s = Some(scrape.at_s);
        }
        let near = |last: &&Scrape| scrape.at_s > last.at_s && scrape.at_s - last.at_s <= LONGEST_S;
        let restarted = self.last.as_ref().is_some_and(|last| has_restarted(last, &scrape));
        if restarted && place.restarts_s.len() < MOST_EVENTS {
            place.restarts_s.push(scrape.at_s);
        }
        let before = self.last.as_ref().filter(|_| !restarted).filter(near);
        for metric in Metric::ALL {
            let Some(value) = metric.value(&scrape, before) else { continue };
            let since = before.filter(|_| metric.is_rate()).map_or(scrape.at_s, |before| before.at_s);
            let sums = self.figures.entry(metric).or_default();
            // A rate over the end of the warm-up is partly one of the warm-up.
            if since >= from_s && scrape.at_s <= to_s {
                sums.measured(value);
            }
            sums.point((since.midpoint(scrape.at_s), value));
        }
        self.last = Some(scrape);
    }

    fn finish(self) -> Place {
        let figure = |metric: Metric| {
            let sums = self.figures.get(&metric)?;
            let some = |value: f64| (sums.count > 0).then_some(value).filter(|value| value.is_finite());
            Some(Figure {
                metric,
                mean: some(sums.sum / sums.count as f64),
                min: some(sums.least),
                max: some(sums.most),
                samples: sums.count,
                points: sums.points.clone(),
            })
        };
        Place { figures: Metric::ALL.into_iter().filter_map(figure).collect(), ..self.place }
    }
}

/// Whether the process began anew between two answers.
fn has_restarted(before: &Scrape, now: &Scrape) -> bool {
    let started = |scrape: &Scrape| scrape.values.get(STARTED).copied();
    started(before).zip(started(now)).is_some_and(|(before, now)| (now - before).abs() > SAME_START_S)
}

impl Sums {
    fn measured(&mut self, value: f64) {
        let first = self.count == 0;
        self.least = if first { value } else { self.least.min(value) };
        self.most = if first { value } else { self.most.max(value) };
        self.sum += value;
        self.count += 1;
    }

    /// A point is the mean of its samples.
    fn point(&mut self, (at_s, value): (f64, f64)) {
        match self.points.last_mut() {
            Some(last) if self.open <= self.more => {
                let n = f64::from(self.open);
                *last = ((last.0 * n + at_s) / (n + 1.0), (last.1 * n + value) / (n + 1.0));
            }
            _ => {
                self.points.push((at_s, value));
                self.open = 0;
            }
        }
        self.open += 1;
        if self.points.len() >= MOST_POINTS && self.open > self.more {
            let pairs = self.points.chunks(2).map(|pair| match pair {
                [a, b] => (a.0.midpoint(b.0), a.1.midpoint(b.1)),
                rest => rest[0],
            });
            self.points = pairs.collect();
            self.more = 2 * self.more + 1;
            self.open = self.more + 1;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::{CPU_ALL, CPU_BUSY, IN_FLIGHT, REQUESTS, TIME, TIMED};
    use super::*;

    fn scrape(at_s: f64, values: &[(&str, f64)]) -> Scrape {
        let values = values.iter().map(|(name, value)| ((*name).to_owned(), *value)).collect();
        Scrape { at_s, url: "u".to_owned(), values, error: None }
    }

    fn silent(at_s: f64) -> Scrape {
        Scrape { error: Some("refused".to_owned()), ..scrape(at_s, &[]) }
    }

    fn recorded(measured_s: (f64, f64), scrapes: impl IntoIterator<Item = Scrape>) -> Place {
        let mut recording = Recording::new(measured_s);
        scrapes.into_iter().for_each(|scrape| recording.add(scrape));
        recording.finish().pop().unwrap()
    }

    fn figure(place: &Place, metric: Metric) -> &Figure {
        place.figures.iter().find(|figure| figure.metric == metric).unwrap()
    }

    #[test]
    fn counters_are_rates_of_the_measured_part_and_one_that_went_back_starts_again() {
        let counts = [(0.0, 0.0, 99.0), (1.0, 100.0, 2.0), (2.0, 300.0, 4.0), (3.0, 5.0, 6.0), (5.0, 105.0, 4.0)];
        let all = counts.map(|(at_s, count, flight)| scrape(at_s, &[(REQUESTS, count), (IN_FLIGHT, flight)]));
        let place = recorded((1.0, 5.0), all.into_iter().chain([scrape(6.0, &[(REQUESTS, 1e6)])]));
        let flight = figure(&place, Metric::RequestsInFlight);
        assert_eq!((flight.mean, flight.min, flight.max, flight.samples), (Some(4.0), Some(2.0), Some(6.0), 4));
        assert_eq!(flight.points.len(), 5);
        // 100 in the warm-up; 200, nothing over the restart, 100 in two seconds; what came in stopping is drawn only.
        let rate = figure(&place, Metric::RequestsPerS);
        assert_eq!((rate.mean, rate.min, rate.max, rate.samples), (Some(125.0), Some(50.0), Some(200.0), 2));
        assert_eq!(rate.points, [(0.5, 100.0), (1.5, 200.0), (4.0, 50.0), (5.5, 999_895.0)]);
    }

    #[test]
    fn shares_and_means_are_of_two_counters() {
        let values = |all, busy, n, time| vec![(CPU_ALL, all), (CPU_BUSY, busy), (TIMED, n), (TIME, time)];
        let place = recorded(
            (0.0, 99.0),
            [
                scrape(0.0, &values(10.0, 5.0, 10.0, 1.0)),
                scrape(5.0, &values(30.0, 20.0, 110.0, 3.0)),
                scrape(10.0, &values(30.0, 20.0, 110.0, 3.0)),
                scrape(15.0, &values(40.0, 30.000_000_01, 110.0, 3.0)),
            ],
        );
        assert_eq!(figure(&place, Metric::MachineCpuShare).points, [(2.5, 0.75), (12.5, 1.0)]);
        assert_eq!(figure(&place, Metric::RequestMeanMs).points, [(2.5, 20.0)]);
        // Without a count of its own, the count of the times.
        assert_eq!(figure(&place, Metric::RequestsPerS).points, [(2.5, 20.0), (7.5, 0.0), (12.5, 0.0)]);
    }

    #[test]
    fn a_restart_spoils_no_rate_even_where_the_counter_is_greater() {
        let at = |at_s, started, n| scrape(at_s, &[(STARTED, started), (REQUESTS, n)]);
        let place = recorded(
            (0.0, 99.0),
            [at(0.0, 50.0, 5.0), at(5.0, 50.4, 10.0), at(10.0, 70.0, 900.0), at(15.0, 70.0, 905.0)],
        );
        assert_eq!(place.restarts_s, [10.0]);
        assert_eq!(figure(&place, Metric::RequestsPerS).points, [(2.5, 1.0), (12.5, 1.0)]);
    }

    #[test]
    fn a_server_that_stops_answering_is_an_outage_with_a_reason() {
        let at = |at_s, n| scrape(at_s, &[(REQUESTS, n)]);
        let place = recorded(
            (0.0, 999.0),
            [silent(0.0), at(5.0, 0.0), silent(10.0), silent(15.0), at(20.0, 30.0), at(300.0, 900.0), silent(305.0)],
        );
        assert_eq!((place.answers, place.failures), (3, 4));
        let times: Vec<_> =
            place.outages.iter().map(|outage| (outage.from_s, outage.to_s, outage.reason.as_str())).collect();
        assert_eq!(times, [(0.0, Some(5.0), "refused"), (10.0, Some(20.0), "refused"), (305.0, None, "refused")]);
        // Over an outage there is a rate; over minutes there is none.
        assert_eq!(figure(&place, Metric::RequestsPerS).points, [(12.5, 2.0)]);
    }

    #[test]
    fn memory_is_bounded_and_points_are_means() {
        for n in [359, 360, 361, 5000, 20_001] {
            let place = recorded((0.0, 1e9), (0..n).map(|at| scrape(f64::from(at), &[(IN_FLIGHT, f64::from(at))])));
            let flight = figure(&place, Metric::RequestsInFlight);
            assert!(flight.points.len() <= MOST_POINTS && flight.points.len() >= MOST_POINTS / 2 - 1, "{n}");
            assert!(flight.points.iter().all(|(at, value)| (at - value).abs() < 1e-6), "{n}");
            assert!(flight.points.is_sorted_by(|a, b| a.0 < b.0), "{n}");
            assert_eq!((flight.samples, flight.mean), (n as u64, Some(f64::from(n - 1) / 2.0)));
        }
        let all =
            (0..1000).flat_map(|at| [silent(f64::from(2 * at)), scrape(f64::from(2 * at + 1), &[(IN_FLIGHT, 1.0)])]);
        let place = recorded((0.0, 1e9), all);
        assert_eq!((place.outages.len(), place.failures), (MOST_EVENTS, 1000));
    }
}
