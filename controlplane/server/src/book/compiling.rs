//! Rules that become a version: compiled and tested, a few at a time, off the threads that answer.

use std::sync::Arc;

use adit_policy::Snapshot;
#[cfg(test)]
use tokio::sync::Semaphore;

use super::Book;
use crate::trouble::Trouble;

impl Book {
    /// Turns to compile, for tests that take them.
    #[cfg(test)]
    pub(crate) fn compilers(&self) -> &Semaphore {
        &self.compilers
    }

    pub(super) async fn compile(&self, text: String) -> Result<Compiled, Trouble> {
        let turn = Arc::clone(&self.compilers)
            .acquire_owned()
            .await
            .map_err(|closed| Trouble::Internal(closed.to_string()))?;
        // The turn is the work's: whoever asked may be gone before it has ended.
        let compiling = tokio::task::spawn_blocking(move || {
            let compiled = compile(text);
            drop(turn);
            compiled
        });
        compiling
            .await
            .map_err(|ended| Trouble::Internal(format!("compiling ended: {ended}")))?
    }
}

/// Rules that are right and pass their tests.
#[derive(Debug)]
pub(super) struct Compiled {
    pub(super) text: String,
    pub(super) sha256: String,
    pub(super) systems: u64,
    pub(super) resources: u64,
}

pub(super) fn compile(text: String) -> Result<Compiled, Trouble> {
    let snapshot = Snapshot::from_file("rules", 1, text).map_err(|problems| {
        Trouble::rules("the rules are wrong; nothing was changed", &problems)
    })?;
    snapshot.table().run_tests().map_err(|problems| {
        Trouble::rules("tests of the rules fail; nothing was changed", &problems)
    })?;
    let systems = &snapshot.table().rules().systems;
    let resources = systems.iter().map(|system| system.resources.len()).sum();
    Ok(Compiled {
        sha256: snapshot.hash_hex(),
        systems: count(systems.len()),
        resources: count(resources),
        text: snapshot.text().to_owned(),
    })
}

fn count(number: usize) -> u64 {
    u64::try_from(number).unwrap_or(u64::MAX)
}
