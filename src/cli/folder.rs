//! Folders and archives of snapshots.

use std::io::{Error, ErrorKind};
use std::path::{Path, PathBuf};

use super::exit::Exit;
use super::failure::Failure;
use super::source::{Source, file};
use crate::archive::{MANIFEST, bundle};
use crate::capture::sweep::side_by_side;
use crate::model::Snapshot;

/// One snapshot of many: a file, or the bytes of one in an archive.
#[derive(Debug)]
pub(super) enum Saved {
    File(PathBuf),
    Packed(String, Vec<u8>),
}

impl Saved {
    /// Its name.
    pub(super) fn name(&self) -> String {
        match self {
            Self::File(path) => path.display().to_string(),
            Self::Packed(name, _) => name.clone(),
        }
    }

    /// What it holds.
    pub(super) fn read(&self, source: &Source<'_>) -> Result<Snapshot, Failure> {
        match self {
            Self::File(path) => source.saved(path.clone()),
            Self::Packed(name, bytes) => source.unpacked(name, bytes.clone()),
        }
    }
}

/// What a folder or an archive holds; `None` for a file that is one workload.
pub(super) fn saved(path: &Path) -> Result<Option<Vec<Saved>>, Failure> {
    if path.is_dir() {
        return Ok(Some(inside(path)?.into_iter().map(Saved::File).collect()));
    }
    if !path.is_file() {
        return Ok(None);
    }
    let files = bundle::files(&file(path)?).map_err(|error| Failure::from(error).about(path.display()))?;
    let Some(mut files) = files else { return Ok(None) };
    files.retain(|(name, _)| name != MANIFEST);
    if files.is_empty() {
        return Err(Failure::new(Exit::NotFound, format!("no snapshot is in {}", path.display())));
    }
    let packed = |(name, bytes)| Saved::Packed(format!("{} {name}", path.display()), bytes);
    Ok(Some(files.into_iter().map(packed).collect()))
}

/// What all of them hold, some read at once.
pub(super) fn read(all: &[Saved], source: &Source<'_>) -> Vec<Result<Snapshot, (String, Failure)>> {
    let one = |index: usize| {
        let saved = all.get(index)?;
        Some(saved.read(source).map_err(|failure| (saved.name(), failure)))
    };
    side_by_side(all.len(), usize::MAX, one).into_iter().flatten().collect()
}

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
