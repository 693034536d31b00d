//! What two runs must have in common to be compared, and what only has to be said where it differs.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::plan::{Executor, Plan, ProgramPlan, ScenarioPlan, Target};
use crate::summary::Summary;

/// A property of a run that a comparison depends on.
struct Property {
    name: &'static str,
    /// For people.
    words: &'static str,
    /// Whether runs that differ in it are not compared, unless the profile says otherwise.
    must_match: bool,
}

const fn must(name: &'static str, words: &'static str) -> Property {
    Property { name, words, must_match: true }
}

const fn may(name: &'static str, words: &'static str) -> Property {
    Property { name, words, must_match: false }
}

/// All of them. What is meant to change between two runs, the server's version say, is named and not refused.
const PROPERTIES: &[Property] = &[
    must("target", "what is measured"),
    must("sandbox_profile", "the sandbox's profile"),
    must("load", "the load"),
    must("scheme", "http or https"),
    must("fetch_auth", "whether fetches carry the key"),
    must("cookies", "what becomes of cookies"),
    must("connections", "how connections are made"),
    must("nodes", "nodes that answered"),
    must("harness", "major version of connect-bench"),
    may("server", "the server"),
    may("connect_version", "Connect's version"),
    may("process_settings", "how the server runs the content"),
    may("publish_bundle", "the bundle that is published"),
    may("harness_version", "version of connect-bench"),
    may("http1_engine", "who speaks HTTP/1.1"),
    may("generator", "the machine that made the load"),
    may("generator_cores", "cores of the machine that made the load"),
];

/// The properties of one run. What is not known of it is absent, and is no difference.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Fingerprint(BTreeMap<String, String>);

/// Differences between two runs, for people.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Differences {
    /// Because of these they are not compared.
    pub refused: Vec<String>,
    /// These are only said.
    pub said: Vec<String>,
}

/// Names of all properties.
#[must_use]
pub fn names() -> Vec<&'static str> {
    PROPERTIES.iter().map(|property| property.name).collect()
}

impl Fingerprint {
    /// Of a run.
    #[must_use]
    pub fn of(summary: &Summary, nodes: usize) -> Fingerprint {
        let Summary { plan, environment, .. } = summary;
        let target = &plan.target;
        let kind = match (target.sandbox, plan.target.content_guid.is_some()) {
            (true, _) => "sandbox",
            (_, true) => "connect",
            _ => "url",
        };
        let known = |text: &str| Some(text.to_owned());
        let major = |version: &str| version.split('.').next().map(str::to_owned);
        let port = target.url.port().map_or_else(String::new, |port| format!(":{port}"));
        let server = format!("{}{port}", target.url.host_str().unwrap_or_default());
        let bundle = plan.scenarios.iter().find_map(|scenario| match &scenario.program {
            ProgramPlan::Publish(publish) => Some(format!("{} {}", publish.bundle, publish.bundle_md5)),
            _ => None,
        });
        let values = [
            ("target", known(kind)),
            ("sandbox_profile", target.sandbox_profile.clone()),
            ("load", Some(load(plan))),
            ("scheme", known(target.url.scheme())),
            ("fetch_auth", known(if target.fetch_with_key { "with the key" } else { "without the key" })),
            ("cookies", known(if plan.http.reset_cookies { "forgotten each iteration" } else { "kept" })),
            ("connections", serde_json::to_string(&plan.http.connection).ok()),
            ("nodes", (nodes > 0).then(|| nodes.to_string())),
            ("harness", major(&summary.version)),
            // A sandbox of our own has another port each time.
            ("server", target.sandbox_profile.is_none().then_some(server)),
            ("connect_version", target.connect_version.clone()),
            ("process_settings", (!target.settings.is_empty()).then(|| settings(target))),
            ("publish_bundle", bundle),
            ("harness_version", Some(summary.version.clone())),
            (
                "http1_engine",
                serde_json::to_value(plan.http.http1_engine).ok().and_then(|v| v.as_str().map(str::to_owned)),
            ),
            ("generator", Some(environment.host.clone())),
            ("generator_cores", Some(environment.cores.to_string())),
        ];
        Fingerprint(values.into_iter().filter_map(|(name, value)| Some((name.to_owned(), value?))).collect())
    }

    /// The value of a property, where it is known.
    #[must_use]
    pub fn get(&self, name: &str) -> Option<&str> {
        self.0.get(name).map(String::as_str)
    }

    /// In what `self` differs from an earlier run; the lists have names of properties for which the rule is another.
    #[must_use]
    pub fn differences(&self, earlier: &Fingerprint, may_differ: &[String], must_match: &[String]) -> Differences {
        let mut differences = Differences::default();
        for property in PROPERTIES {
            let (Some(before), Some(now)) = (earlier.get(property.name), self.get(property.name)) else { continue };
            if before == now {
                continue;
            }
            let named = |list: &[String]| list.iter().any(|name| name == property.name);
            let refused = named(must_match) || (property.must_match && !named(may_differ));
            let text = format!("{} ({}): {before} → {now}", property.words, property.name);
            if refused { differences.refused.push(text) } else { differences.said.push(text) }
        }
        differences
    }
}

/// Process settings in one line.
fn settings(target: &Target) -> String {
    let all: Vec<String> =
        target.settings.iter().map(|setting| format!("{} {}", setting.name, setting.value)).collect();
    all.join(", ")
}

/// The load in one line: each scenario with its executor and what its VUs do.
fn load(plan: &Plan) -> String {
    let scenarios: Vec<String> = plan.scenarios.iter().map(|scenario| describe(scenario, plan)).collect();
    scenarios.join("; ")
}

fn describe(scenario: &ScenarioPlan, plan: &Plan) -> String {
    let does = match &scenario.program {
        ProgramPlan::Fetch(fetch) => format!("fetches {}", below(&fetch.path, plan)),
        ProgramPlan::Publish(publish) if publish.guid.is_none() => "publishes to new content items".to_owned(),
        ProgramPlan::Publish(_) => "publishes".to_owned(),
        ProgramPlan::Steps(_) => format!("steps {}", scenario.steps.join(", ")),
    };
    let pacing = if scenario.pacing.is_zero() { String::new() } else { format!(", pacing {:?}", scenario.pacing) };
    format!("{}: {}{pacing}, {does}", scenario.name, executor(&scenario.executor))
}

/// How an executor makes load, without its length where that does not change what is measured.
fn executor(executor: &Executor) -> String {
    match executor {
        Executor::ConstantVus { vus, .. } => format!("{vus} VUs"),
        Executor::SearchedRate { max_rate, max_vus, .. } => {
            format!("searched up to {max_rate} per second with at most {max_vus} VUs")
        }
        Executor::Searched { max_vus, .. } => format!("searched up to {max_vus} VUs"),
        Executor::ConstantArrivalRate { rate, time_unit, .. } => {
            format!("{} arrivals per second", f64::from(*rate) / time_unit.as_secs_f64())
        }
        other => serde_json::to_string(other).unwrap_or_default(),
    }
}

/// A path without the content item's own, which is another each time.
fn below(path: &str, plan: &Plan) -> String {
    let after = plan.target.content_guid.as_ref().and_then(|guid| path.split_once(guid.as_str()));
    after.map_or_else(|| path.to_owned(), |(_, rest)| rest.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(values: &[(&str, &str)]) -> Fingerprint {
        Fingerprint(values.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect())
    }

    #[test]
    fn some_differences_are_refused_and_others_said() {
        let before = of(&[("load", "fetch: 10 VUs"), ("connect_version", "2025.09.0"), ("nodes", "2")]);
        let now = of(&[("load", "fetch: 20 VUs"), ("connect_version", "2025.10.0"), ("server", "new.example.com")]);
        let by_default = now.differences(&before, &[], &[]);
        assert_eq!(by_default.refused, ["the load (load): fetch: 10 VUs → fetch: 20 VUs"]);
        assert_eq!(by_default.said, ["Connect's version (connect_version): 2025.09.0 → 2025.10.0"]);
        let turned = now.differences(&before, &["load".to_owned()], &["connect_version".to_owned()]);
        assert_eq!((turned.refused.len(), turned.said.len()), (1, 1));
        assert!(turned.refused[0].contains("connect_version"));
        assert_eq!(before.differences(&before, &[], &names().map_owned()), Differences::default());
    }

    trait Owned {
        fn map_owned(self) -> Vec<String>;
    }

    impl Owned for Vec<&str> {
        fn map_owned(self) -> Vec<String> {
            self.into_iter().map(str::to_owned).collect()
        }
    }
}
