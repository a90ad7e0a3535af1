//! The name of a device, by value: a packet has four of them and is copied for every question.

use std::fmt;

/// `IFNAMSIZ`, the byte at the end included (`include/uapi/linux/if.h`).
const SIZE: usize = 16;

/// The name of a network device: at most 15 bytes.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct DeviceName {
    bytes: [u8; SIZE],
    length: u8,
}

impl DeviceName {
    /// The loopback device.
    pub const LOOPBACK: Self = Self { bytes: *b"lo\0\0\0\0\0\0\0\0\0\0\0\0\0\0", length: 2 };

    /// The name; `None` where no device can be called so.
    #[must_use]
    pub fn new(name: &str) -> Option<Self> {
        let mut bytes = [0; SIZE];
        let length = u8::try_from(name.len()).ok().filter(|length| usize::from(*length) < SIZE)?;
        bytes.get_mut(..name.len())?.copy_from_slice(name.as_bytes());
        Some(Self { bytes, length })
    }

    /// It as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        std::str::from_utf8(self.as_bytes()).unwrap_or_default()
    }

    /// Its bytes, without the one at the end.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8] {
        self.bytes.get(..usize::from(self.length)).unwrap_or_default()
    }
}

impl fmt::Debug for DeviceName {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(self.as_str(), formatter)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_has_at_most_fifteen_bytes() {
        assert_eq!(DeviceName::new("lo"), Some(DeviceName::LOOPBACK));
        assert_eq!(
            DeviceName::new("veth0123456789a").map(|name| name.as_str().to_owned()).as_deref(),
            Some("veth0123456789a")
        );
        assert_eq!(DeviceName::new("veth0123456789ab"), None);
        assert_eq!(DeviceName::new("").map(|name| name.as_str().len()), Some(0));
    }
}
