//! Manifests: what comes back, and what is no manifest of this name.

use super::*;
use crate::options::{LOG_BYTES_MAX, LOG_BYTES_MIN, METADATA_BYTES_MAX, NOTE_BYTES_MAX};

#[track_caller]
fn comes_back(manifest: &Manifest) {
    let bytes = manifest.encode();
    assert!(bytes.len().is_multiple_of(PAGE));
    assert_eq!(&read_manifest(&bytes, manifest.generation).unwrap(), manifest);
}

fn with_schema(schema: Schema, rows: u64) -> Manifest {
    let lengths = schema.files().iter().map(|file| file.width().unwrap_or(1) as u64 * rows);
    let files = lengths.map(|len| ActiveFile { end: 0, tail: vec![0; len as usize], sums: Vec::new() });
    let active = Active { first_row: 0, rows, last_key: 0, files: files.collect(), ..active(0, 1) };
    let active = Active { first_keys: Vec::new(), ..active };
    Manifest { schema, finished: Vec::new(), active: Some(active), ..full_manifest() }
}

#[test]
fn the_first_manifest_and_one_with_everything_come_back() {
    comes_back(&first_manifest());
    comes_back(&full_manifest());
}

#[test]
fn every_kind_unit_and_name_comes_back() {
    let kinds = [
        Kind::U64,
        Kind::I64,
        Kind::F64,
        Kind::U32,
        Kind::I32,
        Kind::F32,
        Kind::Bool,
        Kind::Bytes,
        Kind::Text,
    ];
    let columns = kinds.iter().flat_map(|kind| {
        [Column::new(format!("{kind} ·"), *kind), Column::new(format!("{kind}\n?"), *kind).nullable()]
    });
    let schema = Schema::new(columns.chain([Column::new("n".repeat(255), Kind::U64)])).unwrap();
    let units =
        [KeyUnit::None, KeyUnit::Seconds, KeyUnit::Milliseconds, KeyUnit::Microseconds, KeyUnit::Nanoseconds];
    for unit in units {
        comes_back(&with_schema(schema.clone().key_unit(unit), 3));
    }
}

#[test]
fn no_column_and_4096_columns_come_back() {
    comes_back(&with_schema(Schema::new([]).unwrap(), 1));
    let columns = (0..4096).map(|i| Column::new(format!("column {i}"), Kind::Bytes).nullable());
    let manifest = with_schema(Schema::new(columns).unwrap(), 2);
    comes_back(&manifest);
    comes_back(&Manifest { generation: 1, log: first_manifest().log, active: None, note: None, ..manifest });
}

#[test]
fn metadata_and_notes_up_to_their_limits_come_back() {
    let long = schema().metadata("k", "v".repeat(METADATA_BYTES_MAX - 9)).unwrap();
    let empty = (0..METADATA_BYTES_MAX / 8).fold(schema(), |schema, _| schema.metadata("", "").unwrap());
    for schema in [long, empty] {
        assert!(schema.clone().metadata("", "").is_err());
        comes_back(&Manifest { schema, ..full_manifest() });
    }
    for len in [0, 1, 7, 8, NOTE_BYTES_MAX] {
        comes_back(&Manifest { note: Some(vec![3; len]), ..full_manifest() });
    }
}

#[test]
fn logs_of_every_size_and_positions_at_their_ends_come_back() {
    for bytes in [LOG_BYTES_MIN, 16 << 20, LOG_BYTES_MAX] {
        let pages = (bytes / PAGE as u64) as u32;
        let at = LogPosition {
            next: Place { file: 0, page: pages },
            last: Place { file: 0, page: pages - 1 },
            checksum: u64::MAX,
            sequence: 2,
            epoch: 1,
        };
        comes_back(&Manifest { log: Log { pages, at: Some(at) }, ..full_manifest() });
    }
}

#[test]
fn active_segments_of_every_size_come_back() {
    // An empty one; tails of 0 and 8 bytes, of 4,088; a whole chunk of keys, and a page more.
    for rows in [0, 1, 511, 512, 513, 1024, 8191, 8192, 8193, 8704, 30_000] {
        let active = if rows == 0 {
            Active { rows: 0, last_key: key(9599), ..active(9600, 1) }
        } else {
            active(9600, rows)
        };
        let files = if rows == 0 { vec![ActiveFile::default(); 5] } else { active.files.clone() };
        let first_keys = if rows == 0 { Vec::new() } else { active.first_keys.clone() };
        comes_back(&Manifest { active: Some(Active { files, first_keys, ..active }), ..full_manifest() });
    }
}

#[test]
fn keys_of_zero_and_of_the_highest_come_back() {
    let mut manifest = full_manifest();
    manifest.finished[0].first_key = 0;
    manifest.finished[1].last_key = u64::MAX;
    let mut active = Active { last_key: u64::MAX, first_keys: vec![u64::MAX], ..manifest.active.unwrap() };
    active.files[0].tail.fill(0xFF);
    comes_back(&Manifest { active: Some(active), ..manifest });
}

#[test]
fn every_flipped_bit_of_a_manifest_is_refused() {
    for manifest in [first_manifest(), full_manifest()] {
        let mut bytes = manifest.encode();
        for bit in 0..bytes.len() * 8 {
            bytes[bit / 8] ^= 1 << (bit % 8);
            let refused = Manifest::decode(&bytes, manifest.generation).expect_err("a flipped bit");
            assert!(!refused.intact && refused.version.is_none(), "bit {bit}: {refused:?}");
            bytes[bit / 8] ^= 1 << (bit % 8);
        }
    }
}

#[test]
fn every_truncation_and_extension_of_a_manifest_is_refused() {
    for manifest in [first_manifest(), full_manifest()] {
        let bytes = manifest.encode();
        for len in 0..bytes.len() {
            assert!(Manifest::decode(&bytes[..len], manifest.generation).is_err(), "{len} bytes");
        }
        for more in [1, 8, PAGE] {
            let longer = [&bytes[..], &vec![0; more]].concat();
            assert!(Manifest::decode(&longer, manifest.generation).is_err(), "{more} bytes more");
        }
    }
}

#[test]
fn a_manifest_under_another_name_or_of_another_kind_is_refused() {
    let bytes = full_manifest().encode();
    for generation in [0, 8, 10, u64::MAX] {
        assert!(Manifest::decode(&bytes, generation).is_err(), "{generation}");
    }
    assert!(Sums::decode(&bytes, Home { segment: 9, slot: 0 }, &STORE).is_err());
    // A store id that is not the one of the salt.
    let mut posing = bytes.clone();
    posing[31] ^= 1;
    resign_manifest(&mut posing, 9);
    assert!(Manifest::decode(&posing, 9).is_err());
}

#[test]
fn a_newer_version_is_told_only_by_a_right_checksum() {
    let mut bytes = full_manifest().encode();
    put(&mut bytes, 8, &7_u16.to_le_bytes());
    put(&mut bytes, 10, &[1]);
    put(&mut bytes, 60, &[1]);
    assert_eq!(Manifest::decode(&bytes, 9).unwrap_err().version, None);
    resign_manifest(&mut bytes, 9);
    let refused = Manifest::decode(&bytes, 9).unwrap_err();
    assert_eq!(refused.version, Some(7));
    let error = refused.at(std::path::Path::new("manifest-9"));
    assert!(matches!(error, crate::Error::Version { found: 7, newest: 1, .. }), "{error}");
}
