//! A plain URL as the target: no Connect API, no key, nothing published. One request before the run says whether
//! there is anything to load.

use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use anyhow::anyhow;
use bytes::Bytes;
use url::Url;

use super::connection::Connections;
use super::drive::address;
use super::failure::Failure;
use super::parts::StepBundles;
use super::programs::{AGENT, Ingredients, exchange};
use super::session::{Session, tls_for};
use super::view::View;
use crate::cli::{ContentArgs, EngineArgs};
use crate::engine::program::SeriesId;
use crate::http::dial::NetDial;
use crate::http::tls::ExtraRoots;
use crate::http::{Client, Exchanged, Guard};
use crate::outcome::{Ended, ErrorKind};
use crate::plan::{FetchPlan, Target};

/// Makes a plain URL ready to be loaded.
pub(super) async fn prepare(
    url: Url,
    (insecure, extra): (bool, Option<&ExtraRoots>),
    (content, engine): (&ContentArgs, &EngineArgs),
    connections: Connections,
    view: &View,
) -> Result<Session, Failure> {
    let tls = tls_for(&url, insecure, extra, &connections.options)?;
    let path = match url.query() {
        Some(query) => format!("{}?{query}", url.path()),
        None => url.path().to_owned(),
    };
    let fetch = FetchPlan {
        path,
        with_key: false,
        statuses: Vec::new(),
        content_type: None,
        body_contains: content.expect_body.clone(),
        timeout: engine.timeout,
    };
    // A query may hold a secret, and the target stands in every output.
    let mut shown = url;
    shown.set_query(None);
    shown.set_fragment(None);
    view.doing(&format!("preflight: {shown}"));
    let unreported = preflight(&shown, &fetch, (tls.clone(), &connections), view).await?;
    let target = Target::at(shown);
    let ingredients = Ingredients {
        key: None,
        bundle: Bytes::new(),
        base_path: "/".to_owned(),
        materials: Arc::default(),
        step_bundles: StepBundles::default(),
    };
    let publish_took = Duration::ZERO;
    let root = "/".to_owned();
    Ok(Session {
        target,
        fetch,
        root,
        publish: None,
        ingredients,
        tls,
        insecure,
        connections,
        publish_took,
        server: None,
        unreported,
    })
}

/// One request as the VUs will make it. A connection that cannot be had is the end; an answer that is not the expected
/// one may be what somebody wants to load, and is said. Returns how many requests reached the server.
async fn preflight(
    url: &Url,
    fetch: &FetchPlan,
    (tls, connections): (Option<Arc<rustls::ClientConfig>>, &Connections),
    view: &View,
) -> Result<u64, Failure> {
    let (host, port, config) = address(url, connections)?;
    let (options, credentials) = (&connections.options, connections.credentials.as_ref());
    let dial = NetDial::with_options((&host, port), tls, options, credentials, 0)
        .map_err(|fault| Failure::unreachable(anyhow!("{url}: {}", fault.detail)))?;
    let mut client = Client::new(Rc::new(dial), Rc::new(config));
    let exchange =
        Rc::new(exchange(fetch, SeriesId(0), None, (AGENT, &options.accept_encoding)).map_err(Failure::invalid)?);
    let guard = Guard::default();
    let asked = tokio::time::timeout(fetch.timeout, client.exchange(&exchange, &guard)).await;
    let unreachable = |kind: ErrorKind| Failure::unreachable(anyhow!("{url}: {}{}", kind.describe(), advice(kind)));
    let Exchanged { ended, sent, .. } = asked.map_err(|_elapsed| unreachable(ErrorKind::Timeout))?;
    match ended {
        Ended::Failed(kind @ (ErrorKind::Status(_) | ErrorKind::Body)) => {
            view.warn(&format!(
                "{url} does not answer as expected ({}); every such answer will count as an error",
                kind.describe()
            ));
        }
        Ended::Failed(kind) => return Err(unreachable(kind)),
        Ended::Completed | Ended::Interrupted => {}
    }
    Ok(u64::from(sent))
}

fn advice(kind: ErrorKind) -> &'static str {
    match kind {
        ErrorKind::TlsUnknownAuthority => {
            "; give the certificate of its authority with --cacert FILE, or accept any certificate with --insecure"
        }
        ErrorKind::TlsHostname => "; use the name that the certificate is for, or accept any with --insecure",
        ErrorKind::Dns => "; check the name, or this machine's DNS",
        ErrorKind::Proxy => "; see -v for what it answered; --proxy none goes without it",
        ErrorKind::Refused => "; is the address right, and is the server running?",
        ErrorKind::Protocol => "; is this http on a port for https, or the other way round?",
        ErrorKind::Tls => "; is this a port for https?",
        ErrorKind::Timeout | ErrorKind::ConnectTimeout => "; is the server overloaded, or --timeout too short?",
        _ => "",
    }
}
