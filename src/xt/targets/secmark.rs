//! `SECMARK`: gives the packet a context of SELinux (`struct xt_secmark_target_info`, `_v1`).

use super::{Effect, Extension, Given, Targeting};
use crate::xt::bytes::Layout;
use crate::xt::text::word;

/// A context of SELinux.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Secmark {
    /// The context (hostile).
    pub context: String,
}

/// `SECMARK_MODE_SEL`
const SELINUX: u8 = 1;

impl Extension for Secmark {
    const NAMES: &'static [&'static str] = &["SECMARK"];
    const OPTIONS: &'static [(&'static str, usize)] = &[("--selctx", 1)];

    fn decode(revision: u8, data: &[u8], _ipv6: bool) -> Option<Self> {
        let layout = Layout::of(data, 264).filter(|layout| layout.u8(0) == Some(SELINUX))?;
        // The number that the kernel has for it stands in front of it, or behind.
        let context = match revision {
            0 => layout.text(8, 256)?,
            1 => layout.text(1, 256)?,
            _ => return None,
        };
        (!context.is_empty()).then_some(Self { context })
    }

    fn parse(_name: &str, options: &[Given], _ipv6: bool) -> Option<Self> {
        let context = options.first()?.cut(256);
        (!context.is_empty()).then_some(Self { context })
    }

    fn save(&self, out: &mut String) {
        out.push_str(" --selctx ");
        out.push_str(&word(&self.context));
    }
}

impl Targeting for Secmark {
    fn effect(&self) -> Effect {
        Effect::Continue
    }

    fn explain(&self) -> String {
        format!("gets the SELinux context “{}”", self.context)
    }
}
