//! Tests that need no root: the command line on saved text and snapshots, and the house itself. One file each.

mod entries;
mod house;
mod kernel;
mod large;
mod misread;
mod program;
