//! When an entry is tried again: tables by number and reason class, with a jitter that repeats.
//!
//! The jitter of ±15 % comes from a hash of (message, recipient, attempt), so a recovery or a replay computes the
//! same due time and no two entries of a burst come back at once.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use angarium_nouns::{MessageId, Millis, Reason};

const MINUTE: Millis = 60_000;
const HOUR: Millis = 60 * MINUTE;
/// Percent of a step by which a retry may come earlier or later.
const JITTER: u64 = 15;

/// Waiting times after the first, second, … attempt; the last one repeats.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RetryTable {
    pub number: u16,
    /// Milliseconds, for reasons that have no row of their own.
    pub steps: Vec<Millis>,
    /// By the reason's name ([`Reason::name`], `_` or `-` alike).
    #[serde(default)]
    pub reasons: BTreeMap<String, Vec<Millis>>,
}

/// All tables; number 0 serves entries without a lane and numbers that are not there.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RetryTables(BTreeMap<u16, RetryTable>);

impl Default for RetryTables {
    /// RFC 5321 4.5.4.1 asks for 30 minutes at least on average and gives up after 4 to 5 days; the field retries
    /// sooner at first, since greylisting and short failures are the rule.
    fn default() -> Self {
        let steps = vec![5 * MINUTE, 10 * MINUTE, 20 * MINUTE, 40 * MINUTE, HOUR, 2 * HOUR, 4 * HOUR];
        let reasons = BTreeMap::from([
            ("greylist".to_owned(), vec![5 * MINUTE, 5 * MINUTE, 15 * MINUTE, HOUR]),
            ("mailbox-full".to_owned(), vec![HOUR, 2 * HOUR, 4 * HOUR]),
            ("uncertain".to_owned(), vec![30 * MINUTE, HOUR, 2 * HOUR, 4 * HOUR]),
            ("local-disk".to_owned(), vec![MINUTE, 5 * MINUTE]),
        ]);
        Self::new([RetryTable { number: 0, steps, reasons }])
    }
}

impl RetryTables {
    pub fn new(tables: impl IntoIterator<Item = RetryTable>) -> Self {
        Self(tables.into_iter().map(|table| (table.number, table)).collect())
    }

    /// How long an entry waits after its attempt number `attempt` (from 1).
    pub fn wait(&self, table: u16, reason: Reason, id: MessageId, number: u32, attempt: u16) -> Millis {
        let step = self.step(table, reason, attempt);
        let spread = step * JITTER / 100;
        let chance = mix(id.0 as u64 ^ (id.0 >> 64) as u64 ^ u64::from(number) << 20 ^ u64::from(attempt));
        step - spread + chance % (2 * spread + 1)
    }

    fn step(&self, table: u16, reason: Reason, attempt: u16) -> Millis {
        let Some(table) = self.0.get(&table).or_else(|| self.0.get(&0)) else { return 5 * MINUTE };
        let steps = table.reasons.get(reason.name()).unwrap_or(&table.steps);
        let last = steps.len().saturating_sub(1);
        steps.get(usize::from(attempt.saturating_sub(1)).min(last)).copied().unwrap_or(5 * MINUTE)
    }
}

/// The finaliser of splitmix64: every bit of the input moves every bit of the result.
fn mix(mut x: u64) -> u64 {
    x = (x ^ (x >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    x = (x ^ (x >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    x ^ (x >> 31)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_grow_and_jitter_repeats() {
        let tables = RetryTables::default();
        for attempt in 1..20 {
            let step = tables.step(0, Reason::Other, attempt);
            let wait = tables.wait(0, Reason::Other, MessageId(77), 3, attempt);
            assert!(wait >= step * 85 / 100 && wait <= step * 115 / 100, "{attempt}: {wait} of {step}");
            assert_eq!(wait, tables.wait(9, Reason::Other, MessageId(77), 3, attempt));
        }
        assert_eq!(tables.step(0, Reason::Other, 200), 4 * HOUR);
        assert_eq!(tables.step(0, Reason::MailboxFull, 1), HOUR);
    }
}
