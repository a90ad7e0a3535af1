//! What a rule does: verdicts, changes, translation, answers, writing to sets.

use super::super::header::Field;
use super::super::kind::{Kind, Order, bytes_of};
use super::super::{Expression, Family, Load, Set, Span, Term};
use super::elements::{Wanted, leads_to_ranges};
use super::value::Shape;
use super::{Answer, Draft, Fault, Item, ItemData, Part, Value, register};

/// `NF_NAT_RANGE_MAP_IPS`, `NF_NAT_RANGE_PROTO_SPECIFIED`
const ADDRESSES: u32 = 1;
const PORTS: u32 = 2;
/// `NFPROTO_*`
const INET: u32 = 1;
const IPV4: u32 = 2;
const IPV6: u32 = 10;

/// Headers whose checksum covers what is changed in them: two bytes at a time.
const WITH_CHECKSUM: [&str; 6] = ["ip", "tcp", "udp", "udplite", "icmp", "icmpv6"];

impl Draft<'_, '_> {
    pub(super) fn part(&mut self, part: &Part) -> Result<(), Fault> {
        match part {
            Part::Match(left, sign, right) => self.compare(left, sign, right),
            Part::Masked(left, sign, value, mask) => self.masked(left, sign, value, mask),
            Part::VerdictMap(key, map) => self.verdict_map(key, map),
            Part::ObjectMap(kind, key, map) => {
                self.needs(key)?;
                let (set, ranges) = self.set_for(key, map, Some(Wanted::Objects(*kind)))?;
                self.load_key(key, &Value::Named(String::new()), 0, ranges)?;
                self.out.push(Expression::ObjectMap { set, register: register(0) });
                Ok(())
            }
            Part::Verdict(verdict) => {
                self.out.push(Expression::Immediate(verdict.clone()));
                Ok(())
            }
            Part::Set(what, to) => self.change(what, to),
            Part::Nat { word, family, address, port, flags } => {
                self.translate(word, *family, address.as_ref(), port.as_ref(), *flags)
            }
            Part::Tproxy(family, address, port) => self.tproxy(*family, address.as_ref(), port.as_ref()),
            Part::Reject(answer) => self.reject_with(*answer),
            Part::Update { operation, set, element, expressions } => {
                let (key, data) = (&element.key, element.data.as_ref());
                self.update(*operation, set, key, data, element.timeout, expressions)
            }
            Part::Meter { name, size, element, expressions } => self.meter(name, *size, element, expressions),
            Part::Send { copy, family, address, device } => {
                self.send(*copy, *family, address.as_ref(), device.as_ref())
            }
            Part::Plain(expression) => {
                self.out.push(expression.clone());
                Ok(())
            }
            Part::Unknown(_) => Err("it is not understood".to_owned()),
        }
    }

    fn verdict_map(&mut self, key: &Value, map: &Value) -> Result<(), Fault> {
        self.needs(key)?;
        let (set, ranges) = self.set_for(key, map, Some(Wanted::Verdicts))?;
        self.load_key(key, map, 0, ranges)?;
        self.out.push(Expression::Lookup { set, negated: false, register: register(0), into: Some(0) });
        Ok(())
    }

    fn change(&mut self, what: &Term, to: &Value) -> Result<(), Fault> {
        let (shape, register) = (self.shape_of(what), register(0));
        if let Term::Field(field) = what {
            self.needs(&Value::Term(what.clone()))?;
            if self.change_bits(field, to, shape)? {
                return Ok(());
            }
        }
        self.needs(to)?;
        self.load_shifted(to, 0, &[shape])?;
        if let Value::Term(from) = to {
            let from = self.shape_of(from);
            if from.order != shape.order && from.bytes > 1 && !from.kind.is_text() {
                self.out.push(Expression::ByteOrder { register });
            }
        }
        let within = if let Term::Field(field) = what { self.offset_of(field) } else { 0 };
        self.out.push(match what {
            Term::Meta(key) => Expression::SetMeta { key: *key, register },
            Term::Load(Load::Ct { key, direction }) => Expression::SetCt { key: *key, direction: *direction, register },
            Term::Option(to) => Expression::SetOption { to: *to, register },
            Term::Field(Field { base, bits, .. }) => {
                let (offset, length) = (within / 8, bits.div_ceil(8));
                Expression::SetPayload { base: *base, offset, length, register }
            }
            Term::Raw(base, offset, bits) => {
                let (offset, length) = (offset / 8, bits.div_ceil(8));
                Expression::SetPayload { base: *base, offset, length, register }
            }
            _ => return Err("it cannot be set".to_owned()),
        });
        Ok(())
    }

    /// A field that does not fill its bytes, or whose checksum wants two at a time, is written with the rest as it is.
    fn change_bits(&mut self, field: &Field, to: &Value, shape: Shape) -> Result<bool, Fault> {
        let pairs = WITH_CHECKSUM.contains(&field.header);
        let (mut offset, mut length, mut shift) = (self.offset_of(field) / 8, shape.bytes, shape.shift);
        if pairs && length % 2 == 1 {
            length += 1;
            if offset % 2 == 1 { offset -= 1 } else { shift += 8 }
        }
        if u32::try_from(length * 8) == Ok(field.bits) {
            return Ok(false);
        }
        let wide = Shape { order: Order::Big, bytes: length, shift, ..shape };
        let xor = wide.encode(to, self.table.devices)?;
        let ones = 1_u128.checked_shl(field.bits).and_then(|one| (one - 1).checked_shl(shift));
        let mask = ones.and_then(|ones| bytes_of(ones, length, Order::Big)).ok_or("so many bits cannot be masked")?;
        let mask: Vec<u8> = mask.iter().map(|byte| !byte).collect();
        let length = u32::try_from(length).unwrap_or_default();
        let (base, register) = (field.base, register(0));
        self.out.push(Expression::Payload { base, offset, length, register });
        self.out.push(Expression::Bitwise { mask, xor, register });
        self.out.push(Expression::SetPayload { base, offset, length, register });
        Ok(true)
    }

    /// `NFPROTO_*` of addresses.
    fn family_of(&self, given: Option<u32>) -> Option<u32> {
        given.or(match (self.table.family, self.network) {
            (Family::Ip, _) | (_, Some("ip")) => Some(IPV4),
            (Family::Ip6, _) | (_, Some("ip6")) => Some(IPV6),
            _ => None,
        })
    }

    fn translate(
        &mut self,
        word: &str,
        family: Option<u32>,
        address: Option<&Value>,
        port: Option<&Value>,
        flags: u32,
    ) -> Result<(), Fault> {
        for value in [address, port].into_iter().flatten() {
            self.needs(value)?;
        }
        let family = match (self.family_of(family), address, self.table.family) {
            // Ports alone are those of both families.
            (_, None, Family::Inet) if family.is_none() => INET,
            (Some(known), ..) => known,
            (None, ..) => return Err("the family of its address is not known".to_owned()),
        };
        let kind = if family == IPV6 { Kind::Ipv6 } else { Kind::Ipv4 };
        let shapes = [Shape::of(kind), Shape::of(Kind::Port)];
        let (mut to, pair) = match address {
            Some(address) => self.ends(address, &shapes)?,
            None => (Span::default(), Span::default()),
        };
        let mut ports = pair;
        if let Some(port) = port {
            ports = self.ends(port, &shapes[1..])?.0;
        }
        let said = |span: Span, bit: u32| if span.from.is_some() { bit } else { 0 };
        let flags = flags | said(to, ADDRESSES) | said(ports, PORTS);
        to.to = to.to.filter(|last| Some(*last) != to.from);
        self.out.push(match word {
            "snat" => Expression::Nat { kind: 0, family, address: to, port: ports, flags },
            "dnat" => Expression::Nat { kind: 1, family, address: to, port: ports, flags },
            "masquerade" => Expression::Masquerade { port: ports, flags },
            _ => Expression::Redirect { port: ports, flags },
        });
        Ok(())
    }

    /// Loads first and last; the second span is that of the ports where a map leads to both.
    fn ends(&mut self, value: &Value, shapes: &[Shape]) -> Result<(Span, Span), Fault> {
        let one = shapes.get(..1).unwrap_or_default();
        let from = self.free;
        self.free += 4;
        match value {
            Value::Prefix(..) => {
                let to = self.free;
                self.free += 4;
                let shape = *one.first().ok_or("an address is expected")?;
                let (first, last) = shape.range(value, self.table.devices)?;
                self.out.push(Expression::Value { value: first, register: register(from) });
                self.out.push(Expression::Value { value: last, register: register(to) });
                Ok((Span { from: Some(register(from)), to: Some(register(to)) }, Span::default()))
            }
            Value::Range(first, last) => {
                let to = self.free;
                self.free += 4;
                self.load(first, from, one)?;
                self.load(last, to, one)?;
                Ok((Span { from: Some(register(from)), to: Some(register(to)) }, Span::default()))
            }
            Value::Map(_, map) => {
                self.load(value, from, shapes)?;
                let (parts, ranges) = self.leads_to(map);
                let words = one.first().and_then(|shape| u32::try_from(shape.padded() / 4).ok()).unwrap_or(1);
                // First address and port, and then the last ones.
                let pair = u32::from(parts > 1);
                let last = |from: u32| ranges.then(|| register(from + words + pair));
                let ports = Span {
                    from: (parts > 1).then(|| register(from + words)),
                    to: last(from + words).filter(|_| parts > 1),
                };
                Ok((Span { from: Some(register(from)), to: last(from) }, ports))
            }
            _ => {
                self.load(value, from, one)?;
                Ok((Span { from: Some(register(from)), to: None }, Span::default()))
            }
        }
    }

    /// Of how many parts the values of a map are, and whether they are ranges.
    fn leads_to(&self, map: &Value) -> (usize, bool) {
        match map {
            Value::Named(name) => {
                let found = self.table.sets.get(name);
                let kinds = found.and_then(|set| Kind::of_key(set.data?));
                (kinds.map_or(1, |kinds| kinds.len()), found.is_some_and(Set::leads_to_ranges))
            }
            Value::Set(items) => (items.iter().map(parts_of).max().unwrap_or(1), leads_to_ranges(items)),
            _ => (1, false),
        }
    }

    fn tproxy(&mut self, family: Option<u32>, address: Option<&Value>, port: Option<&Value>) -> Result<(), Fault> {
        let known = match self.table.family {
            Family::Ip => IPV4,
            Family::Ip6 => IPV6,
            _ => family.unwrap_or_default(),
        };
        let kind = if known == IPV6 { Kind::Ipv6 } else { Kind::Ipv4 };
        let mut one = |value: Option<&Value>, kind: Kind| -> Result<Option<u32>, Fault> {
            let Some(value) = value else { return Ok(None) };
            self.needs(value)?;
            let word = self.claim(value);
            self.load(value, word, &[Shape::of(kind)])?;
            Ok(Some(register(word)))
        };
        let (address, port) = (one(address, kind)?, one(port, Kind::Port)?);
        self.out.push(Expression::Tproxy { family: known, address, port });
        Ok(())
    }

    fn reject_with(&mut self, answer: Answer) -> Result<(), Fault> {
        const UNREACHABLE: u32 = 0;
        const RESET: u32 = 1;
        const EITHER: u32 = 2;
        let (kind, code) = match answer {
            // In a table of one family its own answer, whatever else the rule asks.
            Answer::Usual => match (self.table.family, self.network) {
                (Family::Ip, _) => (UNREACHABLE, 3),
                (Family::Ip6, _) => (UNREACHABLE, 4),
                (_, Some("ip")) => (UNREACHABLE, 3),
                (_, Some("ip6")) => (UNREACHABLE, 4),
                _ => (EITHER, 1),
            },
            Answer::Reset => {
                self.transport(6);
                (RESET, 0)
            }
            Answer::Icmp(code) => {
                self.network("ip", true)?;
                (UNREACHABLE, code)
            }
            Answer::Icmpv6(code) => {
                self.network("ip6", true)?;
                (UNREACHABLE, code)
            }
            Answer::Icmpx(code) => (EITHER, code),
        };
        self.out.push(Expression::Reject { kind, code });
        Ok(())
    }

    fn update(
        &mut self,
        operation: u32,
        set: &str,
        key: &Value,
        data: Option<&ItemData>,
        timeout: Option<u64>,
        expressions: &[Expression],
    ) -> Result<(), Fault> {
        let found = self.table.sets.get(set).ok_or_else(|| format!("there is no set {set}"))?;
        let wanted: Vec<Shape> = super::declare::shapes_of(found, found.key);
        let leads: Vec<Shape> = match found.data.filter(|data| *data != Set::VERDICT) {
            Some(data) => super::declare::shapes_of(found, data),
            None => Vec::new(),
        };
        self.needs(key)?;
        if let Some(ItemData::Value(value)) = data {
            self.needs(value)?;
        }
        let key_word = self.claim(key);
        self.load_shifted(key, key_word, &wanted)?;
        let data = match data {
            None => None,
            Some(ItemData::Value(value)) => {
                let word = self.claim(value);
                self.load_shifted(value, word, &leads)?;
                Some(register(word))
            }
            Some(ItemData::Verdict(_)) => return Err("a verdict cannot be written to a map".to_owned()),
        };
        let (set, expressions) = (set.to_owned(), expressions.to_vec());
        let key = register(key_word);
        // The kernel tells of none as of zero.
        let timeout = timeout.or(Some(0));
        self.out.push(Expression::Update { set, operation, key, data, timeout, expressions });
        Ok(())
    }

    /// A set of the rule's own to which it writes, as nft made them before sets could be declared for it.
    fn meter(
        &mut self,
        name: &str,
        size: Option<u32>,
        element: &Item,
        expressions: &[Expression],
    ) -> Result<(), Fault> {
        const ANONYMOUS_DYNAMIC: u32 = 0x21;
        const TIMEOUT: u32 = 0x10;
        self.needs(&element.key)?;
        let mut set = self.named_by(name, &element.key)?;
        set.size = size;
        set.flags = ANONYMOUS_DYNAMIC | if element.timeout.is_some() { TIMEOUT } else { 0 };
        self.table.anonymous.push(set);
        let word = self.claim(&element.key);
        self.load_shifted(&element.key, word, &[])?;
        let (set, operation, key) = (name.to_owned(), u32::from(element.timeout.is_some()), register(word));
        let (timeout, expressions) = (element.timeout.or(Some(0)), expressions.to_vec());
        self.out.push(Expression::Update { set, operation, key, data: None, timeout, expressions });
        Ok(())
    }

    fn send(
        &mut self,
        copy: bool,
        family: Option<u32>,
        address: Option<&Value>,
        device: Option<&Value>,
    ) -> Result<(), Fault> {
        let ipv6 = self.family_of(family) == Some(IPV6);
        let kind = if ipv6 { Kind::Ipv6 } else { Kind::Ipv4 };
        let mut one = |value: Option<&Value>, kind: Kind| -> Result<Option<u32>, Fault> {
            let Some(value) = value else { return Ok(None) };
            self.needs(value)?;
            let word = self.claim(value);
            self.load(value, word, &[Shape::of(kind)])?;
            Ok(Some(register(word)))
        };
        // nft loads what comes first in its own order: for a copy the address, else the device.
        let (address, device) = if copy {
            let address = one(address, kind)?;
            (address, one(device, Kind::Index)?)
        } else {
            let device = one(device, Kind::Index)?;
            (one(address, kind)?, device)
        };
        self.out.push(Expression::Send { copy, address, device, family });
        Ok(())
    }
}

fn parts_of(item: &super::Item) -> usize {
    match &item.data {
        Some(ItemData::Value(Value::Concat(parts))) => parts.len(),
        _ => 1,
    }
}
