//! How a store comes to be.
//!
//! Creation makes the directory and publishes manifest-1, which names no log and no slot. The first writer makes
//! both, writes an empty record into log-a and publishes manifest-2 (`recover`). Each step can be the last: what
//! is left is "not a store yet", and creation may go on.
//!
//! Not here: everything that opening does.

use std::io;
use std::path::{Path, PathBuf};

use super::names::{self, Listing};
use super::publish::publish;
use crate::disk::{Disk, PAGE};
use crate::error::{Error, Refused, Result};
use crate::format::CHUNK;
use crate::format::manifest::{Log, Manifest};
use crate::format::record;
use crate::log;
use crate::mutant::{self, Mutant};
use crate::options::{NOTE_BYTES_MAX, Options};
use crate::schema::Schema;
use crate::segment::slot::Slot;

/// Takes the lock of the store in `dir`.
pub(super) async fn lock<D: Disk>(disk: &D, dir: &Path) -> Result<D::Lock> {
    let path = dir.join(names::LOCK);
    disk.lock(&path).await.map_err(|error| match error.kind() {
        io::ErrorKind::WouldBlock => Error::Locked {
            path,
            what: "another writer has this store open; close it, or open a reader".into(),
        },
        // There may not be space to make it.
        _ => Refused::new("lock", &path, error).before_writing(),
    })
}

/// Makes an empty store in `dir`, durably, and no writer.
pub(crate) async fn create<D: Disk>(disk: &D, dir: &Path, schema: &Schema, options: &Options) -> Result<()> {
    options.check()?;
    check_fit(disk, schema, options.log_bytes)?;
    match disk.create_dir(dir).await {
        Err(error) if error.kind() != io::ErrorKind::AlreadyExists => {
            return Err(Refused::new("make", dir, error).before_writing());
        }
        _ => {}
    }
    if !mutant::is(Mutant::NoParentSync) {
        let parent = parent(dir);
        disk.sync_dir(&parent).await.map_err(|error| Error::io("sync", &parent, error))?;
    }
    // Looked at before the lock too, so that nothing is made where nothing of ours belongs.
    check_empty(disk, dir).await?;
    let lock = lock(disk, dir).await?;
    check_empty(disk, dir).await?;
    let pages = u32::try_from(options.log_bytes / PAGE as u64).unwrap_or(u32::MAX);
    if mutant::is(Mutant::LogBeforeManifest) {
        log::make(disk, dir, &lock, pages).await.map_err(Refused::before_writing)?;
        Slot::prepare(disk, dir, 0, schema, &lock).await.map_err(Refused::before_writing)?;
    }
    let manifest = Manifest {
        store: disk.unique_id().map_err(|error| Error::io("find a name for", dir, error))?,
        generation: 1,
        schema: schema.clone(),
        log: Log { pages, at: None },
        sealed: Vec::new(),
        finished: Vec::new(),
        active: None,
        note: None,
    };
    publish(disk, dir, &lock, &manifest, 0).await
}

/// The directory that holds the name `dir`.
fn parent(dir: &Path) -> PathBuf {
    match (dir.parent(), dir.file_name()) {
        (None, _) => dir.to_path_buf(),
        // "." and "..": only the kernel knows.
        (Some(_), None) => dir.join(".."),
        (Some(parent), Some(_)) if parent == Path::new("") => PathBuf::from("."),
        (Some(parent), Some(_)) => parent.to_path_buf(),
    }
}

async fn check_empty<D: Disk>(disk: &D, dir: &Path) -> Result<()> {
    let names = disk.list(dir).await.map_err(|error| match error.kind() {
        io::ErrorKind::NotADirectory => {
            Error::NotAStore { path: dir.to_path_buf(), what: "it is not a directory".into() }
        }
        _ => Error::io("list", dir, error),
    })?;
    let listing = Listing::new(names);
    if !listing.manifests.is_empty() {
        return Err(Error::Exists { path: dir.to_path_buf() });
    }
    if listing.has_parts() {
        let what = "parts of a store are here, but no manifest; salvage them, or choose another directory";
        return Err(Error::corrupt(dir, 0, what));
    }
    // A mount point's own directory is no reason to refuse it.
    match listing.foreign.iter().find(|name| *name != "lost+found") {
        None => Ok(()),
        Some(name) => Err(Error::NotAStore {
            path: dir.to_path_buf(),
            what: format!("it holds {}; choose an empty directory", name.display()).into(),
        }),
    }
}

/// Refuses a schema that the log or this process's open files could not hold.
pub(super) fn check_fit<D: Disk>(disk: &D, schema: &Schema, log_bytes: u64) -> Result<()> {
    let files = schema.files().len();
    // The fullest record that must fit: a page less one byte of each file, and the sums of the pages before.
    let given = u64::from(record::pages(Some((files, files, 1, files * PAGE)), Some(NOTE_BYTES_MAX)));
    let max = log_bytes / PAGE as u64;
    if given > max {
        let what = "the columns, in pages of log that a commit of them can take (see log_bytes),".into();
        return Err(Error::Limit { what, given, max });
    }
    let max =
        disk.open_files_max().map_err(|error| Error::io("ask for limits of", Path::new("/proc"), error))?;
    let given = 2 * files as u64 + OTHER_FILES;
    if given > max {
        let what = "the files that these columns need open (raise it with ulimit -n)".into();
        return Err(Error::Limit { what, given, max });
    }
    Ok(())
}

/// LOCK, two log files, a manifest, sums, a directory, and what a program has open besides.
const OTHER_FILES: u64 = 16;

/// Bytes of a record for each chunk that a commit goes through.
const CHUNK_COST: u64 = 12;

/// The most bytes that one commit may hold, so that the sums of all its chunks fit one log file.
pub(super) fn commit_bytes_max(schema: &Schema, log_bytes: u64, memory_bytes: u64) -> u64 {
    let files = schema.files().len();
    let fixed = record::bytes(Some((files, 2 * files, 2, files * PAGE)), Some(NOTE_BYTES_MAX)) as u64;
    // A chunk of keys costs a sum and a first key, one of values less. The commit brings the tails into their
    // files too, all of which came in through the log.
    let tails = 2 * log_bytes.div_ceil(CHUNK) * CHUNK_COST;
    let left = log_bytes.saturating_sub(fixed + tails);
    memory_bytes.min(left / CHUNK_COST * CHUNK + PAGE as u64)
}
