//! `TCPOPTSTRIP`: overwrites TCP options with nothing (`struct xt_tcpoptstrip_target_info`).

use super::{Effect, Extension, Given, Targeting};
use crate::xt::bytes::Layout;
use crate::xt::extension::parse_whole;

/// Options that are taken away.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Tcpoptstrip {
    /// One bit for each number.
    pub bits: [u32; 8],
}

const NAMES: [(&str, u8); 6] =
    [("wscale", 3), ("mss", 2), ("sack-permitted", 4), ("sack", 5), ("timestamp", 8), ("md5", 19)];

impl Tcpoptstrip {
    fn numbers(&self) -> impl Iterator<Item = u8> {
        let bits = self.bits;
        (0..=u8::MAX).filter(move |number| {
            bits.get(usize::from(number / 32)).is_some_and(|word| word & (1 << (number % 32)) != 0)
        })
    }

    fn list(&self) -> String {
        self.numbers().map(|number| number.to_string()).collect::<Vec<_>>().join(",")
    }
}

impl Extension for Tcpoptstrip {
    const NAMES: &'static [&'static str] = &["TCPOPTSTRIP"];
    const OPTIONS: &'static [(&'static str, usize)] = &[("--strip-options", 1)];

    fn decode(revision: u8, data: &[u8], _ipv6: bool) -> Option<Self> {
        let layout = Layout::of(data, 32)?;
        let mut bits = [0; 8];
        for (at, word) in bits.iter_mut().enumerate() {
            *word = layout.u32(at * 4)?;
        }
        // End of options and padding cannot be stripped.
        (revision == 0 && bits[0] & 3 == 0).then_some(Self { bits })
    }

    fn parse(_name: &str, options: &[Given], _ipv6: bool) -> Option<Self> {
        let mut strip = Self::default();
        for name in options.iter().flat_map(|given| given.value().split(',')) {
            let named = NAMES.iter().find(|(known, _)| *known == name).map(|(_, number)| *number);
            let number: u8 = named.or_else(|| parse_whole(name)).filter(|number| *number > 1)?;
            *strip.bits.get_mut(usize::from(number / 32))? |= 1 << (number % 32);
        }
        Some(strip)
    }

    fn save(&self, out: &mut String) {
        if *self != Self::default() {
            out.push_str(" --strip-options ");
            out.push_str(&self.list());
        }
    }
}

impl Targeting for Tcpoptstrip {
    fn effect(&self) -> Effect {
        Effect::TcpOptions(self.bits)
    }

    fn explain(&self) -> String {
        match *self == Self::default() {
            true => "loses no TCP option".to_owned(),
            false => format!("loses the TCP options {}", self.list()),
        }
    }
}
