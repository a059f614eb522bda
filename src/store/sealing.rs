//! Between those who seal, on any core, and the writer: whose turn it is, and what was sealed and is not published.
//!
//! One call seals at a time, and none while what was sealed waits for the writer: so segments are sealed in their
//! order, and no file that a manifest may name is made anew. What waits does so until the manifest that names it is
//! durable; where that is unknown, because publishing failed, it waits for ever, and nothing more is sealed.
//!
//! Not here: sealing (`seal`), publishing (`core`).

use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::task::Context;

use futures::task::AtomicWaker;

use crate::error::{Error, Result};
use crate::format::manifest::Sealed;
use crate::mutant::{self, Mutant};

/// What sealers and the writer of a store have in common.
#[derive(Debug)]
pub(crate) struct Sealing<L> {
    /// Ends with the writer, who holds it.
    lock: Weak<L>,
    state: Mutex<State>,
    committer: AtomicWaker,
}

#[derive(Debug, Default)]
struct State {
    stage: Stage,
    /// Segments whose leftover files are being removed: by calls that were dropped, where nobody has the turn.
    removing: Vec<u64>,
    /// The number of a segment that was to be compacted, and has not been handed over: the next such call uses it.
    begun: Option<u64>,
    /// The number of the next segment.
    next: u64,
    /// Something was handed over, and the committer has not heard of it.
    is_news: bool,
}

impl State {
    fn take_number(&mut self) -> u64 {
        let number = self.next;
        self.next += 1;
        number
    }
}

#[derive(Debug, Default)]
enum Stage {
    #[default]
    Idle,
    Busy,
    /// Handed over to the writer.
    Waiting(Arc<Sealed>),
}

impl<L> Sealing<L> {
    /// For a store whose writer holds this lock; nobody seals where there is none.
    pub(crate) fn new(lock: Weak<L>) -> Self {
        Self { lock, state: Mutex::default(), committer: AtomicWaker::new() }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        // Each change is one assignment: a panic elsewhere leaves nothing half done.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What waits to be published.
    pub(crate) fn waiting(&self) -> Option<Arc<Sealed>> {
        match &self.state().stage {
            Stage::Waiting(sealed) => Some(Arc::clone(sealed)),
            Stage::Idle | Stage::Busy => None,
        }
    }

    /// No segment has had this number or one above.
    pub(crate) fn set_next_number(&self, number: u64) {
        self.state().next = number;
    }

    /// A number for a segment, which nobody else gets.
    pub(crate) fn next_number(&self) -> u64 {
        self.state().take_number()
    }

    /// The manifest that names what waited is durable, and readers see it.
    pub(crate) fn published(&self) {
        let mut state = self.state();
        (state.stage, state.is_news) = (Stage::Idle, false);
    }

    /// Whether something was handed over since this was last asked; if not, the task is woken when something is.
    pub(crate) fn poll_news(&self, context: &Context<'_>) -> bool {
        self.committer.register(context.waker());
        std::mem::take(&mut self.state().is_news)
    }
}

impl<L: Clone> Sealing<L> {
    /// The turn to seal; none while another call has it, or what was sealed before waits.
    ///
    /// # Errors
    /// `Closed` if there is no writer any more.
    pub(crate) fn turn(&self) -> Result<Option<Turn<'_, L>>> {
        let lock = self.lock.upgrade().ok_or(Error::Closed)?;
        let mut state = self.state();
        match state.stage {
            Stage::Waiting(_) if mutant::is(Mutant::SealedTwice) => {}
            Stage::Idle => {}
            Stage::Busy | Stage::Waiting(_) => return Ok(None),
        }
        state.stage = Stage::Busy;
        Ok(Some(Turn { sealing: self, lock: L::clone(&lock), is_over: false }))
    }
}

/// The turn to seal. Another gets it when this is dropped; but while something was handed over, nobody does.
#[derive(Debug)]
pub(crate) struct Turn<'a, L> {
    sealing: &'a Sealing<L>,
    /// The store's: no other writer can come while this call makes and removes names.
    pub(crate) lock: L,
    /// Something was handed over: by now another may have the turn.
    is_over: bool,
}

impl<L> Turn<'_, L> {
    /// Whether there still is a writer to seal for.
    ///
    /// # Errors
    /// `Closed`.
    pub(crate) fn check(&self) -> Result<()> {
        if self.sealing.lock.strong_count() == 0 { Err(Error::Closed) } else { Ok(()) }
    }

    /// The number that a segment gets which is made of sealed ones, of which this is the first.
    pub(crate) fn number(&self, first: u64) -> u64 {
        if mutant::is(Mutant::CompactedInPlace) {
            return first;
        }
        let mut state = self.sealing.state();
        // The name that a dropped call was about to remove may stay for ever.
        let begun = state.begun.take().filter(|number| !state.removing.contains(number));
        let number = begun.unwrap_or_else(|| state.take_number());
        *state.begun.insert(number)
    }

    /// Whether a segment's leftover is being removed.
    pub(crate) fn is_removing(&self, segment: u64) -> bool {
        self.sealing.state().removing.contains(&segment)
    }

    /// A name is about to be removed. Where the future is dropped before that has come to its end, the name may go at
    /// any later moment, and must be gone before it is made anew.
    pub(crate) fn begin_removing(&self, segment: u64) {
        self.sealing.state().removing.push(segment);
    }

    /// The removal of a name has come to its end, whatever became of it.
    pub(crate) fn end_removing(&self, segment: u64) {
        self.sealing.state().removing.retain(|removing| *removing != segment);
    }

    /// Gives what was sealed, verified and durable, to the writer.
    pub(crate) fn hand_over(mut self, sealed: Sealed) {
        self.is_over = true;
        {
            let mut state = self.sealing.state();
            state.begun = state.begun.filter(|number| *number != sealed.number);
            (state.stage, state.is_news) = (Stage::Waiting(Arc::new(sealed)), true);
        }
        self.sealing.committer.wake();
    }
}

impl<L> Drop for Turn<'_, L> {
    fn drop(&mut self) {
        if !self.is_over {
            self.sealing.state().stage = Stage::Idle;
        }
    }
}
