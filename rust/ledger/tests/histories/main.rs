//! Crash, simulated: random histories of submit, deliver, defer, hold, cancel, reclaim and checkpoint on a disk that
//! loses, reorders and tears what was not synced, with the power failing at any call, also during recovery.
//!
//! `ANGARIUM_HISTORIES` sets how many (200 by default); `ANGARIUM_SEED` runs one. Seeds stand in every message.

mod archive;
#[path = "../common/mod.rs"]
mod common;
mod oracle;
mod world;

use std::panic::{AssertUnwindSafe, catch_unwind};

use angarium_spool::Site;
use world::{Seen, World};

/// Steps of a history.
const STEPS: usize = 150;
/// Calls of the disk before the power fails.
const FUSE: u64 = 250;
/// Histories until a missing sync must have been noticed; the slowest of them took 10 when this was written.
const PATIENCE: u64 = 200;

/// Syncs that the ledger's histories miss. The spool's own histories watch over the rest.
const NEEDED: [Site; 8] = [
    Site::ContentCommit,
    Site::JournalCommit,
    Site::CopyCommit,
    Site::SegmentHeader,
    Site::SegmentFolder,
    Site::BodyFile,
    Site::BodyFolder,
    Site::CheckpointFile,
];

fn histories() -> Vec<u64> {
    let number = |name: &str| std::env::var(name).ok().and_then(|text| text.parse::<u64>().ok());
    match number("ANGARIUM_SEED") {
        Some(seed) => vec![seed],
        None => (0..number("ANGARIUM_HISTORIES").unwrap_or(200)).collect(),
    }
}

/// One history; with a site whose syncs do nothing it must go wrong sooner or later.
fn history(seed: u64, suppressed: Option<Site>) -> Seen {
    let mut world = World::new(seed);
    world.disk.suppress(suppressed);
    world.open(false);
    light_fuse(&mut world);
    for _ in 0..STEPS {
        if !world.step() {
            world.crash();
            if world.chance.percent(80) {
                light_fuse(&mut world);
            }
        }
    }
    world.restart();
    world.drain();
    world.oracle.finish(&format!("seed {seed}"));
    world.let_go();
    world.seen
}

fn light_fuse(world: &mut World) {
    let calls = 1 + world.chance.below(FUSE);
    world.disk.crash_after(calls);
}

#[test]
fn nothing_acknowledged_is_lost() {
    let mut seen = Seen::default();
    let seeds = histories();
    for seed in &seeds {
        seen.add(history(*seed, None));
    }
    println!("{} histories: {seen:?}", seeds.len());
    if seeds.len() >= 200 {
        let rare = [seen.crashes, seen.bounces, seen.checkpoints, seen.copied, seen.recycled, seen.read, seen.skipped];
        assert!(rare.iter().all(|count| *count > 0), "{seen:?}");
    }
}

/// Each sync that the ledger's promises rest on is left out in turn: the histories must notice.
#[test]
fn every_sync_is_needed() {
    // The panics are the point.
    std::panic::set_hook(Box::new(|_| {}));
    let noticed =
        |site| (0..PATIENCE).position(|seed| catch_unwind(AssertUnwindSafe(|| history(seed, Some(site)))).is_err());
    let all: Vec<_> = NEEDED.into_iter().map(|site| (site, noticed(site))).collect();
    let _ = std::panic::take_hook();
    println!("noticed by history: {all:?}");
    assert!(all.iter().all(|(_, noticed)| noticed.is_some()), "{all:?}");
}
