//! What is seen while a run lasts: the live view on a terminal, or with `--no-tui` a line that is rewritten; a line every
//! few seconds elsewhere; nothing with `--quiet`. All of it on stderr.

use std::cell::RefCell;
use std::collections::VecDeque;
use std::io::IsTerminal as _;
use std::sync::Arc;
use std::time::Duration;

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

use super::canvas::{self, Canvas};
use super::keys::Key;
use crate::capacity::search::{Phase, Progress, Search};
use crate::cli::RunArgs;
use crate::histogram::Latency;
use crate::plan::{Executor, Plan};
use crate::report::number::{MISSING, count, duration, maybe, percent, significant};
use crate::report::screen::{self, Look, Page, Palette};
use crate::report::watch::Watch;
use crate::summary::Builder;
use crate::window::{Part, Second};

/// Seconds between two lines where there is no terminal.
const LINE_EVERY: u64 = 10;
/// Seconds that the shown figures are taken over.
const SHOWN_SECONDS: usize = 5;

/// What is shown of a second: the fetches. A whole one would be most of a small run's memory.
#[derive(Default)]
struct Fetched {
    seconds: f64,
    completed: u64,
    latency: Latency,
}

impl Fetched {
    fn of(second: &Second, plan: &Plan) -> Fetched {
        let mut fetched = Fetched { seconds: second.window.seconds(), ..Fetched::default() };
        for (at, (series, measured)) in plan.series().iter().zip(&second.window.series).enumerate() {
            if plan.fetches_in(at, series) {
                fetched.latency.merge(&measured.duration);
                fetched.completed += measured.requests.completed;
            }
        }
        fetched
    }
}

/// The live view, while a run is on.
struct Screen {
    watch: Watch,
    canvas: Canvas,
    look: Look,
    /// What was said meanwhile: it is said again when the screen is left.
    said: Vec<String>,
}

/// What is said in one run; more is not said again.
const MOST_SAID: usize = 200;

impl Screen {
    fn draw(&mut self) {
        let (watch, look) = (&self.watch, self.look);
        self.canvas.draw(|area, buffer| screen::draw(watch, look, area, buffer));
    }

    fn say(&mut self, message: String, is_warning: bool) {
        self.watch.say(&message, is_warning);
        if self.said.len() < MOST_SAID {
            self.said.push(message);
        }
        if !self.look.is_frozen {
            self.draw();
        }
    }
}

/// Shows a run while it lasts.
pub(super) struct View {
    bar: Option<ProgressBar>,
    quiet: bool,
    /// Whether a live view may be shown.
    may_show: bool,
    screen: RefCell<Option<Screen>>,
    /// What somebody has to know to go on: it stands in the live view, too.
    announced: RefCell<Vec<String>>,
    recent: VecDeque<Fetched>,
    last_publish: Option<String>,
    failed: u64,
    /// VUs that are asked for by scenario, once somebody has changed them.
    asked: Option<Vec<u32>>,
}

/// A line that is rewritten.
fn line_on_terminal() -> ProgressBar {
    let bar = ProgressBar::with_draw_target(None, ProgressDrawTarget::stderr_with_hz(4));
    // The template is a constant; were it wrong, the plain message would be shown.
    if let Ok(style) = ProgressStyle::with_template("{spinner} {wide_msg}") {
        bar.set_style(style);
    }
    bar.enable_steady_tick(Duration::from_millis(250));
    bar
}

impl View {
    pub(super) fn new(quiet: bool) -> View {
        let bar = (!quiet && is_terminal()).then(line_on_terminal);
        View {
            bar,
            quiet,
            may_show: false,
            screen: RefCell::default(),
            announced: RefCell::default(),
            recent: VecDeque::new(),
            last_publish: None,
            failed: 0,
            asked: None,
        }
    }

    /// Of a command that sends load: with a live view, where there is a terminal for it.
    pub(super) fn of_run(args: &RunArgs) -> View {
        let quiet = args.output.quiet;
        let view = View { may_show: !quiet && !args.live.no_tui && canvas::is_possible(), ..View::new(quiet) };
        args.output.configured.iter().for_each(|added| view.say(added));
        view
    }

    /// A run begins, in a terminal that keys come from. Whether a live view is shown.
    pub(super) fn begin(&mut self, plan: &Arc<Plan>) -> bool {
        self.asked = None;
        if !self.may_show {
            return false;
        }
        if let Some(bar) = self.bar.take() {
            bar.finish_and_clear();
        }
        let look = Look { palette: Palette { has_colour: canvas::has_colour() }, ..Look::default() };
        let mut watch = Watch::new(plan.clone());
        self.announced.get_mut().iter().for_each(|message| watch.say(message, false));
        // Without a thread there is the line that is rewritten.
        let screen = Canvas::enter().ok().map(|canvas| Screen { watch, canvas, look, said: Vec::new() });
        if screen.is_none() {
            self.bar = Some(line_on_terminal());
        }
        self.screen = RefCell::new(screen);
        self.screen.get_mut().iter_mut().for_each(Screen::draw);
        self.screen.get_mut().is_some()
    }

    /// It is over.
    pub(super) fn end(&mut self) {
        if let Some(Screen { canvas, said, .. }) = self.screen.take() {
            drop(canvas);
            self.bar = is_terminal().then(line_on_terminal);
            said.iter().for_each(|message| self.tell(message));
        }
    }

    /// A key was pressed. Whether there is a live view that it is for.
    pub(super) fn turn(&mut self, key: Key) -> bool {
        let Some(screen) = self.screen.get_mut() else { return false };
        let look = &mut screen.look;
        let to = |page: Page| if look.page == page { Page::Overview } else { page };
        match key {
            Key::Errors => look.page = to(Page::Errors),
            Key::Nodes => look.page = to(Page::Nodes),
            Key::Histogram => look.page = to(Page::Histogram),
            Key::Help => look.page = to(Page::Help),
            Key::Back => look.page = Page::Overview,
            Key::Freeze => look.is_frozen = !look.is_frozen,
            Key::Redraw | Key::Pause | Key::More | Key::Fewer | Key::Stop => {}
        }
        screen.draw();
        true
    }

    fn tell(&self, message: &str) {
        match &self.bar {
            Some(bar) => bar.suspend(|| super::say(message)),
            None => super::say(message),
        }
    }

    /// Says it in the live view, or below what is shown.
    fn speak(&self, message: String, is_warning: bool) {
        // While this process is in the background, or after a panic, nothing is drawn.
        match self.screen.borrow_mut().as_mut().filter(|_| canvas::is_on()) {
            Some(screen) => screen.say(message, is_warning),
            None => self.tell(&message),
        }
    }

    /// Says something once.
    pub(super) fn say(&self, message: &str) {
        if !self.quiet {
            self.speak(message.to_owned(), false);
        }
    }

    /// Says what was done, where nothing else is being shown.
    pub(super) fn note(&self, message: &str) {
        self.speak(message.to_owned(), false);
    }

    /// Says what must be known even with `--quiet`.
    pub(super) fn warn(&self, message: &str) {
        self.speak(format!("warning: {message}"), true);
    }

    /// Says what somebody has to know to go on, even with `--quiet`.
    pub(super) fn announce(&self, message: &str) {
        self.announced.borrow_mut().push(message.to_owned());
        self.speak(message.to_owned(), false);
    }

    /// So many VUs are asked for from now on, by scenario.
    pub(super) fn set_asked(&mut self, vus: Vec<u32>) {
        if let Some(screen) = self.screen.get_mut() {
            screen.watch.set_asked(vus.clone());
        }
        self.asked = Some(vus);
    }

    /// What is being done before and after a run.
    pub(super) fn doing(&self, what: &str) {
        match &self.bar {
            Some(bar) => bar.set_message(what.to_owned()),
            None if !self.quiet && !what.is_empty() => super::say(what),
            None => {}
        }
    }

    pub(super) fn event(&mut self, event: &serde_json::Value) {
        if let Some(screen) = self.screen.get_mut() {
            screen.watch.event(event);
        }
        if event["event"] == "publish" {
            let seconds = event["phases_ms"]["publish_total"].as_f64().or(event["phases_ms"]["total"].as_f64());
            let seconds = seconds.map_or_else(String::new, |ms| format!(" {} s", significant(ms / 1000.0)));
            let outcome = if event["ok"] == true { "ok" } else { "FAILED" };
            self.last_publish = Some(format!("publish {} {outcome}{seconds}", event["n"]));
        }
    }

    pub(super) fn second(&mut self, second: &Second, plan: &Plan, search: Option<&Search>, builder: &Builder) {
        self.failed += second.window.series.iter().map(|s| s.requests.failed).sum::<u64>();
        if self.quiet {
            return;
        }
        if let Some(screen) = self.screen.get_mut() {
            let stands = search.map(|search| (search.progress(), search.steps()));
            screen.watch.second(second, stands, &builder.verdicts());
            if !screen.look.is_frozen {
                screen.draw();
            }
            return;
        }
        self.recent.push_back(Fetched::of(second, plan));
        if self.recent.len() > SHOWN_SECONDS {
            self.recent.pop_front();
        }
        let line = self.line(second, plan, search.map(Search::progress).as_ref());
        match &self.bar {
            Some(bar) => bar.set_message(line),
            None if second.second % LINE_EVERY == LINE_EVERY - 1 => super::say(&line),
            None => {}
        }
    }

    fn line(&self, second: &Second, plan: &Plan, search: Option<&Progress>) -> String {
        let elapsed = (second.second + 1) as f64;
        let mut latency = Latency::default();
        let (mut completed, mut seconds) = (0, 0.0);
        for one in &self.recent {
            seconds += one.seconds;
            latency.merge(&one.latency);
            completed += one.completed;
        }
        let vus: u64 = plan.fetch_scenarios().map(|scenario| second.window.scenarios[scenario].vus).sum();
        let rate = if seconds > 0.0 { significant(completed as f64 / seconds) } else { MISSING.to_owned() };
        let quantile = |q| maybe(latency.quantile_ms(q));
        let figures = format!("{rate} rps  p50 {} p95 {} p99 {} ms", quantile(0.5), quantile(0.95), quantile(0.99));
        let publish = self.last_publish.as_deref().map_or_else(String::new, |publish| format!("  {publish}"));
        let errors = format!("{} errors", count(self.failed));
        match search {
            Some(progress) => {
                let phase = phase(progress.phase);
                let left = duration(progress.remaining_s);
                let load = match progress.rate {
                    Some(rate) => format!("{rate}/s with {vus} VUs"),
                    None => format!("VUs {vus}/{}", progress.vus),
                };
                format!(
                    "{} {phase}  {load}  {figures}  {errors}{publish}  {}; about {left} left",
                    duration(elapsed),
                    progress.next
                )
            }
            None => {
                let total = plan.duration.as_secs_f64();
                let part = match second.part {
                    Part::WarmUp => "warm-up",
                    Part::Steady => "steady",
                    Part::Paused => "paused",
                    Part::Stopping => "stopping",
                };
                let asked = |at: usize| {
                    let executor = &plan.scenarios[at].executor;
                    let changed = self.asked.as_ref().filter(|_| matches!(executor, Executor::ConstantVus { .. }));
                    let planned = executor.vus_at(second.second);
                    if planned == 0 { 0 } else { changed.map_or(planned, |vus| vus[at]) }
                };
                let asked: u32 = plan.fetch_scenarios().map(asked).sum();
                let done = percent((elapsed / total).min(1.0));
                let (elapsed, total) = (duration(elapsed), duration(total));
                format!("{elapsed} of {total} ({done}) {part}  VUs {vus}/{asked}  {figures}  {errors}{publish}")
            }
        }
    }

    /// Takes the line away.
    pub(super) fn finish(&mut self) {
        self.end();
        if let Some(bar) = self.bar.take() {
            bar.finish_and_clear();
        }
    }
}

fn is_terminal() -> bool {
    std::io::stderr().is_terminal()
}

fn phase(phase: Phase) -> &'static str {
    match phase {
        Phase::WarmUp => "warm-up",
        Phase::Sweep => "sweep",
        Phase::Probe => "probe",
        Phase::Finished => "done",
    }
}
