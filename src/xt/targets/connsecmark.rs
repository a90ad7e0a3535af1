//! `CONNSECMARK`: copies the security mark (`struct xt_connsecmark_target_info`).

use super::{Effect, Extension, Given, Targeting};
use crate::xt::bytes::Layout;

/// Copies the security mark.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Connsecmark {
    /// From the connection to the packet (`--restore`) rather than to the connection (`--save`).
    pub restore: bool,
}

impl Extension for Connsecmark {
    const NAMES: &'static [&'static str] = &["CONNSECMARK"];
    const OPTIONS: &'static [(&'static str, usize)] = &[("--save", 0), ("--restore", 0)];

    fn decode(revision: u8, data: &[u8], _ipv6: bool) -> Option<Self> {
        let mode = Layout::of(data, 1)?.u8(0)?;
        (revision == 0 && matches!(mode, 1 | 2)).then_some(Self { restore: mode == 2 })
    }

    fn parse(_name: &str, options: &[Given], _ipv6: bool) -> Option<Self> {
        let [only] = options else { return None };
        Some(Self { restore: only.name == "--restore" })
    }

    fn save(&self, out: &mut String) {
        out.push_str(if self.restore { " --restore" } else { " --save" });
    }
}

impl Targeting for Connsecmark {
    fn effect(&self) -> Effect {
        Effect::Continue
    }

    fn explain(&self) -> String {
        match self.restore {
            true => "packet gets the connection's security mark".to_owned(),
            false => "packet's security mark is saved to the connection".to_owned(),
        }
    }
}
