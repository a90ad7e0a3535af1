//! Every workload of the node, in a folder or an archive.

use std::fs::{self, DirBuilder};
use std::io;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};

use super::{ALL, Snapshot, everything, fit, write_file};
use crate::archive::bundle::{self, Entry, Failed, Manifest};
use crate::archive::{self, MANIFEST};
use crate::capture::sweep::side_by_side;
use crate::cli::commands::list::{of_many, silent_exits, unlisted};
use crate::cli::commands::unread_exit;
use crate::cli::exit::Exit;
use crate::cli::failure::Failure;
use crate::cli::node::{Node, typed};
use crate::cli::screen::Screen;
use crate::cli::source;

/// Where all goes.
enum Place {
    /// A file each.
    Folder(PathBuf),
    /// All in one file; without a name to standard output.
    Archive(Option<PathBuf>),
}

impl Place {
    fn of(file: Option<&Path>) -> Self {
        let ends = |path: &Path, ending: &str| path.as_os_str().as_encoded_bytes().ends_with(ending.as_bytes());
        match file {
            Some(path) if ![".tar", ".tar.gz", ".tgz"].iter().any(|ending| ends(path, ending)) => {
                Self::Folder(path.to_owned())
            }
            other => Self::Archive(other.map(Path::to_owned)),
        }
    }
}

/// Saves every workload that is wanted.
pub(super) fn run(arguments: &Snapshot, screen: &Screen) -> Result<Exit, Failure> {
    let place = Place::of(arguments.file.as_deref());
    let node = Node::listed(&arguments.place, arguments.selector.as_ref(), screen)?;
    if let Place::Folder(folder) = &place {
        make(folder)?;
    }
    let parts = everything(arguments, screen).parts;
    let taken = source::now();
    let workloads: Vec<_> = (0..node.listing.len()).filter_map(|index| node.listing.workload(index)).collect();
    let names = bundle::names(workloads.iter().copied());
    let shared = node.shared(parts);
    let each = |index: usize| -> Result<(Entry, Vec<u8>, Exit), (Failed, Exit)> {
        let name = names.get(index).cloned().unwrap_or_default();
        let failed = |failure: Failure| {
            let target = workloads.get(index).map_or_else(String::new, |workload| typed(workload));
            let refused = failure.exit == Exit::NotPermitted;
            (Failed { target, error: failure.line() }, if refused { Exit::NotPermitted } else { Exit::CannotTell })
        };
        let mut snapshot = node.sample(index, parts, &shared).map_err(failed)?;
        fit(&mut snapshot, arguments.max_size).map_err(failed)?;
        let mut bytes = Vec::new();
        let written = archive::write(&snapshot, true, &mut bytes);
        written.map_err(|error| failed(Failure::of(Exit::Failed, &error)))?;
        let (workload, exit) = (&snapshot.workload, unread_exit(&snapshot, &ALL));
        let (kind, namespace) = (workload.kind, workload.namespace.clone());
        let entry =
            Entry { bytes: bytes.len() as u64, kind, name: workload.name.clone(), namespace, file: name.clone() };
        if let Place::Folder(folder) = &place {
            let path = folder.join(&name);
            write_file(&path, |out| out.write_all(&bytes)).map_err(failed)?;
            bytes.clear();
        }
        Ok((entry, bytes, exit))
    };
    let done = side_by_side(names.len(), usize::MAX, each);
    let (mut files, mut exits) = (Vec::new(), Vec::new());
    let mut manifest = Manifest {
        schema: bundle::SCHEMA.to_owned(),
        nslens: env!("CARGO_PKG_VERSION").to_owned(),
        node: node.world.node.clone(),
        taken,
        redacted: false,
        workloads: Vec::new(),
        failed: Vec::new(),
        unread: unlisted(&node.listing).into(),
    };
    for one in done {
        match one {
            Ok((entry, bytes, exit)) => {
                files.push((entry.file.clone(), bytes));
                manifest.workloads.push(entry);
                exits.push(exit);
            }
            Err((failed, exit)) => {
                screen.note(&format!("{} could not be saved: {}", failed.target, failed.error));
                manifest.failed.push(failed);
                exits.push(exit);
            }
        }
    }
    keep(&place, &manifest, files, screen)?;
    Ok(Exit::of(of_many(exits.into_iter()).into_iter().chain(silent_exits(&node.listing))))
}

/// Writes what tells of all, and for an archive all of it.
fn keep(place: &Place, manifest: &Manifest, mut files: Vec<(String, Vec<u8>)>, screen: &Screen) -> Result<(), Failure> {
    let (count, taken) = (manifest.workloads.len(), manifest.taken);
    let mut text = serde_json::to_vec_pretty(manifest).map_err(|error| Failure::of(Exit::Failed, &error))?;
    text.push(b'\n');
    let saved = |path: &Path| screen.note(&format!("{count} workloads saved to {}", path.display()));
    match place {
        Place::Folder(folder) => {
            write_file(&folder.join(MANIFEST), |out| out.write_all(&text))?;
            saved(folder);
        }
        Place::Archive(path) => {
            files.insert(0, (MANIFEST.to_owned(), text));
            match path {
                None => screen.stream(|out| bundle::write(&files, taken, out))?,
                Some(path) => {
                    let compress = path.extension().is_some_and(|extension| extension != "tar");
                    write_file(path, |out| packed(&files, taken, compress, out))?;
                    saved(path);
                }
            }
        }
    }
    Ok(())
}

fn packed(files: &[(String, Vec<u8>)], taken: u64, compress: bool, out: &mut dyn io::Write) -> io::Result<()> {
    if !compress {
        return bundle::write(files, taken, out);
    }
    let mut encoder = flate2::write::GzEncoder::new(out, flate2::Compression::default());
    bundle::write(files, taken, &mut encoder)?;
    encoder.finish()?.flush()
}

/// A folder of mode 0700 that holds nothing yet.
fn make(folder: &Path) -> Result<(), Failure> {
    let failed = |error: &io::Error| {
        let exit = match error.kind() {
            io::ErrorKind::PermissionDenied => Exit::NotPermitted,
            io::ErrorKind::NotFound | io::ErrorKind::NotADirectory => Exit::Usage,
            _ => Exit::Failed,
        };
        Failure::of(exit, error).about(format!("cannot write into {}", folder.display()))
    };
    match DirBuilder::new().mode(0o700).create(folder) {
        Ok(()) => return Ok(()),
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
        Err(error) => return Err(failed(&error)),
    }
    let mut inside = fs::read_dir(folder).map_err(|error| failed(&error))?;
    match inside.next() {
        None => Ok(()),
        Some(_) => {
            let message = format!("{} holds something already", folder.display());
            Err(Failure::new(Exit::Usage, message).hint("name a folder that is not there yet, or a .tar file"))
        }
    }
}
