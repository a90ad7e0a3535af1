//! `-m ah`: the authentication header (`struct ipt_ah`; of IPv6 `struct ip6t_ah`, which asks for more).

use super::span::{bang, other, unequal};
use super::{Condition, Extension, Given, Matching, Span, Words};
use crate::packet::Field;
use crate::xt::bytes::Layout;

/// Tests of an authentication header.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Ah {
    /// Of IPv6, where the header may stand among others.
    pub ipv6: bool,
    /// `--ahspi`
    pub spi: Option<Span>,
    /// `--ahlen`, with its negation; bytes. The kernel takes 0 for any.
    pub length: Option<(bool, u32)>,
    /// `--ahres`: the reserved field is zero.
    pub reserved: bool,
}

const INVERT_SPI: u8 = 1;
const INVERT_LENGTH: u8 = 2;

impl Extension for Ah {
    const NAMES: &'static [&'static str] = &["ah"];
    const OPTIONS: &'static [(&'static str, usize)] = &[("--ahspi", 1), ("--ahlen", 1), ("--ahres", 0)];

    fn decode(revision: u8, data: &[u8], ipv6: bool) -> Option<Self> {
        let layout = Layout(data);
        let (length, reserved, inverted) =
            if ipv6 { (layout.u32(8)?, layout.u8(12)?, layout.u8(13)?) } else { (0, 0, layout.u8(8)?) };
        let known = if ipv6 { INVERT_SPI | INVERT_LENGTH } else { INVERT_SPI };
        let spi = Span { negated: inverted & INVERT_SPI != 0, from: layout.u32(0)?, to: layout.u32(4)? };
        (revision == 0 && inverted & !known == 0).then(|| Self {
            ipv6,
            spi: spi.unless_whole(u32::MAX),
            length: (length != 0 || inverted & INVERT_LENGTH != 0).then_some((inverted & INVERT_LENGTH != 0, length)),
            reserved: reserved != 0,
        })
    }

    fn parse(_name: &str, options: &[Given], ipv6: bool) -> Option<Self> {
        let mut found = Self { ipv6, ..Self::default() };
        for given in options {
            match given.name {
                "--ahspi" => found.spi = Span::parse(given, u32::MAX)?.unless_whole(u32::MAX),
                "--ahlen" if ipv6 => {
                    found.length =
                        Some((given.negated, given.number()?)).filter(|(negated, length)| *negated || *length != 0);
                }
                "--ahres" if ipv6 => found.reserved = true,
                _ => return None,
            }
        }
        Some(found)
    }

    fn save(&self, out: &mut String) {
        // iptables forgets that the whole range was negated.
        if let Some(spi) = self.spi.filter(|spi| !spi.is_whole(u32::MAX)) {
            spi.save("--ahspi", out);
        }
        if let Some((negated, length)) = self.length {
            out.push_str(&format!("{} --ahlen {length}", bang(negated)));
        }
        out.push_str(if self.reserved { " --ahres" } else { "" });
    }
}

impl Matching for Ah {
    fn condition(&self) -> Condition {
        let mut all = vec![Condition::Has(Field::AhSpi)];
        all.extend(self.spi.map(|spi| spi.condition(Field::AhSpi)));
        all.extend(self.length.filter(|(_, length)| *length != 0).map(|(negated, length)| {
            Condition::Opaque(format!("an authentication header of {length} bytes")).negated_if(negated)
        }));
        all.extend(self.reserved.then(|| Condition::Opaque("AH reserved field zero".into())));
        Condition::All(all)
    }

    fn explain(&self, words: &mut Words) {
        if self.spi.is_none() && self.length.is_none() && !self.reserved {
            words.also("with an authentication header");
        }
        if let Some(spi) = self.spi {
            words.also(spi.words("AH SPI"));
        }
        match self.length {
            Some((_, 0)) => words.also("with an authentication header of any length"),
            Some((negated, length)) => {
                words.also(format!("with an authentication header of {}{length} bytes", other(negated)));
            }
            None => {}
        }
        if self.reserved {
            words.also("with AH's reserved field zero");
        }
    }

    fn nft(&self, _protocol: Option<u8>) -> Option<String> {
        let mut parts = Vec::new();
        parts.extend(self.spi.filter(|spi| !spi.is_whole(u32::MAX)).map(|spi| spi.nft("ah spi")));
        parts.extend(self.length.map(|(negated, length)| format!("ah hdrlength {}{length}", unequal(negated))));
        parts.extend(self.reserved.then(|| "ah reserved 1".to_owned()));
        let bare = self.ipv6 && parts.is_empty();
        Some(if bare { "meta l4proto ah".to_owned() } else { parts.join(" ") })
    }
}
