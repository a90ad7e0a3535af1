//! In which column a chain stands: right of all that lead to it.

use super::{End, Graph};

/// The columns of the chains and of the destinations, from 0. Chains that lead to each other in a circle, which no kernel holds but a
/// file may, stand in the order in which they were found.
pub(super) fn columns(graph: &Graph) -> (Vec<usize>, Vec<usize>) {
    let chains = graph.chains.len();
    let (mut column, mut waits) = (vec![0_usize; chains], vec![0_usize; chains]);
    let mut leads: Vec<Vec<usize>> = vec![Vec::new(); chains];
    for edge in &graph.edges {
        if let End::Chain(to) = edge.to
            && to != edge.from
            && let (Some(list), Some(waits)) = (leads.get_mut(edge.from), waits.get_mut(to))
        {
            list.push(to);
            *waits += 1;
        }
    }
    let mut ready: Vec<usize> = (0..chains).filter(|at| waits.get(*at) == Some(&0)).collect();
    let mut done = vec![false; chains];
    let mut next = 0;
    loop {
        while let Some(at) = ready.pop() {
            let (Some(mark), Some(own)) = (done.get_mut(at), column.get(at).copied()) else { continue };
            if std::mem::replace(mark, true) {
                continue;
            }
            for to in leads.get(at).into_iter().flatten().filter(|to| done.get(**to) == Some(&false)) {
                let (Some(column), Some(waits)) = (column.get_mut(*to), waits.get_mut(*to)) else { continue };
                *waits = waits.saturating_sub(1);
                *column = (*column).max(own + 1);
                if *waits == 0 {
                    ready.push(*to);
                }
            }
        }
        // What is left hangs in a circle: the first of it goes first.
        match done.iter().skip(next).position(|done| !done) {
            Some(at) => {
                next += at;
                ready.push(next);
            }
            None => break,
        }
    }
    let mut exits = vec![0; graph.exits.len()];
    for edge in &graph.edges {
        if let End::Exit(to) = edge.to
            && let (Some(exit), Some(from)) = (exits.get_mut(to), column.get(edge.from))
        {
            *exit = (*exit).max(from + 1);
        }
    }
    (column, exits)
}
