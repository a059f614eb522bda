//! Aggregates of rows that lie in sealed segments: from the statistics of whole row groups, by decoding the others.
//!
//! The sum of a row group that began in segments before goes on from theirs: it is taken whole where all of the
//! group's rows are in the range, and decoded where the range begins within the group.
//!
//! Not here: rows of raw segments (`scan`).

use std::ops::Range;
use std::sync::Arc;

use super::Running;
use crate::batch::{Batch, Vector};
use crate::disk::Disk;
use crate::error::Result;
use crate::format::segment::Entry;
use crate::reader::Reader;
use crate::reader::rows::{Keys, Rows, Streams};
use crate::schema::ColumnId;
use crate::segment::Segment;
use crate::snapshot::Snapshot;
use crate::statistics::GROUP_BITS;

/// Row groups of one segment that were taken from statistics: where the last value may be.
#[derive(Clone)]
pub(super) struct LastGroup {
    streams: Arc<Streams>,
    group: usize,
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
        while row < rows.end {
            let Segment::Sealed(segment) = at.segment(at.segment_of(row)) else { break };
            let opened = self.holdings.open_sealed(segment).await?;
            let of_segment = row..rows.end.min(opened.segment.rows.end);
            let groups = opened.groups(&of_segment);
            let streams =
                Streams::load(&self.holdings, opened, &[column], Keys::Unwanted, groups.clone()).await?;
            self.take_groups(Arc::new(streams), &of_segment, groups, running).await?;
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

    async fn take_groups(
        &self,
        streams: Arc<Streams>,
        rows: &Range<u64>,
        groups: Range<usize>,
        running: &mut Running,
    ) -> Result<()> {
        let first_row = *running.first_row.get_or_insert(rows.start);
        for group in groups {
            let of_group = streams.opened.rows_of(group);
            let is_whole = rows.start <= of_group.start && of_group.end <= rows.end;
            let begins = of_group.start >> GROUP_BITS << GROUP_BITS;
            if !is_whole || first_row > begins {
                let wanted = rows.start.max(of_group.start)..rows.end.min(of_group.end);
                let batch = self.decoded(&streams, group, &wanted).await?;
                running.take(&batch, 0..batch.len());
                continue;
            }
            let (entry, nulls) = streams.statistics(group);
            let values = of_group.end - of_group.start - u64::from(nulls);
            running.rows += of_group.end - of_group.start;
            running.count += values;
            running.take_known(&entry, &of_group, || streams.lanes());
            if values == 0 {
                continue;
            }
            if running.first.is_none() {
                let batch = self.decoded(&streams, group, &of_group).await?;
                running.first = batch.columns().first().and_then(|(_, vector)| first_value(vector));
            }
            running.last_group = Some(LastGroup { streams: Arc::clone(&streams), group });
        }
        Ok(())
    }

    /// The last value, where it is in a row group that was taken from statistics.
    pub(super) async fn find_last(&self, running: &mut Running) -> Result<()> {
        let Some(LastGroup { streams, group }) = running.last_group.take() else { return Ok(()) };
        let batch = self.decoded(&streams, group, &streams.opened.rows_of(group)).await?;
        running.last = batch.columns().first().and_then(|(_, vector)| last_value(vector));
        Ok(())
    }

    async fn decoded(&self, streams: &Streams, group: usize, rows: &Range<u64>) -> Result<Batch> {
        let Rows { columns, .. } = streams.read(&self.holdings, group, rows, Keys::Unwanted).await?;
        let len = usize::try_from(rows.end - rows.start).unwrap_or(usize::MAX);
        Ok(Batch::new(rows.start, len, Vec::new(), columns))
    }
}

fn first_value(vector: &Vector) -> Option<crate::value::Value<'static>> {
    let index = (0..vector.len()).find(|index| !vector.is_null(*index))?;
    super::number(vector, index)
}

fn last_value(vector: &Vector) -> Option<crate::value::Value<'static>> {
    let index = (0..vector.len()).rev().find(|index| !vector.is_null(*index))?;
    super::number(vector, index)
}

impl Running {
    /// Takes the statistics of a whole row group.
    fn take_known(
        &mut self,
        entry: &Entry,
        rows: &Range<u64>,
        lanes: impl FnOnce() -> [f64; crate::statistics::LANES],
    ) {
        let Some(statistics) = entry.statistics else { return };
        self.numbers.take_known(statistics, rows, lanes);
    }
}
