//! `connect-bench init`: a configuration file and a scenario file to begin with, with comments. Nothing that is there is
//! overwritten.

use std::path::Path;

use anyhow::{Context as _, anyhow};

use super::failure::Failure;
use super::output;
use crate::cli::{CONFIG_FILE, InitArgs};
use crate::exit::Exit;
use crate::rundir::write_whole;

/// The name of the scenario file.
pub(super) const SCENARIO_FILE: &str = "scenario.toml";
const CONFIGURATION: &str = include_str!("init/connect-bench.toml");
const SCENARIO: &str = include_str!("init/scenario.toml");

pub(super) fn run(args: &InitArgs) -> Result<Exit, Failure> {
    let files = [(CONFIG_FILE, configuration(args)?), (SCENARIO_FILE, SCENARIO.replace("@FILE@", SCENARIO_FILE))];
    let there: Vec<String> = files
        .iter()
        .map(|(name, _)| args.dir.join(name))
        .filter(|path| path.symlink_metadata().is_ok())
        .map(|path| path.display().to_string())
        .collect();
    if !there.is_empty() && !args.force {
        let error = anyhow!("{} is there already; nothing was written: --force overwrites", there.join(" and "));
        return Err(Failure::invalid(error));
    }
    std::fs::create_dir_all(&args.dir)
        .with_context(|| format!("{}: cannot be made", args.dir.display()))
        .map_err(Failure::invalid)?;
    for (name, text) in &files {
        write(&args.dir.join(name), text)?;
    }
    let folder = args.dir.display();
    let here = if args.dir == Path::new(".") { String::new() } else { format!("cd {folder}; ") };
    output::print(&format!(
        "wrote {CONFIG_FILE} and {SCENARIO_FILE} into {folder}\n\n\
         next:  {here}connect-bench doctor                               is everything there?\n       \
         {here}connect-bench run {SCENARIO_FILE} --sandbox=small     try the scenario on a stand-in\n       \
         {here}connect-bench ramp                                 how many VUs saturate the server?\n"
    ))?;
    Ok(Exit::Pass)
}

fn write(path: &Path, text: &str) -> Result<(), Failure> {
    write_whole(path, text.as_bytes()).with_context(|| format!("{}", path.display())).map_err(Failure::invalid)
}

/// The configuration file, with the server that was named.
fn configuration(args: &InitArgs) -> Result<String, Failure> {
    let value = |text: &str| {
        // As TOML writes it: a basic string.
        toml::Value::String(text.to_owned()).to_string()
    };
    if let Some(server) = &args.server {
        crate::posit_connect::ServerAddress::parse(server).map_err(|e| Failure::new(Exit::Usage, e))?;
    }
    let name = args
        .name
        .as_deref()
        .map_or_else(|| "# name = \"production\"".to_owned(), |name| format!("name = {}", value(name)));
    let server = args.server.as_deref().map_or_else(
        || "# server = \"https://connect.example.com\"".to_owned(),
        |server| format!("server = {}", value(server)),
    );
    Ok(CONFIGURATION.replace("@NAME@", &name).replace("@SERVER@", &server))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn args(name: Option<&str>, server: Option<&str>) -> InitArgs {
        InitArgs { dir: ".".into(), force: false, name: name.map(str::to_owned), server: server.map(str::to_owned) }
    }

    #[test]
    fn what_is_commented_out_can_be_put_in() {
        let text = configuration(&args(None, None)).unwrap();
        let active = |line: &str| match line.strip_prefix("# ") {
            Some(rest) if rest.split_once(" = ").is_some_and(|(key, _)| !key.contains(' ')) => rest.to_owned(),
            _ => line.to_owned(),
        };
        let all: String = text.lines().map(|line| active(line) + "\n").collect();
        assert!(all.contains("\nname = \"production\"") && all.contains("\nthen-load = \"30m\""));
        for command in ["ramp", "load", "gate", "doctor"] {
            for text in [&text, &all] {
                crate::cli::added_by(text, &["connect-bench", command]).unwrap();
            }
        }
        let load = crate::cli::added_by(&all, &["connect-bench", "load", "-s", "http://127.0.0.1"]).unwrap();
        assert!(load.contains(&"--vus=250".to_owned()) && !load.iter().any(|a| a.starts_with("--name")), "{load:?}");
    }

    #[test]
    fn a_name_with_quotes_stays_one_value() {
        let text = configuration(&args(Some("a\"b\\c"), Some("https://connect.example.com/rsc"))).unwrap();
        let table: toml::Table = text.parse().unwrap();
        assert_eq!(table["name"].as_str(), Some("a\"b\\c"));
        assert_eq!(table["server"].as_str(), Some("https://connect.example.com/rsc"));
        assert!(configuration(&args(None, Some("no url"))).is_err());
    }

    #[test]
    fn the_scenario_can_be_run() {
        let test = crate::scenario::read_in(SCENARIO, Path::new(".")).unwrap();
        assert_eq!(test.scenarios.len(), 2);
        assert_eq!(test.thresholds.len(), 2);
    }
}
