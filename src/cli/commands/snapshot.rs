//! `nslens snapshot`: everything, in files that all commands read.

mod every;
mod verify;

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use clap::Args;

use super::conns::source;
use super::unread_exit;
use crate::archive;
use crate::capture::{rules::Wanted, sets::Elements};
use crate::cli::arguments::{Looks, Where};
use crate::cli::exit::Exit;
use crate::cli::failure::Failure;
use crate::cli::screen::Screen;
use crate::cli::source::Source;
use crate::model::Subject;
use crate::target::Selector;

/// Save everything about a workload, or all of a node, to files.
///
/// Rules, sockets, tracked connections, processes, interfaces, routes, the resolver, and what could not be read: what all commands
/// read in place of a live target. The file is versioned JSON, readable by its owner only. Of the environment only a few named variables of meshes are ever captured.
#[derive(Debug, Args)]
#[command(
    before_long_help = "Examples:\n  sudo nslens snapshot pod/productpage -f before.json.gz\n  sudo nslens snapshot -A -f yesterday\n  nslens snapshot --verify yesterday\n"
)]
pub struct Snapshot {
    /// pod/NAME, container/NAME, an ID, pid/N, ip/ADDRESS, netns/NAME, host
    #[arg(conflicts_with_all = ["all_workloads", "verify"])]
    pub target: Option<String>,
    /// File to write, compressed when it ends in .gz (default: stdout, unless that is a terminal)
    ///
    /// With -A a folder, or an archive when it ends in .tar, .tar.gz or .tgz.
    #[arg(short, long, value_name = "FILE", conflicts_with = "verify")]
    file: Option<PathBuf>,
    /// Every workload of the node: one file each, and a manifest
    #[arg(short = 'A', long, conflicts_with_all = ["container", "verify"])]
    all_workloads: bool,
    /// With -A: those with labels such as app=web
    #[arg(short = 'l', long, value_name = "SELECTOR", requires = "all_workloads", value_parser = Selector::parse)]
    selector: Option<Selector>,
    /// Whether a file, folder or archive can be read and holds what was written
    #[arg(long, value_name = "FILE")]
    verify: Option<PathBuf>,
    /// Leave out what makes a file larger than this, and say so: 200M, 500k
    #[arg(long, hide_short_help = true, value_name = "SIZE", default_value = "200M", value_parser = size)]
    max_size: u64,
    #[command(flatten)]
    place: Where,
    #[command(flatten)]
    /// Colours and notes.
    pub looks: Looks,
}

/// What a snapshot is about.
const ALL: [Subject; 6] =
    [Subject::Rules, Subject::Sockets, Subject::Flows, Subject::Processes, Subject::Interfaces, Subject::Routes];

/// Runs the command.
pub(in crate::cli) fn run(arguments: &Snapshot, screen: &Screen) -> Result<Exit, Failure> {
    if let Some(path) = &arguments.verify {
        return verify::run(path, screen);
    }
    if arguments.file.is_none() && screen.terminal {
        return Err(Failure::new(Exit::Usage, "a snapshot is not for reading on a terminal")
            .hint("name a file with -f, or send it through a pipe"));
    }
    if arguments.all_workloads {
        return every::run(arguments, screen);
    }
    let mut snapshot = everything(arguments, screen).snapshot(arguments.target.as_deref())?;
    fit(&mut snapshot, arguments.max_size)?;
    for unread in &snapshot.unread {
        screen.note(&format!("could not read {}: {}; {}", unread.source, unread.error, unread.means));
    }
    match &arguments.file {
        None => {
            let mut bytes = Vec::new();
            let written = archive::write(&snapshot, false, &mut bytes);
            written.map_err(|error| Failure::of(Exit::Failed, &error))?;
            screen.print(&String::from_utf8_lossy(&bytes))?;
        }
        Some(path) => {
            let compress = path.extension().is_some_and(|extension| extension == "gz");
            write_file(path, |out| archive::write(&snapshot, compress, out))?;
            screen.note(&format!("saved to {}", path.display()));
        }
    }
    Ok(unread_exit(&snapshot, &ALL))
}

/// All that can be saved.
fn everything<'a>(arguments: &'a Snapshot, screen: &'a Screen) -> Source<'a> {
    let mut source = source(&arguments.place, screen);
    source.parts.rules = Some(Wanted { elements: Elements::All, ..Wanted::default() });
    (source.parts.every_socket, source.parts.figures, source.parts.tracking) = (true, true, true);
    (source.parts.routes, source.parts.evidence) = (true, true);
    (source.parts.settings, source.parts.node_state) = (true, true);
    source
}

fn fit(snapshot: &mut crate::model::Snapshot, most: u64) -> Result<(), Failure> {
    if archive::size::fit(snapshot, most) {
        return Ok(());
    }
    let message =
        format!("the snapshot of {} does not fit into {most} bytes, even without connections", snapshot.asked);
    Err(Failure::new(Exit::Usage, message).hint("a larger --max-size"))
}

/// `200M`, `500k`, a number of bytes.
fn size(text: &str) -> Result<u64, String> {
    let wrong = || format!("a size such as 200M or 500k, at most {}M", archive::MOST >> 20);
    let (digits, unit) = match text.char_indices().last() {
        Some((at, 'k' | 'K')) => (text.get(..at), 1 << 10),
        Some((at, 'M')) => (text.get(..at), 1 << 20),
        _ => (Some(text), 1),
    };
    let number = digits.filter(|digits| digits.bytes().all(|byte| byte.is_ascii_digit()));
    let bytes = number.and_then(|digits| digits.parse::<u64>().ok()).and_then(|number| number.checked_mul(unit));
    bytes.filter(|bytes| *bytes > 0 && *bytes <= archive::MOST).ok_or_else(wrong)
}

/// Writes a file, which stands under its name only when it is complete.
pub(super) fn write_file(path: &Path, write: impl FnOnce(&mut dyn Write) -> io::Result<()>) -> Result<(), Failure> {
    write_to(path, write).map_err(|error| {
        let exit = match error.kind() {
            io::ErrorKind::PermissionDenied => Exit::NotPermitted,
            // A folder that is not there was typed wrongly.
            io::ErrorKind::NotFound | io::ErrorKind::IsADirectory => Exit::Usage,
            _ => Exit::Failed,
        };
        Failure::of(exit, &error).about(format!("cannot write {}", path.display()))
    })
}

/// Writes where the path leads: into a device or pipe as it is, else in the place of the file.
fn write_to(path: &Path, write: impl FnOnce(&mut dyn Write) -> io::Result<()>) -> io::Result<()> {
    match fs::metadata(path) {
        Ok(there) if there.is_file() => replace(&fs::canonicalize(path)?, write),
        Ok(there) if there.is_dir() => Err(io::Error::new(io::ErrorKind::IsADirectory, "it is a folder")),
        Ok(_) => write(&mut OpenOptions::new().write(true).open(path)?),
        Err(error) if error.kind() == io::ErrorKind::NotFound => replace(path, write),
        Err(error) => Err(error),
    }
}

/// Writes a file of mode 0600 beside its place and moves it there: a cut file never stands under the name.
fn replace(path: &Path, write: impl FnOnce(&mut dyn Write) -> io::Result<()>) -> io::Result<()> {
    let mut partial = path.as_os_str().to_owned();
    partial.push(format!(".{}.partial", std::process::id()));
    let partial = PathBuf::from(partial);
    let mut file: File = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&partial)?;
    let written = write(&mut file).and_then(|()| file.sync_all()).and_then(|()| fs::rename(&partial, path));
    if written.is_err() {
        // The first error is the one to report.
        fs::remove_file(&partial).ok();
    }
    written
}
