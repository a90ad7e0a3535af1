//! `-m realm`: the realm of the packet's route (`struct xt_realm_info`).

use super::named::Named;
use super::{Condition, Extension, Given, Matching, Words};
use crate::packet::Field;
use crate::xt::bytes::Layout;

/// A test of the route's realm.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Realm(
    /// The realm.
    pub Named,
);

/// Realm 0.
const ZERO: &str = "cosmos";

impl Extension for Realm {
    const NAMES: &'static [&'static str] = &["realm"];
    const OPTIONS: &'static [(&'static str, usize)] = &[("--realm", 1)];

    fn decode(revision: u8, data: &[u8], _ipv6: bool) -> Option<Self> {
        let layout = Layout(data);
        let named = Named { negated: layout.u8(8)? != 0, value: layout.u32(0)?, mask: layout.u32(4)? };
        (revision == 0).then_some(Self(named))
    }

    fn parse(_name: &str, options: &[Given], _ipv6: bool) -> Option<Self> {
        Named::parse(options.last()?, ZERO).map(Self)
    }

    fn save(&self, out: &mut String) {
        self.0.save("--realm", ZERO, out);
    }
}

impl Matching for Realm {
    fn condition(&self) -> Condition {
        // A packet that has no route yet matches neither way (net/netfilter/xt_realm.c).
        Condition::All(vec![Condition::Has(Field::Realm), self.0.condition(Field::Realm)])
    }

    fn explain(&self, words: &mut Words) {
        words.also(self.0.words("routed in realm", ZERO));
    }

    fn nft(&self, _protocol: Option<u8>) -> Option<String> {
        Some(self.0.nft("rtclassid", ZERO))
    }
}
