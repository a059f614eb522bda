//! The different values of a block, and codes in their place.
//!
//! Not here: how values and codes are encoded (`block`, `numbers`).

use super::decimals::spread;
use super::parts::small;

/// The values of a block, each once, rising, and for each row the place of its value among them.
pub(super) struct Dictionary {
    pub(super) entries: Vec<u64>,
    pub(super) codes: Vec<u64>,
}

/// So many values of a block say how many different ones there may be.
const SAMPLE: usize = 1024;
/// Places of the table, a power of two above twice the rows of a block.
const PLACES_LOG: u32 = 15;

/// About how many different values there are: as many as make so many equal pairs in a sample.
pub(super) fn estimate(values: &[u64]) -> usize {
    let mut sample: Vec<u64> = spread(values, SAMPLE).collect();
    let len = sample.len();
    sample.sort_unstable();
    sample.dedup();
    let (different, equal) = (sample.len(), len - sample.len());
    // Few equal ones among many: a birthday's odds. Many: most have been seen.
    let by_chance = len * len / (2 * equal).max(1);
    if equal * 4 < len { by_chance.max(different).min(values.len()) } else { different + different / 8 }
}

impl Dictionary {
    /// Of `values`, at most a block of them.
    pub(super) fn of(values: &[u64]) -> Self {
        let mut table = vec![u16::MAX; 1 << PLACES_LOG];
        // Each value in the order in which it is seen first, with the number of that.
        let mut seen: Vec<(u64, usize)> = Vec::new();
        let mut numbers: Vec<usize> = Vec::with_capacity(values.len());
        for value in values {
            // Fibonacci hashing: the highest bits of the product are the well mixed ones.
            let mixed = (value ^ value >> 32).wrapping_mul(0x9E37_79B9_7F4A_7C15) >> (64 - PLACES_LOG);
            let mut place = mixed as usize;
            let number = loop {
                match seen.get(usize::from(table[place])) {
                    Some((known, number)) if known == value => break *number,
                    Some(_) => place = (place + 1) % table.len(),
                    None => break seen.len(),
                }
            };
            if number == seen.len() {
                table[place] = small(number);
                seen.push((*value, number));
            }
            numbers.push(number);
        }
        seen.sort_unstable();
        let mut ranks = vec![0; seen.len()];
        seen.iter().zip(0_u64..).for_each(|((_, number), rank)| ranks[*number] = rank);
        let codes = numbers.into_iter().map(|number| ranks[number]).collect();
        Self { entries: seen.into_iter().map(|(entry, _)| entry).collect(), codes }
    }
}
