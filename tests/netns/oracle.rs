//! The kernel as the oracle of `trace`: random rules, random packets, and what really becomes of each.
//!
//! `NSLENS_SEED` repeats a run, `NSLENS_PACKETS` says how long each is, `NSLENS_LONG` makes all longer.

mod chance;
mod covered;
mod judge;
mod native;
mod packets;
mod rules;
mod run;
mod sidecar;
mod stage;
mod xt;

use run::{Class, run};

/// Packets of a class; many more where there is time.
fn packets(few: usize) -> usize {
    let told = std::env::var("NSLENS_PACKETS").ok().and_then(|count| count.parse().ok());
    let many = if std::env::var_os("NSLENS_LONG").is_some() { 25 } else { 1 };
    told.unwrap_or(few * many)
}

#[test]
fn iptables_rules_that_can_be_decided() {
    let rules = |chance: &mut chance::Chance| xt::rules(chance, false, false);
    run(&Class { name: "iptables", rules, ipv6: 30, decidable: true, anonymous: 0 }, packets(5_000));
}

#[test]
fn nft_rules_that_can_be_decided() {
    let rules = |chance: &mut chance::Chance| native::rules(chance, false);
    run(&Class { name: "nft", rules, ipv6: 30, decidable: true, anonymous: 0 }, packets(5_000));
}

#[test]
fn sidecars_with_faults() {
    let class = Class { name: "sidecar", rules: sidecar::rules, ipv6: 30, decidable: true, anonymous: 0 };
    run(&class, packets(5_000));
}

#[test]
fn iptables_rules_that_cannot_be_decided() {
    let rules = |chance: &mut chance::Chance| xt::rules(chance, true, true);
    run(&Class { name: "open iptables", rules, ipv6: 30, decidable: false, anonymous: 20 }, packets(3_000));
}

#[test]
fn nft_rules_that_cannot_be_decided() {
    let rules = |chance: &mut chance::Chance| native::rules(chance, true);
    run(&Class { name: "open nft", rules, ipv6: 30, decidable: false, anonymous: 20 }, packets(3_000));
}
