//! The nodes and what is in front of them: counts each request, chooses a node, and has it answered there.

use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::http::{HeaderMap, HeaderValue, Method, Request, StatusCode, header};
use axum::response::{IntoResponse as _, Response};
use hyper::body::Incoming;
use hyper::service::Service as _;
use hyper_util::service::TowerToHyperService;
use serde_json::{Value, json};

use super::api;
use super::balancer::Balancer;
use super::capacity::NodeGone;
use super::content;
use super::counts::{Class, Counts};
use super::metrics;
use super::node::{Node, Shared};
use super::reply;

/// Where the counts are. Not counted itself.
const STATS_PATH: &str = "/__sandbox__/stats";
/// Where Prometheus looks: Connect has a port of its own for it.
const METRICS_PATH: &str = "/metrics";
const PROMETHEUS: HeaderValue = HeaderValue::from_static("text/plain; version=0.0.4; charset=utf-8");
/// `POST /__sandbox__/storage/read-only`, `full` or `ok`, with an administrator's key: what the folder is like.
const STORAGE_PATH: &str = "/__sandbox__/storage/";
/// How often the balancer asks after its nodes, and how long it waits for the answer.
const HEALTH_INTERVAL: Duration = Duration::from_secs(1);
const HEALTH_TIMEOUT: Duration = Duration::from_secs(5);

/// What the `Server` header says.
pub(super) const SERVER: &str =
    concat!("connect-bench-sandbox/", env!("CARGO_PKG_VERSION"), " (stand-in, not Posit Connect)");

/// An answer on its way.
pub(super) type Answer = Pin<Box<dyn Future<Output = Result<Response, NodeGone>> + Send>>;

/// A node and its API.
#[derive(Clone)]
pub(super) struct Member {
    pub(super) node: Arc<Node>,
    api: TowerToHyperService<Router>,
}

/// All of it.
pub(super) struct Cluster {
    pub(super) members: Vec<Member>,
    balancer: Balancer,
    counts: Counts,
    shared: Arc<Shared>,
}

impl Cluster {
    /// As many nodes as the configuration says. Needs a running event loop.
    pub(super) fn new(shared: Arc<Shared>) -> std::io::Result<Self> {
        let config = &shared.config;
        let members = (0..config.nodes.max(1)).map(|index| {
            let node = Arc::new(Node::new(index, Arc::clone(&shared))?);
            Ok(Member { api: TowerToHyperService::new(api::router(Arc::clone(&node))), node })
        });
        let members: Vec<Member> = members.collect::<std::io::Result<_>>()?;
        let balancer = Balancer::new(config.balancer, members.len(), config.seed);
        Ok(Self { members, balancer, counts: Counts::default(), shared })
    }

    /// A request's head was read. Counted here, before anything can be interrupted.
    pub(super) fn call(self: &Arc<Self>, request: Request<Incoming>) -> Answer {
        let path = request.uri().path();
        if let Some(mut response) = self.own_answer(&request) {
            sign(response.headers_mut());
            return Box::pin(std::future::ready(Ok(response)));
        }
        let class = self.class_of(path);
        self.counts.request(class);
        let pick = self.balancer.pick(request.headers());
        let member = pick.and_then(|pick| self.members.get(pick.node));
        let Some((pick, member)) = pick.zip(member) else {
            return self.bad_gateway();
        };
        let node = &member.node;
        if !node.is_up() {
            if self.balancer.checks_health() {
                return self.bad_gateway();
            }
            self.counts.reset();
            return Box::pin(std::future::ready(Err(NodeGone)));
        }
        node.counts.request(class);
        let arrived_s = node.capacity.now_s();
        let (cluster, member) = (Arc::clone(self), member.clone());
        Box::pin(async move {
            let line = cluster.shared.config.log_requests.then(|| format!("{} {}", request.method(), request.uri()));
            let result = member.answer(class, request, arrived_s).await;
            member.node.durations.record(member.node.capacity.now_s() - arrived_s);
            let tell = pick.tell.then_some(pick.node);
            cluster.finish(&member.node, result, tell, line)
        })
    }

    /// What is asked of the sandbox itself, and is not counted.
    fn own_answer(&self, request: &Request<Incoming>) -> Option<Response> {
        let path = request.uri().path();
        match path {
            STATS_PATH => return Some(reply::ok(&self.stats())),
            METRICS_PATH => {
                let text = metrics::text(&self.members.first()?.node);
                return Some(reply::body(StatusCode::OK, PROMETHEUS, text.into()));
            }
            _ => {}
        }
        let state = path.strip_prefix(STORAGE_PATH)?;
        let key = api::key_of(request.headers())?;
        let may = self.shared.user_of_key(key).is_some_and(|user| user.role == "administrator");
        let known = may && request.method() == Method::POST && self.shared.bundles.behave(state);
        known.then(|| reply::ok(&json!({ "storage": state })))
    }

    /// Counts, capacity and nodes.
    pub(super) fn stats(&self) -> Value {
        let config = &self.shared.config;
        let (curve, nodes) = (config.curve, self.members.len());
        let n_sat = curve.n_sat();
        let mut json = self.counts.to_json();
        json["sandbox"] = json!(SERVER);
        json["content"] = json!(if self.shared.launcher.is_some() { "processes" } else { "simulated" });
        json["capacity"] = json!({
            "nodes": nodes,
            "curve_per_node": {
                "x_max_per_s": curve.x_max_per_s(), "r0_ms": curve.r0_s() * 1e3, "p": curve.p(),
                "kappa_s": curve.kappa_s(),
            },
            "x_max_per_node_per_s": curve.peak_per_s(),
            "n_sat_per_node": n_sat,
            "x_at_n_sat_per_node_per_s": curve.throughput(f64::from(n_sat)),
            "x_max_per_s": curve.peak_per_s() * nodes as f64,
            "n_sat": n_sat as usize * nodes,
            "x_at_n_sat_per_s": curve.throughput(f64::from(n_sat)) * nodes as f64,
            "publish_share": config.publish_share,
            "demand_cv": config.demand_cv,
            "seed": config.seed,
        });
        if self.shared.launcher.is_some() {
            // Real processes are as fast as they are.
            json["capacity"] = Value::Null;
        }
        let nodes: Vec<Value> = self
            .members
            .iter()
            .map(|member| {
                let mut json = member.node.to_json();
                json["healthy"] = json!(self.balancer.is_healthy(member.node.index));
                json
            })
            .collect();
        json["nodes"] = json!(nodes);
        json
    }

    /// The one node that clients talk to without anything in between, when there is no more than it.
    pub(super) fn only_node(&self) -> Option<&Arc<Node>> {
        match self.members.as_slice() {
            [only] if !self.balancer.checks_health() => Some(&only.node),
            _ => None,
        }
    }

    /// What the nodes share.
    pub(super) fn shared(&self) -> Arc<Shared> {
        Arc::clone(&self.shared)
    }

    /// Ends what is not ended by dropping it.
    pub(super) async fn close(&self) {
        if let Some(launcher) = &self.shared.launcher {
            launcher.close().await;
        }
        self.shared.store.close().await;
    }

    /// Asks after the nodes, for ever. These requests are the balancer's own and are not counted.
    pub(super) async fn check_health(&self) {
        if !self.balancer.checks_health() {
            return;
        }
        loop {
            for member in &self.members {
                let node = &member.node;
                let check = async {
                    node.awake().await;
                    node.is_up() && api::ping(node).status().is_success()
                };
                let healthy = tokio::time::timeout(HEALTH_TIMEOUT, check).await.unwrap_or(false);
                self.balancer.checked(node.index, healthy);
            }
            tokio::time::sleep(HEALTH_INTERVAL).await;
        }
    }

    fn class_of(&self, path: &str) -> Class {
        if path.starts_with(content::PREFIX) {
            Class::Content
        } else if path.starts_with("/__api__/") {
            Class::Api
        } else if path == api::PING_PATH {
            Class::Ping
        } else if self.shared.catalog.vanity(path).is_some() {
            Class::Content
        } else {
            Class::Other
        }
    }

    fn bad_gateway(&self) -> Answer {
        let mut response = reply::page(StatusCode::BAD_GATEWAY, "502 Bad Gateway");
        sign(response.headers_mut());
        self.counts.response(response.status().as_u16());
        Box::pin(std::future::ready(Ok(response)))
    }

    fn finish(
        &self,
        node: &Node,
        result: Result<Response, NodeGone>,
        tell: Option<usize>,
        line: Option<String>,
    ) -> Result<Response, NodeGone> {
        let Ok(mut response) = result else {
            self.counts.reset();
            node.counts.reset();
            return Err(NodeGone);
        };
        let status = response.status().as_u16();
        self.counts.response(status);
        node.counts.response(status);
        if let Some(line) = line {
            tracing::info!(target: "sandbox::requests", node = node.index + 1, status, "{line}");
        }
        if let Some(node) = tell {
            self.balancer.tell(node, response.headers_mut());
        }
        sign(response.headers_mut());
        Ok(response)
    }
}

/// Every answer says that it is not from Posit Connect.
fn sign(headers: &mut HeaderMap) {
    headers.insert(header::SERVER, HeaderValue::from_static(SERVER));
}

impl Member {
    async fn answer(&self, class: Class, request: Request<Incoming>, arrived_s: f64) -> Result<Response, NodeGone> {
        if class == Class::Content {
            return content::serve(&self.node, request, arrived_s).await;
        }
        let mut losses = self.node.losses();
        let work = async {
            self.node.awake().await;
            if class == Class::Api && self.node.shared.config.faults.html {
                return reply::page(StatusCode::OK, "Sign in");
            }
            match self.api.call(request).await {
                Ok(response) => response.map(Body::new),
                Err(never) => match never {},
            }
        };
        tokio::select! {
            // A node that went away says nothing, not even what it was about to say.
            biased;
            _ = losses.changed() => Err(NodeGone),
            response = work => Ok(response.into_response()),
        }
    }
}
