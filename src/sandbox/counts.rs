//! What was received and what was answered, counted.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use serde_json::{Map, Value, json};

/// What a request is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Class {
    /// The Connect server API.
    Api,
    /// Content, by guid or by vanity path.
    Content,
    /// The health check.
    Ping,
    /// Anything else: the dashboard, unknown paths.
    Other,
}

/// Counters of one entrance: the balancer's or a node's.
#[derive(Debug)]
pub(super) struct Counts {
    classes: [AtomicU64; 4],
    /// By HTTP status, 100 to 599.
    statuses: Vec<AtomicU64>,
    /// Answered with a connection reset because the node went away.
    resets: AtomicU64,
}

impl Default for Counts {
    fn default() -> Self {
        let statuses = (0..500).map(|_| AtomicU64::new(0)).collect();
        Self { classes: Default::default(), statuses, resets: AtomicU64::new(0) }
    }
}

impl Counts {
    /// A request's head was read.
    pub(super) fn request(&self, class: Class) {
        self.classes[class as usize].fetch_add(1, Relaxed);
    }

    /// It was answered.
    pub(super) fn response(&self, status: u16) {
        if let Some(counter) = usize::from(status).checked_sub(100).and_then(|i| self.statuses.get(i)) {
            counter.fetch_add(1, Relaxed);
        }
    }

    /// Its connection was reset.
    pub(super) fn reset(&self) {
        self.resets.fetch_add(1, Relaxed);
    }

    /// All of it. `unanswered` are the requests in flight and those whose client went away.
    pub(super) fn to_json(&self) -> Value {
        let [api, content, ping, other] = [0, 1, 2, 3].map(|i: usize| self.classes[i].load(Relaxed));
        let total = api + content + ping + other;
        let mut responses = Map::new();
        let mut answered = 0;
        for (status, counter) in (100..).zip(&self.statuses) {
            let n = counter.load(Relaxed);
            if n > 0 {
                responses.insert(format!("{status}"), json!(n));
                answered += n;
            }
        }
        let resets = self.resets.load(Relaxed);
        json!({
            "requests": {"total": total, "api": api, "content": content, "ping": ping, "other": other},
            "responses": responses,
            "resets": resets,
            "unanswered": total.saturating_sub(answered + resets),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn classes_add_up_to_the_total_and_the_rest_is_unanswered() {
        let counts = Counts::default();
        for class in [Class::Api, Class::Content, Class::Content, Class::Ping, Class::Other] {
            counts.request(class);
        }
        counts.response(200);
        counts.response(404);
        counts.reset();
        let json = counts.to_json();
        assert_eq!(json["requests"], json!({"total": 5, "api": 1, "content": 2, "ping": 1, "other": 1}));
        assert_eq!(json["responses"], json!({"200": 1, "404": 1}));
        assert_eq!((&json["resets"], &json["unanswered"]), (&json!(1), &json!(2)));
    }
}
