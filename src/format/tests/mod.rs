//! Tests of the format: what comes back, what is refused, and that docs/format.md says the same as the code.
//!
//! Here: samples, and hands that write bytes as somebody might who knows the checksums. Those follow the text of
//! docs/format.md, not the code, so that each checks the other.

#![expect(clippy::cast_possible_truncation, reason = "samples are small")]

use std::ops::Range;

use super::fuzz::{
    HOME, PLACE, STORE, put, read_manifest, read_record, read_sums, resign_manifest, resign_record,
    resign_sums, write,
};
use super::manifest::{Active, ActiveFile, Finished, Log, LogPosition, Manifest};
use super::record::{self, FileChange, Form, Identity, Place, Rows};
use super::sums::{Home, Sums};
use super::{CHUNK, Malformed, PAGE, Piece, Salt, StoreId, chunks, crc32c, crc32c_extend};
use crate::schema::{Column, KeyUnit, Kind, Schema};

mod blocks;
mod bytes;
mod checksums;
mod corpus;
mod fuzz;
mod golden;
mod hostile;
mod manifests;
mod memory;
mod records;
mod segments;
mod sums;

const BEHIND: Place = Place { file: 1, page: 0 };

/// The generator of the fuzz loops: same seed, same bytes.
struct SplitMix64(u64);

impl SplitMix64 {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        z ^ (z >> 31)
    }

    fn below(&mut self, end: usize) -> usize {
        (self.next() % end.max(1) as u64) as usize
    }
}

/// `price` f64 and `venue` text with nulls: the raw files keys, 0.data, 1.data, 1.offsets, 1.nulls.
fn schema() -> Schema {
    Schema::new([Column::new("price", Kind::F64), Column::new("venue", Kind::Text).nullable()])
        .unwrap()
        .key_unit(KeyUnit::Nanoseconds)
}

/// The raw files of a segment of that schema that holds these rows, two to a key.
fn raw_files(rows: Range<u64>) -> Vec<Vec<u8>> {
    let mut files = vec![Vec::new(); 5];
    for row in rows {
        let venue = ["XETR", "", "XNAS"][row as usize % 3];
        files[0].extend_from_slice(&key(row).to_le_bytes());
        files[1].extend_from_slice(&(100.0 + row as f64 / 4.0).to_le_bytes());
        files[2].extend_from_slice(venue.as_bytes());
        let end = files[2].len() as u64;
        files[3].extend_from_slice(&end.to_le_bytes());
        files[4].push(u8::from(venue.is_empty()));
    }
    files
}

fn key(row: u64) -> u64 {
    1_700_000_000_000_000_000 + row / 2 * 1_000_000
}

/// The sums of the chunks of `file` from the one that `from` is in, below `end`.
fn chunk_sums(file: &[u8], from: u64, end: u64) -> Vec<u32> {
    let below = &file[..end as usize];
    below.chunks(CHUNK as usize).skip((from / CHUNK) as usize).map(crc32c).collect()
}

fn first_keys(keys: &[u8], from: u64, end: u64) -> Vec<u64> {
    let starts = (from / CHUNK * CHUNK..end).step_by(CHUNK as usize);
    starts.map(|at| u64::from_le_bytes(keys[at as usize..at as usize + 8].try_into().unwrap())).collect()
}

/// A small commit of `rows` rows behind `first_row` others, all of which are tails still.
fn small<'a>(files: &'a [Vec<u8>], before: &[Vec<u8>], first_row: u64, rows: u64) -> Rows<'a> {
    let changes = files.iter().zip(before).map(|(file, before)| FileChange {
        end: 0,
        len: file.len() as u64,
        first_chunk: 0,
        sums: Vec::new(),
        inline: &file[before.len()..],
    });
    let last_key = key(first_row + rows - 1);
    let files = changes.collect();
    Rows { first_row, rows, last_key, form: Form::Small, files, first_keys: Vec::new() }
}

/// A large commit, so that the files hold `files`; nothing was in them before but tails.
fn large(files: &[Vec<u8>], first_row: u64, rows: u64) -> Rows<'_> {
    let changes = files.iter().map(|file| {
        let end = file.len() / PAGE * PAGE;
        let sums = chunk_sums(file, 0, end as u64);
        let (end, len) = (end as u64, file.len() as u64);
        FileChange { end, len, first_chunk: 0, sums, inline: &file[end as usize..] }
    });
    let changes: Vec<_> = changes.collect();
    let first_keys = first_keys(&files[0], 0, changes[0].end);
    let last_key = key(first_row + rows - 1);
    Rows { first_row, rows, last_key, form: Form::Large, files: changes, first_keys }
}

fn identity(place: Place, sequence: u64) -> Identity<'static> {
    let previous = if sequence == 1 { 0 } else { 0x0123_4567_89AB_CDEF };
    Identity { store: &STORE, place, epoch: 2, sequence, previous, generation: 2 }
}

/// Two rows and a note.
fn small_record() -> Vec<u8> {
    let (before, files) = (raw_files(0..0), raw_files(0..2));
    write(identity(PLACE, 7), Some(&small(&files, &before, 0, 2)), Some(b"feed offset 17"))
}

/// 10,000 rows behind those two.
fn large_record() -> Vec<u8> {
    let files = raw_files(0..10_002);
    write(identity(BEHIND, 8), Some(&large(&files, 2, 10_000)), None)
}

fn empty_record() -> Vec<u8> {
    write(Identity { epoch: 1, generation: 1, ..identity(Place { file: 0, page: 0 }, 1) }, None, None)
}

fn first_manifest() -> Manifest {
    let log = Log { pages: 4096, at: None };
    Manifest {
        store: STORE,
        generation: 1,
        schema: schema(),
        log,
        sealed: Vec::new(),
        finished: Vec::new(),
        active: None,
        note: None,
    }
}

/// A manifest with every section.
fn full_manifest() -> Manifest {
    let at = LogPosition {
        next: Place { file: 1, page: 12 },
        last: Place { file: 1, page: 9 },
        checksum: 0xFEDC_BA98_7654_3210,
        sequence: 42,
        epoch: 3,
    };
    let finished = [(3, 1, 0, 9000), (4, 0, 9000, 600)].map(|(number, slot, first_row, rows)| Finished {
        number,
        slot,
        first_row,
        rows,
        first_key: key(first_row),
        last_key: key(first_row + rows - 1),
        sums_sum: 0x1234_5678,
        lengths: raw_files(first_row..first_row + rows).iter().map(|file| file.len() as u64).collect(),
    });
    Manifest {
        generation: 9,
        schema: schema().metadata("feed", "EURUSD").unwrap(),
        log: Log { pages: 4096, at: Some(at) },
        sealed: Vec::new(),
        finished: finished.to_vec(),
        active: Some(active(9600, 1030)),
        note: Some(b"feed offset 10630".to_vec()),
        ..first_manifest()
    }
}

fn active(first_row: u64, rows: u64) -> Active {
    let contents = raw_files(first_row..first_row + rows);
    let files = contents.iter().map(|file| {
        let end = file.len() / PAGE * PAGE;
        ActiveFile { end: end as u64, tail: file[end..].to_vec(), sums: chunk_sums(file, 0, end as u64) }
    });
    let files: Vec<ActiveFile> = files.collect();
    let first_keys = first_keys(&contents[0], 0, files[0].end);
    Active { number: 5, slot: 2, first_row, rows, last_key: key(first_row + rows - 1), files, first_keys }
}

/// The sums of the first segment of [`full_manifest`].
fn sums_of_9000_rows() -> Sums {
    let files = raw_files(0..9000).into_iter().map(|mut file| {
        file.resize(file.len().next_multiple_of(PAGE), 0);
        chunk_sums(&file, 0, file.len() as u64)
    });
    let keys = &raw_files(0..9000)[0];
    Sums { files: files.collect(), first_keys: first_keys(keys, 0, keys.len() as u64) }
}
