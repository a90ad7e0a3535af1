//! What counts, limits, logs and queues.

use super::lexer::Kind;
use super::parser::{Fault, Parser};
use crate::nft::Expression;

/// Bytes in a unit.
pub(in crate::syntax) fn unit(word: &str) -> Option<u64> {
    Some(match word {
        "bytes" | "byte" => 1,
        "kbytes" | "kbyte" => 1 << 10,
        "mbytes" | "mbyte" => 1 << 20,
        _ => return None,
    })
}

/// Seconds in a period.
pub(in crate::syntax) fn period(word: &str) -> Option<u64> {
    Some(match word {
        "second" => 1,
        "minute" => 60,
        "hour" => 3600,
        "day" => 86_400,
        "week" => 604_800,
        _ => return None,
    })
}

/// A limit as nft takes it when no burst is given.
pub(in crate::syntax) fn usual_burst(bytes: bool) -> u32 {
    if bytes { 0 } else { 5 }
}

/// `NF_LOG_*`
pub(in crate::syntax) fn log_flag(word: &str) -> Option<u32> {
    Some(match word {
        "sequence" => 1,
        "options" => 2,
        "ip options" => 4,
        "skuid" => 8,
        "ether" => 0x20,
        "all" => 0x2f,
        _ => return None,
    })
}

/// syslog's level; `audit` is the kernel's own.
pub(in crate::syntax) fn log_level(word: &str) -> Option<u32> {
    const LEVELS: [&str; 9] = ["emerg", "alert", "crit", "err", "warn", "notice", "info", "debug", "audit"];
    LEVELS.iter().position(|level| *level == word).and_then(|level| u32::try_from(level).ok())
}

/// What nft fills in for a log without a group.
pub(in crate::syntax) fn complete_log(log: Expression) -> Expression {
    /// `warn`
    const USUAL: u32 = 4;
    match log {
        Expression::Log { group: None, prefix, blank, length, threshold, level, flags } => {
            let level = level.or(Some(USUAL));
            Expression::Log { group: None, prefix, blank, length, threshold, level, flags }
        }
        other => other,
    }
}

impl Parser<'_> {
    pub(super) fn counter(&mut self) -> Result<Expression, Fault> {
        self.next();
        let (mut packets, mut bytes) = (0, 0);
        if self.word("packets") {
            packets = self.number("a number of packets")?;
            self.expect_word("bytes")?;
            bytes = self.number("a number of bytes")?;
        }
        Ok(Expression::Counter { packets, bytes })
    }

    /// A number and its unit.
    pub(super) fn bytes(&mut self) -> Result<u64, Fault> {
        let count: u64 = self.number("a number of bytes")?;
        let Some(unit) = unit(self.peek().text) else { return Err(self.unexpected("bytes, kbytes or mbytes")) };
        self.next();
        count.checked_mul(unit).ok_or_else(|| self.fault("so many bytes cannot be"))
    }

    pub(super) fn limit(&mut self) -> Result<Expression, Fault> {
        self.next();
        self.expect_word("rate")?;
        self.limit_rate()
    }

    /// `over 10/second burst 5 packets`, `1 mbytes/minute burst 3 kbytes`
    pub(super) fn limit_rate(&mut self) -> Result<Expression, Fault> {
        let over = self.word("over");
        if !over {
            self.word("until");
        }
        let mut rate: u64 = self.number("a rate")?;
        let word = self.peek();
        let (mut bytes, mut time) = (false, None);
        if let Some((size, word)) = word.text.split_once('/').filter(|_| word.kind == Kind::Word) {
            let scaled = unit(size).and_then(|unit| rate.checked_mul(unit));
            rate = scaled.ok_or_else(|| self.unexpected("bytes, kbytes or mbytes"))?;
            (bytes, time) = (true, period(word));
            self.next();
        } else {
            if let Some(unit) = unit(word.text) {
                self.next();
                bytes = true;
                rate = rate.checked_mul(unit).ok_or_else(|| self.fault("so many bytes cannot be"))?;
            }
            self.expect_sign("/")?;
            time = period(self.name("a period")?).or(time);
        }
        let unit = time.ok_or_else(|| self.unexpected("second, minute, hour, day or week"))?;
        let mut burst = usual_burst(bytes);
        if self.word("burst") {
            if bytes {
                let count = self.bytes()?;
                burst = u32::try_from(count).map_err(|_| self.fault("so large a burst cannot be"))?;
            } else {
                burst = self.number("a number of packets")?;
                self.word("packets");
            }
        }
        Ok(Expression::Limit { rate, unit, burst, bytes, over })
    }

    pub(super) fn quota(&mut self) -> Result<Expression, Fault> {
        self.next();
        self.quota_size()
    }

    /// `over 10 mbytes used 5 bytes`
    pub(super) fn quota_size(&mut self) -> Result<Expression, Fault> {
        let over = self.word("over");
        if !over {
            self.word("until");
        }
        let bytes = self.bytes()?;
        let used = if self.word("used") { self.bytes()? } else { 0 };
        Ok(Expression::Quota { bytes, used, flags: u32::from(over) })
    }

    pub(super) fn connections(&mut self) -> Result<Expression, Fault> {
        self.next();
        self.next();
        let over = self.word("over");
        Ok(Expression::Connections { count: self.number("a number of connections")?, over })
    }

    pub(super) fn log(&mut self) -> Result<Expression, Fault> {
        self.next();
        let (mut group, mut prefix, mut length, mut threshold, mut level) = (None, String::new(), None, None, None);
        let (mut flags, mut blank): (Option<u32>, bool) = (None, false);
        loop {
            match self.peek().text {
                "prefix" => {
                    self.next();
                    self.text("a text")?.clone_into(&mut prefix);
                    blank = prefix.is_empty();
                }
                "group" => {
                    self.next();
                    group = Some(self.number("a group")?);
                }
                "snaplen" => {
                    self.next();
                    length = Some(self.number("a number of bytes")?);
                }
                "queue-threshold" => {
                    self.next();
                    threshold = Some(self.number("a number of packets")?);
                }
                "level" => {
                    self.next();
                    let word = self.name("a level")?;
                    level = Some(log_level(word).ok_or_else(|| self.fault(format!("level {word:?} is not known")))?);
                }
                "flags" => {
                    self.next();
                    flags = Some(flags.unwrap_or(0) | self.log_flags()?);
                }
                _ => break,
            }
        }
        Ok(complete_log(Expression::Log { group, prefix, blank, length, threshold, level, flags }))
    }

    /// `tcp sequence,options`, `ip options`, `skuid`, `ether`, `all`
    fn log_flags(&mut self) -> Result<u32, Fault> {
        let mut word = self.name("what is logged")?.to_owned();
        if word == "ip" {
            word = format!("ip {}", self.name("options")?);
        } else if word == "tcp" {
            self.name("sequence or options")?.clone_into(&mut word);
        }
        let mut flags = 0;
        loop {
            flags |= log_flag(&word).ok_or_else(|| self.fault(format!("{word:?} is nothing that is logged")))?;
            if !self.sign(",") {
                return Ok(flags);
            }
            self.name("what is logged")?.clone_into(&mut word);
        }
    }

    /// `mss 1460 wscale 7 timestamp sack-perm`
    pub(super) fn synproxy(&mut self) -> Result<Expression, Fault> {
        const MSS: u32 = 1;
        const SCALE: u32 = 2;
        const SACK: u32 = 4;
        const TIMESTAMP: u32 = 8;
        let (mut mss, mut scale, mut flags) = (0, 0, 0);
        loop {
            let bit = match self.peek().text {
                "mss" => MSS,
                "wscale" => SCALE,
                "sack-perm" => SACK,
                "timestamp" => TIMESTAMP,
                _ => return Ok(Expression::Synproxy { mss, scale, flags }),
            };
            self.next();
            flags |= bit;
            match bit {
                MSS => mss = self.number("a size")?,
                SCALE => scale = self.number("a scale")?,
                _ => {}
            }
        }
    }

    pub(super) fn queue(&mut self) -> Result<Expression, Fault> {
        self.next();
        let mut flags = 0;
        let (mut number, mut last) = (0_u16, None);
        loop {
            match self.peek().text {
                "flags" | "," => {
                    self.next();
                }
                "bypass" => {
                    self.next();
                    flags |= 1;
                }
                "fanout" => {
                    self.next();
                    flags |= 2;
                }
                "to" | "num" => {
                    self.next();
                    number = self.number("a queue")?;
                    last = if self.sign("-") { Some(self.number("a queue")?) } else { None };
                }
                _ => break,
            }
        }
        let total = last.unwrap_or(number).checked_sub(number).and_then(|more| more.checked_add(1));
        let total = total.ok_or_else(|| self.fault("the last queue comes before the first"))?;
        Ok(Expression::Queue { number, total, flags })
    }
}
