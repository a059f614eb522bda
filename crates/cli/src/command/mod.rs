//! The commands, a file each: its arguments, and what it does.
//!
//! Not here: what they have in common (`exit`, `disk`).

use anyhow::Result;
use clap::Subcommand;

use crate::disk::Engine;

mod bench;
mod completions;
mod demo;

/// What is to be done.
#[derive(Subcommand)]
pub(crate) enum Command {
    Demo(demo::Demo),
    Bench(bench::Bench),
    Completions(completions::Completions),
}

impl Command {
    /// Does it on this disk.
    pub(crate) fn run(self, disk: Engine) -> Result<()> {
        match self {
            Command::Demo(demo) => disk.run(demo),
            Command::Bench(bench) => bench.run(disk),
            Command::Completions(completions) => completions.run(),
        }
    }
}
