//! Rules: one statement behind the other. What is not understood is kept as text, and said with its place.

use super::lexer::Kind;
use super::parser::{Fault, Parser};
use crate::nft::{Answer, Expression, Load, Part, RuleTree, Term, Value, Written};

/// `NF_NAT_RANGE_NETMAP`
const PREFIXES: u32 = 0x40;
/// `NFTA_FIB_F_PRESENT`
const PRESENT: u32 = 0x20;

/// `NFT_OBJECT_SECMARK`
const SECMARK: u32 = 8;

impl Parser<'_> {
    /// A rule up to the end of its line.
    pub(super) fn rule(&mut self) -> RuleTree {
        let mut rule = RuleTree::default();
        while !self.is_over() {
            let at = self.peek().at;
            if self.at_word("comment") && self.second().kind == Kind::Text {
                self.next();
                rule.comment = Some(self.next().text.to_owned());
                continue;
            }
            let part = self.part().unwrap_or_else(|fault| {
                self.faults.push(fault);
                self.pass_over(at);
                Part::Unknown(String::new())
            });
            let text = self.since(at).trim_end().to_owned();
            rule.parts.push(Written { part, text, at });
        }
        rule
    }

    fn part(&mut self) -> Result<Part, Fault> {
        if let Some(verdict) = self.verdict()? {
            return Ok(Part::Verdict(verdict));
        }
        let (first, second) = (self.peek(), self.second());
        let object = match (first.text, second.text) {
            ("counter", "name") => Some((1, "counter")),
            ("quota", "name") => Some((2, "quota")),
            ("limit", "name") => Some((4, "limit")),
            ("synproxy", "name") => Some((10, "synproxy")),
            ("ct", "helper") => Some((3, "helper")),
            ("ct", "timeout") => Some((7, "timeout")),
            ("ct", "expectation") => Some((9, "expectation")),
            ("meta", "secmark") => Some((SECMARK, "secmark")),
            _ => None,
        };
        if let Some((kind, _)) = object.filter(|_| first.kind == Kind::Word)
            && let Some(part) = self.object(kind)?
        {
            return Ok(part);
        }
        if first.kind == Kind::Word
            && let Some(part) = self.statement(first.text)?
        {
            return Ok(part);
        }
        self.compared()
    }

    /// A named object; none where it is a property of the connection that is compared.
    fn object(&mut self, kind: u32) -> Result<Option<Part>, Fault> {
        if matches!(self.peek().text, "ct" | "meta") {
            let mut ahead = self.clone_lexer();
            ahead.next();
            // `meta secmark set ct secmark` names no object.
            if ahead.next().text != "set" || (kind == SECMARK && ahead.next().kind != Kind::Text) {
                return Ok(None);
            }
            self.next();
        }
        self.next();
        self.next();
        let token = self.peek();
        if token.kind == Kind::Text {
            self.next();
            return Ok(Some(Part::Plain(Expression::Object { kind, name: token.text.to_owned() })));
        }
        match self.value()? {
            Value::Map(key, map) => Ok(Some(Part::ObjectMap(kind, *key, *map))),
            Value::Word(name) => Ok(Some(Part::Plain(Expression::Object { kind, name }))),
            _ => Err(self.unexpected("a name, or a map of names")),
        }
    }

    fn statement(&mut self, word: &str) -> Result<Option<Part>, Fault> {
        if let Some(expression) = self.stateful()? {
            return Ok(Some(Part::Plain(expression)));
        }
        Ok(Some(match word {
            "log" => Part::Plain(self.log()?),
            "queue" => Part::Plain(self.queue()?),
            "notrack" => {
                self.next();
                Part::Plain(Expression::Notrack)
            }
            "synproxy" => {
                self.next();
                Part::Plain(self.synproxy()?)
            }
            "flow" if self.second().text == "add" => {
                self.next();
                self.next();
                self.expect_sign("@")?;
                Part::Plain(Expression::Flow { table: self.name("a flow table")?.to_owned() })
            }
            "last" => {
                self.next();
                let used = self.word("used") && !self.word("never");
                Part::Plain(Expression::Last(if used { Some(self.time()?) } else { None }))
            }
            "reset" => {
                self.next();
                match self.value()? {
                    Value::Term(Term::Option(option)) if option.of == 1 => {
                        Part::Plain(Expression::Strip { number: option.number })
                    }
                    _ => return Err(self.unexpected("an option of TCP")),
                }
            }
            "snat" => self.nat("snat")?,
            "dnat" => self.nat("dnat")?,
            "masquerade" => self.nat("masquerade")?,
            "redirect" => self.nat("redirect")?,
            "tproxy" => {
                self.next();
                let family = self.family_word();
                self.expect_word("to")?;
                let (address, port) = self.addresses()?;
                Part::Tproxy(family, address, port)
            }
            "reject" => Part::Reject(self.reject()?),
            "dup" | "fwd" => self.send()?,
            "meter" => self.meter()?,
            "add" | "update" | "delete" if self.second().text == "@" => self.update()?,
            _ => return Ok(None),
        }))
    }

    /// `left sign right`, `left vmap { … }`, `left set right`
    fn compared(&mut self) -> Result<Part, Fault> {
        let at = self.peek().at;
        let mut left = self.value()?;
        if matches!(left, Value::Word(_) | Value::Text(_) | Value::Any | Value::Set(_) | Value::Named(_)) {
            let word = self.since(at).split_whitespace().next().unwrap_or_default().to_owned();
            return Err(Fault { at, what: format!("{word:?} is no statement that is known") });
        }
        if self.word("vmap") {
            let map = self.deeper(Self::set)?;
            return Ok(Part::VerdictMap(left, map));
        }
        if self.word("set") {
            let Value::Term(term) = left else { return Err(self.fault("it cannot be set")) };
            return Ok(Part::Set(term, self.right()?));
        }
        let token = self.peek();
        let sign = match (token.kind, token.text) {
            (Kind::Sign, "==") | (Kind::Word, "eq") => "==",
            (Kind::Sign, "!=") | (Kind::Word, "ne") => "!=",
            (Kind::Sign, "<") | (Kind::Word, "lt") => "<",
            (Kind::Sign, ">") | (Kind::Word, "gt") => ">",
            (Kind::Sign, "<=") | (Kind::Word, "le") => "<=",
            (Kind::Sign, ">=") | (Kind::Word, "ge") => ">=",
            (Kind::Sign, "!") => "!",
            _ => "",
        };
        if !sign.is_empty() {
            self.next();
        }
        if let Value::Term(Term::Load(Load::Fib { flags, .. })) = &mut left
            && (self.at_word("exists") || self.at_word("missing"))
        {
            *flags |= PRESENT;
        }
        let right = self.right()?;
        if self.sign("/") {
            let mask = self.right()?;
            return Ok(Part::Masked(left, sign, right, mask));
        }
        Ok(Part::Match(left, sign, right))
    }

    /// `ip`, `ip6` before `to`
    fn family_word(&mut self) -> Option<u32> {
        if self.word("ip") {
            Some(2)
        } else if self.word("ip6") {
            Some(10)
        } else {
            None
        }
    }

    /// `10.0.0.1-10.0.0.9:80-90`, `:80`
    fn addresses(&mut self) -> Result<(Option<Value>, Option<Value>), Fault> {
        let address = if self.at_sign(":") { None } else { Some(self.value()?) };
        let port = if self.sign(":") { Some(self.value()?) } else { None };
        Ok((address, port))
    }

    fn nat(&mut self, word: &'static str) -> Result<Part, Fault> {
        self.next();
        let family = self.family_word();
        let (mut address, mut port, mut flags) = (None, None, 0);
        if self.word("prefix") {
            flags |= PREFIXES;
        } else if self.word("addr") {
            // `addr . port to`, as nft takes it for maps that lead to both.
            self.expect_sign(".")?;
            self.expect_word("port")?;
        } else {
            self.word("interval");
        }
        if self.word("to") {
            (address, port) = self.addresses()?;
        }
        loop {
            flags |= match self.peek().text {
                "random" => 4,
                "persistent" => 8,
                "fully-random" => 16,
                _ => break,
            };
            self.next();
            if !self.sign(",") {
                break;
            }
        }
        Ok(Part::Nat { word, family, address, port, flags })
    }

    fn reject(&mut self) -> Result<Answer, Fault> {
        self.next();
        if !self.word("with") {
            return Ok(Answer::Usual);
        }
        if self.word("tcp") {
            self.expect_word("reset")?;
            return Ok(Answer::Reset);
        }
        let kind = self.name("tcp reset, icmp, icmpv6 or icmpx")?;
        self.word("type");
        let name = self.name("a code")?;
        let code = crate::nft::icmp_code(kind, name).ok_or_else(|| self.fault(format!("{kind} {name} is no code")))?;
        Ok(match kind {
            "icmp" => Answer::Icmp(code),
            "icmpv6" => Answer::Icmpv6(code),
            _ => Answer::Icmpx(code),
        })
    }

    fn send(&mut self) -> Result<Part, Fault> {
        let copy = self.next().text == "dup";
        let family = self.family_word();
        self.expect_word("to")?;
        let to = self.value()?;
        if self.word("device") {
            let device = Some(self.value()?);
            return Ok(Part::Send { copy, family, address: Some(to), device });
        }
        // In netdev a device alone stands there.
        let device = self.family == crate::nft::Family::Netdev && family.is_none();
        let (address, device) = if device { (None, Some(to)) } else { (Some(to), None) };
        Ok(Part::Send { copy, family, address, device })
    }

    /// `meter m size 65535 { ip saddr timeout 1m limit rate 5/second }`
    fn meter(&mut self) -> Result<Part, Fault> {
        self.next();
        let name = self.name("the name of a meter")?.to_owned();
        let size = if self.word("size") { Some(self.number("a number")?) } else { None };
        self.expect_sign("{")?;
        let mut element = self.item()?;
        self.expect_sign("}")?;
        let expressions = std::mem::take(&mut element.expressions);
        Ok(Part::Meter { name, size, element: Box::new(element), expressions })
    }

    fn update(&mut self) -> Result<Part, Fault> {
        let operation = match self.next().text {
            "add" => 0,
            "update" => 1,
            _ => 2,
        };
        self.expect_sign("@")?;
        let set = self.name("a set")?.to_owned();
        self.expect_sign("{")?;
        let mut element = self.item()?;
        self.expect_sign("}")?;
        let expressions = std::mem::take(&mut element.expressions);
        Ok(Part::Update { operation, set, element: Box::new(element), expressions })
    }
}
