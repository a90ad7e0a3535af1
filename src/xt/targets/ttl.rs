//! `TTL`: changes how many routers a packet may still pass (`struct ipt_TTL_info`).

use super::{Effect, Extension, Given, Hops, Targeting};
use crate::xt::bytes::Layout;
use crate::xt::extension::parse_whole;

/// A changed TTL.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TtlTarget(
    /// What happens to it.
    pub Hops,
);

/// The three options by mode (`IPT_TTL_SET`, `_INC`, `_DEC`): for IPv6 they have other names.
type Options = [&'static str; 3];

const OPTIONS: Options = ["--ttl-set", "--ttl-inc", "--ttl-dec"];

impl Hops {
    /// The structure of both families: mode and value.
    pub(super) fn decode(revision: u8, data: &[u8]) -> Option<Self> {
        let layout = Layout::of(data, 2)?;
        let value = layout.u8(1)?;
        let hops = match layout.u8(0)? {
            0 => Self::Set(value),
            1 => Self::Raise(value),
            2 => Self::Lower(value),
            _ => return None,
        };
        // The kernel takes no change by nothing.
        (revision == 0 && (value != 0 || hops == Self::Set(0))).then_some(hops)
    }

    pub(super) fn parse(options: &[Given], names: Options) -> Option<Self> {
        let [given] = options else { return None };
        let value = parse_whole(given.value())?;
        let hops = match names.iter().position(|name| *name == given.name)? {
            0 => Self::Set(value),
            1 => Self::Raise(value),
            _ => Self::Lower(value),
        };
        (value != 0 || hops == Self::Set(0)).then_some(hops)
    }

    pub(super) fn save(self, [set, raise, lower]: Options, out: &mut String) {
        let (option, value) = match self {
            Self::Set(value) => (set, value),
            Self::Raise(value) => (raise, value),
            Self::Lower(value) => (lower, value),
        };
        out.push_str(&format!(" {option} {value}"));
    }

    pub(super) fn explain(self, what: &str) -> String {
        match self {
            Self::Set(value) => format!("gets {what} {value}"),
            Self::Raise(value) => format!("{what} raised by {value}"),
            Self::Lower(value) => format!("{what} lowered by {value}"),
        }
    }
}

impl Extension for TtlTarget {
    const NAMES: &'static [&'static str] = &["TTL"];
    const OPTIONS: &'static [(&'static str, usize)] = &[("--ttl-set", 1), ("--ttl-inc", 1), ("--ttl-dec", 1)];

    fn decode(revision: u8, data: &[u8], ipv6: bool) -> Option<Self> {
        Hops::decode(revision, data).map(Self).filter(|_| !ipv6)
    }

    fn parse(_name: &str, options: &[Given], _ipv6: bool) -> Option<Self> {
        Hops::parse(options, OPTIONS).map(Self)
    }

    fn save(&self, out: &mut String) {
        self.0.save(OPTIONS, out);
    }
}

impl Targeting for TtlTarget {
    fn effect(&self) -> Effect {
        Effect::Hops(self.0)
    }

    fn explain(&self) -> String {
        self.0.explain("TTL")
    }
}
