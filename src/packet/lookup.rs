//! What rules ask of the routing tables about a packet: the tables are no part of it, so answers are kept with it once they are asked.

/// A question to the routing tables about one of a packet's addresses.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Lookup {
    /// What is wanted.
    pub wanted: Wanted,
    /// About the destination rather than the source.
    pub destination: bool,
    /// The device that it is about, too.
    pub by: By,
    /// With the packet's mark.
    pub mark: bool,
}

/// What is wanted of the routing tables.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Wanted {
    /// Types of an address, a bit for each `RTN_*`, as `-m addrtype` has them: of IPv6 there may be several.
    Types,
    /// The one type, as a bit, as nft's `fib` has it.
    Type,
    /// Index of the device by which the address is reached; 0 for none.
    Device,
}

/// The device that a question is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum By {
    /// None.
    Any,
    /// That by which the packet came in.
    Input,
    /// That by which it leaves.
    Output,
}

/// Answers that are kept.
const KEPT: usize = 4;

/// The last answers of the routing tables about a packet.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct LookedUp([Option<(Lookup, u32)>; KEPT]);

impl LookedUp {
    /// The answer to a question, where it was asked.
    #[must_use]
    pub fn get(&self, lookup: Lookup) -> Option<u32> {
        self.0.iter().flatten().find(|(asked, _)| *asked == lookup).map(|(_, answer)| *answer)
    }

    /// Keeps an answer, or that there is none; the one that is longest known goes.
    pub fn set(&mut self, lookup: Lookup, answer: Option<u32>) {
        let place = self.0.iter().position(|kept| kept.is_some_and(|(asked, _)| asked == lookup)).unwrap_or(KEPT - 1);
        if let Some(row) = self.0.get_mut(..=place) {
            row.rotate_right(1);
        }
        let [first, ..] = &mut self.0;
        *first = answer.map(|answer| (lookup, answer));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_answers_are_kept_and_one_that_is_not_known_is_none() {
        let of = |mark, destination, by| Lookup { wanted: Wanted::Type, destination, by, mark };
        let all = [of(false, false, By::Any), of(false, true, By::Any), of(true, true, By::Any)];
        let mut known = LookedUp::default();
        for (answer, lookup) in (1..).zip(all) {
            known.set(lookup, Some(answer));
        }
        assert_eq!(all.map(|lookup| known.get(lookup)), [Some(1), Some(2), Some(3)]);
        known.set(all[0], Some(7));
        known.set(all[1], None);
        assert_eq!(all.map(|lookup| known.get(lookup)), [Some(7), None, Some(3)]);
        for by in [By::Any, By::Input, By::Output] {
            known.set(of(true, false, by), Some(9));
        }
        assert_eq!((known.get(all[2]), known.get(of(true, false, By::Any))), (None, Some(9)));
    }
}
