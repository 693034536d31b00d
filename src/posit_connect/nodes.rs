//! Which node an affinity cookie leads to: `server_settings` names the node that answered.

use std::collections::BTreeMap;
use std::time::Duration;

use super::ClientConfig;
use super::api::Client;
use super::types::ServerSettings;
use crate::http::cookies::AFFINITY_COOKIES;

/// Asks with each cookie value which node answers. What cannot be asked keeps its cookie value as its name.
///
/// Returns the names by cookie value, and how many requests that took.
pub async fn names(config: &ClientConfig, cookies: &[String]) -> (BTreeMap<String, String>, u64) {
    let mut names = BTreeMap::new();
    let Ok(client) = Client::new(config.clone()) else { return (names, 0) };
    for cookie in cookies {
        let header: Vec<String> = AFFINITY_COOKIES.iter().map(|name| format!("{name}={cookie}")).collect();
        let header = header.join("; ");
        let asked = client.settings_with_cookie(&header);
        let settings = tokio::time::timeout(Duration::from_secs(5), asked).await;
        if let Ok(Ok(ServerSettings { hostname: Some(host), .. })) = settings {
            names.insert(cookie.clone(), host);
        }
    }
    (names, client.counts().read().reached())
}
