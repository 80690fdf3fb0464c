//! Payloads that nobody wrote: reading and recovery say what is wrong, they never fall over and never skip.

mod common;

use std::sync::Arc;

use angarium_ledger::{Cursor, read_frame};
use angarium_nouns::{Lsn, MessageId, Outcome};
use angarium_spool::place::Frame;
use angarium_spool::{SimDisk, Spool};
use proptest::prelude::*;

use common::{START, message, open, settings, settle, take};

/// A spool with these payloads, as a program that died left it.
fn spool_of(content: &[u8], journal: &[u8]) -> SimDisk {
    let disk = SimDisk::new(1);
    let found = Spool::open(Arc::new(disk.clone()), settings().spool).expect("opened");
    let (spool, _) = found.finish().expect("opened");
    let parts = [content];
    let payload_crc = crc32c::crc32c(content);
    let frame = Frame { id: MessageId(7), chunk: 0, copy: 0, parts: &parts, payload_crc };
    let _ = spool.commit_content(&[frame]);
    let _ = spool.commit_journal(journal);
    drop(spool);
    disk.kill();
    disk
}

/// Payloads of both logs as the ledger writes them.
fn payloads() -> (Vec<u8>, Vec<u8>) {
    let disk = SimDisk::new(2);
    let (ledger, _) = open(&disk, START).expect("works");
    ledger.commit(&[message(MessageId(7), &["a@x.example", "b@y.example"], START)], START).expect("works");
    for lease in take(&ledger, START, 1) {
        settle(&ledger, &lease, Outcome::Deferred, START);
    }
    ledger.flush_journal(START).expect("works");
    drop(ledger);
    disk.kill();
    let mut found = Spool::open(Arc::new(disk), settings().spool).expect("opened");
    let (mut content, mut journal) = (Vec::new(), Vec::new());
    while let Some(frame) = found.next().expect("walked") {
        match frame {
            angarium_spool::RecoveredFrame::Content { start, .. } => content = start,
            angarium_spool::RecoveredFrame::Journal { payload, .. } => journal = payload,
        }
    }
    (content, journal)
}

#[test]
fn what_the_ledger_wrote_reads_back_in_another_spool() {
    let (content, journal) = payloads();
    let (ledger, report) = open(&spool_of(&content, &journal), START).unwrap();
    assert_eq!((report.entries, report.recovered, report.lost), (2, 0, 0));
    let facts = ledger.read_journal(Cursor::default(), 0, 100).unwrap().records;
    assert_eq!(facts.len(), 3);
}

#[test]
fn a_record_that_is_not_understood_stops_the_start() {
    let (content, journal) = payloads();
    let mut newer = content.clone();
    newer[5..8].copy_from_slice(&[0xdc, 0, 24]);
    assert!(open(&spool_of(&newer, &journal), START).is_err());
    let mut cut = journal.clone();
    cut.truncate(journal.len() - 1);
    assert!(open(&spool_of(&content, &cut), START).is_err());
}

#[test]
fn facts_without_their_content_are_lost_mail() {
    let (_, journal) = payloads();
    let disk = SimDisk::new(3);
    let found = Spool::open(Arc::new(disk.clone()), settings().spool).expect("opened");
    let (spool, _) = found.finish().expect("opened");
    spool.commit_journal(&journal).unwrap();
    drop(spool);
    disk.kill();
    let (ledger, report) = open(&disk, START).unwrap();
    assert_eq!((report.entries, report.lost), (0, 2));
    ledger.flush_journal(START).unwrap();
    drop(ledger);
    disk.kill();
    let (_, report) = open(&disk, START).unwrap();
    assert_eq!(report.lost, 0, "said once");
}

proptest! {
    #[test]
    fn any_bytes(content: Vec<u8>, journal: Vec<u8>) {
        let _ = read_frame(&journal, Lsn(1), 0);
        let _ = open(&spool_of(&content, &journal), START);
    }

    #[test]
    fn bytes_changed(log in 0..2u8, at in 0..4096usize, to: u8, more in 0..4096usize, again: u8) {
        let (mut content, mut journal) = payloads();
        let bytes = if log == 0 { &mut content } else { &mut journal };
        let length = bytes.len();
        bytes[at % length] = to;
        bytes[more % length] = again;
        let _ = read_frame(&journal, Lsn(1), 0);
        if let Ok((ledger, _)) = open(&spool_of(&content, &journal), START) {
            ledger.flush_journal(START).unwrap();
            let _ = take(&ledger, START, 10);
        }
    }
}
