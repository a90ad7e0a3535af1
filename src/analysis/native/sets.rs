//! Sets and ranges that a native rule asks about one property of the packet, as a condition: iptables has no match for them.

use super::elements::{entries, present};
use super::{
    IIF, IIFNAME, L4PROTO, MARK, NFPROTO, OIF, OIFNAME, PROTOCOL, Reading, SKGID, SKUID, Translator, big16, host,
};
use crate::nft::{self, Load, Right, Statement, Term};
use crate::packet::{By, Condition, Device, Field, Lookup, Wanted, exact_text, socket};
use std::borrow::Cow;

/// `NFT_CT_*`
const CT_DIRECTION: u32 = 1;
const CT_STATUS: u32 = 2;
const CT_PROTOCOL: u32 = 10;
/// `NFT_SOCKET_*`
const TRANSPARENT: u32 = 0;
const SOCKET_MARK: u32 = 1;
const WILDCARD: u32 = 2;
/// `NFT_META_*`
const IIFTYPE: u32 = 8;
const OIFTYPE: u32 = 9;
/// `ARPHRD_LOOPBACK` (`include/uapi/linux/if_arp.h`)
const LOOPBACK: [u8; 2] = 772_u16.to_ne_bytes();
/// Bits of the states without a connection, of which nothing can be asked.
const WITHOUT: u128 = 1 | 1 << 8;

/// What is asked of a connection ends the rule where there is none (net/netfilter/nft_ct.c).
fn tracked(condition: Condition) -> Condition {
    Condition::All(vec![Condition::AnyBit(Field::State, WITHOUT).negated_if(true), condition])
}

/// What is asked of the socket that the packet is for: without one, or with half of one, the rule breaks off (net/netfilter/nft_socket.c).
fn of_socket(key: u32, value: &[u8]) -> Option<(Condition, Condition)> {
    let bits = |mask: u8, value: u8| Condition::Masked { field: Field::Socket, mask: mask.into(), value: value.into() };
    let all = |mask: u8| bits(mask, mask);
    let flag = |bit: u8, set: u8| match value {
        [0] => Some(bits(bit, bit & !set)),
        [1] => Some(bits(bit, set)),
        _ => None,
    };
    Some(match key {
        TRANSPARENT => (all(socket::EXISTS), flag(socket::TRANSPARENT, socket::TRANSPARENT)?),
        SOCKET_MARK => (all(socket::EXISTS | socket::FULL), Condition::equals(Field::SocketMark, host(value)?)),
        // A wildcard is bound to no address.
        WILDCARD => (all(socket::EXISTS | socket::FULL), flag(socket::BOUND, 0)?),
        _ => return None,
    })
}

/// What is asked of the routing tables, beside types of addresses that iptables can ask for (`NFT_FIB_RESULT_*`, `NFTA_FIB_F_*`).
fn by_routes(result: u32, flags: u32, value: &[u8]) -> Option<Condition> {
    const DEVICE: u32 = 1;
    const NAME: u32 = 2;
    const TYPE: u32 = 3;
    const PRESENT: u32 = 32;
    let (destination, by) = match (flags & 3, flags & 24) {
        (end @ (1 | 2), 0) => (end == 2, By::Any),
        (end @ (1 | 2), 8) => (end == 2, By::Input),
        (end @ (1 | 2), 16) => (end == 2, By::Output),
        _ => return None,
    };
    let wanted = if result == TYPE { Wanted::Type } else { Wanted::Device };
    let field = Field::Lookup(Lookup { wanted, destination, by, mark: flags & 4 != 0 });
    let none = Condition::equals(field, 0_u32);
    Some(match (result, value) {
        _ if flags & !63 != 0 => return None,
        (TYPE, value) => Condition::AnyBit(field, 1_u128.checked_shl(host(value)?)?),
        (DEVICE | NAME, value) if flags & PRESENT != 0 => match value {
            [there] => none.negated_if(*there != 0),
            value => none.negated_if(host(value)? != 0),
        },
        (DEVICE, value) if flags & PRESENT == 0 => Condition::equals(field, host(value)?),
        (NAME, value) if flags & PRESENT == 0 && value.iter().all(|byte| *byte == 0) => none,
        _ => return None,
    })
}

/// What is asked of a header that only packets of its protocol have.
fn of_transport(header: &str, condition: Condition) -> Condition {
    let number = match header {
        "tcp" => 6_u8,
        "udp" => 17,
        _ => return condition,
    };
    Condition::All(vec![Condition::equals(Field::Protocol, number), condition])
}

/// Bits of a field.
fn bits(field: Field, right: &Right, number: impl Fn(&[u8]) -> Option<u128>) -> Option<Condition> {
    Some(match right {
        Right::Value(value) => Condition::equals(field, number(value)?),
        Right::AnyOf(bits) => Condition::AnyBit(field, number(bits)?),
        Right::NoneOf(bits) => Condition::Masked { field, mask: number(bits)?, value: 0 },
        Right::Of { mask, value } => Condition::Masked { field, mask: number(mask)?, value: number(value)? },
        _ => return None,
    })
}

impl Translator<'_> {
    /// What a set asks of the packet, as far as that can be said of fields of it.
    pub(super) fn sets(&mut self, left: &Term, sign: &str, right: &Right) -> Option<Condition> {
        self.property(left, sign, right)
            .or_else(|| match (sign, right) {
                ("" | "==", Right::Set(name)) => self.looked_up(left, name, false),
                ("!=", Right::Set(name)) => self.looked_up(left, name, true),
                _ => None,
            })
            .or_else(|| self.compared_by(left, sign, right))
            .or_else(|| self.flags(left, sign, right))
    }

    /// Comparisons by size and by bits of what has a field of its own.
    fn compared_by(&mut self, left: &Term, sign: &str, right: &Right) -> Option<Condition> {
        let negated = match sign {
            "" | "==" => Some(false),
            "!=" => Some(true),
            _ => None,
        };
        match (left, right) {
            (Term::Field(field), Right::Value(value)) if negated.is_none() => {
                let (of, protocol) = match (field.header, field.name) {
                    (header @ ("th" | "tcp" | "udp"), "sport") => (Field::SourcePort, header),
                    (header @ ("th" | "tcp" | "udp"), "dport") => (Field::DestinationPort, header),
                    _ => return None,
                };
                let (port, most) = (u128::from(big16(value)?), u128::from(u16::MAX));
                let condition = match sign {
                    "<" => Condition::Range(of, 0, port.checked_sub(1)?),
                    "<=" => Condition::Range(of, 0, port),
                    ">" => Condition::Range(of, port + 1, most),
                    ">=" => Condition::Range(of, port, most),
                    _ => return None,
                };
                Some(of_transport(protocol, condition))
            }
            // Where the rule asks for that end twice.
            (Term::Field(field), Right::Prefix(value, bits)) => {
                let (of, ipv6) = match (field.header, field.name) {
                    (header @ ("ip" | "ip6"), "saddr") => (Field::Source, header == "ip6"),
                    (header @ ("ip" | "ip6"), "daddr") => (Field::Destination, header == "ip6"),
                    _ => return None,
                };
                let value = value.iter().fold(0, |all, byte| all << 8 | u128::from(*byte));
                let free = u128::MAX.checked_shl(field.bits.checked_sub(*bits)?).unwrap_or(0);
                let all = u128::MAX.checked_shr(128_u32.checked_sub(field.bits)?).unwrap_or(0);
                let condition = Condition::Masked { field: of, mask: free & all, value };
                self.family(ipv6)?;
                Some(condition.negated_if(negated?))
            }
            (Term::Field(field), right) if (field.header, field.name) == ("tcp", "flags") => {
                let condition = bits(Field::TcpFlags, right, |value| value.first().copied().map(Into::into))?;
                Some(of_transport("tcp", condition.negated_where_present(Field::TcpFlags, negated?)))
            }
            (Term::Load(Load::Ct { key: CT_DIRECTION, direction: None }), Right::Value(value)) => {
                let reply = *value.first()?;
                Some(tracked(Condition::equals(Field::IsReply, reply).negated_if(negated?)))
            }
            (Term::Load(Load::Ct { key: CT_PROTOCOL, .. }), Right::Value(value)) => {
                let number = *value.first()?;
                Some(tracked(Condition::equals(Field::ConnectionProtocol, number).negated_if(negated?)))
            }
            (Term::Load(Load::Ct { key: CT_STATUS, direction: None }), Right::AnyOf(_) | Right::NoneOf(_)) => {
                let condition = bits(Field::ConnectionStatus, right, |value| host(value).map(Into::into))?;
                Some(tracked(condition.negated_if(negated?)))
            }
            (Term::Meta(NFPROTO), Right::Value(value)) => match value.as_slice() {
                [2] => Some(Condition::Ipv6(false).negated_if(negated?)),
                [10] => Some(Condition::Ipv6(true).negated_if(negated?)),
                _ => None,
            },
            (Term::Meta(key @ (IIFNAME | OIFNAME)), Right::Value(name) | Right::Begins(name)) => {
                let end = name.iter().position(|byte| *byte == 0).unwrap_or(name.len());
                let (name, rest) = name.split_at_checked(end)?;
                let device = if *key == IIFNAME { Device::Input } else { Device::Output };
                let (name, prefix) = (exact_text(name).into_owned(), matches!(right, Right::Begins(_)));
                let plain = rest.iter().all(|byte| *byte == 0);
                plain.then_some(Condition::Device { device, name, prefix }.negated_if(negated?))
            }
            (Term::Meta(key @ (IIF | OIF)), Right::Value(value)) => {
                let device = if *key == IIF { Device::Input } else { Device::Output };
                let (index, of) =
                    (host(value)?, |name: &str, prefix| Condition::Device { device, name: name.to_owned(), prefix });
                // Loopback is the first of each namespace; where there is no device, the number is 0.
                let condition = match index {
                    0 => of("", true).negated_if(true),
                    1 => of("lo", false),
                    _ => {
                        let which = Condition::Numbered { device, index };
                        Condition::All(vec![of("", true), of("lo", false).negated_if(true), which])
                    }
                };
                Some(condition.negated_if(negated?))
            }
            (Term::Load(Load::Socket { key, level: None }), Right::Value(value)) => of_socket(*key, value)
                .map(|(exists, condition)| Condition::All(vec![exists, condition.negated_if(negated == Some(true))]))
                .filter(|_| negated.is_some()),
            (Term::Load(Load::Fib { result, flags }), Right::Value(value)) => {
                Some(by_routes(*result, *flags, value)?.negated_if(negated?))
            }
            // The kind of device (`ARPHRD_LOOPBACK`); without a device the rule breaks off.
            (Term::Meta(key @ (IIFTYPE | OIFTYPE)), Right::Value(value)) if **value == LOOPBACK => {
                let device = if *key == IIFTYPE { Device::Input } else { Device::Output };
                let of = |name: &str, prefix| Condition::Device { device, name: name.to_owned(), prefix };
                Some(Condition::All(vec![of("", true), of("lo", false).negated_if(negated?)]))
            }
            (Term::Meta(PROTOCOL), Right::Value(value)) => match big16(value)? {
                0x800 => Some(Condition::Ipv6(false).negated_if(negated?)),
                0x86dd => Some(Condition::Ipv6(true).negated_if(negated?)),
                _ => None,
            },
            _ => None,
        }
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
        if alone.never {
            return Some(Condition::Any(Vec::new()));
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
                ("th" | "tcp" | "udp", "sport") => (Field::SourcePort, None),
                ("th" | "tcp" | "udp", "dport") => (Field::DestinationPort, None),
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
        let condition = match property {
            Term::Field(field) => of_transport(field.header, condition),
            _ => condition,
        };
        if let Some(ipv6) = ipv6 {
            self.family(ipv6)?;
        }
        // A packet that nobody owns never passes.
        let owned = negated && matches!(field, Field::Uid | Field::Gid);
        Some(if owned { Condition::All(vec![Condition::Owned, condition]) } else { condition })
    }
}
