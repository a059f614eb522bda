//! The commands, a file each: its arguments, and what it does.
//!
//! Not here: what they have in common (`exit`, `disk`, `input`, `output`, `figure`).

use anyhow::Result;
use clap::Subcommand;

use crate::disk::Engine;

mod agg;
mod bench;
mod check;
mod compact;
mod completions;
mod create;
mod demo;
mod doctor;
mod get;
mod ingest;
mod inspect;
mod plot;
mod scan;
mod stat;
mod tail;

/// What is to be done.
#[derive(Subcommand)]
pub(crate) enum Command {
    Demo(demo::Demo),
    Create(create::Create),
    Ingest(ingest::Ingest),
    Scan(scan::Scan),
    Get(get::Get),
    Agg(agg::Agg),
    Plot(plot::Plot),
    Tail(tail::Tail),
    Stat(stat::Stat),
    Check(check::Check),
    Compact(compact::Compact),
    Inspect(inspect::Inspect),
    Bench(bench::Bench),
    Doctor(doctor::Doctor),
    Completions(completions::Completions),
}

impl Command {
    /// Does it on this disk.
    pub(crate) fn run(self, disk: Engine) -> Result<()> {
        match self {
            Command::Demo(demo) => disk.run(demo),
            Command::Create(create) => disk.run(create),
            Command::Ingest(ingest) => disk.run(ingest),
            Command::Scan(scan) => disk.run(scan),
            Command::Get(get) => disk.run(get),
            Command::Agg(agg) => disk.run(agg),
            Command::Plot(plot) => disk.run(plot),
            Command::Tail(tail) => disk.run(tail),
            Command::Stat(stat) => disk.run(stat),
            Command::Check(check) => disk.run(check),
            Command::Compact(compact) => disk.run(compact),
            Command::Inspect(inspect) => disk.run(inspect),
            Command::Doctor(doctor) => doctor.run(disk),
            Command::Bench(bench) => bench.run(disk),
            Command::Completions(completions) => completions.run(),
        }
    }
}
