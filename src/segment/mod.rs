//! Segments. Raw ones are rows in per-column files, uncompressed; sealed ones are rows in one compressed file.
//!
//! Of a raw segment `tail` holds what is not in the files yet, `active` is the one segment that grows, as readers and
//! the writer see it, `slot` are its files, `flush` brings whole pages into them, `read` reads any raw segment back.
//!
//! Invariant: a page of a raw file is written once, when it is full (or padded, at the roll), and only bytes
//! below D are ever read from the file.
//!
//! Not here: when a segment is finished or a commit large, sealing (`store`), the log, reading sealed segments
//! (`reader`).

use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::format::manifest::Sealed;
use read::RawSegment;

pub(crate) mod active;
pub(crate) mod flush;
pub(crate) mod read;
pub(crate) mod slot;
pub(crate) mod tail;

/// A segment as a snapshot sees it.
#[derive(Clone, Debug)]
pub(crate) enum Segment {
    Sealed(SealedSegment),
    Raw(RawSegment),
}

/// A sealed segment as a snapshot sees it.
#[derive(Clone, Debug)]
pub(crate) struct SealedSegment {
    /// Its rows that the snapshot sees; perhaps none.
    pub(crate) rows: Range<u64>,
    pub(crate) sealed: Arc<Sealed>,
}

impl Segment {
    /// Its rows that the snapshot sees; perhaps none.
    pub(crate) fn rows(&self) -> Range<u64> {
        match self {
            Self::Sealed(segment) => segment.rows.clone(),
            Self::Raw(segment) => segment.rows.clone(),
        }
    }

    pub(crate) fn number(&self) -> u64 {
        match self {
            Self::Sealed(segment) => segment.sealed.number,
            Self::Raw(segment) => segment.number(),
        }
    }

    /// The slot in which its files lie; none if it is sealed.
    pub(crate) fn slot(&self) -> Option<u32> {
        match self {
            Self::Sealed(_) => None,
            Self::Raw(segment) => Some(segment.slot()),
        }
    }

    /// The directory of its files; the file of a sealed one.
    pub(crate) fn path(&self, dir: &Path) -> PathBuf {
        match self {
            Self::Sealed(segment) => segment.path(dir),
            Self::Raw(segment) => segment.path(dir),
        }
    }
}

impl SealedSegment {
    pub(crate) fn path(&self, dir: &Path) -> PathBuf {
        path(dir, self.sealed.number)
    }
}

/// The file of a sealed segment.
pub(crate) fn path(dir: &Path, number: u64) -> PathBuf {
    dir.join(name(number))
}

/// The name of a sealed segment's file.
pub(crate) fn name(number: u64) -> String {
    format!("{number}.segment")
}
