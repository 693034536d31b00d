//! What belongs to content items: environment, permissions, vanity paths, tags.

use super::super::reply::utc_now;
use super::{Result, Store};

/// Who else may see or change a content item.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in super::super) struct Permission {
    pub(in super::super) id: i64,
    pub(in super::super) content_guid: String,
    pub(in super::super) principal_guid: String,
    pub(in super::super) principal_type: String,
    /// viewer or owner.
    pub(in super::super) role: String,
}

/// A path of its own for a content item.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in super::super) struct Vanity {
    /// Begins and ends with a slash.
    pub(in super::super) path: String,
    pub(in super::super) content_guid: String,
    pub(in super::super) created_time: String,
}

/// A tag.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in super::super) struct Tag {
    pub(in super::super) id: i64,
    pub(in super::super) name: String,
    pub(in super::super) parent_id: Option<i64>,
    pub(in super::super) created_time: String,
}

/// What the processes of a content item find in their environment.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(in super::super) struct Environment {
    /// How often it was set until then.
    pub(in super::super) revision: i64,
    /// Name and value.
    pub(in super::super) variables: Vec<(String, String)>,
}

/// What counts how often the environment of a content item was set.
pub(super) fn series(guid: &str) -> String {
    format!("environment {guid}")
}

impl Store {
    /// Names of the environment variables of a content item.
    pub(in super::super) async fn environment(&self, guid: &str) -> Result<Vec<String>> {
        sqlx::query_scalar("SELECT name FROM environment WHERE content_guid = $1 ORDER BY name")
            .bind(guid)
            .fetch_all(&self.pool)
            .await
    }

    /// The environment variables of a content item with their values, for its processes and nobody else.
    pub(in super::super) async fn environment_values(&self, guid: &str) -> Result<Environment> {
        // First: values that are newer than their number are replaced once too often, older ones never.
        let revision = self.environment_revision(guid).await?;
        let variables = sqlx::query_as("SELECT name, value FROM environment WHERE content_guid = $1 ORDER BY name")
            .bind(guid)
            .fetch_all(&self.pool)
            .await?;
        Ok(Environment { revision, variables })
    }

    /// How often the environment of a content item was set. Setting it to what it is counts, too: that is how clients
    /// restart content.
    pub(in super::super) async fn environment_revision(&self, guid: &str) -> Result<i64> {
        let row: Option<i64> = sqlx::query_scalar("SELECT value FROM counters WHERE name = $1")
            .bind(series(guid))
            .fetch_optional(&self.pool)
            .await?;
        Ok(row.unwrap_or_default())
    }

    /// Sets variables; one without a value is deleted. With `replace` all others go.
    pub(in super::super) async fn set_environment(
        &self,
        guid: &str,
        changes: &[(String, Option<String>)],
        replace: bool,
    ) -> Result<()> {
        let mut transaction = self.pool.begin().await?;
        if replace {
            sqlx::query("DELETE FROM environment WHERE content_guid = $1")
                .bind(guid)
                .execute(&mut *transaction)
                .await?;
        }
        for (name, value) in changes {
            let query = match value {
                None => {
                    sqlx::query("DELETE FROM environment WHERE content_guid = $1 AND name = $2").bind(guid).bind(name)
                }
                Some(value) => sqlx::query(
                    "INSERT INTO environment (content_guid, name, value) VALUES ($1, $2, $3) \
                     ON CONFLICT (content_guid, name) DO UPDATE SET value = excluded.value",
                )
                .bind(guid)
                .bind(name)
                .bind(value),
            };
            query.execute(&mut *transaction).await?;
        }
        sqlx::query(
            "INSERT INTO counters (name, value) VALUES ($1, 1) \
             ON CONFLICT (name) DO UPDATE SET value = counters.value + 1",
        )
        .bind(series(guid))
        .execute(&mut *transaction)
        .await?;
        // Other nodes hear of changes of this table.
        sqlx::query("UPDATE content SET name = name WHERE guid = $1").bind(guid).execute(&mut *transaction).await?;
        transaction.commit().await
    }

    /// The permissions on a content item.
    pub(in super::super) async fn permissions(&self, guid: &str) -> Result<Vec<Permission>> {
        let rows: Vec<(i64, String, String, String, String)> = sqlx::query_as(
            "SELECT id, content_guid, principal_guid, principal_type, role FROM permissions WHERE content_guid = $1 \
             ORDER BY id",
        )
        .bind(guid)
        .fetch_all(&self.pool)
        .await?;
        let read = |(id, content_guid, principal_guid, principal_type, role)| Permission {
            id,
            content_guid,
            principal_guid,
            principal_type,
            role,
        };
        Ok(rows.into_iter().map(read).collect())
    }

    /// Grants a role; a principal has at most one on a content item.
    pub(in super::super) async fn grant(&self, guid: &str, principal: &str, kind: &str, role: &str) -> Result<i64> {
        let id = self.next_id("permissions").await?;
        sqlx::query_scalar(
            "INSERT INTO permissions (id, content_guid, principal_guid, principal_type, role) \
             VALUES ($1, $2, $3, $4, $5) \
             ON CONFLICT (content_guid, principal_guid) DO UPDATE SET role = excluded.role RETURNING id",
        )
        .bind(id)
        .bind(guid)
        .bind(principal)
        .bind(kind)
        .bind(role)
        .fetch_one(&self.pool)
        .await
    }

    /// Takes a permission away. `false` when there is none.
    pub(in super::super) async fn revoke(&self, guid: &str, id: i64) -> Result<bool> {
        let done = sqlx::query("DELETE FROM permissions WHERE content_guid = $1 AND id = $2")
            .bind(guid)
            .bind(id)
            .execute(&self.pool)
            .await?;
        Ok(done.rows_affected() > 0)
    }

    /// Every vanity path.
    pub(in super::super) async fn vanities(&self) -> Result<Vec<Vanity>> {
        let rows: Vec<(String, String, String)> =
            sqlx::query_as("SELECT path, content_guid, created_time FROM vanities ORDER BY path")
                .fetch_all(&self.pool)
                .await?;
        let read = |(path, content_guid, created_time)| Vanity { path, content_guid, created_time };
        Ok(rows.into_iter().map(read).collect())
    }

    /// Gives a content item a path, in place of the one it had and of whoever had this one.
    pub(in super::super) async fn set_vanity(&self, guid: &str, path: &str) -> Result<()> {
        let mut transaction = self.pool.begin().await?;
        sqlx::query("DELETE FROM vanities WHERE content_guid = $1 OR path = $2")
            .bind(guid)
            .bind(path)
            .execute(&mut *transaction)
            .await?;
        sqlx::query("INSERT INTO vanities (path, content_guid, created_time) VALUES ($1, $2, $3)")
            .bind(path)
            .bind(guid)
            .bind(utc_now())
            .execute(&mut *transaction)
            .await?;
        transaction.commit().await
    }

    /// Takes a content item's path away.
    pub(in super::super) async fn delete_vanity(&self, guid: &str) -> Result<()> {
        sqlx::query("DELETE FROM vanities WHERE content_guid = $1").bind(guid).execute(&self.pool).await?;
        Ok(())
    }

    /// Every tag.
    pub(in super::super) async fn tags(&self) -> Result<Vec<Tag>> {
        let rows = sqlx::query_as("SELECT id, name, parent_id, created_time FROM tags ORDER BY id")
            .fetch_all(&self.pool)
            .await?;
        Ok(rows.into_iter().map(read_tag).collect())
    }

    /// The tags of a content item.
    pub(in super::super) async fn tags_of(&self, guid: &str) -> Result<Vec<Tag>> {
        let rows = sqlx::query_as(
            "SELECT tags.id, tags.name, tags.parent_id, tags.created_time FROM tags \
             JOIN content_tags ON content_tags.tag_id = tags.id WHERE content_tags.content_guid = $1 ORDER BY tags.id",
        )
        .bind(guid)
        .fetch_all(&self.pool)
        .await?;
        Ok(rows.into_iter().map(read_tag).collect())
    }

    /// Makes a tag.
    pub(in super::super) async fn create_tag(&self, name: &str, parent_id: Option<i64>) -> Result<Tag> {
        let tag = Tag { id: self.next_id("tags").await?, name: name.to_owned(), parent_id, created_time: utc_now() };
        sqlx::query("INSERT INTO tags (id, name, parent_id, created_time) VALUES ($1, $2, $3, $4)")
            .bind(tag.id)
            .bind(&tag.name)
            .bind(tag.parent_id)
            .bind(&tag.created_time)
            .execute(&self.pool)
            .await?;
        Ok(tag)
    }

    /// Deletes a tag with those below it. `false` when there is none.
    pub(in super::super) async fn delete_tag(&self, id: i64) -> Result<bool> {
        let done = sqlx::query("DELETE FROM tags WHERE id = $1").bind(id).execute(&self.pool).await?;
        Ok(done.rows_affected() > 0)
    }

    /// Tags a content item, or no longer.
    pub(in super::super) async fn set_tag(&self, guid: &str, tag: i64, on: bool) -> Result<()> {
        let query = if on {
            sqlx::query("INSERT INTO content_tags (content_guid, tag_id) VALUES ($1, $2) ON CONFLICT DO NOTHING")
        } else {
            sqlx::query("DELETE FROM content_tags WHERE content_guid = $1 AND tag_id = $2")
        };
        query.bind(guid).bind(tag).execute(&self.pool).await?;
        Ok(())
    }
}

fn read_tag((id, name, parent_id, created_time): (i64, String, Option<i64>, String)) -> Tag {
    Tag { id, name, parent_id, created_time }
}
