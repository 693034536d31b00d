//! All parts together: up, what is done to them, how they are, down.

use std::fmt::Write as _;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use rustix::process::Signal;

use super::action::{Action, DatabaseAction, NodeAction, Storage};
use super::haproxy::{self, Layout};
use super::node::{Node, Recipe, log};
use super::place::{self, Place};
use super::postgres::{End, Postgres, free_port};
use super::process::{Launch, Part};
use super::spec::{Architecture, Link};
use super::{Fault, io, postgres, tls};
use crate::fault_proxy::{Faults, Proxy};

const BALANCER_WITHIN: Duration = Duration::from_secs(60);
const STOP_WITHIN: Duration = Duration::from_secs(5);
const LOOPBACK: [u8; 4] = [127, 0, 0, 1];

/// What is up to whoever starts it.
#[derive(Debug)]
pub struct Options {
    /// Our own program, which the nodes are.
    pub program: PathBuf,
    /// Where clients come in; port 0 is any free one.
    pub listen: SocketAddr,
    /// The administrator's key.
    pub key: String,
}

/// An architecture that is up.
#[derive(Debug)]
pub struct Cluster {
    // In the order in which they may go: what asks before what is asked.
    balancer: Part,
    nodes: Vec<Node>,
    database: Postgres,
    entrance: Option<Proxy>,
    architecture: Architecture,
    authority: Option<PathBuf>,
    address: SocketAddr,
    key: String,
    place: Place,
}

/// Whether everything that an architecture needs is installed.
///
/// # Errors
/// What is missing, all of it.
pub fn check_parts() -> Result<(), Fault> {
    let missing = [postgres::programs().err(), haproxy::program().err()];
    let packages: Vec<(String, &str)> = missing
        .into_iter()
        .flatten()
        .filter_map(|fault| match fault {
            Fault::Missing { program, package } => Some((program, package)),
            _ => None,
        })
        .collect();
    match packages.as_slice() {
        [] => Ok(()),
        [(program, package)] => Err(Fault::Missing { program: program.clone(), package }),
        several => {
            let programs: Vec<&str> = several.iter().map(|(program, _)| program.as_str()).collect();
            Err(Fault::Missing { program: programs.join(" and "), package: "postgresql haproxy" })
        }
    }
}

/// Programs that real content needs and that are not installed: what cannot be deployed then. The nodes say so, too,
/// when it is tried.
#[must_use]
pub fn check_runtimes() -> Vec<Fault> {
    let needed = [("python3", "python3 python3-venv"), ("Rscript", "r-base-core r-cran-plumber")];
    let missing = needed.into_iter().filter(|(program, _)| super::process::find(program).is_none());
    missing.map(|(program, package)| Fault::Missing { program: program.to_owned(), package }).collect()
}

impl Cluster {
    /// Starts it, and waits until all of it is healthy. `say` is told what is being done.
    ///
    /// # Errors
    /// Where a part is missing or does not start; those that did are ended again.
    pub async fn start(
        architecture: Architecture,
        place: Place,
        options: Options,
        mut say: impl FnMut(&str),
    ) -> Result<Cluster, Fault> {
        check_parts()?;
        say("PostgreSQL");
        let database = Postgres::start(place.root(), architecture.database.durable).await?;
        let mut nodes = Vec::new();
        for name in architecture.names() {
            nodes.push(node((&architecture, &place, &options), &database, name).await?);
        }
        say(if nodes.len() == 1 { "the node" } else { "the nodes" });
        for node in &mut nodes {
            node.begin()?;
        }
        for node in &mut nodes {
            node.ready().await?;
        }
        say("the balancer");
        let certificate = if architecture.balancer.tls { Some(tls::make(place.root())?) } else { None };
        let proxied = architecture.links.contains(&Link::GeneratorBalancer);
        let own = if proxied { (LOOPBACK, 0).into() } else { options.listen };
        let port = if own.port() == 0 { free_port().await? } else { own.port() };
        let listen = SocketAddr::new(own.ip(), port);
        let entrances: Vec<SocketAddr> = nodes.iter().map(Node::entrance).collect();
        let layout = Layout {
            listen,
            certificate: certificate.as_ref().map(|certificate| certificate.server.clone()),
            root: place.root(),
            nodes: &entrances,
            salt: &options.key,
        };
        let balancer = balance(&architecture, &layout).await?;
        let entrance = match proxied {
            true => Some(proxy(options.listen, listen).await?),
            false => None,
        };
        let address = entrance.as_ref().map_or(listen, Proxy::address);
        let (key, authority) = (options.key, certificate.map(|certificate| certificate.authority));
        Ok(Cluster { balancer, nodes, database, entrance, architecture, authority, address, key, place })
    }

    /// Where it is.
    #[must_use]
    pub fn url(&self) -> String {
        let scheme = if self.architecture.balancer.tls { "https" } else { "http" };
        let host = if self.address.ip().is_loopback() { "localhost".to_owned() } else { self.address.ip().to_string() };
        format!("{scheme}://{host}:{}", self.address.port())
    }

    /// Environment variables with which clients find it, one a line.
    #[must_use]
    pub fn environment(&self) -> String {
        let mut text = format!("CONNECT_SERVER={}\nCONNECT_API_KEY={}\n", self.url(), self.key);
        if let Some(authority) = &self.authority {
            let _ = writeln!(text, "CONNECT_CA_CERTIFICATE={}", authority.display());
        }
        let _ = writeln!(text, "CONNECT_BENCH_CLUSTER={}", place::socket(self.place.root()).display());
        text
    }

    /// Its directory.
    #[must_use]
    pub fn place(&self) -> &Place {
        &self.place
    }

    /// The authority that clients have to trust, where it speaks TLS.
    #[must_use]
    pub fn authority(&self) -> Option<&PathBuf> {
        self.authority.as_ref()
    }

    /// Does something to it, and says what there is to say.
    ///
    /// # Errors
    /// Where it cannot be done.
    pub async fn act(&mut self, action: &Action) -> Result<String, Fault> {
        match action {
            Action::Status => return Ok(self.status().await),
            Action::Down => {}
            Action::Node(action, node) => self.node(*action, *node).await?,
            Action::Database(action) => self.database(*action).await?,
            Action::Storage(storage) => self.storage(*storage).await?,
            Action::Link(link, node, faults) => self.link(*link, *node, faults)?,
        }
        Ok(String::new())
    }

    /// The process ids of the nodes, in order; none for one that does not run.
    pub fn pids(&mut self) -> Vec<Option<i32>> {
        self.nodes.iter_mut().map(Node::pid).collect()
    }

    /// Parts that ended by themselves since this was last asked.
    pub fn losses(&mut self) -> Vec<Fault> {
        let mut lost: Vec<Fault> = self.nodes.iter_mut().filter_map(|node| node.look().1).collect();
        if let Some(part) = self.database.part()
            && let Some(status) = part.ended()
        {
            lost.push(part.fault(format!("ended by itself ({status})")));
            self.database.forget();
        }
        lost
    }

    /// Whether the balancer is there: without it there is no architecture.
    ///
    /// # Errors
    /// Where it ended by itself.
    pub fn balances(&mut self) -> Result<(), Fault> {
        match self.balancer.ended() {
            None => Ok(()),
            Some(status) => Err(self.balancer.fault(format!("ended by itself ({status})"))),
        }
    }

    /// Ends everything, and leaves nothing.
    pub async fn down(mut self) {
        self.balancer.stop(Signal::TERM, STOP_WITHIN).await;
        for node in &mut self.nodes {
            // One that does not run needs no end.
            let _ = node.freeze(false);
            let _ = node.stop().await;
        }
        self.database.stop(End::Fast).await;
    }

    fn one(&mut self, number: u8) -> Result<&mut Node, Fault> {
        let count = self.nodes.len();
        let none = Fault::Asked(format!("there is no node {number}: there are {count}"));
        self.nodes.get_mut(usize::from(number) - 1).ok_or(none)
    }

    async fn node(&mut self, action: NodeAction, number: u8) -> Result<(), Fault> {
        let root = self.place.root().to_owned();
        let node = self.one(number)?;
        match action {
            NodeAction::Kill => node.kill().await,
            NodeAction::Stop => node.stop().await,
            NodeAction::Start => {
                node.begin()?;
                node.ready().await
            }
            NodeAction::Freeze => node.freeze(true),
            NodeAction::Thaw => node.freeze(false),
            NodeAction::Drain => haproxy::drain(&root, number, true).await,
            NodeAction::Ready => haproxy::drain(&root, number, false).await,
        }
    }

    async fn database(&mut self, action: DatabaseAction) -> Result<(), Fault> {
        match action {
            DatabaseAction::Kill => self.database.stop(End::Immediate).await,
            DatabaseAction::Stop => self.database.stop(End::Fast).await,
            DatabaseAction::Start => self.database.run().await?,
            DatabaseAction::Restart => {
                self.database.stop(End::Fast).await;
                self.database.run().await?;
            }
        }
        Ok(())
    }

    async fn storage(&mut self, storage: Storage) -> Result<(), Fault> {
        for node in &mut self.nodes {
            if node.pid().is_some() {
                node.storage(storage).await?;
            }
        }
        Ok(())
    }

    fn link(&mut self, link: Link, node: Option<u8>, faults: &str) -> Result<(), Fault> {
        let faults: Faults = faults.parse().map_err(Fault::Asked)?;
        let proxy = match (link, node) {
            (Link::BalancerNode, Some(node)) => self.one(node)?.link.as_ref(),
            (Link::NodeDatabase, Some(node)) => self.one(node)?.database.as_ref(),
            _ => self.entrance.as_ref(),
        };
        let name = Link::ALL.iter().find(|(_, known)| *known == link).map_or("", |(name, _)| name);
        let none = || Fault::Asked(format!("the link {name} has no fault proxy: start with --links {name}"));
        proxy.ok_or_else(none)?.set(faults);
        Ok(())
    }

    /// How everything is, as a small table.
    pub async fn status(&mut self) -> String {
        let servers = haproxy::servers(self.place.root()).await.unwrap_or_default();
        let mut text =
            format!("{:<12} {:>8}  {:<9} {:<10} {:>10}  {}\n", "part", "pid", "state", "balancer", "requests", "link");
        let pid = |pid: Option<i32>| pid.map_or_else(|| "–".to_owned(), |pid| pid.to_string());
        let faults = |proxy: Option<&Proxy>| proxy.map(|proxy| proxy.faults().to_string()).unwrap_or_default();
        let total: u64 = servers.iter().map(|server| server.requests).sum();
        let entrance = faults(self.entrance.as_ref());
        let _ = writeln!(
            text,
            "{:<12} {:>8}  {:<9} {:<10} {total:>10}  {entrance}",
            "balancer",
            self.balancer.pid(),
            "runs",
            "–"
        );
        for (at, node) in self.nodes.iter_mut().enumerate() {
            let (name, id, state) = (node.name().to_owned(), pid(node.pid()), node.look().0);
            let server = servers.get(at);
            let seen = server.map_or("–", |server| server.status.as_str());
            let requests = server.map_or(0, |server| server.requests);
            let links = format!("{} {}", faults(node.link.as_ref()), faults(node.database.as_ref()));
            let _ = writeln!(text, "{name:<12} {id:>8}  {state:<9} {seen:<10} {requests:>10}  {}", links.trim());
        }
        let database = self.database.part().map(|part| part.pid());
        let state = if database.is_some() { "runs" } else { "stopped" };
        let _ = writeln!(text, "{:<12} {:>8}  {state:<9} {:<10} {:>10}", "database", pid(database), "–", "–");
        text.lines().map(|line| format!("{}\n", line.trim_end())).collect()
    }
}

async fn proxy(listen: SocketAddr, to: SocketAddr) -> Result<Proxy, Fault> {
    Proxy::start(listen, to, Faults::default()).await.map_err(io(format!("listen on {listen}")))
}

async fn node(
    (architecture, place, options): (&Architecture, &Place, &Options),
    database: &Postgres,
    name: String,
) -> Result<Node, Fault> {
    let port = free_port().await?;
    let has = |link| architecture.links.contains(&link);
    let any = (LOOPBACK, 0).into();
    let link = if has(Link::BalancerNode) { Some(proxy(any, (LOOPBACK, port).into()).await?) } else { None };
    let to_database = match has(Link::NodeDatabase) {
        true => Some(proxy(any, (LOOPBACK, database.port()).into()).await?),
        false => None,
    };
    let database = database.url(to_database.as_ref().map_or(database.port(), |proxy| proxy.address().port()));
    let recipe = Recipe {
        program: options.program.clone(),
        log: log(place.root(), &name),
        port,
        database,
        folder: place.root().join("data"),
        temporary: place.root().join(format!("tmp-{name}")),
        key: options.key.clone(),
        args: architecture.nodes.args.clone(),
        name,
    };
    Ok(Node::new(recipe, (link, to_database)))
}

/// Starts HAProxy, and waits until it finds all nodes healthy.
async fn balance(architecture: &Architecture, layout: &Layout<'_>) -> Result<Part, Fault> {
    let root = layout.root;
    let write = |name: &str, text: &str| {
        std::fs::write(root.join(name), text).map_err(io(format!("write {}", root.join(name).display())))
    };
    write("502.http", haproxy::BAD_GATEWAY)?;
    write("haproxy.cfg", &haproxy::config(architecture, layout))?;
    let mut part = Part::start(Launch {
        name: "HAProxy".to_owned(),
        program: haproxy::program()?,
        args: ["-db".to_owned(), "-f".to_owned(), root.join("haproxy.cfg").display().to_string()].into(),
        env: Vec::new(),
        user: None,
        orphaned: "KILL",
        log: log(root, "balancer"),
    })?;
    let healthy = || async move {
        let servers = haproxy::servers(root).await.unwrap_or_default();
        servers.len() == layout.nodes.len() && servers.iter().all(|server| server.status == "UP")
    };
    part.until(BALANCER_WITHIN, healthy).await?;
    Ok(part)
}
