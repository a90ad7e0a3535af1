//! The matches. To add one is to add a file and its line below.

mod addrtype;
mod cluster;
mod comment;
mod connbytes;
mod connlabel;
mod connlimit;
mod connmark;
mod conntrack;
mod ct_helper;
mod hashlimit;
mod icmp;
mod ipvs;
mod limit;
mod mark;
mod multiport;
mod nfacct;
mod owner;
mod quota;
mod rateest;
mod recent;
mod socket;
mod statistic;
mod tcp;
mod udp;

use super::extension::{Extension, Given, Unknown};
use super::words::Words;
use crate::packet::Condition;

pub use addrtype::{Addrtype, Types};
pub use cluster::Cluster;
pub use comment::Comment;
pub use connbytes::{Connbytes, Counted, Flow};
pub use connlabel::Connlabel;
pub use connlimit::Connlimit;
pub use connmark::Connmark;
pub use conntrack::Conntrack;
pub use ct_helper::Helper;
pub use hashlimit::{Hashlimit, Unit};
pub use icmp::Icmp;
pub use ipvs::{Ipvs, Method};
pub use limit::Limit;
pub use mark::Mark;
pub use multiport::{Multiport, Side};
pub use nfacct::Nfacct;
pub use owner::{Ids, Owner};
pub use quota::Quota;
pub use rateest::{Comparison, Rateest};
pub use recent::{Recent, Task};
pub use socket::Socket;
pub use statistic::Statistic;
pub use tcp::{Ports, Tcp};
pub use udp::Udp;

/// What a match can say beyond its bytes and text.
trait Matching: Extension {
    /// What it asks of a packet.
    fn condition(&self) -> Condition;
    /// Its part of the rule's plain words.
    fn explain(&self, words: &mut Words);
    /// What `nft list ruleset` makes of it; `None` where it makes nothing, or less or another thing than the match says. The
    /// protocol is the one that the rule asked for.
    fn nft(&self, _protocol: Option<u8>) -> Option<String> {
        None
    }
}

macro_rules! all_matches {
    ($($known:ident),+ $(,)?) => {
        /// A match of a rule.
        #[derive(Debug, Clone, PartialEq, Eq)]
        pub enum Match {
            $(#[doc = concat!("`", stringify!($known), "`")] $known($known),)+
            /// One that is not understood.
            Unknown(Unknown),
        }

        impl Match {
            /// From the kernel's bytes; never fails: what is not understood is kept.
            #[must_use]
            pub fn decode(name: &str, revision: u8, data: &[u8], ipv6: bool) -> Self {
                $(if $known::NAMES.contains(&name) && let Some(known) = $known::decode(revision, data, ipv6) {
                    return Self::$known(known);
                })+
                Self::Unknown(Unknown::Bytes { name: name.to_owned(), revision, data: data.to_vec() })
            }

            /// The options that the match of this name takes; `None` for an unknown one.
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

            /// Appends ` -m name options`.
            pub fn save(&self, out: &mut String) {
                match self {
                    $(Self::$known(known) => {
                        out.push_str(" -m ");
                        out.push_str(known.name());
                        known.save(out);
                    })+
                    Self::Unknown(unknown) => {
                        out.push_str(if matches!(unknown, Unknown::Text { .. }) { " -m " } else { " " });
                        out.push_str(&unknown.save("match"));
                    }
                }
            }

            /// In nft's words, else whole as `xt match NAME OPTIONS`.
            #[must_use]
            pub fn nft(&self, protocol: Option<u8>) -> String {
                let words = match self {
                    $(Self::$known(known) => known.nft(protocol),)+
                    Self::Unknown(_) => None,
                };
                words.unwrap_or_else(|| {
                    let mut options = String::new();
                    self.save(&mut options);
                    format!("xt match {}", options.trim_start_matches(" -m ").trim_start())
                })
            }

            /// What it asks of a packet.
            #[must_use]
            pub fn condition(&self) -> Condition {
                match self {
                    $(Self::$known(known) => known.condition(),)+
                    Self::Unknown(Unknown::Native { condition, .. }) => condition.clone(),
                    Self::Unknown(unknown) => Condition::Opaque(unknown.describe("match")),
                }
            }

            /// Adds its part to the rule's plain words.
            pub fn explain(&self, words: &mut Words) {
                match self {
                    $(Self::$known(known) => known.explain(words),)+
                    Self::Unknown(unknown) => words.also(format!("if {}", match unknown {
                        Unknown::Bytes { .. } => unknown.save("match"),
                        Unknown::Native { text, .. } => text.clone(),
                        Unknown::Text { .. } => format!("[unknown match {}]", unknown.save("match")),
                    })),
                }
            }
        }
    };
}

all_matches!(
    Addrtype, Cluster, Comment, Connbytes, Connlabel, Connlimit, Connmark, Conntrack, Hashlimit, Helper, Icmp, Ipvs,
    Limit, Mark, Multiport, Nfacct, Owner, Quota, Rateest, Recent, Socket, Statistic, Tcp, Udp
);

impl Match {
    /// Whether the match makes the kernel track connections.
    #[must_use]
    pub fn tracks(&self) -> bool {
        matches!(
            self,
            Self::Cluster(_)
                | Self::Connbytes(_)
                | Self::Connlabel(_)
                | Self::Connlimit(_)
                | Self::Connmark(_)
                | Self::Conntrack(_)
                | Self::Helper(_)
        )
    }
}
