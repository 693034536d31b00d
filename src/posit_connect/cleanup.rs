//! `connect-bench cleanup`: removes what earlier runs left on a server, and nothing else.
//!
//! Deleted is only what a journal lists with its identifier, or what has our name, our description and this key's user
//! as its owner, all three.

use std::path::PathBuf;
use std::time::Duration;

use jiff::Timestamp;
use serde::Serialize;

use super::api::Client;
use super::error::ApiError;
use super::journal::{Journal, JournalError, Kind, PREFIX, Remaining, peek};
use super::provision::is_ours;
use super::settings::{self, Change, Restored};
use super::types::{Content, User};

/// How to clean up.
#[derive(Debug, Clone)]
pub struct CleanupOptions {
    /// Only say what would be deleted.
    pub dry_run: bool,
    /// Leave alone what is younger.
    pub older_than: Option<Duration>,
    /// The wall clock, for ages.
    pub now: Timestamp,
}

/// A content item that a clean-up looked at.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct CleanupItem {
    /// Its identifier, where it is known.
    pub guid: Option<String>,
    /// Its name.
    pub name: String,
    /// Why it was left, or could not be deleted.
    pub reason: Option<String>,
}

/// What a clean-up did.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct CleanupReport {
    /// Deleted, or with `dry_run` what would be.
    pub deleted: Vec<CleanupItem>,
    /// Settings that were put back, or with `dry_run` would be; `name` says of which item.
    pub restored: Vec<CleanupItem>,
    /// Left alone, with the reason.
    pub kept: Vec<CleanupItem>,
    /// Could not be deleted, with the reason.
    pub failed: Vec<CleanupItem>,
}

/// Cleans up after the runs of these directories, and after any others of this key's user on the server.
///
/// # Errors
/// Where the server cannot be asked at all; what fails for one item is in the report.
pub async fn cleanup(
    client: &Client,
    run_directories: &[PathBuf],
    options: &CleanupOptions,
) -> Result<CleanupReport, ApiError> {
    let me = client.me().await?;
    let mut job = Cleanup { client, options, report: CleanupReport::default(), held: Vec::new() };
    let mut journals = job.open(run_directories);
    job.by_journal(&mut journals, &me).await;
    for content in client.content_of(&me.guid).await? {
        if content.name.starts_with(PREFIX) && !job.seen(&content.guid) {
            job.by_name(&content, &me).await;
        }
    }
    job.close(&mut journals);
    Ok(job.report)
}

struct Cleanup<'a> {
    client: &'a Client,
    options: &'a CleanupOptions,
    report: CleanupReport,
    /// What runs that are still going have made.
    held: Vec<Remaining>,
}

impl Cleanup<'_> {
    fn open(&mut self, run_directories: &[PathBuf]) -> Vec<Journal> {
        let mut journals = Vec::new();
        for directory in run_directories {
            match Journal::open_existing(directory) {
                Ok(journal) => journals.extend(journal),
                Err(JournalError::Held { .. }) => self.held.extend(peek(directory)),
                Err(error) => {
                    let name = directory.display().to_string();
                    self.report.failed.push(CleanupItem { guid: None, name, reason: Some(error.to_string()) });
                }
            }
        }
        journals
    }

    /// Deletes the items that journals list with their identifiers.
    async fn by_journal(&mut self, journals: &mut [Journal], me: &User) {
        let server = self.client.server().to_string();
        for journal in journals {
            for item in journal.remaining() {
                if item.server != server {
                    self.keep(item.guid, item.name, format!("it is on {}", item.server));
                    continue;
                }
                if let Some(change) = &item.change {
                    self.restore(journal, &item.name, change).await;
                    continue;
                }
                // Without an identifier it is found by its name, or was never made.
                let Some(guid) = item.guid else { continue };
                match self.client.content(&guid).await {
                    Ok(content) if content.owner_guid == me.guid || content.name == item.name => {
                        self.delete(&content).await;
                    }
                    Ok(content) => self.keep(Some(guid), content.name, "its name and owner are not ours".to_owned()),
                    // Gone already: nothing to report, and `close` notes it.
                    Err(error) if error.is_not_found() => {}
                    Err(error) => self.fail(Some(guid), item.name, &error),
                }
            }
        }
    }

    /// Puts settings of somebody's own item back. Whatever age is asked for: no run is at them any more.
    async fn restore(&mut self, journal: &mut Journal, name: &str, change: &Change) {
        let item = |reason| CleanupItem { guid: None, name: name.to_owned(), reason };
        if self.options.dry_run {
            return self.report.restored.push(item(None));
        }
        match settings::restore(self.client, change).await {
            Ok(Restored::Done) => self.report.restored.push(item(None)),
            Ok(Restored::Gone) => {
                self.report.kept.push(item(Some("there is no such content item any more".to_owned())));
            }
            Ok(Restored::ChangedSince(names)) => {
                let reason = format!("{} changed by somebody since, and left alone", names.join(", "));
                self.report.restored.push(item(Some(reason)));
            }
            Err(error) => return self.fail(None, name.to_owned(), &error),
        }
        if let Err(error) = journal.deleted(name) {
            self.report.failed.push(item(Some(error.to_string())));
        }
    }

    async fn by_name(&mut self, content: &Content, me: &User) {
        if is_ours(content, &me.guid) {
            self.delete(content).await;
        } else if content.owner_guid == me.guid {
            let reason = "its description is not the one that connect-bench gives".to_owned();
            self.keep(Some(content.guid.clone()), content.name.clone(), reason);
        }
    }

    async fn delete(&mut self, content: &Content) {
        let (guid, name) = (Some(content.guid.clone()), content.name.clone());
        if self.held.iter().any(|item| belongs(item, content)) {
            return self.keep(guid, name, "its run is still going".to_owned());
        }
        if let Some(reason) = self.too_young(content) {
            return self.keep(guid, name, reason);
        }
        if !self.options.dry_run
            && let Err(error) = self.client.delete_content(&content.guid).await
        {
            return self.fail(guid, name, &error);
        }
        self.report.deleted.push(CleanupItem { guid, name, reason: None });
    }

    fn too_young(&self, content: &Content) -> Option<String> {
        let least = self.options.older_than?;
        let Ok(created) = content.created_time.parse::<Timestamp>() else {
            return Some("its age is not known".to_owned());
        };
        let age = self.options.now.duration_since(created);
        let old_enough = Duration::try_from(age).is_ok_and(|age| age >= least);
        (!old_enough).then(|| format!("it was made at {created}"))
    }

    /// Notes in the journals what is gone.
    fn close(&mut self, journals: &mut [Journal]) {
        let server = self.client.server().to_string();
        if self.options.dry_run {
            return;
        }
        for journal in journals {
            for item in journal.remaining().into_iter().filter(|item| item.server == server) {
                let left = self.report.kept.iter().chain(&self.report.failed).any(|other| match item.kind {
                    Kind::Content => other.name == item.name || (other.guid.is_some() && other.guid == item.guid),
                    Kind::ContentPrefix => other.name.starts_with(&item.name),
                    // Noted where it was done.
                    Kind::Settings => true,
                });
                if !left && let Err(error) = journal.deleted(&item.name) {
                    let reason = Some(error.to_string());
                    self.report.failed.push(CleanupItem { guid: item.guid, name: item.name, reason });
                }
            }
        }
    }

    fn seen(&self, guid: &str) -> bool {
        let report = &self.report;
        let mut all = report.deleted.iter().chain(&report.kept).chain(&report.failed);
        all.any(|item| item.guid.as_deref() == Some(guid))
    }

    fn keep(&mut self, guid: Option<String>, name: String, reason: String) {
        self.report.kept.push(CleanupItem { guid, name, reason: Some(reason) });
    }

    fn fail(&mut self, guid: Option<String>, name: String, error: &ApiError) {
        self.report.failed.push(CleanupItem { guid, name, reason: Some(error.to_string()) });
    }
}

fn belongs(item: &Remaining, content: &Content) -> bool {
    match item.kind {
        Kind::Content => item.name == content.name || item.guid.as_deref() == Some(content.guid.as_str()),
        Kind::ContentPrefix => content.name.starts_with(&item.name),
        Kind::Settings => false,
    }
}
