//! The file of a sealed segment on its way to the disk: written front to back, then read back.
//!
//! Invariant: what a sealed segment's file is said to hold has been read from it.
//! Not here: what is in it (`seal`).

use std::io;
use std::path::{Path, PathBuf};

use crate::disk::{Disk, File, PAGE, read_exact, write_all};
use crate::error::{Error, Refused, Result};
use crate::format::crc32c;
use crate::mutant::{self, Mutant};

/// Bytes of one write: what was encoded in memory between two waits is never much more.
const PIECE: usize = 256 << 10;

/// A file that grows.
pub(super) struct Output<F: File> {
    path: PathBuf,
    file: F,
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

impl<F: File> Output<F> {
    pub(super) fn new(path: PathBuf, file: F) -> Self {
        let buffer = file.buffer(PIECE);
        Self { path, file, buffer, filled: 0, written: Written::default() }
    }

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

    /// Writes what is in the buffer, whole pages.
    async fn write(&mut self) -> Result<(), Refused> {
        let fresh = self.file.buffer(PIECE);
        let mut buffer = std::mem::replace(&mut self.buffer, fresh);
        if self.filled < PIECE {
            let mut shorter = self.file.buffer(self.filled);
            shorter.copy_from_slice(&buffer[..self.filled]);
            buffer = shorter;
        }
        let sum = crc32c(&buffer);
        let written = write_all(&self.file, self.written.bytes, buffer).await;
        written.map_err(|error| Refused::new("write", &self.path, error))?;
        self.written.sums.push(sum);
        self.written.bytes += self.filled as u64;
        self.filled = 0;
        Ok(())
    }

    /// Writes the rest and makes all of it durable.
    pub(super) async fn finish<D: Disk<File = F>>(mut self, disk: &D) -> Result<Written, Refused> {
        if self.filled > 0 {
            self.write().await?;
        }
        if !mutant::is(Mutant::NoSegmentSync) {
            disk.sync_files(&[&self.file]).await.map_err(|error| Refused::sync(&self.path, error))?;
        }
        self.file.close().await.map_err(|error| Refused::new("close", &self.path, error))?;
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
        for (offset, sum) in (0..).step_by(PIECE).zip(&self.sums) {
            goes_on()?;
            let len = usize::try_from(self.bytes - offset).unwrap_or(usize::MAX).min(PIECE);
            let bytes = read_exact(file, offset, len).await;
            let is_there = match &bytes {
                Ok(bytes) => crc32c(bytes) == *sum || mutant::is(Mutant::NoReadBack),
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
