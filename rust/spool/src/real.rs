//! The real disk: one folder of a Linux file system.
//!
//! Files are made with mode 0600 and folders with 0700 (mail is private), descriptors are close-on-exec (the standard
//! library's default). Writes are buffered `pwritev`; `sync` is `fdatasync`, which also makes the length durable.
//! Only the zeros of a fresh file go past the page cache, where they would cost more than the mail that replaces them.

use std::fs::{DirBuilder, File, OpenOptions};
use std::io::{self, IoSlice};
use std::os::unix::fs::{DirBuilderExt, FileExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::disk::{Disk, DiskFile, DiskLock, Site, ZEROS, write_pieces};
use crate::system;

#[derive(Debug)]
pub struct RealDisk {
    root: PathBuf,
}

impl RealDisk {
    /// Makes the folder (and those above it) when it is missing.
    pub fn new(root: impl AsRef<Path>) -> io::Result<Self> {
        let root = root.as_ref().to_owned();
        DirBuilder::new().recursive(true).mode(0o700).create(&root)?;
        Ok(Self { root })
    }

    fn path(&self, name: &str) -> PathBuf {
        if name.is_empty() { self.root.clone() } else { self.root.join(name) }
    }
}

impl Disk for RealDisk {
    fn open(&self, name: &str) -> io::Result<Arc<dyn DiskFile>> {
        let file = OpenOptions::new().read(true).write(true).open(self.path(name))?;
        Ok(Arc::new(RealFile(file)))
    }

    fn create(&self, name: &str) -> io::Result<Arc<dyn DiskFile>> {
        let mut options = OpenOptions::new();
        options.read(true).write(true).create(true).truncate(true).mode(0o600);
        Ok(Arc::new(RealFile(options.open(self.path(name))?)))
    }

    fn list(&self, folder: &str) -> io::Result<Vec<String>> {
        let mut names = Vec::new();
        for entry in std::fs::read_dir(self.path(folder))? {
            let entry = entry?;
            if entry.file_type()?.is_file() {
                names.extend(entry.file_name().into_string());
            }
        }
        names.sort_unstable();
        Ok(names)
    }

    fn make_folder(&self, name: &str) -> io::Result<()> {
        DirBuilder::new().recursive(true).mode(0o700).create(self.path(name))
    }

    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        std::fs::rename(self.path(from), self.path(to))
    }

    fn unlink(&self, name: &str) -> io::Result<()> {
        std::fs::remove_file(self.path(name))
    }

    fn sync_folder(&self, folder: &str, _site: Site) -> io::Result<()> {
        File::open(self.path(folder))?.sync_all()
    }

    fn free_bytes(&self) -> io::Result<u64> {
        system::free_bytes(&self.root)
    }

    fn lock(&self, name: &str) -> io::Result<Option<Box<dyn DiskLock>>> {
        let mut options = OpenOptions::new();
        options.read(true).write(true).create(true).truncate(false).mode(0o600);
        let file = options.open(self.path(name))?;
        Ok(if system::lock_exclusive(&file)? { Some(Box::new(RealLock { _file: file })) } else { None })
    }

    fn random(&self) -> io::Result<u64> {
        getrandom::u64().map_err(io::Error::other)
    }
}

/// The lock lives as long as the open file description.
struct RealLock {
    _file: File,
}

impl DiskLock for RealLock {}

/// What direct writes must be aligned to in memory and file, on every disk in use.
const ALIGNED: usize = 4096;

struct RealFile(File);

impl RealFile {
    /// Past the page cache where the file system can; through it where it cannot, and for files that are not of whole
    /// pages.
    fn write_zeros(&self, length: u64) -> io::Result<()> {
        let bytes = vec![0; ZEROS + ALIGNED];
        let start = bytes.as_ptr().align_offset(ALIGNED);
        let zeros = &bytes[start..start + ZEROS];
        let write = |piece: &[u8], offset| system::write_vectored_at(&self.0, &[IoSlice::new(piece)], offset);
        if length.is_multiple_of(ALIGNED as u64) && system::set_direct(&self.0, true).is_ok() {
            let written = write_pieces(zeros, length, write);
            system::set_direct(&self.0, false)?;
            match written {
                Err(error) if error.kind() == io::ErrorKind::InvalidInput => {}
                written => return written,
            }
        }
        write_pieces(zeros, length, write)
    }
}

impl DiskFile for RealFile {
    fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
        let mut filled = 0;
        while filled < buffer.len() {
            match self.0.read_at(&mut buffer[filled..], offset + filled as u64) {
                Ok(0) => break,
                Ok(count) => filled += count,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        Ok(filled)
    }

    fn write_at(&self, buffers: &[IoSlice<'_>], offset: u64) -> io::Result<usize> {
        system::write_vectored_at(&self.0, buffers, offset)
    }

    fn fill_with_zeros(&self, length: u64) -> io::Result<()> {
        // A full disk says so before anything is written.
        system::reserve(&self.0, length)?;
        self.write_zeros(length)
    }

    fn sync(&self, _site: Site) -> io::Result<()> {
        self.0.sync_data()
    }

    fn start_writeback(&self, offset: u64, length: u64) {
        system::start_writeback(&self.0, offset, length);
    }

    fn len(&self) -> io::Result<u64> {
        self.0.metadata().map(|metadata| metadata.len())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fresh_files_are_zeros() {
        let root = std::env::temp_dir().join(format!("angarium-zeros-{}", std::process::id()));
        let disk = RealDisk::new(&root).unwrap();
        for length in [3 * ZEROS as u64 + 8192, ALIGNED as u64, 1000] {
            let file = disk.create("zeros").unwrap();
            file.fill_with_zeros(length).unwrap();
            file.sync(Site::SegmentZeros).unwrap();
            assert_eq!(file.len().unwrap(), length);
            // Buffered and unaligned again afterwards.
            file.write_at(&[IoSlice::new(b"x")], 7).unwrap();
            let mut bytes = vec![9; length as usize + 1];
            assert_eq!(file.read_at(&mut bytes, 0).unwrap() as u64, length);
            assert_eq!(bytes.iter().take(length as usize).map(|&byte| u64::from(byte)).sum::<u64>(), u64::from(b'x'));
        }
        std::fs::remove_dir_all(&root).unwrap();
    }

    #[test]
    fn writes_reads_lists_and_locks() {
        let root = std::env::temp_dir().join(format!("angarium-real-{}", std::process::id()));
        let disk = RealDisk::new(&root).unwrap();
        disk.make_folder("bodies").unwrap();
        let file = disk.create("bodies/a").unwrap();
        assert_eq!(file.write_at(&[IoSlice::new(b"hello "), IoSlice::new(b"world")], 3).unwrap(), 11);
        file.sync(Site::BodyFile).unwrap();
        disk.sync_folder("bodies", Site::BodyFolder).unwrap();
        let mut buffer = [9; 20];
        assert_eq!(file.read_at(&mut buffer, 0).unwrap(), 14);
        assert_eq!(&buffer[..14], b"\0\0\0hello world");
        disk.rename("bodies/a", "bodies/b").unwrap();
        assert_eq!(disk.list("bodies").unwrap(), ["b"]);
        assert!(disk.list("").unwrap().is_empty());
        let lock = disk.lock("lock").unwrap();
        assert!(lock.is_some());
        assert!(disk.lock("lock").unwrap().is_none());
        drop(lock);
        assert!(disk.lock("lock").unwrap().is_some());
        assert!(disk.free_bytes().unwrap() > 0);
        std::fs::remove_dir_all(&root).unwrap();
    }
}
