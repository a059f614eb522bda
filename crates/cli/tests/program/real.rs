//! Real files, and a synthetic one with their traits: what is scanned is what was ingested.

use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};

use futures::executor::block_on;
use tidelog::disk::Posix;
use tidelog::{Column, Data, Kind, Options, Schema, Store, Values, Writer};

use crate::process::{Place, on};
use crate::skip::{Need, skips};

/// A row as another reader of CSV, and jiff, understand it.
struct Row {
    line: u64,
    key: i128,
    cells: Vec<String>,
}

fn rows(file: &Path) -> Vec<Row> {
    let mut reader = csv::Reader::from_path(file).unwrap();
    let row = |record: csv::StringRecord| {
        let time = record[0].replacen(' ', "T", 1);
        let key = record[0].parse().unwrap_or_else(|_| {
            let utc = time.parse().unwrap_or_else(|_| {
                let local: jiff::civil::DateTime = time.parse().unwrap();
                local.to_zoned(jiff::tz::TimeZone::UTC).unwrap().timestamp()
            });
            jiff::Timestamp::as_nanosecond(utc)
        });
        let cells = record.iter().skip(1).map(str::to_owned).collect();
        Row { line: record.position().unwrap().line(), key, cells }
    };
    reader.records().map(|record| row(record.unwrap())).collect()
}

/// The same value: the same text, or numbers of the same bits.
fn is_same(sent: &str, found: &str) -> bool {
    let bits = |text: &str| text.parse::<f64>().map(f64::to_bits);
    let is_number = bits(sent).is_ok() && bits(sent) == bits(found);
    sent == found || (is_number && sent.parse::<i128>() == found.parse::<i128>()) || {
        // A whole number in a column of decimals.
        is_number && (sent.parse::<i128>().is_err() || found.parse::<i128>().is_err())
    }
}

fn check_equal(sent: &[&Row], scanned: &str, what: &str) {
    let mut reader = csv::Reader::from_reader(scanned.as_bytes());
    let found: Vec<csv::StringRecord> = reader.records().map(Result::unwrap).collect();
    assert_eq!(found.len(), sent.len(), "{what}");
    for (sent, found) in sent.iter().zip(&found) {
        assert_eq!(found[0].parse(), Ok(sent.key), "{what}, line {}", sent.line);
        assert_eq!(found.len(), sent.cells.len() + 1);
        for (sent_cell, cell) in sent.cells.iter().zip(found.iter().skip(1)) {
            assert!(is_same(sent_cell, cell), "{what}, line {}: `{sent_cell}`, `{cell}`", sent.line);
        }
    }
}

/// What a file is like.
#[derive(Default, PartialEq, Eq, Debug)]
struct Traits {
    equal_keys: usize,
    late: usize,
}

/// Ingests a file, and scans it.
fn there_and_back(file: &Path) -> Traits {
    let (place, all) = (Place::new(), rows(file));
    let (mut kept, mut late): (Vec<&Row>, Vec<&Row>) = (Vec::new(), Vec::new());
    for row in &all {
        let is_late = kept.last().is_some_and(|last| row.key < last.key);
        if is_late { late.push(row) } else { kept.push(row) }
    }
    let (name, what) = (file.to_str().unwrap(), file.display().to_string());
    let strict = place.store("strict");
    let ended = on("ingest", &strict, &[name, "--batch", "1000"], b"");
    if let Some(first) = late.first() {
        let before = all.iter().take_while(|row| row.line < first.line).count();
        let words = ended.refused(4);
        assert!(words.contains(&format!("line {}: its key goes back", first.line)), "{words}");
        assert!(words.contains(&format!("the {before} rows before it are committed")), "{words}");
        check_equal(&kept[..before], &on("scan", &strict, &[], b"").text(), &what);
    } else {
        assert_eq!(ended.text(), "");
    }
    let skipping = place.store("skipping");
    let ended = on("ingest", &skipping, &[name, "--on-late", "skip"], b"");
    assert!(ended.words.starts_with(&format!("{} rows committed", kept.len())), "{}", ended.words);
    assert_eq!(
        ended.words.contains(&format!("; {} skipped", late.len())),
        !late.is_empty(),
        "{}",
        ended.words
    );
    let scanned = on("scan", &skipping, &[], b"").text();
    check_equal(&kept, &scanned, &what);
    // What was scanned is input again, in both formats.
    for format in ["csv", "jsonl"] {
        let again = place.store(format);
        let rows = on("scan", &skipping, &["--format", format, "--keys", "time"], b"").text();
        on("ingest", &again, &["--format", format], rows.as_bytes()).text();
        assert_eq!(on("scan", &again, &[], b"").text(), scanned, "{what} as {format}");
    }
    let equal_keys = kept.windows(2).filter(|pair| pair[0].key == pair[1].key).count();
    Traits { equal_keys, late: late.len() }
}

fn csv_files(folder: &Path, found: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            csv_files(&path, found);
        } else if path.extension().is_some_and(|extension| extension == "csv") {
            found.push(path);
        }
    }
}

#[test]
fn real_files_come_back_as_they_were() {
    if skips(&[Need::Data]) {
        return;
    }
    let mut files = Vec::new();
    csv_files(Path::new(&std::env::var_os("TIDELOG_DATA").unwrap()), &mut files);
    assert!(!files.is_empty(), "TIDELOG_DATA has CSV files");
    for file in files {
        there_and_back(&file);
    }
}

/// Columns of real floats through a whole store: bits a value in its blocks, sealed and compacted, and the same bits back.
#[test]
fn real_columns_take_few_bits_in_a_store_and_come_back() {
    if skips(&[Need::Data]) {
        return;
    }
    let folder = PathBuf::from(std::env::var_os("TIDELOG_DATA").unwrap());
    // What pco (level 8) and zstd (level 3) make of a whole file: dense is 1.05 of the better one at most.
    let columns = [
        ("city_temperature_f_tw", 9.5, f64::min(7.73, 13.97)),
        ("gov26_tw", 1.2, f64::min(0.473, 0.438)),
        ("nyc29_tw", 40.5, f64::min(27.12, 25.81)),
    ];
    for (name, fast_bits_max, peer_bits) in columns {
        let bytes = fs::read(folder.join(format!("alp/{name}.bin"))).unwrap();
        let values: Vec<f64> = bytes.as_chunks().0.iter().map(|value| f64::from_le_bytes(*value)).collect();
        let place = Place::new();
        let dir = place.store(name);
        block_on(async {
            let schema = Schema::new([Column::new("value", Kind::F64)]).unwrap();
            let created = Writer::create_on(Posix::default(), &dir, schema, Options::default()).await;
            let mut writer = created.unwrap();
            let keys: Vec<u64> = (0..values.len() as u64).collect();
            writer.pending().append_batch(&keys, &[Values::F64(&values)]).unwrap();
            writer.commit().await.unwrap();
            writer.close().await.unwrap();
        });
        for (option, bits_max) in [(None, fast_bits_max), (Some("--dense"), peer_bits * 1.05)] {
            on("compact", &dir, option.as_slice(), b"").text();
            let stat: serde_json::Value =
                serde_json::from_str(&on("stat", &dir, &["--json"], b"").text()).unwrap();
            let bytes = stat["columns"][0]["bytes"].as_u64().unwrap();
            #[expect(clippy::cast_precision_loss, reason = "a file of 1 MiB")]
            let bits = bytes as f64 * 8.0 / values.len() as f64;
            println!("{name} {option:?}: {bits:.3} bits a value, {bits_max:.3} at most");
            assert!(bits <= bits_max, "{name} {option:?}: {bits:.3} bits a value, {bits_max:.3} at most");
            let found = block_on(async {
                let store = Store::follow_on(Posix::default(), &dir, Options::default()).await.unwrap();
                let (reader, at) = (store.reader(), store.snapshot());
                let (mut scan, mut found) = (reader.scan(&at, ..), Vec::new());
                while let Some(batch) = scan.next().await.unwrap() {
                    let Data::F64(values) = batch.columns()[0].1.data() else { panic!("they are floats") };
                    found.extend(values.iter().map(|value| value.to_bits()));
                }
                found
            });
            assert!(
                found.iter().copied().eq(values.iter().map(|value| value.to_bits())),
                "{name} {option:?}"
            );
        }
    }
}

#[test]
fn a_feed_with_the_traits_of_real_ones_comes_back_as_it_was() {
    let mut dice = 7_u64;
    let mut roll = |bound: u64| {
        dice = dice.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (dice >> 33) % bound
    };
    let mut text = String::from("timestamp,value,count,state,note\n");
    let start = jiff::civil::date(2014, 2, 27).at(22, 0, 0, 0);
    let mut seconds = 0_i64;
    for row in 0..12_000 {
        // Equal times, gaps, the end of a February; one row an hour late.
        seconds += i64::try_from(roll(4) * 37).unwrap();
        let late = if row == 11_500 { 3600 } else { 0 };
        let time = start + jiff::SignedDuration::from_secs(seconds - late);
        let time = time.strftime("%Y-%m-%d %H:%M:%S");
        let value = f64::from_bits(0x3FF0_0000_0000_0000 | (roll(1 << 26) << 26) | roll(1 << 26));
        let value = value * 10_f64.powi(i32::try_from(roll(40)).unwrap() - 20);
        let (count, state) = (i64::try_from(roll(1 << 31)).unwrap() - (1 << 30), roll(2) == 0);
        let note = ["", "\"a, b\"", "\"said \"\"no\"\"\"", "\u{20ac}", "\"two\nlines\""]
            [usize::try_from(roll(5)).unwrap()];
        writeln!(text, "{time},{value},{count},{state},{note}").unwrap();
    }
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("twin.csv");
    fs::write(&file, text).unwrap();
    let traits = there_and_back(&file);
    assert_eq!(traits.late, 1);
    assert!(traits.equal_keys > 1000, "{traits:?}");
}
