//! Text of others within XML.

use super::escape::escape;

/// What stands in the quotes of an attribute.
pub(in crate::report) fn attribute(raw: &str) -> String {
    text(raw).replace('"', "&quot;")
}

/// Text of others: what steers is written out, which leaves no character that XML 1.0 has not (section 2.2), but for two.
pub(in crate::report) fn text(raw: &str) -> String {
    let harmless = escape(raw).replace('\u{fffe}', "\\u{fffe}").replace('\u{ffff}', "\\u{ffff}");
    harmless.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;")
}

#[cfg(test)]
mod tests {
    use super::attribute;

    #[test]
    fn what_xml_has_not_is_written_out() {
        let hostile = "<a href=\"x\">&amp;\u{0}\u{b}\u{1b}\u{7f}\u{85}\u{fffe}\u{ffff}\n]]>";
        let safe = attribute(hostile);
        let wanted = "&lt;a href=&quot;x&quot;&gt;&amp;amp;\\x00\\x0b\\x1b\\x7f\\x85\\u{fffe}\\u{ffff}\\x0a]]&gt;";
        assert_eq!(safe, wanted);
    }
}
