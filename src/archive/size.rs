//! A snapshot that is too large for its file: what has no end is left out, longest first, and said.

use std::io::{self, Write};

use serde::Serialize;

use super::write;
use crate::model::{Cause, Snapshot, Subject, Unread};

/// Counts what is written.
struct Counting(u64);

impl Write for Counting {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0 += bytes.len() as u64;
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Bytes that a snapshot takes before it is compressed.
fn bytes(snapshot: &Snapshot) -> u64 {
    let mut counting = Counting(0);
    // Counting does not fail.
    write(snapshot, false, &mut counting).ok();
    counting.0
}

fn bytes_of(list: &impl Serialize) -> u64 {
    let mut counting = Counting(0);
    serde_json::to_writer_pretty(&mut counting, list).ok();
    // Each line stands deeper in the file.
    counting.0 * 5 / 4
}

/// Leaves out of a snapshot what is more than so many bytes: tracked connections, sockets that are no ends of connections, and sockets. What
/// is left out is said among what could not be read. Whether it fits then.
pub fn fit(snapshot: &mut Snapshot, most: u64) -> bool {
    /// Bytes of what tells of it.
    const NOTES: u64 = 2048;
    let all = bytes(snapshot);
    if all <= most {
        return true;
    }
    let (mut over, mut left_out) = (all - most + NOTES, Vec::new());
    shorten(&mut snapshot.flows, "tracked connections", Subject::Flows, &mut over, &mut left_out);
    shorten(
        &mut snapshot.other_sockets,
        "sockets that are no ends of connections",
        Subject::Sockets,
        &mut over,
        &mut left_out,
    );
    shorten(&mut snapshot.sockets, "sockets", Subject::Sockets, &mut over, &mut left_out);
    snapshot.unread.extend(left_out);
    bytes(snapshot) <= most
}

/// Leaves out as many of a list as have to be, from its end.
fn shorten<T: Serialize>(
    list: &mut Option<Vec<T>>,
    what: &str,
    subject: Subject,
    over: &mut u64,
    left_out: &mut Vec<Unread>,
) {
    let Some(list) = list.as_mut().filter(|list| *over > 0 && !list.is_empty()) else { return };
    let (all, count) = (bytes_of(list), list.len());
    let each = (all / count as u64).max(1);
    // A few more, for what tells of it.
    let gone = usize::try_from(over.div_ceil(each)).unwrap_or(count).saturating_add(count / 100 + 1).min(count);
    list.truncate(count - gone);
    *over = over.saturating_sub(each * gone as u64);
    left_out.push(Unread {
        source: what.to_owned(),
        error: format!("{gone} of {count} were left out of the file for its size"),
        means: format!("only {} are known", count - gone),
        subject,
        cause: Cause::Unsupported,
    });
}
