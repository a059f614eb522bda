//! docs/format.md shows the dumps that the code makes, and tests/golden holds the same.
//!
//! `UPDATE=1 cargo test golden` writes both anew; what changed is then for a person to read.

use std::fs;
use std::path::{Path, PathBuf};

use super::super::dump::{self, Hex};
use super::*;

const DOCUMENT: &str = "docs/format.md";

/// A store of one column, `price` f64: its raw files among those of the samples.
const FILES: [usize; 2] = [0, 1];

fn narrow<T: Clone>(files: &[T]) -> Vec<T> {
    FILES.map(|file| files[file].clone()).to_vec()
}

fn narrow_rows(rows: Rows<'_>) -> Rows<'_> {
    Rows { files: narrow(&rows.files), ..rows }
}

fn narrow_manifest(manifest: Manifest) -> Manifest {
    let schema = Schema::new([Column::new("price", Kind::F64)]).unwrap().key_unit(KeyUnit::Nanoseconds);
    let pairs = manifest.schema.pairs().iter();
    let schema = pairs.fold(schema, |schema, (name, value)| schema.metadata(name, value).unwrap());
    let finished = manifest.finished.iter().take(1);
    let finished = finished.map(|segment| Finished { lengths: narrow(&segment.lengths), ..segment.clone() });
    let finished = finished.collect();
    let active = manifest.active.map(|_| active(9000, 1030));
    let active = active.map(|active| Active { files: narrow(&active.files), ..active });
    Manifest { schema, finished, active, ..manifest }
}

/// The dumps by their names in the document.
fn dumps() -> Vec<(&'static str, String)> {
    let (before, few, many) = (raw_files(0..0), raw_files(0..2), raw_files(0..10_002));
    let small = narrow_rows(small(&few, &before, 0, 2));
    let small = write(identity(PLACE, 7), Some(&small), Some(b"feed offset 17"));
    let large = write(identity(BEHIND, 8), Some(&narrow_rows(large(&many, 2, 10_000))), None);
    let (first, full) = (narrow_manifest(first_manifest()), narrow_manifest(full_manifest()));
    let sums = Sums { files: narrow(&sums_of_9000_rows().files), ..sums_of_9000_rows() };
    vec![
        (
            "record-empty",
            dump::record(&empty_record(), Place { file: 0, page: 0 }, &STORE, Hex::Shown).unwrap(),
        ),
        ("record-small", dump::record(&small, PLACE, &STORE, Hex::Shown).unwrap()),
        ("record-large", dump::record(&large, BEHIND, &STORE, Hex::Shown).unwrap()),
        ("manifest-first", dump::manifest(&first.encode(), 1, Hex::Shown).unwrap()),
        ("manifest-full", dump::manifest(&full.encode(), 9, Hex::Shown).unwrap()),
        ("sums", dump::sums(&sums.encode(HOME, &STORE), HOME, &STORE, Hex::Shown).unwrap()),
    ]
}

fn path(of: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(of)
}

fn golden(name: &str) -> PathBuf {
    path(&format!("tests/golden/{name}.txt"))
}

/// Where the dump `name` stands in the document: in the fenced block behind its mark.
fn block(document: &str, name: &str) -> Range<usize> {
    let mark = format!("<!-- golden: {name} -->\n```text\n");
    let start = document.find(&mark).unwrap_or_else(|| panic!("{DOCUMENT} has no block {name}")) + mark.len();
    let len = document[start..].find("```").unwrap_or_else(|| panic!("the block {name} does not end"));
    start..start + len
}

#[test]
fn the_document_shows_what_the_code_reads() {
    let mut document = fs::read_to_string(path(DOCUMENT)).unwrap();
    let update = std::env::var_os("UPDATE").is_some();
    for (name, dump) in dumps() {
        if update {
            document.replace_range(block(&document, name), &dump);
            fs::write(golden(name), &dump).unwrap();
        }
        let hint = "UPDATE=1 cargo test golden writes both anew";
        assert!(document[block(&document, name)] == dump, "{DOCUMENT} differs in {name}; {hint}:\n{dump}");
        let kept = fs::read_to_string(golden(name)).unwrap_or_default();
        assert!(kept == dump, "tests/golden/{name}.txt differs; {hint}:\n{dump}");
    }
    if update {
        fs::write(path(DOCUMENT), document).unwrap();
    }
}

#[test]
fn every_golden_dump_and_block_belongs_to_a_structure() {
    let names: Vec<&str> = dumps().iter().map(|(name, _)| *name).collect();
    for entry in fs::read_dir(path("tests/golden")).unwrap() {
        let name = entry.unwrap().file_name().into_string().unwrap();
        assert!(names.iter().any(|known| name == format!("{known}.txt")), "tests/golden/{name} is nobody's");
    }
    let document = fs::read_to_string(path(DOCUMENT)).unwrap();
    assert_eq!(document.matches("<!-- golden: ").count(), names.len());
}

#[test]
fn a_dump_names_every_byte_once_and_shows_no_store_id() {
    let id: String = STORE.iter().map(|byte| format!("{byte:02x}")).collect();
    for (name, dump) in dumps() {
        assert!(!dump.contains(&id), "{name}");
        assert_eq!(dump.matches("................").count(), 1, "{name}");
        let offsets: Vec<u64> =
            dump.lines().map(|line| u64::from_str_radix(&line[..6], 16).unwrap()).collect();
        assert!(offsets.windows(2).all(|pair| pair[0] < pair[1]), "{name} goes back");
    }
    let mut fields = Vec::new();
    let bytes = large_record();
    record::decode_traced(&bytes, BEHIND, &STORE, Some(&mut fields)).unwrap();
    let mut at = 0;
    for field in &fields[..fields.len() - 1] {
        assert_eq!(field.offset, at, "{}", field.name);
        at += field.bytes.as_ref().map_or(16, Vec::len) as u64;
    }
    assert_eq!(fields.last().unwrap().offset, at);
}
