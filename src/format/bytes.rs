//! A block of bytes or text as it lies in a sealed segment: what `codec` encodes, and the checksums that prove it.
//!
//! It is written front to back in little memory, so its head is its end: vectors, frames, head. The head has a salted
//! checksum and holds one of each vector and frame. Reading rows of it: [`SealedBytes::parse`] the head; read and
//! [`SealedBytes::verify`] what `vectors` names, and `locate`; then the same with what `stored` names, and `decode`.
//! Format: docs/format.md, "Bytes".
//!
//! Not here: what the bytes mean (`codec`), blocks of fixed width (`block`), where blocks lie (the segment's index).

use std::ops::Range;

use super::block::{BlockPlace, FIXED, SUM};
use super::cursor::{Cursor, Field, field};
use super::{Malformed, StoreId, crc32c};
use crate::codec::Tier;
use crate::codec::bytes::BytesBlock;
use crate::codec::bytes::encode::Encoder;

/// A block of bytes or text on its way to its file.
pub(crate) struct BytesWriter {
    encoder: Encoder,
    /// Of each vector and frame that has been appended.
    sums: Vec<u32>,
    place: BlockPlace,
    store: StoreId,
}

impl BytesWriter {
    /// A block at `place` of values, 16,384 at most, which end at `ends` in the data that will follow.
    ///
    /// What is finished is appended to `bytes`, here and by the other methods, in the order of the file: the caller
    /// may write and clear them at any time.
    pub(crate) fn new(
        ends: &[u64],
        tier: Tier,
        place: BlockPlace,
        store: &StoreId,
        bytes: &mut Vec<u8>,
    ) -> Self {
        let start = bytes.len();
        let encoder = Encoder::new(ends, tier, bytes);
        let mut writer = Self { encoder, sums: Vec::new(), place, store: *store };
        sum_up(writer.encoder.pieces(), &bytes[start..], &mut writer.sums);
        writer
    }

    /// Takes the next bytes of the values, any number of them.
    pub(crate) fn push(&mut self, data: &[u8], bytes: &mut Vec<u8>) {
        let (start, known) = (bytes.len(), self.encoder.pieces().len());
        self.encoder.push(data, bytes);
        sum_up(&self.encoder.pieces()[known..], &bytes[start..], &mut self.sums);
    }

    /// Appends what is left, and the head; returns the length of that.
    pub(crate) fn finish(self, bytes: &mut Vec<u8>) -> usize {
        let Self { encoder, mut sums, place, store } = self;
        let (start, known) = (bytes.len(), encoder.pieces().len());
        let (header, pieces) = encoder.finish(bytes);
        sum_up(&pieces[known..], &bytes[start..], &mut sums);
        let head_bytes = FIXED + header.len() + SUM * sums.len();
        let mut content = field(head_bytes).to_le_bytes().to_vec();
        content.extend_from_slice(&header);
        content.extend(sums.iter().flat_map(|sum| sum.to_le_bytes()));
        bytes.extend(place.salt(&store).crc32(&[&content]).to_le_bytes());
        bytes.append(&mut content);
        head_bytes
    }
}

/// Appends the checksums of pieces of these lengths, one behind the other.
fn sum_up(lengths: &[u16], mut bytes: &[u8], sums: &mut Vec<u32>) {
    for length in lengths {
        let (piece, rest) = bytes.split_at((*length).into());
        sums.push(crc32c(piece));
        bytes = rest;
    }
}

/// The head of a block of bytes or text, verified and taken apart.
#[derive(Clone, Debug)]
pub(crate) struct SealedBytes {
    block: BytesBlock,
    /// Of each vector that has bytes, then of each frame.
    sums: Vec<u32>,
    place: BlockPlace,
}

impl SealedBytes {
    /// The block of `rows` values at `place` that has `bytes` bytes, of which `head`, all of it, is the end.
    pub(crate) fn parse(
        head: &[u8],
        rows: usize,
        bytes: u64,
        place: BlockPlace,
        store: &StoreId,
    ) -> Result<Self, Malformed> {
        Self::parse_traced(head, rows, bytes, place, store, None)
    }

    /// The same, noting every field of the head.
    pub(crate) fn parse_traced(
        head: &[u8],
        rows: usize,
        bytes: u64,
        place: BlockPlace,
        store: &StoreId,
        trace: Option<&mut Vec<Field>>,
    ) -> Result<Self, Malformed> {
        let content_bytes = bytes.saturating_sub(head.len() as u64);
        let mut from = Cursor::new(head, place.offset.saturating_add(content_bytes)).traced(trace);
        let start = from.offset();
        let sum = from.sum32("checksum of the head")?;
        let head_bytes = u64::from(from.u32("bytes of the head")?);
        if head_bytes != head.len() as u64 || head_bytes > bytes {
            let what = format!("a block's head of {head_bytes} bytes is not there");
            return Err(Malformed::new(start, what));
        }
        if place.salt(store).crc32(&[&head[4..]]) != sum {
            return Err(Malformed::new(start, "the checksum of a block's head does not match"));
        }
        let block = BytesBlock::parse(&head[FIXED..], rows, content_bytes, place.offset);
        let block = block.map_err(Malformed::in_intact)?;
        from.header(block.header_bytes(), || block.fields())?;
        let sums = from.sums_of(block.pieces().len() - 1, "sums of vectors and frames");
        let sums = sums.map_err(Malformed::in_intact)?;
        if from.remaining() > 0 {
            return Err(from.malformed("a block's head has another length than it says").in_intact());
        }
        Ok(Self { block, sums, place })
    }

    /// Bytes in memory.
    pub(crate) fn memory_bytes(&self) -> usize {
        self.block.memory_bytes() + 4 * self.sums.len()
    }

    /// What was encoded: which bytes rows need, and decoding them.
    pub(crate) fn block(&self) -> &BytesBlock {
        &self.block
    }

    /// That `bytes` are those of the block in `range`, which is one that `vectors` or `stored` names. Once is enough
    /// for bytes that stay in memory.
    pub(crate) fn verify(&self, range: &Range<u64>, bytes: &[u8]) -> Result<(), Malformed> {
        let pieces = self.block.pieces();
        let first = pieces.partition_point(|bound| *bound < range.start);
        let (mut at, mut rest) = (range.start, bytes);
        let sums = self.sums.get(first..).unwrap_or_default();
        for (bounds, sum) in
            pieces[first..].windows(2).zip(sums).take_while(|(bounds, _)| bounds[0] < range.end)
        {
            let len = usize::try_from(bounds[1] - bounds[0]).unwrap_or(usize::MAX);
            match rest.split_at_checked(len) {
                Some((piece, behind)) if crc32c(piece) == *sum => (at, rest) = (bounds[1], behind),
                _ => break,
            }
        }
        if at == range.end && rest.is_empty() {
            return Ok(());
        }
        let what = "the checksum of a vector or frame of a block does not match";
        Err(Malformed::new(self.place.offset.saturating_add(at), what))
    }
}
