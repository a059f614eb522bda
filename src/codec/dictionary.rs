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
/// Places of a table, a power of two: at least twice the rows of a block, or the values of a sample, which has less than
/// 2 x [`SAMPLE`].
const SAMPLE_PLACES: u32 = 12;
const BLOCK_PLACES: u32 = 15;

/// About how many different values there are: as many as make so many equal pairs in a sample.
pub(super) fn estimate(values: &[u64]) -> usize {
    let sample = spread(values, SAMPLE);
    let (len, mut table) = (sample.len(), Table::new(SAMPLE_PLACES));
    sample.for_each(|value| {
        table.number(value);
    });
    let (different, equal) = (table.seen.len(), len - table.seen.len());
    // Few equal ones among many: a birthday's odds. Many: most have been seen.
    let by_chance = len * len / (2 * equal).max(1);
    if equal * 4 < len { by_chance.max(different).min(values.len()) } else { different + different / 8 }
}

/// Values by the order in which each was seen first.
struct Table {
    /// How many places there are, as a power of two.
    places_log: u32,
    places: Vec<u16>,
    seen: Vec<u64>,
}

impl Table {
    fn new(places_log: u32) -> Self {
        Self { places_log, places: vec![u16::MAX; 1 << places_log], seen: Vec::new() }
    }

    /// How many different ones were seen before this was.
    fn number(&mut self, value: u64) -> usize {
        // Fibonacci hashing: the highest bits of the product are the well mixed ones.
        let mixed = (value ^ value >> 32).wrapping_mul(0x9E37_79B9_7F4A_7C15) >> (64 - self.places_log);
        let mut place = usize::try_from(mixed).unwrap_or(0);
        loop {
            let number = usize::from(self.places[place]);
            match self.seen.get(number) {
                Some(known) if *known == value => return number,
                Some(_) => place = (place + 1) % self.places.len(),
                None => break,
            }
        }
        self.places[place] = small(self.seen.len());
        self.seen.push(value);
        self.seen.len() - 1
    }
}

impl Dictionary {
    /// Of `values`, at most a block of them.
    pub(super) fn of(values: &[u64]) -> Self {
        let mut table = Table::new(BLOCK_PLACES);
        let numbers: Vec<usize> = values.iter().map(|value| table.number(*value)).collect();
        let mut seen: Vec<(u64, usize)> = table.seen.into_iter().zip(0..).collect();
        seen.sort_unstable();
        let mut ranks = vec![0; seen.len()];
        seen.iter().zip(0_u64..).for_each(|((_, number), rank)| ranks[*number] = rank);
        let codes = numbers.into_iter().map(|number| ranks[number]).collect();
        Self { entries: seen.into_iter().map(|(entry, _)| entry).collect(), codes }
    }
}
