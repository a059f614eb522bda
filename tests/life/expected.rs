//! What a store must hold: every acknowledged commit, and perhaps the one whose end nobody has heard.
//!
//! Not here: how it is read (`read`), what happens to it (`random`, `history`).

use std::collections::VecDeque;

use tidelog::Schema;

use super::table::Table;
use super::{Kept, Wrong, keep};

/// Rows and note of one commit.
#[derive(Clone, Debug)]
pub(crate) struct Commit {
    pub(crate) rows: Table,
    pub(crate) note: Option<Vec<u8>>,
}

/// What was acknowledged.
#[derive(Clone, Debug)]
pub(crate) struct Expected {
    /// The store itself was.
    pub(crate) created: bool,
    pub(crate) rows: Table,
    /// Of the newest commit that carried one.
    pub(crate) note: Option<Vec<u8>>,
    /// Begun, and neither acknowledged nor refused.
    pub(crate) maybe: Option<Commit>,
    /// Others that may follow that one, in this order.
    queue: VecDeque<Commit>,
    /// Buffered: shown to readers of the process, and durable by luck only.
    buffered: VecDeque<Commit>,
}

impl Expected {
    pub(crate) fn new(schema: &Schema) -> Self {
        let (queue, buffered) = (VecDeque::new(), VecDeque::new());
        Expected { created: false, rows: Table::new(schema), note: None, maybe: None, queue, buffered }
    }

    /// What readers of the process are shown.
    pub(crate) fn shown(&self) -> Expected {
        let mut shown = self.clone();
        shown.synced();
        shown
    }

    /// Rows that they are shown.
    pub(crate) fn shown_rows(&self) -> u64 {
        self.rows() + self.buffered.iter().map(|commit| commit.rows.rows() as u64).sum::<u64>()
    }

    /// The commit that was asked for is shown, and waits with others for its record.
    pub(crate) fn buffer(&mut self, commit: Commit) {
        self.buffered.push_back(commit);
        self.begin_all(self.buffered.clone());
    }

    /// Whether some wait.
    pub(crate) fn is_buffering(&self) -> bool {
        !self.buffered.is_empty()
    }

    /// Those that waited are durable.
    pub(crate) fn synced(&mut self) {
        let buffered = std::mem::take(&mut self.buffered);
        self.begin_all(buffered);
        while self.maybe.is_some() {
            self.acknowledge();
        }
    }

    pub(crate) fn rows(&self) -> u64 {
        self.rows.rows() as u64
    }

    /// Rows, if what was asked for first is there.
    fn maybe_end(&self) -> usize {
        self.rows.rows() + self.maybe.as_ref().map_or(0, |maybe| maybe.rows.rows())
    }

    /// A commit is asked for, behind those that wait.
    pub(crate) fn begin(&mut self, commit: Commit) {
        let all = self.buffered.iter().cloned().chain([commit]);
        self.begin_all(all.collect());
    }

    /// Several are: the first of them, or the first two, and so on, will be there.
    pub(crate) fn begin_all(&mut self, commits: VecDeque<Commit>) {
        self.queue = commits;
        self.maybe = self.queue.pop_front();
    }

    /// The first that was asked for was acknowledged.
    pub(crate) fn acknowledge(&mut self) {
        if let Some(Commit { rows, note }) = self.maybe.take() {
            self.rows.append(&rows);
            self.note = note.or(self.note.take());
        }
        self.maybe = self.queue.pop_front();
    }

    /// What was asked for was refused, and changed nothing.
    pub(crate) fn withdraw(&mut self) {
        self.begin_all(self.buffered.clone());
    }

    /// Compares with what was found after opening; then that is what there is. Returns whether a commit whose
    /// end nobody had heard was there.
    pub(crate) fn settle(&mut self, found: &Table, note: Option<&[u8]>) -> Kept<Option<bool>> {
        while !self.queue.is_empty() && self.maybe_end() < found.rows() {
            self.acknowledge();
        }
        let (base, of_maybe) = (self.rows.rows(), self.maybe.as_ref().map_or(0, |maybe| maybe.rows.rows()));
        keep(found.rows() >= base, || {
            format!("acknowledged rows are lost: {} of {base} were found", found.rows())
        })?;
        let whole = found.rows() == base || found.rows() == base + of_maybe;
        keep(whole, || format!("a torn commit: {base} rows, then {} of {of_maybe}", found.rows() - base))?;
        let maybe = self.maybe.as_ref();
        if let Some(difference) = self.rows.difference(maybe.map(|maybe| &maybe.rows), found) {
            return Err(Wrong::new(difference));
        }
        let there = if of_maybe > 0 {
            found.rows() > base
        } else {
            maybe.is_some_and(|maybe| maybe.note.is_some() && maybe.note.as_deref() == note)
        };
        let result = self.maybe.is_some().then_some(there);
        if there {
            self.acknowledge()
        }
        self.buffered.clear();
        self.withdraw();
        keep(self.note.as_deref() == note, || {
            format!("the note is {:?}, it should be {:?}", begin(note), begin(self.note.as_deref()))
        })?;
        Ok(result)
    }
}

/// The beginning of a note.
fn begin(note: Option<&[u8]>) -> Option<(usize, &[u8])> {
    note.map(|note| (note.len(), &note[..note.len().min(16)]))
}
