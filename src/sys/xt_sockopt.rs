//! The two `getsockopt` calls of legacy xtables: table info (64) and entries (65).
//!
//! Both read the caller's buffer before they write it (the table's name goes in), so no typed wrapper fits. Asking for a table
//! creates it: callers ask only for names that `/proc/net/ip_tables_names` lists (`include/uapi/linux/netfilter_ipv4/ip_tables.h`).

use std::io;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};

use super::asked::{self, Question};

const GET_INFO: libc::c_int = 64;
const GET_ENTRIES: libc::c_int = 65;
const NAME: usize = 32;
/// `struct ipt_getinfo`: name, valid hooks, 5 entry offsets, 5 underflows, entry count, size.
const INFO: usize = NAME + 4 + 5 * 4 + 5 * 4 + 4 + 4;
/// `struct ipt_get_entries` before its entries: name, size, and padding to 8.
const ENTRIES_HEAD: usize = NAME + 4 + 4;
/// No table comes near; a kernel that says more is not believed.
const MOST: usize = 1 << 30;

/// One table as the kernel holds it.
#[derive(Debug, Clone)]
pub struct RawTable {
    /// Bit N is set when netfilter hook N has rules here.
    pub valid_hooks: u32,
    /// Byte offset of each hook's first entry.
    pub hook_entry: [u32; 5],
    /// Byte offset of each hook's policy entry.
    pub underflow: [u32; 5],
    /// The kernel's answer: a head that repeats the question, then the entries.
    answer: LargeBuffer,
}

impl RawTable {
    /// The entries, packed one behind the other.
    #[must_use]
    pub fn entries(&self) -> &[u8] {
        self.answer.bytes().get(ENTRIES_HEAD..).unwrap_or_default()
    }
}

/// A socket through which one family's legacy tables are read.
#[derive(Debug)]
pub struct XtSocket {
    fd: OwnedFd,
    level: libc::c_int,
}

impl XtSocket {
    /// Opens the socket in the calling thread's network namespace.
    ///
    /// # Errors
    /// The system's own; `EAFNOSUPPORT` where the kernel has no IPv6.
    pub fn open(ipv6: bool) -> io::Result<Self> {
        let (domain, level) =
            if ipv6 { (libc::AF_INET6, libc::IPPROTO_IPV6) } else { (libc::AF_INET, libc::IPPROTO_IP) };
        // SAFETY: socket(2) takes integers only. A datagram socket serves and needs no CAP_NET_RAW.
        let fd = unsafe { libc::socket(domain, libc::SOCK_DGRAM | libc::SOCK_CLOEXEC, 0) };
        if fd < 0 {
            return Err(io::Error::last_os_error());
        }
        // SAFETY: `fd` was just returned by socket(2) and nobody else owns it.
        Ok(Self { fd: unsafe { OwnedFd::from_raw_fd(fd) }, level })
    }

    /// Reads one table whole; asks again when the table changed between the two calls.
    ///
    /// # Errors
    /// `PermissionDenied` without CAP_NET_ADMIN over the namespace; the system's own otherwise.
    pub fn table(&self, name: &str) -> io::Result<RawTable> {
        asked::note(|| Question::Table { ipv6: self.level == libc::IPPROTO_IPV6, name: name.to_owned() });
        for _ in 0..16 {
            match self.table_once(name) {
                Err(error) if error.raw_os_error() == Some(libc::EAGAIN) => {}
                other => return other,
            }
        }
        Err(io::Error::other("the table changed each time it was read"))
    }

    fn table_once(&self, name: &str) -> io::Result<RawTable> {
        let mut info = vec![0_u8; INFO];
        put_name(&mut info, name)?;
        self.get(GET_INFO, &mut info)?;
        let word = |at: usize| {
            let bytes = info.get(at..at + 4).and_then(|bytes| bytes.first_chunk::<4>());
            bytes.map_or(0, |bytes| u32::from_ne_bytes(*bytes))
        };
        let size = word(NAME + 48) as usize;
        if size > MOST {
            return Err(io::Error::new(io::ErrorKind::InvalidData, "the kernel announced an impossible table size"));
        }
        let mut answer = LargeBuffer::new(ENTRIES_HEAD + size);
        let bytes = answer.bytes_mut();
        put_name(bytes, name)?;
        if let Some(field) = bytes.get_mut(NAME..NAME + 4) {
            field.copy_from_slice(&(size as u32).to_ne_bytes());
        }
        self.get(GET_ENTRIES, bytes)?;
        Ok(RawTable {
            valid_hooks: word(NAME),
            hook_entry: std::array::from_fn(|hook| word(NAME + 4 + 4 * hook)),
            underflow: std::array::from_fn(|hook| word(NAME + 24 + 4 * hook)),
            answer,
        })
    }

    fn get(&self, option: libc::c_int, buffer: &mut [u8]) -> io::Result<()> {
        let mut length = buffer.len() as libc::socklen_t;
        // SAFETY: the kernel reads and writes at most `length` bytes of `buffer`, which is that long and lives for the call.
        let answer = unsafe {
            libc::getsockopt(self.fd.as_raw_fd(), self.level, option, buffer.as_mut_ptr().cast(), &raw mut length)
        };
        if answer < 0 {
            return Err(io::Error::last_os_error());
        }
        if length as usize != buffer.len() {
            return Err(io::Error::new(io::ErrorKind::InvalidData, "the kernel answered with another length"));
        }
        Ok(())
    }
}

/// Zeroed bytes, in large pages where they are many: the kernel writes them whole, and to fault in page after page takes a fifth of
/// the time.
#[derive(Debug, Clone)]
struct LargeBuffer {
    /// Longer than the bytes, which begin where a large page does. What lies around them is never touched, and takes no memory.
    room: Vec<u8>,
    start: usize,
    length: usize,
}

impl LargeBuffer {
    fn new(length: usize) -> Self {
        const LARGE: usize = 2 << 20;
        if length < LARGE {
            return Self { room: vec![0; length], start: 0, length };
        }
        let whole = length.next_multiple_of(LARGE);
        let mut room = vec![0_u8; whole + LARGE];
        let start = room.as_ptr().align_offset(LARGE);
        if let Some(pages) = room.get_mut(start..start.saturating_add(whole)) {
            // SAFETY: the range lies in `room`. The advice changes no byte of it, and where it is not taken nothing is lost.
            unsafe { libc::madvise(pages.as_mut_ptr().cast(), whole, libc::MADV_HUGEPAGE) };
        }
        Self { room, start, length }
    }

    fn bytes(&self) -> &[u8] {
        self.room.get(self.start..self.start + self.length).unwrap_or_default()
    }

    fn bytes_mut(&mut self) -> &mut [u8] {
        self.room.get_mut(self.start..self.start + self.length).unwrap_or_default()
    }
}

fn put_name(buffer: &mut [u8], name: &str) -> io::Result<()> {
    let field = buffer.get_mut(..name.len()).filter(|_| name.len() < NAME);
    field.ok_or(io::ErrorKind::InvalidInput)?.copy_from_slice(name.as_bytes());
    Ok(())
}
