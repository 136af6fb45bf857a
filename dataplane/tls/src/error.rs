//! What can go wrong between the first byte of a handshake and the last record.
//!
//! Whose fault first, then which alert the peer is to be told. What is done about it is the
//! caller's choice, and there is only one: send the alert, close.

use std::fmt;

use rustls::AlertDescription;

use crate::identity::IdentityError;
use crate::limits::{
    HANDSHAKE_BYTES_MAX, HANDSHAKE_MESSAGE_BYTES_MAX, HANDSHAKE_RECORDS_MAX, SEAL_RECORDS_MAX,
};
use crate::record::{MAX_CIPHERTEXT, MIN_CIPHERTEXT};

/// Who has to change something for this not to happen again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[expect(
    clippy::exhaustive_enums,
    reason = "an error is theirs or ours; there is no third"
)]
pub enum Fault {
    /// The peer, or somebody on the path who altered its bytes.
    Peer,
    /// This program: the caller of this room, or its settings.
    Us,
}

/// Why a handshake or an established tunnel cannot go on. Each is final for its tunnel.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub enum Error {
    /// rustls refused the handshake; the alert, if any, is already in the output.
    Handshake(Box<rustls::Error>),
    /// The peer's certificate is genuine, but does not name whom we talk to here.
    Identity(Box<IdentityError>),
    /// The peer did not agree to the protocol `adit/1` (ALPN).
    NoApplicationProtocol,
    /// The peer closed before the handshake was complete.
    ClosedInHandshake,
    /// More handshake bytes or records than any honest peer needs.
    HandshakeTooLarge,
    /// A record announces `length` bytes, more than TLS 1.3 allows.
    RecordTooLarge {
        /// The announced length, without the header.
        length: usize,
    },
    /// A record announces `length` bytes, too few to hold a content type and a tag.
    RecordTooShort {
        /// The announced length, without the header.
        length: usize,
    },
    /// A record is not what the peer sealed: altered, replayed, reordered, or under another key.
    BadRecordMac,
    /// A record's padding makes its plaintext larger than TLS 1.3 allows.
    PlaintextTooLarge,
    /// A record of a type that has no place after the handshake.
    UnexpectedRecord {
        /// The content type: the outer one, or after opening the inner one; 0 for only padding.
        content_type: u8,
    },
    /// Too many records and messages in a row without any payload.
    Fruitless,
    /// A message of a type that has no place after the handshake.
    UnexpectedMessage {
        /// The handshake type.
        message_type: u8,
    },
    /// A message after the handshake announces `length` bytes.
    MessageTooLarge {
        /// The announced length, without the header.
        length: usize,
    },
    /// A message that is not well formed.
    MalformedMessage {
        /// The handshake type.
        message_type: u8,
    },
    /// An alert or handshake record without content.
    EmptyFragment,
    /// Another record stands between two parts of one message.
    InterleavedMessage,
    /// Bytes follow a key update in its record.
    MisplacedKeyUpdate,
    /// An alert that is not two bytes long, or of an unknown level.
    MalformedAlert,
    /// The peer ended the tunnel with a fatal alert.
    AlertReceived(AlertDescription),
    /// The caller's slot cannot be a record; see `Records::seal` for its layout.
    RecordLayout {
        /// Bytes of the slot.
        length: usize,
    },
    /// The caller sealed on after `SEAL_RECORDS_MAX` records and never called `maintenance`.
    KeyWornOut,
    /// The caller sealed after it had closed.
    SealAfterClose,
    /// The caller opened on after the peer's close_notify.
    OpenAfterClose,
    /// The caller went on after an error.
    AlreadyFailed,
    /// The caller called `finish` before the handshake was done.
    HandshakeUnfinished,
    /// rustls could not give us what its documentation promises.
    Secrets(Box<rustls::Error>),
}

impl Error {
    /// Who has to change something.
    #[must_use]
    pub fn fault(&self) -> Fault {
        match self {
            Self::Handshake(cause) if is_ours(cause) => Fault::Us,
            Self::Handshake(_)
            | Self::Identity(_)
            | Self::NoApplicationProtocol
            | Self::ClosedInHandshake
            | Self::HandshakeTooLarge
            | Self::RecordTooLarge { .. }
            | Self::RecordTooShort { .. }
            | Self::BadRecordMac
            | Self::PlaintextTooLarge
            | Self::UnexpectedRecord { .. }
            | Self::Fruitless
            | Self::UnexpectedMessage { .. }
            | Self::MessageTooLarge { .. }
            | Self::MalformedMessage { .. }
            | Self::EmptyFragment
            | Self::InterleavedMessage
            | Self::MisplacedKeyUpdate
            | Self::MalformedAlert
            | Self::AlertReceived(_) => Fault::Peer,
            Self::RecordLayout { .. }
            | Self::KeyWornOut
            | Self::SealAfterClose
            | Self::OpenAfterClose
            | Self::AlreadyFailed
            | Self::HandshakeUnfinished
            | Self::Secrets(_) => Fault::Us,
        }
    }

    /// The alert the peer is to be told with `Records::alert`; `None` when it must not be told, or
    /// when the handshake has already put the alert into its output.
    #[must_use]
    pub fn alert(&self) -> Option<AlertDescription> {
        match self {
            Self::RecordTooLarge { .. } | Self::PlaintextTooLarge => {
                Some(AlertDescription::RecordOverflow)
            }
            //= RFC 8446, section 5.2
            //# If the decryption fails, the receiver MUST terminate the connection with a
            //# "bad_record_mac" alert.
            Self::RecordTooShort { .. } | Self::BadRecordMac => {
                Some(AlertDescription::BadRecordMac)
            }
            Self::UnexpectedRecord { .. }
            | Self::Fruitless
            | Self::UnexpectedMessage { .. }
            | Self::EmptyFragment
            | Self::InterleavedMessage
            | Self::MisplacedKeyUpdate => Some(AlertDescription::UnexpectedMessage),
            Self::MessageTooLarge { .. } | Self::MalformedAlert => {
                Some(AlertDescription::DecodeError)
            }
            //= RFC 8446, section 4.6.3
            //# If an implementation receives any other value, it MUST terminate the
            //# connection with an "illegal_parameter" alert.
            Self::MalformedMessage { message_type } => Some(match *message_type {
                crate::post_handshake::KEY_UPDATE => AlertDescription::IllegalParameter,
                _ => AlertDescription::DecodeError,
            }),
            Self::Secrets(_) | Self::KeyWornOut | Self::RecordLayout { .. } => {
                Some(AlertDescription::InternalError)
            }
            Self::Handshake(_)
            | Self::Identity(_)
            | Self::NoApplicationProtocol
            | Self::ClosedInHandshake
            | Self::HandshakeTooLarge
            | Self::AlertReceived(_)
            | Self::SealAfterClose
            | Self::OpenAfterClose
            | Self::AlreadyFailed
            | Self::HandshakeUnfinished => None,
        }
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Handshake(cause) => write!(f, "handshake: {cause}"),
            Self::Identity(cause) => write!(f, "peer certificate: {cause}"),
            Self::NoApplicationProtocol => {
                f.write_str("handshake: peer does not speak `adit/1` (alpn); is it adit at all")
            }
            Self::ClosedInHandshake => f.write_str("handshake: peer closed before it was complete"),
            Self::HandshakeTooLarge => write!(
                f,
                "handshake: peer sent more than {HANDSHAKE_BYTES_MAX} bytes or \
                 {HANDSHAKE_RECORDS_MAX} records; shorten its certificate chain"
            ),
            Self::RecordTooLarge { length } => write!(
                f,
                "record: peer announced {length} bytes, {MAX_CIPHERTEXT} are allowed"
            ),
            Self::RecordTooShort { length } => write!(
                f,
                "record: peer announced {length} bytes, the shortest has {MIN_CIPHERTEXT}"
            ),
            Self::BadRecordMac => {
                f.write_str("record: does not open; altered on the way or sealed with another key")
            }
            Self::PlaintextTooLarge => f.write_str("record: too much padding"),
            Self::UnexpectedRecord { content_type } => write!(
                f,
                "record: content type {content_type} has no place after the handshake"
            ),
            Self::Fruitless => {
                f.write_str("record: peer sent too many records in a row without payload")
            }
            Self::UnexpectedMessage { message_type } => write!(
                f,
                "message: handshake type {message_type} has no place after the handshake"
            ),
            Self::MessageTooLarge { length } => write!(
                f,
                "message: peer announced {length} bytes, {HANDSHAKE_MESSAGE_BYTES_MAX} are allowed"
            ),
            Self::MalformedMessage { message_type } => {
                write!(f, "message: handshake type {message_type} is malformed")
            }
            Self::EmptyFragment => f.write_str("record: alert or handshake without content"),
            Self::InterleavedMessage => {
                f.write_str("message: another record stands between its parts")
            }
            Self::MisplacedKeyUpdate => f.write_str("message: bytes follow a key update"),
            Self::MalformedAlert => f.write_str("alert: malformed"),
            Self::AlertReceived(alert) => {
                write!(f, "peer sent alert {alert:?} ({})", u8::from(*alert))
            }
            Self::RecordLayout { length } => {
                write!(f, "a slot of {length} bytes cannot become a record")
            }
            Self::KeyWornOut => write!(
                f,
                "{SEAL_RECORDS_MAX} records sealed under one key; call maintenance"
            ),
            Self::SealAfterClose => f.write_str("sealing after close"),
            Self::OpenAfterClose => f.write_str("opening after the peer's close_notify"),
            Self::AlreadyFailed => f.write_str("the tunnel failed before; close it"),
            Self::HandshakeUnfinished => f.write_str("handshake: not done; advance it further"),
            Self::Secrets(cause) => write!(f, "rustls gave no traffic secrets: {cause}"),
        }
    }
}

impl std::error::Error for Error {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        if let Self::Handshake(cause) | Self::Secrets(cause) = self {
            Some(cause.as_ref())
        } else if let Self::Identity(cause) = self {
            Some(cause.as_ref())
        } else {
            None
        }
    }
}

impl From<rustls::Error> for Error {
    fn from(cause: rustls::Error) -> Self {
        if let rustls::Error::InvalidCertificate(rustls::CertificateError::Other(other)) = &cause
            && let Some(identity) = other.0.downcast_ref::<IdentityError>()
        {
            return Self::Identity(Box::new(identity.clone()));
        }
        if let rustls::Error::AlertReceived(alert) = cause {
            return Self::AlertReceived(alert);
        }
        if cause == rustls::Error::NoApplicationProtocol {
            return Self::NoApplicationProtocol;
        }
        Self::Handshake(Box::new(cause))
    }
}

impl From<IdentityError> for Error {
    fn from(cause: IdentityError) -> Self {
        Self::Identity(Box::new(cause))
    }
}

/// Every opened record passes by this type's size.
const _: () = assert!(size_of::<Error>() <= 16);

/// Whether rustls failed by something on our side of the wire.
fn is_ours(cause: &rustls::Error) -> bool {
    matches!(
        cause,
        rustls::Error::FailedToGetCurrentTime
            | rustls::Error::FailedToGetRandomBytes
            | rustls::Error::General(_)
            | rustls::Error::HandshakeNotComplete
            | rustls::Error::InconsistentKeys(_)
    )
}
