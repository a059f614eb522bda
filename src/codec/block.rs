//! A block: the encoded values of one column for up to 16,384 rows, in vectors of 1,024.
//!
//! A header says with which codec, and how many bytes each vector has; then the vectors, one behind the other. A
//! vector can be decoded with the header alone, without its neighbours, and in most codecs so can a value.
//! Format: docs/format.md, "Block".
//!
//! Not here: choosing a codec (`choose`), checksums and where blocks lie (`format`).

use std::ops::Range;

use super::bytes;
use super::decimals::{Decimals, Exponents};
use super::dictionary::Dictionary;
use super::fixed::{Fixed, Float, bits_max};
use super::numbers::{self, Numbers};
use super::parts::{Parts, small};
use super::pco::{self, Page, Pco};
use super::split::Split;
use super::{BLOCK_ROWS, HeaderField, Tier, VECTOR, choose, decimals};
use crate::error::Malformed;
use crate::schema::Kind;

const STRIDE: u8 = 1;
const INTEGERS: u8 = 2;
const DECIMALS: u8 = 3;
const SPLIT: u8 = 4;
const DICTIONARY: u8 = 5;
const PCO: u8 = 8;
const PCO_DECIMALS: u8 = 9;

/// Bytes of the header of every codec: tag, reserved, rows, length.
const FIXED: usize = 8;

/// What a codec is called.
pub(crate) fn codec_name(tag: u8) -> &'static str {
    match tag {
        STRIDE => "stride",
        INTEGERS => "integers",
        DECIMALS => "decimals",
        SPLIT => "split",
        DICTIONARY | bytes::DICTIONARY => "dictionary",
        bytes::FRAMES => "frames",
        bytes::ZSTD_FRAMES => "zstd frames",
        bytes::ZSTD_DICTIONARY => "zstd dictionary",
        PCO => "pco",
        PCO_DECIMALS => "pco decimals",
        _ => "unknown",
    }
}

/// How the values of a block are encoded, with what its vectors share.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Codec {
    /// Value i is `first` + i x `step`; no vectors.
    Stride { first: u64, step: u64 },
    /// Value i is `origin` + number i x `divisor`.
    Integers { origin: u64, divisor: u64 },
    /// Floats as decimals. The exponents to try; a block that is read has none, each vector says its own.
    Decimals { choices: Vec<Exponents> },
    /// Floats in two parts.
    Split(Split),
    /// Value i is entry number i.
    Dictionary { entries: Vec<u64> },
    /// All vectors are one page.
    Pco(Pco),
}

/// The block of these values, 16,384 at most.
pub(crate) fn encode<T: Fixed>(values: &[T], tier: Tier) -> Vec<u8> {
    assert!(values.len() <= BLOCK_ROWS, "a block has {BLOCK_ROWS} rows at most");
    let bits = T::all_bits(values);
    let bytes = encode_bits(&bits, T::KIND);
    let is_stride = bytes[0] == STRIDE;
    let dense = if tier == Tier::Fast || is_stride { None } else { encode_page(&bits, T::KIND) };
    dense.filter(|dense| dense.len() < bytes.len()).unwrap_or(bytes)
}

fn encode_page(values: &[u64], kind: Kind) -> Option<Vec<u8>> {
    let (pco, mut page) = pco::encode(values, kind)?;
    let mut bytes = begin(&Codec::Pco(pco), values.len(), kind, &[]);
    bytes.append(&mut page);
    Some(bytes)
}

fn encode_bits(values: &[u64], kind: Kind) -> Vec<u8> {
    match choose::choose(values, kind) {
        choose::Choice::Codec(codec) => {
            let bytes = assemble(values, kind, &codec);
            // Floats that are not what the sample promised: their bits are never much longer than they are.
            if Float::of(kind).is_some_and(|float| bytes.len() > FIXED + values.len() * float.width()) {
                let others = assemble(values, kind, &choose::integers(values));
                return if others.len() < bytes.len() { others } else { bytes };
            }
            bytes
        }
        choose::Choice::Dictionary(Dictionary { entries, codes }) => {
            assemble(&codes, kind, &Codec::Dictionary { entries })
        }
    }
}

/// Of a dictionary `values` are the codes.
fn assemble(values: &[u64], kind: Kind, codec: &Codec) -> Vec<u8> {
    let (mut vectors, mut lengths) = (Vec::new(), Vec::new());
    if !matches!(codec, Codec::Stride { .. }) {
        for vector in values.chunks(VECTOR) {
            let start = vectors.len();
            codec.encode_vector(vector, kind, &mut vectors);
            lengths.push(small(vectors.len() - start));
        }
    }
    let mut bytes = begin(codec, values.len(), kind, &lengths);
    bytes.append(&mut vectors);
    bytes
}

/// The header of a block with vectors of these lengths.
fn begin(codec: &Codec, rows: usize, kind: Kind, lengths: &[u16]) -> Vec<u8> {
    let (mut header, mut bytes) = (Vec::new(), Vec::new());
    codec.encode_header(kind, &mut header);
    let header_bytes = FIXED + header.len() + 2 * lengths.len();
    bytes.extend([codec.tag(), 0]);
    bytes.extend(small(rows).to_le_bytes());
    let header_bytes = u32::try_from(header_bytes)
        .unwrap_or_else(|_| unreachable!("a header holds a block's entries at most"));
    bytes.extend(header_bytes.to_le_bytes());
    bytes.append(&mut header);
    bytes.extend(lengths.iter().flat_map(|length| length.to_le_bytes()));
    bytes
}

impl Codec {
    fn tag(&self) -> u8 {
        match self {
            Self::Stride { .. } => STRIDE,
            Self::Integers { .. } => INTEGERS,
            Self::Decimals { .. } => DECIMALS,
            Self::Split(_) => SPLIT,
            Self::Dictionary { .. } => DICTIONARY,
            Self::Pco(pco) if pco.is_scaled() => PCO_DECIMALS,
            Self::Pco(_) => PCO,
        }
    }

    /// Appends what the vectors share.
    fn encode_header(&self, kind: Kind, bytes: &mut Vec<u8>) {
        match self {
            Self::Stride { first: one, step: two } | Self::Integers { origin: one, divisor: two } => {
                bytes.extend([one.to_le_bytes(), two.to_le_bytes()].as_flattened());
            }
            Self::Decimals { .. } => {}
            Self::Split(split) => split.encode_header(bytes),
            Self::Dictionary { entries } => {
                bytes.extend(assemble(entries, kind, &choose::plain(entries, kind)));
            }
            Self::Pco(pco) => pco.encode_header(bytes),
        }
    }

    /// Appends a vector.
    pub(super) fn encode_vector(&self, values: &[u64], kind: Kind, bytes: &mut Vec<u8>) {
        match (self, Float::of(kind)) {
            (Self::Integers { origin, divisor }, _) => {
                let mut numbers = [0; VECTOR];
                let number = |value: &u64| value.wrapping_sub(*origin);
                numbers.iter_mut().zip(values).for_each(|(to, value)| *to = number(value));
                if *divisor > 1 {
                    numbers.iter_mut().for_each(|number| *number /= divisor);
                }
                numbers::encode(&numbers[..values.len()], bytes);
            }
            (Self::Dictionary { .. }, _) => numbers::encode(values, bytes),
            (Self::Decimals { choices }, Some(float)) => decimals::encode(values, float, choices, bytes),
            (Self::Split(split), _) => split.encode(values, bytes),
            (Self::Decimals { .. }, None) => unreachable!("only floats are decimals"),
            (Self::Stride { .. } | Self::Pco(_), _) => unreachable!("{self:?} has no vectors"),
        }
    }

    fn parse(tag: u8, rows: usize, kind: Kind, from: &mut Parts<'_>) -> Result<Self, &'static str> {
        match (tag, Float::of(kind)) {
            (STRIDE, _) => {
                let (first, step) = (from.u64()?, from.u64()?);
                check_stride(first, step, rows, kind)?;
                Ok(Self::Stride { first, step })
            }
            (INTEGERS, _) => match (from.u64()?, from.u64()?) {
                (_, 0) => Err("a divisor is zero"),
                (origin, divisor) => Ok(Self::Integers { origin, divisor }),
            },
            (DECIMALS, Some(_)) => Ok(Self::Decimals { choices: Vec::new() }),
            (SPLIT, Some(float)) => Ok(Self::Split(Split::parse_header(float, from)?)),
            (DICTIONARY, _) => Ok(Self::Dictionary { entries: parse_entries(kind, from)? }),
            (PCO, _) => Ok(Self::Pco(Pco::parse_header(kind, rows, from)?)),
            (PCO_DECIMALS, Some(float)) => Ok(Self::Pco(Pco::parse_scaled(float, rows, from)?)),
            (DECIMALS | SPLIT | PCO_DECIMALS, None) => Err("the codec of a block is not one for its kind"),
            _ => Err("the codec of a block is unknown"),
        }
    }

    /// All values of vector `index`.
    fn decode<T: Fixed>(
        &self,
        kind: Kind,
        index: usize,
        bytes: &[u8],
        Scratch { numbers, page }: &mut Scratch,
        values: &mut [T],
    ) -> Result<(), &'static str> {
        let (from, count) = (Parts::new(bytes), values.len());
        match (self, Float::of(kind)) {
            (Self::Stride { first, step }, _) => {
                let first = first.wrapping_add(step.wrapping_mul((index * VECTOR) as u64));
                for (row, value) in (0..).zip(values) {
                    *value = T::from_bits(first.wrapping_add(step.wrapping_mul(row)));
                }
                return from.end();
            }
            (Self::Integers { origin, divisor }, _) => {
                Numbers::parse(count, from)?.decode(numbers);
                let numbers = &mut numbers[..count];
                if *divisor > 1 {
                    numbers.iter_mut().for_each(|number| *number = number.wrapping_mul(*divisor));
                }
                check(numbers.iter().map(|number| number.wrapping_add(*origin)), kind)?;
                raise(numbers, *origin, values);
            }
            (Self::Dictionary { entries }, _) => {
                Numbers::parse(count, from)?.decode(numbers);
                for (value, code) in values.iter_mut().zip(&*numbers) {
                    *value = T::from_bits(entry(entries, *code)?);
                }
            }
            (Self::Decimals { .. }, Some(float)) => {
                Decimals::parse(float, count, from)?.decode(numbers, values)?;
            }
            (Self::Split(split), _) => split.parse(count, from)?.decode(numbers, values)?,
            (Self::Pco(pco), _) => {
                page.reach(pco, pco.rows(), bytes)?;
                page.values(pco, index * VECTOR..index * VECTOR + count, values)?;
            }
            (Self::Decimals { .. }, None) => unreachable!("a header says so of floats only"),
        }
        Ok(())
    }

    /// Value `at` of a vector of `count` values whose bytes these are, as bits.
    fn value(
        &self,
        kind: Kind,
        row: usize,
        count: usize,
        bytes: &[u8],
        page: &mut Page,
    ) -> Result<u64, &'static str> {
        let (from, at) = (Parts::new(bytes), row % VECTOR);
        match (self, Float::of(kind)) {
            (Self::Stride { first, step }, _) => {
                from.end().map(|()| first.wrapping_add(step.wrapping_mul(row as u64)))
            }
            (Self::Integers { origin, divisor }, _) => {
                let number = Numbers::parse(count, from)?.number(at);
                let value = number.wrapping_mul(*divisor).wrapping_add(*origin);
                check([value].into_iter(), kind).map(|()| value)
            }
            (Self::Dictionary { entries }, _) => entry(entries, Numbers::parse(count, from)?.number(at)),
            (Self::Decimals { .. }, Some(float)) => Decimals::parse(float, count, from)?.value(at),
            (Self::Split(split), _) => split.parse(count, from)?.value(at),
            (Self::Pco(pco), _) => page.reach(pco, row + 1, bytes).and_then(|()| page.bits(pco, row)),
            (Self::Decimals { .. }, None) => unreachable!("a header says so of floats only"),
        }
    }
}

/// The values of numbers that are counted from `origin`. Apart from its callers, so that this loop is one of vector
/// instructions.
#[inline(never)]
fn raise<T: Fixed>(numbers: &[u64], origin: u64, values: &mut [T]) {
    for (value, number) in values.iter_mut().zip(numbers) {
        *value = T::from_bits(number.wrapping_add(origin));
    }
}

fn entry(entries: &[u64], code: u64) -> Result<u64, &'static str> {
    let entry = usize::try_from(code).ok().and_then(|code| entries.get(code));
    entry.copied().ok_or("a code is behind the last entry of a dictionary")
}

/// That no value is above the highest of its kind, which is 2^n - 1: their bits together show one.
fn check(values: impl Iterator<Item = u64>, kind: Kind) -> Result<(), &'static str> {
    let max = bits_max(kind);
    if max == u64::MAX || values.fold(0, |ored, value| ored | value) <= max {
        return Ok(());
    }
    Err(ABOVE)
}

/// That a stride stays within its kind. At 64 bits it may wrap: a step down is a large one up.
fn check_stride(first: u64, step: u64, rows: usize, kind: Kind) -> Result<(), &'static str> {
    let max = bits_max(kind);
    let last = i128::from(first) + i128::from(step.cast_signed()) * (rows as i128 - 1).max(0);
    if max == u64::MAX || (first <= max && (0..=i128::from(max)).contains(&last)) {
        return Ok(());
    }
    Err(ABOVE)
}

const ABOVE: &str = "a value is above the highest of its kind";

/// The entries of a dictionary are a block in its header, which may be everything but a dictionary.
fn parse_entries(kind: Kind, from: &mut Parts<'_>) -> Result<Vec<u64>, &'static str> {
    let start = *from;
    let tag = from.u8()?;
    if [DICTIONARY, PCO, PCO_DECIMALS].contains(&tag) {
        return Err("the entries of a dictionary are a dictionary or a page");
    }
    let (codec, rows, lengths) = parse_header(tag, kind, from, start.remaining())?;
    let (mut entries, mut scratch) = (vec![0; rows], Scratch::default());
    for (index, entries) in entries.chunks_mut(VECTOR).enumerate() {
        let length = lengths.get(index).map_or(0, |length| u16::from_le_bytes(*length).into());
        codec.decode(kind, index, from.bytes(length)?, &mut scratch, entries)?;
    }
    if entries.is_empty() || !entries.is_sorted_by(|one, next| one < next) {
        return Err("the entries of a dictionary do not rise");
    }
    Ok(entries)
}

type Header<'a> = (Codec, usize, &'a [[u8; 2]]);

/// Behind the tag, which is the first of `remaining` bytes.
fn parse_header<'a>(
    tag: u8,
    kind: Kind,
    from: &mut Parts<'a>,
    remaining: usize,
) -> Result<Header<'a>, &'static str> {
    if from.u8()? != 0 {
        return Err("a reserved byte is not zero");
    }
    let (rows, header_bytes) = (usize::from(from.u16()?), from.u32()? as usize);
    if rows > BLOCK_ROWS {
        return Err("a block has too many rows");
    }
    let behind = from.remaining();
    let codec = Codec::parse(tag, rows, kind, from)?;
    let has_lengths = !matches!(codec, Codec::Stride { .. } | Codec::Pco(_));
    let vectors = if has_lengths { rows.div_ceil(VECTOR) } else { 0 };
    let lengths = from.shorts(vectors)?;
    if header_bytes > remaining || header_bytes != FIXED + behind - from.remaining() {
        return Err("the length of a block's header is wrong");
    }
    Ok((codec, rows, lengths))
}

/// Room for a vector on its way from bytes to values: to clear it for each one would cost a tenth of decoding. And the
/// page that was decoded last, for its next vector.
pub(crate) struct Scratch {
    numbers: [u64; VECTOR],
    page: Page,
}

impl Default for Scratch {
    fn default() -> Self {
        Self { numbers: [0; VECTOR], page: Page::default() }
    }
}

/// The header of a block, taken apart and checked: what is needed to decode any of its vectors.
#[derive(Clone, Debug)]
pub(crate) struct Block {
    kind: Kind,
    rows: usize,
    codec: Codec,
    /// Where each piece begins, and where the last one ends, from the start of the block.
    bounds: Vec<usize>,
    /// Of the block in its file, for errors.
    offset: u64,
}

impl Block {
    /// The block of `rows` values of `kind` that begins these bytes; of them, only its header is needed.
    /// `offset` is where they lie in their file.
    pub(crate) fn parse(bytes: &[u8], kind: Kind, rows: usize, offset: u64) -> Result<Self, Malformed> {
        let mut from = Parts::new(bytes);
        let mut parse = || {
            let tag = from.u8()?;
            let (codec, found, lengths) = parse_header(tag, kind, &mut from, bytes.len())?;
            if found != rows {
                return Err("a block has another number of rows than there should be");
            }
            Ok((codec, lengths))
        };
        let (codec, lengths) = parse().map_err(|what| Malformed::new(offset, what))?;
        let mut bounds = Vec::with_capacity(lengths.len() + 2);
        bounds.push(bytes.len() - from.remaining());
        for length in lengths {
            bounds.push(bounds[bounds.len() - 1] + usize::from(u16::from_le_bytes(*length)));
        }
        if let Codec::Pco(pco) = &codec {
            bounds.push(bounds[0] + pco.page_bytes());
        }
        Ok(Self { kind, rows, codec, bounds, offset })
    }

    /// Bytes in memory.
    pub(crate) fn memory_bytes(&self) -> usize {
        let of_codec = match &self.codec {
            Codec::Dictionary { entries } => 8 * entries.len(),
            Codec::Pco(pco) => 2 * pco.header_bytes(),
            _ => 0,
        };
        size_of::<Self>() + of_codec + 8 * self.bounds.len()
    }

    /// Bytes of the header.
    pub(crate) fn header_bytes(&self) -> usize {
        self.bounds[0]
    }

    /// Bytes of header and vectors.
    pub(crate) fn bytes(&self) -> usize {
        self.bounds[self.bounds.len() - 1]
    }

    /// Vectors, those that need no bytes included.
    pub(crate) fn vectors(&self) -> usize {
        self.rows.div_ceil(VECTOR)
    }

    /// Pieces of bytes: one for each vector, or one page for all, or none where the header says everything.
    pub(crate) fn pieces(&self) -> usize {
        self.bounds.len() - 1
    }

    /// Which piece has the values of vector `index`, if there is one.
    pub(crate) fn piece_of(&self, index: usize) -> Option<usize> {
        let piece = if matches!(self.codec, Codec::Pco(_)) { 0 } else { index };
        (piece < self.pieces()).then_some(piece)
    }

    /// Rows of all vectors.
    pub(crate) fn all_rows(&self) -> usize {
        self.rows
    }

    /// Rows of vector `index`.
    pub(crate) fn rows(&self, index: usize) -> usize {
        self.rows.saturating_sub(index * VECTOR).min(VECTOR)
    }

    /// Where the bytes of vector `index` lie in the block: its piece; nowhere where the header says everything.
    pub(crate) fn vector(&self, index: usize) -> Range<usize> {
        self.piece_of(index).map_or(self.bytes()..self.bytes(), |piece| self.piece(piece))
    }

    /// Where the bytes of piece `index` lie in the block.
    pub(crate) fn piece(&self, index: usize) -> Range<usize> {
        self.bounds[index]..self.bounds[index + 1]
    }

    /// The values of vector `index`, whose bytes are `bytes`, into as many places; after an error what stands there has
    /// no meaning.
    pub(crate) fn decode_vector<T: Fixed>(
        &self,
        index: usize,
        bytes: &[u8],
        scratch: &mut Scratch,
        values: &mut [T],
    ) -> Result<(), Malformed> {
        assert!(T::KIND == self.kind, "a block of {} has no other values", self.kind);
        assert!(values.len() == self.rows(index), "vector {index} has {} rows", self.rows(index));
        let decoded = self.codec.decode(self.kind, index, bytes, scratch, values);
        decoded.map_err(|what| self.malformed(index, what))
    }

    /// The value of row `row`, which is in the vector whose bytes are `bytes`.
    pub(crate) fn value<T: Fixed>(
        &self,
        row: usize,
        bytes: &[u8],
        scratch: &mut Scratch,
    ) -> Result<T, Malformed> {
        assert!(T::KIND == self.kind && row < self.rows, "a block has {} {}", self.rows, self.kind);
        let index = row / VECTOR;
        let value = self.codec.value(self.kind, row, self.rows(index), bytes, &mut scratch.page);
        value.map(T::from_bits).map_err(|what| self.malformed(index, what))
    }

    /// The tag of the codec, as the header has it.
    pub(crate) fn tag(&self) -> u8 {
        self.codec.tag()
    }

    /// What the codec is called.
    pub(crate) fn codec(&self) -> &'static str {
        match &self.codec {
            Codec::Stride { step: 0, .. } => "constant",
            Codec::Stride { .. } => "stride",
            Codec::Integers { .. } => "integers",
            Codec::Decimals { .. } => "decimals",
            Codec::Split(_) => "split",
            Codec::Dictionary { .. } => "dictionary",
            Codec::Pco(_) => codec_name(self.codec.tag()),
        }
    }

    /// The fields of the header, in their order.
    pub(crate) fn fields(&self) -> Vec<HeaderField> {
        let mut fields = vec![
            HeaderField::new("codec", 1, format!("{} ({})", self.codec.tag(), self.codec())),
            HeaderField::new("reserved", 1, 0),
            HeaderField::new("rows", 2, self.rows),
            HeaderField::new("bytes of header", 4, self.header_bytes()),
        ];
        match &self.codec {
            Codec::Stride { first: one, step: two } | Codec::Integers { origin: one, divisor: two } => {
                let is_stride = matches!(self.codec, Codec::Stride { .. });
                let names = if is_stride { ["first", "step"] } else { ["origin", "divisor"] };
                fields.extend([HeaderField::new(names[0], 8, one), HeaderField::new(names[1], 8, two)]);
            }
            Codec::Decimals { .. } => {}
            Codec::Split(split) => fields.extend(split.fields()),
            Codec::Dictionary { entries } => {
                let others = FIXED + 2 * self.pieces();
                fields.push(HeaderField::new("entries", self.header_bytes() - others, entries.len()));
            }
            Codec::Pco(pco) => {
                fields.extend(pco.fields());
                return fields;
            }
        }
        let lengths = (0..self.pieces()).map(|index| self.piece(index).len());
        fields.extend(lengths.map(|length| HeaderField::new("bytes of vector", 2, length)));
        fields
    }

    fn malformed(&self, index: usize, what: &'static str) -> Malformed {
        Malformed::new(self.offset + self.vector(index).start as u64, what)
    }
}
