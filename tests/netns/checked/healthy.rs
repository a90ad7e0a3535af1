//! Healthy pods of each mesh: nothing is found above info, and everything is decided.

use nslens::analysis::mesh::{Mesh, Mode, Variant};

use super::stage::{Pod, silent, words};

/// What makes a pod one of a mesh's.
struct Healthy {
    mesh: Mesh,
    /// The program that loads the rules, and the rules of each family.
    backend: &'static str,
    rules: [Option<&'static str>; 2],
    annotation: (&'static str, &'static str),
    container: &'static str,
    user: u32,
    /// What the proxy listens on.
    listens: &'static str,
}

fn looks_well(healthy: &Healthy) {
    let Some(mut pod) = Pod::bare() else { return };
    let [of_ipv4, of_ipv6] = healthy.rules;
    pod.loads(healthy.backend, |ipv6| if ipv6 { of_ipv6 } else { of_ipv4 }.map(str::to_owned));
    if of_ipv6.is_none() {
        pod.lab.sh("ip -6 addr flush dev eth0; ip -6 route flush dev eth0");
    }
    pod.annotate(healthy.annotation.0, healthy.annotation.1);
    pod.container(healthy.container);
    pod.container("app");
    let listening = healthy.listens.split(' ').count();
    pod.runs(healthy.user, healthy.container, healthy.listens, listening);
    pod.runs(1000, "app", "accept:[::]:8080", listening + 1);
    let answer = pod.checked();
    assert_eq!(
        (answer.expected.mesh, answer.expected.variant, answer.expected.mode),
        (Some(healthy.mesh), Some(Variant::Sidecar), Some(Mode::Redirect)),
        "{}",
        words(&answer)
    );
    silent(&answer);
}

#[test]
fn linkerd() {
    const RULES: &str = "*nat
:PROXY_INIT_OUTPUT - [0:0]
:PROXY_INIT_REDIRECT - [0:0]
-A PREROUTING -m comment --comment proxy-init/install-proxy-init-prerouting -j PROXY_INIT_REDIRECT
-A OUTPUT -m comment --comment proxy-init/install-proxy-init-output -j PROXY_INIT_OUTPUT
-A PROXY_INIT_REDIRECT -p tcp -m multiport --dports 4190,4191,4567,4568 -j RETURN
-A PROXY_INIT_REDIRECT -p tcp -j REDIRECT --to-ports 4143
-A PROXY_INIT_OUTPUT -m owner --uid-owner 2102 -j RETURN
-A PROXY_INIT_OUTPUT -o lo -j RETURN
-A PROXY_INIT_OUTPUT -p tcp -m multiport --dports 4567,4568 -j RETURN
-A PROXY_INIT_OUTPUT -p tcp -j REDIRECT --to-ports 4140
COMMIT
";
    for backend in ["legacy", "nft"] {
        looks_well(&Healthy {
            mesh: Mesh::Linkerd,
            backend,
            rules: [Some(RULES), Some(RULES)],
            annotation: ("linkerd.io/proxy-version", "edge-26.1.1"),
            container: "linkerd-proxy",
            user: 2102,
            listens: "accept:[::]:4140 accept:[::]:4143 accept:[::]:4190 accept:[::]:4191",
        });
    }
}

#[test]
fn kuma() {
    const RULES: &str = "*nat
:KUMA_MESH_INBOUND - [0:0]
:KUMA_MESH_INBOUND_REDIRECT - [0:0]
:KUMA_MESH_OUTBOUND - [0:0]
:KUMA_MESH_OUTBOUND_REDIRECT - [0:0]
-A PREROUTING -p tcp -j KUMA_MESH_INBOUND
-A OUTPUT -p tcp -j KUMA_MESH_OUTBOUND
-A KUMA_MESH_INBOUND -p tcp -j KUMA_MESH_INBOUND_REDIRECT
-A KUMA_MESH_OUTBOUND -s 127.0.0.6/32 -o lo -j RETURN
-A KUMA_MESH_OUTBOUND ! -d 127.0.0.1/32 -o lo -p tcp -m owner --uid-owner 5678 -j KUMA_MESH_INBOUND_REDIRECT
-A KUMA_MESH_OUTBOUND -o lo -p tcp -m owner ! --uid-owner 5678 -j RETURN
-A KUMA_MESH_OUTBOUND -m owner --uid-owner 5678 -j RETURN
-A KUMA_MESH_OUTBOUND -d 127.0.0.1/32 -j RETURN
-A KUMA_MESH_OUTBOUND -j KUMA_MESH_OUTBOUND_REDIRECT
-A KUMA_MESH_INBOUND_REDIRECT -p tcp -j REDIRECT --to-ports 15006
-A KUMA_MESH_OUTBOUND_REDIRECT -p tcp -j REDIRECT --to-ports 15001
COMMIT
";
    for backend in ["legacy", "nft"] {
        looks_well(&Healthy {
            mesh: Mesh::Kuma,
            backend,
            rules: [Some(RULES), None],
            annotation: ("kuma.io/sidecar-injected", "true"),
            container: "kuma-sidecar",
            user: 5678,
            listens: "accept:[::]:15001 accept:[::]:15006 accept:127.0.0.1:9901",
        });
    }
}

#[test]
fn consul() {
    const RULES: &str = "*nat
:CONSUL_DNS_REDIRECT - [0:0]
:CONSUL_PROXY_INBOUND - [0:0]
:CONSUL_PROXY_IN_REDIRECT - [0:0]
:CONSUL_PROXY_OUTPUT - [0:0]
:CONSUL_PROXY_REDIRECT - [0:0]
-A PREROUTING -p tcp -j CONSUL_PROXY_INBOUND
-A OUTPUT -p tcp -j CONSUL_PROXY_OUTPUT
-A CONSUL_PROXY_INBOUND -p tcp --dport 20600 -j RETURN
-A CONSUL_PROXY_INBOUND -p tcp -j CONSUL_PROXY_IN_REDIRECT
-A CONSUL_PROXY_IN_REDIRECT -p tcp -j REDIRECT --to-ports 20000
-A CONSUL_PROXY_OUTPUT -m owner --uid-owner 5995 -j RETURN
-A CONSUL_PROXY_OUTPUT -d 127.0.0.1/32 -j RETURN
-A CONSUL_PROXY_OUTPUT -j CONSUL_PROXY_REDIRECT
-A CONSUL_PROXY_REDIRECT -p tcp -j REDIRECT --to-ports 15001
COMMIT
";
    for backend in ["legacy", "nft"] {
        looks_well(&Healthy {
            mesh: Mesh::Consul,
            backend,
            rules: [Some(RULES), None],
            annotation: ("consul.hashicorp.com/connect-inject-status", "injected"),
            container: "consul-dataplane",
            user: 5995,
            listens: "accept:[::]:15001 accept:[::]:20000 accept:[::]:20600",
        });
    }
}

#[test]
fn app_mesh() {
    const RULES: &str = "*nat
:APPMESH_EGRESS - [0:0]
:APPMESH_INGRESS - [0:0]
-A PREROUTING -p tcp -m addrtype ! --src-type LOCAL -j APPMESH_INGRESS
-A OUTPUT -p tcp -m addrtype ! --dst-type LOCAL -j APPMESH_EGRESS
-A APPMESH_INGRESS -p tcp -m multiport --dports 8080 -j REDIRECT --to-ports 15000
-A APPMESH_EGRESS -m owner --uid-owner 1337 -j RETURN
-A APPMESH_EGRESS -p tcp -m multiport --dports 22 -j RETURN
-A APPMESH_EGRESS -d 169.254.169.254/32 -p tcp -j RETURN
-A APPMESH_EGRESS -p tcp -j REDIRECT --to-ports 15001
COMMIT
";
    for backend in ["legacy", "nft"] {
        looks_well(&Healthy {
            mesh: Mesh::Appmesh,
            backend,
            rules: [Some(RULES), None],
            annotation: ("appmesh.k8s.aws/sidecarInjectorWebhook", "enabled"),
            container: "envoy",
            user: 1337,
            listens: "accept:[::]:15000 accept:[::]:15001 accept:127.0.0.1:9901",
        });
    }
}

#[test]
fn open_service_mesh() {
    const RULES: &str = "*nat
:OSM_PROXY_INBOUND - [0:0]
:OSM_PROXY_IN_REDIRECT - [0:0]
:OSM_PROXY_OUTBOUND - [0:0]
:OSM_PROXY_OUT_REDIRECT - [0:0]
-A PREROUTING -p tcp -j OSM_PROXY_INBOUND
-A OUTPUT -p tcp -j OSM_PROXY_OUTBOUND
-A OSM_PROXY_INBOUND -p tcp -m tcp --dport 15010 -j RETURN
-A OSM_PROXY_INBOUND -p tcp -m tcp --dport 15901 -j RETURN
-A OSM_PROXY_INBOUND -p tcp -m tcp --dport 15902 -j RETURN
-A OSM_PROXY_INBOUND -p tcp -m tcp --dport 15903 -j RETURN
-A OSM_PROXY_INBOUND -p tcp -m tcp --dport 15904 -j RETURN
-A OSM_PROXY_INBOUND -p tcp -j OSM_PROXY_IN_REDIRECT
-A OSM_PROXY_IN_REDIRECT -p tcp -j REDIRECT --to-ports 15003
-A OSM_PROXY_OUTBOUND ! -d 127.0.0.1/32 -o lo -m owner --uid-owner 1500 -j OSM_PROXY_IN_REDIRECT
-A OSM_PROXY_OUTBOUND -o lo -m owner ! --uid-owner 1500 -j RETURN
-A OSM_PROXY_OUTBOUND -m owner --uid-owner 1500 -j RETURN
-A OSM_PROXY_OUTBOUND -d 127.0.0.1/32 -j RETURN
-A OSM_PROXY_OUTBOUND -j OSM_PROXY_OUT_REDIRECT
-A OSM_PROXY_OUT_REDIRECT -p tcp -j REDIRECT --to-ports 15001
COMMIT
";
    for backend in ["legacy", "nft"] {
        looks_well(&Healthy {
            mesh: Mesh::Osm,
            backend,
            rules: [Some(RULES), None],
            annotation: ("openservicemesh.io/sidecar-injection", "enabled"),
            container: "envoy",
            user: 1500,
            listens: "accept:[::]:15001 accept:[::]:15003 accept:[::]:15010 accept:[::]:15901 accept:[::]:15902",
        });
    }
}

#[test]
fn istio_in_nfts_own_terms() {
    const RULES: &str = "table inet istio-proxy-nat {
  chain prerouting { type nat hook prerouting priority dstnat; meta l4proto tcp jump istio-inbound; }
  chain output { type nat hook output priority -100; jump istio-output; }
  chain istio-inbound { tcp dport { 15008, 15090, 15021, 15020 } return; meta l4proto tcp jump istio-in-redirect; }
  chain istio-in-redirect { meta l4proto tcp redirect to :15006; }
  chain istio-redirect { meta l4proto tcp redirect to :15001; }
  chain istio-output {
    oifname lo ip saddr 127.0.0.6 return
    oifname lo ip6 saddr ::6 return
    oifname lo meta l4proto tcp ip daddr != 127.0.0.1 tcp dport != 15008 skuid 1337 jump istio-in-redirect
    oifname lo meta l4proto tcp ip6 daddr != ::1 tcp dport != 15008 skuid 1337 jump istio-in-redirect
    oifname lo skuid != 1337 return
    skuid 1337 return
    oifname lo meta l4proto tcp ip daddr != 127.0.0.1 skgid 1337 jump istio-in-redirect
    oifname lo skgid != 1337 return
    skgid 1337 return
    ip daddr 127.0.0.1 return
    ip6 daddr ::1 return
    jump istio-redirect
  }
}";
    let Some(mut pod) = Pod::bare() else { return };
    pod.lab.sh(&format!("nft -f - <<'END'\n{RULES}\nEND"));
    pod.is_istio();
    let answer = pod.checked();
    assert_eq!(answer.expected.mesh, Some(Mesh::Istio), "{}", words(&answer));
    assert!(answer.expected.native, "{}", words(&answer));
    silent(&answer);
}
