//! Sealing: a finished raw segment becomes one immutable, compressed file, which the writer then publishes; compacting
//! makes one such file of older ones.
//!
//! On any core, beside the writer: nothing that a manifest names is touched. The raw files are read front to back and
//! verified, each stream's blocks written one behind the other, then the index; all of it is made durable, its name
//! too, and read back. Only then the writer is told. Dropping the future at any moment, or an error, leaves a file
//! that no manifest names; the next seal of that segment unlinks it, so that writes to it that are still on their way
//! reach nothing that counts.
//!
//! Work between two waits is bounded ([`WORK_BYTES`], or a block); so is memory, but for the index.
//! Not here: whose turn it is (`sealing`), publishing (`core`), reading sealed segments (`reader`).

use std::io;
use std::ops::Range;
use std::path::Path;
use std::sync::Arc;

use super::sealing::Turn;
use super::shared::Shared;
use crate::codec::Tier;
use crate::disk::{Disk, Mode};
use crate::error::{Error, Refused, Result};
use crate::format::block::BlockPlace;
use crate::format::crc32c;
use crate::format::entries::{Entry, encode_entries};
use crate::format::manifest::Sealed;
use crate::format::segment::{Directory, Group, Home, Shape, Stream, groups as segment_groups};
use crate::mutant::{self, Mutant};
use crate::schema::{RawFile, Role, Schema};
use crate::segment;
use crate::statistics::{FloatSum, GROUP_BITS, GROUP_ROWS, LANES};
use blocks::{Raws, Target};
use older::Older;
use origin::Origin;
use output::{Output, Write, Written};

mod ahead;
mod blocks;
mod bytes;
pub(crate) mod compact;
mod older;
mod origin;
mod output;
mod source;
pub(crate) mod staging;
#[cfg(test)]
mod tests;

/// What [`Store::maintain`](crate::Store::maintain) is to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Maintain {
    /// Turn the oldest finished segment into a sealed one: compressed, indexed.
    Seal,
    /// Rewrite sealed segments: small ones that follow each other as one, of up to
    /// [`Options::compact_rows`](crate::Options::compact_rows), so that each row is rewritten no more often than segments
    /// double; and, where `Dense` is asked for, those that are not. What is dense stays so. Between two waits a block is
    /// encoded, densely some 10 ms, one of text up to 0.2 s: on the writer's own core a commit may wait so long, on
    /// another one it does not.
    Compact(Tier),
}

/// What [`Store::maintain`](crate::Store::maintain) did.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Maintained {
    /// Nothing was to be done, or not now: every finished segment is sealed, another call is at work, or what was
    /// sealed last waits for the writer to publish it.
    Nothing,
    /// No segment is finished, but rows of the one that is being written are encoded now, from memory: sealing it will
    /// read and encode less.
    #[non_exhaustive]
    Encoded {
        /// Its number.
        segment: u64,
        /// Row numbers; where there are many columns, of some of these.
        rows: Range<u64>,
        /// Bytes of those values before.
        bytes: u64,
    },
    /// A segment was sealed. The writer publishes it with the next commit (that is not only buffered), sync, checkpoint
    /// or close; one that has begun to close already leaves it, to be sealed again later.
    #[non_exhaustive]
    Sealed {
        /// Its number.
        segment: u64,
        /// How many rows it has.
        rows: u64,
        /// Bytes of its raw files.
        bytes_before: u64,
        /// Bytes of its sealed file.
        bytes_after: u64,
    },
    /// Sealed segments were rewritten as one, which the writer publishes like a sealed one. The old files go when no
    /// snapshot holds them: with a checkpoint or roll behind that, or the first one after reopening.
    #[non_exhaustive]
    Compacted {
        /// How many there were.
        segments: u64,
        /// Number of the new one.
        segment: u64,
        /// How many rows it has.
        rows: u64,
        /// Bytes of the old files.
        bytes_before: u64,
        /// Bytes of the new file.
        bytes_after: u64,
    },
}

/// Seals the oldest finished segment, if there is one and nobody else does; else works ahead.
pub(crate) async fn seal<D: Disk>(shared: &Shared<D>) -> Result<Maintained> {
    shared.staging.ask();
    let Some(turn) = shared.sealing.turn()? else { return Ok(Maintained::Nothing) };
    // Behind the turn: whoever had it before has published.
    let version = shared.version();
    let Some(finished) = version.finished.first() else {
        return ahead::encode(shared, &turn, &version.active).await;
    };
    let segment = source::load(shared, finished).await?;
    let making = Making {
        shared,
        turn: &turn,
        number: finished.number,
        rows: finished.first_row..finished.first_row + finished.rows,
        keys: (finished.first_key, finished.last_key),
        before: version.sealed.last(),
        origin: Origin::Raw { segment, staged: shared.staging.take(finished.number) },
        tier: Tier::Fast,
    };
    let Some(sealed) = making.make().await? else { return Ok(Maintained::Nothing) };
    turn.check()?;
    let did = Maintained::Sealed {
        segment: sealed.number,
        rows: sealed.rows,
        bytes_before: finished.lengths.iter().sum(),
        bytes_after: sealed.bytes,
    };
    turn.hand_over(sealed);
    Ok(did)
}

/// Raw bytes that are encoded in the fast tier between two waits, at 8 bytes a value, and those of one more block: less than
/// a millisecond, and no wait for each block, which takes a sixth of the time that encoding it does. In the dense tier it
/// is a block.
const WORK_BYTES: u64 = 512 << 10;

/// How often a name is removed that is there again.
const ATTEMPTS: usize = 3;

/// Makes the segment's file, which holds nothing. None while an earlier call's removal of that name may still come
/// to pass: it would take the new file's name.
async fn create<D: Disk>(
    shared: &Shared<D>,
    turn: &Turn<'_, D::Lock>,
    number: u64,
    path: &Path,
) -> Result<Option<D::File>> {
    let Shared { disk, dir, .. } = shared;
    if turn.is_removing(number) && !mutant::is(Mutant::RemovalForgotten) {
        let names = disk.list(dir).await.map_err(|error| Error::io("list", dir, error))?;
        if names.iter().any(|name| dir.join(name) == path) {
            return Ok(None);
        }
        turn.end_removing(number);
    }
    for _ in 0..ATTEMPTS {
        let over = mutant::is(Mutant::SegmentWrittenOver);
        let mode = if over { Mode::Create(&turn.lock) } else { Mode::CreateNew(&turn.lock) };
        match disk.open(path, mode).await {
            Ok(file) => return Ok(Some(file)),
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
                remove(shared, turn, number, path).await?;
            }
            Err(error) => return Err(Refused::new("make", path, error).before_writing()),
        }
    }
    Err(Error::io("make", path, io::ErrorKind::AlreadyExists.into()))
}

/// Removes a file that no manifest names. If this is dropped, the name may go at any later moment.
async fn remove<D: Disk>(
    shared: &Shared<D>,
    turn: &Turn<'_, D::Lock>,
    number: u64,
    path: &Path,
) -> Result<()> {
    turn.begin_removing(number);
    let removed = shared.disk.remove(path).await;
    turn.end_removing(number);
    match removed {
        Err(error) if error.kind() != io::ErrorKind::NotFound => {
            Err(Error::io("remove the leftover", path, error))
        }
        _ => Ok(()),
    }
}

/// A sealed segment that is being made.
struct Making<'a, D: Disk> {
    shared: &'a Shared<D>,
    turn: &'a Turn<'a, D::Lock>,
    number: u64,
    rows: Range<u64>,
    /// The first and the last one, as the manifest has them.
    keys: (u64, u64),
    /// The sealed segment whose rows come before.
    before: Option<&'a Arc<Sealed>>,
    origin: Origin,
    tier: Tier,
}

/// What the index will say.
struct Index {
    streams: Vec<Stream>,
    /// Bytes of all entries.
    entries: Vec<u8>,
    groups: Vec<Group>,
}

impl<D: Disk> Making<'_, D> {
    /// The file, durable under its name and read back. None while its name may still go.
    async fn make(&self) -> Result<Option<Sealed>> {
        let path = segment::path(&self.shared.dir, self.number);
        let Some(file) = create(self.shared, self.turn, self.number, &path).await? else { return Ok(None) };
        match self.fill(&path, file).await {
            Err(full @ Error::Full { .. }) => {
                // What was written is in the way of others. Where its name stays, the next call removes it.
                let _ = remove(self.shared, self.turn, self.number, &path).await;
                Err(full)
            }
            made => made.map(Some),
        }
    }

    /// Fills the file, makes it durable under its name, and reads it back.
    async fn fill(&self, path: &Path, file: D::File) -> Result<Sealed> {
        let made = self.write(path, file).await?;
        let Shared { disk, dir, .. } = self.shared;
        if !mutant::is(Mutant::NoSegmentNameSync) {
            disk.sync_dir(dir).await.map_err(|error| Error::io("sync", dir, error))?;
        }
        let (written, directory) = made;
        self.verify(path, &written, directory).await
    }

    /// The whole file, durable.
    async fn write(&self, path: &Path, file: D::File) -> Result<(Written, Directory)> {
        let mut output = output::output(path.to_path_buf(), file);
        let mut index = Index { streams: Vec::new(), entries: Vec::new(), groups: Vec::new() };
        for (number, raw) in self.shared.schema.files().iter().enumerate() {
            let shape = Shape::of(*raw, &self.shared.schema);
            if shape == Shape::None {
                index.streams.push(Stream::default());
                continue;
            }
            self.write_stream(number, shape, &mut output, &mut index).await?;
        }
        let directory = Directory { rows: self.rows.clone(), streams: index.streams, groups: index.groups };
        let ended = async {
            output.pad().await?;
            output.push(&index.entries).await?;
            output.pad().await?;
            output.push(&directory.encode(self.home())).await?;
            output.finish(&self.shared.disk).await
        };
        let written = ended.await.map_err(Refused::before_writing)?;
        Ok((written, directory))
    }

    /// Blocks of one file's values, row group by row group.
    async fn write_stream(
        &self,
        number: usize,
        shape: Shape,
        output: &mut Output<D::File, impl Write<D::File>>,
        index: &mut Index,
    ) -> Result<()> {
        let start = output.at();
        let (entries, lanes) = match shape {
            Shape::Bytes(_) => (self.write_bytes(number, output).await?, [0.0; LANES]),
            _ => self.write_values(number, shape, output, index).await?,
        };
        let entries = encode_entries(shape, &entries, lanes);
        index.streams.push(Stream { bytes: output.at() - start, sum: crc32c(&entries) });
        index.entries.extend(entries);
        Ok(())
    }

    /// Blocks of values of fixed width; their entries, and the lanes of the last row group's sum.
    async fn write_values(
        &self,
        number: usize,
        shape: Shape,
        output: &mut Output<D::File, impl Write<D::File>>,
        index: &mut Index,
    ) -> Result<(Vec<Entry>, [f64; LANES])> {
        let schema = &self.shared.schema;
        let mut values = self.origin.values(self.shared, number, number).await?;
        let mut nulls = match nulls_of(schema.files()[number], schema) {
            Some(file) => Some(self.origin.values(self.shared, file, number).await?),
            None => None,
        };
        let (mut sum, mut entries) = (self.sum_before(number, shape).await?, Vec::new());
        let (start, mut encoded_rows) = (output.at(), 0);
        for rows in groups(&self.rows) {
            self.turn.check()?;
            let place = BlockPlace { segment: self.number, offset: output.at() };
            let group = (self.rows.start + rows.start) >> GROUP_BITS;
            if let Some(block) = self.origin.staged().and_then(|staged| staged.block(number, group)) {
                let bytes = block.made.placed(place, &self.shared.id);
                output.push(&bytes).await.map_err(Refused::before_writing)?;
                entries.push(Entry { end: output.at() - start, ..block.made.entry });
                index.groups.extend(block.made.group);
                sum.resume(group, block.lanes);
                continue;
            }
            let nulls = match &mut nulls {
                Some(nulls) => Some(nulls.rows(rows.clone()).await?),
                None => None,
            };
            let row = self.rows.start + rows.start;
            let raws = Raws { bytes: values.rows(rows.clone()).await?, nulls, row };
            let target = Target { tier: self.tier, place, store: &self.shared.id };
            let made = blocks::make(shape, raws, target, &mut sum);
            let damaged =
                |row: usize, what| self.origin.damaged(self.shared, number, rows.start + row as u64, what);
            let made = made.map_err(|(row, what)| damaged(row, what))?;
            output.push(&made.bytes).await.map_err(Refused::before_writing)?;
            entries.push(Entry { end: output.at() - start, ..made.entry });
            index.groups.extend(made.group);
            encoded_rows += rows.end - rows.start;
            if encoded_rows * 8 >= WORK_BYTES || self.tier == Tier::Dense {
                encoded_rows = 0;
                self.shared.disk.submit().await;
            }
        }
        values.close().await;
        if let Some(nulls) = nulls {
            nulls.close().await;
        }
        Ok((entries, sum.lanes()))
    }

    /// What a stream's sum of floats goes on from: rows of the first row group may lie in the segment before.
    async fn sum_before(&self, number: usize, shape: Shape) -> Result<FloatSum> {
        let mut sum = FloatSum::default();
        let Some(before) = self.before else { return Ok(sum) };
        if !shape.is_float() || self.rows.start.is_multiple_of(GROUP_ROWS) {
            return Ok(sum);
        }
        let entries = Older::open(self.shared, before).await?.entries(self.shared, number).await?;
        sum.resume(self.rows.start >> GROUP_BITS, entries.lanes());
        Ok(sum)
    }

    /// Whether the disk holds the file, and its directory can be read.
    async fn verify(&self, path: &Path, written: &Written, directory: Directory) -> Result<Sealed> {
        let sheet = directory.encode(self.home());
        let file = source::open(&self.shared.disk, path).await?;
        let read = written.verify(&file, path, sheet.len(), || self.turn.check()).await?;
        source::close(file).await;
        let decoded = Directory::decode(&read, self.home(), written.bytes);
        let keys = (directory.groups.first(), directory.groups.last());
        let (Some(first), Some(last)) = keys else { unreachable!("a finished segment has rows") };
        let keys = (first.first_key, last.last_key);
        if decoded.map_err(|malformed| malformed.at(path))? != directory {
            return Err(Error::corrupt(path, 0, "its directory does not read as it was written"));
        }
        if keys != self.keys {
            let what = "the first and the last key are not those that are named";
            return Err(self.origin.damaged(self.shared, 0, 0, what));
        }
        Ok(Sealed {
            number: self.number,
            first_row: self.rows.start,
            rows: self.rows.end - self.rows.start,
            first_key: keys.0,
            last_key: keys.1,
            bytes: written.bytes,
            directory_sum: crc32c(&sheet),
            tier: self.tier,
        })
    }

    fn home(&self) -> Home<'_> {
        let Shared { id, schema, .. } = self.shared;
        Home { segment: self.number, store: id, schema }
    }
}

/// Rows of each row group, counted from the segment's first row.
fn groups(rows: &Range<u64>) -> impl Iterator<Item = Range<u64>> {
    let (first, end) = (rows.start, rows.end);
    segment_groups(rows).map(move |group| {
        let rows = (group << GROUP_BITS).max(first)..((group + 1) << GROUP_BITS).min(end);
        rows.start - first..rows.end - first
    })
}

/// The file that says which values of this one are null.
fn nulls_of(raw: RawFile, schema: &Schema) -> Option<usize> {
    let is_of = |file: &RawFile| file.role == Role::Nulls && file.column == raw.column;
    let holds_values = matches!(raw.role, Role::Fixed(_) | Role::Bytes);
    holds_values.then(|| schema.files().iter().position(is_of)).flatten()
}
