//! Names as the kernel holds them: bytes that are text most of the time. As text no two of them are the same.

use std::borrow::Cow;
use std::cmp::Ordering;
use std::ops::RangeInclusive;

/// What stands in a text for a byte from 0x80 that belongs to no UTF-8: a character of private use whose number ends in that byte.
///
/// These characters themselves, where a name really has them, stand there byte by byte too: so every text has one row of bytes.
const STRAY: RangeInclusive<char> = '\u{10fe80}'..='\u{10feff}';

/// First byte of those characters in UTF-8, and of few others.
const LEADS: u8 = 0xf4;

/// The text of these bytes.
#[must_use]
pub fn exact_text(bytes: &[u8]) -> Cow<'_, str> {
    if let Ok(text) = std::str::from_utf8(bytes)
        && !(bytes.contains(&LEADS) && text.contains(|character| STRAY.contains(&character)))
    {
        return Cow::Borrowed(text);
    }
    let mut text = String::with_capacity(bytes.len() * 4);
    for chunk in bytes.utf8_chunks() {
        let mut octets = [0; 4];
        for character in chunk.valid().chars() {
            match STRAY.contains(&character) {
                true => text.extend(character.encode_utf8(&mut octets).bytes().filter_map(stray)),
                false => text.push(character),
            }
        }
        text.extend(chunk.invalid().iter().copied().filter_map(stray));
    }
    Cow::Owned(text)
}

/// What stands for a byte; only those from 0x80 ever stray.
fn stray(byte: u8) -> Option<char> {
    char::from_u32(u32::from(*STRAY.start()) & !0xff | u32::from(byte))
}

/// The byte that such a character stands for.
#[must_use]
pub fn stray_byte(character: char) -> Option<u8> {
    STRAY.contains(&character).then(|| u32::from(character).to_le_bytes()[0])
}

/// The bytes of a text that [`exact_text`] made.
#[must_use]
pub fn exact_bytes(text: &str) -> Cow<'_, [u8]> {
    if !text.as_bytes().contains(&LEADS) {
        return Cow::Borrowed(text.as_bytes());
    }
    let mut bytes = Vec::with_capacity(text.len());
    for character in text.chars() {
        match stray_byte(character) {
            Some(byte) => bytes.push(byte),
            None => bytes.extend(character.encode_utf8(&mut [0; 4]).bytes()),
        }
    }
    Cow::Owned(bytes)
}

/// The order in which C has two names: by their bytes, which texts of [`exact_text`] do not stand in.
#[must_use]
pub fn name_order(one: &str, other: &str) -> Ordering {
    exact_bytes(one).cmp(&exact_bytes(other))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn text_is_not_copied() {
        assert!(matches!(exact_text("größer \u{fffd} \u{10ffff}".as_bytes()), Cow::Borrowed(_)));
        assert!(matches!(exact_bytes("größer"), Cow::Borrowed(_)));
    }

    #[test]
    fn a_byte_that_is_no_text_ends_the_number_of_its_character() {
        assert_eq!(exact_text(b"a\xff\x80b"), "a\u{10feff}\u{10fe80}b");
        assert_ne!(exact_text(b"\xff"), exact_text("\u{10feff}".as_bytes()));
        assert_ne!(exact_text(b"\xff"), exact_text("\u{fffd}".as_bytes()));
    }

    #[test]
    fn names_stand_in_the_order_of_their_bytes() {
        let names = [&b"a\x80"[..], b"a\xc3\xa9", b"a\xf4\x8f\xbf\xbf", b"a\xff", b"b"];
        assert!(names.is_sorted_by(|one, other| name_order(&exact_text(one), &exact_text(other)).is_lt()));
    }

    proptest! {
        #[test]
        fn every_text_has_its_bytes(bytes in proptest::collection::vec(prop_oneof![any::<u8>(), 0x80..=0xff_u8], 0..40), whole: String) {
            let bytes = [&bytes[..], whole.as_bytes(), "\u{10fea0}".as_bytes(), &bytes].concat();
            let text = exact_text(&bytes);
            prop_assert_eq!(exact_bytes(&text), &bytes[..]);
        }
    }
}
