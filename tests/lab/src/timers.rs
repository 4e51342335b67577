//! One virtual clock for everything that a function waits for: backoff, timeouts and deadlines.
//!
//! While work is driven, a sleep is a timer. The clock moves to the next timer only when nothing else can go on. So a
//! call without an answer takes as long as its timeout, and calls that wait at once wait once.

use std::collections::BTreeMap;
use std::future::poll_fn;
use std::pin::{Pin, pin};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Wake, Waker};

use enroller_sim::Sim;

/// The timers of one installation. Clones share them.
#[derive(Clone, Debug, Default)]
pub(crate) struct Timers(Arc<Mutex<State>>);

#[derive(Debug, Default)]
struct State {
    /// How many pieces of work are being driven. Without any, nothing would ever move the clock to a timer.
    driven: usize,
    last: u64,
    /// By time in epoch milliseconds and number.
    waiting: BTreeMap<(u64, u64), Waker>,
}

impl Timers {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether somebody moves the clock to the timers.
    pub(crate) fn are_driven(&self) -> bool {
        self.lock().driven > 0
    }

    /// Waits until the clock shows this time.
    pub(crate) async fn until(&self, sim: &Sim, at_ms: u64) {
        let number = {
            let mut state = self.lock();
            state.last += 1;
            state.last
        };
        let timer = Timer { timers: self.clone(), key: (at_ms, number) };
        poll_fn(|context| {
            if sim.now_ms() >= at_ms {
                return Poll::Ready(());
            }
            timer.timers.lock().waiting.insert(timer.key, context.waker().clone());
            Poll::Pending
        })
        .await;
    }

    /// Does the work, and moves the clock to the next timer whenever all of it waits.
    pub(crate) async fn drive<T>(&self, sim: &Sim, work: impl Future<Output = T>) -> T {
        let _driving = Driving::begin(self);
        // With its budget used up, tokio lets work wait that it wakes only later.
        let mut work = pin!(tokio::task::unconstrained(work));
        poll_fn(|context| self.poll_driven(sim, work.as_mut(), context)).await
    }

    fn poll_driven<T>(&self, sim: &Sim, mut work: Pin<&mut impl Future<Output = T>>, context: &Context<'_>) -> Poll<T> {
        loop {
            let woken = Arc::new(Woken { woken: AtomicBool::new(false), outer: context.waker().clone() });
            let waker = Waker::from(Arc::clone(&woken));
            if let Poll::Ready(done) = work.as_mut().poll(&mut Context::from_waker(&waker)) {
                return Poll::Ready(done);
            }
            if woken.woken.load(Ordering::Relaxed) {
                return Poll::Pending;
            }
            // The process died in a call, and makes no more.
            let dead = sim.with(|world| world.faults.hanging());
            if dead || !self.fire_next(sim) {
                return Poll::Pending;
            }
        }
    }

    /// Moves the clock to the next timer; false if there is none.
    fn fire_next(&self, sim: &Sim) -> bool {
        let next = self.lock().waiting.pop_first();
        let Some(((at_ms, _), waker)) = next else { return false };
        sim.advance(at_ms.saturating_sub(sim.now_ms()));
        waker.wake();
        true
    }
}

struct Timer {
    timers: Timers,
    key: (u64, u64),
}

impl Drop for Timer {
    fn drop(&mut self) {
        self.timers.lock().waiting.remove(&self.key);
    }
}

struct Driving<'a>(&'a Timers);

impl<'a> Driving<'a> {
    fn begin(timers: &'a Timers) -> Self {
        timers.lock().driven += 1;
        Self(timers)
    }
}

impl Drop for Driving<'_> {
    fn drop(&mut self) {
        self.0.lock().driven -= 1;
    }
}

/// Tells whether the work has been woken since it was polled.
struct Woken {
    woken: AtomicBool,
    outer: Waker,
}

impl Wake for Woken {
    fn wake(self: Arc<Self>) {
        self.woken.store(true, Ordering::Relaxed);
        self.outer.wake_by_ref();
    }
}

#[cfg(test)]
mod tests {
    use enroller_sim::World;

    use super::*;

    #[tokio::test]
    async fn what_waits_at_once_waits_once_and_the_clock_stands_still_meanwhile() {
        let (sim, timers) = (Sim::new(World::new(1)), Timers::default());
        let begun = sim.now_ms();
        let wait = |ms| timers.until(&sim, begun + ms);
        let both = async { tokio::join!(wait(7_000), async { (wait(5_000).await, sim.now_ms()) }) };
        let (_, (_, then)) = timers.drive(&sim, both).await;
        assert_eq!((then, sim.now_ms()), (begun + 5_000, begun + 7_000));
        assert!(!timers.are_driven() && timers.lock().waiting.is_empty());
    }
}
