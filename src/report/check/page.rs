//! The page of a finding: on the screen, and as `docs/findings/ID.md`.

use crate::analysis::findings::Kind;
use crate::report::paint::{Label, Paint};
use crate::report::wrap::wrap;

/// On the screen.
#[must_use]
pub fn page(kind: &Kind, paint: Paint, width: usize) -> String {
    const INDENT: usize = 2;
    let mut out = String::new();
    for line in wrap(&format!("{} {} ({})", kind.id, kind.title, kind.severity.word()), width) {
        out.push_str(&format!("{}\n", paint.text(Label::Name, &line)));
    }
    for (heading, text) in parts(kind) {
        out.push_str(&format!("\n{}\n", paint.text(Label::Dim, heading)));
        for line in wrap(text, width.saturating_sub(INDENT)) {
            out.push_str(&format!("  {line}\n"));
        }
    }
    out.push_str(&format!("\n{}\n", paint.text(Label::Dim, "References")));
    for reference in kind.page.references {
        out.push_str(&format!("  {reference}\n"));
    }
    out
}

/// As Markdown.
#[must_use]
pub fn markdown(kind: &Kind) -> String {
    const WIDTH: usize = 120;
    let mut out = format!("# {} · {}\n\nSeverity: {}.\n", kind.id, kind.title, kind.severity.word());
    for (heading, text) in parts(kind) {
        out.push_str(&format!("\n## {heading}\n\n{}\n", wrap(text, WIDTH).join("\n")));
    }
    out.push_str("\n## References\n\n");
    for reference in kind.page.references {
        out.push_str(&format!("* {reference}\n"));
    }
    out
}

fn parts(kind: &Kind) -> [(&'static str, &'static str); 4] {
    let page = &kind.page;
    [
        ("What one sees", page.seen),
        ("Why it happens", page.why),
        ("What it is told by", page.evidence),
        ("What to do", page.remedy),
    ]
}
