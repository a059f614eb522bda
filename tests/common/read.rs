//! Reading back: all rows of a store, and all bytes of a simulated world.

use std::path::PathBuf;

use tidelog::disk::Disk;
use tidelog::disk::sim::SimDisk;
use tidelog::{Batch, Reader, Result, Snapshot, Writer};

use super::{Cell, Row};

/// Every file with its bytes, every directory: two that are equal are the same disk.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Image {
    pub(crate) files: Vec<(PathBuf, Vec<u8>)>,
    pub(crate) directories: Vec<PathBuf>,
}

/// What is on a simulated disk now.
pub(crate) fn image(disk: &SimDisk) -> Image {
    let read = |(path, _): (PathBuf, u64)| {
        let bytes = disk.file_bytes(&path).unwrap();
        (path, bytes)
    };
    Image { files: disk.files().into_iter().map(read).collect(), directories: disk.directories() }
}

/// All rows of a store, as its writer's process sees them now.
pub(crate) async fn rows_of<D: Disk>(writer: &Writer<D>) -> Result<Vec<Row>> {
    let store = writer.store();
    rows_at(&store.reader(), &store.snapshot()).await
}

/// All rows of a snapshot.
pub(crate) async fn rows_at<D: Disk>(reader: &Reader<D>, at: &Snapshot) -> Result<Vec<Row>> {
    let mut rows = Vec::new();
    let mut scan = reader.scan(at, ..);
    while let Some(batch) = scan.next().await? {
        assert_eq!(batch.row(0), Some(rows.len() as u64), "a scan leaves out no row");
        rows.extend(rows_in(&batch));
    }
    assert_eq!(rows.len() as u64, at.rows());
    Ok(rows)
}

/// The rows of a batch that has keys.
pub(crate) fn rows_in(batch: &Batch) -> Vec<Row> {
    let cells = |i| batch.columns().iter().map(|(_, vector)| Cell::of(vector.value(i).unwrap())).collect();
    batch.keys().iter().enumerate().map(|(i, key)| Row { key: *key, cells: cells(i) }).collect()
}
