//! What the system says of this process and this machine: CPU, memory, files, and the one wall-clock anchor of a run.

use std::time::{Duration, Instant, SystemTime};

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::window::HostSample;

/// Where and when a run was made.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Environment {
    /// Wall-clock time at the start, UTC. Everything else is relative to it by the monotonic clock.
    pub started: Timestamp,
    /// Name of this machine.
    pub host: String,
    /// Kernel release.
    pub kernel: String,
    /// Cores that this process may use.
    pub cores: usize,
    /// Memory of the machine, bytes.
    pub memory_bytes: Option<u64>,
    /// Greatest number of open files that this process may have.
    pub open_files_limit: Option<u64>,
}

impl Environment {
    /// Looks around.
    #[must_use]
    pub fn now() -> Environment {
        let system = rustix::system::uname();
        Environment {
            started: Timestamp::now(),
            host: system.nodename().to_string_lossy().into_owned(),
            kernel: system.release().to_string_lossy().into_owned(),
            cores: cores(),
            memory_bytes: memory(),
            open_files_limit: rustix::process::getrlimit(rustix::process::Resource::Nofile).current,
        }
    }
}

/// Cores that this process may use; at least one.
#[must_use]
pub fn cores() -> usize {
    std::thread::available_parallelism().map_or(1, std::num::NonZero::get)
}

#[cfg(target_os = "linux")]
fn memory() -> Option<u64> {
    use procfs::Current as _;
    procfs::Meminfo::current().ok().map(|info| info.mem_total)
}

#[cfg(not(target_os = "linux"))]
fn memory() -> Option<u64> {
    None
}

/// Cores that programs wanted over the last minute; `None` where the system does not say.
#[must_use]
pub fn load_average() -> Option<f64> {
    #[cfg(target_os = "linux")]
    {
        use procfs::Current as _;
        procfs::LoadAverage::current().ok().map(|load| f64::from(load.one))
    }
    #[cfg(not(target_os = "linux"))]
    None
}

/// The first and the last port that connections of this machine may have; `None` where the system does not say.
#[must_use]
pub fn ephemeral_ports() -> Option<(u16, u16)> {
    let text = std::fs::read_to_string("/proc/sys/net/ipv4/ip_local_port_range").ok()?;
    let mut ports = text.split_ascii_whitespace().map(str::parse);
    Some((ports.next()?.ok()?, ports.next()?.ok()?))
}

/// Raises the number of files that may be open to the most that the system allows, and returns it.
#[must_use]
pub fn raise_open_files() -> Option<u64> {
    use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
    let limit = getrlimit(Resource::Nofile);
    if limit.current != limit.maximum {
        // Where it may not be raised, the limit stays what it is, and is reported as that.
        let _ = setrlimit(Resource::Nofile, Rlimit { current: limit.maximum, maximum: limit.maximum });
    }
    getrlimit(Resource::Nofile).current
}

/// Reads [`HostSample`]s; each share is over the time since the last call.
#[derive(Debug)]
pub struct Monitor {
    at: Instant,
    process_ticks: Option<u64>,
    steal_ticks: Option<u64>,
    limit: Option<u64>,
    began: (Instant, SystemTime),
}

impl Monitor {
    /// Begins now.
    #[must_use]
    pub fn new() -> Monitor {
        let limit = rustix::process::getrlimit(rustix::process::Resource::Nofile).current;
        let began = (Instant::now(), wall_clock());
        Monitor { at: began.0, process_ticks: process_ticks(), steal_ticks: steal_ticks(), limit, began }
    }

    /// The state now; shares are over the time since the last sample.
    pub fn sample(&mut self) -> HostSample {
        let (now, process, steal) = (Instant::now(), process_ticks(), steal_ticks());
        let wall = now.duration_since(self.at).max(Duration::from_millis(1)).as_secs_f64() * cores() as f64;
        let share = |from: Option<u64>, to: Option<u64>| Some(seconds(to?.saturating_sub(from?)) / wall);
        let (memory_bytes, peak_memory_bytes) = memory_of_process();
        let sample = HostSample {
            cpu_share: share(self.process_ticks, process),
            steal_share: share(self.steal_ticks, steal),
            memory_bytes,
            peak_memory_bytes,
            open_files: open_files(),
            open_files_limit: self.limit,
            wall_ahead_ms: Some(self.wall_ahead_ms()),
        };
        (self.at, self.process_ticks, self.steal_ticks) = (now, process, steal);
        sample
    }
}

#[expect(clippy::disallowed_methods, reason = "held against the monotonic clock, to see whether somebody sets it")]
fn wall_clock() -> SystemTime {
    SystemTime::now()
}

impl Monitor {
    fn wall_ahead_ms(&self) -> f64 {
        let (began, wall_began) = self.began;
        // The wall clock may have been set to a time before the start.
        let wall_s = match wall_clock().duration_since(wall_began) {
            Ok(passed) => passed.as_secs_f64(),
            Err(before) => -before.duration().as_secs_f64(),
        };
        1e3 * (wall_s - began.elapsed().as_secs_f64())
    }
}

impl Default for Monitor {
    fn default() -> Self {
        Monitor::new()
    }
}

#[cfg(target_os = "linux")]
fn seconds(ticks: u64) -> f64 {
    ticks as f64 / procfs::ticks_per_second() as f64
}

#[cfg(target_os = "linux")]
fn process_ticks() -> Option<u64> {
    let stat = procfs::process::Process::myself().ok()?.stat().ok()?;
    Some(stat.utime + stat.stime)
}

#[cfg(target_os = "linux")]
fn steal_ticks() -> Option<u64> {
    use procfs::CurrentSI as _;
    procfs::KernelStats::current().ok()?.total.steal
}

#[cfg(target_os = "linux")]
fn memory_of_process() -> (Option<u64>, Option<u64>) {
    let status = procfs::process::Process::myself().and_then(|process| process.status());
    let Ok(status) = status else { return (None, None) };
    (status.vmrss.map(|kb| kb * 1024), status.vmhwm.map(|kb| kb * 1024))
}

#[cfg(target_os = "linux")]
fn open_files() -> Option<u64> {
    procfs::process::Process::myself().ok()?.fd_count().ok().map(|n| n as u64)
}

#[cfg(not(target_os = "linux"))]
fn seconds(_ticks: u64) -> f64 {
    0.0
}

#[cfg(not(target_os = "linux"))]
fn process_ticks() -> Option<u64> {
    None
}

#[cfg(not(target_os = "linux"))]
fn steal_ticks() -> Option<u64> {
    None
}

#[cfg(not(target_os = "linux"))]
fn memory_of_process() -> (Option<u64>, Option<u64>) {
    (None, None)
}

#[cfg(not(target_os = "linux"))]
fn open_files() -> Option<u64> {
    None
}

#[cfg(all(test, target_os = "linux"))]
mod tests {
    use super::*;

    #[test]
    fn this_process_has_memory_files_and_a_share_of_the_cpu() {
        let mut monitor = Monitor::new();
        let until = Instant::now() + Duration::from_millis(60);
        while Instant::now() < until {
            std::hint::spin_loop();
        }
        let sample = monitor.sample();
        assert!(sample.memory_bytes.unwrap() > 100_000);
        assert!(sample.peak_memory_bytes.unwrap() >= sample.memory_bytes.unwrap() / 2);
        assert!(sample.open_files.unwrap() >= 3);
        assert!(sample.cpu_share.unwrap() >= 0.0);
    }
}
