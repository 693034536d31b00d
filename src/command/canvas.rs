//! The terminal's other screen, which a live view is drawn in, on stderr.
//!
//! A terminal may take nothing for as long as it likes: it is far away, or somebody pressed Ctrl-S. Therefore a thread
//! of its own writes, and while it writes no further picture is made: the run goes on, what is seen is late. Pictures are
//! sent as what has changed.
//!
//! The screen is left on every way out: the end of a run, `Drop`, a panic of any thread, and before the process is
//! stopped or killed from the keyboard (`keys`).

use std::cell::RefCell;
use std::io::{self, IsTerminal as _, Write};
use std::rc::Rc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::mpsc::{SyncSender, sync_channel};
use std::sync::{Arc, Mutex, Once, TryLockError};
use std::time::{Duration, Instant};

use ratatui::backend::CrosstermBackend;
use ratatui::buffer::Buffer;
use ratatui::crossterm::cursor::{Hide, Show};
use ratatui::crossterm::style::ResetColor;
use ratatui::crossterm::terminal::{
    BeginSynchronizedUpdate, Clear, ClearType, DisableLineWrap, EnableLineWrap, EndSynchronizedUpdate,
    EnterAlternateScreen, LeaveAlternateScreen,
};
use ratatui::crossterm::{queue, style};
use ratatui::layout::Rect;
use ratatui::{Terminal, TerminalOptions, Viewport};

/// What a terminal has that does not tell its size.
const USUAL: (u16, u16) = (80, 24);
/// More cells than this are no terminal.
const MOST: u16 = 1000;
/// How long leaving the screen waits for a picture that is being written.
const PATIENCE: Duration = Duration::from_millis(500);

/// Whether it is to be shown while this process is in the foreground.
static WANTED: AtomicBool = AtomicBool::new(false);
/// Whether it is shown.
static ON: AtomicBool = AtomicBool::new(false);
/// How often it was entered: afterwards it is empty.
static ENTERED: AtomicU64 = AtomicU64::new(0);
/// Held while something is written.
static WRITING: Mutex<()> = Mutex::new(());

/// Whether there is a terminal that can do it, and nobody asked for less. Output that a CI system keeps is no terminal,
/// whatever it says.
pub(super) fn is_possible() -> bool {
    let set = |name: &str| std::env::var_os(name).filter(|value| !value.is_empty());
    io::stderr().is_terminal() && set("TERM").is_some_and(|term| term != "dumb") && set("CI").is_none()
}

/// Whether colours may be used.
pub(super) fn has_colour() -> bool {
    std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty())
}

/// Enters the screen, if it is wanted and not shown.
pub(super) fn show() {
    if WANTED.load(Ordering::SeqCst) && !ON.swap(true, Ordering::SeqCst) {
        ENTERED.fetch_add(1, Ordering::SeqCst);
        let mut bytes = Vec::new();
        // Into memory: it cannot fail.
        let _ = queue!(bytes, EnterAlternateScreen, Hide, DisableLineWrap, Clear(ClearType::All));
        write_now(&bytes);
    }
}

/// Leaves it, if it is shown.
pub(super) fn hide() {
    if ON.swap(false, Ordering::SeqCst) {
        let mut bytes = Vec::new();
        let _ = queue!(bytes, EnableLineWrap, ResetColor, style::SetAttribute(style::Attribute::Reset), Show);
        let _ = queue!(bytes, LeaveAlternateScreen);
        write_now(&bytes);
    }
}

/// Whether it is shown.
pub(super) fn is_on() -> bool {
    ON.load(Ordering::SeqCst)
}

/// Writes after what is being written, or after some patience.
fn write_now(bytes: &[u8]) {
    let until = Instant::now() + PATIENCE;
    let _held = loop {
        match WRITING.try_lock() {
            Ok(held) => break Some(held),
            Err(TryLockError::Poisoned(held)) => break Some(held.into_inner()),
            Err(TryLockError::WouldBlock) if Instant::now() < until => std::thread::yield_now(),
            Err(TryLockError::WouldBlock) => break None,
        }
    };
    let mut stderr = io::stderr();
    // A terminal that is gone needs nothing.
    let _ = stderr.write_all(bytes).and_then(|()| stderr.flush());
}

/// Bytes for the terminal.
#[derive(Clone, Default)]
struct Bytes(Rc<RefCell<Vec<u8>>>);

impl Write for Bytes {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.borrow_mut().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// The screen while a run is on; it is left when this goes.
pub(super) struct Canvas {
    terminal: Terminal<CrosstermBackend<Bytes>>,
    bytes: Bytes,
    pictures: SyncSender<Vec<u8>>,
    /// Whether a picture is being written.
    busy: Arc<AtomicBool>,
    /// Which time of entering it, and in which size, the last picture was made for.
    drawn: (u64, (u16, u16)),
}

impl Canvas {
    /// Enters it.
    ///
    /// # Errors
    /// Where the system gives no thread.
    pub(super) fn enter() -> io::Result<Canvas> {
        leave_on_panic();
        let bytes = Bytes::default();
        let (pictures, made) = sync_channel::<Vec<u8>>(1);
        let busy = Arc::new(AtomicBool::new(false));
        let done = busy.clone();
        let paint = move || {
            for picture in made {
                paint(&picture);
                done.store(false, Ordering::SeqCst);
            }
        };
        std::thread::Builder::new().name("canvas".to_owned()).spawn(paint)?;
        let options = TerminalOptions { viewport: Viewport::Fixed(Rect::new(0, 0, 1, 1)) };
        let terminal = Terminal::with_options(CrosstermBackend::new(bytes.clone()), options)?;
        WANTED.store(true, Ordering::SeqCst);
        show();
        Ok(Canvas { terminal, bytes, pictures, busy, drawn: (0, (0, 0)) })
    }

    /// Makes the next picture, unless the last one is still being written.
    pub(super) fn draw(&mut self, draw: impl FnOnce(Rect, &mut Buffer)) {
        if !is_on() || self.busy.load(Ordering::SeqCst) {
            return;
        }
        let now = (ENTERED.load(Ordering::SeqCst), size());
        // Into memory: it cannot fail.
        let terminal = || -> io::Result<()> {
            queue!(self.bytes, BeginSynchronizedUpdate)?;
            if self.drawn != now {
                self.terminal.resize(Rect::new(0, 0, now.1.0, now.1.1))?;
                queue!(self.bytes, Clear(ClearType::All))?;
            }
            self.terminal.draw(|frame| draw(frame.area(), frame.buffer_mut()))?;
            queue!(self.bytes, EndSynchronizedUpdate)
        };
        if terminal().is_ok() {
            self.drawn = now;
        }
        let picture = self.bytes.0.take();
        self.busy.store(true, Ordering::SeqCst);
        if self.pictures.try_send(picture).is_err() {
            self.busy.store(false, Ordering::SeqCst);
        }
    }
}

impl Drop for Canvas {
    fn drop(&mut self) {
        WANTED.store(false, Ordering::SeqCst);
        hide();
    }
}

fn paint(picture: &[u8]) {
    let _held = WRITING.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
    // Where it was left meanwhile, this would come upon what the shell shows.
    if is_on() {
        let mut stderr = io::stderr();
        let _ = stderr.write_all(picture).and_then(|()| stderr.flush());
    }
}

/// Columns and rows.
fn size() -> (u16, u16) {
    match rustix::termios::tcgetwinsize(io::stderr()) {
        Ok(size) if size.ws_col > 0 && size.ws_row > 0 => (size.ws_col.min(MOST), size.ws_row.min(MOST)),
        _ => USUAL,
    }
}

/// A panic is told where it can be read.
fn leave_on_panic() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        let before = std::panic::take_hook();
        std::panic::set_hook(Box::new(move |panic| {
            hide();
            before(panic);
        }));
    });
}
