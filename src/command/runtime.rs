//! Process settings of the content for the time of a run: what the flags want, and what holds in the end.

use std::time::Duration;

use serde_json::{Number, Value};

use super::failure::Failure;
use crate::cli::RuntimeArgs;
use crate::plan::{Processes, Setting, SettingFrom};
use crate::posit_connect::Client;
use crate::posit_connect::settings::values;
use crate::posit_connect::types::{Content, RuntimeSettings};

/// The longest time-out that Connect takes: thirty days.
const LONGEST: Duration = Duration::from_secs(2_592_000);
/// Connect's settings, in the order in which they are shown.
const NAMES: [&str; 8] = [
    "min_processes",
    "max_processes",
    "max_conns_per_process",
    "load_factor",
    "init_timeout",
    "idle_timeout",
    "connection_timeout",
    "read_timeout",
];

/// What the flags want.
pub(super) fn wanted(args: &RuntimeArgs) -> Result<RuntimeSettings, Failure> {
    let seconds = |flag: &str, time: Option<Duration>| match time {
        Some(time) if time > LONGEST || time.subsec_nanos() > 0 => {
            Err(Failure::usage(format!("--{flag}: whole seconds, at most 30d, because that is what Connect takes")))
        }
        time => Ok(time.and_then(|time| u32::try_from(time.as_secs()).ok())),
    };
    if args.load_factor.is_some_and(|share| !(0.0..=1.0).contains(&share)) {
        return Err(Failure::usage("--load-factor: from 0 to 1"));
    }
    if let (Some(min), Some(max)) = (args.min_processes, args.max_processes)
        && min > max
    {
        return Err(Failure::usage(format!("--min-processes {min} is more than --max-processes {max}")));
    }
    Ok(RuntimeSettings {
        min_processes: args.min_processes,
        max_processes: args.max_processes,
        max_conns_per_process: args.max_conns_per_process,
        load_factor: args.load_factor,
        init_timeout: seconds("init-timeout", args.init_timeout)?,
        idle_timeout: seconds("idle-timeout", args.idle_timeout)?,
        read_timeout: seconds("read-timeout", args.read_timeout)?,
        connection_timeout: seconds("connection-timeout", args.connection_timeout)?,
    })
}

/// What holds: the run's, the content item's own, and where it has none the server's; and the limits that follow, where
/// they are known.
pub(super) async fn effective(
    client: &Client,
    content: &Content,
    wanted: &RuntimeSettings,
) -> (Vec<Setting>, Option<Processes>) {
    let defaults = client.scheduler_settings(&content.app_mode).await.ok().flatten().unwrap_or_default();
    let (own, wanted) = (values(&content.runtime), values(wanted));
    let number = |value: Option<&Value>| match value {
        Some(Value::Number(number)) => Some(number.clone()),
        _ => None,
    };
    let setting = |name: &&str| -> Option<Setting> {
        let from = if wanted.contains_key(*name) { SettingFrom::Run } else { SettingFrom::Content };
        let own = number(own.get(*name)).map(|value| (value, from));
        let (value, from) = own.or_else(|| Some((number(defaults.get(*name))?, SettingFrom::Server)))?;
        Some(Setting { name: (*name).to_owned(), value, from })
    };
    let settings: Vec<Setting> = NAMES.iter().filter_map(setting).collect();
    let count = |name: &str| {
        let value = settings.iter().find(|setting| setting.name == name).map(|setting| &setting.value);
        value.and_then(Number::as_u64).and_then(|n| u32::try_from(n).ok())
    };
    let limits = count("max_processes").zip(count("max_conns_per_process"));
    let min = count("min_processes").unwrap_or(0);
    let processes = limits.map(|(max, max_conns)| Processes { min, max, max_conns });
    (settings, processes)
}
