//! How fast blocks are encoded and decoded in cache, beside a copy of the same values in the same run.
//!
//! `cargo bench --bench codec [NAME]`, built as a user would, without target-cpu. Every block is decoded once more
//! behind the clock and compared with what was encoded. `TIDELOG_DATA` names a folder with real columns.

#![expect(clippy::unwrap_used, reason = "a bench that cannot go on has failed")]
#![expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "samples are small")]

// The codecs are no part of the library's face: they are compiled here once more, with what they name.
#[path = "../src/codec/mod.rs"]
#[expect(unreachable_pub, reason = "public in the library")]
#[cfg_attr(
    test,
    allow(
        dead_code,
        unfulfilled_lint_expectations,
        unused_imports,
        reason = "clippy sees helpers of tests, without the tests"
    )
)]
mod codec;

mod schema {
    pub(crate) use tidelog::Kind;
}

mod error {
    use std::borrow::Cow;

    #[derive(Debug)]
    pub(crate) struct Malformed {
        pub(crate) _offset: u64,
        pub(crate) what: Cow<'static, str>,
    }

    impl Malformed {
        pub(crate) fn new(offset: u64, what: impl Into<Cow<'static, str>>) -> Self {
            Self { _offset: offset, what: what.into() }
        }
    }
}

use std::hint::black_box;
use std::ops::Range;
use std::time::Instant;

use codec::block::{Block, Scratch, encode};
use codec::bytes::encode::Encoder;
use codec::bytes::{BytesBlock, Runs};
use codec::fixed::Fixed;
use codec::{BLOCK_ROWS, Tier, VECTOR};

/// The shortest of many times, in seconds: what else the machine does only adds to it.
fn shortest(rounds: usize, mut work: impl FnMut()) -> f64 {
    let mut time = || {
        let start = Instant::now();
        work();
        start.elapsed().as_secs_f64()
    };
    (0..rounds).map(|_| time()).fold(f64::INFINITY, f64::min)
}

fn decode<T: Fixed>(block: &Block, bytes: &[u8], scratch: &mut Scratch, values: &mut [T]) {
    for (index, values) in values.chunks_mut(VECTOR).enumerate() {
        block.decode_vector(index, &bytes[block.vector(index)], scratch, values).unwrap();
    }
}

fn bench<T: Fixed>(name: &str, column: &[T]) {
    if std::env::args().skip(1).any(|only| !only.starts_with('-') && only != name) {
        return;
    }
    let blocks: Vec<Vec<u8>> = column.chunks(BLOCK_ROWS).map(|values| encode(values, Tier::Fast)).collect();
    let bits = blocks.iter().map(Vec::len).sum::<usize>() as f64 * 8.0 / column.len() as f64;
    let parsed: Vec<Block> = column
        .chunks(BLOCK_ROWS)
        .zip(&blocks)
        .map(|(values, bytes)| Block::parse(bytes, T::KIND, values.len(), 0).unwrap())
        .collect();
    let (mut into, mut scratch) = (vec![T::ZERO; BLOCK_ROWS], Scratch::default());
    // All of them, one after the other: the same block again and again is one whose branches are known.
    let copied = shortest(50, || {
        for values in column.chunks(BLOCK_ROWS) {
            into[..values.len()].copy_from_slice(black_box(values));
            black_box(&into);
        }
    });
    let decoded = shortest(50, || {
        for ((block, bytes), values) in parsed.iter().zip(&blocks).zip(column.chunks(BLOCK_ROWS)) {
            decode(block, black_box(bytes), &mut scratch, black_box(&mut into[..values.len()]));
        }
    });
    let encoded = shortest(10, || {
        column.chunks(BLOCK_ROWS).for_each(|values| drop(black_box(encode(black_box(values), Tier::Fast))));
    });
    for (values, bytes) in column.chunks(BLOCK_ROWS).zip(&blocks) {
        let (block, into) = (Block::parse(bytes, T::KIND, values.len(), 0), &mut into[..values.len()]);
        decode(&block.unwrap(), bytes, &mut scratch, into);
        let same = into.iter().zip(values).all(|(one, other)| one.bits() == other.bits());
        assert!(same, "{name}: other values came back");
    }
    let gigabytes = |seconds: f64| size_of_val(column) as f64 / seconds / 1e9;
    println!(
        "{name:<18} {:<10} {bits:>7.3} bits  encode {:>5.1} ns/value  decode {:>5.1} GB/s  {:>5.2} G values/s  copy {:>5.1} GB/s",
        parsed[0].codec(),
        encoded * 1e9 / column.len() as f64,
        gigabytes(decoded),
        column.len() as f64 / decoded / 1e9,
        gigabytes(copied),
    );
}

/// Values of any length: a block of them, and single rows of it.
fn bench_bytes(name: &str, values: &[String]) {
    if std::env::args().skip(1).any(|only| !only.starts_with('-') && only != name) {
        return;
    }
    let lengths = values.iter().map(|value| value.len() as u64);
    let ends: Vec<u64> = lengths.scan(0, |end, len| Some(std::mem::replace(end, *end + len) + len)).collect();
    let data = values.concat().into_bytes();
    let mut content = Vec::new();
    let mut header = Vec::new();
    let encoded = shortest(10, || {
        content.clear();
        let mut encoder = Encoder::new(black_box(&ends), Tier::Fast, &mut content);
        encoder.push(black_box(&data), &mut content);
        header = encoder.finish(&mut content).0;
    });
    let block = BytesBlock::parse(&header, values.len(), content.len() as u64, 0).unwrap();
    let part = |range: Range<u64>| &content[range.start as usize..range.end as usize];
    let read = |rows: Range<usize>, runs: &mut Runs| {
        let located = block.locate(&rows, part(block.vectors(&rows)), &mut Scratch::default()).unwrap();
        block.decode(&located, part(block.stored(&located)), runs).unwrap();
    };
    let mut runs = Runs::default();
    let decoded = shortest(50, || {
        runs = Runs::default();
        read(0..values.len(), black_box(&mut runs));
    });
    assert!(runs.data == data && runs.bounds[1..] == ends, "{name}: other values came back");
    let mut random = Random(2);
    let point = shortest(500, || {
        let row = random.next() as usize % values.len();
        read(row..row + 1, black_box(&mut Runs::default()));
    });
    let gigabytes = |seconds: f64| data.len() as f64 / seconds / 1e9;
    println!(
        "{name:<18} {:<10} {:>7.3} bytes a value of {:.1}  encode {:>5.2} GB/s  decode {:>5.2} GB/s  one row {:>5.1} us",
        block.codec(),
        (header.len() + content.len()) as f64 / values.len() as f64,
        data.len() as f64 / values.len() as f64,
        gigabytes(encoded),
        gigabytes(decoded),
        point * 1e6,
    );
}

/// SplitMix64.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        z ^ (z >> 31)
    }

    fn unit(&mut self) -> f64 {
        (self.next() >> 11) as f64 / (1_u64 << 53) as f64
    }

    fn normal(&mut self) -> f64 {
        (-2.0 * (1.0 - self.unit()).ln()).sqrt() * (std::f64::consts::TAU * self.unit()).cos()
    }
}

const ROWS: usize = 16 * BLOCK_ROWS;
const START: u64 = 1_700_000_000_000_000_000;

fn main() {
    let mut random = Random(1);
    let (mut a, mut key) = (100.0, START);
    let mut step = || {
        a += 0.01 * random.normal();
        (a * 100.0).round() / 100.0
    };
    bench("a walk", &(0..ROWS).map(|_| step()).collect::<Vec<f64>>());
    bench("c 0..999", &(0..ROWS).map(|_| (random.next() % 1000) as f64).collect::<Vec<f64>>());
    bench("d 1 decimal", &(0..ROWS).map(|_| (random.unit() * 1e3).round() / 10.0).collect::<Vec<f64>>());
    bench("reals", &(0..ROWS).map(|_| random.unit()).collect::<Vec<f64>>());
    bench("keys, regular", &(0..ROWS as u64).map(|row| START + row * 1_000_000).collect::<Vec<u64>>());
    let jitter = |row: usize| START + (row as f64 * 1e6 + 1e3 * random.normal()) as u64;
    bench("keys, jitter", &(0..ROWS).map(jitter).collect::<Vec<u64>>());
    let gap = |_| {
        key += (-(1.0 - random.unit()).ln() * 1e6) as u64;
        key
    };
    bench("keys, Poisson", &(0..ROWS).map(gap).collect::<Vec<u64>>());
    bench("i32 normal", &(0..ROWS).map(|_| (random.normal() * 100.0) as i32).collect::<Vec<i32>>());
    bench(
        "f32 1 decimal",
        &(0..ROWS).map(|_| (random.unit() * 1e3).round() as f32 / 10.0).collect::<Vec<f32>>(),
    );
    bench("bool", &(0..ROWS).map(|_| random.next().is_multiple_of(2)).collect::<Vec<bool>>());
    let line = |row: usize, random: &mut Random| {
        let (worker, id, status) = (random.next() % 16, random.next(), [200, 404, 500][row % 3]);
        format!(
            "[worker-{worker}] request {row} id={id:016x} method=GET path=/api/items/{} status={status}",
            id % 9999
        )
    };
    bench_bytes("log lines", &(0..BLOCK_ROWS).map(|row| line(row, &mut random)).collect::<Vec<_>>());
    let place = |random: &mut Random| format!("building {}, room {}", random.next() % 9, random.next() % 50);
    bench_bytes("few words", &(0..BLOCK_ROWS).map(|_| place(&mut random)).collect::<Vec<_>>());
    let id = |random: &mut Random| format!("{:016x}{:016x}", random.next(), random.next());
    bench_bytes("hex ids", &(0..BLOCK_ROWS).map(|_| id(&mut random)).collect::<Vec<_>>());
    let Some(folder) = std::env::var_os("TIDELOG_DATA") else {
        return println!("TIDELOG_DATA names no folder with real columns");
    };
    for name in ["city_temperature_f", "gov26", "nyc29"] {
        let bytes = std::fs::read(std::path::Path::new(&folder).join(format!("alp/{name}_tw.bin"))).unwrap();
        bench(
            name,
            &bytes.as_chunks().0.iter().map(|value| f64::from_le_bytes(*value)).collect::<Vec<f64>>(),
        );
    }
}
