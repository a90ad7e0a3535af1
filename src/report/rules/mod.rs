//! The answer of `rules`: for people ([`table()`]) and for programs ([`json`], [`save`], [`nft`]).

mod json;
mod save;
mod sets;
mod table;

pub use json::{json, write_json};
pub use save::{bracketed, missing, nft, save};
pub use sets::sets;
pub use table::{Columns, Form, nothing, table};
