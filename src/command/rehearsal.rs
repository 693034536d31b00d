//! Failure as part of a run: at its time each action is done, to an architecture of ours or by a command of the user's.

use std::collections::VecDeque;
use std::path::PathBuf;
use std::process::Stdio;
use std::time::Duration;

use anyhow::anyhow;
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};
use tokio::time::Instant;

use super::failure::Failure;
use crate::architecture::action::Action;
use crate::architecture::control;
use crate::cli::RehearsalArgs;
use crate::disruption::Event;
use crate::units;

/// How long an action that was begun may take beyond the end of the run.
const FINISH_WITHIN: Duration = Duration::from_secs(5);

/// What an action is.
#[derive(Debug, Clone)]
enum What {
    /// Something for the architecture at that socket.
    Cluster(PathBuf, Action),
    /// A command for the shell.
    Exec(String),
}

/// Something that is to be done at a time after the beginning of the measured part.
#[derive(Debug, Clone)]
struct Step {
    at: Duration,
    what: What,
}

/// What is to be done in a run.
#[derive(Debug, Default)]
pub(super) struct Script {
    steps: Vec<Step>,
}

impl Script {
    /// Reads it off the command line, and looks whether the architecture is there.
    pub(super) async fn of(args: &RehearsalArgs, duration: Duration) -> Result<Script, Failure> {
        let mut steps = Vec::new();
        for pair in args.at.chunks(2) {
            let [time, action] = pair else { continue };
            let wrong = |why: String| Failure::usage(format!("--at {time} '{action}': {why}"));
            let at = units::duration(time).map_err(wrong)?;
            if at >= duration {
                return Err(wrong(format!("the load is over after {} s", duration.as_secs())));
            }
            let what = match action.trim().strip_prefix("exec ") {
                Some(command) => What::Exec(command.trim().to_owned()),
                None => {
                    let action: Action = action.parse().map_err(wrong)?;
                    let none = "which architecture? Give --cluster, as `sandbox up` prints it; for a server of your own \
                                'exec COMMAND' runs a command";
                    What::Cluster(args.cluster.clone().ok_or_else(|| wrong(none.to_owned()))?, action)
                }
            };
            steps.push(Step { at, what });
        }
        steps.sort_by_key(|step| step.at);
        if let Some(What::Cluster(socket, _)) = steps.iter().map(|step| &step.what).find(|what| !what.is_exec()) {
            let there = control::ask(socket, "status").await;
            there.map_err(|fault| Failure::unreachable(anyhow!("{fault}: start it with `sandbox up`")))?;
        }
        Ok(Script { steps })
    }

    /// Ready to be done, with times from the start of the run.
    pub(super) fn begin(self, warm_up: Duration) -> Rehearsal {
        let (tell, done) = unbounded_channel();
        let due = self.steps.into_iter().map(|step| Step { at: warm_up + step.at, ..step }).collect();
        Rehearsal { due, under_way: Vec::new(), tell, done }
    }
}

impl What {
    fn is_exec(&self) -> bool {
        matches!(self, What::Exec(_))
    }

    fn text(&self) -> String {
        match self {
            What::Cluster(_, action) => action.to_string(),
            What::Exec(command) => format!("exec {command}"),
        }
    }

    async fn done(&self) -> Result<(), String> {
        match self {
            What::Cluster(socket, action) => {
                control::ask(socket, &action.to_string()).await.map(|_| ()).map_err(|fault| fault.to_string())
            }
            What::Exec(command) => {
                let mut shell = tokio::process::Command::new("sh");
                // Our stdout is for the result.
                shell.arg("-c").arg(command).stdin(Stdio::null()).stdout(std::io::stderr()).kill_on_drop(true);
                let status = shell.status().await.map_err(|error| format!("cannot run sh: {error}"))?;
                if status.success() { Ok(()) } else { Err(status.to_string()) }
            }
        }
    }
}

/// What is being done in a run that is on.
#[derive(Debug)]
pub(super) struct Rehearsal {
    due: VecDeque<Step>,
    under_way: Vec<Event>,
    tell: UnboundedSender<Event>,
    done: UnboundedReceiver<Event>,
}

/// What happened.
pub(super) enum Happened {
    /// It was begun.
    Began(String),
    /// It is done, or could not be.
    Done(Event),
}

impl Rehearsal {
    /// The next thing that happens. Can be dropped and called again.
    pub(super) async fn next(&mut self, started: Instant) -> Happened {
        let due = self.due.front().map(|step| started + step.at);
        tokio::select! {
            Some(event) = self.done.recv() => {
                self.under_way.retain(|begun| (begun.at_s, &begun.action) != (event.at_s, &event.action));
                Happened::Done(event)
            }
            () = until(due) => self.begin(started),
        }
    }

    fn begin(&mut self, started: Instant) -> Happened {
        let Some(step) = self.due.pop_front() else { return Happened::Began(String::new()) };
        let action = step.what.text();
        let event = Event { at_s: started.elapsed().as_secs_f64(), done_s: None, action: action.clone(), error: None };
        self.under_way.push(event.clone());
        let tell = self.tell.clone();
        tokio::spawn(async move {
            let error = step.what.done().await.err();
            let done_s = Some(started.elapsed().as_secs_f64()).filter(|_| error.is_none());
            // The run may be over.
            let _ = tell.send(Event { done_s, error, ..event });
        });
        Happened::Began(action)
    }

    /// The end of the run: what was begun and what was not.
    pub(super) async fn finish(&mut self) -> Vec<Event> {
        let mut events = Vec::new();
        let rest = async {
            while !self.under_way.is_empty() {
                let Some(event) = self.done.recv().await else { return };
                self.under_way.retain(|begun| (begun.at_s, &begun.action) != (event.at_s, &event.action));
                events.push(event);
            }
        };
        let _ = tokio::time::timeout(FINISH_WITHIN, rest).await;
        let late = |event: Event| Event { error: Some("not done when the run was over".to_owned()), ..event };
        events.extend(self.under_way.drain(..).map(late));
        let never = |step: Step| Event {
            at_s: step.at.as_secs_f64(),
            done_s: None,
            action: step.what.text(),
            error: Some("the run was over before".to_owned()),
        };
        events.extend(self.due.drain(..).map(never));
        events
    }
}

async fn until(due: Option<Instant>) {
    match due {
        Some(due) => tokio::time::sleep_until(due).await,
        None => std::future::pending().await,
    }
}
