//! See `legacy_table` in `tests/support/parsers.rs`: what must hold stands there.
#![no_main]

#[path = "../../tests/support/parsers.rs"]
#[allow(dead_code, reason = "each fuzzer asks one thing")]
mod parsers;

libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    let [name, family, rest @ ..] = data else { return };
    let names = ["filter", "nat", "mangle", "raw", "security"];
    parsers::legacy_table(names[usize::from(*name) % names.len()], family % 2 == 1, rest);
});
