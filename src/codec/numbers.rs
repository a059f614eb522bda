//! A vector of numbers: as they are, as what is left of them beside a line, or as differences, each in a frame.
//!
//! The form is chosen for each vector, on a sample of it. Runs need no form of their own: differences in a frame of
//! no width are a list of the changes. Format: docs/format.md, "Numbers".
//!
//! Not here: what the numbers mean for values (`block`, `decimals`).

use super::frame::{self, Content, Frame, Head};
use super::parts::Parts;
use super::sums::sum_up;
use super::{VECTOR, pack};

const VALUES: u8 = 1;
const LINE: u8 = 2;
const DELTAS: u8 = 3;

/// A line rises by `slope` / 1,024 a row.
const SLOPE_SHIFT: u32 = 10;
/// Slopes are below this, so that no product overflows.
const SLOPE_MAX: u64 = 1 << 53;
/// Differences and what a line leaves are shifted up by this for planning: they may be below zero.
const ZERO: u64 = 1 << 63;
/// A sample is so many runs of neighbours of that length.
const RUNS: usize = 8;
const RUN: usize = 16;

/// The most steps that differences make.
const ROWS: i128 = VECTOR as i128;

/// What a form gains must be worth a walk through the vector for each of its values.
const DELTAS_GAIN: (usize, usize) = (31, 32);

/// How high the line is at `index`.
fn line(slope: u64, index: usize) -> u64 {
    slope.wrapping_mul(index as u64) >> SLOPE_SHIFT
}

/// The slope from the first number to the last.
fn slope(numbers: &[u64]) -> Option<u64> {
    let (first, last) = (numbers.first()?, numbers.last()?);
    let rise = u128::from(last.checked_sub(*first)?) << SLOPE_SHIFT;
    let slope = u64::try_from(rise / (numbers.len() as u128 - 1).max(1)).ok()?;
    (1..SLOPE_MAX).contains(&slope).then_some(slope)
}

enum Form {
    Values,
    Line(u64),
    Deltas,
}

/// About how many bits a whole vector takes by the numbers of a sample.
fn cost(sample: impl Iterator<Item = u64>) -> usize {
    let (mut numbers, mut len) = ([0; RUNS * RUN], 0);
    for (to, number) in numbers.iter_mut().zip(sample) {
        (*to, len) = (number, len + 1);
    }
    match len {
        0 => usize::MAX,
        len => frame::bits::<{ RUNS * RUN }>(&numbers[..len]) * VECTOR / len,
    }
}

fn delta(pair: &[u64]) -> u64 {
    pair[1].wrapping_sub(pair[0]).wrapping_add(ZERO)
}

/// What the line leaves of number `index`.
fn left(slope: u64, (index, number): (usize, &u64)) -> u64 {
    number.wrapping_sub(line(slope, index)).wrapping_add(ZERO)
}

/// The form that takes the fewest bits for a sample.
fn choose(numbers: &[u64]) -> Form {
    let starts = (0..numbers.len()).step_by(numbers.len().div_ceil(RUNS).max(RUN));
    let runs = starts.map(|start| (start, &numbers[start..(start + RUN).min(numbers.len())]));
    let values = cost(runs.clone().flat_map(|(_, run)| run.iter().copied()));
    let deltas = cost(runs.clone().flat_map(|(_, run)| run.windows(2).map(delta))).saturating_add(64);
    let (gain, of) = DELTAS_GAIN;
    if let Some(slope) = slope(numbers) {
        let beside = runs.flat_map(|(start, run)| (start..).zip(run)).map(|number| left(slope, number));
        let left = cost(beside).saturating_add(64);
        if left < values && deltas.saturating_mul(of) >= left.saturating_mul(gain) {
            return Form::Line(slope);
        }
    }
    if deltas.saturating_mul(of) < values.saturating_mul(gain) { Form::Deltas } else { Form::Values }
}

/// Appends `numbers`, 1 to 1,024 of them.
pub(super) fn encode(numbers: &[u64], bytes: &mut Vec<u8>) {
    let mut room: [u64; VECTOR];
    let content = match choose(numbers) {
        Form::Values => Content { numbers, zero: 0, skipped: 0, form: VALUES, extra: None },
        Form::Line(slope) => {
            room = [0; VECTOR];
            let work = &mut room[..numbers.len()];
            work.iter_mut()
                .zip(numbers.iter().enumerate())
                .for_each(|(to, number)| *to = left(slope, number));
            Content { numbers: work, zero: ZERO, skipped: 0, form: LINE, extra: Some(slope) }
        }
        Form::Deltas => {
            room = [0; VECTOR];
            let work = &mut room[..numbers.len()];
            work[1..].iter_mut().zip(numbers.windows(2)).for_each(|(to, pair)| *to = delta(pair));
            // The first number has a field of its own: nothing is packed for it.
            work[0] = work[1];
            Content { numbers: work, zero: ZERO, skipped: 1, form: DELTAS, extra: Some(numbers[0]) }
        }
    };
    frame::encode(&content, bytes);
}

/// Adds the line. It stands apart, so that it is compiled well wherever it is called.
#[inline(never)]
fn raise(slope: u64, numbers: &mut [u64; VECTOR]) {
    let mut height = 0_u64;
    for number in numbers {
        *number = number.wrapping_add(height >> SLOPE_SHIFT);
        height = height.wrapping_add(slope);
    }
}

/// Distances that fit 32 bits with room to spare.
const SHORT_BITS: u32 = 30;

/// What numbers in 32 bits are.
pub(super) enum Narrow {
    /// How far each number is from the origin.
    Distances { origin: u64 },
    /// How far each one is from the one before, the first one from the origin.
    Deltas { origin: u64 },
}

/// A vector of numbers as it lies in its bytes.
#[derive(Debug)]
pub(super) struct Numbers<'a> {
    count: usize,
    shape: Shape,
    frame: Frame<'a>,
}

#[derive(Debug)]
enum Shape {
    Values,
    Line { slope: u64 },
    Deltas { first: u64 },
}

impl<'a> Numbers<'a> {
    /// `count` numbers, which are all that is left of `from`. Inlined, as is what it calls: to hand its parts from result to
    /// result costs more than parsing.
    #[inline(always)]
    pub(super) fn parse(count: usize, mut from: Parts<'a>) -> Result<Self, &'static str> {
        let form = from.u8()?;
        let head = Head::parse(&mut from)?;
        let shape = match form {
            VALUES => Shape::Values,
            LINE => Shape::Line { slope: from.u64()? },
            DELTAS => Shape::Deltas { first: from.u64()? },
            _ => return Err("the form of the numbers is unknown"),
        };
        if matches!(shape, Shape::Line { slope } if !(1..SLOPE_MAX).contains(&slope)) {
            return Err("the slope of a line is impossible");
        }
        let frame = Frame::parse(&head, count, &mut from)?;
        from.end()?;
        if matches!(shape, Shape::Deltas { .. }) {
            if frame.patches().next().is_some_and(|(at, _)| at == 0) {
                return Err("there is a patch for the first number");
            }
            if frame.packed_number(0) != 0 {
                return Err("there is a difference for the first number");
            }
        }
        Ok(Self { count, shape, frame })
    }

    /// All numbers, into the first places of `into`; what is behind them is of no meaning.
    pub(super) fn decode(&self, into: &mut [u64; VECTOR]) {
        self.frame.decode(into);
        match self.shape {
            Shape::Values => {}
            Shape::Line { slope } => raise(slope, into),
            Shape::Deltas { first } => {
                into[0] = first;
                sum_up(into);
            }
        }
    }

    /// All numbers in 32 bits, two's complement, where they are that short and none is above `max`; what is behind them is
    /// of no meaning.
    pub(super) fn decode_short(&self, max: u64, into: &mut [u32; VECTOR]) -> Option<Narrow> {
        if self.frame.width > SHORT_BITS {
            return None;
        }
        match self.shape {
            // A frame whose highest is known has no patches.
            Shape::Values => {
                self.highest().filter(|highest| *highest <= max)?;
                self.frame.decode_short(self.frame.base, into);
                Some(Narrow::Distances { origin: self.frame.base })
            }
            Shape::Line { .. } => None,
            Shape::Deltas { first } => {
                let (down, up) = self.reach();
                let (lowest, highest) = (i128::from(first) + down, i128::from(first) + up);
                if down.min(-up) <= -(1 << SHORT_BITS) || lowest < 0 || highest > max.into() {
                    return None;
                }
                self.frame.decode_short(0, into);
                into[0] = 0;
                Some(Narrow::Deltas { origin: first })
            }
        }
    }

    /// Number `index` alone, without its neighbours but for differences.
    pub(super) fn number(&self, index: usize) -> u64 {
        match self.shape {
            Shape::Values => self.frame.number(index),
            Shape::Line { slope } => self.frame.number(index).wrapping_add(line(slope, index)),
            Shape::Deltas { first } if self.frame.width == 0 => {
                let changes = self.frame.patches().take_while(|(position, _)| *position <= index);
                let (count, sum) = changes
                    .fold((0, 0_u64), |(count, sum), (_, change)| (count + 1, sum.wrapping_add(change)));
                first.wrapping_add(sum).wrapping_add(self.frame.base.wrapping_mul((index - count) as u64))
            }
            Shape::Deltas { first } => {
                let mut deltas = [0; VECTOR];
                self.frame.decode(&mut deltas);
                deltas[1..=index].iter().fold(first, |sum, delta| sum.wrapping_add(*delta))
            }
        }
    }

    /// Of numbers that have been decoded: that none is above `max`, which is 2^n - 1.
    pub(super) fn check(&self, decoded: &[u64; VECTOR], max: u64) -> Result<(), &'static str> {
        if self.highest().is_some_and(|highest| highest <= max) {
            return Ok(());
        }
        // One or of all shows a bit above the highest that may be set.
        let ored = decoded[..self.count].iter().fold(0, |ored, number| ored | number);
        if ored <= max { Ok(()) } else { Err("a number is above the highest that can be") }
    }

    /// What no number can be above, as far as the frame alone says, without a look at each number.
    fn highest(&self) -> Option<u64> {
        let width = pack::mask(self.frame.width);
        match self.shape {
            Shape::Values if self.frame.patches().next().is_none() => self.frame.base.checked_add(width),
            Shape::Values | Shape::Line { .. } => None,
            Shape::Deltas { first } => {
                let (down, up) = self.reach();
                let (down, up) = (i128::from(first) + down, i128::from(first) + up);
                if down < 0 { None } else { u64::try_from(up).ok() }
            }
        }
    }

    /// As far down and up as all steps and all patches together can lead.
    fn reach(&self) -> (i128, i128) {
        let (lowest, width) = (i128::from(self.frame.base.cast_signed()), pack::mask(self.frame.width));
        let (mut down, mut up) = (lowest.min(0) * ROWS, (lowest + i128::from(width)).max(0) * ROWS);
        for (_, patch) in self.frame.patches() {
            let patch = i128::from(patch.cast_signed());
            (down, up) = (down + patch.min(0), up + patch.max(0));
        }
        (down, up)
    }
}
