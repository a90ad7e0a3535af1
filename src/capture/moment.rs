//! Sockets and tracked entries are read one after the other: whether they are of one moment.
//!
//! An entry that says its connection is over, read after a socket that says it is open, has two explanations: the connection ended
//! between the two, or the entry is that of an earlier one with the same ends. To ask for the socket once more tells them apart.

use std::collections::{HashMap, HashSet};

use crate::model::{Endpoint, Flow, Protocol, Socket};

type Ends = (Endpoint, Endpoint);

/// Indexes of the TCP sockets that contradict every entry with their ends.
pub(super) fn contradicted(sockets: &[Socket], flows: &[Flow]) -> Vec<usize> {
    let tcp = |flow: &&Flow| flow.protocol == Protocol::Tcp;
    let over = |flow: &&Flow| matches!(flow.state.as_deref(), Some("LAST_ACK" | "TIME_WAIT" | "CLOSE"));
    if !flows.iter().filter(tcp).any(|flow| over(&flow)) {
        return Vec::new();
    }
    let ends =
        |socket: &Socket| socket.peer.filter(|_| socket.protocol == Protocol::Tcp).map(|peer| (socket.local, peer));
    let mut entries: HashMap<Ends, Vec<&Flow>> = sockets
        .iter()
        .filter(|socket| socket.state.is_live())
        .filter_map(|socket| Some((ends(socket)?, Vec::new())))
        .collect();
    for flow in flows.iter().filter(tcp) {
        let tuples = [flow.original, flow.reply];
        for tuple in tuples {
            if let Some(entries) = entries.get_mut(&tuple) {
                entries.push(flow);
            }
        }
    }
    let contradicts = |socket: &Socket| {
        let entries = ends(socket).filter(|_| socket.state.is_live()).and_then(|ends| entries.get(&ends));
        entries.is_some_and(|all| !all.is_empty() && !all.iter().any(|flow| flow.may_be_of(socket.state)))
    };
    let numbered = sockets.iter().enumerate();
    numbered.filter(|(_, socket)| contradicts(socket)).map(|(index, _)| index).collect()
}

/// Puts in the place of these sockets what they are `now`: the same one in its present state, else the one that has its ends. What
/// is there no more is left out.
pub(super) fn renew(sockets: &mut Vec<Socket>, doubtful: &[usize], now: Vec<Socket>) {
    let (mut by_cookie, mut by_ends) = (HashMap::new(), HashMap::new());
    for socket in now {
        by_ends.insert((socket.protocol, socket.local, socket.peer), socket.clone());
        if socket.details.cookie != 0 {
            by_cookie.insert(socket.details.cookie, socket);
        }
    }
    let doubtful: HashSet<usize> = doubtful.iter().copied().collect();
    let mut index = 0;
    sockets.retain_mut(|socket| {
        let asked = doubtful.contains(&index);
        index += 1;
        if !asked {
            return true;
        }
        let same = by_cookie.remove(&socket.details.cookie);
        match same.or_else(|| by_ends.remove(&(socket.protocol, socket.local, socket.peer))) {
            Some(fresh) => {
                *socket = fresh;
                true
            }
            None => false,
        }
    });
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{Family, SocketDetails, SocketState};

    fn end(text: &str) -> Endpoint {
        let address: std::net::SocketAddr = text.parse().expect("an endpoint");
        Endpoint::new(address.ip(), address.port())
    }

    fn socket(cookie: u64, port: u16, state: SocketState) -> Socket {
        Socket {
            protocol: Protocol::Tcp,
            family: Family::Ip,
            mapped: false,
            state,
            local: end(&format!("10.0.0.2:{port}")),
            peer: Some(end("10.0.0.5:80")),
            uid: 0,
            inode: 1,
            mark: None,
            interface: 0,
            receive_queue: 0,
            send_queue: 0,
            details: SocketDetails { cookie, ..SocketDetails::default() },
        }
    }

    fn entry(port: u16, state: &'static str) -> Flow {
        let ends = (end(&format!("10.0.0.2:{port}")), end("10.0.0.5:80"));
        Flow { state: Some(state.into()), ..Flow::between(Protocol::Tcp, ends, (ends.1, ends.0)) }
    }

    #[test]
    fn only_what_contradicts_all_its_entries_is_in_doubt() {
        let sockets: Vec<_> = (0_u16..6).map(|port| socket(port.into(), port, SocketState::Established)).collect();
        let flows = [
            entry(0, "ESTABLISHED"),
            entry(1, "TIME_WAIT"),
            entry(2, "TIME_WAIT"),
            entry(2, "ESTABLISHED"),
            entry(3, "CLOSE"),
            entry(4, "FIN_WAIT"),
        ];
        assert_eq!(contradicted(&sockets, &flows), [1, 3]);
        assert_eq!(contradicted(&sockets, &flows[..1]), [0_usize; 0]);
    }

    #[test]
    fn what_was_in_doubt_is_taken_as_it_is_now_and_what_went_is_left_out() {
        use SocketState::{Established, FinWait2, TimeWait};
        let mut sockets: Vec<_> = (1_u16..6).map(|port| socket(port.into(), port, Established)).collect();
        // The first stays as it is, the second ends, the third is over, the fourth is gone, of the fifth nobody asked.
        let now = vec![socket(1, 1, Established), socket(2, 2, FinWait2), socket(99, 3, TimeWait)];
        renew(&mut sockets, &[0, 1, 2, 3], now);
        let told: Vec<_> = sockets.iter().map(|socket| (socket.local.port, socket.state)).collect();
        assert_eq!(told, [(1, Established), (2, FinWait2), (3, TimeWait), (5, Established)]);
    }
}
