//! The stream of a column of bytes or text: blocks that are written as their data is read, however large they are.
//!
//! A block whose data fits a bound is decoded and compared before it is written. Of a larger one each frame was decoded
//! and compared when it was made, and the ends of its values are.
//!
//! Not here: how bytes are encoded (`codec`, `format`), columns of fixed width (`blocks`).

use super::blocks::{NOT_A_NULL, Wrong, check_bools, check_nulls};
use super::origin::Texts;
use super::output::{Output, Write};
use super::{Making, groups, nulls_of};
use crate::codec::block::Scratch;
use crate::codec::bytes::Runs;
use crate::disk::Disk;
use crate::error::{Malformed, Refused, Result};
use crate::format::block::BlockPlace;
use crate::format::bytes::{BytesWriter, SealedBytes};
use crate::format::entries::{Coded, Entry};
use crate::format::segment::Shape;
use crate::schema::Kind;

/// Bytes of data that are encoded between two waits, where the block does not have to be seen whole.
const PIECE: usize = 256 << 10;

/// Bytes of a block's data up to which it is kept, to be compared with what it decodes to.
const COMPARED_BYTES_MAX: u64 = 4 << 20;

impl<D: Disk> Making<'_, D> {
    /// Blocks of the values whose data is file number `file`; the entries of them.
    pub(super) async fn write_bytes(
        &self,
        file: usize,
        output: &mut Output<D::File, impl Write<D::File>>,
    ) -> Result<Vec<Entry>> {
        let schema = &self.shared.schema;
        let mut texts = self.origin.texts(self.shared, file).await?;
        let mut nulls = match nulls_of(schema.files()[file], schema) {
            Some(nulls) => Some((nulls, self.origin.values(self.shared, nulls, file).await?)),
            None => None,
        };
        let (start, mut entries) = (output.at(), Vec::new());
        for rows in groups(&self.rows) {
            self.turn.check()?;
            let ends = texts.ends(rows.clone()).await?;
            if let Some((file, nulls)) = &mut nulls {
                let checked = check_flags(nulls.rows(rows.clone()).await?, &ends);
                checked.map_err(|(row, what)| {
                    self.origin.damaged(self.shared, *file, rows.start + row as u64, what)
                })?;
            }
            let written = self.write_block(file, &ends, &mut texts, output).await?;
            let block = written.map_err(|what| self.origin.damaged(self.shared, file, rows.start, what))?;
            entries.push(Entry { end: output.at() - start, block: Some(block), nulls: 0, statistics: None });
        }
        if texts.rest().is_some() {
            let what = "there is data behind the last value";
            return Err(self.origin.damaged(self.shared, file, self.rows.end - self.rows.start, what));
        }
        texts.close().await;
        if let Some((_, nulls)) = nulls {
            nulls.close().await;
        }
        Ok(entries)
    }

    /// One block; or what is wrong with its values.
    async fn write_block(
        &self,
        file: usize,
        ends: &[u64],
        texts: &mut Texts<'_, D>,
        output: &mut Output<D::File, impl Write<D::File>>,
    ) -> Result<Result<Coded, &'static str>> {
        let place = BlockPlace { segment: self.number, offset: output.at() };
        let data_bytes = ends.last().copied().unwrap_or(0);
        let is_compared = data_bytes <= COMPARED_BYTES_MAX;
        let (mut bytes, mut seen) = (Vec::new(), Vec::new());
        let mut writer = BytesWriter::new(ends, self.tier, place, &self.shared.id, &mut bytes);
        let vectors = bytes.clone();
        let mut letters = Letters::of(Shape::of(self.shared.schema.files()[file], &self.shared.schema));
        for at in (0..data_bytes).step_by(PIECE) {
            let end = (at + PIECE as u64).min(data_bytes);
            let piece = texts.data(at..end).await?;
            if !letters.take(at, piece, ends) {
                return Ok(Err("a value of a column of text is not UTF-8"));
            }
            writer.push(piece, &mut bytes);
            if is_compared {
                seen.extend_from_slice(piece);
            } else {
                self.turn.check()?;
                output.push(&bytes).await.map_err(Refused::before_writing)?;
                bytes.clear();
                self.shared.disk.submit().await;
            }
        }
        if !letters.is_whole() {
            return Ok(Err("a value of a column of text is not UTF-8"));
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
            return Ok(Err(super::blocks::UNFAITHFUL));
        };
        let coded = Coded { head_bytes, codec: sealed.block().tag() };
        output.push(&bytes).await.map_err(Refused::before_writing)?;
        Ok(Ok(coded))
    }
}

/// That nulls are told by 0 and 1, and have no bytes.
fn check_flags(nulls: &[u8], ends: &[u64]) -> Result<(), Wrong> {
    check_bools(nulls, NOT_A_NULL)?;
    let start = |row: usize| if row == 0 { 0 } else { ends[row - 1] };
    check_nulls(nulls, |row| ends[row] == start(row))
}

/// Whether values of text are UTF-8, looked at as they pass.
struct Letters {
    is_text: bool,
    /// The beginning of a letter that goes on in the next piece.
    begun: Vec<u8>,
}

impl Letters {
    fn of(shape: Shape) -> Self {
        Self { is_text: shape == Shape::Bytes(Kind::Text), begun: Vec::new() }
    }

    /// Whether what comes next, from `at` on, is letters, none of which goes on where a value ends.
    fn take(&mut self, at: u64, piece: &[u8], ends: &[u64]) -> bool {
        if !self.is_text {
            return true;
        }
        let first = ends.partition_point(|end| *end < at);
        let within = ends[first..].iter().map_while(|end| usize::try_from(end - at).ok());
        let is_cut = |byte: &u8| byte & 0xC0 == 0x80;
        if within.map_while(|end| piece.get(end)).any(is_cut) {
            return false;
        }
        // A letter has four bytes at most: the rest of one that has begun is looked at with it.
        let joined = if self.begun.is_empty() { None } else { Some([&self.begun, piece].concat()) };
        let bytes = joined.as_deref().unwrap_or(piece);
        match std::str::from_utf8(bytes) {
            Ok(_) => self.begun.clear(),
            Err(error) if error.error_len().is_none() => self.begun = bytes[error.valid_up_to()..].to_vec(),
            Err(_) => return false,
        }
        true
    }

    /// Whether no letter is left half.
    fn is_whole(&self) -> bool {
        self.begun.is_empty()
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

#[cfg(test)]
mod tests {
    use super::*;

    /// Whether values are letters, in pieces of this length.
    fn is_text(values: &[&[u8]], piece: usize) -> bool {
        let (mut letters, mut end) = (Letters::of(Shape::Bytes(Kind::Text)), 0);
        let ends: Vec<u64> = values.iter().map(|value| (end += value.len() as u64, end).1).collect();
        let data = values.concat();
        let mut taken = data.chunks(piece).scan(0, |at, piece| {
            let is_taken = letters.take(*at, piece, &ends);
            *at += piece.len() as u64;
            Some(is_taken)
        });
        taken.all(|is_taken| is_taken) && letters.is_whole()
    }

    #[test]
    fn text_is_utf_8_value_by_value_in_pieces_of_any_length() {
        let good: &[&[&[u8]]] =
            &[&[], &[b""], &["\u{20ac}uro".as_bytes(), b"", "\u{1f30a}".as_bytes(), "\u{e9}".as_bytes()]];
        let bad: &[&[&[u8]]] = &[
            &[b"a\xFF"],
            &["\u{20ac}".as_bytes(), b"\x80"],
            // A letter that goes on in the next value, and one that does not go on.
            &[b"\xE2\x82", b"\xAC"],
            &[b"ok", b"\xE2\x82"],
            &[b"\xF0\x9F", b"a"],
        ];
        for piece in 1..9 {
            assert!(good.iter().all(|values| is_text(values, piece)), "pieces of {piece}");
            assert!(!bad.iter().any(|values| is_text(values, piece)), "pieces of {piece}");
        }
        assert!(Letters::of(Shape::Bytes(Kind::Bytes)).take(0, b"\xFF", &[1]), "bytes are anything");
    }

    #[test]
    fn nulls_are_flags_and_have_no_bytes() {
        assert_eq!(check_flags(&[0, 1, 1, 0], &[3, 3, 3, 3]), Ok(()));
        assert_eq!(check_flags(&[1, 0], &[0, 5]), Ok(()));
        assert_eq!(check_flags(&[0, 1], &[3, 4]).map_err(|(row, _)| row), Err(1));
        assert_eq!(check_flags(&[1], &[3]).map_err(|(row, _)| row), Err(0));
        assert_eq!(check_flags(&[0, 2], &[3, 3]).map_err(|(row, _)| row), Err(1));
    }
}
