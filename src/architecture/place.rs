//! The directory of an architecture that is up: its socket, its logs, its data. One of a name at a time.

use std::os::unix::fs::{DirBuilderExt as _, MetadataExt as _};
use std::path::{Path, PathBuf};

use super::control;
use super::{Fault, io};

/// A directory that goes when it is dropped.
#[derive(Debug)]
pub struct Place {
    root: PathBuf,
}

/// What is there already.
#[derive(Debug)]
pub enum Taken {
    /// Nothing: it is ours.
    No(Place),
    /// One that is up: how to use it.
    Up(String),
}

/// Where an architecture of that name is, unless it is told otherwise.
#[must_use]
pub fn usual(name: &str) -> PathBuf {
    let user = rustix::process::getuid().as_raw();
    std::env::temp_dir().join(format!("connect-bench-{user}-{name}"))
}

/// Takes a directory. What one that was killed left there is removed.
///
/// # Errors
/// Where it belongs to somebody else, or cannot be made.
pub async fn take(root: &Path) -> Result<Taken, Fault> {
    let socket = socket(root);
    if root.exists() {
        let ours = root.metadata().map_err(io(format!("look at {}", root.display())))?;
        if ours.uid() != rustix::process::geteuid().as_raw() {
            return Err(Fault::Asked(format!("{} belongs to somebody else", root.display())));
        }
        if control::ask(&socket, "status").await.is_ok() {
            return Ok(Taken::Up(std::fs::read_to_string(environment(root)).unwrap_or_default()));
        }
        // Its parts died with it; nothing else makes such a directory.
        let left = root.join("connect-bench.pid").exists();
        let empty = std::fs::read_dir(root).is_ok_and(|mut entries| entries.next().is_none());
        if !left && !empty {
            return Err(Fault::Asked(format!("{} is not empty, and not of an architecture", root.display())));
        }
        std::fs::remove_dir_all(root).map_err(io(format!("remove {}", root.display())))?;
    }
    // The user that PostgreSQL runs as has to get through, and to see nothing.
    let made = std::fs::DirBuilder::new().recursive(true).mode(0o711).create(root);
    made.map_err(io(format!("make {}", root.display())))?;
    let place = Place { root: root.to_owned() };
    let pid = std::process::id().to_string();
    std::fs::write(root.join("connect-bench.pid"), pid).map_err(io(format!("write in {}", root.display())))?;
    Ok(Taken::No(place))
}

/// The socket of an architecture.
#[must_use]
pub fn socket(root: &Path) -> PathBuf {
    root.join("control.sock")
}

fn environment(root: &Path) -> PathBuf {
    root.join("cluster.env")
}

impl Place {
    /// Where it is.
    #[must_use]
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// Keeps how to use it, for whoever asks later; with a key, so for nobody else.
    ///
    /// # Errors
    /// Where it cannot be written.
    pub fn remember(&self, text: &str) -> Result<(), Fault> {
        use std::io::Write as _;
        use std::os::unix::fs::OpenOptionsExt as _;
        let file = environment(&self.root);
        let written = std::fs::OpenOptions::new().create(true).truncate(true).write(true).mode(0o600).open(&file);
        written.and_then(|mut file| file.write_all(text.as_bytes())).map_err(io(format!("write {}", file.display())))
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.root);
    }
}
