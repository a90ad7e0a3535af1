//! Packets to ask a snapshot's rules about: one that no rule speaks of by name, to be changed as single rules want it.

use std::cell::Cell;
use std::collections::BTreeSet;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use super::eval::{End, Rulebase};
use super::summary::{Does, Further};
use crate::model::{Hook, RuleRef, Snapshot};
use crate::packet::{Condition, Device, DeviceName, Field, Known, Packet, number};
use crate::xt::{self, AddressMatch};

/// Values of one kind that are asked about: a bound on the time for rule sets that speak of thousands.
const MOST: usize = 200;
/// As many in any case.
const FEWEST: usize = 20;
/// Rules that the questions about one kind may pass together: each question passes all that stand before the one that decides.
const PASSED: usize = 1_000_000;

/// Ranges of values that some rule speaks of.
#[derive(Debug, Default)]
pub(super) struct Named {
    pub(super) uids: BTreeSet<(u32, u32)>,
    pub(super) gids: BTreeSet<(u32, u32)>,
    pub(super) marks: BTreeSet<(u32, u32)>,
    pub(super) ports: BTreeSet<(u16, u16)>,
    pub(super) sources: BTreeSet<(IpAddr, String)>,
    pub(super) destinations: BTreeSet<(IpAddr, String)>,
    conditions: Vec<Condition>,
    /// Values of one kind that are asked about.
    most: usize,
    /// More values are spoken of than are asked about.
    more: bool,
}

/// Asks the rules of one family.
pub(super) struct Asker<'a> {
    rules: Rulebase<'a>,
    ipv6: bool,
    pub(super) named: Named,
    outbound: Packet,
    inbound: Packet,
    /// More rules might have been asked about by packets made to their measure.
    cut: Cell<bool>,
}

/// The bit of a new connection (`XT_CONNTRACK_STATE_BIT(IP_CT_NEW)`).
const NEW: u32 = 1 << 3;
const TCP: u8 = 6;
/// What a pod's device is called where the snapshot does not tell.
const DEVICE: &str = "eth0";

impl<'a> Asker<'a> {
    pub(super) fn new(snapshot: &'a Snapshot, ipv6: bool) -> Self {
        let rules = Rulebase::of(snapshot);
        let count = rules.count();
        let mut named = Named { most: (PASSED / count.max(1)).clamp(FEWEST, MOST), ..Named::default() };
        rules.each(ipv6, |rule, condition| named.gather(rule, condition));
        let interface = snapshot.interfaces.iter().flatten().find(|interface| !interface.loopback && interface.up);
        let own = interface.and_then(|interface| {
            let own = interface.addresses.iter().map(|(address, _)| *address);
            own.into_iter().find(|address| address.is_ipv6() == ipv6)
        });
        let own = own.unwrap_or_else(|| named.unnamed_address(&[Field::Source, Field::Destination], ipv6));
        let device = Known::from_option(DeviceName::new(interface.map_or(DEVICE, |interface| interface.name.as_str())));
        let packet = Packet {
            protocol: Known::Is(TCP),
            destination_port: Known::Is(named.unnamed_port(Field::DestinationPort)),
            source_port: Known::Is(named.unnamed_port(Field::SourcePort)),
            mark: Known::Is(0),
            connection_mark: Known::Is(0),
            state: Known::Is(NEW),
            ..Packet::default()
        };
        let outbound = Packet {
            source: Known::Is(own),
            destination: Known::Is(named.unnamed_address(&[Field::Destination], ipv6)),
            source_local: Known::Is(true),
            destination_local: Known::Is(false),
            output: device,
            input: Known::Absent,
            uid: Known::Is(named.unnamed_id(Field::Uid)),
            gid: Known::Is(named.unnamed_id(Field::Gid)),
            ..packet
        };
        let inbound = Packet {
            source: Known::Is(named.unnamed_address(&[Field::Source], ipv6)),
            destination: Known::Is(own),
            source_local: Known::Is(false),
            destination_local: Known::Is(true),
            input: device,
            output: Known::Absent,
            uid: Known::Absent,
            gid: Known::Absent,
            ..packet
        };
        Self { rules, ipv6, named, outbound, inbound, cut: Cell::new(false) }
    }

    /// The rules speak of more than was asked about.
    pub(super) fn more(&self) -> bool {
        self.named.more || self.cut.get()
    }

    /// A connection from the namespace to somewhere else. One that is redirected to a local port comes in again, by loopback.
    pub(super) fn outbound(&self, change: impl FnOnce(&mut Packet)) -> End {
        const WAY: [Hook; 6] =
            [Hook::Output, Hook::Postrouting, Hook::Egress, Hook::Ingress, Hook::Prerouting, Hook::Input];
        let mut packet = self.outbound;
        change(&mut packet);
        self.rules.through(&WAY, &packet, self.ipv6)
    }

    /// A connection from somewhere else to the namespace.
    pub(super) fn inbound(&self, change: impl FnOnce(&mut Packet)) -> End {
        let mut packet = self.inbound;
        change(&mut packet);
        self.rules.through(&[Hook::Ingress, Hook::Prerouting, Hook::Input], &packet, self.ipv6)
    }

    /// Rules of a hook that end otherwise than the rest for a packet made to the measure of them and of the jumps that lead there,
    /// though no single property of it does: those that are not `told` already, and whether they name an owner or a mark and leave
    /// it alone. Loopback is left out, and so is everything but TCP.
    pub(super) fn further(&self, hook: Hook, told: &dyn Fn(&Packet) -> bool, usual: &End) -> Vec<(Further, bool)> {
        let base = if hook == Hook::Output { &self.outbound } else { &self.inbound };
        let mut found: Vec<(Further, bool)> = Vec::new();
        let mut left = 5 * self.named.most;
        let mut fit =
            |condition: &Condition, packet: &Packet| made_to_measure(condition, packet).filter(|it| !by_loopback(it));
        let whole = self.rules.made_for(hook, self.ipv6, base, &mut fit, &mut |name, packet| {
            if packet == base || told(packet) || found.iter().any(|(known, _)| known.rule == *name) {
                return;
            }
            if left == 0 || found.len() >= MOST {
                self.cut.set(true);
                return;
            }
            left -= 1;
            let end = self.of(hook, packet);
            let (by, does) = match &end {
                End::Untouched { by } => (by.as_ref(), Does::LeavesAlone),
                End::Dropped { by } => (by.as_ref(), Does::Drops),
                End::Redirected { by, .. } => (Some(by), Does::Redirects),
                End::Undecided { .. } => return,
            };
            // Where it is one of several, the rule that leads to all of them decides.
            let one_of = matches!(&end, End::Redirected { to, .. } if to.several);
            let by = by.filter(|by| *by == name || one_of && !found.iter().any(|(known, _)| known.rule == **by));
            if let Some(name) = by.filter(|_| !end.same(usual)) {
                let owner = packet.uid != base.uid || packet.gid != base.gid || packet.mark != base.mark;
                found.push((Further { rule: name.clone(), does }, owner && does == Does::LeavesAlone));
            }
        });
        if !whole {
            self.cut.set(true);
        }
        found
    }
}

impl Asker<'_> {
    /// What becomes of packets made to the measure of these rules, for those that name neither an owner nor a mark, and are not about
    /// loopback.
    pub(super) fn made(&self, hook: Hook, wanted: &[RuleRef]) -> Vec<(RuleRef, Packet, End)> {
        let base = if hook == Hook::Output { &self.outbound } else { &self.inbound };
        let mut fit =
            |condition: &Condition, packet: &Packet| made_to_measure(condition, packet).filter(|it| !by_loopback(it));
        let mut found: Vec<(RuleRef, Packet, End)> = Vec::new();
        self.rules.made_for(hook, self.ipv6, base, &mut fit, &mut |name, packet| {
            let same = (packet.uid, packet.gid, packet.mark) == (base.uid, base.gid, base.mark);
            let told = found.iter().any(|(known, ..)| known == name);
            if packet == base || !same || told || !wanted.contains(name) {
                return;
            }
            found.push((name.clone(), *packet, self.of(hook, packet)));
        });
        found
    }

    /// What becomes of a packet that begins at a hook.
    pub(super) fn of(&self, hook: Hook, packet: &Packet) -> End {
        match hook {
            Hook::Output => self.outbound(|asked| *asked = *packet),
            _ => self.inbound(|asked| *asked = *packet),
        }
    }
}

fn by_loopback(packet: &Packet) -> bool {
    let device = |device: &Known<DeviceName>| *device == Known::Is(DeviceName::LOOPBACK);
    let end = |end: &Known<IpAddr>| matches!(end, Known::Is(end) if end.is_loopback());
    device(&packet.input) || device(&packet.output) || end(&packet.source) || end(&packet.destination)
}

/// The packet changed so that it fulfils the condition, as far as single values can do that; `None` where they cannot.
fn made_to_measure(condition: &Condition, base: &Packet) -> Option<Packet> {
    let mut packet = *base;
    fulfil(condition, &mut packet);
    (condition.ask(&packet) == crate::packet::Answer::Yes).then_some(packet)
}

fn fulfil(condition: &Condition, packet: &mut Packet) {
    match condition {
        Condition::All(parts) => parts.iter().for_each(|part| fulfil(part, packet)),
        Condition::Any(parts) => parts.iter().take(1).for_each(|part| fulfil(part, packet)),
        Condition::Range(field, value, _) | Condition::Masked { field, value, .. } => set(*field, *value, packet),
        Condition::Device { device, name, .. } => match device {
            Device::Input => packet.input = Known::from_option(DeviceName::new(name)),
            Device::Output => packet.output = Known::from_option(DeviceName::new(name)),
            Device::BridgeInput | Device::BridgeOutput => {}
        },
        _ => {}
    }
}

fn set(field: Field, value: u128, packet: &mut Packet) {
    let small = Known::from_option(u32::try_from(value).ok());
    let address = |ipv6: bool| match ipv6 {
        true => IpAddr::from(Ipv6Addr::from(value)),
        false => IpAddr::from(Ipv4Addr::from(u32::try_from(value).unwrap_or_default())),
    };
    let is_v6 = |end: &Known<IpAddr>| matches!(end, Known::Is(end) if end.is_ipv6());
    match field {
        Field::Source => packet.source = Known::Is(address(is_v6(&packet.source))),
        Field::Destination => packet.destination = Known::Is(address(is_v6(&packet.destination))),
        Field::SourcePort => packet.source_port = Known::from_option(u16::try_from(value).ok()),
        Field::DestinationPort => packet.destination_port = Known::from_option(u16::try_from(value).ok()),
        // A packet from outside has no owner, and none can be given to it.
        Field::Uid if packet.uid != Known::Absent => packet.uid = small,
        Field::Gid if packet.gid != Known::Absent => packet.gid = small,
        Field::Mark => packet.mark = small,
        _ => {}
    }
}

impl Named {
    fn gather(&mut self, rule: &xt::Rule, condition: &Condition) {
        let network = |part: &AddressMatch| (part.address, part.words());
        for (part, into) in [(&rule.ip.source, &mut self.sources), (&rule.ip.destination, &mut self.destinations)] {
            if let Some(part) = part {
                self.more |= !insert(into, network(part), self.most);
            }
        }
        condition.visit(&mut |condition| {
            self.value(condition);
            self.conditions.push(condition.clone());
        });
    }

    fn value(&mut self, condition: &Condition) {
        let (field, from, to) = match condition {
            Condition::Range(field, from, to) => (*field, *from, *to),
            Condition::Masked { field, value, .. } => (*field, *value, *value),
            _ => return,
        };
        let small = (u32::try_from(from).unwrap_or(u32::MAX), u32::try_from(to).unwrap_or(u32::MAX));
        let port = (u16::try_from(from).unwrap_or(u16::MAX), u16::try_from(to).unwrap_or(u16::MAX));
        let whole = match field {
            Field::Uid => insert(&mut self.uids, small, self.most),
            Field::Gid => insert(&mut self.gids, small, self.most),
            Field::Mark => insert(&mut self.marks, small, self.most),
            Field::DestinationPort => insert(&mut self.ports, port, self.most),
            _ => true,
        };
        self.more |= !whole;
    }

    fn is_named(&self, field: Field, value: u128) -> bool {
        self.conditions.iter().any(|condition| match condition {
            Condition::Range(asked, from, to) => *asked == field && (*from..=*to).contains(&value),
            Condition::Masked { field: asked, mask, value: wanted } => *asked == field && value & mask == *wanted,
            _ => false,
        })
    }

    /// The largest step between named values leads past them quickly.
    pub(super) fn unnamed_port(&self, field: Field) -> u16 {
        let ports = [39_999, 47_777, 20_001, 10_007, 5_003, 2_003, 61_001].into_iter();
        let mut ports = ports.chain((1024..u16::MAX).rev());
        ports.find(|port| !self.is_named(field, (*port).into())).unwrap_or(39_999)
    }

    /// No rule speaks of this number as a user's or a group's.
    pub(super) fn is_free(&self, id: u32) -> bool {
        !self.is_named(Field::Uid, id.into()) && !self.is_named(Field::Gid, id.into())
    }

    pub(super) fn unnamed_id(&self, field: Field) -> u32 {
        let mut ids = [1000, 1001, 2000, 65_532].into_iter().chain(1_000_000_000..1_000_001_000);
        ids.find(|id| !self.is_named(field, (*id).into())).unwrap_or(999_999)
    }

    /// An address that no rule's network of these fields holds; documentation prefixes first, they are nobody's.
    pub(super) fn unnamed_address(&self, fields: &[Field], ipv6: bool) -> IpAddr {
        let block4 = |a, b, c| IpAddr::from(Ipv4Addr::new(a, b, c, 77));
        let block6 = |prefix: u16| IpAddr::from(Ipv6Addr::new(prefix, 0xdb8, 0, 0, 0, 0, 0, 77));
        let blocks = match ipv6 {
            false => {
                [block4(198, 51, 100), block4(203, 0, 113), block4(9, 9, 9), block4(100, 64, 7), block4(172, 30, 7)]
            }
            true => [block6(0x2001), block6(0x2a00), block6(0x2600), block6(0x2400), block6(0xfd77)],
        };
        let [first, ..] = blocks;
        let free = |address: &IpAddr| !fields.iter().any(|field| self.is_named(*field, number(*address)));
        blocks.into_iter().find(free).unwrap_or(first)
    }
}

/// Adds a value unless there are enough; says whether it is there then.
fn insert<T: Ord>(into: &mut BTreeSet<T>, value: T, most: usize) -> bool {
    into.contains(&value) || (into.len() < most && into.insert(value))
}
