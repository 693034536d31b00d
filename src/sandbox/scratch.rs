//! Temporary folders that do not outlive their process for long, however it ended: what one that was killed left behind is
//! removed by the next one that makes a folder of that kind.

use std::fs::File;
use std::io;
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;

use tempfile::TempDir;

/// Locked as long as the process lives that made the folder.
const ALIVE: &str = "alive";

/// A folder that is removed when this is dropped.
#[derive(Debug)]
pub(super) struct Scratch {
    folder: TempDir,
    /// After the folder, so that nobody else begins to remove it.
    _lock: File,
}

impl Scratch {
    /// Makes a folder there whose name begins so, and removes those that dead processes of this user left.
    pub(super) fn new(parent: &Path, prefix: &str) -> io::Result<Scratch> {
        sweep(parent, prefix);
        let folder = tempfile::Builder::new().prefix(prefix).tempdir_in(parent)?;
        let making = folder.path().join("making");
        let lock = File::create(&making)?;
        // Under its name only once it is locked; and not at all where files cannot be locked: then the folder stays.
        if lock.try_lock().is_ok() {
            std::fs::rename(making, folder.path().join(ALIVE))?;
        }
        Ok(Scratch { folder, _lock: lock })
    }

    pub(super) fn path(&self) -> &Path {
        self.folder.path()
    }
}

/// Removes what it can; what it cannot is not worth an error.
fn sweep(parent: &Path, prefix: &str) {
    let me = rustix::process::geteuid().as_raw();
    for entry in std::fs::read_dir(parent).into_iter().flatten().flatten() {
        let is_ours = || entry.metadata().is_ok_and(|found| found.is_dir() && found.uid() == me);
        if !entry.file_name().to_string_lossy().starts_with(prefix) || !is_ours() {
            continue;
        }
        let Ok(lock) = File::open(entry.path().join(ALIVE)) else { continue };
        if lock.try_lock().is_ok() {
            let _ = std::fs::remove_dir_all(entry.path());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_the_dead_left_goes_and_what_the_living_have_stays() {
        let place = tempfile::tempdir().unwrap();
        let new = |prefix: &str| Scratch::new(place.path(), prefix).unwrap();
        let (alive, killed, other) = (new("box-"), new("box-"), new("other-"));
        let strange = place.path().join("box-of-somebody");
        std::fs::create_dir(&strange).unwrap();
        std::fs::write(killed.path().join("data"), "left").unwrap();
        let Scratch { folder, _lock } = killed;
        let left = folder.keep();
        drop(_lock);
        let other_left = other.folder.keep();
        let next = new("box-");
        assert!(!left.exists());
        assert!([alive.path(), next.path(), &strange, &other_left].iter().all(|path| path.is_dir()));
        let gone = alive.path().to_owned();
        drop(alive);
        assert!(!gone.exists());
    }
}
