//! Expressions of nf_tables from their attributes (`include/uapi/linux/netfilter/nf_tables.h`).
//!
//! An attribute that is not expected would change the meaning: such an expression stays as bytes.

use super::attribute::{Attribute, Attributes, Builder, CutAttribute, attributes};
use crate::model::{Counters, exact_text};
use crate::nft::{Comparison, Expression, HeaderOption, Load, Span, Verdict};

/// The attributes of an expression, looked up by number.
pub(super) struct Fields<'a>(pub(super) &'a [u8]);

impl<'a> Fields<'a> {
    pub(super) fn get(&self, kind: u16) -> Option<Attribute<'a>> {
        attributes(self.0).filter_map(Result::ok).find(|attribute| attribute.kind == kind)
    }

    pub(super) fn be32(&self, kind: u16) -> Option<u32> {
        self.get(kind)?.be32()
    }

    fn be64(&self, kind: u16) -> Option<u64> {
        self.get(kind)?.be64()
    }

    /// `NFTA_DATA_VALUE` in the attribute.
    fn value(&self, kind: u16) -> Option<Vec<u8>> {
        data_value(&self.get(kind)?)
    }

    /// Whole, and of these kinds alone.
    pub(super) fn only(&self, kinds: &[u16]) -> bool {
        attributes(self.0).all(|attribute| attribute.is_ok_and(|attribute| kinds.contains(&attribute.kind)))
    }

    /// Registers of first and last.
    fn span(&self, from: u16, to: u16) -> Span {
        let (from, to) = (self.be32(from), self.be32(to));
        Span { from, to: to.filter(|to| Some(*to) != from) }
    }
}

/// `NFTA_DATA_VALUE`, alone.
pub(super) fn data_value(data: &Attribute<'_>) -> Option<Vec<u8>> {
    let mut parts = data.nested();
    let value = parts.next()?.ok().filter(|part| part.kind == 1)?;
    parts.next().is_none().then(|| value.value.to_vec())
}

/// `NFTA_DATA_VERDICT`: code and chain.
pub(super) fn verdict(data: &Attribute<'_>) -> Option<Verdict> {
    let verdict = data.nested().filter_map(Result::ok).find(|part| part.kind == 2)?;
    let fields = Fields(verdict.value);
    let chain = || fields.get(2).map(|chain| chain.text());
    Some(match fields.be32(1)?.cast_signed() {
        0 => Verdict::Drop,
        1 => Verdict::Accept,
        -1 => Verdict::Continue,
        -3 => Verdict::Jump(chain()?),
        -4 => Verdict::Goto(chain()?),
        -5 => Verdict::Return,
        other => Verdict::Other(other),
    })
}

/// A list of expressions (`NFTA_LIST_ELEM`).
pub(super) fn list(attribute: &Attribute<'_>) -> Result<Vec<Expression>, CutAttribute> {
    const ELEMENT: u16 = 1;
    // Room for those that are there: a list that grows is copied again and again.
    let mut found = Vec::with_capacity(attribute.nested().count());
    for part in attribute.nested() {
        let part = part?;
        found.push(match part.kind {
            ELEMENT => expression(part.nested())?,
            _ => strange(&part),
        });
    }
    Ok(found)
}

/// One expression: name and data. What does not have the expected shape stays as bytes.
pub(super) fn expression(parts: Attributes<'_>) -> Result<Expression, CutAttribute> {
    // The name as bytes: most of the time it is only compared.
    let (mut name, mut data): (&[u8], &[u8]) = (&[], &[]);
    let mut more = None;
    for part in parts {
        let part = part?;
        match part.kind {
            1 => name = part.up_to_zero(),
            2 => data = part.value,
            _ => more = Some(part),
        }
    }
    let Some(more) = more else { return Ok(typed(name, data)) };
    // Whatever it says, it is more than its name and data do.
    let data = Builder::default().put(2, data).put(more.kind, more.value).finish();
    Ok(Expression::Unknown { name: exact_text(name).into_owned(), data })
}

/// An attribute in the place of an expression, or beside all of them, that is not known.
pub(super) fn strange(attribute: &Attribute<'_>) -> Expression {
    Expression::Unknown { name: format!("attribute {}", attribute.kind), data: attribute.value.to_vec() }
}

/// The expression of this name.
pub(super) fn typed(name: &[u8], data: &[u8]) -> Expression {
    #[cfg(test)]
    if crate::xt::blind::to(&exact_text(name)) {
        return Expression::Unknown { name: exact_text(name).into_owned(), data: data.to_vec() };
    }
    let fields = Fields(data);
    let typed = match name {
        b"meta" | b"payload" | b"ct" | b"rt" | b"fib" | b"socket" | b"numgen" => loads(name, &fields),
        b"osf" | b"xfrm" => looks(name, &fields),
        b"exthdr" => option(&fields),
        b"hash" if fields.only(&[1, 2, 3, 4, 5, 6, 7]) => hash(&fields),
        b"dup" if fields.only(&[1, 2]) => {
            Some(Expression::Send { copy: true, address: fields.be32(1), device: fields.be32(2), family: None })
        }
        b"fwd" if fields.only(&[1, 2, 3]) => {
            let (device, address, family) = (fields.be32(1), fields.be32(2), fields.be32(3));
            Some(Expression::Send { copy: false, address, device, family })
        }
        b"bitwise" | b"byteorder" | b"immediate" => changes(name, &fields),
        b"cmp" | b"range" | b"lookup" => asks(name, &fields),
        b"nat" | b"masq" | b"redir" | b"tproxy" => translates(name, &fields),
        b"counter" | b"limit" | b"quota" | b"connlimit" => counts(name, &fields),
        b"dynset" if fields.only(&[1, 2, 3, 4, 5, 6, 7, 8, 9, 10]) => update(&fields),
        b"reject" if fields.only(&[1, 2]) => fields.be32(1).map(|kind| {
            let code = fields.get(2).and_then(|code| code.u8()).unwrap_or_default();
            Expression::Reject { kind, code }
        }),
        b"notrack" if data.is_empty() => Some(Expression::Notrack),
        b"queue" if fields.only(&[1, 2, 3]) => queue(&fields),
        b"queue" if fields.only(&[3, 4]) => fields.be32(4).and_then(|register| {
            let flags = fields.get(3).map_or(Some(0), |flags| flags.be16())?;
            Some(Expression::QueueBy { register, flags })
        }),
        b"synproxy" if fields.only(&[1, 2, 3]) => synproxy(&fields),
        b"flow_offload" if fields.only(&[1]) => fields.get(1).map(|name| Expression::Flow { table: name.text() }),
        b"last" if fields.only(&[1, 2, 3]) => fields.be32(1).and_then(|set| match set {
            0 => Some(Expression::Last(None)),
            _ => fields.be64(2).map(|ago| Expression::Last(Some(ago))),
        }),
        b"objref" if fields.only(&[1, 2]) => object(&fields),
        b"objref" if fields.only(&[3, 4, 5]) => {
            fields.be32(3).zip(fields.get(4)).map(|(register, set)| Expression::ObjectMap { set: set.text(), register })
        }
        b"match" if fields.only(&[1, 2, 3]) => {
            xt_part(&fields).map(|(name, revision, data)| Expression::Match { name, revision, data })
        }
        b"target" if fields.only(&[1, 2, 3]) => {
            xt_part(&fields).map(|(name, revision, data)| Expression::Target { name, revision, data })
        }
        b"log" if fields.only(&[1, 2, 3, 4, 5, 6]) => log(&fields),
        _ => None,
    };
    typed.unwrap_or_else(|| Expression::Unknown { name: exact_text(name).into_owned(), data: data.to_vec() })
}

/// What loads a register, or sets something from one.
fn loads(name: &[u8], fields: &Fields<'_>) -> Option<Expression> {
    let register = fields.be32(if name == b"socket" { 2 } else { 1 });
    let direction = fields.get(3).and_then(|direction| direction.u8());
    Some(match (name, register) {
        (b"meta", Some(register)) if fields.only(&[1, 2]) => Expression::Meta { key: fields.be32(2)?, register },
        (b"meta", None) if fields.only(&[2, 3]) => {
            Expression::SetMeta { key: fields.be32(2)?, register: fields.be32(3)? }
        }
        (b"payload", Some(register)) if fields.only(&[1, 2, 3, 4]) => {
            Expression::Payload { base: fields.be32(2)?, offset: fields.be32(3)?, length: fields.be32(4)?, register }
        }
        (b"payload", None) if fields.only(&[2, 3, 4, 5, 6, 7, 8]) => Expression::SetPayload {
            base: fields.be32(2)?,
            offset: fields.be32(3)?,
            length: fields.be32(4)?,
            register: fields.be32(5)?,
        },
        (b"ct", Some(register)) if fields.only(&[1, 2, 3]) => {
            Expression::Load { from: Load::Ct { key: fields.be32(2)?, direction }, register }
        }
        (b"ct", None) if fields.only(&[2, 3, 4]) => {
            Expression::SetCt { key: fields.be32(2)?, direction, register: fields.be32(4)? }
        }
        (b"rt", Some(register)) if fields.only(&[1, 2]) => {
            Expression::Load { from: Load::Route { key: fields.be32(2)? }, register }
        }
        (b"fib", Some(register)) if fields.only(&[1, 2, 3]) => {
            Expression::Load { from: Load::Fib { result: fields.be32(2)?, flags: fields.be32(3)? }, register }
        }
        (b"socket", Some(register)) if fields.only(&[1, 2, 3]) => {
            Expression::Load { from: Load::Socket { key: fields.be32(1)?, level: fields.be32(3) }, register }
        }
        (b"numgen", Some(register)) if fields.only(&[1, 2, 3, 4]) => {
            let offset = fields.be32(4).unwrap_or_default();
            let from = Load::Number { kind: fields.be32(3)?, modulus: fields.be32(2)?, offset };
            Expression::Load { from, register }
        }
        _ => return None,
    })
}

/// What changes a register in its place.
fn changes(name: &[u8], fields: &Fields<'_>) -> Option<Expression> {
    let register = fields.be32(1)?;
    let in_place = fields.be32(2) == Some(register);
    Some(match name {
        b"bitwise" if fields.only(&[1, 2, 3, 4, 5, 6, 7]) && in_place => match fields.be32(6).unwrap_or_default() {
            0 => Expression::Bitwise { mask: fields.value(4)?, xor: fields.value(5)?, register },
            operation @ (1 | 2) => {
                // The number of bits is in the machine's order.
                let bits = u32::from_ne_bytes(*fields.value(7)?.first_chunk()?);
                Expression::Shift { left: operation == 1, bits, register }
            }
            _ => return None,
        },
        // Of several numbers each would be turned by itself; of a single byte nothing is.
        b"byteorder" if fields.only(&[1, 2, 3, 4, 5]) && in_place => {
            let (length, size) = (fields.be32(4)?, fields.be32(5)?);
            (length == size || length == 1).then_some(Expression::ByteOrder { register })?
        }
        b"immediate" if fields.only(&[1, 2]) => match (register, fields.get(2)?) {
            (0, data) => Expression::Immediate(verdict(&data)?),
            (register, data) => Expression::Value { value: data_value(&data)?, register },
        },
        _ => return None,
    })
}

/// What compares a register.
fn asks(name: &[u8], fields: &Fields<'_>) -> Option<Expression> {
    Some(match name {
        b"cmp" if fields.only(&[1, 2, 3]) => Expression::Cmp {
            comparison: Comparison::from_number(fields.be32(2)?)?,
            value: fields.value(3)?,
            register: fields.be32(1)?,
        },
        b"range" if fields.only(&[1, 2, 3, 4]) => Expression::Range {
            negated: bit(fields.be32(2)?)?,
            from: fields.value(3)?,
            to: fields.value(4)?,
            register: fields.be32(1)?,
        },
        b"lookup" if fields.only(&[1, 2, 3, 4, 5]) => Expression::Lookup {
            set: fields.get(1)?.text(),
            negated: bit(fields.be32(5).unwrap_or_default())?,
            register: fields.be32(2)?,
            into: fields.be32(3),
        },
        _ => return None,
    })
}

fn translates(name: &[u8], fields: &Fields<'_>) -> Option<Expression> {
    Some(match name {
        b"nat" if fields.only(&[1, 2, 3, 4, 5, 6, 7]) => Expression::Nat {
            kind: fields.be32(1)?,
            family: fields.be32(2)?,
            address: fields.span(3, 4),
            port: fields.span(5, 6),
            flags: fields.be32(7).unwrap_or_default(),
        },
        b"masq" if fields.only(&[1, 2, 3]) => {
            Expression::Masquerade { port: fields.span(2, 3), flags: fields.be32(1).unwrap_or_default() }
        }
        b"redir" if fields.only(&[1, 2, 3]) => {
            Expression::Redirect { port: fields.span(1, 2), flags: fields.be32(3).unwrap_or_default() }
        }
        b"tproxy" if fields.only(&[1, 2, 3]) => Expression::Tproxy {
            family: fields.be32(1).unwrap_or_default(),
            address: fields.be32(2),
            port: fields.be32(3),
        },
        _ => return None,
    })
}

fn counts(name: &[u8], fields: &Fields<'_>) -> Option<Expression> {
    Some(match name {
        b"counter" if fields.only(&[1, 2, 3]) => {
            let Counters { packets, bytes } = counters(attributes(fields.0)).ok()?;
            Expression::Counter { packets, bytes }
        }
        b"limit" if fields.only(&[1, 2, 3, 4, 5, 6]) => Expression::Limit {
            rate: fields.be64(1)?,
            unit: fields.be64(2)?,
            burst: fields.be32(3).unwrap_or_default(),
            bytes: bit(fields.be32(4).unwrap_or_default())?,
            over: bit(fields.be32(5).unwrap_or_default())?,
        },
        b"quota" if fields.only(&[1, 2, 3, 4]) => Expression::Quota {
            bytes: fields.be64(1)?,
            used: fields.be64(4).unwrap_or_default(),
            flags: fields.be32(2).unwrap_or_default(),
        },
        b"connlimit" if fields.only(&[1, 2]) => {
            Expression::Connections { count: fields.be32(1)?, over: bit(fields.be32(2).unwrap_or_default())? }
        }
        _ => return None,
    })
}

/// `NFTA_COUNTER_*`
pub(super) fn counters(parts: Attributes<'_>) -> Result<Counters, CutAttribute> {
    let mut counters = Counters::default();
    for part in parts {
        let part = part?;
        match part.kind {
            1 => counters.bytes = part.be64().unwrap_or_default(),
            2 => counters.packets = part.be64().unwrap_or_default(),
            _ => {}
        }
    }
    Ok(counters)
}

fn update(fields: &Fields<'_>) -> Option<Expression> {
    // NFT_DYNSET_F_EXPR; of the others one inverts the match.
    const EXPRESSIONS: u32 = 2;
    if fields.be32(9).unwrap_or_default() & !EXPRESSIONS != 0 {
        return None;
    }
    let expressions = match (fields.get(10), fields.get(7)) {
        (Some(all), _) => list(&all).ok()?,
        (None, Some(one)) => vec![expression(one.nested()).ok()?],
        (None, None) => Vec::new(),
    };
    Some(Expression::Update {
        set: fields.get(1)?.text(),
        operation: fields.be32(3)?,
        key: fields.be32(4)?,
        data: fields.be32(5),
        timeout: fields.be64(6),
        expressions,
    })
}

fn option(fields: &Fields<'_>) -> Option<Expression> {
    const TCP: u32 = 1;
    let present = bit(fields.be32(5).unwrap_or_default())?;
    let option = HeaderOption {
        of: fields.be32(6).unwrap_or_default(),
        number: fields.get(2)?.u8()?,
        offset: fields.be32(3)?,
        length: fields.be32(4)?,
        present,
    };
    match (fields.be32(1), fields.be32(7)) {
        (None, None) if fields.only(&[2, 3, 4, 5, 6]) && option.of == TCP && !present => {
            (option.offset == 0 && option.length == 0).then_some(Expression::Strip { number: option.number })
        }
        (Some(register), None) if fields.only(&[1, 2, 3, 4, 5, 6]) => {
            Some(Expression::Option { from: option, register })
        }
        (None, Some(register)) if fields.only(&[2, 3, 4, 5, 6, 7]) => {
            Some(Expression::SetOption { to: option, register })
        }
        _ => None,
    }
}

fn hash(fields: &Fields<'_>) -> Option<Expression> {
    Some(Expression::Hash {
        kind: fields.be32(7).unwrap_or_default(),
        source: fields.be32(1).zip(fields.be32(3)),
        modulus: fields.be32(4)?,
        seed: fields.be32(5),
        offset: fields.be32(6).unwrap_or_default(),
        register: fields.be32(2)?,
    })
}

fn queue(fields: &Fields<'_>) -> Option<Expression> {
    let be16 = |kind: u16| fields.get(kind).and_then(|attribute| attribute.be16());
    Some(Expression::Queue { number: be16(1)?, total: be16(2)?, flags: be16(3).unwrap_or_default() })
}

fn object(fields: &Fields<'_>) -> Option<Expression> {
    Some(Expression::Object { kind: fields.be32(1)?, name: fields.get(2)?.text() })
}

fn xt_part(fields: &Fields<'_>) -> Option<(String, u8, Vec<u8>)> {
    Some((fields.get(1)?.text(), u8::try_from(fields.be32(2)?).ok()?, fields.get(3)?.value.to_vec()))
}

fn log(fields: &Fields<'_>) -> Option<Expression> {
    let prefix = fields.get(2).map(|prefix| prefix.text());
    Some(Expression::Log {
        group: fields.get(1).and_then(|group| group.be16()),
        blank: prefix.as_ref().is_some_and(String::is_empty),
        prefix: prefix.unwrap_or_default(),
        length: fields.be32(3),
        threshold: fields.get(4).and_then(|threshold| threshold.be16()),
        level: fields.be32(5),
        flags: fields.be32(6),
    })
}

/// A switch that has these two positions.
fn bit(number: u32) -> Option<bool> {
    match number {
        0 => Some(false),
        1 => Some(true),
        _ => None,
    }
}

/// `NFTA_SYNPROXY_*`, which the object has too.
pub(super) fn synproxy(fields: &Fields<'_>) -> Option<Expression> {
    Some(Expression::Synproxy { mss: fields.get(1)?.be16()?, scale: fields.get(2)?.u8()?, flags: fields.be32(3)? })
}

/// What looks the packet up by its fingerprint or its transformation.
fn looks(name: &[u8], fields: &Fields<'_>) -> Option<Expression> {
    Some(match name {
        b"osf" if fields.only(&[1, 2, 3]) => {
            let ttl = fields.get(2).map_or(Some(0), |ttl| ttl.u8())?;
            let version = bit(fields.be32(3).unwrap_or_default())?;
            Expression::Load { from: Load::Fingerprint { ttl, version }, register: fields.be32(1)? }
        }
        b"xfrm" if fields.only(&[1, 2, 3, 4]) => {
            let direction = fields.get(3)?.u8()?;
            let from = Load::Transform { key: fields.be32(2)?, direction, number: fields.be32(4).unwrap_or_default() };
            Expression::Load { from, register: fields.be32(1)? }
        }
        _ => return None,
    })
}
