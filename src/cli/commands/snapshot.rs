//! `nslens snapshot`: everything, in a file that all commands read.

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
use crate::model::Subject;

/// Save everything about a workload to a file that all commands read.
///
/// Rules, sockets, tracked connections, processes, interfaces, routes, the resolver, and what could not be read. The file is versioned
/// JSON, readable by its owner only. Of the environment only a few named variables of meshes are ever captured.
#[derive(Debug, Args)]
#[command(
    before_long_help = "Examples:\n  sudo nslens snapshot pod/productpage -f before.json.gz\n  nslens rules ./before.json.gz\n"
)]
pub struct Snapshot {
    /// pod/NAME, container/NAME, an ID, pid/N, ip/ADDRESS, netns/NAME, host
    pub target: Option<String>,
    /// File to write, compressed when it ends in .gz (default: stdout, unless that is a terminal)
    #[arg(short, long, value_name = "FILE")]
    file: Option<PathBuf>,
    #[command(flatten)]
    place: Where,
    #[command(flatten)]
    /// Colours and notes.
    pub looks: Looks,
}

/// Runs the command.
pub(in crate::cli) fn run(arguments: &Snapshot, screen: &Screen) -> Result<Exit, Failure> {
    if arguments.file.is_none() && screen.terminal {
        return Err(Failure::new(Exit::Usage, "a snapshot is not for reading on a terminal")
            .hint("name a file with -f, or send it through a pipe"));
    }
    let mut source = source(&arguments.place, screen);
    source.parts.rules = Some(Wanted { elements: Elements::All, ..Wanted::default() });
    (source.parts.every_socket, source.parts.figures, source.parts.tracking) = (true, true, true);
    (source.parts.routes, source.parts.evidence) = (true, true);
    (source.parts.settings, source.parts.node_state) = (true, true);
    let snapshot = source.snapshot(arguments.target.as_deref())?;
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
    use Subject::{Flows, Interfaces, Processes, Routes, Rules, Sockets};
    let all = [Rules, Sockets, Flows, Processes, Interfaces, Routes];
    Ok(unread_exit(&snapshot, &all))
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
