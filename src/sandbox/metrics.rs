//! What a node tells Prometheus: `GET /metrics`, with the names that Connect's metrics have where we know them.

use std::fmt::Write as _;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use super::counts::Counts;
use super::node::Node;

/// Upper ends of the classes of durations, seconds: Prometheus' usual ones.
const ENDS_S: [f64; 11] = [0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0];

/// How long requests took.
#[derive(Debug, Default)]
pub(super) struct Durations {
    classes: [AtomicU64; ENDS_S.len() + 1],
    sum_us: AtomicU64,
}

impl Durations {
    /// One more.
    pub(super) fn record(&self, seconds: f64) {
        let class = ENDS_S.partition_point(|end| *end < seconds);
        self.classes[class].fetch_add(1, Relaxed);
        self.sum_us.fetch_add((seconds.max(0.0) * 1e6) as u64, Relaxed);
    }

    fn write(&self, text: &mut String, name: &str) {
        let _ = writeln!(text, "# TYPE {name} histogram");
        let mut all = 0;
        for (at, class) in self.classes.iter().enumerate() {
            all += class.load(Relaxed);
            let end = ENDS_S.get(at).map_or_else(|| "+Inf".to_owned(), f64::to_string);
            let _ = writeln!(text, "{name}_bucket{{le=\"{end}\"}} {all}");
        }
        let _ = writeln!(text, "{name}_sum {}", self.sum_us.load(Relaxed) as f64 / 1e6);
        let _ = writeln!(text, "{name}_count {all}");
    }
}

/// All metrics of a node.
pub(super) fn text(node: &Node) -> String {
    let mut text = String::new();
    requests(&mut text, &node.counts);
    node.durations.write(&mut text, "connect_http_request_duration_seconds");
    let (in_flight, ..) = node.capacity.figures();
    let processes = node.shared.processes.count(node.index);
    let gauges = [
        ("connect_http_request_inflight_gauge", in_flight as f64),
        ("connect_content_app_sessions_current", processes as f64),
        ("connect_jobs_queue_total_jobs_in_queue", node.tasks.unfinished() as f64),
    ];
    for (name, value) in gauges {
        let _ = writeln!(text, "# TYPE {name} gauge\n{name} {value}");
    }
    process(&mut text);
    text
}

fn requests(text: &mut String, counts: &Counts) {
    let json = counts.to_json();
    let _ = writeln!(text, "# TYPE connect_http_request_count counter");
    for (code, n) in json["responses"].as_object().into_iter().flatten() {
        let _ = writeln!(text, "connect_http_request_count{{code=\"{code}\"}} {n}");
    }
    let _ = writeln!(text, "# TYPE connect_content_hits_total counter");
    let _ = writeln!(text, "connect_content_hits_total {}", json["requests"]["content"]);
}

/// What the kernel says of this process, with the names that every Prometheus client gives it.
fn process(text: &mut String) {
    let Ok(me) = procfs::process::Process::myself() else { return };
    if let Ok(stat) = me.stat() {
        let cpu_s = (stat.utime + stat.stime) as f64 / procfs::ticks_per_second() as f64;
        let _ = writeln!(text, "# TYPE process_cpu_seconds_total counter\nprocess_cpu_seconds_total {cpu_s}");
        let memory = stat.rss * procfs::page_size();
        let _ = writeln!(text, "# TYPE process_resident_memory_bytes gauge\nprocess_resident_memory_bytes {memory}");
    }
    if let Ok(files) = me.fd_count() {
        let _ = writeln!(text, "# TYPE process_open_fds gauge\nprocess_open_fds {files}");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_histogram_counts_up_to_each_end() {
        let durations = Durations::default();
        for seconds in [0.004, 0.005, 0.2, 99.0] {
            durations.record(seconds);
        }
        let mut text = String::new();
        durations.write(&mut text, "x");
        assert!(text.contains("x_bucket{le=\"0.005\"} 2\n") && text.contains("x_bucket{le=\"0.25\"} 3\n"), "{text}");
        assert!(text.contains("x_bucket{le=\"+Inf\"} 4\nx_sum 99.209\nx_count 4\n"), "{text}");
    }
}
