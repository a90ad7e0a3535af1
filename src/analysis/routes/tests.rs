//! What is not known of a packet matters only where the outcome differs.

use std::net::IpAddr;

use super::*;
use crate::model::{Kind as WorkloadKind, Network, NextHop, Routing, RuleAction, Workload};

fn network(text: &str) -> Network {
    let (address, bits) = text.split_once('/').expect("a network");
    Network { address: address.parse().expect("an address"), bits: bits.parse().expect("bits") }
}

fn route(to: &str, table: u32, kind: RouteKind, interface: u32) -> Route {
    let hops = (interface != 0).then_some(NextHop { interface, gateway: None, weight: 1, flags: 0 });
    Route {
        kind,
        destination: network(to),
        source: None,
        tos: 0,
        table,
        protocol: 3,
        scope: 0,
        flags: 0,
        priority: 0,
        preferred_source: None,
        preference: None,
        hops: hops.into_iter().collect(),
        next_hop_object: None,
        unknown: Vec::new(),
    }
}

fn rule(priority: u32, action: RuleAction) -> PolicyRule {
    PolicyRule {
        ipv6: false,
        priority,
        action,
        invert: false,
        from: None,
        to: None,
        input: None,
        output: None,
        mark: None,
        users: None,
        protocol: None,
        source_ports: None,
        destination_ports: None,
        tos: 0,
        vrf: false,
        suppress_prefix: None,
        suppress_group: None,
        flags: 0,
        maker: 0,
        unknown: Vec::new(),
    }
}

/// A pod at 10.0.0.2 whose table 100 takes everything in, as transparent proxies want it; with this rule before those it has anyway.
fn pod(first: PolicyRule) -> Snapshot {
    let mut snapshot = Snapshot::of("node", 0, "pod", Workload::named(WorkloadKind::Pod, "pod"));
    let interface = |index, name: &str, loopback| Interface {
        index,
        name: name.to_owned(),
        loopback,
        up: true,
        addresses: Vec::new(),
    };
    snapshot.interfaces = Some(vec![interface(1, "lo", true), interface(2, "eth0", false)]);
    let own = |interface, text: &str, scope| OwnAddress {
        interface,
        address: network(text).address,
        network: network(text),
        scope,
        flags: 0,
    };
    snapshot.routes = Some(Routing {
        routes: Some(vec![
            route("0.0.0.0/0", 254, RouteKind::Unicast, 2),
            route("10.0.0.2/32", 255, RouteKind::Local, 2),
            route("0.0.0.0/0", 100, RouteKind::Local, 1),
            route("10.0.0.2/32", 100, RouteKind::Local, 1),
        ]),
        rules: Some(vec![
            rule(0, RuleAction::Lookup(255)),
            first,
            rule(32_766, RuleAction::Lookup(254)),
            rule(32_767, RuleAction::Lookup(253)),
        ]),
        addresses: Some(vec![own(1, "127.0.0.1/8", 254), own(2, "10.0.0.2/24", 0)]),
        settings: RoutingSettings::default(),
    });
    snapshot
}

fn ask(first: PolicyRule, change: impl Fn(&mut Query)) -> Outcome {
    let snapshot = pod(first);
    let mut query = Query::to(IpAddr::from([10, 9, 9, 9]));
    change(&mut query);
    Routes::of(&snapshot).expect("read").lookup(&query)
}

fn kinds(outcome: Outcome) -> (Vec<Kind>, Option<Why>) {
    match outcome {
        Outcome::Decided(decision) => (vec![decision.kind], None),
        Outcome::OneOf(decisions, why) => (decisions.iter().map(|decision| decision.kind).collect(), Some(why)),
        Outcome::CannotKnow(why) => (Vec::new(), Some(why)),
    }
}

#[test]
fn an_unknown_mark_matters_where_a_rule_asks_for_it() {
    let marked = || PolicyRule { mark: Some((1337, u32::MAX)), ..rule(10, RuleAction::Lookup(100)) };
    assert_eq!(kinds(ask(marked(), |query| query.mark = Known::Is(1337))), (vec![Kind::Local], None));
    assert_eq!(kinds(ask(marked(), |query| query.mark = Known::Is(1))), (vec![Kind::Unicast], None));
    let unknown = kinds(ask(marked(), |query| query.mark = Known::Unknown));
    assert_eq!(unknown, (vec![Kind::Local, Kind::Unicast], Some(Why::Mark)));
    // The rule is not asked, or does not match for another reason, or does the same.
    let own = |query: &mut Query| (query.mark, query.destination) = (Known::Unknown, IpAddr::from([10, 0, 0, 2]));
    assert_eq!(kinds(ask(marked(), own)), (vec![Kind::Local], None));
    let elsewhere = PolicyRule { to: Some(network("11.0.0.0/8")), ..marked() };
    assert_eq!(kinds(ask(elsewhere, |query| query.mark = Known::Unknown)), (vec![Kind::Unicast], None));
    let same = PolicyRule { action: RuleAction::Lookup(254), ..marked() };
    assert_eq!(kinds(ask(same, |query| query.mark = Known::Unknown)), (vec![Kind::Unicast], None));
}

#[test]
fn unknown_users_and_ports_and_foreign_parts_leave_both_ways_open() {
    let both = |why| (vec![Kind::Blackhole, Kind::Unicast], Some(why));
    let users = || PolicyRule { users: Some((5, 10)), ..rule(10, RuleAction::Blackhole) };
    assert_eq!(kinds(ask(users(), |query| query.uid = Known::Unknown)), both(Why::User));
    assert_eq!(kinds(ask(users(), |query| query.uid = Known::Is(10))), (vec![Kind::Blackhole], None));
    let ports = PolicyRule { destination_ports: Some((80, 80)), ..rule(10, RuleAction::Blackhole) };
    assert_eq!(kinds(ask(ports, |query| query.destination_port = Known::Unknown)), both(Why::Ports));
    let mut foreign = rule(10, RuleAction::Blackhole);
    foreign.unknown.push(crate::model::UnknownPart::new(&[77], &[1]));
    assert_eq!(kinds(ask(foreign, |_| {})), both(Why::Foreign));
    let vrf = || PolicyRule { vrf: true, ..rule(10, RuleAction::Blackhole) };
    assert_eq!(kinds(ask(vrf(), |_| {})), (vec![Kind::Unicast], None));
    // Whatever the rule does, what is bound to a device is sent by it.
    let bound = |query: &mut Query| query.output = Some("eth0".to_owned());
    assert_eq!(kinds(ask(vrf(), bound)), (vec![Kind::Unicast], None));
    let group = PolicyRule { suppress_group: Some(3), ..rule(10, RuleAction::Lookup(100)) };
    assert_eq!(kinds(ask(group, |_| {})), (vec![Kind::Local, Kind::Unicast], Some(Why::Vrf)));
}

#[test]
fn what_was_not_read_is_not_guessed() {
    let first = || rule(10, RuleAction::Nop);
    let came = |query: &mut Query| {
        (query.input, query.source) = (Some("eth0".to_owned()), Some(IpAddr::from([10, 0, 0, 7])));
    };
    assert_eq!(kinds(ask(first(), came)), (Vec::new(), Some(Why::Setting)));
    assert_eq!(kinds(ask(first(), |query| query.input = Some("eth7".to_owned()))), (Vec::new(), Some(Why::Device)));
    let mut snapshot = pod(first());
    snapshot.routes.as_mut().expect("there").rules = None;
    assert!(Routes::of(&snapshot).is_none());
    // A next hop object of which the kernel tells nothing.
    let mut snapshot = pod(first());
    let routes = snapshot.routes.as_mut().expect("there").routes.as_mut().expect("there");
    (routes[0].hops, routes[0].next_hop_object) = (Vec::new(), Some(7));
    let outcome = Routes::of(&snapshot).expect("read").lookup(&Query::to(IpAddr::from([10, 9, 9, 9])));
    assert_eq!(outcome, Outcome::CannotKnow(Why::NextHopObject));
}

#[test]
fn jumps_lead_onwards_only_and_end() {
    let back = rule(10, RuleAction::Goto(0));
    assert_eq!(kinds(ask(back, |_| {})), (vec![Kind::Unicast], None));
    let over = rule(10, RuleAction::Goto(32_767));
    assert_eq!(kinds(ask(over, |_| {})), (vec![Kind::NoRoute], None));
}
