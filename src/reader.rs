//! Reading on one core: scans, lookups, single rows, slices of values.
//!
//! A [`Reader`] opens files when it needs them and keeps what it has read within a budget. All that it hands out
//! has been verified, to the byte.
//!
//! Not here: the parts, each in its file: `scan`, `seek`, `fetch` (bytes wherever they are), `decode`, `holdings`.

use std::fmt;
use std::ops::{Range, RangeBounds};
use std::sync::Arc;

use crate::batch::spare::Spare;
use crate::batch::{Batch, Vector};
use crate::disk::{Disk, Glommio};
use crate::error::{Error, Result};
use crate::options::VALUE_BYTES_MAX;
use crate::scan::Scan;
use crate::schema::{ColumnId, Schema};
use crate::seek::{Edge, Finder, Position, Seek};
use crate::segment::read::{Damage, Loaded, RawSegment};
use crate::segment::{SealedSegment, Segment};
use crate::snapshot::Snapshot;
use crate::store::shared::Shared;

pub(crate) mod decode;
pub(crate) mod fetch;
pub(crate) mod holdings;
pub(crate) mod rows;
pub(crate) mod sealed;
mod texts;

use decode::Pieces;
use fetch::Want;
use holdings::Holdings;
use rows::{Keys, Streams};

/// Part of a value.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Slice {
    /// The number of the value's row.
    pub row: u64,
    /// Which of the value's bytes, counted from its first.
    pub range: Range<u64>,
}

/// Reads a store's snapshots. Belongs to one core, where the disk's files do.
///
/// Every answer is verified; a mismatch is `Corrupt`, names file and offset, and leaves the reader usable: rows
/// that do not need those bytes can still be read. Where the newest manifest says that the files have been given to
/// other rows meanwhile, it is no damage: the error is `SnapshotGone`.
pub struct Reader<D: Disk = Glommio> {
    pub(crate) holdings: Holdings<D>,
}

impl<D: Disk> fmt::Debug for Reader<D> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Reader").field("dir", &self.holdings.shared.dir).finish_non_exhaustive()
    }
}

impl<D: Disk> Reader<D> {
    pub(crate) fn new(shared: Arc<Shared<D>>) -> Self {
        Self { holdings: Holdings::new(shared) }
    }

    /// What the store holds.
    #[must_use]
    pub fn schema(&self) -> &Arc<Schema> {
        &self.holdings.shared.schema
    }

    /// The rows of a snapshot whose keys are in a range, in batches. The range may be anything, `..` for all;
    /// one that is empty or goes backwards gives nothing. Rows with equal keys come in the order of their
    /// numbers. Nothing is read before the first [`Scan::next`].
    pub fn scan(&self, at: &Snapshot, keys: impl RangeBounds<u64>) -> Scan<'_, D> {
        Scan::new(self, at.clone(), keys)
    }

    /// Finds a row: in memory, but for one chunk of keys. None if there is no such row.
    ///
    /// # Errors
    /// `Corrupt`, `Io`; `SnapshotGone`; `Unsupported` for a snapshot of another store.
    pub async fn seek(&self, at: &Snapshot, to: Seek) -> Result<Option<Position>> {
        at.check(&self.holdings.shared)?;
        let found = Finder::new(&self.holdings, at).seek(to).await;
        self.judged(at, found).await
    }

    /// The values of one row, as a batch of that row, with its key: one round of reads, and one more if there are
    /// columns of kind `bytes` or `text` among them.
    ///
    /// # Errors
    /// `Limit` for a row that the snapshot does not have; `Schema` for a column that the store does not have, or
    /// one that is asked for twice; `Corrupt`, `Io`; `SnapshotGone`; `Unsupported` for a snapshot of another store.
    pub async fn values(&self, at: &Snapshot, row: u64, columns: &[ColumnId]) -> Result<Batch> {
        at.check(&self.holdings.shared)?;
        check_columns(self.schema(), columns)?;
        check_row(at, row, "the row number")?;
        let batch = self.row(at, row, columns).await;
        self.judged(at, batch).await
    }

    /// The rows whose keys lie between two places.
    pub(crate) async fn rows_of(&self, at: &Snapshot, edges: [Option<Edge>; 2]) -> Result<Range<u64>> {
        let mut finder = Finder::new(&self.holdings, at);
        let [start, end] = match edges {
            [Some(start), Some(end)] => finder.rows_before_both([start, end]).await?,
            [Some(start), None] => [finder.rows_before(start).await?, at.rows()],
            [None, Some(end)] => [0, finder.rows_before(end).await?],
            [None, None] => [0, at.rows()],
        };
        Ok(start..end.max(start))
    }

    /// Where an error says that bytes are damaged: whether they are.
    pub(crate) async fn judged<T>(&self, at: &Snapshot, result: Result<T>) -> Result<T> {
        match result {
            Err(error) => Err(at.judge(&self.holdings.shared, error).await),
            result => result,
        }
    }

    async fn row(&self, at: &Snapshot, row: u64, columns: &[ColumnId]) -> Result<Batch> {
        let segment = match at.segment(at.segment_of(row)) {
            Segment::Sealed(segment) => return self.sealed_row(segment, row, columns).await,
            Segment::Raw(segment) => self.holdings.load(segment).await?,
        };
        let place = row - segment.segment.rows.start;
        let mut wants = vec![want(&segment, 0, place * 8..place * 8 + 8)];
        columns.iter().for_each(|id| wants.extend(self.wants(&segment, place, *id)));
        let bytes = self.holdings.fetch(&wants).await?;
        let mut found =
            wants.iter().zip(&bytes).map(|(want, bytes)| Pieces::one(want.file, want.range.start, bytes));
        let keys = decode::keys(&next(&mut found), &Spare::default())
            .map_err(|damage| self.damaged(&segment, damage))?;
        let mut values = Vec::with_capacity(columns.len());
        for id in columns {
            let decoded = self.decode(&segment, place, *id, &mut found);
            values.push(decoded.map_err(|damage| self.damaged(&segment, damage))?);
        }
        drop(found);
        let values = self.bring(&segment, columns, values).await?;
        Ok(Batch::new(row, 1, keys, columns.iter().copied().zip(values).collect()))
    }

    /// A row of a sealed segment.
    async fn sealed_row(&self, segment: SealedSegment, row: u64, columns: &[ColumnId]) -> Result<Batch> {
        let opened = self.holdings.open_sealed(segment).await?;
        let group = opened.directory.group_of(row);
        let streams = Streams::load(
            &self.holdings,
            opened,
            columns,
            Keys::Wanted,
            group..group + 1,
            self.holdings.shared.options.reads_in_flight,
        )
        .await?;
        let rows = streams.read(&self.holdings, group, &(row..row + 1), Keys::Wanted).await?;
        Ok(Batch::new(row, 1, rows.keys, rows.columns))
    }

    /// What the first round brings for a column's value at a place in a segment.
    fn wants(&self, segment: &Arc<Loaded>, place: u64, id: ColumnId) -> impl Iterator<Item = Want> + use<D> {
        let places = self.schema().places(id);
        let nulls = places.nulls.map(|nulls| want(segment, nulls, place..place + 1));
        let value = match (places.offsets, self.schema().files()[places.data].width()) {
            (Some(offsets), _) => want(segment, offsets, bounds_range(place)),
            (None, width) => {
                let width = width.unwrap_or(0) as u64;
                want(segment, places.data, place * width..(place + 1) * width)
            }
        };
        nulls.into_iter().chain([value])
    }

    /// Takes from `found` what `wants` asked for.
    fn decode<'a>(
        &self,
        segment: &Loaded,
        place: u64,
        id: ColumnId,
        found: &mut impl Iterator<Item = Pieces<'a>>,
    ) -> Result<Half, Damage> {
        let (places, kind) = (self.schema().places(id), self.schema().columns()[id.index()].kind());
        let nulls = match places.nulls {
            Some(_) => decode::nulls(&next(found))?,
            None => None,
        };
        if places.offsets.is_none() {
            return Ok(Half::Whole(decode::fixed_vector(kind, &next(found), nulls, &Spare::default())?));
        }
        let data = 0..segment.view(places.data).len;
        let bounds = decode::bounds(&next(found), place == 0, &data)?;
        Ok(Half::Bounds { bounds, nulls })
    }

    /// Brings the bytes of values of which only the bounds are known.
    async fn bring(
        &self,
        segment: &Arc<Loaded>,
        columns: &[ColumnId],
        halves: Vec<Half>,
    ) -> Result<Vec<Vector>> {
        let data = |id: ColumnId| self.schema().places(id).data;
        let bounded = columns.iter().zip(&halves).filter_map(|(id, half)| match half {
            Half::Whole(_) => None,
            Half::Bounds { bounds, .. } => Some(want(segment, data(*id), bounds[0]..bounds[1])),
        });
        let wants: Vec<Want> = bounded.collect();
        let mut found = self.holdings.fetch(&wants).await?.into_iter();
        let mut vectors = Vec::with_capacity(halves.len());
        for (id, half) in columns.iter().zip(halves) {
            vectors.push(match half {
                Half::Whole(vector) => vector,
                Half::Bounds { bounds, nulls } => {
                    let parts = vec![found.next().unwrap_or_default().into()];
                    let pieces = Pieces { file: data(*id), start: bounds[0], parts };
                    let kind = self.schema().columns()[id.index()].kind();
                    let vector = decode::bytes_vector(kind, pieces, bounds, nulls);
                    vector.map_err(|damage| self.damaged(segment, damage))?
                }
            });
        }
        Ok(vectors)
    }

    /// Parts of values of one column of kind `bytes` or `text`, in the order in which they were asked for. Parts
    /// that lie close together are read together, and the reads are in flight together; no more of a value is
    /// read than the chunks of 64 KiB that its part lies in. A part of a text may begin and end within a
    /// character. A null is as an empty value: only `0..0` fits it.
    ///
    /// # Errors
    /// `Limit`, naming the position, for a row that the snapshot does not have and for a range that goes backwards
    /// or beyond its value; `Schema` for a column that the store does not have, or of another kind; `Corrupt`,
    /// `Io`; `SnapshotGone`; `Unsupported` for a snapshot of another store.
    pub async fn slices(&self, at: &Snapshot, column: ColumnId, parts: &[Slice]) -> Result<Vec<Vec<u8>>> {
        at.check(&self.holdings.shared)?;
        check_columns(self.schema(), &[column])?;
        let places = self.schema().places(column);
        if places.offsets.is_none() {
            let column = &self.schema().columns()[column.index()];
            let what = format!("only bytes and text have slices; its values are {}", column.kind()).into();
            return Err(Error::Schema { column: column.name().to_owned(), index: 0, what });
        }
        let slices = self.parts(at, column, parts).await;
        self.judged(at, slices).await
    }

    async fn parts(&self, at: &Snapshot, column: ColumnId, parts: &[Slice]) -> Result<Vec<Vec<u8>>> {
        let mut answer = vec![Vec::new(); parts.len()];
        let mut raw = Vec::new();
        for (position, part) in parts.iter().enumerate() {
            check_row(at, part.row, format!("the row number at position {position}"))?;
            match at.segment(at.segment_of(part.row)) {
                Segment::Sealed(segment) => {
                    answer[position] = self.sealed_part(segment, column, position, part).await?;
                }
                Segment::Raw(segment) => raw.push((position, part, segment)),
            }
        }
        let found = self.raw_parts(column, &raw).await?;
        for ((position, ..), bytes) in raw.iter().zip(found) {
            answer[*position] = bytes;
        }
        Ok(answer)
    }

    async fn sealed_part(
        &self,
        segment: SealedSegment,
        column: ColumnId,
        position: usize,
        part: &Slice,
    ) -> Result<Vec<u8>> {
        let opened = self.holdings.open_sealed(segment).await?;
        let group = opened.directory.group_of(part.row);
        let streams = Streams::load(
            &self.holdings,
            opened,
            &[column],
            Keys::Unwanted,
            group..group + 1,
            self.holdings.shared.options.reads_in_flight,
        )
        .await?;
        let check = |len| check_part(position, &part.range, len);
        streams.part(&self.holdings, group, part.row, &part.range, check).await
    }

    async fn raw_parts(
        &self,
        column: ColumnId,
        parts: &[(usize, &Slice, RawSegment)],
    ) -> Result<Vec<Vec<u8>>> {
        let places = self.schema().places(column);
        let (Some(offsets), data) = (places.offsets, places.data) else {
            unreachable!("slices are of bytes and text")
        };
        let mut segments: Vec<Arc<Loaded>> = Vec::new();
        let mut wants = Vec::with_capacity(parts.len());
        for (_, part, segment) in parts {
            let number = segment.number();
            let known = segments.iter().find(|known| known.segment.number() == number);
            let loaded = match known {
                Some(loaded) => Arc::clone(loaded),
                None => {
                    let loaded = self.holdings.load(segment.clone()).await?;
                    segments.push(Arc::clone(&loaded));
                    loaded
                }
            };
            let place = part.row - loaded.segment.rows.start;
            wants.push(want(&loaded, offsets, bounds_range(place)));
        }
        let found = self.holdings.fetch(&wants).await?;
        for ((want, bytes), (position, part, _)) in wants.iter_mut().zip(&found).zip(parts) {
            let pieces = Pieces::one(offsets, want.range.start, bytes);
            let (first, all) = (want.segment.segment.rows.start, 0..want.segment.view(data).len);
            let bounds = decode::bounds(&pieces, part.row == first, &all);
            let bounds = bounds.map_err(|damage| self.damaged(&want.segment, damage))?;
            let (start, len) = (bounds[0], bounds[1] - bounds[0]);
            check_part(*position, &part.range, len)?;
            want.file = data;
            want.range = start + part.range.start..start + part.range.end;
        }
        self.holdings.fetch(&wants).await
    }

    pub(crate) fn damaged(&self, segment: &Loaded, damage: Damage) -> Error {
        segment.segment.damaged(&self.holdings.shared.dir, self.schema(), damage)
    }
}

/// A column's value after the first round of reads.
enum Half {
    Whole(Vector),
    /// Its bytes are still to be read.
    Bounds {
        bounds: Vec<u64>,
        nulls: Option<Vec<bool>>,
    },
}

/// What was asked for next.
fn next<'a>(found: &mut impl Iterator<Item = Pieces<'a>>) -> Pieces<'a> {
    let Some(pieces) = found.next() else { unreachable!("each want has its bytes") };
    pieces
}

fn want(segment: &Arc<Loaded>, file: usize, range: Range<u64>) -> Want {
    Want { segment: Arc::clone(segment), file, range }
}

/// Where a value's two bounds stand in its column's offsets; the first value of a segment begins at 0, unsaid.
fn bounds_range(place: u64) -> Range<u64> {
    8 * place.saturating_sub(1)..8 * (place + 1)
}

fn check_row(at: &Snapshot, row: u64, what: impl Into<String>) -> Result<()> {
    if row < at.rows() {
        return Ok(());
    }
    let what = format!("{}, which must be below the snapshot's rows,", what.into()).into();
    Err(Error::Limit { what, given: row, max: at.rows() })
}

fn check_part(position: usize, range: &Range<u64>, len: u64) -> Result<()> {
    debug_assert!(len <= VALUE_BYTES_MAX, "a value's length was checked");
    if range.end > len {
        let what = format!("the end of the slice at position {position}, in bytes of its value,").into();
        return Err(Error::Limit { what, given: range.end, max: len });
    }
    if range.start > range.end {
        let what = format!("the start of the slice at position {position}, whose end is before it,").into();
        return Err(Error::Limit { what, given: range.start, max: range.end });
    }
    Ok(())
}

/// Whether the store has these columns, each named once.
pub(crate) fn check_columns(schema: &Schema, columns: &[ColumnId]) -> Result<()> {
    let mut seen = vec![false; schema.columns().len()];
    for (index, id) in (0..).zip(columns) {
        let (column, what) = match seen.get_mut(id.index()) {
            Some(seen) if !*seen => {
                *seen = true;
                continue;
            }
            Some(_) => (schema.columns()[id.index()].name().to_owned(), "it is asked for twice".to_owned()),
            None => (id.0.to_string(), format!("the store has {} columns, from 0", schema.columns().len())),
        };
        return Err(Error::Schema { column, index, what: what.into() });
    }
    Ok(())
}
