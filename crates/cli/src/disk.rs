//! Which disk a command works on, and the executor that it runs on.
//!
//! Not here: the disks themselves (`tidelog::disk`).

use anyhow::{Context, Result};
use clap::ValueEnum;
use futures::executor::block_on;
use tidelog::disk::{Disk, Glommio, Posix};

/// How the disk is asked.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub(crate) enum Engine {
    /// io_uring, direct I/O
    #[default]
    Glommio,
    /// plain system calls, which block: for containers without io_uring
    Posix,
}

/// A command that touches the disk, whichever it is.
pub(crate) trait OnDisk {
    /// Does it.
    async fn run<D: Disk>(self, disk: D) -> Result<()>;
}

impl Engine {
    /// Its name, as in `--disk NAME`.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Engine::Glommio => "glommio",
            Engine::Posix => "posix",
        }
    }

    /// Runs `work` to its end, on the calling thread.
    pub(crate) fn run(self, work: impl OnDisk) -> Result<()> {
        match self {
            Engine::Glommio => {
                Glommio::check().context("`--disk glommio` cannot work here, `--disk posix` can")?;
                self.block_on(work.run(Glommio::default()))
            }
            Engine::Posix => self.block_on(work.run(Posix::default())),
        }
    }

    /// Runs a future to its end, on the calling thread, in an executor that this disk works in.
    pub(crate) fn block_on(self, future: impl Future<Output = Result<()>>) -> Result<()> {
        match self {
            Engine::Glommio => Glommio::run(future)?,
            Engine::Posix => block_on(future),
        }
    }
}
