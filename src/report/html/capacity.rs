//! A capacity plan, for those who decide: what the measured nodes carry, what is asked, what to buy, and what each figure
//! rests on.

mod plots;

use maud::{Markup, html};

use super::figure::Table;
use super::tile::{self, Tile};
use super::verdict::{BAD, GOOD, OPEN, Status, status};
use super::{Head, Run, card, frame};
use crate::capacity::sizing::Basis;
use crate::capacity::sizing::answer::Answer;
use crate::report::archive::Archive;
use crate::report::number::{MISSING, change, count, maybe, percent, short, significant};
use crate::report::sizing::{self, COST_NOTE, REFERENCES_NOTE, Rows};
use crate::report::{foreign, text};
use crate::summary::Figures;

/// The page of a plan; the archive has the ramp that it rests on.
///
/// # Errors
/// Where the data has no JSON form.
pub fn page(answer: &Answer, archive: &Archive) -> std::io::Result<String> {
    let title = "Capacity plan";
    let figures = archive.runs.first().map(|run| Figures::of(&run.summary));
    let ramp = archive.runs.first().zip(figures.as_ref()).map(|(run, figures)| Run::of(0, run, figures, &[]));
    let target = ramp.as_ref().map(|run| &run.summary.plan.target);
    let what = target.map(text::what).unwrap_or_default();
    let sandbox = target.is_some_and(|target| target.sandbox);
    let sentence = match &answer.headroom {
        Some(asked) => {
            format!("{} {} {}", sizing::sentence(answer), sizing::demand(asked) + ".", sizing::headroom(asked))
        }
        None => sizing::sentence(answer),
    };
    let head = Head { id: "capacity-title", what: &what, sandbox, title, status: chip(answer), sentence: &sentence };
    let body = html! {
        article aria-labelledby="capacity-title" {
            (head.render())
            h2.unseen { "Figures" }
            (tile::render(&tiles(answer)))
            (bases())
            h2 { "Plots" }
            div.figures { @for figure in plots::all(answer) { (figure.render()) } }
            h2 { "Tables" }
            (tables(answer))
            (remarks(answer))
            @if let Some(run) = &ramp { h2 { "The ramp that it rests on" } (card::card(run)) }
            (method(answer, sandbox))
        }
    };
    frame(title, &body, archive)
}

fn chip(answer: &Answer) -> Status {
    let planned = sizing::strictest(answer).is_some_and(|users| users.plan > 0);
    let kept = answer.validation.as_ref().is_none_or(|v| v.target_kept);
    match answer.headroom.as_ref().and_then(|asked| asked.headroom) {
        _ if !planned => status(BAD, "target not met"),
        _ if !kept => status(BAD, "validation failed"),
        Some(headroom) if headroom < 0.0 => status(BAD, "not enough"),
        Some(_) => status(GOOD, "enough"),
        None => status(OPEN, "no demand given"),
    }
}

fn tiles(answer: &Answer) -> Vec<Tile> {
    let row = answer.rows.iter().position(|row| row.nodes == answer.nodes);
    let users = sizing::strictest(answer);
    let at = row.zip(users).and_then(|(row, strictest)| {
        let at = answer.rows[row].users.iter().position(|users| users == strictest)?;
        Some(format!("capacity.rows.{row}.users.{at}."))
    });
    let at = |field: &str| at.as_ref().map_or_else(String::new, |at| format!("{at}{field}"));
    let number = |n: Option<u32>| n.map_or_else(|| MISSING.to_owned(), |n| count(u64::from(n)));
    let between = |(low, high): (f64, f64)| format!("90 % interval {} to {}", significant(low), significant(high));
    let (plan, model) = (users.map(|u| u.plan), users.map(|u| u.model));
    let limit = users.map_or_else(String::new, |u| format!("with {}", sizing::name(u.target)));
    let mut tiles = vec![
        Tile::of("users to plan with", plan.map(f64::from), limit, &at("plan")).said(number(plan)),
        Tile::of("users by the model", model.map(f64::from), "no room left".to_owned(), &at("model"))
            .said(number(model)),
        Tile::of(
            "most requests per second",
            Some(answer.requests_per_second),
            answer.requests_per_second_ci.map(between).unwrap_or_default(),
            "capacity.requests_per_second",
        ),
        Tile::of("nodes measured", Some(f64::from(answer.nodes)), sizing::each(answer), "capacity.nodes")
            .said(answer.nodes.to_string()),
    ];
    if let Some(asked) = &answer.headroom {
        let now = asked.needed.first();
        let buy = now.and_then(|needed| needed.with_spare);
        let note = format!("at most {} busy, {} to spare", percent(asked.demand.utilisation), asked.demand.spare);
        tiles.extend([
            Tile::of(
                "users asked for",
                Some(f64::from(asked.demand.users)),
                String::new(),
                "capacity.headroom.demand.users",
            )
            .said(count(u64::from(asked.demand.users))),
            Tile::of("headroom", asked.headroom, "plan against demand".to_owned(), "capacity.headroom.headroom")
                .said(asked.headroom.map_or_else(|| MISSING.to_owned(), change)),
            Tile::of("nodes to have now", buy.map(f64::from), note, "capacity.headroom.needed.0.with_spare")
                .said(number(buy)),
        ]);
        if asked.demand.growth_per_month > 0.0 {
            let growth = format!("at {} a month", percent(asked.demand.growth_per_month));
            tiles.push(Tile::of("months until it is used up", asked.months, growth, "capacity.headroom.months"));
        }
    }
    tiles
}

/// The class of what rests on something.
fn class(basis: Basis) -> &'static str {
    match basis {
        Basis::Measured => "measured",
        Basis::Interpolated => "interpolated",
        Basis::Extrapolated => "extrapolated",
        Basis::Assumed => "assumed",
    }
}

/// What the marks say.
fn bases() -> Markup {
    let words = [
        (Basis::Measured, "was measured"),
        (Basis::Interpolated, "follows from what was measured around it"),
        (Basis::Extrapolated, "lies beyond what was measured"),
        (Basis::Assumed, "nothing measured speaks for it"),
    ];
    html! {
        ul.bases aria-label="What a figure rests on" {
            @for (basis, meaning) in words {
                li { span class={ "basis " (class(basis)) } { (basis.word()) } " " (meaning) }
            }
        }
    }
}

/// Rows whose first one is the head.
fn table(rows: Rows, left: &[usize]) -> Table {
    let mut rows = rows.into_iter();
    let mut table = Table { head: rows.next().unwrap_or_default(), left: left.to_vec(), rows: Vec::new() };
    rows.for_each(|row| table.row(row.iter().map(|cell| foreign::line(cell, 120)).collect()));
    table
}

/// The rows of costs, whose first column says with words what the arrow says.
fn cost_rows(answer: &Answer) -> Rows {
    let mut rows = sizing::cost(answer);
    for (at, first) in rows.iter_mut().enumerate().filter_map(|(at, row)| Some((at, row.first_mut()?))) {
        match (at, first.is_empty()) {
            (0, _) => "best",
            (_, true) => MISSING,
            (_, false) => "→ best",
        }
        .clone_into(first);
    }
    rows
}

fn section(name: &str, table: &Table, note: &str) -> Markup {
    html! {
        @if !table.rows.is_empty() {
            section.table {
                h3 { (foreign::line(name, 160)) }
                @if !note.is_empty() { p.note { (note) } }
                (table.render(&foreign::line(name, 160)))
            }
        }
    }
}

fn tables(answer: &Answer) -> Markup {
    let users = sizing::users(answer);
    let last = users.first().map_or(0, |head| head.len().saturating_sub(1));
    let asked = answer.headroom.as_ref();
    let cost = cost_rows(answer);
    let busy =
        asked.map_or_else(String::new, |asked| format!("Nodes at most {} busy.", percent(asked.demand.utilisation)));
    let needed = asked.map(sizing::needed).unwrap_or_default();
    html! {
        (section(&format!("Users at once: {}", sizing::each(answer)), &table(users, &[last]), &sizing::planning(answer)))
        @if let Some(asked) = asked {
            (section(&sizing::demand(asked), &table(needed, &[]), &[busy, sizing::would_get(asked).unwrap_or_default()].join(" ")))
        }
        (section(&sizing::forecasts_of(answer), &table(sizing::forecasts(answer), &[]), ""))
        (section("What the nodes share, at the plateau", &table(sizing::tiers(answer), &[0]), ""))
        (section("Cost", &table(cost, &[0, 1, 7, 8]), COST_NOTE))
        (section("Documented by Posit", &table(sizing::references(answer), &[0]), REFERENCES_NOTE))
    }
}

fn remarks(answer: &Answer) -> Markup {
    let mut lines: Vec<String> = answer.validation.iter().map(sizing::validation).collect();
    lines.extend(sizing::held_against(answer));
    lines.extend(answer.notes.iter().cloned());
    html! {
        @if !lines.is_empty() {
            h2 { "What a reader must know" }
            ul.insights { @for line in &lines { li { (foreign::line(line, 400)) } } }
        }
        h2 { "Not tested" }
        ul.insights { @for line in &answer.not_tested { li { (foreign::line(line, 300)) } } }
    }
}

fn method(answer: &Answer, sandbox: bool) -> Markup {
    let tested = answer.tested_vus.map_or_else(|| maybe(None), |(low, high)| format!("{low} to {high}"));
    html! {
        section.method {
            h3 { "Method and limits" }
            ul {
                li { "The curve of a ramp (measured at " (tested) " VUs) says how fast requests are served with so many in the server; users who think between requests are that server with a delay, solved exactly (mean-value analysis), percentiles from the histograms measured near each load." }
                li { "The plan is " (percent(answer.planning_share)) " of what the model says: it is optimistic where a server pauses, publishes or has a heavy tail." }
                li { "More nodes than were measured: each further one brings a little less than the one before, and what they share sets a limit where it was given." }
                li { "A user acts every " (short(answer.behaviour.think_s)) " s; twice as lively users are twice the load." }
                @if sandbox { li { b { "This was the sandbox, a stand-in with a known capacity. Nothing here is a result of Posit Connect." } } }
            }
            p.note { code { "connect-bench report --from" } " reads this page, which has the ramp and the plan in it." }
        }
    }
}
