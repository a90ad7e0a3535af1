//! Policy rules in their order: which match, what they do, and all the ways through them where that is not known.

use std::collections::BTreeSet;

use super::flow::Flow;
use super::{End, Ends, Found, Kind, Routes, Why};
use crate::model::{PolicyRule, Route, RuleAction};
use crate::packet::Known;

/// The device of a rule is not there: such a rule matches nothing by it.
const DETACHED_INPUT: u32 = 8;
const DETACHED_OUTPUT: u32 = 16;
/// The source address is chosen before the rule is asked.
const FIND_SOURCE: u32 = 0x1_0000;

/// What one table says: ends, and whether the next rule may be asked.
#[derive(Debug, Default)]
pub(super) struct Looked<'a> {
    pub(super) ends: Vec<End<'a>>,
    pub(super) falls_through: bool,
    pub(super) why: Option<Why>,
}

impl<'a> Routes<'a> {
    /// All ends of a question by the rules of its family.
    pub(super) fn by_rules(&self, flow: &Flow, look: impl Fn(&[&'a Route], &Flow) -> Looked<'a>) -> Ends<'a> {
        let rules = self.policy(flow.ipv6);
        let (mut ends, mut places) = (Ends::default(), BTreeSet::from([0]));
        // Jumps lead onwards only, so that every place is left once and for all.
        while let Some(at) = places.pop_first() {
            let Some(rule) = rules.get(at) else {
                ends.found.push(Found { end: End::Refused(Kind::NoRoute), table: None, rule: None });
                continue;
            };
            let matched = matches(rule, flow);
            if let Err(why) = matched {
                ends.doubt(why);
            }
            if matched != Ok(true) {
                places.insert(at + 1);
            }
            if matched != Ok(false) {
                self.act(rule, flow, &look, at, &mut ends, &mut places);
            }
        }
        ends
    }

    /// What a rule does that matches.
    fn act(
        &self,
        rule: &PolicyRule,
        flow: &Flow,
        look: &impl Fn(&[&'a Route], &Flow) -> Looked<'a>,
        at: usize,
        ends: &mut Ends<'a>,
        places: &mut BTreeSet<usize>,
    ) {
        let mut refuse =
            |kind| ends.found.push(Found { end: End::Refused(kind), table: None, rule: Some(rule.priority) });
        match rule.action {
            RuleAction::Goto(target) => {
                let rules = self.policy(flow.ipv6);
                let first = rules.iter().position(|rule| rule.priority == target).filter(|first| *first > at);
                places.insert(first.unwrap_or(at + 1));
            }
            RuleAction::Nop => {
                places.insert(at + 1);
            }
            RuleAction::Unreachable => refuse(Kind::NoRoute),
            RuleAction::Prohibit => refuse(Kind::Prohibit),
            RuleAction::Blackhole | RuleAction::Other(_) => refuse(Kind::Blackhole),
            RuleAction::Lookup(table) => {
                let looked = look(self.table(flow.ipv6, table), flow);
                ends.why = ends.why.or(looked.why);
                if looked.falls_through {
                    places.insert(at + 1);
                }
                for end in looked.ends {
                    let suppressed = suppressed(rule, end);
                    if let Err(why) = suppressed {
                        ends.doubt(why);
                    }
                    if suppressed != Ok(true) {
                        ends.found.push(Found { end, table: Some(table), rule: Some(rule.priority) });
                    }
                    if suppressed != Ok(false) {
                        places.insert(at + 1);
                    }
                }
            }
        }
    }
}

/// Whether a rule does not take what it found.
fn suppressed(rule: &PolicyRule, end: End<'_>) -> Result<bool, Why> {
    let End::Route(route, _) = end else { return Ok(false) };
    if rule.suppress_prefix.is_some_and(|bits| route.destination.bits <= bits) {
        return Ok(true);
    }
    if rule.suppress_group.is_some() { Err(Why::Vrf) } else { Ok(false) }
}

/// Whether a rule matches; the reason where that is not known. What certainly does not match decides, whatever else is not known.
fn matches(rule: &PolicyRule, flow: &Flow) -> Result<bool, Why> {
    if !rule.unknown.is_empty() {
        return Err(Why::Foreign);
    }
    let mut doubt = None;
    for part in parts(rule, flow) {
        match part {
            Ok(true) => {}
            Ok(false) => return Ok(rule.invert),
            Err(why) => {
                doubt.get_or_insert(why);
            }
        }
    }
    doubt.map_or(Ok(!rule.invert), Err)
}

fn parts(rule: &PolicyRule, flow: &Flow) -> [Result<bool, Why>; 11] {
    let device = |wanted: &Option<String>, own: &Option<String>, detached: bool| match wanted {
        None => Ok(true),
        Some(_) if detached => Ok(false),
        Some(_) => Ok(wanted == own),
    };
    [
        device(&rule.input, &flow.input, rule.flags & DETACHED_INPUT != 0),
        device(&rule.output, &flow.output, rule.flags & DETACHED_OUTPUT != 0),
        asked(rule.mark, &flow.mark, Why::Mark, |(mark, mask), own| (mark ^ own) & mask == 0),
        asked(rule.users.filter(|users| *users != (0, u32::MAX)), &flow.uid, Why::User, |(first, last), own| {
            (first..=last).contains(&own)
        }),
        Ok(rule.to.is_none_or(|to| to.holds(flow.destination))),
        from(rule, flow),
        tos(rule, flow),
        asked(rule.protocol.filter(|number| *number != 0), &flow.protocol, Why::Ports, |wanted, own| wanted == own),
        asked(rule.source_ports, &flow.source_port, Why::Ports, |(first, last), own| (first..=last).contains(&own)),
        asked(rule.destination_ports, &flow.destination_port, Why::Ports, |(first, last), own| {
            (first..=last).contains(&own)
        }),
        vrf(rule, flow),
    ]
}

/// What a rule wants, if it wants anything, against what is known. What is known not to be there counts as zero.
fn asked<W, T: Copy + Default>(
    wanted: Option<W>,
    own: &Known<T>,
    why: Why,
    fits: impl Fn(W, T) -> bool,
) -> Result<bool, Why> {
    match (wanted, own) {
        (None, _) => Ok(true),
        (Some(wanted), Known::Is(own)) => Ok(fits(wanted, *own)),
        (Some(wanted), Known::Absent) => Ok(fits(wanted, T::default())),
        (Some(_), Known::Unknown) => Err(why),
    }
}

fn from(rule: &PolicyRule, flow: &Flow) -> Result<bool, Why> {
    match (rule.from, flow.source) {
        (None, _) => Ok(true),
        (Some(from), Some(source)) => Ok(from.holds(source)),
        (Some(_), None) if rule.flags & FIND_SOURCE != 0 => Err(Why::Foreign),
        // IPv4 compares with the address of zeros, IPv6 does not match.
        (Some(from), None) => Ok(!flow.ipv6 && from.holds(std::net::Ipv4Addr::UNSPECIFIED.into())),
    }
}

/// Of a rule of IPv4 the three bits of precedence and the two lowest do not count.
fn tos(rule: &PolicyRule, flow: &Flow) -> Result<bool, Why> {
    let mask = if flow.ipv6 { 0xfc } else { 0x1c };
    asked((rule.tos != 0).then_some(rule.tos), &flow.tos, Why::TrafficClass, |wanted, own| wanted == own & mask)
}

/// Only a packet that a device of a VRF has to do with is one of the VRF.
fn vrf(rule: &PolicyRule, flow: &Flow) -> Result<bool, Why> {
    match rule.vrf {
        false => Ok(true),
        true if flow.output.is_none()
            && flow.device == 0
            && flow.input.as_deref().is_none_or(|input| input == "lo") =>
        {
            Ok(false)
        }
        true => Err(Why::Vrf),
    }
}
