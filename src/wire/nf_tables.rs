//! nf_tables messages (`include/uapi/linux/netfilter/nf_tables.h`): requests, and tables, chains and rules from their answers.

use super::attribute::{Attribute, Attributes, Builder, CutAttribute, attributes};
use crate::model::{Counters, Family, Hook, Policy};
use crate::nft::{Comparison, Expression, Rule, Verdict};

/// `NFNL_SUBSYS_NFTABLES` in the upper byte of the message type.
const SUBSYSTEM: u16 = 10 << 8;
/// `NFT_REG_1`
const FIRST_REGISTER: u32 = 1;
/// Length of `struct nfgenmsg`.
const HEAD: usize = 4;

/// Lists tables.
pub const GET_TABLE: u16 = SUBSYSTEM | 1;
/// Lists chains.
pub const GET_CHAIN: u16 = SUBSYSTEM | 4;
/// Lists rules.
pub const GET_RULE: u16 = SUBSYSTEM | 7;
/// Asks for the generation.
pub const GET_GENERATION: u16 = SUBSYSTEM | 16;

/// A message that cannot be taken apart.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum NftablesError {
    /// An attribute is cut short.
    #[error(transparent)]
    Cut(#[from] CutAttribute),
    /// The message is too short, or lacks what every such message has.
    #[error("a {0} message without {1}")]
    Lacks(&'static str, &'static str),
}

/// A table as it is listed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TableMessage {
    /// Family number (`NFPROTO_*`).
    pub family: u8,
    /// Name.
    pub name: String,
    /// It is switched off (`NFT_TABLE_F_DORMANT`): its chains stand at no hook.
    pub dormant: bool,
}

/// A chain as it is listed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ChainMessage {
    /// Family number.
    pub family: u8,
    /// Its table.
    pub table: String,
    /// Name.
    pub name: String,
    /// Hook number within the family, and priority.
    pub hook: Option<(u32, i32)>,
    /// `filter`, `nat` or `route`.
    pub kind: Option<String>,
    /// Policy.
    pub policy: Option<Policy>,
    /// Counters of the policy.
    pub counters: Option<Counters>,
}

/// A rule as it is listed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RuleMessage {
    /// Its table.
    pub table: String,
    /// Its chain.
    pub chain: String,
    /// Handle.
    pub handle: u64,
    /// What it says.
    pub rule: Rule,
}

/// `struct nfgenmsg`: family, version 0, resource 0.
#[must_use]
pub fn head(family: u8) -> [u8; HEAD] {
    [family, 0, 0, 0]
}

/// Asks for the rules of one chain.
#[must_use]
pub fn rules_of(family: u8, table: &str, chain: &str) -> Vec<u8> {
    Builder::after(&head(family)).put_text(1, table).put_text(2, chain).finish()
}

/// The generation's number in a `NFT_MSG_NEWGEN` message.
///
/// # Errors
/// [`NftablesError`].
pub fn generation(message: &[u8]) -> Result<u32, NftablesError> {
    let (_, mut rest) = body("generation", message)?;
    find(&mut rest, 1)?.and_then(|id| id.be32()).ok_or(NftablesError::Lacks("generation", "id"))
}

/// A `NFT_MSG_NEWTABLE` message.
///
/// # Errors
/// [`NftablesError`].
pub fn table(message: &[u8]) -> Result<TableMessage, NftablesError> {
    const DORMANT: u32 = 1;
    let (family, rest) = body("table", message)?;
    let (mut name, mut dormant) = (None, false);
    for attribute in rest {
        let attribute = attribute?;
        match attribute.kind {
            1 => name = Some(attribute.text()),
            2 => dormant = attribute.be32().is_some_and(|flags| flags & DORMANT != 0),
            _ => {}
        }
    }
    Ok(TableMessage { family, name: name.ok_or(NftablesError::Lacks("table", "name"))?, dormant })
}

/// A `NFT_MSG_NEWCHAIN` message.
///
/// # Errors
/// [`NftablesError`].
pub fn chain(message: &[u8]) -> Result<ChainMessage, NftablesError> {
    let (family, rest) = body("chain", message)?;
    let mut chain = ChainMessage {
        family,
        table: String::new(),
        name: String::new(),
        hook: None,
        kind: None,
        policy: None,
        counters: None,
    };
    for attribute in rest {
        let attribute = attribute?;
        match attribute.kind {
            1 => chain.table = attribute.text(),
            3 => chain.name = attribute.text(),
            4 => chain.hook = hook(&attribute)?,
            5 => {
                chain.policy = attribute.be32().map(|verdict| if verdict == 0 { Policy::Drop } else { Policy::Accept })
            }
            7 => chain.kind = Some(attribute.text()),
            8 => chain.counters = Some(counters(attribute.nested())?),
            _ => {}
        }
    }
    Ok(chain)
}

/// A `NFT_MSG_NEWRULE` message.
///
/// # Errors
/// [`NftablesError`].
pub fn rule(message: &[u8]) -> Result<RuleMessage, NftablesError> {
    const EXPRESSION: u16 = 1;
    let (_, rest) = body("rule", message)?;
    let mut found = RuleMessage { table: String::new(), chain: String::new(), handle: 0, rule: Rule::default() };
    for attribute in rest {
        let attribute = attribute?;
        match attribute.kind {
            1 => found.table = attribute.text(),
            2 => found.chain = attribute.text(),
            3 => found.handle = attribute.be64().unwrap_or_default(),
            4 => {
                for element in attribute.nested() {
                    let element = element?;
                    if element.kind == EXPRESSION {
                        found.rule.expressions.push(expression(element.nested())?);
                    }
                }
            }
            7 => found.rule.user_data = attribute.value.to_vec(),
            _ => {}
        }
    }
    Ok(found)
}

/// The hook of a family by its number (`NF_INET_*`, `NF_NETDEV_*`, `NF_ARP_*`).
#[must_use]
pub fn hook_of(family: Family, number: u32) -> Option<Hook> {
    match family {
        Family::Netdev => [Hook::Ingress, Hook::Egress].get(number as usize).copied(),
        Family::Arp => [Hook::Input, Hook::Output, Hook::Forward].get(number as usize).copied(),
        Family::Inet if number == 5 => Some(Hook::Ingress),
        Family::Ip | Family::Ip6 | Family::Inet | Family::Bridge => Hook::from_inet(number),
    }
}

fn body<'a>(what: &'static str, message: &'a [u8]) -> Result<(u8, Attributes<'a>), NftablesError> {
    let (head, rest) = message.split_at_checked(HEAD).ok_or(NftablesError::Lacks(what, "header"))?;
    Ok((head.first().copied().unwrap_or_default(), attributes(rest)))
}

fn find<'a>(rest: &mut Attributes<'a>, kind: u16) -> Result<Option<Attribute<'a>>, CutAttribute> {
    for attribute in rest.by_ref() {
        let attribute = attribute?;
        if attribute.kind == kind {
            return Ok(Some(attribute));
        }
    }
    Ok(None)
}

fn hook(attribute: &Attribute<'_>) -> Result<Option<(u32, i32)>, CutAttribute> {
    let (mut number, mut priority) = (None, None);
    for part in attribute.nested() {
        let part = part?;
        match part.kind {
            1 => number = part.be32(),
            2 => priority = part.be32().map(u32::cast_signed),
            _ => {}
        }
    }
    Ok(number.zip(priority))
}

fn counters(parts: Attributes<'_>) -> Result<Counters, CutAttribute> {
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

/// One expression: name and data. What does not have the expected shape stays as bytes.
fn expression(parts: Attributes<'_>) -> Result<Expression, CutAttribute> {
    let (mut name, mut data): (String, &[u8]) = (String::new(), &[]);
    for part in parts {
        let part = part?;
        match part.kind {
            1 => name = part.text(),
            2 => data = part.value,
            _ => {}
        }
    }
    let fields = Fields(data);
    // Expressions say where a value goes and comes from; only those that pass it on by the first register are followed.
    let first = |kinds: &[u16]| kinds.iter().all(|kind| fields.be32(*kind) == Some(FIRST_REGISTER));
    // Attributes beyond the expected ones would change the meaning, so they make the expression unknown.
    let typed = match name.as_str() {
        "meta" if fields.only(&[1, 2]) && first(&[1]) => fields.be32(2).map(|key| Expression::Meta { key }),
        "payload" if fields.only(&[1, 2, 3, 4]) && first(&[1]) => payload(&fields),
        "bitwise" if fields.only(&[1, 2, 3, 4, 5, 6]) && fields.be32(6).unwrap_or(0) == 0 && first(&[1, 2]) => {
            bitwise(&fields)
        }
        "cmp" if fields.only(&[1, 2, 3]) && first(&[1]) => cmp(&fields),
        "range" if fields.only(&[1, 2, 3, 4]) && first(&[1]) => range(&fields),
        "counter" => {
            counters(attributes(data)).ok().map(|Counters { packets, bytes }| Expression::Counter { packets, bytes })
        }
        "immediate" if fields.only(&[1, 2]) => fields.get(2).and_then(|data| verdict(&data)).map(Expression::Immediate),
        "match" => xt_part(&fields).map(|(name, revision, data)| Expression::Match { name, revision, data }),
        "target" => xt_part(&fields).map(|(name, revision, data)| Expression::Target { name, revision, data }),
        "log" if fields.only(&[1, 2, 3, 4]) => Some(log(&fields)),
        _ => None,
    };
    Ok(typed.unwrap_or_else(|| Expression::Unknown { name, data: data.to_vec() }))
}

/// The attributes of an expression, looked up by number.
struct Fields<'a>(&'a [u8]);

impl<'a> Fields<'a> {
    fn get(&self, kind: u16) -> Option<Attribute<'a>> {
        attributes(self.0).filter_map(Result::ok).find(|attribute| attribute.kind == kind)
    }

    fn be32(&self, kind: u16) -> Option<u32> {
        self.get(kind)?.be32()
    }

    /// `NFTA_DATA_VALUE` in the attribute.
    fn value(&self, kind: u16) -> Option<Vec<u8>> {
        let value = self.get(kind)?.nested().filter_map(Result::ok).find(|part| part.kind == 1)?;
        Some(value.value.to_vec())
    }

    /// Whole, and of these kinds alone.
    fn only(&self, kinds: &[u16]) -> bool {
        attributes(self.0).all(|attribute| attribute.is_ok_and(|attribute| kinds.contains(&attribute.kind)))
    }
}

fn payload(fields: &Fields<'_>) -> Option<Expression> {
    Some(Expression::Payload { base: fields.be32(2)?, offset: fields.be32(3)?, length: fields.be32(4)? })
}

fn bitwise(fields: &Fields<'_>) -> Option<Expression> {
    Some(Expression::Bitwise { mask: fields.value(4)?, xor: fields.value(5)? })
}

fn cmp(fields: &Fields<'_>) -> Option<Expression> {
    Some(Expression::Cmp { comparison: Comparison::from_number(fields.be32(2)?)?, value: fields.value(3)? })
}

fn range(fields: &Fields<'_>) -> Option<Expression> {
    Some(Expression::Range { negated: fields.be32(2)? == 1, from: fields.value(3)?, to: fields.value(4)? })
}

/// `NFTA_DATA_VERDICT`: code and chain.
fn verdict(data: &Attribute<'_>) -> Option<Verdict> {
    let verdict = data.nested().filter_map(Result::ok).find(|part| part.kind == 2)?;
    let fields = Fields(verdict.value);
    let chain = || fields.get(2).map(|chain| chain.text());
    Some(match fields.be32(1)?.cast_signed() {
        0 => Verdict::Drop,
        1 => Verdict::Accept,
        -3 => Verdict::Jump(chain()?),
        -4 => Verdict::Goto(chain()?),
        -5 => Verdict::Return,
        other => Verdict::Other(other),
    })
}

fn xt_part(fields: &Fields<'_>) -> Option<(String, u8, Vec<u8>)> {
    Some((fields.get(1)?.text(), u8::try_from(fields.be32(2)?).ok()?, fields.get(3)?.value.to_vec()))
}

fn log(fields: &Fields<'_>) -> Expression {
    Expression::Log {
        group: fields.get(1).and_then(|group| group.be16()),
        prefix: fields.get(2).map(|prefix| prefix.text()).unwrap_or_default(),
        length: fields.be32(3),
        threshold: fields.get(4).and_then(|threshold| threshold.be16()),
    }
}
