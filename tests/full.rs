//! A full disk: `Full`, and nothing has changed. The store still opens and reads, and goes on when there is space.
//!
//! Each step of the history is tried with every number of free pages, from none to as many as it takes.
//!
//! Not here: single operations that fail with "no space" (tests/faults.rs).

#![expect(clippy::unwrap_used, reason = "a test stops where it fails")]

mod common;

use common::history::{Life, STEPS, Step, Tally, name, options, rows, schema};
use common::{DIR, run};
use tidelog::disk::sim::SimDisk;
use tidelog::{Error, Writer};

const PAGE: u64 = 4096;

/// A life that has come to step `place`.
fn life_at(seed: u64, place: usize) -> Life {
    let disk = SimDisk::new(seed);
    let mut life = Life::new(disk.clone());
    for step in &STEPS[..place] {
        run(&disk, life.step(*step)).unwrap();
    }
    life
}

/// What the disk owes while it is full: readers, and who opens it in another life, find what was acknowledged.
fn check_full(life: &Life, seed: u64) {
    run(&life.disk, life.check_readers());
    for cut in [false, true] {
        let fork = life.disk.fork(seed);
        let disk = if cut { fork.power_cut() } else { fork.kill() };
        let opened = match run(&disk, Writer::open_on(disk.clone(), DIR, options())) {
            Err(Error::Full { .. }) => None,
            Ok(writer) => Some(writer),
            Err(error) => panic!("{error}"),
        };
        // Only where the log has no page left for the next life does open need space.
        if let Some(writer) = &opened {
            assert!(!run(&disk, life.check_rows(writer)), "nothing had changed");
        }
        drop(opened);
        disk.set_space(None);
        let writer = run(&disk, life.check_open(&disk));
        assert_eq!(writer.recovery().rows, life.acknowledged);
    }
}

/// A step on a full disk ended in `Full`: what it left is as before, and it works when there is space.
fn check_step(life: &mut Life, step: Step, seed: u64) {
    let disk = life.disk.clone();
    if step == Step::Create {
        disk.set_space(None);
        // Where the directory was made and only its first opening lacked space, there is a store already.
        match run(&disk, life.step(step)) {
            Err(Error::Exists { .. }) => run(&disk, life.step(Step::Open)).unwrap(),
            result => result.unwrap(),
        }
        return;
    }
    if let Some(writer) = &mut life.writer {
        assert_eq!(writer.pending().rows(), life.in_doubt);
        assert_eq!(writer.pending().next_row(), life.acknowledged + life.in_doubt);
        let again = run(&disk, life.step(step));
        assert!(matches!(again, Err(Error::Full { .. })), "it is still full: {again:?}");
    }
    check_full(life, seed);
    disk.set_space(None);
    match step {
        // The files were given back all the same.
        Step::Close => {
            run(&disk, life.step(Step::Open)).and_then(|()| run(&disk, life.step(Step::Close))).unwrap()
        }
        _ => run(&disk, life.step(step)).unwrap(),
    }
    run(&disk, life.check_readers());
}

#[test]
fn a_full_disk_at_any_moment_is_full_and_nothing_has_changed() {
    let mut full = Tally::new();
    for seed in 0..3 {
        for (place, step) in STEPS.iter().enumerate() {
            for pages in 0.. {
                let mut life = life_at(seed, place);
                let disk = life.disk.clone();
                disk.set_space(Some(disk.used_space() + pages * PAGE));
                match run(&disk, life.step(*step)) {
                    Ok(()) => break,
                    Err(Error::Full { path, .. }) => {
                        assert!(path.starts_with(DIR), "{}", path.display());
                        *full.entry(name(*step)).or_default() += 1;
                        check_step(&mut life, *step, seed);
                        let rest = STEPS[place + 1..].iter();
                        rest.for_each(|step| run(&disk, life.step(*step)).unwrap());
                        run(&disk, life.check_open(&disk));
                    }
                    Err(error) => panic!("{step:?} with {pages} pages: {error}"),
                }
            }
        }
    }
    // A small commit needs no space, nor does opening behind a checkpoint.
    let names: Vec<&str> = full.keys().map(String::as_str).collect();
    assert_eq!(
        names,
        ["Checkpoint", "Close", "Create", "Large", "RollLarge", "RollSmall", "Wrap"],
        "{full:?}"
    );
    assert!(full.values().all(|count| *count >= 9), "{full:?}");
}

#[test]
fn open_is_full_only_where_the_log_has_no_page_left() {
    let mut full = 0;
    for seed in 0..40 {
        let disk = SimDisk::new(seed);
        let mut life = Life::new(disk.clone());
        run(&disk, life.step(Step::Create)).unwrap();
        // Each life takes a page of the log, until both files are full and nobody has made a checkpoint.
        disk.set_space(Some(disk.used_space()));
        let lives = (0..40).take_while(|_| match run(&disk, life.step(Step::Open)) {
            Ok(()) => true,
            Err(Error::Full { .. }) => false,
            Err(error) => panic!("{error}"),
        });
        let lives = lives.count();
        // Creation wrote one record, of thirty-two pages in both files.
        assert_eq!(lives, 31);
        full += 1;
        let again = run(&disk, life.step(Step::Open));
        assert!(matches!(again, Err(Error::Full { .. })), "{again:?}");
        disk.set_space(None);
        run(&disk, life.step(Step::Open)).unwrap();
        run(&disk, life.step(Step::Large(50))).unwrap();
        run(&disk, life.check_readers());
    }
    assert_eq!(full, 40);
}

#[test]
fn a_commit_that_is_full_can_be_cleared_and_a_smaller_one_made() {
    let disk = SimDisk::new(7);
    let mut life = Life::new(disk.clone());
    run(&disk, life.step(Step::Create)).unwrap();
    run(&disk, life.step(Step::Small(10))).unwrap();
    disk.set_space(Some(disk.used_space()));
    let result = run(&disk, life.step(Step::Large(300)));
    assert!(matches!(result, Err(Error::Full { .. })), "{result:?}");
    life.writer().pending().clear();
    life.in_doubt = 0;
    run(&disk, life.step(Step::Small(12))).unwrap();
    run(&disk, life.check_readers());
    assert_eq!(life.acknowledged, 22);
    // Kill -9 with a full disk: it opens and reads.
    let disk = disk.kill();
    let writer = run(&disk, life.check_open(&disk));
    assert_eq!(writer.recovery().rows, 22);
    assert_eq!(run(&disk, common::rows_of(&writer)).unwrap(), rows(0..22));
}

#[test]
fn creation_on_a_full_disk_leaves_nothing_in_the_way() {
    for seed in 0..10 {
        for pages in 0..60 {
            let disk = SimDisk::new(seed);
            disk.set_space(Some(pages * PAGE));
            let create = |options| run(&disk, Writer::create_on(disk.clone(), DIR, schema(), options));
            let Err(error) = create(options()) else { continue };
            assert!(matches!(error, Error::Full { .. }), "{pages} pages: {error}");
            // Also for the next process, behind a power cut.
            let disk = disk.power_cut();
            disk.set_space(None);
            let opened = run(&disk, Writer::open_on(disk.clone(), DIR, options()));
            if let Err(error) = opened {
                assert!(matches!(error, Error::NotAStore { .. }), "{error}");
                run(&disk, Writer::create_on(disk.clone(), DIR, schema(), options())).unwrap();
            }
        }
    }
}
