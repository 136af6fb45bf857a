//! Streams that are opened, used once, and then do nothing.

use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::time::Duration;

use anyhow::{Context as _, Result, bail};

use crate::head;
use crate::interrupt;
use crate::route::Route;

/// Opens `count` streams, each proved by a byte that came back.
///
/// # Errors
/// At the first that cannot be opened.
pub(crate) fn open(route: &Route, count: usize) -> Result<Vec<TcpStream>> {
    let mut held = Vec::with_capacity(count);
    for number in 1..=count {
        let one = open_one(route).with_context(|| format!("idle stream {number} of {count}"))?;
        held.push(one);
        if number % 100 == 0 {
            interrupt::check()?;
        }
    }
    Ok(held)
}

/// A TCP stream where there is one, else an HTTP answer that does not go on.
fn open_one(route: &Route) -> Result<TcpStream> {
    let address = route.tcp.as_ref().map_or(route.http, |tcp| tcp.address);
    let mut socket = TcpStream::connect(address)?;
    socket.set_read_timeout(Some(PATIENCE))?;
    socket.set_nodelay(true)?;
    match &route.tcp {
        None => {
            socket.write_all(&route.get("/hold", false))?;
            wait_for_head(&mut socket, 1)?;
        }
        Some(tcp) => {
            if !tcp.greeting.is_empty() {
                socket.write_all(&tcp.greeting)?;
                wait_for_head(&mut socket, 0)?;
            }
            socket.write_all(b"h")?;
            let mut answer = [0];
            socket.read_exact(&mut answer)?;
        }
    }
    Ok(socket)
}

fn wait_for_head(socket: &mut TcpStream, behind: usize) -> Result<()> {
    let mut heard = Vec::new();
    let mut chunk = [0; 1024];
    loop {
        if let Some(head) = head::read(&heard) {
            if head.status != 200 {
                bail!("answered with status {}", head.status);
            }
            if heard.len() >= head.bytes + behind {
                return Ok(());
            }
        }
        let length = socket.read(&mut chunk)?;
        if length == 0 {
            bail!("closed before its answer");
        }
        heard.extend_from_slice(chunk.get(..length).unwrap_or_default());
    }
}

const PATIENCE: Duration = Duration::from_secs(20);
