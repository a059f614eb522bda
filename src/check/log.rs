//! The log: whether every acknowledged record is there, and what stands behind the last one.
//!
//! The walk is the follower's, which knows what a live writer may do meanwhile.
//!
//! Not here: what records bring to the segments (`segment`).

use super::report::Checked;
use crate::disk::{Disk, File};
use crate::error::{Error, Result};
use crate::format::manifest::LogPosition;
use crate::log::walk::{self, Begun, Chain};
use crate::log::{self, LogFile};
use crate::store::follow::Follower;
use crate::store::newest;

const TORN: &str = "a commit was begun here and is not finished; unless a writer is at work on it just now, it was \
                    never acknowledged, and open drops it";
const STRANGE: &str = "what stands here is no record: a leftover of an earlier round of the log, or a last commit \
                       that was torn, or has rotted, which nobody can tell apart";

/// Takes over what the log holds, as far as it can be followed.
///
/// # Errors
/// What is no damage.
pub(super) async fn check<D: Disk>(follower: &Follower<D>, pages: u32, checked: &mut Checked) -> Result<()> {
    let shared = &follower.shared;
    if let Err(error) = follower.refresh().await {
        return checked.take_down(error);
    }
    let Some((generation, at)) = follower.position().await else {
        let unused = walk::check_unused(&shared.disk, &shared.dir, pages, &shared.id).await;
        return unused.or_else(|error| checked.take_down(error));
    };
    let files = match log::open_to_read(&shared.disk, &shared.dir).await {
        Ok(files) => files,
        Err(error) => return checked.take_down(error),
    };
    let looked = look(follower, &files, pages, generation, at, checked).await;
    for log in files {
        // Nothing was written through it: whether closing fails concerns nobody.
        let _ = log.file.close().await;
    }
    looked.or_else(|error| checked.take_down(error))
}

/// Looks at what the walk does not need.
async fn look<D: Disk>(
    follower: &Follower<D>,
    files: &[LogFile<D::File>; 2],
    pages: u32,
    generation: u64,
    at: LogPosition,
    checked: &mut Checked,
) -> Result<()> {
    let shared = &follower.shared;
    let begun = Begun::find(files, pages, &shared.id).await?;
    let mut chain = Chain::new(files, pages, &shared.id);
    if let Err(error) = begun.check_generation(&mut chain, generation).await {
        let newer = newest::newer(&shared.disk, &shared.dir, generation).await?;
        return if newer.is_some() { Err(Error::SnapshotGone) } else { Err(error) };
    }
    let (found, what) = match chain.torn(&at).await? {
        Some(place) => (Some(place), TORN),
        None => (chain.strange(&at).await?, STRANGE),
    };
    if let Some(place) = found {
        checked.notice(chain.path(place).to_path_buf(), Some(place.offset()), what);
    }
    Ok(())
}
