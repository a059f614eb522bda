//! Lives drawn from seeds.
//!
//! A life is some processes, one after another: each creates or opens the store, compares it with what was
//! acknowledged, works until it closes, fails, or is stopped at some operation of the disk, and then is killed or
//! loses its power. The last one meets no mishap: all that was acknowledged must be there, and the store goes on.
//! Other processes may follow the store meanwhile (`followers`).
//!
//! Not here: what a process does with an open store (`acts`, `group`), rows (`table`), what they must be (`expected`).

use std::cell::RefCell;
use std::future::{Future, poll_fn};
use std::pin::pin;
use std::rc::Rc;
use std::task::Poll;

use tidelog::disk::sim::{self, Moment, Random, Settings, SimDisk, Stopped};
use tidelog::{Durability, Error, Options, Schema, Snapshot, Store, Writer};

use super::choices::{Choices, Story};
use super::expected::{Commit, Expected};
use super::table::{self, Table};
use super::{Kept, Wrong, keep};

mod acts;
mod followers;
mod group;
mod sealer;

use followers::{Followers, Sight};
use sealer::Sealer;

/// The store's directory.
pub(crate) const DIR: &str = "/data/store";

/// Why a process stopped working.
pub(crate) enum Trouble {
    /// An operation failed, or a future was dropped: the same process opens the store again.
    Failed,
    /// A promise is broken.
    Broken(Wrong),
}

impl From<Wrong> for Trouble {
    fn from(wrong: Wrong) -> Self {
        Trouble::Broken(wrong)
    }
}

pub(crate) type Did<T = ()> = Result<T, Trouble>;

/// A store's life.
pub(crate) struct Life {
    pub(crate) random: Random,
    pub(crate) disk: SimDisk,
    pub(crate) expected: Expected,
    pub(crate) story: Story,
    choices: Choices,
    pub(crate) options: Options,
    schema: Schema,
    /// What the writer's pending rows should be.
    pending: Commit,
    /// Commits that were ever thought of.
    commits: u64,
    last_key: u64,
    longest: u64,
    /// Segments do not roll, so that files become long.
    roomy: bool,
    /// How probably an operation fails, how probably space runs out.
    errors: (f64, f64),
    /// Space has run out.
    squeezed: bool,
    /// Operations that nobody waits for may be in flight in this process.
    loose: bool,
    /// What readers of the process are shown, also when its writer has gone.
    shown: Option<Store<SimDisk>>,
    /// Snapshots that are held, with the rows that they had.
    held: Vec<(Snapshot, u64)>,
    /// The store was opened, and nothing done to it yet.
    fresh: bool,
    /// The writer has failed, and the caller has not looked.
    poisoned: bool,
    /// This process got beyond recovery.
    opened: bool,
    doing: &'static str,
    /// The latest crash.
    crashed: String,
    /// Away while a process lives.
    followers: Followers,
    /// What they have seen.
    sights: Vec<Rc<RefCell<Sight>>>,
    sealer: Rc<RefCell<Sealer>>,
}

/// A life from nothing to its end.
pub(crate) fn live(seed: u64, choices: &Choices) -> Kept<Story> {
    let mut life = Life::new(seed, choices)?;
    let lived = life.run();
    lived.map_err(|wrong| life.blame(wrong))?;
    let files = life.disk.files();
    let raw = files.iter().filter(|(path, _)| path.starts_with(DIR) && path.components().count() == 5);
    life.story.rolled = u64::from(raw.clone().any(|(path, _)| path.ends_with("raw-1/keys")));
    life.story.chunked = u64::from(raw.clone().any(|(_, len)| *len > 64 << 10));
    Ok(life.story)
}

/// Polls a future so many times and once, then drops it.
async fn within<F: Future>(polls: u64, future: F) -> Option<F::Output> {
    let mut future = pin!(future);
    let mut left = polls;
    poll_fn(|context| match future.as_mut().poll(context) {
        Poll::Ready(output) => Poll::Ready(Some(output)),
        Poll::Pending if left == 0 => Poll::Ready(None),
        Poll::Pending => {
            left -= 1;
            Poll::Pending
        }
    })
    .await
}

impl Life {
    pub(crate) fn new(seed: u64, choices: &Choices) -> Kept<Self> {
        let mut random = Random::new(seed);
        let mut settings = Settings::from_seed(random.bits());
        settings.flocks = choices.flocks;
        settings.late_landing = choices.late_landing.unwrap_or(settings.late_landing);
        let disk = SimDisk::with_settings(random.bits(), settings);
        disk.make_dirs("/data").map_err(|error| Wrong::new(error.to_string()))?;
        let kind = choices.schema.unwrap_or_else(|| [0, 7, 1, 2, 3, 4, 5, 6][random.index(8)]);
        let schema = table::schema(kind).map_err(|error| Wrong::new(error.to_string()))?;
        let mut life = Life::in_world(disk, Expected::new(&schema), schema, random, choices);
        let mut random = Random::new(seed.rotate_left(32));
        let count = choices.followers.unwrap_or_else(|| [0, 0, 1, 2][random.index(4)]);
        life.followers = Followers::new(count, life.errors.0 > 0.0, &life.disk, &mut random);
        life.sights = life.followers.sights();
        Ok(life)
    }

    /// A life that goes on in a world where some of it has happened.
    pub(crate) fn in_world(
        disk: SimDisk,
        expected: Expected,
        schema: Schema,
        mut random: Random,
        choices: &Choices,
    ) -> Self {
        let errors = choices.errors.unwrap_or([(0.0, 0.0), (0.0, 0.05), (0.004, 0.03)][random.index(3)]);
        let last_key = expected.rows.keys.last().copied().unwrap_or(random.below(3));
        let maybe_key = expected.maybe.as_ref().and_then(|maybe| maybe.rows.keys.last().copied());
        Life {
            disk,
            story: Story::default(),
            choices: choices.clone(),
            options: Options::default(),
            pending: Commit { rows: Table::new(&schema), note: None },
            commits: 1 << 32 | expected.rows(),
            last_key: last_key.max(maybe_key.unwrap_or(0)),
            longest: [0, 3, 40, 300, 2000][random.index(5)],
            roomy: random.below(4) == 0,
            errors,
            squeezed: false,
            loose: false,
            fresh: false,
            shown: None,
            held: Vec::new(),
            opened: false,
            poisoned: false,
            doing: "",
            crashed: "no crash".to_owned(),
            followers: Followers::default(),
            sights: Vec::new(),
            sealer: Sealer::new(Random::new(random.clone().bits())),
            random,
            expected,
            schema,
        }
    }

    /// For who plays a life again: what happens in it.
    fn say(&self, what: impl FnOnce() -> String) {
        if self.choices.trace {
            println!("  operation {}, {}: {}", self.disk.operations(), self.doing, what());
        }
    }

    /// A copy of the world, with a life that is to make the same commits of other rows.
    pub(crate) fn twin(&self) -> Self {
        let choices = Choices { errors: Some((0.0, 0.0)), ..self.choices.clone() };
        let (disk, expected) = (self.disk.fork(1), self.expected.clone());
        let random = self.random.clone();
        let mut twin = Life::in_world(disk, expected, self.schema.clone(), random.clone(), &choices);
        twin.roomy = self.roomy;
        (twin.random, twin.options) = (random, self.options.clone());
        (twin.commits, twin.last_key, twin.longest) = (self.commits + 1000, self.last_key, self.longest);
        twin
    }

    /// Adds when it happened.
    fn blame(&self, wrong: Wrong) -> Wrong {
        let ends = self.story.kills + self.story.power_cuts;
        let number = self.disk.operations();
        let when = format!("operation {number}, {}; {} crashes, the last {}", self.doing, ends, self.crashed);
        Wrong { when, ..wrong }
    }

    fn run(&mut self) -> Kept {
        for _ in 0..1 + self.random.below(4) {
            self.order_crash();
            while !self.process(false)? {}
        }
        self.end()
    }

    /// The last process, which meets no mishap.
    pub(crate) fn end(&mut self) -> Kept {
        self.disk.fail_nothing();
        while !self.process(true)? {}
        self.doing = "following to the end";
        self.story.shows += self.followers.shows();
        self.followers.see_all(&self.expected.rows)
    }

    /// Crashes within the next operations, and again when it has recovered only in part.
    pub(crate) fn crash_within(&mut self, operations: u64) -> Kept {
        let number = self.disk.operations() + self.random.below(operations);
        let moment = if self.random.coin() { Moment::InFlight } else { Moment::Done };
        self.disk.crash_at(number, moment);
        self.process(false).map(drop)
    }

    /// Crashes at a moment of the next opening. False if it does not have so many operations.
    pub(crate) fn crash_in_recovery(&mut self, number: u64, moment: Moment) -> Kept<bool> {
        self.disk.crash_at(self.disk.operations() + number, moment);
        self.process(false)?;
        Ok(!self.opened)
    }

    fn order_crash(&mut self) {
        let bound = [12, 60, 250, 250, 250, 1000][self.random.index(6)];
        let number = self.disk.operations() + self.random.below(bound);
        let moment = if self.random.coin() { Moment::InFlight } else { Moment::Done };
        self.disk.crash_at(number, moment);
    }

    /// One life of a writer. True once one has got beyond recovery.
    fn process(&mut self, last: bool) -> Kept<bool> {
        let errors = if last { 0.0 } else { self.errors.0 };
        self.disk.configure(|settings| {
            settings.read_errors = errors / 8.0;
            settings.write_errors = errors;
            settings.sync_errors = errors;
            settings.name_errors = errors;
            settings.lossy_sync_failure = false;
        });
        self.options = self.draw_options();
        if self.choices.buffered && !last {
            self.options = self.options.clone().durability(Durability::Buffered);
        }
        self.opened = false;
        let before = self.disk.operations();
        let disk = self.disk.clone();
        let mut followers = std::mem::take(&mut self.followers);
        let sealer = Rc::clone(&self.sealer);
        let work = Sealer::beside(Rc::clone(&sealer), disk.clone(), self.work(last));
        let ended = sim::run(&disk, followers.beside(&disk, work));
        if sealer.borrow_mut().stop() {
            self.stopped_sealing();
        }
        self.followers = followers;
        self.story.operations += disk.operations() - before;
        match ended {
            Ok(Ok(())) => Ok(true),
            Ok(Err(Trouble::Broken(wrong))) => Err(wrong),
            Ok(Err(Trouble::Failed)) => {
                self.say(|| "the same process opens again".to_owned());
                self.release();
                keep(!last, || "a call failed where nothing went wrong".to_owned())?;
                self.story.failures += 1;
                self.loose = true;
                Ok(false)
            }
            Err(Stopped::Stuck(what)) => Err(Wrong::new(format!("a call never ends: {what}"))),
            Err(Stopped::Crashed) => {
                self.release();
                self.end_process()?;
                self.order_crash();
                Ok(self.opened)
            }
        }
    }

    /// The process ends at once, by a kill or with the power.
    fn end_process(&mut self) -> Kept {
        self.loose = false;
        self.story.in_recovery += u64::from(!self.opened);
        let kill = self.random.chance(self.choices.kills);
        let (what, count) = match kill {
            true => ("a kill", &mut self.story.kills),
            false => ("a power cut", &mut self.story.power_cuts),
        };
        *count += 1;
        self.crashed = format!("{what} behind operation {}, {}", self.disk.operations() - 1, self.doing);
        self.say(|| what.to_owned());
        if kill {
            self.disk = self.disk.kill();
            let alone = if self.random.below(4) == 0 { self.random.below(400) } else { 0 };
            return self.followers.alone(alone);
        }
        self.disk = self.disk.power_cut();
        self.followers.restart(&self.disk);
        Ok(())
    }

    fn draw_options(&mut self) -> Options {
        let (inline_bytes, roomy) = (self.choices.inline_bytes, self.roomy);
        let mut pick = |values: &[u64]| values[self.random.index(values.len())];
        if self.choices.huge {
            return Options::default()
                .log_bytes(4 << 20)
                .inline_bytes(pick(&[600, 2 << 20, 2 << 20]))
                .memory_bytes(pick(&[4 << 20, 16 << 20]))
                .segment_bytes(pick(&[1 << 20, 1 << 30]))
                .grow_bytes(64 << 10, pick(&[64 << 10, 1 << 20]));
        }
        let rows = pick(if roomy { &[1 << 20] } else { &[50, 400, 2000, 1 << 20] });
        let bytes = pick(if roomy { &[1 << 30] } else { &[8 << 10, 40 << 10, 1 << 30] });
        Options::default()
            .log_bytes(64 << 10)
            .inline_bytes(inline_bytes.unwrap_or_else(|| pick(&[0, 600, 4 << 10, 16 << 10, 16 << 10])))
            .memory_bytes(pick(&[64 << 10, 96 << 10, 1 << 20, 1 << 20]))
            .segment_rows(rows)
            .segment_bytes(bytes)
            .grow_bytes(pick(&[4 << 10, 16 << 10]), 64 << 10)
            .seal_bytes(pick(&[0, 4 << 10, 64 << 20, 64 << 20]))
    }

    /// Creates or opens, compares, works.
    async fn work(&mut self, last: bool) -> Did {
        self.clear_pending();
        let mut writer = self.open(last).await?;
        self.opened = true;
        self.held.clear();
        let lossy = self.choices.lossy;
        self.disk.configure(|settings| settings.lossy_sync_failure = lossy);
        self.compare(&writer).await?;
        if last {
            return self.last_work(writer).await;
        }
        for _ in 0..400 {
            match self.random.below(50) {
                0 => return self.close(writer).await,
                1 => {
                    self.doing = "dropping the writer";
                    self.loose = true;
                    return Ok(());
                }
                2..4 if !self.choices.careless && !self.choices.buffered => {
                    writer = self.share(writer).await?
                }
                _ => {}
            }
            let acted = match self.act(&mut writer).await {
                Ok(()) => self.heed_sealer(),
                failed => failed,
            };
            match acted {
                Err(Trouble::Failed) if self.choices.careless => {
                    self.poisoned |= self.is_writing();
                    if self.random.below(4) == 0 {
                        // He does not look at this one either.
                        let _ = writer.close().await;
                        return Err(Trouble::Failed);
                    }
                }
                Err(trouble) => {
                    self.after_trouble(writer, &trouble).await?;
                    return Err(trouble);
                }
                Ok(()) => {}
            }
        }
        Ok(())
    }

    /// A writer that has failed writes nothing more, `close` included.
    async fn after_trouble(&mut self, mut writer: Writer<SimDisk>, trouble: &Trouble) -> Did {
        if matches!(trouble, Trouble::Broken(_)) || !self.is_writing() || self.random.coin() {
            return Ok(());
        }
        self.doing = "using a poisoned writer";
        if self.sealer.borrow_mut().stop() {
            self.stopped_sealing();
        }
        self.disk.settle();
        let store = writer.store();
        let shown = self.expected.shown_rows();
        keep(store.rows() == shown, || format!("readers are shown {} rows of {shown}", store.rows()))?;
        if self.random.coin() {
            self.read_held(&store, &store.snapshot(), shown).await?;
        }
        let before = self.disk.counts();
        let poisoned = |result: Result<(), Error>| match result {
            Err(Error::Poisoned { .. }) => Ok(()),
            other => Err(Wrong::new(format!("a poisoned writer answers {other:?}"))),
        };
        if self.random.coin() {
            poisoned(writer.checkpoint().await)?;
        }
        if self.random.coin() {
            poisoned(writer.close().await)?;
        }
        let after = self.disk.counts();
        keep(
            before.writes == after.writes && before.renames == after.renames && before.grows == after.grows,
            || "a poisoned writer has written".to_owned(),
        )?;
        Ok(())
    }

    fn is_writing(&self) -> bool {
        matches!(self.doing, "committing" | "syncing" | "at a checkpoint")
    }

    fn clear_pending(&mut self) {
        self.pending = Commit { rows: Table::new(&self.schema), note: None };
    }

    // Opening.

    pub(crate) async fn open(&mut self, last: bool) -> Did<Writer<SimDisk>> {
        let create = !self.expected.created && (last || self.random.chance(0.7));
        let disk = self.disk.clone();
        let squeezed = !last && self.squeeze();
        let drop_at = self.draw_drop(last, 60);
        if create {
            self.doing = "creating";
            let created = Writer::create_on(disk.clone(), DIR, self.schema.clone(), self.options.clone());
            match within(drop_at, created).await {
                Some(Err(Error::Exists { .. })) => {}
                opened => return self.opened(opened, squeezed),
            }
        }
        self.doing = "opening";
        self.clear_pending();
        for attempt in 0.. {
            let opened = within(drop_at, Writer::open_on(disk.clone(), DIR, self.options.clone())).await;
            if let Some(Err(Error::Locked { .. })) = &opened
                && self.loose
                && attempt < 8
            {
                // What was dropped holds the locks until it has landed.
                if attempt == 7 {
                    disk.settle();
                }
                continue;
            }
            return self.opened(opened, squeezed);
        }
        unreachable!("the last attempt returns")
    }

    fn opened(
        &mut self,
        opened: Option<Result<Writer<SimDisk>, Error>>,
        squeezed: bool,
    ) -> Did<Writer<SimDisk>> {
        self.release();
        match opened {
            Some(Ok(writer)) => {
                self.expected.created = true;
                self.story.opens += 1;
                (self.fresh, self.poisoned) = (true, false);
                Ok(writer)
            }
            Some(Err(Error::NotAStore { .. })) if !self.expected.created => Err(Trouble::Failed),
            Some(Err(error)) => Err(self.refused(&error, squeezed)),
            None => {
                self.story.drops += 1;
                Err(Trouble::Failed)
            }
        }
    }

    /// What an error means.
    fn refused(&mut self, error: &Error, squeezed: bool) -> Trouble {
        self.say(|| format!("{error}"));
        let allowed = match error {
            Error::Io { action, source, .. } => {
                // A directory may need space for the new name: by then it is too late for `Full`.
                let names = squeezed && tidelog::disk::is_full(source) && action.starts_with("rename");
                self.errors.0 > 0.0 || names
            }
            Error::Full { .. } => squeezed,
            Error::Locked { .. } => self.loose,
            Error::Poisoned { .. } => self.poisoned,
            _ => false,
        };
        match allowed {
            true => Trouble::Failed,
            false => Wrong::new(format!("refused: {error}")).into(),
        }
    }
}
