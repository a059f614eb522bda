//! The rows of one batch: which bytes of which files they are, and what they become.
//!
//! Not here: bringing the bytes (`ahead`).

use std::ops::Range;

use super::ahead::{Ahead, Need};
use super::feed::Direction;
use crate::batch::Vector;
use crate::batch::spare::Spare;
use crate::disk::Disk;
use crate::reader::decode::{self, Pieces};
use crate::schema::{ColumnId, Kind, Role, Schema};
use crate::segment::read::{Damage, View};

/// A batch has fewer rows where its values would take more bytes than this; one at least.
pub(super) const BATCH_BYTES_MAX: u64 = 16 << 20;

/// Which files a scan reads: its feeds, in this order.
pub(super) struct Layout {
    /// Numbers of raw files.
    pub(super) files: Vec<usize>,
    /// Which feed the keys are.
    keys: Option<usize>,
    pub(super) columns: Vec<Chosen>,
    /// Bytes that a row takes in its files, the data of bytes and text apart.
    row_bytes: u64,
}

/// A chosen column, and which feeds its files are.
#[derive(Clone, Copy)]
pub(super) struct Chosen {
    id: ColumnId,
    kind: Kind,
    pub(super) data: usize,
    pub(super) offsets: Option<usize>,
    nulls: Option<usize>,
}

impl Layout {
    pub(super) fn new(schema: &Schema, columns: &[ColumnId], with_keys: bool) -> Self {
        let mut files = Vec::new();
        let mut add = |file: usize| {
            files.push(file);
            files.len() - 1
        };
        let keys = with_keys.then(|| add(0));
        let chosen = |id: &ColumnId| {
            let places = schema.places(*id);
            Chosen {
                id: *id,
                kind: schema.columns()[id.index()].kind(),
                data: add(places.data),
                offsets: places.offsets.map(&mut add),
                nulls: places.nulls.map(&mut add),
            }
        };
        let columns = columns.iter().map(chosen).collect();
        let row_bytes = files.iter().filter_map(|file| schema.files()[*file].width()).sum::<usize>() as u64;
        Self { files, keys, columns, row_bytes }
    }

    /// Rows of a batch, before the data of bytes and text is looked at.
    pub(super) fn rows_max(&self, asked: usize) -> u64 {
        (asked as u64).min(BATCH_BYTES_MAX / self.row_bytes.max(1)).max(1)
    }
}

/// Where a raw file holds rows, counted from their segment's first; none for the data of bytes and text.
pub(super) fn range_of_rows(role: Role, rows: &Range<u64>) -> Option<Range<u64>> {
    let width = match role {
        Role::Keys => 8,
        Role::Fixed(width) => width as u64,
        Role::Nulls => 1,
        // From the end of the value before on.
        Role::Offsets => return Some(8 * rows.start.saturating_sub(1)..8 * rows.end),
        Role::Bytes => return None,
    };
    Some(rows.start * width..rows.end * width)
}

/// The rows of one batch.
pub(super) struct Window<'l> {
    layout: &'l Layout,
    /// Counted from their segment's first.
    pub(super) rows: Range<u64>,
    /// For each feed, where its file holds them; for the data of bytes and text not known at first.
    ranges: Vec<Option<Range<u64>>>,
    /// For each feed, by which view its bytes are at hand.
    pub(super) views: Vec<Option<View>>,
}

impl<'l> Window<'l> {
    pub(super) fn new(layout: &'l Layout, schema: &Schema, rows: Range<u64>) -> Self {
        let ranges = ranges(layout, schema, &rows);
        let views = ranges.iter().map(|_| None).collect();
        Self { layout, rows, ranges, views }
    }

    /// Everything but the data of bytes and text.
    pub(super) fn rows_needs(&self) -> Vec<Need> {
        let known = self.ranges.iter().enumerate();
        known.filter_map(|(feed, range)| Some(Need { feed, range: range.clone()? })).collect()
    }

    /// The data of bytes and text.
    pub(super) fn data_needs(&self) -> Vec<Need> {
        let data = self.layout.columns.iter().filter(|column| column.offsets.is_some());
        data.filter_map(|column| Some(Need { feed: column.data, range: self.ranges[column.data].clone()? }))
            .collect()
    }

    /// A feed's bytes.
    fn pieces<'a, D: Disk>(&self, ahead: &'a Ahead<D>, feed: usize) -> Pieces<'a> {
        let (Some(part), Some(range), Some(view)) =
            (ahead.parts.front(), &self.ranges[feed], &self.views[feed])
        else {
            unreachable!("what is decoded has been brought")
        };
        part.feeds[feed].pieces(range, view)
    }

    /// For each column of bytes or text, where its values begin and end.
    pub(super) fn bounds<D: Disk>(&self, ahead: &Ahead<D>) -> Result<Vec<Vec<u64>>, Damage> {
        let mut all = Vec::new();
        for column in &self.layout.columns {
            let (Some(offsets), Some(part)) = (column.offsets, ahead.parts.front()) else { continue };
            let data = part.feeds[column.data].range();
            all.push(decode::bounds(&self.pieces(ahead, offsets), self.rows.start == 0, data)?);
        }
        Ok(all)
    }

    /// Leaves out rows whose data would be too much for one batch, and says where the data of the others is.
    pub(super) fn shorten(&mut self, schema: &Schema, bounds: &mut [Vec<u64>], direction: Direction) {
        let count = usize::try_from(self.rows.end - self.rows.start).unwrap_or(usize::MAX);
        let bytes = |rows: usize| -> u64 {
            let of_column = |bounds: &Vec<u64>| match direction {
                Direction::Forward => bounds[rows] - bounds[0],
                Direction::Reverse => bounds[count] - bounds[count - rows],
            };
            bounds.iter().map(of_column).sum()
        };
        let (mut fits, mut too_many) = (1, count + 1);
        while too_many - fits > 1 {
            let middle = fits.midpoint(too_many);
            if bytes(middle) <= BATCH_BYTES_MAX { fits = middle } else { too_many = middle }
        }
        self.rows = direction.head(&self.rows, fits as u64);
        self.ranges = ranges(self.layout, schema, &self.rows);
        let variable = self.layout.columns.iter().filter(|column| column.offsets.is_some());
        for (column, bounds) in variable.zip(bounds) {
            match direction {
                Direction::Forward => bounds.truncate(fits + 1),
                Direction::Reverse => drop(bounds.drain(..count - fits)),
            }
            self.ranges[column.data] = Some(bounds[0]..bounds[fits]);
        }
    }

    /// The rows' keys; none where they were not chosen.
    pub(super) fn keys<D: Disk>(&self, ahead: &Ahead<D>, spare: &Spare) -> Result<Vec<u64>, Damage> {
        self.layout.keys.map_or(Ok(Vec::new()), |keys| decode::keys(&self.pieces(ahead, keys), spare))
    }

    /// The chosen columns.
    pub(super) fn columns<D: Disk>(
        &self,
        ahead: &Ahead<D>,
        bounds: Vec<Vec<u64>>,
        spare: &Spare,
    ) -> Result<Vec<(ColumnId, Vector)>, Damage> {
        let mut bounds = bounds.into_iter();
        let mut columns = Vec::with_capacity(self.layout.columns.len());
        for column in &self.layout.columns {
            let nulls = match column.nulls {
                Some(nulls) => decode::nulls(&self.pieces(ahead, nulls))?,
                None => None,
            };
            let data = self.pieces(ahead, column.data);
            let vector = match column.offsets {
                Some(_) => decode::bytes_vector(column.kind, data, bounds.next().unwrap_or_default(), nulls)?,
                None => decode::fixed_vector(column.kind, &data, nulls, spare)?,
            };
            columns.push((column.id, vector));
        }
        Ok(columns)
    }

    /// For each feed, up to where its file is not needed any more, seen from where the scan comes from.
    pub(super) fn done(&self, schema: &Schema, direction: Direction) -> Vec<u64> {
        let done = |(file, range): (&usize, &Option<Range<u64>>)| {
            let range = range.clone().unwrap_or_default();
            // The end of the last value is where the next one begins.
            let shared = if schema.files()[*file].role == Role::Offsets { 8 } else { 0 };
            match direction {
                Direction::Forward => range.end.saturating_sub(shared),
                Direction::Reverse => range.start + shared,
            }
        };
        self.layout.files.iter().zip(&self.ranges).map(done).collect()
    }
}

fn ranges(layout: &Layout, schema: &Schema, rows: &Range<u64>) -> Vec<Option<Range<u64>>> {
    layout.files.iter().map(|file| range_of_rows(schema.files()[*file].role, rows)).collect()
}
