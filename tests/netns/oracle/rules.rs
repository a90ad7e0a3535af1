//! A rule set as text that can be loaded, told to people, and made smaller.

use std::fmt::Write as _;

use super::chance::Chance;
use crate::traffic::Stage;

/// Who writes a table.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(super) enum Kind {
    /// `iptables-legacy-restore`
    Legacy4,
    /// `ip6tables-legacy-restore`
    Legacy6,
    /// `iptables-nft-restore`
    Compat4,
    /// `ip6tables-nft-restore`
    Compat6,
    /// `nft -f`
    Native,
}

impl Kind {
    pub(super) const ALL: [Self; 5] = [Self::Legacy4, Self::Legacy6, Self::Compat4, Self::Compat6, Self::Native];

    fn program(self) -> &'static str {
        match self {
            Self::Legacy4 => "iptables-legacy-restore -w",
            Self::Legacy6 => "ip6tables-legacy-restore -w",
            Self::Compat4 => "iptables-nft-restore",
            Self::Compat6 => "ip6tables-nft-restore",
            Self::Native => "nft -f -",
        }
    }

    pub(super) fn ipv6(self) -> bool {
        matches!(self, Self::Legacy6 | Self::Compat6)
    }
}

/// A chain.
#[derive(Debug, Clone)]
pub(super) struct Chain {
    pub(super) name: String,
    /// Of iptables the policy; of nft all that is in front of the rules. Empty where no packet begins here.
    pub(super) base: String,
    /// Without the name of the chain.
    pub(super) rules: Vec<String>,
}

/// A table.
#[derive(Debug, Clone)]
pub(super) struct Table {
    pub(super) kind: Kind,
    /// `nat`; of nft `inet x`.
    pub(super) name: String,
    /// Sets and maps of nft.
    pub(super) sets: Vec<String>,
    pub(super) chains: Vec<Chain>,
}

/// All rules of a pod.
#[derive(Debug, Clone, Default)]
pub(super) struct Rules {
    /// Lines for `ipset restore`.
    pub(super) ipsets: Vec<String>,
    /// Commands of `ip` and `sysctl`, each with its opposite.
    pub(super) settings: Vec<(String, String)>,
    pub(super) tables: Vec<Table>,
}

impl Rules {
    /// What a program gets to load.
    fn text(&self, kind: Kind) -> String {
        let mut text = String::new();
        for table in self.tables.iter().filter(|table| table.kind == kind) {
            table.write(&mut text);
        }
        text
    }

    /// Loads all into a pod that has no rules; what a program refuses is left out one by one. How many rules those were.
    pub(super) fn load(&mut self, stage: &Stage) -> usize {
        let mut refused = 0;
        for (does, _) in &self.settings {
            stage.pod.sh(does);
        }
        if !self.ipsets.is_empty() {
            stage.tell("ipset -exist restore", &(self.ipsets.join("\n") + "\n")).expect("ipsets");
        }
        for kind in Kind::ALL {
            let text = self.text(kind);
            if text.is_empty() || stage.tell(kind.program(), &text).is_ok() {
                continue;
            }
            refused += self.load_singly(stage, kind);
        }
        refused
    }

    /// The same, or nothing.
    pub(super) fn load_or_refuse(&mut self, stage: &Stage) -> bool {
        for (does, _) in &self.settings {
            stage.pod.sh(does);
        }
        let sets = self.ipsets.join("\n") + "\n";
        if !self.ipsets.is_empty() && stage.tell("ipset -exist restore", &sets).is_err() {
            return false;
        }
        let loads = |kind: Kind| {
            let text = self.text(kind);
            text.is_empty() || stage.tell(kind.program(), &text).is_ok()
        };
        Kind::ALL.into_iter().all(loads)
    }

    fn load_singly(&mut self, stage: &Stage, kind: Kind) -> usize {
        let mut refused = 0;
        for table in self.tables.iter_mut().filter(|table| table.kind == kind) {
            let mut rules: Vec<_> = table.chains.iter_mut().map(|chain| std::mem::take(&mut chain.rules)).collect();
            let mut text = String::new();
            table.write(&mut text);
            stage.tell(kind.program(), &text).unwrap_or_else(|error| panic!("{error}"));
            for (chain, rules) in table.chains.iter_mut().zip(&mut rules) {
                rules.retain(|rule| {
                    let (program, line) = match kind {
                        Kind::Native => {
                            (kind.program().to_owned(), format!("add rule {} {} {rule}\n", table.name, chain.name))
                        }
                        _ => (
                            format!("{} --noflush", kind.program()),
                            format!("*{}\n-A {} {rule}\nCOMMIT\n", table.name, chain.name),
                        ),
                    };
                    let told = stage.tell(&program, &line);
                    if let Err(error) = &told
                        && std::env::var_os("NSLENS_REFUSED").is_some()
                    {
                        print_refused(error);
                    }
                    refused += usize::from(told.is_err());
                    told.is_ok()
                });
                chain.rules.append(rules);
            }
        }
        refused
    }

    /// Takes all away that was loaded, but for ipsets, which rules that are gone hold for a while.
    pub(super) fn unload(&self, stage: &Stage) {
        for (_, undoes) in &self.settings {
            stage.pod.sh(undoes);
        }
        let _ = stage.tell("nft -f -", "flush ruleset\n");
        for kind in [Kind::Legacy4, Kind::Legacy6] {
            let mut text = String::new();
            for table in self.tables.iter().filter(|table| table.kind == kind) {
                let chains = chains_of(&table.name).iter().map(|chain| format!(":{chain} ACCEPT [0:0]\n"));
                let _ = write!(text, "*{}\n{}COMMIT\n", table.name, chains.collect::<String>());
            }
            if !text.is_empty() {
                stage.tell(kind.program(), &text).unwrap_or_else(|error| panic!("{error}"));
            }
        }
    }

    /// All of it, as one script.
    pub(super) fn script(&self) -> String {
        let mut script = String::new();
        for (does, _) in &self.settings {
            let _ = writeln!(script, "{does}");
        }
        let mut here = |program: &str, text: &str| {
            if !text.is_empty() {
                let _ = writeln!(script, "{program} <<'END'\n{}\nEND", text.trim_end());
            }
        };
        here("ipset restore", &self.ipsets.join("\n"));
        for kind in Kind::ALL {
            here(kind.program(), &self.text(kind));
        }
        script
    }

    /// Everything of which one piece less is left: tables, chains, rules, sets, settings; large pieces first.
    pub(super) fn smaller(&self) -> Vec<Self> {
        let mut found = Vec::new();
        let mut with = |change: &dyn Fn(&mut Self)| {
            let mut one = self.clone();
            change(&mut one);
            found.push(one);
        };
        for at in 0..self.tables.len() {
            with(&|one| drop(one.tables.remove(at)));
        }
        for (at, table) in self.tables.iter().enumerate() {
            for chain in 0..table.chains.len() {
                let name = &table.chains[chain].name;
                let names = |rule: &str| rule.split_whitespace().any(|word| word.trim_end_matches(',') == name);
                with(&|one| {
                    let chains = &mut one.tables[at].chains;
                    chains.iter_mut().for_each(|chain| chain.rules.retain(|rule| !names(rule)));
                    match table.kind == Kind::Native || table.chains[chain].base.is_empty() {
                        true => drop(chains.remove(chain)),
                        false => chains[chain].rules.clear(),
                    }
                });
            }
        }
        for (at, table) in self.tables.iter().enumerate() {
            for (chain, rules) in table.chains.iter().map(|chain| chain.rules.len()).enumerate() {
                for half in [0..rules / 2, rules / 2..rules].into_iter().filter(|half| half.len() > 1) {
                    with(&|one| drop(one.tables[at].chains[chain].rules.drain(half.clone())));
                }
                for rule in 0..rules {
                    with(&|one| drop(one.tables[at].chains[chain].rules.remove(rule)));
                }
            }
            for set in 0..table.sets.len() {
                with(&|one| drop(one.tables[at].sets.remove(set)));
            }
            for (chain, _) in table.chains.iter().enumerate().filter(|(_, chain)| chain.base == "DROP") {
                with(&|one| one.tables[at].chains[chain].base = "ACCEPT".to_owned());
            }
        }
        for at in 0..self.settings.len() {
            with(&|one| drop(one.settings.remove(at)));
        }
        if !self.ipsets.is_empty() {
            with(&|one| one.ipsets.clear());
        }
        found
    }

    pub(super) fn count(&self) -> usize {
        self.tables.iter().flat_map(|table| &table.chains).map(|chain| chain.rules.len()).sum()
    }
}

#[expect(clippy::print_stdout, reason = "asked for by whoever writes rules")]
fn print_refused(error: &str) {
    println!("refused: {error}");
}

/// What is for others is passed on, now and then.
pub(super) fn settings(chance: &mut Chance) -> Vec<(String, String)> {
    let mut settings = Vec::new();
    for name in ["ipv4/ip_forward", "ipv6/conf/all/forwarding"] {
        if chance.percent(30) {
            let path = format!("/proc/sys/net/{name}");
            settings.push((format!("echo 1 > {path}"), format!("echo 0 > {path}")));
        }
    }
    settings
}

/// The chains in which packets begin in a table of iptables.
pub(super) fn chains_of(table: &str) -> &'static [&'static str] {
    match table {
        "raw" => &["PREROUTING", "OUTPUT"],
        "mangle" => &["PREROUTING", "INPUT", "FORWARD", "OUTPUT", "POSTROUTING"],
        "nat" => &["PREROUTING", "INPUT", "OUTPUT", "POSTROUTING"],
        _ => &["INPUT", "FORWARD", "OUTPUT"],
    }
}

impl Table {
    fn write(&self, text: &mut String) {
        if self.kind == Kind::Native {
            let _ = writeln!(text, "table {} {{", self.name);
            for set in &self.sets {
                let _ = writeln!(text, "  {set}");
            }
            // Chains have to be there before rules jump to them.
            for chain in &self.chains {
                let _ = writeln!(text, "  chain {} {{ {} }}", chain.name, chain.base);
            }
            let _ = writeln!(text, "}}");
            for chain in &self.chains {
                for rule in &chain.rules {
                    let _ = writeln!(text, "add rule {} {} {rule}", self.name, chain.name);
                }
            }
            return;
        }
        let _ = writeln!(text, "*{}", self.name);
        for chain in &self.chains {
            let policy = if chain.base.is_empty() { "-" } else { &chain.base };
            let _ = writeln!(text, ":{} {policy} [0:0]", chain.name);
        }
        for chain in &self.chains {
            for rule in &chain.rules {
                let _ = writeln!(text, "-A {} {rule}", chain.name);
            }
        }
        let _ = writeln!(text, "COMMIT");
    }
}
