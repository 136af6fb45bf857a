//! Clocks of the kernel: the one all processes share, and the processor time of this thread.

use std::time::Duration;

use rustix::time::{ClockId, clock_gettime};

/// Nanoseconds of the system's monotonic clock, the same in every process.
pub(crate) fn shared_ns() -> u64 {
    u64::try_from(read(ClockId::Monotonic).as_nanos()).unwrap_or(u64::MAX)
}

/// Processor time of the calling thread.
pub(crate) fn thread() -> Duration {
    read(ClockId::ThreadCPUTime)
}

fn read(clock: ClockId) -> Duration {
    let now = clock_gettime(clock);
    let seconds = u64::try_from(now.tv_sec).unwrap_or_default();
    let nanos = u32::try_from(now.tv_nsec).unwrap_or_default();
    Duration::new(seconds, nanos)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn work_takes_time_on_both_clocks() {
        let (at, used) = (shared_ns(), thread());
        let mut sum = 0_u64;
        while shared_ns() < at + 5_000_000 {
            sum = std::hint::black_box(sum.wrapping_add(1));
        }
        assert!(thread() > used);
    }
}
