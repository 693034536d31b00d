//! The guard: a small process between the sandbox and each process of content. It sets the limits, and makes sure that
//! nothing of what it started is left when it ends: neither children that went their own way, nor anything at all when
//! the sandbox itself was killed, which it learns from its stdin being closed.

use std::ffi::OsString;
use std::io::Read as _;
use std::process::{Command, Stdio};
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::time::{Duration, Instant};

use rustix::io::Errno;
use rustix::process::{Pid, Resource, Rlimit, Signal, WaitOptions, WaitStatus};

/// The word after the program's name that makes it a guard. No subcommand: people have no use for it.
pub const WORD: &str = "__guard";
/// What it ends with when the program cannot be started, as shells have it.
const NOT_STARTED: i32 = 127;
/// How long a process may take to end by itself.
const GRACE: Duration = Duration::from_secs(2);
/// How often the machine's processes are counted, and how often ours, which takes a look at each, at the least.
const LOOK_EVERY: Duration = Duration::from_millis(50);
const COUNT_EVERY: Duration = Duration::from_secs(5);
/// Rounds of stopping descendants before they are killed; each finds those that the last one had not seen.
const ROUNDS: usize = 20;

/// What a process and its children may use.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Memory of each process, in bytes.
    pub memory: u64,
    /// Greatest file that it may write, in bytes.
    pub file_size: u64,
    /// Open files of each process.
    pub open_files: u64,
    /// Processes together.
    pub processes: u64,
}

impl Default for Limits {
    fn default() -> Self {
        Self { memory: 4 << 30, file_size: 1 << 30, open_files: 4096, processes: 64 }
    }
}

impl Limits {
    /// The arguments of a guard, up to the program that it is to start.
    pub(super) fn arguments(self) -> [String; 5] {
        let numbers = [self.memory, self.file_size, self.open_files, self.processes];
        let [memory, file_size, open_files, processes] = numbers.map(|number| number.to_string());
        [WORD.to_owned(), memory, file_size, open_files, processes]
    }

    fn set(self) -> rustix::io::Result<()> {
        let limits = [
            (Resource::Data, self.memory),
            (Resource::Fsize, self.file_size),
            (Resource::Nofile, self.open_files),
            (Resource::Core, 0),
        ];
        for (resource, wanted) in limits {
            // Only downwards: what the sandbox itself may not use its content does not get.
            let hard = rustix::process::getrlimit(resource).maximum.map_or(wanted, |hard| hard.min(wanted));
            rustix::process::setrlimit(resource, Rlimit { current: Some(hard), maximum: Some(hard) })?;
        }
        Ok(())
    }
}

/// Says a line to the log of the process.
pub type Say = fn(&str);

/// What happens to a guard.
enum Event {
    Ended(Pid, WaitStatus),
    /// No child is left.
    Alone,
    /// The sandbox closed our stdin, or is gone.
    Told,
}

/// Runs as a guard when the arguments (without the program's name) say so. Gives the exit code: the program's, 128 and
/// the signal that ended it, or 127 when it could not be started. `None`: they say something else.
#[must_use]
pub fn run(mut arguments: impl Iterator<Item = OsString>, say: Say) -> Option<i32> {
    if arguments.next()? != WORD {
        return None;
    }
    let mut number = || arguments.next()?.to_str()?.parse().ok();
    let limits = Limits { memory: number()?, file_size: number()?, open_files: number()?, processes: number()? };
    let program = arguments.next()?;
    Some(match start(limits, &program, arguments) {
        Ok(child) => watch(child, limits.processes, say),
        Err(error) => {
            say(&format!("cannot start {}: {error}", program.to_string_lossy()));
            NOT_STARTED
        }
    })
}

fn start(limits: Limits, program: &OsString, arguments: impl Iterator<Item = OsString>) -> std::io::Result<Pid> {
    rustix::process::set_child_subreaper(Some(rustix::process::getpid()))?;
    limits.set()?;
    // In our group: should we be killed, the sandbox ends the group.
    let child = Command::new(program).args(arguments).stdin(Stdio::null()).spawn()?;
    Ok(Pid::from_child(&child))
}

fn watch(child: Pid, most: u64, say: Say) -> i32 {
    let (sender, events) = channel();
    let told = sender.clone();
    let reaps = std::thread::Builder::new().spawn(move || reap(&sender));
    let hears = std::thread::Builder::new().spawn(move || {
        let mut bytes = [0u8; 64];
        while std::io::stdin().read(&mut bytes).is_ok_and(|n| n > 0) {}
        let _ = told.send(Event::Told);
    });
    if reaps.is_err() || hears.is_err() {
        say("no thread can be started");
        kill_all();
        return NOT_STARTED;
    }
    let code = until_ended((child, most), &events, say);
    kill_all();
    let deadline = Instant::now() + GRACE;
    while Instant::now() < deadline && !matches!(events.recv_timeout(GRACE), Ok(Event::Alone) | Err(_)) {}
    code
}

/// Waits for the program's end, which comes by itself, because we are told, or because there are too many processes.
fn until_ended((child, most): (Pid, u64), events: &Receiver<Event>, say: Say) -> i32 {
    let mut kill_at: Option<Instant> = None;
    let mut census = Census::new(most);
    loop {
        match events.recv_timeout(LOOK_EVERY) {
            Ok(Event::Ended(pid, status)) if pid == child => return code_of(status),
            Ok(Event::Ended(..)) => {}
            Ok(Event::Alone) | Err(RecvTimeoutError::Disconnected) => return NOT_STARTED,
            Ok(Event::Told) => {
                let _ = rustix::process::kill_process(child, Signal::TERM);
                kill_at = Some(Instant::now() + GRACE);
            }
            Err(RecvTimeoutError::Timeout) => {
                if let Some(processes) = census.too_many() {
                    say(&format!("killed: it had {processes} processes, {most} are allowed"));
                    kill_all();
                    kill_at = None;
                }
            }
        }
        if kill_at.is_some_and(|at| Instant::now() >= at) {
            kill_all();
            kill_at = None;
        }
    }
}

/// Takes the end of every child, also of those that lost their own parent and became ours.
fn reap(events: &Sender<Event>) {
    loop {
        let event = match rustix::process::wait(WaitOptions::empty()) {
            Ok(Some((pid, status))) => Event::Ended(pid, status),
            Err(Errno::INTR) | Ok(None) => continue,
            Err(_) => Event::Alone,
        };
        let over = matches!(event, Event::Alone);
        if events.send(event).is_err() || over {
            return;
        }
    }
}

/// Kills everything that we started, and what that started.
fn kill_all() {
    // Stopped first: who is stopped does not fork.
    let mut stopped = Vec::new();
    for _ in 0..ROUNDS {
        let found: Vec<Pid> = descendants().into_iter().filter(|pid| !stopped.contains(pid)).collect();
        if found.is_empty() {
            break;
        }
        for pid in &found {
            let _ = rustix::process::kill_process(*pid, Signal::STOP);
        }
        stopped.extend(found);
    }
    for pid in stopped {
        let _ = rustix::process::kill_process(pid, Signal::KILL);
    }
}

/// Counts our descendants when the whole machine has so many more processes that they may be ours.
struct Census {
    most: u64,
    machine: u64,
    counted: Instant,
}

impl Census {
    fn new(most: u64) -> Self {
        Self { most, machine: machine(), counted: Instant::now() }
    }

    /// How many there are, if they are too many.
    fn too_many(&mut self) -> Option<u64> {
        let now = machine();
        if now < self.machine + self.most / 4 && self.counted.elapsed() < COUNT_EVERY {
            return None;
        }
        let processes = descendants().len() as u64;
        (self.machine, self.counted) = (now, Instant::now());
        (processes > self.most).then_some(processes)
    }
}

/// Processes and threads of the machine.
fn machine() -> u64 {
    u64::from(rustix::system::sysinfo().procs)
}

/// Every process below ours.
fn descendants() -> Vec<Pid> {
    let Ok(all) = procfs::process::all_processes() else { return Vec::new() };
    let stats = all.flatten().filter_map(|process| process.stat().ok());
    let parents: Vec<(i32, i32)> = stats.map(|stat| (stat.pid, stat.ppid)).collect();
    let mut found = vec![std::process::id().cast_signed()];
    let mut at = 0;
    while let Some(parent) = found.get(at).copied() {
        found.extend(parents.iter().filter(|(_, of)| *of == parent).map(|(pid, _)| *pid));
        at += 1;
    }
    found.into_iter().skip(1).filter_map(Pid::from_raw).collect()
}

fn code_of(status: WaitStatus) -> i32 {
    let signal = || status.terminating_signal().map_or(NOT_STARTED, |signal| 128 + signal);
    status.exit_status().unwrap_or_else(signal)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_word_makes_it_a_guard() {
        let arguments = |text: &str| text.split(' ').map(OsString::from).collect::<Vec<_>>().into_iter();
        assert_eq!(run(arguments("load -u 8"), |_| {}), None);
        assert_eq!(run(arguments("__guard 1 2 three 4 true"), |_| {}), None);
    }
}
