//! What a process said: the newest lines, for its job's log.

use std::collections::VecDeque;
use std::sync::{Mutex, MutexGuard, PoisonError};

use serde_json::{Value, json};
use tokio::io::{AsyncBufReadExt as _, AsyncRead, BufReader};

use super::super::reply::utc_now;

/// Lines that are kept.
const LINES: usize = 2000;
/// Bytes of a line; what is longer becomes several.
const LINE_BYTES: usize = 8 << 10;

/// The log of a process.
#[derive(Debug, Default)]
pub(in super::super) struct JobLog(Mutex<State>);

#[derive(Debug, Default)]
struct State {
    lines: VecDeque<Line>,
    dropped: u64,
}

#[derive(Debug)]
struct Line {
    source: &'static str,
    timestamp: String,
    text: String,
}

impl JobLog {
    /// Adds a line.
    pub(super) fn add(&self, source: &'static str, text: impl Into<String>) {
        let mut state = self.lock();
        if state.lines.len() == LINES {
            state.lines.pop_front();
            state.dropped += 1;
        }
        state.lines.push_back(Line { source, timestamp: utc_now(), text: text.into() });
    }

    /// The newest lines.
    pub(super) fn tail(&self, most: usize) -> Vec<String> {
        let state = self.lock();
        let skipped = state.lines.len().saturating_sub(most);
        state.lines.iter().skip(skipped).map(|line| line.text.clone()).collect()
    }

    /// The entries as the API shows them.
    pub(in super::super) fn to_json(&self) -> Value {
        let state = self.lock();
        let first = state.lines.front().map_or("", |line| line.timestamp.as_str());
        let dropped = (state.dropped > 0).then(|| {
            let text = format!("[sandbox] {} earlier lines are no longer kept", state.dropped);
            json!({"source": "stderr", "timestamp": first, "data": text})
        });
        let lines = state
            .lines
            .iter()
            .map(|line| json!({"source": line.source, "timestamp": line.timestamp, "data": line.text}));
        dropped.into_iter().chain(lines).collect()
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Tells what comes, line by line, until it ends.
pub(super) async fn follow(source: &'static str, stream: impl AsyncRead + Unpin, add: impl Fn(&'static str, String)) {
    let mut stream = BufReader::with_capacity(LINE_BYTES, stream);
    let mut line = Vec::new();
    let tell = |line: &[u8]| add(source, String::from_utf8_lossy(line).trim_end().to_owned());
    loop {
        let Ok(bytes) = stream.fill_buf().await else { return };
        if bytes.is_empty() {
            break;
        }
        let end = bytes.iter().position(|byte| *byte == b'\n');
        let taken = end.map_or(bytes.len(), |end| end + 1).min(LINE_BYTES.saturating_sub(line.len()).max(1));
        line.extend_from_slice(&bytes[..taken]);
        stream.consume(taken);
        if line.ends_with(b"\n") || line.len() >= LINE_BYTES {
            tell(&line);
            line.clear();
        }
    }
    if !line.is_empty() {
        tell(&line);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn lines_are_kept_apart_and_long_ones_cut() {
        let log = JobLog::default();
        let text = format!("one\r\ntwo\n{}\nrest", "x".repeat(LINE_BYTES + 3));
        follow("stdout", text.as_bytes(), |source, line| log.add(source, line)).await;
        let lines = log.tail(99);
        assert_eq!((lines[0].as_str(), lines[1].as_str(), lines[2].len()), ("one", "two", LINE_BYTES));
        assert_eq!(lines[3..], ["xxx", "rest"]);
        assert_eq!(log.tail(1), ["rest"]);
    }

    #[test]
    fn the_newest_lines_are_kept_and_the_others_counted() {
        let log = JobLog::default();
        for n in 0..LINES + 5 {
            log.add("stderr", n.to_string());
        }
        let json = log.to_json();
        let entries = json.as_array().unwrap();
        assert_eq!(entries.len(), LINES + 1);
        assert!(entries[0]["data"].as_str().unwrap().contains("5 earlier"), "{}", entries[0]);
        assert_eq!((&entries[1]["data"], &entries[LINES]["data"]), (&json!("5"), &json!((LINES + 4).to_string())));
    }
}
