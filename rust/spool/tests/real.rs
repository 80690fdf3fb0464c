//! The spool on a real file system: what was committed is there after the next opening.

#![allow(clippy::unwrap_used, reason = "tests may")]

use std::path::PathBuf;
use std::sync::Arc;

use angarium_nouns::{Lsn, MessageId};
use angarium_spool::{
    Frame, Marks, Place, ReadError, RealDisk, RecoveredFrame, Recovery, Spool, SpoolError, SpoolSettings,
};

struct Folder(PathBuf);

impl Folder {
    fn new(name: &str) -> Self {
        let path = std::env::temp_dir().join(format!("angarium-spool-{name}-{}", std::process::id()));
        let _ = std::fs::remove_dir_all(&path);
        Self(path)
    }

    fn open(&self) -> Result<Recovery, SpoolError> {
        let settings = SpoolSettings { segment_size: 1 << 20, reserved: 1, ..SpoolSettings::default() };
        Spool::open(Arc::new(RealDisk::new(&self.0).unwrap()), settings)
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

fn payload(n: u64) -> Vec<u8> {
    (0..n * 37 % 9000).map(|i| (i * n) as u8).collect()
}

fn commit(spool: &Spool, numbers: std::ops::Range<u64>) -> Vec<Place> {
    let payloads: Vec<_> = numbers.clone().map(payload).collect();
    let parts: Vec<[&[u8]; 2]> = payloads.iter().map(|p| p.split_at(p.len() / 3)).map(|(a, b)| [a, b]).collect();
    let frames: Vec<_> = numbers
        .zip(&payloads)
        .zip(&parts)
        .map(|((n, payload), parts)| Frame {
            id: MessageId(u128::from(n)),
            chunk: 0,
            copy: 0,
            parts,
            payload_crc: crc32c::crc32c(payload),
        })
        .collect();
    spool.commit_content(&frames).unwrap().places
}

#[test]
fn comes_back_in_order() {
    let folder = Folder::new("order");
    let (spool, epoch) = folder.open().unwrap().finish().unwrap();
    assert_eq!(epoch, 1);
    let mut places = commit(&spool, 0..3);
    let first = spool.commit_journal(b"one").unwrap();
    places.extend(commit(&spool, 3..600));
    let second = spool.commit_journal(b"two").unwrap();
    assert!(matches!(folder.open(), Err(SpoolError::Held)));
    for (n, &place) in places.iter().enumerate() {
        assert_eq!(spool.read(place, MessageId(n as u128)).unwrap(), payload(n as u64));
    }
    assert!(matches!(spool.read(places[7], MessageId(8)), Err(ReadError::Damaged { .. })));
    let facts = spool.read_journal(Lsn(0), 10).unwrap();
    assert_eq!(
        facts.iter().map(|f| (f.lsn, &f.payload[..])).collect::<Vec<_>>(),
        [(first, &b"one"[..]), (second, b"two")]
    );
    assert_eq!(spool.read_journal(first, 10).unwrap()[0].payload, b"two");
    spool.close().unwrap();
    drop(spool);

    let mut recovery = folder.open().unwrap();
    assert!(recovery.was_clean());
    assert_eq!(recovery.damage(), []);
    let (mut seen, mut facts, mut last) = (0, Vec::new(), Lsn(0));
    while let Some(frame) = recovery.next().unwrap() {
        match frame {
            RecoveredFrame::Content { at, start } => {
                assert!(at.lsn > last);
                last = at.lsn;
                assert_eq!(at.id, MessageId(seen));
                assert_eq!(at.place, places[seen as usize]);
                assert!(payload(seen as u64).starts_with(&start));
                recovery.keep(at.place);
                seen += 1;
            }
            RecoveredFrame::Journal { lsn, payload, .. } => {
                assert!(lsn > last);
                last = lsn;
                facts.push((seen, payload));
            }
        }
    }
    assert_eq!(seen, 600);
    assert_eq!(facts, [(3, b"one".to_vec()), (600, b"two".to_vec())]);
    let (spool, epoch) = recovery.finish().unwrap();
    assert_eq!(epoch, 2);
    assert_eq!(spool.stats().live_frames, 600);
    let place = commit(&spool, 9..10)[0];
    assert_eq!(spool.read(place, MessageId(9)).unwrap(), payload(9));
    assert_eq!(spool.read(places[599], MessageId(599)).unwrap(), payload(599));
}

#[test]
fn a_checkpoint_carries_what_it_was_given() {
    let folder = Folder::new("checkpoint");
    let (spool, _) = folder.open().unwrap().finish().unwrap();
    commit(&spool, 0..5);
    spool.commit_journal(b"before").unwrap();
    let applied = spool.durable();
    let mut writer = spool.begin_checkpoint(applied).unwrap();
    for i in 0..5000u32 {
        writer.write(1, &[i.to_le_bytes(); 8].concat()).unwrap();
        writer.write(2, &[1]).unwrap();
    }
    writer.publish(applied).unwrap();
    let mut writer = spool.begin_checkpoint(applied).unwrap();
    writer.write(1, b"never seen").unwrap();
    assert!(writer.publish(Marks { journal: Lsn(1 << 60), ..applied }).is_err());
    commit(&spool, 5..6);
    spool.commit_journal(b"after").unwrap();
    drop(spool);

    let mut recovery = folder.open().unwrap();
    assert_eq!(recovery.checkpoint_marks(), applied);
    let pages: Vec<_> = recovery.section(1).map(Result::unwrap).collect();
    assert_eq!(pages.iter().map(Vec::len).sum::<usize>(), 5000 * 32);
    assert!(pages.iter().all(|page| page.len() % 32 == 0));
    assert_eq!(recovery.section(2).map(|page| page.unwrap().len()).sum::<usize>(), 5000);
    assert_eq!(recovery.section(3).count(), 0);
    let mut frames = Vec::new();
    while let Some(frame) = recovery.next().unwrap() {
        frames.push(frame);
    }
    assert!(matches!(&frames[..], [RecoveredFrame::Content { at, .. }, RecoveredFrame::Journal { payload, .. }]
        if at.id == MessageId(5) && payload == b"after"));
}

#[test]
fn bodies_are_verified_and_orphans_removed() {
    let folder = Folder::new("bodies");
    let (spool, _) = folder.open().unwrap().finish().unwrap();
    let mut kept = spool.new_body(MessageId(1)).unwrap();
    for _ in 0..30 {
        kept.write(&vec![7; 100_000]).unwrap();
    }
    let kept = kept.finish().unwrap();
    assert_eq!(kept.length, 3_000_000);
    spool.read_body(&kept).unwrap().verify().unwrap();
    let wrong = angarium_spool::BodyFile { crc: kept.crc ^ 1, ..kept.clone() };
    assert!(spool.read_body(&wrong).unwrap().verify().is_err());
    let outside = angarium_spool::BodyFile { name: "../identity".into(), ..kept.clone() };
    assert!(matches!(spool.read_body(&outside), Err(ReadError::Gone { .. })));
    let orphan = spool.new_body(MessageId(2)).unwrap().finish().unwrap();
    let mut dropped = spool.new_body(MessageId(3)).unwrap();
    dropped.write(b"half").unwrap();
    drop(dropped);
    drop(spool);
    let mut recovery = folder.open().unwrap();
    recovery.keep_body(&kept.name);
    let (spool, _) = recovery.finish().unwrap();
    assert!(spool.read_body(&kept).is_ok());
    assert!(matches!(spool.read_body(&orphan), Err(ReadError::Gone { .. })));
    assert_eq!(std::fs::read_dir(folder.0.join("bodies")).unwrap().count(), 1);
}

/// Content, facts and copies from three threads, a fourth preparing and reclaiming: LSNs rise within each log and over
/// all of them, and everything is there afterwards.
#[test]
fn three_committers_at_once() {
    let folder = Folder::new("threads");
    let (spool, _) = folder.open().unwrap().finish().unwrap();
    let done = std::sync::atomic::AtomicUsize::new(0);
    let finished = || done.fetch_add(1, std::sync::atomic::Ordering::SeqCst);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            for round in 0..40 {
                commit(&spool, round * 20..round * 20 + 20);
            }
            finished();
        });
        scope.spawn(|| {
            for fact in 0..60u32 {
                spool.commit_journal(&fact.to_le_bytes()).unwrap();
            }
            finished();
        });
        scope.spawn(|| {
            for number in 0..30u64 {
                let payload = payload(number);
                let payload_crc = crc32c::crc32c(&payload);
                let frame = Frame { id: MessageId(number.into()), chunk: 0, copy: 1, parts: &[&payload], payload_crc };
                spool.commit_copies(&[frame]).unwrap();
            }
            finished();
        });
        while done.load(std::sync::atomic::Ordering::SeqCst) < 3 {
            spool.prepare();
            let marks = spool.durable();
            spool.begin_checkpoint(Marks::default()).unwrap().publish(marks).unwrap();
            spool.reclaim(0, Lsn(0));
        }
    });
    drop(spool);
    let mut recovery = folder.open().unwrap();
    assert_eq!(recovery.damage(), []);
    let (mut content, mut copies, mut facts, mut last) = (0, 0, Vec::new(), Lsn(0));
    while let Some(frame) = recovery.next().unwrap() {
        let lsn = match frame {
            RecoveredFrame::Content { at, .. } => {
                copies += u32::from(at.copy > 0);
                content += u32::from(at.copy == 0);
                assert_eq!(recovery.read(at.place, at.id).unwrap(), payload(at.id.0 as u64));
                at.lsn
            }
            RecoveredFrame::Journal { lsn, payload, .. } => {
                facts.push(u32::from_le_bytes(payload.try_into().unwrap()));
                lsn
            }
        };
        assert!(lsn > last);
        last = lsn;
    }
    assert_eq!((content, copies), (800, 30));
    assert_eq!(facts, (0..60).collect::<Vec<u32>>());
}
