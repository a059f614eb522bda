//! Blocks with their checksums: what comes back, and that no wrong value does.

use super::super::block::{self, BlockPlace, SealedBlock};
use super::*;
use crate::codec::Tier;
use crate::codec::block::Scratch;

const PLACE: BlockPlace = BlockPlace { segment: 3, offset: 8192 };

/// Values, and the block that they become, of several codecs.
fn blocks() -> Vec<(Vec<u64>, Vec<u8>)> {
    let [regular, below, few] = columns();
    let small = below.iter().take(200).map(|value| value % 9).collect();
    let fast = [regular, below.clone(), few].map(|values| (values, Tier::Fast));
    let dense = [below, small].map(|values| (values, Tier::Dense));
    let encode = |(values, tier): (Vec<u64>, Tier)| {
        let bytes = block::encode(&values, tier, PLACE, &STORE);
        assert_eq!(bytes[8] == 8, tier == Tier::Dense, "what is dense is pco");
        (values, bytes)
    };
    fast.into_iter().chain(dense).map(encode).collect()
}

fn columns() -> [Vec<u64>; 3] {
    let mut random = SplitMix64(5);
    let regular = (0..1500).map(|row| row * 1000).collect();
    let few = (0..1500).map(|_| [1, 1 << 40, 1 << 50][random.below(3)]).collect();
    [regular, (0..1500).map(|_| random.next() % 300).collect(), few]
}

/// What is read of a block whose bytes are all that there is.
fn read(bytes: &[u8], rows: usize, place: BlockPlace, store: &StoreId) -> Result<Vec<u64>, Malformed> {
    let sealed = SealedBlock::parse(bytes, Kind::U64, rows, place, store)?;
    let (mut values, mut scratch) = (vec![0; rows], Scratch::default());
    let part = |range: Range<usize>| &bytes[range.start.min(bytes.len())..range.end.min(bytes.len())];
    for index in 0..sealed.block().pieces() {
        sealed.verify(index, part(sealed.piece(index)))?;
    }
    for (index, values) in values.chunks_mut(1024).enumerate() {
        let vector = part(sealed.vector(index));
        sealed.block().decode_vector(index, vector, &mut scratch, values)?;
    }
    Ok(values)
}

#[test]
fn a_block_comes_back_from_its_own_place_only() {
    for (values, bytes) in blocks() {
        assert_eq!(read(&bytes, values.len(), PLACE, &STORE), Ok(values.clone()));
        let head = SealedBlock::parse(&bytes, Kind::U64, values.len(), PLACE, &STORE).unwrap();
        assert_eq!(head.bytes(), bytes.len());
        let alone = SealedBlock::parse(&bytes[..head.head_bytes()], Kind::U64, values.len(), PLACE, &STORE);
        let (alone, last) = (alone.unwrap(), values.len() - 1);
        let vector = &bytes[head.vector(last / 1024)];
        if let Some(piece) = alone.block().piece_of(last / 1024) {
            alone.verify(piece, vector).unwrap();
        }
        assert_eq!(alone.block().value(last, vector, &mut Scratch::default()), Ok(values[last]));

        let (moved, other) = (BlockPlace { offset: 4096, ..PLACE }, BlockPlace { segment: 4, ..PLACE });
        for (place, store) in [(moved, &STORE), (other, &STORE), (PLACE, b"another store id")] {
            let wrong = read(&bytes, values.len(), place, store).unwrap_err();
            assert!(wrong.what.contains("checksum of a block's head"), "{wrong:?}");
            assert_eq!(wrong.offset, place.offset);
        }
    }
}

#[test]
fn no_flipped_bit_and_no_missing_byte_of_a_block_goes_unnoticed() {
    for (values, bytes) in blocks() {
        for bit in 0..bytes.len() * 8 {
            let mut flipped = bytes.clone();
            flipped[bit / 8] ^= 1 << (bit % 8);
            let wrong = read(&flipped, values.len(), PLACE, &STORE).unwrap_err();
            let within = PLACE.offset..=PLACE.offset + bit as u64 / 8;
            assert!(bit < 64 || within.contains(&wrong.offset), "bit {bit}: {wrong:?}");
        }
        for len in 0..bytes.len() {
            assert!(read(&bytes[..len], values.len(), PLACE, &STORE).is_err(), "{len} bytes");
        }
    }
}

#[test]
fn a_head_with_a_right_checksum_and_wrong_content_is_refused() {
    let [_, values, _] = columns();
    let resigned = |change: fn(&mut Vec<u8>)| {
        let mut bytes = block::encode(&values, Tier::Fast, PLACE, &STORE);
        let len = u32::from_le_bytes(bytes[4..8].try_into().unwrap()) as usize;
        bytes.truncate(len);
        change(&mut bytes);
        let len = (bytes.len() as u32).to_le_bytes();
        bytes[4..8].copy_from_slice(&len);
        let salt = Salt::new(&STORE, Piece::Block, 0, PLACE.offset, PLACE.segment);
        let sum = salt.crc32(&[&bytes[4..]]).to_le_bytes();
        bytes[..4].copy_from_slice(&sum);
        SealedBlock::parse(&bytes, Kind::U64, values.len(), PLACE, &STORE)
    };
    assert!(resigned(|_| ()).is_ok());
    let changes: [fn(&mut Vec<u8>); 9] = [
        |bytes| bytes[8] = 0,
        |bytes| bytes[8] = 6,
        |bytes| bytes[9] = 1,
        |bytes| bytes[10] ^= 1,
        |bytes| bytes[12] ^= 1,
        |bytes| bytes[24..32].fill(0),
        |bytes| bytes.push(0),
        |bytes| bytes.truncate(bytes.len() - 1),
        |bytes| bytes.truncate(20),
    ];
    for change in changes {
        let wrong = resigned(change).unwrap_err();
        assert!(wrong.offset >= PLACE.offset, "{wrong:?}");
    }
}
