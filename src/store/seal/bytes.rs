//! The stream of a column of bytes or text: blocks that are written as their data is read, however large they are.
//!
//! A block whose data fits a bound is decoded and compared before it is written. Of a larger one each frame was decoded
//! and compared when it was made, and the ends of its values are.
//!
//! Not here: how bytes are encoded (`codec`, `format`), columns of fixed width (`blocks`).

use super::origin::Texts;
use super::output::Output;
use super::{Making, groups};
use crate::codec::block::Scratch;
use crate::codec::bytes::Runs;
use crate::disk::Disk;
use crate::error::{Malformed, Refused, Result};
use crate::format::block::BlockPlace;
use crate::format::bytes::{BytesWriter, SealedBytes};
use crate::format::entries::{Coded, Entry};

/// Bytes of data that are encoded between two waits, where the block does not have to be seen whole.
const PIECE: usize = 256 << 10;

/// Bytes of a block's data up to which it is kept, to be compared with what it decodes to.
const COMPARED_BYTES_MAX: u64 = 4 << 20;

impl<D: Disk> Making<'_, D> {
    /// Blocks of the values whose data is file number `file`; the entries of them.
    pub(super) async fn write_bytes(&self, file: usize, output: &mut Output<D::File>) -> Result<Vec<Entry>> {
        let mut texts = self.origin.texts(self.shared, file).await?;
        let (start, mut entries) = (output.at(), Vec::new());
        for rows in groups(&self.rows) {
            self.turn.check()?;
            let ends = texts.ends(rows.clone()).await?;
            let Some(block) = self.write_block(&ends, &mut texts, output).await? else {
                return Err(self.origin.damaged(self.shared, file, rows.start, super::blocks::UNFAITHFUL));
            };
            entries.push(Entry { end: output.at() - start, block: Some(block), nulls: 0, statistics: None });
        }
        texts.close().await;
        Ok(entries)
    }

    /// One block; none if it does not decode to the values.
    async fn write_block(
        &self,
        ends: &[u64],
        texts: &mut Texts<'_, D>,
        output: &mut Output<D::File>,
    ) -> Result<Option<Coded>> {
        let place = BlockPlace { segment: self.number, offset: output.at() };
        let data_bytes = ends.last().copied().unwrap_or(0);
        let is_compared = data_bytes <= COMPARED_BYTES_MAX;
        let (mut bytes, mut seen) = (Vec::new(), Vec::new());
        let mut writer = BytesWriter::new(ends, self.tier, place, &self.shared.id, &mut bytes);
        let vectors = bytes.clone();
        for at in (0..data_bytes).step_by(PIECE) {
            let end = (at + PIECE as u64).min(data_bytes);
            let piece = texts.data(at..end).await?;
            writer.push(piece, &mut bytes);
            if is_compared {
                seen.extend_from_slice(piece);
            } else {
                output.push(&bytes).await.map_err(Refused::before_writing)?;
                bytes.clear();
            }
        }
        let head_bytes = writer.finish(&mut bytes);
        let len = output.at() - place.offset + bytes.len() as u64;
        let head = &bytes[bytes.len() - head_bytes..];
        let sealed = SealedBytes::parse(head, ends.len(), len, place, &self.shared.id);
        let is_same = |sealed: &SealedBytes| match is_compared {
            true => decoded(sealed, &bytes, ends.len())
                .is_ok_and(|runs| runs.bounds.get(1..) == Some(ends) && runs.data == seen),
            // Its frames have been compared one by one when they were made.
            false => ends_at(sealed, &vectors, ends),
        };
        let (Some(sealed), Ok(head_bytes)) = (sealed.ok().filter(is_same), u32::try_from(head_bytes)) else {
            return Ok(None);
        };
        let coded = Coded { head_bytes, codec: sealed.block().tag() };
        output.push(&bytes).await.map_err(Refused::before_writing)?;
        Ok(Some(coded))
    }
}

/// Whether the vectors of a block say that its values end there.
fn ends_at(sealed: &SealedBytes, vectors: &[u8], ends: &[u64]) -> bool {
    let rows = 0..ends.len();
    let range = sealed.block().vectors(&rows);
    let place = |at: u64| usize::try_from(at).unwrap_or(usize::MAX);
    let Some(bytes) = vectors.get(place(range.start)..place(range.end)) else { return false };
    sealed.block().locate(&rows, bytes, &mut Scratch::default()).is_ok_and(|located| located.ends_at(ends))
}

/// All values of a block.
fn decoded(sealed: &SealedBytes, bytes: &[u8], rows: usize) -> Result<Runs, Malformed> {
    let (block, rows, mut runs) = (sealed.block(), 0..rows, Runs::default());
    let part = |range: &std::ops::Range<u64>| {
        let at = |end: u64| usize::try_from(end).unwrap_or(usize::MAX);
        bytes.get(at(range.start)..at(range.end)).unwrap_or_default()
    };
    let vectors = block.vectors(&rows);
    sealed.verify(&vectors, part(&vectors))?;
    let located = block.locate(&rows, part(&vectors), &mut Scratch::default())?;
    let stored = block.stored(&located);
    sealed.verify(&stored, part(&stored))?;
    block.decode(&located, part(&stored), &mut runs)?;
    Ok(runs)
}
