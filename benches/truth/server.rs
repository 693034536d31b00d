//! A server that knows the truth: it answers every request after exactly so long, and records how long that was.
//!
//! Usage: `truth_server PORT DELAY_US [BODY_BYTES [FAIL_EVERY]]`; every so many answers one is a 500, or none. One thread and one epoll, answers without a delay at once; before a
//! delayed answer it sleeps until 60 µs before its time, by a timerfd, and spins from there on. `GET /truth` says what
//! it recorded since it was last asked, from reading a request to having written its answer, in µs, as JSON:
//! `{"requests":…,"p50":…,"p90":…,"p99":…,"p999":…,"max":…,"connections":…}`.
//! It is part of the benchmarks, not of the product, and speaks only as much HTTP as our client needs: requests without a
//! body, one at a time on a connection.

use std::collections::VecDeque;
use std::io::{self, Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::os::fd::OwnedFd;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result};
use hdrhistogram::Histogram;
use rustix::event::epoll::{self, CreateFlags, Event, EventData, EventFlags};
use rustix::time::{
    Itimerspec, TimerfdClockId, TimerfdFlags, TimerfdTimerFlags, Timespec, timerfd_create, timerfd_settime,
};

/// It spins for so long before an answer is due.
const SPIN: Duration = Duration::from_micros(60);
const LISTENER: u64 = u64::MAX;
const TIMER: u64 = u64::MAX - 1;

struct Connection {
    stream: TcpStream,
    head: Vec<u8>,
}

/// An answer that is due.
struct Due {
    at: Instant,
    read: Instant,
    connection: usize,
}

struct Server {
    epoll: OwnedFd,
    timer: OwnedFd,
    listener: TcpListener,
    delay: Duration,
    answer: Vec<u8>,
    /// Every so many answers one is a failure; never, where it is 0.
    fail_every: u64,
    answered: u64,
    connections: Vec<Option<Connection>>,
    free: Vec<usize>,
    due: VecDeque<Due>,
    truth: Histogram<u64>,
    opened: u64,
}

fn main() -> Result<()> {
    let mut arguments = std::env::args().skip(1);
    let mut number = |name: &str, default: Option<u64>| -> Result<u64> {
        match (arguments.next(), default) {
            (Some(text), _) => text.parse().with_context(|| format!("{name}: {text} is no number")),
            (None, Some(default)) => Ok(default),
            (None, None) => anyhow::bail!("usage: truth_server PORT DELAY_US [BODY_BYTES [FAIL_EVERY]]"),
        }
    };
    let port = u16::try_from(number("PORT", None)?).context("PORT is at most 65535")?;
    let delay = Duration::from_micros(number("DELAY_US", None)?);
    let body = usize::try_from(number("BODY_BYTES", Some(300))?)?;
    let fail_every = number("FAIL_EVERY", Some(0))?;
    raise_open_files();
    Server { fail_every, ..Server::new(port, delay, body)? }.run()
}

/// Ten thousand connections are ten thousand files.
fn raise_open_files() {
    use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
    let limit = getrlimit(Resource::Nofile);
    // Where it may not be raised, accepting fails and says so.
    let _ = setrlimit(Resource::Nofile, Rlimit { current: limit.maximum, maximum: limit.maximum });
}

impl Server {
    fn new(port: u16, delay: Duration, body: usize) -> Result<Server> {
        let socket = socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None)?;
        socket.set_reuse_address(true)?;
        socket.bind(&std::net::SocketAddr::from(([127, 0, 0, 1], port)).into()).context("cannot listen")?;
        socket.listen(16_384)?;
        let listener = TcpListener::from(socket);
        listener.set_nonblocking(true)?;
        let epoll = epoll::create(CreateFlags::CLOEXEC)?;
        let timer = timerfd_create(TimerfdClockId::Monotonic, TimerfdFlags::NONBLOCK | TimerfdFlags::CLOEXEC)?;
        epoll::add(&epoll, &listener, EventData::new_u64(LISTENER), EventFlags::IN)?;
        epoll::add(&epoll, &timer, EventData::new_u64(TIMER), EventFlags::IN | EventFlags::ET)?;
        Ok(Server {
            epoll,
            timer,
            listener,
            delay,
            answer: response("200 OK", &numbers(body)),
            fail_every: 0,
            answered: 0,
            connections: Vec::new(),
            free: Vec::new(),
            due: VecDeque::new(),
            truth: Histogram::new_with_bounds(1, 60_000_000, 3)?,
            opened: 0,
        })
    }

    fn run(&mut self) -> Result<()> {
        let mut events = vec![Event { flags: EventFlags::empty(), data: EventData::new_u64(0) }; 1024];
        loop {
            // Whoever spins looks for requests in between: they are to be read when they come.
            let spins = self.due.front().is_some_and(|due| due.at <= Instant::now() + SPIN);
            let timeout = spins.then_some(Timespec { tv_sec: 0, tv_nsec: 0 });
            let count = match epoll::wait(&self.epoll, events.as_mut_slice(), timeout.as_ref()) {
                Ok(count) => count,
                Err(rustix::io::Errno::INTR) => continue,
                Err(error) => return Err(error.into()),
            };
            for event in &events[..count] {
                match event.data.u64() {
                    LISTENER => self.accept()?,
                    TIMER => {}
                    connection => self.read(usize::try_from(connection)?)?,
                }
                self.answer_due()?;
            }
            self.answer_due()?;
            self.arm()?;
        }
    }

    fn accept(&mut self) -> Result<()> {
        loop {
            let stream = match self.listener.accept() {
                Ok((stream, _)) => stream,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(()),
                Err(error) => return Err(error).context("cannot accept"),
            };
            stream.set_nonblocking(true)?;
            stream.set_nodelay(true)?;
            let at = self.free.pop().unwrap_or(self.connections.len());
            epoll::add(&self.epoll, &stream, EventData::new_u64(at as u64), EventFlags::IN)?;
            let connection = Some(Connection { stream, head: Vec::new() });
            match self.connections.get_mut(at) {
                Some(place) => *place = connection,
                None => self.connections.push(connection),
            }
            self.opened += 1;
        }
    }

    fn read(&mut self, at: usize) -> Result<()> {
        let Some(connection) = self.connections[at].as_mut() else { return Ok(()) };
        let mut space = [0; 16_384];
        let count = match connection.stream.read(&mut space) {
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(()),
            Ok(count) => count,
            Err(_reset) => 0,
        };
        let read = Instant::now();
        if count == 0 {
            self.connections[at] = None;
            // Its place is taken again only once no answer is due there.
            self.due.retain(|due| due.connection != at);
            self.free.push(at);
            return Ok(());
        }
        connection.head.extend_from_slice(&space[..count]);
        if !connection.head.ends_with(b"\r\n\r\n") {
            return Ok(());
        }
        let asked = connection.head.starts_with(b"GET /truth ");
        connection.head.clear();
        if asked {
            let answer = response("200 OK", self.report().as_bytes());
            return self.write(at, &answer);
        }
        if !self.delay.is_zero() {
            self.due.push_back(Due { at: read + self.delay, read, connection: at });
            return Ok(());
        }
        self.answer(at, read)
    }

    fn answer_due(&mut self) -> Result<()> {
        while self.due.front().is_some_and(|due| due.at <= Instant::now()) {
            if let Some(due) = self.due.pop_front() {
                self.answer(due.connection, due.read)?;
            }
        }
        Ok(())
    }

    fn answer(&mut self, at: usize, read: Instant) -> Result<()> {
        self.answered += 1;
        let written = if self.fail_every > 0 && self.answered.is_multiple_of(self.fail_every) {
            self.write(at, &response("500 Internal Server Error", b"no"))
        } else {
            let answer = std::mem::take(&mut self.answer);
            let written = self.write(at, &answer);
            self.answer = answer;
            written
        };
        self.truth.saturating_record(u64::try_from(read.elapsed().as_nanos().div_ceil(1000))?);
        written
    }

    fn write(&mut self, at: usize, answer: &[u8]) -> Result<()> {
        let Some(connection) = self.connections[at].as_mut() else { return Ok(()) };
        match connection.stream.write(answer) {
            Ok(count) if count < answer.len() => anyhow::bail!("the socket took {count} of {} bytes", answer.len()),
            Ok(_) => Ok(()),
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => anyhow::bail!("the socket took nothing"),
            // Gone: seen when it is read next.
            Err(_reset) => Ok(()),
        }
    }

    fn report(&mut self) -> String {
        let q = |q: f64| self.truth.value_at_quantile(q);
        let (requests, max) = (self.truth.len(), self.truth.max());
        let report = format!(
            r#"{{"requests":{requests},"p50":{},"p90":{},"p99":{},"p999":{},"max":{max},"connections":{}}}"#,
            q(0.5),
            q(0.9),
            q(0.99),
            q(0.999),
            self.opened
        );
        self.truth.reset();
        self.opened = 0;
        report
    }

    /// Sets the timer for the next answer, less the spinning.
    fn arm(&self) -> Result<()> {
        let Some(due) = self.due.front() else { return Ok(()) };
        let left = due.at.saturating_duration_since(Instant::now() + SPIN).max(Duration::from_nanos(1));
        let zero = Timespec { tv_sec: 0, tv_nsec: 0 };
        let it_value = Timespec { tv_sec: i64::try_from(left.as_secs())?, tv_nsec: i64::from(left.subsec_nanos()) };
        timerfd_settime(&self.timer, TimerfdTimerFlags::empty(), &Itimerspec { it_interval: zero, it_value })?;
        Ok(())
    }
}

/// JSON of about so many bytes.
fn numbers(bytes: usize) -> Vec<u8> {
    let mut body = br#"{"ok":true,"prices":[1"#.to_vec();
    let mut next = 100u32;
    while body.len() + 6 < bytes {
        body.extend_from_slice(format!(",{next}").as_bytes());
        next = 100 + (next + 7) % 900;
    }
    body.extend_from_slice(b"]}");
    body
}

fn response(status: &str, body: &[u8]) -> Vec<u8> {
    let head = format!("HTTP/1.1 {status}\r\nContent-Type: application/json\r\nContent-Length: {}\r\n\r\n", body.len());
    [head.as_bytes(), body].concat()
}
