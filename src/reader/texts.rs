//! Values of bytes and text of a sealed segment: where they are in their block, which of its bytes that needs, and what
//! they become.
//!
//! Not here: what a block's bytes mean (`codec::bytes`), other columns (`rows`).

use std::borrow::Cow;
use std::collections::HashMap;
use std::ops::Range;
use std::sync::Arc;

use super::decode::{Pieces, bytes_vector};
use super::holdings::Holdings;
use super::rows::{Ask, Chosen, Streams, Wanted};
use super::sealed::Encoded;
use crate::batch::{Data, Vector};
use crate::codec::block::Scratch;
use crate::codec::bytes::{Located, Runs};
use crate::disk::Disk;
use crate::error::{Error, Malformed, Result};

/// The columns of bytes and text in a row group.
pub(super) struct Texts<'a, D: Disk> {
    holdings: &'a Holdings<D>,
    streams: &'a Streams,
    group: usize,
    blocks: &'a [Option<Arc<Encoded>>],
    /// Of each column's stream: the vectors of the rows that were asked for, and where in the block they begin.
    vectors: HashMap<usize, (u64, Cow<'a, [u8]>)>,
}

impl<'a, D: Disk> Texts<'a, D> {
    /// Brings what says where the values of `rows` are.
    pub(super) async fn load(
        holdings: &'a Holdings<D>,
        streams: &'a Streams,
        group: usize,
        blocks: &'a [Option<Arc<Encoded>>],
        rows: &Range<usize>,
    ) -> Result<Self> {
        let mut vectors = HashMap::new();
        for column in streams.columns.iter().filter(|column| column.kind.width().is_none()) {
            if let Some(Encoded::Bytes(block)) = blocks[column.data].as_deref() {
                let range = block.head().vectors(rows);
                let bytes = holdings.pieces(&streams.opened, block, &range).await?;
                vectors.insert(column.data, (range.start, bytes));
            }
        }
        Ok(Self { holdings, streams, group, blocks, vectors })
    }

    /// So many of the rows that their values are not more than what is asked for, one at least.
    pub(super) fn shorten(
        &self,
        mut rows: Range<usize>,
        ask: Ask,
        scratch: &mut Scratch,
    ) -> Result<Range<usize>> {
        if ask.bytes_max == u64::MAX || self.vectors.is_empty() {
            return Ok(rows);
        }
        loop {
            let mut bytes = 0;
            for column in &self.streams.columns {
                bytes += self.locate(column, &rows, scratch)?.map_or(0, |located| located.bytes());
            }
            if bytes <= ask.bytes_max || rows.len() <= 1 {
                return Ok(rows);
            }
            let half = rows.len() / 2;
            let head = ask.direction.head(&(rows.start as u64..rows.end as u64), half as u64);
            let place = |row: u64| usize::try_from(row).unwrap_or(usize::MAX);
            rows = place(head.start)..place(head.end);
        }
    }

    /// The values of some rows.
    pub(super) async fn vector(
        &self,
        column: &Chosen,
        wanted: &Wanted,
        nulls: Option<Vec<bool>>,
        scratch: &mut Scratch,
    ) -> Result<Vector> {
        let (rows, picked) = match wanted {
            Wanted::All(rows) => (rows.clone(), None),
            Wanted::Places(places) => match (places.first(), places.last()) {
                (Some(first), Some(last)) => (*first..last + 1, Some((places, *first))),
                _ => (0..0, None),
            },
        };
        let runs = match self.locate(column, &rows, scratch)? {
            Some(located) => self.decode(column, &located).await?,
            None => Runs { bounds: vec![0; rows.len() + 1], data: Vec::new() },
        };
        let (runs, nulls) = match picked {
            None => (runs, nulls),
            // The flags are those of the picked rows already.
            Some((places, first)) => (pick(runs, places, first), nulls),
        };
        let pieces = Pieces { file: 0, start: 0, parts: vec![Cow::Owned(runs.data)] };
        bytes_vector(column.kind, pieces, runs.bounds, nulls).map_err(|damage| {
            let start = self.streams.block_start(column.data, self.group);
            Error::corrupt(&self.path(), start, damage.what)
        })
    }

    /// The bytes of one row's value that are in `part`, and how many there are of it, if the part is within it.
    pub(super) async fn part(
        &self,
        column: &Chosen,
        row: usize,
        part: &Range<u64>,
        check: impl FnOnce(u64) -> Result<()>,
    ) -> Result<Vec<u8>> {
        let Some(located) = self.locate(column, &(row..row + 1), &mut Scratch::default())? else {
            check(0)?;
            return Ok(Vec::new());
        };
        check(located.bytes())?;
        Ok(self.decode(column, &located.part(part)).await?.data)
    }

    /// Where the values of rows are, which are among those that were asked for; nowhere if there is no block, since all of
    /// them are null.
    fn locate(&self, column: &Chosen, rows: &Range<usize>, scratch: &mut Scratch) -> Result<Option<Located>> {
        let Some(Encoded::Bytes(block)) = self.blocks[column.data].as_deref() else { return Ok(None) };
        let Some((start, bytes)) = self.vectors.get(&column.data) else { return Ok(None) };
        let range = block.head().vectors(rows);
        let place = |at: u64| usize::try_from(at.saturating_sub(*start)).unwrap_or(usize::MAX);
        let bytes = &bytes[place(range.start)..place(range.end)];
        block.head().locate(rows, bytes, scratch).map(Some).map_err(|malformed| self.damaged(malformed))
    }

    async fn decode(&self, column: &Chosen, located: &Located) -> Result<Runs> {
        let Some(Encoded::Bytes(block)) = self.blocks[column.data].as_deref() else {
            return Ok(Runs::default());
        };
        let range = block.head().stored(located);
        let bytes = self.holdings.pieces(&self.streams.opened, block, &range).await?;
        let mut runs = Runs::default();
        let decoded = block.head().decode(located, &bytes, &mut runs);
        decoded.map_err(|malformed| self.damaged(malformed))?;
        Ok(runs)
    }

    fn damaged(&self, malformed: Malformed) -> Error {
        malformed.at(&self.path())
    }

    fn path(&self) -> std::path::PathBuf {
        self.streams.opened.segment.path(&self.holdings.shared.dir)
    }
}

/// The values at these places, of those from `first` on.
fn pick(runs: Runs, places: &[usize], first: usize) -> Runs {
    let of_runs: Vec<usize> = places.iter().map(|place| place - first).collect();
    let Runs { bounds, data } = runs;
    let all = Vector::new(Data::Bytes { offsets: bounds, data }, None);
    match all.select(&of_runs).into_parts().0 {
        Data::Bytes { offsets, data } => Runs { bounds: offsets, data },
        _ => unreachable!("what is selected stays of its kind"),
    }
}
