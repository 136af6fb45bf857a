//! Streams that are opened, used once, and then do nothing.

use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail};

use crate::head;
use crate::interrupt;
use crate::route::Route;

/// Opens `count` streams, each proved by an answer or a byte that came back.
///
/// # Errors
/// At the first that cannot be opened, or when it takes too long.
pub(crate) fn open(route: &Route, count: usize) -> Result<Vec<TcpStream>> {
    let mut held: Vec<TcpStream> = Vec::with_capacity(count);
    let begun = Instant::now();
    while held.len() < count {
        interrupt::check()?;
        let number = held.len();
        if begun.elapsed() > OPEN_WITHIN {
            bail!("only {number} of {count} idle streams were open after {OPEN_WITHIN:?}");
        }
        let some = open_some(route, BATCH.min(count - number));
        held.extend(some.with_context(|| format!("idle streams after {number} of {count}"))?);
    }
    Ok(held)
}

/// TCP streams where there are, else HTTP answers that do not go on. All are asked for before the
/// first is waited for: some answer late what is no whole message.
fn open_some(route: &Route, count: usize) -> Result<Vec<TcpStream>> {
    let address = route.tcp.as_ref().map_or(route.http, |tcp| tcp.address);
    let mut some = Vec::with_capacity(count);
    for _ in 0..count {
        let socket = TcpStream::connect(address)?;
        socket.set_read_timeout(Some(PATIENCE))?;
        socket.set_nodelay(true)?;
        some.push(socket);
    }
    let Some(tcp) = &route.tcp else {
        let request = route.get("/hold", false);
        some.iter_mut()
            .try_for_each(|socket| socket.write_all(&request))?;
        some.iter_mut().try_for_each(wait_for_head)?;
        return Ok(some);
    };
    if !tcp.greeting.is_empty() {
        some.iter_mut()
            .try_for_each(|socket| socket.write_all(&tcp.greeting))?;
        some.iter_mut().try_for_each(wait_for_head)?;
    }
    some.iter_mut()
        .try_for_each(|socket| socket.write_all(b"h"))?;
    some.iter_mut()
        .try_for_each(|socket| socket.read_exact(&mut [0]))?;
    Ok(some)
}

fn wait_for_head(socket: &mut TcpStream) -> Result<()> {
    let mut heard = Vec::new();
    let mut chunk = [0; 1024];
    loop {
        if let Some(head) = head::read(&heard) {
            if head.status != 200 {
                bail!("answered with status {}", head.status);
            }
            return Ok(());
        }
        let length = socket.read(&mut chunk)?;
        if length == 0 {
            bail!("closed before its answer");
        }
        heard.extend_from_slice(chunk.get(..length).unwrap_or_default());
    }
}

/// A stream takes a fraction of a millisecond; who takes this long for all is stuck.
const OPEN_WITHIN: Duration = Duration::from_secs(30);
/// Below the backlog of any listener on the way.
const BATCH: usize = 100;
const PATIENCE: Duration = Duration::from_secs(20);
