//! The live view of a run in a real terminal: tmux holds it, types, changes its size, and says what is seen.

use std::path::PathBuf;
use std::process::{Command, Output, Stdio};
use std::time::{Duration, Instant};

use crate::support::{Bench, Sandbox};

/// Nothing here takes as long, however busy the machine.
const PATIENCE: Duration = Duration::from_secs(90);

/// A tmux server of its own, which ends with this value.
struct Tmux {
    folder: tempfile::TempDir,
}

impl Tmux {
    /// `None`, and said why, where there is no tmux; with CI set that is a failure.
    fn start(size: (u16, u16)) -> Option<Tmux> {
        let there = Command::new("tmux").arg("-V").stdout(Stdio::null()).status().is_ok_and(|status| status.success());
        if !there {
            assert!(std::env::var_os("CI").is_none(), "tmux is missing");
            #[expect(clippy::print_stderr, reason = "the only way to say that a test was left out")]
            {
                eprintln!("left out: there is no tmux to hold a terminal");
            }
            return None;
        }
        let tmux = Tmux { folder: tempfile::tempdir().unwrap() };
        let (width, height) = (size.0.to_string(), size.1.to_string());
        // A shell without a prompt of its own, that says when a program has ended, and how.
        let shell = "PS1='ready> ' exec sh -i";
        tmux.tell(&["-f", "/dev/null", "new-session", "-d", "-x", &width, "-y", &height, shell]);
        tmux.see("ready>");
        Some(tmux)
    }

    fn run(&self, arguments: &[&str]) -> Output {
        let socket: PathBuf = self.folder.path().join("socket");
        let mut command = Command::new("tmux");
        for name in ["CI", "NO_COLOR", "TMUX", "CONNECT_SERVER", "CONNECT_API_KEY"] {
            command.env_remove(name);
        }
        command.env("LC_ALL", "C.UTF-8").args(["-u", "-S"]).arg(socket).args(arguments).output().unwrap()
    }

    fn tell(&self, arguments: &[&str]) {
        let ended = self.run(arguments);
        assert!(ended.status.success(), "{arguments:?}: {ended:?}");
    }

    /// Types text, or keys by tmux's names.
    fn press(&self, keys: &str) {
        self.tell(&["send-keys", keys]);
    }

    fn line(&self, text: &str) {
        self.tell(&["send-keys", "-l", text]);
        self.press("Enter");
    }

    fn screen(&self) -> String {
        String::from_utf8(self.run(&["capture-pane", "-p"]).stdout).unwrap()
    }

    #[expect(clippy::disallowed_methods, reason = "a real terminal is looked at until something is seen")]
    fn wait(&self, what: &str, is_seen: impl Fn(&str) -> bool) -> String {
        let until = Instant::now() + PATIENCE;
        loop {
            let screen = self.screen();
            if is_seen(&screen) {
                return screen;
            }
            assert!(Instant::now() < until, "never seen: {what}\n{screen}");
            std::thread::sleep(Duration::from_millis(100));
        }
    }

    fn see(&self, text: &str) -> String {
        self.wait(text, |screen| screen.contains(text))
    }

    /// Whether programs in it are shown on the other screen.
    fn is_other_screen(&self) -> bool {
        self.run(&["display-message", "-p", "#{alternate_on}"]).stdout.starts_with(b"1")
    }

    fn see_other_screen(&self, on: bool) {
        let what = if on { "the other screen" } else { "the first screen again" };
        self.wait(what, |_| self.is_other_screen() == on);
    }

    /// Whether the terminal echoes what is typed and its cursor is to be seen, as a shell wants it.
    fn is_sane(&self) {
        self.line("stty -a | grep -c ' icanon' ; stty -a | grep -c ' echo '");
        self.wait("a terminal as it was", |screen| screen.contains("1\n1\n"));
        assert!(
            self.run(&["display-message", "-p", "#{cursor_flag}"]).stdout.starts_with(b"1"),
            "the cursor is hidden"
        );
        assert!(!self.is_other_screen());
        self.line("clear");
    }
}

impl Drop for Tmux {
    fn drop(&mut self) {
        self.run(&["kill-server"]);
    }
}

/// A command line for the shell in there. The key is in a file, so that it is never seen.
fn command(sandbox: &Sandbox, bench: &Bench, flags: &str) -> String {
    let key = bench.path().join("key");
    std::fs::write(&key, &sandbox.key).unwrap();
    let program = env!("CARGO_BIN_EXE_connect-bench");
    let (url, folder, key) = (&sandbox.url, bench.path().display(), key.display());
    format!("cd {folder}; {program} load -s {url} --api-key-file {key} -u 12 --warmup 1s {flags}; echo en''ded $?")
}

#[tokio::test]
async fn the_live_view_follows_keys_and_sizes_and_leaves_the_terminal_as_it_was() {
    let Some(tmux) = Tmux::start((80, 24)) else { return };
    let sandbox = Sandbox::quick(&[]).await;
    let bench = Bench::new();
    tmux.line(&command(&sandbox, &bench, "-d 300s --threshold 'http_req_failed: rate<0.5'"));
    let screen = tmux.wait("figures", |screen| screen.contains("✓ OK") && screen.contains("Generator"));
    assert!(screen.starts_with("connect-bench load"), "{screen}");
    assert!(screen.contains("SANDBOX") && screen.contains("VUs 12/12") && screen.contains("200:"), "{screen}");
    assert!(tmux.is_other_screen());
    tmux.press("h");
    tmux.see("Latency of fetches, the measured part");
    tmux.press("e");
    tmux.see("Errors since the start");
    tmux.press("n");
    tmux.see("Nodes since the start");
    tmux.press("?");
    tmux.see("Reading it");
    // A key of several bytes means nothing: F1 is ESC O P.
    tmux.press("F1");
    tmux.press("Escape");
    // What follows an escape at once would be one key with it.
    tmux.wait("the overview", |screen| screen.contains("Generator") && !screen.contains("Reading it"));
    assert!(!tmux.screen().contains("PAUSED"));
    tmux.press("+");
    tmux.see("fetch: 12 → 13 VUs");
    tmux.press("p");
    tmux.see("PAUSED");
    tmux.press("p");
    tmux.press("Space");
    tmux.see("DISPLAY FROZEN");
    tmux.press("Space");
    tmux.wait("a display that goes on", |screen| !screen.contains("DISPLAY FROZEN"));
    tmux.tell(&["resize-window", "-x", "132", "-y", "40"]);
    tmux.wait("the new size", |screen| {
        screen.lines().count() == 40 && screen.lines().last().is_some_and(|l| l.contains(" help"))
    });
    tmux.tell(&["resize-window", "-x", "38", "-y", "6"]);
    tmux.see("too small");
    tmux.tell(&["resize-window", "-x", "80", "-y", "24"]);
    tmux.see("Generator");
    tmux.press("C-z");
    tmux.see_other_screen(false);
    tmux.is_sane();
    // The shell went on with the rest of its line when the program was stopped.
    tmux.line("fg; echo ended $?");
    tmux.see_other_screen(true);
    tmux.see("Generator");
    tmux.press("q");
    tmux.see_other_screen(false);
    // What was said meanwhile is said again, and the result is there.
    let screen = tmux.see("ended 103");
    assert!(screen.contains("run directory:"), "{screen}");
    tmux.line("clear");
    tmux.is_sane();
    assert!(sandbox.items().await.is_empty());
}

#[tokio::test]
async fn the_terminal_is_as_it_was_after_every_signal() {
    let Some(tmux) = Tmux::start((80, 24)) else { return };
    let sandbox = Sandbox::quick(&[]).await;
    let bench = Bench::new();
    for (how, code) in [("C-c", "105"), ("TERM", "105"), ("C-\\", "134")] {
        tmux.line(&command(&sandbox, &bench, "-d 300s --no-publish"));
        tmux.see_other_screen(true);
        tmux.see("200:");
        match how {
            "TERM" => {
                let found = Command::new("pgrep").arg("-f").arg(format!("load -s {}", sandbox.url)).output().unwrap();
                let pid = String::from_utf8(found.stdout).unwrap().lines().last().unwrap().parse().unwrap();
                let pid = rustix::process::Pid::from_raw(pid).unwrap();
                rustix::process::kill_process(pid, rustix::process::Signal::TERM).unwrap();
            }
            key => tmux.press(key),
        }
        tmux.see(&format!("ended {code}"));
        tmux.line("clear");
        tmux.is_sane();
    }
}

#[tokio::test]
async fn who_wants_no_screen_or_no_colour_gets_none() {
    let Some(tmux) = Tmux::start((100, 24)) else { return };
    let sandbox = Sandbox::quick(&[]).await;
    let bench = Bench::new();
    let plain = command(&sandbox, &bench, "-d 4s --no-publish --no-tui");
    for before in ["", "export CI=1; ", "export TERM=dumb; "] {
        let flags = if before.is_empty() { plain.clone() } else { plain.replace(" --no-tui", "") };
        tmux.line(&format!("({before}{flags})"));
        tmux.wait("the end", |screen| {
            assert!(!tmux.is_other_screen(), "{before}");
            screen.contains("ended ")
        });
        tmux.line("clear");
        tmux.wait("nothing", |screen| !screen.contains("ended "));
    }
    let flags = command(&sandbox, &bench, "-d 300s --no-publish");
    tmux.line(&format!("(export NO_COLOR=1; {flags})"));
    tmux.see("Generator");
    let cells = String::from_utf8(tmux.run(&["capture-pane", "-p", "-e"]).stdout).unwrap();
    // SGR 30 to 49, and 90 to 107, are colours.
    let coloured = cells.split("\u{1b}[").skip(1).filter_map(|rest| rest.split_once('m')).any(|(codes, _)| {
        codes
            .split(';')
            .filter_map(|code| code.parse::<u32>().ok())
            .any(|code| (30..39).contains(&code) || (40..49).contains(&code) || (90..108).contains(&code))
    });
    assert!(!coloured, "{cells:?}");
    tmux.press("q");
    tmux.see("ended 103");
}
