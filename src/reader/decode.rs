//! Verified bytes of raw files become vectors, whole slices at a time.
//!
//! A checksum says that bytes are what a writer wrote, not that the writer was right: what no writer writes is
//! damage here too, and never a panic.
//!
//! Not here: where the bytes come from (`fetch`, `scan`).

use std::borrow::Cow;

use crate::batch::spare::{Plain, Spare};
use crate::batch::{Data, Vector};
use crate::codec::raw::Raw;
use crate::options::VALUE_BYTES_MAX;
use crate::schema::Kind;
use crate::segment::read::Damage;

/// Bytes of one raw file, in order and without gaps; each piece holds whole values.
#[derive(Debug)]
pub(crate) struct Pieces<'a> {
    pub(crate) file: usize,
    /// The offset of the first byte.
    pub(crate) start: u64,
    pub(crate) parts: Vec<Cow<'a, [u8]>>,
}

impl<'a> Pieces<'a> {
    pub(crate) fn one(file: usize, start: u64, bytes: &'a [u8]) -> Self {
        Self { file, start, parts: vec![Cow::Borrowed(bytes)] }
    }

    fn len(&self) -> usize {
        self.parts.iter().map(|part| part.len()).sum()
    }

    fn damage(&self, at: usize, what: impl Into<Cow<'static, str>>) -> Damage {
        Damage::new(self.file, self.start + at as u64, what)
    }

    /// All of them in one.
    fn join(self) -> Vec<u8> {
        let len = self.len();
        let mut parts = self.parts.into_iter();
        let mut bytes = parts.next().map_or_else(Vec::new, Cow::into_owned);
        bytes.reserve_exact(len - bytes.len());
        parts.for_each(|part| bytes.extend_from_slice(&part));
        bytes
    }
}

/// Values of fixed width.
fn fixed<T: Raw + Plain>(pieces: &Pieces<'_>, spare: &Spare) -> Vec<T> {
    let mut values = spare.take_empty(pieces.len() / T::WIDTH);
    for part in &pieces.parts {
        debug_assert!(part.len().is_multiple_of(T::WIDTH), "a piece holds whole values");
        T::read(part, &mut values);
    }
    values
}

/// Keys: they never go back.
pub(crate) fn keys(pieces: &Pieces<'_>, spare: &Spare) -> Result<Vec<u64>, Damage> {
    let keys = fixed::<u64>(pieces, spare);
    match keys.is_sorted() {
        true => Ok(keys),
        false => {
            let at = keys.windows(2).position(|pair| pair[0] > pair[1]).map_or(0, |at| at + 1);
            Err(pieces.damage(8 * at, "a key is below the one before it"))
        }
    }
}

/// Bytes that are 0 or 1.
fn bools(pieces: &Pieces<'_>, spare: &Spare, what: &'static str) -> Result<Vec<bool>, Damage> {
    let mut at = 0;
    for part in &pieces.parts {
        // Without a branch for each byte: all of them are right, nearly always.
        if part.iter().fold(0, |all, byte| all | byte) > 1 {
            at += part.iter().position(|byte| *byte > 1).unwrap_or(0);
            return Err(pieces.damage(at, what));
        }
        at += part.len();
    }
    Ok(fixed(pieces, spare))
}

/// Which rows are null; none where no row is.
pub(crate) fn nulls(pieces: &Pieces<'_>) -> Result<Option<Vec<bool>>, Damage> {
    let nulls = bools(pieces, &Spare::default(), "whether a row is null is a byte of 0 or 1")?;
    Ok(nulls.contains(&true).then_some(nulls))
}

/// Where values end, behind where the first begins: `pieces` hold `first`, the end of the value before, unless
/// the first value is its segment's first. They never go back, lie within `data`, and no value is above the limit.
pub(crate) fn bounds(
    pieces: &Pieces<'_>,
    is_first: bool,
    data: &std::ops::Range<u64>,
) -> Result<Vec<u64>, Damage> {
    let mut bounds = Vec::with_capacity(pieces.len() / 8 + 1);
    bounds.extend(is_first.then_some(0));
    bounds.append(&mut fixed::<u64>(pieces, &Spare::default()));
    let skipped = usize::from(is_first);
    let outside = bounds.first().is_none_or(|first| *first < data.start)
        || bounds.last().is_none_or(|last| *last > data.end)
        || bounds.windows(2).any(|pair| pair[0] > pair[1] || pair[1] - pair[0] > VALUE_BYTES_MAX);
    if !outside {
        return Ok(bounds);
    }
    let wrong = |index: usize| {
        let before = if index == 0 { data.start } else { bounds[index - 1] };
        let end = bounds[index];
        end < before || end > data.end || (index > 0 && end - before > VALUE_BYTES_MAX)
    };
    let index = (0..bounds.len()).find(|index| wrong(*index)).unwrap_or(0);
    let at = 8 * index.saturating_sub(skipped);
    Err(pieces.damage(at, format!("values end at {} to {} here, never going back", data.start, data.end)))
}

/// Whether the value bytes of nulls are zero.
fn check_nulls(pieces: &Pieces<'_>, nulls: Option<&[bool]>, width: usize) -> Result<(), Damage> {
    let Some(nulls) = nulls else { return Ok(()) };
    let mut row = 0;
    for part in &pieces.parts {
        for value in part.chunks(width) {
            if nulls[row] && value.iter().any(|byte| *byte != 0) {
                return Err(pieces.damage(row * width, "the bytes of a null are zero"));
            }
            row += 1;
        }
    }
    Ok(())
}

/// A column of values of fixed width.
pub(crate) fn fixed_vector(
    kind: Kind,
    pieces: &Pieces<'_>,
    nulls: Option<Vec<bool>>,
    spare: &Spare,
) -> Result<Vector, Damage> {
    let Some(width) = kind.width() else { unreachable!("bytes and text have no fixed width") };
    check_nulls(pieces, nulls.as_deref(), width)?;
    let data = match kind {
        Kind::U64 => Data::U64(fixed(pieces, spare)),
        Kind::I64 => Data::I64(fixed(pieces, spare)),
        Kind::F64 => Data::F64(fixed(pieces, spare)),
        Kind::U32 => Data::U32(fixed(pieces, spare)),
        Kind::I32 => Data::I32(fixed(pieces, spare)),
        Kind::F32 => Data::F32(fixed(pieces, spare)),
        Kind::Bool => Data::Bool(bools(pieces, spare, "a bool is a byte of 0 or 1")?),
        Kind::Bytes | Kind::Text => unreachable!("they have no fixed width"),
    };
    Ok(Vector::new(data, nulls))
}

/// A column of values of any length, whose bounds have been checked.
pub(crate) fn bytes_vector(
    kind: Kind,
    pieces: Pieces<'_>,
    mut bounds: Vec<u64>,
    nulls: Option<Vec<bool>>,
) -> Result<Vector, Damage> {
    let (file, start) = (pieces.file, pieces.start);
    let damage = |at: u64, what: &'static str| Damage::new(file, at, what);
    for (row, _) in nulls.iter().flatten().enumerate().filter(|(_, null)| **null) {
        if bounds[row] != bounds[row + 1] {
            return Err(damage(bounds[row], "a null has no bytes"));
        }
    }
    let data = pieces.join();
    bounds.iter_mut().for_each(|bound| *bound -= start);
    if kind == Kind::Bytes {
        return Ok(Vector::new(Data::Bytes { offsets: bounds, data }, nulls));
    }
    let data = String::from_utf8(data).map_err(|error| {
        let at = error.utf8_error().valid_up_to() as u64;
        damage(start + at, "text is UTF-8")
    })?;
    let cut = |bound: &&u64| !usize::try_from(**bound).is_ok_and(|at| data.is_char_boundary(at));
    match bounds.iter().find(cut) {
        Some(bound) => Err(damage(start + bound, "a text ends within a character")),
        None => Ok(Vector::new(Data::Text { offsets: bounds, data }, nulls)),
    }
}
