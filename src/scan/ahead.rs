//! Reads of a scan: which are in flight, and whose turn is next.
//!
//! What the batch at hand needs comes first. Besides, whoever has read the least of his file reads on, so that all
//! files advance together through the rows, into the next segment too. Bounded: so many reads in flight, and twice
//! as many of the largest in memory.
//!
//! Not here: what a file's bytes are (`feed`), rows (`scan`).

use std::collections::VecDeque;
use std::future::poll_fn;
use std::ops::Range;
use std::sync::Arc;
use std::task::Poll;

use futures::StreamExt;
use futures::stream::FuturesUnordered;

use super::feed::{Feed, Supply};
use crate::disk::{Disk, Exact, File, TRANSFER_BYTES_MAX};
use crate::error::Result;
use crate::format::CHUNK;
use crate::reader::holdings::{Fetch, Fetched, Handle};
use crate::segment::read::{Loaded, RUN_CHUNKS_MAX, Run, View};

/// What a read brings.
pub(crate) type Bytes<D> = Exact<<<D as Disk>::File as File>::Bytes>;

/// The rows of one segment that a scan goes through, and the files that it needs for them.
pub(crate) struct Part<D: Disk> {
    pub(crate) segment: Arc<Loaded>,
    /// Those that have not been handed out, counted from the segment's first.
    pub(crate) rows: Range<u64>,
    pub(crate) feeds: Vec<Feed<Bytes<D>>>,
    pub(crate) handles: Vec<Arc<Handle<D::File>>>,
    /// Which parts there were before it.
    number: u64,
}

/// Bytes of a file of the first part.
#[derive(Clone, Debug)]
pub(crate) struct Need {
    pub(crate) feed: usize,
    pub(crate) range: Range<u64>,
}

/// Of which part, by its number, and for which of its feeds.
type Whose = (u64, usize);

/// Parts that are being read, the one at hand first.
pub(crate) struct Ahead<D: Disk> {
    pub(crate) parts: VecDeque<Part<D>>,
    in_flight: FuturesUnordered<Fetch<D::File, Whose>>,
    reads_max: usize,
    /// Bytes in flight, or here and not consumed.
    held_bytes: usize,
    parts_before: u64,
}

impl<D: Disk> Ahead<D> {
    pub(crate) fn new(reads_max: usize) -> Self {
        let in_flight = FuturesUnordered::new();
        Self {
            parts: VecDeque::new(),
            in_flight,
            reads_max: reads_max.max(1),
            held_bytes: 0,
            parts_before: 0,
        }
    }

    /// Adds the part behind the last one.
    pub(crate) fn add(
        &mut self,
        segment: Arc<Loaded>,
        rows: Range<u64>,
        feeds: Vec<Feed<Bytes<D>>>,
        handles: Vec<Arc<Handle<D::File>>>,
    ) {
        self.parts.push_back(Part { segment, rows, feeds, handles, number: self.parts_before });
        self.parts_before += 1;
    }

    /// Lets the first part go.
    pub(crate) fn finish(&mut self) {
        if let Some(part) = self.parts.pop_front() {
            self.held_bytes -= part.feeds.iter().map(Feed::held_bytes).sum::<usize>();
        }
    }

    /// Whether the last part has asked for all that is in its files: time for the next.
    pub(crate) fn is_at_end(&self) -> bool {
        self.parts.back().is_none_or(|part| part.feeds.iter().all(Feed::is_at_end))
    }

    /// How many more reads may be in flight.
    pub(crate) fn reads_free(&self) -> usize {
        self.reads_max.saturating_sub(self.in_flight.len())
    }

    /// Lets go of what nobody needs any more in a file of the first part.
    pub(crate) fn release(&mut self, feed: usize, at: u64) {
        if let Some(part) = self.parts.front_mut() {
            self.held_bytes -= part.feeds[feed].release(at);
        }
    }

    /// Waits until all these bytes of the first part are at hand, and notes by which view each is.
    pub(crate) async fn bring(&mut self, needs: &[Need], views: &mut [Option<View>]) -> Result<()> {
        loop {
            let mut is_waiting = false;
            for need in needs {
                let view = &mut views[need.feed];
                if view.is_some() {
                    continue;
                }
                *view = self.supply(need)?;
                is_waiting |= view.is_none();
                if is_waiting && self.in_flight.len() >= self.reads_max {
                    break;
                }
            }
            self.read_ahead();
            if !is_waiting {
                return Ok(());
            }
            let Some(fetched) = self.in_flight.next().await else {
                unreachable!("what is waited for is in flight")
            };
            self.take(fetched);
        }
    }

    /// Asks for what is missing of a need, as far as the limit allows. Some view if all is at hand.
    fn supply(&mut self, need: &Need) -> Result<Option<View>> {
        loop {
            let Some(part) = self.parts.front() else { return Ok(None) };
            let feed = &part.feeds[need.feed];
            let view = feed.view();
            match feed.supply(&need.range, &view) {
                Supply::Here => return Ok(Some(view)),
                Supply::Failed(error) => return Err(error),
                Supply::Missing(gap) if self.in_flight.len() < self.reads_max => {
                    let run = view.run(gap, RUN_CHUNKS_MAX);
                    self.start(0, need.feed, run);
                }
                Supply::Missing(_) | Supply::Coming => return Ok(None),
            }
        }
    }

    /// Starts reads of what will be needed, as many as may be.
    fn read_ahead(&mut self) {
        let bytes_max = self.reads_max.saturating_mul(2 * TRANSFER_BYTES_MAX);
        for index in 0..self.parts.len() {
            let part = &mut self.parts[index];
            // Each file has one run at hand and one on its way.
            let each = bytes_max as u64 / (2 * part.feeds.len().max(1)) as u64;
            let chunks_max = (each / CHUNK).clamp(1, RUN_CHUNKS_MAX);
            while self.in_flight.len() < self.reads_max && self.held_bytes < bytes_max {
                let part = &mut self.parts[index];
                let behind = part.feeds.iter_mut().enumerate().filter(|(_, feed)| !feed.is_at_end());
                let Some((number, feed)) =
                    behind.min_by(|(_, a), (_, b)| a.progress().total_cmp(&b.progress()))
                else {
                    break;
                };
                if let Some(run) = feed.ahead(chunks_max) {
                    self.start(index, number, run);
                }
            }
        }
    }

    fn start(&mut self, part: usize, feed: usize, run: Run) {
        let part = &mut self.parts[part];
        self.held_bytes += run.len;
        part.feeds[feed].ask(&run);
        self.in_flight.push(Fetch::new(Arc::clone(&part.handles[feed]), run, (part.number, feed)));
    }

    fn take(&mut self, fetched: Fetched<D::File, Whose>) {
        let Fetched { run, whose: (part, feed), bytes } = fetched;
        if let Some(part) = self.parts.iter_mut().find(|known| known.number == part) {
            part.feeds[feed].take(&run, bytes);
        }
    }

    /// Sends off what will be needed, and takes what has come, without waiting.
    pub(crate) async fn go_on(&mut self) {
        poll_fn(|context| {
            loop {
                self.read_ahead();
                match self.in_flight.poll_next_unpin(context) {
                    Poll::Ready(Some(fetched)) => self.take(fetched),
                    Poll::Ready(None) | Poll::Pending => return Poll::Ready(()),
                }
            }
        })
        .await;
    }
}
