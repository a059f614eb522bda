//! Blocks of bytes with their checksums: what comes back, in whatever pieces it was written and is read, and that no
//! wrong value does.

use super::super::block::BlockPlace;
use super::super::bytes::{BytesWriter, SealedBytes};
use super::*;
use crate::codec::Tier;
use crate::codec::block::Scratch;
use crate::codec::bytes::Runs;

const PLACE: BlockPlace = BlockPlace { segment: 3, offset: 8192 };

/// A block, and how many bytes of it are its head.
#[derive(Clone)]
struct Sample {
    bytes: Vec<u8>,
    head_bytes: usize,
    rows: usize,
}

fn write(values: &[Vec<u8>], piece: usize) -> Sample {
    write_tier(values, Tier::Fast, piece)
}

fn write_tier(values: &[Vec<u8>], tier: Tier, piece: usize) -> Sample {
    let mut end = 0;
    let ends = values.iter().map(|value| {
        end += value.len() as u64;
        end
    });
    let (ends, mut file, mut bytes): (Vec<u64>, _, _) = (ends.collect(), Vec::new(), Vec::new());
    let mut writer = BytesWriter::new(&ends, tier, PLACE, &STORE, &mut bytes);
    for data in values.concat().chunks(piece) {
        // Written and cleared now and then, as a file is.
        if file.len() % 3 == 0 {
            file.append(&mut bytes);
        }
        writer.push(data, &mut bytes);
    }
    let head_bytes = writer.finish(&mut bytes);
    file.append(&mut bytes);
    Sample { bytes: file, head_bytes, rows: values.len() }
}

/// Few values that are different, none that are equal, and frames of both sorts.
fn columns() -> [Vec<Vec<u8>>; 3] {
    let mut random = SplitMix64(6);
    let word = |word: usize| format!("word number {word}").into_bytes();
    let few = (0..1500).map(|_| word(random.below(20))).collect();
    let many = (0..1500).map(|row| [word(row), vec![b'.'; row % 3]].concat()).collect();
    let noise = (0..40_000).map(|_| random.next() as u8).collect();
    [few, many, vec![noise, b"again ".repeat(8000), Vec::new()]]
}

impl Sample {
    fn parse(&self, place: BlockPlace, store: &StoreId) -> Result<SealedBytes, Malformed> {
        let start = self.bytes.len().saturating_sub(self.head_bytes);
        SealedBytes::parse(&self.bytes[start..], self.rows, self.bytes.len() as u64, place, store)
    }

    /// What of the block is there.
    fn part(&self, range: &Range<u64>) -> &[u8] {
        let at = |end: u64| (end as usize).min(self.bytes.len());
        &self.bytes[at(range.start)..at(range.end)]
    }

    fn read(&self, rows: Range<usize>) -> Result<Vec<Vec<u8>>, Malformed> {
        let sealed = self.parse(PLACE, &STORE)?;
        let (block, mut runs) = (sealed.block(), Runs::default());
        let vectors = block.vectors(&rows);
        sealed.verify(&vectors, self.part(&vectors))?;
        let located = block.locate(&rows, self.part(&vectors), &mut Scratch::default())?;
        let stored = block.stored(&located);
        sealed.verify(&stored, self.part(&stored))?;
        block.decode(&located, self.part(&stored), &mut runs)?;
        let value = |pair: &[u64]| runs.data[pair[0] as usize..pair[1] as usize].to_vec();
        Ok(runs.bounds.windows(2).map(value).collect())
    }
}

#[test]
fn a_block_of_bytes_comes_back_from_its_own_place_only() {
    for (values, tier) in columns().iter().flat_map(|values| [(values, Tier::Fast), (values, Tier::Dense)]) {
        let sample = write_tier(values, tier, 1000);
        assert!(sample.bytes == write_tier(values, tier, usize::MAX).bytes);
        let rows = values.len();
        for range in [0..rows, 0..0, 1..2, rows - 1..rows, rows / 2..rows, rows..rows] {
            assert!(sample.read(range.clone()).unwrap() == values[range]);
        }
        let (moved, other) = (BlockPlace { offset: 4096, ..PLACE }, BlockPlace { segment: 4, ..PLACE });
        for (place, store) in [(moved, &STORE), (other, &STORE), (PLACE, b"another store id")] {
            let wrong = sample.parse(place, store).unwrap_err();
            assert!(wrong.what.contains("checksum of a block's head"), "{wrong:?}");
            assert_eq!(wrong.offset, place.offset + (sample.bytes.len() - sample.head_bytes) as u64);
        }
    }
}

#[test]
fn no_flipped_bit_and_no_missing_byte_of_a_block_of_bytes_goes_unnoticed() {
    for (values, tier) in columns().iter().flat_map(|values| [(values, Tier::Fast), (values, Tier::Dense)]) {
        let sample = write_tier(values, tier, usize::MAX);
        let head = sample.bytes.len() - sample.head_bytes;
        for bit in (0..sample.bytes.len() * 8).filter(|bit| *bit < 8000 || bit % 97 == 0 || *bit / 8 >= head)
        {
            let mut flipped = sample.clone();
            flipped.bytes[bit / 8] ^= 1 << (bit % 8);
            let wrong = flipped.read(0..sample.rows).unwrap_err();
            let at = PLACE.offset + bit as u64 / 8;
            // Said of the piece that it is in.
            let place = if bit / 8 >= head { PLACE.offset + head as u64 } else { at.saturating_sub(1 << 15) };
            assert!((place..=at).contains(&wrong.offset), "bit {bit}: {wrong:?}");
        }
        for len in (0..sample.bytes.len()).filter(|len| len % 97 < 2 || sample.bytes.len() - len < 50) {
            let bytes = sample.bytes[..len].to_vec();
            let cut = Sample { bytes, ..sample.clone() };
            assert!(cut.read(0..sample.rows).is_err(), "{len} bytes");
            // What is missing is missed, too, where the head is known.
            let (sealed, all) = (sample.parse(PLACE, &STORE).unwrap(), 0..head as u64);
            assert!(len >= head || sealed.verify(&all, cut.part(&all)).is_err(), "{len} bytes");
        }
    }
}

#[test]
fn a_part_of_a_block_of_bytes_is_verified_alone() {
    let [_, _, values] = columns();
    let mut sample = write(&values, usize::MAX);
    let sealed = sample.parse(PLACE, &STORE).unwrap();
    let frames: Vec<u64> = sealed.block().pieces()[1..].to_vec();
    // A wrong byte in the first frame: what lies in others is still read.
    sample.bytes[frames[0] as usize + 7] ^= 1;
    assert_eq!(sample.read(0..1).unwrap_err().offset, PLACE.offset + frames[0]);
    assert!(sample.read(1..3).unwrap() == values[1..]);
    // Neither more nor less than whole frames is verified.
    let (start, end) = (frames[1], frames[2]);
    sealed.verify(&(start..end), sample.part(&(start..end))).unwrap();
    for wrong in [start..end - 1, start + 1..end, start..end + 1] {
        assert!(sealed.verify(&wrong, sample.part(&wrong)).is_err(), "{wrong:?}");
    }
    assert!(sealed.verify(&(start..end), sample.part(&(start..end + 1))).is_err(), "a byte more");
    assert!(sealed.verify(&(u64::MAX - 1..u64::MAX), &[0]).is_err());
}

#[test]
fn a_head_of_bytes_with_a_right_checksum_and_wrong_content_is_refused() {
    let [few, many, _] = columns();
    for values in [few, many] {
        let resigned = |change: fn(&mut Vec<u8>), bytes_more: u64| {
            let sample = write(&values, usize::MAX);
            let start = sample.bytes.len() - sample.head_bytes;
            let mut head = sample.bytes[start..].to_vec();
            change(&mut head);
            let len = (head.len() as u32).to_le_bytes();
            head[4..8].copy_from_slice(&len);
            let salt = Salt::new(&STORE, Piece::Block, 0, PLACE.offset, PLACE.segment);
            let sum = salt.crc32(&[&head[4..]]).to_le_bytes();
            head[..4].copy_from_slice(&sum);
            let bytes = (start + head.len()) as u64;
            SealedBytes::parse(&head, values.len(), bytes.wrapping_add(bytes_more), PLACE, &STORE)
        };
        assert!(resigned(|_| (), 0).is_ok());
        let changes: [fn(&mut Vec<u8>); 9] = [
            |head| head[8] = 0,
            |head| head[8] = 1,
            |head| head[9] = 1,
            |head| head[10] ^= 1,
            |head| head[12] ^= 1,
            |head| head[16..24].fill(0xFF),
            |head| head.push(0),
            |head| head.truncate(head.len() - 1),
            |head| head.truncate(20),
        ];
        for change in changes {
            let wrong = resigned(change, 0).unwrap_err();
            assert!(wrong.offset >= PLACE.offset && wrong.intact, "{wrong:?}");
        }
        // The index says another length than the head.
        for more in [1, u64::MAX, 0_u64.wrapping_sub(1 << 40), 1 << 63] {
            assert!(resigned(|_| (), more).is_err(), "{more}");
        }
    }
}
