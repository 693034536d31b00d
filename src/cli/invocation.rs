//! What was typed, written in one way and without a key: by it a run is made again.

use std::collections::BTreeSet;
use std::ffi::OsString;

use clap::parser::ValueSource;
use clap::{ArgMatches, CommandFactory as _, FromArgMatches as _};

use super::{Cli, Command};

/// Arguments that are never written down.
const SECRET: [&str; 1] = ["api_key"];
/// Arguments that may have a user's name and password in them.
const ADDRESSES: [&str; 4] = ["server", "url", "proxy", "out"];

/// Parses the command line, or ends the process with what is wrong with it.
#[must_use]
pub fn parse() -> Cli {
    read(std::env::args_os()).unwrap_or_else(|fault| fault.exit())
}

fn read(arguments: impl IntoIterator<Item = OsString>) -> Result<Cli, clap::Error> {
    let matches = Cli::command().try_get_matches_from(arguments)?;
    let mut cli = Cli::from_arg_matches(&matches)?;
    let typed = typed(&matches);
    match &mut cli.command {
        Command::Ramp(args) => args.run.output.invocation = typed,
        Command::Load(args) => args.run.output.invocation = typed,
        Command::Run(args) => args.run.output.invocation = typed,
        _ => {}
    }
    Ok(cli)
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
        let arguments = ["connect-bench"].iter().chain(line).map(OsString::from);
        match read(arguments).unwrap().command {
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
        assert_eq!(without_user("http://127.0.0.1:8080/a@b"), "http://127.0.0.1:8080/a@b");
    }

    #[test]
    fn a_written_line_can_be_typed_again() {
        let first = invocation(&["load", "-u", "3", "--sandbox-curve", "100,50,6,0", "-d", "2s", "--no-publish"]);
        let again: Vec<&str> = first.iter().map(String::as_str).collect();
        assert_eq!(invocation(&again), first);
        assert!(flags("load").contains("vus") && !flags("load").contains("then-load"));
    }
}
