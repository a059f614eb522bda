//! A vector of floats whose low bits are random: cut in two, the few different left parts as codes, the right
//! parts packed.
//!
//! This is ALP-RD, of the same paper as `decimals`. Where to cut, and the up to eight left parts that have codes,
//! are the block's; a value with another left part is an exception. Format: docs/format.md, "Split floats".
//!
//! Not here: floats that were decimals (`decimals`).

use super::fixed::{Fixed, Float};
use super::parts::{Parts, small};
use super::{HeaderField, VECTOR, decimals, pack};

/// A left part has at most so many bits.
const LEFT_BITS_MAX: u32 = 16;
/// So many left parts have codes.
const LEFTS_MAX: usize = 8;
/// So many values of a block say where to cut.
const SAMPLE: usize = 256;

const UNKNOWN_CODE: &str = "the left part of a float has an unknown code";
const WIDE_LEFT: &str = "the left part of a float has too many bits";

/// Where a block's floats are cut, and the left parts that have codes, the frequent ones first.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Split {
    right_bits: u32,
    left_max: u64,
    lefts: Vec<u16>,
}

impl Split {
    /// The cut after which a sample of `values` takes the fewest bits.
    pub(super) fn choose(values: &[u64], float: Float) -> Self {
        let sample: Vec<u64> = decimals::spread(values, SAMPLE).collect();
        let cut = |left_bits: u32| {
            let right_bits = float.width_bits() - left_bits;
            let mut lefts: Vec<u16> = sample.iter().map(|value| left(*value, right_bits)).collect();
            lefts.sort_unstable();
            let mut counts: Vec<(usize, u16)> =
                lefts.chunk_by(u16::eq).map(|equal| (equal.len(), equal[0])).collect();
            counts.sort_unstable_by(|one, other| other.0.cmp(&one.0).then(one.1.cmp(&other.1)));
            counts.truncate(LEFTS_MAX);
            let coded: usize = counts.iter().map(|(count, _)| count).sum();
            let lefts = counts.into_iter().map(|(_, left)| left).collect();
            let split = Self { right_bits, left_max: pack::mask(left_bits), lefts };
            let each = right_bits as usize + split.code_bits() as usize;
            (sample.len() * each + (sample.len() - coded) * 32, split)
        };
        let cuts = (2..=LEFT_BITS_MAX).map(cut);
        cuts.fold(cut(1), |best, next| if next.0 < best.0 { next } else { best }).1
    }

    fn code_bits(&self) -> u32 {
        usize::BITS - (self.lefts.len() - 1).leading_zeros()
    }

    /// What of a block's header is its own.
    pub(super) fn fields(&self) -> impl Iterator<Item = HeaderField> {
        let fixed = [("right bits", self.right_bits as usize), ("left parts", self.lefts.len())];
        let fixed = fixed.map(|(name, value)| HeaderField::new(name, 1, value));
        let lefts = self.lefts.iter().map(|left| HeaderField::new("left part", 2, left));
        fixed.into_iter().chain(lefts)
    }

    pub(super) fn encode_header(&self, bytes: &mut Vec<u8>) {
        bytes.extend([self.right_bits.to_le_bytes()[0], self.lefts.len().to_le_bytes()[0]]);
        bytes.extend(self.lefts.iter().flat_map(|left| left.to_le_bytes()));
    }

    pub(super) fn parse_header(float: Float, from: &mut Parts<'_>) -> Result<Self, &'static str> {
        let (right_bits, lefts) = (u32::from(from.u8()?), usize::from(from.u8()?));
        let bits = float.width_bits();
        if !(bits - LEFT_BITS_MAX..bits).contains(&right_bits) || !(1..=LEFTS_MAX).contains(&lefts) {
            return Err("floats are split in an impossible way");
        }
        let lefts: Vec<u16> = from.shorts(lefts)?.iter().map(|left| u16::from_le_bytes(*left)).collect();
        let left_max = pack::mask(bits - right_bits);
        if lefts.iter().any(|left| u64::from(*left) > left_max) {
            return Err(WIDE_LEFT);
        }
        Ok(Self { right_bits, left_max, lefts })
    }

    /// Appends `values`, 1 to 1,024 floats as their bits.
    pub(super) fn encode(&self, values: &[u64], bytes: &mut Vec<u8>) {
        let (mut codes, mut rights, mut exceptions) = ([0; VECTOR], [0; VECTOR], Vec::new());
        for (index, value) in values.iter().enumerate() {
            let left = left(*value, self.right_bits);
            rights[index] = value & pack::mask(self.right_bits);
            match self.lefts.iter().position(|coded| *coded == left) {
                Some(code) => codes[index] = code as u64,
                None => exceptions.push((small(index), left)),
            }
        }
        bytes.extend(small(exceptions.len()).to_le_bytes());
        bytes.extend(exceptions.iter().flat_map(|(position, _)| position.to_le_bytes()));
        bytes.extend(exceptions.iter().flat_map(|(_, left)| left.to_le_bytes()));
        pack::pack(&codes[..values.len()], self.code_bits(), bytes);
        pack::pack(&rights[..values.len()], self.right_bits, bytes);
    }

    /// `count` floats, which are all that is left of `from`.
    pub(super) fn parse<'a>(&'a self, count: usize, mut from: Parts<'a>) -> Result<Halves<'a>, &'static str> {
        let exceptions = from.u16()?.into();
        let positions = from.positions(exceptions, count)?;
        let lefts = from.shorts(exceptions)?;
        let codes = from.bytes(pack::packed_bytes(self.code_bits(), count))?;
        let rights = from.bytes(pack::packed_bytes(self.right_bits, count))?;
        from.end()?;
        let is_padded = pack::is_padded(codes, self.code_bits(), count)
            && pack::is_padded(rights, self.right_bits, count);
        if !is_padded {
            return Err("padding behind packed floats is not zero");
        }
        if lefts.iter().any(|left| u64::from(u16::from_le_bytes(*left)) > self.left_max) {
            return Err(WIDE_LEFT);
        }
        Ok(Halves { split: self, count, positions, lefts, codes, rights })
    }
}

#[expect(clippy::cast_possible_truncation, reason = "what is left of a cut has 16 bits at most")]
fn left(value: u64, right_bits: u32) -> u16 {
    (value >> right_bits) as u16
}

/// A vector of split floats as it lies in its bytes.
#[derive(Debug)]
pub(super) struct Halves<'a> {
    split: &'a Split,
    count: usize,
    positions: &'a [[u8; 2]],
    lefts: &'a [[u8; 2]],
    codes: &'a [u8],
    rights: &'a [u8],
}

impl Halves<'_> {
    /// All values; `rights` is room to work in.
    pub(super) fn decode<T: Fixed>(
        &self,
        rights: &mut [u64; VECTOR],
        values: &mut [T],
    ) -> Result<(), &'static str> {
        // Eight places, whatever the number of left parts, so that a code needs no check of its own.
        let mut table = [0; LEFTS_MAX];
        let right_bits = self.split.right_bits;
        table.iter_mut().zip(&self.split.lefts).for_each(|(to, left)| *to = u64::from(*left) << right_bits);
        let mut codes = [0; VECTOR];
        pack::unpack(self.codes, self.split.code_bits(), self.count, 0, &mut codes);
        pack::unpack(self.rights, right_bits, self.count, 0, rights);
        let codes = &codes[..self.count];
        if codes.iter().any(|code| *code >= self.split.lefts.len() as u64) {
            return Err(UNKNOWN_CODE);
        }
        for (value, (right, code)) in values.iter_mut().zip(rights.iter().zip(codes)) {
            *value = T::from_bits(right | table[(*code & 7) as usize]);
        }
        for (position, left) in self.positions.iter().zip(self.lefts) {
            let index = usize::from(u16::from_le_bytes(*position));
            values[index] = T::from_bits(rights[index] | self.shifted(*left));
        }
        Ok(())
    }

    fn shifted(&self, left: [u8; 2]) -> u64 {
        u64::from(u16::from_le_bytes(left)) << self.split.right_bits
    }

    /// The bits of value `index` alone.
    pub(super) fn value(&self, index: usize) -> Result<u64, &'static str> {
        let right = pack::unpack_one(self.rights, self.split.right_bits, index);
        match self.positions.binary_search_by_key(&index, |position| u16::from_le_bytes(*position).into()) {
            Ok(exception) => Ok(right | self.shifted(self.lefts[exception])),
            Err(_) => {
                let code = pack::unpack_one(self.codes, self.split.code_bits(), index);
                let left = usize::try_from(code).ok().and_then(|code| self.split.lefts.get(code));
                let left = left.ok_or(UNKNOWN_CODE)?;
                Ok(right | u64::from(*left) << self.split.right_bits)
            }
        }
    }
}
