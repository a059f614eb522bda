//! A process that follows a store while another one writes it.
//!
//! The program starts itself a second time: the child opens the store without a lock and looks again and again until
//! it has seen the last row. What it sees is always a prefix of the commits, and durable: no crash of the writer, or
//! of the machine, could take it back.
//!
//! `cargo run --release --example following`

use std::env;
use std::error::Error;
use std::path::Path;
use std::process::{Child, Command, Stdio};

use tidelog::disk::Glommio;
use tidelog::{Column, Data, Kind, Options, Result, Schema, Store, Values, Writer};

const COMMITS: u64 = 200;
const ROWS: u64 = 1_000;

/// Every row's value is its own number, so that the sum of the first `rows` is known.
fn sum_below(rows: u64) -> u64 {
    rows * rows.saturating_sub(1) / 2
}

/// The child: reads what is new, whenever something is. Returns how many snapshots that took.
async fn follow(dir: &Path) -> Result<u64> {
    let store = Store::follow(dir, Options::default()).await?;
    let reader = store.reader();
    let (mut snapshots, mut rows, mut total) = (0, 0, 0);
    while rows < COMMITS * ROWS {
        // Each look is a few small reads; a program with less haste would wait between them.
        let snapshot = store.refresh().await?;
        assert!(snapshot.rows() >= rows, "a later snapshot never has less");
        assert!(snapshot.rows().is_multiple_of(ROWS), "commits are seen whole");
        if snapshot.rows() == rows {
            continue;
        }
        let mut scan = reader.scan(&snapshot, ..).rows(rows..snapshot.rows()).without_keys();
        while let Some(batch) = scan.next().await? {
            for (_, vector) in batch.columns() {
                if let Data::U64(values) = vector.data() {
                    total += values.iter().sum::<u64>();
                }
            }
        }
        (rows, snapshots) = (snapshot.rows(), snapshots + 1);
        assert_eq!(total, sum_below(rows), "a snapshot is a prefix of the commits");
    }
    Ok(snapshots)
}

/// The parent: writes, and waits until the child has seen everything.
async fn write(dir: &Path) -> std::result::Result<(), Box<dyn Error>> {
    let schema = Schema::new([Column::new("value", Kind::U64)])?;
    let mut writer = Writer::create(dir, schema, Options::default()).await?;
    let child = start_follower(dir)?;
    for commit in 0..COMMITS {
        let values: Vec<u64> = (commit * ROWS..(commit + 1) * ROWS).collect();
        writer.pending().append_batch(&values, &[Values::U64(&values)])?;
        writer.commit().await?;
    }
    println!("the writer committed {COMMITS} times {ROWS} rows");
    // This blocks the writer's executor, which has nothing left to do.
    let followed = child.wait_with_output()?;
    if !followed.status.success() {
        return Err("the follower failed".into());
    }
    print!("{}", String::from_utf8_lossy(&followed.stdout));
    Ok(writer.close().await?)
}

fn start_follower(dir: &Path) -> std::io::Result<Child> {
    Command::new(env::current_exe()?).arg(dir).stdout(Stdio::piped()).spawn()
}

fn main() -> std::result::Result<(), Box<dyn Error>> {
    if let Some(dir) = env::args_os().nth(1) {
        let snapshots = Glommio::run(async move { follow(dir.as_ref()).await })??;
        println!("the other process saw all of them, in {snapshots} snapshots");
        return Ok(());
    }
    let dir = tempfile::tempdir()?;
    Glommio::run(write(dir.path()))?
}
