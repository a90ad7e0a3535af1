//! A DNS loop through a local resolver.

use super::{Kind, Page};
use crate::analysis::check::{Case, DOMAIN, Found, Person, Query, Severity};
use crate::model::{Flow, Protocol, RuleRef, Socket, Subject};

pub(super) const KIND: Kind = Kind {
    id: "RDR505",
    title: "DNS loop through a local resolver",
    severity: Severity::Error,
    page: Page {
        seen: "No name resolves, on machines or in pods with dnsmasq or systemd-resolved; the proxy and that resolver use much CPU.",
        why: "The proxy passes queries on to the resolver of the machine, and what that one asks others is captured and sent back to the \
              proxy: it runs as a user that no rule leaves alone.",
        evidence: "A process that is no proxy waits for queries on port 53, resolv.conf names its address, and rules send what it asks \
                   others to the proxy's DNS port. Tracked flows of it that were translated there show it live.",
        remedy: "Capture queries to the addresses of resolv.conf alone, or leave the resolver's user alone.",
        references: &["istio/istio#30309", "istio/istio#30647", "istio/istio#29224", "projectcalico/calico#8546"],
    },
    silenced_by: &["RDR001", "RDR601", "RDR009"],
    look,
};

fn look(case: &Case<'_>, found: &mut Found) {
    let captures = case.expected.families.iter().any(|family| family.dns.is_some());
    if case.wants_dns().is_none() || !captures || case.unread(&[Subject::Rules]).is_some() {
        return;
    }
    // Where sockets were not read that is told of the proxy's listener.
    if case.unread(&[Subject::Sockets]).is_some() {
        return;
    }
    if let Some(why) = case.unread(&[Subject::Processes]) {
        return found.cannot_tell(&KIND, why);
    }
    let at_port = |socket: &&Socket| socket.local.port == DOMAIN && socket.is_unconnected();
    for socket in case.snapshot.sockets.iter().flatten().filter(at_port) {
        let Some(person) = case.owners(socket).find(|person| !person.proxy && !person.process.elsewhere) else {
            continue;
        };
        let Some(rule) = captured(case, person) else { continue };
        let flows = looping(case, socket);
        let named = case.resolvers().map(|all| all.into_iter().find(|asks| names(case, socket, asks.resolver)));
        let by = match (named, flows) {
            (Some(Some(asks)), _) => format!("{} names {}", asks.by, asks.resolver),
            (_, 1..) => format!("{flows} of its queries were sent to the proxy"),
            (Some(None), _) => continue,
            (None, _) => {
                found.cannot_tell(&KIND, format!("whether the proxy asks {}: no resolv.conf was read", person.words()));
                continue;
            }
        };
        let finding = KIND.found(
            format!("what {} asks other resolvers comes back to it through the proxy", person.words()),
            format!(
                "capture queries to the resolvers of resolv.conf alone, or leave UID {} alone",
                person.uid().unwrap_or(person.process.uid)
            ),
        );
        let finding = finding
            .because(format!("it waits for queries at {}", socket.local))
            .because(format!("{rule} sends its own queries to the proxy"))
            .because(by);
        return found.finding(finding.about(Some(rule)));
    }
}

/// The rule that captures what a process asks others, to whomever it is.
fn captured(case: &Case<'_>, person: &Person<'_>) -> Option<RuleRef> {
    let identity = person.identity.as_ref()?;
    case.families().into_iter().find_map(|ipv6| match case.asks(Some(identity), Protocol::Udp, case.outside(ipv6)) {
        Query::Captured { rule, .. } => rule,
        _ => None,
    })
}

/// Whether a query to this address comes to the socket.
fn names(case: &Case<'_>, socket: &Socket, resolver: std::net::IpAddr) -> bool {
    let any = socket.local.address.is_unspecified() && case.snapshot.is_local(resolver);
    any || socket.local.address == resolver
}

/// Tracked queries of others than the proxy that were sent from the namespace to the proxy's DNS port, while this one waits there: it is
/// the only one that asks from an address of the namespace to the outside.
fn looping(case: &Case<'_>, socket: &Socket) -> usize {
    let ports = case.dns_ports();
    let sockets = || case.snapshot.sockets.iter().flatten();
    let owners: Vec<u32> = case.owners(socket).map(|person| person.process.pid).collect();
    let its = |flow: &&Flow| {
        let from = flow.original.0;
        let own = sockets().filter(|one| one.protocol == Protocol::Udp && one.local.port == from.port);
        own.into_iter().any(|one| case.owners(one).any(|person| owners.contains(&person.process.pid)))
    };
    let sent = |flow: &&Flow| {
        flow.protocol == Protocol::Udp
            && flow.original.1.port == DOMAIN
            && !case.snapshot.is_local(flow.original.1.address)
            && flow.status & Flow::DST_NAT != 0
            && ports.contains(&flow.reply.0.port)
    };
    case.snapshot.flows.iter().flatten().filter(sent).filter(its).count()
}
