//! Many callers, one writer: group commit.
//!
//! An [`Appender`] only queues: it can be cloned, sent to any thread, and its futures cancelled freely. The one
//! [`Committer`], a future that the caller spawns on the writer's core, takes what has gathered, makes one commit
//! of it and answers each caller.
//!
//! Invariants: a group is cut between callers, never inside one. Nobody gets an error that his rows alone would
//! not: a group of several is only ever what the log's current file holds without a checkpoint, a roll or new
//! space, so that it cannot be `Full`; what needs more is committed alone.
//!
//! Not here: how a commit is made (`writer`).

use std::collections::VecDeque;
use std::fmt;
use std::future::poll_fn;
use std::ops::Range;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::Poll;

use futures::channel::oneshot;
use futures::task::AtomicWaker;

use crate::disk::{Disk, Glommio};
use crate::error::{Error, Result};
use crate::pending::Pending;
use crate::store::sealing::Sealing;
use crate::value::{Value, Values};
use crate::writer::Writer;

/// Hands rows to a [`Committer`], from any thread.
pub struct Appender {
    queue: Arc<Queue>,
}

/// Owns the writer and commits what the appenders hand over. Does nothing until [`Committer::run`] is polled.
pub struct Committer<D: Disk = Glommio> {
    writer: Writer<D>,
    gate: Gate,
}

/// The committer's end of the queue: when it goes, however it goes, nobody is left waiting.
struct Gate(Arc<Queue>);

impl Drop for Gate {
    fn drop(&mut self) {
        self.0.close(&Error::Closed);
    }
}

#[derive(Default)]
struct Queue {
    requests: Mutex<Requests>,
    committer: AtomicWaker,
    /// Appenders that are alive.
    appenders: AtomicUsize,
}

#[derive(Default)]
struct Requests {
    waiting: VecDeque<Box<dyn Request>>,
    /// Set when nobody will answer any more.
    closed: Option<Error>,
}

/// What a committer is to do next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Wanted {
    /// A commit, which publishes what was sealed along.
    Rows,
    /// To publish what was sealed.
    Sealed,
    Nothing,
}

/// One caller's wish.
trait Request: Send {
    /// Appends the caller's rows. None where the caller has gone or has been told an error: what it appended
    /// does not count then.
    fn plan(self: Box<Self>, pending: &mut Pending) -> Option<Box<dyn Planned>>;

    /// Tells the caller that nothing was done.
    fn refuse(self: Box<Self>, error: Error);
}

/// A caller whose rows are pending.
trait Planned: Send {
    /// Tells the caller what became of them.
    fn answer(self: Box<Self>, result: Result<()>);
}

struct Plan<F, T> {
    plan: F,
    reply: oneshot::Sender<Result<T>>,
}

struct Answer<T> {
    value: T,
    reply: oneshot::Sender<Result<T>>,
}

impl<T: Send + 'static, F: FnOnce(&mut Pending) -> Result<T> + Send> Request for Plan<F, T> {
    fn plan(self: Box<Self>, pending: &mut Pending) -> Option<Box<dyn Planned>> {
        let Self { plan, reply } = *self;
        if reply.is_canceled() {
            return None;
        }
        match plan(pending) {
            Ok(value) => Some(Box::new(Answer { value, reply })),
            Err(error) => {
                // A caller that has gone meanwhile does not want to know.
                let _ = reply.send(Err(error));
                None
            }
        }
    }

    fn refuse(self: Box<Self>, error: Error) {
        let _ = self.reply.send(Err(error));
    }
}

impl<T: Send> Planned for Answer<T> {
    fn answer(self: Box<Self>, result: Result<()>) {
        let Self { value, reply } = *self;
        // A caller that has gone meanwhile does not want to know.
        let _ = reply.send(result.map(|()| value));
    }
}

impl Queue {
    fn requests(&self) -> MutexGuard<'_, Requests> {
        // Only whole requests are pushed and taken: a panic elsewhere leaves nothing half done.
        self.requests.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits until somebody wants something, or nobody ever will.
    async fn wanted<L>(&self, sealing: &Sealing<L>) -> Wanted {
        poll_fn(|context| {
            self.committer.register(context.waker());
            // In this order: the last appender queues before it goes.
            let gone = self.appenders.load(Ordering::Acquire) == 0;
            match (self.requests().waiting.is_empty(), gone) {
                (false, _) => Poll::Ready(Wanted::Rows),
                (true, _) if sealing.poll_news(context) => Poll::Ready(Wanted::Sealed),
                (true, true) => Poll::Ready(Wanted::Nothing),
                (true, false) => Poll::Pending,
            }
        })
        .await
    }

    fn take(&self) -> Option<Box<dyn Request>> {
        self.requests().waiting.pop_front()
    }

    /// Refuses all that wait, and all that come.
    fn close(&self, error: &Error) {
        let waiting = {
            let mut requests = self.requests();
            requests.closed.get_or_insert_with(|| error.clone());
            std::mem::take(&mut requests.waiting)
        };
        waiting.into_iter().for_each(|request| request.refuse(error.clone()));
    }
}

impl Clone for Appender {
    fn clone(&self) -> Self {
        self.queue.appenders.fetch_add(1, Ordering::Relaxed);
        Self { queue: Arc::clone(&self.queue) }
    }
}

impl Drop for Appender {
    fn drop(&mut self) {
        if self.queue.appenders.fetch_sub(1, Ordering::AcqRel) == 1 {
            self.queue.committer.wake();
        }
    }
}

impl fmt::Debug for Appender {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Appender").finish_non_exhaustive()
    }
}

impl<D: Disk> fmt::Debug for Committer<D> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Committer").field("writer", &self.writer).finish_non_exhaustive()
    }
}

impl Appender {
    /// Appends one row and waits until it is durable ([`Durability::Buffered`](crate::Durability): shown); returns its
    /// row number.
    ///
    /// Dropping the future before the committer has taken the row withdraws it; later the row is committed all
    /// the same.
    ///
    /// # Errors
    /// As [`Pending::append`] and [`Writer::commit`]; `Closed` if there is no committer any more.
    pub async fn append(&self, key: u64, values: &[Value<'_>]) -> Result<u64> {
        let row = OwnedRow::new(values);
        self.commit_with(move |pending| row.append(key, pending)).await
    }

    /// Appends a batch and waits as [`Appender::append`] does; returns its row numbers.
    ///
    /// # Errors
    /// As [`Pending::append_batch`] and [`Writer::commit`]; `Closed` if there is no committer any more.
    pub async fn append_batch(&self, keys: Vec<u64>, values: Vec<OwnedValues>) -> Result<Range<u64>> {
        self.commit_with(move |pending| {
            let values: Vec<Values<'_>> = values.iter().map(OwnedValues::borrow).collect();
            pending.append_batch(&keys, &values)
        })
        .await
    }

    /// Runs `plan` on the pending rows, all of what it does in one commit, and waits until that is durable. A
    /// plan that returns an error leaves the pending rows as they were. It sees the rows of callers before it as
    /// pending: `expect_rows` counts them.
    ///
    /// # Errors
    /// The plan's own; as [`Writer::commit`]; `Closed` if there is no committer any more.
    pub async fn commit_with<T: Send + 'static>(
        &self,
        plan: impl FnOnce(&mut Pending) -> Result<T> + Send + 'static,
    ) -> Result<T> {
        let (reply, answer) = oneshot::channel();
        {
            let mut requests = self.queue.requests();
            if let Some(error) = &requests.closed {
                return Err(error.clone());
            }
            requests.waiting.push_back(Box::new(Plan { plan, reply }));
        }
        self.queue.committer.wake();
        answer.await.unwrap_or(Err(Error::Closed))
    }
}

/// A column's values for [`Appender::append_batch`], owned, since they wait in a queue.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum OwnedValues {
    /// As [`Values::U64`].
    U64(Vec<u64>),
    /// As [`Values::I64`].
    I64(Vec<i64>),
    /// As [`Values::F64`].
    F64(Vec<f64>),
    /// As [`Values::U32`].
    U32(Vec<u32>),
    /// As [`Values::I32`].
    I32(Vec<i32>),
    /// As [`Values::F32`].
    F32(Vec<f32>),
    /// As [`Values::Bool`].
    Bool(Vec<bool>),
    /// As [`Values::Bytes`].
    Bytes {
        /// All values, one behind the other.
        data: Vec<u8>,
        /// Where each ends.
        ends: Vec<u64>,
    },
    /// As [`Values::Text`].
    Text {
        /// All values, one behind the other.
        data: String,
        /// Where each ends, in bytes.
        ends: Vec<u64>,
    },
}

impl OwnedValues {
    fn borrow(&self) -> Values<'_> {
        match self {
            OwnedValues::U64(values) => Values::U64(values),
            OwnedValues::I64(values) => Values::I64(values),
            OwnedValues::F64(values) => Values::F64(values),
            OwnedValues::U32(values) => Values::U32(values),
            OwnedValues::I32(values) => Values::I32(values),
            OwnedValues::F32(values) => Values::F32(values),
            OwnedValues::Bool(values) => Values::Bool(values),
            OwnedValues::Bytes { data, ends } => Values::Bytes { data, ends },
            OwnedValues::Text { data, ends } => Values::Text { data, ends },
        }
    }
}

/// A row's values while they wait in the queue.
struct OwnedRow {
    values: Vec<OwnedValue>,
    bytes: Vec<u8>,
}

enum OwnedValue {
    Plain(Value<'static>),
    Bytes(Range<usize>),
    Text(Range<usize>),
}

impl OwnedRow {
    fn new(values: &[Value<'_>]) -> Self {
        let mut bytes = Vec::new();
        let mut keep = |value: &[u8]| {
            let start = bytes.len();
            bytes.extend_from_slice(value);
            start..bytes.len()
        };
        let own = |value: &Value<'_>| match *value {
            Value::Null => OwnedValue::Plain(Value::Null),
            Value::U64(value) => OwnedValue::Plain(Value::U64(value)),
            Value::I64(value) => OwnedValue::Plain(Value::I64(value)),
            Value::F64(value) => OwnedValue::Plain(Value::F64(value)),
            Value::U32(value) => OwnedValue::Plain(Value::U32(value)),
            Value::I32(value) => OwnedValue::Plain(Value::I32(value)),
            Value::F32(value) => OwnedValue::Plain(Value::F32(value)),
            Value::Bool(value) => OwnedValue::Plain(Value::Bool(value)),
            Value::Bytes(value) => OwnedValue::Bytes(keep(value)),
            Value::Text(value) => OwnedValue::Text(keep(value.as_bytes())),
        };
        let values = values.iter().map(own).collect();
        Self { values, bytes }
    }

    fn append(&self, key: u64, pending: &mut Pending) -> Result<u64> {
        let borrow = |value: &OwnedValue| match value {
            OwnedValue::Plain(value) => *value,
            OwnedValue::Bytes(range) => Value::Bytes(&self.bytes[range.clone()]),
            // It was text when it was copied.
            OwnedValue::Text(range) => {
                Value::Text(std::str::from_utf8(&self.bytes[range.clone()]).unwrap_or_default())
            }
        };
        let values: Vec<Value<'_>> = self.values.iter().map(borrow).collect();
        pending.append(key, &values)
    }
}

impl<D: Disk> Writer<D> {
    /// Hands the writer to a committer, for many callers. Rows that are pending are its first commit.
    #[must_use]
    pub fn share(self) -> (Appender, Committer<D>) {
        let queue = Arc::new(Queue::default());
        queue.appenders.store(1, Ordering::Relaxed);
        (Appender { queue: Arc::clone(&queue) }, Committer { writer: self, gate: Gate(queue) })
    }
}

/// A caller whose rows were cut from a full group: the first of the next.
type Held = (Pending, Box<dyn Planned>);

impl<D: Disk> Committer<D> {
    /// Commits until every appender is gone, then gives the writer back. Spawn it on the writer's core.
    ///
    /// # Errors
    /// The error that poisoned the writer. Who waits then, or comes later, is told `Poisoned`.
    pub async fn run(mut self) -> Result<Writer<D>> {
        let mut held = None;
        if !self.commit_own().await? {
            return Ok(self.writer);
        }
        loop {
            let next = match held {
                Some(_) => Wanted::Rows,
                None => self.gate.0.wanted(self.writer.sealing()).await,
            };
            match next {
                Wanted::Rows => {}
                Wanted::Sealed => {
                    self.publish_sealed().await?;
                    continue;
                }
                Wanted::Nothing => break,
            }
            // Callers that the last commit woke get their turn to queue their next rows first.
            yield_once().await;
            let (group, cut) = self.gather(held);
            held = cut;
            if let Err(error) = self.commit_group(group).await {
                let poisoned = self.poison(&error);
                if let Some((_, planned)) = held {
                    planned.answer(Err(poisoned));
                }
                return Err(error);
            }
        }
        Ok(self.writer)
    }

    /// Commits what was pending before the writer was shared, before anybody else's rows. While there is no space
    /// for it there is none for others: they are told so. False when nobody is left who wants anything; what
    /// could not be committed is still pending then.
    async fn commit_own(&mut self) -> Result<bool> {
        loop {
            match self.writer.commit().await {
                Ok(_) => return Ok(true),
                Err(error @ Error::Full { .. }) => {
                    // Those who came before it was tried; the next one has it tried again first.
                    while let Some(request) = self.gate.0.take() {
                        request.refuse(error.clone());
                    }
                    if self.gate.0.wanted(self.writer.sealing()).await == Wanted::Nothing {
                        return Ok(false);
                    }
                }
                Err(error) => {
                    self.poison(&error);
                    return Err(error);
                }
            }
        }
    }

    /// Nobody has rows: what was sealed need not wait for some.
    async fn publish_sealed(&mut self) -> Result<()> {
        let published = self.writer.sync().await;
        published.inspect_err(|error| drop(self.poison(error)))
    }

    /// Tells all who wait, or come later, that the writer has stopped.
    fn poison(&self, error: &Error) -> Error {
        let poisoned = Error::Poisoned { cause: error.to_string().into() };
        self.gate.0.close(&poisoned);
        poisoned
    }

    /// Lets callers append, first come first, while one small record holds them all.
    fn gather(&mut self, held: Option<Held>) -> (Vec<Box<dyn Planned>>, Option<Held>) {
        let mut group = Vec::new();
        if let Some((rows, planned)) = held {
            self.writer.pending.rejoin(rows);
            group.push(planned);
        }
        while group.is_empty() || self.writer.has_room() {
            let Some(request) = self.gate.0.take() else { break };
            self.writer.pending.enter();
            let planned = request.plan(&mut self.writer.pending);
            let mark = self.writer.pending.leave();
            let Some(planned) = planned else {
                self.writer.pending.back_to(&mark);
                continue;
            };
            let two_notes = self.writer.pending.keep_note(&mark);
            if !group.is_empty() && (two_notes || !self.writer.has_room()) {
                return (group, Some((self.writer.pending.split_off(&mark), planned)));
            }
            group.push(planned);
        }
        (group, None)
    }

    /// One commit; every caller is told. An error here is one that stops the writer.
    async fn commit_group(&mut self, group: Vec<Box<dyn Planned>>) -> Result<()> {
        let result = self.writer.commit().await.map(|_| ());
        if result.is_err() {
            self.writer.pending.clear();
        }
        group.into_iter().for_each(|planned| planned.answer(result.clone()));
        match result {
            Err(Error::Full { .. }) => Ok(()),
            result => result,
        }
    }
}

/// Lets other tasks of this core run once.
async fn yield_once() {
    let mut yielded = false;
    poll_fn(|context| {
        if std::mem::replace(&mut yielded, true) {
            return Poll::Ready(());
        }
        context.waker().wake_by_ref();
        Poll::Pending
    })
    .await;
}
