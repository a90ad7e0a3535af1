//! Numbers that look random and are the same for the same seed.

/// `splitmix64`
#[derive(Debug, Clone)]
pub(super) struct Chance(u64);

impl Chance {
    pub(super) fn new(seed: u64) -> Self {
        Self(seed)
    }

    pub(super) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    /// Less than this.
    pub(super) fn below(&mut self, limit: usize) -> usize {
        usize::try_from(self.next() % limit.max(1) as u64).unwrap_or_default()
    }

    /// So often of a hundred times.
    pub(super) fn percent(&mut self, of_hundred: usize) -> bool {
        self.below(100) < of_hundred
    }

    /// One of these.
    pub(super) fn one<'a, T>(&mut self, of: &'a [T]) -> &'a T {
        &of[self.below(of.len())]
    }

    /// One of these words.
    pub(super) fn word(&mut self, of: &str) -> String {
        let words: Vec<&str> = of.split_whitespace().collect();
        (*self.one(&words)).to_owned()
    }

    /// One of these texts, which a bar parts.
    pub(super) fn text(&mut self, of: &str) -> String {
        let texts: Vec<&str> = of.split('|').map(str::trim).collect();
        (*self.one(&texts)).to_owned()
    }
}
