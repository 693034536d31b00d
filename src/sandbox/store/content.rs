//! Content items.

use serde_json::{Map, Value};
use sqlx::Row as _;
use sqlx::any::AnyRow;

use super::super::reply::utc_now;
use super::related::series;
use super::{Result, Store};

/// A content item as it is kept. What SQL asks about has a column; all else is in `settings`.
#[derive(Debug, Clone, PartialEq)]
pub(in super::super) struct ContentRow {
    pub(in super::super) guid: String,
    pub(in super::super) id: i64,
    pub(in super::super) owner_guid: String,
    pub(in super::super) name: String,
    pub(in super::super) access_type: String,
    /// `unknown` until something was deployed.
    pub(in super::super) app_mode: String,
    /// The active bundle.
    pub(in super::super) bundle_id: Option<i64>,
    pub(in super::super) created_time: String,
    pub(in super::super) last_deployed_time: String,
    /// Title, description, process settings and whatever else was set.
    pub(in super::super) settings: Map<String, Value>,
}

/// What came of making a content item.
#[derive(Debug)]
pub(in super::super) enum Created {
    /// It was made.
    Made(Box<ContentRow>),
    /// The owner has one of that name.
    NameTaken,
}

const BY_GUID: &str = "SELECT guid, id, owner_guid, name, access_type, app_mode, bundle_id, created_time, \
     last_deployed_time, settings FROM content WHERE guid = $1";
const ALL: &str = "SELECT guid, id, owner_guid, name, access_type, app_mode, bundle_id, created_time, \
     last_deployed_time, settings FROM content ORDER BY id";

impl Store {
    /// Makes a content item, nothing deployed.
    pub(in super::super) async fn create_content(
        &self,
        owner_guid: &str,
        name: &str,
        access_type: &str,
        settings: Map<String, Value>,
    ) -> Result<Created> {
        let now = utc_now();
        let row = ContentRow {
            guid: uuid::Uuid::new_v4().to_string(),
            id: self.next_id("content").await?,
            owner_guid: owner_guid.to_owned(),
            name: name.to_owned(),
            access_type: access_type.to_owned(),
            app_mode: "unknown".to_owned(),
            bundle_id: None,
            created_time: now.clone(),
            last_deployed_time: now,
            settings,
        };
        let made = sqlx::query(
            "INSERT INTO content (guid, id, owner_guid, name, access_type, app_mode, bundle_id, created_time, \
             last_deployed_time, settings) VALUES ($1, $2, $3, $4, $5, $6, NULL, $7, $8, $9) \
             ON CONFLICT (owner_guid, name) DO NOTHING",
        )
        .bind(&row.guid)
        .bind(row.id)
        .bind(&row.owner_guid)
        .bind(&row.name)
        .bind(&row.access_type)
        .bind(&row.app_mode)
        .bind(&row.created_time)
        .bind(&row.last_deployed_time)
        .bind(Value::Object(row.settings.clone()).to_string())
        .execute(&self.pool)
        .await?;
        Ok(if made.rows_affected() == 0 { Created::NameTaken } else { Created::Made(Box::new(row)) })
    }

    /// One content item.
    pub(in super::super) async fn content(&self, guid: &str) -> Result<Option<ContentRow>> {
        sqlx::query(BY_GUID).bind(guid).fetch_optional(&self.pool).await?.as_ref().map(read).transpose()
    }

    /// Every content item, oldest first.
    pub(in super::super) async fn all_content(&self) -> Result<Vec<ContentRow>> {
        sqlx::query(ALL).fetch_all(&self.pool).await?.iter().map(read).collect()
    }

    /// Writes what the API can change: name, access, owner, settings. `false` when the name is taken.
    pub(in super::super) async fn update_content(&self, row: &ContentRow) -> Result<bool> {
        let done = sqlx::query(
            "UPDATE content SET name = $1, access_type = $2, owner_guid = $3, settings = $4 WHERE guid = $5",
        )
        .bind(&row.name)
        .bind(&row.access_type)
        .bind(&row.owner_guid)
        .bind(Value::Object(row.settings.clone()).to_string())
        .bind(&row.guid)
        .execute(&self.pool)
        .await;
        match done {
            Ok(_) => Ok(true),
            Err(sqlx::Error::Database(error)) if error.is_unique_violation() => Ok(false),
            Err(error) => Err(error),
        }
    }

    /// Makes a bundle the active one. `false` when the content item is gone.
    pub(in super::super) async fn activate(&self, guid: &str, bundle_id: i64, app_mode: &str) -> Result<bool> {
        let done =
            sqlx::query("UPDATE content SET bundle_id = $1, app_mode = $2, last_deployed_time = $3 WHERE guid = $4")
                .bind(bundle_id)
                .bind(app_mode)
                .bind(utc_now())
                .bind(guid)
                .execute(&self.pool)
                .await?;
        Ok(done.rows_affected() > 0)
    }

    /// Deletes a content item with everything that belongs to it. `false` when there is none.
    pub(in super::super) async fn delete_content(&self, guid: &str) -> Result<bool> {
        let done = sqlx::query("DELETE FROM content WHERE guid = $1").bind(guid).execute(&self.pool).await?;
        sqlx::query("DELETE FROM counters WHERE name = $1").bind(series(guid)).execute(&self.pool).await?;
        Ok(done.rows_affected() > 0)
    }
}

fn read(row: &AnyRow) -> Result<ContentRow> {
    let settings: String = row.try_get(9)?;
    Ok(ContentRow {
        guid: row.try_get(0)?,
        id: row.try_get(1)?,
        owner_guid: row.try_get(2)?,
        name: row.try_get(3)?,
        access_type: row.try_get(4)?,
        app_mode: row.try_get(5)?,
        bundle_id: row.try_get(6)?,
        created_time: row.try_get(7)?,
        last_deployed_time: row.try_get(8)?,
        settings: serde_json::from_str(&settings).unwrap_or_default(),
    })
}
