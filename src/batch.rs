//! Rows on their way out: a batch of keys and, for each chosen column, a vector.
//!
//! Shaped as Arrow's arrays are: values end to end, offsets of one more than the rows, a flag a row for nulls.
//!
//! Not here: values on their way in (`value`), where batches come from (`scan`, `reader`).

use spare::Home;

use crate::schema::{ColumnId, Kind};
use crate::value::Value;

pub(crate) mod spare;

/// Rows, decoded and owned.
#[derive(Clone, Debug, PartialEq)]
pub struct Batch {
    first_row: u64,
    /// The rows' numbers, where they are not those from the first one on.
    rows: Option<Vec<u64>>,
    is_reverse: bool,
    len: usize,
    keys: Vec<u64>,
    /// In a scan of intervals: the key before that of the lowest row.
    previous_key: Option<u64>,
    columns: Vec<(ColumnId, Vector)>,
    home: Home,
}

impl Drop for Batch {
    fn drop(&mut self) {
        let keys = Data::U64(std::mem::take(&mut self.keys));
        let columns = self.columns.drain(..).flat_map(|(_, vector)| vector.all_data());
        self.home.take_back(columns.chain([keys]));
    }
}

impl Batch {
    /// `keys` are those of all rows, or none.
    pub(crate) fn new(first_row: u64, len: usize, keys: Vec<u64>, columns: Vec<(ColumnId, Vector)>) -> Self {
        debug_assert!(keys.is_empty() || keys.len() == len);
        debug_assert!(columns.iter().all(|(_, vector)| vector.len() == len), "a batch is rectangular");
        let home = Home::default();
        Self { first_row, rows: None, is_reverse: false, len, keys, previous_key: None, columns, home }
    }

    /// Of rows with these numbers.
    pub(crate) fn of_rows(rows: Vec<u64>, keys: Vec<u64>, columns: Vec<(ColumnId, Vector)>) -> Self {
        let (first_row, len) = (rows.first().copied().unwrap_or(0), rows.len());
        let mut batch = Self::new(first_row, len, keys, columns);
        batch.rows = Some(rows);
        batch
    }

    /// Only the rows at these places.
    pub(crate) fn select(self, places: &[usize]) -> Self {
        let rows = places.iter().filter_map(|place| self.row(*place)).collect();
        let keys = places.iter().filter_map(|place| self.keys.get(*place).copied()).collect();
        let columns = self.columns.iter().map(|(id, vector)| (*id, vector.select(places))).collect();
        Self::of_rows(rows, keys, columns).at_home(self.home.clone())
    }

    /// The same, its vectors to be given back there when it is dropped.
    pub(crate) fn at_home(mut self, home: Home) -> Self {
        self.home = home;
        self
    }

    /// Only the first columns.
    pub(crate) fn keep_columns(&mut self, count: usize) {
        let others = self.columns.drain(count.min(self.columns.len())..);
        self.home.take_back(others.flat_map(|(_, vector)| vector.all_data()));
    }

    pub(crate) fn set_previous_key(&mut self, key: Option<u64>) {
        self.previous_key = key;
    }

    /// The same rows, last one first.
    pub(crate) fn reversed(mut self) -> Self {
        match &mut self.rows {
            Some(rows) => rows.reverse(),
            None => self.first_row += (self.len as u64).saturating_sub(1),
        }
        self.is_reverse = true;
        self.keys.reverse();
        self.columns.iter_mut().for_each(|(_, vector)| vector.reverse());
        self
    }

    /// How many rows.
    #[must_use]
    pub fn len(&self) -> usize {
        self.len
    }

    /// Whether there are no rows. A scan hands out no such batch.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// The number of the row at `index`; none from [`Batch::len`] on. Row numbers go up by one from row to row,
    /// in a reverse scan down; in a scan with [conditions](crate::Scan::filter) there are gaps.
    #[must_use]
    pub fn row(&self, index: usize) -> Option<u64> {
        if let Some(rows) = &self.rows {
            return rows.get(index).copied();
        }
        let distance = index as u64;
        let row = if self.is_reverse {
            self.first_row.checked_sub(distance)
        } else {
            self.first_row.checked_add(distance)
        };
        row.filter(|_| index < self.len)
    }

    /// The rows' keys; empty where the scan was told to leave them out.
    #[must_use]
    pub fn keys(&self) -> &[u64] {
        &self.keys
    }

    /// In a scan of [intervals](crate::Scan::intervals): the key of the row before the one at `index`, where its
    /// interval begins; it is this row's own key if that was there before. None for row 0, from [`Batch::len`] on,
    /// and, for the lowest row of a batch, in other scans.
    ///
    /// ```
    /// # fn print(batch: &tidelog::Batch) {
    /// for (index, key) in batch.keys().iter().enumerate() {
    ///     println!("from {:?} to {key}", batch.previous_key(index));
    /// }
    /// # }
    /// ```
    #[must_use]
    pub fn previous_key(&self, index: usize) -> Option<u64> {
        if index >= self.len {
            return None;
        }
        let before = if self.is_reverse { index.checked_add(1) } else { index.checked_sub(1) };
        before.and_then(|before| self.keys.get(before).copied()).or(self.previous_key)
    }

    /// The chosen columns, in the order in which they were chosen.
    #[must_use]
    pub fn columns(&self) -> &[(ColumnId, Vector)] {
        &self.columns
    }

    /// A column's values; none if it was not chosen.
    #[must_use]
    pub fn column(&self, id: ColumnId) -> Option<&Vector> {
        self.columns.iter().find(|(column, _)| *column == id).map(|(_, vector)| vector)
    }

    /// The vectors themselves, to keep without a copy.
    #[must_use]
    pub fn into_columns(mut self) -> Vec<(ColumnId, Vector)> {
        std::mem::take(&mut self.columns)
    }
}

/// One column's values for the rows of a batch.
#[derive(Clone, Debug, PartialEq)]
pub struct Vector {
    data: Data,
    nulls: Option<Vec<bool>>,
}

/// Values of one kind. What stands for a null is zero, false or empty.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub enum Data {
    /// Of kind `u64`.
    U64(Vec<u64>),
    /// Of kind `i64`.
    I64(Vec<i64>),
    /// Of kind `f64`.
    F64(Vec<f64>),
    /// Of kind `u32`.
    U32(Vec<u32>),
    /// Of kind `i32`.
    I32(Vec<i32>),
    /// Of kind `f32`.
    F32(Vec<f32>),
    /// Of kind `bool`.
    Bool(Vec<bool>),
    /// Of kind `bytes`.
    Bytes {
        /// One more than there are values: value `i` is `data[offsets[i]..offsets[i + 1]]`. The first is 0, the
        /// last the length of `data` in bytes.
        offsets: Vec<u64>,
        /// All values, one behind the other.
        data: Vec<u8>,
    },
    /// Of kind `text`.
    Text {
        /// As for `Bytes`; each is a character's boundary.
        offsets: Vec<u64>,
        /// All values, one behind the other.
        data: String,
    },
}

macro_rules! slices {
    ($($(#[$doc:meta])* $name:ident: $variant:ident -> $type:ty;)*) => {$(
        $(#[$doc])*
        #[must_use]
        pub fn $name(&self) -> Option<&[$type]> {
            match &self.data {
                Data::$variant(values) => Some(values),
                _ => None,
            }
        }
    )*};
}

impl Vector {
    pub(crate) fn new(data: Data, nulls: Option<Vec<bool>>) -> Self {
        Self { data, nulls }
    }

    /// The values, and where there are nulls the flags of these.
    pub(crate) fn all_data(self) -> impl Iterator<Item = Data> {
        [self.data].into_iter().chain(self.nulls.map(Data::Bool))
    }

    /// How many values, nulls included.
    #[must_use]
    pub fn len(&self) -> usize {
        match &self.data {
            Data::U64(values) => values.len(),
            Data::I64(values) => values.len(),
            Data::F64(values) => values.len(),
            Data::U32(values) => values.len(),
            Data::I32(values) => values.len(),
            Data::F32(values) => values.len(),
            Data::Bool(values) => values.len(),
            Data::Bytes { offsets, .. } | Data::Text { offsets, .. } => offsets.len().saturating_sub(1),
        }
    }

    /// Whether there are no values.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// What the values are.
    #[must_use]
    pub fn kind(&self) -> Kind {
        match &self.data {
            Data::U64(_) => Kind::U64,
            Data::I64(_) => Kind::I64,
            Data::F64(_) => Kind::F64,
            Data::U32(_) => Kind::U32,
            Data::I32(_) => Kind::I32,
            Data::F32(_) => Kind::F32,
            Data::Bool(_) => Kind::Bool,
            Data::Bytes { .. } => Kind::Bytes,
            Data::Text { .. } => Kind::Text,
        }
    }

    /// For each row, whether it is null; none where no row of the batch is.
    #[must_use]
    pub fn nulls(&self) -> Option<&[bool]> {
        self.nulls.as_deref()
    }

    /// Whether the row at `index` is null.
    #[must_use]
    pub fn is_null(&self, index: usize) -> bool {
        self.nulls.as_ref().and_then(|nulls| nulls.get(index)).is_some_and(|null| *null)
    }

    /// The values as they lie in memory.
    #[must_use]
    pub fn data(&self) -> &Data {
        &self.data
    }

    /// The values, to keep without a copy, and which of them are null.
    #[must_use]
    pub fn into_parts(self) -> (Data, Option<Vec<bool>>) {
        (self.data, self.nulls)
    }

    /// The value at `index`; none from [`Vector::len`] on.
    #[must_use]
    pub fn value(&self, index: usize) -> Option<Value<'_>> {
        if index < self.len() && self.is_null(index) {
            return Some(Value::Null);
        }
        Some(match &self.data {
            Data::U64(values) => Value::U64(*values.get(index)?),
            Data::I64(values) => Value::I64(*values.get(index)?),
            Data::F64(values) => Value::F64(*values.get(index)?),
            Data::U32(values) => Value::U32(*values.get(index)?),
            Data::I32(values) => Value::I32(*values.get(index)?),
            Data::F32(values) => Value::F32(*values.get(index)?),
            Data::Bool(values) => Value::Bool(*values.get(index)?),
            Data::Bytes { offsets, data } => Value::Bytes(data.get(place(offsets, index)?)?),
            Data::Text { offsets, data } => Value::Text(data.get(place(offsets, index)?)?),
        })
    }

    slices! {
        /// The values of a column of kind `u64`.
        as_u64: U64 -> u64;
        /// The values of a column of kind `i64`.
        as_i64: I64 -> i64;
        /// The values of a column of kind `f64`.
        as_f64: F64 -> f64;
        /// The values of a column of kind `u32`.
        as_u32: U32 -> u32;
        /// The values of a column of kind `i32`.
        as_i32: I32 -> i32;
        /// The values of a column of kind `f32`.
        as_f32: F32 -> f32;
        /// The values of a column of kind `bool`.
        as_bool: Bool -> bool;
    }

    /// The values at these places.
    pub(crate) fn select(&self, places: &[usize]) -> Self {
        let data = match &self.data {
            Data::U64(values) => Data::U64(pick(values, places)),
            Data::I64(values) => Data::I64(pick(values, places)),
            Data::F64(values) => Data::F64(pick(values, places)),
            Data::U32(values) => Data::U32(pick(values, places)),
            Data::I32(values) => Data::I32(pick(values, places)),
            Data::F32(values) => Data::F32(pick(values, places)),
            Data::Bool(values) => Data::Bool(pick(values, places)),
            Data::Bytes { offsets, data } => {
                let mut picked = Vec::new();
                let ranges = places.iter().filter_map(|index| place(offsets, *index));
                ranges.for_each(|range| picked.extend_from_slice(&data[range]));
                Data::Bytes { offsets: pick_offsets(offsets, places), data: picked }
            }
            Data::Text { offsets, data } => {
                let mut picked = String::new();
                let ranges = places.iter().filter_map(|index| place(offsets, *index));
                ranges.for_each(|range| picked.push_str(&data[range]));
                Data::Text { offsets: pick_offsets(offsets, places), data: picked }
            }
        };
        let nulls = self.nulls.as_ref().map(|nulls| pick(nulls, places));
        Self { data, nulls: nulls.filter(|nulls| nulls.contains(&true)) }
    }

    /// Whether what stands for each null is zero, false or empty.
    pub(crate) fn has_empty_nulls(&self) -> bool {
        let Some(nulls) = &self.nulls else { return true };
        let mut rows = (0..).zip(nulls).filter(|(_, null)| **null).map(|(row, _)| row);
        rows.all(|row: usize| match &self.data {
            Data::U64(values) => values[row] == 0,
            Data::I64(values) => values[row] == 0,
            Data::F64(values) => values[row].to_bits() == 0,
            Data::U32(values) => values[row] == 0,
            Data::I32(values) => values[row] == 0,
            Data::F32(values) => values[row].to_bits() == 0,
            Data::Bool(values) => !values[row],
            Data::Bytes { offsets, .. } | Data::Text { offsets, .. } => offsets[row] == offsets[row + 1],
        })
    }

    fn reverse(&mut self) {
        match &mut self.data {
            Data::U64(values) => values.reverse(),
            Data::I64(values) => values.reverse(),
            Data::F64(values) => values.reverse(),
            Data::U32(values) => values.reverse(),
            Data::I32(values) => values.reverse(),
            Data::F32(values) => values.reverse(),
            Data::Bool(values) => values.reverse(),
            Data::Bytes { offsets, data } => {
                let mut turned = Vec::with_capacity(data.len());
                places(offsets).rev().for_each(|place| turned.extend_from_slice(&data[place]));
                *data = turned;
                reverse_offsets(offsets);
            }
            Data::Text { offsets, data } => {
                let mut turned = String::with_capacity(data.len());
                places(offsets).rev().for_each(|place| turned.push_str(&data[place]));
                *data = turned;
                reverse_offsets(offsets);
            }
        }
        if let Some(nulls) = &mut self.nulls {
            nulls.reverse();
        }
    }
}

fn pick<T: Copy>(values: &[T], places: &[usize]) -> Vec<T> {
    places.iter().map(|place| values[*place]).collect()
}

fn pick_offsets(offsets: &[u64], places: &[usize]) -> Vec<u64> {
    let mut end = 0;
    let ends = places.iter().map(|place| {
        end += offsets[place + 1] - offsets[*place];
        end
    });
    std::iter::once(0).chain(ends).collect()
}

fn place(offsets: &[u64], index: usize) -> Option<std::ops::Range<usize>> {
    let (start, end) = (offsets.get(index)?, offsets.get(index.checked_add(1)?)?);
    Some(usize::try_from(*start).ok()?..usize::try_from(*end).ok()?)
}

fn places(offsets: &[u64]) -> impl DoubleEndedIterator<Item = std::ops::Range<usize>> {
    (0..offsets.len().saturating_sub(1)).filter_map(|index| place(offsets, index))
}

/// Lengths stay, their order turns: every boundary is as far from the end as it was from the start.
fn reverse_offsets(offsets: &mut [u64]) {
    let end = offsets.last().copied().unwrap_or(0);
    offsets.reverse();
    offsets.iter_mut().for_each(|offset| *offset = end - *offset);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_reversed_batch_is_the_same_backwards() {
        let text = Data::Text { offsets: vec![0, 2, 2, 5], data: "ab\u{20ac}".into() };
        let columns = vec![
            (ColumnId(0), Vector::new(text, Some(vec![false, true, false]))),
            (ColumnId(3), Vector::new(Data::Bytes { offsets: vec![0, 1, 1, 3], data: vec![1, 2, 3] }, None)),
        ];
        let batch = Batch::new(7, 3, vec![1, 1, 2], columns);
        let rows = |batch: &Batch| -> Vec<String> {
            let row = |i| {
                let values: Vec<_> =
                    batch.columns().iter().map(|(_, vector)| vector.value(i).unwrap()).collect();
                format!("{:?} {} {values:?}", batch.row(i), batch.keys()[i])
            };
            (0..batch.len()).map(row).collect()
        };
        let forward = rows(&batch);
        let mut backward = rows(&batch.clone().reversed());
        backward.reverse();
        assert_eq!(forward, backward);
        assert_eq!(batch.row(3), None);
        assert_eq!(batch.column(ColumnId(3)).unwrap().value(3), None);
        assert_eq!(batch.column(ColumnId(0)).unwrap().value(1), Some(Value::Null));
        assert!(batch.column(ColumnId(1)).is_none());
    }
}
