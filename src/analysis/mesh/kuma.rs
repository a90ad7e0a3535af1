//! Kuma, and Kong Mesh, which is built on it: `KUMA_MESH_*`, before 2.0 `MESH_*`.

use super::profile::{Profile, Setting, Sign};
use super::{Mesh, Variant};

pub(super) const KUMA: Profile = Profile {
    mesh: Mesh::Kuma,
    variant: Variant::Sidecar,
    name: "Kuma",
    signs: &[
        Sign::Chains("KUMA_MESH_"),
        Sign::Chain("MESH_INBOUND"),
        Sign::Chain("MESH_IN_REDIRECT"),
        Sign::Chain("MESH_OUTPUT"),
        Sign::Chain("MESH_OUTBOUND"),
        Sign::Chain("MESH_REDIRECT"),
        Sign::Comments("kuma/mesh/transparent/proxy"),
    ],
    outbound: &["KUMA_MESH_OUTBOUND_REDIRECT", "MESH_REDIRECT", "MESH_OUTBOUND_REDIRECT"],
    inbound: &["KUMA_MESH_INBOUND_REDIRECT", "MESH_IN_REDIRECT", "MESH_INBOUND_REDIRECT"],
    containers: &["kuma-sidecar", "kuma-init", "kuma-validation"],
    metadata: &[("kuma.io/sidecar-injected", "true"), ("kuma.io/sidecar-injection", "enabled")],
    environment: &["KUMA_DNS_"],
    processes: &["kuma-dp"],
    needs: &["REDIRECT", "comment", "owner"],
    settings: &[
        ("traffic.kuma.io/exclude-inbound-ports", Setting::ExcludedInboundPorts),
        ("traffic.kuma.io/exclude-outbound-ports", Setting::ExcludedOutboundPorts),
        ("traffic.kuma.io/exclude-outbound-ips", Setting::ExcludedNetworks),
        ("kuma.io/transparent-proxying-inbound-port", Setting::InboundPort),
        ("kuma.io/transparent-proxying-outbound-port", Setting::OutboundPort),
        ("kuma.io/sidecar-uid", Setting::Uid),
        ("kuma.io/builtindns", Setting::Dns),
        ("kuma.io/builtin-dns", Setting::Dns),
        ("KUMA_DNS_ENABLED", Setting::Dns),
    ],
};
