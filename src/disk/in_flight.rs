//! Requests that the kernel has, and their executor's knowledge of them.
//!
//! Invariant: what a request owns (file, buffer, lock) is released by its completion and by nothing else. If its
//! task ends before, because the executor does, it is leaked: the kernel may still use all of it, and the store
//! stays locked until this process ends.
//! Not here: making requests (the io_uring disk).

use std::cell::Cell;
use std::future::poll_fn;
use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::Pin;
use std::rc::Rc;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};

use super::pulse::Pulse;
use super::system::unsupported;

/// Counts the requests of one executor.
pub(super) struct Gate {
    requests: Cell<usize>,
    ended: Cell<bool>,
    idle: Cell<Option<Waker>>,
    #[expect(dead_code, reason = "its end is the end of the pulse")]
    pulse: Arc<Pulse>,
}

impl Gate {
    pub(super) fn new(pulse: Arc<Pulse>) -> Rc<Self> {
        Rc::new(Self { requests: Cell::new(0), ended: Cell::new(false), idle: Cell::new(None), pulse })
    }

    /// Lets nothing in any more, and waits for what is in.
    pub(super) async fn end(&self) {
        self.ended.set(true);
        poll_fn(|context| match self.requests.get() {
            0 => Poll::Ready(()),
            _ => {
                self.idle.set(Some(context.waker().clone()));
                Poll::Pending
            }
        })
        .await;
    }
}

/// One request that was let in.
struct Entry(Rc<Gate>);

impl Drop for Entry {
    fn drop(&mut self) {
        self.0.requests.set(self.0.requests.get() - 1);
        if self.0.requests.get() == 0
            && let Some(waker) = self.0.idle.take()
        {
            waker.wake();
        }
    }
}

/// A request, to be spawned as a task of its own.
pub(super) struct InFlight<F> {
    request: Option<Pin<Box<F>>>,
    entry: Option<Entry>,
}

impl<F> InFlight<F> {
    pub(super) fn new(gate: &Rc<Gate>, request: F) -> io::Result<Self> {
        if gate.ended.get() {
            return Err(io::Error::other("the executor is ending"));
        }
        gate.requests.set(gate.requests.get() + 1);
        Ok(Self { request: Some(Box::pin(request)), entry: Some(Entry(Rc::clone(gate))) })
    }
}

impl<T, F: Future<Output = io::Result<T>>> Future for InFlight<F> {
    type Output = io::Result<T>;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<T>> {
        let Some(request) = &mut self.request else {
            return Poll::Ready(Err(io::Error::other("the request had ended")));
        };
        let result = match catch_unwind(AssertUnwindSafe(|| request.as_mut().poll(context))) {
            Ok(Poll::Pending) => return Poll::Pending,
            Ok(Poll::Ready(result)) => {
                // Before the caller hears of it: who closes the file then finds it unused.
                self.request = None;
                result
            }
            // It has unwound, and what it owned with it: the executor panics before a request, or behind its end.
            Err(_) => {
                self.request = None;
                Err(unsupported(
                    "the io_uring executor panicked, perhaps over a device that it does not understand; use \
                     `tidelog::disk::Posix`",
                ))
            }
        };
        self.entry = None;
        Poll::Ready(result)
    }
}

impl<F> Drop for InFlight<F> {
    fn drop(&mut self) {
        std::mem::forget(self.request.take());
    }
}

#[cfg(test)]
mod tests {
    use std::pin::pin;

    use futures::executor::block_on;
    use futures::poll;

    use super::*;

    fn gate() -> Rc<Gate> {
        Gate::new(Arc::default())
    }

    #[test]
    fn what_a_finished_request_owns_is_released_before_its_result_is_known() {
        let (gate, owned) = (gate(), Rc::new(()));
        let held = Rc::clone(&owned);
        let mut task = InFlight::new(&gate, async move { Ok(Rc::strong_count(&held)) }).unwrap();
        assert_eq!(block_on(&mut task).unwrap(), 2);
        assert_eq!((Rc::strong_count(&owned), gate.requests.get()), (1, 0));
        assert!(block_on(task).is_err());
    }

    #[test]
    fn what_an_unfinished_request_owns_is_leaked() {
        let (gate, owned) = (gate(), Rc::new(()));
        let held = Rc::clone(&owned);
        let request = async move {
            let _held = held;
            std::future::pending::<io::Result<()>>().await
        };
        let mut task = InFlight::new(&gate, request).unwrap();
        block_on(async { assert!(poll!(&mut task).is_pending()) });
        drop(task);
        assert_eq!((Rc::strong_count(&owned), gate.requests.get()), (2, 0));
    }

    #[test]
    fn a_request_that_panics_is_an_error() {
        let gate = gate();
        let request = async { panic!("as over an odd device") };
        let task: InFlight<_> = InFlight::new(&gate, request).unwrap();
        let error = block_on(async { task.await.map(|(): ()| ()) }).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::Unsupported);
        assert_eq!(gate.requests.get(), 0);
    }

    #[test]
    fn an_end_waits_for_what_is_in_and_lets_nothing_in() {
        let gate = gate();
        let (sender, receiver) = futures::channel::oneshot::channel::<()>();
        let mut task = InFlight::new(&gate, async { receiver.await.map_err(io::Error::other) }).unwrap();
        block_on(async {
            let mut end = pin!(gate.end());
            assert!(poll!(&mut end).is_pending());
            assert!(InFlight::new(&gate, async { io::Result::Ok(()) }).is_err());
            assert!(poll!(&mut task).is_pending());
            sender.send(()).unwrap();
            task.await.unwrap();
            end.await;
        });
    }
}
