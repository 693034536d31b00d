//! A key that was typed goes out of this process's arguments, which every user of a machine may read.

use std::ffi::OsString;
use std::io;
use std::os::fd::AsRawFd as _;
use std::os::unix::ffi::{OsStrExt as _, OsStringExt as _};
use std::os::unix::process::CommandExt as _;
use std::process::Command;

use rustix::io::FdFlags;
use rustix::pipe::{PipeFlags, pipe_with};
use rustix::process::{Resource, Rlimit, setrlimit};

use crate::cli::typed_key;

/// The longest key that is passed on: what every pipe takes without a reader.
const LONGEST: usize = 4096;

/// Starts this program anew in its own place where a key was typed, with `fd:N` where the key stood and the key in a pipe.
/// Nothing has been done yet, so nothing is done twice. Also sees to it that a crash writes no memory to the disk.
pub fn hide_key() {
    // Where the system does not permit it, a dump may be written as for any other program.
    let _ = setrlimit(Resource::Core, Rlimit { current: Some(0), maximum: Some(0) });
    let arguments: Vec<OsString> = std::env::args_os().collect();
    let Some((at, byte)) = typed_key(&arguments) else { return };
    let key = &arguments[at].as_bytes()[byte..];
    if key.is_empty() || key == b"-" || key.starts_with(b"fd:") || key.len() > LONGEST {
        return;
    }
    if let Err(error) = again(&arguments, at, byte) {
        super::say(&format!("warning: the key stays in the arguments of this process: {error}"));
    }
}

/// Returns only where it fails.
fn again(arguments: &[OsString], at: usize, byte: usize) -> io::Result<()> {
    let (before, key) = arguments[at].as_bytes().split_at(byte);
    let (reader, writer) = pipe_with(PipeFlags::CLOEXEC)?;
    rustix::io::write(&writer, key)?;
    drop(writer);
    rustix::io::fcntl_setfd(&reader, FdFlags::empty())?;
    let mut arguments = arguments.to_vec();
    let place = format!("fd:{}", reader.as_raw_fd());
    arguments[at] = OsString::from_vec([before, place.as_bytes()].concat());
    let [name, rest @ ..] = arguments.as_slice() else { return Ok(()) };
    Err(Command::new(std::env::current_exe()?).arg0(name).args(rest).exec())
}
