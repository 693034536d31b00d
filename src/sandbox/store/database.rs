//! Which database, and how it is reached: embedded SQLite for one node, PostgreSQL for as many as there are. The SQL is
//! the same for both; what differs is here.

use std::path::Path;
use std::str::FromStr;
use std::time::Duration;

use sqlx::any::AnyPoolOptions;
use sqlx::migrate::{Migration, MigrationType, Migrator};
use sqlx::postgres::{PgListener, PgPoolOptions};
use sqlx::{AnyConnection, AnyPool, Connection as _, Executor as _, PgConnection, SqlSafeStr as _};

use super::Result;

/// Connections that a node keeps to PostgreSQL at most; its server has room for 100 unless told otherwise.
const MOST_CONNECTIONS: u32 = 8;
/// How long a request waits for a connection that works before it fails.
const ACQUIRE_TIMEOUT: Duration = Duration::from_secs(5);
/// A node that starts is in less of a hurry than a request: its database may be starting, too, on a machine that is busy.
const TRIES_AT_START: u32 = 9;
/// What the triggers of `0002_notify_postgres.sql` tell on.
const CHANNEL: &str = "connect_bench_changed";

/// Where a PostgreSQL database is: `postgres://USER[:PASSWORD]@HOST[:PORT]/NAME`. Shown without what is secret.
#[derive(Clone, PartialEq, Eq)]
pub struct DatabaseUrl(String);

impl FromStr for DatabaseUrl {
    type Err = String;

    fn from_str(text: &str) -> std::result::Result<Self, Self::Err> {
        let scheme = text.split_once("://").map(|(scheme, _)| scheme);
        if !matches!(scheme, Some("postgres" | "postgresql")) {
            return Err("a database is postgres://USER[:PASSWORD]@HOST[:PORT]/NAME; without one SQLite in the data \
                        directory is used"
                .to_owned());
        }
        sqlx::postgres::PgConnectOptions::from_str(text).map_err(|error| error.to_string())?;
        Ok(Self(text.to_owned()))
    }
}

impl std::fmt::Display for DatabaseUrl {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let place = self.0.split_once("://").map_or("", |(_, rest)| rest).split('?').next().unwrap_or_default();
        write!(f, "postgres://{}", place.rsplit_once('@').map_or(place, |(_, host)| host))
    }
}

impl std::fmt::Debug for DatabaseUrl {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{self}")
    }
}

/// Opens embedded SQLite in that file, and makes it if there is none.
pub(super) async fn sqlite(file: &Path) -> Result<AnyPool> {
    sqlx::any::install_default_drivers();
    let unusable = || sqlx::Error::Configuration(format!("{}: not a path", file.display()).into());
    let absolute = std::path::absolute(file)?;
    let url = url::Url::from_file_path(&absolute).map_err(|()| unusable())?;
    let url = format!("{}?mode=rwc", url.as_str().replacen("file://", "sqlite://", 1));
    let pool = AnyPoolOptions::new()
        // SQLite has one writer, and with one connection there is nothing to wait for or to deadlock on.
        .max_connections(1)
        .after_connect(|connection, _| Box::pin(prepare(connection)))
        .connect(&url)
        .await?;
    migrate(&pool, false).await?;
    Ok(pool)
}

/// A stand-in that loses power may lose its last second.
async fn prepare(connection: &mut AnyConnection) -> Result<()> {
    connection.execute(sqlx::raw_sql("PRAGMA journal_mode = WAL; PRAGMA synchronous = OFF")).await?;
    Ok(())
}

/// Opens a PostgreSQL database. Connections that broke are noticed before they are used, and replaced.
pub(super) async fn postgres(url: &DatabaseUrl) -> Result<AnyPool> {
    sqlx::any::install_default_drivers();
    let options = AnyPoolOptions::new()
        .max_connections(MOST_CONNECTIONS)
        .acquire_timeout(ACQUIRE_TIMEOUT)
        .test_before_acquire(true);
    let pool = options.connect(&url.0).await?;
    migrate(&pool, true).await?;
    Ok(pool)
}

/// Does what is needed to start, again where there was no connection for it in time: nine times five seconds.
pub(in super::super) async fn patiently<T>(
    database: Option<&DatabaseUrl>,
    needed: impl AsyncFn() -> Result<T>,
) -> Result<T> {
    let mut tries = 1;
    loop {
        match (needed().await, database) {
            (Err(sqlx::Error::PoolTimedOut), Some(url)) => {
                let reason = unreachable(url).await;
                if tries == TRIES_AT_START {
                    return Err(reason);
                }
                let left = ACQUIRE_TIMEOUT * (TRIES_AT_START - tries);
                tracing::warn!("no connection to the database yet ({reason}); trying for {} s more", left.as_secs());
                tries += 1;
            }
            (done, _) => return done,
        }
    }
}

/// Why there is no connection, which a pool does not say.
async fn unreachable(url: &DatabaseUrl) -> sqlx::Error {
    let connected = tokio::time::timeout(ACQUIRE_TIMEOUT, PgConnection::connect(&url.0)).await;
    connected.ok().and_then(std::result::Result::err).unwrap_or(sqlx::Error::PoolTimedOut)
}

/// Brings the tables up to date. Of several nodes that start at once one does it, and the others wait.
async fn migrate(pool: &AnyPool, postgres: bool) -> Result<()> {
    let migration = |version, name: &'static str, sql: &'static str| {
        Migration::new(version, name.into(), MigrationType::Simple, sql.into_sql_str(), false)
    };
    let mut all = vec![migration(1, "schema", include_str!("0001_schema.sql"))];
    if postgres {
        all.push(migration(2, "notify", include_str!("0002_notify_postgres.sql")));
    }
    Migrator::with_migrations(all).run(pool).await.map_err(|error| sqlx::Error::Configuration(error.into()))
}

/// What other nodes changed: the guids of content items, as they come. Ends with an error when the connection does.
pub(in super::super) struct Changes {
    listener: PgListener,
}

impl Changes {
    pub(super) async fn of(url: &DatabaseUrl) -> Result<Self> {
        let options = PgPoolOptions::new().max_connections(1).acquire_timeout(ACQUIRE_TIMEOUT);
        let mut listener = PgListener::connect_with(&options.connect(&url.0).await?).await?;
        listener.eager_reconnect(false);
        listener.listen(CHANNEL).await?;
        Ok(Self { listener })
    }

    /// The next one; `None` when the connection is lost, and with it what was said meanwhile.
    pub(in super::super) async fn next(&mut self) -> Option<String> {
        self.listener.try_recv().await.ok().flatten().map(|told| told.payload().to_owned())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_database_is_shown_without_its_password() {
        let url: DatabaseUrl =
            "postgres://connect:s3cr%40t@db.example.com:5433/bench?password=s3c@ret".parse().unwrap();
        assert_eq!(format!("{url:?}"), "postgres://db.example.com:5433/bench");
        for bad in ["mysql://x/y", "db.example.com", "postgres://h:port/x"] {
            assert!(bad.parse::<DatabaseUrl>().is_err(), "{bad}");
        }
    }

    #[tokio::test]
    async fn who_starts_is_patient_and_says_what_it_waited_for() {
        // Nobody listens there.
        let url: DatabaseUrl = "postgres://connect@127.0.0.1:1/bench".parse().unwrap();
        let asked = std::cell::Cell::new(0);
        let late = async |nth: u32| {
            asked.set(asked.get() + 1);
            if asked.get() < nth { Err(sqlx::Error::PoolTimedOut) } else { Ok(asked.get()) }
        };
        assert_eq!(patiently(Some(&url), || late(TRIES_AT_START)).await.unwrap(), TRIES_AT_START);
        asked.set(0);
        let given_up = patiently(Some(&url), || late(u32::MAX)).await.unwrap_err().to_string();
        assert!(asked.get() == TRIES_AT_START && given_up.contains("refused"), "{given_up}");
        // An answer is an answer, and a database of its own has nobody to wait for.
        asked.set(0);
        let refused = patiently(Some(&url), async || Err::<(), _>(sqlx::Error::RowNotFound)).await;
        assert!(matches!(refused, Err(sqlx::Error::RowNotFound)));
        assert!(patiently(None, || late(2)).await.is_err() && asked.get() == 1);
    }
}
