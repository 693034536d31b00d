//! The binary against a WebSocket server of another language: `websockets`, as Python's programs use it.
//!
//! It is installed into a virtual environment under `target/tmp`, once. Where Python or the package cannot be had the
//! test says so and passes; with `CI` set in the environment it fails instead.

use std::io::{BufRead as _, BufReader, Read as _};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use serde_json::Value;

use crate::watched;

const PACKAGE: &str = "websockets==15.0.1";
/// Serves until its stdin is closed, then says what it has seen.
const SERVER: &str = r#"
import asyncio, http, json, sys
from websockets.asyncio.server import serve
from websockets.exceptions import ConnectionClosed

seen = {"sessions": 0, "received": 0, "sent": 0, "codes": {}, "keys": 0}

async def talk(socket):
    seen["sessions"] += 1
    seen["keys"] += "authorization" in socket.request.headers
    assert socket.subprotocol == "chat", socket.subprotocol
    await socket.ping()
    await socket.send(json.dumps({"hello": socket.request.headers["user-agent"].split("/")[0]}))
    seen["sent"] += 1
    try:
        async for message in socket:
            seen["received"] += 1
            if isinstance(message, bytes):
                await socket.send(message[::-1])
            elif message == "in pieces":
                await socket.send(["one ", "and ", "two ", "x" * 70000])
            else:
                await socket.send(json.dumps({"got": message}))
            seen["sent"] += 1
    except ConnectionClosed:
        pass
    code = str(socket.close_code)
    seen["codes"][code] = seen["codes"].get(code, 0) + 1

def page(connection, request):
    if request.path == "/closed":
        return connection.respond(http.HTTPStatus.FORBIDDEN, "no")
    if "Upgrade" not in request.headers:
        return connection.respond(http.HTTPStatus.OK, "a page")

async def main():
    async with serve(talk, "127.0.0.1", 0, subprotocols=["chat"], process_request=page) as server:
        print(server.sockets[0].getsockname()[1], flush=True)
        await asyncio.get_running_loop().run_in_executor(None, sys.stdin.read)
    print(json.dumps(seen), flush=True)

asyncio.run(main())
"#;
const STEPS: &str = r#"
[scenarios.talkers]
executor = "per-vu-iterations"
exec = "talk"
vus = 5
iterations = 8
maxDuration = "60s"

[thresholds]
"ws_expect_duration{step:talk}" = ["p(95)<10000"]
ws_sessions = ["count>1"]
ws_msgs_received = ["count>1"]

[[steps.talk]]
name = "page"
get = "/"

[[steps.talk]]
name = "talk"
websocket = "/"
protocols = ["other", "chat"]
timeout = "20s"
actions = [
  { expect = { json = "$.hello", equals = "connect-bench" } },
  { send = "vu ${vu}, iteration ${iteration} ✓" },
  { expect = { json = "$.got", matches = "^vu [1-5], iteration [0-7] ✓$" } },
  { sendFile = "bytes.bin" },
  { expect = { contains = "nib" } },
  { send = "in pieces" },
  { expect = { contains = "and two" } },
  { think = "250ms" },
  { close = 3000 },
]

[[steps.talk]]
name = "refused"
websocket = "/closed"
actions = []
"#;

fn python() -> Result<PathBuf, String> {
    let place = Path::new(env!("CARGO_TARGET_TMPDIR")).join("venv-websockets");
    let (python, done) = (place.join("bin/python"), place.join("installed"));
    if std::fs::read_to_string(&done).is_ok_and(|have| have == PACKAGE) {
        return Ok(python);
    }
    let run = |program: &Path, args: &[&str]| {
        let output = Command::new(program).args(args).output();
        let output = output.map_err(|error| format!("{}: {error}", program.display()))?;
        if output.status.success() { Ok(()) } else { Err(String::from_utf8_lossy(&output.stderr).into_owned()) }
    };
    run(Path::new("python3"), &["-m", "venv", &place.to_string_lossy()])?;
    run(&python, &["-m", "pip", "install", "--quiet", "--disable-pip-version-check", PACKAGE])?;
    std::fs::write(&done, PACKAGE).map_err(|error| error.to_string())?;
    Ok(python)
}

#[test]
fn the_server_of_another_language_has_seen_what_we_have_counted() {
    let python = match python() {
        Ok(python) => python,
        Err(reason) => {
            assert!(std::env::var_os("CI").is_none(), "no websockets: {reason}");
            eprintln!("skipped, websockets cannot be had: {reason}");
            return;
        }
    };
    let place = tempfile::tempdir().unwrap();
    std::fs::write(place.path().join("bytes.bin"), b"bin\xff\x00\xfe").unwrap();
    std::fs::write(place.path().join("talk.toml"), STEPS).unwrap();
    let mut server =
        Command::new(python).args(["-c", SERVER]).stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
    let mut said = BufReader::new(server.stdout.take().unwrap());
    let mut port = String::new();
    said.read_line(&mut port).unwrap();
    let mut command = Command::new(env!("CARGO_BIN_EXE_connect-bench"));
    let output = watched::with_key(&mut command)
        .args(["run", "--quiet", "--json", "--url", &format!("http://127.0.0.1:{}/", port.trim()), "--runs-dir"])
        .arg(place.path().join("runs"))
        .arg(place.path().join("talk.toml"))
        .env_remove("CONNECT_SERVER")
        .output()
        .unwrap();
    watched::has_no_key(&[&output.stdout, &output.stderr], place.path());
    drop(server.stdin.take());
    let mut seen = String::new();
    said.read_to_string(&mut seen).unwrap();
    assert!(server.wait().unwrap().success());
    let errors = String::from_utf8_lossy(&output.stderr);
    let document: Value = serde_json::from_slice(&output.stdout).unwrap_or_else(|e| panic!("{e}: {errors}"));
    let seen: Value = serde_json::from_str(&seen).unwrap();

    // 5 VUs with 8 iterations each; the last session of an iteration is refused each time.
    assert_eq!(
        (seen["sessions"].as_u64(), seen["received"].as_u64(), seen["keys"].as_u64()),
        (Some(40), Some(120), Some(0))
    );
    assert_eq!((seen["sent"].as_u64(), seen["codes"]["3000"].as_u64()), (Some(160), Some(40)));
    let sessions = &document["websocket"];
    assert_eq!((sessions["scheduled"].as_u64(), sessions["completed"].as_u64()), (Some(80), Some(40)), "{sessions}");
    assert_eq!((sessions["messages_sent"].as_u64(), sessions["messages_received"].as_u64()), (Some(120), Some(160)));
    assert_eq!(
        (sessions["errors"][0]["kind"].as_str(), sessions["errors"][0]["count"].as_u64()),
        (Some("status_403"), Some(40))
    );
    assert_eq!(sessions["expected_ms"]["n"].as_u64(), Some(160));
    assert!(sessions["duration_ms"]["p50"].as_f64().unwrap() >= 250.0, "{sessions}");
    let thresholds = document["thresholds"].as_array().unwrap();
    assert!(thresholds.len() == 3 && thresholds.iter().all(|verdict| verdict["passed"] == true), "{thresholds:?}");
    // Pages are requests, sessions are none.
    assert_eq!(
        (document["requests"]["completed"].as_u64(), document["requests"]["failed"].as_u64()),
        (Some(40), Some(0))
    );
}
