//! What happens to all new connections, told: rows for people, classes for programs, a picture.

mod json;
mod picture;
mod ports;
mod text;
mod words;

pub use json::{document, lines};
pub use picture::picture;
pub use ports::{Reached, ports, ports_document, reached};
pub use text::{blocks, text};
pub use words::is_about_takers;
