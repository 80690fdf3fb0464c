//! Memory of traffic in fixed space, over bytes that somebody else holds: bloom filters and rates; sketches later.
//!
//! Nothing here opens files, knows the time or grows. A filter's image is the same in memory, on disk and in a mapped
//! file (docs/bloom-format.md), and its hash is that of `mmh3`, so that any program can build or read one.
#![forbid(unsafe_code)]

pub mod bloom;
pub mod murmur;
pub mod rates;
pub mod rotation;

pub use bloom::{Bloom, BloomError, Layout};
pub use rates::Rates;
pub use rotation::Rotation;
