//! Whether one request ever sees two rule sets: backends that say who they are, and a caller who compares.
//!
//! Edition N of the rules grants the path `/eN` of one host and nothing else of it, and leads that host to the backend of
//! even or of odd editions. So a path that is granted and answered by the other backend was granted by one edition and
//! sent by another.

use std::io::{Read as _, Write as _};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use anyhow::Result;

use crate::head;
use crate::route::Route;

/// The backends of even and of odd editions. Their threads end with the program.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Backends([SocketAddr; 2]);

impl Backends {
    pub(crate) fn start() -> Result<Self> {
        Ok(Self([serve(EVEN)?, serve(ODD)?]))
    }

    /// The rules of an edition.
    pub(crate) fn rules(&self, edition: u32) -> String {
        let [even, odd] = self.0;
        let backend = if edition.is_multiple_of(2) { even } else { odd };
        format!(
            "[[system]]\nvirtual = \"{HOST}:80\"\nprotocol = \"http\"\ninternal = \"http://{backend}\"\n\
             allow_loopback = true\n[[system.resource]]\npath = \"/e{edition}\"\n"
        )
    }
}

/// The mark of the backend of an edition.
fn mark(edition: u32) -> u8 {
    if edition.is_multiple_of(2) { EVEN } else { ODD }
}

fn serve(mark: u8) -> Result<SocketAddr> {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
    let address = listener.local_addr()?;
    std::thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            std::thread::spawn(move || answer(stream, mark));
        }
    });
    Ok(address)
}

fn answer(mut stream: TcpStream, mark: u8) {
    let _ = stream.set_nodelay(true);
    let mut kept = Vec::new();
    let mut piece = [0; 4096];
    while let Ok(came @ 1..) = stream.read(&mut piece) {
        kept.extend_from_slice(piece.get(..came).unwrap_or_default());
        while let Some(head) = head::read(&kept) {
            kept.drain(..head.bytes);
            let mut said = b"HTTP/1.1 200 OK\r\ncontent-length: 1\r\n\r\n".to_vec();
            said.push(mark);
            if stream.write_all(&said).is_err() {
                return;
            }
        }
    }
}

/// A caller who asks for the paths of two editions in turn until dropped.
#[derive(Debug)]
pub(crate) struct Caller {
    shared: Arc<Shared>,
    thread: Option<JoinHandle<()>>,
}

#[derive(Debug, Default)]
struct Shared {
    over: AtomicBool,
    asked: AtomicU64,
    mixed: AtomicU64,
    failed: AtomicU64,
    /// When the new edition was seen first.
    seen: Mutex<Option<Instant>>,
}

/// What a caller found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Found {
    pub(crate) asked: u64,
    /// Requests that saw two editions, or the old one after the new one.
    pub(crate) mixed: u64,
    pub(crate) failed: u64,
}

impl Caller {
    /// Asks for the paths of `old` and of the edition behind it.
    pub(crate) fn start(route: &Route, old: u32) -> Self {
        let shared = Arc::new(Shared::default());
        let (own, route) = (Arc::clone(&shared), route.clone());
        let thread = std::thread::spawn(move || {
            while !own.over.load(Ordering::Relaxed) {
                if own.ask(&route, old).is_err() {
                    own.failed.fetch_add(1, Ordering::Relaxed);
                    std::thread::sleep(Duration::from_millis(10));
                }
            }
        });
        Self {
            shared,
            thread: Some(thread),
        }
    }

    /// When the new edition was seen first.
    pub(crate) fn seen(&self) -> Option<Instant> {
        *self
            .shared
            .seen
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn found(&self) -> Found {
        let of = |count: &AtomicU64| count.load(Ordering::Relaxed);
        Found {
            asked: of(&self.shared.asked),
            mixed: of(&self.shared.mixed),
            failed: of(&self.shared.failed),
        }
    }
}

impl Drop for Caller {
    fn drop(&mut self) {
        self.shared.over.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            drop(thread.join());
        }
    }
}

impl Shared {
    /// Asks on one connection for as long as it holds.
    fn ask(&self, route: &Route, old: u32) -> Result<()> {
        let mut stream = TcpStream::connect(route.http)?;
        stream.set_nodelay(true)?;
        stream.set_read_timeout(Some(Duration::from_secs(10)))?;
        let mut kept = Vec::new();
        for turn in 0.. {
            if self.over.load(Ordering::Relaxed) {
                break;
            }
            let edition = old + turn % 2;
            let fields = route
                .fields
                .replace("Host: web.virtual", &format!("Host: {HOST}"));
            write!(
                stream,
                "GET http://{HOST}/e{edition} HTTP/1.1\r\n{fields}\r\n"
            )?;
            let (status, body) = read(&mut stream, &mut kept)?;
            self.asked.fetch_add(1, Ordering::Relaxed);
            match verdict(status, &body, edition, old, self.has_seen()) {
                Verdict::New => {
                    let mut seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
                    seen.get_or_insert_with(Instant::now);
                }
                Verdict::Fine => {}
                Verdict::Mixed => drop(self.mixed.fetch_add(1, Ordering::Relaxed)),
                Verdict::Failed => drop(self.failed.fetch_add(1, Ordering::Relaxed)),
            }
            std::thread::sleep(BETWEEN);
        }
        Ok(())
    }

    fn has_seen(&self) -> bool {
        self.seen
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .is_some()
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Verdict {
    /// The new edition answered.
    New,
    Fine,
    Mixed,
    Failed,
}

fn verdict(status: u16, body: &[u8], edition: u32, old: u32, seen: bool) -> Verdict {
    match status {
        200 if body != [mark(edition)] => Verdict::Mixed,
        200 if edition != old => Verdict::New,
        // Nobody goes back.
        200 if seen => Verdict::Mixed,
        // The new edition does not grant the old path, nor the old one the new.
        403 if edition == old || !seen => Verdict::Fine,
        200 => Verdict::Fine,
        403 => Verdict::Mixed,
        _ => Verdict::Failed,
    }
}

fn read(stream: &mut TcpStream, kept: &mut Vec<u8>) -> Result<(u16, Vec<u8>)> {
    let mut piece = [0; 4096];
    loop {
        if let Some(head) = head::read(kept) {
            let length = usize::try_from(head.body.unwrap_or(0))?;
            if let Some(body) = kept.get(head.bytes..head.bytes + length) {
                let body = body.to_vec();
                kept.drain(..head.bytes + length);
                return Ok((head.status, body));
            }
        }
        let came = stream.read(&mut piece)?;
        anyhow::ensure!(came > 0, "the connection ended");
        kept.extend_from_slice(piece.get(..came).unwrap_or_default());
    }
}

const HOST: &str = "mark.virtual";
const EVEN: u8 = b'A';
const ODD: u8 = b'B';
/// Between an answer and the next question.
const BETWEEN: Duration = Duration::from_micros(500);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_one_edition_granted_and_the_other_answered_is_mixed() {
        // Edition 2 is old, 3 is new; before the new one was seen.
        assert_eq!(verdict(200, b"A", 2, 2, false), Verdict::Fine);
        assert_eq!(verdict(403, b"", 3, 2, false), Verdict::Fine);
        assert_eq!(verdict(403, b"", 2, 2, false), Verdict::Fine);
        assert_eq!(verdict(200, b"B", 3, 2, false), Verdict::New);
        assert_eq!(verdict(200, b"B", 2, 2, false), Verdict::Mixed);
        assert_eq!(verdict(200, b"A", 3, 2, false), Verdict::Mixed);
        // And after.
        assert_eq!(verdict(200, b"A", 2, 2, true), Verdict::Mixed);
        assert_eq!(verdict(403, b"", 3, 2, true), Verdict::Mixed);
        assert_eq!(verdict(403, b"", 2, 2, true), Verdict::Fine);
        assert_eq!(verdict(503, b"", 2, 2, true), Verdict::Failed);
    }

    #[test]
    fn a_backend_says_which_one_it_is_to_each_question_of_a_connection() {
        let Backends([_, odd]) = Backends::start().unwrap();
        let mut stream = TcpStream::connect(odd).unwrap();
        let mut kept = Vec::new();
        for _ in 0..3 {
            stream.write_all(b"GET /e1 HTTP/1.1\r\n\r\n").unwrap();
            assert_eq!(read(&mut stream, &mut kept).unwrap(), (200, b"B".to_vec()));
        }
    }
}
