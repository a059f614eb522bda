//! A pulse for executors that may fall asleep over work: one thread that wakes each of them now and then.
//!
//! An io_uring executor that is preempted before it has run anything takes that for having nothing to run, and
//! parks; if nobody else wakes it, for ever (upstream's pull request 53; in every release). The
//! preemption timer is enough for that, whenever the thread loses its core at the wrong moment: under load one
//! executor in 150 never got through its first thousand reads with a timer of 2 ms. A pulse bounds such a sleep
//! to [`PERIOD`], and unlike a pending timer on the executor it costs nothing per request.
//!
//! Invariant: a beat wakes through a waker that stays, not through one that its task registers anew: the task of
//! the pulse may itself be among what the executor sleeps over.
//! Not here: executors (the io_uring disk).

use std::io;
use std::pin::Pin;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::task::{Context, Poll, Waker};
use std::time::Duration;

/// The longest that an executor sleeps over runnable work.
pub(super) const PERIOD: Duration = Duration::from_millis(20);

/// An executor that computes for minutes looks at no wakes; they are counted in 16 bits.
const UNSEEN_MAX: u32 = 10_000;

/// The beat of one executor: lasts until it is dropped.
#[derive(Debug, Default)]
pub(super) struct Pulse {
    waker: Mutex<Option<Waker>>,
    /// Beats since the executor last ran the pulse's task.
    unseen: AtomicU32,
}

struct Hearts {
    pulses: Vec<Weak<Pulse>>,
    /// Whether the thread runs; it ends when there is no pulse left.
    beating: bool,
}

static HEARTS: Mutex<Hearts> = Mutex::new(Hearts { pulses: Vec::new(), beating: false });

impl Pulse {
    /// A pulse, and the future that is to be spawned on the executor that it wakes.
    pub(super) fn start() -> io::Result<(Arc<Pulse>, Beaten)> {
        let pulse = Arc::new(Pulse::default());
        let mut hearts = HEARTS.lock().unwrap_or_else(PoisonError::into_inner);
        hearts.pulses.push(Arc::downgrade(&pulse));
        if !hearts.beating {
            std::thread::Builder::new().name("tidelog-pulse".to_owned()).spawn(beat_all)?;
            hearts.beating = true;
        }
        let task = Beaten(Arc::downgrade(&pulse));
        Ok((pulse, task))
    }

    fn beat(&self) {
        if self.unseen.fetch_add(1, Ordering::Relaxed) > UNSEEN_MAX {
            self.unseen.fetch_sub(1, Ordering::Relaxed);
            return;
        }
        if let Some(waker) = &*self.waker.lock().unwrap_or_else(PoisonError::into_inner) {
            waker.wake_by_ref();
        }
    }
}

fn beat_all() {
    loop {
        std::thread::sleep(PERIOD);
        let pulses: Vec<Arc<Pulse>> = {
            let mut hearts = HEARTS.lock().unwrap_or_else(PoisonError::into_inner);
            hearts.pulses.retain(|pulse| pulse.strong_count() > 0);
            hearts.beating = !hearts.pulses.is_empty();
            if !hearts.beating {
                return;
            }
            hearts.pulses.iter().filter_map(Weak::upgrade).collect()
        };
        pulses.iter().for_each(|pulse| pulse.beat());
    }
}

/// The task that is woken. It does nothing, and ends with its pulse.
#[derive(Debug)]
pub(super) struct Beaten(Weak<Pulse>);

impl Future for Beaten {
    type Output = ();

    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<()> {
        let Some(pulse) = self.0.upgrade() else { return Poll::Ready(()) };
        pulse.unseen.store(0, Ordering::Relaxed);
        let mut waker = pulse.waker.lock().unwrap_or_else(PoisonError::into_inner);
        if !waker.as_ref().is_some_and(|waker| waker.will_wake(context.waker())) {
            *waker = Some(context.waker().clone());
        }
        Poll::Pending
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc;
    use std::task::Wake;

    use super::*;

    struct Count(mpsc::Sender<()>);

    impl Wake for Count {
        fn wake(self: Arc<Self>) {
            self.wake_by_ref();
        }

        fn wake_by_ref(self: &Arc<Self>) {
            let _ = self.0.send(());
        }
    }

    #[test]
    fn an_executor_that_never_runs_the_task_is_woken_again_and_again() {
        let (sender, beats) = mpsc::channel();
        let (pulse, mut task) = Pulse::start().unwrap();
        let waker = Waker::from(Arc::new(Count(sender)));
        assert!(Pin::new(&mut task).poll(&mut Context::from_waker(&waker)).is_pending());
        for _ in 0..3 {
            beats.recv().unwrap();
        }
        drop(pulse);
        // The thread may be at it just now.
        while Pin::new(&mut task).poll(&mut Context::from_waker(&waker)).is_pending() {
            std::thread::yield_now();
        }
    }

    #[test]
    fn beats_that_nobody_sees_end_at_their_limit() {
        let (sender, beats) = mpsc::channel();
        let pulse = Arc::new(Pulse::default());
        *pulse.waker.lock().unwrap() = Some(Waker::from(Arc::new(Count(sender))));
        (0..2 * UNSEEN_MAX).for_each(|_| pulse.beat());
        assert_eq!(beats.try_iter().count(), UNSEEN_MAX as usize + 1);
        let mut task = Beaten(Arc::downgrade(&pulse));
        assert!(Pin::new(&mut task).poll(&mut Context::from_waker(Waker::noop())).is_pending());
        assert_eq!(pulse.unseen.load(Ordering::Relaxed), 0);
    }
}
