//! A control plane's REST door, asked as any program of an operator asks it: HTTP/1.1 over TLS, with a bearer token.
//!
//! One connection is kept and opened again when it has rested. What is asked, and why, is `plane`'s.

use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail};
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, ClientConnection, RootCertStore, StreamOwned};
use serde_json::Value;

use crate::head;

/// Somebody who asks.
#[derive(Debug)]
pub(crate) struct Rest {
    address: SocketAddr,
    tls: Arc<ClientConfig>,
    bearer: Option<String>,
    kept: Option<(Stream, Instant)>,
}

type Stream = StreamOwned<ClientConnection, TcpStream>;

/// What came back.
#[derive(Debug)]
pub(crate) struct Reply {
    pub(crate) status: u16,
    pub(crate) etag: Option<String>,
    body: Vec<u8>,
}

impl Reply {
    /// The body as JSON.
    pub(crate) fn json(&self) -> Result<Value> {
        serde_json::from_slice(&self.body).context("an answer that is JSON")
    }

    /// A text of it.
    pub(crate) fn text_of(&self, name: &str) -> Result<String> {
        let value = self.json()?;
        let text = value.get(name).and_then(Value::as_str);
        Ok(text
            .with_context(|| format!("an answer with {name}"))?
            .to_owned())
    }
}

impl Rest {
    /// Asks at `address`, whose certificate ends at `roots`, PEM.
    pub(crate) fn new(address: SocketAddr, roots: &[u8]) -> Result<Self> {
        let mut store = RootCertStore::empty();
        for root in CertificateDer::pem_slice_iter(roots) {
            store.add(root.context("a root certificate")?)?;
        }
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let tls = ClientConfig::builder_with_provider(provider)
            .with_protocol_versions(&[&rustls::version::TLS13])?
            .with_root_certificates(store)
            .with_no_client_auth();
        Ok(Self {
            address,
            tls: Arc::new(tls),
            bearer: None,
            kept: None,
        })
    }

    /// From now on with this token.
    pub(crate) fn log_in(&mut self, token: String) {
        self.bearer = Some(token);
    }

    /// `POST` of JSON.
    ///
    /// # Errors
    /// When there is no answer, or it is a refusal.
    pub(crate) fn post(&mut self, path: &str, body: &Value) -> Result<Reply> {
        let fields = [("content-type", "application/json")];
        self.ask("POST", path, &fields, body.to_string().as_bytes())
    }

    /// Asks; a refusal is an error, with what it says.
    ///
    /// # Errors
    /// As told.
    pub(crate) fn ask(
        &mut self,
        method: &str,
        path: &str,
        fields: &[(&str, &str)],
        body: &[u8],
    ) -> Result<Reply> {
        let mut stream = match self.kept.take() {
            Some((stream, used)) if used.elapsed() < RESTED => stream,
            Some(_) | None => self.connect()?,
        };
        let mut question = format!(
            "{method} {path} HTTP/1.1\r\nhost: localhost\r\ncontent-length: {}\r\n",
            body.len()
        );
        if let Some(bearer) = &self.bearer {
            question.push_str(&format!("authorization: Bearer {bearer}\r\n"));
        }
        for (name, value) in fields {
            question.push_str(&format!("{name}: {value}\r\n"));
        }
        question.push_str("\r\n");
        let reply = stream
            .write_all(question.as_bytes())
            .and_then(|()| stream.write_all(body))
            .and_then(|()| stream.flush())
            .map_err(anyhow::Error::from)
            .and_then(|()| read(&mut stream))
            .with_context(|| format!("{method} {path}"))?;
        self.kept = Some((stream, Instant::now()));
        if !(200..300).contains(&reply.status) {
            let said = String::from_utf8_lossy(&reply.body).into_owned();
            bail!("{method} {path}: {} {said}", reply.status);
        }
        Ok(reply)
    }

    fn connect(&self) -> Result<Stream> {
        let socket = TcpStream::connect(self.address)?;
        socket.set_nodelay(true)?;
        socket.set_read_timeout(Some(PATIENCE))?;
        let name = ServerName::try_from("localhost").context("a name")?;
        let connection = ClientConnection::new(Arc::clone(&self.tls), name)?;
        Ok(StreamOwned::new(connection, socket))
    }
}

fn read(stream: &mut Stream) -> Result<Reply> {
    let mut bytes = Vec::new();
    let mut piece = vec![0; 64 * 1024];
    loop {
        if let Some(head) = head::read(&bytes) {
            let length = match (head.body, head.status) {
                (Some(length), _) => usize::try_from(length)?,
                (None, 204 | 304) => 0,
                (None, _) => bail!("an answer without a length"),
            };
            if bytes.len() >= head.bytes + length {
                let text = bytes.get(..head.bytes).unwrap_or_default();
                let text = String::from_utf8_lossy(text);
                return Ok(Reply {
                    status: head.status,
                    etag: field(&text, "etag").map(str::to_owned),
                    body: bytes.get(head.bytes..).unwrap_or_default().to_vec(),
                });
            }
        }
        let came = stream.read(&mut piece)?;
        if came == 0 {
            bail!("the connection ended before the answer");
        }
        bytes.extend_from_slice(piece.get(..came).unwrap_or_default());
    }
}

/// The value of a field of a head.
fn field<'h>(head: &'h str, name: &str) -> Option<&'h str> {
    head.lines().find_map(|line| {
        let (found, value) = line.split_once(':')?;
        found.eq_ignore_ascii_case(name).then(|| value.trim())
    })
}

/// A server closes what has rested for some seconds.
const RESTED: Duration = Duration::from_secs(2);
const PATIENCE: Duration = Duration::from_secs(120);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_field_is_found_in_whatever_case_it_is_written() {
        let head = "HTTP/1.1 200 OK\r\nETag: \"7\"\r\ncontent-length: 0\r\n\r\n";
        assert_eq!(field(head, "etag"), Some("\"7\""));
        assert_eq!(field(head, "location"), None);
    }
}
