//! One file per command: its arguments, whose doc comments are its help, and one function.

pub mod check;
pub mod completions;
pub mod conns;
pub mod coverage;
pub mod demo;
pub mod diff;
pub mod list;
pub mod rules;
pub mod snapshot;
pub mod trace;
pub mod watch;

use super::exit::Exit;
use crate::model::{Cause, Snapshot, Subject};

/// The exit code for what could not be read of that which the command is about.
fn unread_exit(snapshot: &Snapshot, subjects: &[Subject]) -> Exit {
    Exit::of(snapshot.unread_about(subjects).map(|unread| match unread.cause {
        Cause::Permission => Exit::NotPermitted,
        Cause::Unsupported | Cause::Failed => Exit::CannotTell,
    }))
}
