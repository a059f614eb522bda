//! Numbers as their distances from a base, packed, with the far ones listed beside: a frame of reference with
//! patches.
//!
//! The width is the one that makes the frame smallest: a few outliers are cheaper as a list than as bits of
//! everybody. Arithmetic wraps at 64 bits, so that differences below zero need no sign of their own.
//! Format: docs/format.md, "Numbers".
//!
//! Not here: what the numbers are of values: themselves, differences, what a line leaves (`numbers`).

use super::parts::{Parts, small};
use super::widest::widest;
use super::{VECTOR, pack};

/// Bits of a patch's position.
const POSITION_BITS: usize = 16;
/// So many numbers say where most of them are.
const SAMPLE: usize = 27;

/// Numbers up to so far from the last one of a vector are handled in 32 bits: half the room, half the time.
const REACH: u64 = 1 << 30;

/// How many bits `number` has.
fn bits_of(number: u64) -> u32 {
    u64::BITS - number.leading_zeros()
}

/// Small numbers for small distances, up or down.
fn zigzag(distance: u64) -> u64 {
    (distance << 1) ^ 0_u64.wrapping_sub(distance >> 63)
}

fn zigzag_short(distance: u32) -> u32 {
    (distance << 1) ^ 0_u32.wrapping_sub(distance >> 31)
}

fn unzigzag(patch: u64) -> u64 {
    (patch >> 1) ^ 0_u64.wrapping_sub(patch & 1)
}

/// How wide numbers are packed.
#[derive(Clone, Copy, Debug)]
struct Packing {
    width: u32,
    /// How many do not fit.
    patches: usize,
    /// What that will take, more or less.
    bits: usize,
}

impl Packing {
    /// All fit.
    fn whole(count: usize, width: u32) -> Self {
        Self { width, patches: 0, bits: count * width as usize }
    }

    /// This one, or what takes the fewest bits for `count` numbers the widest of which has `widest`. `outside` says how
    /// many have more than so many bits.
    ///
    /// What leaves some outside leaves no fewer of them outside in less width: widths that cannot gain what these cost
    /// are not looked at.
    fn or_narrower(mut self, count: usize, widest: u32, outside: impl Fn(u32) -> usize) -> Self {
        let patch_bits = POSITION_BITS + 8 * (widest as usize + 1).min(64).div_ceil(8);
        let (mut width, mut patches) = (widest, 1);
        while width > 0 && patches * patch_bits < self.bits {
            let room = (self.bits - 1 - patches * patch_bits) / count;
            width = (width - 1).min(u32::try_from(room).unwrap_or(u32::MAX));
            patches = outside(width);
            let bits = count * width as usize + patches * patch_bits;
            if bits < self.bits {
                self = Self { width, patches, bits };
            }
        }
        self
    }
}

/// Which distances are packed: those below 2^width from `base` up.
#[derive(Clone, Copy, Debug)]
struct Plan {
    base: u64,
    packing: Packing,
}

/// What a plan needs to know of the numbers of a vector.
struct Spread {
    count: usize,
    lowest: u64,
    /// Of a few of them the one in the middle.
    centre: u64,
    /// How many bits there are in the longest distance from the lowest.
    bits_above: u32,
    /// The same of distances, in zigzag, from the centre.
    bits_around: u32,
}

impl Spread {
    /// The frame up from the lowest number, or around those in the middle. `above` and `around` say how many of those
    /// distances have more than so many bits.
    fn plan(&self, above: impl Fn(u32) -> usize, around: impl Fn(u32) -> usize) -> Plan {
        let Self { count, lowest, centre, bits_above, bits_around } = *self;
        let upwards = Packing::whole(count, bits_above).or_narrower(count, bits_above, above);
        let whole = Packing::whole(count, bits_around);
        let either = if whole.bits < upwards.bits { whole } else { upwards };
        let packing = either.or_narrower(count, bits_around, around);
        if packing.bits >= upwards.bits {
            return Plan { base: lowest, packing: upwards };
        }
        // What has so many bits in zigzag fits so many as two's complement.
        let below = packing.width.checked_sub(1).map_or(0, |shift| 1 << shift);
        Plan { base: centre.saturating_sub(below).max(lowest), packing }
    }
}

/// How many numbers have more than so many bits.
struct Histogram([u16; 65]);

impl Histogram {
    /// Four at once, so that equal neighbours do not wait for each other.
    fn of(numbers: &[u64], distance: impl Fn(u64) -> u64) -> Self {
        let mut four = [[0_u16; 65]; 4];
        let (quads, rest) = numbers.as_chunks::<4>();
        for quad in quads {
            for (counts, number) in four.iter_mut().zip(quad) {
                counts[bits_of(distance(*number)) as usize] += 1;
            }
        }
        rest.iter().for_each(|number| four[0][bits_of(distance(*number)) as usize] += 1);
        let (mut longer, mut count) = ([0; 65], 0);
        for (bits, longer) in longer.iter_mut().enumerate().rev() {
            *longer = count;
            count += four.iter().map(|counts| counts[bits]).sum::<u16>();
        }
        Self(longer)
    }

    fn outside(&self, bits: u32) -> usize {
        self.0[bits as usize].into()
    }

    fn longest(&self) -> u32 {
        (0..).zip(&self.0).find(|(_, longer)| **longer == 0).map_or(0, |(bits, _)| bits)
    }
}

/// About the one in the middle of these numbers: of a few of them, in threes of threes, that of each three. Numbers that
/// have no order would make a sort guess wrong at every step.
fn middle<T: Copy + Ord>(numbers: &[T]) -> T {
    let of_three = |one: T, two: T, three: T| one.max(two).min(one.min(two).max(three));
    let number = |place: usize| numbers[place * numbers.len() / SAMPLE];
    let mut sample: [T; SAMPLE] = std::array::from_fn(number);
    let mut len = SAMPLE;
    while len > 1 {
        len /= 3;
        for place in 0..len {
            sample[place] = of_three(sample[place], sample[place + len], sample[place + 2 * len]);
        }
    }
    sample[0]
}

widest! {
    /// How many of these distances have more than so many bits, from `low` up.
    fn longer_above(distances: &[u32], low: u32, bits: u32) -> usize {
        distances.iter().map(|distance| u32::from((distance - low) >> bits != 0)).sum::<u32>() as usize
    }

    /// The same in zigzag around `middle`.
    fn longer_around(distances: &[u32], middle: u32, bits: u32) -> usize {
        let is_longer = |distance: &u32| zigzag_short(distance.wrapping_sub(middle)) >> bits != 0;
        distances.iter().map(|distance| u32::from(is_longer(distance))).sum::<u32>() as usize
    }
}

/// Numbers that lie close together, as what they are above `origin`.
struct Short<'a> {
    origin: u64,
    /// Of 31 bits at most.
    distances: &'a mut [u32],
    lowest: u32,
    highest: u32,
}

impl<'a> Short<'a> {
    /// None where a number is far from the last one, or between them they wrap. `room` is for so many distances.
    fn of(numbers: &[u64], room: &'a mut [u32]) -> Option<Self> {
        let origin = numbers.last()?.wrapping_sub(REACH);
        let distances = &mut room[..numbers.len()];
        if shorten(numbers, origin, distances) >= 2 * REACH {
            return None;
        }
        let (lowest, highest) = ends(distances);
        let short = Self { origin, distances, lowest, highest };
        (short.number(lowest) <= short.number(highest)).then_some(short)
    }

    fn number(&self, distance: u32) -> u64 {
        self.origin.wrapping_add(distance.into())
    }

    fn plan(&self, skipped: usize) -> Plan {
        let (distances, low) = (&self.distances[skipped..], self.lowest);
        let middle = middle(distances);
        let far = [low, self.highest]
            .map(|end| bits_of(zigzag(self.number(end).wrapping_sub(self.number(middle)))));
        let spread = Spread {
            count: distances.len(),
            lowest: self.number(low),
            centre: self.number(middle),
            bits_above: bits_of((self.highest - low).into()),
            bits_around: far[0].max(far[1]),
        };
        spread.plan(|bits| longer_above(distances, low, bits), |bits| longer_around(distances, middle, bits))
    }
}

widest! {
    /// Distances from `origin`; returns the bits of all of them together.
    fn shorten(numbers: &[u64], origin: u64, into: &mut [u32]) -> u64 {
        let mut ored = 0;
        for (short, number) in into.iter_mut().zip(numbers) {
            let distance = number.wrapping_sub(origin);
            *short = low_half(distance);
            ored |= distance;
        }
        ored
    }
}

#[expect(clippy::cast_possible_truncation, reason = "the upper half is zero, or is looked at apart")]
fn low_half(distance: u64) -> u32 {
    distance as u32
}

widest! {
    /// The lowest and the highest of numbers of 31 bits.
    fn ends(distances: &[u32]) -> (u32, u32) {
        let signed = distances.iter().map(|distance| distance.cast_signed());
        let (low, high) = signed.fold((i32::MAX, 0), |(low, high), each| (low.min(each), high.max(each)));
        (low.cast_unsigned(), high.cast_unsigned())
    }
}

/// The frame for numbers, without so many of the first.
fn plan(numbers: &[u64], short: Option<&Short<'_>>, skipped: usize) -> Plan {
    if let Some(short) = short {
        return short.plan(skipped);
    }
    let numbers = &numbers[skipped..];
    let (lowest, centre) = (numbers.iter().copied().min().unwrap_or(0), middle(numbers));
    let above = Histogram::of(numbers, |number| number - lowest);
    let around = Histogram::of(numbers, |number| zigzag(number.wrapping_sub(centre)));
    let (bits_above, bits_around) = (above.longest(), around.longest());
    let spread = Spread { count: numbers.len(), lowest, centre, bits_above, bits_around };
    spread.plan(|bits| above.outside(bits), |bits| around.outside(bits))
}

/// About how many bits a frame of `numbers` takes, as many as `LEN` at most.
pub(super) fn bits<const LEN: usize>(numbers: &[u64]) -> usize {
    plan(numbers, Short::of(numbers, &mut [0; LEN]).as_ref(), 0).packing.bits
}

/// What is to be put in a frame.
pub(super) struct Content<'a> {
    /// 1 to 1,024, each `zero` more than it is, so that none is below zero.
    pub(super) numbers: &'a [u64],
    pub(super) zero: u64,
    /// So many of the first, which are no different from the next, are not kept: the base stands for them.
    pub(super) skipped: usize,
    pub(super) form: u8,
    /// What stands behind the base.
    pub(super) extra: Option<u64>,
}

/// Appends a frame, behind its form.
pub(super) fn encode(content: &Content<'_>, bytes: &mut Vec<u8>) {
    let Content { numbers, zero, skipped, form, extra } = *content;
    let mut room = [0; VECTOR];
    let short = Short::of(numbers, &mut room);
    let Plan { base, packing } = plan(numbers, short.as_ref(), skipped);
    let (width, mask) = (packing.width, pack::mask(packing.width));
    let (mut positions, mut patches) = (Vec::new(), Vec::new());
    if packing.patches > 0 || short.is_none() {
        for (position, number) in numbers.iter().enumerate().skip(skipped) {
            let distance = number.wrapping_sub(base);
            if distance > mask {
                positions.push(small(position));
                patches.push(zigzag(distance));
            }
        }
    }
    let widest = patches.iter().copied().map(bits_of).max().unwrap_or(0);
    let patch_bytes = widest.div_ceil(8) as usize;
    bytes.extend([form, width.to_le_bytes()[0], patch_bytes.to_le_bytes()[0]]);
    bytes.extend(small(positions.len()).to_le_bytes());
    bytes.extend(base.wrapping_sub(zero).to_le_bytes());
    extra.iter().for_each(|extra| bytes.extend(extra.to_le_bytes()));
    if let Some(Short { origin, distances: near, .. }) = short {
        near_short(near, low_half(base.wrapping_sub(origin)), low_half(mask));
        near[..skipped].fill(0);
        pack::pack_short(near, width, bytes);
    } else {
        let mut near = [0; VECTOR];
        let near = &mut near[..numbers.len()];
        near_base(numbers, base, mask, near);
        near[..skipped].fill(0);
        pack::pack(near, width, bytes);
    }
    bytes.extend(positions.iter().flat_map(|position| position.to_le_bytes()));
    patches.iter().for_each(|patch| bytes.extend(&patch.to_le_bytes()[..patch_bytes]));
}

widest! {
    /// Distances up to `mask` from `base` on, zeros for all others.
    fn near_base(numbers: &[u64], base: u64, mask: u64, near: &mut [u64]) {
        for (near, number) in near.iter_mut().zip(numbers) {
            let distance = number.wrapping_sub(base);
            *near = if distance <= mask { distance } else { 0 };
        }
    }
}

widest! {
    /// The same of short distances, in their place.
    fn near_short(distances: &mut [u32], base: u32, mask: u32) {
        for distance in distances {
            let above = distance.wrapping_sub(base);
            *distance = if above <= mask { above } else { 0 };
        }
    }
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
    #[inline(always)]
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
    #[inline(always)]
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
            Err(_) => self.packed_number(index).wrapping_add(self.base),
        }
    }

    /// What is packed for number `index`, also where it is patched.
    pub(super) fn packed_number(&self, index: usize) -> u64 {
        pack::unpack_one(self.packed, self.width, index)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A few thousand vectors of 1 to 1,024 numbers: uniform, with outliers, in both directions, at either end of 64 bits.
    fn vectors() -> impl Iterator<Item = Vec<u64>> {
        let mut state = 1_u64;
        let mut random = move || {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            state ^ state >> 29
        };
        (0..4000_u32).map(move |round| {
            let count = [1, 2, 3, 31, 32, 100, 128, 1000, 1024][round as usize % 9];
            let (bits, far) = (random() % 34, random() % 65);
            let base = [0, 1 << 63, u64::MAX, random(), 1 << 30][round as usize % 5];
            let rate = [2, 10, 50, 2000][round as usize / 9 % 4];
            let mut number = || {
                let bits = if random() % rate == 0 { far } else { bits };
                let distance = random() & pack::mask(u32::try_from(bits).unwrap());
                if random() % 2 == 0 { base.wrapping_add(distance) } else { base.wrapping_sub(distance) }
            };
            (0..count).map(|_| number()).collect()
        })
    }

    #[test]
    fn a_plan_is_the_cheapest_of_all_widths_however_it_is_made() {
        let mut short_ones = 0;
        for numbers in vectors() {
            let mut room = [0; VECTOR];
            let short = Short::of(&numbers, &mut room);
            short_ones += usize::from(short.is_some());
            let found = plan(&numbers, short.as_ref(), 0);
            let lowest = numbers.iter().copied().min().unwrap();
            let centre = middle(&numbers);
            let of = |distance: &dyn Fn(u64) -> u64| {
                let bits: Vec<u32> = numbers.iter().map(|number| bits_of(distance(*number))).collect();
                let widest = *bits.iter().max().unwrap();
                let patch_bits = POSITION_BITS + 8 * (widest as usize + 1).min(64).div_ceil(8);
                let outside = |width: u32| bits.iter().filter(|bits| **bits > width).count();
                let cost = |width: u32| numbers.len() * width as usize + outside(width) * patch_bits;
                (0..=widest).map(cost).min().unwrap()
            };
            let best = of(&|number| number - lowest).min(of(&|number| zigzag(number.wrapping_sub(centre))));
            assert_eq!(found.packing.bits, best, "{numbers:?}");
            let long = plan(&numbers, None, 0);
            assert_eq!((found.base, found.packing.width), (long.base, long.packing.width), "{numbers:?}");
        }
        assert!((1000..3500).contains(&short_ones), "{short_ones}");
    }
}
