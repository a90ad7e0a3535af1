//! The classes of `coverage` beside the packets that the kernel was asked about: what trace says of them, which the kernel has judged, is
//! what the class says that holds them, and the classes are everything, each packet once.

use nslens::analysis::coverage::{Coverage, Kind, Narrow, coverage};
use nslens::analysis::trace::{Question, Tracer};
use nslens::model::Protocol;
use nslens::packet::{Known, state};

use crate::drawn::{Edges, Numbers, differs, draw};

/// Packets of each kind at the edges of its classes.
const EDGES: usize = 12;
/// A protocol that no rule names.
const OTHER: Protocol = Protocol::Other(250);

/// The classes of a rule set.
pub(super) struct Covered<'a> {
    coverage: Coverage<'a>,
    /// Packets that were looked for in them.
    pub(super) packets: usize,
}

impl<'a> Covered<'a> {
    /// The classes, and what is wrong with them: as a whole, and with packets at their edges.
    pub(super) fn of(tracer: &Tracer<'a>, grouped: bool) -> (Self, Option<String>) {
        let coverage = coverage(tracer, &Narrow::default());
        let mut wrong = match coverage.is_exact(&Narrow::default()) {
            Err(how) => Some(format!("{how:?}")),
            Ok(()) if coverage.given_up.is_empty() => None,
            Ok(()) => Some(format!("given up: {:?}", coverage.given_up)),
        };
        let mut kinds: Vec<Kind> = coverage.classes.iter().map(|class| class.kind).collect();
        kinds.dedup();
        let mut numbers = Numbers::of(kinds.len() as u64 * 77 + coverage.classes.len() as u64);
        for kind in kinds.into_iter().filter(|kind| kind.incoming || !grouped) {
            let of_kind: Vec<_> = coverage.classes.iter().filter(|class| class.kind == kind).collect();
            let edges = Edges::of(&of_kind, kind.ipv6);
            for _ in 0..EDGES {
                let question = draw(&kind, OTHER, &edges, &mut numbers);
                wrong = wrong.or_else(|| differs(tracer, &coverage, &kind, &question));
            }
        }
        (Self { coverage, packets: 0 }, wrong)
    }

    /// What is wrong with the class of a packet. Its sender has not chosen an address, and no device.
    ///
    /// Which further groups senders have is open in a class: where rules ask for them (`grouped`), only what holds for all is compared.
    pub(super) fn check(&mut self, tracer: &Tracer<'a>, asked: &Question, grouped: bool) -> Option<String> {
        let whole = asked.source_port.is_some() && (asked.incoming || asked.uid.is_some() && asked.gid.is_some());
        if !whole
            || grouped && !asked.incoming
            || !asked.incoming && (asked.source.is_some() || asked.interface.is_some())
            || asked.mark != 0 && asked.incoming
        {
            return None;
        }
        let groups = asked.groups.as_ref().map(|_| Vec::new());
        let question = Question { state: Some(state::NEW), groups, ..asked.clone() };
        let interface = match tracer.trace(&question).packet.input {
            Known::Is(device) if asked.incoming => Some(device),
            _ => None,
        };
        let kind = Kind {
            incoming: asked.incoming,
            ipv6: asked.destination.address.to_canonical().is_ipv6(),
            protocol: Some(asked.protocol),
            interface,
        };
        self.packets += 1;
        differs(tracer, &self.coverage, &kind, &Question { interface, ..question })
    }
}
