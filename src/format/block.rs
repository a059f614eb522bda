//! A block as it lies in a sealed segment: what `codec` encodes, and the checksums that prove it.
//!
//! The head, which is all that is not a vector, has a salted checksum; it holds one of each vector. So a vector is
//! verified, and its values are decoded, without its neighbours. Format: docs/format.md, "Block".
//!
//! Not here: what the bytes of header and vectors mean (`codec`), where blocks lie (the segment's index).

use std::ops::Range;

use super::cursor::{Cursor, Field, field};
use super::entries::Coded;
use super::{Malformed, Piece, Salt, StoreId, crc32c};
use crate::codec::Tier;
use crate::codec::VECTOR;
use crate::codec::block::{Block, Scratch};
use crate::codec::fixed::Fixed;
use crate::schema::Kind;

/// Checksum and length of the head.
pub(super) const FIXED: usize = 8;
/// Bytes of a vector's checksum.
pub(super) const SUM: usize = 4;

/// Where a block lies: the number of its segment, and the offset in it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct BlockPlace {
    pub(crate) segment: u64,
    pub(crate) offset: u64,
}

impl BlockPlace {
    pub(super) fn salt(self, store: &StoreId) -> Salt {
        Salt::new(store, Piece::Block, 0, self.offset, self.segment)
    }
}

/// A block's head, verified and taken apart.
#[derive(Clone, Debug)]
pub(crate) struct SealedBlock {
    block: Block,
    /// Of each piece.
    sums: Vec<u32>,
    head_bytes: usize,
    place: BlockPlace,
}

/// The bytes of `values`, 16,384 at most, as a block at `place`.
pub(crate) fn encode<T: Fixed>(values: &[T], tier: Tier, place: BlockPlace, store: &StoreId) -> Vec<u8> {
    let encoded = crate::codec::block::encode(values, tier);
    let block = Block::parse(&encoded, T::KIND, values.len(), 0);
    let block = block.unwrap_or_else(|wrong| unreachable!("an encoded block is well formed: {}", wrong.what));
    let (header, vectors) = encoded.split_at(block.header_bytes());
    let mut content = field(FIXED + header.len() + SUM * block.pieces()).to_le_bytes().to_vec();
    content.extend_from_slice(header);
    for index in 0..block.pieces() {
        content.extend(crc32c(&encoded[block.piece(index)]).to_le_bytes());
    }
    let mut bytes = place.salt(store).crc32(&[&content]).to_le_bytes().to_vec();
    bytes.append(&mut content);
    bytes.extend_from_slice(vectors);
    bytes
}

/// All values of the block of `rows` that these bytes are, verified; it is encoded as the index says.
pub(crate) fn decode<T: Fixed>(
    bytes: &[u8],
    rows: usize,
    coded: Coded,
    place: BlockPlace,
    store: &StoreId,
    scratch: &mut Scratch,
) -> Result<Vec<T>, Malformed> {
    let sealed = SealedBlock::parse(bytes, T::KIND, rows, place, store)?;
    if sealed.bytes() != bytes.len() {
        return Err(Malformed::new(place.offset, "a block is not as long as the index says"));
    }
    if (sealed.block.tag(), sealed.head_bytes) != (coded.codec, coded.head_bytes as usize) {
        return Err(Malformed::new(place.offset, "a block is not encoded as the index says"));
    }
    for index in 0..sealed.block.pieces() {
        sealed.verify(index, &bytes[sealed.piece(index)])?;
    }
    let mut values = vec![T::ZERO; rows];
    for (index, values) in values.chunks_mut(VECTOR).enumerate() {
        sealed.block.decode_vector(index, &bytes[sealed.vector(index)], scratch, values)?;
    }
    Ok(values)
}

/// Makes a block that was encoded for another place one for `place`; its head has so many bytes.
pub(crate) fn put(bytes: &mut [u8], head_bytes: usize, place: BlockPlace, store: &StoreId) {
    let sum = place.salt(store).crc32(&[&bytes[4..head_bytes]]);
    bytes[..4].copy_from_slice(&sum.to_le_bytes());
}

impl SealedBlock {
    /// The block of `rows` values of `kind` that begins these bytes; of them, only its head is needed.
    pub(crate) fn parse(
        bytes: &[u8],
        kind: Kind,
        rows: usize,
        place: BlockPlace,
        store: &StoreId,
    ) -> Result<Self, Malformed> {
        Self::parse_traced(bytes, kind, rows, place, store, None)
    }

    /// The same, noting every field of the head.
    pub(crate) fn parse_traced(
        bytes: &[u8],
        kind: Kind,
        rows: usize,
        place: BlockPlace,
        store: &StoreId,
        trace: Option<&mut Vec<Field>>,
    ) -> Result<Self, Malformed> {
        let mut from = Cursor::new(bytes, place.offset).traced(trace);
        let sum = from.sum32("checksum of the head")?;
        let head_bytes = from.u32("bytes of the head")? as usize;
        if head_bytes < FIXED || head_bytes > bytes.len() {
            return Err(from.malformed(format!("a block's head of {head_bytes} bytes is not there")));
        }
        if place.salt(store).crc32(&[&bytes[4..head_bytes]]) != sum {
            return Err(Malformed::new(place.offset, "the checksum of a block's head does not match"));
        }
        let head = &bytes[FIXED..head_bytes];
        let block = Block::parse(head, kind, rows, from.offset()).map_err(Malformed::in_intact)?;
        from.header(block.header_bytes(), || block.fields())?;
        let sums = from.sums_of(block.pieces(), "sums of vectors")?;
        if from.offset() != place.offset + head_bytes as u64 {
            return Err(from.malformed("a block's head has another length than it says").in_intact());
        }
        Ok(Self { block, sums, head_bytes, place })
    }

    /// Bytes in memory.
    pub(crate) fn memory_bytes(&self) -> usize {
        self.block.memory_bytes() + 4 * self.sums.len()
    }

    /// What was encoded: rows, vectors, codec.
    pub(crate) fn block(&self) -> &Block {
        &self.block
    }

    /// Bytes of the head.
    pub(crate) fn head_bytes(&self) -> usize {
        self.head_bytes
    }

    /// Bytes of head and vectors.
    pub(crate) fn bytes(&self) -> usize {
        self.block.bytes() - self.block.header_bytes() + self.head_bytes
    }

    /// Where the bytes of vector `index` lie, from the start of the head; nowhere where the head says everything.
    pub(crate) fn vector(&self, index: usize) -> Range<usize> {
        self.behind_head(self.block.vector(index))
    }

    /// Where the bytes of piece `index` lie, from the start of the head.
    pub(crate) fn piece(&self, index: usize) -> Range<usize> {
        self.behind_head(self.block.piece(index))
    }

    fn behind_head(&self, Range { start, end }: Range<usize>) -> Range<usize> {
        let behind = |at: usize| at - self.block.header_bytes() + self.head_bytes;
        behind(start)..behind(end)
    }

    /// That `bytes` are those of piece `index`. Once is enough for bytes that stay in memory.
    pub(crate) fn verify(&self, index: usize, bytes: &[u8]) -> Result<(), Malformed> {
        let range = self.piece(index);
        let expected = self.sums.get(index).copied().unwrap_or(0);
        if bytes.len() == range.len() && crc32c(bytes) == expected {
            return Ok(());
        }
        let what = format!("the checksum of piece {index} of a block does not match");
        Err(Malformed::new(self.place.offset + range.start as u64, what))
    }
}
