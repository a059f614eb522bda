//! Sealed segments, front to back, one behind the other: what compacting reads.
//!
//! Invariant: no value is handed out of a block that was not verified; of each stream one block is in memory, and of
//! one of bytes or text whose data is large, what was asked for.
//!
//! Not here: raw files (`source`), rows in any order, caches (`reader`).

use std::ops::Range;
use std::path::PathBuf;
use std::sync::Arc;

use super::source;
use crate::codec::block::Scratch;
use crate::codec::bytes::{Located, Runs};
use crate::codec::fixed::Fixed;
use crate::codec::raw::Raw;
use crate::disk::{Disk, File, PAGE};
use crate::error::{Error, Malformed, Result};
use crate::format::block::{self, BlockPlace};
use crate::format::bytes::SealedBytes;
use crate::format::entries::{Coded, Entries};
use crate::format::manifest::Sealed;
use crate::format::segment::{Directory, Group, Home, Shape, directory_bytes};
use crate::schema::Kind;
use crate::segment;
use crate::store::shared::Shared;

/// Bytes that are read of a stream ahead of what is asked for.
const AHEAD: u64 = 256 << 10;

/// Bytes of a block's data up to which all of it is decoded at once; blocks of few different values are below.
const WHOLE_BYTES_MAX: u64 = 4 << 20;

/// A sealed segment with its directory.
#[derive(Debug)]
pub(super) struct Older {
    pub(super) sealed: Arc<Sealed>,
    path: PathBuf,
    directory: Directory,
}

impl Older {
    pub(super) async fn open<D: Disk>(shared: &Shared<D>, sealed: &Arc<Sealed>) -> Result<Self> {
        let path = segment::path(&shared.dir, sealed.number);
        let rows = sealed.first_row..sealed.first_row + sealed.rows;
        let sheet_bytes = directory_bytes(&rows, &shared.schema).filter(|bytes| *bytes <= sealed.bytes);
        let sheet_bytes =
            sheet_bytes.ok_or_else(|| Error::corrupt(&path, 0, "it is too short for its directory"))?;
        let file = source::open(&shared.disk, &path).await?;
        let sheet = source::read(&file, &path, sealed.bytes - sheet_bytes..sealed.bytes).await?;
        source::close(file).await;
        let home = Home { segment: sealed.number, store: &shared.id, schema: &shared.schema };
        let directory = Directory::named(&sheet, home, sealed).map_err(|malformed| malformed.at(&path))?;
        Ok(Self { sealed: Arc::clone(sealed), path, directory })
    }

    /// The entries of one of its streams.
    pub(super) async fn entries<D: Disk>(&self, shared: &Shared<D>, file: usize) -> Result<Entries> {
        let handle = source::open(&shared.disk, &self.path).await?;
        let range = self.directory.entries(file, &shared.schema);
        let bytes = self.read(&handle, range).await?;
        source::close(handle).await;
        let entries = Entries::decode(bytes, &self.directory, file, &shared.schema);
        entries.map_err(|malformed| malformed.at(&self.path))
    }

    /// Bytes of its file, as they are.
    async fn read<F: File>(&self, file: &F, range: Range<u64>) -> Result<Vec<u8>> {
        let page = PAGE as u64;
        let pages = range.start / page * page..range.end.next_multiple_of(page);
        let mut bytes = source::read(file, &self.path, pages.clone()).await?;
        bytes.truncate(place(range.end - pages.start));
        bytes.drain(..place(range.start - pages.start));
        Ok(bytes)
    }
}

fn place(at: u64) -> usize {
    usize::try_from(at).unwrap_or(usize::MAX)
}

/// A stream of several segments, block by block.
struct Stream<'a, D: Disk> {
    shared: &'a Shared<D>,
    olds: &'a [Older],
    file: usize,
    /// Which segment is read, and which of its row groups comes next.
    at: usize,
    group: usize,
    open: Option<Open<D::File>>,
}

/// The segment that is read.
struct Open<F> {
    number: u64,
    file: F,
    entries: Entries,
    /// Of the file, from `start` on.
    bytes: Vec<u8>,
    start: u64,
}

/// A block of a stream, or that there is none.
struct Piece<'a> {
    old: &'a Older,
    rows: usize,
    /// Where it lies in the file.
    range: Range<u64>,
    /// None if there is no block.
    coded: Option<Coded>,
    nulls: u16,
    keys: Group,
}

impl Piece<'_> {
    fn place(&self) -> BlockPlace {
        BlockPlace { segment: self.old.sealed.number, offset: self.range.start }
    }

    fn damaged(&self, malformed: Malformed) -> Error {
        malformed.at(&self.old.path)
    }
}

impl<'a, D: Disk> Stream<'a, D> {
    fn new(shared: &'a Shared<D>, olds: &'a [Older], file: usize) -> Self {
        Self { shared, olds, file, at: 0, group: 0, open: None }
    }

    /// The next block, if its rows are before `end`.
    async fn next(&mut self, end: u64) -> Result<Option<Piece<'a>>> {
        while let Some(old) = self.olds.get(self.at) {
            if self.group == old.directory.groups.len() {
                self.close().await;
                (self.at, self.group) = (self.at + 1, 0);
                continue;
            }
            let rows = old.directory.rows_of(self.group);
            if rows.start >= end {
                break;
            }
            let group = self.group;
            let entries = &self.open(old).await?.entries;
            let (range, entry) = (entries.block(group), entries.get(group));
            self.group += 1;
            return Ok(Some(Piece {
                old,
                rows: place(rows.end - rows.start),
                range,
                coded: entry.block,
                nulls: entry.nulls,
                keys: old.directory.groups[group],
            }));
        }
        Ok(None)
    }

    /// Where rows of a row group are in two segments, the one before may be asked for again.
    async fn open(&mut self, old: &Older) -> Result<&mut Open<D::File>> {
        let number = old.sealed.number;
        if self.open.as_ref().is_some_and(|open| open.number != number) {
            self.close().await;
        }
        let open = match self.open.take() {
            Some(open) => open,
            None => {
                let entries = old.entries(self.shared, self.file).await?;
                let file = source::open(&self.shared.disk, &old.path).await?;
                Open { number, file, entries, bytes: Vec::new(), start: 0 }
            }
        };
        Ok(self.open.insert(open))
    }

    /// The bytes of a block that is not large, and of what follows: the file is read front to back.
    async fn whole(&mut self, piece: &Piece<'_>) -> Result<&[u8]> {
        let page = PAGE as u64;
        let open = self.open(piece.old).await?;
        let range = &piece.range;
        if range.end > open.start + open.bytes.len() as u64 || range.start < open.start {
            let start = range.start / page * page;
            // Behind streams there is the index: no read ends behind the file.
            let end = range.end.max((start + AHEAD).min(piece.old.sealed.bytes)).next_multiple_of(page);
            open.bytes = source::read(&open.file, &piece.old.path, start..end).await?;
            open.start = start;
        }
        Ok(&open.bytes[place(range.start - open.start)..place(range.end - open.start)])
    }

    /// Bytes of a block of any length.
    async fn part(&mut self, piece: &Piece<'_>, range: Range<u64>) -> Result<Vec<u8>> {
        let start = piece.range.start;
        let file = &self.open(piece.old).await?.file;
        piece.old.read(file, start + range.start..start + range.end).await
    }

    /// Values of a block of bytes or text, from its frames.
    async fn runs(&mut self, piece: &Piece<'_>, sealed: &SealedBytes, located: &Located) -> Result<Runs> {
        let stored = sealed.block().stored(located);
        let bytes = self.part(piece, stored.clone()).await?;
        let mut runs = Runs::default();
        let decoded = sealed.verify(&stored, &bytes);
        let decoded = decoded.and_then(|()| sealed.block().decode(located, &bytes, &mut runs));
        decoded.map_err(|malformed| piece.damaged(malformed))?;
        Ok(runs)
    }

    async fn close(&mut self) {
        if let Some(open) = self.open.take() {
            source::close(open.file).await;
        }
    }
}

/// Values of fixed width, as raw files hold them.
pub(super) struct Values<'a, D: Disk> {
    stream: Stream<'a, D>,
    shape: Shape,
    first_row: u64,
    bytes: Vec<u8>,
    scratch: Scratch,
}

impl<'a, D: Disk> Values<'a, D> {
    pub(super) fn new(shared: &'a Shared<D>, olds: &'a [Older], file: usize, shape: Shape) -> Self {
        let first_row = olds.first().map_or(0, |old| old.sealed.first_row);
        let stream = Stream::new(shared, olds, file);
        Self { stream, shape, first_row, bytes: Vec::new(), scratch: Scratch::default() }
    }

    /// The bytes of the next row group, whose rows are counted from the first segment's first.
    pub(super) async fn rows(&mut self, rows: Range<u64>) -> Result<&[u8]> {
        self.bytes.clear();
        while let Some(piece) = self.stream.next(self.first_row + rows.end).await? {
            let Some(coded) = piece.coded else {
                // Only whether values are null is said without a block.
                self.bytes.resize(self.bytes.len() + piece.rows, u8::from(piece.nulls > 0));
                continue;
            };
            let start = self.bytes.len();
            let store = &self.stream.shared.id;
            let block = self.stream.whole(&piece).await?;
            let (into, scratch) = (&mut self.bytes, &mut self.scratch);
            let decoded = match self.shape.kind() {
                Kind::U64 => decode::<u64>(block, &piece, coded, store, scratch, into),
                Kind::I64 => decode::<i64>(block, &piece, coded, store, scratch, into),
                Kind::F64 => decode::<f64>(block, &piece, coded, store, scratch, into),
                Kind::U32 => decode::<u32>(block, &piece, coded, store, scratch, into),
                Kind::I32 => decode::<i32>(block, &piece, coded, store, scratch, into),
                Kind::F32 => decode::<f32>(block, &piece, coded, store, scratch, into),
                Kind::Bool => decode::<bool>(block, &piece, coded, store, scratch, into),
                Kind::Bytes | Kind::Text => unreachable!("bytes and text have no fixed width"),
            };
            let is_told = |()| self.is_told(&piece, start);
            decoded.and_then(is_told).map_err(|malformed| piece.damaged(malformed))?;
        }
        Ok(&self.bytes)
    }

    /// Whether what the index says of a block's values is so, and will be said again: keys, and how many are null.
    fn is_told(&self, piece: &Piece<'_>, start: usize) -> Result<(), Malformed> {
        let values = &self.bytes[start..];
        let is_told = match self.shape {
            Shape::Keys => {
                let mut keys = Vec::with_capacity(piece.rows);
                u64::read(values, &mut keys);
                keys.is_sorted() && Group::of(&keys) == Some(piece.keys)
            }
            Shape::Nulls => values.iter().filter(|null| **null == 1).count() == usize::from(piece.nulls),
            _ => true,
        };
        let what = "the values of a block are not what the index says of them";
        is_told.then_some(()).ok_or_else(|| Malformed::new(piece.range.start, what))
    }

    pub(super) async fn close(mut self) {
        self.stream.close().await;
    }
}

fn decode<T: Fixed + Raw>(
    block: &[u8],
    piece: &Piece<'_>,
    coded: Coded,
    store: &crate::format::StoreId,
    scratch: &mut Scratch,
    into: &mut Vec<u8>,
) -> Result<(), Malformed> {
    let values = block::decode::<T>(block, piece.rows, coded, piece.place(), store, scratch)?;
    T::append(&values, into);
    Ok(())
}

/// Values of bytes or text: where they end, and their data in pieces of any length.
pub(super) struct Texts<'a, D: Disk> {
    stream: Stream<'a, D>,
    first_row: u64,
    /// The blocks of the row group at hand, and where the data of each begins in that of the group.
    pieces: Vec<(u64, Piece<'a>)>,
    /// The one that was looked at last.
    current: Option<(usize, Text)>,
    data: Vec<u8>,
}

/// A block that is being read.
enum Text {
    Decoded(Runs),
    Located(Box<SealedBytes>, Located),
}

impl<'a, D: Disk> Texts<'a, D> {
    pub(super) fn new(shared: &'a Shared<D>, olds: &'a [Older], file: usize) -> Self {
        let first_row = olds.first().map_or(0, |old| old.sealed.first_row);
        let stream = Stream::new(shared, olds, file);
        Self { stream, first_row, pieces: Vec::new(), current: None, data: Vec::new() }
    }

    /// Where the values of the next row group end in its data.
    pub(super) async fn ends(&mut self, rows: Range<u64>) -> Result<Vec<u64>> {
        (self.current, self.pieces) = (None, Vec::new());
        let (mut ends, mut before) = (Vec::with_capacity(place(rows.end - rows.start)), 0);
        while let Some(piece) = self.stream.next(self.first_row + rows.end).await? {
            let text = self.load(&piece).await?;
            let bounds = match &text {
                Text::Decoded(runs) => &runs.bounds,
                Text::Located(_, located) => located.bounds().unwrap_or_default(),
            };
            ends.extend(bounds.iter().skip(1).map(|bound| before + bound));
            self.current = Some((self.pieces.len(), text));
            self.pieces.push((before, piece));
            before = ends.last().copied().unwrap_or(before);
        }
        Ok(ends)
    }

    /// These bytes of the row group's data.
    pub(super) async fn data(&mut self, range: Range<u64>) -> Result<&[u8]> {
        self.data.clear();
        let pieces = std::mem::take(&mut self.pieces);
        let taken = self.take(&pieces, range).await;
        self.pieces = pieces;
        taken.map(|()| &self.data[..])
    }

    async fn take(&mut self, pieces: &[(u64, Piece<'a>)], range: Range<u64>) -> Result<()> {
        let first = pieces.partition_point(|(start, _)| *start <= range.start).saturating_sub(1);
        for (index, (start, piece)) in pieces.iter().enumerate().skip(first) {
            if *start >= range.end {
                break;
            }
            let text = match self.current.take() {
                Some((current, text)) if current == index => text,
                _ => self.load(piece).await?,
            };
            let part = range.start.saturating_sub(*start)..range.end - start;
            match &text {
                Text::Decoded(runs) => {
                    let within = |at: u64| place(at).min(runs.data.len());
                    self.data.extend_from_slice(&runs.data[within(part.start)..within(part.end)]);
                }
                Text::Located(sealed, located) => {
                    let runs = self.stream.runs(piece, sealed, &located.part(&part)).await?;
                    self.data.extend_from_slice(&runs.data);
                }
            }
            self.current = Some((index, text));
        }
        Ok(())
    }

    /// What a block's values are; themselves, where they are few.
    async fn load(&mut self, piece: &Piece<'a>) -> Result<Text> {
        let len = piece.range.end - piece.range.start;
        // Every block of bytes or text is there.
        let Coded { head_bytes, codec } = piece.coded.unwrap_or(Coded { head_bytes: 0, codec: 0 });
        let head = self.stream.part(piece, len - u64::from(head_bytes)..len).await?;
        let store = &self.stream.shared.id;
        let sealed = SealedBytes::parse(&head, piece.rows, len, piece.place(), store);
        let sealed = sealed.map_err(|malformed| piece.damaged(malformed))?;
        if sealed.block().tag() != codec {
            let what = "a block is not encoded as the index says";
            return Err(piece.damaged(Malformed::new(piece.range.start, what)));
        }
        let rows = 0..piece.rows;
        let vectors = sealed.block().vectors(&rows);
        let bytes = self.stream.part(piece, vectors.clone()).await?;
        let located = sealed.verify(&vectors, &bytes);
        let located = located.and_then(|()| sealed.block().locate(&rows, &bytes, &mut Scratch::default()));
        let located = located.map_err(|malformed| piece.damaged(malformed))?;
        if located.bytes() > WHOLE_BYTES_MAX && located.bounds().is_some() {
            return Ok(Text::Located(Box::new(sealed), located));
        }
        Ok(Text::Decoded(self.stream.runs(piece, &sealed, &located).await?))
    }

    pub(super) async fn close(mut self) {
        self.stream.close().await;
    }
}
