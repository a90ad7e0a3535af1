//! Folders and archives of snapshots.

use std::io::{Error, ErrorKind};
use std::path::{Path, PathBuf};

use super::exit::Exit;
use super::failure::Failure;
use crate::archive::MANIFEST;

/// The files of a folder, in order; hidden ones, folders in it and its manifest are left out.
pub(super) fn inside(folder: &Path) -> Result<Vec<PathBuf>, Failure> {
    let failed = |error: &Error| {
        let exit = match error.kind() {
            ErrorKind::PermissionDenied => Exit::NotPermitted,
            _ => Exit::Failed,
        };
        Failure::of(exit, error).about(format!("cannot read {}", folder.display()))
    };
    let mut files = Vec::new();
    for entry in std::fs::read_dir(folder).map_err(|error| failed(&error))? {
        let entry = entry.map_err(|error| failed(&error))?;
        let hidden = entry.file_name().as_encoded_bytes().starts_with(b".");
        let manifest = entry.file_name() == MANIFEST;
        if !hidden && !manifest && !entry.path().is_dir() {
            files.push(entry.path());
        }
    }
    if files.is_empty() {
        return Err(Failure::new(Exit::NotFound, format!("no file is in {}", folder.display())));
    }
    files.sort();
    Ok(files)
}
