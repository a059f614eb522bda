//! A store's rows, through the public face.
//!
//! Not here: what they should be (`expected`).

use tidelog::disk::sim::{Random, SimDisk};
use tidelog::{Batch, ColumnId, Data, Error, Reader, Seek, Snapshot, Store, Vector};

use super::table::{Cells, Table};
use super::{Wrong, keep};

/// Why rows were not read.
pub(crate) enum Unread {
    /// The store's own error.
    Refused(Error),
    /// They contradict each other.
    Wrong(Wrong),
}

impl From<Error> for Unread {
    fn from(error: Error) -> Self {
        Unread::Refused(error)
    }
}

impl From<Wrong> for Unread {
    fn from(wrong: Wrong) -> Self {
        Unread::Wrong(wrong)
    }
}

type Read<T = ()> = Result<T, Unread>;

/// All rows of a snapshot, by a scan.
pub(crate) async fn all(store: &Store<SimDisk>, at: &Snapshot) -> Read<Table> {
    from(store, at, 0).await
}

/// The rows of a snapshot from row `first` on.
pub(crate) async fn from(store: &Store<SimDisk>, at: &Snapshot, first: u64) -> Read<Table> {
    let reader = store.reader();
    let mut scan = reader.scan(at, ..).rows(first..u64::MAX);
    let mut table = Table::new(store.schema());
    while let Some(batch) = scan.next().await? {
        let row = first + table.rows() as u64;
        keep(batch.row(0) == Some(row), || format!("behind {row} rows comes row {:?}", batch.row(0)))?;
        add(&mut table, &batch)?;
    }
    let rows = first + table.rows() as u64;
    keep(rows == at.rows(), || format!("a scan of {} rows gave {rows}", at.rows()))?;
    Ok(table)
}

/// The same rows another way: backwards, one of them alone, by its key, one value's bytes.
pub(crate) async fn otherwise(
    store: &Store<SimDisk>,
    at: &Snapshot,
    table: &Table,
    random: &mut Random,
) -> Read {
    let reader = store.reader();
    let batch_rows = 1 + random.index(200);
    let mut scan = reader.scan(at, ..).reverse().batch_rows(batch_rows);
    let mut keys = Vec::new();
    while let Some(batch) = scan.next().await? {
        keys.extend_from_slice(batch.keys());
    }
    keys.reverse();
    keep(keys == table.keys, || "a reverse scan has other keys".to_owned())?;
    let last = reader.seek(at, Seek::Last).await?;
    keep(
        last.map(|at| (at.row + 1, Some(at.key))).unwrap_or_default() == (at.rows(), keys.last().copied()),
        || format!("of {} rows the last is at {last:?}", at.rows()),
    )?;
    if keys.is_empty() {
        return Ok(());
    }
    one_row(&reader, at, table, random.index(keys.len())).await
}

async fn one_row(reader: &Reader<SimDisk>, at: &Snapshot, table: &Table, row: usize) -> Read {
    let key = table.keys[row];
    let found = reader.seek(at, Seek::Key(key)).await?.map(|at| at.row);
    let expected = table.keys.partition_point(|other| *other <= key) as u64 - 1;
    keep(found == Some(expected), || format!("key {key} is at {found:?}, not {expected}"))?;
    let columns: Vec<ColumnId> = (0..).map(ColumnId).take(table.columns.len()).collect();
    let batch = reader.values(at, row as u64, &columns).await?;
    let mut one = Table::new(reader.schema());
    add(&mut one, &batch)?;
    one.keys = vec![key];
    match table.row_differs(row, &one) {
        None => Ok(()),
        Some(difference) => Err(Wrong::new(format!("row {row} read alone: {difference}")).into()),
    }
}

/// Adds a batch's rows.
fn add(table: &mut Table, batch: &Batch) -> Result<(), Wrong> {
    table.keys.extend_from_slice(batch.keys());
    for (id, vector) in batch.columns() {
        let index = usize::try_from(id.0).unwrap_or(usize::MAX);
        let (Some(cells), Some(nulls)) = (table.columns.get_mut(index), table.nullable.get(index)) else {
            return Err(Wrong::new(format!("a column {index} of nobody")));
        };
        match vector.nulls() {
            Some(nulls) => cells.nulls.extend_from_slice(nulls),
            None if *nulls => cells.nulls.resize(cells.nulls.len() + vector.len(), false),
            None => {}
        }
        add_vector(cells, vector);
    }
    Ok(())
}

fn add_vector(cells: &mut Cells, vector: &Vector) {
    let data = &mut cells.data;
    match vector.data() {
        Data::U64(values) => values.iter().for_each(|value| data.extend_from_slice(&value.to_le_bytes())),
        Data::I64(values) => values.iter().for_each(|value| data.extend_from_slice(&value.to_le_bytes())),
        Data::F64(values) => values.iter().for_each(|value| data.extend_from_slice(&value.to_le_bytes())),
        Data::U32(values) => values.iter().for_each(|value| data.extend_from_slice(&value.to_le_bytes())),
        Data::I32(values) => values.iter().for_each(|value| data.extend_from_slice(&value.to_le_bytes())),
        Data::F32(values) => values.iter().for_each(|value| data.extend_from_slice(&value.to_le_bytes())),
        Data::Bool(values) => data.extend(values.iter().map(|value| u8::from(*value))),
        Data::Bytes { offsets, data } => cells.add_bytes(offsets, data),
        Data::Text { offsets, data } => cells.add_bytes(offsets, data.as_bytes()),
        _ => {}
    }
}
