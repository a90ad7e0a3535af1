//! What was once said too surely: rules of which one could believe to know what they do, beside what they really do.

use std::net::{Ipv4Addr, SocketAddrV4, TcpListener, TcpStream};
use std::os::fd::AsRawFd;
use std::time::Duration;

use nix::sys::socket::{
    AddressFamily, Backlog, SockFlag, SockType, SockaddrIn, bind, listen, setsockopt, socket, sockopt,
};
use nslens::analysis::eval::{End, Rulebase};
use nslens::analysis::overview::Overview;
use nslens::analysis::paths::blocks;
use nslens::capture::sets::Elements;
use nslens::model::Hook;
use nslens::packet::{Known, Packet};

use crate::order::{dial, inbound, loaded, outbound, said, saying, serve, table, taken};
use crate::sets::look;
use crate::support::{Lab, require_root};

const PROGRAMS: [&str; 2] = ["iptables-legacy", "iptables-nft"];

/// The rules, `IPT` being each program in turn.
fn each(rules: &str, becomes: &str) {
    for program in PROGRAMS {
        outbound(&format!("set -e\n{}", rules.replace("IPT", program)), becomes);
    }
}

/// Nobody claims to know, and a connection has this fate.
fn undecided(rules: &str, becomes: &str) {
    let (pod, _world, summary) = loaded(&format!("set -e\n{rules}"));
    let (found, said) = (dial(&pod, "10.0.0.5:80"), said(&summary.outbound.fate));
    assert!(found == becomes && said.starts_with("undecided"), "{found}, {said} with\n{rules}");
}

#[test]
fn a_translation_of_the_port_alone_leaves_the_address() {
    if !require_root() {
        return;
    }
    let sent = "IPT -t nat -A OUTPUT -p tcp -j DNAT --to-destination :15001\n";
    each(&format!("{sent}IPT -A OUTPUT -p tcp ! -d 127.0.0.0/8 -j DROP"), "dropped");
    each(&format!("{sent}IPT -A OUTPUT -p tcp --dport 15001 -m addrtype ! --dst-type LOCAL -j DROP"), "dropped");
    let native = "chain n { type nat hook output priority -100; meta l4proto tcp dnat to :15001; }";
    outbound(
        &table(&[
            native,
            "chain o { type filter hook output priority 0; oifname \"eth0\" ip daddr != 127.0.0.1 drop; }",
        ]),
        "dropped",
    );
    // It leaves, and does not come in again.
    let (pod, world, summary) =
        loaded(&table(&[native, "chain i { type filter hook prerouting priority 0; iifname \"lo\" drop; }"]));
    serve(&world, "10.0.0.5:15001", "world");
    assert_eq!((dial(&pod, "10.0.0.5:80").as_str(), said(&summary.outbound.fate).as_str()), ("world", "15001"));
    let shown = crate::rules::printed(&pod, &["rules"]);
    assert!(shown.contains("goes to port 15001 of the same address") && !shown.contains("again and again"), "{shown}");
    let inward = "chain n { type nat hook prerouting priority -100; meta l4proto tcp dnat to :15001; }";
    inbound(&table(&[inward]), "15001");
    inbound(
        &table(&[inward, "chain i { type filter hook input priority 0; ip daddr != 127.0.0.1 tcp dport 15001 drop; }"]),
        "dropped",
    );
}

#[test]
fn a_translated_source_is_seen_by_what_comes_later() {
    if !require_root() {
        return;
    }
    let redirect = "IPT -t nat -A OUTPUT -p tcp -j REDIRECT --to-ports 15001\n";
    let source = format!("{redirect}IPT -t nat -A POSTROUTING -p tcp -j SNAT --to-source 127.0.0.9\n");
    for (rules, asked, becomes) in [
        (&source, "-s 127.0.0.9", "dropped"),
        (&source, "! -s 127.0.0.9", "15001"),
        (&source, "-m conntrack --ctstate SNAT", "dropped"),
        (&source, "-m conntrack ! --ctstate SNAT", "15001"),
        (&source, "-m conntrack --ctstate NEW", "dropped"),
        (&redirect.to_owned(), "-m conntrack --ctstate SNAT", "15001"),
        (&redirect.to_owned(), "-m conntrack --ctstate DNAT", "dropped"),
    ] {
        each(&format!("{rules}IPT -t mangle -A PREROUTING -p tcp --dport 15001 {asked} -j DROP"), becomes);
    }
    let masquerade = "chain s { type nat hook postrouting priority 100; masquerade; }";
    let output = "chain n { type nat hook output priority -100; meta l4proto tcp redirect to :15001; }";
    let again =
        |rule: &str| format!("chain i {{ type filter hook prerouting priority 0; tcp dport 15001 {rule} drop; }}");
    undecided(&table(&[output, masquerade, &again("ip saddr 127.0.0.1")]), "15001");
    outbound(&table(&[output, masquerade, &again("ct state new")]), "dropped");
    let moved = "IPT -t nat -A POSTROUTING -p tcp -j NETMAP --to 127.7.0.0/16\n";
    each(&format!("{redirect}{moved}IPT -t mangle -A PREROUTING -p tcp -s 127.7.0.0/16 -j DROP"), "dropped");
}

#[test]
fn what_is_sent_where_it_was_going_is_not_translated() {
    if !require_root() {
        return;
    }
    for (to, becomes) in [("15001", "15001"), ("80", "dropped")] {
        let rules = format!(
            "iptables-nft -t nat -A OUTPUT -p tcp -j REDIRECT --to-ports {to}
             iptables-nft -A OUTPUT -p tcp --dport {to} -m conntrack --ctstate DNAT -j DROP"
        );
        let (pod, _world, snapshot) = taken(&rules);
        let packet = Packet {
            protocol: Known::Is(6),
            source: Known::Is(Ipv4Addr::LOCALHOST.into()),
            destination: Known::Is(Ipv4Addr::LOCALHOST.into()),
            destination_local: Known::Is(true),
            destination_port: Known::Is(15001),
            state: Known::Is(8),
            ..Packet::default()
        };
        let end = Rulebase::of(&snapshot).through(&[Hook::Output], &packet, false);
        assert_eq!(dial(&pod, "127.0.0.1:15001"), becomes);
        assert_eq!(matches!(end, End::Dropped { .. }), becomes == "dropped", "{end:?}");
        // Nat chains are asked about what begins a connection, and about nothing else (K1).
        let later = Packet { state: Known::Is(2), ..packet };
        let end = Rulebase::of(&snapshot).through(&[Hook::Output], &later, false);
        assert!(matches!(end, End::Untouched { .. }), "{end:?}");
    }
}

/// A proxy that takes what was sent to others; its packets have a mark.
fn transparent(lab: &Lab, port: u16, mark: u32) -> TcpListener {
    let open = || {
        let socket = socket(AddressFamily::Inet, SockType::Stream, SockFlag::SOCK_CLOEXEC, None).expect("a socket");
        setsockopt(&socket, sockopt::IpTransparent, &true).expect("transparent");
        setsockopt(&socket, sockopt::Mark, &mark).expect("marked");
        bind(socket.as_raw_fd(), &SockaddrIn::from(SocketAddrV4::new(Ipv4Addr::UNSPECIFIED, port))).expect("bound");
        listen(&socket, Backlog::MAXCONN).expect("listens");
        TcpListener::from(socket)
    };
    lab.netns().enter(open).expect("inside")
}

#[test]
fn behind_a_transparent_proxy_the_destination_is_translated_all_the_same() {
    if !require_root() {
        return;
    }
    for (asked, dropped) in [("15001", true), ("80", false)] {
        let (pod, world, summary) = loaded(&format!(
            "set -e
             iptables-legacy -t mangle -A PREROUTING -p tcp -j TPROXY --on-port 15006
             iptables-legacy -t nat -A PREROUTING -p tcp -j REDIRECT --to-ports 15001
             iptables-legacy -A INPUT -p tcp --dport {asked} -j DROP"
        ));
        let _proxy = transparent(&pod, 15006, 0);
        assert_eq!(dial(&world, "10.0.0.2:80"), "dropped", "the proxy does not speak");
        let counted = pod.sh("iptables-legacy -nvxL INPUT").lines().nth(2).expect("the rule").trim().to_owned();
        let expected = if dropped { "dropped" } else { "15006" };
        assert_eq!(
            (!counted.starts_with("0 "), said(&summary.inbound.fate).as_str()),
            (dropped, expected),
            "{counted}"
        );
    }
}

#[test]
fn a_match_may_give_a_packet_the_mark_of_a_socket() {
    if !require_root() {
        return;
    }
    for program in PROGRAMS {
        for (restores, connects) in [("--restore-skmark", false), ("", true)] {
            let (pod, world, summary) = loaded(&format!(
                "set -e
                 {program} -t mangle -A PREROUTING -p tcp -m socket --transparent --nowildcard {restores} -m mark --mark 9
                 {program} -t mangle -A PREROUTING -p tcp -m mark --mark 7 -j DROP"
            ));
            let _proxy = transparent(&pod, 8080, 7);
            let connect =
                || TcpStream::connect_timeout(&([10, 0, 0, 2], 8080).into(), Duration::from_millis(600)).is_ok();
            assert_eq!(world.netns().enter(connect).expect("inside"), connects, "{program} {restores}");
            assert_eq!(said(&summary.inbound.fate) == "direct", connects, "{:?}", summary.inbound.fate);
        }
    }
}

#[test]
fn of_three_chains_at_one_priority_each_may_be_the_first() {
    if !require_root() {
        return;
    }
    let chain = |name: &str, port: u16| {
        format!(
            "nft 'table ip {name} {{ chain n {{ type nat hook output priority -100; meta l4proto tcp redirect to :{port}; }}; }}'\n"
        )
    };
    // Listed in the order in which the tables were made, and met in that of the chains.
    let tables = "nft 'add table ip a; add table ip b; add table ip c'\n".to_owned();
    let rules = [tables, chain("a", 15001), chain("c", 15001), chain("b", 80)].concat();
    undecided(&rules, "direct");
    outbound(&[chain("a", 15001), chain("c", 15001), chain("b", 15001)].concat(), "15001");
    // One that asks nothing is no rival.
    outbound(&format!("{}iptables-legacy -t nat -S", chain("a", 15001)), "15001");
}

#[test]
fn netmap_behind_the_choice_of_the_route_redirects_nothing() {
    if !require_root() {
        return;
    }
    for program in PROGRAMS {
        for (chain, redirects) in [("POSTROUTING", false), ("INPUT", false), ("PREROUTING", true), ("OUTPUT", true)] {
            let (_pod, _world, snapshot) = taken(&format!(
                "{program} -t nat -N moves
                 {program} -t nat -A moves -j NETMAP --to 10.7.0.0/16
                 {program} -t nat -A {chain} -p udp -j moves"
            ));
            assert_eq!(!blocks(&snapshot, false).is_empty(), redirects, "{program} {chain}");
            assert_eq!(Overview::of(&snapshot).redirects, Some(redirects), "{program} {chain}");
        }
    }
}

#[test]
fn a_set_that_rules_change_is_not_what_it_was() {
    if !require_root() {
        return;
    }
    let nat = |rule: &str| format!("chain n {{ type nat hook output priority -100; {rule} redirect to :15001; }}");
    let adds = |what: &str| format!("chain a {{ type filter hook output priority -150; {what}; }}");
    for (set, key) in [("ipv4_addr", "ip daddr"), ("inet_service", "tcp dport"), ("uid", "meta skuid")] {
        let set = format!("set s {{ type {set}; }}");
        let asked = format!("meta l4proto tcp {key} @s");
        undecided(&table(&[&set, &adds(&format!("meta l4proto tcp add @s {{ {key} }}")), &nat(&asked)]), "15001");
        outbound(&table(&[&set, &nat(&asked)]), "direct");
    }
    // An element with a limit of its own is not always found.
    let element = "set s { type uid; quota over 1 mbytes; elements = { 0 }; }";
    let (pod, _world, snapshot) = taken(&table(&[element, &nat("meta l4proto tcp meta skuid @s")]));
    let packet = Packet { protocol: Known::Is(6), uid: Known::Is(0), ..Packet::default() };
    let end = Rulebase::of(&snapshot).through(&[Hook::Output], &packet, false);
    assert!(dial(&pod, "10.0.0.5:80") == "direct" && matches!(end, End::Undecided { .. }), "{end:?}");
}

#[test]
fn an_ipset_that_a_rule_changes_by_a_list_is_not_what_it_was() {
    if !require_root() {
        return;
    }
    for (set, becomes) in [("list", "15001"), ("other", "direct")] {
        let (pod, _world, mut snapshot) = taken(&format!(
            "set -e
             ipset create member hash:ip; ipset create list list:set; ipset add list member; ipset create other hash:ip
             iptables-legacy -t mangle -A OUTPUT -p tcp -j SET --add-set {set} dst
             iptables-legacy -t nat -A OUTPUT -p tcp -m set --match-set member dst -j REDIRECT --to-ports 15001"
        ));
        snapshot.ipsets = look(&pod, Elements::All).ipsets;
        let fate = nslens::analysis::summary::summarise(&snapshot, false).outbound.fate;
        assert_eq!(dial(&pod, "10.0.0.5:80"), becomes);
        match becomes {
            "direct" => assert_eq!(said(&fate), "direct"),
            _ => assert!(said(&fate).starts_with("undecided"), "{fate:?}"),
        }
    }
}

#[test]
fn what_is_for_another_family_is_for_nobody() {
    if !require_root() {
        return;
    }
    outbound(&table(&["chain o { type filter hook output priority 0; meta protocol ip6 drop; }"]), "direct");
    outbound(&table(&["chain o { type filter hook output priority 0; meta protocol ip drop; }"]), "dropped");
    for number in [3, 7] {
        let inet = format!(
            "nft 'table inet f {{ chain o {{ type filter hook output priority 0; meta nfproto {number} drop; }}; }}'"
        );
        undecided(&inet, "direct");
    }
}

#[test]
fn any_device_is_found_where_there_is_none() {
    if !require_root() {
        return;
    }
    for (asked, becomes) in [("-i +", "15001"), ("! -i +", "direct"), ("-o +", "15001"), ("! -o +", "direct")] {
        each(
            &format!(
                "IPT -t nat -N user; IPT -t nat -A OUTPUT -j user
                 IPT -t nat -A user -p tcp {asked} -j REDIRECT --to-ports 15001"
            ),
            becomes,
        );
    }
}

#[test]
fn a_mark_may_lead_a_packet_in_again() {
    if !require_root() {
        return;
    }
    let routes = "ip rule add fwmark 1 lookup 100; ip route add local default dev lo table 100\n";
    let drops = "iptables-legacy -t raw -A PREROUTING -p tcp -i lo -j DROP\n";
    for program in PROGRAMS {
        let marks = format!("{program} -t mangle -A OUTPUT -p tcp -j MARK --set-mark 1\n");
        undecided(&format!("{routes}{marks}{drops}"), "dropped");
        undecided(&format!("{marks}{drops}"), "direct");
        outbound(&marks, "direct");
        outbound(&format!("{drops}{}", marks.replace("set-mark 1", "set-mark 0")), "direct");
        outbound(&format!("{drops}{}", marks.replace("-p tcp", "-p udp")), "direct");
    }
    let filter = table(&["chain o { type filter hook output priority -150; meta mark set 1; }"]);
    outbound(&format!("{routes}{drops}{filter}"), "direct");
    undecided(&format!("{routes}{drops}{}", filter.replace("type filter", "type route")), "dropped");
}

#[test]
fn where_a_translated_packet_leaves_is_not_guessed() {
    if !require_root() {
        return;
    }
    let other = "ip link add x0 type veth peer name x1; ip link set x0 up\n";
    let egress = "nft 'table netdev d { chain e { type filter hook egress device x0 priority 0; drop; }; }'\n";
    let nat = |to: &str| format!("iptables-legacy -t nat -A OUTPUT -p tcp -j DNAT --to-destination {to}\n");
    let (pod, world, summary) = loaded(&format!("{other}{egress}{}", nat("10.0.0.5:15001")));
    serve(&world, "10.0.0.5:15001", "world");
    assert_eq!(dial(&pod, "10.0.0.5:80"), "world");
    assert!(said(&summary.outbound.fate).contains("passes the device"), "{:?}", summary.outbound.fate);
    // An address of its own, of which the rules do not say that it is.
    let drops = "iptables-legacy -t raw -A PREROUTING -p tcp --dport 15001 -j DROP\n";
    let own = "ip addr add 10.7.7.7/32 dev lo\n";
    undecided(&format!("{own}{drops}{}", nat("10.7.7.7:15001")), "dropped");
    outbound(&format!("{own}{}", nat("10.7.7.7:15001")), "15001");
    assert_eq!(saying(&nat("127.0.0.1:15001"), false), "15001");
}

#[test]
fn chains_are_left_as_the_kernel_leaves_them() {
    if !require_root() {
        return;
    }
    const REDIRECT: &str = "IPT -t nat -A OUTPUT -p tcp -j REDIRECT --to-ports 15001\n";
    for (rules, becomes) in [
        // From a chain that was gone to, back to the caller of the one that went.
        ("-A OUTPUT -j a|-A a -g b|-A a -p tcp -j REDIRECT --to-ports 9|-A b -p udp -j RETURN", "15001"),
        ("-A OUTPUT -g a|-A a -p udp -j RETURN", "direct"),
        ("-A OUTPUT -g a|-A a -p tcp -j RETURN", "direct"),
        ("-A OUTPUT -j a|-A a -p tcp -j RETURN|-A a -p tcp -j REDIRECT --to-ports 9", "15001"),
        ("-A OUTPUT -j a|-A a -p tcp -j ACCEPT", "direct"),
        ("-A OUTPUT -p tcp -j RETURN", "direct"),
        ("-A OUTPUT -j a|-A a -j b|-A b -p tcp -j RETURN|-A a -p tcp -j ACCEPT", "direct"),
    ] {
        let rules: String = rules.split('|').map(|rule| format!("IPT -t nat {rule}\n")).collect();
        each(&format!("IPT -t nat -N a; IPT -t nat -N b\n{rules}{REDIRECT}"), becomes);
    }
    for (rules, becomes) in [
        ("-A OUTPUT -p tcp -j RETURN|-A OUTPUT -p tcp -j ACCEPT", "dropped"),
        ("-A OUTPUT -j a|-A a -p tcp -j RETURN|-A OUTPUT -p tcp -j ACCEPT", "direct"),
        ("-A OUTPUT -g a|-A a -p udp -j ACCEPT|-A OUTPUT -p tcp -j ACCEPT", "dropped"),
        ("-A OUTPUT -j a|-A a -p tcp -j ACCEPT", "direct"),
    ] {
        let rules: String = rules.split('|').map(|rule| format!("IPT {rule}\n")).collect();
        each(&format!("IPT -N a; IPT -P OUTPUT DROP\n{rules}"), becomes);
    }
    // An accept ends its own chain of the hook, and none behind it (K28).
    let accepts = "chain o { type filter hook output priority 0; accept; }";
    let drops = "chain p { type filter hook output priority 1; meta l4proto tcp drop; }";
    outbound(&table(&[accepts, drops]), "dropped");
    let first = "chain m { type nat hook output priority -110; accept; }";
    let second = "chain n { type nat hook output priority -100; meta l4proto tcp redirect to :15001; }";
    outbound(&table(&[first, second]), "15001");
}
