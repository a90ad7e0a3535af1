//! `CLASSIFY`: sets the class by which the packet is queued (`struct xt_classify_target_info`).

use std::fmt::Write;

use super::{Effect, Extension, Given, Targeting};
use crate::xt::bytes::Layout;

/// A class of traffic control.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Classify {
    /// Major number in the upper half, minor in the lower.
    pub class: u32,
}

impl Extension for Classify {
    const NAMES: &'static [&'static str] = &["CLASSIFY"];
    const OPTIONS: &'static [(&'static str, usize)] = &[("--set-class", 1)];

    fn decode(revision: u8, data: &[u8], _ipv6: bool) -> Option<Self> {
        let class = Layout::of(data, 4)?.u32(0)?;
        (revision == 0).then_some(Self { class })
    }

    fn parse(_name: &str, options: &[Given], _ipv6: bool) -> Option<Self> {
        let (major, minor) = options.first()?.value().split_once(':')?;
        let half = |text: &str| u16::from_str_radix(text, 16).ok().map(u32::from);
        Some(Self { class: half(major)? << 16 | half(minor)? })
    }

    fn save(&self, out: &mut String) {
        // Writing to a String cannot fail.
        write!(out, " --set-class {:04x}:{:04x}", self.class >> 16, self.class & 0xffff).ok();
    }
}

impl Targeting for Classify {
    fn effect(&self) -> Effect {
        Effect::Class(self.class)
    }

    fn explain(&self) -> String {
        format!("queued in class {:x}:{:x}", self.class >> 16, self.class & 0xffff)
    }

    fn nft(&self) -> Option<String> {
        Some(match self.class {
            0 => "meta priority set none".to_owned(),
            u32::MAX => "meta priority set root".to_owned(),
            class => format!("meta priority set {:x}:{:x}", class >> 16, class & 0xffff),
        })
    }
}
