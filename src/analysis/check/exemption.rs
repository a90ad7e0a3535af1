//! Applications whose connections rules leave alone, as they leave the proxy's.

use super::case::Case;
use super::going::Going;
use super::people::Person;
use crate::analysis::trace::Identity;
use crate::model::{Endpoint, Protocol, RuleRef};

/// By what a process passes the mesh by.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Exemption {
    /// By its user, as the proxy does.
    User(RuleRef),
    /// By its group, as the proxy does.
    Group(RuleRef),
    /// By a rule that is not how the proxy passes.
    Foreign(RuleRef),
}

impl<'a> Case<'a> {
    /// The applications that a rule leaves alone for what they are, while anybody else is redirected; one process of each identity.
    #[must_use]
    pub fn exempted(&self) -> Vec<(&Person<'a>, Exemption)> {
        let mut found: Vec<(&Person<'a>, Exemption)> = Vec::new();
        for ipv6 in self.families() {
            let to = Endpoint::new(self.outside(ipv6), self.port());
            let goes = |who: Option<&Identity>| self.dials(who, Protocol::Tcp, to);
            if !goes(None).is_captured() {
                continue;
            }
            let chains: Vec<String> = self
                .proxies()
                .filter(|person| !person.process.elsewhere)
                .filter_map(|person| match goes(person.identity.as_ref()) {
                    Going::Direct(Some(rule)) => Some(rule.chain),
                    _ => None,
                })
                .collect();
            for person in self.applications() {
                let Some(identity) = &person.identity else { continue };
                let told = found.iter().any(|(known, _)| known.identity == person.identity);
                let Going::Direct(Some(rule)) = goes(Some(identity)) else { continue };
                if told {
                    continue;
                }
                let with =
                    |uid: u32, gid: u32, groups: &[u32]| goes(Some(&Identity { uid, gid, groups: groups.to_vec() }));
                let free = self.free_id();
                let by_user = !with(identity.uid, free, &[]).is_captured();
                let exemption = match () {
                    () if !chains.is_empty() && !chains.contains(&rule.chain) => Exemption::Foreign(rule),
                    () if by_user => Exemption::User(rule),
                    () => Exemption::Group(rule),
                };
                found.push((person, exemption));
            }
        }
        found
    }
}
