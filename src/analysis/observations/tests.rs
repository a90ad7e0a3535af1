//! What observations are made of.

use std::collections::BTreeSet;
use std::net::IpAddr;

use super::people::within;
use super::{Kind, names};

#[test]
fn lists_name_three_each_once_and_count_the_rest() {
    assert_eq!(names::list(Vec::<u16>::new()), "");
    assert_eq!(names::list([80, 80]), "80");
    assert_eq!(names::list([3, 1, 2, 1]), "1, 2, 3");
    assert_eq!(names::list([5, 4, 3, 2, 1]), "1, 2, 3 and 2 more");
}

#[test]
fn a_neighbour_is_in_the_network_and_a_network_of_one_address_has_none() {
    let within = |address: &str, base: &str, length| {
        let parsed = |text: &str| text.parse::<IpAddr>().expect("an address");
        within(parsed(address), parsed(base), length)
    };
    assert!(within("10.0.0.5", "10.0.0.2", 24) && within("10.0.255.5", "10.0.0.2", 16));
    assert!(
        !within("10.0.1.5", "10.0.0.2", 24) && !within("10.0.0.5", "10.0.0.2", 32) && !within("1.1.1.1", "10.0.0.2", 0)
    );
    assert!(
        within("fd00::5", "fd00::2", 64) && !within("fd01::5", "fd00::2", 64) && !within("fd00::2", "fd00::2", 128)
    );
    assert!(!within("::a00:5", "10.0.0.2", 24) && !within("10.0.0.5", "10.0.0.2", 77));
}

#[test]
fn every_kind_has_a_word_of_its_own() {
    use Kind::{
        Bypass, Elsewhere, Endpoints, HiddenClient, Loop, Mirrored, Node, Older, Stalled, Tunnelled, Unread, Upstream,
    };
    let all =
        [Bypass, Older, Loop, Stalled, Unread, Mirrored, Elsewhere, HiddenClient, Upstream, Tunnelled, Endpoints, Node];
    let words: BTreeSet<&str> = all.into_iter().map(Kind::id).collect();
    assert_eq!(words.len(), all.len());
    assert_eq!(all.iter().filter(|kind| kind.is_ordinary()).count(), 6);
}
