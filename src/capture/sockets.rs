//! Reads the sockets of a network namespace: those of connections, and beside them raw, packet, Multipath TCP and UNIX ones.
//!
//! Nothing is asked of a kernel subsystem that is not there already, since the kernel would load it for the question.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::{fs, io};

use super::connections::{Refusal, list, open};
use crate::model::{Cause, Family, OtherSocket, Protocol, Snapshot, Socket, Subject, Unread};
use crate::sys::modules;
use crate::sys::netlink::{self, NetlinkSocket};
use crate::sys::netns::Netns;
use crate::wire::proc_raw;
use crate::wire::sock_diag::{self, SCTP, SockDiagError, UDP_LITE, Wanted, packet, unix};

/// What it means when one of the lists is missing or cut short.
pub(super) const SOCKETS: &str = "connections may be missing";
const OTHERS: &str = "sockets of this kind may be missing";

/// The module behind all lists of [`CONNECTIONS`].
const INET_DIAG: &str = "inet_diag";

/// Protocols whose sockets are ends of connections: module that lists them, and a symbol of it.
const CONNECTIONS: [(Protocol, &str, &str); 4] = [
    (Protocol::Tcp, "tcp_diag", "tcp_diag_dump"),
    (Protocol::Udp, "udp_diag", "udp_diag_dump"),
    (UDP_LITE, "udp_diag", "udplite_diag_dump"),
    (SCTP, "sctp_diag", "sctp_diag_dump"),
];

/// Words that stand in the paths of proxies' sockets, in small letters.
const PROXIES: [&str; 12] = [
    "appmesh",
    "cilium",
    "consul",
    "dataplane",
    "envoy",
    "istio",
    "kuma",
    "linkerd",
    "osm",
    "spiffe",
    "spire",
    "ztunnel",
];

/// Sockets in use in a namespace by protocol, as `/proc/net/protocols` counts them; `None` where it cannot be read.
#[derive(Debug)]
struct InUse(Option<BTreeMap<String, u64>>);

impl InUse {
    /// That of the calling thread's namespace.
    fn read(proc_root: &Path) -> Self {
        let text = fs::read_to_string(proc_root.join("thread-self/net/protocols"));
        Self(text.ok().map(|text| {
            let line = |line: &str| {
                let mut words = line.split_ascii_whitespace();
                let (name, count) = (words.next()?, words.nth(1)?);
                // A count that is none is no reason not to ask.
                Some((name.to_owned(), count.parse().unwrap_or(1)))
            };
            text.lines().skip(1).filter_map(line).collect()
        }))
    }

    /// Whether there may be sockets of one of these names.
    fn any(&self, names: &[&str]) -> bool {
        self.0.as_ref().is_none_or(|counts| names.iter().any(|name| counts.get(*name).is_some_and(|count| *count > 0)))
    }

    /// Whether the kernel may have one of these names.
    fn known(&self, names: &[&str]) -> bool {
        self.0.as_ref().is_none_or(|counts| names.iter().any(|name| counts.contains_key(*name)))
    }
}

/// What lists the sockets of one namespace.
#[derive(Debug)]
pub(super) struct SocketLists {
    channel: Result<NetlinkSocket, Refusal>,
    kernel: KernelLists,
    in_use: InUse,
}

/// What this kernel can list as it is: looked up outside the namespace, where the list of modules is.
#[derive(Debug)]
pub(super) struct KernelLists {
    proc_root: PathBuf,
    /// What lists the sockets of any protocol here, and is loaded first.
    any: bool,
    /// Protocols that always have to be asked for, and the module that is missing.
    lacking: Vec<(Protocol, &'static str)>,
}

impl KernelLists {
    pub(super) fn of(proc_root: &Path) -> Self {
        let any = modules::present(proc_root, INET_DIAG, "inet_diag_register");
        let mut lists = Self { proc_root: proc_root.to_owned(), any, lacking: Vec::new() };
        lists.lacking = [Protocol::Tcp, Protocol::Udp]
            .into_iter()
            .filter_map(|protocol| Some((protocol, lists.missing(protocol)?)))
            .collect();
        lists
    }

    /// The module without which the sockets of a protocol cannot be listed.
    pub(super) fn missing(&self, protocol: Protocol) -> Option<&'static str> {
        let (_, module, symbol) = CONNECTIONS.into_iter().find(|(other, ..)| *other == protocol)?;
        if self.any { Some(module).filter(|_| !self.has(module, symbol)) } else { Some(INET_DIAG) }
    }

    fn has(&self, module: &str, symbol: &str) -> bool {
        modules::present(&self.proc_root, module, symbol)
    }
}

impl SocketLists {
    /// Opens what lists the sockets of the calling thread's namespace.
    pub(super) fn open(kernel: KernelLists) -> Self {
        let in_use = InUse::read(&kernel.proc_root);
        let any = kernel.any && kernel.lacking.len() < 2;
        let channel = if any { open(netlink::SOCK_DIAG) } else { Err(Refusal::absent(INET_DIAG)) };
        Self { channel, kernel, in_use }
    }

    /// The sockets of connections of both families, and which of the lists could not be read.
    pub(super) fn connections(&mut self, wanted: Wanted) -> (Vec<Socket>, Vec<Unread>) {
        let mut asked = vec![Protocol::Tcp, Protocol::Udp];
        if self.in_use.any(&["UDP-Lite", "UDPLITEv6"]) {
            asked.push(UDP_LITE);
        }
        if self.in_use.any(&["SCTP", "SCTPv6"]) {
            asked.push(SCTP);
        }
        self.protocols(&asked, wanted)
    }

    /// Those of TCP and UDP that wait for whoever comes. For them alone the kernel does not walk its table of TCP's connections.
    pub(super) fn waiting(&mut self) -> (Vec<Socket>, Vec<Unread>) {
        let (mut sockets, mut unread) = self.protocols(&[Protocol::Tcp], Wanted::states(sock_diag::LISTENING));
        let (more, refused) = self.protocols(&[Protocol::Udp], Wanted::states(sock_diag::UNCONNECTED));
        sockets.extend(more);
        unread.extend(refused);
        (sockets, unread)
    }

    pub(super) fn protocols(&mut self, protocols: &[Protocol], wanted: Wanted) -> (Vec<Socket>, Vec<Unread>) {
        let (mut sockets, mut unread) = (Vec::new(), Vec::new());
        for protocol in protocols {
            let source = format!("sockets {}", name(*protocol));
            let missing = match self.kernel.lacking.iter().find(|(other, _)| other == protocol) {
                Some((_, module)) => Some(*module),
                None if [SCTP, UDP_LITE].contains(protocol) => self.kernel.missing(*protocol),
                None => None,
            };
            if let Some(module) = missing {
                unread.push(Refusal::absent(module).about(Subject::Sockets, source, SOCKETS));
                continue;
            }
            for (kind, request) in requests(*protocol, wanted) {
                let question = (kind, request.as_slice(), kind);
                let (more, refusal) =
                    list(&mut self.channel, question, |payload| sock_diag::decode(*protocol, payload));
                sockets.extend(more);
                let refusal = refusal.map(|refusal| refusal.about(Subject::Sockets, source.clone(), SOCKETS));
                // What holds for one family's list need not be said again of the other's.
                unread.extend(refusal.filter(|refusal| !unread.contains(refusal)));
            }
        }
        (sockets, unread)
    }

    /// Sockets that are no ends of connections: raw, packet, Multipath TCP, and UNIX ones of proxies.
    pub(super) fn others(&mut self, netns: &Netns) -> (Vec<OtherSocket>, Vec<Unread>) {
        let mut found = Found::default();
        if self.in_use.known(&["MPTCP", "MPTCPv6"]) {
            let request = |family| sock_diag::mptcp_request(family, Wanted::states(sock_diag::EVERY_STATE));
            let lister = ("mptcp_diag", "mptcp_diag_dump");
            for family in BOTH {
                self.ask(&mut found, "mptcp", lister, &request(family), |payload| {
                    sock_diag::decode_mptcp(payload).map(|socket| Some(OtherSocket::Mptcp(socket)))
                });
            }
        }
        if self.in_use.any(&["RAW", "RAWv6"]) {
            self.raw(&mut found, netns);
        }
        if self.in_use.any(&["PACKET"]) {
            self.ask(&mut found, "packet", ("packet_diag", "packet_diag_dump"), &packet::request(), |payload| {
                packet::decode(payload).map(|socket| Some(OtherSocket::Packet(socket)))
            });
        }
        if self.in_use.any(&["UNIX", "UNIX-STREAM"]) {
            self.ask(&mut found, "unix", ("unix_diag", "unix_diag_dump"), &unix::request(), |payload| {
                let named = unix::decode(payload)?.filter(|socket| is_of_a_proxy(&socket.path));
                Ok(named.map(OtherSocket::Unix))
            });
        }
        (found.sockets, found.unread)
    }

    /// Raw sockets: by raw_diag, which few kernels have, or from the two files.
    fn raw(&mut self, found: &mut Found, netns: &Netns) {
        if self.kernel.any && self.kernel.has("raw_diag", "raw_diag_dump") {
            let mut told = Found::default();
            for family in BOTH {
                let request = sock_diag::raw_request(family, Wanted::states(sock_diag::EVERY_STATE));
                self.ask(&mut told, "raw", ("raw_diag", "raw_diag_dump"), &request, |payload| {
                    sock_diag::decode_raw(payload).map(|socket| Some(OtherSocket::Raw(socket)))
                });
            }
            // A kernel that loads no modules has what it has, and may not have this.
            if told.unread.iter().all(|unread| unread.cause != Cause::Unsupported) {
                found.sockets.extend(told.sockets);
                found.unread.extend(told.unread);
                return;
            }
        }
        let folder = self.kernel.proc_root.join("thread-self/net");
        let read = netns.enter(|| ["raw", "raw6"].map(|name| fs::read_to_string(folder.join(name))));
        let texts = match read {
            Ok(texts) => texts.into_iter().collect(),
            Err(error) => vec![Err(error)],
        };
        let mut note = |refusal: Refusal| found.unread.push(refusal.about(Subject::Sockets, "sockets raw", OTHERS));
        for text in texts {
            let text = match text {
                Ok(text) => text,
                // No IPv6 in this kernel.
                Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
                Err(error) => {
                    note(Refusal::from_io(&error));
                    continue;
                }
            };
            for socket in proc_raw::sockets(&text) {
                match socket {
                    Ok(socket) => found.sockets.push(OtherSocket::Raw(socket)),
                    Err(error) => note(Refusal { cause: Cause::Failed, error: error.to_string() }),
                }
            }
        }
    }

    /// Asks for one list of other sockets.
    fn ask(
        &mut self,
        found: &mut Found,
        what: &str,
        (module, symbol): (&str, &str),
        request: &[u8],
        decode: impl Fn(&[u8]) -> Result<Option<OtherSocket>, SockDiagError>,
    ) {
        let refusal = if self.kernel.has(module, symbol) {
            if self.channel.is_err() {
                self.channel = open(netlink::SOCK_DIAG);
            }
            let question = (sock_diag::BY_FAMILY, request, sock_diag::BY_FAMILY);
            let (more, refusal) = list(&mut self.channel, question, decode);
            found.sockets.extend(more.into_iter().flatten());
            refusal
        } else {
            Some(Refusal::absent(module))
        };
        let unread = refusal.map(|refusal| refusal.about(Subject::Sockets, format!("sockets {what}"), OTHERS));
        found.unread.extend(unread.filter(|unread| !found.unread.contains(unread)));
    }
}

/// Other sockets, and what could not be read of them.
#[derive(Debug, Default)]
struct Found {
    sockets: Vec<OtherSocket>,
    unread: Vec<Unread>,
}

const BOTH: [Family; 2] = [Family::Ip, Family::Ip6];

/// The protocol's name where the lists are called by it.
fn name(protocol: Protocol) -> String {
    match protocol {
        SCTP => "sctp".to_owned(),
        UDP_LITE => "udplite".to_owned(),
        other => other.to_string(),
    }
}

/// Whether a path looks like one by which a proxy, or what feeds it, is reached.
fn is_of_a_proxy(path: &str) -> bool {
    let path = path.to_ascii_lowercase();
    PROXIES.iter().any(|word| path.contains(word))
}

/// The requests for the sockets of a protocol, of both families: message type and payload.
fn requests(protocol: Protocol, wanted: Wanted) -> Vec<(u16, Vec<u8>)> {
    match protocol {
        Protocol::Tcp => vec![(sock_diag::TCP, sock_diag::tcp_request(wanted))],
        _ => BOTH.map(|family| (sock_diag::BY_FAMILY, sock_diag::request(family, protocol, wanted))).into(),
    }
}

/// Fills in the sockets of the live connections of `netns` alone, and what of them could not be read.
pub fn read_live_into(snapshot: &mut Snapshot, netns: &Netns, proc_root: &Path) {
    let kernel = KernelLists::of(proc_root);
    let opened = netns.enter(|| (SocketLists::open(kernel), has_tcp(proc_root)));
    let (sockets, unread) = match opened {
        Ok((mut lists, has_tcp)) => {
            let asked: &[Protocol] = if has_tcp { &[Protocol::Tcp, Protocol::Udp] } else { &[Protocol::Udp] };
            lists.protocols(asked, Wanted::states(sock_diag::LIVE))
        }
        Err(error) => (Vec::new(), vec![Refusal::from_io(&error).about(Subject::Sockets, "sockets", SOCKETS)]),
    };
    snapshot.unread.extend(unread);
    snapshot.sockets = Some(sockets);
}

/// Whether the calling thread's namespace has any TCP socket. To list them, the kernel walks its one table of the connections of all
/// namespaces, some 1 ms on a machine of 24 GiB; that there are none it knows without (`sockstat_seq_show`, net/ipv4/proc.c).
fn has_tcp(proc_root: &Path) -> bool {
    let none = |name: &str, protocol: &str| {
        // Unreadable is not none: without a figure the table is asked.
        let text = fs::read_to_string(proc_root.join("thread-self/net").join(name)).unwrap_or_default();
        let figures = text.lines().find_map(|line| line.strip_prefix(protocol)).unwrap_or_default();
        let mut words = figures.split(' ').skip_while(|word| *word != "inuse");
        let used = words.nth(1).map(|figure| figure == "0");
        // Connections that are over have no socket but an entry in the table, which `tw` counts.
        let over = figures.split_once(" tw ").is_none_or(|(_, rest)| rest.starts_with("0 "));
        used == Some(true) && over
    };
    // Without IPv6 in the kernel there is no second file: what cannot be read is looked for in the table.
    !(none("sockstat", "TCP:") && none("sockstat6", "TCP6:"))
}
