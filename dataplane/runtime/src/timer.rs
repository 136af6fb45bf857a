//! Timers of a shard: a moment to wait for, or a limit on how long something else may take.
//!
//! A waiting timer is 48 bytes in its task and one entry of an ordered map; one monoio timer a shard
//! sleeps until the earliest. monoio's own timers are 640 bytes each, in every future that may need
//! one. The resolution is a millisecond; a timer is never early.

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use pin_project_lite::pin_project;

use crate::clock;
use crate::local::{Notify, either};

thread_local! {
    static TIMERS: Timers = Timers::default();
}

#[derive(Default)]
struct Timers {
    waiting: RefCell<BTreeMap<Key, Waker>>,
    next: Cell<u64>,
    // What the keeper sleeps for.
    armed: Cell<Option<u64>>,
    sooner: Notify,
}

/// When it is due, in milliseconds of [`clock::now`], and a number of its own.
type Key = (u64, u64);

/// Begins anew on this thread: called by whoever starts a driver here.
pub(crate) fn begin() {
    TIMERS.with(|timers| {
        drop(timers.waiting.take());
        timers.armed.set(None);
        timers.sooner.reset();
    });
    drop(monoio::spawn(keep()));
}

// Wakes what is due and sleeps until the next.
async fn keep() {
    loop {
        let now = clock::now();
        let next = TIMERS.with(|timers| timers.wake_due(now));
        match next {
            Some(tick) => {
                let left = Duration::from_millis(tick).saturating_sub(now).min(NAP_MAX);
                either(
                    std::future::poll_fn(poll_sooner),
                    Box::pin(monoio::time::sleep(left)),
                )
                .await;
            }
            None => std::future::poll_fn(poll_sooner).await,
        }
    }
}

fn poll_sooner(cx: &mut Context<'_>) -> Poll<()> {
    TIMERS.with(|timers| timers.sooner.poll_notified(cx))
}

impl Timers {
    fn wake_due(&self, now: Duration) -> Option<u64> {
        let tick = u64::try_from(now.as_millis()).unwrap_or(u64::MAX);
        let (due, next) = {
            let mut waiting = self.waiting.borrow_mut();
            let later = waiting.split_off(&(tick.saturating_add(1), 0));
            let due = std::mem::replace(&mut *waiting, later);
            (due, waiting.first_key_value().map(|((tick, _), _)| *tick))
        };
        self.armed.set(next);
        due.into_values().for_each(Waker::wake);
        next
    }

    // Wakers are dropped when nothing is borrowed: with the last one goes a task, and its timers.
    fn watch(&self, key: Key, waker: &Waker) -> Poll<()> {
        let replaced = match self.waiting.borrow_mut().get_mut(&key) {
            Some(known) if known.will_wake(waker) => return Poll::Pending,
            Some(known) => std::mem::replace(known, waker.clone()),
            None => return Poll::Ready(()),
        };
        drop(replaced);
        Poll::Pending
    }

    fn remove(&self, key: Key) {
        let removed = self.waiting.borrow_mut().remove(&key);
        drop(removed);
    }

    fn insert(&self, deadline: Duration, waker: &Waker) -> Key {
        let nanos = deadline.as_nanos().div_ceil(1_000_000);
        let tick = u64::try_from(nanos).unwrap_or(u64::MAX);
        let number = self.next.get();
        self.next.set(number + 1);
        let key = (tick, number);
        self.waiting.borrow_mut().insert(key, waker.clone());
        if self.armed.get().is_none_or(|armed| tick < armed) {
            self.sooner.notify();
        }
        key
    }
}

/// A moment that is waited for.
#[derive(Debug)]
#[must_use = "futures do nothing unless awaited"]
pub struct Sleep {
    deadline: Duration,
    key: Option<Key>,
}

/// Waits for `span`, rounded up to a millisecond.
pub fn sleep(span: Duration) -> Sleep {
    Sleep {
        deadline: clock::now().saturating_add(span),
        key: None,
    }
}

impl Future for Sleep {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        TIMERS.with(|timers| {
            if let Some(key) = self.key {
                return timers.watch(key, cx.waker());
            }
            if clock::recent() >= self.deadline {
                return Poll::Ready(());
            }
            self.key = Some(timers.insert(self.deadline, cx.waker()));
            Poll::Pending
        })
    }
}

impl Drop for Sleep {
    fn drop(&mut self) {
        if let Some(key) = self.key {
            // While the thread ends its timers may be gone.
            let _ = TIMERS.try_with(|timers| timers.remove(key));
        }
    }
}

/// It took longer than it was allowed to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[expect(clippy::exhaustive_structs, reason = "there is nothing more to say")]
pub struct Elapsed;

impl fmt::Display for Elapsed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("took too long")
    }
}

impl std::error::Error for Elapsed {}

pin_project! {
    /// The future of [`timeout`].
    #[derive(Debug)]
    #[must_use = "futures do nothing unless awaited"]
    pub struct Timeout<F> {
        #[pin]
        work: F,
        #[pin]
        limit: Sleep,
    }
}

/// Lets `work` take at most `span`. What is ready at once costs no timer.
pub fn timeout<F: Future>(span: Duration, work: F) -> Timeout<F> {
    Timeout {
        work,
        limit: sleep(span),
    }
}

impl<F: Future> Future for Timeout<F> {
    type Output = Result<F::Output, Elapsed>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let this = self.project();
        if let Poll::Ready(done) = this.work.poll(cx) {
            return Poll::Ready(Ok(done));
        }
        this.limit.poll(cx).map(|()| Err(Elapsed))
    }
}

/// The keeper looks at least this often: a moment of the far future is beyond what monoio's timers can say.
const NAP_MAX: Duration = Duration::from_secs(3600);

#[cfg(test)]
mod tests {
    use super::*;
    use crate::pace::yield_now;
    use crate::shard::{Driver, choose, run_here};
    use std::rc::Rc;

    const MS: Duration = Duration::from_millis(1);

    fn on_both_drivers(test: impl AsyncFn()) {
        for driver in [choose(None).unwrap().driver, Driver::Epoll] {
            run_here(driver, test()).unwrap();
        }
    }

    fn waiting() -> usize {
        TIMERS.with(|timers| timers.waiting.borrow().len())
    }

    #[test]
    fn timers_fire_in_the_order_of_their_moments_and_never_early() {
        on_both_drivers(async || {
            let order = Rc::new(RefCell::new(Vec::new()));
            let tasks: Vec<_> = [30_u32, 5, 20, 5, 10]
                .into_iter()
                .map(|span| {
                    let order = Rc::clone(&order);
                    monoio::spawn(async move {
                        let before = clock::now();
                        sleep(span * MS).await;
                        assert!(clock::now() - before >= span * MS);
                        order.borrow_mut().push(span);
                    })
                })
                .collect();
            for task in tasks {
                task.await;
            }
            assert_eq!(*order.borrow(), [5, 5, 10, 20, 30]);
            assert_eq!(waiting(), 0);
        });
    }

    #[test]
    fn a_sooner_timer_does_not_wait_for_a_later_one() {
        on_both_drivers(async || {
            let mut long = std::pin::pin!(sleep(Duration::from_secs(3600)));
            std::future::poll_fn(|cx| {
                assert!(long.as_mut().poll(cx).is_pending());
                Poll::Ready(())
            })
            .await;
            yield_now().await;
            sleep(5 * MS).await;
        });
    }

    #[test]
    fn work_in_time_is_given_back_and_work_beyond_its_limit_is_dropped() {
        on_both_drivers(async || {
            assert_eq!(timeout(MS, async { 7 }).await, Ok(7));
            assert_eq!(timeout(100 * MS, sleep(2 * MS)).await, Ok(()));
            let late = timeout(2 * MS, std::future::pending::<()>()).await;
            assert_eq!(late, Err(Elapsed));
            assert_eq!(timeout(Duration::ZERO, sleep(MS)).await, Err(Elapsed));
            assert_eq!(waiting(), 0, "what was dropped left nothing behind");
        });
    }

    #[test]
    fn a_limit_beyond_all_time_is_no_limit() {
        on_both_drivers(async || {
            assert_eq!(timeout(Duration::MAX, sleep(MS)).await, Ok(()));
            // The keeper has nothing sooner to wait for than the end of time.
            let mut never = std::pin::pin!(sleep(Duration::MAX));
            std::future::poll_fn(|cx| {
                assert!(never.as_mut().poll(cx).is_pending());
                Poll::Ready(())
            })
            .await;
            monoio::time::sleep(5 * MS).await;
            assert_eq!(waiting(), 1);
        });
    }

    #[test]
    fn a_timer_is_small() {
        assert!(size_of::<Sleep>() <= 48, "{}", size_of::<Sleep>());
    }
}
