//! Snapshot files, and saved rules given in their place: what a file holds is told by its first bytes, never by trust.

pub mod bundle;
mod mixed;
pub mod size;
mod v1;

use std::borrow::Cow;
use std::io::{Read, Write};

use flate2::Compression;
use flate2::read::MultiGzDecoder;
use flate2::write::GzEncoder;

use crate::model::{Cause, Family, Ruleset, Snapshot, Subject, Unread, exact_text};
use crate::syntax::{NftRead, SaveError, SaveRead, TextFault, left_out, parse_nft, parse_nft_json, read_save};
use crate::wire::nf_table::in_its_language;

/// Schema of the snapshot files that this version writes.
pub const SCHEMA: &str = "nslens.snapshot/v1";

/// The name of the file that tells what stands in a folder or an archive of snapshots.
pub const MANIFEST: &str = "manifest.json";

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
    /// An archive of many snapshots, where one is wanted.
    #[error("it is an archive of many snapshots")]
    Many,
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
    /// nft's text without a table that is understood.
    #[error("it is not understood as nft's text: {0}")]
    Nft(TextFault),
    /// nft's text without a table.
    #[error("it is nft's text or JSON, and no table stands in it")]
    NoTable,
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
    // The mark of the order of bytes that some editors put before a text is none of its columns.
    let bytes = bytes.strip_prefix(b"\xef\xbb\xbf").unwrap_or(bytes);
    if bundle::is_archive(bytes) {
        return Err(ArchiveError::Many);
    }
    // JSON is UTF-8. The text of a save program has names as the kernel holds them.
    let text = match std::str::from_utf8(bytes) {
        Ok(text) if text.trim_start().starts_with('{') => Cow::Borrowed(text),
        // A program, a picture: no name that the kernel holds has this byte.
        _ if bytes.contains(&0) => return Err(ArchiveError::NotText),
        Err(_) if !bytes.trim_ascii_start().first().is_some_and(|byte| byte.is_ascii() && *byte != b'{') => {
            return Err(ArchiveError::NotText);
        }
        _ => exact_text(bytes),
    };
    let text = &*text;
    let start = text.trim_start();
    if start.is_empty() {
        return Err(ArchiveError::Empty);
    }
    if start.starts_with('{') {
        if is_nft_json(start) {
            let NftRead { rulesets, faults } = parse_nft_json(text);
            return nft_rules(rulesets, &faults);
        }
        return v1::read(text).map(|snapshot| Loaded::Snapshot(Box::new(snapshot)));
    }
    if let Some((saved, nft)) = mixed::divided(text).filter(|(_, nft)| is_nft(nft)) {
        return both(&saved, &nft, family);
    }
    if is_nft(start) {
        let NftRead { rulesets, faults } = parse_nft(text);
        return nft_rules(rulesets, &faults);
    }
    saved_rules(text, family)
}

/// Rules of the save programs.
fn saved_rules(text: &str, family: Family) -> Result<Loaded, ArchiveError> {
    let SaveRead { rulesets, faults } = read_save(text, family)?;
    let faults = faults.iter().map(|fault| (format!("line {}, column {}", fault.line, fault.column), &fault.what));
    let unread = left_out(text).into_iter().map(|table| Unread {
        source: format!("table {table}"),
        error: "the save program left it out as incompatible".to_owned(),
        means: "the rules of this table are not known; nft list ruleset shows them".to_owned(),
        subject: Subject::Rules,
        cause: Cause::Unsupported,
    });
    Ok(Loaded::Rules(rulesets, unread.chain(not_understood(faults)).collect()))
}

/// Rules of the save programs, and nft's, in one file.
fn both(saved: &str, nft: &str, family: Family) -> Result<Loaded, ArchiveError> {
    let NftRead { rulesets, faults } = parse_nft(nft);
    let (first, second) = (saved_rules(saved, family)?, nft_rules(rulesets, &faults)?);
    let (Loaded::Rules(first, mut unread), Loaded::Rules(second, more)) = (first, second) else {
        return Err(ArchiveError::NoTable);
    };
    // What a save program left out may stand in nft's words.
    let there = |note: &Unread| {
        second.iter().flat_map(|ruleset| &ruleset.tables).any(|table| note.source == format!("table {}", table.name))
    };
    unread.retain(|note| !there(note));
    unread.extend(more);
    let rulesets = mixed::together(first, second, &mut unread);
    Ok(Loaded::Rules(rulesets, unread))
}

/// Whether a text begins as `nft list ruleset` prints it or `nft -f` reads it: by its first word that is no comment.
fn is_nft(text: &str) -> bool {
    const WORDS: [&str; 13] = [
        "table", "add", "create", "insert", "flush", "define", "redefine", "undefine", "include", "delete", "destroy",
        "rename", "replace",
    ];
    let mut lines = text.lines().map(str::trim).filter(|line| !line.is_empty() && !line.starts_with('#'));
    let first = lines.next().unwrap_or_default();
    first.split([' ', '\t', ';']).next().is_some_and(|word| WORDS.contains(&word))
}

/// Whether a document begins as `nft -j list ruleset` prints it.
fn is_nft_json(text: &str) -> bool {
    text.strip_prefix('{').is_some_and(|rest| rest.trim_start().starts_with("\"nftables\""))
}

/// nft's tables, and what of them is not understood.
fn nft_rules(mut rulesets: Vec<Ruleset>, faults: &[TextFault]) -> Result<Loaded, ArchiveError> {
    if rulesets.is_empty() {
        return Err(faults.first().map_or(ArchiveError::NoTable, |fault| ArchiveError::Nft(fault.clone())));
    }
    for ruleset in &mut rulesets {
        for table in &mut ruleset.tables {
            in_its_language(ruleset.family, table);
        }
    }
    let faults = faults.iter().map(|fault| (format!("line {}, column {}", fault.line, fault.column), &fault.what));
    Ok(Loaded::Rules(rulesets, not_understood(faults)))
}

/// Places of a text that are not understood; of very many the first.
fn not_understood<'a>(faults: impl ExactSizeIterator<Item = (String, &'a String)>) -> Vec<Unread> {
    /// Nobody reads more.
    const MOST: usize = 20;
    let all = faults.len();
    let unread = |source: String, error: String| Unread {
        source,
        error,
        means: "what stands there is kept as text".to_owned(),
        subject: Subject::Rules,
        cause: Cause::Unsupported,
    };
    let mut found: Vec<Unread> = faults.take(MOST).map(|(place, what)| unread(place, what.clone())).collect();
    if let Some(more) = all.checked_sub(MOST).filter(|more| *more > 0) {
        found.push(unread(format!("{more} more places"), "they are not understood either".to_owned()));
    }
    found
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
