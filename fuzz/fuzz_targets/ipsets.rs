//! See `ipsets` in `tests/support/parsers.rs`: what must hold stands there.
#![no_main]

#[path = "../../tests/support/parsers.rs"]
#[allow(dead_code, reason = "each fuzzer asks one thing")]
mod parsers;

libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    parsers::ipsets(data);
});
