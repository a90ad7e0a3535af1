//! The picture: the chains that a packet passes, with what it takes in them marked.

use super::steps::merged;
use super::{Story, Teller, answer};
use crate::report::graph::{self, Graph, Passed};

/// The graph of one packet's way, for each of the forms in which it is drawn.
#[must_use]
pub fn picture(teller: &Teller<'_>, story: Story<'_, '_>) -> Graph {
    let steps = merged(teller, story.trace, true);
    let passed = steps.iter().filter_map(|step| {
        let at = teller.rules.at(step.met.place)?;
        let rule = at.rule.map(|(number, _)| number - 1);
        Some(Passed { table: at.table, chain: at.chain, rule, matched: step.matched })
    });
    // Policies that let it pass are no part of the story, and of the picture they are.
    let certain = (story.trace.outcomes.len() == 1).then_some(true);
    let ends = story.trace.outcomes.iter().flat_map(|outcome| &outcome.met).filter_map(|met| {
        let at = teller.rules.at(met.place).filter(|at| at.rule.is_none())?;
        Some(Passed { table: at.table, chain: at.chain, rule: None, matched: certain })
    });
    graph::taken(teller.snapshot, &passed.chain(ends).collect::<Vec<_>>(), &answer(teller, story))
}
