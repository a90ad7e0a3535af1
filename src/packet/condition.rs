//! Conditions over a packet's fields, answered in three values.

use std::net::IpAddr;

use super::{Field, Known, Packet};

/// A device that a packet has.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Device {
    /// Came in by.
    Input,
    /// Leaves by.
    Output,
    /// Port of a bridge that it came in by.
    BridgeInput,
    /// Port of a bridge that it leaves by.
    BridgeOutput,
}

/// What a match asks.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Condition {
    /// Every packet.
    Always,
    /// The field lies between both, ends included.
    Range(Field, u128, u128),
    /// The field's bits under the mask equal the value.
    Masked {
        /// Which field.
        field: Field,
        /// Which bits.
        mask: u128,
        /// Their value.
        value: u128,
    },
    /// Some bit of the mask is set.
    AnyBit(Field, u128),
    /// The packet has the field at all: without it many a match fails, negated or not.
    Has(Field),
    /// The device has this name, or begins with it.
    Device {
        /// Which device.
        device: Device,
        /// Its name or the beginning of it.
        name: String,
        /// `name` is a beginning (`eth+`).
        prefix: bool,
    },
    /// The device has this number: which that is, the namespace's list tells.
    Numbered {
        /// Which device.
        device: Device,
        /// `ifindex`
        index: u32,
    },
    /// A socket of this namespace owns the packet.
    Owned,
    /// Some further group of the owner lies between both, ends included.
    InGroup(u32, u32),
    /// The source (`false`) or destination (`true`) is an address of this namespace.
    Local {
        /// The destination rather than the source.
        destination: bool,
    },
    /// The packet is one of IPv6 (`true`) or IPv4: asked where rules see both.
    Ipv6(bool),
    /// All of these.
    All(Vec<Condition>),
    /// Any of these.
    Any(Vec<Condition>),
    /// The opposite.
    Not(Box<Condition>),
    /// Something that is not modelled: named, so that an answer can say what it hangs on.
    Opaque(String),
}

/// Yes, no, or cannot know.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Answer {
    /// It holds.
    Yes,
    /// It does not hold.
    No,
    /// It may hold or not.
    CannotKnow,
}

impl Answer {
    fn from_known<T>(known: &Known<T>, test: impl FnOnce(&T) -> bool) -> Self {
        match known {
            Known::Unknown => Self::CannotKnow,
            // What does not exist matches nothing; its negation therefore matches (xt_owner.c, nft_meta.c for owners).
            Known::Absent => Self::No,
            Known::Is(value) => Self::from(test(value)),
        }
    }

    /// The opposite.
    #[must_use]
    pub fn negated(self) -> Self {
        match self {
            Self::Yes => Self::No,
            Self::No => Self::Yes,
            Self::CannotKnow => Self::CannotKnow,
        }
    }
}

impl From<bool> for Answer {
    fn from(holds: bool) -> Self {
        if holds { Self::Yes } else { Self::No }
    }
}

impl Condition {
    /// This condition, or its opposite.
    #[must_use]
    pub fn negated_if(self, negated: bool) -> Self {
        if negated { Self::Not(Box::new(self)) } else { self }
    }

    /// This condition on a field, or its opposite; either fails on a packet that has no such field.
    #[must_use]
    pub fn negated_where_present(self, field: Field, negated: bool) -> Self {
        if negated { Self::All(vec![Self::Has(field), Self::Not(Box::new(self))]) } else { self }
    }

    /// The field equals the value.
    #[must_use]
    pub fn equals(field: Field, value: impl Into<u128>) -> Self {
        let value = value.into();
        Self::Range(field, value, value)
    }

    /// The same with every elementary condition replaced for which there is another.
    #[must_use]
    pub fn replaced(self, by: &impl Fn(&Condition) -> Option<Condition>) -> Self {
        let each = |parts: Vec<Self>| parts.into_iter().map(|part| part.replaced(by)).collect();
        match self {
            Self::All(parts) => Self::All(each(parts)),
            Self::Any(parts) => Self::Any(each(parts)),
            Self::Not(inner) => Self::Not(Box::new(inner.replaced(by))),
            elementary => by(&elementary).unwrap_or(elementary),
        }
    }

    /// Whether the packet fulfils it.
    #[must_use]
    pub fn ask(&self, packet: &Packet) -> Answer {
        match self {
            Self::Always => Answer::Yes,
            Self::Opaque(_) | Self::Numbered { .. } => Answer::CannotKnow,
            Self::Range(field, from, to) => packet.ask(*field, |value| (*from..=*to).contains(&value)),
            Self::Masked { field, mask, value } => packet.ask(*field, |bits| bits & mask == *value),
            Self::AnyBit(Field::State, mask) if packet.doubtful_states & low(*mask) != 0 => {
                match packet.ask(Field::State, |bits| low(bits) & low(*mask) & !packet.doubtful_states != 0) {
                    Answer::No => Answer::CannotKnow,
                    other => other,
                }
            }
            Self::AnyBit(field, mask) => packet.ask(*field, |bits| bits & mask != 0),
            Self::Has(field) => packet.ask(*field, |_| true),
            Self::Device { device, name, prefix } => {
                let known = match device {
                    Device::Input => &packet.input,
                    Device::Output => &packet.output,
                    Device::BridgeInput => &packet.bridge_input,
                    Device::BridgeOutput => &packet.bridge_output,
                };
                let name = name.as_bytes();
                Answer::from_known(known, |own| match prefix {
                    true => own.as_bytes().starts_with(name),
                    false => own.as_bytes() == name,
                })
            }
            Self::Owned => Answer::from_known(&packet.uid, |_| true),
            // Where nobody owns it, it has no groups either.
            Self::InGroup(..) if packet.uid == Known::Absent => Answer::No,
            Self::InGroup(from, to) => {
                let between = |group: &u32| (*from..=*to).contains(group);
                Answer::from_known(&packet.groups, |groups| groups.all().iter().any(between))
            }
            Self::Local { destination } => {
                let known = if *destination { &packet.destination_local } else { &packet.source_local };
                Answer::from_known(known, |local| *local)
            }
            Self::Ipv6(wanted) => match (&packet.source, &packet.destination) {
                (Known::Is(end), _) | (_, Known::Is(end)) => Answer::from(end.is_ipv6() == *wanted),
                _ => Answer::CannotKnow,
            },
            // Without a connection a rule breaks off where it asks for its mark, whatever else it asks (xt_connmark.c, nft_ct.c).
            Self::Not(inner) if packet.connection_mark == Known::Absent && inner.asks_about(Field::ConnectionMark) => {
                Answer::No
            }
            Self::Not(inner) => inner.ask(packet).negated(),
            Self::All(inner) => first_of(inner, packet, Answer::No, Answer::Yes),
            Self::Any(inner) => first_of(inner, packet, Answer::Yes, Answer::No),
        }
    }

    /// Whether the condition asks about this field anywhere.
    #[must_use]
    pub fn asks_about(&self, wanted: Field) -> bool {
        match self {
            Self::Range(field, ..) | Self::AnyBit(field, _) | Self::Masked { field, .. } | Self::Has(field) => {
                *field == wanted
            }
            Self::All(inner) | Self::Any(inner) => inner.iter().any(|part| part.asks_about(wanted)),
            Self::Not(inner) => inner.asks_about(wanted),
            Self::Always
            | Self::Device { .. }
            | Self::Numbered { .. }
            | Self::Owned
            | Self::InGroup(..)
            | Self::Local { .. }
            | Self::Ipv6(_)
            | Self::Opaque(_) => false,
        }
    }

    /// Calls `each` with every elementary condition in it.
    pub fn visit(&self, each: &mut impl FnMut(&Condition)) {
        match self {
            Self::All(inner) | Self::Any(inner) => inner.iter().for_each(|part| part.visit(each)),
            Self::Not(inner) => inner.visit(each),
            elementary => each(elementary),
        }
    }
}

/// `decisive` as soon as one part gives it; `otherwise` when all parts give that; else cannot know.
fn first_of(parts: &[Condition], packet: &Packet, decisive: Answer, otherwise: Answer) -> Answer {
    let mut answer = otherwise;
    for part in parts {
        match part.ask(packet) {
            found if found == decisive => return decisive,
            Answer::CannotKnow => answer = Answer::CannotKnow,
            _ => {}
        }
    }
    answer
}

impl Packet {
    fn ask(&self, field: Field, test: impl FnOnce(u128) -> bool) -> Answer {
        Answer::from_known(&self.field(field), |value| test(*value))
    }
}

/// States are numbers of 32 bits.
fn low(bits: u128) -> u32 {
    u32::try_from(bits & u128::from(u32::MAX)).unwrap_or_default()
}

/// An address as a number. Rules never mix families, so IPv4 and IPv6 need no telling apart here.
#[must_use]
pub(crate) fn number(address: IpAddr) -> u128 {
    match address {
        IpAddr::V4(v4) => u32::from(v4).into(),
        IpAddr::V6(v6) => u128::from(v6),
    }
}

#[cfg(test)]
mod tests {
    use super::super::DeviceName;
    use super::*;

    #[test]
    fn unknown_stays_unknown_unless_it_cannot_matter() {
        let packet = Packet { protocol: Known::Is(6), ..Packet::default() };
        let tcp = Condition::equals(Field::Protocol, 6_u8);
        let owner = Condition::equals(Field::Uid, 1337_u32);
        let both = Condition::All(vec![tcp.clone(), owner.clone()]);
        assert_eq!(both.ask(&packet), Answer::CannotKnow);
        let udp = Condition::equals(Field::Protocol, 17_u8);
        assert_eq!(Condition::All(vec![owner.clone(), udp]).ask(&packet), Answer::No);
        assert_eq!(Condition::Any(vec![owner, tcp]).ask(&packet), Answer::Yes);
    }

    #[test]
    fn a_packet_without_socket_matches_no_owner_but_every_negated_one() {
        let packet = Packet { uid: Known::Absent, ..Packet::default() };
        let owner = Condition::equals(Field::Uid, 1337_u32);
        assert_eq!(owner.ask(&packet), Answer::No);
        assert_eq!(owner.negated_if(true).ask(&packet), Answer::Yes);
    }

    #[test]
    fn a_group_is_one_of_those_that_are_known() {
        let asks = Condition::InGroup(10, 19);
        let owned = |groups| Packet { uid: Known::Is(0), groups, ..Packet::default() };
        let listed = |groups: &[u32]| Known::from_option(super::super::Groups::new(groups));
        assert_eq!(asks.ask(&owned(listed(&[9, 19]))), Answer::Yes);
        assert_eq!(asks.ask(&owned(listed(&[9, 20]))), Answer::No);
        assert_eq!(asks.ask(&owned(listed(&[]))), Answer::No);
        assert_eq!(asks.ask(&owned(listed(&[9; 17]))), Answer::CannotKnow);
        let nobodys = Packet { uid: Known::Absent, ..Packet::default() };
        assert_eq!(asks.ask(&nobodys), Answer::No);
        assert_eq!(asks.negated_if(true).ask(&nobodys), Answer::Yes);
    }

    #[test]
    fn a_packet_without_the_field_matches_neither_way() {
        let port = Condition::equals(Field::SourcePort, 53_u16);
        let fragment = Packet { source_port: Known::Absent, ..Packet::default() };
        for negated in [false, true] {
            assert_eq!(port.clone().negated_where_present(Field::SourcePort, negated).ask(&fragment), Answer::No);
        }
        let other = Packet { source_port: Known::Is(80), ..Packet::default() };
        assert_eq!(port.clone().negated_where_present(Field::SourcePort, true).ask(&other), Answer::Yes);
        assert_eq!(port.negated_where_present(Field::SourcePort, true).ask(&Packet::default()), Answer::CannotKnow);
    }

    #[test]
    fn a_device_prefix_matches_its_beginning_only() {
        let asks = |name: &str, prefix| Condition::Device { device: Device::Output, name: name.into(), prefix };
        let packet = Packet { output: Known::from_option(DeviceName::new("eth10")), ..Packet::default() };
        assert_eq!(asks("eth", true).ask(&packet), Answer::Yes);
        assert_eq!(asks("eth1", false).ask(&packet), Answer::No);
    }
}
