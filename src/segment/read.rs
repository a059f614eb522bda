//! A raw segment, read back: which of its bytes are in a file, which in a tail, and what proves them.
//!
//! [`RawSegment`] is what one snapshot sees of a raw segment; [`Loaded`] is the same with the checksums at hand; a
//! [`View`] of one of its files says, at one moment, how far the file's own bytes reach. A [`Run`] is one read,
//! whole chunks from a chunk's start on, and the checksums that its bytes must have.
//!
//! Invariant: no byte at D or behind is asked of a file, and no byte of a file is handed out unverified.
//! Not here: reading itself, open files, caches (`reader`).

use std::borrow::Cow;
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::active::{Active, FileView};
use super::slot;
use crate::disk::{PAGE, TRANSFER_BYTES_MAX};
use crate::error::Error;
use crate::format::manifest::Finished;
use crate::format::sums::Sums;
use crate::format::{CHUNK, chunks, crc32c};
use crate::mutant::{self, Mutant};
use crate::schema::Schema;

/// Chunks in the longest run.
pub(crate) const RUN_CHUNKS_MAX: u64 = TRANSFER_BYTES_MAX as u64 / CHUNK;

/// Rows whose keys a chunk holds.
pub(crate) const CHUNK_KEYS: u64 = CHUNK / 8;

const _: () = assert!(TRANSFER_BYTES_MAX as u64 >= CHUNK);

/// A raw segment as a snapshot sees it.
#[derive(Clone, Debug)]
pub(crate) struct RawSegment {
    /// Its rows that the snapshot sees; perhaps none.
    pub(crate) rows: Range<u64>,
    pub(crate) body: Body,
}

/// Finished or active.
#[derive(Clone, Debug)]
pub(crate) enum Body {
    Finished(Arc<Finished>),
    Active(Arc<Active>),
}

/// Bytes that are not what they should be: in which of a segment's files, and where.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Damage {
    pub(crate) file: usize,
    pub(crate) offset: u64,
    pub(crate) what: Cow<'static, str>,
}

impl Damage {
    pub(crate) fn new(file: usize, offset: u64, what: impl Into<Cow<'static, str>>) -> Self {
        Self { file, offset, what: what.into() }
    }
}

impl RawSegment {
    /// How many rows the snapshot sees.
    pub(crate) fn len(&self) -> u64 {
        self.rows.end - self.rows.start
    }

    pub(crate) fn number(&self) -> u64 {
        match &self.body {
            Body::Finished(finished) => finished.number,
            Body::Active(active) => active.number,
        }
    }

    /// The slot in which its files lie.
    pub(crate) fn slot(&self) -> u32 {
        match &self.body {
            Body::Finished(finished) => finished.slot,
            Body::Active(active) => active.slot,
        }
    }

    /// The directory of its files.
    pub(crate) fn path(&self, dir: &Path) -> PathBuf {
        slot::path(dir, self.slot())
    }

    /// One of its raw files.
    pub(crate) fn file_path(&self, dir: &Path, schema: &Schema, file: usize) -> PathBuf {
        self.path(dir).join(schema.files()[file].name())
    }

    /// How many bytes its files must hold: what is less is damage. The active segment's may be more by now.
    pub(crate) fn file_end(&self, file: usize) -> u64 {
        match &self.body {
            Body::Finished(finished) => finished.lengths[file].next_multiple_of(PAGE as u64),
            Body::Active(active) => active.files[file].view().end,
        }
    }

    /// Damage, as the error that names its file (`Snapshot::judge` asks whether it is).
    pub(crate) fn damaged(&self, dir: &Path, schema: &Schema, damage: Damage) -> Error {
        Error::corrupt(&self.file_path(dir, schema, damage.file), damage.offset, damage.what)
    }
}

/// A segment that can be read: a finished one with its checksums.
#[derive(Clone, Debug)]
pub(crate) struct Loaded {
    pub(crate) segment: RawSegment,
    sums: Option<Arc<Sums>>,
}

impl Loaded {
    /// An active segment: its checksums are in memory.
    pub(crate) fn active(segment: RawSegment) -> Self {
        Self { segment, sums: None }
    }

    /// A finished segment, if these checksums can be of its files.
    pub(crate) fn finished(segment: RawSegment, as_named: &Finished, sums: Arc<Sums>) -> Option<Self> {
        let lengths = &as_named.lengths;
        let fits = |(sums, len): (&Vec<u32>, &u64)| sums.len() as u64 == chunks(*len);
        let all = sums.files.len() == lengths.len() && sums.files.iter().zip(lengths).all(fits);
        let begins = sums.first_keys.first() == Some(&as_named.first_key);
        (all && begins).then_some(Self { segment, sums: Some(sums) })
    }

    /// The first keys of the chunks of keys; none for an active segment.
    pub(crate) fn first_keys(&self) -> &[u64] {
        self.sums.as_ref().map_or(&[], |sums| &sums.first_keys)
    }

    /// One of its files, now.
    pub(crate) fn view(&self, file: usize) -> View {
        match (&self.segment.body, &self.sums) {
            (Body::Finished(finished), Some(sums)) => {
                let len = finished.lengths[file];
                let end = len.next_multiple_of(PAGE as u64);
                View { end, len, source: Source::Finished(Arc::clone(sums), file) }
            }
            (Body::Active(active), _) => {
                let view = active.files[file].view();
                View { end: view.end, len: view.len, source: Source::Active(Arc::clone(active), file, view) }
            }
            (Body::Finished(_), None) => unreachable!("a finished segment is loaded with its checksums"),
        }
    }
}

/// A raw file at one moment.
#[derive(Debug)]
pub(crate) struct View {
    /// D: bytes below are in the file.
    pub(crate) end: u64,
    /// L, or behind what the snapshot sees.
    pub(crate) len: u64,
    source: Source,
}

#[derive(Debug)]
enum Source {
    Finished(Arc<Sums>, usize),
    Active(Arc<Active>, usize, FileView),
}

impl View {
    fn sum(&self, chunk: u64) -> Option<u32> {
        match &self.source {
            Source::Finished(sums, file) => sums.files[*file].get(usize::try_from(chunk).ok()?).copied(),
            Source::Active(active, file, view) => active.files[*file].sum(view, chunk),
        }
    }

    /// The read that brings bytes from `range.start` on: whole chunks below D, as many as `range` touches, at most
    /// `chunks_max`. `range.start` is below D.
    pub(crate) fn run(&self, range: Range<u64>, chunks_max: u64) -> Run {
        assert!(range.start < self.end, "what is read from a file lies below its end");
        let first = range.start / CHUNK;
        let last = chunks(range.end.min(self.end)).clamp(first + 1, first + chunks_max);
        let offset = first * CHUNK;
        let len = usize::try_from((last * CHUNK).min(self.end) - offset).unwrap_or(usize::MAX);
        Run { offset, len, sums: (first..last).map(|chunk| self.sum(chunk)).collect() }
    }

    /// Copies bytes at D or behind, below L.
    pub(crate) fn copy_tail(&self, at: u64, bytes: &mut [u8]) {
        assert!(at >= self.end, "bytes below D are in the file");
        assert!(at + bytes.len() as u64 <= self.len, "bytes at L or behind do not exist");
        match &self.source {
            Source::Active(_, _, view) => view.tail.copy(at, bytes),
            Source::Finished(..) => assert!(bytes.is_empty(), "a finished segment has no tail"),
        }
    }
}

/// One read: whole chunks.
#[derive(Clone, Debug)]
pub(crate) struct Run {
    pub(crate) offset: u64,
    pub(crate) len: usize,
    /// Of each chunk; none where that is not known, which is damage.
    sums: Vec<Option<u32>>,
}

impl Run {
    /// Behind its last byte.
    pub(crate) fn end(&self) -> u64 {
        self.offset + self.len as u64
    }

    /// The first chunk whose bytes do not match, by its offset.
    pub(crate) fn verify(&self, bytes: &[u8]) -> Result<(), u64> {
        debug_assert_eq!(bytes.len(), self.len, "a run is read whole");
        let starts = (self.offset..).step_by(CHUNK_BYTES);
        for ((offset, bytes), sum) in starts.zip(bytes.chunks(CHUNK_BYTES)).zip(&self.sums) {
            if *sum != Some(crc32c(bytes)) && !mutant::is(Mutant::NoReadCheck) {
                return Err(offset);
            }
        }
        Ok(())
    }
}

/// A chunk's length, for memory.
pub(crate) const CHUNK_BYTES: usize = {
    assert!(CHUNK <= TRANSFER_BYTES_MAX as u64);
    64 << 10
};

const _: () = assert!(CHUNK_BYTES as u64 == CHUNK);
