//! What is remembered of routes is what they would say again, in random surroundings.

use std::net::{Ipv4Addr, Ipv6Addr};

use super::super::Ground;
use super::*;
use crate::model::{
    Interface, Kind as Workloads, NextHop, OwnAddress, PolicyRule, Route, RouteKind, RuleAction, Snapshot, Workload,
};

/// Numbers that look random and are the same in each run (xorshift, Marsaglia 2003).
struct Numbers(u64);

impl Numbers {
    fn below(&mut self, end: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 % end
    }

    fn one<T: Copy>(&mut self, of: &[T]) -> T {
        of[usize::try_from(self.below(of.len() as u64)).expect("small")]
    }

    fn byte(&mut self) -> u8 {
        self.one(&[0, 1, 2, 127, 128, 255])
    }

    fn address(&mut self, ipv6: bool) -> IpAddr {
        if ipv6 {
            let first = self.one(&[0_u128, 0xfd00, 0x2001, 0xfe80, 0xfec0, 0xff02, 0xff05]) << 112;
            let middle = self.one(&[0_u128, 1, 0xffff]) << 32;
            return Ipv6Addr::from(first | middle | u128::from(self.byte()) << 64 | u128::from(self.byte())).into();
        }
        let first = self.one(&[0, 10, 127, 172, 192, 224, 255]);
        Ipv4Addr::new(first, self.byte(), self.byte(), self.byte()).into()
    }

    fn network(&mut self, ipv6: bool) -> Network {
        let bits: u8 = self.one(&[0, 8, 9, 16, 24, 31, 32]);
        Network {
            address: self.address(ipv6),
            bits: if ipv6 { self.one(&[0, 10, 16, 64, 96, 127, 128]) } else { bits },
        }
    }
}

fn route(numbers: &mut Numbers, ipv6: bool) -> Route {
    let own = numbers.below(4) == 0;
    Route {
        kind: if own {
            RouteKind::Local
        } else {
            numbers.one(&[RouteKind::Unicast, RouteKind::Unicast, RouteKind::Prohibit])
        },
        destination: numbers.network(ipv6),
        source: (ipv6 && numbers.below(5) == 0).then(|| numbers.network(ipv6)),
        tos: 0,
        table: if own { 255 } else { numbers.one(&[254, 254, 100]) },
        protocol: 2,
        scope: numbers.one(&[0, 253]),
        flags: 0,
        priority: 0,
        preferred_source: (numbers.below(3) == 0).then(|| numbers.address(ipv6)),
        preference: None,
        hops: vec![NextHop { interface: numbers.one(&[1, 2, 3]), gateway: None, weight: 1, flags: 0 }],
        next_hop_object: None,
        unknown: Vec::new(),
    }
}

fn rule(numbers: &mut Numbers, ipv6: bool, priority: u32, table: u32) -> PolicyRule {
    let plain = table != 100;
    PolicyRule {
        ipv6,
        priority,
        action: RuleAction::Lookup(table),
        invert: false,
        from: (!plain && numbers.below(2) == 0).then(|| numbers.network(ipv6)),
        to: (!plain && numbers.below(2) == 0).then(|| numbers.network(ipv6)),
        input: None,
        output: None,
        mark: (!plain && numbers.below(3) == 0).then_some((1, 1)),
        users: None,
        protocol: (!plain && numbers.below(4) == 0).then_some(17),
        source_ports: None,
        destination_ports: None,
        tos: 0,
        vrf: false,
        suppress_prefix: None,
        suppress_group: None,
        flags: 0,
        maker: 2,
        unknown: Vec::new(),
    }
}

fn pod(numbers: &mut Numbers) -> Snapshot {
    let mut snapshot = Snapshot::of("node", 0, "pod/web", Workload::named(Workloads::Pod, "web"));
    let interface = |index: u32, name: &str| Interface {
        index,
        name: name.to_owned(),
        loopback: index == 1,
        up: true,
        addresses: Vec::new(),
    };
    snapshot.interfaces = Some(vec![interface(1, "lo"), interface(2, "eth0"), interface(3, "eth1")]);
    let mut routing = Routing::default();
    let mut families =
        |one: &mut dyn FnMut(&mut Numbers, bool)| [false, true].iter().for_each(|ipv6| one(numbers, *ipv6));
    let (mut routes, mut rules, mut addresses) = (Vec::new(), Vec::new(), Vec::new());
    families(&mut |numbers, ipv6| {
        routes.extend((0..6).map(|_| route(numbers, ipv6)));
        rules
            .extend([(0, 255), (10, 100), (32_766, 254)].map(|(priority, table)| rule(numbers, ipv6, priority, table)));
        addresses.extend((1..4).map(|interface| OwnAddress {
            interface,
            address: numbers.address(ipv6),
            network: numbers.network(ipv6),
            scope: 0,
            flags: 0,
        }));
    });
    (routing.routes, routing.rules, routing.addresses) = (Some(routes), Some(rules), Some(addresses));
    for device in ["all", "lo", "eth0", "eth1"] {
        let mut setting = |name: &str| (name.to_owned(), i32::from(device != "all" && numbers.below(2) == 0));
        routing
            .settings
            .ipv4
            .insert(device.to_owned(), crate::model::RoutingSettings::IPV4.iter().map(|name| setting(name)).collect());
        let mut setting = |name: &str| (name.to_owned(), i32::from(numbers.below(2) == 0));
        routing
            .settings
            .ipv6
            .insert(device.to_owned(), crate::model::RoutingSettings::IPV6.iter().map(|name| setting(name)).collect());
    }
    snapshot.routes = Some(routing);
    snapshot
}

#[test]
fn what_was_asked_before_is_answered_as_if_it_were_asked_again() {
    let mut numbers = Numbers(7_000_001);
    let mut kept = 0;
    for case in 0..40 {
        let snapshot = pod(&mut numbers);
        let ground = Ground::of(&snapshot).expect("routes");
        let mut asked = 0;
        for _ in 0..400 {
            let ipv6 = numbers.below(2) == 0;
            let packet = Packet {
                source: if numbers.below(3) == 0 { Known::Unknown } else { Known::Is(numbers.address(ipv6)) },
                destination: Known::Is(numbers.address(ipv6)),
                input: Known::from_option(DeviceName::new(numbers.one(&["eth0", "eth1", "lo"]))),
                protocol: Known::Is(numbers.one(&[6, 17, 2])),
                mark: numbers.one(&[Known::Unknown, Known::Is(0), Known::Is(1)]),
                uid: Known::Is(1000),
                ..Packet::default()
            };
            let bound = numbers.one(&[None, None, DeviceName::new("eth1")]);
            let again = [ground.ask_first(&packet, bound), ground.ask_next(&packet, bound), ground.ask_in(&packet)];
            let known = [ground.first_route(&packet, bound), ground.next_route(&packet, bound), ground.way_in(&packet)];
            assert_eq!(known, again.map(|looked| looked.map(Leads::from)), "case {case}: {packet:?} {bound:?}");
            for end in [packet.source, packet.destination] {
                let Known::Is(end) = end else { continue };
                assert_eq!(ground.is_own(end), ground.routes().is_own(end), "case {case}: {end}");
            }
            asked += 3;
        }
        kept += asked - ground.answers.given.borrow().len();
    }
    assert!(kept > 4000, "{kept} answers were known");
}

#[test]
fn ends_of_the_same_groups_go_the_same_way() {
    let mut numbers = Numbers(8_000_009);
    let (mut asked, mut apart) = (0, 0);
    for case in 0..30 {
        let snapshot = pod(&mut numbers);
        let ground = Ground::of(&snapshot).expect("routes");
        for ipv6 in [false, true] {
            let groups = ground.groups(ipv6);
            let of = |address: IpAddr| {
                let within = |group: &Group| group.iter().any(|(from, to)| (*from..=*to).contains(&number(address)));
                groups.iter().position(within).expect("each address is in one")
            };
            let packet = Packet {
                input: Known::from_option(DeviceName::new(numbers.one(&["eth0", "eth1"]))),
                protocol: Known::Is(numbers.one(&[6, 2, 132])),
                mark: Known::Is(numbers.one(&[0, 1])),
                ..Packet::default()
            };
            let ways = ground.ways_in(&packet, ipv6, [true, true]);
            apart += ways.len();
            let mut known: HashMap<usize, Looked> = HashMap::new();
            for _ in 0..200 {
                let (from, to) = (numbers.address(ipv6), numbers.address(ipv6));
                let mut holds = ways.iter().enumerate().filter(|(_, (destinations, sources))| {
                    destinations.contains(&of(to)) && sources.contains(&of(from))
                });
                let (way, _) = holds.next().expect("each pair is in one");
                assert!(holds.next().is_none(), "case {case}: {from} {to}");
                let one = Packet { source: Known::Is(from), destination: Known::Is(to), ..packet };
                let looked = ground.way_in(&one).map(Leads::without_source);
                let same = known.entry(way).or_insert_with(|| looked.clone());
                assert_eq!(*same, looked, "case {case}: {from} {to}");
                asked += 1;
            }
        }
    }
    assert!(asked > 10_000 && apart > 200, "{asked} pairs, {apart} ways");
}
