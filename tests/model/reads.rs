//! Everything a reader can be asked, drawn at random and answered by a plain vector of rows.

use std::collections::BTreeMap;
use std::ops::{Bound, Range, RangeBounds};

use tidelog::disk::Disk;
use tidelog::disk::sim::Random;
use tidelog::{Batch, ColumnId, Error, Kind, Position, Reader, Schema, Seek, Slice, Snapshot};

use crate::common::{Cell, Row};

/// How often each thing was met that is easily forgotten.
pub(crate) type Met = BTreeMap<&'static str, u64>;

pub(crate) fn meet(met: &mut Met, what: &'static str, when: bool) {
    *met.entry(what).or_default() += u64::from(when);
}

/// A snapshot, and what it must show.
pub(crate) struct View<'a, D: Disk> {
    pub(crate) reader: &'a Reader<D>,
    pub(crate) at: &'a Snapshot,
    pub(crate) rows: &'a [Row],
    /// The first rows of segments, where they are known.
    pub(crate) rolls: &'a [u64],
    pub(crate) schema: &'a Schema,
}

/// What a scan is asked for.
#[derive(Debug)]
struct Ask {
    keys: (Bound<u64>, Bound<u64>),
    rows: Option<Range<u64>>,
    columns: Option<Vec<ColumnId>>,
    with_keys: bool,
    reverse: bool,
    limit: Option<u64>,
    batch_rows: usize,
}

fn draw_bound(random: &mut Random, rows: &[Row]) -> Bound<u64> {
    let known = if rows.is_empty() { 7 } else { rows[random.index(rows.len())].key };
    let key = match random.below(8) {
        0 => 0,
        1 => u64::MAX,
        2 => known.saturating_add(1),
        3 => known.saturating_sub(1),
        _ => known,
    };
    match random.below(3) {
        0 => Bound::Unbounded,
        1 => Bound::Included(key),
        _ => Bound::Excluded(key),
    }
}

fn draw_columns(random: &mut Random, schema: &Schema) -> Vec<ColumnId> {
    let count = u32::try_from(schema.columns().len()).unwrap();
    let mut columns: Vec<ColumnId> = (0..count).map(ColumnId).collect();
    for i in (1..columns.len()).rev() {
        columns.swap(i, random.index(i + 1));
    }
    columns.truncate(random.index(columns.len() + 1));
    columns
}

impl Ask {
    fn draw(random: &mut Random, rows: &[Row], schema: &Schema) -> Self {
        let count = rows.len() as u64;
        let some_rows = |random: &mut Random| {
            let start = random.below(count + 2);
            start..start + random.below(count + 2)
        };
        Ask {
            keys: (draw_bound(random, rows), draw_bound(random, rows)),
            rows: (random.below(4) == 0).then(|| some_rows(random)),
            columns: random.coin().then(|| draw_columns(random, schema)),
            with_keys: random.below(4) > 0,
            reverse: random.coin(),
            limit: (random.below(3) == 0).then(|| random.below(count + 2)),
            batch_rows: [0, 1, 7, 100, 1 << 20][random.index(5)],
        }
    }

    /// The numbers of the rows that it is about, in its order.
    fn numbers(&self, rows: &[Row]) -> Vec<u64> {
        let fits = |(number, row): &(u64, &Row)| {
            self.keys.contains(&row.key) && self.rows.as_ref().is_none_or(|rows| rows.contains(number))
        };
        let mut numbers: Vec<u64> = (0..).zip(rows).filter(fits).map(|(number, _)| number).collect();
        if self.reverse {
            numbers.reverse();
        }
        numbers.truncate(usize::try_from(self.limit.unwrap_or(u64::MAX)).unwrap());
        numbers
    }
}

fn place(number: u64) -> usize {
    usize::try_from(number).unwrap()
}

impl<D: Disk> View<'_, D> {
    /// A scan of anything.
    pub(crate) async fn check_scan(&self, random: &mut Random, met: &mut Met) {
        let ask = Ask::draw(random, self.rows, self.schema);
        let expected = ask.numbers(self.rows);
        let mut scan = self.reader.scan(self.at, ask.keys).batch_rows(ask.batch_rows);
        if let Some(rows) = &ask.rows {
            scan = scan.rows(rows.clone());
        }
        if let Some(columns) = &ask.columns {
            scan = scan.columns(columns);
        }
        if !ask.with_keys {
            scan = scan.without_keys();
        }
        if ask.reverse {
            scan = scan.reverse();
        }
        if let Some(limit) = ask.limit {
            scan = scan.limit(limit);
        }
        let mut seen = 0;
        while let Some(batch) = scan.next().await.unwrap() {
            assert!(!batch.is_empty() && batch.len() <= ask.batch_rows.max(1), "{ask:?}");
            let numbers = &expected[seen..seen + batch.len()];
            self.check_batch(&batch, numbers, &ask, met);
            seen += batch.len();
        }
        assert_eq!(seen, expected.len(), "{ask:?}");
        assert!(scan.next().await.unwrap().is_none());
        let crosses = |first: &u64| {
            let ends = [expected.first(), expected.last()].map(|end| end.is_some_and(|end| end < first));
            ends[0] != ends[1]
        };
        meet(met, "reverse scans over a roll", ask.reverse && self.rolls.iter().any(crosses));
        meet(met, "forward scans over a roll", !ask.reverse && self.rolls.iter().any(crosses));
        meet(met, "scans that found nothing", expected.is_empty());
        meet(met, "limited scans", ask.limit.is_some() && !expected.is_empty());
    }

    fn check_batch(&self, batch: &Batch, numbers: &[u64], ask: &Ask, met: &mut Met) {
        let all: Vec<ColumnId> = (0..).map(ColumnId).take(self.schema.columns().len()).collect();
        let columns = ask.columns.as_ref().unwrap_or(&all);
        assert!(batch.columns().iter().map(|(id, _)| id).eq(columns), "{ask:?}");
        assert_eq!(batch.keys().len(), if ask.with_keys { batch.len() } else { 0 });
        for (i, number) in numbers.iter().enumerate() {
            let row = &self.rows[place(*number)];
            assert_eq!(batch.row(i), Some(*number), "{ask:?}");
            assert!(batch.keys().get(i).is_none_or(|key| *key == row.key), "{ask:?}");
            for (id, vector) in batch.columns() {
                let (cell, found) = (&row.cells[id.0 as usize], Cell::of(vector.value(i).unwrap()));
                assert!(found == *cell, "row {number}, column {}: {found:?} for {cell:?}, {ask:?}", id.0);
                meet(met, "nulls read", found == Cell::Null);
                meet(met, "empty values read", found.is_empty());
            }
            meet(met, "key 0 read", row.key == 0 && ask.with_keys);
            meet(met, "key u64::MAX read", row.key == u64::MAX && ask.with_keys);
        }
    }

    fn position(&self, place: Option<usize>) -> Option<Position> {
        let place = place?;
        let key = |place: usize| self.rows[place].key;
        let previous_key = place.checked_sub(1).map(key);
        Some(Position { row: place as u64, key: key(place), previous_key })
    }

    /// A lookup of anything.
    pub(crate) async fn check_seek(&self, random: &mut Random, met: &mut Met) {
        let key = match draw_bound(random, self.rows) {
            Bound::Included(key) | Bound::Excluded(key) => key,
            Bound::Unbounded => random.bits(),
        };
        let row = random.below(self.rows.len() as u64 + 2);
        let last = self.rows.len().checked_sub(1);
        let at_or_before = self.rows.partition_point(|row| row.key <= key).checked_sub(1);
        let at_or_after = Some(self.rows.partition_point(|row| row.key < key));
        let (seek, expected) = match random.below(6) {
            0 => (Seek::First, last.map(|_| 0)),
            1 => (Seek::Last, last),
            2 => (Seek::Key(key), at_or_before.filter(|place| self.rows[*place].key == key)),
            3 => (Seek::AtOrBefore(key), at_or_before),
            4 => (Seek::AtOrAfter(key), at_or_after.filter(|place| *place < self.rows.len())),
            _ => (Seek::Row(row), Some(place(row)).filter(|place| *place < self.rows.len())),
        };
        let found = self.reader.seek(self.at, seek).await.unwrap();
        assert_eq!(found, self.position(expected), "{seek:?}");
        let is_last_of_many = expected.is_some_and(|place| {
            place > 0 && matches!(seek, Seek::Key(_)) && self.rows[place - 1].key == self.rows[place].key
        });
        meet(met, "seeks of the last of equal keys", is_last_of_many);
        meet(met, "seeks that found nothing", expected.is_none());
    }

    /// One row's values.
    pub(crate) async fn check_values(&self, random: &mut Random, met: &mut Met) {
        let columns = draw_columns(random, self.schema);
        let number = random.below(self.rows.len() as u64 + 1);
        let found = self.reader.values(self.at, number, &columns).await;
        let Some(row) = self.rows.get(place(number)) else {
            assert!(matches!(found, Err(Error::Limit { .. })), "{found:?}");
            return meet(met, "rows that are not there", true);
        };
        let batch = found.unwrap();
        assert_eq!((batch.len(), batch.row(0), batch.keys()), (1, Some(number), &[row.key][..]));
        assert!(batch.columns().iter().map(|(id, _)| id).eq(&columns));
        for (id, vector) in batch.columns() {
            assert_eq!(Cell::of(vector.value(0).unwrap()), row.cells[id.0 as usize], "row {number}");
        }
        meet(met, "rows read alone", true);
    }

    /// Parts of values.
    pub(crate) async fn check_slices(&self, random: &mut Random, met: &mut Met) {
        let has_slices = |id: &usize| matches!(self.schema.columns()[*id].kind(), Kind::Bytes | Kind::Text);
        let columns: Vec<usize> = (0..self.schema.columns().len()).filter(has_slices).collect();
        if columns.is_empty() || self.rows.is_empty() {
            return;
        }
        let column = columns[random.index(columns.len())];
        let (mut parts, mut expected) = (Vec::new(), Vec::new());
        for _ in 0..random.below(6) {
            let number = random.index(self.rows.len());
            let bytes = match &self.rows[number].cells[column] {
                Cell::Bytes(bytes) => &bytes[..],
                Cell::Text(text) => text.as_bytes(),
                _ => &[],
            };
            let start = random.index(bytes.len() + 1);
            let end = start + random.index(bytes.len() - start + 1);
            parts.push(Slice { row: number as u64, range: start as u64..end as u64 });
            expected.push(bytes[start..end].to_vec());
        }
        let id = ColumnId(u32::try_from(column).unwrap());
        assert_eq!(self.reader.slices(self.at, id, &parts).await.unwrap(), expected, "{parts:?}");
        meet(met, "slices", !parts.is_empty());
        if let Some(part) = parts.first_mut() {
            part.range.end = 1 << 33;
            let beyond = self.reader.slices(self.at, id, &parts).await;
            assert!(matches!(beyond, Err(Error::Limit { .. })), "{beyond:?}");
        }
    }

    /// All of it, from front to back.
    pub(crate) async fn check_all(&self) {
        assert_eq!(self.at.rows(), self.rows.len() as u64);
        let found = crate::common::rows_at(self.reader, self.at).await.unwrap();
        assert!(found == self.rows, "a row differs");
    }
}
