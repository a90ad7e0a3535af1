//! The answer of `rules`: for people ([table()]) and for programs ([`json`]).

mod json;
mod table;

pub use json::json;
pub use table::{Form, nothing, table};
