//! A packet's way where no routes were read: what its destination tells is all that there is, and where that does not tell whether it
//! is for this namespace, both ways are gone.

use super::journey::{Advance, Way};
use super::traveller::Traveller;
use super::walk::Base;
use crate::model::Hook;
use crate::packet::{DeviceName, Known};

impl Traveller {
    /// Brings the packet before a chain, or behind all, where no routes are known: what its destination tells is all.
    pub(super) fn go_blindly(&mut self, to: Option<&Base<'_>>) -> Advance {
        self.be_routed();
        let hook = to.and_then(|base| base.chain.hook);
        if let Some(ways) = self.here_and_elsewhere(hook) {
            return Advance::Forks(ways.into(), self.why_unknown());
        }
        match (hook, self.way) {
            // Sent to another machine, it is forwarded.
            (Some(Hook::Input), Way::In) if self.packet.destination_local == Known::Is(false) => return Advance::Past,
            (Some(Hook::Forward), _) if self.packet.destination_local != Known::Is(false) => return Advance::Past,
            (Some(Hook::Postrouting | Hook::Egress), Way::In) if self.packet.destination_local != Known::Is(false) => {
                return Advance::Past;
            }
            (Some(Hook::Forward | Hook::Postrouting | Hook::Egress), Way::In) => self.packet.output = Known::Unknown,
            (Some(Hook::Forward), _) => return Advance::Past,
            (Some(Hook::Postrouting | Hook::Egress), Way::Own) => self.leave_blindly(),
            (Some(Hook::Ingress | Hook::Prerouting | Hook::Input), Way::Own | Way::Leaving) => {
                if self.turns_in() != Known::Is(true) {
                    return Advance::Past;
                }
                self.come_again();
            }
            _ => {}
        }
        Advance::On
    }

    /// Behind iptables' mangle and nft's chains of type `route`, what they have changed may lead to another route (`ip_route_me_harder`).
    pub(super) fn be_routed(&mut self) {
        self.rerouted |= self.routed_by.take().is_some_and(|before| before != self.routing());
    }

    /// Whether it comes in again: what goes to an address of the namespace itself does, and what a route by mark leads to loopback.
    pub(super) fn turns_in(&self) -> Known<bool> {
        match (self.comes_in, &self.packet.destination_local) {
            (Some(known), _) => Known::Is(known),
            (None, Known::Is(false)) if self.rerouted => Known::Unknown,
            (None, local) => *local,
        }
    }

    /// Only now a translated packet, or one with another route, has its new device (K21).
    fn leave_blindly(&mut self) {
        self.way = Way::Leaving;
        if self.destination_bound || self.rerouted {
            let local = self.packet.destination_local == Known::Is(true);
            self.packet.output = if local { Known::Is(DeviceName::LOOPBACK) } else { Known::Unknown };
        }
    }

    /// The two that it may be where nobody knows whether it comes in here.
    fn here_and_elsewhere(&mut self, hook: Option<Hook>) -> Option<[Self; 2]> {
        let unknown = match (hook, self.way) {
            (Some(Hook::Input), Way::In) => {
                self.redirected.is_some() && self.packet.destination_local == Known::Unknown
            }
            (Some(Hook::Ingress | Hook::Prerouting | Hook::Input), Way::Own | Way::Leaving) => {
                self.turns_in() == Known::Unknown
            }
            _ => false,
        };
        unknown.then(|| {
            [false, true].map(|here| {
                let mut one = self.clone();
                one.comes_in = Some(here);
                if one.packet.destination_local == Known::Unknown {
                    one.packet.destination_local = Known::Is(here);
                }
                one
            })
        })
    }

    /// What hangs on that.
    pub(super) fn why_unknown(&self) -> &'static str {
        match self.packet.destination_local {
            Known::Unknown => "whether it is sent to an address of its own",
            _ => "where the route leads that its new mark or class of traffic gives it",
        }
    }
}
