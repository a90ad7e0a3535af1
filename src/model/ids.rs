//! Users and groups in two numberings: the node's, and the one of the user namespace that owns a network namespace (K14).

use serde::{Deserialize, Serialize};

/// How the user namespace that owns a network namespace counts users and groups (user_namespaces(7)). Rules that ask for an owner
/// are evaluated with these numbers; all numbers of sockets and processes are the node's.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct IdMaps {
    /// Users.
    pub uids: Vec<IdRange>,
    /// Groups.
    pub gids: Vec<IdRange>,
}

/// Numbers that follow one another in both numberings.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct IdRange {
    /// The first inside.
    pub inside: u32,
    /// The same as the node counts.
    pub outside: u32,
    /// How many.
    pub count: u32,
}

impl IdMaps {
    /// The maps of a namespace that counts as the node does.
    #[must_use]
    pub fn same() -> Self {
        let all = vec![IdRange { inside: 0, outside: 0, count: u32::MAX }];
        Self { uids: all.clone(), gids: all }
    }

    /// Reads `/proc/PID/uid_map` and `gid_map`: lines of `INSIDE OUTSIDE COUNT`. `None` where one is something else, or empty:
    /// then nobody is known inside.
    #[must_use]
    pub fn parse(uid_map: &str, gid_map: &str) -> Option<Self> {
        Some(Self { uids: ranges(uid_map)?, gids: ranges(gid_map)? })
    }

    /// The number inside of a user as the node counts; `None` where it has none.
    #[must_use]
    pub fn inside_uid(&self, uid: u32) -> Option<u32> {
        inside(&self.uids, uid)
    }

    /// The number that the node gives to a user inside; `None` where there is no such user.
    #[must_use]
    pub fn outside_uid(&self, uid: u32) -> Option<u32> {
        self.uids.iter().find_map(|range| {
            let offset = uid.checked_sub(range.inside).filter(|offset| *offset < range.count)?;
            range.outside.checked_add(offset)
        })
    }

    /// The number inside of a group as the node counts; `None` where it has none.
    #[must_use]
    pub fn inside_gid(&self, gid: u32) -> Option<u32> {
        inside(&self.gids, gid)
    }
}

fn ranges(map: &str) -> Option<Vec<IdRange>> {
    let range = |line: &str| {
        let mut words = line.split_ascii_whitespace().map(str::parse::<u32>);
        let (inside, outside, count) = (words.next()?.ok()?, words.next()?.ok()?, words.next()?.ok()?);
        words.next().is_none().then_some(IdRange { inside, outside, count })
    };
    let ranges: Option<Vec<_>> = map.lines().map(range).collect();
    ranges.filter(|ranges| !ranges.is_empty())
}

fn inside(ranges: &[IdRange], outside: u32) -> Option<u32> {
    ranges.iter().find_map(|range| {
        let offset = outside.checked_sub(range.outside).filter(|offset| *offset < range.count)?;
        range.inside.checked_add(offset)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn users_are_counted_as_inside() {
        let pod = IdMaps::parse("0 100000 65536\n70000 7 1\n", "         0     200000      10\n").expect("maps");
        assert_eq!((pod.inside_uid(101_337), pod.inside_uid(7)), (Some(1337), Some(70_000)));
        assert_eq!((pod.inside_gid(200_009), pod.inside_gid(200_010)), (Some(9), None));
        for other in [0, 8, 99_999, 165_536, u32::MAX] {
            assert_eq!(pod.inside_uid(other), None, "{other}");
        }
        assert_eq!(IdMaps::same().inside_uid(1337), Some(1337));
        assert_eq!(IdMaps::same().inside_uid(u32::MAX), None, "that number is nobody");
        for bad in ["", "a b c\n", "0 0\n", "0 0 1 1\n", "0 0 4294967296"] {
            assert_eq!(IdMaps::parse(bad, "0 0 1"), None, "{bad:?}");
        }
        let end = IdMaps { uids: vec![IdRange { inside: u32::MAX, outside: 0, count: 2 }], gids: Vec::new() };
        assert_eq!((end.inside_uid(0), end.inside_uid(1)), (Some(u32::MAX), None));
    }
}
