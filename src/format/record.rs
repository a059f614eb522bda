//! A record of the log: one commit, or the beginning of a writer's life.
//!
//! It stands in whole pages. Its header has a checksum of its own, so that a record whose end was torn still
//! proves that it was begun; the record's checksum covers every byte and is what the next record names as
//! `previous`. Format: docs/format.md, "Record".
//!
//! Not here: where a record goes, and what its absence means (`log`).

use super::cursor::{Cursor, Field, Writer, check_version, field};
use super::{
    FILE_BYTES_MAX, KEY, Malformed, NUMBER_MAX, PAGE, Piece, Salt, StoreId, VERSION, check_keys, chunks,
};
use crate::options::NOTE_BYTES_MAX;

const MAGIC: &[u8; 8] = b"TLRECORD";
/// Bytes before the sections.
pub(crate) const HEADER: usize = 96;
const STORE: usize = 16;
const HEADER_SUM: usize = 72;
const RECORD_SUM: usize = 80;
/// Bytes before a section's payload.
const SECTION: usize = 8;
const ROWS: usize = 32;
const FILE: usize = 32;

const TAG_ROWS: u16 = 1;
const TAG_NOTE: u16 = 2;
/// As dumps call them, from tag 1 on.
const SECTIONS: [&str; 2] = ["rows", "note"];

/// A place in the log: which file (0 is log-a, 1 is log-b), and how many pages into it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Place {
    pub(crate) file: u8,
    pub(crate) page: u32,
}

impl Place {
    /// In bytes from the start of its file.
    pub(crate) fn offset(self) -> u64 {
        u64::from(self.page) * PAGE as u64
    }
}

/// What identifies a record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Header {
    /// Its length.
    pub(crate) pages: u32,
    /// Of the writer's life that wrote it.
    pub(crate) epoch: u64,
    /// Its number, from 1.
    pub(crate) sequence: u64,
    /// The checksum of the record before it; 0 for the first.
    pub(crate) previous: u64,
    /// Of the manifest that was newest when it was written.
    pub(crate) generation: u64,
    /// Length of its sections.
    body_bytes: u64,
}

/// Whether a record's inline bytes extend the tails or replace them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Form {
    /// Everything is inline, from the old length on.
    Small = 1,
    /// Whole pages went to the raw files; inline is what lies behind them.
    Large = 2,
}

/// What a commit does to one raw file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct FileChange<'a> {
    /// Bytes that are in the file now (D): whole pages.
    pub(crate) end: u64,
    /// Its logical length now (L).
    pub(crate) len: u64,
    /// The chunk that the first sum is for.
    pub(crate) first_chunk: u32,
    /// Sums of the chunks that `end` moved through, the last one over its bytes below `end`.
    pub(crate) sums: Vec<u32>,
    /// The bytes up to `len` that are not in the file.
    pub(crate) inline: &'a [u8],
}

impl FileChange<'_> {
    /// Where the inline bytes begin in the file.
    pub(crate) fn inline_from(&self) -> u64 {
        self.len - self.inline.len() as u64
    }
}

/// What a commit adds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Rows<'a> {
    pub(crate) first_row: u64,
    pub(crate) rows: u64,
    pub(crate) last_key: u64,
    pub(crate) form: Form,
    /// One for each of the schema's raw files, in their order.
    pub(crate) files: Vec<FileChange<'a>>,
    /// For the keys: the first key of each chunk that `files[0].sums` is for.
    pub(crate) first_keys: Vec<u64>,
}

/// A whole record.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Record<'a> {
    pub(crate) header: Header,
    /// Its checksum, which the next record names.
    pub(crate) checksum: u64,
    pub(crate) rows: Option<Rows<'a>>,
    pub(crate) note: Option<&'a [u8]>,
}

/// What a writer knows of the record that it is about to write.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Identity<'a> {
    pub(crate) store: &'a StoreId,
    pub(crate) place: Place,
    pub(crate) epoch: u64,
    pub(crate) sequence: u64,
    pub(crate) previous: u64,
    pub(crate) generation: u64,
}

/// Pages that a record takes, as [`bytes`] does.
pub(crate) fn pages(rows: Option<(usize, usize, usize, usize)>, note: Option<usize>) -> u32 {
    field(bytes(rows, note).div_ceil(PAGE))
}

/// Bytes that a record takes before its padding: with `rows` of `files` raw files, `sums` sums and `first_keys` in all, `inline`
/// bytes, and a note.
pub(crate) fn bytes(rows: Option<(usize, usize, usize, usize)>, note: Option<usize>) -> usize {
    let rows = rows.map_or(0, |(files, sums, first_keys, inline)| {
        SECTION + padded(ROWS + files * FILE + sums * 4 + first_keys * 8 + inline)
    });
    let note = note.map_or(0, |len| SECTION + padded(len));
    HEADER + rows + note
}

fn padded(len: usize) -> usize {
    len.next_multiple_of(8)
}

impl Rows<'_> {
    /// As [`pages`] takes it.
    pub(crate) fn size(&self) -> (usize, usize, usize, usize) {
        let sums = self.files.iter().map(|file| file.sums.len()).sum();
        let inline = self.files.iter().map(|file| file.inline.len()).sum();
        (self.files.len(), sums, self.first_keys.len(), inline)
    }

    /// That the file of keys has one for each row, and that those that are here never go back.
    fn check(&self) -> Result<(), &'static str> {
        let keys = &self.files[0];
        let here = keys.inline.len() / KEY;
        let counted = match self.form {
            Form::Small => here as u64 == self.rows,
            Form::Large => keys.len / KEY as u64 >= self.rows,
        };
        if !counted || !keys.len.is_multiple_of(KEY as u64) || !keys.inline.len().is_multiple_of(KEY) {
            return Err("there is not one key for each row");
        }
        check_keys(&self.first_keys, keys.inline, self.last_key)
    }

    fn bytes(&self) -> usize {
        let (files, sums, first_keys, inline) = self.size();
        ROWS + files * FILE + sums * 4 + first_keys * 8 + inline
    }

    fn encode(&self, to: &mut Writer<'_>) {
        let bytes = self.bytes();
        to.u16(TAG_ROWS).u16(0).u32(field(bytes));
        to.u64(self.first_row).u64(self.rows).u64(self.last_key);
        to.u8(self.form as u8).zeros(3).u32(field(self.files.len()));
        for file in &self.files {
            to.u64(file.end).u64(file.len).u64(file.inline_from());
            // Without sums there is no first chunk: one way to say it.
            to.u32(if file.sums.is_empty() { 0 } else { file.first_chunk }).u32(field(file.sums.len()));
        }
        self.files.iter().flat_map(|file| &file.sums).for_each(|sum| {
            to.u32(*sum);
        });
        self.first_keys.iter().for_each(|key| {
            to.u64(*key);
        });
        self.files.iter().for_each(|file| {
            to.bytes(file.inline);
        });
        to.zeros(padded(bytes) - bytes);
    }
}

/// Writes a record into `to`, which are all its pages, as many as [`pages`] says; returns its checksum.
pub(crate) fn encode(
    to: &mut [u8],
    identity: Identity<'_>,
    rows: Option<&Rows<'_>>,
    note: Option<&[u8]>,
) -> u64 {
    let pages = pages(rows.map(Rows::size), note.map(<[u8]>::len));
    // A record of another length would be refused when it is read.
    assert_eq!(to.len(), pages as usize * PAGE, "a record is written into exactly its pages");
    let mut body = Writer::new(&mut to[HEADER..]);
    if let Some(rows) = rows {
        rows.encode(&mut body);
    }
    if let Some(note) = note {
        body.u16(TAG_NOTE).u16(0).u32(field(note.len())).bytes(note).zeros(padded(note.len()) - note.len());
    }
    let body_bytes = body.at() as u64;
    body.pad();

    let mut header = Writer::new(&mut to[..HEADER]);
    header.bytes(MAGIC).u16(VERSION).u16(0).u32(pages).bytes(identity.store);
    header.u64(identity.epoch).u64(identity.sequence).u64(identity.previous).u64(identity.generation);
    header.u64(body_bytes).pad();
    let salt = salt(identity.store, identity.place, identity.epoch);
    let sum = salt.crc64(&[&to[..HEADER_SUM]]);
    to[HEADER_SUM..HEADER_SUM + 8].copy_from_slice(&sum.to_le_bytes());
    let checksum = record_sum(&salt, to);
    to[RECORD_SUM..RECORD_SUM + 8].copy_from_slice(&checksum.to_le_bytes());
    debug_assert_eq!(decode(to, identity.place, identity.store).err(), None, "what is written can be read");
    checksum
}

fn salt(store: &StoreId, place: Place, epoch: u64) -> Salt {
    Salt::new(store, Piece::Record, place.file.into(), place.page.into(), epoch)
}

/// Both checksums count as zeros. With the header's own in it, this one would be the same whatever the header
/// says: a CRC over bytes that are followed by their CRC is a constant.
fn record_sum(salt: &Salt, bytes: &[u8]) -> u64 {
    salt.crc64(&[&bytes[..HEADER_SUM], &[0; 16], &bytes[RECORD_SUM + 8..]])
}

/// The header of the record that begins at `place`, if its own checksum holds: whatever became of the rest, a
/// record of this store was begun here.
pub(crate) fn decode_header(page: &[u8], place: Place, store: &StoreId) -> Result<Header, Malformed> {
    header(&mut Cursor::new(page, place.offset()), page, place, store)
}

/// Whether the first page of a log file is one of another store's, or of the other file's. A record begins there
/// or nothing does, so that no value that a record carries can stand there.
pub(crate) fn is_stranger(page: &[u8], file: u8, store: &StoreId) -> bool {
    let Some(id) = page.get(STORE..).and_then(<[u8]>::first_chunk) else { return false };
    let begins = |file| decode_header(page, Place { file, page: 0 }, id).is_ok();
    begins(1 - file) || (id != store && begins(file))
}

fn header(
    from: &mut Cursor<'_, '_>,
    page: &[u8],
    place: Place,
    store: &StoreId,
) -> Result<Header, Malformed> {
    from.magic(MAGIC)?;
    let version = from.u16("format version")?;
    let reserved = from.u16("reserved")?;
    let pages = from.u32("pages")?;
    let id = from.store_id()?;
    let header = Header {
        pages,
        epoch: from.u64("epoch")?,
        sequence: from.u64("sequence")?,
        previous: from.sum64("checksum of the previous record")?,
        generation: from.u64("manifest generation")?,
        body_bytes: from.u64("bytes of sections")?,
    };
    let sum = from.sum64("checksum of the header")?;
    let expected = salt(store, place, header.epoch).crc64(&[&page[..HEADER_SUM]]);
    if sum != expected || id != *store {
        return Err(Malformed::new(place.offset(), "the checksum of a record's header does not match"));
    }
    check_version(version, place.offset() + 8)?;
    header.check(reserved).map_err(|what| Malformed::new(place.offset(), what).in_intact())?;
    Ok(header)
}

impl Header {
    fn check(&self, reserved: u16) -> Result<(), &'static str> {
        let numbers = [self.epoch, self.sequence, self.generation];
        if numbers.iter().any(|number| !(1..NUMBER_MAX).contains(number)) {
            return Err("a record's epoch, sequence or generation is one that nobody can have counted to");
        }
        if self.sequence == 1 && self.previous != 0 {
            return Err("the first record has no record before it");
        }
        let bytes = (HEADER as u64).saturating_add(self.body_bytes);
        if u64::from(self.pages) != bytes.div_ceil(PAGE as u64) || reserved != 0 {
            return Err("a record's length is not that of its sections");
        }
        Ok(())
    }
}

/// The record in `bytes`, which are all the pages that its header names.
pub(crate) fn decode<'a>(bytes: &'a [u8], place: Place, store: &StoreId) -> Result<Record<'a>, Malformed> {
    decode_traced(bytes, place, store, None)
}

pub(super) fn decode_traced<'a>(
    bytes: &'a [u8],
    place: Place,
    store: &StoreId,
    trace: Option<&mut Vec<Field>>,
) -> Result<Record<'a>, Malformed> {
    let mut from = Cursor::new(bytes, place.offset()).traced(trace);
    let header = header(&mut from, bytes, place, store)?;
    let checksum = from.sum64("checksum of the record")?;
    let reserved_at = from.offset();
    let reserved = from.u64("reserved")?;
    let whole = bytes.len() == header.pages as usize * PAGE;
    if !whole || record_sum(&salt(store, place, header.epoch), bytes) != checksum {
        return Err(Malformed::new(place.offset(), "the checksum of a record does not match"));
    }
    if reserved != 0 {
        return Err(Malformed::new(reserved_at, "a reserved byte of a record is not zero").in_intact());
    }
    let (rows, note) = sections(&mut from, &header).map_err(Malformed::in_intact)?;
    Ok(Record { header, checksum, rows, note })
}

type Sections<'a> = (Option<Rows<'a>>, Option<&'a [u8]>);

fn sections<'a>(from: &mut Cursor<'a, '_>, header: &Header) -> Result<Sections<'a>, Malformed> {
    let (mut rows, mut note, mut last_tag) = (None, None, 0);
    let body_end = from.offset() + header.body_bytes;
    while from.offset() < body_end {
        let (tag, len) = from.section(last_tag, &SECTIONS)?;
        let start = from.offset();
        last_tag = tag;
        match tag {
            TAG_ROWS => rows = Some(decode_rows(from)?),
            TAG_NOTE if len <= NOTE_BYTES_MAX => note = Some(from.bytes(len, "note")?),
            TAG_NOTE => return Err(from.malformed("a note is longer than its limit")),
            _ => return Err(from.malformed(format!("a record has no section {tag}"))),
        }
        if from.offset() != start + len as u64 {
            return Err(from.malformed("a section's length does not match its content"));
        }
        from.zeros(padded(len) - len, "padding")?;
    }
    if from.offset() != body_end {
        return Err(from.malformed("a record's sections go beyond their length"));
    }
    let rest = from.remaining();
    from.zeros(rest, "padding")?;
    Ok((rows, note))
}

fn decode_rows<'a>(from: &mut Cursor<'a, '_>) -> Result<Rows<'a>, Malformed> {
    let first_row = from.number("first row")?;
    let rows = from.number("rows")?;
    let last_key = from.u64("last key")?;
    if rows == 0 || rows >= NUMBER_MAX - first_row {
        return Err(from.malformed("a record adds no row, or more than can be counted"));
    }
    let form = match from.u8("form")? {
        1 => Form::Small,
        2 => Form::Large,
        _ => return Err(from.malformed("a record's form is 1 or 2")),
    };
    from.zeros(3, "reserved")?;
    let count = from.count(FILE, "files")?;
    if count == 0 {
        return Err(from.malformed("rows have a file of keys at least"));
    }
    let mut shapes = Vec::with_capacity(count);
    for _ in 0..count {
        shapes.push(Shape::decode(from, form)?);
    }
    let mut files = Vec::with_capacity(count);
    for shape in &shapes {
        files.push(shape.change(from)?);
    }
    let first_keys = from.first_keys(shapes[0].sums)?;
    for (file, shape) in files.iter_mut().zip(&shapes) {
        file.inline = from.bytes(shape.inline, "inline bytes")?;
    }
    let rows = Rows { first_row, rows, last_key, form, files, first_keys };
    rows.check().map_err(|what| from.malformed(what))?;
    Ok(rows)
}

/// A file's entry before its sums and bytes, which follow all the entries.
struct Shape {
    end: u64,
    len: u64,
    inline: usize,
    first_chunk: u32,
    sums: usize,
}

impl Shape {
    fn decode(from: &mut Cursor<'_, '_>, form: Form) -> Result<Self, Malformed> {
        let end = from.u64("bytes in the file")?;
        let len = from.u64("length")?;
        let inline_from = from.u64("inline bytes begin at")?;
        let first_chunk = from.u32("first chunk")?;
        let sums = from.count(4, "chunks")?;
        let inline = len.checked_sub(inline_from).and_then(|inline| usize::try_from(inline).ok());
        let Some(inline) = inline.filter(|inline| *inline <= from.remaining()) else {
            return Err(from.malformed("inline bytes go beyond the record"));
        };
        // The sums, where there are any, end with the chunk that `end` is in.
        let sums_fit = match sums {
            0 => first_chunk == 0,
            _ => u64::from(first_chunk) + sums as u64 == chunks(end),
        };
        let form_fits = match form {
            Form::Small => sums == 0,
            Form::Large => inline_from == end && inline < PAGE,
        };
        let in_order = end <= inline_from && len <= FILE_BYTES_MAX && end.is_multiple_of(PAGE as u64);
        if !in_order || !sums_fit || !form_fits {
            return Err(from.malformed("a file's lengths contradict each other"));
        }
        Ok(Self { end, len, inline, first_chunk, sums })
    }

    fn change<'a>(&self, from: &mut Cursor<'_, '_>) -> Result<FileChange<'a>, Malformed> {
        let sums = from.sums(self.sums)?;
        Ok(FileChange { end: self.end, len: self.len, first_chunk: self.first_chunk, sums, inline: &[] })
    }
}
