//! How small blocks are: what the codecs are chosen for.

use super::*;

/// With what a head adds to a block: its own checksum and length, and one checksum of each piece.
fn bits_a_value<T: Fixed>(values: &[T], tier: Tier) -> f64 {
    let bytes = |values: &[T]| {
        let bytes = block::encode(values, tier);
        8 + 4 * Block::parse(&bytes, T::KIND, values.len(), 0).unwrap().pieces() + bytes.len()
    };
    values.chunks(BLOCK_ROWS).map(bytes).sum::<usize>() as f64 * 8.0 / values.len() as f64
}

fn check<T: Fixed>(name: &str, values: &[T], bits_max: f64) {
    check_tier(name, values, Tier::Fast, bits_max);
}

fn check_tier<T: Fixed>(name: &str, values: &[T], tier: Tier, bits_max: f64) {
    let bits = bits_a_value(values, tier);
    assert!(bits <= bits_max, "{name}: {bits:.3} bits a value, {bits_max} at most");
}

const ROWS: usize = 4 * BLOCK_ROWS;

#[test]
fn four_columns_and_their_keys_take_three_and_a_half_bytes_and_less_where_they_are_dense() {
    let mut random = SplitMix64(1);
    let keys: Vec<u64> = (0..ROWS).map(|row| 1_700_000_000_000_000_000 + row as u64 * 1_000_000).collect();
    let (a, b) = (walk(100.0, 0.01, 100.0, ROWS, &mut random), walk(50.0, 0.01, 100.0, ROWS, &mut random));
    let c: Vec<f64> = (0..ROWS).map(|_| random.below(1000) as f64).collect();
    let d: Vec<f64> = (0..ROWS).map(|_| (random.unit() * 1000.0).round() / 10.0).collect();
    for (tier, bytes_max) in [(Tier::Fast, 3.42), (Tier::Dense, 3.15)] {
        let columns = [&a, &b, &c, &d].map(|column| bits_a_value(column, tier));
        let bytes = (bits_a_value(&keys, tier) + columns.iter().sum::<f64>()) / 8.0;
        assert!(bytes <= bytes_max, "{tier:?}: {bytes:.3} bytes");
    }
}

#[test]
fn keys_take_little_more_than_their_entropy() {
    let mut random = SplitMix64(2);
    let mut at = 1_700_000_000_000_000_000_u64;
    let mut gap = |mean: f64| {
        at += (-(1.0 - random.unit()).ln() * mean) as u64;
        at
    };
    // log2(e x 1,000,000) is 21.4.
    let irregular: Vec<u64> = (0..ROWS).map(|_| gap(1e6)).collect();
    check("irregular", &irregular, 23.0);
    let microseconds: Vec<u64> = irregular.iter().map(|key| key / 1000 * 1000).collect();
    check("irregular microseconds", &microseconds, 13.0);
    // log2(4.13 x 1,000) is 12.0.
    let jitter = |row: usize| 1_700_000_000_000_000_000 + (row as f64 * 1e6 + 1e3 * random.normal()) as u64;
    check("jitter", &(0..ROWS).map(jitter).collect::<Vec<u64>>(), 13.5);
    check("slow", &(0..ROWS as u64).map(|row| row / 3).collect::<Vec<u64>>(), 2.1);
}

#[test]
fn what_repeats_or_has_few_values_takes_few_bits() {
    let mut random = SplitMix64(3);
    let reals: Vec<f64> = (0..ROWS).map(|_| random.unit()).collect();
    check("reals", &reals, 55.5);
    check("runs of reals", &(0..ROWS).map(|row| reals[row / 50]).collect::<Vec<f64>>(), 2.0);
    check("sixteen reals", &(0..ROWS).map(|_| reals[random.below(16)]).collect::<Vec<f64>>(), 4.3);
    check("f32 as f64", &reals.iter().map(|real| f64::from(*real as f32)).collect::<Vec<f64>>(), 27.5);
    check("random", &(0..ROWS).map(|_| random.next()).collect::<Vec<u64>>(), 64.2);
    check("bits", &(0..ROWS).map(|_| random.below(2) == 0).collect::<Vec<bool>>(), 1.2);
    check("rare bits", &(0..ROWS).map(|_| random.below(100) == 0).collect::<Vec<bool>>(), 0.45);
    check("long runs of bits", &(0..ROWS).map(|row| row / 700 % 2 == 0).collect::<Vec<bool>>(), 0.27);
}

#[test]
fn floats_that_are_not_what_a_sample_promises_take_no_more_than_their_bits() {
    let mut random = SplitMix64(4);
    let mut values: Vec<f64> = (0..BLOCK_ROWS).map(|_| f64::from_bits(random.next())).collect();
    assert_eq!(encode(&values)[0], 4);
    // A block is tried at a fourth and three fourths of it.
    for quarter in [1, 3] {
        let tried = &mut values[quarter * BLOCK_ROWS / 4..][..VECTOR];
        tried.copy_from_slice(&walk(100.0, 0.1, 100.0, VECTOR, &mut random));
    }
    check("decimals where they are tried", &values, 64.5);
}

#[test]
fn real_columns_take_what_is_known_to_be_possible() {
    let Some(folder) = std::env::var_os("TIDELOG_DATA") else {
        let required = std::env::var("TIDELOG_REQUIRE").unwrap_or_default();
        assert!(!required.split(',').any(|need| need == "data"), "TIDELOG_DATA names no folder");
        return eprintln!("skipped: TIDELOG_DATA names no folder with real columns");
    };
    // The whole files take 7.73, 0.47 and 27.12 with pco (level 8), 13.97, 0.44 and 25.81 with zstd (3).
    let limits = [("city_temperature_f_tw", 9.5, 6.9), ("gov26_tw", 1.2, 0.46), ("nyc29_tw", 40.5, 22.5)];
    for (name, bits_max, dense_bits_max) in limits {
        let path = std::path::Path::new(&folder).join(format!("alp/{name}.bin"));
        let bytes = std::fs::read(path).unwrap();
        let values: Vec<f64> = bytes.as_chunks().0.iter().map(|value| f64::from_le_bytes(*value)).collect();
        check(name, &values, bits_max);
        check_tier(name, &values, Tier::Dense, dense_bits_max);
    }
}
