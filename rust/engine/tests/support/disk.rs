//! A real disk with weather: no room, syncs that fail, syncs that wait until they are let go.

use std::io::{self, IoSlice};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use angarium_spool::{Disk, DiskFile, DiskLock, RealDisk, Site};
use parking_lot::{Condvar, Mutex};

#[derive(Default)]
struct Sky {
    full: AtomicBool,
    broken: AtomicBool,
    held: Mutex<bool>,
    let_go: Condvar,
    /// Content syncs that wait now, and that were made.
    waiting: AtomicUsize,
    synced: AtomicUsize,
}

pub struct Weather {
    disk: RealDisk,
    sky: Arc<Sky>,
}

impl Weather {
    pub fn new(folder: &Path) -> Self {
        Self { disk: RealDisk::new(folder).unwrap(), sky: Arc::default() }
    }

    /// From now on there is room for nothing new, or again.
    pub fn set_full(&self, full: bool) {
        self.sky.full.store(full, Ordering::SeqCst);
    }

    /// From now on content syncs fail.
    pub fn break_content_sync(&self) {
        self.sky.broken.store(true, Ordering::SeqCst);
    }

    /// Content syncs wait until `release`.
    pub fn hold(&self) {
        *self.sky.held.lock() = true;
    }

    pub fn release(&self) {
        *self.sky.held.lock() = false;
        self.sky.let_go.notify_all();
    }

    pub fn waiting(&self) -> usize {
        self.sky.waiting.load(Ordering::SeqCst)
    }

    pub fn synced(&self) -> usize {
        self.sky.synced.load(Ordering::SeqCst)
    }

    pub fn clear_up(&self) {
        self.set_full(false);
        self.release();
    }
}

fn no_room() -> io::Error {
    io::Error::from_raw_os_error(libc::ENOSPC)
}

impl Disk for Weather {
    fn open(&self, name: &str) -> io::Result<Arc<dyn DiskFile>> {
        Ok(Arc::new(Under { file: self.disk.open(name)?, sky: self.sky.clone() }))
    }

    fn create(&self, name: &str) -> io::Result<Arc<dyn DiskFile>> {
        if self.sky.full.load(Ordering::SeqCst) {
            return Err(no_room());
        }
        Ok(Arc::new(Under { file: self.disk.create(name)?, sky: self.sky.clone() }))
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
        if self.sky.full.load(Ordering::SeqCst) { Ok(0) } else { self.disk.free_bytes() }
    }

    fn lock(&self, name: &str) -> io::Result<Option<Box<dyn DiskLock>>> {
        self.disk.lock(name)
    }

    fn random(&self) -> io::Result<u64> {
        self.disk.random()
    }
}

struct Under {
    file: Arc<dyn DiskFile>,
    sky: Arc<Sky>,
}

impl DiskFile for Under {
    fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
        self.file.read_at(buffer, offset)
    }

    fn write_at(&self, buffers: &[IoSlice<'_>], offset: u64) -> io::Result<usize> {
        self.file.write_at(buffers, offset)
    }

    fn sync(&self, site: Site) -> io::Result<()> {
        if site == Site::ContentCommit {
            self.sky.waiting.fetch_add(1, Ordering::SeqCst);
            let mut held = self.sky.held.lock();
            while *held {
                self.sky.let_go.wait(&mut held);
            }
            drop(held);
            self.sky.waiting.fetch_sub(1, Ordering::SeqCst);
            if self.sky.broken.load(Ordering::SeqCst) {
                return Err(io::Error::from_raw_os_error(libc::EIO));
            }
            self.sky.synced.fetch_add(1, Ordering::SeqCst);
        }
        self.file.sync(site)
    }

    fn start_writeback(&self, offset: u64, length: u64) {
        self.file.start_writeback(offset, length);
    }

    fn len(&self) -> io::Result<u64> {
        self.file.len()
    }
}
