//! Named objects and flow tables in nft's words, as `nft list ruleset` 1.0.6 prints them.

use super::constant;
use super::print::{limit, quota, synproxy_parts};
use super::user_data::comment_of;
use super::{Expression, FlowTable, Object};

/// nft's word for a kind of object (`NFT_OBJECT_*`).
pub(super) fn object_word(kind: u32) -> Option<&'static str> {
    Some(match kind {
        1 => "counter",
        2 => "quota",
        3 => "ct helper",
        4 => "limit",
        7 => "ct timeout",
        8 => "secmark",
        9 => "ct expectation",
        10 => "synproxy",
        _ => return None,
    })
}

/// A named object as nft lists it, indented as in its table; whether all of it is in nft's words.
#[must_use]
pub fn object_text(object: &Object) -> (String, bool) {
    let lines = lines_of(&object.expression);
    let word = object_word(object.kind);
    let whole = lines.is_some() && word.is_some() && object.unknown.is_empty();
    let comment = comment_of(&object.user_data, 0);
    let comment = comment.map_or(String::new(), |comment| format!("\t\tcomment \"{comment}\"\n"));
    let mut body = lines.unwrap_or_else(|| vec![object.expression.text()]);
    body.extend(object.unknown.iter().map(super::UnknownAttribute::text));
    let body: String = body.iter().map(|line| format!("\t\t{line}\n")).collect();
    let head = word.map_or_else(
        || format!("[ object type {} ] {}", object.kind, object.name),
        |word| format!("{word} {}", object.name),
    );
    (format!("\t{head} {{\n{comment}{body}\t}}\n"), whole)
}

fn lines_of(expression: &Expression) -> Option<Vec<String>> {
    let one = |text: String| Some(vec![text]);
    match expression {
        Expression::Counter { packets, bytes } => one(format!("packets {packets} bytes {bytes}")),
        Expression::Quota { bytes, used, flags } => one(quota(*bytes, *used, *flags)?),
        Expression::Limit { rate, unit, burst, bytes, over } => {
            one(limit(*rate, *unit, *burst, *bytes, *over)?.strip_prefix("limit ")?.to_owned())
        }
        Expression::Helper { name, family, protocol } => Some(vec![
            format!("type \"{name}\" protocol {}", protocol_word(*protocol)?),
            format!("l3proto {}", family_word(*family)?),
        ]),
        Expression::Timeouts { family, protocol, seconds } => {
            let changed: Option<Vec<String>> = seconds
                .iter()
                .filter_map(|(state, seconds)| match timeout_state(*protocol, *state) {
                    Some((_, usual)) if usual == *seconds => None,
                    Some((word, _)) => Some(Some(format!("{word} : {seconds}"))),
                    None => Some(None),
                })
                .collect();
            Some(vec![
                format!("protocol {}", protocol_word(*protocol)?),
                format!("l3proto {}", family_word(*family)?),
                format!("policy = {{ {} }}", changed?.join(", ")),
            ])
        }
        Expression::Expectation { family, protocol, port, timeout, size } => Some(vec![
            format!("protocol {}", protocol_word(*protocol)?),
            format!("dport {port}"),
            format!("timeout {}", constant::time((*timeout).into())),
            format!("size {size}"),
            format!("l3proto {}", family_word(*family)?),
        ]),
        Expression::Synproxy { mss, scale, flags } => {
            let mut parts = synproxy_parts(*mss, *scale, *flags)?;
            // nft leaves the place of the second word.
            if let Some(last) = parts.last_mut().filter(|last| *last == "timestamp") {
                last.push(' ');
            }
            Some(parts)
        }
        Expression::Secmark(context) => one(format!("\"{context}\"")),
        _ => None,
    }
}

fn protocol_word(protocol: u8) -> Option<&'static str> {
    Some(match protocol {
        6 => "tcp",
        17 => "udp",
        33 => "dccp",
        132 => "sctp",
        _ => return None,
    })
}

fn family_word(family: u16) -> Option<&'static str> {
    Some(match family {
        1 => "inet",
        2 => "ip",
        10 => "ip6",
        _ => return None,
    })
}

/// nft's word for a state of a connection (`CTA_TIMEOUT_TCP_*`, `CTA_TIMEOUT_UDP_*`), and the usual seconds, which it leaves out.
pub(super) fn timeout_state(protocol: u8, state: u16) -> Option<(&'static str, u32)> {
    const TCP: [(&str, u32); 11] = [
        ("syn_sent", 120),
        ("syn_recv", 60),
        ("established", 432_000),
        ("fin_wait", 120),
        ("close_wait", 60),
        ("last_ack", 30),
        ("time_wait", 120),
        ("close", 10),
        ("syn_sent2", 120),
        ("retrans", 300),
        ("unack", 300),
    ];
    const UDP: [(&str, u32); 2] = [("unreplied", 30), ("replied", 180)];
    let states: &[(&str, u32)] = match protocol {
        6 => &TCP,
        17 => &UDP,
        _ => return None,
    };
    states.get(usize::from(state).checked_sub(1)?).copied()
}

/// A flow table as nft lists it, indented as in its table; whether all of it is in nft's words.
#[must_use]
pub fn flow_table_text(table: &FlowTable, priority: &dyn Fn(i32) -> String) -> (String, bool) {
    const OFFLOAD: u32 = 1;
    const COUNTER: u32 = 2;
    const INGRESS: u32 = 0;
    let mut lines = Vec::new();
    let mut whole = table.unknown.is_empty() && table.flags & !(OFFLOAD | COUNTER) == 0;
    match table.hook {
        Some(INGRESS) => lines.push(format!("hook ingress priority {}", priority(table.priority.unwrap_or_default()))),
        Some(other) => {
            lines.push(format!("[ hook {other} priority {} ]", table.priority.unwrap_or_default()));
            whole = false;
        }
        None => {}
    }
    if !table.devices.is_empty() {
        lines.push(format!("devices = {{ {} }}", table.devices.join(", ")));
    }
    if table.flags & OFFLOAD != 0 {
        lines.push("flags offload".to_owned());
    }
    if table.flags & COUNTER != 0 {
        lines.push("counter".to_owned());
    }
    if table.flags & !(OFFLOAD | COUNTER) != 0 {
        lines.push(format!("[ flags 0x{:x} ]", table.flags));
    }
    lines.extend(table.unknown.iter().map(super::UnknownAttribute::text));
    let body: String = lines.iter().map(|line| format!("\t\t{line}\n")).collect();
    (format!("\tflowtable {} {{\n{body}\t}}\n", table.name), whole)
}

/// The number of a state of a connection by nft's word.
#[must_use]
pub fn timeout_number(protocol: u8, word: &str) -> Option<u16> {
    (1..=11).find(|state| timeout_state(protocol, *state).is_some_and(|(known, _)| known == word))
}

/// Seconds for each state of a connection where these are changed; the others are as usual.
#[must_use]
pub fn all_timeouts(protocol: u8, changed: &[(u16, u32)]) -> Vec<(u16, u32)> {
    let states = (1..=11).filter_map(|state| timeout_state(protocol, state).map(|(_, usual)| (state, usual)));
    let given = |state: u16| changed.iter().find(|(known, _)| *known == state).map(|(_, seconds)| *seconds);
    states.map(|(state, usual)| (state, given(state).unwrap_or(usual))).collect()
}
