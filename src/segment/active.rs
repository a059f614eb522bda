//! The active segment: what its readers on any core see, and what its writer knows.
//!
//! [`Active`] is shared. For each file one atomic word says how far the file's own bytes reach (D, in pages) and
//! the checksum of the last chunk below; sums of whole chunks never change; the rest is in the tail. A reader
//! loads the tail's head first and D then ([`ActiveFile::view`]), so that between them no committed byte is
//! missing, whatever the writer does meanwhile. [`ActiveWriter`] is the writer's side; [`ActiveWriter::apply`]
//! and [`ActiveWriter::advance`] are the only ways in which D, L and sums move, and are called when the record or the
//! manifest that says so is durable. A tail may reach beyond L: what buffered commits have shown ([`ActiveWriter::show`]).
//!
//! Not here: the files themselves (`slot`), how bytes get into them (`flush`).

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use arc_swap::ArcSwap;

use super::tail::{Slab, TailWriter};
use crate::disk::PAGE;
use crate::format::manifest;
use crate::format::record::{Form, Rows};
use crate::format::{CHUNK, chunks};
use crate::mutant::{self, Mutant};

/// An active segment as readers see it.
#[derive(Debug)]
pub(crate) struct Active {
    pub(crate) number: u64,
    pub(crate) slot: u32,
    pub(crate) first_row: u64,
    /// One for each of the schema's raw files.
    pub(crate) files: Vec<ActiveFile>,
    /// The first key of each chunk of keys that has bytes below D.
    pub(crate) first_keys: boxcar::Vec<u64>,
}

/// A raw file that grows, as readers see it.
#[derive(Debug)]
pub(crate) struct ActiveFile {
    /// Pages below D in the upper half, the sum of the last chunk (if it is not whole) in the lower.
    published: AtomicU64,
    /// Where the tail ends: what is committed lies below it.
    len: AtomicU64,
    /// Of whole chunks.
    sums: boxcar::Vec<u32>,
    head: ArcSwap<Slab>,
}

/// A raw file at one moment: bytes below `end` are in the file, those behind in the tail.
#[derive(Clone, Debug)]
pub(crate) struct FileView {
    pub(crate) end: u64,
    /// Where the tail ends. Less than `end` where the last page was padded.
    pub(crate) len: u64,
    last_sum: u32,
    pub(crate) tail: Arc<Slab>,
}

impl ActiveFile {
    pub(crate) fn view(&self) -> FileView {
        // In this order: D only grows, and slabs go only when D has passed them.
        let tail = self.head.load_full();
        let published = self.published.load(Ordering::Acquire);
        let (pages, last_sum) = unpack(published);
        let len = self.len.load(Ordering::Acquire);
        FileView { end: u64::from(pages) * PAGE as u64, len, last_sum, tail }
    }

    /// The sum of a chunk that has bytes below `view.end`: over those bytes.
    pub(crate) fn sum(&self, view: &FileView, chunk: u64) -> Option<u32> {
        if (chunk + 1) * CHUNK > view.end {
            return Some(view.last_sum);
        }
        self.sums.get(usize::try_from(chunk).ok()?).copied()
    }
}

fn pack(pages: u32, sum: u32) -> u64 {
    u64::from(pages) << 32 | u64::from(sum)
}

#[expect(clippy::cast_possible_truncation, reason = "it takes a word apart into its halves")]
fn unpack(word: u64) -> (u32, u32) {
    ((word >> 32) as u32, word as u32)
}

/// What a flush brought into a file, to be told to readers once that is durable. A file whose D stays has no
/// sums and no first keys here.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Moved {
    /// The new D.
    pub(crate) end: u64,
    /// The chunk that the first of `sums` is for.
    pub(crate) first_chunk: u32,
    /// Of each chunk that D moved through, the last one over its bytes below D.
    pub(crate) sums: Vec<u32>,
    /// For keys: the first key of each of those chunks.
    pub(crate) first_keys: Vec<u64>,
}

/// The writer's side of an active segment.
#[derive(Debug)]
pub(crate) struct ActiveWriter {
    pub(crate) shared: Arc<Active>,
    pub(crate) files: Vec<FileState>,
    pub(crate) rows: u64,
}

/// The writer's side of a raw file that grows.
#[derive(Debug)]
pub(crate) struct FileState {
    /// D.
    pub(crate) end: u64,
    /// Of the last chunk below D, where that is not whole.
    pub(crate) last_sum: u32,
    /// L.
    len: u64,
    tail: TailWriter,
}

impl FileState {
    /// L.
    pub(crate) fn len(&self) -> u64 {
        self.len
    }

    pub(crate) fn tail_bytes(&self) -> u64 {
        self.len - self.end
    }

    /// Bytes behind L that readers have been shown: the first of what comes next.
    pub(crate) fn shown(&self) -> usize {
        usize::try_from(self.tail.len() - self.len).unwrap_or(usize::MAX)
    }
}

impl ActiveWriter {
    /// As a manifest describes it.
    pub(crate) fn new(from: &manifest::Active) -> Self {
        let (states, files) = from.files.iter().map(new_file).unzip();
        let shared = Active {
            number: from.number,
            slot: from.slot,
            first_row: from.first_row,
            files,
            first_keys: from.first_keys.iter().copied().collect(),
        };
        Self { shared: Arc::new(shared), files: states, rows: from.rows }
    }

    /// An empty one, of `files` raw files.
    pub(crate) fn empty(number: u64, slot: u32, first_row: u64, files: usize) -> manifest::Active {
        let files = vec![manifest::ActiveFile::default(); files];
        manifest::Active { number, slot, first_row, rows: 0, last_key: 0, files, first_keys: Vec::new() }
    }

    /// Bytes over all its files.
    pub(crate) fn bytes(&self) -> u64 {
        self.files.iter().map(FileState::len).sum()
    }

    /// Bytes of all its tails.
    pub(crate) fn tail_bytes(&self) -> u64 {
        self.files.iter().map(FileState::tail_bytes).sum()
    }

    /// Copies bytes of a file's tail, from `at` (D or behind) on.
    pub(crate) fn copy_tail(&self, file: usize, at: u64, bytes: &mut [u8]) {
        if !bytes.is_empty() {
            self.shared.files[file].head.load().copy(at, bytes);
        }
    }

    /// Shows readers bytes of a file that no record holds yet: they follow what has been shown of it before.
    pub(crate) fn show(&mut self, file: usize, bytes: &[u8]) {
        let state = &mut self.files[file];
        state.tail.append(bytes);
        self.shared.files[file].len.store(state.tail.len(), Ordering::Release);
    }

    /// Takes over a commit whose record is durable.
    pub(crate) fn apply(&mut self, rows: &Rows<'_>) {
        let first_chunk = rows.files[0].first_chunk;
        push_first_keys(&self.shared, first_chunk, &rows.first_keys);
        for ((state, shared), change) in self.files.iter_mut().zip(&self.shared.files).zip(&rows.files) {
            match rows.form {
                Form::Small => state.tail.append(&change.inline[state.shown()..]),
                Form::Large if change.end == state.end && mutant::is(Mutant::InlineExtends) => {
                    state.tail.append(change.inline);
                }
                Form::Large => state.tail.restart(change.end, change.inline),
            }
            state.len = state.tail.len();
            shared.len.store(state.len, Ordering::Release);
            advance(state, shared, change.end, change.first_chunk, &change.sums);
        }
        self.rows += rows.rows;
    }

    /// Takes over what a flush wrote, once the manifest that says so is durable.
    pub(crate) fn advance(&mut self, moved: &[Moved]) {
        push_first_keys(&self.shared, moved[0].first_chunk, &moved[0].first_keys);
        for ((state, shared), moved) in self.files.iter_mut().zip(&self.shared.files).zip(moved) {
            advance(state, shared, moved.end, moved.first_chunk, &moved.sums);
        }
    }

    /// As a manifest describes it, when `moved` is in the files.
    pub(crate) fn describe(&self, moved: &[Moved], last_key: u64) -> manifest::Active {
        let shared = &self.shared;
        let files = (0..self.files.len()).map(|file| self.describe_file(file, &moved[file])).collect();
        manifest::Active {
            number: shared.number,
            slot: shared.slot,
            first_row: shared.first_row,
            rows: self.rows,
            last_key,
            files,
            first_keys: self.first_keys(&moved[0]),
        }
    }

    fn describe_file(&self, file: usize, moved: &Moved) -> manifest::ActiveFile {
        let len = self.files[file].len();
        // Nothing of the tail is left where its last page was padded.
        let left = usize::try_from(len.saturating_sub(moved.end)).unwrap_or(usize::MAX);
        let mut tail = vec![0; left];
        self.copy_tail(file, moved.end, &mut tail);
        manifest::ActiveFile { end: moved.end, tail, sums: self.sums(file, moved) }
    }

    /// All sums of a file when `moved` is in it.
    pub(crate) fn sums(&self, file: usize, moved: &Moved) -> Vec<u32> {
        let known = &self.shared.files[file].sums;
        let state = &self.files[file];
        let mut sums: Vec<u32> = known.iter().map(|(_, sum)| *sum).collect();
        if moved.end == state.end {
            sums.extend((!state.end.is_multiple_of(CHUNK)).then_some(state.last_sum));
        } else {
            sums.extend(&moved.sums);
        }
        sums
    }

    /// All first keys when `moved` is in the file of keys.
    pub(crate) fn first_keys(&self, moved: &Moved) -> Vec<u64> {
        let mut first_keys: Vec<u64> = self.shared.first_keys.iter().map(|(_, key)| *key).collect();
        if moved.end != self.files[0].end {
            first_keys.truncate(moved.first_chunk as usize);
            first_keys.extend(&moved.first_keys);
        }
        first_keys
    }
}

fn new_file(from: &manifest::ActiveFile) -> (FileState, ActiveFile) {
    let (mut tail, head) = TailWriter::new(from.end);
    tail.append(&from.tail);
    let state = FileState { end: 0, last_sum: 0, len: tail.len(), tail };
    let shared = ActiveFile {
        published: AtomicU64::new(0),
        len: AtomicU64::new(state.len()),
        sums: boxcar::Vec::new(),
        head: ArcSwap::new(head),
    };
    let mut state = state;
    advance(&mut state, &shared, from.end, 0, &from.sums);
    (state, shared)
}

fn push_first_keys(shared: &Active, first_chunk: u32, first_keys: &[u64]) {
    let known = shared.first_keys.count();
    for key in first_keys.iter().skip(known.saturating_sub(first_chunk as usize)) {
        shared.first_keys.push(*key);
    }
}

/// Moves D to `end`, and tells readers: sums, then D, and only then do slabs go.
fn advance(state: &mut FileState, shared: &ActiveFile, end: u64, first_chunk: u32, sums: &[u32]) {
    debug_assert!(sums.is_empty() || u64::from(first_chunk) + sums.len() as u64 == chunks(end));
    for (chunk, sum) in (u64::from(first_chunk)..).zip(sums) {
        state.last_sum = *sum;
        if (chunk + 1) * CHUNK <= end {
            shared.sums.push(*sum);
        }
    }
    state.end = end;
    let pages = u32::try_from(end / PAGE as u64).unwrap_or(u32::MAX);
    let last_sum = if end.is_multiple_of(CHUNK) { 0 } else { state.last_sum };
    shared.published.store(pack(pages, last_sum), Ordering::Release);
    let head = shared.head.load();
    let kept = head.holding(end);
    if !Arc::ptr_eq(&head, &kept) {
        shared.head.store(kept);
    }
}
