//! The gateway's half of a tunnel's beginning, on a real socket and against the clock.

use std::fmt;
use std::time::Duration;

use adit_mux::Settings;
use adit_proto::hello::{Hello, Rejected, Welcome};
use adit_tls::{PeerIdentity, ServerSettings};
use adit_tunnel::{Error, Opened, Opening, Progress};

use crate::Tunnel;
use crate::socket::Socket;
use crate::wire::Wire;

/// An admitted tunnel that runs nowhere yet: it can be moved to another shard.
#[derive(Debug)]
pub struct Admitted {
    /// The machine.
    pub tunnel: Tunnel,
    /// Ciphertext read behind the greeting.
    pub leftover: Vec<u8>,
}

/// Why no tunnel came of a connection.
#[derive(Debug)]
#[non_exhaustive]
pub enum AcceptError {
    /// The peer did not finish within the limit.
    TooSlow,
    /// The connection broke.
    Io(std::io::Error),
    /// Handshake or greeting failed.
    Opening(Error),
    /// We sent it away.
    Rejected(Rejected),
}

impl fmt::Display for AcceptError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::TooSlow => f.write_str("handshake not finished in time"),
            Self::Io(error) => write!(f, "{error}"),
            Self::Opening(error) => write!(f, "{error}"),
            Self::Rejected(rejected) => {
                write!(
                    f,
                    "rejected ({}): {}",
                    rejected.refusal.reason(),
                    rejected.message
                )
            }
        }
    }
}

impl std::error::Error for AcceptError {}

/// Opens a tunnel on an accepted connection within `limit`; `admit` decides.
///
/// # Errors
/// [`AcceptError`]; the peer has been told what it may know.
pub async fn open(
    socket: &Socket,
    tls: &ServerSettings,
    mux: Settings,
    limit: Duration,
    admit: impl FnOnce(&PeerIdentity, &Hello) -> Result<Welcome, Rejected>,
) -> Result<Admitted, AcceptError> {
    match adit_runtime::timer::timeout(limit, Box::pin(converse(socket, tls, mux, admit))).await {
        Ok(outcome) => outcome,
        Err(_elapsed) => Err(AcceptError::TooSlow),
    }
}

async fn converse(
    socket: &Socket,
    tls: &ServerSettings,
    mux: Settings,
    admit: impl FnOnce(&PeerIdentity, &Hello) -> Result<Welcome, Rejected>,
) -> Result<Admitted, AcceptError> {
    let mut opening = Opening::gateway(tls).map_err(AcceptError::Opening)?;
    let mut input = Vec::new();
    let mut output = Vec::new();
    loop {
        let progress = opening.advance(&mut input, &mut output);
        let sent = socket.write_all(&output).await;
        output.clear();
        match progress.map_err(AcceptError::Opening)? {
            Progress::Heard => break,
            Progress::Reading | Progress::Welcomed => sent.map_err(AcceptError::Io)?,
        }
        read_some(socket, &mut input)
            .await
            .map_err(AcceptError::Io)?;
    }
    let verdict = match opening.candidate() {
        Some((identity, hello)) => admit(identity, hello),
        None => return Err(AcceptError::Opening(Error::Internal("heard nobody"))),
    };
    match verdict {
        Ok(welcome) => {
            let Opened { tunnel } = opening
                .admit(welcome, mux, &mut output)
                .map_err(AcceptError::Opening)?;
            socket.write_all(&output).await.map_err(AcceptError::Io)?;
            Ok(Admitted {
                tunnel,
                leftover: input,
            })
        }
        Err(rejected) => {
            opening.reject(rejected.clone(), &mut output);
            // The agent reads the reason or is gone; either way this connection is over.
            let _ = socket.write_all(&output).await;
            let _ = socket.finish().await;
            Err(AcceptError::Rejected(rejected))
        }
    }
}

pub(crate) async fn read_some(socket: &Socket, input: &mut Vec<u8>) -> std::io::Result<()> {
    if input.len() > OPENING_INPUT_MAX {
        return Err(std::io::Error::other(format!(
            "more than {OPENING_INPUT_MAX} bytes without a finished handshake"
        )));
    }
    let mut chunk = [0_u8; 4096];
    let n = socket.read(&mut chunk).await?;
    if n == 0 {
        return Err(std::io::Error::new(
            std::io::ErrorKind::UnexpectedEof,
            "peer closed during the handshake",
        ));
    }
    input.extend_from_slice(chunk.get(..n).unwrap_or_default());
    Ok(())
}

/// Unread bytes of a handshake; a certificate chain is a few KiB. Per connection in its handshake.
const OPENING_INPUT_MAX: usize = 128 * 1024;
