//! Each operation of sealing and compacting failed once, in each way; its future dropped at every poll; writes that lie. Whatever
//! happens, the writer goes on, readers see the same rows, and the next call seals.
//!
//! Not here: crashes (tests/crash.rs), sealing beside the writer (`tests/life`).

use tidelog::disk::sim::{self, Fault, Random, SimDisk};
use tidelog::mutant::{self, Mutant};
use tidelog::{
    Column, Error, Kind, Maintain, Maintained, Options, Schema, Snapshot, Store, Tier, Value, Values, Writer,
};

use crate::common::{DIR, run, tiny};

/// A store with two finished segments, which are to be sealed, or are sealed and to be compacted; and a snapshot of it.
struct World {
    work: Maintain,
    disk: SimDisk,
    writer: Writer<SimDisk>,
    held: Snapshot,
    rows: Vec<Row>,
}

const SEAL: Maintain = Maintain::Seal;
const COMPACT: Maintain = Maintain::Compact(Tier::Dense);

fn options() -> Options {
    tiny().segment_rows(700)
}

impl World {
    fn new(seed: u64, work: Maintain) -> Self {
        let disk = SimDisk::new(seed);
        disk.configure(|settings| settings.short = 0.0);
        let columns = [Column::new("a", Kind::F64).nullable(), Column::new("b", Kind::U32)];
        let schema = Schema::new(columns).unwrap();
        let created = Writer::create_on(disk.clone(), DIR, schema, options());
        let mut writer = run(&disk, created).unwrap();
        for row in 0..1500_u32 {
            let a = if row % 5 == 0 { Value::Null } else { Value::F64(f64::from(row) / 8.0) };
            writer.pending().append(u64::from(row / 3), &[a, Value::U32(row.wrapping_mul(row))]).unwrap();
            if row % 100 == 99 {
                run(&disk, writer.commit()).unwrap();
            }
        }
        let held = writer.store().snapshot();
        let mut world = World { work: Maintain::Seal, disk, writer, held, rows: Vec::new() };
        world.rows = world.read().unwrap();
        if work != Maintain::Seal {
            while world.maintain().unwrap() != Maintained::Nothing {
                run(&world.disk, world.writer.sync()).unwrap();
            }
            world.held = world.writer.store().snapshot();
            world.work = work;
        }
        world
    }

    fn read(&self) -> Result<Vec<Row>, Error> {
        let store = self.writer.store();
        run(&self.disk, all(&store, &store.snapshot()))
    }

    /// Readers see what they saw, and the writer works.
    fn check(&self) {
        assert!(self.read().unwrap() == self.rows, "a row differs");
        let store = self.writer.store();
        assert!(run(&self.disk, all(&store, &self.held)).unwrap() == self.rows, "a snapshot has changed");
    }

    fn sealed(&self) -> usize {
        let segments = self.writer.store().stats().segments;
        segments.iter().filter(|segment| segment.state == tidelog::SegmentState::Sealed).count()
    }

    fn maintain(&self) -> Result<Maintained, Error> {
        run(&self.disk, self.writer.store().maintain(self.work))
    }

    /// How many sealed segments there are in the end.
    fn expected(&self) -> usize {
        if self.work == Maintain::Seal { 2 } else { 1 }
    }

    /// Does all there is to do, and finds it again.
    fn check_goes_on(mut self) {
        self.check();
        // What was sealed before waits; and a removal may be on its way.
        for _ in 0..2 {
            run(&self.disk, self.writer.sync()).unwrap();
            while self.maintain().unwrap() != Maintained::Nothing {
                run(&self.disk, self.writer.sync()).unwrap();
                self.check();
            }
            self.disk.settle();
        }
        assert_eq!(self.sealed(), self.expected());
        self.check();
        for disk in [self.disk.fork(1).power_cut(), self.disk.fork(2).kill()] {
            let writer = run(&disk, Writer::open_on(disk.clone(), DIR, options())).unwrap();
            let store = writer.store();
            assert!(run(&disk, all(&store, &store.snapshot())).unwrap() == self.rows);
        }
    }
}

/// Number and key of a row, and its values.
type Row = (Option<u64>, u64, Vec<String>);

/// All rows, however they come in batches.
async fn all(store: &Store<SimDisk>, at: &Snapshot) -> Result<Vec<Row>, Error> {
    let reader = store.reader();
    let mut scan = reader.scan(at, ..).batch_rows(128);
    let mut rows = Vec::new();
    while let Some(batch) = scan.next().await? {
        for (row, key) in batch.keys().iter().enumerate() {
            let values = batch.columns().iter().map(|(_, vector)| format!("{:?}", vector.value(row)));
            rows.push((batch.row(row), *key, values.collect()));
        }
    }
    Ok(rows)
}

/// Operations of one call.
fn operations(seed: u64, work: Maintain) -> std::ops::Range<u64> {
    let world = World::new(seed, work);
    let start = world.disk.operations();
    assert_ne!(world.maintain().unwrap(), Maintained::Nothing);
    start..world.disk.operations()
}

#[test]
fn whatever_fails_in_sealing_the_writer_goes_on_and_the_next_call_seals() {
    let (mut full, mut io, mut harmless) = (0, 0, 0);
    for (seed, work) in [(0, SEAL), (1, SEAL), (0, COMPACT)] {
        for number in operations(seed, work) {
            for fault in [Fault::IO, Fault::FULL, Fault::FILES, Fault::Short(512), Fault::Short(0)] {
                let world = World::new(seed, work);
                world.disk.fail_at(number, fault);
                match world.maintain() {
                    Err(Error::Full { .. }) if fault == Fault::FULL => full += 1,
                    Err(Error::Io { .. }) => io += 1,
                    // A short read or write is gone on with; of nothing it is the end of the file.
                    Err(Error::Corrupt { .. }) if fault == Fault::Short(0) => io += 1,
                    Ok(Maintained::Sealed { .. } | Maintained::Compacted { .. }) => harmless += 1,
                    answer => panic!("operation {number}, {fault:?}: {answer:?}"),
                }
                world.check_goes_on();
            }
        }
    }
    println!("{full} full, {io} failed, {harmless} harmless");
    assert!(full >= 6 && io > 100 && harmless > 50, "{full} full, {io} failed, {harmless} harmless");
}

#[test]
fn a_call_dropped_at_any_poll_leaves_nothing_that_counts() {
    let mut dropped = 0;
    for (seed, work) in [(0, SEAL), (1, SEAL), (2, SEAL), (0, COMPACT), (1, COMPACT)] {
        for polls in 0.. {
            let world = World::new(seed, work);
            // Another call left a file, which this one removes first.
            let left = sim::poll_times(world.writer.store().maintain(work), 40);
            assert!(left.is_none());
            if sim::poll_times(world.writer.store().maintain(work), polls).is_some() {
                break;
            }
            dropped += 1;
            world.check_goes_on();
        }
    }
    assert!(dropped > 150, "{dropped}");
}

/// A removal that was dropped may come to pass at any later moment; other work meanwhile does not make it forgotten.
#[test]
fn a_removal_on_its_way_is_minded_whatever_is_done_between() {
    let mut dropped = 0;
    for seed in 0..6 {
        for polls in 0..40 {
            let mut world = World::new(seed, COMPACT);
            // What is dropped stays on its way until the end.
            world.disk.configure(|settings| settings.orphan_landing = 0.0);
            run(&world.disk, world.writer.roll()).unwrap();
            let store = world.writer.store();
            // Both leave a file.
            assert!(sim::poll_times(store.maintain(SEAL), 40).is_none());
            assert!(sim::poll_times(store.maintain(COMPACT), 40).is_none());
            if sim::poll_times(store.maintain(COMPACT), polls).is_some() {
                break;
            }
            dropped += 1;
            for work in [SEAL, COMPACT] {
                run(&world.disk, store.maintain(work)).unwrap();
                run(&world.disk, world.writer.sync()).unwrap();
            }
            world.disk.settle();
            world.check();
            let disk = world.disk.fork(1).kill();
            let writer = run(&disk, Writer::open_on(disk.clone(), DIR, options())).unwrap();
            let store = writer.store();
            assert!(run(&disk, all(&store, &store.snapshot())).unwrap() == world.rows);
        }
    }
    assert!(dropped > 150, "{dropped}");
}

/// One finished segment, whose sealed file takes several writes.
fn large() -> (SimDisk, Writer<SimDisk>) {
    let disk = SimDisk::new(3);
    disk.configure(|settings| settings.short = 0.0);
    let schema = Schema::new([Column::new("a", Kind::U64)]).unwrap();
    let created = Writer::create_on(disk.clone(), DIR, schema, tiny().segment_rows(70_000));
    let mut writer = run(&disk, created).unwrap();
    let mut random = Random::new(5);
    for rows in [70_000, 10] {
        let values: Vec<u64> = (0..rows).map(|_| random.bits()).collect();
        let key = writer.pending().next_row();
        writer.pending().append_batch(&vec![key; values.len()], &[Values::U64(&values)]).unwrap();
        run(&disk, writer.commit()).unwrap();
    }
    (disk, writer)
}

/// A write that answers well and is lost, or goes elsewhere: sealed is only what was read back.
#[test]
fn what_the_disk_does_not_hold_is_not_handed_over() {
    let (disk, writer) = large();
    let store = writer.store();
    let start = disk.operations();
    run(&disk, store.maintain(Maintain::Seal)).unwrap();
    let operations = start..disk.operations();
    let rows = run(&disk, all(&store, &store.snapshot())).unwrap();
    let (mut found, mut unread) = (0, 0);
    for number in operations {
        for (fault, broken) in
            [(Fault::Lost, false), (Fault::Misdirected(4 << 20), false), (Fault::Lost, true)]
        {
            let (disk, mut writer) = large();
            let store = writer.store();
            disk.fail_at(number, fault);
            if broken {
                mutant::set(&[Mutant::NoReadBack]);
            }
            let sealed = run(&disk, store.maintain(Maintain::Seal));
            mutant::set(&[]);
            run(&disk, writer.sync()).unwrap();
            let read = run(&disk, all(&store, &store.snapshot()));
            match (sealed, read) {
                (Err(Error::Corrupt { .. }), Ok(read)) => {
                    found += 1;
                    assert!(read == rows);
                }
                (Ok(Maintained::Sealed { .. }), Ok(read)) => assert!(read == rows),
                // Nobody looked.
                (Ok(Maintained::Sealed { .. }), Err(Error::Corrupt { .. })) if broken => unread += 1,
                answer => panic!("operation {number}, {fault:?}: {:?}", answer.0),
            }
        }
    }
    println!("{found} lies found, {unread} published by a broken rule");
    assert!(found >= 3 && unread >= 1, "{found}, {unread}");
}

/// Lack of space to publish what was sealed is no reason to fail a commit: it waits.
#[test]
fn publishing_waits_for_space() {
    for (seed, work) in [(0, SEAL), (1, SEAL), (2, COMPACT), (3, COMPACT)] {
        let mut world = World::new(seed, work);
        let (before, after) = if work == SEAL { (0, 1) } else { (2, 1) };
        assert_ne!(world.maintain().unwrap(), Maintained::Nothing);
        world.disk.set_space(Some(world.disk.used_space()));
        run(&world.disk, world.writer.sync()).unwrap();
        assert_eq!(world.sealed(), before);
        world.writer.pending().append(1 << 20, &[Value::Null, Value::U32(1)]).unwrap();
        run(&world.disk, world.writer.commit()).unwrap();
        assert_eq!((world.sealed(), world.maintain().unwrap()), (before, Maintained::Nothing));
        world.disk.set_space(None);
        world.rows = world.read().unwrap();
        world.held = world.writer.store().snapshot();
        run(&world.disk, world.writer.sync()).unwrap();
        assert_eq!(world.sealed(), after);
        world.check_goes_on();
    }
}

#[test]
fn a_writer_that_has_gone_is_told_from_one_that_waits() {
    let world = World::new(1, SEAL);
    let (disk, store) = (world.disk.clone(), world.writer.store());
    run(&disk, world.writer.close()).unwrap();
    assert!(matches!(run(&disk, store.maintain(Maintain::Seal)), Err(Error::Closed)));
    let other = disk.another_process();
    let store = run(&other, Store::follow_on(other.clone(), DIR, options())).unwrap();
    assert!(matches!(run(&other, store.maintain(Maintain::Seal)), Err(Error::Unsupported { .. })));
}
