//! How fast groups of content become durable: `cargo run --release -p angarium-spool --example commit_speed FOLDER`.
//!
//! One thread commits groups of 1, 32, 128 and 512 frames of 4 KiB and prints frames a second, syncs a second and the
//! share of the time spent outside write and sync. Compare with a raw writer of the same groups on the same disk. A
//! second thread prepares segments, as the engine's maintenance thread does. The folder is made and removed.

#![allow(clippy::unwrap_used, reason = "a tool for developers")]

use std::io::{self, IoSlice};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use angarium_nouns::MessageId;
use angarium_spool::{Disk, DiskFile, DiskLock, Frame, RealDisk, Site, Spool, SpoolSettings};

const GROUPS: [usize; 4] = [1, 32, 128, 512];
const RUN: Duration = Duration::from_secs(3);

/// The real disk, with the time that writes and syncs of content take.
struct Timed {
    disk: RealDisk,
    nanos: Arc<AtomicU64>,
}

struct TimedFile {
    file: Arc<dyn DiskFile>,
    nanos: Arc<AtomicU64>,
}

impl TimedFile {
    fn time<T>(&self, call: impl FnOnce() -> T) -> T {
        let start = Instant::now();
        let result = call();
        self.nanos.fetch_add(start.elapsed().as_nanos() as u64, Ordering::Relaxed);
        result
    }
}

impl DiskFile for TimedFile {
    fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
        self.file.read_at(buffer, offset)
    }
    fn write_at(&self, buffers: &[IoSlice<'_>], offset: u64) -> io::Result<usize> {
        // Groups have several buffers; zeros and headers, which the other thread writes, have one.
        if buffers.len() > 1 {
            self.time(|| self.file.write_at(buffers, offset))
        } else {
            self.file.write_at(buffers, offset)
        }
    }
    fn fill_with_zeros(&self, length: u64) -> io::Result<()> {
        self.file.fill_with_zeros(length)
    }
    fn sync(&self, site: Site) -> io::Result<()> {
        if site == Site::ContentCommit { self.time(|| self.file.sync(site)) } else { self.file.sync(site) }
    }
    fn start_writeback(&self, offset: u64, length: u64) {
        self.file.start_writeback(offset, length);
    }
    fn len(&self) -> io::Result<u64> {
        self.file.len()
    }
}

impl Timed {
    fn wrap(&self, file: Arc<dyn DiskFile>) -> Arc<dyn DiskFile> {
        Arc::new(TimedFile { file, nanos: self.nanos.clone() })
    }
}

impl Disk for Timed {
    fn open(&self, name: &str) -> io::Result<Arc<dyn DiskFile>> {
        self.disk.open(name).map(|file| self.wrap(file))
    }
    fn create(&self, name: &str) -> io::Result<Arc<dyn DiskFile>> {
        self.disk.create(name).map(|file| self.wrap(file))
    }
    fn list(&self, folder: &str) -> io::Result<Vec<String>> {
        self.disk.list(folder)
    }
    fn make_folder(&self, name: &str) -> io::Result<()> {
        self.disk.make_folder(name)
    }
    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        self.disk.rename(from, to)
    }
    fn unlink(&self, name: &str) -> io::Result<()> {
        self.disk.unlink(name)
    }
    fn sync_folder(&self, folder: &str, site: Site) -> io::Result<()> {
        self.disk.sync_folder(folder, site)
    }
    fn free_bytes(&self) -> io::Result<u64> {
        self.disk.free_bytes()
    }
    fn lock(&self, name: &str) -> io::Result<Option<Box<dyn DiskLock>>> {
        self.disk.lock(name)
    }
    fn random(&self) -> io::Result<u64> {
        self.disk.random()
    }
}

fn main() {
    let folder = std::env::args().nth(1).expect("usage: commit_speed FOLDER");
    let nanos = Arc::new(AtomicU64::new(0));
    let disk = Timed { disk: RealDisk::new(&folder).unwrap(), nanos: nanos.clone() };
    let (spool, _) = Spool::open(Arc::new(disk), SpoolSettings::default()).unwrap().finish().unwrap();
    // A run on recycled segments is what a server does all day: fill, release, recycle, then measure.
    while spool.prepare() {}
    let stop = AtomicBool::new(false);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            while !stop.load(Ordering::Relaxed) {
                if !spool.prepare() && spool.reclaim(0, angarium_nouns::Lsn(0)) == 0 {
                    checkpoint(&spool);
                    std::thread::sleep(Duration::from_millis(2));
                }
            }
        });
        for group in GROUPS {
            measure(&spool, group, &nanos);
        }
        stop.store(true, Ordering::Relaxed);
    });
    drop(spool);
    std::fs::remove_dir_all(&folder).unwrap();
}

fn measure(spool: &Spool, group: usize, nanos: &AtomicU64) {
    let body = vec![b'x'; 3800];
    let head = vec![b'h'; 228];
    let parts: [&[u8]; 2] = [&head, &body];
    let payload_crc = crc32c::crc32c_append(crc32c::crc32c(&head), &body);
    let frame = Frame { id: MessageId(7), chunk: 0, copy: 0, parts: &parts, payload_crc };
    let frames = vec![frame; group];
    nanos.store(0, Ordering::Relaxed);
    let late = spool.stats().segments_late;
    let (start, mut groups) = (Instant::now(), 0u64);
    while start.elapsed() < RUN {
        for place in spool.commit_content(&frames).unwrap().places {
            spool.release(place);
        }
        groups += 1;
    }
    let seconds = start.elapsed().as_secs_f64();
    let disk = nanos.load(Ordering::Relaxed) as f64 / 1e9;
    println!(
        "group {group:4}: {:8.0} frames/s {:6.0} syncs/s, {:.1} us a group outside the disk, late segments {}",
        groups as f64 * group as f64 / seconds,
        groups as f64 / seconds,
        (seconds - disk) / groups as f64 * 1e6,
        spool.stats().segments_late - late
    );
}

/// So that segments are recycled; only while some are sealed.
fn checkpoint(spool: &Spool) {
    if spool.stats().content_segments > 6 {
        for _ in 0..2 {
            let marks = spool.durable();
            spool.begin_checkpoint(marks).unwrap().publish(marks).unwrap();
        }
    }
}
