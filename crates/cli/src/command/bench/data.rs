//! The bench set: the same rows on every machine, from one seed.
//!
//! Keys 1 ms apart in nanoseconds, or in its irregular twin 1 ms on average, as events that do not know of each other
//! are (Poisson); a and b walk from 100 and 50 in normal steps of 0.01, rounded to 2 decimals;
//! c is 0..999 as a float; d is 0..100 with 1 decimal.
//!
//! Not here: what is measured with it.

use tidelog::{Column, KeyUnit, Kind, Result, Schema, Values};

/// The first key, and the step to the next.
const FIRST_KEY: u64 = 1_700_000_000_000_000_000;
const STEP: u64 = 1_000_000;

/// How far keys are apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Gaps {
    Even,
    Poisson,
}

/// Makes the rows, front to back.
pub(crate) struct Rows {
    random: SplitMix64,
    /// Of gaps: the values are those of the other twin.
    gaps: Option<SplitMix64>,
    key: u64,
    a: f64,
    b: f64,
}

/// Some rows, column by column.
#[derive(Default)]
pub(crate) struct Batch {
    pub(crate) keys: Vec<u64>,
    pub(crate) columns: [Vec<f64>; 4],
}

impl Batch {
    /// As a writer takes them.
    pub(crate) fn values(&self) -> [Values<'_>; 4] {
        self.columns.each_ref().map(|column| Values::F64(column))
    }
}

/// The schema of the bench set.
pub(crate) fn schema() -> Result<Schema> {
    let columns = ["a", "b", "c", "d"].map(|name| Column::new(name, Kind::F64));
    Ok(Schema::new(columns)?.key_unit(KeyUnit::Nanoseconds))
}

impl Rows {
    /// From the beginning.
    pub(crate) fn new(gaps: Gaps) -> Self {
        let gaps = (gaps == Gaps::Poisson).then_some(SplitMix64(2));
        Self { random: SplitMix64(1), gaps, key: FIRST_KEY, a: 100.0, b: 50.0 }
    }

    /// From one key to the next.
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "far below 2^53, above zero")]
    #[expect(clippy::cast_precision_loss, reason = "a step is exact")]
    fn gap(&mut self) -> u64 {
        match &mut self.gaps {
            None => STEP,
            Some(random) => (-random.fraction().ln() * STEP as f64).round() as u64,
        }
    }

    /// The first key, and the step to the next where gaps are even.
    pub(crate) fn keys() -> (u64, u64) {
        (FIRST_KEY, STEP)
    }

    /// The next `count` rows, in place of what `batch` held.
    pub(crate) fn fill(&mut self, batch: &mut Batch, count: usize) {
        batch.keys.clear();
        batch.columns.iter_mut().for_each(Vec::clear);
        for _ in 0..count {
            batch.keys.push(self.key);
            self.key += self.gap();
            let (x, y) = self.random.normals();
            self.a += x * 0.01;
            self.b += y * 0.01;
            let c = self.random.below(1000);
            let d = self.random.below(1001);
            for (column, value) in batch.columns.iter_mut().zip([
                (self.a * 100.0).round() / 100.0,
                (self.b * 100.0).round() / 100.0,
                c,
                d / 10.0,
            ]) {
                column.push(value);
            }
        }
    }
}

/// Sebastiano Vigna's splitmix64.c: one 64-bit state, every seed as good as another.
pub(crate) struct SplitMix64(pub(crate) u64);

impl SplitMix64 {
    pub(crate) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        z ^ (z >> 31)
    }

    /// A whole number below `bound`, as a float.
    #[expect(clippy::cast_precision_loss, reason = "bounds are small")]
    fn below(&mut self, bound: u64) -> f64 {
        (self.next() % bound) as f64
    }

    /// In 0..1, never 0.
    #[expect(clippy::cast_precision_loss, reason = "53 bits are exact")]
    fn fraction(&mut self) -> f64 {
        ((self.next() >> 11) + 1) as f64 / (1_u64 << 53) as f64
    }

    /// Two independent normal values (Box and Muller, 1958).
    fn normals(&mut self) -> (f64, f64) {
        let radius = (-2.0 * self.fraction().ln()).sqrt();
        let angle = std::f64::consts::TAU * self.fraction();
        (radius * angle.cos(), radius * angle.sin())
    }
}
