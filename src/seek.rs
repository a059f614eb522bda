//! Which row has a key: binary search in memory, then one chunk of keys.
//!
//! Segments are searched by their first keys, then a segment's chunks by theirs; what is left is one chunk, read
//! and verified. Keys of a tail are searched where they are.
//!
//! Not here: rows themselves (`reader`, `scan`).

use std::ops::Range;
use std::sync::Arc;

use futures::future::try_join;

use crate::batch::spare::Spare;
use crate::disk::Disk;
use crate::error::{Error, Result};
use crate::format::{CHUNK, chunks};
use crate::reader::decode::{self, Pieces};
use crate::reader::fetch::Want;
use crate::reader::holdings::Holdings;
use crate::reader::rows::{Keys, Streams};
use crate::reader::sealed::Opened;
use crate::segment::active::Active;
use crate::segment::read::{Body, CHUNK_KEYS, Damage, Loaded, RawSegment, View};
use crate::segment::{SealedSegment, Segment};
use crate::snapshot::Snapshot;

/// Which row to find.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Seek {
    /// The first row.
    First,
    /// The last row.
    Last,
    /// The last row with this key.
    Key(u64),
    /// The last row with this key or, if there is none, a lower one.
    AtOrBefore(u64),
    /// The first row with this key or, if there is none, a higher one.
    AtOrAfter(u64),
    /// The row of this number.
    Row(u64),
}

/// Where a row is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Position {
    /// Its number.
    pub row: u64,
    /// Its key.
    pub key: u64,
    /// The key of the row before it; none for row 0.
    pub previous_key: Option<u64>,
}

/// A place between keys.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Edge {
    /// Behind all keys below this one.
    Before(u64),
    /// Behind all keys up to this one.
    Behind(u64),
}

impl Edge {
    /// Whether a key lies before this place.
    pub(crate) fn is_behind(self, key: u64) -> bool {
        match self {
            Edge::Before(edge) => key < edge,
            Edge::Behind(edge) => key <= edge,
        }
    }

    /// Whether this place lies before another one.
    pub(crate) fn is_before(self, other: Edge) -> bool {
        match (self, other) {
            (Edge::Before(key), Edge::Behind(other)) => key <= other,
            (Edge::Before(key) | Edge::Behind(key), Edge::Before(other) | Edge::Behind(other)) => key < other,
        }
    }
}

/// Some keys that lie together: what one read brought.
#[derive(Debug)]
struct Near {
    rows: Range<u64>,
    keys: Vec<u64>,
}

/// Finds rows by keys, for one call.
pub(crate) struct Finder<'a, D: Disk> {
    holdings: &'a Holdings<D>,
    at: &'a Snapshot,
    near: Option<Near>,
}

impl<'a, D: Disk> Finder<'a, D> {
    pub(crate) fn new(holdings: &'a Holdings<D>, at: &'a Snapshot) -> Self {
        Self { holdings, at, near: None }
    }

    /// The row to be found.
    pub(crate) async fn seek(&mut self, to: Seek) -> Result<Option<Position>> {
        let rows = self.at.rows();
        let row = match to {
            Seek::First => Some(0),
            Seek::Last => rows.checked_sub(1),
            Seek::Row(row) => Some(row),
            Seek::Key(key) | Seek::AtOrBefore(key) => {
                self.rows_before(Edge::Behind(key)).await?.checked_sub(1)
            }
            Seek::AtOrAfter(key) => Some(self.rows_before(Edge::Before(key)).await?),
        };
        let Some(row) = row.filter(|row| *row < rows) else { return Ok(None) };
        let key = self.key(row).await?;
        if matches!(to, Seek::Key(wanted) if wanted != key) {
            return Ok(None);
        }
        let previous_key = self.previous_key(row).await?;
        Ok(Some(Position { row, key, previous_key }))
    }

    /// How many of the snapshot's segments begin before a place.
    fn segments_before(&self, edge: Edge) -> usize {
        let (mut low, mut high) = (0, self.at.segments());
        while low < high {
            let middle = low.midpoint(high);
            match first_key(&self.at.segment(middle)) {
                Some(key) if edge.is_behind(key) => low = middle + 1,
                _ => high = middle,
            }
        }
        low
    }

    /// How many of the snapshot's rows have keys before each of two places: in one round of reads where these are of
    /// different segments, else the second finds what the first one read.
    pub(crate) async fn rows_before_both(&mut self, edges: [Edge; 2]) -> Result<[u64; 2]> {
        let [start, end] = edges;
        let is_one = self.holdings.shared.options.reads_in_flight < 2;
        if is_one || self.segments_before(start) == self.segments_before(end) {
            return Ok([self.rows_before(start).await?, self.rows_before(end).await?]);
        }
        let mut other = Self::new(self.holdings, self.at);
        let (start, end) = try_join(self.rows_before(start), other.rows_before(end)).await?;
        Ok([start, end])
    }

    /// How many of the snapshot's rows have keys before a place.
    pub(crate) async fn rows_before(&mut self, edge: Edge) -> Result<u64> {
        let Some(last) = self.segments_before(edge).checked_sub(1) else { return Ok(0) };
        match self.at.segment(last) {
            Segment::Sealed(segment) => self.rows_before_in(segment, edge).await,
            Segment::Raw(segment) => {
                let first_row = segment.rows.start;
                Ok(first_row + self.count(segment, edge).await?)
            }
        }
    }

    /// The same of a sealed segment whose first key is before the place: in memory where keys are evenly spaced.
    async fn rows_before_in(&mut self, segment: SealedSegment, edge: Edge) -> Result<u64> {
        if edge.is_behind(segment.sealed.last_key) {
            return Ok(segment.rows.end);
        }
        let opened = self.holdings.open_sealed(segment).await?;
        // A snapshot may see only some of them: its version may be newer than its row count.
        let groups = &opened.directory.groups[..opened.groups(&opened.segment.rows).end];
        let group = groups.partition_point(|group| edge.is_behind(group.first_key)).saturating_sub(1);
        let (rows, described) = (opened.rows_of(group), groups[group]);
        if edge.is_behind(described.last_key) {
            return Ok(rows.end);
        }
        let behind = |row: &u64, key: u64| *row < rows.end && edge.is_behind(key);
        if let Some(step) = described.step(opened.directory.rows_of(group).end - rows.start) {
            let key = |row: u64| described.first_key + step * (row - rows.start);
            return Ok(partition_point(rows.clone(), |row| behind(&row, key(row))));
        }
        let keys = self.read_group(&opened, group).await?;
        Ok(rows.start + keys.partition_point(|key| edge.is_behind(*key)) as u64)
    }

    /// The keys of a row group.
    async fn read_group(&mut self, opened: &Arc<Opened>, group: usize) -> Result<&[u64]> {
        let streams = Streams::load(
            self.holdings,
            Arc::clone(opened),
            &[],
            Keys::Wanted,
            group..group + 1,
            self.holdings.shared.options.reads_in_flight,
        )
        .await?;
        let rows = opened.rows_of(group);
        let decoded = streams.read(self.holdings, group, &rows, Keys::Wanted).await?;
        let keys = decoded.keys;
        Ok(&self.near.insert(Near { rows, keys }).keys)
    }

    /// How many of a segment's rows, its first one among them, have keys before a place.
    async fn count(&mut self, segment: RawSegment, edge: Edge) -> Result<u64> {
        let rows = segment.len();
        if let Body::Finished(finished) = &segment.body
            && finished.rows == rows
            && edge.is_behind(finished.last_key)
        {
            return Ok(rows);
        }
        let loaded = self.holdings.load(segment).await?;
        let mut in_file = rows;
        let count = match &loaded.segment.body {
            Body::Finished(_) => {
                let first_keys = &loaded.first_keys()[..index(chunks(rows * 8))];
                first_keys.partition_point(|key| edge.is_behind(*key)) as u64
            }
            Body::Active(active) => {
                let view = loaded.view(0);
                in_file = rows.min(view.end / 8);
                if in_file < rows && edge.is_behind(tail_key(&view, in_file)) {
                    return Ok(partition_point(in_file..rows, |row| edge.is_behind(tail_key(&view, row))));
                }
                partition_point(0..chunks(in_file * 8), |chunk| {
                    chunk_key(active, chunk).is_some_and(|key| edge.is_behind(key))
                })
            }
        };
        // What the segment's first key was before says that this is at least 1, unless the directory is wrong.
        let chunk = count.saturating_sub(1);
        let start = chunk * CHUNK_KEYS;
        let keys = self.read(&loaded, start..in_file.min(start + CHUNK_KEYS)).await?;
        Ok(start + keys.partition_point(|key| edge.is_behind(*key)) as u64)
    }

    /// The key of the row before one of the snapshot's.
    pub(crate) async fn previous_key(&mut self, row: u64) -> Result<Option<u64>> {
        match row.checked_sub(1) {
            Some(row) => Ok(Some(self.key(row).await?)),
            None => Ok(None),
        }
    }

    /// The key of a row below the snapshot's.
    async fn key(&mut self, row: u64) -> Result<u64> {
        if let Some(near) = &self.near
            && near.rows.contains(&row)
        {
            return Ok(near.keys[index(row - near.rows.start)]);
        }
        let segment = match self.at.segment(self.at.segment_of(row)) {
            Segment::Sealed(segment) => return self.key_in(segment, row).await,
            Segment::Raw(segment) => segment,
        };
        let place = row - segment.rows.start;
        match &segment.body {
            Body::Finished(finished) if place + 1 == finished.rows => return Ok(finished.last_key),
            Body::Finished(finished) if place == 0 => return Ok(finished.first_key),
            Body::Active(active) if place.is_multiple_of(CHUNK_KEYS) => {
                if let Some(key) = chunk_key(active, place / CHUNK_KEYS) {
                    return Ok(key);
                }
            }
            _ => {}
        }
        let rows = segment.len();
        let loaded = self.holdings.load(segment).await?;
        let start = place / CHUNK_KEYS * CHUNK_KEYS;
        let keys = self.read(&loaded, start..rows.min(start + CHUNK_KEYS)).await?;
        Ok(keys[index(place - start)])
    }

    /// The key of a row of a sealed segment.
    async fn key_in(&mut self, segment: SealedSegment, row: u64) -> Result<u64> {
        let opened = self.holdings.open_sealed(segment).await?;
        let group = opened.directory.group_of(row);
        let (rows, described) = (opened.directory.rows_of(group), opened.directory.groups[group]);
        if row + 1 == rows.end {
            return Ok(described.last_key);
        }
        if let Some(step) = described.step(rows.end - rows.start) {
            return Ok(described.first_key + step * (row - rows.start));
        }
        let keys = self.read_group(&opened, group).await?;
        Ok(keys[index(row - rows.start)])
    }

    /// Where the rows end whose intervals, from the key before to their own, meet what lies between two places.
    pub(crate) async fn end_of_intervals(&mut self, start: Option<Edge>, end: Edge) -> Result<Edge> {
        let (Edge::Before(key) | Edge::Behind(key)) = end;
        if start.is_some_and(|start| !start.is_before(end)) {
            return Ok(end);
        }
        // The first row at the end, or behind it, reaches back over it.
        let row = self.rows_before(Edge::Before(key)).await?;
        match row < self.at.rows() {
            true => Ok(Edge::Behind(self.key(row).await?)),
            false => Ok(end),
        }
    }

    /// The keys of a segment's rows, counted from its first one, from a chunk's start on.
    async fn read(&mut self, segment: &Arc<Loaded>, rows: Range<u64>) -> Result<&[u64]> {
        let range = rows.start * 8..rows.end * 8;
        let want = Want { segment: Arc::clone(segment), file: 0, range: range.clone() };
        let bytes = self.holdings.fetch(&[want]).await?.pop().unwrap_or_default();
        let damaged = |damage| self.damaged(&segment.segment, damage);
        let keys = decode::keys(&Pieces::one(0, range.start, &bytes), &Spare::default()).map_err(damaged)?;
        let known = match &segment.segment.body {
            Body::Finished(_) => segment.first_keys().get(index(range.start / CHUNK)).copied(),
            Body::Active(active) => chunk_key(active, range.start / CHUNK).or(keys.first().copied()),
        };
        if keys.first().copied() != known {
            let what = "the first key of this chunk is not the one that its checksums came with";
            return Err(damaged(Damage::new(0, range.start, what)));
        }
        let first_row = segment.segment.rows.start;
        let near = Near { rows: first_row + rows.start..first_row + rows.end, keys };
        Ok(&self.near.insert(near).keys)
    }

    fn damaged(&self, segment: &RawSegment, damage: Damage) -> Error {
        segment.damaged(&self.holdings.shared.dir, &self.holdings.shared.schema, damage)
    }
}

/// The first key of a segment of which the snapshot sees any rows.
fn first_key(segment: &Segment) -> Option<u64> {
    if segment.rows().is_empty() {
        return None;
    }
    let segment = match segment {
        Segment::Sealed(segment) => return Some(segment.sealed.first_key),
        Segment::Raw(segment) => segment,
    };
    match &segment.body {
        Body::Finished(finished) => Some(finished.first_key),
        Body::Active(active) => {
            // The view first: if D is above zero in it, the first chunk's first key was told before.
            let loaded = Loaded::active(segment.clone());
            let view = loaded.view(0);
            if view.end == 0 { Some(tail_key(&view, 0)) } else { chunk_key(active, 0) }
        }
    }
}

fn chunk_key(active: &Active, chunk: u64) -> Option<u64> {
    active.first_keys.get(index(chunk)).copied()
}

/// The key of a row that is in the tail of keys.
fn tail_key(view: &View, row: u64) -> u64 {
    let mut bytes = [0; 8];
    view.copy_tail(row * 8, &mut bytes);
    u64::from_le_bytes(bytes)
}

/// The first of `range` that does not hold; they all hold up to there.
fn partition_point(range: Range<u64>, holds: impl Fn(u64) -> bool) -> u64 {
    let (mut low, mut high) = (range.start, range.end);
    while low < high {
        let middle = low.midpoint(high);
        if holds(middle) { low = middle + 1 } else { high = middle }
    }
    low
}

fn index(number: u64) -> usize {
    usize::try_from(number).unwrap_or(usize::MAX)
}
