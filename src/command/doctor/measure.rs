//! How much this machine can generate: a few seconds of load on a small server of this very process, and what a request
//! costs the worker threads. Nothing leaves this machine.

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, anyhow};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::oneshot;

use super::super::connection;
use super::super::drive::start;
use super::super::failure::Failure;
use super::super::plain::prepare;
use super::super::programs::Kitchen;
use super::super::run::{Place, Shape, plan};
use super::super::view::View;
use super::{Check, Of, Status};
use crate::cli;
use crate::engine::run::Delivery;
use crate::host;
use crate::report::number::{count, significant};
use crate::window::Part;

const VUS: u32 = 16;
const WARM_UP: Duration = Duration::from_secs(1);
const MEASURED: Duration = Duration::from_secs(3);
/// A worker may use so much of its core (`generator`), and the kernel's share of a request is on the same cores.
const USABLE: f64 = 0.6;
/// Posit's greatest documented throughput is below this, requests per second.
const ENOUGH: f64 = 5_000.0;

const ANSWER: &[u8] = b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: 44\r\n\r\n\
                        {\"ticker\":\"AAPL\",\"price\":1,\"volatility\":0.1}";

/// What the workers used.
struct Measured {
    requests: u64,
    seconds: f64,
    cpu_s: f64,
}

pub(super) async fn look() -> Check {
    let check = |status, seen: String| Check::new(Of::Machine, "capacity", status, seen);
    let measured = match measure().await {
        Ok(measured) if measured.requests > 0 && measured.cpu_s > 0.0 => measured,
        Ok(_) => return check(Status::Fail, "no request was completed on loopback".to_owned()),
        Err(failure) => return check(Status::Fail, format!("the measurement failed: {:#}", failure.error)),
    };
    let each_us = 1e6 * measured.cpu_s / measured.requests as f64;
    let most = USABLE * host::cores() as f64 * 1e6 / each_us;
    let seen = format!(
        "about {} requests per second ({each_us:.0} µs of CPU each, {} cores); seen on loopback: {} per second",
        count((most / 100.0).floor() as u64 * 100),
        host::cores(),
        significant(measured.requests as f64 / measured.seconds)
    );
    if most < ENOUGH {
        let advice = "enough for a small server; TLS and large bodies cost more. For a large one take more cores";
        return check(Status::Warn, seen).advise(advice);
    }
    check(Status::Ok, seen)
}

async fn measure() -> Result<Measured, Failure> {
    let server = serve()?;
    let ended = load(server.address).await;
    drop(server.stop);
    // It has nothing that could be lost.
    let _ = server.thread.join();
    ended
}

/// A server on a thread of its own: what it costs is not counted as the generator's.
struct Server {
    address: SocketAddr,
    /// It ends when this is dropped.
    stop: oneshot::Sender<()>,
    thread: std::thread::JoinHandle<()>,
}

fn serve() -> Result<Server, Failure> {
    let listener = std::net::TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).context("no port on loopback")?;
    listener.set_nonblocking(true).context("no port on loopback")?;
    let address = listener.local_addr().context("no port on loopback")?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().context("no event loop")?;
    let (stop, stopped) = oneshot::channel::<()>();
    let body = move || {
        runtime.block_on(async move {
            let Ok(listener) = TcpListener::from_std(listener) else { return };
            tokio::select! {
                () = accept(&listener) => {}
                _ = stopped => {}
            }
        });
    };
    let thread = std::thread::Builder::new().name("doctor".to_owned()).spawn(body).context("no thread")?;
    Ok(Server { address, stop, thread })
}

async fn accept(listener: &TcpListener) {
    while let Ok((stream, _)) = listener.accept().await {
        tokio::spawn(answer(stream));
    }
}

/// Answers each request that has no body, until the connection is closed.
async fn answer(mut stream: TcpStream) {
    let mut seen = Vec::new();
    let mut bytes = [0; 4096];
    while let Ok(n @ 1..) = stream.read(&mut bytes).await {
        seen.extend_from_slice(&bytes[..n]);
        if seen.ends_with(b"\r\n\r\n") {
            seen.clear();
            if stream.write_all(ANSWER).await.is_err() {
                return;
            }
        }
    }
}

async fn load(address: SocketAddr) -> Result<Measured, Failure> {
    let url = format!("http://{address}/stocks/AAPL");
    let args = cli::load(&["--url", &url, "--quiet", "--proxy", "none"]).ok_or_else(|| anyhow!("no such command"))?;
    let view = View::new(true);
    let choices = args.run.connection.choices().map_err(Failure::usage)?;
    let url: url::Url = url.parse().context("the address of the measurement")?;
    let mut aim = super::super::target::Aim::Url { url: url.clone(), insecure: false, extra: None };
    let connections = connection::resolve(&choices, &mut aim, &view)?;
    let engine = &args.run.engine;
    let session = prepare(url, (false, None), (&args.run.content, engine), connections, &view).await?;
    let place = Place::new("doctor", &args.run.output);
    let shape = Shape::constant(VUS, MEASURED, WARM_UP, engine);
    let plan = Arc::new(plan(&session, &place, &shape, engine));
    let programs = Kitchen::new(&plan, &session.ingredients).map_err(Failure::invalid)?;
    let mut run = start(&plan, programs, (None, &session.connections), None)?;
    let mut measured = Measured { requests: 0, seconds: 0.0, cpu_s: 0.0 };
    while let Some(delivery) = run.next().await {
        if let Delivery::Second(second) = delivery
            && second.part == Part::Steady
        {
            measured.requests += second.window.series.iter().map(|series| series.requests.completed).sum::<u64>();
            measured.seconds += second.window.seconds();
            measured.cpu_s += second.window.generator.cpu_ns as f64 / 1e9;
        }
    }
    run.join().context("the measurement broke off")?;
    Ok(measured)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_request_costs_cpu_time_and_the_answer_is_what_is_expected() {
        let text = std::str::from_utf8(ANSWER).unwrap();
        let (head, body) = text.split_once("\r\n\r\n").unwrap();
        assert!(head.ends_with(&format!("content-length: {}", body.len())), "{head}");
        let measured = measure().await.map_err(|failure| failure.error).unwrap();
        assert!(measured.requests > 0 && measured.cpu_s > 0.0 && measured.seconds > 0.0);
    }
}
