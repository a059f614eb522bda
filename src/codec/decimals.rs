//! A vector of floats that were decimals once: as whole numbers and a power of ten.
//!
//! This is ALP (Afroozeh, Kuffo, Boncz: ALP: Adaptive Lossless floating-Point Compression, SIGMOD 2023): a float v
//! is the number d = round(v x 10^e x 10^-f), and comes back as d x 10^f x 10^-e. Where that does not give v bit for
//! bit, v is listed beside, an *exception*: NaN, infinities, -0.0 and subnormals among them. `f32` goes the
//! same way, as `f64`, and is rounded in the end. Format: docs/format.md, "Decimals".
//!
//! A whole number d is kept as d + 2^51, below 2^52, because those are the low bits of the float d + 1.5 x 2^52:
//! both ways are one addition and one mask, on any machine.
//!
//! Not here: the floats whose bits are random (`split`).

use fearless_simd::prelude::*;
use fearless_simd::{Level, dispatch};

use super::fixed::{Fixed, Float, Floating};
use super::numbers::{self, Narrow, Numbers};
use super::parts::{Parts, small};
use super::sums::Sums;
use super::widest::widest;
use super::{VECTOR, pack};

/// Powers of ten, all exact, and their inverses, rounded.
const TENS: [f64; EXPONENTS] =
    [1e0, 1e1, 1e2, 1e3, 1e4, 1e5, 1e6, 1e7, 1e8, 1e9, 1e10, 1e11, 1e12, 1e13, 1e14, 1e15, 1e16, 1e17, 1e18];
const TENTHS: [f64; EXPONENTS] = [
    1e0, 1e-1, 1e-2, 1e-3, 1e-4, 1e-5, 1e-6, 1e-7, 1e-8, 1e-9, 1e-10, 1e-11, 1e-12, 1e-13, 1e-14, 1e-15,
    1e-16, 1e-17, 1e-18,
];
const EXPONENTS: usize = 19;

/// 1.5 x 2^52: added to a float below 2^51 it leaves the nearest whole number in the low 52 bits.
const MAGIC: f64 = 6_755_399_441_055_744.0;
/// The upper bits of such a sum.
const MAGIC_BITS: u64 = 0x433 << NUMBER_BITS;
/// Numbers are below 2^52.
const NUMBER_BITS: u32 = 52;

/// So many values of a block say which exponents may be good for it, and so many which of those are.
const PRESAMPLE: usize = 16;
const SAMPLE: usize = 64;
/// So many pairs may be good.
const PRECHOICES: usize = 24;
/// So many values of a vector say which of those is.
const TRIAL: usize = 32;
/// So many are tried for each vector.
const CHOICES: usize = 3;
/// So many values are tried side by side.
const ABREAST: usize = 4;
/// So many differences are summed up before their values are made.
const STEP: usize = 128;

/// The two exponents, f up to e.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Exponents {
    e: u8,
    f: u8,
}

impl Exponents {
    fn scale(self) -> Scale {
        let (e, f) = (usize::from(self.e), usize::from(self.f));
        Scale { up: TENS[e], down: TENTHS[f], back_up: TENS[f], back_down: TENTHS[e] }
    }

    fn to_value(self, number: u64) -> f64 {
        self.scale().to_value(number)
    }

    /// The numbers of `values`, and where they are exceptions, whose numbers mean nothing.
    fn numbers(self, values: &[u64], float: Float, numbers: &mut [u64]) -> Vec<(usize, bool)> {
        let wrong = match float {
            Float::F64 => whole_numbers::<f64>(self.scale(), values, numbers),
            Float::F32 => whole_numbers::<f32>(self.scale(), values, numbers),
        };
        let mut exceptions = Vec::new();
        if wrong != 0 {
            let is_wrong = |(number, value): (&u64, &u64)| float.bits(self.to_value(*number)) != *value;
            exceptions = numbers.iter().zip(values).map(is_wrong).enumerate().collect();
            exceptions.retain(|(_, is_wrong)| *is_wrong);
            fill(numbers, &exceptions);
        }
        exceptions
    }
}

/// About how many bits values take with each of these pairs; exceptions as values and positions.
fn costs(pairs: &[Exponents], values: &[u64], float: Float) -> Vec<usize> {
    let mut found = vec![Tried::default(); pairs.len()];
    match float {
        Float::F64 => try_pairs::<f64>(pairs, values, &mut found),
        Float::F32 => try_pairs::<f32>(pairs, values, &mut found),
    }
    let cost = |found: &Tried| {
        let width = (u64::BITS - found.highest.saturating_sub(found.lowest).leading_zeros()) as usize;
        (values.len() - found.exceptions) * width + found.exceptions * (float.width() * 8 + 16)
    };
    found.iter().map(cost).collect()
}

/// The factors of two exponents.
#[derive(Clone, Copy)]
struct Scale {
    up: f64,
    down: f64,
    back_up: f64,
    back_down: f64,
}

/// What numbers some values are.
#[derive(Clone, Copy, Default)]
struct Tried {
    lowest: u64,
    highest: u64,
    exceptions: usize,
}

impl Scale {
    /// The float whose low bits are the number.
    fn rounded(self, value: f64) -> f64 {
        let sum = value * self.up * self.down + MAGIC;
        f64::from_bits(sum.to_bits() & pack::mask(NUMBER_BITS) | MAGIC_BITS)
    }

    fn to_value(self, number: u64) -> f64 {
        whole(number) * self.back_up * self.back_down
    }

    /// The numbers of values that come back.
    #[inline(always)]
    fn try_on<F: Floating>(self, values: &[u64]) -> Tried {
        // As floats, which any machine compares several at once; their order is that of the numbers. Masks, because a choice
        // is made with jumps.
        let (mut lowest, mut highest, mut exceptions) = ([f64::MAX; ABREAST], [0.0; ABREAST], [0; ABREAST]);
        let mut take = |lane: usize, known: u64| {
            let rounded = self.rounded(F::value(known));
            let back = F::bits(self.to_value(rounded.to_bits()));
            let mask = u64::from(back != known).wrapping_neg();
            let high = f64::from_bits(rounded.to_bits() & !mask);
            let low = f64::from_bits(rounded.to_bits() | (mask >> 2));
            lowest[lane] = if low < lowest[lane] { low } else { lowest[lane] };
            highest[lane] = if high > highest[lane] { high } else { highest[lane] };
            exceptions[lane] += mask & 1;
        };
        let (whole, rest) = values.as_chunks::<ABREAST>();
        for values in whole {
            (0..ABREAST).for_each(|lane| take(lane, values[lane]));
        }
        rest.iter().enumerate().for_each(|(lane, known)| take(lane, *known));
        Tried {
            lowest: lowest.map(f64::to_bits).into_iter().fold(u64::MAX, u64::min),
            highest: highest.map(f64::to_bits).into_iter().fold(0, u64::max),
            exceptions: usize::try_from(exceptions.iter().sum::<u64>()).unwrap_or(usize::MAX),
        }
    }
}

widest! {
    /// What numbers all values are, by each of these pairs.
    fn try_pairs<F: Floating>(pairs: &[Exponents], values: &[u64], found: &mut [Tried]) {
        for (found, pair) in found.iter_mut().zip(pairs) {
            *found = pair.scale().try_on::<F>(values);
        }
    }

    /// The numbers of all values; returns the bits in which some do not come back.
    fn whole_numbers<F: Floating>(scale: Scale, values: &[u64], numbers: &mut [u64]) -> u64 {
        let mut wrong = 0;
        for (number, known) in numbers.iter_mut().zip(values) {
            let rounded = scale.rounded(F::value(*known)).to_bits();
            wrong |= F::bits(scale.to_value(rounded)) ^ known;
            *number = rounded & pack::mask(NUMBER_BITS);
        }
        wrong
    }
}

/// The pairs that are best for a sample of a block, the best one first. Few values rule out most pairs.
pub(super) fn choices(values: &[u64], float: Float) -> Vec<Exponents> {
    let all = (0_u8..).take(EXPONENTS).flat_map(|e| (0..=e).map(move |f| Exponents { e, f }));
    let few = best(all.collect(), PRESAMPLE, PRECHOICES, values, float);
    best(few, SAMPLE, CHOICES, values, float)
}

/// The best `count` of `pairs` for a sample of `values`.
fn best(pairs: Vec<Exponents>, sample: usize, count: usize, values: &[u64], float: Float) -> Vec<Exponents> {
    let sample: Vec<u64> = spread(values, sample).collect();
    // Of equal ones the smallest exponents: they lose least.
    let costs = costs(&pairs, &sample, float).into_iter();
    let mut costs: Vec<_> = costs.zip(pairs).map(|(cost, Exponents { e, f })| (cost, e, f)).collect();
    if count < costs.len() {
        costs.select_nth_unstable(count);
        costs.truncate(count);
    }
    costs.sort_unstable();
    costs.into_iter().map(|(_, e, f)| Exponents { e, f }).collect()
}

/// About `count` of these values, from everywhere.
pub(super) fn spread(values: &[u64], count: usize) -> impl ExactSizeIterator<Item = u64> {
    values.iter().copied().step_by((values.len() / count).max(1))
}

/// Appends `values`, 1 to 1,024 floats as their bits, with the best of `choices`.
pub(super) fn encode(values: &[u64], float: Float, choices: &[Exponents], bytes: &mut Vec<u8>) {
    let exponents = match choices {
        [only] => *only,
        _ => {
            let trial: Vec<u64> = spread(values, TRIAL).collect();
            let best = costs(choices, &trial, float).into_iter().zip(choices).min_by_key(|(cost, _)| *cost);
            best.map_or(Exponents { e: 0, f: 0 }, |(_, pair)| *pair)
        }
    };
    let mut numbers = [0; VECTOR];
    let numbers = &mut numbers[..values.len()];
    let exceptions = exponents.numbers(values, float, numbers);
    bytes.extend([exponents.e, exponents.f]);
    bytes.extend(small(exceptions.len()).to_le_bytes());
    bytes.extend(exceptions.iter().flat_map(|(position, _)| small(*position).to_le_bytes()));
    for (position, _) in &exceptions {
        bytes.extend(&values[*position].to_le_bytes()[..float.width()]);
    }
    numbers::encode(numbers, bytes);
}

/// Where exceptions are the number before is repeated, which costs least in every form.
fn fill(numbers: &mut [u64], exceptions: &[(usize, bool)]) {
    let mut listed = exceptions.iter().map(|(position, _)| *position).peekable();
    let first = (0..numbers.len()).find(|index| exceptions.get(*index).is_none_or(|(at, _)| at != index));
    let mut before = first.map_or(1 << (NUMBER_BITS - 1), |index| numbers[index]);
    for (index, number) in numbers.iter_mut().enumerate() {
        if listed.next_if_eq(&index).is_some() {
            *number = before;
        }
        before = *number;
    }
}

/// The whole number that is kept as `number`.
fn whole(number: u64) -> f64 {
    f64::from_bits(number | MAGIC_BITS) - MAGIC
}

/// The values of all `numbers`. Apart from its callers, so that this loop is always one of vector instructions: the
/// compiler gives that up within larger functions.
#[inline(never)]
fn values_of<T: Fixed, F: Floating>(numbers: &[u64], scale: Scale, values: &mut [T]) {
    for (value, number) in values.iter_mut().zip(numbers) {
        *value = T::from_bits(F::bits(scale.to_value(*number)));
    }
}

/// Values of whole numbers that are distances from `origin`: up to 2^52 the sum of the two is exact.
#[derive(Clone, Copy)]
struct Near {
    origin: f64,
    scale: Scale,
}

impl Near {
    #[inline(always)]
    fn value(&self, distance: i32) -> f64 {
        (self.origin + f64::from(distance)) * self.scale.back_up * self.scale.back_down
    }
}

/// The values of running sums of `deltas`, as distances, which these become. In steps: from memory distances are made floats
/// without the shuffles that sums keep the processor busy with.
#[inline(always)]
fn summed_values<S: Simd>(simd: S, deltas: &mut [i32; VECTOR], near: Near, values: &mut [f64]) {
    let mut sums = Sums::new(simd);
    for (values, distances) in values.chunks_mut(STEP).zip(deltas.as_chunks_mut::<STEP>().0) {
        for distances in distances.as_chunks_mut().0 {
            *distances = sums.next(*distances);
        }
        for (value, distance) in values.iter_mut().zip(distances) {
            *value = near.value(*distance);
        }
    }
}

widest! {
    /// The values of distances.
    fn near_values(distances: &[u32], near: Near, values: &mut [f64]) {
        for (value, distance) in values.iter_mut().zip(distances) {
            *value = near.value(distance.cast_signed());
        }
    }
}

/// What makes all values of a block of whole numbers, wherever these are kept.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Scaled {
    float: Float,
    exponents: Exponents,
    /// Where exceptions are, rising, and their bits.
    exceptions: Vec<(u16, u64)>,
}

impl Scaled {
    /// `values` with the same exponents, and their numbers.
    pub(super) fn of(values: &[u64], float: Float) -> (Self, Vec<u64>) {
        let exponents = choices(values, float).first().copied().unwrap_or(Exponents { e: 0, f: 0 });
        let mut numbers = vec![0; values.len()];
        let exceptions = exponents.numbers(values, float, &mut numbers);
        let exceptions = exceptions.iter().map(|(position, _)| (small(*position), values[*position]));
        (Self { float, exponents, exceptions: exceptions.collect() }, numbers)
    }

    pub(super) fn exceptions(&self) -> usize {
        self.exceptions.len()
    }

    /// Bytes in a header.
    pub(super) fn header_bytes(&self) -> usize {
        4 + self.exceptions.len() * (2 + self.float.width())
    }

    pub(super) fn encode_header(&self, bytes: &mut Vec<u8>) {
        bytes.extend([self.exponents.e, self.exponents.f]);
        bytes.extend(small(self.exceptions.len()).to_le_bytes());
        bytes.extend(self.exceptions.iter().flat_map(|(position, _)| position.to_le_bytes()));
        for (_, value) in &self.exceptions {
            bytes.extend(&value.to_le_bytes()[..self.float.width()]);
        }
    }

    pub(super) fn parse_header(
        float: Float,
        rows: usize,
        from: &mut Parts<'_>,
    ) -> Result<Self, &'static str> {
        let List { exponents, positions, exceptions } = List::parse(float, rows, from)?;
        let positions = positions.iter().map(|position| u16::from_le_bytes(*position));
        let exceptions = exceptions.chunks_exact(float.width()).map(exception);
        Ok(Self { float, exponents, exceptions: positions.zip(exceptions).collect() })
    }

    /// The values of `numbers`, which are those of the rows from `row` on.
    pub(super) fn values<T: Fixed>(
        &self,
        row: usize,
        numbers: &[u64],
        values: &mut [T],
    ) -> Result<(), &'static str> {
        if numbers.iter().fold(0, |ored, number| ored | number) > pack::mask(NUMBER_BITS) {
            return Err(ABOVE);
        }
        match self.float {
            Float::F64 => values_of::<T, f64>(numbers, self.exponents.scale(), values),
            Float::F32 => values_of::<T, f32>(numbers, self.exponents.scale(), values),
        }
        let first = self.exceptions.partition_point(|(position, _)| usize::from(*position) < row);
        let listed =
            self.exceptions[first..].iter().map(|(position, bits)| (usize::from(*position) - row, bits));
        for (at, bits) in listed.take_while(|(at, _)| *at < numbers.len()) {
            values[at] = T::from_bits(*bits);
        }
        Ok(())
    }

    /// The value of row `row`, whose number is `number`, as bits.
    pub(super) fn value(&self, row: usize, number: u64) -> Result<u64, &'static str> {
        // Of exceptions too: a scan looks at all numbers at once, and what it refuses is to be read nowhere.
        if number > pack::mask(NUMBER_BITS) {
            return Err(ABOVE);
        }
        match self.exceptions.binary_search_by_key(&row, |(position, _)| usize::from(*position)) {
            Ok(index) => Ok(self.exceptions[index].1),
            Err(_) => Ok(self.float.bits(self.exponents.to_value(number))),
        }
    }
}

const ABOVE: &str = "a number of a decimal is above 2^52";

/// The bits that these bytes are.
fn exception(bytes: &[u8]) -> u64 {
    let mut bits = [0; 8];
    bits[..bytes.len()].copy_from_slice(bytes);
    u64::from_le_bytes(bits)
}

/// What stands before numbers.
struct List<'a> {
    exponents: Exponents,
    positions: &'a [[u8; 2]],
    exceptions: &'a [u8],
}

impl<'a> List<'a> {
    #[inline(always)]
    fn parse(float: Float, count: usize, from: &mut Parts<'a>) -> Result<Self, &'static str> {
        let (e, f, exceptions) = (from.u8()?, from.u8()?, from.u16()?.into());
        if usize::from(e) >= EXPONENTS || f > e {
            return Err("the exponents of decimals are impossible");
        }
        let positions = from.positions(exceptions, count)?;
        let exceptions = from.bytes(exceptions * float.width())?;
        Ok(Self { exponents: Exponents { e, f }, positions, exceptions })
    }
}

/// A vector of decimals as it lies in its bytes.
#[derive(Debug)]
pub(super) struct Decimals<'a> {
    float: Float,
    exponents: Exponents,
    positions: &'a [[u8; 2]],
    exceptions: &'a [u8],
    numbers: Numbers<'a>,
}

impl<'a> Decimals<'a> {
    #[inline(always)]
    pub(super) fn parse(float: Float, count: usize, mut from: Parts<'a>) -> Result<Self, &'static str> {
        let List { exponents, positions, exceptions } = List::parse(float, count, &mut from)?;
        let numbers = Numbers::parse(count, from)?;
        Ok(Self { float, exponents, positions, exceptions, numbers })
    }

    fn exception(&self, index: usize) -> u64 {
        let width = self.float.width();
        exception(&self.exceptions[index * width..][..width])
    }

    /// All values; `numbers` is room to work in.
    pub(super) fn decode<T: Fixed>(
        &self,
        numbers: &mut [u64; VECTOR],
        values: &mut [T],
    ) -> Result<(), &'static str> {
        if self.float == Float::F64 && self.decode_short(numbers, values).is_some() {
            self.put_exceptions(values);
            return Ok(());
        }
        self.numbers.decode(numbers);
        self.numbers.check(numbers, pack::mask(NUMBER_BITS))?;
        match self.float {
            Float::F64 => values_of::<T, f64>(numbers, self.exponents.scale(), values),
            Float::F32 => values_of::<T, f32>(numbers, self.exponents.scale(), values),
        }
        self.put_exceptions(values);
        Ok(())
    }

    /// The same of an `f64`, where the numbers lie close together: in half the room.
    fn decode_short<T: Fixed>(&self, numbers: &mut [u64; VECTOR], values: &mut [T]) -> Option<()> {
        let short = bytemuck::cast_slice_mut::<u64, u32>(numbers).first_chunk_mut()?;
        let (values, kind) = (T::floats(values)?, self.numbers.decode_short(pack::mask(NUMBER_BITS), short)?);
        let near = |origin| Near { origin: whole(origin), scale: self.exponents.scale() };
        match kind {
            Narrow::Distances { origin } => near_values(short, near(origin), values),
            Narrow::Deltas { origin } => {
                let deltas = bytemuck::cast_mut(short);
                dispatch!(Level::new(), simd => summed_values(simd, deltas, near(origin), values));
            }
        }
        Some(())
    }

    fn put_exceptions<T: Fixed>(&self, values: &mut [T]) {
        for (index, position) in self.positions.iter().enumerate() {
            values[usize::from(u16::from_le_bytes(*position))] = T::from_bits(self.exception(index));
        }
    }

    /// The bits of value `index` alone.
    pub(super) fn value(&self, index: usize) -> Result<u64, &'static str> {
        let number = self.numbers.number(index);
        // As above: of exceptions too.
        if number > pack::mask(NUMBER_BITS) {
            return Err(ABOVE);
        }
        match self.positions.binary_search_by_key(&index, |position| u16::from_le_bytes(*position).into()) {
            Ok(exception) => Ok(self.exception(exception)),
            Err(_) => Ok(self.float.bits(self.exponents.to_value(number))),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::codec::sums::tests::levels;

    #[test]
    fn values_of_sums_are_the_same_on_every_machine() {
        let deltas: [i32; VECTOR] = std::array::from_fn(|at| [3, -700, 0, 1 << 19, -(1 << 19)][at % 5]);
        let near = Near { origin: 1e15, scale: Exponents { e: 14, f: 12 }.scale() };
        let mut sum = 0;
        let expected = deltas.map(|delta| {
            sum += delta;
            near.value(sum).to_bits()
        });
        for level in levels() {
            for (count, start) in
                (0..40).chain(1000..=VECTOR).flat_map(|count| [(count, 0), (count, count % 9)])
            {
                let mut values = vec![f64::NAN; start + count];
                let mut deltas = deltas;
                dispatch!(level, simd => summed_values(simd, &mut deltas, near, &mut values[start..]));
                let found = values[start..].iter().map(|value| value.to_bits());
                assert!(
                    found.eq(expected[..count].iter().copied()),
                    "{count} values from {start} on, {level:?}"
                );
                assert!(values[..start].iter().all(|value| value.is_nan()));
            }
        }
    }
}
