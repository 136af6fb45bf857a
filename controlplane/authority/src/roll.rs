//! One thing in office and at most one that comes or goes: how roots and signing keys are changed.
//!
//! Three steps: the next one is made known, it takes office, the old one leaves. Between them whoever follows has time.

use serde::{Deserialize, Serialize};

use crate::error::RollError;

pub(crate) struct Office<T> {
    acting: T,
    beside: Option<Beside<T>>,
}

enum Beside<T> {
    /// Known already, and next in office.
    Coming(T),
    /// Still known, and no longer in office.
    Going(T),
}

/// Where a thing stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Standing {
    Acting,
    Coming,
    Going,
}

impl<T> Office<T> {
    pub(crate) fn new(acting: T) -> Self {
        Self {
            acting,
            beside: None,
        }
    }

    /// As it was when [`all`](Self::all) was written down: one acting, and at most one beside it.
    pub(crate) fn restore(things: Vec<(T, Standing)>) -> Option<Self> {
        let mut acting = None;
        let mut beside = None;
        for (thing, standing) in things {
            let full = match standing {
                Standing::Acting => acting.replace(thing).is_some(),
                Standing::Coming => beside.replace(Beside::Coming(thing)).is_some(),
                Standing::Going => beside.replace(Beside::Going(thing)).is_some(),
            };
            if full {
                return None;
            }
        }
        Some(Self {
            acting: acting?,
            beside,
        })
    }

    pub(crate) fn acting(&self) -> &T {
        &self.acting
    }

    /// All that are known, the acting one first.
    pub(crate) fn all(&self) -> impl Iterator<Item = (&T, Standing)> {
        let beside = self.beside.as_ref().map(|beside| match beside {
            Beside::Coming(thing) => (thing, Standing::Coming),
            Beside::Going(thing) => (thing, Standing::Going),
        });
        core::iter::once((&self.acting, Standing::Acting)).chain(beside)
    }

    /// Whether a next one may be made known.
    pub(crate) fn may_begin(&self) -> Result<(), RollError> {
        match self.beside {
            None => Ok(()),
            Some(Beside::Coming(_)) => Err(RollError::NotSwitched),
            Some(Beside::Going(_)) => Err(RollError::NotFinished),
        }
    }

    pub(crate) fn begin(&mut self, next: T) -> Result<(), RollError> {
        self.may_begin()?;
        self.beside = Some(Beside::Coming(next));
        Ok(())
    }

    pub(crate) fn switch(&mut self) -> Result<(), RollError> {
        match self.beside.take() {
            Some(Beside::Coming(next)) => {
                let old = core::mem::replace(&mut self.acting, next);
                self.beside = Some(Beside::Going(old));
                Ok(())
            }
            going @ Some(Beside::Going(_)) => {
                self.beside = going;
                Err(RollError::NotFinished)
            }
            None => Err(RollError::NotBegun),
        }
    }

    pub(crate) fn finish(&mut self) -> Result<(), RollError> {
        match self.beside.take() {
            Some(Beside::Going(_old)) => Ok(()),
            coming @ Some(Beside::Coming(_)) => {
                self.beside = coming;
                Err(RollError::NotSwitched)
            }
            None => Err(RollError::NotBegun),
        }
    }
}
