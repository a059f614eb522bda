//! What the checksums are, and what they cover.

use super::*;

/// Bit by bit, from the text of docs/format.md: reflected, all ones before, inverted after.
fn bitwise(pieces: &[&[u8]], polynomial: u64, width: u32) -> u64 {
    let ones = u64::MAX >> (64 - width);
    let mut state = ones;
    for byte in pieces.iter().copied().flatten() {
        state ^= u64::from(*byte);
        for _ in 0..8 {
            state = (state >> 1) ^ if state & 1 == 1 { polynomial } else { 0 };
        }
    }
    state ^ ones
}

fn crc64(pieces: &[&[u8]]) -> u64 {
    bitwise(pieces, 0x9A6C_9329_AC4B_C9B5, 64)
}

fn crc32(pieces: &[&[u8]]) -> u64 {
    bitwise(pieces, 0x82F6_3B78, 32)
}

/// A salt as docs/format.md lays it out.
fn salt(piece: u8, file: u64, position: u64, age: u64) -> Vec<u8> {
    let numbers = [u64::from(piece), file, position, age];
    numbers.iter().flat_map(|number| number.to_le_bytes()).chain(STORE).collect()
}

#[test]
fn crc32c_matches_rfc_3720_and_extends() {
    assert_eq!(crc32c(b"123456789"), 0xE306_9283);
    assert_eq!(crc32c(&[0; 32]), 0x8A91_36AA);
    let bytes: Vec<u8> = (0..1000_u32).map(|i| (i * 7) as u8).collect();
    assert_eq!(u64::from(crc32c(&bytes)), crc32(&[&bytes]));
    for cut in [0, 1, 63, 64, 500, 999, 1000] {
        assert_eq!(crc32c_extend(crc32c(&bytes[..cut]), &bytes[cut..]), crc32c(&bytes));
    }
}

#[test]
fn the_checksums_of_every_piece_are_as_the_document_says() {
    assert_eq!(crc64(&[b"123456789"]), 0xAE8B_1486_0A79_9888, "the check value of CRC-64/NVME");
    let record = small_record();
    let salt_of_record = salt(1, 0, 5, 2);
    let header = crc64(&[&salt_of_record, &record[..72]]);
    let whole = crc64(&[&salt_of_record, &record[..72], &[0; 16], &record[88..]]);
    assert_eq!(record[72..80], header.to_le_bytes());
    assert_eq!(record[80..88], whole.to_le_bytes());

    let sheets = [
        (full_manifest().encode(), salt(2, 0, 0, 9)),
        (sums_of_9000_rows().encode(HOME, &STORE), salt(3, 0, 1, 3)),
    ];
    for (sheet, salt) in sheets {
        let sum = crc32(&[&salt, &sheet[..52], &[0; 4], &sheet[56..]]);
        assert_eq!(u64::from(u32::from_le_bytes(sheet[52..56].try_into().unwrap())), sum);
    }
}

#[test]
fn a_salt_tells_every_place_apart() {
    let sums: Vec<u64> = [(0, 0, 0), (1, 0, 0), (0, 1, 0), (0, 0, 1)]
        .iter()
        .flat_map(|&(file, position, age)| {
            [Piece::Record, Piece::Manifest, Piece::Sums]
                .map(|piece| Salt::new(&[7; 16], piece, file, position, age).crc64(&[b"same"]))
        })
        .collect();
    let mut unique = sums.clone();
    unique.sort_unstable();
    unique.dedup();
    assert_eq!(unique.len(), sums.len());
}

/// What chains the records: each names the checksum of the one before, which must depend on everything that one
/// says, the checksum that it names included.
#[test]
fn the_checksum_of_a_record_depends_on_all_that_identifies_it() {
    let first = identity(PLACE, 7);
    let store = [7; 16];
    let others = [
        first,
        Identity { store: &store, ..first },
        Identity { place: BEHIND, ..first },
        Identity { place: Place { file: 1, page: 5 }, ..first },
        Identity { epoch: 3, ..first },
        Identity { sequence: 8, ..first },
        Identity { previous: 1, ..first },
        Identity { generation: 3, ..first },
    ];
    let sums = others.map(|identity| {
        let mut page = vec![0; PAGE];
        let sum = record::encode(&mut page, identity, None, None);
        assert_eq!(page[80..88], sum.to_le_bytes());
        sum
    });
    for (index, sum) in sums.iter().enumerate() {
        assert!(!sums[..index].contains(sum), "{:?} has the checksum of another record", others[index]);
    }
}

#[test]
fn the_sum_of_a_chunk_covers_its_bytes_below_the_end_and_grows_with_them() {
    let file = &raw_files(0..20_000)[0];
    let chunk = &file[CHUNK as usize..2 * CHUNK as usize];
    let page_by_page = chunk.chunks(PAGE).fold(0, crc32c_extend);
    assert_eq!(page_by_page, crc32c(chunk));
    assert_eq!(chunk_sums(file, CHUNK, 2 * CHUNK), [crc32c(chunk)]);
    let ends = [(0, 0), (1, 1), (4096, 1), (CHUNK, 1), (CHUNK + 1, 2), (CHUNK + 4096, 2), (2 * CHUNK, 2)];
    for (end, count) in ends {
        assert_eq!(chunks(end), count, "{end}");
    }
}
