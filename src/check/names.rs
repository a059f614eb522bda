//! Names: what is there besides what the manifest names.
//!
//! Not here: what should be there and is not (`sweep`, `log`).

use std::ffi::{OsStr, OsString};
use std::path::{Path, PathBuf};

use super::report::Checked;
use crate::disk::Disk;
use crate::error::{Error, Result};
use crate::log;
use crate::segment::Segment;
use crate::segment::read::{Body, RawSegment};
use crate::store::names::{self, LOCK, Listing};
use crate::store::shared::Shared;

const UNNAMED: &str = "no manifest names it; nothing depends on it";
const FOREIGN: &str = "it is not tidelog's, and is left alone";

/// Whether a directory without a manifest is what a creation leaves that was not finished: nothing but LOCK and
/// temporaries.
pub(super) fn is_unfinished(names: &[OsString]) -> bool {
    let listing = Listing::new(names.to_vec());
    let begun = names.iter().any(|name| name == LOCK) || !listing.temporaries.is_empty();
    begun && listing.manifests.is_empty() && !listing.has_parts() && listing.foreign.is_empty()
}

/// Notes what is in the directory and in the slots that `segments` lie in besides what `generation` names.
///
/// # Errors
/// `Io` if a directory cannot be listed.
pub(super) async fn check<D: Disk>(
    shared: &Shared<D>,
    generation: u64,
    has_log: bool,
    segments: &[Segment],
    checked: &mut Checked,
) -> Result<()> {
    let Shared { disk, dir, .. } = shared;
    let listing = Listing::new(list(disk, dir).await?);
    for older in listing.manifests.iter().filter(|manifest| **manifest < generation) {
        let what = "an older manifest; it goes when the next one is published";
        checked.notice(dir.join(names::manifest(*older)), None, what);
    }
    for name in listing.temporaries {
        let what =
            "a manifest that was not finished; it means nothing, and goes when the next one is published";
        checked.notice(dir.join(name), None, what);
    }
    let named = |name: &OsStr| has_log && log::NAMES.iter().any(|log| *log == name);
    for name in listing.logs.iter().filter(|name| !named(name)) {
        checked.notice(dir.join(name), None, UNNAMED);
    }
    let sealed =
        |number: u64| segments.iter().any(|segment| segment.slot().is_none() && segment.number() == number);
    for number in listing.segments.into_iter().filter(|number| !sealed(*number)) {
        checked.notice(crate::segment::path(dir, number), None, UNNAMED);
    }
    for slot in listing.slots {
        if !segments.iter().any(|segment| segment.slot() == Some(slot)) {
            checked.notice(crate::segment::slot::path(dir, slot), None, "a free slot; it will be used again");
        }
    }
    for name in listing.foreign {
        checked.notice(dir.join(name), None, FOREIGN);
    }
    let raw = segments.iter().filter_map(|segment| match segment {
        Segment::Raw(segment) => Some(segment),
        Segment::Sealed(_) => None,
    });
    for segment in raw {
        check_slot(shared, segment, checked).await?;
    }
    Ok(())
}

async fn check_slot<D: Disk>(shared: &Shared<D>, segment: &RawSegment, checked: &mut Checked) -> Result<()> {
    let path: PathBuf = segment.path(&shared.dir);
    let names = match list(&shared.disk, &path).await {
        // That has been told, file by file.
        Err(Error::Io { source, .. }) if source.kind() == std::io::ErrorKind::NotFound => return Ok(()),
        names => names?,
    };
    let mut expected: Vec<String> = shared.schema.files().iter().map(|file| file.name()).collect();
    expected.extend(matches!(segment.body, Body::Finished(_)).then(|| "sums".to_owned()));
    for name in names.iter().filter(|name| !expected.iter().any(|known| known.as_str() == *name)) {
        checked.notice(path.join(name), None, UNNAMED);
    }
    Ok(())
}

async fn list<D: Disk>(disk: &D, dir: &Path) -> Result<Vec<OsString>> {
    disk.list(dir).await.map_err(|error| Error::io("list", dir, error))
}
