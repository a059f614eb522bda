//! Data in frames of 32 KiB, each of them LZ4, or as it is where that gains little.
//!
//! A frame is decoded alone; which one a byte is in is arithmetic. Why LZ4, and why 32 KiB: ARCHITECTURE.md,
//! "Decisions". Format: docs/format.md, "Frames".
//!
//! Not here: what the data is (`bytes`); frames of reference, which are another thing (`frame`).

use std::ops::Range;

use lz4_flex::block::{CompressTable, compress_into_with_table, decompress_into, get_maximum_output_size};

use super::parts::small;

/// Bytes of data in a frame; the last one may have fewer.
pub(crate) const FRAME: usize = 32 << 10;
const FRAME_BYTES: u64 = FRAME as u64;

/// LZ4 must save one part in so many.
const GAIN: usize = 20;
/// LZ4 makes fewer bytes than so many of one.
const RATIO: usize = 255;

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
    table: CompressTable,
    output: Vec<u8>,
    /// What a frame decodes to, to be compared.
    decoded: Vec<u8>,
    /// Data of the frame that is not full yet.
    open: Vec<u8>,
}

impl Compressor {
    pub(super) fn new() -> Self {
        let output = vec![0; get_maximum_output_size(FRAME)];
        Self { table: CompressTable::small(), output, decoded: vec![0; FRAME], open: Vec::new() }
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

    /// Appends the frame of `data`; returns its length. LZ4 that does not come back as it was is not used.
    fn encode(&mut self, data: &[u8], bytes: &mut Vec<u8>) -> u16 {
        let Self { table, output, decoded, .. } = self;
        let len = compress_into_with_table(data, output, table)
            .unwrap_or_else(|_| unreachable!("there is room for what does not get smaller"));
        let mut comes_back = |frame: &[u8]| {
            decompress_into(frame, &mut decoded[..data.len()]).is_ok_and(|len| decoded[..len] == *data)
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

/// Appends `wanted`, a range within the `data` bytes that `frame` holds, to `into`.
pub(super) fn decode(
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
    match decompress_into(frame, &mut into[start..]) {
        Ok(len) if len == data => {}
        _ => return Err("a frame is not LZ4 of its data"),
    }
    into.truncate(start + wanted.end);
    into.drain(start..start + wanted.start);
    Ok(())
}
