//! Entries as a kernel sent them, built by hand, cut and damaged.

use proptest::prelude::*;

use super::*;
use crate::model::Protocol;
use crate::wire::attribute::Builder;

/// A redirected connection as Linux 6.18 sent it, accounting on.
const REDIRECTED: &str = "02000000\
    34000180 14000180 080001000a000002 080002000a090909 1c000280 0500010006000000 06000200e9ba0000 0600030000500000\
    34000280 14000180 080001007f000001 080002000a000002 1c000280 0500010006000000 060002003a990000 06000300e9ba0000\
    08000300000001ae 0800080000000000 08000c00a58f2cb5 08000b0000000001 080007000006977f\
    30000480 2c000180 0500010003000000 050002000a000000 050003000a000000 0600040023000000 0600050023000000\
    1c000980 0c0001000000000000000002 0c0002000000000000000070\
    1c000a80 0c0001000000000000000001 0c000200000000000000003c";

fn bytes(hexadecimal: &str) -> Vec<u8> {
    let digits: Vec<u8> = hexadecimal
        .chars()
        .filter_map(|digit| digit.to_digit(16))
        .map(|digit| u8::try_from(digit).expect("a digit"))
        .collect();
    digits.chunks(2).map(|pair| pair[0] << 4 | pair[1]).collect()
}

#[test]
fn a_redirected_connection() {
    let flow = decode(&bytes(REDIRECTED)).expect("a flow");
    assert_eq!(flow.original.0.to_string(), "10.0.0.2:59834");
    assert_eq!(flow.original.1.to_string(), "10.9.9.9:80");
    assert_eq!(flow.reply.0.to_string(), "127.0.0.1:15001");
    assert_eq!(flow.reply.1.to_string(), "10.0.0.2:59834");
    assert_eq!((flow.protocol, flow.state.as_deref()), (Protocol::Tcp, Some("ESTABLISHED")));
    assert_eq!((flow.status, flow.mark, flow.zone, flow.id), (0x1ae, 0, 0, 0xa58f_2cb5));
    assert_eq!((flow.timeout, flow.packets, flow.bytes), (Some(431_999), Some(3), Some(172)));
}

fn one_way(source: [u8; 16], destination: [u8; 16], protocol: &Builder) -> Builder {
    let addresses = Builder::default().put(3, &source).put(4, &destination);
    Builder::default().put_nested(1, &addresses).put(3, &7_u16.to_be_bytes()).put_nested(2, protocol)
}

#[test]
fn icmpv6_has_no_ports_and_a_zone_may_stand_in_a_tuple() {
    let protocol = Builder::default().put(1, &[58]).put(7, &99_u16.to_be_bytes()).put(8, &[128]);
    let mut to = [0; 16];
    to[15] = 1;
    let message = Builder::after(&[10, 0, 0, 0])
        .put_nested(CTA_TUPLE_ORIG, &one_way([0; 16], to, &protocol))
        .put_nested(CTA_TUPLE_REPLY, &one_way(to, [0; 16], &protocol))
        .put_be32(CTA_STATUS, 0)
        .put_be32(CTA_ID, 1)
        .finish();
    let flow = decode(&message).expect("a flow");
    assert_eq!((flow.protocol, flow.zone, flow.state), (Protocol::Other(58), 7, None));
    assert_eq!(flow.original.1.to_string(), "[::1]:0");
    assert_eq!((flow.packets, flow.timeout), (None, None));
}

#[test]
fn an_entry_without_tuples_is_an_error() {
    assert_eq!(decode(&[2, 0, 0, 0]), Err(ConntrackError::Missing("an original tuple")));
    assert_eq!(decode(&[2, 0]), Err(ConntrackError::Short(2)));
}

#[test]
fn every_cut_before_the_id_is_an_error() {
    let whole = bytes(REDIRECTED);
    for length in 0..(4 + 52 + 52 + 8 + 8 + 8) {
        assert!(decode(&whole[..length]).is_err(), "cut at {length}");
    }
}

proptest! {
    #[test]
    fn any_bytes_give_an_answer(bytes in proptest::collection::vec(any::<u8>(), 0..512)) {
        let _ = decode(&bytes);
    }

    #[test]
    fn a_damaged_message_gives_an_answer(at in 0_usize..252, byte: u8, cut in 0_usize..256) {
        let mut message = bytes(REDIRECTED);
        if let Some(place) = message.get_mut(at) {
            *place = byte;
        }
        message.truncate(cut);
        let _ = decode(&message);
    }
}
