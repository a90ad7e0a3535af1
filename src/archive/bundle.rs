//! Many snapshots together: names for their files, the manifest that tells what there is, and archives of them.

use std::collections::BTreeSet;
use std::io::{self, Read, Write};

use flate2::read::MultiGzDecoder;
use serde::{Deserialize, Serialize};

use super::{ArchiveError, MANIFEST, MOST};
use crate::model::{Kind, Workload};

/// Schema of the manifest.
pub const SCHEMA: &str = "nslens.manifest/v1";

/// Files that an archive may have: a node's workloads are a tenth of it.
const MOST_FILES: usize = 100_000;

/// What stands in a folder or an archive.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Manifest {
    /// Its name and version.
    pub schema: String,
    /// The version of the program that wrote it.
    pub nslens: String,
    /// The node's name.
    pub node: String,
    /// When it was begun, seconds after 1970-01-01 UTC.
    pub taken: u64,
    /// Addresses and texts are pseudonyms.
    pub redacted: bool,
    /// The snapshots.
    pub workloads: Vec<Entry>,
    /// Workloads of which there is none, and why.
    pub failed: Vec<Failed>,
    /// What else could not be listed.
    pub unread: serde_json::Value,
}

/// One snapshot.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Entry {
    /// The file's name.
    pub file: String,
    /// How many bytes it has.
    pub bytes: u64,
    /// What the workload is.
    pub kind: Kind,
    /// Its name.
    pub name: String,
    /// Its Kubernetes namespace.
    pub namespace: Option<String>,
}

/// A workload that could not be saved.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Failed {
    /// What one would have typed to get at it.
    pub target: String,
    /// Why.
    pub error: String,
}

/// Names for the files of workloads, each once: `pod.default.web.json.gz`. Of their names, which are others' words, only what can stand in
/// the name of a file anywhere is taken.
#[must_use]
pub fn names<'w>(workloads: impl Iterator<Item = &'w Workload>) -> Vec<String> {
    /// Bytes of one part: file systems take 255 of a name.
    const LONGEST: usize = 80;
    let mut taken = BTreeSet::from([MANIFEST.to_owned()]);
    let safe = |text: &str| -> String {
        let plain = |character: char| character.is_ascii_alphanumeric() || matches!(character, '-' | '_' | '.');
        text.chars().map(|character| if plain(character) { character } else { '_' }).take(LONGEST).collect()
    };
    let name = |workload: &Workload| {
        let parts = [Some(workload.kind.word()), workload.namespace.as_deref(), Some(workload.name.as_str())];
        let stem = parts.into_iter().flatten().map(safe).collect::<Vec<_>>().join(".");
        let numbered = |number: usize| match number {
            1 => format!("{stem}.json.gz"),
            number => format!("{stem}~{number}.json.gz"),
        };
        (1..).map(numbered).find(|name| taken.insert(name.to_lowercase())).unwrap_or_default()
    };
    workloads.map(name).collect()
}

/// Whether bytes begin as an archive does (`ustar`, POSIX.1-1988).
#[must_use]
pub fn is_archive(bytes: &[u8]) -> bool {
    bytes.get(257..262) == Some(b"ustar")
}

/// Files, each with its name.
pub type Files = Vec<(String, Vec<u8>)>;

/// The files of an archive, which may be compressed; `None` for what is no archive.
///
/// # Errors
/// It is damaged, or holds too much.
pub fn files(bytes: &[u8]) -> Result<Option<Files>, ArchiveError> {
    let mut unpacked = Vec::new();
    let bytes = if bytes.starts_with(&[0x1f, 0x8b]) {
        MultiGzDecoder::new(bytes).take(MOST + 1).read_to_end(&mut unpacked).map_err(ArchiveError::Compression)?;
        unpacked.as_slice()
    } else {
        bytes
    };
    if !is_archive(bytes) {
        return Ok(None);
    }
    if bytes.len() as u64 > MOST {
        return Err(ArchiveError::TooLarge);
    }
    let damaged = |error: io::Error| ArchiveError::Damaged(error.to_string());
    let mut found = Vec::new();
    let mut archive = tar::Archive::new(bytes);
    for entry in archive.entries().map_err(damaged)? {
        let mut entry = entry.map_err(damaged)?;
        if !entry.header().entry_type().is_file() {
            continue;
        }
        if found.len() >= MOST_FILES {
            return Err(ArchiveError::TooLarge);
        }
        let name = String::from_utf8_lossy(&entry.path_bytes()).into_owned();
        let mut content = Vec::new();
        entry.read_to_end(&mut content).map_err(damaged)?;
        found.push((name, content));
    }
    Ok(Some(found))
}

/// Writes files into an archive.
///
/// # Errors
/// `out`'s own.
pub fn write(files: &[(String, Vec<u8>)], taken: u64, out: &mut dyn Write) -> io::Result<()> {
    let mut archive = tar::Builder::new(out);
    for (name, content) in files {
        let mut header = tar::Header::new_ustar();
        header.set_size(content.len() as u64);
        header.set_mode(0o600);
        header.set_mtime(taken);
        archive.append_data(&mut header, name, content.as_slice())?;
    }
    archive.into_inner()?.flush()
}
