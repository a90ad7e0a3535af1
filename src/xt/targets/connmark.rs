//! `CONNMARK`: sets, saves or restores the connection's mark (`struct xt_connmark_tginfo1`, `2`).

use std::fmt::Write;

use super::mark::{becomes, set_mark};
use super::{Effect, Extension, Given, Shift, Targeting};
use crate::xt::bytes::Layout;

/// Direction in which a mark is copied, or set.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Mode {
    /// `--set-xmark`: the connection gets it.
    #[default]
    Set,
    /// `--save-mark`: from the packet to the connection.
    Save,
    /// `--restore-mark`: from the connection to the packet.
    Restore,
}

/// Work on the connection's mark.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct ConnmarkTarget {
    /// What is done.
    pub mode: Mode,
    /// Value to set.
    pub value: u32,
    /// Mask of the connection's mark.
    pub connection_mask: u32,
    /// Mask of the packet's mark.
    pub packet_mask: u32,
    /// How far the mark is shifted.
    pub shift: Shift,
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
        ("--left-shift-mark", 1),
        ("--right-shift-mark", 1),
    ];

    fn decode(revision: u8, data: &[u8], _ipv6: bool) -> Option<Self> {
        let layout = Layout::of(data, 16)?;
        // Revision 2 puts direction and width of a shift before the mode.
        let (mode_at, shift) = match revision {
            1 => (12, Shift::default()),
            2 => match (layout.u8(12)?, layout.u8(13)?) {
                (_, 0) => (14, Shift::default()),
                (right @ (0 | 1), bits @ 1..=31) => (14, Shift { right: right == 1, bits }),
                _ => return None,
            },
            _ => return None,
        };
        let mode = match layout.u8(mode_at)? {
            0 => Mode::Set,
            1 => Mode::Save,
            2 => Mode::Restore,
            _ => return None,
        };
        let (value, connection_mask, packet_mask) = (layout.u32(0)?, layout.u32(4)?, layout.u32(8)?);
        Some(match mode {
            // What is set does not come from the packet, and what is copied is not given.
            Mode::Set => Self { mode, value, connection_mask, packet_mask: u32::MAX, shift },
            _ => Self { mode, value: 0, connection_mask, packet_mask, shift },
        })
    }

    fn parse(_name: &str, options: &[Given], _ipv6: bool) -> Option<Self> {
        let mut target =
            Self { mode: Mode::Set, value: 0, connection_mask: u32::MAX, packet_mask: u32::MAX, ..Self::default() };
        for given in options {
            match given.name {
                "--save-mark" => target.mode = Mode::Save,
                "--restore-mark" => target.mode = Mode::Restore,
                "--nfmask" => target.packet_mask = given.number()?,
                "--ctmask" => target.connection_mask = given.number()?,
                "--mask" => (target.connection_mask, target.packet_mask) = (given.number()?, given.number()?),
                "--left-shift-mark" | "--right-shift-mark" => {
                    let bits = given.number().and_then(|bits| u8::try_from(bits).ok()).filter(|bits| *bits < 32)?;
                    target.shift = Shift { right: given.name == "--right-shift-mark" && bits != 0, bits };
                }
                _ => (target.value, target.connection_mask) = set_mark(given)?,
            }
        }
        Some(target)
    }

    fn save(&self, out: &mut String) {
        let Self { mode, value, connection_mask, packet_mask, shift } = self;
        // Writing to a String cannot fail.
        match mode {
            Mode::Set => write!(out, " --set-xmark {value:#x}/{connection_mask:#x}"),
            Mode::Save => write!(out, " --save-mark --nfmask {packet_mask:#x} --ctmask {connection_mask:#x}"),
            Mode::Restore => write!(out, " --restore-mark --nfmask {packet_mask:#x} --ctmask {connection_mask:#x}"),
        }
        .ok();
        if shift.bits != 0 {
            write!(out, " --{}-shift-mark {}", if shift.right { "right" } else { "left" }, shift.bits).ok();
        }
    }
}

impl Targeting for ConnmarkTarget {
    fn effect(&self) -> Effect {
        let Self { mode, value, connection_mask, packet_mask, shift } = *self;
        match mode {
            Mode::Set => Effect::ConnectionMark { value, mask: connection_mask, shift },
            Mode::Save => Effect::SavedMark { connection_mask, packet_mask, shift },
            Mode::Restore => Effect::RestoredMark { connection_mask, packet_mask, shift },
        }
    }

    fn explain(&self) -> String {
        let Self { value, connection_mask, packet_mask, shift, .. } = *self;
        let masks = match (packet_mask, connection_mask) {
            (u32::MAX, u32::MAX) => String::new(),
            (packet, connection) if packet == connection => format!(" (bits {packet:#x})"),
            (packet, connection) => format!(" (bits {packet:#x} of the packet's, {connection:#x} of the connection's)"),
        };
        let side = if shift.right { "right" } else { "left" };
        let shifted =
            if shift.bits == 0 { String::new() } else { format!(", shifted by {} to the {side}", shift.bits) };
        match self.mode {
            Mode::Set => format!("connection {}{shifted}", becomes(value, connection_mask)),
            Mode::Save => format!("packet's mark is saved to the connection{masks}{shifted}"),
            Mode::Restore => format!("packet gets the connection's mark{masks}{shifted}"),
        }
    }

    fn nft(&self) -> Option<String> {
        let Self { mode, value, connection_mask: mask, packet_mask, shift } = *self;
        let of = match (mode, value, mask) {
            (Mode::Set, value, u32::MAX) => format!("{value:#x}"),
            (Mode::Set, 0, mask) => format!("ct mark and {:#x}", !mask),
            (Mode::Set, value, mask) if value == mask => format!("ct mark or {value:#x}"),
            (Mode::Set, value, 0) => format!("ct mark xor {value:#x}"),
            (Mode::Save, _, u32::MAX) if packet_mask == u32::MAX => "mark".to_owned(),
            (Mode::Restore, _, u32::MAX) if packet_mask == u32::MAX => "ct mark".to_owned(),
            // iptables' translation of the others sets other bits than the target.
            _ => return None,
        };
        let to = if mode == Mode::Restore { "meta mark" } else { "ct mark" };
        let sign = if shift.right { ">>" } else { "<<" };
        // A constant leaves another blank behind.
        let blank = if mode == Mode::Set && mask == u32::MAX { " " } else { "" };
        Some(match shift.bits {
            0 => format!("{to} set {of}"),
            bits => format!("{to} set ( {of} {blank}) {sign} {bits}"),
        })
    }
}
