//! The spool: two durable logs in one folder, checkpoints beside them, bodies too large for a log in files.
//!
//! Content is what was promised, journal is what happened; one sequence (LSN) numbers the frames of both. The spool
//! knows ids, chunks, copies, places and durable marks; payloads are opaque. It keeps no clock (times are
//! arguments), starts no thread and decides nothing about mail. All I/O goes through [`Disk`], so that whole
//! histories run on the simulated disk. `docs/spool-format.md` gives every byte.

mod body;
mod checkpoint;
pub mod disk;
mod error;
mod format;
mod journal;
mod log;
mod mend;
pub mod place;
mod real;
mod recovery;
mod segment;
mod settings;
pub mod sim;
mod spool;
mod system;
mod walk;
mod workshop;

pub use body::{BodyFile, BodyReader, BodyWriter};
pub use checkpoint::CheckpointWriter;
pub use disk::{Disk, DiskFile, DiskLock, Site};
pub use error::{CheckpointError, CommitError, Damage, ReadError, SpoolError};
pub use place::{ContentRef, Family, Frame, Group, JournalFrame, Marks, Place};
pub use real::RealDisk;
pub use recovery::{RecoveredFrame, Recovery};
pub use settings::SpoolSettings;
pub use sim::SimDisk;
pub use spool::{CopyCandidate, SegmentClaim, Spool, SpoolStats};
