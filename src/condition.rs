//! Conditions on the values of a numeric column: which rows pass, and which row groups cannot hold any that does.
//!
//! Not here: reading the values (`scan`).

use std::ops::{Bound, RangeBounds};

use crate::batch::{Data, Vector};
use crate::codec::fixed::Fixed;
use crate::error::{Error, Result};
use crate::schema::{ColumnId, Kind, Schema};
use crate::statistics::Statistics;
use crate::value::Value;

/// A range that the values of a column must lie in. A null is in none, and neither is a NaN.
#[derive(Clone, Debug)]
pub(crate) struct Condition {
    pub(crate) column: ColumnId,
    start: Bound<Value<'static>>,
    end: Bound<Value<'static>>,
}

/// The same, for values of one kind: from the first to the second, both included.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Between {
    Integers(i128, i128),
    Floats(f64, f64),
}

impl Condition {
    pub(crate) fn new(column: ColumnId, values: impl RangeBounds<Value<'static>>) -> Self {
        Self { column, start: values.start_bound().cloned(), end: values.end_bound().cloned() }
    }

    /// What it comes to for the column's kind.
    ///
    /// # Errors
    /// `Schema` if the store does not have the column, its values are not numbers, or the bounds are of another kind.
    pub(crate) fn between(&self, schema: &Schema) -> Result<Between> {
        let Some(column) = schema.columns().get(self.column.index()) else {
            let what = format!("the store has {} columns, from 0", schema.columns().len()).into();
            return Err(Error::Schema { column: self.column.0.to_string(), index: 0, what });
        };
        let wrong =
            |what: String| Error::Schema { column: column.name().to_owned(), index: 0, what: what.into() };
        if matches!(column.kind(), Kind::Bool | Kind::Bytes | Kind::Text) {
            return Err(wrong(format!("conditions are on numbers; its values are {}", column.kind())));
        }
        for bound in [&self.start, &self.end] {
            if let Bound::Included(value) | Bound::Excluded(value) = bound
                && value.kind() != Some(column.kind())
            {
                return Err(wrong(format!("a condition on it is a range of {} values", column.kind())));
            }
        }
        if matches!(column.kind(), Kind::F64 | Kind::F32) {
            let start = match self.start {
                Bound::Included(value) => float(value),
                Bound::Excluded(value) => above(float(value)),
                Bound::Unbounded => f64::NEG_INFINITY,
            };
            let end = match self.end {
                Bound::Included(value) => float(value),
                Bound::Excluded(value) => -above(-float(value)),
                Bound::Unbounded => f64::INFINITY,
            };
            return Ok(Between::Floats(start, end));
        }
        let start = match self.start {
            Bound::Included(value) => integer(value),
            Bound::Excluded(value) => integer(value) + 1,
            Bound::Unbounded => i128::MIN,
        };
        let end = match self.end {
            Bound::Included(value) => integer(value),
            Bound::Excluded(value) => integer(value) - 1,
            Bound::Unbounded => i128::MAX,
        };
        Ok(Between::Integers(start, end))
    }
}

/// The next float above; nothing is above infinity.
fn above(value: f64) -> f64 {
    if value == f64::INFINITY { f64::NAN } else { value.next_up() }
}

fn float(value: Value<'_>) -> f64 {
    match value {
        Value::F64(value) => value,
        Value::F32(value) => value.into(),
        _ => f64::NAN,
    }
}

fn integer(value: Value<'_>) -> i128 {
    match value {
        Value::U64(value) => value.into(),
        Value::I64(value) => value.into(),
        Value::U32(value) => value.into(),
        Value::I32(value) => value.into(),
        _ => 0,
    }
}

impl Between {
    /// Whether none of the values that these statistics are of can pass.
    pub(crate) fn excludes(&self, kind: Kind, statistics: &Statistics) -> bool {
        let Some((min, max)) = statistics.extremes else { return true };
        let integers = |min: i128, max: i128| match *self {
            Self::Integers(start, end) => max < start || min > end,
            Self::Floats(..) => false,
        };
        let floats = |min: f64, max: f64| match *self {
            // A bound that is a NaN lets nothing pass.
            Self::Floats(start, end) => !(max >= start && min <= end),
            Self::Integers(..) => false,
        };
        match kind {
            Kind::U64 => integers(min.into(), max.into()),
            Kind::I64 => integers(i64::from_bits(min).into(), i64::from_bits(max).into()),
            Kind::U32 => integers(u32::from_bits(min).into(), u32::from_bits(max).into()),
            Kind::I32 => integers(i32::from_bits(min).into(), i32::from_bits(max).into()),
            Kind::F64 => floats(f64::from_bits(min), f64::from_bits(max)),
            Kind::F32 => floats(<f32 as Fixed>::from_bits(min).into(), <f32 as Fixed>::from_bits(max).into()),
            Kind::Bool | Kind::Bytes | Kind::Text => false,
        }
    }

    /// Marks those rows as not passing whose values do not.
    pub(crate) fn restrict(&self, vector: &Vector, passes: &mut [bool]) {
        match (self, vector.data()) {
            (Self::Integers(start, end), Data::U64(values)) => integers(values, *start, *end, passes),
            (Self::Integers(start, end), Data::I64(values)) => integers(values, *start, *end, passes),
            (Self::Integers(start, end), Data::U32(values)) => integers(values, *start, *end, passes),
            (Self::Integers(start, end), Data::I32(values)) => integers(values, *start, *end, passes),
            (Self::Floats(start, end), Data::F64(values)) => floats(values, *start, *end, passes),
            (Self::Floats(start, end), Data::F32(values)) => floats(values, *start, *end, passes),
            _ => debug_assert!(false, "the condition is for the column's kind"),
        }
        if let Some(nulls) = vector.nulls() {
            passes.iter_mut().zip(nulls).for_each(|(passes, null)| *passes &= !null);
        }
    }
}

fn integers<T: Copy + Ord + TryFrom<i128> + Limits>(
    values: &[T],
    start: i128,
    end: i128,
    passes: &mut [bool],
) {
    if start > T::MAX_VALUE.into() || end < T::MIN_VALUE.into() {
        return passes.fill(false);
    }
    let start = T::try_from(start).unwrap_or(T::MIN_VALUE);
    let end = T::try_from(end).unwrap_or(T::MAX_VALUE);
    passes.iter_mut().zip(values).for_each(|(passes, value)| *passes &= *value >= start && *value <= end);
}

fn floats<T: Copy + Into<f64>>(values: &[T], start: f64, end: f64, passes: &mut [bool]) {
    passes.iter_mut().zip(values).for_each(|(passes, value)| {
        let value: f64 = (*value).into();
        *passes &= value >= start && value <= end;
    });
}

/// The ends of a kind of integers.
trait Limits: Into<i128> {
    const MIN_VALUE: Self;
    const MAX_VALUE: Self;
}

macro_rules! limits {
    ($($type:ty),*) => {$(
        impl Limits for $type {
            const MIN_VALUE: Self = <$type>::MIN;
            const MAX_VALUE: Self = <$type>::MAX;
        }
    )*};
}

limits!(u64, i64, u32, i32);

#[cfg(test)]
mod tests {
    use super::*;
    use crate::schema::Column;
    use crate::statistics::{FloatSum, Total};

    fn passing(values: impl RangeBounds<Value<'static>>, kind: Kind, data: Data) -> Vec<usize> {
        let schema = Schema::new([Column::new("x", kind)]).unwrap();
        let between = Condition::new(ColumnId(0), values).between(&schema).unwrap();
        let vector = Vector::new(data, None);
        let mut passes = vec![true; vector.len()];
        between.restrict(&vector, &mut passes);
        let passing: Vec<usize> = (0..passes.len()).filter(|row| passes[*row]).collect();
        // What statistics exclude has no row that passes.
        let statistics = match vector.data() {
            Data::U64(values) => Statistics::of(values, None, 0, &mut FloatSum::default()),
            Data::I32(values) => Statistics::of(values, None, 0, &mut FloatSum::default()),
            Data::F64(values) => Statistics::of(values, None, 0, &mut FloatSum::default()),
            _ => Statistics { extremes: None, total: Total::Integer(0) },
        };
        assert!(passing.is_empty() || !between.excludes(kind, &statistics));
        passing
    }

    #[test]
    fn bounds_are_those_of_ranges() {
        let data = || Data::U64(vec![0, 1, 2, u64::MAX - 1, u64::MAX]);
        assert_eq!(passing(Value::U64(1)..Value::U64(2), Kind::U64, data()), [1]);
        assert_eq!(passing(Value::U64(1)..=Value::U64(2), Kind::U64, data()), [1, 2]);
        assert_eq!(passing(Value::U64(u64::MAX).., Kind::U64, data()), [4]);
        assert_eq!(passing(..Value::U64(0), Kind::U64, data()), [0; 0]);
        assert_eq!(
            passing((Bound::Excluded(Value::U64(u64::MAX)), Bound::Unbounded), Kind::U64, data()),
            [0; 0]
        );
        let data = || Data::I32(vec![i32::MIN, -1, 0, i32::MAX]);
        assert_eq!(passing(..Value::I32(0), Kind::I32, data()), [0, 1]);
        assert_eq!(passing(Value::I32(5)..Value::I32(-5), Kind::I32, data()), [0; 0]);
    }

    #[test]
    fn zeros_are_equal_and_a_nan_is_nowhere() {
        let data = || Data::F64(vec![f64::NAN, -0.0, 0.0, f64::INFINITY, f64::NEG_INFINITY, 1.5]);
        assert_eq!(passing(Value::F64(0.0)..=Value::F64(0.0), Kind::F64, data()), [1, 2]);
        assert_eq!(passing(Value::F64(0.0)..Value::F64(f64::INFINITY), Kind::F64, data()), [1, 2, 5]);
        assert_eq!(passing(.., Kind::F64, data()), [1, 2, 3, 4, 5]);
        assert_eq!(passing(Value::F64(f64::NAN).., Kind::F64, data()), [0; 0]);
        let above = (Bound::Excluded(Value::F64(0.0)), Bound::Excluded(Value::F64(f64::INFINITY)));
        assert_eq!(passing(above, Kind::F64, data()), [5]);
    }
}
