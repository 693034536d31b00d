//! From seconds and events to what each event did.

use std::collections::BTreeMap;

use super::{Claim, Disruption, Event, NodeRow, Rehearsal, Row};

/// Seconds before an event that its figures are held against, at most.
const BASE: usize = 30;
/// Seconds in a row without failures and near the later level that make a steady state.
const STEADY: usize = 5;
/// How near: a share of the later level.
const NEAR: f64 = 0.2;

/// What each event did.
#[must_use]
pub fn judge(rehearsal: &Rehearsal) -> Vec<Disruption> {
    let next = rehearsal.events.iter().skip(1).map(|event| event.at_s);
    let end = rehearsal.rows.last().map_or(0.0, |row| (row.second + 1) as f64);
    let until = next.chain(std::iter::once(end));
    rehearsal
        .events
        .iter()
        .zip(until)
        .map(|(event, until)| one(event, until.max(event.at_s), &rehearsal.rows))
        .collect()
}

fn one(event: &Event, until_s: f64, rows: &[Row]) -> Disruption {
    // The second in which it happens belongs to it; the one in which the next happens to the next.
    let first = rows.partition_point(|row| ((row.second + 1) as f64) <= event.at_s);
    let last = rows.partition_point(|row| ((row.second + 1) as f64) <= until_s).max(first);
    let (before, after) = (&rows[first.saturating_sub(BASE)..first], &rows[first..last]);
    let mut lost = BTreeMap::new();
    for (kind, n) in after.iter().flat_map(|row| &row.errors) {
        *lost.entry(*kind).or_default() += n;
    }
    let failing: Vec<&Row> = after.iter().filter(|row| row.failed() > 0).collect();
    let error_window_s = failing.first().zip(failing.last());
    let error_window_s = error_window_s.map(|(from, to)| (from.second as f64, (to.second + 1) as f64));
    let steady = steady(after);
    let node = affected(event, before, after);
    let others = |rows: &[Row]| -> NodeRow {
        let of =
            |row: &Row| row.nodes.iter().filter(|(name, _)| Some(*name) != node.as_ref()).map(|(_, n)| *n).collect();
        rows.iter().flat_map(|row| -> Vec<NodeRow> { of(row) }).fold(NodeRow::default(), |sum, node| NodeRow {
            completed: sum.completed + node.completed,
            failed: sum.failed + node.failed,
            left: sum.left + node.left,
        })
    };
    let settled = steady.map(|at| &after[at..]);
    let per_s = |rows: &[Row], completed: u64| (!rows.is_empty()).then(|| completed as f64 / rows.len() as f64);
    let rate = |rows: &[Row]| per_s(rows, rows.iter().map(|row| row.completed).sum());
    let others_rate = |rows: &[Row]| per_s(rows, others(rows).completed);
    let suffered = others(after);
    let mut disruption = Disruption {
        until_s,
        error_window_s,
        lost,
        vus_moved: after.iter().map(Row::left).sum(),
        first_success_s: first_success(event, after),
        steady_s: steady.map(|at| (after[at].second as f64 - event.at_s).max(0.0)),
        before_per_s: rate(before),
        after_per_s: settled.and_then(rate),
        others_failed: if node.is_some() { suffered.failed } else { 0 },
        others_left: if node.is_some() { suffered.left } else { 0 },
        others_per_s: node.as_ref().and_then(|_| others_rate(before).zip(settled.and_then(others_rate))),
        node,
        event: event.clone(),
        claim: Claim::Held,
    };
    disruption.claim = claim(&disruption, before, after);
    disruption
}

/// The node that an event is about: the one that it names, or else the one whose VUs failed or left most.
fn affected(event: &Event, before: &[Row], after: &[Row]) -> Option<String> {
    let all = before.iter().chain(after).flat_map(|row| row.nodes.keys());
    let mut seen: BTreeMap<&str, u64> = all.map(|name| (name.as_str(), 0)).collect();
    for (name, node) in after.iter().flat_map(|row| &row.nodes) {
        *seen.entry(name).or_default() += node.failed + node.left;
    }
    let words: Vec<&str> = event.action.split_whitespace().collect();
    let named = match words.as_slice() {
        ["node", _, number] | ["link", "balancer-node" | "node-database", number, ..] => Some(format!("node-{number}")),
        _ => None,
    };
    if let Some(named) = named.filter(|named| seen.contains_key(named.as_str())) {
        return Some(named);
    }
    seen.into_iter().filter(|(_, n)| *n > 0).max_by_key(|(_, n)| *n).map(|(name, _)| name.to_owned())
}

/// From the event to the end of the first second in which those that had failed were answered: by another node, or, where
/// none moved, in which nothing failed any more.
fn first_success(event: &Event, after: &[Row]) -> Option<f64> {
    let Some(from) = after.iter().position(|row| row.failed() > 0) else { return Some(0.0) };
    let moves = after.iter().any(|row| row.left() > 0);
    let good = |row: &&Row| if moves { row.left() > 0 } else { row.failed() == 0 && row.completed > 0 };
    after[from..].iter().find(good).map(|row| (row.second + 1) as f64 - event.at_s)
}

/// Index of the second in which the steady state begins: from it on so many in a row are without failures, and near the
/// median of all that come after the last failure.
fn steady(after: &[Row]) -> Option<usize> {
    let calm = after.iter().rposition(|row| row.failed() > 0).map_or(0, |at| at + 1);
    let mut levels: Vec<u64> = after[calm..].iter().map(|row| row.completed).collect();
    if levels.len() < STEADY {
        return None;
    }
    levels.sort_unstable();
    let level = levels[levels.len() / 2] as f64;
    let near = |row: &Row| row.failed() == 0 && (row.completed as f64 - level).abs() <= (NEAR * level).max(1.0);
    (calm..=after.len() - STEADY).find(|&at| after[at..at + STEADY].iter().all(near))
}

fn claim(d: &Disruption, before: &[Row], after: &[Row]) -> Claim {
    let not = |why: &str| Claim::NotJudged(why.to_owned());
    if d.event.error.is_some() {
        return not("it could not be done");
    }
    let fails = ["node kill", "node stop", "node freeze", "exec "].iter().any(|verb| d.event.action.starts_with(verb));
    if !fails {
        return not("it speaks of failures of a node");
    }
    let nodes = before.iter().flat_map(|row| row.nodes.keys()).collect::<std::collections::BTreeSet<_>>().len();
    if nodes < 2 {
        return not("there were not several nodes that can be told apart");
    }
    if d.node.is_none() {
        return not("nothing failed, and nobody moved");
    }
    let silent = after.iter().filter(|row| row.completed == 0).count();
    let node = d.node.as_deref().unwrap_or_default();
    let problems = [
        (d.others_failed > 0, format!("{} requests of VUs on other nodes than {node} failed", d.others_failed)),
        (d.others_left > 0, format!("{} VUs left other nodes than {node}", d.others_left)),
        (silent > 0, format!("nothing was completed in {silent} s")),
        (d.first_success_s.is_none(), "the VUs that failed were not answered again".to_owned()),
        (d.steady_s.is_none() && d.first_success_s.is_some(), "there was no steady state after it".to_owned()),
    ];
    let seen: Vec<String> = problems.into_iter().filter(|(wrong, _)| *wrong).map(|(_, what)| what).collect();
    if seen.is_empty() { Claim::Held } else { Claim::Broken(seen.join("; ")) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::outcome::ErrorKind;

    const GATEWAY: ErrorKind = ErrorKind::Status(502);

    /// A second in which node-1 and node-2 completed, failed and lost so much.
    fn row(second: u64, one: (u64, u64, u64), two: (u64, u64, u64)) -> Row {
        let node = |(completed, failed, left)| NodeRow { completed, failed, left };
        let failed = one.1 + two.1;
        Row {
            second,
            completed: one.0 + two.0,
            errors: (failed > 0).then_some((GATEWAY, failed)).into_iter().collect(),
            nodes: [("node-1".to_owned(), node(one)), ("node-2".to_owned(), node(two))].into(),
        }
    }

    fn event(at_s: f64, action: &str) -> Event {
        Event { at_s, done_s: Some(at_s + 0.1), action: action.to_owned(), error: None }
    }

    /// Both serve 50; node 2 is killed at 20.5 s; its 4 VUs fail until they move at 23 s; it is back at 40 s.
    fn killed() -> Rehearsal {
        let mut rows: Vec<Row> = (0..20).map(|s| row(s, (50, 0, 0), (50, 0, 0))).collect();
        rows.push(row(20, (50, 0, 0), (25, 30, 0)));
        rows.push(row(21, (50, 0, 0), (0, 80, 0)));
        rows.push(row(22, (50, 0, 0), (0, 70, 0)));
        rows.push(row(23, (80, 0, 0), (0, 3, 4)));
        rows.extend((24..40).map(|s| row(s, (100, 0, 0), (0, 0, 0))));
        rows.extend((40..60).map(|s| row(s, (100, 0, 0), (0, 0, 0))));
        Rehearsal { events: vec![event(20.5, "node kill 2"), event(40.0, "node start 2")], rows }
    }

    #[test]
    fn a_node_that_is_killed_costs_its_own_sessions() {
        let [kill, start] = judge(&killed()).try_into().unwrap();
        assert_eq!(kill.error_window_s, Some((20.0, 24.0)));
        assert_eq!(kill.lost, [(GATEWAY, 183)].into());
        assert_eq!((kill.vus_moved, kill.node.as_deref()), (4, Some("node-2")));
        assert_eq!((kill.first_success_s, kill.steady_s), (Some(3.5), Some(3.5)));
        assert_eq!((kill.before_per_s, kill.after_per_s), (Some(100.0), Some(100.0)));
        assert_eq!((kill.others_failed, kill.others_left, kill.others_per_s), (0, 0, Some((50.0, 100.0))));
        assert_eq!((kill.until_s, kill.claim), (40.0, Claim::Held));
        assert_eq!((start.error_window_s, start.first_success_s, start.steady_s), (None, Some(0.0), Some(0.0)));
        assert!(matches!(start.claim, Claim::NotJudged(_)));
    }

    #[test]
    fn the_claim_is_broken_by_each_of_the_things_that_it_excludes() {
        let with = |change: &dyn Fn(&mut Vec<Row>)| {
            let mut rehearsal = killed();
            change(&mut rehearsal.rows);
            match judge(&rehearsal).swap_remove(0).claim {
                Claim::Broken(why) => why,
                other => format!("{other:?}"),
            }
        };
        assert_eq!(with(&|_| {}), "Held");
        let others = with(&|rows| rows[22] = row(22, (48, 2, 0), (0, 70, 0)));
        assert_eq!(others, "2 requests of VUs on other nodes than node-2 failed");
        assert_eq!(with(&|rows| rows[22] = row(22, (50, 0, 1), (0, 70, 0))), "1 VUs left other nodes than node-2");
        assert_eq!(with(&|rows| rows[22] = row(22, (0, 0, 0), (0, 70, 0))), "nothing was completed in 1 s");
        let never = with(&|rows| (21..60).for_each(|s| rows[s] = row(s as u64, (10, 0, 0), (0, 80, 0))));
        assert_eq!(never, "the VUs that failed were not answered again");
        let late = with(&|rows| (24..39).for_each(|s| rows[s] = row(s as u64, (100, 0, 0), (0, 1, 0))));
        assert_eq!(late, "there was no steady state after it");
    }

    #[test]
    fn where_nodes_cannot_be_told_apart_nothing_is_claimed() {
        let mut rehearsal = killed();
        rehearsal.rows.iter_mut().for_each(|row| row.nodes.clear());
        let kill = judge(&rehearsal).swap_remove(0);
        assert!(matches!(kill.claim, Claim::NotJudged(_)) && kill.node.is_none());
        // Without moves it was over when nothing failed any more.
        assert_eq!(kill.first_success_s, Some(4.5));
        let failed = Event { error: Some("no".to_owned()), ..event(20.5, "node kill 2") };
        let judged = judge(&Rehearsal { events: vec![failed], ..killed() });
        assert_eq!(judged[0].claim, Claim::NotJudged("it could not be done".to_owned()));
    }

    #[test]
    fn a_command_of_ones_own_is_about_the_node_whose_vus_failed() {
        let mut rehearsal = killed();
        rehearsal.events[0].action = "exec ssh two reboot".to_owned();
        let reboot = judge(&rehearsal).swap_remove(0);
        assert_eq!((reboot.node.as_deref(), reboot.claim), (Some("node-2"), Claim::Held));
        rehearsal.rename(&[("node-2".to_owned(), "b".to_owned())].into());
        assert_eq!(judge(&rehearsal)[0].node.as_deref(), Some("b"));
    }

    #[test]
    fn nothing_to_look_at_is_nothing_seen() {
        assert_eq!(judge(&Rehearsal::default()), []);
        let early = Rehearsal { events: vec![event(5.0, "node kill 1")], rows: Vec::new() };
        let seen = judge(&early).swap_remove(0);
        assert_eq!((seen.before_per_s, seen.steady_s, seen.error_window_s), (None, None, None));
    }
}
