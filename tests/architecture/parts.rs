//! The parts, where they are installed.

use std::os::unix::fs::PermissionsExt as _;

use connect_bench::architecture::Fault;
use connect_bench::architecture::postgres::{self, Postgres};

/// What there is, or nothing and the reason on stderr. With `CI` set there has to be something.
pub(crate) fn or_skip<T>(found: Result<T, Fault>) -> Option<T> {
    match found {
        Ok(found) => Some(found),
        Err(fault @ Fault::Missing { .. }) => {
            assert!(std::env::var_os("CI").is_none(), "{fault}");
            eprintln!("skipped: {fault}");
            None
        }
        Err(fault) => panic!("{fault}"),
    }
}

/// A PostgreSQL of the test's own, and the directory that it is in.
pub(crate) async fn database() -> Option<(Postgres, tempfile::TempDir)> {
    or_skip(postgres::programs())?;
    let place = tempfile::tempdir().unwrap();
    std::fs::set_permissions(place.path(), std::fs::Permissions::from_mode(0o755)).unwrap();
    Some((Postgres::start(place.path(), false).await.unwrap(), place))
}
