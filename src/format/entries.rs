//! The entries of a sealed segment's streams: where each block lies, and what its values come to.
//!
//! The directory proves them. They are kept field by field, since aggregates look at one field of many. Format:
//! docs/format.md, "Sealed segment".
//!
//! Not here: the directory (`segment`), blocks (`block`).

use std::ops::Range;

use super::cursor::{Cursor, Field, Writer};
use super::segment::{Directory, Shape};
use super::{Malformed, crc32c};
use crate::codec::fixed::bits_max;
use crate::schema::{Kind, Schema};
use crate::statistics::{LANES, Statistics, Total};

/// Bytes of a block of fixed width: one read brings it. What is written has at most a third of that.
const FIXED_BYTES_MAX: u64 = 512 << 10;

/// What the index says of a block.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Entry {
    /// Where the block ends, from the stream's start.
    pub(crate) end: u64,
    /// None if there is no block.
    pub(crate) block: Option<Coded>,
    /// Rows that are null; of a stream of nulls.
    pub(crate) nulls: u16,
    /// Of numbers.
    pub(crate) statistics: Option<Statistics>,
}

/// How a block is encoded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Coded {
    pub(crate) head_bytes: u32,
    /// As in the block.
    pub(crate) codec: u8,
}

/// The entries of a stream, checked. Field by field, since aggregates look at one field of many entries.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Entries {
    shape: Shape,
    /// Where the stream begins in its file.
    start: u64,
    ends: Vec<u64>,
    blocks: Vec<Option<Coded>>,
    /// Of a stream of nulls.
    nulls: Vec<u16>,
    numbers: Option<NumberEntries>,
}

/// Of a stream of numbers.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct NumberEntries {
    pub(crate) has_extremes: Vec<bool>,
    /// As bits; zero where there is none.
    pub(crate) min: Vec<u64>,
    pub(crate) max: Vec<u64>,
    pub(crate) totals: Totals,
}

/// Of all row groups.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Totals {
    Integers(Vec<i128>),
    /// And the lanes behind the last row.
    Floats(Vec<f64>, [f64; LANES]),
}

impl NumberEntries {
    fn new(shape: Shape, groups: usize) -> Self {
        let totals = match shape.is_float() {
            true => Totals::Floats(Vec::with_capacity(groups), [0.0; LANES]),
            false => Totals::Integers(Vec::with_capacity(groups)),
        };
        let list = || Vec::with_capacity(groups);
        Self { has_extremes: Vec::with_capacity(groups), min: list(), max: list(), totals }
    }

    fn push(&mut self, statistics: Statistics) {
        let (min, max) = statistics.extremes.unwrap_or_default();
        self.has_extremes.push(statistics.extremes.is_some());
        self.min.push(min);
        self.max.push(max);
        match (&mut self.totals, statistics.total) {
            (Totals::Integers(totals), Total::Integer(total)) => totals.push(total),
            (Totals::Floats(totals, _), Total::Float(total)) => totals.push(total),
            _ => unreachable!("the total of an entry is parsed as its shape says"),
        }
    }

    fn get(&self, group: usize) -> Statistics {
        let extremes = self.has_extremes[group].then(|| (self.min[group], self.max[group]));
        let total = match &self.totals {
            Totals::Integers(totals) => Total::Integer(totals[group]),
            Totals::Floats(totals, _) => Total::Float(totals[group]),
        };
        Statistics { extremes, total }
    }
}

/// The bytes of entries, and of the lanes behind them.
pub(crate) fn encode_entries(shape: Shape, entries: &[Entry], lanes: [f64; LANES]) -> Vec<u8> {
    let mut bytes = vec![0; shape.bytes(entries.len())];
    let mut to = Writer::new(&mut bytes);
    for entry in entries {
        let block = entry.block.unwrap_or(Coded { head_bytes: 0, codec: 0 });
        to.u64(entry.end).u32(block.head_bytes).u8(block.codec);
        let extremes = entry.statistics.and_then(|statistics| statistics.extremes);
        to.u8(extremes.is_some().into()).u16(entry.nulls);
        if let Some(statistics) = &entry.statistics {
            let (min, max) = extremes.unwrap_or_default();
            to.u64(min).u64(max);
            match statistics.total {
                Total::Float(total) => to.u64(total.to_bits()),
                Total::Integer(total) => to.bytes(&total.to_le_bytes()),
            };
        }
    }
    if shape.is_float() {
        lanes.iter().for_each(|lane| {
            to.u64(lane.to_bits());
        });
    }
    bytes
}

impl Entries {
    /// From the bytes in which the directory says that they lie.
    pub(crate) fn decode(
        bytes: Vec<u8>,
        directory: &Directory,
        file: usize,
        schema: &Schema,
    ) -> Result<Self, Malformed> {
        Self::decode_traced(bytes, directory, file, schema, None)
    }

    pub(super) fn decode_traced(
        bytes: Vec<u8>,
        directory: &Directory,
        file: usize,
        schema: &Schema,
        trace: Option<&mut Vec<Field>>,
    ) -> Result<Self, Malformed> {
        let shape = Shape::of(schema.files()[file], schema);
        let (stream, groups) = (directory.streams[file], directory.groups.len());
        let offset = directory.entries(file, schema).start;
        if bytes.len() != shape.bytes(groups) || (crc32c(&bytes) != stream.sum && shape != Shape::None) {
            return Err(Malformed::new(offset, "the checksum of a stream's entries does not match"));
        }
        let mut from = Cursor::new(&bytes, offset).traced(trace);
        let entries = Self::decode_content(&mut from, shape, directory, directory.stream_start(file));
        let entries = entries.map_err(Malformed::in_intact)?;
        if entries.ends.last().copied().unwrap_or(0) != stream.bytes {
            return Err(Malformed::new(offset, "entries do not end where their stream does").in_intact());
        }
        Ok(entries)
    }

    fn decode_content(
        from: &mut Cursor<'_, '_>,
        shape: Shape,
        directory: &Directory,
        start: u64,
    ) -> Result<Self, Malformed> {
        let groups = if shape == Shape::None { 0 } else { directory.groups.len() };
        let numbers = matches!(shape, Shape::Numbers(_)).then(|| NumberEntries::new(shape, groups));
        let (ends, blocks, nulls) = (Vec::with_capacity(groups), Vec::with_capacity(groups), Vec::new());
        let mut entries = Self { shape, start, ends, blocks, nulls, numbers };
        let mut end = 0;
        for group in 0..groups {
            let rows = directory.rows_of(group);
            let entry = check_entry(from, shape, rows.end - rows.start, &mut end)?;
            entries.ends.push(entry.end);
            entries.blocks.push(entry.block);
            if shape == Shape::Nulls {
                entries.nulls.push(entry.nulls);
            }
            if let (Some(numbers), Some(statistics)) = (&mut entries.numbers, entry.statistics) {
                numbers.push(statistics);
            }
        }
        if let Some(NumberEntries { totals: Totals::Floats(_, lanes), .. }) = &mut entries.numbers {
            for lane in lanes {
                *lane = f64::from_bits(from.u64("lane")?);
            }
        }
        Ok(entries)
    }

    /// Bytes in memory.
    pub(crate) fn memory_bytes(&self) -> usize {
        let numbers = self.numbers.as_ref().map_or(0, |numbers| {
            let total = if matches!(numbers.totals, Totals::Floats(..)) { 8 } else { 16 };
            numbers.min.len() * (17 + total)
        });
        let each = 8 + size_of::<Option<Coded>>();
        size_of::<Self>() + self.ends.len() * each + 2 * self.nulls.len() + numbers
    }

    /// Of numbers.
    pub(crate) fn numbers(&self) -> Option<&NumberEntries> {
        self.numbers.as_ref()
    }

    /// Rows that are null in a row group; of a stream of nulls.
    pub(crate) fn nulls(&self, group: usize) -> u16 {
        self.nulls.get(group).copied().unwrap_or(0)
    }

    pub(crate) fn shape(&self) -> Shape {
        self.shape
    }

    /// What is said of a row group's block.
    pub(crate) fn get(&self, group: usize) -> Entry {
        let statistics = self.numbers.as_ref().map(|numbers| numbers.get(group));
        Entry { end: self.ends[group], block: self.blocks[group], nulls: self.nulls(group), statistics }
    }

    /// Where a row group's block lies in the file; nowhere if there is none.
    pub(crate) fn block(&self, group: usize) -> Range<u64> {
        let start = if group == 0 { 0 } else { self.ends[group - 1] };
        self.start + start..self.start + self.ends[group]
    }

    /// The sums of floats that go on behind the segment's last row.
    pub(crate) fn lanes(&self) -> [f64; LANES] {
        match &self.numbers {
            Some(NumberEntries { totals: Totals::Floats(_, lanes), .. }) => *lanes,
            _ => [0.0; LANES],
        }
    }
}

fn parse_entry(from: &mut Cursor<'_, '_>, shape: Shape) -> Result<Entry, Malformed> {
    let (end, head_bytes) = (from.u64("end of the block")?, from.u32("bytes of its head")?);
    let (codec, has_extremes) = (from.u8("codec")?, from.u8("extremes")?);
    let nulls = from.u16("nulls")?;
    let block = (head_bytes > 0).then_some(Coded { head_bytes, codec });
    if block.is_none() && codec != 0 || has_extremes > 1 {
        return Err(from.malformed("an entry contradicts itself"));
    }
    let Shape::Numbers(_) = shape else {
        if has_extremes == 1 {
            return Err(from.malformed("only numbers have extremes"));
        }
        return Ok(Entry { end, block, nulls, statistics: None });
    };
    let (min, max) = (from.u64("least value")?, from.u64("greatest value")?);
    let total = if shape.is_float() {
        Total::Float(f64::from_bits(from.u64("sum")?))
    } else {
        let (low, high) = (from.u64("sum")?, from.u64("sum, upper half")?);
        Total::Integer((u128::from(high) << 64 | u128::from(low)).cast_signed())
    };
    if has_extremes == 0 && (min, max) != (0, 0) {
        return Err(from.malformed("extremes that are none are zero"));
    }
    let extremes = (has_extremes == 1).then_some((min, max));
    Ok(Entry { end, block, nulls, statistics: Some(Statistics { extremes, total }) })
}

/// The longest head of a block: that of one of bytes has six bytes for 32 KiB of data.
const HEAD_BYTES_MAX: u32 = 64 << 20;

/// The next entry, of a block of `rows` that begins at `start`, which moves behind it.
fn check_entry(
    from: &mut Cursor<'_, '_>,
    shape: Shape,
    rows: u64,
    start: &mut u64,
) -> Result<Entry, Malformed> {
    let entry = parse_entry(from, shape)?;
    let Some(bytes) = entry.end.checked_sub(*start) else {
        return Err(from.malformed("a block ends before it begins"));
    };
    if bytes > FIXED_BYTES_MAX && !matches!(shape, Shape::Bytes(_)) {
        return Err(from.malformed("a block is longer than it can be"));
    }
    if entry.block.is_some_and(|block| block.head_bytes > HEAD_BYTES_MAX) {
        return Err(from.malformed("the head of a block is longer than it can be"));
    }
    if let Some(Statistics { total: Total::Integer(total), .. }) = entry.statistics
        && total.unsigned_abs() > u128::from(rows) * u128::from(u64::MAX)
    {
        return Err(from.malformed("a sum is beyond what so many values come to"));
    }
    *start = entry.end;
    let nulls = u64::from(entry.nulls);
    let is_told = shape == Shape::Nulls && (nulls == 0 || nulls == rows);
    let fits = match entry.block {
        Some(block) => u64::from(block.head_bytes) <= bytes && !is_told,
        None => bytes == 0 && is_told,
    };
    if !fits || (shape != Shape::Nulls && nulls > 0) || nulls > rows {
        return Err(from.malformed("an entry is not of a block that can be there"));
    }
    if let Some((min, max)) = entry.statistics.and_then(|statistics| statistics.extremes)
        && (min.max(max) > bits_max(shape.kind()) || !in_order(shape.kind(), min, max))
    {
        return Err(from.malformed("extremes are not in order"));
    }
    Ok(entry)
}

/// Whether the extremes of a kind, as bits, can be those of any values.
#[expect(clippy::cast_possible_truncation, reason = "the bits of an f32 are 32, which is checked before")]
fn in_order(kind: Kind, min: u64, max: u64) -> bool {
    let ordered = |min: f64, max: f64| !min.is_nan() && min.total_cmp(&max).is_le() && !max.is_nan();
    match kind {
        Kind::F64 => ordered(f64::from_bits(min), f64::from_bits(max)),
        Kind::F32 => ordered(f32::from_bits(min as u32).into(), f32::from_bits(max as u32).into()),
        _ => min <= max,
    }
}
