//! Small files below a folder that somebody else writes: a node's root, as it is or as it is mounted in a debug pod.
//!
//! Links on the way are followed within that folder and never out of it; the last name must not be one. Only regular files are
//! read, never more than asked for, and nothing is waited for: a FIFO, a device or a huge file is an error.

use std::ffi::CStr;
use std::fs::File;
use std::io::{self, Read};
use std::ops::ControlFlow;
use std::os::fd::OwnedFd;
use std::path::Path;

use rustix::fs::{Mode, OFlags, ResolveFlags};
use rustix::io::Errno;

use super::descriptors::each_entry;

/// A folder below which records lie.
#[derive(Debug)]
pub struct Records {
    folder: OwnedFd,
}

impl Records {
    /// Opens the folder.
    ///
    /// # Errors
    /// The system's own.
    pub fn open(root: &Path) -> io::Result<Self> {
        let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
        Ok(Self { folder: rustix::fs::open(root, flags, Mode::empty())? })
    }

    /// Reads a regular file of at most `most` bytes. `path` is relative to the folder.
    ///
    /// # Errors
    /// `NotFound`; `InvalidInput` when it is no regular file (ELOOP when it is a link); `FileTooLarge`; the system's own.
    pub fn read(&self, path: &Path, most: u64) -> io::Result<Vec<u8>> {
        // A FIFO without a writer opens at once with O_NONBLOCK; it is recognised before anything is read.
        let file = File::from(self.at(path, OFlags::RDONLY | OFlags::NONBLOCK | OFlags::NOCTTY | OFlags::NOFOLLOW)?);
        let found = file.metadata()?;
        if !found.is_file() {
            return Err(io::Error::new(io::ErrorKind::InvalidInput, "not a regular file"));
        }
        let mut bytes = Vec::new();
        if found.len() <= most {
            // It may grow while it is read.
            file.take(most + 1).read_to_end(&mut bytes)?;
        }
        if found.len() > most || u64::try_from(bytes.len()).is_ok_and(|length| length > most) {
            return Err(io::Error::new(io::ErrorKind::FileTooLarge, format!("larger than {most} bytes")));
        }
        Ok(bytes)
    }

    /// The names in a folder, in no order; those that are not UTF-8 are left out.
    ///
    /// # Errors
    /// `NotFound`; the system's own.
    pub fn names(&self, path: &Path) -> io::Result<Vec<String>> {
        let folder = self.at(path, OFlags::RDONLY | OFlags::DIRECTORY)?;
        let mut names = Vec::new();
        each_entry(&folder, |name: &CStr| {
            names.extend(name.to_str().ok().filter(|name| !matches!(*name, "." | "..")).map(str::to_owned));
            ControlFlow::Continue(())
        })?;
        Ok(names)
    }

    fn at(&self, path: &Path, flags: OFlags) -> io::Result<OwnedFd> {
        let flags = flags | OFlags::CLOEXEC;
        let resolve = ResolveFlags::IN_ROOT | ResolveFlags::NO_MAGICLINKS;
        match rustix::fs::openat2(&self.folder, path, flags, Mode::empty(), resolve) {
            // Linux before 5.6. The folders on the way are the node's own.
            Err(Errno::NOSYS) => Ok(rustix::fs::openat(&self.folder, path, flags, Mode::empty())?),
            other => Ok(other?),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;

    #[test]
    fn only_small_regular_files_inside_are_read() {
        let folder = tempfile::tempdir().expect("folder");
        let root = folder.path();
        std::fs::create_dir_all(root.join("in/real")).expect("folders");
        std::fs::write(root.join("in/real/file"), "text").expect("write");
        std::fs::write(root.join("in/exact"), "12345678").expect("write");
        std::fs::File::create(root.join("in/sparse")).expect("file").set_len(1 << 30).expect("length");
        symlink("real/file", root.join("in/link")).expect("link");
        symlink("/in/real", root.join("in/absolute")).expect("link");
        symlink("/etc", root.join("out")).expect("link");
        symlink("../../../../../../../../etc", root.join("in/climbing")).expect("link");
        nix::unistd::mkfifo(&root.join("in/fifo"), nix::sys::stat::Mode::S_IRWXU).expect("fifo");
        let records = Records::open(root).expect("root");
        let read = |path: &str| records.read(Path::new(path), 8).map_err(|error| error.kind());
        assert_eq!(read("in/real/file"), Ok(b"text".to_vec()));
        assert_eq!(read("in/exact"), Ok(b"12345678".to_vec()));
        assert_eq!(read("in/absolute/file"), Ok(b"text".to_vec()), "links are followed below the root");
        assert!(read("in/link").is_err(), "the last name is no link");
        for path in ["out/hostname", "in/climbing/hostname", "in/none", "none/none"] {
            assert_eq!(read(path), Err(io::ErrorKind::NotFound), "{path}");
        }
        assert_eq!(read("in/sparse"), Err(io::ErrorKind::FileTooLarge));
        for path in ["in/fifo", "in/real"] {
            assert_eq!(read(path), Err(io::ErrorKind::InvalidInput), "{path}");
        }
        let mut names = records.names(Path::new("in")).expect("names");
        names.sort_unstable();
        assert_eq!(names, ["absolute", "climbing", "exact", "fifo", "link", "real", "sparse"]);
        assert!(records.names(Path::new("in/fifo")).is_err());
    }
}
