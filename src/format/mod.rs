//! Everything that is ever on disk, as pure functions on bytes. The description is docs/format.md.
//!
//! Little-endian, whole pages, padding zero and checked, tag 0 never valid. Pieces that say where they belong
//! (records, manifests, sums) are checksummed together with a [`Salt`]: a right piece in a wrong place, of
//! another epoch or of another store is refused.
//!
//! Decoders take bytes that anybody may have written: they return [`Malformed`], never panic, and allocate no
//! more than a few times the input's size. What they accept is written again as the same bytes.
//!
//! Not here: paths, files, what a piece means for the store (`log`, `store`).

use std::path::Path;

use crate::error::Error;
pub(crate) use crate::error::Malformed;

pub(crate) mod block;
pub(crate) mod bytes;
mod cursor;
pub(crate) mod dump;
pub(crate) mod entries;
#[cfg(any(test, feature = "fuzz"))]
pub mod fuzz;
pub(crate) mod manifest;
pub(crate) mod record;
pub(crate) mod segment;
mod sheet;
pub(crate) mod sums;

/// The format version that this library writes, and the newest that it reads.
pub(crate) const VERSION: u16 = 1;
/// Bytes of a raw file under one checksum.
pub(crate) const CHUNK: u64 = 64 << 10;
/// Rows, records, epochs, generations, segments and slots are numbered below this (slots below 2^31), so that
/// the next number can always be formed, whatever the bytes said.
pub(crate) const NUMBER_MAX: u64 = 1 << 63;
const SLOT_MAX: u32 = 1 << 31;
/// The longest raw file: its pages are counted in 32 bits.
pub(crate) const FILE_BYTES_MAX: u64 = u32::MAX as u64 * PAGE as u64;
const PAGE: usize = crate::disk::PAGE;
/// Bytes of a key.
const KEY: usize = 8;

const _: () = assert!(CHUNK.is_multiple_of(PAGE as u64));

/// What makes this store's pieces different from every other store's. Shown nowhere.
pub(crate) type StoreId = [u8; 16];

impl Malformed {
    /// The same, of bytes whose checksum matches.
    fn in_intact(self) -> Self {
        Self { intact: true, ..self }
    }

    /// The error to return, with the path that only the caller knows.
    pub(crate) fn at(self, path: &Path) -> Error {
        match self.version {
            Some(found) => Error::Version { path: path.to_path_buf(), found, newest: VERSION },
            None => Error::corrupt(path, self.offset, self.what),
        }
    }
}

/// Which kind of piece a salt is for.
#[derive(Clone, Copy, Debug)]
enum Piece {
    Record = 1,
    Manifest = 2,
    Sums = 3,
    /// A block of a sealed segment.
    Block = 4,
    /// What ends a sealed segment.
    Directory = 5,
}

/// Where a piece belongs, as the first bytes of what its checksum covers.
struct Salt([u8; 48]);

impl Salt {
    /// `file`, `position` and `age` are: for a record its log file, page and epoch; for a manifest 0, 0, its
    /// generation; for sums 0, the slot, the segment's number; for a block 0, its offset, the segment's number; for
    /// a directory 0, 0, the segment's number.
    fn new(store: &StoreId, piece: Piece, file: u64, position: u64, age: u64) -> Self {
        let mut salt = [0; 48];
        salt[0] = piece as u8;
        salt[8..16].copy_from_slice(&file.to_le_bytes());
        salt[16..24].copy_from_slice(&position.to_le_bytes());
        salt[24..32].copy_from_slice(&age.to_le_bytes());
        salt[32..48].copy_from_slice(store);
        Self(salt)
    }

    fn crc64(&self, pieces: &[&[u8]]) -> u64 {
        let mut digest = crc_fast::Digest::new(crc_fast::CrcAlgorithm::Crc64Nvme);
        digest.update(&self.0);
        pieces.iter().for_each(|piece| digest.update(piece));
        digest.finalize()
    }

    fn crc32(&self, pieces: &[&[u8]]) -> u32 {
        pieces.iter().fold(crc32c(&self.0), |sum, piece| crc32c_extend(sum, piece))
    }
}

/// CRC-32C (RFC 3720, appendix B.4) of `bytes`.
pub(crate) fn crc32c(bytes: &[u8]) -> u32 {
    crc32c_extend(0, bytes)
}

/// The CRC-32C of what `sum` is the checksum of, followed by `bytes`.
pub(crate) fn crc32c_extend(sum: u32, bytes: &[u8]) -> u32 {
    let state = u64::from(sum ^ u32::MAX);
    let mut digest = crc_fast::Digest::new_with_init_state(crc_fast::CrcAlgorithm::Crc32Iscsi, state);
    digest.update(bytes);
    low_half(digest.finalize())
}

#[expect(clippy::cast_possible_truncation, reason = "the upper half of a 32-bit checksum is zero")]
fn low_half(sum: u64) -> u32 {
    sum as u32
}

/// That the first keys of a file's chunks, the keys in its tail and its last key never go back.
fn check_keys(first_keys: &[u64], tail: &[u8], last_key: u64) -> Result<(), &'static str> {
    let mut before = first_keys.last().copied().unwrap_or(0);
    for key in tail.as_chunks::<KEY>().0 {
        let key = u64::from_le_bytes(*key);
        if key < before {
            return Err("a key is below the one before");
        }
        before = key;
    }
    let last_is_here = !tail.is_empty();
    match (last_is_here, before) {
        (true, key) if key != last_key => Err("the last key is not that of the last row"),
        (false, key) if key > last_key => Err("the last key is below the first one of a chunk"),
        _ => Ok(()),
    }
}

/// How many chunks the bytes below `end` begin.
pub(crate) fn chunks(end: u64) -> u64 {
    end.div_ceil(CHUNK)
}

#[cfg(test)]
mod tests;
