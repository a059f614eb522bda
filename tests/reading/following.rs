//! Following a store from another process: what is seen, when, at what cost, and what damage is.
//!
//! Not here: crashes under a follower (`tests/crash.rs`, `tests/mutants.rs`).

use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::pin::pin;

use tidelog::disk::sim::{Executor, Fault, Kind as Operation, SimDisk, poll_times, run};
use tidelog::disk::{Core, Disk, Glommio, PAGE, Posix};
use tidelog::mutant::{self, Mutant};
use tidelog::{Error, Kind, Options, Reader, Schema, Snapshot, Store, Value, Writer};

use crate::skip::{Need, skips};
use crate::world::{Row, World, all, all_kinds, calm_disk, one_column, small_options};

/// A store as another process sees it.
struct Follower {
    disk: SimDisk,
    store: Store<SimDisk>,
}

impl Follower {
    fn new(world: &World) -> Self {
        let disk = world.disk.another_process();
        let store = run(&disk, Store::follow_on(disk.clone(), &world.dir, Options::default()));
        Follower { store: store.unwrap().unwrap(), disk }
    }

    fn refresh(&self) -> Result<Snapshot, Error> {
        run(&self.disk, self.store.refresh()).unwrap()
    }

    fn rows(&self, at: &Snapshot) -> Vec<Row> {
        run(&self.disk, all(&self.store.reader(), at)).unwrap().unwrap()
    }
}

fn follow(disk: &SimDisk, dir: &Path) -> Result<Store<SimDisk>, Error> {
    run(disk, Store::follow_on(disk.clone(), dir, Options::default())).unwrap()
}

#[test]
fn what_is_committed_is_seen_when_one_looks_again_and_not_before() {
    let mut world = World::new(calm_disk(1), all_kinds(), small_options());
    let follower = Follower::new(&world);
    let mut held = vec![(follower.store.snapshot(), 0)];
    for round in 0..120_usize {
        let before = world.rows.len();
        world.writer.pending().note(&round.to_le_bytes()).unwrap();
        world.commit([1, 7, 40, 90][round % 4]);
        if round % 11 == 0 {
            world.checkpoint();
        }
        assert_eq!(follower.store.rows(), before as u64, "nobody has looked");
        let at = follower.refresh().unwrap();
        assert_eq!((at.rows(), at.note()), (world.rows.len() as u64, Some(&round.to_le_bytes()[..])));
        assert_eq!(follower.store.snapshot().rows(), at.rows());
        if round % 8 == 0 {
            held.push((at, world.rows.len()));
        }
    }
    assert!(world.disk.directories().len() > 5, "it has rolled");
    held.push((follower.refresh().unwrap(), world.rows.len()));
    for (at, rows) in held {
        assert_eq!(follower.rows(&at), world.rows[..rows], "a snapshot never changes");
    }
}

/// Rows in the log, in the files, and in both; segments that are finished.
#[test]
fn who_joins_late_sees_everything() {
    for rows in [1, 30, 200, 299, 300, 301, 777] {
        let mut world = World::new(calm_disk(rows as u64), all_kinds(), small_options());
        world.fill(rows);
        let late = Follower::new(&world);
        assert_eq!(late.rows(&late.store.snapshot()), world.rows);
        world.checkpoint();
        world.commit(3);
        let later = Follower::new(&world);
        assert_eq!(later.rows(&later.store.snapshot()), world.rows);
        assert_eq!(late.rows(&late.refresh().unwrap()), world.rows);
    }
}

#[test]
fn a_store_that_nobody_has_opened_yet_is_followed_as_empty() {
    let (disk, dir) = (calm_disk(1), PathBuf::from("/store"));
    disk.fail_next(Operation::Open, "log-a", Fault::Error(5));
    let schema = one_column(Kind::U64);
    let created = run(&disk, Writer::create_on(disk.clone(), &dir, schema, Options::default())).unwrap();
    assert!(matches!(created, Err(Error::Io { .. })), "{created:?}");
    let other = disk.another_process();
    let store = follow(&other, &dir).unwrap();
    let reader = store.reader();
    for _ in 0..2 {
        let at = run(&other, store.refresh()).unwrap().unwrap();
        assert_eq!((at.rows(), run(&other, all(&reader, &at)).unwrap().unwrap()), (0, Vec::new()));
    }
    let mut writer = run(&disk, Writer::open_on(disk.clone(), &dir, Options::default())).unwrap().unwrap();
    writer.pending().append(5, &[Value::U64(6)]).unwrap();
    run(&disk, writer.commit()).unwrap().unwrap();
    let at = run(&other, store.refresh()).unwrap().unwrap();
    assert_eq!(run(&other, all(&reader, &at)).unwrap().unwrap()[0].key, 5);
}

#[test]
fn writers_come_and_go_under_a_follower() {
    let mut world = World::new(calm_disk(3), all_kinds(), small_options());
    let follower = Follower::new(&world);
    for round in 0..12 {
        world.commit(20);
        if round % 3 == 0 {
            assert_eq!(follower.refresh().unwrap().rows(), world.rows.len() as u64);
        }
        world = if round % 2 == 0 { world.reopen() } else { world.recover() };
        if round % 4 == 0 {
            assert_eq!(follower.rows(&follower.refresh().unwrap()), world.rows);
        }
    }
    assert_eq!(follower.rows(&follower.refresh().unwrap()), world.rows);
}

#[test]
fn a_look_at_a_store_where_nothing_is_new_costs_two_pages_and_a_listing() {
    let mut world = World::new(calm_disk(1), all_kinds(), Options::default());
    world.fill(200);
    let follower = Follower::new(&world);
    for checkpointed in [false, true] {
        if checkpointed {
            world.checkpoint();
            follower.refresh().unwrap();
        }
        world.disk.reset_counts();
        for looks in 1..4 {
            follower.refresh().unwrap();
            let counts = world.disk.counts();
            assert_eq!((counts.reads, counts.read_bytes), (2 * looks, 2 * looks * PAGE as u64));
            assert_eq!((counts.lists, counts.opens, counts.syncs), (looks, 2 * looks, 0), "{counts:?}");
        }
    }
    // New rows: the log is synced, behind one more look through all of it.
    world.commit(1);
    world.disk.reset_counts();
    follower.refresh().unwrap();
    let counts = world.disk.counts();
    assert_eq!((counts.syncs, counts.lists), (2, 1), "{counts:?}");
}

/// A look shows what was committed when it began; it does not run after a writer that commits meanwhile.
#[test]
fn a_look_ends_beside_a_writer_that_is_never_idle() {
    for seed in 0..5 {
        let mut world = World::new(calm_disk(seed), one_column(Kind::U64), Options::default());
        let follower = Follower::new(&world);
        (0..20).for_each(|_| world.commit(1));
        let (store, mut key) = (world.store(), world.rows[19].key);
        let mut executor = Executor::new(&world.disk, seed);
        let look = executor.spawn(follower.store.refresh());
        executor.spawn(async {
            loop {
                key += 1;
                world.writer.pending().append(key, &[Value::U64(key)]).unwrap();
                world.writer.commit().await.unwrap();
            }
        });
        let seen = executor.run_until(&look).unwrap().unwrap().rows();
        assert!(seen >= 20, "seed {seed}: {seen}");
        assert!(store.rows() < 2000, "seed {seed}: {} commits under one look", store.rows());
    }
}

#[test]
fn a_follower_locks_and_writes_nothing() {
    let mut world = World::new(calm_disk(1), all_kinds(), small_options());
    world.fill(400);
    world.disk.reset_counts();
    let follower = Follower::new(&world);
    follower.rows(&follower.refresh().unwrap());
    let counts = world.disk.counts();
    let changes = [counts.locks, counts.writes, counts.grows, counts.renames, counts.removes];
    assert_eq!(changes, [0; 5], "{counts:?}");
    assert_eq!((counts.create_dirs, counts.dir_syncs), (0, 0), "{counts:?}");
    // The store can be opened for writing beside it.
    world = world.reopen();
    world.commit(1);
    assert_eq!(follower.refresh().unwrap().rows(), world.rows.len() as u64);
}

/// Where in a log file records of the present chain begin, found by their magic.
fn records(disk: &SimDisk, log: &Path) -> Vec<u64> {
    let bytes = disk.file_bytes(log).unwrap();
    let pages = (0..).step_by(PAGE).zip(bytes.chunks(PAGE));
    pages.filter(|(_, page)| page.starts_with(b"TLRECORD")).map(|(offset, _)| offset).collect()
}

#[test]
fn a_damaged_record_is_damage_where_a_later_one_proves_it_and_an_end_where_none_does() {
    for before in [0, 4] {
        let mut world = World::new(calm_disk(1), one_column(Kind::U64), Options::default());
        (0..before).for_each(|_| world.commit(2));
        let follower = Follower::new(&world);
        let log = world.dir.join("log-a");
        let known = records(&world.disk, &log).len();
        (0..3).for_each(|_| world.commit(2));
        let places = records(&world.disk, &log);
        world.disk.flip(&log, places[known] + 200, 1).unwrap();
        let error = follower.refresh().unwrap_err();
        let Error::Corrupt { path, offset, .. } = &error else { panic!("{error}") };
        assert_eq!((path, *offset), (&log, places[known]), "{error}");
        let other = world.disk.another_process();
        assert!(matches!(follow(&other, &world.dir), Err(Error::Corrupt { .. })));
        // What was seen before stays, and can be read; mended, it goes on.
        assert_eq!(follower.rows(&follower.store.snapshot()), world.rows[..2 * before]);
        world.disk.flip(&log, places[known] + 200, 1).unwrap();
        assert_eq!(follower.rows(&follower.refresh().unwrap()), world.rows);
        // The last one alone may as well be one that is being written.
        world.commit(2);
        let last = *records(&world.disk, &log).last().unwrap();
        world.disk.flip(&log, last + 200, 1).unwrap();
        assert_eq!(follower.refresh().unwrap().rows(), world.rows.len() as u64 - 2);
        world.disk.flip(&log, last + 200, 1).unwrap();
        assert_eq!(follower.rows(&follower.refresh().unwrap()), world.rows);
    }
}

/// A look, stopped after so many polls, goes on when another writer has recovered and made some commits; nothing if it
/// had ended before. `disk` is the dead writer's.
fn look_across(disk: &SimDisk, dir: &Path, polls: usize) -> Option<Result<(), Error>> {
    let writing = disk.fork(polls as u64).kill();
    let reading = writing.another_process();
    let store = follow(&reading, dir).unwrap();
    let before = store.rows();
    let mut look = pin!(store.refresh());
    if poll_times(look.as_mut(), polls).is_some() {
        return None;
    }
    let options = Options::default().log_bytes(64 << 10);
    let mut writer = run(&writing, Writer::open_on(writing.clone(), dir, options)).unwrap().unwrap();
    assert_eq!(writer.recovery().rows, before, "what was torn is dropped");
    for key in 0..4 {
        writer.pending().append(u64::MAX - 4 + key, &[Value::U64(key)]).unwrap();
        run(&writing, writer.commit()).unwrap().unwrap();
    }
    let looked = run(&reading, look.as_mut()).unwrap();
    let looked = looked.map(|at| assert!(at.rows() >= before));
    if looked.is_ok() {
        let at = run(&reading, store.refresh()).unwrap().unwrap();
        let keys = run(&reading, all(&store.reader(), &at)).unwrap().unwrap();
        assert_eq!((at.rows(), keys[keys.len() - 1].key), (before + 4, u64::MAX - 1));
    }
    Some(looked)
}

/// A record of several pages does not fit into what is left of log-a, so it begins log-b; it is torn. The one that
/// takes its number fits into log-a, and a later one begins log-b: while a follower is looking there.
#[test]
fn a_torn_record_that_is_written_over_under_a_look_is_no_damage() {
    let options = Options::default().log_bytes(64 << 10);
    let mut world = World::new(calm_disk(1), one_column(Kind::U64), options);
    (0..12).for_each(|_| world.commit(1));
    world.commit(1000);
    let log = world.dir.join("log-b");
    assert_eq!(records(&world.disk, &log), [0]);
    world.disk.overwrite(&log, PAGE as u64, &[0; PAGE]).unwrap();
    let looks = || (0..).map_while(|polls| look_across(&world.disk, &world.dir, polls));
    let kept: Vec<_> = looks().collect();
    assert!(kept.len() > 10, "{} moments", kept.len());
    for (polls, look) in kept.iter().enumerate() {
        assert!(look.is_ok(), "after {polls} polls: {look:?}");
    }
    // There is a moment at which it matters.
    mutant::set(&[Mutant::OnlyBegunFollows]);
    let broken = looks().filter(|look| matches!(look, Err(Error::Corrupt { .. }))).count();
    mutant::set(&[]);
    assert!(broken > 0, "no look has met it");
}

#[test]
fn a_log_that_is_not_the_newest_manifests_is_damage() {
    let mut world = World::new(calm_disk(1), one_column(Kind::U64), Options::default());
    world.commit(2);
    world.checkpoint();
    let log = world.dir.join("log-a");
    let last = *records(&world.disk, &log).last().unwrap();
    world.disk.overwrite(&log, last, &[0; PAGE]).unwrap();
    let error = follow(&world.disk.another_process(), &world.dir).unwrap_err();
    let Error::Corrupt { path, offset, .. } = &error else { panic!("{error}") };
    assert_eq!((path, *offset), (&log, last), "{error}");
    world.disk.set_len(&log, PAGE as u64).unwrap();
    let error = follow(&world.disk.another_process(), &world.dir).unwrap_err();
    assert!(matches!(&error, Error::Corrupt { path, .. } if *path == log), "{error}");
    world.disk.unlink(&log).unwrap();
    let error = follow(&world.disk.another_process(), &world.dir).unwrap_err();
    assert!(matches!(&error, Error::Corrupt { path, .. } if *path == log), "{error}");
}

/// The manifests there are, newest last.
fn manifests(disk: &SimDisk, dir: &Path) -> Vec<u64> {
    let names = disk.files().into_iter().filter(|(path, _)| path.parent() == Some(dir));
    let name = |path: PathBuf| path.file_name()?.to_str()?.strip_prefix("manifest-")?.parse().ok();
    let mut generations: Vec<u64> = names.filter_map(|(path, _)| name(path)).collect();
    generations.sort_unstable();
    generations
}

#[test]
fn a_manifest_that_is_missing_or_behind_is_damage() {
    let mut world = World::new(calm_disk(1), one_column(Kind::U64), Options::default());
    world.commit(2);
    world.checkpoint();
    let older = world.disk.fork(1);
    let old = manifests(&older, &world.dir)[0];
    let follower = Follower::new(&world);
    world.commit(2);
    world.checkpoint();
    world.commit(2);
    // The newest one is not there: its record says so.
    let newest = world.dir.join(format!("manifest-{}", manifests(&world.disk, &world.dir)[0]));
    let bytes = world.disk.file_bytes(&newest).unwrap();
    let name = world.dir.join(format!("manifest-{old}"));
    older.copy_file(&name, &world.disk, &name).unwrap();
    world.disk.unlink(&newest).unwrap();
    let error = follower.refresh().unwrap_err();
    assert!(error.to_string().contains("manifest-"), "{error}");
    assert!(matches!(error, Error::Corrupt { .. }), "{error}");
    world.disk.put_file(&newest, &bytes).unwrap();
    world.disk.unlink(&name).unwrap();
    assert_eq!(follower.rows(&follower.refresh().unwrap()), world.rows);
    // A newer one that holds less: an older copy that went its own way.
    let writer = older.kill();
    let opened = Writer::open_on(writer.clone(), &world.dir, Options::default());
    let mut astray = run(&writer, opened).unwrap().unwrap();
    (0..5).for_each(|_| run(&writer, astray.checkpoint()).unwrap().unwrap());
    let other = world.dir.join(format!("manifest-{}", manifests(&writer, &world.dir)[0]));
    writer.copy_file(&other, &world.disk, &other).unwrap();
    let error = follower.refresh().unwrap_err();
    assert!(matches!(&error, Error::Corrupt { .. }) && error.to_string().contains("holds less"), "{error}");
    assert_eq!(follower.store.rows(), world.rows.len() as u64);
}

#[test]
fn what_is_no_store_is_refused_by_name() {
    let disk = calm_disk(1);
    let refused = |dir: &str| match follow(&disk, Path::new(dir)) {
        Err(Error::NotAStore { what, .. }) => what.into_owned(),
        other => panic!("{dir}: {other:?}"),
    };
    assert!(refused("/nowhere").contains("no such directory"));
    disk.make_dirs("/empty").unwrap();
    assert!(refused("/empty").contains("no manifest"));
    disk.put_file("/begun/manifest-1.tmp-0", &[0; PAGE]).unwrap();
    assert!(refused("/begun").contains("not finished"));
    disk.put_file("/begun/raw-0/keys", &[]).unwrap();
    assert!(matches!(follow(&disk, Path::new("/begun")), Err(Error::Corrupt { .. })));
    disk.put_file("/file", &[1; 5]).unwrap();
    assert!(refused("/file").contains("not a directory"));
}

/// A manifest by hand, from a copy of the store that went another way: it does not say that the second segment
/// lies in the second slot.
#[test]
fn bytes_that_do_not_match_are_damage_unless_the_files_are_another_segments() {
    let mut world = World::new(calm_disk(1), all_kinds(), small_options());
    (0..4).for_each(|_| world.commit(60));
    world.checkpoint();
    let copy = world.disk.fork(1).kill();
    (0..7).for_each(|_| world.commit(60));
    let follower = Follower::new(&world);
    let readers = [world.store().reader(), follower.store.reader()];
    let snapshots = [world.store().snapshot(), follower.refresh().unwrap()];
    let (key, file) = (world.rows[400].key, world.slot(1).join("0.data"));
    let ask = |reader: &Reader<SimDisk>, at: &Snapshot| {
        let columns = world.columns();
        let scanned = world.run(all(reader, at)).err();
        let values = world.run(reader.values(at, 400, &columns)).err();
        let slice = [tidelog::Slice { row: 400, range: 0..0 }];
        let slices = world.run(reader.slices(at, columns[7], &slice)).err();
        let sought = world.run(reader.seek(at, tidelog::Seek::Key(key))).err();
        (scanned, values, slices, sought)
    };
    let is_damage = |error: Option<Error>| matches!(error, Some(Error::Corrupt { .. }));
    let is_gone = |error: Option<Error>| matches!(error, Some(Error::SnapshotGone));
    for name in ["0.data", "7.data", "7.offsets", "keys"] {
        world.disk.flip(world.slot(1).join(name), 100, 4).unwrap();
    }
    for (reader, at) in readers.iter().zip(&snapshots) {
        let (scanned, values, slices, sought) = ask(reader, at);
        assert!(is_damage(scanned) && is_damage(values) && is_damage(slices) && is_damage(sought));
    }
    let opened = Writer::open_on(copy.clone(), &world.dir, small_options());
    let mut astray = run(&copy, opened).unwrap().unwrap();
    while manifests(&copy, &world.dir)[0] <= manifests(&world.disk, &world.dir)[0] {
        run(&copy, astray.checkpoint()).unwrap().unwrap();
    }
    let newest = world.dir.join(format!("manifest-{}", manifests(&copy, &world.dir)[0]));
    copy.copy_file(&newest, &world.disk, &newest).unwrap();
    for (reader, at) in readers.iter().zip(&snapshots) {
        let (scanned, values, slices, sought) = ask(reader, at);
        assert!(is_gone(scanned) && is_gone(values) && is_gone(slices) && is_gone(sought));
    }
    // Missing and short files are the same question.
    world.disk.set_len(&file, 0).unwrap();
    let fresh = world.store().reader();
    assert!(is_gone(world.run(fresh.values(&snapshots[0], 400, &world.columns())).err()));
    world.disk.unlink(&file).unwrap();
    let fresh = world.store().reader();
    assert!(is_gone(world.run(fresh.values(&snapshots[0], 400, &world.columns())).err()));
    // The first segment lies where both manifests say: that is damage.
    world.disk.flip(world.slot(0).join("0.data"), 100, 4).unwrap();
    let fresh = world.store().reader();
    assert!(is_damage(world.run(fresh.values(&snapshots[0], 5, &world.columns())).err()));
    // Without a manifest that can be read nobody can say.
    world.disk.flip(&newest, 100, 4).unwrap();
    let error = world.run(fresh.values(&snapshots[0], 400, &world.columns())).unwrap_err();
    assert!(matches!(&error, Error::Corrupt { path, .. } if *path == newest), "{error}");
}

// Real files.

/// Names, sizes, and the times of last change, of all that is in a directory.
fn traces(dir: &Path) -> Vec<(PathBuf, u64, [i64; 4])> {
    let mut found = Vec::new();
    let mut left = vec![dir.to_path_buf()];
    while let Some(path) = left.pop() {
        let of = std::fs::metadata(&path).unwrap();
        if of.is_dir() {
            left.extend(std::fs::read_dir(&path).unwrap().map(|entry| entry.unwrap().path()));
        }
        found.push((path, of.len(), [of.mtime(), of.mtime_nsec(), of.ctime(), of.ctime_nsec()]));
    }
    found.sort();
    found
}

async fn keys<D: Disk>(store: &Store<D>) -> Vec<u64> {
    let (at, reader) = (store.refresh().await.unwrap(), store.reader());
    let mut scan = reader.scan(&at, ..);
    let mut keys = Vec::new();
    while let Some(batch) = scan.next().await.unwrap() {
        keys.extend_from_slice(batch.keys());
    }
    keys
}

/// Appends keys up to `end`, in commits of 1 to 400 rows.
async fn write<D: Disk>(writer: &mut Writer<D>, end: u64) {
    let mut next = writer.pending().next_row();
    while next < end {
        let until = end.min(next + 1 + next * 7 % 400);
        for key in next..until {
            writer.pending().append(key, &[Value::U64(key * 3)]).unwrap();
        }
        writer.commit().await.unwrap();
        next = until;
    }
}

async fn leaves_no_trace<D: Disk + Default>() {
    let home = tempfile::tempdir().unwrap();
    let dir = home.path().join("store");
    let options = Options::default().log_bytes(64 << 10).segment_rows(2_000).inline_bytes(2 << 10);
    let schema = one_column(Kind::U64);
    let mut writer = Writer::create_on(D::default(), &dir, schema, options.clone()).await.unwrap();
    let store = Store::follow_on(D::default(), &dir, options.clone()).await.unwrap();
    for end in [1, 100, 3_000, 9_000] {
        write(&mut writer, end).await;
        let before = traces(&dir);
        assert_eq!(keys(&store).await, (0..end).collect::<Vec<_>>());
        let joining = Store::follow_on(D::default(), &dir, options.clone()).await.unwrap();
        assert_eq!(keys(&joining).await, (0..end).collect::<Vec<_>>());
        assert_eq!(traces(&dir), before);
    }
    writer.close().await.unwrap();
    let before = traces(&dir);
    assert_eq!(keys(&store).await.len(), 9_000);
    assert_eq!(traces(&dir), before);
    // A store that has gone is told from one that is damaged.
    std::fs::rename(&dir, home.path().join("elsewhere")).unwrap();
    let gone = store.refresh().await.unwrap_err();
    assert!(matches!(gone, Error::NotAStore { .. }), "{gone}");
    let error = store.reader().values(&store.snapshot(), 5, &[]).await.unwrap_err();
    assert!(matches!(error, Error::NotAStore { .. }), "{error}");
    // Another store in its place is no newer state of this one.
    let other = Writer::create_on(D::default(), &dir, Schema::new([]).unwrap(), options).await.unwrap();
    let error = store.refresh().await.unwrap_err();
    assert!(matches!(error, Error::NotAStore { .. } | Error::Corrupt { .. }), "{error}");
    assert_eq!(store.rows(), 9_000);
    other.close().await.unwrap();
}

#[test]
fn a_follower_on_posix_calls_leaves_no_trace() {
    futures::executor::block_on(leaves_no_trace::<Posix>());
}

#[test]
fn a_follower_on_glommio_leaves_no_trace() {
    if !skips(&[Need::IoUring]) {
        Glommio::run_on(Core::Any, leaves_no_trace::<Glommio>()).unwrap();
    }
}

/// In the writer's process the newest snapshot needs no look.
#[test]
fn a_writers_own_store_is_always_up_to_date() {
    let mut world = World::new(calm_disk(1), one_column(Kind::U64), Options::default());
    world.commit(5);
    world.disk.reset_counts();
    let at = world.run(world.store().refresh()).unwrap();
    assert_eq!((at.rows(), world.disk.counts().reads), (5, 0));
    let send = |_: &(dyn Send + Sync)| {};
    send(&world.store());
}
