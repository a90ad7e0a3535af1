//! What `check` found: for people, and as JSON.

mod json;
mod page;
mod text;

pub use json::document;
pub use page::{markdown, page};
pub use text::text;
