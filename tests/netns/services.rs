//! Services of a cluster as kube-proxy lays them out with nft: a map of services, their chains, a throw of dice among endpoints.

use nslens::analysis::eval::{End, Rulebase};
use nslens::capture::sets::Elements;
use nslens::model::{Hook, Snapshot};
use nslens::packet::{DeviceName, Known, Packet};

use crate::maps::{Sent, ends};
use crate::rules::printed;
use crate::sets::look;
use crate::support::{Lab, require_root};

/// Names of chains are ours; how they hang together is kube-proxy's. `IP`: `ip` or `ip6`; `A`: the pods' network, `S`: the services'.
const SERVICES: &str = "table IP kube-proxy {
    set cluster-ips { type IPv_addr; elements = { S10, S11, S12, S13 }; }
    set nodeport-ips { type IPv_addr; elements = { A2 }; }
    set affinity-web { type IPv_addr; flags dynamic,timeout; timeout 3h; }
    map no-endpoint-services { type IPv_addr . inet_proto . inet_service : verdict; elements = { S13 . tcp . 80 : goto reject-chain }; }
    map no-endpoint-nodeports { type inet_proto . inet_service : verdict; }
    map firewall-ips { type IPv_addr . inet_proto . inet_service : verdict; }
    map service-ips { type IPv_addr . inet_proto . inet_service : verdict; elements = {
        S10 . tcp . 443 : goto service-api, S11 . udp . 53 : goto service-dns, S11 . tcp . 53 : goto service-dns-tcp, S12 . tcp . 80 : goto service-web } }
    map service-nodeports { type inet_proto . inet_service : verdict; elements = { tcp . 30080 : goto external-web } }
    chain filter-prerouting { type filter hook prerouting priority dstnat - 10; ct state new jump firewall-check; }
    chain filter-input { type filter hook input priority -110; ct state new jump nodeport-endpoints-check; ct state new jump service-endpoints-check; }
    chain filter-output { type filter hook output priority -110; ct state new jump service-endpoints-check; ct state new jump firewall-check; }
    chain filter-output-post-dnat { type filter hook output priority -90; ct state new jump cluster-ips-check; }
    chain nat-prerouting { type nat hook prerouting priority dstnat; jump services; }
    chain nat-output { type nat hook output priority -100; jump services; }
    chain nat-postrouting { type nat hook postrouting priority srcnat; jump masquerading; }
    chain services {
        IP daddr . meta l4proto . th dport vmap @service-ips
        IP daddr @nodeport-ips meta l4proto . th dport vmap @service-nodeports
    }
    chain cluster-ips-check { IP daddr @cluster-ips reject comment \"Reject traffic to invalid ports of ClusterIPs\"; IP daddr Snet drop; }
    chain service-endpoints-check { IP daddr . meta l4proto . th dport vmap @no-endpoint-services; }
    chain nodeport-endpoints-check { IP daddr @nodeport-ips meta l4proto . th dport vmap @no-endpoint-nodeports; }
    chain firewall-check { IP daddr . meta l4proto . th dport vmap @firewall-ips; }
    chain reject-chain { counter reject; }
    chain mark-for-masquerade { meta mark set meta mark or 0x4000; }
    chain masquerading { meta mark & 0x4000 == 0 return; meta mark set meta mark ^ 0x4000; masquerade fully-random; }
    chain service-api { IP daddr S10 tcp dport 443 IP saddr != Anet jump mark-for-masquerade; numgen random mod 1 vmap { 0 : goto endpoint-api }; }
    chain service-dns { IP daddr S11 udp dport 53 IP saddr != Anet jump mark-for-masquerade; numgen random mod 2 vmap { 0 : goto endpoint-dns-1, 1 : goto endpoint-dns-2 }; }
    chain service-dns-tcp { numgen random mod 1 vmap { 0 : goto endpoint-dns-tcp }; }
    chain service-web { IP saddr @affinity-web goto endpoint-web-1; numgen random mod 2 vmap { 0 : goto endpoint-web-1, 1 : goto endpoint-web-2 }; }
    chain external-web { jump mark-for-masquerade; goto service-web; }
    chain endpoint-api { IP saddr A9 jump mark-for-masquerade; meta l4proto tcp dnat to A9_6443; }
    chain endpoint-dns-1 { IP saddr A21 jump mark-for-masquerade; meta l4proto udp dnat to A21_53; }
    chain endpoint-dns-2 { IP saddr A22 jump mark-for-masquerade; meta l4proto udp dnat to A22_53; }
    chain endpoint-dns-tcp { meta l4proto tcp dnat to A21_53; }
    chain endpoint-web-1 { IP saddr A31 jump mark-for-masquerade; update @affinity-web { IP saddr }; meta l4proto tcp dnat to A31_8080; }
    chain endpoint-web-2 { IP saddr A32 jump mark-for-masquerade; update @affinity-web { IP saddr }; meta l4proto tcp dnat to A32_8080; }
}
";

/// An address of a pod.
fn pod_address(ipv6: bool, host: &str) -> String {
    if ipv6 { format!("fd00::{host}") } else { format!("10.0.0.{host}") }
}

fn service(ipv6: bool, host: &str) -> String {
    if ipv6 { format!("fd96::{host}") } else { format!("172.30.0.{host}") }
}

/// The rule set of a family.
fn text(ipv6: bool) -> String {
    let mut text = SERVICES
        .replace("IPv_", if ipv6 { "ipv6_" } else { "ipv4_" })
        .replace("IP ", if ipv6 { "ip6 " } else { "ip " });
    for (words, network) in [
        ("Anet", if ipv6 { "fd00::/64" } else { "10.0.0.0/24" }),
        ("Snet", if ipv6 { "fd96::/112" } else { "172.30.0.0/16" }),
    ] {
        text = text.replace(words, network);
    }
    for (host, port) in [("9", "6443"), ("21", "53"), ("22", "53"), ("31", "8080"), ("32", "8080")] {
        let address = pod_address(ipv6, host);
        let end = if ipv6 { format!("[{address}]:{port}") } else { format!("{address}:{port}") };
        text = text.replace(&format!("A{host}_{port}"), &end);
    }
    for host in ["21", "22", "31", "32", "9", "2"] {
        text = text.replace(&format!(" A{host} "), &format!(" {} ", pod_address(ipv6, host)));
    }
    for host in ["10", "11", "12", "13"] {
        text = text.replace(&format!("S{host}"), &service(ipv6, host));
    }
    text
}

fn asked(snapshot: &Snapshot, ipv6: bool, (protocol, host, port): (u8, &str, u16)) -> End {
    let address = |text: String| Known::Is(text.parse().expect("an address"));
    let packet = Packet {
        protocol: Known::Is(protocol),
        source: address(pod_address(ipv6, "2")),
        destination: address(service(ipv6, host)),
        source_local: Known::Is(true),
        destination_local: Known::Is(false),
        source_port: Known::Is(40_000),
        destination_port: Known::Is(port),
        input: Known::Absent,
        output: Known::from_option(DeviceName::new("eth0")),
        uid: Known::Is(0),
        gid: Known::Is(0),
        mark: Known::Is(0),
        connection_mark: Known::Is(0),
        state: Known::Is(1 << 3),
        ..Packet::default()
    };
    Rulebase::of(snapshot).through(&[Hook::Output, Hook::Postrouting], &packet, ipv6)
}

/// The end in short: the chain of the rule, and where to.
fn short(end: &End) -> String {
    match end {
        End::Redirected { by, to } => {
            let address = to.address.map_or(String::new(), |address| address.to_string());
            let several = if to.several { "one of several" } else { "" };
            format!("{} {address}{several} {}", by.chain, to.port.unwrap_or_default())
        }
        End::Dropped { by: Some(by) } => format!("dropped {} {}", by.chain, by.number),
        End::Dropped { by: None } => "dropped".to_owned(),
        End::Untouched { .. } => "untouched".to_owned(),
        End::Undecided { because } => because.clone(),
    }
}

/// Counts what gets out to an endpoint.
fn endpoints() -> String {
    let hosts = ["9", "21", "22", "31", "32"];
    let chains: String = hosts.iter().map(|host| format!("chain t{host} {{ counter; }}; ")).collect();
    let lead = |ipv6: bool| hosts.map(|host| format!("{} : jump t{host}", pod_address(ipv6, host))).join(", ");
    format!(
        "table inet q {{ {chains} chain o {{ type filter hook postrouting priority 50; ip daddr vmap {{ {} }}; ip6 daddr vmap {{ {} }}; }}; }}",
        lead(false),
        lead(true)
    )
}

/// The endpoints that packets really go to.
fn really(pod: &Lab, ipv6: bool, (protocol, host, port): (u8, &str, u16)) -> Vec<String> {
    let to = std::net::SocketAddr::new(service(ipv6, host).parse().expect("an address"), port);
    let before = ends(&look(pod, Elements::Cheap));
    for _ in 0..4 {
        Sent { protocol, to, mark: 0 }.send(pod);
    }
    let after = ends(&look(pod, Elements::Cheap)).into_iter().zip(before);
    after.filter(|((_, after), (_, before))| after > before).map(|((name, _), _)| name).collect()
}

#[test]
fn services_lead_to_their_endpoints() {
    if !require_root() {
        return;
    }
    let (pod, _world) = Lab::pod_and_world();
    pod.sh("ip route add default via 10.0.0.5; ip -6 route add default via fd00::5");
    pod.sh(&format!("nft '{}'", endpoints()));
    for ipv6 in [false, true] {
        let file = tempfile::NamedTempFile::new().expect("a file");
        std::fs::write(file.path(), text(ipv6)).expect("written");
        let done = pod.command("nft").arg("-f").arg(file.path()).output().expect("nft runs");
        assert!(done.status.success(), "{}", String::from_utf8_lossy(&done.stderr));
    }
    let snapshot = look(&pod, Elements::Cheap);
    for ipv6 in [false, true] {
        let end = |host: &str| pod_address(ipv6, host);
        for (packet, becomes) in [
            ((6, "10", 443), format!("endpoint-api {} 6443", end("9"))),
            ((17, "11", 53), "service-dns one of several 53".to_owned()),
            ((6, "11", 53), format!("endpoint-dns-tcp {} 53", end("21"))),
            ((6, "12", 80), "service-web one of several 8080".to_owned()),
            ((6, "13", 80), "dropped reject-chain 1".to_owned()),
            ((6, "10", 80), "dropped cluster-ips-check 1".to_owned()),
            ((17, "10", 443), "dropped cluster-ips-check 1".to_owned()),
            ((6, "77", 443), "dropped cluster-ips-check 2".to_owned()),
        ] {
            assert_eq!(short(&asked(&snapshot, ipv6, packet)), becomes, "{ipv6} {packet:?}");
            let went = really(&pod, ipv6, packet);
            let one_of: &[&str] = match packet {
                (17, "11", 53) => &["t21", "t22"],
                (6, "12", 80) => &["t31", "t32"],
                (6, "10", 443) => &["t9"],
                (6, "11", 53) => &["t21"],
                _ => &[],
            };
            assert!(went.iter().all(|end| one_of.contains(&end.as_str())), "{ipv6} {packet:?}: {went:?}");
            assert_eq!(went.is_empty(), one_of.is_empty(), "{ipv6} {packet:?}: {went:?}");
        }
    }
    let shown = printed(&pod, &["rules"]);
    let last = shown.rsplit("\n\n").next().unwrap_or_default().replace('\n', " ");
    assert_eq!(
        last.trim(),
        "Outbound TCP is not redirected unless a rule above says so, inbound TCP is redirected only to port 30080 (it goes to 8080). \
         Further exceptions: outbound redirected by rules kube-proxy endpoint-api 2, kube-proxy endpoint-dns-tcp 1 and kube-proxy \
         service-web 2; outbound dropped by rules kube-proxy reject-chain 1, kube-proxy cluster-ips-check 1 and kube-proxy \
         cluster-ips-check 2; inbound redirected by rules kube-proxy endpoint-api 2, kube-proxy endpoint-dns-tcp 1 and kube-proxy \
         service-web 2. DNS over UDP goes to 53. IPv6: the same."
    );
    for words in [
        "everything → as a map says (ip daddr . meta l4proto . th dport vmap @service-ips)",
        "all TCP → sent to [fd00::31]:8080",
    ] {
        let shown = shown.split_whitespace().collect::<Vec<_>>().join(" ");
        assert!(shown.contains(words), "{shown}");
    }
}
