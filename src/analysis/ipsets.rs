//! What a rule asks of a packet by an ipset, where the set was read whole and stays as it is.

use std::collections::BTreeSet;
use std::net::IpAddr;

use super::native::Reading;
use crate::model::{Body, Family, Interface, IpSet, Rule, Ruleset, Snapshot, Table};
use crate::nft::Expression;
use crate::packet::{Condition, Device, Field};
use crate::xt::ipset::Entry;
use crate::xt::matches::Set;
use crate::xt::{self, Action, Match, SetKey, Target, Unknown, Way};

/// Elements that are asked one by one; of larger sets it is not known what they hold.
const MOST: usize = 2048;
/// Lists of sets within lists.
const DEPTH: usize = 4;
const TCP: u8 = 6;
const UDP: u8 = 17;

/// The ipsets of a snapshot that can be asked.
#[derive(Debug, Clone, Default)]
pub struct IpSets<'a> {
    sets: Vec<&'a IpSet>,
    /// The devices by their numbers, where they are known.
    interfaces: Option<&'a [Interface]>,
}

impl<'a> IpSets<'a> {
    /// Those whose elements do not go by themselves and that no rule changes.
    #[must_use]
    pub fn of(snapshot: &'a Snapshot) -> Self {
        let interfaces = snapshot.interfaces.as_deref();
        if snapshot.ipsets.is_empty() {
            return Self { sets: Vec::new(), interfaces };
        }
        let tables = snapshot.rulesets().iter().flat_map(|ruleset: &Ruleset| &ruleset.tables);
        let rules = tables.flat_map(|table| {
            table.chains.iter().flat_map(move |chain| chain.rules.iter().map(move |rule| (table, rule)))
        });
        let changes: Option<Vec<Vec<&str>>> = rules.map(|(table, rule)| changes(table, rule)).collect();
        let Some(changes) = changes else { return Self { sets: Vec::new(), interfaces } };
        let changed = with_members(snapshot, changes.concat());
        let stays = |set: &&IpSet| set.header.timeout.is_none() && !changed.contains(set.name.as_str());
        Self { sets: snapshot.ipsets.iter().filter(stays).collect(), interfaces }
    }

    /// The elements of this set do not change by themselves or by a rule.
    #[must_use]
    pub fn holds_still(&self, name: &str) -> bool {
        self.sets.iter().any(|set| set.name == name)
    }

    /// What a rule in a table of this family asks, its sets looked into and its devices named.
    #[must_use]
    pub fn condition(&self, reading: &Reading<'_>, family: Family) -> Condition {
        let condition = reading.rule.condition_by(&|set| self.asked(set, family == Family::Ip6));
        let condition = condition.replaced(&|part| self.named(part));
        match reading.ipv6 {
            None => condition,
            Some(ipv6) => Condition::All(vec![Condition::Ipv6(ipv6), condition]),
        }
    }

    /// The device of a number; one that none has is gone.
    fn named(&self, part: &Condition) -> Option<Condition> {
        let Condition::Numbered { device, index } = part else { return None };
        let known = self.interfaces?.iter().find(|interface| interface.index == *index);
        Some(known.map_or(Condition::Any(Vec::new()), |known| Condition::Device {
            device: *device,
            name: known.name.clone(),
            prefix: false,
        }))
    }

    fn asked(&self, asked: &Set, ipv6: bool) -> Option<Condition> {
        let plain = asked.packets.is_none() && asked.bytes.is_none();
        let found = plain.then(|| self.holds(&asked.key, asked.nomatch, ipv6, DEPTH))?;
        Some(found?.negated_if(asked.negated))
    }

    /// What the packet of this family must have to be in the set, or to be one of its `exceptions`; `None` where that is not known.
    fn holds(&self, key: &SetKey, exceptions: bool, ipv6: bool, depth: usize) -> Option<Condition> {
        let (name, ways) = (key.name.as_str(), key.ways.as_slice());
        let set = self.sets.iter().find(|set| set.name == name)?;
        let elements = set.elements.as_ref().filter(|elements| elements.len() <= MOST)?;
        if depth == 0 || !set.header.unknown.is_empty() {
            return None;
        }
        // A set of the other family holds no packet of this one, nor does one that wants more than the rule looks up.
        let family = if ipv6 { 10 } else { 2 };
        if set.family != 0 && set.family != family || ways.len() < dimensions(&set.kind)? {
            return Some(Condition::Any(Vec::new()));
        }
        let some = elements.iter().any(|entry| entry.flags & Entry::NOMATCH != 0);
        if some || exceptions && (set.kind.contains("net") || set.kind == "list:set") {
            return excepting(set, elements, ways, exceptions);
        }
        let one = |entry: &Entry| match &entry.set {
            Some(member) => {
                let key = SetKey { name: member.clone(), ways: ways.to_vec() };
                let holds = self.holds(&key, false, ipv6, depth - 1);
                Some(holds.unwrap_or_else(|| Condition::Opaque(format!("ipset {member}"))))
            }
            None => element(set, entry, ways),
        };
        Some(Condition::Any(elements.iter().map(one).collect::<Option<_>>()?))
    }
}

/// These sets, and those that are listed in them: what is added to a list goes to one of its members.
fn with_members<'a>(snapshot: &'a Snapshot, mut waiting: Vec<&'a str>) -> BTreeSet<&'a str> {
    let mut found = BTreeSet::new();
    while let Some(name) = waiting.pop() {
        if found.insert(name) {
            let lists = snapshot.ipsets.iter().filter(|set| set.name == name);
            waiting
                .extend(lists.flat_map(|set| set.elements.iter().flatten()).filter_map(|entry| entry.set.as_deref()));
        }
    }
    found
}

/// The sets that a rule adds to or deletes from; `None` where it may be any.
fn changes<'a>(table: &'a Table, rule: &'a Rule) -> Option<Vec<&'a str>> {
    let held = |name: &str, revision: u8, data: &[u8]| -> Option<Vec<&'a str>> {
        let indices = xt::set_indices(true, name, revision, data);
        let names: Option<Vec<&str>> =
            indices.iter().map(|index| table.ipsets.get(index).map(String::as_str)).collect();
        // The target always names one; where none is found, it is not read.
        names.filter(|found| name != "SET" || !found.is_empty())
    };
    match &rule.body {
        Body::Xt(body) => {
            // A rule whose text is not understood may say anything.
            let text = |part: &Match| matches!(part, Match::Unknown(unknown) if matches!(**unknown, Unknown::Rule(_)));
            match &body.action {
                _ if body.matches.iter().any(text) => None,
                Action::Target(Target::SetTarget(target)) => {
                    Some([&target.add, &target.delete].into_iter().flatten().map(|key| key.name.as_str()).collect())
                }
                Action::Target(Target::Unknown(unknown)) => match &**unknown {
                    Unknown::Bytes { name, revision, data } => held(name, *revision, data),
                    Unknown::Text { name, .. } if name != "SET" => Some(Vec::new()),
                    _ => None,
                },
                _ => Some(Vec::new()),
            }
        }
        // In a chain of nft's the target is held by its bytes: whatever set it names may change.
        Body::Nft(native) => {
            let held = native.expressions.iter().map(|part| match part {
                Expression::Target { name, revision, data } => held(name, *revision, data),
                Expression::Unknown { name, .. } if name == "target" || name.starts_with("xt ") => None,
                _ => Some(Vec::new()),
            });
            Some(held.collect::<Option<Vec<_>>>()?.concat())
        }
    }
}

/// Ends of the packet that a type of set looks up; `None` for types that are not followed.
fn dimensions(kind: &str) -> Option<usize> {
    Some(match kind {
        "bitmap:ip" | "bitmap:port" | "hash:ip" | "hash:net" | "list:set" => 1,
        "hash:ip,port" | "hash:net,port" | "hash:ip,mark" | "hash:net,iface" | "hash:net,net" => 2,
        "hash:ip,port,ip" | "hash:ip,port,net" | "hash:net,port,net" => 3,
        _ => return None,
    })
}

/// A set with exceptions: of all networks that hold the packet the smallest decides (`mtype_test_cidrs`). With `wanted` exceptions those
/// match that are such (`IPSET_FLAG_RETURN_NOMATCH`).
fn excepting(set: &IpSet, elements: &[Entry], ways: &[Way], wanted: bool) -> Option<Condition> {
    // In sets of two networks it is not so simple.
    let network = |entry: &Entry| match set.kind.as_str() {
        "hash:net" | "hash:net,port" => Some((entry.address?, entry.bits)),
        "hash:ip,port,net" => Some((entry.second?, entry.second_bits)),
        _ => None,
    };
    let one = |entry: &Entry| {
        let (address, bits) = network(entry)?;
        let (first, last) = span(address, bits);
        let plain = Entry { flags: entry.flags & !Entry::NOMATCH, ..entry.clone() };
        Some(((first, last), entry.flags & Entry::NOMATCH != 0, element(set, &plain, ways)?))
    };
    let all: Vec<_> = elements.iter().map(one).collect::<Option<_>>()?;
    let within = |((from, to), ..): &((u128, u128), bool, Condition), (first, last): (u128, u128)| {
        first <= *from && *to <= last && (first, last) != (*from, *to)
    };
    let clause = |(span, _, condition): &((u128, u128), bool, Condition)| {
        let others = all.iter().filter(|other| other.1 != wanted && within(other, *span));
        let others: Vec<Condition> = others.map(|(.., condition)| condition.clone()).collect();
        Condition::All(vec![condition.clone(), Condition::Not(Box::new(Condition::Any(others)))])
    };
    Some(Condition::Any(all.iter().filter(|element| element.1 == wanted).map(clause).collect()))
}

fn element(set: &IpSet, entry: &Entry, ways: &[Way]) -> Option<Condition> {
    // An exception takes back what a wider network gives.
    let known = entry.flags & !Entry::WILDCARD == 0 && entry.unknown.is_empty() && set.header.bitmask.is_none();
    let way = |at: usize| ways.get(at).filter(|_| known);
    let mut all = Vec::new();
    let first = *way(0)?;
    if let Some(address) = entry.address {
        all.push(network(address, entry.bits.or(set.header.netmask), first));
    }
    // A bitmap of ports looks its ports up first, all others second.
    let at = usize::from(entry.address.is_some());
    if let Some(port) = entry.port {
        let field = match way(at)? {
            Way::Source => Field::SourcePort,
            Way::Destination => Field::DestinationPort,
        };
        let protocols = match entry.protocol {
            Some(protocol @ (TCP | UDP)) => vec![protocol],
            None if set.kind == "bitmap:port" => vec![TCP, UDP],
            _ => return None,
        };
        let of = |protocol: &u8| Condition::equals(Field::Protocol, *protocol);
        all.extend([Condition::Any(protocols.iter().map(of).collect()), Condition::equals(field, port)]);
    }
    if let Some(address) = entry.second {
        let at = if entry.port.is_some() { 2 } else { 1 };
        all.push(network(address, entry.second_bits, *way(at)?));
    }
    if let Some(mark) = entry.mark {
        let mask = set.header.markmask.unwrap_or(u32::MAX).into();
        all.push(Condition::Masked { field: Field::Mark, mask, value: mark.into() });
    }
    if let Some(name) = &entry.device {
        let device = if *way(1)? == Way::Source { Device::Input } else { Device::Output };
        all.push(Condition::Device { device, name: name.clone(), prefix: entry.flags & Entry::WILDCARD != 0 });
    }
    (!all.is_empty() && entry.mac.is_none()).then_some(Condition::All(all))
}

fn network(address: IpAddr, bits: Option<u8>, way: Way) -> Condition {
    let field = if way == Way::Source { Field::Source } else { Field::Destination };
    let (first, last) = span(address, bits);
    Condition::Range(field, first, last)
}

/// First and last address of a network.
fn span(address: IpAddr, bits: Option<u8>) -> (u128, u128) {
    let (number, width) = match address {
        IpAddr::V4(address) => (u128::from(u32::from(address)), 32),
        IpAddr::V6(address) => (u128::from(address), 128),
    };
    let free = width - bits.map_or(width, u32::from).min(width);
    let rest = 1_u128.checked_shl(free).map_or(u128::MAX, |size| size - 1);
    (number & !rest, number | rest)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::packet::{Answer, DeviceName, Known, Packet};

    fn set(name: &str, kind: &str, elements: Vec<Entry>) -> IpSet {
        let family = if kind == "list:set" || kind == "bitmap:port" { 0 } else { 2 };
        IpSet { name: name.to_owned(), kind: kind.to_owned(), family, elements: Some(elements), ..IpSet::default() }
    }

    fn address(text: &str, bits: Option<u8>) -> Entry {
        Entry { address: Some(text.parse().expect("an address")), bits, ..Entry::default() }
    }

    fn ask(sets: &[IpSet], name: &str, ways: &[Way], ipv6: bool) -> Answer {
        let known = IpSets { sets: sets.iter().collect(), interfaces: None };
        let packet = Packet {
            source: Known::Is("10.0.0.1".parse().expect("an address")),
            destination: Known::Is("192.168.7.7".parse().expect("an address")),
            protocol: Known::Is(TCP),
            source_port: Known::Is(4000),
            destination_port: Known::Is(80),
            mark: Known::Is(0x1234),
            output: Known::from_option(DeviceName::new("eth0")),
            input: Known::Absent,
            ..Packet::default()
        };
        let asked = Set {
            negated: false,
            key: SetKey { name: name.to_owned(), ways: ways.to_vec() },
            nomatch: false,
            keeps_counters: false,
            keeps_subcounters: false,
            packets: None,
            bytes: None,
        };
        known.asked(&asked, ipv6).map_or(Answer::CannotKnow, |condition| condition.ask(&packet))
    }

    #[test]
    fn sets_that_were_read_answer_and_others_do_not() {
        use Answer::{CannotKnow, No, Yes};
        use Way::{Destination as D, Source as S};
        let port = |entry: Entry, protocol, port| Entry { port: Some(port), protocol, ..entry };
        let http = port(address("192.168.7.7", None), Some(TCP), 80);
        let three = Entry { second: address("10.0.0.0", None).address, second_bits: Some(8), ..http.clone() };
        let device =
            Entry { device: Some("eth".to_owned()), flags: Entry::WILDCARD, ..address("192.168.0.0", Some(16)) };
        let mut masked = set("masked", "hash:ip", vec![address("192.168.7.0", None)]);
        masked.header.netmask = Some(24);
        let mut marks = set("marks", "hash:ip,mark", vec![Entry { mark: Some(0x34), ..address("10.0.0.1", None) }]);
        marks.header.markmask = Some(0xff);
        let mut unread = set("unread", "hash:ip", Vec::new());
        unread.elements = None;
        let exception = Entry { flags: Entry::NOMATCH, ..address("10.0.0.0", Some(8)) };
        let member = |name: &str| Entry { set: Some(name.to_owned()), ..Entry::default() };
        let sets = [
            set("ip", "hash:ip", vec![address("10.0.0.1", None), address("10.0.0.2", None)]),
            set("net", "hash:net", vec![address("192.168.0.0", Some(16))]),
            set("all", "hash:net", vec![address("0.0.0.0", Some(0))]),
            set("out", "hash:net", vec![exception.clone()]),
            set(
                "holes",
                "hash:net",
                vec![
                    address("0.0.0.0", Some(1)),
                    exception,
                    address("10.0.0.0", Some(24)),
                    address("10.0.1.0", Some(24)),
                ],
            ),
            set("http", "hash:ip,port", vec![http]),
            set("three", "hash:ip,port,net", vec![three]),
            set("ports", "bitmap:port", vec![port(Entry::default(), None, 80)]),
            set("device", "hash:net,iface", vec![device]),
            set("list", "list:set", vec![member("net"), member("unread")]),
            set("loop", "list:set", vec![member("loop")]),
            set("mac", "hash:mac", vec![Entry { mac: Some([2; 6]), ..Entry::default() }]),
            set("empty", "hash:ip", vec![]),
            masked,
            marks,
            unread,
        ];
        for (name, ways, wanted) in [
            ("ip", &[S][..], Yes),
            ("ip", &[D], No),
            ("ip", &[S, D], Yes),
            ("net", &[D], Yes),
            ("net", &[S], No),
            ("all", &[S], Yes),
            ("out", &[S], No),
            ("holes", &[S], Yes),
            ("holes", &[D], No),
            ("masked", &[D], Yes),
            ("masked", &[S], No),
            ("http", &[D, D], Yes),
            ("http", &[D, S], No),
            // Too few ends are looked up, so that nothing is found.
            ("http", &[D], No),
            ("three", &[D, D, S], Yes),
            ("three", &[D, D, D], No),
            ("ports", &[D], Yes),
            ("ports", &[S], No),
            ("marks", &[S, S], Yes),
            ("device", &[D, D], Yes),
            ("device", &[D, S], No),
            ("list", &[D], Yes),
            ("list", &[S], CannotKnow),
            ("loop", &[S], CannotKnow),
            ("mac", &[S], CannotKnow),
            ("empty", &[S], No),
            ("unread", &[S], CannotKnow),
            ("absent", &[S], CannotKnow),
        ] {
            assert_eq!(ask(&sets, name, ways, false), wanted, "{name} {ways:?}");
        }
        assert_eq!(ask(&sets, "ip", &[S], true), No, "the set is of the other family");
    }

    #[test]
    fn a_target_that_is_not_read_may_change_any_set() {
        let table = Table { ipsets: [(3, "a".to_owned())].into(), ..Table::default() };
        let changed = |unknown: Unknown| {
            let action = Action::Target(Target::Unknown(Box::new(unknown)));
            let rule = xt::Rule { ip: xt::IpPart::default(), matches: Vec::new(), action };
            let rule = Rule { counters: None, handle: None, body: Body::Xt(Box::new(rule)), native: None };
            changes(&table, &rule).map(|names| names.join(","))
        };
        let bytes = |name: &str, index: u16| {
            let [low, high] = index.to_ne_bytes();
            let none = [0xff, 0xff, 0, 0];
            let data = [[low, high, 1, 2], none, none, [0; 4], [0xff; 4]].concat();
            Unknown::Bytes { name: name.to_owned(), revision: 9, data }
        };
        assert_eq!(changed(bytes("SET", 3)).as_deref(), Some("a"));
        assert_eq!(changed(bytes("SET", 4)), None);
        assert_eq!(changed(Unknown::Bytes { name: "SET".to_owned(), revision: 3, data: Vec::new() }), None);
        assert_eq!(changed(bytes("FOO", 3)).as_deref(), Some(""));
        let words = |name: &str| Unknown::Text { name: name.to_owned(), words: Vec::new() };
        assert_eq!(changed(words("SET")), None);
        assert_eq!(changed(words("FOO")).as_deref(), Some(""));
        assert_eq!(changed(Unknown::Rule("-j SET".to_owned())), None);
    }
}
