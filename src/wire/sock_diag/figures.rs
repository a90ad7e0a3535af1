//! TCP's own figures of a connection: `struct tcp_info` (`include/uapi/linux/tcp.h`).

use crate::model::TcpFigures;

/// Reads the structure, which every kernel so far has made longer and none changed. `None` where it is shorter than what all had.
pub(super) fn decode(bytes: &[u8]) -> Option<TcpFigures> {
    /// What Linux 2.6.37 had, up to `tcpi_total_retrans`.
    const FIRST: usize = 104;
    let word = |at: usize| bytes.get(at..)?.first_chunk().map(|word| u32::from_ne_bytes(*word));
    let long = |at: usize| bytes.get(at..)?.first_chunk().map(|word| u64::from_ne_bytes(*word));
    bytes.get(..FIRST)?;
    Some(TcpFigures {
        rtt: word(68)?,
        rtt_deviation: word(72)?,
        congestion_window: word(80)?,
        retransmitting: word(36)?,
        retransmits: word(100)?,
        unacknowledged: word(24)?,
        last_sent: word(44)?,
        last_received: word(52)?,
        last_acknowledged: word(56)?,
        bytes_acknowledged: long(120),
        bytes_received: long(128),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_old_kernels_structure_has_fewer_figures() {
        let mut bytes: Vec<u8> = (0_u32..60).flat_map(u32::to_ne_bytes).collect();
        let whole = decode(&bytes).expect("figures");
        assert_eq!((whole.rtt, whole.congestion_window, whole.retransmits), (17, 20, 25));
        assert!(whole.bytes_acknowledged.is_some() && whole.bytes_received.is_some());
        bytes.truncate(104);
        let old = decode(&bytes).expect("figures");
        assert_eq!((old.rtt, old.bytes_acknowledged, old.bytes_received), (17, None, None));
        bytes.truncate(103);
        assert_eq!(decode(&bytes), None);
    }
}
