//! What targets change in a packet's headers, and the packet goes on.

use crate::packet::{Known, Packet};
use crate::xt::Effect;
use crate::xt::targets::Hops;

/// Number of the TCP option that names the maximum segment size.
const SEGMENT_SIZE: usize = 2;

/// Changes the header of which the effect tells; others leave it alone.
pub(super) fn change(packet: &mut Packet, effect: &Effect) {
    match effect {
        Effect::Hops(hops) => packet.hop_limit = hopped(&packet.hop_limit, *hops),
        Effect::TrafficClass { value, mask } => {
            packet.traffic_class = changed(&packet.traffic_class, *value, *mask);
        }
        Effect::Congestion { codepoint, set, cleared } => {
            if let Some(value) = codepoint {
                packet.traffic_class = changed(&packet.traffic_class, *value, 3);
            }
            packet.tcp_flags = match &packet.tcp_flags {
                Known::Is(flags) => Known::Is(flags & !cleared | set),
                other => *other,
            };
        }
        // An option that is overwritten is there no more.
        Effect::TcpOptions([first, ..]) if first & (1 << SEGMENT_SIZE) != 0 => packet.maximum_segment = Known::Absent,
        Effect::SegmentSize(size) => {
            packet.maximum_segment = match (&packet.maximum_segment, size) {
                // It is never raised.
                (Known::Is(own), Some(size)) => Known::Is(*own.min(size)),
                _ => Known::Unknown,
            };
            // A SYN without the option gets one.
            packet.length = Known::Unknown;
        }
        _ => {}
    }
}

/// `(byte & !mask) ^ value`
fn changed(old: &Known<u8>, value: u8, mask: u8) -> Known<u8> {
    match old {
        Known::Is(old) => Known::Is(old & !mask ^ value),
        _ if mask == u8::MAX => Known::Is(value),
        _ => Known::Unknown,
    }
}

fn hopped(old: &Known<u8>, hops: Hops) -> Known<u8> {
    match (old, hops) {
        (_, Hops::Set(value)) => Known::Is(value),
        (Known::Is(old), Hops::Raise(by)) => Known::Is(old.saturating_add(by)),
        (Known::Is(old), Hops::Lower(by)) => Known::Is(old.saturating_sub(by)),
        _ => Known::Unknown,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn headers_change_as_the_kernel_changes_them() {
        let mut packet = Packet {
            hop_limit: Known::Is(60),
            traffic_class: Known::Is(0xff),
            maximum_segment: Known::Is(1400),
            ..Packet::default()
        };
        change(&mut packet, &Effect::Hops(Hops::Lower(61)));
        assert_eq!(packet.hop_limit, Known::Is(0));
        change(&mut packet, &Effect::Hops(Hops::Raise(255)));
        assert_eq!(packet.hop_limit, Known::Is(255));
        change(&mut packet, &Effect::TrafficClass { value: 0xb8, mask: 0xfc });
        assert_eq!(packet.traffic_class, Known::Is(0xbb));
        change(&mut packet, &Effect::Congestion { codepoint: Some(1), set: 0, cleared: 0xc0 });
        assert_eq!(packet.traffic_class, Known::Is(0xb9));
        change(&mut packet, &Effect::SegmentSize(Some(1460)));
        assert_eq!(packet.maximum_segment, Known::Is(1400));
        change(&mut packet, &Effect::SegmentSize(Some(536)));
        assert_eq!((&packet.maximum_segment, &packet.length), (&Known::Is(536), &Known::Unknown));
        change(&mut packet, &Effect::TcpOptions([8, 0, 0, 0, 0, 0, 0, 0]));
        assert_eq!(packet.maximum_segment, Known::Is(536));
        change(&mut packet, &Effect::TcpOptions([4, 0, 0, 0, 0, 0, 0, 0]));
        assert_eq!(packet.maximum_segment, Known::Absent);
    }

    #[test]
    fn what_is_not_known_stays_so_unless_it_is_set_whole() {
        let mut packet = Packet::default();
        change(&mut packet, &Effect::Hops(Hops::Lower(1)));
        change(&mut packet, &Effect::TrafficClass { value: 4, mask: 0xfc });
        assert_eq!((&packet.hop_limit, &packet.traffic_class), (&Known::Unknown, &Known::Unknown));
        change(&mut packet, &Effect::Hops(Hops::Set(64)));
        change(&mut packet, &Effect::TrafficClass { value: 4, mask: 0xff });
        assert_eq!((packet.hop_limit, packet.traffic_class), (Known::Is(64), Known::Is(4)));
    }
}
