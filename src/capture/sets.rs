//! Sets: the names of the ipsets that rules hold by index, the ipsets themselves, and how many elements are read of either kind.
//!
//! A set may have a hundred thousand elements where the rules are ten. So they are read where they were asked for, and where
//! the set is small.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::ops::ControlFlow;

use crate::model::{Cause, IpSet, NativeElement, NativeSet, Ruleset, Subject, Unread, exact_text};
use crate::sys::ipset_sockopt::IpsetSocket;
use crate::sys::netlink::{self, NetlinkError, NetlinkSocket};
use crate::sys::netns::Netns;
use crate::wire::{ipset, nf_tables};

/// Which elements of sets are wanted. Those of a set that belongs to a single rule are the rule's own text, and are always read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Elements {
    /// None: the rules name their sets, and that is all.
    None,
    /// Those of sets that are known to have few. Of a hash, ipset's kernel counts the elements one by one, which takes as long as a
    /// third of all else where they are a hundred thousand: nobody who did not ask for them pays for that.
    Cheap,
    /// Those of sets that have few.
    #[default]
    Few,
    /// All.
    All,
}

/// Elements of a set that has few.
const FEW: usize = 1024;
/// The same of a map: without its elements nobody can say where a packet goes, and a large cluster has as many services.
const FEW_OF_MAP: usize = 16_384;

/// How many elements this set may have to have few.
fn few_of(set: &NativeSet) -> usize {
    if set.is_map() { FEW_OF_MAP } else { FEW }
}

/// Gives the ipsets that rules hold by index their names. What has none any more stays as it is: not understood.
pub(super) fn name(netns: &Netns, rulesets: &mut [Ruleset]) {
    let wanted: BTreeSet<u16> = rulesets.iter().flat_map(Ruleset::ipset_indices).collect();
    if wanted.is_empty() {
        return;
    }
    // A rule holds a set, so the kernel has ipset: asking loads nothing, and IPv4's socket does not either.
    let Ok(Ok(socket)) = netns.enter(IpsetSocket::open) else { return };
    let name = |index: u16| Some((index, exact_text(&socket.name(index).ok()??).into_owned()));
    let names: BTreeMap<u16, String> = wanted.into_iter().filter_map(name).collect();
    rulesets.iter_mut().for_each(|ruleset| ruleset.name_ipsets(&names));
}

/// Reads the ipsets that rules name, and those in their lists of sets.
pub(super) fn ipsets(netns: &Netns, rulesets: &[Ruleset], elements: Elements) -> (Vec<IpSet>, Vec<Unread>) {
    let (mut found, mut unread) = (Vec::new(), Vec::new());
    let asked = rulesets.iter().filter(|_| elements != Elements::None);
    let mut seen: BTreeSet<String> = asked.flat_map(Ruleset::ipset_names).map(str::to_owned).collect();
    let mut waiting: Vec<String> = seen.iter().cloned().collect();
    if waiting.is_empty() {
        return (found, unread);
    }
    // One of them has just been named by the kernel, so that netlink has nothing to load.
    let mut socket = match netns.enter(|| NetlinkSocket::open(netlink::NETFILTER)).and_then(|opened| opened) {
        Ok(socket) => socket,
        Err(error) => return (found, vec![not_read("", &error.into())]),
    };
    while let Some(name) = waiting.pop() {
        match one(&mut socket, &name, elements) {
            Ok(set) => {
                let members = set.elements.iter().flatten().filter_map(|entry| entry.set.clone());
                waiting.extend(members.filter(|member| seen.insert(member.clone())));
                found.push(set);
            }
            // It went away since: the rule did, too.
            Err(NetlinkError::Kernel(libc::ENOENT)) => {}
            Err(error) => unread.push(not_read(&name, &error)),
        }
    }
    found.sort_by(|one, other| one.name.cmp(&other.name));
    (found, unread)
}

fn one(socket: &mut NetlinkSocket, name: &str, elements: Elements) -> Result<IpSet, NetlinkError> {
    if elements == Elements::All {
        return list(socket, name, true);
    }
    if elements == Elements::Cheap {
        let header = kind(socket, name)?;
        if header.kind.starts_with("hash:") || !header.is_known() {
            return Ok(header);
        }
    }
    let mut list = |whole: bool| list(socket, name, whole);
    let header = list(false)?;
    let few = header.count().is_some_and(|count| count <= FEW);
    if few { list(true) } else { Ok(header) }
}

/// Type and family alone, which the kernel has at hand.
fn kind(socket: &mut NetlinkSocket, name: &str) -> Result<IpSet, NetlinkError> {
    let mut sets = Vec::new();
    socket.request(ipset::HEADER, netlink::GET, &ipset::header_of(name), |message| {
        // What cannot be read is no set, which is said below.
        ipset::add_listed(message.payload, &mut sets).ok();
    })?;
    header_alone(sets)
}

/// The header, and all elements if they are wanted.
fn list(socket: &mut NetlinkSocket, name: &str, whole: bool) -> Result<IpSet, NetlinkError> {
    let (mut sets, mut failed) = (Vec::new(), false);
    socket.request(ipset::LIST, netlink::DUMP, &ipset::list(name, whole), |message| {
        failed |= ipset::add_listed(message.payload, &mut sets).is_err();
    })?;
    if failed {
        return Err(CUT);
    }
    if whole { sets.pop().ok_or(CUT) } else { header_alone(sets) }
}

const CUT: NetlinkError = NetlinkError::Malformed("an ipset that is cut short");

fn header_alone(mut sets: Vec<IpSet>) -> Result<IpSet, NetlinkError> {
    let set = sets.pop().ok_or(CUT)?;
    Ok(IpSet { elements: None, ..set })
}

fn not_read(name: &str, error: &NetlinkError) -> Unread {
    Unread {
        source: format!("ipset {name}").trim_end().to_owned(),
        error: error.to_string(),
        means: "what is in the sets that rules name is not known".to_owned(),
        subject: Subject::Rules,
        cause: match error.errno() {
            Some(libc::EPERM | libc::EACCES) => Cause::Permission,
            _ => Cause::Failed,
        },
    }
}

/// How the elements of nf_tables' sets are read.
#[derive(Debug, Clone, Copy)]
pub(super) struct Reader<'a> {
    pub(super) netns: &'a Netns,
    pub(super) elements: Elements,
}

impl Reader<'_> {
    /// All elements of the set are to be read.
    pub(super) fn whole(self, set: &NativeSet) -> bool {
        let few = set.count.is_some_and(|count| usize::try_from(count).is_ok_and(|count| count <= few_of(set)));
        set.is_anonymous()
            || match self.elements {
                Elements::None => false,
                Elements::Cheap | Elements::Few => few,
                Elements::All => true,
            }
    }

    /// A set of which not all is to be read: its elements if there are few, where the kernel does not say how many (before
    /// Linux 6.17). A list that is given up goes on in the kernel, so that it gets a socket of its own.
    pub(super) fn few(self, set: &mut NativeSet, request: &[u8]) -> Result<(), NetlinkError> {
        set.unread = true;
        if self.elements == Elements::None || set.count.is_some() {
            return Ok(());
        }
        let opened = self.netns.enter(|| NetlinkSocket::open(netlink::NETFILTER));
        if let Some(elements) =
            few_elements(&mut opened.and_then(|socket: io::Result<_>| socket)?, request, few_of(set))?
        {
            set.elements = elements;
            set.unread = false;
            set.count = None;
        }
        Ok(())
    }
}

/// The elements of a set of nf_tables, unless there are more than so many: then the socket is of no further use.
///
/// # Errors
/// See [`NetlinkError`].
pub fn few_elements(
    socket: &mut NetlinkSocket,
    request: &[u8],
    most: usize,
) -> Result<Option<Vec<NativeElement>>, NetlinkError> {
    let mut found = Vec::new();
    let mut whole = true;
    socket.request_until(nf_tables::GET_ELEMENTS, netlink::DUMP, request, |message| {
        match nf_tables::elements(message.payload) {
            Ok(elements) => found.extend(elements),
            Err(_) => whole = false,
        }
        whole &= found.len() <= most;
        if whole { ControlFlow::Continue(()) } else { ControlFlow::Break(()) }
    })?;
    Ok(whole.then_some(found))
}
