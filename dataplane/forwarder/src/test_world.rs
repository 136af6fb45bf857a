//! A chain for tests, who sends it, what a collector reads, and what is logged meanwhile.

use std::collections::VecDeque;
use std::io;
use std::sync::Arc;

use adit_audit::{Act, Chain, Digest, Record, Text};
use parking_lot::Mutex;
use tokio::io::{AsyncRead, AsyncReadExt as _};
use tracing::subscriber::DefaultGuard;

use crate::status::Who;

/// So many lines of acts, with details of `filler` bytes.
pub(crate) fn chain(count: usize, filler: usize) -> Vec<Vec<u8>> {
    let mut chain = Chain::new(Digest::ZERO);
    let filler = "x".repeat(filler.min(1000));
    (0..count)
        .map(|number| {
            let mut line = Vec::new();
            let act = Act {
                unix_ms: 1_700_000_000_000 + u64::try_from(number).unwrap(),
                who: Text::of(&filler),
                verb: Text::of("rules-apply"),
                subaccount: Some(Text::of("acme")),
                what: Text::of(&filler),
                detail: Text::of(&filler),
                request: Text::of(&filler),
            };
            chain.append(&Record::Act(act), &mut line);
            line
        })
        .collect()
}

/// Whoever.
pub(crate) fn who() -> Who {
    Who {
        node: "agent-1".to_owned(),
        host: "machine".to_owned(),
        software: "aditd 0.1.0".to_owned(),
    }
}

/// The body of the next request on a connection.
pub(crate) async fn next_body(
    socket: &mut (impl AsyncRead + Unpin),
    pending: &mut VecDeque<u8>,
) -> Option<Vec<u8>> {
    let mut buffer = vec![0; 65_536];
    loop {
        let bytes = pending.make_contiguous();
        let head = bytes.windows(4).position(|four| four == b"\r\n\r\n");
        if let Some(head) = head {
            let text = String::from_utf8_lossy(&bytes[..head]).to_lowercase();
            let length = text.split("content-length: ").nth(1).unwrap();
            let length: usize = length.split("\r\n").next().unwrap().parse().unwrap();
            if bytes.len() >= head + 4 + length {
                let body = bytes[head + 4..head + 4 + length].to_vec();
                pending.drain(..head + 4 + length);
                return Some(body);
            }
        }
        match socket.read(&mut buffer).await {
            Ok(0) | Err(_) => return None,
            Ok(count) => pending.extend(&buffer[..count]),
        }
    }
}

/// What this thread logs, as long as it is held.
pub(crate) struct Log {
    bytes: Sink,
    _guard: DefaultGuard,
}

#[derive(Clone, Default)]
struct Sink(Arc<Mutex<Vec<u8>>>);

impl io::Write for Sink {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

pub(crate) fn logged() -> Log {
    let bytes = Sink::default();
    let writer = bytes.clone();
    let subscriber = tracing_subscriber::fmt()
        .with_ansi(false)
        .with_max_level(tracing::Level::INFO)
        .with_writer(move || writer.clone())
        .finish();
    Log {
        bytes,
        _guard: tracing::subscriber::set_default(subscriber),
    }
}

impl Log {
    pub(crate) fn lines(&self) -> Vec<String> {
        let bytes = self.bytes.0.lock();
        let text = String::from_utf8_lossy(&bytes);
        text.lines().map(str::to_owned).collect()
    }
}
