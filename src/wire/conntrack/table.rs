//! What ctnetlink says of the table itself: entries and limit, what each processor counted, and expectations.

use super::super::attribute::{Attributes, attributes};
use super::request::plain;
use super::tuple::tuple;
use super::{ConntrackError, HEAD, Strangers, be16, be32};
use crate::model::{CpuStatistics, Expectation, TableUse, Tuple};

/// `NFNL_SUBSYS_CTNETLINK << 8 | IPCTNL_MSG_CT_GET_STATS_CPU`: request and answers.
pub const GET_CPU: u16 = 0x0104;
/// `NFNL_SUBSYS_CTNETLINK << 8 | IPCTNL_MSG_CT_GET_STATS`: request and answer.
pub const GET_USE: u16 = 0x0105;
/// `NFNL_SUBSYS_CTNETLINK_EXP << 8 | IPCTNL_MSG_EXP_GET`: message type of the request.
pub const GET_EXPECTED: u16 = 0x0201;
/// `NFNL_SUBSYS_CTNETLINK_EXP << 8 | IPCTNL_MSG_EXP_NEW`: message type of an answer.
pub const EXPECTED: u16 = 0x0200;

/// The payload of each of these requests.
#[must_use]
pub fn request() -> Vec<u8> {
    plain(0)
}

/// `CTA_STATS_*`, from the first; the kernel of today sends those that it still counts.
const COUNTERS: [&str; 15] = [
    "searched",
    "found",
    "new",
    "invalid",
    "ignore",
    "delete",
    "delete_list",
    "insert",
    "insert_failed",
    "drop",
    "early_drop",
    "error",
    "search_restart",
    "clash_resolve",
    "chaintoolong",
];

/// One processor's counters. One without a name is called by its number.
///
/// # Errors
/// See [`ConntrackError`].
pub fn decode_cpu(payload: &[u8]) -> Result<CpuStatistics, ConntrackError> {
    let short = ConntrackError::Short(payload.len());
    let (Some(&[_, _, high, low]), Some(body)) = (payload.first_chunk::<HEAD>(), payload.get(HEAD..)) else {
        return Err(short);
    };
    let mut counters = Vec::new();
    for attribute in attributes(body) {
        let attribute = attribute?;
        let name = attribute.kind.checked_sub(1).and_then(|at| COUNTERS.get(usize::from(at)));
        let name = name.map_or_else(|| format!("counter_{}", attribute.kind), |name| (*name).to_owned());
        counters.push((name, be32(&attribute).ok_or(short)?));
    }
    Ok(CpuStatistics { cpu: u16::from_be_bytes([high, low]), counters })
}

/// Entries and limit of the namespace: the latter since Linux 5.14, before it stands in `/proc` only.
///
/// # Errors
/// See [`ConntrackError`].
pub fn decode_use(payload: &[u8]) -> Result<TableUse, ConntrackError> {
    let body = payload.get(HEAD..).ok_or(ConntrackError::Short(payload.len()))?;
    let (mut count, mut limit) = (None, None);
    for attribute in attributes(body) {
        let attribute = attribute?;
        match attribute.kind {
            1 => count = be32(&attribute),
            2 => limit = be32(&attribute),
            _ => {}
        }
    }
    let told = |number: Option<u32>, what| number.map(u64::from).ok_or(ConntrackError::Missing(what));
    Ok(TableUse { count: told(count, "a count")?, limit: told(limit, "a limit")? })
}

/// One expectation.
///
/// # Errors
/// See [`ConntrackError`].
pub fn decode_expected(payload: &[u8]) -> Result<Expectation, ConntrackError> {
    let body = payload.get(HEAD..).ok_or(ConntrackError::Short(payload.len()))?;
    let mut strangers = Strangers::default();
    let (mut master, mut expected, mut mask, mut translated) = (None, None, None, None);
    let (mut id, mut timeout, mut zone, mut flags, mut class) = (None, None, None, None, None);
    let (mut helper, mut function) = (None, None);
    for attribute in attributes(body) {
        let attribute = attribute?;
        let (kind, parts) = (attribute.kind, attribute.nested());
        match kind {
            1 => master = Some(tuple(parts, kind, "a master tuple", &mut strangers)?),
            2 => expected = Some(tuple(parts, kind, "an expected tuple", &mut strangers)?),
            3 => mask = Some(tuple(parts, kind, "a mask", &mut strangers)?),
            4 => timeout = strangers.or_keep(be32(&attribute), &[], &attribute),
            5 => id = strangers.or_keep(be32(&attribute), &[], &attribute),
            6 => helper = Some(attribute.text()),
            7 => zone = strangers.or_keep(be16(&attribute), &[], &attribute),
            8 => flags = strangers.or_keep(be32(&attribute), &[], &attribute),
            9 => class = strangers.or_keep(be32(&attribute), &[], &attribute),
            10 => translated = translation(parts, &mut strangers)?,
            11 => function = Some(attribute.text()),
            _ => strangers.keep(&[], &attribute),
        }
    }
    Ok(Expectation {
        id: id.ok_or(ConntrackError::Missing("an id"))?,
        master: master.ok_or(ConntrackError::Missing("a master tuple"))?,
        expected: expected.ok_or(ConntrackError::Missing("an expected tuple"))?,
        mask: mask.ok_or(ConntrackError::Missing("a mask"))?,
        timeout,
        helper,
        zone: zone.unwrap_or_default(),
        flags: flags.unwrap_or_default(),
        class: class.unwrap_or_default(),
        translated,
        function,
        unknown: strangers.0,
    })
}

/// `CTA_EXPECT_NAT`: direction (1) and tuple (2).
fn translation(parts: Attributes<'_>, strangers: &mut Strangers) -> Result<Option<(u32, Tuple)>, ConntrackError> {
    const NAT: u16 = 10;
    let (mut direction, mut to) = (None, None);
    for part in parts {
        let part = part?;
        match part.kind {
            1 => direction = strangers.or_keep(be32(&part), &[NAT], &part),
            2 => to = Some(tuple(part.nested(), NAT, "a translated tuple", strangers)?),
            _ => strangers.keep(&[NAT], &part),
        }
    }
    Ok(direction.zip(to))
}
