//! The only system calls and the only `unsafe` of the house: namespaces, netlink, xtables' `getsockopt`, processes.
//!
//! Nothing here knows what the bytes mean (that is `wire`) or why they are wanted (that is `capture` and `target`).
//! Imports nothing of ours.
#![expect(unsafe_code, reason = "raw system calls live here and nowhere else")]

pub mod asked;
pub mod below;
pub mod bpf;
pub mod caps;
pub mod descriptors;
pub mod ipset_sockopt;
pub mod lab;
pub mod modules;
pub mod mounts;
pub mod multicast;
pub mod netlink;
pub mod netns;
pub mod process;
pub mod records;
pub mod userns;
pub mod waiting;
pub mod xt_sockopt;
