//! Messages of nf_tables cut at every byte: an error, or the same rule; never one that looks whole and is not.

use nslens::wire::{nf_object, nf_tables};

use crate::kernel::messages;
use crate::parsers::Message;

const RECORDINGS: [&str; 3] = ["nf-iptables", "nf-listed", "nf-native"];

fn each(mut look: impl FnMut(Message, &[u8])) {
    for recording in RECORDINGS {
        for (kind, message) in messages(recording) {
            look(kind, &message);
        }
    }
}

#[test]
fn a_cut_rule_is_none() {
    let (mut whole, mut errors) = (0, 0);
    each(|kind, message| {
        if kind != Message::Rule {
            return;
        }
        let rule = nf_tables::rule(message).expect("a recorded rule");
        for end in 0..message.len() {
            match nf_tables::rule(&message[..end]) {
                Err(_) => errors += 1,
                // Behind the expressions stand the notes of the tool.
                Ok(cut) => {
                    assert_eq!(cut.rule.expressions, rule.rule.expressions, "cut at {end}");
                    assert_eq!((&cut.table, &cut.chain), (&rule.table, &rule.chain));
                    whole += 1;
                }
            }
        }
    });
    assert!(errors > 50 * whole && whole > 0, "{errors} errors, {whole} whole");
}

#[test]
fn a_cut_message_of_another_kind_has_a_name_or_is_an_error() {
    each(|kind, message| {
        for end in 0..message.len() {
            let cut = &message[..end];
            match kind {
                Message::Table => assert!(
                    nf_tables::table(cut).is_ok_and(|table| !table.name.is_empty()) || nf_tables::table(cut).is_err()
                ),
                Message::Chain => assert!(nf_tables::chain(cut).map_or(true, |chain| !chain.name.is_empty())),
                Message::Set => assert!(nf_tables::set(cut).map_or(true, |set| !set.name.is_empty())),
                Message::Object => drop(nf_object::object(cut)),
                Message::Generation => drop(nf_tables::generation(cut)),
                Message::Elements => {
                    let all = nf_tables::elements(message).expect("recorded elements");
                    // All of them stand in one attribute.
                    assert!(
                        nf_tables::elements(cut).map_or(true, |some| some.is_empty() || some == all),
                        "cut at {end}"
                    );
                }
                Message::Rule => {}
            }
        }
    });
}
