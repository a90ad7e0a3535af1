//! The lab pod: a namespace with mesh rules, an application and a stand-in proxy, made to be looked at; and the tour through it.
//!
//! The only code that writes rules, and it writes them only into namespaces that it made itself. The lab is one process tree
//! (`lab` starts it, `pod` builds it) and nothing else: no file, no named namespace, no mount. When the process that holds a
//! [`Lab`] ends, however it ends, the tree ends, and with its last process the kernel drops the namespaces, links and rules.
//! No other program is needed; what the kernel had not loaded yet (veth, nf_tables, conntrack) stays loaded.

mod encoding;
mod http;
mod lab;
mod link;
mod outside;
mod plan;
mod pod;
mod proxy;
mod reports;
mod ruleset;
mod story;
mod workload;

pub use lab::{DemoError, Lab};
pub use pod::run_part;
pub use story::{Step, steps};

/// The hidden first argument under which the program becomes the lab's first process: see [`run_part`].
pub const PART: &str = "demo-part";

/// Which rules the lab pod gets.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Variant {
    /// Istio's default rules.
    Istio,
    /// The same without the two rules that let the proxy's own packets pass: its connections come back to itself.
    WithoutExemption,
}

impl Variant {
    /// The word by which the lab's first process is told.
    fn word(self) -> &'static str {
        match self {
            Self::Istio => "istio",
            Self::WithoutExemption => "without-exemption",
        }
    }

    fn from_word(word: &str) -> Option<Self> {
        [Self::Istio, Self::WithoutExemption].into_iter().find(|variant| variant.word() == word)
    }
}
