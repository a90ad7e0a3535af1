//! Legacy xtables: the packed entries of a table (`struct ipt_entry`, `struct ip6t_entry`,
//! `include/uapi/linux/netfilter_ipv4/ip_tables.h`, `…_ipv6/ip6_tables.h`; 64-bit layout).

mod entry;

use std::borrow::Cow;
use std::collections::HashSet;
use std::ops::Range;
use std::thread;

use crate::model::{Body, Chain, Hook, Policy, Rule, Table, exact_text, name_order};
use crate::xt::{self, Action, IpPart, Target};
use entry::{Bounds, Entry, Layout, Part, V4, V6, bounds, decode_entry, part, up_to_zero, word};

/// What the kernel says of a table beside its entries (`struct ipt_getinfo`).
#[derive(Debug, Clone, Copy)]
pub struct TableInfo {
    /// Bit N is set when netfilter hook N has a chain here.
    pub valid_hooks: u32,
    /// Byte offset of each hook's first entry.
    pub hook_entry: [u32; 5],
    /// Byte offset of each hook's policy entry.
    pub underflow: [u32; 5],
}

/// The entries contradict themselves.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("entry at byte {offset}: {what}")]
pub struct EntryError {
    /// Where.
    pub offset: usize,
    /// What is wrong there.
    pub what: &'static str,
}

/// Bytes of a table from which on it is decoded in two halves: some milliseconds of work, where a thread takes a twentieth of one.
const LARGE: usize = 1 << 20;

/// What is kept of the rules of a table.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kept {
    /// Each as a value.
    Rules,
    /// Their text alone ([`Chain::saved`]): a tenth of the memory, most of which is met for the first time and costs as much as
    /// all the decoding.
    Text,
}

/// Decodes a table. `name` decides what the table's base chains are called and at which priority they stand.
///
/// # Errors
/// [`EntryError`]: no byte is taken on trust.
pub fn decode_table(name: &str, ipv6: bool, info: &TableInfo, entries: &[u8], kept: Kept) -> Result<Table, EntryError> {
    let half = if entries.len() < LARGE { entries.len() } else { entries.len() / 2 };
    let outline = Outline::of(name, ipv6, info, entries, half, kept)?;
    let chains = outline.decode()?;
    outline.holds(&chains)?;
    let (mut base, mut user): (Vec<Chain>, Vec<Chain>) = chains.into_iter().partition(|c| c.hook.is_some());
    base.sort_by_key(|chain| chain.hook);
    // Tools sort user chains by name, since Linux keeps them in the order of their making.
    user.sort_by(|a, b| name_order(&a.name, &b.name));
    base.extend(user);
    Ok(Table { name: name.to_owned(), chains: base, ..Table::default() })
}

/// A user chain begins with an ERROR target that holds its name.
fn chain_header(target: &[u8]) -> Option<Cow<'_, str>> {
    let part = part(target)?;
    (part.name == b"ERROR").then(|| exact_text(up_to_zero(part.data)))
}

/// An entry that names a chain, or the one that ends the table.
struct Header<'a> {
    offset: usize,
    next: usize,
    chain: Cow<'a, str>,
}

/// What begins a chain.
#[derive(Debug, Clone, Copy)]
enum Start {
    /// One of the headers, by its place among them.
    Header(usize),
    /// A hook's first entry.
    Hook(Hook),
}

/// Where the second half of the entries begins, and in which chain.
#[derive(Debug, Clone, Copy)]
struct Middle {
    offset: usize,
    open: Option<Start>,
}

/// What must be known of the whole table before one of its entries can be decoded.
struct Outline<'a> {
    name: &'a str,
    ipv6: bool,
    layout: Layout,
    info: &'a TableInfo,
    entries: &'a [u8],
    kept: Kept,
    /// In the order of their offsets.
    headers: Vec<Header<'a>>,
    /// Where a table is divided that is large enough for two threads.
    middle: Option<Middle>,
}

impl<'a> Outline<'a> {
    /// First the names of all chains: jumps point at the first rule of a chain, by offset. The first entry from byte `half` on
    /// begins the second half.
    fn of(
        name: &'a str,
        ipv6: bool,
        info: &'a TableInfo,
        entries: &'a [u8],
        half: usize,
        kept: Kept,
    ) -> Result<Self, EntryError> {
        let layout = if ipv6 { V6 } else { V4 };
        let mut outline = Self { name, ipv6, layout, info, entries, kept, headers: Vec::new(), middle: None };
        let (mut offset, mut open) = (0, None);
        while offset < entries.len() {
            if outline.middle.is_none() && offset >= half {
                outline.middle = Some(Middle { offset, open });
            }
            let bounds = bounds(&outline.layout, entries, offset)?;
            if let Some(chain) = chain_header(bounds.target) {
                open = Some(Start::Header(outline.headers.len()));
                outline.headers.push(Header { offset, next: bounds.next, chain });
            } else if let Some(hook) = outline.hook_with(&info.hook_entry, offset) {
                open = Some(Start::Hook(hook));
            }
            offset = bounds.next;
        }
        Ok(outline)
    }

    fn decode(&self) -> Result<Vec<Chain>, EntryError> {
        let end = self.entries.len();
        let Some(Middle { offset, open }) = self.middle else { return self.chains(0..end, None) };
        // Most of the time goes into memory that is met for the first time, which two threads do side by side.
        let (first, second) = thread::scope(|scope| {
            let second = scope.spawn(|| self.chains(offset..end, open));
            let first = self.chains(0..offset, None);
            (first, second.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic)))
        });
        Ok(joined(first?, second?, open.is_some()))
    }

    /// The chains of these entries; the first of them goes on with the one that is open.
    fn chains(&self, part: Range<usize>, open: Option<Start>) -> Result<Vec<Chain>, EntryError> {
        let named = self.headers.partition_point(|header| header.offset < part.start);
        let mut builder = Builder { outline: self, named, chains: Vec::new(), word: String::new() };
        match open {
            Some(Start::Header(at)) => {
                if let Some(header) = self.headers.get(at) {
                    builder.begin(Chain::user(header.chain.as_ref()));
                }
            }
            Some(Start::Hook(hook)) => builder.begin(Chain::base(self.name, hook)),
            None => {}
        }
        let mut offset = part.start;
        while offset < part.end {
            let bounds = bounds(&self.layout, self.entries, offset)?;
            builder.entry(&bounds, offset)?;
            offset = bounds.next;
        }
        Ok(builder.chains)
    }

    /// Each chain has a name of its own, since jumps go by name from here on; every hook has its chain, and that its policy.
    fn holds(&self, chains: &[Chain]) -> Result<(), EntryError> {
        let fail = |offset, what| Err(EntryError { offset, what });
        let based = chains.iter().filter(|chain| chain.hook.is_some());
        let mut names: HashSet<&str> = based.clone().map(|chain| chain.name.as_str()).collect();
        let mut begins = self.headers.iter().filter(|header| header.next != self.entries.len());
        if let Some(second) = begins.find(|header| !names.insert(header.chain.as_ref())) {
            return fail(second.offset, "begins a second chain of one name");
        }
        let places = self.info.hook_entry.iter().zip(&self.info.underflow).zip(0_u32..);
        for ((entry, underflow), number) in places.filter(|(_, hook)| self.info.valid_hooks & (1 << hook) != 0) {
            match based.clone().find(|chain| chain.hook == Hook::from_inet(number)).map(|chain| chain.policy) {
                None => return fail(*entry as usize, "is where a hook begins, and no rule does"),
                Some(None) => return fail(*underflow as usize, "is where a policy stands, and none does"),
                Some(Some(_)) => {}
            }
        }
        Ok(())
    }

    fn hook_with(&self, offsets: &[u32; 5], offset: usize) -> Option<Hook> {
        let found = (0..5_u32).find(|hook| {
            self.info.valid_hooks & (1 << hook) != 0
                && offsets.get(*hook as usize).is_some_and(|at| *at as usize == offset)
        });
        Hook::from_inet(found?)
    }
}

/// The chains of both halves, where the second may go on with the last chain of the first.
fn joined(mut first: Vec<Chain>, second: Vec<Chain>, goes_on: bool) -> Vec<Chain> {
    let mut second = second.into_iter();
    if goes_on && let (Some(open), Some(rest)) = (first.last_mut(), second.next()) {
        open.rules.extend(rest.rules);
        match (&mut open.saved, rest.saved) {
            (Some(saved), Some(rest)) => saved.extend(rest),
            (saved, rest) => *saved = saved.take().or(rest),
        }
        open.policy = rest.policy.or(open.policy);
        open.counters = rest.counters.or(open.counters);
    }
    first.extend(second);
    first
}

struct Builder<'a> {
    outline: &'a Outline<'a>,
    /// How many of the headers were met.
    named: usize,
    chains: Vec<Chain>,
    /// The last chain's name as a text writes it.
    word: String,
}

impl Builder<'_> {
    fn begin(&mut self, chain: Chain) {
        self.word = xt::word(&chain.name).into_owned();
        self.chains.push(chain);
    }

    fn entry(&mut self, bounds: &Bounds<'_>, offset: usize) -> Result<(), EntryError> {
        let fail = |what| EntryError { offset, what };
        let outline = self.outline;
        if let Some(header) = outline.headers.get(self.named).filter(|header| header.offset == offset) {
            self.named += 1;
            // The entry behind everything is an ERROR target too; it begins no chain.
            if header.next != outline.entries.len() {
                self.begin(Chain::user(header.chain.as_ref()));
            }
            return Ok(());
        }
        if let Some(hook) = outline.hook_with(&outline.info.hook_entry, offset) {
            self.begin(Chain::base(outline.name, hook));
        }
        let entry = decode_entry(&outline.layout, bounds, offset, outline.ipv6)?;
        let chain = self.chains.last().ok_or_else(|| fail("belongs to no chain"))?;
        let policy_of_base = chain.hook.is_some() && outline.hook_with(&outline.info.underflow, offset) == chain.hook;
        // A user chain ends with a RETURN that no one wrote: the entry before the next chain's name or the end. The kernel does not
        // see to it, so anything else there is a rule.
        let implicit =
            chain.hook.is_none() && outline.headers.get(self.named).is_some_and(|header| header.offset == entry.next);
        let action = self.action(&entry)?;
        let Some(chain) = self.chains.last_mut() else { return Err(fail("belongs to no chain")) };
        let Entry { counters, ip, matches, .. } = entry;
        if policy_of_base {
            // The kernel takes no other (`check_underflow`, net/ipv4/netfilter/ip_tables.c).
            if !matches!(action, Action::Drop | Action::Accept) || !matches.is_empty() || ip != IpPart::default() {
                return Err(fail("is no policy"));
            }
            chain.policy = Some(if action == Action::Drop { Policy::Drop } else { Policy::Accept });
            chain.counters = Some(counters);
        } else if !(implicit && action == Action::Return && matches.is_empty() && ip == IpPart::default()) {
            let rule = xt::Rule { ip, matches, action };
            match outline.kept {
                Kept::Text => chain.saved.get_or_insert_default().push(&self.word, &rule),
                Kept::Rules => {
                    let body = Body::Xt(Box::new(rule));
                    chain.rules.push(Rule { counters: Some(counters), handle: None, body, native: None });
                }
            }
        }
        Ok(())
    }

    fn action(&self, entry: &Entry<'_>) -> Result<Action, EntryError> {
        let fail = |what| EntryError { offset: entry.offset, what };
        let Part { name, revision, data } = part(entry.target).ok_or_else(|| fail("has a target cut short"))?;
        if !name.is_empty() {
            return Ok(Action::Target(Target::decode(&exact_text(name), revision, data, self.outline.ipv6)));
        }
        let verdict = word::<4>(data, 0).map(i32::from_ne_bytes).ok_or_else(|| fail("has no verdict"))?;
        Ok(match verdict {
            -1 => Action::Drop,
            -2 => Action::Accept,
            -4 => Action::Queue,
            -5 => Action::Return,
            offset => {
                let offset = usize::try_from(offset).map_err(|_| fail("has an unknown verdict"))?;
                if offset == entry.next {
                    return Ok(Action::None);
                }
                let outline = self.outline;
                let at = outline.headers.binary_search_by_key(&offset, |header| header.next);
                let header = at
                    .ok()
                    .and_then(|at| outline.headers.get(at))
                    .filter(|header| header.next != outline.entries.len());
                let header = header.ok_or_else(|| fail("jumps into nothing"))?;
                let chain = header.chain.as_ref().to_owned();
                if entry.goto { Action::Goto(chain) } else { Action::Jump(chain) }
            }
        })
    }
}

#[cfg(test)]
mod tests {
    use super::entry::PART_HEAD;
    use super::*;

    /// An IPv4 entry without matches.
    fn entry(target: &str, packets: u64, data: &[u8]) -> Vec<u8> {
        let size = PART_HEAD + data.len();
        let mut bytes = vec![0; V4.head];
        bytes[V4.ip + 4..V4.ip + 6].copy_from_slice(&(V4.head as u16).to_ne_bytes());
        bytes[V4.ip + 6..V4.ip + 8].copy_from_slice(&((V4.head + size) as u16).to_ne_bytes());
        bytes[V4.counters..V4.counters + 8].copy_from_slice(&packets.to_ne_bytes());
        bytes.extend((size as u16).to_ne_bytes());
        let mut name = [0; 29];
        name[..target.len()].copy_from_slice(target.as_bytes());
        bytes.extend(name);
        bytes.push(0);
        bytes.extend(data);
        bytes
    }

    #[test]
    fn a_table_in_two_halves_is_the_same_wherever_it_is_divided() {
        let accept = |packets| entry("", packets, &[(-2_i32).to_ne_bytes(), [0; 4]].concat());
        let ends = || entry("", 0, &[(-5_i32).to_ne_bytes(), [0; 4]].concat());
        let header = |name: &[u8]| entry("ERROR", 0, &[name, &[0; 32]].concat()[..32]);
        // INPUT and OUTPUT, two rules and a policy each; chains with two rules, with none, and the end.
        let all = [
            accept(1),
            accept(2),
            accept(3),
            accept(4),
            accept(5),
            accept(6),
            header(b"A"),
            accept(7),
            accept(8),
            ends(),
            header(b"B"),
            ends(),
            header(b"ERROR"),
        ];
        let starts: Vec<usize> = all.iter().scan(0, |at, one| Some(std::mem::replace(at, *at + one.len()))).collect();
        let (mut hook_entry, mut underflow) = ([0; 5], [0; 5]);
        (hook_entry[1], underflow[1]) = (starts[0] as u32, starts[2] as u32);
        (hook_entry[3], underflow[3]) = (starts[3] as u32, starts[5] as u32);
        let info = TableInfo { valid_hooks: 1 << 1 | 1 << 3, hook_entry, underflow };
        let entries = all.concat();
        let decode = |half, kept| {
            let outline = Outline::of("filter", false, &info, &entries, half, kept);
            outline.and_then(|outline| outline.decode()).expect("a table")
        };
        let whole = decode(entries.len(), Kept::Rules);
        let counts: Vec<(&str, usize)> = whole.iter().map(|chain| (chain.name.as_str(), chain.rules.len())).collect();
        assert_eq!(counts, [("INPUT", 2), ("OUTPUT", 2), ("A", 2), ("B", 0)]);
        for half in starts {
            assert_eq!(decode(half, Kept::Rules), whole, "divided at byte {half}");
            let text = decode(half, Kept::Text);
            let text =
                text.iter().flat_map(|chain| &chain.saved).flat_map(|saved| saved.text.iter().map(String::as_str));
            let expected =
                "-A INPUT -j ACCEPT\n".repeat(2) + &"-A OUTPUT -j ACCEPT\n".repeat(2) + &"-A A -j ACCEPT\n".repeat(2);
            assert_eq!(text.collect::<String>(), expected, "divided at byte {half}");
        }
    }
}
