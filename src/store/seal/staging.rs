//! What sealing finds in memory: rows as commits have left them, and row groups that were encoded ahead.
//!
//! The writer gives the buffers of a commit away when its record is durable, and goes on with others; who seals takes
//! them from here, and raw files say the rest. So nothing here is needed: whatever has no room is left out, and goes
//! when it is in the way. Nothing is kept while nobody seals.
//!
//! Invariants: rows here are committed; bytes here, with those of blocks and of buffers that wait to be used again, are
//! no more than `seal_bytes`; rows go by the number that they keep, and by their segment.
//!
//! Not here: encoding them (`ahead`), when a segment is sealed (`seal`).

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::ops::Range;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::WORK_BYTES;
use super::blocks::Made;
use crate::format::segment::Shape;
use crate::schema::Schema;
use crate::statistics::{GROUP_ROWS, LANES};

/// Commits up to here are copied behind each other, larger ones give their buffers away.
const COPIED_BYTES_MAX: u64 = 64 << 10;
/// Room that is obtained for commits that are copied.
const PIECE_BYTES: u64 = 1 << 20;

/// Between the writer and those who seal.
#[derive(Debug)]
pub(crate) struct Staging {
    /// The raw files whose rows are kept: those with blocks of fixed width.
    files: Vec<usize>,
    budget: Arc<Budget>,
    /// Somebody seals.
    is_asked: AtomicBool,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    /// Somebody sealed while the segment before was written.
    is_kept: bool,
    /// By their numbers.
    segments: Vec<Staged>,
    /// Empty ones, whose buffers the writer takes.
    spare: Vec<Piece>,
}

/// What of one segment is in memory.
#[derive(Debug)]
pub(super) struct Staged {
    segment: u64,
    /// In the order of their rows.
    pieces: Vec<Arc<Piece>>,
    /// By file and row group.
    blocks: BTreeMap<(usize, u64), Block>,
    /// The row group that is encoded next, and which of the files.
    next: (u64, usize),
}

/// Rows of some commits.
#[derive(Debug)]
struct Piece {
    rows: Range<u64>,
    /// For each raw file, the bytes of its rows; none for one that is not kept.
    files: Vec<Vec<u8>>,
    #[expect(dead_code, reason = "it counts as long as it is there")]
    held: Held,
}

/// Values that are encoded next: those of one row group, in some files.
#[derive(Debug)]
pub(super) struct Work {
    pub(super) group: u64,
    pub(super) files: Vec<usize>,
    pieces: Vec<Arc<Piece>>,
}

/// A block that was made before its place was known.
#[derive(Debug)]
pub(super) struct Block {
    pub(super) made: Made,
    /// Of its sum.
    pub(super) lanes: [f64; LANES],
    held: Option<Held>,
}

#[derive(Debug)]
struct Budget {
    bytes_max: u64,
    bytes: AtomicU64,
}

/// Bytes that are counted as long as this is there.
#[derive(Debug)]
struct Held {
    budget: Arc<Budget>,
    bytes: u64,
}

impl Budget {
    /// None where there is no room for so many.
    fn hold(self: &Arc<Self>, bytes: u64) -> Option<Held> {
        let mut held = Held { budget: Arc::clone(self), bytes: 0 };
        held.grow(bytes).then_some(held)
    }
}

impl Held {
    /// Counts more, if there is room.
    fn grow(&mut self, bytes: u64) -> bool {
        let Budget { bytes_max, bytes: all } = &*self.budget;
        let more = |all: u64| all.checked_add(bytes).filter(|all| all <= bytes_max);
        let is_counted = all.fetch_update(Ordering::Relaxed, Ordering::Relaxed, more).is_ok();
        self.bytes += if is_counted { bytes } else { 0 };
        is_counted
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        self.budget.bytes.fetch_sub(self.bytes, Ordering::Relaxed);
    }
}

impl Staging {
    /// For rows of this schema, in so many bytes.
    pub(crate) fn new(schema: &Schema, bytes_max: u64) -> Self {
        let is_kept =
            |file: &usize| !matches!(Shape::of(schema.files()[*file], schema), Shape::Bytes(_) | Shape::None);
        Self {
            files: (0..schema.files().len()).filter(is_kept).collect(),
            budget: Arc::new(Budget { bytes_max, bytes: AtomicU64::new(0) }),
            is_asked: AtomicBool::new(false),
            state: Mutex::default(),
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        // What a panic elsewhere leaves is in order: nothing here is half done where one could come from.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Somebody seals: rows are kept from now on.
    pub(super) fn ask(&self) {
        self.is_asked.store(true, Ordering::Relaxed);
    }

    /// A segment is finished: unless somebody has sealed since the one before was, nothing is kept any more.
    pub(crate) fn rolled(&self) {
        let mut state = self.state();
        state.is_kept = self.is_asked.swap(false, Ordering::Relaxed);
        if !state.is_kept {
            *state = State::default();
        }
    }

    /// Takes the rows of a commit, which is durable: for each raw file their bytes, in place of which others may be left.
    pub(crate) fn take_rows(&self, segment: u64, rows: Range<u64>, files: &mut [Vec<u8>]) {
        if self.budget.bytes_max == 0 || rows.is_empty() {
            return;
        }
        let mut state = self.state();
        if !state.is_kept && !self.is_asked.load(Ordering::Relaxed) {
            return;
        }
        let State { segments, spare, .. } = &mut *state;
        if segments.last().is_none_or(|staged| staged.segment != segment) {
            let (pieces, blocks) = (Vec::new(), BTreeMap::new());
            segments.push(Staged { segment, pieces, blocks, next: (0, 0) });
        }
        let Some(staged) = segments.last_mut() else { return };
        let bytes: u64 = self.files.iter().map(|file| files[*file].len() as u64).sum();
        match bytes <= COPIED_BYTES_MAX {
            true => self.copy(staged, spare, rows, files),
            false => self.give(staged, spare, rows, files),
        }
    }

    /// Takes the buffers themselves, and leaves others.
    fn give(&self, staged: &mut Staged, spare: &mut Vec<Piece>, rows: Range<u64>, files: &mut [Vec<u8>]) {
        // What it held is given back before as much is asked for.
        let before = spare.pop().map(|before| before.files);
        let capacity = self.files.iter().map(|file| files[*file].capacity() as u64).sum();
        let Some(held) = hold(&self.budget, capacity, spare) else { return };
        let empty = || vec![Vec::new(); files.len()];
        let (mut given, mut others) = (empty(), before.unwrap_or_else(empty));
        for file in &self.files {
            let other = std::mem::take(&mut others[*file]);
            given[*file] = std::mem::replace(&mut files[*file], other);
        }
        staged.pieces.push(Arc::new(Piece { rows, files: given, held }));
    }

    /// Takes a copy, behind the rows before where there is room.
    fn copy(&self, staged: &mut Staged, spare: &mut Vec<Piece>, rows: Range<u64>, files: &[Vec<u8>]) {
        let has_room = |piece: &Piece| {
            let room = |file: &usize| piece.files[*file].capacity() - piece.files[*file].len();
            self.files.iter().all(|file| room(file) >= files[*file].len())
        };
        let last = staged.pieces.last_mut().and_then(Arc::get_mut);
        let last = last.filter(|piece| piece.rows.end == rows.start && has_room(piece));
        let mut fresh = None;
        let piece = match last {
            Some(last) => last,
            None => {
                let before = spare.pop().filter(has_room);
                let Some(piece) = before.or_else(|| self.room(spare, files)) else { return };
                fresh.insert(Piece { rows: rows.start..rows.start, ..piece })
            }
        };
        for file in &self.files {
            piece.files[*file].extend_from_slice(&files[*file]);
        }
        piece.rows.end = rows.end;
        staged.pieces.extend(fresh.map(Arc::new));
    }

    /// An empty piece with room for many commits like this one.
    fn room(&self, spare: &mut Vec<Piece>, like: &[Vec<u8>]) -> Option<Piece> {
        let bytes: usize = self.files.iter().map(|file| like[*file].len()).sum();
        let wanted = usize::try_from(PIECE_BYTES.min(self.budget.bytes_max / 8)).unwrap_or(usize::MAX);
        let times = (wanted / bytes.max(1)).max(1);
        let held = hold(&self.budget, (bytes * times) as u64, spare)?;
        let mut files = vec![Vec::new(); like.len()];
        self.files.iter().for_each(|file| files[*file] = Vec::with_capacity(like[*file].len() * times));
        Some(Piece { rows: 0..0, files, held })
    }

    /// What of a segment is there, which is not here any more.
    pub(super) fn take(&self, segment: u64) -> Option<Staged> {
        let mut state = self.state();
        let place = state.segments.iter().position(|staged| staged.segment == segment)?;
        Some(state.segments.remove(place))
    }

    /// What of a segment that begins with row `first_row` can be encoded ahead: whole row groups, of some files.
    pub(super) fn work(&self, segment: u64, first_row: u64, schema: &Schema) -> Option<Work> {
        let mut state = self.state();
        let staged = state.segments.iter_mut().find(|staged| staged.segment == segment)?;
        let (group, next) = staged.next(first_row)?;
        let (mut files, mut bytes) = (Vec::new(), 0);
        for file in &self.files[next..] {
            if bytes >= WORK_BYTES {
                break;
            }
            bytes += schema.files()[*file].width().unwrap_or(0) as u64 * GROUP_ROWS;
            files.push(*file);
        }
        Some(Work { group, files, pieces: staged.pieces.clone() })
    }

    /// Takes the blocks that were made of some work, and gives buffers that nobody needs back to the writer.
    pub(super) fn put(&self, segment: u64, first_row: u64, work: Work, blocks: Vec<Block>) {
        let Work { group, files, pieces } = work;
        drop(pieces);
        let mut state = self.state();
        let State { segments, spare, .. } = &mut *state;
        let Some(staged) = segments.iter_mut().find(|staged| staged.segment == segment) else { return };
        staged.next.1 += files.len();
        if staged.next.1 == self.files.len() {
            staged.next = (group + 1, 0);
        }
        staged.release(first_row, spare);
        for (file, mut block) in files.into_iter().zip(blocks) {
            block.held = hold(&self.budget, block.memory_bytes(), spare);
            if block.held.is_some() {
                staged.blocks.insert((file, group), block);
            }
        }
    }

    /// Forgets what is there of a segment: the raw files decide.
    pub(super) fn forget(&self, segment: u64) {
        drop(self.take(segment));
    }
}

impl Staged {
    /// The whole row group that is encoded next, and from which file on. One whose rows have not come yet is waited for;
    /// one of which some were left out is passed over.
    fn next(&mut self, first_row: u64) -> Option<(u64, usize)> {
        let first = first_row.div_ceil(GROUP_ROWS);
        self.next = self.next.max((first, 0));
        let end = self.pieces.last()?.rows.end;
        while (self.next.0 + 1) * GROUP_ROWS <= end {
            let start = self.next.0 * GROUP_ROWS;
            if is_there(&self.pieces, &(start..start + GROUP_ROWS)) {
                return Some(self.next);
            }
            self.next = (self.next.0 + 1, 0);
        }
        None
    }

    /// Gives up pieces whose rows have all been encoded; not those with rows of a row group that other segments share.
    fn release(&mut self, first_row: u64, spare: &mut Vec<Piece>) {
        let done = first_row.next_multiple_of(GROUP_ROWS)..self.next.0 * GROUP_ROWS;
        let is_done = |piece: &mut Arc<Piece>| done.start <= piece.rows.start && piece.rows.end <= done.end;
        for mut piece in self.pieces.extract_if(.., is_done).filter_map(Arc::into_inner) {
            piece.files.iter_mut().for_each(Vec::clear);
            spare.push(piece);
        }
    }

    /// The block of a row group's values of a file, if it was made ahead.
    pub(super) fn block(&self, file: usize, group: u64) -> Option<&Block> {
        self.blocks.get(&(file, group))
    }

    /// Bytes of a file, whose rows have `width` each, from row `row` on: as many as lie together.
    pub(super) fn bytes(&self, file: usize, width: usize, row: u64) -> Option<&[u8]> {
        let piece = self.pieces.iter().find(|piece| piece.rows.contains(&row))?;
        let at = usize::try_from(row - piece.rows.start).unwrap_or(usize::MAX) * width;
        piece.files[file].get(at..)
    }
}

impl Work {
    pub(super) fn rows(&self) -> Range<u64> {
        self.group * GROUP_ROWS..(self.group + 1) * GROUP_ROWS
    }

    /// The bytes of all rows of a file, which have `width` each.
    pub(super) fn bytes(&self, file: usize, width: usize) -> Cow<'_, [u8]> {
        let (rows, mut bytes) = (self.rows(), Cow::Borrowed([].as_slice()));
        for piece in &self.pieces {
            let part = piece.rows.start.max(rows.start)..piece.rows.end.min(rows.end);
            if part.is_empty() {
                continue;
            }
            let at = |row: u64| usize::try_from(row - piece.rows.start).unwrap_or(usize::MAX) * width;
            let part = &piece.files[file][at(part.start)..at(part.end)];
            match bytes.is_empty() {
                true => bytes = Cow::Borrowed(part),
                false => bytes.to_mut().extend_from_slice(part),
            }
        }
        bytes
    }
}

impl Block {
    pub(super) fn new(made: Made, lanes: [f64; LANES]) -> Self {
        Self { made, lanes, held: None }
    }

    fn memory_bytes(&self) -> u64 {
        (size_of::<Self>() + self.made.bytes.capacity()) as u64
    }
}

/// Whether all of some rows are in these pieces.
fn is_there(pieces: &[Arc<Piece>], rows: &Range<u64>) -> bool {
    let mut at = rows.start;
    for piece in pieces {
        if piece.rows.contains(&at) {
            at = piece.rows.end;
        }
    }
    at >= rows.end
}

/// Room, if need be that of buffers which wait to be used again.
fn hold(budget: &Arc<Budget>, bytes: u64, spare: &mut Vec<Piece>) -> Option<Held> {
    loop {
        if let Some(held) = budget.hold(bytes) {
            return Some(held);
        }
        spare.pop()?;
    }
}
