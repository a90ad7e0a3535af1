//! `-m esp`: the SPI of an encapsulated payload (`struct xt_esp`).

use super::{Condition, Extension, Given, Matching, Span, Words};
use crate::packet::Field;
use crate::xt::bytes::Layout;

/// A test of an encapsulated payload's SPI.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Esp {
    /// `--espspi`
    pub spi: Option<Span>,
}

impl Extension for Esp {
    const NAMES: &'static [&'static str] = &["esp"];
    const OPTIONS: &'static [(&'static str, usize)] = &[("--espspi", 1)];

    fn decode(revision: u8, data: &[u8], _ipv6: bool) -> Option<Self> {
        let layout = Layout(data);
        let inverted = layout.u8(8)?;
        let spi = Span { negated: inverted != 0, from: layout.u32(0)?, to: layout.u32(4)? };
        (revision == 0 && inverted <= 1).then(|| Self { spi: spi.unless_whole(u32::MAX) })
    }

    fn parse(_name: &str, options: &[Given], _ipv6: bool) -> Option<Self> {
        match options {
            [] => Some(Self::default()),
            [.., given] => Some(Self { spi: Span::parse(given, u32::MAX)?.unless_whole(u32::MAX) }),
        }
    }

    fn save(&self, out: &mut String) {
        // iptables forgets that the whole range was negated.
        if let Some(spi) = self.spi.filter(|spi| !spi.is_whole(u32::MAX)) {
            spi.save("--espspi", out);
        }
    }
}

impl Matching for Esp {
    fn condition(&self) -> Condition {
        let present = Condition::Has(Field::EspSpi);
        self.spi.map_or(present, |spi| spi.condition_where_present(Field::EspSpi))
    }

    fn explain(&self, words: &mut Words) {
        words.also(self.spi.map_or_else(|| "with an encapsulated payload".to_owned(), |spi| spi.words("ESP SPI")));
    }

    fn nft(&self, _protocol: Option<u8>) -> Option<String> {
        let spi = self.spi.filter(|spi| !spi.is_whole(u32::MAX));
        Some(spi.map_or_else(String::new, |spi| spi.nft("esp spi")))
    }
}
