//! Sealing and compacting beside the writer: a call of `maintain` that goes on between any two of the writer's operations, and may be
//! dropped there; or one that is waited for.
//!
//! Not here: what the writer does (`acts`).

use std::cell::RefCell;
use std::future::{Future, poll_fn};
use std::pin::{Pin, pin};
use std::rc::Rc;
use std::task::{Context, Poll};

use tidelog::disk::sim::{Random, SimDisk};
use tidelog::{Error, Maintain, Maintained, Store, Tier, Writer};

use super::{Did, Life, within};
use crate::life::Wrong;

type Answer = Result<Maintained, Error>;

/// Who seals.
pub(crate) struct Sealer {
    call: Option<Pin<Box<dyn Future<Output = Answer>>>>,
    answers: Vec<Answer>,
    random: Random,
}

impl Sealer {
    pub(super) fn new(random: Random) -> Rc<RefCell<Self>> {
        Rc::new(RefCell::new(Sealer { call: None, answers: Vec::new(), random }))
    }

    /// Drops the call, if there is one.
    pub(super) fn stop(&mut self) -> bool {
        self.call.take().is_some()
    }

    /// The writer's work, with the call between its operations.
    pub(super) async fn beside(
        sealer: Rc<RefCell<Self>>,
        writer: SimDisk,
        work: impl Future<Output = Did>,
    ) -> Did {
        let mut work = pin!(work);
        poll_fn(move |context| {
            sealer.borrow_mut().poll(&writer, context);
            work.as_mut().poll(context)
        })
        .await
    }

    fn poll(&mut self, writer: &SimDisk, context: &mut Context<'_>) {
        if writer.is_stopped() {
            return;
        }
        for _ in 0..self.random.below(4) {
            let Some(call) = &mut self.call else { return };
            if let Poll::Ready(answer) = call.as_mut().poll(context) {
                self.answers.push(answer);
                self.call = None;
            }
        }
    }
}

async fn call(store: Store<SimDisk>, work: Maintain) -> Answer {
    store.maintain(work).await
}

impl Life {
    /// Begins a call beside the work to come, drops the one that is under way, or makes one and waits for it.
    pub(super) async fn seal(&mut self, writer: &Writer<SimDisk>, last: bool) -> Did {
        self.doing = "sealing";
        let work = match self.random.below(6) {
            0 => Maintain::Compact(Tier::Fast),
            1 => Maintain::Compact(Tier::Dense),
            _ => Maintain::Seal,
        };
        if last || self.random.below(3) == 0 {
            let squeezed = !last && self.squeeze();
            let polls = [6, 60][self.random.index(2)];
            let drop_at = self.draw_drop(last, polls);
            let answer = within(drop_at, call(writer.store(), work)).await;
            self.release();
            match answer {
                Some(Err(Error::Full { .. })) if squeezed => self.story.fulls += 1,
                Some(answer) => self.heed(answer)?,
                None => self.stopped_sealing(),
            }
            return Ok(());
        }
        let stopped = self.sealer.borrow_mut().stop();
        if stopped {
            self.stopped_sealing();
        } else {
            self.sealer.borrow_mut().call = Some(Box::pin(call(writer.store(), work)));
        }
        Ok(())
    }

    /// A call was dropped: what it has asked for may still come to pass.
    pub(super) fn stopped_sealing(&mut self) {
        self.story.stopped_seals += 1;
        self.loose = true;
    }

    /// What became of calls that went on beside.
    pub(super) fn heed_sealer(&mut self) -> Did {
        let answers = std::mem::take(&mut self.sealer.borrow_mut().answers);
        answers.into_iter().try_for_each(|answer| self.heed(answer))
    }

    fn heed(&mut self, answer: Answer) -> Did {
        let error = match answer {
            Ok(Maintained::Sealed { .. }) => {
                self.story.seals += 1;
                return Ok(());
            }
            Ok(Maintained::Compacted { .. }) => {
                self.story.compacted += 1;
                return Ok(());
            }
            Ok(_) => return Ok(()),
            Err(error) => error,
        };
        self.say(|| format!("sealing: {error}"));
        let allowed = match &error {
            Error::Io { .. } => self.errors.0 > 0.0,
            Error::Full { .. } => self.errors.1 > 0.0,
            _ => false,
        };
        match allowed {
            true => Ok(()),
            false => Err(Wrong::new(format!("sealing was refused: {error}")).into()),
        }
    }
}
