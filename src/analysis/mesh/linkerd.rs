//! Linkerd 2 (`linkerd/linkerd2-proxy-init`).

use super::profile::{Profile, Setting, Sign};
use super::{Mesh, Variant};

pub(super) const LINKERD: Profile = Profile {
    mesh: Mesh::Linkerd,
    variant: Variant::Sidecar,
    name: "Linkerd",
    signs: &[Sign::Chains("PROXY_INIT_"), Sign::Comments("proxy-init/")],
    outbound: &["PROXY_INIT_OUTPUT"],
    inbound: &["PROXY_INIT_REDIRECT"],
    containers: &["linkerd-proxy", "linkerd-init", "linkerd-network-validator"],
    metadata: &[
        ("linkerd.io/proxy-version", ""),
        ("linkerd.io/control-plane-ns", ""),
        ("linkerd.io/inject", "enabled"),
    ],
    environment: &["LINKERD2_PROXY_"],
    processes: &["linkerd2-proxy"],
    needs: &["REDIRECT", "comment", "owner"],
    settings: &[
        ("config.linkerd.io/skip-inbound-ports", Setting::ExcludedInboundPorts),
        ("config.linkerd.io/skip-outbound-ports", Setting::ExcludedOutboundPorts),
        ("config.linkerd.io/inbound-port", Setting::InboundPort),
        ("config.linkerd.io/outbound-port", Setting::OutboundPort),
        ("config.linkerd.io/proxy-uid", Setting::Uid),
        ("config.linkerd.io/proxy-gid", Setting::Gid),
        ("LINKERD2_PROXY_INBOUND_LISTEN_ADDR", Setting::InboundPort),
        ("LINKERD2_PROXY_OUTBOUND_LISTEN_ADDR", Setting::OutboundPort),
    ],
};
