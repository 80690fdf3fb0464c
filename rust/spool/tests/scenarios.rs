//! One story each: what a full disk, a rotten byte, a newer version or a lying disk does to the spool.

#![allow(clippy::unwrap_used, reason = "tests may")]

use std::sync::Arc;

use angarium_nouns::{Lsn, MessageId};
use angarium_spool::sim::Failure;
use angarium_spool::{
    CommitError, Damage, Family, Frame, Marks, Place, ReadError, RecoveredFrame, Recovery, SimDisk, Site, Spool,
    SpoolError, SpoolSettings,
};

const SEGMENT: u32 = 64 * 1024;

fn settings() -> SpoolSettings {
    SpoolSettings { segment_size: SEGMENT, ready: 1, reserved: 2, free_floor: 0, rest: 20, copy_age: 500, wake: None }
}

fn open(disk: &SimDisk) -> Recovery {
    Spool::open(Arc::new(disk.clone()), settings()).unwrap()
}

fn start(disk: &SimDisk) -> Spool {
    open(disk).finish().unwrap().0
}

fn payload(number: u64) -> Vec<u8> {
    number.to_le_bytes().repeat(100)
}

fn try_commit(spool: &Spool, number: u64) -> Result<Place, CommitError> {
    let payload = payload(number);
    let frame = Frame {
        id: MessageId(u128::from(number)),
        chunk: 0,
        copy: 0,
        parts: &[&payload],
        payload_crc: crc32c::crc32c(&payload),
    };
    spool.commit_content(&[frame]).map(|group| group.places[0])
}

fn commit(spool: &Spool, number: u64) -> Place {
    try_commit(spool, number).unwrap()
}

/// Numbers of content and payloads of facts, in order; and everything found broken.
fn replay(disk: &SimDisk) -> (Vec<u64>, Vec<Vec<u8>>, Vec<Damage>, Spool) {
    let mut recovery = open(disk);
    let (mut content, mut facts) = (Vec::new(), Vec::new());
    while let Some(frame) = recovery.next().unwrap() {
        match frame {
            RecoveredFrame::Content { at, .. } => {
                content.push(at.id.0 as u64);
                recovery.keep(at.place);
            }
            RecoveredFrame::Journal { payload, .. } => facts.push(payload),
        }
    }
    let mut damage = recovery.damage().to_vec();
    let (spool, _, later) = recovery.finish_with_damage().unwrap();
    damage.extend(later);
    (content, facts, damage, spool)
}

fn checkpoint(spool: &Spool) {
    spool.begin_checkpoint(spool.durable()).unwrap().publish(spool.durable()).unwrap();
}

#[test]
fn one_write_and_one_sync_make_a_group() {
    let disk = SimDisk::new(1);
    let spool = start(&disk);
    commit(&spool, 1);
    let (calls, syncs) = (disk.calls(), disk.syncs(Site::ContentCommit));
    let payloads: Vec<Vec<u8>> = (0..40).map(payload).collect();
    let parts: Vec<[&[u8]; 1]> = payloads.iter().map(|payload| [&payload[..]]).collect();
    let frame = |(i, parts): (usize, _)| Frame {
        id: MessageId(i as u128),
        chunk: 0,
        copy: 0,
        parts,
        payload_crc: crc32c::crc32c(&payloads[i]),
    };
    let frames: Vec<Frame<'_>> = parts.iter().map(|parts| &parts[..]).enumerate().map(frame).collect();
    spool.commit_content(&frames).unwrap();
    assert_eq!((disk.calls() - calls, disk.syncs(Site::ContentCommit) - syncs), (2, 1));
}

#[test]
fn a_failed_group_is_refused_and_the_file_left_alone() {
    for (calls, failure) in [(1, Failure::ShortWrite), (1, Failure::Io), (1, Failure::NoSpace), (2, Failure::Io)] {
        let disk = SimDisk::new(7);
        let spool = start(&disk);
        commit(&spool, 1);
        disk.fail_after(calls, failure);
        assert!(matches!(try_commit(&spool, 2), Err(CommitError::Fault(_))), "{failure:?}");
        let calls = disk.calls();
        assert!(matches!(try_commit(&spool, 3), Err(CommitError::Fault(_))));
        assert_eq!(disk.calls(), calls, "nothing is written after a fault");
        assert!(!spool.takes_mail());
        spool.commit_journal(b"facts go on").unwrap();
        drop(spool);
        disk.restart();
        let (content, facts, _, spool) = replay(&disk);
        assert!(content == [1] || content == [1, 2]);
        assert_eq!(facts, [b"facts go on"]);
        commit(&spool, 4);
    }
}

#[test]
fn a_full_disk_refuses_mail_and_facts_go_on() {
    full_disk(None).unwrap();
}

/// The room promised for facts must really be there, before and after a power failure.
#[test]
fn the_reserve_needs_its_syncs() {
    for site in [Site::SegmentZeros, Site::SpareFolder] {
        let noticed =
            (0..20).any(|_| std::panic::catch_unwind(|| full_disk(Some(site))).is_ok_and(|told| told.is_err()));
        assert!(noticed, "{site:?} is left out and nobody notices");
    }
}

fn full_disk(suppress: Option<Site>) -> Result<(), String> {
    for seed in 0..10 {
        let disk = SimDisk::new(seed);
        disk.suppress(suppress);
        let spool = start(&disk);
        while spool.prepare() {}
        // The power fails, and somebody else fills the disk.
        drop(spool);
        disk.restart();
        disk.set_capacity(disk.used() + 20_000);
        let spool = start(&disk);
        while spool.prepare() {}
        let mut number = 0;
        let refused = loop {
            number += 1;
            if let Err(error) = try_commit(&spool, number) {
                break error;
            }
            if number > 1000 {
                return Err("the disk never fills".into());
            }
        };
        if !matches!(refused, CommitError::Full) {
            return Err(format!("mail is refused with {refused}"));
        }
        // The current segment, the ready one and two reserved ones, 15 groups each.
        for fact in 0..50u32 {
            spool.commit_journal(&fact.to_le_bytes()).map_err(|error| format!("fact {fact}: {error}"))?;
        }
        if spool.takes_mail() {
            return Err("mail is taken at the cost of the reserve".into());
        }
        // Room comes back: mail goes on by itself.
        disk.set_capacity(1 << 30);
        while spool.prepare() {}
        try_commit(&spool, number).map_err(|error| format!("after the disk had room again: {error}"))?;
        if !spool.takes_mail() {
            return Err("mail stays refused".into());
        }
    }
    Ok(())
}

#[test]
fn a_body_on_a_full_disk_is_refused_and_heals() {
    let disk = SimDisk::new(3);
    let spool = start(&disk);
    let mut body = spool.new_body(MessageId(1)).unwrap();
    body.write(&vec![1; 3 << 20]).unwrap();
    disk.set_capacity(disk.used());
    assert!(matches!(body.finish(), Err(CommitError::Full)));
    assert!(!spool.is_faulty(Family::Content) && spool.is_short_of_bodies());
    disk.set_capacity(disk.used() + (1 << 20));
    assert!(spool.is_short_of_bodies(), "there is room, but not for one as large");
    disk.set_capacity(1 << 40);
    assert!(!spool.is_short_of_bodies());
    spool.new_body(MessageId(1)).unwrap().finish().unwrap();
}

#[test]
fn damage_in_the_middle_is_reported_and_the_rest_recovered() {
    for (what, back) in [("header", 40), ("payload", 400)] {
        let disk = SimDisk::new(4);
        let spool = start(&disk);
        let places: Vec<Place> = (0..60).map(|number| commit(&spool, number)).collect();
        spool.commit_journal(b"fact").unwrap();
        spool.close().unwrap();
        drop(spool);
        let place = places[20];
        let name = format!("content-{:08x}.log", place.segment);
        assert!(disk.corrupt(&name, place.offset as usize + back, |byte| byte ^ 4));
        let (content, facts, damage, spool) = replay(&disk);
        let expected: Vec<u64> = (0..60).filter(|&number| number != 20 || back == 400).collect();
        assert_eq!(content, expected, "{what}");
        assert_eq!(facts, [b"fact"]);
        assert!(matches!(spool.read(place, MessageId(20)), Err(ReadError::Damaged { .. })));
        if back == 40 {
            let [Damage::Frames { offset, kept: Some(kept), .. }] = &damage[..] else { panic!("{damage:?}") };
            assert_eq!(*offset, u64::from(place.offset));
            assert!(disk.contents(kept).is_some());
        } else {
            // S6: payloads below the mark are verified when they are read.
            assert_eq!(damage, []);
        }
    }
}

#[test]
fn facts_that_rot_are_reported_and_the_follower_told() {
    let disk = SimDisk::new(5);
    let spool = start(&disk);
    let lsns: Vec<Lsn> = (0..30u32).map(|fact| spool.commit_journal(&fact.to_le_bytes()).unwrap()).collect();
    spool.close().unwrap();
    drop(spool);
    // The journal's first frame marks the epoch; each takes a block.
    let name = "journal-00000001.log";
    let at = disk.contents(name).unwrap().windows(4).position(|bytes| bytes == 9u32.to_le_bytes()).unwrap();
    assert!(disk.corrupt(name, at, |byte| !byte) || at > 0);
    let victim = (0..30).find(|&fact: &usize| fact == 9).unwrap();
    let block = 4096 * (2 + victim);
    disk.corrupt(name, block + 70, |byte| byte ^ 1);
    disk.corrupt(name, block + 64, |byte| byte ^ 1);
    let (_, facts, damage, spool) = replay(&disk);
    assert_eq!(facts.len(), 29);
    assert!(matches!(&damage[..], [Damage::Frames { .. }]), "{damage:?}");
    let seen = spool.read_journal(Lsn(0), 100).unwrap();
    assert_eq!(seen.len(), 9);
    let Err(ReadError::Gap { next, after, .. }) = spool.read_journal(seen[8].lsn, 100) else { panic!("no gap") };
    assert!(after >= lsns[8] && next <= lsns[10]);
    assert_eq!(spool.read_journal(Lsn(next.0 - 1), 100).unwrap().len(), 20);
}

#[test]
fn a_lying_disk_is_found_out_by_the_marks() {
    for seed in 0..30 {
        let disk = SimDisk::new(seed);
        let spool = start(&disk);
        for number in 0..5 {
            commit(&spool, number);
        }
        // The sync of message 5 succeeds and loses a sector.
        disk.fail_after(2, Failure::LostWrite);
        commit(&spool, 5);
        commit(&spool, 6);
        spool.write_mark_if_rested(0).unwrap();
        spool.write_mark_if_rested(20).unwrap();
        drop(spool);
        disk.restart();
        let (content, _, damage, spool) = replay(&disk);
        assert!([0, 1, 2, 3, 4, 6].iter().all(|number| content.contains(number)), "seed {seed}: {content:?}");
        let reported = matches!(&damage[..], [Damage::Frames { .. }]);
        let readable = content.contains(&5);
        assert!(reported || readable, "seed {seed}: message 5 vanished without a word");
        drop(spool);
    }
}

#[test]
fn a_mark_after_a_rest_makes_the_last_group_count() {
    let disk = SimDisk::new(6);
    let spool = start(&disk);
    commit(&spool, 1);
    let frames = |disk: &SimDisk| disk.syncs(Site::JournalCommit);
    let before = frames(&disk);
    for now in [0, 10, 19] {
        spool.write_mark_if_rested(now).unwrap();
    }
    assert_eq!(frames(&disk), before);
    for now in [20, 30, 90, 200] {
        spool.write_mark_if_rested(now).unwrap();
    }
    assert_eq!(frames(&disk), before + 1, "one mark a rest");
    drop(spool);
    disk.kill();
    let place = 4096;
    disk.corrupt("content-00000001.log", place + 3, |byte| byte ^ 1);
    let (content, _, damage, _) = replay(&disk);
    assert_eq!(content, []);
    assert!(matches!(&damage[..], [Damage::Frames { .. }]), "{damage:?}");
}

#[test]
fn a_tail_without_a_mark_is_cut_counted_and_kept() {
    let disk = SimDisk::new(6);
    let spool = start(&disk);
    commit(&spool, 1);
    drop(spool);
    disk.kill();
    disk.corrupt("content-00000001.log", 4096 + 300, |byte| byte ^ 1);
    let evidence = disk.contents("content-00000001.log").unwrap()[4096..4096 + 800].to_vec();
    let (content, _, damage, spool) = replay(&disk);
    assert_eq!(content, []);
    let [Damage::Tail { kept: Some(kept), .. }] = &damage[..] else { panic!("{damage:?}") };
    assert_eq!(disk.contents(kept).unwrap()[..800], evidence);
    commit(&spool, 2);
    drop(spool);
    disk.restart();
    assert_eq!(replay(&disk).0, [2]);
}

#[test]
fn rotten_headers_and_lost_segments_are_named() {
    let disk = SimDisk::new(8);
    let spool = start(&disk);
    let places: Vec<Place> = (0..200).map(|number| commit(&spool, number)).collect();
    checkpoint(&spool);
    let lost = places[100].segment;
    spool.close().unwrap();
    drop(spool);
    // One sector of a header does not matter; all of them do, but the checkpoint knows the nonce.
    let name = format!("content-{lost:08x}.log");
    disk.corrupt(&name, 0, |byte| !byte);
    assert_eq!(open(&disk).damage(), []);
    for sector in 0..8 {
        disk.corrupt(&name, sector * 512 + 40, |byte| !byte);
    }
    let (_, _, damage, spool) = replay(&disk);
    assert_eq!(damage, [Damage::SegmentHeader { file: name.clone() }]);
    assert_eq!(spool.read(places[100], MessageId(100)).unwrap(), payload(100));
    drop(spool);

    // Without a checkpoint a segment that is gone is missed, and the others are recovered.
    let disk = SimDisk::new(9);
    let spool = start(&disk);
    let places: Vec<Place> = (0..200).map(|number| commit(&spool, number)).collect();
    spool.close().unwrap();
    drop(spool);
    angarium_spool::Disk::unlink(&disk, &name).unwrap();
    let (content, _, damage, _) = replay(&disk);
    assert_eq!(content.len(), places.iter().filter(|place| place.segment != lost).count());
    assert!(damage.contains(&Damage::MissingSegment { file: name }), "{damage:?}");
}

#[test]
fn an_unreadable_block_does_not_stop_the_start() {
    let disk = SimDisk::new(10);
    let spool = start(&disk);
    let places: Vec<Place> = (0..10).map(|number| commit(&spool, number)).collect();
    spool.close().unwrap();
    drop(spool);
    disk.spoil("content-00000001.log", places[4].offset as usize);
    let (content, _, damage, spool) = replay(&disk);
    assert_eq!(content, [0, 1, 2, 3, 5, 6, 7, 8, 9]);
    assert!(damage.contains(&Damage::Unreadable { file: "content-00000001.log".into() }));
    let place = commit(&spool, 11);
    assert_eq!(place.segment, 2, "nothing more is written into that file");
    assert_eq!(spool.read(places[9], MessageId(9)).unwrap(), payload(9));
}

#[test]
fn the_previous_checkpoint_serves_when_the_newest_is_broken() {
    let disk = SimDisk::new(11);
    let spool = start(&disk);
    commit(&spool, 1);
    checkpoint(&spool);
    commit(&spool, 2);
    checkpoint(&spool);
    commit(&spool, 3);
    drop(spool);
    disk.kill();
    assert_eq!(replay(&disk).0, [3]);
    disk.kill();
    disk.corrupt("checkpoint-0000000000000002", 100, |byte| !byte);
    let (content, _, damage, spool) = replay(&disk);
    assert_eq!(content, [2, 3]);
    assert_eq!(damage, [Damage::Checkpoint { file: "checkpoint-0000000000000002".into() }]);
    checkpoint(&spool);
    drop(spool);
    disk.kill();
    assert_eq!(replay(&disk).0, []);
}

/// Three checkpoints in a row with recycling between them: the names must be durable before the segments go.
#[test]
fn checkpoints_need_their_names() {
    let story = |seed, suppress| {
        let disk = SimDisk::new(seed);
        let spool = start(&disk);
        for number in 0..200 {
            spool.release(commit(&spool, number));
        }
        checkpoint(&spool);
        checkpoint(&spool);
        assert!(spool.reclaim(0, Lsn(u64::MAX)) > 0);
        disk.suppress(suppress);
        for _ in 0..2 {
            checkpoint(&spool);
        }
        drop(spool);
        disk.restart();
        let recovery = open(&disk);
        recovery.damage().is_empty() && recovery.has_checkpoint()
    };
    assert!((0..60).all(|seed| story(seed, None)));
    assert!(!(0..60).all(|seed| story(seed, Some(Site::CheckpointFolder))));
}

/// The journal is gone, and with it the epoch it names: the identity still knows.
#[test]
fn the_identity_keeps_epoch_and_sequence() {
    let story = |seed, suppress| {
        let disk = SimDisk::new(seed);
        drop(start(&disk));
        disk.kill();
        // Lost by some accident, and made anew.
        angarium_spool::Disk::unlink(&disk, "identity").unwrap();
        angarium_spool::Disk::sync_folder(&disk, "", Site::SpareFolder).unwrap();
        disk.suppress(suppress);
        let (spool, epoch) = open(&disk).finish().unwrap();
        let highest = spool.commit_journal(b"fact").unwrap();
        drop(spool);
        disk.restart();
        let journals = angarium_spool::Disk::list(&disk, "").unwrap();
        for name in journals.iter().filter(|name| name.starts_with("journal-")) {
            angarium_spool::Disk::unlink(&disk, name).unwrap();
        }
        let (spool, later) = open(&disk).finish().unwrap();
        later > epoch && spool.commit_journal(b"fact").unwrap() > highest
    };
    assert!((0..60).all(|seed| story(seed, None)));
    assert!(!(0..60).all(|seed| story(seed, Some(Site::IdentityFolder))));
}

#[test]
fn a_newer_version_is_refused_in_one_sentence() {
    // Version byte and checksum of an identity.
    let disk = SimDisk::new(12);
    drop(start(&disk));
    disk.kill();
    let slot = 4096;
    let mut bytes = disk.contents("identity").unwrap()[slot..].to_vec();
    bytes[8] = 9;
    let crc = crc32c::crc32c(&bytes[..60]).to_le_bytes();
    disk.corrupt("identity", slot + 8, |_| 9);
    for (i, byte) in crc.into_iter().enumerate() {
        disk.corrupt("identity", slot + 60 + i, |_| byte);
    }
    let Err(error @ SpoolError::Newer { .. }) = Spool::open(Arc::new(disk.clone()), settings()) else {
        panic!("opened")
    };
    let text = error.to_string();
    assert!(text.starts_with("identity was written by a newer Angarium (format 9, this one reads up to 1)"), "{text}");
    assert!(!text.contains('\n'));

    // A frame that is intact and not understood.
    let disk = SimDisk::new(12);
    let spool = start(&disk);
    let place = commit(&spool, 1);
    commit(&spool, 2);
    drop(spool);
    disk.kill();
    let (name, at) = ("content-00000001.log", place.offset as usize);
    disk.corrupt(name, at + 5, |_| 77);
    let frame = disk.contents(name).unwrap()[at..at + 64].to_vec();
    let mut crc = crc32c::crc32c_append(crc32c::crc32c(&frame[..12]), &frame[16..]);
    crc = crc32c::crc32c_append(crc, &[place.segment.to_le_bytes(), place.offset.to_le_bytes()].concat());
    for (i, byte) in crc.to_le_bytes().into_iter().enumerate() {
        disk.corrupt(name, at + 12 + i, |_| byte);
    }
    assert!(matches!(Spool::open(Arc::new(disk.clone()), settings()), Err(SpoolError::Newer { .. })));
}

#[test]
fn one_process_at_a_time() {
    let disk = SimDisk::new(13);
    let spool = start(&disk);
    assert!(matches!(Spool::open(Arc::new(disk.clone()), settings()), Err(SpoolError::Held)));
    spool.close().unwrap();
    assert!(try_commit(&spool, 1).is_err());
    start(&disk);
}

#[test]
fn another_spools_segment_is_foreign() {
    let (disk, other) = (SimDisk::new(14), SimDisk::new(15));
    let spool = start(&disk);
    commit(&spool, 1);
    drop(spool);
    disk.kill();
    drop(start(&other));
    other.kill();
    let foreign = disk.contents("content-00000001.log").unwrap();
    let file = angarium_spool::Disk::create(&other, "content-00000001.log").unwrap();
    file.write_at(&[std::io::IoSlice::new(&foreign)], 0).unwrap();
    assert!(matches!(Spool::open(Arc::new(other.clone()), settings()), Err(SpoolError::Foreign { .. })));
}

#[test]
fn frames_inside_mail_are_harmless() {
    let disk = SimDisk::new(16);
    let spool = start(&disk);
    commit(&spool, 1);
    // The file's own bytes, header, nonce and all, come in as a mail body; then the frame before it rots.
    let own = disk.contents("content-00000001.log").unwrap()[..12_288].to_vec();
    let frame = Frame { id: MessageId(2), chunk: 0, copy: 0, parts: &[&own], payload_crc: crc32c::crc32c(&own) };
    let place = spool.commit_content(&[frame]).unwrap().places[0];
    commit(&spool, 3);
    spool.close().unwrap();
    drop(spool);
    disk.corrupt("content-00000001.log", place.offset as usize, |byte| !byte);
    let (content, _, damage, _) = replay(&disk);
    assert_eq!(content, [1, 3]);
    assert_eq!(damage.len(), 1);
}

#[test]
fn recycled_files_hold_no_ghosts() {
    let disk = SimDisk::new(17);
    let spool = start(&disk);
    let mut number = 0;
    for round in 0..6 {
        for _ in 0..150 {
            number += 1;
            spool.release(commit(&spool, number));
        }
        checkpoint(&spool);
        checkpoint(&spool);
        while spool.reclaim(round, Lsn(0)) > 0 {}
    }
    assert!(spool.stats().segments_recycled > 10, "{:?}", spool.stats());
    commit(&spool, 7777);
    drop(spool);
    disk.restart();
    let (content, _, damage, _) = replay(&disk);
    assert_eq!(content, [7777]);
    assert_eq!(damage, []);
}

#[test]
fn readers_and_claims_keep_a_segment() {
    let disk = SimDisk::new(18);
    let spool = start(&disk);
    let place = commit(&spool, 0);
    let claim = spool.claim(place).unwrap();
    for number in 1..150 {
        spool.release(commit(&spool, number));
    }
    spool.release(place);
    checkpoint(&spool);
    checkpoint(&spool);
    while spool.reclaim(0, Lsn(0)) > 0 {}
    assert_eq!(spool.read(place, MessageId(0)).unwrap(), payload(0));
    drop(claim);
    assert!(spool.reclaim(0, Lsn(0)) > 0);
    assert!(matches!(spool.read(place, MessageId(0)), Err(ReadError::Gone { .. })));
}

#[test]
fn the_journal_is_kept_down_to_its_floor() {
    let disk = SimDisk::new(19);
    let spool = start(&disk);
    let lsns: Vec<Lsn> = (0..200u32).map(|fact| spool.commit_journal(&fact.to_le_bytes()).unwrap()).collect();
    assert_eq!(spool.reclaim(0, lsns[100]), 0, "no checkpoint, nothing goes");
    checkpoint(&spool);
    checkpoint(&spool);
    while spool.reclaim(0, lsns[100]) > 0 {}
    let Err(ReadError::Retired { oldest }) = spool.read_journal(Lsn(0), 10) else { panic!("all is still there") };
    assert!(oldest <= lsns[100] && oldest > lsns[50]);
    assert_eq!(spool.read_journal(Lsn(lsns[100].0 - 1), 1).unwrap()[0].lsn, lsns[100]);
    assert_eq!(spool.read_journal(lsns[150], 1000).unwrap().len(), 49);
}

#[test]
fn a_checkpoint_waits_for_what_it_reflects() {
    let disk = SimDisk::new(20);
    let spool = start(&disk);
    let ahead = Marks { journal: Lsn(spool.durable().journal.0 + 5), ..spool.durable() };
    let writer = spool.begin_checkpoint(spool.durable()).unwrap();
    assert!(writer.publish(ahead).is_err());
    assert!(!angarium_spool::Disk::list(&disk, "").unwrap().iter().any(|name| name.starts_with("checkpoint")));
}
