//! How large a store is, and what of it is where: from memory; and how sealed values are encoded: from indexes.
//!
//! Not here: the file system's view (space that raw files hold ahead of use).

use std::ops::Range;

use crate::codec::block::codec_name;
use crate::disk::Disk;
use crate::error::Result;
use crate::reader::Reader;
use crate::schema::{ColumnId, Role};
use crate::segment::read::Body;
use crate::segment::{SealedSegment, Segment};
use crate::snapshot::{Snapshot, Store};

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

/// How values in sealed segments are encoded, and what they take.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Encoding {
    /// Whose values; none: the keys.
    pub column: Option<ColumnId>,
    /// What the codec is called; `nulls` for the flags of a column that allows nulls.
    pub codec: &'static str,
    /// Row groups of which the values are encoded so.
    pub blocks: u64,
    /// Values in these.
    pub values: u64,
    /// Bytes of these, checksums included.
    pub bytes: u64,
}

impl<D: Disk> Reader<D> {
    /// How keys and columns are encoded in the sealed segments of a snapshot: by column, and for each by codec. Reads
    /// the indexes of all sealed segments, no values.
    ///
    /// # Errors
    /// `Corrupt`, `Io`; `SnapshotGone`; `Unsupported` for a snapshot of another store.
    pub async fn encodings(&self, at: &Snapshot) -> Result<Vec<Encoding>> {
        at.check(&self.holdings.shared)?;
        let mut all = Vec::new();
        for segment in (0..at.segments()).map(|index| at.segment(index)) {
            let Segment::Sealed(segment) = segment else { break };
            let added = self.add_encodings(segment, &mut all).await;
            self.judged(at, added).await?;
        }
        all.sort_by_key(|encoding: &Encoding| (encoding.column, encoding.codec));
        Ok(all)
    }

    async fn add_encodings(&self, segment: SealedSegment, all: &mut Vec<Encoding>) -> Result<()> {
        let opened = self.holdings.open_sealed(segment).await?;
        for (file, raw) in self.schema().files().iter().enumerate() {
            if raw.role == Role::Offsets {
                continue;
            }
            let entries = self.holdings.entries(&opened, file).await?;
            for group in 0..opened.directory.groups.len() {
                let (rows, block) = (opened.directory.rows_of(group), entries.block(group));
                let codec = match entries.get(group).block {
                    None => continue,
                    Some(_) if raw.role == Role::Nulls => "nulls",
                    Some(coded) => codec_name(coded.codec),
                };
                let known = all.iter_mut().find(|known| (known.column, known.codec) == (raw.column, codec));
                let encoding = match known {
                    Some(encoding) => encoding,
                    None => {
                        all.push(Encoding { column: raw.column, codec, blocks: 0, values: 0, bytes: 0 });
                        let Some(last) = all.last_mut() else { unreachable!("it has just been added") };
                        last
                    }
                };
                encoding.blocks += 1;
                encoding.values += rows.end - rows.start;
                encoding.bytes += block.end - block.start;
            }
        }
        Ok(())
    }
}
