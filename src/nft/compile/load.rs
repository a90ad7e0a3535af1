//! Values in registers: what is loaded, masked, hashed, looked up, one behind the other.

use std::collections::BTreeMap;

use super::super::kind::{Kind, Order};
use super::super::{Expression, Load, Place, SetPlaces, Term};
use super::compare::turns;
use super::value::Shape;
use super::{Draft, Fault, Value, register};

/// `NFT_CT_ZONE`, `NFT_CT_EXPIRATION`
const ZONE: u32 = 17;
const EXPIRATION: u32 = 5;
/// `NFT_CT_HELPER`
const HELPER: u32 = 6;
/// `NFT_META_NFTRACE`, `NFT_META_BRI_IIFPVID`
const TRACE: u32 = 12;
const BRIDGE_VLAN: u32 = 28;

/// Where the bits of a field or of raw bytes lie: first byte, bytes, and by how many bits it is shifted.
fn span(offset: u32, bits: u32) -> (u32, u32, u32) {
    let (first, last) = (offset / 8, (offset + bits).div_ceil(8));
    (first, last - first, last * 8 - offset - bits)
}

impl Draft<'_, '_> {
    fn place(&self) -> Place<'_> {
        static NONE: BTreeMap<u16, String> = BTreeMap::new();
        Place {
            family: self.table.family,
            sets: &[],
            places: SetPlaces::none(),
            devices: self.table.devices,
            counted: true,
            ipsets: &NONE,
        }
    }

    /// What a term is, and how long.
    pub(super) fn shape_of(&self, term: &Term) -> Shape {
        let (kind, order) = term.kind(&self.place());
        let mut shape = Shape { kind, order, bytes: term.bytes(&self.place()), shift: 0 };
        match term {
            Term::Field(field) => {
                let (_, bytes, shift) = span(field.offset, field.bits);
                (shape.bytes, shape.shift) = (bytes as usize, shift);
            }
            Term::Raw(_, offset, bits) => {
                let (_, bytes, shift) = span(*offset, *bits);
                (shape.bytes, shape.shift) = (bytes as usize, shift);
            }
            Term::OptionPart(from, _, shift) => (shape.bytes, shape.shift) = (from.length as usize, *shift),
            Term::Meta(TRACE) => shape.bytes = 1,
            Term::Meta(BRIDGE_VLAN) | Term::Load(Load::Ct { key: ZONE, .. }) => shape.bytes = 2,
            Term::Load(Load::Ct { key: EXPIRATION, .. }) => shape.bytes = 4,
            Term::Load(Load::Ct { key: HELPER, .. }) => shape.bytes = 16,
            Term::Load(Load::Socket { key: 0 | 2, .. }) => (shape.kind, shape.bytes) = (Kind::Integer, 1),
            // Whether something was found is told in a whole register.
            Term::Load(Load::Fib { result: 1 | 3, .. }) => shape.bytes = 4,
            Term::Load(Load::Route { key: 3 }) => shape.bytes = 2,
            _ => {}
        }
        shape
    }

    /// The shapes of a value's parts; a fault where they are not known.
    pub(super) fn shapes(&self, value: &Value) -> Result<Vec<Shape>, Fault> {
        match value {
            Value::Term(term) => Ok(vec![self.shape_of(term)]),
            Value::Concat(parts) => {
                let shapes: Result<Vec<Vec<Shape>>, Fault> = parts.iter().map(|part| self.shapes(part)).collect();
                // Parts are shifted to their place.
                Ok(shapes?.concat().into_iter().map(|shape| Shape { shift: 0, ..shape }).collect())
            }
            // What a sign stands behind has been shifted to its place.
            Value::Binary(of, ..) => {
                Ok(self.shapes(of)?.into_iter().map(|shape| Shape { shift: 0, ..shape }).collect())
            }
            Value::Hash(..) => Ok(vec![Shape { bytes: 4, order: Order::Host, ..Shape::of(Kind::Integer) }]),
            Value::Map(_, map) => {
                let Value::Named(name) = &**map else { return Err("the map's values are of no known kind".to_owned()) };
                let set = self.table.sets.get(name).ok_or_else(|| format!("there is no map {name}"))?;
                let kinds = set.data.and_then(Kind::of_key).ok_or_else(|| format!("{name} is no such map"))?;
                Ok(kinds.into_iter().map(Shape::of).collect())
            }
            _ => Err("something that is loaded is expected".to_owned()),
        }
    }

    /// The shape of a value that is one.
    pub(super) fn shape(&self, value: &Value) -> Result<Shape, Fault> {
        match self.shapes(value)?.as_slice() {
            [one] => Ok(*one),
            _ => Err("one value is expected".to_owned()),
        }
    }

    /// The same as `load`, a field that does not fill its bytes shifted to its place, as it is everywhere but where a constant stands
    /// beside it.
    pub(super) fn load_shifted(&mut self, value: &Value, word: u32, wanted: &[Shape]) -> Result<(), Fault> {
        self.load_as(true, value, word, wanted)
    }

    fn load_as(&mut self, shifts: bool, value: &Value, word: u32, wanted: &[Shape]) -> Result<(), Fault> {
        let before = std::mem::replace(&mut self.shifts, shifts);
        let done = self.load(value, word, wanted);
        self.shifts = before;
        done
    }

    /// What is looked up: shifted to its place but where the elements stand beside it; among ranges in the order in which these are.
    pub(super) fn load_key(&mut self, key: &Value, set: &Value, word: u32, ranges: bool) -> Result<(), Fault> {
        let before = std::mem::replace(&mut self.turns, ranges);
        let done = self.load_as(matches!(set, Value::Named(_)), key, word, &[]);
        self.turns = before;
        done?;
        if let (true, [one]) = (ranges, self.shapes(key)?.as_slice()) {
            let turned = !matches!(key, Value::Concat(_)) && turns(*one);
            self.turn(turned, word);
        }
        Ok(())
    }

    pub(super) fn turn(&mut self, turned: bool, word: u32) {
        if turned {
            self.out.push(Expression::ByteOrder { register: register(word) });
        }
    }

    /// Puts a value into the registers from this word on; a constant takes the shape that is wanted.
    pub(super) fn load(&mut self, value: &Value, word: u32, wanted: &[Shape]) -> Result<(), Fault> {
        match value {
            Value::Term(term) => self.load_term(term, word),
            Value::Concat(parts) => {
                let mut at = word;
                for (index, part) in parts.iter().enumerate() {
                    let shape = match self.shapes(part) {
                        Ok(shapes) => shapes.first().copied(),
                        Err(_) => wanted.get(index).copied(),
                    };
                    let shape = shape.ok_or("a part of it is of no known kind")?;
                    self.load_shifted(part, at, &[shape])?;
                    self.turn(self.turns && shape.order == Order::Host && !shape.kind.is_text(), at);
                    at += u32::try_from(shape.padded() / 4).unwrap_or(1);
                }
                Ok(())
            }
            Value::Binary(..) => self.load_binary(value, word, wanted),
            Value::Hash(of, modulus, seed, offset) => {
                let from = word + 4;
                let length: usize = self.shapes(of)?.iter().map(|shape| shape.bytes).sum();
                let padded: usize = self.shapes(of)?.iter().map(|shape| shape.padded()).sum();
                let length = if matches!(**of, Value::Concat(_)) { padded } else { length };
                self.load_shifted(of, from, &[])?;
                self.out.push(Expression::Hash {
                    kind: 0,
                    source: Some((register(from), u32::try_from(length).unwrap_or_default())),
                    modulus: *modulus,
                    seed: *seed,
                    offset: *offset,
                    register: register(word),
                });
                Ok(())
            }
            Value::Map(key, map) => self.look_up(key, map, word, wanted),
            constant => {
                let [shape] = wanted else { return Err("a value of a known kind is expected".to_owned()) };
                let value = shape.encode(constant, self.table.devices)?;
                self.out.push(Expression::Value { value, register: register(word) });
                Ok(())
            }
        }
    }

    fn load_term(&mut self, term: &Term, word: u32) -> Result<(), Fault> {
        let register = register(word);
        let loaded = match term {
            Term::Meta(key) => Expression::Meta { key: *key, register },
            Term::Load(from) => Expression::Load { from: *from, register },
            Term::Option(from) => Expression::Option { from: *from, register },
            Term::Hash(None, modulus, seed, offset) => {
                Expression::Hash { kind: 1, source: None, modulus: *modulus, seed: *seed, offset: *offset, register }
            }
            Term::OptionPart(from, field, shift) => {
                self.out.push(Expression::Option { from: *from, register });
                return self.keep_bits(field.bits, from.length, *shift, word);
            }
            Term::Field(field) => return self.load_bits(field.base, self.offset_of(field), field.bits, word),
            Term::Raw(base, offset, bits) => return self.load_bits(*base, *offset, *bits, word),
            _ => return Err("it cannot be loaded".to_owned()),
        };
        self.out.push(loaded);
        Ok(())
    }

    /// Bytes of the packet, and the mask of what does not fill them.
    fn load_bits(&mut self, base: u32, offset: u32, bits: u32, word: u32) -> Result<(), Fault> {
        let (first, length, shift) = span(offset, bits);
        let register = register(word);
        self.out.push(Expression::Payload { base, offset: first, length, register });
        self.keep_bits(bits, length, shift, word)
    }

    fn keep_bits(&mut self, bits: u32, length: u32, shift: u32, word: u32) -> Result<(), Fault> {
        if bits == length * 8 {
            return Ok(());
        }
        let register = register(word);
        let mask = 1_u128.checked_shl(bits).and_then(|ones| (ones - 1).checked_shl(shift));
        let mask = mask.and_then(|mask| super::super::kind::bytes_of(mask, length as usize, Order::Big));
        let mask = mask.ok_or("so many bits cannot be masked")?;
        let xor = vec![0; mask.len()];
        self.out.push(Expression::Bitwise { mask, xor, register });
        if self.shifts && shift != 0 {
            self.out.push(Expression::Shift { left: false, bits: shift, register });
        }
        Ok(())
    }

    /// `(x & a) ^ b | c` is one mask and one flip; a shift stands alone.
    fn load_binary(&mut self, value: &Value, word: u32, wanted: &[Shape]) -> Result<(), Fault> {
        let mut steps = Vec::new();
        let mut of = value;
        while let Value::Binary(inner, sign, with) = of {
            steps.push((*sign, &**with));
            of = inner;
        }
        let shape = match self.shape(of) {
            Ok(shape) => shape,
            Err(fault) => *wanted.first().ok_or(fault)?,
        };
        // nft lists the shift of its own where it does not know it again.
        let listed = |(sign, bits): &(&str, &Value)| {
            *sign == ">>" && matches!(bits, Value::Word(bits) if super::number_of(bits) == Some(shape.shift.into()))
        };
        let lies = shape.shift != 0 && steps.last().is_some_and(listed);
        self.load_as(!lies, of, word, wanted)?;
        let shape = Shape { shift: 0, ..shape };
        let register = register(word);
        // The mask of a field that is not shifted is one with the mask behind it.
        let mut masks: Option<(Vec<u8>, Vec<u8>)> = match (self.out.last(), of) {
            (Some(Expression::Bitwise { mask, xor, register: own }), Value::Term(_)) if *own == register => {
                Some((mask.clone(), xor.clone()))
            }
            _ => None,
        };
        if masks.is_some() {
            self.out.pop();
        }
        for (sign, with) in steps.into_iter().rev() {
            if matches!(sign, "<<" | ">>") {
                self.out.extend(masks.take().map(|(mask, xor)| Expression::Bitwise { mask, xor, register }));
                let (Value::Word(bits) | Value::Text(bits)) = with else { return Err("a number of bits".to_owned()) };
                let bits = super::number_of(bits).and_then(|bits| u32::try_from(bits).ok());
                let bits = bits.ok_or("a number of bits is expected")?;
                self.out.push(Expression::Shift { left: sign == "<<", bits, register });
                continue;
            }
            let with = shape.encode(with, self.table.devices)?;
            let (mask, xor) = masks.get_or_insert_with(|| (vec![0xff; with.len()], vec![0; with.len()]));
            for ((mask, xor), with) in mask.iter_mut().zip(xor).zip(with) {
                match sign {
                    "&" => (*mask, *xor) = (*mask & with, *xor & with),
                    "|" => (*mask, *xor) = (*mask & !with, *xor | with),
                    _ => *xor ^= with,
                }
            }
        }
        self.out.extend(masks.map(|(mask, xor)| Expression::Bitwise { mask, xor, register }));
        Ok(())
    }

    /// A value by a map, into the registers in which its key was.
    fn look_up(&mut self, key: &Value, map: &Value, word: u32, wanted: &[Shape]) -> Result<(), Fault> {
        let (set, ranges) = self.set_for(key, map, Some(super::elements::Wanted::Values(wanted)))?;
        self.load_key(key, map, word, ranges)?;
        let into = Some(register(word));
        self.out.push(Expression::Lookup { set, negated: false, register: register(word), into });
        Ok(())
    }
}
