//! `tidelog inspect`: what lies on disk.
//!
//! Not here: the words (docs/format.md), which the library makes.

use std::io::{Write, stdout};
use std::path::PathBuf;

use anyhow::Result;
use clap::Subcommand;
use tidelog::disk::Disk;
use tidelog::{Hex, Options, Store, inspect_on};

use crate::disk::OnDisk;
use crate::exit::Fault;

/// Show what lies on disk, in the words of docs/format.md
#[derive(clap::Args)]
#[command(before_help = "example:  tidelog inspect /data/ticks log")]
pub(crate) struct Inspect {
    /// The store
    dir: PathBuf,
    /// Show the bytes too
    #[arg(long, global = true)]
    hex: bool,
    #[command(subcommand)]
    what: Option<What>,
}

/// Which part of a store.
#[derive(Subcommand)]
enum What {
    /// The newest manifest, field by field
    Manifest,
    /// Each record in the log
    Log,
    /// The files of a slot
    Slot {
        /// Its number, as in raw-<N>
        number: u32,
    },
    /// What is in a sealed segment: row groups, codecs, bits a value
    Segment {
        /// Its number, as in <N>.segment
        number: u64,
    },
    /// One block of a sealed segment
    Block {
        /// The number of its segment
        number: u64,
        /// The name of the column, or `key`
        column: String,
        /// Which row group of the segment, from 0
        group: usize,
    },
}

impl OnDisk for Inspect {
    async fn run<D: Disk>(self, disk: D) -> Result<()> {
        let what = match self.what {
            None => tidelog::Inspect::Store,
            Some(What::Manifest) => tidelog::Inspect::Manifest,
            Some(What::Log) => tidelog::Inspect::Log,
            Some(What::Slot { number }) => tidelog::Inspect::Slot(number),
            Some(What::Segment { number }) => tidelog::Inspect::Segment(number),
            Some(What::Block { number, column, group }) => {
                let store = Store::follow_on(disk.clone(), &self.dir, Options::default()).await?;
                let found = store.schema().column(&column);
                if found.is_none() && column != "key" {
                    return Err(Fault::usage(format!("the store has no column `{column}`")).into());
                }
                tidelog::Inspect::Block { segment: number, column: found, group }
            }
        };
        let hex = if self.hex { Hex::Shown } else { Hex::Hidden };
        let text = inspect_on(disk, &self.dir, what, hex).await?;
        Ok(stdout().write_all(text.as_bytes())?)
    }
}
