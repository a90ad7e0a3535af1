//! All packets at once: the walk of whole sets of them through chains, by the conditions and the work that a single one meets.
//!
//! A cell of packets is split where a rule takes some of them, and where the kernel's work hangs on their values; cells that come to be
//! alike become one again.

mod cell;
mod compared;
mod pieces;
mod sets;
mod splits;
mod work;

use foldhash::{HashMap, HashMapExt};
use std::rc::Rc;

use cell::{Cell, gather};
pub(in crate::analysis) use cell::{Form, Forms, address};
pub(in crate::analysis) use pieces::Bounds;
pub(in crate::analysis) use sets::{Memory, Sets};

use super::ground::Ground;
use super::journey::{Advance, Way};
use super::line::{Does, Line, looked_up};
use super::reached::Reached;
use super::sockets::Sockets;
use super::traveller::Traveller;
use super::walk::{Base, DEPTH, TOO_MUCH};
use super::{Doubt, End, Order, Place, Rulebase, Start, Taken};
use crate::analysis::diagram::Set;
use crate::analysis::native::NotFollowed;
use crate::analysis::routes::Kind;
use crate::model::{Chain, Policy, RuleRef};
use crate::packet::{Answer, Condition, Known, Lookup, Packet};
use crate::xt::{Action, Target};

/// Cells at one place before it is given up: a bound against rule sets that split without end.
const CELLS: usize = 30_000;

/// Where packets end, and what becomes of them.
#[derive(Debug, Clone)]
pub(in crate::analysis) struct Reach {
    /// Which packets, and in which case of what cannot be known.
    pub(in crate::analysis) space: Set,
    /// What becomes of them.
    pub(in crate::analysis) end: End<Place>,
    /// What they have in common then; fields that differ are not known.
    pub(in crate::analysis) packet: Packet,
    /// Those fields.
    pub(in crate::analysis) forms: Forms,
    /// They came in from outside.
    pub(in crate::analysis) incoming: bool,
    /// They are for this namespace.
    pub(in crate::analysis) comes_in: bool,
    /// A transparent socket is to take them.
    pub(in crate::analysis) taken: Option<Taken>,
    /// Their route led nowhere.
    pub(in crate::analysis) lost: Option<Kind>,
    /// They were never sent.
    pub(in crate::analysis) unsent: bool,
}

/// All that becomes of some packets.
#[derive(Debug)]
pub(in crate::analysis) struct Flooded {
    pub(in crate::analysis) reaches: Vec<Reach>,
    /// What cannot be known, by its number.
    pub(in crate::analysis) doubts: Vec<Doubt>,
}

impl Rulebase<'_> {
    /// Where all packets of a set go that begin like this one; fields that differ have a form, and are not known of it. For each order of
    /// chains that there may be.
    pub(in crate::analysis) fn flood(
        &self,
        sets: &mut Sets,
        (start, space, forms): (&Start, Set, Forms),
        ground: Option<&Ground<'_>>,
        sockets: &dyn Sockets,
    ) -> Vec<Flooded> {
        let hooks = Self::hooks(start);
        let orders = self.orders(hooks, start.ipv6);
        let none = vec![Order::new()];
        let orders = if orders.is_empty() { &none } else { &*orders };
        let traveller = self.traveller(start, ground);
        let each = orders.iter().map(|order| {
            let traveller = traveller.clone();
            let mut cell = Cell::new(space, traveller, forms);
            cell.take_back();
            let mut flood = Flood {
                sets,
                ground,
                sockets,
                ipv6: start.ipv6,
                doubts: Vec::new(),
                numbers: HashMap::new(),
                left: Vec::new(),
                ended: Vec::new(),
            };
            flood.run(&self.in_order(order), cell);
            let Flood { ended, doubts, .. } = flood;
            Flooded { reaches: ended.into_iter().map(|(cell, end)| cell.reached(end)).collect(), doubts }
        });
        each.collect()
    }
}

impl Sets {
    /// Rules that no packet took in all that was asked, in chains to which some came.
    pub(in crate::analysis) fn never_taken(&self, rules: &Rulebase<'_>) -> Vec<RuleRef> {
        let mut found = Vec::new();
        for ((table, chain), ready) in &self.memory.ready {
            let Some(table) = rules.tables.iter().find(|prepared| prepared.number == *table) else { continue };
            let never = ready.iter().enumerate().filter(|(_, asks)| !asks.taken.get());
            found.extend(never.filter_map(|(at, _)| table.name_of(*chain, at)));
        }
        found
    }
}

impl Cell {
    fn reached(self, end: End<Place>) -> Reach {
        let (space, forms, mut traveller) = (self.space, self.forms, self.traveller.clone());
        Reach {
            space,
            end,
            incoming: matches!(traveller.way, Way::In | Way::Taken | Way::Forwarded),
            comes_in: traveller.comes_in() == Known::Is(true),
            packet: traveller.packet,
            forms,
            taken: traveller.taken,
            unsent: traveller.lost.is_some() && traveller.routed.len() == 1 && traveller.way == Way::Own,
            lost: traveller.lost,
        }
    }
}

/// The rules of a chain.
pub(super) type Ready = Rc<Vec<Asks>>;

/// What a rule asks.
#[derive(Debug)]
pub(super) struct Asks {
    /// In each of its branches.
    branches: Vec<Condition>,
    /// Of the routing tables.
    lookups: Vec<Lookup>,
    /// Some packet took it, or may have.
    taken: std::cell::Cell<bool>,
}

/// A walk through base chains.
pub(super) struct Flood<'f> {
    pub(super) sets: &'f mut Sets,
    pub(super) ground: Option<&'f Ground<'f>>,
    pub(super) sockets: &'f dyn Sockets,
    pub(super) ipv6: bool,
    doubts: Vec<Doubt>,
    numbers: HashMap<(Option<RuleRef>, String), usize>,
    /// Cells on their way out of a base chain to the next.
    left: Vec<Cell>,
    ended: Vec<(Cell, End<Place>)>,
}

/// What a rule does with a cell that matches.
pub(super) enum Fate {
    /// It goes on with the next rule.
    Stays,
    /// The same, whatever else the rule does.
    Passes,
    /// It goes on with the next base chain.
    Leaves,
    /// It goes back to the chain that called.
    Returns,
    /// It goes into a chain, and comes back or does not.
    Calls(usize, bool),
    /// That was it.
    Ends(End<Place>),
}

impl Flood<'_> {
    fn run(&mut self, bases: &[Base<'_>], cell: Cell) {
        let mut cells = vec![cell];
        for base in bases {
            let mut next = Vec::new();
            let entered = self.arrive(cells, base, &mut next);
            let returned = self.pass(*base, base.index, entered, 0);
            let left = std::mem::take(&mut self.left);
            gather(self.sets, left, &mut next);
            match base.chain.policy {
                Some(Policy::Drop) => {
                    self.ended.extend(returned.into_iter().map(|cell| (cell, End::Dropped { by: None })));
                }
                _ => gather(self.sets, returned, &mut next),
            }
            if next.len() > CELLS {
                return self.give_up(next);
            }
            cells = next;
        }
        let mut waiting = cells;
        while let Some(cell) = waiting.pop() {
            for (mut cell, how) in self.advance(cell, None) {
                match how {
                    Advance::Ends(end) => self.ended.push((cell, end)),
                    Advance::Forks(ways, why) => waiting.extend(self.apart(&cell, ways, why)),
                    Advance::On | Advance::Past => {
                        let end = match cell.traveller.comes_in() {
                            Known::Unknown => End::Undecided { because: cell.traveller.why_unknown().to_owned() },
                            _ => match cell.traveller.redirected {
                                Some((by, to)) => End::Redirected { by, to },
                                None => End::Untouched { by: cell.traveller.left_by },
                            },
                        };
                        self.ended.push((cell, end));
                    }
                }
            }
        }
    }

    fn give_up(&mut self, cells: Vec<Cell>) {
        let end = || End::Undecided { because: TOO_MUCH.to_owned() };
        self.ended.extend(cells.into_iter().map(|cell| (cell, end())));
    }

    /// Brings cells before a base chain: those that meet it, and into `past` those that do not.
    fn arrive(&mut self, mut waiting: Vec<Cell>, base: &Base<'_>, past: &mut Vec<Cell>) -> Vec<Cell> {
        let mut entered = Vec::new();
        while let Some(cell) = waiting.pop() {
            for (mut cell, how) in self.advance(cell, Some(base)) {
                match how {
                    Advance::Past => gather(self.sets, [cell], past),
                    Advance::Ends(end) => self.ended.push((cell, end)),
                    Advance::Forks(ways, why) => waiting.extend(self.apart(&cell, ways, why)),
                    Advance::On => {
                        let meets = cell.traveller.meets(base, self.ground);
                        if meets != Answer::No {
                            cell.routed_by = cell.traveller.routed_by.and(cell.forms.mark);
                        }
                        cell.take_back();
                        if meets == Answer::CannotKnow {
                            let why = format!("whether it passes the device of chain {}", base.chain.name);
                            let holds = self.doubt(Doubt { rule: None, why });
                            let [met, passed] = self.sets.halves(cell, holds);
                            gather(self.sets, [passed], past);
                            cell = met;
                        }
                        match meets {
                            Answer::No => gather(self.sets, [cell], past),
                            _ => {
                                let found = self.look_up(cell, base);
                                gather(self.sets, found, &mut entered);
                            }
                        }
                    }
                }
            }
        }
        entered
    }

    /// Cells that may be one of several, for what is not known.
    pub(in crate::analysis::eval::flood) fn apart(
        &mut self,
        cell: &Cell,
        ways: Vec<Traveller>,
        why: &'static str,
    ) -> Vec<Cell> {
        let (mut left, last) = (cell.space, ways.len().saturating_sub(1));
        let mut found = Vec::new();
        for (at, traveller) in ways.into_iter().enumerate() {
            let mut space = left;
            if at < last {
                let holds = self.doubt(Doubt { rule: None, why: numbered(why, at) });
                space = self.sets.diagrams.and(left, holds);
                left = self.sets.diagrams.without(left, holds);
            }
            let mut one = cell.part(space);
            one.traveller = traveller;
            found.push(one);
        }
        found
    }

    /// The cases in which something holds that cannot be known.
    fn doubt(&mut self, doubt: Doubt) -> Set {
        let number = *self.numbers.entry((doubt.rule.clone(), doubt.why.clone())).or_insert_with(|| {
            self.doubts.push(doubt);
            self.doubts.len() - 1
        });
        self.sets.where_holds(number).unwrap_or(Set::ALL)
    }

    fn conditions(&mut self, base: Base<'_>, chain: usize, rules: &Chain, line: &Line) -> Ready {
        let key = (base.table.number, chain);
        if let Some(known) = self.sets.memory.ready.get(&key) {
            return Rc::clone(known);
        }
        let made = base.table.making(rules);
        let of = |at: usize| {
            let branches: Vec<Condition> = line.all(rules, at).map(|does| made.condition(does)).collect();
            let mut lookups = Vec::new();
            branches.iter().for_each(|branch| looked_up(branch, &mut lookups));
            Asks { branches, lookups, taken: std::cell::Cell::default() }
        };
        let ready: Ready = Rc::new((0..rules.rules.len()).map(of).collect());
        self.sets.memory.ready.insert(key, Rc::clone(&ready));
        ready
    }

    /// Leads cells through a chain: those that come out at its end.
    fn pass(&mut self, base: Base<'_>, chain: usize, cells: Vec<Cell>, depth: usize) -> Vec<Cell> {
        let Some((rules, line)) = base.table.line(chain).filter(|_| !cells.is_empty()) else { return cells };
        let ready = self.conditions(base, chain, rules, line);
        let (mut here, mut back) = (cells, Vec::new());
        for (at, Asks { branches, lookups, taken }) in ready.iter().enumerate() {
            if here.is_empty() {
                break;
            }
            if here.len() > CELLS || self.sets.diagrams.exhausted() {
                self.give_up(std::mem::take(&mut here));
                break;
            }
            let only = line.does(rules, at, 0).filter(|_| branches.len() == 1);
            if only.is_some_and(Does::is_idle) {
                continue;
            }
            if only.is_some_and(|does| does.rule.restores_mark()) {
                here.iter_mut().for_each(Cell::forget_mark);
            }
            if !lookups.is_empty() {
                here = self.look_at_routes(here, lookups, base.chain.hook);
            }
            let reached = Reached { base, chain, at };
            if self.rule(reached, (rules, line, branches), (&mut here, &mut back), depth) {
                taken.set(true);
            }
        }
        gather(self.sets, here, &mut back);
        back
    }

    /// What a rule does with cells: those that go on are left in `here`. Whether it takes any.
    fn rule(
        &mut self,
        reached: Reached<'_>,
        (rules, line, branches): (&Chain, &Line, &[Condition]),
        (here, back): (&mut Vec<Cell>, &mut Vec<Cell>),
        depth: usize,
    ) -> bool {
        let (mut on, map) = (Vec::new(), branches.len() > 1);
        let mut touched = false;
        for (branch, condition) in branches.iter().enumerate() {
            let Some(does) = line.does(rules, reached.at, branch) else { continue };
            let mut asked_on = Vec::new();
            for cell in here.iter_mut() {
                let asked = self.sets.ask(cell, condition, cell.space);
                if asked.yes.is_empty() && asked.maybe.is_empty() {
                    continue;
                }
                touched = true;
                let mut taken = Vec::new();
                if !asked.yes.is_empty() {
                    taken.push(cell.part(asked.yes));
                }
                let rest = self.sets.diagrams.without(cell.space, asked.yes);
                cell.space = self.sets.diagrams.without(rest, asked.maybe);
                if !asked.maybe.is_empty() {
                    let doubt = matches(reached, map.then_some(branch));
                    let holds = self.doubt(doubt);
                    let [matching, other] = self.sets.halves(cell.part(asked.maybe), holds);
                    taken.push(matching);
                    // What does not take an element of a map is asked about the next.
                    if map { &mut asked_on } else { &mut on }.push(other);
                }
                for cell in taken {
                    self.matched(reached, cell, does, (&mut on, back), depth);
                }
            }
            if map {
                here.retain(|cell| !cell.space.is_empty());
                here.append(&mut asked_on);
            }
        }
        if touched {
            here.retain(|cell| !cell.space.is_empty());
            gather(self.sets, on, here);
        }
        touched
    }

    /// Does with a cell what a rule does with what matches.
    fn matched(
        &mut self,
        reached: Reached<'_>,
        cell: Cell,
        does: Does<'_>,
        (on, back): (&mut Vec<Cell>, &mut Vec<Cell>),
        depth: usize,
    ) {
        let mut cells = vec![cell];
        let unread = does.unread.map(|unread| match unread {
            NotFollowed::Rule => format!("rule {}, which is shown but not followed", reached.name()),
            NotFollowed::Map(map) => {
                format!("what is in map {map}, into which rule {} looks: that was not read, or changes", reached.name())
            }
        });
        let last = if unread.is_none() { Some(&does.rule.action) } else { None };
        for (at, action) in does.before.iter().chain(last).enumerate() {
            // nft's own tproxy lets the packet go on.
            let goes_on = at < does.before.len() && matches!(action, Action::Target(Target::Tproxy(_)));
            let mut still = Vec::new();
            for cell in cells {
                for (cell, fate) in self.act(reached, cell, action, depth) {
                    match fate {
                        Fate::Stays => still.push(cell),
                        Fate::Leaves if goes_on => still.push(cell),
                        Fate::Passes => gather(self.sets, [cell], on),
                        Fate::Leaves => self.left.push(cell),
                        Fate::Returns => back.push(cell),
                        Fate::Ends(end) => self.ended.push((cell, end)),
                        Fate::Calls(to, comes_back) => {
                            let returned = self.pass(reached.base, to, vec![cell], depth + 1);
                            gather(self.sets, returned, if comes_back { &mut still } else { back });
                        }
                    }
                }
            }
            cells = still;
        }
        match unread {
            None => gather(self.sets, cells, on),
            Some(because) => {
                let end = || End::Undecided { because: because.clone() };
                self.ended.extend(cells.into_iter().map(|cell| (cell, end())));
            }
        }
    }

    fn act(&mut self, reached: Reached<'_>, mut cell: Cell, action: &Action, depth: usize) -> Vec<(Cell, Fate)> {
        let fate = match action {
            Action::Target(target) => return self.work(reached, cell, target),
            Action::None => Fate::Stays,
            Action::Drop => Fate::Ends(End::Dropped { by: Some(reached.place()) }),
            Action::Queue => Fate::Ends(End::Undecided { because: format!("rule {} asks a program", reached.name()) }),
            Action::Accept => {
                reached.leaves(&mut cell.traveller);
                Fate::Leaves
            }
            Action::Return => {
                reached.leaves(&mut cell.traveller);
                Fate::Returns
            }
            Action::Jump(to) | Action::Goto(to) => match reached.leads_to(to).filter(|_| depth < DEPTH) {
                Some(to) => Fate::Calls(to, matches!(action, Action::Jump(_))),
                None => Fate::Ends(End::Undecided {
                    because: format!("rule {}, which jumps into nothing or too deep", reached.name()),
                }),
            },
        };
        vec![(cell, fate)]
    }
}

/// What it hangs on where a match, or one by this element of a map, cannot be known.
fn matches(reached: Reached<'_>, element: Option<usize>) -> Doubt {
    let name = reached.name();
    let why = match element {
        Some(at) => numbered(&format!("what the map gives that rule {name} looks into"), at),
        None => format!("whether rule {name} matches"),
    };
    Doubt { rule: Some(name), why }
}

/// Where one thing has several answers, each but the first is told apart by a mark that people do not see.
fn numbered(why: &str, at: usize) -> String {
    match at {
        0 => why.to_owned(),
        _ => format!("{why}{NUMBERED}{at}"),
    }
}

/// What stands before such a number.
pub(in crate::analysis) const NUMBERED: char = '\u{1f}';

impl Cell {
    /// A rule may have given the packets the mark of a socket.
    fn forget_mark(&mut self) {
        self.forms.mark = None;
        self.traveller.packet.mark = Known::Unknown;
    }
}
