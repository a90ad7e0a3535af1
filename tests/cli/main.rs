//! Tests that need no root: the command line on saved text and snapshots, and the house itself. One file each.

mod corpus;
mod damaged;
mod diff;
mod docs;
mod entries;
mod expressions;
mod hostile;
mod house;
mod kernel;
mod large;
mod misread;
mod program;
mod rules;
mod sentence;
mod snapshot;
mod streams;
mod targets;
mod usage;
