//! Follows the connections of a network namespace: what connection tracking and sockets tell by themselves, and lists where they do
//! not.
//!
//! First the groups are joined, then lists are read, then what is told is handed on: nothing falls between. The groups are joined by
//! sockets that were opened inside the namespace, which keep it; nobody else is told of anything, and nothing is switched on.

mod finding;

use std::ops::ControlFlow;
use std::os::fd::{AsFd, BorrowedFd};
use std::path::Path;
use std::time::{Duration, Instant};
use std::{fs, io};

pub use self::finding::{Budget, Found, Owners};
use super::connections::Refusal;
use super::flows::{Present, Tracking};
use super::sockets::{KernelLists, SocketLists};
use crate::model::{Cause, FlowFilter, GoneSocket, Observed, Protocol, Unread};
use crate::sys::multicast::Subscription;
use crate::sys::netlink;
use crate::sys::netns::Netns;
pub use crate::sys::process::Process as HeldProcess;
pub use crate::sys::waiting::{EndSignals, nap, seconds_east};
use crate::sys::waiting::{spent, wait_with_reader};
use crate::wire::conntrack::{self, event};
use crate::wire::sock_diag::{self, Wanted, single};

/// Bytes that the kernel may keep for us of each kind of event, taken only as far as they are needed: some 80,000 events.
const ROOM: i32 = 32 << 20;
/// Datagrams that are read before what was read is shown.
const TURN: usize = 4096;
/// Reading lists takes at most this part of a processor's time.
const SHARE: u32 = 20;
/// Losses that follow each other faster are told as one.
const CATCH_UP: Duration = Duration::from_millis(200);
/// Entries from before the watch are looked for again so much more seldom than sockets.
const SELDOM: u32 = 10;

/// Where it is known from what happens, and why not from where it is not.
#[derive(Debug, Clone)]
pub struct Sources {
    /// Events of connection tracking.
    pub tracking: Result<(), Unknowing>,
    /// Lists of the tracked entries.
    pub entries: Result<(), Unknowing>,
    /// Events of sockets that come to their end.
    pub ends: Result<(), Unknowing>,
    /// Lists of sockets.
    pub sockets: Result<(), Unknowing>,
}

/// Why something is not told.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Unknowing {
    /// What kind of reason.
    pub cause: Cause,
    /// In words.
    pub why: String,
}

impl From<Refusal> for Unknowing {
    fn from(refusal: Refusal) -> Self {
        Self { cause: refusal.cause, why: refusal.error }
    }
}

impl From<Unread> for Unknowing {
    fn from(unread: Unread) -> Self {
        Self { cause: unread.cause, why: unread.error }
    }
}

/// Why the waiting came to its end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Woken {
    /// There is something to be read, or time to look again.
    Ready,
    /// SIGINT or SIGTERM.
    Told,
    /// The process through which the namespace was found has ended.
    Gone,
    /// Nobody reads what is written.
    Unread,
    /// The time that was given is over.
    Over,
}

/// A namespace that is followed.
#[derive(Debug)]
pub struct Follow {
    events: Option<Subscription>,
    ends: Option<Subscription>,
    tracking: Tracking,
    sockets: SocketLists,
    sources: Sources,
    interval: Duration,
    next_sockets: Instant,
    next_entries: Instant,
    /// Not every loss is worth a list of its own while they go on.
    next_catch_up: Instant,
    /// Somebody has older entries, of which tracking may tell nothing.
    older: bool,
    lost: bool,
    /// Sockets that have ended, and that were not handed on yet.
    gone: Vec<GoneSocket>,
}

impl Follow {
    /// Joins the groups inside `netns`. What cannot be had stands in [`Follow::sources`].
    ///
    /// # Errors
    /// The namespace could not be entered (CAP_SYS_ADMIN is needed).
    pub fn open(netns: &Netns, proc_root: &Path, interval: Duration) -> io::Result<Self> {
        let (kernel, present) = (KernelLists::of(proc_root), Present::look(proc_root));
        let groups: Vec<u32> = [(Protocol::Tcp, single::TCP_GROUPS), (Protocol::Udp, single::UDP_GROUPS)]
            .into_iter()
            // To join a group makes the kernel load what answers for it, and so does a socket of it that ends.
            .filter(|(protocol, _)| kernel.missing(*protocol).is_none())
            .flat_map(|(_, groups)| groups)
            .collect();
        netns.enter(|| {
            let events = events(present, proc_root);
            let ends = ends(&groups);
            let (tracking, sockets) = (present.open(), SocketLists::open(kernel));
            let now = Instant::now();
            let sources = Sources {
                tracking: events.as_ref().map(|_| ()).map_err(|refusal| refusal.clone().into()),
                entries: Ok(()),
                ends: ends.as_ref().map(|_| ()).map_err(|refusal| refusal.clone().into()),
                sockets: Ok(()),
            };
            let (events, ends) = (events.ok(), ends.ok());
            Self {
                events,
                ends,
                tracking,
                sockets,
                sources,
                interval,
                next_sockets: now,
                next_entries: now,
                next_catch_up: now,
                older: true,
                lost: false,
                gone: Vec::new(),
            }
        })
    }

    /// What is known from where. Whether lists can be had is known after the first turn.
    #[must_use]
    pub fn sources(&self) -> &Sources {
        &self.sources
    }

    /// Bytes of events that the kernel keeps for us.
    #[must_use]
    pub fn room(&self) -> usize {
        self.events.as_ref().or(self.ends.as_ref()).map_or(0, Subscription::room)
    }

    /// Says whether entries are known that tracking may tell nothing of: since Linux 5.19 it tells of those only that came when
    /// somebody listened already (`nf_conntrack_events` 2, net/netfilter/nf_conntrack_ecache.c).
    pub fn has_older(&mut self, older: bool) {
        self.older = older;
    }

    /// Waits until there is something to do, and at most until then.
    ///
    /// # Errors
    /// The system's own.
    pub fn wait(
        &self,
        signals: &EndSignals,
        process: Option<&HeldProcess>,
        written: BorrowedFd<'_>,
        until: Option<Instant>,
    ) -> io::Result<Woken> {
        let (events, ends) = (self.events.as_ref().map(AsFd::as_fd), self.ends.as_ref().map(AsFd::as_fd));
        let process = process.map(AsFd::as_fd);
        let mut descriptors = vec![signals.as_fd()];
        descriptors.extend(process);
        descriptors.extend([events, ends].into_iter().flatten());
        let due = self.due();
        let soonest = [until, due].into_iter().flatten().min();
        let ready = wait_with_reader(&descriptors, written, soonest)?;
        let is = |at: usize| ready.get(at).copied().unwrap_or_default();
        if is(0) {
            return Ok(Woken::Told);
        }
        if ready.last() == Some(&true) {
            return Ok(Woken::Unread);
        }
        if until.is_some_and(|until| Instant::now() >= until) {
            return Ok(Woken::Over);
        }
        Ok(if process.is_some() && is(1) { Woken::Gone } else { Woken::Ready })
    }

    fn due(&self) -> Option<Instant> {
        let sockets = self.sources.sockets.is_ok().then_some(self.next_sockets);
        let catch_up = self.lost.then_some(self.next_catch_up);
        sockets.into_iter().chain(catch_up).chain(self.entries_due()).min()
    }

    fn entries_due(&self) -> Option<Instant> {
        // Where tracking tells of everything there is nothing to look for.
        let wanted = self.older || self.events.is_none();
        Some(self.next_entries).filter(|_| wanted && self.sources.entries.is_ok())
    }

    /// Hands on what was told, and looks again where it is time.
    ///
    /// # Errors
    /// A socket failed.
    pub fn turn(&mut self, mut each: impl FnMut(Observed)) -> io::Result<()> {
        let now = Instant::now();
        let drained = self.told(TURN, &mut each)?;
        if !drained {
            return Ok(());
        }
        if self.lost && self.next_catch_up <= now {
            self.lost = false;
            each(Observed::Lost);
            self.list(&mut each)?;
        } else if self.entries_due().is_some_and(|due| due <= now) {
            self.list(&mut each)?;
        }
        if self.sources.sockets.is_ok() && self.next_sockets <= now {
            let cost = spent();
            // A connection that is followed in the list stands in it; one that waits for the first packet's answer too.
            let states = sock_diag::LIVE | 1 << 10;
            let (sockets, unread) = self.sockets.protocols(&[Protocol::Tcp, Protocol::Udp], Wanted::states(states));
            self.next_sockets = now + self.interval.max(spent().saturating_sub(cost) * SHARE);
            // One of two lists is better than none.
            match unread.into_iter().next().filter(|_| sockets.is_empty()) {
                Some(refused) => self.sources.sockets = Err(refused.into()),
                None => {
                    self.told(usize::MAX, &mut each)?;
                    each(Observed::Sockets(sockets));
                }
            }
        }
        Ok(())
    }

    /// The list of tracked entries, with all that is told until it is read.
    fn list(&mut self, each: &mut impl FnMut(Observed)) -> io::Result<()> {
        let (begun, cost) = (Instant::now(), spent());
        each(Observed::ListBegins);
        let unread = self.tracking.each(&FlowFilter::default(), |flow| {
            each(Observed::Listed(flow));
            ControlFlow::Continue(())
        });
        let cost = spent().saturating_sub(cost);
        self.told(usize::MAX, each)?;
        let seldom = if self.events.is_some() { SELDOM } else { 1 };
        self.next_entries = begun + (self.interval * seldom).max(cost * SHARE);
        self.next_catch_up = Instant::now() + CATCH_UP.max(cost * 4);
        match unread.into_iter().next() {
            None => each(Observed::ListEnds),
            Some(refused) => {
                each(Observed::ListFails);
                if refused.cause != Cause::Failed {
                    self.sources.entries = Err(refused.into());
                }
            }
        }
        Ok(())
    }

    /// Hands on what was told, so many datagrams of each kind at most; whether nothing is left.
    fn told(&mut self, most: usize, each: &mut impl FnMut(Observed)) -> io::Result<bool> {
        let mut read = 0;
        let mut lost = false;
        // Read first and handed on last: what tracking tells of a connection that has ended was told before its socket's end.
        while let Some(ends) = self.ends.as_mut().filter(|_| read < most) {
            let received = ends.receive(|message| {
                if message.kind == sock_diag::BY_FAMILY
                    && let Ok(gone) = single::decode_gone(message.payload)
                {
                    self.gone.push(gone);
                }
            })?;
            // The next list of sockets shows which are gone, but not which came and went.
            lost |= received.lost;
            read += received.datagrams;
            if received.empty {
                break;
            }
        }
        let whole = read < most;
        let mut drained = self.events.is_none();
        read = 0;
        while let Some(events) = self.events.as_mut().filter(|_| read < most) {
            let received = events.receive(|message| {
                let Some(happening) = event::happening(message.kind, message.flags) else { return };
                match conntrack::decode(message.payload) {
                    Ok(flow) => each(Observed::Tracked(happening, flow)),
                    // What cannot be read is as good as lost.
                    Err(_) => lost = true,
                }
            })?;
            lost |= received.lost;
            read += received.datagrams;
            drained = received.empty;
            if drained {
                break;
            }
        }
        if drained {
            self.gone.drain(..).for_each(|gone| each(Observed::SocketGone(gone)));
        }
        self.lost |= lost;
        Ok(whole && drained)
    }
}

/// Joins tracking's groups in the calling thread's namespace.
fn events(present: Present, proc_root: &Path) -> Result<Subscription, Refusal> {
    present.can_tell()?;
    // Off is off: nothing would ever come.
    let switch = fs::read_to_string(proc_root.join("sys/net/netfilter/nf_conntrack_events"));
    if switch.is_ok_and(|value| value.trim() == "0") {
        let error = "events are switched off in this namespace (net.netfilter.nf_conntrack_events is 0)".to_owned();
        return Err(Refusal { cause: Cause::Unsupported, error });
    }
    join(netlink::NETFILTER, &event::GROUPS)
}

/// Joins the groups of sockets that end, in the calling thread's namespace.
fn ends(groups: &[u32]) -> Result<Subscription, Refusal> {
    if groups.is_empty() { Err(Refusal::absent("inet_diag")) } else { join(netlink::SOCK_DIAG, groups) }
}

fn join(protocol: i32, groups: &[u32]) -> Result<Subscription, Refusal> {
    let joined = Subscription::open(protocol, ROOM).and_then(|subscription| {
        groups.iter().try_for_each(|group| subscription.join(*group))?;
        Ok(subscription)
    });
    joined.map_err(|error| Refusal::from_io(&error))
}
