//! Writing a block of bytes or text in one pass, in little memory however large it is.
//!
//! Where values end is known beforehand, so their vectors come first; frames follow as data comes in. Only a block
//! that could have a dictionary, for which all values must have been seen, is kept until its end.
//!
//! Not here: what is written (docs/format.md, "Bytes"), reading it (the module above).

use super::{DICTIONARY, DICTIONARY_BYTES_MAX, FIXED, FRAMES, VALUE_BYTES_MAX, ZSTD_DICTIONARY, ZSTD_FRAMES};
use crate::codec::block::{self, Block};
use crate::codec::data::{Compressor, Method};
use crate::codec::entries::Entries;
use crate::codec::parts::small;
use crate::codec::{BLOCK_ROWS, Tier, VECTOR};
use crate::schema::Kind;

/// A block on its way from values to bytes.
pub(crate) struct Encoder {
    /// Where each value ends.
    ends: Vec<u64>,
    received: u64,
    method: Method,
    to: To,
}

enum To {
    /// The values until now: they may become a dictionary.
    Kept(Vec<u8>),
    Frames(Box<(Body, Compressor)>),
}

/// What has been written of a block, as far as its header says it.
struct Body {
    tag: u8,
    rows: usize,
    data_bytes: u64,
    /// The header of the numbers.
    numbers: Vec<u8>,
    /// What only this codec has.
    parameters: Vec<u8>,
    /// Bytes of each vector that has some, then of each frame.
    pieces: Vec<u16>,
    vectors: usize,
}

impl Encoder {
    /// A block of values, 16,384 at most, that end at `ends` in the data that will follow.
    pub(crate) fn new(ends: &[u64], tier: Tier, bytes: &mut Vec<u8>) -> Self {
        assert!(ends.len() <= BLOCK_ROWS, "a block has {BLOCK_ROWS} rows at most");
        let is_value = |pair: &[u64]| pair[0] <= pair[1] && pair[1] - pair[0] <= VALUE_BYTES_MAX;
        assert!(
            ends.windows(2).all(is_value) && ends.first().is_none_or(|end| *end <= VALUE_BYTES_MAX),
            "values end one behind the other, and are 2^32 - 1 bytes at most"
        );
        let (data_bytes, method) = (ends.last().copied().unwrap_or(0), Method::of(tier));
        let to = if data_bytes <= DICTIONARY_BYTES_MAX {
            To::Kept(Vec::new())
        } else {
            To::Frames(Box::new((Body::of_ends(ends, method, bytes), Compressor::new(method))))
        };
        Self { ends: ends.to_vec(), received: 0, method, to }
    }

    /// Takes the next bytes of the values, any number of them, and appends what is finished to `bytes`.
    pub(crate) fn push(&mut self, data: &[u8], bytes: &mut Vec<u8>) {
        self.received += data.len() as u64;
        match &mut self.to {
            To::Kept(kept) => kept.extend_from_slice(data),
            To::Frames(frames) => {
                let (body, compressor) = frames.as_mut();
                compressor.push(data, &mut body.pieces, bytes);
            }
        }
    }

    /// Bytes of each vector and each frame that has been appended until now.
    pub(crate) fn pieces(&self) -> &[u16] {
        match &self.to {
            To::Kept(_) => &[],
            To::Frames(frames) => &frames.0.pieces,
        }
    }

    /// Appends what is left; returns the header, and the bytes of each vector and frame.
    pub(crate) fn finish(self, bytes: &mut Vec<u8>) -> (Vec<u8>, Vec<u16>) {
        let expected = self.ends.last().copied().unwrap_or(0);
        assert!(self.received == expected, "{} bytes were given for {expected}", self.received);
        let body = match self.to {
            To::Frames(frames) => {
                let (mut body, mut compressor) = *frames;
                compressor.close(&mut body.pieces, bytes);
                body
            }
            To::Kept(data) => {
                let (body, mut encoded) = smaller(&self.ends, &data, self.method);
                bytes.append(&mut encoded);
                body
            }
        };
        (body.header(), body.pieces)
    }
}

/// The values as frames or as a dictionary, whichever is smaller.
fn smaller(ends: &[u64], data: &[u8], method: Method) -> (Body, Vec<u8>) {
    let mut bytes = Vec::new();
    let mut frames = Body::of_ends(ends, method, &mut bytes);
    frames.compress([data], method, &mut bytes);
    let Some(entries) = Entries::of(ends, data) else { return (frames, bytes) };
    let mut others = Vec::new();
    let dictionary = Body::of_entries(&entries, method, &mut others);
    if dictionary.header().len() + others.len() <= frames.header().len() + bytes.len() {
        (dictionary, others)
    } else {
        (frames, bytes)
    }
}

impl Body {
    fn of_ends(ends: &[u64], method: Method, bytes: &mut Vec<u8>) -> Self {
        let tag = match method {
            Method::Lz4 => FRAMES,
            Method::Zstd => ZSTD_FRAMES,
        };
        let vectors = ends.chunks(VECTOR).filter_map(<[u64]>::last);
        let (inner, data_bytes) = (ends.len().div_ceil(VECTOR).saturating_sub(1), ends.last().copied());
        let parameters = vectors.take(inner).flat_map(|end| end.to_le_bytes()).collect();
        Self { data_bytes: data_bytes.unwrap_or(0), parameters, ..Self::of_numbers(tag, ends, bytes) }
    }

    fn of_entries(entries: &Entries<'_>, method: Method, bytes: &mut Vec<u8>) -> Self {
        let mut data_bytes = 0;
        let ends = entries.values.iter().map(|value| {
            data_bytes += value.len() as u64;
            data_bytes
        });
        let ends: Vec<u64> = ends.collect();
        let mut parameters = small(ends.len()).to_le_bytes().to_vec();
        parameters.append(&mut block::encode(&ends, Tier::Fast));
        let tag = match method {
            Method::Lz4 => DICTIONARY,
            Method::Zstd => ZSTD_DICTIONARY,
        };
        let numbers = Self::of_numbers(tag, &entries.codes, bytes);
        let mut body = Self { data_bytes, parameters, ..numbers };
        body.compress(entries.values.iter().copied(), method, bytes);
        body
    }

    /// With the vectors of `numbers` in `bytes`.
    fn of_numbers(tag: u8, numbers: &[u64], bytes: &mut Vec<u8>) -> Self {
        let encoded = block::encode(numbers, Tier::Fast);
        let block = Block::parse(&encoded, Kind::U64, numbers.len(), 0);
        let block = block.unwrap_or_else(|_| unreachable!("an encoded block is well formed"));
        let (header, vectors) = encoded.split_at(block.header_bytes());
        bytes.extend_from_slice(vectors);
        let vectors = block.pieces();
        let pieces = (0..vectors).map(|index| small(block.piece(index).len())).collect();
        let (numbers, rows) = (header.to_vec(), numbers.len());
        Self { tag, rows, data_bytes: 0, numbers, parameters: Vec::new(), pieces, vectors }
    }

    fn compress<'a>(
        &mut self,
        data: impl IntoIterator<Item = &'a [u8]>,
        method: Method,
        bytes: &mut Vec<u8>,
    ) {
        let mut compressor = Compressor::new(method);
        data.into_iter().for_each(|data| compressor.push(data, &mut self.pieces, bytes));
        compressor.close(&mut self.pieces, bytes);
    }

    fn header(&self) -> Vec<u8> {
        let frames = &self.pieces[self.vectors..];
        let len = FIXED + self.numbers.len() + self.parameters.len() + 2 * frames.len();
        let len_field = u32::try_from(len).unwrap_or_else(|_| {
            unreachable!("a segment has fewer than 2^31 frames, this has {}", frames.len())
        });
        let mut header = Vec::with_capacity(len);
        header.extend([self.tag, 0]);
        header.extend(small(self.rows).to_le_bytes());
        header.extend(len_field.to_le_bytes());
        header.extend(self.data_bytes.to_le_bytes());
        header.extend_from_slice(&self.numbers);
        header.extend_from_slice(&self.parameters);
        header.extend(frames.iter().flat_map(|length| length.to_le_bytes()));
        header
    }
}
