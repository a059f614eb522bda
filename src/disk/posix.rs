//! The disk through plain system calls.
//!
//! For tools, containers without io_uring, and readers in other runtimes. Every call runs inside its future's
//! first poll and blocks the thread for as long as the kernel takes: a future that was polled has happened, one
//! that was dropped before has not.
//!
//! O_DIRECT for every handle where the file system takes it, for none where not.
//!
//! Not here: waiting in anything but `open`, which polls for the lock of a dead writer.

use std::ffi::OsString;
use std::fs::{self, TryLockError};
use std::io;
use std::ops::{Deref, DerefMut};
use std::os::unix::fs::{FileExt, MetadataExt, OpenOptionsExt};
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use nix::fcntl::{FallocateFlags, OFlag, fallocate};
use nix::sys::resource::{Resource, getrlimit};

use super::{Disk, File, Mode, PAGE, TRANSFER_BYTES_MAX};

/// How long `open` waits for the requests of a dead writer.
pub(super) const PATIENCE: Duration = Duration::from_secs(30);

/// The disk through plain system calls.
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
    /// The same, waiting so long for files that a dead writer still holds.
    #[must_use]
    pub fn with_patience(mut self, patience: Duration) -> Self {
        self.patience = patience;
        self
    }
}

/// A hold on a LOCK file.
#[derive(Clone, Debug)]
pub struct Lock {
    _file: Arc<fs::File>,
}

/// An open file.
#[derive(Debug)]
pub struct PosixFile {
    file: fs::File,
    /// Kept so that LOCK outlives every handle that can write.
    _lock: Option<Lock>,
}

/// Memory aligned to a page: part of a larger allocation.
pub struct AlignedBuffer {
    bytes: Vec<u8>,
    start: usize,
    len: usize,
}

impl AlignedBuffer {
    pub(super) fn new(len: usize) -> Self {
        let bytes = vec![0; len + PAGE];
        let start = bytes.as_ptr().align_offset(PAGE);
        Self { bytes, start, len }
    }
}

impl std::fmt::Debug for AlignedBuffer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("AlignedBuffer").field("len", &self.len).finish_non_exhaustive()
    }
}

impl Deref for AlignedBuffer {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        &self.bytes[self.start..self.start + self.len]
    }
}

impl DerefMut for AlignedBuffer {
    fn deref_mut(&mut self) -> &mut [u8] {
        &mut self.bytes[self.start..self.start + self.len]
    }
}

/// Takes the lock on `path`, or `WouldBlock`.
pub(super) fn lock(path: &Path) -> io::Result<Lock> {
    let mut options = fs::OpenOptions::new();
    options.read(true).write(true).create(true).truncate(false);
    let file = options.custom_flags((OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC).bits()).open(path)?;
    file.try_lock().map_err(io::Error::from)?;
    let (held, named) = (file.metadata()?, fs::symlink_metadata(path)?);
    if (held.dev(), held.ino()) != (named.dev(), named.ino()) {
        return Err(io::ErrorKind::WouldBlock.into());
    }
    Ok(Lock { _file: Arc::new(file) })
}

pub(super) fn unique_id() -> io::Result<[u8; 16]> {
    let mut id = [0; 16];
    getrandom::fill(&mut id).map_err(io::Error::other)?;
    Ok(id)
}

pub(super) fn open_files_max() -> io::Result<u64> {
    Ok(getrlimit(Resource::RLIMIT_NOFILE)?.0)
}

pub(super) fn list(directory: &Path) -> io::Result<Vec<OsString>> {
    fs::read_dir(directory)?.map(|entry| Ok(entry?.file_name())).collect()
}

impl Posix {
    fn open_now(&self, path: &Path, mode: &Mode<'_, Lock>) -> io::Result<PosixFile> {
        let mut options = fs::OpenOptions::new();
        options.read(true).write(!matches!(mode, Mode::Read));
        let mut flags = OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC | OFlag::O_NONBLOCK;
        let lock = match mode {
            Mode::Read => None,
            Mode::Write(lock) => Some(*lock),
            Mode::WriteDurable(lock) => {
                flags |= OFlag::O_DSYNC;
                Some(*lock)
            }
            Mode::Create(lock) => {
                options.create(true);
                Some(*lock)
            }
            Mode::CreateNew(lock) => {
                options.create_new(true);
                Some(*lock)
            }
        };
        let direct = options.clone().custom_flags((flags | OFlag::O_DIRECT).bits()).open(path);
        let file = match direct {
            Err(error) if error.raw_os_error() == Some(nix::libc::EINVAL) => {
                options.custom_flags(flags.bits()).open(path)?
            }
            opened => opened?,
        };
        if !file.metadata()?.is_file() {
            return Err(io::Error::new(io::ErrorKind::InvalidInput, "it is not a regular file"));
        }
        if lock.is_some() {
            self.wait_for(&file)?;
        }
        Ok(PosixFile { file, _lock: lock.cloned() })
    }

    fn wait_for(&self, file: &fs::File) -> io::Result<()> {
        let until = Instant::now() + self.patience;
        let mut pause = Duration::from_millis(1);
        loop {
            match file.try_lock() {
                Ok(()) => return Ok(()),
                Err(TryLockError::WouldBlock) if Instant::now() < until => {
                    std::thread::sleep(pause);
                    pause = (pause * 2).min(Duration::from_millis(100));
                }
                Err(error) => return Err(error.into()),
            }
        }
    }
}

impl Disk for Posix {
    type File = PosixFile;
    type Lock = Lock;

    async fn lock(&self, path: &Path) -> io::Result<Lock> {
        lock(path)
    }

    async fn open(&self, path: &Path, mode: Mode<'_, Lock>) -> io::Result<PosixFile> {
        self.open_now(path, &mode)
    }

    async fn list(&self, directory: &Path) -> io::Result<Vec<OsString>> {
        list(directory)
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
        let mut options = fs::OpenOptions::new();
        options.read(true).custom_flags((OFlag::O_DIRECTORY | OFlag::O_CLOEXEC).bits());
        options.open(directory)?.sync_all()
    }

    async fn sync_files(&self, files: &[&PosixFile]) -> io::Result<()> {
        files.iter().try_for_each(|file| file.file.sync_data())
    }

    fn unique_id(&self) -> io::Result<[u8; 16]> {
        unique_id()
    }

    fn open_files_max(&self) -> io::Result<u64> {
        open_files_max()
    }
}

impl File for PosixFile {
    type Buffer = AlignedBuffer;
    type Bytes = AlignedBuffer;

    fn buffer(&self, len: usize) -> AlignedBuffer {
        AlignedBuffer::new(len)
    }

    async fn read_at(&self, offset: u64, len: usize) -> io::Result<AlignedBuffer> {
        assert!(offset.is_multiple_of(PAGE as u64) && len.is_multiple_of(PAGE) && len <= TRANSFER_BYTES_MAX);
        let mut buffer = AlignedBuffer::new(len);
        let count = loop {
            match self.file.read_at(&mut buffer, offset) {
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                read => break read?,
            }
        };
        buffer.len = count;
        Ok(buffer)
    }

    async fn write_at(&self, offset: u64, buffer: AlignedBuffer) -> io::Result<(usize, AlignedBuffer)> {
        assert!(offset.is_multiple_of(PAGE as u64) && buffer.len().is_multiple_of(PAGE));
        loop {
            match self.file.write_at(&buffer, offset) {
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                written => return Ok((written?, buffer)),
            }
        }
    }

    async fn grow(&self, len: u64) -> io::Result<()> {
        let had = self.file.metadata()?.len();
        if len <= had {
            return Ok(());
        }
        let signed = |value: u64| i64::try_from(value).map_err(io::Error::other);
        match fallocate(&self.file, FallocateFlags::empty(), signed(had)?, signed(len - had)?) {
            Err(nix::errno::Errno::EOPNOTSUPP) => {
                for offset in (had..len).step_by(TRANSFER_BYTES_MAX) {
                    let part = usize::try_from(len - offset).unwrap_or(usize::MAX).min(TRANSFER_BYTES_MAX);
                    self.file.write_all_at(&AlignedBuffer::new(part), offset)?;
                }
                Ok(())
            }
            grown => Ok(grown?),
        }
    }

    async fn len(&self) -> io::Result<u64> {
        Ok(self.file.metadata()?.len())
    }

    async fn close(self) -> io::Result<()> {
        Ok(())
    }
}
