//! Tracked state dies before the connection.

use super::{Kind, Page};
use crate::analysis::check::{Case, Found, Severity};
use crate::analysis::join::{Evidence, Way};
use crate::model::{SocketState, Subject};

pub(super) const KIND: Kind = Kind {
    id: "RDR706",
    title: "Tracked state dies before the connection",
    severity: Severity::Info,
    page: Page {
        seen: "Idle connections hang for minutes, and sockets of the proxy are left over.",
        why: "A translated connection needs its entry. Where the entry ends before the connection, a packet from the \
              other side fits nothing.",
        evidence: "An application's socket and the proxy's that are two ends of one translated connection, both \
              established, without an entry.",
        remedy: "Let keepalive packets come more often than tracked entries end (nf_conntrack_tcp_timeout_established).",
        references: &["istio/ztunnel#1688"],
    },
    silenced_by: &["RDR009"],
    look,
};

fn look(case: &Case<'_>, found: &mut Found) {
    if case.snapshot.flows.is_none() || case.unread(&[Subject::Flows]).is_some() {
        return;
    }
    let lost: Vec<_> = case
        .connections()
        .iter()
        .filter(|one| one.state == SocketState::Established && one.way == Way::Redirected && one.flow.is_none())
        .filter(|one| one.evidence == Some(Evidence::Ends) && one.twin.is_some())
        .collect();
    let Some(first) = lost.first() else { return };
    let finding = KIND.found(
        format!("{} redirected connections have no tracked entry any more", lost.len()),
        "let keepalive packets come more often than tracked entries end",
    );
    let peer = first.peer.map_or_else(String::new, |peer| format!(" to {peer}"));
    found.finding(finding.because(format!("{}{peer} is one of them", first.local)));
}
