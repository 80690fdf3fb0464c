//! A restart with a million waiting entries: time and memory, and what commit and settle cost.
//!
//! Run with `cargo test --release -p angarium-ledger --test million -- --ignored --nocapture`.

mod common;

use std::sync::Arc;
use std::time::Instant;

use angarium_ledger::{Incoming, Ledger, LedgerSettings, SpoolSettings};
use angarium_nouns::{Millis, Outcome};
use angarium_spool::RealDisk;

use common::START;

const MESSAGES: usize = 1_000_000;
const GROUP: usize = 500;

fn open(folder: &std::path::Path, now: Millis) -> (Ledger, u64) {
    let spool = SpoolSettings { free_floor: 0, ..SpoolSettings::default() };
    let settings = LedgerSettings { spool, ..common::settings() };
    let disk = Arc::new(RealDisk::new(folder).expect("a folder"));
    let (ledger, report) = Ledger::open(disk, settings, now).expect("opened");
    (ledger, report.entries)
}

/// Resident memory in bytes.
fn resident() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find(|line| line.starts_with("VmRSS:")).unwrap_or("");
    line.split_whitespace().nth(1).and_then(|text| text.parse::<u64>().ok()).unwrap_or(0) * 1024
}

fn group(ledger: &Ledger, n: usize) -> Vec<Incoming> {
    let message = |m| {
        let address = format!("user{m}@domain{}.example", m % 1000);
        common::message(ledger.ids().reserve(START), &[address.as_str()], START)
    };
    (n..n + GROUP).map(message).collect()
}

#[test]
#[ignore = "writes half a gigabyte"]
fn a_million_waiting_entries() {
    let folder = std::env::temp_dir().join(format!("angarium-ledger-million-{}", std::process::id()));
    let _ = std::fs::remove_dir_all(&folder);
    let (ledger, _) = open(&folder, START);
    let began = Instant::now();
    for n in (0..MESSAGES).step_by(GROUP) {
        ledger.commit(&group(&ledger, n), START).expect("committed");
        ledger.flush_journal(START).expect("flushed");
        while ledger.maintain(START) {
            ledger.flush_journal(START).expect("flushed");
        }
    }
    println!("filled in {:?}", began.elapsed());
    drop(ledger); // as a crash: no clean stop

    let before = resident();
    let began = Instant::now();
    let (ledger, entries) = open(&folder, START + 1000);
    let took = began.elapsed();
    let grown = resident().saturating_sub(before);
    println!("recovered {entries} entries in {took:?}, {} MB more resident", grown / 1_000_000);
    assert_eq!(entries, MESSAGES as u64);
    drop(ledger);
    let _ = std::fs::remove_dir_all(&folder);
}

#[test]
#[ignore = "a measurement"]
fn commit_and_settle_cost() {
    // A disk in memory: what is measured is the ledger (and the copying of the simulation).
    let folder = std::env::temp_dir().join(format!("angarium-ledger-cost-{}", std::process::id()));
    let _ = std::fs::remove_dir_all(&folder);
    let (ledger, _) = open(&folder, START);
    let rounds = 200;
    let (mut prepare, mut commit, mut take, mut settle, mut flush) = (0, 0, 0, 0, 0);
    for n in 0..rounds {
        let began = Instant::now();
        let messages = group(&ledger, n * GROUP);
        prepare += began.elapsed().as_nanos();
        let began = Instant::now();
        ledger.commit(&messages, START).expect("committed");
        commit += began.elapsed().as_nanos();
        common::route_all(&ledger, START);
        let began = Instant::now();
        let leases = common::take(&ledger, START, GROUP);
        take += began.elapsed().as_nanos();
        let began = Instant::now();
        for lease in &leases {
            common::settle(&ledger, lease, Outcome::Delivered, START);
        }
        settle += began.elapsed().as_nanos();
        let began = Instant::now();
        ledger.flush_journal(START).expect("flushed");
        flush += began.elapsed().as_nanos();
        ledger.maintain(START);
    }
    let each = |nanos: u128| nanos / (rounds * GROUP) as u128;
    println!(
        "ns a message: prepare {} commit with disk {} take {} settle {} flush with disk {}",
        each(prepare),
        each(commit),
        each(take),
        each(settle),
        each(flush)
    );
    drop(ledger);
    let _ = std::fs::remove_dir_all(&folder);
}
