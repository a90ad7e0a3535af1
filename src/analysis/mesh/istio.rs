//! Istio's sidecar: by iptables since 1.0, by native nftables since 1.27 (`tools/istio-iptables`, `tools/istio-nftables`).

use super::profile::{Profile, Setting, Sign};
use super::{Mesh, Variant};

/// The name `ISTIO_OUTPUT` is ambient's too, so it is no sign.
pub(super) const SIDECAR: Profile = Profile {
    mesh: Mesh::Istio,
    variant: Variant::Sidecar,
    name: "Istio",
    signs: &[
        Sign::Chain("ISTIO_INBOUND"),
        Sign::Chain("ISTIO_IN_REDIRECT"),
        Sign::Chain("ISTIO_REDIRECT"),
        Sign::Chain("ISTIO_DIVERT"),
        Sign::Chain("ISTIO_TPROXY"),
        Sign::Chain("ISTIO_OUTPUT_DNS"),
        Sign::Chain("ISTIO_DROP"),
        Sign::Tables("istio-proxy-"),
    ],
    outbound: &["ISTIO_REDIRECT"],
    inbound: &["ISTIO_IN_REDIRECT", "ISTIO_TPROXY"],
    containers: &["istio-proxy", "istio-init", "istio-validation"],
    metadata: &[
        ("sidecar.istio.io/status", ""),
        ("sidecar.istio.io/inject", "true"),
        ("security.istio.io/tlsMode", "istio"),
        ("istio.io/rev", ""),
    ],
    environment: &["ISTIO_META_"],
    processes: &["pilot-agent"],
    needs: &["REDIRECT", "owner"],
    settings: &[
        ("traffic.sidecar.istio.io/excludeInboundPorts", Setting::ExcludedInboundPorts),
        ("traffic.sidecar.istio.io/excludeOutboundPorts", Setting::ExcludedOutboundPorts),
        ("traffic.sidecar.istio.io/includeInboundPorts", Setting::IncludedInboundPorts),
        ("traffic.sidecar.istio.io/includeOutboundPorts", Setting::IncludedOutboundPorts),
        ("traffic.sidecar.istio.io/excludeOutboundIPRanges", Setting::ExcludedNetworks),
        ("traffic.sidecar.istio.io/includeOutboundIPRanges", Setting::IncludedNetworks),
        ("sidecar.istio.io/interceptionMode", Setting::Mode),
        ("ISTIO_META_INTERCEPTION_MODE", Setting::Mode),
        ("ISTIO_META_DNS_CAPTURE", Setting::Dns),
    ],
};
