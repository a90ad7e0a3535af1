//! Interfaces and addresses are those that `ip` lists.

use std::net::IpAddr;

use crate::look_at;
use crate::support::{Lab, require_root};

#[test]
fn interfaces_are_those_of_ip() {
    if !require_root() {
        return;
    }
    let (pod, _world) = Lab::pod_and_world();
    pod.sh("ip addr add 10.9.0.1 peer 10.9.0.2/32 dev eth0; ip addr add ::6/128 dev lo; ip link add spare type veth");
    let interfaces = look_at(&pod).interfaces.expect("interfaces were read");
    let listed: serde_json::Value = serde_json::from_str(&pod.sh("ip -j addr show")).expect("JSON of ip");
    let listed = listed.as_array().expect("a list");
    assert_eq!(interfaces.len(), listed.len());
    for (ours, theirs) in interfaces.iter().zip(listed) {
        assert_eq!(u64::from(ours.index), theirs["ifindex"].as_u64().expect("an index"));
        assert_eq!(ours.name, theirs["ifname"].as_str().expect("a name"));
        let flags = theirs["flags"].as_array().expect("flags");
        let has = |flag: &str| flags.iter().any(|other| other == flag);
        assert_eq!((ours.up, ours.loopback), (has("UP"), has("LOOPBACK")), "{}", ours.name);
        let mut addresses: Vec<(IpAddr, u8)> = Vec::new();
        for address in theirs["addr_info"].as_array().expect("addresses") {
            let length = address["prefixlen"].as_u64().and_then(|length| u8::try_from(length).ok()).expect("a length");
            let local = address["local"].as_str().expect("an address");
            addresses.push((local.parse().expect("an address"), length));
        }
        assert_eq!(ours.addresses, addresses, "{}", ours.name);
    }
    assert!(listed.len() >= 4, "{listed:?}");
}
