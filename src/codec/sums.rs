//! Running sums: each of a vector's numbers becomes the sum of all up to it.
//!
//! Done one by one, every sum waits for the one before it. Where several numbers fit a register they are summed up within
//! it in a few steps, and only the carry from register to register is left to wait for. `fearless_simd` makes functions of
//! the instructions, on each machine its own; written as plain loops they are not found by the compiler, which takes such
//! sums apart into single additions.
//!
//! Not here: what the numbers are (`numbers`), what becomes of sums in registers (`decimals`).

use fearless_simd::prelude::*;
use fearless_simd::{i32x16, u8x64};

use super::VECTOR;

/// Of 64-bit numbers; apart from its callers, so that it is compiled well wherever it is called.
#[inline(never)]
pub(super) fn sum_up(numbers: &mut [u64; VECTOR]) {
    let mut sum = 0_u64;
    for number in numbers {
        sum = sum.wrapping_add(*number);
        *number = sum;
    }
}

/// So many 32-bit numbers are summed up at a time.
const LANES: usize = 16;

/// For each byte of a block of four numbers the place of that byte in the last one.
const LAST: [u8; 4 * LANES] = {
    let (mut last, mut byte) = ([12; 4 * LANES], 0);
    while byte < last.len() {
        last[byte] += [0, 1, 2, 3][byte % 4];
        byte += 1;
    }
    last
};

/// The running sums of 32-bit numbers, in registers: for code that is compiled for `S`.
pub(super) struct Sums<S: Simd> {
    simd: S,
    /// Of all numbers so far, in each lane.
    carry: i32x16<S>,
    last: u8x64<S>,
}

impl<S: Simd> Sums<S> {
    /// Before the first number.
    #[inline(always)]
    pub(super) fn new(simd: S) -> Self {
        Self { simd, carry: i32x16::splat(simd, 0), last: u8x64::from_slice(simd, &LAST) }
    }

    /// The sums up to each of the next numbers.
    #[inline(always)]
    pub(super) fn next(&mut self, numbers: [i32; LANES]) -> [i32; LANES] {
        let zeros = i32x16::splat(self.simd, 0);
        let sums: i32x16<S> = numbers.simd_into(self.simd);
        // Within each block of four.
        let sums = sums + zeros.slide_within_blocks::<3>(sums);
        let sums = sums + zeros.slide_within_blocks::<2>(sums);
        // With the block before it, then with all before that.
        let ends = self.simd.swizzle_dyn_within_blocks_i32x16(sums, self.last);
        let before = zeros.slide::<12>(ends);
        let (sums, ends) = (sums + before, ends + before);
        let before = zeros.slide::<8>(ends);
        let (sums, ends) = (sums + (before + self.carry), ends + before);
        let (_, ends) = ends.split();
        let (_, ends) = ends.split();
        self.carry += i32x16::block_splat(ends);
        sums.into()
    }
}

#[cfg(test)]
pub(super) mod tests {
    use fearless_simd::{Level, dispatch};

    use super::*;

    /// What this machine has, and less.
    pub(in crate::codec) fn levels() -> Vec<Level> {
        let best = Level::new();
        let mut levels = vec![best, Level::baseline()];
        #[cfg(target_arch = "x86_64")]
        levels.extend(
            [best.as_avx2().map(Level::Avx2), best.as_sse4_2().map(Level::Sse4_2)].into_iter().flatten(),
        );
        levels
    }

    #[test]
    fn each_number_becomes_the_sum_of_all_up_to_it() {
        // Whatever the numbers are: small, at the ends of their range, and such that sums wrap.
        let patterns: [fn(u64) -> u64; 4] = [
            |_| 1,
            |at| if at.is_multiple_of(3) { u64::MAX } else { 2 },
            |at| at.wrapping_mul(0x9E37_79B9_7F4A_7C15),
            |at| if at == 777 { 1 << 31 | 1 << 63 } else { 0 },
        ];
        for pattern in patterns {
            let long: [u64; VECTOR] = std::array::from_fn(|at| pattern(at as u64));
            let short: [i32; VECTOR] = long.map(|number| u32::try_from(number >> 32).unwrap().cast_signed());
            let mut sums = long;
            sum_up(&mut sums);
            let mut sum = 0_u64;
            for at in 0..VECTOR {
                sum = sum.wrapping_add(long[at]);
                assert_eq!(sums[at], sum, "number {at}");
            }
            for level in levels() {
                let sums = dispatch!(level, simd => short_sums(simd, &short));
                let mut sum = 0_i32;
                for at in 0..VECTOR {
                    sum = sum.wrapping_add(short[at]);
                    assert_eq!(sums[at], sum, "number {at}, {level:?}");
                }
            }
        }
    }

    fn short_sums<S: Simd>(simd: S, numbers: &[i32; VECTOR]) -> Vec<i32> {
        let mut running = Sums::new(simd);
        let mut sums = Vec::new();
        for numbers in numbers.as_chunks().0 {
            sums.extend(running.next(*numbers));
        }
        sums
    }
}
