//! `nslens rules`: what redirects the workload's traffic.

use std::collections::BTreeSet;
use std::mem::ManuallyDrop;
use std::path::Path;

use clap::{Args, ValueEnum};
use serde_json::{Map, Value};

use super::unread_exit;
use crate::analysis::agreement::{Compared, agreement};
use crate::analysis::paths::{Chosen, blocks, unreached};
use crate::analysis::summary::{Summary, summarise};
use crate::capture::cross_check::Namespace;
use crate::capture::rules::Wanted;
use crate::capture::sets::Elements;
use crate::capture::{self, Parts};
use crate::cli::arguments::{BackendChoice, Looks, Where, Which};
use crate::cli::exit::Exit;
use crate::cli::failure::Failure;
use crate::cli::screen::Screen;
use crate::cli::source::Source;
use crate::model::{Backend, Ruleset, Snapshot, Subject, exact_bytes};
use crate::report::rules::{Columns, Form};
use crate::report::{cross_check, graph, rules, sentence::sentence, who, wrap::wrap, yaml};
use crate::target::near;

/// Show the redirect rules of a workload, in plain words.
///
/// Shown are the chains on whose paths something redirects, whole, with the rules that exempt from it, hook by hook as a packet
/// meets them; legacy iptables, iptables-nft and nftables, IPv4 and IPv6. The last line says it in a sentence.
#[derive(Debug, Args)]
#[command(
    before_long_help = "Examples:\n  sudo nslens rules pod/productpage\n  sudo nslens rules docker://4f3a -o save > rules.txt\n"
)]
pub struct Rules {
    /// pod/NAME, container/NAME, an ID, pid/N, ip/ADDRESS, netns/NAME, host, a file, -
    ///
    /// A file, or with - the standard input, is a snapshot or what iptables-save, ip6tables-save, nft list ruleset or nft -j list
    /// ruleset printed. Its name begins with / or ./; several are divided by commas.
    pub target: Option<String>,
    /// Every table and chain, not only what redirects
    #[arg(long)]
    pub all: bool,
    /// The elements of sets too, however many
    #[arg(long)]
    sets: bool,
    #[command(flatten)]
    which: Which,
    /// Only tables of this name; may be repeated
    #[arg(long = "table", value_name = "NAME")]
    tables: Vec<String>,
    /// Only chains of this name; may be repeated
    #[arg(long = "chain", value_name = "NAME")]
    chains: Vec<String>,
    /// Plain words alone, without numbers and counters
    #[arg(long)]
    why: bool,
    /// Ask the node's own iptables-save too, say what differs
    ///
    /// They are started inside the namespace and only for tables that exist already; nothing else of nslens starts a program.
    /// Nothing is written, but they may take the lock of iptables (/run/xtables.lock) while they read.
    #[arg(long)]
    cross_check: bool,
    /// table, wide, json, yaml, save, nft, dot, mermaid, svg
    ///
    /// wide is the table with bytes and each rule's own text. save and nft are what iptables-save and nft list ruleset print; json
    /// and yaml hold every rule whole. dot, mermaid and svg draw the chains.
    #[arg(
        short,
        long,
        value_name = "FORM",
        default_value = "table",
        hide_default_value = true,
        hide_possible_values = true
    )]
    output: Output,
    /// No line with the columns' names
    #[arg(long, hide_short_help = true)]
    no_headers: bool,
    #[command(flatten)]
    place: Where,
    #[command(flatten)]
    /// Colours and notes.
    pub looks: Looks,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Output {
    Table,
    Wide,
    Json,
    Yaml,
    Save,
    Nft,
    Dot,
    Mermaid,
    Svg,
}

impl Rules {
    fn chosen(&self) -> Chosen<'_> {
        Chosen { all: self.all, tables: &self.tables, chains: &self.chains }
    }

    /// Options that say nothing about the form that is asked for.
    fn check(&self) -> Result<(), Failure> {
        let table = self.output == Output::Table;
        let whole = matches!(self.output, Output::Json | Output::Yaml | Output::Save | Output::Nft);
        if self.why && !table {
            return Err(Failure::new(Exit::Usage, "--why is about the table; the other forms have their own words"));
        }
        if whole && !self.chains.is_empty() {
            return Err(Failure::new(Exit::Usage, "--chain does not go with this form, which holds whole tables")
                .hint("--table goes with it; --chain goes with table, wide, dot, mermaid and svg"));
        }
        if self.cross_check && !matches!(self.output, Output::Table | Output::Wide | Output::Json | Output::Yaml) {
            return Err(Failure::new(Exit::Usage, "--cross-check goes with the forms table, wide, json and yaml"));
        }
        Ok(())
    }
}

/// Runs the command.
pub(in crate::cli) fn run(arguments: &Rules, screen: &Screen) -> Result<Exit, Failure> {
    arguments.check()?;
    let expressions = arguments.output == Output::Nft;
    let elements = match (arguments.output, arguments.sets) {
        // nft lists them; the save programs name sets only.
        (Output::Nft, _) | (_, true) => Elements::All,
        (Output::Save, false) => Elements::None,
        (_, false) => Elements::Cheap,
    };
    let text = arguments.output == Output::Save;
    let wanted = Wanted { expressions, elements, text, ..arguments.which.wanted() };
    // The sentence wants to know the pod's own address; the save form does not have one.
    let interfaces = arguments.output != Output::Save;
    let parts = Parts { rules: Some(wanted), interfaces, ..Parts::default() };
    let source = Source { place: &arguments.place, which: arguments.which, parts, screen };
    let (snapshot, namespace) = source.taken(arguments.target.as_deref())?;
    // The program ends with the answer: the kernel takes it all back at once, sooner than it could be given back bit by bit.
    let mut snapshot = ManuallyDrop::new(snapshot);
    has_rules(&snapshot)?;
    exist(&snapshot, arguments)?;
    let raw = matches!(arguments.output, Output::Save | Output::Nft);
    // The sentence is about all rules, whichever of them are shown.
    let said = if raw { None } else { Some(summary(&snapshot, arguments.which)) };
    if let Some(rulesets) = &mut snapshot.rulesets {
        rulesets.iter_mut().for_each(|ruleset| ruleset.tables.retain(|table| arguments.chosen().table(&table.name)));
    }
    let sentence = said.as_ref().map_or("", |said| said.text.as_str());
    let checked = match arguments.cross_check {
        true => Some(ask_programs(&snapshot, namespace.as_ref(), wanted, screen)?),
        false => None,
    };
    let checked = checked.as_deref();
    match arguments.output {
        Output::Save => {
            if let Some(exit) = save(&snapshot, screen)? {
                return Ok(exit);
            }
        }
        Output::Nft => {
            if let Some(exit) = nft(&snapshot, screen)? {
                return Ok(exit);
            }
        }
        Output::Json => screen.stream(|out| rules::write_json(&snapshot, sentence, &more(checked), out))?,
        Output::Yaml => {
            let mut document = rules::json(&snapshot, sentence);
            document.extend(more(checked));
            screen.print(&yaml::print(&document))?;
        }
        Output::Dot | Output::Mermaid | Output::Svg => picture(&snapshot, arguments, said.as_ref(), screen)?,
        Output::Table | Output::Wide => {
            let mut text = table(&snapshot, arguments, said.as_ref(), screen);
            text.extend(checked.map(|checked| cross_check::text(checked, screen.paint, screen.width)));
            screen.print(&text)?;
        }
    }
    // The command is about the rules, and they are all there; that the sentence may hang on something is said in it.
    Ok(Exit::of(checked.map(second_opinion).into_iter().flatten().chain([unread_exit(&snapshot, &[Subject::Rules])])))
}

/// What a document holds beside the rules.
fn more(checked: Option<&[Compared]>) -> Map<String, Value> {
    checked.map(|checked| ("cross_check".to_owned(), cross_check::json(checked))).into_iter().collect()
}

/// What a second opinion comes to.
fn second_opinion(checked: &[Compared]) -> Vec<Exit> {
    let exits = checked.iter().flat_map(|compared| {
        let differs = (!compared.differences.is_empty()).then_some(Exit::Differs);
        let silent = (!compared.answered).then_some(Exit::CannotTell);
        differs.into_iter().chain(silent)
    });
    exits.collect()
}

/// What the node's own programs see of the same tables.
fn ask_programs(
    snapshot: &Snapshot,
    namespace: Option<&Namespace>,
    wanted: capture::rules::Wanted,
    screen: &Screen,
) -> Result<Vec<Compared>, Failure> {
    let Some(namespace) = namespace else {
        return Err(Failure::new(
            Exit::Usage,
            "--cross-check asks programs about a live namespace, and this is a file",
        ));
    };
    let failed = |error: &std::io::Error| Failure::of(Exit::Failed, error).about("cannot enter the namespace again");
    let printed = capture::cross_check::ask(namespace, snapshot.rulesets()).map_err(|error| failed(&error))?;
    let compared = agreement(snapshot, &printed);
    // Rules that changed between both readings differ for no other reason.
    if compared.iter().any(|compared| !compared.differences.is_empty()) {
        let (rulesets, _) =
            capture::rules::read(namespace, Path::new("/proc"), wanted).map_err(|error| failed(&error))?;
        let after = Snapshot { rulesets: Some(rulesets), ..snapshot.clone() };
        if agreement(&after, &printed) != compared {
            screen.note("the rules changed while both looked: run it again");
        }
    }
    Ok(compared)
}

/// Prints as the save programs do; the exit code where something of it is not in iptables' syntax.
fn save(snapshot: &Snapshot, screen: &Screen) -> Result<Option<Exit>, Failure> {
    for unread in snapshot.unread_about(&[Subject::Rules]) {
        screen.note(&format!("could not read {}: {}; {}", unread.source, unread.error, unread.means));
    }
    screen.stream(|out| rules::save(snapshot, env!("CARGO_PKG_VERSION"), screen.terminal, out))?;
    let (missing, bracketed) = (rules::missing(snapshot), rules::bracketed(snapshot));
    if !missing.is_empty() {
        let names = missing.join(", ");
        screen
            .note(&format!("not in iptables' syntax, so not printed, and not seen by its tools: {names}; see -o nft"));
    }
    if !bracketed.is_empty() {
        let names = bracketed.join(", ");
        screen.note(&format!("not understood, so printed by name and bytes, which iptables-restore refuses: {names}"));
    }
    let whole = missing.is_empty() && bracketed.is_empty();
    Ok((!whole).then(|| Exit::of([Exit::CannotTell, unread_exit(snapshot, &[Subject::Rules])])))
}

/// Prints as nft lists; the exit code where something of it is not in nft's words.
fn nft(snapshot: &Snapshot, screen: &Screen) -> Result<Option<Exit>, Failure> {
    for unread in snapshot.unread_about(&[Subject::Rules]) {
        screen.note(&format!("could not read {}: {}; {}", unread.source, unread.error, unread.means));
    }
    let legacy = |ruleset: &&Ruleset| ruleset.backend == Backend::Legacy && !ruleset.tables.is_empty();
    let families: Vec<&str> = snapshot.rulesets().iter().filter(legacy).map(|ruleset| ruleset.family.word()).collect();
    if !families.is_empty() {
        screen
            .note(&format!("legacy tables ({}) are none of nft's, and not printed; see -o save", families.join(", ")));
    }
    let listed = rules::nft(snapshot, screen.terminal);
    screen.stream(|out| out.write_all(&exact_bytes(&listed.text)))?;
    if listed.missing.is_empty() {
        return Ok(None);
    }
    let names = listed.missing.join(", ");
    screen.note(&format!("could not be written in nft's syntax, so shown by name and bytes: {names}"));
    Ok(Some(Exit::of([Exit::CannotTell, unread_exit(snapshot, &[Subject::Rules])])))
}

/// More chains than this are said to make a large picture: few programs show one that is some ten thousand pixels high.
const MANY_CHAINS: usize = 150;

/// Prints the chains as a graph.
fn picture(snapshot: &Snapshot, arguments: &Rules, said: Option<&Said>, screen: &Screen) -> Result<(), Failure> {
    for unread in snapshot.unread_about(&[Subject::Rules]) {
        screen.note(&format!("could not read {}: {}; {}", unread.source, unread.error, unread.means));
    }
    let chosen = arguments.chosen();
    let mut sentence = said.map_or(String::new(), |said| said.text.clone());
    if blocks(snapshot, chosen.whole()).is_empty() && unreached(snapshot, chosen.whole()).is_empty() {
        let nothing = rules::nothing(snapshot, chosen.whole());
        if arguments.output != Output::Svg {
            screen.note(nothing.trim_end());
        }
        sentence = format!("{}. {sentence}", nothing.trim_end());
    }
    let graph = graph::graph(snapshot, &chosen, sentence.trim_end());
    if graph.chains.len() > MANY_CHAINS {
        screen.note(&format!("{} chains make a large picture; --table and --chain draw a part", graph.chains.len()));
    }
    screen.print(&match arguments.output {
        Output::Dot => graph::dot(&graph),
        Output::Mermaid => graph::mermaid(&graph),
        _ => graph::svg(&graph, env!("CARGO_PKG_VERSION")),
    })
}

fn table(snapshot: &Snapshot, arguments: &Rules, said: Option<&Said>, screen: &Screen) -> String {
    let Screen { paint, width, .. } = *screen;
    let form = Form {
        chosen: arguments.chosen(),
        columns: match (arguments.output == Output::Wide, arguments.why) {
            (true, _) => Columns::All,
            (false, false) => Columns::Some,
            (false, true) => Columns::Words,
        },
        headings: !arguments.no_headers,
        width,
        paint,
    };
    let mut out = who::heading(snapshot, paint, width);
    let listed = rules::table(snapshot, form);
    out.push_str(&listed);
    out.push_str(&rules::sets(snapshot, form, arguments.sets));
    let unread = who::unread(snapshot, &[Subject::Rules], paint, width);
    let redirects = !blocks(snapshot, false).is_empty() || !unreached(snapshot, false).is_empty();
    out.push('\n');
    let empty = listed.is_empty() || !arguments.chosen().named();
    if !redirects && empty && unread.is_empty() {
        out.push_str(&rules::nothing(snapshot, arguments.chosen().whole()));
    }
    // A pod whose rules drop everything is not one of which nothing is to be said.
    if let Some(said) = said.filter(|said| redirects || !(said.plain || said.unread)) {
        for line in wrap(&said.text, width) {
            out.push_str(&format!("{line}\n"));
        }
    }
    out.push_str(&unread);
    out
}

/// A name that stands for nothing is a mistake, not an empty list.
fn exist(snapshot: &Snapshot, arguments: &Rules) -> Result<(), Failure> {
    let tables = || snapshot.rulesets().iter().flat_map(|ruleset| &ruleset.tables);
    let chosen = Chosen { chains: &[], ..arguments.chosen() };
    let there: BTreeSet<&str> = tables().map(|table| table.name.as_str()).collect();
    let chains = tables().filter(|table| chosen.table(&table.name)).flat_map(|table| &table.chains);
    let chains: BTreeSet<&str> = chains.map(|chain| chain.name.as_str()).collect();
    for (kind, asked, there) in [("table", &arguments.tables, there), ("chain", &arguments.chains, chains)] {
        let Some(name) = asked.iter().find(|name| !there.contains(name.as_str())) else { continue };
        let failure = Failure::new(Exit::NotFound, format!("no {kind} is called {name}"));
        return Err(failure.hint(match nearest(name, &there) {
            None => format!("there is no {kind} at all"),
            Some(names) => format!("there is: {names}"),
        }));
    }
    Ok(())
}

/// Of few names all; of many those that may have been meant, or else the first ones, and how many there are besides.
fn nearest(meant: &str, there: &BTreeSet<&str>) -> Option<String> {
    /// Names in a hint.
    const MOST: usize = 16;
    let mut names: Vec<&str> = there.iter().copied().collect();
    if names.len() > MOST {
        // Who types it by heart may not hold to capitals.
        let small: Vec<String> = names.iter().map(|name| name.to_lowercase()).collect();
        let near = near::names(&meant.to_lowercase(), small.iter().map(String::as_str));
        names.sort_by_key(|name| !near.contains(&name.to_lowercase()));
        names.truncate(if near.is_empty() { MOST } else { near.len() });
    }
    let more = there.len().saturating_sub(names.len());
    let more = if more == 0 { String::new() } else { format!(" and {more} more") };
    (!names.is_empty()).then(|| names.join(", ") + &more)
}

/// A snapshot may hold none because none were read: that is not the same as none.
pub(super) fn has_rules(snapshot: &Snapshot) -> Result<(), Failure> {
    if snapshot.rulesets.is_some() {
        return Ok(());
    }
    Err(Failure::new(Exit::Usage, format!("{} holds no rules: none were read for it", snapshot.asked))
        .hint("take a file that holds them with: nslens snapshot TARGET -f FILE"))
}

/// The sentence, and what it comes to.
pub(super) struct Said {
    /// The sentence.
    pub(super) text: String,
    /// Nothing is redirected or dropped.
    plain: bool,
    /// A part of the rules could not be read, so that nothing is said.
    unread: bool,
}

/// The sentence, said only of rules that were read whole.
pub(super) fn summary(snapshot: &Snapshot, which: Which) -> Said {
    if snapshot.unread_about(&[Subject::Rules]).next().is_some() {
        let text = "Where traffic goes cannot be told: a part of the rules could not be read.".to_owned();
        return Said { text, plain: false, unread: true };
    }
    let wanted = which.wanted();
    let has = |ipv6: bool| snapshot.rulesets().iter().any(|ruleset| ruleset.family.sees(ipv6));
    let of = |ipv6: bool, asked: bool| -> Option<Summary> { (asked && has(ipv6)).then(|| summarise(snapshot, ipv6)) };
    let families = [of(false, wanted.ipv4), of(true, wanted.ipv6)];
    let text = sentence(families[0].as_ref(), families[1].as_ref());
    let text = match which.backend {
        BackendChoice::All => text,
        BackendChoice::Legacy => format!("By the legacy rules alone: {text}"),
        BackendChoice::Nft => format!("By the nf_tables rules alone: {text}"),
    };
    let mut said = Said { text, plain: true, unread: false };
    for family in families.iter().flatten() {
        said.plain &= family.is_plain();
    }
    said
}
