//! Who may use the machine: most tests share it, the heavy and the timed ones have it alone.

use std::cell::RefCell;
use std::rc::{Rc, Weak};
use std::sync::{PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};

static MACHINE: RwLock<()> = RwLock::new(());

/// A test's turn; ends when it is dropped.
#[derive(Debug)]
pub struct Turn {
    _held: Rc<Held>,
}

#[derive(Debug)]
enum Held {
    Shared {
        _guard: RwLockReadGuard<'static, ()>,
    },
    Alone {
        _guard: RwLockWriteGuard<'static, ()>,
    },
}

thread_local! {
    // A test with two worlds takes one turn: a second lock would wait for whoever waits for the first.
    static MINE: RefCell<Weak<Held>> = const { RefCell::new(Weak::new()) };
}

impl Turn {
    /// Together with other tests.
    #[must_use]
    pub fn shared() -> Self {
        Self::take(|| Held::Shared {
            // A test that failed leaves the machine as usable as before.
            _guard: MACHINE.read().unwrap_or_else(PoisonError::into_inner),
        })
    }

    /// With no other test of this program beside it: for what moves much or is bound by time.
    #[must_use]
    pub fn alone() -> Self {
        Self::take(|| Held::Alone {
            _guard: MACHINE.write().unwrap_or_else(PoisonError::into_inner),
        })
    }

    fn take(lock: impl FnOnce() -> Held) -> Self {
        MINE.with(|mine| {
            if let Some(held) = mine.borrow().upgrade() {
                return Self { _held: held };
            }
            let held = Rc::new(lock());
            *mine.borrow_mut() = Rc::downgrade(&held);
            Self { _held: held }
        })
    }
}
