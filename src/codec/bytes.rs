//! A block of bytes or text: the encoded values of one column for up to 16,384 rows, of any length each.
//!
//! Vectors of 1,024 numbers first, then frames of 32 KiB of data; the header is written last, since only then all
//! lengths are known. Either the numbers say where each value ends in the data, or, where few values are different,
//! the data is these, sorted, and the numbers are codes. So rows are read in two steps: the vectors that they are in
//! say what of the data they are ([`BytesBlock::locate`]), and the frames hold that ([`BytesBlock::decode`]).
//! Format: docs/format.md, "Bytes".
//!
//! Not here: writing blocks (`encode`), frames (`data`), numbers (`block`), checksums (`format`).

use std::borrow::Cow;
use std::ops::Range;

use super::block::{Block, Scratch, codec_name};
use super::data::{self, Decoder, Method};
use super::parts::Parts;
use super::{HeaderField, VECTOR};
use crate::error::Malformed;
use crate::schema::Kind;

pub(crate) mod encode;

pub(super) const FRAMES: u8 = 6;
pub(super) const DICTIONARY: u8 = 7;
pub(super) const ZSTD_FRAMES: u8 = 10;
pub(super) const ZSTD_DICTIONARY: u8 = 11;

/// Bytes of the header before what differs: tag, reserved, rows, length, bytes of data.
const FIXED: usize = 16;
/// The values of a block that has a dictionary have so many bytes together: a few entries could be of many rows.
pub(crate) const DICTIONARY_BYTES_MAX: u64 = 4 << 20;
/// Bytes of a value.
const VALUE_BYTES_MAX: u64 = u32::MAX as u64;

/// What the numbers of a block are.
#[derive(Clone, Debug, PartialEq)]
enum Codec {
    /// Where values end in the data. The starts are where that of the row before each vector does, and the data itself;
    /// they are checked with the vectors between them.
    Frames { starts: Vec<u64> },
    /// Which entry a value is. Where each entry begins in the data, and where the last one ends.
    Dictionary { bounds: Vec<u64> },
}

/// The header of a block of bytes, taken apart and checked.
#[derive(Clone, Debug)]
pub(crate) struct BytesBlock {
    rows: usize,
    header_bytes: usize,
    codec: Codec,
    method: Method,
    numbers: Block,
    data_bytes: u64,
    /// Where each vector begins that has bytes, then each frame, and where the last one ends: from the block's start.
    bounds: Vec<u64>,
    /// Of the block in its file, for errors.
    offset: u64,
}

/// Values of any length, one behind the other.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Runs {
    /// Where each value begins in `data`, and where the last one ends: one more than there are values.
    pub(crate) bounds: Vec<u64>,
    pub(crate) data: Vec<u8>,
}

impl Default for Runs {
    fn default() -> Self {
        Self { bounds: vec![0], data: Vec::new() }
    }
}

/// Where in a block's data the values of some rows are.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Located {
    data: Range<u64>,
    values: Values,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Values {
    /// All of the data; where each value begins, and where the last one ends.
    Bounds(Vec<u64>),
    /// Entries of a dictionary, among those in the data; and how many bytes they come to.
    Codes { codes: Vec<u64>, entries: Range<usize>, bytes: u64 },
}

impl Located {
    /// Whether the values end at these places of the data, and begin with it.
    pub(crate) fn ends_at(&self, ends: &[u64]) -> bool {
        matches!(&self.values, Values::Bounds(bounds) if bounds.first() == Some(&0) && bounds[1..] == *ends)
    }

    /// Bytes of these values, decoded.
    pub(crate) fn bytes(&self) -> u64 {
        match &self.values {
            Values::Bounds(_) => self.data.end - self.data.start,
            Values::Codes { bytes, .. } => *bytes,
        }
    }

    /// Where each value begins in the data, and where the last one ends; none if they are entries of a dictionary.
    pub(crate) fn bounds(&self) -> Option<&[u64]> {
        match &self.values {
            Values::Bounds(bounds) => Some(bounds),
            Values::Codes { .. } => None,
        }
    }

    /// Of a single row, or of rows whose values are no entries of a dictionary, the bytes that are in `part`, as one
    /// value.
    pub(crate) fn part(&self, part: &Range<u64>) -> Self {
        assert!(self.bounds().is_some(), "one row has no list of codes");
        let within = |at: u64| self.data.start.saturating_add(at).min(self.data.end);
        let data = within(part.start)..within(part.end.max(part.start));
        Self { values: Values::Bounds(vec![data.start, data.end]), data }
    }
}

type Refused = Cow<'static, str>;

impl BytesBlock {
    /// The block of `rows` values whose header begins these bytes. `content_bytes` are those of its vectors and frames,
    /// which begin at `offset` in their file.
    pub(crate) fn parse(
        header: &[u8],
        rows: usize,
        content_bytes: u64,
        offset: u64,
    ) -> Result<Self, Malformed> {
        let parse = || {
            let mut from = Parts::new(header);
            let (tag, reserved) = (from.u8()?, from.u8()?);
            let (found, header_bytes) = (usize::from(from.u16()?), from.u32()? as usize);
            if reserved != 0 {
                return Err(Refused::from("a reserved byte is not zero"));
            }
            if found != rows {
                return Err("a block has another number of rows than there should be".into());
            }
            let data_bytes = from.u64()?;
            let numbers = parse_numbers(rows, offset, &mut from)?;
            let method =
                if [ZSTD_FRAMES, ZSTD_DICTIONARY].contains(&tag) { Method::Zstd } else { Method::Lz4 };
            let codec = Codec::parse(tag, &numbers, data_bytes, &mut from)?;
            let bounds = parse_bounds(&numbers, data_bytes, &mut from)?;
            if header_bytes != header.len() - from.remaining() {
                return Err("the length of a block's header is wrong".into());
            }
            if bounds.last() != Some(&content_bytes) {
                return Err("the vectors and frames of a block have another length than it".into());
            }
            Ok(Self { rows, header_bytes, codec, method, numbers, data_bytes, bounds, offset })
        };
        parse().map_err(|what| Malformed::new(offset.saturating_add(content_bytes), what))
    }

    /// Bytes in memory.
    pub(crate) fn memory_bytes(&self) -> usize {
        let (Codec::Frames { starts: list } | Codec::Dictionary { bounds: list }) = &self.codec;
        size_of::<Self>() + self.numbers.memory_bytes() + 8 * (list.len() + self.bounds.len())
    }

    /// Bytes of the header.
    pub(crate) fn header_bytes(&self) -> usize {
        self.header_bytes
    }

    /// Bytes of data: all values, or all different ones.
    #[cfg(any(test, feature = "fuzz"))]
    pub(crate) fn data_bytes(&self) -> u64 {
        self.data_bytes
    }

    /// Where each vector that has bytes begins, then each frame, and where the last one ends: what has a checksum.
    pub(crate) fn pieces(&self) -> &[u64] {
        &self.bounds
    }

    /// Frames of data.
    pub(crate) fn frames(&self) -> usize {
        self.bounds.len() - 1 - self.numbers.pieces()
    }

    /// The bytes of the block that [`BytesBlock::locate`] needs for `rows`.
    pub(crate) fn vectors(&self, rows: &Range<usize>) -> Range<u64> {
        let vectors = vectors_of(rows);
        if vectors.is_empty() {
            0..0
        } else {
            self.vector(vectors.start).start..self.vector(vectors.end - 1).end
        }
    }

    /// The bytes of the block that [`BytesBlock::decode`] needs.
    pub(crate) fn stored(&self, located: &Located) -> Range<u64> {
        match self.frame_bounds(&located.data) {
            [first, .., last] => *first..*last,
            _ => 0..0,
        }
    }

    /// Where the frames that hold `data` begin, and where the last one ends.
    fn frame_bounds(&self, data: &Range<u64>) -> &[u64] {
        let (frames, vectors) = (data::frames_of(data), self.numbers.pieces());
        if frames.is_empty() {
            return &[];
        }
        &self.bounds[vectors + frames.start..=vectors + frames.end]
    }

    fn vector(&self, index: usize) -> Range<u64> {
        // Where there is no piece, the header says everything.
        self.numbers.piece_of(index).map_or(0..0, |piece| self.bounds[piece]..self.bounds[piece + 1])
    }

    /// Where the values of `rows` are; `bytes` are those that [`BytesBlock::vectors`] names.
    pub(crate) fn locate(
        &self,
        rows: &Range<usize>,
        bytes: &[u8],
        scratch: &mut Scratch,
    ) -> Result<Located, Malformed> {
        assert!(rows.start <= rows.end && rows.end <= self.rows, "a block of {} has no {rows:?}", self.rows);
        if rows.is_empty() {
            return Ok(Located { data: 0..0, values: Values::Bounds(vec![0]) });
        }
        let (mut numbers, start) = (Vec::new(), self.vectors(rows).start);
        for index in vectors_of(rows) {
            let (vector, known) = (self.vector(index), numbers.len());
            numbers.resize(known + self.numbers.rows(index), 0);
            let part = cut(bytes, &vector, start).ok_or("a vector ends too early".into());
            let decode = |part| {
                let decoded = self.numbers.decode_vector(index, part, scratch, &mut numbers[known..]);
                decoded.map_err(|wrong| wrong.what)?;
                self.codec.check(index, &numbers[known..]).map_err(Refused::from)
            };
            part.and_then(decode).map_err(|what| self.malformed(vector.start, what))?;
        }
        let skipped = rows.start % VECTOR;
        match &self.codec {
            Codec::Frames { starts } => {
                let before = if skipped == 0 { starts[rows.start / VECTOR] } else { numbers[skipped - 1] };
                numbers.drain(..skipped);
                numbers.truncate(rows.len());
                numbers.insert(0, before);
                let data = before..numbers[numbers.len() - 1];
                Ok(Located { data, values: Values::Bounds(numbers) })
            }
            Codec::Dictionary { bounds } => {
                numbers.drain(..skipped);
                numbers.truncate(rows.len());
                located_entries(bounds, numbers).map_err(|what| self.malformed(0, what))
            }
        }
    }

    /// Appends the values of `located` to `runs`; `bytes` are those that [`BytesBlock::stored`] names. After an error
    /// what is appended has no meaning.
    pub(crate) fn decode(&self, located: &Located, bytes: &[u8], runs: &mut Runs) -> Result<(), Malformed> {
        match (&located.values, &self.codec) {
            (Values::Bounds(bounds), _) => {
                let (end, start) = (runs.data.len() as u64, located.data.start);
                runs.bounds.extend(bounds[1..].iter().map(|bound| bound - start + end));
                self.decode_data(&located.data, bytes, &mut runs.data)
            }
            (Values::Codes { codes, entries, .. }, Codec::Dictionary { bounds }) => {
                let mut data = Vec::new();
                self.decode_data(&located.data, bytes, &mut data)?;
                let values = rising(&bounds[entries.start..=entries.end], &data);
                let values = values.map_err(|what| self.malformed(self.stored(located).start, what))?;
                for code in codes {
                    runs.data.extend_from_slice(values[place(*code) - entries.start]);
                    runs.bounds.push(runs.data.len() as u64);
                }
                Ok(())
            }
            (Values::Codes { .. }, Codec::Frames { .. }) => unreachable!("codes are those of a dictionary"),
        }
    }

    fn decode_data(&self, data: &Range<u64>, bytes: &[u8], into: &mut Vec<u8>) -> Result<(), Malformed> {
        let bounds = self.frame_bounds(data);
        let Some(first) = bounds.first() else { return Ok(()) };
        let mut decoder = Decoder::new(self.method).map_err(|what| self.malformed(*first, what))?;
        for (index, frame) in data::frames_of(data).zip(bounds.windows(2)) {
            let start = data::start_of(index);
            let held = data::data_of(index, self.data_bytes);
            let at = |end: u64| usize::try_from(end.saturating_sub(start)).unwrap_or(held).min(held);
            let frame = frame[0]..frame[1];
            let decoded = match cut(bytes, &frame, *first) {
                Some(part) => decoder.decode(part, held, at(data.start)..at(data.end), into),
                None => Err("a frame ends too early"),
            };
            decoded.map_err(|what| self.malformed(frame.start, what))?;
        }
        Ok(())
    }

    /// The tag of the codec, as the header has it.
    pub(crate) fn tag(&self) -> u8 {
        match (&self.codec, self.method) {
            (Codec::Frames { .. }, Method::Lz4) => FRAMES,
            (Codec::Frames { .. }, Method::Zstd) => ZSTD_FRAMES,
            (Codec::Dictionary { .. }, Method::Lz4) => DICTIONARY,
            (Codec::Dictionary { .. }, Method::Zstd) => ZSTD_DICTIONARY,
        }
    }

    /// What the codec is called.
    pub(crate) fn codec(&self) -> &'static str {
        codec_name(self.tag())
    }

    /// The fields of the header, in their order.
    pub(crate) fn fields(&self) -> Vec<HeaderField> {
        let tag = self.tag();
        let mut fields = vec![
            HeaderField::new("codec", 1, format!("{tag} ({})", self.codec())),
            HeaderField::new("reserved", 1, 0),
            HeaderField::new("rows", 2, self.rows),
            HeaderField::new("bytes of header", 4, self.header_bytes),
            HeaderField::new("bytes of data", 8, self.data_bytes),
        ];
        let numbers = if matches!(self.codec, Codec::Frames { .. }) { "ends" } else { "codes" };
        fields.push(HeaderField::new(numbers, self.numbers.header_bytes(), self.numbers.codec()));
        match &self.codec {
            Codec::Frames { starts } => {
                let inner = starts.iter().skip(1).take(self.numbers.vectors().saturating_sub(1));
                fields.extend(inner.map(|start| HeaderField::new("start of vector", 8, start)));
            }
            Codec::Dictionary { bounds } => {
                let known: usize = fields.iter().map(|field| field.bytes).sum();
                let ends = self.header_bytes - known - 2 - 2 * self.frames();
                fields.push(HeaderField::new("entries", 2, bounds.len() - 1));
                fields.push(HeaderField::new("ends of entries", ends, ""));
            }
        }
        let frames = &self.bounds[self.numbers.pieces()..];
        let lengths = frames.windows(2).map(|pair| pair[1] - pair[0]);
        fields.extend(lengths.map(|length| HeaderField::new("bytes of frame", 2, length)));
        fields
    }

    fn malformed(&self, at: u64, what: impl Into<Refused>) -> Malformed {
        Malformed::new(self.offset.saturating_add(at), what)
    }
}

impl Codec {
    fn parse(tag: u8, numbers: &Block, data_bytes: u64, from: &mut Parts<'_>) -> Result<Self, Refused> {
        match tag {
            FRAMES | ZSTD_FRAMES => {
                let inner = from.longs(numbers.vectors().saturating_sub(1))?;
                let mut starts = vec![0];
                starts.extend(inner.iter().map(|start| u64::from_le_bytes(*start)));
                starts.push(data_bytes);
                if !starts.is_sorted() {
                    return Err("where vectors begin in the data goes back".into());
                }
                if numbers.vectors() == 0 && data_bytes > 0 {
                    return Err("a block without rows has data".into());
                }
                Ok(Self::Frames { starts })
            }
            DICTIONARY | ZSTD_DICTIONARY => {
                let entries = usize::from(from.u16()?);
                if entries == 0 || data_bytes > DICTIONARY_BYTES_MAX {
                    return Err("a dictionary has no entries, or too much data".into());
                }
                let ends = parse_numbers(entries, 0, from)?;
                let bytes = from.bytes(ends.bytes() - ends.header_bytes())?;
                let (mut bounds, mut scratch) = (vec![0; entries + 1], Scratch::default());
                for (index, bounds) in bounds[1..].chunks_mut(VECTOR).enumerate() {
                    let Range { start, end } = ends.vector(index);
                    let vector = &bytes[start - ends.header_bytes()..end - ends.header_bytes()];
                    let decoded = ends.decode_vector(index, vector, &mut scratch, bounds);
                    decoded.map_err(|wrong| wrong.what)?;
                }
                // Entries are different: only the first one can be empty.
                let rising = bounds[0] <= bounds[1] && bounds[1..].is_sorted_by(|one, next| one < next);
                if !rising || bounds.last() != Some(&data_bytes) {
                    return Err("the entries of a dictionary do not end one behind the other".into());
                }
                Ok(Self::Dictionary { bounds })
            }
            _ => Err("the codec of a block is unknown, or not one for its kind".into()),
        }
    }

    /// That the numbers of vector `index` are what they can be.
    fn check(&self, index: usize, numbers: &[u64]) -> Result<(), &'static str> {
        match self {
            Self::Frames { starts } => {
                let (start, end) = (starts[index], starts[index + 1]);
                let mut before = start;
                for number in numbers {
                    if *number < before || number - before > VALUE_BYTES_MAX {
                        return Err("a value ends before it begins, or is too long");
                    }
                    before = *number;
                }
                if before == end { Ok(()) } else { Err("the values of a vector end where they should not") }
            }
            Self::Dictionary { bounds } => {
                let entries = bounds.len() as u64 - 1;
                let known = numbers.iter().all(|code| *code < entries);
                if known { Ok(()) } else { Err("a code is behind the last entry of a dictionary") }
            }
        }
    }
}

/// The header of a block of `u64`, whose other bytes are elsewhere.
fn parse_numbers(rows: usize, offset: u64, from: &mut Parts<'_>) -> Result<Block, Refused> {
    let numbers = Block::parse(from.rest(), Kind::U64, rows, offset).map_err(|wrong| wrong.what)?;
    from.bytes(numbers.header_bytes())?;
    Ok(numbers)
}

/// Where vectors and frames lie, from the lengths that both headers state.
fn parse_bounds(numbers: &Block, data_bytes: u64, from: &mut Parts<'_>) -> Result<Vec<u64>, &'static str> {
    let frames =
        usize::try_from(data::frames(data_bytes)).ok().filter(|frames| *frames <= from.remaining() / 2);
    let lengths = from.shorts(frames.ok_or("a block has more data than frames for it")?)?;
    let mut bounds = Vec::with_capacity(1 + numbers.pieces() + lengths.len());
    bounds.push(0);
    let behind = |index| (numbers.piece(index).end - numbers.header_bytes()) as u64;
    bounds.extend((0..numbers.pieces()).map(behind));
    let mut end = bounds[bounds.len() - 1];
    for (index, length) in (0..).zip(lengths) {
        let length = u16::from_le_bytes(*length);
        data::check(length.into(), data::data_of(index, data_bytes))?;
        end += u64::from(length);
        bounds.push(end);
    }
    Ok(bounds)
}

/// The place of an entry, whose code has been checked.
fn place(code: u64) -> usize {
    usize::try_from(code).unwrap_or_else(|_| unreachable!("there are 16,384 entries at most"))
}

/// Rows whose values are entries; their codes have been checked.
fn located_entries(bounds: &[u64], codes: Vec<u64>) -> Result<Located, &'static str> {
    if let [code] = codes[..] {
        let data = bounds[place(code)]..bounds[place(code) + 1];
        return Ok(Located { values: Values::Bounds(vec![data.start, data.end]), data });
    }
    let bytes = codes.iter().map(|code| bounds[place(*code) + 1] - bounds[place(*code)]).sum();
    if bytes > DICTIONARY_BYTES_MAX {
        return Err("the values of a dictionary have too much data");
    }
    let ends = codes.iter().min().zip(codes.iter().max());
    let entries = ends.map_or(0..0, |(first, last)| place(*first)..place(*last) + 1);
    let data = bounds[entries.start]..bounds[entries.end];
    Ok(Located { data, values: Values::Codes { codes, entries, bytes } })
}

/// The entries between these bounds, of which `data` are the bytes, if they rise.
fn rising<'a>(bounds: &[u64], data: &'a [u8]) -> Result<Vec<&'a [u8]>, &'static str> {
    let entry = |pair: &[u64]| cut(data, &(pair[0]..pair[1]), bounds[0]).unwrap_or_default();
    let entries: Vec<&[u8]> = bounds.windows(2).map(entry).collect();
    let rising = entries.is_sorted_by(|one, next| one < next);
    if rising { Ok(entries) } else { Err("the entries of a dictionary do not rise") }
}

/// The vectors that `rows` are in.
fn vectors_of(rows: &Range<usize>) -> Range<usize> {
    if rows.is_empty() { 0..0 } else { rows.start / VECTOR..rows.end.div_ceil(VECTOR) }
}

/// `range`, counted from `start`.
fn relative(range: &Range<u64>, start: u64) -> Option<Range<usize>> {
    let at = |end: u64| usize::try_from(end.checked_sub(start)?).ok();
    Some(at(range.start)?..at(range.end)?)
}

/// Of `bytes`, which begin at `start`, those in `range`.
fn cut<'a>(bytes: &'a [u8], range: &Range<u64>, start: u64) -> Option<&'a [u8]> {
    if range.is_empty() { Some(&[]) } else { bytes.get(relative(range, start)?) }
}
