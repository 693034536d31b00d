//! This machine: files, ports, who else uses it, where runs go.

use std::path::Path;

use super::{Check, Of, Status};
use crate::cli::DoctorArgs;
use crate::host::{self, Environment};
use crate::posit_connect::journal;
use crate::report::number::{bytes, count, significant};
use crate::rundir;

/// Open files that are not connections of VUs.
const OTHER_FILES: u64 = 64;
/// Less free space than this does not hold an hour of a run.
const LEAST_SPACE: u64 = 200_000_000;

pub(super) fn look(args: &DoctorArgs) -> Vec<Check> {
    let configured = match &args.configured {
        Some(added) => Check::new(Of::Machine, "configuration", Status::Ok, added),
        None => Check::new(Of::Machine, "configuration", Status::Ok, "no file adds flags to this command"),
    };
    vec![configured, cores(), others(), files(args.vus), ports(args.vus), runs(&args.runs_dir), left(&args.runs_dir)]
}

fn check(name: &'static str, status: Status, seen: impl Into<String>) -> Check {
    Check::new(Of::Machine, name, status, seen)
}

fn cores() -> Check {
    let environment = Environment::now();
    let memory = environment.memory_bytes.map_or_else(String::new, |memory| format!(", {} of memory", bytes(memory)));
    let seen = format!("{} cores{memory}, kernel {}", environment.cores, environment.kernel);
    if environment.cores < 2 {
        check("cores", Status::Warn, seen).advise("with one core the generator waits for everything else on it")
    } else {
        check("cores", Status::Ok, seen)
    }
}

/// Others on this machine take what the generator needs.
fn others() -> Check {
    let Some(load) = host::load_average() else {
        return check("other load", Status::Skipped, "this system does not say");
    };
    let cores = host::cores() as f64;
    let seen = format!("{} of {cores} cores wanted over the last minute", significant(load));
    if load > 0.5 * cores {
        check("other load", Status::Warn, seen)
            .advise("other programs keep this machine busy: what they take shows as latency of the server")
    } else {
        check("other load", Status::Ok, seen)
    }
}

fn files(vus: u32) -> Check {
    let needed = u64::from(vus) + OTHER_FILES;
    match host::raise_open_files() {
        None => check("open files", Status::Ok, "no limit"),
        Some(limit) if limit < needed => {
            let seen = format!("{} may be open, {} are needed for {vus} VUs", count(limit), count(needed));
            check("open files", Status::Fail, seen).advise(format!("raise the hard limit: ulimit -Hn {needed}"))
        }
        Some(limit) => check("open files", Status::Ok, format!("{} may be open: enough for {vus} VUs", count(limit))),
    }
}

/// Every connection that is open, or was lately, has a port of this machine.
fn ports(vus: u32) -> Check {
    let Some((first, last)) = host::ephemeral_ports() else {
        return check("ports", Status::Skipped, "this system does not say");
    };
    let there = u64::from(last.saturating_sub(first)) + 1;
    let seen = format!("{} for connections to one server ({first} to {last})", count(there));
    let wider = "sysctl -w net.ipv4.ip_local_port_range=\"1024 65535\"";
    if there < u64::from(vus) {
        check("ports", Status::Fail, seen).advise(format!("{vus} VUs need as many: {wider}"))
    } else if there < 4 * u64::from(vus) {
        check("ports", Status::Warn, seen)
            .advise(format!("enough as long as connections are kept; a server that closes them uses them up: {wider}"))
    } else {
        check("ports", Status::Ok, seen)
    }
}

/// The directory of the runs, or the nearest one above it that exists.
fn existing(path: &Path) -> &Path {
    let above = path.ancestors().find(|path| path.is_dir());
    above.filter(|path| !path.as_os_str().is_empty()).unwrap_or(Path::new("."))
}

fn runs(directory: &Path) -> Check {
    let existing = existing(directory);
    if let Err(error) = tempfile::tempfile_in(existing) {
        let seen = format!("{} cannot be written to: {error}", existing.display());
        return check("runs", Status::Fail, seen).advise("give another directory: --runs-dir DIR");
    }
    let runs = rundir::list(directory).len();
    let free = rustix::fs::statvfs(existing).ok().map(|fs| fs.f_bavail.saturating_mul(fs.f_frsize));
    let seen = format!(
        "{runs} in {}, {} free",
        directory.display(),
        free.map_or_else(|| "space not known to be".to_owned(), bytes)
    );
    if free.is_some_and(|free| free < LEAST_SPACE) {
        return check("runs", Status::Warn, seen).advise("a 30-minute run takes 10 to 60 MB; connect-bench runs prune");
    }
    check("runs", Status::Ok, seen)
}

/// What killed runs left on servers.
fn left(directory: &Path) -> Check {
    let entries = std::fs::read_dir(directory).into_iter().flatten().flatten();
    let left: usize = entries.map(|entry| journal::peek(&entry.path()).len()).sum();
    if left > 0 {
        return check("left behind", Status::Warn, format!("{left} things that runs made are still on their servers"))
            .advise("connect-bench cleanup removes them");
    }
    check("left behind", Status::Ok, "nothing, as far as the journals here say")
}
