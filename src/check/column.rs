//! What the bytes of a segment mean: keys in order, offsets that never go back, nulls without values, text that is
//! UTF-8; all of it by the decoder that answers are made with.
//!
//! Rows are taken in windows whose bytes are whole chunks in every file of fixed width. A window with a damaged
//! chunk is not decoded; the next one is.
//!
//! Not here: whether the bytes are those that were written (`sweep`).

use std::ops::Range;
use std::sync::Arc;

use super::report::Part;
use super::sweep::Sweep;
use crate::batch::spare::Spare;
use crate::disk::Disk;
use crate::error::Result;
use crate::reader::decode::{self, Pieces};
use crate::reader::holdings::Holdings;
use crate::schema::{ColumnId, Kind};
use crate::segment::read::{Body, CHUNK_BYTES, CHUNK_KEYS, Damage, Loaded};

/// Rows of a window: one chunk of nulls.
const WINDOW_ROWS: u64 = CHUNK_BYTES as u64;
const _: () = assert!(WINDOW_ROWS.is_multiple_of(CHUNK_KEYS));

/// Values of `bytes` and `text` are looked at together up to so many bytes, one at least.
const VALUES_BYTES_MAX: u64 = 4 << 20;

/// Rows of a segment, counted from its first, window by window.
fn windows(segment: &Loaded) -> impl Iterator<Item = Range<u64>> + use<> {
    let rows = segment.segment.len();
    (0..rows).step_by(CHUNK_BYTES).map(move |start| start..(start + WINDOW_ROWS).min(rows))
}

/// Checks the keys of a segment.
///
/// # Errors
/// What is no damage; so everywhere here.
pub(super) async fn check_keys<D: Disk>(holdings: &Holdings<D>, segment: &Arc<Loaded>) -> Result<Part> {
    let mut part = Part::default();
    let mut sweep = Sweep::open(holdings, segment, 0, &mut part).await?;
    let first_keys = match &segment.segment.body {
        Body::Finished(_) => segment.first_keys().to_vec(),
        Body::Active(active) => active.first_keys.iter().map(|(_, key)| *key).collect(),
    };
    let mut before = 0;
    for rows in windows(segment) {
        let range = 8 * rows.start..8 * rows.end;
        let Some(bytes) = sweep.bring(&range, &mut part).await? else { continue };
        let decoded = decode::keys(&Pieces::one(0, range.start, &bytes), &Spare::default());
        let Some(keys) = sweep.or_tell(decoded, &mut part) else { continue };
        if keys.first().is_some_and(|key| *key < before) {
            part.push(sweep.contradiction(range.start, "a key is below the one before it".into()));
        }
        before = keys.last().copied().unwrap_or(before);
        let begins = keys.iter().step_by(CHUNK_BYTES / 8).zip(rows.clone().step_by(CHUNK_BYTES / 8));
        for (key, row) in begins {
            let chunk = usize::try_from(row / CHUNK_KEYS).unwrap_or(usize::MAX);
            if first_keys.get(chunk).is_some_and(|first| first != key) {
                let what = "a lookup would miss this key: another one is noted for the chunk that it begins";
                part.push(sweep.contradiction(8 * row, what.into()));
            }
        }
        if let Body::Finished(finished) = &segment.segment.body
            && rows.end == segment.segment.len()
            && finished.last_key != before
        {
            let what = "the last key is not the one that the manifest names";
            part.push(sweep.contradiction(range.end - 8, what.into()));
        }
    }
    sweep.finish(&mut part).await?;
    Ok(part)
}

/// Checks a column of a segment.
pub(super) async fn check_column<D: Disk>(
    holdings: &Holdings<D>,
    segment: &Arc<Loaded>,
    id: ColumnId,
) -> Result<Part> {
    let schema = &holdings.shared.schema;
    let (places, kind) = (schema.places(id), schema.columns()[id.index()].kind());
    let mut part = Part::default();
    let nulls = match places.nulls {
        Some(nulls) => Some(Sweep::open(holdings, segment, nulls, &mut part).await?),
        None => None,
    };
    let offsets = match places.offsets {
        Some(offsets) => Some(Sweep::open(holdings, segment, offsets, &mut part).await?),
        None => None,
    };
    let data = Sweep::open(holdings, segment, places.data, &mut part).await?;
    let mut column = Column { kind, nulls, offsets, data };
    for rows in windows(segment) {
        column.check(&rows, &mut part).await?;
    }
    let Column { nulls, offsets, data, .. } = column;
    for sweep in nulls.into_iter().chain(offsets).chain([data]) {
        sweep.finish(&mut part).await?;
    }
    Ok(part)
}

/// A column's files in one segment.
struct Column<'a, D: Disk> {
    kind: Kind,
    nulls: Option<Sweep<'a, D>>,
    offsets: Option<Sweep<'a, D>>,
    data: Sweep<'a, D>,
}

impl<D: Disk> Column<'_, D> {
    /// Checks some rows, counted from the segment's first.
    async fn check(&mut self, rows: &Range<u64>, part: &mut Part) -> Result<()> {
        // Where it is not known which rows are null, the values can be looked at all the same.
        let nulls = self.nulls(rows, part).await?;
        if self.offsets.is_none() {
            return self.check_fixed(rows, nulls, part).await;
        }
        if let Some(bounds) = self.bounds(rows, part).await? {
            self.check_values(rows, &bounds, nulls.as_deref(), part).await?;
        }
        Ok(())
    }

    /// Which of the rows are null; none where none is.
    async fn nulls(&mut self, rows: &Range<u64>, part: &mut Part) -> Result<Option<Vec<bool>>> {
        let Some(sweep) = &mut self.nulls else { return Ok(None) };
        let Some(bytes) = sweep.bring(rows, part).await? else { return Ok(None) };
        let decoded = decode::nulls(&Pieces::one(sweep.file, rows.start, &bytes));
        Ok(sweep.or_tell(decoded, part).flatten())
    }

    /// Where the rows' values begin and end in the data.
    async fn bounds(&mut self, rows: &Range<u64>, part: &mut Part) -> Result<Option<Vec<u64>>> {
        let Some(sweep) = &mut self.offsets else { return Ok(None) };
        let range = 8 * rows.start.saturating_sub(1)..8 * rows.end;
        let Some(bytes) = sweep.bring(&range, part).await? else { return Ok(None) };
        let pieces = Pieces::one(sweep.file, range.start, &bytes);
        let decoded = decode::bounds(&pieces, rows.start == 0, &(0..self.data.len()));
        // Records behind the last that is shown may have moved what there is in memory.
        let all = sweep.segment.segment.len();
        let last = rows.end == all && sweep.len() == 8 * all;
        if let Ok(bounds) = &decoded
            && last
            && bounds.last() != Some(&self.data.len())
        {
            let what = "the last value does not end where the data does";
            part.push(sweep.contradiction(range.end - 8, what.into()));
        }
        Ok(sweep.or_tell(decoded, part))
    }

    async fn check_fixed(
        &mut self,
        rows: &Range<u64>,
        nulls: Option<Vec<bool>>,
        part: &mut Part,
    ) -> Result<()> {
        let width = self.kind.width().unwrap_or(1) as u64;
        let range = rows.start * width..rows.end * width;
        if let Some(bytes) = self.data.bring(&range, part).await? {
            let pieces = Pieces::one(self.data.file, range.start, &bytes);
            self.data.or_tell(decode::fixed_vector(self.kind, &pieces, nulls, &Spare::default()), part);
        }
        Ok(())
    }

    /// Checks values of any length, some at a time.
    async fn check_values(
        &mut self,
        rows: &Range<u64>,
        bounds: &[u64],
        nulls: Option<&[bool]>,
        part: &mut Part,
    ) -> Result<()> {
        let first = self.data.segment.segment.rows.start + rows.start;
        let mut from = 0;
        while from + 1 < bounds.len() {
            let fits = bounds.partition_point(|bound| *bound <= bounds[from] + VALUES_BYTES_MAX) - 1;
            let to = fits.max(from + 1);
            let range = bounds[from]..bounds[to];
            if let Some(bytes) = self.data.bring(&range, part).await? {
                let pieces = Pieces::one(self.data.file, range.start, &bytes);
                let nulls = nulls.map(|nulls| nulls[from..to].to_vec());
                let decoded = decode::bytes_vector(self.kind, pieces, bounds[from..=to].to_vec(), nulls);
                if let Err(Damage { offset, what, .. }) = decoded {
                    let row = first + holder(bounds, offset);
                    let mut damage = self.data.contradiction(offset, what);
                    damage.rows = Some(row..row + 1);
                    part.push(damage);
                }
            } else {
                for row in from..to {
                    let number = first + row as u64;
                    self.data.hold(&(bounds[row]..bounds[row + 1]), &(number..number + 1));
                }
            }
            from = to;
        }
        Ok(())
    }
}

/// Which of the values that `bounds` are of holds the byte at `offset`.
fn holder(bounds: &[u64], offset: u64) -> u64 {
    (bounds.partition_point(|bound| *bound <= offset).min(bounds.len() - 1).max(1) - 1) as u64
}
