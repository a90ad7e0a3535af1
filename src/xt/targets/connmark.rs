//! `CONNMARK`: sets, saves or restores the connection's mark (`struct xt_connmark_tginfo1`, `2`).

use std::fmt::Write;

use super::mark::set_mark;
use super::{Effect, Extension, Given, Targeting};
use crate::xt::bytes::Layout;

/// Direction in which a mark is copied, or set.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mode {
    /// `--set-xmark`: the connection gets it.
    Set,
    /// `--save-mark`: from the packet to the connection.
    Save,
    /// `--restore-mark`: from the connection to the packet.
    Restore,
}

/// Work on the connection's mark.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ConnmarkTarget {
    /// What is done.
    pub mode: Mode,
    /// Value to set.
    pub value: u32,
    /// Mask of the connection's mark.
    pub connection_mask: u32,
    /// Mask of the packet's mark.
    pub packet_mask: u32,
}

impl Extension for ConnmarkTarget {
    const NAMES: &'static [&'static str] = &["CONNMARK"];
    const OPTIONS: &'static [(&'static str, usize)] = &[
        ("--set-xmark", 1),
        ("--set-mark", 1),
        ("--and-mark", 1),
        ("--or-mark", 1),
        ("--xor-mark", 1),
        ("--save-mark", 0),
        ("--restore-mark", 0),
        ("--nfmask", 1),
        ("--ctmask", 1),
        ("--mask", 1),
    ];

    fn decode(revision: u8, data: &[u8], _ipv6: bool) -> Option<Self> {
        let layout = Layout(data);
        // Revision 2 puts direction and width of a shift before the mode; rules that shift are kept as bytes.
        let mode_at = match revision {
            1 => 12,
            2 if layout.u8(13)? == 0 => 14,
            _ => return None,
        };
        let mode = match layout.u8(mode_at)? {
            0 => Mode::Set,
            1 => Mode::Save,
            2 => Mode::Restore,
            _ => return None,
        };
        Some(Self { mode, value: layout.u32(0)?, connection_mask: layout.u32(4)?, packet_mask: layout.u32(8)? })
    }

    fn parse(_name: &str, options: &[Given], _ipv6: bool) -> Option<Self> {
        let mut target = Self { mode: Mode::Set, value: 0, connection_mask: u32::MAX, packet_mask: u32::MAX };
        for given in options {
            match given.name {
                "--save-mark" => target.mode = Mode::Save,
                "--restore-mark" => target.mode = Mode::Restore,
                "--nfmask" => target.packet_mask = given.number()?,
                "--ctmask" => target.connection_mask = given.number()?,
                "--mask" => (target.connection_mask, target.packet_mask) = (given.number()?, given.number()?),
                _ => (target.value, target.connection_mask) = set_mark(given)?,
            }
        }
        Some(target)
    }

    fn save(&self, out: &mut String) {
        let Self { mode, value, connection_mask, packet_mask } = self;
        // Writing to a String cannot fail.
        match mode {
            Mode::Set => write!(out, " --set-xmark {value:#x}/{connection_mask:#x}"),
            Mode::Save => write!(out, " --save-mark --nfmask {packet_mask:#x} --ctmask {connection_mask:#x}"),
            Mode::Restore => write!(out, " --restore-mark --nfmask {packet_mask:#x} --ctmask {connection_mask:#x}"),
        }
        .ok();
    }
}

impl Targeting for ConnmarkTarget {
    fn effect(&self) -> Effect {
        let Self { mode, value, connection_mask, packet_mask } = *self;
        match mode {
            Mode::Set => Effect::ConnectionMark { value, mask: connection_mask },
            Mode::Save => Effect::SavedMark { connection_mask, packet_mask },
            Mode::Restore => Effect::RestoredMark { connection_mask, packet_mask },
        }
    }

    fn explain(&self) -> String {
        match self.mode {
            Mode::Set => format!("connection gets mark {:#x}", self.value),
            Mode::Save => "packet's mark is saved to the connection".to_owned(),
            Mode::Restore => "packet gets the connection's mark".to_owned(),
        }
    }

    fn nft(&self) -> Option<String> {
        let Self { mode, value, connection_mask: mask, packet_mask } = self;
        Some(match (mode, value, mask) {
            (Mode::Set, value, &u32::MAX) => format!("ct mark set {value:#x}"),
            (Mode::Set, 0, mask) => format!("ct mark set ct mark and {:#x}", !mask),
            (Mode::Set, value, mask) if value == mask => format!("ct mark set ct mark or {value:#x}"),
            (Mode::Set, value, 0) => format!("ct mark set ct mark xor {value:#x}"),
            (Mode::Save, _, &u32::MAX) if *packet_mask == u32::MAX => "ct mark set mark".to_owned(),
            (Mode::Restore, _, &u32::MAX) if *packet_mask == u32::MAX => "meta mark set ct mark".to_owned(),
            // iptables' translation of the others sets other bits than the target.
            _ => return None,
        })
    }
}
