//! The first steps, inside a glommio executor: create, append, commit, scan, seek, open again.
//!
//! `cargo run --release --example quickstart`

use std::error::Error;
use std::path::Path;

use tidelog::disk::Glommio;
use tidelog::{Column, KeyUnit, Kind, Options, Schema, Seek, Value, Values, Writer};

async fn trades(dir: &Path) -> tidelog::Result<()> {
    let schema = Schema::new([Column::new("price", Kind::F64), Column::new("size", Kind::U32)])?;
    let mut writer = Writer::create(dir, schema.key_unit(KeyUnit::Milliseconds), Options::default()).await?;
    let pending = writer.pending(); // memory only
    pending.append(1_700_000_000_000, &[Value::F64(101.5), Value::U32(300)])?;
    let columns = [Values::F64(&[101.4, 101.6]), Values::U32(&[100, 50])];
    pending.append_batch(&[1_700_000_000_250, 1_700_000_000_900], &columns)?;
    writer.commit().await?; // all three are durable when this returns, or none is

    let store = writer.store(); // clone it, send it to any core
    let (snapshot, reader) = (store.snapshot(), store.reader()); // never changes; of this core
    let mut scan = reader.scan(&snapshot, 1_700_000_000_100..);
    while let Some(batch) = scan.next().await? {
        println!("{:?} {:?}", batch.keys(), batch.columns());
    }
    writer.close().await
}

/// What was closed is all there again, and a row is found by its time.
async fn again(dir: &Path) -> Result<(), Box<dyn Error>> {
    let writer = Writer::open(dir, Options::default()).await?;
    assert_eq!(writer.recovery().rows, 3);
    let store = writer.store();
    let (snapshot, reader) = (store.snapshot(), store.reader());
    let price = store.schema().column("price").ok_or("the schema has a price")?;

    let found = reader.seek(&snapshot, Seek::AtOrBefore(1_700_000_000_899)).await?;
    let position = found.ok_or("a row was committed at that time or before")?;
    let batch = reader.values(&snapshot, position.row, &[price]).await?;
    println!("row {} at {}: {:?}", position.row, position.key, batch.columns()[0].1.value(0));
    assert_eq!((position.row, position.key), (1, 1_700_000_000_250));
    assert_eq!(batch.columns()[0].1.value(0), Some(Value::F64(101.4)));
    Ok(writer.close().await?)
}

fn main() -> Result<(), Box<dyn Error>> {
    let dir = tempfile::tempdir()?;
    Glommio::run(async {
        trades(dir.path()).await?;
        again(dir.path()).await
    })?
}
