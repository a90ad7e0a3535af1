//! See `nft_text` in `tests/support/parsers.rs`: what must hold stands there.
#![no_main]

#[path = "../../tests/support/parsers.rs"]
#[allow(dead_code, reason = "each fuzzer asks one thing")]
mod parsers;

libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    if let Ok(text) = std::str::from_utf8(data) {
        parsers::nft_text(text);
    }
});
