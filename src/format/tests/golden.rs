//! docs/format.md shows the dumps that the code makes, and tests/golden holds the same.
//!
//! `UPDATE=1 cargo test golden` writes both anew; what changed is then for a person to read.

use std::fs;
use std::path::{Path, PathBuf};

use super::super::block::{self, BlockPlace};
use super::super::bytes::BytesWriter;
use super::super::dump::{self, Hex};
use super::super::entries::Entries;
use super::super::fuzz;
use super::segments::{self, Index};
use super::*;
use crate::codec::Tier;
use crate::codec::fixed::Fixed;

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
    let mut dumps = vec![
        (
            "record-empty",
            dump::record(&empty_record(), Place { file: 0, page: 0 }, &STORE, Hex::Shown).unwrap(),
        ),
        ("record-small", dump::record(&small, PLACE, &STORE, Hex::Shown).unwrap()),
        ("record-large", dump::record(&large, BEHIND, &STORE, Hex::Shown).unwrap()),
        ("manifest-first", dump::manifest(&first.encode(), 1, Hex::Shown).unwrap()),
        ("manifest-full", dump::manifest(&full.encode(), 9, Hex::Shown).unwrap()),
        ("sums", dump::sums(&sums.encode(HOME, &STORE), HOME, &STORE, Hex::Shown).unwrap()),
    ];
    dumps.extend(index());
    dumps.extend(blocks());
    dumps
}

/// The directory of a sealed segment, and the entries of one of its streams.
fn index() -> [(&'static str, String); 2] {
    let Index { schema, directory, entries, file_bytes } = segments::index(0);
    let home = fuzz::segments::home(&schema);
    let sheet = directory.encode(home);
    let mut fields = Vec::new();
    Entries::decode_traced(entries[1].clone(), &directory, 1, &schema, Some(&mut fields)).unwrap();
    [
        ("directory", dump::directory(&sheet, home, file_bytes, Hex::Shown).unwrap()),
        ("entries", dump::lines(&fields, Hex::Shown)),
    ]
}

/// A block of every codec.
fn blocks() -> [(&'static str, String); 11] {
    let mut random = SplitMix64(8);
    let prices: Vec<f64> = (0..1500).map(|row| 100.0 + f64::from(row % 7) / 10.0).collect();
    let reals: Vec<f64> =
        (0..1500).map(|_| 1.0 + (random.next() >> 11) as f64 / (1_u64 << 53) as f64).collect();
    let (mut cents, mut steps) = (10_000, SplitMix64(9));
    let mut walk = |_| {
        cents += steps.below(7) as i32 - 3;
        f64::from(cents) / 100.0
    };
    let prices_walk: Vec<f64> = (0..1500).map(&mut walk).chain([f64::NAN]).collect();
    let few: Vec<i64> = (0..1500).map(|_| [-1 << 40, 1, 1 << 50][random.below(3)]).collect();
    let sizes: Vec<u32> = (0..1500).map(|_| random.below(900) as u32 * 10).collect();
    let keys: Vec<u64> = (0..1500).map(|row| key(2 * row)).collect();
    let lines: Vec<String> = (0..1500).map(|row| format!("order {row} is filled")).collect();
    let venues = (0..1500).map(|_| ["", "XETR", "XNAS"][random.below(3)].to_owned()).collect::<Vec<_>>();
    [
        ("block-stride", fixed_block(&keys, Tier::Fast)),
        ("block-integers", fixed_block(&sizes, Tier::Fast)),
        ("block-decimals", fixed_block(&prices, Tier::Fast)),
        ("block-split", fixed_block(&reals, Tier::Fast)),
        ("block-dictionary", fixed_block(&few, Tier::Fast)),
        ("block-pco", fixed_block(&sizes, Tier::Dense)),
        ("block-pco-decimals", fixed_block(&prices_walk, Tier::Dense)),
        ("block-frames", bytes_block(&lines, Tier::Fast)),
        ("block-zstd-frames", bytes_block(&lines, Tier::Dense)),
        ("block-dictionary-of-text", bytes_block(&venues, Tier::Fast)),
        ("block-zstd-dictionary", bytes_block(&venues, Tier::Dense)),
    ]
}

const BLOCK: BlockPlace = BlockPlace { segment: 3, offset: 0x8000 };

fn fixed_block<T: Fixed>(values: &[T], tier: Tier) -> String {
    let bytes = block::encode(values, tier, BLOCK, &STORE);
    dump::block(&bytes, T::KIND, values.len(), BLOCK, &STORE, Hex::Shown).unwrap()
}

fn bytes_block(values: &[String], tier: Tier) -> String {
    let lengths = values.iter().map(|value| value.len() as u64);
    let ends = lengths.scan(0, |end, len| {
        *end += len;
        Some(*end)
    });
    let (ends, mut bytes): (Vec<u64>, _) = (ends.collect(), Vec::new());
    let mut writer = BytesWriter::new(&ends, tier, BLOCK, &STORE, &mut bytes);
    writer.push(values.concat().as_bytes(), &mut bytes);
    let head_bytes = writer.finish(&mut bytes);
    dump::bytes_block(&bytes, head_bytes, values.len(), BLOCK, &STORE, Hex::Shown).unwrap()
}

fn path(of: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(of)
}

fn golden(name: &str) -> PathBuf {
    path(&format!("tests/golden/{name}.txt"))
}

/// Where the dump `name` stands in the document: in the fenced block behind its mark.
fn place_of(document: &str, name: &str) -> Range<usize> {
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
            document.replace_range(place_of(&document, name), &dump);
            fs::write(golden(name), &dump).unwrap();
        }
        let hint = "UPDATE=1 cargo test golden writes both anew";
        assert!(document[place_of(&document, name)] == dump, "{DOCUMENT} differs in {name}; {hint}:\n{dump}");
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
        // A block's salt has the id, its bytes do not; entries have the directory.
        let shown = usize::from(!name.starts_with("block") && name != "entries");
        assert_eq!(dump.matches("................").count(), shown, "{name}");
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
