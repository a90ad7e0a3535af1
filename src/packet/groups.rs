//! Further groups of a packet's owner, by value: a packet is copied for every question.

/// Most groups that are kept; with more of them the answer is "cannot know".
const MOST: usize = 16;

/// The supplementary groups of the process that opened a socket.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub struct Groups {
    numbers: [u32; MOST],
    count: u8,
}

impl Groups {
    /// These groups; `None` where there are more than 16.
    #[must_use]
    pub fn new(groups: &[u32]) -> Option<Self> {
        let (mut numbers, count) = ([0; MOST], u8::try_from(groups.len()).ok()?);
        numbers.get_mut(..groups.len())?.copy_from_slice(groups);
        Some(Self { numbers, count })
    }

    /// Their numbers.
    #[must_use]
    pub fn all(&self) -> &[u32] {
        self.numbers.get(..usize::from(self.count)).unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sixteen_groups_are_kept_and_seventeen_are_not() {
        let many: Vec<u32> = (100..117).collect();
        assert_eq!(Groups::new(&many), None);
        assert_eq!(Groups::new(&many[1..]).map(|groups| groups.all().to_vec()), Some(many[1..].to_vec()));
        assert_eq!(Groups::new(&[]), Some(Groups::default()));
        assert_eq!(Groups::default().all(), [0_u32; 0]);
    }
}
