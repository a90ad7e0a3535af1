//! Sockets that are no ends of connections, with who holds them: in a block of their own, and for programs.

use std::collections::HashMap;

use serde::Serialize;
use serde_json::Value;

use super::columns::{Cell, line, widths};
use super::json::{Holder, of_process};
use super::table::user_words;
use super::wide::{one_word, or_dash};
use super::{Beside, Look, Part};
use crate::model::{OtherSocket, PacketSocket, Process, Snapshot, SocketState};
use crate::report::escape::escape;
use crate::report::flows::word;

/// A socket and the processes that hold it, in order of PID.
#[derive(Debug)]
pub struct Other<'a> {
    socket: &'a OtherSocket,
    holders: Vec<&'a Process>,
}

/// The other sockets of a snapshot that processes hold for which `wanted` says so: by kind, then by process.
#[must_use]
pub fn others<'a>(snapshot: &'a Snapshot, wanted: impl Fn(&[&Process]) -> bool) -> Vec<Other<'a>> {
    let sockets = || snapshot.other_sockets.iter().flatten();
    let mut holders: HashMap<u32, Vec<&Process>> = sockets().map(|socket| (socket.inode(), Vec::new())).collect();
    for process in snapshot.processes.iter().flatten() {
        for inode in &process.sockets {
            if let Some(holders) = holders.get_mut(inode) {
                holders.push(process);
            }
        }
    }
    let mut found: Vec<_> = sockets()
        .map(|socket| Other { socket, holders: holders.get(&socket.inode()).cloned().unwrap_or_default() })
        .filter(|other| wanted(&other.holders))
        .collect();
    found.sort_by_key(|other| {
        (kind(other.socket), other.holders.first().map_or(u32::MAX, |process| process.pid), other.socket.inode())
    });
    found
}

fn kind(socket: &OtherSocket) -> &'static str {
    match socket {
        OtherSocket::Mptcp(_) => "mptcp",
        OtherSocket::Raw(_) => "raw",
        OtherSocket::Packet(_) => "packet",
        OtherSocket::Unix(_) => "unix",
    }
}

fn uid(socket: &OtherSocket) -> Option<u32> {
    match socket {
        OtherSocket::Mptcp(socket) | OtherSocket::Raw(socket) => (socket.inode != 0).then_some(socket.uid),
        OtherSocket::Packet(socket) => socket.uid,
        OtherSocket::Unix(socket) => socket.uid,
    }
}

/// What it is, in words without a line's end.
fn words(socket: &OtherSocket, beside: Option<&Beside<'_>>) -> String {
    match socket {
        OtherSocket::Mptcp(socket) => match socket.peer {
            Some(peer) => format!("{} to {peer}, {}", socket.local, socket.state),
            None => format!("{}, {}", socket.local, socket.state),
        },
        // A raw socket that gets packets is listed as if it were closed.
        OtherSocket::Raw(socket) => {
            let to = socket.peer.map(|peer| format!(" from {}", peer.address)).unwrap_or_default();
            let state =
                if socket.state == SocketState::Unconnected { String::new() } else { format!(", {}", socket.state) };
            format!("{} to {}{to}{state}", word(socket.protocol), socket.local.address)
        }
        OtherSocket::Packet(socket) => packet(socket, beside),
        OtherSocket::Unix(socket) => {
            let waits = if socket.listening { ", listening" } else { "" };
            format!("{}{waits}", escape(&socket.path))
        }
    }
}

/// `ETH_P_*` (include/uapi/linux/if_ether.h).
fn packet(socket: &PacketSocket, beside: Option<&Beside<'_>>) -> String {
    let what = match socket.ethertype {
        0 => return "no packets".to_owned(),
        0x0003 => "all packets".to_owned(),
        0x0800 => "IPv4 packets".to_owned(),
        0x0806 => "ARP packets".to_owned(),
        0x86dd => "IPv6 packets".to_owned(),
        other => format!("packets of type {other:#06x}"),
    };
    match socket.interface {
        None => what,
        Some(0) => format!("{what} of every device"),
        Some(index) => match beside.and_then(|beside| beside.device(index)) {
            Some(name) => format!("{what} of {}", escape(name)),
            None => format!("{what} of device number {index}"),
        },
    }
}

fn holder_words(other: &Other<'_>, beside: Option<&Beside<'_>>) -> String {
    let mut parts = Vec::new();
    match other.holders.first() {
        Some(process) => {
            parts.push(format!("{}/{}", escape(&process.name), process.pid));
            parts.extend(process.container.as_deref().map(|container| escape(container).into_owned()));
        }
        None => parts.push("(owner not found)".to_owned()),
    }
    let named = other.holders.first().filter(|process| Some(process.uid) == uid(other.socket));
    let name = named.and_then(|process| process.user.as_deref());
    parts.extend(uid(other.socket).map(|uid| user_words(uid, name, beside)));
    match other.holders.len() {
        0 | 1 => {}
        many => parts.push(format!("and {} more", many - 1)),
    }
    parts.join(" · ")
}

/// The block for people; nothing where there are none. What a socket is stands last: a path may be long.
#[must_use]
pub fn others_table(others: &[Other<'_>], look: Look<'_>) -> String {
    let heading = ["OTHER SOCKET", "HELD BY", "WHAT"].map(|title| Cell::painted(Part::Heading, title));
    let row = |other: &Other<'_>| {
        [
            Cell::plain(kind(other.socket)),
            Cell::painted(Part::Process, holder_words(other, look.beside)),
            Cell::plain(words(other.socket, look.beside)),
        ]
    };
    block(&heading, others.iter().map(row).collect(), look)
}

/// The same with every cell filled.
#[must_use]
pub fn others_wide(others: &[Other<'_>], look: Look<'_>) -> String {
    const HEADING: [&str; 8] = ["PROCESS", "CONTAINER", "UID", "UID-INSIDE", "KIND", "INODE", "OWNERS", "WHAT"];
    let row = |other: &Other<'_>| {
        let process = other.holders.first();
        let uid = uid(other.socket);
        let inner = uid.and_then(|uid| look.beside?.inner_uid(uid));
        [
            Cell::plain(process.map_or_else(
                || "(owner-not-found)".to_owned(),
                |process| format!("{}/{}", one_word(&process.name), process.pid),
            )),
            or_dash(process.and_then(|process| process.container.as_deref()).map(one_word)),
            or_dash(uid.map(|uid| uid.to_string())),
            or_dash(inner.map(|uid| uid.to_string())),
            Cell::plain(kind(other.socket)),
            Cell::plain(other.socket.inode().to_string()),
            Cell::plain(other.holders.len().to_string()),
            Cell::plain(words(other.socket, look.beside)),
        ]
    };
    block(&HEADING.map(|title| Cell::painted(Part::Heading, title)), others.iter().map(row).collect(), look)
}

fn block<const N: usize>(heading: &[Cell; N], rows: Vec<[Cell; N]>, look: Look<'_>) -> String {
    if rows.is_empty() {
        return String::new();
    }
    let heading = look.headings.then_some(heading);
    let widths = widths(heading.into_iter().chain(&rows));
    let mut text = String::from("\n");
    heading.into_iter().chain(&rows).for_each(|cells| line(&mut text, cells, widths, look.paint));
    text
}

/// One element of `other_sockets[]`: the socket as snapshots have it, and who holds it.
#[derive(Debug, Serialize)]
struct Row<'a> {
    #[serde(flatten)]
    socket: &'a OtherSocket,
    uid_inner: Option<u32>,
    device: Option<&'a str>,
    process: Option<Holder<'a>>,
    processes: Vec<Holder<'a>>,
}

/// The value of the document's key `other_sockets`.
#[must_use]
pub fn others_json(others: &[Other<'_>], beside: Option<&Beside<'_>>) -> Value {
    let row = |other: &Other<'_>| {
        let device = match other.socket {
            OtherSocket::Mptcp(socket) | OtherSocket::Raw(socket) => Some(socket.interface),
            OtherSocket::Packet(socket) => socket.interface,
            OtherSocket::Unix(_) => None,
        };
        let row = Row {
            socket: other.socket,
            uid_inner: uid(other.socket).and_then(|uid| beside?.inner_uid(uid)),
            device: device.and_then(|index| beside?.device(index)),
            process: other.holders.first().map(|process| of_process(process, beside)),
            processes: other.holders.iter().map(|process| of_process(process, beside)).collect(),
        };
        // Text keys and whole numbers only, which is all that could fail.
        serde_json::to_value(row).unwrap_or_default()
    };
    others.iter().map(row).collect()
}
