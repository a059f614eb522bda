//! Verifying a store: every byte that an answer depends on, and nothing is written.
//!
//! Names, the newest manifest, the log, then segment by segment every file: chunks against their checksums, padding,
//! and what the bytes mean, by the very code that answers are made with. A damaged place is taken down and the check
//! goes on behind it. Beside a live writer, bytes that a newer manifest has given to something else are no damage:
//! then all is looked at again.
//!
//! Memory: the log's state, some windows of rows, and as much of a cache as the options say.
//!
//! Not here: repairing anything.

use std::path::Path;

use crate::disk::{Disk, Glommio};
use crate::error::{Error, Result};
use crate::options::Options;
use crate::reader::holdings::Holdings;
use crate::segment::Segment;
use crate::snapshot::Store;
use crate::store::follow::Follower;
use crate::store::newest;

mod column;
mod log;
mod names;
mod report;
mod sealed;
mod segment;
mod sweep;

pub use report::{Checked, Damage, Notice};

/// How often a store is looked at from the start because a writer gave its files to other rows meanwhile.
const ATTEMPTS: usize = 10;

/// Verifies every byte that an answer of the store in `dir` depends on. Takes no lock and writes nothing; a writer may
/// be at work meanwhile. See [`check_on`].
///
/// # Errors
/// As [`check_on`].
pub async fn check(dir: impl AsRef<Path>, options: Options) -> Result<Checked> {
    check_on(Glommio::default(), dir, options).await
}

/// As [`check`], on any disk. Damage is no error: it is what the answer tells, place by place
/// ([`Checked::damage`]); so is a creation that was not finished ([`Checked::notices`]).
///
/// # Errors
/// `NotAStore` if there is none; `Version` if a newer tidelog wrote it; `SnapshotGone` if a writer is faster than the
/// check, ten times; `Io`, `Unsupported`.
///
/// ```
/// use tidelog::disk::Posix;
/// use tidelog::{Options, Schema, Writer, check_on};
///
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// # let dir = tempfile::tempdir()?;
/// # let dir = dir.path().join("ticks");
/// # futures::executor::block_on(async {
/// let mut writer = Writer::create_on(Posix::default(), &dir, Schema::new([])?, Options::default()).await?;
/// writer.pending().append(1_700_000_000, &[])?;
/// writer.commit().await?;
/// let checked = check_on(Posix::default(), &dir, Options::default()).await?;
/// assert!(checked.is_intact());
/// assert_eq!(checked.rows, 1);
/// # Ok(())
/// # })
/// # }
/// ```
pub async fn check_on<D: Disk>(disk: D, dir: impl AsRef<Path>, options: Options) -> Result<Checked> {
    let mut attempts = 1..ATTEMPTS;
    loop {
        match look(&disk, dir.as_ref(), &options).await {
            Err(Error::SnapshotGone) if attempts.next().is_some() => {}
            checked => return checked,
        }
    }
}

async fn look<D: Disk>(disk: &D, dir: &Path, options: &Options) -> Result<Checked> {
    options.check()?;
    let mut checked = Checked::default();
    if let Ok(names) = disk.list(dir).await
        && names::is_unfinished(&names)
    {
        let what = "the creation of this store was not finished; it is no store yet, create it again";
        checked.notice(dir.to_path_buf(), None, what);
        return Ok(checked);
    }
    let manifest = match newest::newest(disk, dir).await {
        Ok(manifest) => manifest,
        Err(error) => {
            checked.take_down(error)?;
            return Ok(checked);
        }
    };
    let (generation, pages) = (manifest.generation, manifest.log.pages);
    let follower = Follower::at(disk.clone(), dir, options.clone(), manifest);
    log::check(&follower, pages, &mut checked).await?;
    let position = follower.position().await;
    let (generation, has_log) = (position.map_or(generation, |(newest, _)| newest), position.is_some());
    let snapshot = Store::new(follower.shared.clone()).snapshot();
    // The first manifest names no slot.
    let count = if has_log { snapshot.segments() } else { 0 };
    let segments: Vec<Segment> = (0..count).map(|index| snapshot.segment(index)).collect();
    checked.rows = snapshot.rows();
    checked.segments = segments.len() as u64;
    let holdings = Holdings::new(follower.shared.clone());
    let mut sums = vec![None; follower.shared.schema.columns().len()];
    for segment in &segments {
        let part = match segment {
            Segment::Raw(segment) => segment::check(&holdings, segment.clone()).await?,
            Segment::Sealed(segment) => sealed::check(&holdings, segment.clone(), &mut sums).await?,
        };
        if let Some(damage) = part.damage.first() {
            let error = Error::corrupt(&damage.path, damage.offset, damage.what.clone());
            // Whether it is damage: a writer may have given the files to other rows.
            match newest::judge(&follower.shared, segment.number(), segment.slot(), error).await {
                Error::Corrupt { .. } => {}
                other => return Err(other),
            }
        }
        checked.extend(part);
    }
    names::check(&follower.shared, generation, has_log, &segments, &mut checked).await?;
    Ok(checked)
}
