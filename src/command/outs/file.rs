//! A file of single requests, written by a thread of its own.

use std::fs::File;
use std::io::{self, BufWriter, Write};
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, TrySendError, sync_channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

use anyhow::anyhow;
use flate2::Compression;
use flate2::write::GzEncoder;
use jiff::Timestamp;
use tokio::time::Instant;

use super::super::failure::Failure;
use crate::plan::Plan;
use crate::recorder::Points;
use crate::report::points::{Form, Writer};

/// Batches that wait to be written: what all workers of a large machine have in a second or two.
const WAITING: usize = 128;

/// What the thread is handed.
enum Batch {
    Begin(Arc<Plan>, Timestamp),
    Points(Arc<Points>),
    Second(u64, u64),
    Flush(tokio::sync::oneshot::Sender<()>),
}

/// What the thread tells.
#[derive(Default)]
struct Told {
    /// Points that are in the file.
    written: AtomicU64,
    /// Points that could not be written.
    lost: AtomicU64,
    fault: Mutex<Option<String>>,
}

/// The file.
pub(super) struct FileOut {
    name: String,
    batches: Option<SyncSender<Batch>>,
    thread: Option<JoinHandle<()>>,
    told: Arc<Told>,
    dropped: u64,
}

impl FileOut {
    /// Makes the file, or empties it.
    pub(super) fn create(form: Form, path: &Path) -> Result<FileOut, Failure> {
        let kind = if form == Form::Json { "json" } else { "csv" };
        let name = format!("{kind}={}", path.display());
        let wrong = |e: io::Error| Failure::invalid(anyhow!("--out {name}: {e}"));
        let file = BufWriter::with_capacity(1 << 18, File::create(path).map_err(wrong)?);
        let packed = path.extension().is_some_and(|extension| extension == "gz");
        let to: Box<dyn Write + Send> = match packed {
            true => Box::new(GzEncoder::new(file, Compression::fast())),
            false => Box::new(file),
        };
        let (batches, received) = sync_channel(WAITING);
        let told: Arc<Told> = Arc::default();
        let telling = told.clone();
        let thread = std::thread::Builder::new().name(format!("out-{kind}"));
        let thread = thread.spawn(move || write(form, to, &received, &telling)).map_err(wrong)?;
        Ok(FileOut { name, batches: Some(batches), thread: Some(thread), told, dropped: 0 })
    }

    /// As it was named.
    pub(super) fn name(&self) -> &str {
        &self.name
    }

    pub(super) fn begin(&mut self, plan: Arc<Plan>, start: Timestamp) {
        self.give(Batch::Begin(plan, start));
    }

    pub(super) fn second(&mut self, second: u64, vus: u64) {
        self.give(Batch::Second(second, vus));
    }

    pub(super) fn points(&mut self, points: Arc<Points>) {
        self.give(Batch::Points(points));
    }

    /// Never waits: what there is no room for is dropped.
    fn give(&mut self, batch: Batch) {
        let Some(batches) = &self.batches else { return };
        if let Err(TrySendError::Full(Batch::Points(points)) | TrySendError::Disconnected(Batch::Points(points))) =
            batches.try_send(batch)
        {
            self.dropped += points.points.len() as u64;
        }
    }

    /// Waits for what was handed over to be in the file: points in it, points that are not, and what went wrong.
    pub(super) async fn flush(&mut self, until: Instant) -> (u64, u64, Option<String>) {
        let (done, written) = tokio::sync::oneshot::channel();
        let mut flush = Some(Batch::Flush(done));
        // The channel may be full for a moment.
        while let (Some(batch), Some(batches)) = (flush.take(), &self.batches) {
            if let Err(TrySendError::Full(batch)) = batches.try_send(batch)
                && Instant::now() < until
            {
                flush = Some(batch);
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        }
        let late = tokio::time::timeout_at(until, written).await.is_err();
        let fault = self.told.fault.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let late = late.then(|| "it is still being written".to_owned());
        let lost = self.told.lost.load(Ordering::Relaxed);
        (self.told.written.load(Ordering::Relaxed), self.dropped + lost, fault.or(late))
    }
}

impl Drop for FileOut {
    /// What was handed over gets into the file, whatever ends the process in an orderly way.
    fn drop(&mut self) {
        self.batches = None;
        if let Some(thread) = self.thread.take() {
            // A thread that panicked has said so.
            let _ = thread.join();
        }
    }
}

fn write(form: Form, mut to: Box<dyn Write + Send>, batches: &Receiver<Batch>, told: &Told) {
    let (mut writer, mut text, mut headed) = (None::<Writer>, String::new(), false);
    for batch in batches {
        text.clear();
        let mut points = 0;
        match batch {
            Batch::Begin(plan, start) => {
                let begun = Writer::new(form, &plan, start);
                if !headed {
                    text.push_str(&begun.head());
                    headed = true;
                }
                writer = Some(begun);
            }
            Batch::Points(batch) => {
                points = batch.points.len() as u64;
                if let Some(writer) = &mut writer {
                    writer.points(&batch, &mut text);
                }
            }
            Batch::Second(second, vus) => {
                if let Some(writer) = &mut writer {
                    writer.second(second, vus, &mut text);
                }
            }
            Batch::Flush(done) => {
                note(to.flush(), told);
                // Who asked may have given up.
                let _ = done.send(());
                continue;
            }
        }
        let count = if note(to.write_all(text.as_bytes()), told) { &told.written } else { &told.lost };
        count.fetch_add(points, Ordering::Relaxed);
    }
    // A packed file has its end written when it is dropped.
    note(to.flush(), told);
}

/// Keeps the first fault.
fn note(done: io::Result<()>, told: &Told) -> bool {
    let Err(e) = done else { return true };
    told.fault.lock().unwrap_or_else(PoisonError::into_inner).get_or_insert_with(|| e.to_string());
    false
}
