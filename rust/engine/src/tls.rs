//! TLS of sessions: certificates by name, swapped whole.

use arc_swap::ArcSwapOption;

use crate::policy::PolicyError;
use crate::tables::Certificates;

/// All that serves TLS.
#[derive(Debug, Default)]
pub struct Tls {
    held: ArcSwapOption<Certificates>,
}

impl Tls {
    /// Swaps everything.
    pub fn set(&self, table: &Certificates) -> Result<(), PolicyError> {
        self.held.store(Some(std::sync::Arc::new(table.clone())));
        Ok(())
    }
}
