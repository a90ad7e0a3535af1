//! The questions that people ask of connections (CQ01 to CQ16 of the catalogue of failures), each answered for real sockets under
//! real rules. What the kernel's own tools say is compared where they say something.

mod answers;
mod node;
mod proxies;
pub(crate) mod stage;
mod stuck;
mod tables;
