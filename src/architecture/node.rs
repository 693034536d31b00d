//! One node of an architecture: a process of the sandbox, and the links to it.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use rustix::process::Signal;
use serde_json::Value;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

use super::action::Storage;
use super::process::{Launch, Part};
use super::{Fault, io};
use crate::fault_proxy::Proxy;

const READY_WITHIN: Duration = Duration::from_secs(60);
const STOP_WITHIN: Duration = Duration::from_secs(10);
/// How long a node may take to say something about itself.
const ANSWER_WITHIN: Duration = Duration::from_secs(2);

/// What a node needs to start.
#[derive(Debug, Clone)]
pub struct Recipe {
    /// Our own program.
    pub program: PathBuf,
    /// Its name.
    pub name: String,
    /// Where it listens.
    pub port: u16,
    /// The database, as it reaches it.
    pub database: String,
    /// The folder that all nodes use.
    pub folder: PathBuf,
    /// Its own folder for what nobody keeps, processes of content included: gone when it is.
    pub temporary: PathBuf,
    /// The administrator's key.
    pub key: String,
    /// Further arguments.
    pub args: Vec<String>,
    /// Where its output goes.
    pub log: PathBuf,
}

/// A node.
#[derive(Debug)]
pub struct Node {
    recipe: Recipe,
    part: Option<Part>,
    frozen: bool,
    /// Between the balancer and it.
    pub link: Option<Proxy>,
    /// Between it and the database.
    pub database: Option<Proxy>,
}

impl Recipe {
    /// Its temporary folder, made anew.
    fn clear(&self) -> std::io::Result<()> {
        self.forget();
        std::fs::create_dir_all(&self.temporary)
    }

    /// What a node that is gone left there goes. Content that has yet to end, which its guards see to, finds nothing.
    fn forget(&self) {
        let _ = std::fs::remove_dir_all(&self.temporary);
    }
}

impl Node {
    /// One that has yet to be started.
    #[must_use]
    pub fn new(recipe: Recipe, (link, database): (Option<Proxy>, Option<Proxy>)) -> Node {
        Node { recipe, part: None, frozen: false, link, database }
    }

    /// Its name.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.recipe.name
    }

    /// Where it is.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        ([127, 0, 0, 1], self.recipe.port).into()
    }

    /// Where the balancer finds it.
    #[must_use]
    pub fn entrance(&self) -> SocketAddr {
        self.link.as_ref().map_or_else(|| self.address(), Proxy::address)
    }

    /// Its process id, while it runs.
    pub fn pid(&mut self) -> Option<i32> {
        let part = self.part.as_mut()?;
        part.ended().is_none().then(|| part.pid())
    }

    /// What it does, in a word; and forgets a process that ended by itself, whose last words it returns once.
    pub fn look(&mut self) -> (&'static str, Option<Fault>) {
        let Some(part) = self.part.as_mut() else { return ("stopped", None) };
        match part.ended() {
            None if self.frozen => ("frozen", None),
            None => ("runs", None),
            Some(status) => {
                let fault = part.fault(format!("ended by itself ({status})"));
                self.part = None;
                self.recipe.forget();
                ("ended", Some(fault))
            }
        }
    }

    /// Starts it, without waiting for it.
    ///
    /// # Errors
    /// Where it runs already, or cannot be started.
    pub fn begin(&mut self) -> Result<(), Fault> {
        if self.pid().is_some() {
            return Err(Fault::Asked(format!("{} runs already", self.recipe.name)));
        }
        self.recipe.clear().map_err(io(format!("make {}", self.recipe.temporary.display())))?;
        let Recipe { program, name, port, database, folder, temporary, key, args, log } = self.recipe.clone();
        let own = ["sandbox", "node", "--name", &name, "--listen", &format!("127.0.0.1:{port}")].map(str::to_owned);
        let folder = ["--data-dir".to_owned(), folder.display().to_string()];
        let temporary = temporary.display().to_string();
        let env = [("CONNECT_BENCH_DATABASE", database), ("CONNECT_BENCH_SANDBOX_API_KEY", key), ("TMPDIR", temporary)];
        self.frozen = false;
        self.part = Some(Part::start(Launch {
            name,
            program,
            args: own.into_iter().chain(folder).chain(args).collect(),
            env: env.into_iter().map(|(name, value)| (name.to_owned(), value)).collect(),
            user: None,
            orphaned: "KILL",
            log,
        })?);
        Ok(())
    }

    /// Waits until it answers.
    ///
    /// # Errors
    /// Where it ends before, with its last words.
    pub async fn ready(&mut self) -> Result<(), Fault> {
        let address = self.address();
        let Some(part) = self.part.as_mut() else {
            return Err(Fault::Asked(format!("{} does not run", self.recipe.name)));
        };
        part.until(READY_WITHIN, || async move { ask(address, "GET /__ping__", "").await.is_some() }).await
    }

    fn running(&mut self) -> Result<&mut Part, Fault> {
        let stopped = || Fault::Asked(format!("{} does not run", self.recipe.name));
        let part = self.part.as_mut().ok_or_else(stopped)?;
        if part.ended().is_none() { Ok(part) } else { Err(stopped()) }
    }

    /// Kills it with its children.
    ///
    /// # Errors
    /// Where it does not run.
    pub async fn kill(&mut self) -> Result<(), Fault> {
        self.running()?.kill().await;
        self.part = None;
        self.recipe.forget();
        Ok(())
    }

    /// Ends it in an orderly way.
    ///
    /// # Errors
    /// Where it does not run.
    pub async fn stop(&mut self) -> Result<(), Fault> {
        self.running()?.stop(Signal::TERM, STOP_WITHIN).await;
        self.part = None;
        self.recipe.forget();
        Ok(())
    }

    /// Stops it where it stands, or lets it go on.
    ///
    /// # Errors
    /// Where it does not run.
    pub fn freeze(&mut self, frozen: bool) -> Result<(), Fault> {
        self.running()?.signal(if frozen { Signal::STOP } else { Signal::CONT });
        self.frozen = frozen;
        Ok(())
    }

    /// What it has counted; `None` while it does not answer.
    pub async fn stats(&self) -> Option<Value> {
        serde_json::from_str(&ask(self.address(), "GET /__sandbox__/stats", "").await?).ok()
    }

    /// Makes the shared folder look like that to it.
    ///
    /// # Errors
    /// Where it does not answer.
    pub async fn storage(&self, storage: Storage) -> Result<(), Fault> {
        let request = format!("POST /__sandbox__/storage/{}", storage.name());
        let said = ask(self.address(), &request, &self.recipe.key).await;
        said.map(|_| ()).ok_or_else(|| Fault::Asked(format!("{} does not answer", self.recipe.name)))
    }
}

/// Asks a node, and returns the body of a good answer.
async fn ask(address: SocketAddr, request: &str, key: &str) -> Option<String> {
    let asked = async {
        let mut stream = TcpStream::connect(address).await.ok()?;
        let auth = if key.is_empty() { String::new() } else { format!("Authorization: Key {key}\r\n") };
        let head = format!("{request} HTTP/1.1\r\nHost: node\r\n{auth}Content-Length: 0\r\nConnection: close\r\n\r\n");
        stream.write_all(head.as_bytes()).await.ok()?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await.ok()?;
        let (head, body) = answer.split_once("\r\n\r\n")?;
        (head.split(' ').nth(1) == Some("200")).then(|| body.to_owned())
    };
    tokio::time::timeout(ANSWER_WITHIN, asked).await.ok()?
}

/// The log of a part.
#[must_use]
pub fn log(root: &Path, name: &str) -> PathBuf {
    root.join(format!("{name}.log"))
}
