//! The agent's half of a tunnel's beginning: name, proxy, TCP, TLS, hello; one try.
//!
//! Trying again, for ever, is the agent's business; so is which gateways there are.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use adit_mux::Settings;
use adit_proto::hello::Hello;
use adit_runtime::resolve::Resolver;
use adit_tls::ClientSettings;
use adit_tunnel::{Error, Opening, Progress};
use arc_swap::ArcSwap;
use rustls_pki_types::ServerName;

use crate::accept::{Admitted, read_some};
use crate::connect;
use crate::proxy::Proxy;
use crate::socket::{Leg, Socket};
use crate::wire::Wire;

/// What a dial needs to know.
#[derive(Clone, Debug)]
pub struct Dialler {
    /// Our certificate and whom we trust, as of now: each dial takes what is there when it begins.
    pub tls: Arc<ArcSwap<ClientSettings>>,
    /// The multiplexer's limits.
    pub mux: Settings,
    /// Names to addresses.
    pub resolver: Resolver,
    /// The way out, if not direct.
    pub proxy: Option<Proxy>,
    /// For TCP; the handshake gets as long again.
    pub connect_limit: Duration,
}

/// Why a dial failed: where on the way, and what was said there.
#[derive(Debug)]
#[non_exhaustive]
pub enum DialError {
    /// The gateway's or proxy's name.
    Name(String),
    /// TCP.
    Connect(String),
    /// The proxy.
    Proxy(String),
    /// TLS or hello.
    Opening(Error),
    /// The path broke during the handshake.
    Broken(String),
    /// Handshake not finished in time.
    TooSlow,
}

impl fmt::Display for DialError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Name(what) => write!(f, "dns: {what}"),
            Self::Connect(what) => write!(f, "tcp: {what}"),
            Self::Proxy(what) => write!(f, "proxy: {what}"),
            Self::Opening(error) => write!(f, "{error}"),
            Self::Broken(what) => write!(f, "handshake: {what}"),
            Self::TooSlow => f.write_str("handshake: no answer in time"),
        }
    }
}

impl std::error::Error for DialError {}

impl Dialler {
    /// One try to open a tunnel to the gateway at `host:port`.
    ///
    /// # Errors
    /// [`DialError`].
    pub async fn dial(
        &self,
        host: &str,
        port: u16,
        hello: Hello,
    ) -> Result<(Socket, Admitted), DialError> {
        let proxy = self.proxy.as_ref().filter(|proxy| !proxy.passes(host));
        let (next_host, next_port) =
            proxy.map_or((host, port), |proxy| (proxy.host.as_str(), proxy.port));
        let addresses = self
            .resolver
            .resolve(next_host, next_port)
            .await
            .map_err(|error| DialError::Name(format!("{next_host}: {error}")))?;
        let socket = connect::any(&addresses, self.connect_limit, Leg::Tunnel)
            .await
            .map_err(|error| DialError::Connect(error.to_string()))?;
        if let Some(proxy) = proxy {
            proxy
                .connect(&socket, host, port, self.connect_limit)
                .await
                .map_err(DialError::Proxy)?;
        }
        let name = ServerName::try_from(
            host.trim_start_matches('[')
                .trim_end_matches(']')
                .to_owned(),
        )
        .map_err(|_invalid| {
            DialError::Name(format!("{host} is neither a DNS name nor an address"))
        })?;
        match adit_runtime::timer::timeout(
            self.connect_limit,
            Box::pin(self.converse(&socket, name, hello)),
        )
        .await
        {
            Ok(outcome) => outcome.map(|admitted| (socket, admitted)),
            Err(_elapsed) => Err(DialError::TooSlow),
        }
    }

    async fn converse(
        &self,
        socket: &Socket,
        name: ServerName<'static>,
        hello: Hello,
    ) -> Result<Admitted, DialError> {
        let broken = |error: std::io::Error| DialError::Broken(error.to_string());
        let mut opening =
            Opening::agent(&self.tls.load_full(), name, hello).map_err(DialError::Opening)?;
        let mut input = Vec::new();
        let mut output = Vec::new();
        loop {
            let progress = opening.advance(&mut input, &mut output);
            let sent = socket.write_all(&output).await;
            output.clear();
            match progress.map_err(DialError::Opening)? {
                Progress::Welcomed => break,
                Progress::Reading | Progress::Heard => sent.map_err(broken)?,
            }
            read_some(socket, &mut input).await.map_err(broken)?;
        }
        let opened = opening
            .finish(self.mux.clone())
            .map_err(DialError::Opening)?;
        Ok(Admitted {
            tunnel: opened.tunnel,
            leftover: input,
        })
    }
}
