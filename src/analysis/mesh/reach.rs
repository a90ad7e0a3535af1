//! What rules capture, by asking them about packets, and by their structure where no packet comes there.

use std::collections::BTreeSet;
use std::net::IpAddr;

use super::profile::{Profile, plain};
use super::structure::{Sends, Structure, bystander};
use super::{Captured, Dns, Lane, Reach};
use crate::analysis::ask::Asker;
use crate::analysis::eval::End;
use crate::analysis::summary::{Direction, Does, Fate, summarise};
use crate::model::Snapshot;
use crate::packet::{DeviceName, Known, Packet};

/// What the rules of one family do.
pub(super) fn reach(snapshot: &Snapshot, structure: &Structure, profile: Option<&Profile>, ipv6: bool) -> Reach {
    let summary = summarise(snapshot, ipv6);
    let own = |sends: &&Sends| sends.rule.family.sees(ipv6) && !sends.bystander;
    let sends: Vec<&Sends> = structure.sends.iter().filter(own).collect();
    let mut outbound = lane(&summary.outbound, &sends, profile, true);
    if outbound.captured == Captured::Nothing {
        by_owner(snapshot, &sends, &mut outbound, ipv6);
        by_loopback(snapshot, &sends, &mut outbound, ipv6);
    }
    Reach {
        ipv6,
        outbound,
        inbound: lane(&summary.inbound, &sends, profile, false),
        dns: dns(snapshot, structure, ipv6),
    }
}

/// Rules that leave everybody alone but one user of one group: asked about every pair that they name.
fn by_owner(snapshot: &Snapshot, sends: &[&Sends], lane: &mut Lane, ipv6: bool) {
    const MOST: usize = 8;
    let asker = Asker::new(snapshot, ipv6);
    let (uids, gids) = (&asker.named.uids, &asker.named.gids);
    for uid in uids.iter().take(MOST) {
        for gid in gids.iter().take(MOST) {
            let end = asker.outbound(|packet| (packet.uid, packet.gid) = (Known::Is(uid.0), Known::Is(gid.0)));
            let End::Redirected { to, .. } = end else { continue };
            if sends.iter().any(|sends| Some(sends.port) == to.port) {
                (lane.captured, lane.port) = (Captured::Some, to.port);
                lane.included.uids.insert(*uid);
                lane.included.gids.insert(*gid);
            }
        }
    }
}

/// Virtual addresses of the loopback range, as ECS Service Connect gives them to services.
fn by_loopback(snapshot: &Snapshot, sends: &[&Sends], lane: &mut Lane, ipv6: bool) {
    let asker = Asker::new(snapshot, ipv6);
    let of_loopback = asker.named.destinations.iter().filter(|(address, _)| address.is_loopback());
    for (address, text) in of_loopback {
        let end = asker.outbound(|packet| to_loopback(packet, *address));
        let End::Redirected { to, .. } = end else { continue };
        if let Some(sends) = sends.iter().find(|sends| Some(sends.port) == to.port) {
            (lane.captured, lane.port) = (Captured::Some, to.port);
            lane.transparent = sends.transparent;
            lane.included.networks.push(text.clone());
        }
    }
}

/// It goes to the machine itself, and never leaves it.
fn to_loopback(packet: &mut Packet, address: IpAddr) {
    packet.destination = Known::Is(address);
    packet.source = Known::Is(address);
    packet.destination_local = Known::Is(true);
    packet.output = Known::Is(DeviceName::LOOPBACK);
}

fn lane(direction: &Direction, sends: &[&Sends], profile: Option<&Profile>, outbound: bool) -> Lane {
    let others = &direction.others;
    // What is sent to the port for queries is no connection to the proxy.
    let known = |port: &u16| sends.iter().any(|sends| sends.port == *port && !sends.dns);
    let written = written(sends, profile, outbound);
    let sent = others.sent.iter().copied().find(known);
    let redirects = others.further.iter().any(|further| {
        further.does == Does::Redirects && sends.iter().any(|sends| sends.rule == further.rule && !sends.dns)
    });
    let (captured, port) = match &direction.fate {
        Fate::Redirected(to) if to.port.as_ref().is_some_and(known) => (Captured::All, to.port),
        Fate::Redirected(_) => (Captured::Nothing, None),
        Fate::Direct if sent.is_some() => (Captured::Some, sent),
        Fate::Direct if redirects => (Captured::Some, None),
        Fate::Direct => (Captured::Nothing, None),
        Fate::Dropped(_) => (Captured::Dropped, None),
        Fate::Undecided(_) => (Captured::Undecided, None),
    };
    let mut lane = Lane {
        captured,
        port: port.or_else(|| written.iter().next().copied()),
        written,
        transparent: false,
        excluded: super::Picked::default(),
        included: super::Picked::default(),
        further: others.further.clone(),
    };
    lane.transparent = sends.iter().any(|sends| sends.transparent && Some(sends.port) == lane.port);
    let picked = super::Picked {
        ports: others.ports.clone(),
        networks: others.networks.clone(),
        uids: others.uids.clone(),
        gids: others.gids.clone(),
        marks: others.marks.clone(),
    };
    match captured {
        Captured::All => lane.excluded = picked,
        Captured::Some => lane.included = picked,
        _ => {}
    }
    lane
}

/// Ports that stand in the rules for a direction: by the profile's chains, else by the hooks that lead there.
fn written(sends: &[&Sends], profile: Option<&Profile>, outbound: bool) -> BTreeSet<u16> {
    let plainly = || sends.iter().filter(|sends| !sends.dns);
    let chains = profile.map_or(&[][..], |profile| if outbound { profile.outbound } else { profile.inbound });
    let named: BTreeSet<u16> =
        plainly().filter(|sends| chains.contains(&plain(&sends.rule.chain).as_str())).map(|sends| sends.port).collect();
    if !named.is_empty() {
        return named;
    }
    let inbound: BTreeSet<u16> = plainly().filter(|sends| sends.inbound).map(|sends| sends.port).collect();
    match outbound {
        false => inbound,
        true => plainly().filter(|sends| sends.outbound && !sends.inbound).map(|sends| sends.port).collect(),
    }
}

/// Where queries go, to anybody or to the resolvers that rules name, those of the machine itself among them.
fn dns(snapshot: &Snapshot, structure: &Structure, ipv6: bool) -> Option<Dns> {
    const UDP: u8 = 17;
    const TCP: u8 = 6;
    const DOMAIN: u16 = 53;
    let asker = Asker::new(snapshot, ipv6);
    let named = asker.named.destinations.iter().map(|(address, _)| Some(*address));
    let resolvers: Vec<_> = std::iter::once(None).chain(named).collect();
    let ask = |protocol: u8, resolver: Option<IpAddr>| {
        let end = asker.outbound(|packet| {
            packet.protocol = Known::Is(protocol);
            packet.destination_port = Known::Is(DOMAIN);
            if let Some(resolver) = resolver {
                packet.destination = Known::Is(resolver);
                if resolver.is_loopback() {
                    to_loopback(packet, resolver);
                }
            }
        });
        match end {
            End::Redirected { by, to } => {
                let foreign =
                    by.find(snapshot.rulesets()).is_some_and(|(table, _)| bystander(table, &by.chain).is_some());
                let elsewhere = protocol == UDP || structure.sends.iter().any(|sends| sends.rule == by && sends.dns);
                (!foreign && elsewhere).then_some((by, to))
            }
            _ => None,
        }
    };
    let udp = resolvers.iter().find_map(|resolver| Some((*resolver, ask(UDP, *resolver)?)));
    let tcp = resolvers.iter().find_map(|resolver| Some((*resolver, ask(TCP, *resolver)?)));
    let (resolver, (rule, to)) = udp.clone().or_else(|| tcp.clone())?;
    Some(Dns { port: to.port, address: to.address, resolver, udp: udp.is_some(), tcp: tcp.is_some(), rule })
}
