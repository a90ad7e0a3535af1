//! What happens to all new connections, told: rows for people, classes for programs, a picture.

pub(in crate::report) mod json;
mod picture;
mod ports;
pub(in crate::report) mod text;
pub(in crate::report) mod words;

pub use json::{document, lines};
pub use picture::picture;
pub use ports::{Reached, ports, ports_document, reached};
pub use text::{blocks, text};
