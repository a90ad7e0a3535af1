//! Packets drawn at the edges of classes, and whether the class that holds one says what `trace` says of it.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use nslens::analysis::coverage::{Becomes, Class, Coverage, Kind, Outcome};
use nslens::analysis::diagram::Values;
use nslens::analysis::trace::{Outcome as Traced, Question, Trace, Tracer};
use nslens::model::{Endpoint, Protocol};
use nslens::packet::{Field, Known, Packet, state};

/// Numbers that look random and are the same for the same seed (xorshift, Marsaglia 2003).
pub(crate) struct Numbers(u64);

impl Numbers {
    pub(crate) fn of(seed: u64) -> Self {
        Self(seed | 1)
    }

    pub(crate) fn below(&mut self, end: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        usize::try_from(self.0 % end.max(1) as u64).expect("small")
    }

    fn wide(&mut self) -> u128 {
        (0..8).fold(0, |all, _| all << 16 | self.below(1 << 16) as u128)
    }
}

/// The edges of all classes of a kind, one below and one above them too.
pub(crate) struct Edges {
    by_field: Vec<(Field, Vec<u128>)>,
}

const FIELDS: [Field; 7] =
    [Field::Uid, Field::Gid, Field::Mark, Field::Destination, Field::DestinationPort, Field::Source, Field::SourcePort];

fn most(field: Field, ipv6: bool) -> u128 {
    match field {
        Field::Source | Field::Destination if ipv6 => u128::MAX,
        Field::SourcePort | Field::DestinationPort => 0xffff,
        _ => u32::MAX.into(),
    }
}

impl Edges {
    pub(crate) fn of(classes: &[&Class<'_>], ipv6: bool) -> Self {
        let of = |field: Field| {
            let mut edges = vec![0, 1, most(field, ipv6)];
            for values in classes.iter().flat_map(|class| class.area.of(field)) {
                let (from, to) = match values {
                    Values::Range { from, to } => (*from, *to),
                    Values::Masked { value, mask } => (*value, *value | !*mask & most(field, ipv6)),
                };
                edges.extend([from, to, from.saturating_sub(1), to.saturating_add(1)]);
            }
            edges.retain(|edge| *edge <= most(field, ipv6));
            edges.sort_unstable();
            edges.dedup();
            (field, edges)
        };
        Self { by_field: FIELDS.map(of).to_vec() }
    }

    /// A number of a field, at an edge half of the time.
    fn draw(&self, field: Field, ipv6: bool, numbers: &mut Numbers) -> u128 {
        let edges = self.by_field.iter().find(|(known, _)| *known == field).map(|(_, edges)| edges).expect("known");
        match numbers.below(2) {
            0 => edges[numbers.below(edges.len())],
            _ => numbers.wide() & most(field, ipv6),
        }
    }
}

fn address(number: u128, ipv6: bool) -> IpAddr {
    match ipv6 {
        // What is mapped is IPv4.
        true if number >> 32 == 0xffff => Ipv6Addr::from(number | 0xfd << 120).into(),
        true => Ipv6Addr::from(number).into(),
        false => Ipv4Addr::from(u32::try_from(number).expect("32 bits")).into(),
    }
}

/// A packet of a kind that begins a connection.
pub(crate) fn draw(kind: &Kind, other: Protocol, edges: &Edges, numbers: &mut Numbers) -> Question {
    let mut of = |field| edges.draw(field, kind.ipv6, numbers);
    let small = |number: u128| u32::try_from(number).expect("32 bits");
    let port = |number: u128| u16::try_from(number).expect("16 bits");
    let protocol = kind.protocol.unwrap_or(other);
    Question {
        incoming: kind.incoming,
        protocol,
        source: kind.incoming.then(|| address(of(Field::Source), kind.ipv6)),
        source_port: protocol.has_ports().then(|| port(of(Field::SourcePort))),
        destination: Endpoint::new(
            address(of(Field::Destination), kind.ipv6),
            if protocol.has_ports() { port(of(Field::DestinationPort)) } else { 0 },
        ),
        uid: (!kind.incoming).then(|| small(of(Field::Uid))),
        gid: (!kind.incoming).then(|| small(of(Field::Gid))),
        groups: (!kind.incoming).then(Vec::new),
        mark: if kind.incoming { 0 } else { small(of(Field::Mark)) },
        interface: kind.interface.filter(|_| kind.incoming),
        icmp: None,
        state: Some(state::NEW),
    }
}

/// The classes that hold a packet.
pub(crate) fn holding<'c, 'a>(coverage: &'c Coverage<'a>, kind: &Kind, question: &Question) -> Vec<&'c Class<'a>> {
    let destination = question.destination;
    let ports = question.source_port.map(|from| (from, destination.port));
    let holds = |class: &&Class<'_>| {
        class.kind == *kind
            && class.area.holds_ends(question.source, destination.address, ports)
            && (kind.incoming
                || class.area.holds_owner(question.uid.expect("told"), question.gid.expect("told"), question.mark))
    };
    coverage.classes.iter().filter(holds).collect()
}

fn becomes<T: Copy + PartialEq>(becomes: Becomes<T>, was: Known<T>, moved: impl Fn(T, T, T) -> T) -> Known<T> {
    match (becomes, was) {
        (Becomes::Stays, was) => was,
        (Becomes::Is(it), _) => Known::Is(it),
        (Becomes::Moved(keep, network), Known::Is(was)) => Known::Is(moved(was, keep, network)),
        _ => Known::Unknown,
    }
}

fn moved(was: IpAddr, keep: IpAddr, network: IpAddr) -> IpAddr {
    match (was, keep, network) {
        (IpAddr::V4(was), IpAddr::V4(keep), IpAddr::V4(network)) => (was & keep | network).into(),
        (IpAddr::V6(was), IpAddr::V6(keep), IpAddr::V6(network)) => (was & keep | network).into(),
        _ => was,
    }
}

/// Every end of a packet, as text that is the same where the ends are.
pub(crate) fn ends(trace: &Trace<'_>) -> Vec<String> {
    let mut ends: Vec<String> = trace.outcomes.iter().map(|one| of_trace(&trace.packet, one)).collect();
    ends.sort();
    ends.dedup();
    ends
}

/// What both say, as text that is the same where they say the same.
fn of_trace(was: &Packet, traced: &Traced<'_>) -> String {
    let packet = &traced.packet;
    let translated = packet.doubtful_states & state::SOURCE_CHANGED != 0
        || matches!(packet.state, Known::Is(bits) if bits & state::SOURCE_CHANGED != 0);
    let unknown = was.source == Known::Unknown && packet.source == Known::Unknown;
    let source = if translated && !unknown { packet.source } else { Known::Absent };
    let sockets: Vec<u32> = traced.receivers.iter().map(|socket| socket.inode).collect();
    let ends = (source, packet.source_port, packet.destination, packet.destination_port);
    told(traced.verdict.word(), ends, &sockets, traced.taken)
}

fn told(
    verdict: &str,
    (source, source_port, destination, port): (Known<IpAddr>, Known<u16>, Known<IpAddr>, Known<u16>),
    sockets: &[u32],
    taken: bool,
) -> String {
    // Where a packet ends on its way its ends are of no matter.
    match verdict {
        "dropped" | "rejected" | "undecided" => verdict.to_owned(),
        _ => format!("{verdict} {source:?} {source_port:?} -> {destination:?} {port:?} {sockets:?} {taken}"),
    }
}

fn of_class(question: &Question, trace: &Trace<'_>, outcome: &Outcome<'_>) -> String {
    let was = &trace.packet;
    let source = match outcome.source {
        Becomes::Stays => Known::Absent,
        other => becomes(other, was.source, moved),
    };
    let ports = question.protocol.has_ports();
    let source_port = becomes(outcome.source_port, was.source_port, |was, _, _| was);
    let port = if ports { becomes(outcome.port, was.destination_port, |was, _, _| was) } else { Known::Absent };
    let sockets: Vec<u32> = outcome.receivers.iter().map(|socket| socket.inode).collect();
    let ends = (source, source_port, becomes(outcome.destination, was.destination, moved), port);
    told(outcome.verdict.word(), ends, &sockets, outcome.taken)
}

/// What is wrong with what is said of a packet, where something is.
pub(crate) fn differs(
    tracer: &Tracer<'_>,
    coverage: &Coverage<'_>,
    kind: &Kind,
    question: &Question,
) -> Option<String> {
    let trace = tracer.trace(question);
    let classes = holding(coverage, kind, question);
    let [class] = classes.as_slice() else {
        return Some(format!("{} classes hold {question:?}", classes.len()));
    };
    let traced = ends(&trace);
    let mut covered: Vec<String> = class.outcomes.iter().map(|one| of_class(question, &trace, one)).collect();
    covered.sort();
    covered.dedup();
    let rules = match (trace.outcomes.as_slice(), class.outcomes.as_slice()) {
        // Where a match cannot be known, or an order, and it makes no difference, either of two rules decides.
        ([one], [other]) if !trace.same_in_any_order && !one.met.iter().any(|met| met.supposed) => {
            (one.rule.clone(), other.rule.clone())
        }
        _ => (None, None),
    };
    if traced == covered && rules.0 == rules.1 {
        return None;
    }
    Some(format!(
        "{question:?}\ntrace: {traced:#?}\n{:?} {:?}\nclass: {covered:#?}\n{:?} {:?}\n{:?}",
        rules.0, trace.doubts, rules.1, class.because, class.area
    ))
}
