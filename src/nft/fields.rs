//! Which fields of the packet the bytes are that a rule loads: nft loads parts of fields, and several fields in one go.

use super::header::Field;
use super::kind::{Kind, Order, number};
use super::reading::Reader;
use super::statement::{Right, Statement};
use super::{Comparison, Term};

/// Bits of the packet.
#[derive(Debug, Clone, Copy)]
pub(super) struct Bits {
    base: u32,
    offset: u32,
    bits: u32,
}

impl Bits {
    fn term(self) -> Term {
        super::noted::raw(self.base, self.offset, self.bits)
    }
}

/// The field that a part is, for values that have been shifted to its place.
fn unshifted(part: Term) -> Term {
    match part {
        Term::Part { field, .. } => Term::Field(field),
        Term::OptionPart(option, field, _) => Term::OptionPart(option, field, 0),
        other => other,
    }
}

/// A number as so many bits, most significant first.
fn bytes_of(value: u128, bits: u32) -> Option<Vec<u8>> {
    let bytes = value.to_be_bytes();
    bytes.get(bytes.len().checked_sub((bits as usize).div_ceil(8))?..).map(<[u8]>::to_vec)
}

impl Reader<'_> {
    /// The field that is exactly there.
    fn field(&self, Bits { base, offset, bits }: Bits) -> Option<&'static Field> {
        let (protocol, skipped) = self.headers.at(base, offset)?;
        let offset = offset.checked_sub(skipped)?;
        protocol
            .fields()
            .find(|field| protocol.within(field) == offset && field.bits == bits && self.headers.has(field))
    }

    /// The field there, or the bits as they are.
    fn named(&mut self, bits: Bits) -> Term {
        let term = self.field(bits).map_or_else(|| bits.term(), Term::Field);
        if let Term::Field(field) = term {
            self.used(field, false);
        }
        term
    }

    /// A term with fields in place of bytes.
    pub(super) fn resolved(&mut self, term: Term) -> Term {
        match term {
            Term::Raw(base, offset, bits) => self.named(Bits { base, offset, bits }),
            Term::Binary { of, sign: ">>", with } => match self.shifted(&of, &with) {
                Some(part) => {
                    self.used_part(&part);
                    match part {
                        Term::Part { field, .. } => Term::Field(field),
                        other => other,
                    }
                }
                None => Term::Binary { of: Box::new(self.resolved(*of)), sign: ">>", with },
            },
            Term::Binary { of, sign, with } => Term::Binary { of: Box::new(self.resolved(*of)), sign, with },
            Term::Turned(of) => Term::Turned(Box::new(self.resolved(*of))),
            Term::Concat(parts) => Term::Concat(parts.into_iter().map(|part| self.resolved_part(part)).collect()),
            Term::Map(key, set) => Term::Map(Box::new(self.resolved_key(*key)), set),
            Term::Hash(of, modulus, seed, offset) => {
                Term::Hash(of.map(|of| Box::new(self.resolved(*of))), modulus, seed, offset)
            }
            Term::Option(option) => {
                self.used_option(option);
                Term::Option(option)
            }
            other => other,
        }
    }

    /// The same for what is looked up: a field that does not fill its bytes is looked up as it lies there.
    pub(super) fn resolved_key(&mut self, term: Term) -> Term {
        match self.trimmed(&term) {
            Some((part, ..)) => {
                self.used_part(&part);
                part
            }
            None => self.resolved(term),
        }
    }

    /// The same for a part of several: it has been shifted to its place.
    fn resolved_part(&mut self, term: Term) -> Term {
        let shifted = match &term {
            Term::Binary { of, sign: ">>", with } => self.shifted(of, with),
            _ => self.trimmed(&term).filter(|(_, _, shift)| *shift == 0).map(|(part, ..)| part),
        };
        let Some(part) = shifted else { return self.resolved(term) };
        self.used_part(&part);
        // It keeps the bytes that it was loaded into.
        match part {
            Term::Part { field, bytes, .. } => Term::Part { field, bytes, shift: 0 },
            Term::OptionPart(option, field, _) => Term::OptionPart(option, field, 0),
            other => other,
        }
    }

    fn used_part(&mut self, part: &Term) {
        match part {
            Term::Part { field, .. } | Term::Field(field) => self.used(field, false),
            Term::OptionPart(option, ..) => self.used_option(*option),
            _ => {}
        }
    }

    /// `bytes & mask`, where that is a field; with its bits, and how many bits it is shifted.
    fn trimmed(&self, term: &Term) -> Option<(Term, u32, u32)> {
        let Term::Binary { of, sign: "&", with: mask } = term else { return None };
        if let Term::Option(option) = &**of {
            let (field, shift) = option.masked_field(number(mask, Order::Big)?)?;
            return Some((Term::OptionPart(*option, field, shift), field.bits, shift));
        }
        let (field, shift) = self.masked_field(of, mask)?;
        Some((Term::Part { field, bytes: u32::try_from(mask.len()).ok()?, shift }, field.bits, shift))
    }

    /// `(bytes & mask) >> bits`: a field that does not fill its bytes.
    fn shifted(&self, of: &Term, with: &[u8]) -> Option<Term> {
        let (part, _, shift) = self.trimmed(of)?;
        (with.first_chunk().map(|bits| u32::from_ne_bytes(*bits)) == Some(shift)).then_some(part)
    }

    /// The field that is left of bytes under a mask, and by how many bits it is shifted.
    fn masked_field(&self, of: &Term, mask: &[u8]) -> Option<(&'static Field, u32)> {
        let Term::Raw(base, offset, bits) = *of else { return None };
        let mask = number(mask, Order::Big)?;
        let (low, ones) = (mask.trailing_zeros(), mask.count_ones());
        let contiguous = mask != 0 && mask.checked_shr(low)?.trailing_ones() == ones;
        let start = bits.checked_sub(low + ones).filter(|_| contiguous && ones < bits)?;
        let field = self.field(Bits { base, offset: offset.checked_add(start)?, bits: ones })?;
        Some((field, low))
    }

    /// A comparison of bytes of the packet; `None` where the term is of another sort, or where they are no fields.
    pub(super) fn compare_bytes(&mut self, left: &Term, comparison: Comparison, value: &[u8]) -> Option<()> {
        let sign = comparison.sign();
        let equal = matches!(comparison, Comparison::Eq | Comparison::Neq);
        match left {
            Term::Raw(base, offset, bits) if equal => {
                let bits = Bits { base: *base, offset: *offset, bits: *bits };
                self.compare_parts(bits, comparison, value)
            }
            Term::Binary { .. } => {
                let (part, bits, shift) = self.trimmed(left)?;
                let shifted = number(value, Order::Big)?.checked_shr(shift)?;
                let right = Right::Value(bytes_of(shifted, bits)?);
                self.used_part(&part);
                self.compared(unshifted(part), sign, right)
            }
            _ => None,
        }
    }

    /// nft compares fields that lie side by side in one go, and leading parts of fields.
    fn compare_parts(&mut self, all: Bits, comparison: Comparison, value: &[u8]) -> Option<()> {
        let whole = number(value, Order::Big)?;
        let (protocol, skipped) = self.headers.at(all.base, all.offset)?;
        let mut rest = all.bits;
        let mut found: Vec<(&'static Field, u32)> = Vec::new();
        while rest > 0 {
            let at = all.offset.checked_sub(skipped)?.checked_add(all.bits - rest)?;
            let there = |field: &&'static Field| protocol.within(field) == at && self.headers.has(field);
            let Some(field) = protocol.fields().find(there) else { break };
            let bits = field.bits.min(rest);
            // Of a field that has no such beginning only the bytes are known.
            if bits < field.bits && !field.kind.has_prefixes() {
                return None;
            }
            found.push((field, bits));
            rest -= bits;
        }
        let first = found.first()?;
        if rest > 0 && first.1 < first.0.bits {
            return None;
        }
        let mut left = all.bits;
        for (field, bits) in found {
            left -= bits;
            let mask = 1_u128.checked_shl(bits).map_or(u128::MAX, |above| above - 1);
            let part = whole.checked_shr(left)? & mask;
            let right = if bits < field.bits {
                let mut start = bytes_of(part, bits)?;
                start.resize(field.bits as usize / 8, 0);
                Right::Prefix(start, bits)
            } else {
                Right::Value(bytes_of(part, bits)?)
            };
            // nft writes it out where flags could be taken for one of several.
            let sign = match comparison {
                Comparison::Eq if field.kind == Kind::TcpFlag => "==",
                other => other.sign(),
            };
            self.compare_field(field, sign, right)?;
        }
        if left > 0 {
            let mask = 1_u128.checked_shl(left).map_or(u128::MAX, |above| above - 1);
            let rest = Bits { base: all.base, offset: all.offset + all.bits - left, bits: left };
            self.compared(rest.term(), comparison.sign(), Right::Value(bytes_of(whole & mask, left)?))?;
        }
        Some(())
    }

    fn compare_field(&mut self, field: &'static Field, sign: &'static str, right: Right) -> Option<()> {
        self.used(field, true);
        self.compared(Term::Field(field), sign, right)
    }

    /// A range of bytes of the packet that do not fill theirs.
    pub(super) fn range_bytes(&mut self, left: &Term, from: &[u8], to: &[u8]) -> Option<(Term, Right)> {
        let (part, bits, shift) = self.trimmed(left)?;
        let shifted = |value: &[u8]| bytes_of(number(value, Order::Big)?.checked_shr(shift)?, bits);
        let right = Right::Range(shifted(from)?, shifted(to)?);
        self.used_part(&part);
        Some((unshifted(part), right))
    }

    /// Bytes of the packet are written; a field that does not fill its bytes comes with the rest of them as it was.
    pub(super) fn set_field(&mut self, bytes: Term, register: u32) -> Option<Statement> {
        let to = self.take(register)?;
        if let Some((field, value)) = self.written_part(&bytes, &to) {
            self.used(field, false);
            return Some(Statement::Set { what: Term::Field(field), to: Term::Value(value) });
        }
        let what = self.resolved(bytes);
        Some(Statement::Set { what, to: self.resolved(to) })
    }

    /// `(bytes & others) | value`, `bytes & others` for zero, `bytes | all` for all ones.
    fn written_part(&self, bytes: &Term, to: &Term) -> Option<(&'static Field, Vec<u8>)> {
        let Term::Raw(base, offset, bits) = *bytes else { return None };
        // A field that fills the bytes is no part of them.
        let bits_here = Bits { base, offset, bits };
        if self.field(bits_here).is_some() || matches!(bits_here.term(), Term::Field(_)) {
            return None;
        }
        let (kept, or) = match to {
            Term::Binary { of: masked, sign: "|", with: or } => match &**masked {
                Term::Binary { of, sign: "&", with: kept } if **of == *bytes => (kept.clone(), or.clone()),
                of if *of == *bytes => (or.iter().map(|or| !or).collect(), or.clone()),
                _ => return None,
            },
            Term::Binary { of, sign: "&", with: kept } if **of == *bytes => (kept.clone(), vec![0; kept.len()]),
            _ => return None,
        };
        let mask: Vec<u8> = kept.iter().zip(&or).map(|(kept, or)| !kept | or).collect();
        let (field, shift) = self.masked_field(bytes, &mask)?;
        Some((field, bytes_of(number(&or, Order::Big)?.checked_shr(shift)?, field.bits)?))
    }
}
