//! Any bytes as payloads of both logs: reading and recovery say what is wrong, they never fall over.
#![no_main]

use std::sync::Arc;

use angarium_ledger::{Ledger, LedgerSettings, SpoolSettings, read_frame};
use angarium_nouns::{Lsn, MessageId};
use angarium_spool::place::Frame;
use angarium_spool::{SimDisk, Spool};
use libfuzzer_sys::fuzz_target;

const NOW: u64 = 1_790_000_000_000;

fuzz_target!(|data: &[u8]| {
    let Some((&cut, bytes)) = data.split_first() else { return };
    let _ = read_frame(bytes, Lsn(1), 0);
    let cut = usize::from(cut).min(bytes.len());
    let (content, journal) = bytes.split_at(cut);
    let disk = SimDisk::new(1);
    let spool_settings =
        SpoolSettings { segment_size: 64 << 10, ready: 1, reserved: 1, free_floor: 0, ..SpoolSettings::default() };
    let settings = LedgerSettings { node: 1, spool: spool_settings.clone(), ..LedgerSettings::default() };
    {
        let Ok((spool, _)) = Spool::open(Arc::new(disk.clone()), spool_settings).and_then(|found| found.finish())
        else {
            return;
        };
        let parts = [content];
        let payload_crc = crc32c::crc32c(content);
        let frame = Frame { id: MessageId(7), chunk: 0, copy: 0, parts: &parts, payload_crc };
        let _ = spool.commit_content(&[frame]);
        let _ = spool.commit_journal(journal);
    }
    disk.kill();
    if let Ok((ledger, _)) = Ledger::open(Arc::new(disk), settings, NOW) {
        let _ = ledger.flush_journal(NOW);
        let _ = ledger.stats(NOW);
    }
});
