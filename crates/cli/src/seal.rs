//! Sealing finished segments beside what a command does.
//!
//! Not here: sealing itself (the library).

use anyhow::{Context, Result};
use tidelog::disk::Disk;
use tidelog::{Error, Maintain, Maintained, Store, Writer};

/// Seals one segment, if one is finished. On a full disk it stays as it is: no row is the worse for it.
pub(crate) async fn one<D: Disk>(store: &Store<D>) -> Result<Option<Maintained>> {
    loop {
        return match store.maintain(Maintain::Seal).await {
            // As long as rows are encoded ahead no segment is finished.
            Ok(Maintained::Encoded { .. }) => continue,
            Ok(Maintained::Nothing) | Err(Error::Full { .. }) => Ok(None),
            sealed => Ok(Some(sealed.context("all rows are there, a segment of them could not be sealed")?)),
        };
    }
}

/// Seals all finished segments; how many bytes their rows took, and take now.
pub(crate) async fn all<D: Disk>(writer: &mut Writer<D>) -> Result<(u64, u64)> {
    let store = writer.store();
    let (mut before, mut after) = (0, 0);
    while let Some(Maintained::Sealed { bytes_before, bytes_after, .. }) = one(&store).await? {
        (before, after) = (before + bytes_before, after + bytes_after);
        writer.checkpoint().await?;
    }
    Ok((before, after))
}
