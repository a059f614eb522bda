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
    /// Runs, by where they begin and end. Some overlap: a last chunk that was read before D moved, and read again.
    held: BTreeMap<(u64, u64), State<B>>,
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
        self.held.keys().map(len).sum()
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

    /// Notes that a run has been asked for.
    pub(crate) fn ask(&mut self, run: &Run) {
        match self.direction {
            Direction::Forward => self.asked = self.asked.max(run.end().min(self.range.end)),
            Direction::Reverse => self.asked = self.asked.min(run.offset.max(self.range.start)),
        }
        let before = self.held.insert((run.offset, run.end()), State::Asked);
        assert!(before.is_none(), "what is held is not asked for again");
    }

    /// Takes what a run brought, unless nobody needs it any more.
    pub(crate) fn take(&mut self, run: &Run, bytes: Result<B, Error>) {
        if let Some(state) = self.held.get_mut(&(run.offset, run.end())) {
            *state = bytes.map_or_else(State::Failed, State::Here);
        }
    }

    /// A run that holds the byte `at`: one that is here, if there is one.
    fn covering(&self, at: u64) -> Option<(&(u64, u64), &State<B>)> {
        let holds = |((_, end), _): &(&(u64, u64), &State<B>)| *end > at;
        let mut covering = self.held.range(..=(at, u64::MAX)).rev().take_while(holds);
        let newest = covering.next()?;
        let is_here = |(_, state): &(&(u64, u64), &State<B>)| matches!(state, State::Here(_));
        Some(std::iter::once(newest).chain(covering).find(is_here).unwrap_or(newest))
    }

    /// Whether these bytes are at hand, what is behind D in the tail.
    pub(crate) fn supply(&self, range: &Range<u64>, view: &View) -> Supply {
        let end = range.end.min(view.end);
        let (mut at, mut supply) = (range.start, Supply::Here);
        while at < end {
            match self.covering(at) {
                Some((_, State::Failed(error))) => return Supply::Failed(error.clone()),
                Some(((_, run_end), state)) => {
                    if matches!(state, State::Asked) {
                        supply = Supply::Coming;
                    }
                    at = *run_end;
                }
                None => {
                    let next =
                        self.held.range((at, 0)..).next().map_or(end, |((offset, _), _)| end.min(*offset));
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
            if let Some(((offset, run_end), State::Here(bytes))) = self.covering(at) {
                let end = range.end.min(*run_end);
                pieces.parts.push(Cow::Borrowed(&bytes[place(at, *offset)..place(end, *offset)]));
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
                    && entry.key().1 <= at
                {
                    released += len(entry.key());
                    entry.remove();
                }
            }
            Direction::Reverse => {
                while let Some(entry) = self.held.last_entry()
                    && entry.key().0 >= at
                {
                    released += len(entry.key());
                    entry.remove();
                }
            }
        }
        released
    }
}

fn len((offset, end): &(u64, u64)) -> usize {
    place(*end, *offset)
}

fn place(at: u64, base: u64) -> usize {
    usize::try_from(at - base).unwrap_or(usize::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::format::crc32c;
    use crate::format::record::{FileChange, Form, Rows};
    use crate::segment::active::{ActiveWriter, Moved};
    use crate::segment::read::{Body, RawSegment};

    /// Keys of which three pages are committed, and none is in the file.
    fn three_pages() -> (ActiveWriter, Vec<u8>) {
        let bytes: Vec<u8> = (0_u64..1536).flat_map(u64::to_le_bytes).collect();
        let mut writer = ActiveWriter::new(&ActiveWriter::empty(0, 0, 0, 1));
        let change =
            FileChange { end: 0, len: bytes.len() as u64, first_chunk: 0, sums: Vec::new(), inline: &bytes };
        let files = vec![change];
        let form = Form::Small;
        writer.apply(&Rows { first_row: 0, rows: 1536, last_key: 1535, form, files, first_keys: Vec::new() });
        (writer, bytes)
    }

    fn move_to(writer: &mut ActiveWriter, bytes: &[u8], end: usize) {
        let sums = vec![crc32c(&bytes[..end])];
        writer.advance(&[Moved { end: end as u64, first_chunk: 0, sums, first_keys: vec![0] }]);
    }

    fn joined(feed: &Feed<Vec<u8>>, range: &Range<u64>, view: &View) -> Vec<u8> {
        feed.pieces(range, view).parts.concat()
    }

    #[test]
    fn what_is_here_stays_here_while_its_chunk_is_read_again() {
        for direction in [Direction::Forward, Direction::Reverse] {
            let (mut writer, bytes) = three_pages();
            let segment = RawSegment { rows: 0..1536, body: Body::Active(Arc::clone(&writer.shared)) };
            let mut feed = Feed::new(Arc::new(Loaded::active(segment)), 0, 0..12_288, direction);
            assert!(feed.ahead(16).is_none(), "nothing is in the file");
            assert!(matches!(feed.supply(&(0..12_288), &feed.view()), Supply::Here));
            assert_eq!(joined(&feed, &(5..12_288), &feed.view()), bytes[5..]);

            move_to(&mut writer, &bytes, 4096);
            let before = feed.view();
            let first = feed.ahead(16).unwrap();
            assert_eq!((first.offset, first.end()), (0, 4096));
            feed.ask(&first);
            assert!(matches!(feed.supply(&(0..6000), &before), Supply::Coming));
            feed.take(&first, Ok(bytes[..4096].to_vec()));
            assert!(matches!(feed.supply(&(0..6000), &before), Supply::Here));

            move_to(&mut writer, &bytes, 8192);
            let now = feed.view();
            let Supply::Missing(missing) = feed.supply(&(0..6000), &now) else { panic!("D has moved") };
            assert_eq!(missing, 4096..6000);
            let again = now.run(missing, 16);
            assert_eq!((again.offset, again.end()), (0, 8192));
            feed.ask(&again);
            assert_eq!(joined(&feed, &(0..6000), &before), bytes[..6000]);
            assert!(matches!(feed.supply(&(0..6000), &now), Supply::Coming));
            feed.take(&again, Ok(bytes[..8192].to_vec()));
            assert!(matches!(feed.supply(&(0..12_288), &now), Supply::Here));
            assert_eq!(joined(&feed, &(0..12_288), &now), bytes);
            assert_eq!(feed.held_bytes(), 4096 + 8192);
            let far = if direction == Direction::Forward { 8192 } else { 0 };
            assert_eq!((feed.release(far), feed.held_bytes()), (4096 + 8192, 0));
        }
    }
}
