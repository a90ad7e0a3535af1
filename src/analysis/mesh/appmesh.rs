//! AWS App Mesh, and ECS Service Connect, which is none: it captures a range of virtual addresses only.

use super::profile::{Profile, Setting, Sign};
use super::{Mesh, Variant};

pub(super) const APPMESH: Profile = Profile {
    mesh: Mesh::Appmesh,
    variant: Variant::Sidecar,
    name: "AWS App Mesh",
    signs: &[Sign::Chains("APPMESH_")],
    outbound: &["APPMESH_EGRESS"],
    inbound: &["APPMESH_INGRESS"],
    containers: &["proxyinit"],
    metadata: &[("appmesh.k8s.aws/sidecarInjectorWebhook", "enabled")],
    environment: &["APPMESH_"],
    processes: &[],
    needs: &["REDIRECT", "addrtype", "multiport", "owner"],
    settings: &[
        ("appmesh.k8s.aws/egressIgnoredPorts", Setting::ExcludedOutboundPorts),
        ("appmesh.k8s.aws/egressIgnoredIPs", Setting::ExcludedNetworks),
        ("appmesh.k8s.aws/ports", Setting::IncludedInboundPorts),
        ("APPMESH_EGRESS_IGNORED_PORTS", Setting::ExcludedOutboundPorts),
        ("APPMESH_EGRESS_IGNORED_IP", Setting::ExcludedNetworks),
        ("APPMESH_APP_PORTS", Setting::IncludedInboundPorts),
        ("APPMESH_IGNORE_UID", Setting::Uid),
        ("APPMESH_IGNORE_GID", Setting::Gid),
        ("APPMESH_PROXY_EGRESS_PORT", Setting::OutboundPort),
        ("APPMESH_PROXY_INGRESS_PORT", Setting::InboundPort),
    ],
};

pub(super) const SERVICE_CONNECT: Profile = Profile {
    mesh: Mesh::Custom,
    variant: Variant::Sidecar,
    name: "ECS Service Connect",
    signs: &[Sign::Chains("ECS_SERVICE_CONNECT_")],
    outbound: &[],
    inbound: &["ECS_SERVICE_CONNECT_INGRESS"],
    containers: &[],
    metadata: &[],
    environment: &[],
    processes: &[],
    needs: &["REDIRECT"],
    settings: &[],
};
