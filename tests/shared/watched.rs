//! For tests that start the program: it has a key, which must come out nowhere.

use std::path::Path;
use std::process::Command;

#[path = "canary.rs"]
pub(crate) mod canary;

/// Gives the program a key: that of a sandbox which it starts, and of whatever else it is aimed at.
pub(crate) fn with_key(command: &mut Command) -> &mut Command {
    command.env("CONNECT_BENCH_SANDBOX_API_KEY", canary::KEY).env("CONNECT_API_KEY", canary::KEY)
}

/// Fails where the key is in what was printed, or in a file below a folder.
#[track_caller]
pub(crate) fn has_no_key(printed: &[&[u8]], folder: &Path) {
    for text in printed {
        let found = canary::found(text, canary::KEY);
        assert_eq!(found, None, "the key was printed: {}", String::from_utf8_lossy(text));
    }
    canary::search(folder, &[canary::KEY.to_owned()], &[]);
}
