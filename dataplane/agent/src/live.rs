//! What runs under a permit, so that a change of the rules reaches it.
//!
//! Every granted request is entered with what was asked; a new snapshot judges all of them again, and
//! who is no longer granted is told and ends itself. How it ends is its own affair.

use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::sync::Arc;

use adit_policy::{Permit, Request, Snapshot};
use adit_runtime::local::Notify;
use adit_runtime::pace::yield_now;
use slab::Slab;

use crate::limits::JUDGED_A_TURN;

/// What can be judged again.
pub(crate) trait Judged {
    /// What was asked, in the very bytes that were judged.
    fn request(&self) -> Option<Request<'_>>;
}

/// The running requests and conversations of one shard.
#[derive(Debug)]
pub(crate) struct Live<A> {
    running: Rc<RefCell<Slab<Running<A>>>>,
}

#[derive(Debug)]
struct Running<A> {
    asked: Rc<A>,
    permit: Permit,
    withdrawal: Rc<Withdrawal>,
}

// One task waits for it.
#[derive(Debug, Default)]
struct Withdrawal {
    happened: Cell<bool>,
    notify: Notify,
}

impl Withdrawal {
    fn happen(&self) {
        self.happened.set(true);
        self.notify.notify();
    }
}

/// A running request's entry; leaving is dropping it.
#[derive(Debug)]
pub(crate) struct Entered<A> {
    running: Rc<RefCell<Slab<Running<A>>>>,
    key: usize,
    withdrawal: Rc<Withdrawal>,
}

impl<A: Judged> Live<A> {
    pub(crate) fn new() -> Self {
        Self {
            running: Rc::new(RefCell::new(Slab::new())),
        }
    }

    /// Enters a request that `permit` was given for. To be called in the same turn in which it was
    /// judged, so that no change of the rules falls in between.
    pub(crate) fn enter(&self, asked: Rc<A>, permit: Permit) -> Entered<A> {
        let withdrawal = Rc::new(Withdrawal::default());
        let key = self.running.borrow_mut().insert(Running {
            asked,
            permit,
            withdrawal: Rc::clone(&withdrawal),
        });
        Entered {
            running: Rc::clone(&self.running),
            key,
            withdrawal,
        }
    }

    /// How many are running.
    #[cfg(test)]
    pub(crate) fn count(&self) -> usize {
        self.running.borrow().len()
    }

    /// Judges all by what is `in_force`; returns how many lost their permit. Lets other tasks run in
    /// between, and asks again what is in force afterwards.
    pub(crate) async fn judge_again(&self, in_force: impl Fn() -> Option<Arc<Snapshot>>) -> usize {
        let mut ended = 0;
        let mut from = 0;
        loop {
            let end = self.running.borrow().capacity();
            let Some(newer) = in_force().filter(|_| from < end) else {
                return ended;
            };
            for key in from..end.min(from + JUDGED_A_TURN) {
                ended += usize::from(self.judge_one(key, &newer));
            }
            from += JUDGED_A_TURN;
            yield_now().await;
        }
    }

    fn judge_one(&self, key: usize, newer: &Arc<Snapshot>) -> bool {
        let mut running = self.running.borrow_mut();
        let Some(one) = running.get_mut(key) else {
            return false;
        };
        // Entered since the change. The version does not tell: a signer may give one a second time.
        if Arc::ptr_eq(one.permit.snapshot(), newer) || one.withdrawal.happened.get() {
            return false;
        }
        let renewed = one
            .asked
            .request()
            .map(|request| one.permit.renew(newer, &request));
        match renewed {
            Some(Ok(permit)) => {
                one.permit = permit;
                false
            }
            Some(Err(_)) | None => {
                one.withdrawal.happen();
                true
            }
        }
    }
}

impl<A> Entered<A> {
    /// Waits until the permit is withdrawn.
    pub(crate) async fn withdrawn(&self) {
        while !self.withdrawal.happened.get() {
            self.withdrawal.notify.notified().await;
        }
    }
}

impl<A> Drop for Entered<A> {
    fn drop(&mut self) {
        self.running.borrow_mut().try_remove(self.key);
    }
}

#[cfg(test)]
mod tests {
    use adit_policy::OwnedRequest;
    use adit_runtime::shard::{Driver, run_here};

    use super::*;

    #[derive(Debug)]
    struct Asked(OwnedRequest);

    impl Judged for Asked {
        fn request(&self) -> Option<Request<'_>> {
            Some(self.0.as_request())
        }
    }

    fn snapshot(version: u64, systems: &[(&str, &str)]) -> Arc<Snapshot> {
        let text: String = systems
            .iter()
            .map(|(name, internal)| {
                format!("[[system]]\nvirtual = \"{name}:5432\"\nprotocol = \"tcp\"\ninternal = \"{internal}\"\n")
            })
            .collect();
        Snapshot::new(version, text).unwrap()
    }

    fn enter(live: &Live<Asked>, snapshot: &Arc<Snapshot>, host: &str) -> Entered<Asked> {
        let asked = Rc::new(Asked(format!("tcp://{host}:5432").parse().unwrap()));
        let permit = snapshot.decide(&asked.request().unwrap()).unwrap();
        live.enter(asked, permit)
    }

    async fn again(live: &Live<Asked>, newer: &Arc<Snapshot>) -> usize {
        live.judge_again(|| Some(Arc::clone(newer))).await
    }

    fn run<T>(test: impl AsyncFnOnce() -> T) -> T {
        run_here(Driver::Epoll, test()).unwrap()
    }

    #[test]
    fn only_what_is_no_longer_granted_is_withdrawn() {
        run(async || {
            let live = Live::new();
            let old = snapshot(
                1,
                &[("a.virtual", "10.0.0.1:1"), ("b.virtual", "10.0.0.2:1")],
            );
            let (a, b) = (
                enter(&live, &old, "a.virtual"),
                enter(&live, &old, "b.virtual"),
            );
            let newer = snapshot(2, &[("a.virtual", "10.0.0.1:1")]);
            assert_eq!(again(&live, &newer).await, 1);
            b.withdrawn().await;
            assert!(!a.withdrawal.happened.get());
            assert_eq!(again(&live, &newer).await, 0, "told once");
        });
    }

    #[test]
    fn what_moved_to_another_backend_is_withdrawn() {
        run(async || {
            let live = Live::new();
            let a = enter(
                &live,
                &snapshot(1, &[("a.virtual", "10.0.0.1:1")]),
                "a.virtual",
            );
            assert_eq!(
                again(&live, &snapshot(2, &[("a.virtual", "10.0.0.9:1")])).await,
                1
            );
            a.withdrawn().await;
        });
    }

    #[test]
    fn a_renewed_permit_is_judged_by_the_next_change_as_well() {
        run(async || {
            let live = Live::new();
            let rules = [("a.virtual", "10.0.0.1:1")];
            let _a = enter(&live, &snapshot(1, &rules), "a.virtual");
            assert_eq!(again(&live, &snapshot(2, &rules)).await, 0);
            assert_eq!(again(&live, &snapshot(3, &[])).await, 1);
        });
    }

    #[test]
    fn rules_under_a_version_that_was_there_before_are_judged_by_as_well() {
        run(async || {
            let live = Live::new();
            let rules = [("a.virtual", "10.0.0.1:1")];
            for version in [6, 5, 1] {
                let a = enter(&live, &snapshot(5, &rules), "a.virtual");
                assert_eq!(again(&live, &snapshot(version, &[])).await, 1, "{version}");
                drop(a);
            }
        });
    }

    #[test]
    fn what_entered_under_rules_that_came_in_between_is_not_judged_by_those_before() {
        run(async || {
            let live = Live::new();
            let old = snapshot(1, &[("a.virtual", "10.0.0.1:1")]);
            let _many: Vec<_> = (0..=JUDGED_A_TURN)
                .map(|_| enter(&live, &old, "a.virtual"))
                .collect();
            let (none, all) = (
                snapshot(2, &[]),
                snapshot(3, &[("a.virtual", "10.0.0.1:1")]),
            );
            let asked = Cell::new(0);
            let in_force = || {
                asked.set(asked.get() + 1);
                Some(Arc::clone(if asked.get() == 1 { &none } else { &all }))
            };
            assert_eq!(live.judge_again(in_force).await, JUDGED_A_TURN);
        });
    }

    #[test]
    fn many_turns_reach_the_last_one_and_leaving_forgets() {
        run(async || {
            let live = Live::new();
            let old = snapshot(1, &[("a.virtual", "10.0.0.1:1")]);
            let entered: Vec<_> = (0..=3 * JUDGED_A_TURN)
                .map(|_| enter(&live, &old, "a.virtual"))
                .collect();
            assert_eq!(live.count(), entered.len());
            assert_eq!(again(&live, &snapshot(2, &[])).await, entered.len());
            drop(entered);
            assert_eq!(live.count(), 0);
        });
    }
}
