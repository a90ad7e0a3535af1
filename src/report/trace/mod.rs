//! Where a packet goes, told: the story for people, the document for programs, the picture.

mod follow;
mod json;
mod picture;
mod sentence;
mod steps;
mod text;

use std::cell::{OnceCell, RefCell};
use std::collections::HashMap;
use std::fmt::Write;
use std::net::IpAddr;
use std::rc::Rc;

use crate::analysis::eval::Rulebase;
use crate::analysis::routes::Kind;
use crate::analysis::trace::why::Reasons;
use crate::analysis::trace::{Question, Trace, asked};
use crate::model::{Process, RuleRef, Snapshot, Socket};
use crate::packet::{Known, Packet};
use crate::report::escape::escape;

pub use follow::{conclusion, followed};
pub use json::{Writer, document, followed_document};
pub use picture::picture;
pub use sentence::answer;
pub use text::{Form, text};

/// What is told about: a snapshot, its rules, and whose sockets are whose.
#[derive(Debug)]
pub struct Teller<'t> {
    /// Whose rules they are.
    pub snapshot: &'t Snapshot,
    /// The rules.
    pub rules: &'t Rulebase<'t>,
    owners: HashMap<u32, &'t Process>,
    reasons: OnceCell<Reasons<'t>>,
    /// What was told of a socket before: of a million packets most end at the same few.
    sockets: RefCell<HashMap<*const Socket, Rc<str>>>,
}

/// One packet that was asked about, and the answer.
#[derive(Debug, Clone, Copy)]
pub struct Story<'s, 'a> {
    /// What was asked.
    pub question: &'s Question,
    /// The answer.
    pub trace: &'s Trace<'a>,
}

impl<'t> Teller<'t> {
    /// For the packets of this snapshot.
    #[must_use]
    pub fn of(snapshot: &'t Snapshot, rules: &'t Rulebase<'t>) -> Self {
        let mut owners: HashMap<u32, &Process> = HashMap::new();
        for process in snapshot.processes.iter().flatten() {
            for inode in process.sockets.iter().filter(|inode| **inode != 0) {
                let first = owners.entry(*inode).or_insert(process);
                if process.pid < first.pid {
                    *first = process;
                }
            }
        }
        Self { snapshot, rules, owners, reasons: OnceCell::new(), sockets: RefCell::default() }
    }

    /// The process that holds a socket; of several the one of the least number.
    fn owner(&self, socket: &Socket) -> Option<&'t Process> {
        self.owners.get(&socket.inode).copied()
    }

    /// The words about a socket of the snapshot, made once.
    fn told_of(&self, socket: &Socket, words: impl FnOnce() -> String) -> Rc<str> {
        let mut sockets = self.sockets.borrow_mut();
        Rc::clone(sockets.entry(std::ptr::from_ref(socket)).or_insert_with(|| words().into()))
    }

    fn reasons(&self) -> &Reasons<'t> {
        self.reasons.get_or_init(|| Reasons::of(self.snapshot))
    }
}

/// Appends `10.0.0.5:80`, `[fd00::5]:80`, or the address alone where there is no port, or it is not known.
fn end(out: &mut String, address: Known<IpAddr>, port: Known<u16>) {
    let mut short = Short::default();
    match (address, port) {
        (Known::Is(IpAddr::V6(address)), Known::Is(_)) => {
            // Writing to a String cannot fail.
            write!(out, "[{address}]").ok();
        }
        (Known::Is(IpAddr::V6(address)), _) => {
            write!(out, "{address}").ok();
        }
        (Known::Is(IpAddr::V4(address)), _) => {
            for (at, octet) in address.octets().into_iter().enumerate() {
                if at > 0 {
                    short.push(b'.');
                }
                short.digits(octet.into());
            }
        }
        _ => short.push(b'?'),
    }
    if let Known::Is(port) = port {
        short.push(b':');
        short.digits(port.into());
    }
    out.push_str(short.text());
}

/// Appends a number, digit by digit: formatting takes longer than all the rest of a short line.
fn digits(out: &mut String, number: u32) {
    let mut short = Short::default();
    short.digits(number);
    out.push_str(short.text());
}

/// A few letters of ASCII: an address of IPv4 with a port has 21.
#[derive(Default)]
struct Short {
    letters: [u8; 24],
    length: usize,
}

impl Short {
    fn push(&mut self, letter: u8) {
        if let Some(place) = self.letters.get_mut(self.length) {
            *place = letter;
            self.length += 1;
        }
    }

    fn digits(&mut self, number: u32) {
        if number >= 10 {
            self.digits(number / 10);
        }
        self.push(b'0' + u8::try_from(number % 10).unwrap_or_default());
    }

    fn text(&self) -> &str {
        self.letters.get(..self.length).and_then(|letters| std::str::from_utf8(letters).ok()).unwrap_or_default()
    }
}

fn source(packet: &Packet) -> String {
    let mut out = String::new();
    end(&mut out, packet.source, packet.source_port);
    out
}

fn destination(packet: &Packet) -> String {
    let mut out = String::new();
    end(&mut out, packet.destination, packet.destination_port);
    out
}

/// What a rule changes: `10.0.0.5:80 → 127.0.0.1:15001`; nothing where it changes nothing of these.
fn change(before: &Packet, after: &Packet) -> Option<String> {
    let mut out = String::new();
    push_change(&mut out, before, after);
    (!out.is_empty()).then_some(out)
}

/// Appends the same; there is nothing in it that JSON or a terminal takes for something else.
fn push_change(out: &mut String, before: &Packet, after: &Packet) {
    let first = out.len();
    let next = |out: &mut String| {
        if out.len() > first {
            out.push_str(", ");
        }
    };
    if (before.destination, before.destination_port) != (after.destination, after.destination_port) {
        end(out, before.destination, before.destination_port);
        out.push_str(" → ");
        end(out, after.destination, after.destination_port);
    }
    if (before.source, before.source_port) != (after.source, after.source_port) {
        next(out);
        out.push_str("from ");
        end(out, before.source, before.source_port);
        out.push_str(" → ");
        end(out, after.source, after.source_port);
    }
    let mark = |mark: Known<u32>| match mark {
        Known::Is(mark) => format!("{mark:#x}"),
        _ => "?".to_owned(),
    };
    if before.mark != after.mark {
        next(out);
        // Writing to a String cannot fail.
        write!(out, "mark {} → {}", mark(before.mark), mark(after.mark)).ok();
    }
    if before.connection_mark != after.connection_mark {
        next(out);
        write!(out, "connection mark {} → {}", mark(before.connection_mark), mark(after.connection_mark)).ok();
    }
}

/// `rule 4 of ISTIO_OUTPUT (nat)`, or the policy of a chain. Free of what steers a terminal.
fn rule_words(rule: &RuleRef) -> String {
    let (table, chain) = (escape(&rule.table), escape(&rule.chain));
    match rule.number {
        0 => format!("the policy of {chain} ({table})"),
        number => format!("rule {number} of {chain} ({table})"),
    }
}

/// The state in which the packet begins.
fn state_word(packet: &Packet) -> Option<&'static str> {
    let Known::Is(bits) = packet.state else { return None };
    asked::STATES.iter().find(|(_, bit)| bits & bit != 0).map(|(word, _)| *word)
}

/// What a route does, in one word: those of ip-route(8), and some for what it has no word for.
fn kind_word(kind: Kind) -> &'static str {
    match kind {
        Kind::Local => "local",
        Kind::Unicast => "unicast",
        Kind::Broadcast => "broadcast",
        Kind::Anycast => "anycast",
        Kind::Multicast => "multicast",
        Kind::Blackhole => "blackhole",
        Kind::Unreachable => "unreachable",
        Kind::Prohibit => "prohibit",
        Kind::NoRoute => "none",
        Kind::NotForwarded => "not-forwarded",
        Kind::Invalid => "invalid",
        Kind::ReversePath => "reverse-path",
    }
}
