//! Random packets, and the question that stands for each.

use std::net::{IpAddr, SocketAddr};

use nslens::analysis::trace::Question;
use nslens::model::{Endpoint, Protocol};

use super::chance::Chance;
use crate::traffic::{Place, Properties, Sent};

/// Where the pod's processes send to.
const TO: &str = "10.0.0.5 10.0.0.5 10.0.0.5 10.96.0.10 10.0.0.1 10.0.0.2 10.0.0.3 127.0.0.1 127.0.0.1 127.0.0.6 192.0.2.7 198.51.100.9";
const TO6: &str = "fd01::9 fd01::9 fd00::1 fd00::2 ::1 2001:db8::7";
/// Where the pod's processes may say that they are.
const FROM: &str = "10.0.0.2 10.0.0.3 127.0.0.1 127.0.0.6";
/// Who sends to the pod, and where to.
const PEERS: &str = "10.0.0.1 10.0.0.5 192.0.2.7";
const PEERS6: &str = "fd00::1 fd01::9 2001:db8::7";
const POD: &str = "10.0.0.2 10.0.0.2 10.0.0.3 198.51.100.9";
const POD6: &str = "fd00::2 fd00::2 2001:db8:1::9";
pub(super) const PORTS: &str = "80 443 53 8080 15001 15006 15008 81 9090";
pub(super) const IDS: &str = "0 1000 1337 2102";

/// A packet, and what is told of it when it is asked about.
#[derive(Debug, Clone)]
pub(super) struct Asked {
    pub(super) sent: Sent,
    /// Who sends it is not told.
    pub(super) anonymous: bool,
}

/// A random packet.
pub(super) fn packet(chance: &mut Chance, incoming: bool, ipv6: bool) -> Asked {
    let protocol = if chance.percent(20) { Protocol::Tcp } else { Protocol::Udp };
    let address = |word: String| -> IpAddr { word.parse().expect("an address") };
    let port = chance.word(PORTS).parse().expect("a port");
    let mut socket = Properties::default();
    let (from, to, source) = if incoming {
        let (to, peer) = if ipv6 { (POD6, PEERS6) } else { (POD, PEERS) };
        socket.transparent = true;
        (Place::Ext, address(chance.word(to)), Some(address(chance.word(peer))))
    } else {
        socket.uid = chance.word(IDS).parse().expect("a number");
        socket.gid = chance.word(IDS).parse().expect("a number");
        if chance.percent(30) {
            socket.groups = (0..1 + chance.below(2)).map(|_| chance.word(IDS).parse().expect("a number")).collect();
        }
        if chance.percent(25) {
            socket.mark = u32::from_str_radix(&chance.word("1 2 5 15 539 100"), 16).expect("a number");
        }
        let to = address(chance.word(if ipv6 { TO6 } else { TO }));
        let own = if ipv6 { "fd00::2".to_owned() } else { chance.word(FROM) };
        // What is sent from loopback to others does not leave the machine: connect() itself refuses some of it.
        let source = chance.percent(20).then(|| address(own));
        (Place::Pod, to, source)
    };
    let any: IpAddr = if ipv6 { "::".parse().expect("any") } else { "0.0.0.0".parse().expect("any") };
    let sent = Sent {
        from,
        protocol,
        source: Some(SocketAddr::new(source.unwrap_or(any), 0)),
        to: SocketAddr::new(to, port),
        socket,
    };
    Asked { sent, anonymous: false }
}

/// Another port for each packet: no connection is ever that of an earlier one.
#[derive(Debug, Default)]
pub(super) struct Ports(u16);

impl Ports {
    pub(super) fn next(&mut self) -> u16 {
        self.0 = (self.0 + 1) % 20_000;
        20_000 + self.0
    }
}

impl Asked {
    /// The question; of its source only the port is known where the kernel chooses the address.
    pub(super) fn question(&self) -> Question {
        let Sent { from, protocol, source, to, socket } = &self.sent;
        let incoming = *from == Place::Ext;
        let mut question = Question::to(Endpoint::new(to.ip(), to.port()));
        question.incoming = incoming;
        question.protocol = *protocol;
        question.source = source.map(|source| source.ip()).filter(|source| !source.is_unspecified());
        question.source_port = source.map(|source| source.port());
        if incoming {
            question.interface = nslens::packet::DeviceName::new("eth0");
        } else {
            question.mark = socket.mark;
            if !self.anonymous {
                (question.uid, question.gid) = (Some(socket.uid), Some(socket.gid));
                question.groups = Some(socket.groups.clone());
            }
        }
        question
    }

    /// For people.
    pub(super) fn words(&self) -> String {
        let Sent { from, protocol, source, to, socket } = &self.sent;
        let source = source.map(|source| source.to_string()).unwrap_or_default();
        let direction = if *from == Place::Ext { "in" } else { "out" };
        let Properties { uid, gid, groups, mark, .. } = socket;
        format!(
            "{direction} {protocol:?} {source} -> {to} uid {uid} gid {gid} groups {groups:?} mark {mark:#x}{}",
            if self.anonymous { " (owner not told)" } else { "" }
        )
    }
}
