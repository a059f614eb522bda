//! Aggregates of rows that lie in sealed segments: from the statistics of whole row groups, by decoding the others.
//!
//! The sum of a row group that began in segments before goes on from theirs: it is taken whole where all of the
//! group's rows are in the range, and decoded where the range begins within the group.
//!
//! Not here: rows of raw segments (`scan`).

use std::ops::Range;
use std::sync::Arc;

use futures::{StreamExt, TryStreamExt, stream};

use super::Running;
use crate::batch::Batch;
use crate::disk::Disk;
use crate::error::Result;
use crate::reader::Reader;
use crate::reader::rows::{Keys, Rows, Streams};
use crate::schema::ColumnId;
use crate::segment::{SealedSegment, Segment};
use crate::snapshot::Snapshot;
use crate::statistics::GROUP_BITS;
use crate::value::Value;

/// Which end of a row group.
#[derive(Clone, Copy)]
enum End {
    First,
    Last,
}

/// Row groups of one segment that were taken from statistics: where the last value may be.
#[derive(Clone)]
pub(super) struct LastGroup {
    streams: Arc<Streams>,
    group: usize,
}

/// Rows of a sealed segment.
struct Part {
    segment: SealedSegment,
    rows: Range<u64>,
}

/// Those of `rows` that lie in sealed segments, which are before all others.
fn parts(at: &Snapshot, rows: &Range<u64>) -> Vec<Part> {
    let (mut parts, mut row) = (Vec::new(), rows.start);
    while row < rows.end
        && let Segment::Sealed(segment) = at.segment(at.segment_of(row))
    {
        let of_segment = row..rows.end.min(segment.rows.end);
        row = of_segment.end;
        parts.push(Part { segment, rows: of_segment });
    }
    parts
}

impl<D: Disk> Reader<D> {
    /// Takes rows that follow those which are taken already.
    pub(super) async fn take_rows(
        &self,
        at: &Snapshot,
        rows: Range<u64>,
        column: ColumnId,
        running: &mut Running,
    ) -> Result<()> {
        let mut row = rows.start;
        let load = |part: Part| self.load(part, column);
        // Indexes are on their way while those before are looked at: one read for each stream at a time.
        let streams = 1 + usize::from(self.schema().places(column).nulls.is_some());
        let in_flight = (self.holdings.shared.options.reads_in_flight / streams).max(1);
        let mut loaded = stream::iter(parts(at, &rows)).map(load).buffered(in_flight);
        while let Some((streams, of_segment)) = loaded.try_next().await? {
            self.take_groups(streams, &of_segment, running).await?;
            row = of_segment.end;
        }
        if row >= rows.end {
            return Ok(());
        }
        let mut scan = self.scan(at, ..).rows(row..rows.end).columns(&[column]).without_keys();
        while let Some(batch) = scan.next().await? {
            running.take(&batch, 0..batch.len());
        }
        Ok(())
    }

    /// What the index says of a column's values in a segment.
    async fn load(
        &self,
        Part { segment, rows }: Part,
        column: ColumnId,
    ) -> Result<(Arc<Streams>, Range<u64>)> {
        let opened = self.holdings.open_sealed(segment).await?;
        let groups = opened.groups(&rows);
        let streams = Streams::load(
            &self.holdings,
            opened,
            &[column],
            Keys::Unwanted,
            groups,
            self.holdings.shared.options.reads_in_flight,
        )
        .await?;
        Ok((Arc::new(streams), rows))
    }

    async fn take_groups(
        &self,
        streams: Arc<Streams>,
        rows: &Range<u64>,
        running: &mut Running,
    ) -> Result<()> {
        let groups = streams.opened.groups(rows);
        let first_row = *running.first_row.get_or_insert(rows.start);
        let known = known(&streams, rows, &groups, first_row);
        for group in groups.start..known.start {
            self.take_decoded(&streams, group, rows, running).await?;
        }
        self.take_known(&streams, known.clone(), running).await?;
        for group in known.end..groups.end {
            self.take_decoded(&streams, group, rows, running).await?;
        }
        Ok(())
    }

    async fn take_decoded(
        &self,
        streams: &Streams,
        group: usize,
        rows: &Range<u64>,
        running: &mut Running,
    ) -> Result<()> {
        let of_group = streams.opened.rows_of(group);
        let wanted = rows.start.max(of_group.start)..rows.end.min(of_group.end);
        let batch = self.decoded(streams, group, &wanted).await?;
        running.take(&batch, 0..batch.len());
        Ok(())
    }

    /// Takes whole row groups from their statistics.
    async fn take_known(
        &self,
        streams: &Arc<Streams>,
        groups: Range<usize>,
        running: &mut Running,
    ) -> Result<()> {
        if groups.is_empty() {
            return Ok(());
        }
        let (first, last) = (streams.opened.rows_of(groups.start), streams.opened.rows_of(groups.end - 1));
        let rows = first.start..last.end;
        running.rows += rows.end - rows.start;
        running.count += rows.end - rows.start - streams.count_nulls(groups.clone());
        if let Some(numbers) = streams.numbers() {
            running.numbers.take_known(numbers, groups.clone(), &rows);
        }
        let has_values = |group: &usize| {
            let rows = streams.opened.rows_of(*group);
            streams.count_nulls(*group..group + 1) < rows.end - rows.start
        };
        if running.first.is_none()
            && let Some(group) = groups.clone().find(has_values)
        {
            running.first = self.end_value(streams, group, End::First).await?;
        }
        if let Some(group) = groups.rev().find(has_values) {
            running.last_group = Some(LastGroup { streams: Arc::clone(streams), group });
        }
        Ok(())
    }

    /// The last value, where it is in a row group that was taken from statistics.
    pub(super) async fn find_last(&self, running: &mut Running) -> Result<()> {
        // It stays until the value is there: the future may be dropped meanwhile.
        let Some(LastGroup { streams, group }) = running.last_group.clone() else { return Ok(()) };
        running.last = self.end_value(&streams, group, End::Last).await?;
        running.last_group = None;
        Ok(())
    }

    /// The first or the last value of a row group that has one.
    async fn end_value(&self, streams: &Streams, group: usize, end: End) -> Result<Option<Value<'static>>> {
        let rows = streams.opened.rows_of(group);
        // Without nulls it is a row's, and no other needs to be decoded.
        let wanted = match end {
            _ if streams.count_nulls(group..group + 1) > 0 => rows,
            End::First => rows.start..rows.start + 1,
            End::Last => rows.end - 1..rows.end,
        };
        let batch = self.decoded(streams, group, &wanted).await?;
        let Some((_, vector)) = batch.columns().first() else { return Ok(None) };
        let index = match end {
            End::First => (0..vector.len()).find(|index| !vector.is_null(*index)),
            End::Last => (0..vector.len()).rev().find(|index| !vector.is_null(*index)),
        };
        Ok(index.and_then(|index| super::number(vector, index)))
    }

    async fn decoded(&self, streams: &Streams, group: usize, rows: &Range<u64>) -> Result<Batch> {
        let Rows { columns, .. } = streams.read(&self.holdings, group, rows, Keys::Unwanted).await?;
        let len = usize::try_from(rows.end - rows.start).unwrap_or(usize::MAX);
        Ok(Batch::new(rows.start, len, Vec::new(), columns))
    }
}

/// Those of a segment's row groups that are wholly among `rows`, and so are the rows before them in their first one.
/// Only the first and the last may not be.
fn known(streams: &Streams, rows: &Range<u64>, groups: &Range<usize>, first_row: u64) -> Range<usize> {
    if groups.is_empty() {
        return groups.clone();
    }
    let first = streams.opened.rows_of(groups.start);
    let begins = first.start >> GROUP_BITS << GROUP_BITS;
    let start =
        if rows.start <= first.start && first_row <= begins { groups.start } else { groups.start + 1 };
    // All of its rows, not only those that the snapshot sees.
    let is_whole = streams.opened.directory.rows_of(groups.end - 1).end <= rows.end;
    let end = if is_whole { groups.end } else { groups.end - 1 };
    start..end.max(start)
}
