//! The balancer in front of the nodes: which node answers, and the affinity cookie that says so to the client.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};

use axum::http::{HeaderMap, HeaderValue, header};
use md5::{Digest as _, Md5};

/// What is in front of the nodes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum BalancerKind {
    /// Nothing: requests go round the nodes without affinity.
    #[default]
    None,
    /// Azure Application Gateway: one cookie, a stable hash of the node, and its CORS twin.
    AppGw,
    /// AWS Application Load Balancer: a cookie that is issued anew with every response, and its CORS twin.
    Alb,
}

impl std::str::FromStr for BalancerKind {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match text {
            "none" => Ok(Self::None),
            "appgw" => Ok(Self::AppGw),
            "alb" => Ok(Self::Alb),
            _ => Err(format!("no balancer `{text}`; there are none, appgw, alb")),
        }
    }
}

/// Where a request goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Pick {
    pub(super) node: usize,
    /// Whether the client has to be told so.
    pub(super) tell: bool,
}

/// The balancer's state.
#[derive(Debug)]
pub(super) struct Balancer {
    kind: BalancerKind,
    /// What the cookie says of each node.
    marks: Vec<String>,
    healthy: Vec<AtomicBool>,
    turn: AtomicU64,
    nonce: AtomicU64,
}

const APPGW: &str = "ApplicationGatewayAffinity";
const ALB: &str = "AWSALB";
/// Digits of the nonce at the start of an ALB cookie.
const NONCE_DIGITS: usize = 16;

impl Balancer {
    /// A balancer before that many nodes, all healthy. `seed` makes the cookies of two sandboxes differ.
    pub(super) fn new(kind: BalancerKind, nodes: usize, seed: u64) -> Self {
        Self {
            kind,
            marks: (0..nodes).map(|node| hex_md5(&format!("node {node} of {seed}"))).collect(),
            healthy: (0..nodes).map(|_| AtomicBool::new(true)).collect(),
            turn: AtomicU64::new(0),
            nonce: AtomicU64::new(1),
        }
    }

    /// Chooses a node; `None` when the balancer knows of none that would answer.
    pub(super) fn pick(&self, headers: &HeaderMap) -> Option<Pick> {
        let bound = match self.kind {
            BalancerKind::None => None,
            BalancerKind::AppGw => cookie(headers, APPGW).and_then(|value| self.marks.iter().position(|m| m == value)),
            BalancerKind::Alb => cookie(headers, ALB).and_then(|value| self.read_alb(value)),
        };
        if let Some(node) = bound.filter(|&node| self.is_healthy(node)) {
            return Some(Pick { node, tell: self.kind == BalancerKind::Alb });
        }
        self.next_in_turn().map(|node| Pick { node, tell: self.kind != BalancerKind::None })
    }

    /// The `Set-Cookie` headers that bind a client to a node.
    pub(super) fn tell(&self, node: usize, headers: &mut HeaderMap) {
        let Some(mark) = self.marks.get(node) else { return };
        let cookies = match self.kind {
            BalancerKind::None => return,
            BalancerKind::AppGw => {
                [format!("{APPGW}={mark}; Path=/"), format!("{APPGW}CORS={mark}; Path=/; SameSite=None; Secure")]
            }
            BalancerKind::Alb => {
                let nonce = format!("{:016x}", self.nonce.fetch_add(1, Relaxed).wrapping_mul(0x9e37_79b9_7f4a_7c15));
                let value = format!("{nonce}{}", hex_md5(&format!("{nonce}{mark}")));
                let expires = expires_in_a_week();
                [
                    format!("{ALB}={value}; Expires={expires}; Path=/"),
                    format!("{ALB}CORS={value}; Expires={expires}; Path=/; SameSite=None; Secure"),
                ]
            }
        };
        for cookie in cookies {
            if let Ok(value) = HeaderValue::from_str(&cookie) {
                headers.append(header::SET_COOKIE, value);
            }
        }
    }

    /// The result of a health check.
    pub(super) fn checked(&self, node: usize, healthy: bool) {
        if let Some(state) = self.healthy.get(node) {
            state.store(healthy, Relaxed);
        }
    }

    /// Whether this balancer looks after its nodes at all.
    pub(super) fn checks_health(&self) -> bool {
        self.kind != BalancerKind::None
    }

    /// Whether the last check of a node went well.
    pub(super) fn is_healthy(&self, node: usize) -> bool {
        self.healthy.get(node).is_some_and(|state| state.load(Relaxed))
    }

    fn next_in_turn(&self) -> Option<usize> {
        let nodes = self.healthy.len().max(1);
        let turn = usize::try_from(self.turn.fetch_add(1, Relaxed) % nodes as u64).unwrap_or(0);
        let found = (0..nodes).map(|step| (turn + step) % nodes).find(|&node| self.is_healthy(node));
        // The ALB fails open: with no healthy target it tries them all. The gateway answers 502.
        found.or((self.kind != BalancerKind::AppGw).then_some(turn))
    }

    fn read_alb(&self, value: &str) -> Option<usize> {
        let (nonce, sealed) = value.split_at_checked(NONCE_DIGITS)?;
        self.marks.iter().position(|mark| hex_md5(&format!("{nonce}{mark}")) == sealed)
    }
}

/// The value of a cookie that the client sent.
fn cookie<'h>(headers: &'h HeaderMap, name: &str) -> Option<&'h str> {
    headers
        .get_all(header::COOKIE)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|line| line.split(';'))
        .filter_map(|pair| pair.trim().split_once('='))
        .find_map(|(key, value)| (key == name).then_some(value))
}

fn hex_md5(text: &str) -> String {
    Md5::digest(text.as_bytes()).iter().map(|byte| format!("{byte:02x}")).collect()
}

fn expires_in_a_week() -> String {
    let then = jiff::Timestamp::now() + jiff::SignedDuration::from_hours(7 * 24);
    then.strftime("%a, %d %b %Y %H:%M:%S GMT").to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn with_cookies(balancer: &Balancer, node: usize) -> HeaderMap {
        let mut told = HeaderMap::new();
        balancer.tell(node, &mut told);
        let pairs: Vec<&str> =
            told.get_all(header::SET_COOKIE).iter().map(|v| v.to_str().unwrap().split(';').next().unwrap()).collect();
        let mut headers = HeaderMap::new();
        headers.insert(header::COOKIE, pairs.join("; ").parse().unwrap());
        headers
    }

    #[test]
    fn without_a_cookie_requests_go_round() {
        for kind in [BalancerKind::None, BalancerKind::AppGw, BalancerKind::Alb] {
            let balancer = Balancer::new(kind, 3, 1);
            let nodes: Vec<usize> = (0..6).map(|_| balancer.pick(&HeaderMap::new()).unwrap().node).collect();
            assert_eq!(nodes, [0, 1, 2, 0, 1, 2]);
        }
    }

    #[test]
    fn the_gateway_says_it_once_and_the_same_each_time() {
        let balancer = Balancer::new(BalancerKind::AppGw, 2, 1);
        assert!(balancer.pick(&HeaderMap::new()).unwrap().tell);
        let headers = with_cookies(&balancer, 1);
        assert_eq!(balancer.pick(&headers), Some(Pick { node: 1, tell: false }));
        assert_eq!(headers, with_cookies(&balancer, 1));
    }

    #[test]
    fn the_alb_says_it_every_time_in_other_words() {
        let balancer = Balancer::new(BalancerKind::Alb, 2, 1);
        let (first, second) = (with_cookies(&balancer, 1), with_cookies(&balancer, 1));
        assert_ne!(first, second);
        for headers in [first, second] {
            assert_eq!(balancer.pick(&headers), Some(Pick { node: 1, tell: true }));
        }
    }

    #[test]
    fn a_client_of_an_unhealthy_node_is_moved_and_told() {
        let balancer = Balancer::new(BalancerKind::AppGw, 2, 1);
        let headers = with_cookies(&balancer, 1);
        balancer.checked(1, false);
        assert_eq!(balancer.pick(&headers), Some(Pick { node: 0, tell: true }));
        balancer.checked(0, false);
        assert_eq!(balancer.pick(&headers), None);
        let alb = Balancer::new(BalancerKind::Alb, 2, 1);
        alb.checked(0, false);
        alb.checked(1, false);
        assert!(alb.pick(&HeaderMap::new()).is_some());
    }

    #[test]
    fn a_cookie_of_someone_else_binds_nobody() {
        for kind in [BalancerKind::AppGw, BalancerKind::Alb] {
            let (ours, theirs) = (Balancer::new(kind, 2, 1), Balancer::new(kind, 2, 2));
            assert!(ours.pick(&with_cookies(&theirs, 1)).unwrap().tell);
        }
        assert!("nginx".parse::<BalancerKind>().is_err());
    }
}
