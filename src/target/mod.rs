//! A name becomes a workload: the grammar of targets, who answers to a name on this node, and the proof that it is he.
//!
//! [`Query::parse`] reads the word, [`find`] asks the runtimes (all at once, each with its own deadline), takes hold of a
//! process by pidfd, opens its network namespace and compares everything that could have changed meanwhile. What comes
//! back is held open: it cannot turn into another workload while the caller looks at it.

mod allow;
mod cgroup;
mod endpoint;
mod error;
mod listing;
mod local;
mod located;
mod matching;
mod namespaces;
pub mod near;
mod opening;
mod proof;
mod query;
mod runtime;
mod sandboxed;
mod search;
mod selector;
mod world;

pub use endpoint::{EndpointError, Given, RuntimeChoice, RuntimeEndpoint, RuntimeKind, endpoints};
pub use error::{Candidate, TargetError};
pub use listing::{Filter, Listing};
pub use query::{GrammarError, KINDS, Query};
pub use selector::{Selector, SelectorError};
pub use world::{Choice, Live, NodeNamespace, Outcome, Tried, World};

/// Finds the workload that the query means, and holds it.
///
/// `pid/`, `netns/` and `host` ask no runtime and start no asynchronous machinery.
///
/// # Errors
/// See [`TargetError`]: not found, ambiguous (with the words that pick each candidate), not running, gone while looked at,
/// not permitted, no runtime, a runtime that failed.
pub fn find(query: &Query, choice: &Choice, world: &World) -> Result<Live, TargetError> {
    match query {
        Query::Pid(pid) => local::process(*pid, world),
        Query::Netns(name) => local::named(name, world),
        Query::Inode(inode) => located::by_inode(*inode, world),
        Query::Address(address) => located::by_address(*address, world),
        Query::Host => local::host(world),
        Query::Stdin | Query::Files(_) => Err(TargetError::NotLive { asked: query.to_string() }),
        Query::Pod { .. } | Query::Container(_) | Query::Id { .. } | Query::Name(_) => {
            search::find(query, choice, world)
        }
    }
}
