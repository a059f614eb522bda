//! Each operation of the history failed once, in each way: the right error, poison or `Full` exactly as
//! DESIGN.md says, nothing acknowledged lost, no sync asked for again.
//!
//! Which operation has which number is learned by letting each one hang: what never completes is named.
//!
//! Not here: a disk that is really full (tests/full.rs), futures that are dropped (tests/drops.rs), crashes
//! (tests/crash.rs).

#![expect(clippy::unwrap_used, reason = "a test stops where it fails")]

mod common;
#[path = "faults/sealing.rs"]
mod sealing;

use std::collections::BTreeMap;
use std::io;
use std::sync::Mutex;

use common::history::{Life, MORE, STEPS, Step, Tally, is_poisoned, name, options, row};
use common::{DIR, image, run};
use tidelog::disk::sim::{self, Counts, Fault, Kind, SimDisk, Stopped};
use tidelog::{Error, Result, Writer};

const SEEDS: std::ops::Range<u64> = 0..2;

/// An operation of the history.
#[derive(Clone, Debug)]
struct Operation {
    number: u64,
    /// As the simulated disk calls it.
    kind: String,
    path: String,
}

/// What became of the step in which an operation went wrong.
struct Failed {
    life: Life,
    step: Step,
    /// What was asked of the disk before this step.
    before: Counts,
    result: Result<Result<()>, Stopped>,
}

/// Lives until the step in which operation `number` goes wrong.
fn fail(seed: u64, number: u64, fault: Fault) -> (usize, Failed) {
    let disk = SimDisk::new(seed);
    disk.configure(|settings| {
        settings.short = 0.0;
        // Every other disk forgets what a failed sync should have written.
        settings.lossy_sync_failure = seed % 2 == 1;
    });
    disk.fail_at(number, fault);
    let mut life = Life::new(disk.clone());
    for (place, step) in STEPS.iter().enumerate() {
        let before = disk.counts();
        let result = sim::run(&disk, life.step(*step));
        if disk.operations() > number {
            return (place, Failed { life, step: *step, before, result });
        }
        assert!(matches!(result, Ok(Ok(()))), "{step:?} before operation {number}: {result:?}");
    }
    panic!("there is no operation {number}");
}

/// How many operations the history has.
fn operations(seed: u64) -> u64 {
    let disk = SimDisk::new(seed);
    disk.configure(|settings| {
        settings.short = 0.0;
        settings.lossy_sync_failure = seed % 2 == 1;
    });
    let mut life = Life::new(disk.clone());
    STEPS.iter().for_each(|step| run(&disk, life.step(*step)).unwrap());
    disk.operations()
}

/// Every operation, by letting it hang.
fn learn(seed: u64) -> Vec<Operation> {
    static LEARNED: Mutex<BTreeMap<u64, Vec<Operation>>> = Mutex::new(BTreeMap::new());
    LEARNED.lock().unwrap().entry(seed).or_insert_with(|| learn_now(seed)).clone()
}

fn learn_now(seed: u64) -> Vec<Operation> {
    let learned = |number: u64| {
        let (_, failed) = fail(seed, number, Fault::Hang);
        let Err(Stopped::Stuck(what)) = &failed.result else {
            panic!("operation {number}: {:?}", failed.result)
        };
        // "operation 17: Grow of /store/log-a, Some(Hang)"
        let mark = format!("operation {number}: ");
        let rest = &what[what.find(&mark).unwrap() + mark.len()..];
        let (kind, rest) = rest.split_once(" of ").unwrap();
        let (path, _) = rest.split_once(", ").unwrap();
        Operation { number, kind: kind.to_owned(), path: path.to_owned() }
    };
    (0..operations(seed)).map(learned).collect()
}

/// A poisoned writer answers so, and does nothing: it asks nothing of the disk, but to take its files back.
fn check_poisoned(life: &mut Life, disk: &SimDisk) {
    let (before, asked) = (image(disk), disk.operations());
    row(3_999).append(life.writer().pending()).unwrap();
    assert!(is_poisoned(&run(disk, life.writer().commit())));
    life.writer().pending().clear();
    assert!(is_poisoned(&run(disk, life.writer().commit())));
    assert!(is_poisoned(&run(disk, life.writer().checkpoint())));
    assert!(is_poisoned(&run(disk, life.writer().sync())));
    assert_eq!(disk.operations(), asked);
    run(disk, life.check_readers());
    let counts = disk.counts();
    let closed = run(disk, life.writer.take().unwrap().close());
    assert!(is_poisoned(&closed), "{closed:?}");
    let closes = disk.counts().closes - counts.closes;
    assert_eq!(Counts { closes: counts.closes, ..disk.counts() }, counts, "{closes} files closed");
    assert!(before == image(disk), "a poisoned writer wrote");
    run(disk, life.check_readers());
}

/// Every way in which the story can go on: in this process, in another one, behind a power cut.
fn check_afterwards(life: &Life, disk: &SimDisk, seed: u64) {
    let fork = disk.fork(seed ^ 0xC).power_cut();
    run(&fork, life.check_goes_on(&fork));
    let fork = disk.fork(seed ^ 0xD).kill();
    run(&fork, life.check_goes_on(&fork));
    // What was in flight beside the operation that failed may hold a file for a while.
    disk.settle();
    run(disk, life.check_goes_on(disk));
    run(disk, life.check_readers());
}

/// The error names what was asked for: the file, or the directory whose files were.
fn check_names(error: &Error, operation: &Operation) {
    let (Error::Io { path, source, .. } | Error::Full { path, source }) = error else {
        panic!("{operation:?}: {error}");
    };
    let path = path.to_str().unwrap();
    // A rename is named by what it leads to; a directory is made beside the one that is synced for it.
    let is_named = operation.path.starts_with(path) || operation.kind == "Rename" || operation.path == "/";
    assert!(is_named, "{operation:?}: {error}");
    assert!(source.raw_os_error().is_some(), "{error}");
}

#[test]
fn an_operation_that_fails_poisons_and_loses_nothing() {
    let mut tally = Tally::new();
    for seed in SEEDS {
        for operation in learn(seed) {
            let (_, failed) = fail(seed, operation.number, Fault::IO);
            let Failed { mut life, step, result, .. } = failed;
            let disk = life.disk.clone();
            *tally.entry(operation.kind.clone()).or_default() += 1;
            let is_leftover = operation.kind == "Remove" && !operation.path.contains(".tmp-");
            match result.unwrap() {
                Ok(()) => assert!(is_leftover, "{operation:?}: nobody was told"),
                Err(error) => {
                    assert!(!is_leftover, "{operation:?}: {error}");
                    assert!(matches!(error, Error::Io { .. }), "{operation:?}: {error}");
                    check_names(&error, &operation);
                    run(&disk, life.check_readers());
                    if life.writer.is_some() {
                        check_poisoned(&mut life, &disk);
                    }
                }
            }
            life.writer = None;
            if step == Step::Create {
                check_creation(&disk);
            } else {
                check_afterwards(&life, &disk, seed);
            }
        }
    }
    let kinds: Vec<&str> = tally.keys().map(String::as_str).collect();
    let expected = [
        "Close",
        "CreateDir",
        "Grow",
        "Len",
        "List",
        "Lock",
        "Open",
        "Read",
        "Remove",
        "Rename",
        "SyncDir",
        "SyncFiles",
        "Write",
        "WriteDurable",
    ];
    assert_eq!(kinds, expected);
    let count: u64 = tally.values().sum();
    assert_eq!(count, SEEDS.map(operations).sum());
    assert!(count > 1000, "{tally:?}");
}

/// Creation failed: there is a store, or what is there can be made one.
fn check_creation(disk: &SimDisk) {
    for fork in [disk.fork(1).power_cut(), disk.fork(2).kill(), disk.clone()] {
        fork.settle();
        run(&fork, async {
            let created = Writer::create_on(fork.clone(), DIR, common::history::schema(), options()).await;
            let mut writer = match created {
                Err(Error::Exists { .. }) => Writer::open_on(fork.clone(), DIR, options()).await.unwrap(),
                created => created.unwrap(),
            };
            row(0).append(writer.pending()).unwrap();
            writer.commit().await.unwrap();
            assert_eq!(common::rows_of(&writer).await.unwrap(), [row(0)]);
        });
    }
}

/// Whether lack of space in this operation is `Full`: it is asked for before the first byte that counts.
fn is_step_zero(operation: &Operation, failed: &Failed) -> bool {
    let asked = failed.life.disk.counts();
    let renamed = asked.renames - failed.before.renames > 0;
    let is_new_slot = operation.path.contains("/raw-");
    match operation.kind.as_str() {
        // Space is obtained before the write that counts, wherever that is.
        "Grow" | "CreateDir" | "Lock" => true,
        // A rename that fails for anything but EIO has changed nothing, says POSIX.
        "Rename" => true,
        // Pages that a checkpoint brings up to date, sums, a temporary: not those of a large commit. A sync that
        // failed, for whatever reason, is never asked for again: only a temporary is made anew.
        "SyncFiles" => operation.path.contains(".tmp-"),
        "Write" | "Close" | "Open" => match failed.step {
            Step::Large(_) | Step::Open => false,
            Step::Create => {
                operation.path.contains("/log-") || is_new_slot || operation.path.contains(".tmp-")
            }
            _ => !renamed,
        },
        _ => false,
    }
}

#[test]
fn an_operation_that_lacks_space_is_full_before_anything_counts_and_poisons_behind() {
    let (mut full, mut poisoned) = (Tally::new(), Tally::new());
    for seed in SEEDS {
        // Who asks and reads needs no space.
        let asks = |operation: &Operation| matches!(operation.kind.as_str(), "Len" | "List" | "Read");
        for operation in learn(seed).into_iter().filter(|operation| !asks(operation)) {
            let (place, mut failed) = fail(seed, operation.number, Fault::FULL);
            let is_step_zero = is_step_zero(&operation, &failed);
            let disk = failed.life.disk.clone();
            let result = std::mem::replace(&mut failed.result, Ok(Ok(()))).unwrap();
            match result {
                Ok(()) => {
                    // Less space is tried for, or a leftover stays.
                    let is_leftover = operation.kind == "Remove" && !operation.path.contains(".tmp-");
                    assert!(is_leftover || operation.kind == "Grow", "{operation:?}");
                    finish(&mut failed.life, place + 1);
                }
                Err(error) if failed.step == Step::Create => {
                    check_names(&error, &operation);
                    if matches!(operation.kind.as_str(), "Grow" | "CreateDir" | "Write") {
                        assert!(matches!(error, Error::Full { .. }), "{operation:?}: {error}");
                    }
                    check_creation(&disk);
                }
                Err(error @ Error::Full { .. }) => {
                    assert!(is_step_zero, "{operation:?} in {:?}: {error}", failed.step);
                    check_names(&error, &operation);
                    *full.entry(operation.kind.clone()).or_default() += 1;
                    check_full(&mut failed, &operation, place, seed);
                }
                Err(error) => {
                    assert!(!is_step_zero, "{operation:?} in {:?}: {error}", failed.step);
                    assert!(matches!(error, Error::Io { .. }), "{operation:?}: {error}");
                    check_names(&error, &operation);
                    *poisoned.entry(operation.kind.clone()).or_default() += 1;
                    if failed.life.writer.is_some() {
                        check_poisoned(&mut failed.life, &disk);
                    }
                    failed.life.writer = None;
                    check_afterwards(&failed.life, &disk, seed);
                }
            }
        }
    }
    for kind in ["Grow", "CreateDir", "Open", "Write", "SyncFiles", "Rename"] {
        assert!(full.get(kind).is_some_and(|count| *count > 3), "{kind}: {full:?}");
    }
    for kind in ["Write", "WriteDurable", "SyncFiles", "SyncDir"] {
        assert!(poisoned.get(kind).is_some_and(|count| *count > 3), "{kind}: {poisoned:?}");
    }
}

/// `Full` has changed nothing; the same call works now.
fn check_full(failed: &mut Failed, operation: &Operation, place: usize, seed: u64) {
    let disk = failed.life.disk.clone();
    run(&disk, failed.life.check_readers());
    for fork in [disk.fork(seed ^ 0xE).power_cut(), disk.fork(seed ^ 0xF).kill()] {
        let writer = run(&fork, failed.life.check_open(&fork));
        assert_eq!(
            writer.recovery().rows,
            failed.life.acknowledged,
            "{operation:?}: a row that was refused is there"
        );
    }
    if failed.step == Step::Close {
        run(&disk, failed.life.step(Step::Open)).unwrap();
    }
    run(&disk, failed.life.step(failed.step)).unwrap();
    finish(&mut failed.life, place + 1);
}

/// The rest of the history, and a last look.
fn finish(life: &mut Life, from: usize) {
    let disk = life.disk.clone();
    STEPS[from..].iter().for_each(|step| run(&disk, life.step(*step)).unwrap());
    let writer = run(&disk, life.check_open(&disk));
    drop(writer);
    let cut = disk.power_cut();
    run(&cut, life.check_goes_on(&cut));
}

#[test]
fn short_reads_and_writes_are_completed() {
    let mut tally = Tally::new();
    for seed in SEEDS {
        let transfers = learn(seed)
            .into_iter()
            .filter(|operation| matches!(operation.kind.as_str(), "Read" | "Write" | "WriteDurable"));
        for operation in transfers {
            // Nothing (of a read it means the end of the file), a sector, all but one, a page and a sector.
            for count in
                [0, 512, 3584, 4608].into_iter().filter(|count| *count > 0 || operation.kind != "Read")
            {
                let (place, mut failed) = fail(seed, operation.number, Fault::Short(count));
                assert!(matches!(failed.result, Ok(Ok(()))), "{operation:?}: {:?}", failed.result);
                *tally.entry(operation.kind.clone()).or_default() += 1;
                finish(&mut failed.life, place + 1);
            }
        }
    }
    assert!(tally.len() == 3 && tally.values().all(|count| *count > 100), "{tally:?}");
}

#[test]
fn a_write_that_takes_nothing_twice_is_an_error() {
    let mut life = Life::new(SimDisk::new(1));
    let disk = life.disk.clone();
    disk.configure(|settings| settings.short = 0.0);
    run(&disk, life.step(Step::Create)).unwrap();
    for count in [0, 512] {
        disk.fail_next(Kind::WriteDurable, "log-a", Fault::Short(count));
    }
    match run(&disk, life.step(Step::Small(3))) {
        Err(Error::Io { source, .. }) => assert_eq!(source.kind(), io::ErrorKind::WriteZero),
        other => panic!("{other:?}"),
    }
    check_poisoned(&mut life, &disk);
    check_afterwards(&life, &disk, 1);
}

#[test]
fn an_operation_that_never_completes_holds_what_it_may_still_write() {
    let mut tally = Tally::new();
    for seed in SEEDS {
        for operation in learn(seed) {
            let (_, failed) = fail(seed, operation.number, Fault::Hang);
            let Failed { mut life, step, .. } = failed;
            let disk = life.disk.clone();
            *tally.entry(operation.kind.clone()).or_default() += 1;
            run(&disk, life.check_readers());
            if let Some(writer) = &mut life.writer {
                // Its future was dropped when it had begun.
                assert!(is_poisoned(&run(&disk, writer.checkpoint())), "{operation:?}");
            }
            life.writer = None;
            if step == Step::Create {
                check_creation_hangs(&disk, &operation);
                continue;
            }
            for fork in [disk.fork(seed ^ 0x1A).power_cut(), disk.fork(seed ^ 0x1B).kill()] {
                run(&fork, life.check_goes_on(&fork));
            }
            check_same_process(life, &operation, seed);
        }
    }
    assert_eq!(tally.len(), 14, "{tally:?}");
}

/// While an operation hangs, this process cannot open the store again if it could still write; where it can, what
/// comes to pass later harms nothing.
fn check_same_process(mut life: Life, operation: &Operation, seed: u64) {
    let disk = life.disk.clone();
    let opened = run(&disk, Writer::open_on(disk.clone(), DIR, options()));
    if matches!(operation.kind.as_str(), "Write" | "WriteDurable" | "Grow" | "SyncFiles") {
        assert!(matches!(opened, Err(Error::Locked { .. })), "{operation:?}: {opened:?}");
    }
    match opened {
        Err(Error::Locked { .. }) => {}
        Err(error) => panic!("{operation:?}: {error}"),
        Ok(writer) => {
            life.take_over(writer);
            // It goes on for a while; the end of the process decides what hangs.
            let more = MORE[usize::try_from(operation.number + seed).unwrap() % MORE.len()];
            more.iter().for_each(|step| run(&disk, life.step(*step)).unwrap());
            life.writer = None;
            for fork in [disk.fork(seed ^ 0x1C).power_cut(), disk.fork(seed ^ 0x1D).kill()] {
                run(&fork, life.check_goes_on(&fork));
            }
        }
    }
}

/// As `check_same_process`, where there was no store before.
fn check_creation_hangs(disk: &SimDisk, operation: &Operation) {
    for fork in [disk.fork(3).power_cut(), disk.fork(4).kill()] {
        check_creation(&fork);
    }
    let created =
        run(disk, Writer::create_on(disk.clone(), DIR, common::history::schema(), options())).map(drop);
    match created {
        Ok(()) | Err(Error::Exists { .. } | Error::Locked { .. }) => {}
        Err(error) => panic!("{operation:?}: {error}"),
    }
}

#[test]
fn a_file_system_that_turns_read_only_stops_the_writer_and_nobody_else() {
    let mut stopped = Tally::new();
    for seed in SEEDS {
        for number in (0..operations(seed)).step_by(3) {
            let disk = SimDisk::new(seed);
            disk.configure(|settings| settings.short = 0.0);
            disk.fail_from(number, Fault::READ_ONLY);
            let mut life = Life::new(disk.clone());
            let mut steps = STEPS.iter();
            let failed =
                steps.find_map(|step| run(&disk, life.step(*step)).err().map(|error| (*step, error)));
            let Some((step, error)) = failed else { continue };
            assert!(matches!(error, Error::Io { .. }), "{step:?}: {error}");
            *stopped.entry(name(step)).or_default() += 1;
            run(&disk, life.check_readers());
            if life.writer.is_some() {
                check_poisoned(&mut life, &disk);
            }
            if step == Step::Create {
                continue;
            }
            // Nobody can write while it is so, and nothing is lost by trying.
            let before = image(&disk);
            let opened = run(&disk, Writer::open_on(disk.clone(), DIR, options()));
            assert!(opened.is_err() && before == image(&disk));
            disk.fail_nothing();
            check_afterwards(&life, &disk, seed);
        }
    }
    assert!(stopped.len() >= 8, "{stopped:?}");
}
