//! What happened to connections, one change after the other, from what was told of them and from lists: pure, and in a room that
//! grows with the connections that are there, not with the changes.

use std::collections::{HashMap, HashSet};
use std::hash::{BuildHasher, RandomState};

use crate::model::{Endpoint, Flow, GoneSocket, Happening, Observed, Protocol, Socket, SocketState};

/// What happened.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum What {
    /// It was there when the watch began.
    There,
    /// It is new.
    Open,
    /// The first packet came back.
    Answered,
    /// The handshake is over.
    Established,
    /// It is over.
    Closed,
    /// Tracking dropped the entry of a connection that was over, and only then tells what it counted.
    Counted,
    /// Events were lost before this; so many tracked connections are as they are now, if they could be listed.
    Lost(Option<usize>),
}

impl What {
    /// The word that stands for it in JSON and on the screen.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Self::There => "there",
            Self::Open => "open",
            Self::Answered => "answered",
            Self::Established => "established",
            Self::Closed => "closed",
            Self::Counted => "counted",
            Self::Lost(_) => "lost",
        }
    }
}

/// One change.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Change {
    /// When it was told, nanoseconds after 1970-01-01 UTC.
    pub at: u64,
    /// What happened.
    pub what: What,
    /// A list showed it, nobody told: it happened since the list before.
    pub late: bool,
    /// The connection; `None` where events were lost.
    pub of: Option<Followed>,
    /// Nanoseconds since it was opened, where that was seen or is told.
    pub lasted: Option<u64>,
    /// Packets and bytes of both directions, where tracking counts them.
    pub counted: Option<(u64, u64)>,
}

/// A connection that is followed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Followed {
    /// By what it is known.
    pub by: By,
    /// Transport protocol.
    pub protocol: Protocol,
    /// Who dialled; of a socket whose side is not known, its own end.
    pub source: Endpoint,
    /// What was dialled.
    pub dialled: Endpoint,
    /// Where the packets go; `None` where that is not known.
    pub went: Option<Endpoint>,
    /// The first packet came back, as far as is known.
    pub answered: bool,
}

/// By what a connection is known.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum By {
    /// Its tracked entry, of this number and zone.
    Entry {
        /// The kernel's number of the entry.
        id: u32,
        /// Zone.
        zone: u16,
        /// Where the answers go.
        answers: Endpoint,
    },
    /// Its socket.
    Socket {
        /// The kernel's number of the socket.
        cookie: u64,
        /// The inode; 0 where it is not known.
        inode: u32,
        /// UID of the socket, where it is known.
        uid: Option<u32>,
        /// It was accepted, not dialled.
        accepted: bool,
    },
}

/// How far a connection has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Stage {
    Open,
    Answered,
    Established,
    Closed,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
struct Key {
    id: u32,
    protocol: Protocol,
    source: Endpoint,
    dialled: Endpoint,
    zone: u16,
}

#[derive(Debug, Clone, Copy)]
struct Known {
    /// When it was opened, 0 where that is not known.
    since: u64,
    went: Endpoint,
    answers: Endpoint,
    stage: Stage,
    answered: bool,
    /// It was there before anybody listened: tracking may tell nothing of it.
    older: bool,
}

#[derive(Debug, Clone, Copy)]
struct KnownSocket {
    of: Followed,
    since: u64,
    stage: Stage,
    /// Nothing tracks it, so that what is known of it is known by its socket.
    told: bool,
    round: u64,
}

/// What is known of all connections of a namespace.
#[derive(Debug, Default)]
pub struct Ledger {
    initial: bool,
    hasher: RandomState,
    flows: HashMap<Key, Known>,
    older: usize,
    /// How many entries have these ends, by a hash of them.
    ends: HashMap<u64, u32>,
    /// IPv4 and IPv6: some entry was seen, so tracking is on.
    tracks: [bool; 2],
    /// The list that is being read, and what was told of meanwhile.
    list: Option<(HashMap<Key, Known>, HashSet<Key>)>,
    listed: bool,
    lost: Option<u64>,
    sockets: HashMap<u64, KnownSocket>,
    listeners: HashSet<(Protocol, u16)>,
    round: u64,
}

impl Ledger {
    /// Nothing is known yet. With `initial`, what the first lists show is told too.
    #[must_use]
    pub fn new(initial: bool) -> Self {
        Self { initial, ..Self::default() }
    }

    /// Whether entries are known that were there before anybody listened.
    #[must_use]
    pub fn has_older(&self) -> bool {
        self.older > 0
    }

    /// Whether tracking is known to be on for IPv4 or IPv6.
    #[must_use]
    pub fn tracks(&self, ipv6: bool) -> bool {
        self.tracks.get(usize::from(ipv6)).copied().unwrap_or_default()
    }

    /// Takes what was observed at a moment (nanoseconds after 1970-01-01 UTC), and puts the changes behind those in `out`.
    pub fn take(&mut self, at: u64, observed: Observed, out: &mut Vec<Change>) {
        match observed {
            Observed::Tracked(Happening::Dropped, flow) => self.dropped(at, &flow, out),
            Observed::Tracked(_, flow) => self.seen(at, &flow, out),
            Observed::SocketGone(gone) => self.socket_gone(at, gone, out),
            Observed::Lost => {
                self.lost.get_or_insert(at);
            }
            Observed::ListBegins => self.list = Some((HashMap::new(), HashSet::new())),
            Observed::Listed(flow) => {
                let (key, known) = (key(&flow), known(&flow, true));
                self.note_tracking(&key);
                if let Some((list, _)) = &mut self.list {
                    list.insert(key, known);
                }
            }
            Observed::ListEnds => self.list_ends(at, out),
            Observed::ListFails => {
                self.list = None;
                self.say_lost(None, out);
            }
            Observed::Sockets(sockets) => self.sockets(at, &sockets, out),
        }
    }

    /// An entry is new, or something of it changed.
    fn seen(&mut self, at: u64, flow: &Flow, out: &mut Vec<Change>) {
        let key = key(flow);
        self.note_tracking(&key);
        if let Some((_, told)) = &mut self.list {
            told.insert(key);
        }
        let now = known(flow, false);
        match self.flows.get_mut(&key) {
            Some(before) => {
                if let Some((what, after)) = step(*before, now, flow.state.is_some(), at) {
                    *before = after;
                    out.push(change(at, what, false, &key, &after));
                }
            }
            None => {
                let since = flow.details.started.unwrap_or(at);
                let known = Known { since, ..now };
                self.add(key, known);
                // An entry that is told of late is told as it is.
                out.push(change(at, What::Open, false, &key, &known));
                if now.stage > Stage::Open {
                    out.push(change(at, word(now.stage), false, &key, &known));
                }
            }
        }
    }

    fn dropped(&mut self, at: u64, flow: &Flow, out: &mut Vec<Change>) {
        let key = key(flow);
        self.note_tracking(&key);
        if let Some((list, _)) = &mut self.list {
            list.remove(&key);
        }
        let counted = flow.packets.zip(flow.bytes);
        let before = self.remove(&key);
        let started = flow.details.started.unwrap_or_default();
        let last = known(flow, false);
        let known = before.unwrap_or(Known { since: started, ..last });
        let known = Known { answered: known.answered || last.answered, ..known };
        let what = match known.stage {
            Stage::Closed if before.is_some() && counted.is_none() => return,
            Stage::Closed if before.is_some() => What::Counted,
            _ => What::Closed,
        };
        let since = if known.since == 0 { started } else { known.since };
        out.push(Change { counted, ..change(at, what, false, &key, &Known { since, ..known }) });
    }

    fn list_ends(&mut self, at: u64, out: &mut Vec<Change>) {
        let Some((list, told)) = self.list.take() else { return };
        let first = !std::mem::replace(&mut self.listed, true);
        self.say_lost(Some(list.len()), out);
        // One that was told of while the list was read may have come behind the place where the kernel was reading.
        let missing = self.flows.keys().filter(|key| !list.contains_key(*key) && !told.contains(*key));
        let mut missing: Vec<Key> = missing.copied().collect();
        // Of what a list shows nobody knows what came first: it is told in the order of its ends.
        let place = |key: &Key| (key.source, key.dialled, key.id);
        missing.sort_by_key(place);
        for key in missing {
            let Some(known) = self.remove(&key) else { continue };
            if known.stage != Stage::Closed {
                out.push(change(at, What::Closed, true, &key, &known));
            }
        }
        let mut list: Vec<_> = list.into_iter().collect();
        list.sort_by_key(|(key, _)| place(key));
        for (key, now) in list {
            match self.flows.get_mut(&key) {
                // What was told meanwhile is newer than the list.
                Some(_) if told.contains(&key) => {}
                Some(before) => {
                    if let Some((what, after)) = step(*before, now, true, at) {
                        *before = after;
                        out.push(change(at, what, true, &key, &after));
                    }
                }
                None => {
                    self.add(key, now);
                    let what = if first { What::There } else { What::Open };
                    if now.stage != Stage::Closed && (!first || self.initial) {
                        out.push(change(at, what, !first, &key, &now));
                    }
                }
            }
        }
    }

    fn say_lost(&mut self, connections: Option<usize>, out: &mut Vec<Change>) {
        if let Some(at) = self.lost.take() {
            out.push(Change { at, what: What::Lost(connections), late: false, of: None, lasted: None, counted: None });
        }
    }

    fn note_tracking(&mut self, key: &Key) {
        if let Some(tracks) = self.tracks.get_mut(usize::from(key.source.address.is_ipv6())) {
            *tracks = true;
        }
    }

    fn hash(&self, protocol: Protocol, one: Endpoint, other: Endpoint) -> u64 {
        // The same for both directions: a socket is found by either.
        let (low, high) = if one <= other { (one, other) } else { (other, one) };
        self.hasher.hash_one((protocol, low, high))
    }

    fn hashes(&self, key: &Key, known: &Known) -> [u64; 2] {
        [self.hash(key.protocol, key.source, key.dialled), self.hash(key.protocol, known.went, known.answers)]
    }

    fn add(&mut self, key: Key, known: Known) {
        for hash in self.hashes(&key, &known) {
            *self.ends.entry(hash).or_default() += 1;
        }
        self.older += usize::from(known.older);
        self.flows.insert(key, known);
    }

    fn remove(&mut self, key: &Key) -> Option<Known> {
        let known = self.flows.remove(key)?;
        for hash in self.hashes(key, &known) {
            if let Some(count) = self.ends.get_mut(&hash) {
                *count -= 1;
                if *count == 0 {
                    self.ends.remove(&hash);
                }
            }
        }
        self.older -= usize::from(known.older);
        Some(known)
    }

    fn is_tracked(&self, protocol: Protocol, one: Endpoint, other: Endpoint) -> bool {
        self.ends.contains_key(&self.hash(protocol, one, other))
    }

    /// Compares the sockets with those that were there before.
    fn sockets(&mut self, at: u64, sockets: &[Socket], out: &mut Vec<Change>) {
        let first = self.round == 0;
        self.round += 1;
        let listening = sockets.iter().filter(|socket| socket.state == SocketState::Listen);
        self.listeners = listening.map(|socket| (socket.protocol, socket.local.port)).collect();
        for socket in sockets {
            let Some(peer) = socket.peer.filter(|_| !socket.details.request && socket.details.cookie != 0) else {
                continue;
            };
            let opening = matches!(socket.state, SocketState::SynSent | SocketState::SynRecv);
            let stage = if opening { Stage::Open } else { Stage::Established };
            let round = self.round;
            if let Some(known) = self.sockets.get_mut(&socket.details.cookie) {
                known.round = round;
                if known.told && stage > known.stage {
                    known.stage = stage;
                    known.of.answered = true;
                    let of = Some(known.of);
                    let lasted = elapsed(known.since, at);
                    out.push(Change { at, what: What::Established, late: true, of, lasted, counted: None });
                }
                continue;
            }
            let told = !self.is_tracked(socket.protocol, socket.local, peer);
            let accepted = self.listeners.contains(&(socket.protocol, socket.local.port));
            let uid = (socket.inode != 0).then_some(socket.uid);
            let by = By::Socket { cookie: socket.details.cookie, inode: socket.inode, uid, accepted };
            let of = followed_socket(by, socket.protocol, socket.local, peer, accepted, !opening);
            let since = if first { 0 } else { at };
            self.sockets.insert(socket.details.cookie, KnownSocket { of, since, stage, told, round });
            if told && (!first || self.initial) {
                let what = if first { What::There } else { What::Open };
                out.push(Change { at, what, late: !first, of: Some(of), lasted: None, counted: None });
            }
        }
        let round = self.round;
        self.sockets.retain(|_, known| {
            let stays = known.round == round;
            if !stays && known.told {
                let lasted = elapsed(known.since, at);
                let of = Some(known.of);
                out.push(Change { at, what: What::Closed, late: true, of, lasted, counted: None });
            }
            stays
        });
    }

    fn socket_gone(&mut self, at: u64, gone: GoneSocket, out: &mut Vec<Change>) {
        let closed = |of, since| Change {
            at,
            what: What::Closed,
            late: false,
            of: Some(of),
            lasted: elapsed(since, at),
            counted: None,
        };
        if let Some(known) = self.sockets.remove(&gone.cookie) {
            if known.told {
                out.push(closed(known.of, known.since));
            }
            return;
        }
        // Too short for a list. Where tracking is on it has told of it.
        let Some(peer) = gone.peer.filter(|_| self.round > 0 && gone.local.port != 0) else { return };
        if self.tracks(gone.local.address.is_ipv6()) {
            return;
        }
        let accepted = self.listeners.contains(&(gone.protocol, gone.local.port));
        let by = By::Socket { cookie: gone.cookie, inode: 0, uid: None, accepted };
        out.push(closed(followed_socket(by, gone.protocol, gone.local, peer, accepted, true), 0));
    }
}

fn followed_socket(
    by: By,
    protocol: Protocol,
    local: Endpoint,
    peer: Endpoint,
    accepted: bool,
    answered: bool,
) -> Followed {
    let (source, dialled) = if accepted { (peer, local) } else { (local, peer) };
    Followed { by, protocol, source, dialled, went: None, answered }
}

fn elapsed(since: u64, at: u64) -> Option<u64> {
    (since != 0).then(|| at.saturating_sub(since))
}

fn key(flow: &Flow) -> Key {
    let (source, dialled) = flow.original;
    Key { id: flow.id, protocol: flow.protocol, source, dialled, zone: flow.zone }
}

fn known(flow: &Flow, older: bool) -> Known {
    let answered = flow.status & Flow::SEEN_REPLY != 0;
    let stage = match (flow.protocol, flow.state.as_deref()) {
        (_, Some("ESTABLISHED")) => Stage::Established,
        (Protocol::Tcp, Some("TIME_WAIT" | "CLOSE")) => Stage::Closed,
        (Protocol::Tcp, _) | (_, Some(_)) => Stage::Open,
        (_, None) => {
            if answered {
                Stage::Answered
            } else {
                Stage::Open
            }
        }
    };
    let since = flow.details.started.unwrap_or_default();
    Known { since, went: flow.reply.0, answers: flow.reply.1, stage, answered, older }
}

/// What is worth a line between two looks at an entry, and how it is now.
fn step(before: Known, now: Known, has_state: bool, at: u64) -> Option<(What, Known)> {
    let after = Known { since: before.since, older: before.older, answered: before.answered || now.answered, ..now };
    // The entry of one that is over may serve another one with the same ends.
    if before.stage == Stage::Closed && has_state && now.stage < Stage::Closed {
        return Some((What::Open, Known { since: at, stage: Stage::Open, answered: now.answered, ..after }));
    }
    (now.stage > before.stage).then(|| (word(now.stage), after))
}

fn word(stage: Stage) -> What {
    match stage {
        Stage::Open => What::Open,
        Stage::Answered => What::Answered,
        Stage::Established => What::Established,
        Stage::Closed => What::Closed,
    }
}

fn change(at: u64, what: What, late: bool, key: &Key, known: &Known) -> Change {
    let of = Followed {
        by: By::Entry { id: key.id, zone: key.zone, answers: known.answers },
        protocol: key.protocol,
        source: key.source,
        dialled: key.dialled,
        went: Some(known.went),
        answered: known.answered,
    };
    let lasted = if matches!(what, What::Open | What::There) { None } else { elapsed(known.since, at) };
    Change { at, what, late, of: Some(of), lasted, counted: None }
}

#[cfg(test)]
mod tests;
