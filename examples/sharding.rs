//! One store for each core: trades are spread over shards by their symbol, each shard has its own executor, writer
//! and directory, and nothing is shared between them. A query asks every shard and merges what comes by key.
//!
//! The rule that spreads rows is the caller's. By symbol, each symbol's rows stay in order in one store; a store
//! is the unit of snapshots and of commits, so what must be committed together belongs to one shard.
//!
//! `cargo run --release --example sharding`

use std::collections::BTreeMap;
use std::error::Error;
use std::path::{Path, PathBuf};
use std::thread;
use std::time::Instant;

use tidelog::disk::{Core, Glommio};
use tidelog::{Column, Kind, Options, Result, Schema, Values, Writer};

const SYMBOLS: u32 = 64;
const BATCHES: u64 = 50;
const ROWS: usize = 20_000;

fn shard_of(symbol: u32, shards: usize) -> usize {
    symbol as usize % shards
}

/// What a feed would bring to one shard: keys, symbols, prices in ticks.
fn feed(batch: u64, symbols: &[u32]) -> (Vec<u64>, Vec<u32>, Vec<i64>) {
    let row = |row: usize| {
        let key = (batch * ROWS as u64 + row as u64) * 1_000;
        let symbol = symbols[row % symbols.len()];
        (key, symbol, i64::from(symbol) * 100 + i64::try_from(batch % 7).unwrap_or(0))
    };
    let (mut keys, mut names, mut ticks) = (Vec::new(), Vec::new(), Vec::new());
    for (key, symbol, tick) in (0..ROWS).map(row) {
        keys.push(key);
        names.push(symbol);
        ticks.push(tick);
    }
    (keys, names, ticks)
}

/// One shard's life: ingest durably, then count each symbol's rows in a range of keys.
async fn shard(dir: PathBuf, symbols: Vec<u32>) -> Result<BTreeMap<u32, u64>> {
    let schema = Schema::new([Column::new("symbol", Kind::U32), Column::new("ticks", Kind::I64)])?;
    let mut writer = Writer::create(&dir, schema, Options::default()).await?;
    for batch in 0..BATCHES {
        let (keys, names, ticks) = feed(batch, &symbols);
        writer.pending().append_batch(&keys, &[Values::U32(&names), Values::I64(&ticks)])?;
        writer.commit().await?;
    }
    let (store, at) = (writer.store(), writer.store().snapshot());
    let reader = store.reader();
    let symbol = store.schema().column("symbol");
    let mut scan = reader.scan(&at, 1_000_000..10_000_000_000).columns(symbol.as_slice());
    let mut counts = BTreeMap::new();
    while let Some(batch) = scan.next().await? {
        let symbols = batch.columns().first().and_then(|(_, vector)| vector.as_u32());
        for symbol in symbols.unwrap_or_default() {
            *counts.entry(*symbol).or_insert(0) += 1;
        }
    }
    writer.close().await?;
    Ok(counts)
}

fn run(dir: &Path) -> std::result::Result<(), Box<dyn Error>> {
    let shards = thread::available_parallelism()?.get().min(8);
    let start = Instant::now();
    let threads = (0..shards).map(|number| {
        let dir = dir.join(format!("shard-{number}"));
        let symbols = (0..SYMBOLS).filter(|symbol| shard_of(*symbol, shards) == number).collect();
        // Core::Pinned(number) keeps each shard on a core of its own where the program has the machine to itself.
        Glommio::spawn(Core::Any, &format!("shard-{number}"), move || shard(dir, symbols))
    });
    let threads = threads.collect::<Result<Vec<_>>>()?;
    let mut counts = BTreeMap::new();
    for thread in threads {
        counts.extend(thread.join().map_err(|_| "a shard panicked")???);
    }
    let rows = shards as u64 * BATCHES * ROWS as u64;
    println!("{rows} rows in {shards} shards, durable and counted in {:.2} s", start.elapsed().as_secs_f64());
    assert_eq!(counts.len(), SYMBOLS as usize, "every symbol is in one shard");
    let outside = 1_000 * shards as u64;
    assert_eq!(counts.values().sum::<u64>(), rows - outside, "the range begins at row 1,000 of each shard");
    Ok(())
}

fn main() -> std::result::Result<(), Box<dyn Error>> {
    let dir = tempfile::tempdir()?;
    run(dir.path())
}
