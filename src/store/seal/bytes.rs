//! The stream of a column of bytes or text: blocks that are written as their data is read, however large they are.
//!
//! A block whose data fits a bound is decoded and compared before it is written. Of a larger one each frame was decoded
//! and compared when it was made, and the ends of its values are.
//!
//! Not here: how bytes are encoded (`codec`, `format`), columns of fixed width (`blocks`).

use super::blocks::values;
use super::{Seal, groups};
use crate::codec::block::Scratch;
use crate::codec::bytes::Runs;
use crate::disk::Disk;
use crate::error::{Malformed, Refused, Result};
use crate::format::block::BlockPlace;
use crate::format::bytes::{BytesWriter, SealedBytes};
use crate::format::entries::{Coded, Entry};
use crate::options::VALUE_BYTES_MAX;
use crate::segment::read::Loaded;
use crate::store::seal::output::Output;
use crate::store::seal::source::Source;

/// Bytes of data that are encoded between two waits, where the block does not have to be seen whole.
const PIECE: usize = 256 << 10;

/// Bytes of a block's data up to which it is kept, to be compared with what it decodes to.
const COMPARED_BYTES_MAX: u64 = 4 << 20;

/// What a row group's values are.
struct Values {
    /// Where their data begins in its file.
    start: u64,
    /// Where each ends, from there.
    ends: Vec<u64>,
}

impl<D: Disk> Seal<'_, D> {
    /// Blocks of the values whose data is file number `file`; the entries of them.
    pub(super) async fn write_bytes(
        &self,
        segment: &Loaded,
        file: usize,
        output: &mut Output<D::File>,
    ) -> Result<Vec<Entry>> {
        let mut data = Source::open(self.shared, segment, file, 1).await?;
        // A column's offsets stand right behind its data.
        let mut offsets = Source::open(self.shared, segment, file + 1, 8).await?;
        let (start, mut entries, mut before) = (output.at(), Vec::new(), 0);
        for rows in groups(self.finished) {
            self.turn.check()?;
            let ends = values::<u64>(offsets.rows(rows.clone()).await?);
            let is_wrong = |(before, end): (u64, u64)| {
                end < before || end > self.finished.lengths[file] || end - before > VALUE_BYTES_MAX
            };
            let befores = std::iter::once(before).chain(ends.iter().copied());
            if let Some(row) = befores.zip(ends.iter().copied()).position(is_wrong) {
                return Err(offsets.damaged(rows.start + row as u64, "a value ends where it cannot"));
            }
            let last = ends.last().copied().unwrap_or(before);
            let values = Values { start: before, ends: ends.iter().map(|end| end - before).collect() };
            let block = self.write_block(&values, &mut data, output).await?;
            entries.push(Entry { end: output.at() - start, block: Some(block), nulls: 0, statistics: None });
            before = last;
        }
        data.close().await;
        offsets.close().await;
        Ok(entries)
    }

    async fn write_block(
        &self,
        values: &Values,
        data: &mut Source<D::File>,
        output: &mut Output<D::File>,
    ) -> Result<Coded> {
        let place = BlockPlace { segment: self.finished.number, offset: output.at() };
        let data_bytes = values.ends.last().copied().unwrap_or(0);
        let is_compared = data_bytes <= COMPARED_BYTES_MAX;
        let (mut bytes, mut seen) = (Vec::new(), Vec::new());
        let mut writer = BytesWriter::new(&values.ends, place, &self.shared.id, &mut bytes);
        let vectors = bytes.clone();
        for at in (0..data_bytes).step_by(PIECE) {
            let end = (at + PIECE as u64).min(data_bytes);
            let piece = data.bytes(values.start + at..values.start + end).await?;
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
        let sealed = SealedBytes::parse(head, values.ends.len(), len, place, &self.shared.id);
        let is_same = |sealed: &SealedBytes| match is_compared {
            true => decoded(sealed, &bytes, values.ends.len())
                .is_ok_and(|runs| runs.bounds.get(1..) == Some(&values.ends) && runs.data == seen),
            // Its frames have been compared one by one when they were made.
            false => ends_at(sealed, &vectors, &values.ends),
        };
        let (Some(sealed), Ok(head_bytes)) = (sealed.ok().filter(is_same), u32::try_from(head_bytes)) else {
            return Err(data.damaged(values.start, super::blocks::UNFAITHFUL));
        };
        let coded = Coded { head_bytes, codec: sealed.block().tag() };
        output.push(&bytes).await.map_err(Refused::before_writing)?;
        Ok(coded)
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
