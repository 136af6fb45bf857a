//! One GET, bounded in bytes, by HTTP/1.1 over TLS; how long it may take is the caller's.
//!
//! No redirect is followed and no proxy asked: the answer is of the address that was checked, or there is none.

use std::fmt;
use std::sync::Arc;

use adit_people::oidc::Url;
use bytes::Bytes;
use http_body_util::{BodyExt as _, Empty, LengthLimitError, Limited};
use hyper::Request;
use hyper::body::Body as _;
use hyper::client::conn::http1;
use hyper::header::{ACCEPT, CONNECTION, HOST, USER_AGENT};
use hyper_util::rt::TokioIo;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, RootCertStore};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;

use crate::limits::KEYS_HEAD_BYTES_MAX;

/// Whom to believe.
pub(super) struct Fetcher {
    tls: TlsConnector,
}

impl fmt::Debug for Fetcher {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Fetcher")
    }
}

/// Why nothing came. Holds few words of whoever answered: it is logged.
#[derive(Debug)]
pub(super) enum Failed {
    /// No connection, or one that broke.
    Line(String),
    /// It took too long.
    Slow,
    /// Another status than 200.
    Status(u16),
    /// It sends us elsewhere.
    Redirect(u16),
    /// More bytes than are read.
    TooLarge { limit: usize },
    /// It is not what was asked for.
    Document(String),
}

impl Failed {
    /// One word, for the metric.
    pub(super) const fn word(&self) -> &'static str {
        match self {
            Self::Line(_) => "line",
            Self::Slow => "slow",
            Self::Status(_) => "status",
            Self::Redirect(_) => "redirect",
            Self::TooLarge { .. } => "too-large",
            Self::Document(_) => "document",
        }
    }
}

impl fmt::Display for Failed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Line(why) => f.write_str(why),
            Self::Slow => f.write_str("it did not answer in time"),
            Self::Status(status) => write!(f, "it answered {status}"),
            Self::Redirect(status) => write!(
                f,
                "it answered {status}, and redirects are not followed; name the issuer as it names itself"
            ),
            Self::TooLarge { limit } => write!(f, "its answer is larger than {limit} bytes"),
            Self::Document(why) => f.write_str(why),
        }
    }
}

impl Fetcher {
    /// Believes these roots, PEM, or those of the machine.
    ///
    /// # Errors
    /// There are none, and some are needed.
    pub(super) fn new(is_tls: bool, roots: Option<&[u8]>) -> Result<Self, String> {
        let mut store = RootCertStore::empty();
        match roots {
            Some(pem) => {
                for root in CertificateDer::pem_slice_iter(pem) {
                    let root = root.map_err(|error| format!("ca_file: {error}"))?;
                    store
                        .add(root)
                        .map_err(|error| format!("ca_file: {error}"))?;
                }
            }
            None => {
                // A machine's store may hold what rustls cannot use; the rest counts.
                let found = rustls_native_certs::load_native_certs();
                store.add_parsable_certificates(found.certs);
            }
        }
        if store.is_empty() && (is_tls || roots.is_some()) {
            return Err(
                "there are no root certificates; install ca-certificates, or write `oidc.ca_file`"
                    .to_owned(),
            );
        }
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let mut config = ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .map_err(|error| error.to_string())?
            .with_root_certificates(store)
            .with_no_client_auth();
        config.alpn_protocols = vec![b"http/1.1".to_vec()];
        Ok(Self {
            tls: TlsConnector::from(Arc::new(config)),
        })
    }

    /// What is at `url`, of at most `limit` bytes.
    ///
    /// # Errors
    /// Anything but a whole answer with status 200.
    pub(super) async fn get(&self, url: &Url, limit: usize) -> Result<Bytes, Failed> {
        let at = |error: &dyn fmt::Display| Failed::Line(format!("{url}: {error}"));
        let stream = TcpStream::connect((url.host(), url.port()))
            .await
            .map_err(|error| at(&error))?;
        let _ = stream.set_nodelay(true);
        if !url.is_tls() {
            return exchange(stream, url, limit).await;
        }
        let name = ServerName::try_from(url.host().to_owned()).map_err(|error| at(&error))?;
        let stream = self.tls.connect(name, stream).await;
        exchange(stream.map_err(|error| at(&error))?, url, limit).await
    }
}

/// Asks, and reads the answer.
pub(super) async fn exchange<S>(stream: S, url: &Url, limit: usize) -> Result<Bytes, Failed>
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let broken = |error: &dyn fmt::Display| Failed::Line(format!("{url}: {error}"));
    let (mut sender, connection) = http1::Builder::new()
        .max_buf_size(KEYS_HEAD_BYTES_MAX)
        .handshake(TokioIo::new(stream))
        .await
        .map_err(|error| broken(&error))?;
    let request = Request::get(url.path())
        .header(HOST, url.authority())
        .header(ACCEPT, "application/json")
        .header(USER_AGENT, "adit")
        .header(CONNECTION, "close")
        .body(Empty::<Bytes>::new())
        .map_err(|error| broken(&error))?;
    let asking = async {
        let answer = sender
            .send_request(request)
            .await
            .map_err(|error| broken(&error))?;
        let status = answer.status();
        if status.is_redirection() {
            return Err(Failed::Redirect(status.as_u16()));
        }
        if status != hyper::StatusCode::OK {
            return Err(Failed::Status(status.as_u16()));
        }
        let body = answer.into_body();
        let most = u64::try_from(limit).unwrap_or(u64::MAX);
        if body.size_hint().lower() > most {
            return Err(Failed::TooLarge { limit });
        }
        match Limited::new(body, limit).collect().await {
            Ok(body) => Ok(body.to_bytes()),
            Err(error) if error.is::<LengthLimitError>() => Err(Failed::TooLarge { limit }),
            Err(error) => Err(broken(&error)),
        }
    };
    tokio::pin!(connection);
    tokio::pin!(asking);
    // The connection does the input and output; it may end, even badly, before a whole answer has been taken. What it
    // ended of reaches who asks as well.
    tokio::select! {
        answer = &mut asking => answer,
        _ended = &mut connection => asking.await,
    }
}
