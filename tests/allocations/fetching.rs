//! So many fetches as a run makes them: the real engine, from the schedule over VU, exchange and recorder to windows,
//! with everything measured. For what can be counted without noise: allocations, and instructions in `benches`.

use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use connect_bench::engine::fetch::Fetch;
use connect_bench::engine::program::{Exchange, Expect, Program, Request, SeriesId};
use connect_bench::engine::run::{Delivery, Run};
use connect_bench::engine::worker::Programs;
use connect_bench::http::ClientConfig;
use connect_bench::http::dial::NetDial;
use connect_bench::plan::{Executor, FetchPlan, Http1Engine, HttpPlan, Plan, ProgramPlan, ScenarioPlan, Target};
use connect_bench::window::{Counts, Window};
use http::header::{ACCEPT, USER_AGENT};
use http::{HeaderMap, HeaderValue, Method};

/// What nginx answers for 300 bytes of JSON.
const HEAD: &str = "HTTP/1.1 200 OK\r\nServer: nginx/1.22.1\r\nDate: Sat, 01 Aug 2026 12:00:00 GMT\r\n\
    Content-Type: application/json\r\nContent-Length: 300\r\nConnection: keep-alive\r\n";
const PATH: &str = "/content/1/stocks/AAPL";
const MAX: Duration = Duration::from_secs(600);

/// How the heads of responses compare with each other.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Heads {
    /// They are the same, as nginx's are for a second.
    Same,
    /// Each has a number of its own, as Connect's have.
    Unique,
}

/// Answers every request on every connection, each on a thread of its own; where.
pub(crate) fn serve(heads: Heads) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let stream = stream.unwrap();
            std::thread::spawn(move || answer(stream, heads));
        }
    });
    address
}

fn answer(mut stream: TcpStream, heads: Heads) {
    stream.set_nodelay(true).unwrap();
    let body = format!("{{\"ticker\":\"AAPL\",\"prices\":[{}1234]}}", "1234, ".repeat(40));
    let (mut buffer, mut number) = ([0; 4096], 0_u64);
    // One request at a time, and each comes in one piece.
    while stream.read(&mut buffer).is_ok_and(|read| read > 0) {
        number += 1;
        let own = if heads == Heads::Unique { format!("X-Correlation-Id: {number:016x}\r\n") } else { String::new() };
        // White space at the end is JSON, too.
        if stream.write_all(format!("{HEAD}{own}\r\n{body:300}").as_bytes()).is_err() {
            return;
        }
    }
}

struct Fetches(Exchange);

impl Programs for Fetches {
    fn program(&self, _scenario: usize, _vu: u32) -> Box<dyn Program> {
        Box::new(Fetch::new(Rc::new(self.0.clone())))
    }
}

fn fetch() -> Fetches {
    let mut headers = HeaderMap::new();
    headers.insert(USER_AGENT, HeaderValue::from_static("connect-bench/0.1.0"));
    headers.insert(ACCEPT, HeaderValue::from_static("*/*"));
    let request = Request { method: Method::GET, target: PATH.parse().unwrap(), headers, body: Bytes::new() };
    let expect = Expect { statuses: vec![200], ..Expect::default() };
    Fetches(Exchange { series: SeriesId(0), request, expect, keep_body: 0, timeout: Duration::from_secs(60) })
}

fn plan(address: SocketAddr, http1_engine: Http1Engine, vus: u32, requests: u64) -> Plan {
    let http = HttpPlan { http1_engine, ..HttpPlan::default() };
    let target = Target::at(format!("http://{address}/").parse().unwrap());
    let fetch = FetchPlan { statuses: vec![200], ..FetchPlan::of(PATH) };
    let executor =
        Executor::SharedIterations { start_time: Duration::ZERO, vus, iterations: requests, max_duration: MAX };
    let scenarios = vec![ScenarioPlan::of("fetch", executor, ProgramPlan::Fetch(fetch))];
    Plan { http, duration: MAX, ..Plan::of(target, scenarios) }
}

/// Makes so many requests on one worker in this runtime, and checks that each one is accounted for. What it measured.
pub(crate) async fn run(address: SocketAddr, engine: Http1Engine, vus: u32, requests: u64) -> Window {
    let programs: Arc<dyn Programs> = Arc::new(fetch());
    let dial = NetDial::new(&address.ip().to_string(), address.port(), None).unwrap().with_kernel_timestamps();
    let client = || ClientConfig::new(format!("http://{address}/").parse().unwrap(), engine).unwrap();
    let plan = Arc::new(plan(address, engine, vus, requests));
    let mut run = Run::start_local(plan, vec![dial], &client, &programs);
    let mut all = Window::default();
    while let Some(delivery) = run.next().await {
        if let Delivery::Second(second) = delivery {
            all.merge(&second.window);
        }
    }
    let counts = all.series[0].requests;
    assert_eq!(counts, Counts { scheduled: requests, completed: requests, carried_in: counts.carried_in, ..counts });
    assert_eq!(all.series[0].waiting.count(), requests);
    all
}
