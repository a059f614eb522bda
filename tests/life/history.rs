//! One fixed history, crashed at every operation.
//!
//! It holds everything that a writer does: what it did is counted from outside, by what was asked of the disk. A
//! crash at any moment of any of its operations, or of the recovery behind it, must leave what was acknowledged.
//!
//! Not here: what the store does behind the crash (`random::Life`).

use std::cell::{Cell, RefCell};
use std::path::Path;

use tidelog::disk::sim::{self, Counts, Moment, Random, Settings, SimDisk, Stopped};
use tidelog::{Error, Maintain, Options, Schema, SegmentState, Snapshot, Tier, Writer};

use super::choices::Choices;
use super::expected::{Commit, Expected};
use super::random::{DIR, Life};
use super::table::{self, Shape, Table};
use super::{Kept, Wrong, read};

/// One thing that the history does.
enum Step {
    Commit(Commit),
    Checkpoint,
    /// The oldest finished segment, until it is handed to the writer.
    Seal,
    Compact(Tier),
    Roll,
    /// Takes a snapshot, and keeps it.
    Hold,
    /// Reads what was held, and lets go of it.
    Read,
    Reopen,
}

/// What a history does, made once.
pub(crate) struct History {
    schema: Schema,
    options: Options,
    steps: Vec<Step>,
}

/// How often it did what, as the disk saw it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Seen {
    /// One durable write and nothing else.
    pub(crate) small_commits: u64,
    /// Writes to raw files, their sync, one durable write.
    pub(crate) large_commits: u64,
    /// A manifest that names another slot.
    pub(crate) rolls: u64,
    /// Other manifests behind the second.
    pub(crate) checkpoints: u64,
    /// A record in another log file than the one before.
    pub(crate) wraps: u64,
    /// Steps in which raw files grew.
    pub(crate) growths: u64,
    /// Manifests that name one more sealed segment; of these, that name another slot too.
    pub(crate) published: u64,
    pub(crate) published_by_rolls: u64,
    /// Manifests that name fewer sealed segments.
    pub(crate) compacted: u64,
    /// Manifests that name a slot which another segment had been in.
    pub(crate) reused: u64,
    /// Snapshots that were read when slots had been used again.
    pub(crate) held: u64,
    /// Operations in all.
    pub(crate) operations: u64,
}

/// Whom the history tells what it does, while it runs.
pub(crate) struct Told {
    pub(crate) expected: RefCell<Expected>,
    pub(crate) step: Cell<usize>,
}

/// How a process ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum End {
    Kill,
    PowerCut,
}

/// A world that a history is played in.
#[derive(Clone, Debug)]
pub(crate) struct World {
    pub(crate) name: String,
    pub(crate) seed: u64,
    pub(crate) settings: Settings,
}

/// Every kind of disk and file system that makes a difference.
pub(crate) fn worlds() -> Vec<World> {
    let mut worlds = Vec::new();
    for kind in 0..9_u64 {
        let drawn = Settings::from_seed(kind);
        let settings = Settings {
            fua: kind & 1 == 0,
            direct: kind & 2 == 0,
            journal: kind & 4 == 0,
            cow: kind == 8,
            racy: kind.is_multiple_of(3),
            short: if kind == 5 { 0.2 } else { 0.0 },
            ..drawn
        };
        let has = |has: bool, name: &'static str| if has { name } else { "" };
        let name = format!(
            "a disk{}{}{}{}",
            has(settings.fua, " with FUA"),
            has(settings.direct, ", direct"),
            has(settings.journal, ", journal"),
            has(settings.cow, ", copy on write")
        );
        worlds.push(World { name, seed: kind, settings });
    }
    worlds
}

impl World {
    pub(crate) fn disk(&self) -> Kept<SimDisk> {
        let disk = SimDisk::with_settings(self.seed, self.settings.clone());
        disk.make_dirs("/data").map_err(|error| Wrong::new(error.to_string()))?;
        Ok(disk)
    }
}

impl History {
    pub(crate) fn new() -> Kept<Self> {
        let schema = table::schema(5).map_err(|error| Wrong::new(error.to_string()))?;
        let options = Options::default()
            .log_bytes(64 << 10)
            .inline_bytes(5 << 10)
            .segment_bytes(28 << 10)
            .grow_bytes(4 << 10, 16 << 10);
        let mut history = History { schema, options, steps: Vec::new() };
        let mut random = Random::new(1);
        let mut last = 7;
        let small = |note| (5, note);
        let large = (170, 0);
        for _ in 0..3 {
            for (rows, note) in [small(0), small(4096), large, small(4000), small(4096), (60, 0), large] {
                history.add_commit(rows, note, &mut last, &mut random);
            }
            history.steps.push(Step::Checkpoint);
            for (rows, note) in [small(0), (50, 3000), large, small(0), (0, 4096), (55, 4096), small(1)] {
                history.add_commit(rows, note, &mut last, &mut random);
            }
            history.steps.push(Step::Reopen);
        }
        Ok(history)
    }

    /// One of segments that are sealed, and slots that are used again.
    pub(crate) fn sealing() -> Kept<Self> {
        let schema = table::schema(8).map_err(|error| Wrong::new(error.to_string()))?;
        let options = Options::default()
            .log_bytes(64 << 10)
            .inline_bytes(1 << 10)
            .segment_rows(60)
            .grow_bytes(4 << 10, 16 << 10);
        let mut history = History { schema, options, steps: Vec::new() };
        let (mut random, mut last) = (Random::new(2), 7);
        for round in 0..3 {
            history.add_commit(40, 0, &mut last, &mut random);
            history.add_commit(30, 100, &mut last, &mut random); // rolls
            history.steps.push(Step::Seal);
            history.add_commit(3, 0, &mut last, &mut random); // publishes
            history.steps.push(Step::Hold);
            history.add_commit(70, 0, &mut last, &mut random); // large, rolls
            history.steps.push(Step::Seal);
            history.add_commit(59, 0, &mut last, &mut random); // rolls, and publishes by that
            history.steps.push(Step::Read);
            history.steps.push(if round == 1 { Step::Reopen } else { Step::Seal });
            history.add_commit(2, 0, &mut last, &mut random); // publishes
            history.steps.push(Step::Hold);
            history.steps.push(Step::Compact(if round == 0 { Tier::Fast } else { Tier::Dense }));
            history.add_commit(4, 0, &mut last, &mut random); // publishes
            history.steps.push(Step::Read);
            // Removes what nobody holds.
            history.steps.push(if round == 0 { Step::Checkpoint } else { Step::Roll });
        }
        Ok(history)
    }

    fn add_commit(&mut self, rows: usize, note: usize, last: &mut u64, random: &mut Random) {
        let shape = Shape { commit: self.steps.len() as u64, rows, longest: 30 };
        let rows = Table::made(&self.schema, shape, *last, random);
        *last = rows.keys.last().copied().unwrap_or(*last);
        let note = (note > 0).then(|| {
            let mut bytes = vec![0; note];
            random.fill(&mut bytes);
            bytes
        });
        self.steps.push(Step::Commit(Commit { rows, note }));
    }

    fn told(&self) -> Told {
        Told { expected: RefCell::new(Expected::new(&self.schema)), step: Cell::new(0) }
    }

    /// Plays it to its end, and tells what the disk saw.
    pub(crate) fn play(&self, world: &World) -> Kept<Seen> {
        let disk = world.disk()?;
        let told = self.told();
        let mut watch = Watch::new(&disk);
        let played = sim::run(&disk, self.live(&disk, &told, |writer, step| watch.look(writer, step)));
        match played {
            Ok(Ok(())) => Ok(Seen { operations: disk.operations(), ..watch.seen }),
            Ok(Err(error)) => Err(Wrong::new(format!("step {}: {error}", told.step.get()))),
            Err(stopped) => Err(Wrong::new(stopped.to_string())),
        }
    }

    async fn live(
        &self,
        disk: &SimDisk,
        told: &Told,
        mut look: impl FnMut(&Writer<SimDisk>, Option<&Step>),
    ) -> Result<(), Error> {
        let mut writer =
            Writer::create_on(disk.clone(), DIR, self.schema.clone(), self.options.clone()).await?;
        told.expected.borrow_mut().created = true;
        look(&writer, None);
        let mut held = Vec::new();
        for (number, step) in self.steps.iter().enumerate() {
            told.step.set(number);
            match step {
                Step::Commit(commit) => {
                    commit.rows.append_to(writer.pending(), commit.rows.rows() < 20)?;
                    if let Some(note) = &commit.note {
                        writer.pending().note(note)?;
                    }
                    told.expected.borrow_mut().begin(commit.clone());
                    writer.commit().await?;
                    told.expected.borrow_mut().acknowledge();
                }
                Step::Checkpoint => writer.checkpoint().await?,
                Step::Seal => {
                    writer.store().maintain(Maintain::Seal).await?;
                }
                Step::Compact(tier) => {
                    writer.store().maintain(Maintain::Compact(*tier)).await?;
                }
                Step::Roll => writer.roll().await?,
                Step::Hold => held.push(writer.store().snapshot()),
                Step::Read => {
                    for at in held.drain(..) {
                        let expected = told.expected.borrow().rows.clone();
                        check_held(&writer, &at, &expected).await?;
                    }
                }
                Step::Reopen => {
                    held.clear();
                    writer.close().await?;
                    writer = Writer::open_on(disk.clone(), DIR, self.options.clone()).await?;
                }
            }
            look(&writer, Some(step));
        }
        writer.close().await
    }

    /// Plays it until a moment of an operation. Nothing if it does not have so many.
    pub(crate) fn crash(&self, world: &World, number: u64, moment: Moment) -> Kept<Option<Crashed<'_>>> {
        let disk = world.disk()?;
        let told = self.told();
        disk.crash_at(number, moment);
        match sim::run(&disk, self.live(&disk, &told, |_, _| {})) {
            Ok(Ok(())) => Ok(None),
            Ok(Err(error)) => Err(Wrong::new(format!("step {}: {error}", told.step.get()))),
            Err(Stopped::Crashed) => {
                let when = format!("{}, operation {number} {moment:?}, step {}", world.name, told.step.get());
                Ok(Some(Crashed { disk, history: self, expected: told.expected.into_inner(), when }))
            }
            Err(stopped) => Err(Wrong::new(stopped.to_string())),
        }
    }
}

/// Whether a snapshot still has the rows that it had.
async fn check_held(writer: &Writer<SimDisk>, at: &Snapshot, rows: &Table) -> Result<(), Error> {
    match read::all(&writer.store(), at).await {
        Ok(found) if rows.difference(None, &found).is_none() => Ok(()),
        Ok(_) => panic!("a snapshot has changed"),
        Err(read::Unread::Refused(error)) => Err(error),
        Err(read::Unread::Wrong(wrong)) => panic!("{wrong}"),
    }
}

/// A history that has come to a sudden end, before it is decided which.
pub(crate) struct Crashed<'a> {
    disk: SimDisk,
    history: &'a History,
    expected: Expected,
    when: String,
}

impl Crashed<'_> {
    /// The store afterwards.
    pub(crate) fn after(&self, end: End, seed: u64) -> Life {
        let disk = self.disk.fork(seed);
        let disk = match end {
            End::Kill => disk.kill(),
            End::PowerCut => disk.power_cut(),
        };
        let choices = Choices { errors: Some((0.0, 0.0)), drops: 0.0, last_commits: 1, ..Choices::default() };
        Life::in_world(disk, self.expected.clone(), self.history.schema.clone(), Random::new(seed), &choices)
    }

    /// Opens the store, which is crashed some more times meanwhile, compares, goes on.
    pub(crate) fn recover(&self, end: End, seed: u64) -> Kept {
        let mut life = self.after(end, seed);
        let mut lived = || {
            for _ in 0..seed % 3 {
                life.crash_within(60)?;
            }
            life.end()
        };
        lived().map_err(|wrong| self.blame(end, seed, wrong))
    }

    /// The same, the first recovery crashed at this moment. False if it does not have so many operations.
    pub(crate) fn recover_crashed_at(&self, end: End, seed: u64, number: u64, moment: Moment) -> Kept<bool> {
        let mut life = self.after(end, seed);
        let mut lived = || {
            let crashed = life.crash_in_recovery(number, moment)?;
            if crashed && seed.is_multiple_of(2) {
                life.crash_within(60)?;
            }
            life.end()?;
            Ok(crashed)
        };
        lived().map_err(|wrong| {
            let wrong = self.blame(end, seed, wrong);
            Wrong { when: format!("{}, recovery's operation {number} {moment:?}", wrong.when), ..wrong }
        })
    }

    fn blame(&self, end: End, seed: u64, wrong: Wrong) -> Wrong {
        Wrong { when: format!("{}, {end:?} {seed}; {}", self.when, wrong.when), what: wrong.what }
    }
}

/// Counts what a history does, by what the disk is asked.
struct Watch<'a> {
    disk: &'a SimDisk,
    before: Look,
    /// The log file that holds the last record.
    log: usize,
    seen: Seen,
}

/// What the disk was asked so far.
struct Look {
    all: Counts,
    raw: Counts,
    records: [u64; 2],
    slots: u64,
    sealed: u64,
    active: u64,
}

impl Look {
    fn new(disk: &SimDisk, writer: Option<&Writer<SimDisk>>) -> Self {
        let records = |name: &str| disk.counts_of(Path::new(DIR).join(name)).durable_writes;
        let is_raw = |path: &Path| path.to_string_lossy().contains("/raw-");
        let mut raw = Counts::default();
        for (_, counts) in disk.counts_by_path().iter().filter(|(path, _)| is_raw(path)) {
            raw.writes += counts.writes;
            raw.grows += counts.grows;
            raw.syncs += counts.syncs;
        }
        let slots = disk.directories().iter().filter(|path| is_raw(path)).count() as u64;
        let segments = writer.map(|writer| writer.store().stats().segments).unwrap_or_default();
        let sealed = segments.iter().filter(|segment| segment.state == SegmentState::Sealed).count() as u64;
        let active = segments.last().map_or(0, |segment| segment.number);
        let records = [records("log-a"), records("log-b")];
        Look { all: disk.counts(), raw, records, slots, sealed, active }
    }
}

impl<'a> Watch<'a> {
    fn new(disk: &'a SimDisk) -> Self {
        Watch { disk, before: Look::new(disk, None), log: 0, seen: Seen::default() }
    }

    /// A step is done.
    fn look(&mut self, writer: &Writer<SimDisk>, step: Option<&Step>) {
        let now = Look::new(self.disk, Some(writer));
        let Watch { before, seen, .. } = self;
        let manifests = now.all.renames - before.all.renames;
        let records = now.all.durable_writes - before.all.durable_writes;
        let writes = now.all.writes - before.all.writes;
        let (raw_writes, raw_syncs) = (now.raw.writes - before.raw.writes, now.raw.syncs - before.raw.syncs);
        let is_commit = records == 1 && manifests == 0 && writes == 1 + raw_writes;
        seen.small_commits += u64::from(is_commit && raw_writes == 0 && raw_syncs == 0);
        seen.large_commits += u64::from(is_commit && raw_writes > 0 && raw_syncs > 0);
        if before.slots > 0 {
            let rolls = u64::from(now.active > before.active);
            seen.rolls += rolls;
            seen.checkpoints += manifests - rolls;
            seen.reused += rolls - (now.slots - before.slots);
            seen.published += now.sealed.saturating_sub(before.sealed);
            seen.published_by_rolls += now.sealed.saturating_sub(before.sealed).min(rolls);
            seen.compacted += u64::from(now.sealed < before.sealed);
            seen.held += u64::from(matches!(step, Some(Step::Read)) && seen.reused > 0);
        }
        seen.growths += u64::from(now.raw.grows > before.raw.grows);
        let entered = 1 - self.log;
        if now.records[entered] > before.records[entered] {
            seen.wraps += 1;
            self.log = entered;
        }
        self.before = now;
    }
}
