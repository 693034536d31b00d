//! A panic in the middle of a run: the run ends, what was measured is kept, and every count adds up.

use std::cell::Cell;
use std::sync::Arc;
use std::time::Duration;

use connect_bench::engine::program::{Action, Notes, Outcome, Program};
use connect_bench::engine::run::{Delivery, Run};
use connect_bench::engine::worker::{Order, Programs};

use super::support::{Pipe, after, client, fetches, in_virtual_time, plan, total};

/// Fetches; this VU panics when it is asked for its next action for this time.
struct Falling(Arc<dyn Programs>, u32, u32);

struct Falls {
    inner: Box<dyn Program>,
    left: Cell<u32>,
}

impl Programs for Falling {
    fn program(&self, scenario: usize, vu: u32) -> Box<dyn Program> {
        let inner = self.0.program(scenario, vu);
        if vu == self.1 { Box::new(Falls { inner, left: Cell::new(self.2) }) } else { inner }
    }
}

impl Program for Falls {
    fn next(&mut self, now: Duration, last: Option<Outcome<'_>>, notes: &mut Notes) -> Action {
        assert!(self.left.get() > 0, "this is meant to fail");
        self.left.set(self.left.get() - 1);
        self.inner.next(now, last, notes)
    }
}

#[test]
fn a_panic_of_a_vu_ends_the_run_and_loses_no_count() {
    // Of an action that follows a response, and of the first of an iteration.
    for actions in [121, 120, 0] {
        in_virtual_time(async {
            let plan = Arc::new(plan(6, 60, 2));
            let programs: Arc<dyn Programs> = Arc::new(Falling(fetches(), 3, actions));
            let pipe = Pipe::new(|_| after(50, "x"));
            let mut run = Run::start_local(plan, vec![pipe.clone(); 2], &client, &programs);
            let (mut seconds, mut fell) = (Vec::new(), Vec::new());
            while let Some(delivery) = run.next().await {
                match delivery {
                    Delivery::Fell(worker) => {
                        fell.push(worker);
                        run.order(Order::Stop);
                    }
                    Delivery::Second(second) => {
                        assert!(second.window.balanced());
                        seconds.push((second.part, second.window));
                    }
                    Delivery::Event(_) | Delivery::Points(_) => {}
                }
            }
            assert_eq!(fell, [1], "the worker of VU 3, once");
            let at = u64::from(actions) * 25 / 1000;
            assert_eq!(seconds.len() as u64, at + 1, "it ends at once");
            assert_eq!(seconds[seconds.len() - 1].1.scenarios[0].vus, 0);
            let all = total(&seconds);
            let (requests, iterations) = (all.series[0].requests, all.scenarios[0].iterations);
            assert_eq!(requests.scheduled, requests.completed + requests.interrupted);
            assert_eq!(iterations.scheduled, iterations.completed + iterations.interrupted);
            assert_eq!((requests.carried_out, iterations.carried_out), (requests.carried_in, iterations.carried_in));
            assert_eq!(requests.scheduled, pipe.received.get(), "each was sent, and each is counted");
            assert_eq!(iterations.interrupted, 3, "those of its worker: {iterations:?}");
        });
    }
}
