//! Names become addresses: looked up once in a while, one chosen for each new connection. Never for each request.
//!
//! A worker has one of these, so that nothing is locked. It asks for one name only, the one that a run connects to, so
//! what it keeps is bounded by what one answer holds; and it never has more than [`MOST_LOOKUPS`] questions open.

use std::cell::{Cell, RefCell};
use std::future::Future;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use rand::rngs::SmallRng;
use rand::{RngExt as _, SeedableRng as _};
use tokio::sync::Semaphore;
use tokio::time::Instant;

use super::dial::DialFault;
use crate::connection_options::{ConnectionOptions, DnsOptions, Select, Ttl};
use crate::outcome::ErrorKind;

/// Most questions that are open at a time where every connection asks its own (`ttl=0`); otherwise one is enough.
const MOST_LOOKUPS: usize = 16;
/// Addresses that nobody could connect to are asked for anew, but no sooner than this after the last time.
const LEAST_AGE: Duration = Duration::from_secs(1);
/// Most addresses of one answer that are used.
const MOST_ADDRESSES: usize = 256;

/// Who is asked for addresses.
pub(super) trait Lookup {
    /// The addresses of a name, in the order of the answer.
    fn lookup(&self, host: &str) -> impl Future<Output = io::Result<Vec<IpAddr>>>;
}

/// The system: its name servers and its file of hosts.
pub(super) struct System;

impl Lookup for System {
    async fn lookup(&self, host: &str) -> io::Result<Vec<IpAddr>> {
        let found = tokio::net::lookup_host((host, 0)).await?;
        Ok(found.map(|address| address.ip()).collect())
    }
}

/// The addresses of one name and port.
pub(super) struct Resolver<L> {
    host: String,
    port: u16,
    /// Nobody has to be asked: an address was written, or `hosts` gives one.
    fixed: Option<SocketAddr>,
    dns: DnsOptions,
    lookup: L,
    gate: Semaphore,
    known: RefCell<Option<(Instant, Vec<IpAddr>)>>,
    turn: Cell<usize>,
    random: RefCell<SmallRng>,
}

impl<L: Lookup> Resolver<L> {
    /// For a host (a name, or an address without brackets) and port. `seed` is of the random choice, and where the round
    /// begins.
    pub(super) fn new(host: &str, port: u16, options: &ConnectionOptions, seed: u64, lookup: L) -> Resolver<L> {
        let given = host.parse().ok().map(|ip| SocketAddr::new(ip, port));
        let several = options.dns.ttl == Ttl::For(Duration::ZERO);
        Resolver {
            host: host.to_owned(),
            port,
            fixed: options.hosts.get(host, port).or(given),
            dns: options.dns,
            lookup,
            gate: Semaphore::new(if several { MOST_LOOKUPS } else { 1 }),
            known: RefCell::new(None),
            turn: Cell::new(usize::try_from(seed % 0xffff).unwrap_or(0)),
            random: RefCell::new(SmallRng::seed_from_u64(seed)),
        }
    }

    /// Where a new connection goes: the chosen address, and behind it, where there is a second family to fall back on, one
    /// of that. Only of the family of `source`, where connections come from an address of our choice.
    pub(super) async fn choose(&self, source: Option<IpAddr>) -> Result<Vec<SocketAddr>, DialFault> {
        let of_family = |ip: &IpAddr| source.is_none_or(|source| source.is_ipv4() == ip.is_ipv4());
        if let Some(fixed) = self.fixed {
            return if of_family(&fixed.ip()) { Ok(vec![fixed]) } else { Err(none_of_family()) };
        }
        let found = self.addresses().await?;
        let usable: Vec<IpAddr> = found.iter().copied().filter(of_family).collect();
        if usable.is_empty() && !found.is_empty() {
            return Err(none_of_family());
        }
        let (wanted, others) = self.dns.policy.sort(&usable);
        let chosen: Vec<SocketAddr> = [self.one_of(&wanted), self.one_of(&others)].into_iter().flatten().collect();
        if chosen.is_empty() {
            let detail = "the name has no address of the family that `dns` wants".to_owned();
            return Err(DialFault { kind: ErrorKind::Dns, detail });
        }
        Ok(chosen)
    }

    /// Nobody could be connected to: the addresses may have changed.
    pub(super) fn forget(&self) {
        let mut known = self.known.borrow_mut();
        if self.dns.ttl != Ttl::Forever && known.as_ref().is_some_and(|(at, _)| at.elapsed() >= LEAST_AGE) {
            *known = None;
        }
    }

    fn one_of(&self, addresses: &[IpAddr]) -> Option<SocketAddr> {
        let most = addresses.len();
        let at = match self.dns.select {
            _ if most < 2 => 0,
            Select::First => 0,
            Select::Random => self.random.borrow_mut().random_range(0..most),
            Select::RoundRobin => {
                let turn = self.turn.get();
                self.turn.set(turn.wrapping_add(1));
                turn % most
            }
        };
        addresses.get(at).map(|ip| SocketAddr::new(*ip, self.port))
    }

    fn fresh(&self) -> Option<Vec<IpAddr>> {
        let known = self.known.borrow();
        known.as_ref().filter(|(at, _)| self.dns.ttl.covers(at.elapsed())).map(|(_, addresses)| addresses.clone())
    }

    async fn addresses(&self) -> Result<Vec<IpAddr>, DialFault> {
        if let Some(fresh) = self.fresh() {
            return Ok(fresh);
        }
        // Those who come while it is being asked wait for the answer instead of asking, too. Never closed: no error.
        let _turn = self.gate.acquire().await;
        if let Some(fresh) = self.fresh() {
            return Ok(fresh);
        }
        let found = self.lookup.lookup(&self.host).await;
        let mut found = found.map_err(|e| DialFault { kind: ErrorKind::Dns, detail: e.to_string() })?;
        found.truncate(MOST_ADDRESSES);
        if found.is_empty() {
            return Err(DialFault { kind: ErrorKind::Dns, detail: "the name has no address".to_owned() });
        }
        *self.known.borrow_mut() = Some((Instant::now(), found.clone()));
        Ok(found)
    }
}

fn none_of_family() -> DialFault {
    let detail = "the server has no address of the family of the local one".to_owned();
    DialFault { kind: ErrorKind::Connect, detail }
}

#[cfg(test)]
mod tests {
    use std::rc::Rc;

    use tokio::runtime::{Builder, LocalOptions};

    use super::*;

    /// Answers after a second, and counts.
    struct Told {
        answer: RefCell<Vec<IpAddr>>,
        asked: Cell<u32>,
        open: Cell<usize>,
        most_open: Cell<usize>,
    }

    impl Lookup for Rc<Told> {
        async fn lookup(&self, host: &str) -> io::Result<Vec<IpAddr>> {
            assert_eq!(host, "connect.example");
            self.asked.set(self.asked.get() + 1);
            self.open.set(self.open.get() + 1);
            self.most_open.set(self.most_open.get().max(self.open.get()));
            tokio::time::sleep(Duration::from_secs(1)).await;
            self.open.set(self.open.get() - 1);
            match self.answer.borrow().as_slice() {
                [] => Err(io::Error::other("no such name")),
                answer => Ok(answer.to_vec()),
            }
        }
    }

    fn made(dns: &str, answer: &[&str]) -> (Rc<Told>, Rc<Resolver<Rc<Told>>>) {
        let answer = RefCell::new(answer.iter().map(|ip| ip.parse().unwrap()).collect());
        let told = Rc::new(Told { answer, asked: Cell::new(0), open: Cell::new(0), most_open: Cell::new(0) });
        let options = ConnectionOptions { dns: dns.parse().unwrap(), ..ConnectionOptions::default() };
        (told.clone(), Rc::new(Resolver::new("connect.example", 80, &options, 0, told)))
    }

    fn in_virtual_time<F: Future>(future: F) -> F::Output {
        let runtime =
            Builder::new_current_thread().enable_time().start_paused(true).build_local(LocalOptions::default());
        runtime.unwrap().block_on(future)
    }

    async fn first(resolver: &Resolver<Rc<Told>>) -> String {
        resolver.choose(None).await.unwrap()[0].to_string()
    }

    #[test]
    fn one_question_for_all_until_its_answer_is_old() {
        in_virtual_time(async {
            let (told, resolver) = made("ttl=10s", &["10.0.0.1"]);
            let all: Vec<_> = (0..50)
                .map(|_| {
                    let resolver = resolver.clone();
                    tokio::task::spawn_local(async move { first(&resolver).await })
                })
                .collect();
            for one in all {
                assert_eq!(one.await.unwrap(), "10.0.0.1:80");
            }
            tokio::time::sleep(Duration::from_millis(9_900)).await;
            first(&resolver).await;
            assert_eq!(told.asked.get(), 1);
            *told.answer.borrow_mut() = vec!["10.0.0.2".parse().unwrap()];
            tokio::time::sleep(Duration::from_millis(100)).await;
            assert_eq!(first(&resolver).await, "10.0.0.2:80");
            assert_eq!(told.asked.get(), 2);
        });
    }

    #[test]
    fn without_a_ttl_each_connection_asks_but_never_too_many_at_a_time() {
        in_virtual_time(async {
            let (told, resolver) = made("ttl=0", &["10.0.0.1"]);
            let all: Vec<_> = (0..100)
                .map(|_| {
                    let resolver = resolver.clone();
                    tokio::task::spawn_local(async move { first(&resolver).await })
                })
                .collect();
            for one in all {
                one.await.unwrap();
            }
            assert_eq!((told.asked.get(), told.most_open.get()), (100, MOST_LOOKUPS));
        });
    }

    #[test]
    fn forever_is_forever_and_a_fault_is_asked_about_again() {
        in_virtual_time(async {
            let (told, resolver) = made("ttl=inf", &[]);
            assert_eq!(resolver.choose(None).await.unwrap_err().kind, ErrorKind::Dns);
            told.answer.borrow_mut().push("10.0.0.1".parse().unwrap());
            first(&resolver).await;
            tokio::time::sleep(Duration::from_secs(1_000_000)).await;
            resolver.forget();
            first(&resolver).await;
            assert_eq!(told.asked.get(), 2);
        });
    }

    #[test]
    fn where_nobody_could_connect_it_asks_again_but_once_a_second() {
        in_virtual_time(async {
            let (told, resolver) = made("ttl=5m", &["10.0.0.1"]);
            for _ in 0..10 {
                first(&resolver).await;
                resolver.forget();
            }
            assert_eq!(told.asked.get(), 1);
            tokio::time::sleep(LEAST_AGE).await;
            resolver.forget();
            first(&resolver).await;
            assert_eq!(told.asked.get(), 2);
        });
    }

    #[test]
    fn addresses_are_chosen_as_asked() {
        in_virtual_time(async {
            let answer = ["fd00::1", "10.0.0.1", "10.0.0.2", "10.0.0.3"];
            let (_, resolver) = made("select=roundRobin", &answer);
            let mut seen = Vec::new();
            for _ in 0..6 {
                seen.push(first(&resolver).await);
            }
            let round = ["10.0.0.1:80", "10.0.0.2:80", "10.0.0.3:80"];
            assert_eq!(seen, [round, round].concat());
            let (_, resolver) = made("select=first,policy=any", &answer);
            assert_eq!(resolver.choose(None).await.unwrap(), ["[fd00::1]:80".parse().unwrap()]);
            let (_, resolver) = made("select=first", &answer);
            let both: Vec<SocketAddr> = vec!["10.0.0.1:80".parse().unwrap(), "[fd00::1]:80".parse().unwrap()];
            assert_eq!(resolver.choose(None).await.unwrap(), both);
            let (_, resolver) = made("select=random", &answer);
            let mut counts = std::collections::BTreeMap::new();
            for _ in 0..3000 {
                *counts.entry(first(&resolver).await).or_insert(0) += 1;
            }
            assert!(counts.len() == 3 && counts.values().all(|n| (900..1100).contains(n)), "{counts:?}");
        });
    }

    #[test]
    fn a_local_address_decides_the_family() {
        in_virtual_time(async {
            let (_, resolver) = made("select=first", &["10.0.0.1", "fd00::1"]);
            let six = Some("::1".parse().unwrap());
            assert_eq!(resolver.choose(six).await.unwrap(), ["[fd00::1]:80".parse().unwrap()]);
            let (_, resolver) = made("policy=onlyIPv4", &["fd00::1"]);
            assert_eq!(resolver.choose(None).await.unwrap_err().kind, ErrorKind::Dns);
            let (_, resolver) = made("policy=any", &["10.0.0.1"]);
            assert_eq!(resolver.choose(six).await.unwrap_err().kind, ErrorKind::Connect);
        });
    }

    #[test]
    fn a_given_address_is_asked_nobody_about() {
        in_virtual_time(async {
            let (told, _) = made("ttl=0", &["10.0.0.1"]);
            let hosts = "*.example=127.0.0.9:81".parse().unwrap();
            let options = ConnectionOptions { hosts, ..ConnectionOptions::default() };
            let resolver = Resolver::new("connect.example", 80, &options, 0, told.clone());
            assert_eq!(resolver.choose(None).await.unwrap(), ["127.0.0.9:81".parse().unwrap()]);
            let resolver = Resolver::new("::1", 80, &ConnectionOptions::default(), 0, told.clone());
            assert_eq!(resolver.choose(None).await.unwrap(), ["[::1]:80".parse().unwrap()]);
            assert_eq!(told.asked.get(), 0);
        });
    }
}
