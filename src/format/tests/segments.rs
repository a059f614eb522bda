//! The index of a sealed segment, directory and entries: what comes back, and what is refused of bytes that changed,
//! and of bytes that somebody wrote who knows the checksums.

use super::super::FILE_BYTES_MAX;
use super::super::cursor::Field;
use super::super::entries::{Coded, Entries, Entry, encode_entries};
use super::super::fuzz::segments::{SEGMENT, home, read_segment, resign_directory, schema};
use super::super::segment::{Directory, Group, Home, Shape, Spacing, Stream, groups};
use super::hostile::{EXTREMES, FAR, MANY, Refusal, free_fields};
use super::*;
use crate::statistics::{LANES, Statistics, Total};

/// The index of a segment whose rows begin and end within row groups.
pub(super) struct Index {
    pub(super) schema: Schema,
    pub(super) directory: Directory,
    /// Of each file.
    pub(super) entries: Vec<Vec<u8>>,
    pub(super) file_bytes: u64,
}

const ROWS: Range<u64> = 16_000..50_000;

/// Of the schema that a fuzzer knows by this number.
pub(super) fn index(choice: u8) -> Index {
    let schema = schema(choice);
    let mut directory = Directory { rows: ROWS, streams: Vec::new(), groups: Vec::new() };
    for number in groups(&ROWS) {
        let rows = (number << 14).max(ROWS.start)..((number + 1) << 14).min(ROWS.end);
        let keys: Vec<u64> = rows.map(|row| row * 1000 + if number == 1 { row % 7 } else { 0 }).collect();
        directory.groups.push(Group::of(&keys).unwrap());
    }
    let mut all = Vec::new();
    for (file, raw) in schema.files().iter().enumerate() {
        let shape = Shape::of(*raw, &schema);
        if shape == Shape::None {
            directory.streams.push(Stream::default());
            all.push(Vec::new());
            continue;
        }
        let mut end = 0;
        let entries: Vec<Entry> = (0..directory.groups.len())
            .map(|group| entry(shape, file, group, &directory.rows_of(group), &mut end))
            .collect();
        let lanes = std::array::from_fn(|lane| if lane == 3 { f64::NAN } else { lane as f64 / 8.0 });
        let bytes = encode_entries(shape, &entries, lanes);
        directory.streams.push(Stream { bytes: end, sum: crc32c(&bytes) });
        all.push(bytes);
    }
    let file_bytes = directory.gaps(&schema)[1].end + directory.encode(home(&schema)).len() as u64;
    Index { schema, directory, entries: all, file_bytes }
}

fn entry(shape: Shape, file: usize, group: usize, rows: &Range<u64>, end: &mut u64) -> Entry {
    let nulls = match (shape, group) {
        (Shape::Nulls, 1) => 7,
        (Shape::Nulls, 2) => (rows.end - rows.start) as u16,
        _ => 0,
    };
    let head_bytes = 40 + file as u32;
    let block = (shape != Shape::Nulls || group == 1).then_some(Coded { head_bytes, codec: 1 + group as u8 });
    *end += block.map_or(0, |_| 1000 + 10 * group as u64 + file as u64);
    let statistics = match shape {
        Shape::Numbers(kind) => Some(statistics(kind, group)),
        _ => None,
    };
    Entry { end: *end, block, nulls, statistics }
}

/// Of the third row group nothing is known to be ordered.
fn statistics(kind: Kind, group: usize) -> Statistics {
    let extremes = match kind {
        Kind::F64 => (f64::NEG_INFINITY.to_bits(), (-0.0_f64).to_bits()),
        Kind::F32 => ((-1.5_f32).to_bits().into(), f32::INFINITY.to_bits().into()),
        Kind::U32 => (0, u32::MAX.into()),
        _ => (1 << 63, (1 << 63) + 400),
    };
    let total = match kind {
        Kind::F64 | Kind::F32 => Total::Float(if group == 2 { f64::NAN } else { -1.5 }),
        _ => Total::Integer(-1 << 63),
    };
    Statistics { extremes: (group != 2).then_some(extremes), total }
}

/// What the fuzz target takes.
pub(super) fn seeds() -> Vec<Vec<u8>> {
    let seed = |choice: u8| {
        let Index { schema, directory, entries, .. } = index(choice);
        let sheet = directory.encode(home(&schema));
        [&[choice][..], &(sheet.len() as u32).to_le_bytes(), &sheet, &entries.concat()].concat()
    };
    (0..3).map(seed).collect()
}

impl Index {
    fn sheet(&self) -> Vec<u8> {
        self.directory.encode(home(&self.schema))
    }

    fn decode(&self, sheet: &[u8]) -> Result<Directory, Malformed> {
        Directory::decode(sheet, home(&self.schema), self.file_bytes)
    }

    fn shape(&self, file: usize) -> Shape {
        Shape::of(self.schema.files()[file], &self.schema)
    }

    /// Entries that somebody wrote who wrote the directory too.
    fn decode_entries(&self, file: usize, bytes: &[u8]) -> Result<Entries, Malformed> {
        let mut directory = self.directory.clone();
        directory.streams[file].sum = crc32c(bytes);
        let read = Entries::decode(bytes.to_vec(), &directory, file, &self.schema)?;
        let all: Vec<Entry> = (0..directory.groups.len()).map(|group| read.get(group)).collect();
        assert!(encode_entries(read.shape(), &all, read.lanes()) == bytes, "a second way to write entries");
        Ok(read)
    }

    fn refuse_directory(&self, check: impl FnOnce(&Refusal<'_>)) {
        let decode = |bytes: &mut Vec<u8>| {
            resign_directory(bytes);
            self.decode(bytes).err()
        };
        check(&Refusal { bytes: &self.sheet(), decode: &decode });
    }

    fn refuse_entries(&self, file: usize, check: impl FnOnce(&Refusal<'_>)) {
        let decode = |bytes: &mut Vec<u8>| self.decode_entries(file, bytes).err();
        check(&Refusal { bytes: &self.entries[file], decode: &decode });
    }
}

#[test]
fn an_index_of_any_shape_comes_back() {
    for choice in 0..3 {
        let index = index(choice);
        let (directory, entries) =
            read_segment(&index.sheet(), &index.entries.concat(), &index.schema, index.file_bytes).unwrap();
        assert_eq!(directory, index.directory);
        for (file, read) in entries.iter().enumerate() {
            assert_eq!(read.shape(), index.shape(file));
        }
    }
    // A block of nothing is nowhere; what is said of it is what was written.
    let index = index(0);
    let nulls = Entries::decode(index.entries[4].clone(), &index.directory, 4, &index.schema).unwrap();
    assert_eq!((0..4).map(|group| nulls.nulls(group)).collect::<Vec<_>>(), [0, 7, 16_384, 0]);
    assert_eq!(nulls.get(2).block, None);
    let start = index.directory.stream_start(4);
    assert_eq!((nulls.block(1), nulls.block(2)), (start..start + 1014, start + 1014..start + 1014));
}

#[test]
fn every_flipped_bit_and_every_other_length_of_an_index_is_refused() {
    for choice in 0..3 {
        let index = index(choice);
        let mut sheet = index.sheet();
        for bit in 0..sheet.len() * 8 {
            sheet[bit / 8] ^= 1 << (bit % 8);
            let refused = index.decode(&sheet).expect_err("a flipped bit");
            assert!(!refused.intact && refused.version.is_none(), "bit {bit}: {refused:?}");
            sheet[bit / 8] ^= 1 << (bit % 8);
        }
        for len in 0..sheet.len() {
            assert!(!index.decode(&sheet[..len]).expect_err("cut off").intact, "{len} bytes");
        }
        let longer = [&sheet[..], &[0; PAGE]].concat();
        assert!(index.decode(&longer).is_err());
        for (file, entries) in index.entries.iter().enumerate().filter(|(_, entries)| !entries.is_empty()) {
            let decode =
                |bytes: &[u8]| Entries::decode(bytes.to_vec(), &index.directory, file, &index.schema);
            let mut bytes = entries.clone();
            for bit in 0..bytes.len() * 8 {
                bytes[bit / 8] ^= 1 << (bit % 8);
                assert!(!decode(&bytes).expect_err("a flipped bit").intact, "bit {bit} of file {file}");
                bytes[bit / 8] ^= 1 << (bit % 8);
            }
            for len in (0..bytes.len()).chain([bytes.len() + 1]) {
                bytes.resize(len, 0);
                assert!(!decode(&bytes).expect_err("another length").intact, "{len} bytes of file {file}");
                bytes.clone_from(entries);
            }
        }
    }
}

#[test]
fn an_index_in_a_wrong_place_is_refused() {
    let index = index(0);
    let sheet = index.sheet();
    let other_store = [7; 16];
    let here = home(&index.schema);
    for home in [Home { segment: SEGMENT + 1, ..here }, Home { store: &other_store, ..here }] {
        assert!(Directory::decode(&sheet, home, index.file_bytes).is_err(), "{home:?}");
    }
    let page = PAGE as u64;
    for file_bytes in [0, 1, page, index.file_bytes - page, index.file_bytes - 1, index.file_bytes + page]
        .into_iter()
        .chain(FAR)
    {
        assert!(Directory::decode(&sheet, here, file_bytes).unwrap_err().intact, "{file_bytes}");
    }
    // The entries of another file, or of another segment's schema.
    let other = schema(1);
    assert!(Directory::decode(&sheet, home(&other), index.file_bytes).unwrap_err().intact);
    for (file, of) in [(1, 0), (0, 1), (2, 4), (4, 2), (0, 2)] {
        let bytes = index.entries[of].clone();
        assert!(Entries::decode(bytes, &index.directory, file, &index.schema).is_err(), "{of} as {file}");
    }
    for bytes in [full_manifest().encode(), sums_of_9000_rows().encode(HOME, &STORE)] {
        assert!(!index.decode(&bytes).unwrap_err().intact);
    }
}

#[test]
fn a_field_of_a_directory_is_refused_unless_it_is_free() {
    let index = index(0);
    let (sheet, mut fields) = (index.sheet(), Vec::new());
    Directory::decode_traced(&sheet, home(&index.schema), index.file_bytes, Some(&mut fields)).unwrap();
    let free = free_fields(&sheet, 0, &fields, |bytes| {
        resign_directory(bytes);
        let Ok(directory) = index.decode(bytes) else { return false };
        assert!(directory.encode(home(&index.schema)) == bytes, "a second way to write a directory");
        true
    });
    // How long a stream is, within the last page of all; entries say it too. Even keys may be told as uneven ones.
    assert_eq!(free, ["bytes of the stream", "checksum of its entries", "spacings of keys"]);
}

#[test]
fn a_directory_that_contradicts_itself_is_refused() {
    let index = index(0);
    index.refuse_directory(|refuse| {
        refuse.of_u64("first row", 64, &[0, 15_999, 16_001, 16_384, (1 << 63) - 1, 1 << 62]);
        refuse.of_u64("first row", 64, &FAR);
        refuse.of_u64("rows", 72, &[0, 384, 33_999, 34_001, 33_152, (1 << 63) - 1, 1 << 62]);
        refuse.of_u64("rows", 72, &FAR);
        refuse.of_u32("row groups", 80, &[0, 1, 3, 5]);
        refuse.of_u32("row groups", 80, &MANY);
        refuse.of_u32("files", 84, &[0, 1, 4, 6]);
        refuse.of_u32("files", 84, &MANY);
        for file in 0..5 {
            let at = 88 + 16 * file;
            refuse.of_u64("stream", at, &[FILE_BYTES_MAX, FILE_BYTES_MAX + 1, 1 << 44, 1 << 48, 1 << 20]);
            refuse.of_u64("stream", at, &FAR);
            refuse.of_u32("reserved", at + 12, &[1, 1 << 31]);
        }
        refuse.of_u64("a stream of offsets", 88 + 16 * 3, &[1, 4096]);
        refuse.of_u32("entries of offsets", 88 + 16 * 3 + 8, &[1, u32::MAX]);
        refuse.of("two streams, one shorter by what the other is longer, over a page", |bytes| {
            put(bytes, 88, &4096_u64.to_le_bytes());
            put(bytes, 88 + 16, &FILE_BYTES_MAX.to_le_bytes());
        });
        for len in [index.file_bytes, 1 << 43, FILE_BYTES_MAX] {
            refuse.of("streams longer than the file together", |bytes| {
                (0..5)
                    .filter(|file| *file != 3)
                    .for_each(|file| put(bytes, 88 + 16 * file, &len.to_le_bytes()));
            });
        }
    });
}

/// Where the keys of row groups stand in the sheet, and behind them their spacings.
const KEYS: usize = 64 + 24 + 5 * 16;
const SPACINGS: usize = KEYS + 4 * 16;

#[test]
fn row_groups_whose_keys_cannot_be_are_refused() {
    let index = index(0);
    assert_eq!(index.directory.groups[1].spacing, Spacing::Uneven);
    index.refuse_directory(|refuse| {
        for group in 0..4 {
            refuse.of_u8("spacing", SPACINGS + group, &[0, 3, 255]);
        }
        refuse.of_u8("evenly spaced, but for the distance", SPACINGS + 1, &[1]);
        let described = &index.directory.groups;
        refuse.of_u64("first key", KEYS + 16, &[0, described[0].last_key - 1, described[1].last_key + 1]);
        refuse.of_u64("last key", KEYS + 24, &[0, described[1].first_key - 1, described[2].first_key + 1]);
        refuse.of_u64("first key of the first", KEYS, &[u64::MAX, described[0].last_key + 1]);
        refuse.of_u64("last key of the last", KEYS + 56, &[0, described[3].first_key - 1]);
        refuse.of_u64("a distance that does not divide", KEYS + 56, &[described[3].last_key + 1, u64::MAX]);
        refuse.of("more than row groups", |bytes| {
            let content = 24 + 5 * 16 + 4 * 17 + 1_u64;
            put(bytes, 40, &content.to_le_bytes());
        });
        refuse.of("fewer bytes than row groups", |bytes| {
            let content = 24 + 5 * 16 + 4 * 17 - 1_u64;
            put(bytes, 40, &content.to_le_bytes());
            bytes[64 + content as usize..].fill(0);
        });
    });
}

/// A directory of these rows, and of so many row groups, whatever follows from the rows.
fn astray(rows: Range<u64>, groups: &[Group]) -> Result<Directory, Malformed> {
    let schema = schema(2);
    let streams = vec![Stream::default(); 3];
    let directory = Directory { rows, streams, groups: groups.to_vec() };
    let sheet = directory.encode(home(&schema));
    let entries = groups.len() * 32;
    let file_bytes = (entries.next_multiple_of(PAGE) + sheet.len()) as u64;
    Directory::decode(&sheet, home(&schema), file_bytes)
}

#[test]
fn row_groups_without_rows_are_refused() {
    let group = Group { first_key: 5, last_key: 5, spacing: Spacing::Even };
    assert!(astray(7..8, &[group]).is_ok());
    // Where no rows begin within a row group, and at the start of one.
    for start in [0, 1, 7, 16_383, 16_384, 16_385, (1 << 63) - 1] {
        for count in 0..3 {
            let refused = astray(start..start, &vec![group; count]).unwrap_err();
            assert!(refused.intact, "{start}, {count} row groups: {refused:?}");
        }
    }
    let apart = Group { last_key: 6, ..group };
    for spacing in [Spacing::Even, Spacing::Uneven] {
        let refused = astray(7..8, &[Group { spacing, ..apart }]).unwrap_err();
        assert!(refused.intact, "one row has one key");
    }
    assert!(astray(7..9, &[apart]).is_ok());
    let far = Group { first_key: 0, last_key: u64::MAX, spacing: Spacing::Even };
    assert!(
        astray(16_383..16_385, &[Group { last_key: 0, ..far }, Group { first_key: u64::MAX, ..far }]).is_ok()
    );
    assert!(astray(7..9, &[far]).is_ok(), "any distance is one step");
}

#[test]
fn a_field_of_entries_is_refused_unless_it_is_free() {
    // What the directory and the rows do not say; what values come to is checked against these.
    let cases: [(u8, usize, &[&str]); 8] = [
        (0, 0, &["bytes of its head", "codec", "end of the block"]),
        (
            0,
            1,
            &[
                "bytes of its head",
                "codec",
                "end of the block",
                "extremes",
                "greatest value",
                "lane",
                "least value",
                "sum",
            ],
        ),
        (0, 2, &["bytes of its head", "codec", "end of the block"]),
        (0, 4, &["bytes of its head", "codec", "nulls"]),
        (
            1,
            1,
            &[
                "bytes of its head",
                "codec",
                "end of the block",
                "extremes",
                "greatest value",
                "least value",
                "sum",
                "sum, upper half",
            ],
        ),
        (
            1,
            2,
            &[
                "bytes of its head",
                "codec",
                "end of the block",
                "extremes",
                "greatest value",
                "lane",
                "least value",
                "sum",
            ],
        ),
        (1, 5, &["bytes of its head", "codec", "end of the block"]),
        (2, 1, &["bytes of its head", "codec", "end of the block"]),
    ];
    for (choice, file, expected) in cases {
        let index = index(choice);
        let (bytes, mut fields) = (&index.entries[file], Vec::<Field>::new());
        Entries::decode_traced(bytes.clone(), &index.directory, file, &index.schema, Some(&mut fields))
            .unwrap();
        let base = index.directory.entries(file, &index.schema).start;
        let free = free_fields(bytes, base, &fields, |bytes| index.decode_entries(file, bytes).is_ok());
        assert_eq!(free, expected, "file {file} of {choice}");
    }
}

#[test]
fn entries_of_blocks_that_cannot_be_are_refused() {
    for (choice, file, width) in [(0, 0, 16), (0, 1, 40), (0, 2, 16), (1, 1, 48), (1, 2, 40), (1, 5, 16)] {
        let index = index(choice);
        let end =
            |group: usize| u64::from_le_bytes(*index.entries[file][group * width..].first_chunk().unwrap());
        index.refuse_entries(file, |refuse| {
            for group in 0..4 {
                let at = group * width;
                refuse.of_u64("an end before the start, or behind the next", at, &[0]);
                refuse.of_u64("end", at, &[end(3) + 1, 1 << 44]);
                refuse.of_u64("end", at, &FAR);
                refuse.of_u32("head", at + 8, &[0, 2000]);
                refuse.of_u32("head", at + 8, &MANY);
                refuse.of_u8("extremes", at + 13, &[2, 255]);
                refuse.of("nulls", |bytes| put(bytes, at + 14, &[1, 0]));
                refuse.of("nulls", |bytes| put(bytes, at + 14, &[0, 0x40]));
                refuse.of("no block, of a codec", |bytes| {
                    put(bytes, at, &if group == 0 { 0 } else { end(group - 1) }.to_le_bytes());
                    put(bytes, at + 8, &[0; 4]);
                });
                refuse.of("no block", |bytes| {
                    put(bytes, at, &if group == 0 { 0 } else { end(group - 1) }.to_le_bytes());
                    put(bytes, at + 8, &[0; 5]);
                });
            }
            refuse.of_u64("a block behind the next one", width, &[end(0) - 1, end(2) + 1]);
            refuse.of_u64("a last block that is not the last", 3 * width, &[end(3) - 1, end(2)]);
            refuse.of("all ends near 2^64", |bytes| {
                (0..4).for_each(|group| {
                    put(bytes, group * width, &(u64::MAX - 3 + group as u64).to_le_bytes())
                });
            });
        });
    }
}

/// What a reader would bring in one read, and believe to be there since a file may have holes.
#[test]
fn a_block_of_fixed_width_is_no_longer_than_it_can_be() {
    let index = index(0);
    for (file, width) in [(0, 16), (1, 40), (2, 16), (4, 16)] {
        let is_bounded = file != 2;
        for end in [600 << 10, 1 << 21, 1 << 40, FILE_BYTES_MAX] {
            let (mut bytes, mut directory) = (index.entries[file].clone(), index.directory.clone());
            for group in if file == 4 { 1..4 } else { 3..4 } {
                put(&mut bytes, group * width, &end.to_le_bytes());
            }
            (directory.streams[file].bytes, directory.streams[file].sum) = (end, crc32c(&bytes));
            let read = Entries::decode(bytes, &directory, file, &index.schema);
            assert_eq!(read.is_err(), is_bounded, "{end} bytes of file {file}");
        }
    }
}

#[test]
fn nulls_that_are_told_twice_or_not_at_all_are_refused() {
    let index = index(0);
    index.refuse_entries(4, |refuse| {
        let nulls = |bytes: &mut Vec<u8>, group: usize, nulls: u16| {
            put(bytes, 16 * group + 14, &nulls.to_le_bytes());
        };
        for count in [1, 383, 385, u16::MAX] {
            refuse.of("some, and no block", |bytes| nulls(bytes, 0, count));
        }
        for count in [0, 16_384, 16_385, u16::MAX] {
            refuse.of("none, all or more, and a block", |bytes| nulls(bytes, 1, count));
        }
        for count in [1, 16_383, 16_385] {
            refuse.of("nearly all, and no block", |bytes| nulls(bytes, 2, count));
        }
        refuse.of_u8("a codec of no block", 12, &[1, 255]);
        refuse.of_u32("a head of no block", 8, &[1, u32::MAX]);
    });
}

type Extremes = Vec<(u64, u64)>;

#[test]
fn extremes_that_no_values_have_are_refused() {
    // Of keys, bytes, bools and nulls there are none.
    for (choice, file) in [(0, 0), (0, 2), (0, 4), (1, 5), (2, 1)] {
        index(choice).refuse_entries(file, |refuse| refuse.of_u8("extremes", 13, &[1]));
    }
    let pair = |bytes: &mut Vec<u8>, (min, max): (u64, u64)| {
        put(bytes, 16, &min.to_le_bytes());
        put(bytes, 24, &max.to_le_bytes());
    };
    let cases: [(u8, usize, usize, Extremes); 4] = [
        (0, 1, 40, {
            let bits = |one: f64, other: f64| (one.to_bits(), other.to_bits());
            let nan = f64::NAN.to_bits();
            let signaling = 0xFFF0_0000_0000_0001;
            vec![
                bits(1.0, -1.0),
                bits(0.0, -0.0),
                bits(f64::INFINITY, f64::MAX),
                bits(-1.0, -2.0),
                (nan, nan),
                (1.0_f64.to_bits(), nan),
                (signaling, 1.0_f64.to_bits()),
                (signaling, u64::MAX),
            ]
        }),
        (1, 1, 48, vec![(1, 0), (u64::MAX, 0), (u64::MAX, u64::MAX - 1)]),
        (1, 2, 40, {
            let bits = |one: f32, other: f32| (u64::from(one.to_bits()), u64::from(other.to_bits()));
            let one = u64::from(1.0_f32.to_bits());
            vec![
                bits(1.0, -1.0),
                bits(0.0, -0.0),
                bits(f32::NAN, f32::NAN),
                bits(-1.0, f32::NAN),
                (one, one | 1 << 32),
                (one | 1 << 63, one),
                (u64::MAX, u64::MAX),
            ]
        }),
        (1, 4, 48, vec![(1, 0), (0, 1 << 32), (1 << 32, u64::MAX), (u64::MAX, u64::MAX)]),
    ];
    for (choice, file, width, extremes) in cases {
        index(choice).refuse_entries(file, |refuse| {
            for pair_of in extremes {
                refuse.of(&format!("{pair_of:x?} of file {file}"), |bytes| pair(bytes, pair_of));
            }
            // The third row group has none.
            refuse.of_u64("least of none", 2 * width + 16, &[1, u64::MAX]);
            refuse.of_u64("greatest of none", 2 * width + 24, &[1, u64::MAX]);
            refuse.of_u8("none, and yet some", 13, &[0]);
        });
    }
}

#[test]
fn sums_and_lanes_may_be_any_bits() {
    for (choice, file, width) in [(0, 1, 40), (1, 2, 40)] {
        let index = index(choice);
        for value in EXTREMES {
            for at in [32, 2 * width + 32, 4 * width, 4 * width + 8 * (LANES - 1)] {
                let mut bytes = index.entries[file].clone();
                put(&mut bytes, at, &value.to_le_bytes());
                assert!(index.decode_entries(file, &bytes).is_ok(), "{value:x} at {at}");
            }
        }
    }
}
