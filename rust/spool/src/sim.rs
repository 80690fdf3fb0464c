//! The simulated disk: everything a real disk may do to us, from one seed.
//!
//! Each file has what programs see and what would survive. A power failure keeps any subset of the unsynced 512-byte
//! sectors, each in any version it had, and any subset of the unsynced changes of names. Every call is counted and may
//! be the one at which the power fails; calls may be made to fail (short write, no room, EIO once and then clean-looking
//! success, a write that is lost although its sync succeeded). Files that are written over keep their old bytes. One
//! [`Site`] can be made not to sync. The same seed and calls give the same disk.

use std::collections::{BTreeMap, BTreeSet};
use std::io::{self, IoSlice};
use std::sync::Arc;

use parking_lot::Mutex;

use crate::disk::{Disk, DiskFile, DiskLock, Site};

mod chance;
mod image;
mod names;

pub use chance::Chance;
use image::Image;
use names::{NameChange, folder_of};

/// What a disk writes whole or not at all.
pub const SECTOR: usize = 512;
/// Room of a disk without a set capacity.
const UNLIMITED: u64 = 1 << 40;

/// What happens to one call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Failure {
    /// A write stops half-way and says so.
    ShortWrite,
    /// ENOSPC: at making, writing (also over old bytes) or syncing.
    NoSpace,
    /// EIO. A sync that fails so leaves an unknown part on disk, and the next one succeeds without writing the rest.
    Io,
    /// A sync succeeds and loses one sector.
    LostWrite,
}

struct State {
    chance: Chance,
    nonces: Chance,
    files: BTreeMap<u64, Image>,
    next_file: u64,
    names: BTreeMap<String, u64>,
    kept_names: BTreeMap<String, u64>,
    pending: Vec<NameChange>,
    locked: bool,
    /// Handles of an earlier start are dead.
    boot: u64,
    calls: u64,
    crash_at: Option<u64>,
    crashed: bool,
    failures: BTreeMap<u64, Failure>,
    capacity: u64,
    suppressed: Option<Site>,
    syncs: BTreeMap<Site, u64>,
}

impl State {
    /// Counts a call and says what is to happen to it. `Err`: the power is off.
    fn call(&mut self, boot: u64) -> io::Result<Option<Failure>> {
        if self.crashed || boot != self.boot {
            return Err(io::Error::other("the power is off"));
        }
        self.calls += 1;
        if self.crash_at.is_some_and(|at| self.calls >= at) {
            self.crashed = true;
        }
        Ok(self.failures.remove(&self.calls))
    }

    /// The end of a call that may have been the last one: done or not, nobody was told.
    fn answer<T>(&self, value: T) -> io::Result<T> {
        if self.crashed { Err(io::Error::other("the power failed")) } else { Ok(value) }
    }

    /// A change that the failing call may still have begun.
    fn takes_effect(&mut self) -> bool {
        !self.crashed || self.chance.percent(50)
    }

    fn file(&mut self, number: u64) -> io::Result<&mut Image> {
        self.files.get_mut(&number).ok_or_else(|| io::ErrorKind::NotFound.into())
    }

    fn allocated(&self) -> u64 {
        self.files.values().map(|image| image.allocated).sum()
    }

    fn change(&mut self, change: NameChange) {
        if self.takes_effect() {
            change.apply(&mut self.names);
            self.pending.push(change);
        }
    }

    fn drop_unnamed(&mut self) {
        let named: BTreeSet<u64> = self.names.values().chain(self.kept_names.values()).copied().collect();
        self.files.retain(|number, _| named.contains(number));
    }
}

/// A disk in memory. Clones are the same disk.
#[derive(Clone)]
pub struct SimDisk {
    state: Arc<Mutex<State>>,
}

impl SimDisk {
    pub fn new(seed: u64) -> Self {
        let mut chance = Chance::new(seed);
        let nonces = Chance::new(chance.draw());
        let state = State {
            chance,
            nonces,
            files: BTreeMap::new(),
            next_file: 1,
            names: BTreeMap::new(),
            kept_names: BTreeMap::new(),
            pending: Vec::new(),
            locked: false,
            boot: 0,
            calls: 0,
            crash_at: None,
            crashed: false,
            failures: BTreeMap::new(),
            capacity: UNLIMITED,
            suppressed: None,
            syncs: BTreeMap::new(),
        };
        Self { state: Arc::new(Mutex::new(state)) }
    }

    /// The power fails at the `calls`-th call from now on (1: the next).
    pub fn crash_after(&self, calls: u64) {
        let mut state = self.state.lock();
        state.crash_at = Some(state.calls + calls);
    }

    pub fn has_crashed(&self) -> bool {
        self.state.lock().crashed
    }

    /// The power fails now (or failed before) and comes back: what was not synced is partly gone.
    pub fn restart(&self) {
        let mut state = self.state.lock();
        let state = &mut *state;
        let odds = [0, 25, 50, 75, 100][state.chance.below(5) as usize];
        for change in std::mem::take(&mut state.pending) {
            if state.chance.percent(odds) {
                change.apply(&mut state.kept_names);
            }
        }
        state.names.clone_from(&state.kept_names);
        state.drop_unnamed();
        for image in state.files.values_mut() {
            image.crash(&mut state.chance, odds);
        }
        state.begin();
    }

    /// The process dies (`kill -9`) and the machine goes on: nothing is lost yet, nothing is synced.
    pub fn kill(&self) {
        self.state.lock().begin();
    }

    /// Calls made so far.
    pub fn calls(&self) -> u64 {
        self.state.lock().calls
    }

    /// The `calls`-th call from now on fails this way, if it is of a kind that can.
    pub fn fail_after(&self, calls: u64, failure: Failure) {
        let mut state = self.state.lock();
        let at = state.calls + calls;
        state.failures.insert(at, failure);
    }

    /// Failures that were planned and have not happened do not.
    pub fn calm(&self) {
        self.state.lock().failures.clear();
    }

    /// Syncs made for this reason do nothing from now on.
    pub fn suppress(&self, site: Option<Site>) {
        self.state.lock().suppressed = site;
    }

    pub fn syncs(&self, site: Site) -> u64 {
        self.state.lock().syncs.get(&site).copied().unwrap_or(0)
    }

    /// Bytes the disk can hold in all.
    pub fn set_capacity(&self, bytes: u64) {
        self.state.lock().capacity = bytes;
    }

    /// Bytes that files hold on disk.
    pub fn used(&self) -> u64 {
        self.state.lock().allocated()
    }

    /// Bytes of a file as a program would read them.
    pub fn contents(&self, name: &str) -> Option<Vec<u8>> {
        let state = self.state.lock();
        state.files.get(state.names.get(name)?).map(|image| image.seen.clone())
    }

    /// Bytes that rot: the same in what is seen and what is kept. False when there is no such byte.
    pub fn corrupt(&self, name: &str, offset: usize, change: impl Fn(u8) -> u8) -> bool {
        let mut state = self.state.lock();
        let state = &mut *state;
        let Some(image) = state.names.get(name).and_then(|number| state.files.get_mut(number)) else { return false };
        for bytes in [&mut image.seen, &mut image.kept] {
            match bytes.get_mut(offset) {
                Some(byte) => *byte = change(*byte),
                None => return false,
            }
        }
        true
    }

    /// A sector that can no longer be read.
    pub fn spoil(&self, name: &str, offset: usize) {
        let mut state = self.state.lock();
        let state = &mut *state;
        if let Some(image) = state.names.get(name).and_then(|number| state.files.get_mut(number)) {
            image.bad.insert(offset / SECTOR);
        }
    }

    fn handle(&self, state: &State, file: u64) -> Arc<dyn DiskFile> {
        Arc::new(SimFile { state: self.state.clone(), file, boot: state.boot })
    }
}

impl State {
    fn begin(&mut self) {
        self.locked = false;
        self.crashed = false;
        self.crash_at = None;
        self.boot += 1;
    }
}

fn error_of(failure: Failure) -> io::Error {
    match failure {
        Failure::NoSpace => io::ErrorKind::StorageFull.into(),
        _ => io::Error::other("input/output error"),
    }
}

impl Disk for SimDisk {
    fn open(&self, name: &str) -> io::Result<Arc<dyn DiskFile>> {
        let mut state = self.state.lock();
        let boot = state.boot;
        state.call(boot)?;
        let file = *state.names.get(name).ok_or(io::ErrorKind::NotFound)?;
        state.answer(self.handle(&state, file))
    }

    fn create(&self, name: &str) -> io::Result<Arc<dyn DiskFile>> {
        let mut state = self.state.lock();
        let boot = state.boot;
        if let Some(failure @ (Failure::NoSpace | Failure::Io)) = state.call(boot)? {
            return Err(error_of(failure));
        }
        let file = state.next_file;
        state.next_file += 1;
        state.files.insert(file, Image::default());
        state.change(NameChange::Set { name: name.to_owned(), file });
        state.answer(self.handle(&state, file))
    }

    fn list(&self, folder: &str) -> io::Result<Vec<String>> {
        let mut state = self.state.lock();
        let boot = state.boot;
        state.call(boot)?;
        let inside = state.names.keys().filter(|name| folder_of(name) == folder);
        let names = inside.map(|name| name.rsplit('/').next().unwrap_or(name).to_owned()).collect();
        state.answer(names)
    }

    /// Folders are simply there.
    fn make_folder(&self, _name: &str) -> io::Result<()> {
        Ok(())
    }

    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        let mut state = self.state.lock();
        let boot = state.boot;
        if let Some(Failure::Io) = state.call(boot)? {
            return Err(error_of(Failure::Io));
        }
        let file = *state.names.get(from).ok_or(io::ErrorKind::NotFound)?;
        state.change(NameChange::Rename { from: from.to_owned(), to: to.to_owned(), file });
        state.answer(())
    }

    fn unlink(&self, name: &str) -> io::Result<()> {
        let mut state = self.state.lock();
        let boot = state.boot;
        state.call(boot)?;
        if !state.names.contains_key(name) {
            return Err(io::ErrorKind::NotFound.into());
        }
        state.change(NameChange::Remove { name: name.to_owned() });
        state.answer(())
    }

    fn sync_folder(&self, folder: &str, site: Site) -> io::Result<()> {
        let mut state = self.state.lock();
        let state = &mut *state;
        let boot = state.boot;
        let failure = state.call(boot)?;
        *state.syncs.entry(site).or_default() += 1;
        if state.crashed || state.suppressed == Some(site) {
            return state.answer(());
        }
        if let Some(Failure::Io) = failure {
            return Err(error_of(Failure::Io));
        }
        let (synced, rest) = std::mem::take(&mut state.pending).into_iter().partition(|change| change.touches(folder));
        state.pending = rest;
        let synced: Vec<NameChange> = synced;
        for change in synced {
            change.apply(&mut state.kept_names);
        }
        Ok(())
    }

    fn free_bytes(&self) -> io::Result<u64> {
        let mut state = self.state.lock();
        let boot = state.boot;
        state.call(boot)?;
        let free = state.capacity.saturating_sub(state.allocated());
        state.answer(free)
    }

    fn lock(&self, _name: &str) -> io::Result<Option<Box<dyn DiskLock>>> {
        let mut state = self.state.lock();
        let boot = state.boot;
        state.call(boot)?;
        if std::mem::replace(&mut state.locked, true) {
            return state.answer(None);
        }
        state.answer(())?;
        Ok(Some(Box::new(SimLock { state: self.state.clone(), boot })))
    }

    fn random(&self) -> io::Result<u64> {
        Ok(self.state.lock().nonces.draw())
    }
}

struct SimLock {
    state: Arc<Mutex<State>>,
    boot: u64,
}

impl DiskLock for SimLock {}

impl Drop for SimLock {
    fn drop(&mut self) {
        let mut state = self.state.lock();
        if state.boot == self.boot {
            state.locked = false;
        }
    }
}

struct SimFile {
    state: Arc<Mutex<State>>,
    file: u64,
    boot: u64,
}

impl DiskFile for SimFile {
    fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
        let mut state = self.state.lock();
        state.call(self.boot)?;
        let image = state.file(self.file)?;
        let start = (offset as usize).min(image.seen.len());
        let end = (start + buffer.len()).min(image.seen.len());
        if image.bad.range(start / SECTOR..end.div_ceil(SECTOR)).next().is_some() {
            return Err(error_of(Failure::Io));
        }
        buffer[..end - start].copy_from_slice(&image.seen[start..end]);
        state.answer(end - start)
    }

    fn write_at(&self, buffers: &[IoSlice<'_>], offset: u64) -> io::Result<usize> {
        let mut state = self.state.lock();
        let failure = state.call(self.boot)?;
        let mut bytes: Vec<u8> = buffers.iter().flat_map(|buffer| buffer.iter()).copied().collect();
        let half = state.chance.below(bytes.len() as u64) as usize;
        if failure.is_some_and(|failure| failure != Failure::LostWrite) {
            bytes.truncate(half);
        }
        if state.takes_effect() {
            state.file(self.file)?.write(&bytes, offset as usize);
        }
        match failure {
            Some(failure @ (Failure::NoSpace | Failure::Io)) => Err(error_of(failure)),
            _ => state.answer(bytes.len()),
        }
    }

    fn sync(&self, site: Site) -> io::Result<()> {
        let mut state = self.state.lock();
        let state = &mut *state;
        let failure = state.call(self.boot)?;
        *state.syncs.entry(site).or_default() += 1;
        if state.crashed || state.suppressed == Some(site) {
            return state.answer(());
        }
        let free = state.capacity.saturating_sub(state.allocated());
        let image = state.files.get_mut(&self.file).ok_or(io::ErrorKind::NotFound)?;
        if image.seen.len() as u64 > image.allocated + free {
            return Err(error_of(Failure::NoSpace));
        }
        match failure {
            Some(failure @ (Failure::Io | Failure::NoSpace)) => {
                image.sync_failed(&mut state.chance);
                Err(error_of(failure))
            }
            Some(Failure::LostWrite) => {
                let sectors: Vec<usize> = image.unsynced.keys().copied().collect();
                let lost = sectors.get(state.chance.below(sectors.len() as u64) as usize).copied();
                image.sync(lost);
                Ok(())
            }
            _ => {
                image.sync(None);
                Ok(())
            }
        }
    }

    fn start_writeback(&self, _offset: u64, _length: u64) {}

    fn len(&self) -> io::Result<u64> {
        let mut state = self.state.lock();
        state.call(self.boot)?;
        let length = state.file(self.file)?.seen.len() as u64;
        state.answer(length)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn written(disk: &SimDisk, name: &str, bytes: &[u8]) -> Arc<dyn DiskFile> {
        let file = disk.create(name).unwrap();
        file.write_at(&[IoSlice::new(bytes)], 0).unwrap();
        file
    }

    #[test]
    fn only_what_was_synced_is_sure_to_survive() {
        let mut fates = BTreeSet::new();
        for seed in 0..40 {
            let disk = SimDisk::new(seed);
            let file = written(&disk, "a", &[1; 2048]);
            file.sync(Site::BodyFile).unwrap();
            disk.sync_folder("", Site::BodyFolder).unwrap();
            file.write_at(&[IoSlice::new(&[2; 2048])], 0).unwrap();
            disk.rename("a", "b").unwrap();
            disk.restart();
            assert!(file.read_at(&mut [0], 0).is_err(), "handles die with the power");
            let name = disk.list("").unwrap().remove(0);
            let bytes = disk.contents(&name).unwrap();
            assert!(bytes.chunks(SECTOR).all(|sector| sector == [1; SECTOR] || sector == [2; SECTOR]));
            fates.insert((name, bytes.chunks(SECTOR).map(|sector| sector[0]).collect::<Vec<_>>()));
        }
        assert!(fates.len() > 10, "many fates: {}", fates.len());
    }

    #[test]
    fn unnamed_files_go_and_a_kill_loses_nothing() {
        let disk = SimDisk::new(1);
        written(&disk, "a", b"x").sync(Site::BodyFile).unwrap();
        disk.kill();
        assert_eq!(disk.contents("a").unwrap(), b"x");
        let gone = (0..40).any(|seed| {
            let disk = SimDisk::new(seed);
            written(&disk, "a", b"x").sync(Site::BodyFile).unwrap();
            disk.restart();
            disk.contents("a").is_none()
        });
        assert!(gone);
    }

    #[test]
    fn a_failed_sync_is_followed_by_an_empty_success() {
        let lost = (0..40).any(|seed| {
            let disk = SimDisk::new(seed);
            let file = written(&disk, "a", &[0; 4096]);
            file.sync(Site::BodyFile).unwrap();
            disk.sync_folder("", Site::BodyFolder).unwrap();
            file.write_at(&[IoSlice::new(&[3; 4096])], 0).unwrap();
            disk.fail_after(1, Failure::Io);
            assert!(file.sync(Site::BodyFile).is_err());
            assert!(file.sync(Site::BodyFile).is_ok());
            disk.restart();
            disk.contents("a").unwrap() != [3; 4096]
        });
        assert!(lost);
    }

    #[test]
    fn every_call_can_be_the_last() {
        for calls in 1..6 {
            let disk = SimDisk::new(calls);
            disk.crash_after(calls);
            let run = || {
                let file = disk.create("a")?;
                file.write_at(&[IoSlice::new(b"abc")], 0)?;
                file.sync(Site::BodyFile)?;
                disk.sync_folder("", Site::BodyFolder)?;
                disk.rename("a", "b")
            };
            assert!(run().is_err());
            assert!(disk.has_crashed());
            assert!(disk.list("").is_err());
            disk.restart();
            assert!(disk.list("").is_ok());
        }
    }

    #[test]
    fn room_is_taken_at_the_sync() {
        let disk = SimDisk::new(1);
        disk.set_capacity(1000);
        let file = written(&disk, "a", &[0; 800]);
        file.sync(Site::BodyFile).unwrap();
        assert_eq!(disk.free_bytes().unwrap(), 200);
        let second = written(&disk, "b", &[0; 800]);
        assert_eq!(second.sync(Site::BodyFile).unwrap_err().kind(), io::ErrorKind::StorageFull);
        disk.unlink("a").unwrap();
    }
}
