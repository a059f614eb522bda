//! The disk through plain system calls.
//!
//! For tools, containers without io_uring, and other runtimes. Every call is made inside the first poll of its
//! future, which is ready then: it blocks the thread for as long as the kernel takes, a future that was polled
//! has had its effect, one that was dropped before has none.
//!
//! O_DIRECT for every handle where the file system takes it, for none where it does not: the kernel decides that
//! by file system, so that a writer and all readers of a file decide the same.
//!
//! Not here: names and locks (`system`).

use std::ffi::OsString;
use std::fs::{self, OpenOptions, TryLockError};
use std::io;
use std::ops::{Deref, DerefMut};
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::Path;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use nix::libc;
use rustix::fs::{FallocateFlags, fallocate};

use super::system::{self, Lock, PATIENCE};
use super::{Disk, File, Mode, PAGE, TRANSFER_BYTES_MAX, write_all};

/// The disk through plain system calls, which block the thread that makes them.
///
/// ```
/// use tidelog::disk::{Disk, File, Mode, PAGE, Posix};
///
/// # fn main() -> std::io::Result<()> {
/// # let directory = tempfile::tempdir()?;
/// # let directory = directory.path();
/// let disk = Posix::default();
/// futures::executor::block_on(async {
///     let lock = disk.lock(&directory.join("LOCK")).await?;
///     let file = disk.open(&directory.join("file"), Mode::CreateNew(&lock)).await?;
///     let mut buffer = file.buffer(PAGE);
///     buffer[..5].copy_from_slice(b"hello");
///     file.write_at(0, buffer).await?;
///     disk.sync_files(&[&file]).await?;
///     disk.sync_dir(directory).await?;
///     file.close().await
/// })
/// # }
/// ```
#[derive(Clone, Debug)]
pub struct Posix {
    patience: Duration,
}

impl Default for Posix {
    fn default() -> Self {
        Self { patience: PATIENCE }
    }
}

impl Posix {
    /// The same, waiting so long for a file that a dead writer still holds, instead of 30 s.
    #[must_use]
    pub fn with_patience(self, patience: Duration) -> Self {
        Self { patience }
    }

    fn open_now(&self, path: &Path, mode: &Mode<'_, Lock>) -> io::Result<PosixFile> {
        let (presence, durable, lock) = system::wishes(mode);
        let admitted = system::admit(path, presence)?;
        let mut options = OpenOptions::new();
        options.read(true).write(lock.is_some());
        let flags = libc::O_NOFOLLOW | if durable { libc::O_DSYNC } else { 0 };
        let file = match options.custom_flags(flags | libc::O_DIRECT).open(path) {
            Err(error) if error.raw_os_error() == Some(libc::EINVAL) => {
                options.custom_flags(flags).open(path)?
            }
            opened => opened?,
        };
        if !system::is_same(&admitted, &file)? {
            return Err(io::Error::other("it was replaced while it was opened"));
        }
        if lock.is_some() {
            self.take_flock(&file)?;
        }
        Ok(PosixFile { file: Arc::new(file), lock: lock.cloned() })
    }

    fn take_flock(&self, file: &fs::File) -> io::Result<()> {
        let mut pauses = system::pauses(self.patience);
        loop {
            match file.try_lock() {
                Ok(()) => return Ok(()),
                Err(TryLockError::WouldBlock) => {}
                Err(TryLockError::Error(error)) => return Err(error),
            }
            std::thread::sleep(pauses.next().ok_or_else(system::still_busy)?);
        }
    }
}

impl Disk for Posix {
    type File = PosixFile;
    type Lock = Lock;

    async fn lock(&self, path: &Path) -> io::Result<Lock> {
        system::lock(path)
    }

    async fn open(&self, path: &Path, mode: Mode<'_, Lock>) -> io::Result<PosixFile> {
        self.open_now(path, &mode)
    }

    async fn list(&self, directory: &Path) -> io::Result<Vec<OsString>> {
        system::list(directory)
    }

    async fn create_dir(&self, directory: &Path) -> io::Result<()> {
        fs::create_dir(directory)
    }

    async fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        fs::rename(from, to)
    }

    async fn remove(&self, path: &Path) -> io::Result<()> {
        fs::remove_file(path)
    }

    async fn sync_dir(&self, directory: &Path) -> io::Result<()> {
        system::sync_dir(directory)
    }

    async fn sync_files(&self, files: &[&PosixFile]) -> io::Result<()> {
        files.iter().try_for_each(|file| file.file.sync_data())
    }

    fn unique_id(&self) -> io::Result<[u8; 16]> {
        system::unique_id()
    }

    fn open_files_max(&self) -> io::Result<u64> {
        Ok(system::open_files_max())
    }
}

/// An open file. Dropping it closes it, once no read is left that was asked of it.
#[derive(Debug)]
pub struct PosixFile {
    file: Arc<fs::File>,
    /// Behind `file`, so that LOCK is released after it: a handle that can write never outlives it.
    lock: Option<Lock>,
}

impl File for PosixFile {
    type Buffer = PosixBuffer;
    type Bytes = PosixBuffer;
    type Read = PosixRead;

    fn buffer(&self, len: usize) -> PosixBuffer {
        PosixBuffer::new(len)
    }

    fn read_at(&self, offset: u64, len: usize) -> PosixRead {
        system::assert_transfer(offset, len);
        PosixRead { file: Arc::clone(&self.file), _lock: self.lock.clone(), offset, len }
    }

    async fn write_at(&self, offset: u64, buffer: PosixBuffer) -> io::Result<(usize, PosixBuffer)> {
        system::assert_transfer(offset, buffer.len());
        let count = uninterrupted(|| self.file.write_at(&buffer, offset))?;
        Ok((count, buffer))
    }

    async fn grow(&self, len: u64) -> io::Result<()> {
        assert!(len.is_multiple_of(PAGE as u64), "a file of {len} bytes");
        let now = self.len().await?;
        if len <= now {
            return Ok(());
        }
        // From the start: it obtains space for holes as well.
        match uninterrupted(|| Ok(fallocate(&self.file, FallocateFlags::empty(), 0, len)?)) {
            Err(error) if error.kind() == io::ErrorKind::Unsupported && self.lock.is_some() => {
                append_zeros(self, now, len).await
            }
            done => done,
        }
    }

    async fn len(&self) -> io::Result<u64> {
        Ok(self.file.metadata()?.len())
    }

    async fn close(self) -> io::Result<()> {
        // A local file that was written by direct I/O, or synced, has nothing left that close could fail on.
        Ok(())
    }
}

/// A read that has not been made yet.
#[derive(Debug)]
pub struct PosixRead {
    file: Arc<fs::File>,
    /// As in [`PosixFile`].
    _lock: Option<Lock>,
    offset: u64,
    len: usize,
}

impl Future for PosixRead {
    type Output = io::Result<PosixBuffer>;

    fn poll(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Self::Output> {
        let mut buffer = PosixBuffer::new(self.len);
        Poll::Ready(uninterrupted(|| self.file.read_at(&mut buffer, self.offset)).map(|count| {
            buffer.len = count;
            buffer
        }))
    }
}

/// Extends a file by writing zeros, where the file system has no better way to obtain space.
pub(super) async fn append_zeros<F: File>(file: &F, from: u64, to: u64) -> io::Result<()> {
    // What a foreign file has of a page stays as it is; the rest of that page reads as zero.
    let mut offset = from.next_multiple_of(PAGE as u64);
    let mut kept = None;
    while offset < to {
        let len =
            usize::try_from(to - offset).map_or(TRANSFER_BYTES_MAX, |left| left.min(TRANSFER_BYTES_MAX));
        let zeros = kept.take().filter(|kept: &F::Buffer| kept.len() == len);
        kept = Some(write_all(file, offset, zeros.unwrap_or_else(|| file.buffer(len))).await?);
        offset += len as u64;
    }
    Ok(())
}

/// Makes a call again that a signal interrupted before it did anything.
fn uninterrupted<T>(mut call: impl FnMut() -> io::Result<T>) -> io::Result<T> {
    loop {
        match call() {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            done => return done,
        }
    }
}

/// Memory that begins at a page: a part of a larger allocation.
pub struct PosixBuffer {
    storage: Vec<u8>,
    start: usize,
    len: usize,
}

impl PosixBuffer {
    fn new(len: usize) -> Self {
        assert!(len > 0 && len.is_multiple_of(PAGE), "a buffer of {len} bytes");
        let storage = vec![0; len + PAGE];
        let start = storage.as_ptr().align_offset(PAGE);
        assert!(start < PAGE, "the allocation has no page in it");
        Self { storage, start, len }
    }
}

impl std::fmt::Debug for PosixBuffer {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.debug_struct("PosixBuffer").field("len", &self.len).finish_non_exhaustive()
    }
}

impl Deref for PosixBuffer {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        &self.storage[self.start..self.start + self.len]
    }
}

impl DerefMut for PosixBuffer {
    fn deref_mut(&mut self) -> &mut [u8] {
        &mut self.storage[self.start..self.start + self.len]
    }
}
