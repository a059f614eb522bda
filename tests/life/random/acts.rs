//! What a life does with an open store, and what it wants to see then.
//!
//! Not here: how a process begins and ends (`random`).

use std::path::Path;

use tidelog::disk::sim::SimDisk;
use tidelog::{Error, SegmentState, Snapshot, Store, Writer};

use super::{DIR, Did, Life, Trouble, followers, within};
use crate::life::read::{self, Unread};
use crate::life::table::{Shape, Table};
use crate::life::{Kept, Wrong, keep};

impl Life {
    /// Compares the store with what was acknowledged.
    pub(super) async fn compare(&mut self, writer: &Writer<SimDisk>) -> Did {
        self.doing = "comparing";
        let store = writer.store();
        let at = store.snapshot();
        let found = match read::all(&store, &at).await {
            Ok(found) => found,
            Err(unread) => return Err(self.unread(unread)),
        };
        let shown = self.shown.replace(store).map_or(0, |store| store.rows());
        keep(found.rows() as u64 >= shown.min(self.expected.rows()), || {
            format!("{shown} rows were shown, {} are there", found.rows())
        })?;
        self.sights.iter().try_for_each(|sight| followers::check_shown(sight, &found))?;
        if self.expected.is_buffering() && !self.fresh {
            let rows = self.expected.shown_rows();
            keep(found.rows() as u64 == rows, || format!("{} rows are shown of {rows}", found.rows()))?;
            self.expected.shown().settle(&found, at.note())?;
        } else {
            match self.expected.settle(&found, at.note())? {
                Some(true) => self.story.found += 1,
                Some(false) => self.story.absent += 1,
                None => {}
            }
        }
        keep(writer.note().as_deref() == at.note(), || {
            "writer and snapshot have different notes".to_owned()
        })?;
        if std::mem::take(&mut self.fresh) {
            let (rows, recovery) = (found.rows() as u64, writer.recovery());
            keep(recovery.rows == rows, || format!("{recovery:?}, but {rows} rows"))?;
        }
        let segments = writer.store().stats().segments;
        let sealed = segments.iter().filter(|segment| segment.state == SegmentState::Sealed).count() as u64;
        self.story.sealed = self.story.sealed.max(sealed);
        let slots =
            self.disk.directories().iter().filter(|path| path.to_string_lossy().contains("/raw-")).count();
        self.story.reused = self.story.reused.max((segments.len() as u64).saturating_sub(slots as u64));
        if self.random.below(8) == 0 {
            let read = read::otherwise(&writer.store(), &at, &found, &mut self.random).await;
            read.map_err(|unread| self.unread(unread))?;
        }
        Ok(())
    }

    fn unread(&mut self, unread: Unread) -> Trouble {
        match unread {
            Unread::Refused(error) => self.refused(&error, false),
            Unread::Wrong(wrong) => wrong.into(),
        }
    }

    /// Holds one more snapshot, or reads one that was held: it has not changed.
    async fn hold(&mut self, writer: &Writer<SimDisk>) -> Did {
        self.doing = "reading a snapshot";
        let store = writer.store();
        if self.held.is_empty() || self.random.coin() {
            self.held.push((store.snapshot(), self.expected.shown_rows()));
            return Ok(());
        }
        let (at, rows) = self.held.swap_remove(self.random.index(self.held.len()));
        self.read_held(&store, &at, rows).await
    }

    pub(super) async fn read_held(&mut self, store: &Store<SimDisk>, at: &Snapshot, rows: u64) -> Did {
        let found = match read::all(store, at).await {
            Ok(found) => found,
            Err(unread) => return Err(self.unread(unread)),
        };
        keep(found.rows() as u64 == rows, || format!("a snapshot of {rows} rows has {} now", found.rows()))?;
        match self.expected.shown().rows.difference(None, &found) {
            None => Ok(()),
            Some(difference) => Err(Wrong::new(format!("a snapshot has changed: {difference}")).into()),
        }
    }

    // Space.

    /// Perhaps lets space run out.
    pub(super) fn squeeze(&mut self) -> bool {
        self.squeezed = self.random.chance(self.errors.1);
        if self.squeezed {
            let left = self.random.below(6) * 4096;
            self.disk.set_space(Some(self.disk.used_space() + left));
        }
        self.squeezed
    }

    pub(super) fn release(&mut self) {
        self.squeezed = false;
        self.disk.set_space(None);
    }

    /// After how many polls a call's future is dropped.
    pub(super) fn draw_drop(&mut self, last: bool, polls: u64) -> u64 {
        match !last && self.random.chance(self.choices.drops) {
            true => self.random.below(polls),
            false => u64::MAX,
        }
    }

    // Work.

    pub(super) async fn act(&mut self, writer: &mut Writer<SimDisk>) -> Did {
        match self.random.below(100) {
            act @ 0..75 if act < self.choices.seals => self.seal(writer, false).await,
            0..75 => self.commit(writer, false).await,
            75..80 if self.expected.is_buffering() => self.sync(writer).await,
            75..85 => self.checkpoint(writer, false).await,
            85..88 => self.open_twice().await,
            88..91 if !self.poisoned => self.compare(writer).await,
            91..96 => self.hold(writer).await,
            _ => self.append(writer),
        }
    }

    /// Rows behind those that were thought of before.
    pub(super) fn draw_rows(&mut self) -> Table {
        let bytes = match self.random.below(10) {
            5.. if self.choices.huge => self.random.below(4_000_000),
            0..4 => self.random.below(100),
            4..7 => self.random.below(4000),
            7..9 => self.random.below(14_000),
            _ => self.random.below(36_000),
        };
        let row = 8 + self.schema.columns().len() as u64 * (10 + self.longest / 2);
        let rows = usize::try_from(bytes / row + 1).unwrap_or(1);
        self.commits += 1;
        let shape = Shape { commit: self.commits, rows, longest: self.longest };
        Table::made(&self.schema, shape, self.last_key, &mut self.random)
    }

    /// Bytes of pending rows that are within every life's `memory_bytes`.
    pub(super) fn pending_max(&self) -> usize {
        if self.choices.huge { 3 << 20 } else { 60 << 10 }
    }

    fn append(&mut self, writer: &mut Writer<SimDisk>) -> Did {
        self.doing = "appending";
        let rows = self.draw_rows();
        if self.pending.rows.bytes() + rows.bytes() > self.pending_max() {
            return Ok(());
        }
        self.last_key = rows.keys.last().copied().unwrap_or(self.last_key);
        let start = self.expected.shown_rows() + self.pending.rows.rows() as u64;
        let one_by_one = rows.rows() < 40 && self.random.coin();
        let numbers = rows.append_to(writer.pending(), one_by_one);
        let numbers = numbers.map_err(|error| Wrong::new(format!("append refused: {error}")))?;
        let end = start + rows.rows() as u64;
        keep(numbers == (start..end), || format!("rows {start}..{end} were numbered {numbers:?}"))?;
        self.pending.rows.append(&rows);
        Ok(())
    }

    fn add_note(&mut self, writer: &mut Writer<SimDisk>) -> Did {
        let len = [4, 100, 3000, 4096][self.random.index(4)];
        let mut note = vec![0; len];
        self.random.fill(&mut note);
        writer.pending().note(&note).map_err(|error| Wrong::new(format!("note refused: {error}")))?;
        self.pending.note = Some(note);
        Ok(())
    }

    pub(crate) async fn commit(&mut self, writer: &mut Writer<SimDisk>, last: bool) -> Did {
        let with_note = self.random.below(8) == 0;
        if !with_note || self.choices.buffered || self.random.coin() {
            self.append(writer)?;
        }
        if with_note {
            self.add_note(writer)?;
        }
        self.doing = "committing";
        let before = self.expected.maybe.take();
        self.expected.begin(self.pending.clone());
        let records = self.disk.counts().durable_writes;
        loop {
            let squeezed = !last && self.squeeze();
            let drop_at = self.draw_drop(last, 40);
            let result = within(drop_at, writer.commit()).await;
            self.release();
            match result {
                Some(Ok(commit)) => {
                    let is_buffered = self.choices.buffered && self.disk.counts().durable_writes == records;
                    return Ok(self.committed(writer, &commit, is_buffered)?);
                }
                Some(Err(Error::Full { .. })) if squeezed => {
                    self.story.fulls += 1;
                    // What waited is recorded first.
                    self.expected.synced();
                    self.expected.begin(self.pending.clone());
                    self.full(writer)?;
                    if self.random.coin() {
                        self.expected.withdraw();
                        if self.random.coin() {
                            // Other rows may get their numbers.
                            writer.pending().clear();
                            self.clear_pending();
                        }
                        return Ok(());
                    }
                }
                Some(Err(error)) => {
                    if matches!(error, Error::Poisoned { .. }) {
                        self.expected.maybe = before;
                    }
                    return Err(self.refused(&error, squeezed));
                }
                None => {
                    self.story.drops += 1;
                    self.loose = true;
                    return Err(Trouble::Failed);
                }
            }
        }
    }

    fn committed(
        &mut self,
        writer: &mut Writer<SimDisk>,
        commit: &tidelog::Commit,
        is_buffered: bool,
    ) -> Kept {
        let start = self.expected.shown_rows();
        if is_buffered {
            self.expected.buffer(self.pending.clone());
            self.story.buffered += 1;
        } else {
            self.story.synced += u64::from(self.expected.is_buffering());
            self.expected.synced();
            self.expected.begin(self.pending.clone());
            self.expected.acknowledge();
        }
        self.story.commits += 1;
        self.story.huge += u64::from(self.pending.rows.bytes() > 1 << 20);
        self.clear_pending();
        let end = self.expected.shown_rows();
        keep(commit.rows == (start..end), || {
            format!("rows {start}..{end} were committed as {:?}", commit.rows)
        })?;
        keep(writer.pending().rows() == 0, || "what was committed is still pending".to_owned())?;
        let note = self.expected.shown().note;
        keep(writer.note() == note.as_deref().map(Into::into), || "another note is shown".to_owned())
    }

    /// `Full` has changed nothing.
    fn full(&mut self, writer: &mut Writer<SimDisk>) -> Kept {
        let rows = self.pending.rows.rows() as u64;
        let pending = writer.pending();
        let same = pending.rows() == rows && pending.next_row() == self.expected.rows() + rows;
        keep(same, || format!("after Full {} rows are pending, before {rows}", pending.rows()))?;
        let (shown, note) = (writer.store().rows(), writer.note());
        let same = shown == self.expected.rows() && note.as_deref() == self.expected.note.as_deref();
        keep(same, || format!("after Full {shown} rows are shown"))
    }

    pub(crate) async fn checkpoint(&mut self, writer: &mut Writer<SimDisk>, last: bool) -> Did {
        self.doing = "at a checkpoint";
        let squeezed = !last && self.squeeze();
        let drop_at = self.draw_drop(last, 40);
        let result = within(drop_at, writer.checkpoint()).await;
        self.release();
        match result {
            Some(Ok(())) => {
                self.expected.synced();
                self.story.checkpoints += 1;
                Ok(())
            }
            Some(Err(Error::Full { .. })) if squeezed => {
                self.expected.synced();
                self.story.fulls += 1;
                Ok(self.full(writer)?)
            }
            Some(Err(error)) => Err(self.refused(&error, squeezed)),
            None => {
                self.story.drops += 1;
                self.loose = true;
                Err(Trouble::Failed)
            }
        }
    }

    /// What buffered commits have shown becomes durable.
    async fn sync(&mut self, writer: &mut Writer<SimDisk>) -> Did {
        self.doing = "syncing";
        let drop_at = self.draw_drop(false, 10);
        match within(drop_at, writer.sync()).await {
            Some(Ok(())) => {
                self.story.synced += 1;
                self.expected.synced();
                Ok(())
            }
            Some(Err(error)) => Err(self.refused(&error, false)),
            None => {
                self.story.drops += 1;
                self.loose = true;
                Err(Trouble::Failed)
            }
        }
    }

    /// A second writer gets `Locked`, and nothing changes.
    async fn open_twice(&mut self) -> Did {
        self.doing = "opening a second writer";
        let other = self.disk.another_process();
        let result = Writer::open_on(other.clone(), Path::new(DIR), self.options.clone()).await;
        let refused = match &result {
            Err(Error::Locked { .. }) => true,
            Err(Error::Io { .. }) => self.errors.0 > 0.0,
            _ => false,
        };
        drop(other.kill());
        keep(refused, || format!("a second writer was answered {result:?}"))?;
        Ok(())
    }

    pub(super) async fn close(&mut self, writer: Writer<SimDisk>) -> Did {
        self.doing = "closing";
        let squeezed = self.squeeze();
        let drop_at = self.draw_drop(false, 40);
        let result = within(drop_at, writer.close()).await;
        self.release();
        match result {
            Some(Ok(())) => {
                self.expected.synced();
                Ok(())
            }
            Some(Err(error)) => Err(self.refused(&error, squeezed)),
            None => {
                self.story.drops += 1;
                Err(Trouble::Failed)
            }
        }
    }

    /// A store that has seen everything still does all it should.
    pub(super) async fn last_work(&mut self, writer: Writer<SimDisk>) -> Did {
        let mut writer = self.open_again(writer).await?;
        for _ in 0..2 + self.random.below(self.choices.last_commits) {
            self.seal(&writer, true).await?;
            self.commit(&mut writer, true).await?;
        }
        if self.random.coin() {
            self.checkpoint(&mut writer, true).await?;
            self.commit(&mut writer, true).await?;
        }
        let mut writer = self.open_again(writer).await?;
        if self.random.coin() {
            return Ok(());
        }
        self.clear_pending();
        self.commit(&mut writer, true).await?;
        self.doing = "closing";
        writer.close().await.map_err(|error| self.refused(&error, false))?;
        let writer = self.open(true).await?;
        let recovery = writer.recovery().clone();
        keep(recovery.commits_replayed == 0 && recovery.dropped.is_none(), || {
            format!("something is left to do after a clean end: {recovery:?}")
        })?;
        self.compare(&writer).await
    }

    /// Nothing is in flight, nothing failed: opening finds exactly what was there.
    async fn open_again(&mut self, writer: Writer<SimDisk>) -> Did<Writer<SimDisk>> {
        drop(writer);
        let writer = self.open(true).await?;
        let recovery = writer.recovery().clone();
        keep(recovery.dropped.is_none(), || format!("opening again drops something: {recovery:?}"))?;
        self.compare(&writer).await?;
        Ok(writer)
    }
}
