//! Open Service Mesh, and FSM, which grew out of it.

use super::profile::{Profile, Setting, Sign};
use super::{Mesh, Variant};

const SETTINGS: &[(&str, Setting)] = &[
    ("openservicemesh.io/inbound-port-exclusion-list", Setting::ExcludedInboundPorts),
    ("openservicemesh.io/outbound-port-exclusion-list", Setting::ExcludedOutboundPorts),
    ("openservicemesh.io/outbound-ip-range-exclusion-list", Setting::ExcludedNetworks),
    ("openservicemesh.io/outbound-ip-range-inclusion-list", Setting::IncludedNetworks),
];

/// Up to 0.11 its chains had no prefix of their own.
pub(super) const OSM: Profile = Profile {
    mesh: Mesh::Osm,
    variant: Variant::Sidecar,
    name: "Open Service Mesh",
    signs: &[
        Sign::Chains("OSM_PROXY_"),
        Sign::Chain("PROXY_INBOUND"),
        Sign::Chain("PROXY_IN_REDIRECT"),
        Sign::Chain("PROXY_OUTPUT"),
        Sign::Chain("PROXY_REDIRECT"),
    ],
    outbound: &["OSM_PROXY_OUT_REDIRECT", "PROXY_REDIRECT"],
    inbound: &["OSM_PROXY_IN_REDIRECT", "PROXY_IN_REDIRECT"],
    containers: &["osm-init"],
    metadata: &[("osm-proxy-uuid", ""), ("openservicemesh.io/sidecar-injection", "enabled")],
    environment: &[],
    processes: &[],
    needs: &["REDIRECT", "owner"],
    settings: SETTINGS,
};

pub(super) const FSM: Profile = Profile {
    mesh: Mesh::Osm,
    variant: Variant::Sidecar,
    name: "FSM",
    signs: &[Sign::Chains("FSM_PROXY_")],
    outbound: &["FSM_PROXY_OUT_REDIRECT"],
    inbound: &["FSM_PROXY_IN_REDIRECT"],
    containers: &["fsm-init"],
    metadata: &[("fsm-proxy-uuid", ""), ("flomesh.io/sidecar-injection", "enabled")],
    environment: &[],
    processes: &["pipy"],
    needs: &["REDIRECT", "owner"],
    settings: &[
        ("flomesh.io/inbound-port-exclusion-list", Setting::ExcludedInboundPorts),
        ("flomesh.io/outbound-port-exclusion-list", Setting::ExcludedOutboundPorts),
        ("flomesh.io/outbound-ip-range-exclusion-list", Setting::ExcludedNetworks),
        ("flomesh.io/outbound-ip-range-inclusion-list", Setting::IncludedNetworks),
    ],
};
