//! What failures in the middle of a run did.

use std::fmt::Write as _;

use super::super::number::{count, duration, maybe, significant};
use super::wrap;
use crate::disruption::{Claim, Disruption, judge};
use crate::summary::Summary;

/// What Connect's documentation says.
pub(in crate::report) const CLAIM: &str =
    "a failure of either node disrupts the user sessions on that node but not the service";

/// Each event with what it did.
pub(super) fn rehearsal(summary: &Summary) -> String {
    let disruptions = judge(&summary.rehearsal);
    if disruptions.is_empty() {
        return String::new();
    }
    let mut out = "\nRehearsal: what was done, and what it did until the next\n".to_owned();
    for disruption in &disruptions {
        for (at, sentence) in sentences(disruption).iter().enumerate() {
            out.push_str(&wrap(sentence, if at == 0 { "  " } else { "    " }, 2));
        }
    }
    let _ = writeln!(out, "  The claim: \"{CLAIM}\".");
    out
}

/// One event, in a few sentences; the first says what was done.
pub(in crate::report) fn sentences(d: &Disruption) -> Vec<String> {
    let at = duration(d.event.at_s);
    if let Some(error) = &d.event.error {
        return vec![format!("at {at} {}: NOT DONE, {error}", d.event.action)];
    }
    let took =
        d.event.done_s.map_or_else(String::new, |done| format!(", done after {}", duration(done - d.event.at_s)));
    let mut out = vec![format!("at {at} {}{took}", d.event.action)];
    let lost: u64 = d.lost.values().sum();
    out.push(match d.error_window_s {
        None => "no request was lost".to_owned(),
        Some((from, to)) => {
            let kinds: Vec<String> =
                d.lost.iter().map(|(kind, n)| format!("{} × {}", count(*n), kind.describe())).collect();
            let over = format!("from {} to {}", duration(from), duration(to));
            format!("{} requests lost, {over}: {}", count(lost), kinds.join(", "))
        }
    });
    let again = match d.first_success_s {
        Some(s) if lost > 0 => format!("those that failed were answered again within {}; ", duration(s)),
        None => "those that failed were not answered again; ".to_owned(),
        Some(_) => String::new(),
    };
    let steady =
        d.steady_s.map_or_else(|| "no steady state after it".to_owned(), |s| format!("steady after {}", duration(s)));
    out.push(format!(
        "{} VUs moved to another node; {again}{steady}; {} → {} fetches per second",
        count(d.vus_moved),
        maybe(d.before_per_s),
        maybe(d.after_per_s)
    ));
    if let Some(node) = &d.node {
        let rates = d.others_per_s.map_or_else(String::new, |(before, after)| {
            format!(", {} → {} fetches per second", significant(before), significant(after))
        });
        out.push(format!(
            "other nodes than {node}: {} requests lost, {} VUs left{rates}",
            count(d.others_failed),
            count(d.others_left)
        ));
    }
    out.push(claim(&d.claim));
    out
}

/// Whether the claim held, and why not.
pub(in crate::report) fn claim(claim: &Claim) -> String {
    match claim {
        Claim::Held => "the claim held".to_owned(),
        Claim::Broken(why) => format!("the claim DID NOT HOLD: {why}"),
        Claim::NotJudged(why) => format!("the claim is not judged: {why}"),
    }
}
