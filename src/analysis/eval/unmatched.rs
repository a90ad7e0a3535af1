//! What a packet passed without a match, told from what it did match: only who asks for every rule has to know.

use super::path::{Met, Path, Place, Then};
use super::{Prepared, Rulebase};
use crate::model::Hook;

/// Chains entered, each with the place of the next rule.
type Stack = Vec<(u32, u32)>;

impl Rulebase<'_> {
    /// The whole of a path: between what matched stands what did not, in the order in which the packet met it.
    #[must_use]
    pub fn whole<'p>(&self, path: &'p Path) -> Vec<Met<'p>> {
        let mut found = Vec::with_capacity(path.len());
        let mut stack = Stack::new();
        for (met, then) in path.iter().zip(path.thens()) {
            let Some(table) = self.tables.get(met.place.table as usize) else { continue };
            if is_base(table, met.place.chain, met.hook) && !stack.iter().any(|(chain, _)| *chain == met.place.chain) {
                stack = vec![(met.place.chain, 0)];
            }
            pass(table, &mut stack, met, &mut found);
            found.push(met);
            go_on(&mut stack, then);
        }
        found
    }
}

fn is_base(table: &Prepared<'_>, chain: u32, hook: Hook) -> bool {
    table.table.chains.get(chain as usize).is_some_and(|chain| chain.hook == Some(hook))
}

/// Adds all rules before this one, and passes it.
fn pass<'p>(table: &Prepared<'_>, stack: &mut Stack, met: Met<'p>, found: &mut Vec<Met<'p>>) {
    let count = |chain: u32| {
        let rules = table.table.chains.get(chain as usize).map_or(0, |chain| chain.rules.len());
        u32::try_from(rules).unwrap_or(u32::MAX)
    };
    while let Some((chain, from)) = stack.last_mut() {
        let (chain, from, here) = (*chain, from, met.place.chain);
        let reached = met.place.rule.filter(|rule| here == chain && *rule >= *from);
        let unmatched = (*from..reached.unwrap_or_else(|| count(chain))).map(|rule| Met {
            place: Place { chain, rule: Some(rule), ..met.place },
            matched: false,
            supposed: false,
            after: met.before,
            ..met
        });
        found.extend(unmatched);
        if let Some(reached) = reached {
            *from = reached.saturating_add(1);
            return;
        }
        stack.pop();
    }
}

fn go_on(stack: &mut Stack, then: Then) {
    match then {
        Then::Stays => {}
        Then::Jumps(to) => stack.push((to, 0)),
        Then::Goes(to) => {
            stack.pop();
            stack.push((to, 0));
        }
        Then::Returns => {
            stack.pop();
        }
        Then::Leaves => stack.clear(),
    }
}
