//! Group commit: many callers, one writer, few flushes, and each caller is told the truth.
//!
//! Not here: callers and committers that are dropped (tests/drops.rs).

#![expect(clippy::unwrap_used, reason = "a test stops where it fails")]

mod common;

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::thread;

use common::history::{options, row, rows, schema};
use common::{Cell, DIR, Row, directory, rows_of, run};
use futures::executor::{LocalPool, block_on};
use futures::task::LocalSpawnExt;
use tidelog::disk::sim::{Executor, Fault, Kind, Random, SimDisk, Task};
use tidelog::disk::{Disk, Posix};
use tidelog::{Appender, Committer, Error, Options, OwnedValues, Pending, Result, Value, Writer};

/// What a caller handed over, and the row number that it was told.
type Told = (u64, Vec<Row>);

/// A store without short writes: each small commit is one flush.
fn store(seed: u64, options: Options) -> (SimDisk, Writer<SimDisk>) {
    let disk = SimDisk::new(seed);
    disk.configure(|settings| settings.short = 0.0);
    let writer = run(&disk, Writer::create_on(disk.clone(), DIR, schema(), options)).unwrap();
    (disk, writer)
}

/// Rows with one key: callers come in any order.
fn same_key(range: std::ops::Range<u64>) -> Vec<Row> {
    rows(range).iter().map(|row| Row { key: 7, ..row.clone() }).collect()
}

/// Appends rows in one plan.
async fn send(appender: Appender, rows: Vec<Row>) -> Result<Told> {
    let planned = rows.clone();
    let plan = move |pending: &mut Pending| {
        let first = pending.next_row();
        planned.iter().try_for_each(|row| row.append(pending).map(drop))?;
        Ok(first)
    };
    Ok((appender.commit_with(plan).await?, rows))
}

/// The same, with a note.
async fn send_noted(appender: Appender, rows: Vec<Row>, note: &'static [u8]) -> Result<Told> {
    let planned = rows.clone();
    let plan = move |pending: &mut Pending| {
        let first = pending.next_row();
        planned.iter().try_for_each(|row| row.append(pending).map(drop))?;
        pending.note(note)?;
        Ok(first)
    };
    Ok((appender.commit_with(plan).await?, rows))
}

/// A committer and callers on one core, all of whom have handed over before the committer looks.
struct Group {
    executor: Executor<'static>,
    committer: Option<Committer<SimDisk>>,
    appender: Option<Appender>,
}

impl Group {
    fn new(disk: &SimDisk, writer: Writer<SimDisk>) -> Self {
        let (appender, committer) = writer.share();
        let executor = Executor::new(disk, 1);
        disk.reset_counts();
        Group { executor, committer: Some(committer), appender: Some(appender) }
    }

    /// Queues what a caller wants, behind those before.
    fn call<T: 'static>(
        &mut self,
        call: impl AsyncFnOnce(Appender) -> Result<T> + 'static,
    ) -> Task<Result<T>> {
        let appender = self.appender.clone().unwrap();
        let task = self.executor.spawn(call(appender));
        while self.executor.step() {}
        task
    }

    fn send(&mut self, rows: Vec<Row>) -> Task<Result<Told>> {
        self.call(move |appender| send(appender, rows))
    }

    /// Commits all, until the committer gives the writer back, or the error that stopped it.
    fn finish(&mut self) -> Result<Writer<SimDisk>> {
        self.appender = None;
        let task = self.executor.spawn(self.committer.take().unwrap().run());
        self.executor.run().unwrap();
        task.take().unwrap()
    }
}

/// Every caller's rows are where it was told; nobody else's are there; the next life finds the same.
fn check(found: &[Row], told: &[Told]) {
    for (first, rows) in told {
        let first = usize::try_from(*first).unwrap();
        assert!(found[first..first + rows.len()] == *rows, "rows at {first}");
    }
    assert_eq!(found.len(), told.iter().map(|(_, rows)| rows.len()).sum::<usize>());
}

fn check_all(disk: &SimDisk, writer: Writer<SimDisk>, told: &[Told]) {
    check(&run(disk, rows_of(&writer)).unwrap(), told);
    run(disk, writer.close()).unwrap();
    let writer = run(disk, Writer::open_on(disk.clone(), DIR, options())).unwrap();
    check(&run(disk, rows_of(&writer)).unwrap(), told);
}

fn ok<T>(task: &Task<Result<T>>) -> T {
    task.take().unwrap().unwrap_or_else(|error| panic!("{error}"))
}

fn err<T>(task: &Task<Result<T>>) -> Error {
    task.take().unwrap().map(drop).unwrap_err()
}

#[test]
fn sixty_four_tasks_share_their_flushes() {
    let (disk, writer) = store(1, Options::default());
    let (appender, committer) = writer.share();
    let mut pool = LocalPool::new();
    let writer = pool.spawner().spawn_local_with_handle(committer.run()).unwrap();
    disk.reset_counts();
    let callers: Vec<_> = (0..64)
        .map(|caller| {
            let appender = appender.clone();
            let calls = async move {
                let mut told = Vec::new();
                for i in 0..50 {
                    told.push(
                        send(appender.clone(), same_key(caller * 50 + i..caller * 50 + i + 1)).await.unwrap(),
                    );
                }
                told
            };
            pool.spawner().spawn_local_with_handle(calls).unwrap()
        })
        .collect();
    drop(appender);
    let told: Vec<Told> = callers.into_iter().flat_map(|caller| pool.run_until(caller)).collect();
    let counts = disk.counts();
    // 64 rows, 50 times: a flush for each time, and a fifth to spare.
    assert!(counts.flushes >= 50 && counts.flushes <= 60, "{counts:?}");
    assert_eq!(counts.flushes, counts.durable_writes);
    let writer = pool.run_until(writer).unwrap();
    check_all(&disk, writer, &told);
}

#[test]
fn callers_without_an_order_share_most_of_their_flushes() {
    // The simulated executor polls in any order: what a yield gives the others is luck.
    let (mut rows, mut flushes) = (0, 0);
    for seed in 0..20 {
        let (disk, writer) = store(seed, Options::default());
        let (appender, committer) = writer.share();
        let mut executor = Executor::new(&disk, seed);
        let committer = executor.spawn(committer.run());
        disk.reset_counts();
        let callers: Vec<_> = (0..64)
            .map(|caller| {
                let appender = appender.clone();
                executor.spawn(async move {
                    let mut told = Vec::new();
                    for i in 0..5 {
                        let rows = same_key(caller * 5 + i..caller * 5 + i + 1);
                        told.push(send(appender.clone(), rows).await.unwrap());
                    }
                    told
                })
            })
            .collect();
        drop(appender);
        executor.run().unwrap();
        flushes += disk.counts().flushes;
        rows += 64 * 5;
        let told: Vec<Told> = callers.iter().flat_map(|caller| caller.take().unwrap()).collect();
        check_all(&disk, committer.take().unwrap().unwrap(), &told);
    }
    assert!(flushes * 8 < rows, "{flushes} flushes for {rows} rows");
}

#[test]
fn two_notes_are_two_commits_and_one_is_none() {
    let (disk, writer) = store(2, options());
    let store = writer.store();
    let mut group = Group::new(&disk, writer);
    let tasks = [
        group.send(same_key(0..2)),
        group.call(|appender| send_noted(appender, same_key(2..4), b"first")),
        group.send(same_key(4..5)),
        group.call(|appender| send_noted(appender, same_key(5..6), b"second")),
        group.call(|appender| send_noted(appender, Vec::new(), b"third")),
        group.send(same_key(6..9)),
    ];
    let writer = group.finish().unwrap();
    assert_eq!(disk.counts().durable_writes, 3);
    assert_eq!(writer.note().as_deref(), Some(&b"third"[..]));
    assert_eq!(store.snapshot().note(), Some(&b"third"[..]));
    let told: Vec<Told> = tasks.iter().map(ok).collect();
    assert_eq!(told.iter().map(|(first, _)| *first).collect::<Vec<_>>(), [0, 2, 4, 5, 6, 6]);
    check_all(&disk, writer, &told);
}

#[test]
fn a_large_caller_behind_small_ones_is_committed_alone() {
    let (disk, writer) = store(3, options());
    let mut group = Group::new(&disk, writer);
    let sizes = [0..3, 3..4, 4..100, 100..102, 102..110];
    let tasks = sizes.map(|range| group.send(same_key(range)));
    let writer = group.finish().unwrap();
    // Two small ones together, the large one, the two behind it together.
    let counts = disk.counts();
    assert_eq!(counts.durable_writes, 3, "{counts:?}");
    assert!(counts.syncs > 0);
    let told: Vec<Told> = tasks.iter().map(ok).collect();
    check_all(&disk, writer, &told);
}

#[test]
fn a_group_ends_where_the_log_does() {
    for seed in 0..8 {
        let (disk, writer) = store(seed, options());
        let mut group = Group::new(&disk, writer);
        // Together far more than both log files and a segment hold, each of them small.
        let tasks: Vec<_> = (0..100).map(|caller| group.send(same_key(caller * 8..caller * 8 + 8))).collect();
        let writer = group.finish().unwrap();
        let counts = disk.counts();
        assert!(counts.renames >= 2 && counts.create_dirs >= 2, "{counts:?}");
        assert!(counts.durable_writes < 90, "{counts:?}");
        let told: Vec<Told> = tasks.iter().map(ok).collect();
        check_all(&disk, writer, &told);
    }
}

#[test]
fn limits_count_each_callers_own_rows() {
    let memory = options().memory_bytes(20_000);
    let (disk, writer) = store(4, memory);
    let mut group = Group::new(&disk, writer);
    // A row takes some 470 bytes.
    let sizes = [0..30, 30..60, 60..65, 65..95, 95..96];
    let tasks = sizes.map(|range| group.send(same_key(range)));
    let over = group.send(same_key(0..90));
    let last = group.send(same_key(96..98));
    let writer = group.finish().unwrap();
    let mut told: Vec<Told> = tasks.iter().map(ok).collect();
    told.push(ok(&last));
    assert!(matches!(err(&over), Error::Limit { max: 20_000, .. }));
    check_all(&disk, writer, &told);
}

#[test]
fn full_is_told_to_the_large_caller_only() {
    let (disk, writer) = store(5, options());
    let mut group = Group::new(&disk, writer);
    disk.set_space(Some(disk.used_space()));
    let before = [group.send(same_key(0..3)), group.send(same_key(3..5))];
    let large = group.send(same_key(5..700));
    let behind = [group.send(same_key(700..702)), group.send(same_key(702..705))];
    let writer = group.finish().unwrap();
    assert!(matches!(err(&large), Error::Full { .. }));
    let told: Vec<Told> = before.iter().chain(&behind).map(ok).collect();
    assert_eq!(told.iter().map(|(first, _)| *first).collect::<Vec<_>>(), [0, 3, 5, 7]);
    disk.set_space(None);
    let mut group = Group::new(&disk, writer);
    let again = group.send(same_key(5..700));
    let writer = group.finish().unwrap();
    let mut told = told;
    told.push(ok(&again));
    check_all(&disk, writer, &told);
}

#[test]
fn a_plan_that_fails_leaves_no_trace() {
    let (disk, writer) = store(6, options());
    let mut group = Group::new(&disk, writer);
    let first = group.call(|appender| send_noted(appender, same_key(0..2), b"kept"));
    let failed = group.call(async |appender: Appender| {
        let plan = |pending: &mut Pending| {
            assert_eq!((pending.rows(), pending.next_row()), (2, 2));
            same_key(100..103).iter().try_for_each(|row| row.append(pending).map(drop))?;
            pending.note(b"lost")?;
            // Its own error, behind what went well.
            pending.append(6, &[]).map(drop)
        };
        appender.commit_with(plan).await
    });
    let next = group.send(same_key(2..4));
    let writer = group.finish().unwrap();
    assert!(matches!(err(&failed), Error::KeyOrder { key: 6, last: 7, .. }));
    assert_eq!(writer.note().as_deref(), Some(&b"kept"[..]));
    // One commit all the same.
    assert_eq!(disk.counts().durable_writes, 1);
    let told = [ok(&first), ok(&next)];
    check_all(&disk, writer, &told);
}

#[test]
fn clear_in_a_plan_forgets_only_its_own_rows() {
    let (disk, writer) = store(7, options());
    let mut group = Group::new(&disk, writer);
    let first = group.call(|appender| send_noted(appender, same_key(0..2), b"kept"));
    let second = group.call(async |appender: Appender| {
        let plan = |pending: &mut Pending| {
            same_key(50..60).iter().try_for_each(|row| row.append(pending).map(drop))?;
            pending.note(b"forgotten")?;
            pending.clear();
            assert_eq!((pending.rows(), pending.next_row()), (2, 2));
            let first = same_key(2..3)[0].append(pending)?;
            Ok((first, same_key(2..3)))
        };
        appender.commit_with(plan).await
    });
    let third = group.send(same_key(3..4));
    let writer = group.finish().unwrap();
    assert_eq!(writer.note().as_deref(), Some(&b"kept"[..]));
    assert_eq!(disk.counts().durable_writes, 1);
    let told = [ok(&first), ok(&second), ok(&third)];
    check_all(&disk, writer, &told);
}

#[test]
fn of_callers_that_expect_the_same_rows_one_wins() {
    let (disk, writer) = store(8, options());
    let mut group = Group::new(&disk, writer);
    let tasks: Vec<_> = (0..6)
        .map(|caller| {
            group.call(async move |appender: Appender| {
                let plan = move |pending: &mut Pending| {
                    // Half of them expect what the first of these makes true.
                    pending.expect_rows(caller % 2)?;
                    Ok((same_key(caller..caller + 1)[0].append(pending)?, same_key(caller..caller + 1)))
                };
                appender.commit_with(plan).await
            })
        })
        .collect();
    let writer = group.finish().unwrap();
    let told = [ok(&tasks[0]), ok(&tasks[1])];
    for (caller, task) in (0..).zip(&tasks).skip(2) {
        let error = err(task);
        assert!(matches!(error, Error::Conflict { expected, found: 2 } if expected == caller % 2), "{error}");
    }
    assert_eq!(disk.counts().durable_writes, 1);
    check_all(&disk, writer, &told);
}

#[test]
fn rows_that_were_pending_are_the_first_commit() {
    let (disk, mut writer) = store(9, options());
    for row in rows(0..4) {
        row.append(writer.pending()).unwrap();
    }
    let mut group = Group::new(&disk, writer);
    let task = group.send(same_key(4..6));
    let writer = group.finish().unwrap();
    check_all(&disk, writer, &[(0, rows(0..4).to_vec()), ok(&task)]);
}

#[test]
fn the_writer_comes_back_when_the_last_appender_has_gone() {
    let (disk, writer) = store(10, options());
    let (appender, committer) = writer.share();
    let mut executor = Executor::new(&disk, 10);
    let committer = executor.spawn(committer.run());
    while executor.step() {}
    assert!(!committer.is_finished(), "there is an appender");
    let other = appender.clone();
    drop(appender);
    while executor.step() {}
    assert!(!committer.is_finished(), "there is another one");
    let task = executor.spawn(send(other, same_key(0..1)));
    executor.run().unwrap();
    let mut writer = committer.take().unwrap().unwrap();
    // It is a writer as any other.
    Row { key: 9, ..row(1) }.append(writer.pending()).unwrap();
    run(&disk, writer.commit()).unwrap();
    check_all(&disk, writer, &[ok(&task), (1, vec![Row { key: 9, ..row(1) }])]);
}

#[test]
fn an_error_that_stops_the_writer_is_told_to_all() {
    for kind in [Kind::WriteDurable, Kind::SyncFiles] {
        let (disk, writer) = store(11, options());
        let (appender, committer) = writer.share();
        let mut executor = Executor::new(&disk, 11);
        let first = executor.spawn(send(appender.clone(), same_key(0..2)));
        while executor.step() {}
        let name = if kind == Kind::WriteDurable { "log-a" } else { "keys" };
        disk.fail_next(kind, name, Fault::IO);
        let second = executor.spawn(send(appender.clone(), same_key(2..900)));
        while executor.step() {}
        let third = executor.spawn(send(appender.clone(), same_key(900..901)));
        while executor.step() {}
        let committer = executor.spawn(committer.run());
        executor.run().unwrap();
        assert!(matches!(committer.take().unwrap(), Err(Error::Io { .. })));
        if kind == Kind::WriteDurable {
            // The first commit fails: the others wait in vain.
            assert!(matches!(err(&first), Error::Io { .. }));
            assert!(matches!(err(&second), Error::Poisoned { .. }));
        } else {
            assert_eq!(ok(&first).0, 0);
            assert!(matches!(err(&second), Error::Io { .. }));
        }
        assert!(matches!(err(&third), Error::Poisoned { .. }));
        let late = run(&disk, send(appender, same_key(0..1)));
        assert!(matches!(late, Err(Error::Poisoned { .. })));
        let writer = run(&disk, Writer::open_on(disk.clone(), DIR, options())).unwrap();
        let found = run(&disk, rows_of(&writer)).unwrap();
        let is_first_only = found == same_key(0..2);
        assert!(is_first_only || kind == Kind::WriteDurable && found.is_empty(), "{} rows", found.len());
    }
}

#[test]
fn a_plan_that_panics_ends_the_committer_and_nobody_waits() {
    let (disk, writer) = store(12, options());
    let (appender, committer) = writer.share();
    let mut executor = Executor::new(&disk, 12);
    let before = executor.spawn(send(appender.clone(), same_key(0..2)));
    while executor.step() {}
    let mut executor = AssertUnwindSafe(executor);
    let _panics = executor.spawn({
        let appender = appender.clone();
        async move { appender.commit_with(|_| -> Result<()> { panic!("as planned") }).await }
    });
    while executor.step() {}
    let behind = executor.spawn(send(appender.clone(), same_key(2..3)));
    while executor.step() {}
    let run_all = executor.spawn(committer.run());
    let panicked = catch_unwind(AssertUnwindSafe(|| while executor.step() {}));
    assert!(panicked.is_err());
    executor.cancel(&run_all);
    executor.run().unwrap();
    assert!(matches!(err(&before), Error::Closed));
    assert!(matches!(err(&behind), Error::Closed));
    let writer = run(&disk, Writer::open_on(disk.clone(), DIR, options())).unwrap();
    assert_eq!(run(&disk, rows_of(&writer)).unwrap(), []);
}

#[test]
fn a_batch_goes_through_the_queue_as_it_is() {
    let (disk, writer) = store(13, options());
    let mut group = Group::new(&disk, writer);
    let batch = |keys: Vec<u64>| {
        vec![
            OwnedValues::F64(vec![0.5; keys.len()]),
            OwnedValues::Text { data: "né".into(), ends: vec![0, 1, 3] },
            OwnedValues::Bytes { data: vec![1, 2], ends: vec![2, 2, 2] },
        ]
    };
    let good = group.call(async move |appender: Appender| {
        appender.append_batch(vec![1, 1, 2], batch(vec![1, 1, 2])).await
    });
    let bad = group
        .call(async move |appender: Appender| appender.append_batch(vec![2, 3], batch(vec![2, 3])).await);
    let one = group.call(async move |appender: Appender| {
        let values = [Value::F64(1.5), Value::Null, Value::Bytes(b"x")];
        appender.append(2, &values).await
    });
    let writer = group.finish().unwrap();
    assert_eq!(ok(&good), 0..3);
    assert!(matches!(err(&bad), Error::Schema { index: 2, .. }));
    assert_eq!(ok(&one), 3);
    let found = run(&disk, rows_of(&writer)).unwrap();
    assert_eq!(found.iter().map(|row| row.key).collect::<Vec<_>>(), [1, 1, 2, 2]);
    assert_eq!(found[2].cells[1], Cell::Text("é".into()));
    assert_eq!(found[3].cells, [Cell::F64(1.5_f64.to_bits()), Cell::Null, Cell::Bytes(b"x".to_vec())]);
}

/// Four threads hand over, one commits.
fn threads<D: Disk>(disk: D, dir: std::path::PathBuf) {
    let (share, shared) = std::sync::mpsc::channel();
    let committing = thread::spawn({
        let (disk, dir) = (disk.clone(), dir.clone());
        move || {
            block_on(async {
                let writer = Writer::create_on(disk, &dir, schema(), options()).await.unwrap();
                let (appender, committer) = writer.share();
                share.send(appender).unwrap();
                let writer = committer.run().await.unwrap();
                let found = rows_of(&writer).await.unwrap();
                writer.close().await.unwrap();
                found
            })
        }
    });
    let appender = shared.recv().unwrap();
    let callers: Vec<_> = (0..4)
        .map(|thread| {
            let appender = appender.clone();
            thread::spawn(move || {
                let mut random = Random::new(thread);
                let mut told = Vec::new();
                let mut next = thread * 900;
                for _ in 0..60 {
                    let count = if random.below(12) == 0 { 60 } else { random.below(9) };
                    told.push(block_on(send(appender.clone(), same_key(next..next + count))).unwrap());
                    next += count;
                }
                told
            })
        })
        .collect();
    drop(appender);
    let told: Vec<Told> = callers.into_iter().flat_map(|caller| caller.join().unwrap()).collect();
    check(&committing.join().unwrap(), &told);
    block_on(async {
        let writer = Writer::open_on(disk.clone(), &dir, options()).await.unwrap();
        check(&rows_of(&writer).await.unwrap(), &told);
    });
}

#[test]
fn appenders_work_from_other_threads_on_the_simulated_disk() {
    threads(SimDisk::new(14), DIR.into());
}

#[test]
fn appenders_work_from_other_threads_on_posix_calls() {
    let dir = directory(false);
    threads(Posix::default(), dir.path().join("store"));
}

/// One caller's whim.
async fn whim(appender: Appender, seed: u64, number: u64) -> Result<Told> {
    let mut random = Random::new(seed ^ number << 32);
    let count = [0, 1, 1, 2, 5, 12, 60][random.index(7)];
    let rows = same_key(number * 60..number * 60 + count);
    let (fails, clears, notes) = (random.below(6) == 0, random.below(5) == 0, random.below(4) == 0);
    let planned = rows.clone();
    let plan = move |pending: &mut Pending| {
        if clears {
            same_key(900..910).iter().try_for_each(|row| row.append(pending).map(drop))?;
            pending.clear();
        }
        let first = pending.next_row();
        planned.iter().try_for_each(|row| row.append(pending).map(drop))?;
        if notes {
            pending.note(&number.to_le_bytes())?;
        }
        if fails { Err(Error::Closed) } else { Ok(first) }
    };
    Ok((appender.commit_with(plan).await?, rows))
}

#[test]
fn whatever_callers_do_each_is_told_the_truth() {
    let (mut kept, mut failed, mut full) = (0, 0, 0);
    for seed in 0..100 {
        let (disk, writer) = store(seed, options());
        let (appender, committer) = writer.share();
        let mut executor = Executor::new(&disk, seed);
        let committer = executor.spawn(committer.run());
        if seed % 3 == 0 {
            disk.set_space(Some(disk.used_space() + 12 * 4096));
        }
        let callers: Vec<_> = (0..10)
            .map(|caller| {
                let appender = appender.clone();
                executor.spawn(async move {
                    let mut told = Vec::new();
                    for i in 0..6 {
                        told.push(whim(appender.clone(), seed, caller * 6 + i).await);
                    }
                    told
                })
            })
            .collect();
        drop(appender);
        executor.run().unwrap();
        disk.set_space(None);
        let mut told: Vec<Told> = Vec::new();
        for result in callers.iter().flat_map(|caller| caller.take().unwrap()) {
            match result {
                Ok(one) => told.push(one),
                Err(Error::Closed) => failed += 1,
                Err(Error::Full { .. }) => full += 1,
                Err(error) => panic!("{error}"),
            }
        }
        kept += told.len();
        check_all(&disk, committer.take().unwrap().unwrap(), &told);
    }
    assert!(kept > 3000 && failed > 500 && full > 100, "{kept} kept, {failed} failed, {full} full");
}
