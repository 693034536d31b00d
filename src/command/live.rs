//! Live control of the runs of this process, between the control loop and those who ask: keys and the REST endpoint.

use std::sync::Arc;
use std::time::Duration;

use anyhow::anyhow;
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};

use super::failure::Failure;
use super::keys::{Key, Keys};
use super::view::View;
use crate::capacity::search::Search;
use crate::cli::LiveArgs;
use crate::control::board::{Board, Phase};
use crate::control::rest::Server;
use crate::control::{Ask, Asked, Controls, Effect, Refusal, Wanted};
use crate::exit::Exit;
use crate::host::{self, Environment};
use crate::plan::Plan;
use crate::summary::{Builder, ControlEvent, Controlled, Origin, RunState, Summary};
use crate::web::{News, Web};
use crate::window::Second;

/// What a run may be interrupted by.
pub(super) enum Noticed {
    /// Somebody asks for something.
    Asked(Asked),
    /// A key that asks nothing of the run.
    Key(Key),
}

/// Those who may ask, and what they are shown.
pub(super) struct Live {
    board: Arc<Board>,
    asks: UnboundedReceiver<Asked>,
    /// Keeps the channel open where there is no endpoint.
    _asks_in: UnboundedSender<Asked>,
    server: Option<Server>,
    web: Option<Web>,
    keys: Option<Keys>,
    /// Whether keys are listened to, where there are any.
    keyed: bool,
    /// Of the run that is on.
    controls: Option<Controls>,
}

impl Live {
    /// Nobody may ask.
    pub(super) fn closed() -> Live {
        let (asks_in, asks) = unbounded_channel();
        Live {
            board: Arc::default(),
            asks,
            _asks_in: asks_in,
            server: None,
            web: None,
            keys: None,
            keyed: false,
            controls: None,
        }
    }

    /// Listens on the address from now on, where there is one; and to keys while a run is on, unless it is to be quiet.
    pub(super) fn open(args: &LiveArgs, quiet: bool, view: &View) -> Result<Live, Failure> {
        let mut live = Live::closed();
        live.board.set_phase(Phase::Setup);
        if let Some(address) = args.address {
            let server = Server::start(address, live.board.clone(), live._asks_in.clone()).map_err(|e| {
                Failure::new(Exit::ControlAddress, anyhow!("--address {address}: {e}; port 0 is any that is free"))
            })?;
            view.announce(&format!("live control: http://{}/v1/status", server.address()));
            live.server = Some(server);
        }
        if let Some(address) = args.web {
            let web = Web::start(address).map_err(|e| {
                Failure::new(Exit::ControlAddress, anyhow!("--web {address}: {e}; port 0 is any that is free"))
            })?;
            view.announce(&format!("live page: {}", web.address()));
            if !address.ip().is_loopback() {
                view.warn("the live page is read over plain http by whoever has its address");
            }
            live.web = Some(web);
        }
        live.keyed = !quiet;
        Ok(live)
    }

    /// A run begins.
    pub(super) fn begin(&mut self, plan: &Arc<Plan>, environment: Environment, view: &mut View) {
        let controls = Controls::new(plan.clone(), host::raise_open_files());
        self.board.begin(&controls);
        self.controls = Some(controls);
        if let Some(web) = &self.web {
            web.tell(News::Begin(plan.clone(), Box::new(environment), plan.run_id.clone()));
        }
        // Not before: questions may have been asked in the terminal until now.
        if self.keyed && self.keys.is_none() {
            self.keys = Keys::open();
        }
        if let Some(keys) = &self.keys {
            keys.begin();
            if !view.begin(plan) {
                view.say(self.help());
            }
        }
    }

    /// It is over: nothing can be asked of it any more.
    pub(super) fn end(&mut self, view: &mut View) {
        view.end();
        if let Some(keys) = &self.keys {
            keys.end();
        }
        self.board.set_phase(Phase::Teardown);
        // Whoever asked too late is told by the end of his channel.
        while self.asks.try_recv().is_ok() {}
    }

    /// Everything is over.
    pub(super) fn ended(&self, summary: &Summary) {
        if let Some(web) = &self.web {
            web.tell(News::Summary(Box::new(summary.clone())));
        }
        self.board.set_phase(if summary.state == RunState::Finished { Phase::Ended } else { Phase::Interrupted });
    }

    fn help(&self) -> &'static str {
        let searched =
            |controls: &Controls| controls.plan().scenarios.iter().any(|scenario| scenario.executor.is_searched());
        match &self.controls {
            Some(controls) if searched(controls) => "keys: q stops",
            Some(controls) if controls.sole().is_none() => "keys: p pauses and resumes, q stops",
            _ => "keys: p pauses and resumes, + and - change the VUs by a tenth, q stops",
        }
    }

    /// Waits until something is asked, or a key is pressed that is for the view. Can be dropped and called again.
    pub(super) async fn next(&mut self) -> Noticed {
        let keys = async |keys: &mut Option<Keys>| match keys {
            Some(keys) => keys.next().await,
            None => std::future::pending().await,
        };
        tokio::select! {
            Some(asked) = self.asks.recv() => Noticed::Asked(asked),
            key = keys(&mut self.keys) => {
                let paused = self.controls.as_ref().is_some_and(Controls::is_paused);
                let vus = |vus| vec![Ask::Vus { scenario: None, vus }];
                let asks = match key {
                    Key::Pause if paused => vec![Ask::Resume],
                    Key::Pause => vec![Ask::Pause],
                    Key::More => vus(Wanted::More),
                    Key::Fewer => vus(Wanted::Fewer),
                    Key::Stop => vec![Ask::Stop],
                    key => return Noticed::Key(key),
                };
                Noticed::Asked(Asked { asks, from: Origin::Terminal, reply: None })
            }
        }
    }

    /// A key for the view.
    pub(super) fn key(&self, key: Key, view: &mut View) {
        if !view.turn(key) && [Key::Help, Key::Histogram].contains(&key) {
            view.say(self.help());
        }
    }

    /// What follows from what was asked at this time of the run; who asked is told.
    pub(super) fn take(&mut self, asked: Asked, at: Duration, view: &mut View) -> Effect {
        let Some(controls) = &mut self.controls else { return Effect::default() };
        let result = controls.apply(&asked.asks, asked.from, at);
        self.board.control(controls);
        let told = result.as_ref().map(|_| ()).map_err(Clone::clone);
        if let Some(reply) = asked.reply {
            // Who has gone away wants no answer.
            let _ = reply.send(told);
        } else {
            match told {
                Ok(()) => {}
                Err(Refusal::Stopping) => view.say("it is stopping already; Ctrl-C twice cuts off what is under way"),
                Err(refusal) => view.say(&refusal.to_string()),
            }
        }
        let effect = result.unwrap_or_default();
        effect.events.iter().for_each(|event| view.say(&said(event)));
        if let Some(controls) = &self.controls {
            view.set_asked((0..controls.plan().scenarios.len()).map(|at| controls.vus(at)).collect());
        }
        effect
    }

    /// It was told to stop in another way.
    pub(super) fn stopped(&mut self) {
        if let Some(controls) = self.controls.as_mut().filter(|controls| !controls.is_stopping()) {
            controls.stopped();
            self.board.control(controls);
        }
    }

    /// Something happened in it.
    pub(super) fn event(&self, event: &serde_json::Value) {
        if let Some(web) = &self.web {
            web.tell(News::Event(event.clone()));
        }
    }

    /// A second is over. Costs something only where somebody may look.
    pub(super) fn second(&self, second: &Second, search: Option<&Search>, builder: &Builder) {
        if let Some(web) = &self.web {
            let searched = search.map(|search| Box::new((search.progress(), search.steps().to_vec())));
            web.tell(News::Second(Box::new(second.clone()), searched, builder.verdicts()));
        }
        if self.server.is_some() {
            self.board.second(second, builder.tainted());
        }
    }
}

fn said(event: &ControlEvent) -> String {
    match event.what {
        Controlled::Pause => "paused: what was begun is finished, the clock goes on".to_owned(),
        Controlled::Resume => "resumed".to_owned(),
        Controlled::Stop => "stopping: what was begun is finished; Ctrl-C twice cuts it off".to_owned(),
        Controlled::Vus => {
            let [before, now] = [event.vus_before, event.vus].map(Option::unwrap_or_default);
            format!("{}: {before} → {now} VUs", event.scenario.as_deref().unwrap_or_default())
        }
    }
}
