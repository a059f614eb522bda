//! The checksums of a finished raw segment, written once when it is finished.
//!
//! One CRC-32C for each chunk of each of its files, over the padded file, and the first key of each chunk of
//! keys. Format: docs/format.md, "Sums".
//!
//! Not here: the sums of the active segment (records and the manifest hold them).

use super::cursor::{Cursor, Field, Writer, field};
use super::sheet::{self, Title};
use super::{Malformed, PAGE, Piece, StoreId, chunks};

const MAGIC: &[u8; 8] = b"TLOGSUMS";

/// Sums and first keys of a segment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Sums {
    /// For each of its files, the sum of each chunk.
    pub(crate) files: Vec<Vec<u32>>,
    /// The first key of each chunk of keys.
    pub(crate) first_keys: Vec<u64>,
}

/// Which segment, in which slot.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Home {
    pub(crate) segment: u64,
    pub(crate) slot: u32,
}

fn title(home: Home) -> Title {
    Title { magic: MAGIC, piece: Piece::Sums, number: home.segment, slot: home.slot }
}

/// Bytes of the file that holds the sums of files with these lengths.
pub(crate) fn bytes(lengths: &[u64]) -> Option<u64> {
    let of_files =
        lengths.iter().try_fold(0_u64, |sum, len| sum.checked_add(chunks(*len).checked_mul(4)?))?;
    let content = (4 + 4 * lengths.len() as u64).checked_add(of_files)?;
    let content = content.checked_add(chunks(*lengths.first()?).checked_mul(8)?)?;
    content.checked_add(sheet::HEADER as u64)?.checked_next_multiple_of(PAGE as u64)
}

impl Sums {
    /// The whole file.
    pub(crate) fn encode(&self, home: Home, store: &StoreId) -> Vec<u8> {
        let sums: usize = self.files.iter().map(Vec::len).sum();
        let mut content = vec![0; 4 + 4 * self.files.len() + 4 * sums + 8 * self.first_keys.len()];
        let mut to = Writer::new(&mut content);
        to.u32(field(self.files.len()));
        for file in &self.files {
            to.u32(field(file.len()));
            file.iter().for_each(|sum| {
                to.u32(*sum);
            });
        }
        self.first_keys.iter().for_each(|key| {
            to.u64(*key);
        });
        sheet::encode(title(home), store, &content)
    }

    /// From the whole file of the segment `home`.
    pub(crate) fn decode(bytes: &[u8], home: Home, store: &StoreId) -> Result<Self, Malformed> {
        Self::decode_traced(bytes, home, store, None)
    }

    pub(super) fn decode_traced(
        bytes: &[u8],
        home: Home,
        store: &StoreId,
        trace: Option<&mut Vec<Field>>,
    ) -> Result<Self, Malformed> {
        let (_, mut from) = sheet::decode(bytes, title(home), Some(store), trace)?;
        Self::decode_content(&mut from).map_err(Malformed::in_intact)
    }

    fn decode_content(from: &mut Cursor<'_, '_>) -> Result<Self, Malformed> {
        let count = from.count(4, "files")?;
        let mut files = Vec::with_capacity(count);
        for _ in 0..count {
            let chunks = from.count(4, "chunks")?;
            files.push(from.sums(chunks)?);
        }
        let Some(keys) = files.first().map(Vec::len) else {
            return Err(from.malformed("a segment has a file of keys at least"));
        };
        if from.remaining() / 8 != keys || !from.remaining().is_multiple_of(8) {
            return Err(from.malformed("there is not one first key for each chunk of keys"));
        }
        let first_keys = from.first_keys(keys)?;
        Ok(Self { files, first_keys })
    }
}
