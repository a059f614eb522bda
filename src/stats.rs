//! How large a store is, and what of it is where. From memory: no I/O.
//!
//! Not here: the file system's view (space that raw files hold ahead of use).

use std::ops::Range;

use crate::disk::Disk;
use crate::segment::Segment;
use crate::segment::read::Body;
use crate::snapshot::Store;

/// What a store holds, in bytes.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Stats {
    /// Committed rows.
    pub rows: u64,
    /// Bytes of all keys in raw segments.
    pub keys_bytes: u64,
    /// Bytes of each column in raw segments, in the schema's order: values, offsets and nulls.
    pub column_bytes: Vec<u64>,
    /// Bytes of the files of sealed segments.
    pub sealed_bytes: u64,
    /// Oldest first; the last one is active.
    pub segments: Vec<SegmentStats>,
    /// Bytes of the active segment that are not in its files yet: in memory here, and in the log or the manifest.
    pub tail_bytes: u64,
    /// Bytes of checksums and first keys of the active segment, which are in memory too.
    pub sums_bytes: u64,
}

/// One segment.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct SegmentStats {
    /// Its number.
    pub number: u64,
    /// The slot in which its files lie, `raw-<slot>`; none if it is sealed.
    pub slot: Option<u32>,
    /// Its row numbers.
    pub rows: Range<u64>,
    /// Bytes of all its files that mean something, tails included; of the file of a sealed one.
    pub bytes: u64,
    /// Whether rows are still added to it.
    pub state: SegmentState,
}

/// Where a segment is in its life.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum SegmentState {
    /// The newest: rows are added to it.
    Active,
    /// Its files do not change any more.
    Finished,
    /// It is compressed, in one file.
    Sealed,
}

impl<D: Disk> Store<D> {
    /// What the store holds, as of [`Store::snapshot`]. Costs no I/O.
    #[must_use]
    pub fn stats(&self) -> Stats {
        let snapshot = self.snapshot();
        let files = self.schema().files();
        let mut stats = Stats {
            rows: snapshot.rows(),
            keys_bytes: 0,
            column_bytes: vec![0; self.schema().columns().len()],
            segments: Vec::new(),
            sealed_bytes: 0,
            tail_bytes: 0,
            sums_bytes: 0,
        };
        for segment in (0..snapshot.segments()).map(|index| snapshot.segment(index)) {
            let (lengths, bytes, state) = match &segment {
                Segment::Sealed(segment) => {
                    stats.sealed_bytes += segment.sealed.bytes;
                    (Vec::new(), segment.sealed.bytes, SegmentState::Sealed)
                }
                Segment::Raw(segment) => {
                    let (lengths, state) = stats.take_raw(&segment.body);
                    let bytes = lengths.iter().sum();
                    (lengths, bytes, state)
                }
            };
            for (raw, len) in files.iter().zip(&lengths) {
                match raw.column {
                    None => stats.keys_bytes += len,
                    Some(column) => stats.column_bytes[column.index()] += len,
                }
            }
            stats.segments.push(SegmentStats {
                number: segment.number(),
                slot: segment.slot(),
                bytes,
                state,
                rows: segment.rows(),
            });
        }
        stats
    }
}

impl Stats {
    /// The lengths of a raw segment's files.
    fn take_raw(&mut self, body: &Body) -> (Vec<u64>, SegmentState) {
        match body {
            Body::Finished(finished) => (finished.lengths.clone(), SegmentState::Finished),
            Body::Active(active) => {
                for view in active.files.iter().map(|file| file.view()) {
                    self.tail_bytes += view.len.saturating_sub(view.end);
                    self.sums_bytes += 4 * crate::format::chunks(view.end);
                }
                self.sums_bytes += 8 * active.first_keys.count() as u64;
                (active.files.iter().map(|file| file.view().len).collect(), SegmentState::Active)
            }
        }
    }
}
