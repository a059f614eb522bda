//! One raw file of a segment, read through in one direction, ahead of who consumes it.
//!
//! A feed knows which bytes a scan will need of its file. It asks for runs, holds them until they are consumed,
//! and hands out what is needed in pieces: from runs below D, from the tail behind. D may move meanwhile: what is
//! missing is looked at again with each view.
//!
//! Invariant: nothing is held that no row to come needs.
//! Not here: how many reads are in flight, and whose turn it is (`ahead`).

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::ops::{Deref, Range};
use std::sync::Arc;

use crate::error::Error;
use crate::format::CHUNK;
use crate::reader::decode::Pieces;
use crate::segment::read::{Loaded, Run, View};

/// Which way a scan goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Direction {
    Forward,
    Reverse,
}

impl Direction {
    /// The rows that come first, so many at most.
    pub(crate) fn head(self, rows: &Range<u64>, rows_max: u64) -> Range<u64> {
        match self {
            Direction::Forward => rows.start..rows.end.min(rows.start.saturating_add(rows_max)),
            Direction::Reverse => rows.start.max(rows.end.saturating_sub(rows_max))..rows.end,
        }
    }
}

/// A raw file, read ahead. `B` are the disk's bytes.
#[derive(Debug)]
pub(crate) struct Feed<B> {
    segment: Arc<Loaded>,
    file: usize,
    direction: Direction,
    /// What the scan needs of the file, below L.
    range: Range<u64>,
    /// How far reading ahead has come: `range.start` to here, or in reverse here to `range.end`.
    asked: u64,
    is_at_end: bool,
    held: BTreeMap<u64, Held<B>>,
}

#[derive(Debug)]
struct Held<B> {
    len: usize,
    state: State<B>,
}

#[derive(Debug)]
enum State<B> {
    Asked,
    Here(B),
    Failed(Error),
}

/// Whether bytes are at hand.
pub(crate) enum Supply {
    /// All of them.
    Here,
    /// Reads that have been asked for will bring them.
    Coming,
    /// This must be read.
    Missing(Range<u64>),
    /// They cannot be read.
    Failed(Error),
}

impl<B: Deref<Target = [u8]>> Feed<B> {
    pub(crate) fn new(segment: Arc<Loaded>, file: usize, range: Range<u64>, direction: Direction) -> Self {
        let asked = match direction {
            Direction::Forward => range.start,
            Direction::Reverse => range.end,
        };
        Self { segment, file, direction, range, asked, is_at_end: false, held: BTreeMap::new() }
    }

    /// What the scan needs of the file.
    pub(crate) fn range(&self) -> &Range<u64> {
        &self.range
    }

    /// How much of its bytes has been asked for, from 0 to 1.
    pub(crate) fn progress(&self) -> f64 {
        let done = match self.direction {
            Direction::Forward => self.asked - self.range.start,
            Direction::Reverse => self.range.end - self.asked,
        };
        // Only a measure of whose turn it is.
        done as f64 / (self.range.end - self.range.start).max(1) as f64
    }

    /// The file as it is now.
    pub(crate) fn view(&self) -> View {
        self.segment.view(self.file)
    }

    /// Whether all that was in the file when it was last looked at has been asked for.
    pub(crate) fn is_at_end(&self) -> bool {
        self.is_at_end
    }

    /// Bytes that are held or on their way.
    pub(crate) fn held_bytes(&self) -> usize {
        self.held.values().map(|held| held.len).sum()
    }

    /// The next run to read ahead, unless all that is in the file has been asked for.
    pub(crate) fn ahead(&mut self, chunks_max: u64) -> Option<Run> {
        let view = self.view();
        let run = self.next_run(&view, chunks_max);
        self.is_at_end = run.is_none();
        run
    }

    fn next_run(&self, view: &View, chunks_max: u64) -> Option<Run> {
        match self.direction {
            Direction::Forward => {
                let wanted = self.asked..self.range.end.min(view.end);
                // A run that ended with D, inside a chunk, may be in use with the view of then: what D has moved
                // over since is asked for when it is needed, with a view of its own.
                let is_cut = self.asked > self.range.start && !self.asked.is_multiple_of(CHUNK);
                (!is_cut && wanted.start < wanted.end).then(|| view.run(wanted, chunks_max))
            }
            Direction::Reverse => {
                let wanted = self.range.start..self.asked.min(view.end);
                let first = wanted.start.max((wanted.end.div_ceil(CHUNK)).saturating_sub(chunks_max) * CHUNK);
                (first < wanted.end).then(|| view.run(first..wanted.end, chunks_max))
            }
        }
    }

    /// Notes that a run has been asked for. Returns by how many bytes what is held has grown.
    pub(crate) fn ask(&mut self, run: &Run) -> usize {
        match self.direction {
            Direction::Forward => self.asked = self.asked.max(run.end().min(self.range.end)),
            Direction::Reverse => self.asked = self.asked.min(run.offset.max(self.range.start)),
        }
        let held = Held { len: run.len, state: State::Asked };
        let replaced = self.held.insert(run.offset, held).map_or(0, |before| before.len);
        run.len.saturating_sub(replaced)
    }

    /// Takes what a run brought, unless nobody needs it any more.
    pub(crate) fn take(&mut self, run: &Run, bytes: Result<B, Error>) {
        let waits = |held: &&mut Held<B>| held.len == run.len && matches!(held.state, State::Asked);
        if let Some(held) = self.held.get_mut(&run.offset).filter(waits) {
            held.state = bytes.map_or_else(State::Failed, State::Here);
        }
    }

    /// The run that holds the byte `at`. Of two the later one: it was asked for because the other does not reach.
    fn covering(&self, at: u64) -> Option<(u64, &Held<B>)> {
        let (offset, held) = self.held.range(..=at).next_back()?;
        (offset + held.len as u64 > at).then_some((*offset, held))
    }

    /// Whether these bytes are at hand, what is behind D in the tail.
    pub(crate) fn supply(&self, range: &Range<u64>, view: &View) -> Supply {
        let end = range.end.min(view.end);
        let (mut at, mut supply) = (range.start, Supply::Here);
        while at < end {
            match self.covering(at) {
                Some((_, Held { state: State::Failed(error), .. })) => return Supply::Failed(error.clone()),
                Some((offset, held)) => {
                    if matches!(held.state, State::Asked) {
                        supply = Supply::Coming;
                    }
                    at = offset + held.len as u64;
                }
                None => {
                    let next = self.held.range(at..).next().map_or(end, |(offset, _)| end.min(*offset));
                    return Supply::Missing(at..next);
                }
            }
        }
        supply
    }

    /// These bytes, all of which are at hand by this view.
    pub(crate) fn pieces(&self, range: &Range<u64>, view: &View) -> Pieces<'_> {
        let mut pieces = Pieces { file: self.file, start: range.start, parts: Vec::new() };
        let mut at = range.start;
        while at < range.end {
            if let Some((offset, Held { state: State::Here(bytes), .. })) = self.covering(at) {
                let end = range.end.min(offset + bytes.len() as u64);
                pieces.parts.push(Cow::Borrowed(&bytes[place(at, offset)..place(end, offset)]));
                at = end;
                continue;
            }
            let mut tail = vec![0; place(range.end, at)];
            view.copy_tail(at, &mut tail);
            pieces.parts.push(Cow::Owned(tail));
            at = range.end;
        }
        pieces
    }

    /// Lets go of what only bytes on the far side of `at` are in, where the scan comes from. Returns how many
    /// bytes that were.
    pub(crate) fn release(&mut self, at: u64) -> usize {
        let mut released = 0;
        match self.direction {
            Direction::Forward => {
                while let Some(entry) = self.held.first_entry()
                    && entry.key() + entry.get().len as u64 <= at
                {
                    released += entry.remove().len;
                }
            }
            Direction::Reverse => {
                while let Some(entry) = self.held.last_entry()
                    && *entry.key() >= at
                {
                    released += entry.remove().len;
                }
            }
        }
        released
    }
}

fn place(at: u64, base: u64) -> usize {
    usize::try_from(at - base).unwrap_or(usize::MAX)
}
