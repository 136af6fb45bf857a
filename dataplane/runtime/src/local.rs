//! Signals between tasks of one shard. Nothing here may cross a thread.

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::convert::Infallible;
use std::future::Future;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, Waker};

use pin_project_lite::pin_project;

/// One task waits, others notify. A notification with nobody waiting is kept, once.
#[derive(Debug, Default)]
pub struct Notify {
    set: Cell<bool>,
    waiting: RefCell<Option<Waker>>,
}

impl Notify {
    /// Nothing notified yet.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Wakes the waiting task, now or when it next waits.
    pub fn notify(&self) {
        if !self.set.replace(true)
            && let Some(waker) = self.waiting.take()
        {
            waker.wake();
        }
    }

    /// Forgets a notification and whoever waits for one.
    pub(crate) fn reset(&self) {
        self.set.set(false);
        drop(self.waiting.take());
    }

    /// Waits for a notification and takes it.
    pub async fn notified(&self) {
        std::future::poll_fn(|cx| self.poll_notified(cx)).await;
    }

    /// The same as a poll, for hand-written futures.
    pub fn poll_notified(&self, cx: &mut Context<'_>) -> Poll<()> {
        if self.set.take() {
            return Poll::Ready(());
        }
        // What was there is dropped when nothing is borrowed: with a last waker goes a task.
        let before = self.waiting.replace(Some(cx.waker().clone()));
        drop(before);
        Poll::Pending
    }
}

/// Many tasks wait for one thing that happens once: a drain, a cut, a withdrawal.
#[derive(Debug, Default)]
pub struct Once {
    happened: Cell<bool>,
    next: Cell<u64>,
    waiting: RefCell<BTreeMap<u64, Waker>>,
}

impl Once {
    /// It has not happened yet.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// It happens; again is harmless.
    pub fn happen(&self) {
        if !self.happened.replace(true) {
            for waker in self.waiting.take().into_values() {
                waker.wake();
            }
        }
    }

    /// Whether it happened.
    #[must_use]
    pub fn has_happened(&self) -> bool {
        self.happened.get()
    }

    /// Waits until it happens. Cheap when it has; leaves nothing behind when dropped.
    pub fn wait(&self) -> Wait<'_> {
        Wait {
            once: self,
            key: None,
        }
    }
}

/// The future of [`Once::wait`].
#[derive(Debug)]
#[must_use = "futures do nothing unless awaited"]
pub struct Wait<'a> {
    once: &'a Once,
    key: Option<u64>,
}

impl Future for Wait<'_> {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        if self.once.happened.get() {
            return Poll::Ready(());
        }
        let key = self
            .key
            .unwrap_or_else(|| self.once.next.replace(self.once.next.get() + 1));
        self.key = Some(key);
        let before = self
            .once
            .waiting
            .borrow_mut()
            .insert(key, cx.waker().clone());
        drop(before);
        Poll::Pending
    }
}

impl Drop for Wait<'_> {
    fn drop(&mut self) {
        if let Some(key) = self.key {
            let removed = self.once.waiting.borrow_mut().remove(&key);
            drop(removed);
        }
    }
}

/// A few at a time: who comes when all places are taken waits until one is free.
#[derive(Debug)]
pub struct Gate {
    free: Cell<usize>,
    waiting: RefCell<Vec<Waker>>,
}

/// A place behind a [`Gate`]; leaving is dropping it.
#[derive(Debug)]
#[must_use = "dropping it leaves the place at once"]
pub struct Turn<'a>(&'a Gate);

impl Gate {
    /// A gate with `places`.
    #[must_use]
    pub fn new(places: usize) -> Self {
        Self {
            free: Cell::new(places),
            waiting: RefCell::default(),
        }
    }

    /// Waits for a place.
    pub async fn enter(&self) -> Turn<'_> {
        std::future::poll_fn(|cx| match self.free.get().checked_sub(1) {
            Some(left) => {
                self.free.set(left);
                Poll::Ready(Turn(self))
            }
            None => {
                self.waiting.borrow_mut().push(cx.waker().clone());
                Poll::Pending
            }
        })
        .await
    }
}

impl Drop for Turn<'_> {
    fn drop(&mut self) {
        self.0.free.set(self.0.free.get() + 1);
        // All of them look: one that has given up must not take the turn with it.
        let waiting = self.0.waiting.take();
        waiting.into_iter().for_each(Waker::wake);
    }
}

/// The sending half of an answer that is waited for once.
#[derive(Debug)]
pub struct Answer<T>(Rc<Slot<T>>);

/// The waiting half.
#[derive(Debug)]
pub struct Asked<T>(Rc<Slot<T>>);

#[derive(Debug)]
struct Slot<T> {
    value: RefCell<Option<T>>,
    given_up: Cell<bool>,
    notify: Notify,
}

/// A question with one answer, within a shard.
#[must_use]
pub fn question<T>() -> (Answer<T>, Asked<T>) {
    let slot = Rc::new(Slot {
        value: RefCell::new(None),
        given_up: Cell::new(false),
        notify: Notify::new(),
    });
    (Answer(Rc::clone(&slot)), Asked(slot))
}

impl<T> Answer<T> {
    /// Answers; the waiting task goes on.
    pub fn give(self, value: T) {
        *self.0.value.borrow_mut() = Some(value);
    }
}

impl<T> Drop for Answer<T> {
    fn drop(&mut self) {
        self.0.given_up.set(true);
        self.0.notify.notify();
    }
}

impl<T> Asked<T> {
    /// The answer, or `None` when the other side went away without one.
    pub async fn answer(self) -> Option<T> {
        loop {
            if let Some(value) = self.0.value.borrow_mut().take() {
                return Some(value);
            }
            if self.0.given_up.get() {
                return None;
            }
            self.0.notify.notified().await;
        }
    }
}

/// Which of two futures ended first.
#[derive(Debug)]
#[expect(
    clippy::exhaustive_enums,
    reason = "closed by nature: whoever matches must look at each"
)]
pub enum Either<A, B> {
    /// The left one.
    Left(A),
    /// The right one.
    Right(B),
}

pin_project! {
    /// The future of [`either`].
    #[derive(Debug)]
    #[must_use = "futures do nothing unless awaited"]
    pub struct First<A, B> {
        #[pin]
        left: A,
        #[pin]
        right: B,
    }
}

/// Runs both until one ends; the left one is looked at first. The other is dropped by the caller's scope.
// Not an `async fn`: that would hold its arguments twice.
pub fn either<A: Future, B: Future>(left: A, right: B) -> First<A, B> {
    First { left, right }
}

impl<A: Future, B: Future> Future for First<A, B> {
    type Output = Either<A::Output, B::Output>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let this = self.project();
        if let Poll::Ready(value) = this.left.poll(cx) {
            return Poll::Ready(Either::Left(value));
        }
        this.right.poll(cx).map(Either::Right)
    }
}

/// Runs both to their ends.
pub async fn both<A: Future, B: Future>(left: A, right: B) -> (A::Output, B::Output) {
    let (left_done, right_done) = (Cell::new(None), Cell::new(None));
    let ended = both_unless_failed::<Infallible, _, _>(
        async {
            left_done.set(Some(left.await));
            Ok(())
        },
        async {
            right_done.set(Some(right.await));
            Ok(())
        },
    );
    let Ok(()) = ended.await;
    let done = left_done.take().zip(right_done.take());
    done.expect("both have ended")
}

pin_project! {
    /// The future of [`both_unless_failed`].
    #[derive(Debug)]
    #[must_use = "futures do nothing unless awaited"]
    pub struct Both<A, B> {
        #[pin]
        left: A,
        #[pin]
        right: B,
        left_done: bool,
        right_done: bool,
    }
}

/// Runs both until both have ended well or one has failed.
pub fn both_unless_failed<E, A, B>(left: A, right: B) -> Both<A, B>
where
    A: Future<Output = Result<(), E>>,
    B: Future<Output = Result<(), E>>,
{
    Both {
        left,
        right,
        left_done: false,
        right_done: false,
    }
}

impl<E, A, B> Future for Both<A, B>
where
    A: Future<Output = Result<(), E>>,
    B: Future<Output = Result<(), E>>,
{
    type Output = Result<(), E>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let this = self.project();
        if !*this.left_done
            && let Poll::Ready(outcome) = this.left.poll(cx)
        {
            outcome?;
            *this.left_done = true;
        }
        if !*this.right_done
            && let Poll::Ready(outcome) = this.right.poll(cx)
        {
            outcome?;
            *this.right_done = true;
        }
        if *this.left_done && *this.right_done {
            Poll::Ready(Ok(()))
        } else {
            Poll::Pending
        }
    }
}

/// A boxed future of one shard.
pub type LocalFuture<'a, T> = Pin<Box<dyn Future<Output = T> + 'a>>;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::pace::yield_now;

    fn run<F: Future>(future: F) -> F::Output {
        crate::shard::run_here(crate::shard::Driver::Epoll, future).expect("an epoll driver")
    }

    #[test]
    fn a_notification_before_the_wait_is_kept() {
        run(async {
            let notify = Notify::new();
            notify.notify();
            notify.notified().await;
        });
    }

    #[test]
    fn an_answer_given_up_is_none() {
        run(async {
            let (answer, asked) = question::<u32>();
            drop(answer);
            assert_eq!(asked.answer().await, None);
            let (answer, asked) = question();
            answer.give(7);
            assert_eq!(asked.answer().await, Some(7));
        });
    }

    #[test]
    fn a_gate_lets_as_many_in_as_it_has_places_and_the_next_when_one_leaves() {
        run(async {
            let gate = Gate::new(2);
            let first = gate.enter().await;
            let _second = gate.enter().await;
            assert!(matches!(
                either(gate.enter(), yield_now()).await,
                Either::Right(())
            ));
            let (third, ()) = both(gate.enter(), async {
                // One that waited and gave up is in nobody's way.
                either(gate.enter(), yield_now()).await;
                drop(first);
            })
            .await;
            drop(third);
        });
    }

    #[test]
    fn once_wakes_everybody() {
        run(async {
            let once = Rc::new(Once::new());
            let other = Rc::clone(&once);
            both(async { once.wait().await }, async {
                yield_now().await;
                other.happen();
            })
            .await;
            assert!(once.has_happened());
        });
    }

    #[test]
    fn a_dropped_wait_leaves_nothing_behind() {
        run(async {
            let once = Once::new();
            for _ in 0..100 {
                either(once.wait(), yield_now()).await;
            }
            assert!(once.waiting.borrow().is_empty());
        });
    }
}
