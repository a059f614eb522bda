//! Blocks of bytes: whatever is encoded comes back, rows from any part and parts of any row; anybody's bytes are
//! refused, or rows, never a panic and never more than was asked for.

use std::ops::Range;

use super::*;
use crate::codec::bytes::encode::Encoder;
use crate::codec::bytes::{BytesBlock, Runs};
use crate::codec::data::FRAME;
use crate::error::Malformed;

/// A block, apart as it is written.
#[derive(Clone)]
struct Sample {
    header: Vec<u8>,
    content: Vec<u8>,
    rows: usize,
}

/// The block of `values`, given in pieces of so many bytes.
fn encode_bytes(values: &[Vec<u8>], piece: usize) -> Sample {
    encode_tier(values, Tier::Fast, piece)
}

fn encode_tier(values: &[Vec<u8>], tier: Tier, piece: usize) -> Sample {
    let mut end = 0;
    let ends = values.iter().map(|value| {
        end += value.len() as u64;
        end
    });
    let (ends, mut content): (Vec<u64>, _) = (ends.collect(), Vec::new());
    let mut encoder = Encoder::new(&ends, tier, &mut content);
    values.concat().chunks(piece).for_each(|data| encoder.push(data, &mut content));
    let (header, pieces) = encoder.finish(&mut content);
    assert_eq!(pieces.iter().map(|length| usize::from(*length)).sum::<usize>(), content.len());
    Sample { header, content, rows: values.len() }
}

impl Sample {
    fn parse(&self) -> Result<BytesBlock, Malformed> {
        BytesBlock::parse(&self.header, self.rows, self.content.len() as u64, 0)
    }

    /// What of the content is there.
    fn bytes(&self, range: Range<u64>) -> &[u8] {
        let at = |end: u64| (end as usize).min(self.content.len());
        &self.content[at(range.start)..at(range.end)]
    }

    fn read(&self, rows: Range<usize>) -> Result<Runs, Malformed> {
        let (block, mut runs) = (self.parse()?, Runs::default());
        let located = block.locate(&rows, self.bytes(block.vectors(&rows)), &mut Scratch::default())?;
        block.decode(&located, self.bytes(block.stored(&located)), &mut runs)?;
        assert_eq!(runs.bounds.len(), rows.len() + 1);
        assert_eq!(runs.data.len() as u64, located.bytes());
        assert!(runs.bounds.is_sorted() && runs.bounds.last() == Some(&located.bytes()));
        Ok(runs)
    }

    fn read_part(&self, row: usize, part: Range<u64>) -> Result<Vec<u8>, Malformed> {
        let (block, mut runs, rows) = (self.parse()?, Runs::default(), row..row + 1);
        let located = block.locate(&rows, self.bytes(block.vectors(&rows)), &mut Scratch::default())?;
        let located = located.part(&part);
        let stored = block.stored(&located);
        assert!(
            stored.end - stored.start <= located.bytes() + 2 * FRAME as u64,
            "only frames that hold the part"
        );
        block.decode(&located, self.bytes(stored), &mut runs)?;
        Ok(runs.data)
    }

    /// Everything, or nothing.
    fn read_all(&self) -> Option<Vec<Vec<u8>>> {
        self.read(0..self.rows).ok().map(|runs| values_of(&runs))
    }
}

fn values_of(runs: &Runs) -> Vec<Vec<u8>> {
    let value = |pair: &[u64]| runs.data[pair[0] as usize..pair[1] as usize].to_vec();
    runs.bounds.windows(2).map(value).collect()
}

/// Encodes `values` in both tiers and reads them back in every way; returns the name of the fast codec.
fn check(values: &[Vec<u8>]) -> &'static str {
    let dense = check_tier(values, Tier::Dense);
    let fast = check_tier(values, Tier::Fast);
    assert!(dense == "zstd frames" || dense == "zstd dictionary", "{dense}");
    fast
}

fn check_tier(values: &[Vec<u8>], tier: Tier) -> &'static str {
    let whole = encode_tier(values, tier, usize::MAX);
    let pieces = [1000, FRAME, FRAME + 1];
    for piece in pieces.into_iter().chain((whole.content.len() < 5000).then_some(1)) {
        let again = encode_tier(values, tier, piece);
        assert!(again.header == whole.header && again.content == whole.content, "in pieces of {piece}");
    }
    let block = whole.parse().unwrap();
    assert_eq!(block.header_bytes(), whole.header.len());
    assert!(whole.read_all().unwrap() == values, "{}", block.codec());
    let rows = values.len();
    let mut random = SplitMix64(rows as u64);
    let edges = [0, 1, VECTOR - 1, VECTOR, VECTOR + 1, 2 * VECTOR, rows / 2, rows.saturating_sub(1), rows];
    for start in edges.into_iter().filter(|start| *start <= rows) {
        for end in edges.into_iter().filter(|end| (start..=rows).contains(end)) {
            let runs = whole.read(start..end).unwrap();
            assert!(values_of(&runs) == values[start..end], "{} {start}..{end}", block.codec());
        }
        let Some(value) = values.get(start) else { continue };
        for _ in 0..5 {
            let (from, to) = (random.below(value.len() + 3), random.below(value.len() + 3));
            let part = whole.read_part(start, from as u64..to as u64).unwrap();
            let expected = value.get(from..to.min(value.len())).unwrap_or_default();
            assert!(part == expected, "{} row {start}, {from}..{to}", block.codec());
        }
        assert!(whole.read_part(start, 0..u64::MAX).unwrap() == *value);
    }
    // Behind what is there already.
    if rows > 0 {
        let (last, mut runs) = (rows - 1..rows, whole.read(0..1).unwrap());
        let located =
            block.locate(&last, whole.bytes(block.vectors(&last)), &mut Scratch::default()).unwrap();
        block.decode(&located, whole.bytes(block.stored(&located)), &mut runs).unwrap();
        assert!(values_of(&runs) == [&values[0][..], &values[rows - 1][..]]);
    }
    block.codec()
}

fn noise(len: usize, random: &mut SplitMix64) -> Vec<u8> {
    (0..len).map(|_| random.next() as u8).collect()
}

fn line(row: usize, random: &mut SplitMix64) -> Vec<u8> {
    let words = ["connection", "closed", "by peer", "after", "timeout", "retry"];
    let mut line = format!("{row:08} worker-{} ", random.below(16));
    (0..3 + random.below(8)).for_each(|_| line += words[random.below(words.len())]);
    line.into_bytes()
}

#[test]
fn values_of_every_length_and_number_come_back() {
    let mut random = SplitMix64(1);
    for rows in [0, 1, 2, 1023, 1024, 1025, 2048, 2049, BLOCK_ROWS - 1, BLOCK_ROWS] {
        check(&vec![Vec::new(); rows]);
        check(&vec![vec![0xFF; 3]; rows]);
        let few: Vec<Vec<u8>> = (0..40).map(|row| line(row, &mut random)).collect();
        let chosen = check(&(0..rows).map(|_| few[random.below(40)].clone()).collect::<Vec<_>>());
        assert!(rows < 1000 || chosen == "dictionary", "{chosen} of {rows}");
        let chosen = check(&(0..rows).map(|row| line(row, &mut random)).collect::<Vec<_>>());
        assert_eq!(chosen, "frames");
        check(&(0..rows).map(|row| noise(row % 7 * (row % 3), &mut random)).collect::<Vec<_>>());
        // One value that is not empty, anywhere.
        for at in [0, rows / 2, rows.saturating_sub(1)].into_iter().filter(|at| *at < rows) {
            let mut values = vec![Vec::new(); rows];
            values[at] = noise(5, &mut random);
            check(&values);
        }
    }
    for len in [1, FRAME - 1, FRAME, FRAME + 1, 2 * FRAME - 1, 2 * FRAME, 2 * FRAME + 1, 5 * FRAME + 777] {
        for value in [vec![0; len], vec![0xFF; len], noise(len, &mut random), b"again ".repeat(len / 6)] {
            check(std::slice::from_ref(&value));
            check(&[Vec::new(), value.clone(), Vec::new()]);
            check(&[b"a".to_vec(), value.clone(), b"b".to_vec(), value]);
        }
    }
}

#[test]
fn a_dictionary_is_sorted_with_the_empty_value_first() {
    use crate::codec::bytes::DICTIONARY_BYTES_MAX;
    let words = ["", "a", "aa", "b", "\u{ff}"].map(|word| word.as_bytes().to_vec());
    let mut random = SplitMix64(2);
    let values: Vec<Vec<u8>> = (0..3000).map(|_| words[random.below(5)].clone()).collect();
    assert_eq!(check(&values), "dictionary");
    // Entries from the middle, without the empty one.
    let values: Vec<Vec<u8>> = (0..3000)
        .map(|row| words[if row < 1024 { random.below(5) } else { 1 + random.below(3) }].clone())
        .collect();
    assert_eq!(check(&values), "dictionary");
    // Entries that are in several frames.
    let long: Vec<Vec<u8>> = (0..5).map(|_| noise(20_000, &mut random)).collect();
    let values: Vec<Vec<u8>> = (0..60).map(|row| long[row % 5].clone()).collect();
    assert_eq!(check(&values), "dictionary");
    // The same, and so many of them that they are not kept.
    let rows = DICTIONARY_BYTES_MAX as usize / 20_000 + 1;
    assert_eq!(check(&(0..rows).map(|row| long[row % 5].clone()).collect::<Vec<_>>()), "frames");
}

#[test]
fn a_large_block_is_written_in_one_pass() {
    let mut random = SplitMix64(3);
    let values: Vec<Vec<u8>> = vec![noise(9 << 20, &mut random), Vec::new(), b"xy".repeat(3 << 20)];
    assert_eq!(check(&values), "frames");
    let ends = [9 << 20, 9 << 20, 15 << 20];
    let mut bytes = Vec::new();
    let (mut encoder, mut most) = (Encoder::new(&ends, Tier::Fast, &mut bytes), 0);
    for data in values.concat().chunks(10_000) {
        encoder.push(data, &mut bytes);
        most = most.max(bytes.len());
        bytes.clear();
    }
    assert!(most <= FRAME, "{most} bytes at once");
    encoder.finish(&mut bytes);
    assert!(bytes.len() <= FRAME);
}

#[test]
fn sizes_are_what_the_codecs_are_for() {
    let mut random = SplitMix64(4);
    let size = |values: &[Vec<u8>]| {
        let Sample { header, content, .. } = encode_bytes(values, usize::MAX);
        (header.len() + content.len()) as f64 / values.concat().len().max(1) as f64
    };
    let lines: Vec<Vec<u8>> = (0..BLOCK_ROWS).map(|row| line(row, &mut random)).collect();
    assert!(size(&lines) < 0.5, "lines take {}", size(&lines));
    // 4 bits a row of about 40 bytes.
    let few: Vec<Vec<u8>> = (0..BLOCK_ROWS).map(|_| lines[random.below(16)].clone()).collect();
    assert!(size(&few) < 0.02, "few lines take {}", size(&few));
    let random_bytes: Vec<Vec<u8>> = (0..BLOCK_ROWS).map(|_| noise(100, &mut random)).collect();
    assert!(size(&random_bytes) < 1.002, "noise takes {}", size(&random_bytes));
    let ids: Vec<Vec<u8>> = (0..BLOCK_ROWS).map(|_| noise(16, &mut random)).collect();
    assert!(size(&ids) < 1.002, "values of one length take {}", size(&ids));
}

/// A small block of every codec, and of every form that their parts have.
fn samples() -> Vec<Sample> {
    let mut random = SplitMix64(5);
    let lines: Vec<Vec<u8>> = (0..1100).map(|row| line(row, &mut random)).collect();
    let few: Vec<Vec<u8>> = (0..1100).map(|_| lines[random.below(9)].clone()).collect();
    let ids: Vec<Vec<u8>> = (0..30).map(|_| noise(16, &mut random)).collect();
    let gaps: Vec<Vec<u8>> =
        (0..50).map(|row| if row % 9 == 0 { vec![b'.'; row] } else { Vec::new() }).collect();
    let large = vec![b"large ".repeat(8000), noise(100, &mut random)];
    let equal = vec![b"equal".to_vec(); 20_000 / 5];
    let samples = [lines[..60].to_vec(), few[..60].to_vec(), few, ids, gaps, large, equal];
    let tiers = [Tier::Fast, Tier::Dense];
    let blocks = tiers.map(|tier| samples.iter().map(move |values| encode_tier(values, tier, usize::MAX)));
    blocks.into_iter().flatten().collect()
}

#[test]
fn the_samples_are_of_every_codec_with_and_without_vectors_and_compression() {
    let blocks: Vec<BytesBlock> = samples().iter().map(|sample| sample.parse().unwrap()).collect();
    for codec in ["frames", "dictionary", "zstd frames", "zstd dictionary"] {
        let of: Vec<&BytesBlock> = blocks.iter().filter(|block| block.codec() == codec).collect();
        assert!(of.iter().any(|block| block.pieces().len() - 1 == block.frames()), "{codec}, no vectors");
        assert!(of.iter().any(|block| block.pieces().len() - 1 > block.frames()), "{codec}, vectors");
    }
    assert!(blocks.iter().any(|block| block.frames() > 1));
    let stored = |block: &BytesBlock| {
        block.pieces().last().unwrap() - block.pieces()[block.pieces().len() - 1 - block.frames()]
    };
    assert!(blocks.iter().any(|block| stored(block) == block.data_bytes()), "data as it is");
    assert!(blocks.iter().any(|block| stored(block) < block.data_bytes() / 2), "data that is LZ4");
}

#[test]
fn any_flipped_bit_of_bytes_is_refused_or_gives_rows() {
    for sample in samples() {
        let values = sample.read_all().unwrap();
        let mut unnoticed = 0;
        for bit in 0..sample.header.len() * 8 {
            let mut flipped = sample.clone();
            flipped.header[bit / 8] ^= 1 << (bit % 8);
            let read = flipped.read_all();
            assert!(bit >= 128 || read.is_none(), "bit {bit} of the fixed fields");
            unnoticed += usize::from(read.as_ref() == Some(&values));
        }
        // Where few entries end can be packed in several ways.
        let is_dictionary = [7, 11].contains(&sample.header[0]);
        assert!(unnoticed == 0 || is_dictionary, "{unnoticed} bits of the header mean nothing");
        for bit in 0..sample.content.len() * 8 {
            let mut flipped = sample.clone();
            flipped.content[bit / 8] ^= 1 << (bit % 8);
            flipped.read_all();
        }
    }
}

#[test]
fn a_block_of_bytes_that_is_cut_off_is_refused() {
    for sample in samples() {
        for len in 0..sample.header.len() {
            let header = sample.header[..len].to_vec();
            assert_eq!(Sample { header, ..sample.clone() }.read_all(), None, "{len} bytes of header");
        }
        // As if the rest were missing, and as if it could not be read.
        for len in 0..sample.content.len() {
            let content = sample.content[..len].to_vec();
            assert_eq!(Sample { content: content.clone(), ..sample.clone() }.read_all(), None, "{len} bytes");
            let block = sample.parse().unwrap();
            let (all, there) = (0..sample.rows, Sample { content, ..sample.clone() });
            let located = block.locate(&all, there.bytes(block.vectors(&all)), &mut Scratch::default());
            let decoded = located.and_then(|located| {
                block.decode(&located, there.bytes(block.stored(&located)), &mut Runs::default())
            });
            assert!(decoded.is_err(), "{len} bytes");
        }
        for rows in [0, sample.rows - 1, sample.rows + 1, BLOCK_ROWS, BLOCK_ROWS + 1, 1 << 40] {
            assert!(Sample { rows, ..sample.clone() }.parse().is_err(), "{rows} rows");
        }
    }
}

#[test]
fn bytes_of_blocks_changed_at_will_are_refused_or_give_rows() {
    let (samples, mut random) = (samples(), SplitMix64(6));
    let mut given = 0;
    for _ in 0..20_000 {
        let mut sample = samples[random.below(samples.len())].clone();
        for _ in 0..=random.below(3) {
            let field = [
                0,
                1,
                2,
                7,
                255,
                256,
                1 << 15,
                (1 << 15) + 1,
                1 << 22,
                u64::from(u32::MAX),
                1 << 63,
                u64::MAX,
            ];
            let (width, value) = ([1, 2, 4, 8][random.below(4)], field[random.below(field.len())]);
            let in_header = random.below(3) > 0 || sample.content.len() < 8;
            let bytes = if in_header { &mut sample.header } else { &mut sample.content };
            let at = random.below(bytes.len() - width);
            bytes[at..at + width].copy_from_slice(&value.to_le_bytes()[..width]);
        }
        given += usize::from(sample.read_all().is_some());
        let row = random.below(sample.rows);
        let _ = sample.read(row..row + 1);
        let _ = sample.read_part(row, random.next()..random.next());
    }
    assert!(given > 100, "{given} were rows");
}

/// A block written by hand, as the text says: `numbers` a stride from 0, as far as a block can be without vectors.
fn by_hand(tag: u8, rows: u16, data_bytes: u64, step: u64, rest: &[u8], content: Vec<u8>) -> Sample {
    let mut header = vec![tag, 0];
    header.extend(rows.to_le_bytes());
    header.extend((16 + 24 + rest.len() as u32).to_le_bytes());
    header.extend(data_bytes.to_le_bytes());
    header.extend([1, 0]);
    header.extend(rows.to_le_bytes());
    header.extend(24_u32.to_le_bytes());
    header.extend([if tag == 6 { step } else { 0 }, step].map(u64::to_le_bytes).as_flattened());
    header.extend_from_slice(rest);
    Sample { header, content, rows: rows.into() }
}

/// A dictionary's own fields: entries of `step` bytes each.
fn entries(count: u16, first: u64, step: u64) -> Vec<u8> {
    let mut bytes = count.to_le_bytes().to_vec();
    bytes.extend([1, 0]);
    bytes.extend(count.to_le_bytes());
    bytes.extend(24_u32.to_le_bytes());
    bytes.extend([first, step].map(u64::to_le_bytes).as_flattened());
    bytes
}

#[test]
fn what_no_writer_of_bytes_writes_is_refused() {
    let frames = |rows, data, step, rest: &[u8], content: &[u8]| {
        by_hand(6, rows, data, step, rest, content.to_vec()).read_all()
    };
    let abcd: Vec<Vec<u8>> = vec![b"ab".to_vec(), b"cd".to_vec()];
    assert_eq!(frames(2, 4, 2, &[4, 0], b"abcd"), Some(abcd.clone()));
    assert_eq!(frames(2, 4, 2, &[4, 0], b"abcde"), None, "a byte behind the last frame");
    assert_eq!(frames(2, 4, 2, &[0, 0], b""), None, "a frame of nothing");
    assert_eq!(frames(2, 4, 2, &[3, 0], b"abc"), None, "no LZ4");
    // LZ4 of literals alone: right, but longer than they are; and of fewer, or more, than there should be.
    assert_eq!(frames(2, 4, 2, &[5, 0], b"\x40abcd"), None, "a frame that is longer than its data");
    assert_eq!(frames(1, 40, 40, &[2, 0], b"\x10a"), None, "LZ4 of less data");
    // Then a copy of so many bytes from one byte before, and a literal.
    assert_eq!(frames(1, 11, 11, &[10, 0], b"\x11a\x01\0\x50bcdef"), Some(vec![b"aaaaaabcdef".to_vec()]));
    assert_eq!(frames(1, 11, 11, &[10, 0], b"\x12a\x01\0\x50bcdef"), None, "LZ4 of more data");
    assert_eq!(frames(2, 5, 2, &[5, 0], b"abcde"), None, "data behind the last value");
    assert_eq!(frames(2, 3, 2, &[3, 0], b"abc"), None, "a value behind the data");
    assert_eq!(frames(0, 4, 0, &[4, 0], b"abcd"), None, "data without rows");
    assert_eq!(frames(1, u64::MAX, u64::MAX, &[], b""), None, "data without frames");
    assert_eq!(
        frames(1, 1 << 33, 1 << 33, &[1, 0].repeat(1 << 18), &[0; 1 << 18]),
        None,
        "much data in few bytes"
    );
    assert_eq!(by_hand(8, 2, 4, 2, &[4, 0], b"abcd".to_vec()).read_all(), None, "an unknown codec");

    let dictionary = |data, step, of: &[u8], content: &[u8]| {
        let rest = [of, &(content.len() as u16).to_le_bytes()].concat();
        by_hand(7, 2, data, step, &rest, content.to_vec()).read_all()
    };
    assert_eq!(dictionary(4, 1, &entries(2, 2, 2), b"abcd"), Some(abcd));
    assert_eq!(dictionary(4, 1, &entries(2, 0, 4), b"abcd"), Some(vec![Vec::new(), b"abcd".to_vec()]));
    assert_eq!(dictionary(4, 1, &entries(2, 2, 2), b"abab"), None, "equal entries");
    assert_eq!(dictionary(4, 1, &entries(2, 2, 2), b"cdab"), None, "falling entries");
    assert_eq!(dictionary(4, 1, &entries(2, 4, 0), b"abcd"), None, "an empty entry behind another");
    assert_eq!(dictionary(4, 1, &entries(1, 4, 0), b"abcd"), None, "a code behind the last entry");
    assert_eq!(dictionary(4, 1, &entries(2, 1, 2), b"abcd"), None, "data behind the last entry");
    assert_eq!(dictionary(4, 1, &entries(0, 0, 0), b"abcd"), None, "no entries");
    assert_eq!(dictionary(4, 1, &entries(u16::MAX, 1, 1), b"abcd"), None, "many entries");
}

#[test]
fn a_small_block_cannot_claim_much_data() {
    use crate::codec::bytes::DICTIONARY_BYTES_MAX;
    // 16,384 rows of one entry of 4 MiB, which LZ4 makes of 17 KiB: 64 GiB.
    let mut values = vec![vec![7; DICTIONARY_BYTES_MAX as usize]];
    let Sample { header, content, .. } = encode_bytes(&values, usize::MAX);
    let rest = [&entries(1, DICTIONARY_BYTES_MAX, 0)[..], &header[header.len() - 2 * 128..]].concat();
    let frames = &content[content.len() - lengths(&header, 128)..];
    let bomb = by_hand(7, BLOCK_ROWS as u16, DICTIONARY_BYTES_MAX, 0, &rest, frames.to_vec());
    let wrong = bomb.read(0..BLOCK_ROWS).unwrap_err();
    assert!(wrong.what.contains("too much data"), "{wrong:?}");
    // One row of it is one value.
    let runs = bomb.read(5..6).unwrap();
    assert!(values_of(&runs) == values);
    values[0].truncate(10);
    assert_eq!(bomb.read_part(77, 0..10).unwrap(), values[0]);
    // Frames that say that they have more in them than LZ4 can have.
    let data = 1_u64 << 30;
    let claims = [100_u16.to_le_bytes()].as_flattened().repeat(data as usize / FRAME);
    let wrong = by_hand(6, 1, data, data, &claims, vec![0; 100 * data as usize / FRAME]).parse().unwrap_err();
    assert!(wrong.what.contains("too short"), "{wrong:?}");
}

/// Bytes of the last `count` frames, as the header says at its end.
fn lengths(header: &[u8], count: usize) -> usize {
    let lengths = header[header.len() - 2 * count..].as_chunks().0;
    lengths.iter().map(|length| usize::from(u16::from_le_bytes(*length))).sum()
}

#[test]
#[should_panic(expected = "3 bytes were given for 4")]
fn a_block_of_bytes_gets_all_its_data() {
    let mut bytes = Vec::new();
    let mut encoder = Encoder::new(&[4], Tier::Fast, &mut bytes);
    encoder.push(b"abc", &mut bytes);
    encoder.finish(&mut bytes);
}
