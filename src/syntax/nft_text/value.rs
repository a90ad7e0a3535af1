//! Values: constants, sets, what is loaded, and what is made of them.

use super::lexer::Kind;
use super::parser::{Fault, Parser};
use crate::nft::{
    Expression, Family, HeaderOption, Item, ItemData, Load, Term, Value, Verdict, ct_named, duration, field_named,
    meta_named, option_named, raw, transform_named,
};

/// Properties of the packet that are written without `meta` before them.
const UNQUALIFIED: [&str; 16] = [
    "mark",
    "iif",
    "iifname",
    "iiftype",
    "oif",
    "oifname",
    "oiftype",
    "skuid",
    "skgid",
    "nftrace",
    "rtclassid",
    "iifgroup",
    "oifgroup",
    "cgroup",
    "pkttype",
    "cpu",
];

/// `NFTA_FIB_F_*`
const FIB: [(&str, u32); 5] = [("saddr", 1), ("daddr", 2), ("mark", 4), ("iif", 8), ("oif", 0x10)];

impl Parser<'_> {
    /// `a . b`, `a . b map { … }`
    pub(super) fn value(&mut self) -> Result<Value, Fault> {
        let first = self.range()?;
        let mut parts = vec![first];
        while self.sign(".") {
            parts.push(self.range()?);
        }
        let value = match parts.len() {
            1 => parts.remove(0),
            _ => Value::Concat(parts),
        };
        if self.word("map") {
            let map = self.deeper(Self::set)?;
            return Ok(Value::Map(Box::new(value), Box::new(map)));
        }
        Ok(value)
    }

    /// A value on the right: several may stand behind commas.
    pub(super) fn right(&mut self) -> Result<Value, Fault> {
        let first = self.value()?;
        if !self.at_sign(",") {
            return Ok(first);
        }
        let mut all = vec![first];
        while self.sign(",") {
            all.push(self.value()?);
        }
        Ok(Value::List(all))
    }

    fn range(&mut self) -> Result<Value, Fault> {
        let first = self.or()?;
        if self.sign("-") {
            let last = self.or()?;
            return Ok(Value::Range(Box::new(first), Box::new(last)));
        }
        let prefix = if self.at_sign("/") { Some(self.second()) } else { None };
        let digits = |text: &str| text.bytes().all(|byte| byte.is_ascii_digit());
        let parts = prefix.filter(|token| token.end - token.at == token.text.len());
        let parts =
            parts.and_then(|token| token.text.split_once(':')).filter(|(bits, port)| digits(bits) && digits(port));
        if let Some((bits, _)) = parts {
            // A port behind a prefix looks like a traffic class.
            self.next();
            let number = bits.parse().map_err(|_| self.unexpected("the length of a prefix"))?;
            self.cut_off(bits.len());
            return Ok(Value::Prefix(Box::new(first), number));
        }
        if prefix.is_some_and(|token| digits(token.text)) {
            self.next();
            let bits = self.number("the length of a prefix")?;
            return Ok(Value::Prefix(Box::new(first), bits));
        }
        Ok(first)
    }

    fn or(&mut self) -> Result<Value, Fault> {
        self.binary(0)
    }

    /// Signs of equal strength, the weakest first.
    fn binary(&mut self, level: usize) -> Result<Value, Fault> {
        const LEVELS: [&[(&str, &str)]; 4] = [
            &[("|", "|"), ("or", "|")],
            &[("^", "^"), ("xor", "^")],
            &[("&", "&"), ("and", "&")],
            &[("<<", "<<"), (">>", ">>"), ("lshift", "<<"), ("rshift", ">>")],
        ];
        let Some(signs) = LEVELS.get(level) else { return self.primary() };
        let mut left = self.binary(level + 1)?;
        loop {
            let token = self.peek();
            let known = signs.iter().find(|(word, _)| token.text == *word).map(|(_, sign)| *sign);
            let Some(sign) = known.filter(|_| matches!(token.kind, Kind::Sign | Kind::Word)) else { return Ok(left) };
            self.next();
            let right = self.binary(level + 1)?;
            left = Value::Binary(Box::new(left), sign, Box::new(right));
        }
    }

    fn primary(&mut self) -> Result<Value, Fault> {
        let token = self.peek();
        match (token.kind, token.text) {
            (Kind::Text, text) => {
                self.next();
                Ok(Value::Text(text.to_owned()))
            }
            (Kind::Word, word) => match self.loaded()? {
                Some(value) => Ok(value),
                None => {
                    self.next();
                    Ok(Value::Word(word.to_owned()))
                }
            },
            (Kind::Sign, "(") => {
                self.next();
                let value = self.deeper(Self::right)?;
                self.expect_sign(")")?;
                Ok(value)
            }
            (Kind::Sign, "[") => {
                self.next();
                let address = self.name("an address")?;
                self.expect_sign("]")?;
                Ok(Value::Word(address.to_owned()))
            }
            (Kind::Sign, "*") => {
                self.next();
                Ok(Value::Any)
            }
            (Kind::Sign, "{" | "@" | "$") => self.deeper(Self::set),
            _ => Err(self.unexpected("a value")),
        }
    }

    /// `{ … }`, `@name`, `@th,16,16`, `$name`
    pub(super) fn set(&mut self) -> Result<Value, Fault> {
        if self.sign("$") {
            let fault = self.fault("this name is not defined");
            let name = self.name("a name")?;
            return self.defined.get(name).map(|(value, _)| value.clone()).ok_or(fault);
        }
        if self.sign("@") {
            let name = self.name("a name")?;
            let base = ["ll", "nh", "th", "ih"].iter().position(|base| *base == name);
            if let (Some(base), true) = (base.and_then(|base| u32::try_from(base).ok()), self.at_sign(",")) {
                self.next();
                let offset = self.number("a number of bits")?;
                self.expect_sign(",")?;
                return Ok(Value::Term(raw(base, offset, self.number("a number of bits")?)));
            }
            return Ok(Value::Named(name.to_owned()));
        }
        self.expect_sign("{")?;
        let mut items = Vec::new();
        loop {
            self.lines();
            if self.sign("}") {
                return Ok(Value::Set(items));
            }
            let item = self.item()?;
            match (item.key, &item.data) {
                // A defined set within a set.
                (Value::Set(more), None) => items.extend(more),
                (key, _) => items.push(Item { key, ..item }),
            }
            self.lines();
            if !self.sign(",") && !self.at_sign("}") {
                return Err(self.unexpected("\",\" or \"}\""));
            }
        }
    }

    /// An element: key, what it has, what it leads to.
    pub(super) fn item(&mut self) -> Result<Item, Fault> {
        let mut item = Item::of(self.value()?);
        loop {
            self.lines();
            if self.word("timeout") {
                item.timeout = Some(self.time()?);
            } else if self.word("expires") {
                item.expires = Some(self.time()?);
            } else if self.word("comment") {
                item.comment = Some(self.text("a comment")?.to_owned());
            } else if let Some(expression) = self.stateful()? {
                item.expressions.push(expression);
            } else {
                break;
            }
        }
        if self.sign(":") {
            self.lines();
            item.data = Some(match self.verdict()? {
                Some(verdict) => ItemData::Verdict(verdict),
                None => ItemData::Value(self.value()?),
            });
        }
        Ok(item)
    }

    /// A time in milliseconds.
    pub(super) fn time(&mut self) -> Result<u64, Fault> {
        let token = self.peek();
        match duration(token.text).filter(|_| token.kind == Kind::Word) {
            Some(time) => {
                self.next();
                Ok(time)
            }
            None => Err(self.unexpected("a time")),
        }
    }

    pub(super) fn verdict(&mut self) -> Result<Option<Verdict>, Fault> {
        let token = self.peek();
        if token.kind != Kind::Word {
            return Ok(None);
        }
        let verdict = match token.text {
            "accept" => Verdict::Accept,
            "drop" => Verdict::Drop,
            "return" => Verdict::Return,
            "continue" => Verdict::Continue,
            "jump" | "goto" => {
                self.next();
                let chain = self.name("a chain")?.to_owned();
                return Ok(Some(if token.text == "jump" { Verdict::Jump(chain) } else { Verdict::Goto(chain) }));
            }
            _ => return Ok(None),
        };
        self.next();
        Ok(Some(verdict))
    }

    /// Something that is loaded; none where the words are only words.
    pub(super) fn loaded(&mut self) -> Result<Option<Value>, Fault> {
        let (first, second) = (self.peek().text, self.second());
        let second = if second.kind == Kind::Word { second.text } else { "" };
        let term = match first {
            "meta" => {
                self.next();
                let key = meta_named(second).ok_or_else(|| self.unexpected("a property of the packet"))?;
                self.next();
                Term::Meta(key)
            }
            "ct" => return self.tracked().map(|term| Some(Value::Term(term))),
            "fib" => self.fib()?,
            "rt" if matches!(second, "classid" | "nexthop" | "ip" | "ip6" | "mtu" | "ipsec") => self.route()?,
            "socket" if matches!(second, "transparent" | "mark" | "wildcard") => {
                self.next();
                self.next();
                let key = if second == "mark" { 1 } else { u32::from(second == "wildcard") * 2 };
                Term::Load(Load::Socket { key, level: None })
            }
            "socket" if second == "cgroupv2" => {
                self.next();
                self.next();
                self.expect_word("level")?;
                Term::Load(Load::Socket { key: 3, level: Some(self.number("a level")?) })
            }
            "numgen" | "jhash" | "symhash" => return self.generated().map(Some),
            "tcp" if second == "option" => self.option(1)?,
            "ip" if second == "option" => self.option(2)?,
            "exthdr" => {
                self.next();
                let name = self.name("an extension header")?;
                option_named(0, name, None)
                    .ok_or_else(|| self.fault(format!("extension header {name:?} is not known")))?
            }
            "srh" | "rt0" if matches!(second, "sid" | "addr") => {
                self.next();
                self.next();
                self.expect_sign("[")?;
                let segment: u32 = self.number("the number of a segment")?;
                self.expect_sign("]")?;
                option_named(0, first, Some(&format!("{second}[{segment}]")))
                    .ok_or_else(|| self.fault(format!("{first} has no segment {segment}")))?
            }
            "rt2" | "rt0" | "hbh" | "rt" | "frag" | "dst" | "mh" | "srh"
                if option_named(0, first, Some(second)).is_some() =>
            {
                self.next();
                self.next();
                option_named(0, first, Some(second)).ok_or_else(|| self.unexpected("a field of it"))?
            }
            "sctp" if second == "chunk" => self.option(3)?,
            "osf" => self.fingerprint()?,
            "ipsec" if matches!(second, "in" | "out") => self.transform()?,
            word if UNQUALIFIED.contains(&word) => {
                self.next();
                Term::Meta(meta_named(word).unwrap_or_default())
            }
            "arp" if matches!(second, "saddr" | "daddr") => {
                self.next();
                self.next();
                let of = self.name("ip or ether")?;
                let field = field_named("arp", &format!("{second} {of}"));
                Term::Field(field.ok_or_else(|| self.fault("arp has no such address"))?)
            }
            header => match field_named(header, second) {
                Some(field) => {
                    self.next();
                    self.next();
                    Term::Field(field)
                }
                None => return Ok(None),
            },
        };
        Ok(Some(Value::Term(term)))
    }

    fn tracked(&mut self) -> Result<Term, Fault> {
        self.next();
        let direction = match self.peek().text {
            "original" => Some(0),
            "reply" => Some(1),
            _ => None,
        };
        if direction.is_some() {
            self.next();
        }
        let word = self.name("a property of the connection")?;
        let word = match (word, self.family) {
            ("ip" | "ip6", _) => format!("{word} {}", self.name("saddr or daddr")?),
            ("saddr" | "daddr", Family::Ip6) => format!("ip6 {word}"),
            ("saddr" | "daddr", _) => format!("ip {word}"),
            _ => word.to_owned(),
        };
        let key = ct_named(&word).ok_or_else(|| self.fault(format!("ct {word} is not known")))?;
        Ok(Term::Load(Load::Ct { key, direction }))
    }

    fn fib(&mut self) -> Result<Term, Fault> {
        self.next();
        let mut flags = 0;
        loop {
            let word = self.name("what is looked up")?;
            let known = FIB.iter().find(|(known, _)| *known == word);
            flags |= known.ok_or_else(|| self.fault(format!("fib {word} is not known")))?.1;
            if !self.sign(".") {
                break;
            }
        }
        let word = self.name("oif, oifname or type")?;
        let result = match word {
            "oif" => 1,
            "oifname" => 2,
            "type" => 3,
            _ => return Err(self.fault(format!("fib has no result {word}"))),
        };
        Ok(Term::Load(Load::Fib { result, flags }))
    }

    fn route(&mut self) -> Result<Term, Fault> {
        self.next();
        let mut ipv6 = self.family == Family::Ip6;
        if self.at_word("ip") || self.at_word("ip6") {
            ipv6 = self.next().text == "ip6";
        }
        let key = match self.name("a property of the route")? {
            "classid" => 0,
            "nexthop" if ipv6 => 2,
            "nexthop" => 1,
            "mtu" => 3,
            "ipsec" => 4,
            other => return Err(self.fault(format!("rt {other} is not known"))),
        };
        Ok(Term::Load(Load::Route { key }))
    }

    fn option(&mut self, of: u32) -> Result<Term, Fault> {
        self.next();
        self.next();
        if of == 1 && self.sign("@") {
            let number = self.number("the number of an option")?;
            self.expect_sign(",")?;
            let offset: u32 = self.number("a number of bits")?;
            self.expect_sign(",")?;
            let bits: u32 = self.number("a number of bits")?;
            let (offset, length) = (offset / 8, bits.div_ceil(8));
            return Ok(Term::Option(HeaderOption { of, number, offset, length, present: false }));
        }
        let name = self.name("an option")?;
        let field = self.peek();
        let known = option_named(of, name, Some(field.text)).filter(|_| field.kind == Kind::Word);
        if known.is_some() {
            self.next();
        }
        let option = known.or_else(|| option_named(of, name, None));
        option.ok_or_else(|| self.fault(format!("option {name:?} is not known")))
    }

    /// `osf ttl loose name`
    fn fingerprint(&mut self) -> Result<Term, Fault> {
        self.next();
        let mut ttl = 0;
        if self.word("ttl") {
            ttl = match self.name("loose or skip")? {
                "loose" => 1,
                "skip" => 2,
                other => return Err(self.fault(format!("osf ttl {other} is not known"))),
            };
        }
        let version = match self.name("name or version")? {
            "name" => false,
            "version" => true,
            other => return Err(self.fault(format!("osf {other} is not known"))),
        };
        Ok(Term::Load(Load::Fingerprint { ttl, version }))
    }

    /// `ipsec in spnum 1 ip saddr`
    fn transform(&mut self) -> Result<Term, Fault> {
        self.next();
        let direction = u8::from(self.next().text == "out");
        let number = if self.word("spnum") { self.number("a number")? } else { 0 };
        let word = self.name("a property of the transformation")?;
        let word = match word {
            "ip" | "ip6" => format!("{word} {}", self.name("saddr or daddr")?),
            _ => word.to_owned(),
        };
        let key = transform_named(&word).ok_or_else(|| self.fault(format!("ipsec {word} is not known")))?;
        Ok(Term::Load(Load::Transform { key, direction, number }))
    }

    /// `numgen inc mod 3 offset 5`, `jhash ip saddr mod 2 seed 0x5`, `symhash mod 2`
    fn generated(&mut self) -> Result<Value, Fault> {
        let word = self.next().text;
        let kind = match word {
            "numgen" if self.word("inc") => Some(0),
            "numgen" if self.word("random") => Some(1),
            "numgen" => return Err(self.unexpected("inc or random")),
            _ => None,
        };
        let of = if word == "jhash" { Some(self.deeper(Self::value)?) } else { None };
        self.expect_word("mod")?;
        let modulus = self.number("a modulus")?;
        let (mut seed, mut offset) = (None, 0);
        loop {
            if self.word("seed") {
                seed = Some(self.number("a seed")?);
            } else if self.word("offset") {
                offset = self.number("an offset")?;
            } else {
                break;
            }
        }
        Ok(match (kind, of) {
            (Some(kind), _) => Value::Term(Term::Load(Load::Number { kind, modulus, offset })),
            (None, Some(of)) => Value::Hash(Box::new(of), modulus, seed, offset),
            (None, None) => Value::Term(Term::Hash(None, modulus, seed, offset)),
        })
    }

    /// What counts and limits, also for single elements of sets.
    pub(super) fn stateful(&mut self) -> Result<Option<Expression>, Fault> {
        Ok(match self.peek().text {
            "counter" => Some(self.counter()?),
            "limit" => Some(self.limit()?),
            "quota" => Some(self.quota()?),
            "ct" if self.second().text == "count" => Some(self.connections()?),
            _ => None,
        })
    }
}
