//! The simulated disk is as unkind as it says, and the same for the same seed.

use std::io;
use std::path::Path;

use super::*;
use crate::disk::{File, PAGE};

/// A small life: creates a file under /s and writes it twice.
async fn life(disk: &SimDisk, pages: u64) -> io::Result<()> {
    disk.create_dir(Path::new("/s")).await?;
    disk.sync_dir(Path::new("/")).await?;
    let lock = disk.lock(Path::new("/s/LOCK")).await?;
    let file = disk.open(Path::new("/s/log"), Mode::CreateNew(&lock)).await?;
    for page in 0..pages {
        let mut buffer = file.buffer(PAGE);
        buffer.fill(page as u8 + 1);
        file.write_at(page * PAGE as u64, buffer).await?;
    }
    disk.sync_files(&[&file]).await?;
    disk.sync_dir(Path::new("/s")).await?;
    let durable = disk.open(Path::new("/s/log"), Mode::Read).await?;
    assert_eq!(durable.len().await?, pages * PAGE as u64);
    durable.close().await?;
    file.close().await
}

#[test]
fn same_seed_same_trace() {
    let play = |seed| {
        let disk = SimDisk::new(seed);
        run(&disk, life(&disk, 8)).unwrap().unwrap();
        disk.trace_hash()
    };
    for seed in 0..20 {
        assert_eq!(play(seed), play(seed));
        assert_ne!(play(seed), play(seed + 1));
    }
}

#[test]
fn what_was_synced_survives_every_power_cut() {
    for seed in 0..1000 {
        let disk = SimDisk::new(seed);
        run(&disk, life(&disk, 4)).unwrap().unwrap();
        let disk = disk.power_cut();
        let bytes = disk.file_bytes("/s/log").unwrap();
        assert_eq!(bytes.len(), 4 * PAGE);
        assert!(bytes.chunks(PAGE).enumerate().all(|(i, page)| page.iter().all(|b| *b == i as u8 + 1)));
    }
}
