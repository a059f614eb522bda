//! Random bytes, and right pieces changed at random with wrong and with right checksums, through every decoder:
//! each answers, none panics, and what is accepted is written again as the same bytes.
//!
//! Same seed, same bytes: a failure says in which round, and is found again.

use super::super::fuzz::segments as index;
use super::*;

/// What a mutation starts from.
struct Piece {
    bytes: Vec<u8>,
    check: fn(&mut [u8], resign: bool) -> bool,
}

fn pieces() -> Vec<Piece> {
    fn a_record(bytes: &mut [u8], resign: bool) -> bool {
        if resign && bytes.len() >= 96 {
            resign_record(bytes, PLACE);
        }
        let header = record::decode_header(bytes, PLACE, &STORE);
        let record = read_record(bytes, PLACE);
        assert!(header.is_ok() || record.is_err(), "a record has a header");
        record.is_ok()
    }
    fn a_manifest(bytes: &mut [u8], resign: bool) -> bool {
        if resign && bytes.len() >= 64 {
            resign_manifest(bytes, 9);
        }
        read_manifest(bytes, 9).is_ok()
    }
    fn a_file_of_sums(bytes: &mut [u8], resign: bool) -> bool {
        if resign && bytes.len() >= 64 {
            resign_sums(bytes, HOME);
        }
        read_sums(bytes, HOME).is_ok()
    }
    fn an_index(bytes: &mut [u8], resign: bool) -> bool {
        let (sheet, entries) = bytes.split_at_mut(bytes.len().min(PAGE));
        let (mut signed, schema) = (sheet.to_vec(), index::schema(1));
        let file_bytes = index::resign_segment(&mut signed, entries, &schema);
        index::read_segment(if resign { &signed } else { sheet }, entries, &schema, file_bytes).is_ok()
    }
    let files = raw_files(0..600);
    let large = write(identity(PLACE, 8), Some(&large(&files, 2, 598)), Some(&[5; 40]));
    let mut manifest = full_manifest();
    manifest.active = Some(active(9600, 100));
    vec![
        Piece { bytes: small_record(), check: a_record },
        Piece { bytes: large, check: a_record },
        Piece { bytes: write(identity(PLACE, 7), None, None), check: a_record },
        Piece { bytes: manifest.encode(), check: a_manifest },
        Piece { bytes: Manifest { generation: 9, ..first_manifest() }.encode(), check: a_manifest },
        Piece { bytes: sums_of_9000_rows().encode(HOME, &STORE), check: a_file_of_sums },
        Piece { bytes: segments::seeds()[1][5..].to_vec(), check: an_index },
    ]
}

/// One small change, near the beginning as a rule: there the fields are.
fn mutate(random: &mut SplitMix64, bytes: &mut [u8]) {
    let within = if random.below(4) == 0 { bytes.len() } else { bytes.len().min(480) };
    let at = random.below(within);
    match random.below(7) {
        0 => bytes[at] ^= 1 << random.below(8),
        1 => bytes[at] = random.next() as u8,
        2 | 3 => {
            // A field as fields lie, of an interesting value.
            let width = [2, 4, 8][random.below(3)];
            let at = at / width * width;
            let near =
                1_u64.checked_shl(random.below(65) as u32).unwrap_or(0).wrapping_sub(random.below(3) as u64);
            put(bytes, at, &near.to_le_bytes()[..width]);
        }
        4 => {
            let (from, len) = (random.below(within), random.below(64));
            let piece = bytes[from..(from + len).min(bytes.len())].to_vec();
            let end = (at + piece.len()).min(bytes.len());
            put(bytes, at, &piece[..end - at]);
        }
        5 => {
            let end = (at + random.below(64)).min(bytes.len());
            bytes[at..end].fill(0);
        }
        _ => {
            let end = (at / 8 + random.below(9)) * 8;
            bytes[at / 8 * 8..end.min(within)]
                .rotate_left(8 * usize::from(end.min(within) >= at / 8 * 8 + 8));
        }
    }
}

#[test]
fn decoders_answer_any_bytes() {
    let pieces = pieces();
    let mut random = SplitMix64(1);
    let (mut accepted, rounds) = (0, 200_000);
    for round in 0..rounds {
        let piece = &pieces[random.below(pieces.len())];
        let mut bytes = piece.bytes.clone();
        let changes = 1 + random.below(3);
        (0..changes).for_each(|_| mutate(&mut random, &mut bytes));
        match random.below(32) {
            0 => bytes.truncate(random.below(bytes.len() + 1)),
            1 => bytes.resize(bytes.len() + PAGE, 0),
            _ => {}
        }
        let (resign, unchanged) = (round % 8 != 0, bytes == piece.bytes);
        let taken = (piece.check)(&mut bytes, resign);
        assert!(!taken || resign || unchanged, "round {round}: accepted with a wrong checksum");
        accepted += u32::from(taken);
    }
    // Neither do all changes hit what is free, nor are all refused: the loop reaches what is behind the checks.
    assert!((rounds / 100..rounds / 2).contains(&accepted), "{accepted} of {rounds} were accepted");
}

#[test]
fn decoders_answer_bytes_that_nobody_wrote() {
    let (pieces, mut random) = (pieces(), SplitMix64(2));
    for _ in 0..3000 {
        let len = random.below(3) * PAGE + random.below(2) * random.below(PAGE);
        let mut bytes: Vec<u8> = (0..len.div_ceil(8)).flat_map(|_| random.next().to_le_bytes()).collect();
        bytes.truncate(len);
        for piece in &pieces {
            assert!(!(piece.check)(&mut bytes, false));
            // Right magic, version, lengths and checksums before random sections.
            if len >= PAGE {
                let mut begun = bytes.clone();
                put(&mut begun, 0, &small_record()[..96]);
                put(&mut begun, 12, &((len / PAGE) as u32).to_le_bytes());
                put(&mut begun, 64, &((len - 96) as u64).to_le_bytes());
                (piece.check)(&mut begun, true);
            }
        }
    }
}
