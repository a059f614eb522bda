//! Values to bytes and back.
//!
//! In raw files they stand as they are ([`raw`]). In sealed segments the values of up to 16,384 rows of a column are a
//! [`block`], in vectors of 1,024 that are decoded each alone: `choose` finds the codec, and below it are, each in
//! terms of the next, `dictionary`, `decimals` and `split` (floats), `numbers` (lines and differences, summed up by
//! `sums`), `frame` (bases and patches), and `pack` (bits in lanes). They work on values as `fixed` makes bits of them.
//! Values of any length are [`mod@bytes`]: such numbers, and data in frames (`data`), of which `entries` finds the few
//! different ones.
//! What is to be dense ([`Tier`]) may be a page of `pco` instead.
//!
//! Bytes to decode may be anybody's: they are refused with a reason, never a panic, and cost no more than a block.
//!
//! Not here: checksums and where things lie in files (`format`), which file a value goes to (`pending`, `scan`).

pub(crate) mod block;
pub(crate) mod bytes;
mod choose;
mod data;
mod decimals;
mod dictionary;
mod entries;
pub(crate) mod fixed;
mod frame;
mod numbers;
mod pack;
mod parts;
mod pco;
pub(crate) mod raw;
mod split;
mod sums;
pub(crate) mod widest;

/// Rows of a vector; the last one of a block may have fewer.
pub(crate) const VECTOR: usize = 1024;
/// The most rows of a block.
pub(crate) const BLOCK_ROWS: usize = 16 * VECTOR;

/// How sealed segments are encoded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Tier {
    /// To be decoded fast: many values a nanosecond, and each one nearly alone. As sealing does it.
    Fast,
    /// To be small, for what is kept long: encoded and decoded at about a tenth of that speed, a block at a time. Where
    /// it does not get smaller it is as for `Fast`.
    Dense,
}

/// A field of a block's header, as a dump shows it.
#[derive(Clone, Debug)]
pub(crate) struct HeaderField {
    pub(crate) name: &'static str,
    pub(crate) bytes: usize,
    pub(crate) value: String,
}

impl HeaderField {
    fn new(name: &'static str, bytes: usize, value: impl ToString) -> Self {
        Self { name, bytes, value: value.to_string() }
    }
}

#[cfg(test)]
mod tests;
