//! Crash anywhere, lose nothing: random histories on the simulated disk, and proof that the test would notice.
//!
//! `ANGARIUM_HISTORIES=5000 cargo test -p angarium-spool --test histories` runs more; a failure prints its seed.

#![allow(clippy::unwrap_used, reason = "tests may")]

mod history;

use angarium_spool::Site;
use history::{History, Told, Weather};

const QUICK: u64 = 200;

fn histories() -> u64 {
    std::env::var("ANGARIUM_HISTORIES").ok().and_then(|text| text.parse().ok()).unwrap_or(QUICK)
}

fn run(seed: u64, failures: bool, suppress: Option<Site>) -> Result<Told, String> {
    let weather = Weather { failures, steps: 120 };
    let result = std::panic::catch_unwind(|| History::new(seed, weather).run(suppress));
    result.unwrap_or_else(|_| Err("a panic".into()))
}

fn all(failures: bool) -> Told {
    let mut sum = Told::default();
    for seed in 0..histories() {
        match run(seed, failures, None) {
            Ok(told) => {
                sum.crashes += told.crashes;
                sum.crashes_in_recovery += told.crashes_in_recovery;
                sum.messages += told.messages;
                sum.copies += told.copies;
                sum.checkpoints += told.checkpoints;
                sum.recycled += told.recycled;
                sum.faults += told.faults;
                sum.tails += told.tails;
            }
            Err(why) => panic!("seed {seed}, failures {failures}: {why}"),
        }
    }
    eprintln!("{sum:?}");
    sum
}

#[test]
fn nothing_acknowledged_is_lost() {
    let told = all(false);
    for (what, count) in [
        ("crashes", told.crashes),
        ("crashes in recovery", told.crashes_in_recovery),
        ("copies", told.copies),
        ("checkpoints", told.checkpoints),
        ("recycled segments", told.recycled),
        ("cut tails", told.tails),
    ] {
        assert!(count > histories() / 10, "the histories met too few {what}: {count}");
    }
}

#[test]
fn nothing_acknowledged_is_lost_when_calls_fail() {
    assert!(all(true).faults > 0);
}

/// Leaving out a sync must be noticed by some history; otherwise either the sync or the test is for nothing.
#[test]
fn every_sync_is_needed() {
    let needed = Site::ALL.into_iter().filter(|site| !shown_by_a_scenario(*site));
    let unnoticed: Vec<Site> =
        needed.filter(|site| (0..400).all(|seed| run(seed, false, Some(*site)).is_ok())).collect();
    assert_eq!(unnoticed, []);
}

/// Syncs that matter only on a full disk or after damage; `scenarios.rs` shows them.
fn shown_by_a_scenario(site: Site) -> bool {
    matches!(site, Site::SegmentZeros | Site::SpareFolder | Site::IdentityFolder | Site::CheckpointFolder)
}
