//! Followers: processes that read beside the writer, between any two of its operations.
//!
//! Each looks again and again, reads what is new, and now and then cuts the power of a copy of the world right then:
//! what it was shown must be a prefix of what recovery finds there. It sleeps for long at any point. A kill of the
//! writer leaves it as it is.
//!
//! Not here: the writer's life (`random`).

use std::cell::RefCell;
use std::future::{Future, poll_fn};
use std::pin::{Pin, pin};
use std::rc::Rc;
use std::task::{Context, Poll, Waker};

use tidelog::disk::sim::{self, Random, SimDisk};
use tidelog::{Error, Options, Snapshot, Store, Writer};

use super::{DIR, Did};
use crate::life::read::{self, Unread};
use crate::life::table::Table;
use crate::life::{Kept, Wrong, keep};

/// What a follower has seen; it outlives its process.
#[derive(Default)]
pub(crate) struct Sight {
    /// Every row that it was shown.
    rows: Table,
    /// Of its process, once it has opened the store.
    store: Option<Store<SimDisk>>,
    /// How often it was shown new rows.
    shows: u64,
}

/// A process that follows the store.
pub(crate) struct Follower {
    sight: Rc<RefCell<Sight>>,
    disk: SimDisk,
    life: Pin<Box<dyn Future<Output = Wrong>>>,
    random: Random,
    /// Polls for which it sleeps.
    nap: u64,
}

/// Several of them, and what they do to a life.
#[derive(Default)]
pub(crate) struct Followers {
    all: Vec<Follower>,
    /// Errors of the disk are to be expected.
    errors: bool,
}

impl Followers {
    /// So many, in the world of `disk`.
    pub(crate) fn new(count: u64, errors: bool, disk: &SimDisk, random: &mut Random) -> Self {
        let one = |_| Follower::new(disk, Rc::default(), Random::new(random.bits()), errors);
        Followers { all: (0..count).map(one).collect(), errors }
    }

    /// The power was cut: `disk` is a process of the world behind it.
    pub(crate) fn restart(&mut self, disk: &SimDisk) {
        for follower in &mut self.all {
            let sight = Rc::clone(&follower.sight);
            sight.borrow_mut().store = None;
            *follower = Follower::new(disk, sight, Random::new(follower.random.bits()), self.errors);
        }
    }

    /// Lets each go on, or sleep.
    fn poll(&mut self, context: &mut Context<'_>) -> Kept {
        for follower in &mut self.all {
            follower.poll(context)?;
        }
        Ok(())
    }

    /// Nobody writes; they go on.
    pub(crate) fn alone(&mut self, polls: u64) -> Kept {
        (0..polls).try_for_each(|_| self.poll(&mut Context::from_waker(Waker::noop())))
    }

    /// The writer's work, with them between its operations.
    pub(crate) async fn beside(&mut self, writer: &SimDisk, work: impl Future<Output = Did>) -> Did {
        let mut work = pin!(work);
        poll_fn(|context| {
            // A stopped writer wakes nobody, and so ends: they must not wake it either.
            if !writer.is_stopped()
                && let Err(wrong) = self.poll(context)
            {
                return Poll::Ready(Err(wrong.into()));
            }
            work.as_mut().poll(context)
        })
        .await
    }

    /// How often they were shown new rows.
    pub(crate) fn shows(&self) -> u64 {
        self.all.iter().map(|follower| follower.sight.borrow().shows).sum()
    }

    /// What each of them has seen, to be compared with what is there.
    pub(crate) fn sights(&self) -> Vec<Rc<RefCell<Sight>>> {
        self.all.iter().map(|follower| Rc::clone(&follower.sight)).collect()
    }

    /// Nothing is in flight, nobody writes: each sees all there is when it looks once more.
    pub(crate) fn see_all(&mut self, rows: &Table) -> Kept {
        for follower in &mut self.all {
            // What it was doing ends here.
            follower.life = Box::pin(std::future::pending());
            let (disk, mut sight) = (&follower.disk, follower.sight.borrow_mut());
            let store = sight.store.take();
            let looked = sim::run(disk, async {
                let store = match store {
                    Some(store) => store,
                    None => Store::follow_on(disk.clone(), DIR, Options::default()).await?,
                };
                let at = store.refresh().await?;
                read::all(&store, &at).await
            });
            let found = match looked.map_err(|stopped| Wrong::new(format!("a follower: {stopped}")))? {
                Ok(found) => found,
                Err(unread) => return Err(wrong(unread)),
            };
            keep(found.rows() == rows.rows(), || {
                format!("a follower sees {} rows of {} in the end", found.rows(), rows.rows())
            })?;
            if let Some(difference) = rows.difference(None, &found) {
                return Err(Wrong::new(format!("a follower in the end: {difference}")));
            }
        }
        Ok(())
    }
}

/// Whether these rows begin with all that a follower was shown.
pub(crate) fn check_shown(sight: &RefCell<Sight>, found: &Table) -> Kept {
    match found.difference(None, &sight.borrow().rows) {
        None => Ok(()),
        Some(difference) => Err(Wrong::new(format!("a follower was shown what is gone: {difference}"))),
    }
}

fn wrong(unread: Unread) -> Wrong {
    match unread {
        Unread::Refused(error) => Wrong::new(format!("a follower is refused: {error}")),
        Unread::Wrong(wrong) => Wrong::new(format!("a follower: {}", wrong.what)),
    }
}

impl Follower {
    fn new(disk: &SimDisk, sight: Rc<RefCell<Sight>>, mut random: Random, errors: bool) -> Self {
        let disk = disk.another_process();
        let dice = Random::new(random.bits());
        let look = Look { disk: disk.clone(), sight: Rc::clone(&sight), random: dice, errors };
        Follower { sight, disk, life: Box::pin(look.again_and_again()), random, nap: 0 }
    }

    fn poll(&mut self, context: &mut Context<'_>) -> Kept {
        for _ in 0..self.random.below(4) {
            if self.nap > 0 {
                self.nap -= 1;
            } else if self.random.below(200) == 0 {
                self.nap = 1 + self.random.below(400);
            } else if let Poll::Ready(wrong) = self.life.as_mut().poll(context) {
                return Err(wrong);
            }
        }
        Ok(())
    }
}

/// What a follower does.
struct Look {
    disk: SimDisk,
    sight: Rc<RefCell<Sight>>,
    random: Random,
    errors: bool,
}

impl Look {
    /// Until something is wrong.
    async fn again_and_again(mut self) -> Wrong {
        loop {
            let looked = self.join().await;
            // Errors of the disk come and go; until it is made there is no store.
            let may_be = match &looked {
                Ok(()) => true,
                Err(Unread::Refused(Error::Io { .. })) => self.errors,
                // It was slow, and what it reads lies elsewhere by now.
                Err(Unread::Refused(Error::SnapshotGone)) => true,
                Err(Unread::Refused(Error::NotAStore { .. })) => self.sight.borrow().store.is_none(),
                Err(_) => false,
            };
            if let (Err(unread), false) = (looked, may_be) {
                return wrong(unread);
            }
        }
    }

    /// Opens the store, or goes on with the one that it has, and looks at it some times.
    async fn join(&mut self) -> Result<(), Unread> {
        let known = self.sight.borrow().store.clone();
        let store = match known {
            Some(store) if self.random.below(8) > 0 => store,
            _ => Store::follow_on(self.disk.clone(), DIR, Options::default()).await?,
        };
        self.sight.borrow_mut().store = Some(store.clone());
        let mut held = store.snapshot();
        for _ in 0..1 + self.random.below(6) {
            let at = store.refresh().await?;
            let (rows, shown) = (at.rows(), self.sight.borrow().rows.rows() as u64);
            keep(rows >= shown, || format!("{shown} rows were shown, then {rows}"))?;
            // A snapshot that was taken before is read now and then.
            let chosen = if self.random.below(6) == 0 { &held } else { &at };
            self.see(&store, chosen).await?;
            held = at;
        }
        Ok(())
    }

    /// Reads what is new in a snapshot, or all of it.
    async fn see(&mut self, store: &Store<SimDisk>, at: &Snapshot) -> Result<(), Unread> {
        let before = self.sight.borrow().rows.rows() as u64;
        if at.rows() <= before || self.random.below(6) == 0 {
            let found = read::all(store, at).await?;
            let seen = &self.sight.borrow().rows;
            let (longer, shorter) = if at.rows() <= before { (seen, &found) } else { (&found, seen) };
            if let Some(difference) = longer.difference(None, shorter) {
                return Err(Wrong::new(format!("what was shown has changed: {difference}")).into());
            }
        }
        if at.rows() > before {
            let more = read::from(store, at, before).await?;
            let mut seen = self.sight.borrow_mut();
            if before == 0 {
                seen.rows = Table::new(store.schema());
            }
            seen.rows.append(&more);
            seen.shows += 1;
        }
        if self.random.below(5) == 0 { Ok(self.cut()?) } else { Ok(()) }
    }

    /// The power of a copy of this world is cut right now.
    fn cut(&mut self) -> Kept {
        if self.sight.borrow().rows.rows() == 0 {
            return Ok(());
        }
        let disk = self.disk.fork(self.random.bits()).power_cut();
        disk.set_space(None);
        disk.configure(|settings| {
            (settings.read_errors, settings.write_errors) = (0.0, 0.0);
            (settings.sync_errors, settings.name_errors) = (0.0, 0.0);
        });
        let recovered = sim::run(&disk, async {
            let writer = Writer::open_on(disk.clone(), DIR, Options::default()).await?;
            let store = writer.store();
            read::all(&store, &store.snapshot()).await
        });
        match recovered {
            Ok(Ok(found)) => check_shown(&self.sight, &found),
            Ok(Err(unread)) => Err(Wrong::new(format!("behind a power cut {}", wrong(unread).what))),
            Err(stopped) => Err(Wrong::new(format!("behind a power cut: {stopped}"))),
        }
    }
}
