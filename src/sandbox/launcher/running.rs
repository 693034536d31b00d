//! The processes of one bundle on one node: does what the pool decides.

use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use tokio::net::UnixStream;
use tokio::sync::{Notify, oneshot};

use super::super::processes::{NewJob, Processes};
use super::super::store::{Environment, random_key};
use super::guard::Limits;
use super::log::JobLog;
use super::pool::{Action, Id, Pool, Refusal, Ticket};
use super::process::{Launch, Program};
use super::proxy::Upstream;
use super::settings::Runtime;
use super::spec::Spec;

/// How often a starting process is asked whether it accepts connections.
const KNOCK: Duration = Duration::from_millis(10);

/// Which bundle, and on which node.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) struct Place {
    pub(super) node: usize,
    pub(super) hostname: String,
    pub(super) guid: String,
    pub(super) bundle: i64,
}

/// What processes are started with.
#[derive(Debug, Clone)]
pub(super) struct Making {
    pub(super) guard: PathBuf,
    pub(super) limits: Limits,
    pub(super) folder: PathBuf,
    pub(super) jobs: Arc<Processes>,
    /// Address of the sandbox.
    pub(super) server: String,
}

/// The processes of a bundle.
#[derive(Debug)]
pub(super) struct Running {
    place: Place,
    spec: Spec,
    making: Making,
    /// Set by the owner of the content item.
    environment: Environment,
    /// Never held over an await nor over a call that may take it again.
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    pool: Pool,
    runtime: Runtime,
    next_ticket: Ticket,
    waiting: HashMap<Ticket, oneshot::Sender<Result<Permit, Refusal>>>,
    workers: HashMap<Id, Arc<Worker>>,
    /// The log of the last process that did not come up.
    last_log: Option<Arc<JobLog>>,
    ended: bool,
}

/// One process.
#[derive(Debug)]
struct Worker {
    program: Program,
    upstream: Upstream,
}

/// A request's place in a process; given back when dropped.
#[derive(Debug)]
pub(super) struct Permit {
    running: Arc<Running>,
    id: Id,
    worker: Arc<Worker>,
}

/// A request that waits; it leaves the queue when dropped.
struct Waiting<'r>(&'r Running, Ticket);

/// Why there is no process for a request.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(super) enum NoProcess {
    /// Everything is full.
    #[error("the application is at capacity: all its processes and the queue before them are full")]
    Full,
    /// It does not start.
    #[error("{0}")]
    Start(String),
    /// The node went away.
    #[error("the node went away")]
    Gone,
}

impl Running {
    /// Without a process yet.
    pub(super) fn new(
        place: Place,
        spec: Spec,
        (runtime, environment): (Runtime, Environment),
        making: Making,
    ) -> Arc<Self> {
        let state = State {
            pool: Pool::new(),
            runtime,
            next_ticket: 0,
            waiting: HashMap::new(),
            workers: HashMap::new(),
            last_log: None,
            ended: false,
        };
        Arc::new(Self { place, spec, making, environment, state: Mutex::new(state) })
    }

    /// Where it runs.
    pub(super) fn place(&self) -> &Place {
        &self.place
    }

    /// How often the environment had been set that its processes have.
    pub(super) fn revision(&self) -> i64 {
        self.environment.revision
    }

    /// From now on these settings hold.
    pub(super) fn set_runtime(&self, runtime: Runtime) {
        self.lock().runtime = runtime;
    }

    /// How a request's connection may go on.
    pub(super) fn runtime(&self) -> Runtime {
        self.lock().runtime
    }

    /// Waits for a process that takes a request.
    pub(super) async fn admit(self: &Arc<Self>) -> Result<Permit, NoProcess> {
        let (sender, mut answer) = oneshot::channel();
        let (ticket, actions) = {
            let mut state = self.lock();
            if state.ended {
                return Err(NoProcess::Gone);
            }
            let ticket = state.next_ticket;
            state.next_ticket += 1;
            state.waiting.insert(ticket, sender);
            let runtime = state.runtime;
            (ticket, state.pool.arrive(Instant::now(), ticket, &runtime))
        };
        self.apply(actions);
        let _waiting = Waiting(self, ticket);
        match (&mut answer).await {
            Ok(Ok(permit)) => Ok(permit),
            Ok(Err(Refusal::Full)) => Err(NoProcess::Full),
            Ok(Err(Refusal::Start(why))) => Err(NoProcess::Start(why)),
            Err(_closed) => Err(NoProcess::Gone),
        }
    }

    /// Another bundle takes its place.
    pub(super) fn retire(self: &Arc<Self>) {
        let actions = self.lock().pool.retire();
        self.apply(actions);
    }

    /// Time passes.
    pub(super) fn tick(self: &Arc<Self>) {
        let actions = {
            let mut state = self.lock();
            let runtime = state.runtime;
            state.pool.tick(Instant::now(), &runtime)
        };
        self.apply(actions);
    }

    /// Ends every process at once; requests in them are lost.
    pub(super) fn end(&self) {
        let mut state = self.lock();
        state.ended = true;
        state.waiting.clear();
        state.workers.values().for_each(|worker| worker.program.stop());
    }

    /// Whether a retired one is done.
    pub(super) fn is_over(&self) -> bool {
        let state = self.lock();
        state.pool.is_over() && state.workers.is_empty()
    }

    /// Whether it has neither a process nor a request, and is to keep none.
    pub(super) fn is_idle(&self) -> bool {
        let state = self.lock();
        state.pool.is_empty() && state.workers.is_empty() && state.runtime.min == 0
    }

    /// Whether a process has not ended yet.
    pub(super) fn has_processes(&self) -> bool {
        self.lock().workers.values().any(|worker| !worker.program.has_ended())
    }

    /// Processes, requests in them, requests that wait.
    pub(super) fn figures(&self) -> (usize, usize, usize) {
        self.lock().pool.figures()
    }

    /// What the last process said that did not come up.
    pub(super) fn last_log(&self, most: usize) -> Vec<String> {
        self.lock().last_log.as_ref().map(|log| log.tail(most)).unwrap_or_default()
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn apply(self: &Arc<Self>, actions: Vec<Action>) {
        for action in actions {
            match action {
                Action::Start(id, slots) => {
                    let running = Arc::clone(self);
                    tokio::spawn(async move { running.live(id, slots).await });
                }
                Action::Serve(ticket, id) => {
                    let (sender, worker) = {
                        let mut state = self.lock();
                        (state.waiting.remove(&ticket), state.workers.get(&id).cloned())
                    };
                    let Some(worker) = worker else { continue };
                    let permit = Permit { running: Arc::clone(self), id, worker };
                    if let Some(sender) = sender {
                        // Nobody waits any more: the permit comes back, and gives its place back.
                        let _ = sender.send(Ok(permit));
                    }
                }
                Action::Refuse(ticket, why) => {
                    let sender = self.lock().waiting.remove(&ticket);
                    if let Some(sender) = sender {
                        let _ = sender.send(Err(why));
                    }
                }
                Action::Stop(id) => {
                    let worker = self.lock().workers.get(&id).cloned();
                    if let Some(worker) = worker {
                        worker.program.stop();
                    }
                }
            }
        }
    }

    /// The life of one process.
    async fn live(self: Arc<Self>, id: Id, slots: usize) {
        if self.lock().ended {
            return;
        }
        let log = Arc::new(JobLog::default());
        let key: String = random_key().chars().take(16).collect();
        let home = self.making.folder.join(&key);
        let why = self.process(id, slots, (&key, &home), &log).await;
        if why.is_some() {
            self.lock().last_log = Some(log);
        }
        let actions = {
            let mut state = self.lock();
            state.workers.remove(&id);
            let runtime = state.runtime;
            state.pool.gone(Instant::now(), id, why, &runtime)
        };
        let _ = tokio::task::spawn_blocking(move || std::fs::remove_dir_all(home)).await;
        self.apply(actions);
    }

    /// Starts a process and waits for its end: why it did not come up, if so.
    async fn process(
        self: &Arc<Self>,
        id: Id,
        slots: usize,
        (key, home): (&str, &std::path::Path),
        log: &Arc<JobLog>,
    ) -> Option<String> {
        let socket = home.with_extension("s");
        let (program, arguments) = self.spec.command(&self.making.folder, &socket, slots);
        let runtime = self.runtime();
        let memory = runtime.memory.map_or(self.making.limits.memory, |set| set.min(self.making.limits.memory));
        let launch = Launch {
            program,
            arguments,
            environment: self.variables(key, home),
            directory: self.spec.directory.clone(),
            limits: Limits { memory, ..self.making.limits },
            installs: false,
        };
        let started = std::fs::create_dir_all(home).and_then(|()| Program::start(&self.making.guard, &launch, log));
        let program = match started {
            Ok(program) => program,
            Err(error) => return Some(format!("the process cannot be started: {error}")),
        };
        let stop = Arc::new(Notify::new());
        let job = self.making.jobs.begin(NewJob {
            key: key.to_owned(),
            content_guid: self.place.guid.clone(),
            bundle_id: self.place.bundle,
            hostname: self.place.hostname.clone(),
            pid: program.pid,
            log: Arc::clone(log),
            stop: Arc::clone(&stop),
        });
        let worker = Arc::new(Worker { program, upstream: Upstream::new(socket.clone()) });
        let ended = {
            let mut state = self.lock();
            state.workers.insert(id, Arc::clone(&worker));
            state.ended
        };
        if ended {
            worker.program.stop();
        }
        let why = worker.comes_up(runtime.init, &stop).await;
        if why.is_none() {
            let actions = self.lock().pool.ready(Instant::now(), id);
            self.apply(actions);
        } else {
            worker.program.stop();
        }
        tokio::select! {
            _ = worker.program.ended() => {}
            () = stop.notified() => worker.program.stop(),
        }
        let code = worker.program.ended().await;
        let _ = std::fs::remove_file(socket);
        self.making.jobs.end(job, code);
        why
    }

    /// What Connect documents, what the item's owner set, and a home of its own.
    fn variables(&self, key: &str, home: &std::path::Path) -> Vec<(String, std::ffi::OsString)> {
        let ours = [
            ("HOME", home.as_os_str().to_owned()),
            ("TMPDIR", home.as_os_str().to_owned()),
            ("CONNECT_SERVER", self.making.server.clone().into()),
            ("CONNECT_CONTENT_GUID", self.place.guid.clone().into()),
            ("CONNECT_CONTENT_JOB_KEY", key.into()),
            ("POSIT_PRODUCT", "CONNECT".into()),
            ("RSTUDIO_PRODUCT", "CONNECT".into()),
            ("R_CONFIG_ACTIVE", "rsconnect".into()),
            // A bundle's folder stays as it was uploaded.
            ("PYTHONDONTWRITEBYTECODE", "1".into()),
        ];
        let set = self.environment.variables.iter().map(|(name, value)| (name.clone(), value.clone().into()));
        ours.into_iter().map(|(name, value)| (name.to_owned(), value)).chain(set).collect()
    }
}

impl Worker {
    /// Waits until it accepts connections: why it does not.
    async fn comes_up(&self, within: Duration, stop: &Notify) -> Option<String> {
        let knocks = async {
            while UnixStream::connect(self.upstream.socket()).await.is_err() {
                tokio::time::sleep(KNOCK).await;
            }
        };
        let seconds = within.as_secs_f64();
        tokio::select! {
            () = knocks => None,
            code = self.program.ended() => {
                Some(format!("The process ended before it accepted connections (exit status {code})"))
            }
            () = tokio::time::sleep(within) => {
                Some(format!("Unable to connect to worker after {seconds:.2} seconds; startup took too long"))
            }
            () = stop.notified() => Some("the process was stopped while it started".to_owned()),
        }
    }
}

impl Permit {
    /// Process id, as the job shows it.
    pub(super) fn pid(&self) -> u32 {
        self.worker.program.pid
    }

    /// The connections to the process.
    pub(super) fn upstream(&self) -> &Upstream {
        &self.worker.upstream
    }
}

impl Drop for Permit {
    fn drop(&mut self) {
        let actions = {
            let mut state = self.running.lock();
            let runtime = state.runtime;
            state.pool.done(Instant::now(), self.id, &runtime)
        };
        self.running.apply(actions);
    }
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        let mut state = self.0.lock();
        if state.waiting.remove(&self.1).is_some() {
            state.pool.leave(self.1);
        }
    }
}
