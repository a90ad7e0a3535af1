//! Routes, policy rules, addresses and settings as they are read, against what `ip` and `sysctl` say of the same namespace.

use std::collections::BTreeSet;
use std::net::IpAddr;
use std::path::Path;

use nslens::archive::{self, Loaded};
use nslens::capture::{connections, routes};
use nslens::model::{Family, Kind, Network, NextHop, PolicyRule, Route, RouteKind, RuleAction, Snapshot, Workload};
use serde_json::Value;

use crate::support::{Lab, require_root};
use crate::untouched::{changes, state};

/// Routes and rules of every kind that `ip` can make and show.
const EVERY_KIND: &str = "
    ip link add eth0 type veth peer name eth1
    ip link add eth2 type veth peer name eth3
    for i in 0 1 2 3; do sysctl -qw net.ipv6.conf.eth$i.accept_dad=0; ip link set eth$i up; done
    ip addr add 10.0.0.2/24 dev eth0
    ip addr add 10.0.0.3/24 dev eth0
    ip addr add 172.16.0.1/16 dev eth2
    ip addr add 192.168.7.1 peer 192.168.8.1/32 dev eth1
    ip -6 addr add fd00::2/64 dev eth0 nodad
    ip route add default via 10.0.0.1 metric 5
    ip route add 10.1.0.0/16 nexthop via 10.0.0.1 weight 3 nexthop via 172.16.0.9
    ip route add 10.2.0.0/16 via inet6 fe80::1 dev eth0
    ip route add blackhole 10.3.0.0/16
    ip route add unreachable 10.4.0.0/16 table 100
    ip route add prohibit 10.5.0.0/16 table 100
    ip route add throw 10.6.0.0/16 table 1000
    ip route add 10.7.0.0/16 dev eth2 src 172.16.0.1 tos 0x10 mtu 1400
    ip nexthop add id 7 via 10.0.0.9 dev eth0
    ip route add 10.8.0.0/16 nhid 7
    ip route add local 10.9.0.0/16 dev lo table 100
    ip route add multicast 224.1.0.0/16 dev eth0
    ip route add broadcast 10.0.1.255 dev eth0 table 100
    ip -6 route add fd01::/64 via fd00::1 metric 7
    ip -6 route add fd02::/64 nexthop via fd00::1 nexthop via fd00::3
    ip -6 route add blackhole fd03::/64
    ip -6 route add prohibit fd05::/64
    ip -6 route add throw fd06::/64 table 70000
    ip -6 route add fd04::/64 from fd00::/64 dev eth2 table 200 pref high
    for family in -4 -6; do
        ip $family rule add fwmark 0x5/0xff lookup 100 pref 10
        ip $family rule add uidrange 5-10 ipproto tcp sport 1-5 dport 80 tos 0x10 lookup 70000 pref 12
        ip $family rule add pref 13 goto 20
        ip $family rule add pref 20 lookup main suppress_prefixlength 0
        ip $family rule add pref 23 blackhole fwmark 9
        ip $family rule add pref 24 nop iif nodev
        ip $family rule add pref 25 lookup main suppress_ifgroup 3
        ip $family rule add pref 1000 l3mdev
    done
    ip rule add not from 10.0.0.0/8 to 11.0.0.0/8 iif eth0 oif eth1 lookup 100 pref 11
    ip rule add pref 21 prohibit to 8.0.0.0/8
    ip rule add pref 22 unreachable from 9.0.0.0/8
    ip -6 rule add pref 30 not from fd00::/64 to fd01::1 lookup 200
    sysctl -qw net.ipv4.conf.eth0.rp_filter=2 net.ipv4.conf.all.route_localnet=1 net.ipv6.conf.all.forwarding=1";

/// What is read of how a lab routes, with its interfaces.
pub(crate) fn read(lab: &Lab) -> Snapshot {
    let mut snapshot = Snapshot::of("node", 0, "netns/lab", Workload::named(Kind::Netns, "lab"));
    connections::read_interfaces_into(&mut snapshot, lab.netns(), Path::new("/proc"));
    routes::read_into(&mut snapshot, lab.netns(), Path::new("/proc"));
    assert_eq!(snapshot.unread, []);
    snapshot
}

fn json(lab: &Lab, words: &str) -> Vec<Value> {
    serde_json::from_str(&lab.sh(words)).expect("JSON")
}

/// A value of `ip`'s as text, whatever it is.
fn text(value: &Value) -> String {
    value.as_str().map_or_else(|| value.to_string(), str::to_owned)
}

/// A network as `ip` writes it.
fn network(network: Network) -> String {
    let whole = if network.address.is_ipv6() { 128 } else { 32 };
    match network.bits {
        0 => "default".to_owned(),
        bits if bits == whole => network.address.to_string(),
        bits => format!("{}/{bits}", network.address),
    }
}

fn told_hop(value: &Value) -> String {
    let gateway = value.get("gateway").or_else(|| value["via"].get("host")).map(text).unwrap_or_default();
    let weight = value["weight"].as_u64().unwrap_or(1);
    format!("[{gateway} {} {weight}]", value.get("dev").map(text).unwrap_or_default())
}

/// A route of `ip`'s in words, in the order of [`own_route`]'s.
fn told_route(value: &Value) -> String {
    let hops: Vec<String> = match value["nexthops"].as_array() {
        Some(hops) => hops.iter().map(told_hop).collect(),
        None if value.get("dev").is_none() => Vec::new(),
        None => vec![told_hop(value)],
    };
    let of = |key: &str| value.get(key).map(text);
    let tos = of("tos").map_or(0, |tos| u8::from_str_radix(tos.trim_start_matches("0x"), 16).expect("a number"));
    let number = |key: &str| of(key).map_or(0, |number| number.parse::<u64>().expect("a number"));
    format!(
        "{} {} {:?} tos {tos} table {} made by {} scope {} metric {} {:?} {:?} {hops:?} {:?}",
        number("type"),
        of("dst").unwrap_or_default(),
        of("from"),
        number("table"),
        number("protocol"),
        number("scope"),
        number("metric"),
        of("prefsrc"),
        value.get("nhid").and_then(Value::as_u64),
        of("pref"),
    )
}

fn own_route(route: &Route, snapshot: &Snapshot) -> String {
    let kind = match route.kind {
        RouteKind::Unicast => 1,
        RouteKind::Local => 2,
        RouteKind::Broadcast => 3,
        RouteKind::Anycast => 4,
        RouteKind::Multicast => 5,
        RouteKind::Blackhole => 6,
        RouteKind::Unreachable => 7,
        RouteKind::Prohibit => 8,
        RouteKind::Throw => 9,
        RouteKind::Other(number) => number,
    };
    let hop = |hop: &NextHop| {
        let name = snapshot.interfaces.iter().flatten().find(|interface| interface.index == hop.interface);
        let gateway = hop.gateway.map(|gateway| gateway.to_string()).unwrap_or_default();
        format!("[{gateway} {} {}]", name.map_or("", |interface| &interface.name), hop.weight)
    };
    let preference = route.preference.map(|preference| match preference {
        1 => "high",
        3 => "low",
        _ => "medium",
    });
    format!(
        "{kind} {} {:?} tos {} table {} made by {} scope {} metric {} {:?} {:?} {:?} {:?}",
        network(route.destination),
        route.source.map(network),
        route.tos,
        route.table,
        route.protocol,
        route.scope,
        route.priority,
        route.preferred_source.map(|source| source.to_string()),
        route.next_hop_object,
        route.hops.iter().map(hop).collect::<Vec<_>>(),
        preference,
    )
}

/// A policy rule of `ip`'s in words.
fn told_rule(value: &Value) -> String {
    let of = |key: &str| value.get(key).map(text);
    let side = |key: &str, bits: &str| {
        let address: IpAddr = of(key)?.parse().ok()?;
        let whole = if address.is_ipv6() { 128 } else { 32 };
        let bits = value.get(bits).and_then(Value::as_u64).unwrap_or(whole);
        Some(network(Network { address, bits: u8::try_from(bits).expect("bits") }))
    };
    let ports = |name: &str| {
        let number = |key: String| value.get(&key).and_then(Value::as_u64);
        let first = number(format!("{name}_start")).or_else(|| number(name.to_owned()))?;
        Some((first, number(format!("{name}_end")).unwrap_or(first)))
    };
    let action = match (value.get("goto"), of("action"), value.get("nop"), of("table")) {
        (Some(target), ..) => format!("goto {target}"),
        (_, Some(action), ..) => format!("action {action}"),
        (_, _, Some(_), _) => "nop".to_owned(),
        (.., table) => format!("lookup {}", table.unwrap_or("0".to_owned())),
    };
    let hex = |key: &str| of(key).map(|text| u32::from_str_radix(text.trim_start_matches("0x"), 16).expect("a mark"));
    let mark = hex("fwmark").map(|mark| (mark, hex("fwmask").unwrap_or(u32::MAX)));
    let users = value.get("uid_start").and_then(Value::as_u64).zip(value.get("uid_end").and_then(Value::as_u64));
    let protocol = of("ipproto").map(|name| name.trim_start_matches("ipproto-").to_owned());
    format!(
        "{} {action} not {} {:?} {:?} {:?} {:?} {mark:?} {users:?} {protocol:?} {:?} {:?} tos {} l3mdev {} {:?} {:?}",
        of("priority").unwrap_or_default(),
        value.get("not").is_some(),
        side("src", "srclen"),
        side("dst", "dstlen"),
        of("iif"),
        of("oif"),
        ports("sport"),
        ports("dport"),
        hex("tos").unwrap_or(0),
        value.get("l3mdev").is_some(),
        of("suppress_prefixlen"),
        of("suppress_ifgroup"),
    )
}

fn own_rule(rule: &PolicyRule) -> String {
    let action = match rule.action {
        RuleAction::Lookup(table) => format!("lookup {table}"),
        RuleAction::Goto(target) => format!("goto {target}"),
        RuleAction::Nop => "nop".to_owned(),
        RuleAction::Blackhole => "action 6".to_owned(),
        RuleAction::Unreachable => "action 7".to_owned(),
        RuleAction::Prohibit => "action 8".to_owned(),
        RuleAction::Other(number) => format!("action {number}"),
    };
    assert_eq!(rule.unknown, []);
    format!(
        "{} {action} not {} {:?} {:?} {:?} {:?} {:?} {:?} {:?} {:?} {:?} tos {} l3mdev {} {:?} {:?}",
        rule.priority,
        rule.invert,
        rule.from.map(network),
        rule.to.map(network),
        rule.input,
        rule.output,
        rule.mark,
        rule.users,
        rule.protocol.map(|number| number.to_string()),
        rule.source_ports,
        rule.destination_ports,
        rule.tos,
        rule.vrf,
        rule.suppress_prefix.map(|bits| bits.to_string()),
        rule.suppress_group.map(|group| group.to_string()),
    )
}

#[test]
fn routes_and_rules_are_those_that_ip_lists() {
    if !require_root() {
        return;
    }
    let lab = Lab::new();
    lab.sh(EVERY_KIND);
    let snapshot = read(&lab);
    let routing = snapshot.routes.as_ref().expect("read");
    let (routes, rules) = (routing.routes.as_ref().expect("routes"), routing.rules.as_ref().expect("rules"));
    for (ipv6, flag) in [(false, "-4"), (true, "-6")] {
        let told: Vec<String> =
            json(&lab, &format!("ip {flag} -N -d -j route show table all")).iter().map(told_route).collect();
        let own: Vec<String> =
            routes.iter().filter(|route| route.ipv6() == ipv6).map(|route| own_route(route, &snapshot)).collect();
        assert_eq!(own, told);
        let told: Vec<String> = json(&lab, &format!("ip {flag} -N -d -j rule")).iter().map(told_rule).collect();
        let own: Vec<String> = rules.iter().filter(|rule| rule.ipv6 == ipv6).map(own_rule).collect();
        assert_eq!(own, told);
        assert!(told.len() > 10, "{told:#?}");
    }
    let kinds: BTreeSet<String> = routes.iter().map(|route| format!("{:?}", route.kind)).collect();
    assert!(kinds.len() >= 8, "{kinds:?}");
}

#[test]
fn addresses_and_settings_are_those_of_the_namespace() {
    if !require_root() {
        return;
    }
    let lab = Lab::new();
    lab.sh(EVERY_KIND);
    let snapshot = read(&lab);
    let routing = snapshot.routes.as_ref().expect("read");
    let index = |name: &str| {
        let found = snapshot.interfaces.iter().flatten().find(|interface| interface.name == name);
        found.map(|interface| interface.index).expect("an interface")
    };
    let own = |address: &str| {
        let address: IpAddr = address.parse().expect("an address");
        *routing.addresses.iter().flatten().find(|own| own.address == address).expect("it is there")
    };
    let far: IpAddr = "192.168.8.1".parse().expect("an address");
    assert_eq!((own("192.168.7.1").interface, own("192.168.7.1").network.address), (index("eth1"), far));
    // The second address of a network is a secondary one; that of the loopback is of the host only.
    assert_eq!((own("10.0.0.2").flags & 1, own("10.0.0.3").flags & 1, own("127.0.0.1").scope), (0, 1, 254));
    for (family, device, name) in [
        ("ipv4", "eth0", "rp_filter"),
        ("ipv4", "all", "route_localnet"),
        ("ipv4", "all", "forwarding"),
        ("ipv4", "eth1", "src_valid_mark"),
        ("ipv4", "lo", "accept_local"),
        ("ipv6", "all", "forwarding"),
    ] {
        let told: i32 =
            lab.sh(&format!("sysctl -n net/{family}/conf/{device}/{name}")).trim().parse().expect("a number");
        let read = match family {
            "ipv4" => routing.settings.ipv4(device, name),
            _ => routing.settings.ipv6(device, name),
        };
        assert_eq!(read, Some(told), "{family} {device} {name}");
    }
    assert_eq!(routing.settings.ipv4("eth0", "rp_filter"), Some(2));
}

#[test]
fn a_snapshot_file_keeps_them_and_looking_changes_nothing() {
    if !require_root() {
        return;
    }
    // Devices that are up speak by themselves.
    let lab = Lab::new();
    lab.sh(
        "ip route add 10.0.0.0/8 dev lo; ip route add blackhole 11.0.0.0/8 table 100; ip -6 route add fd00::/8 dev lo
            ip rule add not from 10.0.0.0/8 fwmark 5 lookup 100; ip -6 rule add uidrange 1-2 prohibit",
    );
    let before = state(&lab);
    let snapshot = read(&lab);
    assert_eq!(changes(&before, &state(&lab)), Vec::<String>::new());
    let mut bytes = Vec::new();
    archive::write(&snapshot, false, &mut bytes).expect("memory");
    match archive::read(&bytes, Family::Ip) {
        Ok(Loaded::Snapshot(back)) => assert_eq!(*back, snapshot),
        other => panic!("{other:?}"),
    }
}
