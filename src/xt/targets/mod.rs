//! The targets. To add one is to add a file and its line below.

mod connmark;
mod ct;
mod dnat;
mod log;
mod mark;
mod masquerade;
mod nat_range;
mod nflog;
mod redirect;
mod reject;
mod set;
mod snat;
mod tproxy;
mod trace;

use std::net::IpAddr;

use super::extension::{Extension, Given, Unknown};

pub use connmark::{ConnmarkTarget, Mode};
pub use ct::{Ct, Direction};
pub use dnat::Dnat;
pub use log::Log;
pub use mark::MarkTarget;
pub use masquerade::Masquerade;
pub use nat_range::{NatRange, PortRange};
pub use nflog::Nflog;
pub use redirect::Redirect;
pub use reject::Reject;
pub use set::{Mapped, SetTarget};
pub use snat::Snat;
pub use tproxy::Tproxy;
pub use trace::Trace;

/// What a target does to a packet, as far as an evaluator needs to know.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Effect {
    /// Destination becomes the machine itself, at these ports (none: the port stays).
    Redirect(Option<PortRange>),
    /// Destination becomes this.
    Destination(NatRange),
    /// Source becomes another; the destination stays.
    Source,
    /// The packet is given to a transparent socket on this port (and address), and gets these mark bits.
    Transparent {
        /// Port of the socket, 0 for the packet's own.
        port: u16,
        /// Address of the socket, unspecified for the receiving interface's.
        address: IpAddr,
        /// Mark bits set.
        mark: u32,
        /// Mark bits changed.
        mask: u32,
    },
    /// The packet's mark becomes `(mark & !mask) ^ value`; the packet goes on.
    Mark {
        /// Bits flipped in.
        value: u32,
        /// Bits cleared first.
        mask: u32,
    },
    /// The connection's mark becomes `(mark & !mask) ^ value`; the packet goes on.
    ConnectionMark {
        /// Bits flipped in.
        value: u32,
        /// Bits cleared first.
        mask: u32,
    },
    /// The connection's mark becomes `(mark & !connection_mask) ^ (packet's & packet_mask)`; the packet goes on.
    SavedMark {
        /// Bits of the connection's mark.
        connection_mask: u32,
        /// Bits of the packet's mark.
        packet_mask: u32,
    },
    /// The packet's mark becomes `(mark & !packet_mask) ^ (connection's & connection_mask)`; the packet goes on.
    RestoredMark {
        /// Bits of the connection's mark.
        connection_mask: u32,
        /// Bits of the packet's mark.
        packet_mask: u32,
    },
    /// The packet goes on unchanged, as far as an evaluator can tell.
    Continue,
    /// Tracking is switched off for the packet: no translation will happen.
    Untracked,
    /// Dropped, or refused with an answer.
    Stop,
    /// Not known.
    Opaque(String),
}

/// What a target can say beyond its bytes and text.
trait Targeting: Extension {
    /// What it does.
    fn effect(&self) -> Effect;
    /// What it does, in plain words: `proxy at 15001`.
    fn explain(&self) -> String;
    /// What `nft list ruleset` makes of it; `None` where it makes nothing, or less or another thing than the target does.
    fn nft(&self) -> Option<String> {
        None
    }
}

macro_rules! all_targets {
    ($($known:ident),+ $(,)?) => {
        /// The target of a rule.
        #[derive(Debug, Clone, PartialEq, Eq)]
        pub enum Target {
            $(#[doc = concat!("`", stringify!($known), "`")] $known($known),)+
            /// One that is not understood.
            Unknown(Unknown),
        }

        impl Target {
            /// From the kernel's bytes; never fails: what is not understood is kept.
            #[must_use]
            pub fn decode(name: &str, revision: u8, data: &[u8], ipv6: bool) -> Self {
                $(if $known::NAMES.contains(&name) && let Some(known) = $known::decode(revision, data, ipv6) {
                    return Self::$known(known);
                })+
                Self::Unknown(Unknown::Bytes { name: name.to_owned(), revision, data: data.to_vec() })
            }

            /// The options that the target of this name takes; `None` for an unknown one.
            #[must_use]
            pub fn options(name: &str) -> Option<&'static [(&'static str, usize)]> {
                $(if $known::NAMES.contains(&name) { return Some($known::OPTIONS); })+
                None
            }

            /// From its options as text; `None` when name or value is not understood.
            #[must_use]
            pub fn parse(name: &str, options: &[Given], ipv6: bool) -> Option<Self> {
                $(if $known::NAMES.contains(&name) { return $known::parse(name, options, ipv6).map(Self::$known); })+
                None
            }

            /// The name under which iptables-save writes it.
            #[must_use]
            pub fn name(&self) -> &str {
                match self {
                    $(Self::$known(known) => known.name(),)+
                    Self::Unknown(unknown) => unknown.name(),
                }
            }

            /// Appends ` -j NAME options`.
            pub fn save(&self, out: &mut String) {
                match self {
                    $(Self::$known(known) => {
                        out.push_str(" -j ");
                        out.push_str(known.name());
                        known.save(out);
                    })+
                    Self::Unknown(unknown) => {
                        out.push_str(if matches!(unknown, Unknown::Text { .. }) { " -j " } else { " " });
                        out.push_str(&unknown.save("target"));
                    }
                }
            }

            /// In nft's words, else whole as `xt target NAME OPTIONS`.
            #[must_use]
            pub fn nft(&self) -> String {
                let words = match self {
                    $(Self::$known(known) => known.nft(),)+
                    Self::Unknown(_) => None,
                };
                words.unwrap_or_else(|| {
                    let mut options = String::new();
                    self.save(&mut options);
                    format!("xt target {}", options.trim_start_matches(" -j ").trim_start())
                })
            }

            /// What it does to a packet.
            #[must_use]
            pub fn effect(&self) -> Effect {
                match self {
                    $(Self::$known(known) => known.effect(),)+
                    Self::Unknown(unknown) => Effect::Opaque(unknown.describe("target")),
                }
            }

            /// What it does, in plain words.
            #[must_use]
            pub fn explain(&self) -> String {
                match self {
                    $(Self::$known(known) => known.explain(),)+
                    Self::Unknown(unknown @ (Unknown::Bytes { .. } | Unknown::Native { .. })) => unknown.save("target"),
                    Self::Unknown(unknown) => format!("[unknown target {}]", unknown.save("target")),
                }
            }
        }
    };
}

all_targets!(
    ConnmarkTarget,
    Ct,
    Dnat,
    Log,
    MarkTarget,
    Masquerade,
    Nflog,
    Redirect,
    Reject,
    SetTarget,
    Snat,
    Tproxy,
    Trace
);
