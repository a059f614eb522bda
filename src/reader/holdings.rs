//! What a reader holds on to: open files, checksums and indexes of segments, verified chunks and blocks.
//!
//! Files are bounded in number, everything else in bytes (`cache_bytes`); what was used least recently goes. The
//! locks are held for a moment and never over an await.
//!
//! Invariant: every byte in here has been verified.
//! Not here: which bytes are wanted (`fetch`, `scan`), what is in sealed segments (`sealed`).

use std::hash::{BuildHasherDefault, DefaultHasher};
use std::io;
use std::path::{Path, PathBuf};
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::task::{Context, Poll, ready};

use lru::LruCache;

use super::sealed::Encoded;
use crate::disk::{Disk, Exact, File, Mode, PAGE, ReadExact, TRANSFER_BYTES_MAX, read_exact};
use crate::error::{Error, Result};
use crate::format::crc32c;
use crate::format::entries::Entries;
use crate::format::manifest::Finished;
use crate::format::manifest::Sealed;
use crate::format::segment::Directory;
use crate::format::sums::{self, Home, Sums};
use crate::segment::read::{Body, CHUNK_BYTES, Loaded, RawSegment, Run};
use crate::store::shared::Shared;

/// Open files that a reader keeps; a scan keeps those of its columns besides.
pub(crate) const HANDLES_MAX: usize = 128;

/// A raw file, open for reading.
#[derive(Debug)]
pub(crate) struct Handle<F> {
    path: PathBuf,
    file: Arc<F>,
    /// Of the file of a sealed segment, that. When nobody has it any more the file may have been removed, but takes
    /// space as long as it is open.
    sealed: Option<Weak<Sealed>>,
}

/// A chunk of a raw file, by segment number, file and chunk number, or a segment's checksums; of a sealed segment
/// its directory, the entries of a stream, a block.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Key {
    Chunk { segment: u64, file: usize, chunk: u64 },
    Sums { segment: u64 },
    Directory { segment: u64 },
    Entries { segment: u64, file: usize },
    Block { segment: u64, file: usize, group: usize },
}

#[derive(Clone)]
pub(super) enum Entry {
    /// Those of the chunk's bytes that were below D.
    Chunk(Arc<[u8]>),
    Sums(Arc<Sums>),
    Directory(Arc<Directory>),
    Entries(Arc<Entries>),
    Block(Arc<Encoded>),
}

impl Entry {
    fn bytes(&self) -> usize {
        match self {
            Entry::Chunk(bytes) => bytes.len(),
            Entry::Sums(sums) => {
                sums.files.iter().map(|file| 4 * file.len()).sum::<usize>() + 8 * sums.first_keys.len()
            }
            Entry::Directory(directory) => directory.memory_bytes(),
            Entry::Entries(entries) => entries.memory_bytes(),
            Entry::Block(block) => block.memory_bytes(),
        }
    }
}

/// Entries by last use, within a budget.
struct Cache {
    entries: LruCache<Key, Entry>,
    bytes: usize,
    bytes_max: usize,
}

impl Cache {
    fn put(&mut self, key: Key, entry: Entry) {
        self.bytes += entry.bytes();
        if let Some((_, before)) = self.entries.push(key, entry) {
            self.bytes -= before.bytes();
        }
        while self.bytes > self.bytes_max
            && let Some((_, oldest)) = self.entries.pop_lru()
        {
            self.bytes -= oldest.bytes();
        }
    }
}

/// Open files by segment number and, of a raw segment, file. Hashed without a seed: they are closed in the order of their hashes,
/// and a simulated world must be the same for the same seed.
type Handles<F> = LruCache<(u64, Option<usize>), Arc<Handle<F>>, BuildHasherDefault<DefaultHasher>>;

/// What a reader holds on to.
pub(crate) struct Holdings<D: Disk> {
    pub(crate) shared: Arc<Shared<D>>,
    handles: Mutex<Handles<D::File>>,
    cache: Mutex<Cache>,
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    // Every change under these locks is whole: a panic elsewhere leaves nothing half-done.
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl<D: Disk> Holdings<D> {
    pub(crate) fn new(shared: Arc<Shared<D>>) -> Self {
        let bytes_max = usize::try_from(shared.options.cache_bytes).unwrap_or(usize::MAX);
        let cache = Cache { entries: LruCache::unbounded(), bytes: 0, bytes_max };
        Self {
            shared,
            handles: Mutex::new(LruCache::unbounded_with_hasher(Default::default())),
            cache: Mutex::new(cache),
        }
    }

    /// One of a segment's files, opened if need be. One that is shorter than it must be is damage.
    pub(crate) async fn handle(&self, segment: &RawSegment, file: usize) -> Result<Arc<Handle<D::File>>> {
        let Shared { dir, schema, .. } = &*self.shared;
        let path = || segment.file_path(dir, schema, file);
        self.opened((segment.number(), Some(file)), path, segment.file_end(file), None).await
    }

    /// A file that must hold `end` bytes at least: of a raw segment this one, of a sealed one the only one.
    pub(super) async fn opened(
        &self,
        key: (u64, Option<usize>),
        path: impl FnOnce() -> PathBuf,
        end: u64,
        sealed: Option<&Arc<Sealed>>,
    ) -> Result<Arc<Handle<D::File>>> {
        if let Some(handle) = lock(&self.handles).get(&key) {
            return Ok(Arc::clone(handle));
        }
        let sealed = sealed.map(Arc::downgrade);
        let handle = Arc::new(Handle { sealed, ..Handle::open(&self.shared.disk, path(), end).await? });
        let mut evicted = Vec::new();
        {
            let mut handles = lock(&self.handles);
            evicted.extend(handles.push(key, Arc::clone(&handle)));
            let is_gone = |handle: &Handle<D::File>| {
                handle.sealed.as_ref().is_some_and(|sealed| sealed.strong_count() == 0)
            };
            let gone: Vec<_> =
                handles.iter().filter(|(_, handle)| is_gone(handle)).map(|(key, _)| *key).collect();
            evicted.extend(gone.iter().filter_map(|key| handles.pop_entry(key)));
            if handles.len() > HANDLES_MAX {
                evicted.extend(handles.pop_lru());
            }
        }
        for (_, evicted) in evicted {
            evicted.close().await;
        }
        Ok(handle)
    }

    /// A segment with its checksums.
    pub(crate) async fn load(&self, segment: RawSegment) -> Result<Arc<Loaded>> {
        let Body::Finished(finished) = &segment.body else {
            return Ok(Arc::new(Loaded::active(segment)));
        };
        let finished = Arc::clone(finished);
        let key = Key::Sums { segment: finished.number };
        let path = segment.path(&self.shared.dir).join("sums");
        let sums = match self.kept(key) {
            Some(Entry::Sums(sums)) => sums,
            _ => {
                let home = Home { segment: finished.number, slot: finished.slot };
                let sums = Arc::new(self.read_sums(path.clone(), home, &finished).await?);
                self.put(key, Entry::Sums(Arc::clone(&sums)));
                sums
            }
        };
        let loaded = Loaded::finished(segment, &finished, sums);
        let what = "the checksums are not of files of these lengths and this first key";
        loaded.map(Arc::new).ok_or_else(|| Error::corrupt(&path, 0, what))
    }

    async fn read_sums(&self, path: PathBuf, home: Home, finished: &Finished) -> Result<Sums> {
        let Some(len) = sums::bytes(&finished.lengths) else {
            return Err(Error::corrupt(&path, 0, "the segment's lengths need more checksums than can be"));
        };
        let handle = Handle::open(&self.shared.disk, path, len).await?;
        let mut bytes = Vec::new();
        while (bytes.len() as u64) < len {
            let at = bytes.len() as u64;
            let part = usize::try_from(len - at).unwrap_or(usize::MAX).min(TRANSFER_BYTES_MAX);
            bytes.extend_from_slice(&handle.read(at, part).await?);
        }
        let decoded = Sums::decode(&bytes, home, &self.shared.id);
        let sums = match decoded.map_err(|malformed| malformed.at(&handle.path)) {
            // Those of a copy of this store that lived on by itself, say.
            Ok(_) if crc32c(&bytes) != finished.sums_sum => {
                Err(Error::corrupt(&handle.path, 0, "these are not the sums that the manifest names"))
            }
            sums => sums,
        };
        Arc::new(handle).close().await;
        sums
    }

    /// A chunk that is kept, if it holds the bytes below `len`.
    pub(crate) fn chunk(&self, key: Key, len: usize) -> Option<Arc<[u8]>> {
        match self.kept(key) {
            Some(Entry::Chunk(bytes)) if bytes.len() >= len => Some(bytes),
            _ => None,
        }
    }

    pub(super) fn kept(&self, key: Key) -> Option<Entry> {
        lock(&self.cache).entries.get(&key).cloned()
    }

    pub(super) fn put(&self, key: Key, entry: Entry) {
        let mut cache = lock(&self.cache);
        if entry.bytes() <= cache.bytes_max {
            cache.put(key, entry);
        }
    }

    /// Keeps the chunks of a verified run.
    pub(crate) fn keep(&self, segment: u64, file: usize, run: &Run, bytes: &[u8]) {
        let first = run.offset / crate::format::CHUNK;
        let mut cache = lock(&self.cache);
        for (chunk, bytes) in (first..).zip(bytes.chunks(CHUNK_BYTES)) {
            if bytes.len() <= cache.bytes_max {
                cache.put(Key::Chunk { segment, file, chunk }, Entry::Chunk(bytes.into()));
            }
        }
    }
}

pub(super) fn refused(action: &'static str, path: &Path, offset: u64, error: io::Error) -> Error {
    match error.kind() {
        io::ErrorKind::NotFound => Error::corrupt(path, 0, "the manifest names this file; it is missing"),
        io::ErrorKind::UnexpectedEof => {
            Error::corrupt(path, offset, "the file ends within the bytes from here on")
        }
        _ => Error::io(action, path, error),
    }
}

impl<F: File> Handle<F> {
    /// Opens a file that must hold `end` bytes at least.
    pub(crate) async fn open<D: Disk<File = F>>(disk: &D, path: PathBuf, end: u64) -> Result<Self> {
        let opened = async {
            let file = disk.open(&path, Mode::Read).await?;
            let len = file.len().await?;
            Ok((file, len))
        };
        let (file, len) = match opened.await {
            Ok(opened) => opened,
            Err(error) => return Err(refused("open", &path, 0, error)),
        };
        if len < end {
            let what = format!("the file ends here; {end} bytes of it are named");
            return Err(Error::corrupt(&path, len, what));
        }
        Ok(Self { path, file: Arc::new(file), sealed: None })
    }

    /// Gives a file back, unless somebody still reads from it; then it goes with the last of them.
    pub(crate) async fn close(self: Arc<Self>) {
        if let Some(file) = Arc::into_inner(self).and_then(|handle| Arc::into_inner(handle.file)) {
            // Nothing was written through it: whether closing fails concerns nobody.
            let _ = file.close().await;
        }
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    pub(super) fn file(&self) -> &Arc<F> {
        &self.file
    }

    pub(super) async fn read(&self, offset: u64, len: usize) -> Result<Exact<F::Bytes>> {
        debug_assert!(offset.is_multiple_of(PAGE as u64) && len.is_multiple_of(PAGE));
        let read = read_exact(&*self.file, offset, len).await;
        read.map_err(|error| refused("read", &self.path, offset, error))
    }
}

/// A run on its way, and whose it is. It borrows nothing: a scan keeps some between its batches.
#[must_use = "nothing is read before it is polled"]
pub(crate) struct Fetch<F: File, T> {
    read: ReadExact<F, Arc<F>>,
    handle: Arc<Handle<F>>,
    /// Taken when it is ready.
    run: Option<(Run, T)>,
}

impl<F: File, T> Fetch<F, T> {
    pub(crate) fn new(handle: Arc<Handle<F>>, run: Run, whose: T) -> Self {
        let read = read_exact(Arc::clone(&handle.file), run.offset, run.len);
        Self { read, handle, run: Some((run, whose)) }
    }
}

/// What a run brought.
pub(crate) struct Fetched<F: File, T> {
    pub(crate) run: Run,
    pub(crate) whose: T,
    /// Verified.
    pub(crate) bytes: Result<Exact<F::Bytes>>,
}

impl<F: File, T: Unpin> Future for Fetch<F, T> {
    type Output = Fetched<F, T>;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        let this = &mut *self;
        let read = ready!(Pin::new(&mut this.read).poll(context));
        let Some((run, whose)) = this.run.take() else { unreachable!("it was ready before") };
        let path = &this.handle.path;
        let bytes = match read {
            Err(error) => Err(refused("read", path, run.offset, error)),
            Ok(bytes) => match run.verify(&bytes) {
                Ok(()) => Ok(bytes),
                Err(offset) => {
                    let what = "the bytes from here on do not match their checksum";
                    Err(Error::corrupt(path, offset, what))
                }
            },
        };
        Poll::Ready(Fetched { run, whose, bytes })
    }
}
