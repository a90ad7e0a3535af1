//! Istio ambient: rules in the pod since 1.21, on the node before; native nftables since 1.28 (`cni/pkg/iptables`).

use super::profile::{Profile, Setting, Sign};
use super::{Mesh, Variant};

pub(super) const AMBIENT: Profile = Profile {
    mesh: Mesh::Istio,
    variant: Variant::Ambient,
    name: "Istio ambient",
    signs: &[
        Sign::Chain("ISTIO_PRERT"),
        Sign::Chain("ISTIO_POSTRT"),
        Sign::Chains("ZTUNNEL_"),
        Sign::Tables("istio-ambient-"),
    ],
    outbound: &["ISTIO_OUTPUT"],
    inbound: &["ISTIO_PRERT", "ISTIO_PREROUTING"],
    containers: &[],
    metadata: &[("ambient.istio.io/redirection", "enabled"), ("istio.io/dataplane-mode", "ambient")],
    environment: &[],
    processes: &["ztunnel"],
    needs: &["CONNMARK", "REDIRECT", "connmark", "mark"],
    settings: &[("ambient.istio.io/dns-capture", Setting::Dns)],
};
