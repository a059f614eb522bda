//! The bytes of a raw file that do not fill a page yet, readable from any core without a lock.
//!
//! A chain of slabs, each of which only ever gains bytes. They are atomic words: the writer may fill the rest of
//! a word whose first bytes others read, and no `unsafe` is needed. What a reader may look at is bounded by the
//! committed row count, which is published after the bytes.
//!
//! Invariants: one writer ([`TailWriter`]); of two slabs that hold a byte, the later one counts; a slab is
//! linked only when it holds all that earlier snapshots could seek in it.
//!
//! Not here: which bytes lie in the file instead (`active`).

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};

/// Bytes in the first slab of a tail; each next one is twice as large, up to `SLAB_BYTES_MAX`.
const SLAB_BYTES_MIN: usize = 4 << 10;
const SLAB_BYTES_MAX: usize = 256 << 10;
const WORD: usize = 8;

/// A piece of a tail.
#[derive(Debug)]
pub(crate) struct Slab {
    /// The offset in the raw file of its first byte: whole words.
    start: u64,
    words: Box<[AtomicU64]>,
    next: OnceLock<Arc<Slab>>,
}

impl Slab {
    fn new(start: u64, bytes: usize) -> Arc<Self> {
        let words = (0..bytes.div_ceil(WORD)).map(|_| AtomicU64::new(0)).collect();
        Arc::new(Self { start, words, next: OnceLock::new() })
    }

    fn bytes(&self) -> usize {
        self.words.len() * WORD
    }

    fn end(&self) -> u64 {
        self.start + self.bytes() as u64
    }

    /// The place of a byte that is in this slab, or would be.
    fn place(&self, at: u64) -> usize {
        usize::try_from(at - self.start).unwrap_or(usize::MAX)
    }

    /// Only by the one writer, only behind what it wrote before.
    fn write(&self, at: u64, mut bytes: &[u8]) {
        let mut place = self.place(at);
        while !bytes.is_empty() {
            let (word, shift) = (&self.words[place / WORD], place % WORD);
            let count = bytes.len().min(WORD - shift);
            let mut value = word.load(Ordering::Relaxed).to_le_bytes();
            value[shift..shift + count].copy_from_slice(&bytes[..count]);
            word.store(u64::from_le_bytes(value), Ordering::Relaxed);
            place += count;
            bytes = &bytes[count..];
        }
    }

    fn read(&self, at: u64, bytes: &mut [u8]) {
        let mut place = self.place(at);
        let mut rest = bytes;
        while !rest.is_empty() {
            let (word, shift) = (&self.words[place / WORD], place % WORD);
            let count = rest.len().min(WORD - shift);
            let value = word.load(Ordering::Relaxed).to_le_bytes();
            rest[..count].copy_from_slice(&value[shift..shift + count]);
            place += count;
            rest = &mut rest[count..];
        }
    }

    /// The last slab from this one on that begins at or before `at`.
    pub(crate) fn holding(self: &Arc<Self>, at: u64) -> Arc<Self> {
        let mut slab = self;
        while let Some(next) = slab.next.get().filter(|next| next.start <= at) {
            slab = next;
        }
        Arc::clone(slab)
    }

    /// Copies bytes of the tail that begins with this slab, from `at` on. All of them have been committed.
    pub(crate) fn copy(self: &Arc<Self>, mut at: u64, mut bytes: &mut [u8]) {
        let mut slab = self.holding(at);
        while !bytes.is_empty() {
            let next = slab.next.get();
            let end = next.map_or(slab.end(), |next| next.start.min(slab.end()));
            let count = bytes.len().min(usize::try_from(end.saturating_sub(at)).unwrap_or(usize::MAX));
            assert!(count > 0, "a tail holds every committed byte from D on: byte {at} is missing");
            let (head, rest) = bytes.split_at_mut(count);
            slab.read(at, head);
            (at, bytes) = (at + count as u64, rest);
            slab = slab.holding(at);
        }
    }
}

/// A chain may be long when a reader has held its beginning: without this its end would recurse.
impl Drop for Slab {
    fn drop(&mut self) {
        let mut next = self.next.take();
        while let Some(slab) = next {
            next = Arc::into_inner(slab).and_then(|mut slab| slab.next.take());
        }
    }
}

/// The writer's end of a tail.
#[derive(Debug)]
pub(crate) struct TailWriter {
    last: Arc<Slab>,
    /// L: where the next byte goes.
    len: u64,
    slab_bytes: usize,
}

impl TailWriter {
    /// An empty tail at `start`, whole pages; its first slab too, where readers begin.
    pub(crate) fn new(start: u64) -> (Self, Arc<Slab>) {
        let last = Slab::new(start, 0);
        (Self { last: Arc::clone(&last), len: start, slab_bytes: SLAB_BYTES_MIN }, last)
    }

    pub(crate) fn len(&self) -> u64 {
        self.len
    }

    /// Adds bytes at the end.
    pub(crate) fn append(&mut self, mut bytes: &[u8]) {
        while !bytes.is_empty() {
            let room = usize::try_from(self.last.end() - self.len).unwrap_or(usize::MAX);
            if room == 0 {
                let slab = Slab::new(self.len, self.slab_bytes);
                self.slab_bytes = (self.slab_bytes * 2).min(SLAB_BYTES_MAX);
                self.link(slab);
                continue;
            }
            let (now, later) = bytes.split_at(bytes.len().min(room));
            self.last.write(self.len, now);
            self.len += now.len() as u64;
            bytes = later;
        }
    }

    /// Goes on with these bytes at `start`, whole pages: what stood there before is in the file or among them.
    pub(crate) fn restart(&mut self, start: u64, bytes: &[u8]) {
        let slab = Slab::new(start, bytes.len().next_multiple_of(SLAB_BYTES_MIN));
        slab.write(start, bytes);
        self.link(slab);
        self.len = start + bytes.len() as u64;
    }

    fn link(&mut self, slab: Arc<Slab>) {
        let linked = self.last.next.set(Arc::clone(&slab));
        assert!(linked.is_ok(), "a tail has one writer, and each slab one successor");
        self.last = slab;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(head: &Arc<Slab>, at: u64, len: usize) -> Vec<u8> {
        let mut bytes = vec![0; len];
        head.copy(at, &mut bytes);
        bytes
    }

    #[test]
    fn bytes_come_back_over_slabs_of_any_size() {
        let (mut tail, head) = TailWriter::new(8192);
        let all: Vec<u8> = (0..100_000_u32).map(|i| (i % 251) as u8).collect();
        let mut sizes = [1, 7, 8, 9, 4095, 4096, 1, 60_000].iter().cycle();
        let mut at = 0;
        while at < all.len() {
            let end = all.len().min(at + sizes.next().unwrap());
            tail.append(&all[at..end]);
            at = end;
        }
        assert_eq!(tail.len(), 8192 + 100_000);
        assert_eq!(read(&head, 8192, all.len()), all);
        assert_eq!(read(&head, 8192 + 4090, 20), all[4090..4110]);
        assert_eq!(read(&head.holding(8192 + 50_000), 8192 + 50_001, 3), all[50_001..50_004]);
    }

    #[test]
    fn an_old_view_stays_readable_behind_a_restart() {
        let (mut tail, head) = TailWriter::new(0);
        tail.append(&[1; 5000]);
        // A large commit moved D to 4096: 904 old bytes and 10 new ones stay.
        let inline: Vec<u8> = [vec![1; 904], vec![2; 10]].concat();
        tail.restart(4096, &inline);
        assert_eq!(read(&head, 0, 5000), [1; 5000]);
        assert_eq!(read(&head.holding(4096), 4096, 914), inline);
        tail.append(&[3; 9000]);
        assert_eq!(read(&head, 5010, 9000), [3; 9000]);
    }

    #[test]
    fn a_long_chain_ends_without_recursion() {
        let (mut tail, head) = TailWriter::new(0);
        for page in 0..200_000 {
            tail.restart(page * 4096, &[]);
        }
        drop(tail);
        drop(head);
    }
}
