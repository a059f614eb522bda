//! Whatever is encoded comes back bit for bit: whole vectors, and each value alone.

use super::*;

/// Encodes `values` in both tiers and checks everything that the blocks say; returns the name of the fast one's codec.
fn check<T: Fixed>(values: &[T]) -> &'static str {
    let (fast, dense) = (encode(values), block::encode(values, Tier::Dense));
    assert!(dense.len() <= fast.len(), "{} bytes are denser than {}", dense.len(), fast.len());
    check_block(values, &dense);
    check_block(values, &fast)
}

fn check_block<T: Fixed>(values: &[T], bytes: &[u8]) -> &'static str {
    let block = Block::parse(bytes, T::KIND, values.len(), 0).unwrap();
    assert_eq!(block.bytes(), bytes.len());
    assert_eq!(block.vectors(), values.len().div_ceil(VECTOR));
    assert!(bits(&decode::<T>(&block, bytes).unwrap()) == bits(values), "{} {}", T::KIND, block.codec());
    // The header needs no more than its own bytes.
    let header = Block::parse(&bytes[..block.header_bytes()], T::KIND, values.len(), 0).unwrap();
    assert_eq!(header.bytes(), bytes.len());
    let edges =
        |row: &usize| values.len() < 100 || row.is_multiple_of(61) || row % VECTOR < 2 || row % VECTOR > 1021;
    let mut scratch = Scratch::default();
    for row in (0..values.len()).filter(edges) {
        // Of a page values are there already, or not yet, or some of them.
        if row % 5 == 0 {
            scratch = Scratch::default();
        }
        let value: T = header.value(row, vector(&block, bytes, row / VECTOR), &mut scratch).unwrap();
        assert_eq!(value.bits(), values[row].bits(), "{} {} row {row}", T::KIND, block.codec());
    }
    block.codec()
}

const LENGTHS: [usize; 13] = [0, 1, 2, 3, 31, 32, 33, 1023, 1024, 1025, 2049, BLOCK_ROWS - 1, BLOCK_ROWS];

#[test]
fn values_of_every_width_come_back() {
    let mut random = SplitMix64(1);
    for width in 0..=64_u32 {
        let mask = u64::MAX.checked_shr(64 - width).unwrap_or(0);
        for rows in [1, 15, 16, 17, 31, 32, 33, 1023, 1024, 1025] {
            let base = random.next() & !mask;
            let values: Vec<u64> = (0..rows).map(|_| base | (random.next() & mask)).collect();
            check(&values);
            // The same as differences, and as what a line leaves.
            let mut sum = 0_u64;
            let sums: Vec<u64> = values
                .iter()
                .map(|value| {
                    sum = sum.wrapping_add(value & mask);
                    sum
                })
                .collect();
            check(&sums);
            let sloped = |(row, value): (usize, &u64)| (value & mask).wrapping_add(1_234_567 * row as u64);
            check(&values.iter().enumerate().map(sloped).collect::<Vec<u64>>());
            check(&values.iter().map(|value| value.cast_signed()).collect::<Vec<i64>>());
            check(&values.iter().map(|value| *value as u32).collect::<Vec<u32>>());
            check(&values.iter().map(|value| f64::from_bits(*value)).collect::<Vec<f64>>());
            check(&values.iter().map(|value| f32::from_bits(*value as u32)).collect::<Vec<f32>>());
        }
    }
}

#[test]
fn special_floats_come_back_bit_for_bit() {
    let special = [
        0.0,
        -0.0,
        f64::NAN,
        -f64::NAN,
        f64::from_bits(0x7FF0_0000_0000_0001),
        f64::from_bits(0x7FF8_0000_0000_BEEF),
        f64::INFINITY,
        f64::NEG_INFINITY,
        f64::MIN,
        f64::MAX,
        f64::MIN_POSITIVE,
        f64::from_bits(1),
        f64::EPSILON,
        2_251_799_813_685_247.0,
        2_251_799_813_685_248.0,
        -2_251_799_813_685_248.0,
        -2_251_799_813_685_249.0,
        9_007_199_254_740_993.0,
        0.1,
        1e-308,
        1e18,
        -21.37,
    ];
    let mut random = SplitMix64(2);
    for each in special {
        check(&[each]);
        check(&[each; 1025]);
        check(&[each as f32; 3]);
        // One among decimals, at the edges and anywhere.
        for at in [0, 1, 700, 1023, 1024] {
            let mut values = walk(20.0, 0.1, 10.0, 1025, &mut random);
            values[at] = each;
            assert_eq!(check(&values), "decimals");
            check(&values.iter().map(|value| *value as f32).collect::<Vec<f32>>());
        }
    }
    for rows in [22, 1024, 3000] {
        let values: Vec<f64> = (0..rows).map(|_| special[random.below(special.len())]).collect();
        check(&values);
        check(&values.iter().map(|value| *value as f32).collect::<Vec<f32>>());
        // Payloads that a conversion to f64 and back would change.
        let payload = |_| f32::from_bits(0x7F80_0001 + (random.next() as u32 & 0x3F_FFFF));
        check(&(0..rows).map(payload).collect::<Vec<f32>>());
    }
}

/// What a column may look like, with the codec that a block of it should get where that is plain.
type Shape<T> = (&'static str, fn(usize, &mut SplitMix64) -> T);

fn check_shapes<T: Fixed>(shapes: &[Shape<T>]) {
    let mut random = SplitMix64(3);
    for (codec, shape) in shapes {
        for rows in LENGTHS {
            let values: Vec<T> = (0..rows).map(|row| shape(row, &mut random)).collect();
            let chosen = check(&values);
            assert!(
                rows < BLOCK_ROWS - 1 || chosen == *codec,
                "{}: {chosen}, not {codec}, of {rows}",
                T::KIND
            );
        }
    }
}

#[test]
fn integers_of_every_shape_and_length_come_back() {
    check_shapes::<u64>(&[
        ("constant", |_, _| u64::MAX),
        ("stride", |row, _| 1_700_000_000_000_000_000 + row as u64 * 1_000_000),
        ("stride", |row, _| u64::MAX - row as u64),
        ("stride", |row, _| (row as u64).wrapping_mul(0x9E37_79B9_7F4A_7C15)),
        ("integers", |row, _| [0, u64::MAX][row % 2]),
        ("integers", |row, random| row as u64 * 1_000_003 + random.next() % 1000),
        ("integers", |_, random| random.next()),
        ("integers", |row, _| (row * row) as u64 * 1_000_000),
        ("dictionary", |_, random| [0, 1 << 40, 1 << 63, u64::MAX][random.below(4)]),
    ]);
    check_shapes::<i64>(&[
        ("constant", |_, _| i64::MIN),
        ("stride", |row, _| -(row as i64)),
        ("integers", |row, _| [i64::MIN, i64::MAX][row % 2]),
        ("integers", |_, random| (random.normal() * 1e6) as i64),
        ("integers", |row, random| if row % 1000 == 0 { i64::MIN } else { random.below(8) as i64 }),
    ]);
    check_shapes::<u32>(&[
        ("constant", |_, _| u32::MAX),
        ("stride", |row, _| u32::MAX - row as u32),
        ("integers", |_, random| random.next() as u32),
        ("integers", |row, _| (row / 100) as u32),
    ]);
    check_shapes::<i32>(&[
        ("stride", |row, _| i32::MIN + row as i32),
        ("dictionary", |row, _| [i32::MIN, i32::MAX, -1, 0][row % 4]),
        ("integers", |_, random| random.next() as i32),
    ]);
    check_shapes::<bool>(&[
        ("constant", |_, _| true),
        ("integers", |row, _| row % 2 == 1),
        ("integers", |row, _| row % 300 < 100),
        ("integers", |row, random| row == 5 || random.below(90) == 0),
        ("integers", |row, random| row == 5 || random.below(2) == 0),
    ]);
}

#[test]
fn floats_of_every_shape_and_length_come_back() {
    check_shapes::<f64>(&[
        ("constant", |_, _| f64::NAN),
        ("decimals", |row, random| (row / 10) as f64 + (random.unit() * 100.0).round() / 100.0),
        ("decimals", |_, random| random.below(1000) as f64),
        (
            "decimals",
            |row, random| if row % 50 == 0 { f64::NAN } else { random.below(10_000) as f64 / 100.0 },
        ),
        ("split", |_, random| (1.0 + random.unit()) * [1.0, -1.0][random.below(2)]),
        ("split", |_, random| f64::from_bits(random.next())),
        ("integers", |row, _| f64::from((row / 700) as u32).sqrt()),
        ("dictionary", |_, random| f64::from(random.below(20) as u32).sqrt()),
    ]);
    check_shapes::<f32>(&[
        ("constant", |_, _| -0.0),
        ("decimals", |_, random| random.below(1000) as f32 / 10.0),
        ("split", |_, random| (1.0 + random.unit() as f32) * [1.0, -1.0][random.below(2)]),
        ("dictionary", |_, random| (random.below(20) as f32).sqrt()),
    ]);
}

#[test]
fn a_common_divisor_is_found_and_an_exception_to_it_too() {
    let mut random = SplitMix64(4);
    let mut at = 1_700_000_000_000_000_000;
    let mut keys: Vec<u64> = (0..BLOCK_ROWS)
        .map(|_| {
            at += 1000 * (1 + random.next() % 4096);
            at
        })
        .collect();
    let even = encode(&keys).len();
    check(&keys);
    keys[7000] += 1;
    assert!(encode(&keys).len() > even + BLOCK_ROWS, "ten bits of each difference are gone");
    check(&keys);
}

#[test]
#[should_panic(expected = "16384 rows at most")]
fn a_block_takes_no_more_rows_than_fit() {
    encode(&vec![0_u64; BLOCK_ROWS + 1]);
}
