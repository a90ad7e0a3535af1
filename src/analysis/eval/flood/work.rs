//! The kernel's work on whole cells: what routes, sockets and targets make of their packets.

use super::super::journey::{Advance, Way};
use super::super::reached::Reached;
use super::super::sockets::Taken;
use super::super::translation::RANDOM;
use super::super::traveller::Outcome;
use super::super::walk::Base;
use super::super::{End, Target};
use super::cell::{Cell, Common, Form, gather};
use super::splits::{Hangs, asks_routes, comes_in, on_effect, on_routes};
use super::{Fate, Flood};
use crate::model::Hook;
use crate::packet::{Field, Known, Lookup, number};
use crate::xt::targets::Shift;
use crate::xt::{self, Effect};
use std::net::IpAddr;

impl Flood<'_> {
    /// Brings a cell before a chain, or behind all: its parts, each with what happens on the way.
    pub(super) fn advance(&mut self, cell: Cell, to: Option<&Base<'_>>) -> Vec<(Cell, Advance)> {
        let asks = asks_routes(&cell, to);
        let parts = match self.ground {
            Some(ground) if asks => {
                let hangs = on_routes(ground);
                let parts = self.sets.split_by_route(cell);
                let split = |part: Cell| match comes_in(&part) {
                    true => self.sets.split_by_ways_in(part, ground),
                    false => self.sets.split(part, &hangs, self.ground),
                };
                parts.into_iter().flat_map(split).collect()
            }
            _ => self.sets.split_by_route(cell),
        };
        let mut found: Vec<(Cell, Advance)> = Vec::new();
        for mut part in parts {
            let unsent = part.traveller.way == Way::Unsent;
            part.lend(self.sets, self.ipv6);
            let how = part.traveller.advance(to, self.ground);
            let settle = |cell: &mut Cell| {
                // The kernel may send from the very address to which it sends.
                let (source, destination) = (cell.traveller.packet.source, cell.forms.destination);
                if let Some(form) = destination.filter(|_| unsent && source == cell.traveller.packet.destination) {
                    cell.forms.source = Some(form);
                }
                if cell.traveller.is_again() {
                    (cell.forms.uid, cell.forms.gid) = (None, None);
                }
                cell.take_back();
            };
            let how = match how {
                Advance::Forks(ways, why) => {
                    for mut one in self.apart(&part, ways, why) {
                        settle(&mut one);
                        found.extend(self.advance(one, to));
                    }
                    continue;
                }
                other => other,
            };
            settle(&mut part);
            let same = |(known, other): &&mut (Cell, Advance)| alike(other, &how) && known.alike(&part);
            match found.iter_mut().find(same) {
                Some((known, _)) => known.space = self.sets.diagrams.or(known.space, part.space),
                None => found.push((part, how)),
            }
        }
        found
    }

    /// Finds the sockets that packets are for, where some rule asks.
    pub(super) fn look_up(&mut self, cell: Cell, base: &Base<'_>) -> Vec<Cell> {
        let asks = matches!(base.chain.hook, Some(Hook::Prerouting | Hook::Input)) && base.table.asks_for_sockets();
        if !asks {
            return vec![cell];
        }
        let hangs = self.on_sockets(&cell);
        let mut parts = self.sets.split(cell, &hangs, self.ground);
        for part in &mut parts {
            self.lend_to_sockets(part);
            part.traveller.be_looked_up(base, Some(self.sockets));
            part.take_back();
        }
        parts
    }

    /// The parts of a cell whose packets are alike where they are moved to another network.
    fn split_by_move(&mut self, mut cell: Cell, field: Field, network: IpAddr, mask: IpAddr) -> Vec<Cell> {
        let Some(form) = cell.form(field) else { return vec![cell] };
        let set = |cell: &mut Cell, form| match field {
            Field::Destination => cell.forms.destination = Some(form),
            _ => cell.forms.source = Some(form),
        };
        let there = self.sets.masked_now(form, number(mask), number(network));
        let hangs = Hangs { routed: vec![field], ..Hangs::default() };
        set(&mut cell, form.moved(network, mask));
        let mut parts = self.sets.split(cell, &hangs, self.ground);
        parts.iter_mut().for_each(|part| set(part, form));
        parts.into_iter().flat_map(|part| self.sets.halves(part, there)).filter(|part| !part.space.is_empty()).collect()
    }

    /// Asks the routing tables what a rule wants of them.
    pub(super) fn look_at_routes(&mut self, cells: Vec<Cell>, lookups: &[Lookup], hook: Option<Hook>) -> Vec<Cell> {
        // Of IPv4 some addresses tell by themselves: of no network, of groups, of all.
        let bounds = if self.ipv6 { Vec::new() } else { vec![1 << 24, 0xe0 << 24, 0xf0 << 24, u32::MAX.into()] };
        let mut hangs = self.ground.map(on_routes).unwrap_or_default();
        hangs.bounds.extend([Field::Destination, Field::Source].map(|field| (field, bounds.clone())));
        let mut found = Vec::new();
        for cell in cells {
            let mut parts = self.sets.split(cell, &hangs, self.ground);
            for part in &mut parts {
                part.lend(self.sets, self.ipv6);
                part.traveller.look_up(lookups, hook, self.ground);
                part.take_back();
            }
            gather(self.sets, parts, &mut found);
        }
        found
    }

    fn on_sockets(&self, cell: &Cell) -> Hangs {
        let (addresses, ports) =
            self.sockets.bounds(cell.traveller.packet.protocol, self.ipv6, cell.forms.source_port.is_some());
        let bounds = vec![(Field::Destination, addresses), (Field::DestinationPort, ports)];
        Hangs { bounds, routed: vec![Field::Destination], marks: Vec::new() }
    }

    /// What begins a connection belongs to no socket that is connected.
    fn lend_to_sockets(&self, cell: &mut Cell) {
        cell.lend(self.sets, self.ipv6);
        if cell.forms.source_port.is_some() {
            cell.traveller.packet.source_port = Known::Unknown;
        }
    }

    /// What a target does with a cell.
    pub(super) fn work(&mut self, reached: Reached<'_>, cell: Cell, target: &xt::Target) -> Vec<(Cell, Fate)> {
        let (effect, own) = (target.effect(), reached.base.chain.hook == Some(Hook::Output));
        if cell.works_on_marks(&effect) {
            return vec![(cell.with_marks(&effect), Fate::Stays)];
        }
        let hangs = match effect {
            Effect::Transparent { .. } => self.on_sockets(&cell),
            _ => on_effect(&effect, &cell, own, (self.ground, self.ipv6)),
        };
        let lends = !hangs.bounds.is_empty() || !hangs.routed.is_empty();
        let mut parts = if !lends { vec![cell] } else { self.sets.split(cell, &hangs, self.ground) };
        if let Effect::Network { address, mask } = effect {
            let whose = moves(reached);
            parts = parts.into_iter().flat_map(|part| self.split_by_move(part, whose, address, mask)).collect();
        }
        let mut found = Vec::new();
        for mut part in parts {
            if let Effect::Transparent { port, address, .. } = effect {
                self.lend_to_sockets(&mut part);
                match self.sockets.taking(&part.traveller.packet, Some(address), port) {
                    Taken::Unknown(why) => {
                        part.take_back();
                        let because = format!("{why}, for rule {}", reached.name());
                        found.push((part, Fate::Ends(End::Undecided { because })));
                        continue;
                    }
                    Taken::Nobody => {
                        part.take_back();
                        let fate = match reached.is_native() {
                            true => Fate::Passes,
                            false => Fate::Ends(End::Dropped { by: Some(reached.place()) }),
                        };
                        found.push((part, fate));
                        continue;
                    }
                    taken => part.traveller.taken = Some(taken),
                }
            } else if lends {
                part.lend(self.sets, self.ipv6);
            }
            let outcome = part.traveller.gets(target, reached, self.ground);
            // Whoever is dropped for want of an address has got none.
            if !matches!(outcome, Outcome::Ends(_)) {
                part.is_written(&effect, reached, self.ground.is_none());
            }
            part.take_back();
            part.settle();
            let fate = match outcome {
                Outcome::Stays => Fate::Stays,
                Outcome::Leaves => Fate::Leaves,
                Outcome::Ends(end) => Fate::Ends(end),
            };
            found.push((part, fate));
        }
        found
    }
}

/// Which end NETMAP moves.
fn moves(reached: Reached<'_>) -> Field {
    match reached.base.chain.hook {
        Some(Hook::Prerouting | Hook::Output) => Field::Destination,
        _ => Field::Source,
    }
}

fn alike(one: &Advance, other: &Advance) -> bool {
    match (one, other) {
        (Advance::On, Advance::On) | (Advance::Past, Advance::Past) => true,
        (Advance::Ends(one), Advance::Ends(other)) => one == other,
        _ => false,
    }
}

impl Cell {
    /// Notes which fields a target has given a new value.
    fn is_written(&mut self, effect: &Effect, reached: Reached<'_>, blind: bool) {
        let own = reached.base.chain.hook == Some(Hook::Output);
        let Common { forms, traveller, .. } = &mut **self;
        match effect {
            // Where nothing but rules is known, it stays what it is.
            Effect::Redirect(ports) => {
                if own || !(blind && traveller.bare) {
                    forms.destination = None;
                }
                if ports.is_some() {
                    forms.destination_port = None;
                }
            }
            Effect::Destination(range) => {
                if range.addresses.is_some() {
                    forms.destination = None;
                }
                if range.ports.is_some() {
                    forms.destination_port = None;
                }
            }
            Effect::Source(range) | Effect::OutgoingSource(range) => {
                if range.addresses.is_some() || matches!(effect, Effect::OutgoingSource(_)) {
                    forms.source = None;
                }
                if range.ports.is_some() || range.flags & RANDOM != 0 {
                    forms.source_port = None;
                }
            }
            Effect::Network { address, mask } => {
                let moved = match moves(reached) {
                    Field::Destination => &mut forms.destination,
                    _ => &mut forms.source,
                };
                *moved = moved.map(|form| form.moved(*address, *mask));
                if let Some((_, to)) = &mut traveller.redirected {
                    *to = Target { several: true, ..Target::default() };
                }
            }
            Effect::Prefix { .. } => forms.source = None,
            Effect::Transparent { mark, mask, .. } => {
                (forms.uid, forms.gid) = (None, None);
                forms.mark = forms.mark.map(|form| form.changed((*mask).into(), (*mark).into()));
            }
            Effect::HashedMark { .. } => forms.mark = None,
            _ => {}
        }
    }

    /// Whether an effect works on marks in which packets of the cell differ.
    fn works_on_marks(&self, effect: &Effect) -> bool {
        let connection = self.traveller.packet.connection_mark != Known::Absent;
        let forms = &self.forms;
        match effect {
            Effect::Mark { .. } => forms.mark.is_some(),
            Effect::ConnectionMark { .. } => forms.connection_mark.is_some(),
            Effect::SavedMark { .. } | Effect::RestoredMark { .. } => {
                forms.connection_mark.is_some() || connection && forms.mark.is_some()
            }
            _ => false,
        }
    }

    /// The same after such an effect. What is shifted is not known any more.
    fn with_marks(mut self, effect: &Effect) -> Self {
        let fixed = |known: Known<u32>| match known {
            Known::Is(mark) => Some(Form { of: Field::Mark, keep: 0, flip: mark.into() }),
            _ => None,
        };
        let Common { forms, traveller, .. } = &mut *self;
        let packet = &mut traveller.packet;
        let mark = forms.mark.or(fixed(packet.mark));
        let connection = forms.connection_mark.or(fixed(packet.connection_mark));
        // Both come from the packet's first mark, so that what is mixed of them does too.
        let mixed = |into: Option<Form>, kept: u32, from: Option<Form>, taken: u32| {
            let (into, from, kept, taken) = (into?, from?, !u128::from(kept), u128::from(taken));
            let keep = (into.keep & kept) ^ (from.keep & taken);
            Some(Form { of: Field::Mark, keep, flip: (into.flip & kept) ^ (from.flip & taken) })
        };
        let plain = |shift: &Shift| shift.of(u32::MAX) == u32::MAX;
        match effect {
            Effect::Mark { value, mask } => {
                forms.mark = mark.map(|form| form.changed((*mask).into(), (*value).into()));
            }
            Effect::ConnectionMark { value, mask, shift } => {
                let changed = connection.map(|form| form.changed((*mask).into(), (*value).into()));
                forms.connection_mark = changed.filter(|_| plain(shift));
                packet.connection_mark = Known::Unknown;
            }
            Effect::SavedMark { connection_mask, packet_mask, shift } => {
                let saved = mixed(connection, *connection_mask, mark, *packet_mask);
                forms.connection_mark = saved.filter(|_| plain(shift));
                packet.connection_mark = Known::Unknown;
            }
            Effect::RestoredMark { connection_mask, packet_mask, shift } => {
                let restored = mixed(mark, *packet_mask, connection, *connection_mask);
                forms.mark = restored.filter(|_| plain(shift));
                packet.mark = Known::Unknown;
            }
            _ => {}
        }
        self.settle();
        self
    }
}
