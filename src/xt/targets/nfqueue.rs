//! `NFQUEUE`: asks a program (`struct xt_NFQ_info`, `_v1` to `_v3`).

use std::fmt::Write;

use super::{Effect, Extension, Given, Targeting};
use crate::xt::bytes::Layout;
use crate::xt::extension::parse_whole;

/// Asks a program.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Nfqueue {
    /// The queue, or the first of several.
    pub queue: u16,
    /// How many queues share the flows.
    pub queues: u16,
    /// `--queue-bypass`: where nobody listens the packet goes on.
    pub bypass: bool,
    /// `--queue-cpu-fanout`: the CPU chooses the queue.
    pub by_cpu: bool,
}

impl Extension for Nfqueue {
    const NAMES: &'static [&'static str] = &["NFQUEUE"];
    const OPTIONS: &'static [(&'static str, usize)] =
        &[("--queue-num", 1), ("--queue-balance", 1), ("--queue-bypass", 0), ("--queue-cpu-fanout", 0)];

    fn decode(revision: u8, data: &[u8], _ipv6: bool) -> Option<Self> {
        let layout = Layout::of(data, 8)?;
        let queues = if revision == 0 { 1 } else { layout.u16(2)? };
        let flags = if revision < 2 { 0 } else { layout.u16(4)? };
        let known = if revision == 3 { 3 } else { 1 };
        let queue = layout.u16(0)?;
        let sensible = revision <= 3 && flags & !known == 0 && queues != 0 && queue.checked_add(queues - 1).is_some();
        sensible.then_some(Self { queue, queues, bypass: flags & 1 != 0, by_cpu: flags & 2 != 0 })
    }

    fn parse(_name: &str, options: &[Given], _ipv6: bool) -> Option<Self> {
        let mut nfqueue = Self { queue: 0, queues: 1, bypass: false, by_cpu: false };
        for given in options {
            let queue = |text: &str| parse_whole::<u16>(text);
            match given.name {
                "--queue-num" => nfqueue.queue = given.number().and_then(|number| u16::try_from(number).ok())?,
                "--queue-balance" => {
                    let (first, last) = given.value().split_once(':')?;
                    nfqueue.queue = queue(first)?;
                    nfqueue.queues = queue(last)?.checked_sub(nfqueue.queue)?.checked_add(1)?;
                }
                "--queue-bypass" => nfqueue.bypass = true,
                _ => nfqueue.by_cpu = true,
            }
        }
        Some(nfqueue)
    }

    fn save(&self, out: &mut String) {
        let Self { queue, queues, .. } = *self;
        // Writing to a String cannot fail.
        match queues {
            1 => write!(out, " --queue-num {queue}").ok(),
            _ => write!(out, " --queue-balance {queue}:{}", self.last()).ok(),
        };
        out.push_str(if self.bypass { " --queue-bypass" } else { "" });
        out.push_str(if self.by_cpu { " --queue-cpu-fanout" } else { "" });
    }
}

impl Nfqueue {
    fn last(self) -> u16 {
        self.queue.saturating_add(self.queues.saturating_sub(1))
    }
}

impl Targeting for Nfqueue {
    fn effect(&self) -> Effect {
        Effect::Queue { bypass: self.bypass }
    }

    fn explain(&self) -> String {
        let which = match self.queues {
            1 => format!("queue {}", self.queue),
            _ => format!("queues {}–{}", self.queue, self.last()),
        };
        let by_cpu = if self.by_cpu { ", one for each CPU" } else { "" };
        let alone = if self.bypass { ", accepted where none listens" } else { "" };
        format!("handed to a program ({which}{by_cpu}){alone}")
    }

    fn nft(&self) -> Option<String> {
        let which = match self.queues {
            1 => self.queue.to_string(),
            _ => format!("{}-{}", self.queue, self.last()),
        };
        let flags = match (self.bypass, self.by_cpu) {
            (false, false) => "",
            (true, false) => " bypass",
            (false, true) => " fanout",
            (true, true) => " bypass,fanout",
        };
        Some(format!("queue num {which}{flags}"))
    }
}
