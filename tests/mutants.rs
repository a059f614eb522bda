//! Rules of the protocol, broken on purpose one by one: each must be caught.
//!
//! Each case breaks a rule, with the second lines behind it where there are any, and plays lives, or damage, until
//! a promise is broken. It prints `rule -> test -> operation`; the same life with every rule kept must be right.
//! A rule that no case catches is not tested.
//!
//! Not here: the rules themselves (`src/mutant.rs`, and where each is kept), lives (`life`).

mod life;

use std::cell::Cell;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};

use life::choices::Choices;
use life::damage::{self, Rot};
use life::random::live;
use tidelog::mutant::{self, Mutant, Mutant::*};

/// A broken rule, and how it is looked for.
struct Case {
    name: &'static str,
    mutants: &'static [Mutant],
    how: How,
}

#[derive(Clone, Debug)]
enum How {
    Lives(Choices),
    Rot(Rot),
}

/// Lives that are played at most for one rule.
const LIVES_MAX: u64 = 20_000;

/// Rules that nothing catches alone, because another one covers them, and which.
const COVERED: &[(&[Mutant], &str)] = &[
    (
        &[LeftoverWrittenOver],
        "the flock on the leftover waits for a dead writer's requests; epochs make names differ",
    ),
    (
        &[SegmentWrittenOver],
        "the flock on the leftover waits for a dead sealer's requests, and a dropped one's",
    ),
    (&[NoSlotSyncAtOpen], "slots are synced before they are named, found ones too"),
    (&[EpochMayFall], "sequence, previous checksum and flock"),
    (&[OlderManifest], "the record before, a later record and a later generation are each asked for"),
    (&[NoGenerationCheck], "the record before and a later record"),
    (
        &[OnlyBegunFollows],
        "one life in half a million meets it; tests/reading/following.rs goes through the moments",
    ),
];

fn lives(name: &'static str, mutants: &'static [Mutant]) -> Case {
    with(name, mutants, |_| {})
}

fn with(name: &'static str, mutants: &'static [Mutant], change: fn(&mut Choices)) -> Case {
    let mut choices = Choices::default();
    change(&mut choices);
    Case { name, mutants, how: How::Lives(choices) }
}

/// Lives of two followers each.
fn following(name: &'static str, mutants: &'static [Mutant]) -> Case {
    with(name, mutants, |choices| choices.followers = Some(2))
}

/// Lives of a store whose segments are sealed.
fn sealing(name: &'static str, mutants: &'static [Mutant]) -> Case {
    with(name, mutants, |choices| (choices.schema, choices.seals) = (Some(7), 25))
}

fn rot(name: &'static str, mutants: &'static [Mutant], rot: Rot) -> Case {
    Case { name, mutants, how: How::Rot(rot) }
}

#[expect(clippy::too_many_lines, reason = "it is a table")]
fn cases() -> Vec<Case> {
    vec![
        with("pages: the last one is rewritten in place", &[RewritesPages], |choices| {
            choices.errors = Some((0.0, 0.0));
        }),
        lives("commit: data not synced", &[NoDataSync]),
        lives("commit: one sync for all files", &[SyncsOneFile]),
        lives("commit: data and record in parallel", &[DataNotAwaited]),
        lives("commit: laid out before room is made", &[LaidOutBeforeRoom]),
        with("commit: space not obtained before", &[NoSpaceBefore], |choices| {
            choices.errors = Some((0.0, 0.2))
        }),
        lives("commit: the record is not durable", &[RecordNotDurable]),
        lives("commit: acknowledged when the record is begun", &[AcknowledgesEarly]),
        lives("commit: shown before it is durable", &[ShowsEarly]),
        lives("commit: inline bytes extend the tail", &[InlineExtends]),
        with("buffered: shown without room for the record", &[BufferedWithoutRoom], |choices| {
            choices.buffered = true;
        }),
        with("buffered: close and checkpoint forget", &[BufferedForgotten], |choices| {
            choices.buffered = true
        }),
        lives("log: enters without a checkpoint", &[NoLogRule]),
        with("log: enters when room is made", &[EntersEarly], |choices| {
            (choices.errors, choices.inline_bytes) = (Some((0.0, 0.4)), Some(0));
        }),
        lives("log: the position moves to the other file", &[PositionMoves]),
        lives("checkpoint: raw files not synced", &[NoCheckpointSync]),
        with("checkpoint: memory moves first", &[MemoryFirst], |choices| choices.errors = Some((0.0, 0.3))),
        lives("checkpoint: the note is forgotten", &[NoteForgotten]),
        lives("roll: last pages not padded", &[NoPadding]),
        lives("roll: sums not synced", &[NoSumsSync]),
        lives("roll: slot directory not synced", &[NoSlotSync]),
        with("roll: found names taken for durable", &[FoundIsDurable], |choices| choices.kills = 0.6),
        lives("roll: directory not synced before the rename", &[NoNamesSync]),
        lives("roll: a slot that is named is taken again", &[SlotTakenAgain]),
        lives("publish: temporary not synced", &[NoManifestSync]),
        lives("publish: directory not synced behind the rename", &[NoDirectorySync]),
        lives("publish: the manifest before goes first", &[OldManifestFirst]),
        with("seal: a removal that was dropped is not minded", &[RemovalForgotten], |choices| {
            (choices.drops, choices.schema, choices.seals) = (0.5, Some(0), 40);
        }),
        sealing("seal: file not synced", &[NoSegmentSync]),
        sealing("seal: directory not synced", &[NoSegmentNameSync]),
        sealing("seal: what waits to be published is sealed again", &[SealedTwice]),
        with("seal: rows in memory that were never committed", &[StagedUncommitted], |choices| {
            (choices.schema, choices.seals, choices.errors) = (Some(7), 25, Some((0.0, 0.3)));
        }),
        sealing("compact: in place of an old file", &[CompactedInPlace]),
        sealing("compact: old files go first", &[OldSegmentsFirst]),
        sealing("compact: a file that is read from goes", &[ReplacedForgotten]),
        sealing("slots: one that is read from is used again", &[PinForgotten]),
        lives("creation: parent not synced", &[NoParentSync]),
        lives("creation: log and slot before the manifest", &[LogBeforeManifest]),
        lives("creation: log not synced", &[NoLogSync]),
        with("recovery: directory not synced", &[NoDirectorySyncAtOpen], |choices| choices.kills = 0.6),
        with("recovery: files not synced", &[NoFileSyncAtOpen], |choices| choices.kills = 0.6),
        with(
            "recovery: slots not synced, and found taken for durable",
            &[NoSlotSyncAtOpen, FoundIsDurable],
            |choices| {
                choices.kills = 0.6;
            },
        ),
        lives("recovery: no record begins the epoch", &[NoEpochRecord]),
        with("locks: files are not flocked", &[], |choices| (choices.kills, choices.flocks) = (1.0, false)),
        following("following: no manifest listed, none there", &[NotListedAgain]),
        following("following: a missing record is not read again", &[NoSecondRead]),
        following("following: manifests listed before it is read again", &[ListsFirst]),
        following("following: a record of a later manifest is judged", &[LaterGenerationApplied]),
        with("following: damage, whatever the newest manifest says", &[NotAskedAgain], |choices| {
            (choices.followers, choices.schema, choices.seals) = (Some(2), Some(7), 25);
        }),
        following("following: the log is not synced before rows are shown", &[NoSyncBeforeShowing]),
        with("errors: not poisoned", &[NoPoison], |choices| {
            (choices.errors, choices.careless) = (Some((0.01, 0.0)), true);
        }),
        with("errors: a poisoned close checkpoints", &[PoisonedClose], |choices| {
            (choices.errors, choices.careless) = (Some((0.01, 0.0)), true);
        }),
        with("errors: a failed sync is asked again", &[SyncRetried], |choices| {
            (choices.errors, choices.lossy) = (Some((0.01, 0.0)), true);
            // A reader's sync that fails would forget what the writer had been told is durable.
            choices.followers = Some(0);
        }),
    ]
}

/// What a damaged store is asked.
fn cases_of_damage() -> Vec<Case> {
    vec![
        rot(
            "damage: an older manifest counts, nothing is compared",
            &[OlderManifest, NoRecordBefore, NoLaterRecord, NoGenerationCheck],
            Rot::Manifest,
        ),
        rot(
            "damage: the newest manifest is missing, nothing is compared",
            &[NoRecordBefore, NoLaterRecord, NoGenerationCheck],
            Rot::ManifestGone,
        ),
        rot("damage: the record before is not asked for", &[NoRecordBefore], Rot::Zeros),
        rot("damage: no later record is looked for", &[NoLaterRecord], Rot::Record),
        rot("damage: only whole later records count", &[OnlyWholeRecords], Rot::AllThatFollow),
        rot("damage: the record before is not named", &[NoPreviousCheck], Rot::Branch),
        rot("damage: raw bytes are not verified", &[NoReadCheck], Rot::AnyByte),
    ]
}

thread_local! {
    /// A panic of the store is what a case looks for: it is caught, and told elsewhere.
    static QUIET: Cell<bool> = const { Cell::new(false) };
}

/// What is wrong with this life, if anything is.
fn wrong(how: &How, seed: u64) -> Option<String> {
    QUIET.set(true);
    let lived = catch_unwind(AssertUnwindSafe(|| match how {
        How::Lives(choices) => live(seed, choices).map(drop),
        How::Rot(rot) => damage::rot(seed, *rot).map(drop),
    }));
    QUIET.set(false);
    match lived {
        Ok(Ok(())) => None,
        Ok(Err(wrong)) => {
            Some(if wrong.when.is_empty() { wrong.what } else { format!("{}: {}", wrong.when, wrong.what) })
        }
        Err(panic) => {
            let text = panic.downcast_ref::<String>().map(String::as_str);
            Some(format!("panics: {}", text.or(panic.downcast_ref::<&str>().copied()).unwrap_or_default()))
        }
    }
}

/// The line that says where a rule is caught.
fn catch(case: &Case) -> Result<String, String> {
    mutant::set(case.mutants);
    let caught = (0..LIVES_MAX).find_map(|seed| Some((seed, wrong(&case.how, seed)?)));
    mutant::set(&[]);
    let Some((seed, wrong)) = caught else {
        return Err(format!("{} {:?} is not caught", case.name, case.mutants));
    };
    let (test, kept) = match &case.how {
        How::Lives(choices) => ("life".to_owned(), How::Lives(Choices { flocks: true, ..choices.clone() })),
        How::Rot(rot) => (format!("{rot:?}"), How::Rot(*rot)),
    };
    match self::wrong(&kept, seed) {
        None => Ok(format!("{} {:?} -> {test} {seed} -> {wrong}", case.name, case.mutants)),
        Some(wrong) => Err(format!("{test} {seed} is wrong with every rule kept: {wrong}")),
    }
}

#[test]
fn every_broken_rule_is_caught() {
    let hook = std::panic::take_hook();
    std::panic::set_hook(Box::new(move |info| {
        if !QUIET.get() {
            hook(info);
        }
    }));
    let mut cases = cases();
    cases.extend(cases_of_damage());
    let next = AtomicUsize::new(0);
    let results = Mutex::new(vec![None; cases.len()]);
    std::thread::scope(|scope| {
        for _ in 0..2 {
            scope.spawn(|| {
                while let Some((number, case)) = Some(next.fetch_add(1, Ordering::Relaxed))
                    .and_then(|number| Some((number, cases.get(number)?)))
                {
                    let result = catch(case);
                    results.lock().unwrap()[number] = Some(result);
                }
            });
        }
    });
    let results: Vec<Result<String, String>> = results.into_inner().unwrap().into_iter().flatten().collect();
    assert_eq!(results.len(), cases.len());
    for result in &results {
        let (Ok(line) | Err(line)) = result;
        println!("{line}");
    }
    for (mutants, why) in COVERED {
        println!("{mutants:?} -> never alone -> {why}");
    }
    let survivors: Vec<&String> = results.iter().filter_map(|result| result.as_ref().err()).collect();
    assert!(survivors.is_empty(), "{survivors:#?}");
}
