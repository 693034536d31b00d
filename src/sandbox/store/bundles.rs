//! Bundles: the row of each; their files are the business of `bundles`.

use serde_json::Value;
use sqlx::Row as _;
use sqlx::any::AnyRow;

use super::super::reply::utc_now;
use super::{Result, Store};

/// A bundle as it is kept.
#[derive(Debug, Clone, PartialEq)]
pub(in super::super) struct BundleRow {
    pub(in super::super) id: i64,
    pub(in super::super) content_guid: String,
    pub(in super::super) created_time: String,
    /// Guid of who uploaded it.
    pub(in super::super) created_by: String,
    pub(in super::super) size: i64,
    pub(in super::super) md5: String,
    /// The manifest as uploaded; `None` when there was none that could be read.
    pub(in super::super) manifest: Option<Value>,
    /// What the uploader said of its origin.
    pub(in super::super) source: Value,
    /// Whether a deploy task unpacked it, so that it can be served.
    pub(in super::super) deployed: bool,
}

/// What an upload brought.
#[derive(Debug)]
pub(in super::super) struct NewBundle<'a> {
    pub(in super::super) id: i64,
    pub(in super::super) content_guid: &'a str,
    pub(in super::super) created_by: &'a str,
    pub(in super::super) size: u64,
    pub(in super::super) md5: &'a str,
    pub(in super::super) manifest: Option<&'a Value>,
    pub(in super::super) source: &'a Value,
}

impl Store {
    /// The id of the next bundle: taken before its file is written.
    pub(in super::super) async fn next_bundle_id(&self) -> Result<i64> {
        self.next_id("bundles").await
    }

    /// Keeps an uploaded bundle.
    pub(in super::super) async fn create_bundle(&self, new: &NewBundle<'_>) -> Result<BundleRow> {
        sqlx::query(
            "INSERT INTO bundles (id, content_guid, created_time, created_by, size, md5, manifest, source, deployed) \
             VALUES ($1, $2, $3, $4, $5, $6, $7, $8, 0)",
        )
        .bind(new.id)
        .bind(new.content_guid)
        .bind(utc_now())
        .bind(new.created_by)
        .bind(i64::try_from(new.size).unwrap_or(i64::MAX))
        .bind(new.md5)
        .bind(new.manifest.map(Value::to_string))
        .bind(new.source.to_string())
        .execute(&self.pool)
        .await?;
        self.bundle(new.id).await?.ok_or(sqlx::Error::RowNotFound)
    }

    /// One bundle.
    pub(in super::super) async fn bundle(&self, id: i64) -> Result<Option<BundleRow>> {
        let row = sqlx::query(
            "SELECT id, content_guid, created_time, created_by, size, md5, manifest, source, deployed FROM bundles \
             WHERE id = $1",
        )
        .bind(id)
        .fetch_optional(&self.pool)
        .await?;
        row.as_ref().map(read).transpose()
    }

    /// The bundles of a content item, newest first.
    pub(in super::super) async fn bundles(&self, content_guid: &str) -> Result<Vec<BundleRow>> {
        let rows = sqlx::query(
            "SELECT id, content_guid, created_time, created_by, size, md5, manifest, source, deployed FROM bundles \
             WHERE content_guid = $1 ORDER BY id DESC",
        )
        .bind(content_guid)
        .fetch_all(&self.pool)
        .await?;
        rows.iter().map(read).collect()
    }

    /// A deploy task unpacked it.
    pub(in super::super) async fn set_deployed(&self, id: i64) -> Result<()> {
        sqlx::query("UPDATE bundles SET deployed = 1 WHERE id = $1").bind(id).execute(&self.pool).await?;
        Ok(())
    }

    /// Forgets a bundle.
    pub(in super::super) async fn delete_bundle(&self, id: i64) -> Result<()> {
        sqlx::query("DELETE FROM bundles WHERE id = $1").bind(id).execute(&self.pool).await?;
        Ok(())
    }
}

fn read(row: &AnyRow) -> Result<BundleRow> {
    let (manifest, source): (Option<String>, String) = (row.try_get(6)?, row.try_get(7)?);
    Ok(BundleRow {
        id: row.try_get(0)?,
        content_guid: row.try_get(1)?,
        created_time: row.try_get(2)?,
        created_by: row.try_get(3)?,
        size: row.try_get(4)?,
        md5: row.try_get(5)?,
        manifest: manifest.and_then(|text| serde_json::from_str(&text).ok()),
        source: serde_json::from_str(&source).unwrap_or_default(),
        deployed: row.try_get::<i64, _>(8)? != 0,
    })
}
