//! Classes put together for people: what ends alike stands in one row, the widest first.

use std::collections::BTreeMap;

use super::area::{ORDER, areas, others};
use super::{Area, Class, Kind};
use crate::analysis::diagram::{Set, Values};
use crate::analysis::eval::flood::Sets;
use crate::packet::Field;

/// Packets of a kind that end alike.
#[derive(Debug, Clone)]
pub struct Row<'c, 'a> {
    /// How they end.
    pub ends: String,
    /// Which they are, in as few areas as there can be.
    pub areas: Vec<Area>,
    /// The classes.
    pub classes: Vec<&'c Class<'a>>,
    /// How many there are of all, from 0 to 1.
    pub share: f64,
}

/// The rows of classes of one kind, which `ends` says alike of those that belong together; widest first. Of packets outside of the
/// area `of` nothing is said: areas are told as shortly as they can be where these do not matter.
#[must_use]
pub fn rows<'c, 'a>(
    kind: &Kind,
    classes: &[&'c Class<'a>],
    of: &Area,
    ends: impl Fn(&Class<'a>) -> String,
) -> Vec<Row<'c, 'a>> {
    let mut sets = Sets::new(kind.ipv6);
    let of = of.space(&mut sets);
    let mut found: BTreeMap<String, Vec<&'c Class<'a>>> = BTreeMap::new();
    for class in classes {
        found.entry(ends(class)).or_default().push(class);
    }
    let row = |(ends, classes): (String, Vec<&'c Class<'a>>)| {
        let mut here = Vec::new();
        let mut spaces: Vec<Set> = Vec::new();
        for class in classes {
            let space = class.area.space(&mut sets);
            let space = sets.diagrams.and(space, of);
            if !space.is_empty() {
                here.push(class);
                spaces.push(space);
            }
        }
        let space = sets.diagrams.union(spaces);
        let (areas, share) = shortly(&mut sets, space, of);
        (!space.is_empty()).then_some(Row { ends, areas, classes: here, share })
    };
    let mut rows: Vec<Row<'c, 'a>> = found.into_iter().filter_map(row).collect();
    rows.sort_by(|one, other| other.share.total_cmp(&one.share));
    rows
}

/// All packets of some areas that are in the area `of`, in as few areas as there can be, and how many of everything they are, from 0
/// to 1; none where there is no such packet.
#[must_use]
pub fn together(these: &[&Area], of: &Area, ipv6: bool) -> (Vec<Area>, f64) {
    let mut sets = Sets::new(ipv6);
    let of = of.space(&mut sets);
    let spaces = these.iter().map(|area| area.space(&mut sets)).collect();
    let all = sets.diagrams.union(spaces);
    let here = sets.diagrams.and(all, of);
    shortly(&mut sets, here, of)
}

/// A set in as few areas as there can be where packets outside of another do not matter, and how many of everything it is.
fn shortly(sets: &mut Sets, space: Set, of: Set) -> (Vec<Area>, f64) {
    let exact = areas(sets, space);
    let share = exact.iter().map(|area| share(area, sets)).sum();
    let told = sets.diagrams.where_it_matters(space, of);
    let short = areas(sets, told);
    let ipv6 = sets.is_ipv6();
    (if length(&short, ipv6) < length(&exact, ipv6) { short } else { exact }, share)
}

/// How much there is to read.
fn length(areas: &[Area], ipv6: bool) -> usize {
    let told = |area: &Area, field: Field| match area.of(field) {
        [] => 0,
        // What is more than what is left out is told by that.
        values => values.len().min(others(field, values, ipv6).len()),
    };
    areas.iter().map(|area| 1 + ORDER.iter().map(|field| told(area, *field)).sum::<usize>()).sum()
}

/// Whether some packet of a class is in an area.
#[must_use]
pub fn meets(class: &Class<'_>, of: &Area) -> bool {
    let mut sets = Sets::new(class.kind.ipv6);
    let (one, other) = (class.area.space(&mut sets), of.space(&mut sets));
    !sets.diagrams.and(one, other).is_empty()
}

/// How much of everything an area is.
fn share(area: &Area, sets: &Sets) -> f64 {
    let of = |field: Field| {
        let values = area.of(field);
        if values.is_empty() {
            return 1.0;
        }
        let all = sets.most(field) as f64 + 1.0;
        let count = |values: &Values| match values {
            Values::Range { from, to } => (to - from) as f64 + 1.0,
            Values::Masked { mask, .. } => all / 2_f64.powi(i32::try_from(mask.count_ones()).unwrap_or(i32::MAX)),
        };
        values.iter().map(count).sum::<f64>() / all
    };
    ORDER.into_iter().map(of).product()
}
