//! The one place where this room asks what time it is.

use std::time::{SystemTime, UNIX_EPOCH};

/// Milliseconds since 1970.
pub(crate) fn unix_ms() -> u64 {
    #[cfg(test)]
    if let Some(unix_ms) = stopped() {
        return unix_ms;
    }
    let since = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap_or_default();
    u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
}

/// Seconds since 1970.
pub(crate) fn unix_s() -> u64 {
    unix_ms() / 1000
}

#[cfg(test)]
thread_local! {
    static STOPPED: std::cell::Cell<Option<u64>> = const { std::cell::Cell::new(None) };
}

#[cfg(test)]
fn stopped() -> Option<u64> {
    STOPPED.get()
}

/// From now on it is this time for this thread: the one that polls a test's own future.
#[cfg(test)]
pub(crate) fn stop_at(unix_s: u64) {
    STOPPED.set(Some(unix_s * 1000));
}
