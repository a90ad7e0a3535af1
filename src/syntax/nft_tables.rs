//! Tables of nft put together from what was read of them, in text or in JSON: the same model as the kernel's own.

use std::collections::{HashMap, HashSet, VecDeque};

use super::nft_uses::Uses;
use crate::model::{Backend, Body, Chain, Counters, Family, Rule, Ruleset, Syntax, Table};
use crate::nft::{self, Compiler, Expression, FlowTable, Item, Object, RuleTree, SetTree, compile_set};

/// A table among those that were read.
pub(super) type Place = usize;

/// What nft's text or JSON held.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct NftRead {
    /// One for each family in it.
    pub rulesets: Vec<Ruleset>,
    /// What of it is not understood.
    pub faults: Vec<TextFault>,
}

/// A place in a text that is not understood.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("line {line}, column {column}: {what}")]
pub struct TextFault {
    /// Counted from 1.
    pub line: usize,
    /// Characters, counted from 1.
    pub column: usize,
    /// What is wrong.
    pub what: String,
}

/// So many places are named; nobody reads more.
const MOST_FAULTS: usize = 1000;

/// Where among the rules of its chain a new one goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum At {
    /// Before all.
    First,
    /// Behind all.
    Last,
    /// Before the one of this number, counted from 0.
    Before(usize),
}

#[derive(Debug)]
struct Draft {
    family: Family,
    table: Table,
    /// Where each chain stands.
    places: HashMap<String, usize>,
    /// The rules of each chain; none where it was deleted.
    rules: Vec<Option<VecDeque<RuleTree>>>,
    /// Sets, and where each stands in the text; none where it was deleted.
    sets: Vec<Option<(SetTree, usize)>>,
    /// Where each set stands among them.
    set_places: HashMap<String, usize>,
    /// Objects by kind and name.
    objects: HashSet<(u32, String)>,
}

/// Tables while they are read.
#[derive(Debug, Default)]
pub(super) struct Tables {
    /// None where it was deleted.
    tables: Vec<Option<Draft>>,
    places: HashMap<(Family, String), Place>,
}

impl Tables {
    pub(super) fn clear(&mut self) {
        self.tables.clear();
        self.places.clear();
    }

    pub(super) fn clear_family(&mut self, family: Family) {
        let names: Vec<(Family, String)> = self.places.keys().filter(|(of, _)| *of == family).cloned().collect();
        for (family, name) in names {
            self.delete_table(family, &name);
        }
    }

    /// The table of this name, made where there is none yet.
    pub(super) fn table(&mut self, family: Family, name: &str) -> Place {
        *self.places.entry((family, name.to_owned())).or_insert_with(|| {
            // As in the kernel, later tables have larger handles.
            let handle = u64::try_from(self.tables.len() + 1).ok();
            let table = Table { name: name.to_owned(), handle, ..Table::default() };
            let (places, set_places, objects) = (HashMap::new(), HashMap::new(), HashSet::new());
            let draft = Draft { family, table, places, rules: Vec::new(), sets: Vec::new(), set_places, objects };
            self.tables.push(Some(draft));
            self.tables.len() - 1
        })
    }

    fn draft(&mut self, place: Place) -> Option<&mut Draft> {
        self.tables.get_mut(place)?.as_mut()
    }

    /// The table of this name, where there is one.
    pub(super) fn known(&self, family: Family, name: &str) -> Option<Place> {
        self.places.get(&(family, name.to_owned())).copied()
    }

    pub(super) fn delete_table(&mut self, family: Family, name: &str) {
        let table = self.places.remove(&(family, name.to_owned())).and_then(|place| self.tables.get_mut(place));
        table.map(Option::take);
    }

    /// Takes a member out of a table: a chain, a set or map, a flow table, or an object.
    pub(super) fn delete(&mut self, place: Place, what: &str, name: &str) {
        let Some(draft) = self.draft(place) else { return };
        match what {
            "chain" => {
                let rules = draft.places.remove(name).and_then(|at| draft.rules.get_mut(at));
                rules.map(Option::take);
            }
            "set" | "map" => {
                let set = draft.set_places.remove(name).and_then(|at| draft.sets.get_mut(at));
                set.map(Option::take);
            }
            "flowtable" => draft.table.flow_tables.retain(|table| table.name != name),
            _ => {
                draft.table.objects.retain(|object| object.name != name);
                draft.objects.retain(|(_, known)| known != name);
            }
        }
    }

    /// Takes out what stands in a table, a chain or a set.
    pub(super) fn flush(&mut self, place: Place, chain: Option<&str>) {
        let Some(draft) = self.draft(place) else { return };
        let one = chain.map(|name| draft.places.get(name).copied());
        for (at, rules) in draft.rules.iter_mut().enumerate() {
            if one.is_none_or(|one| one == Some(at)) {
                rules.as_mut().map(VecDeque::clear);
            }
        }
    }

    pub(super) fn rename_chain(&mut self, place: Place, name: &str, to: &str) {
        let Some(draft) = self.draft(place) else { return };
        if let Some(at) = draft.places.remove(name) {
            draft.places.insert(to.to_owned(), at);
            if let Some(chain) = draft.table.chains.get_mut(at) {
                to.clone_into(&mut chain.name);
            }
        }
    }

    pub(super) fn set_comment(&mut self, place: Place, comment: String) {
        if let Some(draft) = self.draft(place) {
            draft.table.comment = Some(comment);
        }
    }

    /// Whether the flag is known (`NFT_TABLE_F_*`).
    pub(super) fn set_flag(&mut self, place: Place, flag: &str) -> bool {
        const OWNER: u32 = 2;
        const PERSIST: u32 = 4;
        let Some(draft) = self.draft(place) else { return true };
        match flag {
            "dormant" => draft.table.dormant = true,
            "owner" => draft.table.extra.flags |= OWNER,
            "persist" => draft.table.extra.flags |= PERSIST,
            _ => return false,
        }
        true
    }

    /// The chain of this name, made where there is none yet.
    pub(super) fn chain(&mut self, place: Place, name: &str) -> usize {
        let Some(draft) = self.draft(place) else { return 0 };
        if let Some(known) = draft.places.get(name) {
            return *known;
        }
        let at = draft.rules.len();
        draft.places.insert(name.to_owned(), at);
        draft.rules.push(Some(VecDeque::new()));
        let handle = u64::try_from(at + 1).ok();
        draft.table.chains.push(Chain { syntax: Syntax::Nft, handle, ..Chain::user(name) });
        at
    }

    pub(super) fn chain_mut(&mut self, place: Place, chain: usize) -> Option<&mut Chain> {
        self.draft(place)?.table.chains.get_mut(chain)
    }

    pub(super) fn rule(&mut self, place: Place, chain: usize, rule: RuleTree, at: At) {
        if let Some(Some(rules)) = self.draft(place).and_then(|draft| draft.rules.get_mut(chain)) {
            match at {
                At::First => rules.push_front(rule),
                At::Before(index) if index < rules.len() => rules.insert(index, rule),
                At::Before(_) | At::Last => rules.push_back(rule),
            }
        }
    }

    pub(super) fn add_set(&mut self, place: Place, set: SetTree, at: usize) {
        if let Some(known) = self.set(place, &set.name) {
            known.elements.extend(set.elements);
        } else if let Some(draft) = self.draft(place) {
            draft.set_places.insert(set.name.clone(), draft.sets.len());
            draft.sets.push(Some((set, at)));
        }
    }

    pub(super) fn set(&mut self, place: Place, name: &str) -> Option<&mut SetTree> {
        let draft = self.draft(place)?;
        let at = *draft.set_places.get(name)?;
        draft.sets.get_mut(at)?.as_mut().map(|(set, _)| set)
    }

    /// Takes elements with these keys out of a set.
    pub(super) fn delete_elements(&mut self, place: Place, name: &str, elements: &[Item]) {
        let gone: HashSet<String> = elements.iter().map(|element| format!("{:?}", element.key)).collect();
        if let Some(set) = self.set(place, name) {
            set.elements.retain(|element| !gone.contains(&format!("{:?}", element.key)));
        }
    }

    pub(super) fn add_object(&mut self, place: Place, object: Object) {
        if let Some(draft) = self.draft(place) {
            // One that is there already stays as it is.
            if draft.objects.insert((object.kind, object.name.clone())) {
                draft.table.objects.push(object);
            }
        }
    }

    pub(super) fn add_flow_table(&mut self, place: Place, table: FlowTable) {
        if let Some(draft) = self.draft(place) {
            draft.table.flow_tables.push(table);
        }
    }

    /// The rule sets, and what of their text is not understood: places in bytes.
    pub(super) fn finish(self, text: &str, mut faults: Vec<(usize, String)>) -> NftRead {
        let mut rulesets: Vec<Ruleset> = Vec::new();
        for draft in self.tables.into_iter().flatten() {
            let family = draft.family;
            let table = draft.finish(&mut faults);
            match rulesets.iter_mut().find(|ruleset| ruleset.family == family) {
                Some(ruleset) => ruleset.tables.push(table),
                None => rulesets.push(Ruleset { backend: Backend::Nft, family, tables: vec![table] }),
            }
        }
        rulesets.sort_by_key(|ruleset| ruleset.family);
        faults.sort_by_key(|(at, _)| *at);
        NftRead { rulesets, faults: placed(text, faults) }
    }
}

/// Faults by line and column.
pub(super) fn placed(text: &str, faults: Vec<(usize, String)>) -> Vec<TextFault> {
    let (mut line, mut start) = (1, 0);
    let mut found = Vec::new();
    for (at, what) in faults.into_iter().take(MOST_FAULTS) {
        let passed = text.get(start..at).unwrap_or_default();
        line += passed.bytes().filter(|byte| *byte == b'\n').count();
        start += passed.rfind('\n').map_or(0, |last| last + 1);
        let column = text.get(start..at).map_or(0, |before| before.chars().count()) + 1;
        found.push(TextFault { line, column, what });
    }
    found
}

impl Draft {
    fn finish(self, faults: &mut Vec<(usize, String)>) -> Table {
        let Self { family, mut table, rules, sets, .. } = self;
        let mut known = HashMap::new();
        let mut order = Vec::new();
        let uses = Uses::of(rules.iter().flatten().flatten());
        for (mut tree, at) in sets.into_iter().flatten() {
            uses.tell(&mut tree);
            order.push(tree.name.clone());
            let (set, fault) = compile_set(&tree, family, &[]);
            faults.extend(fault.map(|fault| (at, fault)));
            known.insert(tree.name, set);
        }
        let mut compiler = Compiler { family, sets: &known, anonymous: Vec::new(), devices: &[] };
        let mut chains = Vec::with_capacity(table.chains.len());
        for (mut chain, trees) in table.chains.into_iter().zip(rules) {
            let Some(trees) = trees else { continue };
            for tree in trees {
                let compiled = compiler.rule(&tree);
                // Where the text itself was not understood that has been said.
                faults.extend(compiled.faults.into_iter().filter(|(at, _)| !said(&tree, *at)));
                let counters = counters(&compiled.rule);
                let body = Body::Nft(Box::new(compiled.rule));
                chain.rules.push(Rule { counters, handle: None, body, native: None });
            }
            chains.push(chain);
        }
        table.chains = chains;
        let anonymous = compiler.anonymous;
        table.sets = order.into_iter().filter_map(|name| known.remove(&name)).chain(anonymous).collect();
        // Base chains come first, as from the kernel.
        table.chains.sort_by_key(|chain| chain.hook.is_none());
        table
    }
}

fn said(tree: &RuleTree, at: usize) -> bool {
    tree.parts.iter().any(|part| part.at == at && matches!(part.part, nft::Part::Unknown(_)))
}

fn counters(rule: &nft::Rule) -> Option<Counters> {
    rule.expressions.iter().find_map(|expression| match expression {
        Expression::Counter { packets, bytes } => Some(Counters { packets: *packets, bytes: *bytes }),
        _ => None,
    })
}
