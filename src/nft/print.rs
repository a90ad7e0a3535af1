//! Rules in nft's words, as `nft list ruleset` 1.0.6 prints them.

use super::constant;
use super::kind::{Kind, Order, number};
use super::reading::read_for_text;
use super::statement::{Ends, Right, Statement};
use super::{Expression, Family, HeaderOption, Place, Rule, Set, Slot, Term};
use crate::packet::exact_text;

/// An xtables part in a rule, which nft asks iptables' own code to print.
#[derive(Debug, Clone, Copy)]
pub struct Xtables<'a> {
    /// A target rather than a match.
    pub target: bool,
    /// Name.
    pub name: &'a str,
    /// Revision.
    pub revision: u8,
    /// Payload.
    pub data: &'a [u8],
    /// The rule is one of IPv6.
    pub ipv6: bool,
    /// The transport protocol that the rule asked for.
    pub protocol: Option<u8>,
}

impl Place<'_> {
    /// A set of the table.
    #[must_use]
    pub fn set(&self, name: &str) -> Option<&Set> {
        self.places.find(name, self.sets)
    }

    /// A map behind its key, where bytes that are no field are plain numbers.
    pub(super) fn map_text(&self, name: &str, key: &Term) -> Option<String> {
        let mut slots = key.slots(self);
        if let ([slot], Term::Raw(..)) = (slots.as_mut_slice(), key) {
            slot.kind = Kind::Integer;
        }
        self.set_text(name, &slots)
    }

    /// A set behind a term of these kinds: by its name, or with its elements.
    pub(super) fn set_text(&self, name: &str, slots: &[Slot]) -> Option<String> {
        let set = self.set(name)?;
        if set.is_anonymous() {
            let elements = super::set_text::elements_of(set, Some(slots), self)?;
            return Some(format!("{{ {} }}", elements.join(", ")));
        }
        Some(format!("@{name}"))
    }
}

/// A rule, and whether all of it is in nft's words: what is not understood stands in brackets, by name and bytes.
#[must_use]
pub fn rule_text(rule: &Rule, place: &Place<'_>, xtables: &dyn Fn(&Xtables<'_>) -> String) -> (String, bool) {
    let words = read_for_text(rule, *place).and_then(|statements| {
        let mut whole = true;
        let parts: Option<Vec<String>> =
            statements.iter().map(|part| statement(part, place, xtables, &mut whole)).collect();
        Some((parts?.join(" "), whole))
    });
    let (mut text, whole) = words.unwrap_or_else(|| (rule.text(), false));
    if let Some(comment) = rule.comment() {
        text.push_str(&format!(" comment \"{comment}\""));
    }
    (text, whole)
}

/// A part of a rule in nft's words; `None` where it has none.
#[must_use]
pub fn statement_text(part: &Statement, place: &Place<'_>) -> Option<String> {
    statement(part, place, &|_| String::new(), &mut true)
}

fn statement(
    statement: &Statement,
    place: &Place<'_>,
    xtables: &dyn Fn(&Xtables<'_>) -> String,
    whole: &mut bool,
) -> Option<String> {
    Some(match statement {
        Statement::Match { left, sign, right } => compared(left, sign, right, place)?,
        Statement::VerdictMap { key, set } => {
            format!("{} vmap {}", key.text(place)?, place.map_text(set, key)?)
        }
        Statement::ObjectMap(kind, key, set) => {
            let word = object_word(*kind)?;
            format!("{word} {} map {}", key.text(place)?, place.map_text(set, key)?)
        }
        Statement::Verdict(super::Verdict::Other(_)) => return None,
        Statement::Verdict(verdict) => verdict.text(),
        Statement::Set { what, to } => {
            let (kind, order) = what.kind(place);
            format!("{} set {}", what.text(place)?, to.text_as(kind, order, place)?)
        }
        Statement::Nat { word, family, to, flags } => {
            let prefix = flags & PREFIX != 0;
            let to = match ends(to, *family, false, place)? {
                to if to.is_empty() => to,
                to => format!("{}{} to {to}", family_word(*family)?, if prefix { " prefix" } else { "" }),
            };
            format!("{word}{to}{}", nat_flags(*flags & !PREFIX)?)
        }
        Statement::Tproxy { family, to } => {
            format!("tproxy{} to {}", family_word(*family)?, ends(to, *family, true, place)?)
        }
        Statement::Strip(number) => {
            let option = HeaderOption { of: 1, number: *number, offset: 0, length: 0, present: true };
            format!("reset {}", option.text()?)
        }
        Statement::QueueBy(by, flags) => format!("queue{} to {}", queue_flags(*flags)?, by.text(place)?),
        Statement::Reject { kind, code, ipv6, both } => reject(*kind, *code, *ipv6, *both)?,
        Statement::Update { set, operation, key, data, timeout, expressions } => {
            let word = ["add", "update", "delete"].get(*operation as usize)?;
            let key = match (key, place.set(set).and_then(|set| Kind::from_number(set.key))) {
                (Term::Value(_), Some(kind)) => key.text_as(kind, kind.order(), place)?,
                _ => key.text(place)?,
            };
            let mut text = match place.set(set) {
                // A set of the rule's own.
                Some(own) if own.is_anonymous() => {
                    let size = own.size.map_or(String::new(), |size| format!(" size {size}"));
                    format!("meter {set}{size} {{ {key}")
                }
                _ => format!("{word} @{set} {{ {key}"),
            };
            if let Some(timeout) = timeout.filter(|timeout| *timeout != 0) {
                text.push_str(&format!(" timeout {}", constant::time(timeout)));
            }
            for expression in expressions {
                text.push_str(&format!(" {}", stateless(expression)?));
            }
            if let Some(data) = data {
                let kind = place.set(set).and_then(|set| Kind::from_number(set.data?))?;
                text.push_str(&format!(" : {}", data.text_as(kind, kind.order(), place)?));
            }
            format!("{text} }}")
        }
        Statement::Send { word, family, address, device } => {
            send(word, *family, address.as_ref(), device.as_ref(), place)?
        }
        Statement::Xtables { expression, protocol } => {
            let ipv6 = place.family == Family::Ip6;
            let part = match expression {
                Expression::Match { name, revision, data } => {
                    Xtables { target: false, name, revision: *revision, data, ipv6, protocol: *protocol }
                }
                Expression::Target { name, revision, data } => {
                    Xtables { target: true, name, revision: *revision, data, ipv6, protocol: *protocol }
                }
                _ => return None,
            };
            xtables(&part)
        }
        Statement::Plain(expression) if place.counted => plain(expression)?,
        Statement::Plain(expression) => stateless(expression)?,
        Statement::Unknown(expression) => {
            *whole = false;
            expression.text()
        }
    })
}

/// `dup to 10.0.0.1 device "eth0"`, `fwd to "eth0"`, `fwd ip to 10.0.0.1 device "eth0"`
fn send(
    word: &str,
    family: Option<u32>,
    address: Option<&Term>,
    device: Option<&Term>,
    place: &Place<'_>,
) -> Option<String> {
    let ipv6 = family == Some(10) || place.family == Family::Ip6;
    let kind = if ipv6 { Kind::Ipv6 } else { Kind::Ipv4 };
    let device = match device {
        Some(device) => Some(device.text_as(Kind::Index, Order::Host, place)?),
        None => None,
    };
    let family = family_word(family.filter(|_| address.is_some()))?;
    Some(match (address, device) {
        (Some(address), Some(device)) => {
            format!("{word}{family} to {} device {device}", address.text_as(kind, Order::Big, place)?)
        }
        (Some(address), None) => format!("{word}{family} to {}", address.text_as(kind, Order::Big, place)?),
        (None, Some(device)) => format!("{word} to {device}"),
        (None, None) => return None,
    })
}

fn family_word(family: Option<u32>) -> Option<&'static str> {
    Some(match family {
        None => "",
        Some(2) => " ip",
        Some(10) => " ip6",
        Some(_) => return None,
    })
}

fn compared(left: &Term, sign: &str, right: &Right, place: &Place<'_>) -> Option<String> {
    let (kind, order) = left.kind(place);
    let one = |bytes: &[u8]| constant::text(kind, bytes, order, place.devices);
    let bits = |bytes: &[u8]| Some(constant::flags(kind, number(bytes, order)?)?.join(","));
    if let Right::Of { mask, value } = right
        && mask == value
        && number(value, order)?.is_power_of_two()
    {
        let (sign, flag) = (if sign.is_empty() { "==" } else { sign }, bits(value)?);
        return Some(format!("{} & {flag} {sign} {flag}", left.text(place)?));
    }
    let right = match right {
        Right::Value(value) => match left {
            Term::Concat(_) => super::set_text::concatenation(&left.slots(place), value, None, place)?,
            // An exact comparison of several flags at once.
            _ if kind.is_flags() => {
                let masked = match left {
                    Term::Turned(of) => matches!(**of, Term::Binary { .. }),
                    left => matches!(left, Term::Binary { .. }),
                };
                flags_text(kind, number(value, order)?, sign, masked)?
            }
            _ => one(value)?,
        },
        Right::Prefix(value, bits) => format!("{}/{bits}", one(value)?),
        Right::Range(from, to) => {
            let end = |bytes: &[u8]| constant::numeric(kind, bytes, order, place.devices);
            format!("{}-{}", end(from)?, end(to)?)
        }
        Right::Begins(start) => format!("\"{}*\"", exact_text(start)),
        Right::Set(name) => place.set_text(name, &left.slots(place))?,
        Right::AnyOf(mask) => bits(mask)?,
        Right::NoneOf(mask) => format!("! {}", bits(mask)?),
        Right::Of { mask, value } => format!("{} / {}", bits(value)?, bits(mask)?),
    };
    let sign = if sign.is_empty() { String::new() } else { format!("{sign} ") };
    Some(format!("{} {sign}{right}", left.text(place)?))
}

/// A comparison with flags: several at once, those of headers as a number; less and more as one where no mask stands before.
fn flags_text(kind: Kind, value: u128, sign: &str, masked: bool) -> Option<String> {
    let names = constant::flags(kind, value);
    Some(match names {
        // Turned into the order that can be compared, they have lost their names.
        Some(_) if masked && kind != Kind::TcpFlag && !matches!(sign, "" | "==" | "!=") => {
            let bits = (0..u128::BITS).map(|place| 1 << place).filter(|bit| value & bit != 0);
            bits.map(|bit: u128| format!("0x{bit:x}")).collect::<Vec<_>>().join(" | ")
        }
        Some(names) if masked => names.join(" | "),
        Some(names) if kind == Kind::TcpFlag && names.len() == 1 => names.concat(),
        Some(names) if kind != Kind::TcpFlag && matches!(sign, "" | "==" | "!=") => names.join(" | "),
        _ if kind == Kind::CtLabel => return None,
        _ => format!("0x{value:x}"),
    })
}

/// `10.0.0.1-10.0.0.9:80-90`, `:15001`
fn ends(ends: &Ends, family: Option<u32>, always: bool, place: &Place<'_>) -> Option<String> {
    let ipv6 = family == Some(10) || place.family == Family::Ip6;
    let kind = if ipv6 { Kind::Ipv6 } else { Kind::Ipv4 };
    let mut out = String::new();
    if let Some((Term::Value(from), Some(Term::Value(to)))) = &ends.address
        && let Some(prefix) = constant::range(kind, from, to, Order::Big, &[]).filter(|text| text.contains('/'))
    {
        // nft puts no brackets around it, even where a port follows.
        out.push_str(&prefix);
    } else if let Some((from, to)) = &ends.address {
        let brackets = ipv6 && (always || ends.port.is_some());
        let one = |term: &Term| -> Option<String> {
            let text = term.text_as(kind, Order::Big, place)?;
            Some(if brackets && matches!(term, Term::Value(_)) { format!("[{text}]") } else { text })
        };
        out.push_str(&one(from)?);
        if let Some(to) = to {
            out.push_str(&format!("-{}", one(to)?));
        }
    }
    if let Some((from, to)) = &ends.port {
        out.push_str(&format!(":{}", from.text_as(Kind::Port, Order::Big, place)?));
        if let Some(to) = to {
            out.push_str(&format!("-{}", to.text_as(Kind::Port, Order::Big, place)?));
        }
    }
    Some(out)
}

/// `NF_NAT_RANGE_NETMAP`: only the beginning of an address is changed.
const PREFIX: u32 = 64;

/// `NF_NAT_RANGE_*`
fn nat_flags(flags: u32) -> Option<String> {
    const NAMES: [(u32, &str); 3] = [(4, "random"), (16, "fully-random"), (8, "persistent")];
    /// That addresses and ports are there, which is seen.
    const SAID: u32 = 3;
    let known = NAMES.iter().fold(SAID, |bits, (bit, _)| bits | bit);
    let names: Vec<&str> = NAMES.iter().filter(|(bit, _)| flags & bit != 0).map(|(_, name)| *name).collect();
    let text = if names.is_empty() { String::new() } else { format!(" {}", names.join(",")) };
    (flags & !known == 0).then_some(text)
}

fn reject(kind: u32, code: u8, ipv6: Option<bool>, both: bool) -> Option<String> {
    let (word, names, usual) = match (kind, ipv6) {
        (0, Some(false)) => ("icmp", Kind::IcmpCode, 3),
        // Code and family are left out where nobody asked for a family.
        (0, None) => return Some("reject".to_owned()),
        (0, Some(true)) => ("icmpv6", Kind::Icmpv6Code, 4),
        (1, _) => return Some("reject with tcp reset".to_owned()),
        (2, _) => ("icmpx", Kind::IcmpxCode, 1),
        _ => return None,
    };
    if code == usual && !(both && kind == 0) {
        return Some("reject".to_owned());
    }
    Some(format!("reject with {word} {}", constant::text(names, &[code], Order::Big, &[])?))
}

/// As in a set's declaration: without what has been counted.
pub(super) fn stateless(expression: &Expression) -> Option<String> {
    match expression {
        Expression::Counter { .. } => Some("counter".to_owned()),
        Expression::Last(_) => Some("last".to_owned()),
        Expression::Quota { bytes, flags, .. } => Some(format!("quota {}", quota(*bytes, 0, *flags)?)),
        other => plain(other),
    }
}

pub(super) fn plain(expression: &Expression) -> Option<String> {
    Some(match expression {
        Expression::Counter { packets, bytes } => format!("counter packets {packets} bytes {bytes}"),
        Expression::Limit { rate, unit, burst, bytes, over } => limit(*rate, *unit, *burst, *bytes, *over)?,
        Expression::Quota { bytes, used, flags } => format!("quota {}", quota(*bytes, *used, *flags)?),
        Expression::Connections { count, over } => format!("ct count {}{count}", if *over { "over " } else { "" }),
        Expression::Notrack => "notrack".to_owned(),
        Expression::Log { .. } => log(expression)?,
        Expression::Queue { number, total, flags } => {
            let flags = queue_flags(*flags)?;
            let last = number.checked_add(total.checked_sub(1)?)?;
            let last = if last == *number { String::new() } else { format!("-{last}") };
            format!("queue{flags} to {number}{last}")
        }
        Expression::Synproxy { mss, scale, flags } => {
            // In a rule nft writes both numbers as soon as one of them is offered.
            let both = if flags & 3 == 0 { *flags } else { flags | 3 };
            let parts = synproxy_parts(*mss, *scale, both)?;
            [vec!["synproxy".to_owned()], parts].concat().join(" ")
        }
        Expression::Flow { table } => format!("flow add @{table}"),
        Expression::Last(None) => "last used never".to_owned(),
        Expression::Last(Some(ago)) => format!("last used {}", constant::time(*ago)),
        Expression::Object { kind, name } => {
            format!("{} \"{name}\"", object_word(*kind)?)
        }
        _ => return None,
    })
}

/// How a named object is used.
fn object_word(kind: u32) -> Option<&'static str> {
    Some(match kind {
        1 => "counter name",
        2 => "quota name",
        3 => "ct helper set",
        4 => "limit name",
        7 => "ct timeout set",
        8 => "meta secmark set",
        9 => "ct expectation set",
        10 => "synproxy name",
        _ => return None,
    })
}

/// Bytes in the largest unit that divides them.
fn bytes_text(mut count: u64) -> String {
    let mut unit = "bytes";
    for larger in ["kbytes", "mbytes"] {
        if count == 0 || !count.is_multiple_of(1024) {
            break;
        }
        (count, unit) = (count / 1024, larger);
    }
    format!("{count} {unit}")
}

pub(super) fn limit(rate: u64, unit: u64, burst: u32, bytes: bool, over: bool) -> Option<String> {
    /// What nft takes when no burst is given.
    const BURST: u32 = 5;
    let period = match unit {
        1 => "second",
        60 => "minute",
        3600 => "hour",
        86_400 => "day",
        604_800 => "week",
        _ => return None,
    };
    let over = if over { "over " } else { "" };
    Some(match bytes {
        false if burst == BURST || burst == 0 => format!("limit rate {over}{rate}/{period}"),
        false => format!("limit rate {over}{rate}/{period} burst {burst} packets"),
        true if burst == 0 || burst == BURST => format!("limit rate {over}{}/{period}", bytes_text(rate)),
        true => format!("limit rate {over}{}/{period} burst {}", bytes_text(rate), bytes_text(burst.into())),
    })
}

/// `over 10 mbytes used 5 bytes`
pub(super) fn quota(bytes: u64, used: u64, flags: u32) -> Option<String> {
    // NFT_QUOTA_F_INV, NFT_QUOTA_F_DEPLETED
    if flags & !3 != 0 {
        return None;
    }
    let over = if flags & 1 != 0 { "over " } else { "" };
    let used = if used == 0 { String::new() } else { format!(" used {}", bytes_text(used)) };
    Some(format!("{over}{}{used}", bytes_text(bytes)))
}

fn queue_flags(flags: u16) -> Option<String> {
    let names: &str = match flags {
        0 => "",
        1 => " flags bypass",
        2 => " flags fanout",
        3 => " flags bypass,fanout",
        _ => return None,
    };
    Some(names.to_owned())
}

/// `mss 1460`, `wscale 7`, `timestamp sack-perm`, as far as they are offered (`NF_SYNPROXY_OPT_*`).
pub(super) fn synproxy_parts(mss: u16, scale: u8, flags: u32) -> Option<Vec<String>> {
    // ECN is set by the kernel for itself.
    const KNOWN: u32 = 0x1f;
    if flags & !KNOWN != 0 {
        return None;
    }
    let mut parts = Vec::new();
    if flags & 1 != 0 {
        parts.push(format!("mss {mss}"));
    }
    if flags & 2 != 0 {
        parts.push(format!("wscale {scale}"));
    }
    let offered: Vec<&str> = [(8, "timestamp"), (4, "sack-perm")]
        .iter()
        .filter(|(bit, _)| flags & bit != 0)
        .map(|(_, word)| *word)
        .collect();
    if !offered.is_empty() {
        parts.push(offered.join(" "));
    }
    Some(parts)
}

fn log(expression: &Expression) -> Option<String> {
    const LEVELS: [&str; 9] = ["emerg", "alert", "crit", "err", "warn", "notice", "info", "debug", "audit"];
    /// The one that is meant when none is given.
    const USUAL: u32 = 4;
    const ALL: u32 = 0x2f;
    let Expression::Log { group, prefix, blank, length, threshold, level, flags } = expression else { return None };
    let mut out = "log".to_owned();
    if *blank || !prefix.is_empty() {
        out.push_str(&format!(" prefix \"{prefix}\""));
    }
    let mut number = |word: &str, value: Option<u32>| {
        if let Some(value) = value {
            out.push_str(&format!(" {word} {value}"));
        }
    };
    number("group", group.map(u32::from));
    number("snaplen", *length);
    number("queue-threshold", threshold.map(u32::from));
    if let Some(level) = level.filter(|level| *level != USUAL) {
        out.push_str(&format!(" level {}", LEVELS.get(level as usize)?));
    }
    let flags = flags.unwrap_or(0);
    if flags & !ALL != 0 {
        return None;
    }
    if flags == ALL {
        return Some(out + " flags all");
    }
    out.push_str(match flags & 3 {
        1 => " flags tcp sequence",
        2 => " flags tcp options",
        3 => " flags tcp sequence,options",
        _ => "",
    });
    for (bit, word) in [(4, " flags ip options"), (8, " flags skuid"), (0x20, " flags ether")] {
        out.push_str(if flags & bit != 0 { word } else { "" });
    }
    Some(out)
}
