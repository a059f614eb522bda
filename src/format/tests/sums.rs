//! Sums of finished segments: what comes back, and what belongs to another segment.

use super::super::sums as format;
use super::*;

#[track_caller]
fn comes_back(sums: &Sums) {
    let bytes = sums.encode(HOME, &STORE);
    assert_eq!(&read_sums(&bytes, HOME).unwrap(), sums);
}

#[test]
fn sums_of_any_number_of_files_and_chunks_come_back() {
    comes_back(&sums_of_9000_rows());
    comes_back(&Sums { files: vec![vec![1]], first_keys: vec![u64::MAX] });
    comes_back(&Sums { files: vec![vec![1; 3], vec![], vec![2; 5000]], first_keys: vec![0, 0, u64::MAX] });
    comes_back(&Sums { files: vec![vec![9]; 12_289], first_keys: vec![1] });
}

#[test]
fn the_size_of_a_file_of_sums_follows_from_the_lengths() {
    for rows in [1, 511, 512, 8192, 8193, 60_000] {
        let files = raw_files(0..rows);
        let lengths: Vec<u64> = files.iter().map(|file| file.len() as u64).collect();
        let sums: Vec<Vec<u32>> = lengths.iter().map(|len| vec![7; chunks(*len) as usize]).collect();
        let sums = Sums { first_keys: vec![7; sums[0].len()], files: sums };
        let bytes = sums.encode(HOME, &STORE).len() as u64;
        assert_eq!(format::bytes(&lengths), Some(bytes), "{rows} rows");
    }
    assert_eq!(format::bytes(&[]), None);
    assert_eq!(format::bytes(&vec![u64::MAX; 1 << 16]), None);
}

#[test]
fn every_flipped_bit_and_every_other_length_of_sums_is_refused() {
    let mut bytes = sums_of_9000_rows().encode(HOME, &STORE);
    for bit in 0..bytes.len() * 8 {
        bytes[bit / 8] ^= 1 << (bit % 8);
        let refused = Sums::decode(&bytes, HOME, &STORE).expect_err("a flipped bit");
        assert!(!refused.intact && refused.version.is_none(), "bit {bit}: {refused:?}");
        bytes[bit / 8] ^= 1 << (bit % 8);
    }
    for len in 0..bytes.len() {
        assert!(Sums::decode(&bytes[..len], HOME, &STORE).is_err(), "{len} bytes");
    }
    for more in [1, 8, PAGE] {
        let longer = [&bytes[..], &vec![0; more]].concat();
        assert!(Sums::decode(&longer, HOME, &STORE).is_err(), "{more} bytes more");
    }
}

#[test]
fn sums_of_another_segment_slot_or_store_are_refused() {
    let bytes = sums_of_9000_rows().encode(HOME, &STORE);
    for home in [Home { segment: 4, ..HOME }, Home { slot: 0, ..HOME }, Home { segment: 1, slot: 3 }] {
        assert!(Sums::decode(&bytes, home, &STORE).is_err(), "{home:?}");
    }
    assert!(Sums::decode(&bytes, HOME, &[0; 16]).is_err());
    assert!(Manifest::decode(&bytes, HOME.segment).is_err());
    // It states the right segment; its checksum is that of another.
    let mut moved = sums_of_9000_rows().encode(Home { segment: 4, ..HOME }, &STORE);
    put(&mut moved, 32, &HOME.segment.to_le_bytes());
    assert!(Sums::decode(&moved, HOME, &STORE).is_err());
}

#[test]
fn a_newer_version_is_told_only_by_a_right_checksum() {
    let mut bytes = sums_of_9000_rows().encode(HOME, &STORE);
    put(&mut bytes, 8, &2_u16.to_le_bytes());
    assert_eq!(Sums::decode(&bytes, HOME, &STORE).unwrap_err().version, None);
    resign_sums(&mut bytes, HOME);
    assert_eq!(Sums::decode(&bytes, HOME, &STORE).unwrap_err().version, Some(2));
}
