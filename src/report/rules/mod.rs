//! The answer of `rules`: for people ([`table()`]) and for programs ([`json`], [`save`], [`nft`]).

mod json;
mod save;
mod table;

pub use json::{json, write_json};
pub use save::{bracketed, missing, nft, save};
pub use table::{Form, nothing, table};
