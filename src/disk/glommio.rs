//! The disk through glommio: direct I/O on io_uring.
//!
//! Not here: anything else that glommio offers.

use std::cell::RefCell;
use std::ffi::OsString;
use std::future::Future;
use std::io;
use std::mem::ManuallyDrop;
use std::ops::{Deref, DerefMut};
use std::os::fd::AsRawFd;
use std::path::Path;
use std::rc::Rc;
use std::time::{Duration, Instant};

use futures::channel::oneshot;
use futures::future::join_all;
use glommio::io::{DmaFile, OpenOptions, ReadResult};
use nix::fcntl::{FlockArg, OFlag};

use super::posix::{self, Lock, PATIENCE};
use super::{Disk, File, Mode, PAGE, TRANSFER_BYTES_MAX};

/// The disk through glommio.
#[derive(Clone, Copy, Debug, Default)]
pub struct Glommio;

/// An open file, on the executor that opened it.
#[derive(Debug)]
pub struct GlommioFile {
    file: Rc<DmaFile>,
    lock: Option<Lock>,
}

/// A DMA buffer, zeroed when it was made.
pub struct GlommioBuffer {
    buffer: glommio::io::DmaBuffer,
}

impl std::fmt::Debug for GlommioBuffer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("GlommioBuffer").field("len", &self.buffer.len()).finish_non_exhaustive()
    }
}

impl Deref for GlommioBuffer {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        self.buffer.as_bytes()
    }
}

impl DerefMut for GlommioBuffer {
    fn deref_mut(&mut self) -> &mut [u8] {
        self.buffer.as_bytes_mut()
    }
}

/// Bytes that were read.
#[derive(Debug)]
pub struct GlommioBytes(ReadResult);

impl Deref for GlommioBytes {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        &self.0
    }
}

fn io_error<T>(error: glommio::GlommioError<T>) -> io::Error {
    io::Error::from(error)
}

/// What the kernel may still use: never freed before the operation has completed.
struct InFlight<T>(ManuallyDrop<T>);

/// Runs an operation in a task of its own, which a dropped caller does not end.
async fn detached<T: 'static, R: 'static>(
    owned: T,
    operation: impl AsyncFnOnce(&T) -> R + 'static,
) -> io::Result<(R, T)> {
    let (reply, answer) = oneshot::channel();
    let owned = InFlight(ManuallyDrop::new(owned));
    glommio::spawn_local(async move {
        let result = operation(&owned.0).await;
        let owned = ManuallyDrop::into_inner(owned.0);
        let _ = reply.send((result, owned));
    })
    .detach();
    answer.await.map_err(|_| io::Error::other("the executor ended"))
}

thread_local! {
    static PROBED: RefCell<Vec<u64>> = const { RefCell::new(Vec::new()) };
}

impl Glommio {
    /// Runs `future` on an executor of the calling thread.
    ///
    /// # Errors
    /// `Unsupported`.
    pub fn run<T>(future: impl Future<Output = T>) -> crate::Result<T> {
        let executor = glommio::LocalExecutorBuilder::new(glommio::Placement::Unbound)
            .blocking_thread_pool_placement(glommio::PoolPlacement::Unbound(2))
            .preempt_timer(Duration::from_millis(2))
            .make()
            .map_err(|error| crate::Error::Unsupported { what: error.to_string().into() })?;
        Ok(executor.run(future))
    }

    async fn open_now(path: &Path, mode: &Mode<'_, Lock>) -> io::Result<GlommioFile> {
        let mut options = OpenOptions::new();
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
        options.custom_flags(flags.bits());
        let file = options.dma_open(path).await.map_err(io_error)?;
        let file = GlommioFile { file: Rc::new(file), lock: lock.cloned() };
        if lock.is_some() {
            file.wait_for_lock().await?;
        }
        Ok(file)
    }
}

impl GlommioFile {
    async fn wait_for_lock(&self) -> io::Result<()> {
        let until = Instant::now() + PATIENCE;
        let mut pause = Duration::from_millis(1);
        loop {
            #[expect(
                deprecated,
                reason = "the lock must be on the very descriptor that writes, which glommio owns"
            )]
            let locked = nix::fcntl::flock(self.file.as_raw_fd(), FlockArg::LockExclusiveNonblock);
            match locked {
                Ok(()) => return Ok(()),
                Err(nix::errno::Errno::EWOULDBLOCK) if Instant::now() < until => {
                    glommio::timer::sleep(pause).await;
                    pause = (pause * 2).min(Duration::from_millis(100));
                }
                Err(error) => return Err(error.into()),
            }
        }
    }
}

impl Disk for Glommio {
    type File = GlommioFile;
    type Lock = Lock;

    async fn lock(&self, path: &Path) -> io::Result<Lock> {
        posix::lock(path)
    }

    async fn open(&self, path: &Path, mode: Mode<'_, Lock>) -> io::Result<GlommioFile> {
        let seed = PROBED.with(|probed| probed.borrow().is_empty());
        if seed {
            PROBED.with(|probed| probed.borrow_mut().push(1));
            let probe = path.with_extension("probe");
            std::fs::write(&probe, vec![0; PAGE])?;
            Self::open_now(&probe, &Mode::Read).await?.close().await?;
            std::fs::remove_file(&probe)?;
        }
        Self::open_now(path, &mode).await
    }

    async fn list(&self, directory: &Path) -> io::Result<Vec<OsString>> {
        posix::list(directory)
    }

    async fn create_dir(&self, directory: &Path) -> io::Result<()> {
        std::fs::create_dir(directory)
    }

    async fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        std::fs::rename(from, to)
    }

    async fn remove(&self, path: &Path) -> io::Result<()> {
        std::fs::remove_file(path)
    }

    async fn sync_dir(&self, directory: &Path) -> io::Result<()> {
        let directory = glommio::io::Directory::open(directory).await.map_err(io_error)?;
        directory.sync().await.map_err(io_error)?;
        directory.close().await.map_err(io_error)
    }

    async fn sync_files(&self, files: &[&GlommioFile]) -> io::Result<()> {
        let syncs = files.iter().map(|file| {
            let owned = (Rc::clone(&file.file), file.lock.clone());
            detached(owned, async |owned| owned.0.fdatasync().await.map_err(io_error))
        });
        for synced in join_all(syncs).await {
            synced?.0?;
        }
        Ok(())
    }

    fn unique_id(&self) -> io::Result<[u8; 16]> {
        posix::unique_id()
    }

    fn open_files_max(&self) -> io::Result<u64> {
        posix::open_files_max()
    }
}

impl File for GlommioFile {
    type Buffer = GlommioBuffer;
    type Bytes = GlommioBytes;

    fn buffer(&self, len: usize) -> GlommioBuffer {
        let mut buffer = self.file.alloc_dma_buffer(len);
        buffer.as_bytes_mut().fill(0);
        GlommioBuffer { buffer }
    }

    async fn read_at(&self, offset: u64, len: usize) -> io::Result<GlommioBytes> {
        assert!(offset.is_multiple_of(PAGE as u64) && len.is_multiple_of(PAGE) && len <= TRANSFER_BYTES_MAX);
        self.file.read_at_aligned(offset, len).await.map(GlommioBytes).map_err(io_error)
    }

    async fn write_at(&self, offset: u64, buffer: GlommioBuffer) -> io::Result<(usize, GlommioBuffer)> {
        assert!(offset.is_multiple_of(PAGE as u64) && buffer.len().is_multiple_of(PAGE));
        let len = buffer.len();
        let owned = (Rc::clone(&self.file), self.lock.clone(), Rc::new(buffer.buffer));
        let (written, (_, _, buffer)) = detached(owned, async move |owned| {
            owned.0.write_rc_at(Rc::clone(&owned.2), offset).await.map_err(io_error)
        })
        .await?;
        let buffer = match Rc::try_unwrap(buffer) {
            Ok(buffer) => GlommioBuffer { buffer },
            Err(_) => self.buffer(len),
        };
        Ok((written?, buffer))
    }

    async fn grow(&self, len: u64) -> io::Result<()> {
        if self.len().await? >= len {
            return Ok(());
        }
        let owned = (Rc::clone(&self.file), self.lock.clone());
        detached(owned, async move |owned| owned.0.pre_allocate(len, false).await.map_err(io_error)).await?.0
    }

    async fn len(&self) -> io::Result<u64> {
        Ok(std::fs::metadata(format!("/proc/self/fd/{}", self.file.as_raw_fd()))?.len())
    }

    async fn close(self) -> io::Result<()> {
        match Rc::try_unwrap(self.file) {
            Ok(file) => file.close().await.map_err(io_error),
            Err(_) => Ok(()),
        }
    }
}
