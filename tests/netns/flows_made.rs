//! Tracked flows made over netlink, as many as are wanted: no packet is sent.

use nslens::sys::netlink::{ACK, GET, NETFILTER, NetlinkSocket};
use nslens::sys::netns::Netns;
use nslens::wire::attribute::Builder;
use nslens::wire::conntrack::NEW;

/// Makes so many flows of TCP in a namespace, each with ends of its own that its number gives, from this one on.
pub(crate) fn make_from(netns: &Netns, first: u32, count: u32) {
    const CREATE: u16 = 0x600; // NLM_F_CREATE | NLM_F_EXCL
    let mut socket = netns.enter(|| NetlinkSocket::open(NETFILTER)).expect("entered").expect("a socket");
    let numbers: Vec<u32> = (first..first + count).collect();
    for some in numbers.chunks(100) {
        let flags = |number| if Some(number) == some.last() { ACK } else { GET };
        let messages: Vec<_> = some.iter().map(|number| (NEW, flags(number) | CREATE, flow(*number))).collect();
        socket.transact(&messages).expect("the flows are made");
    }
}

fn flow(number: u32) -> Vec<u8> {
    let [_, high, middle, low] = number.to_be_bytes();
    let (client, server) = (([10, high, middle, low], 1024_u16), ([10, 200, 0, 5], 443_u16));
    let tuple = |source: ([u8; 4], u16), destination: ([u8; 4], u16)| {
        let addresses = Builder::default().put(1, &source.0).put(2, &destination.0);
        let ports =
            Builder::default().put(1, &[6]).put(2, &source.1.to_be_bytes()).put(3, &destination.1.to_be_bytes());
        Builder::default().put_nested(1, &addresses).put_nested(2, &ports)
    };
    let state = Builder::default().put_nested(1, &Builder::default().put(1, &[3]));
    Builder::after(&[2, 0, 0, 0])
        .put_nested(1, &tuple(client, server))
        .put_nested(2, &tuple(server, client))
        .put_nested(4, &state)
        .put_be32(7, 3600)
        .finish()
}
