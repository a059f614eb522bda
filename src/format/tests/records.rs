//! Records: what comes back, and what is no record of this place.

use super::*;
use crate::options::NOTE_BYTES_MAX;

#[track_caller]
fn comes_back(rows: Option<&Rows<'_>>, note: Option<&[u8]>) {
    let identity = identity(PLACE, 7);
    let bytes = write(identity, rows, note);
    let record = read_record(&bytes, PLACE).unwrap();
    assert_eq!(record.rows.as_ref(), rows);
    assert_eq!(record.note, note);
    let header = record::decode_header(&bytes[..PAGE], PLACE, &STORE).unwrap();
    assert_eq!(header, record.header);
    assert_eq!((header.epoch, header.sequence, header.generation), (2, 7, 2));
    assert_eq!((header.previous, header.pages as usize * PAGE), (identity.previous, bytes.len()));
}

fn change(end: u64, first_chunk: u32, sums: usize, inline: &[u8]) -> FileChange<'_> {
    let sums = (0..sums as u32).map(|sum| sum.wrapping_mul(0x9E37_79B9)).collect();
    FileChange { end, len: end + inline.len() as u64, first_chunk, sums, inline }
}

fn large_of<'a>(files: Vec<FileChange<'a>>, first_keys: Vec<u64>) -> Rows<'a> {
    Rows { first_row: 3, rows: 9, last_key: u64::MAX, form: Form::Large, files, first_keys }
}

#[test]
fn an_empty_record_and_notes_of_every_size_come_back() {
    comes_back(None, None);
    for len in [0, 1, 7, 8, 9, NOTE_BYTES_MAX - 1, NOTE_BYTES_MAX] {
        comes_back(None, Some(&vec![0xA5; len]));
    }
}

#[test]
fn small_and_large_commits_come_back() {
    let (one, two) = (raw_files(0..1), raw_files(0..1000));
    comes_back(Some(&small(&two, &one, 1, 999)), Some(b"note"));
    comes_back(Some(&large(&two, 1, 999)), Some(b"note"));
    comes_back(Some(&large(&raw_files(0..60_000), 1, 59_999)), None);
}

#[test]
fn a_store_without_columns_comes_back() {
    let keys = 9_u64.to_le_bytes();
    let files = vec![FileChange { end: 0, len: 8, first_chunk: 0, sums: Vec::new(), inline: &keys }];
    let rows = Rows { first_row: 0, rows: 1, last_key: 9, form: Form::Small, files, first_keys: Vec::new() };
    comes_back(Some(&rows), None);
}

#[test]
fn the_widest_schema_comes_back() {
    let columns = (0..4096).map(|i| Column::new(format!("c{i}"), Kind::Text).nullable());
    let count = Schema::new(columns).unwrap().files().len();
    assert_eq!(count, 1 + 3 * 4096);
    let (key, value) = (9_u64.to_le_bytes(), [7; 5]);
    let files = (0..count).map(|file| {
        let inline = if file == 0 { &key[..] } else { &value[..file % 5] };
        FileChange { end: 4096, len: 4096 + inline.len() as u64, first_chunk: 0, sums: Vec::new(), inline }
    });
    let (files, first_keys) = (files.collect(), Vec::new());
    comes_back(
        Some(&Rows { first_row: 0, rows: 1, last_key: 9, form: Form::Small, files, first_keys }),
        None,
    );
}

#[test]
fn tails_of_every_size_and_keys_up_to_the_highest_come_back() {
    let tail = vec![0xFF; PAGE];
    for len in [0, 1, 7, 8, 4088, 4095] {
        let files = vec![change(4096, 0, 1, &tail[..len / 8 * 8]), change(4096, 0, 1, &tail[..len])];
        comes_back(Some(&large_of(files, vec![u64::MAX])), None);
    }
    comes_back(Some(&large_of(vec![change(3 * CHUNK, 0, 3, &[])], vec![0, 0, u64::MAX])), None);
}

#[test]
fn sums_at_the_edges_of_chunks_come_back() {
    let highest = crate::format::FILE_BYTES_MAX;
    for (end, first_chunk, sums) in [
        (4096, 0, 1),
        (CHUNK - 4096, 0, 1),
        (CHUNK, 0, 1),
        (CHUNK + 4096, 1, 1),
        (CHUNK + 4096, 0, 2),
        (7 * CHUNK, 6, 1),
        (7 * CHUNK, 0, 7),
        (highest, u32::MAX >> 4, 1),
        (5 * CHUNK, 0, 0),
    ] {
        let moved = || change(end, first_chunk, sums, &[]);
        comes_back(Some(&large_of(vec![moved(), change(0, 0, 0, &[1]), moved()], vec![5; sums])), None);
    }
}

#[test]
fn a_first_chunk_without_sums_is_written_as_zero() {
    let files = vec![change(2 * CHUNK, 2, 0, &[])];
    let bytes = write(identity(PLACE, 7), Some(&large_of(files, Vec::new())), None);
    let rows = read_record(&bytes, PLACE).unwrap().rows.unwrap();
    assert_eq!(rows.files[0].first_chunk, 0);
}

#[test]
fn a_record_fills_its_pages_exactly() {
    let fixed = 96 + 8;
    for (note, pages) in [(0, 1), (4096 - fixed, 1), (4096 - fixed + 1, 2), (4096, 2)] {
        assert_eq!(record::pages(None, Some(note)), pages, "{note}");
        comes_back(None, Some(&vec![1; note]));
    }
}

#[test]
#[should_panic(expected = "a record is written into exactly its pages")]
fn a_record_is_not_written_into_more_pages_than_it_takes() {
    record::encode(&mut vec![0; 2 * PAGE], identity(PLACE, 7), None, None);
}

#[test]
fn every_flipped_bit_of_a_record_is_refused() {
    let large = {
        let files = raw_files(0..600);
        write(identity(BEHIND, 8), Some(&super::large(&files, 2, 598)), None)
    };
    for (mut bytes, place) in
        [(empty_record(), Place { file: 0, page: 0 }), (small_record(), PLACE), (large, BEHIND)]
    {
        for bit in 0..bytes.len() * 8 {
            bytes[bit / 8] ^= 1 << (bit % 8);
            let refused = record::decode(&bytes, place, &STORE).expect_err("a flipped bit");
            assert!(!refused.intact && refused.version.is_none(), "bit {bit}: {refused:?}");
            let header = record::decode_header(&bytes, place, &STORE);
            assert_eq!(header.is_ok(), bit / 8 >= 80, "bit {bit}");
            bytes[bit / 8] ^= 1 << (bit % 8);
        }
        assert!(record::decode(&bytes, place, &STORE).is_ok());
    }
}

#[test]
fn every_truncation_and_extension_of_a_record_is_refused() {
    for (bytes, place) in [(empty_record(), Place { file: 0, page: 0 }), (large_record(), BEHIND)] {
        for len in (0..bytes.len()).step_by(if bytes.len() > PAGE { 97 } else { 1 }) {
            assert!(record::decode(&bytes[..len], place, &STORE).is_err(), "{len} bytes");
            let header = record::decode_header(&bytes[..len], place, &STORE);
            assert_eq!(header.is_ok(), len >= 80, "a header in {len} bytes");
        }
        for more in [1, 8, PAGE, 2 * PAGE] {
            let longer = [&bytes[..], &vec![0; more]].concat();
            assert!(record::decode(&longer, place, &STORE).is_err(), "{more} bytes more");
        }
    }
}

#[test]
fn a_torn_record_still_proves_that_it_was_begun() {
    let (whole, before) = (large_record(), vec![0; large_record().len()]);
    for pages in 1..whole.len() / PAGE {
        let torn = [&whole[..pages * PAGE], &before[pages * PAGE..]].concat();
        assert!(!record::decode(&torn, BEHIND, &STORE).unwrap_err().intact);
        assert_eq!(record::decode_header(&torn[..PAGE], BEHIND, &STORE).unwrap().sequence, 8);
    }
    // The header lies in one sector: a first page of which only that is new says so too.
    let sector = [&whole[..512], &vec![0x55; PAGE - 512]].concat();
    assert_eq!(record::decode_header(&sector, BEHIND, &STORE).unwrap().sequence, 8);
}

#[test]
fn a_record_in_another_place_or_of_another_store_is_refused() {
    let bytes = small_record();
    for place in [Place { page: 4, ..PLACE }, Place { page: 6, ..PLACE }, Place { file: 1, ..PLACE }] {
        assert!(record::decode(&bytes, place, &STORE).is_err(), "{place:?}");
        assert!(record::decode_header(&bytes, place, &STORE).is_err(), "{place:?}");
    }
    let mut other = STORE;
    other[15] ^= 1;
    assert!(record::decode(&bytes, PLACE, &other).is_err());
    assert!(record::decode_header(&bytes, PLACE, &other).is_err());
    // The id that it states is another, the checksum is ours.
    let mut posing = bytes.clone();
    put(&mut posing, 16, &other);
    resign_record(&mut posing, PLACE);
    assert!(record::decode(&posing, PLACE, &STORE).is_err());
}

#[test]
fn a_record_is_salted_with_the_epoch_that_it_states() {
    let mut bytes = small_record();
    let older = bytes.clone();
    put(&mut bytes, 32, &1_u64.to_le_bytes());
    assert!(record::decode(&bytes, PLACE, &STORE).is_err());
    resign_record(&mut bytes, PLACE);
    assert_eq!(read_record(&bytes, PLACE).unwrap().header.epoch, 1);
    assert_ne!(bytes[72..88], older[72..88]);
}

#[test]
fn a_newer_version_is_told_only_by_a_right_checksum() {
    let mut bytes = small_record();
    // A newer version may use what is reserved now, and states a length of its own kind.
    put(&mut bytes, 8, &2_u16.to_le_bytes());
    put(&mut bytes, 10, &[1, 2]);
    let refused = record::decode(&bytes, PLACE, &STORE).unwrap_err();
    assert_eq!((refused.version, refused.intact), (None, false));
    resign_record(&mut bytes, PLACE);
    for refused in [
        record::decode_header(&bytes, PLACE, &STORE).unwrap_err(),
        record::decode(&bytes, PLACE, &STORE).unwrap_err(),
    ] {
        assert_eq!(refused.version, Some(2));
        let error = refused.at(std::path::Path::new("log-a"));
        assert!(matches!(error, crate::Error::Version { found: 2, newest: 1, .. }), "{error}");
    }
}
