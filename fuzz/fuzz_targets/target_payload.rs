//! See `target_payload` in `tests/support/parsers.rs`: what must hold stands there.
#![no_main]

#[path = "../../tests/support/parsers.rs"]
#[allow(dead_code, reason = "each fuzzer asks one thing")]
mod parsers;

libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    let [name, revision, ipv6, rest @ ..] = data else { return };
    parsers::target_payload(parsers::TARGETS[usize::from(*name) % parsers::TARGETS.len()], revision % 6, ipv6 % 2 == 1, rest);
});
