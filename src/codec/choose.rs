//! Which codec a block gets: what can be told from all values at once is looked for, the rest is tried on a sample.
//!
//! Not here: the form of the numbers within a vector (`numbers`), which each one chooses for itself.

use super::block::Codec;
use super::dictionary::{self, Dictionary};
use super::fixed::Float;
use super::split::Split;
use super::{VECTOR, decimals};
use crate::schema::Kind;

/// The codec of a block; of a dictionary what there is to encode.
pub(super) enum Choice {
    Codec(Codec),
    Dictionary(Dictionary),
}

/// A dictionary makes every value cost a look into a table: it must save one part in so many.
const DICTIONARY_GAIN: usize = 16;
/// So many values say whether they have a common divisor.
const DIVISOR_SAMPLE: usize = 16;

/// The codec for `values`, a block of them, as bits.
pub(super) fn choose(values: &[u64], kind: Kind) -> Choice {
    if let Some(stride) = stride(values) {
        return Choice::Codec(stride);
    }
    let (tried, plain) = tried_plain(values, kind);
    let bytes = tried * values.len() / trial_rows(values);
    let different = dictionary::estimate(values);
    let code_bits = (usize::BITS - different.leading_zeros()) as usize;
    let entry_bytes = bytes.div_ceil(values.len()).min(8);
    let guess = values.len() * code_bits / 8 + different * entry_bytes;
    let enough = bytes - bytes / DICTIONARY_GAIN;
    if guess >= enough {
        return Choice::Codec(plain);
    }
    let dictionary = Dictionary::of(values);
    let entries = &dictionary.entries;
    let of_entries = tried_plain(entries, kind).0 * entries.len() / trial_rows(entries);
    let codec = Codec::Dictionary { entries: Vec::new() };
    let of_codes = trial(&codec, &dictionary.codes, kind) * values.len() / trial_rows(values);
    if of_entries + of_codes < enough { Choice::Dictionary(dictionary) } else { Choice::Codec(plain) }
}

/// The codec for `values` where they are no dictionary: stride, integers, or one for floats.
pub(super) fn plain(values: &[u64], kind: Kind) -> Codec {
    stride(values).unwrap_or_else(|| tried_plain(values, kind).1)
}

/// The codec for `values` that are no stride, and bytes of the vectors that were tried with it.
fn tried_plain(values: &[u64], kind: Kind) -> (usize, Codec) {
    let tried = |codec: Codec| (trial(&codec, values, kind), codec);
    let Some(float) = Float::of(kind) else { return tried(integers(values)) };
    let decimals = tried(Codec::Decimals { choices: decimals::choices(values, float) });
    // Decimals that take more than half the bits are long, or none.
    if decimals.0 * 2 < trial_rows(values) * float.width() {
        return decimals;
    }
    let others = [Codec::Split(Split::choose(values, float)), integers(values)].map(tried);
    others.into_iter().fold(decimals, |best, next| if next.0 < best.0 { next } else { best })
}

fn stride(values: &[u64]) -> Option<Codec> {
    let first = values.first().copied().unwrap_or(0);
    let step = values.get(1).map_or(0, |second| second.wrapping_sub(first));
    let regular = values.windows(2).all(|pair| pair[1].wrapping_sub(pair[0]) == step);
    regular.then_some(Codec::Stride { first, step })
}

/// From the lowest value up, in steps of what divides every difference.
pub(super) fn integers(values: &[u64]) -> Codec {
    let origin = values.iter().copied().min().unwrap_or(0);
    let divide = |divisor: u64, value: u64| match (divisor, value - origin) {
        (1, _) => 1,
        (0, distance) => distance,
        (divisor, distance) if distance % divisor == 0 => divisor,
        (divisor, distance) => gcd(divisor, distance),
    };
    // Most values have none, which few of them show.
    let few = decimals::spread(values, DIVISOR_SAMPLE).fold(0, divide);
    let divisor = if few == 1 { 1 } else { values.iter().copied().fold(few, divide).max(1) };
    Codec::Integers { origin, divisor }
}

fn gcd(mut one: u64, mut other: u64) -> u64 {
    while other != 0 {
        (one, other) = (other, one % other);
    }
    one
}

/// Rows of the vectors that are tried.
fn trial_rows(values: &[u64]) -> usize {
    tried(values).iter().map(|vector| vector.len()).sum()
}

/// Bytes of the vectors that are tried.
fn trial(codec: &Codec, values: &[u64], kind: Kind) -> usize {
    let mut bytes = Vec::new();
    tried(values).iter().for_each(|vector| codec.encode_vector(vector, kind, &mut bytes));
    bytes.len()
}

/// Two vectors of a whole block stand for all; of a few all are tried.
fn tried(values: &[u64]) -> Vec<&[u64]> {
    let mut vectors: Vec<&[u64]> = values.chunks(VECTOR).collect();
    if vectors.len() > 3 {
        vectors = vec![vectors[vectors.len() / 4], vectors[vectors.len() * 3 / 4]];
    }
    vectors
}
