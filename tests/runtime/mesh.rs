//! A pod with rules like Istio's, loaded into its namespace by the real iptables, and with real connections.

use std::fs::File;
use std::process::Command;
use std::thread;
use std::time::{Duration, Instant};

use crate::runtimes::{Node, Place, PodHandle, run};

/// What the application dials: nobody answers there but the proxy in between (RFC 5737, RFC 3849).
pub(crate) const OUTSIDE: [(&str, &str); 2] = [("203.0.113.5", "203.0.113.5:80"), ("2001:db8::5", "[2001:db8::5]:80")];

/// Where the node serves what the proxy itself dials.
pub(crate) const SERVED: u16 = 9080;

/// Who wrote the rules.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Writer {
    /// `iptables-nft`.
    Nft,
    /// `iptables-legacy`.
    Legacy,
}

impl Writer {
    /// As the programs' names and JSON have it.
    pub(crate) fn word(self) -> &'static str {
        match self {
            Self::Nft => "nft",
            Self::Legacy => "legacy",
        }
    }

    /// As headings have it.
    pub(crate) fn title(self) -> &'static str {
        match self {
            Self::Nft => "iptables-nft",
            Self::Legacy => "iptables-legacy",
        }
    }
}

/// A meshed pod.
pub(crate) struct Mesh<'a, N> {
    pub(crate) lab: &'a N,
    pub(crate) pod: PodHandle,
    pub(crate) name: &'a str,
    pub(crate) namespace: &'a str,
    pub(crate) writer: Writer,
}

impl<'a, N: Node> Mesh<'a, N> {
    /// Runs one and loads its rules.
    pub(crate) fn run(lab: &'a N, name: &'a str, namespace: &'a str, writer: Writer) -> Self {
        let mesh = Self { lab, pod: lab.run_istio_pod(name, namespace), name, namespace, writer };
        for (ip, version) in [("ip", "4"), ("ip6", "6")] {
            let path = format!("{}/tests/fixtures/istio.v{version}.rules", env!("CARGO_MANIFEST_DIR"));
            let rules = File::open(path).expect("the rules");
            run(mesh.beside(&format!("{ip}tables-{}-restore", writer.word())).stdin(rules));
        }
        // Until the kernel has looked for rivals, such an address is not the pod's own: packets to it leave.
        wait_until("addresses that are the pod's own", || {
            run(mesh.beside("ip").args(["-6", "-o", "address", "show", "tentative"])).trim().is_empty()
        });
        mesh
    }

    pub(crate) fn place(&self) -> &Place {
        self.lab.place()
    }

    /// `pod/NAME`.
    pub(crate) fn target(&self) -> String {
        format!("pod/{}", self.name)
    }

    /// The node's own command in the pod's network namespace, as `nsenter -t PID -n` would have it.
    pub(crate) fn beside(&self, program: &str) -> Command {
        self.place().beside(self.pod.sandbox_pid, program)
    }

    /// What the save program of these rules' writer prints for `ip` or `ip6`, without comment lines.
    pub(crate) fn saved(&self, family: &str, options: &[&str]) -> Vec<String> {
        let program = format!("{family}tables-{}-save", self.writer.word());
        without_comments(&run(self.beside(&program).args(options)))
    }

    /// Starts the conversations of a pod at work, and waits until all of them are there: the application dials an address of
    /// each family, the proxy dials the node, and the node dials the application.
    pub(crate) fn converse(&self) {
        let dial = |container: &str, id: u32, address: &str, port: u16| {
            // An address of IPv6 may still be looked for rivals by the kernel: then it cannot be dialled from yet.
            let script = format!("until nc -w 5 {address} {port} -e /bin/sleep 1000; do sleep 0.1; done");
            self.lab.start_in(&self.pod.ids[container], id, &["/bin/sh", "-c", &script]);
        };
        for (address, _) in OUTSIDE {
            dial("app", 1000, address, 80);
        }
        self.on_the_node(&format!("-ll -p {SERVED} -e /bin/sleep 1000"));
        dial("istio-proxy", 1337, &self.gateway(), SERVED);
        self.on_the_node(&format!("{} 8080 -e /bin/sleep 1000", self.address()));
        // Each of the application's two has its other half here.
        wait_until("six connections with an owner", || {
            let seen = run(self.beside("ss").args(["-Htane", "state", "established"]));
            seen.lines().filter(|line| line.contains(" ino:") && !line.contains(" ino:0 ")).count() == 6
        });
    }

    /// A busybox `nc` in the node's own namespace. It ends with the lab, whose first process reaps it.
    fn on_the_node(&self, words: &str) {
        self.place().sh(&format!("busybox nc {words} < /dev/null > /dev/null 2>&1 &"));
    }

    /// The node as the pod sees it.
    pub(crate) fn gateway(&self) -> String {
        self.word_after("via", &run(self.beside("ip").args(["-4", "route", "show", "default"])))
    }

    /// The pod's own IPv4 address.
    pub(crate) fn address(&self) -> String {
        let text = run(self.beside("ip").args(["-4", "-o", "address", "show", "dev", "eth0"]));
        self.word_after("inet", &text).split('/').next().expect("an address").to_owned()
    }

    fn word_after(&self, key: &str, text: &str) -> String {
        let mut words = text.split_ascii_whitespace().skip_while(|word| *word != key);
        words.nth(1).unwrap_or_else(|| panic!("{}: no {key} in {text:?}", self.name)).to_owned()
    }
}

/// Lines that are not comments.
pub(crate) fn without_comments(text: &str) -> Vec<String> {
    text.lines().filter(|line| !line.starts_with('#')).map(str::to_owned).collect()
}

/// Waits, half a minute at most, until something is so.
pub(crate) fn wait_until(what: &str, mut so: impl FnMut() -> bool) {
    let end = Instant::now() + Duration::from_secs(30);
    while !so() {
        assert!(Instant::now() < end, "waited in vain for {what}");
        thread::sleep(Duration::from_millis(20));
    }
}
