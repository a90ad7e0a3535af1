//! `TCPMSS`: lowers the segment size that a SYN names (`struct xt_tcpmss_info`).

use super::{Effect, Extension, Given, Targeting};
use crate::xt::bytes::Layout;

/// A lower segment size.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TcpmssTarget {
    /// Bytes; `None` for what the path takes (`--clamp-mss-to-pmtu`).
    pub size: Option<u16>,
}

/// `XT_TCPMSS_CLAMP_PMTU`
const PATH: u16 = 0xffff;

impl Extension for TcpmssTarget {
    const NAMES: &'static [&'static str] = &["TCPMSS"];
    const OPTIONS: &'static [(&'static str, usize)] = &[("--set-mss", 1), ("--clamp-mss-to-pmtu", 0)];

    fn decode(revision: u8, data: &[u8], _ipv6: bool) -> Option<Self> {
        let size = Layout::of(data, 2)?.u16(0)?;
        (revision == 0).then_some(Self { size: Some(size).filter(|size| *size != PATH) })
    }

    fn parse(_name: &str, options: &[Given], _ipv6: bool) -> Option<Self> {
        let [given] = options else { return None };
        let size = match given.name {
            "--set-mss" => Some(u16::try_from(given.number()?).ok().filter(|size| *size != PATH)?),
            _ => None,
        };
        Some(Self { size })
    }

    fn save(&self, out: &mut String) {
        out.push_str(&match self.size {
            Some(size) => format!(" --set-mss {size}"),
            None => " --clamp-mss-to-pmtu".to_owned(),
        });
    }
}

impl Targeting for TcpmssTarget {
    fn effect(&self) -> Effect {
        Effect::SegmentSize(self.size)
    }

    fn explain(&self) -> String {
        match self.size {
            Some(size) => format!("MSS lowered to {size}"),
            None => "MSS lowered to what the path takes".to_owned(),
        }
    }

    fn nft(&self) -> Option<String> {
        Some(match self.size {
            Some(size) => format!("tcp option maxseg size set {size}"),
            None => "tcp option maxseg size set rt mtu".to_owned(),
        })
    }
}
