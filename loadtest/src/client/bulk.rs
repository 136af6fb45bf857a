//! Bulk: streams that carry bytes in one direction as fast as they go, until it is over.

use std::io::{self, Read as _, Write as _};
use std::net::TcpStream;
use std::sync::atomic::Ordering;
use std::time::Duration;

use anyhow::{Context as _, Result, bail};

use crate::content::{self, Content, Received};
use crate::head;
use crate::poll::{Poller, Watch};
use crate::route::Route;
use crate::tally::{Gauge, Tally};

/// Which way the bytes go.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Direction {
    Down,
    Up,
}

/// Carries bytes on `streams` connections until the gauge says that it is over; they are counted
/// where the client sees them.
///
/// # Errors
/// When a stream cannot be begun. One that ends early is counted as a failure.
pub(crate) fn run(
    route: &Route,
    direction: Direction,
    streams: usize,
    gauge: &Gauge,
) -> Result<Tally> {
    let poller = Poller::new()?;
    let content = Content::new()?;
    // All are asked for before the first is waited for: behind a long link that takes one round trip.
    let asked = (0..streams)
        .map(|_| ask(route, direction))
        .collect::<Result<Vec<TcpStream>>>()?;
    let mut sockets = Vec::new();
    for (token, mut socket) in asked.into_iter().enumerate() {
        let extra = hear(&mut socket, direction)?;
        gauge.bytes.fetch_add(extra, Ordering::Relaxed);
        let watch = match direction {
            Direction::Down => Watch::Read,
            Direction::Up => Watch::Both,
        };
        poller.add(&socket, u64::try_from(token)?, watch)?;
        sockets.push(Some(socket));
    }
    gauge.begin();
    let mut scratch = vec![0; content::SCRATCH_BYTES];
    let mut ready = Vec::new();
    while !gauge.is_over() {
        poller.wait(LOOK_EVERY, &mut ready)?;
        for one in &ready {
            let place = usize::try_from(one.token)
                .ok()
                .and_then(|at| sockets.get_mut(at));
            let Some(place) = place else { continue };
            let Some(socket) = place.as_ref() else {
                continue;
            };
            let carried = match direction {
                Direction::Down => content::drop_received(socket, u64::MAX, &mut scratch),
                // An upload is answered at its end, which does not come: an answer is a refusal.
                Direction::Up if one.read => refused(socket, &mut scratch),
                Direction::Up => content.send(socket, u64::MAX).map(Received::Bytes),
            };
            match carried {
                Ok(Received::Bytes(bytes)) => {
                    gauge.bytes.fetch_add(bytes, Ordering::Relaxed);
                }
                Ok(Received::NothingNow) => {}
                Ok(Received::End) => {
                    gauge.fail(|| "a bulk stream ended early".to_owned());
                    *place = None;
                }
                Err(error) => {
                    gauge.fail(|| format!("a bulk stream broke: {error}"));
                    *place = None;
                }
            }
        }
    }
    Ok(Tally::new())
}

fn refused(socket: &TcpStream, scratch: &mut [u8]) -> io::Result<Received> {
    match content::receive(socket, scratch)? {
        Received::Bytes(length) => {
            let length = usize::try_from(length).unwrap_or(0);
            let line = scratch.get(..length.min(80)).unwrap_or_default();
            Err(io::Error::other(String::from_utf8_lossy(line).into_owned()))
        }
        other @ (Received::NothingNow | Received::End) => Ok(other),
    }
}

/// Begins a transfer without an end in sight; says what came with its answer's head.
pub(crate) fn begin(route: &Route, direction: Direction) -> Result<(TcpStream, u64)> {
    let mut socket = ask(route, direction)?;
    let extra = hear(&mut socket, direction)?;
    Ok((socket, extra))
}

fn ask(route: &Route, direction: Direction) -> Result<TcpStream> {
    let mut socket = TcpStream::connect(route.http).context("connecting for a bulk stream")?;
    socket.set_nodelay(true)?;
    socket.set_read_timeout(Some(PATIENCE))?;
    let head = match direction {
        Direction::Down => route.get(&format!("/bytes/{ENDLESS}"), false),
        Direction::Up => route.post("/sink", ENDLESS),
    };
    socket.write_all(&head)?;
    Ok(socket)
}

/// Reads the head of a download's answer.
fn hear(socket: &mut TcpStream, direction: Direction) -> Result<u64> {
    let mut extra = 0;
    if direction == Direction::Down {
        let mut heard = Vec::new();
        let mut chunk = [0; 4096];
        let head = loop {
            let length = socket.read(&mut chunk).context("the head of a download")?;
            if length == 0 {
                bail!("a download was closed before its head");
            }
            heard.extend_from_slice(chunk.get(..length).unwrap_or_default());
            if let Some(head) = head::read(&heard) {
                break head;
            }
        };
        if head.status != 200 {
            bail!("a download was answered with status {}", head.status);
        }
        extra = u64::try_from(heard.len() - head.bytes)?;
    }
    socket.set_nonblocking(true)?;
    Ok(extra)
}

/// A terabyte does not go over in the time there is.
const ENDLESS: u64 = 1_000_000_000_000;
const PATIENCE: Duration = Duration::from_secs(20);
const LOOK_EVERY: Duration = Duration::from_millis(50);
