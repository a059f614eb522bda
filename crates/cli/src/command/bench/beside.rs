//! How long commits wait for sealing on the same core.
//!
//! Not here: sealing on another core (`sealed`).

use std::cell::Cell;
use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use futures::future::join;
use tidelog::disk::Disk;
use tidelog::{Maintain, Maintained, Options, Store, Writer};

use super::data::{Batch, Gaps, Rows, schema};
use super::figures::Figures;
use super::report::{Report, quantile, whole};

/// Rows of a commit.
const ROWS: usize = 1000;
/// Commits of a round: some segments.
const COMMITS: usize = 2000;
/// Small ones, so that there is always one to seal.
const SEGMENT_ROWS: u64 = 1 << 18;

impl<D: Disk> Figures<'_, D> {
    /// Commits of 1,000 rows, in turn alone and while the same executor seals what the others left.
    pub(super) async fn commit_beside_seal(&self, report: &mut Report) -> Result<()> {
        let options = Options::default().segment_rows(SEGMENT_ROWS);
        let dir = self.dir.join("beside");
        let mut writer = Writer::create_on(self.disk.clone(), dir, schema()?, options).await?;
        let store = writer.store();
        let mut rows = Rows::new(Gaps::Even);
        let (mut alone, mut beside, mut sealed) = (Vec::new(), Vec::new(), 0);
        let started = Instant::now();
        while started.elapsed() < self.time || beside.is_empty() {
            commits(&mut writer, &mut rows, &mut alone).await?;
            let ended = Cell::new(false);
            let commit = async {
                let committed = commits(&mut writer, &mut rows, &mut beside).await;
                ended.set(true);
                committed
            };
            let (committed, now) = join(commit, seal(&store, &ended)).await;
            committed?;
            sealed += now?;
        }
        writer.close().await?;
        ensure!(sealed > 0, "commit_beside_seal: nothing was sealed");
        let (alone, beside) = (quantile(&alone, 0.999), quantile(&beside, 0.999));
        report.put("commit_beside_seal", "alone_p999_ms", alone * 1e3);
        report.put("commit_beside_seal", "p999_ms", beside * 1e3);
        report.put("commit_beside_seal", "longer_ms", (beside - alone) * 1e3);
        report.put("commit_beside_seal", "sealed_rows", whole(sealed));
        Ok(())
    }
}

async fn commits<D: Disk>(writer: &mut Writer<D>, rows: &mut Rows, times: &mut Vec<Duration>) -> Result<()> {
    let mut batch = Batch::default();
    for _ in 0..COMMITS {
        rows.fill(&mut batch, ROWS);
        let start = Instant::now();
        writer.pending().append_batch(&batch.keys, &batch.values())?;
        writer.commit().await?;
        times.push(start.elapsed());
    }
    Ok(())
}

/// Seals until the commits have ended; how many rows.
async fn seal<D: Disk>(store: &Store<D>, ended: &Cell<bool>) -> Result<u64> {
    let mut sealed = 0;
    while !ended.get() {
        match store.maintain(Maintain::Seal).await? {
            Maintained::Sealed { rows, .. } => sealed += rows,
            // The next commit wakes this task.
            Maintained::Nothing => futures::pending!(),
            _ => {}
        }
    }
    Ok(sealed)
}
