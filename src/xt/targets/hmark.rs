//! `HMARK`: marks by a hash of the packet (`struct xt_hmark_info`).

use std::fmt::Write;

use super::{Effect, Extension, Given, Targeting};
use crate::xt::bytes::{Layout, prefix_length};

/// A mark by hash: what is hashed, and into which marks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Hmark {
    /// So many leading bits of the source address.
    pub source: Option<u8>,
    /// The same of the destination address.
    pub destination: Option<u8>,
    /// These bits of the source port.
    pub source_port_mask: Option<u16>,
    /// These bits of the destination port.
    pub destination_port_mask: Option<u16>,
    /// These bits of the SPI of ESP or AH.
    pub spi_mask: Option<u32>,
    /// Bits set in the source port before.
    pub source_port: Option<u16>,
    /// Bits set in the destination port before.
    pub destination_port: Option<u16>,
    /// Bits set in the SPI before.
    pub spi: Option<u32>,
    /// These bits of the protocol's number.
    pub protocol_mask: Option<u16>,
    /// `--hmark-rnd`
    pub seed: Option<u32>,
    /// How many marks there are.
    pub modulus: u32,
    /// The first of them.
    pub offset: Option<u32>,
    /// `--hmark-tuple ct`: the connection's original addresses and ports are hashed.
    pub connection: bool,
}

/// Bit numbers of the flags (`XT_HMARK_*`).
const SOURCE: u32 = 0;
const DESTINATION: u32 = 1;
const SPI: u32 = 2;
const SPI_MASK: u32 = 3;
const SOURCE_PORT: u32 = 4;
const DESTINATION_PORT: u32 = 5;
const SOURCE_PORT_MASK: u32 = 6;
const DESTINATION_PORT_MASK: u32 = 7;
const PROTOCOL_MASK: u32 = 8;
const SEED: u32 = 9;
const MODULUS: u32 = 10;
const OFFSET: u32 = 11;
const CONNECTION: u32 = 12;

impl Hmark {
    /// `--hmark-tuple src,dst,…`; a beginning of a word is enough, as it is for iptables.
    fn tuple(&mut self, list: &str, ipv6: bool) -> Option<()> {
        let whole = if ipv6 { 128 } else { 32 };
        for word in list.split(',').map(str::to_ascii_lowercase) {
            match word.as_str() {
                "" => return None,
                word if "ct".starts_with(word) => self.connection = true,
                word if "src".starts_with(word) => self.source = Some(whole),
                word if "dst".starts_with(word) => self.destination = Some(whole),
                word if "sport".starts_with(word) => self.source_port_mask = Some(u16::MAX),
                word if "dport".starts_with(word) => self.destination_port_mask = Some(u16::MAX),
                word if "proto".starts_with(word) => self.protocol_mask = Some(u16::MAX),
                word if "spi".starts_with(word) => self.spi_mask = Some(u32::MAX),
                _ => return None,
            }
        }
        Some(())
    }

    fn take(&mut self, given: &Given, ipv6: bool) -> Option<()> {
        let number = || given.number();
        let short = || number().and_then(|number| u16::try_from(number).ok());
        let width = if ipv6 { 128 } else { 32 };
        let prefix = || number().and_then(|number| u8::try_from(number).ok()).filter(|length| *length <= width);
        match given.name {
            "--hmark-tuple" => self.tuple(given.value(), ipv6)?,
            "--hmark-src-prefix" => self.source = Some(prefix()?),
            "--hmark-dst-prefix" => self.destination = Some(prefix()?),
            "--hmark-sport-mask" => self.source_port_mask = Some(short()?),
            "--hmark-dport-mask" => self.destination_port_mask = Some(short()?),
            "--hmark-spi-mask" => self.spi_mask = Some(number()?),
            "--hmark-sport" => self.source_port = Some(short()?),
            "--hmark-dport" => self.destination_port = Some(short()?),
            "--hmark-spi" => self.spi = Some(number()?),
            "--hmark-proto-mask" => self.protocol_mask = Some(short()?),
            "--hmark-rnd" => self.seed = Some(number()?),
            "--hmark-mod" => self.modulus = number()?,
            _ => self.offset = Some(number()?),
        }
        Some(())
    }
}

impl Extension for Hmark {
    const NAMES: &'static [&'static str] = &["HMARK"];
    const OPTIONS: &'static [(&'static str, usize)] = &[
        ("--hmark-tuple", 1),
        ("--hmark-src-prefix", 1),
        ("--hmark-dst-prefix", 1),
        ("--hmark-sport-mask", 1),
        ("--hmark-dport-mask", 1),
        ("--hmark-spi-mask", 1),
        ("--hmark-sport", 1),
        ("--hmark-dport", 1),
        ("--hmark-spi", 1),
        ("--hmark-proto-mask", 1),
        ("--hmark-rnd", 1),
        ("--hmark-mod", 1),
        ("--hmark-offset", 1),
    ];

    fn decode(revision: u8, data: &[u8], ipv6: bool) -> Option<Self> {
        let layout = Layout::of(data, 60)?;
        let flags = layout.u32(40)?;
        let has = |bit: u32| flags & (1 << bit) != 0;
        if revision != 0 || flags >> (CONNECTION + 1) != 0 || !has(MODULUS) {
            return None;
        }
        let prefix = |bit, at| match has(bit) {
            true => Some(Some(prefix_length(layout.address(at, ipv6)?)?)),
            false => Some(None),
        };
        let short = |bit, at| Some(if has(bit) { Some(layout.be16(at)?) } else { None });
        // The SPI stands where both ports stand.
        let long = |bit, at| Some(if has(bit) { Some(layout.u32(at)?.to_be()) } else { None });
        let plain = |bit, at| Some(if has(bit) { Some(layout.u32(at)?) } else { None });
        Some(Self {
            source: prefix(SOURCE, 0)?,
            destination: prefix(DESTINATION, 16)?,
            source_port_mask: short(SOURCE_PORT_MASK, 32)?,
            destination_port_mask: short(DESTINATION_PORT_MASK, 34)?,
            spi_mask: long(SPI_MASK, 32)?,
            source_port: short(SOURCE_PORT, 36)?,
            destination_port: short(DESTINATION_PORT, 38)?,
            spi: long(SPI, 36)?,
            protocol_mask: if has(PROTOCOL_MASK) { Some(layout.u16(44)?) } else { None },
            seed: plain(SEED, 48)?,
            modulus: layout.u32(52).filter(|count| *count != 0)?,
            offset: plain(OFFSET, 56)?,
            connection: has(CONNECTION),
        })
    }

    fn parse(_name: &str, options: &[Given], ipv6: bool) -> Option<Self> {
        let mut hmark = Self::default();
        for given in options {
            hmark.take(given, ipv6)?;
        }
        (hmark.modulus != 0).then_some(hmark)
    }

    fn save(&self, out: &mut String) {
        let lengths = [("src-prefix", self.source), ("dst-prefix", self.destination)];
        // Writing to a String cannot fail.
        for (name, length) in lengths.into_iter().filter_map(|(name, length)| Some((name, length?))) {
            write!(out, " --hmark-{name} {length}").ok();
        }
        let mut hex = |name: &str, digits: usize, value: Option<u32>| {
            if let Some(value) = value {
                write!(out, " --hmark-{name} 0x{value:0digits$x}").ok();
            }
        };
        hex("sport-mask", 4, self.source_port_mask.map(u32::from));
        hex("dport-mask", 4, self.destination_port_mask.map(u32::from));
        hex("spi-mask", 8, self.spi_mask);
        hex("sport", 4, self.source_port.map(u32::from));
        hex("dport", 4, self.destination_port.map(u32::from));
        hex("spi", 8, self.spi);
        hex("proto-mask", 2, self.protocol_mask.map(u32::from));
        hex("rnd", 8, self.seed);
        write!(out, " --hmark-mod {}", self.modulus).ok();
        if let Some(offset) = self.offset {
            write!(out, " --hmark-offset {offset}").ok();
        }
        out.push_str(if self.connection { " --hmark-tuple ct" } else { "" });
    }
}

impl Targeting for Hmark {
    fn effect(&self) -> Effect {
        Effect::HashedMark { first: self.offset.unwrap_or(0), count: self.modulus }
    }

    fn explain(&self) -> String {
        let mut of: Vec<String> = Vec::new();
        let mut add = |text: Option<String>| of.extend(text);
        add(self.source.map(|length| format!("{length} bits of the source address")));
        add(self.destination.map(|length| format!("{length} bits of the destination address")));
        add(self.source_port_mask.map(|mask| format!("source port (mask {mask:#x})")));
        add(self.destination_port_mask.map(|mask| format!("destination port (mask {mask:#x})")));
        add(self.spi_mask.map(|mask| format!("SPI (mask {mask:#x})")));
        add(self.source_port.map(|bits| format!("source port with {bits:#x}")));
        add(self.destination_port.map(|bits| format!("destination port with {bits:#x}")));
        add(self.spi.map(|bits| format!("SPI with {bits:#x}")));
        add(self.protocol_mask.map(|mask| format!("protocol (mask {mask:#x})")));
        add(self.connection.then(|| "the connection's original ends".to_owned()));
        add(self.seed.map(|seed| format!("seed {seed:#x}")));
        let first = self.offset.map_or(String::new(), |offset| format!(", from {offset} on"));
        format!("gets one of {} marks{first}, by a hash of {}", self.modulus, of.join(", "))
    }
}
