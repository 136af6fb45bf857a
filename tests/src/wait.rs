//! Waiting for events, never for time: a condition is asked again and again until its deadline.

use std::time::{Duration, Instant};

/// Waits until `condition` holds; gives back how long it took.
///
/// # Panics
/// With `what` when it does not hold within `limit`.
pub fn until(what: &str, limit: Duration, mut condition: impl FnMut() -> bool) -> Duration {
    let started = Instant::now();
    until_some(what, limit, || condition().then_some(()));
    started.elapsed()
}

/// Waits until `attempt` gives something.
///
/// # Panics
/// With `what` when it does not within `limit`.
pub fn until_some<T>(what: &str, limit: Duration, attempt: impl FnMut() -> Option<T>) -> T {
    until_else(limit, attempt, || what.to_owned())
}

/// Waits until `attempt` gives something; what was waited for is asked when it does not.
///
/// # Panics
/// With what `what` says when it does not within `limit`.
pub fn until_else<T>(
    limit: Duration,
    mut attempt: impl FnMut() -> Option<T>,
    what: impl FnOnce() -> String,
) -> T {
    let deadline = Instant::now() + limit;
    loop {
        if let Some(found) = attempt() {
            return found;
        }
        if Instant::now() >= deadline {
            panic!("waited {} s in vain: {}", limit.as_secs_f32(), what());
        }
        // Between two questions, not instead of one.
        std::thread::sleep(ASK_EVERY);
    }
}

/// How long anything that must happen soon may take on a busy machine.
pub const SOON: Duration = Duration::from_secs(20);

const ASK_EVERY: Duration = Duration::from_millis(20);
