//! Named objects and flow tables.

use super::block::{family, family_number};
use super::parser::{Fault, Parser};
use crate::model::Family;
use crate::nft::{Expression, FlowTable, Value, all_timeouts, timeout_number};

/// Transport protocols that objects are for.
pub(in crate::syntax) fn transport(word: &str) -> Option<u8> {
    Some(match word {
        "tcp" => 6,
        "udp" => 17,
        "dccp" => 33,
        "sctp" => 132,
        _ => return None,
    })
}

/// What is known of an object for connections, line by line.
#[derive(Debug, Default)]
struct Lines {
    name: String,
    protocol: u8,
    family: Option<Family>,
    port: u16,
    timeout: u32,
    size: u8,
    seconds: Vec<(u16, u32)>,
}

impl Parser<'_> {
    /// What stands between the brackets of an object, and its comment.
    pub(super) fn object_body(&mut self, kind: u32) -> Result<(Expression, Option<String>), Fault> {
        let zero = Expression::Counter { packets: 0, bytes: 0 };
        if !self.at_sign("{") {
            return if kind == 1 { Ok((zero, None)) } else { Err(self.unexpected("\"{\"")) };
        }
        self.next();
        let (mut found, mut comment) = ((kind == 1).then_some(zero), None);
        let mut lines = Lines::default();
        loop {
            self.ends();
            if self.sign("}") {
                break;
            }
            if self.word("comment") {
                comment = Some(self.text("a comment")?.to_owned());
                continue;
            }
            found = Some(match kind {
                1 => {
                    self.expect_word("packets")?;
                    let packets = self.number("a number of packets")?;
                    self.expect_word("bytes")?;
                    Expression::Counter { packets, bytes: self.number("a number of bytes")? }
                }
                2 => self.quota_size()?,
                4 => {
                    self.expect_word("rate")?;
                    self.limit_rate()?
                }
                8 => Expression::Secmark(self.text("a security context")?.to_owned()),
                10 => {
                    let before = found.take();
                    match (before, self.synproxy()?) {
                        (
                            Some(Expression::Synproxy { mss, scale, flags }),
                            Expression::Synproxy { mss: m, scale: s, flags: f },
                        ) => Expression::Synproxy { mss: mss.max(m), scale: scale.max(s), flags: flags | f },
                        (_, one) if self.is_over() => one,
                        _ => return Err(self.unexpected("mss, wscale, timestamp or sack-perm")),
                    }
                }
                _ => {
                    self.object_line(&mut lines)?;
                    continue;
                }
            });
        }
        let Lines { name, protocol, family, port, timeout, size, seconds } = lines;
        let family = family_number(family.unwrap_or(self.family));
        found = found.or(match kind {
            3 => Some(Expression::Helper { name, family, protocol }),
            7 => Some(Expression::Timeouts { family, protocol, seconds: all_timeouts(protocol, &seconds) }),
            9 => Some(Expression::Expectation { family, protocol, port, timeout, size }),
            _ => None,
        });
        let found = found.ok_or_else(|| self.fault("the object is empty"))?;
        Ok((found, comment))
    }

    /// A line of an object for connections.
    fn object_line(&mut self, lines: &mut Lines) -> Result<(), Fault> {
        match self.name("a property of the object")? {
            "type" => self.text("the name of a helper")?.clone_into(&mut lines.name),
            "protocol" => {
                let word = self.name("a transport protocol")?;
                lines.protocol = transport(word).ok_or_else(|| self.fault(format!("{word:?} is not known here")))?;
            }
            "l3proto" => {
                let word = self.name("a family")?;
                lines.family = Some(family(word).ok_or_else(|| self.fault(format!("{word:?} is no family")))?);
            }
            "dport" => lines.port = self.number("a port")?,
            "size" => lines.size = self.number("a number")?,
            "timeout" => {
                let time = self.time()?;
                lines.timeout = u32::try_from(time).map_err(|_| self.fault("it is too long"))?;
            }
            "policy" => {
                self.expect_sign("=")?;
                self.expect_sign("{")?;
                while !self.sign("}") {
                    let word = self.name("a state of connections")?;
                    let state = timeout_number(lines.protocol, word);
                    let state = state.ok_or_else(|| self.fault(format!("state {word:?} is not known")))?;
                    self.expect_sign(":")?;
                    let seconds = self.time()? / 1000;
                    lines.seconds.push((state, u32::try_from(seconds).unwrap_or(u32::MAX)));
                    self.sign(",");
                    self.lines();
                }
            }
            other => return Err(self.fault(format!("{other:?} is no property of an object that is known"))),
        }
        Ok(())
    }

    /// `hook ingress priority filter`, `devices = { a, b }`, `flags offload`, `counter`
    pub(super) fn flow_table(&mut self, name: String) -> Result<FlowTable, Fault> {
        const OFFLOAD: u32 = 1;
        const COUNTER: u32 = 2;
        let mut table = FlowTable { name, ..FlowTable::default() };
        self.expect_sign("{")?;
        loop {
            self.ends();
            if self.sign("}") {
                return Ok(table);
            }
            match self.name("a property of the flow table")? {
                "hook" => {
                    self.expect_word("ingress")?;
                    self.expect_word("priority")?;
                    // `NF_NETDEV_INGRESS`
                    table.hook = Some(0);
                    table.priority = Some(self.priority()?);
                }
                "devices" => {
                    self.expect_sign("=")?;
                    table.devices = self.devices()?;
                }
                "flags" => {
                    self.expect_word("offload")?;
                    table.flags |= OFFLOAD;
                }
                "counter" => table.flags |= COUNTER,
                other => return Err(self.fault(format!("{other:?} is no property of a flow table that is known"))),
            }
        }
    }

    pub(super) fn devices(&mut self) -> Result<Vec<String>, Fault> {
        let mut devices = Vec::new();
        for item in self.elements()? {
            match item.key {
                Value::Text(name) | Value::Word(name) => devices.push(name),
                // A name such as that of a property of the packet.
                _ => return Err(self.unexpected("names of devices")),
            }
        }
        Ok(devices)
    }
}
