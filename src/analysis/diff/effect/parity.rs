//! IPv4 against IPv6 of one workload: whether what the same program sends to the same port ends alike in both.
//!
//! Addresses of two families cannot be compared one by one. Compared are places: loopback, the workload's own address, and elsewhere; of
//! elsewhere, which ends there are for some address.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use super::pairs::Pairs;
use super::side::Side;
use super::told::Told;
use super::{Difference, Effects, example};
use crate::analysis::coverage::{Area, Class, Kind, Narrow, Outcome, areas, coverage, first, meets, usual};
use crate::analysis::diagram::{Set, Values};
use crate::analysis::eval::Doubt;
use crate::analysis::eval::flood::Sets;
use crate::analysis::trace::{Tracer, Verdict};
use crate::model::{Protocol, Snapshot};
use crate::packet::number;

/// ICMP of each family.
const ICMP: [u8; 2] = [1, 58];

/// Addresses of IPv4 that are elsewhere: not those of no network, of loopback, of the link, of groups.
const ELSEWHERE_V4: [(u128, u128); 3] =
    [(0x0100_0000, 0x7eff_ffff), (0x8000_0000, 0xa9fd_ffff), (0xa9ff_0000, 0xdfff_ffff)];
/// The same of IPv6: unique local and global ones.
const ELSEWHERE_V6: [(u128, u128); 2] = [(0x2000 << 112, (0x4000 << 112) - 1), (0xfc00 << 112, (0xfe00 << 112) - 1)];

/// A place in both families: the area of each of its packets.
type Place = [Area; 2];

/// Packets of one family at a place that end alike.
struct Ends<'c, 'a> {
    told: Vec<Told>,
    /// What it hangs on, without the names of rules.
    doubts: Vec<String>,
    class: &'c Class<'a>,
    space: Set,
}

/// What differs between both families of a workload, told as IPv4 counts; `None` where one of them has no address of its own: then there
/// is nothing to compare. Of saved rules it is not known which are its own.
#[must_use]
pub fn parity(snapshot: &Snapshot) -> Option<Effects<'_>> {
    let own = own(snapshot);
    if own.is_none() && snapshot.interfaces.is_some() {
        return None;
    }
    let tracer = Tracer::of(snapshot);
    let answer = coverage(&tracer, &Narrow::default());
    let loopback = (Ipv4Addr::LOCALHOST.into(), Ipv6Addr::LOCALHOST.into());
    let pairs = Pairs::families(std::iter::once(loopback).chain(own).collect());
    let sides = [Side::new(&tracer, &pairs, false), Side::new(&tracer, &pairs, true)];
    let kinds = first::kinds(&tracer);
    let other = first::any_other(&kinds, false);
    let mut found = Effects { stands_for: own.into_iter().collect(), given_up: answer.given_up, ..Effects::default() };
    for kind in kinds.iter().filter(|kind| !kind.ipv6) {
        let there = counterpart(kind);
        if [kind, &there].iter().any(|kind| found.given_up.contains(kind)) {
            continue;
        }
        // A protocol that only one family names is one of the others of the other.
        let named = if kinds.contains(&there) { there } else { Kind { protocol: None, ..there } };
        found.kinds += 1;
        for place in places(kind.incoming, own) {
            let place = [(kind, 0), (&named, 1)].map(|(kind, at)| {
                let here = place.get(at).cloned().unwrap_or_default();
                here.within(&usual(snapshot, kind, &[]), kind.ipv6).unwrap_or_default()
            });
            let mut sets = Sets::new(false);
            let [before, after] = [(kind, 0), (&named, 1)].map(|(kind, at)| {
                let of_kind = answer.classes.iter().filter(|class| class.kind == *kind);
                ends(&mut sets, (of_kind, place.get(at)), sides.get(at), snapshot, &pairs)
            });
            let protocol = kind.protocol.unwrap_or(other);
            for cell in cells(&mut sets, &before, &after) {
                tell((&mut sets, cell), (&before, &after), (kind, protocol, &place), snapshot, &mut found.differences);
            }
        }
    }
    Some(found)
}

/// The workload's own addresses of both families, those that hold beyond the link.
fn own(snapshot: &Snapshot) -> Option<(IpAddr, IpAddr)> {
    let outer = snapshot.interfaces.iter().flatten().filter(|interface| !interface.loopback);
    let all: Vec<IpAddr> = outer.flat_map(|interface| &interface.addresses).map(|(address, _)| *address).collect();
    let ipv4 = all.iter().find(|address| address.is_ipv4())?;
    let ipv6 = all.iter().find(|address| matches!(address, IpAddr::V6(it) if !it.is_unicast_link_local()))?;
    Some((*ipv4, *ipv6))
}

/// The same packets in the other family.
fn counterpart(kind: &Kind) -> Kind {
    let [of_ipv4, of_ipv6] = ICMP.map(Protocol::from_number);
    let protocol = kind.protocol.map(|protocol| if protocol == of_ipv4 { of_ipv6 } else { protocol });
    Kind { ipv6: true, protocol, ..*kind }
}

/// Where packets are sent; where they come in, from elsewhere to the workload's own address.
fn places(incoming: bool, own: Option<(IpAddr, IpAddr)>) -> Vec<Place> {
    let one = |address: IpAddr| vec![Values::Range { from: number(address), to: number(address) }];
    let ranges = |ranges: &[(u128, u128)], own: u128| -> Vec<Values> {
        let around = |(from, to): &(u128, u128)| match (*from..=*to).contains(&own) {
            true => vec![(*from, own - 1), (own + 1, *to)],
            false => vec![(*from, *to)],
        };
        let all = ranges.iter().flat_map(around).filter(|(from, to)| from <= to);
        all.map(|(from, to)| Values::Range { from, to }).collect()
    };
    let [own_v4, own_v6] = own.map_or([0, 0], |(ipv4, ipv6)| [number(ipv4), number(ipv6)]);
    let elsewhere = [ranges(&ELSEWHERE_V4, own_v4), ranges(&ELSEWHERE_V6, own_v6)];
    let own = own.map(|(ipv4, ipv6)| [one(ipv4), one(ipv6)]);
    let loopback = [one(Ipv4Addr::LOCALHOST.into()), one(Ipv6Addr::LOCALHOST.into())];
    let to = |destinations: [Vec<Values>; 2]| destinations.map(|destinations| Area { destinations, ..Area::default() });
    if incoming {
        // Where it is not known which address is its own, any may be.
        let mut place = to(own.unwrap_or(elsewhere.clone()));
        place.iter_mut().zip(elsewhere).for_each(|(area, sources)| area.sources = sources);
        return vec![place];
    }
    [Some(elsewhere), own, Some(loopback)].into_iter().flatten().map(to).collect()
}

/// The kernel itself refuses them, for want of a route or for their addresses' sake.
fn is_nowhere(class: &Class<'_>) -> bool {
    let ends = |outcome: &Outcome<'_>| matches!(outcome.verdict, Verdict::Dropped | Verdict::Rejected);
    class.outcomes.iter().all(|outcome| ends(outcome) && outcome.rule.is_none())
}

/// How packets of a kind end at a place, whatever their addresses there.
fn ends<'c, 'a: 'c>(
    sets: &mut Sets,
    (classes, place): (impl Iterator<Item = &'c Class<'a>>, Option<&Area>),
    side: Option<&Side<'_, 'a>>,
    snapshot: &Snapshot,
    pairs: &Pairs,
) -> Vec<Ends<'c, 'a>> {
    let mut found: Vec<Ends<'c, 'a>> = Vec::new();
    let (Some(place), Some(side)) = (place, side) else { return found };
    let here: Vec<&Class<'a>> = classes.filter(|class| meets(class, place)).collect();
    // Where only some addresses lead nowhere, that says nothing of the others.
    let all = here.iter().all(|class| is_nowhere(class));
    for class in here.into_iter().filter(|class| all || !is_nowhere(class)) {
        let area = Area { destinations: Vec::new(), sources: Vec::new(), ..class.area.clone() };
        let space = area.space(sets);
        let told = |outcome: &Outcome<'_>| Told::of(outcome, snapshot, pairs, class.kind.ipv6).across_families();
        let mut told: Vec<Told> = class.outcomes.iter().map(told).collect();
        told.sort_by_cached_key(|told| format!("{told:?}"));
        let mut doubts: Vec<String> = class.because.iter().map(|doubt| side.name(doubt)).collect();
        doubts.sort();
        match found.iter_mut().find(|known| known.told == told && known.doubts == doubts) {
            Some(known) => known.space = sets.diagrams.or(known.space, space),
            None => found.push(Ends { told, doubts, class, space }),
        }
    }
    found
}

/// Senders and ports for which the ends of both families are not the same, in parts with the same ends.
fn cells(sets: &mut Sets, before: &[Ends<'_, '_>], after: &[Ends<'_, '_>]) -> Vec<Set> {
    let mut differs = Set::NONE;
    for (ends, others) in [(before, after), (after, before)] {
        for one in ends {
            let there = others.iter().find(|other| same(one, other)).map_or(Set::NONE, |other| other.space);
            let only = sets.diagrams.without(one.space, there);
            differs = sets.diagrams.or(differs, only);
        }
    }
    let mut cells = vec![differs];
    for one in before.iter().chain(after) {
        let split = |cell: Set| [sets.diagrams.and(cell, one.space), sets.diagrams.without(cell, one.space)];
        cells = cells.into_iter().flat_map(split).filter(|cell| !cell.is_empty()).collect();
    }
    cells.retain(|cell| !cell.is_empty());
    cells
}

fn tell<'a>(
    (sets, cell): (&mut Sets, Set),
    (before, after): (&[Ends<'_, 'a>], &[Ends<'_, 'a>]),
    (kind, protocol, place): (&Kind, Protocol, &Place),
    snapshot: &Snapshot,
    found: &mut Vec<Difference<'a>>,
) {
    let mut here = |all: &[Ends<'_, 'a>]| -> (Vec<Outcome<'a>>, Vec<Doubt>, bool) {
        let (mut outcomes, mut doubts, mut certain) = (Vec::new(), Vec::new(), true);
        for ends in all {
            if !sets.diagrams.and(ends.space, cell).is_empty() {
                certain &= matches!(ends.told.as_slice(), [only] if !only.is_open());
                outcomes.extend(ends.class.outcomes.iter().cloned());
                doubts.extend(ends.class.because.iter().cloned());
            }
        }
        (outcomes, doubts, certain)
    };
    let ((outcomes, mut because, one), (others, more, other)) = (here(before), here(after));
    because.extend(more);
    let only: [Option<&Class<'a>>; 2] = [(before, after), (after, before)].map(|(ends, others)| {
        let here = |one: &&Ends<'_, 'a>| !sets.diagrams.and(one.space, cell).is_empty();
        let all: Vec<&Ends<'_, 'a>> = ends.iter().filter(here).collect();
        let alone = all.iter().find(|one| !others.iter().any(|other| same(one, other)));
        alone.or(all.first()).map(|ends| ends.class)
    });
    let [ipv4, _] = place;
    for area in areas(sets, cell) {
        let example = [0, 1].map(|at| {
            let (kind, ends) = if at == 0 { (*kind, place.first()) } else { (counterpart(kind), place.last()) };
            let class = only.get(at).copied().flatten();
            let here = at_place(class, ends, kind.ipv6, &area);
            let protocol =
                if protocol == Protocol::from_number(ICMP[0]) { kind.protocol.unwrap_or(protocol) } else { protocol };
            example::packet(&kind, protocol, &here, snapshot)
        });
        let area = Area { destinations: ipv4.destinations.clone(), sources: ipv4.sources.clone(), ..area };
        let (before, after, because) = (outcomes.clone(), others.clone(), because.clone());
        found.push(Difference { kind: *kind, area, before, after, because, certain: one && other, example });
    }
}

/// Senders and ports of an area, with addresses of a class at a place.
fn at_place(class: Option<&Class<'_>>, place: Option<&Area>, ipv6: bool, area: &Area) -> Area {
    let mut sets = Sets::new(ipv6);
    let ends =
        |of: &Area| Area { destinations: of.destinations.clone(), sources: of.sources.clone(), ..Area::default() };
    let spaces = [class.map(|class| ends(&class.area)), place.map(ends)];
    let spaces = spaces.map(|area| area.map_or(Set::ALL, |area| area.space(&mut sets)));
    let here = sets.diagrams.and(spaces[0], spaces[1]);
    let ends = areas(&sets, here).into_iter().next().unwrap_or_default();
    Area { destinations: ends.destinations, sources: ends.sources, ..area.clone() }
}

/// Whether both end alike.
fn same(one: &Ends<'_, '_>, other: &Ends<'_, '_>) -> bool {
    one.told == other.told && one.doubts == other.doubts
}
