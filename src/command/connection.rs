//! How this run's connections are made: flags, scenario file and environment put together, and what must not be.

use std::net::{IpAddr, UdpSocket};

use anyhow::anyhow;
use url::Url;

use super::failure::Failure;
use super::target::Aim;
use super::view::View;
use crate::connection_options::{
    ConnectionChoices, ConnectionOptions, Credentials, Http2, LocalIps, Proxy, ProxyChoice,
};
use crate::exit::Exit;
use crate::posit_connect::Route;

/// Most local addresses that are tried out before the run.
const MOST_TRIED: u32 = 4096;

/// How connections are made, and who one is at the proxy, which is in no plan.
#[derive(Clone)]
pub(super) struct Connections {
    pub(super) options: ConnectionOptions,
    pub(super) credentials: Option<Credentials>,
}

/// Completes what was chosen, for a target; has Connect's API reached in the same way.
pub(super) fn resolve(choices: &ConnectionChoices, aim: &mut Aim, view: &View) -> Result<Connections, Failure> {
    let (url, key_in_clear) = match &*aim {
        Aim::Url { url, .. } => (url.clone(), false),
        Aim::Connect(aim) => (aim.config.server.url().clone(), aim.config.server.is_plain() && !aim.config.allow_http),
    };
    let mut options = choices.options();
    let proxy = proxy(choices.proxy.as_ref(), &url)?;
    if let Some(proxy) = &proxy {
        check_proxy(proxy, &url, options.http2, key_in_clear)?;
        view.warn(&format!(
            "requests go through the proxy {}: all figures have its share in them (--proxy none goes without)",
            proxy.address
        ));
    }
    options.proxy = proxy.as_ref().map(|proxy| proxy.address.clone());
    if options.http2 == Http2::PriorKnowledge && matches!(aim, Aim::Connect(aim) if aim.sandbox.is_some()) {
        return Err(Failure::usage("--http2 prior-knowledge: the sandbox speaks HTTP/1.1 only"));
    }
    if url.scheme() != "https" && (options.tls_resumption || choices.tls_version.is_some()) {
        return Err(Failure::usage(format!(
            "{url} is not https: there is no TLS to choose a version or resumption for"
        )));
    }
    check_local(&options.local_ips)?;
    if let Aim::Connect(aim) = aim {
        aim.config.route = Route { hosts: options.hosts.clone(), proxy: proxy.clone(), local: options.local_ips.of(0) };
    }
    Ok(Connections { options, credentials: proxy.and_then(|proxy| proxy.credentials) })
}

fn proxy(choice: Option<&ProxyChoice>, url: &Url) -> Result<Option<Proxy>, Failure> {
    match choice {
        Some(ProxyChoice::None) => Ok(None),
        Some(ProxyChoice::Through(proxy)) => Ok(Some(proxy.clone())),
        None => Proxy::of_environment(url, |name| std::env::var(name).ok()).map_err(|e| {
            Failure::usage(format!("{e}; unset the variable, or give --proxy http://HOST:PORT, or --proxy none"))
        }),
    }
}

fn check_proxy(proxy: &Proxy, url: &Url, http2: Http2, key_in_clear: bool) -> Result<(), Failure> {
    let plain = url.scheme() == "http";
    if plain && key_in_clear && !proxy.address.is_loopback() {
        let error = anyhow!(
            "{url} is plain http: the API key would go in the clear to the proxy {}. Add --allow-http if that is meant, \
             or --proxy none",
            proxy.address
        );
        return Err(Failure::new(Exit::Refused, error));
    }
    if plain && http2 == Http2::PriorKnowledge {
        return Err(Failure::usage("--http2 prior-knowledge does not go through a proxy to plain http"));
    }
    Ok(())
}

/// Refuses addresses that connections cannot come from: found out now, not by every VU.
fn check_local(ips: &LocalIps) -> Result<(), Failure> {
    let count = u32::try_from(ips.count()).unwrap_or(u32::MAX).min(MOST_TRIED);
    for ip in (0..count).filter_map(|vu| ips.of(vu)) {
        UdpSocket::bind((ip, 0)).map_err(|e| not_ours(ip, &e))?;
    }
    Ok(())
}

fn not_ours(ip: IpAddr, error: &std::io::Error) -> Failure {
    Failure::usage(format!(
        "--local-ips: connections cannot come from {ip} ({error}): is it an address of this machine?"
    ))
}
