//! iptables rules.
/// A rule.
#[derive(Debug, Clone, PartialEq)]
pub struct Rule;
impl Rule {
    /// x
    pub fn jumps_to(&self) -> Option<&str> {
        None
    }
    /// x
    pub fn redirects(&self) -> bool {
        false
    }
}
