//! `connect-bench capacity`: what to buy, from a ramp and what is asked.

use std::fs;
use std::path::{Path, PathBuf};

use super::failure::Failure;
use super::pages::Said;
use super::usage;
use super::validate;
use super::view::View;
use super::{output, pages};
use crate::baseline::Measured;
use crate::capacity::sizing::answer::{Evidence, Question, answer, server};
use crate::capacity::sizing::cost::{self, Prices};
use crate::capacity::sizing::demand::Demand;
use crate::capacity::sizing::measured::ByVus;
use crate::capacity::sizing::nodes::Tier;
use crate::capacity::sizing::validation::trial;
use crate::capacity::sizing::{Behaviour, Target};
use crate::cli::CapacityArgs;
use crate::exit::Exit;
use crate::histogram::Latency;
use crate::plan::ProgramPlan;
use crate::report;
use crate::rundir;
use crate::summary::{Figures, Search, Summary};
use crate::units;

pub(super) async fn run(args: &CapacityArgs) -> Result<Exit, Failure> {
    let view = View::new(args.validate.is_none() || args.run.output.quiet);
    output::check(&args.run.output)?;
    if !args.run.outs.out.is_empty() {
        return Err(Failure::usage("--out: a capacity plan has no live outputs; give it to ramp, load or run"));
    }
    let documented = output::baselines(&[])?;
    let question = question(args)?;
    let (directory, ramp, search) = ramp(args)?;
    let loads = loads(args, &directory, &ramp, &view)?;
    let latencies = latencies(&directory, &ramp, &search)?;
    let nodes = args.nodes.or_else(|| measured(&ramp).nodes).unwrap_or(1).max(1);
    let with_publish = ramp.plan.scenarios.iter().any(|scenario| matches!(scenario.program, ProgramPlan::Publish(_)));
    let evidence =
        Evidence { result: &search.result, steps: &search.steps, latencies: &latencies, loads: &loads, with_publish };
    let question = Question { nodes, most_nodes: args.max_nodes.max(nodes), ..question };
    let missing = |missing| Failure::invalid(anyhow::anyhow!("{}: {missing}", directory.display()));
    let mut answer = answer(&question, &evidence, &documented).map_err(missing)?;
    if let Some(length) = args.usage {
        usage::read(args, length, &mut answer).await?;
    }
    let mut exit = Exit::Pass;
    if let Some(length) = args.validate {
        let server = server(&evidence).map_err(missing)?;
        let trial = trial(&answer, &server).ok_or_else(|| {
            Failure::invalid(anyhow::anyhow!("--validate: no user gets what the targets ask for; nothing to validate"))
        })?;
        let (validation, invalid, ended) = Box::pin(validate::run(args, trial, length, &ramp.plan.target)).await?;
        answer.validation = Some(validation);
        answer.notes.extend(invalid.iter().map(|why| format!("The validation is NOT VALID: {why}.")));
        exit = ended;
    }
    let document = report::json::capacity(&answer, &ramp, &directory);
    let text = report::text::capacity(&answer, &ramp.plan.target, &directory);
    output::deliver(&args.run.output, &document, &text, &view).map_err(Failure::from)?;
    let value = output::value(&document)?;
    let said = Said { command: "capacity", directory: Some(&directory), document: value, text: &text };
    let recorded = || vec![pages::recorded(&directory, ramp.clone(), &view)];
    pages::tell(&args.run.output, said, recorded, |archive| report::html::capacity(&answer, archive), &view)?;
    Ok(exit)
}

fn measured(summary: &Summary) -> Measured {
    Figures::of(summary).measured(summary)
}

fn question(args: &CapacityArgs) -> Result<Question, Failure> {
    let usage = |flag: &str, why: String| Failure::usage(format!("{flag}: {why}"));
    let demand = &args.demand;
    if !(demand.requests_per_action.is_finite() && demand.requests_per_action > 0.0) {
        return Err(usage("--requests-per-action", format!("{} is not above 0", demand.requests_per_action)));
    }
    let limits: Vec<&str> = match args.target.as_slice() {
        [] => vec!["p(95)<500ms", "p(95)<1s"],
        given => given.iter().map(String::as_str).collect(),
    };
    let targets = limits.iter().map(|text| target(text).map_err(|why| usage("--target", why)));
    let growth = demand.growth.as_deref().map(|text| {
        let per_month = text.strip_suffix("/month").unwrap_or(text);
        share(per_month).filter(|s| *s < 10.0).ok_or_else(|| usage("--growth", format!("`{text}`: write 5%/month")))
    });
    let utilisation = share(&demand.utilisation).filter(|s| *s > 0.0 && *s <= 1.0);
    let utilisation = utilisation
        .ok_or_else(|| usage("--utilisation", format!("`{}` is no share: write 70%", demand.utilisation)))?;
    let growth_per_month = growth.transpose()?.unwrap_or(0.0);
    let asked = |users| Demand { users, growth_per_month, utilisation, spare: demand.spare };
    Ok(Question {
        behaviour: Behaviour { think_s: demand.think.as_secs_f64(), requests_per_action: demand.requests_per_action },
        targets: targets.collect::<Result<_, _>>()?,
        demand: demand.users.map(asked),
        nodes: 1,
        most_nodes: args.max_nodes,
        tiers: args.tier.iter().map(|text| tier(text).map_err(|why| usage("--tier", why))).collect::<Result<_, _>>()?,
        prices: args.prices.as_deref().map(prices).transpose()?,
    })
}

/// `70%` or `0.7`.
fn share(text: &str) -> Option<f64> {
    let number = match text.trim().strip_suffix('%') {
        Some(percent) => percent.trim().parse::<f64>().ok()? / 100.0,
        None => text.trim().parse().ok()?,
    };
    (number.is_finite() && number >= 0.0).then_some(number)
}

/// `p(95)<500ms`, `mean<200ms`.
fn target(text: &str) -> Result<Target, String> {
    let wrong = || format!("`{text}` is no limit: write 'p(95)<500ms' or 'mean<200ms'");
    let (which, limit) = text.split_once('<').ok_or_else(wrong)?;
    let quantile = match which.trim() {
        "mean" | "avg" => None,
        "med" => Some(0.5),
        which => {
            let inner = which.strip_prefix("p(").and_then(|rest| rest.strip_suffix(')')).ok_or_else(wrong)?;
            let percent: f64 = inner.trim().parse().map_err(|_e| wrong())?;
            Some(Some(percent / 100.0).filter(|q| (0.0..1.0).contains(q)).ok_or_else(wrong)?)
        }
    };
    let limit = limit.trim();
    // As in a threshold, a number without a unit is milliseconds.
    let limit_ms = match limit.parse::<f64>() {
        Ok(ms) => ms,
        Err(_) => units::duration(limit)?.as_secs_f64() * 1000.0,
    };
    if limit_ms > 0.0 { Ok(Target { quantile, limit_ms }) } else { Err(wrong()) }
}

fn tier(text: &str) -> Result<Tier, String> {
    let wrong = || format!("`{text}`: write a name and how busy it was, db=35%");
    let (name, utilisation) = text.split_once('=').ok_or_else(wrong)?;
    let utilisation = share(utilisation).filter(|u| *u > 0.0 && *u <= 1.0).ok_or_else(wrong)?;
    Ok(Tier { name: name.trim().to_owned(), utilisation })
}

fn prices(path: &Path) -> Result<Prices, Failure> {
    let wrong = |why: String| Failure::invalid(anyhow::anyhow!("--prices {}: {why}", path.display()));
    let text = fs::read_to_string(path).map_err(|e| wrong(e.to_string()))?;
    let prices: Prices = toml::from_str(&text).map_err(|e| wrong(e.to_string()))?;
    match cost::fault(&prices) {
        Some(why) => Err(wrong(why)),
        None => Ok(prices),
    }
}

/// The first of the runs that is a ramp, or the newest one that found an answer.
fn ramp(args: &CapacityArgs) -> Result<(PathBuf, Summary, Search), Failure> {
    let named = !args.runs.is_empty();
    let candidates = if named { args.runs.clone() } else { rundir::list(&args.run.output.runs_dir) };
    for directory in candidates {
        let summary = match rundir::read(&directory) {
            Ok(summary) => summary,
            Err(fault) if named => return Err(Failure::invalid(fault)),
            Err(_) => continue,
        };
        if let Some(search) = summary.search.clone().filter(|search| named || search.result.vus.is_some()) {
            return Ok((directory, summary, search));
        }
    }
    let place = if named { "among the runs".to_owned() } else { format!("in {}", args.run.output.runs_dir.display()) };
    let why = format!("there is no ramp {place}, and capacity is read from one: run `connect-bench ramp` first");
    Err(Failure::invalid(anyhow::anyhow!(why)))
}

/// The other runs that were named: load tests of the closed model.
fn loads(args: &CapacityArgs, ramp: &Path, of: &Summary, view: &View) -> Result<Vec<(f64, f64)>, Failure> {
    let mut loads = Vec::new();
    for directory in args.runs.iter().filter(|run| run.as_path() != ramp) {
        let summary = rundir::read(directory).map_err(Failure::invalid)?;
        if summary.search.is_some() {
            continue;
        }
        if summary.plan.target.url.host() != of.plan.target.url.host() {
            view.warn(&format!("{}: of another server than the ramp; left out", directory.display()));
            continue;
        }
        let figures = Figures::of(&summary);
        loads.push((figures.vus, figures.fetch_per_s));
    }
    Ok(loads)
}

fn latencies(directory: &Path, ramp: &Summary, search: &Search) -> Result<Vec<(u32, Latency)>, Failure> {
    let mut by_vus = ByVus::new(search.result.warm_up_s);
    // Without windows there is throughput, but no percentile: the answer says so.
    let Ok(seconds) = rundir::seconds(directory) else { return Ok(Vec::new()) };
    for second in seconds {
        by_vus.add(&ramp.plan, &second.map_err(Failure::invalid)?);
    }
    Ok(by_vus.finish())
}
