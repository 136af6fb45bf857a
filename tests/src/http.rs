//! HTTP/1.1 by hand: what is sent is exactly what a test wrote, and what comes back is taken apart
//! strictly. Shares no code with `proto`.

use std::io::{self, ErrorKind, Read as _, Write as _};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::time::Duration;

use crate::net;

/// A connection of a client.
#[derive(Debug)]
pub struct Connection {
    stream: TcpStream,
    // Read and not yet used.
    buffer: Vec<u8>,
}

/// A final response, with what came before and behind its body.
#[derive(Clone, Debug, Default)]
pub struct Response {
    /// Status.
    pub status: u16,
    /// The status line.
    pub line: String,
    /// Fields in order, names in lower case.
    pub fields: Vec<(String, String)>,
    /// The body, without chunk framing.
    pub body: Vec<u8>,
    /// Fields behind a chunked body.
    pub trailers: Vec<(String, String)>,
    /// Statuses of the interim responses before it.
    pub interim: Vec<u16>,
}

impl Response {
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

    /// All values of `name`.
    pub fn all<'s>(&'s self, name: &str) -> impl Iterator<Item = &'s str> + use<'s> {
        let name = name.to_ascii_lowercase();
        let with_name =
            move |(known, value): &'s (String, String)| (*known == name).then_some(value.as_str());
        self.fields.iter().filter_map(with_name)
    }

    /// The body as text.
    #[must_use]
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    /// The reason in `adit-refusal`, without the request id; empty when adit did not refuse.
    #[must_use]
    pub fn refusal(&self) -> &str {
        self.field("adit-refusal")
            .and_then(|value| value.split(';').next())
            .unwrap_or_default()
            .trim()
    }

    /// The request id in `adit-refusal`.
    #[must_use]
    pub fn refusal_id(&self) -> Option<&str> {
        self.field("adit-refusal")?
            .split_once("id=")
            .map(|(_, id)| id.trim())
    }

    /// Whether it says that the connection will be closed.
    #[must_use]
    pub fn closes(&self) -> bool {
        self.all("connection").any(|value| {
            value
                .split(',')
                .any(|word| word.trim().eq_ignore_ascii_case("close"))
        })
    }
}

impl Connection {
    /// Connects.
    ///
    /// # Errors
    /// When nothing answers.
    pub fn open(address: SocketAddr) -> io::Result<Self> {
        Ok(Self::over(net::connect(address)?))
    }

    /// A connection that is there already.
    #[must_use]
    pub fn over(stream: TcpStream) -> Self {
        Self {
            stream,
            buffer: Vec::new(),
        }
    }

    /// The socket.
    #[must_use]
    pub fn stream(&self) -> &TcpStream {
        &self.stream
    }

    /// Waits for at most `limit` in each read from now on.
    ///
    /// # Errors
    /// When the system refuses.
    pub fn patience(&self, limit: Duration) -> io::Result<()> {
        self.stream.set_read_timeout(Some(limit))
    }

    /// Sends bytes as they are.
    ///
    /// # Errors
    /// When the connection is gone.
    pub fn send(&mut self, bytes: impl AsRef<[u8]>) -> io::Result<()> {
        self.stream.write_all(bytes.as_ref())
    }

    /// Ends our direction.
    ///
    /// # Errors
    /// When the connection is gone.
    pub fn finish(&self) -> io::Result<()> {
        self.stream.shutdown(Shutdown::Write)
    }

    /// The response to a request that was not HEAD.
    ///
    /// # Errors
    /// When it does not come or is malformed.
    pub fn response(&mut self) -> io::Result<Response> {
        self.response_to("GET")
    }

    /// The response to a request with `method`, interim ones gathered.
    ///
    /// # Errors
    /// When it does not come or is malformed.
    pub fn response_to(&mut self, method: &str) -> io::Result<Response> {
        let mut interim = Vec::new();
        let mut response = loop {
            let head = self.head()?;
            if head.status >= 200 || head.status == 101 {
                break head;
            }
            interim.push(head.status);
        };
        response.interim = interim;
        let bodiless = method == "HEAD" || matches!(response.status, 101 | 204 | 304);
        if !bodiless {
            self.body(&mut response)?;
        }
        Ok(response)
    }

    /// One head, interim or final, without its body.
    ///
    /// # Errors
    /// When it does not come or is malformed.
    pub fn head(&mut self) -> io::Result<Response> {
        let line = self.line()?;
        let status = line
            .strip_prefix("HTTP/1.1 ")
            .and_then(|rest| rest.get(..3))
            .and_then(|digits| digits.parse().ok())
            .ok_or_else(|| malformed(format!("status line {line:?}")))?;
        Ok(Response {
            status,
            line,
            fields: self.fields()?,
            ..Response::default()
        })
    }

    /// Reads exactly `n` bytes.
    ///
    /// # Errors
    /// When the connection ends before.
    pub fn exactly(&mut self, n: usize) -> io::Result<Vec<u8>> {
        while self.buffer.len() < n {
            if self.fill()? == 0 {
                return Err(cut(format!("{} of {n} bytes", self.buffer.len())));
            }
        }
        Ok(self.buffer.drain(..n).collect())
    }

    /// Reads all until the peer closes.
    ///
    /// # Errors
    /// When it does not close in time.
    pub fn to_close(&mut self) -> io::Result<Vec<u8>> {
        let mut all = std::mem::take(&mut self.buffer);
        all.extend(net::read_to_close(&mut self.stream)?);
        Ok(all)
    }

    /// Whether the peer closes without sending anything more.
    ///
    /// # Errors
    /// When it neither closes nor sends in time.
    pub fn closes(&mut self) -> io::Result<bool> {
        Ok(self.to_close()?.is_empty())
    }

    fn body(&mut self, response: &mut Response) -> io::Result<()> {
        let chunked = response
            .all("transfer-encoding")
            .any(|value| value == "chunked");
        let length = response.field("content-length").map(str::to_owned);
        match (chunked, length) {
            (true, Some(_)) => Err(malformed("both Content-Length and chunked")),
            (true, None) => {
                while let Some(chunk) = self.chunk()? {
                    response.body.extend(chunk);
                }
                response.trailers = self.fields()?;
                Ok(())
            }
            (false, Some(length)) => {
                let length = length
                    .parse()
                    .map_err(|_not_a_number| malformed(format!("length {length:?}")))?;
                response.body = self.exactly(length)?;
                Ok(())
            }
            (false, None) => {
                response.body = self.to_close()?;
                Ok(())
            }
        }
    }

    /// The data of one chunk; `None` for the last one.
    ///
    /// # Errors
    /// When it does not come or is malformed.
    pub fn chunk(&mut self) -> io::Result<Option<Vec<u8>>> {
        let line = self.line()?;
        let size = line.split(';').next().unwrap_or_default().trim();
        let size = usize::from_str_radix(size, 16)
            .map_err(|_not_a_number| malformed(format!("chunk size {line:?}")))?;
        if size == 0 {
            return Ok(None);
        }
        let data = self.exactly(size)?;
        if self.exactly(2)? != b"\r\n" {
            return Err(malformed("no line end behind a chunk"));
        }
        Ok(Some(data))
    }

    fn fields(&mut self) -> io::Result<Vec<(String, String)>> {
        let mut fields = Vec::new();
        loop {
            let line = self.line()?;
            if line.is_empty() {
                return Ok(fields);
            }
            let (name, value) = line
                .split_once(':')
                .ok_or_else(|| malformed(format!("field {line:?}")))?;
            fields.push((name.to_ascii_lowercase(), value.trim().to_owned()));
        }
    }

    fn line(&mut self) -> io::Result<String> {
        let mut seen = 0;
        loop {
            if let Some(at) = self.buffer[seen..]
                .windows(2)
                .position(|pair| pair == b"\r\n")
            {
                let line: Vec<u8> = self.buffer.drain(..seen + at).collect();
                self.buffer.drain(..2);
                return String::from_utf8(line).map_err(|error| malformed(error.to_string()));
            }
            seen = self.buffer.len().saturating_sub(1);
            if self.fill()? == 0 {
                return Err(cut(format!(
                    "a line: {:?}",
                    String::from_utf8_lossy(&self.buffer)
                )));
            }
        }
    }

    fn fill(&mut self) -> io::Result<usize> {
        let mut chunk = [0; 64 * 1024];
        loop {
            match self.stream.read(&mut chunk) {
                Ok(n) => {
                    self.buffer.extend_from_slice(&chunk[..n]);
                    return Ok(n);
                }
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
    }
}

fn malformed(what: impl Into<String>) -> io::Error {
    io::Error::new(ErrorKind::InvalidData, what.into())
}

fn cut(what: String) -> io::Error {
    io::Error::new(
        ErrorKind::UnexpectedEof,
        format!("the connection ended in {what}"),
    )
}
