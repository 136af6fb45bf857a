//! What happened, folded into one number: two runs are the same when their numbers are.

use std::time::Duration;

/// FNV-1a over everything noted; with `TRACE=1` also printed, line by line.
#[derive(Debug)]
pub(crate) struct Trace {
    hash: u64,
    print: bool,
}

impl Trace {
    pub(crate) fn new() -> Self {
        Self {
            hash: 0xcbf2_9ce4_8422_2325,
            print: std::env::var_os("TRACE").is_some(),
        }
    }

    /// Notes that `what` happened at the end `side`, with the numbers that describe it.
    pub(crate) fn note(&mut self, now: Duration, side: usize, what: &str, a: usize, b: usize) {
        if self.print {
            println!("{:>12.6} {} {what} {a} {b}", now.as_secs_f64(), NAMES[side]);
        }
        let numbers = [
            now.as_nanos(),
            u128::try_from(side).unwrap(),
            u128::try_from(a).unwrap(),
            u128::try_from(b).unwrap(),
        ];
        for byte in what.bytes() {
            self.fold(byte);
        }
        for number in numbers {
            for byte in number.to_le_bytes() {
                self.fold(byte);
            }
        }
    }

    pub(crate) fn hash(&self) -> u64 {
        self.hash
    }

    fn fold(&mut self, byte: u8) {
        self.hash = (self.hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3);
    }
}

/// The two ends, as index.
pub(crate) const AGENT: usize = 0;
pub(crate) const GATEWAY: usize = 1;
pub(crate) const NAMES: [&str; 2] = ["agent  ", "gateway"];

/// The other end.
pub(crate) fn other(side: usize) -> usize {
    1 - side
}
