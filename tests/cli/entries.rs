//! Legacy tables whose bytes somebody changed: nothing is hidden, nothing is guessed, no offset is taken on trust.

use nslens::model::Table;

use crate::kernel::legacy;
use crate::parsers::Legacy;

/// The recorded nat table after a change to its bytes.
fn changed(change: impl FnOnce(&mut Legacy)) -> Result<Table, String> {
    let mut table = legacy().into_iter().find(|table| !table.ipv6 && table.name == "nat").expect("the recording");
    change(&mut table);
    table.decode().map_err(|error| error.to_string())
}

/// Offset of an entry by its place in the table.
fn entry(table: &Legacy, wanted: usize) -> usize {
    let next = |at: usize| at + usize::from(u16::from_le_bytes([table.entries[at + 90], table.entries[at + 91]]));
    (0..wanted).fold(0, |at, _| next(at))
}

#[test]
fn the_last_rule_of_a_chain_is_hidden_only_when_it_is_the_one_that_nobody_wrote() {
    let whole = changed(|_| {}).expect("a real table");
    let count = |table: &Table| table.chains.iter().map(|chain| chain.rules.len()).sum::<usize>();
    // The entry before a chain's header, in a chain that ends with a RETURN of no one's: now it drops.
    let dropping = changed(|table| {
        let header = |at: usize| table.entries[at + 112 + 2..].starts_with(b"ERROR\0");
        let all: Vec<usize> =
            (0..40).map(|number| entry(table, number)).take_while(|at| at + 112 < table.entries.len()).collect();
        let headers: Vec<usize> = (0..all.len()).filter(|number| header(all[*number])).collect();
        let last = all[headers[1] - 1];
        table.entries[last + 112 + 32..last + 112 + 36].copy_from_slice(&(-1_i32).to_le_bytes());
    });
    assert_eq!(count(&dropping.expect("still a table")), count(&whole) + 1);
}

#[test]
fn what_no_tool_writes_is_an_error() {
    // An address with bits outside of its mask, a protocol that no packet has, a device's mask with a hole.
    for (offset, bytes) in [(0, &[1_u8, 0, 0, 0][..]), (80, &[6, 1]), (48, &[0, 255])] {
        let error = changed(|table| {
            let at = entry(table, 1);
            table.entries[at + offset..at + offset + bytes.len()].copy_from_slice(bytes);
        });
        assert!(error.as_ref().is_err_and(|error| error.contains("entry at byte")), "{offset}: {error:?}");
    }
}

#[test]
fn offsets_at_the_edge_of_numbers_are_refused() {
    for (field, value) in
        [(88, u16::MAX), (90, u16::MAX), (88, 0), (90, 0), (88, 112), (90, 112), (90, 143), (112, u16::MAX)]
    {
        let decoded = changed(|table| table.entries[field..field + 2].copy_from_slice(&value.to_le_bytes()));
        // A target at the very start of its entry is what the first entry of nat has.
        assert!(decoded.is_err() || (field, value) == (88, 112), "{field} {value}");
    }
    for verdict in [i32::MIN, -6, -3, 1, i32::MAX] {
        let decoded = changed(|table| table.entries[144..148].copy_from_slice(&verdict.to_le_bytes()));
        assert!(decoded.is_err(), "{verdict}: {decoded:?}");
    }
    let decoded = changed(|table| (table.info.hook_entry, table.info.underflow) = ([u32::MAX; 5], [u32::MAX; 5]));
    assert!(decoded.is_err());
}

/// Offsets of the first rules that jump, and of the table's end.
fn verdict_at(table: &Legacy, entry: usize) -> usize {
    entry + usize::from(u16::from_le_bytes([table.entries[entry + 88], table.entries[entry + 89]])) + 32
}

#[test]
fn a_jump_leads_to_the_beginning_of_a_chain_or_nowhere() {
    let length = changed(|_| {}).map(|_| legacy()).expect("a real table");
    let length = length.iter().find(|table| !table.ipv6 && table.name == "nat").expect("the recording").entries.len();
    let to = |offset: usize| {
        changed(|table| {
            let at = verdict_at(table, 0);
            table.entries[at..at + 4].copy_from_slice(&i32::try_from(offset).expect("small").to_le_bytes());
        })
    };
    let mut chains = 0;
    for offset in 0..=length + 8 {
        match to(offset) {
            Ok(table) => {
                chains += usize::from(
                    table.chains.iter().any(|chain| chain.rules.iter().any(|rule| rule.jumps_to().is_some())),
                )
            }
            Err(error) => assert!(error.contains("nothing"), "{offset}: {error}"),
        }
    }
    assert!(chains > 0, "no jump was understood");
    // Behind everything stands an entry that looks like the name of a chain.
    assert!(to(length).is_err(), "a jump to the end");
}

#[test]
fn a_table_that_is_cut_is_an_error_or_a_shorter_table() {
    let whole =
        legacy().into_iter().find(|table| !table.ipv6 && table.name == "nat").expect("the recording").entries.len();
    let cut: Vec<bool> = (0..whole).map(|at| changed(|table| table.entries.truncate(at)).is_ok()).collect();
    // Whole entries are left only where one ends.
    assert!(cut.iter().filter(|ok| **ok).count() < whole / 112);
}

#[test]
fn what_the_kernel_says_of_hooks_fits_the_entries() {
    let whole = changed(|_| {}).expect("a real table");
    let base = whole.chains.iter().filter(|chain| chain.hook.is_some()).count();
    assert!(base >= 4 && whole.chains.iter().filter(|chain| chain.policy.is_some()).count() == base);
    // A beginning or a policy in the middle of a rule, behind the end, or at that of another hook: else the rules of one hook would
    // stand at another.
    for hook in [0, 1, 3, 4] {
        for value in [1_u32, 8, u32::MAX] {
            let begins = changed(|table| table.info.hook_entry[hook] = table.info.hook_entry[hook].wrapping_add(value));
            assert!(begins.as_ref().is_err_and(|error| error.contains("entry at byte")), "{hook} {value}: {begins:?}");
            let policy = changed(|table| table.info.underflow[hook] = table.info.underflow[hook].wrapping_add(value));
            assert!(policy.as_ref().is_err_and(|error| error.contains("entry at byte")), "{hook} {value}: {policy:?}");
        }
        let other = changed(|table| table.info.hook_entry[hook] = table.info.hook_entry[if hook == 0 { 4 } else { 0 }]);
        assert!(other.is_err(), "{hook}: {other:?}");
    }
    // A policy that asks for an address is none.
    let asks = changed(|table| {
        let at = table.info.underflow[0] as usize;
        table.entries[at..at + 4].copy_from_slice(&[10, 0, 0, 1]);
        table.entries[at + 8..at + 12].copy_from_slice(&[255; 4]);
    });
    assert!(asks.as_ref().is_err_and(|error| error.contains("no policy")), "{asks:?}");
    for (offset, bit) in [(82, 4_u8), (83, 0x80)] {
        let flags = changed(|table| {
            let at = entry(table, 1);
            table.entries[at + offset] |= bit;
        });
        assert!(flags.as_ref().is_err_and(|error| error.contains("in no known way")), "{offset}: {flags:?}");
    }
}

#[test]
fn two_chains_of_one_name_are_an_error() {
    let error = changed(|table| {
        let mut at: Vec<usize> = (0..table.entries.len() - 7)
            .filter(|at| table.entries[*at..].starts_with(b"ERROR\0") && table.entries[at + 30..].starts_with(b"ISTIO"))
            .collect();
        let (first, second) = (at.remove(0) + 30, at.remove(0) + 30);
        let name = table.entries[first..first + 30].to_vec();
        table.entries[second..second + 30].copy_from_slice(&name);
    });
    assert!(error.as_ref().is_err_and(|error| error.contains("second chain")), "{error:?}");
}

#[test]
fn a_match_of_no_length_is_an_error() {
    for size in [0_u16, 1, 31, 33, u16::MAX] {
        let error = changed(|table| {
            // The first rule that has a match.
            let with =
                (0..40).map(|number| entry(table, number)).find(|at| table.entries[at + 88] > 112).expect("a match");
            table.entries[with + 112..with + 114].copy_from_slice(&size.to_le_bytes());
        });
        assert!(error.as_ref().is_err_and(|error| error.contains("match cut short")), "{size}: {error:?}");
    }
}
