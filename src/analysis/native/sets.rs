//! Sets and ranges that a native rule asks about one property of the packet, as a condition: iptables has no match for them.

use super::elements::{entries, present};
use super::{L4PROTO, MARK, Reading, SKGID, SKUID, Translator, big16, host};
use crate::nft::{self, Right, Statement, Term};
use crate::packet::{Condition, Field};
use std::borrow::Cow;

impl Translator<'_> {
    /// What a set asks of the packet, as far as that can be said of fields of it.
    pub(super) fn sets(&mut self, left: &Term, sign: &str, right: &Right) -> Option<Condition> {
        self.property(left, sign, right).or_else(|| self.flags(left, sign, right)).or_else(|| match (sign, right) {
            ("" | "==", Right::Set(name)) => self.looked_up(left, name, false),
            ("!=", Right::Set(name)) => self.looked_up(left, name, true),
            _ => None,
        })
    }

    /// Flags of TCP, of which some are masked or not.
    fn flags(&mut self, left: &Term, sign: &str, right: &Right) -> Option<Condition> {
        const ALL: u8 = u8::MAX;
        const TCP: u8 = 6;
        let (of, mask) = match left {
            Term::Binary { of, sign: "&", with } => match with.as_slice() {
                [mask] => (&**of, *mask),
                _ => return None,
            },
            other => (other, ALL),
        };
        let Term::Field(nft::Field { header: "tcp", name: "flags", .. }) = of else { return None };
        let field = Field::TcpFlags;
        let (condition, negated) = match (right, sign) {
            (Right::Value(value), "" | "==" | "!=") => {
                let [value] = value.as_slice() else { return None };
                (Condition::Masked { field, mask: mask.into(), value: (*value).into() }, sign == "!=")
            }
            (Right::AnyOf(bits) | Right::NoneOf(bits), "" | "==") => {
                let [bits] = bits.as_slice() else { return None };
                (Condition::AnyBit(field, (*bits & mask).into()), matches!(right, Right::NoneOf(_)))
            }
            _ => return None,
        };
        self.protocol(false, TCP)?;
        Some(condition.negated_where_present(field, negated))
    }

    /// A key that is looked up, element by element.
    fn looked_up(&self, key: &Term, name: &str, negated: bool) -> Option<Condition> {
        let set = self.lasting(name)?;
        let all = entries(set, key, &self.place)?.into_iter().map(|entry| {
            let condition = self.asked(&entry.tests)?;
            let expires = || Condition::Opaque(format!("whether an element of set {name} has expired"));
            Some(if entry.expires { Condition::All(vec![condition, expires()]) } else { condition })
        });
        let any = Condition::Any(all.collect::<Option<_>>()?);
        if !negated {
            return Some(any);
        }
        let present = self.asked(&present(key, &self.place))?;
        Some(Condition::All(vec![present, Condition::Not(Box::new(any))]))
    }

    /// What these comparisons ask; `None` where one of them is about nothing that is modelled.
    fn asked(&self, tests: &[Statement]) -> Option<Condition> {
        let mut alone = Translator::new(self.table, self.place);
        for test in tests {
            alone.statement(test)?;
        }
        let condition = Reading { rule: Cow::Owned(alone.rule), ipv6: alone.ipv6 }.condition();
        let (mut opaque, mut known) = (false, false);
        condition.visit(&mut |part| match part {
            Condition::Opaque(_) => opaque = true,
            _ => known = true,
        });
        (known || !opaque).then_some(condition)
    }

    /// A property of the packet that lies in a range, or in one of those of a set.
    fn property(&mut self, left: &Term, sign: &str, right: &Right) -> Option<Condition> {
        let negated = match sign {
            "" | "==" => false,
            "!=" => true,
            _ => return None,
        };
        let (ranges, ordered) = match right {
            Right::Set(name) => {
                let set = self.lasting(name)?;
                (nft::ranges(set)?, set.is_interval())
            }
            Right::Range(from, to) => (vec![(from.clone(), to.clone())], true),
            Right::Value(value) => (vec![(value.clone(), value.clone())], false),
            _ => return None,
        };
        let property = match left {
            Term::Turned(of) => &**of,
            other => other,
        };
        let (field, ipv6) = match property {
            Term::Meta(SKUID) => (Field::Uid, None),
            Term::Meta(SKGID) => (Field::Gid, None),
            Term::Meta(MARK) => (Field::Mark, None),
            Term::Meta(L4PROTO) => (Field::Protocol, None),
            Term::Field(field) => match (field.header, field.name) {
                ("ip", "protocol") => (Field::Protocol, Some(false)),
                (header @ ("ip" | "ip6"), "saddr") => (Field::Source, Some(header == "ip6")),
                (header @ ("ip" | "ip6"), "daddr") => (Field::Destination, Some(header == "ip6")),
                ("th", "sport") => (Field::SourcePort, None),
                ("th", "dport") => (Field::DestinationPort, None),
                _ => return None,
            },
            _ => return None,
        };
        let turned = matches!(left, Term::Turned(_) | Term::Field(_));
        if ordered && !turned && !matches!(property, Term::Meta(L4PROTO)) {
            return None;
        }
        // Ranges keep the most significant byte first, single values the order in which they were loaded.
        let big = ordered || turned;
        let value = |bytes: &[u8]| -> Option<u128> {
            match bytes.len() {
                1 => bytes.first().map(|byte| (*byte).into()),
                2 => big16(bytes).map(Into::into),
                4 if big => Some(u32::from_be_bytes(*bytes.first_chunk()?).into()),
                4 => host(bytes).map(Into::into),
                16 if big => Some(u128::from_be_bytes(*bytes.first_chunk()?)),
                _ => None,
            }
        };
        let any = ranges.iter().map(|(from, to)| Some(Condition::Range(field, value(from)?, value(to)?)));
        let condition = Condition::Any(any.collect::<Option<_>>()?);
        // Without the header that holds them, as in further fragments, nothing is compared.
        let condition = match field {
            Field::SourcePort | Field::DestinationPort => condition.negated_where_present(field, negated),
            _ => condition.negated_if(negated),
        };
        if let Some(ipv6) = ipv6 {
            self.family(ipv6)?;
        }
        // A packet that nobody owns never passes.
        let owned = negated && matches!(field, Field::Uid | Field::Gid);
        Some(if owned { Condition::All(vec![Condition::Owned, condition]) } else { condition })
    }
}
