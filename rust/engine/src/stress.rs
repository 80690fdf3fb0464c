//! How hard it is for the server now, and what clients get less of while it is.
//!
//! The upkeep looks at session places, memory and the spool; sessions read the row that holds. As Postfix does it
//! (`STRESS_README`), but by degrees.

use std::sync::atomic::{AtomicU8, Ordering};

use angarium_nouns::Millis;

use crate::intake::Intake;

/// From so many hundredths on: so much time for a command at most, and so many errors.
const ROWS: [(u64, Millis, u32); 3] = [(0, Millis::MAX, u32::MAX), (75, 60_000, 5), (90, 10_000, 1)];

#[derive(Debug, Default)]
pub struct Stress(AtomicU8);

impl Stress {
    pub fn look(&self, intake: &Intake) {
        let limits = &intake.policy.load().table.limits;
        let part = |used: u64, of: u64| used * 100 / of.max(1);
        let places = part(u64::from(intake.admission.sessions()), u64::from(limits.sessions));
        let memory = part(intake.budget.in_flight(), limits.bytes_in_flight);
        let spool = if intake.takes_mail("").is_ok() { 0 } else { 75 };
        self.0.store(row(places.max(memory).max(spool)), Ordering::Relaxed);
    }

    fn now(&self) -> (u64, Millis, u32) {
        ROWS[usize::from(self.0.load(Ordering::Relaxed)).min(ROWS.len() - 1)]
    }

    /// How long to wait for a command.
    pub fn patience(&self, usual: Millis) -> Millis {
        usual.min(self.now().1)
    }

    /// How many errors a session may make.
    pub fn errors(&self) -> u32 {
        self.now().2
    }
}

fn row(hundredths: u64) -> u8 {
    ROWS.iter().rposition(|(from, ..)| *from <= hundredths).unwrap_or(0) as u8
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn less_by_degrees() {
        let stress = Stress::default();
        for (hundredths, patience, errors) in
            [(0, 300_000, u32::MAX), (74, 300_000, u32::MAX), (75, 60_000, 5), (90, 10_000, 1), (500, 10_000, 1)]
        {
            stress.0.store(row(hundredths), Ordering::Relaxed);
            assert_eq!((stress.patience(300_000), stress.errors()), (patience, errors), "{hundredths}");
        }
    }
}
