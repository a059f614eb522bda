//! The writer's state, and the steps of which commits, checkpoints and rolls are made.
//!
//! Steps that make room (`make_room`, `checkpoint`, `roll`) may fail with `Full` and have changed nothing then;
//! any other error from the first write on, and a future dropped behind it, poisons (`guard`): what is on disk is
//! known only after reopening. Memory (D, tails, sums, positions) moves only behind what makes it true on disk.
//!
//! Not here: the order of a commit's steps (`writer::Writer::commit`).

use std::borrow::Cow;
use std::path::Path;
use std::sync::atomic::{Ordering, fence};
use std::sync::{Arc, Weak};

use super::shared::{Shared, Version};
use super::{names, publish};
use crate::disk::{Buffers, Disk, File, Mode, write_all};
use crate::error::{Error, Refused, Result};
use crate::format::manifest::{self, Finished, Manifest, Sealed};
use crate::format::record::{self, FileChange, Form, Place, Rows};
use crate::format::sums::{Home, Sums};
use crate::format::{CHUNK, chunks, crc32c};
use crate::log::{Content, Log, Room};
use crate::mutant::{self, Mutant};
use crate::pending::Pending;
use crate::schema::Role;
use crate::segment;
use crate::segment::active::{Active, ActiveWriter, Moved};
use crate::segment::flush::{self, Addition, LastPage};
use crate::segment::slot::Slot;

/// A writer without its pending rows.
pub(crate) struct Core<D: Disk> {
    pub(crate) shared: Arc<Shared<D>>,
    /// Nobody else keeps it: with the last of it sealing ends.
    pub(crate) lock: Arc<D::Lock>,
    pub(crate) log: Log<D>,
    pub(crate) active: ActiveWriter,
    pub(crate) slot: Slot<D>,
    pub(crate) buffers: Buffers<D::File>,
    /// Of the newest manifest.
    pub(crate) generation: u64,
    /// Of this writer's life.
    pub(crate) epoch: u64,
    pub(crate) last_key: u64,
    /// Names that nothing needs any more, to be removed when a manifest is published.
    pub(crate) leftovers: Vec<String>,
    /// Who may still read what lies in slots.
    pub(crate) pins: Vec<Pin>,
    /// Sealed segments whose rows are in others now: their files go when nobody holds them.
    pub(crate) replaced: Vec<(u64, Weak<Sealed>)>,
    pub(crate) poison: Poison,
}

/// A finished segment in its slot. The version, snapshots and scans hold it, as the one that it is or as the active
/// one that it was; the slot is theirs until the last of them has gone.
#[derive(Debug)]
pub(crate) struct Pin {
    slot: u32,
    finished: Weak<Finished>,
    active: Weak<Active>,
}

impl Pin {
    pub(crate) fn new(finished: &Arc<Finished>, active: Weak<Active>) -> Self {
        Self { slot: finished.slot, finished: Arc::downgrade(finished), active }
    }

    fn holds(&self) -> bool {
        // None can be had of one that nobody has.
        let is_held = self.finished.strong_count() > 0 || self.active.strong_count() > 0;
        // Whatever the last holder did was before.
        fence(Ordering::Acquire);
        is_held
    }
}

/// Whether a writer may still write.
#[derive(Clone, Debug, Default)]
pub(crate) enum Poison {
    #[default]
    None,
    /// These steps have begun; if their future is dropped it stays at that.
    Begun(&'static str),
    /// By this error.
    Failed(Arc<str>),
}

impl Poison {
    /// The error of every later call.
    pub(crate) fn check(&self) -> Result<()> {
        let cause = match self {
            Poison::None => return Ok(()),
            Poison::Begun(what) => format!("{what} was dropped when it had begun").into(),
            Poison::Failed(cause) => Arc::clone(cause),
        };
        Err(Error::Poisoned { cause })
    }
}

/// How a commit will be made, once there is room for it.
#[derive(Debug)]
pub(crate) struct Plan {
    place: Place,
    form: Form,
    /// Where D of each file will be.
    ends: Vec<u64>,
}

impl Plan {
    /// Whether bytes go straight to the raw files.
    pub(crate) fn form(&self) -> Form {
        self.form
    }
}

impl<D: Disk> Core<D> {
    /// Runs steps that write. A poisoned writer writes nothing more; an error other than `Full`, and a future
    /// that is dropped before it is ready, poisons.
    pub(crate) async fn guard<T>(
        &mut self,
        what: &'static str,
        steps: impl AsyncFnOnce(&mut Self) -> Result<T>,
    ) -> Result<T> {
        self.poison.check()?;
        self.poison = Poison::Begun(what);
        let result = steps(self).await;
        self.poison = match &result {
            Ok(_) | Err(Error::Full { .. }) => Poison::None,
            Err(_) if mutant::is(Mutant::NoPoison) => Poison::None,
            Err(error) => Poison::Failed(error.to_string().into()),
        };
        result
    }

    /// Makes room for what is pending: a roll, a checkpoint, a place in the log, space in the raw files. All that
    /// the commit needs is computed behind that, from the state as it is then.
    pub(crate) async fn make_room(&mut self, pending: &Pending) -> Result<Plan> {
        let early = mutant::is(Mutant::LaidOutBeforeRoom).then(|| self.ends(pending, self.form(pending)));
        if self.must_roll(pending) {
            self.roll().await?;
        }
        if self.active.tail_bytes() + pending.unrecorded_bytes() > self.shared.options.memory_bytes {
            self.checkpoint().await?;
        }
        let form = self.form(pending);
        let place = match self.log.room(self.record_pages(pending, form)) {
            Room::At(place) => place,
            Room::AfterCheckpoint => {
                self.checkpoint().await?;
                match self.log.room(self.record_pages(pending, form)) {
                    Room::At(place) => place,
                    Room::AfterCheckpoint => {
                        unreachable!("the manifest's position is where the log stands now")
                    }
                }
            }
        };
        if mutant::is(Mutant::EntersEarly) {
            self.log.at.next = place;
        }
        let ends = early.unwrap_or_else(|| self.ends(pending, form));
        if form == Form::Large && !mutant::is(Mutant::NoSpaceBefore) {
            let grown = self.slot.grow(&ends, &self.shared.options).await;
            grown.map_err(Refused::before_writing)?;
        }
        Ok(Plan { place, form, ends })
    }

    /// Whether `make_room` would have nothing to do for a small commit.
    pub(crate) fn has_room(&self, pending: &Pending) -> bool {
        !self.must_roll(pending)
            && self.active.tail_bytes() + pending.unrecorded_bytes() <= self.shared.options.memory_bytes
            && self.form(pending) == Form::Small
            && matches!(self.log.room(self.record_pages(pending, Form::Small)), Room::At(_))
    }

    /// Whether what is pending begins another segment.
    pub(crate) fn must_roll(&self, pending: &Pending) -> bool {
        let options = &self.shared.options;
        self.active.rows > 0
            && (self.active.rows + pending.unrecorded_rows() > options.segment_rows
                || self.active.bytes() + pending.unrecorded_bytes() > options.segment_bytes)
    }

    fn form(&self, pending: &Pending) -> Form {
        let options = &self.shared.options;
        let half = self.log.pages / 2;
        if pending.unrecorded_bytes() <= options.inline_bytes
            && self.record_pages(pending, Form::Small) <= half
        {
            Form::Small
        } else {
            Form::Large
        }
    }

    fn ends(&self, pending: &Pending, form: Form) -> Vec<u64> {
        match form {
            Form::Small => self.active.files.iter().map(|file| file.end).collect(),
            Form::Large => flush::ends(&self.active, &self.additions(pending), LastPage::Keep),
        }
    }

    /// Pages that the record will take.
    pub(crate) fn record_pages(&self, pending: &Pending, form: Form) -> u32 {
        let note = pending.pending_note().map(<[u8]>::len);
        if pending.unrecorded_rows() == 0 {
            return record::pages(None, note);
        }
        let (mut sums, mut first_keys, mut inline) = (0, 0, 0);
        let ends = self.ends(pending, form);
        for (file, (state, end)) in self.active.files.iter().zip(&ends).enumerate() {
            let new = pending.files()[file].len();
            if form == Form::Small {
                inline += new;
                continue;
            }
            inline += usize::try_from(state.len() - end.min(&state.len())).unwrap_or(usize::MAX);
            inline += new - usize::try_from(end.saturating_sub(state.len())).unwrap_or(usize::MAX).min(new);
            if *end > state.end {
                let moved = usize::try_from(chunks(*end) - state.end / CHUNK).unwrap_or(usize::MAX);
                sums += moved;
                first_keys += if file == 0 { moved } else { 0 };
            }
        }
        record::pages(Some((ends.len(), sums, first_keys, inline)), note)
    }

    /// What is pending, for each raw file; offsets will count from where its data stands now.
    fn additions<'a>(&self, pending: &'a Pending) -> Vec<Addition<'a>> {
        let files = self.shared.schema.files().iter().zip(pending.files()).enumerate();
        let addition = |(file, (raw, bytes)): (usize, (&crate::schema::RawFile, &'a Vec<u8>))| {
            // A column's data stands right before its offsets.
            let base = (raw.role == Role::Offsets).then(|| self.active.files[file - 1].len());
            Addition { bytes, base }
        };
        files.map(addition).collect()
    }

    /// Shows readers what is pending: it goes behind the tails, where the record that is to come will put it.
    pub(crate) fn show(&mut self, pending: &Pending) {
        for (file, addition) in self.additions(pending).into_iter().enumerate() {
            let shown = self.active.files[file].shown();
            let mut bytes = vec![0; addition.bytes.len() - shown];
            addition.copy(shown, &mut bytes);
            self.active.show(file, &bytes);
        }
        self.shared.publish_rows(pending.next_row(), pending.pending_note());
    }

    /// Writes the whole pages of tail and pending bytes at D of every file, and syncs each file written.
    pub(crate) async fn write_pages(&mut self, pending: &Pending, plan: &Plan) -> Result<Vec<Moved>> {
        let additions = self.additions(pending);
        let Self { shared, active, slot, buffers, .. } = self;
        let flushed = flush::flush(&shared.disk, active, slot, &additions, &plan.ends, buffers).await;
        flushed.map_err(Refused::when_writing)
    }

    /// Writes the record: the commit point. Then memory follows.
    pub(crate) async fn write_record(
        &mut self,
        pending: &Pending,
        plan: &Plan,
        moved: Vec<Moved>,
    ) -> Result<()> {
        let inline = self.inline(pending, plan);
        let rows = (pending.unrecorded_rows() > 0).then(|| self.describe(pending, plan, moved, &inline));
        let content = Content {
            store: &self.shared.id,
            epoch: self.epoch,
            generation: self.generation,
            rows: rows.as_ref(),
            note: pending.pending_note(),
        };
        self.log.append(plan.place, content, &mut self.buffers).await?;
        if let Some(rows) = &rows {
            self.active.apply(rows);
            self.last_key = rows.last_key;
        }
        Ok(())
    }

    /// For each file, the bytes that ride in the record.
    fn inline<'a>(&self, pending: &'a Pending, plan: &Plan) -> Vec<Cow<'a, [u8]>> {
        let mut inline = Vec::with_capacity(plan.ends.len());
        for (file, addition) in self.additions(pending).into_iter().enumerate() {
            let (len, end) = (self.active.files[file].len(), plan.ends[file]);
            let from = if plan.form == Form::Small { len } else { end };
            let of_tail = usize::try_from(len.saturating_sub(from)).unwrap_or(usize::MAX);
            let at = usize::try_from(from.saturating_sub(len)).unwrap_or(usize::MAX);
            if of_tail == 0 && addition.base.is_none() {
                inline.push(Cow::Borrowed(&addition.bytes[at..]));
                continue;
            }
            let mut bytes = vec![0; of_tail + addition.bytes.len() - at];
            self.active.copy_tail(file, from, &mut bytes[..of_tail]);
            addition.copy(at, &mut bytes[of_tail..]);
            inline.push(Cow::Owned(bytes));
        }
        inline
    }

    fn describe<'a>(
        &self,
        pending: &Pending,
        plan: &Plan,
        mut moved: Vec<Moved>,
        inline: &'a [Cow<'_, [u8]>],
    ) -> Rows<'a> {
        let first_keys =
            moved.first_mut().map(|keys| std::mem::take(&mut keys.first_keys)).unwrap_or_default();
        let mut moved = moved.into_iter();
        let change = |(file, inline): (usize, &'a Cow<'_, [u8]>)| {
            let Moved { first_chunk, sums, .. } = moved.next().unwrap_or_default();
            let len = self.active.files[file].len() + pending.files()[file].len() as u64;
            FileChange { end: plan.ends[file], len, first_chunk, sums, inline }
        };
        Rows {
            first_row: pending.first_row(),
            rows: pending.unrecorded_rows(),
            last_key: pending.last_key(),
            form: plan.form,
            files: inline.iter().enumerate().map(change).collect(),
            first_keys,
        }
    }

    /// Brings raw files up to date and publishes a manifest, so that log space is free again. Moves D, never L.
    pub(crate) async fn checkpoint(&mut self) -> Result<()> {
        let ends = flush::ends(&self.active, &[], LastPage::Keep);
        let moved = self.flush_tails(&ends).await?;
        if mutant::is(Mutant::MemoryFirst) {
            self.active.advance(&moved);
        }
        let active = self.active.describe(&moved, self.last_key);
        let (version, waiting) = (self.shared.version(), self.shared.sealing.waiting());
        let (sealed, finished) = version.with(waiting.as_ref());
        if mutant::is(Mutant::OldSegmentsFirst) {
            let old = version.sealed.iter().filter(|old| sealed.iter().all(|new| new.number != old.number));
            let mut names = old.map(|old| segment::name(old.number)).collect();
            publish::remove_leftovers(&self.shared.disk, &self.shared.dir, &mut names).await;
        }
        self.publish(&sealed, &finished, active).await?;
        if !mutant::is(Mutant::MemoryFirst) {
            self.active.advance(&moved);
        }
        if waiting.is_some() {
            self.show_segments(sealed, finished);
            self.shared.sealing.published();
            drop(version);
            self.remove_leftovers().await;
        }
        Ok(())
    }

    /// Shows readers other segments than before; who reads one that is not among them any more still holds it.
    fn show_segments(&mut self, sealed: Vec<Arc<Sealed>>, finished: Vec<Arc<Finished>>) {
        let before = self.shared.version();
        let is_replaced = |old: &&Arc<Sealed>| sealed.iter().all(|sealed| sealed.number != old.number);
        let replaced = before.sealed.iter().filter(is_replaced);
        self.replaced.extend(replaced.map(|sealed| (sealed.number, Arc::downgrade(sealed))));
        self.shared.publish_version(Version { sealed, finished, active: Arc::clone(&self.active.shared) });
    }

    /// Publishes what was sealed, if something waits. Lack of space is no reason to fail here: it waits on.
    pub(crate) async fn publish_sealed(&mut self) -> Result<()> {
        if self.shared.sealing.waiting().is_none() {
            return Ok(());
        }
        match self.guard("a checkpoint", async |core| core.checkpoint().await).await {
            Err(Error::Full { .. }) => Ok(()),
            published => published,
        }
    }

    async fn flush_tails(&mut self, ends: &[u64]) -> Result<Vec<Moved>> {
        let Self { shared, active, slot, buffers, .. } = self;
        slot.grow(ends, &shared.options).await.map_err(Refused::before_writing)?;
        let flushed = flush::flush(&shared.disk, active, slot, &[], ends, buffers).await;
        flushed.map_err(Refused::before_writing)
    }

    /// Finishes the active segment and begins the next: a checkpoint that pads each last page, writes the
    /// segment's sums, and names the next slot.
    pub(crate) async fn roll(&mut self) -> Result<()> {
        let last = if mutant::is(Mutant::NoPadding) { LastPage::Keep } else { LastPage::Pad };
        let ends = flush::ends(&self.active, &[], last);
        let moved = self.flush_tails(&ends).await?;
        let ended = Arc::new(self.finish(&moved).await.map_err(Refused::before_writing)?);
        let (number, slot) = self.next_slot().await?;
        let first_row = ended.first_row + ended.rows;
        let segment = self.shared.sealing.next_number();
        let mut next = ActiveWriter::empty(segment, number, first_row, self.active.files.len());
        next.last_key = self.last_key;

        let (version, waiting) = (self.shared.version(), self.shared.sealing.waiting());
        let (sealed, mut finished) = version.with(waiting.as_ref());
        finished.push(Arc::clone(&ended));
        self.publish(&sealed, &finished, next.clone()).await?;

        // The old segment stays readable for snapshots that hold it: all of it is in its files now.
        self.active.advance(&moved);
        self.pins.push(Pin::new(&ended, Arc::downgrade(&self.active.shared)));
        self.active = ActiveWriter::new(&next);
        self.show_segments(sealed, finished);
        self.shared.staging.rolled();
        if waiting.is_some() {
            self.shared.sealing.published();
        }
        std::mem::replace(&mut self.slot, slot).close().await
    }

    /// Writes the sums of the active segment, all of which is in its files when `moved` is: it is finished.
    async fn finish(&mut self, moved: &[Moved]) -> Result<Finished, Refused> {
        let active = &self.active;
        let shared = &active.shared;
        let sums = Sums {
            files: (0..moved.len()).map(|file| active.sums(file, &moved[file])).collect(),
            first_keys: active.first_keys(&moved[0]),
        };
        let home = Home { segment: shared.number, slot: shared.slot };
        let path = self.slot.path.join("sums");
        let first_key = sums.first_keys.first().copied().unwrap_or(self.last_key);
        let sheet = sums.encode(home, &self.shared.id);
        write_sums(&self.shared.disk, &self.lock, &path, &sheet).await?;
        let synced = self.shared.disk.sync_dir(&self.slot.path).await;
        synced.map_err(|error| Refused::sync(&self.slot.path, error))?;
        Ok(Finished {
            number: shared.number,
            slot: shared.slot,
            first_row: shared.first_row,
            rows: active.rows,
            first_key,
            last_key: self.last_key,
            sums_sum: crc32c(&sheet),
            lengths: active.files.iter().map(crate::segment::active::FileState::len).collect(),
        })
    }

    /// A slot that is free: no durable manifest names its segment any more, and nobody reads that. One whose files
    /// cannot be had (a stranger's file under our name) is passed over.
    async fn next_slot(&mut self) -> Result<(u32, Slot<D>)> {
        self.pins.retain(Pin::holds);
        let mut taken: Vec<u32> = self.pins.iter().map(|pin| pin.slot).collect();
        if mutant::is(Mutant::PinForgotten) {
            taken.clear();
        }
        taken.extend(self.shared.version().finished.iter().map(|segment| segment.slot));
        if mutant::is(Mutant::SlotTakenAgain) {
            taken.clear();
        }
        taken.push(self.active.shared.slot);
        let mut refused = None;
        for number in (0..).filter(|number| !taken.contains(number)).take(SLOTS_TRIED) {
            let Shared { disk, dir, schema, .. } = &*self.shared;
            match Slot::prepare(disk, dir, number, schema, &self.lock).await {
                Ok(slot) => return Ok((number, slot)),
                Err(error) if error.is_of_name() => refused = Some(error),
                Err(error) => return Err(error.before_writing()),
            }
        }
        Err(refused.map_or(Error::Closed, Refused::before_writing))
    }

    /// Publishes the next manifest: everything that it names is durable.
    pub(crate) async fn publish(
        &mut self,
        sealed: &[Arc<Sealed>],
        finished: &[Arc<Finished>],
        active: manifest::Active,
    ) -> Result<()> {
        let Shared { disk, dir, id, schema, .. } = &*self.shared;
        let note = self.shared.newest_note().filter(|_| !mutant::is(Mutant::NoteForgotten));
        let manifest = Manifest {
            store: *id,
            generation: self.generation + 1,
            schema: (**schema).clone(),
            log: manifest::Log { pages: self.log.pages, at: Some(self.log.at) },
            sealed: sealed.iter().map(|segment| (**segment).clone()).collect(),
            finished: finished.iter().map(|segment| (**segment).clone()).collect(),
            active: Some(active),
            note: note.map(|note| note.to_vec()),
        };
        publish::publish(disk, dir, &self.lock, &manifest, self.epoch).await?;
        self.leftovers.push(names::manifest(self.generation));
        self.generation = manifest.generation;
        self.log.manifest_file = self.log.at.next.file;
        self.remove_leftovers().await;
        Ok(())
    }

    /// Removes what nothing needs: no durable manifest names it, and of sealed segments nobody reads them.
    async fn remove_leftovers(&mut self) {
        let is_held =
            |segment: &Weak<Sealed>| segment.strong_count() > 0 && !mutant::is(Mutant::ReplacedForgotten);
        let (held, free) = self.replaced.drain(..).partition(|(_, segment)| is_held(segment));
        self.replaced = held;
        let free: Vec<(u64, Weak<Sealed>)> = free;
        self.leftovers.extend(free.iter().map(|(number, _)| segment::name(*number)));
        let Shared { disk, dir, .. } = &*self.shared;
        publish::remove_leftovers(disk, dir, &mut self.leftovers).await;
    }

    /// Gives every file back.
    pub(crate) async fn release(self) -> Result<()> {
        self.slot.close().await?;
        for log in self.log.files {
            log.file.close().await.map_err(|error| Error::io("close", &log.path, error))?;
        }
        Ok(())
    }
}

/// How many names are tried for the next slot.
const SLOTS_TRIED: usize = 64;

async fn write_sums<D: Disk>(disk: &D, lock: &D::Lock, path: &Path, bytes: &[u8]) -> Result<(), Refused> {
    let refused = |error| Refused::new("write", path, error);
    let file = disk.open(path, Mode::Create(lock)).await.map_err(refused)?;
    file.grow(bytes.len() as u64).await.map_err(refused)?;
    let step = crate::disk::TRANSFER_BYTES_MAX;
    for (offset, part) in (0..).step_by(step).zip(bytes.chunks(step)) {
        let mut buffer = file.buffer(part.len());
        buffer.copy_from_slice(part);
        write_all(&file, offset, buffer).await.map_err(refused)?;
    }
    if !mutant::is(Mutant::NoSumsSync) {
        disk.sync_files(&[&file]).await.map_err(|error| Refused::sync(path, error))?;
    }
    file.close().await.map_err(|error| Refused::new("close", path, error))
}
