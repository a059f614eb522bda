//! Executors that do the same again for the same seed: for one future, for several, for so many polls.

use std::cell::RefCell;
use std::fmt;
use std::future::Future;
use std::pin::{Pin, pin};
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll, Wake, Waker};

use super::{Random, SimDisk};

/// Why a future did not come to its end.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Stopped {
    /// The process was stopped, or has ended.
    Crashed,
    /// Nothing is left that would wake it. In words, what is still in flight.
    Stuck(String),
}

impl fmt::Display for Stopped {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Stopped::Crashed => formatter.write_str("the simulated process crashed"),
            Stopped::Stuck(what) => write!(formatter, "nothing goes on: {what}"),
        }
    }
}

impl std::error::Error for Stopped {}

/// After so many polls it is time to look whether the process still runs: who keeps waking himself would not
/// notice that it has ended.
const LOOK_EVERY: u64 = 1024;

/// Whether a task was woken since its last poll.
struct Flag(AtomicBool);

impl Wake for Flag {
    fn wake(self: Arc<Self>) {
        self.0.store(true, Ordering::Release);
    }

    fn wake_by_ref(self: &Arc<Self>) {
        self.0.store(true, Ordering::Release);
    }
}

impl Flag {
    fn new() -> Arc<Self> {
        Arc::new(Flag(AtomicBool::new(true)))
    }

    fn take(&self) -> bool {
        self.0.swap(false, Ordering::Acquire)
    }
}

/// Polls one future to its end, or until the process of `disk` is stopped. The future is dropped then.
pub fn run<F: Future>(disk: &SimDisk, future: F) -> Result<F::Output, Stopped> {
    let flag = Flag::new();
    let waker = Waker::from(flag.clone());
    let mut context = Context::from_waker(&waker);
    let mut future = pin!(future);
    let mut polls = 0_u64;
    while flag.take() {
        if let Poll::Ready(output) = future.as_mut().poll(&mut context) {
            return Ok(output);
        }
        polls += 1;
        if polls.is_multiple_of(LOOK_EVERY) && disk.is_stopped() {
            break;
        }
    }
    Err(why(disk))
}

/// Why nobody was woken. A stopped process wakes nobody.
fn why(disk: &SimDisk) -> Stopped {
    if disk.is_stopped() { Stopped::Crashed } else { Stopped::Stuck(disk.world().describe(disk.process)) }
}

/// Polls a future so many times, woken or not, then drops it. Returns its output, if it came that far.
pub fn poll_times<F: Future>(future: F, times: usize) -> Option<F::Output> {
    let mut context = Context::from_waker(Waker::noop());
    let mut future = pin!(future);
    for _ in 0..times {
        if let Poll::Ready(output) = future.as_mut().poll(&mut context) {
            return Some(output);
        }
    }
    None
}

/// Several futures, of which a random one that was woken is polled next. They need not be `Send`.
pub struct Executor<'a> {
    disk: SimDisk,
    random: Random,
    polls: u64,
    tasks: Vec<Option<Spawned<'a>>>,
}

struct Spawned<'a> {
    future: Pin<Box<dyn Future<Output = ()> + 'a>>,
    flag: Arc<Flag>,
    waker: Waker,
}

/// What became of a future that was given to an [`Executor`]. Awaiting it gives its output.
pub struct Task<T> {
    number: usize,
    slot: Rc<RefCell<Slot<T>>>,
}

struct Slot<T> {
    output: Option<T>,
    finished: bool,
    waker: Option<Waker>,
}

impl<T> fmt::Debug for Task<T> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("Task").field("number", &self.number).finish_non_exhaustive()
    }
}

impl<T> Task<T> {
    /// Whether the future has come to its end.
    #[must_use]
    pub fn is_finished(&self) -> bool {
        self.slot.borrow().finished
    }

    /// The future's output, once.
    #[must_use]
    pub fn take(&self) -> Option<T> {
        self.slot.borrow_mut().output.take()
    }
}

impl<T> Future for Task<T> {
    type Output = T;

    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<T> {
        let mut slot = self.slot.borrow_mut();
        match slot.output.take() {
            Some(output) => Poll::Ready(output),
            None => {
                slot.waker = Some(context.waker().clone());
                Poll::Pending
            }
        }
    }
}

impl fmt::Debug for Executor<'_> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("Executor").field("tasks", &self.tasks.len()).finish_non_exhaustive()
    }
}

impl<'a> Executor<'a> {
    /// An executor for futures that run in the process of `disk`. The order of polls is drawn from `seed`.
    #[must_use]
    pub fn new(disk: &SimDisk, seed: u64) -> Self {
        Executor { disk: disk.clone(), random: Random::new(seed), polls: 0, tasks: Vec::new() }
    }

    /// Adds a future. It is not polled yet.
    pub fn spawn<T: 'a>(&mut self, future: impl Future<Output = T> + 'a) -> Task<T> {
        let slot = Rc::new(RefCell::new(Slot { output: None, finished: false, waker: None }));
        let result = slot.clone();
        let future = Box::pin(async move {
            let output = future.await;
            let waker = {
                let mut slot = result.borrow_mut();
                slot.output = Some(output);
                slot.finished = true;
                slot.waker.take()
            };
            waker.into_iter().for_each(Waker::wake);
        });
        let flag = Flag::new();
        let waker = Waker::from(flag.clone());
        self.tasks.push(Some(Spawned { future, flag, waker }));
        Task { number: self.tasks.len() - 1, slot }
    }

    /// Drops a task's future, wherever it stands.
    pub fn cancel<T>(&mut self, task: &Task<T>) {
        self.tasks[task.number] = None;
    }

    /// Polls one task that was woken. `false`: there is none.
    pub fn step(&mut self) -> bool {
        let woken = |task: &Option<Spawned<'_>>| {
            task.as_ref().is_some_and(|task| task.flag.0.load(Ordering::Acquire))
        };
        let ready: Vec<usize> = (0..self.tasks.len()).filter(|place| woken(&self.tasks[*place])).collect();
        self.polls += 1;
        if ready.is_empty() || self.polls.is_multiple_of(LOOK_EVERY) && self.disk.is_stopped() {
            return false;
        }
        let chosen = ready[self.random.index(ready.len())];
        if let Some(task) = &mut self.tasks[chosen] {
            task.flag.take();
            let mut context = Context::from_waker(&task.waker);
            if task.future.as_mut().poll(&mut context).is_ready() {
                self.tasks[chosen] = None;
            }
        }
        true
    }

    /// Runs until every task has come to its end.
    pub fn run(&mut self) -> Result<(), Stopped> {
        while self.step() {}
        if self.tasks.iter().all(Option::is_none) { Ok(()) } else { Err(why(&self.disk)) }
    }

    /// Runs until this task has come to its end; the others stay where they are.
    pub fn run_until<T>(&mut self, task: &Task<T>) -> Result<T, Stopped> {
        loop {
            if let Some(output) = task.take() {
                return Ok(output);
            }
            if !self.step() {
                return Err(why(&self.disk));
            }
        }
    }
}
