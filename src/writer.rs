//! The writer: appends rows, commits them.
//!
//! Read [`Writer::commit`] first: it is the order in which bytes become durable and then visible.
//!
//! Not here: the steps themselves (`store::core`), rows before a commit (`pending`), many callers (`appender`).

use std::fmt;
use std::ops::Range;
use std::path::Path;
use std::sync::Arc;

use crate::disk::{Disk, Glommio};
use crate::error::Result;
use crate::format::record::Form;
use crate::mutant::{self, Mutant};
use crate::options::{Durability, Options};
use crate::pending::Pending;
use crate::schema::Schema;
use crate::snapshot::Store;
use crate::store::core::{Core, Poison};
use crate::store::create;
use crate::store::recover::{self, Recovery};
use crate::store::sealing::Sealing;

/// The one writer of a store. Belongs to the core that opened it.
pub struct Writer<D: Disk = Glommio> {
    pub(crate) core: Core<D>,
    pub(crate) pending: Pending,
    recovery: Recovery,
}

impl<D: Disk> fmt::Debug for Writer<D> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let shared = &self.core.shared;
        f.debug_struct("Writer")
            .field("dir", &shared.dir)
            .field("rows", &shared.rows())
            .finish_non_exhaustive()
    }
}

/// What a commit made durable and visible.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Commit {
    /// Its row numbers; empty where nothing was pending.
    pub rows: Range<u64>,
}

impl Writer {
    /// Makes a store in `dir`, which is made if it is absent and must be empty, and opens it.
    ///
    /// # Errors
    /// `Exists` if there is a store; `NotAStore` if the directory holds something else; `Limit` if the log or
    /// the limit on open files cannot hold a commit of these columns; `Full`, where space for the store's files
    /// may be all that is missing: if the next call says `Exists`, `open` makes them; `Locked`, `Io`,
    /// `Unsupported`.
    pub async fn create(dir: impl AsRef<Path>, schema: Schema, options: Options) -> Result<Self> {
        Self::create_on(Glommio::default(), dir, schema, options).await
    }

    /// Opens the store in `dir`, recovering if its last writer did not close it.
    ///
    /// # Errors
    /// `NotAStore` if there is none, or one whose creation was not finished; `Locked` if it has a writer;
    /// `Corrupt` if what it names is missing, shortened or damaged, and nothing was changed then; `Version` if a
    /// newer tidelog wrote it; `Full` if recovery needs space; `Io`, `Unsupported`.
    pub async fn open(dir: impl AsRef<Path>, options: Options) -> Result<Self> {
        Self::open_on(Glommio::default(), dir, options).await
    }
}

impl<D: Disk> Writer<D> {
    /// As [`Writer::create`], on any disk.
    ///
    /// # Errors
    /// As [`Writer::create`].
    pub async fn create_on(disk: D, dir: impl AsRef<Path>, schema: Schema, options: Options) -> Result<Self> {
        create::create(&disk, dir.as_ref(), &schema, &options).await?;
        Self::open_on(disk, dir, options).await
    }

    /// As [`Writer::open`], on any disk.
    ///
    /// # Errors
    /// As [`Writer::open`].
    pub async fn open_on(disk: D, dir: impl AsRef<Path>, options: Options) -> Result<Self> {
        let (core, pending, recovery) = recover::open(disk, dir.as_ref(), options).await?;
        Ok(Self { core, pending, recovery })
    }

    /// What open found and did.
    #[must_use]
    pub fn recovery(&self) -> &Recovery {
        &self.recovery
    }

    /// What the store holds.
    #[must_use]
    pub fn schema(&self) -> &Arc<Schema> {
        &self.core.shared.schema
    }

    /// The store, for readers on any core of this process.
    #[must_use]
    pub fn store(&self) -> Store<D> {
        Store::new(Arc::clone(&self.core.shared))
    }

    /// The note of the newest commit that carried one.
    #[must_use]
    pub fn note(&self) -> Option<Arc<[u8]>> {
        self.core.shared.newest_note()
    }

    /// Rows that wait for a commit, and the way to add some.
    pub fn pending(&mut self) -> &mut Pending {
        &mut self.pending
    }

    /// Makes the pending rows and note durable, then visible: all of them, or after an error none.
    ///
    /// 0. Make room: a roll, a checkpoint, a place in the log, space. `Full` is decided here, and changes
    ///    nothing. Everything behind is laid out from the state as it is then.
    /// 1. Large commits: write the whole pages of tail and new bytes at D of every file, in parallel.
    /// 2. Large commits: sync each file written, in parallel.
    /// 3. Write the record, one durable write. This is the commit point.
    /// 4. Publish the committed row count to readers; acknowledge.
    ///
    /// A crash before 3 leaves the commit before; behind it, this one. If the future is dropped, or fails, in
    /// between, it is unknown which: the writer is poisoned, and opening the store again tells.
    ///
    /// Where a segment was sealed ([`Store::maintain`]) it is published before, with a checkpoint.
    ///
    /// With [`Durability::Buffered`] a commit that needs no more room than one small record, together with those
    /// that wait for it already, does 4 only.
    ///
    /// # Errors
    /// `Full`: nothing has changed, the rows are still pending, the same call works when there is space.
    /// `Poisoned` after an earlier failure. `Io` otherwise, and the writer is poisoned.
    pub async fn commit(&mut self) -> Result<Commit> {
        self.core.poison.check()?;
        let end = self.pending.next_row();
        let rows = end - self.pending.rows()..end;
        if self.pending.is_empty() {
            return Ok(Commit { rows });
        }
        let is_buffered = self.core.shared.options.durability == Durability::Buffered;
        if is_buffered && (self.has_room() || mutant::is(Mutant::BufferedWithoutRoom)) {
            self.core.show(&self.pending);
            self.pending.keep_buffered();
            return Ok(Commit { rows });
        }
        self.record_buffered().await?;
        if !self.core.must_roll(&self.pending) {
            self.core.publish_sealed().await?; // else the roll does it
        }
        self.record().await?;
        Ok(Commit { rows })
    }

    /// The steps of a commit, for all that no record holds.
    async fn record(&mut self) -> Result<()> {
        let pending = &self.pending;
        let steps = async |core: &mut Core<D>| {
            let plan = core.make_room(pending).await?; // 0
            let moved = match plan.form() {
                Form::Small => Vec::new(),
                Form::Large => core.write_pages(pending, &plan).await?, // 1, 2
            };
            if mutant::is(Mutant::ShowsEarly) {
                core.shared.publish_rows(pending.next_row(), pending.pending_note());
            }
            core.write_record(pending, &plan, moved).await?; // 3
            core.shared.publish_rows(pending.next_row(), pending.pending_note()); // 4
            Ok(())
        };
        let rows = pending.first_row()..pending.next_row();
        if mutant::is(Mutant::StagedUncommitted) {
            let segment = self.core.active.shared.number;
            self.core.shared.staging.take_rows(segment, rows.clone(), &mut pending.files().to_vec());
        }
        self.core.guard("a commit", steps).await?;
        // Those who seal have a use for what is in memory and in the files now.
        let segment = self.core.active.shared.number;
        self.core.shared.staging.take_rows(segment, rows, self.pending.files_mut());
        self.pending.committed();
        Ok(())
    }

    /// What those who seal hand over.
    pub(crate) fn sealing(&self) -> &Sealing<D::Lock> {
        &self.core.shared.sealing
    }

    /// Whether what is pending can be committed as it is: one small record, no checkpoint, no roll, no space.
    pub(crate) fn has_room(&self) -> bool {
        self.core.has_room(&self.pending)
    }

    /// Makes durable what [`Durability::Buffered`] commits have shown, as one record, and publishes what was sealed
    /// ([`Store::maintain`]). Rows that are pending stay so.
    ///
    /// # Errors
    /// `Poisoned` after an earlier failure. `Io` otherwise, and the writer is poisoned.
    pub async fn sync(&mut self) -> Result<()> {
        self.record_buffered().await?;
        self.core.publish_sealed().await
    }

    /// One record for what buffered commits have shown. Behind it the newest note is durable: what is published may
    /// hold it.
    async fn record_buffered(&mut self) -> Result<()> {
        self.core.poison.check()?;
        let Some(later) = self.pending.split_off_pending() else { return Ok(()) };
        let recorded = self.record().await;
        self.pending.rejoin(later);
        recorded
    }

    /// Brings the raw files up to date and publishes a manifest, with what was sealed: recovery has nothing to replay
    /// behind it. Commits do so by themselves when the log has no room.
    ///
    /// # Errors
    /// As [`Writer::commit`].
    pub async fn checkpoint(&mut self) -> Result<()> {
        if !mutant::is(Mutant::BufferedForgotten) {
            self.record_buffered().await?;
        }
        self.core.guard("a checkpoint", async |core| core.checkpoint().await).await
    }

    /// Finishes the active segment, however few rows it has, so that all that is committed can be sealed
    /// ([`Store::maintain`]); nothing if it has none. Commits do so by themselves at
    /// [`Options::segment_rows`](crate::Options::segment_rows).
    ///
    /// # Errors
    /// As [`Writer::commit`].
    pub async fn roll(&mut self) -> Result<()> {
        self.record_buffered().await?;
        if self.core.active.rows == 0 {
            return Ok(());
        }
        self.core.guard("a roll", async |core| core.roll().await).await
    }

    /// A checkpoint, and then every file is given back. Pending rows that were not committed are forgotten. When
    /// this returns the store may be opened again at once, by anybody; but a call of [`Store::maintain`] that is under
    /// way keeps it locked until it has noticed, at its next read or write.
    ///
    /// # Errors
    /// As [`Writer::commit`]; a poisoned writer writes nothing and gives its files back all the same.
    pub async fn close(mut self) -> Result<()> {
        if mutant::is(Mutant::PoisonedClose) {
            self.core.poison = Poison::None;
        }
        self.pending.clear();
        let synced = match mutant::is(Mutant::BufferedForgotten) {
            true => Ok(()),
            false => self.record_buffered().await,
        };
        let closed = match synced {
            Ok(()) => self.core.guard("a close", async |core| core.checkpoint().await).await,
            refused => refused,
        };
        let released = self.core.release().await;
        closed.and(released)
    }
}
