//! Bundles on disk: received in pieces, looked into, unpacked. What is in an archive is not trusted.

use std::fs::File;
use std::io::{self, Read};
use std::path::{Component, Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicI32, Ordering::Relaxed};

use axum::body::Bytes;
use flate2::read::GzDecoder;
use md5::{Digest as _, Md5};
use serde_json::Value;
use tokio::io::AsyncWriteExt as _;

/// Greatest size of everything in a bundle together, unpacked.
const UNPACKED_LIMIT: u64 = 2 << 30;
/// A bundle that unpacks to more than this is looked at for how much it shrank: nothing but a bomb shrinks so much.
const SURELY_FINE: u64 = 64 << 20;
const GREATEST_RATIO: u64 = 100;
/// Greatest size of a manifest.
const MANIFEST_LIMIT: u64 = 32 << 20;
/// Most entries in a bundle.
const ENTRY_LIMIT: usize = 200_000;

/// Why a bundle cannot be used.
#[derive(Debug, thiserror::Error)]
pub(super) enum BundleFault {
    /// Not a gzip tar, or a broken one.
    #[error("the bundle could not be extracted: {0}")]
    Archive(#[from] io::Error),
    /// An entry that would be written somewhere else.
    #[error("the bundle could not be extracted: the path `{0}` leaves it")]
    Path(String),
    /// A link or a device.
    #[error("the bundle could not be extracted: `{0}` is neither a file nor a directory")]
    Kind(String),
    /// Too much in it.
    #[error("the bundle could not be extracted: {0}")]
    Size(&'static str),
    /// More than is taken is announced.
    #[error(
        "the bundle could not be extracted: `{path}` makes it {bytes} bytes unpacked, {limit} are allowed for its size"
    )]
    Declared { path: String, bytes: u64, limit: u64 },
    /// No manifest, or not JSON.
    #[error("the manifest.json of the bundle is missing or invalid: {0}")]
    Manifest(String),
}

/// Where bundles and what was unpacked from them are.
#[derive(Debug, Clone)]
pub(super) struct BundleDir {
    root: PathBuf,
    /// What is being received or unpacked: this node's own, on the same file system.
    work: PathBuf,
    /// Held as long as the node is there, by nobody once it was killed.
    _lock: Arc<File>,
    /// The error that writing fails with, as the system numbers them; 0: it does not.
    trouble: Arc<AtomicI32>,
}

/// An upload that was received.
#[derive(Debug)]
pub(super) struct Received {
    file: tempfile::TempPath,
    /// Bytes.
    pub(super) size: u64,
    /// MD5 of the bytes.
    pub(super) md5: [u8; 16],
}

/// An upload that is coming in.
#[derive(Debug)]
pub(super) struct Receiver {
    file: tokio::fs::File,
    path: tempfile::TempPath,
    md5: Md5,
    size: u64,
    limit: u64,
}

/// Why an upload was not received.
#[derive(Debug)]
pub(super) enum ReceiveFault {
    /// Larger than the limit.
    TooLarge,
    /// It could not be written.
    Io(io::Error),
}

impl From<io::Error> for ReceiveFault {
    fn from(error: io::Error) -> Self {
        Self::Io(error)
    }
}

impl BundleDir {
    /// Under that directory, which is made; for the node of that name. What it left half done when it was killed goes.
    pub(super) fn new(root: &Path, node: &str) -> io::Result<Self> {
        for name in ["incoming", "bundles", "apps"] {
            std::fs::create_dir_all(root.join(name))?;
        }
        let safe: String = node.chars().map(|c| if c.is_alphanumeric() || c == '-' { c } else { '_' }).collect();
        let work = root.join("incoming").join(&safe);
        let lock = File::create(work.with_added_extension("lock"))?;
        // Where another one of that name runs, it is still being worked on.
        if lock.try_lock().is_ok() {
            let _ = std::fs::remove_dir_all(&work);
        }
        std::fs::create_dir_all(&work)?;
        Ok(Self { root: root.to_owned(), work, _lock: Arc::new(lock), trouble: Arc::default() })
    }

    /// Unpacks the archive of a bundle for a deploy. Blocks.
    pub(super) fn unpack(&self, content: &str, bundle: i64) -> Result<(), BundleFault> {
        unpack_in(&self.work, &self.archive(content, bundle), &self.app(content, bundle))
    }

    /// Behaves from now on as a folder does that is `read-only` or `full`, or is `ok` again. `false`: none of these.
    ///
    /// What the system would say is said here, because nothing that needs no rights makes it say so.
    pub(super) fn behave(&self, state: &str) -> bool {
        let trouble = match state {
            "ok" => 0,
            "read-only" => rustix::io::Errno::ROFS.raw_os_error(),
            "full" => rustix::io::Errno::NOSPC.raw_os_error(),
            _ => return false,
        };
        self.trouble.store(trouble, Relaxed);
        true
    }

    /// Whether anything can be written.
    pub(super) fn writable(&self) -> io::Result<()> {
        match self.trouble.load(Relaxed) {
            0 => Ok(()),
            errno => Err(io::Error::from_raw_os_error(errno)),
        }
    }

    /// Begins to receive an upload of at most `limit` bytes.
    pub(super) fn receive(&self, limit: u64) -> io::Result<Receiver> {
        self.writable()?;
        let (file, path) = tempfile::NamedTempFile::new_in(&self.work)?.into_parts();
        Ok(Receiver { file: tokio::fs::File::from_std(file), path, md5: Md5::new(), size: 0, limit })
    }

    /// Gives a received upload its place.
    pub(super) fn keep(&self, received: Received, content: &str, bundle: i64) -> io::Result<PathBuf> {
        self.writable()?;
        let place = self.archive(content, bundle);
        if let Some(parent) = place.parent() {
            std::fs::create_dir_all(parent)?;
        }
        received.file.persist(&place).map_err(|error| error.error)?;
        Ok(place)
    }

    /// The file of a bundle.
    pub(super) fn archive(&self, content: &str, bundle: i64) -> PathBuf {
        self.root.join("bundles").join(content).join(format!("{bundle}.tar.gz"))
    }

    /// Where a bundle's files are once it is deployed.
    pub(super) fn app(&self, content: &str, bundle: i64) -> PathBuf {
        self.root.join("apps").join(content).join(bundle.to_string())
    }

    /// Removes a bundle's files, whatever there is of them.
    pub(super) fn remove(&self, content: &str, bundle: i64) {
        let _ = std::fs::remove_file(self.archive(content, bundle));
        let _ = std::fs::remove_dir_all(self.app(content, bundle));
    }

    /// Removes all files of a content item.
    pub(super) fn remove_content(&self, content: &str) {
        let _ = std::fs::remove_dir_all(self.root.join("bundles").join(content));
        let _ = std::fs::remove_dir_all(self.root.join("apps").join(content));
    }
}

impl Receiver {
    /// One piece.
    pub(super) async fn write(&mut self, chunk: &Bytes) -> Result<(), ReceiveFault> {
        self.size += chunk.len() as u64;
        if self.size > self.limit {
            return Err(ReceiveFault::TooLarge);
        }
        self.md5.update(chunk);
        Ok(self.file.write_all(chunk).await?)
    }

    /// That was all.
    pub(super) async fn finish(mut self) -> io::Result<Received> {
        self.file.flush().await?;
        Ok(Received { file: self.path, size: self.size, md5: self.md5.finalize().into() })
    }
}

/// Reads the manifest of a bundle without unpacking it. Blocks.
pub(super) fn manifest_of(archive: &Path) -> Result<Value, BundleFault> {
    let (mut paths, mut manifests) = (Vec::new(), Vec::new());
    let (mut tar, mut room) = open(archive)?;
    for entry in tar.entries()? {
        let mut entry = entry?;
        room.take(&entry)?;
        let Some(path) = safe_path(&entry.path()?)? else { continue };
        if path.file_name().is_some_and(|name| name == "manifest.json") && entry.header().entry_type().is_file() {
            let mut bytes = Vec::new();
            entry.by_ref().take(MANIFEST_LIMIT).read_to_end(&mut bytes)?;
            manifests.push((path.clone(), bytes));
        }
        paths.push((path, entry.header().entry_type().is_dir()));
        if paths.len() > ENTRY_LIMIT {
            return Err(BundleFault::Size("too many entries"));
        }
    }
    let top = top_of(&paths);
    let found = manifests.into_iter().find(|(path, _)| path.parent() == Some(&top));
    let (_, bytes) = found.ok_or_else(|| BundleFault::Manifest("there is none".to_owned()))?;
    match serde_json::from_slice(&bytes) {
        Ok(manifest @ Value::Object(_)) => Ok(manifest),
        Ok(_) => Err(BundleFault::Manifest("it is not an object".to_owned())),
        Err(error) => Err(BundleFault::Manifest(error.to_string())),
    }
}

/// Unpacks a bundle into a directory, made anew. A single directory that holds everything is left out. Blocks.
pub(super) fn unpack(archive: &Path, into: &Path) -> Result<(), BundleFault> {
    unpack_in(into.parent().ok_or(BundleFault::Size("no place to unpack to"))?, archive, into)
}

/// The same, by way of that folder.
fn unpack_in(work: &Path, archive: &Path, into: &Path) -> Result<(), BundleFault> {
    for folder in [Some(work), into.parent()].into_iter().flatten() {
        std::fs::create_dir_all(folder)?;
    }
    let work = tempfile::tempdir_in(work)?;
    let (mut tar, mut room) = open(archive)?;
    for (index, entry) in tar.entries()?.enumerate() {
        let mut entry = entry?;
        room.take(&entry)?;
        if index >= ENTRY_LIMIT {
            return Err(BundleFault::Size("too many entries"));
        }
        let Some(path) = safe_path(&entry.path()?)? else { continue };
        let place = work.path().join(&path);
        let kind = entry.header().entry_type();
        if kind.is_dir() {
            std::fs::create_dir_all(&place)?;
        } else if kind.is_file() || kind.is_contiguous() {
            if let Some(parent) = place.parent() {
                std::fs::create_dir_all(parent)?;
            }
            io::copy(&mut entry, &mut File::create(&place)?)?;
        } else if !kind.is_pax_global_extensions() {
            return Err(BundleFault::Kind(path.display().to_string()));
        }
    }
    Ok(put(&descend(work.path())?, into, &work)?)
}

/// Puts a folder in the place of another, at once: other nodes start processes from it, and we may be killed.
fn put(folder: &Path, into: &Path, work: &tempfile::TempDir) -> io::Result<()> {
    use rustix::fs::{CWD, RenameFlags, renameat_with};
    // What was there is then among what is removed with the working folder.
    if renameat_with(CWD, folder, CWD, into, RenameFlags::EXCHANGE).is_ok() {
        return Ok(());
    }
    // Nothing is there, or this file system cannot do that: NFS is one.
    let old = tempfile::TempDir::new_in(work.path().parent().unwrap_or(into))?;
    let _ = std::fs::rename(into, old.path());
    match std::fs::rename(folder, into) {
        // Another node has just unpacked the same bundle: the same files.
        Err(error) if error.kind() == io::ErrorKind::DirectoryNotEmpty => Ok(()),
        done => done,
    }
}

/// Where a path inside a bundle points to, under `root`; `None` when it would leave it or does not make sense.
pub(super) fn inside(root: &Path, path: &str) -> Option<PathBuf> {
    let relative = safe_path(Path::new(path.trim_start_matches('/'))).ok()?;
    Some(relative.map_or_else(|| root.to_owned(), |relative| root.join(relative)))
}

fn open(archive: &Path) -> io::Result<(tar::Archive<impl Read>, Room)> {
    let file = File::open(archive)?;
    let limit = limit(file.metadata()?.len());
    let unpacked = GzDecoder::new(io::BufReader::new(file));
    Ok((tar::Archive::new(Limited { inner: unpacked, left: limit }), Room { limit, declared: 0 }))
}

/// How many bytes a bundle of that size may be unpacked.
fn limit(size: u64) -> u64 {
    size.saturating_mul(GREATEST_RATIO).clamp(SURELY_FINE, UNPACKED_LIMIT)
}

/// What the entries say of their sizes, before anything of them is written.
struct Room {
    limit: u64,
    declared: u64,
}

impl Room {
    fn take(&mut self, entry: &tar::Entry<'_, impl Read>) -> Result<(), BundleFault> {
        self.declared = self.declared.saturating_add(entry.size());
        if self.declared <= self.limit {
            return Ok(());
        }
        let path = entry.path().map(|path| path.display().to_string()).unwrap_or_default();
        Err(BundleFault::Declared { path, bytes: self.declared, limit: self.limit })
    }
}

/// The path without `./`; `None` for the root itself.
fn safe_path(path: &Path) -> Result<Option<PathBuf>, BundleFault> {
    let mut safe = PathBuf::new();
    for component in path.components() {
        match component {
            Component::Normal(name) if !name.to_string_lossy().contains(['\0', '\\']) => safe.push(name),
            Component::CurDir => {}
            _ => return Err(BundleFault::Path(path.display().to_string())),
        }
    }
    Ok((!safe.as_os_str().is_empty()).then_some(safe))
}

/// The directory that holds everything: descends while there is exactly one entry and it is a directory.
fn top_of(paths: &[(PathBuf, bool)]) -> PathBuf {
    let mut top = PathBuf::new();
    loop {
        let mut only: Option<&std::ffi::OsStr> = None;
        for (path, is_dir) in paths {
            let Ok(rest) = path.strip_prefix(&top) else { return top };
            let Some(Component::Normal(name)) = rest.components().next() else { continue };
            let leaf = rest.components().count() == 1 && !is_dir;
            if leaf || only.is_some_and(|seen| seen != name) {
                return top;
            }
            only = Some(name);
        }
        match only {
            Some(name) => top.push(name),
            None => return top,
        }
    }
}

fn descend(root: &Path) -> io::Result<PathBuf> {
    let mut top = root.to_owned();
    loop {
        let mut entries = std::fs::read_dir(&top)?;
        match (entries.next().transpose()?, entries.next()) {
            (Some(only), None) if only.file_type()?.is_dir() => top = only.path(),
            _ => return Ok(top),
        }
    }
}

/// Ends with an error when more comes out of an archive than is allowed: the guard against bombs.
struct Limited<R> {
    inner: R,
    left: u64,
}

impl<R: Read> Read for Limited<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let n = self.inner.read(buffer)?;
        self.left = self.left.checked_sub(n as u64).ok_or_else(|| io::Error::other("it is too large unpacked"))?;
        Ok(n)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use flate2::Compression;
    use flate2::write::GzEncoder;

    fn archive(entries: &[(&str, &str)]) -> tempfile::NamedTempFile {
        let file = tempfile::NamedTempFile::new().unwrap();
        let mut tar = tar::Builder::new(GzEncoder::new(file.reopen().unwrap(), Compression::fast()));
        for (path, text) in entries {
            let mut header = tar::Header::new_gnu();
            // Written straight into the header: `set_path` would refuse what we want to try.
            header.as_mut_bytes()[..path.len()].copy_from_slice(path.as_bytes());
            header.set_size(text.len() as u64);
            header.set_mode(0o644);
            if path.ends_with('/') {
                header.set_entry_type(tar::EntryType::Directory);
            }
            header.set_cksum();
            tar.append(&header, text.as_bytes()).unwrap();
        }
        tar.into_inner().unwrap().finish().unwrap();
        file
    }

    #[test]
    fn the_manifest_is_found_at_the_top_and_in_a_single_directory() {
        for prefix in ["", "./", "app/", "a/b/"] {
            let bundle = archive(&[
                (&format!("{prefix}manifest.json"), r#"{"version":1}"#),
                (&format!("{prefix}data/manifest.json"), "not this one"),
                (&format!("{prefix}app.py"), "app = 1"),
            ]);
            assert_eq!(manifest_of(bundle.path()).unwrap()["version"], 1, "{prefix}");
            let place = tempfile::tempdir().unwrap();
            let into = place.path().join("x").join("1");
            unpack(bundle.path(), &into).unwrap();
            assert_eq!(std::fs::read_to_string(into.join("app.py")).unwrap(), "app = 1", "{prefix}");
            std::fs::write(into.join("written"), "by a process").unwrap();
            unpack(bundle.path(), &into).unwrap();
            assert!(into.join("app.py").exists() && !into.join("written").exists(), "made anew: {prefix}");
            let left = std::fs::read_dir(into.parent().unwrap()).unwrap().count();
            assert_eq!(left, 1, "nothing but the bundle is left: {prefix}");
        }
    }

    #[test]
    fn what_a_killed_node_left_half_done_goes_when_it_is_back_and_not_before() {
        let place = tempfile::tempdir().unwrap();
        let node = BundleDir::new(place.path(), "node/1").unwrap();
        let half = node.work.join("half");
        std::fs::write(&half, "x").unwrap();
        // Another one of that name, and one of another.
        drop((BundleDir::new(place.path(), "node/1").unwrap(), BundleDir::new(place.path(), "node-2").unwrap()));
        assert!(half.exists());
        drop(node);
        let again = BundleDir::new(place.path(), "node/1").unwrap();
        assert!(!half.exists() && again.work.is_dir());
    }

    #[test]
    fn a_missing_or_broken_manifest_is_told() {
        for entries in [&[("app.py", "")][..], &[("manifest.json", "{")], &[("manifest.json", "[]")]] {
            assert!(matches!(manifest_of(archive(entries).path()), Err(BundleFault::Manifest(_))));
        }
        let junk = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(junk.path(), "not gzip").unwrap();
        assert!(matches!(manifest_of(junk.path()), Err(BundleFault::Archive(_))));
    }

    #[test]
    fn nothing_is_written_outside() {
        for evil in ["../evil", "/etc/evil", "a/../../evil", "a\\..\\evil"] {
            let bundle = archive(&[("manifest.json", "{}"), (evil, "x")]);
            let place = tempfile::tempdir().unwrap();
            assert!(matches!(unpack(bundle.path(), &place.path().join("1")), Err(BundleFault::Path(_))), "{evil}");
            assert_eq!(std::fs::read_dir(place.path()).unwrap().count(), 0, "{evil}");
        }
    }

    #[test]
    fn links_are_refused() {
        let file = tempfile::NamedTempFile::new().unwrap();
        let mut tar = tar::Builder::new(GzEncoder::new(file.reopen().unwrap(), Compression::fast()));
        let mut header = tar::Header::new_gnu();
        header.set_entry_type(tar::EntryType::Symlink);
        header.set_size(0);
        tar.append_link(&mut header, "link", "/etc/passwd").unwrap();
        tar.into_inner().unwrap().finish().unwrap();
        let place = tempfile::tempdir().unwrap();
        assert!(matches!(unpack(file.path(), &place.path().join("1")), Err(BundleFault::Kind(_))));
    }

    #[test]
    fn more_than_the_limit_is_an_error() {
        let mut limited = Limited { inner: io::repeat(0).take(11), left: 10 };
        assert!(io::copy(&mut limited, &mut io::sink()).is_err());
        let mut exact = Limited { inner: io::repeat(0).take(10), left: 10 };
        assert_eq!(io::copy(&mut exact, &mut io::sink()).unwrap(), 10);
    }

    #[test]
    fn what_is_announced_counts_before_it_is_unpacked() {
        assert_eq!([limit(0), limit(1 << 20), limit(1 << 40)], [SURELY_FINE, 100 << 20, UNPACKED_LIMIT]);
        let file = tempfile::NamedTempFile::new().unwrap();
        let mut gzip = GzEncoder::new(file.reopen().unwrap(), Compression::fast());
        let mut header = tar::Header::new_gnu();
        header.set_path("huge").unwrap();
        header.set_size(10 << 30);
        header.set_cksum();
        io::Write::write_all(&mut gzip, header.as_bytes()).unwrap();
        gzip.finish().unwrap();
        let place = tempfile::tempdir().unwrap();
        for fault in [unpack(file.path(), &place.path().join("1")), manifest_of(file.path()).map(|_| ())] {
            assert!(matches!(fault, Err(BundleFault::Declared { .. })), "{fault:?}");
        }
    }

    #[test]
    fn urls_stay_inside_too() {
        let root = Path::new("/data/app");
        assert_eq!(inside(root, "/a/./b.html"), Some(root.join("a/b.html")));
        assert_eq!(inside(root, "/"), Some(root.to_owned()));
        assert_eq!(inside(root, "/../secret"), None);
        assert_eq!(inside(root, "/a\\..\\b"), None);
    }
}
