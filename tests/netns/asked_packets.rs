//! The questions that people ask of packets (PQ01 to PQ41 of the catalogue of failures), each answered from a snapshot, and by the
//! kernel for a real packet under the same rules; both answers are the one that the catalogue expects.
//!
//! PQ11 is left out: what it asks about stands in annotations and never becomes a rule; `check` answers it. Of others a part is not
//! about packets, and left to `check` too: who may set a mark (PQ18), and what `resolv.conf` says (PQ37).

mod ask;
mod facts;
mod inbound;
mod known;
mod names;
mod older;
mod order;
mod outbound;
mod profiles;
mod users;
