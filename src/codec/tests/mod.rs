//! Tests of the codecs: what comes back, how small it is, and what anybody's bytes may not do.

#![expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "samples are small")]

use super::block::{self, Block, Scratch};
use super::fixed::Fixed;
use super::{BLOCK_ROWS, Tier, VECTOR};

mod bytes;
mod hostile;
mod returns;
mod sizes;

/// The generator of samples: same seed, same values.
struct SplitMix64(u64);

impl SplitMix64 {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        z ^ (z >> 31)
    }

    fn below(&mut self, end: usize) -> usize {
        (self.next() % end.max(1) as u64) as usize
    }

    /// From 0 to below 1.
    fn unit(&mut self) -> f64 {
        (self.next() >> 11) as f64 / (1_u64 << 53) as f64
    }

    /// Mean 0, standard deviation 1 (Box and Muller).
    fn normal(&mut self) -> f64 {
        let radius = (-2.0 * (1.0 - self.unit()).ln()).sqrt();
        radius * (std::f64::consts::TAU * self.unit()).cos()
    }
}

/// A walk from `start` with normal steps of `sigma`, rounded to `tens`ths.
fn walk(start: f64, sigma: f64, tens: f64, rows: usize, random: &mut SplitMix64) -> Vec<f64> {
    let mut at = start;
    let mut step = || {
        at += sigma * random.normal();
        (at * tens).round() / tens
    };
    (0..rows).map(|_| step()).collect()
}

/// A block that is to be decoded fast.
fn encode<T: Fixed>(values: &[T]) -> Vec<u8> {
    block::encode(values, Tier::Fast)
}

/// All values of a block, each vector from its own bytes alone.
fn decode<T: Fixed>(block: &Block, bytes: &[u8]) -> Result<Vec<T>, crate::error::Malformed> {
    let rows = (0..block.vectors()).map(|index| block.rows(index)).sum();
    let (mut values, mut scratch) = (vec![T::ZERO; rows], Scratch::default());
    for (index, values) in values.chunks_mut(VECTOR).enumerate() {
        block.decode_vector(index, vector(block, bytes, index), &mut scratch, values)?;
    }
    Ok(values)
}

/// The bytes of a vector, as far as they are there.
fn vector<'a>(block: &Block, bytes: &'a [u8], index: usize) -> &'a [u8] {
    let range = block.vector(index);
    &bytes[range.start.min(bytes.len())..range.end.min(bytes.len())]
}

fn bits<T: Fixed>(values: &[T]) -> Vec<u64> {
    values.iter().map(|value| value.bits()).collect()
}
