//! Pages of pco: numbers of a block with what is left of their randomness, for what is kept long.
//!
//! pco (the crate of this name) finds a form for the numbers and codes what remains by its entropy: a third smaller than
//! vectors of the other codecs, and decoded at a tenth of their speed. All values of a block are one page: where pages
//! were of 1,024 values, real columns took 2 to 17 % more, since each begins to learn anew. So a page is decoded from
//! its start, up to the wanted value, and kept in a [`Page`] for those that follow.
//!
//! Floats that were decimals are a page of their whole numbers where that is smaller (`decimals`): pco's own form for
//! them lists by how little each one is beside a multiple, which is a bit for many.
//!
//! Bytes to decode may be anybody's. pco checks what it reads; that it takes no more memory than a block is seen to
//! here: two of its forms, which are never written, hold lists and windows as long as they say, and are refused.
//!
//! Not here: whether a block becomes a page (`block`), checksums (`format`).

use std::ops::Range;
use std::sync::Arc;

use ::pco::data_types::Number;
use ::pco::errors::PcoResult;
use ::pco::metadata::DeltaEncoding;
use ::pco::wrapped::{ChunkDecompressor, FileCompressor, FileDecompressor};
use ::pco::{ChunkConfig, DeltaSpec, FULL_BATCH_N};
use bytemuck::Pod;

use super::decimals::Scaled;
use super::fixed::{Fixed, Float};
use super::parts::Parts;
use super::{BLOCK_ROWS, HeaderField};
use crate::schema::Kind;

/// The higher, the smaller and the slower to encode; from here on by little.
const LEVEL: usize = 8;
/// References to earlier values are decoded at half the speed: they must save one part in so many.
const LOOKBACK_GAIN: usize = 32;
/// Exceptions to decimals take all their bits: one value in so many may be one.
const EXCEPTIONS: usize = 32;
/// The least number of bits that a window of references has which holds a block.
const WINDOW_BITS_MAX: u32 = BLOCK_ROWS.ilog2();
/// Which of its versions pco's bytes are, as it says itself: not written, since the format says it.
const VERSION: &[u8] = &[4, 1];
/// What the lowest four bits of its metadata say of numbers that are a dictionary's.
const DICTIONARY: u8 = 4;

/// What a header says of the page of a block.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Pco {
    numbers: Numbers,
    rows: usize,
    /// What makes values of the page's numbers, where these are not the values.
    scaled: Option<Scaled>,
    /// What pco says of the numbers, checked.
    metadata: Arc<[u8]>,
    page_bytes: usize,
}

/// A page on its way from bytes to values, as bits: all values, or some from the first on.
#[derive(Default)]
pub(super) struct Page {
    /// Metadata of the block that they are of, which are not freed and used again while they are here.
    of: Option<Arc<[u8]>>,
    /// Where the bytes were.
    bytes: Range<usize>,
    decoded: usize,
    /// Bytes of a value.
    width: usize,
    /// As pco makes them: of 32-bit kinds two in each.
    words: Vec<u64>,
}

/// The kinds of numbers that pco tells apart. Integers are theirs as bits, which have the same order.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Numbers {
    U64,
    U32,
    F64,
    F32,
}

impl Numbers {
    fn of(kind: Kind) -> Option<Self> {
        match (Float::of(kind), kind.width()) {
            (Some(Float::F64), _) => Some(Self::F64),
            (Some(Float::F32), _) => Some(Self::F32),
            (None, Some(8)) => Some(Self::U64),
            (None, Some(4)) => Some(Self::U32),
            _ => None,
        }
    }

    fn width(self) -> usize {
        match self {
            Self::U64 | Self::F64 => 8,
            Self::U32 | Self::F32 => 4,
        }
    }
}

/// Values of `kind`, as bits, as metadata and a page; nothing where pco has no such numbers.
pub(super) fn encode(values: &[u64], kind: Kind) -> Option<(Pco, Vec<u8>)> {
    let numbers = Numbers::of(kind)?;
    let compress = |numbers, bits: &[u64], delta: DeltaSpec| {
        let compressed = match numbers {
            Numbers::U64 => compress::<u64>(bits, numbers, delta),
            Numbers::U32 => compress::<u32>(bits, numbers, delta),
            Numbers::F64 => compress::<f64>(bits, numbers, delta),
            Numbers::F32 => compress::<f32>(bits, numbers, delta),
        };
        compressed.unwrap_or_else(|wrong| unreachable!("pco takes every number: {wrong}"))
    };
    let size = |(pco, page): &(Pco, Vec<u8>)| pco.header_bytes() + page.len();
    let mut best = compress(numbers, values, DeltaSpec::Auto);
    let decimals = Float::of(kind).map(|float| Scaled::of(values, float));
    let mut bits = values;
    if let Some((scaled, whole)) =
        decimals.as_ref().filter(|(scaled, _)| scaled.exceptions() <= values.len() / EXCEPTIONS)
    {
        let (pco, page) = compress(Numbers::U64, whole, DeltaSpec::Auto);
        let other = (Pco { scaled: Some(scaled.clone()), ..pco }, page);
        if size(&other) < size(&best) {
            (best, bits) = (other, whole);
        }
    }
    let (pco, page) = compress(best.0.numbers, bits, DeltaSpec::TryLookback);
    let other = (Pco { scaled: best.0.scaled.clone(), ..pco }, page);
    if size(&other) < size(&best) - size(&best) / LOOKBACK_GAIN {
        best = other;
    }
    // What does not come back as it was is not used.
    let (mut page, mut decoded) = (Page::default(), Vec::with_capacity(values.len()));
    page.reach(&best.0, values.len(), &best.1).ok()?;
    let row = |row| page.bits(&best.0, row);
    decoded.extend((0..values.len()).map_while(|at| row(at).ok()));
    (decoded == values).then_some(best)
}

fn compress<T: Fixed + Number>(
    bits: &[u64],
    numbers: Numbers,
    delta: DeltaSpec,
) -> PcoResult<(Pco, Vec<u8>)> {
    let values: Vec<T> = bits.iter().map(|bits| T::from_bits(*bits)).collect();
    let config = ChunkConfig::default().with_compression_level(LEVEL).with_delta_spec(delta);
    let file = FileCompressor::default();
    let mut chunk = file.chunk_compressor(&values, &config)?;
    assert!(file.write_header(Vec::new())? == VERSION, "blocks have pco's format {VERSION:?}");
    let metadata = chunk.write_meta(Vec::new())?;
    let page = chunk.write_page(0, Vec::new())?;
    let (rows, page_bytes) = (values.len(), page.len());
    let pco = Pco { numbers, rows, scaled: None, metadata: metadata.into(), page_bytes };
    Ok((pco, page))
}

impl Pco {
    /// Appends what stands in a header.
    pub(super) fn encode_header(&self, bytes: &mut Vec<u8>) {
        if let Some(scaled) = &self.scaled {
            scaled.encode_header(bytes);
        }
        bytes.extend(field(self.metadata.len()).to_le_bytes());
        bytes.extend(field(self.page_bytes).to_le_bytes());
        bytes.extend_from_slice(&self.metadata);
    }

    /// Of values of `kind`.
    pub(super) fn parse_header(kind: Kind, rows: usize, from: &mut Parts<'_>) -> Result<Self, &'static str> {
        let numbers = Numbers::of(kind).ok_or("the codec of a block is not one for its kind")?;
        Self::parse(numbers, None, rows, from)
    }

    /// Of floats that are kept as whole numbers.
    pub(super) fn parse_scaled(
        float: Float,
        rows: usize,
        from: &mut Parts<'_>,
    ) -> Result<Self, &'static str> {
        let scaled = Scaled::parse_header(float, rows, from)?;
        Self::parse(Numbers::U64, Some(scaled), rows, from)
    }

    fn parse(
        numbers: Numbers,
        scaled: Option<Scaled>,
        rows: usize,
        from: &mut Parts<'_>,
    ) -> Result<Self, &'static str> {
        let (metadata_bytes, page_bytes) = (from.u32()? as usize, from.u32()? as usize);
        let metadata = from.bytes(metadata_bytes)?;
        match numbers {
            Numbers::U64 => drop(chunk::<u64>(metadata)?),
            Numbers::U32 => drop(chunk::<u32>(metadata)?),
            Numbers::F64 => drop(chunk::<f64>(metadata)?),
            Numbers::F32 => drop(chunk::<f32>(metadata)?),
        }
        Ok(Self { numbers, rows, scaled, metadata: metadata.into(), page_bytes })
    }

    pub(super) fn rows(&self) -> usize {
        self.rows
    }

    pub(super) fn is_scaled(&self) -> bool {
        self.scaled.is_some()
    }

    /// Bytes of what stands in a header, and about those in memory.
    pub(super) fn header_bytes(&self) -> usize {
        self.scaled.as_ref().map_or(0, Scaled::header_bytes) + 8 + self.metadata.len()
    }

    /// What stands in a header: names, bytes, what they say.
    pub(super) fn fields(&self) -> Vec<HeaderField> {
        let mut fields = Vec::new();
        if let Some(scaled) = &self.scaled {
            fields.push(HeaderField::new(
                "exponents, exceptions",
                scaled.header_bytes(),
                scaled.exceptions(),
            ));
        }
        fields.extend([
            HeaderField::new("bytes of metadata", 4, self.metadata.len()),
            HeaderField::new("bytes of page", 4, self.page_bytes),
            HeaderField::new("metadata", self.metadata.len(), "pco's"),
        ]);
        fields
    }

    pub(super) fn page_bytes(&self) -> usize {
        self.page_bytes
    }
}

fn field(bytes: usize) -> u32 {
    u32::try_from(bytes).unwrap_or_else(|_| unreachable!("a block has not {bytes} bytes"))
}

/// What pco says of numbers, taken apart: all of it, and nothing that could take more memory than a block.
fn chunk<T: Number>(metadata: &[u8]) -> Result<ChunkDecompressor<T>, &'static str> {
    let refused = "the metadata of a block is not pco's";
    if metadata.first().is_some_and(|form| form & 0xF == DICTIONARY) {
        return Err("pco's metadata has a dictionary");
    }
    let (file, _) = FileDecompressor::new(VERSION).map_err(|_| refused)?;
    let (chunk, rest) = file.chunk_decompressor::<T, _>(metadata).map_err(|_| refused)?;
    if !rest.is_empty() {
        return Err("there are bytes behind pco's metadata");
    }
    match &chunk.meta().delta_encoding {
        DeltaEncoding::NoOp | DeltaEncoding::Consecutive { secondary_uses_delta: false, .. } => Ok(chunk),
        DeltaEncoding::Lookback { config, secondary_uses_delta: false }
            if config.window_n_log <= WINDOW_BITS_MAX =>
        {
            Ok(chunk)
        }
        _ => Err("numbers of a block are not in a form that a writer uses"),
    }
}

impl Page {
    /// Decodes the first `wanted` values at least of the page that is `bytes`, if they are not here yet.
    pub(super) fn reach(&mut self, pco: &Pco, wanted: usize, bytes: &[u8]) -> Result<(), &'static str> {
        let start = bytes.as_ptr().addr();
        let place = start..start + bytes.len();
        let is_here =
            self.bytes == place && self.of.as_ref().is_some_and(|of| Arc::ptr_eq(of, &pco.metadata));
        if is_here && self.decoded >= wanted {
            return Ok(());
        }
        // Who asks a second time will ask again.
        let wanted = if is_here { pco.rows } else { wanted.next_multiple_of(FULL_BATCH_N).min(pco.rows) };
        (self.of, self.width) = (None, pco.numbers.width());
        self.words.resize((wanted * self.width).div_ceil(size_of::<u64>()), 0);
        match pco.numbers {
            Numbers::U64 => decode::<u64>(pco, bytes, &mut self.words, wanted),
            Numbers::U32 => decode::<u32>(pco, bytes, &mut self.words, wanted),
            Numbers::F64 => decode::<f64>(pco, bytes, &mut self.words, wanted),
            Numbers::F32 => decode::<f32>(pco, bytes, &mut self.words, wanted),
        }?;
        (self.of, self.bytes, self.decoded) = (Some(Arc::clone(&pco.metadata)), place, wanted);
        Ok(())
    }

    /// A value that has been reached, as bits.
    pub(super) fn bits(&self, pco: &Pco, row: usize) -> Result<u64, &'static str> {
        match &pco.scaled {
            Some(scaled) => scaled.value(row, self.words[row]),
            None if self.is_short() => Ok(bytemuck::cast_slice::<u64, u32>(&self.words)[row].into()),
            None => Ok(self.words[row]),
        }
    }

    fn is_short(&self) -> bool {
        self.width == size_of::<u32>()
    }

    /// Some of the values, which have been reached.
    pub(super) fn values<T: Fixed>(
        &self,
        pco: &Pco,
        rows: Range<usize>,
        values: &mut [T],
    ) -> Result<(), &'static str> {
        if let Some(scaled) = &pco.scaled {
            return scaled.values(rows.start, &self.words[rows], values);
        }
        if self.is_short() {
            values_of(&bytemuck::cast_slice::<u64, u32>(&self.words)[rows], values);
        } else {
            values_of(&self.words[rows], values);
        }
        Ok(())
    }
}

/// Apart from its callers, so that this loop is one of vector instructions.
#[inline(never)]
fn values_of<T: Fixed, W: Copy + Into<u64>>(words: &[W], values: &mut [T]) {
    for (value, word) in values.iter_mut().zip(words) {
        *value = T::from_bits((*word).into());
    }
}

/// The first `wanted` values of a page, all of them or whole batches, into the first places of `words`.
fn decode<T: Number + Pod>(
    pco: &Pco,
    bytes: &[u8],
    words: &mut [u64],
    wanted: usize,
) -> Result<(), &'static str> {
    let refused = "a page is not pco's of its values";
    let mut chunk = chunk::<T>(&pco.metadata)?;
    let mut page = chunk.page_decompressor(bytes, pco.rows).map_err(|_| refused)?;
    let numbers = &mut bytemuck::cast_slice_mut::<u64, T>(words)[..wanted];
    let progress = page.read(numbers).map_err(|_| refused)?;
    if progress.n_processed != wanted || (progress.finished && !page.into_src().is_empty()) {
        return Err(refused);
    }
    Ok(())
}
