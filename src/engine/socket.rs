//! A VU's WebSocket session: what its program asks for, done, and counted as a session instead of as a request.

use std::collections::VecDeque;
use std::future::{Future, poll_fn};
use std::pin::pin;
use std::task::Poll;
use std::time::Duration;

use tokio::time::Instant;

use super::program::{Action, Heard, Message, Opening, SocketAsk};
use super::vu::{Driver, Vu};
use crate::http::websocket::Received;
use crate::http::{Cancel, Client, Dial};
use crate::outcome::{Ended, ErrorKind};

/// Most messages that are kept while a VU waits on purpose; of more, the oldest go.
const KEPT: usize = 256;

/// The session of one VU.
#[derive(Debug)]
pub(super) struct Session {
    series: usize,
    began: Instant,
    /// What came while nobody asked.
    early: VecDeque<Received>,
    /// Bytes of it, and the most that there may be.
    early_bytes: (usize, usize),
}

impl Session {
    fn keep(&mut self, message: Received) {
        self.early_bytes.0 += message.data.len();
        self.early.push_back(message);
        while self.early.len() > KEPT || (self.early_bytes.0 > self.early_bytes.1 && self.early.len() > 1) {
            self.take();
        }
    }

    fn take(&mut self) -> Option<Received> {
        let message = self.early.pop_front()?;
        self.early_bytes.0 -= message.data.len();
        Some(message)
    }
}

/// How something that was waited for ended.
enum Waited<T> {
    Done(T),
    TimedOut,
    /// By the hard stop.
    Stopped,
}

impl<T> Waited<T> {
    fn of(waited: Result<T, Cancel>) -> Waited<T> {
        match waited {
            Ok(done) => Waited::Done(done),
            Err(Cancel::Timeout) => Waited::TimedOut,
            Err(Cancel::Stop) => Waited::Stopped,
        }
    }
}

impl<D: Dial> Vu<D> {
    /// Does what the program asks for, and asks it what is next. `None` when the hard stop came first.
    pub(super) async fn socket(
        &mut self,
        ask: SocketAsk,
        client: &mut Client<D>,
        driver: &mut Driver,
    ) -> Option<Action> {
        let heard = match ask {
            SocketAsk::Open(opening) => self.open(&opening, client, driver).await?,
            SocketAsk::Send(message, within) => self.send(message, within, client, driver).await?,
            SocketAsk::Receive(within) => self.receive(within, client, driver).await?,
            SocketAsk::Listen(pause) => self.listen(pause, client, driver).await?,
            SocketAsk::Close(code, within) => self.close(code, within, client, driver).await?,
            SocketAsk::Fail(kind) => {
                if let Some(socket) = client.socket() {
                    socket.farewell(&self.handle.guard).await;
                }
                self.over(Ended::Failed(kind), client, driver)
            }
        };
        Some(self.program.heard(driver.now, heard, &mut driver.notes))
    }

    /// The end of an iteration is that of its session, too.
    pub(super) fn abandon(&self, client: &mut Client<D>, driver: &mut Driver) {
        if driver.session.is_some() {
            self.over(Ended::Interrupted, client, driver);
        }
    }

    async fn open(&mut self, opening: &Opening, client: &mut Client<D>, driver: &mut Driver) -> Option<Heard> {
        let shared = self.shared();
        self.abandon(client, driver);
        let (series, scenario) = (usize::from(opening.series.0), self.course.scenario);
        let now = driver.read_clock(&shared);
        // A session has no response time: only requests do.
        driver.due = None;
        shared.recorder.borrow_mut().session_started(now, scenario, series);
        let opened = client.open_socket(opening, &self.handle.guard).await;
        driver.session = Some(Box::new(Session {
            series,
            began: opened.span.0,
            early: VecDeque::new(),
            early_bytes: (0, opening.longest),
        }));
        let now = driver.read_clock(&shared);
        {
            let mut recorder = shared.recorder.borrow_mut();
            let took = (opened.ended == Ended::Completed).then(|| opened.span.1 - opened.span.0);
            recorder.session_connected(now, series, took, opened.connections);
            recorder.session_traffic(now, series, (0, 0), opened.bytes);
        }
        match opened.ended {
            Ended::Completed => {
                self.connected(true, driver).await?;
                Some(Heard::Done)
            }
            Ended::Interrupted => {
                self.over(Ended::Interrupted, client, driver);
                None
            }
            Ended::Failed(_) => {
                let heard = self.over(opened.ended, client, driver);
                self.connected(opened.connections > 0, driver).await?;
                Some(heard)
            }
        }
    }

    async fn send(
        &mut self,
        message: Message,
        within: Duration,
        client: &mut Client<D>,
        driver: &mut Driver,
    ) -> Option<Heard> {
        let Some(socket) = client.socket() else { return Some(Heard::Over(ErrorKind::SocketClosed)) };
        let sent = self.handle.guard.wait(Some(Instant::now() + within), socket.send(message)).await;
        match Waited::of(sent) {
            Waited::Done(Ok(())) => {
                self.traffic((1, 0), client, driver);
                Some(Heard::Done)
            }
            Waited::Done(Err(kind)) => Some(self.over(Ended::Failed(kind), client, driver)),
            Waited::TimedOut => Some(self.over(Ended::Failed(ErrorKind::Timeout), client, driver)),
            Waited::Stopped => self.stopped(client, driver),
        }
    }

    async fn receive(&mut self, within: Duration, client: &mut Client<D>, driver: &mut Driver) -> Option<Heard> {
        let shared = self.shared();
        let told = |message: Received| Heard::Message(message.data, message.at.saturating_duration_since(shared.start));
        if let Some(message) = driver.session.as_mut().and_then(|session| session.take()) {
            driver.read_clock(&shared);
            return Some(told(message));
        }
        let Some(socket) = client.socket() else { return Some(Heard::Over(ErrorKind::SocketClosed)) };
        match Waited::of(self.handle.guard.wait(Some(Instant::now() + within), socket.receive()).await) {
            Waited::Done(Ok(message)) => {
                self.traffic((0, 1), client, driver);
                Some(told(message))
            }
            Waited::Done(Err(kind)) => Some(self.over(Ended::Failed(kind), client, driver)),
            Waited::TimedOut => {
                self.traffic((0, 0), client, driver);
                Some(Heard::Nothing)
            }
            Waited::Stopped => self.stopped(client, driver),
        }
    }

    /// Waits on purpose, and goes on reading: a server that pings is answered, and one that sends is not held up.
    async fn listen(&mut self, pause: Duration, client: &mut Client<D>, driver: &mut Driver) -> Option<Heard> {
        let timer = self.course.place.timer.clone();
        let mut over = pin!(timer.until(Instant::now() + pause));
        loop {
            let Some(socket) = client.socket() else { return Some(Heard::Over(ErrorKind::SocketClosed)) };
            let waited = {
                let mut receive = pin!(socket.receive());
                let either = poll_fn(|cx| {
                    if over.as_mut().poll(cx).is_ready() {
                        return Poll::Ready(None);
                    }
                    receive.as_mut().poll(cx).map(Some)
                });
                self.handle.guard.wait(None, either).await
            };
            match waited {
                Ok(Some(Ok(message))) => {
                    self.traffic((0, 1), client, driver);
                    if let Some(session) = &mut driver.session {
                        session.keep(message);
                    }
                }
                Ok(Some(Err(kind))) => return Some(self.over(Ended::Failed(kind), client, driver)),
                Ok(None) | Err(Cancel::Timeout) => {
                    driver.read_clock(&self.shared());
                    return Some(Heard::Done);
                }
                Err(Cancel::Stop) => return self.stopped(client, driver),
            }
        }
    }

    async fn close(
        &mut self,
        code: u16,
        within: Duration,
        client: &mut Client<D>,
        driver: &mut Driver,
    ) -> Option<Heard> {
        let deadline = Instant::now() + within;
        let mut closing = true;
        loop {
            let Some(socket) = client.socket() else { return Some(Heard::Over(ErrorKind::SocketClosed)) };
            let waited = if closing {
                let closed = self.handle.guard.wait(Some(deadline), socket.close(code)).await;
                Waited::of(closed.map(|closed| closed.map(|()| None)))
            } else {
                let answer = self.handle.guard.wait(Some(deadline), socket.receive()).await;
                Waited::of(answer.map(|answer| answer.map(Some)))
            };
            match waited {
                // What was under way when it was closed.
                Waited::Done(Ok(Some(_))) if Instant::now() < deadline => self.traffic((0, 1), client, driver),
                Waited::Done(Ok(None)) => closing = false,
                Waited::Done(Err(_)) if client.socket().is_some_and(|socket| socket.has_said_goodbye()) => {
                    return Some(self.over(Ended::Completed, client, driver));
                }
                Waited::Done(Ok(Some(_)) | Err(ErrorKind::SocketClosed | ErrorKind::Reset)) | Waited::TimedOut => {
                    return Some(self.over(Ended::Failed(ErrorKind::SocketClose), client, driver));
                }
                Waited::Done(Err(kind)) => return Some(self.over(Ended::Failed(kind), client, driver)),
                Waited::Stopped => return self.stopped(client, driver),
            }
        }
    }

    fn stopped(&self, client: &mut Client<D>, driver: &mut Driver) -> Option<Heard> {
        self.over(Ended::Interrupted, client, driver);
        None
    }

    /// Counts what went out and came in.
    fn traffic(&self, messages: (u64, u64), client: &mut Client<D>, driver: &mut Driver) {
        let shared = self.shared();
        let now = driver.read_clock(&shared);
        if let (Some(session), Some(socket)) = (&driver.session, client.socket()) {
            shared.recorder.borrow_mut().session_traffic(now, session.series, messages, socket.bytes());
        }
    }

    /// The session has ended so.
    fn over(&self, ended: Ended, client: &mut Client<D>, driver: &mut Driver) -> Heard {
        self.traffic((0, 0), client, driver);
        client.drop_socket();
        if let Some(session) = driver.session.take() {
            let age = driver.at.saturating_duration_since(session.began);
            let which = (self.course.scenario, session.series);
            self.shared().recorder.borrow_mut().session_ended(driver.now, which, ended, age);
        }
        match ended {
            Ended::Failed(kind) => Heard::Over(kind),
            Ended::Completed | Ended::Interrupted => Heard::Done,
        }
    }
}
