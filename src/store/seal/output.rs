//! The file of a sealed segment on its way to the disk: written front to back, then read back.
//!
//! A few writes are on their way while what comes next is encoded, and a few reads while what came is compared.
//! Invariant: what a sealed segment's file is said to hold has been read from it.
//! Not here: what is in it (`seal`).

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::task::Poll;

use futures::stream::FuturesUnordered;
use futures::{StreamExt, poll, stream};

use crate::disk::{Disk, File, PAGE, read_exact, write_all};
use crate::error::{Error, Refused, Result};
use crate::format::crc32c;
use crate::mutant::{self, Mutant};

/// Bytes of one write or read.
const PIECE: usize = 256 << 10;
/// Writes on their way beside the piece that is being filled.
const WRITES_IN_FLIGHT: usize = 2;
/// Reads on their way when the file is read back.
const READS_IN_FLIGHT: usize = 4;

/// A write on its way, which returns its buffer.
pub(super) trait Write<F: File>: Future<Output = io::Result<F::Buffer>> {}

impl<F: File, W: Future<Output = io::Result<F::Buffer>>> Write<F> for W {}

/// A file that grows.
pub(super) struct Output<F: File, W> {
    path: PathBuf,
    file: Arc<F>,
    write: fn(Arc<F>, u64, F::Buffer) -> W,
    in_flight: FuturesUnordered<W>,
    /// Buffers of a piece that were written.
    spare: Vec<F::Buffer>,
    buffer: F::Buffer,
    filled: usize,
    written: Written,
}

/// What is in a file, as far as it was handed to the disk: its length, and the sum of each piece.
#[derive(Debug, Default)]
pub(super) struct Written {
    pub(super) bytes: u64,
    sums: Vec<u32>,
}

/// Into an empty file.
pub(super) fn output<F: File>(path: PathBuf, file: F) -> Output<F, impl Write<F>> {
    let (buffer, file) = (file.buffer(PIECE), Arc::new(file));
    let (in_flight, spare, written) = (FuturesUnordered::new(), Vec::new(), Written::default());
    Output { path, file, write, in_flight, spare, buffer, filled: 0, written }
}

async fn write<F: File>(file: Arc<F>, offset: u64, buffer: F::Buffer) -> io::Result<F::Buffer> {
    write_all(&*file, offset, buffer).await
}

impl<F: File, W: Write<F>> Output<F, W> {
    /// Where the next byte goes.
    pub(super) fn at(&self) -> u64 {
        self.written.bytes + self.filled as u64
    }

    /// Adds bytes.
    pub(super) async fn push(&mut self, mut bytes: &[u8]) -> Result<(), Refused> {
        while !bytes.is_empty() {
            let (now, later) = bytes.split_at(bytes.len().min(PIECE - self.filled));
            self.buffer[self.filled..self.filled + now.len()].copy_from_slice(now);
            self.filled += now.len();
            bytes = later;
            if self.filled == PIECE {
                self.write().await?;
            }
        }
        Ok(())
    }

    /// Adds zeros up to a page.
    pub(super) async fn pad(&mut self) -> Result<(), Refused> {
        let zeros = [0; PAGE];
        let rest = self.filled.next_multiple_of(PAGE) - self.filled;
        self.push(&zeros[..rest]).await
    }

    /// Begins to write what is in the buffer, whole pages; waits where enough is on its way.
    async fn write(&mut self) -> Result<(), Refused> {
        let buffer = if self.filled < PIECE {
            // The last one: no other is filled.
            let mut shorter = self.file.buffer(self.filled);
            shorter.copy_from_slice(&self.buffer[..self.filled]);
            shorter
        } else {
            let fresh = self.spare.pop().unwrap_or_else(|| self.file.buffer(PIECE));
            std::mem::replace(&mut self.buffer, fresh)
        };
        self.written.sums.push(crc32c(&buffer));
        self.in_flight.push((self.write)(Arc::clone(&self.file), self.written.bytes, buffer));
        self.written.bytes += self.filled as u64;
        self.filled = 0;
        // A write begins when it is asked for.
        while let Poll::Ready(Some(landed)) = poll!(self.in_flight.next()) {
            self.take(landed)?;
        }
        self.wait(WRITES_IN_FLIGHT).await
    }

    /// Waits until no more than so many writes are on their way.
    async fn wait(&mut self, most: usize) -> Result<(), Refused> {
        while self.in_flight.len() > most
            && let Some(landed) = self.in_flight.next().await
        {
            self.take(landed)?;
        }
        Ok(())
    }

    fn take(&mut self, landed: io::Result<F::Buffer>) -> Result<(), Refused> {
        let buffer = landed.map_err(|error| Refused::new("write", &self.path, error))?;
        if buffer.len() == PIECE {
            self.spare.push(buffer);
        }
        Ok(())
    }

    /// Writes the rest and makes all of it durable.
    pub(super) async fn finish<D: Disk<File = F>>(mut self, disk: &D) -> Result<Written, Refused> {
        if self.filled > 0 {
            self.write().await?;
        }
        self.wait(0).await?;
        if !mutant::is(Mutant::NoSegmentSync) {
            disk.sync_files(&[&*self.file]).await.map_err(|error| Refused::sync(&self.path, error))?;
        }
        let Some(file) = Arc::into_inner(self.file) else { unreachable!("every write has ended") };
        file.close().await.map_err(|error| Refused::new("close", &self.path, error))?;
        Ok(self.written)
    }
}

impl Written {
    /// Whether a file holds it: every byte, read through the disk, as long as `goes_on`. Returns what it ends with, so
    /// many bytes.
    pub(super) async fn verify<F: File>(
        &self,
        file: &F,
        path: &Path,
        last: usize,
        goes_on: impl Fn() -> Result<()>,
    ) -> Result<Vec<u8>> {
        let mut end = Vec::new();
        let read = |(offset, sum): (u64, u32)| async move {
            let len = usize::try_from(self.bytes - offset).unwrap_or(usize::MAX).min(PIECE);
            (offset, sum, read_exact(file, offset, len).await)
        };
        let pieces = (0..).step_by(PIECE).zip(self.sums.iter().copied());
        let mut reads = stream::iter(pieces).map(read).buffered(READS_IN_FLIGHT);
        while let Some((offset, sum, bytes)) = reads.next().await {
            goes_on()?;
            let is_there = match &bytes {
                Ok(bytes) => crc32c(bytes) == sum || mutant::is(Mutant::NoReadBack),
                Err(error) => error.kind() != io::ErrorKind::UnexpectedEof,
            };
            if !is_there {
                return Err(Error::corrupt(path, offset, "the disk does not hold what was written to it"));
            }
            let bytes = bytes.map_err(|error| Error::io("read back", path, error))?;
            end.extend_from_slice(&bytes);
            end.drain(..end.len().saturating_sub(last.max(PIECE)));
        }
        end.drain(..end.len().saturating_sub(last));
        Ok(end)
    }
}
