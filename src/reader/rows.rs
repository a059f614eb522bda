//! Rows of a sealed segment: which blocks the chosen columns need in a row group, and what they become.
//!
//! Keys that are evenly spaced need no block, and neither do flags of nulls that are all the same, nor values that are
//! all null.
//!
//! Not here: bringing blocks (`sealed`, `scan`).

use std::ops::Range;
use std::sync::Arc;

use futures::{StreamExt, TryStreamExt, stream};

use super::holdings::Holdings;
use super::sealed::{self, Encoded, Opened};
use super::texts::Texts;
use crate::batch::spare::{Plain, Spare};
use crate::batch::{Data, Vector};
use crate::codec::VECTOR;
use crate::codec::block::Scratch;
use crate::codec::fixed::Fixed;
use crate::condition::Between;
use crate::disk::{Disk, TRANSFER_BYTES_MAX};
use crate::error::{Malformed, Result};
use crate::format::entries::{Entries, Entry, NumberEntries};
use crate::format::segment::Spacing;
use crate::scan::Direction;
use crate::schema::{ColumnId, Kind};
use crate::statistics::LANES;

/// The streams that some columns need, with their entries.
#[derive(Debug)]
pub(crate) struct Streams {
    pub(crate) opened: Arc<Opened>,
    pub(crate) all: Vec<Stream>,
    /// Which of them are the keys, where any are needed.
    keys: Option<usize>,
    pub(super) columns: Vec<Chosen>,
    /// On columns, by their place among the chosen ones.
    conditions: Vec<(usize, Between)>,
}

/// Of a raw file's values.
#[derive(Debug)]
pub(crate) struct Stream {
    pub(crate) file: usize,
    pub(crate) entries: Arc<Entries>,
}

/// A column, and which of the streams are its own.
#[derive(Clone, Copy, Debug)]
pub(super) struct Chosen {
    id: ColumnId,
    pub(super) kind: Kind,
    pub(super) data: usize,
    nulls: Option<usize>,
}

/// What is asked of rows.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Ask {
    pub(crate) keys: Keys,
    /// Which rows to leave out where they are too many: the last ones, or in reverse the first.
    pub(crate) direction: Direction,
    /// Bytes of values of kind `bytes` and `text`; of one row any number.
    pub(crate) bytes_max: u64,
}

/// Where decoding works.
#[derive(Default)]
pub(crate) struct Room {
    scratch: Scratch,
    /// Where vectors come from.
    spare: Spare,
}

impl Room {
    pub(crate) fn new(spare: Spare) -> Self {
        Self { scratch: Scratch::default(), spare }
    }
}

/// Rows of one row group.
pub(crate) struct Rows {
    /// Empty where they were not asked for.
    pub(crate) keys: Vec<u64>,
    pub(crate) columns: Vec<(ColumnId, Vector)>,
    /// Which rows these are, where not all of them pass the conditions: places within the rows that were asked for.
    pub(crate) passing: Option<Vec<usize>>,
}

/// Whether keys are wanted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Keys {
    Wanted,
    Unwanted,
}

impl Streams {
    /// Those of the chosen columns, for rows of these row groups, with so many reads in flight.
    pub(crate) async fn load<D: Disk>(
        holdings: &Holdings<D>,
        opened: Arc<Opened>,
        columns: &[ColumnId],
        keys: Keys,
        groups: Range<usize>,
        reads_max: usize,
    ) -> Result<Self> {
        let schema = &holdings.shared.schema;
        let uneven = opened.directory.groups[groups].iter().any(|group| group.spacing == Spacing::Uneven);
        let mut files = Vec::new();
        let mut add = |file: usize| {
            files.push(file);
            files.len() - 1
        };
        let keys = (keys == Keys::Wanted && uneven).then(|| add(0));
        let chosen = |id: &ColumnId| {
            let places = schema.places(*id);
            let (data, nulls) = (add(places.data), places.nulls.map(&mut add));
            Chosen { id: *id, kind: schema.columns()[id.index()].kind(), data, nulls }
        };
        let columns = columns.iter().map(chosen).collect();
        let entries = (0..files.len()).map(|stream| holdings.entries(&opened, files[stream]));
        let entries: Vec<_> = stream::iter(entries).buffered(reads_max.max(1)).try_collect().await?;
        let all = files.into_iter().zip(entries).map(|(file, entries)| Stream { file, entries }).collect();
        Ok(Self { opened, all, keys, columns, conditions: Vec::new() })
    }

    /// Only rows that pass these, on columns by their place among the chosen ones.
    pub(crate) fn only(self, conditions: Vec<(usize, Between)>) -> Self {
        Self { conditions, ..self }
    }

    /// Whether statistics say that no row of a row group passes.
    pub(crate) fn excludes(&self, group: usize) -> bool {
        self.conditions.iter().any(|(column, between)| {
            let column = &self.columns[*column];
            let entry = self.all[column.data].entries.get(group);
            entry.statistics.is_some_and(|statistics| between.excludes(column.kind, &statistics))
        })
    }

    /// Whether a stream's block of a row group is needed.
    pub(crate) fn needs(&self, stream: usize, group: usize) -> bool {
        if self.excludes(group) {
            return false;
        }
        if self.keys == Some(stream) {
            return self.opened.directory.groups[group].spacing == Spacing::Uneven;
        }
        let is_null = |column: &&Chosen| column.data == stream && self.nulls(column, group) == Flags::All;
        self.all[stream].entries.get(group).block.is_some()
            && !self.columns.iter().any(|column| is_null(&column))
    }

    /// What is known of the only column's values in a row group, and how many of them are null.
    pub(crate) fn statistics(&self, group: usize) -> (Entry, u16) {
        let column = &self.columns[0];
        let nulls = column.nulls.map_or(0, |nulls| self.all[nulls].entries.nulls(group));
        (self.all[column.data].entries.get(group), nulls)
    }

    /// What is known of the only column's values; of numbers.
    pub(crate) fn numbers(&self) -> Option<&NumberEntries> {
        self.all[self.columns[0].data].entries.numbers()
    }

    /// How many of the only column's values are null in these row groups.
    pub(crate) fn count_nulls(&self, groups: Range<usize>) -> u64 {
        let Some(nulls) = self.columns[0].nulls else { return 0 };
        let entries = &self.all[nulls].entries;
        groups.map(|group| u64::from(entries.nulls(group))).sum()
    }

    /// Whether the only column is one of floats.
    pub(crate) fn has_lanes(&self) -> bool {
        matches!(self.columns[0].kind, Kind::F64 | Kind::F32)
    }

    /// The sums of the only column's values that go on behind the segment.
    pub(crate) fn lanes(&self) -> [f64; LANES] {
        self.all[self.columns[0].data].entries.lanes()
    }

    /// Where the block of a row group begins.
    pub(crate) fn block_start(&self, stream: usize, group: usize) -> u64 {
        self.all[stream].entries.block(group).start
    }

    /// The bytes that one read brings of the blocks of these row groups.
    pub(crate) fn range(&self, stream: usize, groups: &Range<usize>) -> Range<u64> {
        let entries = &self.all[stream].entries;
        sealed::kept(entries, groups.start).start..sealed::kept(entries, groups.end - 1).end
    }

    /// Whether one read brings the block of a row group.
    pub(crate) fn fits_one_read(&self, stream: usize, group: usize) -> bool {
        let pages = sealed::pages(&self.range(stream, &(group..group + 1)));
        pages.end - pages.start <= TRANSFER_BYTES_MAX as u64
    }

    /// Whether one read may bring the block of a row group together with those of the ones before it.
    pub(crate) fn is_one_read(&self, stream: usize, before: &Range<usize>, group: usize) -> bool {
        let (last, next) = (self.range(stream, before), self.range(stream, &(group..group + 1)));
        let pages = sealed::pages(&(last.start..next.end));
        last.end == next.start && pages.end - pages.start <= TRANSFER_BYTES_MAX as u64
    }

    fn nulls(&self, column: &Chosen, group: usize) -> Flags {
        let Some(nulls) = column.nulls else { return Flags::None };
        let rows = self.opened.directory.rows_of(group);
        match u64::from(self.all[nulls].entries.nulls(group)) {
            0 => Flags::None,
            nulls if nulls == rows.end - rows.start => Flags::All,
            _ => Flags::Some,
        }
    }

    /// Rows of a row group, its blocks read together.
    pub(crate) async fn read<D: Disk>(
        &self,
        holdings: &Holdings<D>,
        group: usize,
        rows: &Range<u64>,
        keys: Keys,
    ) -> Result<Rows> {
        let reads_max = holdings.shared.options.reads_in_flight.max(1);
        let blocks = (0..self.all.len()).map(|stream| self.block(holdings, stream, group));
        let blocks = stream::iter(blocks).buffered(reads_max);
        let blocks: Vec<Option<Arc<Encoded>>> = blocks.try_collect().await?;
        let ask = Ask { keys, direction: Direction::Forward, bytes_max: u64::MAX };
        let (_, rows) = self.decode(holdings, group, rows, ask, &blocks, &mut Room::default()).await?;
        Ok(rows)
    }

    /// A stream's block of a row group, if it is needed.
    async fn block<D: Disk>(
        &self,
        holdings: &Holdings<D>,
        stream: usize,
        group: usize,
    ) -> Result<Option<Arc<Encoded>>> {
        if !self.needs(stream, group) {
            return Ok(None);
        }
        let Stream { file, entries } = &self.all[stream];
        holdings.block(&self.opened, entries, *file, group).await.map(Some)
    }

    /// Rows of a row group from its blocks, one for each stream that needs one; fewer than asked for where their bytes
    /// and text would be too much.
    pub(crate) async fn decode<D: Disk>(
        &self,
        holdings: &Holdings<D>,
        group: usize,
        rows: &Range<u64>,
        ask: Ask,
        blocks: &[Option<Arc<Encoded>>],
        room: &mut Room,
    ) -> Result<(Range<u64>, Rows)> {
        let first = self.opened.directory.rows_of(group).start;
        let place = |row: u64| usize::try_from(row - first).unwrap_or(usize::MAX);
        let within = place(rows.start)..place(rows.end);
        let texts = Texts::load(holdings, self, group, blocks, &within).await?;
        let within = texts.shorten(within, ask, &mut room.scratch)?;
        let damaged = |malformed: Malformed| malformed.at(&self.opened.segment.path(&holdings.shared.dir));
        let (passing, decoded) = self.passing(group, &within, blocks, room).map_err(damaged)?;
        let rows = first + within.start as u64..first + within.end as u64;
        let wanted = match &passing {
            Some(passing) => Wanted::Places(passing.iter().map(|row| within.start + row).collect()),
            None => Wanted::All(within),
        };
        let keys = match ask.keys {
            Keys::Wanted => self.decode_keys(group, &wanted, blocks, room).map_err(damaged)?,
            Keys::Unwanted => Vec::new(),
        };
        let mut columns = Vec::with_capacity(decoded.len());
        for (column, decoded) in self.columns.iter().zip(decoded) {
            let vector = match (decoded, &passing) {
                (Some(vector), Some(passing)) => {
                    let selected = vector.select(passing);
                    room.spare.take_back(vector.all_data());
                    selected
                }
                (Some(vector), None) => vector,
                (None, _) if column.kind.width().is_none() => {
                    let nulls = self.decode_nulls(column, group, &wanted, blocks, room).map_err(damaged)?;
                    texts.vector(column, &wanted, nulls, &mut room.scratch).await?
                }
                (None, _) => self.decode_column(column, group, &wanted, blocks, room).map_err(damaged)?,
            };
            columns.push((column.id, vector));
        }
        Ok((rows, Rows { keys, columns, passing }))
    }

    /// Part of the only column's value, of bytes or text, in a row whose length in bytes `check` accepts.
    pub(crate) async fn part<D: Disk>(
        &self,
        holdings: &Holdings<D>,
        group: usize,
        row: u64,
        part: &Range<u64>,
        check: impl FnOnce(u64) -> Result<()>,
    ) -> Result<Vec<u8>> {
        let column = &self.columns[0];
        let mut blocks = vec![None; self.all.len()];
        blocks[column.data] = self.block(holdings, column.data, group).await?;
        let row = usize::try_from(row - self.opened.directory.rows_of(group).start).unwrap_or(usize::MAX);
        let texts = Texts::load(holdings, self, group, &blocks, &(row..row + 1)).await?;
        texts.part(column, row, part, check).await
    }

    fn passing(
        &self,
        group: usize,
        within: &Range<usize>,
        blocks: &[Option<Arc<Encoded>>],
        room: &mut Room,
    ) -> Result<Passing, Malformed> {
        let mut columns: Vec<Option<Vector>> = self.columns.iter().map(|_| None).collect();
        if self.conditions.is_empty() {
            return Ok((None, columns));
        }
        let mut passes = vec![!self.excludes(group); within.len()];
        for (column, between) in &self.conditions {
            if passes.contains(&true) {
                let all = Wanted::All(within.clone());
                let vector = match columns[*column].take() {
                    Some(vector) => vector,
                    None => self.decode_column(&self.columns[*column], group, &all, blocks, room)?,
                };
                between.restrict(&vector, &mut passes);
                columns[*column] = Some(vector);
            }
        }
        let passing = passes.contains(&false).then(|| (0..passes.len()).filter(|row| passes[*row]).collect());
        Ok((passing, columns))
    }

    fn decode_nulls(
        &self,
        column: &Chosen,
        group: usize,
        wanted: &Wanted,
        blocks: &[Option<Arc<Encoded>>],
        room: &mut Room,
    ) -> Result<Option<Vec<bool>>, Malformed> {
        Ok(match self.nulls(column, group) {
            Flags::None => None,
            Flags::All => Some(vec![true; wanted.len()]),
            Flags::Some => {
                let nulls: Vec<bool> =
                    values(column.nulls.and_then(|nulls| blocks[nulls].as_deref()), wanted, room)?;
                if nulls.contains(&true) {
                    return Ok(Some(nulls));
                }
                room.spare.take_back(std::iter::once(Data::Bool(nulls)));
                None
            }
        })
    }

    fn decode_column(
        &self,
        column: &Chosen,
        group: usize,
        wanted: &Wanted,
        blocks: &[Option<Arc<Encoded>>],
        room: &mut Room,
    ) -> Result<Vector, Malformed> {
        let nulls = self.decode_nulls(column, group, wanted, blocks, room)?;
        let vector = vector(column.kind, blocks[column.data].as_deref(), wanted, nulls, room)?;
        if !vector.has_empty_nulls() {
            return Err(self.contradiction(Some(column.data), group, "the bytes of a null are zero"));
        }
        Ok(vector)
    }

    fn decode_keys(
        &self,
        group: usize,
        wanted: &Wanted,
        blocks: &[Option<Arc<Encoded>>],
        room: &mut Room,
    ) -> Result<Vec<u64>, Malformed> {
        let rows = self.opened.directory.rows_of(group);
        let described = self.opened.directory.groups[group];
        if let Some(step) = described.step(rows.end - rows.start) {
            let key = |row: usize| described.first_key + step * row as u64;
            let mut keys = room.spare.take_empty(wanted.len());
            match wanted {
                Wanted::All(rows) => keys.extend(rows.clone().map(key)),
                Wanted::Places(places) => keys.extend(places.iter().map(|row| key(*row))),
            }
            return Ok(keys);
        }
        let keys: Vec<u64> = values(self.keys.and_then(|keys| blocks[keys].as_deref()), wanted, room)?;
        let (first, last) = (keys.first().copied(), keys.last().copied());
        let inside = first.is_none_or(|key| key >= described.first_key)
            && last.is_none_or(|key| key <= described.last_key);
        if !inside || !keys.is_sorted() {
            return Err(self.contradiction(self.keys, group, "the keys of a block contradict the directory"));
        }
        Ok(keys)
    }

    /// Of a block whose checksums are right.
    fn contradiction(&self, stream: Option<usize>, group: usize, what: &'static str) -> Malformed {
        let offset = stream.map_or(0, |stream| self.block_start(stream, group));
        Malformed::new(offset, what)
    }
}

/// Which rows pass conditions, none said if all do; and those columns that had to be decoded for it.
type Passing = (Option<Vec<usize>>, Vec<Option<Vector>>);

/// How many rows of a row group are null.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Flags {
    None,
    Some,
    All,
}

/// Which rows of a block.
pub(super) enum Wanted {
    All(Range<usize>),
    /// Rising.
    Places(Vec<usize>),
}

impl Wanted {
    pub(super) fn len(&self) -> usize {
        match self {
            Self::All(rows) => rows.len(),
            Self::Places(places) => places.len(),
        }
    }
}

/// Values of a block; zeros where none is needed.
fn values<T: Fixed + Plain>(
    block: Option<&Encoded>,
    wanted: &Wanted,
    room: &mut Room,
) -> Result<Vec<T>, Malformed> {
    let Some(block) = block else {
        let mut zeros = room.spare.take(wanted.len());
        zeros.fill(T::ZERO);
        return Ok(zeros);
    };
    let mut values = room.spare.take(wanted.len());
    match wanted {
        Wanted::All(rows) => block.decode(rows.start, &mut room.scratch, &mut values)?,
        Wanted::Places(places) => pick(block, places, &mut room.scratch, &mut values)?,
    }
    Ok(values)
}

/// The same at some places: vectors that hold none of them are not decoded.
fn pick<T: Fixed>(
    block: &Encoded,
    places: &[usize],
    scratch: &mut Scratch,
    picked: &mut [T],
) -> Result<(), Malformed> {
    let (mut picked, mut vector) = (picked.iter_mut(), [T::ZERO; VECTOR]);
    for places in places.chunk_by(|one, next| one / VECTOR == next / VECTOR) {
        let (Some(first), Some(last)) = (places.first(), places.last()) else { continue };
        let values = &mut vector[..last + 1 - first];
        block.decode(*first, scratch, values)?;
        for (place, picked) in places.iter().zip(&mut picked) {
            *picked = values[place - first];
        }
    }
    Ok(())
}

fn vector(
    kind: Kind,
    block: Option<&Encoded>,
    wanted: &Wanted,
    nulls: Option<Vec<bool>>,
    room: &mut Room,
) -> Result<Vector, Malformed> {
    let data = match kind {
        Kind::U64 => Data::U64(values(block, wanted, room)?),
        Kind::I64 => Data::I64(values(block, wanted, room)?),
        Kind::F64 => Data::F64(values(block, wanted, room)?),
        Kind::U32 => Data::U32(values(block, wanted, room)?),
        Kind::I32 => Data::I32(values(block, wanted, room)?),
        Kind::F32 => Data::F32(values(block, wanted, room)?),
        Kind::Bool => Data::Bool(values(block, wanted, room)?),
        Kind::Bytes | Kind::Text => unreachable!("bytes and text are decoded by themselves"),
    };
    Ok(Vector::new(data, nulls))
}
