//! The parts, where they are installed.

use std::os::unix::fs::PermissionsExt as _;
use std::process::Command;
use std::time::Duration;

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

/// Whether Python, and R with plumber, can be had here; says why not. With `CI` set they have to.
pub(crate) fn runtimes() -> bool {
    let wanted = [("python3", ["-c", "import venv, ensurepip"]), ("Rscript", ["-e", "library(plumber)"])];
    wanted.iter().all(|(program, arguments)| {
        let found = Command::new(program).args(arguments).output().is_ok_and(|output| output.status.success());
        assert!(found || std::env::var_os("CI").is_none(), "{program} {arguments:?} does not work here");
        if !found {
            eprintln!("skipped: {program} {arguments:?} does not work here");
        }
        found
    })
}

/// Asks until the answer is as it should be.
pub(crate) async fn until(what: &str, mut is_so: impl AsyncFnMut() -> bool) {
    for _ in 0..1500 {
        if is_so().await {
            return;
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    panic!("never: {what}");
}

/// A PostgreSQL of the test's own, and the directory that it is in.
pub(crate) async fn database() -> Option<(Postgres, tempfile::TempDir)> {
    or_skip(postgres::programs())?;
    let place = tempfile::tempdir().unwrap();
    std::fs::set_permissions(place.path(), std::fs::Permissions::from_mode(0o755)).unwrap();
    Some((Postgres::start(place.path(), false).await.unwrap(), place))
}
