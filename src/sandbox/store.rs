//! What the sandbox keeps, in SQL: users, content, bundles, and what belongs to them. Tasks and processes are not
//! here, for on a real server they belong to a node and die with it.

use std::path::Path;

use sqlx::{AnyPool, Row as _};

use super::reply::utc_now;

mod bundles;
mod content;
mod database;
mod related;

pub(super) use bundles::{BundleRow, NewBundle};
pub(super) use content::{ContentRow, Created};
pub use database::DatabaseUrl;
pub(super) use database::{Changes, patiently};
pub(super) use related::{Environment, Permission, Tag, Vanity};

type Result<T> = std::result::Result<T, sqlx::Error>;

/// The database.
#[derive(Debug, Clone)]
pub(super) struct Store {
    pool: AnyPool,
    /// Where it is when other nodes use it, too.
    shared: Option<DatabaseUrl>,
}

/// Someone with an API key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct User {
    pub(super) guid: String,
    pub(super) username: String,
    /// viewer, publisher or administrator.
    pub(super) role: String,
    pub(super) api_key: String,
    pub(super) created_time: String,
}

impl Store {
    /// Opens the database: that one, or else SQLite in that file, which is made if there is none.
    pub(super) async fn open(database: Option<&DatabaseUrl>, file: &Path) -> Result<Self> {
        let pool = match database {
            Some(url) => database::postgres(url).await?,
            None => database::sqlite(file).await?,
        };
        Ok(Self { pool, shared: database.cloned() })
    }

    /// What other nodes change, from now on; `None` when there are none.
    pub(super) async fn changes(&self) -> Result<Option<Changes>> {
        match &self.shared {
            Some(url) => Ok(Some(Changes::of(url).await?)),
            None => Ok(None),
        }
    }

    /// Closes the database.
    pub(super) async fn close(&self) {
        self.pool.close().await;
    }

    /// Everyone.
    pub(super) async fn users(&self) -> Result<Vec<User>> {
        let rows = sqlx::query(
            "SELECT guid, username, role, api_key, created_time FROM users ORDER BY created_time, username",
        )
        .fetch_all(&self.pool)
        .await?;
        rows.iter()
            .map(|row| {
                Ok(User {
                    guid: row.try_get(0)?,
                    username: row.try_get(1)?,
                    role: row.try_get(2)?,
                    api_key: row.try_get(3)?,
                    created_time: row.try_get(4)?,
                })
            })
            .collect()
    }

    /// Makes a user, or gives the one of that name this role and, when there is one, this key.
    pub(super) async fn put_user(&self, username: &str, role: &str, api_key: Option<&str>) -> Result<()> {
        let fresh: String = random_key();
        sqlx::query(
            "INSERT INTO users (guid, username, role, api_key, created_time) VALUES ($1, $2, $3, $4, $5) \
             ON CONFLICT (username) DO UPDATE SET role = excluded.role",
        )
        .bind(uuid::Uuid::new_v4().to_string())
        .bind(username)
        .bind(role)
        .bind(api_key.unwrap_or(&fresh))
        .bind(utc_now())
        .execute(&self.pool)
        .await?;
        if let Some(api_key) = api_key {
            sqlx::query("UPDATE users SET api_key = $1 WHERE username = $2")
                .bind(api_key)
                .bind(username)
                .execute(&self.pool)
                .await?;
        }
        Ok(())
    }

    /// The next number of a series, from 1.
    async fn next_id(&self, series: &'static str) -> Result<i64> {
        sqlx::query_scalar(
            "INSERT INTO counters (name, value) VALUES ($1, 1) \
             ON CONFLICT (name) DO UPDATE SET value = counters.value + 1 RETURNING value",
        )
        .bind(series)
        .fetch_one(&self.pool)
        .await
    }
}

/// 32 letters and digits that nobody guesses.
pub(super) fn random_key() -> String {
    use rand::RngExt as _;
    let mut rng = rand::rng();
    (0..32).map(|_| char::from(rng.sample(rand::distr::Alphanumeric))).collect()
}
