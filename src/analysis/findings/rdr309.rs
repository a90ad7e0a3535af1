//! The proxy is near its limits.

use super::{Kind, Page};
use crate::analysis::check::{Case, Found, Severity};
use crate::model::{Descriptors, Endpoint, Protocol};
use std::collections::BTreeMap;

pub(super) const KIND: Kind = Kind {
    id: "RDR309",
    title: "The proxy is near its descriptor or port limits",
    severity: Severity::Warning,
    page: Page {
        seen: "Connections are reset now and then under load; the proxy logs that it has too many open files, or cannot \
              assign an address.",
        why: "A loop, a leak, or one upstream address behind very many clients.",
        evidence: "The proxy has four fifths of the descriptors open that it may have; or its connections to one \
              destination take four fifths of the ports that there are.",
        remedy: "Look for a loop first (RDR101); raise the limit, or let connections be used again.",
        references: &["istio/istio#23369", "istio/istio#14443", "istio/istio#26101"],
    },
    silenced_by: &["RDR009", "RDR101"],
    look,
};

fn look(case: &Case<'_>, found: &mut Found) {
    for person in case.proxies() {
        let Some(Descriptors { open, limit }) = person.process.descriptors else { continue };
        if is_near(u64::from(open), limit) {
            let finding = KIND.found(
                format!("{} has {open} of {limit} descriptors open", person.words()),
                "raise its limit of open files, and look for what leaks",
            );
            found.finding(finding.because(format!("RLIMIT_NOFILE of PID {} is {limit}", person.process.pid)));
        }
    }
    let (first, last) = range(case);
    let room = u64::from(last.saturating_sub(first)) + 1;
    let mut to: BTreeMap<(Endpoint, Endpoint), u64> = BTreeMap::new();
    for socket in case.snapshot.sockets.iter().flatten() {
        let own = (first..=last).contains(&socket.local.port);
        if let Some(peer) = socket.peer.filter(|_| own && socket.protocol == Protocol::Tcp) {
            *to.entry((Endpoint::new(socket.local.address, 0), peer)).or_default() += 1;
        }
    }
    for ((from, peer), count) in to.into_iter().filter(|(_, count)| is_near(*count, room)) {
        let finding = KIND.found(
            format!("{count} of {room} ports are taken for connections to {peer}"),
            "let connections be used again, or give the workload more addresses or ports",
        );
        found.finding(finding.because(format!("from {}, ports {first} to {last}", from.address)));
    }
}

/// Four fifths.
fn is_near(count: u64, limit: u64) -> bool {
    limit > 0 && u128::from(count) * 5 >= u128::from(limit) * 4
}

/// Ports that the kernel chooses of itself (`ip_local_port_range`).
fn range(case: &Case<'_>) -> (u16, u16) {
    const USUAL: (u16, u16) = (32_768, 60_999);
    let set = case.snapshot.settings.as_ref().and_then(|settings| {
        let (first, last) = settings.sysctls.get("net.ipv4.ip_local_port_range")?.split_once(char::is_whitespace)?;
        Some((first.trim().parse().ok()?, last.trim().parse().ok()?))
    });
    set.unwrap_or(USUAL)
}
