//! A row group's values, encoded and verified: what of a sealed segment is neither index nor I/O.
//!
//! A block is decoded as soon as it is encoded, and compared with the values that it was made of, bit by bit: the raw
//! files that hold them go when the segment that holds the block is published.
//!
//! Not here: how values are encoded (`codec`, `format`), where their bytes come from and go to (`seal`).

use std::borrow::Cow;

use crate::codec::block::Scratch;
use crate::codec::fixed::Fixed;
use crate::codec::raw::Raw;
use crate::codec::widest::widest;
use crate::codec::{Tier, VECTOR};
use crate::format::StoreId;
use crate::format::block::{self, BlockPlace, SealedBlock};
use crate::format::entries::{Coded, Entry};
use crate::format::segment::{Group, Shape};
use crate::schema::Kind;
use crate::statistics::{FloatSum, Numeric, Statistics};

/// What a row group's values of one file became.
#[derive(Debug)]
pub(super) struct Made {
    /// Empty where the entry says everything.
    pub(super) bytes: Vec<u8>,
    /// Its end is that of the block alone.
    pub(super) entry: Entry,
    /// Of keys.
    pub(super) group: Option<Group>,
}

impl Made {
    /// Its bytes at another place than that for which they were made.
    pub(super) fn placed(&self, place: BlockPlace, store: &StoreId) -> Vec<u8> {
        let mut bytes = self.bytes.clone();
        if let Some(block) = self.entry.block {
            block::put(&mut bytes, block.head_bytes as usize, place, store);
        }
        bytes
    }
}

/// Values of one file and row group, as they lie in raw files.
#[derive(Clone, Copy, Debug)]
pub(super) struct Raws<'a> {
    pub(super) bytes: &'a [u8],
    /// Which of them are null.
    pub(super) nulls: Option<&'a [u8]>,
    /// The number of the first row.
    pub(super) row: u64,
}

/// How a block is encoded, and where it will be.
#[derive(Clone, Copy, Debug)]
pub(super) struct Target<'a> {
    pub(super) tier: Tier,
    pub(super) place: BlockPlace,
    pub(super) store: &'a StoreId,
}

/// What is wrong with values: the row, counted from the first of them.
pub(super) type Wrong = (usize, &'static str);

pub(super) const UNFAITHFUL: &str =
    "a block that was made of these values does not decode to them; nothing was changed";

/// Encodes values of a file of this shape as a block; a sum of floats goes on.
pub(super) fn make(shape: Shape, raw: Raws<'_>, to: Target<'_>, sum: &mut FloatSum) -> Result<Made, Wrong> {
    match shape {
        Shape::Keys => keys(raw, to),
        Shape::Bools => {
            check_bools(raw.bytes, "a bool is a byte of 0 or 1")?;
            if let Some(nulls) = raw.nulls {
                check_bools(nulls, NOT_A_NULL)?;
                check_nulls(nulls, |row| raw.bytes[row] == 0)?;
            }
            encoded(&values::<bool>(raw.bytes), to)
        }
        Shape::Nulls => nulls(raw, to),
        Shape::Numbers(Kind::U64) => numbers::<u64>(raw, to, sum),
        Shape::Numbers(Kind::I64) => numbers::<i64>(raw, to, sum),
        Shape::Numbers(Kind::F64) => numbers::<f64>(raw, to, sum),
        Shape::Numbers(Kind::U32) => numbers::<u32>(raw, to, sum),
        Shape::Numbers(Kind::I32) => numbers::<i32>(raw, to, sum),
        Shape::Numbers(Kind::F32) => numbers::<f32>(raw, to, sum),
        Shape::Numbers(Kind::Bool | Kind::Bytes | Kind::Text) | Shape::Bytes(_) | Shape::None => {
            unreachable!("blocks of {shape:?} are not made of values of fixed width")
        }
    }
}

pub(super) fn values<T: Raw>(bytes: &[u8]) -> Cow<'_, [T]> {
    T::view(bytes).map_or_else(
        || {
            let mut values = Vec::with_capacity(bytes.len() / T::WIDTH);
            T::read(bytes, &mut values);
            Cow::Owned(values)
        },
        Cow::Borrowed,
    )
}

fn keys(raw: Raws<'_>, to: Target<'_>) -> Result<Made, Wrong> {
    let keys = values::<u64>(raw.bytes);
    if let Some(before) = keys.windows(2).position(|pair| pair[0] > pair[1]) {
        return Err((before + 1, "a key is below the one before it"));
    }
    Ok(Made { group: Group::of(&keys), ..encoded(&keys, to)? })
}

fn numbers<T: Numeric + Raw>(raw: Raws<'_>, to: Target<'_>, sum: &mut FloatSum) -> Result<Made, Wrong> {
    let values = values::<T>(raw.bytes);
    let nulls = match raw.nulls {
        Some(nulls) if check_bools(nulls, NOT_A_NULL)? => Some(nulls),
        _ => None,
    };
    if let Some(nulls) = nulls {
        let value = |row: usize| &raw.bytes[row * T::WIDTH..(row + 1) * T::WIDTH];
        check_nulls(nulls, |row| value(row).iter().all(|byte| *byte == 0))?;
    }
    let nulls = nulls.map(self::values::<bool>);
    let made = encoded(&values, to)?;
    let statistics = Some(Statistics::of(&values, nulls.as_deref(), raw.row, sum));
    Ok(Made { entry: Entry { statistics, ..made.entry }, ..made })
}

fn nulls(raw: Raws<'_>, to: Target<'_>) -> Result<Made, Wrong> {
    check_bools(raw.bytes, NOT_A_NULL)?;
    let nulls = values::<bool>(raw.bytes);
    let count = nulls.iter().filter(|null| **null).count();
    let made = match count == 0 || count == nulls.len() {
        true => {
            let entry = Entry { end: 0, block: None, nulls: 0, statistics: None };
            Made { bytes: Vec::new(), entry, group: None }
        }
        false => encoded(&nulls, to)?,
    };
    // A row group has 16,384 rows at most.
    let nulls = u16::try_from(count).unwrap_or(u16::MAX);
    Ok(Made { entry: Entry { nulls, ..made.entry }, ..made })
}

const NOT_ZERO: &str = "the value of a null is zero, or empty";

/// That the values of nulls are nothing.
pub(super) fn check_nulls(nulls: &[u8], is_nothing: impl Fn(usize) -> bool) -> Result<(), Wrong> {
    let wrong = (0..nulls.len()).find(|row| nulls[*row] == 1 && !is_nothing(*row));
    wrong.map_or(Ok(()), |row| Err((row, NOT_ZERO)))
}

pub(super) const NOT_A_NULL: &str = "whether a row is null is a byte of 0 or 1";

/// That all are 0 or 1; whether any is 1.
pub(super) fn check_bools(bytes: &[u8], what: &'static str) -> Result<bool, Wrong> {
    // All of them together: a loop that may end early looks at one after the other.
    match bytes.iter().fold(0, |ored, byte| ored | byte) {
        ored @ 0..=1 => Ok(ored == 1),
        _ => Err((bytes.iter().position(|byte| *byte > 1).unwrap_or(0), what)),
    }
}

/// A block of these values, which decodes to them.
fn encoded<T: Fixed>(values: &[T], to: Target<'_>) -> Result<Made, Wrong> {
    let bytes = block::encode(values, to.tier, to.place, to.store);
    let unfaithful = |_| (0, UNFAITHFUL);
    let block = SealedBlock::parse(&bytes, T::KIND, values.len(), to.place, to.store).map_err(unfaithful)?;
    for index in 0..block.block().pieces() {
        block.verify(index, &bytes[block.piece(index)]).map_err(unfaithful)?;
    }
    let (mut decoded, mut scratch) = ([T::ZERO; VECTOR], Scratch::default());
    for (index, values) in values.chunks(VECTOR).enumerate() {
        let (vector, decoded) = (&bytes[block.vector(index)], &mut decoded[..values.len()]);
        block.block().decode_vector(index, vector, &mut scratch, decoded).map_err(unfaithful)?;
        if !is_same(values, decoded) {
            return Err((0, UNFAITHFUL));
        }
    }
    if block.bytes() != bytes.len() {
        return Err((0, UNFAITHFUL));
    }
    let head_bytes = u32::try_from(block.head_bytes()).map_err(|_| (0, UNFAITHFUL))?;
    let coded = Coded { head_bytes, codec: block.block().tag() };
    let entry = Entry { end: bytes.len() as u64, block: Some(coded), nulls: 0, statistics: None };
    Ok(Made { bytes, entry, group: None })
}

widest! {
    /// Bit by bit; all of them, because a loop that may end early looks at one after the other.
    fn is_same<T: Fixed>(values: &[T], decoded: &[T]) -> bool {
        let different = |(one, other): (&T, &T)| one.bits() ^ other.bits();
        values.len() == decoded.len()
            && values.iter().zip(decoded).map(different).fold(0, |ored, bits| ored | bits) == 0
    }
}
