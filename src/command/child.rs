//! The sandbox as a child process of a run: its CPU and memory are not the generator's.

use std::process::Stdio;
use std::time::Duration;

use anyhow::{Context as _, anyhow, bail};
use tokio::io::{AsyncBufReadExt as _, BufReader};
use tokio::process::{Child, ChildStdin, Command};

/// How long it may take to come up, and to go down.
const PATIENCE: Duration = Duration::from_secs(20);

/// A sandbox that lives as long as this value.
pub(super) struct SandboxChild {
    child: Child,
    /// Closing it tells the sandbox that we are gone, however we go.
    stdin: Option<ChildStdin>,
    pub(super) server: String,
    pub(super) api_key: String,
}

impl SandboxChild {
    /// Starts one and waits until it accepts requests.
    pub(super) async fn start(arguments: &[String]) -> anyhow::Result<SandboxChild> {
        let program = std::env::current_exe().context("cannot find the program itself, to start the sandbox")?;
        let mut child = Command::new(program)
            .arg("sandbox")
            .args(arguments)
            .arg("--exit-with-parent")
            .env_remove("CONNECT_API_KEY")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            // A Ctrl-C is for us; we still need the sandbox to clean up.
            .process_group(0)
            .kill_on_drop(true)
            .spawn()
            .context("cannot start the sandbox")?;
        let stdin = child.stdin.take();
        let announced = tokio::time::timeout(PATIENCE, announced(&mut child)).await;
        let (server, api_key) = announced.map_err(|_elapsed| anyhow!("the sandbox did not come up in 20 s"))??;
        // What it logs is read and dropped, so that it never waits for us.
        if let Some(mut stderr) = child.stderr.take() {
            tokio::spawn(async move { tokio::io::copy(&mut stderr, &mut tokio::io::sink()).await });
        }
        Ok(SandboxChild { child, stdin, server, api_key })
    }

    /// Lets it end, and waits until it has.
    pub(super) async fn stop(mut self) -> anyhow::Result<()> {
        drop(self.stdin.take());
        if tokio::time::timeout(PATIENCE, self.child.wait()).await.is_err() {
            self.child.kill().await.context("cannot stop the sandbox")?;
        }
        Ok(())
    }
}

async fn announced(child: &mut Child) -> anyhow::Result<(String, String)> {
    let stdout = child.stdout.take().context("the sandbox has no output")?;
    let mut lines = BufReader::new(stdout).lines();
    let (mut server, mut key) = (None, None);
    while let Some(line) = lines.next_line().await.context("cannot read what the sandbox says")? {
        match line.split_once('=') {
            Some(("CONNECT_SERVER", value)) => server = Some(value.to_owned()),
            Some(("CONNECT_API_KEY", value)) => key = Some(value.to_owned()),
            _ => {}
        }
        if let (Some(server), Some(key)) = (&server, &key) {
            return Ok((server.clone(), key.clone()));
        }
    }
    let mut said = String::new();
    if let Some(stderr) = child.stderr.take() {
        let mut lines = BufReader::new(stderr).lines();
        while let Ok(Some(line)) = lines.next_line().await {
            said.push_str("\n  ");
            said.push_str(&line);
        }
    }
    bail!("the sandbox did not come up:{said}")
}
