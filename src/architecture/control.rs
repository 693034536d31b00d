//! The socket through which an architecture is told what to do: one line there, one line of JSON back.

use std::path::Path;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use tokio::io::{AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::net::{UnixListener, UnixStream};

use super::{Fault, io};

/// How long an action may take: a node that starts, a database that recovers.
const ANSWER_WITHIN: Duration = Duration::from_secs(90);
/// How long whoever connects may take to say what is wanted.
const ASK_WITHIN: Duration = Duration::from_secs(5);
/// Greatest line.
const LONGEST: u64 = 64 << 10;

/// What came of an action.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Answer {
    /// It was done; what there is to say.
    Done(String),
    /// It was not; why.
    Failed(String),
}

/// Asks an architecture for something.
///
/// # Errors
/// Where it is not up, or says no.
pub async fn ask(socket: &Path, action: &str) -> Result<String, Fault> {
    let asked = tokio::time::timeout(ANSWER_WITHIN, async {
        let mut stream = UnixStream::connect(socket).await?;
        stream.write_all(format!("{action}\n").as_bytes()).await?;
        let mut answer = String::new();
        stream.take(LONGEST).read_to_string(&mut answer).await.map(|_| answer)
    });
    let late = |_elapsed| std::io::Error::from(std::io::ErrorKind::TimedOut);
    let text = asked.await.map_err(late).flatten();
    let text = text.map_err(io(format!("reach the architecture at {}", socket.display())))?;
    match serde_json::from_str(&text) {
        Ok(Answer::Done(said)) => Ok(said),
        Ok(Answer::Failed(why)) => Err(Fault::Asked(why)),
        Err(_) => Err(Fault::Asked(format!("{}: no answer that can be read", socket.display()))),
    }
}

/// Somebody who asks.
#[derive(Debug)]
pub struct Asked {
    /// What for.
    pub line: String,
    stream: UnixStream,
}

impl Asked {
    /// Waits for the next one. Can be dropped and called again.
    pub async fn next(listener: &UnixListener) -> Asked {
        loop {
            let Ok((stream, _)) = listener.accept().await else {
                tokio::time::sleep(Duration::from_millis(20)).await;
                continue;
            };
            let mut reader = BufReader::new(stream.take(LONGEST));
            let mut line = String::new();
            if matches!(tokio::time::timeout(ASK_WITHIN, reader.read_line(&mut line)).await, Ok(Ok(n)) if n > 0) {
                return Asked { line: line.trim().to_owned(), stream: reader.into_inner().into_inner() };
            }
        }
    }

    /// Answers.
    pub async fn answer(mut self, answer: &Answer) {
        let text = serde_json::to_string(answer).unwrap_or_default();
        // Whoever asked may have gone.
        let _ = self.stream.write_all(text.as_bytes()).await;
        let _ = self.stream.shutdown().await;
    }
}
