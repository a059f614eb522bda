//! The disk through glommio 0.9: direct I/O on io_uring.
//!
//! The one place that names glommio, whose hazards are walled off here. Each number stands again at its wall:
//!
//! 1. `read_at`, `read_many` return memory that nobody read: `read_at_aligned` only, and what the kernel counted.
//! 2. Buffers hold what was in them before: zeroed when made.
//! 3. The probe for polled I/O may lame a whole device: it is never let say yes.
//! 4. Lengths and file systems are asked for by path: the path is that of a descriptor.
//! 5. What panics in a blocking call hangs its caller, then the executor: nothing panics there.
//! 6. An executor that ends frees memory that the kernel still writes to, and forgets descriptors: requests are
//!    tasks that leak rather than end early, [`Glommio::run`] waits for them, descriptors are closed at once.
//! 7. A future dropped half-way may leave a request, or a descriptor, to nobody: the same tasks.
//! 8. Requests larger than a device takes at once: 1 MiB at most, and never polled.
//! 9. Odd devices, and errors without a number, make it panic: caught, an error.
//! 10. An executor may park over runnable work: `pulse`.
//! 11. No io_uring, or too little locked memory, ends in a panic: `probe` asks first.
//!
//! Never used: streams, `truncate`, `rename`, `remove`, `copy_file_range`, channels.
//! Not here: what both real disks do (`system`); what a request in flight owns (`in_flight`).

use std::cell::RefCell;
use std::collections::BTreeSet;
use std::ffi::OsString;
use std::fs;
use std::future::{Future, poll_fn};
use std::io;
use std::ops::{Deref, DerefMut};
use std::os::fd::{AsRawFd, RawFd};
use std::os::unix::fs::MetadataExt;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Poll, Waker};
use std::thread::{Builder, JoinHandle};
use std::time::Duration;

use futures::future::join_all;
use glommio::io::{BufferedFile, DmaBuffer, DmaFile, OpenOptions, OwnedDmaFile, ReadResult};
use glommio::{GlommioError, LocalExecutorBuilder, Placement, PoolPlacement, TaskQueueHandle};
use nix::fcntl::FlockArg;
use nix::libc;

use super::in_flight::{Gate, InFlight};
use super::posix::append_zeros;
use super::pulse::Pulse;
use super::system::{self, Lock, PATIENCE, unsupported};
use super::{Disk, File, Mode, PAGE, probe};
use crate::{Error, Result};

/// Buffers of an executor come from here while they fit. Beyond, each costs its page faults: reading 1 MiB
/// pieces is half as fast then, whether or not the kernel lets this much be registered.
const ARENA_BYTES: usize = 32 << 20;

/// How long a task runs before `need_preempt` says so. Shorter is what makes executors park over work (H10).
const PREEMPT_AFTER: Duration = Duration::from_millis(100);

/// Threads for calls that block. More than one, so that a name can be looked up while a directory is synced.
const BLOCKING_THREADS: usize = 2;

/// The disk through glommio. Works on the thread of an executor, which [`Glommio::run`] and [`Glommio::spawn`]
/// start.
///
/// ```
/// use tidelog::disk::{Disk, File, Glommio, Mode, PAGE};
///
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// # if Glommio::check().is_err() { return Ok(()) }
/// # let directory = tempfile::tempdir()?;
/// # let directory = directory.path();
/// Glommio::run(async {
///     let disk = Glommio::default();
///     let lock = disk.lock(&directory.join("LOCK")).await?;
///     let file = disk.open(&directory.join("file"), Mode::CreateNew(&lock)).await?;
///     let mut buffer = file.buffer(PAGE);
///     buffer[..5].copy_from_slice(b"hello");
///     file.write_at(0, buffer).await?;
///     disk.sync_files(&[&file]).await?;
///     disk.sync_dir(directory).await?;
///     file.close().await
/// })??;
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Debug)]
pub struct Glommio {
    patience: Duration,
}

impl Default for Glommio {
    fn default() -> Self {
        Self { patience: PATIENCE }
    }
}

/// Where an executor runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Core {
    /// Where the kernel puts its thread.
    Any,
    /// On this core alone, counted from 0. The thread stays there, and so do threads that it starts.
    Pinned(usize),
}

impl Glommio {
    /// The same, waiting so long for a file that a dead writer still holds, instead of 30 s.
    #[must_use]
    pub fn with_patience(self, patience: Duration) -> Self {
        Self { patience }
    }

    /// Whether this process can run an executor: io_uring, locked memory, /proc.
    ///
    /// # Errors
    /// `Unsupported`; its text says what is missing, and the remedy.
    pub fn check() -> Result<()> {
        probe::check()
    }

    /// Runs `future` on an executor of the calling thread, then waits for the requests of futures that were
    /// dropped. What tasks that are left over ask of a disk from then on is an error.
    ///
    /// An executor is costly to make (milliseconds, 32 MiB): one for each core, for the life of the process.
    ///
    /// # Errors
    /// `Unsupported`, as [`Glommio::check`].
    ///
    /// # Panics
    /// Where `future` does, and on a thread that runs an executor already.
    pub fn run<T>(future: impl Future<Output = T>) -> Result<T> {
        Self::run_on(Core::Any, future)
    }

    /// As [`Glommio::run`], on a core of choice; that there is no such core is `Unsupported` too.
    pub fn run_on<T>(core: Core, future: impl Future<Output = T>) -> Result<T> {
        Self::check()?;
        let placement = match core {
            Core::Any => Placement::Unbound,
            Core::Pinned(number) => Placement::Fixed(number),
        };
        let executor = LocalExecutorBuilder::new(placement)
            .io_memory(ARENA_BYTES)
            .preempt_timer(PREEMPT_AFTER)
            .blocking_thread_pool_placement(PoolPlacement::Unbound(BLOCKING_THREADS))
            .make()
            .map_err(|error| no_executor(core, &error))?;
        executor.run(async {
            let gate = gate().map_err(|error| no_executor(core, &error))?;
            let output = future.await;
            gate.end().await;
            // Readers' descriptors that were dropped, not closed, are closed when the executor next looks at its
            // rings.
            glommio::timer::sleep(Duration::from_micros(1)).await;
            HERE.set(None);
            Ok(output)
        })
    }

    /// Starts a thread of that name that does [`Glommio::run_on`] with the future that `start` makes there.
    ///
    /// ```
    /// # use tidelog::disk::{Core, Glommio};
    /// # if Glommio::check().is_err() { return Ok(()) }
    /// let thread = Glommio::spawn(Core::Pinned(0), "reader-0", || async { 6 * 7 })?;
    /// assert_eq!(thread.join().unwrap()?, 42);
    /// # Ok::<(), tidelog::Error>(())
    /// ```
    ///
    /// # Errors
    /// `Unsupported`, as [`Glommio::check`], or if there is no thread to be had. That there is no such core is
    /// what the thread returns.
    pub fn spawn<F, T>(
        core: Core,
        name: &str,
        start: impl FnOnce() -> F + Send + 'static,
    ) -> Result<JoinHandle<Result<T>>>
    where
        F: Future<Output = T>,
        T: Send + 'static,
    {
        Self::check()?;
        let thread = Builder::new().name(name.to_owned()).spawn(move || Self::run_on(core, start()));
        thread.map_err(|error| no_executor(core, &error))
    }
}

fn no_executor(core: Core, error: &dyn std::error::Error) -> Error {
    Error::Unsupported { what: format!("no executor on core {core:?}: {error}").into() }
}

thread_local! {
    /// The gate of the executor, by its number, that used this disk on this thread most recently.
    static HERE: RefCell<Option<(usize, Rc<Gate>)>> = const { RefCell::new(None) };
}

/// The gate of the running executor; made by its first request.
fn gate() -> io::Result<Rc<Gate>> {
    let number = catch_unwind(|| glommio::executor().id()).map_err(|_| {
        unsupported(
            "no glommio executor runs on this thread; call from within `Glommio::run`, or use \
             `tidelog::disk::Posix`",
        )
    })?;
    let known = HERE.with_borrow(|here| here.clone().filter(|(executor, _)| *executor == number));
    if let Some((_, gate)) = known {
        return Ok(gate);
    }
    let (pulse, beaten) = Pulse::start()?;
    // H10. In the default queue: wakes for a queue with a latency are announced by force, and each is one more
    // chance to park over runnable work.
    glommio::spawn_local_into(beaten, TaskQueueHandle::default()).map_err(plain)?.detach();
    let gate = Gate::new(pulse);
    HERE.set(Some((number, Rc::clone(&gate))));
    Ok(gate)
}

/// H6, H7: a request as a task of its own. It ends whether or not anybody waits for it; its caller awaits it, and
/// may stop to.
async fn in_flight<T: 'static>(request: impl Future<Output = io::Result<T>> + 'static) -> io::Result<T> {
    let task = InFlight::new(&gate()?, request)?;
    let handle = glommio::spawn_local(task).detach();
    handle.await.unwrap_or_else(|| Err(io::Error::other("the request's task was ended")))
}

/// H5: a call that may block, on another thread.
async fn blocking<T: Send + 'static>(call: impl FnOnce() -> io::Result<T> + Send + 'static) -> io::Result<T> {
    in_flight(async move {
        let guarded = move || catch_unwind(AssertUnwindSafe(call));
        let panicked = |_| Err(io::Error::other("a blocking call panicked"));
        glommio::executor().spawn_blocking(guarded).await.unwrap_or_else(panicked)
    })
    .await
}

/// A blocking call that changes names below `path`. Its future may be dropped and the call happen later: the
/// store's lock is held until then, or a writer to come could meet a rename of the one before.
async fn naming(path: &Path, call: impl FnOnce() -> io::Result<()> + Send + 'static) -> io::Result<()> {
    let locks = system::locks_over(path);
    blocking(move || {
        let done = call();
        drop(locks);
        done
    })
    .await
}

/// The kernel's own error.
fn plain(error: GlommioError<()>) -> io::Error {
    match error {
        GlommioError::IoError(error) | GlommioError::EnhancedIoError { source: error, .. } => error,
        error => io::Error::other(error.to_string()),
    }
}

/// Makes a request again that a signal interrupted before it did anything.
async fn uninterrupted<T>(mut request: impl AsyncFnMut() -> io::Result<T>) -> io::Result<T> {
    loop {
        match request().await {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            done => return done,
        }
    }
}

thread_local! {
    /// Devices of which this thread's glommio knows that they are not to be polled.
    static UNPOLLED: RefCell<BTreeSet<u64>> = const { RefCell::new(BTreeSet::new()) };
}

/// Opens what was admitted, and nothing else that may have its name by now (H4).
async fn open_admitted(admitted: fs::File, writing: bool, durable: bool) -> io::Result<Handle> {
    let path = system::path_of(admitted.as_raw_fd());
    let opened = if writing {
        open_writer(&path, admitted.metadata()?.dev(), durable).await
    } else {
        open_reader(&path, &admitted).await
    };
    opened.map_err(system::not_direct)
}

async fn open_writer(path: &str, device: u64, durable: bool) -> io::Result<Handle> {
    // H3. glommio tries on the first file that a thread opens on a device whether that can be polled, by reading
    // its first block. An empty file says yes for any device; a file that cannot be read says no. No is what we
    // want for all devices: polled I/O burns a core and hangs on some kernels, and nothing here is tested with it.
    // (It logs an error, "the poll ring will be disabled for this device", which is the wish, not a fault.)
    if !UNPOLLED.with_borrow(|devices| devices.contains(&device)) {
        let unreadable = OpenOptions::new().write(true).dma_open(path).await.map_err(plain)?;
        drop(Writer(Some(unreadable)));
        UNPOLLED.with_borrow_mut(|devices| devices.insert(device));
    }
    let mut options = OpenOptions::new();
    options.read(true).write(true).custom_flags(if durable { libc::O_DSYNC } else { 0 });
    let file = options.dma_open(path).await.map_err(plain)?;
    Ok(Handle::Writer(Writer(Some(file))))
}

/// H3: a reader may have nothing that it could open for writing, so that it must not be asked about polling at
/// all. glommio's buffered file is not, and reads directly when its descriptor does, into the same buffers.
async fn open_reader(path: &str, admitted: &fs::File) -> io::Result<Handle> {
    let flags = if system::is_in_memory(admitted)? { 0 } else { libc::O_DIRECT };
    let file = OpenOptions::new().read(true).custom_flags(flags).buffered_open(path).await.map_err(plain)?;
    Ok(Handle::Reader(file))
}

impl Disk for Glommio {
    type File = GlommioFile;
    type Lock = Lock;

    async fn lock(&self, path: &Path) -> io::Result<Lock> {
        let path = path.to_path_buf();
        blocking(move || system::lock(&path)).await
    }

    async fn open(&self, path: &Path, mode: Mode<'_, Lock>) -> io::Result<GlommioFile> {
        let (presence, durable, lock) = system::wishes(&mode);
        let (path, held) = (path.to_path_buf(), lock.cloned());
        let admitted = blocking(move || {
            let admitted = system::admit(&path, presence);
            drop(held);
            admitted
        })
        .await?;
        let handle = in_flight(open_admitted(admitted, lock.is_some(), durable)).await?;
        let file = GlommioFile(Rc::new(Opened { handle, lock: lock.cloned(), closing: RefCell::default() }));
        let mut pauses = system::pauses(self.patience);
        while lock.is_some() && !try_flock(file.descriptor())? {
            glommio::timer::sleep(pauses.next().ok_or_else(system::still_busy)?).await;
        }
        Ok(file)
    }

    async fn list(&self, directory: &Path) -> io::Result<Vec<OsString>> {
        let directory = directory.to_path_buf();
        blocking(move || system::list(&directory)).await
    }

    async fn create_dir(&self, directory: &Path) -> io::Result<()> {
        let path = directory.to_path_buf();
        naming(directory, move || fs::create_dir(path)).await
    }

    async fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        let (old, new) = (from.to_path_buf(), to.to_path_buf());
        naming(to, move || fs::rename(old, new)).await
    }

    async fn remove(&self, path: &Path) -> io::Result<()> {
        let name = path.to_path_buf();
        naming(path, move || fs::remove_file(name)).await
    }

    async fn sync_dir(&self, directory: &Path) -> io::Result<()> {
        let directory = directory.to_path_buf();
        blocking(move || system::sync_dir(&directory)).await
    }

    async fn sync_files(&self, files: &[&GlommioFile]) -> io::Result<()> {
        let syncs = files.iter().map(|file| {
            let file = file.in_use();
            in_flight(async move { file.fdatasync().await })
        });
        join_all(syncs).await.into_iter().collect()
    }

    /// An executor submits when it has no task to run; the shortest wait leaves it none, and ends when it has looked.
    async fn submit(&self) {
        glommio::timer::sleep(Duration::from_micros(1)).await;
    }

    fn unique_id(&self) -> io::Result<[u8; 16]> {
        system::unique_id()
    }

    fn open_files_max(&self) -> io::Result<u64> {
        Ok(system::open_files_max())
    }
}

/// An open file. It belongs to the executor that opened it; dropping it there closes it, once its last request
/// has ended.
#[derive(Debug)]
pub struct GlommioFile(Rc<Opened>);

#[derive(Debug)]
struct Opened {
    handle: Handle,
    /// Behind `handle`, so that LOCK is released after it: a handle that can write never outlives it.
    #[expect(dead_code, reason = "kept for its end")]
    lock: Option<Lock>,
    /// Who waits for the last request in order to close.
    closing: RefCell<Option<Waker>>,
}

#[derive(Debug)]
enum Handle {
    Reader(BufferedFile),
    Writer(Writer),
}

/// A descriptor that is closed, and its flock free, when this is dropped: at once, and without an executor (H6).
#[derive(Debug)]
struct Writer(Option<DmaFile>);

impl Drop for Writer {
    fn drop(&mut self) {
        let owned = self.0.take().map(OwnedDmaFile::from);
        // H9: it panics if close fails. The descriptor is gone even then, and what direct I/O wrote cannot be
        // what failed.
        let _ = catch_unwind(AssertUnwindSafe(|| drop(owned)));
    }
}

/// A file while a request uses it.
struct InUse(Rc<Opened>);

impl Drop for InUse {
    fn drop(&mut self) {
        if let Some(waker) = self.0.closing.take() {
            waker.wake();
        }
    }
}

impl InUse {
    /// What may be written to.
    fn writer(&self) -> io::Result<&DmaFile> {
        match &self.0.handle {
            Handle::Writer(Writer(Some(file))) => Ok(file),
            _ => Err(io::Error::from_raw_os_error(libc::EBADF)),
        }
    }

    async fn read_at(&self, offset: u64, len: usize) -> io::Result<ReadResult> {
        let read = uninterrupted(async || match &self.0.handle {
            Handle::Reader(file) => file.read_at(offset, len).await.map_err(plain),
            Handle::Writer(_) => self.writer()?.read_at_aligned(offset, len).await.map_err(plain),
        });
        system::transferred(read.await)
    }

    async fn write_at(&self, offset: u64, buffer: &Rc<DmaBuffer>) -> io::Result<usize> {
        let file = self.writer()?;
        let write = async || file.write_rc_at(Rc::clone(buffer), offset).await.map_err(plain);
        system::transferred(uninterrupted(write).await)
    }

    async fn allocate(&self, len: u64) -> io::Result<()> {
        let file = self.writer()?;
        uninterrupted(async || file.pre_allocate(len, false).await.map_err(plain)).await
    }

    /// Not again after an interruption: a sync that failed may not be asked twice.
    async fn fdatasync(&self) -> io::Result<()> {
        match &self.0.handle {
            Handle::Reader(file) => file.fdatasync().await.map_err(plain),
            Handle::Writer(_) => self.writer()?.fdatasync().await.map_err(plain),
        }
    }
}

impl GlommioFile {
    fn in_use(&self) -> InUse {
        InUse(Rc::clone(&self.0))
    }

    fn descriptor(&self) -> RawFd {
        match &self.0.handle {
            Handle::Reader(file) => file.as_raw_fd(),
            Handle::Writer(Writer(file)) => file.as_ref().map_or(-1, AsRawFd::as_raw_fd),
        }
    }
}

/// On the very descriptor that writes: requests in the kernel keep that one alive, and no other.
#[expect(deprecated, reason = "what replaces it owns the file, and ends the lock by LOCK_UN")]
fn try_flock(descriptor: RawFd) -> io::Result<bool> {
    match nix::fcntl::flock(descriptor, FlockArg::LockExclusiveNonblock) {
        Ok(()) => Ok(true),
        Err(nix::errno::Errno::EWOULDBLOCK) => Ok(false),
        Err(error) => Err(error.into()),
    }
}

impl File for GlommioFile {
    type Buffer = GlommioBuffer;
    type Bytes = GlommioBytes;
    type Read = Pin<Box<dyn Future<Output = io::Result<GlommioBytes>>>>;

    fn buffer(&self, len: usize) -> GlommioBuffer {
        GlommioBuffer::new(len)
    }

    fn read_at(&self, offset: u64, len: usize) -> Self::Read {
        system::assert_transfer(offset, len);
        let file = self.in_use();
        Box::pin(async move {
            let bytes = in_flight(async move { file.read_at(offset, len).await }).await?;
            // H1: as many as the kernel said.
            assert!(bytes.len() <= len, "a read of {len} bytes returned {}", bytes.len());
            Ok(GlommioBytes(bytes))
        })
    }

    async fn write_at(&self, offset: u64, buffer: GlommioBuffer) -> io::Result<(usize, GlommioBuffer)> {
        system::assert_transfer(offset, buffer.len());
        let file = self.in_use();
        in_flight(async move {
            let (len, shared) = (buffer.len(), Rc::new(buffer.0));
            let count = file.write_at(offset, &shared).await?;
            let buffer = Rc::try_unwrap(shared).map_or_else(
                |shared| {
                    // Not seen; what a short write goes on from must be the caller's bytes all the same.
                    let mut copy = GlommioBuffer::new(len);
                    copy.copy_from_slice(shared.as_bytes());
                    copy
                },
                GlommioBuffer,
            );
            Ok((count, buffer))
        })
        .await
    }

    async fn grow(&self, len: u64) -> io::Result<()> {
        assert!(len.is_multiple_of(PAGE as u64), "a file of {len} bytes");
        let now = self.len().await?;
        if len <= now {
            return Ok(());
        }
        let file = self.in_use();
        match in_flight(async move { file.allocate(len).await }).await {
            Err(error) if error.kind() == io::ErrorKind::Unsupported => append_zeros(self, now, len).await,
            done => done,
        }
    }

    /// H4. A look into memory, which does not block.
    async fn len(&self) -> io::Result<u64> {
        system::len_of(self.descriptor())
    }

    async fn close(self) -> io::Result<()> {
        poll_fn(|context| match Rc::strong_count(&self.0) {
            1 => Poll::Ready(()),
            _ => {
                self.0.closing.replace(Some(context.waker().clone()));
                Poll::Pending
            }
        })
        .await;
        match Rc::into_inner(self.0) {
            Some(Opened { handle: Handle::Reader(file), .. }) => {
                in_flight(async move { file.close().await.map_err(plain) }).await
            }
            // Dropped here, which closes it.
            _ => Ok(()),
        }
    }
}

/// Memory for a write, of the executor it was made on.
#[derive(Debug)]
pub struct GlommioBuffer(DmaBuffer);

impl GlommioBuffer {
    fn new(len: usize) -> Self {
        assert!(len > 0 && len.is_multiple_of(PAGE), "a buffer of {len} bytes");
        let mut buffer = glommio::allocate_dma_buffer(len);
        // H2.
        buffer.as_bytes_mut().fill(0);
        assert!(buffer.as_ptr().addr().is_multiple_of(PAGE), "a buffer at {:?}", buffer.as_ptr());
        Self(buffer)
    }
}

impl Deref for GlommioBuffer {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        self.0.as_bytes()
    }
}

impl DerefMut for GlommioBuffer {
    fn deref_mut(&mut self) -> &mut [u8] {
        self.0.as_bytes_mut()
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
