//! Tests that need no root: the command line on saved text and snapshots, and the house itself. One file each.

mod house;
mod large;
mod program;
