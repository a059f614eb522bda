//! How a writer's life begins: what open does, after a clean end or a crash.
//!
//! Locks; names made durable before they are trusted; the newest manifest; the log, walked from its position;
//! then an empty record with the next epoch, and nothing else is written (but for a checkpoint where the log has
//! no room for that record). So a crash in here changes nothing, and a second recovery finds the same rows.
//!
//! Not here: finding records (`log::walk`), what each does (`replay`), what commits do afterwards (`core`).

use std::ffi::OsString;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Weak};

use futures::{StreamExt, stream};

use super::core::{Core, Pin, Poison};
use super::create::{check_fit, commit_bytes_max, lock};
use super::names::{self, Listing};
use super::newest;
use super::replay::Replay;
use super::sealing::Sealing;
use super::shared::{Seen, Shared, Version};
use crate::disk::{Buffers, Disk, File, Mode, PAGE, read_exact};
use crate::error::{Error, Refused, Result};
use crate::format::manifest::{LogPosition, Manifest};
use crate::format::record::{self, Place};
use crate::format::{NUMBER_MAX, StoreId};
use crate::log::walk::{Begun, Chain};
use crate::log::{self, Content, Log, Room};
use crate::mutant::{self, Mutant};
use crate::options::Options;
use crate::pending::Pending;
use crate::segment;
use crate::segment::active::ActiveWriter;
use crate::segment::slot::{self, Slot};

/// What open found and did.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Recovery {
    /// Rows in the store.
    pub rows: u64,
    /// Commits that were found in the log, behind the newest manifest. None after a clean close.
    pub commits_replayed: u64,
    /// A commit that was begun and never acknowledged, and has been dropped: where it stands in the log.
    pub dropped: Option<Dropped>,
    /// Names in the directory that are not tidelog's. They are left alone.
    pub foreign: Vec<OsString>,
}

/// A commit that was begun and never acknowledged.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Dropped {
    /// The log file's name.
    pub log: &'static str,
    /// Where its record begins in it, in bytes.
    pub offset: u64,
}

/// Opens the store in `dir` for writing.
///
/// 1. Locks: LOCK at once; each file that will be written when it is opened.
/// 2. Sync the directory and the slots' directories, *then* choose the newest manifest.
/// 3. Open the files that it names, and sync them: what is read from here on stays.
/// 4. Walk the log.
/// 5. Make room, then write an empty record with the next epoch.
pub(crate) async fn open<D: Disk>(
    disk: D,
    dir: &Path,
    options: Options,
) -> Result<(Core<D>, Pending, Recovery)> {
    options.check()?;
    newest::generation(&disk, dir).await?; // a wrong path must not gain a LOCK
    let lock = lock(&disk, dir).await?; // 1
    let (listing, unsettled) = settle(&disk, dir).await?; // 2
    let Some(newest) = listing.manifests.last().copied() else {
        return Err(newest::not_yet(dir, &listing));
    };
    let mut manifest = newest::read(&disk, dir, newest).await;
    if let [.., older, _] = listing.manifests[..]
        && manifest.is_err()
        && mutant::is(Mutant::OlderManifest)
    {
        manifest = newest::read(&disk, dir, older).await;
    }
    let manifest = manifest?;
    if let Some((_, error)) = unsettled.into_iter().find(|(slot, _)| manifest.names_slot(*slot)) {
        return Err(error);
    }
    check_fit(&disk, &manifest.schema, u64::from(manifest.log.pages) * PAGE as u64)?;
    let mut recovery = Recovery { foreign: listing.foreign.clone(), ..Recovery::default() };
    let mut core = match manifest.log.at {
        None => first_writer(disk, dir, lock, options, manifest).await?,
        Some(at) => {
            check_names(&disk, dir, &manifest).await?;
            let mut core = attach(disk, dir, lock, options, manifest, at).await?; // 3
            let epoch = walk(&mut core, &mut recovery).await?; // 4
            core.epoch = epoch + 1;
            begin_life(&mut core).await?; // 5
            core
        }
    };
    core.leftovers = leftovers(&listing, &core);
    core.shared.sealing.set_next_number(next_number(&listing, &core));
    let rows = core.active.shared.first_row + core.active.rows;
    recovery.rows = rows;
    core.shared.publish_rows(rows, None);
    let log_bytes = u64::from(core.log.pages) * PAGE as u64;
    let schema = Arc::clone(&core.shared.schema);
    let bytes_max = commit_bytes_max(&schema, log_bytes, core.shared.options.memory_bytes);
    let pending = Pending::new(schema, rows, core.last_key, bytes_max);
    Ok((core, pending, recovery))
}

/// Makes durable what names there are, then lists them. What cannot be synced under a slot's name matters only if
/// the manifest names that slot.
async fn settle<D: Disk>(disk: &D, dir: &Path) -> Result<(Listing, Vec<(u32, Error)>)> {
    let list = async || {
        let names = disk.list(dir).await.map_err(|error| Error::io("list", dir, error))?;
        Ok::<_, Error>(Listing::new(names))
    };
    let mut unsettled = Vec::new();
    for number in list().await?.slots {
        if mutant::is(Mutant::NoSlotSyncAtOpen) {
            continue;
        }
        let path = slot::path(dir, number);
        if let Err(error) = disk.sync_dir(&path).await {
            unsettled.push((number, Error::io("sync", &path, error)));
        }
    }
    if !mutant::is(Mutant::NoDirectorySyncAtOpen) {
        disk.sync_dir(dir).await.map_err(|error| Error::io("sync", dir, error))?;
    }
    Ok((list().await?, unsettled))
}

/// Whether every file of every segment is there, and those of sealed ones are as long as is said. The lengths of raw
/// files are checked when they are read.
async fn check_names<D: Disk>(disk: &D, dir: &Path, manifest: &Manifest) -> Result<()> {
    let mut lengths = stream::iter(&manifest.sealed)
        .map(|sealed| check_sealed(disk, segment::path(dir, sealed.number), sealed.bytes))
        .buffered(OPENS_IN_FLIGHT);
    while let Some(checked) = lengths.next().await {
        checked?;
    }
    let expected: Vec<String> = manifest.schema.files().iter().map(|file| file.name()).collect();
    for segment in &manifest.finished {
        let path = slot::path(dir, segment.slot);
        let names = disk.list(&path).await.map_err(|error| match error.kind() {
            io::ErrorKind::NotFound => {
                Error::corrupt(&path, 0, "the manifest names this slot; it is missing")
            }
            _ => Error::io("list", &path, error),
        })?;
        for name in expected.iter().map(String::as_str).chain(["sums"]) {
            if !names.iter().any(|found| found == name) {
                return Err(Error::corrupt(
                    &path.join(name),
                    0,
                    "the manifest names this file; it is missing",
                ));
            }
        }
    }
    Ok(())
}

/// Files whose length is asked for at the same time.
const OPENS_IN_FLIGHT: usize = 16;

async fn check_sealed<D: Disk>(disk: &D, path: PathBuf, bytes: u64) -> Result<()> {
    let asked = async {
        let file = disk.open(&path, Mode::Read).await?;
        let len = file.len().await?;
        file.close().await?;
        Ok(len)
    };
    let len = asked.await.map_err(|error: io::Error| match error.kind() {
        io::ErrorKind::NotFound => Error::corrupt(&path, 0, "the manifest names this file; it is missing"),
        _ => Error::io("look at", &path, error),
    })?;
    if len < bytes {
        return Err(Error::corrupt(&path, len, format!("the file ends here, {bytes} bytes of it are named")));
    }
    Ok(())
}

/// Makes log and slot, writes the first record, publishes manifest-2.
async fn first_writer<D: Disk>(
    disk: D,
    dir: &Path,
    lock: D::Lock,
    options: Options,
    manifest: Manifest,
) -> Result<Core<D>> {
    log::walk::check_unused(&disk, dir, manifest.log.pages, &manifest.store).await?;
    let made = log::make(&disk, dir, &lock, manifest.log.pages).await;
    made.map_err(Refused::before_writing)?;
    let slot =
        Slot::prepare(&disk, dir, 0, &manifest.schema, &lock).await.map_err(Refused::before_writing)?;
    let start = Place { file: 0, page: 0 };
    let at = LogPosition { next: start, last: start, checksum: 0, sequence: 1, epoch: 0 };
    let active = ActiveWriter::empty(0, 0, 0, manifest.schema.files().len());
    let manifest = Manifest { active: Some(active.clone()), ..manifest };
    let mut core = assemble(disk, dir, lock, options, manifest, at, slot).await?;
    core.epoch = 1;
    write_empty(&mut core, start).await?;
    core.publish(&[], &[], active).await?;
    Ok(core)
}

/// Opens and syncs what the manifest names.
async fn attach<D: Disk>(
    disk: D,
    dir: &Path,
    lock: D::Lock,
    options: Options,
    manifest: Manifest,
    at: LogPosition,
) -> Result<Core<D>> {
    let Some(active) = &manifest.active else {
        unreachable!("a manifest with a log has an active segment: its decoder checked");
    };
    let slot = Slot::open(&disk, dir, active.slot, &manifest.schema, &lock).await?;
    let core = assemble(disk, dir, lock, options, manifest, at, slot).await?;
    if !mutant::is(Mutant::NoFileSyncAtOpen) {
        let files = core.slot.files.iter().map(|file| &file.file);
        let files: Vec<&D::File> = files.chain(core.log.files.iter().map(|log| &log.file)).collect();
        let synced = core.shared.disk.sync_files(&files).await;
        synced.map_err(|error| Error::io("sync the log and the active files of", dir, error))?;
    }
    if mutant::is(Mutant::RewritesPages) {
        check_tails(&core).await?;
    }
    Ok(core)
}

/// For the mutant: whether the pages that hold the tails are what the manifest says.
async fn check_tails<D: Disk>(core: &Core<D>) -> Result<()> {
    for (number, (file, state)) in core.slot.files.iter().zip(&core.active.files).enumerate() {
        let mut tail = vec![0; usize::try_from(state.tail_bytes()).unwrap_or(usize::MAX)];
        core.active.copy_tail(number, state.end, &mut tail);
        let page = read_exact(&file.file, state.end, if tail.is_empty() { continue } else { PAGE }).await;
        if !page.is_ok_and(|page| page.starts_with(&tail)) {
            return Err(Error::corrupt(&file.path, state.end, "the tail's page is damaged"));
        }
    }
    Ok(())
}

async fn assemble<D: Disk>(
    disk: D,
    dir: &Path,
    lock: D::Lock,
    options: Options,
    manifest: Manifest,
    at: LogPosition,
    slot: Slot<D>,
) -> Result<Core<D>> {
    let Some(described) = &manifest.active else {
        unreachable!("every caller has an active segment");
    };
    let files = log::open(&disk, dir, &lock).await?;
    let active = ActiveWriter::new(described);
    let last_key = described.last_key;
    let version = Version {
        sealed: manifest.sealed.into_iter().map(Arc::new).collect(),
        finished: manifest.finished.into_iter().map(Arc::new).collect(),
        active: Arc::clone(&active.shared),
    };
    let pins = version.finished.iter().map(|finished| Pin::new(finished, Weak::new())).collect();
    let seen = Seen {
        rows: described.first_row + described.rows,
        version: Arc::new(version),
        note: manifest.note.map(Arc::from),
    };
    let schema = Arc::new(manifest.schema);
    let lock = Arc::new(lock);
    let sealing = Sealing::new(Arc::downgrade(&lock));
    let shared = Shared::new(disk, dir.to_path_buf(), manifest.store, schema, options, sealing, seen);
    Ok(Core {
        shared: Arc::new(shared),
        lock,
        log: Log { files, pages: manifest.log.pages, at, manifest_file: at.next.file },
        active,
        slot,
        buffers: Buffers::default(),
        generation: manifest.generation,
        epoch: at.epoch,
        last_key,
        leftovers: Vec::new(),
        pins,
        replaced: Vec::new(),
        poison: Poison::None,
    })
}

/// Replays the log from the manifest's position; returns the last record's epoch.
async fn walk<D: Disk>(core: &mut Core<D>, recovery: &mut Recovery) -> Result<u64> {
    let Core { shared, log, active, last_key, generation, .. } = core;
    let Log { files, pages, at, .. } = log;
    let begun = Begun::find(files, *pages, &shared.id).await?;
    let mut chain = Chain::new(files, *pages, &shared.id);
    if let Some(error) = chain.stray(at).await? {
        return Err(error);
    }
    if !mutant::is(Mutant::NoGenerationCheck) {
        begun.check_generation(&mut chain, *generation).await?;
    }
    let mut replay = Replay { schema: &shared.schema, pages: *pages, at, active, last_key };
    while let Some(place) = chain.next(replay.at).await? {
        let path = chain.path(place);
        let Some(record) = chain.record(place).await? else { break };
        replay.apply(path, place, &record)?;
        recovery.commits_replayed += u64::from(record.rows.is_some() || record.note.is_some());
        if let Some(note) = record.note {
            shared.publish_rows(replay.active.shared.first_row + replay.active.rows, Some(note));
        }
    }
    if let Some(error) = begun.later(&mut chain, replay.at).await? {
        return Err(error);
    }
    if let Some(place) = chain.torn(replay.at).await? {
        let log = log::NAMES[usize::from(place.file)];
        recovery.dropped = Some(Dropped { log, offset: place.offset() });
    }
    check_lengths(core).await?;
    Ok(core.log.at.epoch)
}

/// Whether each active file holds the bytes that are said to be in it.
async fn check_lengths<D: Disk>(core: &Core<D>) -> Result<()> {
    for (file, state) in core.slot.files.iter().zip(&core.active.files) {
        let len =
            file.file.len().await.map_err(|error| Error::io("ask for the length of", &file.path, error))?;
        if len < state.end {
            let what = format!("the file ends here, {} bytes of it are named", state.end);
            return Err(Error::corrupt(&file.path, len, what));
        }
    }
    Ok(())
}

/// Makes room, then writes the empty record that begins this epoch.
async fn begin_life<D: Disk>(core: &mut Core<D>) -> Result<()> {
    let pages = record::pages(None, None);
    let place = match core.log.room(pages) {
        Room::At(place) => place,
        Room::AfterCheckpoint => {
            // Under the epoch that the log shows: the new one begins with its record.
            core.epoch -= 1;
            let made = core.checkpoint().await;
            core.epoch += 1;
            made?;
            match core.log.room(pages) {
                Room::At(place) => place,
                Room::AfterCheckpoint => unreachable!("the manifest's position is where the log stands now"),
            }
        }
    };
    if mutant::is(Mutant::NoEpochRecord) {
        return Ok(());
    }
    write_empty(core, place).await
}

async fn write_empty<D: Disk>(core: &mut Core<D>, place: Place) -> Result<()> {
    let store: StoreId = core.shared.id;
    let content =
        Content { store: &store, epoch: core.epoch, generation: core.generation, rows: None, note: None };
    core.log.append(place, content, &mut core.buffers).await
}

/// What may be removed once a manifest is published: older manifests, temporaries, sealed segments that are not named.
/// One that has the number of a raw segment is left: sealing that makes it anew.
fn leftovers<D: Disk>(listing: &Listing, core: &Core<D>) -> Vec<String> {
    let older = listing.manifests.iter().filter(|generation| **generation < core.generation);
    let temporaries = listing.temporaries.iter().filter_map(|name| name.to_str());
    let named: Vec<u64> = numbers(core).collect();
    let segments = listing.segments.iter().filter(|number| !named.contains(number));
    let older = older.map(|generation| names::manifest(*generation));
    older.chain(temporaries.map(str::to_owned)).chain(segments.map(|number| segment::name(*number))).collect()
}

/// The numbers of the segments that the manifest names.
fn numbers<D: Disk>(core: &Core<D>) -> impl Iterator<Item = u64> {
    let version = core.shared.version();
    let sealed: Vec<u64> = version.sealed.iter().map(|segment| segment.number).collect();
    let finished: Vec<u64> = version.finished.iter().map(|segment| segment.number).collect();
    sealed.into_iter().chain(finished).chain([version.active.number])
}

/// Above the number of every segment that is named or has a file: what is asked of a file on its way, by a call that
/// was dropped, so never meets another one of its name. Numbers that no store comes to are not minded.
fn next_number<D: Disk>(listing: &Listing, core: &Core<D>) -> u64 {
    let listed = listing.segments.iter().copied().filter(|number| *number < NUMBER_MAX / 2);
    numbers(core).chain(listed).max().map_or(0, |number| number + 1)
}
