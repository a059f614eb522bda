//! The manifest: the truth of a store at one moment.
//!
//! Schema, log, segments, and of the active segment all that is not in its files: lengths, sums, first keys,
//! tails. Format: docs/format.md, "Manifest".
//!
//! Not here: how one becomes the newest (`store::publish`), what open makes of it (`store::recover`).

use super::cursor::{Cursor, Field, Writer, field};
use super::record::Place;
use super::sheet::{self, Title};
use super::{FILE_BYTES_MAX, Malformed, NUMBER_MAX, PAGE, Piece, StoreId, check_keys, chunks};
use crate::codec::Tier;
use crate::options::{LOG_BYTES_MAX, LOG_BYTES_MIN, NOTE_BYTES_MAX};
use crate::schema::{Column, KeyUnit, Kind, Nulls, Schema};

const MAGIC: &[u8; 8] = b"TLMANIFE";

const TAG_SCHEMA: u16 = 1;
const TAG_LOG: u16 = 2;
const TAG_FINISHED: u16 = 3;
const TAG_ACTIVE: u16 = 4;
const TAG_NOTE: u16 = 5;
const TAG_SEALED: u16 = 6;
/// As dumps call them, from tag 1 on.
const SECTIONS: [&str; 6] =
    ["schema", "log", "finished segments", "active segment", "note", "sealed segments"];

/// What a manifest says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Manifest {
    pub(crate) store: StoreId,
    pub(crate) generation: u64,
    pub(crate) schema: Schema,
    pub(crate) log: Log,
    /// Oldest first; all before the finished ones.
    pub(crate) sealed: Vec<Sealed>,
    /// Raw segments that will not change, oldest first.
    pub(crate) finished: Vec<Finished>,
    /// None in the first manifest, which names no slot.
    pub(crate) active: Option<Active>,
    /// That of the newest commit that had one.
    pub(crate) note: Option<Vec<u8>>,
}

/// Where the log stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Log {
    /// Pages in each of the two files.
    pub(crate) pages: u32,
    /// None in the first manifest, when there is no log yet.
    pub(crate) at: Option<LogPosition>,
}

/// Between two records.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct LogPosition {
    /// Right behind the last record, in its file, even at its end.
    pub(crate) next: Place,
    /// Where the last record begins.
    pub(crate) last: Place,
    /// The last record's checksum.
    pub(crate) checksum: u64,
    /// The next record's number.
    pub(crate) sequence: u64,
    /// Of the last record.
    pub(crate) epoch: u64,
}

/// A segment in one compressed file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Sealed {
    pub(crate) number: u64,
    pub(crate) first_row: u64,
    pub(crate) rows: u64,
    pub(crate) first_key: u64,
    pub(crate) last_key: u64,
    /// Of its file.
    pub(crate) bytes: u64,
    /// Of its directory, the whole sheet.
    pub(crate) directory_sum: u32,
    pub(crate) tier: Tier,
}

/// A raw segment that will not change.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Finished {
    pub(crate) number: u64,
    pub(crate) slot: u32,
    pub(crate) first_row: u64,
    pub(crate) rows: u64,
    pub(crate) first_key: u64,
    pub(crate) last_key: u64,
    /// Of its file `sums`, all of it: the slot of a copy that lived on by itself is not this one.
    pub(crate) sums_sum: u32,
    /// The logical length of each of its files; they are zero-padded to a whole page.
    pub(crate) lengths: Vec<u64>,
}

/// The raw segment that rows are added to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Active {
    pub(crate) number: u64,
    pub(crate) slot: u32,
    pub(crate) first_row: u64,
    pub(crate) rows: u64,
    /// The store's newest key: of this segment, or of those before if it is empty.
    pub(crate) last_key: u64,
    /// One for each of the schema's raw files.
    pub(crate) files: Vec<ActiveFile>,
    /// The first key of each chunk of keys below their `end`.
    pub(crate) first_keys: Vec<u64>,
}

/// A raw file of the active segment.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct ActiveFile {
    /// D: bytes in the file, whole pages.
    pub(crate) end: u64,
    /// L is `end` and these bytes, under a page.
    pub(crate) tail: Vec<u8>,
    /// Of each chunk below `end`.
    pub(crate) sums: Vec<u32>,
}

/// Bytes of a whole manifest, as its first page states it; none where that cannot be one's.
pub(crate) fn stated_bytes(page: &[u8]) -> Option<u64> {
    sheet::stated_bytes(page)
}

fn title(generation: u64) -> Title {
    Title { magic: MAGIC, piece: Piece::Manifest, number: generation, slot: 0 }
}

impl Manifest {
    /// The whole file.
    pub(crate) fn encode(&self) -> Vec<u8> {
        let mut content = Vec::new();
        section(&mut content, TAG_SCHEMA, &encode_schema(&self.schema));
        section(&mut content, TAG_LOG, &encode_log(&self.log));
        if !self.finished.is_empty() {
            section(&mut content, TAG_FINISHED, &encode_finished(&self.finished));
        }
        if let Some(active) = &self.active {
            section(&mut content, TAG_ACTIVE, &encode_active(active));
        }
        if let Some(note) = &self.note {
            section(&mut content, TAG_NOTE, note);
        }
        if !self.sealed.is_empty() {
            section(&mut content, TAG_SEALED, &encode_sealed(&self.sealed));
        }
        let sheet = sheet::encode(title(self.generation), &self.store, &content);
        debug_assert_eq!(
            Self::decode(&sheet, self.generation).as_ref(),
            Ok(self),
            "what is written can be read"
        );
        sheet
    }

    /// Whether it says that this segment lies in this slot, or in a file of its own.
    pub(crate) fn places(&self, segment: u64, slot: Option<u32>) -> bool {
        let sealed = self.sealed.iter().map(|sealed| (sealed.number, None));
        let finished = self.finished.iter().map(|finished| (finished.number, Some(finished.slot)));
        let active = self.active.iter().map(|active| (active.number, Some(active.slot)));
        sealed.chain(finished).chain(active).any(|place| place == (segment, slot))
    }

    /// Whether a segment lies in this slot.
    pub(crate) fn names_slot(&self, slot: u32) -> bool {
        self.finished.iter().any(|segment| segment.slot == slot)
            || self.active.as_ref().is_some_and(|active| active.slot == slot)
    }

    /// From the whole file `manifest-<generation>`.
    pub(crate) fn decode(bytes: &[u8], generation: u64) -> Result<Self, Malformed> {
        Self::decode_traced(bytes, generation, None)
    }

    pub(super) fn decode_traced(
        bytes: &[u8],
        generation: u64,
        trace: Option<&mut Vec<Field>>,
    ) -> Result<Self, Malformed> {
        let (store, mut from) = sheet::decode(bytes, title(generation), None, trace)?;
        Self::decode_content(store, generation, &mut from).map_err(Malformed::in_intact)
    }

    fn decode_content(store: StoreId, generation: u64, from: &mut Cursor<'_, '_>) -> Result<Self, Malformed> {
        let (mut schema, mut log, mut active, mut note) = (None, None, None, None);
        let (mut finished, mut sealed) = (Vec::new(), Vec::new());
        let mut last_tag = 0;
        while from.remaining() > 0 {
            let (tag, len) = from.section(last_tag, &SECTIONS)?;
            let start = from.offset();
            last_tag = tag;
            match tag {
                TAG_SCHEMA => schema = Some(decode_schema(from)?),
                TAG_LOG => log = Some(decode_log(from)?),
                TAG_FINISHED => finished = decode_finished(from)?,
                TAG_ACTIVE => active = Some(decode_active(from)?),
                TAG_NOTE if len <= NOTE_BYTES_MAX => note = Some(from.bytes(len, "note")?.to_vec()),
                TAG_NOTE => return Err(from.malformed("a note is longer than its limit")),
                TAG_SEALED => sealed = decode_sealed(from)?,
                _ => return Err(from.malformed(format!("a manifest has no section {tag}"))),
            }
            if from.offset() != start + len as u64 {
                return Err(from.malformed("a section's length does not match its content"));
            }
            from.zeros(len.next_multiple_of(8) - len, "padding")?;
        }
        let (Some(schema), Some(log)) = (schema, log) else {
            return Err(from.malformed("a manifest has a schema and a log"));
        };
        let manifest = Self { store, generation, schema, log, sealed, finished, active, note };
        manifest.check().map_err(|what| Malformed::new(sheet::HEADER as u64, what))?;
        Ok(manifest)
    }

    /// What no single section shows: that they belong together.
    fn check(&self) -> Result<(), &'static str> {
        if self.active.is_some() != self.log.at.is_some() {
            return Err("a log and an active segment come together");
        }
        if !(1..NUMBER_MAX).contains(&self.generation) {
            return Err("a generation is at least 1");
        }
        let files = self.schema.files();
        let (mut next_row, mut last_key) = self.check_sealed()?;
        let mut number = 0;
        for segment in &self.finished {
            let fixed = files.iter().zip(&segment.lengths).all(|(file, len)| match file.width() {
                Some(width) => segment.rows.checked_mul(width as u64) == Some(*len),
                None => true,
            });
            if segment.lengths.len() != files.len() || !fixed {
                return Err("a finished segment's lengths do not match its rows");
            }
            if segment.first_row != next_row || segment.rows == 0 || segment.number < number {
                return Err("finished segments do not follow each other");
            }
            if segment.first_key < last_key || segment.last_key < segment.first_key {
                return Err("the keys of finished segments do not follow each other");
            }
            // Neither is above 2^63: see `Cursor::number`.
            next_row += segment.rows;
            if next_row >= NUMBER_MAX {
                return Err("more rows than can be counted");
            }
            (last_key, number) = (segment.last_key, segment.number + 1);
        }
        let Some(active) = &self.active else {
            let none = self.finished.is_empty() && self.sealed.is_empty();
            return if none { Ok(()) } else { Err("segments without an active one") };
        };
        let fixed = files.iter().zip(&active.files).all(|(file, state)| match file.width() {
            Some(width) => active.rows.checked_mul(width as u64) == Some(state.end + state.tail.len() as u64),
            None => true,
        });
        let counted = active.rows < NUMBER_MAX - active.first_row;
        if active.files.len() != files.len() || !fixed || !counted {
            return Err("the active segment's lengths do not match its rows");
        }
        let tail = active.files[0].tail.first_chunk().map(|key| u64::from_le_bytes(*key));
        if active.first_keys.first().copied().or(tail).is_some_and(|key| key < last_key) {
            return Err("the keys of the active segment do not follow the finished ones'");
        }
        let mut slots: Vec<u32> = self.finished.iter().map(|segment| segment.slot).collect();
        slots.push(active.slot);
        slots.sort_unstable();
        if slots.windows(2).any(|pair| pair[0] == pair[1]) {
            return Err("two segments lie in one slot");
        }
        if active.first_row != next_row || active.number < number || active.last_key < last_key {
            return Err("the active segment does not follow the finished ones");
        }
        Ok(())
    }

    /// The row and the key with which sealed segments end.
    fn check_sealed(&self) -> Result<(u64, u64), &'static str> {
        let (mut next_row, mut last_key) = (0, 0);
        for segment in &self.sealed {
            if segment.first_row != next_row || segment.rows == 0 {
                return Err("sealed segments do not follow each other");
            }
            if segment.first_key < last_key || segment.last_key < segment.first_key {
                return Err("the keys of sealed segments do not follow each other");
            }
            // Neither is above 2^63: see `Cursor::number`.
            next_row += segment.rows;
            if next_row >= NUMBER_MAX {
                return Err("more rows than can be counted");
            }
            last_key = segment.last_key;
        }
        let raw = self.finished.iter().map(|segment| segment.number);
        let raw = raw.chain(self.active.iter().map(|active| active.number));
        let mut numbers: Vec<u64> = self.sealed.iter().map(|segment| segment.number).chain(raw).collect();
        numbers.sort_unstable();
        if numbers.windows(2).any(|pair| pair[0] == pair[1]) {
            return Err("two segments have one number");
        }
        Ok((next_row, last_key))
    }
}

fn section(to: &mut Vec<u8>, tag: u16, payload: &[u8]) {
    to.extend_from_slice(&tag.to_le_bytes());
    to.extend_from_slice(&[0; 2]);
    to.extend_from_slice(&field(payload.len()).to_le_bytes());
    to.extend_from_slice(payload);
    to.resize(to.len().next_multiple_of(8), 0);
}

fn encode_schema(schema: &Schema) -> Vec<u8> {
    let strings = schema.columns().iter().map(|column| 4 + column.name.len());
    let pairs = schema.pairs().iter().map(|(name, value)| 8 + name.len() + value.len());
    let mut bytes = vec![0; 12 + strings.sum::<usize>() + pairs.sum::<usize>()];
    let mut to = Writer::new(&mut bytes);
    to.u8(unit_tag(schema.unit())).zeros(3).u32(field(schema.columns().len()));
    for column in schema.columns() {
        to.u8(kind_tag(column.kind)).u8(u8::from(column.nulls == Nulls::Allowed));
        // A name is at most 255 bytes: its length fits the first of the two.
        to.bytes(&field(column.name.len()).to_le_bytes()[..2]).bytes(column.name.as_bytes());
    }
    to.u32(field(schema.pairs().len()));
    for (name, value) in schema.pairs() {
        to.u32(field(name.len())).u32(field(value.len())).bytes(name.as_bytes()).bytes(value.as_bytes());
    }
    bytes
}

fn decode_schema(from: &mut Cursor<'_, '_>) -> Result<Schema, Malformed> {
    let unit = match from.u8("key unit")? {
        1 => KeyUnit::None,
        2 => KeyUnit::Seconds,
        3 => KeyUnit::Milliseconds,
        4 => KeyUnit::Microseconds,
        5 => KeyUnit::Nanoseconds,
        _ => return Err(from.malformed("a key unit is 1 to 5")),
    };
    from.zeros(3, "reserved")?;
    let count = from.count(4, "columns")?;
    let mut columns = Vec::with_capacity(count);
    for _ in 0..count {
        let kind = decode_kind(from)?;
        let nulls = match from.u8("nulls")? {
            0 => Nulls::Forbidden,
            1 => Nulls::Allowed,
            _ => return Err(from.malformed("nulls is 0 or 1")),
        };
        let len = from.u16("bytes of the name")?;
        columns.push(Column { name: from.text(len.into(), "name")?.to_owned(), kind, nulls });
    }
    let mut schema = Schema::new(columns).map_err(|error| from.malformed(error.to_string()))?.key_unit(unit);
    for _ in 0..from.count(8, "pairs of metadata")? {
        let (name, value) = (from.count(1, "bytes of the name")?, from.count(1, "bytes of the value")?);
        let (name, value) = (from.text(name, "name")?, from.text(value, "value")?);
        schema = schema.metadata(name, value).map_err(|error| from.malformed(error.to_string()))?;
    }
    Ok(schema)
}

fn unit_tag(unit: KeyUnit) -> u8 {
    match unit {
        KeyUnit::None => 1,
        KeyUnit::Seconds => 2,
        KeyUnit::Milliseconds => 3,
        KeyUnit::Microseconds => 4,
        KeyUnit::Nanoseconds => 5,
    }
}

fn kind_tag(kind: Kind) -> u8 {
    match kind {
        Kind::U64 => 1,
        Kind::I64 => 2,
        Kind::F64 => 3,
        Kind::U32 => 4,
        Kind::I32 => 5,
        Kind::F32 => 6,
        Kind::Bool => 7,
        Kind::Bytes => 8,
        Kind::Text => 9,
    }
}

fn decode_kind(from: &mut Cursor<'_, '_>) -> Result<Kind, Malformed> {
    const KINDS: [Kind; 9] = [
        Kind::U64,
        Kind::I64,
        Kind::F64,
        Kind::U32,
        Kind::I32,
        Kind::F32,
        Kind::Bool,
        Kind::Bytes,
        Kind::Text,
    ];
    let tag = from.u8("kind")?;
    let kind = KINDS.iter().find(|kind| kind_tag(**kind) == tag);
    kind.copied().ok_or_else(|| from.malformed("a kind is 1 to 9"))
}

const LOG_BYTES: usize = 48;

fn encode_log(log: &Log) -> Vec<u8> {
    let mut bytes = vec![0; if log.at.is_some() { LOG_BYTES } else { 8 }];
    let mut to = Writer::new(&mut bytes);
    to.u32(log.pages);
    if let Some(at) = log.at {
        to.u8(1).u8(at.next.file).u8(at.last.file).zeros(1);
        to.u32(at.next.page).u32(at.last.page).u64(at.checksum).u64(at.sequence).u64(at.epoch);
    }
    to.pad();
    bytes
}

fn decode_log(from: &mut Cursor<'_, '_>) -> Result<Log, Malformed> {
    let pages = from.u32("pages of each log file")?;
    if !(LOG_BYTES_MIN..=LOG_BYTES_MAX).contains(&(u64::from(pages) * PAGE as u64)) {
        return Err(from.malformed("a log file's size is beyond its limits"));
    }
    let begun = from.u8("log begun")?;
    let (next_file, last_file) = (from.u8("position, file")?, from.u8("last record, file")?);
    from.zeros(1, "reserved")?;
    if begun == 0 && next_file == 0 && last_file == 0 {
        return Ok(Log { pages, at: None });
    }
    let next = Place { file: next_file, page: from.u32("position, page")? };
    let last = Place { file: last_file, page: from.u32("last record, page")? };
    let checksum = from.sum64("last record, checksum")?;
    let (sequence, epoch) = (from.number("next sequence")?, from.number("epoch")?);
    from.zeros(8, "reserved")?;
    let fits = begun == 1 && next_file < 2 && last_file == next_file;
    if !fits || last.page >= next.page || next.page > pages || sequence < 2 || epoch == 0 {
        return Err(from.malformed("the log's position contradicts itself"));
    }
    Ok(Log { pages, at: Some(LogPosition { next, last, checksum, sequence, epoch }) })
}

/// Bytes of a finished segment before its lengths.
const FINISHED: usize = 56;

fn encode_finished(finished: &[Finished]) -> Vec<u8> {
    let lengths: usize = finished.iter().map(|segment| segment.lengths.len()).sum();
    let mut bytes = vec![0; 8 + finished.len() * FINISHED + lengths * 8];
    let mut to = Writer::new(&mut bytes);
    to.u32(field(finished.len())).zeros(4);
    for segment in finished {
        to.u64(segment.number).u32(segment.slot).u32(field(segment.lengths.len()));
        to.u64(segment.first_row).u64(segment.rows).u64(segment.first_key).u64(segment.last_key);
        to.u32(segment.sums_sum).zeros(4);
        segment.lengths.iter().for_each(|len| {
            to.u64(*len);
        });
    }
    bytes
}

fn decode_finished(from: &mut Cursor<'_, '_>) -> Result<Vec<Finished>, Malformed> {
    let count = from.count(FINISHED, "finished segments")?;
    from.zeros(4, "reserved")?;
    let mut finished = Vec::with_capacity(count);
    for _ in 0..count {
        let (number, slot) = (from.number("segment")?, from.slot()?);
        let files = from.count(8, "files")?;
        let (first_row, rows) = (from.number("first row")?, from.number("rows")?);
        let (first_key, last_key) = (from.u64("first key")?, from.u64("last key")?);
        let sums_sum = from.sum32("checksum of its sums")?;
        from.zeros(4, "reserved")?;
        let lengths = (0..files).map(|_| length(from)).collect::<Result<_, _>>()?;
        finished.push(Finished { number, slot, first_row, rows, first_key, last_key, sums_sum, lengths });
    }
    Ok(finished)
}

/// Bytes of a sealed segment.
const SEALED: usize = 56;

fn encode_sealed(sealed: &[Sealed]) -> Vec<u8> {
    let mut bytes = vec![0; 8 + sealed.len() * SEALED];
    let mut to = Writer::new(&mut bytes);
    to.u32(field(sealed.len())).zeros(4);
    for segment in sealed {
        to.u64(segment.number).u64(segment.first_row).u64(segment.rows);
        to.u64(segment.first_key).u64(segment.last_key).u64(segment.bytes);
        to.u32(segment.directory_sum).u8(if segment.tier == Tier::Fast { 1 } else { 2 }).zeros(3);
    }
    bytes
}

fn decode_sealed(from: &mut Cursor<'_, '_>) -> Result<Vec<Sealed>, Malformed> {
    let count = from.count(SEALED, "sealed segments")?;
    from.zeros(4, "reserved")?;
    let mut sealed = Vec::with_capacity(count);
    for _ in 0..count {
        let number = from.number("segment")?;
        let (first_row, rows) = (from.number("first row")?, from.number("rows")?);
        let (first_key, last_key) = (from.u64("first key")?, from.u64("last key")?);
        let bytes = from.number("bytes of the file")?;
        if !bytes.is_multiple_of(PAGE as u64) {
            return Err(from.malformed("a segment's file is whole pages"));
        }
        let directory_sum = from.sum32("checksum of its directory")?;
        let tier = match from.u8("tier")? {
            1 => Tier::Fast,
            2 => Tier::Dense,
            _ => return Err(from.malformed("a sealed segment is fast or dense: 1 or 2")),
        };
        from.zeros(3, "reserved")?;
        sealed.push(Sealed { number, first_row, rows, first_key, last_key, bytes, directory_sum, tier });
    }
    Ok(sealed)
}

/// A raw file's length: bounded, so that arithmetic on it cannot overflow.
fn length(from: &mut Cursor<'_, '_>) -> Result<u64, Malformed> {
    let len = from.u64("length")?;
    if len > FILE_BYTES_MAX {
        return Err(from.malformed("a file's length is beyond its limit"));
    }
    Ok(len)
}

fn encode_active(active: &Active) -> Vec<u8> {
    let files = active.files.iter().map(|file| 16 + file.sums.len() * 4 + file.tail.len());
    let mut bytes = vec![0; 40 + files.sum::<usize>() + active.first_keys.len() * 8];
    let mut to = Writer::new(&mut bytes);
    to.u64(active.number).u32(active.slot).u32(field(active.files.len()));
    to.u64(active.first_row).u64(active.rows).u64(active.last_key);
    for file in &active.files {
        to.u64(file.end).u64(file.end + file.tail.len() as u64);
        file.sums.iter().for_each(|sum| {
            to.u32(*sum);
        });
        to.bytes(&file.tail);
    }
    active.first_keys.iter().for_each(|key| {
        to.u64(*key);
    });
    bytes
}

fn decode_active(from: &mut Cursor<'_, '_>) -> Result<Active, Malformed> {
    let (number, slot) = (from.number("segment")?, from.slot()?);
    let count = from.count(16, "files")?;
    let (first_row, rows) = (from.number("first row")?, from.number("rows")?);
    let last_key = from.u64("last key")?;
    let mut files = Vec::with_capacity(count);
    for _ in 0..count {
        files.push(decode_active_file(from)?);
    }
    let Some(keys) = files.first() else {
        return Err(from.malformed("a segment has a file of keys at least"));
    };
    let first_keys = from.first_keys(keys.sums.len())?;
    check_keys(&first_keys, &files[0].tail, last_key).map_err(|what| from.malformed(what))?;
    Ok(Active { number, slot, first_row, rows, last_key, files, first_keys })
}

fn decode_active_file(from: &mut Cursor<'_, '_>) -> Result<ActiveFile, Malformed> {
    let end = from.u64("bytes in the file")?;
    let len = length(from)?;
    let sums = usize::try_from(chunks(end)).unwrap_or(usize::MAX);
    let tail = len.checked_sub(end).filter(|tail| *tail < PAGE as u64 && end.is_multiple_of(PAGE as u64));
    let Some(tail) = tail else {
        return Err(from.malformed("a file's lengths contradict each other"));
    };
    let sums = from.sums(sums)?;
    // Under a page: it fits.
    let tail = from.bytes(usize::try_from(tail).unwrap_or(PAGE), "tail")?.to_vec();
    Ok(ActiveFile { end, tail, sums })
}
