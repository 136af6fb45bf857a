//! Ctrl-C and SIGTERM: every wait of the harness ends, and what it started is stopped on the way out.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail};

static ASKED: OnceLock<Arc<AtomicBool>> = OnceLock::new();

/// Listens for the signals from now on.
///
/// # Errors
/// When the system does not let it.
pub(crate) fn watch() -> Result<()> {
    let asked = Arc::new(AtomicBool::new(false));
    for signal in [
        signal_hook::consts::SIGINT,
        signal_hook::consts::SIGTERM,
        signal_hook::consts::SIGHUP,
    ] {
        signal_hook::flag::register(signal, Arc::clone(&asked))
            .context("signals cannot be listened for")?;
    }
    // A second call would only add a second flag that nobody reads.
    let _ = ASKED.set(asked);
    Ok(())
}

/// Whether somebody asked to stop.
pub(crate) fn asked() -> bool {
    ASKED
        .get()
        .is_some_and(|asked| asked.load(Ordering::Relaxed))
}

/// # Errors
/// When somebody asked to stop.
pub(crate) fn check() -> Result<()> {
    if asked() {
        bail!("interrupted; everything that was started is stopped");
    }
    Ok(())
}

/// Waits for `time`.
///
/// # Errors
/// When somebody asked to stop.
pub(crate) fn pause(time: Duration) -> Result<()> {
    let end = Instant::now() + time;
    loop {
        check()?;
        let left = end.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return Ok(());
        }
        std::thread::sleep(left.min(LOOK_EVERY));
    }
}

/// Waits until `ready` says yes.
///
/// # Errors
/// When it has not within `limit`, naming `what`; or when somebody asked to stop.
pub(crate) fn until(what: &str, limit: Duration, mut ready: impl FnMut() -> bool) -> Result<()> {
    let end = Instant::now() + limit;
    loop {
        check()?;
        if ready() {
            return Ok(());
        }
        if Instant::now() >= end {
            bail!("{what}: not within {limit:?}");
        }
        std::thread::sleep(Duration::from_millis(5));
    }
}

const LOOK_EVERY: Duration = Duration::from_millis(50);
