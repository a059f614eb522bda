//! A scan that has begun: from segment to segment, batch by batch.
//!
//! Keys, values of fixed width, nulls and offsets are brought first; offsets tell which data belongs to the batch,
//! and how many rows of it are enough; then the data is brought, which has been read ahead as a rule.
//!
//! Invariant: a future dropped at any await has changed nothing but what is held in memory.
//! Not here: reads (`ahead`), which bytes a batch needs and what they become (`window`).

use std::ops::Range;
use std::sync::Arc;

use futures::future::try_join_all;

use super::ahead::Ahead;
use super::feed::{Direction, Feed};
use super::sealed::{self, Sealed};
use super::window::{Layout, Window, range_of_rows};
use super::{Ask, Pick};
use crate::batch::Batch;
use crate::batch::spare::Spare;
use crate::condition::Between;
use crate::disk::Disk;
use crate::error::{Error, Result};
use crate::reader::fetch::Want;
use crate::reader::holdings::HANDLES_MAX;
use crate::reader::rows::{Keys, Rows};
use crate::reader::{Reader, check_columns};
use crate::schema::{ColumnId, Schema};
use crate::seek::{Edge, Finder};
use crate::segment::Segment;
use crate::segment::read::{Body, Damage, Loaded};
use crate::snapshot::Snapshot;

/// A scan that has begun.
pub(super) struct Running<D: Disk> {
    layout: Layout,
    /// Behind which keys the rows begin and end.
    edges: [Option<Edge>; 2],
    /// Rows of raw segments that are in no part yet.
    left: Range<u64>,
    /// Rows of sealed segments, all of which are before the raw ones.
    sealed: Sealed<D>,
    /// The chosen columns, and behind them those that only conditions need.
    columns: Vec<ColumnId>,
    chosen: usize,
    /// By their column's place among these.
    conditions: Vec<(usize, Between)>,
    /// Rows that may still be handed out.
    limit: u64,
    ahead: Ahead<D>,
    /// The part behind cannot be opened: that is told when the ones before it are done.
    is_blocked: bool,
    /// Of the row handed out last.
    last_key: Option<u64>,
    spare: Spare,
}

/// Segments that are being read at a time: small ones follow each other quickly.
const PARTS_MAX: usize = 8;

/// Where the data of some rows begins or ends.
#[derive(Clone, Copy)]
enum DataEdge {
    Known(u64),
    /// It is this one of the wants.
    Wanted(usize),
}

impl<D: Disk> Running<D> {
    pub(super) async fn begin(reader: &Reader<D>, at: &Snapshot, ask: &Ask) -> Result<Self> {
        let shared = &reader.holdings.shared;
        at.check(shared)?;
        let mut columns = match &ask.columns {
            Some(columns) => columns.clone(),
            None => (0..).map(ColumnId).take(shared.schema.columns().len()).collect(),
        };
        check_columns(&shared.schema, &columns)?;
        let chosen = columns.len();
        let conditions = conditions(ask, &shared.schema, &mut columns)?;
        let mut finder = Finder::new(&reader.holdings, at);
        let mut left = ask.rows.start..ask.rows.end.min(at.rows());
        let mut edges = ask.edges;
        if let ([start, Some(end)], Pick::Interval) = (ask.edges, ask.pick) {
            edges = [start, Some(finder.end_of_intervals(start, end).await?)];
        }
        if let [Some(start), _] = edges {
            left.start = left.start.max(finder.rows_before(start).await?);
        }
        if let [_, Some(end)] = edges {
            left.end = left.end.min(finder.rows_before(end).await?);
        }
        left.end = left.end.max(left.start);
        if conditions.is_empty() {
            match ask.direction {
                Direction::Forward => left.end = left.end.min(left.start.saturating_add(ask.limit)),
                Direction::Reverse => left.start = left.start.max(left.end.saturating_sub(ask.limit)),
            }
        }
        let raw = at.first_raw_row();
        let sealed = left.start.min(raw)..left.end.min(raw);
        // Values and flags of nulls of each column, and keys.
        let spare = Spare::new(2 * columns.len() + 1);
        Ok(Self {
            layout: Layout::new(&shared.schema, &columns, ask.wants_keys()),
            edges,
            sealed: Sealed::new(sealed, shared.options.reads_in_flight, spare.clone()),
            left: left.start.max(raw)..left.end.max(raw),
            columns,
            chosen,
            conditions,
            limit: ask.limit,
            ahead: Ahead::new(shared.options.reads_in_flight),
            is_blocked: false,
            last_key: None,
            spare,
        })
    }

    pub(super) async fn next(
        &mut self,
        reader: &Reader<D>,
        at: &Snapshot,
        ask: &Ask,
    ) -> Result<Option<Batch>> {
        while self.limit > 0 {
            match self.any(reader, at, ask).await? {
                // None of the rows passed.
                Some(batch) if batch.is_empty() => {}
                batch => return Ok(batch),
            }
        }
        Ok(None)
    }

    /// The next rows, as many of them as pass.
    async fn any(&mut self, reader: &Reader<D>, at: &Snapshot, ask: &Ask) -> Result<Option<Batch>> {
        let is_raw_done = self.ahead.parts.is_empty() && self.left.is_empty();
        let is_sealed_next = match ask.direction {
            Direction::Forward => !self.sealed.is_empty(),
            Direction::Reverse => is_raw_done,
        };
        if is_sealed_next {
            return match self.sealed.is_empty() {
                true => Ok(None),
                false => self.sealed_batch(reader, at, ask).await.map(Some),
            };
        }
        if is_raw_done {
            return Ok(None);
        }
        if self.ahead.parts.is_empty() {
            self.open(reader, at, ask).await?;
        }
        self.open_ahead(reader, at, ask).await;
        let batch = self.batch(reader, at, ask).await?;
        self.ahead.go_on().await;
        Ok(Some(batch))
    }

    /// The next rows of sealed segments.
    async fn sealed_batch(&mut self, reader: &Reader<D>, at: &Snapshot, ask: &Ask) -> Result<Batch> {
        let keys = if ask.wants_keys() { Keys::Wanted } else { Keys::Unwanted };
        let (columns, conditions) = (&self.columns, &self.conditions);
        let of_sealed = sealed::Ask { columns, conditions, keys, direction: ask.direction };
        let rows_max = self.layout.rows_max(ask.batch_rows);
        let (rows, group, Rows { keys, columns, passing }) =
            self.sealed.next(reader, at, &of_sealed, rows_max).await?;
        check_keys(self.edges, ask.direction, self.last_key, &keys).map_err(|what| {
            let segment = at.segment(at.segment_of(rows.start));
            Error::corrupt(&segment.path(&reader.holdings.shared.dir), 0, what)
        })?;
        let len = usize::try_from(rows.end - rows.start).unwrap_or(usize::MAX);
        let batch = match passing {
            Some(passing) => {
                let numbers = passing.iter().map(|place| rows.start + *place as u64).collect();
                Batch::of_rows(numbers, keys, columns)
            }
            None => Batch::new(rows.start, len, keys, columns),
        };
        let batch = batch.at_home(self.spare.home());
        let batch = self.finish(reader, at, ask, batch).await?;
        self.sealed.consume(&rows, group, ask.direction);
        self.sealed.go_on().await;
        Ok(batch)
    }

    /// A batch as it is handed out.
    async fn finish(
        &mut self,
        reader: &Reader<D>,
        at: &Snapshot,
        ask: &Ask,
        mut batch: Batch,
    ) -> Result<Batch> {
        if ask.pick == Pick::Interval {
            let first_row = batch.row(0).unwrap_or(0);
            batch.set_previous_key(Finder::new(&reader.holdings, at).previous_key(first_row).await?);
        }
        if ask.direction == Direction::Reverse {
            batch = batch.reversed();
        }
        if batch.len() as u64 > self.limit {
            let places: Vec<usize> =
                (0..batch.len()).take(usize::try_from(self.limit).unwrap_or(usize::MAX)).collect();
            batch = batch.select(&places);
        }
        batch.keep_columns(self.chosen);
        self.limit -= batch.len() as u64;
        self.last_key = batch.keys().last().copied().or(self.last_key);
        Ok(batch)
    }

    /// Opens the parts that will be needed soon, for as long as all that lies in those before has been asked for.
    async fn open_ahead(&mut self, reader: &Reader<D>, at: &Snapshot, ask: &Ask) {
        loop {
            self.ahead.go_on().await;
            let parts = self.ahead.parts.len();
            let handles = (parts + 1) * self.layout.files.len();
            let may_open = parts < PARTS_MAX && handles <= HANDLES_MAX && self.ahead.reads_free() > 0;
            if !may_open || self.is_blocked || self.left.is_empty() || !self.ahead.is_at_end() {
                return;
            }
            self.is_blocked = self.open(reader, at, ask).await.is_err();
        }
    }

    /// Opens the part of the next segment.
    async fn open(&mut self, reader: &Reader<D>, at: &Snapshot, ask: &Ask) -> Result<()> {
        let row = match ask.direction {
            Direction::Forward => self.left.start,
            Direction::Reverse => self.left.end - 1,
        };
        let Segment::Raw(segment) = at.segment(at.segment_of(row)) else {
            unreachable!("rows from the first raw segment on are in raw ones")
        };
        let base = segment.rows.start;
        let rows = self.left.start.max(base) - base..self.left.end.min(segment.rows.end) - base;
        let segment = reader.holdings.load(segment).await?;
        let mut ranges = self.data_ranges(reader, &segment, &rows).await?.into_iter();
        let mut feeds = Vec::with_capacity(self.layout.files.len());
        for file in &self.layout.files {
            let of_rows = range_of_rows(reader.schema().files()[*file].role, &rows);
            let range = of_rows.unwrap_or_else(|| ranges.next().unwrap_or_default());
            let len = segment.view(*file).len;
            if range.end > len {
                let what = format!("{} bytes of this file are named, there are {len}", range.end);
                return Err(reader.damaged(&segment, Damage::new(*file, len, what)));
            }
            feeds.push(Feed::new(Arc::clone(&segment), *file, range, ask.direction));
        }
        let opening = self.layout.files.iter().map(|file| reader.holdings.handle(&segment.segment, *file));
        let handles = try_join_all(opening).await?;
        match ask.direction {
            Direction::Forward => self.left.start = base + rows.end,
            Direction::Reverse => self.left.end = base + rows.start,
        }
        self.ahead.add(segment, rows, feeds, handles);
        Ok(())
    }

    /// For each chosen column of bytes or text, where the data of these rows begins and ends.
    async fn data_ranges(
        &self,
        reader: &Reader<D>,
        segment: &Arc<Loaded>,
        rows: &Range<u64>,
    ) -> Result<Vec<Range<u64>>> {
        let mut wants = Vec::new();
        let mut edge = |file: usize, row: u64| {
            wants.push(Want { segment: Arc::clone(segment), file, range: 8 * row - 8..8 * row });
            DataEdge::Wanted(wants.len() - 1)
        };
        let is_whole = matches!(&segment.segment.body, Body::Finished(finished) if finished.rows == rows.end);
        let mut edges = Vec::new();
        for column in &self.layout.columns {
            let Some(offsets) = column.offsets else { continue };
            let (file, len) = (self.layout.files[offsets], segment.view(self.layout.files[column.data]).len);
            let start = if rows.start == 0 { DataEdge::Known(0) } else { edge(file, rows.start) };
            let end = if is_whole { DataEdge::Known(len) } else { edge(file, rows.end) };
            edges.push((file, start, end, len));
        }
        let found = reader.holdings.fetch_within(self.ahead.reads_free(), &wants).await?;
        let value = |edge: DataEdge| match edge {
            DataEdge::Known(at) => at,
            DataEdge::Wanted(want) => {
                found[want].first_chunk().map_or(u64::MAX, |bytes| u64::from_le_bytes(*bytes))
            }
        };
        let mut ranges = Vec::with_capacity(edges.len());
        for (file, start, end, len) in edges {
            let range = value(start)..value(end);
            if range.start > range.end || range.end > len {
                let what = format!("values end at {} to {} here, in {len} bytes", range.start, range.end);
                return Err(
                    reader.damaged(segment, Damage::new(file, 8 * rows.start.saturating_sub(1), what))
                );
            }
            ranges.push(range);
        }
        Ok(ranges)
    }

    /// The next rows of the first part.
    ///
    /// 1. Bring everything but the data of bytes and text.
    /// 2. See from the bounds of the values how many rows the batch has.
    /// 3. Bring their data.
    /// 4. Decode, check, and let go of what no row to come needs.
    async fn batch(&mut self, reader: &Reader<D>, at: &Snapshot, ask: &Ask) -> Result<Batch> {
        let Self { layout, ahead, spare, .. } = self;
        let Some(part) = ahead.parts.front() else { unreachable!("a batch is made of a part") };
        let segment = Arc::clone(&part.segment);
        let damaged = |damage| reader.damaged(&segment, damage);
        let rows = ask.direction.head(&part.rows, layout.rows_max(ask.batch_rows));
        let mut window = Window::new(layout, reader.schema(), rows);

        ahead.bring(&window.rows_needs(), &mut window.views).await?; // 1
        let mut bounds = window.bounds(ahead).map_err(damaged)?; // 2
        window.shorten(reader.schema(), &mut bounds, ask.direction);
        ahead.bring(&window.data_needs(), &mut window.views).await?; // 3

        let keys = window.keys(ahead, spare).map_err(damaged)?; // 4
        check_keys(self.edges, ask.direction, self.last_key, &keys)
            .map_err(|what| damaged(Damage::new(0, window.rows.start * 8, what)))?;
        let columns = window.columns(ahead, bounds, spare).map_err(damaged)?;
        let first_row = segment.segment.rows.start + window.rows.start;
        let len = usize::try_from(window.rows.end - window.rows.start).unwrap_or(usize::MAX);
        let mut batch = Batch::new(first_row, len, keys, columns).at_home(spare.home());
        if !self.conditions.is_empty() {
            let mut passes = vec![true; len];
            for (column, between) in &self.conditions {
                between.restrict(&batch.columns()[*column].1, &mut passes);
            }
            let places: Vec<usize> = (0..len).filter(|row| passes[*row]).collect();
            batch = batch.select(&places);
        }
        let (done, rows) = (window.done(reader.schema(), ask.direction), window.rows);
        let batch = self.finish(reader, at, ask, batch).await?;
        self.consume(&rows, &done, ask.direction);
        Ok(batch)
    }

    /// These rows of the first part have been decoded; up to `done` nobody needs its files any more.
    fn consume(&mut self, rows: &Range<u64>, done: &[u64], direction: Direction) {
        for (feed, at) in done.iter().enumerate() {
            self.ahead.release(feed, *at);
        }
        let Some(part) = self.ahead.parts.front_mut() else { return };
        match direction {
            Direction::Forward => part.rows.start = rows.end,
            Direction::Reverse => part.rows.end = rows.start,
        }
        if part.rows.is_empty() {
            self.ahead.finish();
            self.is_blocked = false;
        }
    }
}

/// The conditions, by their column's place; columns that were not chosen are added.
fn conditions(ask: &Ask, schema: &Schema, columns: &mut Vec<ColumnId>) -> Result<Vec<(usize, Between)>> {
    if ask.pick == Pick::Interval && !ask.conditions.is_empty() {
        let what = "a scan of intervals has no conditions: the row before is not in its batches then".into();
        return Err(Error::Unsupported { what });
    }
    let mut all = Vec::with_capacity(ask.conditions.len());
    for condition in &ask.conditions {
        let between = condition.between(schema)?;
        let known = columns.iter().position(|column| *column == condition.column);
        let place = known.unwrap_or_else(|| {
            columns.push(condition.column);
            columns.len() - 1
        });
        all.push((place, between));
    }
    Ok(all)
}

/// Whether the keys continue what was handed out, and are those that were asked for: the directories by which the
/// range was found said so.
fn check_keys(
    edges: [Option<Edge>; 2],
    direction: Direction,
    last: Option<u64>,
    keys: &[u64],
) -> Result<(), &'static str> {
    let (Some(first_key), Some(last_key)) = (keys.first(), keys.last()) else { return Ok(()) };
    let follows = match direction {
        Direction::Forward => last.is_none_or(|last| last <= *first_key),
        Direction::Reverse => last.is_none_or(|last| last >= *last_key),
    };
    if !follows {
        return Err("the keys from here on do not follow the ones before");
    }
    let [start, end] = edges;
    if start.is_some_and(|edge| edge.is_behind(*first_key))
        || end.is_some_and(|edge| !edge.is_behind(*last_key))
    {
        return Err("the keys from here on are not those that the segment's directory says");
    }
    Ok(())
}
