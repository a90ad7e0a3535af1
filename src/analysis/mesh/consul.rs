//! Consul's transparent proxy, on Kubernetes, Nomad and machines (`sdk/iptables`); native nftables in newer sources.

use super::profile::{Profile, Setting, Sign};
use super::{Mesh, Variant};

pub(super) const CONSUL: Profile = Profile {
    mesh: Mesh::Consul,
    variant: Variant::Sidecar,
    name: "Consul",
    signs: &[
        Sign::Chains("CONSUL_PROXY_"),
        Sign::Chain("CONSUL_DNS_REDIRECT"),
        Sign::Chains("CONSUL_NAT_"),
        Sign::Tables("consul_tproxy"),
    ],
    outbound: &["CONSUL_PROXY_REDIRECT"],
    inbound: &["CONSUL_PROXY_IN_REDIRECT"],
    containers: &["consul-dataplane", "consul-connect-inject-init", "envoy-sidecar"],
    metadata: &[
        ("consul.hashicorp.com/connect-inject-status", "injected"),
        ("consul.hashicorp.com/transparent-proxy-status", "enabled"),
        ("consul.hashicorp.com/connect-inject", "true"),
    ],
    environment: &[],
    processes: &["consul-dataplan"],
    needs: &["REDIRECT", "owner"],
    settings: &[
        ("consul.hashicorp.com/transparent-proxy-exclude-inbound-ports", Setting::ExcludedInboundPorts),
        ("consul.hashicorp.com/transparent-proxy-exclude-outbound-ports", Setting::ExcludedOutboundPorts),
        ("consul.hashicorp.com/transparent-proxy-exclude-outbound-cidrs", Setting::ExcludedNetworks),
        ("consul.hashicorp.com/consul-dns", Setting::Dns),
    ],
};
