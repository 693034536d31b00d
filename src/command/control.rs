//! `connect-bench control`: asks a run that is on in another terminal, through its REST endpoint.

use std::fmt::Write as _;
use std::time::Duration;

use anyhow::{Context as _, anyhow};
use reqwest::{Client, Method};
use serde_json::{Value, json};

use super::failure::Failure;
use super::output;
use crate::cli::{ControlAction, ControlArgs};
use crate::exit::Exit;
use crate::report::number::significant;

/// A run answers within a second, however busy.
const PATIENCE: Duration = Duration::from_secs(15);

pub(super) async fn run(args: &ControlArgs) -> Result<Exit, Failure> {
    let patch =
        |attributes: Value| Some(json!({"data": {"type": "status", "id": "default", "attributes": attributes}}));
    let (path, body) = match args.action.as_ref().unwrap_or(&ControlAction::Status) {
        ControlAction::Status => ("status".to_owned(), None),
        ControlAction::Pause => ("status".to_owned(), patch(json!({"paused": true}))),
        ControlAction::Resume => ("status".to_owned(), patch(json!({"paused": false}))),
        ControlAction::Stop => ("status".to_owned(), patch(json!({"stopped": true}))),
        ControlAction::Vus { vus, scenario: None } => ("status".to_owned(), patch(json!({"vus": vus}))),
        ControlAction::Vus { vus, scenario } => ("status".to_owned(), patch(json!({"vus": vus, "scenario": scenario}))),
        ControlAction::Metrics { metric: None } => ("metrics".to_owned(), None),
        ControlAction::Metrics { metric: Some(metric) } => (format!("metrics/{metric}"), None),
    };
    let document = ask(args, &path, body.as_ref()).await?;
    let text = match args.json {
        true => serde_json::to_string_pretty(&document).context("the answer has no JSON form")? + "\n",
        false if path == "status" => status(&document["data"]["attributes"]),
        false => metrics(&document["data"]),
    };
    output::print(&text)?;
    Ok(Exit::Pass)
}

async fn ask(args: &ControlArgs, path: &str, body: Option<&Value>) -> Result<Value, Failure> {
    let address = args.address;
    let nobody = || format!("no run answers at {address}: was it started with --address {address}?");
    // A proxy has no business between two programs of one machine.
    let client = Client::builder().no_proxy().timeout(PATIENCE).build().context("no HTTP client")?;
    let method = if body.is_some() { Method::PATCH } else { Method::GET };
    let request = client.request(method, format!("http://{address}/v1/{path}"));
    let request = match body {
        Some(body) => request.json(body),
        None => request,
    };
    let answer = request.send().await.with_context(nobody).map_err(Failure::unreachable)?;
    let ok = answer.status().is_success();
    let document: Value = answer.json().await.with_context(nobody).map_err(Failure::unreachable)?;
    match document["errors"][0]["detail"].as_str() {
        Some(detail) => Err(Failure::usage(detail)),
        None if ok && document.get("data").is_some() => Ok(document),
        None => Err(Failure::unreachable(anyhow!("what answers at {address} is no run of connect-bench"))),
    }
}

/// The status in a few lines.
fn status(attributes: &Value) -> String {
    let phase = match attributes["status"].as_u64() {
        Some(0) => "created",
        Some(5) => "being prepared",
        Some(6) if attributes["stopped"] == true => "stopping",
        Some(6) if attributes["paused"] == true => "paused",
        Some(6) => "running",
        Some(7) => "over, cleaning up",
        _ => "over",
    };
    let tainted = if attributes["tainted"] == true { ", a threshold fails" } else { "" };
    let mut out = format!("{phase}: {} VUs (at most {}){tainted}\n", attributes["vus"], attributes["vus-max"]);
    for scenario in attributes["scenarios"].as_array().into_iter().flatten() {
        let name = |key: &str| scenario[key].as_str().unwrap_or_default().to_owned();
        let (vus, asked) = (&scenario["vus"], &scenario["vus-asked"]);
        // Writing to a String cannot fail.
        let _ = writeln!(out, "  {} ({}): {vus} VUs, {asked} asked for", name("name"), name("executor"));
    }
    out
}

/// A line for each metric.
fn metrics(data: &Value) -> String {
    let one = std::slice::from_ref(data);
    let all = data.as_array().map_or(one, Vec::as_slice);
    let mut out = String::new();
    for metric in all {
        let attributes = &metric["attributes"];
        let unit = match attributes["contains"].as_str() {
            Some("time") => " ms",
            Some("data") => " bytes",
            _ => "",
        };
        let mut figures = Vec::new();
        for (name, value) in attributes["sample"].as_object().into_iter().flatten() {
            let value = value.as_f64().map_or_else(|| "–".to_owned(), significant);
            figures.push(format!("{name} {value}"));
        }
        let tainted = if attributes["tainted"] == true { ", a threshold fails" } else { "" };
        let name = metric["id"].as_str().unwrap_or_default();
        let _ = writeln!(out, "{name}: {}{unit}{tainted}", figures.join(", "));
    }
    out
}
