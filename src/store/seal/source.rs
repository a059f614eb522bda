//! A raw file of a finished segment, front to back: what sealing reads.
//!
//! Invariant: no byte of the file is handed out unverified, and no more than some chunks of it are in memory: those at
//! hand, and as many on their way.
//! Not here: rows in any order, caches (`reader`).

use std::io;
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::pin::Pin;
use std::sync::Arc;

use futures::future::{MaybeDone, maybe_done};
use futures::poll;

use crate::disk::{Disk, File, Mode, ReadExact, TRANSFER_BYTES_MAX, read_exact};
use crate::error::{Error, Result};
use crate::format::manifest::Finished;
use crate::format::sums::{self, Home, Sums};
use crate::format::{CHUNK, crc32c};
use crate::segment::read::{Body, Loaded, RawSegment, Run, View};
use crate::segment::slot;
use crate::statistics::{GROUP_BITS, GROUP_ROWS};
use crate::store::seal::staging::Staged;
use crate::store::shared::Shared;

/// A finished segment with its checksums.
pub(super) async fn load<D: Disk>(shared: &Shared<D>, finished: &Arc<Finished>) -> Result<Loaded> {
    let path = slot::path(&shared.dir, finished.slot).join("sums");
    let damaged = |what: &'static str| Error::corrupt(&path, 0, what);
    let len = sums::bytes(&finished.lengths)
        .ok_or_else(|| damaged("the segment's lengths need more checksums than can be"))?;
    let file = open(&shared.disk, &path).await?;
    let bytes = read(&file, &path, 0..len).await?;
    close(file).await;
    let home = Home { segment: finished.number, slot: finished.slot };
    let sums = Sums::decode(&bytes, home, &shared.id).map_err(|malformed| malformed.at(&path))?;
    if crc32c(&bytes) != finished.sums_sum {
        return Err(damaged("these are not the sums that the manifest names"));
    }
    let rows = finished.first_row..finished.first_row + finished.rows;
    let segment = RawSegment { rows, body: Body::Finished(Arc::clone(finished)) };
    let loaded = Loaded::finished(segment, finished, Arc::new(sums));
    loaded.ok_or_else(|| damaged("the checksums are not of files of these lengths and this first key"))
}

/// Opens a file that a manifest names, for reading.
pub(super) async fn open<D: Disk>(disk: &D, path: &Path) -> Result<D::File> {
    disk.open(path, Mode::Read).await.map_err(|error| refused("open", path, 0, error))
}

/// These bytes, whole pages, in reads of bounded length.
pub(super) async fn read<F: File>(file: &F, path: &Path, range: Range<u64>) -> Result<Vec<u8>> {
    let mut bytes = Vec::new();
    for offset in range.clone().step_by(TRANSFER_BYTES_MAX) {
        let len = usize::try_from(range.end - offset).unwrap_or(usize::MAX).min(TRANSFER_BYTES_MAX);
        let part = read_exact(file, offset, len).await;
        bytes.extend_from_slice(&part.map_err(|error| refused("read", path, offset, error))?);
    }
    Ok(bytes)
}

/// Gives a file back that was only read.
pub(super) async fn close<F: File>(file: F) {
    // Nothing was written through it: whether closing fails concerns nobody.
    let _ = file.close().await;
}

fn refused(action: &'static str, path: &Path, offset: u64, error: io::Error) -> Error {
    match error.kind() {
        io::ErrorKind::NotFound => Error::corrupt(path, 0, "the manifest names this file; it is missing"),
        io::ErrorKind::UnexpectedEof => {
            Error::corrupt(path, offset, "the file ends within the bytes from here on")
        }
        _ => Error::io(action, path, error),
    }
}

/// The read that comes next, on its way.
struct Ahead<F: File> {
    run: Run,
    read: MaybeDone<ReadExact<F, Arc<F>>>,
}

/// A raw file on its way through memory.
pub(super) struct Source<'a, F: File> {
    path: PathBuf,
    file: Arc<F>,
    ahead: Option<Ahead<F>>,
    /// Number of the file.
    number: usize,
    /// The first row of the segment.
    first_row: u64,
    /// Rows that need not be read.
    staged: Option<&'a Staged>,
    /// Number of the file whose blocks are made of these values.
    made: usize,
    view: View,
    /// Bytes of a row.
    width: u64,
    /// Verified bytes of the file, from `start` on.
    bytes: Vec<u8>,
    start: u64,
}

impl<'a, F: File> Source<'a, F> {
    /// File number `number` of a segment; its rows have `width` bytes each.
    pub(super) async fn open<D: Disk<File = F>>(
        shared: &Shared<D>,
        segment: &Loaded,
        number: usize,
        width: usize,
    ) -> Result<Self> {
        let path = segment.segment.file_path(&shared.dir, &shared.schema, number);
        let (view, width) = (segment.view(number), width as u64);
        let file = Arc::new(open(&shared.disk, &path).await?);
        let first_row = segment.segment.rows.start;
        let (staged, bytes) = (None, Vec::new());
        let (made, ahead) = (number, None);
        Ok(Self { path, file, ahead, number, first_row, staged, made, view, width, bytes, start: 0 })
    }

    /// What is in memory is not read, nor ahead what blocks of file number `made` are there of.
    pub(super) fn beside(self, staged: Option<&'a Staged>, made: usize) -> Self {
        Self { staged, made, ..self }
    }

    /// The bytes of some rows, counted from the segment's first. Those of rows before are given up.
    pub(super) async fn rows(&mut self, rows: Range<u64>) -> Result<&[u8]> {
        self.bytes(rows.start * self.width..rows.end * self.width).await
    }

    /// The bytes of a range. Those before are given up.
    pub(super) async fn bytes(&mut self, range: Range<u64>) -> Result<&[u8]> {
        // A read brings two row groups of fixed width at most, or what is wanted: little enough work for one wait.
        let wanted = (range.end - range.start).div_ceil(CHUNK);
        let chunks = (2 * GROUP_ROWS * self.width / CHUNK).max(wanted);
        let at = |offset: u64, start: u64| usize::try_from(offset - start).unwrap_or(usize::MAX);
        let gone = at(range.start, self.start).min(self.bytes.len());
        self.bytes.drain(..gone);
        self.start += gone as u64;
        if self.bytes.is_empty() {
            self.start = range.start;
        }
        while self.start + (self.bytes.len() as u64) < range.end {
            let next = self.start + self.bytes.len() as u64;
            if let Some(bytes) = self.in_memory(next..range.end) {
                self.bytes.extend_from_slice(bytes);
                continue;
            }
            let run = self.view.run(next..self.view.end, chunks);
            // As long as what is on its way begins here it is taken, however much it is.
            let Ahead { run, mut read } = match self.ahead.take() {
                Some(ahead) if ahead.run.offset == run.offset => ahead,
                _ => self.begin(run),
            };
            (&mut read).await;
            let Some(read) = Pin::new(&mut read).take_output() else { unreachable!("it is done") };
            let bytes = read.map_err(|error| refused("read", &self.path, run.offset, error))?;
            self.read_ahead(run.offset + run.len as u64, chunks).await;
            run.verify(&bytes).map_err(|offset| {
                Error::corrupt(&self.path, offset, "the bytes from here on do not match their checksum")
            })?;
            self.bytes.extend_from_slice(&bytes[at(next, run.offset)..]);
        }
        Ok(&self.bytes[at(range.start, self.start)..at(range.end, self.start)])
    }

    /// Begins to read what comes from `offset` on, unless it need not be read: the disk works while rows are encoded.
    async fn read_ahead(&mut self, offset: u64, chunks: u64) {
        let is_needed = offset < self.view.end && self.in_memory(offset..self.view.end).is_none();
        if !is_needed || self.is_encoded(offset) {
            return;
        }
        let mut ahead = self.begin(self.view.run(offset..self.view.end, chunks));
        // A read begins when it is asked for.
        let _ = poll!(&mut ahead.read);
        self.ahead = Some(ahead);
    }

    fn begin(&self, run: Run) -> Ahead<F> {
        let read = maybe_done(read_exact(Arc::clone(&self.file), run.offset, run.len));
        Ahead { run, read }
    }

    /// The first bytes of a range, whole rows, that are in memory.
    fn in_memory(&self, range: Range<u64>) -> Option<&'a [u8]> {
        let width = usize::try_from(self.width).unwrap_or(usize::MAX);
        let bytes = self.staged?.bytes(self.number, width, self.first_row + range.start / self.width)?;
        let len = usize::try_from(range.end - range.start).unwrap_or(usize::MAX);
        Some(&bytes[..bytes.len().min(len)])
    }

    /// Whether the block that the row at this offset goes into is there: whoever has it does not ask for its rows.
    fn is_encoded(&self, offset: u64) -> bool {
        let group = (self.first_row + offset / self.width) >> GROUP_BITS;
        self.staged.is_some_and(|staged| staged.block(self.made, group).is_some())
    }

    /// The error that says what is wrong with a row's bytes.
    pub(super) fn damaged(&self, row: u64, what: &'static str) -> Error {
        Error::corrupt(&self.path, row * self.width, what)
    }

    /// Gives the file back.
    pub(super) async fn close(self) {
        drop(self.ahead);
        if let Some(file) = Arc::into_inner(self.file) {
            close(file).await;
        }
    }
}
