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

/// Nanoseconds that this thread was on a processor.
fn on_cpu() -> u64 {
    let text = std::fs::read_to_string("/proc/thread-self/schedstat").unwrap_or_default();
    text.split_whitespace().next().and_then(|first| first.parse().ok()).unwrap_or(0)
}

/// The second half runs in a process of its own, so that its memory can be told.
const RECOVER: &str = "ANGARIUM_RECOVER";

#[test]
#[ignore = "writes half a gigabyte"]
fn a_million_waiting_entries() {
    if let Ok(folder) = std::env::var(RECOVER) {
        return recover(folder.as_ref());
    }
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
    let program = std::env::current_exe().expect("this program");
    let arguments = ["a_million_waiting_entries", "--ignored", "--nocapture"];
    let child = std::process::Command::new(program).args(arguments).env(RECOVER, &folder).status().expect("started");
    let _ = std::fs::remove_dir_all(&folder);
    assert!(child.success());
}

fn recover(folder: &std::path::Path) {
    let (before, began, cpu) = (resident(), Instant::now(), on_cpu());
    let (ledger, entries) = open(folder, START + 1000);
    let (took, cpu) = (began.elapsed(), (on_cpu() - cpu) / 1_000_000);
    let grown = resident().saturating_sub(before) / 1_000_000;
    println!("recovered {entries} entries in {took:?} ({cpu} ms on a processor), {grown} MB more resident");
    assert_eq!(entries, MESSAGES as u64);
    drop(ledger);
}

#[test]
#[ignore = "a measurement"]
fn commit_and_settle_cost() {
    let folder = std::env::temp_dir().join(format!("angarium-ledger-cost-{}", std::process::id()));
    let _ = std::fs::remove_dir_all(&folder);
    let (ledger, _) = open(&folder, START);
    let rounds = 200;
    let (mut prepare, mut commit, mut take, mut settle, mut flush) = (0, 0, 0, 0, 0);
    for n in 0..rounds {
        let began = on_cpu();
        let messages = group(&ledger, n * GROUP);
        prepare += on_cpu() - began;
        let began = on_cpu();
        ledger.commit(&messages, START).expect("committed");
        commit += on_cpu() - began;
        common::route_all(&ledger, START);
        let began = on_cpu();
        let leases = common::take(&ledger, START, GROUP);
        take += on_cpu() - began;
        let began = on_cpu();
        for lease in &leases {
            common::settle(&ledger, lease, Outcome::Delivered, START);
        }
        settle += on_cpu() - began;
        let began = on_cpu();
        ledger.flush_journal(START).expect("flushed");
        flush += on_cpu() - began;
        ledger.maintain(START);
    }
    let each = |nanos: u64| nanos / (rounds * GROUP) as u64;
    println!(
        "ns on a processor a message: prepare {}, commit with its write {}, take {}, settle {}, flush with its write {}",
        each(prepare),
        each(commit),
        each(take),
        each(settle),
        each(flush)
    );
    drop(ledger);
    let _ = std::fs::remove_dir_all(&folder);
}
