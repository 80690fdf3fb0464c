//! Messages as ranges in their bytes: read the header, put fields in front, pass over others, write reports.
//!
//! Nothing here decides, copies a body, knows the time or draws a number: times, identities and boundaries are
//! arguments. Bytes of any kind can be read; nothing that a peer said can break a line that is written.
#![forbid(unsafe_code)]

pub mod address;
pub mod body;
pub mod bounce;
pub mod build;
pub mod charset;
pub mod convert;
pub mod date;
pub mod edit;
pub mod findings;
pub mod flaw;
mod footer;
pub mod header;
pub mod line;
pub mod marks;
pub mod parameter;
pub mod part;
pub mod reading;
pub mod report;
pub mod rewrite;
pub mod scan;
pub mod trace;
pub mod transfer;
pub mod union;
pub mod words;

pub use flaw::{Flaw, Flaws};
pub use header::{Field, Header, Overflow};
pub use part::Part;
pub use scan::{Bound, Kind, Tree};
pub use transfer::Encoding;
