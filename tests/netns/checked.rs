//! `check` on real namespaces: for each finding a workload that has it, and one alike that has not.

mod ambient;
mod backends;
mod bypass;
mod capture;
mod completeness;
mod dns;
mod environment;
mod healthy;
mod identities;
mod live;
mod metadata;
mod others;
mod proxy;
pub(crate) mod stage;
mod surroundings;
mod tproxy;
pub(crate) mod ztunnel;
