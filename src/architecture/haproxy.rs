//! HAProxy as the clouds' load balancers: its configuration, and the socket through which it is asked and told.

use std::fmt::Write as _;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use sha2::{Digest as _, Sha256};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::UnixStream;

use super::process::find;
use super::spec::{Architecture, Kind};
use super::{Fault, io};

/// The pool of nodes.
const POOL: &str = "nodes";
const ANSWER_WITHIN: Duration = Duration::from_secs(5);
/// Digits of an Application Gateway cookie.
const MARK_DIGITS: usize = 32;

/// Where it is.
///
/// # Errors
/// Where it is not installed.
pub fn program() -> Result<PathBuf, Fault> {
    find("haproxy").ok_or_else(|| Fault::Missing { program: "HAProxy".to_owned(), package: "haproxy" })
}

/// Where everything is that its configuration names.
#[derive(Debug)]
pub struct Layout<'a> {
    /// Where it listens.
    pub listen: SocketAddr,
    /// Certificate and key, where it speaks TLS.
    pub certificate: Option<PathBuf>,
    /// Its socket and what else it has are here.
    pub root: &'a Path,
    /// Where the nodes are, in order.
    pub nodes: &'a [SocketAddr],
    /// Makes the cookies of two architectures differ.
    pub salt: &'a str,
}

/// The page that it answers instead of its own 503: what both clouds say when there is no answer from a node.
pub const BAD_GATEWAY: &str = "HTTP/1.1 502 Bad Gateway\r\nContent-Type: text/html\r\nCache-Control: no-cache\r\n\
                               Content-Length: 50\r\n\r\n<html><body><h1>502 Bad Gateway</h1></body></html>";

/// The configuration for an architecture.
#[must_use]
pub fn config(architecture: &Architecture, layout: &Layout<'_>) -> String {
    let mut text = general(architecture, layout);
    let alb = architecture.balancer.kind == Kind::Alb;
    let tls = layout.certificate.as_ref().map(|pem| format!(" ssl crt {} alpn h2,http/1.1", pem.display()));
    let scheme = if tls.is_some() { "https" } else { "http" };
    let _ = write!(
        text,
        "\nfrontend public\n    bind {}{}\n    http-request set-header X-Forwarded-Proto {scheme}\n    option forwardfor\n    \
         # Connect has its metrics on a port of their own.\n    http-request deny deny_status 404 if {{ path /metrics }}\n",
        layout.listen,
        tls.unwrap_or_default(),
    );
    if alb {
        let _ = writeln!(text, "    # Fails open: with no healthy node all are tried.");
        let _ = writeln!(text, "    use_backend failopen if {{ nbsrv({POOL}) eq 0 }}");
    }
    let _ = writeln!(text, "    default_backend {POOL}");
    let balancer = &architecture.balancer;
    let check = format!(
        " check inter {}ms fall {} rise {}",
        balancer.health_interval.as_millis(),
        balancer.unhealthy,
        balancer.healthy
    );
    text.push_str(&pool(POOL, balancer.kind, layout, &check));
    if alb {
        text.push_str(&pool("failopen", balancer.kind, layout, ""));
    }
    text
}

fn general(architecture: &Architecture, layout: &Layout<'_>) -> String {
    let root = layout.root.display();
    let timeout = architecture.balancer.timeout.as_millis();
    let log = if architecture.balancer.log_all { "" } else { "    option dontlog-normal\n" };
    format!(
        "# Written by connect-bench for `{}`.\nglobal\n    stats socket {root}/haproxy.sock mode 600 level admin\n    \
         log stdout format raw local0 info\n    ssl-default-bind-options ssl-min-ver TLSv1.2\n\n\
         defaults\n    mode http\n    log global\n{log}    log-format \"request %ST %s %tsc %Ta %{{+Q}}r\"\n    \
         timeout connect 1s\n    timeout client 60s\n    timeout server {timeout}ms\n    timeout http-keep-alive 60s\n    \
         timeout check 5s\n    # As the clouds do: a request that a node did not answer is not sent to another one.\n    \
         retries 0\n    errorfile 503 {root}/502.http\n",
        architecture.name
    )
}

fn pool(name: &str, kind: Kind, layout: &Layout<'_>, check: &str) -> String {
    let mut text = format!("\nbackend {name}\n    balance roundrobin\n");
    if !check.is_empty() {
        let _ = write!(
            text,
            "    option httpchk\n    http-check send meth GET uri /__ping__\n    http-check expect status 200-399\n"
        );
    }
    match kind {
        Kind::Appgw => {
            let _ = writeln!(text, "    http-request set-var(txn.affinity) req.cook(ApplicationGatewayAffinity)");
            let _ = writeln!(text, "    cookie ApplicationGatewayAffinity insert indirect nocache");
            for n in 1..=layout.nodes.len() {
                let mark = mark(layout.salt, n);
                let _ = writeln!(
                    text,
                    "    http-response add-header Set-Cookie \"ApplicationGatewayAffinityCORS={mark}; Path=/; SameSite=None; \
                     Secure\" if {{ srv_name n{n} }} !{{ var(txn.affinity) -m str {mark} }}"
                );
            }
        }
        Kind::Alb => {
            let value = "%[rand(1000000000),base64]-%[srv_name,base64]; Expires=%[date(604800),http_date]; Path=/";
            let _ = writeln!(text, "    http-response add-header Set-Cookie \"AWSALB={value}\"");
            let _ =
                writeln!(text, "    http-response add-header Set-Cookie \"AWSALBCORS={value}; SameSite=None; Secure\"");
            for n in 1..=layout.nodes.len() {
                let suffix = STANDARD.encode(format!("n{n}"));
                let _ = writeln!(text, "    use-server n{n} if {{ req.cook(AWSALB) -m end -- -{suffix} }}");
            }
        }
    }
    for (n, node) in (1..).zip(layout.nodes) {
        let cookie = if kind == Kind::Appgw { format!(" cookie {}", mark(layout.salt, n)) } else { String::new() };
        let _ = writeln!(text, "    server n{n} {node}{cookie}{check}");
    }
    text
}

/// What the gateway's cookie says of a node: the same each time.
#[must_use]
pub fn mark(salt: &str, node: usize) -> String {
    let hash = Sha256::digest(format!("{salt}/{node}"));
    hash.iter().map(|byte| format!("{byte:02x}")).collect::<String>()[..MARK_DIGITS].to_owned()
}

/// What the balancer says of a node.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Server {
    /// `UP`, `DOWN`, `DRAIN`, …
    pub status: String,
    /// Requests that it was given.
    pub requests: u64,
    /// Answers by hundreds: 1xx to 5xx.
    pub answers: [u64; 5],
}

/// Says something to it, and returns what it says.
///
/// # Errors
/// Where it is not there.
pub async fn tell(root: &Path, command: &str) -> Result<String, Fault> {
    let said = tokio::time::timeout(ANSWER_WITHIN, async {
        let mut socket = UnixStream::connect(root.join("haproxy.sock")).await?;
        socket.write_all(format!("{command}\n").as_bytes()).await?;
        let mut answer = String::new();
        socket.read_to_string(&mut answer).await.map(|_| answer)
    });
    let late = |_elapsed| std::io::Error::from(std::io::ErrorKind::TimedOut);
    said.await.map_err(late).flatten().map_err(io("speak to the balancer"))
}

/// Has a node get no new sessions, or again.
///
/// # Errors
/// Where the balancer does not do it.
pub async fn drain(root: &Path, node: u8, drains: bool) -> Result<(), Fault> {
    let state = if drains { "drain" } else { "ready" };
    let said = tell(root, &format!("set server {POOL}/n{node} state {state}")).await?;
    if said.trim().is_empty() { Ok(()) } else { Err(Fault::Asked(format!("the balancer says: {}", said.trim()))) }
}

/// What it says of each node.
///
/// # Errors
/// Where it is not there.
pub async fn servers(root: &Path) -> Result<Vec<Server>, Fault> {
    Ok(read_stats(&tell(root, "show stat").await?))
}

/// Reads `show stat`: CSV with its names in the first line.
fn read_stats(csv: &str) -> Vec<Server> {
    let mut lines = csv.trim_start_matches("# ").lines();
    let names: Vec<&str> = lines.next().unwrap_or_default().split(',').collect();
    let row = |line: &str| {
        let values: Vec<&str> = line.split(',').collect();
        let value = |name: &str| {
            names.iter().position(|known| *known == name).and_then(|at| values.get(at)).copied().unwrap_or_default()
        };
        let number = |name: &str| value(name).parse().unwrap_or(0);
        (value("pxname") == POOL && !["FRONTEND", "BACKEND"].contains(&value("svname"))).then(|| Server {
            status: value("status").to_owned(),
            requests: number("stot"),
            answers: ["hrsp_1xx", "hrsp_2xx", "hrsp_3xx", "hrsp_4xx", "hrsp_5xx"].map(number),
        })
    };
    lines.filter_map(row).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn written(name: &str, tls: bool) -> String {
        let architecture = Architecture::find(name).unwrap();
        let nodes: Vec<SocketAddr> =
            (1..=u16::from(architecture.nodes.count)).map(|n| ([127, 0, 0, 1], 7000 + n).into()).collect();
        let layout = Layout {
            listen: ([127, 0, 0, 1], 7443).into(),
            certificate: tls.then(|| PathBuf::from("/x/haproxy.pem")),
            root: Path::new("/x"),
            nodes: &nodes,
            salt: "salt",
        };
        config(&architecture, &layout)
    }

    #[test]
    fn the_gateway_says_its_cookie_once_and_the_balancer_each_time() {
        let gateway = written("azure-load-balanced", true);
        let (one, two) = (mark("salt", 1), mark("salt", 2));
        assert_ne!(one, two);
        assert!(gateway.contains(&format!("server n2 127.0.0.1:7002 cookie {two} check inter 1000ms fall 3 rise 1")));
        assert!(gateway.contains("bind 127.0.0.1:7443 ssl crt /x/haproxy.pem") && !gateway.contains("failopen"));
        let alb = written("aws-single-server-robust", false);
        assert!(
            alb.contains("use_backend failopen")
                && alb.contains("use-server n1 if { req.cook(AWSALB) -m end -- -bjE= }")
        );
        assert!(alb.contains("    bind 127.0.0.1:7443\n") && !alb.contains("ApplicationGateway"));
    }

    #[test]
    fn the_page_is_as_long_as_it_says() {
        let (head, body) = BAD_GATEWAY.split_once("\r\n\r\n").unwrap();
        assert!(head.ends_with(&format!("Content-Length: {}", body.len())), "{}", body.len());
    }

    /// Where it is installed, HAProxy itself has to take it.
    #[test]
    fn haproxy_takes_both() {
        let Ok(program) = program() else { return };
        let place = tempfile::tempdir().unwrap();
        std::fs::write(place.path().join("502.http"), BAD_GATEWAY).unwrap();
        for name in ["azure-load-balanced", "aws-single-server-robust"] {
            let text = written(name, false).replace("/x/", &format!("{}/", place.path().display()));
            let file = place.path().join("haproxy.cfg");
            std::fs::write(&file, text).unwrap();
            let said = std::process::Command::new(&program).arg("-c").arg("-f").arg(&file).output().unwrap();
            let errors = String::from_utf8_lossy(&said.stderr);
            assert!(said.status.success() && !errors.contains("WARNING"), "{name}: {errors}");
        }
    }

    #[test]
    fn figures_by_node() {
        let csv = "# pxname,svname,status,stot,hrsp_1xx,hrsp_2xx,hrsp_3xx,hrsp_4xx,hrsp_5xx,\n\
                   public,FRONTEND,OPEN,9,,,,,,\nnodes,n1,UP,5,0,4,0,1,0,\nnodes,n2,DOWN,3,0,1,0,0,2,\n\
                   nodes,BACKEND,UP,8,,,,,,\nfailopen,n1,no check,0,0,0,0,0,0,\n\n";
        let servers = read_stats(csv);
        assert_eq!(servers.len(), 2);
        assert_eq!(servers[1], Server { status: "DOWN".to_owned(), requests: 3, answers: [0, 1, 0, 0, 2] });
    }
}
