//! nf_tables messages (`include/uapi/linux/netfilter/nf_tables.h`): requests, and tables, chains and rules from their answers.

use super::attribute::{Attribute, Attributes, Builder, CutAttribute, attributes};
use super::nf_expression::{counters, data_value, expression, list, strange, verdict};
use crate::model::{Counters, Family, Hook, Policy};
use crate::nft::{Data, Element, Extra, KeyEnd, Rule, Set, UnknownAttribute};

/// `NFNL_SUBSYS_NFTABLES` in the upper byte of the message type.
const SUBSYSTEM: u16 = 10 << 8;
/// Length of `struct nfgenmsg`.
const HEAD: usize = 4;

/// Lists tables.
pub const GET_TABLE: u16 = SUBSYSTEM | 1;
/// Lists chains.
pub const GET_CHAIN: u16 = SUBSYSTEM | 4;
/// Lists rules.
pub const GET_RULE: u16 = SUBSYSTEM | 7;
/// Lists sets.
pub const GET_SET: u16 = SUBSYSTEM | 10;
/// Lists the elements of a set.
pub const GET_ELEMENTS: u16 = SUBSYSTEM | 13;
/// Lists named objects.
pub const GET_OBJECT: u16 = SUBSYSTEM | 19;
/// Lists flow tables.
pub const GET_FLOW_TABLE: u16 = SUBSYSTEM | 23;
/// Asks for the generation.
pub const GET_GENERATION: u16 = SUBSYSTEM | 16;

/// A message that cannot be taken apart.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum NftablesError {
    /// An attribute is cut short.
    #[error(transparent)]
    Cut(#[from] CutAttribute),
    /// The message is too short, or lacks what every such message has.
    #[error("a {0} message without {1}")]
    Lacks(&'static str, &'static str),
}

/// A table as it is listed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TableMessage {
    /// Family number (`NFPROTO_*`).
    pub family: u8,
    /// Name.
    pub name: String,
    /// It is switched off (`NFT_TABLE_F_DORMANT`): its chains stand at no hook.
    pub dormant: bool,
    /// Handle: tables were made in the order of theirs.
    pub handle: Option<u64>,
    /// What nft noted for itself.
    pub user_data: Vec<u8>,
    /// Its flags, and what is not known of it.
    pub extra: Extra,
}

/// A chain as it is listed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ChainMessage {
    /// Family number.
    pub family: u8,
    /// Its table.
    pub table: String,
    /// Name.
    pub name: String,
    /// Hook number within the family, and priority.
    pub hook: Option<(u32, i32)>,
    /// `filter`, `nat` or `route`.
    pub kind: Option<String>,
    /// Policy.
    pub policy: Option<Policy>,
    /// Counters of the policy.
    pub counters: Option<Counters>,
    /// Handle: chains were made in the order of theirs.
    pub handle: Option<u64>,
    /// Devices whose packets it sees (netdev, and ingress of inet).
    pub devices: Vec<String>,
    /// What nft noted for itself.
    pub user_data: Vec<u8>,
    /// Its flags, and what is not known of it.
    pub extra: Extra,
}

/// A rule as it is listed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RuleMessage {
    /// Its table.
    pub table: String,
    /// Its chain.
    pub chain: String,
    /// Handle.
    pub handle: u64,
    /// What it says.
    pub rule: Rule,
}

/// `struct nfgenmsg`: family, version 0, resource 0.
#[must_use]
pub fn head(family: u8) -> [u8; HEAD] {
    [family, 0, 0, 0]
}

/// Asks for the rules of one chain.
#[must_use]
pub fn rules_of(family: u8, table: &str, chain: &str) -> Vec<u8> {
    Builder::after(&head(family)).put_text(1, table).put_text(2, chain).finish()
}

/// The generation's number in a `NFT_MSG_NEWGEN` message.
///
/// # Errors
/// [`NftablesError`].
pub fn generation(message: &[u8]) -> Result<u32, NftablesError> {
    let (_, mut rest) = body("generation", message)?;
    find(&mut rest, 1)?.and_then(|id| id.be32()).ok_or(NftablesError::Lacks("generation", "id"))
}

/// A `NFT_MSG_NEWTABLE` message.
///
/// # Errors
/// [`NftablesError`].
pub fn table(message: &[u8]) -> Result<TableMessage, NftablesError> {
    const DORMANT: u32 = 1;
    let (family, rest) = body("table", message)?;
    let (mut name, mut handle, mut user_data, mut extra) = (None, None, Vec::new(), Extra::default());
    for attribute in rest {
        let attribute = attribute?;
        match attribute.kind {
            1 => name = Some(attribute.text()),
            2 => extra.flags = attribute.be32().unwrap_or_default(),
            4 => handle = attribute.be64(),
            6 => user_data = attribute.value.to_vec(),
            // Chains and rules in use, padding, and the netlink port of the owner.
            3 | 5 | 7 => {}
            _ => extra.unknown.push(unknown(&attribute)),
        }
    }
    let name = name.ok_or(NftablesError::Lacks("table", "name"))?;
    let dormant = extra.flags & DORMANT != 0;
    extra.flags &= !DORMANT;
    Ok(TableMessage { family, name, dormant, handle, user_data, extra })
}

/// A `NFT_MSG_NEWCHAIN` message.
///
/// # Errors
/// [`NftablesError`].
pub fn chain(message: &[u8]) -> Result<ChainMessage, NftablesError> {
    /// That it stands at a hook, which is seen.
    const BASE: u32 = 1;
    let (family, rest) = body("chain", message)?;
    let mut chain = ChainMessage {
        family,
        table: String::new(),
        name: String::new(),
        hook: None,
        kind: None,
        policy: None,
        counters: None,
        handle: None,
        devices: Vec::new(),
        user_data: Vec::new(),
        extra: Extra::default(),
    };
    for attribute in rest {
        let attribute = attribute?;
        match attribute.kind {
            1 => chain.table = attribute.text(),
            2 => chain.handle = attribute.be64(),
            3 => chain.name = attribute.text(),
            4 => (chain.hook, chain.devices) = hook(&attribute, &mut chain.extra.unknown)?,
            5 => {
                chain.policy = attribute.be32().map(|verdict| if verdict == 0 { Policy::Drop } else { Policy::Accept })
            }
            7 => chain.kind = Some(attribute.text()),
            8 => chain.counters = Some(counters(attribute.nested())?),
            10 => chain.extra.flags = attribute.be32().unwrap_or_default() & !BASE,
            12 => chain.user_data = attribute.value.to_vec(),
            // Rules in it, padding, number within a transaction.
            6 | 9 | 11 => {}
            _ => chain.extra.unknown.push(unknown(&attribute)),
        }
    }
    if chain.name.is_empty() {
        return Err(NftablesError::Lacks("chain", "name"));
    }
    Ok(chain)
}

/// A `NFT_MSG_NEWRULE` message.
///
/// # Errors
/// [`NftablesError`].
pub fn rule(message: &[u8]) -> Result<RuleMessage, NftablesError> {
    let (_, rest) = body("rule", message)?;
    let (mut table, mut chain) = (String::new(), String::new());
    for attribute in rest {
        let attribute = attribute?;
        match attribute.kind {
            1 => table = attribute.text(),
            2 => chain = attribute.text(),
            _ => {}
        }
    }
    let (handle, rule) = rule_body(message)?;
    Ok(RuleMessage { table, chain, handle, rule })
}

/// Handle and expressions of a `NFT_MSG_NEWRULE` message: who asks for the rules of one chain knows where they belong.
///
/// # Errors
/// [`NftablesError`].
pub fn rule_body(message: &[u8]) -> Result<(u64, Rule), NftablesError> {
    let (_, rest) = body("rule", message)?;
    let (mut handle, mut user_data, mut expressions, mut more) = (0, Vec::new(), None, Vec::new());
    for attribute in rest {
        let attribute = attribute?;
        match attribute.kind {
            3 => handle = attribute.be64().unwrap_or_default(),
            4 => expressions = Some(list(&attribute)?),
            7 => user_data = attribute.value.to_vec(),
            // Table and chain, what iptables asks for, the rule before, padding, numbers within a transaction.
            1 | 2 | 5 | 6 | 8..=11 => {}
            _ => more.push(strange(&attribute)),
        }
    }
    // A rule without any has an empty list: one without a list was cut, and is no rule for everything.
    let mut expressions = expressions.ok_or(NftablesError::Lacks("rule", "expressions"))?;
    // In front: what it changes may be all that follows.
    expressions.splice(0..0, more);
    Ok((handle, Rule { expressions, user_data }))
}

/// The hook of a family by its number (`NF_INET_*`, `NF_NETDEV_*`, `NF_ARP_*`).
#[must_use]
pub fn hook_of(family: Family, number: u32) -> Option<Hook> {
    match family {
        Family::Netdev => [Hook::Ingress, Hook::Egress].get(number as usize).copied(),
        Family::Arp => [Hook::Input, Hook::Output, Hook::Forward].get(number as usize).copied(),
        Family::Inet if number == 5 => Some(Hook::Ingress),
        Family::Ip | Family::Ip6 | Family::Inet | Family::Bridge => Hook::from_inet(number),
    }
}

pub(super) fn body<'a>(what: &'static str, message: &'a [u8]) -> Result<(u8, Attributes<'a>), NftablesError> {
    let (head, rest) = message.split_at_checked(HEAD).ok_or(NftablesError::Lacks(what, "header"))?;
    Ok((head.first().copied().unwrap_or_default(), attributes(rest)))
}

fn find<'a>(rest: &mut Attributes<'a>, kind: u16) -> Result<Option<Attribute<'a>>, CutAttribute> {
    for attribute in rest.by_ref() {
        let attribute = attribute?;
        if attribute.kind == kind {
            return Ok(Some(attribute));
        }
    }
    Ok(None)
}

/// Hook number and priority, and the devices.
type HookAndDevices = (Option<(u32, i32)>, Vec<String>);

pub(super) fn unknown(attribute: &Attribute<'_>) -> UnknownAttribute {
    UnknownAttribute(attribute.kind, attribute.value.to_vec())
}

fn hook(attribute: &Attribute<'_>, extra: &mut Vec<UnknownAttribute>) -> Result<HookAndDevices, CutAttribute> {
    let (mut number, mut priority, mut devices) = (None, None, Vec::new());
    for part in attribute.nested() {
        let part = part?;
        match part.kind {
            1 => number = part.be32(),
            2 => priority = part.be32().map(u32::cast_signed),
            3 => {
                let name = part.text();
                if !devices.contains(&name) {
                    devices.push(name);
                }
            }
            4 => {
                for device in part.nested() {
                    let name = device?.text();
                    if !devices.contains(&name) {
                        devices.push(name);
                    }
                }
            }
            _ => extra.push(unknown(&part)),
        }
    }
    Ok((number.zip(priority), devices))
}

/// Asks for the sets, objects or flow tables of a table.
#[must_use]
pub fn of_table(family: u8, table: &str) -> Vec<u8> {
    Builder::after(&head(family)).put_text(1, table).finish()
}

/// Asks for the elements of a set.
#[must_use]
pub fn elements_of(family: u8, table: &str, set: &str) -> Vec<u8> {
    Builder::after(&head(family)).put_text(1, table).put_text(2, set).finish()
}

/// A `NFT_MSG_NEWSET` message, without elements.
///
/// # Errors
/// [`NftablesError`].
pub fn set(message: &[u8]) -> Result<Set, NftablesError> {
    let (_, rest) = body("set", message)?;
    let mut set = Set::default();
    for attribute in rest {
        let attribute = attribute?;
        let number = attribute.be32();
        match attribute.kind {
            2 => set.name = attribute.text(),
            3 => set.flags = number.unwrap_or_default(),
            4 => set.key = number.unwrap_or_default(),
            5 => set.key_length = number.unwrap_or_default(),
            6 => set.data = number,
            8 => set.policy = number,
            9 => {
                for part in attribute.nested() {
                    let part = part?;
                    set.size = if part.kind == 1 { part.be32() } else { set.size };
                }
            }
            11 => set.timeout = attribute.be64(),
            12 => set.collection = number,
            13 => set.user_data = attribute.value.to_vec(),
            15 => set.object = number,
            16 => set.handle = attribute.be64(),
            17 => set.expressions.push(expression(attribute.nested())?),
            18 => set.expressions = list(&attribute)?,
            20 => set.count = number,
            // Table, length of the data, number within a transaction, padding, the kernel's own name of the data structure.
            1 | 7 | 10 | 14 | 19 => {}
            _ => set.unknown.push(unknown(&attribute)),
        }
    }
    if set.name.is_empty() {
        return Err(NftablesError::Lacks("set", "name"));
    }
    Ok(set)
}

/// The elements in a `NFT_MSG_NEWSETELEM` message.
///
/// # Errors
/// [`NftablesError`].
pub fn elements(message: &[u8]) -> Result<Vec<Element>, NftablesError> {
    const ELEMENTS: u16 = 3;
    let (_, mut rest) = body("set element", message)?;
    let Some(attribute) = find(&mut rest, ELEMENTS)? else { return Ok(Vec::new()) };
    attribute.nested().map(|part| element(&part?)).collect()
}

fn element(attribute: &Attribute<'_>) -> Result<Element, NftablesError> {
    let mut element = Element::default();
    for part in attribute.nested() {
        let part = part?;
        match part.kind {
            1 => element.key = data_value(&part).unwrap_or_default(),
            2 => {
                let value = data_value(&part).map(Data::Value);
                element.data = value.or_else(|| verdict(&part).map(Data::Verdict));
            }
            3 => element.flags = part.be32().unwrap_or_default(),
            4 => element.timeout = part.be64(),
            5 => element.expiration = part.be64(),
            6 => element.user_data = part.value.to_vec(),
            7 => element.expressions.push(expression(part.nested())?),
            9 => element.data = Some(Data::Object(part.text())),
            10 => element.end = data_value(&part).map(KeyEnd),
            11 => element.expressions = list(&part)?,
            8 => {}
            _ => element.unknown.push(unknown(&part)),
        }
    }
    Ok(element)
}
