//! Interfaces and their addresses as routing netlink gives them.
//!
//! Source of the layouts: `include/uapi/linux/rtnetlink.h` (`ifinfomsg`), `if_link.h` (`IFLA_*`), `if_addr.h` (`ifaddrmsg`, `IFA_*`).

use std::net::IpAddr;

use super::address::ip;
use super::attribute::{Builder, CutAttribute, attributes};
use crate::model::Interface;

/// `RTM_GETLINK`: request for interfaces.
pub const GET_LINK: u16 = 18;
/// `RTM_NEWLINK`: an interface.
pub const NEW_LINK: u16 = 16;
/// `RTM_GETADDR`: request for addresses.
pub const GET_ADDRESS: u16 = 22;
/// `RTM_NEWADDR`: an address.
pub const NEW_ADDRESS: u16 = 20;

/// Bytes of `struct ifinfomsg`.
const LINK: usize = 16;
/// Bytes of `struct ifaddrmsg`.
const ADDRESS: usize = 8;

/// An answer that is neither an interface nor an address.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum RtnetlinkError {
    /// Shorter than its fixed part.
    #[error("{what} message of {length} bytes is cut short")]
    Short {
        /// What it was to be.
        what: &'static str,
        /// How long it was.
        length: usize,
    },
    /// The bytes do not divide into attributes.
    #[error("interface message: {0}")]
    Attribute(#[from] CutAttribute),
    /// An interface without a name.
    #[error("interface {0} without a name")]
    Nameless(u32),
    /// An address entry without an address.
    #[error("interface {0} with an unreadable address")]
    Addressless(u32),
}

/// The payload of a dump request for all interfaces, without their statistics.
#[must_use]
pub fn link_request() -> Vec<u8> {
    const IFLA_EXT_MASK: u16 = 29;
    const RTEXT_FILTER_SKIP_STATS: u32 = 8;
    Builder::after(&[0; LINK]).put(IFLA_EXT_MASK, &RTEXT_FILTER_SKIP_STATS.to_ne_bytes()).finish()
}

/// The payload of a dump request for all addresses of both families.
#[must_use]
pub fn address_request() -> Vec<u8> {
    vec![0; ADDRESS]
}

/// Reads an [interface](NEW_LINK); its addresses come by themselves, see [`decode_address`].
///
/// # Errors
/// See [`RtnetlinkError`].
pub fn decode_link(payload: &[u8]) -> Result<Interface, RtnetlinkError> {
    const IFLA_IFNAME: u16 = 3;
    const IFF_UP: u32 = 1;
    const IFF_LOOPBACK: u32 = 8;
    let short = RtnetlinkError::Short { what: "interface", length: payload.len() };
    let head: &[u8; LINK] = payload.first_chunk().ok_or(short)?;
    let [.., i0, i1, i2, i3, f0, f1, f2, f3, _, _, _, _] = *head;
    let index = u32::from_ne_bytes([i0, i1, i2, i3]);
    let flags = u32::from_ne_bytes([f0, f1, f2, f3]);
    let mut name = None;
    for attribute in attributes(payload.get(LINK..).unwrap_or_default()) {
        let attribute = attribute?;
        if attribute.kind == IFLA_IFNAME {
            name = Some(attribute.text());
        }
    }
    Ok(Interface {
        index,
        name: name.ok_or(RtnetlinkError::Nameless(index))?,
        loopback: flags & IFF_LOOPBACK != 0,
        up: flags & IFF_UP != 0,
        addresses: Vec::new(),
    })
}

/// Reads an [address](NEW_ADDRESS): index of its interface, the interface's own address, prefix length.
///
/// # Errors
/// See [`RtnetlinkError`].
pub fn decode_address(payload: &[u8]) -> Result<(u32, IpAddr, u8), RtnetlinkError> {
    const IFA_ADDRESS: u16 = 1;
    const IFA_LOCAL: u16 = 2;
    let short = RtnetlinkError::Short { what: "address", length: payload.len() };
    let [_, prefix, _, _, i0, i1, i2, i3] = *payload.first_chunk::<ADDRESS>().ok_or(short)?;
    let index = u32::from_ne_bytes([i0, i1, i2, i3]);
    let (mut address, mut local) = (None, None);
    for attribute in attributes(payload.get(ADDRESS..).unwrap_or_default()) {
        let attribute = attribute?;
        match attribute.kind {
            IFA_ADDRESS => address = ip(&attribute),
            IFA_LOCAL => local = ip(&attribute),
            _ => {}
        }
    }
    // On a point-to-point interface IFA_ADDRESS is the other end; IFA_LOCAL, where sent, is always our own.
    let own = local.or(address).ok_or(RtnetlinkError::Addressless(index))?;
    Ok((index, own, prefix))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn link() -> Vec<u8> {
        let mut head = vec![0, 0, 0, 0];
        for word in [1_u32, 0x1_0049, 0] {
            head.extend(word.to_ne_bytes());
        }
        Builder::after(&head).put(13, &[0; 4]).put_text(3, "lo").finish()
    }

    fn address(local: Option<[u8; 4]>) -> Vec<u8> {
        let mut head = vec![2, 24, 0, 0];
        head.extend(7_u32.to_ne_bytes());
        let message = Builder::after(&head).put(1, &[10, 0, 0, 1]);
        match local {
            Some(own) => message.put(2, &own).finish(),
            None => message.finish(),
        }
    }

    #[test]
    fn the_loopback_interface() {
        let interface = decode_link(&link()).expect("an interface");
        assert_eq!((interface.index, interface.name.as_str()), (1, "lo"));
        assert!(interface.loopback && interface.up);
    }

    #[test]
    fn the_own_address_of_a_point_to_point_interface() {
        let own = decode_address(&address(Some([10, 0, 0, 2])));
        assert_eq!(own, Ok((7, IpAddr::from([10, 0, 0, 2]), 24)));
        assert_eq!(decode_address(&address(None)), Ok((7, IpAddr::from([10, 0, 0, 1]), 24)));
    }

    #[test]
    fn cut_messages_are_errors() {
        assert_eq!(decode_link(&link()[..LINK]), Err(RtnetlinkError::Nameless(1)));
        assert!(decode_link(&link()[..LINK - 1]).is_err());
        assert_eq!(decode_address(&address(None)[..ADDRESS]), Err(RtnetlinkError::Addressless(7)));
        assert!(decode_address(&[2]).is_err());
    }

    proptest! {
        #[test]
        fn any_bytes_give_an_answer(bytes in proptest::collection::vec(any::<u8>(), 0..128)) {
            let _ = decode_link(&bytes);
            let _ = decode_address(&bytes);
        }
    }
}
