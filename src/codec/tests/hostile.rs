//! Anybody's bytes: refused, or rows; never a panic, never more rows than were asked for, and a value alone is what
//! it is among its neighbours. (That wrong rows are noticed is a matter of checksums.)

use super::*;

/// A block's bytes, and what looks at them.
struct Sample {
    name: String,
    bytes: Vec<u8>,
    /// Looks at bytes as at a block of these rows; whether it takes them, and what it reads.
    read: fn(&[u8], usize) -> Option<Vec<u64>>,
    rows: usize,
}

fn read<T: Fixed>(bytes: &[u8], rows: usize) -> Option<Vec<u64>> {
    let block = Block::parse(bytes, T::KIND, rows, 0).ok()?;
    assert_eq!(block.vectors(), rows.div_ceil(VECTOR));
    let values: Option<Vec<T>> = decode(&block, bytes).ok();
    for row in (0..rows).step_by(rows / 20 + 1) {
        let alone = block.value::<T>(row, vector(&block, bytes, row / VECTOR), &mut Scratch::default()).ok();
        if let Some(values) = &values {
            assert_eq!(alone.map(T::bits), Some(values[row].bits()), "row {row} of {}", block.codec());
        }
    }
    assert!(values.as_ref().is_none_or(|values| values.len() == rows));
    // Whoever has the file compares its bytes with those of the block.
    values.filter(|_| block.bytes() == bytes.len()).map(|values| bits(&values))
}

fn sample<T: Fixed>(name: &str, values: &[T]) -> Sample {
    sample_of(Tier::Fast, name, values)
}

fn sample_of<T: Fixed>(tier: Tier, name: &str, values: &[T]) -> Sample {
    let bytes = block::encode(values, tier);
    let block = Block::parse(&bytes, T::KIND, values.len(), 0).unwrap();
    let name = format!("{} {}, {name}", T::KIND, block.codec());
    assert_eq!(read::<T>(&bytes, values.len()), Some(bits(values)), "{name}");
    Sample { name, bytes, read: read::<T>, rows: values.len() }
}

/// A small block of every codec and every form of numbers.
fn samples() -> Vec<Sample> {
    let mut random = SplitMix64(7);
    let walk = walk(100.0, 0.3, 100.0, 70, &mut random);
    let mut outliers = walk.clone();
    (outliers[3], outliers[40], outliers[69]) = (f64::NAN, 1e300, 123_456.78);
    let reals: Vec<f64> = (0..40).map(|_| random.unit()).collect();
    let keys: Vec<u64> = (0..70).map(|row| 1 << 60 | (row * 1_000_000 + random.next() % 1000)).collect();
    let mut sum = 0_u64;
    let gaps: Vec<u64> = (0..1030)
        .map(|row| {
            sum += random.next() % 8 + if row % 300 == 7 { 1 << 50 } else { 0 };
            sum * 1000
        })
        .collect();
    vec![
        sample("constant", &[7_i32; 40]),
        sample("up", &(0..1030).collect::<Vec<u64>>()),
        sample("down", &(0..40).map(|row| 100 - row).collect::<Vec<u32>>()),
        sample("keys", &keys),
        sample("gaps", &gaps),
        sample("small", &(0..70).map(|_| random.below(300) as i32).collect::<Vec<i32>>()),
        sample("wide", &(0..20).map(|_| random.next()).collect::<Vec<u64>>()),
        sample("bits", &(0..70).map(|_| random.below(2) == 0).collect::<Vec<bool>>()),
        sample("walk", &walk),
        sample("outliers", &outliers),
        sample("of f32", &walk.iter().map(|value| *value as f32).collect::<Vec<f32>>()),
        sample("reals", &(0..300).map(|_| random.normal()).collect::<Vec<f64>>()),
        sample("few", &(0..300).map(|_| reals[random.below(9)]).collect::<Vec<f64>>()),
        sample("few", &(0..300).map(|_| [1, 1 << 40, 1 << 50][random.below(3)]).collect::<Vec<i64>>()),
        sample_of(Tier::Dense, "squares", &(0..1100).map(|row| row * row / 7).collect::<Vec<u64>>()),
        sample_of(Tier::Dense, "small", &(0..300).map(|_| random.normal() as i32).collect::<Vec<i32>>()),
        sample_of(Tier::Dense, "walk", &self::walk(100.0, 0.01, 100.0, 300, &mut random)),
        sample_of(Tier::Dense, "again", &(0..2000).map(|row| reals[row % 37]).collect::<Vec<f64>>()),
        sample_of(
            Tier::Dense,
            "of f32",
            &self::walk(100.0, 0.01, 10.0, 300, &mut random)
                .iter()
                .map(|value| *value as f32)
                .collect::<Vec<f32>>(),
        ),
    ]
}

#[test]
fn the_samples_are_of_every_codec() {
    let samples = samples();
    for codec in ["constant", "stride", "integers", "decimals", "split", "dictionary", "pco", "pco decimals"]
    {
        assert!(samples.iter().any(|sample| sample.name.contains(codec)), "{codec}");
    }
    // The first byte of the first vector of integers is its form.
    let forms: Vec<u8> = samples
        .iter()
        .filter(|sample| sample.name.contains("u64 integers"))
        .map(|sample| sample.bytes[usize::from(sample.bytes[4])])
        .collect();
    assert!([1, 2, 3].iter().all(|form| forms.contains(form)), "{forms:?}");
}

#[test]
fn any_flipped_bit_is_refused_or_gives_rows() {
    for Sample { name, bytes, read, rows } in samples() {
        let mut refused = 0;
        for bit in 0..bytes.len() * 8 {
            let mut flipped = bytes.clone();
            flipped[bit / 8] ^= 1 << (bit % 8);
            refused += usize::from(read(&flipped, rows).is_none());
        }
        // Tag, reserved byte, rows, length of the header: nothing there can change unnoticed.
        assert!(refused >= 62, "{name}: {refused} refused");
    }
}

#[test]
fn no_bit_is_without_meaning() {
    for Sample { name, bytes, read, rows } in samples() {
        // Below patches and exceptions stand numbers that nobody reads, a dictionary may have entries that no row has,
        // and a page of pco has states that its last values do not come to.
        if name.contains("pco")
            || ["gaps", "outliers", "reals", "few"].iter().any(|listed| name.ends_with(listed))
        {
            continue;
        }
        let values = read(&bytes, rows);
        for bit in 0..bytes.len() * 8 {
            let mut flipped = bytes.clone();
            flipped[bit / 8] ^= 1 << (bit % 8);
            assert!(read(&flipped, rows) != values, "{name}: byte {}, bit {}", bit / 8, bit % 8);
        }
    }
}

#[test]
fn a_block_that_is_cut_off_is_refused() {
    for Sample { name, bytes, read, rows } in samples() {
        for len in 0..bytes.len() {
            assert_eq!(read(&bytes[..len], rows), None, "{name}: {len} bytes");
        }
        for other in [0, rows - 1, rows + 1, BLOCK_ROWS, BLOCK_ROWS + 1, 1 << 40] {
            assert_eq!(read(&bytes, other), None, "{name}: {other} rows");
        }
    }
}

#[test]
fn bytes_changed_at_will_are_refused_or_give_rows() {
    let (samples, mut random) = (samples(), SplitMix64(8));
    for _ in 0..20_000 {
        let Sample { bytes, read, rows, .. } = &samples[random.below(samples.len())];
        let mut changed = bytes.clone();
        for _ in 0..=random.below(4) {
            // Mostly where lengths, widths and counts are.
            let end = if random.below(4) == 0 { changed.len() } else { changed.len().min(64) };
            changed[random.below(end)] =
                [0, 1, 3, 32, 33, 64, 65, 127, 255, random.next() as u8][random.below(10)];
        }
        read(&changed, *rows);
    }
}

#[test]
fn noise_is_refused_or_gives_rows() {
    let mut random = SplitMix64(9);
    let readers = [read::<u64>, read::<f64>, read::<f32>, read::<i32>, read::<bool>];
    for _ in 0..20_000 {
        let mut bytes: Vec<u8> = (0..random.below(200)).map(|_| random.next() as u8).collect();
        let rows = random.below(80);
        // A header whose fixed part is right, so that more than that is looked at.
        if let Some(head) = bytes.first_chunk_mut::<8>() {
            *head = [1 + random.below(9) as u8, 0, rows as u8, 0, 8 + 2 * random.below(20) as u8, 0, 0, 0];
        }
        readers[random.below(readers.len())](&bytes, rows);
    }
}

#[test]
fn what_no_writer_writes_is_refused() {
    let samples = samples();
    let find = |name: &str| samples.iter().find(|sample| sample.name.ends_with(name)).unwrap();
    let changed = |name: &str, change: &dyn Fn(&mut Vec<u8>, usize)| {
        let Sample { bytes, read, rows, .. } = find(name);
        let mut bytes = bytes.clone();
        let start = usize::from(bytes[4]);
        change(&mut bytes, start);
        read(&bytes, *rows)
    };
    let short = |bytes: &[u8], at: usize| usize::from(u16::from_le_bytes([bytes[at], bytes[at + 1]]));
    assert!(changed("keys", &|_, _| ()).is_some());
    // A byte more in a vector, and its length says so.
    let longer = |bytes: &mut Vec<u8>, start: usize| {
        bytes[start - 2] += 1;
        bytes.push(0);
    };
    for name in ["keys", "walk", "small"] {
        assert_eq!(changed(name, &longer), None, "{name}");
    }
    // A slope of zero, and one whose products overflow.
    for slope in [0, 1_u64 << 53, u64::MAX] {
        let with =
            |bytes: &mut Vec<u8>, start| bytes[start + 13..start + 21].copy_from_slice(&slope.to_le_bytes());
        assert_eq!(changed("keys", &with), None, "{slope}");
    }
    // The left part of an exception with more bits than there are left of the cut.
    let wide = |bytes: &mut Vec<u8>, start| {
        let exceptions = short(bytes, start);
        assert!(exceptions > 0 && bytes[8] > 48, "the sample has exceptions with fewer than 16 bits");
        bytes[start + 2 + 2 * exceptions..][..2].fill(0xFF);
    };
    assert_eq!(changed("reals", &wide), None);
    // A code without a left part: the last one taken out of the header.
    let fewer = |bytes: &mut Vec<u8>, _| {
        let last = 10 + 2 * (usize::from(bytes[9]) - 1);
        bytes.drain(last..last + 2);
        (bytes[4], bytes[9]) = (bytes[4] - 2, bytes[9] - 1);
    };
    assert_eq!(changed("reals", &fewer), None);
}

#[test]
fn entries_of_a_dictionary_rise_and_are_no_dictionary() {
    // Four rows of two entries, written by hand: a stride from 7 on, and codes of one bit.
    let dictionary = |tag: u8, step: u64, rows: u8, code: u8| {
        let mut bytes = vec![5, 0, 4, 0, 34, 0, 0, 0, tag, 0, rows, 0, 24, 0, 0, 0];
        bytes.extend([7_u64.to_le_bytes(), step.to_le_bytes()].concat());
        bytes.extend([141, 0, 1, 1, 0, 0, 0]);
        bytes.extend([0; 8]);
        bytes.extend([code, 0, 0, 0]);
        bytes.resize(34 + 141, 0);
        read::<u64>(&bytes, 4)
    };
    assert_eq!(dictionary(1, 5, 2, 1), Some(vec![12, 7, 7, 7]));
    assert_eq!(dictionary(1, 0, 2, 1), None, "equal entries");
    assert_eq!(dictionary(1, u64::MAX, 2, 1), None, "falling entries");
    assert_eq!(dictionary(1, 5, 1, 1), None, "a code behind the last entry");
    assert_eq!(dictionary(1, 5, 0, 0), None, "no entries");
    assert_eq!(dictionary(5, 5, 2, 1), None, "a dictionary of a dictionary");
}

/// A block of decimals that are whole numbers, as vectors and as a page: NaN at row 5, where the number is `number`.
fn decimals_with(number: u64) -> [Vec<u8>; 2] {
    let rows = DECIMAL_ROWS as u64;
    let mut numbers: Vec<u64> = (0..rows).map(|row| (1 << 51) + row * row / 7).collect();
    numbers[5] = number;
    let mut list = vec![0, 0, 1, 0, 5, 0];
    list.extend(f64::NAN.to_bits().to_le_bytes());
    let mut vector = list.clone();
    super::super::numbers::encode(&numbers, &mut vector);
    let mut vectors = vec![3, 0, rows as u8, (rows >> 8) as u8, 10, 0, 0, 0];
    vectors.extend((vector.len() as u16).to_le_bytes());
    vectors.append(&mut vector);
    let mut page = block::encode(&numbers, Tier::Dense);
    assert_eq!(page[0], 8, "the numbers are a page");
    (page[0], page[4]) = (9, page[4] + list.len() as u8);
    page.splice(8..8, list);
    [vectors, page]
}

const DECIMAL_ROWS: usize = 700;

#[test]
fn a_number_above_the_highest_of_decimals_is_refused_at_an_exception_too() {
    let at = |bytes: &[u8], row| {
        let block = Block::parse(bytes, crate::schema::Kind::F64, DECIMAL_ROWS, 0).unwrap();
        block.value::<f64>(row, vector(&block, bytes, 0), &mut Scratch::default()).map(f64::to_bits)
    };
    for bytes in decimals_with((1 << 52) - 1) {
        let values = read::<f64>(&bytes, DECIMAL_ROWS).unwrap();
        let expected = [4, 5, 6].map(|row| if row == 5 { f64::NAN } else { f64::from(row * row / 7) });
        assert_eq!(values[4..7], expected.map(f64::to_bits));
        assert_eq!(at(&bytes, 5), Ok(f64::NAN.to_bits()));
    }
    for number in [1 << 52, 1 << 60, u64::MAX] {
        for bytes in decimals_with(number) {
            assert_eq!(read::<f64>(&bytes, DECIMAL_ROWS), None, "{number}, codec {}", bytes[0]);
            let refused = at(&bytes, 5).unwrap_err();
            assert!(refused.what.contains("above 2^52"), "{number}, codec {}", bytes[0]);
            assert_eq!(at(&bytes, 6), Ok(5.0_f64.to_bits()), "rows beside it can be read alone");
        }
    }
}

#[test]
fn forms_of_pco_that_take_memory_as_they_say_are_refused() {
    let mut random = SplitMix64(10);
    let earlier: Vec<u64> = (0..200).map(|_| random.next()).collect();
    let values: Vec<u64> = (0..2000).map(|row| earlier[row % 150]).collect();
    let bytes = block::encode(&values, Tier::Dense);
    // Behind tag, reserved, rows, length of the header and two lengths: numbers as they are, references to earlier ones,
    // which lie in a window of 2^11.
    assert_eq!((bytes[0], bytes[16], bytes[17] & 0x1F), (8, 0x20, 10));
    let with = |at: usize, mask: u8, bits: u8| {
        let mut bytes = bytes.clone();
        bytes[at] = (bytes[at] & !mask) | bits;
        read::<u64>(&bytes, values.len())
    };
    assert_eq!(with(17, 0x1F, 13).as_ref(), Some(&values), "a window as large as a block");
    for bits in 14..32 {
        assert_eq!(with(17, 0x1F, bits), None, "a window of 2^{}", bits + 1);
    }
    // A dictionary of nearly 2^25 entries.
    let mut bytes = vec![8, 0, 200, 0, 22, 0, 0, 0, 6, 0, 0, 0, 0, 0, 0, 0];
    bytes.extend([0xF4, 0xFF, 0xFF, 0x0F, 0, 0]);
    assert_eq!(read::<u64>(&bytes, 200), None);
    assert!(Block::parse(&bytes, crate::schema::Kind::U64, 200, 0).unwrap_err().what.contains("dictionary"));
    assert_eq!(read::<bool>(&bytes, 200), None, "a bool is no number");
}

#[test]
fn a_page_of_other_bytes_is_decoded_anew() {
    let values: Vec<u64> = (0..2000).map(|row| row * row / 7).collect();
    let (one, other) = (block::encode(&values, Tier::Dense), block::encode(&values[1..], Tier::Dense));
    let parse = |bytes: &[u8], rows| Block::parse(bytes, crate::schema::Kind::U64, rows, 0).unwrap();
    let (first, second) = (parse(&one, 2000), parse(&other, 1999));
    let mut scratch = Scratch::default();
    for row in [1500, 3, 1999, 700] {
        for (block, bytes, values) in [(&first, &one, &values[..]), (&second, &other, &values[1..])] {
            let row = row.min(values.len() - 1);
            assert_eq!(block.value(row, vector(block, bytes, 0), &mut scratch), Ok(values[row]));
        }
    }
    // An error leaves nothing that could be taken for values.
    let mut cut = vector(&first, &one, 0).to_vec();
    cut.truncate(cut.len() / 2);
    assert!(first.value::<u64>(1999, &cut, &mut scratch).is_err());
    assert!(first.value::<u64>(1999, &cut, &mut scratch).is_err());
}
