//! Following a store that another process writes: without a lock, and without writing anything.
//!
//! A follower stands on a manifest, walks the log from there and copies the bytes that records carry, as recovery
//! does; but the writer goes on meanwhile, and may write over what is being read. So where record k is missing
//! three questions are asked, and their order matters ([`Follower::end`]). Before rows are shown the log is synced
//! through the handle that read it: nothing is shown that a crash could take back.
//!
//! Invariants: what was shown is never taken back; memory holds the active segment's tails and sums, no more.
//! Not here: finding records (`log::walk`), what each does (`replay`), reading segments (`reader`).

use std::path::Path;
use std::sync::{Arc, Weak};

use futures::lock::Mutex;

use super::newest::{self, ATTEMPTS};
use super::replay::Replay;
use super::sealing::Sealing;
use super::shared::{Seen, Shared, Version};
use crate::disk::{Disk, File};
use crate::error::{Error, Result};
use crate::format::manifest::{Finished, LogPosition, Manifest, Sealed};
use crate::log::walk::{Begun, Chain, Look, newest_is_missing};
use crate::log::{self, LogFile};
use crate::mutant::{self, Mutant};
use crate::options::Options;
use crate::segment::active::ActiveWriter;

/// The view of a store that another process writes.
pub(crate) struct Follower<D: Disk> {
    pub(crate) shared: Arc<Shared<D>>,
    /// Held for as long as one refresh takes.
    known: Mutex<Known>,
}

/// What a follower knows: a manifest, and the records behind it.
struct Known {
    /// Of the manifest.
    generation: u64,
    /// Pages in each log file, and where the last record stands; none while there is no log.
    log: Option<(u32, LogPosition)>,
    sealed: Vec<Arc<Sealed>>,
    finished: Vec<Arc<Finished>>,
    active: ActiveWriter,
    last_key: u64,
    /// Of the newest commit that had one.
    note: Option<Vec<u8>>,
    /// The record before the manifest's position was there.
    is_proven: bool,
    /// Records were taken over that the log was not synced behind.
    is_unsynced: bool,
    /// Something was taken over that is not shown yet.
    is_unshown: bool,
    /// What stood where the next record will be, when it was last made sure that this is the end.
    end: Option<Look>,
}

/// Where a walk came to its end.
enum Walked {
    /// At the end of the log.
    End,
    /// At something that only a newer manifest explains.
    Newer,
}

impl Known {
    fn new(manifest: Manifest) -> Self {
        let files = manifest.schema.files().len();
        // The first manifest names no slot: nothing will be asked of this one's.
        let active = manifest.active.unwrap_or_else(|| ActiveWriter::empty(0, 0, 0, files));
        Self {
            generation: manifest.generation,
            log: manifest.log.at.map(|at| (manifest.log.pages, at)),
            sealed: manifest.sealed.into_iter().map(Arc::new).collect(),
            finished: manifest.finished.into_iter().map(Arc::new).collect(),
            last_key: active.last_key,
            active: ActiveWriter::new(&active),
            note: manifest.note,
            is_proven: false,
            is_unsynced: false,
            is_unshown: true,
            end: None,
        }
    }

    fn rows(&self) -> u64 {
        self.active.shared.first_row + self.active.rows
    }

    fn version(&self) -> Version {
        Version {
            sealed: self.sealed.clone(),
            finished: self.finished.clone(),
            active: Arc::clone(&self.active.shared),
        }
    }

    /// The number of the next record.
    fn sequence(&self) -> u64 {
        self.log.map_or(0, |(_, at)| at.sequence)
    }
}

impl<D: Disk> Follower<D> {
    /// Opens the store in `dir`; shows what is committed now.
    pub(crate) async fn open(disk: D, dir: &Path, options: Options) -> Result<Self> {
        options.check()?;
        let manifest = newest::newest(&disk, dir).await?;
        let follower = Self::at(disk, dir, options, manifest);
        follower.refresh().await?;
        Ok(follower)
    }

    /// Stands on a manifest, and shows what that holds.
    pub(crate) fn at(disk: D, dir: &Path, options: Options, manifest: Manifest) -> Self {
        let (id, schema) = (manifest.store, Arc::new(manifest.schema.clone()));
        let known = Known::new(manifest);
        let seen = Seen { rows: known.rows(), version: Arc::new(known.version()), note: None };
        let shared = Arc::new(Shared::new(
            disk,
            dir.to_path_buf(),
            id,
            schema,
            options,
            Sealing::new(Weak::new()),
            seen,
        ));
        Self { shared, known: Mutex::new(known) }
    }

    /// The generation of the manifest that it stands on, and the position behind the last record that it knows;
    /// none while there is no log.
    pub(crate) async fn position(&self) -> Option<(u64, LogPosition)> {
        let known = self.known.lock().await;
        known.log.map(|(_, at)| (known.generation, at))
    }

    /// Looks again, and shows what is new. One call at a time; others wait.
    pub(crate) async fn refresh(&self) -> Result<()> {
        let mut known = self.known.lock().await;
        let mut files = None;
        let shown = self.look(&mut known, &mut files).await;
        for log in files.into_iter().flatten() {
            // Nothing was written through it: whether closing fails concerns nobody.
            let _ = log.file.close().await;
        }
        shown
    }

    async fn look(&self, known: &mut Known, files: &mut Option<[LogFile<D::File>; 2]>) -> Result<()> {
        // Whoever meets newer manifests again and again shows what the last one holds.
        for _ in 0..ATTEMPTS {
            let walked = match known.log {
                None => self.listed(known).await?,
                Some((pages, _)) => {
                    if files.is_none() {
                        *files = Some(self.open_log().await?);
                    }
                    let Some(files) = files else { unreachable!("they have just been opened") };
                    self.walk(known, Chain::new(files, pages, &self.shared.id), files).await?
                }
            };
            match walked {
                Walked::End => break,
                Walked::Newer => self.begin(known).await?,
            }
        }
        self.show(known, files.as_ref()).await
    }

    async fn open_log(&self) -> Result<[LogFile<D::File>; 2]> {
        let Shared { disk, dir, .. } = &*self.shared;
        match log::open_to_read(disk, dir).await {
            // Perhaps there is no directory any more, or no store in it: that is the better answer.
            Err(damage @ Error::Corrupt { .. }) => newest::generation(disk, dir).await.and(Err(damage)),
            opened => opened,
        }
    }

    /// Stands on the newest manifest, where that is not the one on which it stands already.
    async fn begin(&self, known: &mut Known) -> Result<()> {
        let Shared { disk, dir, id, .. } = &*self.shared;
        let manifest = newest::newest(disk, dir).await?;
        if manifest.store != *id {
            let what = "another store has taken its place; open that one anew".into();
            return Err(Error::NotAStore { path: dir.clone(), what });
        }
        if manifest.generation <= known.generation {
            return Ok(());
        }
        let (generation, newer) = (manifest.generation, Known::new(manifest));
        if newer.sequence() < known.sequence() || newer.rows() < self.shared.rows() {
            let what = format!(
                "manifest {generation} holds less than was there before it: the files of an older copy have been put \
                 here; open the store anew"
            );
            return Err(Error::corrupt(dir, 0, what));
        }
        *known = newer;
        Ok(())
    }

    /// Follows the chain from what is known to where it ends.
    async fn walk(
        &self,
        known: &mut Known,
        mut chain: Chain<'_, D::File>,
        files: &[LogFile<D::File>; 2],
    ) -> Result<Walked> {
        let Some((pages, mut at)) = known.log else { unreachable!("there is a log to walk") };
        if !known.is_proven {
            if let Some(error) = chain.stray(&at).await? {
                return self.explained(known, error).await;
            }
            known.is_proven = true;
        }
        while let Some(place) = chain.next(&at).await? {
            let path = chain.path(place);
            let Some(record) = chain.record(place).await? else { break };
            let generation = record.header.generation;
            if generation > known.generation && !mutant::is(Mutant::LaterGenerationApplied) {
                // What it stands on is only in a newer manifest.
                let error = newest_is_missing(path, place, generation, known.generation);
                return self.explained(known, error).await;
            }
            let Known { active, last_key, .. } = known;
            let mut replay = Replay { schema: &self.shared.schema, pages, at: &mut at, active, last_key };
            replay.apply(path, place, &record)?;
            known.log = Some((pages, at));
            known.note = record.note.map(<[u8]>::to_vec).or(known.note.take());
            (known.is_unsynced, known.is_unshown, known.end) = (true, true, None);
        }
        self.end(known, &mut chain, files).await
    }

    /// Record k is missing. Whether a later one was begun is asked first, then for k again, for the manifests last:
    /// whoever begins k+1 has made k durable, and whoever writes over k has made a newer manifest durable.
    ///
    /// Where k stands there by now it was not committed when this look began, for it was missing later than that:
    /// the next look takes it. To go on would have no end beside a writer that is never idle.
    ///
    /// Where nothing has changed since this was last asked, nothing was written, and the manifests are enough.
    async fn end(
        &self,
        known: &mut Known,
        chain: &mut Chain<'_, D::File>,
        files: &[LogFile<D::File>; 2],
    ) -> Result<Walked> {
        let Some((pages, at)) = known.log else { unreachable!("there is a log to walk") };
        let look = chain.look();
        if look.is_some() && look == known.end {
            return self.listed(known).await;
        }
        let later = Begun::find(files, pages, &self.shared.id).await?.later(chain, &at).await?;
        let early = if mutant::is(Mutant::ListsFirst) { Some(self.listed(known).await?) } else { None };
        if !mutant::is(Mutant::NoSecondRead) {
            chain.forget();
            if chain.next(&at).await?.is_some() {
                return Ok(Walked::End);
            }
        }
        let walked = match early {
            Some(early) => early,
            None => self.listed(known).await?,
        };
        match (walked, later) {
            (Walked::Newer, _) => return Ok(Walked::Newer),
            (Walked::End, Some(error)) if mutant::is(Mutant::ListsFirst) => return Err(error),
            (Walked::End, Some(error)) => return self.explained(known, error).await,
            (Walked::End, None) => {}
        }
        known.end = look.filter(|look| chain.look().as_ref() == Some(look));
        Ok(Walked::End)
    }

    /// Whether there is a newer manifest.
    async fn listed(&self, known: &Known) -> Result<Walked> {
        let newest = newest::generation(&self.shared.disk, &self.shared.dir).await?;
        Ok(if newest > known.generation { Walked::Newer } else { Walked::End })
    }

    /// A newer manifest explains what was found; without one it is an error.
    async fn explained(&self, known: &Known, error: Error) -> Result<Walked> {
        let newer = newest::newer(&self.shared.disk, &self.shared.dir, known.generation).await?;
        newer.map(|_| Walked::Newer).ok_or(error)
    }

    /// Shows what was taken over, once no crash can take it back. What a manifest holds is durable: its rows had
    /// been committed before it was written.
    async fn show(&self, known: &mut Known, files: Option<&[LogFile<D::File>; 2]>) -> Result<()> {
        if let Some([a, b]) = files
            && known.is_unsynced
            && !mutant::is(Mutant::NoSyncBeforeShowing)
        {
            let Shared { disk, dir, .. } = &*self.shared;
            let synced = disk.sync_files(&[&a.file, &b.file]).await;
            synced.map_err(|error| Error::io("sync the log of", dir, error))?;
        }
        known.is_unsynced = false;
        if known.is_unshown {
            self.shared.publish_version(known.version());
            self.shared.publish_rows(known.rows(), known.note.as_deref());
            known.is_unshown = false;
        }
        Ok(())
    }
}
