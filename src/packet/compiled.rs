//! Conditions in a form that is quickly asked: tests in a row, all of which have to hold, without text and without a walk from box to
//! box.
//!
//! It answers as [`Condition::ask`] does, in all three values: the tests below hold it to that.

use super::{Answer, Condition, Device, DeviceName, Field, Known, Packet};

/// What a rule asks, made ready for many packets.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Compiled {
    /// What it comes to where every test holds: yes, or unknown where something is asked that is not modelled.
    otherwise: Answer,
    tests: Box<[Test]>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
struct Test {
    asked: Asked,
    sense: Sense,
}

/// What a test's answer is turned into.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Sense {
    Plain,
    Opposite,
    /// The opposite, and no for a packet without a connection: it asks for the connection's mark.
    OppositeOfConnection,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Asked {
    /// The field's bits under the mask lie between both; `whole`: bits from the 32nd on count too, and have to be zero.
    Bits {
        field: Field,
        whole: bool,
        mask: u32,
        from: u32,
        to: u32,
    },
    /// The same, wider.
    Wide(Field, Box<Wide>),
    Has(Field),
    /// Some of these states.
    State(u32),
    Device(Device, DeviceName),
    DeviceFrom(Device, DeviceName),
    /// A device that cannot be: of a name too long for any.
    NoDevice(Device),
    Owned,
    InGroup(u32, u32),
    Local {
        destination: bool,
    },
    Ipv6(bool),
    Unknown,
    All(Box<[Test]>),
    Any(Box<[Test]>),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Wide {
    mask: u128,
    from: u128,
    to: u128,
}

impl Compiled {
    /// Makes a condition ready.
    #[must_use]
    pub fn of(condition: &Condition) -> Self {
        let mut tests = Vec::new();
        add(condition, &mut tests);
        let all = tests.len();
        tests.retain(|test| test.asked != Asked::Unknown);
        let otherwise = if tests.len() == all { Answer::Yes } else { Answer::CannotKnow };
        // What is quickly asked first: the order makes no difference to the answer.
        tests.sort_by_key(|test| matches!(test.asked, Asked::All(_) | Asked::Any(_)));
        Self { otherwise, tests: tests.into() }
    }

    /// The values of fields without which it cannot hold: field, mask and the value under it.
    pub fn required(&self) -> impl Iterator<Item = (Field, u128, u128)> {
        self.tests.iter().filter(|test| test.sense == Sense::Plain).filter_map(|test| match &test.asked {
            Asked::Bits { field, whole, mask, from, to } if from == to => {
                Some((*field, if *whole { u128::MAX } else { (*mask).into() }, (*from).into()))
            }
            Asked::Wide(field, wide) if wide.from == wide.to => Some((*field, wide.mask, wide.from)),
            _ => None,
        })
    }

    /// Whether the packet fulfils it.
    #[must_use]
    pub fn ask(&self, packet: &Packet) -> Answer {
        all(&self.tests, packet, self.otherwise)
    }
}

/// Adds the tests of a condition to those of which all have to hold.
fn add(condition: &Condition, tests: &mut Vec<Test>) {
    match condition {
        Condition::Always => {}
        Condition::All(parts) => parts.iter().for_each(|part| add(part, tests)),
        other => tests.push(test(other)),
    }
}

fn test(condition: &Condition) -> Test {
    let asked = match condition {
        Condition::Always => Asked::All(Box::default()),
        Condition::Opaque(_) | Condition::Numbered { .. } => Asked::Unknown,
        Condition::Range(field, from, to) => bits(*field, u128::MAX, *from, *to),
        Condition::Masked { field, mask, value } => bits(*field, *mask, *value, *value),
        Condition::AnyBit(Field::State, mask) => Asked::State(low(*mask)),
        Condition::AnyBit(field, mask) => bits(*field, *mask, 1, u128::MAX),
        Condition::Has(field) => Asked::Has(*field),
        Condition::Device { device, name, prefix } => match (DeviceName::new(name), prefix) {
            (Some(name), false) => Asked::Device(*device, name),
            (Some(name), true) => Asked::DeviceFrom(*device, name),
            (None, _) => Asked::NoDevice(*device),
        },
        Condition::Owned => Asked::Owned,
        Condition::InGroup(from, to) => Asked::InGroup(*from, *to),
        Condition::Local { destination } => Asked::Local { destination: *destination },
        Condition::Ipv6(wanted) => Asked::Ipv6(*wanted),
        Condition::All(_) => {
            let mut tests = Vec::new();
            add(condition, &mut tests);
            Asked::All(tests.into())
        }
        Condition::Any(parts) => Asked::Any(parts.iter().map(test).collect()),
        Condition::Not(inner) => {
            let sense = match inner.asks_about(Field::ConnectionMark) {
                true => Sense::OppositeOfConnection,
                false => Sense::Opposite,
            };
            let inner = test(inner);
            return match inner.sense {
                Sense::Plain => Test { sense, ..inner },
                _ => Test { asked: Asked::All([inner].into()), sense },
            };
        }
    };
    Test { asked, sense: Sense::Plain }
}

/// In 32 bits where they are enough.
fn bits(field: Field, mask: u128, from: u128, to: u128) -> Asked {
    let to = to.min(mask);
    let whole = mask == u128::MAX;
    let narrow = if whole { Some(u32::MAX) } else { u32::try_from(mask).ok() };
    match (narrow, u32::try_from(from), u32::try_from(to)) {
        (Some(mask), Ok(from), Ok(to)) => Asked::Bits { field, whole, mask, from, to },
        _ => Asked::Wide(field, Box::new(Wide { mask, from, to })),
    }
}

/// States are numbers of 32 bits.
fn low(bits: u128) -> u32 {
    u32::try_from(bits & u128::from(u32::MAX)).unwrap_or_default()
}

fn all(tests: &[Test], packet: &Packet, otherwise: Answer) -> Answer {
    let mut answer = otherwise;
    for test in tests {
        match test.ask(packet) {
            Answer::No => return Answer::No,
            Answer::CannotKnow => answer = Answer::CannotKnow,
            Answer::Yes => {}
        }
    }
    answer
}

fn any(tests: &[Test], packet: &Packet) -> Answer {
    let mut answer = Answer::No;
    for test in tests {
        match test.ask(packet) {
            Answer::Yes => return Answer::Yes,
            Answer::CannotKnow => answer = Answer::CannotKnow,
            Answer::No => {}
        }
    }
    answer
}

impl Test {
    #[inline]
    fn ask(&self, packet: &Packet) -> Answer {
        match self.sense {
            Sense::Plain => self.asked.ask(packet),
            Sense::Opposite => self.asked.ask(packet).negated(),
            Sense::OppositeOfConnection if packet.connection_mark == Known::Absent => Answer::No,
            Sense::OppositeOfConnection => self.asked.ask(packet).negated(),
        }
    }
}

impl Asked {
    fn ask(&self, packet: &Packet) -> Answer {
        match self {
            Self::Bits { field, whole, mask, from, to } => answer(packet.field(*field), |value| {
                let bits = low(value) & mask;
                (!*whole || value <= u128::from(u32::MAX)) && *from <= bits && bits <= *to
            }),
            Self::Wide(field, wide) => {
                answer(packet.field(*field), |value| (wide.from..=wide.to).contains(&(value & wide.mask)))
            }
            Self::Has(field) => answer(packet.field(*field), |_| true),
            Self::State(mask) if packet.doubtful_states & mask != 0 => {
                match answer(packet.state, |state| state & mask & !packet.doubtful_states != 0) {
                    Answer::No => Answer::CannotKnow,
                    other => other,
                }
            }
            Self::State(mask) => answer(packet.state, |state| state & mask != 0),
            Self::Device(device, name) => answer(packet.device(*device), |own| own == *name),
            Self::DeviceFrom(device, name) => {
                answer(packet.device(*device), |own| own.as_bytes().starts_with(name.as_bytes()))
            }
            Self::NoDevice(device) => answer(packet.device(*device), |_| false),
            Self::Owned => answer(packet.uid, |_| true),
            Self::InGroup(..) if packet.uid == Known::Absent => Answer::No,
            Self::InGroup(from, to) => {
                answer(packet.groups, |groups| groups.all().iter().any(|group| (*from..=*to).contains(group)))
            }
            Self::Local { destination: true } => answer(packet.destination_local, |local| local),
            Self::Local { destination: false } => answer(packet.source_local, |local| local),
            Self::Ipv6(wanted) => match (&packet.source, &packet.destination) {
                (Known::Is(end), _) | (_, Known::Is(end)) => Answer::from(end.is_ipv6() == *wanted),
                _ => Answer::CannotKnow,
            },
            Self::Unknown => Answer::CannotKnow,
            Self::All(tests) => all(tests, packet, Answer::Yes),
            Self::Any(tests) => any(tests, packet),
        }
    }
}

/// What does not exist matches nothing.
#[inline]
fn answer<T>(known: Known<T>, test: impl FnOnce(T) -> bool) -> Answer {
    match known {
        Known::Unknown => Answer::CannotKnow,
        Known::Absent => Answer::No,
        Known::Is(value) => Answer::from(test(value)),
    }
}

impl Packet {
    /// What is known of one of its devices.
    #[inline]
    fn device(&self, device: Device) -> Known<DeviceName> {
        match device {
            Device::Input => self.input,
            Device::Output => self.output,
            Device::BridgeInput => self.bridge_input,
            Device::BridgeOutput => self.bridge_output,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

    use super::*;
    use crate::packet::Groups;

    const CASES: usize = 100_000;

    /// Numbers that look random and are the same in each run (xorshift, Marsaglia 2003).
    struct Numbers(u64);

    impl Numbers {
        fn below(&mut self, end: u64) -> u64 {
            self.0 ^= self.0 << 13;
            self.0 ^= self.0 >> 7;
            self.0 ^= self.0 << 17;
            self.0 % end
        }

        fn one<T: Copy>(&mut self, of: &[T]) -> T {
            of[usize::try_from(self.below(of.len() as u64)).expect("small")]
        }

        fn known<T>(&mut self, value: impl FnOnce(&mut Self) -> T) -> Known<T> {
            match self.below(6) {
                0 => Known::Unknown,
                1 => Known::Absent,
                _ => Known::Is(value(self)),
            }
        }

        fn number(&mut self) -> u32 {
            self.one(&[0, 1, 2, 3, 6, 17, 64, 80, 0xff, 0x539, 0xffff, u32::MAX])
        }

        fn address(&mut self) -> IpAddr {
            match self.below(2) {
                0 => Ipv4Addr::from(self.number()).into(),
                _ => Ipv6Addr::from(self.wide()).into(),
            }
        }

        fn wide(&mut self) -> u128 {
            let low = u128::from(self.number());
            let high: u128 = self.one(&[0, 0, 0, 1 << 32, 0xfd << 120, u128::MAX << 32]);
            low | high
        }

        fn device(&mut self) -> &'static str {
            self.one(&["", "lo", "eth0", "eth1", "eth10", "veth0123456789a"])
        }

        fn field(&mut self) -> Field {
            self.one(&[
                Field::Protocol,
                Field::Source,
                Field::Destination,
                Field::DestinationPort,
                Field::Uid,
                Field::Mark,
                Field::ConnectionMark,
                Field::State,
                Field::SourceMac,
                Field::IsReply,
                Field::OriginalSource,
            ])
        }

        fn packet(&mut self) -> Packet {
            let mut packet = Packet {
                protocol: self.known(|of| of.one(&[1, 6, 17])),
                source: self.known(Self::address),
                destination: self.known(Self::address),
                source_local: self.known(|of| of.below(2) == 0),
                destination_local: self.known(|of| of.below(2) == 0),
                destination_port: self.known(|of| of.one(&[0, 80, 0x539, u16::MAX])),
                input: self.known(|of| DeviceName::new(of.device()).expect("short")),
                output: self.known(|of| DeviceName::new(of.device()).expect("short")),
                bridge_input: self.known(|of| DeviceName::new(of.device()).expect("short")),
                uid: self.known(Self::number),
                mark: self.known(Self::number),
                groups: self.known(|of| Groups::new(&[of.one(&[9, 10, 19]), of.one(&[20, 25])]).expect("few")),
                connection_mark: self.known(Self::number),
                state: self.known(|of| 1 << of.below(9)),
                doubtful_states: self.one(&[0, 0, 0x40, 0xc0, 0xffff_ffff]),
                source_mac: self.known(|of| (of.wide() & u128::from(u64::MAX)).try_into().expect("64 bits")),
                ..Packet::default()
            };
            packet.connection.is_reply = self.known(|of| of.below(2) == 0);
            packet.connection.original_source = self.known(Self::address);
            packet
        }

        fn condition(&mut self, depth: u64) -> Condition {
            let parts = |of: &mut Self| (0..of.below(4)).map(|_| of.condition(depth - 1)).collect::<Vec<_>>();
            match self.below(if depth == 0 { 10 } else { 16 }) {
                0 => Condition::Always,
                1 => Condition::Opaque("something".to_owned()),
                2 => Condition::Range(self.field(), self.wide(), self.wide()),
                3 => Condition::equals(self.field(), self.number()),
                4 => {
                    let (field, mask) = (self.field(), self.wide());
                    // What has bits outside of the mask is never found.
                    let value = if self.below(4) == 0 { self.wide() } else { self.wide() & mask };
                    Condition::Masked { field, mask, value }
                }
                5 => Condition::AnyBit(self.field(), self.wide()),
                6 => Condition::Has(self.field()),
                7 => Condition::Device {
                    device: self.one(&[Device::Input, Device::Output, Device::BridgeInput, Device::BridgeOutput]),
                    name: self.one(&["", "lo", "eth", "eth1", "eth10", "veth0123456789ab"]).to_owned(),
                    prefix: self.below(2) == 0,
                },
                8 => match self.below(4) {
                    0 => Condition::Owned,
                    3 => Condition::InGroup(10, 19),
                    1 => Condition::Ipv6(self.below(2) == 0),
                    _ => Condition::Local { destination: self.below(2) == 0 },
                },
                9 => Condition::AnyBit(Field::State, self.one(&[0, 1, 8, 0x40, 0xc0, 0x1ff])),
                10 | 11 => Condition::All(parts(self)),
                12 | 13 => Condition::Any(parts(self)),
                _ => Condition::Not(Box::new(self.condition(depth - 1))),
            }
        }
    }

    #[test]
    fn what_is_made_ready_answers_as_the_condition_itself() {
        let mut numbers = Numbers(20_261_123);
        let mut answers = [0_usize; 3];
        for case in 0..CASES {
            let condition = numbers.condition(3);
            let compiled = Compiled::of(&condition);
            for _ in 0..4 {
                let packet = numbers.packet();
                let answer = condition.ask(&packet);
                assert_eq!(compiled.ask(&packet), answer, "case {case}: {condition:?}\n{compiled:?}\n{packet:?}");
                answers[answer as usize] += 1;
            }
        }
        assert!(answers.iter().all(|count| *count > CASES / 4), "{answers:?} are too few of one kind");
    }
}
