//! Rules in nft's words: native ones, and those of iptables-nft as nft lists them.

use crate::model::{Body, Counters, Family, Rule, Table};
use crate::nft::{self, Place, Xtables};
use crate::xt::matches::{Mark, Match};
use crate::xt::{self, Action, AddressMatch, DeviceMatch, SetNames, Target, protocol_name};

/// Where the rules of a table are printed.
#[must_use]
pub fn place_of<'a>(family: Family, table: &'a Table, devices: &'a [(u32, String)], counted: bool) -> Place<'a> {
    Place { family, sets: &table.sets, places: &table.set_places, devices, ipsets: &table.ipsets, counted }
}

/// A native rule, and whether all of it is in nft's words.
#[must_use]
pub fn print_native(rule: &nft::Rule, place: &Place<'_>) -> (String, bool) {
    let understood = std::cell::Cell::new(true);
    let (text, whole) = nft::rule_text(rule, place, &|part| {
        let text = xtables(part, place.ipsets);
        understood.set(understood.get() && !text.contains("[unknown "));
        text
    });
    (text, whole && understood.get())
}

fn xtables(part: &Xtables<'_>, ipsets: &SetNames) -> String {
    let Xtables { target, name, revision, data, ipv6, protocol } = *part;
    if target {
        let target = xt::named_target(name, revision, data, ipsets);
        target.unwrap_or_else(|| Target::decode(name, revision, data, ipv6)).nft()
    } else {
        let part = xt::named_match(name, revision, data, ipsets);
        part.unwrap_or_else(|| Match::decode(name, revision, data, ipv6)).nft(protocol)
    }
}

/// A rule of an nf_tables table, and whether all of it is in nft's words.
pub(super) fn print_listed(rule: &Rule, place: &Place<'_>) -> (String, bool) {
    match (&rule.body, &rule.native) {
        (Body::Nft(native), _) => print_native(native, place),
        (Body::Xt(_), Some(native)) => print_native(native, place),
        // Saved text holds no expressions: they are those that iptables-nft 1.8 writes.
        (Body::Xt(body), None) => written(body, rule.counters),
    }
}

/// The rule as nft lists it when iptables-nft 1.8 has written it.
fn written(rule: &xt::Rule, counters: Option<Counters>) -> (String, bool) {
    let not = |negated: bool| if negated { "!= " } else { "" };
    let mut parts: Vec<String> = Vec::new();
    for (word, device) in [("iifname", &rule.ip.input), ("oifname", &rule.ip.output)] {
        parts.extend(device.as_ref().map(|device| device_text(word, device)));
    }
    let protocol = rule.ip.protocol;
    // A header that is named says by itself which protocol is asked for, unless an xtables match stands before it.
    let first = rule.matches.iter().find(|part| !matches!(part, Match::Mark(_)));
    let named = match first {
        Some(Match::Tcp(tcp)) => tcp.option.is_none() && *tcp != xt::matches::Tcp::default(),
        Some(Match::Udp(udp)) => *udp != xt::matches::Udp::default(),
        _ => false,
    };
    if let Some(part) = protocol.filter(|part| part.negated || !named) {
        parts.push(format!("meta l4proto {}{}", not(part.negated), protocol_name(part.number)));
    }
    for (word, address) in [("saddr", &rule.ip.source), ("daddr", &rule.ip.destination)] {
        parts.extend(address.as_ref().map(|address| address_text(word, address)));
    }
    if let Some(fragments) = rule.ip.fragments {
        parts.push(format!("ip frag-off & 8191 {} 0", if fragments.negated { "==" } else { "!=" }));
    }
    let asked = protocol.filter(|part| !part.negated).map(|part| part.number);
    parts.extend(rule.matches.iter().map(|part| match part {
        Match::Mark(mark) => mark_text(*mark),
        other => other.nft(asked),
    }));
    parts.extend(counters.map(|Counters { packets, bytes }| format!("counter packets {packets} bytes {bytes}")));
    match &rule.action {
        Action::None => {}
        Action::Accept => parts.push("accept".to_owned()),
        Action::Drop => parts.push("drop".to_owned()),
        Action::Queue => parts.push("queue to 0".to_owned()),
        Action::Return => parts.push("return".to_owned()),
        Action::Jump(chain) => parts.push(format!("jump {chain}")),
        Action::Goto(chain) => parts.push(format!("goto {chain}")),
        Action::Target(target) => parts.push(target.nft()),
    }
    let text = parts.join(" ");
    let whole = !text.contains("[unknown ");
    (text, whole)
}

fn device_text(word: &str, device: &DeviceMatch) -> String {
    let not = if device.negated { "!= " } else { "" };
    format!("{word} {not}\"{}{}\"", device.name, if device.prefix { "*" } else { "" })
}

fn address_text(word: &str, address: &AddressMatch) -> String {
    let (header, whole) = if address.address.is_ipv4() { ("ip", 32) } else { ("ip6", 128) };
    let not = if address.negated { "!= " } else { "" };
    match address.prefix() {
        Some(bits) if bits == whole => format!("{header} {word} {not}{}", address.words()),
        Some(_) => format!("{header} {word} {not}{}", address.text()),
        None => {
            let text = address.text();
            let (value, mask) = text.split_once('/').unwrap_or((&text, ""));
            format!("{header} {word} & {mask} {} {value}", if address.negated { "!=" } else { "==" })
        }
    }
}

/// iptables-nft writes marks as nft does.
fn mark_text(Mark { negated, value, mask }: Mark) -> String {
    match (mask, negated) {
        (u32::MAX, false) => format!("meta mark 0x{value:08x}"),
        (u32::MAX, true) => format!("meta mark != 0x{value:08x}"),
        (mask, negated) => {
            format!("meta mark & 0x{mask:08x} {} 0x{value:08x}", if negated { "!=" } else { "==" })
        }
    }
}
