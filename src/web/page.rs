//! The page around the figures: its script asks for nothing but the events, and draws nothing itself.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use maud::{DOCTYPE, PreEscaped, html};
use sha2::{Digest as _, Sha256};

use crate::report::html::STYLE;

const SCRIPT: &str = include_str!("live.js");
const OWN_STYLE: &str = include_str!("live.css");

/// The page; `body` is what `report::html::fragment` made, and may be empty.
pub(super) fn page(body: &str) -> String {
    let page = html! {
        (DOCTYPE)
        html lang="en" {
            head {
                meta charset="utf-8";
                meta name="viewport" content="width=device-width, initial-scale=1";
                title { "connect-bench: a run that is on" }
                style { (PreEscaped(STYLE)) }
                style { (PreEscaped(OWN_STYLE)) }
            }
            body {
                main {
                    div #live role="status" aria-live="off" {
                        p #state { span #mark aria-hidden="true" { "…" } " " span #word { "connecting" } }
                        p #now { "Waiting for the first news." }
                    }
                    noscript { p { "Without JavaScript this page stays as it is now; load it again for later figures." } }
                    div #body { (PreEscaped(body)) }
                }
                footer { "connect-bench " (env!("CARGO_PKG_VERSION")) ", live. The report of the run will have the same figures." }
                script { (PreEscaped(SCRIPT)) }
            }
        }
    };
    page.into_string()
}

/// Only these styles and this script; news from here alone; in no frame.
pub(super) fn policy() -> String {
    let hash = |text: &str| STANDARD.encode(Sha256::digest(text.as_bytes()));
    format!(
        "default-src 'none'; style-src 'sha256-{}' 'sha256-{}'; script-src 'sha256-{}'; connect-src 'self'; \
         base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
        hash(STYLE),
        hash(OWN_STYLE),
        hash(SCRIPT),
    )
}
