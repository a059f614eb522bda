//! Aggregates: count, least, greatest, sum, first and last of a numeric column, over a range or in windows.
//!
//! The sum of floats is defined, so that it is the same bits however it was computed: rows are taken in groups of
//! 16,384, counted from row 0 of the store; within a group row `r` is added to lane `r % 16`; the lanes are added
//! pairwise (0 and 8, 1 and 9, ..; then 0 and 4, ..), and the groups one after the other. Integers are summed in
//! 128 bits.
//!
//! Not here: which rows are in a range (`seek`), how they are read (`scan`).

use std::ops::{Range, RangeBounds};

use crate::batch::{Batch, Data, Vector};
use crate::codec::fixed::Fixed;
use crate::disk::Disk;
use crate::error::{Error, Result};
use crate::format::entries::{NumberEntries, Totals};
use crate::reader::{Reader, check_columns};
use crate::scan::{Scan, edges};
use crate::schema::{ColumnId, Kind};
use crate::seek::Edge;
use crate::snapshot::Snapshot;
use crate::statistics::{Extremes, FloatSum, GROUP_BITS, GROUP_ROWS, Number};
use crate::value::Value;

mod known;

use known::LastGroup;

/// What the values of a numeric column come to, over some rows.
///
/// A null counts as a row and as nothing else. A NaN is a value: it is counted, it may be first or last and it
/// makes the sum a NaN, but it is neither least nor greatest. `-0.0` is less than `0.0`.
#[derive(Clone, Copy, Debug, PartialEq)]
#[non_exhaustive]
pub struct Aggregate {
    /// Rows, nulls included.
    pub rows: u64,
    /// Values that are not null.
    pub count: u64,
    /// The least value; none if there is none but NaNs.
    pub min: Option<Value<'static>>,
    /// The greatest value; none if there is none but NaNs.
    pub max: Option<Value<'static>>,
    /// Of all values; zero if there is none.
    pub sum: Sum,
    /// The value of the first row that has one.
    pub first: Option<Value<'static>>,
    /// The value of the last row that has one.
    pub last: Option<Value<'static>>,
}

/// A sum.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Sum {
    /// Of integers; exact, for any number of rows.
    Integer(i128),
    /// Of floats, in the order that this module defines; an `f32` is an `f64` in it.
    Float(f64),
}

impl Aggregate {
    /// Sum by count; none where there is no value.
    #[must_use]
    #[expect(clippy::cast_precision_loss, reason = "a mean is a float")]
    pub fn mean(&self) -> Option<f64> {
        let sum = match self.sum {
            Sum::Integer(sum) => sum as f64,
            Sum::Float(sum) => sum,
        };
        (self.count > 0).then(|| sum / self.count as f64)
    }
}

/// An aggregate of the rows whose keys are in `start .. start + step`.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Window {
    /// The first key that could be in it: a multiple of the step.
    pub start: u64,
    /// Of its rows; there is at least one.
    pub aggregate: Aggregate,
}

impl<D: Disk> Reader<D> {
    /// Count, least, greatest, sum, first and last of a numeric column's values, over the rows whose keys are in a
    /// range.
    ///
    /// ```
    /// # async fn f(store: tidelog::Store) -> tidelog::Result<()> {
    /// # let price = tidelog::ColumnId(0);
    /// let reader = store.reader();
    /// let all = reader.aggregate(&store.snapshot(), .., price).await?;
    /// println!("{} values between {:?} and {:?}, mean {:?}", all.count, all.min, all.max, all.mean());
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// As [`Scan::next`]; `Schema` for a column that is not of numbers.
    pub async fn aggregate(
        &self,
        at: &Snapshot,
        keys: impl RangeBounds<u64>,
        column: ColumnId,
    ) -> Result<Aggregate> {
        let mut running = Running::of(self.numeric(column)?);
        at.check(&self.holdings.shared)?;
        let aggregated = async {
            let rows = self.rows_of(at, edges(keys)).await?;
            self.take_rows(at, rows, column, &mut running).await?;
            self.find_last(&mut running).await
        };
        let aggregated = aggregated.await;
        self.judged(at, aggregated).await?;
        Ok(running.end())
    }

    /// The same for each window of `step` that has rows, in the order of their keys. Windows begin at multiples of
    /// `step`; keys of the first and the last one that are not in the range are not in them.
    pub fn aggregate_every(
        &self,
        at: &Snapshot,
        keys: impl RangeBounds<u64>,
        step: u64,
        column: ColumnId,
    ) -> Windows<'_, D> {
        let keys = edges(keys);
        let scan = Scan::between(self, at.clone(), keys).columns(&[column]);
        Windows {
            reader: self,
            at: at.clone(),
            keys,
            scan,
            step,
            column,
            batch: None,
            done: 0,
            running: None,
        }
    }

    fn numeric(&self, column: ColumnId) -> Result<Kind> {
        check_columns(self.schema(), &[column])?;
        let found = self.schema().columns().get(column.0 as usize).map(|found| (found.kind(), found.name()));
        match found {
            Some((Kind::Bool | Kind::Bytes | Kind::Text, name)) => {
                let what = "aggregates are of numbers, and this column's values are not".into();
                Err(Error::Schema { column: name.to_owned(), index: 0, what })
            }
            Some((kind, _)) => Ok(kind),
            None => Err(Error::Closed),
        }
    }
}

/// Windows of a range, one after the other; [`Reader::aggregate_every`] begins them.
#[must_use = "windows are computed when `next` is awaited"]
pub struct Windows<'r, D: Disk> {
    reader: &'r Reader<D>,
    at: Snapshot,
    keys: [Option<Edge>; 2],
    scan: Scan<'r, D>,
    step: u64,
    column: ColumnId,
    /// Rows that are read, and how many of them are in windows.
    batch: Option<Batch>,
    done: usize,
    /// The window that the newest rows are in.
    running: Option<(u64, Running)>,
}

impl<D: Disk> std::fmt::Debug for Windows<'_, D> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Windows").field("step", &self.step).finish_non_exhaustive()
    }
}

impl<D: Disk> Windows<'_, D> {
    /// The next window that has rows; none when there are no more.
    ///
    /// # Errors
    /// As [`Reader::aggregate`]; `Limit` for a step of 0.
    pub async fn next(&mut self) -> Result<Option<Window>> {
        let kind = self.reader.numeric(self.column)?;
        if self.step == 0 {
            return Err(Error::Limit {
                what: "the step, which must be above 0,".into(),
                given: 0,
                max: u64::MAX,
            });
        }
        loop {
            let Some(batch) = self.batch.as_ref().filter(|batch| self.done < batch.len()) else {
                let skipped = self.skip().await;
                self.reader.judged(&self.at, skipped).await?;
                (self.batch, self.done) = (self.scan.next().await?, 0);
                if self.batch.is_some() {
                    continue;
                }
                return self.end().await;
            };
            let keys = &batch.keys()[self.done..];
            let start = keys[0] - keys[0] % self.step;
            if self.running.as_ref().is_some_and(|(running, _)| *running != start) {
                return self.end().await;
            }
            let last = start.saturating_add(self.step - 1);
            let count = keys.partition_point(|key| *key <= last);
            let (_, running) = self.running.get_or_insert_with(|| (start, Running::of(kind)));
            running.take(batch, self.done..self.done + count);
            self.done += count;
        }
    }
}

impl<D: Disk> Windows<'_, D> {
    /// What there is of the window that the newest rows are in.
    async fn end(&mut self) -> Result<Option<Window>> {
        let Some((_, running)) = &mut self.running else { return Ok(None) };
        let found = self.reader.find_last(running).await;
        self.reader.judged(&self.at, found).await?;
        let window = |(start, running): (u64, Running)| Window { start, aggregate: running.end() };
        Ok(self.running.take().map(window))
    }

    /// Between two batches: where much is left of the window at hand, it is taken without a scan.
    async fn skip(&mut self) -> Result<()> {
        let (Some(batch), Some((start, running))) = (&self.batch, &mut self.running) else { return Ok(()) };
        let Some(last) = batch.len().checked_sub(1).and_then(|last| batch.row(last)) else { return Ok(()) };
        let behind = Edge::Behind(start.saturating_add(self.step - 1));
        let end = match self.keys[1] {
            Some(end) if end.is_before(behind) => end,
            _ => behind,
        };
        let next = last + 1;
        let rows = next..self.reader.rows_of(&self.at, [None, Some(end)]).await?.end.max(next);
        if rows.end - rows.start < GROUP_ROWS {
            return Ok(());
        }
        // Dropped half-way, the window would have counted some of them: it is taken back when all are taken.
        let mut longer = running.clone();
        self.reader.take_rows(&self.at, rows.clone(), self.column, &mut longer).await?;
        *running = longer;
        let scan = Scan::between(self.reader, self.at.clone(), self.keys).rows(rows.end..u64::MAX);
        self.scan = scan.columns(&[self.column]);
        self.batch = None;
        Ok(())
    }
}

/// An aggregate on its way.
#[derive(Clone)]
struct Running {
    first_row: Option<u64>,
    rows: u64,
    count: u64,
    first: Option<Value<'static>>,
    last: Option<Value<'static>>,
    /// Where the last value is, if it is not the one in `last`.
    last_group: Option<LastGroup>,
    numbers: Numbers,
}

#[derive(Clone)]
enum Numbers {
    U64(Extremes<u64>, i128),
    I64(Extremes<i64>, i128),
    U32(Extremes<u32>, i128),
    I32(Extremes<i32>, i128),
    F64(Extremes<f64>, FloatSum),
    F32(Extremes<f32>, FloatSum),
}

impl Running {
    fn of(kind: Kind) -> Self {
        let numbers = match kind {
            Kind::U64 => Numbers::U64(Extremes::default(), 0),
            Kind::I64 => Numbers::I64(Extremes::default(), 0),
            Kind::U32 => Numbers::U32(Extremes::default(), 0),
            Kind::I32 => Numbers::I32(Extremes::default(), 0),
            Kind::F32 => Numbers::F32(Extremes::default(), FloatSum::default()),
            _ => Numbers::F64(Extremes::default(), FloatSum::default()),
        };
        Self { first_row: None, rows: 0, count: 0, first: None, last: None, last_group: None, numbers }
    }

    /// Takes rows of a forward batch whose only column is the one that this is about.
    fn take(&mut self, batch: &Batch, rows: Range<usize>) {
        let (Some((_, vector)), Some(row)) = (batch.columns().first(), batch.row(rows.start)) else { return };
        let nulls = vector.nulls().map(|nulls| &nulls[rows.clone()]);
        let is_value = |index: usize| nulls.is_none_or(|nulls| !nulls[index]);
        self.rows += rows.len() as u64;
        self.count += match nulls {
            Some(nulls) => nulls.iter().filter(|null| !**null).count() as u64,
            None => rows.len() as u64,
        };
        let first = (0..rows.len()).find(|index| is_value(*index));
        let last = (0..rows.len()).rev().find(|index| is_value(*index));
        self.first = self.first.or(first.and_then(|index| number(vector, rows.start + index)));
        if let Some(last) = last.and_then(|index| number(vector, rows.start + index)) {
            (self.last, self.last_group) = (Some(last), None);
        }
        self.first_row.get_or_insert(row);
        match (&mut self.numbers, vector.data()) {
            (Numbers::U64(extremes, sum), Data::U64(values)) => integers(extremes, sum, &values[rows], nulls),
            (Numbers::I64(extremes, sum), Data::I64(values)) => integers(extremes, sum, &values[rows], nulls),
            (Numbers::U32(extremes, sum), Data::U32(values)) => integers(extremes, sum, &values[rows], nulls),
            (Numbers::I32(extremes, sum), Data::I32(values)) => integers(extremes, sum, &values[rows], nulls),
            (Numbers::F64(extremes, sum), Data::F64(values)) => {
                extremes.take(&values[rows.clone()], nulls);
                sum.take(row, &values[rows], |value| *value);
            }
            (Numbers::F32(extremes, sum), Data::F32(values)) => {
                extremes.take(&values[rows.clone()], nulls);
                sum.take(row, &values[rows], |value| f64::from(*value));
            }
            _ => debug_assert!(false, "the column's kind is the one that was asked for"),
        }
    }

    fn end(self) -> Aggregate {
        let (min, max, sum) = match self.numbers {
            Numbers::U64(extremes, sum) => ends(extremes.ends(), Value::U64, Sum::Integer(sum)),
            Numbers::I64(extremes, sum) => ends(extremes.ends(), Value::I64, Sum::Integer(sum)),
            Numbers::U32(extremes, sum) => ends(extremes.ends(), Value::U32, Sum::Integer(sum)),
            Numbers::I32(extremes, sum) => ends(extremes.ends(), Value::I32, Sum::Integer(sum)),
            Numbers::F64(extremes, sum) => ends(extremes.ends(), Value::F64, Sum::Float(sum.end())),
            Numbers::F32(extremes, sum) => ends(extremes.ends(), Value::F32, Sum::Float(sum.end())),
        };
        let Self { rows, count, first, last, .. } = self;
        Aggregate { rows, count, min, max, sum, first, last }
    }
}

impl Numbers {
    /// Takes what is known of whole row groups, those that hold `rows`; rows of the first one that lie in segments
    /// before have been taken.
    fn take_known(&mut self, known: &NumberEntries, groups: Range<usize>, rows: &Range<u64>) {
        match self {
            Self::U64(extremes, sum) => take_integers(extremes, sum, known, groups),
            Self::I64(extremes, sum) => take_integers(extremes, sum, known, groups),
            Self::U32(extremes, sum) => take_integers(extremes, sum, known, groups),
            Self::I32(extremes, sum) => take_integers(extremes, sum, known, groups),
            Self::F64(extremes, sum) => {
                take_extremes(extremes, known, groups.clone());
                take_floats(sum, known, groups, rows);
            }
            Self::F32(extremes, sum) => {
                take_extremes(extremes, known, groups.clone());
                take_floats(sum, known, groups, rows);
            }
        }
    }
}

fn take_extremes<T: Number + Fixed>(extremes: &mut Extremes<T>, known: &NumberEntries, groups: Range<usize>) {
    let ends = known.min[groups.clone()].iter().zip(&known.max[groups.clone()]);
    for ((min, max), has) in ends.zip(&known.has_extremes[groups]) {
        if *has {
            extremes.take_known(*min, *max);
        }
    }
}

fn take_integers<T: Number + Fixed>(
    extremes: &mut Extremes<T>,
    sum: &mut i128,
    known: &NumberEntries,
    groups: Range<usize>,
) {
    take_extremes(extremes, known, groups.clone());
    if let Totals::Integers(totals) = &known.totals {
        *sum += totals[groups].iter().sum::<i128>();
    }
}

fn take_floats(sum: &mut FloatSum, known: &NumberEntries, groups: Range<usize>, rows: &Range<u64>) {
    let Totals::Floats(totals, lanes) = &known.totals else { return };
    let first = rows.start >> GROUP_BITS;
    let is_complete = rows.end.is_multiple_of(GROUP_ROWS);
    let complete = if is_complete { groups.clone() } else { groups.start..groups.end - 1 };
    sum.take_groups(first, &totals[complete]);
    if !is_complete {
        sum.resume((rows.end - 1) >> GROUP_BITS, *lanes);
    }
}

type Ends = (Option<Value<'static>>, Option<Value<'static>>, Sum);

fn ends<T: Copy>(ends: Option<(T, T)>, value: fn(T) -> Value<'static>, sum: Sum) -> Ends {
    (ends.map(|(min, _)| value(min)), ends.map(|(_, max)| value(max)), sum)
}

/// The bytes of a null are zero: a sum may take them along.
fn integers<T: Number + Into<i128>>(
    extremes: &mut Extremes<T>,
    sum: &mut i128,
    values: &[T],
    nulls: Option<&[bool]>,
) {
    extremes.take(values, nulls);
    *sum += values.iter().map(|value| (*value).into()).sum::<i128>();
}

/// A number, freed of its vector.
fn number(vector: &Vector, index: usize) -> Option<Value<'static>> {
    Some(match vector.value(index)? {
        Value::U64(value) => Value::U64(value),
        Value::I64(value) => Value::I64(value),
        Value::F64(value) => Value::F64(value),
        Value::U32(value) => Value::U32(value),
        Value::I32(value) => Value::I32(value),
        Value::F32(value) => Value::F32(value),
        _ => return None,
    })
}
