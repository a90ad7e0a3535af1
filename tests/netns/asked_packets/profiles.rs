//! Rules in the shape of the meshes that the questions are about: Istio's sidecar (I), Linkerd (L), Istio's ambient mode (A), and App
//! Mesh. Native chains and their rules stand in the order of those of iptables, so that one number names the same rule.

/// A mesh's rules in the forms that it has, and its proxy.
#[derive(Debug, Clone, Copy)]
pub(super) struct Rules {
    /// `iptables-restore`.
    pub(super) four: &'static str,
    /// `ip6tables-restore`.
    pub(super) six: &'static str,
    /// `nft -f`.
    pub(super) native: &'static str,
    /// User and group of the proxy.
    pub(super) proxy: u32,
    /// Where it waits.
    pub(super) ports: &'static [u16],
}

/// None.
pub(super) const NONE: &str = "";

/// A sidecar of Istio: its user and its group are exempt.
pub(super) const ISTIO: Rules = Rules {
    four: "
*nat
:ISTIO_INBOUND - [0:0]
:ISTIO_REDIRECT - [0:0]
:ISTIO_IN_REDIRECT - [0:0]
:ISTIO_OUTPUT - [0:0]
-A PREROUTING -p tcp -j ISTIO_INBOUND
-A OUTPUT -j ISTIO_OUTPUT
-A ISTIO_INBOUND -p tcp --dport 15008 -j RETURN
-A ISTIO_INBOUND -p tcp --dport 15090 -j RETURN
-A ISTIO_INBOUND -p tcp --dport 15021 -j RETURN
-A ISTIO_INBOUND -p tcp --dport 15020 -j RETURN
-A ISTIO_INBOUND -p tcp -j ISTIO_IN_REDIRECT
-A ISTIO_REDIRECT -p tcp -j REDIRECT --to-ports 15001
-A ISTIO_IN_REDIRECT -p tcp -j REDIRECT --to-ports 15006
-A ISTIO_OUTPUT -s 127.0.0.6/32 -o lo -j RETURN
-A ISTIO_OUTPUT ! -d 127.0.0.1/32 -o lo -p tcp ! --dport 15008 -m owner --uid-owner 1337 -j ISTIO_IN_REDIRECT
-A ISTIO_OUTPUT -o lo -m owner ! --uid-owner 1337 -j RETURN
-A ISTIO_OUTPUT -m owner --uid-owner 1337 -j RETURN
-A ISTIO_OUTPUT ! -d 127.0.0.1/32 -o lo -p tcp ! --dport 15008 -m owner --gid-owner 1337 -j ISTIO_IN_REDIRECT
-A ISTIO_OUTPUT -o lo -m owner ! --gid-owner 1337 -j RETURN
-A ISTIO_OUTPUT -m owner --gid-owner 1337 -j RETURN
-A ISTIO_OUTPUT -d 127.0.0.1/32 -j RETURN
-A ISTIO_OUTPUT -j ISTIO_REDIRECT
COMMIT
",
    six: NONE,
    native: "
table inet istio-proxy-nat {
    chain prerouting {
        type nat hook prerouting priority -100;
        meta l4proto tcp counter jump istio-inbound
    }
    chain output {
        type nat hook output priority -100;
        counter jump istio-output
    }
    chain istio-inbound {
        tcp dport 15008 counter return
        tcp dport 15090 counter return
        tcp dport 15021 counter return
        tcp dport 15020 counter return
        meta l4proto tcp counter jump istio-in-redirect
    }
    chain istio-redirect { meta l4proto tcp counter redirect to :15001; }
    chain istio-in-redirect { meta l4proto tcp counter redirect to :15006; }
    chain istio-output {
        oifname lo ip saddr 127.0.0.6/32 counter return
        oifname lo meta l4proto tcp ip daddr != 127.0.0.1/32 tcp dport != 15008 skuid 1337 counter jump istio-in-redirect
        oifname lo skuid != 1337 counter return
        skuid 1337 counter return
        oifname lo meta l4proto tcp ip daddr != 127.0.0.1/32 tcp dport != 15008 skgid 1337 counter jump istio-in-redirect
        oifname lo skgid != 1337 counter return
        skgid 1337 counter return
        ip daddr 127.0.0.1/32 counter return
        counter jump istio-redirect
    }
}
",
    proxy: 1337,
    ports: &[15001, 15006],
};

/// The same of IPv6, beside the one of IPv4.
pub(super) const ISTIO6: &str = "
*nat
:ISTIO_INBOUND - [0:0]
:ISTIO_REDIRECT - [0:0]
:ISTIO_IN_REDIRECT - [0:0]
:ISTIO_OUTPUT - [0:0]
-A PREROUTING -p tcp -j ISTIO_INBOUND
-A OUTPUT -j ISTIO_OUTPUT
-A ISTIO_INBOUND -p tcp --dport 15008 -j RETURN
-A ISTIO_INBOUND -p tcp --dport 15090 -j RETURN
-A ISTIO_INBOUND -p tcp --dport 15021 -j RETURN
-A ISTIO_INBOUND -p tcp --dport 15020 -j RETURN
-A ISTIO_INBOUND -p tcp -j ISTIO_IN_REDIRECT
-A ISTIO_REDIRECT -p tcp -j REDIRECT --to-ports 15001
-A ISTIO_IN_REDIRECT -p tcp -j REDIRECT --to-ports 15006
-A ISTIO_OUTPUT -s ::6/128 -o lo -j RETURN
-A ISTIO_OUTPUT ! -d ::1/128 -o lo -p tcp ! --dport 15008 -m owner --uid-owner 1337 -j ISTIO_IN_REDIRECT
-A ISTIO_OUTPUT -o lo -m owner ! --uid-owner 1337 -j RETURN
-A ISTIO_OUTPUT -m owner --uid-owner 1337 -j RETURN
-A ISTIO_OUTPUT ! -d ::1/128 -o lo -p tcp ! --dport 15008 -m owner --gid-owner 1337 -j ISTIO_IN_REDIRECT
-A ISTIO_OUTPUT -o lo -m owner ! --gid-owner 1337 -j RETURN
-A ISTIO_OUTPUT -m owner --gid-owner 1337 -j RETURN
-A ISTIO_OUTPUT -d ::1/128 -j RETURN
-A ISTIO_OUTPUT -j ISTIO_REDIRECT
COMMIT
";

/// Linkerd: its user is exempt, and some ports are skipped.
pub(super) const LINKERD: Rules = Rules {
    four: "
*nat
:PROXY_INIT_REDIRECT - [0:0]
:PROXY_INIT_OUTPUT - [0:0]
-A PROXY_INIT_REDIRECT -p tcp -m multiport --dports 4190,4191,4567,4568 -j RETURN -m comment --comment proxy-init/ignore-port-4190,4191,4567,4568
-A PROXY_INIT_REDIRECT -p tcp -j REDIRECT --to-ports 4143 -m comment --comment proxy-init/redirect-all-incoming-to-proxy-port
-A PREROUTING -j PROXY_INIT_REDIRECT -m comment --comment proxy-init/install-proxy-init-prerouting
-A PROXY_INIT_OUTPUT -m owner --uid-owner 2102 -j RETURN -m comment --comment proxy-init/ignore-proxy-user-id
-A PROXY_INIT_OUTPUT -o lo -j RETURN -m comment --comment proxy-init/ignore-loopback
-A PROXY_INIT_OUTPUT -p tcp -m multiport --dports 4567,4568,3306 -j RETURN -m comment --comment proxy-init/ignore-port-4567,4568,3306
-A PROXY_INIT_OUTPUT -p tcp -j REDIRECT --to-ports 4140 -m comment --comment proxy-init/redirect-all-outgoing-to-proxy-port
-A OUTPUT -j PROXY_INIT_OUTPUT -m comment --comment proxy-init/install-proxy-init-output
COMMIT
",
    six: NONE,
    native: NONE,
    proxy: 2102,
    ports: &[4140, 4143],
};

/// Ambient mode of Istio: by marks.
pub(super) const AMBIENT: Rules = Rules {
    four: "
*mangle
:ISTIO_PRERT - [0:0]
:ISTIO_OUTPUT - [0:0]
-A PREROUTING -j ISTIO_PRERT
-A OUTPUT -j ISTIO_OUTPUT
-A ISTIO_PRERT -m mark --mark 0x539/0xfff -j CONNMARK --set-xmark 0x111/0xfff
-A ISTIO_OUTPUT -m connmark --mark 0x111/0xfff -j CONNMARK --restore-mark --nfmask 0xffffffff --ctmask 0xffffffff
COMMIT
*nat
:ISTIO_PRERT - [0:0]
:ISTIO_OUTPUT - [0:0]
-A OUTPUT -j ISTIO_OUTPUT
-A PREROUTING -j ISTIO_PRERT
-A ISTIO_PRERT -s 169.254.7.127/32 -p tcp -j ACCEPT
-A ISTIO_PRERT ! -d 127.0.0.1/32 -p tcp ! --dport 15008 -m mark ! --mark 0x539/0xfff -j REDIRECT --to-ports 15006
-A ISTIO_OUTPUT -d 169.254.7.127/32 -p tcp -j ACCEPT
-A ISTIO_OUTPUT ! -o lo -p udp -m mark ! --mark 0x539/0xfff --dport 53 -j REDIRECT --to-ports 15053
-A ISTIO_OUTPUT ! -d 127.0.0.1/32 -p tcp --dport 53 -m mark ! --mark 0x539/0xfff -j REDIRECT --to-ports 15053
-A ISTIO_OUTPUT -p tcp -m mark --mark 0x111/0xfff -j ACCEPT
-A ISTIO_OUTPUT ! -d 127.0.0.1/32 -o lo -j ACCEPT
-A ISTIO_OUTPUT ! -d 127.0.0.1/32 -p tcp -m mark ! --mark 0x539/0xfff -j REDIRECT --to-ports 15001
COMMIT
*raw
:ISTIO_PRERT - [0:0]
:ISTIO_OUTPUT - [0:0]
-A PREROUTING -j ISTIO_PRERT
-A OUTPUT -j ISTIO_OUTPUT
-A ISTIO_OUTPUT -p udp -m mark --mark 0x539/0xfff --dport 53 -j CT --zone 1
-A ISTIO_PRERT -p udp -m mark ! --mark 0x539/0xfff --sport 53 -j CT --zone 1
COMMIT
",
    six: NONE,
    native: "
table inet istio-ambient-nat {
    chain prerouting { type nat hook prerouting priority -100; counter jump istio-prert; }
    chain output { type nat hook output priority -100; counter jump istio-output; }
    chain istio-prert {
        meta l4proto tcp ip saddr 169.254.7.127 counter accept
        ip daddr != 127.0.0.1/32 tcp dport != 15008 mark and 0xfff != 0x539 counter redirect to :15006
    }
    chain istio-output {
        meta l4proto tcp ip daddr 169.254.7.127 counter accept
        oifname != lo mark and 0xfff != 0x539 udp dport 53 counter redirect to :15053
        ip daddr != 127.0.0.1/32 tcp dport 53 mark and 0xfff != 0x539 counter redirect to :15053
        meta l4proto tcp mark and 0xfff == 0x111 counter accept
        oifname lo ip daddr != 127.0.0.1/32 counter accept
        meta l4proto tcp ip daddr != 127.0.0.1/32 mark and 0xfff != 0x539 counter redirect to :15001
    }
}
table inet istio-ambient-mangle {
    chain prerouting { type filter hook prerouting priority -150; counter jump istio-prert; }
    chain output { type route hook output priority -150; counter jump istio-output; }
    chain istio-prert { meta mark & 0xfff == 0x539 counter ct mark set ct mark & 0xfffff000 | 0x111; }
    chain istio-output { ct mark and 0xfff == 0x111 counter meta mark set ct mark; }
}
table inet istio-ambient-raw {
    chain prerouting { type filter hook prerouting priority -300; counter jump istio-prert; }
    chain output { type filter hook output priority -300; counter jump istio-output; }
    chain istio-output { udp dport 53 meta mark and 0xfff == 0x539 counter ct zone set 1; }
    chain istio-prert { udp sport 53 meta mark and 0xfff != 0x539 counter ct zone set 1; }
}
",
    proxy: 0,
    ports: &[15001, 15006, 15008],
};

/// App Mesh: by the listed ports, and the address of credentials is exempt.
pub(super) const APP_MESH: Rules = Rules {
    four: "
*nat
:APPMESH_INGRESS - [0:0]
:APPMESH_EGRESS - [0:0]
-A APPMESH_INGRESS -p tcp -m multiport --dports 8080 -j REDIRECT --to-ports 15000
-A PREROUTING -p tcp -m addrtype ! --src-type LOCAL -j APPMESH_INGRESS
-A APPMESH_EGRESS -m owner --uid-owner 1337 -j RETURN
-A APPMESH_EGRESS -m owner --gid-owner 1337 -j RETURN
-A APPMESH_EGRESS -p tcp -m multiport --dports 22 -j RETURN
-A APPMESH_EGRESS -p tcp -d 169.254.169.254/32 -j RETURN
-A APPMESH_EGRESS -p tcp -d 169.254.170.2/32 -j RETURN
-A APPMESH_EGRESS -p tcp -j REDIRECT --to-ports 15001
-A OUTPUT -p tcp -m addrtype ! --dst-type LOCAL -j APPMESH_EGRESS
COMMIT
",
    six: NONE,
    native: NONE,
    proxy: 1337,
    ports: &[15000, 15001],
};
