//! Numbers of 0 to 64 bits, packed without gaps, in lanes.
//!
//! Up to 1,024 numbers are dealt out to lanes like cards: 32 lanes of 32-bit words for widths up to 32, 16 lanes
//! of 64-bit words above. Number i is in lane i mod lanes, and each lane is a string of bits, lowest first. The
//! first word of every lane is followed by the second word of every lane, and so on: a *line* of 128 bytes.
//! So one instruction shifts several lanes at once, numbers come out in their order, and each one can be had
//! alone. The idea is that of FastLanes (Afroozeh and Boncz, PVLDB 16, 2023), without its transposed order.
//! Format: docs/format.md, "Packed numbers".
//!
//! Not here: which width a vector needs (`frame`).

use super::VECTOR;

/// Bytes of one word of every lane.
const LINE: usize = 128;
/// The widest numbers that are packed in 32-bit words.
const NARROW_MAX: u32 = 32;

/// Bytes of `count` numbers of `width` bits.
pub(super) fn packed_bytes(width: u32, count: usize) -> usize {
    let (word, lanes) = if width <= NARROW_MAX { (32, 32) } else { (64, 16) };
    (count.div_ceil(lanes) * width as usize).div_ceil(word) * LINE
}

/// `width` ones.
pub(super) fn mask(width: u32) -> u64 {
    u64::MAX.checked_shr(64 - width).unwrap_or(0)
}

/// Appends `numbers`, each below 2^`width` and 1,024 at most.
pub(super) fn pack(numbers: &[u64], width: u32, bytes: &mut Vec<u8>) {
    debug_assert!(numbers.len() <= VECTOR && numbers.iter().all(|number| *number <= mask(width)));
    match width {
        0 => {}
        1..=NARROW_MAX => {
            let mut short = [0; VECTOR];
            short.iter_mut().zip(numbers).for_each(|(short, number)| *short = u32(*number));
            narrow::pack(&short[..numbers.len()], width, bytes);
        }
        _ => wide::pack(numbers, width, bytes),
    }
}

/// As [`pack`], for a width of 32 at most.
pub(super) fn pack_short(numbers: &[u32], width: u32, bytes: &mut Vec<u8>) {
    debug_assert!(numbers.len() <= VECTOR && numbers.iter().all(|number| u64::from(*number) <= mask(width)));
    if width > 0 {
        narrow::pack(numbers, width, bytes);
    }
}

/// The first numbers of `into`, as many as are packed in `bytes` (and perhaps zeros to the end of a row of
/// lanes), each plus `base`; `bytes` has the length that [`packed_bytes`] says for `count`.
pub(super) fn unpack(bytes: &[u8], width: u32, count: usize, base: u64, into: &mut [u64; VECTOR]) {
    let lines = bytes.as_chunks().0;
    match width {
        0 => into[..count].fill(base),
        1..=NARROW_MAX => narrow::unpack(lines, width, count, base, into),
        _ => wide::unpack(lines, width, count, base, into),
    }
}

/// As [`unpack`], for a width of 32 at most: each number in half the room, which takes half the time.
pub(super) fn unpack_short(bytes: &[u8], width: u32, count: usize, base: u32, into: &mut [u32; VECTOR]) {
    match width {
        0 => into[..count].fill(base),
        _ => narrow::unpack_words(bytes.as_chunks().0, width, count, base, into),
    }
}

/// Number `index` alone.
pub(super) fn unpack_one(bytes: &[u8], width: u32, index: usize) -> u64 {
    let lines = bytes.as_chunks().0;
    match width {
        0 => 0,
        1..=NARROW_MAX => narrow::unpack_one(lines, width, index),
        _ => wide::unpack_one(lines, width, index),
    }
}

/// Whether all bits behind the last of `count` numbers are zero: there is one way to write a thing.
pub(super) fn is_padded(bytes: &[u8], width: u32, count: usize) -> bool {
    if count == VECTOR {
        return true;
    }
    let (mut numbers, mut again) = ([0; VECTOR], Vec::with_capacity(bytes.len()));
    unpack(bytes, width, count, 0, &mut numbers);
    pack(&numbers[..count], width, &mut again);
    again == bytes
}

/// A loop that unpacks words of a lane into numbers of some type.
macro_rules! unpack {
    ($name:ident, $number:ident, $word:ident, $bits:literal, $lanes:literal) => {
        widest! { pub(super) fn $name(
            lines: &[[u8; LINE]],
            width: u32,
            count: usize,
            base: $number,
            into: &mut [$number; VECTOR],
        ) {
            let mask = super::$word(mask(width));
            let rows = into.as_chunks_mut::<$lanes>().0;
            for (index, row) in rows.iter_mut().take(count.div_ceil($lanes)).enumerate() {
                let (line, shift) = place(index, width);
                let low = *words(&lines[line]);
                // A row is made before it is stored: nothing says here that it lies apart from what is read.
                let mut numbers: [$number; $lanes] = [0; $lanes];
                if shift + width as usize <= $bits {
                    for (number, low) in numbers.iter_mut().zip(low) {
                        let bits = (<$word>::from_le_bytes(low) >> shift) & mask;
                        *number = <$number>::from(bits).wrapping_add(base);
                    }
                } else {
                    let high = *words(&lines[line + 1]);
                    for (number, (low, high)) in numbers.iter_mut().zip(low.iter().zip(high)) {
                        let low = <$word>::from_le_bytes(*low) >> shift;
                        let high = <$word>::from_le_bytes(high) << ($bits - shift);
                        *number = <$number>::from((low | high) & mask).wrapping_add(base);
                    }
                }
                *row = numbers;
            }
        } }
    };
}

macro_rules! lanes {
    ($name:ident, $word:ident, $bits:literal, $lanes:literal $(, $short:ident)?) => {
        mod $name {
            use super::super::widest::widest;
            use super::{LINE, VECTOR, mask};

            const BYTES: usize = $bits / 8;

            fn words(line: &[u8; LINE]) -> &[[u8; BYTES]; $lanes] {
                line.as_chunks().0.try_into().unwrap_or_else(|_| unreachable!("a line is a word a lane"))
            }

            /// Line and bit of it at which the numbers of a row begin, or their lane.
            fn place(row: usize, width: u32) -> (usize, usize) {
                let bit = row * width as usize;
                (bit / $bits, bit % $bits)
            }

            unpack!(unpack, u64, $word, $bits, $lanes);
            $(unpack!($short, $word, $word, $bits, $lanes);)?

            pub(super) fn unpack_one(lines: &[[u8; LINE]], width: u32, index: usize) -> u64 {
                let (line, shift) = place(index / $lanes, width);
                let lane = index % $lanes;
                let mut bits = <$word>::from_le_bytes(words(&lines[line])[lane]) >> shift;
                if shift + width as usize > $bits {
                    bits |= <$word>::from_le_bytes(words(&lines[line + 1])[lane]) << ($bits - shift);
                }
                u64::from(bits & super::$word(mask(width)))
            }

            pub(super) fn pack(numbers: &[$word], width: u32, bytes: &mut Vec<u8>) {
                // One line more than there can be: a last row ends with the last line, and spills nothing.
                let mut lines = [[0 as $word; $lanes]; $bits + 1];
                let mut put = |row: usize, numbers: &[$word; $lanes]| {
                    let (line, shift) = place(row, width);
                    for (word, number) in lines[line].iter_mut().zip(numbers) {
                        *word |= number << shift;
                    }
                    if shift + width as usize > $bits {
                        for (word, number) in lines[line + 1].iter_mut().zip(numbers) {
                            *word = number >> ($bits - shift);
                        }
                    }
                };
                let (rows, rest) = numbers.as_chunks();
                rows.iter().enumerate().for_each(|(row, numbers)| put(row, numbers));
                let mut last = [0; $lanes];
                last[..rest.len()].copy_from_slice(rest);
                put(rows.len(), &last);
                let words = lines[..super::packed_bytes(width, numbers.len()) / LINE].as_flattened();
                let start = bytes.len();
                bytes.resize(start + words.len() * BYTES, 0);
                for (to, word) in bytes[start..].as_chunks_mut().0.iter_mut().zip(words) {
                    *to = word.to_le_bytes();
                }
            }
        }
    };
}

#[expect(clippy::cast_possible_truncation, reason = "a narrow number fits a narrow word")]
fn u32(number: u64) -> u32 {
    number as u32
}

fn u64(number: u64) -> u64 {
    number
}

lanes!(narrow, u32, 32, 32, unpack_words);
lanes!(wide, u64, 64, 16);
