//! The lab's network: loopback, a veth pair between its two namespaces, addresses, default routes.
//!
//! Messages of rtnetlink as `include/uapi/linux/{if_link,if_addr,rtnetlink,veth}.h` lay them out.

use std::net::IpAddr;

use crate::sys::lab;
use crate::sys::netlink::{ACK, NetlinkError, NetlinkSocket, ROUTE};
use crate::wire::attribute::Builder;

/// The name of both ends of the pair, each in its own namespace.
pub(super) const INTERFACE: &str = "eth0";
const LOOPBACK: &str = "lo";

const RTM_NEWLINK: u16 = 16;
const RTM_NEWADDR: u16 = 20;
const RTM_NEWROUTE: u16 = 24;
/// `NLM_F_REQUEST | NLM_F_ACK | NLM_F_CREATE | NLM_F_EXCL`.
const NEW: u16 = ACK | 0x400 | 0x200;

const AF_UNSPEC: u8 = 0;
const AF_INET: u8 = 2;
const AF_INET6: u8 = 10;
const IFF_UP: u32 = 1;

const IFLA_IFNAME: u16 = 3;
const IFLA_LINKINFO: u16 = 18;
const IFLA_NET_NS_PID: u16 = 19;
const IFLA_INFO_KIND: u16 = 1;
const IFLA_INFO_DATA: u16 = 2;
const VETH_INFO_PEER: u16 = 1;
const IFA_ADDRESS: u16 = 1;
const IFA_LOCAL: u16 = 2;
/// Use the address at once: nobody else is in this network, so there is no duplicate to look for.
const IFA_F_NODAD: u8 = 2;
const RTA_OIF: u16 = 4;
const RTA_GATEWAY: u16 = 5;

/// The calling thread's namespace, as rtnetlink configures it.
pub(super) struct Network {
    socket: NetlinkSocket,
}

impl Network {
    /// Opens rtnetlink in the calling thread's namespace.
    pub(super) fn open() -> Result<Self, NetlinkError> {
        Ok(Self { socket: NetlinkSocket::open(ROUTE)? })
    }

    /// Makes a veth pair, one end here, the other in the namespace of process `peer`.
    pub(super) fn add_pair(&mut self, peer: u32) -> Result<(), NetlinkError> {
        let other =
            Builder::after(&interface(0, 0)).put_text(IFLA_IFNAME, INTERFACE).put(IFLA_NET_NS_PID, &peer.to_ne_bytes());
        let info = Builder::default()
            .put_text(IFLA_INFO_KIND, "veth")
            .put_nested(IFLA_INFO_DATA, &Builder::default().put_nested(VETH_INFO_PEER, &other));
        let request =
            Builder::after(&interface(0, 0)).put_text(IFLA_IFNAME, INTERFACE).put_nested(IFLA_LINKINFO, &info);
        self.ask(RTM_NEWLINK, NEW, request)
    }

    /// Switches loopback on.
    pub(super) fn loopback_up(&mut self) -> Result<(), NetlinkError> {
        self.up(LOOPBACK)
    }

    /// Switches this end of the pair on.
    pub(super) fn interface_up(&mut self) -> Result<(), NetlinkError> {
        self.up(INTERFACE)
    }

    /// Gives this end of the pair an address.
    pub(super) fn add_address(&mut self, address: IpAddr, prefix: u8) -> Result<(), NetlinkError> {
        self.address_on(INTERFACE, address, prefix)
    }

    /// Gives loopback one more address.
    pub(super) fn add_loopback_address(&mut self, address: IpAddr, prefix: u8) -> Result<(), NetlinkError> {
        self.address_on(LOOPBACK, address, prefix)
    }

    /// Sends everything that has no nearer route to `gateway`.
    pub(super) fn add_default_route(&mut self, gateway: IpAddr) -> Result<(), NetlinkError> {
        const TABLE_MAIN: u8 = 254;
        const PROTOCOL_BOOT: u8 = 3;
        const TYPE_UNICAST: u8 = 1;
        let index = lab::interface_index(INTERFACE)?;
        let head = [family(gateway), 0, 0, 0, TABLE_MAIN, PROTOCOL_BOOT, 0, TYPE_UNICAST, 0, 0, 0, 0];
        let request = Builder::after(&head).put(RTA_GATEWAY, &octets(gateway)).put(RTA_OIF, &index.to_ne_bytes());
        self.ask(RTM_NEWROUTE, NEW, request)
    }

    fn up(&mut self, name: &str) -> Result<(), NetlinkError> {
        let index = lab::interface_index(name)?;
        self.ask(RTM_NEWLINK, ACK, Builder::after(&interface(index, IFF_UP)))
    }

    fn address_on(&mut self, name: &str, address: IpAddr, prefix: u8) -> Result<(), NetlinkError> {
        let mut head = vec![family(address), prefix, IFA_F_NODAD, 0];
        head.extend(lab::interface_index(name)?.to_ne_bytes());
        let request = Builder::after(&head).put(IFA_LOCAL, &octets(address)).put(IFA_ADDRESS, &octets(address));
        self.ask(RTM_NEWADDR, NEW, request)
    }

    fn ask(&mut self, kind: u16, flags: u16, request: Builder) -> Result<(), NetlinkError> {
        self.socket.request(kind, flags, &request.finish(), |_| {})
    }
}

/// `struct ifinfomsg`; the flags are both set and named as those to change.
fn interface(index: u32, flags: u32) -> Vec<u8> {
    let mut head = vec![AF_UNSPEC, 0, 0, 0];
    head.extend(index.to_ne_bytes());
    head.extend(flags.to_ne_bytes());
    head.extend(flags.to_ne_bytes());
    head
}

fn family(address: IpAddr) -> u8 {
    if address.is_ipv4() { AF_INET } else { AF_INET6 }
}

fn octets(address: IpAddr) -> Vec<u8> {
    match address {
        IpAddr::V4(address) => address.octets().to_vec(),
        IpAddr::V6(address) => address.octets().to_vec(),
    }
}
