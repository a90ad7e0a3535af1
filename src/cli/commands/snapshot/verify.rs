//! Whether files can be read, hold all that the manifest tells of, and lose nothing when they are written again.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use crate::archive::bundle::{self, Manifest, SCHEMA};
use crate::archive::{self, Loaded, MANIFEST};
use crate::cli::exit::Exit;
use crate::cli::failure::Failure;
use crate::cli::folder;
use crate::cli::screen::Screen;
use crate::cli::source::file;
use crate::model::{Family, Snapshot};
use crate::report::escape::escape;
use crate::report::paint::Label;

/// Looks at a file, a folder or an archive, and prints a line for each snapshot.
pub(super) fn run(path: &Path, screen: &Screen) -> Result<Exit, Failure> {
    let (files, manifest) = read(path)?;
    let (mut damaged, mut out) = (0, String::new());
    let mut tell = |name: &str, result: Result<String, String>| {
        let (word, label, text) = match &result {
            Ok(text) => ("ok", Label::Added, text),
            Err(text) => {
                damaged += 1;
                ("damaged", Label::Error, text)
            }
        };
        out.push_str(&format!("{} {}: {}\n", screen.paint.text(label, word), escape(name), escape(text)));
    };
    for (name, bytes) in &files {
        tell(name, bytes.as_ref().map_err(Failure::line).and_then(|bytes| one(bytes)));
    }
    for (name, text) in manifest.iter().flat_map(|manifest| missing(manifest, &files)) {
        tell(&name, Err(text));
    }
    screen.print(&out)?;
    Ok(if damaged > 0 { Exit::Usage } else { Exit::Done })
}

/// The bytes of each file, and the manifest.
type Files = (Vec<(String, Result<Vec<u8>, Failure>)>, Option<Manifest>);

fn read(path: &Path) -> Result<Files, Failure> {
    let manifest = |bytes: &[u8]| -> Result<Manifest, Failure> {
        let wrong = |text: String| Failure::new(Exit::Usage, text).about(format!("{} {MANIFEST}", path.display()));
        let manifest: Manifest = serde_json::from_slice(bytes).map_err(|error| wrong(error.to_string()))?;
        let known = manifest.schema == SCHEMA;
        known.then_some(manifest).ok_or_else(|| wrong("its schema is not known here".to_owned()))
    };
    if path.is_dir() {
        let told = path.join(MANIFEST);
        let told = told.exists().then(|| file(&told).and_then(|bytes| manifest(&bytes))).transpose()?;
        let name = |path: &PathBuf| path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        return Ok((folder::inside(path)?.iter().map(|path| (name(path), file(path))).collect(), told));
    }
    let bytes = file(path)?;
    match bundle::files(&bytes).map_err(|error| Failure::from(error).about(path.display()))? {
        None => Ok((vec![(path.display().to_string(), Ok(bytes))], None)),
        Some(files) => {
            let (told, files): (Vec<_>, Vec<_>) = files.into_iter().partition(|(name, _)| name == MANIFEST);
            let told = told.first().map(|(_, bytes)| manifest(bytes)).transpose()?;
            Ok((files.into_iter().map(|(name, bytes)| (name, Ok(bytes))).collect(), told))
        }
    }
}

/// What the manifest tells of and is not there, or is another length; and what is there and not told of.
fn missing(manifest: &Manifest, files: &[(String, Result<Vec<u8>, Failure>)]) -> Vec<(String, String)> {
    let there: BTreeMap<&str, Option<usize>> =
        files.iter().map(|(name, bytes)| (name.as_str(), bytes.as_ref().ok().map(Vec::len))).collect();
    let mut found = Vec::new();
    for entry in &manifest.workloads {
        match there.get(entry.file.as_str()) {
            None => found.push((entry.file.clone(), "the manifest tells of it, and it is not there".to_owned())),
            Some(Some(bytes)) if *bytes as u64 != entry.bytes => {
                let text = format!("it has {bytes} bytes, and had {} when it was written", entry.bytes);
                found.push((entry.file.clone(), text));
            }
            Some(_) => {}
        }
    }
    let told = |name: &str| manifest.workloads.iter().any(|entry| entry.file == name);
    let strange = there.keys().filter(|name| !told(name));
    found.extend(strange.map(|name| ((*name).to_owned(), "the manifest does not tell of it".to_owned())));
    found
}

/// What one file holds; `Err` with what is wrong.
fn one(bytes: &[u8]) -> Result<String, String> {
    let loaded = archive::read(bytes, Family::Ip).map_err(|error| Failure::from(error).line())?;
    let Loaded::Snapshot(snapshot) = loaded else { return Err("it is saved rules, and no snapshot".to_owned()) };
    let mut again = Vec::new();
    archive::write(&snapshot, false, &mut again).map_err(|error| error.to_string())?;
    match archive::read(&again, Family::Ip) {
        Ok(Loaded::Snapshot(same)) if same == snapshot => Ok(words(&snapshot)),
        _ => Err("written again it is another one".to_owned()),
    }
}

/// Who it is, and how much there is.
fn words(snapshot: &Snapshot) -> String {
    let workload = &snapshot.workload;
    let name = match &workload.namespace {
        Some(namespace) => format!("{} {namespace}/{}", workload.kind.word(), workload.name),
        None => format!("{} {}", workload.kind.word(), workload.name),
    };
    let mut parts = Vec::new();
    let mut count = |number: Option<usize>, what: &str| {
        parts.push(number.map_or_else(|| format!("no {what}"), |number| format!("{number} {what}")));
    };
    count(snapshot.rulesets.as_ref().map(|sets| sets.iter().map(crate::model::Ruleset::rule_count).sum()), "rules");
    count(snapshot.sockets.as_ref().map(Vec::len), "sockets");
    count(snapshot.flows.as_ref().map(Vec::len), "tracked connections");
    count(snapshot.processes.as_ref().map(Vec::len), "processes");
    let unread = match snapshot.unread.len() {
        0 => String::new(),
        1 => "; one thing could not be read".to_owned(),
        many => format!("; {many} things could not be read"),
    };
    format!("{name}, {}{unread}", parts.join(", "))
}
