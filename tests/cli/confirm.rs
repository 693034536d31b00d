//! A server that is not this machine is confirmed by typing its name: in a pseudo-terminal, with a name that leads to a
//! sandbox here, so that nothing leaves the machine.

use std::process::Stdio;

use serde_json::Value;

use crate::support::{Bench, SHORT, Sandbox};

/// Starts the program in a terminal, types an answer where it is asked for one, and tells in JSON how it went.
const STAGE: &str = r#"
import json, os, pty, select, signal, sys, time

answer, command = eval(sys.argv[1]), sys.argv[2:]
pid, master = pty.fork()
if pid == 0:
    signal.signal(signal.SIGINT, signal.SIG_DFL)    # a shell ignores it in what it starts in the background
    os.execvp(command[0], command)
heard, asked, code, until = b"", False, None, time.monotonic() + 100
while time.monotonic() < until:
    ready, _, _ = select.select([master], [], [], 0.1)
    if ready:
        try: heard += os.read(master, 65536)
        except OSError: pass           # it has closed its end
    if not asked and b"Type its name to go ahead: " in heard:
        asked = True
        os.write(master, answer)
    ended, status = os.waitpid(pid, os.WNOHANG)
    if ended:
        code = os.waitstatus_to_exitcode(status)
        try:
            while select.select([master], [], [], 1)[0]: heard += os.read(master, 65536)
        except OSError: pass           # that was all
        break
else:
    os.kill(pid, 9); os.waitpid(pid, 0)
print(json.dumps({"asked": asked, "code": code, "heard": heard.decode(errors="replace")}))
"#;

/// What became of an answer, written as Python writes bytes.
async fn answered(bench: &Bench, answer: &str, flags: &[&str]) -> (bool, Option<i64>, String) {
    let line = [&SHORT[..], &["--no-publish", "--no-tui", "--allow-http"], flags].concat();
    let told = bench.play(STAGE, answer, &line).await;
    let told: Value = serde_json::from_str(&told.stdout).unwrap_or_else(|e| panic!("{e}: {told:#?}"));
    (told["asked"] == true, told["code"].as_i64(), told["heard"].as_str().unwrap().to_owned())
}

#[tokio::test]
async fn another_machine_is_confirmed_once_by_typing_its_name() {
    let python = std::process::Command::new("python3").arg("--version").stdout(Stdio::null()).status();
    assert!(python.is_ok_and(|status| status.success()), "there is no python3 to play the terminal");
    let sandbox = Sandbox::quick(&[]).await;
    let bench = Bench::new().with("CONNECT_API_KEY", &sandbox.key);
    let port = sandbox.url.rsplit(':').next().unwrap();
    let (server, known) = (format!("http://lab.test:{port}/"), bench.path().join(".config/connect-bench/hosts.toml"));
    let there = ["--server", &server, "--hosts", "lab.test=127.0.0.1"];
    // Another name, nothing, part of it, a longer one, the end of the input, and what is no text at all.
    for wrong in
        [r"b'lab.example\n'", r"b'\n'", r"b'lab\n'", r"b'lab.test2\n'", r"b'y\n'", r"b'\x04'", r"b'\xff\xfe\n'"]
    {
        let (asked, code, heard) = answered(&bench, wrong, &there).await;
        assert!(asked && code == Some(123), "{wrong}: {code:?}: {heard}");
        assert!(
            heard.contains("as much load on lab.test") && heard.contains("--allow-host lab.test"),
            "{wrong}: {heard}"
        );
    }
    let (asked, code, heard) = answered(&bench, r"b'\x03'", &there).await;
    assert!(asked && code == Some(-2), "Ctrl-C ends it: {code:?}: {heard}");
    assert_eq!((sandbox.requests().await, known.exists()), (0, false), "nothing was sent, nothing is remembered");
    // Where nobody can be asked it is not taken for granted either: CI, and no terminal.
    let ci = Bench::new().with("CONNECT_API_KEY", &sandbox.key).with("CI", "true");
    let (asked, code, heard) = answered(&ci, "b''", &there).await;
    assert!(!asked && code == Some(123), "{code:?}: {heard}");
    let line = [&SHORT[..], &["--no-publish", "--allow-http"], &there].concat();
    let mut piped = bench.start(&line);
    piped.say("lab.test\n").await;
    piped.end().await.fails(123, &["lab.test is not this machine", "--allow-host lab.test"]);
    assert_eq!(sandbox.requests().await, 0);
    // The name, however it is written: then it runs, and is not asked for again, in a terminal or without one.
    let (asked, code, heard) = answered(&bench, r"b' LAB.test \n'", &there).await;
    assert!(asked && matches!(code, Some(0 | 121)) && heard.contains("requests per second"), "{code:?}: {heard}");
    assert!(std::fs::read_to_string(&known).unwrap().contains("lab.test"));
    let (asked, code, heard) = answered(&bench, "b''", &there).await;
    assert!(!asked && matches!(code, Some(0 | 121)), "{code:?}: {heard}");
    bench.run(&line).await.passes();
    // That is for this host alone.
    let other = ["--server", &server.replace("lab", "web"), "--hosts", "web.test=127.0.0.1"];
    let (asked, code, heard) = answered(&bench, r"b'lab.test\n'", &other).await;
    assert!(asked && code == Some(123), "{code:?}: {heard}");
    assert!(sandbox.items().await.is_empty());
}
