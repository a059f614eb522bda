//! Sealed files, taken apart by the pure code: every value bit for bit, every statistic as it is defined.

#![expect(clippy::cast_possible_truncation, reason = "offsets in a file that is in memory")]

use std::path::Path;

use super::*;
use crate::codec::VECTOR;
use crate::codec::block::Scratch;
use crate::codec::fixed::Fixed;
use crate::codec::raw::Raw;
use crate::disk::sim::{Random, Settings, SimDisk, run};
use crate::format::block::SealedBlock;
use crate::format::entries::Entries;
use crate::format::segment::directory_bytes;
use crate::schema::{Column, Kind};
use crate::statistics::{Extremes, Total};
use crate::{Options, Store, Value, Writer};

const DIR: &str = "/store";

/// All kinds of fixed width, without nulls and with them.
fn schema() -> Schema {
    let kinds = [Kind::U64, Kind::I64, Kind::F64, Kind::U32, Kind::I32, Kind::F32, Kind::Bool];
    let strict = kinds.iter().map(|kind| Column::new(format!("{kind}"), *kind));
    let loose = kinds.iter().map(|kind| Column::new(format!("{kind} or null"), *kind).nullable());
    Schema::new(strict.chain(loose)).unwrap()
}

fn draw(kind: Kind, row: u64, random: &mut Random) -> Value<'static> {
    let bits = random.bits();
    let few = random.below(5);
    match kind {
        Kind::U64 => Value::U64(if row.is_multiple_of(7) { bits } else { row * 10 + few }),
        Kind::I64 => Value::I64(bits.cast_signed() >> (row / 1000 % 60)),
        Kind::F64 if few == 0 => Value::F64(f64::from_bits(bits)),
        Kind::F64 => Value::F64((bits % 100_000) as f64 / 100.0),
        Kind::U32 => Value::U32(bits as u32 % 1000),
        Kind::I32 => Value::I32(bits as i32 >> 20),
        Kind::F32 => Value::F32(f32::from_bits(bits as u32)),
        _ => Value::Bool(row % 900 < 450),
    }
}

/// A writer whose rows have been appended, `segment_rows` to a segment; and for each raw file what it should hold.
struct World {
    disk: SimDisk,
    writer: Writer<SimDisk>,
    files: Vec<Vec<u8>>,
    key: u64,
}

impl World {
    fn new(rows: u64, segment_rows: u64) -> Self {
        let mut world = Self::empty(Options::default().segment_rows(segment_rows).inline_bytes(0));
        let mut random = Random::new(7);
        for start in (0..rows).step_by(usize::try_from(segment_rows).unwrap()) {
            world.commit(start..(start + segment_rows).min(rows), rows / 2, &mut random);
        }
        world
    }

    fn empty(options: Options) -> Self {
        let disk = SimDisk::with_settings(1, Settings { short: 0.0, ..Settings::from_seed(1) });
        let created = Writer::create_on(disk.clone(), DIR, schema(), options);
        let writer = run(&disk, created).unwrap().unwrap();
        let files = vec![Vec::new(); writer.schema().files().len()];
        Self { disk, writer, files, key: 1000 }
    }

    /// Keys are evenly spaced up to a row.
    fn commit(&mut self, rows: std::ops::Range<u64>, even: u64, random: &mut Random) {
        for row in rows {
            self.key += if row < even { 10 } else { random.below(4) };
            self.append(row, self.key, random);
        }
        for (all, new) in self.files.iter_mut().zip(self.writer.pending.files()) {
            all.extend_from_slice(new);
        }
        run(&self.disk, self.writer.commit()).unwrap().unwrap();
    }

    /// Bytes that have been read of raw files.
    fn raw_bytes_read(&self) -> u64 {
        let is_raw = |path: &Path| path.to_string_lossy().contains("/raw-") && !path.ends_with("sums");
        let counts = self.disk.counts_by_path().into_iter().filter(|(path, _)| is_raw(path));
        counts.map(|(_, counts)| counts.read_bytes).sum()
    }

    fn append(&mut self, row: u64, key: u64, random: &mut Random) {
        let schema = Arc::clone(self.writer.schema());
        let value = |column: &Column, random: &mut Random| {
            let nullable = column.nulls() == crate::Nulls::Allowed;
            // All null for a while, and none for another.
            let null = nullable && (row / 20_000 == 1 || (row / 20_000 != 2 && random.below(3) == 0));
            if null { Value::Null } else { draw(column.kind(), row, random) }
        };
        let values: Vec<Value<'_>> = schema.columns().iter().map(|column| value(column, random)).collect();
        self.writer.pending().append(key, &values).unwrap();
    }

    fn seal(&mut self) -> Maintained {
        self.maintain(Maintain::Seal)
    }

    fn maintain(&mut self, work: Maintain) -> Maintained {
        let store: Store<SimDisk> = self.writer.store();
        run(&self.disk, store.maintain(work)).unwrap().unwrap()
    }

    /// Names of sealed files.
    fn segments(&self) -> usize {
        let files = self.disk.files();
        files.iter().filter(|(path, _)| path.extension().is_some_and(|end| end == "segment")).count()
    }

    fn sync(&mut self) {
        run(&self.disk, self.writer.sync()).unwrap().unwrap();
    }
}

/// A sealed file and what it is of.
struct Sheets<'a> {
    bytes: Vec<u8>,
    number: u64,
    directory: Directory,
    shared: &'a Shared<SimDisk>,
}

impl<'a> Sheets<'a> {
    fn read(disk: &SimDisk, shared: &'a Shared<SimDisk>, sealed: &Sealed) -> Self {
        let bytes = disk.file_bytes(Path::new(DIR).join(format!("{}.segment", sealed.number))).unwrap();
        assert_eq!(bytes.len() as u64, sealed.bytes);
        let rows = sealed.first_row..sealed.first_row + sealed.rows;
        let sheet = directory_bytes(&rows, &shared.schema).unwrap();
        let sheet = &bytes[bytes.len() - usize::try_from(sheet).unwrap()..];
        assert_eq!(crc32c(sheet), sealed.directory_sum);
        let home = Home { segment: sealed.number, store: &shared.id, schema: &shared.schema };
        let directory = Directory::decode(sheet, home, sealed.bytes).unwrap();
        assert_eq!(directory.rows, rows);
        Self { bytes, number: sealed.number, directory, shared }
    }

    fn entries(&self, file: usize) -> Entries {
        let range = self.directory.entries(file, &self.shared.schema);
        let bytes = self.bytes[range.start as usize..range.end as usize].to_vec();
        Entries::decode(bytes, &self.directory, file, &self.shared.schema).unwrap()
    }

    /// The values of a row group as raw files hold them.
    fn values<T: Fixed + Raw>(&self, entries: &Entries, group: usize) -> Vec<T> {
        let range = entries.block(group);
        let bytes = &self.bytes[range.start as usize..range.end as usize];
        let place = BlockPlace { segment: self.number, offset: range.start };
        let rows = self.directory.rows_of(group);
        let rows = usize::try_from(rows.end - rows.start).unwrap();
        let block = SealedBlock::parse(bytes, T::KIND, rows, place, &self.shared.id).unwrap();
        assert_eq!(block.bytes(), bytes.len());
        let coded = entries.get(group).block.unwrap();
        assert_eq!((coded.head_bytes as usize, coded.codec), (block.head_bytes(), block.block().tag()));
        let (mut values, mut scratch) = (vec![T::ZERO; rows], Scratch::default());
        for (index, values) in values.chunks_mut(VECTOR).enumerate() {
            let vector = &bytes[block.vector(index)];
            block.block().decode_vector(index, vector, &mut scratch, values).unwrap();
        }
        values
    }

    /// Compares a row group of a stream with the raw bytes of its rows.
    fn check<T: Fixed + Raw>(&self, entries: &Entries, group: usize, raw: &[u8]) {
        let mut bytes = Vec::new();
        T::append(&self.values::<T>(entries, group), &mut bytes);
        assert!(bytes == raw, "a value differs: segment {}, group {group}", self.number);
    }

    fn check_nulls(&self, entries: &Entries, group: usize, raw: &[u8]) {
        let entry = entries.get(group);
        let nulls = raw.iter().filter(|null| **null == 1).count();
        assert_eq!(usize::from(entry.nulls), nulls);
        if entry.block.is_some() {
            self.check::<bool>(entries, group, raw);
        }
        assert_eq!(entry.block.is_none(), nulls == 0 || nulls == raw.len());
    }
}

/// By definition, from row 0 on: sums of floats go on over segments within a row group.
fn check_statistics(
    shape: Shape,
    entry: &Entry,
    values: &[u8],
    nulls: Option<&[u8]>,
    lanes: &mut FloatSum,
    row: u64,
) {
    let nulls: Option<Vec<bool>> = nulls.map(|nulls| nulls.iter().map(|null| *null == 1).collect());
    macro_rules! check {
        ($type:ty, $total:expr) => {{
            let mut all: Vec<$type> = Vec::new();
            <$type>::read(values, &mut all);
            let mut extremes = Extremes::default();
            extremes.take(&all, nulls.as_deref());
            let expected = extremes.ends().map(|(min, max): ($type, $type)| (min.bits(), max.bits()));
            let statistics = entry.statistics.unwrap();
            assert_eq!(statistics.extremes, expected);
            let expected: Total = $total(&all);
            let same = match (statistics.total, expected) {
                (Total::Float(one), Total::Float(other)) => one.to_bits() == other.to_bits(),
                (one, other) => one == other,
            };
            assert!(same, "{:?} is not {expected:?}", statistics.total);
        }};
    }
    let float = |lanes: &mut FloatSum, all: &[f64]| {
        lanes.take(row, all, |value| *value);
        Total::Float(lanes.group_total())
    };
    match shape {
        Shape::Numbers(Kind::U64) => {
            check!(u64, |all: &[u64]| Total::Integer(all.iter().map(|v| i128::from(*v)).sum()))
        }
        Shape::Numbers(Kind::I64) => {
            check!(i64, |all: &[i64]| Total::Integer(all.iter().map(|v| i128::from(*v)).sum()))
        }
        Shape::Numbers(Kind::U32) => {
            check!(u32, |all: &[u32]| Total::Integer(all.iter().map(|v| i128::from(*v)).sum()))
        }
        Shape::Numbers(Kind::I32) => {
            check!(i32, |all: &[i32]| Total::Integer(all.iter().map(|v| i128::from(*v)).sum()))
        }
        Shape::Numbers(Kind::F64) => check!(f64, |all: &[f64]| float(lanes, all)),
        Shape::Numbers(Kind::F32) => check!(f32, |all: &[f32]| {
            float(lanes, &all.iter().map(|value| f64::from(*value)).collect::<Vec<_>>())
        }),
        _ => assert_eq!(entry.statistics, None),
    }
}

fn check_all(world: &World) -> usize {
    let shared = &world.writer.core.shared;
    let version = shared.version();
    let mut sums = vec![FloatSum::default(); shared.schema.files().len()];
    for sealed in &version.sealed {
        let sheets = Sheets::read(&world.disk, shared, sealed);
        for (file, raw) in shared.schema.files().iter().enumerate() {
            let (shape, entries) = (Shape::of(*raw, &shared.schema), sheets.entries(file));
            let nulls = nulls_of(*raw, &shared.schema);
            for group in 0..sheets.directory.groups.len() {
                let rows = sheets.directory.rows_of(group);
                let bytes = |file: usize, width: usize| {
                    &world.files[file][rows.start as usize * width..rows.end as usize * width]
                };
                let values = bytes(file, raw.width().unwrap());
                match shape {
                    Shape::Keys => {
                        sheets.check::<u64>(&entries, group, values);
                        let mut keys = Vec::new();
                        u64::read(values, &mut keys);
                        assert_eq!(sheets.directory.groups[group], Group::of(&keys).unwrap());
                    }
                    Shape::Numbers(Kind::U64) => sheets.check::<u64>(&entries, group, values),
                    Shape::Numbers(Kind::I64) => sheets.check::<i64>(&entries, group, values),
                    Shape::Numbers(Kind::F64) => sheets.check::<f64>(&entries, group, values),
                    Shape::Numbers(Kind::U32) => sheets.check::<u32>(&entries, group, values),
                    Shape::Numbers(Kind::I32) => sheets.check::<i32>(&entries, group, values),
                    Shape::Numbers(Kind::F32) => sheets.check::<f32>(&entries, group, values),
                    Shape::Bools => sheets.check::<bool>(&entries, group, values),
                    Shape::Nulls => sheets.check_nulls(&entries, group, values),
                    shape => panic!("{shape:?}"),
                }
                let nulls = nulls.map(|file| bytes(file, 1));
                check_statistics(shape, &entries.get(group), values, nulls, &mut sums[file], rows.start);
            }
            if shape.is_float() {
                assert_eq!(entries.lanes().map(f64::to_bits), sums[file].lanes().map(f64::to_bits));
            }
        }
    }
    version.sealed.len()
}

#[test]
fn a_sealed_segment_holds_every_value_and_its_statistics() {
    for segment_rows in [3, 1000, 16_384, 20_000, 50_001] {
        let rows = if segment_rows == 3 { 100 } else { 100_003 };
        let mut world = World::new(rows, segment_rows);
        let mut count = 0;
        while let Maintained::Sealed { segment, rows, bytes_before, bytes_after } = world.seal() {
            assert_eq!((segment, rows), (count, segment_rows));
            assert!(bytes_before == rows * (8 + 2 * 37 + 7), "{bytes_before}");
            assert!(segment_rows < 1000 || bytes_after < bytes_before, "{bytes_after} of {bytes_before}");
            assert_eq!(world.seal(), Maintained::Nothing, "it waits for the writer");
            assert_eq!(world.writer.core.shared.version().sealed.len() as u64, count);
            world.sync();
            count += 1;
        }
        assert_eq!(count, (rows - 1) / segment_rows, "all but the active one");
        assert_eq!(check_all(&world) as u64, count);
        let World { disk, writer, files, key } = world;
        run(&disk, writer.close()).unwrap().unwrap();
        let opened = Writer::open_on(disk.clone(), DIR, Options::default());
        let writer = run(&disk, opened).unwrap().unwrap();
        let mut world = World { disk, writer, files, key };
        assert_eq!(check_all(&world) as u64, count, "behind recovery");
        compact(&mut world, Tier::Fast);
        compact(&mut world, Tier::Dense);
        let World { disk, writer, files, key } = world;
        run(&disk, writer.close()).unwrap().unwrap();
        let opened = Writer::open_on(disk.clone(), DIR, Options::default());
        let writer = run(&disk, opened).unwrap().unwrap();
        check_all(&World { disk, writer, files, key });
    }
}

/// Until nothing is left to do: each time every value and all that is said of them is as before.
fn compact(world: &mut World, tier: Tier) {
    let rows = |world: &World| {
        let version = world.writer.core.shared.version();
        version.sealed.iter().map(|sealed| sealed.rows).sum::<u64>()
    };
    let expected = rows(world);
    loop {
        let count = world.writer.core.shared.version().sealed.len() as u64;
        let (merged, number) = match world.maintain(Maintain::Compact(tier)) {
            Maintained::Nothing => break,
            Maintained::Compacted { segments, segment, .. } => (segments, segment),
            other => panic!("it was to be compacted: {other:?}"),
        };
        assert_eq!(world.maintain(Maintain::Compact(tier)), Maintained::Nothing, "it waits for the writer");
        world.sync();
        assert_eq!(check_all(world) as u64, count - merged + 1);
        assert_eq!(rows(world), expected);
        assert_eq!(world.segments() as u64, count - merged + 1, "old files have gone");
        let version = world.writer.core.shared.version();
        assert!(version.sealed.iter().any(|sealed| sealed.number == number && sealed.tier == tier));
    }
    let version = world.writer.core.shared.version();
    assert!(version.sealed.iter().all(|sealed| sealed.tier == tier || tier == Tier::Fast));
    let largest = version.sealed.iter().map(|sealed| sealed.rows).max().unwrap_or(0);
    assert!(largest * 2 > expected || expected == 0, "{largest} rows of {expected} in the largest segment");
}

/// Of commits of many sizes, so that row groups and segments end anywhere in them.
#[test]
fn what_is_still_in_memory_is_sealed_without_reading_it_again() {
    const SIZES: [u64; 7] = [1, 700, 20_000, 3, 9_000, 16_384, 2];
    let mut read = Vec::new();
    for (seal_bytes, ahead) in
        [(64 << 20, true), (64 << 20, false), (8 << 20, true), (300 << 10, true), (0, true)]
    {
        let mut world = World::empty(Options::default().segment_rows(45_000).seal_bytes(seal_bytes));
        assert_eq!(world.seal(), Maintained::Nothing, "but it is known from now on that somebody seals");
        let (mut random, mut row, mut pieces, mut sealed) = (Random::new(7), 0, 0, 0);
        world.disk.reset_counts();
        for size in SIZES.into_iter().cycle().take(33) {
            world.commit(row..row + size, 90_000, &mut random);
            row += size;
            while ahead || !world.writer.core.shared.version().finished.is_empty() {
                match world.seal() {
                    Maintained::Encoded { bytes, rows, .. } => {
                        // 512 KiB, and one block of 8 bytes a row: what is done between two waits is bounded.
                        assert!((1..=(512 << 10) + (16_384 * 8)).contains(&bytes), "{bytes}");
                        assert!(rows.end <= row && rows.end - rows.start == 16_384);
                        pieces += 1;
                    }
                    Maintained::Sealed { .. } => {
                        world.sync();
                        sealed += 1;
                    }
                    _ => break,
                }
            }
        }
        assert!(check_all(&world) == sealed && sealed >= 2, "{sealed} are sealed");
        assert_eq!(pieces > 0, seal_bytes > 1 << 20 && ahead, "{pieces} pieces were encoded ahead");
        read.push(world.raw_bytes_read());
    }
    assert!(read[..2] == [0, 0] && read[2..].is_sorted() && read[4] > 5_000_000, "{read:?}");
}

#[test]
fn what_is_encoded_already_is_not_read_ahead() {
    // Four row groups are a chunk where a value has one byte: reads end where the rows do that were not in memory.
    const READ: u64 = 4 * GROUP_ROWS;
    const ROWS: u64 = 8 * GROUP_ROWS;
    let mut world = World::empty(Options::default());
    let mut random = Random::new(7);
    world.commit(0..READ, 90_000, &mut random);
    assert_eq!(world.seal(), Maintained::Nothing, "but it is known from now on that somebody seals");
    world.commit(READ..ROWS, 90_000, &mut random);
    while let Maintained::Encoded { rows, .. } = world.seal() {
        assert!(rows.start >= READ, "{rows:?}");
    }
    run(&world.disk, world.writer.roll()).unwrap().unwrap();
    world.disk.reset_counts();
    assert!(matches!(world.seal(), Maintained::Sealed { rows: ROWS, .. }));
    // Nulls are read twice: beside the values, and as values.
    assert_eq!(world.raw_bytes_read(), READ * (8 + 2 * 37 + 2 * 7));
    world.sync();
    assert_eq!(check_all(&world), 1);
}

#[test]
fn what_is_encoded_between_two_turns_of_others_is_bounded() {
    let mut world = World::new(120_000, 120_000);
    run(&world.disk, world.writer.roll()).unwrap().unwrap();
    world.disk.reset_counts();
    assert!(matches!(world.seal(), Maintained::Sealed { rows: 120_000, .. }));
    // A block of 8 bytes a row may come on top of what there is a turn for; the rest of a stream has the turns of its file.
    let most = (WORK_BYTES + 8 * GROUP_ROWS) as usize;
    let turns: usize = world.files.iter().map(|file| file.len() / most).sum();
    let given = world.disk.counts().submits;
    assert!(turns >= 7 && given >= turns as u64, "{given} turns for {turns} times {most} bytes");
}

#[test]
fn a_snapshot_that_sees_part_of_a_sealed_segment_reads_that_part() {
    let mut world = World::new(50_000, 25_000);
    let store: Store<SimDisk> = world.writer.store();
    let raw = store.snapshot();
    assert!(matches!(world.seal(), Maintained::Sealed { .. }));
    world.sync();
    let (reader, sealed) = (store.reader(), store.snapshot());
    for rows in [0, 1, 100, 16_384, 20_000] {
        let (raw, sealed) = (raw.clone().cut(rows), sealed.clone().cut(rows));
        for keys in [0..u64::MAX, 5..2000, 1500..200_000, 150_000..u64::MAX] {
            let of = async |at: &crate::Snapshot| {
                let all = reader.aggregate(at, keys.clone(), crate::ColumnId(1)).await?;
                let ends = [
                    crate::Seek::AtOrBefore(keys.end),
                    crate::Seek::AtOrAfter(keys.start),
                    crate::Seek::Last,
                ];
                let mut found = Vec::new();
                for to in ends {
                    found.push(reader.seek(at, to).await?);
                }
                let (mut scan, mut count) = (reader.scan(at, keys.clone()), 0);
                while let Some(batch) = scan.next().await? {
                    count += batch.len();
                }
                Ok::<_, Error>((format!("{all:?}"), found, count))
            };
            let (of_raw, of_sealed) =
                (run(&world.disk, of(&raw)).unwrap(), run(&world.disk, of(&sealed)).unwrap());
            assert_eq!(of_raw.unwrap(), of_sealed.unwrap(), "{rows} rows, {keys:?}");
        }
    }
}
