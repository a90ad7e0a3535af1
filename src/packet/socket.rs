//! What rules ask of the socket that a packet which comes in is for: bits of one field, none where there is no such socket.

/// There is one.
pub const EXISTS: u8 = 1;
/// It is transparent (`IP_TRANSPARENT`).
pub const TRANSPARENT: u8 = 1 << 1;
/// It is bound to an address, or connected.
pub const BOUND: u8 = 1 << 2;
/// It is a whole one: neither a handshake that is not over nor one that waits for the last packets.
pub const FULL: u8 = 1 << 3;
