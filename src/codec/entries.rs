//! The different values of a block of bytes or text, and codes in their place.
//!
//! Not here: the same for values of fixed width (`dictionary`), how entries and codes are encoded (`bytes`).

use std::collections::HashMap;

/// The values of a block, each once, rising, and for each row the place of its value among them.
pub(super) struct Entries<'a> {
    pub(super) values: Vec<&'a [u8]>,
    pub(super) codes: Vec<u64>,
}

/// Of the rows of a block one in so many may have a value that no row before it has.
const ROWS_A_VALUE: usize = 2;

impl<'a> Entries<'a> {
    /// Of the values that end at `ends` in `data`; none where too many are different.
    pub(super) fn of(ends: &[u64], data: &'a [u8]) -> Option<Self> {
        // Each value in the order in which it is seen first, with the number of that.
        let mut seen: HashMap<&[u8], usize> = HashMap::new();
        let (mut numbers, mut rest, mut start) = (Vec::with_capacity(ends.len()), data, 0);
        for end in ends {
            let len = usize::try_from(end - start)
                .unwrap_or_else(|_| unreachable!("values are as long as they are in memory"));
            let (value, behind) = rest.split_at(len);
            (rest, start) = (behind, *end);
            let next = seen.len();
            numbers.push(*seen.entry(value).or_insert(next));
            if seen.len() * ROWS_A_VALUE > ends.len() {
                return None;
            }
        }
        let mut sorted: Vec<(&[u8], usize)> = seen.into_iter().collect();
        sorted.sort_unstable();
        let mut ranks = vec![0; sorted.len()];
        sorted.iter().zip(0_u64..).for_each(|((_, number), rank)| ranks[*number] = rank);
        let codes = numbers.into_iter().map(|number| ranks[number]).collect();
        Some(Self { values: sorted.into_iter().map(|(value, _)| value).collect(), codes })
    }
}
