//! Data in frames of 32 KiB, each of them LZ4, or zstd in dense blocks, or as it is where that gains little.
//!
//! A frame is decoded alone; which one a byte is in is arithmetic. Why these, and why 32 KiB: ARCHITECTURE.md,
//! "Decisions". Format: docs/format.md, "Frames".
//!
//! Not here: what the data is (`bytes`); frames of reference, which are another thing (`frame`).

use std::ops::Range;

use lz4_flex::block::{CompressTable, compress_into_with_table, decompress_into, get_maximum_output_size};

use super::Tier;
use super::parts::small;

/// Bytes of data in a frame; the last one may have fewer.
pub(crate) const FRAME: usize = 32 << 10;
const FRAME_BYTES: u64 = FRAME as u64;

/// It must save one part in so many.
const GAIN: usize = 20;
/// A frame has more than one byte for so many, so that few bytes cannot claim much data. No LZ4 has fewer; what zstd
/// leaves is filled up.
const RATIO: usize = 255;
/// The next levels take up to a twelfth less, at a fifth of the speed.
const LEVEL: i32 = 12;
/// What zstd skips: this, a length of 4 bytes, and so many bytes.
const SKIPPED: [u8; 4] = 0x184D_2A50_u32.to_le_bytes();

/// How the data of a block's frames is encoded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Method {
    Lz4,
    Zstd,
}

impl Method {
    pub(super) fn of(tier: Tier) -> Self {
        match tier {
            Tier::Fast => Self::Lz4,
            Tier::Dense => Self::Zstd,
        }
    }
}

/// How many frames hold so much data.
pub(super) fn frames(data_bytes: u64) -> u64 {
    data_bytes.div_ceil(FRAME_BYTES)
}

/// The frames that hold `data`, which is in memory or can be; none if that is empty.
pub(super) fn frames_of(data: &Range<u64>) -> Range<usize> {
    let index = |frame: u64| usize::try_from(frame).unwrap_or(usize::MAX);
    if data.is_empty() { 0..0 } else { index(data.start / FRAME_BYTES)..index(frames(data.end)) }
}

/// Where the data of frame `index` begins.
pub(super) fn start_of(index: usize) -> u64 {
    FRAME_BYTES.saturating_mul(index as u64)
}

/// How much of `data_bytes` frame `index` holds.
pub(super) fn data_of(index: usize, data_bytes: u64) -> usize {
    let behind = data_bytes.saturating_sub(start_of(index));
    usize::try_from(behind).unwrap_or(FRAME).min(FRAME)
}

/// What turns data that comes in pieces into frames.
pub(super) struct Compressor {
    encoder: Encoder,
    decoder: Decoder,
    output: Vec<u8>,
    /// What a frame decodes to, to be compared.
    decoded: Vec<u8>,
    /// Data of the frame that is not full yet.
    open: Vec<u8>,
}

enum Encoder {
    Lz4(CompressTable),
    Zstd(Box<zstd::bulk::Compressor<'static>>),
}

impl Encoder {
    fn new(method: Method) -> Self {
        match method {
            Method::Lz4 => Self::Lz4(CompressTable::small()),
            Method::Zstd => {
                let compressor = zstd::bulk::Compressor::new(LEVEL);
                Self::Zstd(Box::new(
                    compressor.unwrap_or_else(|wrong| unreachable!("zstd has level {LEVEL}: {wrong}")),
                ))
            }
        }
    }

    /// The length of `data`, encoded into the start of `output`, which has room for what does not get smaller.
    fn encode(&mut self, data: &[u8], output: &mut [u8]) -> usize {
        match self {
            Self::Lz4(table) => compress_into_with_table(data, output, table)
                .unwrap_or_else(|wrong| unreachable!("LZ4 takes any data: {wrong}")),
            Self::Zstd(compressor) => {
                let len = compressor
                    .compress_to_buffer(data, output)
                    .unwrap_or_else(|wrong| unreachable!("zstd takes any data: {wrong}"));
                fill_up(len, data.len(), output)
            }
        }
    }
}

/// Appends what zstd skips to the `len` bytes in `output`, where these are too few for the data.
fn fill_up(len: usize, data: usize, output: &mut [u8]) -> usize {
    if check(len, data).is_ok() {
        return len;
    }
    let skipped = (data / RATIO + 1).saturating_sub(len + 8);
    output[len..len + 4].copy_from_slice(&SKIPPED);
    output[len + 4..len + 8].copy_from_slice(&u32::from(small(skipped)).to_le_bytes());
    output[len + 8..len + 8 + skipped].fill(0);
    len + 8 + skipped
}

/// What makes data of frames again.
pub(super) enum Decoder {
    Lz4,
    Zstd(Box<zstd::bulk::Decompressor<'static>>),
}

impl Decoder {
    pub(super) fn new(method: Method) -> Result<Self, &'static str> {
        match method {
            Method::Lz4 => Ok(Self::Lz4),
            Method::Zstd => {
                let decompressor = zstd::bulk::Decompressor::new().map_err(|_| "zstd gets no memory")?;
                Ok(Self::Zstd(Box::new(decompressor)))
            }
        }
    }

    /// That `frame` is what fills `into`.
    fn fill(&mut self, frame: &[u8], into: &mut [u8]) -> Result<(), &'static str> {
        match self {
            Self::Lz4 => match decompress_into(frame, into) {
                Ok(len) if len == into.len() => Ok(()),
                _ => Err("a frame is not LZ4 of its data"),
            },
            // It goes into the room that there is, and no window is kept beside.
            Self::Zstd(decompressor) => match decompressor.decompress_to_buffer(frame, into) {
                Ok(len) if len == into.len() => Ok(()),
                _ => Err("a frame is not zstd of its data"),
            },
        }
    }
}

impl Compressor {
    pub(super) fn new(method: Method) -> Self {
        let output = vec![0; get_maximum_output_size(FRAME).max(zstd::zstd_safe::compress_bound(FRAME))];
        let decoder = Decoder::new(method).unwrap_or_else(|wrong| unreachable!("{wrong}"));
        Self { encoder: Encoder::new(method), decoder, output, decoded: vec![0; FRAME], open: Vec::new() }
    }

    /// Appends the frames that `data` completes to `bytes`, and the length of each to `lengths`.
    pub(super) fn push(&mut self, mut data: &[u8], lengths: &mut Vec<u16>, bytes: &mut Vec<u8>) {
        while !data.is_empty() {
            let missing = (FRAME - self.open.len()).min(data.len());
            let (now, rest) = data.split_at(missing);
            data = rest;
            if now.len() == FRAME {
                lengths.push(self.encode(now, bytes));
                continue;
            }
            self.open.extend_from_slice(now);
            if self.open.len() == FRAME {
                self.close(lengths, bytes);
            }
        }
    }

    /// Appends the frame that is open, if there is one.
    pub(super) fn close(&mut self, lengths: &mut Vec<u16>, bytes: &mut Vec<u8>) {
        if !self.open.is_empty() {
            let open = std::mem::take(&mut self.open);
            lengths.push(self.encode(&open, bytes));
            self.open = open;
            self.open.clear();
        }
    }

    /// Appends the frame of `data`; returns its length. What does not come back as it was is not used.
    fn encode(&mut self, data: &[u8], bytes: &mut Vec<u8>) -> u16 {
        let Self { encoder, decoder, output, decoded, .. } = self;
        let len = encoder.encode(data, output);
        let mut comes_back = |frame: &[u8]| {
            let decoded = &mut decoded[..data.len()];
            decoder.fill(frame, decoded).is_ok() && *decoded == *data
        };
        let is_smaller = len * GAIN <= data.len() * (GAIN - 1);
        let frame = if is_smaller && comes_back(&output[..len]) { &output[..len] } else { data };
        bytes.extend_from_slice(frame);
        small(frame.len())
    }
}

/// That a frame of `len` bytes can hold so much data.
pub(super) fn check(len: usize, data: usize) -> Result<(), &'static str> {
    if len > data {
        return Err("a frame is longer than its data");
    }
    if len.saturating_mul(RATIO) <= data {
        return Err("a frame is too short for its data");
    }
    Ok(())
}

impl Decoder {
    /// Appends `wanted`, a range within the `data` bytes that `frame` holds, to `into`.
    pub(super) fn decode(
        &mut self,
        frame: &[u8],
        data: usize,
        wanted: Range<usize>,
        into: &mut Vec<u8>,
    ) -> Result<(), &'static str> {
        if frame.len() == data {
            into.extend_from_slice(&frame[wanted]);
            return Ok(());
        }
        let start = into.len();
        into.resize(start + data, 0);
        self.fill(frame, &mut into[start..])?;
        into.truncate(start + wanted.end);
        into.drain(start..start + wanted.start);
        Ok(())
    }
}
