//! Brings whole pages of tail and new bytes into the raw files.
//!
//! Each page is written at D and behind, where nobody reads yet: nothing that is acknowledged is touched. Sums
//! are computed on the way. Several writes are in flight; all are waited for, also after an error.
//!
//! Not here: when that counts (`ActiveWriter::apply` and `advance`), space for it (`slot`).

use std::task::Poll;

use futures::StreamExt;
use futures::poll;
use futures::stream::FuturesUnordered;

use super::active::{ActiveWriter, Moved};
use super::slot::Slot;
use crate::disk::{Buffers, Disk, File, PAGE, TRANSFER_BYTES_MAX, write_all};
use crate::error::Refused;
use crate::format::{CHUNK, crc32c_extend};
use crate::mutant::{self, Mutant};

/// Writes in flight at most.
const WRITES_IN_FLIGHT: usize = 8;

/// New bytes for one raw file.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Addition<'a> {
    pub(crate) bytes: &'a [u8],
    /// For offsets: what to add to each, the length of the data before.
    pub(crate) base: Option<u64>,
}

impl Addition<'_> {
    /// Copies from byte `at` of the addition on. Offsets come whole: pages and values are multiples of 8.
    pub(crate) fn copy(&self, at: usize, to: &mut [u8]) {
        let from = &self.bytes[at..at + to.len()];
        let Some(base) = self.base else {
            return to.copy_from_slice(from);
        };
        for (to, from) in to.as_chunks_mut::<8>().0.iter_mut().zip(from.as_chunks::<8>().0) {
            *to = (u64::from_le_bytes(*from) + base).to_le_bytes();
        }
    }
}

/// What becomes of bytes that do not fill a page.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum LastPage {
    /// They stay in the tail.
    Keep,
    /// They are written, padded with zeros: the segment is finished.
    Pad,
}

/// Where D of each file will be.
pub(crate) fn ends(active: &ActiveWriter, additions: &[Addition<'_>], last: LastPage) -> Vec<u64> {
    let page = PAGE as u64;
    let end = |file: usize| {
        let len = active.files[file].len() + additions.get(file).map_or(0, |new| new.bytes.len() as u64);
        match last {
            LastPage::Keep => (len / page * page).max(active.files[file].end),
            LastPage::Pad => len.next_multiple_of(page),
        }
    };
    (0..active.files.len()).map(end).collect()
}

/// Writes each file's pages from D to its entry of `ends`, and syncs each file written.
///
/// 1. Write the pages, several at a time.
/// 2. Sync each file written, when all of its own writes have completed: a sync covers no others, and no others
///    need it. Wait for all.
pub(crate) async fn flush<D: Disk>(
    disk: &D,
    active: &ActiveWriter,
    slot: &Slot<D>,
    additions: &[Addition<'_>],
    ends: &[u64],
    buffers: &mut Buffers<D::File>,
) -> Result<Vec<Moved>, Refused> {
    let mut sweeps: Vec<Sweep> = (0..ends.len()).map(|file| Sweep::new(active, file)).collect();
    let reach = match mutant::is(Mutant::RewritesPages) {
        true => self::ends(active, additions, LastPage::Pad),
        false => ends.to_vec(),
    };
    let mut pieces = pieces(active, &reach);
    let mut unwritten: Vec<u64> =
        active.files.iter().zip(&reach).map(|(state, end)| end - state.end).collect();
    let (mut in_flight, mut writes_in_flight) = (FuturesUnordered::new(), 0);
    let mut refused = None;
    loop {
        let piece = match refused.is_none() && writes_in_flight < WRITES_IN_FLIGHT {
            true => pieces.next(),
            false => None,
        };
        let landed = match piece {
            Some(piece) => {
                let mut buffer = buffers.take(&slot.files[piece.file].file, piece.len);
                fill(active, additions, piece, &mut buffer);
                sweeps[piece.file].take(&buffer[..piece.below(ends[piece.file])], piece.file == 0);
                in_flight.push(perform(disk, slot, Operation::Write(piece, buffer))); // 1
                writes_in_flight += 1;
                match begin(disk, &mut in_flight).await {
                    Poll::Ready(landed) => landed,
                    Poll::Pending => continue,
                }
            }
            None if mutant::is(Mutant::DataNotAwaited) && !additions.is_empty() => break,
            None => in_flight.next().await,
        };
        match landed {
            Some(Ok(Some((piece, buffer)))) => {
                buffers.give(buffer);
                writes_in_flight -= 1;
                unwritten[piece.file] -= piece.len as u64;
                if unwritten[piece.file] == 0 && refused.is_none() && !unsynced(piece.file, additions) {
                    in_flight.push(perform(disk, slot, Operation::Sync(piece.file))); // 2
                }
            }
            Some(Ok(None)) => {}
            Some(Err(error)) => {
                refused = Some(match refused {
                    Some(first) => Refused::worse(first, error),
                    None => error,
                });
            }
            None => break,
        }
    }
    match refused {
        Some(error) => Err(error),
        None => Ok(sweeps.into_iter().map(Sweep::end).collect()),
    }
}

/// Lets what was pushed begin: the device writes while the next buffer is filled. Something may have landed by now.
async fn begin<D: Disk, F: Future>(disk: &D, in_flight: &mut FuturesUnordered<F>) -> Poll<Option<F::Output>> {
    let landed = poll!(in_flight.next());
    if landed.is_pending() {
        disk.submit().await;
    }
    landed
}

/// The shortcuts of step 2.
fn unsynced(file: usize, additions: &[Addition<'_>]) -> bool {
    let all = if additions.is_empty() { Mutant::NoCheckpointSync } else { Mutant::NoDataSync };
    mutant::is(all) || (file > 0 && mutant::is(Mutant::SyncsOneFile))
}

/// What a flush does to one file.
enum Operation<B> {
    Write(Piece, B),
    Sync(usize),
}

/// Returns what was written, and the buffer.
async fn perform<D: Disk>(
    disk: &D,
    slot: &Slot<D>,
    operation: Operation<<D::File as File>::Buffer>,
) -> Result<Option<(Piece, <D::File as File>::Buffer)>, Refused> {
    match operation {
        Operation::Write(piece, buffer) => {
            let to = &slot.files[piece.file];
            let written = write_all(&to.file, piece.offset, buffer).await;
            let buffer = written.map_err(|error| Refused::new("write", &to.path, error))?;
            Ok(Some((piece, buffer)))
        }
        Operation::Sync(file) => {
            let of = &slot.files[file];
            let mut synced = disk.sync_files(&[&of.file]).await;
            if synced.is_err() && mutant::is(Mutant::SyncRetried) {
                synced = disk.sync_files(&[&of.file]).await;
            }
            synced.map_err(|error| Refused::sync(&of.path, error))?;
            Ok(None)
        }
    }
}

/// One write.
#[derive(Clone, Copy, Debug)]
struct Piece {
    file: usize,
    offset: u64,
    len: usize,
}

impl Piece {
    /// How many of its bytes lie below `end`.
    fn below(&self, end: u64) -> usize {
        usize::try_from(end.saturating_sub(self.offset)).unwrap_or(usize::MAX).min(self.len)
    }
}

fn pieces(active: &ActiveWriter, ends: &[u64]) -> impl Iterator<Item = Piece> {
    let ranges: Vec<(u64, u64)> =
        active.files.iter().zip(ends).map(|(state, end)| (state.end, *end)).collect();
    ranges.into_iter().enumerate().flat_map(|(file, (start, end))| {
        let step = TRANSFER_BYTES_MAX as u64;
        (start..end).step_by(TRANSFER_BYTES_MAX).map(move |offset| {
            let len = usize::try_from((end - offset).min(step)).unwrap_or(TRANSFER_BYTES_MAX);
            Piece { file, offset, len }
        })
    })
}

/// Tail, then new bytes, then padding.
fn fill(active: &ActiveWriter, additions: &[Addition<'_>], piece: Piece, buffer: &mut [u8]) {
    let len = active.files[piece.file].len();
    let of_tail = usize::try_from(len.saturating_sub(piece.offset)).unwrap_or(usize::MAX).min(buffer.len());
    let (tail, rest) = buffer.split_at_mut(of_tail);
    active.copy_tail(piece.file, piece.offset, tail);
    let addition = additions.get(piece.file).copied().unwrap_or_default();
    // A piece that ends within the tail has no room for new bytes.
    let at = usize::try_from((piece.offset + of_tail as u64).saturating_sub(len)).unwrap_or(usize::MAX);
    let of_new = addition.bytes.len().saturating_sub(at).min(rest.len());
    let (new, padding) = rest.split_at_mut(of_new);
    if !new.is_empty() {
        addition.copy(at, new);
    }
    padding.fill(0);
}

/// Sums and first keys of the chunks that a file's writes go through, front to back.
struct Sweep {
    at: u64,
    sum: u32,
    moved: Moved,
}

impl Sweep {
    fn new(active: &ActiveWriter, file: usize) -> Self {
        let at = active.files[file].end;
        let first_chunk = u32::try_from(at / CHUNK).unwrap_or(u32::MAX);
        let inside = !at.is_multiple_of(CHUNK);
        let known = active.shared.first_keys.get(first_chunk as usize).filter(|_| inside && file == 0);
        Self {
            at,
            sum: if inside { active.files[file].last_sum } else { 0 },
            moved: Moved {
                end: at,
                first_chunk,
                sums: Vec::new(),
                first_keys: known.into_iter().copied().collect(),
            },
        }
    }

    fn take(&mut self, mut bytes: &[u8], keys: bool) {
        while !bytes.is_empty() {
            if let Some(key) = bytes.first_chunk().filter(|_| keys && self.at.is_multiple_of(CHUNK)) {
                self.moved.first_keys.push(u64::from_le_bytes(*key));
            }
            let room = usize::try_from(CHUNK - self.at % CHUNK).unwrap_or(usize::MAX);
            let (now, later) = bytes.split_at(bytes.len().min(room));
            self.sum = crc32c_extend(self.sum, now);
            self.at += now.len() as u64;
            if self.at.is_multiple_of(CHUNK) {
                self.moved.sums.push(self.sum);
                self.sum = 0;
            }
            bytes = later;
        }
    }

    fn end(mut self) -> Moved {
        if self.at == self.moved.end {
            return Moved { end: self.at, ..Moved::default() };
        }
        if !self.at.is_multiple_of(CHUNK) {
            self.moved.sums.push(self.sum);
        }
        self.moved.end = self.at;
        self.moved
    }
}
