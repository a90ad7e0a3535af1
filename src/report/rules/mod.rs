//! The answer of `rules`: for people ([`table()`]) and for programs ([`json`], [`save`], [`nft`]).

mod json;
mod save;
mod table;

pub use json::json;
pub use save::{bracketed, missing, nft, save};
pub use table::{Columns, Form, nothing, table};
