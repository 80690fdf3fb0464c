//! What an operator or a simulation may set about the spool.

use std::sync::Arc;

use angarium_nouns::Millis;

/// Called when a prepared segment was taken, from the committing thread: wake whoever runs [`crate::Spool::prepare`].
pub type Waker = Arc<dyn Fn() + Send + Sync>;

#[derive(Clone)]
pub struct SpoolSettings {
    /// Bytes of a segment file.
    pub segment_size: u32,
    /// Segments kept ready, header written, for each log: enough for a second of full load.
    pub ready: usize,
    /// Zero-filled files that only facts, copies and reports may use when the disk is full (S4).
    pub reserved: usize,
    /// New mail is refused while fewer bytes than this are free for others.
    pub free_floor: u64,
    /// Rest after which the durable marks are written down.
    pub rest: Millis,
    /// Age at which a sealed, mostly dead segment is worth copying.
    pub copy_age: Millis,
    pub wake: Option<Waker>,
}

impl Default for SpoolSettings {
    fn default() -> Self {
        Self {
            segment_size: 64 << 20,
            ready: 2,
            reserved: 2,
            free_floor: 256 << 20,
            rest: 20,
            copy_age: 600_000,
            wake: None,
        }
    }
}
