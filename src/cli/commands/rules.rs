//! `nslens rules`: what redirects the workload's traffic.

use std::mem::ManuallyDrop;

use clap::{Args, ValueEnum};

use super::unread_exit;
use crate::analysis::paths::{blocks, unreached};
use crate::analysis::summary::{Summary, summarise};
use crate::capture::{Parts, rules::Wanted, sets::Elements};
use crate::cli::arguments::{BackendChoice, Looks, Where, Which};
use crate::cli::exit::Exit;
use crate::cli::failure::Failure;
use crate::cli::screen::Screen;
use crate::cli::source::Source;
use crate::model::{Backend, Ruleset, Snapshot, Subject};
use crate::report::rules::{Form, SetForm};
use crate::report::{document, rules, sentence::sentence, who, wrap::wrap};

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
    pub target: Option<String>,
    /// Every table and chain, not only what redirects
    #[arg(long)]
    pub all: bool,
    /// The elements of sets too, however many
    #[arg(long)]
    sets: bool,
    #[command(flatten)]
    which: Which,
    /// table, wide (with the rules' text), json, save, nft
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
    Save,
    Nft,
}

/// Runs the command.
pub(in crate::cli) fn run(arguments: &Rules, screen: &Screen) -> Result<Exit, Failure> {
    let expressions = arguments.output == Output::Nft;
    let elements = match (arguments.output, arguments.sets) {
        // nft lists them; the save programs name sets only.
        (Output::Nft, _) | (_, true) => Elements::All,
        (Output::Save, false) => Elements::None,
        _ => Elements::Cheap,
    };
    let wanted = Wanted { expressions, elements, ..arguments.which.wanted() };
    // The sentence wants to know the pod's own address; the save form does not have one.
    let interfaces = arguments.output != Output::Save;
    let parts = Parts { rules: Some(wanted), connections: false, live_sockets: false, interfaces };
    let source = Source { place: &arguments.place, which: arguments.which, parts, screen };
    // The program ends with the answer: the kernel takes it all back at once, sooner than it could be given back bit by bit.
    let snapshot = ManuallyDrop::new(source.snapshot(arguments.target.as_deref())?);
    has_rules(&snapshot)?;
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
        Output::Json => {
            let said = summary(&snapshot, arguments.which);
            screen.print(&document::print(rules::json(&snapshot, &said.text)))?;
        }
        Output::Table | Output::Wide => screen.print(&table(&snapshot, arguments, screen))?,
    }
    // The command is about the rules, and they are all there; that the sentence may hang on something is said in it.
    Ok(unread_exit(&snapshot, &[Subject::Rules]))
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
        screen.note(&format!("not in iptables' syntax, so not printed: chain {names}; see -o json"));
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
    screen.print(&listed.text)?;
    if listed.missing.is_empty() {
        return Ok(None);
    }
    let names = listed.missing.join(", ");
    screen.note(&format!("could not be written in nft's syntax, so shown by name and bytes: {names}"));
    Ok(Some(Exit::of([Exit::CannotTell, unread_exit(snapshot, &[Subject::Rules])])))
}

fn table(snapshot: &Snapshot, arguments: &Rules, screen: &Screen) -> String {
    let Screen { paint, width, .. } = *screen;
    let wide = arguments.output == Output::Wide;
    let form = Form { all: arguments.all, wide, headings: !arguments.no_headers, width, paint };
    let mut out = who::heading(snapshot, paint, width);
    out.push_str(&rules::table(snapshot, form));
    let sets = SetForm { all: arguments.all, elements: arguments.sets, wide, width, paint };
    out.push_str(&rules::sets(snapshot, sets));
    let unread = who::unread(snapshot, &[Subject::Rules], paint, width);
    let said = summary(snapshot, arguments.which);
    let redirects = !blocks(snapshot, false).is_empty() || !unreached(snapshot, false).is_empty();
    out.push('\n');
    if !redirects && unread.is_empty() {
        out.push_str(&rules::nothing(snapshot));
    }
    // A pod whose rules drop everything is not one of which nothing is to be said.
    if redirects || !(said.plain || said.unread) {
        for line in wrap(&said.text, width) {
            out.push_str(&format!("{line}\n"));
        }
    }
    out.push_str(&unread);
    out
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
