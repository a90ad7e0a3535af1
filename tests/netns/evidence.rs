//! What stands around a workload, against `/proc` and the real tools: rights, limits and whereabouts of processes.

use std::fs;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};

use nslens::archive::{self, Loaded};
use nslens::capture::{Occasion, Parts, rules::Wanted, take};
use nslens::model::{Container, Family, Kind, LockHolder, NetnsId, Process, Resolver, Snapshot, Workload};

use crate::support::{Lab, require_root, wait_until};

/// A control group named like a container's, of the v2 hierarchy; it and all that runs in it end with this value.
pub(crate) struct Cgroup {
    folder: PathBuf,
    /// The container's ID.
    pub(crate) id: String,
}

impl Cgroup {
    /// `None`, where there is no v2 hierarchy to be written.
    pub(crate) fn new() -> Option<Self> {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let places = ["/sys/fs/cgroup/unified", "/sys/fs/cgroup"].map(Path::new);
        let root = places.into_iter().find(|place| place.join("cgroup.controllers").exists())?;
        let id = format!("{:032x}{:032x}", std::process::id(), NEXT.fetch_add(1, Ordering::Relaxed));
        let folder = root.join(&id);
        fs::create_dir(&folder).ok()?;
        Some(Self { folder, id })
    }

    /// Has a shell run this script in it, with the lab's network.
    pub(crate) fn run(&self, lab: &Lab, script: &str) -> Child {
        let script = format!("echo $$ > {}/cgroup.procs; {script}", self.folder.display());
        let mut command = lab.command("sh");
        command.args(["-euc", &script]).stdin(Stdio::null()).stdout(Stdio::null());
        command.spawn().expect("sh can be run")
    }
}

impl Drop for Cgroup {
    fn drop(&mut self) {
        for _ in 0..100 {
            for pid in fs::read_to_string(self.folder.join("cgroup.procs")).unwrap_or_default().lines() {
                let _ = Command::new("kill").args(["-KILL", pid]).stderr(Stdio::null()).status();
            }
            if fs::remove_dir(&self.folder).is_ok() {
                return;
            }
            std::thread::sleep(std::time::Duration::from_millis(20));
        }
    }
}

/// A pod with one container, whose first process that is.
pub(crate) fn pod(id: &str, pid: u32) -> Workload {
    let mut workload = Workload::named(Kind::Pod, "web");
    workload.containers =
        vec![Container { name: "app".to_owned(), id: id.to_owned(), pid: Some(pid), ..Container::default() }];
    workload
}

/// What `check` reads of a workload, these parts beside its connections.
pub(crate) fn taken(lab: &Lab, workload: Workload, parts: Parts) -> Snapshot {
    let occasion = Occasion { node: "node", now: 0, asked: "pod/web", proc_root: Path::new("/proc") };
    let parts = Parts { connections: true, ..parts };
    take(workload, lab.netns(), None, parts, occasion).expect("a snapshot")
}

fn evidence(lab: &Lab, workload: Workload) -> Snapshot {
    taken(lab, workload, Parts { evidence: true, ..Parts::default() })
}

fn process(snapshot: &Snapshot, pid: u32) -> &Process {
    let mut processes = snapshot.processes.iter().flatten();
    processes.find(|process| process.pid == pid).unwrap_or_else(|| panic!("{pid} is not in {:?}", snapshot.processes))
}

/// The value of a line of `/proc/PID/status`.
fn status(pid: u32, name: &str) -> String {
    let text = fs::read_to_string(format!("/proc/{pid}/status")).expect("a status");
    let line = text.lines().find_map(|line| line.strip_prefix(name)).expect("a line");
    line.trim_start_matches(':').trim().to_owned()
}

#[test]
fn rights_and_descriptors_are_those_of_the_kernels_account() {
    if !require_root() {
        return;
    }
    let lab = Lab::new();
    let mut server = lab.command_as(1337, 1337, "prlimit");
    server.args(["--nofile=700:800", "busybox", "nc", "-ll", "-p", "15001", "-e", "/bin/cat"]).stdin(Stdio::null());
    let mut server = server.spawn().expect("prlimit can be run");
    let mut other = lab.command_as(1000, 1000, "sleep").arg("1000").spawn().expect("sleep can be run");
    lab.wait_for_sockets(1, "state listening");
    let mut stopped = lab.command("sleep").arg("1000").spawn().expect("sleep can be run");
    lab.sh(&format!("kill -STOP {}", stopped.id()));
    wait_until("it stands still", || status(stopped.id(), "State").starts_with('T'));
    let snapshot = evidence(&lab, Workload::named(Kind::Netns, "lab"));
    for pid in [server.id(), other.id(), lab.pid(), stopped.id()] {
        let told = process(&snapshot, pid).capabilities.expect("told");
        assert_eq!(format!("{told:016x}"), status(pid, "CapEff"));
    }
    assert!(process(&snapshot, lab.pid()).capabilities > Some(0), "root has some");
    let descriptors = process(&snapshot, server.id()).descriptors.expect("counted");
    let open = fs::read_dir(format!("/proc/{}/fd", server.id())).expect("descriptors").count();
    assert_eq!((usize::try_from(descriptors.open).expect("few"), descriptors.limit), (open, 700));
    assert_eq!((process(&snapshot, other.id()).descriptors, process(&snapshot, lab.pid()).descriptors), (None, None));
    assert_eq!((process(&snapshot, stopped.id()).state, process(&snapshot, lab.pid()).state), (Some('T'), None));
    let plain = taken(&lab, Workload::named(Kind::Netns, "lab"), Parts::default());
    assert_eq!(process(&plain, server.id()).descriptors, None, "nobody asked");
    for child in [&mut server, &mut other, &mut stopped] {
        let _ = child.kill();
        let _ = child.wait();
    }
}

#[test]
fn processes_of_a_container_are_found_wherever_they_live() {
    if !require_root() {
        return;
    }
    let (lab, cgroup) = (Lab::new(), Cgroup::new());
    let Some(cgroup) = cgroup else { return };
    let mut first = cgroup.run(&lab, "sleep 0.01 & exec sleep 1000");
    let mut away = cgroup.run(&lab, "exec unshare -n sleep 1000");
    // Another one's, in a namespace of its own as well.
    let mut foreign = Command::new("unshare").args(["-n", "sleep", "1000"]).spawn().expect("unshare can be run");
    let name = |pid: u32| fs::read_to_string(format!("/proc/{pid}/comm")).unwrap_or_default();
    wait_until("it is away", || name(away.id()) == "sleep\n" && name(foreign.id()) == "sleep\n");
    let ended = || {
        let text = fs::read_to_string(format!("/proc/{0}/task/{0}/children", first.id())).unwrap_or_default();
        text.split_whitespace().find_map(|pid| pid.parse::<u32>().ok())
    };
    wait_until("its child ends", || ended().is_some_and(|pid| status(pid, "State").starts_with('Z')));
    let ended = ended().expect("a child");
    let snapshot = evidence(&lab, pod(&cgroup.id, first.id()));
    let netns = |pid: u32| {
        use std::os::unix::fs::MetadataExt;
        let found = fs::metadata(format!("/proc/{pid}/ns/net")).expect("a namespace");
        NetnsId { device: found.dev(), inode: found.ino() }
    };
    let gone = process(&snapshot, away.id());
    assert_eq!((gone.netns, gone.elsewhere, gone.container.as_deref()), (Some(netns(away.id())), true, Some("app")));
    let at_home = process(&snapshot, first.id());
    assert_eq!((at_home.netns, at_home.elsewhere, at_home.container.as_deref()), (None, false, Some("app")));
    let dead = process(&snapshot, ended);
    assert_eq!((dead.state, dead.netns, dead.container.as_deref()), (Some('Z'), None, Some("app")));
    assert!(snapshot.processes.iter().flatten().all(|process| process.pid != foreign.id()), "it is nobody's");
    let plain = taken(&lab, pod(&cgroup.id, first.id()), Parts::default());
    assert!(plain.processes.iter().flatten().all(|process| process.pid != away.id()), "nobody asked");
    drop(cgroup);
    for child in [&mut first, &mut away, &mut foreign] {
        let _ = child.kill();
        let _ = child.wait();
    }
}

/// Control groups' hook for `connect(2)` with IPv4, and the type of its programs (`include/uapi/linux/bpf.h`).
const CONNECT4: u32 = 10;
const SOCK_ADDR: u32 = 18;

/// A call of bpf(2): numbers by their places in `union bpf_attr`.
#[expect(unsafe_code, reason = "bpf(2); what the numbers point to lives for the call")]
fn bpf(command: i32, fields: &[(usize, &[u8])]) -> Option<OwnedFd> {
    let mut attributes = [0_u64; 16];
    let mut bytes: Vec<u8> = attributes.iter().flat_map(|word| word.to_ne_bytes()).collect();
    for (at, field) in fields {
        bytes[*at..*at + field.len()].copy_from_slice(field);
    }
    for (word, bytes) in attributes.iter_mut().zip(bytes.chunks_exact(8)) {
        *word = u64::from_ne_bytes(bytes.try_into().expect("eight bytes"));
    }
    // SAFETY: as above; the attributes are as large as is said.
    let done = unsafe { libc::syscall(libc::SYS_bpf, command, attributes.as_ptr(), size_of_val(&attributes)) };
    assert!(done >= 0, "bpf({command}): {}", std::io::Error::last_os_error());
    // SAFETY: only to load returns something else than 0: a descriptor that nobody else has.
    (done > 0).then(|| unsafe { OwnedFd::from_raw_fd(i32::try_from(done).expect("a descriptor")) })
}

/// Attaches a program of that name, which allows everything, to a control group.
fn attach(folder: &Path, name: &str) {
    // r0 = 1; exit
    let code: [u8; 16] = [0xb7, 0, 0, 0, 1, 0, 0, 0, 0x95, 0, 0, 0, 0, 0, 0, 0];
    let (code_at, licence_at) = (code.as_ptr() as u64, c"GPL".as_ptr() as u64);
    let fields: [(usize, &[u8]); 6] = [
        (0, &SOCK_ADDR.to_ne_bytes()),
        (4, &2_u32.to_ne_bytes()),
        (8, &code_at.to_ne_bytes()),
        (16, &licence_at.to_ne_bytes()),
        (48, name.as_bytes()),
        (68, &CONNECT4.to_ne_bytes()),
    ];
    let program = bpf(5, &fields).expect("it was loaded");
    let group = fs::File::open(folder).expect("a control group");
    let fields: [(usize, &[u8]); 4] = [
        (0, &group.as_raw_fd().to_ne_bytes()),
        (4, &program.as_raw_fd().to_ne_bytes()),
        (8, &CONNECT4.to_ne_bytes()),
        // BPF_F_ALLOW_MULTI
        (12, &2_u32.to_ne_bytes()),
    ];
    bpf(8, &fields);
}

#[test]
fn programs_of_control_groups_and_of_those_above_them_are_named() {
    if !require_root() {
        return;
    }
    let (lab, cgroup) = (Lab::new(), Cgroup::new());
    let Some(cgroup) = cgroup else { return };
    let below = cgroup.folder.join("below");
    fs::create_dir(&below).expect("a control group");
    let mut first = cgroup.run(&lab, &format!("echo $$ > {}/cgroup.procs; exec sleep 1000", below.display()));
    let path = || fs::read_to_string(format!("/proc/{}/cgroup", first.id())).unwrap_or_default();
    wait_until("it is there", || path().contains(&format!("{}/below\n", cgroup.id)));
    let before = evidence(&lab, pod(&cgroup.id, first.id())).programs.expect("told");
    attach(&cgroup.folder, "lab_above");
    attach(&below, "lab_own");
    let told = evidence(&lab, pod(&cgroup.id, first.id())).programs.expect("told");
    let _ = first.kill();
    let _ = first.wait();
    fs::remove_dir(&below).expect("it is empty");
    let added: Vec<&String> = told.iter().filter(|one| !before.contains(one)).collect();
    assert_eq!(added.len(), 2, "{told:?}");
    for name in ["lab_above", "lab_own"] {
        let fits = |one: &&String| {
            let words: Vec<&str> = one.split(' ').collect();
            matches!(words.as_slice(), ["cgroup_inet4_connect", id, last] if *last == name && id.parse::<u32>().is_ok())
        };
        assert_eq!(added.iter().filter(|one| fits(one)).count(), 1, "{name} in {told:?}");
    }
}

/// A node's root with what is the machine's of `/proc`, and another first process.
fn node_root(first: u32) -> tempfile::TempDir {
    let root = tempfile::tempdir().expect("a folder");
    let proc_root = root.path().join("proc");
    fs::create_dir_all(root.path().join("run")).expect("a folder");
    fs::create_dir(&proc_root).expect("a folder");
    symlink(format!("/proc/{first}"), proc_root.join("1")).expect("a link");
    for name in ["thread-self", "self", "sys", "locks", "kallsyms"] {
        symlink(Path::new("/proc").join(name), proc_root.join(name)).expect("a link");
    }
    root
}

#[test]
fn security_modules_and_the_holder_of_the_lock_are_those_of_the_node() {
    if !require_root() {
        return;
    }
    let lab = Lab::new();
    let root = node_root(lab.pid());
    let proc_root = root.path().join("proc");
    let look = || {
        let occasion = Occasion { node: "node", now: 0, asked: "lab", proc_root: &proc_root };
        let parts = Parts { connections: true, evidence: true, ..Parts::default() };
        take(Workload::named(Kind::Netns, "lab"), lab.netns(), None, parts, occasion).expect("a snapshot")
    };
    let nothing = look();
    assert_eq!((nothing.lsm, nothing.lock_holder, nothing.programs), (None, None, None));
    let lock = root.path().join("run/xtables.lock");
    fs::write(&lock, "").expect("a file");
    assert_eq!(look().lock_holder, None, "nobody holds it");
    // The link leads to the holder's name.
    let mut holder = Command::new("flock").arg("--no-fork").arg(&lock).args(["sleep", "1000"]).spawn().expect("flock");
    symlink(format!("/proc/{}", holder.id()), proc_root.join(holder.id().to_string())).expect("a link");
    let name = || fs::read_to_string(format!("/proc/{}/comm", holder.id())).unwrap_or_default();
    wait_until("it sleeps", || name() == "sleep\n");
    let mut waiter = Command::new("flock").arg(&lock).arg("true").spawn().expect("flock");
    wait_until("it waits", || {
        fs::read_to_string("/proc/locks").unwrap_or_default().contains(&format!(" {} ", waiter.id()))
    });
    let held = look().lock_holder.expect("somebody holds it");
    assert_eq!((held.pid, held.name.as_deref()), (holder.id(), Some("sleep")));
    for child in [&mut holder, &mut waiter] {
        let _ = child.kill();
        let _ = child.wait();
    }
    let selinux = root.path().join("sys/fs/selinux");
    fs::create_dir_all(&selinux).expect("a folder");
    for (enforce, word) in [("1", "SELinux enforcing"), ("0\n", "SELinux permissive")] {
        fs::write(selinux.join("enforce"), enforce).expect("a file");
        assert_eq!(look().lsm.as_deref(), Some(word));
    }
}

#[test]
fn settings_and_figures_are_those_of_the_namespace() {
    if !require_root() {
        return;
    }
    let lab = Lab::new();
    lab.sh("echo 20000 20100 > /proc/sys/net/ipv4/ip_local_port_range
            echo 1 > /proc/sys/net/ipv4/ip_nonlocal_bind
            echo 1 > /proc/sys/net/netfilter/nf_conntrack_tcp_be_liberal
            echo 77 > /proc/sys/net/core/somaxconn
            busybox nc -w 1 127.0.0.1 9 || true
            busybox nc -w 1 ::1 9 || true");
    let lists =
        "for each in names matches targets; do cat /proc/net/ip_tables_$each; done; cat /proc/net/ip6_tables_names";
    let before = lab.sh(lists);
    let snapshot = taken(&lab, Workload::named(Kind::Netns, "lab"), Parts { settings: true, ..Parts::default() });
    assert_eq!(lab.sh(lists), before, "to look made something");
    let settings = snapshot.settings.expect("settings");
    let wanted = ["net.ipv4.ip_local_port_range", "net.netfilter.nf_conntrack_tcp_be_liberal", "net.core.somaxconn"];
    assert_eq!(wanted.map(|name| settings.sysctls[name].as_str()), ["20000 20100", "1", "77"]);
    assert!(settings.sysctls.len() > 20, "{:?}", settings.sysctls);
    for (name, value) in &settings.sysctls {
        let path = name.replace('.', "/");
        let text = lab.sh(&format!("cat /proc/sys/{path}"));
        let same = text.split_whitespace().collect::<Vec<_>>().join(" ");
        assert!(*value == same || name.ends_with("_count"), "{name}: {value} is not {same}");
    }
    // nstat writes group and name in one word; what is sent meanwhile may count.
    let shown = lab.sh("NSTAT_HISTORY=/dev/null nstat -asz");
    let figure = |name: &str| {
        let line = shown.lines().find_map(|line| line.strip_prefix(&format!("{} ", name.replace('.', ""))));
        line.and_then(|rest| rest.split_whitespace().next()?.parse::<u64>().ok())
    };
    assert_eq!(settings.counters["Tcp.OutRsts"], 2);
    assert!(settings.counters.len() > 25, "{:?}", settings.counters);
    for (name, told) in &settings.counters {
        assert_eq!(Some(*told), figure(name), "{name}");
    }
    let kernel = &settings.kernel;
    let list = |name: &str| {
        let text = lab.sh(&format!("sort -u /proc/net/{name}"));
        text.lines().map(str::to_owned).collect::<Vec<_>>()
    };
    assert_eq!(kernel.legacy_tables["ip"], list("ip_tables_names"));
    assert_eq!(kernel.legacy_matches["ip"], list("ip_tables_matches"));
    assert_eq!(kernel.legacy_targets["ip6"], list("ip6_tables_targets"));
    assert!(kernel.legacy_matches["ip"].contains(&"owner".to_owned()) && kernel.ipv6);
    assert_eq!(kernel.modules.is_some(), Path::new("/proc/modules").exists());
    lab.sh("iptables-legacy -t nat -N LAB");
    let after = taken(&lab, Workload::named(Kind::Netns, "lab"), Parts { settings: true, ..Parts::default() });
    assert_eq!(after.settings.expect("settings").kernel.legacy_tables["ip"], ["nat"]);
}

#[test]
fn a_snapshot_keeps_all_of_it_with_the_node_beside() {
    if !require_root() {
        return;
    }
    let (lab, node) = (Lab::new(), Lab::new());
    node.sh("iptables-legacy -t nat -A OUTPUT -p tcp -j REDIRECT --to-ports 15001; ip addr add 10.9.9.9/24 dev lo");
    let root = node_root(node.pid());
    let occasion = Occasion { node: "node", now: 7, asked: "lab", proc_root: &root.path().join("proc") };
    let parts = Parts {
        rules: Some(Wanted::default()),
        connections: true,
        tracking: true,
        routes: true,
        settings: true,
        evidence: true,
        node_state: true,
        ..Parts::default()
    };
    let mut workload = pod(&"a".repeat(64), lab.pid());
    workload.addresses = vec!["10.0.0.2".parse().expect("an address")];
    workload.containers[0].arguments = vec!["istio-iptables".to_owned()];
    workload.containers[0].exit_code = Some(1);
    let mut snapshot = take(workload, lab.netns(), None, parts, occasion).expect("a snapshot");
    let beside = snapshot.node_state.as_deref().expect("the node's state");
    assert_eq!(
        (beside.workload.kind, beside.workload.netns.map(|netns| (netns.device, netns.inode))),
        (Kind::Host, Some(node.netns().identity()))
    );
    let rules: usize = beside
        .rulesets()
        .iter()
        .flat_map(|set| &set.tables)
        .flat_map(|table| &table.chains)
        .map(|chain| chain.rules.len())
        .sum();
    assert_eq!(rules, 1, "{beside:?}");
    let addresses =
        beside.interfaces.iter().flatten().flat_map(|one| &one.addresses).map(|(address, _)| address.to_string());
    assert!(addresses.collect::<Vec<_>>().contains(&"10.9.9.9".to_owned()));
    let table = beside.tracking.as_ref().and_then(|tracking| tracking.table).expect("its use");
    assert_eq!(table.limit.to_string(), node.sh("cat /proc/sys/net/netfilter/nf_conntrack_max").trim());
    assert!(beside.routes.is_some() && beside.unread.is_empty() && beside.node_state.is_none(), "{:?}", beside.unread);
    // What this machine may not have at this moment.
    snapshot.lsm = Some("AppArmor docker-default (enforce)".to_owned());
    snapshot.programs = Some(vec!["cgroup_inet4_connect 7 cil_sock4_connect".to_owned()]);
    snapshot.lock_holder = Some(LockHolder { pid: 7, name: Some("iptables".to_owned()) });
    snapshot.resolvers =
        vec![("app".to_owned(), Resolver { nameservers: vec!["10.96.0.10".to_owned()], search: Vec::new() })];
    for compress in [false, true] {
        let mut bytes = Vec::new();
        archive::write(&snapshot, compress, &mut bytes).expect("written");
        let Loaded::Snapshot(again) = archive::read(&bytes, Family::Ip).expect("a snapshot") else {
            panic!("a snapshot")
        };
        assert_eq!(*again, snapshot);
    }
    // The node itself has none beside it.
    let own = take(Workload::named(Kind::Host, "node"), node.netns(), None, parts, occasion).expect("a snapshot");
    assert!(own.node_state.is_none() && own.settings.is_some());
}
