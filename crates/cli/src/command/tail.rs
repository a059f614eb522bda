//! `tidelog tail`: the newest rows, and those that another process adds.
//!
//! Not here: how rows are written (`output`).

use std::io::{self, stdout};
use std::path::PathBuf;

use anyhow::Result;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use tidelog::disk::Disk;
use tidelog::{Options, Store};

use crate::disk::OnDisk;
use crate::output::{PreviousKey, Printer, Style};
use crate::schema::columns;

/// How long a follower waits before it looks again.
const LOOKS_EVERY: Timespec = Timespec { tv_sec: 0, tv_nsec: 100_000_000 };

/// Print the newest rows
#[derive(clap::Args)]
#[command(before_help = "example:  tidelog tail trades -n 5 --follow")]
pub(crate) struct Tail {
    /// The store's directory
    dir: PathBuf,
    /// How many rows
    #[arg(short = 'n', value_name = "N", default_value_t = 10)]
    rows: u64,
    /// Go on: print rows as they are committed, by whichever process
    #[arg(long, short)]
    follow: bool,
    #[command(flatten)]
    style: Style,
}

impl OnDisk for Tail {
    async fn run<D: Disk>(self, disk: D) -> Result<()> {
        let store = Store::follow_on(disk, &self.dir, Options::default()).await?;
        let (schema, reader) = (store.schema(), store.reader());
        let columns = columns(schema, None)?;
        let mut printer = Printer::new(schema, &columns, &self.style, PreviousKey::Absent)?;
        let mut snapshot = store.snapshot();
        let mut first = snapshot.rows().saturating_sub(self.rows);
        loop {
            let mut scan = reader.scan(&snapshot, ..).columns(&columns).rows(first..snapshot.rows());
            while let Some(batch) = scan.next().await? {
                printer.batch(&batch)?;
            }
            printer.flush()?;
            if !self.follow {
                return Ok(());
            }
            first = snapshot.rows();
            wait()?;
            snapshot = store.refresh().await?;
        }
    }
}

/// Waits, unless whoever reads the output goes away: that is all that this asks about. Nothing else is to be done on
/// this thread meanwhile.
fn wait() -> io::Result<()> {
    match poll(&mut [PollFd::new(&stdout(), PollFlags::empty())], Some(&LOOKS_EVERY)) {
        Ok(0) | Err(rustix::io::Errno::INTR) => Ok(()),
        Ok(_) => Err(io::ErrorKind::BrokenPipe.into()),
        Err(error) => Err(error.into()),
    }
}
