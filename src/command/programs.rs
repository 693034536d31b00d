//! Makes the programs of a plan's VUs: the one place where a plan, the key and the bundle come together.

use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, anyhow};
use bytes::Bytes;
use http::header::{ACCEPT, ACCEPT_ENCODING, AUTHORIZATION, USER_AGENT};
use http::{HeaderMap, HeaderValue, Method, Uri};

use super::parts::{StepBundles, StepPublishers};
use crate::connection_options::Codings;
use crate::engine::fetch::Fetch;
use crate::engine::program::{Exchange, Expect, Program, Request, SeriesId};
use crate::engine::worker::Programs;
use crate::plan::{FetchPlan, Plan, ProgramPlan, PublishPlan, StepsPlan};
use crate::posit_connect::journal::description;
use crate::posit_connect::provision::Access;
use crate::posit_connect::publish::{self, Lasts, PublishInto, PublishLoop, PublishSeries, PublishTimeouts};
use crate::scenario::steps::StepFile;
use crate::secret::ApiKey;
use crate::steps::{self, Steps};

/// Names of the publish loop's steps, in the order of [`PublishSeries`].
pub(super) const PUBLISH_STEPS: [&str; 7] = crate::scenario::steps::connect::PARTS;

/// `User-Agent` of every request.
pub(super) const AGENT: &str = concat!("connect-bench/", env!("CARGO_PKG_VERSION"));

/// Everything that programs need besides the plan.
pub(super) struct Ingredients {
    pub(super) key: Option<ApiKey>,
    /// The bundle of the publish loop.
    pub(super) bundle: Bytes,
    /// The path that every request to the server begins with.
    pub(super) base_path: String,
    /// Data and files of steps.
    pub(super) materials: Arc<StepFile>,
    /// What steps publish.
    pub(super) step_bundles: StepBundles,
}

/// Ready to make programs; everything that can be wrong was found out.
pub(super) struct Kitchen {
    scenarios: Vec<Recipe>,
    seed: u64,
}

enum Recipe {
    Fetch(Box<Exchange>),
    Publish(Box<publish::PublishPlan>),
    Steps(Arc<steps::Recipe>),
}

impl Kitchen {
    /// Prepares the programs of a plan.
    pub(super) fn new(plan: &Plan, ingredients: &Ingredients) -> anyhow::Result<Arc<Kitchen>> {
        let mut scenarios = Vec::new();
        for (at, scenario) in plan.scenarios.iter().enumerate() {
            let first = u16::try_from(plan.first_series(at)).context("too many steps")?;
            scenarios.push(match &scenario.program {
                ProgramPlan::Fetch(fetch) => Recipe::Fetch(Box::new(exchange(
                    fetch,
                    SeriesId(first),
                    ingredients.key.as_ref(),
                    (&plan.http.user_agent, &plan.http.connection.accept_encoding),
                )?)),
                ProgramPlan::Publish(publish) => {
                    let recipe = publish_recipe(plan, publish, first, ingredients)?;
                    // What cannot be made is found out now, not on a worker.
                    PublishLoop::new(recipe.clone())?;
                    Recipe::Publish(Box::new(recipe))
                }
                ProgramPlan::Steps(steps) => {
                    let given = step_ingredients(plan, (at, steps), first, ingredients)?;
                    let recipe = steps::Recipe::new(steps, &given);
                    let recipe = recipe.with_context(|| format!("scenario {:?}", scenario.name))?;
                    Recipe::Steps(Arc::new(recipe))
                }
            });
        }
        Ok(Arc::new(Kitchen { scenarios, seed: plan.seed }))
    }
}

fn headers(agent: &str, codings: &Codings) -> anyhow::Result<HeaderMap> {
    let mut headers = HeaderMap::new();
    headers.insert(USER_AGENT, HeaderValue::from_str(agent).context("the user agent cannot be sent")?);
    headers.insert(ACCEPT, HeaderValue::from_static("*/*"));
    if !codings.is_empty() {
        headers.insert(
            ACCEPT_ENCODING,
            HeaderValue::from_str(&codings.to_string()).context("the codings cannot be sent")?,
        );
    }
    Ok(headers)
}

/// The exchange of a fetch: what its VUs make again and again.
pub(super) fn exchange(
    fetch: &FetchPlan,
    series: SeriesId,
    key: Option<&ApiKey>,
    (agent, codings): (&str, &Codings),
) -> anyhow::Result<Exchange> {
    let target: Uri = fetch.path.parse().with_context(|| format!("{:?} is no path", fetch.path))?;
    let mut headers = headers(agent, codings)?;
    if fetch.with_key {
        let key = key.ok_or_else(|| anyhow!("there is no key to fetch with"))?;
        headers.insert(AUTHORIZATION, key.authorization());
    }
    let expect = Expect {
        statuses: fetch.statuses.clone(),
        body_contains: fetch.body_contains.clone().map(Bytes::from),
        content_type: fetch.content_type.clone(),
        follow: false,
    };
    let request = Request { method: Method::GET, target, headers, body: Bytes::new() };
    Ok(Exchange { series, request, expect, keep_body: 0, timeout: fetch.timeout })
}

fn step_ingredients(
    plan: &Plan,
    (scenario, steps): (usize, &StepsPlan),
    first: u16,
    given: &Ingredients,
) -> anyhow::Result<steps::Given> {
    let mut origin = plan.target.url.clone();
    origin.set_path("/");
    let data = given.materials.data.iter().map(|(name, data)| (name.clone(), data.set.clone()));
    Ok(steps::Given {
        headers: headers(&plan.http.user_agent, &plan.http.connection.accept_encoding)?,
        key: given.key.as_ref().map(ApiKey::authorization),
        origin,
        data: data.collect(),
        files: given.materials.files.clone(),
        first,
        scenario: plan.scenarios[scenario].name.clone(),
        seed: plan.seed ^ ((scenario as u64) << 32),
        parts: StepPublishers::of(plan, scenario, steps, given),
    })
}

/// The series of a publish, from its first on.
pub(super) fn series(first: u16) -> PublishSeries {
    let [create, upload, deploy, task, first_response, prune, delete] =
        std::array::from_fn(|at| SeriesId(first + u16::try_from(at).unwrap_or(0)));
    PublishSeries { create, upload, deploy, task, first_response, prune, delete }
}

fn publish_recipe(
    plan: &Plan,
    publish: &PublishPlan,
    first: u16,
    given: &Ingredients,
) -> anyhow::Result<publish::PublishPlan> {
    let series = series(first);
    let with_key = publish.with_key;
    let into = match &publish.guid {
        Some(guid) => PublishInto::One { guid: guid.clone(), with_key },
        None => PublishInto::New {
            prefix: publish.name.clone(),
            description: description(&plan.run_id),
            access: if with_key { Access::WithKey } else { Access::Everyone },
            first_number: 1,
            number_step: 1,
            lasts: Lasts::Publish,
            variables: Vec::new(),
        },
    };
    Ok(publish::PublishPlan {
        series,
        base_path: given.base_path.clone(),
        key: given.key.clone().ok_or_else(|| anyhow!("there is no key to publish with"))?,
        bundle: given.bundle.clone(),
        into,
        first_path: publish.path.clone(),
        timeouts: PublishTimeouts {
            request: publish.timeout,
            task: publish.deploy_timeout,
            ..PublishTimeouts::default()
        },
        seed: plan.seed,
    })
}

/// A VU whose program cannot be made does nothing; [`Kitchen::new`] has made one of each, so none is.
struct Idle;

impl Program for Idle {
    fn next(
        &mut self,
        _now: Duration,
        _last: Option<crate::engine::program::Outcome<'_>>,
        _notes: &mut crate::engine::program::Notes,
    ) -> crate::engine::program::Action {
        crate::engine::program::Action::Wait(Duration::from_secs(1))
    }
}

impl Programs for Kitchen {
    fn program(&self, scenario: usize, vu: u32) -> Box<dyn Program> {
        match &self.scenarios[scenario] {
            Recipe::Fetch(fetch) => Box::new(Fetch::new(Rc::new(fetch.as_ref().clone()))),
            Recipe::Steps(recipe) => Box::new(Steps::new(recipe.clone(), vu)),
            Recipe::Publish(plan) => {
                let plan = publish::PublishPlan { seed: self.seed ^ u64::from(vu), ..plan.as_ref().clone() };
                PublishLoop::new(plan).map_or_else(|_| Box::new(Idle) as Box<dyn Program>, |program| Box::new(program))
            }
        }
    }
}
