//! Reads the rules of a namespace in every backend and family, and says what it could not read.

use std::collections::HashSet;
use std::fs::File;
use std::hash::Hash;
use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;

use super::sets::{self, Elements, Reader};
use crate::model::{Backend, Cause, Chain, Family, Ruleset, Subject, Table, Unread};
use crate::sys::modules;
use crate::sys::netlink::{self, NetlinkError, NetlinkSocket};
use crate::sys::netns::Netns;
use crate::sys::xt_sockopt::{RawTable, XtSocket};
use crate::wire::nf_object;
use crate::wire::nf_table::{self, ChainReader, Kept};
use crate::wire::nf_tables::{self, ChainMessage, NftablesError, TableMessage};
use crate::wire::xt::{self, EntryError, TableInfo, decode_table};

/// Which rules are wanted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Wanted {
    /// One backend only.
    pub backend: Option<Backend>,
    /// IPv4.
    pub ipv4: bool,
    /// IPv6.
    pub ipv6: bool,
    /// The kernel's expressions too of those rules of nf_tables that are read as iptables' own: to list or keep them as they are.
    pub expressions: bool,
    /// Elements of the sets that rules name.
    pub elements: Elements,
    /// Legacy rules as the text of the save program, and as nothing else ([`Chain::saved`]).
    pub text: bool,
}

impl Default for Wanted {
    fn default() -> Self {
        Self { backend: None, ipv4: true, ipv6: true, expressions: true, elements: Elements::Few, text: false }
    }
}

impl Wanted {
    fn wants(self, backend: Backend, ipv6: bool) -> bool {
        self.backend.is_none_or(|only| only == backend) && if ipv6 { self.ipv6 } else { self.ipv4 }
    }

    /// Whether a rule set is among the wanted ones.
    #[must_use]
    pub fn covers(self, ruleset: &Ruleset) -> bool {
        self.backend.is_none_or(|only| only == ruleset.backend)
            && match ruleset.family {
                Family::Ip => self.ipv4,
                Family::Ip6 => self.ipv6,
                Family::Inet | Family::Netdev => self.ipv4 || self.ipv6,
                Family::Arp | Family::Bridge => self.ipv4 && self.ipv6,
            }
    }
}

/// What was opened inside the namespace, and is read from outside.
struct Opened {
    names: [io::Result<Option<String>>; 2],
    sockets: [Option<io::Result<XtSocket>>; 2],
    nft: Option<io::Result<NetlinkSocket>>,
}

/// A set that changes while it is read is read again this often.
const ATTEMPTS: u32 = 8;

/// Reads the wanted rules of a namespace.
///
/// A rule set stands in the first list when its kernel subsystem answered, even if it is empty; each failure stands in the second.
///
/// # Errors
/// The namespace cannot be entered.
pub fn read(netns: &Netns, proc_root: &Path, wanted: Wanted) -> io::Result<(Vec<Ruleset>, Vec<Unread>)> {
    let nft_there = (wanted.wants(Backend::Nft, false) || wanted.wants(Backend::Nft, true))
        && modules::present(proc_root, "nf_tables", "nf_tables_newtable");
    let opened = netns.enter(|| open(proc_root, wanted, nft_there))?;
    let (mut rulesets, mut unread) = (Vec::new(), Vec::new());
    let Opened { names, sockets, nft } = opened;
    for (ipv6, (names, socket)) in [false, true].into_iter().zip(names.into_iter().zip(sockets)) {
        if wanted.wants(Backend::Legacy, ipv6) {
            let (ruleset, failures) = read_legacy(ipv6, names, socket, wanted);
            rulesets.extend(ruleset);
            unread.extend(failures);
        }
    }
    match nft {
        None if nft_there || wanted.backend.is_some_and(|only| only != Backend::Nft) => {}
        // A kernel without nf_tables holds no rules of it: that is known, not unread.
        None => rulesets.extend(empty_nft(wanted)),
        Some(Err(error)) => unread.push(nft_unread(&error.to_string(), error.raw_os_error())),
        Some(Ok(socket)) => match read_nft(netns, socket, wanted) {
            Ok((found, foreign)) => {
                rulesets.extend(found);
                unread.extend(foreign);
            }
            Err(NftReadError::Absent) => rulesets.extend(empty_nft(wanted)),
            Err(error) => unread.push(nft_unread(&error.to_string(), error.errno())),
        },
    }
    sets::name(netns, &mut rulesets);
    Ok((rulesets, unread))
}

/// Runs inside the namespace: opens, reads the lists of names, nothing else.
fn open(proc_root: &Path, wanted: Wanted, nft_there: bool) -> Opened {
    let list = |ipv6: bool, name: &str| {
        if wanted.wants(Backend::Legacy, ipv6) {
            names(&proc_root.join("thread-self/net").join(name))
        } else {
            Ok(None)
        }
    };
    let names = [list(false, "ip_tables_names"), list(true, "ip6_tables_names")];
    let socket = |ipv6: bool, names: &io::Result<Option<String>>| {
        let any = matches!(names, Ok(Some(names)) if !names.trim().is_empty());
        any.then(|| XtSocket::open(ipv6))
    };
    let sockets = [socket(false, &names[0]), socket(true, &names[1])];
    Opened { names, sockets, nft: nft_there.then(|| NetlinkSocket::open(netlink::NETFILTER)) }
}

/// The tables that exist; `None` where the kernel has no such subsystem. To ask for a table that is not listed would create it.
fn names(path: &PathBuf) -> io::Result<Option<String>> {
    let mut text = String::new();
    match File::open(path).and_then(|mut file| file.read_to_string(&mut text)) {
        Ok(_) => Ok(Some(text)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error),
    }
}

fn read_legacy(
    ipv6: bool,
    names: io::Result<Option<String>>,
    socket: Option<io::Result<XtSocket>>,
    wanted: Wanted,
) -> (Option<Ruleset>, Vec<Unread>) {
    let family = if ipv6 { Family::Ip6 } else { Family::Ip };
    let failed = |table: &str, error: &str, number: Option<i32>| Unread {
        source: format!("legacy {} {table}", family.word()).trim_end().to_owned(),
        error: error.to_owned(),
        means: format!("rules that iptables-legacy wrote for {} are not known", if ipv6 { "IPv6" } else { "IPv4" }),
        subject: Subject::Rules,
        cause: cause(number),
    };
    let names = match names {
        Ok(names) => names.unwrap_or_default(),
        Err(error) => return (None, vec![failed("", &error.to_string(), error.raw_os_error())]),
    };
    let mut ruleset = Ruleset { backend: Backend::Legacy, family, tables: Vec::new() };
    let mut unread = Vec::new();
    match socket {
        None => {}
        Some(Err(error)) => return (None, vec![failed("", &error.to_string(), error.raw_os_error())]),
        Some(Ok(socket)) => {
            for name in names.lines() {
                let table = socket.table(name).map_err(|error| (error.to_string(), error.raw_os_error()));
                let table = table
                    .and_then(|raw| decode(name, ipv6, &raw, wanted.text).map_err(|error| (error.to_string(), None)));
                match table {
                    Ok(table) => ruleset.tables.push(table),
                    Err((error, number)) => unread.push(failed(name, &error, number)),
                }
            }
        }
    }
    (Some(ruleset), unread)
}

/// Decodes a table, to the text of its rules alone where that is enough and can be told from its bytes.
fn decode(name: &str, ipv6: bool, raw: &RawTable, text: bool) -> Result<Table, EntryError> {
    let info = TableInfo { valid_hooks: raw.valid_hooks, hook_entry: raw.hook_entry, underflow: raw.underflow };
    let decode = |kept| decode_table(name, ipv6, &info, raw.entries(), kept);
    let by_index = |table: &Table| table.chains.iter().flat_map(|chain| &chain.saved).any(|saved| saved.sets_by_index);
    match text.then(|| decode(xt::Kept::Text)) {
        Some(Ok(table)) if by_index(&table) => decode(xt::Kept::Rules),
        Some(decoded) => decoded,
        None => decode(xt::Kept::Rules),
    }
}

fn cause(number: Option<i32>) -> Cause {
    if matches!(number, Some(libc::EPERM | libc::EACCES)) { Cause::Permission } else { Cause::Failed }
}

fn nft_unread(error: &str, number: Option<i32>) -> Unread {
    Unread {
        source: "nft".to_owned(),
        error: error.to_owned(),
        means: "rules that iptables-nft or nft wrote are not known".to_owned(),
        subject: Subject::Rules,
        cause: cause(number),
    }
}

fn empty_nft(wanted: Wanted) -> impl Iterator<Item = Ruleset> {
    let families = [(Family::Ip, wanted.ipv4), (Family::Ip6, wanted.ipv6)];
    let wanted = families.into_iter().filter(|(_, wanted)| *wanted);
    wanted.map(|(family, _)| Ruleset { backend: Backend::Nft, family, tables: Vec::new() })
}

/// Why nf_tables could not be read.
#[derive(Debug, thiserror::Error)]
enum NftReadError {
    #[error(transparent)]
    Netlink(#[from] NetlinkError),
    #[error(transparent)]
    Message(#[from] NftablesError),
    #[error("cannot enter the network namespace again")]
    Enter(#[from] io::Error),
    #[error("the rules changed each time they were read")]
    Moving,
    #[error("the kernel has no nf_tables")]
    Absent,
}

impl NftReadError {
    fn errno(&self) -> Option<i32> {
        match self {
            Self::Netlink(error) => error.errno(),
            Self::Enter(error) => error.raw_os_error(),
            Self::Message(_) | Self::Moving | Self::Absent => None,
        }
    }
}

/// Rule sets, and tables of families that nobody knew when this was written.
type NftAnswer = (Vec<Ruleset>, Vec<Unread>);

fn read_nft(netns: &Netns, mut socket: NetlinkSocket, wanted: Wanted) -> Result<NftAnswer, NftReadError> {
    for attempt in 0..ATTEMPTS {
        let before = match generation(&mut socket) {
            // The first answer of a kernel without nf_tables; later it would be something else that failed.
            Err(NftReadError::Netlink(NetlinkError::Kernel(libc::EOPNOTSUPP | libc::EINVAL))) if attempt == 0 => {
                return Err(NftReadError::Absent);
            }
            other => other?,
        };
        let found = match read_nft_once(netns, &mut socket, wanted) {
            Err(
                NftReadError::Moving
                | NftReadError::Netlink(NetlinkError::Interrupted | NetlinkError::Kernel(libc::ENOENT)),
            ) => continue,
            other => other?,
        };
        if generation(&mut socket)? == before {
            return Ok(found);
        }
    }
    Err(NftReadError::Moving)
}

fn generation(socket: &mut NetlinkSocket) -> Result<u32, NftReadError> {
    let answers = collect(socket, nf_tables::GET_GENERATION, netlink::GET, &nf_tables::head(0), nf_tables::generation)?;
    answers.first().copied().ok_or(NftReadError::Message(NftablesError::Lacks("generation", "answer")))
}

fn collect<T>(
    socket: &mut NetlinkSocket,
    kind: u16,
    flags: u16,
    payload: &[u8],
    decode: impl Fn(&[u8]) -> Result<T, NftablesError>,
) -> Result<Vec<T>, NftReadError> {
    let mut found = Vec::new();
    let mut failure = None;
    socket.request(kind, flags, payload, |message| match decode(message.payload) {
        Ok(value) => found.push(value),
        Err(error) => failure = Some(error),
    })?;
    failure.map_or(Ok(found), |error| Err(error.into()))
}

fn read_nft_once(netns: &Netns, socket: &mut NetlinkSocket, wanted: Wanted) -> Result<NftAnswer, NftReadError> {
    let mut foreign = Vec::new();
    let mut rulesets: Vec<Ruleset> = empty_nft(wanted).collect();
    let tables = collect(socket, nf_tables::GET_TABLE, netlink::DUMP, &nf_tables::head(0), nf_tables::table)?;
    each_once(tables.iter().map(|table| (table.family, &table.name)))?;
    if tables.is_empty() {
        return Ok((rulesets, foreign));
    }
    let chains = collect(socket, nf_tables::GET_CHAIN, netlink::DUMP, &nf_tables::head(0), nf_tables::chain)?;
    each_once(chains.iter().map(|chain| (chain.family, &chain.table, &chain.name)))?;
    for table in &tables {
        let Some(family) = Family::from_number(table.family) else {
            foreign.push(foreign_table(table, &chains));
            continue;
        };
        let unwanted = Ruleset { backend: Backend::Nft, family, tables: Vec::new() };
        if !wanted.covers(&unwanted) {
            continue;
        }
        let at = rulesets.iter().position(|ruleset| ruleset.family == family).unwrap_or_else(|| {
            rulesets.push(unwanted);
            rulesets.len() - 1
        });
        let chains: Vec<&ChainMessage> =
            chains.iter().filter(|chain| chain.family == table.family && chain.table == table.name).collect();
        let chains = read_chains(netns, socket, family, &chains, wanted)?;
        let decoded = read_table(socket, table, chains, Reader { netns, elements: wanted.elements })?;
        if let Some(ruleset) = rulesets.get_mut(at) {
            ruleset.tables.push(decoded);
        }
    }
    rulesets.sort_by_key(|ruleset| ruleset.family);
    Ok((rulesets, foreign))
}

/// A table of a family that is not known: its rules cannot be asked for by their hooks; its chains are named.
fn foreign_table(table: &TableMessage, chains: &[ChainMessage]) -> Unread {
    let TableMessage { family, name, .. } = table;
    let own = chains.iter().filter(|chain| chain.family == *family && chain.table == *name);
    let names: Vec<&str> = own.map(|chain| chain.name.as_str()).collect();
    let chains = if names.is_empty() { String::new() } else { format!(", chains {}", names.join(", ")) };
    Unread {
        source: format!("nft table {name}"),
        cause: Cause::Unsupported,
        ..nft_unread(&format!("address family {family} is not known{chains}"), None)
    }
}

/// No name stands twice in a list.
///
/// The kernel counts a generation up just before it begins (`nf_tables_commit`, net/netfilter/nf_tables_api.c): a dump in between
/// has that number from its first message on, and lists what goes and what comes in its place.
///
/// # Errors
/// [`NftReadError::Moving`].
fn each_once<K: Eq + Hash>(mut names: impl Iterator<Item = K>) -> Result<(), NftReadError> {
    let mut met = HashSet::new();
    if names.all(|name| met.insert(name)) { Ok(()) } else { Err(NftReadError::Moving) }
}

/// From so many chains on a second socket pays: to open one takes as long as to read about twenty.
const MANY_CHAINS: usize = 64;

/// The rules of these chains, each by a dump of its own: the kernel walks a dump of everything anew for each of its datagrams.
///
/// A socket has one dump at a time, so that many chains are shared out between two, in threads side by side. Whether they all
/// belong to one state is told by the generation before and after, as everything else.
fn read_chains(
    netns: &Netns,
    socket: &mut NetlinkSocket,
    family: Family,
    chains: &[&ChainMessage],
    wanted: Wanted,
) -> Result<Vec<Chain>, NftReadError> {
    if chains.len() < MANY_CHAINS {
        return chains.iter().map(|chain| read_chain(socket, family, chain, wanted)).collect();
    }
    let mut second = netns.enter(|| NetlinkSocket::open(netlink::NETFILTER))?.map_err(NetlinkError::Io)?;
    let next = AtomicUsize::new(0);
    let share = |socket: &mut NetlinkSocket| -> Result<Vec<(usize, Chain)>, NftReadError> {
        let mut found = Vec::new();
        loop {
            let at = next.fetch_add(1, Ordering::Relaxed);
            let Some(chain) = chains.get(at) else { return Ok(found) };
            found.push((at, read_chain(socket, family, chain, wanted)?));
        }
    };
    let (first, second) = thread::scope(|scope| {
        let second = scope.spawn(|| share(&mut second));
        let first = share(socket);
        (first, second.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic)))
    });
    let mut found = first?;
    found.extend(second?);
    found.sort_unstable_by_key(|(at, _)| *at);
    Ok(found.into_iter().map(|(_, chain)| chain).collect())
}

fn read_chain(
    socket: &mut NetlinkSocket,
    family: Family,
    chain: &ChainMessage,
    wanted: Wanted,
) -> Result<Chain, NftReadError> {
    let request = nf_tables::rules_of(chain.family, &chain.table, &chain.name);
    let kept = if wanted.expressions { Kept::Expressions } else { Kept::Reading };
    let mut reader = ChainReader::new(family, &chain.table, chain, kept);
    let mut failure = None;
    socket.request(nf_tables::GET_RULE, netlink::DUMP, &request, |message| {
        if let Err(error) = reader.read(message.payload) {
            failure = Some(error);
        }
    })?;
    failure.map_or(Ok(reader.finish()), |error| Err(error.into()))
}

fn read_table(
    socket: &mut NetlinkSocket,
    table: &TableMessage,
    chains: Vec<Chain>,
    reader: Reader<'_>,
) -> Result<Table, NftReadError> {
    let (mut decoded, request) = (nf_table::of_chains(table, chains), nf_tables::of_table(table.family, &table.name));
    decoded.sets = collect(socket, nf_tables::GET_SET, netlink::DUMP, &request, nf_tables::set)?;
    each_once(decoded.sets.iter().map(|set| &set.name))?;
    for set in &mut decoded.sets {
        let request = nf_tables::elements_of(table.family, &table.name, &set.name);
        if !reader.whole(set) {
            reader.few(set, &request)?;
            continue;
        }
        let parts = collect(socket, nf_tables::GET_ELEMENTS, netlink::DUMP, &request, nf_tables::elements)?;
        set.elements = parts.into_iter().flatten().collect();
        // Who has them can count them.
        set.count = None;
    }
    // Kernels older than such things do not know the question, and hold none.
    let known = |error: NftReadError| match error {
        NftReadError::Netlink(NetlinkError::Kernel(libc::EOPNOTSUPP | libc::EINVAL)) => Ok(()),
        other => Err(other),
    };
    match collect(socket, nf_tables::GET_OBJECT, netlink::DUMP, &request, nf_object::object) {
        Ok(objects) => decoded.objects = objects,
        Err(error) => known(error)?,
    }
    match collect(socket, nf_tables::GET_FLOW_TABLE, netlink::DUMP, &request, nf_object::flow_table) {
        Ok(names) => decoded.flow_tables = names,
        Err(error) => known(error)?,
    }
    Ok(decoded)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::attribute::Builder;

    #[test]
    fn a_table_of_a_family_that_nobody_knows_is_named_with_its_chains() {
        const FAMILY: u8 = 77;
        let message = |attributes: Builder| attributes.finish();
        let head = || Builder::after(&nf_tables::head(FAMILY));
        let table = nf_tables::table(&message(head().put_text(1, "moon"))).expect("a table");
        assert_eq!(Family::from_number(table.family), None);
        let chain = |of: &str, name: &str| {
            nf_tables::chain(&message(head().put_text(1, of).put_text(3, name))).expect("a chain")
        };
        let unread = foreign_table(&table, &[chain("moon", "dark"), chain("sun", "bright"), chain("moon", "near")]);
        assert_eq!(unread.source, "nft table moon");
        assert_eq!(unread.error, "address family 77 is not known, chains dark, near");
        assert_eq!(unread.cause, Cause::Unsupported);
    }
}
