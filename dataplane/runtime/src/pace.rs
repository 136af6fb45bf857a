//! Fairness on a shard: giving way to other tasks, and the pauses in which timers fire.
//!
//! monoio looks at its timers only when no task is ready. A shard that always has something to do (a
//! sender that never lets the socket run dry is enough) would then let no timeout and no keepalive
//! happen. So a busy shard asks now and then for a timer of 1 ms; when that is late, whoever gives way
//! or waits for a socket stands still until it has fired, the queue runs empty, and all timers that
//! are due fire with it. A quiet shard asks for nothing.

use std::cell::{Cell, RefCell};
use std::task::{Poll, Waker};
use std::time::Duration;

use crate::clock;

thread_local! {
    static PACE: Pace = const { Pace::new() };
}

struct Pace {
    // Tasks that gave way, and the task that wakes them.
    yielded: RefCell<Vec<Waker>>,
    yielder: RefCell<Option<Waker>>,
    turns: Cell<u32>,
    // When a timer was asked for that has not fired.
    asked: Cell<Option<Duration>>,
    // It is late: tasks stand still.
    halted: Cell<bool>,
    standing: RefCell<Vec<Waker>>,
}

/// Begins anew on this thread: called by whoever starts a driver here.
pub(crate) fn begin() {
    PACE.with(|pace| {
        drop(pace.yielded.take());
        drop(pace.standing.take());
        drop(pace.yielder.take());
        pace.turns.set(0);
        pace.asked.set(None);
        pace.halted.set(false);
    });
    drop(monoio::spawn(std::future::poll_fn(|cx| {
        let mut woken = PACE.with(|pace| {
            drop(pace.yielder.replace(Some(cx.waker().clone())));
            std::mem::take(&mut *pace.yielded.borrow_mut())
        });
        woken.drain(..).for_each(Waker::wake);
        // The vector is kept, so that giving way allocates nothing.
        PACE.with(|pace| {
            let mut yielded = pace.yielded.borrow_mut();
            if yielded.is_empty() {
                *yielded = woken;
            }
        });
        Poll::<()>::Pending
    })));
}

/// Lets the other ready tasks of this shard run first.
pub async fn yield_now() {
    step().await;
    let mut gave_way = false;
    std::future::poll_fn(|cx| {
        if gave_way {
            return Poll::Ready(());
        }
        gave_way = true;
        // Woken by a task that stands behind all that are ready: monoio puts a task that wakes itself
        // to the front of its queue, where it would run again before anybody else.
        PACE.with(|pace| {
            pace.yielded.borrow_mut().push(cx.waker().clone());
            if let Some(yielder) = pace.yielder.borrow().as_ref() {
                yielder.wake_by_ref();
            }
        });
        Poll::Pending
    })
    .await;
}

/// One turn of a loop that waits for sockets. Stands still while timers are late, else costs a count.
pub async fn step() {
    if PACE.with(Pace::is_in_time) {
        return;
    }
    std::future::poll_fn(|cx| {
        PACE.with(|pace| {
            if !pace.halted.get() {
                return Poll::Ready(());
            }
            pace.standing.borrow_mut().push(cx.waker().clone());
            Poll::Pending
        })
    })
    .await;
}

impl Pace {
    const fn new() -> Self {
        Self {
            yielded: RefCell::new(Vec::new()),
            yielder: RefCell::new(None),
            turns: Cell::new(0),
            asked: Cell::new(None),
            halted: Cell::new(false),
            standing: RefCell::new(Vec::new()),
        }
    }

    fn is_in_time(&self) -> bool {
        if self.halted.get() {
            return false;
        }
        let turns = self.turns.get() + 1;
        if turns < TURNS {
            self.turns.set(turns);
            return true;
        }
        self.turns.set(0);
        let now = clock::now();
        match self.asked.get() {
            None => {
                self.asked.set(Some(now));
                drop(monoio::spawn(async {
                    monoio::time::sleep(TICK).await;
                    PACE.with(Self::fired);
                }));
                true
            }
            Some(asked) if now.saturating_sub(asked) > LATE => {
                self.halted.set(true);
                false
            }
            Some(_) => true,
        }
    }

    fn fired(&self) {
        self.asked.set(None);
        self.halted.set(false);
        let standing = std::mem::take(&mut *self.standing.borrow_mut());
        standing.into_iter().for_each(Waker::wake);
    }
}

/// Turns between two looks at the clock.
const TURNS: u32 = 64;
/// The resolution of timers.
const TICK: Duration = Duration::from_millis(1);
/// How late a timer may be before the shard stands still for it.
const LATE: Duration = Duration::from_millis(10);

#[cfg(test)]
mod tests {
    use super::*;
    use crate::local::{Once, both, either};
    use crate::shard::{Driver, choose, run_here};
    use std::rc::Rc;

    fn on_both_drivers(test: impl AsyncFn()) {
        for driver in [choose(None).unwrap().driver, Driver::Epoll] {
            run_here(driver, test()).unwrap();
        }
    }

    #[test]
    fn timers_fire_on_a_shard_that_never_rests() {
        on_both_drivers(async || {
            let stop = Rc::new(Cell::new(false));
            let busy: Vec<_> = (0..3)
                .map(|_| {
                    let stop = Rc::clone(&stop);
                    monoio::spawn(async move {
                        let mut turns = 0_u64;
                        // Bounded, so that a shard that starves its timers fails instead of hanging.
                        while !stop.get() && turns < 20_000_000 {
                            yield_now().await;
                            turns += 1;
                        }
                        stop.get()
                    })
                })
                .collect();
            for _ in 0..5 {
                monoio::time::sleep(Duration::from_millis(5)).await;
            }
            stop.set(true);
            for task in busy {
                assert!(task.await, "no timer fired while tasks were ready");
            }
        });
    }

    #[test]
    fn whoever_yields_goes_on_after_those_who_were_ready() {
        on_both_drivers(async || {
            let order = Rc::new(RefCell::new(Vec::new()));
            let start = Rc::new(Once::new());
            let tasks: Vec<_> = (0..3)
                .map(|name| {
                    let (order, start) = (Rc::clone(&order), Rc::clone(&start));
                    monoio::spawn(async move {
                        start.wait().await;
                        order.borrow_mut().push(name);
                        yield_now().await;
                        order.borrow_mut().push(name + 10);
                    })
                })
                .collect();
            yield_now().await;
            start.happen();
            for task in tasks {
                task.await;
            }
            assert_eq!(*order.borrow(), [0, 1, 2, 10, 11, 12]);
        });
    }

    #[test]
    fn two_halves_of_one_task_may_both_give_way() {
        on_both_drivers(async || {
            both(yield_now(), yield_now()).await;
            either(yield_now(), async { yield_now().await }).await;
        });
    }
}
