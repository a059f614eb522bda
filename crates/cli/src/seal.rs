//! Sealing finished segments beside what a command does.
//!
//! Not here: sealing itself (the library).

use anyhow::{Context, Result};
use tidelog::disk::Disk;
use tidelog::{Error, Maintain, Maintained, SegmentState, Store, Writer};

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
    // Where none is finished, rows would be encoded ahead of a segment that others will finish.
    while has_finished(&store)
        && let Some(Maintained::Sealed { bytes_before, bytes_after, .. }) = one(&store).await?
    {
        (before, after) = (before + bytes_before, after + bytes_after);
        writer.checkpoint().await?;
    }
    Ok((before, after))
}

/// Whether a segment waits to be sealed.
pub(crate) fn has_finished<D: Disk>(store: &Store<D>) -> bool {
    store.stats().segments.iter().any(|segment| segment.state == SegmentState::Finished)
}

#[cfg(test)]
mod tests {
    use futures::executor::block_on;
    use tidelog::disk::Posix;
    use tidelog::{Options, Schema};

    use super::*;

    #[test]
    fn all_that_is_finished_is_sealed_and_nothing_is_encoded_ahead() {
        const ROWS: u64 = 40_000;
        let (dir, options) = (tempfile::tempdir().unwrap(), Options::default().segment_rows(ROWS));
        let dir = dir.path().join("store");
        let sealed = block_on(async {
            let schema = Schema::new([])?;
            let mut writer = Writer::create_on(Posix::default(), dir, schema, options).await?;
            let store = writer.store();
            assert_eq!(one(&store).await?, None, "but it is known from now on that somebody seals");
            for first in (0..2 * ROWS).step_by(20_000) {
                let keys: Vec<u64> = (first..first + 20_000).collect();
                writer.pending().append_batch(&keys, &[])?;
                writer.commit().await?;
            }
            let (before, after) = all(&mut writer).await?;
            assert!(before == 8 * ROWS && after < before && !has_finished(&store), "{before} to {after}");
            store.maintain(Maintain::Seal).await.context("what all has left")
        });
        assert!(matches!(sealed.unwrap(), Maintained::Encoded { rows, .. } if rows.start >= ROWS));
    }
}
