//! One TLS handshake, either role, as a machine of bytes in and bytes out.
//!
//! rustls does the work; this module shows it one record at a time, so that it never sees what
//! belongs to the record layer, then takes over the traffic secrets. Timeouts are the caller's.

use std::fmt;

use rustls::client::UnbufferedClientConnection;
use rustls::server::UnbufferedServerConnection;
use rustls::unbuffered::{ConnectionState, EncodeError, UnbufferedStatus};
use rustls::{AlertDescription, CommonState, ExtractedSecrets};
use rustls_pki_types::{CertificateDer, ServerName};

use crate::error::Error;
use crate::identity::{PeerIdentity, RoleName};
use crate::keys::Suite;
use crate::limits::{HANDSHAKE_BYTES_MAX, HANDSHAKE_RECORDS_MAX, Limits};
use crate::record::RECORD_HEADER;
use crate::records::{Records, Secrets};
use crate::settings::{ALPN, ClientSettings, ServerSettings};

/// A handshake in progress.
pub struct Handshake {
    state: State,
    limits: Limits,
    /// Undiscarded bytes at the front of the caller's input that make up whole records which
    /// rustls has been shown.
    shown: usize,
    bytes: usize,
    records: u32,
}

/// How far a handshake has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[expect(clippy::exhaustive_enums, reason = "it is done or it is not")]
pub enum Progress {
    /// Send the output, then read more input.
    Reading,
    /// Send the output, then `finish`. What is left of the input belongs to [`Records`].
    Done,
}

/// What a handshake leaves behind.
#[derive(Debug)]
#[non_exhaustive]
pub struct Established {
    /// The record layer.
    pub records: Records,
    /// Who the peer has proven to be.
    pub peer: PeerIdentity,
    /// The cipher suite both agreed on.
    pub suite: Suite,
}

enum State {
    Client(Box<UnbufferedClientConnection>),
    Server(Box<UnbufferedServerConnection>),
    Done(Box<Established>),
    Failed,
}

/// What rustls wants after one step.
enum Step {
    /// Call again with what is left.
    Again,
    /// Nothing to do without another record.
    Waiting,
}

impl Handshake {
    /// Starts as the agent: the side that dials. `name` goes into the SNI extension only; who the
    /// peer is, its certificate's SPIFFE ID tells.
    ///
    /// # Errors
    /// [`Error::Handshake`] when rustls cannot start, for want of random bytes.
    pub fn client(settings: &ClientSettings, name: ServerName<'static>) -> Result<Self, Error> {
        let connection = UnbufferedClientConnection::new(settings.config(), name)?;
        Ok(Self::new(
            State::Client(Box::new(connection)),
            settings.limits(),
        ))
    }

    /// Starts as the gateway: the side that accepts.
    ///
    /// # Errors
    /// [`Error::Handshake`] when rustls cannot start.
    pub fn server(settings: &ServerSettings) -> Result<Self, Error> {
        let connection = UnbufferedServerConnection::new(settings.config())?;
        Ok(Self::new(
            State::Server(Box::new(connection)),
            settings.limits(),
        ))
    }

    fn new(state: State, limits: Limits) -> Self {
        Self {
            state,
            limits,
            shown: 0,
            bytes: 0,
            records: 0,
        }
    }

    /// Works through `input`, all bytes received and not yet consumed, and appends what must be
    /// sent to `output`. Returns how many bytes of the front of `input` are consumed and must be
    /// removed; the others must stay as this call left them (they are decrypted in place) and be
    /// shown again, with what arrives behind them. A client starts with empty input.
    ///
    /// # Errors
    /// The handshake is over. `output` may then hold an alert: send it, whatever the error.
    pub fn advance(
        &mut self,
        input: &mut [u8],
        output: &mut Vec<u8>,
    ) -> Result<(usize, Progress), Error> {
        match self.advance_unguarded(input, output) {
            Ok(advanced) => Ok(advanced),
            Err(error) => {
                self.state = State::Failed;
                Err(error)
            }
        }
    }

    /// The record layer and who the peer is.
    ///
    /// # Errors
    /// [`Error::HandshakeUnfinished`] before [`Progress::Done`].
    pub fn finish(self) -> Result<Established, Error> {
        match self.state {
            State::Done(established) => Ok(*established),
            State::Client(_) | State::Server(_) => Err(Error::HandshakeUnfinished),
            State::Failed => Err(Error::AlreadyFailed),
        }
    }

    fn advance_unguarded(
        &mut self,
        input: &mut [u8],
        output: &mut Vec<u8>,
    ) -> Result<(usize, Progress), Error> {
        let mut consumed = 0;
        let mut window = self.shown;
        loop {
            let unconsumed = input.get_mut(consumed..).unwrap_or_default();
            let shown = window.min(unconsumed.len());
            let visible = unconsumed.get_mut(..shown).unwrap_or_default();
            let (discard, step, handshaking) = match &mut self.state {
                State::Client(connection) => {
                    let (discard, step) = step(connection.process_tls_records(visible), output);
                    (discard, step, connection.is_handshaking())
                }
                State::Server(connection) => {
                    let (discard, step) = step(connection.process_tls_records(visible), output);
                    (discard, step, connection.is_handshaking())
                }
                State::Done(_) => return Ok((0, Progress::Done)),
                State::Failed => return Err(Error::AlreadyFailed),
            };
            let discard = discard.min(shown);
            consumed += discard;
            window = shown - discard;
            self.shown = self.shown.saturating_sub(discard);

            match step {
                Ok(Step::Again) => {}
                Ok(Step::Waiting) if handshaking => {
                    let unconsumed = input.get(consumed..).unwrap_or_default();
                    if window >= unconsumed.len() {
                        return Ok((consumed, Progress::Reading));
                    }
                    window = self.show_next(unconsumed)?;
                }
                Ok(Step::Waiting) => {
                    self.establish(output)?;
                    return Ok((consumed, Progress::Done));
                }
                Err(error) => {
                    self.drain(output);
                    return Err(error);
                }
            }
        }
    }

    /// How much of `unconsumed` rustls may see next: up to the end of the first record it has not
    /// seen, or the incomplete front of one, so that rustls can refuse a bad header at once.
    fn show_next(&mut self, unconsumed: &[u8]) -> Result<usize, Error> {
        let next = unconsumed.get(self.shown..).unwrap_or_default();
        let Some(&[_, _, _, high, low]) = next.first_chunk::<RECORD_HEADER>() else {
            return Ok(unconsumed.len());
        };
        let record = RECORD_HEADER + usize::from(u16::from_be_bytes([high, low]));
        if next.len() < record {
            return Ok(unconsumed.len());
        }
        self.bytes += record;
        self.records += 1;
        if self.bytes > HANDSHAKE_BYTES_MAX || self.records > HANDSHAKE_RECORDS_MAX {
            return Err(Error::HandshakeTooLarge);
        }
        self.shown += record;
        Ok(self.shown)
    }

    /// Takes what rustls has queued with an error: the alert, and perhaps a flight before it.
    fn drain(&mut self, output: &mut Vec<u8>) {
        // rustls must not be shown the offending record a second time: it would queue a second
        // alert, and asserts that it never does. It sends before it reads, so as long as it has
        // something to send no input is needed.
        loop {
            let sent = match &mut self.state {
                State::Client(connection) if connection.wants_write() => {
                    step(connection.process_tls_records(&mut []), output).1
                }
                State::Server(connection) if connection.wants_write() => {
                    step(connection.process_tls_records(&mut []), output).1
                }
                State::Client(_) | State::Server(_) | State::Done(_) | State::Failed => return,
            };
            if !matches!(sent, Ok(Step::Again)) {
                return;
            }
        }
    }

    /// Turns the completed connection into keys and an identity.
    fn establish(&mut self, output: &mut Vec<u8>) -> Result<(), Error> {
        let (agreed, extracted, secrets) = match std::mem::replace(&mut self.state, State::Failed) {
            State::Client(connection) => {
                let agreed = Agreed::new(&connection, RoleName::Gateway);
                let (extracted, kernel) = connection
                    .dangerous_into_kernel_connection()
                    .map_err(|cause| Error::Secrets(Box::new(cause)))?;
                (agreed, extracted, Secrets::Client(Box::new(kernel)))
            }
            State::Server(connection) => {
                let agreed = Agreed::new(&connection, RoleName::Agent);
                let (extracted, kernel) = connection
                    .dangerous_into_kernel_connection()
                    .map_err(|cause| Error::Secrets(Box::new(cause)))?;
                (agreed, extracted, Secrets::Server(Box::new(kernel)))
            }
            State::Done(_) | State::Failed => return Err(Error::AlreadyFailed),
        };
        self.take_over(agreed, &extracted, secrets, output)
    }

    fn take_over(
        &mut self,
        agreed: Agreed,
        extracted: &ExtractedSecrets,
        secrets: Secrets,
        output: &mut Vec<u8>,
    ) -> Result<(), Error> {
        let mut records = Records::new(extracted, secrets, self.limits)?;
        let peer = match agreed.check() {
            Ok(peer) => peer,
            Err((error, alert)) => {
                records.alert(alert, output);
                return Err(error);
            }
        };
        let suite = records.suite();
        self.state = State::Done(Box::new(Established {
            records,
            peer,
            suite,
        }));
        Ok(())
    }
}

/// What the peers agreed on, taken from rustls before it is taken apart.
struct Agreed {
    speaks_adit: bool,
    leaf: Option<CertificateDer<'static>>,
    expected: RoleName,
}

impl Agreed {
    fn new(connection: &CommonState, expected: RoleName) -> Self {
        Self {
            speaks_adit: connection.alpn_protocol() == Some(ALPN),
            // The first certificate is the one whose key signed the handshake; whatever else the
            // peer put into its chain names nobody.
            leaf: connection
                .peer_certificates()
                .and_then(|chain| chain.first())
                .map(|leaf| leaf.clone().into_owned()),
            expected,
        }
    }

    fn check(self) -> Result<PeerIdentity, (Error, AlertDescription)> {
        // rustls refuses a peer that offers only other protocols, and lets one pass that offers
        // none at all.
        if !self.speaks_adit {
            return Err((
                Error::NoApplicationProtocol,
                AlertDescription::NoApplicationProtocol,
            ));
        }
        let Some(leaf) = self.leaf else {
            return Err((
                rustls::Error::NoCertificatesPresented.into(),
                AlertDescription::CertificateRequired,
            ));
        };
        // The verifiers have checked this already. Once more, because what is granted hangs on it
        // and the type of `Records` cannot say which verifier it came through.
        let peer = PeerIdentity::from_leaf(leaf)
            .map_err(|error| (error.into(), AlertDescription::BadCertificate))?;
        peer.id
            .expect_role(self.expected)
            .map_err(|error| (error.into(), AlertDescription::AccessDenied))?;
        Ok(peer)
    }
}

/// Does what rustls asks for; returns how many bytes it is done with, and whether to go on.
fn step<Data>(
    status: UnbufferedStatus<'_, '_, Data>,
    output: &mut Vec<u8>,
) -> (usize, Result<Step, Error>) {
    let UnbufferedStatus { discard, state } = status;
    let next = match state {
        Ok(ConnectionState::EncodeTlsData(mut data)) => {
            encode(|room| data.encode(room), output).map(|()| Step::Again)
        }
        Ok(ConnectionState::TransmitTlsData(data)) => {
            data.done();
            Ok(Step::Again)
        }
        Ok(ConnectionState::BlockedHandshake | ConnectionState::WriteTraffic(_)) => {
            Ok(Step::Waiting)
        }
        Ok(ConnectionState::PeerClosed | ConnectionState::Closed) => Err(Error::ClosedInHandshake),
        // Early data is off in our settings, and rustls is shown nothing behind the handshake.
        Ok(_) => Err(ours("application data within the handshake".into())),
        Err(error) => Err(error.into()),
    };
    (discard, next)
}

/// Appends one chunk of rustls' to `output`: asks for its size first, then for its bytes.
fn encode(
    mut encode: impl FnMut(&mut [u8]) -> Result<usize, EncodeError>,
    output: &mut Vec<u8>,
) -> Result<(), Error> {
    let start = output.len();
    let mut result = encode(&mut []);
    if let Err(EncodeError::InsufficientSize(wanted)) = &result {
        output.resize(start + wanted.required_size, 0);
        result = encode(output.get_mut(start..).unwrap_or_default());
    }
    let written = result.map_err(|cause| ours(format!("rustls output: {cause}")));
    output.truncate(start + *written.as_ref().unwrap_or(&0));
    written.map(|_| ())
}

/// What rustls' documentation rules out.
fn ours(what: String) -> Error {
    rustls::Error::General(what).into()
}

impl fmt::Debug for Handshake {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let state = match &self.state {
            State::Client(_) => "client",
            State::Server(_) => "server",
            State::Done(_) => "done",
            State::Failed => "failed",
        };
        f.debug_struct("Handshake")
            .field("state", &state)
            .field("bytes", &self.bytes)
            .finish_non_exhaustive()
    }
}

const _: () = {
    const fn may_move_between_shards<T: Send>() {}
    may_move_between_shards::<Handshake>();
    may_move_between_shards::<Established>();
};
