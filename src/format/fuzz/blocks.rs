//! Blocks for fuzzers: anybody's bytes as a block, and anybody's values through a block and back.
//!
//! Not here: records, manifests and sums (the module above).

use std::ops::Range;

use super::{PLACE, STORE, put};
use crate::codec::VECTOR;
use crate::codec::block::Scratch;
use crate::codec::bytes::Runs;
use crate::codec::fixed::Fixed;
use crate::codec::{BLOCK_ROWS, Tier};
use crate::format::Malformed;
use crate::format::block::{self, BlockPlace, SealedBlock};
use crate::format::bytes::{BytesWriter, SealedBytes};

const AT: BlockPlace = BlockPlace { segment: PLACE.page as u64, offset: 1 << 20 };
/// Bytes of values, decoded, at most: more say nothing new.
const DATA_MAX: usize = 1 << 20;

/// Calls one function for the kind that a byte says.
macro_rules! by_kind {
    ($kind:expr, $function:ident($($argument:expr),*)) => {
        match $kind % 7 {
            0 => $function::<u64>($($argument),*),
            1 => $function::<i64>($($argument),*),
            2 => $function::<f64>($($argument),*),
            3 => $function::<u32>($($argument),*),
            4 => $function::<i32>($($argument),*),
            5 => $function::<f32>($($argument),*),
            _ => $function::<bool>($($argument),*),
        }
    };
}

/// A block of fixed width: its kind, its rows (2), then its bytes.
pub fn block(bytes: &[u8]) -> bool {
    let Some((&[kind, low, high], bytes)) = bytes.split_first_chunk() else { return false };
    let rows = usize::from(u16::from_le_bytes([low, high]));
    let mut bytes = bytes.to_vec();
    let head_bytes =
        bytes.get(4..8).and_then(|field| field.first_chunk()).map_or(0, |at| u32::from_le_bytes(*at));
    resign(&mut bytes, 0..head_bytes as usize);
    by_kind!(kind, fixed_block(&bytes, rows)).is_ok()
}

/// Makes the checksum of a head right, if the head is there.
fn resign(bytes: &mut [u8], head: Range<usize>) {
    if let Some(head) = bytes.get_mut(head).filter(|head| head.len() >= 8) {
        let sum = AT.salt(&STORE).crc32(&[&head[4..]]);
        put(head, 0, &sum.to_le_bytes());
    }
}

fn fixed_block<T: Fixed>(bytes: &[u8], rows: usize) -> Result<(), Malformed> {
    let sealed = SealedBlock::parse(bytes, T::KIND, rows, AT, &STORE)?;
    assert!(rows <= BLOCK_ROWS, "more rows than a block has");
    let (block, mut values, mut scratch) = (sealed.block(), vec![T::ZERO; rows], Scratch::default());
    for (index, values) in values.chunks_mut(VECTOR).enumerate() {
        let Range { start, end } = sealed.vector(index);
        let vector = &bytes[start.min(bytes.len())..end.min(bytes.len())];
        block.decode_vector(index, vector, &mut scratch, values)?;
        for (row, value) in (index * VECTOR..).zip(&*values).step_by(101) {
            let alone = block.value::<T>(row, vector, &mut Scratch::default()).map(T::bits);
            assert_eq!(alone, Ok(value.bits()), "row {row} is what it is among its neighbours");
        }
    }
    round_trip(&values, Tier::Fast);
    round_trip(&values, Tier::Dense);
    Ok(())
}

/// Values through a block and back.
fn round_trip<T: Fixed>(values: &[T], tier: Tier) {
    let bytes = block::encode(values, tier, AT, &STORE);
    let check = || {
        let sealed = SealedBlock::parse(&bytes, T::KIND, values.len(), AT, &STORE)?;
        let (mut again, mut scratch) = (vec![T::ZERO; values.len()], Scratch::default());
        for index in 0..sealed.block().pieces() {
            sealed.verify(index, &bytes[sealed.piece(index)])?;
        }
        for (index, again) in again.chunks_mut(VECTOR).enumerate() {
            let vector = &bytes[sealed.vector(index)];
            sealed.block().decode_vector(index, vector, &mut scratch, again)?;
        }
        assert!(again.iter().zip(values).all(|(one, other)| one.bits() == other.bits()), "other values");
        Ok::<(), Malformed>(())
    };
    assert_eq!(check(), Ok(()), "what is encoded is decoded");
}

/// Values of fixed width through a block and back: their kind, then steps that make them (`Steps`).
pub fn values(bytes: &[u8]) -> bool {
    let Some((kind, steps)) = bytes.split_first() else { return false };
    let bits = Steps(steps).values();
    by_kind!(kind, round_trip_of(&bits));
    !bits.is_empty()
}

fn round_trip_of<T: Fixed>(bits: &[u64]) {
    let max = match T::KIND.width() {
        Some(1) => 1,
        Some(4) => u64::from(u32::MAX),
        _ => u64::MAX,
    };
    let values: Vec<T> = bits.iter().map(|bits| T::from_bits(bits & max)).collect();
    round_trip(&values, Tier::Fast);
    round_trip(&values, Tier::Dense);
}

/// What makes many values of few bytes. A step is a byte for what, two for how often, eight for an operand: set the
/// value, add to it, add a random number below, set it to one, turn a bit.
struct Steps<'a>(&'a [u8]);

impl Steps<'_> {
    fn values(&self) -> Vec<u64> {
        let (mut values, mut value, mut random) = (Vec::new(), 0_u64, 1_u64);
        for step in self.0.as_chunks::<11>().0 {
            let [what, low, high, operand @ ..] = *step;
            let operand = u64::from_le_bytes(operand);
            for _ in 0..usize::from(u16::from_le_bytes([low, high])).min(BLOCK_ROWS - values.len()) {
                random = random.wrapping_mul(0x5851_F42D_4C95_7F2D).wrapping_add(0x1405_7B7E_F767_814F);
                let below = (random >> 8) % operand.max(1);
                value = match what % 5 {
                    0 => operand,
                    1 => value.wrapping_add(operand),
                    2 => value.wrapping_add(below),
                    3 => below,
                    _ => value ^ 1_u64.rotate_left((below % 64) as u32),
                };
                values.push(value);
            }
        }
        values
    }
}

/// A block of bytes: its rows (2), bytes of its head (4), which rows to read (2 and 2), then its bytes, head last.
pub fn bytes_block(bytes: &[u8]) -> bool {
    let Some((fields, bytes)) = bytes.split_first_chunk::<10>() else { return false };
    let short = |at: usize| usize::from(u16::from_le_bytes([fields[at], fields[at + 1]]));
    let head_bytes = (short(2) | short(4) << 16).min(bytes.len());
    let (mut bytes, rows, head) = (bytes.to_vec(), short(0), bytes.len() - head_bytes);
    resign(&mut bytes, head..head + head_bytes);
    let (start, end) = (short(6).min(rows), short(8).min(rows));
    let read = || {
        let sealed = SealedBytes::parse(&bytes[head..], rows, bytes.len() as u64, AT, &STORE)?;
        assert!(rows <= BLOCK_ROWS, "more rows than a block has");
        let part = read_runs(&sealed, &bytes, &(start.min(end)..end))?;
        if sealed.block().data_bytes() > DATA_MAX as u64 {
            return Ok(());
        }
        let all = read_runs(&sealed, &bytes, &(0..rows))?;
        let shift = all.bounds[start.min(end)];
        let same =
            part.bounds.iter().zip(&all.bounds[start.min(end)..]).all(|(one, other)| one + shift == *other);
        assert!(
            same && all.data[place(shift)..].starts_with(&part.data),
            "a part is what it is among all rows"
        );
        if all.data.len() <= DATA_MAX {
            runs_round_trip(&all, 1000, Tier::Fast);
            runs_round_trip(&all, 1000, Tier::Dense);
        }
        Ok::<(), Malformed>(())
    };
    read().is_ok()
}

fn place(at: u64) -> usize {
    usize::try_from(at).unwrap_or(usize::MAX)
}

/// What there is of a range of a block.
fn part<'a>(bytes: &'a [u8], range: &Range<u64>) -> &'a [u8] {
    &bytes[place(range.start).min(bytes.len())..place(range.end).min(bytes.len())]
}

fn read_runs(sealed: &SealedBytes, bytes: &[u8], rows: &Range<usize>) -> Result<Runs, Malformed> {
    let (block, mut runs) = (sealed.block(), Runs::default());
    let located = block.locate(rows, part(bytes, &block.vectors(rows)), &mut Scratch::default())?;
    block.decode(&located, part(bytes, &block.stored(&located)), &mut runs)?;
    assert_eq!(runs.bounds.len(), rows.len() + 1, "rows are as many as were asked for");
    assert!(
        runs.bounds.is_sorted() && runs.bounds.last() == Some(&located.bytes()),
        "bounds rise to the end"
    );
    assert_eq!(runs.data.len() as u64, located.bytes(), "data is as long as its bounds say");
    if rows.len() == 1 {
        let (half, mut some) = (located.part(&(0..located.bytes() / 2)), Runs::default());
        block.decode(&half, part(bytes, &block.stored(&half)), &mut some)?;
        assert!(
            runs.data.starts_with(&some.data) && some.data.len() as u64 == located.bytes() / 2,
            "half a value"
        );
    }
    Ok(runs)
}

/// Values of any length through a block and back: bytes of a piece (2), then steps, each a byte for what, one for how
/// often, two for a length, then that many bytes: these as one value, the first of them so often, or as noise.
pub fn runs(bytes: &[u8]) -> bool {
    let Some((&[low, high], mut rest)) = bytes.split_first_chunk() else { return false };
    let (mut runs, mut random) = (Runs::default(), 1_u64);
    while let Some((&[what, often, low, high], behind)) = rest.split_first_chunk() {
        let len = usize::from(u16::from_le_bytes([low, high]));
        let (literal, behind) =
            behind.split_at(if what % 3 == 0 { len.min(behind.len()) } else { behind.len().min(1) });
        rest = behind;
        for _ in 0..often {
            let value: Vec<u8> = match what % 3 {
                0 => literal.to_vec(),
                1 => vec![literal.first().copied().unwrap_or(0); len],
                _ => {
                    let noise = std::iter::repeat_with(|| {
                        random =
                            random.wrapping_mul(0x5851_F42D_4C95_7F2D).wrapping_add(0x1405_7B7E_F767_814F);
                        random.to_be_bytes()[0]
                    });
                    noise.take(len % 4096).collect()
                }
            };
            if runs.bounds.len() > BLOCK_ROWS || runs.data.len() + value.len() > 8 * DATA_MAX {
                break;
            }
            runs.data.extend_from_slice(&value);
            runs.bounds.push(runs.data.len() as u64);
        }
    }
    let piece = usize::from(u16::from_le_bytes([low, high])).max(1);
    runs_round_trip(&runs, piece, Tier::Fast);
    runs_round_trip(&runs, piece, Tier::Dense);
    runs.bounds.len() > 1
}

fn runs_round_trip(runs: &Runs, piece: usize, tier: Tier) {
    let mut bytes = Vec::new();
    let mut writer = BytesWriter::new(&runs.bounds[1..], tier, AT, &STORE, &mut bytes);
    runs.data.chunks(piece).for_each(|data| writer.push(data, &mut bytes));
    let (head_bytes, rows) = (writer.finish(&mut bytes), runs.bounds.len() - 1);
    let (content, head) = bytes.split_at(bytes.len() - head_bytes);
    let check = || {
        let sealed = SealedBytes::parse(head, rows, bytes.len() as u64, AT, &STORE)?;
        sealed.verify(&(0..content.len() as u64), content)?;
        assert!(read_runs(&sealed, content, &(0..rows))? == *runs, "other values");
        Ok::<(), Malformed>(())
    };
    assert_eq!(check(), Ok(()), "what is encoded is decoded");
}
