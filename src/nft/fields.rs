//! Which fields of the packet the bytes are that a rule loads: nft loads parts of fields, and several fields in one go.

use super::Term;
use super::header::{self, Field, LINK, NETWORK, TRANSPORT};
use super::kind::{Order, number};
use super::reading::Reader;
use super::statement::{Right, Statement};

impl Reader<'_> {
    fn header(&self, base: u32, offset: u32) -> Option<&'static str> {
        const ETHER: u32 = 14 * 8;
        match base {
            LINK => Some(if offset >= ETHER { "vlan" } else { "ether" }),
            NETWORK => self.network,
            TRANSPORT => header::transport(self.protocol),
            _ => None,
        }
    }

    /// A term with fields in place of bytes.
    pub(super) fn resolved(&mut self, term: Term) -> Term {
        match term {
            Term::Raw(base, offset, bits) => {
                let found = self.header(base, offset).and_then(|header| header::field(header, offset, bits));
                match found {
                    Some(field) => {
                        self.used(field);
                        Term::Field(field)
                    }
                    None => Term::Raw(base, offset, bits),
                }
            }
            Term::Binary { of, sign: ">>", with } => match self.shifted_field(&of, &with) {
                Some(field) => {
                    self.used(field);
                    Term::Field(field)
                }
                None => Term::Binary { of: Box::new(self.resolved(*of)), sign: ">>", with },
            },
            Term::Binary { of, sign, with } => Term::Binary { of: Box::new(self.resolved(*of)), sign, with },
            Term::Turned(of) => Term::Turned(Box::new(self.resolved(*of))),
            Term::Concat(parts) => Term::Concat(parts.into_iter().map(|part| self.resolved(part)).collect()),
            other => other,
        }
    }

    /// `(bytes & mask) >> bits`: a field that does not fill its bytes.
    fn shifted_field(&self, of: &Term, with: &[u8]) -> Option<&'static Field> {
        let Term::Binary { of, sign: "&", with: mask } = of else { return None };
        let (field, shift) = self.masked_field(of, mask)?;
        (with.first_chunk().map(|bits| u32::from_ne_bytes(*bits)) == Some(shift)).then_some(field)
    }

    /// The field that is left of bytes under a mask, and by how many bits it is shifted.
    fn masked_field(&self, of: &Term, mask: &[u8]) -> Option<(&'static Field, u32)> {
        let Term::Raw(base, offset, bits) = *of else { return None };
        let (mask, width) = (number(mask, Order::Big)?, bits);
        let (low, ones) = (mask.trailing_zeros(), mask.count_ones());
        let contiguous = mask != 0 && mask.checked_shr(low)?.trailing_ones() == ones;
        let start = width.checked_sub(low + ones).filter(|_| contiguous && ones < width)?;
        let field = header::field(self.header(base, offset)?, offset.checked_add(start)?, ones)?;
        Some((field, low))
    }

    /// A comparison of less than a whole field, or of one that does not fill its bytes.
    pub(super) fn part_of_field(&self, left: &Term, value: &[u8]) -> Option<(&'static Field, Right)> {
        match left {
            Term::Raw(base, offset, bits) => {
                let field = header::field_at(self.header(*base, *offset)?, *offset)?;
                if !field.kind.has_prefixes() || *bits >= field.bits {
                    return None;
                }
                let mut whole = value.to_vec();
                whole.resize(field.bits as usize / 8, 0);
                Some((field, Right::Prefix(whole, *bits)))
            }
            Term::Binary { of, sign: "&", with } => {
                let (field, shift) = self.masked_field(of, with)?;
                let shifted = number(value, Order::Big)?.checked_shr(shift)?.to_be_bytes();
                let bytes = shifted.len() - (field.bits as usize).div_ceil(8);
                Some((field, Right::Value(shifted.get(bytes..)?.to_vec())))
            }
            _ => None,
        }
    }

    /// Bytes of the packet are written; a field that does not fill its bytes comes with the rest of them as it was.
    pub(super) fn set_field(&mut self, bytes: Term, register: u32) -> Option<Statement> {
        let to = self.take(register)?;
        if let Term::Binary { of: masked, sign: "|", with: or } = &to
            && let Term::Binary { of, sign: "&", with: kept } = &**masked
            && **of == bytes
        {
            let mask: Vec<u8> = kept.iter().zip(or).map(|(kept, or)| !kept | or).collect();
            let (field, shift) = self.masked_field(&bytes, &mask)?;
            let value = number(or, Order::Big)?.checked_shr(shift)?.to_be_bytes();
            let from = value.len() - (field.bits as usize).div_ceil(8);
            let to = Term::Value(value.get(from..)?.to_vec());
            return Some(Statement::Set { what: Term::Field(field), to });
        }
        let what = self.resolved(bytes);
        Some(Statement::Set { what, to: self.resolved(to) })
    }

    /// nft compares fields that lie side by side in one go.
    pub(super) fn split(&mut self, base: u32, offset: u32, bits: u32, value: &[u8]) -> Option<()> {
        if base == TRANSPORT && self.protocol.is_none() {
            return None;
        }
        let mut parts = Vec::new();
        let (mut at, end) = (offset, offset.checked_add(bits)?);
        while at < end {
            let field = header::field_at(self.header(base, at)?, at)?;
            let from = ((at - offset) / 8) as usize;
            let bytes = value.get(from..from + field.bits as usize / 8).filter(|_| field.bits % 8 == 0)?;
            parts.push((field, bytes.to_vec()));
            at += field.bits;
        }
        if parts.len() < 2 || at != end {
            return None;
        }
        for (field, bytes) in parts {
            self.used(field);
            self.compared(Term::Field(field), "", Right::Value(bytes))?;
        }
        Some(())
    }
}
