//! The rows as a picture: which packets on the left, how they end on the right.

use std::fmt::Write;

use super::text::Block;
use crate::report::wrap::wrap;

const WIDTH: usize = 960;
/// Characters of a column.
const COLUMN: usize = 58;
const LINE: usize = 18;
const PADDING: usize = 10;

/// The blocks as SVG.
#[must_use]
pub fn picture(title: &str, blocks: &[Block]) -> String {
    let mut body = String::new();
    let mut y = 60;
    for block in blocks {
        y += 16;
        put(&mut body, (24, y), "head", &block.title);
        y += 12;
        for (at, row) in block.rows.iter().enumerate() {
            let which = match (at, block.rows.len()) {
                (0, 2..) => vec!["everything else".to_owned()],
                _ => row.areas.clone(),
            };
            let which: Vec<String> = which.iter().flat_map(|area| wrap(area, COLUMN)).collect();
            let mut how = wrap(&row.ends, COLUMN);
            how.extend(row.rules.iter().flat_map(|rule| wrap(&format!("by {rule}"), COLUMN)));
            let height = which.len().max(how.len()) * LINE + 2 * PADDING;
            let class = if row.ends.starts_with('→') { "redirect" } else { "plain" };
            for (x, width) in [(24, 440), (496, 440)] {
                // Writing to a String cannot fail.
                writeln!(body, r#"<rect class="{class}" x="{x}" y="{y}" width="{width}" height="{height}" rx="6"/>"#)
                    .ok();
            }
            let middle = y + height / 2;
            writeln!(body, r#"<path class="arrow" d="M464 {middle}h26m-6 -4l6 4l-6 4"/>"#).ok();
            for (x, lines) in [(36, &which), (508, &how)] {
                for (line, words) in lines.iter().enumerate() {
                    put(&mut body, (x, y + PADDING + 13 + line * LINE), "words", words);
                }
            }
            y += height + 8;
        }
    }
    let height = y + 24;
    let mut out = format!(
        r#"<svg xmlns="http://www.w3.org/2000/svg" width="{WIDTH}" height="{height}" viewBox="0 0 {WIDTH} {height}">
<style>text{{font-family:ui-sans-serif,system-ui,sans-serif;fill:#1c2430}}.title{{font-size:20px;font-weight:700}}.head{{font-size:14px;font-weight:700}}.words{{font-size:12.5px}}rect{{fill:#f6f8fa;stroke:#c7ced8}}.redirect{{fill:#e8f3ff;stroke:#5b9bd9}}.arrow{{fill:none;stroke:#5a6675;stroke-width:1.5}}@media(prefers-color-scheme:dark){{svg{{background:#12161c}}text{{fill:#e6e9ee}}rect{{fill:#1c222b;stroke:#3a4452}}.redirect{{fill:#12304f;stroke:#3f7fc1}}.arrow{{stroke:#9aa6b5}}}}</style>
"#
    );
    put(&mut out, (24, 36), "title", title);
    out.push_str(&body);
    out.push_str("</svg>\n");
    out
}

fn put(out: &mut String, (x, y): (usize, usize), class: &str, words: &str) {
    let words = words.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;");
    writeln!(out, r#"<text class="{class}" x="{x}" y="{y}">{words}</text>"#).ok();
}
