//! What of one workload stands for what of the other: devices by their names, else by their order, and the addresses on them.

use std::net::{IpAddr, Ipv4Addr};

use crate::analysis::coverage::Kind;
use crate::model::{Interface, Snapshot};
use crate::packet::{DeviceName, number};

/// The pairs.
#[derive(Debug, Default)]
pub(super) struct Pairs {
    /// Devices other than loopback.
    devices: Vec<(DeviceName, DeviceName)>,
    /// Addresses that differ.
    addresses: Vec<(IpAddr, IpAddr)>,
    /// The addresses by which all on the link are reached, where they differ: nobody needs to be told of them.
    broadcasts: Vec<(IpAddr, IpAddr)>,
    /// Devices that have no counterpart.
    pub(super) alone: [Vec<DeviceName>; 2],
}

impl Pairs {
    pub(super) fn of(before: &Snapshot, after: &Snapshot) -> Self {
        let outer = |snapshot: &Snapshot| -> Vec<Interface> {
            let all = snapshot.interfaces.iter().flatten();
            all.filter(|interface| !interface.loopback && interface.up).cloned().collect()
        };
        let (mut first, mut second) = (outer(before), outer(after));
        let mut pairs = Self::default();
        let mut paired = Vec::new();
        first.retain(|interface| match second.iter().position(|other| other.name == interface.name) {
            Some(at) => {
                paired.push((interface.clone(), second.remove(at)));
                false
            }
            None => true,
        });
        // Of those with names of their own the first is the first.
        if !first.is_empty() && !second.is_empty() && paired.is_empty() {
            paired.push((first.remove(0), second.remove(0)));
        }
        for (one, other) in &paired {
            pairs.pair(one, other);
        }
        let names = |left: Vec<Interface>| left.iter().filter_map(|one| DeviceName::new(&one.name)).collect();
        pairs.alone = [names(first), names(second)];
        pairs
    }

    /// Addresses of two families that stand for each other.
    pub(super) fn families(addresses: Vec<(IpAddr, IpAddr)>) -> Self {
        Self { addresses, ..Self::default() }
    }

    fn pair(&mut self, one: &Interface, other: &Interface) {
        self.devices.extend(DeviceName::new(&one.name).zip(DeviceName::new(&other.name)));
        for ipv6 in [false, true] {
            let of = |interface: &Interface, not: &Interface| -> Vec<(IpAddr, u8)> {
                let own = interface.addresses.iter().filter(|(address, _)| address.is_ipv6() == ipv6);
                own.filter(|(address, _)| !not.addresses.iter().any(|(other, _)| other == address)).copied().collect()
            };
            for (one, other) in of(one, other).into_iter().zip(of(other, one)) {
                self.addresses.push((one.0, other.0));
                let broadcasts = broadcast(one).zip(broadcast(other)).filter(|(one, other)| one != other);
                self.broadcasts.extend(broadcasts);
            }
        }
    }

    pub(super) fn addresses(&self) -> Vec<(IpAddr, IpAddr)> {
        self.addresses.clone()
    }

    /// Numbers of a family that are to be swapped.
    pub(super) fn swaps(&self, ipv6: bool) -> Vec<(u128, u128)> {
        let all = self.addresses.iter().chain(&self.broadcasts);
        all.filter(|(one, _)| one.is_ipv6() == ipv6).map(|(one, other)| (number(*one), number(*other))).collect()
    }

    /// An address of one side as the other one counts.
    pub(super) fn across(&self, address: IpAddr) -> IpAddr {
        self.addresses.iter().chain(&self.broadcasts).fold(address, |address, (one, other)| match address {
            address if address == *one => *other,
            address if address == *other => *one,
            address => address,
        })
    }

    /// The name that the second has for a device of the first.
    pub(super) fn second(&self, device: DeviceName) -> DeviceName {
        self.devices.iter().find(|(one, _)| *one == device).map_or(device, |(_, other)| *other)
    }

    /// The name that the first has for a device of the second.
    pub(super) fn first(&self, device: DeviceName) -> DeviceName {
        self.devices.iter().find(|(_, other)| *other == device).map_or(device, |(one, _)| *one)
    }

    /// All kinds of packets that both have, as the first counts.
    pub(super) fn kinds(&self, first: &[Kind], second: &[Kind]) -> Vec<Kind> {
        let [alone, others] = &self.alone;
        let has = |kind: &&Kind, alone: &[DeviceName]| kind.interface.is_none_or(|device| !alone.contains(&device));
        let mut kinds: Vec<Kind> = first.iter().filter(|kind| has(kind, alone)).copied().collect();
        for kind in second.iter().filter(|kind| has(kind, others)) {
            let kind = Kind { interface: kind.interface.map(|device| self.first(device)), ..*kind };
            if !kinds.contains(&kind) {
                kinds.push(kind);
            }
        }
        kinds.sort_by_key(|kind| (kind.incoming, kind.ipv6));
        kinds
    }
}

/// The address of all on the link.
fn broadcast((address, bits): (IpAddr, u8)) -> Option<IpAddr> {
    let IpAddr::V4(address) = address else { return None };
    let rest = u32::MAX.checked_shr(bits.into()).filter(|rest| *rest > 1)?;
    Some(Ipv4Addr::from(u32::from(address) | rest).into())
}
