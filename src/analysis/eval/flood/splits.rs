//! Where the kernel's work hangs on a packet's values, and how a cell is split so that its packets are alike to that work.

use super::super::ground::Ground;
use super::super::journey::Way;
use super::super::walk::Base;
use super::cell::{Cell, Form};
use super::sets::Sets;
use crate::analysis::diagram::Set;
use crate::analysis::paths::is_nat;
use crate::model::Hook;
use crate::packet::{Field, Known, number};
use crate::xt::{Effect, NatRange, PortRange};

/// Values of a field from which on packets may be different, each the first of its kind.
pub(super) type Bounds = Vec<u128>;

/// What a rule's work hangs on.
#[derive(Debug, Default)]
pub(super) struct Hangs {
    pub(super) bounds: Vec<(Field, Bounds)>,
    /// Fields with addresses that hang on routes.
    pub(super) routed: Vec<Field>,
    /// Masks and values.
    pub(super) marks: Vec<(u128, u128)>,
}

impl Hangs {
    fn on(&mut self, field: Field, bounds: impl Into<Bounds>) {
        self.bounds.push((field, bounds.into()));
    }

    fn on_ports(&mut self, field: Field, ports: Option<PortRange>) {
        if let Some(PortRange { from, to }) = ports {
            self.on(field, [u128::from(from), u128::from(to) + 1]);
        }
    }

    fn on_range(&mut self, field: Field, range: &NatRange) {
        if let Some((first, last)) = range.addresses {
            let after = number(last).checked_add(1);
            self.on(field, std::iter::once(number(first)).chain(after).collect::<Bounds>());
        }
    }
}

/// What of a packet routes hang on.
pub(super) fn on_routes(ground: &Ground<'_>) -> Hangs {
    let mut hangs = Hangs::default();
    hangs.routed.extend([Field::Destination, Field::Source]);
    // Who dialled `::1` itself from elsewhere is turned away, and who is translated to it is not.
    hangs.on(Field::OriginalDestination, [1, 2]);
    for rule in ground.policy() {
        if let Some((from, to)) = rule.users {
            hangs.on(Field::Uid, ground.inside_users(from, to));
        }
        for (field, ports) in [(Field::SourcePort, rule.source_ports), (Field::DestinationPort, rule.destination_ports)]
        {
            hangs.on_ports(field, ports.map(|(from, to)| PortRange { from, to }));
        }
        hangs.marks.extend(rule.mark.map(|(value, mask)| (u128::from(mask), u128::from(value & mask))));
    }
    hangs
}

/// Whether routes are asked before this chain.
pub(super) fn asks_routes(cell: &Cell, base: Option<&Base<'_>>) -> bool {
    let hook = base.and_then(|base| base.chain.hook);
    let translates = base.is_some_and(|base| base.chain.hook == Some(Hook::Output) && is_nat(base.chain));
    let traveller = &cell.traveller;
    match traveller.way {
        Way::Unsent => true,
        Way::In => !matches!(hook, Some(Hook::Ingress | Hook::Prerouting)),
        _ => traveller.routed_by.is_some() || traveller.moved && !translates,
    }
}

/// Whether all that is asked of routes then is where packets go that came in.
pub(super) fn comes_in(cell: &Cell) -> bool {
    let traveller = &cell.traveller;
    traveller.way == Way::In && traveller.routed_by.is_none() && !traveller.moved
}

/// What the work of a target hangs on.
pub(super) fn on_effect(effect: &Effect, cell: &Cell, own: bool, (ground, ipv6): (Option<&Ground<'_>>, bool)) -> Hangs {
    let (mut hangs, blind) = (Hangs::default(), ground.is_none());
    let routes = |hangs: &mut Hangs, field| hangs.routed.push(field);
    match effect {
        Effect::Redirect(ports) => {
            let loopback = number(super::super::ground::loopback(ipv6));
            hangs.on(Field::Destination, [loopback, loopback + 1]);
            if let Some(ground) = ground.filter(|_| !own) {
                hangs.on(Field::Destination, ground.redirect_bounds(cell.traveller.packet.input, ipv6));
            }
            hangs.on_ports(Field::DestinationPort, *ports);
        }
        Effect::Destination(range) => {
            hangs.on_range(Field::Destination, range);
            if blind {
                // An address is known to be own or not where a packet has it.
                hangs.on_range(Field::Source, range);
            }
            hangs.on_ports(Field::DestinationPort, range.ports);
            if let (Some(_), Some(ports)) = (range.base, range.ports) {
                // Each port becomes one of its own.
                let few = u32::from(ports.to.saturating_sub(ports.from)) < 256;
                hangs.on(Field::DestinationPort, if few { (0..=0xffff).collect::<Bounds>() } else { Bounds::new() });
            }
        }
        Effect::Source(range) => {
            hangs.on_range(Field::Source, range);
            if blind {
                hangs.on_range(Field::Destination, range);
            }
            hangs.on_ports(Field::SourcePort, range.ports);
        }
        Effect::OutgoingSource(range) => {
            routes(&mut hangs, Field::Destination);
            routes(&mut hangs, Field::Source);
            hangs.on_ports(Field::SourcePort, range.ports);
        }
        Effect::Network { .. } => {
            routes(&mut hangs, Field::Destination);
            routes(&mut hangs, Field::Source);
        }
        _ => {}
    }
    hangs
}

impl Sets {
    /// The parts of a cell whose packets are alike to work that hangs on this.
    pub(super) fn split(&mut self, cell: Cell, hangs: &Hangs, ground: Option<&Ground<'_>>) -> Vec<Cell> {
        let mut parts = vec![cell];
        for (field, ground) in hangs.routed.iter().filter_map(|field| Some((*field, ground?))) {
            parts = parts.into_iter().flat_map(|part| self.split_by_routes(part, field, ground)).collect();
        }
        for (field, bounds) in &hangs.bounds {
            parts = parts.into_iter().flat_map(|part| self.split_by_bounds(part, *field, bounds)).collect();
        }
        for (mask, value) in &hangs.marks {
            parts = parts.into_iter().flat_map(|part| self.split_by_mark(part, *mask, *value)).collect();
        }
        parts
    }

    fn split_by_routes(&mut self, cell: Cell, field: Field, ground: &Ground<'_>) -> Vec<Cell> {
        let Some(form) = cell.form(field) else { return vec![cell] };
        let parts = self.routed(cell.space, form, ground);
        parts.into_iter().map(|space| cell.part(space)).collect()
    }

    /// The parts of a set in which routes treat an address, as it now is, alike.
    pub(in crate::analysis) fn routed(&mut self, set: Set, form: Form, ground: &Ground<'_>) -> Vec<Set> {
        let groups = ground.groups(self.is_ipv6());
        let each = groups.iter().enumerate().map(|(at, group)| {
            let alike = self.group(form, at, group);
            self.diagrams.and(set, alike)
        });
        each.filter(|part| !part.is_empty()).collect()
    }

    /// The parts of a cell that came in whose packets routes lead alike: to most destinations most sources are the same.
    pub(super) fn split_by_ways_in(&mut self, cell: Cell, ground: &Ground<'_>) -> Vec<Cell> {
        let (ipv6, groups) = (self.is_ipv6(), ground.groups(self.is_ipv6()));
        let hangs = Hangs { routed: Vec::new(), ..on_routes(ground) };
        let mut found = Vec::new();
        for part in self.split(cell, &hangs, Some(ground)) {
            let mut lent = part.clone();
            lent.lend(self, ipv6);
            let ends = [part.forms.destination, part.forms.source];
            let ways = ground.ways_in(&lent.traveller.packet, ipv6, ends.map(|end| end.is_some()));
            for (destinations, sources) in &*ways {
                let mut space = part.space;
                for (form, which) in ends.into_iter().zip([destinations, sources]) {
                    if let Some(form) = form.filter(|_| which.len() < groups.len()) {
                        let alike = self.one_of_groups(form, which, groups);
                        space = self.diagrams.and(space, alike);
                    }
                }
                if !space.is_empty() {
                    found.push(part.part(space));
                }
            }
        }
        found
    }

    fn split_by_bounds(&mut self, cell: Cell, field: Field, bounds: &[u128]) -> Vec<Cell> {
        let Some(form) = cell.form(field) else { return vec![cell] };
        let parts = self.stretches(cell.space, form, bounds);
        parts.into_iter().map(|space| cell.part(space)).collect()
    }

    /// The parts of a set in which a field, as it now is, lies between two of these bounds.
    pub(in crate::analysis) fn stretches(&mut self, set: Set, form: Form, bounds: &[u128]) -> Vec<Set> {
        let (mut left, mut found) = (set, Vec::new());
        for bound in bounds.iter().filter(|bound| **bound > 0) {
            let below = self.range_now(form, 0, bound - 1);
            let part = self.diagrams.and(left, below);
            if !part.is_empty() {
                left = self.diagrams.without(left, part);
                found.push(part);
            }
            if left.is_empty() {
                break;
            }
        }
        if !left.is_empty() {
            found.push(left);
        }
        found
    }

    fn split_by_mark(&mut self, cell: Cell, mask: u128, value: u128) -> Vec<Cell> {
        let Some(form) = cell.form(Field::Mark) else { return vec![cell] };
        let set = self.masked_now(form, mask, value);
        self.halves(cell, set).into_iter().collect()
    }

    /// Those of a cell that are in a set, and those that are not.
    pub(super) fn halves(&mut self, cell: Cell, set: Set) -> [Cell; 2] {
        let inside = self.diagrams.and(cell.space, set);
        let outside = self.diagrams.without(cell.space, set);
        [cell.part(inside), cell.part(outside)]
    }

    /// The parts whose mark is, or is not, what it was when the route was chosen: of the latter the route is chosen anew.
    pub(super) fn split_by_route(&mut self, mut cell: Cell) -> Vec<Cell> {
        let (before, now) = (cell.routed_by.take(), cell.forms.mark);
        let Some((known, class)) = cell.traveller.routed_by else { return vec![cell] };
        let fixed = |known: Known<u32>| match known {
            Known::Is(mark) => Some(Form { of: Field::Mark, keep: 0, flip: mark.into() }),
            _ => None,
        };
        let (Some(one), Some(other)) = (before.or(fixed(known)), now.or(fixed(cell.traveller.packet.mark))) else {
            return vec![cell];
        };
        let wide = u128::from(u32::MAX);
        let (mask, value) = ((one.keep ^ other.keep) & wide, (one.flip ^ other.flip) & wide);
        let same = self.masked_now(Form::of(Field::Mark), mask, value);
        let [mut kept, mut changed] = self.halves(cell, same);
        // A mark that no packet has differs from what it is now.
        let anew = Some((Known::Absent, class));
        kept.traveller.routed_by = anew.filter(|_| kept.traveller.packet.traffic_class != class);
        changed.traveller.routed_by = anew;
        [kept, changed].into_iter().filter(|part| !part.space.is_empty()).collect()
    }
}
