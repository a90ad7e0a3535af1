//! What nft notes for itself beside rules, chains, sets and elements: type, length, value, each of the first two a byte (libnftnl's `udata.h`).

use crate::packet::exact_text;

/// The value of a type; `None` where there is none, or where the bytes do not divide.
#[must_use]
pub(super) fn note(mut rest: &[u8], wanted: u8) -> Option<&[u8]> {
    while let [kind, length, tail @ ..] = rest {
        let value = tail.get(..usize::from(*length))?;
        if *kind == wanted {
            return Some(value);
        }
        rest = tail.get(usize::from(*length)..)?;
    }
    None
}

/// A zero-terminated text of a type (hostile).
#[must_use]
pub fn comment_of(user_data: &[u8], kind: u8) -> Option<String> {
    let value = note(user_data, kind)?;
    Some(exact_text(value.strip_suffix(&[0]).unwrap_or(value)).into_owned())
}

/// A number of four bytes.
#[must_use]
pub(super) fn number_of(user_data: &[u8], kind: u8) -> Option<u32> {
    note(user_data, kind)?.first_chunk().map(|bytes| u32::from_ne_bytes(*bytes))
}
