//! The proxy does not accept or read any more.

use super::{Kind, Page};
use crate::analysis::check::{Case, Found, Person, Severity};
use crate::analysis::observations::Kind as Seen;
use crate::model::{Protocol, Snapshot, Socket, SocketState};
use std::collections::BTreeSet;

pub(super) const KIND: Kind = Kind {
    id: "RDR306",
    title: "The proxy does not accept or read any more",
    severity: Severity::Error,
    page: Page {
        seen: "Connections are made, and then nothing comes; everything times out, and sockets that the other side has \
              closed become more and more.",
        why: "The proxy is stuck or starved: its queue of connections is full, or nobody reads what has come.",
        evidence: "A listener of a redirect target whose queue of connections to be accepted is full; or several of its \
              connections that the other side has closed and that hold bytes nobody has read. With a second sample, \
              the kernel's count of dropped connections too.",
        remedy: "Take the proxy's stacks, then restart it; look at its limit of processor time.",
        references: &["linkerd/linkerd2#2294", "istio/istio#31229"],
    },
    silenced_by: &["RDR009", "RDR101"],
    look,
};

fn look(case: &Case<'_>, found: &mut Found) {
    if !case.expected.captures_something() {
        return;
    }
    let ports: BTreeSet<u16> = case.targets().iter().map(|target| target.port).collect();
    let dropped = |snapshot: &Snapshot| {
        let counters = snapshot.settings.as_ref().map(|settings| &settings.counters)?;
        Some(counters.get("TcpExt.ListenOverflows").copied().unwrap_or_default())
    };
    let grown = case.asked.later.and_then(|later| dropped(later)?.checked_sub(dropped(case.snapshot)?));
    let remedy = "take the proxy's stacks, then restart it; look at its limit of processor time";
    for port in ports {
        let listeners = case.snapshot.sockets.iter().flatten().filter(|socket| {
            socket.state == SocketState::Listen && socket.protocol == Protocol::Tcp && socket.local.port == port
        });
        let full: Vec<&Socket> = listeners.filter(|socket| socket.receive_queue >= socket.send_queue.max(1)).collect();
        let unread: Vec<_> = case
            .observed(Seen::Unread)
            .filter(|one| {
                let of_port = |inode: &u32| {
                    let mut sockets = case.snapshot.sockets.iter().flatten();
                    sockets.any(|socket| socket.inode == *inode && socket.local.port == port)
                };
                one.connections.iter().any(of_port) || one.words.contains(&format!(" on {port},"))
            })
            .collect();
        if full.is_empty() && unread.is_empty() {
            continue;
        }
        let title = match full.is_empty() {
            false => format!("nobody accepts connections at port {port}, to which rules send them"),
            true => format!("nobody reads what comes to port {port}, to which rules send connections"),
        };
        let mut finding = KIND.found(title, remedy);
        for socket in full {
            let who = case.owners(socket).next().map_or_else(|| "nobody".to_owned(), Person::words);
            finding = finding.because(format!(
                "{} connections wait to be accepted at {}, which has room for {}; it is held by {who}",
                socket.receive_queue, socket.local, socket.send_queue
            ));
        }
        finding = unread.into_iter().fold(finding, |finding, one| finding.because(one.words.clone()));
        if let Some(grown) = grown.filter(|grown| *grown > 0) {
            finding = finding.because(format!("the kernel has dropped {grown} connections more between two samples"));
        }
        found.finding(finding);
    }
}
