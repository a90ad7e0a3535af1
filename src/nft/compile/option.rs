//! Fields of options and extension headers by nft's words.

use super::super::extension::{option_field, option_number};
use super::super::{HeaderOption, Term};

/// `NFT_EXTHDR_OP_TCPOPT`
const TCP: u32 = 1;

/// A field of an option, an extension header or a chunk (`NFT_EXTHDR_OP_*`); without one, whether it is there is asked.
#[must_use]
pub fn option_named(of: u32, header: &str, field: Option<&str>) -> Option<Term> {
    let Some(name) = field else {
        let number = option_number(of, header).or_else(|| header.parse().ok().filter(|_| of == TCP))?;
        return Some(Term::Option(HeaderOption { of, number, offset: 0, length: 1, present: true }));
    };
    let field = option_field(of, header, if name == "kind" { "" } else { name })?;
    let (offset, end) = (field.offset / 8, (field.offset + field.bits).div_ceil(8));
    let option = HeaderOption { of, number: field.number, offset, length: end - offset, present: false };
    let shift = end * 8 - field.offset - field.bits;
    // Of two words for the same bytes the one that is given is kept.
    let whole = field.bits == option.length * 8 && option.field() == Some(field);
    Some(if whole { Term::Option(option) } else { Term::OptionPart(option, field, shift) })
}
