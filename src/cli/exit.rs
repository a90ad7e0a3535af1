//! Exit codes: an interface for scripts. The table in `docs/exit-codes.md` says the same, and a test holds them together.

/// What the program's end means.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub enum Exit {
    /// Done; nothing found, nothing differs.
    Done = 0,
    /// Differences were found.
    Differs = 1,
    /// Wrong usage, or input that is not understood.
    Usage = 2,
    /// The target was not found, or is ambiguous.
    NotFound = 3,
    /// Not permitted to read what the command is about.
    NotPermitted = 4,
    /// A part that was needed could not be read or decided; what is printed is still true.
    CannotTell = 5,
    /// The runtime or the kernel failed or timed out.
    Failed = 6,
}

/// Which one wins when several apply: the first of these.
pub const ORDER: [Exit; 7] =
    [Exit::Usage, Exit::NotFound, Exit::NotPermitted, Exit::Failed, Exit::Differs, Exit::CannotTell, Exit::Done];

impl Exit {
    /// The code that stands for all of these.
    pub fn of(all: impl IntoIterator<Item = Self>) -> Self {
        let all: Vec<Self> = all.into_iter().collect();
        ORDER.into_iter().find(|exit| all.contains(exit)).unwrap_or(Self::Done)
    }

    /// The number.
    #[must_use]
    pub fn code(self) -> u8 {
        self as u8
    }
}

#[cfg(test)]
mod tests {
    use super::{Exit, ORDER};

    #[test]
    fn the_graver_one_wins() {
        assert_eq!(Exit::of([Exit::CannotTell, Exit::Differs]), Exit::Differs);
        assert_eq!(Exit::of([Exit::Failed, Exit::NotPermitted]), Exit::NotPermitted);
        assert_eq!(Exit::of([]), Exit::Done);
    }

    #[test]
    fn the_documentation_has_the_same_table_and_order() {
        let text = include_str!("../../docs/exit-codes.md");
        let rows =
            text.lines().filter_map(|line| line.strip_prefix("| ")?.split(" |").next()?.trim().parse::<u8>().ok());
        let mut codes: Vec<u8> = ORDER.iter().map(|exit| exit.code()).collect();
        let order = format!("{}, then {}", join(&codes[..4]), join(&codes[4..]));
        assert!(text.contains(&order), "docs/exit-codes.md must say: {order}");
        codes.sort_unstable();
        assert_eq!(rows.collect::<Vec<_>>(), codes);
    }

    fn join(codes: &[u8]) -> String {
        codes.iter().map(u8::to_string).collect::<Vec<_>>().join(", ")
    }
}
