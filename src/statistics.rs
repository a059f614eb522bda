//! Statistics of numbers: extremes, and sums in a defined order.
//!
//! The order of a sum of floats is told at the head of `aggregate`. What an index keeps of it is such that a sum goes
//! on over row groups that lie in several segments: the lanes at the end of one segment begin the next.
//!
//! Not here: what is summed (`aggregate`), where statistics are kept (`format::segment`).

use crate::codec::fixed::Fixed;
use crate::codec::widest::widest;

/// Rows of a group, as a power of two.
pub(crate) const GROUP_BITS: u32 = 14;
/// Rows of a group.
pub(crate) const GROUP_ROWS: u64 = 1 << GROUP_BITS;
pub(crate) const LANES: usize = 16;

/// What the values of some rows come to.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Statistics {
    /// The least and the greatest value that is neither null nor NaN, as bits.
    pub(crate) extremes: Option<(u64, u64)>,
    pub(crate) total: Total,
}

/// Of all values that are not null.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Total {
    Integer(i128),
    /// Of the whole row group so far: rows of it that lie in segments before are in it.
    Float(f64),
}

impl Total {
    /// Equal bit by bit, but for which NaN it is.
    pub(crate) fn is_same(self, other: Self) -> bool {
        match (self, other) {
            (Self::Float(one), Self::Float(other)) => {
                one.to_bits() == other.to_bits() || (one.is_nan() && other.is_nan())
            }
            (one, other) => one == other,
        }
    }
}

/// A kind of number that has statistics.
pub(crate) trait Numeric: Number + Fixed {
    /// The sum of values of one row group, the first of which is row `row`; floats go on from `sum`.
    fn total(values: &[Self], row: u64, sum: &mut FloatSum) -> Total;
}

impl Statistics {
    /// Of values of one row group from row `row` on, behind those that `sum` has seen. The value of a null is zero.
    pub(crate) fn of<T: Numeric>(values: &[T], nulls: Option<&[bool]>, row: u64, sum: &mut FloatSum) -> Self {
        let mut extremes = Extremes::default();
        extremes.take(values, nulls);
        let extremes = extremes.ends().map(|(min, max): (T, T)| (min.bits(), max.bits()));
        Self { extremes, total: T::total(values, row, sum) }
    }
}

/// A sum of floats in the order that the head of `aggregate` defines.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct FloatSum {
    groups: f64,
    group: u64,
    lanes: [f64; LANES],
}

impl FloatSum {
    /// Adds values of rows from `row` on, behind all that came before. A null's value is zero, and changes nothing.
    pub(crate) fn take<T>(&mut self, row: u64, mut values: &[T], float: impl Fn(&T) -> f64 + Copy) {
        let mut row = row;
        while !values.is_empty() {
            if row >> GROUP_BITS != self.group {
                self.groups = self.end();
                (self.group, self.lanes) = (row >> GROUP_BITS, [0.0; LANES]);
            }
            let in_group = (1 << GROUP_BITS) - (row & ((1 << GROUP_BITS) - 1));
            let count = values.len().min(usize::try_from(in_group).unwrap_or(usize::MAX));
            let (now, later) = values.split_at(count);
            self.add(row, now, float);
            (row, values) = (row + count as u64, later);
        }
    }

    /// Values of one group.
    fn add<T>(&mut self, row: u64, values: &[T], float: impl Fn(&T) -> f64 + Copy) {
        let lane = usize::try_from(row % LANES as u64).unwrap_or(0);
        let (head, rest) = values.split_at(values.len().min((LANES - lane) % LANES));
        for (lane, value) in self.lanes[lane..].iter_mut().zip(head) {
            *lane += float(value);
        }
        let (whole, tail) = rest.as_chunks::<LANES>();
        let mut lanes = self.lanes;
        for values in whole {
            for (lane, value) in lanes.iter_mut().zip(values) {
                *lane += float(value);
            }
        }
        for (lane, value) in lanes.iter_mut().zip(tail) {
            *lane += float(value);
        }
        self.lanes = lanes;
    }

    /// Adds the sums of all rows of groups from `first` on; what was added of the first one's rows before is in its
    /// own.
    pub(crate) fn take_groups(&mut self, first: u64, totals: &[f64]) {
        let Some(behind) = (totals.len() as u64).checked_sub(1) else { return };
        self.resume(first, [0.0; LANES]);
        totals.iter().for_each(|total| self.groups += total);
        self.group = first + behind;
    }

    /// Goes on behind those rows of a group that have come to these lanes; what was added of that group before is
    /// in them.
    pub(crate) fn resume(&mut self, group: u64, lanes: [f64; LANES]) {
        if group != self.group {
            self.groups = self.end();
        }
        (self.group, self.lanes) = (group, lanes);
    }

    /// Of the newest group.
    pub(crate) fn lanes(&self) -> [f64; LANES] {
        self.lanes
    }

    pub(crate) fn end(&self) -> f64 {
        self.groups + self.group_total()
    }

    /// Of the newest group.
    pub(crate) fn group_total(&self) -> f64 {
        let mut lanes = self.lanes;
        let mut width = LANES / 2;
        while width > 0 {
            for lane in 0..width {
                lanes[lane] += lanes[lane + width];
            }
            width /= 2;
        }
        lanes[0]
    }
}

/// A number that can be ordered by an integer.
pub(crate) trait Number: Copy + PartialOrd {
    /// What to compare.
    type Rank: Ord + Copy;

    fn rank(self) -> Self::Rank;

    fn is_nan(self) -> bool;

    /// The least and the greatest of values; none if there is none, or a NaN.
    fn ends(values: &[Self]) -> Option<(Self, Self)>;
}

/// Values that are compared side by side: so many that instructions for several at once are used.
const ABREAST: usize = 8;

widest! {
    /// The ends, by `<`, of values side by side: those in one place of all of `rows`, and whether there is a NaN.
    fn abreast<T: Number>(rows: &[[T; ABREAST]], first: T) -> ([T; ABREAST], [T; ABREAST], bool) {
        let (mut least, mut greatest, mut is_nan) = ([first; ABREAST], [first; ABREAST], false);
        for values in rows {
            for ((least, greatest), value) in least.iter_mut().zip(&mut greatest).zip(values) {
                *least = if *value < *least { *value } else { *least };
                *greatest = if *value > *greatest { *value } else { *greatest };
                is_nan |= value.is_nan();
            }
        }
        (least, greatest, is_nan)
    }
}

/// The ends of `values` by `<`; none if there is a NaN.
fn ends_of<T: Number>(values: &[T]) -> Option<(T, T)> {
    let first = *values.first()?;
    let (whole, rest) = values.as_chunks::<ABREAST>();
    let mut last = [first; ABREAST];
    last[..rest.len()].copy_from_slice(rest);
    let (mut least, mut greatest, is_nan) = abreast(whole, first);
    if is_nan || last.iter().any(|value| value.is_nan()) {
        return None;
    }
    for ((least, greatest), value) in least.iter_mut().zip(&mut greatest).zip(last) {
        *least = if value < *least { value } else { *least };
        *greatest = if value > *greatest { value } else { *greatest };
    }
    let least = least.into_iter().reduce(|one, other| if other < one { other } else { one })?;
    let greatest = greatest.into_iter().reduce(|one, other| if other > one { other } else { one })?;
    Some((least, greatest))
}

macro_rules! integers {
    ($($type:ty),*) => {$(
        impl Number for $type {
            type Rank = Self;

            fn rank(self) -> Self {
                self
            }

            fn is_nan(self) -> bool {
                false
            }

            fn ends(values: &[Self]) -> Option<(Self, Self)> {
                ends_of(values)
            }
        }
    )*};
}

integers!(u64, i64, u32, i32);

macro_rules! integer_totals {
    ($($type:ty),*) => {$(
        impl Numeric for $type {
            fn total(values: &[Self], _: u64, _: &mut FloatSum) -> Total {
                Total::Integer(values.iter().map(|value| i128::from(*value)).sum())
            }
        }
    )*};
}

integer_totals!(u64, i64, u32, i32);

macro_rules! floats {
    ($($type:ty: $rank:ty),*) => {$(
        impl Number for $type {
            type Rank = $rank;

            /// As `total_cmp` has it: -0.0 is below 0.0.
            fn rank(self) -> $rank {
                let bits = self.to_bits().cast_signed();
                bits ^ ((bits >> (<$rank>::BITS - 1)).cast_unsigned() >> 1).cast_signed()
            }

            fn is_nan(self) -> bool {
                self.is_nan()
            }

            fn ends(values: &[Self]) -> Option<(Self, Self)> {
                let (min, max) = ends_of(values)?;
                // Zeros are equal, whatever their sign, but not of one rank.
                // All are looked at, because a loop that may end early takes one after the other.
                let is = |zero: Self| move |has, value: &Self| has | (value.to_bits() == zero.to_bits());
                let has = |zero: Self| values.iter().fold(false, is(zero));
                let min = if min == 0.0 && has(-0.0) { -0.0 } else { min };
                let max = if max == 0.0 && has(0.0) { 0.0 } else { max };
                Some((min, max))
            }
        }
    )*};
}

floats!(f64: i64, f32: i32);

macro_rules! float_totals {
    ($($type:ty),*) => {$(
        impl Numeric for $type {
            fn total(values: &[Self], row: u64, sum: &mut FloatSum) -> Total {
                sum.take(row, values, |value| f64::from(*value));
                Total::Float(sum.group_total())
            }
        }
    )*};
}

float_totals!(f64, f32);

/// The least and the greatest of some numbers.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Extremes<T> {
    ends: Option<(T, T)>,
}

impl<T> Default for Extremes<T> {
    fn default() -> Self {
        Self { ends: None }
    }
}

impl<T: Number> Extremes<T> {
    /// Looks at all of `values` that are neither null nor NaN.
    pub(crate) fn take(&mut self, values: &[T], nulls: Option<&[bool]>) {
        if nulls.is_none()
            && let Some((min, max)) = T::ends(values)
        {
            let (least, greatest) = self.ends.unwrap_or((min, max));
            let min = if min.rank() < least.rank() { min } else { least };
            let max = if max.rank() > greatest.rank() { max } else { greatest };
            self.ends = Some((min, max));
            return;
        }
        for (index, value) in values.iter().enumerate() {
            if nulls.is_some_and(|nulls| nulls[index]) || value.is_nan() {
                continue;
            }
            let (min, max) = self.ends.unwrap_or((*value, *value));
            let min = if value.rank() < min.rank() { *value } else { min };
            let max = if value.rank() > max.rank() { *value } else { max };
            self.ends = Some((min, max));
        }
    }

    /// Takes the extremes of other values, as bits.
    pub(crate) fn take_known(&mut self, min: u64, max: u64)
    where
        T: Fixed,
    {
        let (least, greatest) = (T::from_bits(min), T::from_bits(max));
        let (min, max) = self.ends.unwrap_or((least, greatest));
        let min = if least.rank() < min.rank() { least } else { min };
        let max = if greatest.rank() > max.rank() { greatest } else { max };
        self.ends = Some((min, max));
    }

    pub(crate) fn ends(&self) -> Option<(T, T)> {
        self.ends
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// By the definition, row by row.
    fn defined(first: u64, values: &[f64]) -> f64 {
        let (mut total, mut group, mut lanes) = (0.0, first >> 14, [0.0; 16]);
        let fold = |lanes: [f64; 16]| {
            let eight: Vec<f64> = (0..8).map(|lane| lanes[lane] + lanes[lane + 8]).collect();
            let four: Vec<f64> = (0..4).map(|lane| eight[lane] + eight[lane + 4]).collect();
            (four[0] + four[2]) + (four[1] + four[3])
        };
        for (row, value) in (first..).zip(values) {
            if row >> 14 != group {
                total += fold(lanes);
                (group, lanes) = (row >> 14, [0.0; 16]);
            }
            lanes[usize::try_from(row % 16).unwrap()] += value;
        }
        total + fold(lanes)
    }

    #[test]
    fn a_sum_is_what_its_definition_says_however_it_is_cut() {
        let values: Vec<f64> =
            (0..60_000_u32).map(|i| f64::from(i.wrapping_mul(2_654_435_761)) * 1e-3).collect();
        for first in [0, 1, 15, 16, 16_383, 16_384, 1 << 40] {
            let expected = defined(first, &values);
            for cut in [1, 3, 16, 17, 1000, 16_384, 60_000] {
                let mut sum = FloatSum::default();
                for (number, part) in (0_u64..).zip(values.chunks(cut)) {
                    sum.take(first + number * cut as u64, part, |value| *value);
                }
                assert_eq!(sum.end().to_bits(), expected.to_bits(), "from row {first} on, {cut} at a time");
            }
        }
    }

    #[test]
    fn a_sum_over_segments_goes_on_where_it_was() {
        let place = |row: u64| usize::try_from(row).unwrap();
        let values: Vec<f64> =
            (0..50_000_u32).map(|i| f64::from(i.wrapping_mul(2_654_435_761)) * 1e-3).collect();
        let expected = defined(0, &values);
        for ends in [vec![20_000, 50_000], vec![5, 700, 16_384, 16_385, 30_000, 49_152, 50_000]] {
            // As sealing has it: group by group, on from the lanes of the segment before.
            let (mut running, mut known, mut start) = (FloatSum::default(), FloatSum::default(), 0_u64);
            for end in ends {
                while start < end {
                    let next = end.min((start / GROUP_ROWS + 1) * GROUP_ROWS);
                    let total = f64::total(&values[place(start)..place(next)], start, &mut running);
                    let Total::Float(total) = total else { panic!("the sum of floats is one") };
                    match next.is_multiple_of(GROUP_ROWS) {
                        true => known.take_groups(start / GROUP_ROWS, &[total]),
                        false => known.resume(start / GROUP_ROWS, running.lanes()),
                    }
                    start = next;
                }
            }
            assert_eq!(known.end().to_bits(), expected.to_bits());
        }
    }

    #[test]
    fn extremes_know_zeros_and_leave_nans_out() {
        let mut extremes = Extremes::default();
        extremes.take(&[f64::NAN, -f64::NAN], None);
        assert!(extremes.ends().is_none());
        extremes.take(&[0.0, -0.0, 0.0], None);
        let bits = |(min, max): (f64, f64)| (min.to_bits(), max.to_bits());
        assert_eq!(extremes.ends().map(bits), Some(bits((-0.0, 0.0))));
        extremes.take(&[f64::NEG_INFINITY, f64::NAN, 5.0], None);
        extremes.take(&[-1.0, 7.0, 9.0], Some(&[false, false, true]));
        assert_eq!(extremes.ends(), Some((f64::NEG_INFINITY, 7.0)));
    }
}
