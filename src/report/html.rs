//! The report as one page of HTML: nothing outside of it is needed, nothing is fetched, and it works without its script.
//!
//! Plots are SVG made here; the script, where it may run, shows the row of a plot's table that the pointer or the arrow
//! keys are at. Everything that others wrote is escaped by the template (`maud`), and the page's own policy forbids
//! whatever it does not consist of.

mod capacity;
mod card;
mod chart;
mod compare;
mod figure;
mod forest;
mod gate;
mod health;
mod history;
mod knee;
mod latency;
mod overview;
mod publish;
mod ramps;
mod servers;
mod tile;
mod verdict;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use maud::{DOCTYPE, Markup, PreEscaped, html};
use sha2::{Digest as _, Sha256};

use super::archive::{Archive, Recorded};
use super::course::{Course, Publishes};
use super::{foreign, text};
use crate::baseline::Baseline;
use crate::steady::SteadyState;
use crate::summary::{Figures, Summary};
pub use capacity::page as capacity;
pub use compare::page as compare;
use figure::Figure;
pub use gate::page as gate;
pub use history::page as history;
pub use ramps::page as compare_ramps;

/// The style of every page.
pub const STYLE: &str = include_str!("html/report.css");
const SCRIPT: &str = include_str!("html/report.js");

/// One run of a page, with what is computed of it once.
pub(super) struct Run<'r> {
    /// Begins the ids of its parts.
    prefix: String,
    name: String,
    summary: &'r Summary,
    figures: &'r Figures,
    course: &'r Course,
    publishes: &'r Publishes,
    baselines: &'r [Baseline],
    steady: SteadyState,
}

impl<'r> Run<'r> {
    fn of(at: usize, recorded: &'r Recorded, figures: &'r Figures, baselines: &'r [Baseline]) -> Run<'r> {
        Run {
            prefix: format!("r{at}"),
            name: recorded.name.clone(),
            summary: &recorded.summary,
            figures,
            course: &recorded.course,
            publishes: &recorded.publishes,
            baselines,
            steady: SteadyState::of(&recorded.summary),
        }
    }

    fn id(&self, what: &str) -> String {
        format!("{}-{what}", self.prefix)
    }
}

/// The page.
///
/// # Errors
/// Where the data has no JSON form, which that of a run has.
pub fn page(archive: &Archive, baselines: &[Baseline]) -> std::io::Result<String> {
    let title = archive.runs.first().map_or_else(String::new, |run| title(&run.summary));
    let sections: Vec<Markup> = archive.runs.iter().enumerate().map(|(at, run)| section(at, run, baselines)).collect();
    let body = html! { @for section in sections { (section) } (card::glossary()) };
    frame(&title, &body, archive)
}

/// What every page is: its policy, style, script and data around what it shows.
fn frame(title: &str, body: &Markup, archive: &Archive) -> std::io::Result<String> {
    let data = archive.data_block()?;
    let page = html! {
        (DOCTYPE)
        html lang="en" {
            head {
                meta charset="utf-8";
                meta http-equiv="Content-Security-Policy" content=(policy());
                meta name="viewport" content="width=device-width, initial-scale=1";
                meta name="referrer" content="no-referrer";
                meta name="generator" content={ "connect-bench " (env!("CARGO_PKG_VERSION")) };
                title { (title) }
                style { (PreEscaped(STYLE)) }
            }
            body {
                main { (body) }
                footer { "connect-bench " (env!("CARGO_PKG_VERSION")) ". This page is complete: it needs no network and no script." }
                div #tip hidden[true] aria-hidden="true" {}
                div #said .unseen aria-live="polite" {}
                (PreEscaped(data))
                script { (PreEscaped(SCRIPT)) }
            }
        }
    };
    Ok(page.into_string())
}

/// The head of an article: what was measured, its name, the verdict.
struct Head<'h> {
    /// Id of the name.
    id: &'h str,
    what: &'h str,
    sandbox: bool,
    title: &'h str,
    status: verdict::Status,
    sentence: &'h str,
}

impl Head<'_> {
    fn render(&self) -> Markup {
        let status = self.status;
        html! {
            header {
                p.what.sandbox[self.sandbox] { (foreign::line(self.what, 300)) }
                h1 id=(self.id) { (self.title) }
                p.verdict {
                    span class={ "chip " (status.class) } { span aria-hidden="true" { (status.sign) " " } (status.word) }
                    " " (foreign::line(self.sentence, 1200))
                }
            }
        }
    }
}

/// One run as a part of a page, for a page that shows it while it is on.
#[must_use]
pub fn fragment(recorded: &Recorded) -> String {
    section(0, recorded, &[]).into_string()
}

/// Only this style and this script, and nothing from anywhere.
fn policy() -> String {
    let hash = |text: &str| STANDARD.encode(Sha256::digest(text.as_bytes()));
    format!(
        "default-src 'none'; style-src 'sha256-{}'; script-src 'sha256-{}'; base-uri 'none'; form-action 'none'",
        hash(STYLE),
        hash(SCRIPT),
    )
}

fn title(summary: &Summary) -> String {
    let what = match summary.plan.command.as_str() {
        "ramp" => "Saturation search",
        "load" => "Load test",
        _ => "Scenario",
    };
    let host = summary.plan.target.url.host_str().unwrap_or("a server");
    match summary.plan.target.sandbox {
        true => format!("{what} of the sandbox"),
        false => format!("{what} of {}", foreign::line(host, 100)),
    }
}

fn section(at: usize, recorded: &Recorded, baselines: &[Baseline]) -> Markup {
    let figures = Figures::of(&recorded.summary);
    let run = Run::of(at, recorded, &figures, baselines);
    let status = verdict::of(run.summary, run.figures);
    let sentence = match &run.summary.search {
        Some(search) => verdict::ramp(run.summary, search),
        None => verdict::load(run.summary, run.figures) + ".",
    };
    let (remarks, steady) = (verdict::remarks(&run), verdict::steady(&run));
    let (id, what) = (run.id("title"), text::what(&run.summary.plan.target));
    let then = if at == 0 { "" } else { "Then: " };
    let title = format!("{then}{}", title(run.summary));
    let sandbox = run.summary.plan.target.sandbox;
    let head = Head { id: &id, what: &what, sandbox, title: &title, status, sentence: &sentence };
    html! {
        article aria-labelledby=(run.id("title")) {
            (head.render())
            h2.unseen { "Figures" }
            (card::tiles(&run))
            @if !remarks.is_empty() {
                h2 { "What stands out" }
                ul.insights { @for remark in remarks { li { (remark.render()) } } }
            }
            @if !steady.is_empty() {
                h2 { "Steady state" }
                ul.insights { @for line in steady { li { (foreign::line(&line, 400)) } } }
            }
            h2 { "Plots" }
            div.figures { @for figure in plots(&run) { (figure.render()) } }
            h2 { "Tables" }
            (card::tables(&run))
            h2 { "The run" }
            (card::card(&run))
            (card::method(&run))
        }
    }
}

/// The plots of a run, the most important first; what a run has nothing of is left out.
fn plots(run: &Run<'_>) -> Vec<Figure> {
    let all = match &run.summary.search {
        Some(search) => vec![
            knee::knee(run, search),
            knee::latency(run, search),
            knee::hockey_stick(run, search),
            knee::timeline(run, search),
            health::generator(run),
            health::errors(run),
            health::nodes(run),
            servers::servers(run),
            publish::gantt(run),
        ],
        None => vec![
            overview::overview(run),
            latency::heat(run),
            latency::percentiles(run),
            latency::phases(run),
            publish::interference(run),
            publish::gantt(run),
            health::nodes(run),
            health::errors(run),
            servers::servers(run),
            health::generator(run),
        ],
    };
    all.into_iter().flatten().collect()
}
