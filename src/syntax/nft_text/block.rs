//! Tables with what stands in them: chains, sets, objects.

use super::lexer::Kind;
use super::parser::{Fault, Parser};
use crate::model::{Chain, Family, Hook, Policy, Syntax};
use crate::nft::{Item, Object, SetTree, Value};
use crate::syntax::nft_tables::{At, Place, Tables};

/// The families by nft's words.
pub(in crate::syntax) fn family(word: &str) -> Option<Family> {
    const ALL: [Family; 6] = [Family::Ip, Family::Ip6, Family::Inet, Family::Arp, Family::Bridge, Family::Netdev];
    ALL.into_iter().find(|family| family.word() == word)
}

/// `NFPROTO_*`
pub(in crate::syntax) fn family_number(family: Family) -> u16 {
    match family {
        Family::Inet => 1,
        Family::Ip => 2,
        Family::Arp => 3,
        Family::Netdev => 5,
        Family::Bridge => 7,
        Family::Ip6 => 10,
    }
}

/// The hooks by their words.
pub(in crate::syntax) fn hook(word: &str) -> Option<Hook> {
    const ALL: [Hook; 7] =
        [Hook::Ingress, Hook::Prerouting, Hook::Input, Hook::Forward, Hook::Output, Hook::Postrouting, Hook::Egress];
    ALL.into_iter().find(|hook| hook.word() == word)
}

/// `NFT_CHAIN_HW_OFFLOAD`
const OFFLOAD: u32 = 2;

impl Parser<'_> {
    pub(super) fn table_body(&mut self, place: Place, out: &mut Tables) -> Result<(), Fault> {
        self.expect_sign("{")?;
        loop {
            self.ends();
            if self.sign("}") {
                return Ok(());
            }
            let token = self.peek();
            if token.kind == Kind::End {
                return Err(self.fault("the text ends within a table: it was cut"));
            }
            if let Err(fault) = self.table_line(place, out) {
                self.faults.push(fault);
                self.pass_over(token.at);
            }
        }
    }

    fn table_line(&mut self, place: Place, out: &mut Tables) -> Result<(), Fault> {
        let word = self.name("a chain, a set or an object")?;
        match word {
            "comment" => {
                let comment = self.text("a comment")?.to_owned();
                out.set_comment(place, comment);
                Ok(())
            }
            "flags" => loop {
                let flag = self.name("a flag")?;
                if !out.set_flag(place, flag) {
                    return Err(self.fault(format!("flag {flag:?} of a table is not known")));
                }
                if !self.sign(",") {
                    return Ok(());
                }
            },
            "chain" => {
                let name = self.name("the name of a chain")?;
                let chain = out.chain(place, name);
                self.chain_body(place, chain, out)
            }
            "define" | "redefine" => self.define(),
            "ct" => {
                let what = format!("ct {}", self.name("what it is")?);
                self.member(&what, place, out)
            }
            other => self.member(other, place, out),
        }
    }

    /// A set, an object or a flow table.
    pub(super) fn member(&mut self, what: &str, place: Place, out: &mut Tables) -> Result<(), Fault> {
        let at = self.peek().at;
        let name = self.name("a name")?.to_owned();
        let kind = match what {
            "set" | "map" => {
                let set = self.declared(name, what == "map")?;
                out.add_set(place, set, at);
                return Ok(());
            }
            "flowtable" => {
                let table = self.flow_table(name)?;
                out.add_flow_table(place, table);
                return Ok(());
            }
            "counter" => 1,
            "quota" => 2,
            "ct helper" => 3,
            "limit" => 4,
            "ct timeout" => 7,
            "secmark" => 8,
            "ct expectation" => 9,
            "synproxy" => 10,
            _ => return Err(self.fault(format!("{what:?} is nothing that is known in a table"))),
        };
        let (expression, comment) = self.object_body(kind)?;
        let mut user_data = Vec::new();
        if let Some(comment) = comment {
            user_data = crate::nft::comment_note(&comment);
        }
        out.add_object(place, Object { name, handle: None, kind, expression, user_data, unknown: Vec::new() });
        Ok(())
    }

    /// The elements between brackets.
    pub(super) fn elements(&mut self) -> Result<Vec<Item>, Fault> {
        match self.set()? {
            Value::Set(items) => Ok(items),
            _ => Err(self.unexpected("elements")),
        }
    }

    fn declared(&mut self, name: String, map: bool) -> Result<SetTree, Fault> {
        let mut set = SetTree { name, map, ..SetTree::default() };
        self.expect_sign("{")?;
        loop {
            self.ends();
            if self.sign("}") {
                return Ok(set);
            }
            if let Some(expression) = self.stateful()? {
                set.expressions.push(expression);
                continue;
            }
            match self.name("a property of the set")? {
                "type" => {
                    set.key = self.kinds()?;
                    if self.sign(":") {
                        set.ranges = self.word("interval");
                        set.data = self.kinds()?;
                    }
                }
                "typeof" => {
                    set.key_of = Some(self.value()?);
                    if self.sign(":") {
                        self.data_like(&mut set)?;
                    }
                }
                "flags" => loop {
                    set.flags.push(self.name("a flag")?.to_owned());
                    if !self.sign(",") {
                        break;
                    }
                },
                "auto-merge" => set.merge = true,
                "timeout" => set.timeout = Some(self.time()?),
                "gc-interval" => set.collection = Some(self.time()?),
                "size" => set.size = Some(self.number("a number")?),
                "policy" => set.memory = self.name("a policy")? == "memory",
                "comment" => set.comment = Some(self.text("a comment")?.to_owned()),
                "elements" => {
                    self.expect_sign("=")?;
                    set.elements.extend(self.elements()?);
                }
                other => return Err(self.fault(format!("{other:?} is no property of a set that is known"))),
            }
        }
    }

    /// What a map declared by `typeof` leads to.
    fn data_like(&mut self, set: &mut SetTree) -> Result<(), Fault> {
        set.ranges = self.word("interval");
        if matches!(self.second().kind, Kind::Line | Kind::Semicolon) {
            set.data = self.kinds()?;
            return Ok(());
        }
        let like = self.value()?;
        set.data = vec!["typeof".to_owned()];
        set.data_of = Some(like);
        Ok(())
    }

    /// `ipv4_addr . inet_service`, `ct helper`
    fn kinds(&mut self) -> Result<Vec<String>, Fault> {
        let mut kinds = Vec::new();
        loop {
            let mut word = self.name("a type")?.to_owned();
            if word == "ct" {
                word = format!("ct {}", self.name("a type")?);
            }
            kinds.push(word);
            if !self.sign(".") {
                return Ok(kinds);
            }
        }
    }

    pub(super) fn chain_body(&mut self, place: Place, chain: usize, out: &mut Tables) -> Result<(), Fault> {
        self.expect_sign("{")?;
        loop {
            self.ends();
            if self.sign("}") {
                return Ok(());
            }
            let token = self.peek();
            let second = self.second();
            match token.text {
                _ if token.kind == Kind::End => {
                    return Err(self.fault("the text ends within a chain: it was cut"));
                }
                "define" | "redefine" => {
                    self.next();
                    if let Err(fault) = self.define() {
                        self.faults.push(fault);
                        self.pass_over(token.at);
                    }
                }
                "type" => {
                    if let Err(fault) = self.hooked(out.chain_mut(place, chain)) {
                        self.faults.push(fault);
                        self.pass_over(token.at);
                    }
                }
                "policy" => {
                    self.next();
                    let policy = match self.peek().text {
                        "drop" => Policy::Drop,
                        "accept" => Policy::Accept,
                        _ => {
                            let fault = self.unexpected("accept or drop");
                            self.faults.push(fault);
                            self.pass_over(token.at);
                            continue;
                        }
                    };
                    self.next();
                    if let Some(chain) = out.chain_mut(place, chain) {
                        chain.policy = Some(policy);
                    }
                }
                "flags" if second.text == "offload" => {
                    self.next();
                    self.next();
                    if let Some(chain) = out.chain_mut(place, chain) {
                        chain.extra.flags |= OFFLOAD;
                    }
                }
                "comment" if second.kind == Kind::Text => {
                    self.next();
                    let comment = self.next().text.to_owned();
                    if let Some(chain) = out.chain_mut(place, chain) {
                        chain.comment = Some(comment);
                    }
                }
                _ => {
                    let rule = self.rule();
                    out.rule(place, chain, rule, At::Last);
                }
            }
        }
    }

    /// `type filter hook input device "lo" priority filter + 5`
    fn hooked(&mut self, chain: Option<&mut Chain>) -> Result<(), Fault> {
        self.next();
        let kind = self.name("a type of chain")?.to_owned();
        self.expect_word("hook")?;
        let word = self.name("a hook")?;
        let hook = hook(word).ok_or_else(|| self.fault(format!("hook {word:?} is not known")))?;
        let mut devices = Vec::new();
        if self.word("device") {
            devices.push(self.name("a device")?.to_owned());
        } else if self.word("devices") {
            self.expect_sign("=")?;
            devices = self.devices()?;
        }
        self.expect_word("priority")?;
        let priority = self.priority()?;
        if let Some(chain) = chain {
            chain.syntax = Syntax::Nft;
            (chain.kind, chain.hook, chain.priority) = (Some(kind), Some(hook), Some(priority));
            chain.policy = chain.policy.or(Some(Policy::Accept));
            chain.devices = devices;
        }
        Ok(())
    }

    /// `-100`, `filter`, `filter + 5`, `dstnat-1`
    pub(super) fn priority(&mut self) -> Result<i32, Fault> {
        let negative = self.sign("-");
        let token = self.peek();
        if crate::nft::number_of(token.text).is_some() || negative {
            let number: i32 = self.number("a priority")?;
            return Ok(if negative { -number } else { number });
        }
        let mut word = self.name("a priority")?;
        let mut offset = 0;
        if let Some((name, less)) = word.split_once('-') {
            word = name;
            offset = -less.parse::<i32>().map_err(|_| self.fault("a priority is expected"))?;
        }
        let base = crate::syntax::nft::named_priority(self.family, word);
        let base = base.ok_or_else(|| self.fault(format!("priority {word:?} is not known")))?;
        for (sign, factor) in [("+", 1), ("-", -1)] {
            if self.sign(sign) {
                let number: i32 = self.number("a number")?;
                offset = number.saturating_mul(factor);
            }
        }
        Ok(base.saturating_add(offset))
    }
}
