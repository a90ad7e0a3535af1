//! One file per output form: values in, text or JSON out. Nothing here opens a stream or asks for a terminal.

pub mod check;
pub mod conns;
pub mod coverage;
pub mod cross_check;
pub mod diff;
pub mod document;
pub mod escape;
pub mod flows;
pub mod graph;
mod layout;
pub mod list;
pub mod paint;
pub mod rules;
pub mod runtimes;
pub mod sentence;
pub mod trace;
pub mod watch;
pub mod who;
pub mod wrap;
mod xml;
pub mod yaml;
