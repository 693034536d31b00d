//! The plainest of each part of a plan: what its arguments do not say is left out, or as k6 has it. Whoever wants more
//! changes fields.

use std::collections::BTreeMap;
use std::time::Duration;

use url::Url;

use super::{Executor, FetchPlan, Http1Engine, HttpPlan, Plan, ProgramPlan, PublishPlan, SCHEMA, ScenarioPlan, Target};
use crate::connection_options::ConnectionOptions;

/// How long VUs may finish what they have begun; k6 has the same default.
const GRACEFUL_STOP: Duration = Duration::from_secs(30);
/// Time-out of a request; k6 has the same default.
const TIMEOUT: Duration = Duration::from_secs(60);

impl Plan {
    /// Of a load test by one worker, without warm-up and thresholds, as long as its longest scenario.
    #[must_use]
    pub fn of(target: Target, scenarios: Vec<ScenarioPlan>) -> Plan {
        let duration = scenarios.iter().filter_map(|s| s.executor.duration()).max().unwrap_or_default();
        Plan {
            schema: SCHEMA,
            version: String::new(),
            command: "load".to_owned(),
            run_id: String::new(),
            seed: 1,
            target,
            http: HttpPlan::default(),
            workers: 1,
            warm_up: Duration::ZERO,
            duration,
            scenarios,
            thresholds: Vec::new(),
        }
    }
}

impl Target {
    /// A server of which nothing but its URL is known.
    #[must_use]
    pub fn at(url: Url) -> Target {
        Target {
            url,
            sandbox: false,
            connect_version: None,
            node: None,
            sandbox_profile: None,
            content_guid: None,
            fetch_with_key: false,
            processes: None,
        }
    }
}

impl Default for HttpPlan {
    /// Our own codec with the kernel's time stamps; no `User-Agent`.
    fn default() -> HttpPlan {
        HttpPlan {
            user_agent: String::new(),
            insecure: false,
            reset_cookies: false,
            http1_engine: Http1Engine::default(),
            kernel_timestamps: true,
            connection: ConnectionOptions::default(),
        }
    }
}

impl ScenarioPlan {
    /// A program of one step, which has the scenario's name, without pacing and tags.
    #[must_use]
    pub fn of(name: &str, executor: Executor, program: ProgramPlan) -> ScenarioPlan {
        ScenarioPlan {
            name: name.to_owned(),
            executor,
            graceful_stop: GRACEFUL_STOP,
            pacing: Duration::ZERO,
            tags: BTreeMap::new(),
            steps: vec![name.to_owned()],
            program,
        }
    }
}

impl FetchPlan {
    /// Without a key; any status from 200 to 399 will do.
    #[must_use]
    pub fn of(path: &str) -> FetchPlan {
        FetchPlan {
            path: path.to_owned(),
            with_key: false,
            statuses: Vec::new(),
            content_type: None,
            body_contains: None,
            timeout: TIMEOUT,
        }
    }
}

impl PublishPlan {
    /// Of a bundle to new content of this name, which is then fetched at `/`; a deployment may take 15 minutes.
    #[must_use]
    pub fn of(name: &str, bundle: &str) -> PublishPlan {
        PublishPlan {
            guid: None,
            name: name.to_owned(),
            bundle: bundle.to_owned(),
            bundle_md5: String::new(),
            bundle_bytes: 0,
            path: "/".to_owned(),
            with_key: true,
            timeout: TIMEOUT,
            deploy_timeout: Duration::from_secs(900),
        }
    }
}
