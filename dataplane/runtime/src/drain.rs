//! The end of a process in good order: first no new work, then the deadline, then the cut.
//!
//! Says where in that order the process stands; who obeys it is elsewhere.

use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};

/// Where the process stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[non_exhaustive]
pub enum Phase {
    /// Serves.
    Serving,
    /// Finishes what runs and takes nothing new.
    Draining,
    /// Ends now.
    Cut,
}

/// Shared by all threads of the process.
#[derive(Clone, Debug, Default)]
pub struct Drain(Arc<AtomicU8>);

impl Drain {
    /// A process that serves.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Where the process stands now.
    #[must_use]
    pub fn phase(&self) -> Phase {
        match self.0.load(Ordering::Acquire) {
            0 => Phase::Serving,
            1 => Phase::Draining,
            _ => Phase::Cut,
        }
    }

    /// Moves on to `phase`; never back.
    pub fn advance(&self, phase: Phase) {
        let number = match phase {
            Phase::Serving => 0,
            Phase::Draining => 1,
            Phase::Cut => 2,
        };
        self.0.fetch_max(number, Ordering::AcqRel);
    }

    /// Whether new work may be taken.
    #[must_use]
    pub fn is_serving(&self) -> bool {
        self.phase() == Phase::Serving
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_drain_never_goes_back() {
        let drain = Drain::new();
        assert!(drain.is_serving());
        drain.advance(Phase::Cut);
        drain.advance(Phase::Draining);
        assert_eq!(drain.phase(), Phase::Cut);
    }
}
