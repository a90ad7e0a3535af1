//! The targets. To add one is to add a file and its line below.

mod audit;
mod checksum;
mod classify;
mod clusterip;
mod connmark;
mod connsecmark;
mod ct;
mod dnat;
mod dnpt;
mod dscp;
mod ecn;
mod effect;
mod hl;
mod hmark;
mod idletimer;
mod led;
mod log;
mod mark;
mod masquerade;
mod nat_range;
mod netmap;
mod nflog;
mod nfqueue;
mod rateest;
mod redirect;
mod reject;
mod secmark;
mod set;
mod snat;
mod snpt;
mod synproxy;
mod tcpmss;
mod tcpoptstrip;
mod tee;
mod tos;
mod tproxy;
mod trace;
mod ttl;
mod ulog;

use super::extension::{Extension, Given, Unknown, is_of_other_family};

pub use audit::{Audit, Recorded};
pub use checksum::Checksum;
pub use classify::Classify;
pub use clusterip::{Clusterip, HashMode, NewCluster};
pub use connmark::{ConnmarkTarget, Mode};
pub use connsecmark::Connsecmark;
pub use ct::{Ct, Direction, Zone};
pub use dnat::Dnat;
pub use dnpt::{Dnpt, Prefixes};
pub use dscp::DscpTarget;
pub use ecn::EcnTarget;
pub use effect::{Effect, Hops, Shift};
pub use hl::HlTarget;
pub use hmark::Hmark;
pub use idletimer::Idletimer;
pub use led::Led;
pub use log::Log;
pub use mark::MarkTarget;
pub use masquerade::Masquerade;
pub use nat_range::{NatPorts, NatRange, PortRange};
pub use netmap::Netmap;
pub use nflog::Nflog;
pub use nfqueue::Nfqueue;
pub use rateest::RateestTarget;
pub use redirect::Redirect;
pub use reject::Reject;
pub use secmark::Secmark;
pub use set::{Mapped, SetTarget};
pub use snat::Snat;
pub use snpt::Snpt;
pub use synproxy::Synproxy;
pub use tcpmss::TcpmssTarget;
pub use tcpoptstrip::Tcpoptstrip;
pub use tee::Tee;
pub use tos::TosTarget;
pub use tproxy::Tproxy;
pub use trace::Trace;
pub use ttl::TtlTarget;
pub use ulog::Ulog;

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
    ($($known:ident: $kept:ty),+ $(,)?) => {
        /// The target of a rule.
        #[derive(Debug, Clone, PartialEq, Eq)]
        pub enum Target {
            $(#[doc = concat!("`", stringify!($known), "`")] $known($kept),)+
            /// One that is not understood.
            Unknown(Box<Unknown>),
        }

        $(impl From<$known> for Target {
            fn from(known: $known) -> Self {
                Self::$known(known.into())
            }
        })+

        impl From<Unknown> for Target {
            fn from(unknown: Unknown) -> Self {
                Self::Unknown(unknown.into())
            }
        }

        impl Target {
            /// From the kernel's bytes; never fails: what is not understood is kept.
            #[must_use]
            pub fn decode(name: &str, revision: u8, data: &[u8], ipv6: bool) -> Self {
                #[cfg(test)]
                if super::blind::to(name) {
                    return Unknown::Bytes { name: name.to_owned(), revision, data: data.to_vec() }.into();
                }
                $(if $known::NAMES.contains(&name) && let Some(known) = $known::decode(revision, data, ipv6) {
                    return Self::from(known);
                })+
                Unknown::Bytes { name: name.to_owned(), revision, data: data.to_vec() }.into()
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
                if is_of_other_family(options, ipv6) {
                    return None;
                }
                $(if $known::NAMES.contains(&name) { return $known::parse(name, options, ipv6).map(Self::from); })+
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
                        out.push_str(if matches!(**unknown, Unknown::Text { .. }) { " -j " } else { " " });
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
                    Self::Unknown(unknown) => match **unknown {
                        Unknown::Bytes { .. } | Unknown::Native { .. } | Unknown::Rule(_) => unknown.save("target"),
                        Unknown::Text { .. } => format!("[unknown target {}]", unknown.save("target")),
                    },
                }
            }
        }
    };
}

// What is larger than a few words stands in a box: a rule set holds very many targets, most of them small.
all_targets!(
    Audit: Audit,
    Checksum: Checksum,
    Classify: Classify,
    Clusterip: Clusterip,
    ConnmarkTarget: ConnmarkTarget,
    Connsecmark: Connsecmark,
    Ct: Box<Ct>,
    Dnat: Box<Dnat>,
    Dnpt: Dnpt,
    DscpTarget: DscpTarget,
    EcnTarget: EcnTarget,
    HlTarget: HlTarget,
    Hmark: Box<Hmark>,
    Idletimer: Idletimer,
    Led: Led,
    Log: Log,
    MarkTarget: MarkTarget,
    Masquerade: Masquerade,
    Netmap: Netmap,
    Nflog: Box<Nflog>,
    Nfqueue: Nfqueue,
    RateestTarget: RateestTarget,
    Redirect: Redirect,
    Reject: Reject,
    Secmark: Secmark,
    SetTarget: Box<SetTarget>,
    Snat: Box<Snat>,
    Snpt: Snpt,
    Synproxy: Synproxy,
    TcpmssTarget: TcpmssTarget,
    Tcpoptstrip: Tcpoptstrip,
    Tee: Box<Tee>,
    TosTarget: TosTarget,
    Tproxy: Tproxy,
    Trace: Trace,
    TtlTarget: TtlTarget,
    Ulog: Box<Ulog>,
);

const _: () = assert!(size_of::<Target>() <= 40, "a target of every rule is kept");
const _: () = assert!(size_of::<super::Action>() <= 40, "an action of every rule is kept");
