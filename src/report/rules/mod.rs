//! The answer of `rules`: for people ([`table()`]) and for programs ([`json`], [`save`]).

mod json;
mod save;
mod table;

pub use json::json;
pub use save::{missing, save};
pub use table::{Form, nothing, table};
