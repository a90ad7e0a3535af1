//! Snapshot files, and saved rules given in their place: what a file holds is told by its first bytes, never by trust.

mod v1;

use std::io::{Read, Write};

use flate2::Compression;
use flate2::read::MultiGzDecoder;
use flate2::write::GzEncoder;

use crate::model::{Cause, Family, Ruleset, Snapshot, Subject, Unread};
use crate::syntax::{SaveError, left_out, parse_save};

/// Schema of the snapshot files that this version writes.
pub const SCHEMA: &str = "nslens.snapshot/v1";

/// Bytes that a file may have, after unpacking: a busy node's largest pods stay far below, and memory stays bounded.
pub const MOST: u64 = 256 << 20;

/// What a file held.
#[derive(Debug)]
pub enum Loaded {
    /// A snapshot.
    Snapshot(Box<Snapshot>),
    /// Saved rules alone, and what the text says it leaves out.
    Rules(Vec<Ruleset>, Vec<Unread>),
}

/// Why a file cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum ArchiveError {
    /// Nothing in it.
    #[error("it is empty")]
    Empty,
    /// More than this program takes into memory.
    #[error("it holds more than {} MiB", MOST >> 20)]
    TooLarge,
    /// The compressed stream is damaged or cut.
    #[error("its compressed data is damaged or cut short")]
    Compression(#[source] std::io::Error),
    /// Bytes that are no text.
    #[error("it is neither a snapshot nor text")]
    NotText,
    /// JSON of something else.
    #[error("it is JSON, but no nslens snapshot: its schema is {0}")]
    ForeignJson(String),
    /// A snapshot of a later version.
    #[error("it is a snapshot of version {0}, which this nslens does not know")]
    Version(String),
    /// A snapshot that is damaged or cut.
    #[error("the snapshot is damaged or cut short: {0}")]
    Damaged(String),
    /// nft text, which this version does not read.
    #[error("it is nft's text, which this nslens does not read yet; give it a snapshot or iptables-save text")]
    NftText,
    /// Saved rules that are not understood.
    #[error("it is not understood as iptables-save text: {0}")]
    Save(#[from] SaveError),
}

/// Reads what a file held. `family` stands for saved rules whose text does not tell theirs.
///
/// # Errors
/// [`ArchiveError`].
pub fn read(bytes: &[u8], family: Family) -> Result<Loaded, ArchiveError> {
    const GZIP: [u8; 2] = [0x1f, 0x8b];
    if bytes.starts_with(&GZIP) {
        let mut unpacked = Vec::new();
        let mut limited = MultiGzDecoder::new(bytes).take(MOST + 1);
        limited.read_to_end(&mut unpacked).map_err(ArchiveError::Compression)?;
        return read_plain(&unpacked, family);
    }
    read_plain(bytes, family)
}

fn read_plain(bytes: &[u8], family: Family) -> Result<Loaded, ArchiveError> {
    if bytes.len() as u64 > MOST {
        return Err(ArchiveError::TooLarge);
    }
    let text = std::str::from_utf8(bytes).map_err(|_| ArchiveError::NotText)?;
    let start = text.trim_start();
    if start.is_empty() {
        return Err(ArchiveError::Empty);
    }
    if start.starts_with('{') {
        return v1::read(text).map(|snapshot| Loaded::Snapshot(Box::new(snapshot)));
    }
    if start.starts_with("table ") {
        return Err(ArchiveError::NftText);
    }
    let unread = left_out(text).into_iter().map(|table| Unread {
        source: format!("table {table}"),
        error: "the save program left it out as incompatible".to_owned(),
        means: "the rules of this table are not known; nft list ruleset shows them".to_owned(),
        subject: Subject::Rules,
        cause: Cause::Unsupported,
    });
    Ok(Loaded::Rules(parse_save(text, family)?, unread.collect()))
}

/// Writes a snapshot, compressed if wanted.
///
/// # Errors
/// `out`'s own.
pub fn write(snapshot: &Snapshot, compress: bool, out: &mut dyn Write) -> std::io::Result<()> {
    if compress {
        let mut encoder = GzEncoder::new(out, Compression::default());
        v1::write(snapshot, &mut encoder)?;
        encoder.finish()?.flush()
    } else {
        v1::write(snapshot, out)?;
        out.write_all(b"\n")?;
        out.flush()
    }
}
