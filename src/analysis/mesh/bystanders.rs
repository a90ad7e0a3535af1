//! Others that write rules, in pods or on nodes, and are no mesh.

use super::profile::Sign;

/// Who, and the signs of it in rules.
pub(super) const BYSTANDERS: [(&str, &[Sign]); 16] = [
    (
        "Docker's embedded DNS",
        &[Sign::Chain("DOCKER_OUTPUT"), Sign::Chain("DOCKER_POSTROUTING"), Sign::Tables("docker-dns")],
    ),
    (
        "Docker",
        &[
            Sign::Chain("DOCKER"),
            Sign::Chains("DOCKER_FORWARD"),
            Sign::Chains("DOCKER_ISOLATION"),
            Sign::Chain("DOCKER_USER"),
            Sign::Tables("docker-bridges"),
        ],
    ),
    ("Telepresence", &[Sign::Chains("TEL_")]),
    ("mirrord", &[Sign::Chains("MIRRORD_")]),
    ("KubeVirt", &[Sign::Chains("KUBEVIRT_")]),
    ("kube-proxy", &[Sign::Chains("KUBE_"), Sign::Tables("kube-proxy")]),
    ("CNI port mapping", &[Sign::Chains("CNI_"), Sign::Tables("cni_hostport"), Sign::Tables("cni_")]),
    ("Cilium", &[Sign::Chains("CILIUM_"), Sign::Chains("OLD_CILIUM_")]),
    ("Calico", &[Sign::Chains("CALI_"), Sign::Chains("CALI:"), Sign::Tables("calico")]),
    ("AWS VPC CNI", &[Sign::Chains("AWS_")]),
    ("firewalld", &[Sign::Tables("firewalld"), Sign::Chains("FWDI_"), Sign::Chains("IN_PUBLIC")]),
    ("ufw", &[Sign::Chains("UFW_")]),
    ("libvirt", &[Sign::Chains("LIBVIRT_")]),
    ("Flannel", &[Sign::Chains("FLANNEL_")]),
    ("Netavark", &[Sign::Chains("NETAVARK"), Sign::Tables("netavark")]),
    ("OVN-Kubernetes", &[Sign::Chains("OVN_KUBE_"), Sign::Tables("ovn-kubernetes")]),
];
