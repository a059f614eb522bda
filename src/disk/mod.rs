//! The seam: all that tidelog asks of the outside world.
//!
//! One [`Disk`] and its [`File`]s, chosen at compile time: [`Glommio`] for the product, [`Posix`] for tools,
//! containers without io_uring and other runtimes, and a simulated disk (feature `sim`) for the tests. Short
//! reads and writes are legal here and are completed once, above, by [`read_exact`] and [`write_all`].
//!
//! Everything is counted in whole pages of [`PAGE`] bytes: offsets, lengths, buffers.
//!
//! Not here: what is written, and in which order (`log`, `segment`, `store`).

use std::ffi::OsString;
use std::fmt;
use std::io;
use std::ops::{Deref, DerefMut};
use std::path::Path;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

mod buffers;
mod glommio;
mod in_flight;
mod posix;
mod probe;
mod pulse;
#[cfg(feature = "sim")]
pub mod sim;
mod system;

pub(crate) use buffers::Buffers;
pub use glommio::{Core, Glommio};
pub use posix::Posix;
pub use probe::{Lack, lacks};

/// Bytes in a page: the unit of every read and write.
pub const PAGE: usize = 4096;

/// The most bytes that one read or write asks for.
pub const TRANSFER_BYTES_MAX: usize = 1 << 20;

/// How a file is opened. Every way of writing takes the store's lock along, so that no write of this process
/// can outlive it, and takes an advisory lock (`flock`) on the very descriptor that will write.
#[derive(Debug)]
pub enum Mode<'a, L> {
    /// Existing, for reading. Takes no lock.
    Read,
    /// Existing, for reading and writing. A write is durable after [`Disk::sync_files`].
    Write(&'a L),
    /// Existing, for reading and writing. A write is durable when it returns, and *only itself*: it makes no
    /// earlier write to this or another file durable.
    WriteDurable(&'a L),
    /// As `Write`; an absent file is made, empty.
    Create(&'a L),
    /// As `Write`; an existing file is an error (`AlreadyExists`).
    CreateNew(&'a L),
}

/// The outside world: names, directories, files, locks. A handle that may be copied to any thread; what it
/// opens belongs to the thread that opened it.
///
/// Errors are `io::Error`s. Kinds that mean something above the seam: `NotFound`, `AlreadyExists`,
/// `WouldBlock` (a lock is held by somebody else), `StorageFull`/`QuotaExceeded`/`FileTooLarge` (no space) and
/// `Unsupported` (its message names the remedy).
///
/// A future that is dropped may or may not have had its effect, at once or later; the caller treats it as
/// unknown.
#[expect(
    async_fn_in_trait,
    reason = "the futures of a disk are Send where the disk's own are; no bound fits all"
)]
pub trait Disk: Clone + Send + Sync + 'static {
    /// An open file.
    type File: File;
    /// A hold on a store's `LOCK`: released when the last clone is dropped, the last write that carried one has
    /// completed, and so has the last change of names beside it, whether anybody waits for it or not. (A late
    /// rename would put a manifest before a successor that has chosen another.)
    type Lock: Clone + Send + Sync + 'static;

    /// Takes the exclusive lock on the file `path`, making it (empty) if it is absent. Does not wait: held by
    /// another, in this process or not, is `WouldBlock`.
    async fn lock(&self, path: &Path) -> io::Result<Self::Lock>;

    /// Opens a regular file; a symbolic link or anything else under that name is an error. A file opened for
    /// writing whose advisory lock is held by another waits up to 30 s for it (a dead writer's requests may
    /// still be in the kernel), then answers `WouldBlock`.
    async fn open(&self, path: &Path, mode: Mode<'_, Self::Lock>) -> io::Result<Self::File>;

    /// The names in a directory, in no order.
    async fn list(&self, directory: &Path) -> io::Result<Vec<OsString>>;

    /// Makes a directory. Not durable until its parent is synced.
    async fn create_dir(&self, directory: &Path) -> io::Result<()>;

    /// Renames a file, replacing `to`. Not durable until the directory is synced.
    async fn rename(&self, from: &Path, to: &Path) -> io::Result<()>;

    /// Removes a file's name. Not durable until the directory is synced.
    async fn remove(&self, path: &Path) -> io::Result<()>;

    /// Makes the names in a directory durable.
    async fn sync_dir(&self, directory: &Path) -> io::Result<()>;

    /// Makes exactly these files' completed writes and lengths durable, in parallel where possible; nothing
    /// else may be assumed of any other file.
    async fn sync_files(&self, files: &[&Self::File]) -> io::Result<()>;

    /// Lets requests that were made so far reach the device before the caller computes on. A disk whose requests
    /// are with the device as soon as they are made does nothing.
    async fn submit(&self) {}

    /// Sixteen bytes that no other store has.
    fn unique_id(&self) -> io::Result<[u8; 16]>;

    /// How many files this process may have open.
    fn open_files_max(&self) -> io::Result<u64>;
}

/// An open file, read and written in whole pages.
#[expect(async_fn_in_trait, reason = "as for Disk")]
#[expect(clippy::len_without_is_empty, reason = "asking is a disk operation, and nobody asks that")]
pub trait File: 'static {
    /// Memory that a write may be made from, aligned for direct I/O.
    type Buffer: DerefMut<Target = [u8]> + 'static;
    /// What a read returned.
    type Bytes: Deref<Target = [u8]> + 'static;

    /// A zeroed buffer of `len` bytes, a multiple of [`PAGE`], above zero.
    fn buffer(&self, len: usize) -> Self::Buffer;

    /// A read on its way: nothing happens before its first poll. It borrows nothing, so that whoever reads ahead
    /// can keep it beside the file, which must stay open until it is ready.
    type Read: Future<Output = io::Result<Self::Bytes>> + Unpin + 'static;

    /// Reads up to `len` bytes (a multiple of [`PAGE`], at most [`TRANSFER_BYTES_MAX`]) at `offset`. May return
    /// fewer; none means the end of the file.
    fn read_at(&self, offset: u64, len: usize) -> Self::Read;

    /// Writes `buffer` at `offset`; returns how many bytes were taken (perhaps fewer) and the buffer, for
    /// reuse. Nothing is durable before [`Disk::sync_files`], except through [`Mode::WriteDurable`].
    async fn write_at(&self, offset: u64, buffer: Self::Buffer) -> io::Result<(usize, Self::Buffer)>;

    /// Obtains space so that the file is at least `len` bytes long; new bytes read as zero. Makes nothing
    /// durable. Lack of space is an error and leaves the file's bytes as they were.
    async fn grow(&self, len: u64) -> io::Result<()>;

    /// The file's length in bytes.
    async fn len(&self) -> io::Result<u64>;

    /// Gives the file back. Its advisory lock is free when this returns, unless a dropped write is still on
    /// its way.
    async fn close(self) -> io::Result<()>;
}

/// What [`read_exact`] returns: the disk's own bytes, or a copy where the read came in pieces.
#[derive(Debug)]
pub enum Exact<B> {
    /// One read returned all.
    Whole(B),
    /// Put together from several.
    Pieces(Vec<u8>),
}

impl<B: Deref<Target = [u8]>> Deref for Exact<B> {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        match self {
            Exact::Whole(bytes) => bytes,
            Exact::Pieces(bytes) => bytes,
        }
    }
}

/// Reads exactly `len` bytes, going on after short reads. A file that ends before is `UnexpectedEof`. The future
/// holds `file`: `&F`, or an `Arc<F>` where it is to be kept.
pub fn read_exact<F: File, R: Deref<Target = F>>(file: R, offset: u64, len: usize) -> ReadExact<F, R> {
    let read = file.read_at(offset, len);
    ReadExact { read, file, offset, len, bytes: Vec::new() }
}

/// What [`read_exact`] does.
#[must_use = "nothing is read before it is polled"]
pub struct ReadExact<F: File, R> {
    // Before the file: it may need the file to the last.
    read: F::Read,
    file: R,
    offset: u64,
    len: usize,
    /// What came before `read`; none of it if that is the first read.
    bytes: Vec<u8>,
}

impl<F: File, R> fmt::Debug for ReadExact<F, R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ReadExact")
            .field("offset", &self.offset)
            .field("len", &self.len)
            .finish_non_exhaustive()
    }
}

impl<F: File, R: Deref<Target = F> + Unpin> Future for ReadExact<F, R> {
    type Output = io::Result<Exact<F::Bytes>>;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        let this = &mut *self;
        loop {
            let more = ready!(Pin::new(&mut this.read).poll(context))?;
            if more.len() == this.len && this.bytes.is_empty() {
                return Poll::Ready(Ok(Exact::Whole(more)));
            }
            // Reads begin at pages only: what a short read left of a page is read again.
            let kept = this.bytes.len() / PAGE * PAGE;
            if kept + more.len() <= this.bytes.len() {
                return Poll::Ready(Err(io::ErrorKind::UnexpectedEof.into()));
            }
            this.bytes.truncate(kept);
            this.bytes.extend_from_slice(&more);
            if this.bytes.len() >= this.len {
                return Poll::Ready(Ok(Exact::Pieces(std::mem::take(&mut this.bytes))));
            }
            let kept = this.bytes.len() / PAGE * PAGE;
            this.read = this.file.read_at(this.offset + kept as u64, this.len - kept);
        }
    }
}

/// Writes all of `buffer`, going on after short writes; returns the buffer. A write of nothing is `WriteZero`.
pub async fn write_all<F: File>(file: &F, offset: u64, buffer: F::Buffer) -> io::Result<F::Buffer> {
    let len = buffer.len();
    let (count, buffer) = file.write_at(offset, buffer).await?;
    let mut done = count / PAGE * PAGE;
    while done < len {
        let mut rest = file.buffer(len - done);
        rest.copy_from_slice(&buffer[done..]);
        let (count, _) = file.write_at(offset + done as u64, rest).await?;
        if count < PAGE {
            return Err(io::ErrorKind::WriteZero.into());
        }
        done += count / PAGE * PAGE;
    }
    Ok(buffer)
}

/// Whether an error says that the device fails.
pub(crate) fn is_failing(error: &io::Error) -> bool {
    error.raw_os_error() == Some(nix::libc::EIO)
}

/// Whether an error says that there is no space left for us.
#[must_use]
pub fn is_full(error: &io::Error) -> bool {
    use io::ErrorKind::{FileTooLarge, QuotaExceeded, StorageFull};
    matches!(error.kind(), StorageFull | QuotaExceeded | FileTooLarge)
}
