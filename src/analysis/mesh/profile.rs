//! What is known of each mesh, as data: to add one is to add a file and a line here.

use super::{Mesh, Variant, ambient, appmesh, consul, istio, kuma, linkerd, osm};

/// What stands for a mesh in rules. Numbers are no signs: every one can be configured.
#[derive(Debug, Clone, Copy)]
pub(super) enum Sign {
    /// A chain of this name, in any table; hyphens and small letters count as `_` and capitals.
    Chain(&'static str),
    /// A chain whose name begins so, likewise.
    Chains(&'static str),
    /// A table whose name begins so.
    Tables(&'static str),
    /// A comment that begins so.
    Comments(&'static str),
}

/// Something that metadata sets and rules carry out.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Setting {
    /// Port to which outbound connections go.
    OutboundPort,
    /// Port to which inbound connections go.
    InboundPort,
    /// Outbound ports that are left alone.
    ExcludedOutboundPorts,
    /// Inbound ports that are left alone.
    ExcludedInboundPorts,
    /// Outbound ports that alone are captured.
    IncludedOutboundPorts,
    /// Inbound ports that alone are captured; `*` for all.
    IncludedInboundPorts,
    /// Destinations that are left alone.
    ExcludedNetworks,
    /// Destinations that alone are captured; `*` for all.
    IncludedNetworks,
    /// User of the proxy.
    Uid,
    /// Group of the proxy.
    Gid,
    /// `REDIRECT`, `TPROXY` or `NONE`.
    Mode,
    /// Whether DNS is captured.
    Dns,
}

/// All that is known of one mesh in one variant.
#[derive(Debug)]
pub(super) struct Profile {
    pub(super) mesh: Mesh,
    pub(super) variant: Variant,
    /// The product's own name where it is a relative of the mesh.
    pub(super) name: &'static str,
    pub(super) signs: &'static [Sign],
    /// Chains whose redirects are for outbound connections.
    pub(super) outbound: &'static [&'static str],
    /// Chains whose redirects are for inbound connections.
    pub(super) inbound: &'static [&'static str],
    /// Names of containers, init containers among them.
    pub(super) containers: &'static [&'static str],
    /// Annotations or labels, with the value that tells; an empty one stands for any but `false` and `disabled`.
    pub(super) metadata: &'static [(&'static str, &'static str)],
    /// Beginnings of variables of the environment.
    pub(super) environment: &'static [&'static str],
    /// Names of the proxy's processes, as the kernel cuts them (15 bytes). `envoy` is in several meshes.
    pub(super) processes: &'static [&'static str],
    /// Targets (in capitals) and matches (in small letters) of xtables that each of its rule sets asks for.
    pub(super) needs: &'static [&'static str],
    /// Annotations and variables that set something.
    pub(super) settings: &'static [(&'static str, Setting)],
}

/// Every mesh, in the order in which equal signs decide.
pub(super) const PROFILES: [&Profile; 9] = [
    &istio::SIDECAR,
    &ambient::AMBIENT,
    &linkerd::LINKERD,
    &kuma::KUMA,
    &consul::CONSUL,
    &appmesh::APPMESH,
    &appmesh::SERVICE_CONNECT,
    &osm::OSM,
    &osm::FSM,
];

/// A chain's name in the form in which signs are written.
pub(super) fn plain(name: &str) -> String {
    name.to_ascii_uppercase().replace('-', "_")
}

impl Sign {
    /// Whether a chain bears it.
    pub(super) fn is_chain(self, name: &str) -> bool {
        match self {
            Self::Chain(sign) => plain(name) == sign,
            Self::Chains(sign) => plain(name).starts_with(sign),
            _ => false,
        }
    }
}
