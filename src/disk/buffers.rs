//! Buffers that were written from, kept for the next write of the same length.
//!
//! A writer's batches have few lengths: reusing their buffers saves the page faults and the zeroing that new
//! ones cost. What a buffer held before is still in it; whoever takes one fills all of it.
//!
//! Not here: how a buffer is made (each disk).

use std::collections::BTreeMap;

use super::File;

/// Bytes that are kept at most.
const KEPT_BYTES_MAX: usize = 16 << 20;

/// Buffers of a disk's files.
pub(crate) struct Buffers<F: File> {
    by_len: BTreeMap<usize, Vec<F::Buffer>>,
    bytes: usize,
}

impl<F: File> Default for Buffers<F> {
    fn default() -> Self {
        Self { by_len: BTreeMap::new(), bytes: 0 }
    }
}

impl<F: File> Buffers<F> {
    /// A buffer of `len` bytes, whole pages, with anything in it.
    pub(crate) fn take(&mut self, file: &F, len: usize) -> F::Buffer {
        match self.by_len.get_mut(&len).and_then(Vec::pop) {
            Some(buffer) => {
                self.bytes -= len;
                buffer
            }
            None => file.buffer(len),
        }
    }

    /// Keeps a buffer, unless enough are kept.
    pub(crate) fn give(&mut self, buffer: F::Buffer) {
        let len = buffer.len();
        if self.bytes + len > KEPT_BYTES_MAX {
            // Lengths that are no longer asked for must not keep out those that are.
            self.by_len.clear();
            self.bytes = 0;
        }
        if len <= KEPT_BYTES_MAX {
            self.bytes += len;
            self.by_len.entry(len).or_default().push(buffer);
        }
    }
}
