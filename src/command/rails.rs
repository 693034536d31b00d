//! Which safety rails a run has: by its target, its flags, and the hosts that were allowed before.

use std::time::Duration;

use anyhow::{Context as _, anyhow};
use jiff::Timestamp;

use super::failure::Failure;
use super::hosts::Hosts;
use super::target::Aim;
use crate::cli::RailsArgs;
use crate::exit::Exit;
use crate::plan::Plan;
use crate::posit_connect::{Client, ClientConfig};
use crate::rails::{Asked, CapList, Caps, Standing, Watch};
use crate::schedule::Executor;

/// Visits before that are not recent.
const RECENT: Duration = Duration::from_secs(3600);
/// From the end of one health check to the next.
const CHECK_EVERY: Duration = Duration::from_secs(5);
/// How long one may take.
const CHECK_WITHIN: Duration = Duration::from_secs(10);
/// A server whose health checks fail for so long is left alone.
const SICK_FOR: Duration = Duration::from_secs(45);

/// The safety rails of a run.
#[derive(Clone)]
pub(super) struct Rails {
    caps: Caps,
    keep_going: bool,
    /// The host, where it is not this machine and has not been allowed whatever people do there.
    guarded: Option<String>,
}

impl Rails {
    /// Before the target is known.
    pub(super) fn none() -> Rails {
        Rails { caps: Caps::NONE, keep_going: false, guarded: None }
    }

    /// Those of a target; refuses one whose name says that people work there.
    pub(super) fn of(aim: &Aim, args: &RailsArgs) -> Result<Rails, Failure> {
        let (url, loopback) = aim.place();
        let host = url.host_str().unwrap_or_default().to_owned();
        let mut list = CapList::default();
        let mut production = args.allow_production.iter().any(|name| name.eq_ignore_ascii_case(&host));
        if !loopback {
            let hosts = Hosts::read()?;
            if let Some(known) = hosts.get(&host) {
                production |= known.production;
                list.extend(&known.caps()?);
            }
        }
        args.cap.iter().for_each(|caps| list.extend(caps));
        let caps = list.over(if loopback { Caps::NONE } else { Caps::DEFAULT });
        let guarded = (!loopback && !production).then_some(host);
        let rails = Rails { caps, keep_going: args.keep_going, guarded };
        rails.guard(None, None)?;
        Ok(rails)
    }

    fn guard(&self, items: Option<u64>, visits: Option<u64>) -> Result<(), Failure> {
        let Some(host) = self.guarded.clone() else { return Ok(()) };
        let standing = Standing { host, items, visits };
        if standing.signs().is_empty() {
            return Ok(());
        }
        let host = &standing.host;
        let error = anyhow!(
            "{standing}. A load test takes it away from them. Use another server; if this one is meant, add \
             --allow-production {host}"
        );
        Err(Failure::new(Exit::Refused, error))
    }

    /// Looks at what people do on the server, before anything is made there.
    pub(super) async fn look(&self, client: &Client) -> Result<(), Failure> {
        if self.guarded.is_none() {
            return Ok(());
        }
        let now = Timestamp::now();
        let since = now.checked_sub(RECENT).context("the clock is not set")?;
        let (items, visits) = client.activity(since, now).await;
        self.guard(items, visits)
    }

    /// Refuses a run that is known to be more than is allowed.
    pub(super) fn check<'e>(
        &self,
        executors: impl Iterator<Item = &'e Executor> + Clone,
        duration: Duration,
    ) -> Result<(), Failure> {
        let vus = executors.clone().map(|executor| u64::from(executor.max_vus())).sum();
        let rate = executors.filter_map(Executor::max_rate).reduce(u64::saturating_add);
        let refused = |why: String| Failure::new(Exit::Refused, anyhow!("{why}"));
        self.caps.check(&Asked { vus, duration, rate }).map_err(refused)
    }

    /// The same of a whole plan.
    pub(super) fn check_plan(&self, plan: &Plan) -> Result<(), Failure> {
        self.check(plan.scenarios.iter().map(|scenario| &scenario.executor), plan.duration)
    }

    /// What looks at the run while it lasts.
    pub(super) fn watch(&self) -> Watch {
        Watch::new(self.caps, self.keep_going)
    }

    /// Whether the server is asked how it is.
    pub(super) fn asks(&self) -> bool {
        !self.keep_going
    }

    pub(super) fn caps(&self) -> &Caps {
        &self.caps
    }
}

/// Asks a server how it is, now and then, until it is dropped or has found out that it is not well.
pub(super) struct Health {
    task: tokio::task::JoinHandle<Client>,
    stop: tokio::sync::watch::Sender<bool>,
    found: tokio::sync::mpsc::Receiver<String>,
}

impl Health {
    /// Begins to.
    pub(super) fn start(config: &ClientConfig) -> Result<Health, Failure> {
        Health::at(config, (CHECK_EVERY, SICK_FOR))
    }

    fn at(config: &ClientConfig, (every, sick_for): (Duration, Duration)) -> Result<Health, Failure> {
        let mut config = config.clone();
        config.timeout = config.timeout.min(CHECK_WITHIN);
        let client = Client::new(config).map_err(Failure::api)?;
        let (stop, mut stopped) = tokio::sync::watch::channel(false);
        let (tell, found) = tokio::sync::mpsc::channel(1);
        let task = tokio::spawn(async move {
            let mut sick_since: Option<tokio::time::Instant> = None;
            loop {
                tokio::select! {
                    () = tokio::time::sleep(every) => {}
                    _ = stopped.changed() => return client,
                }
                let asked = tokio::time::Instant::now();
                // Not cut off: what the server has read is counted.
                match client.ping().await {
                    Ok(()) => sick_since = None,
                    Err(error) if sick_since.get_or_insert(asked).elapsed() >= sick_for => {
                        let why = format!("the server's health check fails for {} s: {error}", sick_for.as_secs());
                        // Whoever does not listen any more has stopped already.
                        let _ = tell.send(why).await;
                        return client;
                    }
                    Err(_) => {}
                }
            }
        });
        Ok(Health { task, stop, found })
    }

    /// Waits until the server was found not to be well. Can be dropped and called again.
    pub(super) async fn next(&mut self) -> String {
        match self.found.recv().await {
            Some(why) => why,
            None => std::future::pending().await,
        }
    }

    /// Ends it; returns the requests that reached the server.
    pub(super) async fn end(self) -> u64 {
        // Where it has ended by itself, nobody listens.
        let _ = self.stop.send(true);
        self.task.await.map_or(0, |client| client.counts().read().reached())
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    use tokio::net::TcpListener;

    use super::*;
    use crate::posit_connect::ServerAddress;

    /// A server that answers every request with these statuses in turn, the last one for good.
    async fn server(statuses: &'static [u16]) -> ClientConfig {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = ServerAddress::parse(&format!("http://{}/", listener.local_addr().unwrap())).unwrap();
        tokio::spawn(async move {
            let mut asked = 0;
            while let Ok((mut stream, _)) = listener.accept().await {
                let mut request = [0; 4096];
                let _ = stream.read(&mut request).await;
                let status = statuses[asked.min(statuses.len() - 1)];
                asked += 1;
                let head = "content-type: application/json\r\ncontent-length: 2\r\nconnection: close";
                let _ = stream.write_all(format!("HTTP/1.1 {status} X\r\n{head}\r\n\r\n{{}}").as_bytes()).await;
            }
        });
        ClientConfig::new(address, None)
    }

    #[tokio::test]
    async fn a_server_that_is_sick_for_long_is_found_out_and_one_that_recovers_is_not() {
        let pace = (Duration::from_millis(5), Duration::from_millis(60));
        let mut sick = Health::at(&server(&[200, 500]).await, pace).unwrap_or_else(|f| panic!("{:#}", f.error));
        let why = sick.next().await;
        assert!(why.contains("health check fails") && why.contains("500"), "{why}");
        assert!(sick.end().await >= 3);
        let mut well = Health::at(&server(&[500, 200]).await, pace).unwrap_or_else(|f| panic!("{:#}", f.error));
        let found = tokio::time::timeout(Duration::from_millis(400), well.next()).await;
        assert!(found.is_err(), "{found:?}");
        assert!(well.end().await >= 2, "every request is counted");
    }
}
