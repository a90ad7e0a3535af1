//! Looking changes nothing: neither in the runtimes nor in the node's nor in the pods' namespaces.

use crate::mesh::{Mesh, Writer, wait_until, without_comments};
use crate::program::{Answer, changes, nslens};
use crate::runtimes::{CriLab, DockerLab, Node, Place, run};

/// Every command that looks, in every form, at the pod, at one without any rules, and at the node.
fn look(place: &Place, mesh: &str, bare: &str) {
    let mut looks: Vec<Vec<&str>> = Vec::new();
    for target in [mesh, bare, "host"] {
        for form in ["table", "wide", "json", "save"] {
            looks.push(vec!["rules", target, "--all", "-o", form]);
        }
        for form in ["table", "wide", "json"] {
            looks.push(vec!["conns", target, "--all", "-o", form]);
        }
        looks.push(vec!["rules", target, "--backend", "legacy"]);
        looks.push(vec!["rules", target, "--backend", "nft", "-6"]);
        looks.push(vec!["snapshot", target]);
        looks.push(vec!["check", target, "--interval", "50ms"]);
    }
    looks.push(vec!["check", "-A", "--interval", "50ms"]);
    looks.push(vec!["check", "-A", "--once", "-o", "json"]);
    looks.push(vec!["diff", mesh, bare, "--rules", "--conns"]);
    for words in looks {
        let answer: Answer = nslens(place, &words);
        // 5: a check could not decide something.
        assert!(answer.code <= 1 || answer.code == 5 && words.contains(&"check"), "{answer:#?}");
    }
}

/// What looking could have changed in a network namespace: tables (asking for one makes it), rules, sets, their counters, settings,
/// what is tracked, packets that were sent, who lives there.
const RULES: &str = "
cat /proc/self/net/ip_tables_names /proc/self/net/ip6_tables_names
nft -a list ruleset
for family in ip ip6; do
  for writer in nft legacy; do ${family}tables-$writer-save --counters 2>&1; done
done
cat /proc/sys/net/netfilter/nf_conntrack_count
sysctl -a 2>/dev/null | grep -e '^net[.]' | grep -v -e tcp_mem -e udp_mem -e nf_conntrack_count
conntrack -L 2>/dev/null | grep -c . || true
grep -e ^Ip: -e ^Icmp: -e ^Tcp: -e ^Udp: /proc/self/net/snmp
own=$(stat -Lc %i /proc/self/ns/net)
for folder in /proc/[0-9]*; do
  if test $folder != /proc/$$ -a \"$(stat -Lc %i $folder/ns/net 2>/dev/null)\" = $own; then
    echo $folder $(cut -d ' ' -f 22 $folder/stat)
  fi
done
ss -Htane
ip -o address; ip -o -6 route; ip -o route";

/// And on the node: lock, bound namespaces, mounts, modules, processes that stay.
const NODE: &str = "
stat -c '%n %i %Y %y %Z' /run/xtables.lock 2>&1 || true
ls -i /run/netns 2>&1 || true
wc -l < /proc/self/mountinfo
cut -d ' ' -f 1 /proc/modules 2>/dev/null || true
cat /proc/[0-9]*/comm 2>/dev/null | grep -c nslens || true
grep -l -e 'TracerPid:.*[1-9]' /proc/[0-9]*/status 2>/dev/null || true";

struct Watched<'a, N> {
    lab: &'a N,
    /// A process in each network namespace.
    pids: Vec<u32>,
    /// What lists all that the runtime has.
    lists: &'a str,
}

impl<N: Node> Watched<'_, N> {
    /// Line by line; in no order where the runtimes have none.
    fn state(&self) -> Vec<Vec<String>> {
        let place = self.lab.place();
        let rules = |pid: &u32| run(place.beside(*pid, "sh").args(["-euc", RULES]));
        let texts = [place.sh(self.lists), place.sh(NODE)].into_iter().chain(self.pids.iter().chain(&[1]).map(rules));
        texts
            .enumerate()
            .map(|(index, text)| {
                // Times at which saves were made are comments.
                let mut lines = without_comments(&text);
                if index == 0 {
                    lines.sort_unstable();
                }
                lines
            })
            .collect()
    }

    /// The same for looking for words in.
    fn texts(&self) -> [String; 5] {
        let texts: Vec<String> = self.state().iter().map(|lines| lines.join("\n")).collect();
        texts.try_into().expect("the runtime, the node, two pods, the node's namespace")
    }

    /// Looks once, at what is at rest: what looking leaves behind would not show a second time.
    fn stays(&self, look: impl Fn()) {
        let mut before = self.state();
        wait_until("a lab at rest", || {
            let now = self.state();
            // The kernel still looks whether an address is somebody else's too; routes come after that.
            let settled = !now.iter().flatten().any(|line| line.contains(" tentative"));
            let rests = settled && now == before;
            before = now;
            rests
        });
        look();
        let after = self.state();
        let changes: Vec<String> =
            before.iter().zip(&after).flat_map(|(before, after)| changes(before, after)).collect();
        assert!(changes.is_empty(), "looking changed something:\n{}", changes.join("\n"));
    }
}

#[test]
fn containerd_and_its_pods_stay_as_they_are() {
    let Some(lab) = CriLab::start() else { return };
    let mesh = Mesh::run(&lab, "web", "blue", Writer::Legacy);
    mesh.converse();
    let bare = lab.run_istio_pod("bare", "blue");
    let lists = "for what in containers images snapshots tasks; do ctr -n k8s.io $what ls; done; ctr namespaces ls";
    let watched = Watched { lab: &lab, pids: vec![mesh.pod.sandbox_pid, bare.sandbox_pid], lists };
    watched.stays(|| look(lab.place(), "pod/web", "pod/bare"));
    let [_, node, web, bare, host] = watched.texts();
    // What is watched is there to be seen.
    assert!(node.contains("xtables.lock") && web.contains("nat\n") && web.contains("15001"), "{node}\n{web}");
    assert!(!bare.contains("nat") && !host.contains("15001"), "{bare}\n{host}");
}

#[test]
fn dockerd_and_its_containers_stay_as_they_are() {
    let Some(lab) = DockerLab::start() else { return };
    let mesh = Mesh::run(&lab, "web", "blue", Writer::Nft);
    mesh.converse();
    let bare = lab.run_istio_pod("bare", "blue");
    let lists = "docker=$(test -x /usr/bin/docker && echo /usr/bin/docker || echo docker)
        $docker -H unix:///run/docker.sock ps --all --no-trunc --format '{{.ID}} {{.Names}} {{.Command}} {{.State}}'
        $docker -H unix:///run/docker.sock network ls --no-trunc --format '{{.ID}} {{.Name}}'
        $docker -H unix:///run/docker.sock ps --quiet --all | xargs $docker -H unix:///run/docker.sock inspect | tr -d ,";
    let watched = Watched { lab: &lab, pids: vec![mesh.pod.sandbox_pid, bare.sandbox_pid], lists };
    watched.stays(|| look(lab.place(), "pod/web", "pod/bare"));
    let [lists, _, web, bare, host] = watched.texts();
    assert!(
        lists.contains("istio-proxy") && web.contains("15001") && host.contains("DOCKER"),
        "{lists}\n{web}\n{host}"
    );
    assert!(!bare.contains("REDIRECT"), "{bare}");
}
