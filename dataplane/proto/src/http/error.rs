//! What can be wrong with a head, where, and how to mend it.
//!
//! Which refusal the caller hears follows from here; what is counted and logged is up to the doors. Bytes of the peer
//! are never repeated.

use core::fmt;

use super::{AuthorityError, Smuggling};
use crate::limits::{CONNECTION_OPTIONS_MAX, METHOD_BYTES_MAX};
use crate::{LocationError, Refusal};

/// What is wrong with a head.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Problem {
    /// It could be read in two ways.
    Smuggling(Smuggling),
    /// A line is longer than [`Limits::line_bytes`](super::Limits::line_bytes).
    LineTooLarge,
    /// The head is longer than [`Limits::head_bytes`](super::Limits::head_bytes).
    HeadTooLarge,
    /// There are more fields than [`Limits::fields`](super::Limits::fields).
    TooManyFields,
    /// The first line is not a request line or a status line.
    StartLine,
    /// The method is longer than [`METHOD_BYTES_MAX`].
    MethodTooLong,
    /// The version is neither HTTP/1.0 nor HTTP/1.1.
    Version,
    /// The status is not between 100 and 599.
    Status,
    /// A line is no field.
    Field,
    /// The target has no form this method can have (RFC 9112, section 3.2).
    TargetForm,
    /// The target contains a fragment, a non-ASCII or an unprintable byte.
    TargetByte,
    /// The target's scheme is not `http`.
    Scheme,
    /// There is no Host field.
    HostMissing,
    /// The Host field or the target's authority is not well-formed.
    Host(AuthorityError),
    /// The Host field names another host or port than the target.
    HostMismatch,
    /// The Connection field is no list of at most [`CONNECTION_OPTIONS_MAX`] tokens.
    Connection,
    /// A field that can mean only one thing appears twice.
    Duplicate(&'static str),
    /// The location ID is not one.
    Location(LocationError),
    /// A field that carries a token does not have the form `Bearer <token>`.
    Bearer(&'static str),
    /// There is an expectation other than `100-continue`.
    Expectation,
    /// A CONNECT request has a body.
    ConnectBody,
    /// A response switches protocols, but nobody asked for it, or it does not say to which.
    Upgrade,
}

/// Why a head is refused: what is wrong with it, and in which line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct HeadError {
    problem: Problem,
    line: usize,
    of: Of,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Of {
    Request,
    Response,
}

impl HeadError {
    pub(super) const fn new(of: Of, line: usize, problem: Problem) -> Self {
        Self { problem, line, of }
    }

    /// What is wrong.
    #[must_use]
    pub const fn problem(&self) -> Problem {
        self.problem
    }

    /// The line it was found in, counting the start line as 1; 0 when it is a matter of the whole head.
    #[must_use]
    pub const fn line(&self) -> usize {
        self.line
    }

    /// The class to count it under when it is an attack on the framing or routing of messages.
    #[must_use]
    pub const fn smuggling(&self) -> Option<Smuggling> {
        if let Problem::Smuggling(class) = self.problem {
            Some(class)
        } else {
            None
        }
    }

    /// What the caller is told. For a response that is always [`Refusal::BackendMalformed`].
    #[must_use]
    pub const fn refusal(&self) -> Refusal {
        if matches!(self.of, Of::Response) {
            return Refusal::BackendMalformed;
        }
        match self.problem {
            Problem::Smuggling(class) => class.refusal(),
            Problem::LineTooLarge => Refusal::LineTooLarge,
            Problem::HeadTooLarge | Problem::TooManyFields => Refusal::HeadTooLarge,
            Problem::Scheme => Refusal::SchemeUnsupported,
            Problem::HostMissing | Problem::Host(_) => Refusal::HostMalformed,
            Problem::HostMismatch => Refusal::HostMismatch,
            Problem::Location(_) => Refusal::LocationMalformed,
            Problem::Expectation => Refusal::ExpectationUnsupported,
            Problem::ConnectBody => Refusal::BodyFraming,
            Problem::StartLine
            | Problem::MethodTooLong
            | Problem::Version
            | Problem::Status
            | Problem::Field
            | Problem::TargetForm
            | Problem::TargetByte
            | Problem::Connection
            | Problem::Duplicate(_)
            | Problem::Bearer(_)
            | Problem::Upgrade => Refusal::RequestMalformed,
        }
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Smuggling(class) => f.write_str(class.text()),
            Self::LineTooLarge => f.write_str("the line is too long; shorten it"),
            Self::HeadTooLarge => f.write_str("the head is too large; send fewer or shorter fields"),
            Self::TooManyFields => f.write_str("there are too many fields; send fewer"),
            Self::StartLine => f.write_str("this is no HTTP/1.1 start line; send `METHOD target HTTP/1.1` or a status line"),
            Self::MethodTooLong => write!(f, "the method is longer than {METHOD_BYTES_MAX} bytes; use a shorter one"),
            Self::Version => f.write_str("the version is neither HTTP/1.1 nor HTTP/1.0; use one of them"),
            Self::Status => f.write_str("the status is not between 100 and 599; use a registered one"),
            Self::Field => f.write_str("the line is not `name: value`; mend or drop it"),
            Self::TargetForm => {
                f.write_str("the target does not fit the method; send `http://host/path`, or `host:port` with CONNECT")
            }
            Self::TargetByte => {
                f.write_str("the target holds a `#`, a blank or a byte that is not printable ASCII; percent-encode it")
            }
            Self::Scheme => f.write_str("the target's scheme is not http; use `http://`"),
            Self::HostMissing => f.write_str("there is no host field; send one"),
            Self::Host(why) => why.fmt(f),
            Self::HostMismatch => f.write_str("host names another host or port than the target; send the same"),
            Self::Connection => {
                write!(f, "connection is not a list of at most {CONNECTION_OPTIONS_MAX} tokens; mend it")
            }
            Self::Duplicate(name) => write!(f, "{name} appears twice; send it once"),
            Self::Location(why) => why.fmt(f),
            Self::Bearer(name) => write!(f, "{name} is not `Bearer <token>`; send it so"),
            Self::Expectation => f.write_str("expect is not `100-continue`; send that or nothing"),
            Self::ConnectBody => f.write_str("a CONNECT request has a body; send the bytes after the answer"),
            Self::Upgrade => f.write_str("the response switches protocols unasked or without saying to which; answer plainly"),
        }
    }
}

impl fmt::Display for HeadError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let of = match self.of {
            Of::Request => "request head",
            Of::Response => "response head",
        };
        match self.line {
            0 => write!(f, "{of}: {}", self.problem),
            line => write!(f, "{of}, line {line}: {}", self.problem),
        }
    }
}

impl core::error::Error for HeadError {}
