//! A door for fuzzers (feature `fuzz`, and tests): any bytes, their checksums made right, through every decoder.
//!
//! Each function panics where a decoder breaks a promise, and returns whether the bytes were accepted. Checksums are
//! made right since no fuzzer finds them, and would see nothing of what stands behind them. The store's id too.
//!
//! Not here: the targets (`fuzz/`), blocks of values (`blocks`), the index of a sealed segment (`segments`), bytes that a test writes to see them refused
//! (`tests`).

#![cfg_attr(not(feature = "fuzz"), expect(unreachable_pub, reason = "feature `fuzz` makes it public"))]

pub use blocks::{block, bytes_block, runs, values};
pub use segments::segment;

use super::manifest::Manifest;
use super::record::{self, Identity, Place, Record, Rows};
use super::sums::{Home, Sums};
use super::{Malformed, PAGE, Piece, Salt, StoreId};

mod blocks;
pub(super) mod segments;

pub(super) const STORE: StoreId = *b"masked store id.";
pub(super) const HOME: Home = Home { segment: 3, slot: 1 };
pub(super) const PLACE: Place = Place { file: 0, page: 5 };
pub(super) const GENERATION: u64 = 9;

const STORE_ID: usize = 16;
/// Bytes of a record's fixed part, and of a sheet's: shorter ones have no place for checksums.
const RECORD_FIXED: usize = 96;
const SHEET_FIXED: usize = 64;

/// A log record.
pub fn record(bytes: &[u8]) -> bool {
    let mut bytes = bytes.to_vec();
    if bytes.len() >= RECORD_FIXED {
        put(&mut bytes, STORE_ID, &STORE);
        resign_record(&mut bytes, PLACE);
    }
    let header = record::decode_header(&bytes, PLACE, &STORE);
    let record = read_record(&bytes, PLACE);
    assert!(header.is_ok() || record.is_err(), "a record has a header");
    record.is_ok()
}

/// A manifest.
pub fn manifest(bytes: &[u8]) -> bool {
    let mut bytes = bytes.to_vec();
    if bytes.len() >= SHEET_FIXED {
        put(&mut bytes, STORE_ID, &STORE);
        resign_manifest(&mut bytes, GENERATION);
    }
    read_manifest(&bytes, GENERATION).is_ok()
}

/// The sums of a finished segment.
pub fn sums(bytes: &[u8]) -> bool {
    let mut bytes = bytes.to_vec();
    if bytes.len() >= SHEET_FIXED {
        put(&mut bytes, STORE_ID, &STORE);
        resign_sums(&mut bytes, HOME);
    }
    read_sums(&bytes, HOME).is_ok()
}

pub(super) fn put(bytes: &mut [u8], at: usize, field: &[u8]) {
    bytes[at..at + field.len()].copy_from_slice(field);
}

/// Makes both checksums of a record right again.
pub(super) fn resign_record(bytes: &mut [u8], place: Place) {
    let mut epoch = [0; 8];
    epoch.copy_from_slice(&bytes[32..40]);
    let epoch = u64::from_le_bytes(epoch);
    let salt = Salt::new(&STORE, Piece::Record, place.file.into(), place.page.into(), epoch);
    let sum = salt.crc64(&[&bytes[..72]]);
    bytes[72..88].fill(0);
    let whole = salt.crc64(&[bytes]);
    put(bytes, 72, &sum.to_le_bytes());
    put(bytes, 80, &whole.to_le_bytes());
}

fn resign_sheet(bytes: &mut [u8], salt: &Salt) {
    bytes[52..56].fill(0);
    let sum = salt.crc32(&[bytes]);
    put(bytes, 52, &sum.to_le_bytes());
}

pub(super) fn resign_manifest(bytes: &mut [u8], generation: u64) {
    resign_sheet(bytes, &Salt::new(&STORE, Piece::Manifest, 0, 0, generation));
}

pub(super) fn resign_sums(bytes: &mut [u8], home: Home) {
    resign_sheet(bytes, &Salt::new(&STORE, Piece::Sums, 0, home.slot.into(), home.segment));
}

pub(super) fn write(identity: Identity<'_>, rows: Option<&Rows<'_>>, note: Option<&[u8]>) -> Vec<u8> {
    let pages = record::pages(rows.map(Rows::size), note.map(<[u8]>::len));
    let mut bytes = vec![0xAA; pages as usize * PAGE];
    record::encode(&mut bytes, identity, rows, note);
    bytes
}

/// Decodes, and sees that what is accepted is written again as the same bytes: there is one way to say a thing.
pub(super) fn read_record(bytes: &[u8], place: Place) -> Result<Record<'_>, Malformed> {
    let record = record::decode(bytes, place, &STORE)?;
    let record::Header { epoch, sequence, previous, generation, .. } = record.header;
    let identity = Identity { store: &STORE, place, epoch, sequence, previous, generation };
    assert!(write(identity, record.rows.as_ref(), record.note) == bytes, "a second way to write a record");
    Ok(record)
}

pub(super) fn read_manifest(bytes: &[u8], generation: u64) -> Result<Manifest, Malformed> {
    let manifest = Manifest::decode(bytes, generation)?;
    assert!(manifest.encode() == bytes, "a second way to write a manifest");
    Ok(manifest)
}

pub(super) fn read_sums(bytes: &[u8], home: Home) -> Result<Sums, Malformed> {
    let sums = Sums::decode(bytes, home, &STORE)?;
    assert!(sums.encode(home, &STORE) == bytes, "a second way to write sums");
    Ok(sums)
}
