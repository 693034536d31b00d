//! The connections of a run as text, where there is something to say of them.

use super::super::number::count;
use super::wrap;
use crate::summary::{Connections, Summary};

/// A paragraph; nothing of plain HTTP/1.1 without options.
pub(super) fn connections(summary: &Summary) -> String {
    let c = Connections::of(summary);
    if !c.chosen && c.http2 == 0 && c.tls_handshakes == 0 {
        return String::new();
    }
    let spoken = match c.http2 {
        0 => "HTTP/1.1".to_owned(),
        all if all == c.opened => "HTTP/2".to_owned(),
        some => format!("HTTP/2 on {}, HTTP/1.1 on the others", count(some)),
    };
    let mut facts = vec![format!("{} opened, {spoken}; {}", count(c.opened), c.reuse)];
    if c.tls_handshakes > 0 {
        facts.push(format!("TLS handshakes: {}, {} of them resumed", count(c.tls_handshakes), count(c.tls_resumed)));
    }
    facts.extend(c.proxy.map(|proxy| format!("through the proxy {proxy}, whose share is in all figures")));
    let options = &summary.plan.http.connection;
    if !options.local_ips.is_empty() {
        facts.push(format!("from {}", options.local_ips));
    }
    if options.discard_response_bodies {
        facts.push("bodies of fetches were not looked at".to_owned());
    }
    format!("\n{}", wrap(&format!("{}.", facts.join("; ")), "Connections: ", 2))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::connection_options::{ConnectionOptions, Reuse};
    use crate::histogram::Latency;
    use crate::host::Environment;
    use crate::plan::Plan;
    use crate::summary::{Builder, RunState};
    use crate::window::SeriesWindow;

    fn text(options: ConnectionOptions, opened: u64, http2: u64, resumed: u64) -> String {
        let mut plan: Plan = serde_json::from_value(serde_json::json!({
            "schema": 1, "version": "1", "command": "load", "run_id": "x", "seed": 1,
            "target": { "url": "https://a.example/", "sandbox": false, "connect_version": null, "node": null,
                "sandbox_profile": null, "content_guid": null, "fetch_with_key": false },
            "http": { "user_agent": "x", "insecure": false, "reset_cookies": false },
            "workers": 1, "warm_up": 0, "duration": 1, "scenarios": [] }))
        .unwrap();
        plan.http.connection = options;
        let mut summary = Builder::new(plan, Environment::now()).finish(RunState::Finished);
        let mut tls_handshaking = Latency::default();
        (0..opened).for_each(|_| tls_handshaking.record(std::time::Duration::from_millis(3)));
        let series = SeriesWindow { connections: opened, http2, resumed, tls_handshaking, ..SeriesWindow::default() };
        summary.whole.series = vec![series.clone(), series];
        connections(&summary)
    }

    #[test]
    fn what_was_spoken_and_what_was_resumed() {
        let default = ConnectionOptions::default();
        assert_eq!(text(default.clone(), 0, 0, 0), "");
        let one = text(default.clone(), 50, 50, 0);
        assert_eq!(one, "\nConnections: 100 opened, HTTP/2; kept; TLS handshakes: 100, 0 of them resumed.\n");
        assert!(text(default, 50, 20, 0).contains("HTTP/2 on 40, HTTP/1.1 on the others"));
        let proxy = Some("http://p:3128".parse().unwrap());
        let never =
            ConnectionOptions { reuse: Reuse::Never, proxy, discard_response_bodies: true, ..Default::default() };
        let words = text(never, 50, 0, 45).split_whitespace().collect::<Vec<_>>().join(" ");
        for told in ["a new one for each request", "90 of them resumed", "the proxy http://p:3128,", "not looked at"] {
            assert!(words.contains(told), "{told}\n{words}");
        }
    }
}
