//! Which processor a program or a thread runs on.
//!
//! With everything on one machine, an even split is part of a fair comparison: gateway-side programs
//! and the client on one processor, agent-side programs and the backend on another; with four, each
//! has its own.

use anyhow::{Context as _, Result};
use rustix::thread::{CpuSet, sched_getaffinity, sched_setaffinity};

/// Who is to be placed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Seat {
    Client,
    Gateway,
    Agent,
    Backend,
}

/// The seats of a run.
#[derive(Clone, Debug)]
pub(crate) struct Places {
    processors: Vec<usize>,
    pinned: bool,
}

impl Places {
    /// Over the processors this process may use; `pinned` says whether anybody is tied to one.
    pub(crate) fn new(pinned: bool) -> Result<Self> {
        let allowed = sched_getaffinity(None).context("the processors of this process")?;
        let processors: Vec<usize> = (0..CpuSet::MAX_CPU)
            .filter(|processor| allowed.is_set(*processor))
            .collect();
        Ok(Self {
            pinned: pinned && processors.len() > 1,
            processors,
        })
    }

    /// The same processors with nobody tied to one: for programs with several threads that work.
    pub(crate) fn unpinned(&self) -> Self {
        Self {
            pinned: false,
            ..self.clone()
        }
    }

    pub(crate) fn processors(&self) -> usize {
        self.processors.len()
    }

    /// For a report.
    pub(crate) fn told(&self) -> String {
        if !self.pinned {
            return "not pinned".to_owned();
        }
        let of = |seat| self.processor(seat).unwrap_or_default();
        format!(
            "client on CPU {}, gateway on {}, agent on {}, backend on {}",
            of(Seat::Client),
            of(Seat::Gateway),
            of(Seat::Agent),
            of(Seat::Backend)
        )
    }

    fn processor(&self, seat: Seat) -> Option<usize> {
        if !self.pinned {
            return None;
        }
        self.processors
            .get(index(seat, self.processors.len()))
            .copied()
    }

    /// Ties the calling thread, and what it starts from now on, to the processor of `seat`.
    pub(crate) fn take(&self, seat: Seat) -> Result<()> {
        let mut set = CpuSet::new();
        match self.processor(seat) {
            Some(processor) => set.set(processor),
            None => self.processors.iter().for_each(|one| set.set(*one)),
        }
        sched_setaffinity(None, &set).context("pinning to a processor")
    }

    /// Runs `start` tied to the processor of `seat`: a program started there stays there, with all
    /// its threads.
    pub(crate) fn on<T>(&self, seat: Seat, start: impl FnOnce() -> T) -> Result<T> {
        let before = sched_getaffinity(None).context("the processors of this thread")?;
        self.take(seat)?;
        let started = start();
        sched_setaffinity(None, &before).context("unpinning")?;
        Ok(started)
    }
}

/// Which of so many processors a seat has.
fn index(seat: Seat, processors: usize) -> usize {
    match (seat, processors) {
        (_, 0 | 1) | (Seat::Gateway, _) | (Seat::Client, 2 | 3) => 0,
        (Seat::Agent, _) | (Seat::Backend, 2 | 3) => 1,
        (Seat::Client, _) => 2,
        (Seat::Backend, _) => 3,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn two_processors_are_shared_by_the_two_sides() {
        assert_eq!(index(Seat::Client, 2), index(Seat::Gateway, 2));
        assert_eq!(index(Seat::Agent, 2), index(Seat::Backend, 2));
        assert_ne!(index(Seat::Gateway, 2), index(Seat::Agent, 2));
    }

    #[test]
    fn with_four_processors_nobody_shares() {
        let mut taken: Vec<usize> = [Seat::Client, Seat::Gateway, Seat::Agent, Seat::Backend]
            .map(|seat| index(seat, 4))
            .to_vec();
        taken.sort_unstable();
        assert_eq!(taken, [0, 1, 2, 3]);
    }
}
