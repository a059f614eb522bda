//! `tidelog compact`: sealed segments rewritten, fewer and denser.
//!
//! Not here: choosing and rewriting them (the library).

use std::io::{Write, stdout};
use std::path::PathBuf;

use anyhow::{Context, Result};
use serde_json::json;
use tidelog::disk::Disk;
use tidelog::{Maintain, Maintained, Options, SegmentState, Store, Tier, Writer};

use crate::disk::OnDisk;
use crate::exit::{Code, Fault};
use crate::progress::Progress;
use crate::seal;

/// Seal all rows of a store, and merge small segments
///
/// No row changes, and readers go on. It needs space for the largest segment beside what it is made of; stopped at any
/// moment, by a full disk too, it leaves a whole store, and goes on when it is called again.
#[derive(clap::Args)]
#[command(before_help = "example:  tidelog compact ticks --dense")]
pub(crate) struct Compact {
    /// The store
    dir: PathBuf,
    /// Encode as small as can be, not as fast: for what is kept long
    #[arg(long)]
    dense: bool,
    /// Print one object with stable names
    #[arg(long)]
    json: bool,
}

/// What a store has in sealed segments.
struct Sealed {
    segments: u64,
    rows: u64,
    bytes: u64,
}

impl OnDisk for Compact {
    async fn run<D: Disk>(self, disk: D) -> Result<()> {
        let mut writer = Writer::open_on(disk, &self.dir, Options::default()).await?;
        let done = self.compact(&mut writer).await;
        // What was rewritten is so, whatever came then.
        let closed = writer.close().await;
        let text = done?;
        closed?;
        stdout().write_all(text.as_bytes())?;
        Ok(())
    }
}

impl Compact {
    async fn compact<D: Disk>(&self, writer: &mut Writer<D>) -> Result<String> {
        let store = writer.store();
        let bytes = stored_bytes(&store);
        writer.roll().await?;
        seal::all(writer).await?;
        if seal::has_finished(&store) {
            let what =
                "there is no space to seal all rows; all are there as they were: free space, and call again";
            return Err(Fault::new(Code::Failed, what).into());
        }
        let tier = if self.dense { Tier::Dense } else { Tier::Fast };
        let progress = Progress::new(None);
        let (mut rewritten_rows, mut rewritten_bytes) = (0, 0);
        loop {
            let did = store.maintain(Maintain::Compact(tier)).await;
            match did.context("all rows are there, segments of them could not be rewritten")? {
                Maintained::Compacted { rows, bytes_before, .. } => {
                    rewritten_rows += rows;
                    rewritten_bytes += bytes_before;
                    progress.at(rewritten_bytes, rewritten_rows);
                }
                _ => break,
            }
            writer.checkpoint().await?;
        }
        drop(progress);
        Ok(self.sum_up(&store, bytes, rewritten_rows))
    }

    fn sum_up<D: Disk>(&self, store: &Store<D>, bytes_before: u64, rewritten_rows: u64) -> String {
        let bytes_after = stored_bytes(store);
        let Sealed { segments, rows, bytes } = sealed(store);
        if self.json {
            let object = json!({
                "bytes_before": bytes_before,
                "bytes_after": bytes_after,
                "rewritten_rows": rewritten_rows,
                "sealed_segments": segments,
                "sealed_rows": rows,
                "sealed_bytes": bytes,
            });
            return format!("{object}\n");
        }
        let segments = if segments == 1 { "1 segment".to_owned() } else { format!("{segments} segments") };
        let dir = self.dir.display();
        format!(
            "{dir}: {rows} rows in {segments} of {bytes} bytes; {rewritten_rows} rows rewritten, all segments took \
             {bytes_before} bytes, and take {bytes_after}\n"
        )
    }
}

fn sealed<D: Disk>(store: &Store<D>) -> Sealed {
    let mut all = Sealed { segments: 0, rows: 0, bytes: 0 };
    for segment in store.stats().segments.iter().filter(|segment| segment.state == SegmentState::Sealed) {
        all.segments += 1;
        all.rows += segment.rows.end - segment.rows.start;
        all.bytes += segment.bytes;
    }
    all
}

fn stored_bytes<D: Disk>(store: &Store<D>) -> u64 {
    store.stats().segments.iter().map(|segment| segment.bytes).sum()
}
