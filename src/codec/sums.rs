//! Running sums: each of a vector's numbers becomes the sum of all up to it.
//!
//! Done one by one, every sum waits for the one before it. Where four numbers fit a register they are summed up within
//! it in two steps, and only the carry from four to four is left to wait for: less than half the time. `safe_arch` makes
//! functions of the instructions that every 64-bit x86 has; written as plain loops they are not found by the compiler,
//! which takes such sums apart into single additions.
//!
//! Not here: what the numbers are (`numbers`).

use super::VECTOR;

/// Of 64-bit numbers; apart from its callers, as the next one, so that it is compiled well wherever it is called.
#[inline(never)]
pub(super) fn sum_up(numbers: &mut [u64; VECTOR]) {
    let mut sum = 0_u64;
    for number in numbers {
        sum = sum.wrapping_add(*number);
        *number = sum;
    }
}

/// Of 32-bit numbers.
#[cfg(all(target_arch = "x86_64", target_feature = "sse2"))]
#[inline(never)]
pub(super) fn sum_up_short(numbers: &mut [u32; VECTOR]) {
    use safe_arch::{
        add_i32_m128i as add, byte_shl_imm_u128_m128i as shift_up, m128i, shuffle_ai_f32_all_m128i as pick,
        zeroed_m128i,
    };

    const LAST_EVERYWHERE: i32 = 0b11_11_11_11;
    let within = |four: [u32; 4]| {
        let numbers = m128i::from(four);
        let pairs = add(numbers, shift_up::<4>(numbers));
        add(pairs, shift_up::<8>(pairs))
    };
    let mut carry = zeroed_m128i();
    for eight in numbers.as_chunks_mut::<4>().0.as_chunks_mut::<2>().0 {
        let [low, high] = eight.map(within);
        let high = add(high, pick::<LAST_EVERYWHERE>(low));
        *eight = [add(low, carry).into(), add(high, carry).into()];
        carry = add(carry, pick::<LAST_EVERYWHERE>(high));
    }
}

/// Of 32-bit numbers.
#[cfg(not(all(target_arch = "x86_64", target_feature = "sse2")))]
#[inline(never)]
pub(super) fn sum_up_short(numbers: &mut [u32; VECTOR]) {
    let mut sum = 0_u32;
    for number in numbers {
        sum = sum.wrapping_add(*number);
        *number = sum;
    }
}

#[cfg(test)]
mod tests {
    #[test]
    fn each_number_becomes_the_sum_of_all_up_to_it() {
        use super::{VECTOR, sum_up, sum_up_short};
        // Whatever the numbers are: small, at the ends of their range, and such that sums wrap.
        let patterns: [fn(u64) -> u64; 4] = [
            |_| 1,
            |at| if at.is_multiple_of(3) { u64::MAX } else { 2 },
            |at| at.wrapping_mul(0x9E37_79B9_7F4A_7C15),
            |at| if at == 777 { 1 << 31 | 1 << 63 } else { 0 },
        ];
        for pattern in patterns {
            let long: [u64; VECTOR] = std::array::from_fn(|at| pattern(at as u64));
            let short: [u32; VECTOR] = long.map(|number| u32::try_from(number >> 32).unwrap());
            let (mut sums, mut short_sums) = (long, short);
            sum_up(&mut sums);
            sum_up_short(&mut short_sums);
            let (mut sum, mut short_sum) = (0_u64, 0_u32);
            for at in 0..VECTOR {
                sum = sum.wrapping_add(long[at]);
                short_sum = short_sum.wrapping_add(short[at]);
                assert_eq!((sums[at], short_sums[at]), (sum, short_sum), "number {at}");
            }
        }
    }
}
