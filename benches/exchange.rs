//! So many fetches through the client and the recorder, on one thread, against a server that is there already.
//!
//! `cargo bench --bench exchange -- HOST:PORT PATH own|hyper CONNECTIONS REQUESTS`; `benches/instructions.sh` runs it
//! under callgrind twice and takes the difference. CPU time is the process's, start included.

#![expect(
    clippy::unwrap_used,
    clippy::print_stdout,
    reason = "a bench that cannot go on fails, and prints its figures"
)]

use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::time::Duration;

use bytes::Bytes;
use connect_bench::engine::program::{Exchange, Expect, Request, SeriesId};
use connect_bench::http::dial::NetDial;
use connect_bench::http::{Client, ClientConfig, Guard};
use connect_bench::outcome::Ended;
use connect_bench::plan::Http1Engine;
use connect_bench::recorder::{Recorder, Sample};
use http::{HeaderMap, HeaderValue, Method};
use tokio::time::Instant;

struct Shared {
    recorder: RefCell<Recorder>,
    left: Cell<u64>,
    failed: Cell<u64>,
    start: Instant,
}

async fn vu(shared: Rc<Shared>, mut client: Client<NetDial>, exchange: Rc<Exchange>) {
    let guard = Guard::default();
    while shared.left.get() > 0 {
        shared.left.set(shared.left.get() - 1);
        shared.recorder.borrow_mut().request_started(shared.start.elapsed(), 0);
        let done = client.exchange(&exchange, &guard).await;
        if done.ended != Ended::Completed {
            shared.failed.set(shared.failed.get() + 1);
        }
        let sample = Sample {
            ended: done.ended,
            status: done.status,
            phases: done.phases,
            elapsed: done.span.1 - done.span.0,
            sent: done.sent,
            retried: done.retried,
            connections: done.connections,
            resumed: done.resumed,
            http2: done.http2,
            bytes: done.bytes,
            delay: done.delay,
            unstamped: done.unstamped,
            node: None,
        };
        shared.recorder.borrow_mut().request_ended(done.span.1 - shared.start, 0, &sample);
    }
}

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).filter(|argument| argument != "--bench").collect();
    let [address, path, engine, connections, requests] = arguments.as_slice() else {
        println!("exchange: HOST:PORT PATH own|hyper CONNECTIONS REQUESTS; nothing to do without them");
        return;
    };
    let http1 = if engine == "own" { Http1Engine::Own } else { Http1Engine::Hyper };
    let (host, port) = address.rsplit_once(':').unwrap();
    let dial = Rc::new(NetDial::new(host, port.parse().unwrap(), None).unwrap().with_kernel_timestamps());
    let origin = format!("http://{address}/").parse().unwrap();
    let config = Rc::new(ClientConfig::new(origin, http1).unwrap());
    let mut headers = HeaderMap::new();
    headers.insert(http::header::USER_AGENT, HeaderValue::from_static("connect-bench/bench"));
    headers.insert(http::header::ACCEPT, HeaderValue::from_static("*/*"));
    let request = Request { method: Method::GET, target: path.parse().unwrap(), headers, body: Bytes::new() };
    let expect = Expect { statuses: vec![200], ..Expect::default() };
    let timeout = Duration::from_secs(60);
    let exchange = Rc::new(Exchange { series: SeriesId(0), request, expect, keep_body: 0, timeout });
    let shared = Rc::new(Shared {
        recorder: RefCell::new(Recorder::new(1, 1)),
        left: Cell::new(requests.parse().unwrap()),
        failed: Cell::new(0),
        start: Instant::now(),
    });
    let options = tokio::runtime::LocalOptions::default();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build_local(options).unwrap();
    runtime.block_on(async {
        let vus = (0..connections.parse().unwrap()).map(|_: u32| {
            let client = Client::new(dial.clone(), config.clone());
            tokio::task::spawn_local(vu(shared.clone(), client, exchange.clone()))
        });
        for vu in vus.collect::<Vec<_>>() {
            vu.await.unwrap();
        }
    });
    let cpu = rustix::time::clock_gettime(rustix::time::ClockId::ProcessCPUTime);
    let cpu_s = cpu.tv_sec as f64 + cpu.tv_nsec as f64 / 1e9;
    let wall_s = shared.start.elapsed().as_secs_f64();
    let n: f64 = requests.parse().unwrap();
    println!(
        "{engine} {connections} connections: {n} requests, {} failed, {:.0} per second, {:.2} CPU-s per million",
        shared.failed.get(),
        n / wall_s,
        cpu_s / n * 1e6,
    );
}
