//! Packets that connections have: those with other ends are told only to who asks for them.

use std::net::IpAddr;

use super::{Area, Class, Kind};
use crate::analysis::diagram::Values;
use crate::analysis::trace::Verdict;
use crate::model::{Interface, Snapshot};
use crate::packet::number;

/// The usual ends of packets of a kind, as an area: no groups, no broadcasts, nothing from an address of the workload itself; and for
/// itself, where it forwards nothing.
#[must_use]
pub fn usual(snapshot: &Snapshot, kind: &Kind, classes: &[&Class<'_>]) -> Area {
    let ipv6 = kind.ipv6;
    let interfaces = || snapshot.interfaces.iter().flatten();
    let own = |interface: &Interface| {
        let addresses: Vec<IpAddr> = interface.addresses.iter().map(|(address, _)| *address).collect();
        addresses.into_iter().filter(|address| address.is_ipv6() == ipv6).map(number).collect::<Vec<u128>>()
    };
    let nobodys: Vec<(u128, u128)> = match ipv6 {
        false => vec![(0, 0x00ff_ffff), (0x7fff_ffff, 0x7fff_ffff), (0xe000_0000, u32::MAX.into())],
        true => vec![(0, 0), (0xffff << 32, (0xffff << 32) | 0xffff_ffff), (0xff << 120, u128::MAX)],
    };
    let mut area = Area { destinations: others(&nobodys, ipv6), ..Area::default() };
    if kind.incoming {
        let mut strange = nobodys;
        strange.push(if ipv6 { (1, 1) } else { (0x7f00_0000, 0x7fff_ffff) });
        strange.extend(interfaces().flat_map(own).map(|address| (address, address)));
        for own in snapshot.routes.iter().flat_map(|routes| routes.addresses.iter().flatten()) {
            let rest = match own.network.address {
                IpAddr::V4(first) if !ipv6 => {
                    Some((u32::from(first), u32::MAX.checked_shr(own.network.bits.into()).unwrap_or(0)))
                }
                _ => None,
            };
            strange.extend(rest.map(|(first, rest)| (u128::from(first | rest), u128::from(first | rest))));
        }
        area.sources = others(&strange, ipv6);
        let here =
            interfaces().find(|interface| kind.interface.is_some_and(|device| device.as_str() == interface.name));
        let forwards = classes.iter().flat_map(|class| &class.outcomes).any(|outcome| outcome.verdict == Verdict::Sent);
        let addresses = here.map(own).unwrap_or_default();
        if !forwards && !addresses.is_empty() {
            area.destinations = addresses.into_iter().map(|own| Values::Range { from: own, to: own }).collect();
        }
    }
    area
}

/// All addresses but these.
fn others(these: &[(u128, u128)], ipv6: bool) -> Vec<Values> {
    let most = if ipv6 { u128::MAX } else { u32::MAX.into() };
    let mut these = these.to_vec();
    these.sort_unstable();
    let (mut found, mut next) = (Vec::new(), Some(0_u128));
    for (from, to) in these {
        let Some(first) = next else { break };
        if from > first {
            found.push(Values::Range { from: first, to: from - 1 });
        }
        next = next.max(to.checked_add(1)).filter(|_| to < most);
    }
    found.extend(next.map(|first| Values::Range { from: first, to: most }));
    found
}
