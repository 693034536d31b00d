//! What steps of scenario files publish: their bundles, and the programs that publish them.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context as _;

use super::failure::Failure;
use super::programs::{Ingredients, series};
use crate::engine::program::{Action, Heard, Notes, Outcome, Program, SeriesId};
use crate::plan::{BundlePlan, Plan, StepsPlan};
use crate::posit_connect::bundle::{Bundle, BundleOptions};
use crate::posit_connect::fixtures::Fixture;
use crate::posit_connect::journal::description;
use crate::posit_connect::manifest::Runtimes;
use crate::posit_connect::provision::Access;
use crate::posit_connect::publish::{Lasts, PublishInto, PublishLoop, PublishPlan, PublishTimeouts};
use crate::scenario::LoadTest;
use crate::scenario::steps::{ConnectStep, ItemLasts};
use crate::steps::{Part, Parts};

/// How long a deployment may take; a first one may compile packages.
const DEPLOY_WITHIN: Duration = Duration::from_secs(900);

/// Bundles by the names that steps have for them.
#[derive(Clone, Default)]
pub(super) struct StepBundles {
    bundles: BTreeMap<String, Bundle>,
    /// What the names of the content items begin with: the journal has it.
    prefix: String,
}

impl StepBundles {
    /// Makes the bundles that a load test's steps name; directories are looked for below `directory`.
    pub(super) fn read(load_test: &LoadTest, directory: &Path, runtimes: &Runtimes) -> Result<StepBundles, Failure> {
        let names: BTreeSet<&String> = load_test.publishing_steps().map(|step| &step.bundle).collect();
        let mut bundles = BTreeMap::new();
        for name in names {
            let bundle = match built_in(name) {
                Some(fixture) => Bundle::fixture(fixture, runtimes),
                None => {
                    let options = BundleOptions { runtimes: runtimes.clone(), ..BundleOptions::default() };
                    Bundle::from_directory(&directory.join(name), &options)
                }
            };
            bundles.insert(name.clone(), bundle.with_context(|| format!("{name:?}")).map_err(Failure::invalid)?);
        }
        Ok(StepBundles { bundles, prefix: String::new() })
    }

    pub(super) fn is_empty(&self) -> bool {
        self.bundles.is_empty()
    }

    /// With what the names of content items begin with.
    pub(super) fn with_prefix(mut self, prefix: String) -> StepBundles {
        self.prefix = prefix;
        self
    }

    /// Those that a scenario's steps publish, for the plan.
    pub(super) fn plan(&self, steps: &StepsPlan) -> Vec<BundlePlan> {
        let used: BTreeSet<&String> = steps.steps().filter_map(|step| Some(&step.connect.as_ref()?.bundle)).collect();
        let of = |name: &String| {
            let bundle = self.bundles.get(name)?;
            Some(BundlePlan { name: name.clone(), md5: bundle.md5.clone(), bytes: bundle.bytes.len() as u64 })
        };
        used.into_iter().filter_map(of).collect()
    }
}

fn built_in(name: &str) -> Option<Fixture> {
    match name {
        "flask-stocks" => Some(Fixture::FlaskStocks),
        "plumber-stocks" => Some(Fixture::PlumberStocks),
        _ => None,
    }
}

/// Makes the programs of a scenario's steps that publish.
pub(super) struct StepPublishers {
    bundles: StepBundles,
    /// Everything but what a step says.
    base: PublishPlan,
    with_key: bool,
    most_vus: u32,
}

impl fmt::Debug for StepPublishers {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("StepPublishers").field("prefix", &self.bundles.prefix).finish_non_exhaustive()
    }
}

impl StepPublishers {
    /// Those of a scenario; `None` where there is nothing to publish to, or nothing to publish.
    pub(super) fn of(plan: &Plan, scenario: usize, steps: &StepsPlan, given: &Ingredients) -> Option<Arc<dyn Parts>> {
        let key = given.key.clone().filter(|_| !given.step_bundles.is_empty())?;
        let base = PublishPlan {
            series: series(0),
            base_path: given.base_path.clone(),
            key,
            bundle: given.bundle.clone(),
            into: PublishInto::New {
                prefix: format!("{}{scenario}-", given.step_bundles.prefix),
                description: description(&plan.run_id),
                access: Access::Everyone,
                first_number: 1,
                number_step: 1,
                lasts: Lasts::Publish,
                variables: Vec::new(),
            },
            first_path: "/".to_owned(),
            timeouts: PublishTimeouts { request: steps.timeout, task: DEPLOY_WITHIN, ..PublishTimeouts::default() },
            seed: plan.seed,
        };
        let most_vus = plan.scenarios[scenario].executor.max_vus().max(1);
        let bundles = given.step_bundles.clone();
        Some(Arc::new(StepPublishers { bundles, base, with_key: steps.with_key, most_vus }))
    }
}

impl Parts for StepPublishers {
    fn part(&self, step: &ConnectStep, first: SeriesId, vu: u32) -> Result<Box<dyn Part>, String> {
        let bundle = self.bundles.bundles.get(&step.bundle).ok_or("its bundle was not read")?;
        let mut plan = self.base.clone();
        plan.series = series(first.0);
        plan.bundle = bundle.bytes.clone();
        let own = built_in(&step.bundle).map_or("/", Fixture::path);
        plan.first_path = step.path.clone().unwrap_or_else(|| own.to_owned());
        plan.seed ^= u64::from(vu);
        if let PublishInto::New { prefix, access, first_number, number_step, lasts, .. } = &mut plan.into {
            prefix.push_str(&format!("{}-", first.0));
            if step.with_key.unwrap_or(self.with_key) {
                *access = Access::WithKey;
            }
            (*first_number, *number_step) = (u64::from(vu) + 1, u64::from(self.most_vus));
            *lasts = match step.lasts {
                ItemLasts::Step => Lasts::Publish,
                ItemLasts::Iteration => Lasts::UntilRemoved,
                ItemLasts::Run => Lasts::Run,
            };
        }
        let publisher = PublishLoop::new(plan).map_err(|error| error.to_string())?;
        Ok(Box::new(StepPublisher(publisher)))
    }
}

/// A publish loop of which each iteration is a step.
struct StepPublisher(PublishLoop);

impl Program for StepPublisher {
    fn next(&mut self, now: Duration, last: Option<Outcome<'_>>, notes: &mut Notes) -> Action {
        self.0.next(now, last, notes)
    }

    fn heard(&mut self, now: Duration, heard: Heard, notes: &mut Notes) -> Action {
        self.0.heard(now, heard, notes)
    }

    fn interrupted(&mut self, now: Duration, notes: &mut Notes) {
        self.0.interrupted(now, notes);
    }
}

impl Part for StepPublisher {
    fn set_variables(&mut self, variables: Vec<(String, String)>) {
        self.0.set_variables(variables);
    }

    fn item(&self) -> Option<&str> {
        self.0.item()
    }

    fn remove(&mut self) -> bool {
        self.0.remove()
    }
}
