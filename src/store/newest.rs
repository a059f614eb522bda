//! The newest manifest, as who holds no lock finds it: beside a writer that publishes others.
//!
//! A listing is not atomic: a rename and an unlink meanwhile can hide both names, and what was listed may have
//! gone when it is opened. So names are listed again, ten times at most.
//!
//! Not here: how one becomes the newest (`publish`), what is built on it (`recover`, `follow`).

use std::io;
use std::path::Path;

use super::names::{self, Listing};
use super::shared::Shared;
use crate::disk::{Disk, File, Mode, PAGE, TRANSFER_BYTES_MAX, read_exact};
use crate::error::{Error, Result};
use crate::format::manifest::{self, Manifest};
use crate::mutant::{self, Mutant};

/// How often names are listed before it is believed that none is there.
pub(super) const ATTEMPTS: usize = 10;

/// The generation of the newest manifest.
///
/// # Errors
/// `NotAStore` if there is none; `Corrupt` if there are only other parts of a store.
pub(super) async fn generation<D: Disk>(disk: &D, dir: &Path) -> Result<u64> {
    let attempts = if mutant::is(Mutant::NotListedAgain) { 1 } else { ATTEMPTS };
    let (mut left, mut parts) = (attempts, false);
    loop {
        let listing = list(disk, dir).await?;
        if let Some(newest) = listing.manifests.last() {
            return Ok(*newest);
        }
        // Parts are made behind a manifest: the listings before this one met a creation.
        if listing.has_parts() && !parts {
            (left, parts) = (attempts, true);
        }
        left -= 1;
        if left == 0 {
            return Err(not_yet(dir, &listing));
        }
    }
}

/// The generation of a manifest that is newer than this one, if there is one. One that became the newest while
/// names were listed may be missed by that listing, and not by all.
pub(crate) async fn newer<D: Disk>(disk: &D, dir: &Path, than: u64) -> Result<Option<u64>> {
    for _ in 0..ATTEMPTS {
        let newest = generation(disk, dir).await?;
        if newest > than {
            return Ok(Some(newest));
        }
    }
    Ok(None)
}

/// The newest manifest.
///
/// # Errors
/// As [`generation`]; `Corrupt` if it is damaged, `Version` if a newer tidelog wrote it; `Io`.
pub(crate) async fn newest<D: Disk>(disk: &D, dir: &Path) -> Result<Manifest> {
    let mut attempts = 1..ATTEMPTS;
    loop {
        let newest = generation(disk, dir).await?;
        match read(disk, dir, newest).await {
            Err(Error::Io { source, .. })
                if source.kind() == io::ErrorKind::NotFound && attempts.next().is_some() => {}
            manifest => return manifest,
        }
    }
}

/// What it means that bytes of a segment are not what they should be: damage, unless the newest manifest does not
/// say any more that this segment lies in this slot, or in its file. Then they were rightly given to another.
pub(crate) async fn judge<D: Disk>(
    shared: &Shared<D>,
    segment: u64,
    slot: Option<u32>,
    damage: Error,
) -> Error {
    if mutant::is(Mutant::NotAskedAgain) {
        return damage;
    }
    match newest(&shared.disk, &shared.dir).await {
        Ok(manifest) if manifest.places(segment, slot) => damage,
        Ok(_) => Error::SnapshotGone,
        Err(error) => error,
    }
}

async fn list<D: Disk>(disk: &D, dir: &Path) -> Result<Listing> {
    let refused = |what: &'static str| Error::NotAStore { path: dir.to_path_buf(), what: what.into() };
    disk.list(dir).await.map(Listing::new).map_err(|error| match error.kind() {
        io::ErrorKind::NotFound => refused("there is no such directory; create the store first"),
        io::ErrorKind::NotADirectory => refused("it is not a directory"),
        _ => Error::io("list", dir, error),
    })
}

/// Why a directory without a manifest is none.
pub(super) fn not_yet(dir: &Path, listing: &Listing) -> Error {
    if listing.has_parts() {
        let what = "parts of a store are here, but no manifest; salvage, or restore a copy";
        return Error::corrupt(dir, 0, what);
    }
    let what = if listing.temporaries.is_empty() {
        "there is no manifest in it; create the store first"
    } else {
        "its creation was not finished; create it again"
    };
    Error::NotAStore { path: dir.to_path_buf(), what: what.into() }
}

/// The manifest of this generation.
pub(super) async fn read<D: Disk>(disk: &D, dir: &Path, generation: u64) -> Result<Manifest> {
    let path = dir.join(names::manifest(generation));
    let read = async {
        let file = disk.open(&path, Mode::Read).await?;
        let len = file.len().await?;
        let mut bytes = Vec::new();
        if len >= PAGE as u64 {
            bytes.extend_from_slice(&read_exact(&file, 0, PAGE).await?);
        }
        // A length that is not the one stated is damage, and no reason to read what may be endless.
        let rest = if manifest::stated_bytes(&bytes) == Some(len) { len - PAGE as u64 } else { 0 };
        for offset in (PAGE as u64..PAGE as u64 + rest).step_by(TRANSFER_BYTES_MAX) {
            let part = usize::try_from(len - offset).unwrap_or(usize::MAX).min(TRANSFER_BYTES_MAX);
            bytes.extend_from_slice(&read_exact(&file, offset, part).await?);
        }
        file.close().await?;
        Ok(bytes)
    };
    let bytes = read.await.map_err(|error| Error::io("read", &path, error))?;
    Manifest::decode(&bytes, generation).map_err(|malformed| malformed.at(&path))
}
