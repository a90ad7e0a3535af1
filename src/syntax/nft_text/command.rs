//! What stands outside of tables: whole tables, and commands that change them one by one.

use super::block::family;
use super::lexer::Kind;
use super::parser::{Fault, Parser};
use crate::model::Family;
use crate::syntax::nft_tables::{At, Place, Tables};

impl Parser<'_> {
    /// All of a text.
    pub(super) fn tables(&mut self, out: &mut Tables) {
        loop {
            self.ends();
            let token = self.peek();
            if token.kind == Kind::End {
                return;
            }
            if let Err(fault) = self.command(out) {
                self.faults.push(fault);
                self.pass_over(token.at);
                if self.at_sign("}") {
                    self.next();
                }
            }
        }
    }

    fn command(&mut self, out: &mut Tables) -> Result<(), Fault> {
        let token = self.peek();
        match token.text {
            "table" => {
                self.next();
                self.table(out)
            }
            "define" | "redefine" => {
                self.next();
                self.define()
            }
            "undefine" => {
                self.next();
                let name = self.name("a name")?;
                self.defined.remove(name);
                Ok(())
            }
            "add" | "create" | "insert" => {
                self.next();
                self.add(out, token.text == "insert")
            }
            "delete" | "destroy" => {
                self.next();
                self.delete(out)
            }
            "flush" => {
                self.next();
                self.flush(out)
            }
            "rename" => {
                self.next();
                self.rename(out)
            }
            "replace" => Err(self.fault("which rule has this handle does not stand in the text")),
            "include" => Err(self.fault("other files are not read")),
            _ => Err(self.unexpected("a table")),
        }
    }

    /// `name = value`, for `$name` from here on.
    pub(super) fn define(&mut self) -> Result<(), Fault> {
        let name = self.name("a name")?;
        self.expect_sign("=")?;
        let token = self.peek();
        let value = self.right()?;
        let alone = matches!(token.kind, Kind::Word | Kind::Text) && self.end == token.end;
        self.defined.insert(name, (value, alone.then_some(token)));
        Ok(())
    }

    /// `[family] name`
    fn table_name(&mut self) -> Result<&str, Fault> {
        let known = family(self.peek().text).filter(|_| matches!(self.second().kind, Kind::Word | Kind::Text));
        if known.is_some() {
            self.next();
        }
        self.family = known.unwrap_or(Family::Ip);
        self.name("the name of a table")
    }

    fn named_table(&mut self, out: &mut Tables) -> Result<Place, Fault> {
        let name = self.table_name()?.to_owned();
        Ok(out.table(self.family, &name))
    }

    /// The table of this name, where the text has it: what it names else was in the kernel before.
    fn known_table(&mut self, out: &Tables) -> Result<Option<Place>, Fault> {
        let name = self.table_name()?.to_owned();
        Ok(out.known(self.family, &name))
    }

    /// `chain`, `ct helper` …
    fn kind_of_member(&mut self, expected: &str) -> Result<String, Fault> {
        let what = self.name(expected)?;
        Ok(if what == "ct" { format!("ct {}", self.name(expected)?) } else { what.to_owned() })
    }

    fn add(&mut self, out: &mut Tables, first: bool) -> Result<(), Fault> {
        // `add ip t c …` is short for a rule.
        let what = match family(self.peek().text) {
            Some(_) => "rule".to_owned(),
            None => self.kind_of_member("what is added")?,
        };
        let place = self.named_table(out)?;
        match what.as_str() {
            "table" => {
                if self.at_sign("{") {
                    self.table_body(place, out)?;
                }
                Ok(())
            }
            "chain" => {
                let name = self.name("the name of a chain")?;
                let chain = out.chain(place, name);
                if self.at_sign("{") { self.chain_body(place, chain, out) } else { Ok(()) }
            }
            "rule" => {
                let name = self.name("the name of a chain")?;
                let chain = out.chain(place, name);
                let at = self.place_of_rule(first)?;
                let rule = self.rule();
                out.rule(place, chain, rule, at);
                Ok(())
            }
            "element" => {
                let name = self.name("the name of a set")?.to_owned();
                let fault = self.fault(format!("there is no set {name}"));
                let elements = self.elements()?;
                let set = out.set(place, &name).ok_or(fault)?;
                set.elements.extend(elements);
                Ok(())
            }
            other => self.member(other, place, out),
        }
    }

    /// Where a rule goes. Handles are the kernel's: behind one, nothing is known but that it is not the usual place.
    fn place_of_rule(&mut self, first: bool) -> Result<At, Fault> {
        let usual = if first { At::First } else { At::Last };
        if self.word("index") {
            let index: usize = self.number("the number of a rule")?;
            return Ok(At::Before(if first { index } else { index.saturating_add(1) }));
        }
        if self.at_word("position") || self.at_word("handle") {
            let fault = self.fault(
                "which rule has this handle does not stand in the text; the new one is put where it would go without",
            );
            self.next();
            self.number::<u64>("a handle")?;
            self.faults.push(fault);
        }
        Ok(usual)
    }

    fn delete(&mut self, out: &mut Tables) -> Result<(), Fault> {
        let what = self.kind_of_member("what is deleted")?;
        if what == "rule" {
            return Err(self.fault("which rule has this handle does not stand in the text"));
        }
        if what == "table" {
            let name = self.table_name()?.to_owned();
            out.delete_table(self.family, &name);
            return Ok(());
        }
        let place = self.known_table(out)?;
        let name = self.name("a name")?.to_owned();
        if what == "element" {
            let elements = self.elements()?;
            if let Some(place) = place {
                out.delete_elements(place, &name, &elements);
            }
        } else if let Some(place) = place {
            out.delete(place, &what, &name);
        }
        Ok(())
    }

    fn flush(&mut self, out: &mut Tables) -> Result<(), Fault> {
        let what = self.name("what is emptied")?;
        match what {
            "ruleset" => {
                // Of one family, where one is given.
                match family(self.peek().text) {
                    Some(family) => {
                        self.next();
                        out.clear_family(family);
                    }
                    None => out.clear(),
                }
                return Ok(());
            }
            "table" | "chain" | "set" | "map" | "meter" => {}
            _ => return Err(self.fault(format!("{what:?} is nothing that can be emptied"))),
        }
        let place = self.known_table(out)?;
        let name = if what == "table" { None } else { Some(self.name("a name")?.to_owned()) };
        let Some(place) = place else { return Ok(()) };
        match name {
            Some(name) if what != "chain" => {
                if let Some(set) = out.set(place, &name) {
                    set.elements.clear();
                }
            }
            name => out.flush(place, name.as_deref()),
        }
        Ok(())
    }

    fn rename(&mut self, out: &mut Tables) -> Result<(), Fault> {
        self.expect_word("chain")?;
        let place = self.known_table(out)?;
        let (name, to) = (self.name("the name of a chain")?, self.name("its new name")?);
        if let Some(place) = place {
            out.rename_chain(place, name, to);
        }
        Ok(())
    }

    fn table(&mut self, out: &mut Tables) -> Result<(), Fault> {
        let place = self.named_table(out)?;
        if self.is_over() {
            return Ok(());
        }
        self.table_body(place, out)
    }
}
