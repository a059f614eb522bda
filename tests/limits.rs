//! Every limit, at its edge and one past it.
//!
//! Not here: values that are refused for what they are (tests/input.rs).

#![expect(clippy::unwrap_used, reason = "a test stops where it fails")]

mod common;

use std::fs;
use std::process::Command;

use common::{Cell, DIR, Row, append_batch, directory, rows_of, run, tiny};
use futures::executor::block_on;
use tidelog::disk::Posix;
use tidelog::disk::sim::{Random, SimDisk};
use tidelog::{Column, Error, Kind, Options, Result, Schema, Value, Values, Writer};

fn limit<T: std::fmt::Debug>(result: Result<T>) -> (u64, u64) {
    match result {
        Err(Error::Limit { given, max, .. }) => (given, max),
        other => panic!("no limit: {other:?}"),
    }
}

#[test]
fn pending_rows_reach_memory_bytes_exactly() {
    let disk = SimDisk::new(1);
    let schema = [Column::new("data", Kind::Bytes), Column::new("text", Kind::Text).nullable()];
    let schema = Schema::new(schema).unwrap();
    run(&disk, async {
        let options = tiny().memory_bytes(50_000);
        let mut writer = Writer::create_on(disk.clone(), DIR, schema, options).await.unwrap();
        // A key, two offsets, a flag, and the bytes.
        let (exact, one_more) = (vec![7; 50_000 - 25], vec![7; 50_000 - 24]);
        for key in 0..3 {
            let pending = writer.pending();
            assert_eq!(limit(pending.append(key, &[Value::Bytes(&one_more), Value::Null])), (50_001, 50_000));
            assert_eq!(
                limit(pending.append(key, &[Value::Bytes(&exact), Value::Text("x")])),
                (50_001, 50_000)
            );
            pending.append(key, &[Value::Bytes(&exact), Value::Null]).unwrap();
            assert_eq!(pending.bytes(), 50_000);
            let empty = [Values::Bytes { data: b"", ends: &[0] }, Values::Text { data: "", ends: &[0] }];
            assert_eq!(limit(pending.append(key, &[Value::Bytes(b""), Value::Null])), (50_025, 50_000));
            assert_eq!(limit(pending.append_batch(&[9], &empty)), (50_025, 50_000));
            assert_eq!(pending.append_batch(&[], &[empty_bytes(), empty_text()]).unwrap(), key + 1..key + 1);
            pending.clear();
            pending.append(key, &[Value::Bytes(&exact), Value::Null]).unwrap();
            assert_eq!(writer.commit().await.unwrap().rows, key..key + 1);
        }
        let row = |key| Row { key, cells: vec![Cell::Bytes(exact.clone()), Cell::Null] };
        assert_eq!(rows_of(&writer).await.unwrap(), (0..3).map(row).collect::<Vec<_>>());
    });
}

#[test]
fn bytes_of_a_null_are_not_kept_and_do_not_count() {
    let disk = SimDisk::new(1);
    let schema = [Column::new("data", Kind::Bytes).nullable(), Column::new("text", Kind::Text).nullable()];
    run(&disk, async {
        let options = tiny().memory_bytes(3 * 26 + 8);
        let mut writer =
            Writer::create_on(disk.clone(), DIR, Schema::new(schema).unwrap(), options).await.unwrap();
        let pending = writer.pending();
        let (data, text) = (vec![7; 5000], "x".repeat(4000));
        let [data, text] = [
            Values::Bytes { data: &data, ends: &[1, 4998, 5000] },
            Values::Text { data: &text, ends: &[3995, 3995, 4000] },
        ];
        let nullable = |values, nulls| Values::Nullable { values, nulls };
        // Three keys, six offsets and six flags; a byte, two bytes and five.
        let batch = [nullable(&data, &[false, true, false]), nullable(&text, &[true, false, false])];
        pending.append_batch(&[1, 1, 1], &batch).unwrap();
        assert_eq!(pending.bytes(), 3 * 26 + 8);
        pending.clear();
        pending.append(1, &[Value::Bytes(&[7]), Value::Null]).unwrap();
        pending.append(1, &[Value::Null, Value::Text("")]).unwrap();
        pending.append(1, &[Value::Bytes(&[7; 2]), Value::Text("xxxxx")]).unwrap();
        assert_eq!(pending.bytes(), 3 * 26 + 8);
    });
}

fn empty_bytes() -> Values<'static> {
    Values::Bytes { data: b"", ends: &[] }
}

fn empty_text() -> Values<'static> {
    Values::Text { data: "", ends: &[] }
}

#[test]
fn a_value_of_four_gibibytes_is_refused_by_its_length() {
    // Never touched: zeros that the kernel does not make before somebody looks.
    let zeros = vec![0; 1 << 32];
    let disk = SimDisk::new(1);
    let schema = Schema::new([Column::new("a", Kind::U64), Column::new("b", Kind::Bytes)]).unwrap();
    run(&disk, async {
        let options = tiny().memory_bytes(8 << 40);
        let mut writer = Writer::create_on(disk.clone(), DIR, schema, options).await.unwrap();
        let pending = writer.pending();
        let refused = pending.append(1, &[Value::U64(1), Value::Bytes(&zeros)]);
        assert!(refused.as_ref().unwrap_err().to_string().contains("column b, position 0"), "{refused:?}");
        assert_eq!(limit(refused), (1 << 32, (1 << 32) - 1));
        let values = [Values::U64(&[1, 2]), Values::Bytes { data: &zeros, ends: &[0, 1 << 32] }];
        let refused = pending.append_batch(&[1, 2], &values);
        assert!(refused.as_ref().unwrap_err().to_string().contains("column b, position 1"), "{refused:?}");
        assert_eq!(limit(refused), (1 << 32, (1 << 32) - 1));
        // A byte less is a value, and refused only because this log cannot describe so large a commit.
        let edge = limit(pending.append(1, &[Value::U64(1), Value::Bytes(&zeros[1..])]));
        assert!(edge.0 == (1 << 32) - 1 + 24 && edge.1 < 1 << 30, "{edge:?}");
        assert_eq!(pending.rows(), 0);
        pending.append(1, &[Value::U64(1), Value::Bytes(b"small")]).unwrap();
        assert_eq!(writer.commit().await.unwrap().rows, 0..1);
    });
}

/// Tells the child where its store is.
const INGEST: &str = "TIDELOG_INGEST";

/// The most memory that this process has had at once, in bytes.
fn peak_memory() -> u64 {
    let status = fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap();
    line.trim().strip_suffix(" kB").unwrap().parse::<u64>().unwrap() << 10
}

/// For a process of its own: ingests batches of 65,536 rows of 40 bytes, and says what memory it took.
#[test]
fn child_that_ingests() {
    const BATCH: u64 = 1 << 16;
    let Some(dir) = std::env::var_os(INGEST) else { return };
    let schema = Schema::new(["a", "b", "c", "d"].map(|name| Column::new(name, Kind::U64))).unwrap();
    block_on(async {
        let options = Options::default().segment_rows(1 << 20);
        let mut writer = Writer::create_on(Posix::default(), dir, schema, options).await.unwrap();
        for batch in 1..=64 {
            let keys: Vec<u64> = (BATCH * (batch - 1)..BATCH * batch).collect();
            writer.pending().append_batch(&keys, &[Values::U64(&keys); 4]).unwrap();
            writer.commit().await.unwrap();
            if [16, 64].contains(&batch) {
                println!("peak: {} bytes", peak_memory());
            }
        }
        writer.close().await.unwrap();
    });
}

/// 160 MiB of rows go through, three rolls. What grows with them is a segment's checksums; twenty million rows are
/// six times the way from the first mark to the second.
#[test]
fn memory_does_not_grow_with_the_rows_that_were_ingested() {
    let directory = directory(true);
    let mut command = Command::new(std::env::current_exe().unwrap());
    command.args(["child_that_ingests", "--exact", "--nocapture"]);
    let output = command.env(INGEST, directory.path().join("store")).output().unwrap();
    let words = String::from_utf8(output.stdout).unwrap();
    assert!(output.status.success(), "{words}\n{}", String::from_utf8_lossy(&output.stderr));
    let peaks =
        words.lines().filter_map(|line| line.split_once("peak: ")?.1.strip_suffix(" bytes")?.parse().ok());
    let peaks: Vec<u64> = peaks.collect();
    println!("{peaks:?}");
    let [few, many] = peaks[..] else { panic!("{words}") };
    assert!(many < 32 << 20 && many - few < 4 << 20, "{peaks:?}");
    assert!(many + 6 * (many - few) < 256 << 20, "{peaks:?}");
}

/// A schema of `count` columns of one byte a row.
fn narrow(count: usize) -> Schema {
    Schema::new((0..count).map(|i| Column::new(i.to_string(), Kind::Bool))).unwrap()
}

/// The most columns that the smallest log takes.
fn columns_max() -> usize {
    let accepted = |count: &usize| {
        let disk = SimDisk::new(1);
        match run(&disk, Writer::create_on(disk.clone(), DIR, narrow(*count), tiny())) {
            Ok(_) => true,
            Err(Error::Limit { given, max, .. }) => {
                assert!(given > max && disk.files().is_empty() && disk.directories().is_empty());
                false
            }
            Err(error) => panic!("{error}"),
        }
    };
    let counts: Vec<bool> = (0..40).map(|count| accepted(&count)).collect();
    let most = counts.iter().position(|accepted| !accepted).unwrap();
    assert!(counts[most..].iter().all(|accepted| !accepted));
    most - 1
}

#[test]
fn as_many_columns_as_the_log_takes_can_be_committed_at_their_fullest() {
    let count = columns_max();
    assert!(count > 8);
    let values = vec![Value::Bool(true); count];
    // A page less one byte in the tail of each column, whatever the keys do: then one more row and a full note.
    for (seed, rows) in (0..).zip([1, 510, 511, 512, 513, 4094, 4095, 4096, 4097, 8191]) {
        let disk = SimDisk::new(seed);
        run(&disk, async {
            let options = tiny().inline_bytes(1 << 20);
            let mut writer = Writer::create_on(disk.clone(), DIR, narrow(count), options).await.unwrap();
            for size in [rows, 1, rows, 1, rows, 1] {
                for _ in 0..size {
                    // So wide a store takes little at a time.
                    if let Err(Error::Limit { max, .. }) = writer.pending().append(1, &values) {
                        assert!(max >= 4096, "{max}");
                        writer.commit().await.unwrap();
                        writer.pending().append(1, &values).unwrap();
                    }
                }
                writer.pending().note(&[7; 4096]).unwrap();
                writer.commit().await.unwrap();
            }
            let expected = rows_of(&writer).await.unwrap().len();
            assert_eq!(expected, 3 * (rows + 1));
            writer.checkpoint().await.unwrap();
            drop(writer);
            let writer = Writer::open_on(disk.clone(), DIR, tiny()).await.unwrap();
            assert_eq!(rows_of(&writer).await.unwrap().len(), expected);
        });
    }
}

#[test]
fn the_largest_commit_that_a_log_can_describe_is_made() {
    let count = columns_max();
    let kinds = [Kind::U64, Kind::Bytes];
    for kind in kinds {
        let disk = SimDisk::new(2);
        // The widest schema has the least room for sums.
        let columns = if kind == Kind::U64 { count } else { count / 2 };
        let schema = Schema::new((0..columns).map(|i| Column::new(i.to_string(), kind))).unwrap();
        run(&disk, async {
            let options = tiny().memory_bytes(64 << 20).segment_rows(u64::MAX).segment_bytes(8 << 40);
            let mut writer = Writer::create_on(disk.clone(), DIR, schema, options).await.unwrap();
            for round in 0..2 {
                let rows = fill_up(&mut writer, columns, kind);
                writer.pending().note(&[1; 4096]).unwrap();
                assert_eq!(writer.commit().await.unwrap().rows, round * rows..(round + 1) * rows);
            }
            let total = writer.recovery().rows;
            assert_eq!(total, 0);
        });
    }
}

/// Appends as much as one commit takes; returns how many rows.
fn fill_up(writer: &mut Writer<SimDisk>, columns: usize, kind: Kind) -> u64 {
    let pending = writer.pending();
    if kind == Kind::Bytes {
        // All in one value.
        let mut values = vec![Value::Bytes(b""); columns];
        let data = vec![3; 64 << 20];
        values[columns - 1] = Value::Bytes(&data);
        let (given, max) = limit(pending.append(7, &values));
        let len = data.len() - usize::try_from(given - max).unwrap();
        values[columns - 1] = Value::Bytes(&data[..len]);
        pending.append(7, &values).unwrap();
        assert_eq!(pending.bytes(), max);
        return 1;
    }
    let keys = vec![7; (64 << 20) / (8 * (columns + 1)) + 1];
    let values = vec![Values::U64(&keys); columns];
    let (_, max) = limit(pending.append_batch(&keys, &values));
    let rows = usize::try_from(max).unwrap() / (8 * (columns + 1));
    let values = vec![Values::U64(&keys[..rows]); columns];
    pending.append_batch(&keys[..rows], &values).unwrap();
    assert!(pending.append(7, &vec![Value::U64(7); columns]).is_err());
    rows as u64
}

#[test]
fn open_files_must_hold_the_active_and_the_next_slot() {
    let disk = SimDisk::new(3);
    let create = |count| {
        disk.set_open_files_max(count);
        run(&disk, Writer::create_on(disk.clone(), DIR, narrow(9), tiny()))
    };
    // Ten files, twice, and sixteen besides.
    assert_eq!(limit(create(35)), (36, 35));
    assert_eq!(disk.files(), []);
    drop(create(36).unwrap());
    disk.set_open_files_max(35);
    assert_eq!(limit(run(&disk, Writer::open_on(disk.clone(), DIR, tiny()))), (36, 35));
    disk.set_open_files_max(36);
    drop(run(&disk, Writer::open_on(disk.clone(), DIR, tiny())).unwrap());
}

#[test]
fn four_thousand_columns_are_a_store() {
    let disk = SimDisk::new(4);
    disk.set_open_files_max(20_000);
    let create =
        |count, options: Options| run(&disk, Writer::create_on(disk.clone(), DIR, narrow(count), options));
    let (given, max) = limit(create(4096, Options::default()));
    assert!(given > max && max == (16 << 20) / 4096, "{given} {max}");
    let many = (0..4097).map(|i| Column::new(i.to_string(), Kind::Bool));
    assert_eq!(limit(Schema::new(many)), (4097, 4096));
    let mut writer = create(4096, Options::default().log_bytes(18 << 20)).unwrap();
    let mut random = Random::new(4);
    let row = |key| Row { key, cells: (0..4096).map(|_| Cell::Bool(random.coin())).collect() };
    let rows: Vec<Row> = (0..50).map(row).collect();
    run(&disk, async {
        append_batch(writer.pending(), &rows).unwrap();
        writer.commit().await.unwrap();
        assert_eq!(rows_of(&writer).await.unwrap(), rows);
        writer.close().await.unwrap();
        let writer = Writer::open_on(disk.clone(), DIR, Options::default()).await.unwrap();
        assert_eq!(rows_of(&writer).await.unwrap(), rows);
    });
}

#[test]
fn a_name_can_hold_anything_and_is_no_path() {
    let longest = "é".repeat(127) + "n";
    let names = ["../../etc/passwd", "/", ".", "..", "keys", "LOCK", "a/b", "X", "x", "\n", &longest];
    let schema = Schema::new(names.iter().map(|name| Column::new(*name, Kind::Text))).unwrap();
    let schema = schema.metadata("unit", "kWh").unwrap().metadata("", "").unwrap();
    let too_long = Schema::new([Column::new("é".repeat(128), Kind::Text)]);
    assert!(matches!(too_long, Err(Error::Schema { index: 0, .. })), "{too_long:?}");
    let disk = SimDisk::new(5);
    let options = Options::default().log_bytes(256 << 10);
    run(&disk, async {
        let mut writer = Writer::create_on(disk.clone(), DIR, schema.clone(), options.clone()).await.unwrap();
        writer.pending().append(1, &[Value::Text("value"); 11]).unwrap();
        writer.commit().await.unwrap();
        writer.close().await.unwrap();
        let writer = Writer::open_on(disk.clone(), DIR, options).await.unwrap();
        assert_eq!(**writer.schema(), schema);
        assert_eq!(rows_of(&writer).await.unwrap()[0].cells, vec![Cell::Text("value".into()); 11]);
    });
    for (path, _) in disk.files() {
        let name = path.strip_prefix(DIR).unwrap().to_str().unwrap();
        let is_ours = ["LOCK", "log-", "manifest-", "raw-0/"].iter().any(|start| name.starts_with(start));
        assert!(is_ours, "{name}");
    }
}

#[test]
fn options_that_no_store_could_keep_to_are_refused() {
    let disk = SimDisk::new(6);
    // Space for a manifest, not for a log: what is accepted ends in `Full`.
    disk.set_space(Some(40 << 10));
    let create = |options: Options| run(&disk, Writer::create_on(disk.clone(), DIR, narrow(1), options));
    let refused = [
        (tiny().log_bytes((64 << 10) - 4096), ((64 << 10) - 4096, 4 << 30)),
        (tiny().log_bytes((64 << 10) + 1), ((64 << 10) + 1, 4 << 30)),
        (tiny().log_bytes((4 << 30) + 4096), ((4 << 30) + 4096, 4 << 30)),
        (tiny().log_bytes(0), (0, 4 << 30)),
        (tiny().grow_bytes(0, 4096), (0, 4096)),
        (tiny().grow_bytes(8192, 4096), (8192, 4096)),
        (tiny().grow_bytes(4095, 8192), (4095, 8192)),
        (tiny().segment_rows(0), (0, u64::MAX)),
        (tiny().segment_bytes(0), (0, u64::MAX)),
        (tiny().segment_bytes((8 << 40) + 1), ((8 << 40) + 1, 8 << 40)),
        (tiny().memory_bytes((8 << 40) + 1), ((8 << 40) + 1, 8 << 40)),
    ];
    for (options, expected) in refused {
        assert_eq!(limit(create(options)), expected);
        assert_eq!(disk.files(), []);
    }
    let edge = create(tiny().log_bytes(4 << 30));
    assert!(matches!(edge, Err(Error::Full { .. })), "{edge:?}");
}
