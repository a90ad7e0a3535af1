//! Makes text that others wrote harmless on a terminal: names, comments, command lines.

use std::borrow::Cow;
use std::fmt::Write;

use crate::model::stray_byte;

/// Writes every character that is invisible or steers the terminal as its number: `\x1b`, `\u{202e}`.
///
/// These are the control characters of ASCII (line breaks too) and of Latin 1, the characters that reorder or hide text, and those
/// of no width. Text without any is returned as it is. Bytes that are not UTF-8 show as `\xff` too.
#[must_use]
pub fn escape(text: &str) -> Cow<'_, str> {
    // Most names are plain, and quickly known to be.
    if text.bytes().all(|byte| matches!(byte, b' '..=b'~')) || !text.contains(steers) {
        return Cow::Borrowed(text);
    }
    let mut escaped = String::with_capacity(text.len() + 16);
    for character in text.chars() {
        if !steers(character) {
            escaped.push(character);
            continue;
        }
        let number = stray_byte(character).map_or(u32::from(character), u32::from);
        // Writing to a string cannot fail.
        let _ = match number {
            0..=0xff => write!(escaped, "\\x{number:02x}"),
            _ => write!(escaped, "\\u{{{number:x}}}"),
        };
    }
    Cow::Owned(escaped)
}

/// Whether a character is seen by its effect only.
pub(crate) fn steers(character: char) -> bool {
    character.is_control()
        || stray_byte(character).is_some()
        || matches!(character,
            '\u{ad}'                        // soft hyphen
            | '\u{34f}'                     // combining grapheme joiner
            | '\u{61c}'                     // Arabic letter mark
            | '\u{115f}' | '\u{1160}' | '\u{3164}' | '\u{ffa0}' // Hangul fillers
            | '\u{180b}'..='\u{180f}'       // Mongolian selectors and separator
            | '\u{200b}'..='\u{200f}'       // zero width, direction marks
            | '\u{2028}'..='\u{202e}'       // line and paragraph separator, embeddings and overrides
            | '\u{2060}'..='\u{206f}'       // word joiner, isolates, deprecated format characters
            | '\u{fe00}'..='\u{fe0f}'       // variation selectors
            | '\u{feff}'                    // byte order mark
            | '\u{fff0}'..='\u{fffb}'       // interlinear annotation
            | '\u{e0000}'..='\u{e0fff}') // tags, further variation selectors
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn harmless_text_is_not_copied() {
        assert!(matches!(escape("nginx: worker · größer → 世界 \u{fffd} C:\\x"), Cow::Borrowed(_)));
    }

    #[test]
    fn what_steers_is_written_out() {
        assert_eq!(escape("a\x1b[31mb\n\t\0\x7f\u{9b}"), "a\\x1b[31mb\\x0a\\x09\\x00\\x7f\\x9b");
        assert_eq!(escape("\u{202e}gpj\u{200b}\u{feff}\u{e0041}"), "\\u{202e}gpj\\u{200b}\\u{feff}\\u{e0041}");
    }

    proptest! {
        #[test]
        fn nothing_that_steers_is_left(text: String) {
            let escaped = escape(&text);
            prop_assert!(!escaped.contains(steers));
            prop_assert_eq!(escape(&escaped), escaped.as_ref());
        }
    }
}
