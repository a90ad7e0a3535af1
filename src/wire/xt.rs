//! Legacy xtables: the packed entries of a table (`struct ipt_entry`, `struct ip6t_entry`,
//! `include/uapi/linux/netfilter_ipv4/ip_tables.h`, `…_ipv6/ip6_tables.h`; 64-bit layout).

use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use crate::model::{Body, Chain, Counters, Hook, Policy, Rule, Table};
use crate::xt::{self, Action, AddressMatch, DeviceMatch, Fragments, IpPart, Match, ProtocolMatch, Target};

/// What the kernel says of a table beside its entries (`struct ipt_getinfo`).
#[derive(Debug, Clone, Copy)]
pub struct TableInfo {
    /// Bit N is set when netfilter hook N has a chain here.
    pub valid_hooks: u32,
    /// Byte offset of each hook's first entry.
    pub hook_entry: [u32; 5],
    /// Byte offset of each hook's policy entry.
    pub underflow: [u32; 5],
}

/// The entries contradict themselves.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("entry at byte {offset}: {what}")]
pub struct EntryError {
    /// Where.
    pub offset: usize,
    /// What is wrong there.
    pub what: &'static str,
}

/// Where things stand in an entry of a family.
struct Layout {
    /// Bytes of the address part; then come 4 of `nfcache` and the two offsets.
    ip: usize,
    counters: usize,
    head: usize,
}

const V4: Layout = Layout { ip: 84, counters: 96, head: 112 };
const V6: Layout = Layout { ip: 136, counters: 152, head: 168 };

/// Match and target header: u16 size, name of 29 bytes, u8 revision.
const PART_HEAD: usize = 32;
const DEVICE: usize = 16;

/// `IPT_INV_*`
const INVERT_IN: u8 = 1;
const INVERT_OUT: u8 = 2;
const INVERT_SOURCE: u8 = 8;
const INVERT_DESTINATION: u8 = 16;
const INVERT_FRAGMENT: u8 = 32;
const INVERT_PROTOCOL: u8 = 64;

/// An entry before its jump is resolved.
struct Entry<'a> {
    offset: usize,
    next: usize,
    counters: Counters,
    ip: IpPart,
    goto: bool,
    matches: Vec<Match>,
    target: &'a [u8],
}

/// Decodes a table. `name` decides what the table's base chains are called and at which priority they stand.
///
/// # Errors
/// [`EntryError`]: no byte is taken on trust.
pub fn decode_table(name: &str, ipv6: bool, info: &TableInfo, entries: &[u8]) -> Result<Table, EntryError> {
    let decoded = walk(ipv6, entries)?;
    let mut builder =
        Builder { name, ipv6, info, starts: BTreeMap::new(), headers: BTreeSet::new(), chains: Vec::new() };
    // First the names of all chains: jumps point at the first rule of a chain, by offset.
    for entry in &decoded {
        if let Some(chain) = chain_header(entry.target) {
            builder.starts.insert(entry.next, chain);
            builder.headers.insert(entry.offset);
        }
    }
    for (index, entry) in decoded.iter().enumerate() {
        builder.entry(entry, index + 1 == decoded.len())?;
    }
    let (mut base, mut user): (Vec<Chain>, Vec<Chain>) = builder.chains.into_iter().partition(|c| c.hook.is_some());
    base.sort_by_key(|chain| chain.hook);
    // Tools sort user chains by name, since Linux keeps them in the order of their making.
    user.sort_by(|a, b| a.name.as_bytes().cmp(b.name.as_bytes()));
    base.extend(user);
    Ok(Table { name: name.to_owned(), chains: base, ..Table::default() })
}

fn walk(ipv6: bool, entries: &[u8]) -> Result<Vec<Entry<'_>>, EntryError> {
    let mut found = Vec::new();
    let mut offset = 0;
    while offset < entries.len() {
        let entry = decode_entry(ipv6, entries, offset)?;
        offset = entry.next;
        found.push(entry);
    }
    Ok(found)
}

fn decode_entry(ipv6: bool, entries: &[u8], offset: usize) -> Result<Entry<'_>, EntryError> {
    let fail = |what| EntryError { offset, what };
    let layout = if ipv6 { V6 } else { V4 };
    let rest = entries.get(offset..).ok_or_else(|| fail("starts behind the end"))?;
    let head = rest.get(..layout.head).ok_or_else(|| fail("is cut short"))?;
    let u16_at = |at: usize| word::<2>(head, at).map_or(0, |bytes| usize::from(u16::from_ne_bytes(bytes)));
    let u64_at = |at: usize| word::<8>(head, at).map_or(0, u64::from_ne_bytes);
    let (target_at, length) = (u16_at(layout.ip + 4), u16_at(layout.ip + 6));
    if target_at < layout.head || length < target_at + PART_HEAD || length > rest.len() {
        return Err(fail("has impossible offsets"));
    }
    let mut matches = Vec::new();
    let mut at = layout.head;
    while at < target_at {
        let (name, revision, data) = part(rest, at, target_at).ok_or_else(|| fail("has a match cut short"))?;
        matches.push(Match::decode(&name, revision, data, ipv6));
        at += PART_HEAD + data.len();
    }
    let (ip, goto) = if ipv6 { ip_part_v6(head) } else { ip_part_v4(head) }
        .ok_or_else(|| fail("asks for addresses, devices or a protocol in no known way"))?;
    if ![&ip.source, &ip.destination].into_iter().flatten().all(AddressMatch::is_masked) {
        return Err(fail("has an address outside of its mask"));
    }
    Ok(Entry {
        offset,
        next: offset + length,
        counters: Counters { packets: u64_at(layout.counters), bytes: u64_at(layout.counters + 8) },
        ip,
        goto,
        matches,
        target: rest.get(target_at..length).unwrap_or_default(),
    })
}

/// Name, revision and payload of the match or target at `at`, which must end by `end`.
fn part(bytes: &[u8], at: usize, end: usize) -> Option<(String, u8, &[u8])> {
    let size = usize::from(u16::from_ne_bytes(word::<2>(bytes, at)?));
    if size < PART_HEAD || at + size > end {
        return None;
    }
    Some((name_of(bytes.get(at + 2..at + 31)?), *bytes.get(at + 31)?, bytes.get(at + PART_HEAD..at + size)?))
}

fn name_of(field: &[u8]) -> String {
    let end = field.iter().position(|byte| *byte == 0).unwrap_or(field.len());
    String::from_utf8_lossy(field.get(..end).unwrap_or_default()).into_owned()
}

fn word<const N: usize>(bytes: &[u8], at: usize) -> Option<[u8; N]> {
    bytes.get(at..)?.first_chunk().copied()
}

/// A user chain begins with an ERROR target that holds its name.
fn chain_header(target: &[u8]) -> Option<String> {
    let (name, _, data) = part(target, 0, target.len())?;
    (name == "ERROR").then(|| name_of(data))
}

struct Builder<'a> {
    name: &'a str,
    ipv6: bool,
    info: &'a TableInfo,
    /// Offset of a user chain's first rule, and its name.
    starts: BTreeMap<usize, String>,
    /// Offsets of the entries that name a chain, and of the one that ends the table.
    headers: BTreeSet<usize>,
    chains: Vec<Chain>,
}

impl Builder<'_> {
    fn entry(&mut self, entry: &Entry<'_>, last: bool) -> Result<(), EntryError> {
        let fail = |what| EntryError { offset: entry.offset, what };
        if let Some(name) = chain_header(entry.target) {
            // The entry behind everything is an ERROR target too; it begins no chain.
            if !last {
                self.chains.push(Chain::user(name));
            }
            return Ok(());
        }
        if let Some(hook) = self.hook_with(&self.info.hook_entry, entry.offset) {
            self.chains.push(Chain::base(self.name, hook));
        }
        let chain = self.chains.last().ok_or_else(|| fail("belongs to no chain"))?;
        let policy_of_base = chain.hook.is_some() && self.hook_with(&self.info.underflow, entry.offset) == chain.hook;
        // A user chain ends with a RETURN that no one wrote: the entry before the next chain's name or the end. The kernel does not
        // see to it, so anything else there is a rule.
        let implicit = chain.hook.is_none() && self.headers.contains(&entry.next);
        let action = self.action(entry)?;
        let Some(chain) = self.chains.last_mut() else { return Err(fail("belongs to no chain")) };
        if policy_of_base {
            chain.policy = Some(if action == Action::Drop { Policy::Drop } else { Policy::Accept });
            chain.counters = Some(entry.counters);
        } else if !(implicit && action == Action::Return && entry.matches.is_empty() && entry.ip == IpPart::default()) {
            let rule = xt::Rule { ip: entry.ip.clone(), matches: entry.matches.clone(), action };
            chain.rules.push(Rule {
                counters: Some(entry.counters),
                handle: None,
                body: Body::Xt(Box::new(rule)),
                native: None,
            });
        }
        Ok(())
    }

    fn hook_with(&self, offsets: &[u32; 5], offset: usize) -> Option<Hook> {
        let found = (0..5_u32).find(|hook| {
            self.info.valid_hooks & (1 << hook) != 0
                && offsets.get(*hook as usize).is_some_and(|at| *at as usize == offset)
        });
        Hook::from_inet(found?)
    }

    fn action(&self, entry: &Entry<'_>) -> Result<Action, EntryError> {
        let fail = |what| EntryError { offset: entry.offset, what };
        let (name, revision, data) =
            part(entry.target, 0, entry.target.len()).ok_or_else(|| fail("has a target cut short"))?;
        if !name.is_empty() {
            return Ok(Action::Target(Target::decode(&name, revision, data, self.ipv6)));
        }
        let verdict = word::<4>(data, 0).map(i32::from_ne_bytes).ok_or_else(|| fail("has no verdict"))?;
        Ok(match verdict {
            -1 => Action::Drop,
            -2 => Action::Accept,
            -4 => Action::Queue,
            -5 => Action::Return,
            offset => {
                let offset = usize::try_from(offset).map_err(|_| fail("has an unknown verdict"))?;
                if offset == entry.next {
                    return Ok(Action::None);
                }
                let chain = self.starts.get(&offset).ok_or_else(|| fail("jumps into nothing"))?.clone();
                if entry.goto { Action::Goto(chain) } else { Action::Jump(chain) }
            }
        })
    }
}

fn ip_part_v4(head: &[u8]) -> Option<(IpPart, bool)> {
    const FRAGMENT: u8 = 1;
    const GOTO: u8 = 2;
    let address = |at| word::<4>(head, at).map(|octets| IpAddr::from(Ipv4Addr::from(octets)));
    let protocol = u16::from_ne_bytes(word(head, 80)?);
    let (flags, inverted) = (*head.get(82)?, *head.get(83)?);
    let ip = IpPart {
        source: address_match(address(0)?, address(8)?, inverted & INVERT_SOURCE != 0),
        destination: address_match(address(4)?, address(12)?, inverted & INVERT_DESTINATION != 0),
        input: device_match(head, 16, 48, inverted & INVERT_IN != 0)?,
        output: device_match(head, 32, 64, inverted & INVERT_OUT != 0)?,
        protocol: protocol_match(protocol, inverted & INVERT_PROTOCOL != 0)?,
        fragments: (flags & FRAGMENT != 0 || inverted & INVERT_FRAGMENT != 0)
            .then_some(Fragments { negated: inverted & INVERT_FRAGMENT != 0 }),
    };
    Some((ip, flags & GOTO != 0))
}

fn ip_part_v6(head: &[u8]) -> Option<(IpPart, bool)> {
    /// Without this flag the kernel does not look at the protocol (net/ipv6/netfilter/ip6_tables.c).
    const PROTOCOL: u8 = 1;
    const GOTO: u8 = 4;
    let address = |at| word::<16>(head, at).map(|octets| IpAddr::from(Ipv6Addr::from(octets)));
    let protocol = u16::from_ne_bytes(word(head, 128)?);
    let (flags, inverted) = (*head.get(131)?, *head.get(132)?);
    let ip = IpPart {
        source: address_match(address(0)?, address(32)?, inverted & INVERT_SOURCE != 0),
        destination: address_match(address(16)?, address(48)?, inverted & INVERT_DESTINATION != 0),
        input: device_match(head, 64, 96, inverted & INVERT_IN != 0)?,
        output: device_match(head, 80, 112, inverted & INVERT_OUT != 0)?,
        protocol: if flags & PROTOCOL == 0 { None } else { protocol_match(protocol, inverted & INVERT_PROTOCOL != 0)? },
        fragments: None,
    };
    Some((ip, flags & GOTO != 0))
}

fn address_match(address: IpAddr, mask: IpAddr, negated: bool) -> Option<AddressMatch> {
    (negated || !mask.is_unspecified() || !address.is_unspecified()).then_some(AddressMatch { negated, address, mask })
}

/// `None` for a number that no packet has.
fn protocol_match(number: u16, negated: bool) -> Option<Option<ProtocolMatch>> {
    let number = u8::try_from(number).ok()?;
    Some((number != 0 || negated).then_some(ProtocolMatch { negated, number }))
}

/// A device name and its mask: whole when the mask covers the closing zero, else a beginning. `None` when the mask has holes, or
/// covers something behind the closing zero.
fn device_match(head: &[u8], name_at: usize, mask_at: usize, negated: bool) -> Option<Option<Box<DeviceMatch>>> {
    let (field, mask) = (head.get(name_at..name_at + DEVICE)?, head.get(mask_at..mask_at + DEVICE)?);
    let covered = mask.iter().take_while(|byte| **byte == u8::MAX).count();
    let (compared, ignored) = (field.get(..covered)?, mask.get(covered..)?);
    let end = compared.iter().position(|byte| *byte == 0);
    let behind = compared.get(end.unwrap_or(covered)..)?;
    if ignored.iter().chain(behind).any(|byte| *byte != 0) {
        return None;
    }
    // `eth+` is stored with its plus, which the mask leaves out.
    let found = DeviceMatch { negated, name: name_of(compared), prefix: end.is_none() };
    Some((covered != 0 || negated).then(|| Box::new(found)))
}
