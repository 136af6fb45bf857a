//! Scripted backends: each connection is played by a closure on a thread of its own, and everything
//! that arrived is remembered.

use std::io::{self, ErrorKind, Read as _, Write as _};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use crate::net;

/// A backend that runs until it is dropped.
#[derive(Debug)]
pub struct Backend {
    address: SocketAddr,
    facts: Arc<Facts>,
}

#[derive(Debug, Default)]
struct Facts {
    over: AtomicBool,
    accepted: AtomicUsize,
    open: AtomicUsize,
    open_most: AtomicUsize,
    requests: Mutex<Vec<Request>>,
    bytes: AtomicUsize,
    sockets: Mutex<Vec<TcpStream>>,
}

/// A request as the backend saw it.
#[derive(Clone, Debug, Default)]
pub struct Request {
    /// `GET /path HTTP/1.1`.
    pub line: String,
    /// Fields in order, names as sent.
    pub fields: Vec<(String, String)>,
    /// The body without chunk framing.
    pub body: Vec<u8>,
    /// Fields behind a chunked body.
    pub trailers: Vec<(String, String)>,
}

impl Request {
    /// `GET`.
    #[must_use]
    pub fn method(&self) -> &str {
        self.line.split(' ').next().unwrap_or_default()
    }

    /// The target between method and version.
    #[must_use]
    pub fn target(&self) -> &str {
        self.line.split(' ').nth(1).unwrap_or_default()
    }

    /// All values of `name`, in any case.
    pub fn all<'s>(&'s self, name: &str) -> impl Iterator<Item = &'s str> + use<'s> {
        let name = name.to_owned();
        let with_name = move |(known, value): &'s (String, String)| {
            known.eq_ignore_ascii_case(&name).then_some(value.as_str())
        };
        self.fields.iter().filter_map(with_name)
    }

    /// The value of the one field called `name`.
    ///
    /// # Panics
    /// When there are several.
    #[must_use]
    pub fn field(&self, name: &str) -> Option<&str> {
        let mut found = self.all(name);
        let first = found.next();
        assert!(
            found.next().is_none(),
            "more than one {name}: {:?}",
            self.fields
        );
        first
    }

    fn length(&self) -> usize {
        self.field("content-length")
            .and_then(|value| value.parse().ok())
            .unwrap_or(0)
    }

    fn is_chunked(&self) -> bool {
        self.field("transfer-encoding").is_some()
    }
}

/// One connection, as a script sees it.
#[derive(Debug)]
pub struct Visit {
    stream: TcpStream,
    buffer: Vec<u8>,
    facts: Arc<Facts>,
    hard: bool,
    /// Which connection of this backend it is, from 0.
    pub number: usize,
}

impl Backend {
    /// Starts a backend that plays `script` on each connection.
    pub fn start(script: impl Fn(&mut Visit) -> io::Result<()> + Send + Sync + 'static) -> Self {
        let (listener, address) = net::listen();
        let facts = Arc::new(Facts::default());
        let ours = Arc::clone(&facts);
        std::thread::spawn(move || accept(&listener, &ours, &Arc::new(script)));
        Self { address, facts }
    }

    /// Answers each request with `answer`, keeping the connection.
    pub fn answering(answer: impl Fn(&Request) -> Vec<u8> + Send + Sync + 'static) -> Self {
        Self::start(move |visit| {
            while let Some(request) = visit.request()? {
                let answer = answer(&request);
                visit.send(&answer)?;
            }
            Ok(())
        })
    }

    /// Answers each request with the very same bytes.
    #[must_use]
    pub fn saying(answer: impl Into<Vec<u8>>) -> Self {
        let answer = answer.into();
        Self::answering(move |_| answer.clone())
    }

    /// Answers each request with 200 and the request's own line, fields and body.
    #[must_use]
    pub fn mirror() -> Self {
        Self::answering(mirrored)
    }

    /// A TCP backend that sends back what it gets, and ends when its peer does.
    #[must_use]
    pub fn echo() -> Self {
        Self::start(|visit| {
            loop {
                let bytes = visit.some()?;
                if bytes.is_empty() {
                    return visit.finish();
                }
                visit.send(&bytes)?;
            }
        })
    }

    /// Accepts and never says anything, whatever it gets.
    #[must_use]
    pub fn silent() -> Self {
        Self::start(|visit| {
            while !visit.some()?.is_empty() {}
            Ok(())
        })
    }

    /// An address that refuses.
    #[must_use]
    pub fn refusing() -> SocketAddr {
        net::free_address()
    }

    /// Where it listens.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Its URL.
    #[must_use]
    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// Connections it has accepted.
    #[must_use]
    pub fn accepted(&self) -> usize {
        self.facts.accepted.load(Ordering::SeqCst)
    }

    /// Connections that are open.
    #[must_use]
    pub fn open(&self) -> usize {
        self.facts.open.load(Ordering::SeqCst)
    }

    /// Most connections that were open at once.
    #[must_use]
    pub fn open_most(&self) -> usize {
        self.facts.open_most.load(Ordering::SeqCst)
    }

    /// Bytes it has read.
    #[must_use]
    pub fn bytes(&self) -> usize {
        self.facts.bytes.load(Ordering::SeqCst)
    }

    /// The requests it has read whole, in the order of their ends.
    #[must_use]
    pub fn requests(&self) -> Vec<Request> {
        self.facts
            .requests
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }

    /// The last request.
    ///
    /// # Panics
    /// When there was none.
    #[must_use]
    pub fn last(&self) -> Request {
        self.requests().pop().expect("the backend was asked")
    }
}

impl Drop for Backend {
    fn drop(&mut self) {
        self.facts.over.store(true, Ordering::SeqCst);
        // Wakes the accepting thread; then the ones that read.
        drop(TcpStream::connect_timeout(
            &self.address,
            Duration::from_secs(1),
        ));
        for socket in self
            .facts
            .sockets
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .drain(..)
        {
            let _ = socket.shutdown(Shutdown::Both);
        }
    }
}

fn accept<S>(listener: &TcpListener, facts: &Arc<Facts>, script: &Arc<S>)
where
    S: Fn(&mut Visit) -> io::Result<()> + Send + Sync + 'static,
{
    for stream in listener.incoming() {
        if facts.over.load(Ordering::SeqCst) {
            return;
        }
        let Ok(stream) = stream else { continue };
        if net::patient(&stream).is_err() {
            continue;
        }
        let number = facts.accepted.fetch_add(1, Ordering::SeqCst);
        let open = facts.open.fetch_add(1, Ordering::SeqCst) + 1;
        facts.open_most.fetch_max(open, Ordering::SeqCst);
        if let Ok(copy) = stream.try_clone() {
            let mut sockets = facts.sockets.lock().unwrap_or_else(PoisonError::into_inner);
            // Descriptors of connections that have ended are not hoarded.
            sockets.retain(|socket| socket.peer_addr().is_ok());
            sockets.push(copy);
        }
        let mut visit = Visit {
            stream,
            buffer: Vec::new(),
            facts: Arc::clone(facts),
            hard: false,
            number,
        };
        let script = Arc::clone(script);
        std::thread::spawn(move || {
            // A script ends with an error when its peer goes away; whether it may is said by the test.
            let _ = script(&mut visit);
            visit.facts.open.fetch_sub(1, Ordering::SeqCst);
            if !visit.hard {
                // The copy above keeps the socket open otherwise.
                let _ = visit.stream.shutdown(Shutdown::Both);
            }
        });
    }
}

impl Visit {
    /// The next request with its body; `None` when the peer closes between two.
    ///
    /// # Errors
    /// When the peer goes away in the middle or sends what no agent may send.
    pub fn request(&mut self) -> io::Result<Option<Request>> {
        let Some(mut request) = self.head()? else {
            return Ok(None);
        };
        self.body(&mut request)?;
        self.note(&request);
        Ok(Some(request))
    }

    /// The next request's head, its body still to be read.
    ///
    /// # Errors
    /// When the peer goes away in the middle.
    pub fn head(&mut self) -> io::Result<Option<Request>> {
        if self.buffer.is_empty() && self.fill()? == 0 {
            return Ok(None);
        }
        let line = self.line()?;
        Ok(Some(Request {
            line,
            fields: self.fields()?,
            ..Request::default()
        }))
    }

    /// Reads the body of `request`.
    ///
    /// # Errors
    /// When the peer goes away in the middle.
    pub fn body(&mut self, request: &mut Request) -> io::Result<()> {
        if !request.is_chunked() {
            request.body = self.exactly(request.length())?;
            return Ok(());
        }
        loop {
            let line = self.line()?;
            let size = line.split(';').next().unwrap_or_default();
            let size = usize::from_str_radix(size, 16).map_err(io::Error::other)?;
            if size == 0 {
                request.trailers = self.fields()?;
                return Ok(());
            }
            let chunk = self.exactly(size)?;
            request.body.extend(chunk);
            self.exactly(2)?;
        }
    }

    /// Remembers `request` as seen. [`Visit::request`] does it by itself.
    pub fn note(&self, request: &Request) {
        let mut seen = self
            .facts
            .requests
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        seen.push(request.clone());
    }

    /// Exactly `n` bytes.
    ///
    /// # Errors
    /// When the peer goes away before.
    pub fn exactly(&mut self, n: usize) -> io::Result<Vec<u8>> {
        while self.buffer.len() < n {
            self.must_fill()?;
        }
        Ok(self.buffer.drain(..n).collect())
    }

    /// Whatever comes next; nothing at the end.
    ///
    /// # Errors
    /// When the connection breaks.
    pub fn some(&mut self) -> io::Result<Vec<u8>> {
        if self.buffer.is_empty() {
            self.fill()?;
        }
        Ok(std::mem::take(&mut self.buffer))
    }

    /// Sends bytes.
    ///
    /// # Errors
    /// When the peer is gone.
    pub fn send(&mut self, bytes: impl AsRef<[u8]>) -> io::Result<()> {
        self.stream.write_all(bytes.as_ref())
    }

    /// Ends our direction.
    ///
    /// # Errors
    /// When the peer is gone.
    pub fn finish(&self) -> io::Result<()> {
        self.stream.shutdown(Shutdown::Write)
    }

    /// Lets the connection end with RST when the script returns.
    ///
    /// # Errors
    /// Never; so that it can be a script's last word.
    pub fn reset(&mut self) -> io::Result<()> {
        net::linger_none(&self.stream);
        // RST is sent by the last close, so the copy must be gone.
        let peer = self.stream.peer_addr().ok();
        let mut sockets = self
            .facts
            .sockets
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        sockets.retain(|socket| socket.peer_addr().ok() != peer);
        self.hard = true;
        Ok(())
    }

    /// The socket.
    #[must_use]
    pub fn stream(&self) -> &TcpStream {
        &self.stream
    }

    fn fields(&mut self) -> io::Result<Vec<(String, String)>> {
        let mut fields = Vec::new();
        loop {
            let line = self.line()?;
            if line.is_empty() {
                return Ok(fields);
            }
            let (name, value) = line
                .split_once(": ")
                .ok_or_else(|| io::Error::other(format!("field {line:?}")))?;
            fields.push((name.to_owned(), value.to_owned()));
        }
    }

    fn line(&mut self) -> io::Result<String> {
        loop {
            if let Some(at) = self.buffer.windows(2).position(|pair| pair == b"\r\n") {
                let line: Vec<u8> = self.buffer.drain(..at).collect();
                self.buffer.drain(..2);
                return String::from_utf8(line).map_err(io::Error::other);
            }
            self.must_fill()?;
        }
    }

    fn must_fill(&mut self) -> io::Result<()> {
        if self.fill()? == 0 {
            return Err(ErrorKind::UnexpectedEof.into());
        }
        Ok(())
    }

    fn fill(&mut self) -> io::Result<usize> {
        let mut chunk = [0; 64 * 1024];
        let n = self.stream.read(&mut chunk)?;
        self.buffer.extend_from_slice(&chunk[..n]);
        self.facts.bytes.fetch_add(n, Ordering::SeqCst);
        Ok(n)
    }
}

/// 200 with the request's own line, fields and body.
#[must_use]
pub fn mirrored(request: &Request) -> Vec<u8> {
    let mut body = format!("{}\r\n", request.line).into_bytes();
    for (name, value) in &request.fields {
        body.extend(format!("{name}: {value}\r\n").into_bytes());
    }
    body.extend(b"\r\n");
    body.extend(&request.body);
    ok(&body)
}

/// 200 with a body of known length.
#[must_use]
pub fn ok(body: impl AsRef<[u8]>) -> Vec<u8> {
    let body = body.as_ref();
    let mut answer =
        format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n", body.len()).into_bytes();
    answer.extend(body);
    answer
}
