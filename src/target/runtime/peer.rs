//! Who listens on a runtime's socket: one that counts processes in another PID namespace would answer with foreign numbers, and
//! one that is a user's own may name that user's processes only.

use std::fs::Metadata;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::sync::OnceLock;

use tokio::net::UnixStream;

use super::Fault;
use crate::sys::caps;

/// Connects once and compares the listener's PID namespace with our own. Returns the user who listens, unless that is root, and
/// notes him before anything else can fail.
///
/// SO_PEERCRED (unix(7)) gives the listener's number as this process counts, 0 when it has none here, and its user. What cannot
/// be read is no reason to refuse: the namespace is compared again when the process is held.
pub(super) async fn check(socket: &Path, proc_root: &Path, listener: &OnceLock<u32>) -> Result<Option<u32>, Fault> {
    let stream = UnixStream::connect(socket).await?;
    let Ok(credentials) = stream.peer_cred() else { return Ok(None) };
    let user = Some(credentials.uid()).filter(|uid| *uid != 0);
    user.filter(is_stranger).map(|user| listener.set(user));
    match credentials.pid() {
        Some(pid) if pid > 0 => {
            let theirs = identity(&proc_root.join(pid.to_string()).join("ns/pid"));
            let ours = identity(&proc_root.join("self/ns/pid"));
            match (theirs, ours) {
                (Some(theirs), Some(ours)) if theirs != ours => Err(Fault::Foreign),
                _ => Ok(user),
            }
        }
        Some(0) => Err(Fault::Foreign),
        _ => Ok(user),
    }
}

/// The user who can put there what he likes, unless that is root alone or who asks: who owns the file, or one of the folders in which it lies.
/// A user's link to somebody else's socket is the user's.
pub(super) fn owner(socket: &Path, found: Option<&Metadata>) -> Option<u32> {
    let folders = socket.ancestors().filter_map(|path| std::fs::symlink_metadata(path).ok());
    found.map(Metadata::uid).into_iter().chain(folders.map(|found| found.uid())).find(is_stranger)
}

fn is_stranger(uid: &u32) -> bool {
    *uid != 0 && *uid != caps::user()
}

fn identity(path: &Path) -> Option<(u64, u64)> {
    std::fs::metadata(path).ok().map(|found| (found.dev(), found.ino()))
}
