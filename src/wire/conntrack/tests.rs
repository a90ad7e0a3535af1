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

/// Attributes of an entry that has everything, as numbers and nested attributes.
fn everything() -> Builder {
    let addresses = Builder::default().put(1, &[10, 0, 0, 2]).put(2, &[10, 0, 0, 5]);
    let ports = Builder::default().put(1, &[6]).put(2, &1000_u16.to_be_bytes()).put(3, &80_u16.to_be_bytes());
    let tuple = Builder::default().put_nested(1, &addresses).put_nested(2, &ports);
    let icmp = Builder::default().put(1, &[1]).put(4, &77_u16.to_be_bytes()).put(5, &[8]).put(6, &[3]);
    let echo = Builder::default().put_nested(1, &addresses).put_nested(2, &icmp).put(3, &9_u16.to_be_bytes());
    let be64 = |number: u64| number.to_be_bytes();
    let tcp =
        Builder::default().put(1, &[12]).put(2, &[7]).put(3, &[8]).put(4, &[0x23, 0]).put(5, &[1, 1]).put(9, &[5]);
    let three = |one: u32| Builder::default().put_be32(1, one).put_be32(2, u32::MAX).put_be32(3, 3);
    let mut labels = [0_u8; 16];
    labels[..8].copy_from_slice(&(1_u64 << 5).to_ne_bytes());
    labels[8..].copy_from_slice(&(1_u64 << 63).to_ne_bytes());
    Builder::after(&[2, 0, 0, 0])
        .put_nested(CTA_TUPLE_ORIG, &tuple)
        .put_nested(CTA_TUPLE_REPLY, &echo)
        .put_be32(CTA_STATUS, 0xe)
        .put_be32(CTA_ID, 5)
        .put_nested(CTA_PROTOINFO, &Builder::default().put_nested(1, &tcp))
        .put_nested(CTA_HELP, &Builder::default().put_text(1, "ftp").put(2, &[1, 2]))
        .put_nested(CTA_SECCTX, &Builder::default().put_text(1, "system_u:object_r:unlabeled_t"))
        .put_nested(CTA_TIMESTAMP, &Builder::default().put(1, &be64(11)).put(2, &be64(12)))
        .put(CTA_LABELS, &labels)
        .put_nested(CTA_SYNPROXY, &three(1))
        .put_nested(CTA_SEQ_ADJ_ORIG, &three(2))
        .put_nested(CTA_SEQ_ADJ_REPLY, &three(4))
        .put_nested(CTA_TUPLE_MASTER, &tuple)
        .put_be32(CTA_USE, 2)
        .put(CTA_MARK, &[1, 2])
        .put(99, &[0xab])
}

#[test]
fn every_attribute_is_read_and_strange_ones_are_kept() {
    let flow = decode(&everything().finish()).expect("a flow");
    let details = &flow.details;
    assert_eq!(flow.state.as_deref(), Some("UNKNOWN_12"));
    let side = |scale, flags| TcpSide { scale, flags };
    let tcp = Transport::Tcp { original: side(Some(7), Some(0x23)), reply: side(Some(8), None) };
    assert_eq!(details.transport, Some(tcp));
    assert_eq!(
        (details.helper.as_deref(), details.security.as_deref()),
        (Some("ftp"), Some("system_u:object_r:unlabeled_t"))
    );
    assert_eq!((details.started, details.stopped, details.holders), (Some(11), Some(12), Some(2)));
    assert_eq!(*details.labels, [5, 127]);
    let synproxy = SynProxy { sequence: 1, timestamp: u32::MAX, offset: 3 };
    assert_eq!(details.synproxy.as_deref(), Some(&synproxy));
    let adjusted = |position| Some(Box::new(Adjustment { position, before: -1, after: 3 }));
    assert_eq!((&details.original.adjusted, &details.reply.adjusted), (&adjusted(2), &adjusted(4)));
    let master = details.master.as_deref().expect("a master");
    assert_eq!(
        (master.source.to_string(), master.destination.to_string()),
        ("10.0.0.2:1000".into(), "10.0.0.5:80".into())
    );
    let icmp = details.reply.icmp.expect("ICMP");
    assert_eq!((icmp.kind, icmp.code, icmp.id, details.reply.zone, flow.zone), (8, 3, 77, Some(9), 9));
    let kept: Vec<(&str, &str)> = details.unknown.iter().map(|part| (&*part.at, &*part.bytes)).collect();
    assert_eq!(kept, [("4.1.5", "0101"), ("4.1.9", "05"), ("5.2", "0102"), ("8", "0102"), ("99", "ab")]);
}

#[test]
fn sctp_and_dccp_have_their_own_states() {
    let with = |part: &Builder, kind| {
        let message = everything().put_nested(CTA_PROTOINFO, &Builder::default().put_nested(kind, part)).finish();
        let flow = decode(&message).expect("a flow");
        (flow.state.map(String::from), flow.details.transport)
    };
    let sctp = Builder::default().put(1, &[4]).put_be32(2, 5).put_be32(3, 6);
    let read = Transport::Sctp { original: Some(5), reply: Some(6) };
    assert_eq!(with(&sctp, 3), (Some("ESTABLISHED".into()), Some(read)));
    let dccp = Builder::default().put(1, &[3]).put(2, &[1]).put(3, &7_u64.to_be_bytes()).put(4, &[]);
    let read = Transport::Dccp { role: Some(1), handshake: Some(7) };
    assert_eq!(with(&dccp, 2), (Some("PARTOPEN".into()), Some(read)));
}

#[test]
fn what_is_said_of_the_table() {
    let counted =
        table::decode_cpu(&Builder::after(&[0, 0, 1, 2]).put_be32(2, 7).put_be32(9, 8).put_be32(40, 9).finish());
    let counted = counted.expect("counters");
    let counters: Vec<(&str, u32)> = counted.counters.iter().map(|(name, value)| (name.as_str(), *value)).collect();
    assert_eq!((counted.cpu, &*counters), (258, &[("found", 7), ("insert_failed", 8), ("counter_40", 9)][..]));
    let full = table::decode_use(&Builder::after(&[0; 4]).put_be32(1, 5).put_be32(2, 9).finish()).expect("numbers");
    assert_eq!((full.count, full.limit), (5, 9));
    assert!(table::decode_use(&Builder::after(&[0; 4]).put_be32(1, 5).finish()).is_err());
    assert!(table::decode_cpu(&[0; 3]).is_err() && table::decode_expected(&[0; 4]).is_err());
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
        let _ = (decode(&bytes), table::decode_cpu(&bytes), table::decode_use(&bytes), table::decode_expected(&bytes));
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
