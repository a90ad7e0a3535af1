//! The matches. To add one is to add a file and its line below.

mod addrtype;
mod ah;
mod bpf;
mod cgroup;
mod cluster;
mod comment;
mod connbytes;
mod connlabel;
mod connlimit;
mod connmark;
mod conntrack;
mod cpu;
mod ct_helper;
mod dccp;
mod devgroup;
pub(in crate::xt) mod dscp;
mod ecn;
mod esp;
mod eui64;
mod frag;
mod hashlimit;
mod host;
mod icmp;
mod ipcomp;
mod iprange;
mod ipv6header;
mod ipvs;
mod length;
mod limit;
mod mac;
mod mark;
mod mh;
mod multiport;
mod named;
mod nfacct;
mod opts;
mod osf;
mod owner;
mod physdev;
mod pkttype;
mod policy;
mod quota;
mod rateest;
mod realm;
mod recent;
mod rpfilter;
mod rt;
mod sctp;
mod set;
mod socket;
mod span;
mod srh;
mod statistic;
mod string;
mod tcp;
mod tcpmss;
mod time;
pub(in crate::xt) mod tos;
mod ttl;
mod u32;
mod udp;

#[cfg(test)]
mod tests;

use super::extension::{Extension, Given, Unknown, is_of_other_family};
use super::words::Words;
use crate::packet::Condition;

pub use addrtype::{ADDRESS_TYPES, Addrtype, Types};
pub use ah::Ah;
pub use bpf::{Bpf, Instruction};
pub use cgroup::{Cgroup, Group};
pub use cluster::Cluster;
pub use comment::Comment;
pub use connbytes::{Connbytes, Counted, Flow};
pub use connlabel::Connlabel;
pub use connlimit::Connlimit;
pub use connmark::Connmark;
pub use conntrack::Conntrack;
pub use cpu::Cpu;
pub use ct_helper::Helper;
pub use dccp::Dccp;
pub use devgroup::Devgroup;
pub use dscp::Dscp;
pub use ecn::Ecn;
pub use esp::Esp;
pub use eui64::Eui64;
pub use frag::Frag;
pub use hashlimit::{Hashlimit, Unit};
pub use host::Host;
pub use icmp::Icmp;
pub use ipcomp::Ipcomp;
pub use iprange::{Between, Iprange};
pub use ipv6header::Ipv6header;
pub use ipvs::{Ipvs, Method};
pub use length::Length;
pub use limit::Limit;
pub use mac::Mac;
pub use mark::Mark;
pub use mh::Mh;
pub use multiport::{Multiport, Side};
pub use named::Named;
pub use nfacct::Nfacct;
pub use opts::{Dst, Hbh, OptionsHeader};
pub use osf::Osf;
pub use owner::{Ids, Owner};
pub use physdev::Physdev;
pub use pkttype::Pkttype;
pub use policy::{Element, Policy};
pub use quota::Quota;
pub use rateest::{Rateest, Relation};
pub use realm::Realm;
pub use recent::{Recent, Task};
pub use rpfilter::Rpfilter;
pub use rt::Rt;
pub use sctp::{Chunk, Chunks, Quantity, Sctp};
pub use set::{Count, Set, Than};
pub use socket::Socket;
pub use span::Span;
pub use srh::Srh;
pub use statistic::{Pick, Statistic};
pub use string::Search;
pub use tcp::{Ports, Tcp};
pub use tcpmss::Tcpmss;
pub use time::Time;
pub use tos::Tos;
pub use ttl::{Comparison, Hl, Hops, Ttl};
pub use u32::{Step, Test, U32};
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

/// How a match is held: in place, or `in Box` where its value is large. A rule with many matches must stay small.
macro_rules! held {
    ($known:ident) => { $known };
    ($known:ident in $holder:ident) => { $holder<$known> };
}

macro_rules! all_matches {
    ($($known:ident $(in $holder:ident)?),+ $(,)?) => {
        /// A match of a rule.
        #[derive(Debug, Clone, PartialEq, Eq)]
        pub enum Match {
            $(#[doc = concat!("`", stringify!($known), "`")] $known(held!($known $(in $holder)?)),)+
            /// One that is not understood.
            Unknown(Box<Unknown>),
        }

        impl Match {
            /// From the kernel's bytes; never fails: what is not understood is kept.
            #[must_use]
            pub fn decode(name: &str, revision: u8, data: &[u8], ipv6: bool) -> Self {
                #[cfg(test)]
                if super::blind::to(name) {
                    return Self::Unknown(Box::new(Unknown::Bytes { name: name.to_owned(), revision, data: data.to_vec() }));
                }
                $(if $known::NAMES.contains(&name) && let Some(known) = $known::decode(revision, data, ipv6) {
                    return Self::$known(known.into());
                })+
                Self::Unknown(Box::new(Unknown::Bytes { name: name.to_owned(), revision, data: data.to_vec() }))
            }

            /// The names of all that are known here.
            #[cfg(test)]
            fn names() -> Vec<&'static str> {
                [$($known::NAMES),+].concat()
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
                if is_of_other_family(options, ipv6) {
                    return None;
                }
                $(if $known::NAMES.contains(&name) { return $known::parse(name, options, ipv6).map(|known| Self::$known(known.into())); })+
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
                        out.push_str(if matches!(**unknown, Unknown::Text { .. }) { " -m " } else { " " });
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
                    Self::Unknown(unknown) => match &**unknown {
                        Unknown::Native { condition, .. } => condition.clone(),
                        unknown => Condition::Opaque(unknown.describe("match")),
                    },
                }
            }

            /// Adds its part to the rule's plain words.
            pub fn explain(&self, words: &mut Words) {
                match self {
                    $(Self::$known(known) => known.explain(words),)+
                    Self::Unknown(unknown) => words.also(format!("if {}", match &**unknown {
                        Unknown::Bytes { .. } | Unknown::Rule(_) => unknown.save("match"),
                        Unknown::Native { text, .. } => text.clone(),
                        Unknown::Text { .. } => format!("[unknown match {}]", unknown.save("match")),
                    })),
                }
            }
        }
    };
}

/// Rules are many, and most have two or three matches.
const _: () = assert!(size_of::<Match>() <= 40);

all_matches!(
    Addrtype, Ah in Box, Bpf, Cgroup, Cluster, Comment, Connbytes, Connlabel, Connlimit, Connmark, Conntrack in Box, Cpu,
    Dccp in Box, Devgroup in Box, Dscp, Dst in Box, Ecn, Esp, Eui64, Frag in Box, Hashlimit in Box, Hbh in Box, Helper, Hl, Icmp,
    Ipcomp, Iprange in Box, Ipv6header, Ipvs in Box, Length, Limit, Mac, Mark, Mh, Multiport, Nfacct, Osf in Box, Owner,
    Physdev in Box, Pkttype, Policy in Box, Quota, Rateest in Box, Realm, Recent in Box, Rpfilter, Rt in Box, Sctp in Box,
    Search in Box, Set in Box, Socket, Srh in Box, Statistic, Tcp, Tcpmss, Time, Tos, Ttl, U32 in Box, Udp,
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
