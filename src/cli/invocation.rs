//! What was typed, written in one way and without a key: by it a run is made again.

use std::collections::BTreeSet;
use std::ffi::OsString;
use std::path::PathBuf;

use clap::parser::ValueSource;
use clap::{ArgMatches, CommandFactory as _, FromArgMatches as _};

use super::configured::{self, ConfigFault, Reading};
use super::{Cli, Command, LoadArgs};

/// Arguments that are never written down.
const SECRET: [&str; 1] = ["api_key"];
/// Arguments that may have a user's name and password in them.
const ADDRESSES: [&str; 5] = ["server", "url", "proxy", "out", "server-metrics"];

/// A command line that cannot be used.
#[derive(Debug, thiserror::Error)]
enum Fault {
    #[error(transparent)]
    Typed(#[from] clap::Error),
    #[error(transparent)]
    Configured(#[from] ConfigFault),
}

/// Parses the command line, with what `connect-bench.toml` adds to it. Ends the process where what was typed makes no
/// sense, or is a question for help.
///
/// # Errors
/// Where the configuration file makes no sense.
pub fn parse() -> Result<Cli, ConfigFault> {
    let arguments: Vec<OsString> = std::env::args_os().collect();
    let env = |name: &str| std::env::var_os(name);
    match read(&arguments, |named| configured::find(named, env)) {
        Ok(cli) => Ok(cli),
        Err(Fault::Typed(fault)) => fault.exit(),
        Err(Fault::Configured(fault)) => Err(fault),
    }
}

/// Reads a command line; `find` says which configuration file there is, given the one that was named.
fn read(arguments: &[OsString], find: impl Fn(Option<PathBuf>) -> Option<PathBuf>) -> Result<Cli, Fault> {
    let mut command = Cli::command();
    let matches = command.clone().try_get_matches_from(arguments)?;
    one_key(&mut command, &matches)?;
    let Some(path) = find(matches.get_one::<PathBuf>("config").cloned()) else {
        return Ok(resolved(&matches)?);
    };
    let unreadable = |source| ConfigFault::Unreadable { path: path.clone(), source };
    let text = std::fs::read_to_string(&path).map_err(unreadable)?;
    let added = Reading { path: &path, text: &text, cli: &command }.arguments(&matches)?;
    if added.is_empty() {
        return Ok(resolved(&matches)?);
    }
    let all = with(arguments, &added, &matches);
    let matches = command.try_get_matches_from(all).map_err(|error| ConfigFault::Refused {
        path: path.clone(),
        added: added.join(" "),
        refused: error.render().to_string().trim_start_matches("error: ").trim_end().to_owned(),
    })?;
    let mut cli = resolved(&matches)?;
    let says = Some(format!("{} adds {}", path.display(), added.join(" ")));
    match &mut cli.command {
        Command::Ramp(args) => args.run.output.configured = says,
        Command::Load(args) => args.run.output.configured = says,
        Command::Run(args) => args.run.output.configured = says,
        Command::Doctor(args) => args.configured = says,
        _ => {}
    }
    Ok(cli)
}

/// The arguments, with some more right after the subcommand.
fn with(arguments: &[OsString], added: &[String], matches: &ArgMatches) -> Vec<OsString> {
    let name = matches.subcommand_name().unwrap_or_default();
    // The value of --config may be called like a command.
    let is_value = |at: usize| at > 0 && arguments[at - 1] == "--config";
    let at = (1..arguments.len()).find(|&at| arguments[at] == name && !is_value(at)).unwrap_or(0);
    let (before, after) = arguments.split_at(at + 1);
    before.iter().cloned().chain(added.iter().map(OsString::from)).chain(after.iter().cloned()).collect()
}

fn resolved(matches: &ArgMatches) -> Result<Cli, clap::Error> {
    let mut cli = Cli::from_arg_matches(matches)?;
    let typed = typed(matches);
    match &mut cli.command {
        Command::Ramp(args) => args.run.output.invocation = typed,
        Command::Load(args) => args.run.output.invocation = typed,
        Command::Run(args) => args.run.output.invocation = typed,
        _ => {}
    }
    Ok(cli)
}

/// Parses a command line that was written down.
///
/// # Errors
/// What is wrong with it, as for one that was typed.
pub fn reparse(arguments: impl IntoIterator<Item = String>) -> Result<Cli, String> {
    let arguments: Vec<OsString> = arguments.into_iter().map(OsString::from).collect();
    read(&arguments, |_| None).map_err(|fault| fault.to_string())
}

/// A key by flag and another by file: nobody can mean both. The environment's gives way to either.
fn one_key(command: &mut clap::Command, matches: &ArgMatches) -> Result<(), clap::Error> {
    let Some((_, matches)) = matches.subcommand() else { return Ok(()) };
    let typed = |id| matches.try_contains_id(id).is_ok() && matches.value_source(id) == Some(ValueSource::CommandLine);
    if typed("api_key") && typed("api_key_file") {
        let what = "the argument '--api-key' cannot be used with '--api-key-file'";
        return Err(command.error(clap::error::ErrorKind::ArgumentConflict, what));
    }
    Ok(())
}

/// Where a key stands among the arguments: which one it is, and at which of its bytes the key begins.
#[must_use]
pub fn typed_key(arguments: &[OsString]) -> Option<(usize, usize)> {
    let cli = Cli::command();
    let takes = |letter: char| {
        let all = cli.get_subcommands().flat_map(clap::Command::get_arguments);
        let mut of_letter = all.filter(|argument| argument.get_short() == Some(letter));
        of_letter.any(|argument| argument.get_action().takes_values())
    };
    let named = arguments.windows(2).filter(|pair| pair[0] != "--config").filter_map(|pair| pair[1].to_str());
    let command = named.filter_map(|name| cli.find_subcommand(name)).next();
    if command.is_some_and(|command| command.get_name() == "sandbox") {
        // It gives this key to others: it prints it.
        return None;
    }
    for (at, argument) in arguments.iter().enumerate().skip(1) {
        let Some(text) = argument.to_str() else { continue };
        if text == "--" {
            break;
        }
        if text == "--api-key" {
            return (at + 1 < arguments.len()).then_some((at + 1, 0));
        }
        if text.starts_with("--api-key=") {
            return Some((at, "--api-key=".len()));
        }
        let Some(letters) = text.strip_prefix('-').filter(|rest| !rest.starts_with('-')) else { continue };
        // Letters in one argument: the first that takes a value has the rest.
        let Some((begin, letter)) = letters.char_indices().find(|(_, letter)| takes(*letter)) else { continue };
        if letter != 'k' {
            continue;
        }
        let value = begin + 2 + usize::from(letters[begin + 1..].starts_with('='));
        let here = value < text.len();
        return if here { Some((at, value)) } else { (at + 1 < arguments.len()).then_some((at + 1, 0)) };
    }
    None
}

/// The arguments of a load test that is made from within; `None` where there is no such line. No file is read for it.
#[must_use]
pub fn load(flags: &[&str]) -> Option<LoadArgs> {
    let line: Vec<OsString> = ["connect-bench", "load"].iter().chain(flags).map(OsString::from).collect();
    match read(&line, |_| None).ok()?.command {
        Command::Load(args) => Some(args),
        _ => None,
    }
}

/// The long flags of a subcommand.
#[must_use]
pub fn flags(subcommand: &str) -> BTreeSet<String> {
    let cli = Cli::command();
    let command = cli.find_subcommand(subcommand);
    let arguments = command.into_iter().flat_map(clap::Command::get_arguments);
    arguments.filter_map(|argument| argument.get_long()).map(str::to_owned).collect()
}

/// The subcommand and its arguments as `--name=value`, of those that were typed.
fn typed(matches: &ArgMatches) -> Vec<String> {
    let Some((name, matches)) = matches.subcommand() else { return Vec::new() };
    let mut out = vec![name.to_owned()];
    let cli = Cli::command();
    let arguments = cli.find_subcommand(name).into_iter().flat_map(clap::Command::get_arguments);
    for argument in arguments {
        let id = argument.get_id().as_str();
        if SECRET.contains(&id) || matches.value_source(id) != Some(ValueSource::CommandLine) {
            continue;
        }
        let takes = argument.get_num_args().is_none_or(|n| n.takes_values()) && argument.get_action().takes_values();
        let values = matches.get_raw(id).into_iter().flatten().map(|value| value.to_string_lossy());
        match argument.get_long() {
            Some(long) if takes && ADDRESSES.contains(&long) => {
                // A file among them may have an @ in its name.
                let address = |value: &str| long != "out" || value.contains("://");
                let masked = |value: &str| if address(value) { without_user(value) } else { value.to_owned() };
                out.extend(values.map(|value| format!("--{long}={}", masked(&value))));
            }
            Some(long) if takes => out.extend(values.map(|value| format!("--{long}={value}"))),
            Some(long) => out.push(format!("--{long}")),
            None => out.extend(values.map(|value| value.into_owned())),
        }
    }
    out
}

/// An address without a user's name and password, which are as secret as a key; with or without its scheme.
fn without_user(value: &str) -> String {
    let begin = value.find("//").map_or(0, |at| at + 2);
    let end = value[begin..].find(['/', '?', '#']).map_or(value.len(), |at| begin + at);
    // Without a path there can be no @ behind the host; a slash before it is one of a password that was not coded.
    let end = if value[begin..end].contains('.') || value[begin..end].contains('@') { end } else { value.len() };
    match value[begin..end].rfind('@') {
        Some(at) => format!("{}{}", &value[..begin], &value[begin + at + 1..]),
        None => value.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn invocation(line: &[&str]) -> Vec<String> {
        let arguments: Vec<OsString> = ["connect-bench"].iter().chain(line).map(OsString::from).collect();
        match read(&arguments, |_| None).unwrap().command {
            Command::Load(args) => args.run.output.invocation,
            Command::Ramp(args) => args.run.output.invocation,
            _ => Vec::new(),
        }
    }

    #[test]
    fn what_was_typed_is_written_in_one_way() {
        let line = ["load", "-qu", "20", "-d", "30s", "--sandbox", "--threshold", "http_reqs: count>1", "-o=a.json"];
        let expected = ["load", "--sandbox=small", "--output=a.json", "--quiet", "--vus=20", "--duration=30s"];
        let mut got = invocation(&line);
        assert_eq!(
            got.remove(got.iter().position(|a| a.starts_with("--threshold")).unwrap()),
            "--threshold=http_reqs: count>1"
        );
        got.sort();
        let mut sorted: Vec<&str> = expected.to_vec();
        sorted.sort_unstable();
        assert_eq!(got, sorted);
        assert_eq!(invocation(&["ramp"]), ["ramp"]);
    }

    #[test]
    fn no_key_and_no_password_is_written() {
        for key in [&["-k", "s3cret"][..], &["-ks3cret"], &["--api-key=s3cret"], &["-qks3cret"]] {
            let line = [&["load", "-s", "https://connect.example.com"][..], key].concat();
            let got = invocation(&line);
            assert!(
                got.iter().all(|a| !a.contains("s3cret"))
                    && got.contains(&"--server=https://connect.example.com".to_owned()),
                "{got:?}"
            );
        }
        let got = invocation(&["load", "-s", "https://me:s3cret@connect.example.com/x"]);
        assert_eq!(got, ["load", "--server=https://connect.example.com/x"]);
        assert_eq!(
            invocation(&["load", "--proxy", "me:s3c/ret@proxy:3128"])[1],
            "--proxy=me:s3c/ret@proxy:3128".replace("me:s3c/ret@", "")
        );
        let outs =
            invocation(&["load", "--out", "otlp=http://me:s3cret@collector:4318", "--out", "json=/tmp/a@b.json"]);
        assert_eq!(outs[1..], ["--out=otlp=http://collector:4318", "--out=json=/tmp/a@b.json"]);
        let scrapes = invocation(&["load", "--server-metrics=https://me:s3cret@node:9100/metrics"]);
        assert_eq!(scrapes[1..], ["--server-metrics=https://node:9100/metrics"]);
        assert_eq!(without_user("http://127.0.0.1:8080/a@b"), "http://127.0.0.1:8080/a@b");
    }

    #[test]
    fn a_typed_key_is_found_wherever_it_may_stand() {
        let found = |line: &[&str]| {
            let arguments: Vec<OsString> = ["connect-bench"].iter().chain(line).map(OsString::from).collect();
            typed_key(&arguments).map(|(at, byte)| arguments[at].to_str().unwrap()[byte..].to_owned())
        };
        let lines: [&[&str]; 8] = [
            &["load", "-k", "s3cret"],
            &["load", "-ks3cret"],
            &["load", "-k=s3cret"],
            &["load", "-qks3cret"],
            &["load", "-qvk", "s3cret"],
            &["load", "--api-key", "s3cret", "-u", "4"],
            &["cleanup", "--api-key=s3cret"],
            &["--config", "sandbox", "load", "-k", "s3cret"],
        ];
        for line in lines {
            assert_eq!(found(line).as_deref(), Some("s3cret"), "{line:?}");
            let arguments: Vec<OsString> = ["connect-bench"].iter().chain(line).map(OsString::from).collect();
            assert!(read(&arguments, |_| None).is_ok(), "{line:?}");
        }
        let others: [&[&str]; 6] = [
            &["load", "-u", "4"],
            &["load", "-nk"],
            &["load", "-k"],
            &["run", "--", "-k", "x"],
            &["sandbox", "--api-key", "x"],
            &["-v", "sandbox", "node", "--api-key=x"],
        ];
        for line in others {
            assert_eq!(found(line), None, "{line:?}");
        }
    }

    #[test]
    fn a_key_comes_in_one_way() {
        let both = ["connect-bench", "load", "-k", "a", "--api-key-file", "b"].map(OsString::from);
        let Some(Fault::Typed(fault)) = read(&both, |_| None).err() else { panic!("not refused") };
        assert_eq!(fault.kind(), clap::error::ErrorKind::ArgumentConflict);
    }

    #[test]
    fn what_a_file_adds_is_written_down_too_and_a_wrong_value_in_it_is_its_fault() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("load");
        let load = |text: &str, line: &[&str]| {
            std::fs::write(&path, text).unwrap();
            let path = path.clone();
            let line = [&["connect-bench", "--config", "load", "load"], line].concat();
            read(&line.iter().map(OsString::from).collect::<Vec<_>>(), move |_| Some(path.clone()))
        };
        let cli = load("vus = 20\n[load]\nduration = \"30s\"", &["--sandbox"]).unwrap();
        let Command::Load(args) = cli.command else { panic!("another command") };
        let said = args.run.output.configured.as_deref();
        assert!(said.is_some_and(|added| added.ends_with("adds --duration=30s --vus=20")), "{said:?}");
        assert_eq!((args.vus, args.duration.as_secs()), (Some(20), 30));
        assert_eq!(args.run.output.invocation.len(), 4);
        let wrong = load("vus = \"many\"", &[]).err().unwrap().to_string();
        assert!(wrong.contains("adds to the command line (--vus=many)") && wrong.contains("invalid value"), "{wrong}");
    }

    #[test]
    fn a_written_line_can_be_typed_again() {
        let first = invocation(&["load", "-u", "3", "--sandbox-curve", "100,50,6,0", "-d", "2s", "--no-publish"]);
        let again: Vec<&str> = first.iter().map(String::as_str).collect();
        assert_eq!(invocation(&again), first);
        assert!(flags("load").contains("vus") && !flags("load").contains("then-load"));
    }
}
