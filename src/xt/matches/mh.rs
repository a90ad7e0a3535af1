//! `-m mh`: the type of a mobility header (`struct ip6t_mh`, RFC 6275).

use super::{Condition, Extension, Given, Matching, Span, Words};
use crate::packet::Field;
use crate::xt::bytes::Layout;
use crate::xt::extension::{begins, parse_number};

/// A test of a mobility header's type.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Mh {
    /// `--mh-type`
    pub kind: Option<Span>,
}

/// By number, the long name and the short one.
const TYPES: [(&str, &str); 8] = [
    ("binding-refresh-request", "brr"),
    ("home-test-init", "hoti"),
    ("careof-test-init", "coti"),
    ("home-test", "hot"),
    ("careof-test", "cot"),
    ("binding-update", "bu"),
    ("binding-acknowledgement", "ba"),
    ("binding-error", "be"),
];

const TOP: u32 = 255;

fn number(text: &str) -> Option<u32> {
    let text = text.to_ascii_lowercase();
    let whole = TYPES.iter().position(|(long, short)| *long == text || *short == text);
    let named = whole.or_else(|| TYPES.iter().position(|(long, short)| begins(long, &text) || begins(short, &text)));
    named.and_then(|kind| u32::try_from(kind).ok()).or_else(|| parse_number(&text))
}

impl Extension for Mh {
    const NAMES: &'static [&'static str] = &["mh"];
    const OPTIONS: &'static [(&'static str, usize)] = &[("--mh-type", 1)];

    fn decode(revision: u8, data: &[u8], ipv6: bool) -> Option<Self> {
        let layout = Layout(data);
        let inverted = layout.u8(2)?;
        let kind = Span { negated: inverted != 0, from: layout.u8(0)?.into(), to: layout.u8(1)?.into() };
        (ipv6 && revision == 0 && inverted <= 1).then(|| Self { kind: kind.unless_whole(TOP) })
    }

    fn parse(_name: &str, options: &[Given], ipv6: bool) -> Option<Self> {
        let kind = match options {
            [] => None,
            [.., given] => Span::parse_named(given, TOP, number)?.unless_whole(TOP),
        };
        ipv6.then_some(Self { kind })
    }

    fn save(&self, out: &mut String) {
        // iptables forgets that the whole range was negated.
        if let Some(kind) = self.kind.filter(|kind| !kind.is_whole(TOP)) {
            kind.save("--mh-type", out);
        }
    }
}

impl Matching for Mh {
    fn condition(&self) -> Condition {
        let present = Condition::Has(Field::MobilityType);
        self.kind.map_or(present, |kind| kind.condition_where_present(Field::MobilityType))
    }

    fn explain(&self, words: &mut Words) {
        words.also(match self.kind {
            None => "with a mobility header".to_owned(),
            Some(kind) => kind.words("mobility header type"),
        });
    }

    fn nft(&self, _protocol: Option<u8>) -> Option<String> {
        let kind = self.kind.filter(|kind| !kind.is_whole(TOP));
        Some(kind.map_or_else(String::new, |kind| kind.nft("mh type")))
    }
}
