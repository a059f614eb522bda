//! A range of a column as something to draw: the least, the greatest and the mean of each of so many windows, however
//! many rows there are.
//!
//! Not here: drawing it (`terminal`, `svg`, `png`).

use anyhow::Result;
use tidelog::disk::Disk;
use tidelog::{Aggregate, ColumnId, Reader, Snapshot, Value};

use crate::key::shown;

pub(crate) mod png;
pub(crate) mod svg;
pub(crate) mod terminal;

/// Pixels of a picture, and of what is around the figure in it.
const WIDTH: u32 = 1200;
const HEIGHT: u32 = 480;
const LEFT: u32 = 120;
const RIGHT: u32 = 20;
const TOP: u32 = 45;
const BOTTOM: u32 = 45;

/// Windows that fit a picture: one for each pixel across.
pub(crate) const PIXELS: u64 = (WIDTH - LEFT - RIGHT) as u64;

/// What is drawn, its labels in the order of what they stand at.
#[derive(Debug)]
pub(crate) struct Figure {
    pub(crate) title: String,
    /// At the least value, in the middle, at the greatest one.
    values: [String; 3],
    /// At the first key, in the middle, at the last one.
    keys: [String; 3],
    windows: Vec<Drawn>,
}

/// A window; 0 is the first key and the least value of the figure, 1 the last and the greatest.
#[derive(Clone, Copy, Debug, PartialEq)]
struct Drawn {
    x: f64,
    low: f64,
    high: f64,
    /// None where it is no number, or infinite.
    mean: Option<f64>,
}

/// The rows whose keys are from `first` to `last`, in about `places` windows and one more at most; none if nothing
/// that could be drawn is there.
pub(crate) async fn figure<D: Disk>(
    reader: &Reader<D>,
    at: &Snapshot,
    (first, last): (u64, u64),
    column: ColumnId,
    places: u64,
) -> Result<Option<Figure>> {
    let step = (last - first) / places + 1;
    let mut windows = reader.aggregate_every(at, first..=last, step, column);
    let mut found = Vec::new();
    while let Some(window) = windows.next().await? {
        let start = window.start.max(first);
        let end = window.start.saturating_add(step - 1).min(last);
        let middle = start.midpoint(end);
        found.extend(Range::of(&window.aggregate).map(|range| (share(middle - first, last - first), range)));
    }
    let finite = found.iter().flat_map(|(_, range)| [range.low, range.high]).filter(|end| end.is_finite());
    let Some(scale) = Scale::of(finite) else { return Ok(None) };
    let drawn = |(x, range): &(f64, Range)| Drawn {
        x: *x,
        low: scale.place(range.low),
        high: scale.place(range.high),
        mean: range.mean.map(|mean| scale.place(mean)),
    };
    let unit = reader.schema().unit();
    Ok(Some(Figure {
        title: reader.schema().columns()[column.0 as usize].name().to_owned(),
        values: scale.labels(),
        keys: [first, first.midpoint(last), last].map(|key| shown(key, unit)),
        windows: found.iter().map(drawn).collect(),
    }))
}

/// What of an aggregate is drawn.
#[derive(Clone, Copy)]
struct Range {
    low: f64,
    high: f64,
    mean: Option<f64>,
}

impl Range {
    fn of(aggregate: &Aggregate) -> Option<Self> {
        let (low, high) = (float(aggregate.min?)?, float(aggregate.max?)?);
        Some(Self { low, high, mean: aggregate.mean().filter(|mean| mean.is_finite()) })
    }
}

#[expect(clippy::cast_precision_loss, reason = "a picture has fewer places than a float has numbers")]
fn float(value: Value<'_>) -> Option<f64> {
    match value {
        Value::U64(value) => Some(value as f64),
        Value::I64(value) => Some(value as f64),
        Value::U32(value) => Some(f64::from(value)),
        Value::I32(value) => Some(f64::from(value)),
        Value::F32(value) => Some(f64::from(value)),
        Value::F64(value) => Some(value),
        _ => None,
    }
}

/// How far `part` is into `whole`; in the middle of nothing.
#[expect(clippy::cast_precision_loss, reason = "a picture has fewer places than a float has numbers")]
fn share(part: u64, whole: u64) -> f64 {
    if whole == 0 { 0.5 } else { part as f64 / whole as f64 }
}

/// The values of a figure, all of them finite.
struct Scale {
    low: f64,
    high: f64,
}

impl Scale {
    fn of(mut values: impl Iterator<Item = f64>) -> Option<Self> {
        let first = values.next()?;
        let (low, high) = values.fold((first, first), |(low, high), value| (low.min(value), high.max(value)));
        Some(Self { low, high })
    }

    /// From 0 to 1; what is infinite stands at the edge.
    fn place(&self, value: f64) -> f64 {
        let value = value.clamp(self.low, self.high);
        let span = self.high - self.low;
        match span {
            0.0 => 0.5,
            // The span of the largest floats is beyond them.
            f64::INFINITY => (value / 2.0 - self.low / 2.0) / (self.high / 2.0 - self.low / 2.0),
            _ => (value - self.low) / span,
        }
    }

    /// With so many digits that they differ; one where there is one value.
    fn labels(&self) -> [String; 3] {
        let label = |value: f64| label(value, self.high - self.low);
        if self.low == self.high {
            return [String::new(), label(self.low), String::new()];
        }
        [self.low, f64::midpoint(self.low, self.high), self.high].map(label)
    }
}

/// Without an exponent where that is short.
fn label(value: f64, span: f64) -> String {
    let fits = value == 0.0 || (1e-4..1e9).contains(&value.abs());
    if !fits || (span > 0.0 && span < 1e-6) {
        return format!("{value:.6e}");
    }
    let is_coarse = |digits: &usize| span * 10_f64.powi(i32::try_from(*digits).unwrap_or(0)) >= 100.0;
    let digits = if span == 0.0 { 6 } else { (0..9).find(is_coarse).unwrap_or(9) };
    format!("{value:.digits$}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_scale_takes_any_floats() {
        let scale = Scale::of([1.0, 5.0, 3.0].into_iter()).unwrap();
        let places = [1.0, 2.0, 5.0, f64::INFINITY, f64::NEG_INFINITY].map(|value| scale.place(value));
        assert_eq!(places, [0.0, 0.25, 1.0, 1.0, 0.0]);
        let widest = Scale::of([f64::MIN, f64::MAX].into_iter()).unwrap();
        assert_eq!([f64::MIN, 0.0, f64::MAX].map(|value| widest.place(value)), [0.0, 0.5, 1.0]);
        let narrowest = Scale::of([0.0, 5e-324].into_iter()).unwrap();
        assert_eq!([0.0, 5e-324].map(|value| narrowest.place(value)), [0.0, 1.0]);
        let one = Scale::of([7.0].into_iter()).unwrap();
        assert_eq!((one.place(7.0), one.labels()), (0.5, ["", "7.000000", ""].map(str::to_owned)));
        assert!(Scale::of(std::iter::empty()).is_none());
    }

    #[test]
    fn labels_have_the_digits_that_tell_them_apart() {
        let labels = |low, high| Scale { low, high }.labels();
        assert_eq!(labels(100.0, 101.0), ["100.00", "100.50", "101.00"]);
        assert_eq!(labels(0.0, 2_000.0), ["0", "1000", "2000"]);
        assert_eq!(labels(0.0, 0.004), ["0.00000", "0.00200", "0.00400"]);
        assert_eq!(labels(0.0, 4e12), ["0", "2.000000e12", "4.000000e12"]);
        assert_eq!(labels(f64::MIN, f64::MAX)[1], "0");
    }

    #[test]
    fn keys_are_shared_out_without_overflow() {
        assert_eq!([share(0, u64::MAX), share(u64::MAX, u64::MAX), share(0, 0)], [0.0, 1.0, 0.5]);
    }
}
