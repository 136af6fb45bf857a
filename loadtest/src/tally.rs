//! What a load came to: counters anybody may read while it runs, latencies at its end.
//!
//! A load warms up, is measured, and is over; the threads that make it look at the phase in each turn.

use std::sync::atomic::{AtomicU8, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use anyhow::{Result, anyhow};
use hdrhistogram::Histogram;

use crate::figure;
use crate::place::{Places, Seat};

/// Counters and phase of one load, shared by its threads.
#[derive(Debug, Default)]
pub(crate) struct Gauge {
    phase: AtomicU8,
    pub(crate) done: AtomicU64,
    pub(crate) bytes: AtomicU64,
    pub(crate) failed: AtomicU64,
    first_failure: Mutex<Option<String>>,
    begun: AtomicUsize,
}

/// How far a load is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Phase {
    Warming,
    Measured,
    Over,
}

impl Gauge {
    pub(crate) fn phase(&self) -> Phase {
        match self.phase.load(Ordering::Acquire) {
            0 => Phase::Warming,
            1 => Phase::Measured,
            _ => Phase::Over,
        }
    }

    pub(crate) fn is_over(&self) -> bool {
        self.phase() == Phase::Over
    }

    /// A thread has opened all it needs; until then there is nothing to warm up.
    pub(crate) fn begin(&self) {
        self.begun.fetch_add(1, Ordering::Release);
    }

    fn enter(&self, phase: u8) {
        self.phase.fetch_max(phase, Ordering::AcqRel);
    }

    /// Counts a failure; the words of the first one are kept.
    pub(crate) fn fail(&self, what: impl FnOnce() -> String) {
        if self.failed.fetch_add(1, Ordering::Relaxed) == 0 {
            let mut first = self
                .first_failure
                .lock()
                .unwrap_or_else(PoisonError::into_inner);
            *first = Some(what());
        }
    }

    pub(crate) fn first_failure(&self) -> Option<String> {
        self.first_failure
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }

    pub(crate) fn counts(&self) -> Counts {
        Counts {
            done: self.done.load(Ordering::Relaxed),
            bytes: self.bytes.load(Ordering::Relaxed),
            failed: self.failed.load(Ordering::Relaxed),
        }
    }
}

/// The counters at one moment.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Counts {
    pub(crate) done: u64,
    pub(crate) bytes: u64,
    pub(crate) failed: u64,
}

impl Counts {
    pub(crate) fn since(self, earlier: Self) -> Self {
        Self {
            done: self.done - earlier.done,
            bytes: self.bytes - earlier.bytes,
            failed: self.failed - earlier.failed,
        }
    }
}

/// What one thread of a load brings home.
#[derive(Debug)]
pub(crate) struct Tally {
    /// Nanoseconds.
    pub(crate) latencies: Histogram<u64>,
    /// Every request with its times, if the load was asked to write them down.
    pub(crate) log: Vec<Entry>,
}

/// One request of a load that keeps a log.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Entry {
    /// When it was to be sent.
    pub(crate) due: Instant,
    pub(crate) ended: Instant,
    pub(crate) fine: bool,
}

impl Tally {
    pub(crate) fn new() -> Self {
        Self {
            latencies: histogram(),
            log: Vec::new(),
        }
    }

    pub(crate) fn record(&mut self, latency: Duration) {
        self.latencies
            .saturating_record(figure::nanos(latency).max(1));
    }
}

/// From a nanosecond to two minutes, each value to three digits.
pub(crate) fn histogram() -> Histogram<u64> {
    Histogram::new_with_bounds(1, 120_000_000_000, 3)
        .expect("1 to 120 s with three digits are bounds a histogram can have")
}

/// A load under way; over when dropped.
#[derive(Debug)]
pub(crate) struct Load {
    gauge: Arc<Gauge>,
    threads: Vec<JoinHandle<Result<Tally>>>,
}

impl Load {
    /// Starts `threads` threads called `name` on the processor of `seat`. Each runs `work` with its
    /// number until the gauge says that it is over.
    pub(crate) fn start<W>(
        name: &str,
        threads: usize,
        places: &Places,
        seat: Seat,
        work: W,
    ) -> Result<Self>
    where
        W: Fn(usize, &Gauge) -> Result<Tally> + Send + Sync + 'static,
    {
        let gauge = Arc::new(Gauge::default());
        let work = Arc::new(work);
        let mut load = Self {
            gauge: Arc::clone(&gauge),
            threads: Vec::new(),
        };
        for number in 0..threads {
            let (work, gauge) = (Arc::clone(&work), Arc::clone(&gauge));
            let places = places.clone();
            let thread = std::thread::Builder::new()
                .name(format!("{name}-{number}"))
                .spawn(move || {
                    places.take(seat)?;
                    work(number, &gauge)
                })?;
            load.threads.push(thread);
        }
        Ok(load)
    }

    pub(crate) fn gauge(&self) -> &Gauge {
        &self.gauge
    }

    /// Whether all its threads are at work, or have ended.
    pub(crate) fn has_begun(&self) -> bool {
        self.gauge.begun.load(Ordering::Acquire) >= self.threads.len()
            || self.threads.iter().any(JoinHandle::is_finished)
    }

    /// From now on it counts.
    pub(crate) fn measure(&self) {
        self.gauge.enter(1);
    }

    /// Ends it.
    ///
    /// # Errors
    /// When a thread could not work at all.
    pub(crate) fn stop(mut self) -> Result<Tally> {
        self.gauge.enter(2);
        let mut sum = Tally::new();
        for thread in self.threads.drain(..) {
            let tally = thread
                .join()
                .map_err(|_panic| anyhow!("a thread of the load panicked"))??;
            sum.latencies.add(&tally.latencies)?;
            sum.log.extend(tally.log);
        }
        Ok(sum)
    }
}

impl Drop for Load {
    fn drop(&mut self) {
        self.gauge.enter(2);
        for thread in self.threads.drain(..) {
            // It ends within a turn; what it has to say is of no interest any more.
            drop(thread.join());
        }
    }
}

/// A latency curve: percentile and microseconds, ready for a plot.
pub(crate) fn curve(latencies: &Histogram<u64>) -> Vec<(f64, f64)> {
    if latencies.is_empty() {
        return Vec::new();
    }
    PERCENTILES
        .iter()
        .map(|percentile| {
            let nanos = latencies.value_at_percentile(*percentile);
            (*percentile, figure::float(nanos) / 1e3)
        })
        .collect()
}

/// The percentiles a curve is drawn through.
const PERCENTILES: [f64; 14] = [
    0.0, 10.0, 25.0, 50.0, 75.0, 90.0, 95.0, 97.5, 99.0, 99.5, 99.9, 99.95, 99.99, 100.0,
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_curve_leads_through_what_was_recorded() {
        let mut tally = Tally::new();
        for millis in 1..=100 {
            tally.record(Duration::from_millis(millis));
        }
        let curve = curve(&tally.latencies);
        let at = |wanted: f64| {
            let point = curve.iter().find(|(percentile, _)| *percentile >= wanted);
            point.map(|(_, micros)| micros / 1e3).unwrap()
        };
        // Three digits: within a thousandth.
        assert!((at(50.0) - 50.0).abs() < 0.1, "{curve:?}");
        assert!((at(99.0) - 99.0).abs() < 0.2, "{curve:?}");
        assert!((at(100.0) - 100.0).abs() < 0.2, "{curve:?}");
    }

    #[test]
    fn nothing_recorded_is_no_curve() {
        assert!(curve(&histogram()).is_empty());
    }

    #[test]
    fn what_takes_longer_than_a_histogram_reaches_is_kept_at_its_end() {
        let mut tally = Tally::new();
        tally.record(Duration::from_secs(1000));
        assert_eq!(tally.latencies.len(), 1);
        assert!(tally.latencies.max() >= 120_000_000_000);
    }

    #[test]
    fn a_load_is_over_when_nobody_holds_it() {
        let places = Places::new(false).unwrap();
        let load = Load::start("test", 2, &places, Seat::Client, |_, gauge| {
            while !gauge.is_over() {
                gauge.done.fetch_add(1, Ordering::Relaxed);
                std::thread::yield_now();
            }
            Ok(Tally::new())
        });
        drop(load.unwrap());
    }
}
