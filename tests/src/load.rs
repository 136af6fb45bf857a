//! A bounded load: a few keep-alive clients that ask again and again and write down every failure.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use crate::http::{Connection, Response};
use crate::wait::until_else;

/// Clients at work until they are stopped.
#[derive(Debug)]
pub struct Load {
    inner: Arc<Inner>,
    clients: Vec<JoinHandle<()>>,
    started: Instant,
}

#[derive(Debug, Default)]
struct Inner {
    over: AtomicBool,
    fine: AtomicUsize,
    reopened: AtomicUsize,
    failures: Mutex<Vec<Failure>>,
}

/// A request that did not get what it should.
#[derive(Clone, Debug)]
pub struct Failure {
    /// When it was noticed.
    pub at: Instant,
    /// What came instead.
    pub what: String,
}

/// What a load came to.
#[derive(Clone, Debug)]
pub struct Outcome {
    /// Requests answered as they should be.
    pub fine: usize,
    /// Kept connections that were closed unannounced before an answer; their request was sent again.
    pub reopened: usize,
    /// The others.
    pub failures: Vec<Failure>,
}

impl Load {
    /// `clients` connections to `door` that send `request` until stopped. An answer is good when
    /// `good` says so; a connection that broke or says it will close is opened anew.
    pub fn start(
        door: SocketAddr,
        clients: usize,
        request: impl Into<Vec<u8>>,
        good: impl Fn(&Response) -> bool + Send + Sync + 'static,
    ) -> Self {
        let inner = Arc::new(Inner::default());
        let request: Arc<[u8]> = request.into().into();
        let good = Arc::new(good);
        let clients = (0..clients)
            .map(|_| {
                let (inner, request, good) =
                    (Arc::clone(&inner), Arc::clone(&request), Arc::clone(&good));
                std::thread::spawn(move || ask(&inner, door, &request, good.as_ref()))
            })
            .collect();
        Self {
            inner,
            clients,
            started: Instant::now(),
        }
    }

    /// Good answers so far.
    #[must_use]
    pub fn fine(&self) -> usize {
        self.inner.fine.load(Ordering::SeqCst)
    }

    /// Waits until `more` further requests went well: the load is under way (again).
    ///
    /// # Panics
    /// With the last failure when they do not.
    pub fn flows(&self, more: usize) {
        let before = self.fine();
        let is_enough = || (self.fine() >= before + more).then_some(());
        until_else(Duration::from_secs(30), is_enough, || {
            let last = self.failures_since(self.started).pop();
            let fine = self.fine() - before;
            format!("{more} requests go well under load; {fine} did, the last failure: {last:?}")
        });
    }

    /// Failures noticed at or after `since`.
    #[must_use]
    pub fn failures_since(&self, since: Instant) -> Vec<Failure> {
        let failures = self
            .inner
            .failures
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        failures
            .iter()
            .filter(|failure| failure.at >= since)
            .cloned()
            .collect()
    }

    /// Ends the load.
    ///
    /// # Panics
    /// When a client panicked.
    #[must_use]
    pub fn stop(mut self) -> Outcome {
        self.inner.over.store(true, Ordering::SeqCst);
        for client in self.clients.drain(..) {
            client.join().expect("a client of the load does not panic");
        }
        Outcome {
            fine: self.fine(),
            reopened: self.inner.reopened.load(Ordering::SeqCst),
            failures: self.failures_since(self.started),
        }
    }
}

impl Drop for Load {
    fn drop(&mut self) {
        self.inner.over.store(true, Ordering::SeqCst);
    }
}

fn ask(inner: &Inner, door: SocketAddr, request: &[u8], good: &dyn Fn(&Response) -> bool) {
    let mut connection: Option<Connection> = None;
    while !inner.over.load(Ordering::SeqCst) {
        let answer = once(inner, &mut connection, door, request);
        match answer {
            Ok(response) if good(&response) => {
                inner.fine.fetch_add(1, Ordering::SeqCst);
                if response.closes() {
                    connection = None;
                }
            }
            Ok(response) => {
                fail(
                    inner,
                    format!(
                        "{} {} {}",
                        response.line,
                        response.refusal(),
                        response.text()
                    ),
                );
                if response.closes() {
                    connection = None;
                }
            }
            Err(error) => {
                connection = None;
                fail(inner, format!("{error}"));
            }
        }
    }
}

fn once(
    inner: &Inner,
    connection: &mut Option<Connection>,
    door: SocketAddr,
    request: &[u8],
) -> std::io::Result<Response> {
    let fresh = connection.is_none();
    if fresh {
        *connection = Some(Connection::open(door)?);
    }
    let Some(open) = connection.as_mut() else {
        return Err(std::io::ErrorKind::NotConnected.into());
    };
    let answer = open.send(request).and_then(|()| open.response());
    match answer {
        // RFC 9112, section 9.3.1: a kept connection may have been closed while we wrote; then the
        // request is sent again on a new one, once.
        Err(error) if !fresh && is_closed(&error) => {
            *connection = None;
            inner.reopened.fetch_add(1, Ordering::SeqCst);
            once(inner, connection, door, request)
        }
        answer => answer,
    }
}

fn is_closed(error: &std::io::Error) -> bool {
    let text = error.to_string();
    // Ended before the first byte of an answer.
    text.ends_with("a line: \"\"")
        || matches!(
            error.kind(),
            std::io::ErrorKind::BrokenPipe
                | std::io::ErrorKind::ConnectionReset
                | std::io::ErrorKind::ConnectionAborted
        )
}

fn fail(inner: &Inner, what: String) {
    let mut failures = inner
        .failures
        .lock()
        .unwrap_or_else(PoisonError::into_inner);
    failures.push(Failure {
        at: Instant::now(),
        what,
    });
    drop(failures);
    // The machine is shared: a door that is shut is not hammered at.
    std::thread::sleep(Duration::from_millis(5));
}
