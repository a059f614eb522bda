//! Futures dropped at every poll: a caller that has gone may leave work behind, never damage.
//!
//! Every operation of the simulated disk is pending at least once, and a dropped one lands at any later moment,
//! or never.
//!
//! Not here: operations that fail (tests/faults.rs), a process that ends (tests/crash.rs).

#![expect(clippy::unwrap_used, reason = "a test stops where it fails")]

mod common;

use common::history::{Life, MORE, STEPS, Step, Tally, is_poisoned, name, options, row, rows, schema};
use common::{DIR, image, rows_of, run};
use tidelog::disk::sim::{self, Executor, SimDisk, Task};
use tidelog::{Appender, Committer, Error, Result, Writer};

/// A life that has come to step `place`.
fn life_at(seed: u64, place: usize) -> Life {
    let disk = SimDisk::new(seed);
    let mut life = Life::new(disk.clone());
    for step in &STEPS[..place] {
        run(&disk, life.step(*step)).unwrap();
    }
    life
}

/// What must be true of a store whose step was dropped, wherever its story goes on.
fn check(mut life: Life, seed: u64) {
    let disk = life.disk.clone();
    life.writer = None;
    for fork in [disk.fork(seed ^ 0xA).power_cut(), disk.fork(seed ^ 0xB).kill()] {
        run(&fork, life.check_goes_on(&fork));
    }
    // In this process: locked as long as something is on its way.
    let opened = match run(&disk, Writer::open_on(disk.clone(), DIR, options())) {
        Err(Error::Locked { .. }) => {
            disk.settle();
            run(&disk, Writer::open_on(disk.clone(), DIR, options()))
        }
        opened => opened,
    };
    life.take_over(opened.unwrap_or_else(|error| panic!("{error}")));
    run(&disk, life.check_readers());
    // It goes on while the rest lands.
    let more = MORE[usize::try_from(disk.operations() + seed).unwrap() % MORE.len()];
    more.iter().for_each(|step| run(&disk, life.step(*step)).unwrap());
    life.writer = None;
    for fork in [disk.fork(seed ^ 0xC).power_cut(), disk.fork(seed ^ 0xD).kill()] {
        run(&fork, life.check_goes_on(&fork));
    }
}

/// Drops a step behind so many polls; none where it came to its end before.
fn drop_at(seed: u64, place: usize, polls: usize) -> Option<Life> {
    let mut life = life_at(seed, place);
    let disk = life.disk.clone();
    let before = disk.operations();
    if let Some(result) = sim::poll_times(life.step(STEPS[place]), polls) {
        result.unwrap();
        return None;
    }
    let has_begun = disk.operations() > before;
    assert_eq!(has_begun, polls > 0);
    if let Some(writer) = &mut life.writer {
        let asked = (image(&disk), disk.operations());
        if has_begun {
            assert!(is_poisoned(&run(&disk, writer.checkpoint())), "it had begun to write");
            assert!(is_poisoned(&run(&disk, writer.commit())));
            assert!(asked == (image(&disk), disk.operations()), "a poisoned writer did something");
        } else {
            run(&disk, writer.checkpoint()).unwrap_or_else(|error| panic!("it had not begun: {error}"));
        }
    }
    run(&disk, life.check_readers());
    Some(life)
}

fn drop_everywhere(seed: u64) {
    let mut tally = Tally::new();
    for (place, step) in STEPS.iter().enumerate() {
        for polls in 0.. {
            let Some(life) = drop_at(seed, place, polls) else { break };
            *tally.entry(name(*step)).or_default() += 1;
            if *step == Step::Create {
                check_creation(&life.disk);
            } else {
                check(life, seed + polls as u64);
            }
        }
    }
    let (polls, operations) = (tally.values().sum::<u64>(), life_at(seed, STEPS.len()).disk.operations());
    assert!(polls > operations, "{polls} polls, {operations} operations");
    assert!(tally.len() == 10 && tally.values().all(|polls| *polls > 4), "{tally:?}");
}

#[test]
fn a_call_dropped_at_any_poll_poisons_once_it_has_begun_and_loses_nothing() {
    drop_everywhere(0);
}

#[test]
fn a_call_dropped_at_any_poll_does_so_in_another_world_too() {
    drop_everywhere(1);
}

/// Creation was dropped: there is a store, or what is there can be made one.
fn check_creation(disk: &SimDisk) {
    for fork in [disk.fork(1).power_cut(), disk.fork(2).kill(), disk.clone()] {
        let create = || run(&fork, Writer::create_on(fork.clone(), DIR, schema(), options()));
        let open = || run(&fork, Writer::open_on(fork.clone(), DIR, options()));
        let mut opened = create();
        if matches!(opened, Err(Error::Locked { .. })) {
            fork.settle();
            opened = create();
        }
        if matches!(opened, Err(Error::Exists { .. })) {
            opened = open();
        }
        if matches!(opened, Err(Error::Locked { .. })) {
            fork.settle();
            opened = open();
        }
        let mut writer = opened.unwrap_or_else(|error| panic!("{error}"));
        run(&fork, async {
            row(0).append(writer.pending()).unwrap();
            writer.commit().await.unwrap();
            assert_eq!(rows_of(&writer).await.unwrap(), [row(0)]);
            writer.close().await.unwrap();
            let writer = Writer::open_on(fork.clone(), DIR, options()).await.unwrap();
            assert_eq!(rows_of(&writer).await.unwrap(), [row(0)]);
        });
    }
}

/// Row numbers stand for keys, and say who wrote them: rows of three, for each caller.
async fn append_three(appender: Appender, caller: u64) -> Result<u64> {
    appender
        .commit_with(move |pending| {
            let first = pending.next_row();
            for number in 0..3 {
                row(caller * 3 + number).append_with_key(pending, 7)?;
            }
            Ok(first)
        })
        .await
}

/// Which callers' rows a store has, each whole, and where they begin.
fn callers(disk: &SimDisk, writer: &Writer<SimDisk>) -> Vec<(u64, u64)> {
    let found = run(disk, rows_of(writer)).unwrap();
    let first_of = |caller: u64| found.iter().position(|other| other.cells == row(caller * 3).cells);
    let mut callers: Vec<(u64, u64)> =
        (0..20).filter_map(|caller| first_of(caller).map(|first| (caller, first as u64))).collect();
    for (caller, first) in &callers {
        let first = usize::try_from(*first).unwrap();
        let cells = found[first..].iter().take(3).map(|row| row.cells.clone());
        let expected = rows(caller * 3..caller * 3 + 3).iter().map(|row| row.cells.clone());
        assert!(cells.eq(expected), "caller {caller} is there in part");
    }
    assert_eq!(found.len(), 3 * callers.len());
    callers.sort_unstable();
    callers
}

/// A committer and callers, on one core.
struct Group<'a> {
    executor: Executor<'a>,
    committer: Task<Result<Writer<SimDisk>>>,
    callers: Vec<Task<Result<u64>>>,
    appender: Option<Appender>,
}

fn group(disk: &SimDisk, seed: u64, callers: u64) -> Group<'static> {
    let writer = run(disk, Writer::create_on(disk.clone(), DIR, schema(), options())).unwrap();
    let (appender, committer): (Appender, Committer<SimDisk>) = writer.share();
    let mut executor = Executor::new(disk, seed);
    let committer = executor.spawn(committer.run());
    let callers = (0..callers).map(|caller| executor.spawn(append_three(appender.clone(), caller))).collect();
    Group { executor, committer, callers, appender: Some(appender) }
}

#[test]
fn an_append_dropped_at_any_poll_is_there_whole_or_not_at_all() {
    let (mut there, mut gone, mut dropped) = (0, 0, 0);
    for seed in 0..60 {
        for steps in 0.. {
            let disk = SimDisk::new(seed);
            let Group { mut executor, committer, callers: tasks, appender } = group(&disk, seed, 5);
            if (0..steps).any(|_| !executor.step()) || tasks[2].is_finished() {
                break;
            }
            executor.cancel(&tasks[2]);
            dropped += 1;
            drop(appender);
            let writer = executor.run_until(&committer).unwrap().unwrap();
            executor.run().unwrap();
            let found = callers(&disk, &writer);
            for (caller, task) in (0..).zip(&tasks).filter(|(caller, _)| *caller != 2) {
                let first = task.take().unwrap().unwrap();
                assert!(found.contains(&(caller, first)), "caller {caller} was told {first}");
            }
            let is_there = found.iter().any(|(caller, _)| *caller == 2);
            if is_there {
                there += 1
            } else {
                gone += 1
            }
            // The writer came back as it was, and what it says is what the next life finds.
            run(&disk, writer.close()).unwrap();
            let writer = run(&disk, Writer::open_on(disk.clone(), DIR, options())).unwrap();
            assert_eq!(callers(&disk, &writer), found);
        }
    }
    assert!(there > 100 && gone > 100 && dropped == there + gone, "{there} there, {gone} gone");
}

#[test]
fn a_committer_dropped_at_any_poll_tells_everybody() {
    let (mut told, mut refused) = (0, 0);
    for seed in 0..60 {
        for steps in 0.. {
            let disk = SimDisk::new(seed);
            let Group { mut executor, committer, callers: tasks, appender } = group(&disk, seed, 5);
            if (0..steps).any(|_| !executor.step()) || tasks.iter().all(Task::is_finished) {
                break;
            }
            executor.cancel(&committer);
            let appender = appender.unwrap();
            // Nobody waits for ever, whoever asks now.
            let late = executor.spawn(append_three(appender, 9));
            executor.run().unwrap();
            assert!(matches!(late.take().unwrap(), Err(Error::Closed)));
            let results: Vec<Result<u64>> = tasks.iter().map(|task| task.take().unwrap()).collect();
            for fork in [disk.fork(seed).power_cut(), disk.fork(seed).kill(), disk.clone()] {
                fork.settle();
                let writer = run(&fork, Writer::open_on(fork.clone(), DIR, options())).unwrap();
                let found = callers(&fork, &writer);
                for (caller, result) in (0..).zip(&results) {
                    match result {
                        Ok(first) => {
                            assert!(found.contains(&(caller, *first)), "caller {caller} was told {first}")
                        }
                        Err(error) => assert!(matches!(error, Error::Closed), "{error}"),
                    }
                }
            }
            told += results.iter().filter(|result| result.is_ok()).count();
            refused += results.iter().filter(|result| result.is_err()).count();
        }
    }
    assert!(told > 50 && refused > 1000, "{told} told, {refused} refused");
}

#[test]
fn a_committer_that_is_never_polled_leaves_nobody_waiting() {
    let disk = SimDisk::new(1);
    let writer = run(&disk, Writer::create_on(disk.clone(), DIR, schema(), options())).unwrap();
    let (appender, committer) = writer.share();
    let mut executor = Executor::new(&disk, 1);
    let task = executor.spawn(append_three(appender, 1));
    executor.step();
    drop(committer);
    executor.run().unwrap();
    assert!(matches!(task.take().unwrap(), Err(Error::Closed)));
    let writer = run(&disk, Writer::open_on(disk.clone(), DIR, options())).unwrap();
    assert_eq!(writer.recovery().rows, 0);
}
