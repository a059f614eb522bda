//! Commits that callers share.
//!
//! Not here: one caller's commits (`acts`); what callers are told when there is no space (tests/appender.rs).

use std::cell::{Cell, RefCell};
use std::collections::VecDeque;

use futures::future::{join, join_all};
use tidelog::disk::sim::SimDisk;
use tidelog::{Appender, Error, Writer};

use super::{Did, Life, Trouble, within};
use crate::life::expected::{Commit, Expected};
use crate::life::table::Table;
use crate::life::{Kept, keep};

impl Life {
    /// Shares the writer with callers who each bring rows, behind those that are pending; takes it back.
    ///
    /// They come in the order of their keys. The committer makes as many commits of theirs as it likes: the first
    /// of them, in whole numbers of callers, will be there.
    pub(super) async fn share(&mut self, writer: Writer<SimDisk>) -> Did<Writer<SimDisk>> {
        self.doing = "sharing the writer";
        let own = (self.pending.rows.rows() > 0 || self.pending.note.is_some()).then(|| self.pending.clone());
        let count = [1, 2, 5, 20][self.random.index(4)];
        let tables: Vec<Table> = (0..count).filter_map(|_| self.draw_caller()).collect();
        let commits = tables.iter().map(|rows| Commit { rows: rows.clone(), note: None });
        let is_own_unheard = Cell::new(own.is_some());
        self.expected.begin_all(own.into_iter().chain(commits).collect::<VecDeque<_>>());
        let drop_at = self.draw_drop(false, 80);

        let expected = RefCell::new(&mut self.expected);
        let (appender, committer) = writer.share();
        let calls: Vec<_> =
            tables.into_iter().map(|rows| call(appender.clone(), rows, &is_own_unheard, &expected)).collect();
        drop(appender);
        let Some((writer, answers)) = within(drop_at, join(committer.run(), join_all(calls))).await else {
            self.story.drops += 1;
            self.loose = true;
            return Err(Trouble::Failed);
        };
        for answer in answers {
            match answer {
                Ok(kept) => {
                    kept?;
                    self.story.callers += 1;
                }
                Err(error) => keep(writer.is_err(), || format!("a caller was refused: {error}"))?,
            }
        }
        let writer = writer.map_err(|error| self.refused(&error, false))?;
        if is_own_unheard.get() {
            // Nobody came behind them; the committer has given the writer back all the same.
            self.expected.acknowledge();
        }
        self.clear_pending();
        Ok(writer)
    }

    fn draw_caller(&mut self) -> Option<Table> {
        let rows = self.draw_rows();
        if rows.bytes() > self.pending_max() {
            return None;
        }
        self.last_key = rows.keys.last().copied().unwrap_or(self.last_key);
        Some(rows)
    }
}

/// One caller. What is acknowledged counts from the moment when it hears so.
async fn call(
    appender: Appender,
    rows: Table,
    is_own_unheard: &Cell<bool>,
    expected: &RefCell<&mut Expected>,
) -> Result<Kept, Error> {
    let count = rows.rows() as u64;
    let numbers = appender.commit_with(move |pending| rows.append_to(pending, false)).await?;
    let mut expected = expected.borrow_mut();
    if is_own_unheard.take() {
        expected.acknowledge();
    }
    let start = expected.rows();
    expected.acknowledge();
    Ok(keep(numbers == (start..start + count), || {
        format!("a caller's rows {start}..{} were numbered {numbers:?}", start + count)
    }))
}
