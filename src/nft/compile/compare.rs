//! Comparisons: of values, flags, ranges, prefixes, beginnings of names, sets.

use super::super::header::Field;
use super::super::kind::{Order, number};
use super::super::{Comparison, Expression, Term};
use super::value::{Shape, text_of};
use super::{Draft, Fault, Value, register};

/// A comparison of whole bytes of the packet: nft puts the next one to it where both lie side by side.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Merge {
    /// Where it stands: the load, and behind it the comparison. Nothing may have come after.
    at: usize,
    base: u32,
    offset: u32,
    length: u32,
}

/// The register that a lone comparison uses.
const WORD: u32 = 0;

impl Draft<'_, '_> {
    /// `left sign right`
    pub(super) fn compare(&mut self, left: &Value, sign: &str, right: &Value) -> Result<(), Fault> {
        self.needs(left)?;
        let negated = matches!(sign, "!=");
        match right {
            Value::Set(_) | Value::Named(_) => {
                if !matches!(sign, "" | "==" | "!=") {
                    return Err(format!("{sign} before a set"));
                }
                let (set, ranges) = self.set_for(left, right, None)?;
                self.load_key(left, right, WORD, ranges)?;
                self.out.push(Expression::Lookup { set, negated, register: register(WORD), into: None });
                if let (Value::Set(items), false) = (right, negated) {
                    self.learn_messages(left, items);
                }
                Ok(())
            }
            Value::Concat(parts) => self.compare_concatenation(left, sign, parts),
            Value::Range(..) => self.within(left, negated, right),
            Value::Prefix(start, bits) => self.begins(left, negated, start, *bits),
            _ => self.compare_constant(left, sign, right),
        }
    }

    fn cmp(&mut self, comparison: Comparison, value: Vec<u8>) {
        self.out.push(Expression::Cmp { comparison, value, register: register(WORD) });
    }

    fn compare_concatenation(&mut self, left: &Value, sign: &str, parts: &[Value]) -> Result<(), Fault> {
        let shapes = self.shapes(left)?;
        if shapes.len() != parts.len() {
            return Err("both sides must have as many parts".to_owned());
        }
        let mut value = Vec::new();
        for (part, shape) in parts.iter().zip(&shapes) {
            value.extend(shape.encode(part, self.table.devices)?);
            value.resize(value.len().next_multiple_of(4), 0);
        }
        self.load(left, WORD, &[])?;
        self.cmp(sign_of(sign)?, value);
        Ok(())
    }

    fn within(&mut self, left: &Value, negated: bool, right: &Value) -> Result<(), Fault> {
        let shape = self.shape(left)?;
        let (from, to) = shape.big().range(right, self.table.devices)?;
        self.load(left, WORD, &[])?;
        self.turn(turns(shape), WORD);
        if negated {
            self.out.push(Expression::Range { negated, from, to, register: register(WORD) });
        } else {
            self.cmp(Comparison::Gte, from);
            self.cmp(Comparison::Lte, to);
        }
        Ok(())
    }

    /// A prefix: fewer bytes are loaded where it ends with one, else the rest is masked.
    fn begins(&mut self, left: &Value, negated: bool, start: &Value, bits: u32) -> Result<(), Fault> {
        let shape = self.shape(left)?;
        let comparison = if negated { Comparison::Neq } else { Comparison::Eq };
        let mut value = shape.encode(start, self.table.devices)?;
        let mask = shape.mask(bits)?;
        for (byte, mask) in value.iter_mut().zip(&mask) {
            *byte &= mask;
        }
        let whole = u32::try_from(shape.bytes * 8).unwrap_or_default() == bits;
        let bytes = bits.is_multiple_of(8) && bits != 0 && shape.order == Order::Big;
        match left {
            Value::Term(Term::Field(field)) if bytes && !whole => {
                let (base, offset, length) = (field.base, self.offset_of(field) / 8, bits / 8);
                value.truncate(length as usize);
                self.out.push(Expression::Payload { base, offset, length, register: register(WORD) });
            }
            _ => {
                self.load(left, WORD, &[])?;
                if bytes {
                    value.truncate((bits / 8) as usize);
                } else if !whole {
                    let xor = vec![0; mask.len()];
                    self.out.push(Expression::Bitwise { mask, xor, register: register(WORD) });
                }
            }
        }
        self.cmp(comparison, value);
        Ok(())
    }

    fn compare_constant(&mut self, left: &Value, sign: &str, right: &Value) -> Result<(), Fault> {
        let shape = self.shape(left)?;
        if shape.kind.is_text() {
            return self.compare_text(left, sign, right, shape);
        }
        let lone = matches!(left, Value::Term(_));
        // `a | b` is how nft lists that exactly these are set.
        let exact = sign.is_empty() && matches!(right, Value::Binary(..));
        if shape.kind.is_flags() && lone && !exact && matches!(sign, "" | "!") {
            return self.flags(left, sign, right, shape);
        }
        let comparison = sign_of(sign)?;
        let ordered = !matches!(comparison, Comparison::Eq | Comparison::Neq);
        let turned = ordered && turns(shape);
        let shape = if turned { shape.big() } else { shape };
        let value = shape.encode(right, self.table.devices)?;
        if let (Value::Term(Term::Field(field)), Comparison::Eq) = (left, comparison) {
            self.equal_field(field, value.clone())?;
        } else {
            self.load(left, WORD, &[])?;
            self.turn(turned, WORD);
            self.cmp(comparison, value.clone());
        }
        if let (Value::Term(term), Comparison::Eq) = (left, comparison)
            && let Some(said) = number(&value, shape.order)
        {
            self.learn(term, said);
        }
        Ok(())
    }

    fn compare_text(&mut self, left: &Value, sign: &str, right: &Value, shape: Shape) -> Result<(), Fault> {
        let (start, wild) = text_of(right)?;
        let value = if wild { start } else { shape.encode(right, self.table.devices)? };
        if value.len() > shape.bytes || value.is_empty() {
            return Err("the name is too long, or none".to_owned());
        }
        self.load(left, WORD, &[])?;
        self.cmp(sign_of(sign)?, value);
        Ok(())
    }

    /// Any of these flags, or none of them.
    fn flags(&mut self, left: &Value, sign: &str, right: &Value, shape: Shape) -> Result<(), Fault> {
        let mask = shape.encode(right, self.table.devices)?;
        let zeros = vec![0; mask.len()];
        self.load(left, WORD, &[])?;
        self.out.push(Expression::Bitwise { mask, xor: zeros.clone(), register: register(WORD) });
        self.cmp(if sign == "!" { Comparison::Eq } else { Comparison::Neq }, zeros);
        Ok(())
    }

    /// Of the flags of the mask, exactly these.
    pub(super) fn masked(&mut self, left: &Value, sign: &str, value: &Value, mask: &Value) -> Result<(), Fault> {
        self.needs(left)?;
        let shape = self.shape(left)?;
        let value = shape.encode(value, self.table.devices)?;
        let mask = shape.encode(mask, self.table.devices)?;
        self.load(left, WORD, &[])?;
        let xor = vec![0; mask.len()];
        self.out.push(Expression::Bitwise { mask, xor, register: register(WORD) });
        self.cmp(if sign == "!=" { Comparison::Neq } else { Comparison::Eq }, value);
        Ok(())
    }

    /// A field has this value; put together with the comparison before where both lie side by side.
    fn equal_field(&mut self, field: &'static Field, value: Vec<u8>) -> Result<(), Fault> {
        if !field.offset.is_multiple_of(8) || !field.bits.is_multiple_of(8) {
            self.load(&Value::Term(Term::Field(field)), WORD, &[])?;
            self.cmp(Comparison::Eq, value);
            return Ok(());
        }
        self.equal_bytes(field.base, self.offset_of(field) / 8, value);
        Ok(())
    }

    /// Bytes of the packet are these.
    pub(super) fn equal_bytes(&mut self, base: u32, offset: u32, value: Vec<u8>) {
        let length = u32::try_from(value.len()).unwrap_or_default();
        let last = self.mergeable.filter(|last| last.at + 2 == self.out.len() && last.base == base);
        if let Some(last) = last
            && let Some(Expression::Cmp { value: before, .. }) = self.out.get(last.at + 1)
        {
            let total = last.length + length;
            // What fits into one register word is fast alone; two such words are not made one slow comparison.
            let worth = total <= 4 || (total <= 16 && (last.length > 4 || length > 4));
            let both = if last.offset + last.length == offset {
                Some((last.offset, [before.as_slice(), &value].concat()))
            } else if offset + length == last.offset {
                Some((offset, [value.as_slice(), before].concat()))
            } else {
                None
            };
            if let Some((offset, value)) = both.filter(|_| worth) {
                self.out.truncate(last.at);
                return self.load_and_compare(base, offset, value);
            }
        }
        self.load_and_compare(base, offset, value);
    }

    fn load_and_compare(&mut self, base: u32, offset: u32, value: Vec<u8>) {
        let length = u32::try_from(value.len()).unwrap_or_default();
        self.mergeable = Some(Merge { at: self.out.len(), base, offset, length });
        self.out.push(Expression::Payload { base, offset, length, register: register(WORD) });
        self.cmp(Comparison::Eq, value);
    }
}

/// Whether nft turns a value's bytes round before it asks which of two is larger.
pub(super) fn turns(shape: Shape) -> bool {
    shape.order == Order::Host && shape.bytes > 1 && !shape.kind.is_text()
}

fn sign_of(sign: &str) -> Result<Comparison, Fault> {
    Ok(match sign {
        "" | "==" => Comparison::Eq,
        "!=" => Comparison::Neq,
        "<" => Comparison::Lt,
        "<=" => Comparison::Lte,
        ">" => Comparison::Gt,
        ">=" => Comparison::Gte,
        _ => return Err(format!("{sign} is not understood here")),
    })
}
