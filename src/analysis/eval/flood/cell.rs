//! Packets that have gone the same way so far, and what has become of each of their fields.
//!
//! Where packets of a cell differ in a field, the traveller that stands for them does not know it: the field has a form, which tells how
//! it comes from what it was at first. Before the kernel's work is done that hangs on values (routes, translations, sockets), a cell is
//! split until its packets are alike to that work, and one of them is lent to the traveller.

use super::super::traveller::Traveller;
use super::sets::{Sample, Sets};
use crate::analysis::diagram::Set;
use crate::packet::{Field, Known, number};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::rc::Rc;

/// What a field is now: `(of & keep) ^ flip`, where `of` is a field as it was at first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(in crate::analysis) struct Form {
    pub(in crate::analysis) of: Field,
    pub(in crate::analysis) keep: u128,
    pub(in crate::analysis) flip: u128,
}

impl Form {
    /// As it was.
    pub(in crate::analysis) fn of(of: Field) -> Self {
        Self { of, keep: u128::MAX, flip: 0 }
    }

    /// `(it & !mask) ^ value`
    pub(super) fn changed(self, mask: u128, value: u128) -> Self {
        Self { of: self.of, keep: self.keep & !mask, flip: (self.flip & !mask) ^ value }
    }

    /// The same place in another network.
    pub(super) fn moved(self, network: IpAddr, mask: IpAddr) -> Self {
        let (mask, network) = (number(mask), number(network));
        Self { of: self.of, keep: self.keep & !mask, flip: self.flip & !mask | network }
    }

    pub(super) fn apply(self, sample: &Sample) -> u128 {
        (sample.number(self.of) & self.keep) ^ self.flip
    }
}

/// Forms of the fields that may differ.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(in crate::analysis) struct Forms {
    pub(in crate::analysis) uid: Option<Form>,
    pub(in crate::analysis) gid: Option<Form>,
    pub(in crate::analysis) mark: Option<Form>,
    pub(in crate::analysis) connection_mark: Option<Form>,
    pub(in crate::analysis) source: Option<Form>,
    pub(in crate::analysis) source_port: Option<Form>,
    pub(in crate::analysis) destination: Option<Form>,
    pub(in crate::analysis) destination_port: Option<Form>,
}

/// Packets that went the same way, each in the cases in which it does: what cannot be known is one of a set's bits.
///
/// Parts of a cell share what their packets have in common until something becomes of one of them.
#[derive(Clone)]
pub(super) struct Cell {
    pub(super) space: Set,
    common: Rc<Common>,
}

/// What the packets of a cell have in common.
#[derive(Clone, PartialEq)]
pub(super) struct Common {
    pub(super) forms: Forms,
    /// The forms when their tracking began.
    pub(super) tracked: Option<Forms>,
    /// The mark by which the route was chosen, where that is looked at again.
    pub(super) routed_by: Option<Form>,
    pub(super) traveller: Traveller,
}

impl std::ops::Deref for Cell {
    type Target = Common;

    fn deref(&self) -> &Common {
        &self.common
    }
}

impl std::ops::DerefMut for Cell {
    fn deref_mut(&mut self) -> &mut Common {
        Rc::make_mut(&mut self.common)
    }
}

impl Cell {
    /// Packets before their first hook.
    pub(super) fn new(space: Set, traveller: Traveller, forms: Forms) -> Self {
        Self { space, common: Rc::new(Common { traveller, forms, tracked: None, routed_by: None }) }
    }

    /// These of its packets.
    pub(super) fn part(&self, space: Set) -> Self {
        Self { space, common: Rc::clone(&self.common) }
    }

    /// How a field comes from what it was at first; `None` where it is the same for all of them, or not known.
    pub(super) fn form(&self, field: Field) -> Option<Form> {
        let Forms { uid, gid, mark, connection_mark, source, source_port, destination, destination_port } = self.forms;
        match field {
            Field::Uid => uid,
            Field::Gid => gid,
            Field::Mark => mark,
            Field::ConnectionMark => connection_mark,
            Field::Source => source,
            Field::SourcePort => source_port,
            Field::Destination => destination,
            Field::DestinationPort => destination_port,
            Field::OriginalSource => self.tracked?.source,
            Field::OriginalSourcePort => self.tracked?.source_port,
            Field::OriginalDestination => self.tracked?.destination,
            Field::OriginalDestinationPort => self.tracked?.destination_port,
            // The replies come from where the packet goes by now.
            Field::ReplySource => self.tracked.and(destination),
            Field::ReplySourcePort => self.tracked.and(destination_port),
            Field::ReplyDestination => self.tracked.and(source),
            Field::ReplyDestinationPort => self.tracked.and(source_port),
            _ => None,
        }
    }

    pub(super) fn has_no_connection(&self) -> bool {
        self.forms.connection_mark.is_none() && self.traveller.packet.connection_mark == Known::Absent
    }

    /// Whether both differ in nothing but in which packets they are.
    pub(super) fn alike(&self, other: &Self) -> bool {
        // What tells most cells apart is looked at first.
        let first = |cell: &Self| {
            let traveller = &cell.traveller;
            (traveller.packet.destination, traveller.left_by, traveller.packet.mark, traveller.way)
        };
        Rc::ptr_eq(&self.common, &other.common) || first(self) == first(other) && self.common == other.common
    }

    /// Gives the traveller the fields of one of the packets.
    pub(super) fn lend(&mut self, sets: &Sets, ipv6: bool) -> Sample {
        let sample = sets.sample(self.space);
        let Common { forms: now, tracked, traveller, .. } = &mut **self;
        let packet = &mut traveller.packet;
        let wide = |form: Form| u32::try_from(form.apply(&sample) & u128::from(u32::MAX)).unwrap_or_default();
        let port = |form: Form| u16::try_from(form.apply(&sample) & 0xffff).unwrap_or_default();
        let address = |form: Form| address(form.apply(&sample), ipv6);
        give(&mut packet.uid, now.uid.map(wide));
        give(&mut packet.gid, now.gid.map(wide));
        give(&mut packet.mark, now.mark.map(wide));
        give(&mut packet.source, now.source.map(address));
        give(&mut packet.source_port, now.source_port.map(port));
        give(&mut packet.destination, now.destination.map(address));
        give(&mut packet.destination_port, now.destination_port.map(port));
        if let Some(then) = tracked {
            let connection = &mut packet.connection;
            give(&mut connection.original_source, then.source.map(address));
            give(&mut connection.original_source_port, then.source_port.map(port));
            give(&mut connection.original_destination, then.destination.map(address));
            give(&mut connection.original_destination_port, then.destination_port.map(port));
        }
        sample
    }

    /// Takes back what was lent: where fields have a form, that tells them. What was noted of a single packet is forgotten.
    pub(super) fn take_back(&mut self) {
        let Common { forms: now, tracked, traveller, .. } = &mut **self;
        let packet = &mut traveller.packet;
        if tracked.is_none() && packet.connection.protocol != Known::Unknown {
            *tracked = Some(*now);
        }
        fn take<T>(known: &mut Known<T>, form: Option<Form>) {
            if form.is_some() {
                *known = Known::Unknown;
            }
        }
        take(&mut packet.uid, now.uid);
        take(&mut packet.gid, now.gid);
        take(&mut packet.mark, now.mark);
        take(&mut packet.connection_mark, now.connection_mark);
        take(&mut packet.source, now.source);
        take(&mut packet.source_port, now.source_port);
        take(&mut packet.destination, now.destination);
        take(&mut packet.destination_port, now.destination_port);
        if let Some(then) = tracked {
            let connection = &mut packet.connection;
            take(&mut connection.original_source, then.source);
            take(&mut connection.original_source_port, then.source_port);
            take(&mut connection.original_destination, then.destination);
            take(&mut connection.original_destination_port, then.destination_port);
            take(&mut connection.reply_source, now.destination);
            take(&mut connection.reply_source_port, now.destination_port);
            take(&mut connection.reply_destination, now.source);
            take(&mut connection.reply_destination_port, now.source_port);
        }
        traveller.routed.iter_mut().for_each(|routed| routed.source = Known::Unknown);
    }

    /// A form that keeps nothing is a value.
    pub(super) fn settle(&mut self) {
        if let Some(Form { keep: 0, flip, .. }) = self.forms.mark {
            self.forms.mark = None;
            self.traveller.packet.mark = low(flip);
        }
        if let Some(Form { keep: 0, flip, .. }) = self.forms.connection_mark {
            self.forms.connection_mark = None;
            self.traveller.packet.connection_mark = low(flip);
        }
    }
}

fn low(number: u128) -> Known<u32> {
    Known::from_option(u32::try_from(number & u128::from(u32::MAX)).ok())
}

fn give<T>(known: &mut Known<T>, value: Option<T>) {
    if let Some(value) = value {
        *known = Known::Is(value);
    }
}

/// The address of a number.
pub(in crate::analysis) fn address(number: u128, ipv6: bool) -> IpAddr {
    match ipv6 {
        true => Ipv6Addr::from(number).into(),
        false => Ipv4Addr::from(u32::try_from(number & u128::from(u32::MAX)).unwrap_or_default()).into(),
    }
}

/// Adds cells to others: those that differ only in which packets they are become one.
pub(super) fn gather(sets: &mut Sets, cells: impl IntoIterator<Item = Cell>, into: &mut Vec<Cell>) {
    for cell in cells {
        if cell.space.is_empty() {
            continue;
        }
        match into.iter_mut().find(|known| known.alike(&cell)) {
            Some(known) => known.space = sets.diagrams.or(known.space, cell.space),
            None => into.push(cell),
        }
    }
}
