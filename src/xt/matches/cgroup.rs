//! `-m cgroup`: the sender's control group (`struct xt_cgroup_info_v0` to `v2`).

use super::span::{bang, not, unequal};
use super::{Condition, Extension, Given, Matching, Words};
use crate::packet::Field;
use crate::xt::bytes::Layout;
use crate::xt::text::quote;

/// How the group is named.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Group {
    /// `--cgroup`: the class of version 1's `net_cls`.
    Class(u32),
    /// `--path`: in the hierarchy of version 2; groups below it count too.
    Path(String),
}

/// The sender is in this group.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Cgroup {
    /// `!`
    pub negated: bool,
    /// Which.
    pub group: Group,
}

impl Extension for Cgroup {
    const NAMES: &'static [&'static str] = &["cgroup"];
    const OPTIONS: &'static [(&'static str, usize)] = &[("--path", 1), ("--cgroup", 1)];

    fn decode(revision: u8, data: &[u8], _ipv6: bool) -> Option<Self> {
        let layout = Layout(data);
        // Where the path ends and, in revision 1, the class begins.
        let (path, class_at) = match revision {
            0 => return Some(Self { negated: layout.u32(4)? != 0, group: Group::Class(layout.u32(0)?) }),
            1 => (4096, 4 + 4096),
            2 => (512, 4),
            _ => return None,
        };
        let path = layout.text(4, path);
        match (layout.u8(0)?, layout.u8(1)?) {
            (1, 0) => Some(Self { negated: layout.u8(2)? != 0, group: Group::Path(path?) }),
            (0, 1) => Some(Self { negated: layout.u8(3)? != 0, group: Group::Class(layout.u32(class_at)?) }),
            _ => None,
        }
    }

    fn parse(_name: &str, options: &[Given], _ipv6: bool) -> Option<Self> {
        let given = options.last()?;
        let group = match given.name {
            "--path" => Group::Path(given.cut(512)),
            _ => Group::Class(given.number()?),
        };
        Some(Self { negated: given.negated, group })
    }

    fn save(&self, out: &mut String) {
        out.push_str(bang(self.negated));
        out.push_str(&match &self.group {
            Group::Class(class) => format!(" --cgroup {class}"),
            Group::Path(path) => format!(" --path {}", quote(path)),
        });
    }
}

impl Matching for Cgroup {
    fn condition(&self) -> Condition {
        // A packet without a whole socket matches neither way (net/netfilter/xt_cgroup.c).
        match &self.group {
            Group::Class(class) => {
                let field = Field::CgroupClass;
                Condition::equals(field, *class).negated_where_present(field, self.negated)
            }
            Group::Path(path) => {
                let within = Condition::Opaque(format!("a sender in control group {path}")).negated_if(self.negated);
                Condition::All(vec![Condition::Owned, within])
            }
        }
    }

    fn explain(&self, words: &mut Words) {
        words.also(match &self.group {
            Group::Class(class) => format!("{}from control group class {class}", not(self.negated)),
            Group::Path(path) => format!("{}from control group {}", not(self.negated), quote(path)),
        });
    }

    fn nft(&self, _protocol: Option<u8>) -> Option<String> {
        match self.group {
            Group::Class(class) => Some(format!("meta cgroup {}{class}", unequal(self.negated))),
            Group::Path(_) => None,
        }
    }
}
