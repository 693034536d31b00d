//! WebSocket sessions of steps: compiled before the run, then action by action, by what comes.

use std::rc::Rc;
use std::time::Duration;

use bytes::Bytes;
use http::HeaderValue;
use http::header::{ACCEPT, ACCEPT_ENCODING, SEC_WEBSOCKET_PROTOCOL};

use super::body::{file, json};
use super::judge::Judge;
use super::text::{Names, Text, Values};
use super::{CompileFault, Compiled, Given, State, Steps};
use crate::engine::program::{Action, Heard, Message, Notes, Opening, Outcome, SocketAsk};
use crate::outcome::{Ended, ErrorKind, Phases};
use crate::scenario::steps::{SocketAction, SocketMessage, SocketScript, Step, Think};

/// What a session ends with where it does not say.
const NORMAL: u16 = 1000;
/// How long the answer to its end is waited for at most.
const CLOSE_WITHIN: Duration = Duration::from_secs(5);
/// How long a message with variables may get, in bytes; one without them is as long as it is.
const LONGEST_TEXT: usize = 1 << 20;

/// A session, complete but for its values.
#[derive(Debug)]
pub(super) struct Talk {
    acts: Vec<Act>,
    longest: usize,
    longest_sent: usize,
    protocols: Option<HeaderValue>,
}

#[derive(Debug)]
enum Act {
    Send(Sent),
    Expect { judge: Judge, timeout: Option<Duration> },
    Think(Think),
    Close(u16),
}

#[derive(Debug)]
enum Sent {
    Text(Text),
    File(Bytes),
}

/// A session that is going on.
#[derive(Debug)]
pub(super) struct Talking {
    /// The opening is done.
    opened: bool,
    /// Which action.
    act: usize,
    /// When something was last sent, or the session was opened.
    sent: Duration,
    /// Until when a message is waited for.
    deadline: Duration,
    /// Nothing more is done.
    closing: bool,
    /// Why the session has failed.
    failed: Option<String>,
}

impl Talk {
    pub(super) fn compile(
        step: &Step,
        script: &SocketScript,
        names: &Names,
        given: &Given,
    ) -> Result<Talk, CompileFault> {
        let fault = |what: String| CompileFault::new(&step.name, what);
        let unknown = |name: String| fault(format!("`${{{name}}}` is unknown"));
        let (mut acts, mut longest_sent) = (Vec::new(), 0);
        for action in &script.actions {
            let act = match action {
                SocketAction::Send(SocketMessage::Text(template)) => {
                    Act::Send(Sent::Text(Text::plain(template, names).map_err(unknown)?))
                }
                SocketAction::Send(SocketMessage::Json(value)) => {
                    let mut text = Text::default();
                    json(value, &mut text, names).map_err(unknown)?;
                    Act::Send(Sent::Text(text))
                }
                SocketAction::Send(SocketMessage::File(name)) => Act::Send(Sent::File(file(step, name, given)?)),
                SocketAction::Expect(expect) => {
                    let wanted = expect.subject.iter().map(|subject| ("", subject));
                    let judge = Judge::of(wanted, &expect.extract, names).map_err(fault)?;
                    Act::Expect { judge, timeout: expect.timeout }
                }
                SocketAction::Think(think) => Act::Think(*think),
                SocketAction::Close(code) => Act::Close(*code),
            };
            longest_sent = longest_sent.max(match &act {
                Act::Send(Sent::Text(text)) => text.fixed().map_or(LONGEST_TEXT, str::len),
                Act::Send(Sent::File(bytes)) => bytes.len(),
                _ => 0,
            });
            acts.push(act);
        }
        let longest = usize::try_from(script.max_message).unwrap_or(usize::MAX);
        let protocols = (!script.protocols.is_empty()).then(|| HeaderValue::from_str(&script.protocols.join(", ")));
        let protocols = protocols.transpose().map_err(|e| fault(e.to_string()))?;
        Ok(Talk { acts, longest, longest_sent, protocols })
    }
}

impl Steps {
    /// Opens the session of the present step.
    pub(super) fn open(&mut self, now: Duration, step: &Compiled, talk: &Talk, notes: &mut Notes) -> Action {
        let mut request = match step.draft.request(&self.values) {
            Ok(request) => request,
            Err(why) => return self.fail(now, &why, notes),
        };
        // Of a request: the answer to an opening has no body.
        for name in [ACCEPT, ACCEPT_ENCODING] {
            request.headers.remove(name);
        }
        if let Some(protocols) = &talk.protocols {
            request.headers.insert(SEC_WEBSOCKET_PROTOCOL, protocols.clone());
        }
        self.state = State::Talking;
        let none = Duration::ZERO;
        self.talking =
            Some(Talking { opened: false, act: 0, sent: none, deadline: none, closing: false, failed: None });
        let (longest, longest_sent) = (talk.longest, talk.longest_sent);
        let opening = Opening { series: step.series, request, timeout: step.timeout, longest, longest_sent };
        Action::Socket(SocketAsk::Open(Rc::new(opening)))
    }

    /// What came of the last action, and the next one.
    pub(super) fn go_on_talking(&mut self, now: Duration, heard: Heard, notes: &mut Notes) -> Action {
        let recipe = self.recipe.clone();
        let step = &recipe.lists[self.list].steps[self.step];
        let (Some(talk), Some(mut talking)) = (&step.talk, self.talking.take()) else {
            return self.fail(now, "there is no session", notes);
        };
        let action = match heard {
            Heard::Over(kind) => {
                let why = talking.failed.take().unwrap_or_else(|| kind.describe());
                self.talking = Some(talking);
                return self.fail(now, &why, notes);
            }
            Heard::Done if talking.closing => return self.rest(now, step.think, notes),
            Heard::Done => {
                if !talking.opened || matches!(talk.acts.get(talking.act), Some(Act::Send(_))) {
                    talking.sent = now;
                }
                talking.act += usize::from(talking.opened);
                talking.opened = true;
                self.act(now, step, talk, &mut talking)
            }
            Heard::Nothing => talking.not_heard(step, talk),
            Heard::Message(data, at) => match self.hear(&data, talk, &talking) {
                Ok(false) if now >= talking.deadline => talking.not_heard(step, talk),
                Ok(false) => Action::Socket(SocketAsk::Receive(talking.deadline.saturating_sub(now))),
                Ok(true) => {
                    notes.expected.push((step.series, at.saturating_sub(talking.sent)));
                    talking.act += 1;
                    self.act(now, step, talk, &mut talking)
                }
                Err(why) => {
                    talking.failed = Some(why);
                    Action::Socket(SocketAsk::Fail(ErrorKind::Body))
                }
            },
        };
        self.talking = Some(talking);
        action
    }

    /// The action that is due.
    fn act(&mut self, now: Duration, step: &Compiled, talk: &Talk, talking: &mut Talking) -> Action {
        Action::Socket(match talk.acts.get(talking.act) {
            Some(Act::Send(sent)) => SocketAsk::Send(sent.message(&self.values), step.timeout),
            Some(Act::Expect { timeout, .. }) => {
                let within = timeout.unwrap_or(step.timeout);
                talking.deadline = now + within;
                SocketAsk::Receive(within)
            }
            Some(Act::Think(think)) => SocketAsk::Listen(self.pause(*think)),
            act => {
                talking.closing = true;
                let code = if let Some(Act::Close(code)) = act { *code } else { NORMAL };
                SocketAsk::Close(code, step.timeout.min(CLOSE_WITHIN))
            }
        })
    }

    /// Whether a message is the expected one; then its variables are taken.
    fn hear(&mut self, data: &[u8], talk: &Talk, talking: &Talking) -> Result<bool, String> {
        let Some(Act::Expect { judge, .. }) = talk.acts.get(talking.act) else { return Ok(false) };
        let outcome = Outcome {
            ended: Ended::Completed,
            status: None,
            headers: None,
            body: data,
            phases: Phases::default(),
            started: Duration::ZERO,
            finished: Duration::ZERO,
        };
        if !judge.passes(&outcome, &self.values) {
            return Ok(false);
        }
        judge.extract(&outcome, &mut self.values, &mut self.random).map(|()| true)
    }
}

impl Talking {
    /// What was expected did not come.
    fn not_heard(&mut self, step: &Compiled, talk: &Talk) -> Action {
        let within = match talk.acts.get(self.act) {
            Some(Act::Expect { timeout, .. }) => timeout.unwrap_or(step.timeout),
            _ => step.timeout,
        };
        self.failed = Some(format!("action {}: no expected message within {within:?}", self.act + 1));
        Action::Socket(SocketAsk::Fail(ErrorKind::SocketExpect))
    }
}

impl Sent {
    fn message(&self, values: &Values) -> Message {
        match self {
            Sent::Text(text) => Message::Text(text.render(values)),
            Sent::File(bytes) => Message::Binary(bytes.clone()),
        }
    }
}
