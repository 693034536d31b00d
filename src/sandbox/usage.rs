//! Hits on content: when, which item, by whom. What the instrumentation API tells, one for each request that got through to
//! an item's application.

use std::collections::VecDeque;
use std::sync::{Mutex, PoisonError};

/// Older ones are forgotten beyond so many.
const MOST: usize = 1_000_000;

/// One request to an item.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Hit {
    pub(super) id: u64,
    pub(super) at: jiff::Timestamp,
    pub(super) content_guid: String,
    /// Nobody, where it came without a key.
    pub(super) user_guid: Option<String>,
}

/// All of them, oldest first.
#[derive(Debug, Default)]
pub(super) struct Usage {
    log: Mutex<(u64, VecDeque<Hit>)>,
}

impl Usage {
    pub(super) fn hit(&self, at: jiff::Timestamp, content_guid: &str, user_guid: Option<&str>) {
        let mut log = self.log.lock().unwrap_or_else(PoisonError::into_inner);
        log.0 += 1;
        let id = log.0;
        if log.1.len() >= MOST {
            log.1.pop_front();
        }
        log.1.push_back(Hit { id, at, content_guid: content_guid.to_owned(), user_guid: user_guid.map(str::to_owned) });
    }

    /// Those from one time to another, both included.
    pub(super) fn between(&self, from: Option<jiff::Timestamp>, to: Option<jiff::Timestamp>) -> Vec<Hit> {
        let log = self.log.lock().unwrap_or_else(PoisonError::into_inner);
        let inside = |hit: &&Hit| from.is_none_or(|from| hit.at >= from) && to.is_none_or(|to| hit.at <= to);
        log.1.iter().filter(inside).cloned().collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hits_are_told_by_time_and_the_oldest_are_forgotten() {
        let at = |second: i64| jiff::Timestamp::from_second(second).unwrap();
        let usage = Usage::default();
        (0..10).for_each(|n| usage.hit(at(n), "item", None));
        let told = |from, to| usage.between(from, to).iter().map(|hit| hit.id).collect::<Vec<_>>();
        assert_eq!(told(Some(at(3)), Some(at(5))), [4, 5, 6]);
        assert_eq!(told(None, Some(at(0))), [1]);
        assert_eq!(told(Some(at(10)), None), [0; 0]);
        (0..MOST).for_each(|_| usage.hit(at(20), "item", Some("user")));
        let rest = usage.between(None, None);
        assert_eq!((rest.len(), rest[0].id, rest[0].user_guid.as_deref()), (MOST, 11, Some("user")));
    }
}
