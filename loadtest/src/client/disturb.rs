//! Neighbours that are a nuisance: readers that stall or drip, and a flood of streams that are reset
//! as soon as they are open.

use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use anyhow::Result;
use socket2::SockRef;

use crate::client::bulk::{self, Direction};
use crate::client::schedule::Schedule;
use crate::route::Route;
use crate::tally::{Gauge, Tally};

/// What kind of neighbour.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Nuisance {
    /// So many downloads that nobody reads.
    Stalled(usize),
    /// A download of which a kilobyte is read each 10 ms.
    Dripping,
    /// A download at full speed.
    Bulk,
    /// Downloads begun and reset, so many a second.
    Flood(u32),
}

/// Is one until the gauge says that it is over.
///
/// # Errors
/// When it cannot begin.
pub(crate) fn run(route: &Route, nuisance: Nuisance, gauge: &Gauge) -> Result<Tally> {
    match nuisance {
        Nuisance::Stalled(count) => {
            let mut stalled = Vec::new();
            for _ in 0..count {
                stalled.push(bulk::begin(route, Direction::Down)?);
            }
            gauge.begin();
            while !gauge.is_over() {
                std::thread::sleep(LOOK_EVERY);
            }
            Ok(Tally::new())
        }
        Nuisance::Dripping => drip(route, gauge),
        Nuisance::Bulk => bulk::run(route, Direction::Down, 1, gauge),
        Nuisance::Flood(rate) => flood(route, rate, gauge),
    }
}

fn drip(route: &Route, gauge: &Gauge) -> Result<Tally> {
    let (mut socket, _) = bulk::begin(route, Direction::Down)?;
    socket.set_nonblocking(false)?;
    gauge.begin();
    let mut kilobyte = [0; 1024];
    while !gauge.is_over() {
        // The read timeout of `begin` stands: a stall of its own ends the drip, and is counted.
        match socket.read(&mut kilobyte) {
            Ok(length) if length > 0 => {
                gauge
                    .bytes
                    .fetch_add(u64::try_from(length).unwrap_or(0), Ordering::Relaxed);
            }
            Ok(_) | Err(_) => {
                gauge.fail(|| "the dripping reader got nothing".to_owned());
                break;
            }
        }
        std::thread::sleep(Duration::from_millis(10));
    }
    Ok(Tally::new())
}

fn flood(route: &Route, rate: u32, gauge: &Gauge) -> Result<Tally> {
    let mut schedule = Schedule::new(Instant::now(), f64::from(rate));
    let request = route.get("/bytes/1000000", false);
    gauge.begin();
    while !gauge.is_over() {
        let now = Instant::now();
        if schedule.take(now).is_none() {
            let left = schedule.due().saturating_duration_since(now);
            std::thread::sleep(left.min(LOOK_EVERY));
            continue;
        }
        let sent = TcpStream::connect(route.http).and_then(|mut socket| {
            socket.write_all(&request)?;
            // Closing sends RST, whatever is still under way.
            SockRef::from(&socket).set_linger(Some(Duration::ZERO))
        });
        match sent {
            Ok(()) => gauge.done.fetch_add(1, Ordering::Relaxed),
            Err(_) => gauge.failed.fetch_add(1, Ordering::Relaxed),
        };
    }
    Ok(Tally::new())
}

const LOOK_EVERY: Duration = Duration::from_millis(20);
