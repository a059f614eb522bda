//! Scans while D moves: a checkpoint runs beside a batch that is still being brought.

use tidelog::disk::sim::{Executor, Settings, SimDisk, run};
use tidelog::{Column, Kind, Options, Schema, Value, Writer};

/// What a scan is like.
#[derive(Clone, Copy, Debug)]
struct Case {
    kind: Kind,
    columns: usize,
    reads_in_flight: usize,
    /// Rows that are in the files before, each in a page of its own beside 4,000 in tails.
    rows: u64,
    batch_rows: usize,
    reverse: bool,
}

fn append(writer: &mut Writer<SimDisk>, case: Case, rows: u64) {
    for _ in 0..rows {
        let key = writer.pending().next_row();
        let value = match case.kind {
            Kind::U64 => Value::U64(key),
            Kind::Bool => Value::Bool(true),
            _ => Value::Text("some text"),
        };
        writer.pending().append(key, &vec![value; case.columns]).unwrap();
    }
}

fn scan_beside_a_checkpoint(seed: u64, case: Case) {
    let disk = SimDisk::with_settings(seed, Settings { short: 0.0, ..Settings::from_seed(seed) });
    let columns = (0..case.columns).map(|column| Column::new(format!("c{column}"), case.kind).nullable());
    let (schema, options) =
        (Schema::new(columns).unwrap(), Options::default().reads_in_flight(case.reads_in_flight));
    let mut writer = run(&disk, Writer::create_on(disk.clone(), "/store", schema, options)).unwrap().unwrap();
    append(&mut writer, case, case.rows);
    run(&disk, writer.commit()).unwrap().unwrap();
    run(&disk, writer.checkpoint()).unwrap().unwrap();
    for _ in 0..40 {
        append(&mut writer, case, 100);
        run(&disk, writer.commit()).unwrap().unwrap();
    }
    let store = writer.store();
    let (at, reader) = (store.snapshot(), store.reader());
    let mut executor = Executor::new(&disk, seed);
    let scan = executor.spawn(async {
        let scan = reader.scan(&at, ..).batch_rows(case.batch_rows);
        let mut scan = if case.reverse { scan.reverse() } else { scan };
        let mut keys = Vec::new();
        while let Some(batch) = scan.next().await.unwrap() {
            keys.extend_from_slice(batch.keys());
        }
        keys
    });
    executor.spawn(async { writer.checkpoint().await.unwrap() });
    executor.run().unwrap();
    let mut keys = scan.take().unwrap();
    if case.reverse {
        keys.reverse();
    }
    assert!(keys.iter().copied().eq(0..case.rows + 4000), "seed {seed}, {case:?}");
}

#[test]
fn a_scan_goes_on_while_a_checkpoint_moves_what_it_reads() {
    for kind in [Kind::U64, Kind::Bool, Kind::Text] {
        for (reads_in_flight, columns) in [(1, 3), (8, 12)] {
            for (rows, batch_rows) in [(2000, 500), (10_000, 3000), (10_000, 16_384)] {
                for reverse in [false, true] {
                    let case = Case { kind, columns, reads_in_flight, rows, batch_rows, reverse };
                    (0..4).for_each(|seed| scan_beside_a_checkpoint(seed, case));
                }
            }
        }
    }
}
