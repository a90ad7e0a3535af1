//! The answer of `rules`: for people ([`table()`]) and for programs ([`json`], [`save`], [`nft`]).

mod json;
mod save;
mod sets;
mod table;

pub use json::json;
pub use save::{bracketed, missing, nft, save};
pub use sets::{SetForm, sets};
pub use table::{Form, nothing, table};
