//! `--follow`: what a transparent proxy does with a packet that it gets, step by step, to its end or round and round.
//!
//! The proxy is taken to open a connection of its own to where the packet was going before rules sent it elsewhere. What it really
//! does with what it reads, no rule tells.

use std::net::IpAddr;

use super::identity::alike;
use super::{Assumed, Outcome, Question, Trace, Tracer, Verdict};
use crate::model::{Endpoint, Process, Protocol, Socket, SocketState};
use crate::packet::{Condition, Field, Known, number, state};

/// Steps after which it is given up.
const MOST: usize = 16;

/// A packet that was followed through proxies.
#[derive(Debug, Clone)]
pub struct Followed<'a> {
    /// The packet that was asked about, and then each that a proxy sends.
    pub steps: Vec<Step<'a>>,
    /// Why there are no more.
    pub stop: Stop,
}

/// One packet on its way.
#[derive(Debug, Clone)]
pub struct Step<'a> {
    /// What is asked about it.
    pub question: Question,
    /// Where it goes.
    pub trace: Trace<'a>,
    /// The process that sends it; `None` for the packet that was asked about, and where it is not known.
    pub sender: Option<&'a Process>,
}

/// Why a packet is followed no further.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Stop {
    /// What became of the last packet is the end.
    Arrived,
    /// Behind the last comes this one again, and so on for ever.
    Loop {
        /// Its place among the steps.
        from: usize,
    },
    /// What the proxy does that gets the last packet cannot be told, for this reason.
    Unclear(String),
    /// There were too many.
    TooLong,
}

/// What comes behind a packet.
enum Next<'a> {
    Nothing,
    Unclear(String),
    Opens(Question, Option<&'a Process>, Option<Assumed>),
}

impl<'a> Tracer<'a> {
    /// Where this packet goes, and where what a proxy makes of it goes, until one leaves, is delivered to somebody to whom no rule
    /// sent it, or is lost.
    #[must_use]
    pub fn follow(&self, question: &Question) -> Followed<'a> {
        let mut steps: Vec<Step<'a>> = Vec::new();
        let mut next = (question.clone(), None, None);
        loop {
            let (question, sender, assumed) = next;
            let mut trace = self.trace(&question);
            trace.assumed.extend(assumed);
            let after = self.behind(&question, &trace);
            steps.push(Step { question, trace, sender });
            let stop = match after {
                Next::Nothing => Stop::Arrived,
                Next::Unclear(why) => Stop::Unclear(why),
                Next::Opens(question, sender, assumed) => match steps.iter().position(|step| step.question == question)
                {
                    Some(from) => Stop::Loop { from },
                    None if steps.len() >= MOST => Stop::TooLong,
                    None => {
                        next = (question, sender, assumed);
                        continue;
                    }
                },
            };
            return Followed { steps, stop };
        }
    }

    /// What whoever gets the packet does then.
    fn behind(&self, question: &Question, trace: &Trace<'a>) -> Next<'a> {
        let [outcome] = trace.outcomes.as_slice() else { return Next::Nothing };
        let delivered = outcome.verdict == Verdict::Delivered && !outcome.receivers.is_empty();
        if !delivered || !captured(trace, outcome) || question.state == Some(state::ESTABLISHED) {
            return Next::Nothing;
        }
        let mut holders = outcome.receivers.iter().flat_map(|socket| self.holders(socket));
        let sender = holders.next();
        if let Some(first) = sender
            && let Some(other) = holders.find(|other| !alike(other, first))
        {
            let why = "the packet is for one of several processes of different users or groups";
            return Next::Unclear(format!("{why}: pid/{} and pid/{}", first.pid, other.pid));
        }
        let (mark, assumed) = match self.mark_of(sender, &outcome.receivers) {
            Ok(found) => found,
            Err(why) => return Next::Unclear(why),
        };
        let identity = sender.and_then(|process| self.identity_of(process));
        // Who made the socket is its owner, whoever holds it.
        let owner = || self.snapshot.ids.as_ref()?.inside_uid(outcome.receivers.first()?.uid);
        let next = Question {
            protocol: question.protocol,
            source: self.source_of_proxies(question),
            uid: identity.as_ref().map(|identity| identity.uid).or_else(|| owner().filter(|_| sender.is_none())),
            gid: identity.as_ref().map(|identity| identity.gid),
            groups: identity.map(|identity| identity.groups),
            mark,
            state: Some(state::NEW),
            ..Question::to(question.destination)
        };
        Next::Opens(next, sender, assumed)
    }

    fn holders(&self, socket: &Socket) -> impl Iterator<Item = &'a Process> {
        let inode = socket.inode;
        let holds = move |process: &&Process| inode != 0 && process.sockets.contains(&inode);
        self.snapshot.processes.iter().flatten().filter(holds)
    }

    /// The mark that a proxy gives to what it opens: that of its connections to elsewhere, or where it has none that of the sockets at
    /// which it waits; and what was taken for want of better.
    fn mark_of(&self, proxy: Option<&Process>, receivers: &[&Socket]) -> Result<(u32, Option<Assumed>), String> {
        let held: Vec<&Socket> = match proxy {
            Some(proxy) => {
                let its = |socket: &&Socket| socket.inode != 0 && proxy.sockets.contains(&socket.inode);
                self.snapshot.sockets.iter().flatten().filter(its).collect()
            }
            None => Vec::new(),
        };
        let waits = |port: u16| held.iter().any(|one| one.state == SocketState::Listen && one.local.port == port);
        let opened = |one: &&&Socket| one.protocol == Protocol::Tcp && one.peer.is_some() && !waits(one.local.port);
        let mut marks: Vec<Option<u32>> = held.iter().filter(opened).map(|one| one.mark).collect();
        if marks.is_empty() {
            marks = receivers.iter().map(|one| one.mark).collect();
        }
        marks.sort_unstable();
        marks.dedup();
        match marks.as_slice() {
            [Some(mark)] => Ok((*mark, None)),
            [None] | [] => Ok((0, Some(Assumed::NoMark))),
            _ => Err("the proxy gives some of its connections a mark, and others none or another".to_owned()),
        }
    }

    /// The address from which a proxy dials what is on its own machine: the one that rules spare beside 127.0.0.1, as Istio's do with
    /// 127.0.0.6 and ::6; where none is named, the kernel chooses.
    fn source_of_proxies(&self, question: &Question) -> Option<IpAddr> {
        let Endpoint { address, .. } = question.destination;
        if !question.incoming && !self.snapshot.is_local(address) {
            return None;
        }
        let ipv6 = address.is_ipv6();
        let spared = |value: u128| match ipv6 {
            true => value == 6,
            false => value >> 24 == 127 && value != 0x7f00_0001,
        };
        let every = if ipv6 { u128::MAX } else { u32::MAX.into() };
        let mut named: Vec<u128> = Vec::new();
        self.rules.each(ipv6, |_, condition| {
            condition.visit(&mut |part| match part {
                Condition::Range(Field::Source, from, to) if from == to && spared(*from) => named.push(*from),
                Condition::Masked { field: Field::Source, mask, value } if *mask == every && spared(*value) => {
                    named.push(*value);
                }
                _ => {}
            });
        });
        named.sort_unstable();
        named.dedup();
        let [only] = named.as_slice() else { return None };
        match ipv6 {
            true => Some(IpAddr::V6((*only).into())),
            false => u32::try_from(*only).ok().map(|only| IpAddr::V4(only.into())),
        }
        .filter(|only| number(*only) != number(address))
    }
}

/// Whether a rule sent the packet to whoever gets it.
fn captured(trace: &Trace<'_>, outcome: &Outcome<'_>) -> bool {
    let differs = |before: Known<u16>, after: Known<u16>| matches!((before, after), (Known::Is(one), Known::Is(other)) if one != other);
    let (before, after) = (&trace.packet, &outcome.packet);
    let moved = match (before.destination, after.destination) {
        (Known::Is(one), Known::Is(other)) => one != other,
        _ => false,
    };
    outcome.taken || moved || differs(before.destination_port, after.destination_port)
}
