//! The index of a sealed segment for fuzzers: anybody's directory, and anybody's entries, proved by it.
//!
//! Not here: blocks (`blocks`), the pieces that are files of their own (the module above).

use super::{STORE, STORE_ID, put, resign_sheet};
use crate::format::entries::{Entries, encode_entries};
use crate::format::segment::{Directory, Home, Shape};
use crate::format::{Malformed, PAGE, Piece, Salt, crc32c};
use crate::schema::{Column, Kind, Schema};

/// The number of the segment.
pub(in crate::format) const SEGMENT: u64 = 3;

const SHEET: usize = 64;
/// Where the directory states how many row groups and files there are, and where the first file stands.
const COUNTS: usize = SHEET + 16;
const STREAMS: usize = SHEET + 24;
const STREAM: usize = 16;

/// Between them every shape of entries.
pub(in crate::format) fn schema(choice: u8) -> Schema {
    let columns = match choice % 3 {
        0 => vec![Column::new("price", Kind::F64), Column::new("venue", Kind::Text).nullable()],
        1 => vec![
            Column::new("size", Kind::I64),
            Column::new("rate", Kind::F32).nullable(),
            Column::new("count", Kind::U32),
            Column::new("flag", Kind::Bool),
        ],
        _ => vec![Column::new("blob", Kind::Bytes)],
    };
    Schema::new(columns).unwrap_or_else(|error| unreachable!("the schema of a fuzzer: {error}"))
}

pub(in crate::format) fn home(schema: &Schema) -> Home<'_> {
    Home { segment: SEGMENT, store: &STORE, schema }
}

/// The index of a sealed segment: which schema (1), bytes of the directory (4), the directory, and the entries.
pub fn segment(bytes: &[u8]) -> bool {
    let Some((schema, sheet, entries)) = split(bytes) else { return false };
    let mut sheet = sheet.to_vec();
    let file_bytes = resign_segment(&mut sheet, entries, &schema);
    read_segment(&sheet, entries, &schema, file_bytes).is_ok()
}

/// Makes a directory's checksum right again.
pub(in crate::format) fn resign_directory(sheet: &mut [u8]) {
    put(sheet, STORE_ID, &STORE);
    resign_sheet(sheet, &Salt::new(&STORE, Piece::Directory, 0, 0, SEGMENT));
}

/// Schema, directory and entries.
pub(in crate::format) fn split(bytes: &[u8]) -> Option<(Schema, &[u8], &[u8])> {
    let (&[choice, a, b, c, d], rest) = bytes.split_first_chunk()?;
    let (sheet, entries) = rest.split_at((u32::from_le_bytes([a, b, c, d]) as usize).min(rest.len()));
    Some((schema(choice), sheet, entries))
}

/// Makes the checksums of the entries that a directory has, as far as they are there, and its own right again. Returns
/// how long the file has to be.
pub(in crate::format) fn resign_segment(sheet: &mut [u8], entries: &[u8], schema: &Schema) -> u64 {
    if sheet.len() < STREAMS {
        return sheet.len() as u64;
    }
    let groups = u32::from_le_bytes(*sheet[COUNTS..].first_chunk().unwrap_or(&[0; 4])) as usize;
    let (mut at, mut blocks, mut behind) = (STREAMS, 0_u64, entries);
    for file in schema.files() {
        let shape = Shape::of(*file, schema);
        let Some(stream) = sheet.get_mut(at..at + STREAM) else { break };
        let stated = u64::from_le_bytes(*stream.first_chunk().unwrap_or(&[0; 8]));
        blocks = blocks.saturating_add(stated);
        let mine;
        (mine, behind) = behind.split_at(shape.bytes(groups).min(behind.len()));
        if shape != Shape::None {
            put(stream, 8, &crc32c(mine).to_le_bytes());
        }
        at += STREAM;
    }
    resign_directory(sheet);
    let index: usize = schema.files().iter().map(|file| Shape::of(*file, schema).bytes(groups)).sum();
    let blocks = blocks.checked_next_multiple_of(PAGE as u64).unwrap_or(u64::MAX);
    blocks.saturating_add((index.next_multiple_of(PAGE) + sheet.len()) as u64)
}

/// Decodes, and sees that what is accepted is written again as the same bytes, and says nothing that cannot be.
pub(in crate::format) fn read_segment(
    sheet: &[u8],
    entries: &[u8],
    schema: &Schema,
    file_bytes: u64,
) -> Result<(Directory, Vec<Entries>), Malformed> {
    let directory = Directory::decode(sheet, home(schema), file_bytes)?;
    assert!(directory.encode(home(schema)) == sheet, "a second way to write a directory");
    check_groups(&directory);
    let (start, end) = (directory.entries(0, schema).start, directory.gaps(schema)[1].start);
    if end - start != entries.len() as u64 {
        return Err(Malformed::new(start, "these are not all entries, or more"));
    }
    let mut all = Vec::new();
    for file in 0..schema.files().len() {
        let place = |at: u64| usize::try_from(at - start).unwrap_or(usize::MAX);
        let range = directory.entries(file, schema);
        let bytes = &entries[place(range.start)..place(range.end)];
        let read = Entries::decode(bytes.to_vec(), &directory, file, schema)?;
        check_entries(&directory, &read, bytes, file);
        all.push(read);
    }
    Ok((directory, all))
}

/// Row groups have rows, and are the segment's; keys can be computed where it says so.
fn check_groups(directory: &Directory) {
    let mut end = directory.rows.start;
    for (index, group) in directory.groups.iter().enumerate() {
        let rows = directory.rows_of(index);
        assert!(rows.start == end && rows.end > end, "row group {index} has rows {rows:?}");
        assert!(directory.group_of(rows.start) == index && directory.group_of(rows.end - 1) == index);
        let count = rows.end - rows.start;
        if let Some(step) = group.step(count) {
            assert_eq!(group.first_key + step * (count - 1), group.last_key, "row group {index}");
        }
        end = rows.end;
    }
    assert_eq!(end, directory.rows.end, "all rows are in row groups");
}

fn check_entries(directory: &Directory, entries: &Entries, bytes: &[u8], file: usize) {
    if entries.shape() == Shape::None {
        return;
    }
    let groups = 0..directory.groups.len();
    let all: Vec<_> = groups.clone().map(|group| entries.get(group)).collect();
    assert!(encode_entries(entries.shape(), &all, entries.lanes()) == bytes, "a second way to write entries");
    let mut at = directory.stream_start(file);
    let end = at + directory.streams[file].bytes;
    for group in groups {
        let (block, rows) = (entries.block(group), directory.rows_of(group));
        assert!(block.start == at && block.end >= at && block.end <= end, "a block lies in its stream");
        assert!(u64::from(entries.nulls(group)) <= rows.end - rows.start, "not more nulls than rows");
        at = block.end;
    }
}
