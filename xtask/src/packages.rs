//! The tools that the tests compare with and the runtimes that they drive: installs those that are absent, by apt.
//!
//! What is there already counts, wherever it came from: a Docker of another origin is neither replaced nor touched. No package
//! may remove another, and no service is started.

use std::env;
use std::fs;
use std::io::Write;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;

/// A package, and the programs for whose sake it is wanted.
const WANTED: [(&str, &[&str]); 13] = [
    ("iptables", &["iptables-legacy-restore", "iptables-nft-restore", "ip6tables-nft-save"]),
    ("nftables", &["nft"]),
    ("ipset", &["ipset"]),
    ("conntrack", &["conntrack"]),
    ("iproute2", &["ip", "ss"]),
    ("docker.io", &["dockerd"]),
    ("containerd", &["containerd"]),
    ("runc", &["runc"]),
    ("containernetworking-plugins", &["/usr/lib/cni/bridge|/opt/cni/bin/bridge"]),
    ("busybox-static", &["busybox"]),
    ("util-linux", &["unshare", "nsenter"]),
    ("procps", &["ps"]),
    ("libxml2-utils", &["xmllint"]),
];

/// Those of them that bring services of their own.
const SERVICES: [&str; 2] = ["docker.io", "containerd"];
/// Where root's programs are, beside the search path.
const ROOT_PATHS: [&str; 4] = ["/usr/sbin", "/sbin", "/usr/bin", "/bin"];
/// Asked by the package scripts before they start a service; 101 forbids it (Debian policy 9.3.3.1).
const POLICY: &str = "/usr/sbin/policy-rc.d";
const POLICY_TEXT: &str = "#!/bin/sh\n# Written by `cargo xtask test` for the time of an installation.\nexit 101\n";

/// The packages of which something is missing.
pub(crate) fn missing() -> Vec<&'static str> {
    let lacks = |programs: &[&str]| programs.iter().any(|program| !present(program));
    WANTED.iter().filter(|(_, programs)| lacks(programs)).map(|(package, _)| *package).collect()
}

/// Installs these packages; says what became of it.
pub(crate) fn install(packages: &[&str]) -> Result<(), String> {
    if find("apt-get").is_none() {
        return Err(format!("there is no apt-get here; the tests need: {}", packages.join(" ")));
    }
    println!("installing what the tests need: {}", packages.join(" "));
    let _guard = NoServices::new().map_err(|error| format!("{POLICY}: {error}"))?;
    // The lists may be absent (images) or too old for what the mirror still has: then, and only then, they are fetched.
    if install_once(packages) || (apt_get(&["update"]) && install_once(packages)) {
        if packages.iter().any(|package| SERVICES.contains(package)) {
            println!(
                "note: the services of these packages were not started, but will be when the machine starts next;"
            );
            println!("      to prevent that: systemctl disable docker.service docker.socket containerd.service");
        }
        return Ok(());
    }
    Err(format!("apt-get could not install: {}", packages.join(" ")))
}

fn install_once(packages: &[&str]) -> bool {
    let mut arguments = vec!["install", "--yes", "--no-install-recommends", "--no-remove"];
    arguments.extend(packages);
    apt_get(&arguments)
}

fn apt_get(arguments: &[&str]) -> bool {
    let mut command = Command::new("apt-get");
    command.arg("--quiet").args(arguments).env("DEBIAN_FRONTEND", "noninteractive").env("RUNLEVEL", "1");
    command.stdin(std::process::Stdio::null()).status().is_ok_and(|status| status.success())
}

/// While this lives, no package starts a service.
struct NoServices {
    ours: bool,
}

impl NoServices {
    fn new() -> std::io::Result<Self> {
        match fs::File::options().write(true).create_new(true).mode(0o755).open(POLICY) {
            Ok(mut file) => {
                file.write_all(POLICY_TEXT.as_bytes())?;
                Ok(Self { ours: true })
            }
            // Somebody's own policy stays as it is, except what an interrupted run of this left behind.
            Err(error) if error.kind() == std::io::ErrorKind::AlreadyExists => {
                Ok(Self { ours: fs::read_to_string(POLICY).is_ok_and(|text| text == POLICY_TEXT) })
            }
            Err(error) => Err(error),
        }
    }
}

impl Drop for NoServices {
    fn drop(&mut self) {
        if self.ours
            && let Err(error) = fs::remove_file(POLICY)
        {
            eprintln!("warning: remove {POLICY} by hand, it keeps services from starting: {error}");
        }
    }
}

fn present(program: &str) -> bool {
    if program.starts_with('/') {
        return program.split('|').any(|path| Path::new(path).exists());
    }
    match find(program) {
        // The test images hold nothing but it: one that needs a loader does not run there.
        Some(path) if program == "busybox" => is_static(&path),
        found => found.is_some(),
    }
}

fn find(program: &str) -> Option<PathBuf> {
    let search = env::var_os("PATH").unwrap_or_default();
    let folders = env::split_paths(&search).chain(ROOT_PATHS.map(PathBuf::from));
    folders.map(|folder| folder.join(program)).find(|path| path.is_file())
}

/// Whether an ELF program names no loader; the name stands near its beginning.
fn is_static(program: &Path) -> bool {
    const LOADER: &[u8] = b"/ld-";
    let bytes = fs::read(program).unwrap_or_default();
    let head = bytes.get(..bytes.len().min(4096)).unwrap_or_default();
    !head.is_empty() && !head.windows(LOADER.len()).any(|window| window == LOADER)
}
