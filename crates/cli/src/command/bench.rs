//! `tidelog bench`: the disk's floors, then the store, as ratios.
//!
//! Not here: peers (other stores), figures of what this version does not have yet.

use std::io::{Write, stdout};
use std::path::PathBuf;

use anyhow::{Context, Result};
use serde_json::{Map, Value};
use tidelog::disk::Disk;

use crate::disk::{Engine, OnDisk};
use crate::exit::say;
use crate::machine;

mod beside;
mod data;
mod figures;
pub(super) mod floors;
pub(super) mod report;
mod sealed;

use figures::Figures;
use floors::Written;
use report::Report;

/// Measure what the disk can do, then the store, as ratios; 4 GiB are written for it
#[derive(clap::Args)]
#[command(before_help = "example:  tidelog bench --dir /data --rows 5000000")]
pub(crate) struct Bench {
    /// An existing directory on the disk to be measured; what is made in it goes afterwards
    #[arg(long, default_value_os_t = std::env::temp_dir(), hide_default_value = true)]
    dir: PathBuf,
    /// Rows of the large ingest
    #[arg(long, value_name = "N", default_value_t = 20_000_000, value_parser = clap::value_parser!(u64).range(1..))]
    rows: u64,
    /// Only this figure, or these: NAME,NAME
    #[arg(long, value_name = "NAME", value_delimiter = ',', value_parser = FIGURES)]
    only: Vec<String>,
    /// Print one object with stable names
    #[arg(long)]
    json: bool,
    /// A twentieth of the time: to see that it works, not to quote
    #[arg(long)]
    quick: bool,
}

/// What `--only` takes.
const FIGURES: [&str; 14] = [
    "append_1",
    "batch_1000",
    "batch_65536",
    "group_64",
    "commit_beside_seal",
    "ingest_sealed",
    "scan_cold",
    "scan_warm",
    "get_cold",
    "get_warm",
    "agg",
    "open",
    "compact",
    "irregular",
];

/// Those that are measured on one sealed store.
const SEALED: [&str; 8] =
    ["ingest_sealed", "scan_cold", "scan_warm", "get_cold", "get_warm", "agg", "open", "compact"];

impl Bench {
    pub(crate) fn run(self, engine: Engine) -> Result<()> {
        engine.run(Measure { request: self, engine })
    }
}

/// Which figures were asked for.
#[derive(Clone, Copy)]
struct Only<'a>(&'a [String]);

impl Only<'_> {
    fn wants(self, name: &str) -> bool {
        self.0.is_empty() || self.0.iter().any(|only| only == name)
    }

    fn wants_any(self, names: &[&str]) -> bool {
        names.iter().any(|name| self.wants(name))
    }
}

/// What was asked for, and the disk's name.
struct Measure {
    request: Bench,
    engine: Engine,
}

impl OnDisk for Measure {
    async fn run<D: Disk>(self, disk: D) -> Result<()> {
        let report = measure(disk, self.engine, &self.request).await?;
        let shown =
            if self.request.json { format!("{}\n", Value::Object(report)) } else { report::text(&report) };
        Ok(stdout().write_all(shown.as_bytes())?)
    }
}

/// Measures; returns the facts that figures depend on, and the figures.
async fn measure<D: Disk>(disk: D, engine: Engine, request: &Bench) -> Result<Map<String, Value>> {
    let dir = tempfile::Builder::new().prefix("tidelog-bench-").tempdir_in(&request.dir);
    let dir = dir.with_context(|| format!("could not make a directory in {}", request.dir.display()))?;
    let floor = Written::new(dir.path(), if request.quick { 256 << 20 } else { 4 << 30 })?;
    let bench = Figures::new(disk, dir.path(), &floor, request.rows, request.quick);
    let mut report = Report::default();
    let only = Only(&request.only);
    if only.wants("append_1") {
        say(format_args!("append_1: one durable row"));
        bench.append_1(&mut report).await?;
    }
    if only.wants("batch_1000") {
        say(format_args!("batch_1000: durable batches"));
        bench.batch_1000(&mut report).await?;
    }
    if only.wants("group_64") {
        say(format_args!("group_64: 64 callers"));
        bench.group_64(&mut report).await?;
    }
    if only.wants("batch_65536") {
        say(format_args!("batch_65536: {} rows", request.rows));
        bench.batches(&mut report).await?;
    }
    if only.wants("commit_beside_seal") {
        say(format_args!("commit_beside_seal: durable batches, and sealing on the same core"));
        bench.commit_beside_seal(&mut report).await?;
    }
    if only.wants_any(&SEALED) {
        say(format_args!("{}: {} rows", SEALED.join(", "), request.rows));
        bench.sealed(&mut report, engine, only).await?;
    }
    let mut irregular = Report::default();
    if only.wants("irregular") {
        say(format_args!("irregular: {} rows whose keys are not evenly spaced", request.rows));
        bench.irregular(&mut irregular, engine).await?;
    }
    if let Some(bytes) = machine::peak_memory_bytes() {
        say(format_args!("most memory at once: {} MB", bytes / 1_000_000));
    }
    let mut facts = Map::new();
    facts.insert("rows".to_owned(), request.rows.into());
    facts.insert("columns".to_owned(), 4.into());
    facts.insert("engine".to_owned(), engine.name().into());
    facts.extend(machine::facts(dir.path()));
    let mut all = report.json(facts);
    let irregular = irregular.json(Map::new());
    if !irregular.is_empty() {
        all.insert("irregular".to_owned(), Value::Object(irregular));
    }
    Ok(all)
}
