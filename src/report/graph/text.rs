//! How wide text is, and where its lines break: by a table of widths, since nobody can be asked for a font.
//!
//! The widths are those of DejaVu Sans, the widest of the faces that a viewer is likely to take: in all others what is drawn is a
//! little narrower than its place.

/// Widths of the characters from blank to `~`, in thousandths of the size.
const WIDTHS: [i32; 95] = [
    318, 401, 460, 838, 636, 950, 780, 275, 390, 390, 500, 838, 318, 361, 318, 337, 636, 636, 636, 636, 636, 636, 636,
    636, 636, 636, 337, 337, 838, 838, 838, 531, 1000, 684, 686, 698, 770, 632, 575, 775, 752, 295, 295, 656, 557, 863,
    748, 787, 603, 787, 695, 635, 611, 732, 684, 989, 685, 611, 685, 390, 337, 390, 838, 500, 500, 613, 635, 550, 635,
    615, 352, 635, 634, 278, 278, 579, 278, 974, 634, 612, 635, 635, 411, 521, 392, 634, 592, 818, 592, 592, 525, 636,
    337, 636, 838,
];

/// Bold faces are wider by so many hundredths.
const BOLD: i32 = 114;

/// A face: its size in pixels, and whether it is bold.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Face {
    /// Size in pixels.
    pub(super) size: i32,
    /// Bold.
    pub(super) bold: bool,
}

impl Face {
    pub(super) const fn plain(size: i32) -> Self {
        Self { size, bold: false }
    }

    pub(super) const fn bold(size: i32) -> Self {
        Self { size, bold: true }
    }

    fn of(self, character: char) -> i32 {
        let number = u32::from(character);
        let known = number.checked_sub(32).and_then(|at| WIDTHS.get(at as usize)).copied();
        let width = known.unwrap_or(match character {
            '·' => 318,
            '–' | '−' => 838,
            // Letters of the West; all others may be as wide as they are high.
            '\u{a1}'..='\u{24f}' => 800,
            _ => 1300,
        });
        if self.bold { width * BOLD / 100 } else { width }
    }

    /// Pixels that the text takes, rounded up.
    pub(super) fn width(self, text: &str) -> i32 {
        let sum: i64 = text.chars().map(|character| i64::from(self.of(character))).sum();
        let pixels = (sum * i64::from(self.size) + 999) / 1000;
        i32::try_from(pixels).unwrap_or(i32::MAX)
    }

    /// The text in lines of this width: broken at blanks, and within words that are wider. What does not fit `most` lines is cut off,
    /// and `…` says so.
    pub(super) fn lines(self, text: &str, width: i32, most: usize) -> Vec<String> {
        let mut lines = vec![String::new()];
        let mut used = 0;
        for word in text.split(' ') {
            let wide = self.width(word);
            let blank = if used == 0 { 0 } else { self.of(' ') * self.size / 1000 + 1 };
            if used > 0 && used + blank + wide > width {
                lines.push(String::new());
                used = 0;
            } else if used > 0 {
                push(&mut lines, ' ');
                used += blank;
            }
            if wide <= width {
                used += wide;
                word.chars().for_each(|character| push(&mut lines, character));
            } else {
                used = self.broken(word, width, &mut lines, most);
            }
            if lines.len() > most {
                break;
            }
        }
        if lines.len() > most {
            lines.truncate(most);
            if let Some(last) = lines.last_mut() {
                while !last.is_empty() && self.width(last) + self.width("…") > width {
                    last.pop();
                }
                last.push('…');
            }
        }
        lines
    }

    /// Puts a word that is too wide into lines, and tells how much of the last one it takes.
    fn broken(self, word: &str, width: i32, lines: &mut Vec<String>, most: usize) -> i32 {
        let mut thousandths = lines.last().map_or(0, |line| self.width(line)) * 1000;
        for character in word.chars() {
            let wide = self.of(character) * self.size;
            if thousandths + wide > width * 1000 && thousandths > 0 {
                lines.push(String::new());
                thousandths = 0;
            }
            if lines.len() > most {
                break;
            }
            push(lines, character);
            thousandths += wide;
        }
        thousandths / 1000 + 1
    }
}

fn push(lines: &mut [String], character: char) {
    if let Some(line) = lines.last_mut() {
        line.push(character);
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::Face;

    #[test]
    fn long_words_are_broken_and_long_texts_cut() {
        let face = Face::plain(12);
        let lines = face.lines(&"A".repeat(5000), 100, 3);
        assert_eq!(lines.len(), 3);
        assert!(lines[2].ends_with('…'), "{lines:?}");
        assert_eq!(face.lines("one two", 10_000, 3), ["one two"]);
        assert_eq!(face.lines("", 10, 3), [""]);
    }

    proptest! {
        #[test]
        fn no_line_is_wider_than_its_place(text in ".{0,200}", width in 30..300_i32, most in 1..6_usize) {
            for bold in [false, true] {
                let face = Face { size: 12, bold };
                let lines = face.lines(&text, width, most);
                prop_assert!(lines.len() <= most);
                for line in &lines {
                    prop_assert!(face.width(line) <= width + 2, "{line:?} is wider than {width}");
                }
                if !lines.last().is_some_and(|last| last.ends_with('…')) {
                    let all: String = lines.concat().chars().filter(|c| *c != ' ').collect();
                    prop_assert_eq!(all, text.chars().filter(|c| *c != ' ').collect::<String>());
                }
            }
        }
    }
}
