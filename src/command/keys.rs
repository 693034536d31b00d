//! Keys while a run is on: single ones, without Enter, where stdin is a terminal and this process is in its foreground.
//!
//! The terminal is as it was on every way out: the end of the run, a fault or panic (by `Drop`), Ctrl-C (a graceful end),
//! Ctrl-Z (given back before the process is stopped, taken again when it goes on in the foreground) and Ctrl-\. What is
//! drawn in it (`canvas`) goes and comes with it.

use std::collections::VecDeque;
use std::io::{Stdin, stdin};
use std::os::fd::AsFd;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use rustix::process::{Pid, Signal, getpgrp, getpid, getppid, getsid, kill_process};
use rustix::termios::{LocalModes, OptionalActions, SpecialCodeIndex, Termios, tcgetattr, tcgetpgrp, tcsetattr};
use tokio::io::unix::AsyncFd;
use tokio::signal::unix::{Signal as Signals, SignalKind, signal};

use super::canvas;

/// A key that means something.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Key {
    /// `p`: pause, or resume.
    Pause,
    /// `+`.
    More,
    /// `-`.
    Fewer,
    /// `q`.
    Stop,
    /// `?`.
    Help,
    /// `e`.
    Errors,
    /// `n`.
    Nodes,
    /// `h`.
    Histogram,
    /// The space bar: the display stands still, or goes on.
    Freeze,
    /// Escape.
    Back,
    /// None: the terminal has another size, or is ours again.
    Redraw,
}

const ESCAPE: u8 = 0x1b;

impl Key {
    fn of(byte: u8) -> Option<Key> {
        match byte {
            b'p' | b'P' => Some(Key::Pause),
            // The same key without Shift.
            b'+' | b'=' => Some(Key::More),
            b'-' | b'_' => Some(Key::Fewer),
            b'q' | b'Q' => Some(Key::Stop),
            b'?' => Some(Key::Help),
            b'e' | b'E' => Some(Key::Errors),
            b'n' | b'N' => Some(Key::Nodes),
            b'h' | b'H' => Some(Key::Histogram),
            b' ' => Some(Key::Freeze),
            _ => None,
        }
    }

    /// The keys in what was typed at once. Other keys send several bytes after an escape (F1 is `ESC O P`): none of them
    /// means anything here.
    fn all_of(mut typed: &[u8]) -> Vec<Key> {
        let mut out = Vec::new();
        while let Some((first, rest)) = typed.split_first() {
            typed = rest;
            match (*first, rest) {
                (ESCAPE, [] | [ESCAPE, ..]) => out.push(Key::Back),
                // ECMA-48: parameters up to a final byte.
                (ESCAPE, [b'[', sequence @ ..]) => {
                    let end = sequence.iter().position(|byte| (0x40..=0x7e).contains(byte));
                    typed = end.map_or(&[], |end| &sequence[end + 1..]);
                }
                (ESCAPE, [b'O', _, after @ ..] | [_, after @ ..]) => typed = after,
                (byte, _) => out.extend(Key::of(byte)),
            }
        }
        out
    }
}

/// The keys of the terminal.
pub(super) struct Keys {
    input: AsyncFd<Stdin>,
    terminal: Held<Stdin>,
    /// Keys that were typed together with the last one.
    typed: VecDeque<Key>,
    /// The terminal has another size, or this process goes on after it was stopped.
    redraw: [Signals; 2],
    /// The terminal is gone.
    closed: bool,
}

impl Keys {
    /// `None` where stdin is no terminal, or not ours. To be called in a runtime.
    pub(super) fn open() -> Option<Keys> {
        if !is_foreground(&stdin()) || tcgetattr(stdin()).is_err() {
            return None;
        }
        let terminal = Held(Arc::new(Terminal::new(stdin(), is_foreground)));
        #[expect(deprecated, reason = "its successor is unsafe; stdin is never replaced")]
        let input = AsyncFd::new(stdin()).ok()?;
        let redraw = [listen(Signal::WINCH).ok()?, listen(Signal::CONT).ok()?];
        // Heard from now on, before the terminal is taken, and until the end of the process: a signal that somebody listens
        // to no longer does what it did by itself.
        let [stop, go_on, quit] = [listen(Signal::TSTP).ok()?, listen(Signal::CONT).ok()?, listen(Signal::QUIT).ok()?];
        tokio::spawn(job_control(terminal.0.clone(), stop, go_on, quit));
        Some(Keys { input, terminal, typed: VecDeque::new(), redraw, closed: false })
    }

    /// Takes the terminal: keys come one by one and are not shown.
    pub(super) fn begin(&self) {
        self.terminal.0.want(true);
    }

    /// Gives it back.
    pub(super) fn end(&self) {
        self.terminal.0.want(false);
    }

    /// Waits for the next key that means something. Can be dropped and called again.
    pub(super) async fn next(&mut self) -> Key {
        loop {
            if let Some(key) = self.typed.pop_front() {
                return key;
            }
            let [resized, resumed] = &mut self.redraw;
            tokio::select! {
                _ = resized.recv() => return Key::Redraw,
                _ = resumed.recv() => return Key::Redraw,
                typed = read(&self.input), if !self.closed => match typed {
                    Some(typed) => self.typed.extend(Key::all_of(&typed)),
                    None => self.closed = true,
                },
            }
        }
    }
}

/// Waits for what is typed next; `None` when the terminal is gone.
async fn read(input: &AsyncFd<Stdin>) -> Option<Vec<u8>> {
    loop {
        let mut ready = input.readable().await.ok()?;
        let mut bytes = [0; 64];
        // Reading in the background would stop this process; what is typed there is not for us.
        let read = if is_foreground(input.get_ref()) { rustix::io::read(input.get_ref(), &mut bytes) } else { Ok(0) };
        match read {
            Ok(0) if ready.ready().is_read_closed() => return None,
            Ok(0) => ready.clear_ready(),
            Ok(n) => return Some(bytes[..n].to_vec()),
            Err(rustix::io::Errno::INTR | rustix::io::Errno::AGAIN) => ready.clear_ready(),
            Err(_gone) => return None,
        }
    }
}

/// A terminal that is given back when this goes, also by a panic.
struct Held<T: AsFd>(Arc<Terminal<T>>);

impl<T: AsFd> Drop for Held<T> {
    fn drop(&mut self) {
        self.0.want(false);
    }
}

/// Whether this process may use that terminal, if it is one.
fn is_foreground(terminal: &Stdin) -> bool {
    tcgetpgrp(terminal).is_ok_and(|group| group == getpgrp())
}

/// A terminal, and how it was.
struct Terminal<T> {
    of: T,
    /// Whether it may be changed now.
    is_ours: fn(&T) -> bool,
    state: Mutex<Taken>,
}

#[derive(Default)]
struct Taken {
    wanted: bool,
    /// How it was before it was taken; `None` while it is not.
    before: Option<Termios>,
}

impl<T: AsFd> Terminal<T> {
    fn new(of: T, is_ours: fn(&T) -> bool) -> Terminal<T> {
        Terminal { of, is_ours, state: Mutex::default() }
    }

    fn state(&self) -> MutexGuard<'_, Taken> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn want(&self, wanted: bool) {
        self.state().wanted = wanted;
        if wanted {
            self.take();
        } else {
            self.give_back();
        }
    }

    /// Takes it, if it is wanted and not taken, and this process is in its foreground.
    fn take(&self) {
        let mut state = self.state();
        if !state.wanted || state.before.is_some() || !(self.is_ours)(&self.of) {
            return;
        }
        let Ok(before) = tcgetattr(&self.of) else { return };
        if tcsetattr(&self.of, OptionalActions::Now, &key_by_key(&before)).is_ok() {
            state.before = Some(before);
        }
    }

    /// Makes it as it was. In the background it is somebody else's, who has his own settings.
    fn give_back(&self) {
        let mut state = self.state();
        if let Some(before) = state.before.take()
            && (self.is_ours)(&self.of)
        {
            // What was typed for us is not for the shell; a terminal that is gone needs nothing.
            let _ = tcsetattr(&self.of, OptionalActions::Flush, &before);
        }
    }
}

/// Keys without Enter and without echo; Ctrl-C and Ctrl-Z stay what they are, and so does all output.
fn key_by_key(before: &Termios) -> Termios {
    let mut termios = before.clone();
    termios.local_modes.remove(LocalModes::ICANON | LocalModes::ECHO);
    // A read returns at once with what there is: it is made only when there is something.
    termios.special_codes[SpecialCodeIndex::VMIN] = 0;
    termios.special_codes[SpecialCodeIndex::VTIME] = 0;
    termios
}

fn listen(number: Signal) -> std::io::Result<Signals> {
    signal(SignalKind::from_raw(number.as_raw()))
}

/// Gives the terminal back before the process is stopped or killed from the keyboard.
async fn job_control(terminal: Arc<Terminal<Stdin>>, mut stop: Signals, mut go_on: Signals, mut quit: Signals) {
    loop {
        tokio::select! {
            // Ignored where the system would ignore it, with all that is typed meanwhile.
            _ = stop.recv() => if somebody_would_continue_us() {
                canvas::hide();
                terminal.give_back();
                // What SIGTSTP does by itself where nobody listens to it. Returns when we go on.
                let _ = kill_process(getpid(), Signal::STOP);
                take_again(&terminal);
            },
            _ = go_on.recv() => take_again(&terminal),
            _ = quit.recv() => {
                canvas::hide();
                terminal.give_back();
                // What SIGQUIT does by itself: at once; without a core, which would have the key in it.
                std::process::abort();
            }
        }
    }
}

/// Takes the terminal again, and draws in it again, if it is ours.
fn take_again(terminal: &Terminal<Stdin>) {
    terminal.take();
    if is_foreground(&terminal.of) {
        canvas::show();
    }
}

/// Whether a shell waits to continue us. Without one the system ignores SIGTSTP, lest a process be stopped for ever
/// (POSIX: orphaned process groups): the leader's parent has to be in our session and in another group.
fn somebody_would_continue_us() -> bool {
    let ours = getpgrp();
    let parent = if ours == getpid() { getppid() } else { parent_of(ours).or_else(getppid) };
    let Some(parent) = parent else { return false };
    let same_session = getsid(Some(parent)).is_ok_and(|session| getsid(None).is_ok_and(|own| own == session));
    same_session && rustix::process::getpgid(Some(parent)).is_ok_and(|group| group != ours)
}

#[cfg(target_os = "linux")]
fn parent_of(process: Pid) -> Option<Pid> {
    let stat = procfs::process::Process::new(process.as_raw_pid()).ok()?.stat().ok()?;
    Pid::from_raw(stat.ppid)
}

#[cfg(not(target_os = "linux"))]
fn parent_of(_process: Pid) -> Option<Pid> {
    None
}

#[cfg(test)]
mod tests {
    use rustix::pty::{OpenptFlags, openpt};

    use super::*;

    #[test]
    fn the_terminal_is_as_it_was_after_a_panic() {
        let modes = |of: &std::os::fd::OwnedFd| tcgetattr(of).unwrap().local_modes;
        let flags = OpenptFlags::RDWR | OpenptFlags::NOCTTY;
        let pseudo = openpt(flags).unwrap();
        let before = modes(&pseudo);
        assert!(before.contains(LocalModes::ICANON | LocalModes::ECHO));
        let terminal = Arc::new(Terminal::new(pseudo, |_| true));
        let held = Held(terminal.clone());
        let panicked = std::panic::catch_unwind(std::panic::AssertUnwindSafe(move || {
            held.0.want(true);
            assert_eq!(modes(&held.0.of), before - (LocalModes::ICANON | LocalModes::ECHO), "keys come one by one");
            assert!(modes(&held.0.of).contains(LocalModes::ICANON), "this is meant to fail");
        }));
        assert!(panicked.is_err());
        assert_eq!(modes(&terminal.of), before);
        // Given back, it stays so until it is wanted again.
        terminal.take();
        assert_eq!(modes(&terminal.of), before);
    }

    #[test]
    fn keys_and_what_is_none() {
        assert_eq!(Key::all_of(b"pP+=-_qQ?enh ").len(), 13);
        assert_eq!(Key::all_of(b"\nxy0\x1b[A\x1b[1;5P\x1bOPx"), []);
        // Escape alone, twice, and before another key; Alt with a key is another key.
        assert_eq!(Key::all_of(b"\x1b"), [Key::Back]);
        assert_eq!(Key::all_of(b"\x1b\x1b"), [Key::Back, Key::Back]);
        assert_eq!(Key::all_of(b"\x1b[6~q\x1bq"), [Key::Stop]);
        assert_eq!(Key::all_of(b"\x1b[1;"), []);
    }
}
