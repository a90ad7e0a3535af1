//! `TPROXY`: gives the packet to a transparent socket, untranslated (`struct xt_tproxy_target_info`, `_v1`).

use std::fmt::Write;
use std::net::{IpAddr, SocketAddr};

use super::{Effect, Extension, Given, Targeting};
use crate::xt::bytes::Layout;
use crate::xt::ip::address_text;
use crate::xt::services::service;

/// To a transparent socket.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Tproxy {
    /// `--on-port`, 0 for the packet's own.
    pub port: u16,
    /// `--on-ip`, unspecified for the receiving interface's.
    pub address: IpAddr,
    /// `--tproxy-mark` value.
    pub mark: u32,
    /// `--tproxy-mark` mask.
    pub mask: u32,
}

impl Extension for Tproxy {
    const NAMES: &'static [&'static str] = &["TPROXY"];
    const OPTIONS: &'static [(&'static str, usize)] = &[("--on-port", 1), ("--on-ip", 1), ("--tproxy-mark", 1)];

    fn decode(revision: u8, data: &[u8], ipv6: bool) -> Option<Self> {
        let layout = Layout::of(data, if revision == 0 { 16 } else { 28 })?;
        let (mask, mark) = (layout.u32(0)?, layout.u32(4)?);
        let (address, port) = match (revision, ipv6) {
            (0, false) => (layout.v4(8)?, layout.be16(12)?),
            (1, false) => (layout.v4(8)?, layout.be16(24)?),
            (1, true) => (layout.v6(8)?, layout.be16(24)?),
            _ => return None,
        };
        Some(Self { port, address, mark, mask })
    }

    fn parse(_name: &str, options: &[Given], ipv6: bool) -> Option<Self> {
        let unspecified = if ipv6 { IpAddr::from([0_u8; 16]) } else { IpAddr::from([0_u8; 4]) };
        let mut tproxy = Self { port: 0, address: unspecified, mark: 0, mask: 0 };
        for given in options {
            match given.name {
                "--on-port" => tproxy.port = service(given.value())?,
                "--on-ip" => tproxy.address = given.value().parse().ok().filter(|it: &IpAddr| it.is_ipv6() == ipv6)?,
                _ => (tproxy.mark, tproxy.mask) = given.masked()?,
            }
        }
        Some(tproxy)
    }

    fn save(&self, out: &mut String) {
        let Self { port, mark, mask, .. } = self;
        let address = address_text(self.address);
        // Writing to a String cannot fail.
        write!(out, " --on-port {port} --on-ip {address} --tproxy-mark {mark:#x}/{mask:#x}").ok();
    }
}

impl Targeting for Tproxy {
    fn effect(&self) -> Effect {
        Effect::Transparent { port: self.port, address: self.address, mark: self.mark, mask: self.mask }
    }

    fn explain(&self) -> String {
        // Bits that are not named stay as they are: without a mask nothing is marked.
        let mark = match (self.mark, self.mask) {
            (0, 0) => String::new(),
            (mark, u32::MAX) => format!(", mark {mark:#x}"),
            (mark, mask) => format!(", mark bits {mark:#x}/{mask:#x}"),
        };
        let place = match self.address.is_unspecified() {
            true => self.port.to_string(),
            false => SocketAddr::new(self.address, self.port).to_string(),
        };
        format!("proxy at {place} (transparent){mark}")
    }
}
