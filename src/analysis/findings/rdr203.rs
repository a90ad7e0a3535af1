//! Settings and rules differ.

use super::{Kind, Page};
use crate::analysis::check::{Case, Found, Going, Severity};
use crate::analysis::mesh::{Contradiction, Setting, Stated, setting_names};
use crate::model::{Endpoint, Protocol};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

pub(super) const KIND: Kind = Kind {
    id: "RDR203",
    title: "Exclusion/inclusion in annotation or config does not match what the rules do",
    severity: Severity::Warning,
    page: Page {
        seen: "An exclusion is ignored, a database still goes through the proxy; or there is an exclusion that nobody \
              remembers.",
        why: "The annotation stands on the deployment instead of the pod, its name is misspelt, it was changed after \
              the start, an address has no length, or an inclusion and an exclusion were combined.",
        evidence: "Each setting that metadata has is asked of the rules: ports, networks, users and modes. Names that are \
              nearly one that the mesh knows, and values that are none, are told too.",
        remedy: "Put it into the pod's template, mend name or value, and make the pod anew: rules are made once.",
        references: &[
            "istio/istio#38415",
            "istio/istio#32677",
            "istio/istio#20307",
            "istio/istio#22902",
            "linkerd/linkerd2#5242",
        ],
    },
    silenced_by: &["RDR009", "RDR001"],
    look,
};

fn look(case: &Case<'_>, found: &mut Found) {
    let expected = &case.expected;
    misspelt(case, found);
    if expected.mesh.is_none() || !expected.captures_something() {
        return;
    }
    for one in &expected.contradictions {
        let Contradiction::Setting { stated, found: does } = one else { continue };
        // DNS has findings of its own.
        if stated.setting != Setting::Dns {
            differs(found, stated, does);
        }
    }
    for stated in &expected.stated {
        if let Some(does) = networks(case, stated) {
            differs(found, stated, &does);
        }
    }
}

fn differs(found: &mut Found, stated: &Stated, does: &str) {
    let finding = KIND.found(
        format!("{} is {:?}, and the rules do otherwise", stated.from, stated.value),
        "look where it is set and whether it is well written, then make the pod anew: rules are made once",
    );
    found.finding(finding.because(does));
}

/// What rules do otherwise with networks that are to be left alone, or to be captured.
fn networks(case: &Case<'_>, stated: &Stated) -> Option<String> {
    let captured = match stated.setting {
        Setting::ExcludedNetworks => false,
        Setting::IncludedNetworks => true,
        _ => return None,
    };
    for word in stated.value.split(',').map(str::trim).filter(|word| !word.is_empty() && *word != "*") {
        let Some(network) = network(word) else {
            return Some(format!("{word:?} is no network: ADDRESS/LENGTH is wanted"));
        };
        if !case.families().contains(&network.is_ipv6()) {
            continue;
        }
        let to = Endpoint::new(network, case.port());
        for who in case.identities() {
            let going = case.dials(who.as_ref(), Protocol::Tcp, to);
            match (going.is_captured(), captured) {
                (true, false) => return Some(format!("a connection to {to} is captured")),
                (false, true) if matches!(going, Going::Direct(_)) => {
                    return Some(format!("a connection to {to} is not captured"));
                }
                _ => {}
            }
        }
    }
    None
}

/// An address of a network: its second, where it has one.
fn network(word: &str) -> Option<IpAddr> {
    let (address, bits) = word.split_once('/')?;
    let (address, bits) = (address.parse().ok()?, bits.parse::<u8>().ok()?);
    match address {
        IpAddr::V4(address) if bits <= 32 => Some(Ipv4Addr::from(u32::from(address) | u32::from(bits < 32)).into()),
        IpAddr::V6(address) if bits <= 128 => Some(Ipv6Addr::from(u128::from(address) | u128::from(bits < 128)).into()),
        _ => None,
    }
}

/// Annotations that are nearly one that a mesh knows.
fn misspelt(case: &Case<'_>, found: &mut Found) {
    for name in case.snapshot.workload.annotations.keys() {
        let Some((prefix, _)) = name.split_once('/') else { continue };
        let of_prefix =
            || setting_names().filter(|known| known.split_once('/').is_some_and(|(known, _)| known == prefix));
        if of_prefix().any(|known| known == name) {
            continue;
        }
        let near = of_prefix().find(|known| distance(known, name) <= NEAR);
        if let Some(near) = near {
            let finding = KIND.found(
                format!("annotation {name} is not known to the mesh"),
                format!("{near} may have been meant; then make the pod anew"),
            );
            found.finding(finding.because(format!("nearly the same is {near}")));
        }
    }
}

/// Letters in which a misspelt name may differ.
const NEAR: usize = 2;

/// How many letters have to be changed, taken away or put in to make one of the other (Levenshtein); capitals are letters of their own.
fn distance(one: &str, other: &str) -> usize {
    let other: Vec<char> = other.chars().collect();
    let mut row: Vec<usize> = (0..=other.len()).collect();
    for (at, letter) in one.chars().enumerate() {
        let mut before = at;
        let mut next = vec![at + 1];
        for (place, against) in other.iter().enumerate() {
            let (above, left) =
                (row.get(place + 1).copied().unwrap_or_default(), next.last().copied().unwrap_or_default());
            next.push((before + usize::from(letter != *against)).min(above + 1).min(left + 1));
            before = above;
        }
        row = next;
    }
    row.last().copied().unwrap_or_default()
}
