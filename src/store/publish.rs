//! Making a manifest the newest: write, fsync, rename, fsync of the directory.
//!
//! Everything that the manifest names is durable before its rename; nothing that the one before it needs is
//! touched before the directory's fsync returned. One at a time, by the writer only.
//!
//! Not here: what is in a manifest (`core`).

use std::io;
use std::path::Path;

use super::names;
use crate::disk::{Disk, File, Mode, TRANSFER_BYTES_MAX, write_all};
use crate::error::{Error, Refused, Result};
use crate::format::manifest::Manifest;
use crate::mutant::{self, Mutant};

/// Publishes `manifest`. `Full` means that nothing has changed; any other error leaves it open which manifest is
/// the newest.
pub(super) async fn publish<D: Disk>(
    disk: &D,
    dir: &Path,
    lock: &D::Lock,
    manifest: &Manifest,
    epoch: u64,
) -> Result<()> {
    let temporary = dir.join(names::temporary(manifest.generation, epoch));
    // A leftover may still be written to by a dead writer: its name goes, and a new file takes it.
    let removed = match mutant::is(Mutant::LeftoverWrittenOver) {
        true => Ok(()),
        false => disk.remove(&temporary).await,
    };
    match removed {
        Err(error) if error.kind() != io::ErrorKind::NotFound => {
            return Err(Error::io("remove the leftover", &temporary, error));
        }
        _ => {}
    }
    let name = dir.join(names::manifest(manifest.generation));
    let mut made = write(disk, lock, &temporary, &manifest.encode()).await;
    if made.is_ok() {
        // Lack of space is no exception here: a rename that fails but for EIO has changed nothing (POSIX).
        let renamed = disk.rename(&temporary, &name).await;
        made = renamed.map_err(|error| Refused::new("rename to", &name, error));
    }
    if let Err(refused) = made {
        let error = refused.before_writing();
        if matches!(error, Error::Full { .. }) {
            match disk.remove(&temporary).await {
                // There may not even have been space to make it.
                Err(error) if error.kind() != io::ErrorKind::NotFound => {
                    return Err(Error::io("remove", &temporary, error));
                }
                _ => {}
            }
        }
        return Err(error);
    }
    if mutant::is(Mutant::OldManifestFirst) {
        remove_leftovers(disk, dir, &mut vec![names::manifest(manifest.generation - 1)]).await;
    }
    if !mutant::is(Mutant::NoDirectorySync) {
        disk.sync_dir(dir).await.map_err(|error| Error::io("sync", dir, error))?;
    }
    Ok(())
}

async fn write<D: Disk>(disk: &D, lock: &D::Lock, path: &Path, bytes: &[u8]) -> Result<(), Refused> {
    let refused = |error| Refused::new("write", path, error);
    let exclusive = !mutant::is(Mutant::LeftoverWrittenOver);
    let mode = if exclusive { Mode::CreateNew(lock) } else { Mode::Create(lock) };
    let file = disk.open(path, mode).await.map_err(refused)?;
    file.grow(bytes.len() as u64).await.map_err(refused)?;
    for (offset, part) in (0..).step_by(TRANSFER_BYTES_MAX).zip(bytes.chunks(TRANSFER_BYTES_MAX)) {
        let mut buffer = file.buffer(part.len());
        buffer.copy_from_slice(part);
        write_all(&file, offset, buffer).await.map_err(refused)?;
    }
    if !mutant::is(Mutant::NoManifestSync) {
        disk.sync_files(&[&file]).await.map_err(|error| Refused::new("sync", path, error))?;
    }
    file.close().await.map_err(|error| Refused::new("close", path, error))
}

/// Removes older manifests and temporaries: nothing needs them. A name that cannot be removed stays on the list,
/// for the next time; that is no error, since nothing depends on its being gone.
pub(super) async fn remove_leftovers<D: Disk>(disk: &D, dir: &Path, leftovers: &mut Vec<String>) {
    let mut kept = Vec::new();
    for name in leftovers.drain(..) {
        match disk.remove(&dir.join(&name)).await {
            Err(error) if error.kind() != io::ErrorKind::NotFound => kept.push(name),
            _ => {}
        }
    }
    *leftovers = kept;
}
