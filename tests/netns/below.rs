//! Files below a container's root: whatever a container plants there, nothing blocks, nothing leads out, nothing wrong is told.

use std::ffi::OsStr;
use std::fs::{self, File};
use std::io::{Read, Write};
use std::os::fd::AsRawFd;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{FileTypeExt, MetadataExt, PermissionsExt, symlink};
use std::os::unix::net::UnixListener;
use std::path::Path;
use std::process::{Child, Stdio};
use std::time::{Duration, Instant};

use nix::mount::{MntFlags, MsFlags, mount, umount2};
use nix::sched::{CloneFlags, unshare};
use nix::sys::stat::{Mode, SFlag, makedev, mknod};
use nix::unistd::mkfifo;
use nslens::capture::{Occasion, Parts, take};
use nslens::model::{self, Cause, Kind, Resolver, Snapshot, Subject, Workload};
use nslens::sys::process::Process as Held;
use rustix::thread::{CapabilitySet, capabilities, set_capabilities};

use crate::support::{Lab, require_root, wait_until};

const PASSWD: &str = "inner:x:0:0::/:\nproxy:x:1337:1337::/:\n";
const RESOLV_CONF: &str = "search shop.svc.cluster.local\nnameserver 10.96.0.10\n";

/// A name that is no text.
const NO_TEXT: &[u8] = b"\xff";

/// A container's root with a process in it, which runs in the lab.
struct Container<'a> {
    lab: &'a Lab,
    root: tempfile::TempDir,
    child: Option<Child>,
}

impl<'a> Container<'a> {
    fn new(lab: &'a Lab) -> Self {
        let root = tempfile::tempdir().expect("a folder");
        fs::copy("/bin/busybox", root.path().join("sleep")).expect("busybox");
        for folder in ["etc", "proc"] {
            fs::create_dir(root.path().join(folder)).expect("a folder");
        }
        fs::write(root.path().join("etc/passwd"), PASSWD).expect("a file");
        fs::write(root.path().join("etc/resolv.conf"), RESOLV_CONF).expect("a file");
        Self { lab, root, child: None }
    }

    /// Starts the process: its `/proc` is there, and its mounts are its own.
    fn start(&mut self, uid: u32) {
        const SCRIPT: &str = "mount --make-rprivate /; mount -t proc proc \"$0/proc\"
            exec setpriv --pdeathsig KILL chroot --userspec=\"+$1:+$1\" --groups= \"$0\" /sleep 1000";
        let mut command = self.lab.command("unshare");
        command.args(["--mount", "sh", "-euc", SCRIPT]).arg(self.root.path()).arg(uid.to_string());
        let child = command.stdin(Stdio::null()).spawn().expect("unshare can be run");
        let program = || fs::read(format!("/proc/{}/cmdline", child.id())).unwrap_or_default();
        wait_until("it sleeps", || program().starts_with(b"/sleep\0"));
        self.child = Some(child);
    }

    fn pid(&self) -> u32 {
        self.child.as_ref().expect("it was started").id()
    }

    fn look(&self) -> Snapshot {
        let proc_root = Path::new("/proc");
        let held = Held::hold(proc_root, self.pid()).expect("it lives");
        let parts = Parts { connections: true, ..Parts::default() };
        let occasion = Occasion { node: "node", now: 0, asked: "pid", proc_root };
        let begun = Instant::now();
        let snapshot = take(Workload::named(Kind::Process, "1"), self.lab.netns(), Some(&held), parts, occasion);
        assert!(begun.elapsed() < Duration::from_secs(4), "it took {:?}", begun.elapsed());
        snapshot.expect("it lives")
    }

    /// The name of its user.
    fn user(&self, snapshot: &Snapshot) -> Option<String> {
        let processes = snapshot.processes.as_deref().expect("processes");
        processes.iter().find(|process| process.pid == self.pid()).expect("it is in the lab").user.clone()
    }
}

impl Drop for Container<'_> {
    fn drop(&mut self) {
        if let Some(mut child) = self.child.take() {
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

/// What is said of the two files.
fn unread(snapshot: &Snapshot) -> Vec<(&str, &str, Cause)> {
    let about = snapshot.unread_about(&[Subject::Metadata]);
    about.map(|unread| (unread.source.as_str(), unread.error.as_str(), unread.cause)).collect()
}

fn servers() -> Option<Resolver> {
    let owned = |text: &str| vec![text.to_owned()];
    Some(Resolver { nameservers: owned("10.96.0.10"), search: owned("shop.svc.cluster.local") })
}

#[test]
fn ordinary_files_give_names_and_servers() {
    if !require_root() {
        return;
    }
    let lab = Lab::new();
    for (uid, name) in [(0, Some("inner")), (1337, Some("proxy")), (7, None)] {
        let mut container = Container::new(&lab);
        container.start(uid);
        let snapshot = container.look();
        assert_eq!(container.user(&snapshot).as_deref(), name);
        assert_eq!((snapshot.resolver.clone(), unread(&snapshot)), (servers(), vec![]));
        // Others have their own roots: the lab's holder has the machine's.
        let processes = snapshot.processes.as_deref().expect("processes");
        let holder = processes.iter().find(|process| process.pid == lab.pid()).expect("it is listed");
        assert_eq!(holder.user.as_deref(), Some("root"));
    }
    // Links that stay inside lead on, also those that would climb out; closed files are read by who may.
    let mut container = Container::new(&lab);
    let etc = container.root.path().join("etc");
    fs::create_dir(etc.join("real")).expect("a folder");
    for (name, link) in [("passwd", "/etc/real/passwd"), ("resolv.conf", "../../../../etc/real/resolv.conf")] {
        fs::rename(etc.join(name), etc.join("real").join(name)).expect("moved");
        fs::set_permissions(etc.join("real").join(name), fs::Permissions::from_mode(0o000)).expect("closed");
        symlink(link, etc.join(name)).expect("a link");
    }
    container.start(0);
    let accessed =
        || fs::metadata(etc.join("real/passwd")).map(|found| (found.atime(), found.atime_nsec())).expect("it");
    let before = accessed();
    let snapshot = container.look();
    assert_eq!(container.user(&snapshot).as_deref(), Some("inner"));
    assert_eq!((snapshot.resolver.clone(), unread(&snapshot)), (servers(), vec![]));
    assert_eq!(accessed(), before, "the time of access moved");

    // Without the files nobody has a name, and no server is chosen: that is known.
    fs::remove_dir_all(&etc).expect("removed");
    let snapshot = container.look();
    assert_eq!(container.user(&snapshot), None);
    assert_eq!((snapshot.resolver.clone(), unread(&snapshot)), (Some(Resolver::default()), vec![]));
}

#[test]
fn links_never_lead_out() {
    if !require_root() {
        return;
    }
    let lab = Lab::new();
    let outside = tempfile::tempdir().expect("a folder");
    fs::set_permissions(outside.path(), fs::Permissions::from_mode(0o755)).expect("open to all");
    fs::write(outside.path().join("passwd"), "outer:x:0:0::/:\n").expect("a file");
    fs::write(outside.path().join("resolv.conf"), "nameserver 192.0.2.1\n").expect("a file");
    let outside = outside.path().to_str().expect("a path");
    let (circle, made_up) = (
        "its links lead round in a circle, or through /proc to somewhere else",
        "a link leads to a file that the kernel makes up",
    );
    let own = std::process::id();
    let cases: [(String, Option<&str>); 12] = [
        // As seen from inside there is nothing.
        (format!("{outside}/FILE"), None),
        (format!("../../../../../../..{outside}/FILE"), None),
        ("/nowhere".to_owned(), None),
        // The node's own, if it led out.
        ("/etc/FILE".to_owned(), Some(circle)),
        ("../../../../../../etc/FILE".to_owned(), Some(circle)),
        ("round".to_owned(), Some(circle)),
        (format!("/proc/self/root{outside}/FILE"), Some(circle)),
        (format!("/proc/{}/root{outside}/FILE", lab.pid()), Some(circle)),
        (format!("/proc/{own}/cwd"), Some(circle)),
        ("/proc/self/fd/0".to_owned(), Some(circle)),
        ("/proc/self/environ".to_owned(), Some(made_up)),
        // To read it would take lines of the kernel's log away.
        ("/proc/kmsg".to_owned(), Some(made_up)),
    ];
    for (link, error) in cases {
        let mut container = Container::new(&lab);
        let etc = container.root.path().join("etc");
        symlink("around", etc.join("round")).expect("a link");
        symlink("round", etc.join("around")).expect("a link");
        for name in ["passwd", "resolv.conf"] {
            fs::remove_file(etc.join(name)).expect("removed");
            symlink(link.replace("FILE", name), etc.join(name)).expect("a link");
        }
        container.start(0);
        let snapshot = container.look();
        assert_eq!(container.user(&snapshot), None, "{link}");
        let expected: Vec<(&str, String)> = error.map_or_else(Vec::new, |error| {
            vec![
                ("etc/passwd", format!("that of process {}: {error}", container.pid())),
                ("etc/resolv.conf", error.to_owned()),
            ]
        });
        let told: Vec<(&str, String)> =
            unread(&snapshot).into_iter().map(|(source, error, _)| (source, error.to_owned())).collect();
        assert_eq!(told, expected, "{link}");
        assert_eq!(snapshot.resolver, error.is_none().then(Resolver::default), "{link}");
    }
}

#[test]
fn only_files_of_a_size_are_read() {
    if !require_root() {
        return;
    }
    let lab = Lab::new();
    let device = |number| {
        move |path: &Path| {
            mknod(path, SFlag::S_IFCHR, Mode::from_bits_truncate(0o666), makedev(1, number)).expect("a device")
        }
    };
    let sparse = |path: &Path| File::create(path).and_then(|file| file.set_len(1 << 30)).expect("a sparse file");
    let long = |path: &Path| fs::write(path, "a".repeat(2 << 20)).expect("a file");
    type Plant<'a> = &'a dyn Fn(&Path);
    let cases: [(&str, Plant<'_>); 7] = [
        ("a FIFO", &|path| mkfifo(path, Mode::from_bits_truncate(0o666)).expect("a FIFO")),
        ("a device", &device(5)),
        ("a device", &device(3)),
        ("a folder", &|path| fs::create_dir(path).expect("a folder")),
        ("a socket", &|path| drop(UnixListener::bind(path).expect("a socket"))),
        ("1073741824 bytes", &sparse),
        ("2097152 bytes, of which only the first 1048576 were read", &long),
    ];
    for (error, plant) in cases {
        let mut container = Container::new(&lab);
        let etc = container.root.path().join("etc");
        for name in ["passwd", "resolv.conf"] {
            fs::remove_file(etc.join(name)).expect("removed");
            plant(&etc.join(name));
        }
        container.start(0);
        let snapshot = container.look();
        let told = unread(&snapshot);
        assert!(told.len() == 2 && told.iter().all(|one| one.1.contains(error) && one.2 == Cause::Failed), "{told:?}");
        assert_eq!((container.user(&snapshot), snapshot.resolver.clone()), (None, None), "{error}");
        if fs::metadata(etc.join("passwd")).is_ok_and(|found| found.file_type().is_fifo()) {
            // Nobody opened it: a writer would still wait.
            let flags = nix::fcntl::OFlag::O_WRONLY | nix::fcntl::OFlag::O_NONBLOCK;
            let opened = nix::fcntl::open(&etc.join("passwd"), flags, Mode::empty());
            assert_eq!(opened.err(), Some(nix::errno::Errno::ENXIO));
        }
    }

    // What stands in the part that was read is true, and enough for those who stand there.
    let mut container = Container::new(&lab);
    let path = container.root.path().join("etc/passwd");
    fs::write(&path, format!("{PASSWD}{}app:x:7:7::/:\n", "#\n".repeat(1 << 20))).expect("a file");
    container.start(1337);
    let snapshot = container.look();
    assert_eq!((container.user(&snapshot).as_deref(), unread(&snapshot)), (Some("proxy"), vec![]));
    let mut container = Container {
        child: None,
        lab: &lab,
        root: std::mem::replace(&mut container.root, tempfile::tempdir().expect("a folder")),
    };
    container.start(7);
    let snapshot = container.look();
    assert_eq!((container.user(&snapshot), unread(&snapshot).len()), (None, 1));
}

#[test]
fn without_the_right_to_read_it_is_said() {
    if !require_root() {
        return;
    }
    let lab = Lab::new();
    let mut container = Container::new(&lab);
    // Owned by somebody else and closed: only a capability opens it.
    for name in ["passwd", "resolv.conf"] {
        let path = container.root.path().join("etc").join(name);
        std::os::unix::fs::chown(&path, Some(1000), Some(1000)).expect("it is given away");
        fs::set_permissions(&path, fs::Permissions::from_mode(0o000)).expect("closed");
    }
    container.start(0);
    let missing = CapabilitySet::DAC_OVERRIDE | CapabilitySet::DAC_READ_SEARCH;
    let snapshot = std::thread::scope(|scope| {
        let reader = scope.spawn(|| {
            let mut sets = capabilities(None).expect("our capabilities");
            sets.effective &= !missing;
            set_capabilities(None, sets).expect("fewer of them");
            container.look()
        });
        reader.join().expect("the reader came back")
    });
    let told = unread(&snapshot);
    assert!(told.len() == 2 && told.iter().all(|one| one.2 == Cause::Permission), "{told:?}");
    assert_eq!((container.user(&snapshot), snapshot.resolver.clone()), (None, None));
}

/// The requests of a FUSE file system (`struct fuse_in_header`, include/uapi/linux/fuse.h), of which only the first is answered:
/// after that the kernel waits for the others without end.
fn serve(fuse: &File) -> u64 {
    const INIT: u32 = 26;
    let (mut fuse, mut taken) = (fuse, 0);
    let mut request = vec![0; 1 << 17];
    let word = |bytes: &[u8], at: usize| u32::from_ne_bytes(bytes[at..at + 4].try_into().expect("four bytes"));
    // It ends with an error when nothing is mounted any more.
    while let Ok(length @ 40..) = fuse.read(&mut request) {
        if word(&request, 4) != INIT {
            taken += 1;
            // Long enough for whoever asked to be found waiting; then the file system fails, and lets them go.
            std::thread::sleep(Duration::from_secs(12));
            break;
        }
        // `fuse_out_header`, and a `fuse_init_out` of version 7.31 that wants nothing.
        let mut answer = [0; 16 + 64];
        answer[..4].copy_from_slice(&80_u32.to_ne_bytes());
        answer[8..16].copy_from_slice(&request[8..16]);
        answer[16..20].copy_from_slice(&7_u32.to_ne_bytes());
        answer[20..24].copy_from_slice(&31_u32.to_ne_bytes());
        assert!(length > 40 && fuse.write(&answer).is_ok(), "the kernel is content");
    }
    taken
}

/// Mounts a file system below the container's root that takes requests and never answers, starts the container, and looks at it.
/// Returns what `judge` says, and how many requests there were.
fn beside_fuse<T>(lab: &Lab, plant: impl Fn(&Path) + Sync, judge: impl Fn(&Container<'_>) -> T + Sync) -> (T, u64)
where
    T: Send,
{
    std::thread::scope(|scope| {
        let inside = scope.spawn(|| {
            // The mount is this thread's and its children's alone.
            unshare(CloneFlags::CLONE_NEWNS).expect("own mounts");
            mount(None::<&str>, "/", None::<&str>, MsFlags::MS_REC | MsFlags::MS_PRIVATE, None::<&str>)
                .expect("private");
            let mut container = Container::new(lab);
            let served = container.root.path().join("served");
            fs::create_dir(&served).expect("a folder");
            let fuse = File::options().read(true).write(true).open("/dev/fuse").expect("fuse");
            let options = format!("fd={},rootmode=40000,user_id=0,group_id=0", fuse.as_raw_fd());
            mount(Some("none"), &served, Some("fuse"), MsFlags::empty(), Some(options.as_str())).expect("mounted");
            let server = scope.spawn(move || serve(&fuse));
            plant(container.root.path());
            container.start(0);
            let judged = judge(&container);
            drop(container.child.take().map(|mut child| child.kill().and_then(|()| child.wait())));
            for point in [b"etc".as_slice(), b"served", NO_TEXT] {
                // What is not mounted need not be unmounted.
                let _ = umount2(&container.root.path().join(OsStr::from_bytes(point)), MntFlags::MNT_DETACH);
            }
            (judged, server)
        });
        let (judged, server) = inside.join().expect("it went on");
        (judged, server.join().expect("it served"))
    })
}

/// Mounts a part of the root once more.
fn bind(root: &Path, from: &str, to: &str) {
    let (from, to) = (root.join(from), root.join(to));
    mount(Some(&from), &to, None::<&str>, MsFlags::MS_BIND, None::<&str>).expect("mounted");
}

#[test]
fn a_file_system_that_somebody_serves_is_not_asked() {
    if !require_root() {
        return;
    }
    let lab = Lab::new();
    let link = |root: &Path, to: &str| {
        for name in ["passwd", "resolv.conf"] {
            fs::remove_file(root.join("etc").join(name)).expect("removed");
            symlink(to.replace("FILE", name), root.join("etc").join(name)).expect("a link");
        }
    };
    type Plant<'a> = &'a (dyn Fn(&Path) + Sync);
    let cases: [(&str, Plant<'_>); 4] = [
        ("on the folder", &|root| bind(root, "served", "etc")),
        ("behind a link", &|root| link(root, "/served/FILE")),
        ("behind links that climb", &|root| {
            symlink("../../../served", root.join("etc/there")).expect("a link");
            link(root, "./there/FILE");
        }),
        ("under a name that is no text", &|root| {
            let name = OsStr::from_bytes(NO_TEXT);
            fs::create_dir(root.join(name)).expect("a folder");
            let (from, to) = (root.join("served"), root.join(name));
            mount(Some(&from), &to, None::<&str>, MsFlags::MS_MOVE, None::<&str>).expect("moved");
            for file in ["passwd", "resolv.conf"] {
                fs::remove_file(root.join("etc").join(file)).expect("removed");
                symlink(Path::new("/").join(name).join(file), root.join("etc").join(file)).expect("a link");
            }
        }),
    ];
    for (case, plant) in cases {
        let (ended, requests) = beside_fuse(&lab, plant, |container| {
            // A program of its own: what it would wait for without end, it could not be ended in.
            let mut program = std::process::Command::new(env!("CARGO_BIN_EXE_nslens"));
            program.args(["conns", &format!("pid/{}", container.pid()), "-o", "json"]);
            let mut program = program.stdout(Stdio::null()).stderr(Stdio::null()).spawn().expect("it is there");
            let begun = Instant::now();
            while program.try_wait().expect("our child").is_none() {
                if begun.elapsed() > Duration::from_secs(10) {
                    return false;
                }
                std::thread::sleep(Duration::from_millis(10));
            }
            let snapshot = container.look();
            let told = unread(&snapshot);
            let refused =
                told.len() == 2 && told.iter().all(|one| one.1.contains("a file system (fuse) that is served"));
            assert!(refused, "{case}: {told:?}");
            assert_eq!((container.user(&snapshot), snapshot.resolver.clone()), (None, None), "{case}");
            true
        });
        assert_eq!((ended, requests), (true, 0), "{case}");
    }
}

#[test]
fn beside_what_somebody_serves_files_are_read_as_ever() {
    if !require_root() {
        return;
    }
    let lab = Lab::new();
    let links = |root: &Path| {
        fs::create_dir_all(root.join("real/deep")).expect("folders");
        for (name, to) in [("passwd", "/real/./deep/../deep/FILE"), ("resolv.conf", "../../../etc/there/FILE")] {
            fs::rename(root.join("etc").join(name), root.join("real/deep").join(name)).expect("moved");
            symlink(to.replace("FILE", name), root.join("etc").join(name)).expect("a link");
        }
        symlink("../real/deep", root.join("etc/there")).expect("a link");
    };
    type Plant<'a> = &'a (dyn Fn(&Path) + Sync);
    for plant in [&|_: &Path| () as _, &links as Plant<'_>] {
        let ((), requests) = beside_fuse(&lab, plant, |container| {
            let snapshot = container.look();
            assert_eq!(container.user(&snapshot).as_deref(), Some("inner"));
            assert_eq!((snapshot.resolver.clone(), unread(&snapshot)), (servers(), vec![]));
        });
        assert_eq!(requests, 0);
    }
    // Links that are none of the files': through /proc, and round in a circle.
    for link in ["/proc/self/root/etc/real", "round", "/proc/self/environ"] {
        let plant = |root: &Path| {
            symlink("round", root.join("etc/round")).expect("a link");
            for name in ["passwd", "resolv.conf"] {
                fs::remove_file(root.join("etc").join(name)).expect("removed");
                symlink(link, root.join("etc").join(name)).expect("a link");
            }
        };
        let ((), _) = beside_fuse(&lab, plant, |container| {
            let snapshot = container.look();
            let told = unread(&snapshot);
            let refused = told.len() == 2 && told.iter().all(|one| one.1.contains("its links lead round in a circle"));
            assert!(refused, "{link}: {told:?}");
        });
    }
}

#[test]
fn each_container_has_its_own_resolver_and_no_link_leads_out() {
    if !require_root() {
        return;
    }
    let lab = Lab::new();
    let [mut plain, mut linked, mut without] = [0; 3].map(|_| Container::new(&lab));
    let conf = |container: &Container<'_>| container.root.path().join("etc/resolv.conf");
    // The machine's own file has that name too.
    fs::write(linked.root.path().join("etc/hostname"), "nameserver 10.1.1.1\n").expect("a file");
    fs::remove_file(conf(&linked)).and_then(|()| symlink("../../../../etc/hostname", conf(&linked))).expect("a link");
    fs::remove_file(conf(&without)).expect("it was there");
    let mut stuck = Container::new(&lab);
    fs::remove_file(conf(&stuck)).expect("it was there");
    mkfifo(&conf(&stuck), Mode::S_IRWXU).expect("a FIFO");
    let all = [&mut plain, &mut linked, &mut without, &mut stuck].map(|container| {
        container.start(0);
        container.pid()
    });
    let mut workload = Workload::named(Kind::Pod, "web");
    let named = ["plain", "linked", "without", "stuck", "twin", "ended"];
    let pids = all.into_iter().map(Some).chain([Some(all[0]), None]);
    let container = |(name, pid): (&str, Option<u32>)| model::Container {
        name: name.to_owned(),
        pid,
        ..model::Container::default()
    };
    workload.containers = named.into_iter().zip(pids).map(container).collect();
    let parts = Parts { connections: true, evidence: true, ..Parts::default() };
    let occasion = Occasion { node: "node", now: 0, asked: "pod/web", proc_root: Path::new("/proc") };
    let snapshot = take(workload, lab.netns(), None, parts, occasion).expect("a snapshot");
    let told: Vec<(&str, &[String])> =
        snapshot.resolvers.iter().map(|(name, resolver)| (name.as_str(), resolver.nameservers.as_slice())).collect();
    let server = |text: &str| vec![text.to_owned()];
    let (first, second) = (server("10.96.0.10"), server("10.1.1.1"));
    assert_eq!(told, [("plain", first.as_slice()), ("linked", &second), ("without", &[])]);
    assert_eq!(unread(&snapshot), [("etc/resolv.conf", "it is a FIFO, not a regular file", Cause::Failed)]);
}
