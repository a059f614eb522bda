//! The index of a sealed segment: its directory.
//!
//! A stream holds the blocks of one raw file's values, one for each row group; an entry says where a block lies and
//! what its values come to. The directory, which the manifest names by its checksum, proves the entries; they are
//! loaded when they are asked for. Format: docs/format.md, "Sealed segment".
//!
//! Not here: entries (`entries`), blocks (`block`), writing and reading the file (`store::seal`, `reader`).

use std::ops::Range;

use super::cursor::{Cursor, Field, Writer, field};
use super::manifest::Sealed;
use super::sheet::{self, Title};
use super::{FILE_BYTES_MAX, Malformed, PAGE, Piece, StoreId, crc32c};
use crate::schema::{Kind, RawFile, Role, Schema};
use crate::statistics::{GROUP_BITS, GROUP_ROWS, LANES};

const MAGIC: &[u8; 8] = b"TLSEGMNT";

/// Bytes of the directory before its files.
const FIXED: usize = 24;
/// Bytes of a file in the directory.
const STREAM: usize = 16;
/// Bytes of a row group in the directory: its keys, and whether they are evenly spaced.
const GROUP: usize = 17;
/// Bytes of an entry before its statistics.
const ENTRY: usize = 16;

/// What the values of a stream are, as far as their entries differ.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Shape {
    Keys,
    /// Values of a numeric kind.
    Numbers(Kind),
    Bools,
    /// `bytes`, `text`.
    Bytes(Kind),
    Nulls,
    /// Offsets of a raw file: there is no stream.
    None,
}

impl Shape {
    /// Of what a raw file of this schema holds.
    pub(crate) fn of(file: RawFile, schema: &Schema) -> Self {
        let kind = file.column.map_or(Kind::U64, |column| schema.columns()[column.index()].kind);
        match (file.role, kind) {
            (Role::Keys, _) => Self::Keys,
            (Role::Fixed(_), Kind::Bool) => Self::Bools,
            (Role::Fixed(_), kind) => Self::Numbers(kind),
            (Role::Bytes, kind) => Self::Bytes(kind),
            (Role::Offsets, _) => Self::None,
            (Role::Nulls, _) => Self::Nulls,
        }
    }

    /// The kind of its values in blocks.
    pub(crate) fn kind(self) -> Kind {
        match self {
            Self::Keys | Self::None => Kind::U64,
            Self::Numbers(kind) | Self::Bytes(kind) => kind,
            Self::Bools | Self::Nulls => Kind::Bool,
        }
    }

    /// Whether its sums are of floats.
    pub(crate) fn is_float(self) -> bool {
        matches!(self, Self::Numbers(Kind::F64 | Kind::F32))
    }

    /// Bytes of an entry.
    fn width(self) -> usize {
        match self {
            Self::None => 0,
            Self::Numbers(_) if self.is_float() => ENTRY + 24,
            Self::Numbers(_) => ENTRY + 32,
            _ => ENTRY,
        }
    }

    /// Bytes of all entries.
    pub(super) fn bytes(self, groups: usize) -> usize {
        groups * self.width() + if self.is_float() { 8 * LANES } else { 0 }
    }
}

/// The row groups that hold some rows.
pub(crate) fn groups(rows: &Range<u64>) -> Range<u64> {
    let start = rows.start >> GROUP_BITS;
    start..if rows.is_empty() { start } else { rows.end.div_ceil(GROUP_ROWS) }
}

/// Which segment, and of which store and schema.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Home<'a> {
    pub(crate) segment: u64,
    pub(crate) store: &'a StoreId,
    pub(crate) schema: &'a Schema,
}

/// What there is in a sealed segment, but for its entries.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Directory {
    pub(crate) rows: Range<u64>,
    /// One for each raw file.
    pub(crate) streams: Vec<Stream>,
    pub(crate) groups: Vec<Group>,
}

/// The blocks of a raw file's values.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Stream {
    pub(crate) bytes: u64,
    /// Checksum of its entries.
    pub(crate) sum: u32,
}

/// The keys of a row group.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Group {
    pub(crate) first_key: u64,
    pub(crate) last_key: u64,
    pub(crate) spacing: Spacing,
}

/// Whether keys can be computed from the first and the last one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Spacing {
    Even,
    Uneven,
}

impl Group {
    /// Of a row group's keys; none if there are none.
    pub(crate) fn of(keys: &[u64]) -> Option<Self> {
        let (&[first_key, ..], &[.., last_key]) = (keys, keys) else { return None };
        let steps = keys.len() as u64 - 1;
        let step = (last_key - first_key).checked_div(steps).unwrap_or(0);
        let even = keys.windows(2).all(|pair| pair[1] - pair[0] == step);
        Some(Self { first_key, last_key, spacing: if even { Spacing::Even } else { Spacing::Uneven } })
    }

    /// The distance from key to key of a group of so many rows, if they are evenly spaced.
    pub(crate) fn step(&self, rows: u64) -> Option<u64> {
        let distance = self.last_key - self.first_key;
        (self.spacing == Spacing::Even).then(|| distance.checked_div(rows - 1).unwrap_or(0))
    }
}

fn title(home: Home<'_>) -> Title {
    Title { magic: MAGIC, piece: Piece::Directory, number: home.segment, slot: 0 }
}

/// Bytes of the directory of a segment of these rows.
pub(crate) fn directory_bytes(rows: &Range<u64>, schema: &Schema) -> Option<u64> {
    let groups = groups(rows);
    let content = (groups.end - groups.start).checked_mul(GROUP as u64)?;
    let content = content.checked_add((FIXED + STREAM * schema.files().len() + sheet::HEADER) as u64)?;
    content.checked_next_multiple_of(PAGE as u64).filter(|bytes| *bytes <= sheet::BYTES_MAX)
}

impl Directory {
    /// The sheet at the end of the segment's file.
    pub(crate) fn encode(&self, home: Home<'_>) -> Vec<u8> {
        let mut content = vec![0; FIXED + STREAM * self.streams.len() + GROUP * self.groups.len()];
        let mut to = Writer::new(&mut content);
        to.u64(self.rows.start).u64(self.rows.end - self.rows.start);
        to.u32(field(self.groups.len())).u32(field(self.streams.len()));
        for stream in &self.streams {
            to.u64(stream.bytes).u32(stream.sum).zeros(4);
        }
        for group in &self.groups {
            to.u64(group.first_key).u64(group.last_key);
        }
        for group in &self.groups {
            to.u8(if group.spacing == Spacing::Even { 1 } else { 2 });
        }
        sheet::encode(title(home), home.store, &content)
    }

    /// From the sheet that ends the file of a segment: the one that the manifest names.
    pub(crate) fn named(sheet: &[u8], home: Home<'_>, sealed: &Sealed) -> Result<Self, Malformed> {
        let directory = Self::decode(sheet, home, sealed.bytes)?;
        let (first, last) = (directory.groups.first(), directory.groups.last());
        let is_named = directory.rows == (sealed.first_row..sealed.first_row + sealed.rows)
            && first.map(|group| group.first_key) == Some(sealed.first_key)
            && last.map(|group| group.last_key) == Some(sealed.last_key)
            && crc32c(sheet) == sealed.directory_sum;
        let start = sealed.bytes.saturating_sub(sheet.len() as u64);
        let what = "this is not the directory that the manifest names";
        is_named.then_some(directory).ok_or_else(|| Malformed::new(start, what))
    }

    /// From the sheet, which ends a file of `file_bytes`.
    pub(crate) fn decode(sheet: &[u8], home: Home<'_>, file_bytes: u64) -> Result<Self, Malformed> {
        Self::decode_traced(sheet, home, file_bytes, None)
    }

    pub(super) fn decode_traced(
        sheet: &[u8],
        home: Home<'_>,
        file_bytes: u64,
        trace: Option<&mut Vec<Field>>,
    ) -> Result<Self, Malformed> {
        let start = file_bytes.saturating_sub(sheet.len() as u64);
        let decode = || {
            let (_, mut from) = sheet::decode(sheet, title(home), Some(home.store), trace)?;
            Self::decode_content(&mut from, home.schema, file_bytes, sheet.len())
                .map_err(Malformed::in_intact)
        };
        decode().map_err(|malformed| Malformed { offset: malformed.offset + start, ..malformed })
    }

    fn decode_content(
        from: &mut Cursor<'_, '_>,
        schema: &Schema,
        file_bytes: u64,
        sheet_bytes: usize,
    ) -> Result<Self, Malformed> {
        let (first_row, rows) = (from.number("first row")?, from.number("rows")?);
        if rows == 0 {
            return Err(from.malformed("a sealed segment has rows"));
        }
        // Neither is above 2^63: see `Cursor::number`.
        let rows = first_row..first_row + rows;
        let count = from.count(GROUP, "row groups")?;
        let files = from.count(STREAM, "files")?;
        let groups = groups(&rows);
        if groups.end - groups.start != count as u64 || rows.is_empty() || files != schema.files().len() {
            return Err(from.malformed("row groups and files are not those of the segment's rows and schema"));
        }
        let mut streams = Vec::with_capacity(files);
        for file in schema.files() {
            let (bytes, sum) = (from.u64("bytes of the stream")?, from.sum32("checksum of its entries")?);
            from.zeros(4, "reserved")?;
            let is_none = Shape::of(*file, schema) == Shape::None;
            if bytes > FILE_BYTES_MAX || (is_none && (bytes, sum) != (0, 0)) {
                return Err(from.malformed("a stream is longer than it can be"));
            }
            streams.push(Stream { bytes, sum });
        }
        let groups = decode_groups(from, &rows, count)?;
        let directory = Self { rows, streams, groups };
        if directory.bytes(schema).checked_add(sheet_bytes as u64) != Some(file_bytes) {
            return Err(from.malformed("streams and entries are not as long as the file"));
        }
        Ok(directory)
    }

    /// Bytes of the file before the directory.
    fn bytes(&self, schema: &Schema) -> u64 {
        let entries: usize =
            schema.files().iter().map(|file| Shape::of(*file, schema).bytes(self.groups.len())).sum();
        self.entries_start() + entries.next_multiple_of(PAGE) as u64
    }

    /// Where the blocks of a file's stream begin.
    pub(crate) fn stream_start(&self, file: usize) -> u64 {
        // Each is below 2^44, and there are 12,289 at most.
        self.streams[..file].iter().map(|stream| stream.bytes).sum()
    }

    fn entries_start(&self) -> u64 {
        self.stream_start(self.streams.len()).next_multiple_of(PAGE as u64)
    }

    /// The padding behind blocks and behind entries.
    pub(crate) fn gaps(&self, schema: &Schema) -> [Range<u64>; 2] {
        let blocks = self.stream_start(self.streams.len());
        let entries = self.entries(self.streams.len() - 1, schema).end;
        [blocks..self.entries_start(), entries..entries.next_multiple_of(PAGE as u64)]
    }

    /// Where the entries of a file's stream lie.
    pub(crate) fn entries(&self, file: usize, schema: &Schema) -> Range<u64> {
        let bytes = |file: &RawFile| Shape::of(*file, schema).bytes(self.groups.len()) as u64;
        let start = self.entries_start() + schema.files()[..file].iter().map(bytes).sum::<u64>();
        start..start + bytes(&schema.files()[file])
    }

    /// Rows of a row group, counted from the segment's first.
    pub(crate) fn rows_of(&self, group: usize) -> Range<u64> {
        let start = ((self.rows.start >> GROUP_BITS) + group as u64) << GROUP_BITS;
        start.max(self.rows.start)..(start + GROUP_ROWS).min(self.rows.end)
    }

    /// Which row group a row of the segment is in.
    pub(crate) fn group_of(&self, row: u64) -> usize {
        usize::try_from((row >> GROUP_BITS) - (self.rows.start >> GROUP_BITS)).unwrap_or(usize::MAX)
    }

    /// Bytes in memory.
    pub(crate) fn memory_bytes(&self) -> usize {
        size_of::<Self>() + self.streams.len() * size_of::<Stream>() + self.groups.len() * size_of::<Group>()
    }
}

fn decode_groups(
    from: &mut Cursor<'_, '_>,
    rows: &Range<u64>,
    count: usize,
) -> Result<Vec<Group>, Malformed> {
    let start = from.offset();
    let keys = from.bytes(16 * count, "first and last keys")?.as_chunks::<16>().0;
    let spacings = from.bytes(count, "spacings of keys")?;
    if from.remaining() > 0 {
        return Err(from.malformed("there is more than row groups"));
    }
    let (mut groups, mut before) = (Vec::with_capacity(count), 0);
    let first = rows.start >> GROUP_BITS;
    for (number, (keys, spacing)) in (first..).zip(keys.iter().zip(spacings)) {
        let (first_key, last_key) = keys.split_at(8);
        let key = |bytes: &[u8]| bytes.first_chunk().map_or(0, |bytes| u64::from_le_bytes(*bytes));
        let (first_key, last_key) = (key(first_key), key(last_key));
        let spacing = match spacing {
            1 => Spacing::Even,
            2 => Spacing::Uneven,
            _ => return Err(Malformed::new(start, "keys are evenly spaced or not: 1 or 2")),
        };
        let steps = rows.end.min((number + 1) << GROUP_BITS) - rows.start.max(number << GROUP_BITS) - 1;
        let divides = match (last_key.wrapping_sub(first_key), steps) {
            (distance, 0) => distance == 0,
            (distance, steps) => spacing == Spacing::Uneven || distance.is_multiple_of(steps),
        };
        if first_key < before || last_key < first_key || !divides {
            return Err(Malformed::new(start, "the keys of row groups contradict each other"));
        }
        before = last_key;
        groups.push(Group { first_key, last_key, spacing });
    }
    Ok(groups)
}
