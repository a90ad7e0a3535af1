//! Areas and outcomes in words.

use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use crate::analysis::coverage::{Area, Becomes, Outcome, is_about_takers, others};
use crate::analysis::diagram::Values;
use crate::analysis::trace::Verdict;
use crate::model::{Process, Snapshot, Socket};
use crate::packet::Field;
use crate::report::escape::escape;

/// Names of processes that are told for one user.
const NAMES: usize = 2;

/// Who runs in a workload: processes by their users and by their sockets.
#[derive(Debug)]
pub(in crate::report) struct People<'s> {
    users: BTreeMap<u32, BTreeSet<&'s str>>,
    holders: BTreeMap<u32, &'s Process>,
}

impl<'s> People<'s> {
    pub(in crate::report) fn of(snapshot: &'s Snapshot) -> Self {
        let (mut users, mut holders) = (BTreeMap::<u32, BTreeSet<&str>>::new(), BTreeMap::new());
        for process in snapshot.processes.iter().flatten() {
            let inside = snapshot.ids.as_ref().map_or(Some(process.uid), |ids| ids.inside_uid(process.uid));
            if let Some(uid) = inside {
                users.entry(uid).or_default().insert(process.name.as_str());
            }
            for inode in process.sockets.iter().filter(|inode| **inode != 0) {
                holders.entry(*inode).or_insert(process);
            }
        }
        Self { users, holders }
    }

    /// `1337`, and who that is where somebody is: `1337 (envoy, pilot-agent)`.
    fn user(&self, uid: u128) -> String {
        let names = u32::try_from(uid).ok().and_then(|uid| self.users.get(&uid));
        let Some(names) = names else { return uid.to_string() };
        let told: Vec<String> = names.iter().take(NAMES).map(|name| escape(name).into_owned()).collect();
        let more = if names.len() > NAMES { " …" } else { "" };
        format!("{uid} ({}{more})", told.join(", "))
    }

    /// Who holds a socket.
    pub(super) fn holder(&self, socket: &Socket) -> String {
        match self.holders.get(&socket.inode) {
            Some(process) => format!("{} (UID {})", escape(&process.name), socket.uid),
            None => format!("a socket of UID {}", socket.uid),
        }
    }
}

/// The values in words, or their opposite where that is shorter: then it is true.
fn values(field: Field, values: &[Values], ipv6: bool, one: Words<'_>) -> (bool, Vec<String>) {
    let others = others(field, values, ipv6);
    match others.len() < values.len() || others.len() == values.len() && wide(values, field, ipv6) {
        true => (true, others.iter().map(one).collect()),
        false => (false, values.iter().map(one).collect()),
    }
}

/// Whether these are most of all.
fn wide(values: &[Values], field: Field, ipv6: bool) -> bool {
    let most = match field {
        Field::Source | Field::Destination if ipv6 => u128::MAX,
        Field::SourcePort | Field::DestinationPort => 0xffff,
        _ => u32::MAX.into(),
    };
    values.iter().any(|values| matches!(values, Values::Range { from, to } if to - from > most / 4))
}

fn number(values: &Values) -> String {
    match values {
        Values::Range { from, to } if from == to => from.to_string(),
        Values::Range { from, to } => format!("{from}-{to}"),
        Values::Masked { value, mask } => format!("{value:#x}/{mask:#x}"),
    }
}

/// `10.0.0.0/8`, `10.0.0.1-10.0.0.9`.
pub(super) fn address(values: &Values, ipv6: bool) -> String {
    let width: u32 = if ipv6 { 128 } else { 32 };
    match values {
        Values::Range { from, to } => {
            let size = (to - from).wrapping_add(1);
            let prefix = size.is_power_of_two() && from & size.wrapping_sub(1) == 0;
            match (from == to, prefix) {
                (true, _) => plain(*from, ipv6).to_string(),
                (_, true) => format!("{}/{}", plain(*from, ipv6), width - size.trailing_zeros()),
                _ if size == 0 => format!("{}/0", plain(0, ipv6)),
                _ => format!("{}-{}", plain(*from, ipv6), plain(*to, ipv6)),
            }
        }
        Values::Masked { value, mask } => format!("{}/{}", plain(*value, ipv6), plain(*mask, ipv6)),
    }
}

fn plain(number: u128, ipv6: bool) -> IpAddr {
    match ipv6 {
        true => Ipv6Addr::from(number).into(),
        false => Ipv4Addr::from(u32::try_from(number).unwrap_or(u32::MAX)).into(),
    }
}

fn joined(mut parts: Vec<String>, word: &str) -> String {
    match parts.pop() {
        Some(last) if parts.is_empty() => last,
        Some(last) => format!("{} {word} {last}", parts.join(", ")),
        None => String::new(),
    }
}

/// How values are told.
type Words<'w> = &'w dyn Fn(&Values) -> String;

/// Who sends: `anyone`, `UID 1337 (envoy)`, `anyone but UID 1337 or GID 1337`.
fn who(area: &Area, people: &People<'_>) -> String {
    let uid = |values: &Values| match values {
        Values::Range { from, to } if from == to => people.user(*from),
        other => number(other),
    };
    let mark = |values: &Values| match values {
        Values::Range { from, to } if from == to => format!("{from:#x}"),
        Values::Range { from, to } => format!("{from:#x}-{to:#x}"),
        other => number(other),
    };
    let (mut is, mut but) = (Vec::new(), Vec::new());
    let fields: [(Field, &str, Words<'_>); 3] =
        [(Field::Uid, "UID", &uid), (Field::Gid, "GID", &number), (Field::Mark, "mark", &mark)];
    for (field, name, one) in fields.into_iter().filter(|(field, ..)| !area.of(*field).is_empty()) {
        let (opposite, words) = values(field, area.of(field), false, one);
        let told = format!("{name} {}", joined(words, "or"));
        if opposite { &mut but } else { &mut is }.push(told);
    }
    match (is.is_empty(), but.is_empty()) {
        (true, true) => "anyone".to_owned(),
        (true, false) => format!("anyone but {}", joined(but, "or")),
        (false, true) => joined(is, "and"),
        (false, false) => format!("{} but not {}", joined(is, "and"), joined(but, "or")),
    }
}

/// Which packets: who, to where, from where.
pub(in crate::report) fn area(area: &Area, people: &People<'_>, (incoming, ipv6): (bool, bool)) -> String {
    let mut parts = Vec::new();
    let anyone = area.uids.is_empty() && area.gids.is_empty() && area.marks.is_empty();
    if !incoming && !anyone {
        parts.push(who(area, people));
    }
    let ends = [
        (Field::Source, Field::SourcePort, "from", "from port"),
        (Field::Destination, Field::DestinationPort, "to", "port"),
    ];
    for (address_field, port_field, preposition, word) in ends {
        let (addresses, ports) = (area.of(address_field), area.of(port_field));
        if !addresses.is_empty() {
            let (opposite, words) = values(address_field, addresses, ipv6, &|values| address(values, ipv6));
            let anywhere = if opposite { "anywhere but " } else { "" };
            parts.push(format!("{preposition} {anywhere}{}", joined(words, "or")));
        }
        if !ports.is_empty() {
            let (opposite, words) = values(port_field, ports, ipv6, &number);
            let any = if opposite { format!("any {word} but") } else { word.to_owned() };
            parts.push(format!("{any} {}", joined(words, "or")));
        }
    }
    if parts.is_empty() { "everything".to_owned() } else { parts.join(", ") }
}

/// How packets end, in few words; the same for those that people would not tell apart.
pub(in crate::report) fn ends(outcomes: &[Outcome<'_>], people: &People<'_>) -> String {
    let mut words: Vec<String> = outcomes.iter().map(|outcome| end(outcome, people)).collect();
    words.sort();
    words.dedup();
    words.join(" | ")
}

fn end(outcome: &Outcome<'_>, people: &People<'_>) -> String {
    let from = match outcome.source {
        Becomes::Is(address) => format!(", from {address}"),
        Becomes::Open => ", from another address".to_owned(),
        Becomes::Moved(..) => ", from another network".to_owned(),
        Becomes::Stays => String::new(),
    };
    let to = new_destination(outcome);
    let silent = outcome.rule.is_none();
    match (outcome.verdict, to) {
        (Verdict::Sent, None) => {
            let by = outcome.interface.map(|device| format!(" by {}", escape(device.as_str()))).unwrap_or_default();
            format!("sent as it is{by}{from}")
        }
        (Verdict::Sent, Some(to)) => format!("→ {to}, elsewhere{from}"),
        (Verdict::Delivered | Verdict::Refused, None) if !outcome.taken => format!("to whoever listens there{from}"),
        (Verdict::Delivered, to) => {
            let to = to.unwrap_or_else(|| "a transparent socket".to_owned());
            match outcome.receivers.first() {
                Some(socket) => format!("→ {to}, {}{from}", people.holder(socket)),
                None => format!("→ {to}{from}"),
            }
        }
        (Verdict::Refused, to) => format!("→ {}, where nobody listens{from}", to.unwrap_or_default()),
        (Verdict::Dropped, _) if silent => "dropped by the kernel itself".to_owned(),
        (Verdict::Rejected, _) if silent => "refused by the kernel itself".to_owned(),
        (Verdict::Dropped, _) => "dropped".to_owned(),
        (Verdict::Rejected, _) => "rejected".to_owned(),
        (Verdict::Undecided, to) => match (outcome.why.as_deref(), to) {
            (Some(why), Some(to)) if is_about_takers(why) => format!("→ {to}{from}"),
            (Some(why), None) if is_about_takers(why) => format!("to whoever listens there{from}"),
            (why, _) => format!("undecided: {}", escape(why.unwrap_or("it is not known why"))),
        },
    }
}

/// `127.0.0.1:15001`, `port 15006`; `None` where it stays.
pub(in crate::report) fn new_destination(outcome: &Outcome<'_>) -> Option<String> {
    let port = match outcome.port {
        Becomes::Is(port) => Some(port.to_string()),
        Becomes::Stays => None,
        _ => Some("?".to_owned()),
    };
    let address = match outcome.destination {
        Becomes::Stays => None,
        Becomes::Is(address) => Some(address.to_string()),
        Becomes::Moved(_, network) => Some(format!("the same place in {network}")),
        Becomes::Open => Some("one of several addresses".to_owned()),
    };
    match (address, port) {
        (None, None) => None,
        (Some(address), None) => Some(address),
        (None, Some(port)) => Some(format!("port {port}")),
        (Some(address), Some(port)) if address.contains(':') => Some(format!("[{address}]:{port}")),
        (Some(address), Some(port)) => Some(format!("{address}:{port}")),
    }
}
