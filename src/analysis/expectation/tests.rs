//! Files of expectations that are right and wrong.

use super::*;

#[test]
fn a_file_is_read_whole() {
    let text = "mesh: istio\nfamilies: [ip, ip6]\npackets:\n  - destination: 10.0.0.5:443\n    uid: 1000\n    expect: {verdict: delivered, destination: '127.0.0.1:15001'}\n  - {direction: in, destination: 'self6:80', expect: {receiver_port: 15006}}\nallow:\n  - {id: rdr402, because: no IPv6 here}\n";
    let read = Expectation::read(text).expect("an expectation");
    assert_eq!(read.mesh, Some(MeshExpected::Demanded(Demand::Mesh(Mesh::Istio))));
    assert_eq!(read.families, [false, true]);
    let words: Vec<String> = read.packets.iter().map(Packet::words).collect();
    assert_eq!(words, ["uid 1000 → 10.0.0.5:443", "from outside → self6:80"]);
    assert_eq!(read.packets[0].expected(), "delivered at 127.0.0.1:15001");
    assert_eq!(read.allow, [Allowed { id: "RDR402".to_owned(), reason: "no IPv6 here".to_owned() }]);
    let least = Expectation::read("mesh: none\n").expect("an expectation");
    assert_eq!((least.mesh, least.demand()), (Some(MeshExpected::None), None));
}

#[test]
fn what_is_not_known_is_named_with_its_line() {
    let wrong = |text: &str| Expectation::read(text).expect_err(text);
    for (text, line) in [
        ("mesh: istio\nport: 15001\n", "line 2"),
        ("packets:\n  - destination: 10.0.0.5:443\n    expect: {verdict: sent}\n    user: 1000\n", "line 4"),
        ("packets:\n  - destination: 10.0.0.5:443\n    expect:\n      verdict: sent\n      port: 1\n", "line 5"),
        ("allow:\n  - id: RDR402\n    why: x\n", "line 3"),
        ("mesh: [istio\n", "line"),
    ] {
        let wrong = wrong(text);
        assert!(wrong.contains(line), "{text}: {wrong}");
    }
}

#[test]
fn what_makes_no_sense_is_refused() {
    for (text, part) in [
        ("", "nothing"),
        ("mesh: itsio\n", "itsio"),
        ("families: [ipv6]\n", "ipv6"),
        ("allow: [{id: RDR999, because: x}]\n", "RDR999"),
        ("allow: [{id: RDR402, because: ' '}]\n", "reason"),
        ("packets: [{destination: '10.0.0.5', expect: {verdict: sent}}]\n", "packet 1 (10.0.0.5)"),
        ("packets: [{destination: '10.0.0.5:1', expect: {}}]\n", "wanted"),
        ("packets: [{destination: '10.0.0.5:1', expect: {verdict: send}}]\n", "send"),
        ("packets: [{destination: '10.0.0.5:1', expect: {destination: web}}]\n", "web"),
        ("packets: [{destination: 'selfish:1', expect: {verdict: sent}}]\n", "selfish"),
        ("packets: [{destination: '10.0.0.5:1', state: old, expect: {verdict: sent}}]\n", "state"),
    ] {
        let wrong = Expectation::read(text).expect_err(text);
        assert!(wrong.contains(part), "{text}: {wrong}");
    }
}

#[test]
fn the_own_addresses_stand_for_themselves() {
    let own = EXAMPLES.map(Some);
    assert_eq!(resolved("self:80", own).as_deref(), Some("192.0.2.1:80"));
    assert_eq!(resolved("self6:80", own).as_deref(), Some("[2001:db8::1]:80"));
    assert_eq!(resolved("self", own).as_deref(), Some("192.0.2.1"));
    assert_eq!(resolved("[fd00::5]:80", own).as_deref(), Some("[fd00::5]:80"));
    assert_eq!(resolved("self6:80", [own[0], None]), None);
}
