//! The rows of sealed segments on their way: blocks read ahead, some row groups of a segment at a time.
//!
//! A *portion* is as many row groups as fit a share of the memory that a scan may use; while one is handed out the next
//! ones are being read. Blocks that the reader still keeps are not read again; those that are missing are read
//! together where they lie together, up to 1 MiB.
//!
//! Invariant: a future dropped at any await has changed nothing but what is held in memory.
//! Not here: rows of raw segments (`ahead`), what blocks become (`reader::rows`).

use std::collections::VecDeque;
use std::future::poll_fn;
use std::ops::Range;
use std::sync::Arc;
use std::task::Poll;

use futures::StreamExt;
use futures::stream::FuturesUnordered;

use super::feed::Direction;
use super::window::BATCH_BYTES_MAX;
use crate::batch::spare::Spare;
use crate::condition::Between;
use crate::disk::{Disk, TRANSFER_BYTES_MAX};
use crate::error::{Error, Result};
use crate::reader::Reader;
use crate::reader::holdings::Handle;
use crate::reader::rows::{self, Keys, Room, Rows, Stream, Streams};
use crate::reader::sealed::{self, Brought, Encoded, Reading};
use crate::schema::ColumnId;
use crate::segment::Segment;
use crate::snapshot::Snapshot;

/// Portions at hand or being read.
const PORTIONS_MAX: usize = 3;
/// A portion takes one part in so many of the cache.
const CACHE_SHARE: u64 = 8;
/// A scan keeps no more than one part in so many of it.
const KEPT_SHARE: u64 = 2;
/// After so many bytes of blocks have been decoded the disk is given time: reads that are done make room for others.
const DECODED_BYTES_MAX: usize = 512 << 10;
/// Bytes of the first portion: the first batch should not wait for much.
const PORTION_BYTES_MIN: u64 = 256 << 10;

/// What a scan wants of sealed segments.
pub(super) struct Ask<'a> {
    pub(super) columns: &'a [ColumnId],
    /// On columns, by their place among these.
    pub(super) conditions: &'a [(usize, Between)],
    pub(super) keys: Keys,
    pub(super) direction: Direction,
}

/// Rows of sealed segments, on their way.
pub(super) struct Sealed<D: Disk> {
    /// Rows that are in no portion yet.
    pub(super) left: Range<u64>,
    portions: VecDeque<Portion<D>>,
    in_flight: FuturesUnordered<Reading<D::File, Span>>,
    reads_max: usize,
    begun: u64,
    /// Bytes of blocks that have been handed out since the disk was last given time.
    decoded_bytes: usize,
    /// Bytes of blocks that the reader was given to keep.
    kept_bytes: u64,
    /// Reads have been begun that nobody has waited for.
    is_unsent: bool,
    /// The portion behind cannot be opened: that is told when the ones before it are done.
    is_blocked: bool,
    room: Room,
}

/// Some row groups of one segment.
struct Portion<D: Disk> {
    number: u64,
    streams: Streams,
    handle: Arc<Handle<D::File>>,
    /// Those that have not been handed out.
    rows: Range<u64>,
    groups: Range<usize>,
    /// For each stream and row group.
    blocks: Vec<Vec<Block<D>>>,
    unread: VecDeque<Span>,
}

enum Block<D: Disk> {
    /// None is needed.
    None,
    Coming,
    /// Its bytes are here, and nobody has looked at them: they are verified just before they are decoded, and so are in
    /// the processor's cache then.
    Brought(Arc<Brought<D::File, Span>>),
    /// It is too long for one read, and read when its turn has come.
    Long,
    Here(Arc<Encoded>),
    Failed(Error),
}

/// Blocks of one stream that lie together.
#[derive(Clone, Debug)]
struct Span {
    portion: u64,
    stream: usize,
    groups: Range<usize>,
}

impl<D: Disk> Sealed<D> {
    pub(super) fn new(left: Range<u64>, reads_max: usize, spare: Spare) -> Self {
        Self {
            left,
            portions: VecDeque::new(),
            in_flight: FuturesUnordered::new(),
            reads_max: reads_max.max(1),
            begun: 0,
            decoded_bytes: 0,
            kept_bytes: 0,
            is_unsent: false,
            is_blocked: false,
            room: Room::new(spare),
        }
    }

    /// Whether there are rows to come.
    pub(super) fn is_empty(&self) -> bool {
        self.left.is_empty() && self.portions.is_empty()
    }

    /// The next rows, so many at most, of one row group, which is told too. They stay the next ones until they are
    /// consumed.
    pub(super) async fn next(
        &mut self,
        reader: &Reader<D>,
        at: &Snapshot,
        ask: &Ask<'_>,
        rows_max: u64,
    ) -> Result<(Range<u64>, usize, Rows)> {
        if self.portions.is_empty() {
            self.open(reader, at, ask).await?;
        }
        self.open_ahead(reader, at, ask).await;
        let (rows, group) = self.head(ask.direction, rows_max);
        let blocks = self.bring(reader, group).await?;
        // What has come has made room.
        self.open_ahead(reader, at, ask).await;
        self.send(reader).await;
        let Self { portions, room, .. } = self;
        let Some(portion) = portions.front_mut() else { unreachable!("rows are of a portion") };
        let of_rows = rows::Ask { keys: ask.keys, direction: ask.direction, bytes_max: BATCH_BYTES_MAX };
        let decoding = portion.streams.decode(&reader.holdings, group, &rows, of_rows, &blocks, room);
        let (rows, decoded) = decoding.await?;
        Ok((rows, group, decoded))
    }

    /// How many more reads may be in flight.
    fn reads_free(&self) -> usize {
        self.reads_max.saturating_sub(self.in_flight.len())
    }

    /// Opens the portions that will be needed soon, as long as the reads for that are not too many.
    async fn open_ahead(&mut self, reader: &Reader<D>, at: &Snapshot, ask: &Ask<'_>) {
        while self.portions.len() < PORTIONS_MAX
            && !self.left.is_empty()
            && !self.is_blocked
            && self.reads_free() > 0
        {
            self.is_blocked = self.open(reader, at, ask).await.is_err();
        }
    }

    /// The rows that come next, and their row group.
    fn head(&self, direction: Direction, rows_max: u64) -> (Range<u64>, usize) {
        let Some(portion) = self.portions.front() else { unreachable!("rows are of a portion") };
        let opened = &portion.streams.opened;
        let row = match direction {
            Direction::Forward => portion.rows.start,
            Direction::Reverse => portion.rows.end - 1,
        };
        let group = opened.directory.group_of(row);
        let of_group = opened.rows_of(group);
        let rows = portion.rows.start.max(of_group.start)..portion.rows.end.min(of_group.end);
        (direction.head(&rows, rows_max), group)
    }

    /// These rows of a row group have been handed out.
    pub(super) fn consume(&mut self, rows: &Range<u64>, group: usize, direction: Direction) {
        let Some(portion) = self.portions.front_mut() else { return };
        let is_done = match direction {
            Direction::Forward => {
                portion.rows.start = rows.end;
                portion.rows.is_empty() || portion.streams.opened.directory.group_of(rows.end) != group
            }
            Direction::Reverse => {
                portion.rows.end = rows.start;
                portion.rows.is_empty() || portion.streams.opened.directory.group_of(rows.start - 1) != group
            }
        };
        if is_done {
            let index = group - portion.groups.start;
            for blocks in &mut portion.blocks {
                if let Block::Here(block) = std::mem::replace(&mut blocks[index], Block::None) {
                    self.decoded_bytes += block.memory_bytes();
                }
            }
        }
        if portion.rows.is_empty() {
            self.portions.pop_front();
            self.is_blocked = false;
        }
    }

    /// Opens the next portion.
    async fn open(&mut self, reader: &Reader<D>, at: &Snapshot, ask: &Ask<'_>) -> Result<()> {
        let row = match ask.direction {
            Direction::Forward => self.left.start,
            Direction::Reverse => self.left.end - 1,
        };
        let Segment::Sealed(segment) = at.segment(at.segment_of(row)) else {
            unreachable!("rows before the first raw segment are in sealed ones")
        };
        let opened = reader.holdings.open_sealed(segment).await?;
        let of_segment = &opened.segment.rows;
        let rows = self.left.start.max(of_segment.start)..self.left.end.min(of_segment.end);
        let groups = opened.groups(&rows);
        let streams = Streams::load(
            &reader.holdings,
            Arc::clone(&opened),
            ask.columns,
            ask.keys,
            groups.clone(),
            self.reads_free(),
        )
        .await?;
        let streams = streams.only(ask.conditions.to_vec());
        let share = self.reads_max as u64 * 2 * TRANSFER_BYTES_MAX as u64 / PORTIONS_MAX as u64;
        // Whoever has little room for what is kept wants little to be in memory on its way.
        let share = share.min(reader.holdings.shared.options.cache_bytes / CACHE_SHARE);
        let bytes_max = share.max(PORTION_BYTES_MIN).min(PORTION_BYTES_MIN << self.begun.min(16));
        let groups = take(&streams, groups, ask.direction, bytes_max);
        let rows = rows.start.max(opened.rows_of(groups.start).start)
            ..rows.end.min(opened.rows_of(groups.end - 1).end);
        let handle = reader.holdings.sealed_handle(&opened.segment).await?;
        let mut portion = Portion {
            number: self.begun,
            handle,
            blocks: (0..streams.all.len()).map(|_| Vec::new()).collect(),
            rows: rows.clone(),
            groups,
            streams,
            unread: VecDeque::new(),
        };
        portion.plan(reader, ask.direction);
        match ask.direction {
            Direction::Forward => self.left.start = rows.end,
            Direction::Reverse => self.left.end = rows.start,
        }
        self.portions.push_back(portion);
        self.begun += 1;
        self.start();
        Ok(())
    }

    /// Sends off reads, those of the first portion first, as many as may be.
    fn start(&mut self) {
        for portion in &mut self.portions {
            while self.in_flight.len() < self.reads_max
                && let Some(span) = portion.unread.pop_front()
            {
                let range = portion.streams.range(span.stream, &span.groups);
                self.in_flight.push(Reading::new(Arc::clone(&portion.handle), &range, span));
                self.is_unsent = true;
            }
        }
    }

    /// Waits until all blocks of a row group of the first portion are here.
    async fn bring(&mut self, reader: &Reader<D>, group: usize) -> Result<Vec<Option<Arc<Encoded>>>> {
        if let Some(portion) = self.portions.front_mut() {
            portion.bring_long(reader, group).await?;
        }
        loop {
            self.start();
            let Some(portion) = self.portions.front_mut() else { return Ok(Vec::new()) };
            if portion.has_come(group) {
                return portion.verified(reader, group, &mut self.kept_bytes);
            }
            let Some(brought) = self.in_flight.next().await else {
                unreachable!("what is waited for is in flight")
            };
            // Whoever waits sends all that was begun.
            self.is_unsent = false;
            self.take(brought);
        }
    }

    fn take(&mut self, brought: Brought<D::File, Span>) {
        let Span { portion, stream, groups } = brought.whose.clone();
        let Some(portion) = self.portions.iter_mut().find(|known| known.number == portion) else { return };
        let brought = Arc::new(brought);
        for group in groups {
            let block = &mut portion.blocks[stream][group - portion.groups.start];
            if matches!(block, Block::Coming) {
                *block = Block::Brought(Arc::clone(&brought));
            }
        }
    }

    /// Gives the disk time where reads have been begun or may be done, so that it reads while rows are decoded: an
    /// executor that is never left without a task neither sends requests nor sees that they are done.
    async fn send(&mut self, reader: &Reader<D>) {
        let disk = &reader.holdings.shared.disk;
        if self.decoded_bytes >= DECODED_BYTES_MAX && !self.in_flight.is_empty() {
            self.decoded_bytes = 0;
            disk.submit().await;
        }
        self.go_on().await;
        if std::mem::take(&mut self.is_unsent) {
            disk.submit().await;
        }
    }

    /// Sends off what will be needed, and takes what has come, without waiting.
    pub(super) async fn go_on(&mut self) {
        poll_fn(|context| {
            loop {
                self.start();
                match self.in_flight.poll_next_unpin(context) {
                    Poll::Ready(Some(brought)) => self.take(brought),
                    Poll::Ready(None) | Poll::Pending => return Poll::Ready(()),
                }
            }
        })
        .await;
    }
}

/// The row groups that come first, as many as these bytes hold, one at least.
fn take(streams: &Streams, groups: Range<usize>, direction: Direction, bytes_max: u64) -> Range<usize> {
    let bytes = |group: &usize| -> u64 {
        let needed = (0..streams.all.len()).filter(|stream| streams.needs(*stream, *group));
        needed
            .map(|stream| streams.range(stream, &(*group..group + 1)))
            .map(|range| range.end - range.start)
            .sum()
    };
    let mut left = bytes_max;
    let fits = |group: &usize| {
        let bytes = bytes(group);
        let fits = bytes <= left;
        left = left.saturating_sub(bytes);
        fits
    };
    let count = match direction {
        Direction::Forward => groups.clone().take_while(fits).count().max(1),
        Direction::Reverse => groups.clone().rev().take_while(fits).count().max(1),
    };
    match direction {
        Direction::Forward => groups.start..groups.start + count,
        Direction::Reverse => groups.end - count..groups.end,
    }
}

impl<D: Disk> Portion<D> {
    /// Takes the blocks that the reader still has, and plans the reads of the others.
    fn plan(&mut self, reader: &Reader<D>, direction: Direction) {
        let mut unread: Vec<Span> = Vec::new();
        for stream in 0..self.streams.all.len() {
            let (file, mut last) = (self.streams.all[stream].file, None);
            for group in self.groups.clone() {
                let kept = || reader.holdings.kept_block(&self.streams.opened, file, group);
                let block = match self.streams.needs(stream, group) {
                    true => match kept() {
                        Some(block) => Block::Here(block),
                        None if self.streams.fits_one_read(stream, group) => Block::Coming,
                        None => Block::Long,
                    },
                    false => Block::None,
                };
                if matches!(block, Block::Coming) {
                    match last.and_then(|last: usize| unread.get_mut(last)) {
                        Some(span) if self.streams.is_one_read(stream, &span.groups, group) => {
                            span.groups.end = group + 1;
                        }
                        _ => {
                            last = Some(unread.len());
                            unread.push(Span { portion: self.number, stream, groups: group..group + 1 });
                        }
                    }
                }
                self.blocks[stream].push(block);
            }
        }
        match direction {
            Direction::Forward => unread.sort_by_key(|span| span.groups.start),
            Direction::Reverse => unread.sort_by_key(|span| std::cmp::Reverse(span.groups.end)),
        }
        self.unread = unread.into();
    }

    /// Reads those blocks of a row group that are too long for one read.
    async fn bring_long(&mut self, reader: &Reader<D>, group: usize) -> Result<()> {
        let index = group - self.groups.start;
        for (Stream { file, entries }, blocks) in self.streams.all.iter().zip(&mut self.blocks) {
            if matches!(blocks[index], Block::Long) {
                let read = reader.holdings.block(&self.streams.opened, entries, *file, group);
                blocks[index] = Block::Here(read.await?);
            }
        }
        Ok(())
    }

    /// Whether all that is needed of a row group is here.
    fn has_come(&self, group: usize) -> bool {
        let index = group - self.groups.start;
        !self.blocks.iter().any(|blocks| matches!(blocks[index], Block::Coming | Block::Long))
    }

    /// The blocks of a row group, all of which have come, verified.
    fn verified(
        &mut self,
        reader: &Reader<D>,
        group: usize,
        kept_bytes: &mut u64,
    ) -> Result<Vec<Option<Arc<Encoded>>>> {
        let index = group - self.groups.start;
        let mut all = Vec::with_capacity(self.blocks.len());
        for (stream, blocks) in self.blocks.iter_mut().enumerate() {
            let block = &mut blocks[index];
            if let Block::Brought(brought) = block {
                let verified = take_block(reader, &self.streams, stream, group, brought, kept_bytes);
                *block = verified.map_or_else(Block::Failed, Block::Here);
            }
            all.push(match block {
                Block::None => None,
                Block::Here(block) => Some(Arc::clone(block)),
                Block::Failed(error) => return Err(error.clone()),
                Block::Coming | Block::Long | Block::Brought(_) => {
                    unreachable!("all that is needed has come, and was looked at")
                }
            });
        }
        Ok(all)
    }
}

/// A block from the bytes that a read has brought. The reader keeps it, if it has not been given enough by this scan: what
/// a long scan brings behind that would push out what others need, and the beginning of the scan itself.
fn take_block<D: Disk>(
    reader: &Reader<D>,
    streams: &Streams,
    stream: usize,
    group: usize,
    brought: &Brought<D::File, Span>,
    kept_bytes: &mut u64,
) -> Result<Arc<Encoded>> {
    let Stream { file, entries } = &streams.all[stream];
    let range = sealed::kept(entries, group);
    let place = |at: u64| usize::try_from(at - brought.start).unwrap_or(usize::MAX);
    let bytes = brought.bytes.as_ref().map_err(Error::clone)?;
    let bytes = &bytes[place(range.start)..place(range.end)];
    let block = reader.holdings.verified(&streams.opened, entries, group, bytes)?;
    if *kept_bytes < reader.holdings.shared.options.cache_bytes / KEPT_SHARE {
        *kept_bytes += block.memory_bytes() as u64;
        reader.holdings.keep_block(&streams.opened, *file, group, &block);
    }
    Ok(block)
}
