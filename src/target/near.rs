//! Names that someone may have meant.

/// How many are offered.
const OFFERED: usize = 3;

/// The known names nearest to the one asked for: few typing errors away, or one begins with the other.
#[must_use]
pub fn names<'a>(asked: &str, known: impl IntoIterator<Item = &'a str>) -> Vec<String> {
    let allowed = (asked.chars().count() / 3).clamp(1, 3);
    let mut near: Vec<(usize, &str)> = known
        .into_iter()
        .filter_map(|name| {
            let distance = distance(asked, name);
            let begins = asked.len() >= 3 && (name.starts_with(asked) || asked.starts_with(name) && name.len() >= 3);
            (distance <= allowed || begins).then_some((distance, name))
        })
        .collect();
    near.sort_unstable();
    near.dedup();
    near.into_iter().take(OFFERED).map(|(_, name)| name.to_owned()).collect()
}

/// Levenshtein's distance: insertions, deletions and substitutions of characters.
fn distance(left: &str, right: &str) -> usize {
    let right: Vec<char> = right.chars().collect();
    let mut row: Vec<usize> = (0..=right.len()).collect();
    for (i, from) in left.chars().enumerate() {
        let mut diagonal = row[0];
        row[0] = i + 1;
        for (j, to) in right.iter().enumerate() {
            let substituted = diagonal + usize::from(from != *to);
            diagonal = row[j + 1];
            row[j + 1] = substituted.min(diagonal + 1).min(row[j] + 1);
        }
    }
    row[right.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn distances_are_levenshteins() {
        for (left, right, wanted) in [
            ("", "", 0),
            ("web", "web", 0),
            ("", "web", 3),
            ("kitten", "sitting", 3),
            ("flaw", "lawn", 2),
            ("ü", "u", 1),
        ] {
            assert_eq!(distance(left, right), wanted, "{left} {right}");
            assert_eq!(distance(right, left), wanted, "{right} {left}");
        }
    }

    #[test]
    fn the_nearest_come_first_and_strangers_do_not_come() {
        let known = ["productpage", "productpage-v1-7d9f", "reviews", "ratings", "web"];
        assert_eq!(names("prodctpage", known), ["productpage"]);
        assert_eq!(names("productpage-v1", known), ["productpage", "productpage-v1-7d9f"]);
        assert_eq!(names("wbe", known), Vec::<String>::new());
        assert_eq!(names("wb", known), ["web"]);
        assert!(names("database", known).is_empty());
    }
}
