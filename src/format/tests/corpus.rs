//! The corpus of the fuzz targets (`fuzz/corpus`): each target has seeds that are accepted, and what a fuzzer once
//! found stays found.
//!
//! `UPDATE=1 cargo test corpus` writes the seeds anew, from the samples here; a finding is a file beside them, named
//! `found-` and what it was, which is only asked not to panic.

use std::fs;
use std::path::{Path, PathBuf};

use super::super::block::{self, BlockPlace};
use super::super::bytes::BytesWriter;
use super::super::fuzz;
use super::*;
use crate::codec::Tier;
use crate::codec::fixed::Fixed;

/// A target's name, what it calls, and its seeds.
type Target = (&'static str, fn(&[u8]) -> bool, Vec<Vec<u8>>);

fn targets() -> [Target; 8] {
    let sums = sums_of_9000_rows().encode(HOME, &STORE);
    vec![
        ("block", fuzz::block as fn(&[u8]) -> bool, blocks()),
        ("bytes_block", fuzz::bytes_block, bytes_blocks()),
        (
            "manifest",
            fuzz::manifest,
            vec![Manifest { generation: 9, ..first_manifest() }.encode(), full_manifest().encode()],
        ),
        ("record", fuzz::record, vec![empty_seed(), small_record(), large_seed()]),
        ("runs", fuzz::runs, runs()),
        ("segment", fuzz::segment, segments::seeds()),
        ("sums", fuzz::sums, vec![sums]),
        ("values", fuzz::values, values()),
    ]
    .try_into()
    .unwrap_or_else(|_| unreachable!("there are eight"))
}

fn empty_seed() -> Vec<u8> {
    write(identity(PLACE, 7), None, None)
}

fn large_seed() -> Vec<u8> {
    let files = raw_files(0..600);
    write(identity(PLACE, 8), Some(&large(&files, 2, 598)), Some(&[5; 40]))
}

const AT: BlockPlace = BlockPlace { segment: 5, offset: 4096 };

fn block_seed<T: Fixed>(kind: u8, values: &[T]) -> Vec<u8> {
    seed_of(Tier::Fast, kind, values)
}

fn seed_of<T: Fixed>(tier: Tier, kind: u8, values: &[T]) -> Vec<u8> {
    let mut seed = vec![kind];
    seed.extend((values.len() as u16).to_le_bytes());
    seed.extend(block::encode(values, tier, AT, &STORE));
    seed
}

fn blocks() -> Vec<Vec<u8>> {
    let mut random = SplitMix64(1);
    let mut below = |end: usize| random.below(end);
    vec![
        block_seed(0, &(0..1030).map(|row| row * 1000).collect::<Vec<u64>>()),
        block_seed(0, &(0..70).map(|row| row * 1_000_000 + below(1000) as u64).collect::<Vec<u64>>()),
        block_seed(1, &(0..200).map(|_| [1, 1 << 40, 1 << 50][below(3)]).collect::<Vec<i64>>()),
        block_seed(2, &(0..70).map(|row| f64::from(row) + below(100) as f64 / 100.0).collect::<Vec<f64>>()),
        block_seed(2, &(0..40).map(|row| f64::from(row).sqrt()).collect::<Vec<f64>>()),
        block_seed(3, &(0..70).map(|row| row * row).collect::<Vec<u32>>()),
        block_seed(
            4,
            &(0..70).map(|row| if row == 9 { i32::MIN } else { below(300) as i32 }).collect::<Vec<i32>>(),
        ),
        block_seed(5, &(0..70).map(|_| below(1000) as f32 / 10.0).collect::<Vec<f32>>()),
        block_seed(6, &(0..1100).map(|row| row > 500 && below(2) == 0).collect::<Vec<bool>>()),
        seed_of(Tier::Dense, 0, &(0..1100).map(|row| row * row / 7).collect::<Vec<u64>>()),
        seed_of(Tier::Dense, 4, &(0..300).map(|_| below(9) as i32 * below(9) as i32).collect::<Vec<i32>>()),
        seed_of(
            Tier::Dense,
            2,
            &(0..300).map(|row| f64::from(row) + below(9) as f64 / 100.0).collect::<Vec<f64>>(),
        ),
        seed_of(Tier::Dense, 2, &(0..1100).map(|row| f64::from(row * row % 37).sqrt()).collect::<Vec<f64>>()),
        seed_of(Tier::Dense, 5, &(0..300).map(|_| below(30) as f32 / 10.0).collect::<Vec<f32>>()),
    ]
}

fn bytes_seed(values: &[Vec<u8>]) -> Vec<u8> {
    bytes_seed_of(Tier::Fast, values)
}

fn bytes_seed_of(tier: Tier, values: &[Vec<u8>]) -> Vec<u8> {
    let lengths = values.iter().map(|value| value.len() as u64);
    let ends: Vec<u64> = lengths.scan(0, |end, len| Some(std::mem::replace(end, *end + len) + len)).collect();
    let mut bytes = Vec::new();
    let mut writer = BytesWriter::new(&ends, tier, AT, &STORE, &mut bytes);
    writer.push(&values.concat(), &mut bytes);
    let head_bytes = writer.finish(&mut bytes) as u32;
    let rows = values.len() as u16;
    let mut seed = rows.to_le_bytes().to_vec();
    seed.extend(head_bytes.to_le_bytes());
    seed.extend([rows / 3, rows / 2].map(u16::to_le_bytes).as_flattened());
    seed.append(&mut bytes);
    seed
}

fn bytes_blocks() -> Vec<Vec<u8>> {
    let mut random = SplitMix64(2);
    let word = |word: usize| format!("word number {word}").into_bytes();
    vec![
        bytes_seed(&(0..100).map(word).collect::<Vec<_>>()),
        bytes_seed(&(0..1100).map(|_| word(random.below(9))).collect::<Vec<_>>()),
        bytes_seed(&(0..9).map(|row| vec![row; 5000]).collect::<Vec<_>>()),
        bytes_seed(&[]),
        bytes_seed(&[random.next().to_le_bytes().to_vec(), Vec::new(), random.next().to_le_bytes().to_vec()]),
        bytes_seed(&[b"again ".repeat(20_000)]),
        bytes_seed_of(Tier::Dense, &(0..100).map(word).collect::<Vec<_>>()),
        bytes_seed_of(Tier::Dense, &(0..1100).map(|row| word(row % 9)).collect::<Vec<_>>()),
        bytes_seed_of(Tier::Dense, &[b"again ".repeat(20_000)]),
    ]
}

fn step(what: u8, often: u16, operand: u64) -> Vec<u8> {
    [&[what][..], &often.to_le_bytes(), &operand.to_le_bytes()].concat()
}

fn values() -> Vec<Vec<u8>> {
    let mut seeds: Vec<Vec<u8>> = Vec::new();
    for kind in 0..7 {
        let walk = [step(0, 1, 1_700_000_000), step(2, 1500, 1000), step(1, 700, 1000)].concat();
        let noise = [step(3, 1030, u64::MAX), step(0, 9, u64::MAX), step(4, 100, 64)].concat();
        let few = [step(0, 5, 0x4059_0000_0000_0000), step(3, 900, 4), step(0, 1, 1 << 63)].concat();
        seeds.extend([walk, noise, few].map(|steps| [vec![kind], steps].concat()));
    }
    seeds
}

fn runs() -> Vec<Vec<u8>> {
    let run =
        |what: u8, often: u8, len: u16, data: &[u8]| [&[what, often][..], &len.to_le_bytes(), data].concat();
    let few = [run(0, 200, 5, b"venue"), run(0, 9, 0, b""), run(0, 250, 5, b"other")].concat();
    let large = [run(1, 3, u16::MAX, b"."), run(2, 20, 4095, b"."), run(1, 1, 1, b"z")].concat();
    [few, large].map(|steps| [1000_u16.to_le_bytes().to_vec(), steps].concat()).to_vec()
}

fn corpus(target: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz/corpus").join(target)
}

#[test]
fn every_target_takes_its_corpus() {
    let update = std::env::var_os("UPDATE").is_some();
    for (target, run, seeds) in targets() {
        let directory = corpus(target);
        fs::create_dir_all(&directory).unwrap();
        for (index, seed) in seeds.iter().enumerate() {
            let path = directory.join(format!("seed-{index}"));
            if update {
                fs::write(&path, seed).unwrap();
            }
            let kept = fs::read(&path).unwrap_or_default();
            assert!(kept == *seed, "{} differs: UPDATE=1 cargo test corpus writes it anew", path.display());
            assert!(run(&kept), "{} is accepted", path.display());
        }
        let names = fs::read_dir(&directory).unwrap().map(|entry| entry.unwrap().file_name());
        for found in names.filter(|name| name.to_string_lossy().starts_with("found-")) {
            run(&fs::read(directory.join(found)).unwrap());
        }
        let source = Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("fuzz/fuzz_targets/{target}.rs"));
        assert!(source.exists(), "there is no target {target}");
    }
}
