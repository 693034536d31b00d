//! The last head, and what it meant.
//!
//! A server that is asked the same thing again and again mostly answers with the same head, byte for byte, until the
//! second of its `Date` is over. Comparing is a tenth of the work of parsing. One per thread is enough: what bytes mean
//! does not depend on the connection that they came on.

use super::Parsed;

/// Longest head that is remembered.
const MOST: usize = 2048;

/// What is remembered of a head.
#[derive(Debug, Default)]
pub struct Memo {
    head: Vec<u8>,
    /// Whether it was the answer to a HEAD: then it means another thing.
    to_head: bool,
    parsed: Option<Parsed>,
}

impl Memo {
    /// What the head at the start of `input` means, if it is the one that is remembered.
    pub(super) fn recall(&self, input: &[u8], to_head: bool) -> Option<Parsed> {
        let same = self.to_head == to_head && input.starts_with(&self.head);
        self.parsed.as_ref().filter(|_| same).cloned()
    }

    /// Remembers a whole head.
    pub(super) fn keep(&mut self, head: &[u8], to_head: bool, parsed: &Parsed) {
        // Who sets cookies is parsed each time, because the fields are wanted.
        if head.len() > MOST || parsed.sets_cookies {
            return;
        }
        self.head.clear();
        self.head.extend_from_slice(head);
        self.to_head = to_head;
        self.parsed = Some(parsed.clone());
    }
}
