//! Tests that need no root: the command line on saved text and snapshots, and the house itself. One file each.

#[path = "../support/grid.rs"]
mod corpus_grid;
#[path = "../support/mutants.rs"]
mod mutants;
#[path = "../support/parsers.rs"]
mod parsers;

#[path = "../support/coverage.rs"]
mod drawn;

mod check_ci;
mod check_expected;
mod check_forms;
mod check_many;
mod check_waits;
mod corpus;
mod coverage;
mod cut;
mod damaged;
mod diff;
mod diff_many;
mod docs;
mod effects;
mod entries;
mod expressions;
mod flows;
mod graph;
mod grid;
mod hostile;
mod house;
mod json_schema;
mod kernel;
mod large;
mod mesh;
mod misread;
mod mutated;
mod names;
mod node;
mod observations;
mod program;
mod rules;
mod sentence;
mod sets;
mod snapshot;
mod strangers;
mod streams;
mod targets;
mod texts;
mod told;
mod trace;
mod usage;
mod words;
