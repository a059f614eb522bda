//! A raw file of a finished segment, front to back: what sealing reads.
//!
//! Invariant: no byte is handed out unverified, and no more than a few chunks are in memory.
//! Not here: rows in any order, caches (`reader`).

use std::io;
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::disk::{Disk, File, Mode, TRANSFER_BYTES_MAX, read_exact};
use crate::error::{Error, Result};
use crate::format::manifest::Finished;
use crate::format::sums::{self, Home, Sums};
use crate::format::{CHUNK, crc32c};
use crate::segment::read::{Body, Loaded, RawSegment, View};
use crate::segment::slot;
use crate::statistics::GROUP_ROWS;
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

/// A raw file on its way through memory.
pub(super) struct Source<F> {
    path: PathBuf,
    file: F,
    view: View,
    /// Bytes of a row.
    width: u64,
    /// Verified bytes of the file, from `start` on.
    bytes: Vec<u8>,
    start: u64,
}

impl<F: File> Source<F> {
    /// File number `file` of a segment; its rows have `width` bytes each.
    pub(super) async fn open<D: Disk<File = F>>(
        shared: &Shared<D>,
        segment: &Loaded,
        file: usize,
        width: usize,
    ) -> Result<Self> {
        let path = segment.segment.file_path(&shared.dir, &shared.schema, file);
        let (view, width) = (segment.view(file), width as u64);
        let file = open(&shared.disk, &path).await?;
        Ok(Self { path, file, view, width, bytes: Vec::new(), start: 0 })
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
        while self.start + (self.bytes.len() as u64) < range.end {
            let run = self.view.run(self.start + self.bytes.len() as u64..self.view.end, chunks);
            let read = read_exact(&self.file, run.offset, run.len).await;
            let bytes = read.map_err(|error| refused("read", &self.path, run.offset, error))?;
            run.verify(&bytes).map_err(|offset| {
                Error::corrupt(&self.path, offset, "the bytes from here on do not match their checksum")
            })?;
            self.bytes.extend_from_slice(&bytes);
        }
        Ok(&self.bytes[at(range.start, self.start)..at(range.end, self.start)])
    }

    /// The error that says what is wrong with a row's bytes.
    pub(super) fn damaged(&self, row: u64, what: &'static str) -> Error {
        Error::corrupt(&self.path, row * self.width, what)
    }

    /// Gives the file back.
    pub(super) async fn close(self) {
        close(self.file).await;
    }
}
