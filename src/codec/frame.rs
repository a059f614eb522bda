//! Numbers as their distances from a base, packed, with the far ones listed beside: a frame of reference with
//! patches.
//!
//! The width is the one that makes the frame smallest: a few outliers are cheaper as a list than as bits of
//! everybody. Arithmetic wraps at 64 bits, so that differences below zero need no sign of their own.
//! Format: docs/format.md, "Numbers".
//!
//! Not here: what the numbers are of values: themselves, differences, what a line leaves (`numbers`).

use super::parts::{Parts, small};
use super::{VECTOR, pack};

/// Bits of a patch's position.
const POSITION_BITS: usize = 16;
/// So many numbers say where most of them are.
const SAMPLE: usize = 31;

/// Which distances are packed: those below 2^`width` from `base` up.
#[derive(Clone, Copy, Debug)]
pub(super) struct Plan {
    pub(super) base: u64,
    pub(super) width: u32,
    /// What that will take, more or less.
    pub(super) bits: usize,
}

/// How many bits `number` has.
fn bits_of(number: u64) -> u32 {
    u64::BITS - number.leading_zeros()
}

/// Small numbers for small distances, up or down.
fn zigzag(distance: u64) -> u64 {
    (distance << 1) ^ 0_u64.wrapping_sub(distance >> 63)
}

fn unzigzag(patch: u64) -> u64 {
    (patch >> 1) ^ 0_u64.wrapping_sub(patch & 1)
}

/// How many numbers have how many bits.
struct Histogram([u16; 65]);

impl Histogram {
    /// Four at once, so that equal neighbours do not wait for each other.
    fn of(numbers: &[u64], bits: impl Fn(u64) -> u32) -> Self {
        let mut four = [[0_u16; 65]; 4];
        let (quads, rest) = numbers.as_chunks::<4>();
        for quad in quads {
            for (counts, number) in four.iter_mut().zip(quad) {
                counts[bits(*number) as usize] += 1;
            }
        }
        rest.iter().for_each(|number| four[0][bits(*number) as usize] += 1);
        let [mut sum, others @ ..] = four;
        others.iter().for_each(|counts| sum.iter_mut().zip(counts).for_each(|(sum, count)| *sum += count));
        Self(sum)
    }

    /// The width that takes the fewest bits, and how many.
    fn best(&self, count: usize) -> (u32, usize) {
        let widest = (0..=64).rev().find(|width| self.0[*width as usize] > 0).unwrap_or(0);
        let patch_bits = POSITION_BITS + 8 * (widest as usize + 1).min(64).div_ceil(8);
        let (mut best, mut outside) = ((widest, count * widest as usize), 0);
        for width in (0..widest).rev() {
            outside += usize::from(self.0[width as usize + 1]);
            let bits = count * width as usize + outside * patch_bits;
            if bits < best.1 {
                best = (width, bits);
            }
        }
        best
    }
}

/// The frame for `numbers`, 1,024 at most: up from the lowest one, or around those in the middle.
pub(super) fn plan(numbers: &[u64]) -> Plan {
    let lowest = numbers.iter().copied().min().unwrap_or(0);
    let (width, bits) = Histogram::of(numbers, |number| bits_of(number - lowest)).best(numbers.len());
    let upwards = Plan { base: lowest, width, bits };

    let (mut sample, mut len) = ([0; SAMPLE], 0);
    for (to, number) in sample.iter_mut().zip(numbers.iter().step_by(numbers.len().div_ceil(SAMPLE).max(1))) {
        *to = *number;
        len += 1;
    }
    sample[..len].sort_unstable();
    let centre = sample[len / 2];
    // What has so many bits in zigzag fits so many as two's complement.
    let around = Histogram::of(numbers, |number| bits_of(zigzag(number.wrapping_sub(centre))));
    let (width, bits) = around.best(numbers.len());
    if bits >= upwards.bits {
        return upwards;
    }
    let below = width.checked_sub(1).map_or(0, |shift| 1 << shift);
    Plan { base: centre.saturating_sub(below).max(lowest), width, bits }
}

/// Appends `numbers` as `plan` says, behind `form` (and, behind the base, `extra`).
pub(super) fn encode(numbers: &[u64], plan: Plan, form: u8, extra: Option<u64>, bytes: &mut Vec<u8>) {
    let (mut near, mut positions, mut patches) = ([0; VECTOR], Vec::new(), Vec::new());
    for (position, (near, number)) in near.iter_mut().zip(numbers).enumerate() {
        let distance = number.wrapping_sub(plan.base);
        if distance <= pack::mask(plan.width) {
            *near = distance;
        } else {
            positions.push(small(position));
            patches.push(zigzag(distance));
        }
    }
    let widest = patches.iter().copied().map(bits_of).max().unwrap_or(0);
    let patch_bytes = widest.div_ceil(8) as usize;
    bytes.extend([form, plan.width.to_le_bytes()[0], patch_bytes.to_le_bytes()[0]]);
    bytes.extend(small(positions.len()).to_le_bytes());
    bytes.extend(plan.base.to_le_bytes());
    extra.iter().for_each(|extra| bytes.extend(extra.to_le_bytes()));
    pack::pack(&near[..numbers.len()], plan.width, bytes);
    bytes.extend(positions.iter().flat_map(|position| position.to_le_bytes()));
    patches.iter().for_each(|patch| bytes.extend(&patch.to_le_bytes()[..patch_bytes]));
}

/// A frame as it lies in its bytes, everything checked but what the numbers are.
#[derive(Clone, Copy, Debug)]
pub(super) struct Frame<'a> {
    count: usize,
    pub(super) base: u64,
    pub(super) width: u32,
    packed: &'a [u8],
    positions: &'a [[u8; 2]],
    patch_bytes: usize,
    patches: &'a [u8],
}

/// The three fields that begin a frame, behind the form.
pub(super) struct Head {
    width: u32,
    patch_bytes: usize,
    patches: usize,
    base: u64,
}

impl Head {
    pub(super) fn parse(from: &mut Parts<'_>) -> Result<Self, &'static str> {
        let (width, patch_bytes, patches) = (from.u8()?, from.u8()?, from.u16()?);
        if width > 64 {
            return Err("numbers are wider than 64 bits");
        }
        if patch_bytes > 8 || (patch_bytes == 0) != (patches == 0) {
            return Err("patches have an impossible width");
        }
        let base = from.u64()?;
        Ok(Self { width: width.into(), patch_bytes: patch_bytes.into(), patches: patches.into(), base })
    }
}

impl<'a> Frame<'a> {
    pub(super) fn parse(head: &Head, count: usize, from: &mut Parts<'a>) -> Result<Self, &'static str> {
        let packed = from.bytes(pack::packed_bytes(head.width, count))?;
        if !pack::is_padded(packed, head.width, count) {
            return Err("padding behind packed numbers is not zero");
        }
        let positions = from.positions(head.patches, count)?;
        let patches = from.bytes(head.patches * head.patch_bytes)?;
        let (base, width, patch_bytes) = (head.base, head.width, head.patch_bytes);
        Ok(Self { count, base, width, packed, positions, patch_bytes, patches })
    }

    fn patch(&self, index: usize) -> u64 {
        let mut patch = [0; 8];
        let bytes = &self.patches[index * self.patch_bytes..][..self.patch_bytes];
        patch[..self.patch_bytes].copy_from_slice(bytes);
        self.base.wrapping_add(unzigzag(u64::from_le_bytes(patch)))
    }

    /// The far numbers, each with its position.
    pub(super) fn patches(&self) -> impl Iterator<Item = (usize, u64)> {
        let positions = self.positions.iter().map(|position| usize::from(u16::from_le_bytes(*position)));
        positions.enumerate().map(|(index, position)| (position, self.patch(index)))
    }

    /// All numbers, into the first places of `into`; what is behind them is of no meaning.
    pub(super) fn decode(&self, into: &mut [u64; VECTOR]) {
        pack::unpack(self.packed, self.width, self.count, self.base, into);
        self.patches().for_each(|(position, number)| into[position] = number);
    }

    /// All numbers as distances from `origin`, into the first places of `into`, where all of them are known to be short:
    /// two's complement.
    #[expect(clippy::cast_possible_truncation, reason = "they are known to be short")]
    pub(super) fn decode_short(&self, origin: u64, into: &mut [u32; VECTOR]) {
        let base = self.base.wrapping_sub(origin) as u32;
        pack::unpack_short(self.packed, self.width, self.count, base, into);
        self.patches().for_each(|(position, number)| into[position] = number.wrapping_sub(origin) as u32);
    }

    /// Number `index` alone.
    pub(super) fn number(&self, index: usize) -> u64 {
        match self.positions.binary_search_by_key(&index, |position| u16::from_le_bytes(*position).into()) {
            Ok(patch) => self.patch(patch),
            Err(_) => pack::unpack_one(self.packed, self.width, index).wrapping_add(self.base),
        }
    }
}
