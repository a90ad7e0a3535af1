//! `TEE`: sends a copy elsewhere (`struct xt_tee_tginfo`).

use std::fmt::Write;
use std::net::IpAddr;

use super::{Effect, Extension, Given, Targeting};
use crate::xt::bytes::Layout;
use crate::xt::ip::address_text;
use crate::xt::text::word;

/// A copy for a gateway.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Tee {
    /// The gateway.
    pub gateway: IpAddr,
    /// The device behind which it is; empty for any.
    pub device: String,
}

impl Extension for Tee {
    const NAMES: &'static [&'static str] = &["TEE"];
    const OPTIONS: &'static [(&'static str, usize)] = &[("--gateway", 1), ("--oif", 1)];

    fn decode(revision: u8, data: &[u8], ipv6: bool) -> Option<Self> {
        let layout = Layout::of(data, 40)?;
        (revision == 1).then(|| Some(Self { gateway: layout.address(0, ipv6)?, device: layout.text(16, 16)? }))?
    }

    fn parse(_name: &str, options: &[Given], ipv6: bool) -> Option<Self> {
        let given = |name: &str| options.iter().find(|given| given.name == name);
        let gateway = given("--gateway")?.value().parse().ok().filter(|gateway: &IpAddr| gateway.is_ipv6() == ipv6)?;
        Some(Self { gateway, device: given("--oif").map(|given| given.cut(16)).unwrap_or_default() })
    }

    fn save(&self, out: &mut String) {
        // Writing to a String cannot fail.
        write!(out, " --gateway {}", address_text(self.gateway)).ok();
        if !self.device.is_empty() {
            write!(out, " --oif {}", word(&self.device)).ok();
        }
    }
}

impl Targeting for Tee {
    fn effect(&self) -> Effect {
        Effect::Copied(self.gateway)
    }

    fn explain(&self) -> String {
        let device = if self.device.is_empty() { String::new() } else { format!(" by {}", self.device) };
        format!("copied to gateway {}{device}", address_text(self.gateway))
    }

    fn nft(&self) -> Option<String> {
        let device = if self.device.is_empty() { String::new() } else { format!(" device {}", self.device) };
        Some(format!("dup to {}{device}", address_text(self.gateway)))
    }
}
