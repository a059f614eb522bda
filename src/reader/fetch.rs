//! Bytes of raw files, wherever they are: in a tail, in the cache, on the disk.
//!
//! Everything that is wanted goes together: what lies in the same or in adjacent chunks is one read, and the reads
//! are in flight at the same time, up to the limit.
//!
//! Not here: what the bytes mean (`decode`), reading ahead (`scan`).

use std::collections::BTreeMap;
use std::ops::Range;
use std::sync::Arc;

use futures::StreamExt;
use futures::future::try_join_all;
use futures::stream::FuturesUnordered;

use super::holdings::{Fetch, HANDLES_MAX, Holdings, Key};
use crate::disk::{Disk, TRANSFER_BYTES_MAX};
use crate::error::Result;
use crate::format::CHUNK;
use crate::segment::read::{Damage, Loaded, RUN_CHUNKS_MAX, Run, View};

/// Bytes of one raw file.
#[derive(Clone, Debug)]
pub(crate) struct Want {
    pub(crate) segment: Arc<Loaded>,
    pub(crate) file: usize,
    pub(crate) range: Range<u64>,
}

/// What is wanted of one file and not here yet.
struct Errand {
    segment: Arc<Loaded>,
    file: usize,
    view: View,
    /// By chunk: who wants some of its bytes, by position in the answer.
    missing: BTreeMap<u64, Vec<usize>>,
}

impl<D: Disk> Holdings<D> {
    /// The bytes of each want, verified, in one round of reads.
    pub(crate) async fn fetch(&self, wants: &[Want]) -> Result<Vec<Vec<u8>>> {
        self.fetch_within(self.shared.options.reads_in_flight, wants).await
    }

    /// The same with so many reads in flight, at least 1.
    pub(crate) async fn fetch_within(&self, reads_max: usize, wants: &[Want]) -> Result<Vec<Vec<u8>>> {
        let mut answer = Vec::with_capacity(wants.len());
        let mut errands: BTreeMap<(u64, usize), Errand> = BTreeMap::new();
        for (position, want) in wants.iter().enumerate() {
            let place = (want.segment.segment.number(), want.file);
            let errand = errands.entry(place).or_insert_with(|| Errand {
                segment: Arc::clone(&want.segment),
                file: want.file,
                view: want.segment.view(want.file),
                missing: BTreeMap::new(),
            });
            answer.push(self.begin(want, position, errand)?);
        }
        let errands: Vec<Errand> =
            errands.into_values().filter(|errand| !errand.missing.is_empty()).collect();
        // Never more files at a time than may be open.
        for errands in errands.chunks(HANDLES_MAX / 2) {
            self.run(errands, reads_max.max(1), wants, &mut answer).await?;
        }
        Ok(answer)
    }

    /// What is in memory; the rest is noted as missing.
    fn begin(&self, want: &Want, position: usize, errand: &mut Errand) -> Result<Vec<u8>> {
        let Want { segment, file, range } = want;
        let view = &errand.view;
        if range.end > view.len || range.start > range.end {
            let what = format!("bytes {} to {} are named, there are {}", range.start, range.end, view.len);
            let damage = Damage::new(*file, view.len, what);
            return Err(segment.segment.damaged(&self.shared.dir, &self.shared.schema, damage));
        }
        // `view.len` is no more than there is in files and tails: their lengths were checked.
        let mut bytes = vec![0; usize::try_from(range.end - range.start).unwrap_or(usize::MAX)];
        let split = range.end.min(view.end).max(range.start);
        let (in_file, in_tail) =
            bytes.split_at_mut(usize::try_from(split - range.start).unwrap_or(usize::MAX));
        if !in_tail.is_empty() {
            view.copy_tail(split, in_tail);
        }
        if in_file.is_empty() {
            return Ok(bytes);
        }
        for chunk in range.start / CHUNK..split.div_ceil(CHUNK) {
            let start = chunk * CHUNK;
            let needed = usize::try_from((split - start).min(CHUNK)).unwrap_or(usize::MAX);
            let key = Key::Chunk { segment: segment.segment.number(), file: *file, chunk };
            match self.chunk(key, needed) {
                Some(kept) => copy(start, &kept, range.start, in_file),
                None => errand.missing.entry(chunk).or_default().push(position),
            }
        }
        Ok(bytes)
    }

    /// Reads what is missing of these files.
    async fn run(
        &self,
        errands: &[Errand],
        reads_max: usize,
        wants: &[Want],
        answer: &mut [Vec<u8>],
    ) -> Result<()> {
        let opening = errands.iter().map(|errand| self.handle(&errand.segment.segment, errand.file));
        let handles = try_join_all(opening).await?;
        let mut runs =
            errands.iter().enumerate().flat_map(|(errand, of)| runs(of).map(move |run| (errand, run)));
        let mut in_flight = FuturesUnordered::new();
        loop {
            while in_flight.len() < reads_max
                && let Some((errand, run)) = runs.next()
            {
                in_flight.push(Fetch::new(Arc::clone(&handles[errand]), run, errand));
            }
            let Some(fetched) = in_flight.next().await else { return Ok(()) };
            let (run, bytes, errand) = (fetched.run, fetched.bytes?, &errands[fetched.whose]);
            for (chunk, of) in errand.missing.range(run.offset / CHUNK..run.end().div_ceil(CHUNK)) {
                let start = usize::try_from(chunk * CHUNK - run.offset).unwrap_or(usize::MAX);
                let chunk_bytes = &bytes[start..];
                for want in of {
                    // The part of the want that is in this chunk, and below D: the rest is there already.
                    let len = chunk_bytes.len().min(crate::segment::read::CHUNK_BYTES);
                    copy(chunk * CHUNK, &chunk_bytes[..len], wants[*want].range.start, &mut answer[*want]);
                }
            }
            // Who reads that much at a time will not soon come back for it.
            if run.len < TRANSFER_BYTES_MAX {
                self.keep(errand.segment.segment.number(), errand.file, &run, &bytes);
            }
        }
    }
}

/// The missing chunks, adjacent ones together.
fn runs(errand: &Errand) -> impl Iterator<Item = Run> {
    let mut chunks = errand.missing.keys().copied().peekable();
    std::iter::from_fn(move || {
        let first = chunks.next()?;
        let mut end = first + 1;
        while end - first < RUN_CHUNKS_MAX && chunks.next_if_eq(&end).is_some() {
            end += 1;
        }
        Some(errand.view.run(first * CHUNK..end * CHUNK, RUN_CHUNKS_MAX))
    })
}

/// Copies what two pieces of a file have in common.
fn copy(from_start: u64, from: &[u8], to_start: u64, to: &mut [u8]) {
    let start = from_start.max(to_start);
    let end = (from_start + from.len() as u64).min(to_start + to.len() as u64);
    if start >= end {
        return;
    }
    let place = |at: u64, base: u64| usize::try_from(at - base).unwrap_or(usize::MAX);
    let from = &from[place(start, from_start)..place(end, from_start)];
    to[place(start, to_start)..place(end, to_start)].copy_from_slice(from);
}
