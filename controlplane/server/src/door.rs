//! The one door: TLS 1.3, HTTP/1.1 and HTTP/2, for nodes, people and programs.
//!
//! Whoever shows a certificate of ours is that node, whoever shows one of the people's authority is that person;
//! everybody else must bring a token. The door's own certificate is the authority's, made anew at half of its life and
//! when the authority changes.

#[cfg(test)]
mod certificates;
mod nodes;
mod peer;
#[cfg(test)]
mod tests;
mod trust;

use std::io::Cursor;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;
use axum::Router;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::conn::auto::Builder;
use hyper_util::service::TowerToHyperService;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, UnixTime};
use rustls::server::{NoServerSessionStorage, ServerConfig};
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Semaphore, watch};
use tokio::task::JoinSet;
use tokio::time::timeout;
use tokio_rustls::TlsAcceptor;

use crate::life::Life;
use crate::limits::{CONNECTIONS_MAX, HANDSHAKE_LIMIT, HEAD_LIMIT};
use crate::metrics;
use crate::rest::{self, Parts};
use crate::trouble::Trouble;

pub(crate) use peer::Peer;
pub(crate) use trust::{PeopleTrust, Shown};
use trust::{Told, Verifier};

/// Where everybody comes in.
pub(crate) struct Door {
    name: String,
    names: Vec<String>,
    life: Arc<Life>,
    people: Option<PeopleTrust>,
    tls: ArcSwap<Tls>,
    routes: Router,
}

/// The door's certificate, and whose it takes.
struct Tls {
    config: Arc<ServerConfig>,
    verifier: Arc<Verifier>,
}

/// From where a request came, and whose certificate was shown.
#[derive(Clone, Debug)]
pub(crate) struct Connection {
    pub(crate) source: SocketAddr,
    pub(crate) shown: Shown,
}

impl Door {
    pub(crate) fn new(
        name: &str,
        names: &[String],
        people: Option<PeopleTrust>,
        life: Arc<Life>,
        parts: Arc<Parts>,
    ) -> Result<Self, Trouble> {
        let tls = tls(&life, name, names, people.as_ref())?;
        let routes = rest::routes(Arc::clone(&parts)).merge(nodes::routes(parts));
        Ok(Self {
            name: name.to_owned(),
            names: names.to_vec(),
            life,
            people,
            tls: ArcSwap::from_pointee(tls),
            routes,
        })
    }

    /// Serves until told to stop, and then until what is under way has ended or had a moment.
    pub(crate) async fn serve(self, listener: TcpListener, mut stopped: watch::Receiver<bool>) {
        let door = Arc::new(self);
        let upkeep = tokio::spawn(Arc::clone(&door).renew());
        let places = Arc::new(Semaphore::new(CONNECTIONS_MAX));
        let mut connections = JoinSet::new();
        loop {
            let place = tokio::select! {
                place = Arc::clone(&places).acquire_owned() => place,
                // Also while the door is full.
                _ = stopped.changed() => break,
            };
            let Ok(place) = place else { break };
            tokio::select! {
                accepted = listener.accept() => match accepted {
                    Ok((stream, source)) => {
                        let (door, stopped) = (Arc::clone(&door), stopped.clone());
                        connections.spawn(async move {
                            door.connection(stream, source, stopped).await;
                            drop(place);
                        });
                    }
                    Err(error) => {
                        // No descriptor left, for example: those that end make room.
                        tracing::warn!(%error, "a connection could not be accepted");
                        tokio::time::sleep(ACCEPT_PAUSE).await;
                    }
                },
                Some(_ended) = connections.join_next() => {}
                _ = stopped.changed() => break,
            }
        }
        upkeep.abort();
        drop(listener);
        // Each ends by itself within the grace; whoever starts again needs what they hold.
        let _ = timeout(GRACE * 2, async {
            while connections.join_next().await.is_some() {}
        })
        .await;
        connections.shutdown().await;
        let _ = upkeep.await;
    }

    async fn connection(
        &self,
        stream: TcpStream,
        source: SocketAddr,
        stopped: watch::Receiver<bool>,
    ) {
        let _ = stream.set_nodelay(true);
        self.converse(stream, source, stopped).await;
    }

    async fn converse<S>(&self, stream: S, source: SocketAddr, mut stopped: watch::Receiver<bool>)
    where
        S: AsyncRead + AsyncWrite + Send + Unpin + 'static,
    {
        let tls = self.tls.load_full();
        let acceptor = TlsAcceptor::from(Arc::clone(&tls.config));
        let mut stream = match timeout(HANDSHAKE_LIMIT, acceptor.accept(stream)).await {
            Ok(Ok(stream)) => stream,
            Ok(Err(error)) => {
                let of_tls = error
                    .get_ref()
                    .and_then(|inner| inner.downcast_ref::<rustls::Error>());
                match of_tls {
                    Some(of_tls) => refused(source, of_tls),
                    None => tracing::info!(%source, %error, "TLS handshake refused"),
                }
                return;
            }
            Err(_elapsed) => return,
        };
        // Judged again: the handshake says that the chain counts, and not as what.
        let shown = match stream.get_ref().1.peer_certificates() {
            None | Some([]) => Shown::Nothing,
            Some([leaf, between @ ..]) => {
                match tls.verifier.shown(leaf, between, UnixTime::now()) {
                    Ok(shown) => shown,
                    Err(error) => return refused(source, &error),
                }
            }
        };
        let connection = Connection { source, shown };
        let routes = self.routes.clone().layer(axum::Extension(connection));
        let mut builder = Builder::new(TokioExecutor::new());
        builder
            .http1()
            .timer(TokioTimer::new())
            .header_read_timeout(HEAD_LIMIT)
            .max_buf_size(HTTP1_BUFFER_BYTES);
        builder
            .http2()
            .timer(TokioTimer::new())
            .keep_alive_interval(Some(KEEP_ALIVE))
            .keep_alive_timeout(KEEP_ALIVE)
            .initial_stream_window_size(STREAM_WINDOW_BYTES)
            .initial_connection_window_size(CONNECTION_WINDOW_BYTES)
            .max_concurrent_streams(STREAMS_MAX)
            .max_header_list_size(HEAD_BYTES_MAX);
        // What was agreed on, and not a look at what comes: that look waits without end for who says nothing.
        let is_http2 = stream.get_ref().1.alpn_protocol() == Some(b"h2");
        builder = if is_http2 {
            builder.http2_only()
        } else {
            builder.http1_only()
        };
        let mut preface = Vec::new();
        if is_http2 {
            preface.resize(PREFACE_BYTES, 0);
            // From here on whoever says nothing is asked whether it lives.
            match timeout(HEAD_LIMIT, stream.read_exact(&mut preface)).await {
                Ok(Ok(_)) => {}
                Ok(Err(_)) | Err(_) => return,
            }
        }
        let (reader, writer) = tokio::io::split(stream);
        let stream = tokio::io::join(Cursor::new(preface).chain(reader), writer);
        let serving =
            builder.serve_connection(TokioIo::new(stream), TowerToHyperService::new(routes));
        tokio::pin!(serving);
        tokio::select! {
            ended = serving.as_mut() => {
                if let Err(error) = ended {
                    tracing::debug!(%source, %error, "connection ended");
                }
                return;
            }
            _ = stopped.changed() => serving.as_mut().graceful_shutdown(),
        }
        let _ = timeout(GRACE, serving).await;
    }

    /// Makes the door's certificate anew before it ends, and when the authority changes.
    async fn renew(self: Arc<Self>) {
        let mut news = self.life.news();
        loop {
            tokio::select! {
                _ = tokio::time::sleep(Duration::from_secs(SERVER_LIFE_S / 2)) => {}
                changed = news.changed() => if changed.is_err() { return },
            }
            match tls(&self.life, &self.name, &self.names, self.people.as_ref()) {
                Ok(tls) => self.tls.store(Arc::new(tls)),
                Err(trouble) => tracing::error!(
                    ?trouble,
                    "the door's new certificate could not be made; the old one goes on"
                ),
            }
        }
    }
}

/// How long the door's certificate lives. 30 days.
const SERVER_LIFE_S: u64 = 30 * 86_400;
/// Between two tries to accept.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);
/// How often a quiet HTTP/2 connection is asked whether it lives, and how long it has to answer.
const KEEP_ALIVE: Duration = Duration::from_secs(5);
/// Bytes that begin an HTTP/2 connection (RFC 9113, section 3.4).
const PREFACE_BYTES: usize = 24;
/// Requests of one connection at one time.
const STREAMS_MAX: u32 = 64;
/// Bytes of a body that a client may send before they are read. 128 KiB: 10 Mbit/s at 100 ms.
const STREAM_WINDOW_BYTES: u32 = 128 * 1024;
/// The same of all bodies of one connection.
const CONNECTION_WINDOW_BYTES: u32 = 256 * 1024;
/// Bytes of a head.
const HEAD_BYTES_MAX: u32 = 16 * 1024;
/// Bytes of a head over HTTP/1.1, and of what is read of a body at once.
const HTTP1_BUFFER_BYTES: usize = 64 * 1024;
/// How long requests under way may take once the server ends.
pub(crate) const GRACE: Duration = Duration::from_secs(2);

fn refused(source: SocketAddr, error: &rustls::Error) {
    let why = trust::why(error);
    if let Some(why) = why {
        metrics::certificate_refused(why);
    }
    tracing::info!(%source, why, error = %Told(error), "TLS handshake refused");
}

fn tls(
    life: &Life,
    name: &str,
    names: &[String],
    people: Option<&PeopleTrust>,
) -> Result<Tls, Trouble> {
    let internal = |error: &dyn std::fmt::Display| {
        Trouble::Internal(format!("the door's certificate: {error}"))
    };
    let identity = life.issue_server(name, names, SERVER_LIFE_S)?;
    let chain = certificates(identity.chain_pem.as_bytes()).map_err(|error| internal(&error))?;
    let key = PrivateKeyDer::from_pem_slice(identity.key_pem.as_bytes())
        .map_err(|error| internal(&error))?;
    let roots = certificates(life.roots_pem().as_bytes()).map_err(|error| internal(&error))?;
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let verifier = Verifier::new(roots, people, &provider).map_err(Trouble::Internal)?;
    let verifier = Arc::new(verifier);
    let mut config = ServerConfig::builder_with_provider(provider)
        .with_protocol_versions(&[&rustls::version::TLS13])
        .map_err(|error| internal(&error))?
        .with_client_cert_verifier(Arc::<Verifier>::clone(&verifier))
        .with_single_cert(chain, key)
        .map_err(|error| internal(&error))?;
    config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    // A resumed connection would rest on a certificate that was checked long ago, perhaps revoked since.
    config.session_storage = Arc::new(NoServerSessionStorage {});
    config.send_tls13_tickets = 0;
    config.max_early_data_size = 0;
    Ok(Tls {
        config: Arc::new(config),
        verifier,
    })
}

fn certificates(pem: &[u8]) -> Result<Vec<CertificateDer<'static>>, rustls::pki_types::pem::Error> {
    CertificateDer::pem_slice_iter(pem).collect()
}
