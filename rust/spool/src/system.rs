//! The few system calls that the standard library does not offer. The only unsafe code of the crate.
//!
//! Linux. Every function takes an open descriptor, touches no memory but what it is given, and reports `errno`.

use std::fs::File;
use std::io::{self, IoSlice};
use std::os::fd::AsRawFd;
use std::path::Path;

/// One `pwritev`: never retried, never split; a short write is returned as it is.
pub fn write_vectored_at(file: &File, buffers: &[IoSlice<'_>], offset: u64) -> io::Result<usize> {
    let count = i32::try_from(buffers.len()).map_err(|_| io::ErrorKind::InvalidInput)?;
    let offset = i64::try_from(offset).map_err(|_| io::ErrorKind::InvalidInput)?;
    // SAFETY: `IoSlice` is ABI-compatible with `iovec` (guaranteed by std); the slices outlive the call.
    let written = unsafe { libc::pwritev(file.as_raw_fd(), buffers.as_ptr().cast(), count, offset) };
    usize::try_from(written).map_err(|_| io::Error::last_os_error())
}

/// An exclusive lock of the open file description: `false` when somebody else holds it.
pub fn lock_exclusive(file: &File) -> io::Result<bool> {
    // SAFETY: `flock` is plain data for which all zeros is a valid value.
    let mut lock: libc::flock = unsafe { std::mem::zeroed() };
    lock.l_type = libc::F_WRLCK as libc::c_short;
    lock.l_whence = libc::SEEK_SET as libc::c_short;
    // SAFETY: the pointer is to a live `flock` for the length of the call.
    if unsafe { libc::fcntl(file.as_raw_fd(), libc::F_OFD_SETLK, &raw const lock) } == 0 {
        return Ok(true);
    }
    let error = io::Error::last_os_error();
    match error.raw_os_error() {
        Some(libc::EAGAIN | libc::EACCES) => Ok(false),
        _ => Err(error),
    }
}

/// Takes room for the first `length` bytes. A file system that cannot says nothing: the writes then find out.
pub fn reserve(file: &File, length: u64) -> io::Result<()> {
    let length = i64::try_from(length).map_err(|_| io::ErrorKind::InvalidInput)?;
    // SAFETY: no memory is passed.
    if unsafe { libc::fallocate(file.as_raw_fd(), 0, 0, length) } == 0 {
        return Ok(());
    }
    let error = io::Error::last_os_error();
    match error.raw_os_error() {
        Some(libc::EOPNOTSUPP | libc::ENOSYS) => Ok(()),
        _ => Err(error),
    }
}

/// Writes of this open file go past the page cache, or through it again.
pub fn set_direct(file: &File, direct: bool) -> io::Result<()> {
    // SAFETY: no memory is passed.
    let flags = unsafe { libc::fcntl(file.as_raw_fd(), libc::F_GETFL) };
    let wanted = if direct { flags | libc::O_DIRECT } else { flags & !libc::O_DIRECT };
    // SAFETY: no memory is passed.
    if flags < 0 || unsafe { libc::fcntl(file.as_raw_fd(), libc::F_SETFL, wanted) } != 0 {
        return Err(io::Error::last_os_error());
    }
    Ok(())
}

/// Asks the kernel to begin writing a range back. Errors are of no consequence: the sync reports them.
pub fn start_writeback(file: &File, offset: u64, length: u64) {
    let (Ok(offset), Ok(length)) = (i64::try_from(offset), i64::try_from(length)) else { return };
    // SAFETY: no memory is passed.
    unsafe { libc::sync_file_range(file.as_raw_fd(), offset, length, libc::SYNC_FILE_RANGE_WRITE) };
}

/// Bytes that an unprivileged process may still take on the file system of `folder`.
pub fn free_bytes(folder: &Path) -> io::Result<u64> {
    let folder = File::open(folder)?;
    // SAFETY: `statvfs` is plain data for which all zeros is a valid value.
    let mut figures: libc::statvfs = unsafe { std::mem::zeroed() };
    // SAFETY: the pointer is to a live `statvfs` for the length of the call.
    if unsafe { libc::fstatvfs(folder.as_raw_fd(), &raw mut figures) } != 0 {
        return Err(io::Error::last_os_error());
    }
    Ok(figures.f_bavail * figures.f_frsize)
}
